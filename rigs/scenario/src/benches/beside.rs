//! What a bare verification costs while something else is measured: a thread that verifies a little
//! and sleeps a lot, so that a ratio holds on a machine that others use, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ledger_core::SecretKey;

use super::BenchError;
use super::usage::cpu_of_thread;

/// Verifications before each rest. Chosen: a millisecond or two, many caches' worth of work.
const AT_ONCE: u64 = 32;

/// The rest. Chosen: the thread then takes some hundredths of a core, which are not counted.
const REST: Duration = Duration::from_millis(50);

/// What was found.
pub(super) struct Found {
    /// CPU time of a verification, as of any key, by the library.
    pub(super) verification: Duration,
    /// CPU time that finding it took.
    pub(super) spent: Duration,
}

/// The thread.
pub(super) struct Beside {
    must_stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Found, BenchError>>,
}

impl Beside {
    pub(super) fn start() -> Beside {
        let must_stop = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&must_stop);
        Beside {
            must_stop,
            thread: std::thread::spawn(move || look(&stop)),
        }
    }

    /// Ends it and gives what it found.
    pub(super) fn stop(self) -> Result<Found, BenchError> {
        self.must_stop.store(true, Ordering::Relaxed);
        let gone = |_| BenchError::Run("the thread that verifies is gone".to_owned());
        self.thread.join().map_err(gone)?
    }
}

fn look(must_stop: &AtomicBool) -> Result<Found, BenchError> {
    let failed = |e: ledger_core::KeyError| BenchError::Run(e.to_string());
    let (key, digest) = (SecretKey::from_seed(&[3; 32]), [0x5a; 32]);
    let public = key.public();
    let signature = key.sign(&digest).map_err(failed)?;
    let mut count = 0;
    let mut verifying = Duration::ZERO;
    while !must_stop.load(Ordering::Relaxed) {
        let before = cpu_of_thread();
        for _ in 0..AT_ONCE {
            let (digest, signature) = std::hint::black_box((&digest, &signature));
            public.verify(digest, signature).map_err(failed)?;
        }
        verifying += cpu_of_thread() - before;
        count += AT_ONCE;
        std::thread::sleep(REST);
    }
    let verification = verifying.div_f64(count.max(1) as f64);
    Ok(Found {
        verification,
        spent: cpu_of_thread(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_a_part_of_what_it_took() {
        let beside = Beside::start();
        let found = beside.stop().unwrap();
        assert!(found.verification <= found.spent);
    }
}
