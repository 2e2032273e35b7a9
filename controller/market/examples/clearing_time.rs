//! Times the clearing of generated books and the operations of an order book, as JSON:
//! `cargo run --release --example clearing_time -p market -- 100000 1000000`.

#![allow(clippy::disallowed_methods)] // It measures time.

use std::time::Instant;

use market::bench::{time_clearing, time_continuous};

/// Operations of the order book. Chosen: long enough to leave every cache.
const OPERATIONS: usize = 2_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut sizes: Vec<usize> = std::env::args()
        .skip(1)
        .map(|size| size.parse())
        .collect::<Result<_, _>>()?;
    if sizes.is_empty() {
        sizes = vec![100, 1_000, 10_000, 100_000, 1_000_000];
    }
    let start = Instant::now();
    // Nanoseconds since the start fit 64 bits for five centuries.
    let now = || start.elapsed().as_nanos() as u64;
    for n in sizes {
        let timing = time_clearing(1, n, 10, now)?;
        println!(
            "{}",
            serde_json::json!({
                "orders": n,
                "price_and_allocation_us": (timing.crossing_ns + timing.allocation_ns) / 1_000,
                "price_us": timing.crossing_ns / 1_000,
                "allocation_us": timing.allocation_ns / 1_000,
                "named_fills_us": timing.outcome_ns / 1_000,
                "self_check_us": timing.check_ns / 1_000,
                "price_and_allocation_ns_per_order":
                    (timing.crossing_ns + timing.allocation_ns) / n.max(1) as u64,
            })
        );
    }
    let timing = time_continuous(1, OPERATIONS, 5, now)?;
    let per_second = timing.operations as u64 * 1_000_000_000 / timing.ns.max(1);
    println!(
        "{}",
        serde_json::json!({
            "operations": timing.operations,
            "operations_per_second": per_second,
            "trades": timing.trades,
            "resting": timing.resting,
        })
    );
    Ok(())
}
