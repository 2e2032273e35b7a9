use super::*;
use crate::chance::Chance;
use crate::fault::Coded;
use crate::meter::Reading;
use crate::venue::tests::{interval, venue};

/// The root, a hall, and a roof behind it, each cable of half an ohm.
fn rules(hall: Option<i64>, roof: Option<i64>, losses: bool) -> FeederRules {
    let line = |toward, capacity: Option<i64>| LineRules {
        toward,
        capacity: capacity.map(Mwh),
        resistance_milliohm: 500,
        voltage_millivolt: 400_000,
    };
    FeederRules {
        nodes: ["grid", "hall", "roof"].map(str::to_owned).into(),
        lines: vec![line(0, hall), line(1, roof)],
        at: [("load".into(), 1), ("sun".into(), 2)].into(),
        losses,
    }
}

fn order(agent: &str, side: Side, price: i64, quantity: i64) -> Order {
    Order::single(agent.into(), side, Price(price), Mwh(quantity))
}

/// 12 kW of sun on the roof, 5 kW of load in the hall, and the utility, for 15 s.
fn orders() -> Vec<Order> {
    vec![
        order("load", Side::Buy, 60_000, 20_833),
        order("utility", Side::Buy, 7_500, 100_000),
        order("utility", Side::Sell, 28_000, 100_000),
        order("sun", Side::Sell, 0, 50_000),
    ]
}

fn settled(venue: &mut Venue, clearing: &Clearing, missing: i64) -> Settlement {
    venue.take(clearing);
    let reading = |name: &str| {
        let energy = clearing.position(&name.into()).0 as i64 - missing;
        let energy = Mwh(energy);
        (AgentId::from(name), Reading::Valid { energy })
    };
    let readings = ["load", "sun", "utility"].map(reading).into();
    let settled = venue.settle(clearing, readings, None, false).unwrap();
    let sum: Money = settled.settlement.balances().into_values().sum();
    assert_eq!(sum, Money(0), "to the last unit");
    settled.settlement
}

/// Clears these orders; what is paid per unit by each (in the hall, on the roof, at the root), what
/// the roof gives, and what congestion and losses are left with.
fn check(rules: FeederRules, limits: &Limits) -> ([Option<i64>; 3], i128, [i128; 2]) {
    let mut venue = venue().on_feeder(Some(rules)).unwrap();
    let cleared = venue.clear_within(interval(0), orders(), limits).unwrap();
    assert!(cleared.failure.is_none() && cleared.refused.is_empty());
    let again = limits_of(&cleared.clearing.mechanism);
    let again = venue.clear_within(interval(0), orders(), &again).unwrap();
    assert_eq!(again, cleared, "its record leads to the same");
    let unit = |agent: &str| {
        let fill = (cleared.clearing.fills.iter()).find(|f| f.agent == agent.into())?;
        Some((fill.payment.0.abs() / i128::from(fill.quantity.0)) as i64)
    };
    let prices = ["load", "sun", "utility"].map(unit);
    let sun = cleared.clearing.position(&"sun".into()).0;
    let balances = settled(&mut venue, &cleared.clearing, 3).balances();
    let left = |account| -balances.get(&account).copied().unwrap_or_default().0;
    (
        prices,
        sun,
        [left(Account::Congestion), left(Account::Losses)],
    )
}

#[test]
fn a_full_line_parts_the_prices_and_its_rent_has_an_account() {
    let none = Limits::new();
    let wide = check(rules(None, None, false), &none);
    assert_eq!(
        wide,
        ([Some(7_500), Some(7_500), Some(7_500)], 50_000, [0, 0])
    );
    // The roof's line is full: the sun is what there is too much of, and gets its own price.
    let full = check(rules(None, Some(30_000), false), &none);
    let rent = 7_500 * 30_000;
    assert_eq!(
        full,
        ([Some(7_500), Some(0), Some(7_500)], 30_000, [rent, 0])
    );
    // Tightened for this once, it is the same as by its rules.
    let tightened = check(rules(None, None, false), &[(2, Mwh(30_000))].into());
    assert_eq!(tightened, full);
    // A limit only tightens.
    let loose = check(rules(None, Some(30_000), false), &[(2, Mwh(40_000))].into());
    assert_eq!(loose, full);
}

#[test]
fn losses_make_prices_and_half_of_what_they_cost_goes_back() {
    let ([load, sun, utility], energy, [congestion, losses]) =
        check(rules(None, None, true), &Limits::new());
    // 12 kW over half an ohm at 400 V: 2 · 0.5 · 12000 / 160000 = 7.5 % of 7500; 7 kW go on: 4.375 %.
    let (roof, hall) = (563, 328);
    assert_eq!(
        (load, sun, utility),
        (Some(7_500 - hall), Some(7_500 - hall - roof), Some(7_500))
    );
    assert_eq!((energy, congestion), (50_000, 0));
    let fees = i128::from(roof) * 50_000 + i128::from(hall) * 29_167;
    assert_eq!(losses, fees / 2);
}

#[test]
fn whatever_is_ordered_the_money_comes_to_nothing_and_no_line_is_overfilled() {
    let mut chance = Chance::seeded(11);
    let mut rents = 0;
    for index in 0..300 {
        let mut side = |agent, side, from, to| {
            order(
                agent,
                side,
                chance.within(from, to),
                chance.within(1, 60_000),
            )
        };
        let orders = vec![
            side("load", Side::Buy, -5_000, 60_000),
            side("sun", Side::Sell, -5_000, 30_000),
            side("utility", Side::Buy, 5_000, 9_000),
            side("utility", Side::Sell, 20_000, 30_000),
        ];
        let limit = Mwh(chance.within(0, 40_000));
        let rules = rules(Some(35_000), Some(30_000), index % 2 == 0);
        let mut venue = venue().on_feeder(Some(rules)).unwrap();
        let limits = [(2, limit)].into();
        let cleared = venue.clear_within(interval(0), orders, &limits).unwrap();
        let clearing = &cleared.clearing;
        assert_eq!(cleared.failure, None);
        let nodes = venue.feeder().unwrap().nodes_of(clearing).unwrap();
        for node in &nodes {
            let most = node.capacity.map_or(i128::MAX, |most| most.0.into());
            assert!(node.flow.0.abs() <= most, "{nodes:?}");
        }
        let balances = settled(&mut venue, clearing, chance.within(-9, 9)).balances();
        let congestion = balances.get(&Account::Congestion).copied();
        assert!(congestion.unwrap_or_default() <= Money(0), "{clearing:?}");
        rents += u32::from(congestion.is_some());
    }
    assert!(rents > 100, "{rents}");
}

#[test]
fn a_feeder_that_is_no_tree_and_a_name_that_is_none_are_refused() {
    let mut broken = rules(None, None, false);
    broken.lines[0].toward = 1;
    assert_eq!(venue().on_feeder(Some(broken)).unwrap_err().code(), "M120");
    let mut short = rules(None, None, false);
    short.nodes.pop();
    assert_eq!(venue().on_feeder(Some(short)).unwrap_err().code(), "M121");
    let mut stray = rules(None, None, false);
    stray.at.insert("stray".into(), 3);
    assert_eq!(venue().on_feeder(Some(stray)).unwrap_err().code(), "M120");
    for (name, limits) in [
        ("radial_feeder", 0),
        ("radial_feeder:2=@5", 0),
        ("radial_feeder:1=7@0,2=8@5", 2),
        ("radial_feeder:2=8", 0),
        ("radial_feeder:", 0),
        ("uniform_k_half", 0),
    ] {
        assert_eq!(limits_of(name).len(), limits, "{name}");
    }
}
