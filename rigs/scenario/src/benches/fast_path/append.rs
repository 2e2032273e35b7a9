//! How long a record takes to become durable, by the ledger of a run: signed, written by its thread, waited for;
//! and what the bare signatures of a setpoint take on this machine, when it has just been idle.

use std::path::Path;
use std::time::{Duration, Instant};

use ledger_core::SecretKey;
use model::Clock;
use runtime::clock::SystemClock;
use runtime::evidence::{CONTROLLER, Evidence, KeySource, document};

use crate::benches::BenchError;

/// Records that are appended one by one. Chosen: three for each of a hundred.
const RECORDS: usize = 300;

/// Signatures that a setpoint waits for: of its atom, of its vertex and of the head of its batch.
const SIGNATURES: u8 = 3;

/// What the machine is idle for before them. Chosen: the pause between two samples at the shortest polling.
const IDLE: Duration = Duration::from_millis(9);

/// The time of the signatures of one setpoint, each after a pause, in milliseconds. No fast path is faster,
/// and where the machine is slow to come back from a pause, this tells so.
pub(super) fn bare_signatures_ms() -> Result<Vec<f64>, BenchError> {
    let measure = || {
        // Refused as it is to the control thread, which tells so.
        let _granted = runtime::rights::for_devices();
        let key = SecretKey::from_seed(&[7; 32]);
        (0..RECORDS)
            .map(|n| {
                std::thread::sleep(IDLE);
                let begin = Instant::now();
                for part in 0..SIGNATURES {
                    let mut digest = [part; 32];
                    digest[..8].copy_from_slice(&n.to_le_bytes());
                    key.sign(&digest)
                        .map_err(|e| BenchError::Run(e.to_string()))?;
                }
                Ok(begin.elapsed().as_secs_f64() * 1e3)
            })
            .collect()
    };
    // On a thread of its own, so that its rights end with it.
    std::thread::scope(|scope| scope.spawn(measure).join())
        .unwrap_or_else(|_| Err(BenchError::Run("signing ended badly".into())))
}

/// The time of each, in milliseconds.
pub(super) fn times_ms(folder: &Path) -> Result<Vec<f64>, BenchError> {
    let fault = |what: &dyn std::fmt::Display| BenchError::Run(what.to_string());
    let clock = SystemClock::start();
    let mut ledger = Evidence::create(folder, "bench", &[], KeySource::Entropy, &clock)
        .map_err(|e| fault(&e))?;
    (0..RECORDS)
        .map(|n| {
            let begin = Instant::now();
            // One signed record, as a dispatch is.
            let record = document("bench", &n.to_le_bytes(), "a record of the bench");
            let draft = ledger.draft(CONTROLLER, record);
            ledger
                .append(clock.utc(), vec![draft], None)
                .map_err(|e| fault(&e))?;
            Ok(begin.elapsed().as_secs_f64() * 1e3)
        })
        .collect()
}
