use super::*;
use crate::meter::Reading;
use crate::reserve::procure;
use crate::settlement::Settlement;
use crate::utility::Parity;
use crate::venue::VenueRules;

const DT_NS: i64 = 15_000_000_000;

fn interval(index: u64) -> Interval {
    Interval::new(index, index as i64 * DT_NS, DT_NS).unwrap()
}

fn offer(most: i64, ready: i64, up_energy: i64, down_energy: i64) -> Offer {
    Offer {
        up: Mwh(most),
        down: Mwh(most),
        ready: Price(ready),
        up_energy: Price(up_energy),
        down_energy: Price(down_energy),
    }
}

/// A venue in which `a` and `b` can do 10 Wh either way, and the utility needs 10 Wh up and 4 Wh down.
fn venue() -> Venue {
    let ten = Capability {
        inject_max: MwhTotal(10_000),
        withdraw_max: MwhTotal(10_000),
    };
    let names = ["a", "b", "grid"].map(AgentId::from);
    Venue::new(VenueRules {
        mechanism: "uniform_k_half".into(),
        book: BookRules {
            capabilities: Some(names.into_iter().map(|name| (name, ten)).collect()),
            ..BookRules::bounded(Price(-50_000), Price(300_000), 1)
        },
        utility: "grid".into(),
        parity: Parity {
            import: Price(30_000),
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
            procurement: Procurement::Sequential,
            offers: BTreeMap::from([
                ("a".into(), offer(8_000, 100, 40_000, 3_000)),
                ("b".into(), offer(8_000, 300, 20_000, 9_000)),
            ]),
        }),
    })
    .unwrap()
}

/// Both are able to so much.
fn able(a: i64, b: i64) -> BTreeMap<AgentId, Mwh> {
    BTreeMap::from([("a".into(), Mwh(a)), ("b".into(), Mwh(b))])
}

/// Buys both sides of interval 0; who is ready for how much up and down.
fn bought(venue: &mut Venue) -> [(i64, i64); 2] {
    for side in [Side::Sell, Side::Buy] {
        let orders = venue.reserve_orders(side, &able(10_000, 10_000));
        let cleared = venue
            .clear_reserve(interval(0), side, orders)
            .unwrap()
            .unwrap();
        assert_eq!(cleared.refused, []);
        venue.take_reserve(&cleared.clearing);
    }
    ["a", "b"].map(|name| {
        let ready = |side| venue.ready(0, &name.into(), side).0;
        (ready(Side::Sell), ready(Side::Buy))
    })
}

/// Buys upwards while the two are able to so much: the price, and what each is ready for.
fn check_price(able_of: (i64, i64), price: i64, ready: [i64; 2]) {
    let venue = venue();
    let orders = venue.reserve_orders(Side::Sell, &able(able_of.0, able_of.1));
    let cleared = venue
        .clear_reserve(interval(0), Side::Sell, orders)
        .unwrap()
        .unwrap();
    let of = |name: &str| {
        let fills = cleared.clearing.fills.iter();
        let own = fills.filter(|fill| fill.agent.as_str() == name);
        own.map(|fill| fill.quantity.0).sum::<i64>()
    };
    assert_eq!(cleared.clearing.price, Some(Price(price)), "{able_of:?}");
    assert_eq!(["a", "b"].map(of), ready, "{able_of:?}");
    // The stage is the library's procurement with a limit.
    match procure(&cleared.book, MwhTotal(10_000)) {
        Ok(Some(found)) => {
            assert_eq!(found.price, Price(price));
            let awards = found.awards.iter().map(|(who, it)| (who.as_str(), it.0));
            let expected = ["a", "b"].into_iter().zip(ready).filter(|(_, it)| *it > 0);
            assert_eq!(awards.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        }
        found => assert!(
            able_of.0.min(8_000) + able_of.1.min(8_000) < 10_000,
            "{found:?}"
        ),
    }
}

#[test]
fn readiness_costs_what_the_last_one_needed_asks_and_the_limit_where_too_little_is_offered() {
    check_price((10_000, 10_000), 300, [8_000, 2_000]);
    check_price((3_000, 10_000), 300, [3_000, 7_000]);
    check_price((3_000, 1_000), 5_000, [3_000, 1_000]);
    check_price((8_000, 0), 5_000, [8_000, 0]);
}

#[test]
fn numbers_of_reserve_are_its_own() {
    for side in [Side::Sell, Side::Buy] {
        let product = product(interval(7), side);
        assert_eq!(interval_of(product.index), Some((7, side)));
    }
    for number in [0, 1 << 32, (1 << 33) + 5] {
        assert_eq!(interval_of(number), None);
    }
}

#[test]
fn energy_is_traded_with_what_readiness_leaves() {
    let mut venue = venue();
    assert_eq!(bought(&mut venue), [(8_000, 4_000), (2_000, 0)]);
    for (agent, side, left) in [
        ("a", Side::Sell, 2_000),
        ("a", Side::Buy, 6_000),
        ("b", Side::Sell, 8_000),
        ("b", Side::Buy, 10_000),
    ] {
        let order = |quantity| Order::single(agent.into(), side, Price(10_000), Mwh(quantity));
        let part = venue.accepted_part(0, order(10_000)).unwrap();
        assert_eq!(part.steps[0].quantity, Mwh(left), "{agent} {side:?}");
        let refused = |quantity| {
            let cleared = venue.clear(interval(0), vec![order(quantity)]).unwrap();
            cleared.refused.len()
        };
        assert_eq!(
            (refused(left), refused(left + 1)),
            (0, 1),
            "{agent} {side:?}"
        );
        // The next interval is free.
        assert_eq!(venue.accepted_part(1, order(10_000)), Some(order(10_000)));
    }
}

/// Settles interval 0, in which `a` sells 2 Wh to the utility, both are called so, and meters say so.
fn settled(called: [Activation; 2], metered: [i64; 3]) -> Settlement {
    let mut venue = venue();
    bought(&mut venue);
    let orders = vec![
        Order::single("a".into(), Side::Sell, Price(8_000), Mwh(2_000)),
        Order {
            rank: 1,
            ..Order::single("grid".into(), Side::Buy, Price(8_000), Mwh(2_000))
        },
    ];
    let cleared = venue.clear(interval(0), orders).unwrap();
    venue.take(&cleared.clearing);
    let [a, b] = called;
    venue.take_activations(0, BTreeMap::from([("a".into(), a), ("b".into(), b)]));
    let valid = |energy| Reading::Valid {
        energy: Mwh(energy),
    };
    let readings = BTreeMap::from([
        ("a".into(), valid(metered[0])),
        ("b".into(), valid(metered[1])),
    ]);
    let coupling = Some(valid(metered[2]));
    let settled = venue.settle(&cleared.clearing, readings, coupling, false);
    settled.unwrap().settlement
}

/// What an account receives for something.
fn received(settlement: &Settlement, who: &str, item: Item) -> i128 {
    let lines = settlement.lines.iter();
    let own = lines.filter(|line| line.account.to_string() == who && line.item == item);
    -own.map(|line| line.amount.0).sum::<i128>()
}

/// Called upwards for so much, and missed by a share of what was asked.
fn up(energy: i64, missed: u64) -> Activation {
    Activation {
        moments: 150,
        available: 150,
        up: Mwh(energy),
        down: Mwh(0),
        asked: 1_000_000,
        missed,
    }
}

#[test]
fn who_follows_is_paid_for_readiness_and_energy_and_owes_nothing() {
    // Both do what they traded and were called for; the utility gets it all.
    let found = settled([up(1_000, 0), up(2_000, 100_000)], [3_000, 2_000, -5_000]);
    assert_eq!(found.balances().into_values().sum::<Money>(), Money(0));
    assert_eq!(
        found.imbalance_price, None,
        "what was called is no imbalance"
    );
    // 8 Wh up at 300 and 4 Wh down at 100; 2 Wh up at 300, nine tenths of it.
    assert_eq!(received(&found, "a", Item::Reserve), 2_400_000 + 400_000);
    assert_eq!(received(&found, "b", Item::Reserve), 540_000);
    // Energy costs what the dearest called asks.
    assert_eq!(received(&found, "a", Item::Activation), 40_000_000);
    assert_eq!(received(&found, "b", Item::Activation), 80_000_000);
    assert_eq!(received(&found, "grid", Item::Reserve), -3_340_000);
    assert_eq!(received(&found, "grid", Item::Activation), -120_000_000);
    assert_eq!(received(&found, "(penalties)", Item::Penalty), 0);
}

#[test]
fn who_does_not_follow_forfeits_its_readiness_owes_a_penalty_and_pays_what_is_missing() {
    // `b` is called for 2 Wh and gives nothing.
    let found = settled([up(1_000, 0), up(2_000, 1_000_000)], [3_000, 0, -3_000]);
    assert_eq!(found.balances().into_values().sum::<Money>(), Money(0));
    assert_eq!(received(&found, "a", Item::Reserve), 2_800_000);
    assert_eq!(received(&found, "b", Item::Reserve), 0);
    assert_eq!(received(&found, "b", Item::Penalty), -2_000 * 2_000);
    assert_eq!(
        received(&found, "(penalties)", Item::Penalty),
        2_000 * 2_000
    );
    // The utility got 2 Wh less than it was promised, at import parity.
    assert_eq!(received(&found, "b", Item::Imbalance), -2_000 * 30_000);
    // Nobody is ready for what was not looked at.
    let blind = Activation {
        available: 75,
        ..up(0, 0)
    };
    let blind = Activation { asked: 0, ..blind };
    let found = settled([blind, Activation::default()], [2_000, 0, -2_000]);
    assert_eq!(received(&found, "a", Item::Reserve), 1_400_000);
    assert_eq!(received(&found, "b", Item::Reserve), 0);
}

#[test]
fn energy_downwards_is_paid_at_what_the_one_that_pays_least_of_the_called_pays() {
    let down = |energy| Activation {
        down: Mwh(energy),
        ..up(0, 0)
    };
    let found = settled([down(3_000), down(0)], [-1_000, 0, 1_000]);
    assert_eq!(found.balances().into_values().sum::<Money>(), Money(0));
    assert_eq!(received(&found, "a", Item::Activation), -3_000 * 3_000);
    let merit = |side| venue().rules().reserve.as_ref().map(|it| it.merit(side));
    let names = |names: [&str; 2]| Some(names.map(AgentId::from).to_vec());
    assert_eq!(merit(Side::Sell), names(["b", "a"]));
    assert_eq!(merit(Side::Buy), names(["b", "a"]));
}

#[test]
fn a_course_sums_up_its_moments_and_counts_those_that_nobody_saw() {
    let mut course = Course::default();
    let moment = |commanded, measured| Moment {
        baseline: 1_000_000,
        commanded,
        measured,
    };
    // 3.6 kW more for 10 s, in ten moments, and 1 kW less for 1 s.
    for _ in 0..10 {
        course.take(Some(moment(4_600_000, 4_500_000)), 1_000_000_000);
    }
    course.take(Some(moment(0, 0)), 1_000_000_000);
    course.take(None, 1_000_000_000);
    let expected = Activation {
        moments: 12,
        available: 11,
        up: Mwh(10_000),
        down: Mwh(277),
        asked: 37_000_000,
        missed: 1_000_000,
    };
    assert_eq!(course.close(), expected);
}
