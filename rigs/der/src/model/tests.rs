use document::Source;
use proptest::prelude::*;
use quantities::Frequency;

use super::*;
use crate::settings::{self, PLimit, VoltWatt};
use services::{Curve, Reactive};

/// Step of the series in seconds: that of the golden points.
const STEP_S: f64 = 0.05;

/// A device with what stands around it.
struct Bench {
    device: Der,
    now_s: f64,
    begun: bool,
    seen: Measured,
}

impl Bench {
    fn new(settings: &str) -> Self {
        let (settings, _) = settings::read(Source::new("settings.toml", settings))
            .unwrap_or_else(|faults| panic!("{faults:?}"));
        let f = settings.nominal;
        Self {
            device: Der::new(settings),
            now_s: 0.0,
            begun: false,
            seen: Measured {
                v: Volts::Balanced(1.0),
                f,
                available_pu: 1.0,
                demand_pu: 0.0,
                absorbable_pu: 1.0,
                permit: true,
                angle_deg: None,
                island: false,
            },
        }
    }

    fn step_of(&mut self, dt_s: f64) -> Output {
        let dt_s = if self.begun { dt_s } else { 0.0 };
        self.begun = true;
        self.now_s += dt_s;
        self.device.step(dt_s, &self.seen)
    }

    fn hold(&mut self, time_s: f64) -> Output {
        let steps = (time_s / STEP_S).round() as u32;
        (0..steps.max(1))
            .map(|_| self.step_of(STEP_S))
            .last()
            .expect("a step")
    }

    fn v(&mut self, v: f64) -> &mut Self {
        self.seen.v = Volts::Balanced(v);
        self
    }

    fn f(&mut self, f_hz: f64) -> &mut Self {
        self.seen.f = Frequency::from_hertz(f_hz);
        self
    }

    fn available(&mut self, p: f64) -> &mut Self {
        self.seen.available_pu = p;
        self
    }

    fn demand(&mut self, p: f64) -> &mut Self {
        self.seen.demand_pu = p;
        self
    }

    /// Time from now until a status is seen.
    fn until(&mut self, status: Status, within_s: f64) -> f64 {
        let begun_s = self.now_s;
        while self.now_s < begun_s + within_s {
            if self.step_of(STEP_S).status == status {
                return self.now_s - begun_s;
            }
        }
        panic!("no {status:?} within {within_s} s")
    }
}

fn near(found: f64, expected: f64, what: &str) {
    // Golden points have four decimals.
    assert!(
        (found - expected).abs() < 1.5e-4,
        "{what}: {found}, not {expected}"
    );
}

/// Settled powers, from one snapshot.
fn settled(settings: &str, v: f64, f: f64, available: f64) -> Output {
    Bench::new(settings)
        .v(v)
        .f(f)
        .available(available)
        .hold(0.0)
}

const VOLT_VAR_A: &str = "category = \"A\"\n[volt_var]\n";
const VOLT_VAR_B: &str = "[volt_var]\n";

#[test]
fn volt_var_of_both_categories_meets_its_reference_points() {
    let rows = [
        (0.89, 0.44, 0.25),
        (0.92, 0.44, 0.20),
        (0.935, 0.33, 0.1625),
        (0.95, 0.22, 0.125),
        (0.965, 0.11, 0.0875),
        (0.98, 0.0, 0.05),
        (1.00, 0.0, 0.0),
        (1.02, 0.0, -0.05),
        (1.03, -0.0733, -0.075),
        (1.05, -0.22, -0.125),
        (1.065, -0.33, -0.1625),
        (1.08, -0.44, -0.2),
        (1.095, -0.44, -0.2375),
    ];
    for (v, b, a) in rows {
        near(
            settled(VOLT_VAR_B, v, 60.0, 0.5).q_pu,
            b,
            &format!("B at {v}"),
        );
        near(
            settled(VOLT_VAR_A, v, 60.0, 0.5).q_pu,
            a,
            &format!("A at {v}"),
        );
    }
}

#[test]
fn reactive_power_goes_before_active_power_at_the_rating() {
    for (v, p, q) in [
        (0.92, 0.8980, 0.44),
        (0.95, 0.9755, 0.22),
        (1.05, 0.9755, -0.22),
        (1.08, 0.8980, -0.44),
    ] {
        let given = settled(VOLT_VAR_B, v, 60.0, 1.0);
        near(given.p_pu, p, &format!("P at {v}"));
        near(given.q_pu, q, &format!("Q at {v}"));
    }
}

#[test]
fn volt_watt_meets_its_reference_points() {
    for (v, p) in [
        (1.06, 1.0),
        (1.065, 0.875),
        (1.07, 0.75),
        (1.08, 0.5),
        (1.09, 0.25),
        (1.095, 0.125),
        (1.0999, 0.0025),
    ] {
        near(
            settled("[volt_watt]\n", v, 60.0, 1.0).p_pu,
            p,
            &v.to_string(),
        );
    }
}

#[test]
fn droop_of_a_pv_meets_its_reference_points() {
    let rows = [
        (58.6, 0.9547),
        (59.0, 0.8213),
        (59.36, 0.7013),
        (59.5, 0.6547),
        (59.9, 0.5213),
        (59.964, 0.5),
        (60.036, 0.5),
        (60.1, 0.4787),
        (60.3, 0.4120),
        (60.33, 0.4020),
        (60.6, 0.3120),
        (61.0, 0.1787),
        (61.2, 0.1120),
    ];
    for (f, p) in rows {
        let mut bench = Bench::new("[p_limit]\np_pu = 0.5\n");
        bench.hold(1.0);
        near(bench.f(f).hold(25.0).p_pu, p, &f.to_string());
    }
    for (available, p) in [(1.0, 0.612), (0.66, 0.272), (0.2, 0.0), (0.5, 0.112)] {
        let mut bench = Bench::new("");
        bench.available(available).hold(1.0);
        near(
            bench.f(61.2).hold(25.0).p_pu,
            p,
            &format!("from {available}"),
        );
    }
}

#[test]
fn droop_of_a_storage_meets_its_reference_points() {
    for (demand, f, p) in [
        (0.0, 59.0, 0.3213),
        (0.0, 60.5, -0.1547),
        (0.0, 61.0, -0.3213),
        (-0.5, 59.0, -0.1787),
        (-0.5, 60.5, -0.6547),
        (-0.5, 61.0, -0.8213),
    ] {
        let mut bench = Bench::new("kind = \"storage\"\n");
        bench.demand(demand).hold(1.0);
        near(bench.f(f).hold(25.0).p_pu, p, &format!("{demand} at {f}"));
    }
}

#[test]
fn droop_is_the_same_at_50_hertz_in_per_unit() {
    let mut fifty = Bench::new("f_nom_hz = 50\n[freq_droop]\ndb_of_hz = 0.03\ndb_uf_hz = 0.03\n");
    fifty.available(0.5).hold(1.0);
    near(
        fifty.f(50.0 + 0.6 / 1.2).hold(25.0).p_pu,
        0.3120,
        "60.6 of 60",
    );
    // Protection and enter service scale with the nominal frequency, too.
    assert_eq!(fifty.f(50.5).hold(400.0).status, Status::On);
    assert_eq!(fifty.f(51.1).hold(301.0).status, Status::Tripped);
}

#[test]
fn the_power_before_the_event_is_held_and_not_followed() {
    let mut bench = Bench::new("");
    bench.available(0.5).hold(1.0);
    bench.f(60.6).hold(25.0);
    // More sun does not raise the reference; less sun is less all the same.
    near(bench.available(1.0).hold(25.0).p_pu, 0.3120, "more sun");
    near(bench.available(0.2).hold(5.0).p_pu, 0.2, "less sun");
    near(bench.available(0.5).hold(5.0).p_pu, 0.3120, "sun as before");
    // Back in the dead band it recovers, and the next event begins at what is given then.
    near(
        bench.f(60.0).available(0.8).hold(30.0).p_pu,
        0.8,
        "recovered",
    );
    near(bench.f(60.6).hold(25.0).p_pu, 0.612, "another event");
}

#[test]
fn the_recovery_takes_the_response_time_as_well() {
    let mut bench = Bench::new("");
    bench.hold(1.0);
    near(bench.f(60.6).hold(25.0).p_pu, 0.812, "the event");
    let p = bench.f(60.0).hold(5.0).p_pu;
    assert!((p - (1.0 - 0.188 * 0.1)).abs() < 1e-3, "{p}");
    near(bench.hold(20.0).p_pu, 1.0, "recovered");
}

#[test]
fn the_ramp_of_entering_service_holds_back_charging_as_well() {
    let mut bench = Bench::new(
        "kind = \"storage\"\nstart_on = false\n[enter_service]\ndelay_s = 1\nramp_s = 100\n",
    );
    bench.demand(-0.8).until(Status::Entering, 5.0);
    let p = bench.hold(50.0).p_pu;
    assert!((p + 0.5).abs() < 2e-3, "{p}");
    near(bench.hold(40.0).p_pu, -0.8, "all that is demanded");
}

#[test]
fn an_open_loop_response_leaves_a_tenth_after_its_time() {
    let mut bench = Bench::new(VOLT_VAR_B);
    bench.available(0.5).hold(1.0);
    bench.v(1.08);
    let mut at_s = 0.0;
    for (t_s, q) in [
        (1.0, -0.1590),
        (2.0, -0.2626),
        (3.0, -0.3280),
        (5.0, -0.3954),
        (10.0, -0.4355),
        (15.0, -0.4396),
    ] {
        // Another method of integration, and 2.3 for the logarithm of ten, move the fourth decimal.
        let found = bench.hold(t_s - at_s).q_pu;
        assert!((found - q).abs() < 5e-4, "{t_s} s: {found}");
        at_s = t_s;
    }
    let mut droop = Bench::new("");
    droop.hold(1.0);
    droop.f(60.6);
    at_s = 0.0;
    for (t_s, p) in [
        (1.0, 0.9321),
        (2.0, 0.8878),
        (5.0, 0.8311),
        (10.0, 0.8139),
        (15.0, 0.8122),
    ] {
        let found = droop.hold(t_s - at_s).p_pu;
        assert!((found - p).abs() < 5e-4, "droop, {t_s} s: {found}");
        at_s = t_s;
    }
}

#[test]
fn the_reference_voltage_follows_by_itself_between_its_limits() {
    let mut bench = Bench::new("[volt_var]\nvref_auto = true\nvref_tau_s = 300\n");
    bench.available(0.5).hold(1.0);
    bench.v(1.05);
    let mut at_s = 0.0;
    for (t_s, q) in [
        (60.0, -0.1535),
        (120.0, -0.0991),
        (200.0, -0.0416),
        (280.0, 0.0),
    ] {
        let found = bench.hold(t_s - at_s).q_pu;
        // The exact solution; the response time of the function comes on top of it.
        assert!((found - q).abs() < 0.003, "{t_s} s: {found}");
        at_s = t_s;
    }
    // 1.05 is as far as it goes.
    near(bench.v(1.09).hold(3000.0).q_pu, -0.1467, "beyond the limit");
}

#[test]
fn precedence_is_volt_watt_then_droop_then_limit() {
    let settings = |p2: f64, mode: &str| {
        format!(
            "[volt_watt]\np2 = {p2}\nolrt_s = 0.5\n[p_limit]\np_pu = 0.5\nresponse_s = 0.5\n\
             [freq_droop]\nolrt_s = 0.5\n{mode}"
        )
    };
    let steps = [
        (1.0, 60.0),
        (1.09, 60.0),
        (1.09, 60.33),
        (1.09, 60.0),
        (1.09, 59.36),
        (1.0, 59.36),
        (1.0, 60.0),
        (1.0, 59.36),
    ];
    let check = |p2: f64, mode: &str, p: [f64; 8], q: &[(usize, f64)]| {
        let mut bench = Bench::new(&settings(p2, mode));
        bench.hold(30.0);
        for (n, (v, f)) in steps.into_iter().enumerate() {
            let given = bench.v(v).f(f).hold(40.0);
            near(given.p_pu, p[n], &format!("{mode} P of step {}", n + 1));
            if let Some((_, q)) = q.iter().find(|(step, _)| *step == n + 1) {
                near(given.q_pu, *q, &format!("{mode} Q of step {}", n + 1));
            }
        }
    };
    let p = [0.5, 0.4, 0.302, 0.4, 0.4, 0.6013, 0.5, 0.7013];
    let q = [(1, 0.0), (2, -0.44), (5, -0.44), (6, 0.0)];
    check(0.2, "[volt_var]\nolrt_s = 1\n", p, &q);
    check(0.2, "[watt_var]\n", p, &[(6, -0.0892), (8, -0.1772)]);
    let amended = [0.5, 0.25, 0.152, 0.25, 0.25, 0.4513, 0.5, 0.7013];
    check(0.0, "", amended, &[(1, 0.0)]);
}

#[test]
fn protection_clears_in_its_time_by_category() {
    let clearing = |category: &str, v: f64, f: f64| {
        let mut bench = Bench::new(&format!("abnormal = \"{category}\"\n"));
        bench.hold(1.0);
        bench.v(v).f(f).until(Status::Tripped, 400.0)
    };
    for (category, v, f, expected_s) in [
        ("III", 1.21, 60.0, 0.16),
        ("III", 1.15, 60.0, 13.0),
        ("III", 0.85, 60.0, 21.0),
        ("III", 0.60, 60.0, 21.0),
        ("III", 0.40, 60.0, 2.0),
        ("II", 1.15, 60.0, 2.0),
        ("II", 0.60, 60.0, 10.0),
        ("II", 0.40, 60.0, 0.16),
        ("I", 0.60, 60.0, 2.0),
        ("I", 1.0, 62.1, 0.16),
        ("II", 1.0, 56.4, 0.16),
        ("III", 1.0, 61.5, 300.0),
        ("III", 1.0, 58.0, 300.0),
    ] {
        let found_s = clearing(category, v, f);
        assert!(
            found_s >= expected_s - 1e-6 && found_s <= expected_s + STEP_S + 0.01,
            "{category} at {v}, {f} Hz: {found_s} s"
        );
    }
}

#[test]
fn protection_looks_at_the_worst_phase_and_functions_at_the_average() {
    let mut bench = Bench::new("abnormal = \"II\"\n[volt_var]\nolrt_s = 1\n");
    bench.available(0.5).hold(1.0);
    bench.seen.v = Volts::Phases([1.21, 0.95, 0.95]);
    let q = bench.hold(0.15).q_pu;
    assert!(q < 0.0 && q > -0.0244 * 8.0, "the average is 1.0367: {q}");
    assert_eq!(bench.hold(0.2).status, Status::Tripped);
    assert_eq!(bench.device.cause(), Some(Cause::OverVoltage));
}

#[test]
fn momentary_cessation_gives_nothing_and_comes_back_to_all_of_it() {
    let mut bench = Bench::new("");
    bench.available(0.9).hold(1.0);
    let given = bench.v(0.4).hold(0.05);
    assert_eq!((given.p_pu, given.status), (0.0, Status::Ceased));
    assert_eq!(bench.hold(0.85).status, Status::Ceased);
    bench.v(1.0);
    bench.hold(0.05);
    near(bench.hold(0.05).p_pu, 0.9, "after a tenth of a second");
}

#[test]
fn an_agreed_curve_of_cessation_takes_the_place_of_the_categorys_and_of_frequency_too() {
    let text = "abnormal = \"II\"\n[momentary_cessation]\nlv = [[0.8, 1.0], [0.6, 0.0]]\nhf = [[61.5, 0.2]]\n";
    let mut bench = Bench::new(text);
    let mut check = |v, f_hz, time_s, expected| {
        let found = bench.v(v).f(f_hz).hold(time_s).status;
        assert_eq!(found, expected, "{v} and {f_hz} Hz for {time_s} s");
    };
    check(1.0, 60.0, 1.0, Status::On);
    check(0.6, 60.0, 0.05, Status::Ceased);
    check(0.81, 60.0, 0.05, Status::On);
    check(0.7, 60.0, 0.9, Status::On);
    check(0.7, 60.0, 0.1, Status::Ceased);
    // Not before it is nearer than every threshold.
    check(0.79, 60.0, 0.2, Status::Ceased);
    check(0.9, 60.0, 0.05, Status::On);
    check(1.0, 61.6, 0.15, Status::On);
    check(1.0, 61.6, 0.05, Status::Ceased);
    check(1.0, 61.5, 0.05, Status::On);
    // Without one, category III keeps its own on that side only.
    let mut own = Bench::new("[momentary_cessation]\nhv = []\n");
    assert_eq!(own.v(1.15).hold(1.0).status, Status::On);
    assert_eq!(own.v(0.45).hold(0.05).status, Status::Ceased);
}

#[test]
fn a_device_that_leaves_when_it_may_stays_as_long_as_its_category_asks_at_every_voltage() {
    use crate::ride::{Asked, asked};
    use crate::settings::Abnormal;
    // Thresholds out of the way, so that it leaves for no other reason.
    let text = "allow_out_of_range = true\n[trip]\nov1 = [3, 9000]\nov2 = [3, 9000]\nuv1 = [0, 9000]\nuv2 = [0, 9000]\n[ride_through]\ntrips = \"when_it_may\"\n";
    for (word, category) in [
        ("I", Abnormal::I),
        ("II", Abnormal::II),
        ("III", Abnormal::III),
    ] {
        for v in (20..=124).map(|hundredths| f64::from(hundredths) / 100.0) {
            let least_s = match asked(category, v) {
                Asked::Continuous => f64::INFINITY,
                Asked::Mandatory(s) | Asked::Permissive(s) | Asked::Momentary(s) => s,
                Asked::Cease => 0.0,
            };
            let mut bench = Bench::new(&format!("abnormal = \"{word}\"\n{text}"));
            bench.hold(0.05);
            bench.v(v);
            let mut held_s = 0.0;
            while held_s < 25.0 && bench.step_of(STEP_S).status != Status::Tripped {
                held_s += STEP_S;
            }
            assert!(
                held_s + STEP_S + 1e-6 >= least_s.min(25.0),
                "{word} at {v}: left after {held_s} s, not {least_s} s"
            );
            let latest_s = if least_s.is_finite() {
                1.7 * least_s.max(0.2)
            } else {
                25.1
            };
            let may_stay = matches!(asked(category, v), Asked::Mandatory(_));
            assert!(
                may_stay || held_s <= latest_s,
                "{word} at {v}: stayed {held_s} s"
            );
        }
    }
}

#[test]
fn a_curve_of_may_trip_does_nothing_to_a_device_that_stays_until_it_must() {
    let curve = "[may_trip]\nlv = [[0.88, 3.0], [0.6, 1.0]]\n";
    let mut stays = Bench::new(curve);
    stays.hold(1.0);
    assert_eq!(stays.v(0.75).hold(20.0).status, Status::On);
    let mut leaves = Bench::new(&format!("{curve}[ride_through]\ntrips = \"when_it_may\"\n"));
    leaves.hold(1.0);
    leaves.v(0.75);
    near(leaves.until(Status::Tripped, 5.0), 3.0, "as soon as it may");
    assert_eq!(leaves.device.cause(), Some(Cause::UnderVoltage));
    // A break starts it anew.
    let mut dips = Bench::new(&format!("{curve}[ride_through]\ntrips = \"when_it_may\"\n"));
    for _ in 0..3 {
        assert_eq!(dips.v(0.75).hold(2.5).status, Status::On);
        dips.v(0.9).hold(0.05);
    }
}

#[test]
fn the_sequences_of_ride_through_are_ridden_through() {
    let sequences: [(&str, &[(f64, f64)]); 4] = [
        (
            "II",
            &[
                (0.94, 10.0),
                (0.28, 0.15),
                (0.43, 0.0),
                (0.65, 2.68),
                (0.88, 2.0),
                (0.94, 120.0),
            ],
        ),
        (
            "III",
            &[
                (0.94, 5.0),
                (0.03, 1.0),
                (0.48, 0.9),
                (0.70, 10.0),
                (0.94, 120.0),
            ],
        ),
        (
            "II",
            &[
                (1.0, 10.0),
                (1.18, 0.2),
                (1.175, 0.3),
                (1.15, 0.5),
                (1.0, 120.0),
            ],
        ),
        ("III", &[(1.05, 5.0), (1.18, 12.0), (1.05, 120.0)]),
    ];
    for (category, rows) in sequences {
        let mut bench = Bench::new(&format!("abnormal = \"{category}\"\n"));
        bench.hold(1.0);
        for (v, time_s) in rows.iter().filter(|row| row.1 > 0.0) {
            let given = bench.v(*v).hold(*time_s);
            assert_ne!(given.status, Status::Tripped, "{category} at {v}");
        }
        near(
            bench.hold(1.0).p_pu,
            1.0,
            &format!("{category}, afterwards"),
        );
    }
    // 299 s at the edges of frequency, with power all the while.
    for f in [61.8, 57.0] {
        let mut bench = Bench::new("");
        bench.available(0.5).hold(1.0);
        let given = bench.f(f).hold(299.0);
        assert_eq!(given.status, Status::On, "{f}");
    }
}

#[test]
fn enter_service_waits_and_ramps() {
    let mut bench = Bench::new("");
    bench.hold(1.0);
    bench.v(1.21).until(Status::Tripped, 1.0);
    let entering_s = bench.v(1.0).until(Status::Entering, 400.0);
    assert!((entering_s - 300.0).abs() <= 0.11, "{entering_s}");
    for p in [0.25, 0.5, 0.75] {
        let found = bench.hold(75.0).p_pu;
        assert!((found - p).abs() < 5e-4, "{found}, not {p}");
    }
    near(bench.hold(75.0).p_pu, 1.0, "the end of the ramp");
    assert_eq!(bench.hold(31.0).status, Status::On);
}

#[test]
fn an_excursion_or_a_withdrawn_permit_starts_the_delay_anew() {
    let wait = |disturb: fn(&mut Bench)| {
        let mut bench = Bench::new("start_on = false\n[enter_service]\ndelay_s = 10\n");
        assert_eq!(bench.hold(8.0).status, Status::Off);
        disturb(&mut bench);
        bench.hold(0.1);
        bench.v(1.0).f(60.0).seen.permit = true;
        bench.until(Status::Entering, 20.0)
    };
    for disturb in [
        (|b| {
            b.v(0.91);
        }) as fn(&mut Bench),
        |b| {
            b.v(1.06);
        },
        |b| {
            b.f(60.2);
        },
        |b| {
            b.f(59.4);
        },
        |b| b.seen.permit = false,
    ] {
        let found_s = wait(disturb);
        assert!((found_s - 10.0).abs() < 0.06, "{found_s}");
    }
    assert!(wait(|_| ()) < 2.05);
}

#[test]
fn a_withdrawn_permit_is_no_trip_and_gives_nothing_at_once() {
    let mut bench = Bench::new("");
    bench.hold(1.0);
    bench.seen.permit = false;
    let given = bench.hold(0.05);
    assert_eq!(
        (given.p_pu, given.q_pu, given.status),
        (0.0, 0.0, Status::Off)
    );
    assert_eq!(bench.device.cause(), None);
}

#[test]
fn a_limit_is_reached_within_its_time() {
    let mut bench = Bench::new("");
    bench.hold(1.0);
    let file = Source::new("settings.toml", "[p_limit]\np_pu = 0.33\n");
    let (settings, _) = settings::read(file).expect("settings");
    bench.device.adopt(settings);
    near(bench.hold(15.0).p_pu, 0.33, "a third");
}

#[test]
fn rate_of_change_phase_jump_and_island_trip_only_where_they_are_asked_for() {
    let ramp = |settings: &str, hz_per_s: f64| {
        let mut bench = Bench::new(settings);
        bench.hold(1.0);
        (0..10).fold(Status::On, |_, n| {
            bench
                .f(60.0 + hz_per_s * STEP_S * f64::from(n))
                .hold(STEP_S)
                .status
        })
    };
    let set = "[ride_through]\nrocof_hz_per_s = 3.0\n";
    for (settings, rate, expected) in [
        ("", 3.5, Status::On),
        (set, 2.9, Status::On),
        (set, 3.2, Status::Tripped),
        (set, -3.2, Status::Tripped),
    ] {
        assert_eq!(ramp(settings, rate), expected, "{settings} {rate}");
    }
    let jump = |settings: &str, angle: f64| {
        let mut bench = Bench::new(settings);
        bench.seen.angle_deg = Some(350.0);
        bench.hold(1.0);
        bench.seen.angle_deg = Some((350.0 + angle) % 360.0);
        bench.hold(0.05).status
    };
    let set = "[ride_through]\nphase_jump_deg = 60\n";
    for (settings, angle, expected) in [
        ("", 90.0, Status::On),
        (set, 20.0, Status::On),
        (set, 61.0, Status::Tripped),
    ] {
        assert_eq!(jump(settings, angle), expected, "{settings} {angle}");
    }
    let mut bench = Bench::new("");
    bench.hold(1.0);
    bench.seen.island = true;
    let found_s = bench.until(Status::Tripped, 3.0);
    assert!(found_s <= 2.0, "{found_s}");
    assert_eq!(bench.device.cause(), Some(Cause::Island));
}

#[test]
fn uneven_steps_come_to_the_same() {
    let response = |steps: &[f64]| {
        let mut bench = Bench::new(VOLT_VAR_B);
        bench.available(0.5).hold(1.0);
        bench.v(1.08).step_of(STEP_S);
        steps.iter().map(|dt| bench.step_of(*dt).q_pu).last()
    };
    let even = response(&[0.05; 80]).expect("steps");
    let uneven = response(&[1.0, 0.01, 0.5, 0.49, 0.002, 0.998, 1.0]).expect("steps");
    assert!((even - uneven).abs() < 1e-9, "{even} {uneven}");
}

proptest! {
    #[test]
    fn whatever_is_measured_the_powers_stay_inside_the_rating(
        rows in prop::collection::vec(
            (0.0..1.4_f64, 55.0..65.0_f64, 0.0..1.2_f64, -1.2..1.2_f64, any::<bool>(), 0.001..30.0_f64),
            1..60,
        ),
        storage in any::<bool>(),
        mode in prop::sample::select(vec![
            "[volt_var]\nvref_auto = true", "[watt_var]", "[const_pf]\npf = 0.8",
            "[const_q]\nq_pu = -0.44", "[volt_watt]\n[p_limit]\np_pu = 0.3",
        ]),
    ) {
        let kind = if storage { "storage" } else { "pv" };
        let mut bench = Bench::new(&format!("kind = \"{kind}\"\n{mode}\n"));
        for (v, f, available, demand, permit, dt_s) in rows {
            bench.v(v).f(f).available(available).demand(demand).seen.permit = permit;
            let given = bench.step_of(dt_s);
            prop_assert!(given.p_pu.is_finite() && given.q_pu.is_finite(), "{given:?}");
            // The inverter's own lag lets a change of both powers and of voltage pass for a moment.
            prop_assert!(given.p_pu.hypot(given.q_pu) <= 1.2 * v.max(1.0) + 1e-9, "{given:?}");
            prop_assert!(storage || given.p_pu >= 0.0, "{given:?}");
            let out = matches!(given.status, Status::Tripped | Status::Ceased | Status::Off);
            prop_assert!(!out || (given.p_pu, given.q_pu) == (0.0, 0.0), "{given:?}");
        }
    }
}

/// A device on which volt-var follows a voltage of 0.95 at half of its power.
fn running(settings: &str) -> Bench {
    let mut bench = Bench::new(settings);
    bench.available(0.5).v(0.95).hold(1.0);
    bench
}

#[test]
fn a_setting_that_changes_while_it_runs_is_there_within_thirty_seconds_and_not_at_once() {
    type Change = fn(&mut Settings);
    // What changes, and the powers that belong to it in the end.
    let rows: [(&str, Change, (f64, f64)); 6] = [
        ("const_q", |s| on(s, Reactive::Constant(-0.3)), (0.5, -0.3)),
        (
            "const_pf",
            |s| {
                on(
                    s,
                    Reactive::power_factor(0.9, true).expect("a power factor"),
                )
            },
            (0.5, -0.242_161),
        ),
        (
            "another curve",
            |s| {
                let points = vec![(0.94, 0.3), (0.96, 0.3), (1.04, -0.3)];
                on(s, Reactive::VoltVar(Curve::new(points).expect("a curve")));
            },
            (0.5, 0.3),
        ),
        ("nothing", |s| s.reactive = None, (0.5, 0.0)),
        (
            "a limit",
            |s| {
                s.p_limit = Some(PLimit {
                    p_pu: 0.1,
                    response_s: s.told.limit_s,
                });
            },
            // At a tenth of the rating half of the reactive power is there, as the curve wants it.
            (0.1, 0.22),
        ),
        (
            "volt-watt",
            |s| {
                s.volt_watt = Some(VoltWatt {
                    curve: Curve::new(vec![(0.90, 1.0), (1.00, 0.0)]).expect("a curve"),
                    olrt_s: s.told.volt_watt_s,
                });
                s.reactive = None;
            },
            (0.5, 0.0),
        ),
    ];
    for (what, change, (p, q)) in rows {
        let mut bench = running("[volt_var]\n");
        let before = bench.hold(0.05);
        bench.device.change(change);
        let soon = bench.hold(0.5);
        assert!(
            (soon.q_pu - before.q_pu).abs() < 0.1 && (soon.p_pu - before.p_pu).abs() < 0.1,
            "{what} is there at once: {soon:?} after {before:?}"
        );
        let late = bench.hold(29.5);
        assert!(
            (late.p_pu - p).abs() < 0.005 && (late.q_pu - q).abs() < 0.005,
            "{what}: {late:?}"
        );
    }
}

fn on(settings: &mut Settings, law: Reactive) {
    if let Some(reactive) = &mut settings.reactive {
        reactive.law = law;
    }
}

#[test]
fn one_reactive_function_gives_way_to_another_over_the_time_that_is_set() {
    let mut bench = running("[volt_var]\n[mode_change]\nover_s = 20\n");
    bench.device.change(|s| {
        on(s, Reactive::Constant(-0.22));
        if let Some(reactive) = &mut s.reactive {
            reactive.olrt_s = 0.1;
        }
    });
    // From 0.22 to -0.22: half way after half of the time.
    let found: Vec<f64> = [5.0, 5.0, 10.0].map(|s| bench.hold(s).q_pu).into();
    for (found, expected) in found.iter().zip([0.11, 0.0, -0.22]) {
        assert!((found - expected).abs() < 0.005, "{found}, not {expected}");
    }
}

#[test]
fn a_limit_goes_as_it_came_and_volt_watt_comes_down_from_the_rating() {
    let mut bench = Bench::new("");
    bench.hold(1.0);
    let limit = PLimit {
        p_pu: 0.4,
        response_s: 10.0,
    };
    bench.device.change(|s| s.p_limit = Some(limit));
    assert!((bench.hold(3.0).p_pu - 0.7).abs() < 0.01);
    assert!((bench.hold(10.0).p_pu - 0.4).abs() < 1e-6);
    bench.device.change(|s| {
        s.p_limit = None;
        s.told.limit_s = 10.0;
    });
    assert!((bench.hold(3.0).p_pu - 0.7).abs() < 0.01, "it goes at once");
    assert!((bench.hold(10.0).p_pu - 1.0).abs() < 1e-6);
}

#[test]
fn a_full_storage_takes_nothing_whatever_the_frequency_asks() {
    let mut bench = Bench::new("kind = \"storage\"\n");
    bench.seen.absorbable_pu = 0.1;
    bench.demand(-0.5).hold(1.0);
    let given = bench.f(61.0).hold(20.0);
    assert!((given.p_pu + 0.1).abs() < 1e-6, "{given:?}");
}

#[test]
fn the_time_until_it_enters_service_counts_down_and_begins_anew() {
    let mut bench = Bench::new("start_on = false\n[enter_service]\ndelay_s = 10\n");
    bench.hold(4.0);
    let left = bench.device.enters_in_s().expect("out of service");
    assert!((left - 6.0).abs() < 0.11, "{left}");
    bench.v(0.8).hold(0.1);
    assert_eq!(bench.device.enters_in_s(), Some(10.0));
    bench.v(1.0).hold(10.2);
    assert_eq!(bench.device.enters_in_s(), None);
}
