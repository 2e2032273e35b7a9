//! Market time that is faster than the bench, and gates that leave too little time.

use super::super::export::{MarketOfRun, What};
use super::*;

/// Ten times as fast: an interval of 150 s lasts 15 s on the bench.
pub(super) const FASTER: (&str, &str) = (
    "interval             = \"15s\"",
    "interval = \"150s\"\ntime_factor = 10",
);

#[test]
fn market_time_is_faster_its_energies_are_larger_and_the_bench_keeps_its_own() {
    let mut bench = Bench::new(FASTER, "");
    bench.run_until(10_000);
    let next = bench
        .desk
        .rules
        .interval(bench.desk.next)
        .expect("an interval");
    let taken = bench.desk.taken_for(&next);
    let open = (taken.interval, taken.begins, taken.gate);
    bench.run_until(66_000);
    bench.evidence.close(utc(66_000)).expect("closed");
    let folder = bench.folder.path();
    let replayed = replay(folder).expect("readable");
    assert!(
        matches!(replayed, MarketReplay::Identical { settled: 4, .. }),
        "{replayed:?}"
    );
    let books = books(folder).expect("readable");
    let of = |who: &str, interval: u64| {
        let mut all = books.deliveries.iter();
        let own = all.find(|d| d.interval == interval && d.participant == who);
        own.expect("settled").clone()
    };
    // 3 kW over 150 s of the market are 125 Wh, an interval lasts 15 s, and the first begins at 3 s as ever.
    let sun = of("pv1", 1);
    assert!(
        (125_000..=125_002).contains(&sun.metered_mwh.expect("metered")),
        "{sun:?}"
    );
    assert!((125_000..=125_002).contains(&sun.committed_mwh), "{sun:?}");
    assert_eq!((sun.from, sun.until), (at(18_000), at(33_000)));
    assert_eq!(books.deliveries.iter().map(|d| d.interval).max(), Some(3));
    // The gate closes a second of the bench before an interval.
    assert_eq!(open, (1, utc(18_000), utc(17_000)));
    let read = MarketOfRun::read(folder, utc(66_000)).expect("readable");
    let market = read.expect("a market");
    let meter = market.table(What::Meter);
    let row = meter
        .rows
        .iter()
        .find(|row| row[5].told().as_deref() == Some("pv1"));
    let row: Vec<_> = row
        .expect("metered")
        .iter()
        .map(|cell| cell.told().unwrap_or_default())
        .collect();
    let on_bench: f64 = row[7].parse().expect("a number");
    assert!(
        (on_bench * 10.0 - row[6].parse::<f64>().expect("a number")).abs() < 1e-6,
        "{row:?}"
    );
    assert_eq!(
        (row[2].as_str(), row[3].as_str()),
        (&*utc(3_000).unix_nanos().to_string(), "30000000000")
    );
    let entries = ledger_node::entries(folder).expect("a ledger");
    let minted = entries.filter(|entry| {
        let body = entry.as_ref().expect("an entry").atom.body();
        matches!(body.payload, Payload::Mint(_)) || !body.particles.is_empty()
    });
    assert_eq!(minted.count(), 0, "what never flowed is no credit");
}

#[test]
fn a_storage_is_so_much_larger_for_a_market_that_is_faster() {
    let charge = |change: (&str, &str)| {
        let mut bench = Bench::new(change, "");
        let device = bench.device("bat1");
        bench.image.observe(PointSample {
            device,
            point: Point::StateOfCharge,
            sample: model::Sample {
                measured_at: at(u64::from(u32::MAX)),
                // 0.06 % of 5 kWh above what is kept: 3 Wh.
                reading: Reading::Good(0.2006),
            },
        });
        bench.run_until(3_000);
        let device = bench.device("ess1");
        let seat = bench.desk.seats.iter().find(|seat| seat.device == device);
        let cleared = bench.desk.waiting.last().expect("cleared");
        cleared.clearing.position(&seat.expect("a seat").agent).0
    };
    let slow = charge(("pcc_max", "pcc_max"));
    let fast = charge(FASTER);
    assert!(slow > 0, "{slow}");
    // In the tenfold market the same charge is ten times as much energy, to a rounding.
    assert!((fast - slow * 10).abs() < 100, "{slow} {fast}");
}

/// What was noticed since it was asked last.
fn noticed(bench: &mut Bench) -> Vec<String> {
    bench.work(bench.now_ms + 100);
    bench.told(|event| match event {
        Event::Noticed { text, .. } => Some(text.clone()),
        _ => None,
    })
}

/// A bench that has begun to measure, with a record that took so long.
fn rehearsed(record_ms: u64) -> Bench {
    let mut bench = Bench::new(("", ""), "");
    let market = bench.rig.market.clone().expect("a market");
    // The rig leaves 10 ms to clear, 100 ms for both records and 420 ms for setpoints of the second before an interval.
    let record = Duration::from_millis(record_ms);
    bench.desk.rehearse(&bench.rig, &market, record);
    bench
}

#[test]
fn a_record_that_takes_longer_than_the_gate_leaves_is_told_with_the_figures() {
    for (took_ms, is_told) in [(5, false), (400, true)] {
        let mut bench = rehearsed(took_ms);
        let told = noticed(&mut bench);
        assert_eq!(!told.is_empty(), is_told, "{told:?}");
        assert!(
            told.iter()
                .all(|text| text.contains("800ms") && text.contains("1s")),
            "{told:?}"
        );
    }
}

#[test]
fn reads_that_say_that_setpoints_will_be_late_are_told_before_the_first_gate() {
    // A setpoint is written and read back: 100 ms of the cycle, 20 ms for its record and twice a read.
    for (read_ms, figure) in [(30, None), (380, None), (400, Some("920ms"))] {
        let mut bench = rehearsed(5);
        let [ess, load] = ["ess1", "load1"].map(|name| bench.device(name));
        let reads = || {
            // A load that the market does not command may take as long as it likes.
            vec![
                (ess, Duration::from_millis(read_ms)),
                (load, Duration::from_secs(3)),
            ]
        };
        // The first gate closes at 2 s, and devices have had until then to answer.
        bench
            .desk
            .hear_reads(at(1_800), || panic!("asked too early"));
        bench.desk.hear_reads(at(1_900), reads);
        bench.desk.hear_reads(at(2_000), || panic!("asked twice"));
        let told = noticed(&mut bench);
        assert_eq!(told.len(), usize::from(figure.is_some()), "{told:?}");
        assert!(
            told.iter().zip(figure).all(|(text, it)| text.contains(it)),
            "{told:?}"
        );
    }
}

#[test]
fn a_setpoint_that_takes_longer_than_the_rig_says_is_told_once_and_once_more_when_the_gate_is_too_short()
 {
    let mut bench = rehearsed(5);
    let [ess, load] = ["ess1", "load1"].map(|name| bench.device(name));
    let took = |bench: &mut Bench, device, ms| {
        bench.desk.hear_setpoint(device, Duration::from_millis(ms));
        noticed(bench)
    };
    // With the cycle in which the schedule is heard it is 420 ms.
    assert_eq!(took(&mut bench, ess, 320), [""; 0]);
    assert_eq!(took(&mut bench, load, 5_000), [""; 0]);
    let told = took(&mut bench, ess, 321);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("421ms") && told[0].contains("420ms"),
        "{told:?}"
    );
    assert_eq!(took(&mut bench, ess, 700), [""; 0]);
    let told = took(&mut bench, ess, 800);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("900ms until setpoints are heard"),
        "{told:?}"
    );
    assert_eq!(took(&mut bench, ess, 900), [""; 0]);
}
