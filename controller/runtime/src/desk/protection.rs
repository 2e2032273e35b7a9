//! What of participants others are shown: on the page and the API, in events and so in telemetry, in the
//! explorer, and in exports.
//!
//! The ledger keeps everything: it is the evidence, and stays with whoever keeps the bench. What a device
//! measures is the bench's own and is shown as before.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use model::{Event, Instant};
use serde::{Deserialize, Serialize};
use sha3::{Digest as _, Sha3_256};

use super::RULES_FILE;
use crate::rig::DataOfRig;
use crate::view::IntervalView;

/// Hexadecimal digits of a pseudonym. Chosen: 8, so that no two of a hundred participants are likely
/// to be alike (one in a million).
const DIGITS: usize = 8;

/// What of participants others are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protection {
    /// What each participant is called outside; who is not listed keeps its name.
    pseudonyms: BTreeMap<String, String>,
    /// Steps of energies in milliwatt-hours.
    resolution_mwh: Option<i64>,
    /// Steps of money in 1e-11 EUR: what a step of energy costs.
    resolution_u: Option<i64>,
    /// How long an interval is shown after its end, in nanoseconds.
    retention_ns: Option<i64>,
    /// Whether orders are shown.
    orders: bool,
}

/// A number to the nearest multiple of a step.
fn stepped(value: i128, step: Option<i64>) -> i128 {
    match step.map(i128::from) {
        Some(step) if step > 1 => (value + step / 2).div_euclid(step) * step,
        _ => value,
    }
}

impl Protection {
    /// That of a rig, for these participants; a unit of energy costs `price_mc` per kilowatt-hour.
    pub(super) fn of_rig(data: &DataOfRig, participants: &[String], price_mc: i64) -> Self {
        let pseudonym = |salt: &String, name: &String| {
            // Each part with its length, so that no two pairs have the same bytes.
            let mut digest = Sha3_256::new();
            for part in ["gridrig participant", salt, name] {
                digest.update((part.len() as u64).to_be_bytes());
                digest.update(part);
            }
            let digits: String =
                (digest.finalize().iter().map(|byte| format!("{byte:02x}"))).collect();
            (name.clone(), format!("p-{}", &digits[..DIGITS]))
        };
        let salted = data.salt.iter();
        let pseudonyms =
            salted.flat_map(|salt| participants.iter().map(move |n| pseudonym(salt, n)));
        Self {
            pseudonyms: pseudonyms.collect(),
            resolution_mwh: data.resolution_mwh,
            resolution_u: (data.resolution_mwh)
                .map(|mwh| mwh.saturating_mul(price_mc.saturating_abs()).max(1)),
            retention_ns: (data.retention)
                .map(|span| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)),
            orders: data.orders,
        }
    }

    /// That of a run, for whoever shows something of it; `None` without any, and where its rules do
    /// not read.
    #[must_use]
    pub fn of_run(run_dir: &Path) -> Option<Self> {
        #[derive(Deserialize)]
        struct Only {
            protection: Option<Protection>,
        }
        let bytes = std::fs::read(run_dir.join(RULES_FILE)).ok()?;
        let only: Only = serde_json::from_slice(&bytes).ok()?;
        only.protection
    }

    /// None: everything is shown as it is.
    #[must_use]
    pub fn none() -> Self {
        Self {
            orders: true,
            ..Self::default()
        }
    }

    /// What somebody is called outside.
    #[must_use]
    pub fn name<'a>(&'a self, name: &'a str) -> &'a str {
        self.pseudonyms.get(name).map_or(name, String::as_str)
    }

    /// An energy as it is shown, in milliwatt-hours.
    #[must_use]
    pub fn energy(&self, mwh: i64) -> i64 {
        let shown = stepped(mwh.into(), self.resolution_mwh);
        i64::try_from(shown).unwrap_or(mwh)
    }

    /// An amount as it is shown, in 1e-11 EUR.
    #[must_use]
    pub fn money(&self, units: i128) -> i128 {
        stepped(units, self.resolution_u)
    }

    /// Whether energies are shown to the last milliwatt-hour.
    #[must_use]
    pub fn shows_energies(&self) -> bool {
        self.resolution_mwh.is_none()
    }

    /// Whether orders are shown.
    #[must_use]
    pub fn shows_orders(&self) -> bool {
        self.orders
    }

    /// Whether records of the market are shown as they are.
    #[must_use]
    pub fn shows_records(&self) -> bool {
        *self == Self::none()
    }

    /// Whether something that ended so long ago is still shown, in nanoseconds.
    #[must_use]
    pub fn retains(&self, ended_ns_ago: i64) -> bool {
        self.retention_ns.is_none_or(|most| ended_ns_ago <= most)
    }

    /// A text in which participants stand in backticks or quotes, as errors write them.
    fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, pseudonym) in &self.pseudonyms {
            text = text.replace(&format!("`{name}`"), &format!("`{pseudonym}`"));
        }
        text
    }

    /// An event as others are told it.
    pub(super) fn event(&self, event: &mut Event) {
        let energy = |mwh: &mut i64| *mwh = self.energy(*mwh);
        match event {
            Event::PenaltyCharged {
                participant,
                deviation_mwh,
                amount_u,
                ..
            } => {
                *participant = self.name(participant).to_owned();
                energy(deviation_mwh);
                if let Ok(units) = amount_u.parse::<i128>() {
                    *amount_u = self.money(units).to_string();
                }
            }
            Event::StandingChanged { participant, .. } => {
                *participant = self.name(participant).to_owned();
            }
            Event::MarketCorrected {
                participant,
                energy_mwh,
                amount_u,
                ..
            } => {
                *participant = self.name(participant).to_owned();
                energy(energy_mwh);
                if let Ok(units) = amount_u.parse::<i128>() {
                    *amount_u = self.money(units).to_string();
                }
            }
            Event::CommitmentInfeasible {
                device,
                committed_mwh,
                missing_mwh,
                why,
                ..
            } => {
                *device = self.name(device).to_owned();
                energy(committed_mwh);
                energy(missing_mwh);
                if !self.shows_energies() {
                    why.clear();
                }
            }
            Event::MarketSilent {
                participant, why, ..
            } => {
                *participant = self.name(participant).to_owned();
                *why = self.text(why);
            }
            Event::OrderRefused { why } | Event::Noticed { text: why, .. } => {
                *why = self.text(why);
            }
            _ => {}
        }
    }

    /// An interval as others are shown it.
    pub(super) fn interval(&self, interval: &IntervalView) -> IntervalView {
        let mut shown = interval.clone();
        let hides_names = !self.pseudonyms.is_empty();
        if !self.orders {
            shown.orders.clear();
        }
        for order in &mut shown.orders {
            order.who = self.name(&order.who).to_owned();
            order.served_mwh = self.energy(order.served_mwh);
            for (_, energy) in &mut order.steps {
                *energy = self.energy(*energy);
            }
            // The record is signed in the name of whoever ordered.
            order.atom = order.atom.take().filter(|_| !hides_names);
        }
        for one in &mut shown.participants {
            one.who = self.name(&one.who).to_owned();
            one.committed_mwh = self.energy(one.committed_mwh);
            one.metered_mwh = one.metered_mwh.map(|mwh| self.energy(mwh));
            one.amount_u = one.amount_u.map(|units| self.money(units));
        }
        if hides_names {
            // In the order of their names they could be told apart.
            shown.orders.sort_by(|a, b| a.who.cmp(&b.who));
            shown.participants.sort_by(|a, b| a.who.cmp(&b.who));
        }
        shown.energy_mwh = self.energy(shown.energy_mwh);
        if let Some(settled) = &mut shown.settled {
            settled.unaccounted_mwh = self.energy(settled.unaccounted_mwh);
        }
        shown
    }
}

impl super::Desk {
    /// The last intervals as others are shown them, oldest first.
    #[must_use]
    pub fn shown_intervals(&self, now: Instant) -> Vec<Arc<IntervalView>> {
        let all = self.state.intervals.iter();
        let Some(protection) = &self.rules.protection else {
            return all.cloned().collect();
        };
        all.filter(|view| {
            let ended = now.as_nanos().saturating_sub(view.until.as_nanos());
            protection.retains(i64::try_from(ended).unwrap_or(i64::MAX))
        })
        .map(|view| Arc::new(protection.interval(view)))
        .collect()
    }

    /// What each account has paid, as others are shown it.
    #[must_use]
    pub fn shown_accounts(&self) -> Vec<(String, i128)> {
        let all = self.state.accounts.iter();
        let Some(protection) = &self.rules.protection else {
            return all.map(|(name, paid)| (name.clone(), *paid)).collect();
        };
        let shown = |(name, paid): (&String, &i128)| {
            (protection.name(name).to_owned(), protection.money(*paid))
        };
        let mut accounts: Vec<_> = all.map(shown).collect();
        accounts.sort();
        accounts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(salt: Option<&str>) -> DataOfRig {
        DataOfRig {
            salt: salt.map(str::to_owned),
            resolution_mwh: Some(10_000),
            retention: None,
            orders: true,
        }
    }

    #[test]
    fn a_pseudonym_follows_from_name_and_salt_and_says_nothing_of_either() {
        let names = ["east".to_owned(), "west".to_owned()];
        let of = |salt| Protection::of_rig(&data(Some(salt)), &names, 28_000);
        let (one, again, other) = (
            of("a salt of the lab"),
            of("a salt of the lab"),
            of("another salt here"),
        );
        assert_eq!(one, again);
        let (east, west) = (one.name("east"), one.name("west"));
        assert!(east.starts_with("p-") && east.len() == 2 + DIGITS && east != west);
        assert_ne!(other.name("east"), east);
        assert_eq!(one.name("utility"), "utility");
        assert_eq!(
            Protection::of_rig(&data(None), &names, 1).name("east"),
            "east"
        );
    }

    #[test]
    fn energies_and_money_are_shown_in_steps() {
        let protection = Protection::of_rig(&data(None), &[], 28_000);
        for (mwh, shown) in [
            (0, 0),
            (4_999, 0),
            (5_000, 10_000),
            (-4_999, 0),
            (-5_001, -10_000),
            (123_456, 120_000),
        ] {
            assert_eq!(protection.energy(mwh), shown, "{mwh}");
        }
        // 10 Wh at 28 ct/kWh are 0.28 ct, 280 million units.
        assert_eq!(protection.money(100_000_000), 0);
        assert_eq!(protection.money(-500_000_000), -560_000_000);
    }
}
