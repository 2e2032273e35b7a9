//! Several islands at once, made by switches of the network.

use document::{Document, Source};

use super::*;
use crate::plant::wires::{Hang, Places, Wires};
use ::network::description::On;

/// A utility, a hall behind the coupling breaker with a storage and a load, and a shed behind a
/// tie with the same.
const NETWORK: &str = r#"
bus = [{ name = "grid", v_ll = "400V" }, { name = "hall", v_ll = "400V" }, { name = "shed", v_ll = "400V" }]
source = [{ bus = "grid" }]
switch = [{ name = "coupling", from = "grid", to = "hall", device = "brk1" }, { name = "tie", from = "hall", to = "shed" }]
"#;

/// The hall's storage is of 40 kVA with 8 kW to feed, the shed's of 20 kVA with 10 kW.
fn campus(shed_forms: bool) -> Plant {
    let document = Document::parse(Source::new("net.toml", NETWORK)).unwrap();
    let network = ::network::read::read(&document.root(), 50.0).expect("a network");
    let mut plant = Plant::new(
        Site {
            v_nominal: Voltage::from_volts(400.0 / 3.0_f64.sqrt()),
            ..site()
        },
        Feeder::default(),
        Forming::default(),
        SyncCheck::default(),
        7,
    );
    plant.grid.set_noise(Frequency::ZERO);
    plant.storage = vec![storage(40e3, 0.5), storage(20e3, 0.5)];
    if !shed_forms {
        plant.storage[1].follow_only();
    }
    plant.loads = vec![load(8e3), load(10e3)];
    plant.pv = vec![Pv::new(1e3, 1e6, site().f_nominal)];
    let hang = |bus| Hang { bus, on: On::All };
    let places = Places {
        pv: vec![hang(2)],
        storage: vec![hang(1), hang(2)],
        gensets: Vec::new(),
        loads: vec![hang(1), hang(2)],
        coupling: Some(0),
    };
    plant.wire(Wires::new(&network, &places, 3).unwrap());
    run(&mut plant, 1.0);
    plant
}

fn shed(plant: &Plant) -> Bus {
    plant.bus_at(Unit::Load(1))
}

#[test]
fn each_island_has_a_frequency_and_a_voltage_of_its_own() {
    let mut plant = campus(true);
    plant.pv[0].set_available(0.0);
    run(&mut plant, 1.0);
    plant.breaker.open();
    run(&mut plant, 3.0);
    // 18 kW on 60 kVA with 2 %.
    assert!((plant.bus().f - 49.7).abs() < 1e-3, "{}", plant.bus().f);
    assert_eq!(shed(&plant), plant.bus());
    plant.switch("tie", false).unwrap();
    run(&mut plant, 3.0);
    assert!((plant.bus().f - 49.8).abs() < 1e-3, "{}", plant.bus().f);
    assert!((shed(&plant).f - 49.5).abs() < 1e-3, "{}", shed(&plant).f);
    assert!((plant.storage[0].p() - 8e3).abs() < 1.0);
    assert!((plant.storage[1].p() - 10e3).abs() < 1.0);
    plant.loads[1].set_nominal(30e3);
    run(&mut plant, 3.0);
    assert_eq!(shed(&plant).supply, Supply::Dead, "its own overload");
    assert_eq!(plant.volts(Unit::Storage(1)), [0.0; 3]);
    assert_eq!(plant.bus().supply, Supply::Island, "the other stays");
    // A dead part is picked up by a live one.
    plant.loads[1].set_nominal(2e3);
    plant.switch("tie", true).unwrap();
    run(&mut plant, 3.0);
    assert_eq!(shed(&plant), plant.bus());
    assert!(
        (plant.storage[0].p() - 10e3).abs() < 1.0,
        "{}",
        plant.storage[0].p()
    );
}

#[test]
fn a_part_without_a_former_is_black_and_its_units_have_no_supply() {
    let mut plant = campus(false);
    plant.switch("tie", false).unwrap();
    run(&mut plant, 0.5);
    assert_eq!(shed(&plant).supply, Supply::Dead);
    assert_eq!(plant.bus().supply, Supply::Grid);
    assert_eq!(plant.volts(Unit::Load(1)), [0.0; 3]);
    assert_eq!((plant.loads[1].p(), plant.pv[0].p()), (0.0, 0.0));
    assert!((plant.pcc().p - 8e3).abs() < 10.0, "{}", plant.pcc().p);
    plant.switch("tie", true).unwrap();
    run(&mut plant, 2.0);
    assert_eq!(shed(&plant).supply, Supply::Grid);
    assert!(plant.pv[0].p() > 900.0, "the sun is back");
}

#[test]
fn two_live_islands_are_joined_in_step_only_and_both_go_down_out_of_it() {
    for (wanted_deg, expected) in [(0.0, Supply::Island), (90.0, Supply::Dead)] {
        let mut plant = campus(true);
        plant.pv[0].set_available(0.0);
        run(&mut plant, 1.0);
        plant.breaker.open();
        plant.switch("tie", false).unwrap();
        plant.loads[1].set_nominal(4.4e3);
        run(&mut plant, 2.0);
        let angle = |plant: &Plant| part::wrap(plant.bus().angle - shed(plant).angle);
        // They slip past each other by 0.02 Hz.
        while (angle(&plant) - wanted_deg).abs() > 2.0 {
            plant.step(STEP);
            assert!(plant.now() < Duration::from_secs(120));
        }
        plant.switch("tie", true).unwrap();
        run(&mut plant, 1.0);
        assert_eq!(plant.bus().supply, expected, "{wanted_deg} deg");
        assert_eq!(plant.storage[0].is_connected(), expected == Supply::Island);
        assert_eq!(plant.storage[1].is_connected(), expected == Supply::Island);
    }
}
