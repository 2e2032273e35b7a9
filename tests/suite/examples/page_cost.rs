//! What the page costs: when it is painted first, what it holds over a quarter of an hour of a hundred devices ten
//! times a second in real time, and what the server spends on it meanwhile. Prints JSON.
//!
//! ```sh
//! GRIDRIG_BIN=$PWD/target/release/gridrig GRIDRIG_PEERS_BIN=$PWD/target/peers/bin cargo run -p suite --example page_cost -- 900
//! ```

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use suite::browser::Browser;
use suite::folder;
use suite::process::{Running, WithArguments, gridrig};

/// Length of it, unless one is given.
const LENGTH: Duration = Duration::from_secs(900);
/// Time between two looks at the memory.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Ticks of `/proc/*/stat` in a second (`USER_HZ`, the same on every Linux of ours).
const TICKS_PER_S: f64 = 100.0;

/// Seconds that a process has spent on processors.
fn cpu_s(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name, which may have spaces, is in parentheses; user and system time are the 12th and 13th words after it.
    let words = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |n| words.split_whitespace().nth(n)?.parse::<f64>().ok();
    match (ticks(11), ticks(12)) {
        (Some(user), Some(system)) => (user + system) / TICKS_PER_S,
        _ => f64::NAN,
    }
}

/// Memory of a process that it shares with nobody, in MiB.
fn private_mib(process: u32) -> Option<f64> {
    let map = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    let of = |line: &str| line.split_whitespace().nth(1)?.parse::<f64>().ok();
    let private = map.lines().filter(|line| line.starts_with("Private_"));
    Some(private.filter_map(of).sum::<f64>() / 1024.0)
}

/// Two digits are enough to see growth.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn main() {
    let seconds = std::env::args().nth(1).and_then(|s| s.parse().ok());
    let length = seconds.map_or(LENGTH, Duration::from_secs);
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
    let page = browser.page_process();
    let spent = |process: Option<u32>| process.map_or(f64::NAN, cpu_s);
    let began = Instant::now();
    let before = browser.evaluate(drawn).as_f64().unwrap_or(f64::NAN);
    let (server_before, page_before) = (cpu_s(server.id()), spent(page));
    let mut rows: Vec<Value> = Vec::new();
    while began.elapsed() < length {
        std::thread::sleep(LOOK_EVERY.min(length.saturating_sub(began.elapsed())));
        let heap = browser.heap_bytes() / f64::from(1 << 20);
        let row = json!({
            "t_s": began.elapsed().as_secs(),
            "heap_mib": rounded(heap),
            "process_private_mib": page.and_then(private_mib).map(rounded),
            "nodes": browser.evaluate("document.querySelectorAll('*').length"),
            "server_cpu_s": rounded(cpu_s(server.id()) - server_before),
        });
        // Whoever waits a quarter of an hour likes to see that it goes on.
        eprintln!("{row}");
        rows.push(row);
    }
    let wall = began.elapsed().as_secs_f64();
    let after = browser.evaluate(drawn).as_f64().unwrap_or(f64::NAN);
    let heaps: Vec<f64> = rows
        .iter()
        .filter_map(|row| row["heap_mib"].as_f64())
        .collect();
    let told = json!({
        "bench": "page in Chromium",
        "devices": 100,
        "first_contentful_paint_ms": first_paint_ms,
        "states_per_s": rounded((after - before) / wall),
        "server_cpu_percent_of_a_core": rounded(100.0 * (cpu_s(server.id()) - server_before) / wall),
        "page_cpu_percent_of_a_core": rounded(100.0 * (spent(page) - page_before) / wall),
        "heap_mib_least": heaps.iter().copied().reduce(f64::min),
        "heap_mib_most": heaps.iter().copied().reduce(f64::max),
        "rows": rows,
    });
    println!("{told}");
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
}
