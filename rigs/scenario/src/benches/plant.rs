//! `plant`: how many times faster than real time the emulated plant runs without anybody who
//! looks at it, and what a step costs against the size of its network.
//!
//! Steps of 10 ms, the emulator's own. Every load moves in every step, so that no solution is
//! the last one again.

use std::time::{Duration, Instant};

use emulator::bench::STEP;
use emulator::device::{Device, Kind, Metered, Nameplate};
use emulator::plant::breaker::SyncCheck;
use emulator::plant::load::Load;
use emulator::plant::network::Feeder;
use emulator::plant::pv::Pv;
use emulator::plant::wires::{Hang, Places, Wires};
use emulator::plant::{Forming, Plant, Site, Supply};
use emulator::world::World;
use network::description::{Bus, Impedance, Line, Load as Drawn, Network, On, Source, Zip};
use network::flow::{Flow, Outcome};
use quantities::{Frequency, Voltage};
use serde_json::{Value, json};

use super::{BenchError, at_least, rounded};
use crate::bench::EmulatedBench;
use crate::demo;

/// Seed of noise and shapes. Chosen: any; the same each time.
const SEED: u64 = 7;

/// Time that each row is measured for.
/// Chosen: some ten thousand steps of the smallest row, and the whole bench in ten seconds.
const ROW: Duration = Duration::from_millis(800);

/// How many times faster than real time the plant of the demo bench is to run alone. Chosen: by who asked for it.
const ASKED_TIMES_REAL: f64 = 5_000.0;

/// Sizes of the networks. Chosen: from a laboratory to the largest that was asked for.
const BUSES: [usize; 7] = [10, 30, 100, 300, 1_000, 3_000, 10_000];

pub(super) fn measure() -> Result<Value, BenchError> {
    let rig = runtime::rig::load_text(std::path::Path::new(demo::RIG_PATH), demo::RIG)
        .map_err(|faults| BenchError::Run(super::virtual_time::told(&faults)))?;
    let bench = EmulatedBench::make(&rig, SEED)
        .map_err(|faults| BenchError::Run(super::virtual_time::told(&faults)))?;
    let world = bench.handle().world().lock().clone();
    let mut campus = world.plant.clone();
    let mut campus_with_devices = world;
    let mut feeder = feeder(100)?;
    let mut feeder_alone = feeder.plant.clone();
    let rows = [
        ("campus", timed(|_| campus.step(STEP))),
        (
            "campus_with_devices",
            timed(|_| campus_with_devices.step(STEP)),
        ),
        (
            "feeder_100_buses_50_inverters",
            timed(|n| {
                move_loads(&mut feeder_alone, n);
                feeder_alone.step(STEP);
            }),
        ),
        (
            "feeder_100_buses_50_inverters_with_devices",
            timed(|n| {
                move_loads(&mut feeder.plant, n);
                feeder.step(STEP);
            }),
        ),
    ];
    if feeder.plant.bus().supply != Supply::Grid {
        return Err(BenchError::Run("the feeder lost its voltage".into()));
    }
    let plants: Vec<Value> = rows
        .iter()
        .map(|(name, step_us)| {
            json!({
                "plant": name,
                "step_us": rounded(*step_us),
                "times_real_time": rounded(STEP.as_secs_f64() * 1e6 / step_us),
            })
        })
        .collect();
    Ok(json!({
        "bench": "plant",
        "step_ms": STEP.as_millis() as u64,
        "optimised": !cfg!(debug_assertions),
        "campus_times_real_time": at_least(ASKED_TIMES_REAL, STEP.as_secs_f64() * 1e6 / rows[0].1),
        "plants": plants,
        "balanced": scaling::<1>()?,
        "three_phases": scaling::<3>()?,
    }))
}

/// Microseconds of a step.
fn timed(mut step: impl FnMut(u64)) -> f64 {
    // The first steps find the voltages; they are not counted.
    for n in 0..20 {
        step(n);
    }
    let start = Instant::now();
    let mut steps = 0_u64;
    while start.elapsed() < ROW {
        for _ in 0..10 {
            step(steps);
            steps += 1;
        }
    }
    start.elapsed().as_secs_f64() * 1e6 / steps as f64
}

/// A number from 0 to 1 that looks random and is the same each time.
fn scatter(n: u64) -> f64 {
    // The fractional parts of multiples of the golden ratio are spread evenly (Weyl).
    (n as f64 * 0.618_033_988_749_895).fract()
}

/// A feeder of so many buses: a trunk with branches, its impedances so that it carries its loads.
fn network(buses: usize) -> Network {
    let bus = |n: usize| Bus {
        name: format!("b{n}").into(),
        v_ll: 400.0,
    };
    let line = |n: usize| Line {
        name: format!("l{n}").into(),
        // Each bus feeds two further ones, so that the depth grows with the logarithm.
        from: (n - 1) / 2,
        to: n,
        length_m: 20.0 + 30.0 * scatter(n as u64),
        z_per_km: Impedance { r: 0.208, x: 0.080 },
        z0_per_km: Impedance { r: 0.832, x: 0.320 },
        c_nf_per_km: 300.0,
        c0_nf_per_km: 200.0,
        i_max: None,
    };
    Network {
        f_nominal: 50.0,
        unbalanced: true,
        buses: (0..buses).map(bus).collect(),
        sources: vec![Source {
            bus: 0,
            v_pu: 1.0,
            angle: 0.0,
            z: Impedance::default(),
            z2: Impedance::default(),
            z0: Impedance::default(),
        }],
        lines: (1..buses).map(line).collect(),
        ..Network::default()
    }
}

/// 100 buses, every second one with an inverter, the others with a load.
fn feeder(buses: usize) -> Result<World, BenchError> {
    let site = Site {
        v_nominal: Voltage::from_volts(400.0 / 3.0_f64.sqrt()),
        f_nominal: Frequency::from_hertz(50.0),
        phases: 3,
    };
    let mut plant = Plant::new(
        site,
        Feeder::default(),
        Forming::default(),
        SyncCheck::default(),
        SEED,
    );
    let (mut places, mut devices) = (Places::default(), Vec::new());
    for bus in 0..buses {
        let hang = Hang {
            bus,
            on: On::One(bus % 3),
        };
        let kind = if bus % 2 == 0 {
            plant.pv.push(Pv::new(1e3, 5e3, site.f_nominal));
            places.pv.push(hang);
            Kind::Pv(plant.pv.len() - 1)
        } else {
            plant.loads.push(Load::new(1e3, true));
            places.loads.push(hang);
            Kind::Meter(Metered::Load(plant.loads.len() - 1))
        };
        let id = format!("d{bus}").into();
        devices.push(Device::new(id, "bus".into(), kind, Nameplate::default()));
    }
    let wires = Wires::new(&network(buses), &places, 3)
        .map_err(|e| BenchError::Run(format!("the feeder is no tree: {e}")))?;
    plant.wire(wires);
    Ok(World::new(plant, devices, SEED))
}

fn move_loads(plant: &mut Plant, step: u64) {
    for (n, load) in plant.loads.iter_mut().enumerate() {
        load.set_nominal(500.0 + 1000.0 * scatter(step + n as u64));
    }
}

/// What a solution costs against the number of buses, and the exponent of the growth.
fn scaling<const N: usize>() -> Result<Value, BenchError> {
    let mut rows = Vec::new();
    let mut points = Vec::new();
    for buses in BUSES {
        let mut network = network(buses);
        // The whole feeder carries the same, so that the number of sweeps stays the same.
        let each_w = 60e3 / buses as f64;
        network.loads = (1..buses)
            .map(|bus| Drawn {
                bus,
                on: On::One(bus % 3),
                p: each_w,
                q: 0.2 * each_w,
                zip: Zip::default(),
            })
            .collect();
        let mut flow = Flow::<N>::new(&network)
            .map_err(|e| BenchError::Run(format!("the feeder is no tree: {e}")))?;
        let mut sweeps = 0;
        let step_us = timed(|n| {
            for load in 0..flow.loads() {
                let p = each_w * (0.75 + 0.5 * scatter(n + load as u64));
                flow.set_load(load, p, 0.2 * p);
            }
            flow.solve();
            if let Some((_, Outcome::Solved { sweeps: took })) = flow.islands().next() {
                sweeps = took;
            }
        });
        if sweeps == 0 {
            return Err(BenchError::Run(format!("{buses} buses have no voltage")));
        }
        points.push(((buses as f64).ln(), step_us.ln()));
        rows.push(json!({
            "buses": buses,
            "step_us": rounded(step_us),
            "ns_per_bus": rounded(step_us * 1e3 / buses as f64),
            "sweeps": sweeps,
        }));
    }
    Ok(json!({"rows": rows, "exponent": rounded(slope(&points))}))
}

/// Slope of the line nearest to the points (least squares).
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / n;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / n;
    let above: f64 = points
        .iter()
        .map(|(x, y)| (x - mean_x) * (y - mean_y))
        .sum();
    let below: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    above / below
}
