use document::{Document, Source};

use super::*;

fn faults(text: &str) -> Vec<String> {
    match read(Source::new("s.toml", text)) {
        Ok((_, told)) => told.iter().map(ToString::to_string).collect(),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

fn check(text: &str, expected: &[&str]) {
    let found = faults(text);
    assert_eq!(found.len(), expected.len(), "{text}: {found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{text}: {found}");
    }
}

#[test]
fn an_empty_file_is_the_default_of_its_category() {
    let (settings, told) = read(Source::new("s.toml", "")).expect("defaults");
    assert_eq!(told, []);
    assert_eq!(settings.category, Category::B);
    assert_eq!(settings.abnormal, Abnormal::III);
    assert_eq!(settings.nominal, Frequency::from_hertz(60.0));
    assert!(settings.start_on && settings.reactive.is_none());
    assert!(settings.volt_watt.is_none() && settings.p_limit.is_none());
    // Frequency droop is always on unless a file says no.
    assert!(settings.droop.is_some());
    assert_eq!(
        settings.trip.uv[0],
        Threshold {
            at: 0.88,
            clearing_s: 21.0
        }
    );
    let (off, _) =
        read(Source::new("s.toml", "[freq_droop]\nenabled = false\n")).expect("settings");
    assert!(off.droop.is_none());
}

#[test]
fn every_setting_of_the_page_of_interfaces_is_read() {
    let text = r#"
f_nom_hz = 60
category = "B"
abnormal = "III"
kind     = "pv"
start_on = true
step_s   = 0.05
[volt_var]
enabled = true
curve = [[0.92, 0.44], [0.98, 0.0], [1.02, 0.0], [1.08, -0.44]]
olrt_s = 5
vref_auto = false
vref_tau_s = 300
[volt_watt]
enabled = false
v1 = 1.06
p1 = 1.0
v2 = 1.10
p2 = 0.0
olrt_s = 10
[watt_var]
enabled = false
curve = [[0.2, 0.0], [0.5, 0.0], [1.0, -0.44]]
[const_pf]
enabled = false
pf = 0.9
excitation = "absorb"
[const_q]
enabled = false
q_pu = 0.1
[freq_droop]
enabled = true
db_of_hz = 0.036
db_uf_hz = 0.036
k_of = 0.05
k_uf = 0.05
olrt_s = 5
p_min_pu = 0.0
[p_limit]
enabled = false
p_pu = 0.5
[enter_service]
v_lo_pu = 0.917
v_hi_pu = 1.05
f_lo_hz = 59.5
f_hi_hz = 60.1
delay_s = 300
ramp_s = 300
[trip]
ov2 = [1.20, 0.16]
ov1 = [1.10, 13]
uv1 = [0.88, 21]
uv2 = [0.50, 2]
of2 = [62.0, 0.16]
of1 = [61.2, 300]
uf1 = [58.5, 300]
uf2 = [56.5, 0.16]
"#;
    let (settings, told) = read(Source::new("s.toml", text)).expect("the page");
    assert_eq!(told, []);
    let (usual, _) = read(Source::new("s.toml", "[volt_var]\n")).expect("defaults");
    assert_eq!(settings, usual);
}

#[test]
fn all_faults_are_told_each_with_its_place() {
    check(
        "categry = \"B\"\n[volt_var]\nolrt = 5\ncurve = [[0.92, 0.44], [1.0, 0.5], [0.99, 0.0]]\n\
         [trip]\nov2 = [1.3, 0.16]\nuv1 = [0.8]\n[freq_droop]\nk_of = 0\n",
        &[
            "error[D002]: unknown key `categry` at s.toml:1:1 (help: did you mean `category`?)",
            "error[D002]: unknown key `volt_var.olrt` at s.toml:3:1 (help: did you mean `olrt_s`?)",
            "error[G002]: `volt_var.curve` is no curve at s.toml:4:24",
            "error[G003]: `volt_var.curve, Q of point 2` is 0.5 at s.toml:4:24",
            "error[G002]: `volt_var.curve` is no curve at s.toml:4:36",
            "error[G003]: `volt_var.curve, voltage of point 3` is 0.99 at s.toml:4:36",
            "error[G001]: `trip.ov2, threshold` is 1.3 at s.toml:6:8 (help: it is 1.2, by EPRI OpenDER 2.2.0",
            "error[D003]: `trip.uv1` must be a threshold and a time at s.toml:7:7",
            "error[G001]: `freq_droop.k_of` is 0 at s.toml:9:8 (help: it lies in 0.02..=0.05",
        ],
    );
    check(
        "[volt_var\n",
        &["error[D001]: this is not a TOML document at s.toml:1"],
    );
}

#[test]
fn a_staircase_falls_lies_where_it_may_and_does_not_contradict_what_must_trip() {
    check(
        "[momentary_cessation]\nlv = [[0.5, 2], [0.7, 1]]\nhv = [[1.05, 0]]\nmv = []\n\
         [may_trip]\nlv = [[0.88, 30], [0.5, 1]]\nhf = [[61.2, 299], [61.4, 5], [61.6, 4], [61.8, 3], [62, 0]]\n\
         lf = [[58.8, -1]]\n",
        &[
            "error[G002]: `momentary_cessation.lv` is no staircase at s.toml:2:17",
            "error[G001]: `momentary_cessation.hv, threshold` is 1.05 at s.toml:3:7",
            "error[D002]: unknown key `momentary_cessation.mv` at s.toml:4:1",
            "error[G024]: it must trip at 0.88 after 21 s, where it may not yet at s.toml:6:6",
            "error[G002]: `may_trip.hf` has 5 points at s.toml:7:6",
            "error[G001]: `may_trip.lf, time` is -1 at s.toml:8:7",
        ],
    );
    // That of a category may be contradicted: what must trip trips.
    check("abnormal = \"II\"\n[trip]\nuv1 = [0.7, 2.0]\n", &[]);
    // At 50 Hz the numbers are those of 50 Hz.
    check(
        "f_nom_hz = 50\n[may_trip]\nlf = [[49, 299], [47.5, 0]]\n",
        &[],
    );
}

#[test]
fn one_reactive_function_at_a_time() {
    check(
        "[volt_var]\n[const_q]\nq_pu = 0.1\n",
        &["error[G004]: `volt_var` and `const_q` are both on at s.toml:2:1 (help: keep one"],
    );
    check("[volt_var]\nenabled = false\n[const_q]\nq_pu = 0.1\n", &[]);
}

#[test]
fn a_power_factor_absorbs_unless_it_is_said_to_inject() {
    for (text, q) in [
        ("excitation = \"inject\"", 0.2422),
        ("excitation = \"absorb\"", -0.2422),
        ("", -0.2422),
    ] {
        let text = format!("[const_pf]\npf = 0.9\n{text}\n");
        let (settings, _) = read(Source::new("s.toml", text)).expect("settings");
        let law = settings.reactive.expect("it is on").law;
        assert!((law.q(1.0, 0.5) - q).abs() < 5e-5, "{law:?}");
    }
}

#[test]
fn a_point_of_a_curve_lies_where_its_category_allows_it() {
    let rows: [(&str, &[&str]); 9] = [
        // The most aggressive curve of 1547.1 touches its limits.
        (
            "[volt_var]\ncurve = [[0.98, 0.44], [1, 0], [1, 0], [1.02, -0.44]]",
            &[],
        ),
        (
            "[volt_var]\ncurve = [[0.985, 0.44], [1, 0], [1, 0], [1.02, -0.44]]",
            &["error[G003]: `volt_var.curve, voltage of point 1` is 0.985"],
        ),
        (
            "category = \"A\"\n[volt_var]\ncurve = [[0.9, 0.25], [1, 0], [1, 0], [1.1, -0.3]]",
            &["error[G003]: `volt_var.curve, Q of point 4` is -0.3"],
        ),
        (
            "category = \"A\"\n[volt_var]\ncurve = [[0.9, 0.25], [0.98, 0], [1, 0], [1.1, -0.2]]",
            &["error[G003]: `volt_var.curve, voltage of point 2` is 0.98"],
        ),
        (
            "[volt_watt]\nv1 = 1.09\nv2 = 1.095",
            &["error[G003]: `volt_watt.v2` is 1.095"],
        ),
        (
            "[watt_var]\ncurve = [[0.2, 0], [0.9, 0], [1.0, -0.44]]",
            &["error[G001]: `watt_var.curve, power of P2` is 0.9"],
        ),
        (
            "[watt_var]\ncurve = [[0.45, 0], [0.5, 0], [1.0, -0.44]]",
            &["error[G003]: `watt_var.curve, power beside P2` is 0.45"],
        ),
        (
            "[volt_var]\ncurve = [[0.9, 0.4]]",
            &["error[G002]: `volt_var.curve` is no curve"],
        ),
        (
            "[volt_watt]\np1 = 0.1\np2 = 0.5",
            &["error[G002]: `volt_watt` rises with the voltage"],
        ),
    ];
    for (text, expected) in rows {
        check(text, expected);
    }
}

#[test]
fn a_device_that_is_wrong_on_purpose_is_allowed_and_told() {
    let text = "allow_out_of_range = true\n[trip]\nov2 = [1.3, 0.5]\n";
    check(
        text,
        &[
            "warning[G001]: `trip.ov2, threshold` is 1.3",
            "warning[G001]: `trip.ov2, clearing time` is 0.5",
        ],
    );
    let (settings, _) = read(Source::new("s.toml", text)).expect("warnings only");
    assert_eq!(settings.trip.ov[1].at, 1.3);
}

#[test]
fn ranges_of_frequency_scale_with_the_nominal_one() {
    check("f_nom_hz = 50\n[enter_service]\nf_lo_hz = 49.5\n", &[]);
    check(
        "f_nom_hz = 50\n[enter_service]\nf_lo_hz = 59.5\n",
        &[
            "error[G001]: `enter_service.f_lo_hz` is 59.5 at s.toml:3:11 (help: it lies in 49.166667..=49.916667",
        ],
    );
}

#[test]
fn the_bench_says_kind_and_nominal_frequency_before_the_settings_do() {
    let check = |kind, text: &str, expected: Result<(Kind, f64), &str>| {
        let document = Document::parse(Source::new("rig.toml", text)).expect("TOML");
        let emulated = Emulated {
            kind,
            nominal: Frequency::from_hertz(50.0),
        };
        let settings = read_emulated(document.root(), emulated);
        let found = settings.map(|s| (s.kind, s.nominal.as_hertz()));
        let faults = document.into_faults();
        match expected {
            Ok(expected) => assert_eq!(found, Some(expected), "{text}: {faults:?}"),
            Err(code) => assert_eq!(faults[0].code, code, "{text}"),
        }
    };
    check(Kind::Pv, "", Ok((Kind::Pv, 50.0)));
    check(Kind::Storage, "", Ok((Kind::Storage, 50.0)));
    check(
        Kind::Storage,
        "kind = \"storage\"",
        Ok((Kind::Storage, 50.0)),
    );
    check(Kind::Pv, "f_nom_hz = 60", Ok((Kind::Pv, 60.0)));
    check(Kind::Pv, "kind = \"storage\"", Err("G005"));
}
