//! How long a record takes to become durable, by the ledger of a run: signed, written by its thread, waited for.

use std::path::Path;
use std::time::Instant;

use model::Clock;
use runtime::clock::SystemClock;
use runtime::evidence::{CONTROLLER, Evidence, KeySource, document};

use crate::benches::BenchError;

/// Records that are appended one by one. Chosen: three for each of a hundred.
const RECORDS: usize = 300;

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
