use super::super::tests::{interval, load, sun, venue};
use super::*;
use crate::chance::Chance;
use crate::clearing::Clearing;
use crate::quantity::Money;
use crate::settlement::{Account, Item, Settlement};
use crate::venue::{Venue, VenueRules};

const PARITY: Parity = Parity {
    import: Price(28_000),
    export: Price(7_500),
};

fn with_stage(capabilities: &[(&str, i128, i128)]) -> Venue {
    let rules = venue().rules().clone();
    let of = |(name, inject, withdraw): &(&str, i128, i128)| {
        let capability = Capability {
            inject_max: MwhTotal(*inject),
            withdraw_max: MwhTotal(*withdraw),
        };
        (AgentId::from(*name), capability)
    };
    let capabilities: BTreeMap<AgentId, Capability> = capabilities.iter().map(of).collect();
    Venue::new(VenueRules {
        book: BookRules {
            capabilities: (!capabilities.is_empty()).then_some(capabilities),
            ..BookRules::bounded(Price(-50_000), Price(300_000), 1)
        },
        intraday: Some(IntradayRules { intervals: 4 }),
        ..rules
    })
    .unwrap()
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

/// Enters an order for interval 3: its trades as counterparty-energy-price, or its code.
fn enter(venue: &mut Venue, order: Order) -> Result<Vec<(String, i64, i64)>, &'static str> {
    let side = order.side;
    let entered = venue
        .enter_intraday(interval(3), order)
        .map_err(|e| e.code())?;
    let executions = entered.executions.into_iter().map(|it| {
        let other = match side {
            Side::Buy => it.deal.seller,
            Side::Sell => it.deal.buyer,
        };
        (other.to_string(), it.deal.energy.0, it.deal.price.0)
    });
    Ok(executions.collect())
}

fn position(venue: &Venue, agent: &str) -> i128 {
    venue.position_before(3, &agent.into()).0
}

#[test]
fn orders_meet_at_the_price_of_the_one_that_rests_and_a_new_curve_takes_the_place_of_the_old() {
    let mut venue = with_stage(&[]);
    let sells = |steps: &[(i64, i64)]| order("sun", Side::Sell, steps);
    let buys = |agent: &str, steps: &[(i64, i64)]| order(agent, Side::Buy, steps);
    assert_eq!(
        enter(&mut venue, sells(&[(9_000, 100), (12_000, 100)])),
        Ok(vec![])
    );
    let (bid, offer) = venue.best_intraday(3);
    assert_eq!((bid, offer), (None, Some(Price(9_000))));
    // Over both steps, each at its own price; the rest stands.
    let found = enter(&mut venue, buys("load", &[(20_000, 150)]));
    assert_eq!(
        found,
        Ok(vec![("sun".into(), 100, 9_000), ("sun".into(), 50, 12_000)])
    );
    // The other half of the second step is gone with the curve that replaces it.
    assert_eq!(enter(&mut venue, sells(&[(15_000, 10)])), Ok(vec![]));
    let found = enter(&mut venue, buys("plug", &[(14_990, 5)]));
    assert_eq!(found, Ok(vec![]));
    assert!(venue.rests_intraday(3, &"plug".into(), Side::Buy));
    assert_eq!(
        venue.withdraw_intraday(3, &"plug".into(), Side::Buy),
        MwhTotal(5)
    );
    assert_eq!(
        venue.withdraw_intraday(3, &"plug".into(), Side::Buy),
        MwhTotal(0)
    );
    assert_eq!(
        enter(&mut venue, sells(&[(14_000, 10)])),
        Ok(vec![]),
        "nobody is left"
    );
    // Nobody trades with itself.
    assert_eq!(enter(&mut venue, buys("sun", &[(20_000, 5)])), Ok(vec![]));
    let has = ["sun", "load", "plug"].map(|agent| position(&venue, agent));
    assert_eq!(has, [150, -150, 0]);
}

#[test]
fn what_no_order_book_takes_is_refused_with_its_code() {
    let mut venue = with_stage(&[("sun", 1_000, 0), ("load", 0, 500)]);
    for (order, code) in [
        (order("sun", Side::Sell, &[(9_005, 10)]), "M011"),
        (order("sun", Side::Sell, &[(300_010, 10)]), "M011"),
        (order("sun", Side::Sell, &[(9_000, 0)]), "M012"),
        (
            order("sun", Side::Sell, &[(9_000, 10), (8_000, 10)]),
            "M013",
        ),
        (order("sun", Side::Sell, &[(9_000, 1_001)]), "M046"),
        (order("sun", Side::Buy, &[(9_000, 1)]), "M046"),
        (order("nobody", Side::Buy, &[(9_000, 1)]), "M046"),
    ] {
        assert_eq!(enter(&mut venue, order.clone()), Err(code), "{order:?}");
    }
    let none = super::super::tests::venue().enter_intraday(interval(3), load(9_000));
    assert_eq!(none.err().map(|e| e.code()), Some("M045"));
    // What is traded counts: of 1000 the sun has sold 400, so 601 are too many, and it may buy back 400.
    enter(&mut venue, order("load", Side::Buy, &[(9_000, 400)])).unwrap();
    enter(&mut venue, order("sun", Side::Sell, &[(9_000, 400)])).unwrap();
    assert_eq!(position(&venue, "sun"), 400);
    for (order, expected) in [
        (order("sun", Side::Sell, &[(9_000, 601)]), Err("M046")),
        (order("sun", Side::Sell, &[(9_000, 600)]), Ok(vec![])),
        (order("sun", Side::Buy, &[(8_000, 401)]), Err("M046")),
        (order("sun", Side::Buy, &[(8_000, 400)]), Ok(vec![])),
        (order("load", Side::Buy, &[(8_000, 101)]), Err("M046")),
    ] {
        assert_eq!(enter(&mut venue, order.clone()), expected, "{order:?}");
    }
}

/// Settles interval 3 as it is traded in real time and metered as traded.
fn settle(venue: &mut Venue, orders: Vec<Order>, names: &[&str]) -> (Clearing, Settlement) {
    let cleared = venue.clear(interval(3), orders).unwrap();
    venue.take(&cleared.clearing);
    let readings = names.iter().map(|name| {
        let energy = cleared.clearing.position(&(*name).into());
        let energy = Mwh(i64::try_from(energy.0).unwrap());
        (
            AgentId::from(*name),
            crate::meter::Reading::Valid { energy },
        )
    });
    let settled = venue.settle(&cleared.clearing, readings.collect(), None, false);
    (cleared.clearing, settled.unwrap().settlement)
}

#[test]
fn what_is_traded_within_the_day_is_netted_by_real_time_and_its_book_closes_at_the_gate() {
    let mut venue = with_stage(&[]);
    enter(&mut venue, order("sun", Side::Sell, &[(9_000, 600)])).unwrap();
    enter(&mut venue, order("load", Side::Buy, &[(9_500, 600)])).unwrap();
    let (clearing, settlement) =
        settle(&mut venue, vec![load(12_000), sun(8_000)], &["load", "sun"]);
    assert_eq!(clearing.price, Some(Price(10_000)));
    let balances = settlement.balances();
    let of = |name: &str| -balances[&Account::Participant(name.into())].0;
    // 600 at 9000 and 400 at 10000.
    assert_eq!((of("sun"), of("load")), (9_400_000, -9_400_000));
    let lines = settlement
        .lines
        .iter()
        .filter(|line| line.item == Item::Intraday);
    assert_eq!(lines.count(), 2);
    // The book of an interval that is traded in real time is gone with all that rested.
    let mut venue = with_stage(&[]);
    enter(&mut venue, order("sun", Side::Sell, &[(9_000, 600)])).unwrap();
    settle(&mut venue, vec![], &[]);
    assert_eq!(venue.best_intraday(3), (None, None));
}

/// What one still trades with this position, as (side, price, energy).
fn check_around(whole: &[Order], position: i128, expected: &[(Side, i64, i64)]) {
    let rules = intraday_rules(&BookRules::bounded(Price(-50_000), Price(300_000), 1));
    let orders = around(whole, MwhTotal(position), PARITY, &rules);
    let steps = orders.iter().flat_map(|order| {
        let steps = order.steps.iter();
        steps.map(|step| (order.side, step.price.0, step.quantity.0))
    });
    assert_eq!(steps.collect::<Vec<_>>(), expected, "at {position}");
}

#[test]
fn what_lies_beyond_a_position_is_offered_and_what_lies_before_it_bought_back() {
    use Side::{Buy, Sell};
    let storage = [
        order("ess", Buy, &[(12_000, 50), (9_000, 30)]),
        order("ess", Sell, &[(20_000, 40), (26_005, 60)]),
    ];
    check_around(
        &storage,
        0,
        &[
            (Buy, 12_000, 50),
            (Buy, 9_000, 30),
            (Sell, 20_000, 40),
            (Sell, 26_010, 60),
        ],
    );
    // It has sold 70: 30 of the dearer step are left, and 30 of it and all else are bought back.
    check_around(
        &storage,
        70,
        &[
            (Buy, 26_000, 30),
            (Buy, 20_000, 40),
            (Buy, 12_000, 50),
            (Buy, 9_000, 30),
            (Sell, 26_010, 30),
        ],
    );
    // It has bought 60, ten of them from its worse step.
    check_around(
        &storage,
        -60,
        &[
            (Buy, 9_000, 20),
            (Sell, 9_000, 10),
            (Sell, 12_000, 50),
            (Sell, 20_000, 40),
            (Sell, 26_010, 60),
        ],
    );
    // More than it would ever: it only trades back.
    check_around(
        &storage,
        -500,
        &[
            (Sell, 9_000, 30),
            (Sell, 12_000, 50),
            (Sell, 20_000, 40),
            (Sell, 26_010, 60),
        ],
    );
    // What the utility would do in real time is always left: no worse price than that.
    let load = [order("load", Buy, &[(300_000, 100)])];
    check_around(&load, 0, &[(Buy, 28_000, 100)]);
    check_around(&load, -40, &[(Buy, 28_000, 60)]);
    // And what must be had at any price is not offered back.
    check_around(&load, -100, &[]);
    let sun = [order("sun", Sell, &[(0, 100)])];
    check_around(&sun, 0, &[(Sell, 7_500, 100)]);
    check_around(&sun, 100, &[(Buy, 0, 100)]);
    check_around(&[], 7, &[]);
}

#[test]
fn two_who_trade_around_a_position_again_and_again_never_leave_their_curves() {
    let mut chance = Chance::seeded(5);
    for _ in 0..200 {
        // All bids below 9000 and all offers above.
        let mut curve = |side: Side| {
            let mut price = 9_000;
            let steps = (0..chance.within(1, 5)).map(|_| {
                price += side.injection_sign() * 10 * chance.within(1, 80);
                (price, chance.within(1, 500))
            });
            order("a", side, &steps.collect::<Vec<_>>())
        };
        let whole = [curve(Side::Buy), curve(Side::Sell)];
        let rules = intraday_rules(&BookRules::bounded(Price(-50_000), Price(300_000), 1));
        let wide = Parity {
            import: Price(300_000),
            export: Price(-50_000),
        };
        let all: i128 = whole
            .iter()
            .flat_map(|o| &o.steps)
            .map(|s| i128::from(s.quantity.0))
            .sum();
        for position in [-900, -300, -1, 0, 1, 250, 2_000] {
            let orders = around(&whole, MwhTotal(position), wide, &rules);
            let total: i128 = orders
                .iter()
                .flat_map(|o| &o.steps)
                .map(|s| i128::from(s.quantity.0))
                .sum();
            // Ten steps of ten fit, so nothing of the ladder is lost and nothing made up.
            assert_eq!(total, all);
            let price = |side: Side| {
                orders
                    .iter()
                    .find(|o| o.side == side)
                    .map(|o| o.steps[0].price)
            };
            if let (Some(bid), Some(offer)) = (price(Side::Buy), price(Side::Sell)) {
                assert!(bid <= offer, "{orders:?}");
            }
            assert!(Book::new(interval(3), &rules, orders).is_ok());
        }
    }
}

#[test]
fn money_sums_to_zero_whatever_is_traded_and_a_second_venue_comes_to_the_same() {
    let names = ["a", "b", "c", "d", "e"];
    for seed in 0..50 {
        let mut chance = Chance::seeded(seed);
        let (mut one, mut other) = (with_stage(&[]), with_stage(&[]));
        for rank in 0..60 {
            let agent = names[chance.within(0, 4) as usize];
            let side = [Side::Buy, Side::Sell][chance.within(0, 1) as usize];
            if chance.within(0, 5) == 0 {
                let left = one.withdraw_intraday(3, &agent.into(), side);
                assert_eq!(left, other.withdraw_intraday(3, &agent.into(), side));
                continue;
            }
            let step = (chance.within(900, 1_100) * 10, chance.within(1, 400));
            let order = order(agent, side, &[step]).ranked(rank);
            let found = one.enter_intraday(interval(3), order.clone());
            assert_eq!(found, other.enter_intraday(interval(3), order));
        }
        let all: i128 = names.iter().map(|name| position(&one, name)).sum();
        assert_eq!(all, 0);
        let (_, settlement) = settle(&mut one, vec![], &names);
        let sum: Money = settlement.balances().into_values().sum();
        assert_eq!(sum, Money(0), "{seed}");
    }
}
