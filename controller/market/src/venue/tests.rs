use super::*;
use crate::quantity::Money;
use crate::settlement::{PriceSource, Settlement};

const PARITY: Parity = Parity {
    import: Price(28_000),
    export: Price(7_501),
};

pub(super) fn venue() -> Venue {
    Venue::new(VenueRules {
        mechanism: "uniform_k_half".into(),
        book: BookRules::unbounded(),
        utility: "utility".into(),
        parity: PARITY,
        indivisible: [].into(),
        obligations: None,
        ahead: Some(AheadRules {
            mechanism: "uniform_k_half".into(),
        }),
        regulation: None,
        contracts: Vec::new(),
        intraday: None,
        reserve: None,
    })
    .unwrap()
}

pub(super) fn interval(index: u64) -> Interval {
    Interval::new(index, index as i64 * 15_000_000_000, 15_000_000_000).unwrap()
}

pub(super) fn load(price: i64) -> Order {
    Order::single("load".into(), Side::Buy, Price(price), Mwh(1_000))
}

pub(super) fn sun(price: i64) -> Order {
    Order::single("sun".into(), Side::Sell, Price(price), Mwh(1_000))
}

/// Clears an interval in an island and settles it with these meters; the price of what nobody traded.
fn check(
    venue: &mut Venue,
    index: u64,
    orders: Vec<Order>,
    meters: &[(&str, Option<i64>)],
) -> (Option<Price>, Option<(Price, PriceSource)>) {
    let cleared = venue.clear(interval(index), orders).unwrap();
    assert!(cleared.refused.is_empty() && cleared.failure.is_none());
    venue.take(&cleared.clearing);
    let reading = |(name, energy): &(&str, Option<i64>)| {
        let reading = match energy {
            Some(energy) => Reading::Valid {
                energy: Mwh(*energy),
            },
            None => Reading::Missing { coverage_ppm: 0 },
        };
        (AgentId::from(*name), reading)
    };
    let readings = meters.iter().map(reading).collect();
    let settled = venue.settle(&cleared.clearing, readings, None, false);
    let settlement = settled.unwrap().settlement;
    let sum: Money = settlement.balances().into_values().sum();
    assert_eq!(sum, Money(0), "{settlement:?}");
    (cleared.clearing.price, settlement.imbalance_price)
}

#[test]
fn a_book_that_does_not_cross_trades_nothing_and_is_settled_by_the_chain_of_fallbacks() {
    let mut venue = venue();
    let flows: &[(&str, Option<i64>)] = &[("load", Some(-900)), ("sun", Some(950))];
    // Nothing was ever traded: the middle between the utility's two prices, rounded down.
    let middle = Some((Price(17_750), PriceSource::Fallback));
    let rows = [
        vec![load(5_000), sun(9_000)],
        vec![load(5_000)],
        vec![sun(9_000)],
        vec![],
    ];
    for (index, orders) in rows.clone().into_iter().enumerate() {
        let (price, imbalance) = check(&mut venue, index as u64, orders, flows);
        assert_eq!((price, imbalance), (None, middle), "{index}");
    }
    // Once something was traded that price counts, in the interval and after it.
    let traded = check(&mut venue, 4, vec![load(12_000), sun(8_000)], flows);
    let price = Price(10_000);
    let own = Some((price, PriceSource::ClearingPrice));
    assert_eq!(traded, (Some(price), own));
    for (index, orders) in rows.into_iter().enumerate() {
        let last = Some((price, PriceSource::Fallback));
        let found = check(&mut venue, index as u64 + 5, orders, flows);
        assert_eq!(found, (None, last), "{index}");
    }
}

#[test]
fn a_meter_that_says_nothing_counts_as_what_was_traded() {
    let mut venue = venue();
    let orders = vec![load(12_000), sun(8_000)];
    let meters: &[(&str, Option<i64>)] = &[("load", None), ("sun", None)];
    let (price, imbalance) = check(&mut venue, 0, orders, meters);
    assert_eq!((price, imbalance), (Some(Price(10_000)), None));
}

/// What each account receives in an interval that is traded ahead and in real time and metered as
/// traded in real time; and what it receives of the lines of the day-ahead stage alone.
fn check_two(ahead: Vec<Order>, real: Vec<Order>, expected: &[(&str, i128, i128)]) {
    let mut venue = venue();
    let product = ahead::product(interval(3));
    assert_eq!(ahead::interval_of(product.index), (3, true));
    assert_eq!(ahead::interval_of(3), (3, false));
    let cleared = venue.clear_ahead(product, ahead).unwrap().unwrap();
    venue.take_ahead(&cleared.clearing);
    let cleared = venue.clear(interval(3), real).unwrap();
    venue.take(&cleared.clearing);
    let names = expected.iter().map(|(name, ..)| AgentId::from(*name));
    let readings = names.map(|name| {
        let energy = cleared.clearing.position(&name);
        let energy = Mwh(i64::try_from(energy.0).unwrap());
        (name, Reading::Valid { energy })
    });
    let readings: BTreeMap<AgentId, Reading> = readings.collect();
    let settle = |venue: &mut Venue| {
        let settled = venue.settle(&cleared.clearing, readings.clone(), None, false);
        settled.unwrap().settlement
    };
    let settlement = settle(&mut venue);
    let sum: Money = settlement.balances().into_values().sum();
    assert_eq!(sum, Money(0), "{settlement:?}");
    let balances = settlement.balances();
    for (name, all, of_ahead) in expected {
        let account = crate::settlement::Account::Participant((*name).into());
        let lines = settlement.lines.iter();
        let lines =
            lines.filter(|l| l.account == account && l.item == crate::settlement::Item::Ahead);
        let found = (
            -balances[&account].0,
            -lines.map(|l| l.amount.0).sum::<i128>(),
        );
        assert_eq!(found, (*all, *of_ahead), "{name}: {settlement:?}");
    }
    // A position is settled once.
    let again = settle(&mut venue);
    let lines = again.lines.iter();
    assert!(
        lines
            .into_iter()
            .all(|l| l.item != crate::settlement::Item::Ahead)
    );
}

#[test]
fn a_contract_fixes_the_price_of_its_energy_whatever_real_time_does() {
    let contract = |name: &str, first, energy, price| Contract {
        name: name.into(),
        buyer: "load".into(),
        seller: "sun".into(),
        first,
        last: 4,
        energy: Mwh(energy),
        price: Price(price),
    };
    let rules = VenueRules {
        contracts: vec![contract("c", 3, 600, 9_000), contract("d", 4, 100, 50_000)],
        ..venue().rules().clone()
    };
    let deals = |index| Venue::new(rules.clone()).unwrap().contracted(index).len();
    assert_eq!([2, 3, 4, 5].map(deals), [0, 1, 2, 0]);
    // 1000 mWh cross at 10000 in real time, and both are metered as they traded.
    for (index, orders, of_load) in [
        (2, vec![load(12_000), sun(8_000)], -10_000_000),
        (
            3,
            vec![load(12_000), sun(8_000)],
            -600 * 9_000 - 400 * 10_000,
        ),
        (
            4,
            vec![load(12_000), sun(8_000)],
            -600 * 9_000 - 100 * 50_000 - 300 * 10_000,
        ),
        // Nothing crosses: what was contracted is bought back at the middle of the two parities.
        (3, vec![load(5_000), sun(9_000)], 600 * (17_750 - 9_000)),
    ] {
        let mut venue = Venue::new(rules.clone()).unwrap();
        let cleared = venue.clear(interval(index), orders).unwrap();
        venue.take(&cleared.clearing);
        let readings = ["load", "sun"].map(|name| {
            let energy = cleared.clearing.position(&name.into());
            let energy = Mwh(i64::try_from(energy.0).unwrap());
            (AgentId::from(name), Reading::Valid { energy })
        });
        let settled = venue.settle(&cleared.clearing, readings.into(), None, false);
        let balances = settled.unwrap().settlement.balances();
        let of = |name: &str| -balances[&crate::settlement::Account::Participant(name.into())].0;
        assert_eq!((of("load"), of("sun")), (of_load, -of_load), "{index}");
    }
    let broken = VenueRules {
        contracts: vec![contract("c", 5, 600, 9_000)],
        ..rules
    };
    assert_eq!(Venue::new(broken).err().map(|e| e.code()), Some("M044"));
}

#[test]
fn a_position_is_settled_at_its_own_price_and_what_changes_at_that_of_real_time() {
    // 1000 mWh at 10000 ahead, at 15000 in real time.
    let ahead = || vec![load(12_000), sun(8_000)];
    let real = |energy: i64| {
        let load = Order::single("load".into(), Side::Buy, Price(20_000), Mwh(energy));
        let sun = Order::single("sun".into(), Side::Sell, Price(10_000), Mwh(energy));
        vec![load, sun]
    };
    // Nothing changes: the price of real time is nobody's.
    check_two(
        ahead(),
        real(1_000),
        &[
            ("load", -10_000_000, 5_000_000),
            ("sun", 10_000_000, -5_000_000),
        ],
    );
    // 200 mWh more, at the price of real time.
    check_two(
        ahead(),
        real(1_200),
        &[
            ("load", -13_000_000, 5_000_000),
            ("sun", 13_000_000, -5_000_000),
        ],
    );
    // Nothing crosses in real time: all of it is bought back, at the middle of the two parities.
    check_two(
        ahead(),
        vec![load(5_000), sun(9_000)],
        &[
            ("load", 7_750_000, 7_750_000),
            ("sun", -7_750_000, -7_750_000),
        ],
    );
    // Nothing was traded ahead.
    check_two(
        vec![load(5_000), sun(9_000)],
        real(1_000),
        &[("load", -15_000_000, 0), ("sun", 15_000_000, 0)],
    );
}

/// Trades 1000 mWh at 10000 in an interval of an island, with these meters; the venue that settled it.
fn settled_with(index: u64, meters: &[(&str, Reading)]) -> (Venue, Settlement) {
    let mut venue = venue();
    let cleared = venue
        .clear(interval(index), vec![load(12_000), sun(8_000)])
        .unwrap();
    venue.take(&cleared.clearing);
    let readings = meters
        .iter()
        .map(|(name, reading)| (AgentId::from(*name), *reading));
    let settled = venue.settle(&cleared.clearing, readings.collect(), None, false);
    let settlement = settled.unwrap().settlement;
    (venue, settlement)
}

fn valid(energy: i64) -> Reading {
    Reading::Valid {
        energy: Mwh(energy),
    }
}

const MISSING: Reading = Reading::Missing { coverage_ppm: 0 };

#[test]
fn a_reading_that_comes_late_leads_to_what_it_would_have_in_time() {
    use crate::settlement::Item;
    for late in [-1_000, -700, 0, -1_300, 44] {
        let (_, in_time) = settled_with(3, &[("load", valid(late)), ("sun", valid(1_000))]);
        let (mut venue, before) = settled_with(3, &[("load", MISSING), ("sun", valid(1_000))]);
        let correction = venue.correct(3, &"load".into(), valid(late)).unwrap();
        assert!(
            correction
                .lines
                .iter()
                .all(|line| line.item == Item::Correction)
        );
        let sum: Money = correction.lines.iter().map(|line| line.amount).sum();
        assert_eq!(sum, Money(0));
        let mut both = before.balances();
        for (account, amount) in correction.balances() {
            *both.entry(account).or_insert(Money(0)) += amount;
        }
        both.retain(|_, amount| *amount != Money(0));
        let mut expected = in_time.balances();
        expected.retain(|_, amount| *amount != Money(0));
        assert_eq!(both, expected, "{late}");
        // It is valid by now, and stands.
        let again = venue.correct(3, &"load".into(), valid(late));
        assert_eq!(again.err().map(|e| e.code()), Some("M052"));
    }
}

#[test]
fn a_reading_that_corrects_nothing_is_refused_with_its_code() {
    let estimated = Reading::Estimated {
        energy: Mwh(-900),
        coverage_ppm: 600_000,
    };
    let check = |index, agent: &str, reading| {
        let (mut venue, _) = settled_with(3, &[("load", estimated), ("sun", valid(1_000))]);
        venue
            .correct(index, &agent.into(), reading)
            .err()
            .map(|e| e.code())
    };
    assert_eq!(check(3, "load", valid(-1_000)), None);
    assert_eq!(check(4, "load", valid(-1_000)), Some("M048"));
    assert_eq!(check(3, "nobody", valid(-1_000)), Some("M049"));
    assert_eq!(check(3, "utility", valid(-1_000)), Some("M049"));
    assert_eq!(check(3, "sun", valid(1_000)), Some("M052"));
    assert_eq!(check(3, "load", MISSING), Some("M053"));
}

#[test]
fn the_last_ninety_six_intervals_can_be_corrected() {
    let mut venue = venue();
    for index in 0..100 {
        let cleared = venue
            .clear(interval(index), vec![load(12_000), sun(8_000)])
            .unwrap();
        venue.take(&cleared.clearing);
        let readings = [("load".into(), MISSING), ("sun".into(), valid(1_000))];
        venue
            .settle(&cleared.clearing, readings.into(), None, false)
            .unwrap();
    }
    let mut code = |index| {
        let corrected = venue.correct(index, &"load".into(), valid(-990));
        corrected.err().map(|e| e.code())
    };
    assert_eq!([3, 4, 99].map(&mut code), [Some("M048"), None, None]);
}
