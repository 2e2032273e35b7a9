//! Using reserve: who is called, how well it followed, and what it is paid.
//!
//! Regulation is called in merit order by energy price; droop by participation, in
//! proportion to what was reserved. How well a provider followed is one minus the mean
//! distance of measured from commanded power, relative to how far it was commanded away
//! from its baseline. Pay is capacity times availability times that score, and energy at
//! the marginal price of the call.
//!
//! Not responsible for commands to devices, or for the samples: they are arguments.

use crate::order::{AgentId, Side};
use crate::outcome::shares;
use crate::quantity::{Money, Mwh, MwhTotal, PPM, Price};

/// Score below which the capacity is not paid, in ppm.
/// Chosen: two thirds of a service that one cannot count on are none.
pub const FORFEIT_BELOW_PPM: u32 = 700_000;

/// Score below which the provider owes the penalty too, in ppm.
/// Chosen: who follows by half or less has moved the grid as often wrong as right.
pub const PENALTY_BELOW_PPM: u32 = 500_000;

/// Reserved capacity with the price of its energy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// Who is ready.
    pub agent: AgentId,
    /// By how much in this interval, not negative.
    pub energy: Mwh,
    /// What its energy costs; for down-reserve, what it pays for taking it back.
    pub price: Price,
}

/// A call of reserve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// Who delivers how much, in the order given; both directions positive.
    pub parts: Vec<(AgentId, Mwh)>,
    /// Price of the last one called; `None` when nobody is.
    pub price: Option<Price>,
    /// What nobody could deliver.
    pub short: MwhTotal,
}

/// Calls the cheapest first for `Sell` (up), the one that pays most first for `Buy`
/// (down); of equals the first in the list.
#[must_use]
pub fn merit_order(reserved: &[Reserved], side: Side, needed: MwhTotal) -> Called {
    let mut order: Vec<usize> = (0..reserved.len()).collect();
    // Stable, so equals stay in their order.
    order.sort_by(|&a, &b| {
        let (a, b) = (reserved[a].price, reserved[b].price);
        if side == Side::Sell {
            a.cmp(&b)
        } else {
            b.cmp(&a)
        }
    });
    let mut left = needed.0.max(0);
    let mut parts = vec![Mwh(0); reserved.len()];
    let mut price = None;
    for index in order {
        let part = left.min(reserved[index].energy.0.into());
        if part > 0 {
            // At most what is reserved.
            parts[index] = Mwh(part as i64);
            left -= part;
            price = Some(reserved[index].price);
        }
    }
    called(reserved, parts, price, left)
}

/// Calls everybody in proportion to what is reserved, as droop does by itself.
#[must_use]
pub fn participation(reserved: &[Reserved], side: Side, needed: MwhTotal) -> Called {
    let weights: Vec<i128> = reserved.iter().map(|r| r.energy.0.max(0).into()).collect();
    let total: i128 = weights.iter().sum();
    let given = needed.0.clamp(0, total);
    // A share of at most the whole is at most what is reserved.
    let parts: Vec<Mwh> = shares(given, &weights)
        .into_iter()
        .map(|p| Mwh(p as i64))
        .collect();
    let prices = reserved.iter().zip(&parts).filter(|(_, part)| part.0 > 0);
    let prices = prices.map(|(reserved, _)| reserved.price);
    let price = if side == Side::Sell {
        prices.max()
    } else {
        prices.min()
    };
    called(reserved, parts, price, needed.0.max(0) - given)
}

fn called(reserved: &[Reserved], parts: Vec<Mwh>, price: Option<Price>, short: i128) -> Called {
    let named = reserved.iter().zip(parts).filter(|(_, part)| part.0 > 0);
    Called {
        parts: named.map(|(r, part)| (r.agent.clone(), part)).collect(),
        price,
        short: MwhTotal(short),
    }
}

/// One moment of an activation, powers in mW, injection positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// What the provider would have done.
    pub baseline: i64,
    /// What it was told to do.
    pub commanded: i64,
    /// What its meter says.
    pub measured: i64,
}

/// How well a course was followed, in ppm, rounded down, in the moments in which something else than the
/// baseline was commanded; `None` without any, where nothing can be said.
#[must_use]
pub fn score_ppm(moments: &[Moment]) -> Option<u32> {
    let apart = |a: i64, b: i64| i128::from(a).abs_diff(i128::from(b));
    let moments = moments.iter().filter(|m| m.commanded != m.baseline);
    let moments: Vec<&Moment> = moments.collect();
    let asked: u128 = moments.iter().map(|m| apart(m.commanded, m.baseline)).sum();
    let missed: u128 = moments.iter().map(|m| apart(m.commanded, m.measured)).sum();
    score_of(asked, missed)
}

/// The score of sums over the moments: how far was commanded away from the baseline, and how far was
/// measured from what was commanded; `None` where nothing was.
#[must_use]
pub fn score_of(asked: u128, missed: u128) -> Option<u32> {
    if asked == 0 {
        return None;
    }
    let kept = asked.saturating_sub(missed);
    // Powers are below 2^65 and moments below 2^40, so the product fits; at most a whole.
    Some((kept * u128::from(PPM) / asked) as u32)
}

/// What a provider is measured by over a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// What it was ready for.
    pub capacity: Mwh,
    /// Price of readiness.
    pub capacity_price: Price,
    /// Share of the time in which it was ready, in ppm.
    pub availability_ppm: u32,
    /// How well it followed; `None` when it was never called.
    pub score_ppm: Option<u32>,
    /// Energy it was called for; positive on both sides.
    pub energy: Mwh,
    /// Up or down.
    pub side: Side,
    /// Marginal price of the calls.
    pub energy_price: Price,
    /// What it owes when it does not follow.
    pub penalty: Money,
}

/// What a provider is paid, every amount as it pays: negative is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pay {
    /// For readiness.
    pub capacity: Money,
    /// For energy.
    pub energy: Money,
    /// For not following.
    pub penalty: Money,
}

/// The pay of a delivery. Who was never called is paid for its readiness in full.
#[must_use]
pub fn pay(delivery: &Delivery) -> Pay {
    let whole = i128::from(PPM);
    let score = delivery.score_ppm.unwrap_or(PPM).min(PPM);
    let availability = delivery.availability_ppm.min(PPM);
    let full = (delivery.capacity_price * delivery.capacity).0;
    let earned = if score < FORFEIT_BELOW_PPM {
        0
    } else {
        // Rounded down to a unit of 1e-11 EUR, in two steps so that it fits.
        (full * i128::from(availability) / whole) * i128::from(score) / whole
    };
    let energy = (delivery.energy_price * delivery.energy).0;
    let owes = score < PENALTY_BELOW_PPM;
    Pay {
        capacity: Money(-earned),
        energy: Money(if delivery.side == Side::Sell {
            -energy
        } else {
            energy
        }),
        penalty: if owes { delivery.penalty } else { Money(0) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserved() -> [Reserved; 3] {
        [("a", 30, 20), ("b", 60, 10), ("c", 30, 30)].map(|(agent, energy, price)| Reserved {
            agent: agent.into(),
            energy: Mwh(energy),
            price: Price(price),
        })
    }

    fn check(called: &Called, parts: &[(&str, i64)], price: Option<i64>, short: i128) {
        let found = called.parts.iter();
        let found: Vec<_> = found
            .map(|(agent, part)| (agent.as_str(), part.0))
            .collect();
        assert_eq!(
            (found.as_slice(), called.price, called.short.0),
            (parts, price.map(Price), short)
        );
    }

    #[test]
    fn the_cheapest_go_up_first_and_who_pays_most_goes_down_first() {
        let up = |needed| merit_order(&reserved(), Side::Sell, MwhTotal(needed));
        check(&up(70), &[("a", 10), ("b", 60)], Some(20), 0);
        check(&up(130), &[("a", 30), ("b", 60), ("c", 30)], Some(30), 10);
        check(&up(0), &[], None, 0);
        let down = merit_order(&reserved(), Side::Buy, MwhTotal(40));
        check(&down, &[("a", 10), ("c", 30)], Some(20), 0);
    }

    #[test]
    fn droop_calls_everybody_by_its_share() {
        let all = participation(&reserved(), Side::Sell, MwhTotal(60));
        check(&all, &[("a", 15), ("b", 30), ("c", 15)], Some(30), 0);
        let down = participation(&reserved(), Side::Buy, MwhTotal(200));
        check(&down, &[("a", 30), ("b", 60), ("c", 30)], Some(10), 80);
    }

    fn moment(baseline: i64, commanded: i64, measured: i64) -> Moment {
        Moment {
            baseline,
            commanded,
            measured,
        }
    }

    #[test]
    fn a_score_compares_what_was_missed_with_what_was_asked() {
        for (moments, expected) in [
            (
                vec![moment(0, 100, 100), moment(0, -50, -50)],
                Some(1_000_000),
            ),
            (vec![moment(0, 100, 70)], Some(700_000)),
            (vec![moment(0, 100, 0)], Some(0)),
            (vec![moment(0, 100, -100)], Some(0)),
            // What it does before and after a call is no answer to it.
            (
                vec![moment(0, 0, 80), moment(0, 100, 100), moment(0, 0, -80)],
                Some(1_000_000),
            ),
            (vec![moment(5, 5, 90)], None),
            (vec![], None),
        ] {
            assert_eq!(score_ppm(&moments), expected, "{moments:?}");
        }
    }

    #[test]
    fn who_follows_badly_forfeits_its_fee_and_then_owes() {
        let delivery = |score_ppm| Delivery {
            capacity: Mwh(1_000),
            capacity_price: Price(50),
            availability_ppm: 900_000,
            score_ppm,
            energy: Mwh(10),
            side: Side::Sell,
            energy_price: Price(300),
            penalty: Money(7),
        };
        for (score, capacity, penalty) in [
            (None, -45_000, 0),
            (Some(1_000_000), -45_000, 0),
            (Some(700_000), -31_500, 0),
            (Some(699_999), 0, 0),
            (Some(500_000), 0, 0),
            (Some(499_999), 0, 7),
        ] {
            let found = pay(&delivery(score));
            let expected = (capacity, -3_000, penalty);
            assert_eq!(
                (found.capacity.0, found.energy.0, found.penalty.0),
                expected,
                "{score:?}"
            );
        }
    }
}
