//! What a position means as power, and how to still meet it late in the interval.
//!
//! Not responsible for limits: the tracked power is a wish that passes the
//! limiter like any other, and the limiter wins.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clearing::Clearing;
use crate::fault::Coded;
use crate::interval::{Interval, MarketTimeNs};
use crate::order::AgentId;
use crate::quantity::{MilliwattNs, Mwh, div_nearest};

/// Smallest share of the interval the tracker divides by: one tenth.
/// Chosen: it bounds the tracked power to ten times the average one, so that a
/// small error at the end does not become a large step.
const TRACKER_SPAN_MIN_DIVISOR: i64 = 10;

/// One agent's energy for the interval and the constant power that delivers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commitment {
    /// Who is committed.
    pub agent: AgentId,
    /// Committed energy, injection positive.
    pub energy: Mwh,
    /// Average power in mW, rounded to the nearest, halves away from zero.
    pub power_milliwatt: i64,
}

/// A committed energy that no representable power delivers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("interval {interval}: {energy} needs a power beyond 64-bit milliwatts")]
pub struct ScheduleError {
    /// Interval index.
    pub interval: u64,
    /// The energy in question.
    pub energy: Mwh,
}

impl Coded for ScheduleError {
    fn code(&self) -> &'static str {
        "M060"
    }
    fn place(&self) -> String {
        format!("schedule of interval {}", self.interval)
    }
    fn help(&self) -> String {
        "check the unit of the orders, and register capabilities".into()
    }
}

fn milliwatts(energy: MilliwattNs, span_ns: i64) -> Option<i64> {
    i64::try_from(div_nearest(energy.0, i128::from(span_ns))).ok()
}

/// The commitments of all agents that trade, by name.
///
/// # Errors
/// When a position is too large for any power.
pub fn schedule(clearing: &Clearing) -> Result<Vec<Commitment>, ScheduleError> {
    let interval = clearing.interval;
    let mut positions: BTreeMap<&AgentId, i64> = BTreeMap::new();
    for fill in &clearing.fills {
        // At most one fill per side, both positive, so the difference fits.
        *positions.entry(&fill.agent).or_default() += fill.quantity.0 * fill.side.injection_sign();
    }
    let commitment = |(agent, energy): (&AgentId, i64)| {
        let energy = Mwh(energy);
        let power_milliwatt = milliwatts(energy.into(), interval.dt_ns).ok_or(ScheduleError {
            interval: interval.index,
            energy,
        })?;
        Ok(Commitment {
            agent: agent.clone(),
            energy,
            power_milliwatt,
        })
    };
    positions.into_iter().map(commitment).collect()
}

/// Corrects the power within an interval toward the committed energy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemainingEnergyTracker {
    /// The interval of the commitment.
    pub interval: Interval,
    /// Committed energy, injection positive.
    pub committed: Mwh,
}

impl RemainingEnergyTracker {
    /// `(committed − metered) / (end − now)` in mW, to the nearest; the divisor
    /// is at least a tenth of the interval and `now` counts as within it.
    ///
    /// # Errors
    /// When the power is beyond 64-bit milliwatts.
    pub fn power_milliwatt(
        &self,
        metered: MilliwattNs,
        now_ns: MarketTimeNs,
    ) -> Result<i64, ScheduleError> {
        let Self {
            interval,
            committed,
        } = *self;
        let now = now_ns.clamp(interval.start_ns, interval.end_ns());
        let span = (interval.end_ns() - now)
            .max(interval.dt_ns / TRACKER_SPAN_MIN_DIVISOR)
            .max(1);
        milliwatts(MilliwattNs::from(committed) - metered, span).ok_or(ScheduleError {
            interval: interval.index,
            energy: committed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clearing::Fill;
    use crate::mechanism::{Mechanism, UniformPrice};
    use crate::{Book, BookRules, Money, Order, Price, Side};

    const MINUTE_NS: i64 = 60_000_000_000;

    fn minute() -> Interval {
        Interval::new(3, 5 * MINUTE_NS, MINUTE_NS).unwrap()
    }

    #[test]
    fn a_schedule_nets_both_sides_of_an_agent_and_rounds_to_the_nearest_milliwatt() {
        let orders = vec![
            Order::single("load".into(), Side::Buy, Price(30), Mwh(1_000)),
            Order::single("plant".into(), Side::Sell, Price(10), Mwh(2_000)),
        ];
        let book = Book::new(minute(), &BookRules::unbounded(), orders).unwrap();
        let mut clearing = UniformPrice::HALF.clear(&book).unwrap();
        clearing.fills.push(Fill {
            agent: "plant".into(),
            side: Side::Buy,
            quantity: Mwh(300),
            payment: Money(0),
        });
        let rows: Vec<_> = schedule(&clearing)
            .unwrap()
            .into_iter()
            .map(|c| (c.agent.to_string(), c.energy.0, c.power_milliwatt))
            .collect();
        // 1 mWh over a minute is 60 mW.
        assert_eq!(
            rows,
            [
                ("load".into(), -1_000, -60_000),
                ("plant".into(), 700, 42_000)
            ]
        );
    }

    #[test]
    fn the_tracker_divides_what_is_left_by_the_time_that_is_left() {
        let tracker = RemainingEnergyTracker {
            interval: minute(),
            committed: Mwh(-1_000),
        };
        let start = minute().start_ns;
        // (metered at what power until when, when asked) -> power
        for (held_milliwatt, now, expected) in [
            (0, 0, -60_000),
            (0, 30, -120_000),
            (-60_000, 30, -60_000),
            (-120_000, 30, 0),
            // In the last tenth the divisor stays 6 s.
            (-60_000, 54, -60_000),
            (-60_000, 57, -30_000),
            (-60_000, 60, 0),
            // After the end and before the start count as the end and the start.
            (-60_000, 90, 300_000),
            (0, -10, -60_000),
        ] {
            let now_ns = start + now * 1_000_000_000;
            let metered = MilliwattNs::of(held_milliwatt, (now * 1_000_000_000).max(0));
            let power = tracker.power_milliwatt(metered, now_ns).unwrap();
            assert_eq!(power, expected, "{held_milliwatt} mW until {now} s");
        }
    }

    #[test]
    fn a_position_too_large_for_its_interval_is_refused() {
        let interval = Interval::new(1, 0, 1).unwrap();
        let tracker = RemainingEnergyTracker {
            interval,
            committed: Mwh(i64::MAX),
        };
        assert!(tracker.power_milliwatt(MilliwattNs(0), 0).is_err());
    }
}
