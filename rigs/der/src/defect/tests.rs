use document::{Document, Source};
use quantities::Frequency;

use super::*;
use crate::model::Der;
use crate::settings::{Emulated, Kind, read_emulated};

/// Step of the series in seconds. Chosen: that of an emulated bench.
const STEP_S: f64 = 0.01;

/// What is measured from now on, and for how many seconds.
type Stretch = (f64, fn(&mut Measured));

fn device(settings: &str, defect: Option<&str>) -> Der {
    let named = defect.map_or(String::new(), |name| format!("defect = \"{name}\"\n"));
    let text = format!("{named}{settings}");
    let document = Document::parse(Source::new("rig.toml", text)).expect("TOML");
    let emulated = Emulated {
        kind: Kind::Pv,
        nominal: Frequency::from_hertz(60.0),
    };
    let settings = read_emulated(document.root(), emulated);
    let settings = settings.unwrap_or_else(|| panic!("{:?}", document.into_faults()));
    Der::new(settings)
}

fn given(mut device: Der, series: &[Stretch]) -> Vec<Output> {
    let mut seen = Measured {
        v: Volts::Balanced(1.0),
        f: Frequency::from_hertz(60.0),
        available_pu: 1.0,
        demand_pu: 0.0,
        absorbable_pu: 1.0,
        permit: true,
        angle_deg: Some(0.0),
        island: false,
    };
    let mut all = vec![device.step(0.0, &seen)];
    for (length_s, change) in series {
        change(&mut seen);
        let steps = (length_s / STEP_S).round() as u32;
        all.extend((0..steps).map(|_| device.step(STEP_S, &seen)));
    }
    all
}

fn differ(a: &[Output], b: &[Output]) -> bool {
    a.iter().zip(b).any(|(a, b)| {
        (a.p_pu - b.p_pu).abs() > 0.02 || (a.q_pu - b.q_pu).abs() > 0.02 || a.status != b.status
    })
}

fn v(seen: &mut Measured, v: f64) {
    seen.v = Volts::Balanced(v);
}

fn f(seen: &mut Measured, f_hz: f64) {
    seen.f = Frequency::from_hertz(f_hz);
}

/// Settings and a series for each defect, in which it shows.
fn shown() -> Vec<(&'static str, &'static str, Vec<Stretch>)> {
    const DROOP: &str = "[freq_droop]\nolrt_s = 0.2\n";
    const BAND: &str = "[freq_droop]\nolrt_s = 0.2\ndb_of_hz = 0.4\n";
    const ENTER: &str = "[enter_service]\ndelay_s = 1\nramp_s = 2\n";
    const LIMIT: &str = "[freq_droop]\nolrt_s = 0.2\n[p_limit]\np_pu = 0.5\n";
    let off_and_on: Vec<Stretch> = vec![(0.2, |m| m.permit = false), (1.2, |m| m.permit = true)];
    vec![
        (
            "sign_flipped_reactive",
            "[volt_var]\n",
            vec![(1.0, |m| v(m, 0.95))],
        ),
        (
            "active_power_priority",
            "[const_q]\nq_pu = 0.44\n",
            vec![(1.0, |_| {})],
        ),
        ("no_latch", DROOP, vec![(1.0, |m| f(m, 60.5))]),
        ("ignores_deadband", BAND, vec![(1.0, |m| f(m, 60.5))]),
        ("half_droop", DROOP, vec![(1.0, |m| f(m, 60.5))]),
        ("droop_below_limit", LIMIT, vec![(1.0, |m| f(m, 59.36))]),
        (
            "droop_over_volt_watt",
            "[volt_watt]\nolrt_s = 0.5\n[freq_droop]\nolrt_s = 0.2\n",
            vec![(2.0, |m| v(m, 1.09)), (1.0, |m| f(m, 59.0))],
        ),
        ("no_under_frequency", LIMIT, vec![(1.0, |m| f(m, 59.36))]),
        ("late_response", "[volt_var]\n", vec![(4.0, |m| v(m, 0.95))]),
        (
            "vref_frozen",
            "[volt_var]\nvref_auto = true\n",
            vec![(120.0, |m| v(m, 1.05))],
        ),
        ("limit_ignored", LIMIT, vec![(0.1, |_| {})]),
        ("no_ramp_on_entry", ENTER, off_and_on.clone()),
        ("enters_early", ENTER, off_and_on),
        (
            "timer_not_restarted",
            ENTER,
            vec![
                (0.2, |m| m.permit = false),
                (0.8, |m| m.permit = true),
                (0.05, |m| v(m, 0.9)),
                (0.5, |m| v(m, 1.0)),
            ],
        ),
        (
            "enters_at_any_frequency",
            ENTER,
            vec![
                (0.2, |m| {
                    m.permit = false;
                    f(m, 60.5);
                }),
                (1.2, |m| m.permit = true),
            ],
        ),
        ("permit_ignored", "", vec![(0.2, |m| m.permit = false)]),
        (
            "average_phase_trip",
            "",
            vec![(3.0, |m| m.v = Volts::Phases([0.4, 1.0, 1.0]))],
        ),
        ("trip_never", "", vec![(3.0, |m| v(m, 0.4))]),
        ("trips_late", "", vec![(2.5, |m| v(m, 0.4))]),
        ("no_ride_through", "", vec![(0.5, |m| v(m, 0.4))]),
        ("no_momentary_cessation", "", vec![(0.5, |m| v(m, 0.4))]),
        ("ceases_late", "", vec![(0.3, |m| v(m, 0.4))]),
        (
            "returns_late",
            "",
            vec![(0.5, |m| v(m, 0.4)), (1.0, |m| v(m, 1.0))],
        ),
        (
            "trips_before_it_may",
            "[ride_through]\ntrips = \"when_it_may\"\n",
            vec![(0.7, |m| v(m, 0.45))],
        ),
        (
            "trips_on_rocof",
            "",
            vec![(0.1, |_| {}), (0.1, |m| f(m, 60.05)), (0.1, |m| f(m, 60.1))],
        ),
        (
            "trips_on_phase_jump",
            "",
            vec![(0.1, |m| m.angle_deg = Some(20.0))],
        ),
        ("island_ignored", "", vec![(1.5, |m| m.island = true)]),
    ]
}

#[test]
fn every_defect_shows_in_a_series() {
    let rows = shown();
    let named: Vec<&str> = rows.iter().map(|(name, ..)| *name).collect();
    let all: Vec<&str> = Defect::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(named, all, "one row for each");
    for (name, settings, series) in rows {
        let sound = given(device(settings, None), &series);
        let bad = given(device(settings, Some(name)), &series);
        assert!(differ(&sound, &bad), "{name} does what a sound device does");
    }
}

#[test]
fn a_device_with_a_defect_tells_the_settings_that_were_asked_for() {
    for (name, defect) in Defect::ALL {
        let bad = device("[volt_var]\n[p_limit]\np_pu = 0.5\n", Some(name));
        let sound = device("[volt_var]\n[p_limit]\np_pu = 0.5\n", None);
        let mut expected = sound.settings().clone();
        expected.defect = Some(defect);
        assert_eq!(*bad.settings(), expected, "{name}");
    }
}

#[test]
fn a_settings_file_cannot_name_a_defect_and_an_emulated_device_only_a_known_one() {
    let file = Source::new("settings.toml", "defect = \"no_latch\"\n");
    let told = crate::settings::read(file).expect_err("nobody reads it");
    assert_eq!(told[0].code, "D002");
    let document =
        Document::parse(Source::new("rig.toml", "defect = \"no_lach\"\n")).expect("TOML");
    let emulated = Emulated {
        kind: Kind::Storage,
        nominal: Frequency::from_hertz(50.0),
    };
    assert_eq!(read_emulated(document.root(), emulated), None);
    let told = document.into_faults();
    assert_eq!(told[0].code, "D006");
    assert!(told[0].to_string().contains("no_latch"), "{}", told[0]);
}

#[test]
fn the_page_of_the_rig_names_every_defect() {
    let page = include_str!("../../../README.md");
    for (name, _) in Defect::ALL {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}
