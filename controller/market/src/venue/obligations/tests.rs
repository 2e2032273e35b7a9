use super::*;
use crate::book::Capability;
use crate::fault::Coded;
use crate::interval::Interval;
use crate::venue::{Settled, Venue, VenueRules};

const MINUTE_NS: i64 = 60_000_000_000;

/// A venue of a plant and a load beside a utility, at one price of 17500 while all deliver.
fn venue(deposit: i128) -> Venue {
    venue_of(&["load", "plant"], deposit)
}

/// The same with these bound.
fn venue_of(bound: &[&str], deposit: i128) -> Venue {
    let capability = Capability {
        inject_max: MwhTotal(1_000),
        withdraw_max: MwhTotal(1_000),
    };
    let large = Capability {
        inject_max: MwhTotal(9_000),
        withdraw_max: MwhTotal(9_000),
    };
    let both = ["load", "plant"];
    let listed = both.map(|name| (AgentId::from(name), capability));
    let obligations = ObligationRules {
        penalty: PenaltyRules {
            tolerance: Mwh(10),
            ..PenaltyRules::DEFAULT
        },
        standing: StandingRules {
            suspended_for: 2,
            ..StandingRules::DEFAULT
        },
        forecast_error_ppm: 0,
        deposits: (bound.iter())
            .map(|name| (AgentId::from(*name), Money(deposit)))
            .collect(),
    };
    let rules = VenueRules {
        mechanism: "uniform_k_half".into(),
        book: BookRules {
            capabilities: Some(
                listed
                    .into_iter()
                    .chain([("utility".into(), large)])
                    .collect(),
            ),
            ..BookRules::bounded(Price(0), Price(40_000), 1)
        },
        utility: "utility".into(),
        parity: Parity {
            import: Price(30_000),
            export: Price(5_000),
        },
        indivisible: BTreeSet::new(),
        obligations: Some(obligations),
        ahead: None,
        regulation: None,
        contracts: Vec::new(),
        intraday: None,
    };
    Venue::new(rules).unwrap()
}

/// Trades `energy` from plant to load; the plant delivers what it is given, the load takes all.
/// Also the codes of the refused orders.
fn interval(
    venue: &mut Venue,
    index: u64,
    energy: i64,
    delivered: Reading,
    excused: bool,
) -> (Settled, Vec<&'static str>) {
    let order = |rank, agent: &str, side, price, energy| {
        Order::single(agent.into(), side, Price(price), Mwh(energy)).ranked(rank)
    };
    let orders = vec![
        order(0, "plant", Side::Sell, 10_000, energy),
        order(1, "load", Side::Buy, 25_000, energy),
        order(2, "utility", Side::Sell, 30_000, 9_000),
        order(3, "utility", Side::Buy, 5_000, 9_000),
    ];
    let start = MINUTE_NS * i64::try_from(index).unwrap();
    let cleared = venue
        .clear(Interval::new(index, start, MINUTE_NS).unwrap(), orders)
        .unwrap();
    let codes = cleared.refused.iter().map(Coded::code).collect();
    venue.take(&cleared.clearing);
    let bought = cleared.clearing.position(&"load".into());
    let load = Reading::Valid {
        energy: Mwh(bought.0 as i64),
    };
    let missing = delivered.energy().map_or(0, |e| -(bought.0 as i64) - e.0);
    let readings = [("load".into(), load), ("plant".into(), delivered)].into();
    let utility = Reading::Valid {
        energy: Mwh(missing),
    };
    let settled = venue
        .settle(&cleared.clearing, readings, Some(utility), excused)
        .unwrap();
    let sum: Money = settled.settlement.balances().into_values().sum();
    assert_eq!(sum, Money(0), "interval {index}");
    (settled, codes)
}

fn delivers(energy: i64) -> Reading {
    Reading::Valid {
        energy: Mwh(energy),
    }
}

#[test]
fn who_delivers_less_than_its_tolerance_allows_pays_for_the_rest_and_the_rest_only() {
    // The penalty begins at half of what lies between the parities.
    for (delivered, excused, beyond) in [
        (delivers(1_000), false, 0),
        // 5 % of 1000 is free.
        (delivers(950), false, 0),
        (delivers(949), false, 1),
        (delivers(700), false, 250),
        (delivers(1_200), false, 150),
        (delivers(700), true, 0),
        (Reading::Missing { coverage_ppm: 0 }, false, 0),
    ] {
        let mut venue = venue(1_000_000_000);
        let before = venue.terms().unwrap();
        assert_eq!(before.penalty.rate, Price(12_500));
        let (settled, _) = interval(&mut venue, 0, 1_000, delivered, excused);
        let charge = Money(12_500 * beyond);
        let lines = settled.settlement.lines.iter();
        let fines: Vec<(&Account, Money)> = lines
            .filter(|line| line.item == Item::Penalty)
            .map(|line| (&line.account, line.amount))
            .collect();
        let plant = Account::Participant("plant".into());
        let expected = match beyond {
            0 => vec![],
            _ => vec![(&plant, charge), (&Account::Penalties, -charge)],
        };
        assert_eq!(fines, expected, "{delivered:?} {excused}");
        // The deposit has taken part in everything else, too.
        let paid = settled.settlement.balances()[&plant];
        let left = venue.terms().unwrap().accounts[&AgentId::from("plant")].1;
        assert_eq!(left, Money(1_000_000_000) + -paid);
    }
}

#[test]
fn a_habit_leads_to_calls_caps_and_a_suspension_that_ends() {
    let mut venue = venue(1_000_000_000);
    let mut seen = Vec::new();
    for index in 0..12 {
        // It orders no more than is accepted of it, as a desk's own agents do.
        let most = venue.accepted(&"plant".into(), Side::Sell).unwrap();
        let energy = (most.0 as i64).max(1);
        let delivered = delivers(if index < 8 { 0 } else { energy });
        let (settled, codes) = interval(&mut venue, index, energy, delivered, false);
        for (agent, _, now) in &settled.consequences.changed {
            assert_eq!(agent.as_str(), "plant");
            seen.push((index, *now));
        }
        let suspended = (8..10).contains(&index);
        let expected: &[&str] = if suspended { &["M152"] } else { &[] };
        assert_eq!(codes, expected, "interval {index}");
        let half = (5..8).contains(&index) || index == 10;
        assert_eq!(
            most.0,
            if suspended {
                0
            } else if half {
                500
            } else {
                1_000
            }
        );
    }
    let expected = [
        (2, Standing::Called { breaches: 3 }),
        (4, Standing::Capped { breaches: 5 }),
        (7, Standing::Suspended { intervals: 2 }),
        (9, Standing::Capped { breaches: 5 }),
        (10, Standing::Called { breaches: 4 }),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn the_penalty_follows_how_often_commitments_are_broken() {
    let mut venue = venue(1_000_000_000);
    let rate = |venue: &Venue| venue.terms().unwrap().penalty.rate.0;
    let first = rate(&venue);
    interval(&mut venue, 0, 1_000, delivers(0), false);
    let broken = rate(&venue);
    assert!(broken > first, "{first} {broken}");
    for index in 1..5 {
        interval(&mut venue, index, 1_000, delivers(1_000), false);
    }
    assert!(rate(&venue) < broken, "{broken} {}", rate(&venue));
}

#[test]
fn what_a_deposit_does_not_cover_is_not_traded() {
    // An offer of 1000 could cost the cap of 40000 and the penalty of 12500 beyond 50.
    let enough = 1_000 * 40_000 + 950 * 12_500;
    for (deposit, expected) in [(enough, vec![]), (enough - 1, vec!["M154"])] {
        // The load's worst case is smaller.
        let (_, codes) = interval(&mut venue(deposit), 0, 1_000, delivers(1_000), false);
        assert_eq!(codes, expected, "{deposit}");
    }
    // While an interval is not settled its worst case is held back.
    let mut venue = venue(2 * enough - 20_000_000);
    let orders = || {
        let plant = Order::single("plant".into(), Side::Sell, Price(10_000), Mwh(1_000));
        let utility = Order::single("utility".into(), Side::Buy, Price(10_000), Mwh(1_000));
        vec![plant, utility.ranked(1)]
    };
    let of = |index: u64| {
        Interval::new(index, MINUTE_NS * i64::try_from(index).unwrap(), MINUTE_NS).unwrap()
    };
    let first = venue.clear(of(0), orders()).unwrap();
    venue.take(&first.clearing);
    let second = venue.clear(of(1), orders()).unwrap();
    let codes: Vec<&str> = second.refused.iter().map(Coded::code).collect();
    assert_eq!(codes, ["M154"]);
}

#[test]
fn who_is_not_bound_needs_no_cover_and_pays_no_penalty() {
    for (bound, fines) in [(&["load"][..], 0), (&["load", "plant"][..], 2)] {
        let mut venue = venue_of(bound, 1_000_000_000);
        let (settled, codes) = interval(&mut venue, 0, 1_000, delivers(0), false);
        let lines = settled.settlement.lines.iter();
        let found = lines.filter(|line| line.item == Item::Penalty).count();
        assert_eq!((found, codes.len()), (fines, 0), "{bound:?}");
    }
}
