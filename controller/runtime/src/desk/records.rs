//! What the market does as records of the ledger, and back.

use std::collections::BTreeMap;

use ledger_core::payload::{self, Payload, ReadingQuality};
use ledger_core::{Amount, AtomId};
use market::contract::Deal;
use market::meter::Reading;
use market::settlement::{Account, Item, Settlement};
use market::standing::Standing;
use market::venue::Terms;
use market::venue::reserve::Activation;
use market::{AgentId, Book, Interval, Mwh, Order, Price, Side};

pub(super) fn order_payload(interval: &Interval, order: &Order) -> Payload {
    order_payload_of(interval.index, order)
}

/// The record of an order for the product of this number.
pub(super) fn order_payload_of(number: u64, order: &Order) -> Payload {
    let steps = order.steps.iter().map(|step| payload::Step {
        price_millicents_per_kwh: step.price.0,
        quantity_milliwatt_hours: step.quantity.0,
    });
    Payload::Order(payload::Order {
        agent: order.agent.to_string(),
        interval: number,
        side: side_payload(order.side),
        steps: steps.collect(),
        rank: order.rank,
    })
}

fn side_payload(side: Side) -> payload::Side {
    match side {
        Side::Buy => payload::Side::Buy,
        Side::Sell => payload::Side::Sell,
    }
}

/// The side of a record.
pub(super) fn side(side: payload::Side) -> Side {
    match side {
        payload::Side::Buy => Side::Buy,
        payload::Side::Sell => Side::Sell,
    }
}

/// The record of an order that is taken back.
pub(super) fn withdrawal_payload(number: u64, agent: &AgentId, side: Side) -> Payload {
    Payload::Withdrawal(payload::Withdrawal {
        agent: agent.to_string(),
        interval: number,
        side: side_payload(side),
    })
}

/// The order of a record.
pub(super) fn order(order: &payload::Order) -> Order {
    let steps = order.steps.iter().map(|step| market::Step {
        price: Price(step.price_millicents_per_kwh),
        quantity: Mwh(step.quantity_milliwatt_hours),
    });
    Order {
        agent: order.agent.as_str().into(),
        side: side(order.side),
        steps: steps.collect(),
        rank: order.rank,
    }
}

/// The record of a deal in an interval.
pub(super) fn trade_payload(interval: u64, deal: &Deal) -> payload::Trade {
    payload::Trade {
        buyer: deal.buyer.to_string(),
        seller: deal.seller.to_string(),
        interval,
        quantity_milliwatt_hours: deal.energy.0,
        price_millicents_per_kwh: deal.price.0,
    }
}

/// The record of a clearing; `atoms` holds the record of each order by its rank, of which no
/// interval has two. `None` when a fill has no order on record.
pub(super) fn clearing_payload(
    clearing: &market::Clearing,
    book: &Book,
    atoms: &BTreeMap<u64, AtomId>,
) -> Option<payload::Clearing> {
    let fill = |fill: &market::Fill| {
        let mut orders = book.orders().iter();
        let order = orders.find(|o| o.agent == fill.agent && o.side == fill.side)?;
        Some(payload::Fill {
            order: *atoms.get(&order.rank)?,
            agent: fill.agent.to_string(),
            quantity_milliwatt_hours: fill.quantity.0,
            // The ledger counts towards the account, the market what it pays.
            amount: Amount(-fill.payment.0),
        })
    };
    Some(payload::Clearing {
        interval: clearing.interval.index,
        mechanism: clearing.mechanism.clone(),
        quantity_milliwatt_hours: i64::try_from(clearing.quantity.0).unwrap_or(i64::MAX),
        price_millicents_per_kwh: clearing.price.map(|p| p.0),
        price_low_millicents_per_kwh: clearing.competitive.map(|(low, _)| low.0),
        price_high_millicents_per_kwh: clearing.competitive.map(|(_, high)| high.0),
        fills: clearing.fills.iter().map(fill).collect::<Option<_>>()?,
        operator_amount: Amount(clearing.operator.0),
    })
}

/// What everybody trades by a recorded clearing of these orders.
pub(super) fn traded(
    clearing: &payload::Clearing,
    atoms: &BTreeMap<u64, AtomId>,
    orders: &[Order],
) -> Result<BTreeMap<(AgentId, Side), Mwh>, String> {
    let mut traded = BTreeMap::new();
    for fill in &clearing.fills {
        let mut own = orders.iter();
        let own = own.find(|order| atoms.get(&order.rank) == Some(&fill.order));
        let own = own.filter(|order| order.agent.as_str() == fill.agent);
        let Some(order) = own else {
            return Err(format!(
                "certificate: `{}` trades by an order that is not on record",
                fill.agent
            ));
        };
        let key = (order.agent.clone(), order.side);
        let energy = Mwh(fill.quantity_milliwatt_hours);
        if traded.insert(key, energy).is_some() {
            return Err(format!(
                "certificate: `{}` trades an order twice",
                fill.agent
            ));
        }
    }
    Ok(traded)
}

pub(super) fn reading_payload(
    who: &str,
    start_utc_ns: i64,
    interval: &Interval,
    reading: &Reading,
) -> payload::MeterReading {
    payload::MeterReading {
        participant: who.into(),
        interval_start_utc_ns: start_utc_ns,
        interval_ns: interval.dt_ns.unsigned_abs(),
        energy_milliwatt_hours: reading.energy().map(|e| e.0),
        quality: match reading {
            Reading::Valid { .. } => ReadingQuality::Valid,
            Reading::Estimated { .. } => ReadingQuality::Estimated,
            Reading::Missing { .. } => ReadingQuality::Missing,
        },
    }
}

/// The reading of a record.
pub(super) fn reading(reading: &payload::MeterReading) -> Reading {
    let energy = reading.energy_milliwatt_hours.map(Mwh);
    match (reading.quality, energy) {
        (ReadingQuality::Valid, Some(energy)) => Reading::Valid { energy },
        // The coverage itself is not recorded and does not enter a settlement.
        (ReadingQuality::Estimated, Some(energy)) => Reading::Estimated {
            energy,
            coverage_ppm: 0,
        },
        _ => Reading::Missing { coverage_ppm: 0 },
    }
}

/// The record of how somebody was called in an interval.
pub(super) fn activation_payload(
    interval: u64,
    agent: &AgentId,
    activation: &Activation,
) -> payload::Activation {
    payload::Activation {
        participant: agent.to_string(),
        interval,
        moments: activation.moments,
        available_moments: activation.available,
        up_milliwatt_hours: activation.up.0,
        down_milliwatt_hours: activation.down.0,
        asked_milliwatts: activation.asked,
        missed_milliwatts: activation.missed,
    }
}

/// How somebody was called, of a record.
pub(super) fn activation(found: &payload::Activation) -> Activation {
    Activation {
        moments: found.moments,
        available: found.available_moments,
        up: Mwh(found.up_milliwatt_hours),
        down: Mwh(found.down_milliwatt_hours),
        asked: found.asked_milliwatts,
        missed: found.missed_milliwatts,
    }
}

/// The accounts of a feeder, as records name them.
pub const FEEDER_ACCOUNTS: [&str; 2] = ["congestion", "losses"];

/// What a booking can be for, as records name it.
pub const BOOKINGS: [(&str, Item); 15] = [
    ("energy", Item::Energy),
    ("imbalance", Item::Imbalance),
    ("unaccounted", Item::Unaccounted),
    ("surplus", Item::Surplus),
    ("penalty", Item::Penalty),
    ("contract", Item::Contract),
    ("day_ahead", Item::Ahead),
    ("tax", Item::Tax),
    ("surcharge", Item::Surcharge),
    ("intraday", Item::Intraday),
    ("reserve", Item::Reserve),
    ("activation", Item::Activation),
    ("correction", Item::Correction),
    ("congestion", Item::Congestion),
    ("losses", Item::Losses),
];

fn booking(item: Item) -> &'static str {
    let mut all = BOOKINGS.iter();
    // A test holds the list against the kinds.
    all.find(|(_, one)| *one == item)
        .map_or("", |(name, _)| name)
}

pub(super) fn settlement_payload(settlement: &Settlement, is_excused: bool) -> payload::Settlement {
    let lines = settlement.lines.iter().map(|line| payload::SettlementLine {
        account: match &line.account {
            Account::Participant(agent) => agent.to_string(),
            Account::Operator => "operator".into(),
            Account::Penalties => "penalties".into(),
            Account::Taxes => "taxes".into(),
            Account::Surcharges => "surcharges".into(),
            Account::Congestion => "congestion".into(),
            Account::Losses => "losses".into(),
        },
        // The ledger counts towards the account, the market what it pays.
        amount: Amount(-line.amount.0),
        what: booking(line.item).into(),
    });
    payload::Settlement {
        interval: settlement.interval.index,
        is_excused,
        lines: lines.collect(),
    }
}

/// The record of the terms of an interval.
pub(super) fn terms_payload(interval: u64, terms: &Terms) -> payload::Terms {
    let penalty = &terms.penalty;
    let accounts = terms.accounts.iter();
    let accounts = accounts.map(|(agent, (standing, deposit))| {
        use payload::StandingKind as Kind;
        let (standing, count) = match *standing {
            Standing::Good { breaches } => (Kind::Good, breaches),
            Standing::Called { breaches } => (Kind::Called, breaches),
            Standing::Capped { breaches } => (Kind::Capped, breaches),
            Standing::Suspended { intervals } => (Kind::Suspended, intervals),
        };
        payload::TermsAccount {
            participant: agent.to_string(),
            standing,
            count: count.into(),
            deposit: Amount(deposit.0),
        }
    });
    payload::Terms {
        interval,
        penalty_millicents_per_kwh: penalty.rate.0,
        penalty_low_millicents_per_kwh: penalty.low.0,
        penalty_high_millicents_per_kwh: penalty.high.map(|high| high.0),
        tolerance_milliwatt_hours: penalty.tolerance.0,
        tolerance_ppm: penalty.tolerance_ppm.into(),
        accounts: accounts.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_booking_has_a_name_of_its_own() {
        for item in Item::ALL {
            assert!(!booking(item).is_empty(), "{item:?}");
        }
        let names: std::collections::BTreeSet<&str> = BOOKINGS.iter().map(|(n, _)| *n).collect();
        assert_eq!(names.len(), Item::ALL.len());
    }
}
