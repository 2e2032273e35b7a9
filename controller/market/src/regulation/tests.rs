use super::*;
use crate::order::Step;
use crate::quantity::Mwh;
use crate::settlement::Settlement;
use crate::utility::Parity;
use crate::venue::{IntradayRules, Venue, VenueRules};

const SECOND: i64 = 1_000_000_000;

fn interval(index: u64) -> Interval {
    Interval::new(index, index as i64 * 15 * SECOND, 15 * SECOND).unwrap()
}

fn contract(until_s: i64, accepts: &str) -> Contract {
    Contract {
        id: "C-7".into(),
        from_ns: 15 * SECOND,
        until_ns: until_s * SECOND,
        accepts: Some(accepts.into()),
    }
}

fn order(agent: &str, side: Side, steps: &[(i64, i64)]) -> Order {
    let step = |(price, quantity): &(i64, i64)| Step {
        price: Price(*price),
        quantity: Mwh(*quantity),
    };
    Order {
        agent: agent.into(),
        side,
        steps: steps.iter().map(step).collect(),
        rank: 0,
    }
}

fn venue(regulation: RegulationRules) -> Venue {
    Venue::new(VenueRules {
        mechanism: "uniform_k_half".into(),
        book: BookRules::bounded(Price(0), Price(30_000), 10),
        utility: "utility".into(),
        parity: Parity {
            import: Price(28_000),
            export: Price(7_000),
        },
        indivisible: [].into(),
        obligations: None,
        ahead: None,
        contracts: Vec::new(),
        intraday: Some(IntradayRules { intervals: 4 }),
        reserve: None,
        regulation: Some(regulation),
    })
    .unwrap()
}

/// Clears these orders in an interval: codes of what is refused, codes of what was moved, energy that
/// was traded.
fn check(
    rules: &RegulationRules,
    index: u64,
    orders: &[Order],
) -> (Vec<&'static str>, Vec<&'static str>, i128) {
    let venue = venue(rules.clone());
    let cleared = venue.clear(interval(index), orders.to_vec()).unwrap();
    // The counter says the same to each alone as the book does to all.
    for order in orders.iter().filter(|o| o.agent.as_str() != "utility") {
        let alone = venue.inspect(interval(index), vec![order.clone()]);
        let in_book = cleared.book.orders().iter();
        let is_in = in_book.filter(|o| o.agent == order.agent).count() == 1;
        assert_eq!(alone.is_ok(), is_in, "{alone:?}");
    }
    (
        cleared.refused.iter().map(Coded::code).collect(),
        cleared.moved.iter().map(Coded::code).collect(),
        cleared.clearing.quantity.0,
    )
}

#[test]
fn a_price_beyond_the_bounds_is_refused_or_moved_as_the_rules_say() {
    let refuse = RegulationRules::default();
    let clip = RegulationRules {
        beyond: Beyond::Clip,
        ..refuse.clone()
    };
    let bid = |steps: &[(i64, i64)]| order("load", Side::Buy, steps);
    let offer = |steps: &[(i64, i64)]| order("sun", Side::Sell, steps);
    let cheap = offer(&[(5_000, 100)]);
    for (rules, orders, expected) in [
        (
            &refuse,
            [bid(&[(40_000, 100)]), cheap.clone()],
            (vec!["M011"], vec![], 0),
        ),
        (
            &clip,
            [bid(&[(40_000, 100)]), cheap.clone()],
            (vec![], vec!["M055"], 100),
        ),
        (
            &clip,
            [bid(&[(30_000, 100)]), cheap.clone()],
            (vec![], vec![], 100),
        ),
        // Two steps beyond the cap become one.
        (
            &clip,
            [
                bid(&[(50_000, 30), (40_000, 40), (30_000, 20), (10, 10)]),
                cheap.clone(),
            ],
            (vec![], vec!["M055"], 90),
        ),
        // At the floor a buyer would pay more than it said, so this is no order of its.
        (
            &clip,
            [bid(&[(-10, 100)]), cheap],
            (vec!["M011"], vec![], 0),
        ),
        (
            &clip,
            [bid(&[(10_000, 100)]), offer(&[(-5_000, 60), (20_000, 40)])],
            (vec![], vec!["M055"], 60),
        ),
    ] {
        assert_eq!(check(rules, 0, &orders), expected, "{orders:?}");
    }
}

#[test]
fn nobody_trades_without_eligibility_and_a_contract_that_holds_for_the_terms_that_hold() {
    let open = RegulationRules::default();
    let named = RegulationRules {
        eligible: Some(["load".into(), "sun".into()].into()),
        ..open.clone()
    };
    let without = RegulationRules {
        eligible: Some(["load".into()].into()),
        ..open.clone()
    };
    let under = |until_s, accepts| RegulationRules {
        contracts: Some(
            [
                ("load".into(), contract(1_000, "aa")),
                ("sun".into(), contract(until_s, accepts)),
            ]
            .into(),
        ),
        terms: Some("aa".into()),
        ..open.clone()
    };
    let mut lacking = under(1_000, "aa");
    lacking.contracts.as_mut().unwrap().remove(&"sun".into());
    for (rules, index, refused) in [
        (&open, 1, vec![]),
        (&named, 1, vec![]),
        (&without, 1, vec!["M056"]),
        (&lacking, 1, vec!["M057"]),
        // From second 15 on, which is interval 1, to second 60: interval 3 is the last.
        (&under(60, "aa"), 1, vec![]),
        (&under(60, "aa"), 3, vec![]),
        (&under(60, "aa"), 4, vec!["M057"]),
        (&under(59, "aa"), 3, vec!["M057"]),
        (&under(60, "bb"), 2, vec!["M058"]),
    ] {
        let orders = [
            order("load", Side::Buy, &[(20_000, 100)]),
            order("sun", Side::Sell, &[(10_000, 100)]),
        ];
        let traded = if refused.is_empty() { 100 } else { 0 };
        let expected = (refused, vec![], traded);
        assert_eq!(check(rules, index, &orders), expected, "{rules:?} {index}");
    }
    let rules = under(60, "aa");
    let before = check(&rules, 0, &[order("load", Side::Buy, &[(20_000, 100)])]);
    assert_eq!(before.0, ["M057"], "no contract holds yet");
    let utility = order("utility", Side::Sell, &[(28_000, 100)]);
    let load = order("load", Side::Buy, &[(29_000, 100)]);
    assert_eq!(
        check(&rules, 1, &[load, utility]).2,
        100,
        "the utility needs none"
    );
}

#[test]
fn taxes_and_surcharges_are_paid_for_what_is_metered_and_every_account_still_sums_to_zero() {
    let rules = RegulationRules {
        tax: Levy {
            withdrawal: Price(2_050),
            injection: Price(0),
        },
        surcharge: Levy {
            withdrawal: Price(300),
            injection: Price(100),
        },
        ..RegulationRules::default()
    };
    // Nobody knows what the sun gave: it pays for what it has sold.
    let (mut venue, settlement) = settled(rules.clone(), Reading::Missing { coverage_ppm: 0 });
    let sum: Money = settlement.balances().into_values().sum();
    assert_eq!(sum, Money(0));
    let levied: Vec<_> = (settlement.lines.iter())
        .filter(|line| matches!(line.item, Item::Tax | Item::Surcharge))
        .map(|line| (line.account.to_string(), line.item, line.amount.0))
        .collect();
    assert_eq!(
        levied,
        [
            ("load".into(), Item::Tax, 900 * 2_050),
            ("(taxes)".into(), Item::Tax, -900 * 2_050),
            ("load".into(), Item::Surcharge, 900 * 300),
            ("sun".into(), Item::Surcharge, 1_000 * 100),
            ("(surcharges)".into(), Item::Surcharge, -370_000),
        ]
    );

    let late = Reading::Valid { energy: Mwh(640) };
    let correction = venue.correct(1, &"sun".into(), late).unwrap();
    let mut corrected = settlement.balances();
    for (account, amount) in correction.balances() {
        *corrected.entry(account).or_insert(Money(0)) += amount;
    }
    let in_time = self::settled(rules, late).1.balances();
    assert_eq!(corrected, in_time, "levies follow a late reading, too");
}

/// An interval in which the sun has sold the load a watt-hour, settled by 0.9 of it and by this.
fn settled(rules: RegulationRules, sun: Reading) -> (Venue, Settlement) {
    let mut venue = venue(rules);
    let orders = vec![
        order("load", Side::Buy, &[(20_000, 1_000)]),
        order("sun", Side::Sell, &[(10_000, 1_000)]),
    ];
    let cleared = venue.clear(interval(1), orders).unwrap();
    venue.take(&cleared.clearing);
    let load = Reading::Valid { energy: Mwh(-900) };
    let readings = [("load".into(), load), ("sun".into(), sun)];
    let settled = venue.settle(&cleared.clearing, readings.into(), None, false);
    let settlement = settled.unwrap().settlement;
    (venue, settlement)
}

#[test]
fn what_a_regulator_asks_holds_within_the_day_as_well() {
    let rules = |beyond| RegulationRules {
        eligible: Some(["load".into(), "sun".into()].into()),
        beyond,
        ..RegulationRules::default()
    };
    let bid = |agent, price| order(agent, Side::Buy, &[(price, 100)]);
    for (beyond, order, expected) in [
        (Beyond::Refuse, bid("load", 20_000), Ok(())),
        (Beyond::Refuse, bid("stranger", 20_000), Err("M056")),
        (Beyond::Clip, bid("load", 40_000), Ok(())),
    ] {
        let mut venue = venue(rules(beyond));
        let said = venue.inspect_intraday(interval(2), &order);
        assert_eq!(said.map_err(|e| e.code()), expected, "{order:?}");
        let entered = venue.enter_intraday(interval(2), order);
        assert_eq!(entered.is_ok(), expected.is_ok());
        let best = venue.best_intraday(2).0;
        assert!(best.is_none_or(|price| price <= Price(30_000)), "{best:?}");
    }
}

#[test]
fn what_is_owed_beside_the_price_is_left_room_for_in_an_order() {
    let rules = RegulationRules {
        tax: Levy {
            withdrawal: Price(2_000),
            injection: Price(500),
        },
        surcharge: Levy {
            withdrawal: Price(500),
            injection: Price(0),
        },
        ..RegulationRules::default()
    };
    let venue = venue(rules);
    let net = |side, steps: &[(i64, i64)]| {
        let order = venue.net_of_levies(order("one", side, steps))?;
        let steps = order.steps.iter();
        Some(steps.map(|s| (s.price.0, s.quantity.0)).collect::<Vec<_>>())
    };
    let bid = net(Side::Buy, &[(30_000, 10), (20_000, 20), (2_400, 5)]);
    assert_eq!(
        bid,
        Some(vec![(30_000, 10), (17_500, 20)]),
        "the cap is any price"
    );
    let offer = net(Side::Sell, &[(-700, 1), (-600, 2), (1_000, 3), (29_600, 4)]);
    assert_eq!(
        offer,
        Some(vec![(0, 3), (1_500, 3)]),
        "never below the floor, nor above the cap"
    );
    assert_eq!(net(Side::Sell, &[(29_600, 4)]), None);
}
