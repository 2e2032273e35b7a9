//! Times the clearing of generated books: `cargo run --release --example
//! clearing_time -p market -- 100000 1000000`.

#![allow(clippy::disallowed_methods)] // It measures time.

use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut sizes: Vec<usize> = std::env::args()
        .skip(1)
        .map(|size| size.parse())
        .collect::<Result<_, _>>()?;
    if sizes.is_empty() {
        sizes = vec![1_000, 10_000, 100_000, 1_000_000];
    }
    let start = Instant::now();
    for n in sizes {
        // Nanoseconds since the start fit 64 bits for five centuries.
        let timing = market::bench::time_clearing(1, n, 10, || start.elapsed().as_nanos() as u64)?;
        println!(
            "{n} orders: price and quantity {:.3} ms, allocation {:.3} ms, \
             all with named fills {:.3} ms, self-check {:.3} ms",
            timing.crossing_ns as f64 / 1e6,
            timing.allocation_ns as f64 / 1e6,
            timing.outcome_ns as f64 / 1e6,
            timing.check_ns as f64 / 1e6,
        );
    }
    Ok(())
}
