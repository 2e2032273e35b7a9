use quantities::{Frequency, Voltage};

use super::*;
use crate::plant::breaker::SyncCheck;
use crate::plant::load::Load;
use crate::plant::network::Feeder;
use crate::plant::pv::Pv;
use crate::plant::storage::StorageRating;
use crate::plant::{Forming, Site};
use crate::world::World;

pub(crate) fn world() -> World {
    let site = Site {
        v_nominal: Voltage::from_volts(230.0),
        f_nominal: Frequency::from_hertz(50.0),
        phases: 3,
    };
    let mut plant = Plant::new(
        site,
        Feeder::default(),
        Forming::default(),
        SyncCheck::default(),
        1,
    );
    plant.grid.set_noise(Frequency::ZERO);
    plant.pv.push(Pv::new(3000.0, 30_000.0, site.f_nominal));
    let rating = StorageRating {
        p: 2000.0,
        capacity_wh: 5000.0,
        ramp: 20_000.0,
    };
    plant.storage.push(Storage::new(rating, 0.5));
    plant.loads.push(Load::new(1000.0, true).shaped(0.0, 0.0));
    let device = |id: &str, kind, p| {
        let nameplate = Nameplate {
            p,
            s: p,
            capacity_wh: 5000.0,
        };
        Device::new(id.into(), "bus1".into(), kind, nameplate)
    };
    let devices = vec![
        device("met1", Kind::Pcc, 0.0),
        device("brk1", Kind::Breaker, 0.0),
        device("pv1", Kind::Pv(0), 3000.0),
        device("bat1", Kind::Storage(0), 2000.0),
        device("bms1", Kind::Battery(0), 2000.0),
        device("plug1", Kind::Plug(0), 0.0),
        device("lm1", Kind::Meter(Metered::Load(0)), 0.0),
    ];
    World::new(plant, devices, 1)
}

pub(crate) fn run(world: &mut World, seconds: f64) {
    for _ in 0..(seconds * 100.0).round() as u64 {
        world.step(Duration::from_millis(10));
    }
}

fn p(world: &World, id: &str) -> Option<f64> {
    world.value(world.device_index(id).expect("there"), Point::ActivePower)
}

#[test]
fn signs_are_canonical_but_a_load_meter_tells_consumption_as_positive() {
    let mut world = world();
    world.plant.pv[0].set_available(400.0);
    run(&mut world, 5.0);
    let rows = [
        ("pv1", 400.0),
        ("plug1", -1000.0),
        ("lm1", 1000.0),
        ("met1", 600.0),
        ("bat1", 0.0),
    ];
    for (id, watts) in rows {
        let told = p(&world, id).expect(id);
        assert!((told - watts).abs() < 1e-3, "{id}: {told}");
    }
    let met = world.device_index("met1").expect("there");
    let lm = world.device_index("lm1").expect("there");
    // The counters go with the powers: both meters see their import side, which profiles call export to the bus.
    for (meter, least) in [(met, 0.5), (lm, 1.0)] {
        assert!(world.value(meter, Point::EnergyExport).expect("counts") > least);
        assert_eq!(world.value(meter, Point::EnergyImport), Some(0.0));
    }
}

#[test]
fn a_setpoint_that_nobody_repeats_is_taken_back_by_the_device() {
    // (device, point, value, what it measures afterwards, held, reverted)
    let rows = [
        (
            "bat1",
            Point::ActivePowerSet,
            1500.0,
            Point::ActivePower,
            1500.0,
            0.0,
        ),
        (
            "pv1",
            Point::ActivePowerLimit,
            500.0,
            Point::ActivePower,
            500.0,
            3000.0,
        ),
        ("plug1", Point::SwitchOn, 0.0, Point::SwitchOn, 0.0, 1.0),
    ];
    for (id, point, value, measured, held, reverted) in rows {
        let mut world = world();
        let ix = world.device_index(id).expect("there");
        let revert = Some(Duration::from_secs(5).into());
        world.write(ix, point, value, revert).expect("taken");
        run(&mut world, 3.0);
        world.write(ix, point, value, revert).expect("repeated");
        run(&mut world, 4.9);
        let now = world.value(ix, measured).expect(id);
        assert!((now - held).abs() < 1.0, "{id} holds: {now}");
        run(&mut world, 3.0);
        let now = world.value(ix, measured).expect(id);
        assert!((now - reverted).abs() < 1.0, "{id} has reverted: {now}");
    }
}

#[test]
fn a_setpoint_without_a_revert_time_stays() {
    let mut world = world();
    let ix = world.device_index("bat1").expect("there");
    world
        .write(ix, Point::ActivePowerSet, -700.0, None)
        .expect("taken");
    run(&mut world, 600.0);
    assert!((p(&world, "bat1").expect("told") + 700.0).abs() < 1.0);
}

#[test]
fn what_a_device_does_not_have_is_refused() {
    let mut world = world();
    let met = world.device_index("met1").expect("there");
    assert_eq!(
        world.write(met, Point::ActivePowerSet, 1.0, None),
        Err(NotTaken {
            point: Point::ActivePowerSet
        })
    );
    let bat = world.device_index("bat1").expect("there");
    assert!(
        world
            .write(bat, Point::ActivePowerSet, f64::NAN, None)
            .is_err()
    );
}

#[test]
fn faults_change_what_is_told_as_they_say() {
    let rows = [
        (Fault::SignFlip, Some(-400.0)),
        (Fault::NotImplemented, None),
        (Fault::Bias(50.0), Some(450.0)),
    ];
    for (fault, expected) in rows {
        let mut world = world();
        world.plant.pv[0].set_available(400.0);
        run(&mut world, 5.0);
        world.set_fault("pv1", fault, true).expect("a device");
        let told = p(&world, "pv1");
        assert_eq!(told.map(f64::round), expected, "{fault}");
        world.set_fault("pv1", fault, false).expect("a device");
        assert_eq!(p(&world, "pv1").map(f64::round), Some(400.0));
    }
}

#[test]
fn a_stuck_device_repeats_itself_while_its_power_moves() {
    let mut world = world();
    world.plant.pv[0].set_available(400.0);
    run(&mut world, 5.0);
    world
        .set_fault("pv1", Fault::Stuck, true)
        .expect("a device");
    world.plant.pv[0].set_available(2000.0);
    run(&mut world, 5.0);
    assert_eq!(p(&world, "pv1").map(f64::round), Some(400.0));
    assert_eq!(world.get("pv1.p").map(f64::round), Ok(2000.0), "the truth");
}

#[test]
fn ignored_writes_leave_no_trace_and_a_held_output_shows_only_in_the_register() {
    for (fault, register) in [(Fault::IgnoreWrites, 0.0), (Fault::HoldOutput, 1500.0)] {
        let mut world = world();
        let ix = world.device_index("bat1").expect("there");
        world.set_fault("bat1", fault, true).expect("a device");
        world
            .write(ix, Point::ActivePowerSet, 1500.0, None)
            .expect("acknowledged");
        run(&mut world, 2.0);
        assert_eq!(
            world.setpoint(ix, Point::ActivePowerSet),
            Some(register),
            "{fault}"
        );
        assert_eq!(p(&world, "bat1"), Some(0.0), "{fault}");
    }
}

#[test]
fn a_breaker_that_waits_shows_the_command_and_not_a_closed_contact() {
    let mut world = world();
    let ix = world.device_index("brk1").expect("there");
    world.write(ix, Point::SwitchOn, 0.0, None).expect("opens");
    run(&mut world, 1.0);
    world.plant.grid.set_f(Frequency::from_hertz(49.0));
    world.write(ix, Point::SwitchOn, 1.0, None).expect("armed");
    run(&mut world, 1.0);
    assert_eq!(world.value(ix, Point::SwitchOn), Some(0.0));
    assert_eq!(world.setpoint(ix, Point::SwitchOn), Some(1.0));
    assert_eq!(world.value(ix, Point::State), Some(2.0));
    assert!(world.breaker_refusal().is_some());
}

#[test]
fn nobody_measures_the_frequency_of_a_dead_bus() {
    let mut world = world();
    world.plant.storage.clear();
    world.plant.grid.set_energised(false);
    run(&mut world, 1.0);
    let met = world.device_index("met1").expect("there");
    assert_eq!(world.value(met, Point::Frequency), None);
    assert_eq!(world.value(met, Point::VoltageL1), Some(0.0));
}

#[test]
fn signals_are_set_ramped_read_and_refused_by_name() {
    let mut world = world();
    world.set("grid.f", 49.5).expect("settable");
    world
        .ramp("load1.p", 1.0, Duration::from_secs(1))
        .expect_err("no such device");
    world
        .ramp("plug1.p", 2000.0, Duration::from_secs(10))
        .expect("settable");
    run(&mut world, 5.0);
    assert_eq!(world.get("bus.f"), Ok(49.5));
    assert!((world.get("plug1.p").expect("read") + 1500.0).abs() < 5.0);
    run(&mut world, 6.0);
    assert_eq!(world.get("plug1.p"), Ok(-2000.0));
    world.set("bms1.soc", 0.8).expect("settable");
    assert_eq!(world.get("bat1.soc"), Ok(0.8));
    assert!(matches!(
        world.set("bus.f", 50.0),
        Err(crate::world::SignalError::ReadOnly { .. })
    ));
    assert!(world.set("grid.f", f64::NAN).is_err());
    assert!(world.set("grid.colour", 1.0).is_err());
    assert!(world.set_fault("nobody", Fault::Stuck, true).is_err());
    world
        .set_fault("bus1", Fault::Loss(1.0), true)
        .expect("a bus");
    assert!(world.befall(0).lost);
}

#[test]
fn a_clock_that_jumps_ahead_takes_a_setpoint_back_and_one_that_jumps_back_keeps_it() {
    for (seconds, expected) in [(30.0, 0.0), (-30.0, 800.0)] {
        let mut world = world();
        let bat = world.device_index("bat1").expect("there");
        let revert = Some(Revert::from(Duration::from_secs(20)));
        world
            .write(bat, Point::ActivePowerSet, 800.0, revert)
            .expect("taken");
        run(&mut world, 1.0);
        world
            .set_fault("bat1", Fault::ClockJump(seconds), true)
            .expect("there");
        run(&mut world, 25.0);
        let told = p(&world, "bat1").expect("known");
        assert!((told - expected).abs() < 20.0, "{seconds} s: {told} W");
    }
}

#[test]
fn a_device_that_starts_anew_is_away_for_its_time_and_counts_from_zero() {
    let mut world = world();
    run(&mut world, 60.0);
    let plug = world.device_index("plug1").expect("there");
    let counted = |world: &World| world.value(plug, Point::EnergyImport).expect("known");
    assert!(counted(&world) > 10.0);
    world
        .set_fault("plug1", Fault::Reboot(Duration::from_secs(2)), true)
        .expect("there");
    assert!(world.is_silent(plug));
    assert!(counted(&world).abs() < 1e-9);
    run(&mut world, 2.1);
    assert!(!world.is_silent(plug));
    assert_eq!(world.starts(plug), 1);
}

#[test]
fn a_wrong_scale_tells_power_too_large_and_a_shifted_one_does_not() {
    let mut world = world();
    let right = p(&world, "lm1").expect("known");
    world
        .set_fault("lm1", Fault::WrongScale(1), true)
        .expect("there");
    assert_eq!(p(&world, "lm1"), Some(right * 10.0));
    world
        .set_fault("lm1", Fault::WrongScale(1), false)
        .expect("there");
    world
        .set_fault("bus1", Fault::ScaleShift(-1), true)
        .expect("there");
    assert_eq!(p(&world, "lm1"), Some(right));
    let lm1 = world.device_index("lm1").expect("there");
    assert_eq!(
        world.scale_shift(lm1),
        -1,
        "a fault of the bus is one of its devices"
    );
}

#[test]
fn a_broker_that_starts_anew_is_down_for_its_time() {
    let mut world = world();
    world
        .set_fault("bus1", Fault::Restart(Duration::from_secs(1)), true)
        .expect("there");
    assert!(world.broker_is_down("bus1"));
    run(&mut world, 1.1);
    assert!(!world.broker_is_down("bus1"));
}

#[test]
fn a_phase_keeps_its_share_of_the_voltage_and_all_three_have_their_mean() {
    let mut world = world();
    world.set("grid.v_l1", 253.0).expect("three phases");
    world.set("grid.v", 115.0).expect("settable");
    run(&mut world, 0.1);
    let volts = world.plant.grid.phases();
    let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found}");
    near(volts[0], 126.5);
    near(volts[2], 115.0);
    near(world.get("grid.v").expect("told"), (126.5 + 230.0) / 3.0);
    // Behind a stiff feeder a device sees the same.
    let at_pv = world.plant.volts(Unit::Pv(0));
    near(at_pv[0] / at_pv[1], 1.1);
}

#[test]
fn phases_that_cannot_differ_are_refused() {
    let mut lost = world();
    lost.set("grid.live", 0.0).expect("settable");
    let mut single = world();
    let site = Site {
        phases: 1,
        ..single.plant.site()
    };
    let (feeder, forming) = (Feeder::default(), Forming::default());
    single.plant = Plant::new(site, feeder, forming, SyncCheck::default(), 1);
    for (mut world, why) in [
        (lost, "no voltage that a phase could have a share of"),
        (single, "the site has one phase"),
    ] {
        for signal in ["grid.v_l1", "grid.phase_l3"] {
            let told = world.set(signal, 100.0).expect_err(why).to_string();
            assert!(told.contains(why), "{told}");
        }
    }
}

#[test]
fn what_is_set_for_a_time_is_again_what_it_was_to_a_step() {
    // Signal, value meanwhile, what is read meanwhile and before.
    let rows = [
        ("grid.v", 46.0, 46.0, 230.0),
        ("grid.v_l2", 46.0, 46.0, 230.0),
        ("grid.live", 0.0, 0.0, 1.0),
        ("grid.f", 49.0, 49.0, 50.0),
        ("plug1.p", 6000.0, 6000.0, 1000.0),
    ];
    for (signal, value, meanwhile, before) in rows {
        let mut world = world();
        run(&mut world, 1.0);
        let length = Duration::from_millis(150);
        world.pulse(signal, value, length).unwrap();
        // A second one in that time goes back to what was before the first.
        world.pulse(signal, value, length).unwrap();
        let read = |world: &World| world.set_value(signal).unwrap();
        for step in 1..=30 {
            world.step(Duration::from_millis(10));
            let expected = if step <= 15 { meanwhile } else { before };
            assert_eq!(read(&world), expected, "{signal} after {step} steps");
        }
        world.pulse(signal, value, length).unwrap();
        world.set(signal, value).unwrap();
        run(&mut world, 1.0);
        assert_eq!(read(&world), meanwhile, "{signal}: a later word counts");
    }
    let mut world = world();
    assert!(world.pulse("grid.noise", 1.0, STEP).is_err());
    // A phase that turns back has turned nowhere.
    world.pulse("grid.phase_l1", 60.0, STEP).unwrap();
    assert!(world.plant.grid.unbalance().is_some());
    run(&mut world, 0.1);
    assert_eq!(world.plant.grid.unbalance(), None);
    assert!(world.pulse("pv9.available", 1.0, STEP).is_err());
    world.plant.breaker.open();
    run(&mut world, 1.0);
    let angle = |world: &World| world.get("bus.angle").unwrap();
    let before = angle(&world);
    world.pulse("grid.phase", 20.0, STEP * 10).unwrap();
    world.step(STEP);
    let jumped = angle(&world) - before;
    assert!((jumped.rem_euclid(360.0) - 340.0).abs() < 2.0, "{jumped}");
    run(&mut world, 0.3);
    let still = world.plant.bus().f - world.plant.grid.f();
    let drifted = 360.0 * still * 0.31;
    let back = (angle(&world) - before - drifted).rem_euclid(360.0);
    assert!(!(10.0..350.0).contains(&back), "{back}");
}

const STEP: Duration = Duration::from_millis(10);

#[test]
fn a_wrong_sign_turns_powers_and_the_current_of_a_battery_and_a_bias_comes_on_top() {
    let mut made = world();
    let (bat, bms) = ("bat1", made.device_index("bms1").expect("there"));
    let ix = made.device_index(bat).expect("there");
    made.write(ix, Point::ActivePowerSet, 1000.0, None)
        .expect("taken");
    run(&mut made, 5.0);
    let right = made.value(bms, Point::BatteryCurrent).expect("known");
    assert!(right.abs() > 1.0, "{right}");
    for (device, fault) in [
        (bat, Fault::SignFlip),
        (bat, Fault::Bias(100.0)),
        ("bms1", Fault::SignFlip),
    ] {
        made.set_fault(device, fault, true).expect("there");
    }
    let told = p(&made, bat).expect("known");
    assert!((told + 900.0).abs() < 1.0, "{told}");
    assert_eq!(made.value(bms, Point::BatteryCurrent), Some(-right));
}

#[test]
fn a_der_returns_to_its_own_function_when_nobody_repeats_what_it_was_held_at() {
    let mut world = world();
    let settings = "[volt_var]\ncurve = [[0.92, 0.44], [0.97, 0.44], [1.03, -0.44], [1.08, -0.44]]\nolrt_s = 1\n[const_q]\nenabled = false\nolrt_s = 1\n";
    let functions = crate::plant::der::tests::functions(der_model::settings::Kind::Pv, settings);
    world.plant.pv[0].set_functions(functions);
    world.plant.pv[0].set_available(1000.0);
    world.plant.grid.set_v(Voltage::from_volts(0.97 * 230.0));
    let pv = world.device_index("pv1").expect("there");
    let check = |world: &World, expected: f64| {
        let q = world.value(pv, Point::ReactivePower).expect("measured");
        assert!((q - expected).abs() < 40.0, "{q}, not {expected}");
    };
    run(&mut world, 10.0);
    check(&world, 1320.0);
    let revert = Revert::from(Duration::from_secs(20));
    let taken = world.write(pv, Point::ReactivePowerSet, -600.0, Some(revert));
    assert_eq!(taken, Ok(()));
    run(&mut world, 15.0);
    check(&world, -600.0);
    run(&mut world, 20.0);
    check(&world, 1320.0);
}
