//! Runs many seeds: `cargo run --release -p ledger-sim -- --seeds 100000 --from 0`.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ledger_sim::{report, run_seed};

fn arguments() -> Result<(u64, u64), String> {
    let (mut seeds, mut from) = (2_000, 0);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().and_then(|v| v.parse().ok());
        let value: u64 = value.ok_or_else(|| format!("{word} needs a number"))?;
        match word.as_str() {
            "--seeds" => seeds = value,
            "--from" => from = value,
            _ => return Err(format!("`{word}` is neither --seeds nor --from")),
        }
    }
    Ok((seeds, from))
}

fn main() -> ExitCode {
    let (seeds, from) = match arguments() {
        Ok(arguments) => arguments,
        Err(e) => {
            eprintln!("{e}");
            return ExitCode::from(2);
        }
    };
    // Each seed is independent of all others.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let begun = Instant::now();
    let (failed, finals, next) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(from));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds {
                        return;
                    }
                    let outcome = run_seed(seed, None);
                    finals.fetch_add(outcome.finals as u64, Ordering::Relaxed);
                    if !outcome.violations.is_empty() {
                        failed.fetch_add(1, Ordering::Relaxed);
                        println!("{}", report(seed, &outcome));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    println!(
        "{seeds} seeds from {from}: {failed} failed, {} atoms became final, {:.0} s on {threads} cores",
        finals.into_inner(),
        begun.elapsed().as_secs_f64()
    );
    match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
