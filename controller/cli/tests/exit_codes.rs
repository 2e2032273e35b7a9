//! Each exit code of a test run, by the program itself, and which of several wins.

#![allow(clippy::panic, reason = "a test that fails says so by a panic")]

mod common;

use common::{Place, until};

const HEAD: &str = "name = \"A scenario of the demo bench\"\n";

/// A scenario for each way in which one can end, from the best to the worst.
fn scenarios() -> [(&'static str, i32, String); 5] {
    let of = |rest: &str| format!("{HEAD}{rest}");
    [
        (
            "pass",
            0,
            of("do = [{ at = \"2s\", mark = \"t0\" }]\n\
                check = [{ band = \"grid.f\", from = \"t0\", for = \"2s\", within = \"49..51Hz\" }]\n"),
        ),
        (
            // Nothing is heard of the device for as long as is looked at it.
            "inconclusive",
            4,
            of(
                "do = [{ at = \"2s\", fault = { \"ess1.silent\" = \"on\" }, mark = \"t0\" }, { at = \"+8s\", mark = \"t1\" }]\n\
                check = [{ band = \"ess1.p\", from = \"t0+2s\", to = \"t1\", within = \"-10..10kW\" }]\n",
            ),
        ),
        (
            "infrastructure",
            3,
            of("need = { genset = 7 }\ndo = []\ncheck = [{ ledger = \"complete\" }]\n"),
        ),
        (
            "fail",
            1,
            of("do = [{ at = \"2s\", mark = \"t0\" }]\n\
                check = [{ band = \"grid.f\", from = \"t0\", for = \"2s\", within = \"51..52Hz\" }]\n"),
        ),
        (
            // The storage takes what it is told and does not follow, so that it does not come to rest.
            "safety",
            5,
            of("do = [\n\
                  { at = \"2s\", set = { \"ess1.p\" = \"2kW\" }, until = { settle = \"ess1.p\", band = \"100W\", within = \"10s\" } },\n\
                  { at = \"+1s\", fault = { \"ess1.hold_output\" = \"on\" }, mark = \"t0\" },\n\
                ]\n\
                check = [{ band = \"grid.f\", from = \"t0\", within = \"49..51Hz\" }]\n\
                after = { safe = [\"ess1\"], within = \"3s\" }\n"),
        ),
    ]
}

/// What the folder of a run says must be what the process has said.
fn check(place: &Place, run: &str, code: i32, word: &str) {
    let result = place.result(run);
    assert_eq!(result["verdict"], word, "{result}");
    assert_eq!(result["exit_code"], code, "{result}");
    let junit = std::fs::read_to_string(place.path(run).join("junit.xml")).expect("it is there");
    let is_clean = !junit.contains("<failure") && !junit.contains("<error");
    assert_eq!(is_clean, code == 0, "{word}: {junit}");
    assert!(place.path(run).join("report.html").exists(), "{word}");
}

#[test]
fn each_verdict_has_its_exit_code_and_the_worst_of_a_run_wins() {
    let place = Place::new();
    let mut all = vec!["test".to_owned()];
    for (word, code, text) in scenarios() {
        let file = format!("{word}.toml");
        place.file(&file, &text);
        place.gridrig(&["test", &file, "--out", word]).exits(code);
        check(&place, word, code, word);
        // The better ones stand before it, and do not soften it.
        all.push(file);
        let out = format!("up-to-{word}");
        let words: Vec<&str> = all.iter().map(String::as_str).collect();
        place
            .gridrig(&[&words[..], &["--out", &out]].concat())
            .exits(code);
        check(&place, &out, code, word);
    }
}

#[test]
fn a_file_that_is_wrong_and_a_selection_of_nothing_have_codes_of_their_own() {
    let place = Place::new();
    let [(_, _, pass), ..] = scenarios();
    place.file("good.toml", &pass);
    place.file("wrong.toml", &pass.replace("band", "bend"));
    let rows: [(&[&str], i32, &str); 3] = [
        (&["wrong.toml"], 2, "config"),
        (&["good.toml", "wrong.toml"], 2, "config"),
        (&["good.toml", "-k", "another"], 7, "nothing_selected"),
    ];
    for (n, (words, code, word)) in rows.into_iter().enumerate() {
        let out = format!("run{n}");
        let words = [&["test"], words, &["--out", &out]].concat();
        place.gridrig(&words).exits(code);
        check(&place, &out, code, word);
    }
    // A word that no verb knows leaves no folder: there is nothing that it would be the record of.
    place
        .gridrig(&["test", "good.toml", "--oun", "run"])
        .exits(2);
}

#[test]
fn a_ledger_that_is_changed_under_a_run_is_a_mismatch_and_a_person_can_interrupt_one() {
    let place = Place::new();
    place.file(
        "slow.toml",
        &format!(
            "{HEAD}do = [\n  {{ at = \"1s\", set = {{ \"ess1.p\" = \"1kW\" }}, mark = \"t0\" }},\n  {{ at = \"6s\", mark = \"t1\" }},\n]\n\
             check = [{{ band = \"grid.f\", from = \"t0\", to = \"t1\", within = \"49..51Hz\" }}, {{ ledger = \"complete\" }}]\n"
        ),
    );
    let log = "001-a-scenario-of-the-demo-bench/ledger/segment-00000001.log";
    let begin = |out: &str| {
        let words = ["test", "slow.toml", "--speed", "1", "--out", out];
        let running = place.start(&words);
        let path = place.path(out).join(log);
        until("entries of the ledger", || {
            std::fs::metadata(&path).is_ok_and(|file| file.len() > 4096)
        });
        (running, path)
    };
    let (running, path) = begin("changed");
    change_a_bit(&path, 2048);
    running.end().exits(6);
    check(&place, "changed", 6, "ledger");
    let (running, _) = begin("interrupted");
    running.signal("INT");
    running.end().exits(130);
    check(&place, "interrupted", 130, "interrupted");
}

/// Changes a bit of a file that somebody else goes on writing.
fn change_a_bit(path: &std::path::Path, at: u64) {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path);
    let file = file.expect("the log is there");
    let mut byte = [0_u8];
    file.read_exact_at(&mut byte, at).expect("so long it is");
    byte[0] ^= 1;
    file.write_all_at(&byte, at).expect("it can be written");
}
