//! A scenario in real time, with its page.

use suite::browser::Browser;
use suite::folder;
use suite::process::{Running, WithArguments, gridrig};

/// A demand that lies far ahead of the begin: a busy machine takes its time to open the page. There is
/// no other one, for every band is drawn in the same colour; and it is wide, for the chart of a bench of
/// many kilowatts has few pixels for each.
const SCENARIO: &str = r#"
name  = "The storage takes 1 kW"
rig   = "RIG"
need  = { ess = 1 }
do    = [
  { at = "1s", set = { "ess1.p" = "500W" } },
  { at = "20s", set = { "ess1.p" = "1kW" }, mark = "t0" },
]
check = [
  { band = "ess1.p", from = "t0+2s", for = "4s", within = "0..2kW" },
]
"#;

#[test]
#[ignore = "needs peers"]
fn the_step_of_a_scenario_and_its_band_are_shown_before_the_curve_comes() {
    let dir = folder();
    let rig = suite::root().join("rigs/virtual/lab.toml");
    let script = dir.path().join("takes.toml");
    let text = SCENARIO.replace("RIG", &rig.display().to_string());
    std::fs::write(&script, text).expect("a scenario");
    let run = dir.path().join("run");
    let mut running = Running::start(
        gridrig()
            .with(["test", "--speed", "1", "--listen", "127.0.0.1:0", "--out"])
            .with([&run, &script]),
    );
    let told = running.told("http://127.0.0.1:");
    let port = told.split("127.0.0.1:").nth(1).and_then(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u16>().ok()
    });
    let port = port.expect("it says where its page is");
    let mut browser = Browser::open(dir.path(), &format!("http://127.0.0.1:{port}/"));
    browser.wait_until(
        "the first step is under way",
        "/^step 1 of 2: ess1\\.p = 500/.test(document.querySelector('#scenario-now').innerText)",
    );
    browser.wait_until(
        "the band is drawn on the chart of powers, ahead of the last value",
        // Two pixels in a row of the band's faint colour: the edge of a line is one at most.
        "(() => { const c = charts.p, last = c.times[c.times.length - 1], ahead = c.bands.find(b => b.high === 2000 && b.from > last); if (!ahead) return false;\
           const hex = getComputedStyle(document.documentElement).getPropertyValue(ahead.color).trim(), colour = [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));\
           const { width, height } = c.canvas, column = c.canvas.getContext('2d').getImageData(Math.round(width * 0.97), 0, 1, height).data;\
           const faint = (y) => Math.abs(column[4 * y + 3] - 46) <= 6 && colour.every((v, i) => Math.abs(column[4 * y + i] - v) <= 8);\
           for (let y = 1; y < height; y++) if (faint(y) && faint(y - 1)) return true; return false; })()",
    );
    let listed = "document.querySelector('#scenario-bands').innerText";
    assert_eq!(
        browser.evaluate(&format!("/ess1\\.p: [-0-9.]+ W to 2000/.test({listed})")),
        true
    );
    // Whoever looks at a test may not meddle with it, but for the safe state.
    let refused = browser.evaluate("fetch('/api/v1/disarm', { method: 'POST' }).then(a => document.body.dataset.refused = a.status) && true");
    assert_eq!(refused, true);
    browser.wait_until(
        "a command is refused",
        "document.body.dataset.refused === '403'",
    );
    browser.wait_until(
        "the second step is under way, and the first is done",
        "/^(step 2 of 2: ess1\\.p = 1|record|teardown)/.test(document.querySelector('#scenario-now').innerText) && document.querySelector('#scenario-steps li').dataset.step === 'done'",
    );
    let (status, stderr) = running.end(suite::PATIENCE);
    assert!(status.success(), "{stderr}");
}
