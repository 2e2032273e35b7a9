//! What an order could cost its owner at worst, and whether that is covered.
//!
//! A bid can cost its own limit; an offer at a negative price can cost that. Either can
//! deviate by all of its energy and owe the imbalance at the cap and the penalty. Orders
//! are taken in canonical order, each holds what it could cost, and one that is not
//! covered is refused before it reaches the book.
//!
//! Not responsible for paying in or out, or for the standing ([`crate::standing`]).

use std::collections::BTreeMap;

use crate::book::{BookRules, Capability};
use crate::fault::Coded;
use crate::order::{AgentId, Order, Side};
use crate::penalty::Penalty;
use crate::quantity::{Money, Mwh, MwhTotal, PPM, Price};
use crate::standing::{Standing, StandingRules};

/// What a participant has given and how it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// What it has paid in and not yet used.
    pub deposit: Money,
    /// How it stands.
    pub standing: Standing,
}

/// Why an order does not reach the book.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CoverError {
    /// Nobody knows it.
    #[error("{side} of `{agent}`: it has no account")]
    Unknown {
        /// Who orders.
        agent: AgentId,
        /// Which side.
        side: Side,
    },
    /// It is suspended.
    #[error("{side} of `{agent}`: it is suspended for {intervals} more intervals")]
    Suspended {
        /// Who orders.
        agent: AgentId,
        /// Which side.
        side: Side,
        /// How long.
        intervals: u32,
    },
    /// Less of it is accepted.
    #[error("{side} of `{agent}`: {ordered} exceeds the {accepted} that its standing leaves")]
    Capped {
        /// Who orders.
        agent: AgentId,
        /// Which side.
        side: Side,
        /// What it orders.
        ordered: MwhTotal,
        /// What is accepted.
        accepted: MwhTotal,
    },
    /// It could cost more than is left of the deposit.
    #[error("{side} of `{agent}`: it could cost {needed}, {left} is left of its deposit")]
    NotCovered {
        /// Who orders.
        agent: AgentId,
        /// Which side.
        side: Side,
        /// What it could cost.
        needed: Money,
        /// What is left.
        left: Money,
    },
}

impl Coded for CoverError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "M151",
            Self::Suspended { .. } => "M152",
            Self::Capped { .. } => "M153",
            Self::NotCovered { .. } => "M154",
        }
    }
    fn place(&self) -> String {
        match self {
            Self::Unknown { agent, side }
            | Self::Suspended { agent, side, .. }
            | Self::Capped { agent, side, .. }
            | Self::NotCovered { agent, side, .. } => format!("{side} of `{agent}`"),
        }
    }
    fn help(&self) -> String {
        match self {
            Self::Unknown { .. } => "register the participant with a deposit".into(),
            Self::Suspended { .. } => "wait; it comes back by itself".into(),
            Self::Capped { accepted, .. } => format!("order at most {accepted}"),
            Self::NotCovered { .. } => "pay in, order less, or bid lower".into(),
        }
    }
}

/// What an order could cost at worst: its own price, and a deviation by all of it.
#[must_use]
pub fn worst_case(order: &Order, rules: &BookRules, penalty: &Penalty) -> Money {
    let cost = |price: Price, energy: Mwh| (price * energy).0.max(0);
    let own: i128 = (order.steps.iter())
        .map(|step| match order.side {
            Side::Buy => cost(step.price, step.quantity),
            Side::Sell => cost(Price(-step.price.0), step.quantity),
        })
        .sum();
    let energy: i128 = order
        .steps
        .iter()
        .map(|step| i128::from(step.quantity.0))
        .sum();
    // A buyer that takes nothing sells all of it at the floor, a seller buys at the cap.
    let apart = match order.side {
        Side::Buy => -i128::from(rules.floor.0),
        Side::Sell => i128::from(rules.cap.0),
    };
    let imbalance = apart.max(0).saturating_mul(energy);
    let fine = penalty.charge(MwhTotal(energy), MwhTotal(energy)).0;
    Money(own.saturating_add(imbalance).saturating_add(fine))
}

/// The orders that are covered, and why each other one is not; in canonical order, so
/// that every replica refuses the same.
#[must_use]
pub fn screen(
    mut orders: Vec<Order>,
    accounts: &BTreeMap<AgentId, Account>,
    rules: &BookRules,
    penalty: &Penalty,
    standing_rules: &StandingRules,
) -> (Vec<Order>, Vec<CoverError>) {
    orders.sort_by(|a, b| (a.side, a.rank, &a.agent).cmp(&(b.side, b.rank, &b.agent)));
    let mut held: BTreeMap<AgentId, i128> = BTreeMap::new();
    let mut refused = Vec::new();
    orders.retain(|order| {
        let (agent, side) = (order.agent.clone(), order.side);
        let Some(account) = accounts.get(&agent) else {
            refused.push(CoverError::Unknown { agent, side });
            return false;
        };
        if let Standing::Suspended { intervals } = account.standing {
            refused.push(CoverError::Suspended {
                agent,
                side,
                intervals,
            });
            return false;
        }
        let capability = rules
            .capabilities
            .as_ref()
            .and_then(|table| table.get(&agent));
        let accepted =
            capability.map(|capability| accepted(capability, account, side, standing_rules));
        let ordered: MwhTotal = order.steps.iter().map(|step| step.quantity.into()).sum();
        if let Some(accepted) = accepted.filter(|accepted| ordered > *accepted) {
            refused.push(CoverError::Capped {
                agent,
                side,
                ordered,
                accepted,
            });
            return false;
        }
        let share = i128::from(account.standing.collateral_ppm(standing_rules));
        let needed = worst_case(order, rules, penalty).0.saturating_mul(share) / i128::from(PPM);
        let held = held.entry(agent.clone()).or_default();
        let left = account.deposit.0 - *held;
        if needed > left {
            let (needed, left) = (Money(needed), Money(left));
            refused.push(CoverError::NotCovered {
                agent,
                side,
                needed,
                left,
            });
            return false;
        }
        *held += needed;
        true
    });
    (orders, refused)
}

fn accepted(
    capability: &Capability,
    account: &Account,
    side: Side,
    rules: &StandingRules,
) -> MwhTotal {
    let most = match side {
        Side::Buy => capability.withdraw_max,
        Side::Sell => capability.inject_max,
    };
    let share = i128::from(account.standing.accepted_ppm(rules).min(PPM));
    MwhTotal(most.0.saturating_mul(share) / i128::from(PPM))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PENALTY: Penalty = Penalty {
        rate: Price(10),
        low: Price(10),
        high: None,
        tolerance: Mwh(0),
        tolerance_ppm: 100_000,
    };

    fn rules() -> BookRules {
        let capability = Capability {
            inject_max: MwhTotal(100),
            withdraw_max: MwhTotal(100),
        };
        BookRules {
            capabilities: Some([("a".into(), capability)].into()),
            ..BookRules::bounded(Price(-5), Price(50), 1)
        }
    }

    fn order(side: Side, price: i64, quantity: i64) -> Order {
        Order::single("a".into(), side, Price(price), Mwh(quantity))
    }

    #[test]
    fn the_worst_case_is_the_own_price_and_a_deviation_by_all_of_it() {
        for (side, price, expected) in [
            // 20 energy at 30, sold back at the floor, and 18 beyond the tolerance.
            (Side::Buy, 30, 20 * 30 + 20 * 5 + 18 * 10),
            (Side::Buy, -3, 20 * 5 + 18 * 10),
            (Side::Sell, 30, 20 * 50 + 18 * 10),
            (Side::Sell, -3, 20 * 3 + 20 * 50 + 18 * 10),
        ] {
            let found = worst_case(&order(side, price, 20), &rules(), &PENALTY);
            assert_eq!(found, Money(expected), "{side} {price}");
        }
    }

    /// The codes of the refusals of `orders` with that deposit and standing.
    fn check(deposit: i128, standing: Standing, orders: Vec<Order>, expected: &[&str]) {
        let deposit = Money(deposit);
        let accounts = [("a".into(), Account { deposit, standing })].into();
        let count = orders.len();
        let (kept, refused) = screen(
            orders,
            &accounts,
            &rules(),
            &PENALTY,
            &StandingRules::DEFAULT,
        );
        let codes: Vec<&str> = refused.iter().map(Coded::code).collect();
        assert_eq!(
            (codes.as_slice(), kept.len()),
            (expected, count - expected.len())
        );
    }

    #[test]
    fn what_is_not_covered_or_not_allowed_does_not_reach_the_book() {
        let bid = || order(Side::Buy, 30, 20);
        let both = || vec![order(Side::Sell, 40, 20), bid()];
        check(880, Standing::NEW, vec![bid()], &[]);
        check(879, Standing::NEW, vec![bid()], &["M154"]);
        // The bid comes first and holds 880; the offer needs 1180.
        check(2_060, Standing::NEW, both(), &[]);
        check(2_059, Standing::NEW, both(), &["M154"]);
        check(
            1_759,
            Standing::Called { breaches: 3 },
            vec![bid()],
            &["M154"],
        );
        check(1_760, Standing::Called { breaches: 3 }, vec![bid()], &[]);
        let large = || vec![order(Side::Buy, 1, 51)];
        check(99_999, Standing::NEW, large(), &[]);
        check(99_999, Standing::Capped { breaches: 5 }, large(), &["M153"]);
        check(
            99_999,
            Standing::Suspended { intervals: 4 },
            vec![bid()],
            &["M152"],
        );
        let stranger = Order::single("b".into(), Side::Buy, Price(1), Mwh(1));
        check(99_999, Standing::NEW, vec![stranger], &["M151"]);
    }
}
