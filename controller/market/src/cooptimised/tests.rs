use super::*;
use crate::book::{BookRules, Capability};
use crate::chance::Chance;
use crate::fault::Coded as _;
use crate::interval::Interval;
use crate::mechanism::{Mechanism as _, UniformPrice};
use crate::order::Step;

const HALF: KFactor = UniformPrice::HALF.k;

fn interval() -> Interval {
    Interval::new(0, 0, 1).unwrap()
}

fn order(name: &str, side: Side, steps: &[(i64, i64)]) -> Order {
    let step = |&(price, quantity): &(i64, i64)| Step {
        price: Price(price),
        quantity: Mwh(quantity),
    };
    Order {
        agent: name.into(),
        side,
        steps: steps.iter().map(step).collect(),
        rank: 0,
    }
}

fn book(rules: &BookRules, orders: Vec<Order>) -> Book {
    Book::new(interval(), rules, orders).unwrap()
}

/// Books in which everybody that is named can inject and withdraw so much.
fn books(able: &[(&str, i128, i128)], orders: [Vec<Order>; 3]) -> Books {
    let can = |&(name, inject, withdraw): &(&str, i128, i128)| {
        let can = Capability {
            inject_max: MwhTotal(inject),
            withdraw_max: MwhTotal(withdraw),
        };
        (AgentId::from(name), can)
    };
    let rules = BookRules::unbounded();
    let bounded = BookRules {
        capabilities: Some(able.iter().map(can).collect()),
        ..rules.clone()
    };
    let [energy, up, down] = orders;
    Books {
        energy: book(&bounded, energy),
        up: book(&rules, up),
        down: book(&rules, down),
    }
}

/// Two providers between a load and the grid, with small numbers of everything.
fn random(chance: &mut Chance) -> Books {
    let mut able = vec![("load", 0, 9), ("grid", 9, 9)];
    let mut orders = [Vec::new(), Vec::new(), Vec::new()];
    for name in ["a", "b"] {
        let room = [chance.within(1, 4), chance.within(1, 3)];
        able.push((name, room[0].into(), room[1].into()));
        for (side, room) in [(Side::Sell, room[0]), (Side::Buy, room[1])] {
            let most = chance.within(0, room);
            if most > 0 {
                let price = chance.within(-2, 10);
                orders[0].push(order(name, side, &[(price, most)]));
            }
        }
        for stage in [1, 2] {
            // Nobody offers to be ready for more than it can do.
            let most = chance.within(0, room[stage - 1]);
            if most > 0 {
                orders[stage].push(order(name, Side::Sell, &[(chance.within(0, 3), most)]));
            }
        }
    }
    let wants = chance.within(1, 3);
    orders[0].push(order("load", Side::Buy, &[(chance.within(5, 20), wants)]));
    if chance.within(0, 3) > 0 {
        orders[0].push(order("grid", Side::Sell, &[(chance.within(4, 14), 3)]));
    }
    for stage in [1, 2] {
        let needed = chance.within(0, 4);
        if needed > 0 {
            orders[stage].push(order("grid", Side::Buy, &[(chance.within(0, 9), needed)]));
        }
    }
    books(&able, orders)
}

fn traded(cleared: &Cleared) -> Traded {
    [&cleared.energy, &cleared.up, &cleared.down].map(|clearing| {
        let fills = clearing.fills.iter();
        let fills = fills.map(|fill| ((fill.agent.clone(), fill.side), fill.quantity));
        fills.collect()
    })
}

fn welfare(cleared: &Cleared) -> Money {
    cleared.energy.welfare + cleared.up.welfare + cleared.down.welfare
}

/// The greatest welfare of all allocations in whole numbers, by trying them.
fn best_of_all(books: &Books) -> i128 {
    let layout = books.layout();
    let rows = &layout.program.rows;
    let mut best = 0;
    let mut columns = vec![0_i128; layout.columns.len()];
    'all: loop {
        let kept = rows.iter().all(|row| {
            let terms = row.terms.iter();
            let sum: i128 = terms.map(|&(c, k)| columns[c] * i128::from(k)).sum();
            match row.bound {
                Bound::Exact => sum == row.limit,
                _ => sum <= row.limit,
            }
        });
        if kept {
            let costs = layout.program.costs.iter().zip(&columns);
            best = best.max(-costs.map(|(cost, units)| cost * units).sum::<i128>());
        }
        for (units, column) in columns.iter_mut().zip(&layout.columns) {
            if *units < column.most {
                *units += 1;
                continue 'all;
            }
            *units = 0;
        }
        return best;
    }
}

#[test]
fn random_books_have_the_greatest_welfare_and_prove_it_by_their_records() {
    let (mut ready, mut short_of_room) = (0, 0);
    for seed in 0..70 {
        let books = random(&mut Chance::seeded(seed));
        let found = books
            .clear(HALF)
            .unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert_eq!(welfare(&found).0, best_of_all(&books), "seed {seed}");
        let checked = books.check(&traded(&found), &found.energy.mechanism);
        assert_eq!(checked, Ok(()), "seed {seed}");
        ready += u64::from(found.up.quantity.0 > 0 && found.down.quantity.0 > 0);
        short_of_room += u64::from(!found.dual.rooms.is_empty());
        for clearing in [&found.energy, &found.up, &found.down] {
            let paid: Money = clearing.fills.iter().map(|fill| fill.payment).sum();
            assert_eq!(paid, Money(0), "seed {seed}");
            let stage = if clearing == &found.energy {
                &books.energy
            } else {
                continue;
            };
            for fill in &clearing.fills {
                let mut orders = stage.orders().iter();
                let own = orders.find(|it| it.agent == fill.agent && it.side == fill.side);
                assert!(
                    crate::clearing::check_fill(0, own.unwrap(), fill).is_ok(),
                    "seed {seed}"
                );
            }
        }
    }
    assert!(ready > 10 && short_of_room > 8, "{ready} {short_of_room}");
}

/// The welfare of buying reserve first, each direction alone, and then energy with what that leaves.
fn one_after_the_other(books: &Books) -> Money {
    let lowest = UniformPrice {
        k: KFactor::new(0, 1).unwrap(),
    };
    let ready = [&books.up, &books.down].map(|book| lowest.clear(book).unwrap());
    let mut orders = books.energy.orders().to_vec();
    for order in &mut orders {
        let can = &books.energy.rules().capabilities.as_ref().unwrap()[&order.agent];
        let (room, bought) = match order.side {
            Side::Sell => (can.inject_max, &ready[0]),
            Side::Buy => (can.withdraw_max, &ready[1]),
        };
        let own = bought.fills.iter();
        let own = own.filter(|fill| fill.agent == order.agent && fill.side == Side::Sell);
        let left = room.0 - own.map(|fill| i128::from(fill.quantity.0)).sum::<i128>();
        order.steps[0].quantity.0 = order.steps[0].quantity.0.min(left as i64);
    }
    orders.retain(|order| order.steps[0].quantity.0 > 0);
    let energy = UniformPrice::HALF
        .clear(&book(books.energy.rules(), orders))
        .unwrap();
    energy.welfare + ready[0].welfare + ready[1].welfare
}

#[test]
fn together_is_never_dearer_than_one_after_the_other_and_often_cheaper() {
    let (mut equal, mut better) = (0, 0);
    for seed in 0..400 {
        let books = random(&mut Chance::seeded(seed));
        let (together, apart) = (
            welfare(&books.clear(HALF).unwrap()),
            one_after_the_other(&books),
        );
        assert!(together >= apart, "seed {seed}: {together} {apart}");
        match together > apart {
            true => better += 1,
            false => equal += 1,
        }
    }
    assert!(better > 60 && equal > 60, "{better} {equal}");
}

#[test]
fn without_reserve_it_is_the_uniform_auction() {
    for seed in 0..100 {
        let mut books = random(&mut Chance::seeded(seed));
        let empty = || book(&BookRules::unbounded(), Vec::new());
        (books.up, books.down) = (empty(), empty());
        let found = books.clear(HALF).unwrap();
        let plain = UniformPrice::HALF.clear(&books.energy).unwrap();
        assert_eq!(found.energy.welfare, plain.welfare, "seed {seed}");
        let of = |it: &Clearing| (it.quantity, it.competitive, it.price, it.fills.clone());
        assert_eq!(of(&found.energy), of(&plain), "seed {seed}");
    }
}

/// The bench of the documents: `a` could sell all that it has to a load that would else buy of the grid.
fn lab() -> Books {
    books(
        &[
            ("a", 10, 10),
            ("b", 10, 10),
            ("load", 0, 40),
            ("grid", 40, 40),
        ],
        [
            vec![
                order("load", Side::Buy, &[(300_000, 30)]),
                order("grid", Side::Sell, &[(28_000, 40)]),
                order("a", Side::Sell, &[(24_000, 10)]),
                order("b", Side::Sell, &[(26_000, 10)]),
            ],
            vec![
                order("grid", Side::Buy, &[(5_000, 15)]),
                order("a", Side::Sell, &[(400, 8)]),
                order("b", Side::Sell, &[(300, 8)]),
            ],
            vec![
                order("grid", Side::Buy, &[(5_000, 4)]),
                order("a", Side::Sell, &[(400, 8)]),
                order("b", Side::Sell, &[(300, 3)]),
            ],
        ],
    )
}

#[test]
fn readiness_costs_what_its_last_provider_asks_and_loses() {
    let found = lab().clear(HALF).unwrap();
    // The grid sells at the margin. Of `a` a unit of readiness costs 400 and the 4,000 that it would earn.
    assert_eq!(found.dual.prices, [28_000, 4_400, 400].map(Price));
    let ready = |clearing: &Clearing, name: &str| -> i64 {
        let fills = clearing.fills.iter();
        let own = fills.filter(|fill| fill.agent.as_str() == name);
        own.map(|fill| fill.quantity.0).sum()
    };
    let by = |clearing: &Clearing| ["a", "b", "load", "grid"].map(|name| ready(clearing, name));
    assert_eq!(by(&found.energy), [3, 2, 30, 25]);
    assert_eq!(by(&found.up), [7, 8, 0, 15]);
    assert_eq!(by(&found.down), [1, 3, 0, 4]);
    assert_eq!(
        found.energy.mechanism,
        "co_optimised:28000/4400/400:a=4000/0,b=2000/0"
    );
    // Where energy would be lost for more than the limit, none is ready for it.
    let mut dear = lab();
    dear.up = book(
        &BookRules::unbounded(),
        vec![
            order("grid", Side::Buy, &[(4_000, 15)]),
            order("a", Side::Sell, &[(400, 8)]),
            order("b", Side::Sell, &[(300, 8)]),
        ],
    );
    let found = dear.clear(HALF).unwrap();
    assert_eq!(
        (found.up.quantity, found.up.price),
        (MwhTotal(8), Some(Price(4_000)))
    );
}

/// What is said of records of the lab in which one thing is changed.
fn told(change: impl Fn(&mut Traded, &mut String)) -> String {
    let books = lab();
    let found = books.clear(HALF).unwrap();
    let (mut trades, mut mechanism) = (traded(&found), found.energy.mechanism.clone());
    assert_eq!(books.check(&trades, &mechanism), Ok(()));
    change(&mut trades, &mut mechanism);
    let error = books.check(&trades, &mechanism).unwrap_err();
    assert_eq!(error.code(), "M143");
    error.to_string()
}

#[test]
fn records_in_which_a_number_is_changed_prove_nothing_and_it_is_told_whose_it_is() {
    for (by, expected) in [
        (
            1,
            "the offer of `a` and what it is ready for do not fit into its room",
        ),
        (
            -1,
            "the offer of `b` trades more readiness upwards than it has ordered",
        ),
    ] {
        let moved = told(move |trades, _| {
            for (name, by) in [("a", by), ("b", -by)] {
                let ready = trades[1].get_mut(&(name.into(), Side::Sell)).unwrap();
                ready.0 += by;
            }
        });
        assert!(moved.contains(expected), "{moved}");
    }
    // One who trades at a loss, in place of one who gains.
    let swapped = told(|trades, _| {
        for (name, by) in [("a", 1), ("grid", -1)] {
            trades[0].get_mut(&(name.into(), Side::Sell)).unwrap().0 += by;
        }
        for (name, by) in [("a", -1), ("grid", -1)] {
            let side = if name == "a" { Side::Sell } else { Side::Buy };
            trades[1].get_mut(&(name.into(), side)).unwrap().0 += by;
        }
    });
    assert!(
        swapped.contains("the bid of `grid` for readiness upwards would rather"),
        "{swapped}"
    );
    let alone = told(|trades, _| trades[0].get_mut(&("a".into(), Side::Sell)).unwrap().0 -= 1);
    assert!(
        alone.contains("what is sold of energy is not what is bought"),
        "{alone}"
    );
    let stranger = told(|trades, _| {
        trades[2].insert(("load".into(), Side::Sell), Mwh(1));
    });
    assert!(
        stranger.contains("offer of `load` trades more readiness downwards"),
        "{stranger}"
    );
    for (from, to, expected) in [
        (
            "28000/",
            "28001/",
            "the offer of `a` for energy would rather",
        ),
        ("/4400/", "/4399/", "the offer of `a` for readiness upwards"),
        (
            "/4400/",
            "/4401/",
            "the offer of `a` for readiness upwards would rather",
        ),
        ("a=4000", "a=3999", "the offer of `a` for"),
        ("b=2000", "b=2001", "the offer of `b` for"),
        (
            "a=4000/0",
            "a=4000/-1",
            "the bid of `a` and what it is ready for",
        ),
        ("a=4000/0,", "", "the offer of `a` for"),
        ("co_optimised:", "uniform_k_half:", "tells no prices"),
        ("28000", "028000", "tells no prices"),
    ] {
        let found = told(|_, mechanism| *mechanism = mechanism.replacen(from, to, 1));
        assert!(found.contains(expected), "{from} {to}: {found}");
    }
}

#[test]
fn prices_are_read_back_whatever_participants_are_called() {
    let names = ["a=1/2,b", "a", "b:", "c,"].map(AgentId::from);
    let rooms = names
        .iter()
        .map(|name| (name.clone(), [Price(3), Price(-4)]));
    let dual = Dual {
        prices: [1, -2, 3].map(Price),
        rooms: rooms.collect(),
    };
    let agents: std::collections::BTreeSet<&AgentId> = names.iter().collect();
    let read = |name: &str| Dual::read(name, agents.iter().copied());
    assert_eq!(read(&dual.to_string()), Some(dual.clone()));
    for other in [
        "co_optimised:1/2",
        "co_optimised",
        "co_optimised:1/2/3:",
        "co_optimised:1/2/3:z=1/1",
    ] {
        assert_eq!(read(other), None, "{other}");
    }
}

#[test]
fn huge_numbers_and_too_many_steps_are_refused_and_nothing_panics() {
    let most = i64::MAX / 4;
    let huge = |price: i64| {
        books(
            &[("a", i128::MAX, i128::MAX), ("grid", i128::MAX, i128::MAX)],
            [
                vec![
                    order("a", Side::Sell, &[(-price, most)]),
                    order("grid", Side::Buy, &[(price, most)]),
                ],
                vec![
                    order("a", Side::Sell, &[(-price, most)]),
                    order("grid", Side::Buy, &[(price, most)]),
                ],
                Vec::new(),
            ],
        )
    };
    for price in [1, 1 << 40, 1 << 62] {
        match huge(price).clear(HALF) {
            Ok(found) => assert_eq!(found.up.quantity, MwhTotal(most.into())),
            Err(error) => assert_eq!(error.code(), "M142"),
        }
    }
    // As many providers that are all alike, and half of them needed.
    let names: Vec<String> = (0..=EVEN_MAX).map(|i| format!("p{i}")).collect();
    let able: Vec<(&str, i128, i128)> = names.iter().map(|it| (it.as_str(), 1, 1)).collect();
    let offers = names.iter().map(|it| order(it, Side::Sell, &[(1, 1)]));
    let need = order("grid", Side::Buy, &[(2, EVEN_MAX as i64 / 2)]);
    let many = books(
        &able,
        [Vec::new(), offers.chain([need]).collect(), Vec::new()],
    );
    assert_eq!(many.clear(HALF).unwrap_err().code(), "M145");
}

#[test]
fn as_many_providers_as_a_rig_may_have_are_never_too_many() {
    let names: Vec<String> = (0..PROVIDERS_MAX).map(|i| format!("p{i}")).collect();
    let mut able: Vec<(&str, i128, i128)> = names.iter().map(|it| (it.as_str(), 10, 10)).collect();
    able.push(("grid", 1_000, 1_000));
    let each = |side, price, units| {
        let orders = names.iter();
        orders.map(move |name| order(name, side, &[(price, units)]))
    };
    let of_grid = |side, price, units| order("grid", side, &[(price, units)]);
    // Everybody sells and buys at the price at which it does not matter, and is as ready as all the others.
    let energy = each(Side::Sell, 5, 8).chain(each(Side::Buy, 5, 8));
    let energy = energy.chain([of_grid(Side::Sell, 5, 50), of_grid(Side::Buy, 5, 50)]);
    let ready = || {
        each(Side::Sell, 1, 8)
            .chain([of_grid(Side::Buy, 1, 90)])
            .collect()
    };
    let books = books(&able, [energy.collect(), ready(), ready()]);
    assert!(books.clear(HALF).is_ok());
}
