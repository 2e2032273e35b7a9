use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::script;

/// A test as SVP writes them, with one of everything: numbers, a list, switches, words, and the bench.
const TEST: &str = r#"<scriptConfig name="VV &amp; more" script="VV">
  <params>
    <param name="eut.v_nom" type="float">120.0</param>
    <param name="eut.p_rated" type="float">8000.0</param>
    <param name="vv.test_1_t_r" type="float">10.0</param>
    <param name="vv.k" type="float">-0.5</param>
    <param name="vv.irr" type="string">All</param>
    <param name="vv.vref" type="string">95%</param>
    <param name="vv.test_1" type="string">Enabled</param>
    <param name="vv.test_2" type="string">Disabled</param>
    <param name="vv.test_3" type="string">Enabled</param>
    <param index_count="3" index_start="1" name="vv.curve.volt" type="float">97.0 100 103.5 </param>
    <param index_count="2" index_start="1" name="vv.names" type="string">"one two" three </param>
    <param name="eut.phases" type="string">Three &quot;phase&quot;</param>
    <param name="gridsim_1.ametek.v_max" type="float">300.0</param>
    <param name="das_das_wf.mode" type="string">Disabled</param>
  </params>
</scriptConfig>
"#;

#[test]
fn a_test_of_svp_is_its_name_its_script_and_its_parameters() {
    let test = read(TEST).unwrap();
    assert_eq!((&*test.name, &*test.script), ("VV & more", "VV"));
    assert_eq!(test.parameters.len(), 14);
    let named = |name: &str| {
        let found = test.parameters.iter().find(|p| p.name == name).unwrap();
        (found.values.clone(), found.first, found.is_number)
    };
    let one = |text: &str| vec![text.to_owned()];
    assert_eq!(named("eut.v_nom"), (one("120"), None, true));
    let curve = ["97", "100", "103.5"].map(str::to_owned).to_vec();
    assert_eq!(named("vv.curve.volt"), (curve, Some(1), true));
    let names = ["one two", "three"].map(str::to_owned).to_vec();
    assert_eq!(named("vv.names"), (names, Some(1), false));
    assert_eq!(named("eut.phases").0, one("Three \"phase\""));
}

#[test]
fn all_mistakes_of_a_test_are_told_at_once_and_each_in_its_place() {
    let text = "<scriptConfig name='a' script='b'><params>\n\
                <param name='x' type='float'>much</param>\n\
                <param type='int'>1</param>\n\
                <param name='c' index_start='1' index_count='3' type='int'>1 2</param>\n\
                <param name='d' index_start='1' type='int'>1 2</param>\n\
                <param name='e' type='float'>inf</param>\n\
                <param name='f' type='int'>1</param><param name='f' type='int'>1</param>\n\
                </params></scriptConfig>";
    let faults = read(text).unwrap_err();
    let told: Vec<(usize, &str)> = faults
        .iter()
        .map(|f| (text[..f.span.start].matches('\n').count() + 1, &*f.message))
        .collect();
    let expected = [
        (2, "`x` is \"much\", which is no float"),
        (3, "a parameter has no name"),
        (4, "`c` has 2 values, and `index_count` says 3"),
        (
            5,
            "`d` is a list, and `index_start` and `index_count` do not say which",
        ),
        (6, "`e` is \"inf\", which is no float"),
        (7, "`f` is there twice"),
    ];
    assert_eq!(told, expected);
    assert!(faults.iter().all(|f| f.kind == FaultKind::Parameter));
}

#[test]
fn what_is_no_test_of_svp_is_said_to_be_none() {
    for (text, why) in [
        ("", "no `scriptConfig`"),
        ("plain words", "no `scriptConfig`"),
        ("<a><b/></a>", "begins with `a`"),
        ("<scriptConfig script='b'/>", "no `name`"),
        ("<scriptConfig name='a'/>", "no `script`"),
        (
            "<scriptConfig name='a' script='b'><params></scriptConfig>",
            "no XML",
        ),
    ] {
        let faults = read(text).unwrap_err();
        assert_eq!(faults.len(), 1, "{text}");
        assert_eq!(faults[0].kind, FaultKind::Foreign, "{text}");
        assert!(
            faults[0].message.contains(why),
            "{text}: {}",
            faults[0].message
        );
        assert!(faults[0].span.end <= text.len(), "{text}");
    }
}

/// The combinations of the matrix of what was made, read by the reader of scenarios.
fn matrices(text: &str) -> Vec<BTreeMap<String, String>> {
    let whole = text
        .replace("do     = []", "do     = [{ at = \"1s\", mark = \"t0\" }]")
        .replace("check  = []", "check  = [{ band = \"grid.f\", from = \"t0\", for = \"{vv_test_1_t_r}\", within = \"59..61Hz\" }]");
    let loaded = script::read(document::Source::new("made.toml", whole)).unwrap();
    for scenario in &loaded.scenarios {
        let title = scenario.title();
        assert!(
            title.contains("vv_irr=") && !title.contains("eut_v_nom"),
            "{title}"
        );
    }
    loaded.scenarios.into_iter().map(|s| s.matrix).collect()
}

#[test]
fn its_parameters_are_a_matrix_with_units_whose_switched_tests_and_levels_are_swept() {
    let text = scenario_text(&read(TEST).unwrap(), "VV.tst");
    let all = matrices(&text);
    assert_eq!(all.len(), 2 * 3, "two tests at three levels:\n{text}");
    let column = |name: &str| all.iter().map(|m| &*m[name]).collect::<BTreeSet<&str>>();
    for (name, values) in [
        ("eut_v_nom", &["120V"][..]),
        ("eut_p_rated", &["8000W"]),
        ("vv_test_1_t_r", &["10s"]),
        ("vv_k", &["-0.5"]),
        ("vv_irr", &["100%", "20%", "66%"]),
        ("vv_vref", &["95%"]),
        ("vv_test", &["1", "3"]),
        ("vv_curve_volt_1", &["97"]),
        ("vv_curve_volt_3", &["103.5"]),
    ] {
        let values: BTreeSet<&str> = values.iter().copied().collect();
        assert_eq!(column(name), values, "{name}");
    }
    // What became no row is said, each where it belongs.
    let (words, bench) = text.split_once("# What the bench is").unwrap();
    for word in [
        "vv.test_2 = \"Disabled\"",
        "vv.names = \"one two\" \"three\"",
        "eut.phases = ",
    ] {
        assert!(words.contains(word), "{word}\n{text}");
    }
    for word in [
        "gridsim_1.ametek.v_max = \"300\"",
        "das_das_wf.mode = \"Disabled\"",
    ] {
        assert!(bench.contains(word), "{word}\n{text}");
    }
}

#[test]
fn what_was_made_says_that_steps_and_checks_are_missing() {
    let text = scenario_text(&read(TEST).unwrap(), "VV.tst");
    let faults = script::read(document::Source::new("made.toml", text)).unwrap_err();
    let codes: Vec<&str> = faults.iter().map(|f| f.code).collect();
    assert_eq!(codes, [crate::codes::NOTHING_CHECKED]);
}

#[test]
fn a_table_has_svps_columns_and_a_line_for_each_time_of_reading() {
    let points = ["ac.p", "ac.f", "ac.v.l1", "bat.soc"].map(str::to_owned);
    let mut table = Table::of(&points.into_iter().collect());
    assert_eq!(
        table.head(),
        "TIME,AC_VRMS_1,AC_FREQ_1,F_MEAS,P_MEAS,BAT_SOC"
    );
    let second = 1_600_000_000_000_000_000;
    assert_eq!(table.add(second, "ac.p", "1000"), None);
    assert_eq!(table.add(second, "ac.f", "49.9"), None);
    assert_eq!(table.add(second, "not.there", "1"), None);
    let full = table.add(second + 250_000_000, "bat.soc", "");
    assert_eq!(full.as_deref(), Some("1600000000.000000,,49.9,49.9,1000,"));
    let last = table.take();
    assert_eq!(last.as_deref(), Some("1600000000.250000,,,,,"));
    assert_eq!(table.take(), None);
}
