//! What the page costs the browser: when it is painted first, and how its memory stands after some
//! minutes of a hundred devices ten times a second. Prints JSON.
//!
//! ```sh
//! GRIDRIG_BIN=$PWD/target/release/gridrig GRIDRIG_PEERS_BIN=$PWD/target/peers/bin cargo run -p suite --example page_cost -- 600
//! ```

use std::time::{Duration, Instant};

use serde_json::json;
use suite::browser::Browser;
use suite::folder;
use suite::process::{Running, WithArguments, gridrig};

/// Time between two looks at the memory.
const LOOK_EVERY: Duration = Duration::from_secs(15);

fn main() {
    let seconds = std::env::args().nth(1).and_then(|s| s.parse().ok());
    let length = Duration::from_secs(seconds.unwrap_or(600));
    let dir = folder();
    let mut server = Running::start(gridrig().with(["bench", "--child", "page-server"]));
    let port = server.json()["port"]
        .as_u64()
        .expect("the server says its port");
    let mut browser = Browser::open(dir.path(), &format!("http://127.0.0.1:{port}/?hz=10"));
    browser.wait_until(
        "every device is drawn",
        "document.querySelectorAll('#devices tr').length === 100",
    );
    let first_paint_ms = browser
        .evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null");
    let drawn = "Number(document.body.dataset.drawn)";
    let began = Instant::now();
    let before = browser.evaluate(drawn).as_f64().unwrap_or(f64::NAN);
    let mut rows = Vec::new();
    while began.elapsed() < length {
        std::thread::sleep(LOOK_EVERY.min(length));
        rows.push(json!({
            "t_s": began.elapsed().as_secs(),
            "heap_mib": browser.heap_bytes() / f64::from(1 << 20),
            "nodes": browser.evaluate("document.querySelectorAll('*').length"),
        }));
    }
    let after = browser.evaluate(drawn).as_f64().unwrap_or(f64::NAN);
    let told = json!({
        "bench": "page in Chromium",
        "devices": 100,
        "first_contentful_paint_ms": first_paint_ms,
        "drawn_per_s": (after - before) / began.elapsed().as_secs_f64(),
        "rows": rows,
    });
    println!("{told}");
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
}
