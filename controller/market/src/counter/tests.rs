use super::*;
use crate::book::{BookRules, Capability};
use crate::order::Step;
use crate::penalty::PenaltyRules;
use crate::quantity::{Money, Mwh, MwhTotal, Price};
use crate::standing::StandingRules;
use crate::utility::Parity;
use crate::venue::{ObligationRules, VenueRules};

use Side::{Buy, Sell};

/// A venue that knows `lab`, with a deposit of so many milli-cent.
fn venue(deposit_mc: i128) -> Venue {
    let most = Capability {
        inject_max: MwhTotal(1_000),
        withdraw_max: MwhTotal(2_000),
    };
    Venue::new(VenueRules {
        mechanism: "uniform_k_half".into(),
        book: BookRules {
            capabilities: Some([("lab".into(), most)].into()),
            ..BookRules::bounded(Price(-50_000), Price(300_000), 1)
        },
        utility: "utility".into(),
        parity: Parity {
            import: Price(28_000),
            export: Price(7_500),
        },
        indivisible: [].into(),
        obligations: Some(ObligationRules {
            penalty: PenaltyRules::DEFAULT,
            standing: StandingRules::DEFAULT,
            forecast_error_ppm: 30_000,
            deposits: [("lab".into(), Money(deposit_mc * 1_000_000))].into(),
        }),
        ahead: None,
        regulation: None,
        contracts: Vec::new(),
        intraday: None,
        reserve: None,
    })
    .unwrap()
}

fn interval(index: u64) -> Interval {
    Interval::new(index, index as i64 * 15_000_000_000, 15_000_000_000).unwrap()
}

fn order(agent: &str, side: Side, steps: &[(i64, i64)]) -> Order {
    let step = |&(price, quantity): &(i64, i64)| Step {
        price: Price(price),
        quantity: Mwh(quantity),
    };
    Order {
        agent: agent.into(),
        side,
        steps: steps.iter().map(step).collect(),
        rank: 0,
    }
}

/// Who orders, the side, the steps, the interval, and the code of the refusal or nothing.
type Row<'a> = (&'a str, Side, &'a [(i64, i64)], u64, &'a str);

/// Orders that come one after the other, while interval 5 is the first that is open; each with the
/// code of its refusal, empty if it is taken.
fn check(deposit_mc: i128, rows: &[Row<'_>]) {
    let (venue, mut counter) = (venue(deposit_mc), Counter::new([("lab".into())].into()));
    for (agent, side, steps, index, code) in rows {
        let taken = counter.take(&venue, order(agent, *side, steps), interval(*index), 5);
        let found = taken.as_ref().err().map_or("", Coded::code);
        assert_eq!(found, *code, "{agent} {side} {steps:?} {index}: {taken:?}");
        if let Err(fault) = taken {
            assert!(!fault.place().is_empty() && !fault.help().is_empty());
        }
    }
}

#[test]
fn each_order_from_outside_is_taken_or_refused_by_its_code() {
    check(
        1_000_000,
        &[
            ("lab", Buy, &[(20_000, 500)], 5, ""),
            ("lab", Buy, &[(21_000, 400)], 5, "M014"),
            ("lab", Sell, &[(30_000, 400)], 5, ""),
            ("lab", Buy, &[(20_000, 500)], 6, ""),
            ("lab", Buy, &[(20_000, 500)], 4, "M037"),
            ("lab", Buy, &[(20_000, 500)], 100, ""),
            ("lab", Buy, &[(20_000, 500)], 101, "M039"),
            ("thief", Buy, &[(20_000, 500)], 5, "M038"),
            // Malformed, above the cap, for nothing, the wrong way round, above what it can.
            ("lab", Buy, &[], 7, "M013"),
            ("lab", Buy, &[(300_001, 500)], 7, "M011"),
            ("lab", Buy, &[(20_000, 0)], 7, "M012"),
            ("lab", Buy, &[(20_000, -5)], 7, "M012"),
            ("lab", Buy, &[(20_000, 5), (21_000, 5)], 7, "M013"),
            ("lab", Buy, &[(20_000, 2_001)], 7, "M015"),
            ("lab", Sell, &[(20_000, 1_001)], 7, "M015"),
            ("lab", Buy, &[(i64::MAX, i64::MAX)], 7, "M011"),
            // What was refused has not taken the place of what is right.
            ("lab", Buy, &[(20_000, 2_000)], 7, ""),
        ],
    );
}

#[test]
fn an_order_that_its_deposit_does_not_cover_is_refused() {
    check(
        50,
        &[
            ("lab", Buy, &[(20_000, 2_000)], 5, "M154"),
            ("lab", Buy, &[(20_000, 100)], 5, ""),
            // Both together are not covered any more.
            ("lab", Sell, &[(20_000, 150)], 5, "M154"),
            // Alone it is.
            ("lab", Sell, &[(20_000, 150)], 6, ""),
        ],
    );
}

#[test]
fn a_gate_gives_a_set_of_orders_and_tells_who_was_silent() {
    let venue = venue(1_000_000);
    let both = [
        order("lab", Sell, &[(30_000, 400)]),
        order("lab", Buy, &[(20_000, 500)]),
    ];
    let mut closed = Vec::new();
    for turned in [false, true] {
        let mut counter = Counter::new(["lab".into(), "quiet".into()].into());
        let mut orders = both.to_vec();
        if turned {
            orders.reverse();
        }
        for order in orders {
            counter.take(&venue, order, interval(5), 5).unwrap();
        }
        closed.push(counter.close(5));
        assert_eq!(counter.close(5).0, []);
    }
    assert_eq!(closed[0], closed[1]);
    let (orders, silent) = &closed[0];
    assert_eq!(orders.len(), 2);
    assert_eq!(*silent, [AgentId::from("quiet")]);
}
