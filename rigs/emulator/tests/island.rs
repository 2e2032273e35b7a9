//! The whole emulated plant against closed forms: what its devices tell, not what a model computes.
//!
//! Numbers of the rows: `nadir` and its time from
//! `df(t) = -dP/(D+1/R) (1 - e^(-z wn t) (cos wd t + (z wn - T wn^2)/wd sin wd t))` at the first root
//! of its derivative, `wn = sqrt((D+1/R)/(2HT))`, `z = (2H+DT)/(2 sqrt(2HT(D+1/R)))`, which was
//! integrated numerically for a check; steady state `-dP/(D+1/R)`, `ROCOF = -f0 dP/(2H)`.

use std::time::Duration;

use emulator::bench::{Bench, BenchSpec, BusKind, BusSpec, DeviceSpec, Emulate, EmulatedSet, STEP};
use emulator::plant::breaker::SyncCheck;
use emulator::plant::load::Shape;
use emulator::plant::network::Feeder;
use emulator::plant::{Forming, FormingLaw, Site};
use emulator::world::Shared;
use model::{Point, Role};
use network::description::Zip;
use quantities::{ActivePower, Frequency, StateOfCharge, Voltage};

fn device(id: &str, role: Role, profile: &str, unit: u8, emulate: Emulate) -> DeviceSpec {
    DeviceSpec {
        id: id.into(),
        role,
        profile: profile::bundled(profile).expect(profile),
        bus: "lan1".into(),
        unit: Some(unit),
        topic: None,
        battery: None,
        emulate,
    }
}

/// A load of constant power with a damping, in kilowatts and per unit.
fn load(kw: f64, damping: f64) -> Emulate {
    Emulate {
        load: Some(ActivePower::from_kilowatts(kw)),
        shape: Some(Shape::Zip(Zip::default())),
        damping: Some(damping),
        ..Emulate::default()
    }
}

/// An island of these devices, a second of which the loads have been held for `settle_s`.
fn island(mut devices: Vec<DeviceSpec>, settle_s: f64) -> Shared {
    devices.push(device(
        "brk1",
        Role::Breaker,
        "generic/sync-breaker",
        100,
        Emulate::default(),
    ));
    devices.push(device(
        "pcc",
        Role::Pcc,
        "eastron/sdm630",
        101,
        Emulate::default(),
    ));
    let bench = Bench::new(BenchSpec {
        site: Site {
            v_nominal: Voltage::from_volts(230.0),
            f_nominal: Frequency::from_hertz(50.0),
            phases: 3,
        },
        feeder: Feeder::default(),
        network: None,
        forming: Forming::default(),
        sync: SyncCheck::default(),
        relay: true,
        buses: vec![BusSpec {
            id: "lan1".into(),
            kind: BusKind::ModbusTcp,
            port: None,
            interface: "lan1".into(),
        }],
        devices,
        day: None,
        course: None,
        seed: 7,
    });
    let world = bench.expect("a bench").handle().world().clone();
    world.lock().set("grid.noise", 0.0).expect("settable");
    world.lock().set("brk1.closed", 0.0).expect("settable");
    run(&world, settle_s);
    world
}

fn run(world: &Shared, seconds: f64) {
    for _ in 0..(seconds / STEP.as_secs_f64()).round() as u64 {
        world.lock().step(STEP);
    }
}

/// What a device tells.
fn told(world: &Shared, id: &str, point: Point) -> f64 {
    let world = world.lock();
    let device = world.device_index(id).expect(id);
    world.value(device, point).expect(id)
}

fn near(found: f64, expected: f64, share: f64, what: &str) {
    let within = share * expected.abs();
    assert!(
        (found - expected).abs() <= within,
        "{what}: {found}, not {expected}"
    );
}

#[test]
fn nadir_rocof_and_steady_state_of_a_set_are_within_a_hundredth_of_the_closed_form() {
    // dP, H, D, R, T in per unit and seconds; nadir in hertz, its time, steady state, ROCOF.
    let rows = [
        (0.1, 3.0, 1.0, 0.05, 0.5, 49.6329, 0.801, 49.7619, -0.833),
        (0.1, 1.0, 1.0, 0.05, 0.2, 49.6071, 0.283, 49.7619, -2.5),
        (0.2, 0.5, 1.0, 0.02, 0.1, 49.5230, 0.081, 49.8039, -10.0),
        (0.3, 2.0, 0.5, 0.04, 0.3, 49.0429, 0.452, 49.4118, -3.75),
    ];
    for (dp, h, d, r, t, nadir, at, steady, rocof) in rows {
        // A set of 100 kVA carries 30 kW, whose damping is that of the row.
        let set = EmulatedSet {
            droop: Some(r),
            inertia: Some(Duration::from_secs_f64(h)),
            lag: Some(Duration::from_secs_f64(t)),
            p: Some(ActivePower::from_kilowatts(30.0)),
            running: true,
            ..EmulatedSet::default()
        };
        let emulate = Emulate {
            rated: Some(ActivePower::from_kilowatts(100.0)),
            set,
            ..Emulate::default()
        };
        let world = island(
            vec![
                device("gen1", Role::Genset, "sunspec/der-inverter", 1, emulate),
                device(
                    "load1",
                    Role::Load,
                    "eastron/sdm630",
                    2,
                    load(30.0, d / 0.3),
                ),
                device("load2", Role::Load, "eastron/sdm630", 3, load(0.0, 0.0)),
            ],
            60.0,
        );
        let f = || told(&world, "gen1", Point::Frequency);
        near(f(), 50.0, 1e-9, "before");
        world.lock().set("load2.p", dp * 100e3).expect("settable");
        let (mut lowest, mut first, mut n) = ((50.0, 0.0), 0.0, 0_u32);
        while n < 2000 {
            world.lock().step(STEP);
            n += 1;
            if n == 1 {
                first = (f() - 50.0) / STEP.as_secs_f64();
            }
            if f() < lowest.0 {
                lowest = (f(), f64::from(n) * STEP.as_secs_f64());
            }
        }
        near(lowest.0 - 50.0, nadir - 50.0, 0.01, "nadir");
        assert!(
            (lowest.1 - at).abs() <= 0.01 * at + STEP.as_secs_f64(),
            "{lowest:?}, {at}"
        );
        near(f() - 50.0, steady - 50.0, 0.001, "steady state");
        // Over the first step the governor has begun to act.
        near(first, rocof, 0.01 + 2.0 * STEP.as_secs_f64() / t, "ROCOF");
        let given = told(&world, "gen1", Point::ActivePower);
        let taken =
            told(&world, "load1", Point::ActivePower) + told(&world, "load2", Point::ActivePower);
        near(given, taken, 1e-9, "balance");
    }
}

#[test]
fn storages_share_by_their_droops_and_their_devices_tell_it() {
    // Droop of the larger and the smaller in per unit, frequency, kilowatts of each.
    let rows = [
        (0.04, 0.04, 48.80, 60.0, 30.0),
        (0.04, 0.02, 49.10, 45.0, 45.0),
    ];
    for (larger, smaller, f, p_larger, p_smaller) in rows {
        let storage = |id: &str, kva: f64, droop_p: f64, unit: u8| {
            let emulate = Emulate {
                rated: Some(ActivePower::from_kilowatts(kva)),
                soc: Some(StateOfCharge::from_fraction(0.9)),
                law: Some(FormingLaw {
                    droop_p,
                    ..FormingLaw::default()
                }),
                ..Emulate::default()
            };
            device(id, Role::Ess, "sunspec/storage-inverter", unit, emulate)
        };
        let world = island(
            vec![
                storage("ess1", 100.0, larger, 1),
                storage("ess2", 50.0, smaller, 2),
                device("load1", Role::Load, "eastron/sdm630", 3, load(90.0, 0.0)),
            ],
            5.0,
        );
        near(told(&world, "ess1", Point::Frequency), f, 1e-6, "frequency");
        near(
            told(&world, "ess1", Point::ActivePower),
            p_larger * 1e3,
            1e-3,
            "larger",
        );
        near(
            told(&world, "ess2", Point::ActivePower),
            p_smaller * 1e3,
            1e-3,
            "smaller",
        );
        near(
            told(&world, "load1", Point::ActivePower),
            90e3,
            1e-6,
            "load",
        );
    }
}

#[test]
fn a_set_and_a_storage_share_by_governor_and_droop() {
    let emulate = Emulate {
        rated: Some(ActivePower::from_kilowatts(50.0)),
        set: EmulatedSet {
            droop: Some(0.04),
            running: true,
            ..EmulatedSet::default()
        },
        ..Emulate::default()
    };
    let storage = Emulate {
        rated: Some(ActivePower::from_kilowatts(100.0)),
        soc: Some(StateOfCharge::from_fraction(0.9)),
        law: Some(FormingLaw {
            droop_p: 0.04,
            ..FormingLaw::default()
        }),
        ..Emulate::default()
    };
    let world = island(
        vec![
            device("gen1", Role::Genset, "sunspec/der-inverter", 1, emulate),
            device("ess1", Role::Ess, "sunspec/storage-inverter", 2, storage),
            device("load1", Role::Load, "eastron/sdm630", 3, load(90.0, 0.0)),
        ],
        20.0,
    );
    near(told(&world, "gen1", Point::ActivePower), 30e3, 1e-3, "set");
    near(
        told(&world, "ess1", Point::ActivePower),
        60e3,
        1e-3,
        "storage",
    );
    near(
        told(&world, "gen1", Point::Frequency),
        48.8,
        1e-6,
        "frequency",
    );
}
