//! Checks of what the runner knows besides the record: the ledger. The market has its own file.

use std::time::Duration;

use super::{CheckResult, MarketEvidence};
use crate::verdict::Verdict;

/// What the runner hands over besides the record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// About the ledger.
    pub ledger: LedgerEvidence,
    /// About the market; `None` when the run had none.
    pub market: Option<MarketEvidence>,
    /// About the way to each device that is asked.
    pub links: Vec<LinkEvidence>,
}

/// What is known about the way to a device, over the whole run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinkEvidence {
    /// Name of the device.
    pub device: String,
    /// Requests to it.
    pub requests: u64,
    /// Requests whose answer came too late, damaged, or not at all.
    pub lost: u64,
    /// Time that one in a hundred answers exceeded; `None` without an answer.
    pub p99: Option<Duration>,
}

/// What is known about the ledger of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LedgerEvidence {
    /// Setpoints that left for devices.
    pub dispatches: u64,
    /// Dispatches found in the ledger when it was read back.
    pub dispatches_logged: u64,
    /// What the verification of the whole ledger said.
    pub verification: Verification,
}

/// What the verification of the ledger said.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Verification {
    /// Nobody verified it.
    #[default]
    NotDone,
    /// It could not be carried out, with the reason.
    Impossible(String),
    /// It holds, with its root in hexadecimal.
    Holds {
        /// Root of the ledger.
        root: String,
    },
    /// It does not hold, with the first difference.
    Broken(String),
}

pub(super) fn ledger(mut result: CheckResult, evidence: &LedgerEvidence) -> CheckResult {
    let (made, logged) = (evidence.dispatches, evidence.dispatches_logged);
    result.value = Some(logged as f64);
    result.lower = Some(made as f64);
    result.upper = Some(made as f64);
    result.unit = "dispatches".to_owned();
    result.samples = made;
    if let Verification::Broken(why) = &evidence.verification {
        let why = format!("the ledger does not verify: {why}");
        return result.says(Verdict::Ledger, why);
    }
    if made != logged {
        let why = format!("{made} dispatches were made and {logged} are in the ledger");
        return result.says(Verdict::Ledger, why);
    }
    match &evidence.verification {
        Verification::NotDone => result.says(Verdict::Inconclusive, "the ledger was not verified"),
        Verification::Impossible(why) => {
            let why = format!("the ledger could not be verified: {why}");
            result.says(Verdict::Inconclusive, why)
        }
        Verification::Holds { .. } if made == 0 => result.says(
            Verdict::Inconclusive,
            "nothing was dispatched, so nothing was shown",
        ),
        Verification::Holds { root } => {
            let why = format!("{made} of {made} dispatches are in the ledger, root {root}");
            result.says(Verdict::Pass, why)
        }
        Verification::Broken(_) => result,
    }
}
