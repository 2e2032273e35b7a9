use super::*;
use crate::book::BookRules;
use crate::mechanism::{Mechanism, UniformPrice};
use crate::order::Step;

fn book() -> Book {
    let offer = |price, quantity| Step {
        price: Price(price),
        quantity: Mwh(quantity),
    };
    let orders = vec![
        Order::single("a".into(), Side::Buy, Price(30), Mwh(10)),
        Order::single("b".into(), Side::Buy, Price(20), Mwh(10)).ranked(1),
        Order::single("c".into(), Side::Buy, Price(1), Mwh(10)).ranked(2),
        Order {
            agent: "s".into(),
            side: Side::Sell,
            steps: vec![offer(5, 12), offer(10, 12)],
            rank: 0,
        },
    ];
    let interval = Interval::new(4, 0, 1).unwrap();
    Book::new(interval, &BookRules::unbounded(), orders).unwrap()
}

/// The code with which a changed clearing is refused.
fn check(change: impl FnOnce(&mut Clearing), expected: &str) {
    let book = book();
    let mut clearing = UniformPrice::HALF.clear(&book).unwrap();
    change(&mut clearing);
    let error = clearing.check(&book).expect_err(expected);
    assert_eq!(error.code(), expected, "{error}");
    assert!(error.place().contains("interval 4"));
}

#[test]
fn a_curve_is_used_from_its_best_step() {
    let clearing = UniformPrice::HALF.clear(&book()).unwrap();
    assert_eq!(clearing.price, Some(Price(10)));
    assert_eq!(clearing.welfare, Money(30 * 10 + 20 * 10 - 5 * 12 - 10 * 8));
    assert_eq!(clearing.position(&"s".into()), MwhTotal(20));
    assert_eq!(clearing.position(&"b".into()), MwhTotal(-10));
}

#[test]
fn a_clearing_that_breaks_a_property_is_refused() {
    check(|c| c.fills[0].payment += Money(1), "M020");
    check(|c| c.quantity = MwhTotal(19), "M021");
    check(|c| c.fills[0].quantity = Mwh(9), "M021");
    // More than ordered, on both sides alike.
    check(
        |c| {
            c.fills[0].quantity = Mwh(11);
            c.fills[1].quantity = Mwh(9);
        },
        "M022",
    );
    check(|c| c.fills[0].agent = "nobody".into(), "M024");
    check(
        |c| {
            c.price = None;
            c.fills[0].agent = "nobody".into();
        },
        "M022",
    );
    // 20 mc/kWh is all b ever offered to pay for its 10 mWh.
    check(
        |c| {
            c.fills[0].payment = Money(0);
            c.fills[1].payment = Money(201);
            c.fills[2].payment = Money(-201);
        },
        "M023",
    );
    // 140 u is what the seller's energy costs it.
    check(
        |c| {
            c.fills[0].payment = Money(100);
            c.fills[1].payment = Money(39);
            c.fills[2].payment = Money(-139);
        },
        "M023",
    );
    check(|c| c.price = Some(Price(0)), "M024");
    check(|c| c.price = None, "M026");
    check(
        |c| {
            c.fills[0].payment += Money(1);
            c.fills[1].payment += Money(-1);
        },
        "M026",
    );
    check(|c| c.welfare += Money(1), "M025");
}

#[test]
fn payments_that_are_not_those_of_the_pairs_are_refused() {
    let book = book();
    let clearing = crate::mechanism::by_name("pay_as_bid")
        .unwrap()
        .clear(&book)
        .unwrap();
    assert_eq!(clearing.check(&book), Ok(()));
    let mut cheaper = clearing.clone();
    cheaper.trades[0].price = Price(29);
    let mut smaller = clearing.clone();
    smaller.trades[0].quantity = Mwh(9);
    let mut fewer = clearing;
    fewer.trades.pop();
    for changed in [cheaper, smaller, fewer] {
        assert_eq!(
            changed.check(&book).map_err(|error| error.code()),
            Err("M026")
        );
    }
}
