//! What a scenario file may say, and what is said about one that is wrong.

mod agree;
mod parts;

use std::time::Duration;

use document::Source;
use model::{Instant, Mode, Reading};

use super::*;
use crate::check::{Acceptance, Characteristic, CheckKind, Comparison, Condition, WindowEnd};
use crate::series::Recording;
use crate::signal::SignalQuantity;

const FFR: &str = r#"
name   = "FFR: 49.5 Hz step, 2 kW in 1 s"
source = ["Fingrid FFR 2024, 0.7/1.0/1.3 s"]
tags   = ["ffr", "smoke"]
need   = { ess = 1, source = "grid" }
matrix = { soc = ["20%", "80%"], loss = ["0%", "2%"] }
do = [
  { at = "0s",  set  = { "grid.f" = "50.0Hz", "bat1.p" = "0W" }, until = { settle = "bat1.p", band = "50W", within = "5s" } },
  { at = "+1s", step = { "grid.f" = "49.5Hz" }, mark = "t0", fault = { "lan1.loss" = "{loss}" } },
]
check = [
  { t90 = "bat1.p", from = "t0", max = "1.0s" },
  { band = "bat1.p", from = "t0+1.3s", for = "5s", within = "1.9..2.1kW", max_gap = "100ms" },
  { never = "bat1.p > 2.05kW" },
  { ledger = "complete" },
]
after = { safe = ["bat1"], within = "10s" }
"#;

fn load(text: &str) -> Result<Vec<Scenario>, Vec<String>> {
    read(Source::new("s.toml", text))
        .map(|loaded| loaded.scenarios)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

#[test]
fn the_example_of_the_reference_becomes_one_scenario_for_each_combination() {
    let scenarios = load(FFR).expect("the example is right");
    let titles: Vec<String> = scenarios.iter().map(Scenario::title).collect();
    assert_eq!(titles.len(), 4);
    assert_eq!(
        titles[1],
        "FFR: 49.5 Hz step, 2 kW in 1 s [loss=2%, soc=20%]"
    );
    let first = &scenarios[0];
    assert_eq!(first.need.roles, [(Role::Ess, 1)]);
    assert!(first.need.grid_source);
    assert_eq!(
        first.watched(),
        [Signal::new("bat1", SignalQuantity::ActivePower)]
    );
    let until = first.steps[0].until.as_ref().expect("it waits");
    assert_eq!(
        until.kind,
        UntilKind::Settle {
            signal: Signal::new("bat1", SignalQuantity::ActivePower),
            target: Some(0.0),
            band: 50.0,
            rest: Duration::from_secs(1),
        },
        "a wait settles where the step sets the signal"
    );
    assert_eq!(first.steps[1].mark.as_deref(), Some("t0"));
    assert_eq!(first.steps[1].origin.line, 9);
    assert_eq!(
        scenarios[1].steps[1].actions[1],
        Action::Fault {
            subject: "lan1".to_owned(),
            name: "loss".to_owned(),
            fault: Some(Fault::Loss(0.02)),
        }
    );
    let CheckKind::ResponseTime { over, to, .. } = &first.checks[0].kind else {
        unreachable!("the first check is a response time")
    };
    assert_eq!((*over, *to), (Duration::from_secs(5), None));
    let CheckKind::Band { window, within, .. } = &first.checks[1].kind else {
        unreachable!("the second check is a band")
    };
    assert_eq!(window.to, WindowEnd::For(Duration::from_secs(5)));
    assert_eq!(*within, (1900.0, 2100.0));
    assert_eq!(first.checks[2].line, 14);
    assert_eq!(first.after.as_ref().expect("there").safe, ["bat1"]);
}

#[test]
fn a_window_that_some_run_can_fill_is_taken() {
    let steps = r#"{ at = "0s", mark = "t0", until = { mode = "islanded", within = "9s" } }, { at = "+1s", mark = "t1" }"#;
    for check in [
        r#"{ band = "a.p", from = "t1+0.9s", within = "0..1W" }"#,
        r#"{ band = "a.p", from = "t0+10.9s", within = "0..1W" }"#,
        r#"{ band = "a.p", from = "t1+5s", for = "9s", within = "0..1W" }"#,
        r#"{ band = "a.p", from = "t0", to = "t1", within = "0..1W" }"#,
        r#"{ band = "a.p", from = "end-3s", for = "3s", within = "0..1W" }"#,
        r#"{ band = "a.p", from = "t1+5s", within = "0..1W" }, { never = "a.p > 1W", from = "t1", for = "9s" }"#,
        r#"{ never = "a.p > 1W", from = "t1-20s", to = "t1-9s" }"#,
    ] {
        let loaded = load(&scenario(steps, check, ""));
        assert!(loaded.is_ok(), "{check}: {loaded:?}");
    }
}

/// A scenario with these steps, checks and further lines.
fn scenario(steps: &str, checks: &str, more: &str) -> String {
    format!("name = \"n\"\n{more}\ndo = [{steps}]\ncheck = [{checks}]\n")
}

#[test]
fn every_action_is_read_in_its_unit() {
    let text = scenario(
        r#"{ at = "0s", set = { "pv1.available" = "2kW", "plug3.on" = "off", "brk1.closed" = "open" } },
           { at = "1s", ramp = { "grid.f" = { to = "49.5Hz", over = "2s" } }, hold = { "bat1.p" = "-1kW" } },
           { at = "4s", mode = "island", release = ["bat1"], fault = { "inv1.stuck" = "on", "lan1.loss" = "off" } },
           { at = "4s", step = { "grid.v" = "46V" }, for = "150ms", hold = { "bat1.p" = "1kW" } },
           { at = "5s", until = { mode = "islanded", within = "3s" }, agree = { pcc_target = "1kW", pcc_limits = "-3..5kW", pcc_pf_min = 0.95 } }"#,
        r#"{ ledger = "complete" }"#,
        "",
    );
    let scenarios = load(&text).expect("right");
    let actions: Vec<&Action> = scenarios[0].steps.iter().flat_map(|s| &s.actions).collect();
    let p = |subject: &str, quantity| Signal::new(subject, quantity);
    assert_eq!(
        actions,
        [
            &Action::Set {
                signal: p("pv1", SignalQuantity::AvailablePower),
                value: 2000.0
            },
            &Action::Set {
                signal: p("plug3", SignalQuantity::Switch),
                value: 0.0
            },
            &Action::Set {
                signal: p("brk1", SignalQuantity::Switch),
                value: 0.0
            },
            &Action::Hold {
                signal: p("bat1", SignalQuantity::ActivePower),
                value: -1000.0
            },
            &Action::Ramp {
                signal: p("grid", SignalQuantity::Frequency),
                to: 49.5,
                over: Duration::from_secs(2)
            },
            &Action::Fault {
                subject: "inv1".to_owned(),
                name: "stuck".to_owned(),
                fault: Some(Fault::Stuck)
            },
            &Action::Fault {
                subject: "lan1".to_owned(),
                name: "loss".to_owned(),
                fault: None
            },
            &Action::Release {
                device: "bat1".to_owned()
            },
            &Action::Mode(model::ModeRequest::Island),
            &Action::Pulse {
                signal: p("grid", SignalQuantity::Voltage),
                value: 46.0,
                length: Duration::from_millis(150)
            },
            &Action::Hold {
                signal: p("bat1", SignalQuantity::ActivePower),
                value: 1000.0
            },
            &Action::Agree(model::Agreement {
                target: Some(quantities::ActivePower::from_watts(1000.0)),
                limits: quantities::Bounds::new(
                    quantities::ActivePower::from_watts(-3000.0),
                    quantities::ActivePower::from_watts(5000.0),
                ),
                pf_min: Some(0.95),
                q: None,
            }),
        ]
    );
}

#[test]
fn an_agreement_that_nobody_can_keep_is_refused_with_its_place() {
    for (agree, message) in [
        (
            r#"{ pcc_target = "6kW", pcc_limits = "-3..5kW" }"#,
            "inside the limits",
        ),
        ("{ pcc_pf_min = 1.2 }", "power factor"),
        (r#"{ pcc_q = "1kW" }"#, "var"),
        (r#"{ pcc_limit = "1..2kW" }"#, "pcc_limit"),
    ] {
        let step = format!("{{ at = \"0s\", agree = {agree} }}");
        let faults = load(&scenario(&step, r#"{ ledger = "complete" }"#, "")).expect_err("wrong");
        assert!(
            faults.iter().any(|f| f.contains(message)),
            "{agree}: {faults:?}"
        );
    }
}

#[test]
fn every_condition_is_read() {
    let rows = [
        ("bat1.p>=2kW", Comparison::AtLeast, 2000.0),
        ("bat1.p <= -2kW", Comparison::AtMost, -2000.0),
        ("bat1.soc < 15%", Comparison::Below, 0.15),
        ("plug3.on != on", Comparison::Different, 1.0),
        ("grid.f == 50Hz", Comparison::Equal, 50.0),
    ];
    for (text, expected, value) in rows {
        let file = scenario("", &format!("{{ never = \"{text}\" }}"), "");
        let scenarios = load(&file).expect("right");
        let CheckKind::Never { condition, .. } = &scenarios[0].checks[0].kind else {
            unreachable!("a check of that kind")
        };
        let Condition::Signal {
            comparison, limit, ..
        } = condition
        else {
            unreachable!("a condition of a signal")
        };
        assert_eq!((*comparison, *limit), (expected, value), "{text}");
    }
}

/// One fault for each code, and the place where it is told.
#[test]
fn every_fault_is_told_with_its_code_and_what_to_do() {
    let good = r#"{ ledger = "complete" }"#;
    let step = |text: &str| scenario(text, good, "");
    let check = |text: &str| scenario(r#"{ at = "0s", mark = "t0" }"#, text, "");
    let rows = [
        (step(r#"{ at = "3", mark = "a" }"#), "S001", "no unit"),
        (
            check(r#"{ band = "a.p", from = "+1s", within = "0..1W" }"#),
            "S001",
            "previous step",
        ),
        (step(r#"{ at = "t9", mark = "a" }"#), "S002", "no mark `t9`"),
        (
            check(r#"{ t90 = "a.p", from = "t1", max = "1s" }"#),
            "S002",
            "did you mean `t0`?",
        ),
        (
            step(r#"{ at = "0s", set = { "grid" = "50Hz" } }"#),
            "S003",
            "name a device",
        ),
        (
            check(r#"{ never = "bat1.pp > 1W" }"#),
            "S003",
            "did you mean `p`?",
        ),
        (
            step(r#"{ at = "0s", set = { "grid.f" = "50V" } }"#),
            "S004",
            "use one of: Hz",
        ),
        (
            check(r#"{ band = "grid.f", within = "1..2kW" }"#),
            "S004",
            "no range of `grid.f`",
        ),
        (
            step(r#"{ at = "0s", fault = { "lan1.los" = "2%" } }"#),
            "S005",
            "did you mean `loss`?",
        ),
        (
            step(r#"{ at = "0s", fault = { "lan1.loss" = "2V" } }"#),
            "S005",
            "fraction",
        ),
        (step(r#"{ at = "0s" }"#), "S006", "does nothing"),
        (
            check(r#"{ bend = "bat1.p" }"#),
            "S007",
            "did you mean `band`?",
        ),
        (
            check(r#"{ ledger = "complete", market = "settled" }"#),
            "S007",
            "this one says 2",
        ),
        (
            check(r#"{ band = "a.p", for = "1s", to = "t0", within = "0..1W" }"#),
            "S008",
            "two ends",
        ),
        (
            check(r#"{ band = "a.p", from = "t0+1s", to = "t0", within = "0..1W" }"#),
            "S008",
            "ends at t0",
        ),
        (check(r#"{ never = "bat1.p" }"#), "S009", "compares nothing"),
        (
            check(r#"{ never = "mode > safe" }"#),
            "S009",
            "use == or !=",
        ),
        (check(r#"{ ledger = "{x}" }"#), "S010", "no `x`"),
        (
            scenario("", good, "matrix = { a = [] }"),
            "S011",
            "has no values",
        ),
        (
            step(r#"{ at = "3s", mark = "a" }, { at = "1s", mark = "b" }"#),
            "S012",
            "1s and the one before it at 3s",
        ),
        (
            step(
                r#"{ at = "5s", mark = "a" }, { at = "+1s", mark = "b" }, { at = "3s", mark = "c" }"#,
            ),
            "S012",
            "3s and the one before it at 6s",
        ),
        (
            step(
                r#"{ at = "0s", mark = "a" }, { at = "+2s", mark = "b" }, { at = "a+1s", mark = "c" }"#,
            ),
            "S012",
            "a+1s and the one before it at a+2s",
        ),
        (
            scenario(
                "",
                good,
                r#"setup = { within = "5s", do = [{ at = "9s", mark = "a" }] }"#,
            ),
            "S012",
            "the last step of this setup is at 9s",
        ),
        (
            step(r#"{ at = "end-1s", mark = "a" }"#),
            "S001",
            "no step can count from its end",
        ),
        (
            check(r#"{ band = "a.p", from = "t0+1s", within = "0..1W" }"#),
            "S023",
            "at t0+1s, and the record ends 1 s behind t0",
        ),
        (
            check(r#"{ band = "a.p", from = "end", for = "1s", within = "0..1W" }"#),
            "S023",
            "behind the end of the record",
        ),
        (
            check(r#"{ never = "a.p > 1W", to = "end+1s" }"#),
            "S023",
            "ends at end+1s, and nothing is recorded",
        ),
        (
            check(r#"{ mode = "safe", from = "end", within = "1s" }"#),
            "S023",
            "behind the end of the record",
        ),
        (
            check(r#"{ never = "a.p > 1W", from = "t0-5s", to = "t0" }"#),
            "S023",
            "over before the scenario begins",
        ),
        (
            check(r#"{ never = "a.p > 1W", from = "3s", to = "t0+2s" }"#),
            "S023",
            "ends at t0+2s, and 3s is not before that",
        ),
        (
            step(r#"{ repeat = 2, as = "1", do = [] }"#),
            "S026",
            "cannot name a round",
        ),
        (
            scenario("", good, "include = [\"no-such.toml\"]"),
            "S027",
            "no-such.toml cannot be read",
        ),
        (scenario("", "", ""), "S013", "checks nothing"),
        (
            check(r#"{ mode = "island", within = "1s" }"#),
            "S014",
            "did you mean `islanded`?",
        ),
        (
            check(r#"{ event = "load_shedd" }"#),
            "S014",
            "did you mean `load_shed`?",
        ),
        (
            check(r#"{ settle = "a.p", from = "t0", to = "1kW", tolerance = "-5W", max = "2s" }"#),
            "S018",
            "cannot be negative",
        ),
        (
            check(r#"{ settle = "a.p", from = "t0", to = "1kW", max = "2s" }"#),
            "D004",
            "tolerance",
        ),
        (
            check(r#"{ ordered = ["load_shed", "load_shedd plug1"] }"#),
            "S014",
            "did you mean `load_shed`?",
        ),
        (
            check(r#"{ ordered = ["load_shed a b", "load_restored"] }"#),
            "S014",
            "a device behind it",
        ),
        (
            check(r#"{ ordered = ["load_shed"] }"#),
            "S018",
            "needs two events",
        ),
        (
            step(r#"{ at = "0s", mark = "a" }, { at = "1s", mark = "a" }"#),
            "S015",
            "already",
        ),
        (step(r#"{ at = "0s", mark = "end" }"#), "S015", "already"),
        (
            scenario("", good, "need = { storage = 1 }"),
            "S016",
            "not a role",
        ),
        (
            step(r#"{ at = "0s", until = { within = "1s" } }"#),
            "S017",
            "has 0",
        ),
        (
            check(r#"{ t90 = "a.p", from = "t0", max = "0s" }"#),
            "S018",
            "no time at all",
        ),
        (
            check(r#"{ count = "a.p > 1W", at_least = 3, at_most = 2 }"#),
            "S018",
            "more than `at_most`",
        ),
        (
            check(r#"{ count = "load_shed", at_least = 3 }"#),
            "S009",
            "compares nothing",
        ),
        (
            check(r#"{ energy = "a.p", within = "1..2kW" }"#),
            "S004",
            "no range of energy",
        ),
        (
            check(r#"{ energy = "a.q", within = "1..2Wh" }"#),
            "S019",
            "no active power",
        ),
        (
            check(r#"{ energy = "a.p" }"#),
            "D004",
            "`check.within` is missing",
        ),
        (
            check(r#"{ event = "armed", at_least = 0 }"#),
            "S018",
            "always true",
        ),
        (
            check(r#"{ t90 = "plug3.on", from = "t0", max = "1s" }"#),
            "S019",
            "in between",
        ),
        (
            check(r#"{ band = "a.p", within = "0..1W", uncertainty = "1V" }"#),
            "S004",
            "no value of `a.p`",
        ),
        (
            check(r#"{ band = "a.p", within = "0..1W", uncertainty = "-1W" }"#),
            "S018",
            "not negative",
        ),
        (
            check(r#"{ ledger = "complete", uncertainty = "1W" }"#),
            "S019",
            "judges no measured value",
        ),
        (
            check(r#"{ never = "mode == safe", uncertainty = "1W" }"#),
            "S019",
            "judges no measured value",
        ),
        (
            step(r#"{ at = "0s", hold = { "bat1.p" = "1W" }, for = "1s" }"#),
            "S020",
            "ends nothing",
        ),
        (
            step(r#"{ at = "0s", set = { "grid.noise" = "1Hz" }, for = "1s" }"#),
            "S020",
            "no value to return to",
        ),
        (
            check(&curve(r#"[["1V", "1var"], ["0V", "0var"]]"#, "")),
            "S021",
            "point 2 of the curve stands left of the one before it",
        ),
        (
            check(&curve(
                r#"[["0V", "1var"]]"#,
                r#"response = "5s", for = "10s""#,
            )),
            "S021",
            "does not last twice the response time",
        ),
        (
            check(&curve(r#"[["0V", "1W"]]"#, "")),
            "S004",
            "no value of `a.q`",
        ),
        (
            check(&curve(r#"[["0V", "1var"], "1V"]"#, "")),
            "D003",
            "a list of pairs of texts",
        ),
        (
            check(&curve(r#"[["0V", "1var"]]"#, "").replace("1V", "-1V")),
            "S018",
            "`mra_of` is a distance",
        ),
        (
            scenario(
                r#"{ at = "0s", mark = "t0" }"#,
                good,
                "mutants = { pv1 = [{ }] }",
            ),
            "S022",
            "differs in nothing",
        ),
        (
            scenario(
                r#"{ at = "0s", mark = "t0" }"#,
                good,
                "mutants = { controller = [{ defect = \"never_shed\" }] }",
            ),
            "S014",
            "did you mean `never_sheds`?",
        ),
        (
            check(r#"{ band = "a.p", within = "0..1W", maxgap = "1s" }"#),
            "D002",
            "did you mean `max_gap`?",
        ),
        (
            step(r#"{ at = "0s", adopt = { pv1 = { volt_var = [[0.98, 0.1], [0.92, 0]] } } }"#),
            "S029",
            "point 2 stands left of the one before it",
        ),
        (
            step(r#"{ at = "0s", adopt = { pv1 = { revert = "60s" } } }"#),
            "S029",
            "this says 0",
        ),
        (
            step(r#"{ at = "0s", adopt = { pv1 = { power_factor = { absorbs = true } } } }"#),
            "D004",
            "`do.adopt.pv1.power_factor.pf` is missing",
        ),
        (
            step(
                r#"{ at = "0s", adopt = { pv1 = { freq_droop = { db_of_hz = 0.1, db_uf_hz = 0.1, k_of = 0.05, k_uf = 0.05, db_of = 0.1 } } } }"#,
            ),
            "D002",
            "known here: db_of_hz",
        ),
        (step(r#"{ mark = "a" }"#), "D004", "`do.at` is missing"),
        (
            check(r#"{ link = "a", loss = "0.1%" }"#),
            "D004",
            "`check.p99` is missing",
        ),
        (
            check(r#"{ jitter = "20ms", overruns = "0.1%" }"#),
            "S004",
            "this is no share",
        ),
        (
            check(r#"{ band = "a.p" }"#),
            "D004",
            "`check.within` is missing",
        ),
        (
            scenario("", good, "setup = { within = \"5s\" }"),
            "D004",
            "`setup.do` is missing",
        ),
        (
            scenario(
                "",
                good,
                "teardown = { do = [{ at = \"0s\", mark = \"a\" }] }",
            ),
            "D004",
            "`teardown.within` is missing",
        ),
        ("name = \n".to_owned(), "D001", "s.toml:1:"),
    ];
    for (text, code, words) in &rows {
        let faults = load(text).expect_err(text);
        let told = faults
            .iter()
            .any(|f| f.contains(&format!("[{code}]")) && f.contains(words));
        assert!(told, "{code} `{words}` in {faults:#?}\n{text}");
        assert_eq!(
            faults.len(),
            1,
            "one slip is one fault: {faults:#?}\n{text}"
        );
    }
    // What a bench has not is told beside the file, see tests/fit.rs.
    let of_benches = [
        crate::codes::NOT_ON_THE_BENCH,
        crate::codes::NEVER_MEASURED,
        crate::codes::ONLY_EMULATED,
    ];
    for (code, _) in codes_of_scenarios()
        .iter()
        .filter(|(code, _)| !of_benches.contains(code))
    {
        assert!(rows.iter().any(|(_, c, _)| c == code), "{code} has no row");
    }
}

#[test]
fn each_mutant_is_one_more_run_of_the_same_scenario_that_must_fail() {
    let more = r#"mutants = { pv1 = [{ defect = "no_latch" }, { freq_droop = { k_of = 0.03 } }], ess1 = [{ kind = "pv" }] }"#;
    let text = scenario("", r#"{ ledger = "complete" }"#, more);
    let scenarios = load(&text).expect("it is right");
    let told: Vec<(String, Expect, usize)> = scenarios
        .iter()
        .map(|s| (s.title(), s.expect, s.tags.len()))
        .collect();
    assert_eq!(
        told,
        [
            ("n".to_owned(), Expect::Pass, 0),
            (
                r#"n [pv1: defect = "no_latch"]"#.to_owned(),
                Expect::Fail,
                1
            ),
            (
                "n [pv1: freq_droop = { k_of = 0.03 }]".to_owned(),
                Expect::Fail,
                1
            ),
            (r#"n [ess1: kind = "pv"]"#.to_owned(), Expect::Fail, 1),
        ]
    );
    assert_eq!(scenarios[1].tags, ["mutants"]);
    assert_eq!(scenarios[0].checks, scenarios[1].checks);
}

/// A check of a characteristic through these points, with further keys.
fn curve(points: &str, more: &str) -> String {
    format!(
        r#"{{ curve = "a.q", of = "a.v", points = {points}, mra_of = "1V", mra = "5var", {more} }}"#
    )
}

#[test]
fn a_characteristic_is_read_in_the_units_of_both_of_its_axes() {
    let text = curve(
        r#"[["{low}", "4.4kvar"], ["230V", "0var"]]"#,
        r#"response = "5s", for = "20s""#,
    );
    let text = scenario("", &text, r#"matrix = { low = ["211.6V"] }"#);
    let scenarios = load(&text).expect("it is right");
    let CheckKind::Curve { characteristic, .. } = &scenarios[0].checks[0].kind else {
        unreachable!("the check is a characteristic")
    };
    let acceptance = Acceptance::new(vec![(211.6, 4400.0), (230.0, 0.0)], 1.0, 5.0);
    assert_eq!(
        *characteristic,
        Characteristic {
            of: Signal::new("a", SignalQuantity::Voltage),
            acceptance: acceptance.expect("a curve"),
            response: Some(Duration::from_secs(5)),
        }
    );
    let both = [SignalQuantity::ReactivePower, SignalQuantity::Voltage];
    let mut watched = both.map(|quantity| Signal::new("a", quantity));
    watched.sort();
    assert_eq!(scenarios[0].watched(), watched, "both are recorded");
}

fn codes_of_scenarios() -> &'static [(&'static str, &'static str)] {
    crate::codes::EXPLANATIONS
}

#[test]
fn marks_of_a_setup_are_known_later_and_a_teardown_knows_its_own_only() {
    let text = |setup: &str, at: &str, from: &str, teardown: &str| {
        format!(
            r#"name = "n"
setup = {{ within = "9s", do = [{{ at = "{setup}", mark = "ready" }}] }}
do = [{{ at = "{at}", mark = "t0" }}]
check = [{{ band = "a.p", from = "{from}", for = "1s", within = "0..1W" }}]
teardown = {{ within = "8s", do = [{{ at = "1s", mark = "gone" }}, {{ at = "{teardown}", release = ["a"] }}] }}
"#
        )
    };
    let scenarios = load(&text("2s", "ready+3s", "ready", "gone+1s")).expect("right");
    let within = |phases: &[Phase]| {
        phases
            .iter()
            .map(|p| p.within.as_secs())
            .collect::<Vec<_>>()
    };
    assert_eq!(within(&scenarios[0].setup), [9]);
    assert_eq!(within(&scenarios[0].teardown), [8]);
    assert_eq!(scenarios[0].teardown[0].steps.len(), 2);
    let rows = [
        (text("t0", "0s", "t0", "2s"), "no mark `t0`", "s.toml:2:"),
        (
            text("0s", "gone", "t0", "2s"),
            "no mark `gone`",
            "s.toml:3:",
        ),
        (
            text("0s", "0s", "gone", "2s"),
            "no mark `gone`",
            "s.toml:4:",
        ),
        (text("0s", "0s", "t0", "t0+1s"), "no mark `t0`", "s.toml:5:"),
    ];
    for (text, words, place) in rows {
        let faults = load(&text).expect_err(words);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(
            faults[0].contains(words) && faults[0].contains(place),
            "{faults:?}"
        );
    }
}

#[test]
fn a_fault_of_every_combination_is_told_once() {
    let text = FFR.replace("max = \"1.0s\"", "max = \"1.0\"");
    let faults = load(&text).expect_err("a time without a unit");
    assert_eq!(faults.len(), 1, "{faults:#?}");
    let text = FFR.replace("\"2%\"", "\"2V\"");
    let faults = load(&text).expect_err("one of the combinations is wrong");
    assert_eq!(faults.len(), 1, "{faults:#?}");
}

#[test]
fn a_matrix_that_is_too_large_is_refused_and_not_run() {
    let values = ["\"x\""; 11].join(", ");
    let matrix = format!("matrix = {{ a = [{values}], b = [{values}], c = [{values}] }}");
    let text = scenario("", r#"{ ledger = "complete" }"#, &matrix);
    let faults = load(&text).expect_err("1331 combinations");
    assert!(faults[0].contains("more than 1000"), "{faults:?}");
    let range = r#"{ from = "1", to = "1000", step = "1" }"#;
    let steps = |rounds: usize| {
        format!("{{ repeat = {rounds}, do = [{{ at = \"+1s\", release = [\"a\"] }}] }}")
    };
    let text = |rounds, mutants: usize| {
        let mutants = vec!["{ defect = \"no_latch\" }"; mutants].join(", ");
        let more = format!("matrix = {{ a = {range} }}\nmutants = {{ pv1 = [{mutants}] }}");
        scenario(&steps(rounds), r#"{ ledger = "complete" }"#, &more)
    };
    let rows = [
        (text(49, 10), "make 11000 runs, and 10000 are the most"),
        (
            text(50, 0),
            "more than 100 steps in each of 1000 combinations",
        ),
    ];
    for (text, words) in rows {
        let faults = load(&text).expect_err(words);
        assert!(faults.len() == 1 && faults[0].contains(words), "{faults:?}");
    }
}

#[test]
fn a_wait_is_met_only_by_what_was_measured_since_it_began() {
    let signal = Signal::new("bat1", SignalQuantity::ActivePower);
    let at = |ms| Instant::START + Duration::from_millis(ms);
    let mut recording = Recording::default();
    for ms in (0..=4000).step_by(100) {
        let value = if ms < 2000 { 0.0 } else { 1000.0 };
        recording.push(&signal, at(ms), Reading::Good(value));
    }
    recording.modes.push((at(2500), Mode::Islanded));
    let settle = |target| UntilKind::Settle {
        signal: signal.clone(),
        target,
        band: 50.0,
        rest: Duration::from_millis(500),
    };
    let above = UntilKind::Above {
        signal: signal.clone(),
        value: 500.0,
    };
    let below = UntilKind::Below {
        signal: signal.clone(),
        value: 500.0,
    };
    let rows = [
        (settle(Some(1000.0)), 2400, Progress::Waiting),
        (settle(Some(1000.0)), 2500, Progress::Met),
        (settle(Some(0.0)), 4000, Progress::Late),
        (settle(None), 1999, Progress::Met),
        (settle(None), 2300, Progress::Waiting),
        (settle(None), 1200, Progress::Waiting),
        (above.clone(), 1999, Progress::Waiting),
        (above, 2000, Progress::Met),
        (below.clone(), 1100, Progress::Met),
        (below, 4000, Progress::Late),
        (UntilKind::Mode(Mode::Islanded), 2499, Progress::Waiting),
        (UntilKind::Mode(Mode::Islanded), 2500, Progress::Met),
        (UntilKind::Mode(Mode::Safe), 4000, Progress::Late),
    ];
    for (kind, now, expected) in rows {
        let until = Until {
            kind,
            within: Duration::from_secs(3),
        };
        let got = until.progress(&recording, at(1000), at(now));
        assert_eq!(got, expected, "{:?} at {now} ms", until.kind);
    }
}

#[test]
fn a_wait_does_not_take_an_old_or_a_lone_value_for_an_answer() {
    let signal = Signal::new("bat1", SignalQuantity::ActivePower);
    let at = |ms| Instant::START + Duration::from_millis(ms);
    let mut recording = Recording::default();
    recording.push(&signal, at(500), Reading::Good(1000.0));
    let above = Until {
        kind: UntilKind::Above {
            signal: signal.clone(),
            value: 500.0,
        },
        within: Duration::from_secs(3),
    };
    let settle = Until {
        kind: UntilKind::Settle {
            signal: signal.clone(),
            target: Some(1000.0),
            band: 50.0,
            rest: Duration::from_millis(500),
        },
        within: Duration::from_secs(3),
    };
    let waiting = Progress::Waiting;
    assert_eq!(above.progress(&recording, at(1000), at(1100)), waiting);
    recording.push(&signal, at(1400), Reading::Good(1000.0));
    assert_eq!(settle.progress(&recording, at(1000), at(1600)), waiting);
    recording.push(&signal, at(1500), Reading::Good(1000.0));
    assert_eq!(
        settle.progress(&recording, at(1000), at(1600)),
        Progress::Met
    );
}

#[test]
fn a_recorded_course_is_read_beside_the_scenario_and_its_faults_have_their_own_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let scenario = folder.path().join("s.toml").display().to_string();
    let text = "name = \"x\"\ndo = [{ at = \"0s\", play = \"c.csv\" }]\ncheck = [{ ledger = \"complete\" }]\n";
    let load = || {
        read(Source::new(scenario.clone(), text))
            .map(|loaded| loaded.scenarios[0].steps[0].actions.clone())
            .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let rows = [
        (None, "R028"),
        (Some("t [s], bat1.p [kW]\n0,NaN\n"), "E106"),
        (Some("t [s], bat1.p\n0,1\n"), "E104"),
        (Some("t [s], .p [kW]\n0,1\n"), "S003"),
    ];
    for (course, code) in rows {
        if let Some(course) = course {
            std::fs::write(folder.path().join("c.csv"), course).expect("it can be written");
        }
        let faults = load().expect_err(code);
        assert!(faults.len() == 1 && faults[0].contains(code), "{faults:?}");
        let place = if code.starts_with('E') {
            "c.csv:"
        } else {
            "s.toml:2"
        };
        assert!(faults[0].contains(place), "{faults:?}");
    }
    let good = "t [s], bat1.p [kW], grid.f [Hz]\n0,1,50\n5,2,49.9\n";
    std::fs::write(folder.path().join("c.csv"), good).expect("it can be written");
    let actions = load().expect("it is right");
    let [Action::Play { course, signals }] = actions.as_slice() else {
        panic!("{actions:?}")
    };
    assert_eq!(signals.len(), 2);
    assert_eq!(course.length(), Duration::from_secs(5));
}

#[test]
fn a_device_adopts_what_a_step_says_in_the_words_of_its_settings() {
    let scenario = |adopt: &str| {
        let text = format!(
            "name = \"x\"\ndo = [{{ at = \"1s\", adopt = {{ pv1 = {{ {adopt} }} }} }}]\n\
             check = [{{ ledger = \"complete\" }}]\n"
        );
        let mut scenarios = load(&text).expect("it is right");
        scenarios.remove(0).steps.remove(0).actions
    };
    use model::Characteristic::{FreqDroop, PowerFactor, VoltVar, VoltWatt, WattVar};
    let points = vec![(0.6, 0.44), (0.9, -0.44)];
    let droop = model::Droop {
        db_over_hz: 0.036,
        db_under_hz: 0.05,
        k_over: 0.05,
        k_under: 0.04,
    };
    let curve = "[[0.6, 0.44], [0.9, -0.44]]";
    for (text, characteristic, revert) in [
        (
            format!("volt_var = {curve}, revert = \"60s\""),
            VoltVar(points.clone()),
            Some(60),
        ),
        (
            format!("volt_watt = {curve}"),
            VoltWatt(points.clone()),
            None,
        ),
        (format!("watt_var = {curve}"), WattVar(points), None),
        (
            "freq_droop = { db_of_hz = 0.036, db_uf_hz = 0.05, k_of = 0.05, k_uf = 0.04 }".into(),
            FreqDroop(droop),
            None,
        ),
        (
            "power_factor = { pf = 0.95, absorbs = true }".into(),
            PowerFactor {
                pf: 0.95,
                absorbs: true,
            },
            None,
        ),
    ] {
        let expected = Action::Adopt {
            device: "pv1".into(),
            characteristic,
            revert: revert.map(Duration::from_secs),
        };
        assert_eq!(scenario(&text), [expected]);
    }
}
