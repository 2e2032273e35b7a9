use super::*;
use crate::book::BookRules;
use crate::interval::Interval;
use crate::order::{Order, Step};
use crate::quantity::Price;

fn book(bids: &[(&str, i64, i64)], offers: &[(&str, i64, i64)]) -> Book {
    let single = |side| {
        move |(rank, &(agent, price, quantity)): (usize, &(&str, i64, i64))| {
            Order::single(agent.into(), side, Price(price), Mwh(quantity)).ranked(rank as u64)
        }
    };
    let orders = (bids.iter().enumerate().map(single(Side::Buy)))
        .chain(offers.iter().enumerate().map(single(Side::Sell)))
        .collect();
    let interval = Interval::new(0, 0, 1).unwrap();
    Book::new(interval, &BookRules::unbounded(), orders).unwrap()
}

/// Payments by agent, as the mechanism of that name decides them.
fn check(name: &str, book: &Book, expected: &[(&str, i128)]) {
    let clearing = by_name(name).unwrap().clear(book).unwrap();
    let payments: Vec<_> = clearing
        .fills
        .iter()
        .map(|fill| (fill.agent.as_str(), fill.payment.0))
        .collect();
    assert_eq!(payments, expected, "{name}");
    assert_eq!(clearing.mechanism, name);
}

#[test]
fn every_known_mechanism_is_found_again_under_the_name_it_writes_down() {
    let names = KNOWN
        .iter()
        .map(|row| row.name)
        .chain(["uniform_k_0_1", "uniform_k_2_5"]);
    for name in names {
        assert_eq!(by_name(name).unwrap().name(), name);
    }
    for name in [
        "",
        "uniform",
        "uniform_k_",
        "uniform_k_2_1",
        "uniform_k_0_0",
        "uniform_k_x_2",
    ] {
        assert!(by_name(name).is_err(), "{name}");
    }
}

#[test]
fn each_mechanism_divides_the_same_surplus_its_own_way() {
    let book = book(
        &[("a", 30, 10), ("b", 21, 10), ("c", 9, 5)],
        &[("s", 5, 15), ("t", 10, 10), ("u", 40, 5)],
    );
    check(
        "uniform_k_half",
        &book,
        &[("a", 100), ("b", 100), ("s", -150), ("t", -50)],
    );
    check(
        "pay_as_bid",
        &book,
        &[("a", 300), ("b", 210), ("s", -405), ("t", -105)],
    );
    // a and s meet at 17, b and s at 13, b and t at 15.
    check(
        "pay_as_bid_mid",
        &book,
        &[("a", 170), ("b", 140), ("s", -235), ("t", -75)],
    );
}

#[test]
fn k_moves_the_price_through_the_competitive_interval() {
    let book = book(&[("a", 20, 1)], &[("s", 9, 1)]);
    for (name, price) in [
        ("uniform_k_0_1", 9),
        ("uniform_k_1_4", 11),
        ("uniform_k_half", 14),
        ("uniform_k_1_1", 20),
    ] {
        check(name, &book, &[("a", price), ("s", -price)]);
    }
}

#[test]
fn a_book_that_does_not_cross_trades_nothing_under_any_mechanism() {
    for row in KNOWN {
        for (bids, offers) in [
            (&[("a", 5, 1)][..], &[("s", 6, 1)][..]),
            (&[("a", 5, 1)], &[]),
            (&[], &[("s", 6, 1)]),
            (&[], &[]),
        ] {
            let clearing = by_name(row.name)
                .unwrap()
                .clear(&book(bids, offers))
                .unwrap();
            assert_eq!((clearing.quantity, clearing.price), (MwhTotal(0), None));
            let indicative = (
                bids.first().map(|b| Price(b.1)),
                offers.first().map(|o| Price(o.1)),
            );
            assert_eq!(clearing.indicative, indicative);
        }
    }
}

#[test]
fn equal_ranks_fall_back_to_the_name() {
    let tie = |first: &str, second: &str| {
        let orders = vec![
            Order::single("b".into(), Side::Buy, Price(9), Mwh(1)),
            Order::single(first.into(), Side::Sell, Price(1), Mwh(1)),
            Order::single(second.into(), Side::Sell, Price(1), Mwh(1)),
        ];
        let interval = Interval::new(0, 0, 1).unwrap();
        let book = Book::new(interval, &BookRules::unbounded(), orders).unwrap();
        UniformPrice::HALF.clear(&book).unwrap().fills[1]
            .agent
            .to_string()
    };
    assert_eq!(tie("s", "t"), "s");
    assert_eq!(tie("t", "s"), "s");
}

#[test]
fn an_agent_may_stand_on_both_sides() {
    let step = |price, quantity| Step {
        price: Price(price),
        quantity: Mwh(quantity),
    };
    let orders = vec![
        Order {
            agent: "store".into(),
            side: Side::Buy,
            steps: vec![step(10, 4)],
            rank: 0,
        },
        Order {
            agent: "store".into(),
            side: Side::Sell,
            steps: vec![step(20, 4)],
            rank: 0,
        },
        Order {
            agent: "load".into(),
            side: Side::Buy,
            steps: vec![step(50, 3)],
            rank: 1,
        },
    ];
    let interval = Interval::new(0, 0, 1).unwrap();
    let book = Book::new(interval, &BookRules::unbounded(), orders).unwrap();
    check("uniform_k_half", &book, &[("load", 60), ("store", -60)]);
}
