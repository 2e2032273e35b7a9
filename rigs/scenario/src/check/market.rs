//! Checks of the market: settled to zero, replayed, delivered, and who has paid penalties.
//!
//! What was committed and metered is read from the run's ledger, not from the record of signals:
//! these are the numbers that were settled.

use runtime::desk::{Books, Delivery};

use super::{CheckResult, Span};
use crate::verdict::Verdict;

/// What a check says of the market as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarketWord {
    /// Every interval that ended was settled, and the sum over all accounts is zero.
    Settled,
    /// Every clearing and settlement comes out again, computed from the ledger.
    Replayed,
}

impl MarketWord {
    /// All of them with the words that a scenario writes.
    pub const ALL: &'static [(&'static str, Self)] =
        &[("settled", Self::Settled), ("replayed", Self::Replayed)];

    /// The word that a scenario writes.
    #[must_use]
    pub fn name(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(_, word)| *word == self)
            .map_or("", |(name, _)| name)
    }
}

/// What came of computing a market again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replay {
    /// Every number came out again.
    Identical {
        /// Intervals cleared again.
        cleared: u64,
        /// Intervals settled again.
        settled: u64,
    },
    /// The first difference.
    Different(String),
    /// It could not be done, with the reason.
    Impossible(String),
}

/// What is known about the market of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct MarketEvidence {
    /// Intervals that ended and should be settled.
    pub intervals_ended: u64,
    /// Intervals that were settled.
    pub intervals_settled: u64,
    /// Sum over all accounts and intervals, in 1e-11 EUR.
    pub sum_u: i128,
    /// Energy that belongs to nobody, in milliwatt-hours.
    pub unaccounted_mwh: i64,
    /// What came of computing it again.
    pub replay: Replay,
    /// Commitments, meters and penalties of the ledger.
    pub books: Books,
}

pub(super) fn word(
    result: CheckResult,
    evidence: Option<&MarketEvidence>,
    word: MarketWord,
) -> CheckResult {
    match (evidence, word) {
        (None, _) => result.says(Verdict::Inconclusive, "the run had no market"),
        (Some(evidence), MarketWord::Settled) => settled(result, evidence),
        (Some(evidence), MarketWord::Replayed) => replayed(result, evidence),
    }
}

fn settled(mut result: CheckResult, evidence: &MarketEvidence) -> CheckResult {
    let (ended, settled) = (evidence.intervals_ended, evidence.intervals_settled);
    result.value = Some(settled as f64);
    result.lower = Some(ended as f64);
    result.unit = "intervals".to_owned();
    result.samples = ended;
    if evidence.sum_u != 0 {
        let why = format!(
            "the accounts do not sum to zero: {} of 1e-11 EUR are left",
            evidence.sum_u
        );
        return result.says(Verdict::Fail, why);
    }
    if settled < ended {
        let why = format!("{settled} of {ended} intervals that ended were settled");
        return result.says(Verdict::Fail, why);
    }
    if ended == 0 {
        return result.says(Verdict::Inconclusive, "no interval ended");
    }
    let why = format!(
        "{settled} intervals were settled, accounts sum to zero, {} mWh belong to nobody",
        evidence.unaccounted_mwh
    );
    result.says(Verdict::Pass, why)
}

fn replayed(mut result: CheckResult, evidence: &MarketEvidence) -> CheckResult {
    match &evidence.replay {
        Replay::Identical { settled: 0, .. } => {
            result.says(Verdict::Inconclusive, "no interval was settled")
        }
        Replay::Identical { cleared, settled } => {
            result.value = Some(*settled as f64);
            result.unit = "intervals".to_owned();
            result.samples = *settled;
            let why = format!("{cleared} clearings and {settled} settlements come out again");
            result.says(Verdict::Pass, why)
        }
        Replay::Different(what) => {
            result.says(Verdict::Fail, format!("computed again it differs: {what}"))
        }
        Replay::Impossible(why) => {
            let why = format!("it cannot be computed again: {why}");
            result.says(Verdict::Inconclusive, why)
        }
    }
}

/// What one participant has done over several intervals.
struct Kept<'a> {
    name: &'a str,
    /// Energy that it was off by, over what it committed; `None` when it committed nothing.
    off: Option<f64>,
    intervals: u64,
    /// Intervals whose meter said nothing.
    missing: u64,
}

impl<'a> Kept<'a> {
    /// Sums up what a participant did in intervals in which it was to deliver.
    fn of(name: &'a str, deliveries: &[&Delivery]) -> Self {
        let (mut committed, mut off) = (0_u128, 0_u128);
        let (mut intervals, mut missing) = (0, 0);
        for delivery in deliveries.iter().filter(|d| d.participant == name) {
            intervals += 1;
            let Some(metered) = delivery.metered_mwh else {
                missing += 1;
                continue;
            };
            committed += delivery.committed_mwh.unsigned_abs();
            off += (i128::from(metered) - delivery.committed_mwh).unsigned_abs();
        }
        Self {
            name,
            off: (committed > 0).then(|| off as f64 / committed as f64),
            intervals,
            missing,
        }
    }
}

pub(super) fn delivered(
    mut result: CheckResult,
    evidence: Option<&MarketEvidence>,
    window: &Span,
    participants: &[String],
    at_most: f64,
) -> CheckResult {
    let Some(evidence) = evidence else {
        return result.says(Verdict::Inconclusive, "the run had no market");
    };
    let deliveries = evidence.books.deliveries.iter();
    let in_window: Vec<&Delivery> = deliveries
        .filter(|d| !d.is_excused && d.from >= window.from && d.until <= window.seen_to)
        .collect();
    let kept: Vec<Kept<'_>> = (participants.iter())
        .map(|name| Kept::of(name, &in_window))
        .collect();
    result.unit = "%".to_owned();
    result.upper = Some(at_most * 100.0);
    result.samples = kept.iter().map(|one| one.intervals).sum();
    let worst = kept
        .iter()
        .filter_map(|one| Some((one.off?, one)))
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    if let Some((off, one)) = worst {
        result.value = Some(off * 100.0);
        if off > at_most {
            let why = format!(
                "{} was off by {} % of what it committed in {} intervals",
                one.name,
                crate::report::number(off * 100.0),
                one.intervals
            );
            return result.says(Verdict::Fail, why);
        }
    }
    if let Some(one) = kept.iter().find(|one| one.off.is_none()) {
        let why = format!("{} committed nothing in the window", one.name);
        return result.says(Verdict::Inconclusive, why);
    }
    if let Some(one) = kept.iter().find(|one| one.missing > 0) {
        let why = format!("the meter of {} was missing in {}", one.name, one.missing);
        return result.says(Verdict::Inconclusive, why);
    }
    let told: Vec<String> = kept
        .iter()
        .filter_map(|one| {
            let off = crate::report::number(one.off? * 100.0);
            Some(format!("{} {off} % in {}", one.name, one.intervals))
        })
        .collect();
    result.says(
        Verdict::Pass,
        format!("off by {} intervals", told.join(", ")),
    )
}

/// The account that receives penalties.
const POOL: &str = "penalties";

pub(super) fn penalised(
    mut result: CheckResult,
    evidence: Option<&MarketEvidence>,
    participants: &[String],
) -> CheckResult {
    let Some(evidence) = evidence else {
        return result.says(Verdict::Inconclusive, "the run had no market");
    };
    let books = &evidence.books;
    result.samples = books.deliveries.len() as u64;
    if books.deliveries.is_empty() {
        return result.says(Verdict::Inconclusive, "no interval was settled");
    }
    let paid = |name: &str| books.penalties.get(name).copied().unwrap_or_default();
    if let Some(name) = participants.iter().find(|name| paid(name) <= 0) {
        return result.says(Verdict::Fail, format!("{name} has paid no penalty"));
    }
    let others = books
        .penalties
        .iter()
        .filter(|(name, amount)| **amount != 0 && *name != POOL && !participants.contains(name));
    if let Some((name, amount)) = others.into_iter().next() {
        let why = format!("{name} has paid a penalty of {amount} times 1e-11 EUR");
        return result.says(Verdict::Fail, why);
    }
    let sum: i128 = participants.iter().map(|name| paid(name)).sum();
    if paid(POOL) != -sum {
        let why = format!("{sum} was paid and {} received, in 1e-11 EUR", -paid(POOL));
        return result.says(Verdict::Fail, why);
    }
    let told = match participants {
        [] => "nobody has paid a penalty".to_owned(),
        names => format!(
            "{} paid {sum} times 1e-11 EUR into the pool",
            names.join(", ")
        ),
    };
    result.says(Verdict::Pass, told)
}

/// Accounts of the market itself: what others are booked they may be the other side of.
const OWN: [&str; 3] = [POOL, "operator", runtime::desk::UTILITY];

pub(super) fn booked(
    mut result: CheckResult,
    evidence: Option<&MarketEvidence>,
    participants: &[String],
    what: &str,
    at_least: u64,
) -> CheckResult {
    let Some(evidence) = evidence else {
        return result.says(Verdict::Inconclusive, "the run had no market");
    };
    let books = &evidence.books;
    result.samples = books.deliveries.len() as u64;
    if books.deliveries.is_empty() {
        return result.says(Verdict::Inconclusive, "no interval was settled");
    }
    let of = |name: &str| {
        let key = (what.to_owned(), name.to_owned());
        books.booked.get(&key).copied().unwrap_or_default()
    };
    let short = |name: &&String| of(name).0 < at_least;
    if let Some(name) = participants.iter().find(short) {
        let why = format!("{name} is booked {what} in {} settlements", of(name).0);
        return result.says(Verdict::Fail, why);
    }
    let mut others = books.booked.iter().filter(|((kind, name), _)| {
        kind == what && !participants.contains(name) && !OWN.contains(&name.as_str())
    });
    if let Some(((_, name), (count, _))) = others.next() {
        let why = format!("{name} is booked {what} in {count} settlements, too");
        return result.says(Verdict::Fail, why);
    }
    let told: Vec<String> = (participants.iter())
        .map(|name| {
            let (count, paid) = of(name);
            format!("{name} {paid} of 1e-11 EUR in {count}")
        })
        .collect();
    let why = match told.is_empty() {
        true => format!("nobody is booked {what}"),
        false => format!("paid as {what}: {} settlements", told.join(", ")),
    };
    result.says(Verdict::Pass, why)
}

#[cfg(test)]
mod tests;
