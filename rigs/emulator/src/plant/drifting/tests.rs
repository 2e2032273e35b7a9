use std::time::Duration;

use der_model::settings::Kind;
use network::description::Zip;
use quantities::{Frequency, Voltage};

use crate::plant::breaker::SyncCheck;
use crate::plant::der::tests::functions;
use crate::plant::load::{Load, Shape};
use crate::plant::network::Feeder;
use crate::plant::pv::Pv;
use crate::plant::{Forming, Plant, Site, Supply};

/// A PV of 10 kVA that gives 8 kW into a resonant load of a power, an impedance.
fn plant(settings: &str, load_w: f64) -> Plant {
    let site = Site {
        v_nominal: Voltage::from_volts(230.0),
        f_nominal: Frequency::from_hertz(50.0),
        phases: 3,
    };
    let feeder = Feeder {
        r_ohm: 0.0,
        x_ohm: 0.0,
    };
    let mut plant = Plant::new(site, feeder, Forming::default(), SyncCheck::default(), 7);
    plant.grid.set_noise(Frequency::ZERO);
    plant.breaker.without_relay();
    let mut pv = Pv::new(10e3, 50e3, site.f_nominal);
    pv.set_available(8e3);
    pv.set_functions(functions(Kind::Pv, settings));
    plant.pv.push(pv);
    let mut load = Load::new(load_w, true).shaped(0.0, 0.0);
    load.set_shape(Shape::Zip(Zip { z: 1.0, i: 0.0 }));
    load.set_quality(1.0);
    plant.loads.push(load);
    run(&mut plant, 5.0);
    plant
}

fn run(plant: &mut Plant, seconds: f64) {
    for _ in 0..(seconds * 100.0).round() as u64 {
        plant.step(Duration::from_millis(10));
    }
}

/// How long the island lives after the utility is disconnected, for ten seconds at most.
fn life_s(plant: &mut Plant) -> f64 {
    plant.grid.set_energised(false);
    let begun = plant.now();
    while plant.now() - begun < Duration::from_secs(10) {
        run(plant, 0.01);
        if !plant.is_live() {
            break;
        }
    }
    (plant.now() - begun).as_secs_f64()
}

#[test]
fn an_island_of_balanced_powers_lives_until_its_inverter_leaves_it() {
    let check = |settings: &str, expected: std::ops::RangeInclusive<f64>| {
        let found = life_s(&mut plant(settings, 8e3));
        assert!(expected.contains(&found), "{settings}: {found} s");
    };
    check("", 1.0..=1.2);
    check("[ride_through]\nisland_s = 0.5\n", 0.5..=0.7);
    check("defect = \"island_ignored\"\n", 10.0..=10.1);
}

#[test]
fn what_is_far_out_of_balance_collapses_at_once() {
    // Half of the load drives the voltage to where the inverter ceases, four times it to nothing.
    for load_w in [4e3, 32e3] {
        let found = life_s(&mut plant("defect = \"island_ignored\"\n", load_w));
        assert!(found < 0.5, "{load_w} W: {found} s");
    }
}

#[test]
fn reactive_power_drags_the_frequency_to_where_the_load_resonates_with_it() {
    // d of the load's power too much: 1 / x - x = d, less what droop does about the active power.
    for (q_pu, x) in [(0.04, 0.975_312_3), (-0.04, 1.025_312_3)] {
        let settings = format!(
            "defect = \"island_ignored\"\n[const_q]\nq_pu = {q_pu}\n[freq_droop]\nenabled = false\n"
        );
        let mut plant = plant(&settings, 8e3);
        plant.grid.set_energised(false);
        run(&mut plant, 1.0);
        let bus = plant.bus();
        assert_eq!(bus.supply, Supply::Drifting);
        assert!((bus.f - 50.0 * x).abs() < 0.02, "{q_pu}: {}", bus.f);
        assert!((bus.v - 230.0).abs() < 1.0, "{q_pu}: {}", bus.v);
    }
}

#[test]
fn a_short_circuit_leaves_no_island_and_neither_does_a_simple_inverter() {
    let mut shorted = plant("", 8e3);
    shorted.grid.set_v(Voltage::from_volts(0.0));
    run(&mut shorted, 0.02);
    assert_eq!(shorted.bus().supply, Supply::Lost);
    let mut simple = plant("", 8e3);
    let mut pv = Pv::new(10e3, 50e3, Frequency::from_hertz(50.0));
    pv.set_available(8e3);
    simple.pv = vec![pv];
    run(&mut simple, 5.0);
    simple.grid.set_energised(false);
    run(&mut simple, 0.02);
    assert_eq!(simple.bus().supply, Supply::Lost);
}

#[test]
fn a_resonant_load_takes_reactive_power_below_nominal_frequency_and_gives_it_above() {
    let mut plant = plant("[freq_droop]\nenabled = false\n", 8e3);
    for (f_hz, x) in [(49.0, 0.98), (51.0, 1.02)] {
        plant.grid.set_f(Frequency::from_hertz(f_hz));
        run(&mut plant, 1.0);
        let expected = 8e3 * (1.0 / x - x);
        assert!((plant.pcc().q - expected).abs() < 1.0, "{}", plant.pcc().q);
    }
}
