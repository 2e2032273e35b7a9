//! Courses computed by hand, from the texts of the services and not from the code.

use quantities::Frequency;

use super::*;
use crate::definition::named;

/// Answers a course of frequencies, in steps of 10 ms: rows of time, then either a frequency that begins
/// or an answer (in per cent, to a tenth) and a phase that must be seen.
enum Row {
    Hz(f64),
    Sees(f64, &'static str),
}
use Row::{Hz, Sees};

fn check(name: &str, rows: &[(f64, Row)]) {
    let service = named(name).expect("a service");
    let course = service.course();
    let mut delivery = Delivery::default();
    let mut f = Frequency::from_hertz(50.0);
    let mut now_ms = 0_u64;
    for (at_s, row) in rows {
        let until_ms = (at_s * 1000.0).round() as u64;
        while now_ms < until_ms {
            now_ms += 10;
            let wanted = service.fraction(f).expect("a fraction");
            delivery.step(&course, Duration::from_millis(now_ms), wanted);
        }
        match row {
            Hz(hz) => f = Frequency::from_hertz(*hz),
            Sees(percent, phase) => {
                let (answer, found) = (delivery.answer() * 100.0, delivery.phase().name());
                assert!(
                    (answer - percent).abs() < 1.5 && found == *phase,
                    "{name} at {at_s} s: {answer:.2} % {found}, not {percent} % {phase}"
                );
            }
        }
    }
}

#[test]
fn a_fast_reserve_is_full_in_its_time_held_five_seconds_released_slowly_and_ready_after_a_quarter_of_an_hour()
 {
    check(
        "ffr",
        &[
            (1.0, Hz(49.65)),
            // 60 % of 1.3 s: 128 % of the contract per second.
            (1.39, Sees(50.0, "activating")),
            (1.60, Sees(76.9, "activating")),
            (1.80, Sees(100.0, "holding")),
            // The frequency comes back at once; five seconds are held all the same.
            (2.0, Hz(50.0)),
            (6.70, Sees(100.0, "holding")),
            // From 6.78 s it goes back by 20 % per second.
            (7.80, Sees(79.6, "releasing")),
            (9.28, Sees(50.0, "releasing")),
            // A fall on the way back is not answered: it is not ready.
            (10.0, Hz(49.6)),
            (10.78, Sees(20.0, "releasing")),
            (12.0, Sees(0.0, "recovering")),
            (900.9, Sees(0.0, "recovering")),
            // 900 s after the activation it answers again.
            (901.4, Sees(50.0, "activating")),
            (902.0, Sees(100.0, "holding")),
        ],
    );
}

#[test]
fn a_full_answer_is_held_for_as_long_as_the_frequency_asks_for_it() {
    check(
        "ffr",
        &[
            (1.0, Hz(49.5)),
            (60.0, Sees(100.0, "holding")),
            (60.0, Hz(50.0)),
            (62.5, Sees(50.0, "releasing")),
        ],
    );
}

#[test]
fn containment_reserve_has_half_at_fifteen_seconds_and_all_at_thirty_and_follows_back() {
    check(
        "fcr-ce",
        &[
            (10.0, Hz(49.8)),
            // 60 % of 30 s: 18 s to full, linear.
            (19.0, Sees(50.0, "activating")),
            (25.0, Sees(83.3, "activating")),
            (28.1, Sees(100.0, "holding")),
            (40.0, Hz(49.9)),
            (44.5, Sees(75.0, "activating")),
            (49.5, Sees(50.0, "holding")),
            // Over to the other side, through nothing.
            (60.0, Hz(50.1)),
            (69.0, Sees(0.0, "activating")),
            (78.5, Sees(-50.0, "holding")),
            (80.0, Hz(50.0)),
            (84.5, Sees(-25.0, "releasing")),
            (90.0, Sees(0.0, "ready")),
        ],
    );
}

#[test]
fn what_a_quiet_frequency_asks_for_is_given_without_an_activation() {
    check(
        "fcr-ce",
        &[
            (1.0, Hz(49.995)),
            (3.0, Sees(2.5, "ready")),
            (5.0, Hz(50.005)),
            (8.0, Sees(-2.5, "ready")),
        ],
    );
    check("dc", &[(1.0, Hz(49.9)), (3.0, Sees(2.3, "ready"))]);
}

#[test]
fn containment_after_a_fault_meets_its_points_within_its_second() {
    check(
        "dc",
        &[
            (1.0, Hz(49.5)),
            (1.3, Sees(50.0, "activating")),
            (1.65, Sees(100.0, "holding")),
            (2.0, Hz(49.8)),
            (2.6, Sees(5.0, "holding")),
            (3.0, Hz(49.98)),
            (3.7, Sees(0.1, "ready")),
        ],
    );
}

#[test]
fn a_signal_without_a_time_is_followed_at_once() {
    let course = named("agc").expect("a service").course();
    let mut delivery = Delivery::default();
    for (ms, wanted) in [(0, 0.3), (2000, -1.0), (4000, 0.0)] {
        assert_eq!(
            delivery.step(&course, Duration::from_millis(ms), wanted),
            wanted
        );
    }
}

#[test]
fn the_answer_does_not_hang_on_how_often_somebody_looks() {
    let service = named("dr").expect("a service");
    let course = service.course();
    let after = |step_ms: u64| {
        let mut delivery = Delivery::default();
        for ms in (0..=3000).step_by(step_ms as usize) {
            delivery.step(&course, Duration::from_millis(ms), 0.8);
        }
        delivery.answer()
    };
    // 6 s to full: half of it after three.
    for step_ms in [10, 50, 100, 500, 1000] {
        assert!((after(step_ms) - 0.5).abs() < 1e-9, "{step_ms} ms");
    }
}

#[test]
fn a_long_pause_is_not_made_up_for() {
    let course = named("dr").expect("a service").course();
    let mut delivery = Delivery::default();
    delivery.step(&course, Duration::ZERO, 0.0);
    delivery.step(&course, Duration::from_secs(60), 1.0);
    // Five seconds of six.
    assert!((delivery.answer() - 5.0 / 6.0).abs() < 1e-9);
}

#[test]
fn what_an_activation_has_used_up_is_counted_until_it_is_ready_again() {
    let course = named("dm").expect("a service").course();
    let mut delivery = Delivery::default();
    let at = |delivery: &mut Delivery, from_s: u64, to_s: u64, wanted: f64| {
        for ms in (from_s * 1000..to_s * 1000).step_by(100) {
            delivery.step(&course, Duration::from_millis(ms), wanted);
        }
    };
    at(&mut delivery, 0, 100, 0.5);
    // 0.5 for 100 s, less the ramp and the last step.
    assert!(
        (delivery.spent_s() - 49.9).abs() < 0.2,
        "{}",
        delivery.spent_s()
    );
    at(&mut delivery, 100, 110, 0.0);
    assert_eq!(delivery.phase(), Phase::Ready);
    assert!(delivery.spent_s() < 1e-9);
    delivery.reset();
    assert_eq!(delivery, Delivery::default());
}
