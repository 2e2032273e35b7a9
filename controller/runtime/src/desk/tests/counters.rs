//! What the counters of a meter say of the time in which nobody heard it.

use super::*;

/// Runs to a second; the plant gives these watts, and its meter is heard unless it `is_silent`. Its counter, in
/// watt-hours, stands at `counted`.
fn plant(bench: &mut Bench, until_s: u64, watts: f64, is_silent: bool, counted: &mut f64) {
    while bench.now_ms < until_s * 1_000 {
        bench.power_w.insert("pv1", watts);
        if is_silent {
            bench.power_w.remove("pv1");
        }
        bench.run_until(bench.now_ms + 500);
        *counted += watts * 0.5 / 3_600.0;
        if !is_silent {
            let sample = PointSample {
                device: bench.device("pv1"),
                point: Point::EnergyExport,
                sample: model::Sample {
                    measured_at: at(bench.now_ms),
                    reading: Reading::Good(1_000.0 + *counted),
                },
            };
            bench.desk.observe(&[sample]);
        }
    }
}

#[test]
fn a_meter_that_was_away_is_asked_by_its_counter_and_what_was_settled_is_settled_again() {
    let mut bench = Bench::new(("", ""), "");
    let mut counted = 0.0;
    plant(&mut bench, 20, 3_000.0, false, &mut counted);
    // Interval 1, from 18 to 33 s, is settled at 34 s by what was traded: nobody has heard the meter.
    plant(&mut bench, 44, 6_000.0, true, &mut counted);
    let doubts = |event: &Event| match event {
        Event::MeterDoubted {
            interval,
            meter,
            instead,
            ..
        } if meter == "pv1" => Some((*interval, instead.contains("counter"))),
        _ => None,
    };
    assert_eq!(bench.told(doubts), [(1, false)]);
    plant(&mut bench, 65, 3_000.0, false, &mut counted);
    let corrected = |event: &Event| match event {
        Event::MarketCorrected {
            interval,
            participant,
            energy_mwh,
            ..
        } => Some((*interval, participant.clone(), *energy_mwh)),
        Event::MeterDoubted { .. } => doubts(event).map(|(interval, counted)| {
            assert!(counted, "interval {interval}");
            (interval, "doubted".to_owned(), 0)
        }),
        _ => None,
    };
    let told = bench.told(corrected);
    // Interval 2 ends at 48 s, after the meter is back, and is settled by the counter at once.
    let [(1, who, energy), (2, doubted, 0)] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!((who.as_str(), doubted.as_str()), ("pv1", "doubted"));
    // Two seconds of 3 kW and thirteen of 6 are 84 kJ. The half second in which the plant changes is spread as well.
    assert!((energy - 23_333).abs() < 300, "{energy}");
    let books = books(bench.folder.path()).expect("readable");
    let of = |index: u64| {
        let mut own = books.deliveries.iter();
        let own = own.find(|d| d.interval == index && d.participant == "pv1");
        own.and_then(|d| d.metered_mwh).expect("metered")
    };
    assert_eq!(of(1), *energy);
    // Eleven seconds of 6 kW and four of 3 kW are 78 kJ.
    assert!((of(2) - 21_666).abs() < 300, "{}", of(2));
    let key = ("correction".to_owned(), "pv1".to_owned());
    assert_eq!(books.booked.get(&key).map(|(count, _)| *count), Some(1));
    bench.close();
}

#[test]
fn two_who_share_a_plant_are_settled_again_by_their_parts_and_a_reading_by_hand_stands() {
    let shared = (
        "pv1   = { kind = \"pv\" }",
        "east = { device = \"pv1\", share_ppm = 600000, kind = \"pv\" }\nwest = { device = \"pv1\", share_ppm = 400000, kind = \"pv\" }",
    );
    let mut bench = Bench::new(shared, "");
    let mut counted = 0.0;
    plant(&mut bench, 20, 3_000.0, false, &mut counted);
    plant(&mut bench, 36, 3_000.0, true, &mut counted);
    let reading = LateReading {
        participant: "west".into(),
        interval: 1,
        energy_mwh: 4_000,
    };
    let mut answer = bench.desk.bids().push_reading(reading).expect("room");
    bench.work(bench.now_ms);
    assert!(answer.try_recv().expect("answered").is_ok());
    plant(&mut bench, 40, 3_000.0, false, &mut counted);
    let corrected = bench.told(|event| match event {
        Event::MarketCorrected {
            participant,
            energy_mwh,
            ..
        } => Some((participant.clone(), *energy_mwh)),
        _ => None,
    });
    let [(west, 4_000), (east, part)] = corrected.as_slice() else {
        panic!("{corrected:?}")
    };
    assert_eq!((west.as_str(), east.as_str()), ("west", "east"));
    // Six tenths of 12500.
    assert!((part - 7_500).abs() < 60, "{part}");
    bench.close();
}
