//! Balancing energy at the desk: what was traded ahead stands, and what differs from it is activated.

use super::super::export::{Cell, MarketOfRun, What};
use super::*;

/// The interval of the rig, and what stands for it where real time balances.
const BALANCES: (&str, &str) = (
    "interval             = \"15s\"",
    "interval = \"15s\"\nreal_time = \"balancing_energy\"",
);
const AHEAD: &str = "[market.day_ahead]\nintervals = 2\ngate = \"5s\"\n";

/// What an account receives in an interval for something.
fn received(records: &[Payload], interval: u64, account: &str, what: &str) -> i128 {
    let lines = records.iter().filter_map(|record| match record {
        Payload::Settlement(s) if s.interval == interval => Some(&s.lines),
        _ => None,
    });
    let lines = lines.flatten();
    let own = lines.filter(|line| line.account == account && line.what == what);
    own.map(|line| line.amount.0).sum()
}

#[test]
fn what_was_sold_ahead_stands_and_who_lacks_it_pays_what_the_activation_costs() {
    let mut bench = Bench::new(BALANCES, AHEAD);
    // The block of intervals 2 and 3, from 33 s on, is traded at 28 s; the real-time gates are at 32 and 47 s.
    bench.run_until(29_000);
    bench.power_w.insert("pv1", 1_000.0);
    bench.power_w.insert("pcc", 5_000.0);
    bench.run_until(66_000);
    let folder = bench.folder.path().to_owned();
    let books = books(&folder).expect("readable");
    let of = |who: &str| {
        let own = books
            .deliveries
            .iter()
            .find(|d| d.interval == 2 && d.participant == who);
        let own = own.expect("delivered");
        (own.committed_mwh, own.metered_mwh.expect("metered"))
    };
    // 3 kW over 15 s were sold, a third of it is there; the utility had sold 5 kW ahead, for a plug too, and is
    // activated for 2 kW more.
    let (committed, metered) = of("pv1");
    assert!((12_500..12_502).contains(&committed), "{committed}");
    assert!((4_166..=4_168).contains(&metered), "{metered}");
    let (committed, metered) = of("utility");
    assert!((29_160..=29_170).contains(&committed), "{committed}");
    assert!((20_830..=20_836).contains(&metered), "{metered}");
    let read = MarketOfRun::read(&folder, utc(66_000)).expect("readable");
    let market = read.expect("a market");
    let clearing = market.table(What::Clearing);
    let rule: Vec<_> = clearing
        .rows
        .iter()
        .filter(|row| row[1] == Cell::Text("real_time".into()))
        .collect();
    assert!(
        rule.iter()
            .all(|row| row[5] == Cell::Text("balancing_energy".into())),
        "{rule:?}"
    );
    let setpoints = market.openadr().to_string();
    assert!(!setpoints.contains("dispatch-balancing"), "{setpoints}");
    let records = bench.close();
    let parity = 28_572;
    // The load has what it bought ahead; the sun keeps what it sold ahead and buys what it lacks.
    assert_eq!(
        received(&records, 2, "load1", "imbalance").abs() / parity,
        0
    );
    let lacks = received(&records, 2, "pv1", "imbalance");
    assert!(
        (-8_336 * parity..=-8_330 * parity).contains(&lacks),
        "{lacks}"
    );
    assert!(received(&records, 2, "pv1", "day_ahead") > 12_400 * 7_350);
    assert_eq!(
        received(&records, 2, "utility", "energy"),
        -received(&records, 2, "balancing", "energy")
    );
    let pool = ["energy", "imbalance"].map(|what| received(&records, 2, "balancing", what));
    assert_eq!(pool[0] + pool[1], 0);
    assert!(pool[0] < 0);
}

#[test]
fn a_contract_is_a_position_that_ahead_is_traded_around() {
    let contract = "[market.contract]\nsun = { buyer = \"load1\", seller = \"pv1\", energy = \"10Wh\", price_mc_per_kwh = 9000, first = 2, last = 3 }\n";
    let mut bench = Bench::new(BALANCES, &format!("{AHEAD}{contract}"));
    bench.run_until(66_000);
    let folder = bench.folder.path().to_owned();
    let books = books(&folder).expect("readable");
    let own = books
        .deliveries
        .iter()
        .find(|d| d.interval == 2 && d.participant == "pv1");
    let committed = own.expect("delivered").committed_mwh;
    // Ten watt-hours by contract and the other two and a half ahead, not twelve and a half once more.
    assert!((12_500..12_502).contains(&committed), "{committed}");
    let records = bench.close();
    assert_eq!(received(&records, 2, "pv1", "contract"), 9_000 * 10_000);
}

#[test]
fn who_lacks_what_it_sold_ahead_pays_the_penalty_beside_what_the_activation_costs() {
    let penalty = "[market.penalty]\ndeposit_mc = 1000000\n";
    let mut bench = Bench::new(BALANCES, &format!("{AHEAD}{penalty}"));
    bench.run_until(29_000);
    bench.power_w.insert("pv1", 1_000.0);
    bench.power_w.insert("pcc", 5_000.0);
    bench.run_until(66_000);
    let charged = bench.told(|event| match event {
        Event::PenaltyCharged {
            interval,
            participant,
            deviation_mwh,
            ..
        } => Some((*interval, participant.clone(), *deviation_mwh)),
        _ => None,
    });
    // 8334 mWh of 12500 are missing in each interval of the block; nobody else is out of its tolerance. Of the intervals
    // before the first block nobody could trade anything, and nobody has broken anything.
    let [(2, who, lacks), (3, again, _)] = charged.as_slice() else {
        panic!("{charged:?}")
    };
    assert_eq!((who.as_str(), again.as_str()), ("pv1", "pv1"));
    assert!((-8_336..=-8_332).contains(lacks), "{lacks}");
    let (lacks, records) = (*lacks, bench.close());
    let rate = records.iter().find_map(|record| match record {
        Payload::Terms(terms) if terms.interval == 2 => Some(terms.penalty_millicents_per_kwh),
        _ => None,
    });
    // The tolerance is 5 % of what it sold, and no less than a watt-hour.
    let beyond = i128::from(-lacks - 1_000) * i128::from(rate.expect("terms"));
    assert_eq!(received(&records, 2, "pv1", "penalty"), -beyond);
    assert_eq!(received(&records, 2, "penalties", "penalty"), beyond);
    let imbalance = received(&records, 2, "pv1", "imbalance");
    assert_eq!(
        imbalance,
        i128::from(lacks) * 28_572,
        "at the price of the activation, once"
    );
}

#[test]
fn a_storage_whose_sign_is_not_proved_does_not_balance() {
    let (from, to) = BALANCES;
    let checked = format!("{to}\nsign_check_percent = 5");
    for (change, bids) in [(to, true), (checked.as_str(), false)] {
        let mut bench = Bench::new((from, change), AHEAD);
        let device = bench.device("bat1");
        bench.image.observe(PointSample {
            device,
            point: Point::StateOfCharge,
            sample: model::Sample {
                measured_at: at(u64::from(u32::MAX)),
                reading: Reading::Good(0.5),
            },
        });
        bench.run_until(20_000);
        let records = bench.close();
        let found = records.iter().any(|record| match record {
            Payload::Order(order) => order.agent == "ess1" && order.interval < 2,
            _ => false,
        });
        assert_eq!(found, bids);
    }
}
