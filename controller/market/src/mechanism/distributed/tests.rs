use super::*;
use crate::book::BookRules;
use crate::catalogue::RULES;
use crate::chance::Chance;
use crate::interval::Interval;
use crate::mechanism::Surroundings;
use crate::mechanism::{Mechanism, UniformPrice};
use crate::order::Order;
use crate::quantity::Mwh;

fn random_book(seed: u64, most: i64) -> Book {
    let mut chance = Chance::seeded(seed);
    let mut orders = Vec::new();
    for (side, name) in [(Side::Buy, "b"), (Side::Sell, "s")] {
        for index in 0..chance.within(1, most) {
            let (price, quantity) = (Price(chance.within(-30, 100)), Mwh(chance.within(1, 50)));
            orders.push(Order::single(
                format!("{name}{index}").into(),
                side,
                price,
                quantity,
            ));
        }
    }
    let interval = Interval::new(0, 0, 1).unwrap();
    Book::new(interval, &BookRules::unbounded(), orders).unwrap()
}

fn of(name: &str, book: &Book) -> Outcome {
    let rule = RULES.iter().find(|rule| rule.name == name).unwrap();
    rule.clear(book, &Surroundings::of(book)).unwrap()
}

#[test]
fn the_bisection_finds_exactly_what_the_auction_finds() {
    for seed in 0..300 {
        let book = random_book(seed, 8);
        let found = of("bisection", &book);
        let direct = Outcome::from(UniformPrice::HALF.outcome(&book));
        assert_eq!(found.fills, direct.fills, "seed {seed}");
        assert_eq!(found.prices, direct.prices, "seed {seed}");
        // 131 prices are eight halvings, for each end of the interval.
        assert!(found.rounds.unwrap() <= 16, "seed {seed}");
    }
}

/// In how many of 300 books a rule ends by itself, and in how many rounds at most.
fn settled(name: &str, rounds_max: u32) -> usize {
    let books = (0..300).map(|seed| random_book(seed, 8));
    let rounds = books.map(|book| of(name, &book).rounds.unwrap());
    rounds.filter(|rounds| *rounds <= rounds_max).count()
}

#[test]
fn gradient_and_exchange_mostly_settle_before_the_bisection_has_to_help() {
    let found = [
        settled("gradient", gradient::ROUNDS_MAX),
        settled("admm", admm::ROUNDS_MAX),
    ];
    assert!(found.iter().all(|&n| n >= 290), "{found:?} of 300");
}

#[test]
fn consensus_keeps_most_of_the_welfare() {
    let (mut kept, mut most) = (0, 0);
    for seed in 0..100 {
        let book = random_book(seed, 8);
        kept += of("consensus", &book).welfare(&book).0;
        most += UniformPrice::HALF.outcome(&book).welfare.0;
    }
    assert!(kept * 100 >= most * 90, "{kept} of {most}");
}

/// Injects `rise` for each price above 8.
struct Line {
    rise: i128,
}

impl Respond for Line {
    fn respond(&self, price: Price) -> Option<(i128, i128)> {
        let injected = self.rise * (i128::from(price.0) - 8);
        Some((injected, injected))
    }
}

/// Answers as long as a price is high, and then falls silent.
struct Mute;

impl Respond for Mute {
    fn respond(&self, price: Price) -> Option<(i128, i128)> {
        (price.0 > 100).then_some((-5, 700))
    }
}

#[test]
fn who_does_not_answer_is_left_out_and_named_and_the_others_trade() {
    let [one, other] = [1, 3].map(|rise| Line { rise });
    for place in 0..3 {
        let mut agents: Vec<&dyn Respond> = vec![&one, &other];
        agents.insert(place, &Mute);
        let found = bisection::search(&agents, Price(0), Price(1_000), 1);
        assert_eq!(
            (found.interval, found.at_fault),
            ((Price(8), Price(8)), vec![place])
        );
    }
    // Where nobody answers nothing is found but the range.
    let nobody: [&dyn Respond; 2] = [&Mute, &Mute];
    let found = bisection::search(&nobody, Price(0), Price(50), 1);
    assert_eq!(found.at_fault, [0, 1]);
}

#[test]
fn who_injects_less_at_a_higher_price_is_left_out_and_named() {
    let [honest, steep, faulty] = [1, 3, -1].map(|rise| Line { rise });
    let agents: [&dyn Respond; 3] = [&honest, &faulty, &steep];
    let found = bisection::search(&agents, Price(0), Price(1_000), 1);
    assert_eq!(
        (found.interval, found.at_fault),
        ((Price(8), Price(8)), vec![1])
    );
    let honest: [&dyn Respond; 2] = [&honest, &steep];
    let found = bisection::search(&honest, Price(0), Price(1_000), 1);
    assert_eq!(
        (found.interval, found.at_fault),
        ((Price(8), Price(8)), vec![])
    );
    assert!(found.rounds <= 20);
}

#[test]
fn a_price_that_never_balances_ends_at_a_bound() {
    let line = Line { rise: 1 };
    let agents: [&dyn Respond; 1] = [&line];
    let at = |low, high| bisection::search(&agents, Price(low), Price(high), 1).interval;
    assert_eq!(at(0, 5), (Price(5), Price(5)));
    assert_eq!(at(20, 30), (Price(20), Price(20)));
}
