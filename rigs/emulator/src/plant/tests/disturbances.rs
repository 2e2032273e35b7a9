//! What the utility does to the plant, and what a motor does.

use super::*;
use crate::plant::load::{Inrush, Shape};
use ::network::description::Zip;

fn v_pu(plant: &Plant) -> f64 {
    plant.bus().v / plant.site().v_nominal.as_volts()
}

#[test]
fn the_residual_voltage_of_a_fault_is_on_the_bus_and_a_short_one_is_ridden_through() {
    // Residual voltage in per unit, how long, whether the sun stops meanwhile, who holds the bus after.
    let rows = [
        (0.8, 0.50, false, Supply::Grid),
        (0.2, 0.08, true, Supply::Grid),
        (0.6, 0.08, false, Supply::Grid),
        (0.2, 0.15, true, Supply::Island),
        (0.0, 0.15, true, Supply::Island),
    ];
    for (residual, length_s, ceases, after) in rows {
        let mut plant = plant();
        plant.storage = vec![storage(3000.0, 0.5)];
        plant.pv = vec![Pv::new(1000.0, 1e6, site().f_nominal)];
        plant.loads = vec![Load::new(1500.0, true).shaped(0.0, 0.0)];
        run(&mut plant, 3.0);
        let nominal = plant.site().v_nominal;
        plant.grid.set_v(nominal * residual);
        let row = format!("{residual} for {length_s} s");
        // Below 0.7 of nominal even constant power is an impedance, from the first step on.
        let held = (residual / 0.7_f64).min(1.0).powi(2) * 1500.0;
        plant.step(STEP);
        assert!(
            (-plant.loads[0].p() - held).abs() < 60.0,
            "{row}: {}",
            plant.loads[0].p()
        );
        run(&mut plant, 0.04);
        assert!(
            (v_pu(&plant) - residual).abs() < 0.02,
            "{row}: {}",
            v_pu(&plant)
        );
        assert_eq!(plant.pv[0].p() == 0.0, ceases, "{row}");
        assert!(
            (-plant.loads[0].p() - held).abs() < 60.0,
            "{row}: {}",
            plant.loads[0].p()
        );
        run(&mut plant, length_s - 0.05);
        plant.grid.set_v(nominal);
        run(&mut plant, 2.0);
        assert_eq!(plant.bus().supply, after, "{row}");
        assert!((v_pu(&plant) - 1.0).abs() < 0.02, "{row}: {}", v_pu(&plant));
        assert!(plant.pv[0].p() > 900.0, "{row}: it is back");
    }
}

#[test]
fn a_phase_that_jumps_is_seen_as_a_frequency_for_the_time_of_a_measurement() {
    for degrees in [20.0, -60.0] {
        let mut plant = plant();
        plant.storage = vec![storage(3000.0, 0.5)];
        run(&mut plant, 1.0);
        plant.grid.jump_phase(degrees);
        for step in 1..=20 {
            plant.step(STEP);
            let seen = if step <= 10 { degrees / 36.0 } else { 0.0 };
            assert!(
                (plant.bus().f - 50.0 - seen).abs() < 1e-9,
                "{degrees} after {step}"
            );
        }
        assert_eq!(plant.bus().supply, Supply::Grid, "nothing trips");
    }
}

#[test]
fn a_motor_draws_its_inrush_each_time_it_gets_its_voltage_and_for_as_long_as_is_stated() {
    let mut plant = plant();
    let mut motor = Load::new(2000.0, false).shaped(0.5, 0.0);
    motor.set_inrush(Inrush {
        current: 6.0,
        length: Duration::from_secs(2),
    });
    plant.loads = vec![motor];
    run(&mut plant, 1.0);
    for _ in 0..2 {
        plant.loads[0].switch(true);
        let rated = 2000.0_f64.hypot(1000.0);
        for step in 1..=250 {
            plant.step(STEP);
            let load = &plant.loads[0];
            let s = load.p().hypot(load.q());
            let expected = if step <= 200 { 6.0 * rated } else { rated };
            assert!(
                (s / expected - 1.0).abs() < 0.05,
                "{s} VA after {step} steps"
            );
            if (2..=200).contains(&step) {
                assert!((-load.p() / s - 0.25).abs() < 1e-9, "at rest it is a coil");
            }
        }
        plant.loads[0].switch(false);
        run(&mut plant, 0.1);
    }
}

#[test]
fn an_inrush_pulls_a_limited_island_down_and_one_that_is_strong_enough_bears_it() {
    // Rating of the storage in VA, whether the island is there after the start.
    for (rated, expected) in [(60e3, Supply::Island), (8e3, Supply::Dead)] {
        let mut plant = plant();
        plant.storage = vec![storage(rated, 0.5)];
        let mut motor = Load::new(3000.0, false).shaped(0.5, 0.0);
        motor.set_inrush(Inrush {
            current: 6.0,
            length: Duration::from_secs(1),
        });
        plant.loads = vec![motor, load(2000.0)];
        plant.breaker.open();
        run(&mut plant, 1.0);
        plant.loads[0].switch(true);
        run(&mut plant, 0.1);
        if expected == Supply::Island {
            let dip = 1.0 - v_pu(&plant);
            assert!((0.01..0.05).contains(&dip), "{dip}");
        }
        run(&mut plant, 2.0);
        assert_eq!(plant.bus().supply, expected, "{rated} VA");
    }
}

#[test]
fn a_load_follows_voltage_by_its_shares_and_frequency_by_its_damping() {
    let mut plant = plant();
    let mut zip = Load::new(1000.0, true).shaped(0.0, 0.0);
    zip.set_shape(Shape::Zip(Zip { z: 0.4, i: 0.3 }));
    zip.set_damping(1.5);
    plant.loads = vec![zip];
    // Voltage and frequency of the utility in per unit.
    for (v, f) in [
        (1.0, 1.0),
        (0.9, 1.0),
        (1.08, 1.0),
        (1.0, 0.98),
        (0.9, 1.01),
    ] {
        plant.grid.set_v(site().v_nominal * v);
        plant.grid.set_f(site().f_nominal * f);
        run(&mut plant, 0.5);
        let v = v_pu(&plant);
        let expected = 1000.0 * (0.4 * v * v + 0.3 * v + 0.3) * (1.0 + 1.5 * (f - 1.0));
        let found = -plant.loads[0].p();
        assert!((found - expected).abs() < 0.01, "{found}, not {expected}");
    }
}
