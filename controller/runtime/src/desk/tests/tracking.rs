//! Within an interval: what is told again of it, what cannot be delivered, and who may not trade.

use super::super::export::{Cell, MarketOfRun, What};
use super::exported::column;
use super::*;
use crate::evidence::CONTROLLER;

/// A bench whose storage holds the exchange, is half full and can do this, in watts.
fn bench(can: (f64, f64)) -> Bench {
    bench_of(("", ""), can)
}

/// The same, with a change of its rig.
fn bench_of(change: (&str, &str), can: (f64, f64)) -> Bench {
    let mut bench = Bench::new(change, "");
    bench.power_w.insert("pv1", 0.0);
    bench.power_w.insert("load1", -3_000.0);
    bench.power_w.insert("pcc", 0.0);
    bench.power_w.insert("ess1", 5_000.0);
    let storage = bench.device("ess1");
    bench.image.observe(PointSample {
        device: bench.device("bat1"),
        point: Point::StateOfCharge,
        sample: model::Sample {
            measured_at: at(u64::from(u32::MAX)),
            reading: Reading::Good(0.5),
        },
    });
    let (low, high) = can;
    let can = Bounds::between(ActivePower::from_watts(low), ActivePower::from_watts(high));
    bench.able = vec![(storage, can)];
    bench
}

impl Bench {
    /// What the schedules of an interval said of the exchange, in watts, one after the other.
    fn exchanges(&self, interval: u64) -> Vec<f64> {
        let schedules = self.ordered.iter().filter_map(|order| match order {
            Order::Schedule(schedule) if schedule.interval == interval => schedule.pcc,
            _ => None,
        });
        schedules.map(|p| p.as_watts().round()).collect()
    }
}

fn infeasible(event: &Event) -> Option<(u64, String, i64)> {
    match event {
        Event::CommitmentInfeasible {
            interval,
            device,
            missing_mwh,
            ..
        } => Some((*interval, device.clone(), *missing_mwh)),
        _ => None,
    }
}

#[test]
fn what_flowed_too_much_is_made_up_for_in_the_rest_of_the_interval() {
    let mut bench = bench((-10_000.0, 10_000.0));
    // The second interval runs from 18 s to 33 s; nothing is bought from the utility in it.
    bench.run_until(18_000);
    assert_eq!(bench.exchanges(1), [0.0]);
    // For five seconds two kilowatts flow that nobody has bought.
    bench.power_w.insert("pcc", 2_000.0);
    bench.run_until(23_000);
    bench.power_w.insert("pcc", -1_000.0);
    bench.run_until(31_000);
    let told = bench.exchanges(1);
    // 1.5 kWs on the way to 2 kW in the 14 s left, 2 kWs more in the 13 s left; every second once.
    let first: Vec<f64> = told.iter().take(3).copied().collect();
    assert_eq!(first, [0.0, -107.0, -269.0]);
    // 10 kWs in the 10 s left are 1 kW, which it gives and which then stays as it is.
    let last = told.last().copied().unwrap_or_default();
    assert!((last + 1_000.0).abs() < 100.0, "{told:?}");
    // In the last tenth nothing is changed any more.
    bench.power_w.insert("pcc", 9_000.0);
    bench.run_until(32_900);
    assert_eq!(bench.exchanges(1).len(), told.len());
    assert_eq!(bench.told(infeasible), []);
    bench.close();
}

#[test]
fn market_time_that_is_faster_makes_up_for_the_same() {
    let mut bench = bench_of(super::faster::FASTER, (-10_000.0, 10_000.0));
    bench.run_until(18_000);
    bench.power_w.insert("pcc", 2_000.0);
    bench.run_until(23_000);
    bench.power_w.insert("pcc", -1_000.0);
    bench.run_until(31_000);
    let told = bench.exchanges(1);
    // As on a bench whose market takes its time: 10 kWs in the 10 s left are 1 kW.
    let last = told.last().copied().unwrap_or_default();
    assert!((last + 1_000.0).abs() < 100.0, "{told:?}");
    assert_eq!(bench.told(infeasible), []);
    bench.close();
}

#[test]
fn a_meter_that_has_fallen_silent_and_an_interval_that_is_excused_change_nothing() {
    let mut bench = bench((-10_000.0, 10_000.0));
    bench.run_until(18_000);
    bench.power_w.insert("pcc", 2_000.0);
    bench.run_until(20_000);
    let told = bench.exchanges(1).len();
    assert_eq!(told, 3);
    bench.power_w.remove("pcc");
    bench.run_until(27_000);
    // What it held for three seconds counts, and nothing after that.
    assert_eq!(bench.exchanges(1).len(), told + 3);
    // Whoever need not deliver any more is told what was cleared, once.
    bench.power_w.insert("pcc", 5_000.0);
    bench.connected = false;
    bench.run_until(31_000);
    assert_eq!(bench.exchanges(1).len(), told + 4);
    assert_eq!(bench.exchanges(1).last(), Some(&0.0));
    bench.close();
}

#[test]
fn what_cannot_be_delivered_any_more_is_told_once_and_stands_on_the_ledger() {
    // The storage sells 5 kW at the gate, and when the interval begins it can give no more than 2.
    let mut bench = bench((-10_000.0, 10_000.0));
    bench.power_w.insert("ess1", 2_000.0);
    bench.power_w.insert("load1", -5_000.0);
    bench.power_w.insert("pcc", 3_000.0);
    bench.run_until(17_500);
    let storage = bench.device("ess1");
    let [low, high] = [-10_000.0, 2_000.0].map(ActivePower::from_watts);
    bench.able = vec![(storage, Bounds::between(low, high))];
    bench.run_until(18_000);
    bench.told(|_| None::<()>);
    bench.run_until(32_000);
    let told = bench.told(infeasible);
    // In each of the 15 s 3 kW come from the utility that nobody has bought there: 12.5 Wh too much.
    let [(interval, device, missing)] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!((*interval, device.as_str()), (1, "utility"));
    assert!((missing + 12_500).abs() < 300, "{missing}");
    let folder = bench.folder.path().to_owned();
    let records = bench.records();
    let found = records.iter().filter_map(|record| match record {
        Payload::Infeasible(found) if found.interval == 1 => Some(found),
        _ => None,
    });
    let found: Vec<_> = found.collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].missing_milliwatt_hours, *missing);
    // Others read it as a table, and which record says so.
    let read = MarketOfRun::read(&folder, utc(40_000)).expect("readable");
    let market = read.expect("a market");
    let table = market.table(What::Infeasible);
    let of = |name: &str| {
        column(&table, name)[column(&table, "interval")
            .iter()
            .position(|it| it.as_deref() == Some("1"))
            .expect("a row")]
        .clone()
        .unwrap_or_default()
    };
    assert_eq!(of("whose"), "utility");
    assert_eq!(of("stage"), "real_time");
    assert_eq!(of("begins_market_ns"), "18000000000");
    assert_eq!(of("missing_mwh"), missing.to_string());
    assert_eq!(of("committed_mwh"), "0");
    assert!(
        of("why").contains("can give -10 kW..2 kW now"),
        "{}",
        of("why")
    );
    let refs = column(&market.table(What::LedgerRefs), "record");
    assert!(refs.contains(&Some("infeasible".into())), "{refs:?}");
}

#[test]
fn what_cannot_be_delivered_shows_no_more_of_participants_than_the_rig_allows() {
    let data = "[regulation]\ndata = { names = \"pseudonyms\", salt = \"0123456789abcdef\", resolution = \"1Wh\" }";
    let mut bench = Bench::new(("", ""), data);
    let mut event = Event::CommitmentInfeasible {
        interval: 1,
        device: "ess1".into(),
        committed_mwh: 12_345,
        missing_mwh: -678,
        why: "it would have to give 1.2 kW".into(),
    };
    let protection = bench.desk.rules.protection.clone().expect("protected");
    protection.event(&mut event);
    let pseudonym = protection.name("ess1").to_owned();
    assert!(pseudonym.starts_with("p-"));
    let hidden = |event: &Event| match event {
        Event::CommitmentInfeasible {
            device,
            committed_mwh,
            missing_mwh,
            why,
            ..
        } => Some((device.clone(), *committed_mwh, *missing_mwh, why.clone())),
        _ => None,
    };
    let as_shown = (pseudonym.clone(), 12_000, -1_000, String::new());
    assert_eq!(hidden(&event), Some(as_shown));
    let mut corrected = Event::MarketCorrected {
        interval: 1,
        participant: "ess1".into(),
        energy_mwh: 12_345,
        amount_u: "345678900".into(),
    };
    protection.event(&mut corrected);
    let told = format!("{corrected:?}");
    assert!(
        told.contains(&pseudonym)
            && told.contains("energy_mwh: 12000")
            && !told.contains("3456789"),
        "{told}"
    );
    bench.run_until(2_500);
    let record = Payload::Infeasible(ledger_core::payload::Infeasible {
        device: "ess1".into(),
        interval: 0,
        committed_milliwatt_hours: 12_345,
        missing_milliwatt_hours: -678,
        why: "it would have to give 1.2 kW".into(),
    });
    let draft = bench.evidence.draft(CONTROLLER, record);
    let noted = bench.evidence.note(utc(2_600), vec![draft]);
    noted.expect("the ledger goes on");
    bench.evidence.close(utc(2_700)).expect("closed");
    let read = MarketOfRun::read(bench.folder.path(), utc(3_000)).expect("readable");
    let table = read.expect("a market").table(What::Infeasible);
    let cells: Vec<_> = table.rows[0][5..].iter().map(Cell::told).collect();
    assert_eq!(
        cells,
        [
            Some(protection.name("ess1").to_owned()),
            Some("12000".into()),
            Some("-1000".into()),
            None
        ]
    );
}

/// A bench whose rig asks for the check of signs.
fn checked() -> Bench {
    let from = "interval             = \"15s\"";
    let to = "interval = \"15s\"\nsign_check_percent = 5";
    let mut bench = Bench::new((from, to), "");
    let storage = bench.device("ess1");
    bench.able = vec![(
        storage,
        Bounds::between(
            ActivePower::from_watts(-10_000.0),
            ActivePower::from_watts(10_000.0),
        ),
    )];
    bench.power_w.insert("ess1", 0.0);
    bench
}

/// Runs until the storage was asked for both sides; its meter says `factor` times what it is asked for.
/// What became of it.
fn check_sign(factor: f64) -> (Vec<f64>, Vec<String>, bool) {
    let mut bench = checked();
    let mut asked = Vec::new();
    while bench.now_ms < 16_500 {
        bench.run_until(bench.now_ms + 500);
        let probes = bench.ordered.iter().filter_map(|order| match order {
            Order::Probe { p, .. } => Some(p.as_watts()),
            _ => None,
        });
        asked = probes.collect();
        let now = asked.last().copied().unwrap_or_default();
        bench.power_w.insert("ess1", now * factor);
    }
    let told = bench.told(|event| match event {
        Event::SignAgreed { device, .. } => Some(format!("{device:?} agreed")),
        Event::SignRefused { why, .. } => Some(why[..6].to_owned()),
        _ => None,
    });
    let trades = bench.desk.sign_lets(&"ess1".into()).is_ok();
    (asked, told, trades)
}

#[test]
fn a_storage_trades_once_its_meter_has_followed_its_setpoint_both_ways() {
    for (factor, verdict, trades) in [
        (1.0, "", true),
        (0.95, "", true),
        (-1.0, "[M061]", false),
        (0.0, "[M062]", false),
    ] {
        let (asked, told, found) = check_sign(factor);
        assert_eq!(asked, [500.0, -500.0, 0.0], "{factor}");
        assert_eq!(found, trades, "{factor}");
        let told: Vec<&str> = told
            .iter()
            .map(String::as_str)
            .filter(|t| t.starts_with("[M"))
            .collect();
        let expected: &[&str] = if verdict.is_empty() { &[] } else { &[verdict] };
        assert_eq!(told, expected, "{factor}");
    }
}

#[test]
fn the_sun_that_takes_and_a_load_that_gives_do_not_trade() {
    let mut bench = checked();
    bench.power_w.insert("pv1", -2_000.0);
    bench.run_until(1_500);
    assert_eq!(
        bench.desk.sign_lets(&"pv1".into()).map_err(|it| it.code()),
        Err("M061")
    );
    assert_eq!(bench.desk.sign_lets(&"load1".into()), Ok(()));
    // Nobody has armed the bench yet, or the storage is still tried.
    assert_eq!(
        bench.desk.sign_lets(&"ess1".into()).map_err(|it| it.code()),
        Err("M063")
    );
    bench.run_until(2_500);
    let silent: Vec<String> = bench
        .told(silences)
        .into_iter()
        .map(|(_, who)| who)
        .collect();
    assert!(
        silent.contains(&"pv1".to_owned()) && silent.contains(&"ess1".to_owned()),
        "{silent:?}"
    );
    let records = bench.close();
    let ordered = |who: &str| {
        let mut all = records.iter();
        all.any(|record| matches!(record, Payload::Order(order) if order.agent == who))
    };
    assert!(ordered("load1") && !ordered("pv1") && !ordered("ess1"));
}

/// What the storage offers and asks for in interval 1, in milliwatt-hours, when it does `now` watts at its gate and
/// ramps by `ramp` watts a second.
fn ordered_at(now: f64, ramp: f64, change: (&str, &str)) -> (i64, i64) {
    let mut bench = bench_of(change, (-8_000.0, 10_000.0));
    let storage = bench.device("ess1");
    bench.control.devices[storage.index()].rating.ramp =
        quantities::PowerRamp::from_watts_per_second(ramp);
    bench.power_w.insert("ess1", now);
    bench.run_until(17_500);
    let records = bench.close();
    let of = |side| {
        let own = records.iter().find_map(|record| match record {
            Payload::Order(order) if (&*order.agent, order.interval) == ("ess1", 1) => (order.side
                == side)
                .then(|| order.steps.iter().map(|it| it.quantity_milliwatt_hours)),
            _ => None,
        });
        own.map_or(0, Iterator::sum)
    };
    (of(RecordedSide::Sell), of(RecordedSide::Buy))
}

#[test]
fn a_storage_orders_no_more_than_its_ramp_lets_it_deliver_from_where_it_is() {
    let same = ("pcc_max", "pcc_max");
    for (now, ramp, change, expected) in [
        // As good as at once: 10 kW for 15 s are 41666 mWh, and 8 kW, what it can take now, 33333.
        (0.0, 1e9, same, (41_666, 33_333)),
        // From nothing it comes to 7.5 kW either way: a triangle of 56250 J.
        (0.0, 500.0, same, (15_625, 15_625)),
        // It gives 5 kW and comes to ten after 10 s: 75 and 50 kJ. Down it comes to -2.5 kW, and has given more than taken.
        (5_000.0, 500.0, same, (34_722, 0)),
        // It takes 2 kW and comes to ten after 12 s, 48 and 30 kJ, or to -8 after 6 s, 30 and 72 kJ.
        (-2_000.0, 1_000.0, same, (21_666, 28_333)),
        // In a market that is ten times as fast an interval lasts 150 s and a ramp is a tenth.
        (0.0, 500.0, super::faster::FASTER, (156_250, 156_250)),
    ] {
        let (offers, bids) = ordered_at(now, ramp, change);
        let near = |found: i64, expected: i64| (found - expected).abs() <= 3 + expected / 2_000;
        assert!(
            near(offers, expected.0) && near(bids, expected.1),
            "{now} W, {ramp} W/s: {offers} and {bids}, not {expected:?}"
        );
    }
}
