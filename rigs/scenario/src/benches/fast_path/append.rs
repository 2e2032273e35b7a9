//! How long a record takes to become durable, by the ledger of a run: signed, written by its thread, waited for;
//! and what the bare signatures of a setpoint take on this machine, when it has just been idle.

use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use ledger_core::SecretKey;
use model::Clock;
use runtime::clock::SystemClock;
use runtime::evidence::{CONTROLLER, Evidence, KeySource, document};

use crate::benches::BenchError;

/// Records that are appended one by one. Chosen: three for each of a hundred.
const RECORDS: usize = 300;

/// Signatures that a setpoint waits for: of its atom and of the head of its batch.
const SIGNATURES: u8 = 2;

/// What the machine is idle for before them. Chosen: the pause between two samples at the shortest polling.
const IDLE: Duration = Duration::from_millis(9);

/// The time of the signatures of one setpoint, each after a pause, in milliseconds. No fast path is faster,
/// and where the machine is slow to come back from a pause, this tells so.
pub(super) fn bare_signatures_ms() -> Result<Vec<f64>, BenchError> {
    let measure = || {
        // Refused as it is to the control thread, which tells so.
        let _granted = runtime::rights::for_devices();
        let key = secret();
        (0..RECORDS)
            .map(|n| {
                std::thread::sleep(IDLE);
                let begin = Instant::now();
                sign_setpoint(&key, n)?;
                Ok(begin.elapsed().as_secs_f64() * 1e3)
            })
            .collect()
    };
    // On a thread of its own, so that its rights end with it.
    std::thread::scope(|scope| scope.spawn(measure).join())
        .unwrap_or_else(|_| Err(BenchError::Run("signing ended badly".into())))
}

/// The time of the shortest chain that a setpoint can go, each after a pause, in milliseconds: from the thread of the
/// buses to that of control, to that of the ledger, which signs, and back over both. Nothing else is done.
pub(super) fn bare_chain_ms() -> Result<Vec<f64>, BenchError> {
    let broken = || BenchError::Run("the chain of threads has broken".into());
    let (to_control, by_control) = sync_channel::<()>(1);
    let (to_ledger, by_ledger) = sync_channel::<()>(1);
    let (signed, seen_signed) = sync_channel::<()>(1);
    let (released, seen_released) = sync_channel::<()>(1);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _granted = runtime::rights::for_devices();
            while by_control.recv().is_ok()
                && to_ledger.send(()).is_ok()
                && seen_signed.recv().is_ok()
                && released.send(()).is_ok()
            {}
        });
        scope.spawn(move || {
            let _granted = runtime::rights::for_devices();
            let key = secret();
            let mut n = 0_usize;
            while by_ledger.recv().is_ok() {
                n += 1;
                if sign_setpoint(&key, n).is_err() || signed.send(()).is_err() {
                    return;
                }
            }
        });
        let field = scope.spawn(move || {
            let _granted = runtime::rights::for_devices();
            (0..RECORDS)
                .map(|_| {
                    std::thread::sleep(IDLE);
                    let begin = Instant::now();
                    to_control.send(()).map_err(|_| broken())?;
                    seen_released.recv().map_err(|_| broken())?;
                    Ok(begin.elapsed().as_secs_f64() * 1e3)
                })
                .collect()
        });
        field.join().unwrap_or_else(|_| Err(broken()))
    })
}

/// A key as a bench has one, which signs in constant time.
fn secret() -> SecretKey {
    let key = SecretKey::from_seed(&[7; 32]);
    SecretKey::from_bytes(&key.to_bytes()).unwrap_or(key)
}

/// What a setpoint has signed before it leaves.
fn sign_setpoint(key: &SecretKey, n: usize) -> Result<(), BenchError> {
    for part in 0..SIGNATURES {
        let mut digest = [part; 32];
        digest[..8].copy_from_slice(&n.to_le_bytes());
        key.sign(&digest)
            .map_err(|e| BenchError::Run(e.to_string()))?;
    }
    Ok(())
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
