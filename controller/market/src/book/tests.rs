use super::*;
use crate::quantity::Mwh;

fn interval() -> Interval {
    Interval::new(0, 0, 60_000_000_000).unwrap()
}

fn rules() -> BookRules {
    let capability = Capability {
        inject_max: MwhTotal(100),
        withdraw_max: MwhTotal(50),
    };
    BookRules {
        steps_max: 3,
        capabilities: Some([("a".into(), capability), ("b".into(), capability)].into()),
        ..BookRules::bounded(Price(-50), Price(100), 10)
    }
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

/// The code with which one order is refused, or `admitted`.
fn check(order: Order, expected: &str) {
    let told = match Book::new(interval(), &rules(), vec![order.clone()]) {
        Ok(_) => "admitted",
        Err(errors) => {
            assert_eq!(errors.len(), 1);
            assert!(errors[0].place().contains("`"), "{}", errors[0].place());
            assert!(!errors[0].help().is_empty());
            errors[0].code()
        }
    };
    assert_eq!(told, expected, "{order:?}");
}

#[test]
fn an_order_is_admitted_or_refused_by_what_is_wrong_with_it() {
    use Side::{Buy, Sell};
    for (agent, side, steps, expected) in [
        ("a", Buy, &[(100, 50)][..], "admitted"),
        ("a", Sell, &[(-50, 100)], "admitted"),
        ("a", Sell, &[(10, 1), (20, 1), (30, 1)], "admitted"),
        ("a", Buy, &[(110, 1)], "M011"),
        ("a", Buy, &[(-60, 1)], "M011"),
        ("a", Buy, &[(15, 1)], "M011"),
        ("a", Buy, &[(10, 0)], "M012"),
        ("a", Buy, &[(20, 1), (10, -1)], "M012"),
        ("a", Buy, &[], "M013"),
        ("a", Buy, &[(40, 1), (30, 1), (20, 1), (10, 1)], "M013"),
        ("a", Buy, &[(10, 1), (20, 1)], "M013"),
        ("a", Buy, &[(10, 1), (10, 1)], "M013"),
        ("a", Sell, &[(20, 1), (10, 1)], "M013"),
        ("a", Sell, &[(10, i64::MAX), (20, 1)], "M013"),
        ("a", Buy, &[(20, 50), (10, 1)], "M015"),
        ("a", Sell, &[(10, 101)], "M015"),
        ("stranger", Sell, &[(10, 1)], "M016"),
    ] {
        check(order(agent, side, steps), expected);
    }
}

#[test]
fn the_rest_of_the_book_stands_when_some_orders_are_refused() {
    let orders = vec![
        order("b", Side::Buy, &[(20, 1)]),
        order("a", Side::Buy, &[(15, 1)]),
        order("b", Side::Buy, &[(30, 1)]),
        order("a", Side::Sell, &[(10, 1)]),
    ];
    for rotation in 0..orders.len() {
        let mut orders = orders.clone();
        orders.rotate_left(rotation);
        let (book, refused) = Book::admit(interval(), &rules(), orders).unwrap();
        let kept: Vec<_> = book
            .orders()
            .iter()
            .map(|o| (o.agent.as_str(), o.side))
            .collect();
        assert_eq!(kept, [("b", Side::Buy), ("a", Side::Sell)]);
        // Of two curves the same one stays, whichever came first.
        assert_eq!(book.orders()[0].steps[0].price, Price(20));
        let codes: Vec<_> = refused.iter().map(Coded::code).collect();
        assert_eq!(codes, ["M011", "M014"]);
    }
}

#[test]
fn a_side_beyond_exact_arithmetic_is_refused() {
    let orders = ["a", "b", "c"]
        .map(|agent| Order::single(agent.into(), Side::Sell, Price(1), Mwh(i64::MAX)));
    let (book, refused) =
        Book::admit(interval(), &BookRules::unbounded(), orders.to_vec()).unwrap();
    assert_eq!(book.orders().len(), 2);
    assert_eq!(
        refused.iter().map(Coded::code).collect::<Vec<_>>(),
        ["M017"]
    );
}

#[test]
fn rules_that_contradict_themselves_keep_no_book() {
    for (floor, cap, tick) in [
        (0, 10, 0),
        (0, 10, -1),
        (10, 0, 1),
        (0, 15, 10),
        (-5, 10, 10),
        (0, i64::MAX, 1),
        (i64::MIN, 0, 1),
    ] {
        let rules = BookRules::bounded(Price(floor), Price(cap), tick);
        let refused = Book::new(interval(), &rules, Vec::new()).unwrap_err();
        assert_eq!(refused[0].code(), "M010", "{floor}..{cap} by {tick}");
    }
    let stepless = BookRules {
        steps_max: 0,
        ..BookRules::unbounded()
    };
    assert!(stepless.check().is_err());
}

#[test]
fn a_limit_is_rounded_to_the_tick_in_favour_of_who_orders() {
    let rules = rules();
    for (limit, bid, offer) in [
        (14, Some(10), Some(20)),
        (-14, Some(-20), Some(-10)),
        (20, Some(20), Some(20)),
        (1_000, Some(100), None),
        (101, Some(100), None),
        (-51, None, Some(-50)),
        (i64::MAX, Some(100), None),
        (i64::MIN, None, Some(-50)),
    ] {
        assert_eq!(rules.bid_at(Price(limit)), bid.map(Price), "bid at {limit}");
        assert_eq!(
            rules.offer_at(Price(limit)),
            offer.map(Price),
            "offer at {limit}"
        );
    }
}
