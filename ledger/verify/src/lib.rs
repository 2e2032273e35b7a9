//! Offline verification of a run's ledger: no network, no keys, no daemon.
//!
//! This crate is responsible for the answer to one question: are these files
//! what the node of this universe wrote, all of it and in order? It reads the
//! files with a reader of its own, so that a mistake in the writer is not
//! repeated here. It changes nothing. It is *not* responsible for whether the
//! universe is the right one: whoever asks must know its id, or the node's key,
//! from elsewhere, and may state it as an [`Expectation`].
//!
//! Entries are decoded and their signatures verified on all cores, a bounded
//! number at a time, while one core follows the chain behind them. What is found
//! is noted by that core alone, in the order of the log, so the report is the same
//! however many there are.
//!
//! # The end of the log
//!
//! A log that was closed in good order ends with a head that says so. A log
//! that was not (the process was killed, or somebody removed the end) may have
//! a tail of bytes that belong to no finished batch. No acknowledgement was
//! ever given for such bytes, so they are counted and do not fail the
//! verification. Whoever needs to know that nothing was removed asks for a
//! closed log, or for a size and root that were noted down during the run.

mod checks;
mod hands;
mod look;
mod reader;
mod report;

use std::num::NonZeroUsize;
use std::path::Path;

use ledger_core::{Digest32, UniverseId};

pub use report::{Check, CheckName, Report, Status};

/// What the asker knows from elsewhere. The default knows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expectation {
    /// The id of the universe.
    pub universe: Option<UniverseId>,
    /// Whether the log must have been closed in good order.
    pub closed: bool,
    /// A number of entries and the root over them that the log must contain.
    pub head: Option<(u64, Digest32)>,
}

/// Verifies the ledger in `run_dir/ledger`.
///
/// Every outcome is a report, also that there is no ledger.
pub fn verify(run_dir: &Path) -> Report {
    verify_against(run_dir, &Expectation::default())
}

/// As [`verify`], and compares with what the asker knows.
pub fn verify_against(run_dir: &Path, expected: &Expectation) -> Report {
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    verify_on(run_dir, expected, cores)
}

/// As [`verify_against`], on so many cores. The report does not depend on them.
pub fn verify_on(run_dir: &Path, expected: &Expectation, cores: NonZeroUsize) -> Report {
    checks::run(&run_dir.join("ledger"), expected, cores)
}

/// As [`verify_against`], for a folder that holds the files themselves: the own
/// log of one node among several.
pub fn verify_folder(folder: &Path, expected: &Expectation) -> Report {
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    checks::run(folder, expected, cores)
}

#[cfg(test)]
mod tests;
