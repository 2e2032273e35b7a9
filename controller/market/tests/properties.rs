//! Properties of clearing and settlement over random books.
//!
//! The oracle trades unit by unit and tries every integer price, so it shares
//! neither the sort, the ladder nor the interval formula with the crate.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has to fail"
)]

use market::book::Capability;
use market::mechanism::{KFactor, KNOWN, UniformPrice, by_name};
use market::meter::Reading;
use market::replay::{Record, Settled, Verdict, replay};
use market::settlement::{Account, Basis, CouplingMeter, Item, settle};
use market::utility::Parity;
use market::{Book, BookRules, Clearing, Interval, Mechanism, Money, MwhTotal};
use market::{Mwh, Order, Price, Side, Step};
use proptest::prelude::*;

/// Prices of random orders; few, so that ties are common.
const PRICE_MAX: i64 = 12;

fn interval() -> Interval {
    Interval::new(1, 0, 60_000_000_000).unwrap()
}

/// Curves of one side: distinct prices sorted best first, by agent number.
fn side(side: Side, steps_max: usize) -> impl Strategy<Value = Vec<Order>> {
    let prices = prop::collection::btree_map(-PRICE_MAX..=PRICE_MAX, 1_i64..30, 1..=steps_max);
    prop::collection::vec((prices, any::<u8>()), 0..8).prop_map(move |curves| {
        let order =
            |(index, (curve, rank)): (usize, (std::collections::BTreeMap<i64, i64>, u8))| {
                let step = |(price, quantity)| Step {
                    price: Price(price),
                    quantity: Mwh(quantity),
                };
                let mut steps: Vec<Step> = curve.into_iter().map(step).collect();
                if side == Side::Buy {
                    steps.reverse();
                }
                let agent = format!("{}{index}", if side == Side::Buy { 'b' } else { 's' });
                Order {
                    agent: agent.as_str().into(),
                    side,
                    steps,
                    rank: rank.into(),
                }
            };
        curves.into_iter().enumerate().map(order).collect()
    })
}

fn orders(steps_max: usize) -> impl Strategy<Value = Vec<Order>> {
    (side(Side::Buy, steps_max), side(Side::Sell, steps_max))
        .prop_map(|(bids, offers)| bids.into_iter().chain(offers).collect())
}

fn book(orders: &[Order]) -> Book {
    Book::new(interval(), &BookRules::unbounded(), orders.to_vec()).unwrap()
}

fn clear(orders: &[Order]) -> Clearing {
    UniformPrice::HALF.clear(&book(orders)).unwrap()
}

fn steps(orders: &[Order], side: Side) -> impl Iterator<Item = (i64, i64)> {
    let orders = orders.iter().filter(move |order| order.side == side);
    orders.flat_map(|o| o.steps.iter().map(|s| (s.price.0, s.quantity.0)))
}

/// One price per milliwatt-hour, best first.
fn units(orders: &[Order], side: Side) -> Vec<i64> {
    let mut units: Vec<i64> = steps(orders, side)
        .flat_map(|(price, q)| std::iter::repeat_n(price, q as usize))
        .collect();
    units.sort_by_key(|price| if side == Side::Buy { -price } else { *price });
    units
}

struct Oracle {
    quantity: i128,
    welfare: i128,
    supported: Option<(i64, i64)>,
}

fn oracle(orders: &[Order]) -> Oracle {
    let (bids, offers) = (units(orders, Side::Buy), units(orders, Side::Sell));
    let traded = || {
        bids.iter()
            .zip(&offers)
            .take_while(|(bid, offer)| bid >= offer)
    };
    let quantity = traded().count();
    // A price supports the allocation if, on either side, the units strictly better
    // than it are all served and the served ones are all at least as good as it.
    let supports = |price: &i64| {
        let count = |units: &[i64], good: &dyn Fn(i64) -> bool| {
            units.iter().filter(|unit| good(**unit)).count()
        };
        count(&bids, &|unit| unit > *price) <= quantity
            && count(&bids, &|unit| unit >= *price) >= quantity
            && count(&offers, &|unit| unit < *price) <= quantity
            && count(&offers, &|unit| unit <= *price) >= quantity
    };
    let supported: Vec<i64> = (-PRICE_MAX..=PRICE_MAX).filter(supports).collect();
    Oracle {
        quantity: quantity as i128,
        welfare: traded().map(|(bid, offer)| i128::from(bid - offer)).sum(),
        supported: (quantity > 0).then(|| (supported[0], *supported.last().unwrap())),
    }
}

fn filled(clearing: &Clearing, order: &Order) -> i64 {
    let of = |fill: &&market::Fill| fill.agent == order.agent && fill.side == order.side;
    clearing
        .fills
        .iter()
        .find(of)
        .map_or(0, |fill| fill.quantity.0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn quantity_welfare_and_interval_are_those_of_the_oracle(orders in orders(3)) {
        let (clearing, oracle) = (clear(&orders), oracle(&orders));
        prop_assert_eq!(clearing.quantity.0, oracle.quantity);
        prop_assert_eq!(clearing.welfare.0, oracle.welfare);
        let competitive = clearing.competitive.map(|(lo, hi)| (lo.0, hi.0));
        prop_assert_eq!(competitive, oracle.supported);
        let middle = oracle.supported.map(|(lo, hi)| Price(lo + (hi - lo) / 2));
        prop_assert_eq!(clearing.price, middle);
    }

    #[test]
    fn payments_sum_to_zero_and_nobody_trades_at_a_loss(orders in orders(3)) {
        for row in KNOWN {
            let clearing = by_name(row.name).unwrap().clear(&book(&orders)).unwrap();
            prop_assert_eq!(clearing.fills.iter().map(|f| f.payment).sum::<Money>(), Money(0));
            for order in &orders {
                // The best units of the curve are the ones that trade.
                let served = units(std::slice::from_ref(order), order.side);
                let quantity = filled(&clearing, order) as usize;
                prop_assert!(quantity <= served.len());
                let worth: i64 = served[..quantity].iter().sum();
                let worth = if order.side == Side::Buy { worth } else { -worth };
                let payment = clearing.fills.iter()
                    .find(|f| f.agent == order.agent && f.side == order.side)
                    .map_or(0, |fill| fill.payment.0);
                prop_assert!(payment <= worth.into(), "{} pays {payment} for {worth}", order.agent);
            }
        }
    }

    #[test]
    fn no_rejected_order_is_strictly_better_than_the_price(orders in orders(3)) {
        let clearing = clear(&orders);
        let Some(price) = clearing.price else { return Ok(()) };
        for order in &orders {
            let units = units(std::slice::from_ref(order), order.side);
            for rejected in &units[filled(&clearing, order) as usize..] {
                prop_assert!(!order.side.prefers(Price(*rejected), price));
            }
        }
    }

    #[test]
    fn the_order_of_arrival_does_not_matter(
        (orders, shuffled) in orders(3).prop_flat_map(|o| (Just(o.clone()), Just(o).prop_shuffle()))
    ) {
        for row in KNOWN {
            let mechanism = by_name(row.name).unwrap();
            prop_assert_eq!(mechanism.clear(&book(&orders)), mechanism.clear(&book(&shuffled)));
        }
    }

    #[test]
    fn shifting_every_price_shifts_the_clearing_price(
        orders in orders(3), shift in -1_000_000_i64..1_000_000,
    ) {
        let mut shifted = orders.clone();
        shifted.iter_mut().flat_map(|o| &mut o.steps).for_each(|step| step.price.0 += shift);
        let (before, after) = (clear(&orders), clear(&shifted));
        prop_assert_eq!(before.price.map(|price| Price(price.0 + shift)), after.price);
        prop_assert_eq!(before.welfare, after.welfare);
        for order in &orders {
            prop_assert_eq!(filled(&before, order), filled(&after, order));
        }
    }

    #[test]
    fn scaling_every_quantity_scales_the_trade(orders in orders(3), factor in 1_i64..1_000_000) {
        let mut scaled = orders.clone();
        scaled.iter_mut().flat_map(|o| &mut o.steps).for_each(|step| step.quantity.0 *= factor);
        let (before, after) = (clear(&orders), clear(&scaled));
        prop_assert_eq!(before.price, after.price);
        prop_assert_eq!(before.competitive, after.competitive);
        prop_assert_eq!(before.quantity.0 * i128::from(factor), after.quantity.0);
        prop_assert_eq!(before.welfare.0 * i128::from(factor), after.welfare.0);
        for order in &orders {
            // Only the remainder of the sharing at the margin does not scale.
            let off = filled(&after, order) - filled(&before, order) * factor;
            prop_assert!(off.abs() <= factor, "{} is off by {off}", order.agent);
        }
    }

    #[test]
    fn a_mirrored_market_clears_to_the_mirrored_result(
        orders in orders(3), num in 0_u32..=7,
    ) {
        let mirror = |order: &Order| Order {
            side: if order.side == Side::Buy { Side::Sell } else { Side::Buy },
            steps: order.steps.iter()
                .map(|step| Step { price: Price(-step.price.0), ..*step }).collect(),
            ..order.clone()
        };
        let mirrored: Vec<Order> = orders.iter().map(mirror).collect();
        let at = |num| UniformPrice { k: KFactor::new(num, 7).unwrap() };
        let direct = at(num).clear(&book(&orders)).unwrap();
        let other = at(7 - num).clear(&book(&mirrored)).unwrap();
        prop_assert_eq!(direct.quantity, other.quantity);
        prop_assert_eq!(direct.welfare, other.welfare);
        let lo_hi = other.competitive.map(|(lo, hi)| (Price(-hi.0), Price(-lo.0)));
        prop_assert_eq!(direct.competitive, lo_hi);
        if let (Some((lo, hi)), Some(price)) = (direct.competitive, other.price) {
            // Both round down, so the mirrored price is the one rounded up.
            let up = (hi.0 - lo.0) * i64::from(num);
            prop_assert_eq!(-price.0, lo.0 + (up + 6).div_euclid(7));
        }
        for order in &orders {
            prop_assert_eq!(filled(&direct, order), filled(&other, &mirror(order)));
        }
    }

    #[test]
    fn bidding_more_never_buys_less_and_asking_less_never_sells_less(
        orders in orders(1), which in any::<prop::sample::Index>(), by in 1_i64..10,
    ) {
        prop_assume!(!orders.is_empty());
        let which = which.index(orders.len());
        let mut keener = orders.clone();
        let step = &mut keener[which].steps[0];
        step.price.0 += if orders[which].side == Side::Buy { by } else { -by };
        let (before, after) = (clear(&orders), clear(&keener));
        prop_assert!(filled(&after, &orders[which]) >= filled(&before, &orders[which]));
    }

    #[test]
    fn equal_orders_at_the_margin_differ_by_at_most_one_unit(
        quantity in 1_i64..1_000, sellers in 1_usize..9, demand in 1_i64..2_000,
    ) {
        let mut orders: Vec<Order> = (0..sellers)
            .map(|i| Order::single(format!("s{i}").into(), Side::Sell, Price(5), Mwh(quantity)))
            .collect();
        orders.push(Order::single("b".into(), Side::Buy, Price(9), Mwh(demand)));
        let clearing = clear(&orders);
        let fills: Vec<i64> = orders[..sellers].iter().map(|o| filled(&clearing, o)).collect();
        prop_assert!(fills.iter().max().unwrap() - fills.iter().min().unwrap() <= 1);
        prop_assert_eq!(fills.iter().sum::<i64>(), demand.min(quantity * sellers as i64));
        // The extra units go to the first ranks, here the first names.
        prop_assert!(fills.is_sorted_by(|a, b| a >= b));
    }

    #[test]
    fn large_numbers_stay_exact(
        bids in prop::collection::vec((-(1_i64 << 62)..=1 << 62, 1..=i64::MAX), 1..3),
        offers in prop::collection::vec((-(1_i64 << 62)..=1 << 62, 1..=i64::MAX), 1..3),
    ) {
        let single = |prefix: char, side| move |(i, (p, q)): (usize, (i64, i64))| {
            Order::single(format!("{prefix}{i}").into(), side, Price(p), Mwh(q))
        };
        let orders = bids.into_iter().enumerate().map(single('b', Side::Buy))
            .chain(offers.into_iter().enumerate().map(single('s', Side::Sell))).collect();
        // Overflow would panic here, as tests are built with overflow checks.
        let (book, refused) = Book::admit(interval(), &BookRules::unbounded(), orders).unwrap();
        prop_assert!(refused.is_empty());
        for row in KNOWN {
            prop_assert!(by_name(row.name).unwrap().clear(&book).is_ok());
        }
    }

    #[test]
    fn orders_within_capability_clear_within_capability(orders in orders(3), most in 0_i128..60) {
        let capability = Capability { inject_max: MwhTotal(most), withdraw_max: MwhTotal(most) };
        let table = orders.iter().map(|order| (order.agent.clone(), capability)).collect();
        let rules = BookRules { capabilities: Some(table), ..BookRules::unbounded() };
        let (book, _) = Book::admit(interval(), &rules, orders).unwrap();
        let clearing = UniformPrice::HALF.clear(&book).unwrap();
        prop_assert!(clearing.fills.iter().all(|fill| i128::from(fill.quantity.0) <= most));
    }
}

/// Any reading: mostly measured, sometimes missing.
fn reading() -> impl Strategy<Value = Reading> {
    prop_oneof![
        4 => (-1_000_i64..1_000).prop_map(|e| Reading::Valid { energy: Mwh(e) }),
        1 => (-1_000_i64..1_000)
            .prop_map(|e| Reading::Estimated { energy: Mwh(e), coverage_ppm: 600_000 }),
        1 => Just(Reading::Missing { coverage_ppm: 10 }),
    ]
}

proptest! {
    #[test]
    fn every_settlement_sums_to_zero_over_all_accounts(
        orders in orders(3),
        readings in prop::collection::vec(reading(), 16),
        coupling in prop::option::of(reading()),
        (export, import) in (-PRICE_MAX..=0, 0..=PRICE_MAX),
        mechanism in prop::sample::select(KNOWN),
    ) {
        let book = book(&orders);
        let clearing = by_name(mechanism.name).unwrap().clear(&book).unwrap();
        let agents = orders.iter().map(|order| order.agent.clone());
        let parity = Parity { import: Price(import), export: Price(export) };
        let basis = Basis {
            readings: agents.zip(readings).collect(),
            coupling: coupling
                .map(|reading| CouplingMeter { utility: "grid".into(), reading, parity }),
            fallback_price: Some(Price(3)),
            instructed: [].into(),
        };
        let settlement = settle(&clearing, &basis).unwrap();

        // Money: every line follows from its price, and all lines sum to zero.
        let mut sum = 0;
        for line in &settlement.lines {
            prop_assert_eq!(line.amount.0, -line.quantity.0 * line.price.map_or(0, |p| i128::from(p.0)));
            sum += line.amount.0;
        }
        prop_assert_eq!(sum, 0);
        prop_assert_eq!(settlement.balances().into_values().sum::<Money>(), Money(0));

        // Energy: what is settled for a participant is what its meter says.
        let settled = |account: &Account| -> i128 {
            settlement.lines.iter().filter(|l| l.account == *account).map(|l| l.quantity.0).sum()
        };
        for (agent, reading) in &basis.readings {
            let position = clearing.position(agent).0;
            let metered = reading.energy().map_or(position, |energy| energy.0.into());
            prop_assert_eq!(settled(&Account::Participant(agent.clone())), metered);
        }
        prop_assert_eq!(settled(&Account::Operator), -settlement.unaccounted.0);

        // Price: all deviations settle at one price, on the side of the grid's deviation.
        let deviations = settlement.lines.iter().filter(|line| line.item != Item::Energy);
        for line in deviations {
            prop_assert_eq!(line.price, settlement.imbalance_price.map(|(price, _)| price));
        }
        let grid = basis.coupling.and_then(|meter| meter.reading.energy()).map_or(0, |e| e.0);
        if let Some((price, _)) = settlement.imbalance_price.filter(|_| grid != 0) {
            prop_assert_eq!(price, if grid > 0 { parity.import } else { parity.export });
        }
    }

    #[test]
    fn replay_finds_any_changed_number_of_a_result(
        orders in orders(2),
        which in any::<prop::sample::Index>(),
        by in prop_oneof![Just(1_i64), Just(-1), -1_000..-1_i64, 2..1_000_i64],
    ) {
        let clearing = clear(&orders);
        prop_assume!(!clearing.fills.is_empty());
        let meter = |order: &Order| (order.agent.clone(), Reading::Valid { energy: Mwh(4) });
        let basis = Basis {
            readings: orders.iter().map(meter).collect(),
            coupling: None,
            fallback_price: None,
            instructed: [].into(),
        };
        let settlement = settle(&clearing, &basis).unwrap();
        let mut record = Record {
            interval: interval(),
            mechanism: "uniform_k_half".into(),
            rules: BookRules::unbounded(),
            orders,
            clearing,
            settled: Some(Settled { basis, settlement }),
        };
        prop_assert_eq!(replay([record.clone()]).to_string(), "IDENTICAL");

        let Record { clearing, settled, .. } = &mut record;
        let mut narrow: Vec<&mut i64> = Vec::new();
        let mut wide: Vec<&mut i128> = vec![&mut clearing.quantity.0, &mut clearing.welfare.0];
        for fill in &mut clearing.fills {
            narrow.push(&mut fill.quantity.0);
            wide.push(&mut fill.payment.0);
        }
        narrow.extend(clearing.price.as_mut().map(|price| &mut price.0));
        for line in settled.iter_mut().flat_map(|settled| &mut settled.settlement.lines) {
            wide.extend([&mut line.quantity.0, &mut line.amount.0]);
            narrow.extend(line.price.as_mut().map(|price| &mut price.0));
        }
        let which = which.index(narrow.len() + wide.len());
        match which.checked_sub(narrow.len()) {
            None => *narrow[which] += by,
            Some(which) => *wide[which] += i128::from(by),
        }
        prop_assert!(matches!(replay([record]), Verdict::Different(_)));
    }
}
