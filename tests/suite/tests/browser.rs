//! The live page as a person sees it, in a browser that runs its script.

use serde_json::Value;
use suite::bench::Controller;
use suite::browser::Browser;
use suite::{PATIENCE, folder, run, wait_for};

/// All devices of the demo bench.
const DEVICES: &[&str] = &[
    "pcc", "brk1", "load1", "pv1", "ess1", "bat1", "plug1", "plug2",
];

/// Whether the row of a device shows a power that is a number.
const POWER_SHOWN: &str = "[...document.querySelectorAll('#devices tr')].some(r => /^pv1\\b/.test(r.innerText) && /\\d (k?)W/.test(r.innerText))";

#[test]
#[ignore = "needs peers"]
fn the_page_shows_the_mode_every_device_and_its_power_without_complaint() {
    let dir = folder();
    let demo = Controller::demo(None, &dir.path().join("run"), &[]);
    let mut browser = Browser::open(dir.path(), &format!("http://127.0.0.1:{}/", demo.page));
    browser.wait_until(
        "the mode lamp is lit",
        "document.querySelector('#lamp').dataset.mode === 'grid_connected'",
    );
    browser.wait_until("pv1 shows its power", POWER_SHOWN);
    browser.wait_until(
        "a dispatch is listed with why",
        "document.querySelectorAll('#dispatches li').length > 0",
    );
    let text = browser.text();
    for device in DEVICES {
        assert!(
            text.contains(device),
            "{device} is not on the page:\n{text}"
        );
    }
    assert!(text.contains("Campus feeder, 400 V"), "{text}");
    assert!(
        text.contains("Hz") && text.contains("V, line to neutral"),
        "{text}"
    );

    // It is alive: the cycle counter moves without a reload.
    let cycle = browser.evaluate("document.querySelector('#cycle').innerText");
    let moved = format!("document.querySelector('#cycle').innerText !== {cycle}");
    browser.wait_until("the cycle counter moves", &moved);

    assert_eq!(
        browser.evaluate("document.querySelector('#services-card').hidden"),
        true,
        "it sells no services"
    );

    let picture = browser.picture();
    // A PNG in base64 begins with this; an empty page of this size is below 30 kB.
    assert!(
        picture.starts_with("iVBORw0KGgo") && picture.len() > 60_000,
        "{} bytes",
        picture.len()
    );
    let complaints = browser.complaints();
    assert!(
        complaints.is_empty(),
        "the console is not quiet: {complaints:#?}"
    );
    let run_dir = demo.end();
    assert_eq!(run::result(&run_dir)["verdict"], "pass");
}

#[test]
#[ignore = "needs peers"]
fn a_click_on_safe_brings_the_bench_to_its_safe_state() {
    let dir = folder();
    let demo = Controller::demo(None, &dir.path().join("run"), &[]);
    let mut browser = Browser::open(dir.path(), &format!("http://127.0.0.1:{}/", demo.page));
    browser.wait_until(
        "the bench is grid-connected",
        "document.querySelector('#lamp').dataset.mode === 'grid_connected'",
    );
    // A page that asks back is answered with yes.
    let _ =
        browser.evaluate("window.confirm = () => true; document.querySelector('#safe').click()");
    browser.wait_until(
        "the lamp says safe",
        "document.querySelector('#lamp').dataset.mode === 'safe'",
    );
    let mode = wait_for("the API says safe too", PATIENCE, || {
        let state: Value = suite::http::get(demo.page, "/api/v1/state").json();
        (state["cycle"]["mode"] == "safe").then_some(state)
    });
    assert_eq!(mode["cycle"]["mode"], "safe");
    let run_dir = demo.end();
    let events = run::events(&run_dir);
    let changed = run::events_of(&events, "mode_changed");
    assert!(
        changed.iter().any(|e| e["details"]["to"] == "safe"),
        "{changed:?}"
    );
}

#[test]
#[ignore = "needs peers"]
fn a_bench_that_sells_services_shows_what_each_is_asked_for_and_gives() {
    let card = "document.querySelector('#services-card')";
    let dir = folder();
    let rig = suite::root().join("rigs/virtual/services.toml");
    let demo = Controller::demo(Some(&rig), &dir.path().join("run"), &[]);
    let mut browser = Browser::open(dir.path(), &format!("http://127.0.0.1:{}/", demo.page));
    browser.wait_until(
        "both services are there, in reserve, with what they deliver",
        &format!(
            "!{card}.hidden && ['dc1', 'agc1'].every(n => [...document.querySelectorAll('#services tr')]\
             .some(r => r.innerText.startsWith(n) && /\\bready\\b/.test(r.innerText) && /6000 W of 6000 W|3000 W of 3000 W/.test(r.innerText) && !/not available|– W/.test(r.innerText)))"
        ),
    );
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
    let run_dir = demo.end();
    assert_eq!(run::result(&run_dir)["verdict"], "pass");
}
