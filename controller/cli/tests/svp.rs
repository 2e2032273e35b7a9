//! Tests of the SunSpec System Validation Platform become matrices, and runs become its tables.

mod common;

use common::Place;

/// Our own, in the form that SVP writes.
const TEST: &str = "<scriptConfig name=\"VV_1\" script=\"VV\">
  <params>
    <param name=\"eut.f_nom\" type=\"float\">60.0</param>
    <param name=\"vv.test_1_t_r\" type=\"float\">5.0</param>
    <param name=\"vv.irr\" type=\"string\">All</param>
    <param name=\"vv.test_1\" type=\"string\">Enabled</param>
    <param name=\"gridsim.mode\" type=\"string\">Disabled</param>
  </params>
</scriptConfig>
";

#[test]
fn a_test_of_svp_becomes_a_matrix_that_a_scenario_runs_once_its_steps_are_written() {
    let place = Place::new();
    place.file("VV_1.tst", TEST);
    let shown = place.gridrig(&["migrate", "VV_1.tst"]);
    shown.exits(0);
    let made = place.gridrig(&["migrate", "VV_1.tst", "--out", "vv.toml"]);
    made.exits(0);
    let text = std::fs::read_to_string(place.path("vv.toml")).expect("it was written");
    assert_eq!(shown.stdout, text, "what is shown is what is written");
    // It says itself what it lacks.
    let checked = place.gridrig(&["check", "vv.toml"]);
    assert!(
        checked.exits(2).stderr.contains("error[S013]"),
        "{}",
        checked.stderr
    );
    let text = text
        .replace(
            "do     = []",
            "do     = [{ at = \"{vv_test_1_t_r}\", mark = \"t0\" }]",
        )
        .replace(
            "check  = []",
            "check  = [{ band = \"grid.f\", from = \"t0\", for = \"1s\", within = \"49..51Hz\" }]",
        );
    place.file("vv.toml", &text);
    place.gridrig(&["check", "vv.toml"]).exits(0);
    let listed = place.gridrig(&["test", "vv.toml", "--list"]);
    listed.exits(0);
    for level in ["vv_irr=100%", "vv_irr=66%", "vv_irr=20%"] {
        assert!(listed.stdout.contains(level), "{}", listed.stdout);
    }
    assert!(!listed.stdout.contains("eut_f_nom"), "{}", listed.stdout);
    // Nothing is written over.
    let again = place.gridrig(&["migrate", "VV_1.tst", "--out", "vv.toml"]);
    assert!(
        again.exits(2).stderr.contains("error[C003]"),
        "{}",
        again.stderr
    );
}

#[test]
fn what_cannot_be_taken_over_is_told_with_its_place() {
    let place = Place::new();
    place.file("bad.tst", &TEST.replace("60.0", "sixty"));
    place.file("other.tst", "<html/>");
    let done = place.gridrig(&["migrate", "bad.tst", "other.tst"]);
    done.exits(2);
    for word in ["error[C047]", "bad.tst:3:5", "error[C046]", "other.tst:1:1"] {
        assert!(done.stderr.contains(word), "{word}\n{}", done.stderr);
    }
    assert_eq!(done.stdout, "");
}

#[test]
fn a_file_without_a_schema_gets_one_and_one_that_is_new_stays_as_it_is() {
    let place = Place::new();
    let rig = "# A bench.\ntitle = \"a\"\nsite = { v = \"230V\", f = \"50Hz\", phases = 1 }\n";
    place.file("old.toml", rig);
    place.file("later.toml", &format!("schema = 2\n{rig}"));
    place.file(
        "s.toml",
        "name = \"s\"\ncheck = [{ ledger = \"complete\" }]\n",
    );
    let shown = place.gridrig(&["migrate", "old.toml", "s.toml"]);
    shown.exits(0);
    for line in [
        "@@ -1,0 +2,1 @@",
        "+schema = 1",
        "s.toml: scenario, of the only form there is: nothing to migrate",
    ] {
        assert!(shown.stdout.contains(line), "{line}\n{}", shown.stdout);
    }
    let text = || std::fs::read_to_string(place.path("old.toml")).expect("it is there");
    assert_eq!(text(), rig, "it was only shown");
    place.gridrig(&["migrate", "--write", "old.toml"]).exits(0);
    assert_eq!(text(), rig.replacen("title", "schema = 1\ntitle", 1));
    let again = place.gridrig(&["migrate", "--write", "old.toml"]);
    assert!(
        again
            .exits(0)
            .stdout
            .contains("rig, schema 1, the newest: nothing to migrate")
    );
    let later = place.gridrig(&["migrate", "--write", "later.toml", "old.toml"]);
    assert!(
        later.exits(2).stderr.contains("error[C048]"),
        "{}",
        later.stderr
    );
}

#[test]
fn a_run_is_exported_in_the_tables_of_svp() {
    let place = Place::new();
    place.file(
        "hold.toml",
        "name = \"hold, and wait\"\n\
         do = [{ at = \"2s\", set = { \"ess1.p\" = \"1kW\" }, mark = \"t0\" }, { at = \"+6s\", mark = \"t1\" }]\n\
         check = [\n\
           { t90 = \"ess1.p\", from = \"t0\", to = \"1kW\", max = \"2s\", name = \"step\" },\n\
           { band = \"ess1.p\", from = \"t0+3s\", to = \"t1\", within = \"0.9..1.1kW\", name = \"hold\" },\n\
           { band = \"ess1.p\", from = \"t0+3s\", to = \"t1\", within = \"1.9..2.1kW\", name = \"miss\" },\n\
         ]\n",
    );
    place
        .gridrig(&["test", "hold.toml", "--out", "run"])
        .exits(1);
    place
        .gridrig(&["report", "export", "run", "--format", "svp", "--out", "svp"])
        .exits(0);
    let read = |name: &str| std::fs::read_to_string(place.path("svp").join(name)).expect("a table");
    let table = read("001-hold-and-wait__ess1.csv");
    let mut lines = table.lines();
    let head: Vec<&str> = lines.next().expect("a head").split(',').collect();
    assert_eq!(head[0], "TIME");
    let column = |name: &str| head.iter().position(|h| *h == name).expect("a column");
    let (p, v) = (column("P_MEAS"), column("AC_VRMS_1"));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert!(rows.len() > 50, "{}", rows.len());
    assert!(rows.iter().all(|row| row.len() == head.len()));
    let watts: Vec<f64> = rows.iter().filter_map(|row| row[p].parse().ok()).collect();
    assert!(watts.iter().any(|w| (w - 1000.0).abs() < 20.0), "{watts:?}");
    let volts = rows.iter().filter_map(|row| row[v].parse::<f64>().ok());
    assert!(
        volts
            .into_iter()
            .all(|volts| (200.0..260.0).contains(&volts))
    );
    let times: Vec<f64> = rows.iter().filter_map(|row| row[0].parse().ok()).collect();
    assert!(times.len() == rows.len() && times.is_sorted());

    let summary = read("result_summary.csv");
    let told: Vec<&str> = summary.lines().collect();
    assert!(
        told[0].starts_with("90%_BY_TR=1,WITHIN_BOUNDS_BY_LAST_TR,V_MEAS"),
        "{}",
        told[0]
    );
    let file = "001-hold-and-wait__ess1.csv";
    assert_eq!(
        told[1],
        format!("Pass,,,,,,,,,,,,,,\"hold, and wait: step\",{file}")
    );
    assert!(
        told[2].starts_with(",Pass,,,,,,,") && told[2].contains(",900,1100,"),
        "{}",
        told[2]
    );
    assert!(
        told[3].starts_with(",Fail,") && told[3].contains(",1900,2100,"),
        "{}",
        told[3]
    );
    // The folder is in use now.
    let again = place.gridrig(&["report", "export", "run", "--format", "svp", "--out", "svp"]);
    again.exits(2);
    place
        .gridrig(&["report", "export", "run", "--format", "svp"])
        .exits(2);
}
