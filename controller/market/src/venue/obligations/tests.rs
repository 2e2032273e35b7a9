use super::*;
use crate::book::Capability;
use crate::fault::Coded;
use crate::interval::Interval;
use crate::venue::{AheadRules, IntradayRules, Settled, Venue, VenueRules, ahead};

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
        ahead: Some(AheadRules {
            mechanism: "uniform_k_half".into(),
        }),
        regulation: None,
        contracts: Vec::new(),
        intraday: Some(IntradayRules { intervals: 4 }),
        reserve: None,
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

/// Trades `energy` of an interval ahead from plant to load, at 17500; the codes of what is refused.
fn ahead_of(venue: &mut Venue, index: u64, energy: i64) -> Vec<&'static str> {
    let start = MINUTE_NS * i64::try_from(index).unwrap();
    let product = ahead::product(Interval::new(index, start, MINUTE_NS).unwrap());
    let orders = vec![
        Order::single("plant".into(), Side::Sell, Price(10_000), Mwh(energy)).ranked(0),
        Order::single("load".into(), Side::Buy, Price(25_000), Mwh(energy)).ranked(1),
    ];
    let cleared = venue.clear_ahead(product, orders).unwrap().unwrap();
    venue.take_ahead(&cleared.clearing);
    cleared.refused.iter().map(Coded::code).collect()
}

/// What is left of the deposits of plant and load.
fn left(venue: &Venue) -> (i128, i128) {
    let terms = venue.terms().unwrap();
    let of = |name: &str| terms.accounts[&AgentId::from(name)].1.0;
    (of("plant"), of("load"))
}

#[test]
fn what_is_traded_ahead_is_held_at_its_worst_until_real_time_has_a_price() {
    let deposit = 100_000_000;
    let mut with = venue(deposit);
    assert!(ahead_of(&mut with, 3, 500).is_empty());
    // The plant has 500 at 17500 and buys them back at 40000 at worst, the load sells them at nothing.
    let worst = 500 * (40_000 - 17_500);
    assert_eq!(left(&with), (deposit - worst, deposit - 500 * 17_500));
    // The same again in the next interval: both are held.
    assert!(ahead_of(&mut with, 4, 500).is_empty());
    assert_eq!(left(&with), (deposit - 2 * worst, deposit - 1_000 * 17_500));
    // In real time it comes to the same price, and then nothing is left to lose of the first.
    let mut without = venue(deposit);
    interval(&mut with, 3, 1_000, delivers(1_000), false);
    interval(&mut without, 3, 1_000, delivers(1_000), false);
    let (plant, load) = left(&without);
    assert_eq!(left(&with), (plant - worst, load - 500 * 17_500));
}

#[test]
fn an_order_ahead_or_within_the_day_that_no_deposit_covers_is_refused() {
    // 500 at the cap and the penalty of 475 beyond the tolerance.
    let needed = 500 * 40_000 + 475 * 12_500;
    for (deposit, codes) in [(needed, vec![]), (needed - 1, vec!["M154"])] {
        assert_eq!(ahead_of(&mut venue_of(&["plant"], deposit), 3, 500), codes);
        let mut venue = venue_of(&["plant"], deposit);
        let product = Interval::new(3, 3 * MINUTE_NS, MINUTE_NS).unwrap();
        let sell = |venue: &mut Venue, index: u64, energy| {
            let order = Order::single("plant".into(), Side::Sell, Price(20_000), Mwh(energy));
            let interval = Interval { index, ..product };
            venue
                .enter_intraday(interval, order)
                .err()
                .map(|e| e.code())
        };
        assert_eq!(sell(&mut venue, 3, 500), codes.first().copied());
        if codes.is_empty() {
            // What rests is held, so there is nothing left for another interval, until it is taken back.
            assert_eq!(left_of_plant(&venue), 0);
            assert_eq!(sell(&mut venue, 4, 1), Some("M154"));
            // Another order in its place needs no second cover.
            assert_eq!(sell(&mut venue, 3, 500), None);
            venue.withdraw_intraday(3, &"plant".into(), Side::Sell);
            assert_eq!(left_of_plant(&venue), deposit);
            assert_eq!(sell(&mut venue, 4, 1), None);
        }
    }
}

fn left_of_plant(venue: &Venue) -> i128 {
    let terms = venue.terms().unwrap();
    terms.accounts[&AgentId::from("plant")].1.0
}

#[test]
fn a_penalty_is_owed_for_what_is_metered_beyond_the_last_position() {
    for (delivered, beyond) in [(1_000, 0), (949, 1), (500, 450)] {
        let mut venue = venue(100_000_000);
        ahead_of(&mut venue, 3, 500);
        let (settled, _) = interval(&mut venue, 3, 1_000, delivers(delivered), false);
        let charged = settled.consequences.charged.iter();
        let charged: i128 = charged.map(|(.., charge)| charge.0).sum();
        assert_eq!(charged, beyond * 12_500, "{delivered}");
    }
}

#[test]
fn what_rests_within_the_day_is_held_until_it_trades_and_its_trade_until_it_is_settled() {
    let deposit = 100_000_000;
    let mut venue = venue(deposit);
    let product = Interval::new(3, 3 * MINUTE_NS, MINUTE_NS).unwrap();
    let order =
        |agent: &str, side, energy| Order::single(agent.into(), side, Price(20_000), Mwh(energy));
    venue
        .enter_intraday(product, order("plant", Side::Sell, 500))
        .unwrap();
    venue
        .enter_intraday(product, order("load", Side::Buy, 500))
        .unwrap();
    // The bid has traded at once; what rested stays held until the gate beside what was traded.
    let (plant, load) = left(&venue);
    assert_eq!(load, deposit - 500 * 20_000);
    assert_eq!(
        plant,
        deposit - 500 * (40_000 - 20_000) - (500 * 40_000 + 475 * 12_500)
    );
    interval(&mut venue, 3, 1_000, delivers(1_000), false);
    // Settled: 500 at 20000 and 500 at 17500, nothing held.
    let earned = 500 * 20_000 + 500 * 17_500;
    assert_eq!(left(&venue), (deposit + earned, deposit - earned));
}

#[test]
fn who_is_metered_late_owes_the_penalty_of_its_interval_and_its_deposit_pays() {
    let deposit = 100_000_000;
    let plant = |reading| {
        let mut venue = venue(deposit);
        let (settled, _) = interval(&mut venue, 3, 1_000, reading, false);
        let charged = settled.consequences.charged.len();
        (venue, charged)
    };
    let (in_time, charged) = plant(delivers(700));
    assert_eq!(charged, 1);
    let (mut late, charged) = plant(Reading::Missing { coverage_ppm: 0 });
    assert_eq!(charged, 0, "a missing meter counts as delivery");
    let correction = late.correct(3, &"plant".into(), delivers(700)).unwrap();
    let pool = correction.balances()[&Account::Penalties];
    assert_eq!(pool, Money(-250 * 12_500));
    // 300 were not delivered, at import parity or at the price of the interval, by the utility's meter.
    let price = correction.imbalance_price.unwrap().0;
    let (of_plant, _) = left(&late);
    let earned = 1_000 * 17_500 - 300 * i128::from(price.0) - 250 * 12_500;
    assert_eq!(of_plant, deposit + earned);
    assert!(left(&in_time).0 < deposit + 1_000 * 17_500);
}
