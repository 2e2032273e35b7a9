//! Proofs that stand alone: what a utility keeps, and checks years later.
//!
//! This crate is responsible for the answer to one question: does this file
//! prove that the nodes of this universe have witnessed this statement? It needs
//! the file and the genesis configuration, and nothing else: no daemon, no
//! network, no log. It is *not* responsible for gathering what a bundle holds
//! (that is for whoever has the logs), nor for whether what was stated is true of the
//! world: a proof shows what was logged and agreed, and by whom.
//!
//! - A [`Bundle`] is the file: atoms, the votes for them, and the universe.
//! - A [`Report`] is the verdict, one line per check.
//!
//! Everything in a bundle is under a signature or a hash, except for the summary,
//! which is for people and says so. Whoever changes any other byte has a bundle
//! that is refused.

mod bundle;
mod checks;
mod report;

use ledger_core::{Digest32, Level, UniverseId};

pub use bundle::{
    Bundle, Consistency, FormatError, FormatFault, ITEMS_MAX, ItemCode, PROOF_FORMAT,
    PROOF_VERSION, Proven,
};
pub use report::{CHECKS, Check, CheckName, Report, Status};

/// What the asker knows and demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expectation {
    /// The id of the universe; it decides who may sign, so it is never taken
    /// from the bundle.
    pub universe: UniverseId,
    /// The level that every atom of the bundle must have reached.
    pub level: Level,
    /// A head that the asker has kept: number of entries and root. The bundle
    /// must then prove that it extends this head.
    pub since: Option<(u64, Digest32)>,
}

impl Expectation {
    /// Demands of a bundle of this universe that its atoms are final.
    pub fn of(universe: UniverseId) -> Expectation {
        Expectation {
            universe,
            level: Level::Final,
            since: None,
        }
    }
}

/// Verifies the bytes of a bundle.
///
/// Every outcome is a report, also that the bytes are no bundle.
pub fn verify(bytes: &[u8], expected: &Expectation) -> Report {
    checks::run(bytes, expected)
}
