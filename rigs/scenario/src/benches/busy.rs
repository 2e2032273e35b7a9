//! Other work: threads that keep every core busy while something is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{BenchError, usage};

/// Threads that keep every core busy, until they are stopped.
pub(super) struct Busy {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Duration>>,
    begin: Instant,
}

impl Busy {
    /// One for each core; started before anything asks for a priority that they would inherit.
    pub(super) fn start() -> Result<Self, BenchError> {
        let cores = std::thread::available_parallelism()
            .map_err(BenchError::system("the system does not tell its cores"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..cores.get())
            .map(|_| {
                let stop = Arc::clone(&stop);
                std::thread::Builder::new()
                    .name("busy".into())
                    .spawn(move || compute(&stop))
            })
            .collect::<Result<_, _>>()
            .map_err(BenchError::system("no thread for the other work"))?;
        Ok(Self {
            stop,
            threads,
            begin: Instant::now(),
        })
    }

    /// How many there are, and what share of the cores they had.
    pub(super) fn end(self) -> (usize, f64) {
        self.stop.store(true, Ordering::Relaxed);
        let wall_s = self.begin.elapsed().as_secs_f64();
        let count = self.threads.len();
        let cpu_s: f64 = self
            .threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_default().as_secs_f64())
            .sum();
        (count, cpu_s / (wall_s * count as f64))
    }
}

/// Computes until told to stop; the CPU time that it took.
fn compute(stop: &AtomicBool) -> Duration {
    let mut x = 1_u64;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..1000 {
            x = std::hint::black_box(x.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (x >> 31));
        }
    }
    usage::cpu_of_thread()
}
