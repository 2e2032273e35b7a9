use std::collections::BTreeMap;

use super::super::reserve::{Activation, Offer, ReserveRules};
use super::*;
use crate::book::{BookRules, Capability};
use crate::fault::Coded as _;
use crate::meter::Reading;
use crate::order::AgentId;
use crate::quantity::{Money, Mwh, MwhTotal, Price};
use crate::settlement::Item;
use crate::utility::Parity;

fn interval(index: u64) -> Interval {
    Interval::new(index, index as i64 * 15, 15).unwrap()
}

/// Rules in which `a` and `b` can do 10 Wh either way, and the utility needs 10 Wh up and 4 Wh down.
fn rules(mechanism: &str) -> VenueRules {
    let can = |most: i128| Capability {
        inject_max: MwhTotal(most),
        withdraw_max: MwhTotal(most),
    };
    let names = [
        ("a", 10_000),
        ("b", 10_000),
        ("load", 20_000),
        ("grid", 40_000),
    ];
    let capabilities = names
        .into_iter()
        .map(|(name, most)| (name.into(), can(most)));
    let offer = |ready, up_energy, down_energy| Offer {
        up: Mwh(8_000),
        down: Mwh(8_000),
        ready: Price(ready),
        up_energy: Price(up_energy),
        down_energy: Price(down_energy),
    };
    VenueRules {
        mechanism: mechanism.into(),
        book: BookRules {
            capabilities: Some(capabilities.collect()),
            ..BookRules::bounded(Price(-50_000), Price(300_000), 1)
        },
        utility: "grid".into(),
        parity: Parity {
            import: Price(28_000),
            export: Price(8_000),
        },
        indivisible: [].into(),
        obligations: None,
        ahead: None,
        regulation: None,
        contracts: Vec::new(),
        intraday: None,
        reserve: Some(ReserveRules {
            up: Mwh(10_000),
            down: Mwh(4_000),
            limit: Price(5_000),
            penalty: Price(2_000),
            procurement: Procurement::CoOptimised,
            offers: BTreeMap::from([
                ("a".into(), offer(100, 40_000, 3_000)),
                ("b".into(), offer(300, 20_000, 9_000)),
            ]),
        }),
    }
}

/// What all order: the storages would both sell all that they have to the load, and `a` gains more by it.
fn orders(venue: &Venue) -> Orders {
    let able = BTreeMap::from(["a", "b"].map(|name| (AgentId::from(name), Mwh(10_000))));
    let energy = [
        ("load", Side::Buy, 300_000, 20_000),
        ("a", Side::Sell, 24_000, 10_000),
        ("b", Side::Sell, 26_000, 10_000),
        ("grid", Side::Sell, 28_000, 40_000),
    ];
    let order = |(name, side, price, quantity): (&str, Side, i64, i64)| {
        Order::single(name.into(), side, Price(price), Mwh(quantity))
    };
    Orders {
        energy: energy.map(order).into(),
        ready: [Side::Sell, Side::Buy].map(|side| venue.reserve_orders(side, &able)),
    }
}

#[test]
fn awards_bind_and_are_paid_as_those_that_are_bought_first() {
    let mut venue = Venue::new(rules("uniform_k_half")).unwrap();
    let found = venue
        .clear_together(interval(0), orders(&venue))
        .unwrap()
        .unwrap();
    assert_eq!(found.energy.failure, None);
    for cleared in &found.ready {
        venue.take_reserve(&cleared.clearing);
    }
    venue.take(&found.energy.clearing);
    // `b` is ready for all that it offers though it asks more: a unit loses it 2,000, and `a` 4,000.
    let ready =
        |name: &str| [Side::Sell, Side::Buy].map(|side| venue.ready(0, &name.into(), side).0);
    assert_eq!([ready("a"), ready("b")], [[2_000, 4_000], [8_000, 0]]);
    let prices = found.ready.each_ref().map(|it| it.clearing.price);
    assert_eq!(prices, [Some(Price(4_100)), Some(Price(100))]);
    let sold = |name: &str| found.energy.clearing.position(&name.into()).0;
    assert_eq!(["a", "b", "grid"].map(sold), [8_000, 2_000, 10_000]);
    // Who was not called and could be is paid for all of it.
    let idle = Activation {
        moments: 150,
        available: 150,
        ..Activation::default()
    };
    venue.take_activations(0, ["a", "b"].map(|name| (name.into(), idle)).into());
    let metered = [("a", 8_000), ("b", 2_000), ("load", -20_000)];
    let valid = |energy| Reading::Valid {
        energy: Mwh(energy),
    };
    let readings = metered.map(|(name, energy)| (name.into(), valid(energy)));
    let settled = venue.settle(
        &found.energy.clearing,
        readings.into(),
        Some(valid(10_000)),
        false,
    );
    let settlement = settled.unwrap().settlement;
    assert_eq!(settlement.balances().into_values().sum::<Money>(), Money(0));
    let received = |who: &str| {
        let lines = settlement.lines.iter();
        let own =
            lines.filter(|line| line.account.to_string() == who && line.item == Item::Reserve);
        -own.map(|line| line.amount.0).sum::<i128>()
    };
    assert_eq!(received("a"), 2_000 * 4_100 + 4_000 * 100);
    assert_eq!(received("b"), 8_000 * 4_100);
}

#[test]
fn records_prove_themselves_to_who_has_the_rules_and_the_orders() {
    let venue = Venue::new(rules("uniform_k_half")).unwrap();
    let found = venue
        .clear_together(interval(0), orders(&venue))
        .unwrap()
        .unwrap();
    let [up, down] = &found.ready;
    let traded = [&found.energy, up, down].map(|cleared| {
        let fills = cleared.clearing.fills.iter();
        fills
            .map(|it| ((it.agent.clone(), it.side), it.quantity))
            .collect()
    });
    let mechanism = &found.energy.clearing.mechanism;
    let proved =
        |orders, mechanism: &str| venue.prove_together(interval(0), orders, &traded, mechanism);
    assert_eq!(proved(orders(&venue), mechanism), Ok(()));
    // They are of these orders and no others.
    let mut others = orders(&venue);
    others.energy[1].steps[0].price = Price(29_000);
    assert_eq!(proved(others, mechanism).unwrap_err().code(), "M143");
}

#[test]
fn it_takes_the_uniform_price_and_somebody_who_needs_readiness() {
    assert_eq!(Venue::new(rules("vcg")).unwrap_err().code(), "M147");
    assert!(Venue::new(rules("uniform_k_1_4")).is_ok_and(|venue| venue.buys_together()));
    let venue = Venue::new(rules("uniform_k_half")).unwrap();
    let alone = Orders {
        ready: Default::default(),
        ..orders(&venue)
    };
    assert_eq!(venue.clear_together(interval(0), alone), Ok(None));
    let mut apart = rules("uniform_k_half");
    apart.reserve.as_mut().unwrap().procurement = Procurement::Sequential;
    let apart = Venue::new(apart).unwrap();
    assert_eq!(apart.clear_together(interval(0), orders(&apart)), Ok(None));
}
