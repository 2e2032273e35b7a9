use super::*;
use crate::book::BookRules;
use crate::chance::Chance;
use crate::interval::Interval;
use crate::mechanism::{Mechanism, UniformPrice};
use crate::order::Order;

fn book(orders: Vec<Order>) -> Book {
    let interval = Interval::new(0, 0, 1).unwrap();
    Book::new(interval, &BookRules::unbounded(), orders).unwrap()
}

fn random_orders(chance: &mut Chance, node: usize, most: i64) -> Vec<Order> {
    let mut orders = Vec::new();
    for (side, name) in [(Side::Buy, "b"), (Side::Sell, "s")] {
        for index in 0..chance.within(0, most) {
            let (price, quantity) = (Price(chance.within(-5, 20)), Mwh(chance.within(1, 12)));
            orders.push(Order::single(
                format!("{node}{name}{index}").into(),
                side,
                price,
                quantity,
            ));
        }
    }
    orders
}

fn random_feeder(chance: &mut Chance, nodes: i64) -> Feeder {
    let line = |node: i64| Line {
        toward: chance.within(0, node - 1) as usize,
        capacity: Mwh(chance.within(0, 15)),
        fee: Price(chance.within(0, 3)),
    };
    Feeder::new((1..nodes).map(line).collect()).unwrap()
}

#[test]
fn random_trees_clear_to_a_result_that_no_other_one_beats() {
    let mut flows = 0;
    for seed in 0..1_500 {
        let mut chance = Chance::seeded(seed);
        let nodes = chance.within(1, 9);
        let feeder = random_feeder(&mut chance, nodes);
        let books: Vec<Book> = (0..nodes as usize)
            .map(|node| book(random_orders(&mut chance, node, 3)))
            .collect();
        // `clear` checks every condition of the optimum.
        let cleared = feeder
            .clear(&books)
            .unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        flows += cleared.nodes.iter().filter(|node| node.flow.0 != 0).count();
    }
    assert!(flows > 3_000, "{flows} flows would prove little");
}

#[test]
fn without_limits_and_fees_the_feeder_is_one_auction() {
    for seed in 0..200 {
        let mut chance = Chance::seeded(seed);
        let wide = |_| Line {
            toward: 0,
            capacity: Mwh(1_000),
            fee: Price(0),
        };
        let feeder = Feeder::new((0..3).map(wide).collect()).unwrap();
        let orders: Vec<Vec<Order>> = (0..4)
            .map(|node| random_orders(&mut chance, node, 3))
            .collect();
        let books: Vec<Book> = orders.iter().cloned().map(book).collect();
        let apart = feeder.clear(&books).unwrap();
        let together = UniformPrice::HALF.outcome(&book(orders.concat()));
        assert_eq!(apart.welfare, together.welfare, "seed {seed}");
        if together.price.is_some() {
            assert_eq!(apart.nodes[0].price, together.price, "seed {seed}");
        }
    }
}

#[test]
fn a_result_with_another_number_is_not_the_best() {
    let mut chance = Chance::seeded(5);
    let feeder = random_feeder(&mut chance, 6);
    let books: Vec<Book> = (0..6)
        .map(|node| book(random_orders(&mut chance, node, 4)))
        .collect();
    let cleared = feeder.clear(&books).unwrap();
    let changes: [fn(&mut Cleared); 5] = [
        |c| c.nodes[0].price = c.nodes[0].price.map(|p| Price(p.0 + 30)),
        |c| c.nodes[1].flow.0 += 1,
        |c| c.nodes[2].rent.0 += 1,
        |c| c.nodes[0].fills[0].quantity.0 += 1,
        |c| c.nodes[0].fills[0].payment.0 -= 1,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut other = cleared.clone();
        change(&mut other);
        assert!(other.check(&feeder, &books).is_err(), "change {number}");
    }
}

#[test]
fn a_line_found_too_full_is_tightened_until_nothing_is_left_to_mend() {
    let line = Line {
        toward: 0,
        capacity: Mwh(100),
        fee: Price(0),
    };
    let feeder = Feeder::new(vec![line]).unwrap();
    let order = |name: &str, side, price| Order::single(name.into(), side, Price(price), Mwh(50));
    let books = [
        book(vec![
            order("town", Side::Buy, 30),
            order("grid", Side::Sell, 25),
        ]),
        book(vec![order("sun", Side::Sell, 1)]),
    ];
    // The voltage allows 20 only.
    let inspect = |cleared: &Cleared| match cleared.nodes[1].flow.0 {
        flow if flow > 20 => vec![(1, Mwh(20.max(flow as i64 / 2)))],
        _ => Vec::new(),
    };
    let (cleared, mended) = feeder.clear_until(&books, 3, inspect).unwrap();
    assert_eq!((cleared.nodes[1].flow.0, mended), (20, true));
    assert_eq!(
        (cleared.nodes[0].price, cleared.nodes[1].price),
        (Some(Price(25)), Some(Price(1)))
    );
    assert_eq!(cleared.rent(), Money(20 * 24));
    let (_, mended) = feeder.clear_until(&books, 1, inspect).unwrap();
    assert!(!mended);
    let no_line = feeder.clear_until(&books, 1, |_| vec![(9, Mwh(1))]);
    assert_eq!(no_line.unwrap_err().code(), "M120");
}

#[test]
fn a_line_that_leads_up_the_numbers_or_carries_less_than_nothing_is_refused() {
    let line = Line {
        toward: 0,
        capacity: Mwh(1),
        fee: Price(0),
    };
    for wrong in [
        Line { toward: 1, ..line },
        Line {
            capacity: Mwh(-1),
            ..line
        },
        Line {
            fee: Price(-1),
            ..line
        },
    ] {
        assert_eq!(Feeder::new(vec![wrong]).unwrap_err().code(), "M120");
    }
    let books = Feeder::new(vec![line]).unwrap().clear(&[]);
    assert_eq!(books.unwrap_err().code(), "M121");
}
