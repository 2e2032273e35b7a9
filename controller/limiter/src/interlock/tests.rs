//! The matrix, row by row, and what no order of events may bring about.

use model::{Point, PointSample, Rating, Reading, Sample, Setpoint};
use proptest::prelude::*;
use quantities::{ActivePower, ApparentPower, Bounds, PowerRamp, StateOfCharge};

use super::*;
use crate::Limiter;

const BREAKER: DeviceIx = DeviceIx(0);
const PCC: DeviceIx = DeviceIx(1);
const FORMER: DeviceIx = DeviceIx(2);
const FOLLOWER: DeviceIx = DeviceIx(3);
const STIFF: DeviceIx = DeviceIx(4);
const STIFF_TOO: DeviceIx = DeviceIx(5);
const SET: DeviceIx = DeviceIx(6);

fn spec(role: Role, forming: Forming, kva: f64) -> DeviceSpec {
    DeviceSpec {
        id: role.name().into(),
        role,
        rating: Rating {
            p: Bounds::between(
                ActivePower::from_kilowatts(-kva),
                ActivePower::from_kilowatts(kva),
            ),
            s_max: ApparentPower::from_kilovolt_amperes(kva),
            ramp: PowerRamp::from_watts_per_second(1e6),
            soc: Bounds::between(
                StateOfCharge::from_percent(0.0),
                StateOfCharge::from_percent(100.0),
            ),
            capacity: None,
            source: None,
            efficiency: model::Efficiency::LOSSLESS,
            temperature: None,
        },
        shed: None,
        battery: None,
        takes_power: role == Role::Ess,
        takes_reactive: role == Role::Ess,
        takes_ceiling: false,
        takes_switch: true,
        safe_p: ActivePower::ZERO,
        safe_on: None,
        forming,
        sample_age_max: Duration::from_secs(1),
    }
}

fn bench(kva: f64) -> Limiter {
    let specs = vec![
        spec(Role::Breaker, Forming::Follows, 0.0),
        spec(Role::Pcc, Forming::Follows, 0.0),
        spec(Role::Ess, Forming::Droops, kva),
        spec(Role::Ess, Forming::Follows, 0.0),
        spec(Role::Ess, Forming::Isochronous, 0.0),
        spec(Role::Ess, Forming::Isochronous, 0.0),
        spec(Role::Genset, Forming::Droops, 0.0),
    ];
    Limiter::new(specs, Fences::of(Voltage::from_volts(230.0)))
}

fn at(seconds: f64) -> Instant {
    Instant::START + Duration::from_secs_f64(seconds)
}

/// What is measured: whose, which of its points, and the value.
type Seen = (DeviceIx, Point, f64);

/// An image in which all of this was measured at 1 s.
fn seen(values: &[Seen]) -> ProcessImage {
    let mut image = ProcessImage::unread(7);
    for (device, point, value) in values {
        image.observe(PointSample {
            device: *device,
            point: *point,
            sample: Sample {
                measured_at: at(1.0),
                reading: Reading::Good(*value),
            },
        });
    }
    image
}

const CLOSE: Setpoint = Setpoint::Switch { on: true };

/// Whether the breaker may close between an island and a utility at 230 V and 50 Hz.
fn closes(kva: f64, df_hz: f64, dv_v: f64, angle_deg: f64, age_s: f64) -> Result<(), Refusal> {
    let image = seen(&[
        (BREAKER, Point::GridVoltage, 230.0),
        (BREAKER, Point::GridFrequency, 50.0),
        (BREAKER, Point::SyncAngle, angle_deg),
        (PCC, Point::Frequency, 50.0 + df_hz),
        (PCC, Point::VoltageL1, 230.0 + dv_v),
    ]);
    bench(kva)
        .approve(at(1.0 + age_s), BREAKER, CLOSE, &image)
        .map(|_| ())
}

#[test]
fn the_breaker_closes_onto_a_live_bus_only_in_step_and_the_more_kva_the_closer() {
    // kVA, difference of frequency in Hz, of voltage in V, angle in degrees, what is too large.
    let rows = [
        (100.0, 0.1, 5.0, -5.0, None),
        (100.0, 0.35, 5.0, 0.0, Some("the frequency")),
        (100.0, -0.35, 5.0, 0.0, Some("the frequency")),
        // 12 % of 230 V is 27.6 V.
        (100.0, 0.1, 27.6, 0.0, Some("the voltage")),
        (100.0, 0.1, -27.6, 0.0, Some("the voltage")),
        (100.0, 0.0, 0.0, 25.0, Some("the angle")),
        (100.0, 0.0, 0.0, -25.0, Some("the angle")),
        // At 0.1 Hz the angle moves on by 6.5 degrees until the contacts touch.
        (100.0, 0.1, 0.0, 15.0, Some("the angle")),
        (100.0, 0.1, 0.0, -15.0, None),
        (1000.0, 0.25, 0.0, -10.0, Some("the frequency")),
        (1000.0, 0.0, 13.8, 0.0, Some("the voltage")),
        (1000.0, 0.0, 0.0, 17.0, Some("the angle")),
        (2000.0, 0.15, 0.0, 0.0, Some("the frequency")),
        (2000.0, 0.0, 9.2, 0.0, Some("the voltage")),
        (2000.0, 0.0, 0.0, 12.0, Some("the angle")),
        (2000.0, 0.05, 4.0, -5.0, None),
    ];
    for (kva, df, dv, angle, too_large) in rows {
        let by = match closes(kva, df, dv, angle, 0.0) {
            Ok(()) => None,
            Err(Refusal::OutOfStep { by, .. }) => Some(by),
            Err(other) => Some(if other == Refusal::GridNotHealthy {
                "grid"
            } else {
                "other"
            }),
        };
        assert_eq!(by, too_large, "{kva} kVA, {df} Hz, {dv} V, {angle} deg");
    }
}

#[test]
fn an_angle_is_taken_to_where_it_has_moved_since_it_was_read_and_at_its_worst() {
    assert_eq!(closes(100.0, 0.1, 0.0, -15.0, 0.3), Ok(()));
    // 0.6 s at 0.1 Hz are 21.6 degrees, and 6.5 until the contacts touch.
    let late = closes(100.0, 0.1, 0.0, -5.0, 0.6).expect_err("it has moved on");
    assert!(
        late.to_string()
            .contains("the angle is beyond the limit of 20"),
        "{late}"
    );
    // Without a slip an old angle is only unsure: 3.6 degrees for each second.
    assert_eq!(closes(100.0, 0.0, 0.0, 17.0, 0.5), Ok(()));
    assert!(closes(100.0, 0.0, 0.0, 17.0, 0.9).is_err());
}

#[test]
fn the_matrix_of_interlocks() {
    let dead = (PCC, Point::VoltageL1, 2.0);
    let alive = (PCC, Point::VoltageL1, 229.0);
    let between = (PCC, Point::VoltageL1, 60.0);
    let open = (BREAKER, Point::SwitchOn, 0.0);
    let closed = (BREAKER, Point::SwitchOn, 1.0);
    let utility = [
        (BREAKER, Point::GridVoltage, 230.0),
        (BREAKER, Point::GridFrequency, 50.0),
    ];
    let angle = Refusal::StepNotKnown {
        what: "the difference of frequency",
    };
    let at_60 = Refusal::BusBetween {
        v: Voltage::from_volts(60.0),
    };
    let rows: &[(DeviceIx, &[Seen], Option<Refusal>)] = &[
        (BREAKER, &[utility[0], utility[1], dead], None),
        (BREAKER, &[utility[0], utility[1], between], Some(at_60)),
        (
            BREAKER,
            &[utility[0], utility[1]],
            Some(Refusal::BusNotKnown),
        ),
        (BREAKER, &[utility[0], utility[1], alive], Some(angle)),
        (BREAKER, &[dead], Some(Refusal::GridNotHealthy)),
        (FORMER, &[dead, open], None),
        (FORMER, &[dead, closed], Some(Refusal::BackFeed)),
        (FORMER, &[dead], Some(Refusal::BackFeed)),
        (FORMER, &[alive, closed], None),
        (FORMER, &[between, open], Some(at_60)),
        (FORMER, &[open], Some(Refusal::BusNotKnown)),
        (FOLLOWER, &[dead, open], Some(Refusal::NoFormer)),
        (FOLLOWER, &[open], Some(Refusal::BusNotKnown)),
        (FOLLOWER, &[alive, open], None),
        (SET, &[dead, open], None),
        (SET, &[dead, closed], Some(Refusal::BackFeed)),
        (STIFF, &[dead, open], Some(Refusal::TwoUndrooped)),
        (
            STIFF,
            &[dead, open, (STIFF_TOO, Point::SwitchOn, 1.0)],
            Some(Refusal::TwoUndrooped),
        ),
        (
            STIFF,
            &[dead, open, (STIFF_TOO, Point::SwitchOn, 0.0)],
            None,
        ),
    ];
    for (device, values, refused) in rows {
        let verdict = bench(100.0).approve(at(1.2), *device, CLOSE, &seen(values));
        assert_eq!(verdict.err(), *refused, "{device:?} {values:?}");
        let opened = bench(100.0).approve(
            at(1.2),
            *device,
            Setpoint::Switch { on: false },
            &seen(values),
        );
        assert!(opened.is_ok(), "opening is never refused");
    }
}

#[test]
fn who_only_follows_is_at_rest_while_the_breaker_is_open_and_nobody_forms() {
    let rows = [
        (FOLLOWER, Some(229.0), Some(0.0), 1.0),
        (FOLLOWER, Some(2.0), Some(0.0), 0.0),
        (FOLLOWER, None, Some(0.0), 0.0),
        (FOLLOWER, None, Some(1.0), 1.0),
        (FORMER, None, Some(0.0), 1.0),
        (FORMER, Some(2.0), Some(0.0), 0.0),
    ];
    for (device, v, breaker, expected) in rows {
        let mut values = vec![
            (device, Point::ActivePower, 1000.0),
            (device, Point::StateOfCharge, 0.5),
        ];
        values.extend(v.map(|v| (PCC, Point::VoltageL1, v)));
        values.extend(breaker.map(|on| (BREAKER, Point::SwitchOn, on)));
        let mut limiter = bench(1000.0);
        limiter.widen(FOLLOWER, ActivePower::from_kilowatts(10.0));
        let wish = Setpoint::Power {
            p: ActivePower::from_watts(1000.0),
            q: quantities::ReactivePower::ZERO,
        };
        let verdict = limiter
            .approve(at(1.2), device, wish, &seen(&values))
            .expect("approved");
        let Setpoint::Power { p, .. } = verdict.approved.get() else {
            unreachable!()
        };
        assert_eq!(
            p.as_kilowatts(),
            expected,
            "{device:?} {v:?} {breaker:?}: {:?}",
            verdict.clamps
        );
    }
}

proptest! {
    /// A utility and an island turn at frequencies of their own; meters of both are read now and then,
    /// and somebody asks for the breaker all the time. When it is let through, the true angle at every
    /// moment until the contacts touch is inside the window.
    #[test]
    fn no_order_of_readings_closes_the_breaker_out_of_step(
        kva in 10.0..3000.0_f64,
        df in -0.5..0.5_f64,
        dv in -40.0..40.0_f64,
        start in -180.0..180.0_f64,
        reads in proptest::collection::vec((0.02..0.9_f64, any::<bool>()), 1..30)
    ) {
        let mut limiter = bench(kva);
        let window = SyncWindow::of(&[spec(Role::Ess, Forming::Droops, kva)]);
        let angle = |t: f64| turned(start + 360.0 * df * t);
        let mut image = ProcessImage::unread(7);
        let mut now = 1.0;
        let read = |now: f64, image: &mut ProcessImage| {
            for (device, point, value) in [
                (BREAKER, Point::GridVoltage, 230.0),
                (BREAKER, Point::GridFrequency, 50.0),
                (BREAKER, Point::Frequency, 50.0 + df),
                (BREAKER, Point::SyncAngle, angle(now)),
                (PCC, Point::VoltageL1, 230.0 + dv),
            ] {
                image.observe(PointSample {
                    device,
                    point,
                    sample: Sample { measured_at: at(now), reading: Reading::Good(value) },
                });
            }
        };
        for (wait, is_read) in reads {
            if is_read { read(now, &mut image); }
            if limiter.approve(at(now), BREAKER, CLOSE, &image).is_ok() {
                prop_assert!(df.abs() <= window.df_max.as_hertz());
                prop_assert!(dv.abs() / 230.0 <= window.dv_max_pu + 1e-12);
                for later in [0.0, 0.05, 0.10, 0.18] {
                    let true_angle = angle(now + later).abs();
                    prop_assert!(true_angle <= window.angle_max.as_degrees() + 1e-6, "{true_angle}");
                }
            }
            now += wait;
        }
    }
}
