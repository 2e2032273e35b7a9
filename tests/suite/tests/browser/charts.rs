//! Charts and lists: any window, by mouse and keyboard, and a bench of a thousand points.

use serde_json::Value;
use suite::bench::Controller;
use suite::browser::Browser;
use suite::process::{Running, WithArguments, gridrig};
use suite::{PATIENCE, folder, run, wait_for};

/// A number of the page.
fn number(browser: &mut Browser, expression: &str) -> f64 {
    browser.evaluate(expression).as_f64().unwrap_or(f64::NAN)
}

/// From and to of the window of a chart, in seconds of the run.
fn window(browser: &mut Browser, chart: &str) -> (f64, f64) {
    let window = browser.evaluate(&format!("charts.{chart}.window"));
    let second = |key: &str| window[key].as_f64().unwrap_or(f64::NAN);
    (second("from"), second("to"))
}

#[test]
#[ignore = "needs peers"]
fn a_window_is_chosen_on_a_chart_by_mouse_and_keyboard_and_holds_for_all_of_them() {
    let dir = folder();
    let demo = Controller::demo(None, &dir.path().join("run"), &[]);
    wait_for("some seconds of it", PATIENCE, || {
        let state: Value = suite::http::get(demo.page, "/api/v1/state").json();
        (state["cycle"]["t_s"].as_f64()? > 15.0).then_some(())
    });
    let mut browser = Browser::open(dir.path(), &format!("http://127.0.0.1:{}/", demo.page));
    browser.wait_until(
        "a line is drawn for every device that has said a power",
        "charts.p.plot && ['pcc', 'load1', 'pv1', 'ess1'].every(n => charts.p.drawn.get(n) > 10)",
    );
    browser.wait_until(
        "and frequency and voltage of the bus and of each device",
        "['f', 'v'].every(c => ['pv1', 'ess1', 'bus'].every(n => charts[c].drawn.get(n) > 0))",
    );
    // What was not known is a hole in the line, not a bridge and not zero: a device that falls silent in the middle of
    // what is shown has two strokes with a hole between them, and one that was never heard has none.
    assert_eq!(
        browser.evaluate(
            "(() => { const c = charts.p, values = c.times.map((t, i) => (i < 3 || i > c.times.length - 4 ? 5 : NaN)), seen = [], none = [];\
               c.walk(values, (t, v) => seen.push(v)); c.walk(values.map(() => NaN), (t, v) => none.push(v));\
               return c.times.length > 10 && seen.join() === '5,5,5,,5,5,5' && none.length === 0; })()"
        ),
        true
    );
    // However many readings fall into a column of the picture, their lowest and highest are seen.
    assert_eq!(
        browser.evaluate(
            "(() => { const c = charts.p, corners = [], pen = Object.fromEntries(['beginPath', 'stroke', 'setLineDash', 'moveTo'].map(k => [k, () => {}]));\
               pen.lineTo = (x, y) => corners.push(c.plot.scales.y.getValueForPixel(y));\
               const { times, drawn } = c; c.times = Array.from({ length: 60000 }, (_, i) => c.view.start + i * c.view.span / 60000);\
               const low = c.plot.scales.y.min, high = c.plot.scales.y.max, middle = (low + high) / 2;\
               c.drawn = new Map();\
               c.line(pen, { name: 'many', color: '--c0', values: c.times.map((t, i) => (i === 31001 ? low : i === 31003 ? high : middle)) }, c.plot);\
               c.times = times; c.drawn = drawn;\
               return corners.length < 2 * c.canvas.clientWidth && Math.min(...corners) < low + 1e-3 * (high - low) && Math.max(...corners) > high - 1e-3 * (high - low); })()"
        ),
        true
    );

    browser.draw_over("#chart-p", 0.80, 0.95);
    browser.wait_until(
        "the window comes out of the database, with its parts",
        "charts.p.window !== null && charts.p.window.step > 0 && charts.p.window.from === zoom.from && /^0:00:\\d\\d to 0:00:\\d\\d of run/.test(document.querySelector('#past-note').innerText)",
    );
    let (from, to) = window(&mut browser, "p");
    assert!(from > 0.0 && to - from < 20.0, "{from} to {to}");
    for other in ["q", "f", "v"] {
        assert_eq!(window(&mut browser, other), (from, to), "{other}");
    }

    // The keyboard does the same: wider, earlier, and back.
    let _ = browser.evaluate("document.querySelector('#chart-f').focus()");
    browser.press("-", false);
    let wider = window(&mut browser, "p");
    assert!(wider.0 < from && wider.1 - wider.0 > to - from, "{wider:?}");
    browser.press("+", false);
    let before = window(&mut browser, "p");
    browser.press("ArrowLeft", true);
    let after = window(&mut browser, "p");
    assert!(after.0 < before.0 || after.0 == 0.0, "{before:?} {after:?}");
    // A reading without a mouse: the values are told with their time.
    browser.press("ArrowLeft", false);
    browser.press("ArrowLeft", false);
    assert_eq!(
        browser.evaluate(
            "charts.f.pointer !== null && /^0:00:\\d\\d/.test(document.querySelector('#keys-f').textContent) && document.querySelector('#keys-f').getAttribute('aria-live') === 'polite'"
        ),
        true
    );
    assert_eq!(
        browser.evaluate(
            "/^Frequency, 0:00:\\d\\d to 0:00:\\d\\d: .*bus [\\d.]+ Hz, from [\\d.]+ Hz to [\\d.]+ Hz/.test(document.querySelector('#chart-f').getAttribute('aria-label'))"
        ),
        true,
        "what a chart shows is told in words"
    );
    browser.press("Escape", false);
    browser.wait_until(
        "the last minutes are back",
        "charts.p.window === null && charts.f.window === null && document.querySelector('#past-note').innerText === ''",
    );
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
    let run_dir = demo.end();
    assert_eq!(run::result(&run_dir)["verdict"], "pass");
}

/// Builds a plain table of a thousand cells in the page, lays it out, and throws it away; so many times.
const REBUILDS: u32 = 10;
fn rebuilds() -> String {
    format!(
        "(() => {{ const box = document.createElement('table'); document.body.append(box);\
           for (let n = 0; n < {REBUILDS}; n++) {{\
             box.replaceChildren(...Array.from({{ length: 250 }}, (_, r) => {{ const row = document.createElement('tr');\
               for (let c = 0; c < 4; c++) {{ const cell = document.createElement('td'); cell.textContent = `${{r}} ${{c}} ${{n}}`; row.append(cell); }} return row; }}));\
             box.offsetHeight; }}\
           box.remove(); }})()"
    )
}

#[test]
#[ignore = "needs peers"]
fn a_bench_of_a_thousand_points_is_filtered_scrolled_and_read_while_it_lives() {
    let dir = folder();
    let mut server =
        Running::start(gridrig().with(["bench", "--child", "page-server-of-a-thousand-points"]));
    let port = server.json()["port"].as_u64().expect("it says its port");
    // The measure, before anything lives in the page: what building a plain list of a thousand cells costs in this
    // browser, in time of the processor, so that a busy machine changes neither this nor what is measured by it.
    let mut browser = Browser::open(dir.path(), &format!("http://127.0.0.1:{port}/login"));
    browser.wait_until("the form is there", "document.readyState === 'complete'");
    let before = browser.cpu_s();
    let _ = browser.evaluate(&rebuilds());
    let rebuild_s = (browser.cpu_s() - before) / f64::from(REBUILDS);
    let _ = browser.evaluate("location.href = '/'");
    browser.wait_until(
        "every device is listed with its four points",
        "document.querySelectorAll('#devices tr').length === 250 && [...document.querySelectorAll('#devices tr')].every(r => /\\d W/.test(r.innerText) && /\\d var/.test(r.innerText) && /\\d V/.test(r.innerText) && /\\d Hz/.test(r.innerText))",
    );

    // A row that somebody reads, marks or points at stays where it is while its values change.
    let _ = browser.evaluate(
        "(() => { const list = document.querySelector('.devices'); list.scrollTop = 2000; window.kept = document.querySelectorAll('#devices tr')[120];\
           window.keptP = kept.cells[3].innerText; getSelection().selectAllChildren(kept.cells[0]); window.keptTop = list.scrollTop; })()",
    );
    browser.wait_until(
        "its values have changed",
        "kept.cells[3].innerText !== keptP",
    );
    assert_eq!(
        browser.evaluate(
            "kept.isConnected && getSelection().toString() === 'device120' && document.querySelector('.devices').scrollTop === keptTop && keptTop > 0"
        ),
        true
    );

    // The filter answers, and says how many there are.
    let _ = browser.evaluate("document.querySelector('#devices-filter').focus()");
    for key in "vice24".chars() {
        browser.type_in(&key.to_string());
    }
    browser.wait_until(
        "the list is narrowed",
        "document.querySelector('#devices-count').innerText === '11 of 250' && [...document.querySelectorAll('#devices tr')].filter(r => !r.hidden).every(r => r.innerText.startsWith('device24'))",
    );
    let _ = browser.evaluate(
        "(() => { const box = document.querySelector('#devices-filter'); box.value = ''; box.dispatchEvent(new Event('input')); })()",
    );
    browser.wait_until(
        "all are back",
        "[...document.querySelectorAll('#devices tr')].every(r => !r.hidden)",
    );

    let drawn = "Number(document.body.dataset.drawn)";
    let (cpu, states) = (browser.cpu_s(), number(&mut browser, drawn));
    browser.wait_until(
        "twenty states more",
        &format!("{drawn} >= {}", states + 20.0),
    );
    let (cpu, states) = (browser.cpu_s() - cpu, number(&mut browser, drawn) - states);
    let rebuilds_per_state = cpu / states / rebuild_s;
    println!(
        "{rebuilds_per_state:.1} rebuilds of {:.1} ms for each of {states} states",
        rebuild_s * 1e3
    );
    assert!(
        rebuilds_per_state < REBUILDS_PER_STATE_MAX,
        "{rebuilds_per_state}"
    );
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// What a state of a thousand points may cost, in such lists, the curves of all devices among them.
/// Chosen: 20. It was 12 and 7 on a machine with much else to do, where not each state finds time to be drawn whole;
/// the diagram is the most of it.
const REBUILDS_PER_STATE_MAX: f64 = 20.0;

/// Minutes of states, of which the page remembers ten.
const MINUTES: u32 = 44;
/// After so many the memory is looked at: the first look is what the others are held against.
const LOOKS: [u32; 6] = [1, 2, 11, 22, 33, 44];
/// How much more than after its first minute the page may ever hold, in bytes.
/// Chosen: 2 MiB. The scripts become warm and a state or two wait to be drawn, which is about one; an object for each
/// number of ten minutes makes thirty.
const GROWTH_MAX: f64 = 2.0 * 1024.0 * 1024.0;

#[test]
#[ignore = "needs peers"]
fn the_page_holds_after_three_quarters_of_an_hour_what_it_held_after_its_first_minute() {
    let dir = folder();
    let mut server = Running::start(gridrig().with(["bench", "--child", "page-server"]));
    let port = server.json()["port"].as_u64().expect("it says its port");
    let mut browser = Browser::open(dir.path(), &format!("http://127.0.0.1:{port}/?hz=10"));
    browser.wait_until(
        "every device is listed and the charts are drawn",
        "document.querySelectorAll('#devices tr').length === 100 && Object.values(charts).every(c => c.plot)",
    );
    // Three quarters of an hour of states, one after the other, as fast as the page can take them: time is that of the bench. All
    // are remembered, as those of a stream are, and one of each minute is drawn.
    let hurried = "(async () => { const state = await (await fetch('/api/v1/state')).json(), from = window.reached ?? state.cycle.t_s;\
           for (let n = 1; n < 120; n++) { state.cycle.t_s = from + n * 0.5; remember(state); }\
           state.cycle.t_s = window.reached = from + 60; show(state);\
           setTimeout(() => { document.body.dataset.hurried = Number(document.body.dataset.hurried || 0) + 1; }); })() && true";
    let mut heaps = Vec::new();
    for minute in 1..=MINUTES {
        // Each minute is waited for by itself: a busy machine takes its time for all of them.
        let _ = browser.evaluate(hurried);
        browser.wait_until(
            "a minute has passed",
            &format!("document.body.dataset.hurried === '{minute}'"),
        );
        if LOOKS.contains(&minute) {
            // A state that waits to be drawn while it is looked is no growth.
            let looks = (0..3).map(|_| browser.heap_bytes());
            heaps.push(looks.fold(f64::INFINITY, f64::min));
        }
    }
    let growths: Vec<f64> = heaps.iter().map(|heap| heap - heaps[0]).collect();
    println!("{:.0} bytes after a minute, then {growths:.0?}", heaps[0]);
    assert!(
        growths.iter().all(|growth| *growth < GROWTH_MAX),
        "{growths:.0?}"
    );
    // The last ten minutes are there, and nothing else.
    assert_eq!(
        browser.evaluate("[1200, 1201].includes(past.t.length) && Math.abs(past.t[0] - (window.reached - 600)) < 1 && past.of(past.devices.get('device99').p).every(p => p > 900)"),
        true
    );
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
}
