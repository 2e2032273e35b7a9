//! Settings that fail half-way, are repeated, or outlive the hands that made them.

use super::*;

/// The profile of the tests, changed.
fn changed(change: impl FnOnce(&mut ScpiProfile)) -> Arc<Profile> {
    let mut profile = (*profile::bundled("generic/grid-simulator").expect("bundled")).clone();
    if let Protocol::Scpi(scpi) = &mut profile.protocol {
        scpi.identify = "GridSim".into();
        change(scpi);
    }
    Arc::new(profile)
}

/// A bench whose instrument has been set to 49.5 Hz, all of it told and forgotten.
async fn at_49_5(profile: Arc<Profile>) -> Rig {
    let mut rig = Rig::of(profile);
    rig.run(500 * MS).await;
    rig.set(source(Some(49.5), None, None));
    rig.run(300 * MS).await;
    assert_eq!(rig.outcomes(), DONE.map(|stage| (1, stage)));
    rig.settings();
    rig
}

fn asked(rig: &Rig, message: &str) -> usize {
    let heard = std::mem::take(&mut rig.instrument.lock().unwrap().heard);
    heard.iter().filter(|m| *m == message).count()
}

#[tokio::test(start_paused = true)]
async fn a_setting_that_failed_is_said_again_with_the_next_one() {
    // The instrument keeps its value, or refuses the new one: nobody knows then what it holds.
    for (deaf, hertz, why) in [(true, 50.5, "tells 49.5"), (false, 61.0, "refuses")] {
        let mut rig = at_49_5(changed(|_| {})).await;
        rig.instrument.lock().unwrap().deaf = deaf;
        rig.set(source(Some(hertz), None, None));
        rig.run(500 * MS).await;
        let outcomes = rig.outcomes();
        assert!(
            matches!(outcomes.last(), Some((2, Err(told))) if told.contains(why)),
            "{outcomes:?}"
        );
        rig.instrument.lock().unwrap().deaf = false;
        rig.settings();
        let again = if deaf { hertz } else { 49.5 };
        rig.set(source(Some(again), Some(225.0), None));
        rig.run(300 * MS).await;
        let frequency = format!("SOURce:FREQuency {again:.4}");
        assert_eq!(rig.settings(), ["SOURce:VOLTage 225.000", &frequency]);
        assert_eq!(rig.outcomes(), DONE.map(|stage| (3, stage)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_setting_that_is_never_done_is_given_up_after_three_attempts() {
    let mut rig = at_49_5(changed(|_| {})).await;
    rig.instrument.lock().unwrap().instead = [("*OPC?", "0")].into();
    rig.set(source(Some(50.5), None, None));
    rig.run(1900 * MS).await;
    assert_eq!(rig.settings(), ["SOURce:FREQuency 50.5000"; 3]);
    let outcomes = rig.outcomes();
    assert!(
        matches!(outcomes.as_slice(), [(2, Err(why))] if why.contains("damaged")),
        "{outcomes:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_source_has_a_moment_to_settle_before_a_difference_counts() {
    let mut rig = at_49_5(changed(|_| {})).await;
    rig.instrument.lock().unwrap().deaf = true;
    rig.set(source(Some(50.5), None, None));
    rig.run(60 * MS).await;
    assert_eq!(rig.outcomes(), [(2, Ok(Stage::Written))]);
    rig.instrument.lock().unwrap().f = 50.5;
    rig.run(200 * MS).await;
    assert_eq!(rig.outcomes(), [(2, Ok(Stage::Register))]);
}

#[tokio::test(start_paused = true)]
async fn what_an_instrument_does_not_take_is_never_said_to_it_nor_what_is_for_another_device() {
    let narrow = changed(|scpi| {
        let set = scpi
            .controls
            .iter_mut()
            .find(|c| c.point == Point::FrequencySet);
        set.expect("it is set").range = Some((47.0, 53.0));
    });
    let mut rig = at_49_5(narrow).await;
    rig.set(source(Some(54.0), None, None));
    rig.run(300 * MS).await;
    let off = Setpoint::Switch { on: false };
    let other = job(&rig.clock, 3, 1, off, Duration::from_secs(2), false);
    rig.writer
        .as_ref()
        .expect("armed")
        .write(other)
        .expect("taken");
    rig.run(300 * MS).await;
    assert_eq!(rig.settings(), [] as [&str; 0]);
    let outcomes = rig.outcomes();
    let [(2, Err(range)), (3, Err(device))] = outcomes.as_slice() else {
        panic!("{outcomes:?}");
    };
    assert!(range.contains("outside the 47 to 53"), "{range}");
    assert!(device.contains("has no such device"), "{device}");
}

#[tokio::test(start_paused = true)]
async fn control_that_was_refused_is_asked_for_again() {
    let mut rig = Rig::of(changed(|_| {}));
    rig.run(500 * MS).await;
    rig.instrument.lock().unwrap().refuses = Some("SYSTem:REMote");
    for (wish, taken) in [(49.5, false), (49.6, true)] {
        if taken {
            rig.instrument.lock().unwrap().refuses = None;
        }
        rig.set(source(Some(wish), None, None));
        rig.run(300 * MS).await;
        let settings = rig.settings();
        assert_eq!(settings[0], "SYSTem:REMote");
        assert_eq!(settings.len() > 1, taken, "{settings:?}");
        let done = matches!(rig.outcomes().last(), Some((_, Ok(Stage::Register))));
        assert_eq!(done, taken);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_queue_without_an_end_is_left_and_one_that_makes_no_sense_is_doubted() {
    let mut rig = Rig::of(changed(|_| {}));
    rig.run(500 * MS).await;
    rig.instrument.lock().unwrap().instead = [("SYSTem:ERRor?", "-350,\"Queue overflow\"")].into();
    asked(&rig, "");
    rig.set(source(Some(49.5), None, None));
    rig.run(1900 * MS).await;
    let outcomes = rig.outcomes();
    assert!(
        matches!(outcomes.as_slice(), [(1, Err(why))] if why.contains("no end after 40 entries")),
        "{outcomes:?}"
    );
    assert_eq!(asked(&rig, "SYSTem:ERRor?"), 80, "before and after");

    rig.instrument.lock().unwrap().instead = [("SYSTem:ERRor?", "perhaps")].into();
    rig.set(source(Some(49.5), None, None));
    rig.run(1900 * MS).await;
    assert_eq!(asked(&rig, "*IDN?"), 3, "once for each attempt");
}

#[tokio::test(start_paused = true)]
async fn what_was_held_before_is_said_again_after_a_restart_or_another_arming() {
    let all = [
        "SYSTem:REMote",
        "SOURce:FREQuency:LIMit:LOW 47.0000;HIGH 52.0000",
        "SOURce:VOLTage 225.000",
        "SOURce:FREQuency 49.5000",
    ];
    let mut rig = at_49_5(changed(|_| {})).await;
    rig.mishaps(&[Mishap::Restart]);
    rig.run(Duration::from_secs(3)).await;
    rig.set(source(Some(49.5), Some(225.0), None));
    rig.run(300 * MS).await;
    assert_eq!(rig.settings(), all, "after a restart");
    // What was lost is told each time.
    rig.mishaps(&[Mishap::Restart]);
    rig.run(Duration::from_secs(3)).await;
    let lost = |n: &&String| n.contains("ctl.f_set") && n.contains("lost its settings");
    let notices = rig.seen.notices();
    assert_eq!(notices.iter().filter(lost).count(), 2, "{notices:?}");

    let mut rig = at_49_5(changed(|_| {})).await;
    rig.writer = None;
    rig.run(3000 * MS).await;
    rig.set(source(Some(49.5), Some(225.0), None));
    rig.run(300 * MS).await;
    assert_eq!(
        rig.settings(),
        all,
        "somebody may have been at it meanwhile"
    );
}

#[tokio::test(start_paused = true)]
async fn a_setting_with_a_watchdog_is_repeated_while_the_bench_is_armed_and_only_then() {
    let watched = changed(|scpi| {
        for control in &mut scpi.controls {
            control.refresh = Some(400 * MS);
        }
    });
    let mut rig = at_49_5(watched).await;
    let frequency = "SOURce:FREQuency 49.5000";
    rig.run(1000 * MS).await;
    assert_eq!(rig.settings(), [frequency; 3]);
    // The old hands go and new ones come before the bus has its turn.
    rig.writer = None;
    rig.set(source(Some(49.5), Some(225.0), None));
    rig.run(300 * MS).await;
    let voltage = "SOURce:VOLTage 225.000";
    assert_eq!(rig.settings(), [voltage, frequency]);
    rig.run(400 * MS).await;
    assert_eq!(rig.settings(), [voltage, frequency]);
    assert_eq!(rig.seen.notices(), [] as [&str; 0]);
    // Nobody has it in hand any more.
    {
        let mut instrument = rig.instrument.lock().unwrap();
        (instrument.deaf, instrument.f) = (true, 50.0);
    }
    rig.run(1000 * MS).await;
    let notices = rig.seen.notices();
    assert!(
        notices.len() == 1 && notices[0].contains("keep-alive of ctl.f_set"),
        "{notices:?}"
    );
    rig.settings();
    rig.writer = None;
    rig.run(3000 * MS).await;
    assert_eq!(rig.settings(), [] as [&str; 0]);
    assert_eq!(rig.seen.notices().len(), 1, "disarmed, nobody misses it");
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_makes_no_sense_is_doubted_and_a_question_of_once_is_asked_until_it_is_answered()
 {
    let once = changed(|scpi| {
        for point in scpi
            .points
            .iter_mut()
            .filter(|p| p.point == Point::VoltageL1)
        {
            point.poll = Poll::Once;
        }
    });
    let rig = Rig::of(once);
    rig.instrument.lock().unwrap().instead = [("MEASure:VOLTage?", "")].into();
    rig.run(500 * MS).await;
    rig.seen.check(0, Point::VoltageL1, Err(Flaw::Timeout));
    rig.instrument.lock().unwrap().instead = [("MEASure:FREQuency?", "fifty")].into();
    rig.run(1500 * MS).await;
    rig.seen.check(0, Point::VoltageL1, Ok(230.0));
    rig.seen.check(0, Point::Frequency, Err(Flaw::Corrupt));
    let heard = rig.instrument.lock().unwrap().heard.clone();
    let after = heard
        .windows(2)
        .filter(|pair| pair[0] == "MEASure:FREQuency?");
    let doubted: Vec<_> = after.map(|pair| pair[1].clone()).collect();
    assert!(
        doubted.iter().rev().take(5).all(|next| next == "*IDN?"),
        "{doubted:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_comes_in_the_pause_between_two_questions_answers_neither() {
    let rig = Rig::of(changed(|scpi| scpi.min_gap = 20 * MS));
    rig.run(450 * MS).await;
    let strays: [&[u8]; 3] = [b"12.5\n", b"13", b"14.5\n15.5\n"];
    rig.mishaps(&strays.map(Mishap::Then).repeat(5));
    rig.run(Duration::from_secs(3)).await;
    for (point, right) in [(Point::Frequency, 50.0), (Point::VoltageL1, 230.0)] {
        for (at, reading) in rig.seen.all(0, point) {
            if let Reading::Good(value) = reading {
                assert_eq!(value, right, "{point} at {at} ms");
            }
        }
        rig.seen.check(0, point, Ok(right));
    }
    assert!(rig.handle.stats.report().corrupt >= 9);
}

#[tokio::test(start_paused = true)]
async fn an_instrument_is_given_its_pause_and_its_values_the_middle_of_question_and_answer() {
    let rig = Rig::of(changed(|scpi| scpi.min_gap = 200 * MS));
    rig.run(3000 * MS).await;
    let heard = rig.instrument.lock().unwrap().heard.len();
    assert!((12..=15).contains(&heard), "{heard} in three seconds");

    let rig = Rig::new();
    rig.mishaps(&[Mishap::Late(48 * MS); 20]);
    rig.run(400 * MS).await;
    // The identity takes 50 ms, and so does the first value.
    let points = [Point::Frequency, Point::VoltageL1, Point::ActivePower];
    let first = points.map(|p| rig.seen.all(0, p).first().map_or(u64::MAX, |(at, _)| *at));
    assert_eq!(first.iter().min(), Some(&75));
}

#[tokio::test(start_paused = true)]
async fn a_late_number_is_no_identity_of_another_instrument_however_it_is_written() {
    for number in ["4.95E+01", "4.95e+01"] {
        let rig = Rig::of(changed(|_| {}));
        rig.instrument.lock().unwrap().instead = [("*IDN?", number)].into();
        rig.run(500 * MS).await;
        rig.seen.check(0, Point::Frequency, Err(Flaw::Timeout));
        assert_eq!(rig.seen.notices(), [] as [&str; 0], "{number}");
    }
}
