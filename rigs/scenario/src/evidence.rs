//! What the ledger of a run says when it is read back from its files: how much, and who signed it.

use std::path::Path;

use ledger_core::Payload;

use crate::check::Verification;
use crate::report::result::LedgerSummary;

/// A ledger as it was found.
pub(crate) struct Found {
    /// In short, for result and report.
    pub summary: LedgerSummary,
    /// Dispatches in it.
    pub dispatches: u64,
    /// What its verification says.
    pub verification: Verification,
}

/// Reads and verifies the ledger in a run folder; `root` is what the run itself noted at its end,
/// empty when it could not close its ledger.
pub(crate) fn read_back(run_dir: &Path, root: &str) -> Found {
    let verified = ledger_verify::verify(run_dir);
    let verification = match (verified.is_ok(), verified.first_failure()) {
        (true, _) => Verification::Holds {
            root: root.to_owned(),
        },
        (false, Some(failure)) => Verification::Broken(failure.to_string()),
        (false, None) => Verification::Broken("it cannot be read".to_owned()),
    };
    let mut summary = LedgerSummary {
        root: (!root.is_empty()).then(|| root.to_owned()),
        entries: verified.entries,
        verified: Some(verified.is_ok()),
        ..LedgerSummary::default()
    };
    let mut dispatches = 0;
    if let Ok(mut entries) = ledger_node::entries(run_dir) {
        let is_dispatch =
            |e: &ledger_node::LogEntry| matches!(e.atom.body().payload, Payload::Dispatch(_));
        dispatches = entries
            .by_ref()
            .filter_map(Result::ok)
            .filter(is_dispatch)
            .count() as u64;
        if let Some(signed) = entries.signed_head() {
            summary.node = Some(signed.head.node.to_string());
            summary.signature = Some(signed.signature.to_string());
        }
    }
    Found {
        summary,
        dispatches,
        verification,
    }
}
