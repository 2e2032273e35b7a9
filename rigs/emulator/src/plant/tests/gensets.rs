//! Diesel sets: starting, coming into step, taking load, going down.

use ::network::island::{Diesel, Engine};

use super::*;
use crate::plant::genset::{Genset, Governor};

fn genset(s_va: f64, governor: Governor) -> Genset {
    Genset::new(Diesel::running(s_va, 1.5, 0.04, 0.3), governor)
}

#[test]
fn a_set_starts_comes_into_step_and_takes_its_share_of_the_island() {
    let mut plant = plant();
    plant.forming.law.droop_p = 0.04;
    plant.storage = vec![storage(50e3, 0.9)];
    plant.gensets = vec![genset(50e3, Governor::Droop)];
    plant.loads = vec![load(30e3)];
    plant.breaker.open();
    run(&mut plant, 2.0);
    plant.gensets[0].run(true);
    run(&mut plant, 9.5);
    assert!(matches!(plant.gensets[0].engine(), Engine::Starting { .. }));
    assert_eq!(plant.gensets[0].p(), 0.0);
    let f_before = plant.bus().f;
    // Half a turn at 0.2 Hz less the window: 2.4 s.
    run(&mut plant, 2.0);
    assert_eq!(plant.gensets[0].engine(), Engine::Running);
    assert!(!plant.gensets[0].is_on_load(), "it is not in step yet");
    run(&mut plant, 10.0);
    let half = plant.gensets[0].p();
    assert!((half - 15e3).abs() < 100.0, "{half}");
    assert!((plant.storage[0].p() - 15e3).abs() < 100.0);
    assert!(plant.bus().f > f_before + 0.1, "two share what one carried");
    plant.gensets[0].run(false);
    run(&mut plant, 2.0);
    assert_eq!(
        (plant.gensets[0].p(), plant.gensets[0].engine()),
        (0.0, Engine::Stopped)
    );
    assert!((plant.storage[0].p() - 30e3).abs() < 100.0);
}

#[test]
fn a_set_takes_a_dead_bus_but_never_a_lost_utility() {
    let mut plant = plant();
    plant.gensets = vec![genset(50e3, Governor::Droop)];
    plant.loads = vec![load(10e3)];
    plant.breaker.open();
    run(&mut plant, 1.0);
    assert_eq!(plant.bus().supply, Supply::Dead);
    plant.gensets[0].run(true);
    run(&mut plant, 12.0);
    assert_eq!(plant.bus().supply, Supply::Island);
    assert!(
        (plant.gensets[0].p() - 10e3).abs() < 100.0,
        "{}",
        plant.gensets[0].p()
    );

    let mut lost = self::plant();
    lost.gensets = vec![genset(50e3, Governor::Droop)];
    // A breaker that stays closed on the lost utility: its relay is not there.
    lost.grid.set_energised(false);
    lost.gensets[0].run(true);
    for _ in 0..2000 {
        lost.breaker = Breaker::closed(SyncCheck::default());
        lost.step(STEP);
        assert!(!lost.gensets[0].is_on_load(), "it would feed the utility");
    }
}

#[test]
fn an_isochronous_governor_brings_the_frequency_back_and_a_droop_does_not() {
    for (governor, f) in [(Governor::Isochronous, 50.0), (Governor::Droop, 49.2)] {
        let mut plant = plant();
        let mut set = genset(50e3, governor);
        set.run_on_load();
        plant.gensets = vec![set];
        plant.loads = vec![load(20e3)];
        plant.breaker.open();
        run(&mut plant, 30.0);
        assert!(
            (plant.bus().f - f).abs() < 0.01,
            "{governor:?}: {}",
            plant.bus().f
        );
    }
}

#[test]
fn on_the_grid_a_set_gives_what_it_is_told_and_an_overload_of_its_island_trips_it() {
    let mut plant = plant();
    let mut set = genset(50e3, Governor::Droop);
    set.run_on_load();
    set.set_p(12e3);
    plant.gensets = vec![set];
    plant.loads = vec![load(12e3)];
    run(&mut plant, 5.0);
    assert!(
        (plant.gensets[0].p() - 12e3).abs() < 10.0,
        "{}",
        plant.gensets[0].p()
    );
    assert!(plant.pcc().p.abs() < 100.0);
    plant.breaker.open();
    run(&mut plant, 2.0);
    assert!((plant.bus().f - 50.0).abs() < 0.01, "{}", plant.bus().f);
    plant.loads[0].set_nominal(60e3);
    run(&mut plant, 5.0);
    assert_eq!(plant.bus().supply, Supply::Dead);
    assert!(plant.gensets[0].has_tripped() && !plant.gensets[0].is_on_load());
    assert_eq!(
        plant.gensets[0].engine(),
        Engine::Running,
        "it turns on without a load"
    );
    plant.loads[0].set_nominal(5e3);
    run(&mut plant, 60.0);
    assert_eq!(plant.bus().supply, Supply::Dead, "nobody has asked");
    plant.gensets[0].run(true);
    run(&mut plant, 2.0);
    assert_eq!(plant.bus().supply, Supply::Island);
    assert!(plant.gensets[0].litres() > 0.0);
}

#[test]
fn reactive_power_is_shared_where_the_droops_meet_and_a_virtual_impedance_lowers_the_voltage() {
    let inductive = Load::new(30e3, true).shaped(0.5, 0.0);
    let with = |law: FormingLaw, other: f64| {
        let mut plant = plant();
        plant.storage = vec![storage(100e3, 0.5), storage(50e3, 0.5)];
        plant.storage[0].set_law(law);
        plant.storage[1].set_law(FormingLaw {
            droop_q: other,
            ..law
        });
        plant.loads = vec![inductive.clone()];
        plant.breaker.open();
        run(&mut plant, 3.0);
        let v = plant.bus().v / plant.site().v_nominal.as_volts();
        (v, plant.storage[0].q(), plant.storage[1].q())
    };
    let law = FormingLaw::default();
    // 15 kvar on droops of 5 %: by rating; with 2.5 % at the smaller one: half each.
    let rows = [
        (0.05, 1.0 - 0.05 * 0.1, 10e3),
        (0.025, 1.0 - 0.05 * 0.075, 7.5e3),
    ];
    for (other, v, q) in rows {
        let found = with(law, other);
        assert!((found.0 - v).abs() < 1e-9, "{found:?}");
        assert!((found.1 - q).abs() < 1e-3 && (found.2 - (15e3 - q)).abs() < 1e-3);
    }
    // A tenth of reactance in series with the droop: three times the drop.
    let stiff = FormingLaw {
        virtual_x: 0.10,
        ..law
    };
    let (v, q, _) = with(stiff, 0.05);
    assert!((v - (1.0 - 0.15 * 0.1)).abs() < 1e-9, "{v}");
    assert!((q - 10e3).abs() < 1e-3, "{q}");
    // A resistance adds the drop of 30 kW on 150 kVA.
    let lossy = FormingLaw {
        virtual_r: 0.05,
        ..stiff
    };
    let (v, _, _) = with(lossy, 0.05);
    assert!((v - (1.0 - 0.15 * 0.1 - 0.05 * 0.2)).abs() < 1e-6, "{v}");
}

#[test]
fn a_storage_that_only_follows_leaves_the_island_to_others() {
    let mut plant = plant();
    plant.storage = vec![storage(10e3, 0.5), storage(50e3, 0.5)];
    plant.storage[1].follow_only();
    plant.storage[1].set_p(4e3);
    plant.loads = vec![load(6e3)];
    plant.breaker.open();
    run(&mut plant, 3.0);
    assert!(
        (plant.storage[1].p() - 4e3).abs() < 1.0,
        "{}",
        plant.storage[1].p()
    );
    assert!(
        (plant.storage[0].p() - 2e3).abs() < 1.0,
        "{}",
        plant.storage[0].p()
    );
    // Alone it cannot: with the other gone, the bus is.
    plant.storage[0].connect(false);
    run(&mut plant, 1.0);
    assert_eq!(plant.bus().supply, Supply::Dead);
    assert_eq!(plant.storage[1].p(), 0.0);
}
