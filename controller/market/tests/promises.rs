//! What the catalogue promises of each mechanism, tried over random books: one test
//! per property, over all rows. A property that is declared to hold is looked for a
//! breach; one that is declared not to hold must have a counter-example.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot set itself up has to fail"
)]

use market::catalogue::{Budget, Efficient, RULES, Rational, Rule, Takes, Truthful};
use market::chance::Chance;
use market::mechanism::Surroundings;
use market::mechanism::{Mechanism, UniformPrice};
use market::outcome::Outcome;
use market::utility::Parity;
use market::{Book, BookRules, Interval, Money, Mwh, Order, Price, Side, Step};

/// Books per rule and property. Chosen: every counter-example is found within a
/// tenth of them.
const BOOKS: u64 = 160;

/// Prices are multiples of this, so that the middle of two is a whole number and a
/// rounded half is never mistaken for a gain.
const PRICE_STEP: i64 = 4;

/// Lots drawn so that an average is exact: a multiple of 1, 2, up to 6 sellers.
const SEEDS: u64 = 60;

fn book(orders: Vec<Order>) -> Book {
    let rules = BookRules::bounded(Price(-200), Price(200), 1);
    Book::new(Interval::new(0, 0, 1).unwrap(), &rules, orders).unwrap()
}

/// Orders of up to five traders a side, as the rule takes them.
fn orders(takes: Takes, chance: &mut Chance) -> Vec<Order> {
    let mut orders = Vec::new();
    for (side, name) in [(Side::Buy, "b"), (Side::Sell, "s")] {
        for index in 0..chance.within(1, 5) {
            let steps = if takes == Takes::Curves {
                chance.within(1, 3)
            } else {
                1
            };
            let mut price = PRICE_STEP * chance.within(-2, 10);
            let mut curve = Vec::new();
            for _ in 0..steps {
                let quantity = Mwh(if takes == Takes::Lots {
                    3
                } else {
                    chance.within(1, 7)
                });
                curve.push(Step {
                    price: Price(price),
                    quantity,
                });
                let further = PRICE_STEP * chance.within(1, 3);
                price += if side == Side::Buy { -further } else { further };
            }
            let rank = chance.within(0, 3).unsigned_abs();
            let agent = format!("{name}{index}").into();
            orders.push(Order {
                agent,
                side,
                steps: curve,
                rank,
            });
        }
    }
    orders
}

fn around(book: &Book, chance: &mut Chance) -> Surroundings {
    let export = PRICE_STEP * chance.within(-1, 4);
    let parity = Parity {
        export: Price(export),
        import: Price(export + PRICE_STEP * chance.within(0, 6)),
    };
    Surroundings {
        parity: Some(parity),
        // Narrow as often as wide.
        utility_max: (Mwh(chance.within(0, 12)), Mwh(chance.within(0, 12))),
        ..Surroundings::of(book)
    }
}

/// Every book of a rule with what surrounds it.
fn books(rule: &Rule) -> impl Iterator<Item = (Vec<Order>, Surroundings)> {
    let takes = rule.takes;
    (0..BOOKS).map(move |seed| {
        let mut chance = Chance::seeded(seed);
        let orders = orders(takes, &mut chance);
        let around = around(&book(orders.clone()), &mut chance);
        (orders, around)
    })
}

/// Value of the best `quantity` units of a curve; negative for a seller, who gives them.
fn value(order: &Order, quantity: i64) -> i128 {
    let mut left = quantity;
    let mut sum = 0;
    for step in &order.steps {
        let used = left.min(step.quantity.0);
        sum += i128::from(step.price.0) * i128::from(used);
        left -= used;
    }
    if order.side == Side::Buy { sum } else { -sum }
}

/// What an agent with these true values is better off by.
fn gain(outcome: &Outcome, truth: &Order) -> i128 {
    let own = |fill: &&market::Fill| fill.agent == truth.agent && fill.side == truth.side;
    let fill = outcome.fills.iter().find(own);
    fill.map_or(0, |fill| value(truth, fill.quantity.0) - fill.payment.0)
}

fn shown(order: &Order) -> String {
    let steps = order
        .steps
        .iter()
        .map(|s| format!(" {}:{}", s.price.0, s.quantity.0));
    let steps: String = steps.collect();
    format!(
        "{} {} rank {}{steps}\n",
        order.side, order.agent, order.rank
    )
}

/// Runs `breach` over all books of all rules: none may breach where `holds`, and
/// some must where it does not.
fn check(
    property: &str,
    holds: impl Fn(&Rule) -> bool,
    breach: impl Fn(&Rule, &[Order], &Surroundings) -> Option<String>,
) {
    for rule in RULES {
        // A rule that draws lots clears each book once per lot.
        let lots = rule.properties.truthful == Truthful::InExpectation;
        let books = books(rule).take(if lots { BOOKS / 8 } else { BOOKS } as usize);
        let mut found = books.filter_map(|(orders, around)| {
            breach(rule, &orders, &around).map(|what| (what, orders, around))
        });
        let name = rule.name;
        match (holds(rule), found.next()) {
            (true, Some((what, orders, around))) => {
                let orders: String = orders.iter().map(shown).collect();
                panic!("`{name}` is not {property}: {what}\n{orders}{around:?}")
            }
            (false, None) => panic!("no book shows that `{name}` is not {property}"),
            (true, None) | (false, Some(_)) => {}
        }
    }
}

#[test]
fn nobody_is_worse_off_where_that_is_promised() {
    check(
        "individually rational",
        |rule| rule.properties.rational != Rational::No,
        |rule, orders, around| {
            let outcome = rule.clear(&book(orders.to_vec()), around).unwrap();
            orders.iter().find_map(|order| {
                let own = |f: &&market::Fill| f.agent == order.agent && f.side == order.side;
                let fill = outcome.fills.iter().find(own)?;
                let worth = match (rule.properties.rational, order.side) {
                    (Rational::ThanNotTrading, _) => value(order, fill.quantity.0),
                    (_, Side::Buy) => (around.parity?.import * fill.quantity).0,
                    (_, Side::Sell) => -(around.parity?.export * fill.quantity).0,
                };
                let paid = fill.payment.0;
                (paid > worth).then(|| format!("{} pays {paid} for {worth}", order.agent))
            })
        },
    );
}

#[test]
fn money_balances_or_is_left_over_as_promised() {
    let residual = |rule: &Rule, orders: &[Order], around: &Surroundings| {
        rule.clear(&book(orders.to_vec()), around)
            .unwrap()
            .residual()
    };
    check(
        "balanced",
        |rule| rule.properties.budget == Budget::Balanced,
        |rule, orders, around| {
            let left = residual(rule, orders, around);
            (left != Money(0)).then(|| format!("{left} is left"))
        },
    );
    check(
        "without a deficit",
        |rule| rule.properties.budget != Budget::Deficit,
        |rule, orders, around| {
            let left = residual(rule, orders, around);
            (left < Money(0)).then(|| format!("{left} is left"))
        },
    );
}

/// The most welfare the book allows, with the utility grid where it takes part.
fn welfare_max(rule: &Rule, orders: &[Order], around: &Surroundings) -> Money {
    let mut orders = orders.to_vec();
    if let Some(parity) = around.parity.filter(|_| rule.utility) {
        let (import, export) = around.utility_max;
        for (side, price, most) in [
            (Side::Sell, parity.import, import),
            (Side::Buy, parity.export, export),
        ] {
            orders.extend((most.0 > 0).then(|| Order::single("grid".into(), side, price, most)));
        }
    }
    UniformPrice::HALF.clear(&book(orders)).unwrap().welfare
}

#[test]
fn no_welfare_is_lost_where_that_is_promised() {
    check(
        "efficient",
        |rule| rule.properties.efficient == Efficient::Yes,
        |rule, orders, around| {
            let book = book(orders.to_vec());
            let found = rule.clear(&book, around).unwrap().welfare(&book);
            let most = welfare_max(rule, orders, around);
            // A pool settles what was metered, whatever the coupling could carry.
            let is_pool = rule.properties.truthful == Truthful::NotAsked;
            assert!(
                is_pool || found <= most,
                "`{}` makes {found} of {most}",
                rule.name
            );
            (found < most).then(|| format!("{found} of {most}"))
        },
    );
}

/// Gain of the agent of `truth` when the book is `said`, summed over the lots.
fn gain_over_lots(rule: &Rule, said: &[Order], truth: &Order, around: &Surroundings) -> i128 {
    let lots = if rule.properties.truthful == Truthful::InExpectation {
        SEEDS
    } else {
        1
    };
    let book = book(said.to_vec());
    let drawn = (0..lots).map(|seed| {
        let seed = if lots > 1 { seed } else { around.seed };
        let around = Surroundings {
            seed,
            ..around.clone()
        };
        gain(&rule.clear(&book, &around).unwrap(), truth)
    });
    drawn.sum()
}

#[test]
fn nobody_gains_by_a_false_price_where_that_is_promised() {
    check(
        "truthful",
        |rule| rule.properties.truthful != Truthful::No,
        |rule, orders, around| {
            orders.iter().enumerate().find_map(|(index, truth)| {
                let honest = gain_over_lots(rule, orders, truth, around);
                let mut said = orders.to_vec();
                (-6..=6).find_map(|shift: i64| {
                    // Between the prices of others and at them.
                    let shift = Price(shift * PRICE_STEP / 2);
                    said[index] = truth.clone();
                    said[index]
                        .steps
                        .iter_mut()
                        .for_each(|step| step.price.0 += shift.0);
                    let gained = gain_over_lots(rule, &said, truth, around) - honest;
                    let who = &truth.agent;
                    (gained > 0).then(|| format!("{who} gains {gained} by {shift} more"))
                })
            })
        },
    );
}

#[test]
fn a_rule_that_asks_no_price_hears_none() {
    for rule in RULES
        .iter()
        .filter(|r| r.properties.truthful == Truthful::NotAsked)
    {
        for (mut orders, around) in books(rule) {
            let before = rule.clear(&book(orders.clone()), &around).unwrap();
            for step in orders.iter_mut().flat_map(|order| &mut order.steps) {
                step.price.0 = -step.price.0 / 3 * 3;
            }
            // A reversed curve would run the wrong way, so single steps stand for it.
            orders.iter_mut().for_each(|order| {
                let quantity = Mwh(order.steps.iter().map(|s| s.quantity.0).sum());
                order.steps = vec![Step {
                    price: order.steps[0].price,
                    quantity,
                }];
            });
            assert_eq!(
                rule.clear(&book(orders), &around).unwrap(),
                before,
                "{}",
                rule.name
            );
        }
    }
}

#[test]
fn every_rule_gives_the_same_outcome_whatever_the_order_of_arrival() {
    for rule in RULES {
        for (orders, around) in books(rule).take(50) {
            let mut reversed = orders.clone();
            reversed.reverse();
            let of = |orders| rule.clear(&book(orders), &around).unwrap();
            assert_eq!(of(orders), of(reversed), "{}", rule.name);
        }
    }
}

/// A row of the page, in the words of the page.
fn row(rule: &Rule) -> String {
    let takes = match rule.takes {
        Takes::Curves => "curves",
        Takes::Singles => "single steps",
        Takes::Lots => "equal lots",
    };
    let tariff = if rule.utility { ", tariff" } else { "" };
    let properties = rule.properties;
    let worse_off = match properties.rational {
        Rational::ThanNotTrading => "nobody",
        Rational::ThanTheUtility => "nobody, against the utility",
        Rational::No => "somebody may be",
    };
    let money = match properties.budget {
        Budget::Balanced => "balances",
        Budget::Surplus => "surplus",
        Budget::Deficit => "deficit",
    };
    let welfare = match properties.efficient {
        Efficient::Yes => "all",
        Efficient::No => "not always all",
    };
    let truth = match properties.truthful {
        Truthful::Yes => "pays",
        Truthful::InExpectation => "pays on average",
        Truthful::No => "may not pay",
        Truthful::NotAsked => "not asked",
    };
    let (name, summary) = (rule.name, rule.summary);
    format!(
        "| `{name}` | {takes}{tariff} | {worse_off} | {money} | {welfare} | {truth} | {summary} |"
    )
}

#[test]
fn the_page_of_the_market_says_what_the_catalogue_says() {
    let page = include_str!("../../../docs/market.md");
    let told: Vec<&str> = page
        .lines()
        .filter(|line| {
            line.starts_with("| `") && line.contains("| ") && line.matches('|').count() == 8
        })
        .collect();
    let expected: Vec<String> = RULES.iter().map(row).collect();
    assert_eq!(told, expected);
}
