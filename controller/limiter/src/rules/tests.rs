//! The limiter's promises, by row and by property.

use std::time::Duration;

use model::{
    DeviceImage, DeviceSpec, Flaw, NotACharacteristic, PointSample, Rating, Reading, Sample,
    SourceRating, TemperatureRating,
};
use proptest::prelude::*;
use quantities::{
    ApparentPower, Energy, Frequency, PowerRamp, StateOfCharge, Temperature, Voltage,
};

use super::*;

const ESS: DeviceIx = DeviceIx(0);
const BAT: DeviceIx = DeviceIx(1);
const BREAKER: DeviceIx = DeviceIx(2);

fn spec(role: Role) -> DeviceSpec {
    DeviceSpec {
        id: role.name().into(),
        role,
        rating: Rating {
            p: Bounds::between(
                ActivePower::from_kilowatts(-10.0),
                ActivePower::from_kilowatts(10.0),
            ),
            s_max: ApparentPower::from_kilovolt_amperes(10.0),
            ramp: PowerRamp::from_watts_per_second(5_000.0),
            soc: Bounds::between(
                StateOfCharge::from_percent(15.0),
                StateOfCharge::from_percent(90.0),
            ),
            capacity: Some(Energy::from_kilowatt_hours(10.0)),
            source: None,
            efficiency: model::Efficiency::LOSSLESS,
            temperature: None,
        },
        shed: None,
        battery: (role == Role::Ess).then_some(BAT),
        takes_power: role == Role::Ess,
        takes_reactive: role == Role::Ess,
        takes_ceiling: false,
        takes_switch: role == Role::Breaker,
        safe_p: ActivePower::ZERO,
        safe_on: None,
        forming: model::Forming::Droops,
        sample_age_max: Duration::from_secs(3),
    }
}

fn bench() -> (Limiter, ProcessImage) {
    let specs = vec![spec(Role::Ess), spec(Role::Battery), spec(Role::Breaker)];
    let limiter = Limiter::new(specs, Fences::of(Voltage::from_volts(230.0)));
    let mut image = ProcessImage::unread(3);
    see(&mut image, ESS, model::Point::ActivePower, 0.0, 0.0);
    see(&mut image, BAT, model::Point::StateOfCharge, 0.5, 0.0);
    (limiter, image)
}

fn see(image: &mut ProcessImage, device: DeviceIx, point: model::Point, value: f64, at_s: f64) {
    image.observe(PointSample {
        device,
        point,
        sample: Sample {
            measured_at: at(at_s),
            reading: Reading::Good(value),
        },
    });
}

fn at(seconds: f64) -> Instant {
    Instant::START + Duration::from_secs_f64(seconds)
}

fn power(kw: f64) -> Setpoint {
    Setpoint::Power {
        p: ActivePower::from_kilowatts(kw),
        q: ReactivePower::ZERO,
    }
}

fn approved_kw(limiter: &mut Limiter, image: &ProcessImage, at_s: f64, kw: f64) -> f64 {
    match limiter
        .approve(at(at_s), ESS, power(kw), image)
        .expect("approved")
        .approved
        .get()
    {
        Setpoint::Power { p, .. } => p.as_kilowatts(),
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn a_setpoint_moves_no_faster_than_its_ramp() {
    let (mut limiter, image) = bench();
    // 5 kW/s is 0.5 kW in a period of 100 ms.
    let rows = [
        (0.05, 0.25, "from what was measured 50 ms ago"),
        (0.15, 0.75, "one period later"),
        (0.20, 1.0, "half a period later"),
        (60.0, 1.5, "one period at most, after a hold"),
    ];
    for (at_s, expected, why) in rows {
        assert_eq!(
            approved_kw(&mut limiter, &image, at_s, 9.0),
            expected,
            "{why}"
        );
    }
}

#[test]
fn what_the_fast_path_is_given_in_each_of_its_steps_does_not_add_up_to_more_than_the_ramp() {
    let (mut limiter, image) = bench();
    approved_kw(&mut limiter, &image, 1.0, 0.0);
    let mut last = 0.0;
    for n in 1..=100 {
        last = approved_kw(&mut limiter, &image, 1.0 + f64::from(n) * 0.001, 9.0);
    }
    assert!((last - 0.5).abs() < 1e-9, "100 ms at 5 kW/s: {last}");
}

#[test]
fn the_first_setpoint_after_a_start_moves_no_further_than_any_other() {
    let (mut limiter, mut image) = bench();
    see(&mut image, ESS, model::Point::ActivePower, 2000.0, 1.0);
    see(&mut image, BAT, model::Point::StateOfCharge, 0.5, 1.0);
    assert_eq!(
        approved_kw(&mut limiter, &image, 2.0, 9.0),
        2.5,
        "from what is measured, one period"
    );
    // Where its power was never read, it begins at what its profile calls safe.
    let (mut limiter, _) = bench();
    let mut blind = ProcessImage::unread(3);
    see(&mut blind, BAT, model::Point::StateOfCharge, 0.5, 0.0);
    assert_eq!(approved_kw(&mut limiter, &blind, 1.0, 9.0), 0.5);
}

#[test]
fn an_empty_battery_is_not_discharged_and_a_full_one_not_charged() {
    for (soc, wish, expected) in [(0.14, 5.0, 0.0), (0.14, -0.04, -0.04), (0.91, -5.0, 0.0)] {
        let (mut limiter, mut image) = bench();
        see(&mut image, BAT, model::Point::StateOfCharge, soc, 1.0);
        assert_eq!(
            approved_kw(&mut limiter, &image, 1.0, wish),
            expected,
            "soc {soc}"
        );
    }
}

#[test]
fn an_unknown_state_of_charge_permits_nothing() {
    let (mut limiter, _) = bench();
    let image = ProcessImage::unread(3);
    assert_eq!(approved_kw(&mut limiter, &image, 1.0, 0.04), 0.0);
}

#[test]
fn a_stale_state_of_charge_is_taken_at_its_worst() {
    // 50 % can fall to 15 % in 0.35 * 10 kWh / 10 kW = 1260 s.
    for (at_s, permitted) in [(1250.0, true), (1261.0, false)] {
        let (mut limiter, image) = bench();
        let approved = approved_kw(&mut limiter, &image, at_s, 0.04);
        assert_eq!(approved > 0.0, permitted, "{at_s}");
    }
}

#[test]
fn the_battery_s_own_current_limits_bind() {
    let (mut limiter, mut image) = bench();
    see(&mut image, BAT, model::Point::BatteryVoltage, 50.0, 1.0);
    see(&mut image, BAT, model::Point::DischargeCurrentMax, 0.5, 1.0);
    assert_eq!(approved_kw(&mut limiter, &image, 1.0, 5.0), 0.025);
}

#[test]
fn what_is_offline_or_not_a_number_or_of_another_kind_is_refused() {
    let (mut limiter, mut image) = bench();
    let nan = Setpoint::Power {
        p: ActivePower::from_watts(f64::NAN),
        q: ReactivePower::ZERO,
    };
    let rows = [
        (ESS, nan, Refusal::NotANumber),
        (ESS, Setpoint::Switch { on: true }, Refusal::NotDispatchable),
        (BAT, power(1.0), Refusal::NotDispatchable),
        (DeviceIx(9), power(1.0), Refusal::NoSuchDevice),
    ];
    for (device, wish, refusal) in rows {
        assert_eq!(
            limiter.approve(at(1.0), device, wish, &image).unwrap_err(),
            refusal
        );
    }
    image.devices[0].link = Link::Offline;
    assert_eq!(
        limiter
            .approve(at(1.0), ESS, power(1.0), &image)
            .unwrap_err(),
        Refusal::Offline
    );
}

#[test]
fn the_breaker_does_not_close_onto_a_utility_that_is_not_seen_healthy() {
    let close = Setpoint::Switch { on: true };
    let rows = [
        (Some(230.0), Some(50.0), true),
        (Some(100.0), Some(50.0), false),
        (Some(230.0), None, false),
        (None, Some(50.0), false),
    ];
    for (v, f, expected) in rows {
        let (mut limiter, mut image) = bench();
        see(&mut image, ESS, model::Point::VoltageL1, 0.0, 1.0);
        if let Some(v) = v {
            see(&mut image, BREAKER, model::Point::GridVoltage, v, 1.0);
        }
        if let Some(f) = f {
            see(&mut image, BREAKER, model::Point::GridFrequency, f, 1.0);
        }
        let verdict = limiter.approve(at(1.5), BREAKER, close, &image);
        assert_eq!(verdict.is_ok(), expected, "{v:?} {f:?}");
        let stale = limiter.approve(at(9.0), BREAKER, close, &image);
        assert_eq!(stale.unwrap_err(), Refusal::GridNotHealthy);
    }
}

proptest! {
    #[test]
    fn whatever_is_wished_stays_inside_rating_circle_ramp_and_battery(
        wishes in proptest::collection::vec((0.0..2.0_f64, -1e5..1e5_f64, -1e5..1e5_f64, 0.0..1.0_f64), 1..40)
    ) {
        let (mut limiter, mut image) = bench();
        let mut now = 1.0;
        let mut last: Option<f64> = None;
        for (dt, p, q, soc) in wishes {
            now += dt;
            see(&mut image, BAT, model::Point::StateOfCharge, soc, now);
            let wish = Setpoint::Power { p: ActivePower::from_watts(p), q: ReactivePower::from_vars(q) };
            let verdict = limiter.approve(at(now), ESS, wish, &image).expect("approved");
            let Setpoint::Power { p, q } = verdict.approved.get() else { unreachable!() };
            prop_assert!(ApparentPower::of(p, q).as_volt_amperes() <= 10_000.0 * (1.0 + 1e-12));
            if soc <= 0.15 { prop_assert!(p.as_watts() <= 0.0); }
            if soc >= 0.90 { prop_assert!(p.as_watts() >= 0.0); }
            if let Some(last) = last {
                let step = (p.as_watts() - last).abs();
                // The battery may stop a setpoint faster than its ramp.
                // (Times are whole nanoseconds: 5 kW/s for one of them is 5 uW.)
                let stopped = verdict.clamps.iter().any(|c| matches!(c, Clamp::Battery { .. }));
                prop_assert!(stopped || step <= 5_000.0 * dt.min(0.1) + 1e-3);
            }
            last = Some(p.as_watts());
        }
    }
}

#[test]
fn a_failed_read_does_not_count_as_a_reading() {
    let mut device = DeviceImage::unread();
    device.observe(
        model::Point::StateOfCharge,
        Sample {
            measured_at: at(1.0),
            reading: Reading::Bad(Flaw::Timeout),
        },
    );
    assert_eq!(device.soc.last_good, None);
}

#[test]
fn a_characteristic_is_only_for_an_inverter_that_is_there_and_only_one_that_can_be_followed() {
    let mut pv = spec(Role::Pv);
    pv.takes_ceiling = true;
    let mut silent = pv.clone();
    silent.takes_ceiling = false;
    let specs = vec![pv, silent, spec(Role::Battery)];
    let limiter = Limiter::new(specs, Fences::of(Voltage::from_volts(230.0)));
    let mut image = ProcessImage::unread(3);
    for device in [DeviceIx(0), DeviceIx(1), DeviceIx(2)] {
        see(&mut image, device, model::Point::ActivePower, 0.0, 0.0);
    }
    let curve = Characteristic::VoltVar(vec![(0.92, 0.44), (1.08, -0.44)]);
    let too_much = Characteristic::VoltVar(vec![(0.92, 1.44)]);
    let outside = NotACharacteristic::Outside("a reactive power", "-1..1");
    let rows = [
        (DeviceIx(0), &curve, None),
        (
            DeviceIx(0),
            &too_much,
            Some(Refusal::NotACharacteristic(outside)),
        ),
        // Nothing may be written to a device that takes nothing.
        (DeviceIx(1), &curve, Some(Refusal::NotDispatchable)),
        (DeviceIx(2), &curve, Some(Refusal::NotDispatchable)),
        (DeviceIx(9), &curve, Some(Refusal::NoSuchDevice)),
    ];
    for (device, wish, refusal) in rows {
        let verdict = limiter.approve_characteristic(device, wish.clone(), &image);
        match (verdict, refusal) {
            (Ok(approved), None) => assert_eq!(approved.value(), wish),
            (verdict, refusal) => assert_eq!(verdict.err(), refusal, "{device:?}"),
        }
    }
    let mut gone = image.clone();
    gone.devices[0].link = Link::Offline;
    let verdict = limiter.approve_characteristic(DeviceIx(0), curve, &gone);
    assert_eq!(verdict.err(), Some(Refusal::Offline));
}

#[test]
fn rest_is_what_the_profile_calls_safe_and_needs_no_image() {
    let mut limiter = bench().0;
    let storage = limiter.rest(at(1.0), ESS).expect("a storage rests");
    assert_eq!(storage.get(), power(0.0));
    assert_eq!(
        limiter.rest(at(1.0), BREAKER),
        None,
        "a breaker is left alone"
    );

    let mut pv = spec(Role::Pv);
    pv.takes_ceiling = true;
    pv.safe_p = ActivePower::from_kilowatts(1000.0);
    let mut plug = spec(Role::Load);
    plug.takes_switch = true;
    plug.safe_on = Some(false);
    let mut limiter = Limiter::new(vec![pv, plug], Fences::of(Voltage::from_volts(230.0)));
    let ceiling = limiter.rest(at(1.0), DeviceIx(0)).expect("a ceiling");
    assert_eq!(
        ceiling.get(),
        Setpoint::Ceiling {
            p: ActivePower::from_kilowatts(10.0)
        },
        "never above the rating"
    );
    let off = limiter.rest(at(1.0), DeviceIx(1)).expect("a plug");
    assert_eq!(off.get(), Setpoint::Switch { on: false });
}

const SOURCE: DeviceIx = DeviceIx(0);

fn source(rocof: Option<f64>, slew: Option<f64>) -> (Limiter, ProcessImage) {
    let mut spec = spec(Role::Source);
    spec.rating.source = Some(SourceRating {
        f: Bounds::between(Frequency::from_hertz(47.0), Frequency::from_hertz(52.0)),
        v: Bounds::between(Voltage::from_volts(180.0), Voltage::from_volts(260.0)),
        rocof: rocof.map(quantities::FrequencyRate::from_hertz_per_second),
        slew: slew.map(quantities::VoltageRate::from_volts_per_second),
        nominal: (Frequency::from_hertz(50.0), Voltage::from_volts(230.0)),
    });
    let mut image = ProcessImage::unread(1);
    see(&mut image, SOURCE, model::Point::Frequency, 50.0, 0.0);
    see(&mut image, SOURCE, model::Point::VoltageL1, 230.0, 0.0);
    (
        Limiter::new(vec![spec], Fences::of(Voltage::from_volts(230.0))),
        image,
    )
}

fn ask(f: Option<f64>, v: Option<f64>, on: Option<bool>) -> Setpoint {
    Setpoint::Source {
        f: f.map(Frequency::from_hertz),
        v: v.map(Voltage::from_volts),
        phase: None,
        on,
    }
}

#[test]
fn a_source_stays_inside_the_rigs_limits_and_what_is_not_asked_stays_unasked() {
    let rows = [
        ((Some(49.5), None, None), (Some(49.5), None, None), 0),
        (
            (Some(40.0), Some(300.0), None),
            (Some(47.0), Some(260.0), None),
            2,
        ),
        (
            (Some(53.0), Some(0.0), Some(true)),
            (Some(52.0), Some(180.0), Some(true)),
            2,
        ),
        ((None, None, Some(false)), (None, None, Some(false)), 0),
    ];
    for ((f, v, on), expected, clamps) in rows {
        let (mut limiter, image) = source(None, None);
        let verdict = limiter
            .approve(at(1.0), SOURCE, ask(f, v, on), &image)
            .expect("approved");
        let (f, v, on) = expected;
        assert_eq!(verdict.approved.get(), ask(f, v, on));
        assert_eq!(verdict.clamps.len(), clamps, "{:?}", verdict.clamps);
    }
}

#[test]
fn a_source_is_refused_what_is_no_number_and_no_other_device_is_a_source() {
    let (mut limiter, image) = source(None, None);
    let wish = ask(Some(f64::NAN), None, None);
    assert_eq!(
        limiter.approve(at(1.0), SOURCE, wish, &image),
        Err(Refusal::NotANumber)
    );
    let (mut limiter, image) = bench();
    assert_eq!(
        limiter.approve(at(1.0), ESS, ask(Some(50.0), None, None), &image),
        Err(Refusal::NotDispatchable)
    );
}

#[test]
fn the_frequency_of_a_source_moves_no_faster_than_the_rig_allows() {
    let (mut limiter, image) = source(Some(2.0), None);
    let mut approved = |at_s: f64, f: f64| {
        let verdict = limiter
            .approve(at(at_s), SOURCE, ask(Some(f), None, None), &image)
            .expect("approved");
        match verdict.approved.get() {
            Setpoint::Source { f: Some(f), .. } => (f.as_hertz() * 1e6).round() / 1e6,
            other => unreachable!("{other:?}"),
        }
    };
    assert_eq!(
        approved(1.0, 49.0),
        49.98,
        "from what is measured, 10 ms worth"
    );
    assert_eq!(approved(1.1, 49.0), 49.78);
    assert_eq!(approved(1.1, 49.0), 49.78, "no time, no way");
    assert_eq!(approved(1.15, 49.0), 49.68);
    assert_eq!(approved(60.0, 52.0), 49.88, "one usual cycle at most");
}

#[test]
fn the_voltage_of_a_source_moves_no_faster_than_the_rig_allows_and_every_clamp_is_told() {
    let (mut limiter, image) = source(None, Some(20.0));
    let mut approved = |at_s: f64, f: Option<f64>, v: Option<f64>| {
        let verdict = limiter
            .approve(at(at_s), SOURCE, ask(f, v, None), &image)
            .expect("approved");
        let Setpoint::Source { v, .. } = verdict.approved.get() else {
            unreachable!("{verdict:?}")
        };
        let v = v.map(|v| (v.as_volts() * 1e6).round() / 1e6);
        (v, verdict.clamps)
    };
    let slew = |wished: f64| {
        vec![Clamp::Slew {
            wished: Voltage::from_volts(wished),
        }]
    };
    // From what is measured, 10 ms worth; then by the time since the voltage was asked for.
    assert_eq!(approved(1.0, None, Some(250.0)), (Some(230.2), slew(250.0)));
    assert_eq!(approved(1.04, Some(49.0), None), (None, vec![]));
    assert_eq!(
        approved(1.05, None, Some(250.0)),
        (Some(231.2), slew(250.0))
    );
    assert_eq!(approved(1.1, None, Some(232.0)), (Some(232.0), vec![]));
    let (v, clamps) = approved(60.0, None, Some(10.0));
    assert_eq!(v, Some(230.0), "one usual cycle at most");
    assert_eq!(clamps.len(), 2, "{clamps:?}");
}

#[test]
fn a_source_rests_at_nominal_if_it_was_ever_set_and_its_output_stays_as_it_is() {
    let (mut limiter, image) = source(Some(2.0), None);
    assert_eq!(limiter.rest(at(1.0), SOURCE), None);
    limiter
        .approve(at(1.0), SOURCE, ask(None, None, Some(true)), &image)
        .expect("approved");
    let rest = limiter.rest(at(2.0), SOURCE).expect("it was set");
    assert_eq!(rest.get(), ask(Some(50.0), Some(230.0), None));
}

const PCC: DeviceIx = DeviceIx(3);

/// A bench whose exchange is limited to 4 kW of import and 2 kW of export.
fn limited_bench() -> (Limiter, ProcessImage) {
    let mut second = spec(Role::Ess);
    second.rating.ramp = PowerRamp::from_watts_per_second(1e6);
    let mut first = second.clone();
    (first.battery, second.battery) = (None, None);
    let mut pv = spec(Role::Pv);
    pv.takes_ceiling = true;
    let specs = vec![first, second, spec(Role::Breaker), spec(Role::Pcc), pv];
    let fences = Fences {
        exchange: Some(Bounds::between(
            ActivePower::from_kilowatts(-2.0),
            ActivePower::from_kilowatts(4.0),
        )),
        ..Fences::of(Voltage::from_volts(230.0))
    };
    let mut image = ProcessImage::unread(5);
    for device in [ESS, BAT] {
        see(&mut image, device, model::Point::ActivePower, 0.0, 1.0);
        see(&mut image, device, model::Point::StateOfCharge, 0.5, 1.0);
    }
    see(&mut image, DeviceIx(4), model::Point::ActivePower, 0.0, 1.0);
    see(&mut image, BREAKER, model::Point::SwitchOn, 1.0, 1.0);
    (Limiter::new(specs, fences), image)
}

#[test]
fn a_wish_is_held_back_where_the_exchange_would_leave_its_limits_and_rest_is_always_left() {
    // Exchange that is measured, wish, what is approved; import is positive. kW.
    let rows = [
        (Some(1.0), 9.0, 3.0),
        (Some(1.0), -9.0, -3.0),
        (Some(1.0), 2.0, 2.0),
        // Loads alone import too much: a wish to charge comes to rest, nothing is forced out.
        (Some(6.0), -1.0, 0.0),
        (Some(6.0), 1.0, 1.0),
        (Some(-3.0), 1.0, 0.0),
        // An exchange that is not known leaves rest only.
        (None, 5.0, 0.0),
    ];
    for (exchange, wish, expected) in rows {
        let (mut limiter, mut image) = limited_bench();
        if let Some(kw) = exchange {
            see(&mut image, PCC, model::Point::ActivePower, kw * 1e3, 1.0);
        }
        let got = approved_kw(&mut limiter, &image, 1.1, wish);
        assert!((got - expected).abs() < 1e-9, "{exchange:?} {wish}: {got}");
    }
}

#[test]
fn what_a_storage_has_moved_since_the_meter_was_read_is_not_counted_twice() {
    let (mut limiter, mut image) = limited_bench();
    // 6 kW of loads are imported while the storage rests; the meter is not read again for a second.
    see(&mut image, PCC, model::Point::ActivePower, 6000.0, 1.0);
    let mut last = 0.0;
    for cycle in 1..10 {
        let now = 1.0 + f64::from(cycle) * 0.1;
        last = approved_kw(&mut limiter, &image, now, 9.0);
        // It follows at once, and is read at once.
        see(
            &mut image,
            ESS,
            model::Point::ActivePower,
            last * 1e3,
            now + 0.05,
        );
    }
    assert_eq!(
        last, 8.0,
        "6 kW of loads and 2 kW of export, not one watt more"
    );
    // The meter is read again, and tells what came of it: nothing changes.
    see(&mut image, PCC, model::Point::ActivePower, -2000.0, 1.97);
    assert_eq!(approved_kw(&mut limiter, &image, 2.0, 9.0), 8.0);
    for cycle in 1..40 {
        let now = 2.0 + f64::from(cycle) * 0.1;
        see(&mut image, PCC, model::Point::ActivePower, -2000.0, now);
        see(&mut image, ESS, model::Point::ActivePower, 8000.0, now);
        assert_eq!(
            approved_kw(&mut limiter, &image, now, 9.0),
            8.0,
            "at {now} s"
        );
    }
}

#[test]
fn two_storages_share_the_room_of_the_exchange_whether_or_not_the_first_follows() {
    let (mut limiter, mut image) = limited_bench();
    see(&mut image, PCC, model::Point::ActivePower, 1000.0, 1.0);
    let mut approve = |at_s, device, kw| match limiter
        .approve(at(at_s), device, power(kw), &image)
        .expect("approved")
        .approved
        .get()
    {
        Setpoint::Power { p, .. } => p.as_kilowatts(),
        other => unreachable!("{other:?}"),
    };
    assert_eq!(approve(1.1, ESS, 2.0), 2.0);
    assert_eq!(
        approve(1.1, BAT, 9.0),
        1.0,
        "3 kW may be fed in from 1 kW of import"
    );
    // The first may not follow, so its 2 kW make no room for charging.
    assert_eq!(approve(1.2, BAT, -9.0), -3.0);
}

#[test]
fn an_open_breaker_exchanges_nothing_and_the_limit_sleeps() {
    let (mut limiter, mut image) = limited_bench();
    see(&mut image, ESS, model::Point::VoltageL1, 230.0, 1.0);
    see(&mut image, BREAKER, model::Point::SwitchOn, 0.0, 1.05);
    assert_eq!(approved_kw(&mut limiter, &image, 1.1, 9.0), 9.0);
}

#[test]
fn a_ceiling_is_held_under_the_limit_of_export_as_if_the_sun_gave_all_of_it() {
    let (mut limiter, mut image) = limited_bench();
    see(&mut image, PCC, model::Point::ActivePower, 1000.0, 1.0);
    let wish = Setpoint::Ceiling {
        p: ActivePower::from_kilowatts(9.0),
    };
    let verdict = limiter
        .approve(at(1.1), DeviceIx(4), wish, &image)
        .expect("approved");
    let held = ActivePower::from_kilowatts(3.0);
    assert_eq!(verdict.approved.get(), Setpoint::Ceiling { p: held });
    assert_eq!(
        verdict.clamps[0].to_string(),
        "limit of the exchange, 1.0 kW imported, wished 9.0 kW"
    );
}

#[test]
fn a_battery_too_cold_is_not_charged_and_one_too_warm_is_left_alone() {
    // Temperature in degC, seconds since it was read, wish in kW, what is approved.
    let rows = [
        (Some(20.0), 0.0, -0.4, -0.4),
        (Some(-1.0), 0.0, -0.4, 0.0),
        (Some(-1.0), 0.0, 0.4, 0.4),
        (Some(46.0), 0.0, -0.4, 0.0),
        (Some(46.0), 0.0, 0.4, 0.4),
        (Some(51.0), 0.0, 0.4, 0.0),
        (None, 0.0, 0.4, 0.0),
        // 1 K/min beyond the 3 s for which a sample is fresh: 49 degC may be 50.02 degC after 64 s.
        (Some(49.0), 62.0, 0.4, 0.4),
        (Some(49.0), 64.5, 0.4, 0.0),
    ];
    for (t, age_s, wish, expected) in rows {
        let (mut limiter, mut image) = bench();
        let range = |low, high| {
            Bounds::between(
                Temperature::from_celsius(low),
                Temperature::from_celsius(high),
            )
        };
        limiter.specs[0].rating.temperature = Some(TemperatureRating {
            charge: range(0.0, 45.0),
            discharge: range(-10.0, 50.0),
        });
        if let Some(t) = t {
            see(&mut image, BAT, model::Point::BatteryTemperature, t, 1.0);
        }
        let now = 1.0 + age_s;
        see(&mut image, BAT, model::Point::StateOfCharge, 0.5, now);
        let got = approved_kw(&mut limiter, &image, now, wish);
        assert_eq!(got, expected, "{t:?} degC, {age_s} s old, {wish} kW");
    }
}

#[test]
fn a_battery_that_told_its_limits_and_has_fallen_silent_has_none_any_more() {
    let (mut limiter, mut image) = bench();
    see(&mut image, BAT, model::Point::BatteryVoltage, 50.0, 1.0);
    see(
        &mut image,
        BAT,
        model::Point::DischargeCurrentMax,
        100.0,
        1.0,
    );
    assert!(approved_kw(&mut limiter, &image, 1.5, 0.4) > 0.0);
    assert_eq!(approved_kw(&mut limiter, &image, 4.5, 0.4), 0.0);
}

proptest! {
    /// Whatever is wished of two storages in whatever order, what the limiter lets through keeps the
    /// exchange inside its limits, whichever of the two follows; or the device is at rest.
    #[test]
    fn the_exchange_stays_inside_its_limits_whoever_follows(
        exchange in -3e3..6e3_f64,
        wishes in proptest::collection::vec((any::<bool>(), -1e4..1e4_f64), 1..12)
    ) {
        let (mut limiter, mut image) = limited_bench();
        see(&mut image, PCC, model::Point::ActivePower, exchange, 1.0);
        let mut held = [0.0_f64; 2];
        for (second, wish) in wishes {
            let device = if second { BAT } else { ESS };
            let verdict = limiter.approve(at(1.1), device, power(wish / 1e3), &image).expect("approved");
            let Setpoint::Power { p, .. } = verdict.approved.get() else { unreachable!() };
            held[usize::from(second)] = p.as_watts();
            let own = p.as_watts();
            if own == 0.0 { continue; }
            let other = held[usize::from(!second)];
            for follows in [0.0, 1.0] {
                let after = exchange - own - other * follows;
                let inside = if own > 0.0 { after >= -2e3 - 1e-6 } else { after <= 4e3 + 1e-6 };
                prop_assert!(inside, "own {own}, other {other} x {follows}, exchange {exchange}");
            }
        }
    }
}
