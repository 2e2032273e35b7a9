//! Traders that draw or learn their prices.

use super::*;
use crate::chance::Chance;
use crate::continuous::{ContinuousBook, Placed, Scale, Tender, Ticket, Validity};
use crate::interval::Interval;
use crate::mechanism::{Mechanism, UniformPrice};

fn interval(index: u64) -> Interval {
    Interval::new(index, 0, MINUTE_NS).unwrap()
}

fn mindless(name: &str, limit: i64, constrained: bool) -> ZeroIntelligence {
    ZeroIntelligence {
        agent: name.into(),
        limit: Price(limit),
        constrained,
        seed: 7,
    }
}

#[test]
fn a_constrained_trader_never_asks_a_price_at_which_it_loses() {
    let view = view("z", UNKNOWN, Coupling::Islanded);
    let (mut lowest, mut highest) = (i64::MAX, i64::MIN);
    for index in 0..500 {
        let trader = mindless("z", 40_000, true);
        let bid = trader.price(Side::Buy, &view, &interval(index)).0;
        let offer = trader.price(Side::Sell, &view, &interval(index)).0;
        assert!((-50_000..=40_000).contains(&bid) && (40_000..=300_000).contains(&offer));
        let free = mindless("z", 40_000, false)
            .price(Side::Buy, &view, &interval(index))
            .0;
        (lowest, highest) = (lowest.min(free), highest.max(free));
    }
    assert!(lowest < -45_000 && highest > 295_000, "{lowest} {highest}");
}

#[test]
fn the_same_seed_draws_the_same_prices_and_another_name_others() {
    let view = view("z", UNKNOWN, Coupling::Islanded);
    let drawn = |name| {
        let trader = mindless(name, 40_000, true);
        (0..20)
            .map(|n| trader.price(Side::Buy, &view, &interval(n)).0)
            .collect::<Vec<_>>()
    };
    assert_eq!(drawn("z"), drawn("z"));
    assert_ne!(drawn("z"), drawn("y"));
    let declared =
        r#"{"kind":"zero_intelligence","agent":"z","limit":0,"constrained":true,"seed":1}"#;
    check(declared, UNKNOWN, &[]);
}

#[test]
fn a_price_taker_sells_from_one_price_and_buys_up_to_another() {
    let taker = r#"{"kind":"price_taker","agent":"t","sell_from":-1000,"buy_up_to":25000}"#;
    check(taker, forecast(70), &[(Side::Sell, -1_000, 70)]);
    check(taker, forecast(-70), &[(Side::Buy, 25_000, 70)]);
    check(taker, UNKNOWN, &[]);
}

/// A market of traders with these limits, each with one unit; the last price of a season.
fn season(buyers: &[i64], sellers: &[i64], intervals: u64) -> Option<Price> {
    let trader = |(side, index, limit): (&str, usize, i64)| {
        Zip::new(
            format!("{side}{index}").into(),
            Price(limit),
            Price(20_000),
            3,
        )
    };
    let named = |side: &'static str, limits: &[i64]| -> Vec<Zip> {
        limits
            .iter()
            .enumerate()
            .map(|(i, limit)| trader((side, i, *limit)))
            .collect()
    };
    let mut traders = named("b", buyers);
    traders.extend(named("s", sellers));
    let mut last = None;
    for index in 0..intervals {
        let mut orders = Vec::new();
        let mut rules = None;
        for trader in &mut traders {
            let sign = if trader.agent.as_str().starts_with('b') {
                -1
            } else {
                1
            };
            let view = view(
                trader.agent.as_str(),
                forecast(sign * 10),
                Coupling::Islanded,
            );
            orders.extend(trader.orders(&view, &interval(index)));
            rules = Some(view.rules);
        }
        let book = crate::Book::new(interval(index), &rules.unwrap(), orders).unwrap();
        let clearing = UniformPrice::HALF.clear(&book).unwrap();
        traders.iter_mut().for_each(|trader| trader.heed(&clearing));
        last = clearing.price.or(last);
    }
    last
}

#[test]
fn learning_traders_find_the_price_at_which_supply_meets_demand() {
    // Demand and supply meet between 50000 and 60000.
    let price = season(
        &[100_000, 80_000, 60_000, 40_000],
        &[20_000, 30_000, 50_000, 90_000],
        200,
    );
    let price = price.unwrap().0;
    assert!((45_000..=65_000).contains(&price), "{price}");
}

/// The price a trader asks after having seen one cleared.
fn asks_after(side: Side, seen: i64) -> i64 {
    let mut trader = Zip::new("z".into(), Price(50_000), Price(20_000), 1);
    let view = view("z", forecast(side.injection_sign() * 5), Coupling::Islanded);
    trader.orders(&view, &interval(0));
    let order = |side| Order::single(format!("{side}").into(), side, Price(seen), Mwh(1));
    let orders = vec![order(Side::Buy), order(Side::Sell)];
    let book = crate::Book::new(interval(0), &BookRules::unbounded(), orders).unwrap();
    trader.heed(&UniformPrice::HALF.clear(&book).unwrap());
    trader.price(side).0
}

#[test]
fn who_was_priced_out_asks_less_for_itself_and_who_was_not_asks_more() {
    // A seller asks 70000 at first, a buyer bids 30000.
    assert!(asks_after(Side::Sell, 60_000) < 70_000);
    assert!(asks_after(Side::Sell, 90_000) > 70_000);
    assert!(asks_after(Side::Buy, 40_000) > 30_000);
    assert!(asks_after(Side::Buy, 10_000) < 30_000);
    // Never below its own limit.
    assert!(asks_after(Side::Sell, -900_000) >= 50_000);
}

#[test]
fn a_margin_is_never_negative_and_limits_may_be() {
    let price = season(&[-10_000, -20_000], &[-40_000, -30_000], 100)
        .unwrap()
        .0;
    assert!((-40_000..=-10_000).contains(&price), "{price}");
    let declared = r#"{"kind":"zip","agent":"z","limit":5000,"margin":0,"seed":1}"#;
    check(declared, forecast(3), &[(Side::Sell, 5_000, 3)]);
    check(declared, forecast(-3), &[(Side::Buy, 5_000, 3)]);
}

/// Welfare that constrained mindless traders reach in a continuous auction, in percent
/// of the largest, over some seasons.
#[test]
fn mindless_traders_reach_nearly_all_of_the_welfare_by_the_rules_alone() {
    let (mut reached, mut most) = (0, 0);
    for seed in 0..40 {
        let mut chance = Chance::seeded(seed);
        let limits: Vec<i64> = (0..20).map(|_| 10 * chance.within(0, 100)).collect();
        let side = |trader: usize| if trader < 10 { Side::Buy } else { Side::Sell };
        let scale = Scale::Ticks {
            floor: Price(0),
            tick: 1,
            levels: 1_001,
        };
        let mut book = ContinuousBook::new(scale).unwrap();
        let mut standing: Vec<Option<Ticket>> = vec![None; 20];
        let mut done = [false; 20];
        for _ in 0..3_000 {
            let trader = chance.within(0, 19) as usize;
            if done[trader] {
                continue;
            }
            // It takes its last order back and calls another price.
            standing[trader]
                .take()
                .and_then(|ticket| book.cancel(ticket));
            let price = match side(trader) {
                Side::Buy => chance.within(0, limits[trader]),
                Side::Sell => chance.within(limits[trader], 1_000),
            };
            let tender = Tender {
                id: trader as u32,
                owner: trader as u32,
                side: side(trader),
                price: Price(price),
                quantity: Mwh(1),
                validity: Validity::Gate,
            };
            let mut trades = Vec::new();
            if let Placed::Rests { ticket, .. } = book.submit(tender, &mut trades).unwrap() {
                standing[trader] = Some(ticket);
            }
            for trade in trades {
                for one in [trade.maker as usize, trade.taker as usize] {
                    done[one] = true;
                    reached += if one < 10 { limits[one] } else { -limits[one] };
                }
            }
        }
        let orders = limits.iter().enumerate().map(|(trader, &limit)| {
            Order::single(
                format!("t{trader}").into(),
                side(trader),
                Price(limit),
                Mwh(1),
            )
        });
        let book = crate::Book::new(interval(0), &BookRules::unbounded(), orders.collect());
        most += UniformPrice::HALF.clear(&book.unwrap()).unwrap().welfare.0 as i64;
    }
    assert!(reached * 100 >= most * 95, "{reached} of {most}");
}
