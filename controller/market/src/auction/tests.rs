use super::*;
use crate::book::BookRules;
use crate::interval::Interval;
use crate::quantity::Price;

const PARITY: Parity = Parity {
    import: Price(28_000),
    export: Price(7_500),
};

fn order(rank: u64, name: &str, side: Side, steps: &[(i64, i64)]) -> Order {
    let steps = steps.iter().map(|&(price, quantity)| crate::Step {
        price: Price(price),
        quantity: Mwh(quantity),
    });
    Order {
        agent: name.into(),
        side,
        steps: steps.collect(),
        rank,
    }
}

/// A bench: sun, a load that must run, a plug, a storage with both sides, and the utility.
fn bench(coupled: bool) -> Book {
    let mut orders = vec![
        order(0, "pv1", Side::Sell, &[(0, 25_000)]),
        order(1, "load1", Side::Buy, &[(300_000, 21_000)]),
        order(2, "ess1", Side::Buy, &[(12_000, 9_000), (9_000, 9_000)]),
        order(3, "ess1", Side::Sell, &[(26_000, 20_000)]),
        order(4, "plug1", Side::Buy, &[(30_000, 8_333)]),
        order(5, "plug2", Side::Buy, &[(15_000, 12_500)]),
    ];
    if coupled {
        orders.push(order(6, "utility", Side::Buy, &[(7_500, 166_666)]));
        orders.push(order(7, "utility", Side::Sell, &[(28_000, 166_666)]));
    }
    let interval = Interval::new(4, 0, 15_000_000_000).unwrap();
    let rules = BookRules::bounded(Price(-50_000), Price(300_000), 1);
    Book::new(interval, &rules, orders).unwrap()
}

fn auction(name: &str) -> Auction {
    Auction::by_name(name, ["plug1".into(), "plug2".into()].into()).unwrap()
}

#[test]
fn every_mechanism_of_a_bench_clears_it_and_leaves_nothing_unsaid() {
    let book = bench(true);
    for name in names().into_iter().chain(["uniform_k_1_3"]) {
        let clearing = auction(name)
            .clear(&book, &"utility".into(), PARITY)
            .unwrap();
        assert_eq!(clearing.mechanism, name);
        assert!(clearing.quantity.0 > 20_000, "{name}: {clearing:?}");
        let paid: Money = clearing.fills.iter().map(|fill| fill.payment).sum();
        assert_eq!(paid, clearing.operator, "{name}");
        let reference = clearing.reference().unwrap();
        assert!((0..=300_000).contains(&reference.0), "{name}: {reference}");
    }
}

#[test]
fn a_rule_that_counts_the_utility_in_fills_its_orders() {
    // Supply 25000 and the storage's 20000, demand 21000 + 18000 + 8333 + 12500.
    let clearing = auction("mmr")
        .clear(&bench(true), &"utility".into(), PARITY)
        .unwrap();
    let import = 21_000 + 18_000 + 8_333 + 12_500 - 45_000;
    let utility: Vec<&Fill> = (clearing.fills.iter())
        .filter(|fill| fill.agent == "utility".into())
        .collect();
    let expected = Fill {
        agent: "utility".into(),
        side: Side::Sell,
        quantity: Mwh(import),
        payment: -(PARITY.import * Mwh(import)),
    };
    assert_eq!(utility, [&expected]);
    assert_eq!((clearing.operator, clearing.price), (Money(0), None));
}

#[test]
fn an_island_is_cleared_by_prices_and_not_by_a_pool() {
    for (name, expected) in [
        ("uniform_k_half", None),
        ("vcg", None),
        ("community", None),
        ("stackelberg", None),
        ("mmr", Some("M036")),
        ("sdr", Some("M036")),
        ("bill_sharing", Some("M036")),
    ] {
        let found = auction(name).clear(&bench(false), &"utility".into(), PARITY);
        let code = found.err().map(|error| error.code());
        assert_eq!(code, expected, "{name}");
    }
}

#[test]
fn a_name_that_no_bench_can_use_is_refused() {
    for (name, code) in [
        ("mcafee", "M035"),
        ("sbba", "M035"),
        ("uniform", "M030"),
        ("uniform_k_3_2", "M030"),
    ] {
        let found = Auction::by_name(name, BTreeSet::new());
        assert_eq!(found.unwrap_err().code(), code, "{name}");
    }
}

#[test]
fn a_switched_load_trades_whole_or_not_at_all() {
    // 4000 are left of the sun for a plug of 8333.
    let orders = vec![
        order(0, "pv1", Side::Sell, &[(0, 25_000)]),
        order(1, "load1", Side::Buy, &[(300_000, 21_000)]),
        order(2, "plug1", Side::Buy, &[(30_000, 8_333)]),
    ];
    let interval = Interval::new(4, 0, 15_000_000_000).unwrap();
    let book = Book::new(interval, &BookRules::unbounded(), orders).unwrap();
    for (name, expected) in [("uniform_k_half", -4_000), ("all_or_nothing", 0)] {
        let clearing = auction(name).clear(&book, &"utility".into(), PARITY);
        let plug = clearing.unwrap().position(&"plug1".into());
        assert_eq!(plug, MwhTotal(expected), "{name}");
    }
}

#[test]
fn a_promise_that_is_broken_is_no_clearing() {
    let book = bench(true);
    let rule = |name| crate::catalogue::rule(name).unwrap();
    let whole = auction("huang")
        .clear(&book, &"utility".into(), PARITY)
        .unwrap();
    let huang = rule("huang");
    assert_eq!(check(&whole, &book, huang), Ok(()));
    let broken = |change: &dyn Fn(&mut Clearing), rule: &Rule| {
        let mut clearing = whole.clone();
        change(&mut clearing);
        check(&clearing, &book, rule).unwrap_err().code()
    };
    assert_eq!(broken(&|c| c.operator = Money(-1), huang), "M020");
    assert_eq!(broken(&|c| c.operator = Money(1), rule("cda")), "M020");
    assert_eq!(broken(&|c| c.quantity = MwhTotal(1), huang), "M021");
    let dear = |c: &mut Clearing| c.fills[0].payment = Money(i128::MAX);
    assert_eq!(broken(&dear, huang), "M023");
    let much = |c: &mut Clearing| {
        c.fills[0].quantity.0 += 1_000_000;
        c.fills.last_mut().unwrap().quantity.0 += 1_000_000;
        c.quantity.0 += 1_000_000;
    };
    assert_eq!(broken(&much, huang), "M022");
}

#[test]
fn what_a_mechanism_leaves_over_is_the_operators_and_every_settlement_sums_to_zero() {
    let book = bench(true);
    let readings = |deviation: i64, clearing: &Clearing| {
        let names = ["pv1", "load1", "ess1", "plug1", "plug2"];
        let reading = |name: &str| {
            let position = clearing.position(&name.into()).0 as i64;
            let energy = Mwh(position + deviation);
            (name.into(), crate::meter::Reading::Valid { energy })
        };
        names.map(reading).into()
    };
    for name in names() {
        let mut venue = crate::Venue::new(crate::venue::VenueRules {
            mechanism: name.into(),
            book: book.rules().clone(),
            utility: "utility".into(),
            parity: PARITY,
            indivisible: BTreeSet::new(),
            obligations: None,
            ahead: None,
            regulation: None,
            contracts: Vec::new(),
            intraday: None,
            reserve: None,
        })
        .unwrap();
        let cleared = venue
            .clear(book.interval(), book.orders().to_vec())
            .unwrap();
        let clearing = cleared.clearing;
        venue.take(&clearing);
        for deviation in [0, -7, 11] {
            let utility = clearing.position(&"utility".into()).0 as i64;
            let utility = Some(crate::meter::Reading::Valid {
                energy: Mwh(utility - 4 * deviation),
            });
            let settled = venue.settle(&clearing, readings(deviation, &clearing), utility, false);
            let settlement = settled.unwrap().settlement;
            let balances = settlement.balances();
            let sum: Money = balances.values().copied().sum();
            assert_eq!(sum, Money(0), "{name}");
            if deviation == 0 {
                let operator = balances.get(&crate::settlement::Account::Operator);
                let kept = operator.copied().unwrap_or_default();
                assert_eq!(kept, -clearing.operator, "{name}");
            }
        }
    }
}

#[test]
fn what_cannot_be_cleared_is_settled_as_imbalance_at_the_last_price() {
    let rules = |mechanism: &str| crate::venue::VenueRules {
        mechanism: mechanism.into(),
        book: bench(true).rules().clone(),
        utility: "utility".into(),
        parity: PARITY,
        indivisible: BTreeSet::new(),
        obligations: None,
        ahead: None,
        regulation: None,
        contracts: Vec::new(),
        intraday: None,
        reserve: None,
    };
    let mut venue = crate::Venue::new(rules("mmr")).unwrap();
    let orders = |coupled| bench(coupled).orders().to_vec();
    let traded = venue.clear(bench(true).interval(), orders(true)).unwrap();
    venue.take(&traded.clearing);
    let price = traded.clearing.reference().unwrap();
    let failed = venue.clear(bench(false).interval(), orders(false)).unwrap();
    let code = failed.failure.as_ref().map(Coded::code);
    assert_eq!((code, failed.clearing.fills.len()), (Some("M036"), 0));
    venue.take(&failed.clearing);
    let valid = |energy| crate::meter::Reading::Valid {
        energy: Mwh(energy),
    };
    let readings = [("pv1".into(), valid(900)), ("load1".into(), valid(-900))];
    let settled = venue.settle(&failed.clearing, readings.into(), Some(valid(0)), true);
    let balances = settled.unwrap().settlement.balances();
    let load = crate::settlement::Account::Participant("load1".into());
    assert_eq!(balances[&load], price * Mwh(900));
}
