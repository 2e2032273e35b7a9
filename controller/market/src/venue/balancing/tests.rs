use super::super::tests::{interval, venue};
use super::*;
use crate::book::BookRules;
use crate::contract::Contract;
use crate::meter::Reading;
use crate::penalty::PenaltyRules;
use crate::settlement::{Account, Item, PriceSource, Settlement};
use crate::standing::StandingRules;
use crate::venue::{ObligationRules, Settled, VenueRules};

/// A venue in which the sun has sold 1000 mWh of interval 0 to the load at 10000 mc/kWh by contract.
fn balancing() -> Venue {
    let contract = Contract {
        name: "c".into(),
        buyer: "load".into(),
        seller: "sun".into(),
        first: 0,
        last: 0,
        energy: Mwh(1_000),
        price: Price(10_000),
    };
    let rules = VenueRules {
        contracts: vec![contract],
        book: BookRules::bounded(Price(-50_000), Price(300_000), 1),
        ..venue().rules().clone()
    };
    Venue::new(rules).unwrap().by_balancing_energy(true)
}

fn bids() -> Vec<Order> {
    let order = |agent: &str, side, price, energy| {
        Order::single(agent.into(), side, Price(price), Mwh(energy))
    };
    vec![
        order("cheap", Side::Sell, 12_000, 100),
        order("dear", Side::Sell, 26_000, 400),
        // It would buy at more than the others sell at, and is left alone where the bus is short.
        order("eager", Side::Buy, 27_000, 300),
        order("utility", Side::Sell, 28_000, 10_000),
        order("utility", Side::Buy, 7_501, 10_000),
    ]
}

/// What is activated, its price, and the settlement when the sun is expected to give `sun` and gives it.
fn check(sun: i64, meters: &[(&str, i64)]) -> (Vec<(String, i128)>, Option<Price>, Settlement) {
    let mut venue = balancing();
    let expected = BTreeMap::from([("sun".into(), Mwh(sun)), ("load".into(), Mwh(-1_000))]);
    let demand = venue.balancing_demand(0, &expected);
    let mut orders: Vec<Order> = bids().into_iter().chain(demand).collect();
    for (rank, order) in orders.iter_mut().enumerate() {
        order.rank = rank as u64;
    }
    let cleared = venue.clear(interval(0), orders).unwrap();
    assert!(cleared.refused.is_empty() && cleared.failure.is_none());
    let clearing = cleared.clearing;
    assert_eq!(clearing.mechanism, NAME);
    venue.take(&clearing);
    let delivers = venue.delivering(&clearing);
    assert_eq!(delivers.position(&POOL.into()), MwhTotal(0));
    let activated = ["cheap", "dear", "eager", "utility"].map(|name| {
        let MwhTotal(injected) = delivers.position(&name.into());
        (name.to_owned(), injected)
    });
    let activated = activated.into_iter().filter(|(_, it)| *it != 0).collect();
    let others = [
        ("sun", sun),
        ("load", -1_000),
        ("cheap", 0),
        ("dear", 0),
        ("eager", 0),
    ];
    let reading = |energy| Reading::Valid {
        energy: Mwh(energy),
    };
    let mut readings: BTreeMap<AgentId, Reading> = others
        .iter()
        .map(|(name, energy)| ((*name).into(), reading(*energy)))
        .collect();
    let mut coupling = reading(0);
    for (name, energy) in meters {
        match *name {
            "utility" => coupling = reading(*energy),
            name => drop(readings.insert(name.into(), reading(*energy))),
        }
    }
    let Settled { settlement, .. } = venue
        .settle(&clearing, readings, Some(coupling), false)
        .unwrap();
    let sum: i128 = settlement.lines.iter().map(|line| line.amount.0).sum();
    assert_eq!(sum, 0, "{settlement:?}");
    assert_eq!(
        settlement
            .balances()
            .get(&Account::Participant(POOL.into()))
            .copied()
            .unwrap_or_default(),
        Money(0)
    );
    (activated, clearing.price, settlement)
}

/// What somebody receives in all.
fn received(settlement: &Settlement, agent: &str) -> i128 {
    let balances = settlement.balances();
    -balances
        .get(&Account::Participant(agent.into()))
        .map_or(0, |paid| paid.0)
}

fn named(activated: &[(&str, i128)]) -> Vec<(String, i128)> {
    activated
        .iter()
        .map(|(name, it)| ((*name).to_owned(), *it))
        .collect()
}

#[test]
fn a_short_bus_activates_the_cheapest_upwards_and_who_is_short_pays_their_price() {
    let (activated, price, settlement) = check(700, &[("cheap", 100), ("dear", 200)]);
    assert_eq!(activated, named(&[("cheap", 100), ("dear", 200)]));
    assert_eq!(price, Some(Price(26_000)));
    assert_eq!(
        settlement.imbalance_price,
        Some((Price(26_000), PriceSource::Activation))
    );
    // The contract stands at its price; the sun buys what it lacks, and both who were activated get as much.
    assert_eq!(received(&settlement, "sun"), 10_000 * 1_000 - 26_000 * 300);
    assert_eq!(received(&settlement, "load"), -10_000 * 1_000);
    assert_eq!(received(&settlement, "cheap"), 26_000 * 100);
    assert_eq!(received(&settlement, "dear"), 26_000 * 200);
    assert_eq!(received(&settlement, "utility"), 0);
    let contract = settlement
        .lines
        .iter()
        .find(|line| line.item == Item::Contract);
    assert_eq!(
        contract.unwrap().amount,
        Money(10_000 * 1_000),
        "whoever is first buys"
    );
}

#[test]
fn a_long_bus_activates_who_pays_most_for_giving_less() {
    let (activated, price, settlement) = check(1_400, &[("eager", -300), ("utility", -100)]);
    assert_eq!(activated, named(&[("eager", -300), ("utility", -100)]));
    assert_eq!(price, Some(Price(7_501)));
    assert_eq!(received(&settlement, "sun"), 10_000 * 1_000 + 7_501 * 400);
    assert_eq!(received(&settlement, "eager"), -7_501 * 300);
}

#[test]
fn the_price_is_that_of_the_last_bid_activated_and_not_of_the_next() {
    let (activated, price, _) = check(900, &[("cheap", 100)]);
    assert_eq!(activated, named(&[("cheap", 100)]));
    assert_eq!(price, Some(Price(12_000)));
    let (activated, price, _) = check(1_300, &[("eager", -300)]);
    assert_eq!(activated, named(&[("eager", -300)]));
    assert_eq!(price, Some(Price(27_000)));
}

#[test]
fn who_was_activated_and_does_not_deliver_pays_for_it_like_anybody() {
    let (_, _, settlement) = check(700, &[("cheap", 100), ("dear", 0), ("utility", 200)]);
    assert_eq!(received(&settlement, "dear"), 0);
    assert_eq!(received(&settlement, "utility"), 26_000 * 200);
}

#[test]
fn without_an_activation_deviations_cost_what_was_avoided() {
    for (utility, source, price) in [
        (50, PriceSource::AvoidedActivation, 12_000),
        (-50, PriceSource::AvoidedActivation, 27_000),
        // Nobody knows better than the middle between the parities when the utility saw nothing.
        (0, PriceSource::Fallback, 17_750),
    ] {
        let meters = [
            ("utility", utility),
            ("load", -1_000 - utility),
            ("cheap", 10),
            ("dear", -10),
        ];
        let (activated, cleared, settlement) = check(1_000, &meters);
        assert_eq!((activated.len(), cleared), (0, None));
        assert_eq!(
            settlement.imbalance_price,
            Some((Price(price), source)),
            "{utility}"
        );
    }
}

#[test]
fn what_nobody_can_balance_costs_the_bound_of_the_market() {
    let (_, price, _) = check(700 - 20_000, &[]);
    assert_eq!(price, Some(Price(300_000)));
}

#[test]
fn nobody_bids_more_than_it_can_do_beside_its_position() {
    let rules = VenueRules {
        book: BookRules {
            capabilities: Some(BTreeMap::from([(
                "sun".into(),
                Capability {
                    inject_max: MwhTotal(1_500),
                    withdraw_max: MwhTotal(0),
                },
            )])),
            ..BookRules::unbounded()
        },
        ..balancing().rules().clone()
    };
    let venue = Venue::new(rules).unwrap().by_balancing_energy(true);
    for (side, energy, is_admitted) in [
        (Side::Sell, 500, true),
        (Side::Sell, 501, false),
        (Side::Buy, 1_000, true),
        (Side::Buy, 1_001, false),
    ] {
        let order = Order::single("sun".into(), side, Price(20_000), Mwh(energy));
        let found = venue.inspect(interval(0), vec![order.clone()]);
        assert_eq!(found.is_ok(), is_admitted, "{side} {energy}: {found:?}");
        let cleared = venue.clear(interval(0), vec![order]).unwrap();
        assert_eq!(cleared.refused.is_empty(), is_admitted);
    }
}

/// The venue in which sun, load and two who balance are bound, with this deposit each.
fn bound(deposit: i128) -> Venue {
    let names = ["sun", "load", "cheap", "dear"];
    let obligations = ObligationRules {
        penalty: PenaltyRules {
            tolerance: Mwh(10),
            ..PenaltyRules::DEFAULT
        },
        standing: StandingRules::DEFAULT,
        forecast_error_ppm: 100_000,
        deposits: names.map(|name| (name.into(), Money(deposit))).into(),
    };
    let rules = VenueRules {
        obligations: Some(obligations),
        ..balancing().rules().clone()
    };
    Venue::new(rules).unwrap().by_balancing_energy(true)
}

#[test]
fn a_penalty_is_owed_beyond_what_was_traded_and_activated_and_follows_the_spread_of_both_prices() {
    let mut venue = bound(1_000_000_000);
    let before = venue.terms().unwrap().penalty;
    // It begins amid the parities; the first interval has shown nothing yet.
    assert_eq!(before.rate, Price(10_249), "half of 28000 less 7501");
    let expected = BTreeMap::from([("sun".into(), Mwh(700)), ("load".into(), Mwh(-1_000))]);
    let demand = venue.balancing_demand(0, &expected);
    let mut orders: Vec<Order> = bids().into_iter().chain(demand).collect();
    for (rank, order) in orders.iter_mut().enumerate() {
        order.rank = rank as u64;
    }
    let cleared = venue.clear(interval(0), orders).unwrap();
    assert!(cleared.refused.is_empty(), "{:?}", cleared.refused);
    venue.take(&cleared.clearing);
    // Held are what the load pays for its contract, and for everybody a deviation by all of what it has to
    // deliver with the penalty beyond 5 % of it (10 mWh of what is activated).
    let rate = i128::from(before.rate.0);
    let left = |name: &str| {
        let terms = venue.terms().unwrap();
        1_000_000_000 - terms.accounts[&AgentId::from(name)].1.0
    };
    assert_eq!(left("sun"), 1_000 * 300_000 + 950 * rate);
    assert_eq!(left("load"), 1_000 * 10_000 + 1_000 * 50_000 + 950 * rate);
    assert_eq!(left("dear"), 200 * 300_000 + 190 * rate);
    // The sun has what was expected of it, and one of two who were activated gives nothing.
    let reading = |energy| Reading::Valid {
        energy: Mwh(energy),
    };
    let readings = [("sun", 700), ("load", -1_000), ("cheap", 100), ("dear", 0)];
    let readings = readings.map(|(name, energy)| (name.into(), reading(energy)));
    let settled = venue.settle(
        &cleared.clearing,
        readings.into(),
        Some(reading(200)),
        false,
    );
    let Settled {
        settlement,
        consequences,
    } = settled.unwrap();
    let sum: i128 = settlement.lines.iter().map(|line| line.amount.0).sum();
    assert_eq!(sum, 0, "{settlement:?}");
    let charged: Vec<(String, i128, i128)> = (consequences.charged.iter())
        .map(|(agent, deviation, charge)| (agent.to_string(), deviation.0, charge.0))
        .collect();
    // 50 of the 300 that the sun lacks are free, of the 200 of the other ten.
    let of = |name: &str, deviation, beyond: i128| (name.to_owned(), deviation, beyond * rate);
    assert_eq!(charged, [of("dear", -200, 190), of("sun", -300, 250)]);
    // Each pays the imbalance and the penalty, once.
    assert_eq!(
        received(&settlement, "sun"),
        10_000 * 1_000 - 26_000 * 300 - 250 * rate
    );
    assert_eq!(received(&settlement, "dear"), -190 * rate);
    let balances = settlement.balances();
    assert_eq!(balances[&Account::Penalties], Money(-440 * rate));
    // Who deviates pays 26000 for what it has sold at 10000: a tenth of that spread is new.
    let after = venue.terms().unwrap().penalty;
    // 10249 and a tenth of the 5751 more, rounded up.
    assert_eq!(after.low, Price(10_825));
}

#[test]
fn who_could_trade_nothing_before_has_broken_nothing() {
    let mut venue = bound(1_000_000_000);
    // The contract has ended and nothing is traded of interval 1; the utility, and one storage, balance.
    let demand = venue.balancing_demand(1, &BTreeMap::from([("load".into(), Mwh(-50))]));
    let mut orders: Vec<Order> = bids().into_iter().chain(demand).collect();
    for (rank, order) in orders.iter_mut().enumerate() {
        order.rank = rank as u64;
    }
    let cleared = venue.clear(interval(1), orders).unwrap();
    venue.take(&cleared.clearing);
    let reading = |energy| Reading::Valid {
        energy: Mwh(energy),
    };
    let readings = [("sun", 700), ("load", -1_000), ("cheap", 0), ("dear", 0)];
    let readings = readings.map(|(name, energy)| (name.into(), reading(energy)));
    let settled = venue.settle(
        &cleared.clearing,
        readings.into(),
        Some(reading(300)),
        false,
    );
    let consequences = settled.unwrap().consequences;
    let charged: Vec<&str> = (consequences.charged.iter())
        .map(|(agent, ..)| agent.as_str())
        .collect();
    assert_eq!(
        charged,
        ["cheap"],
        "it was activated for 50 mWh and gave nothing"
    );
}
