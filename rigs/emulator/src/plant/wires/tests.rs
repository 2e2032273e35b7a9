use std::time::Duration;

use document::{Document, Source as Text};
use quantities::{Frequency, Voltage};

use super::*;
use crate::plant::breaker::SyncCheck;
use crate::plant::load::Load;
use crate::plant::network::Feeder;
use crate::plant::pv::Pv;
use crate::plant::storage::{Storage, StorageRating};
use crate::plant::{Forming, Plant, Site, Supply};

/// A utility, a coupling breaker, a hall behind it, and a shed at the end of 300 m of cable.
const NETWORK: &str = r#"
bus = [{ name = "grid", v_ll = "400V" }, { name = "hall", v_ll = "400V" }, { name = "shed", v_ll = "400V" }]
source = [{ bus = "grid" }]
switch = [{ name = "coupling", from = "grid", to = "hall", device = "brk1" }]
line = [{ name = "cable", from = "hall", to = "shed", length_m = 300, r_ohm_per_km = 0.208, x_ohm_per_km = 0.080, r0_ohm_per_km = 0.832, x0_ohm_per_km = 0.320 }]
"#;

fn network_of(text: &str) -> Network {
    let document = Document::parse(Text::new("net.toml", text)).unwrap();
    let network = network::read::read(&document.root(), 50.0);
    assert!(!document.has_errors(), "{:?}", document.into_faults());
    network.unwrap()
}

fn plant(more: &str, storage: (usize, On), load: (usize, On), p: f64) -> Plant {
    plant_on(&network_of(&format!("{more}{NETWORK}")), storage, load, p)
}

fn plant_on(network: &Network, storage: (usize, On), load: (usize, On), p: f64) -> Plant {
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
        7,
    );
    plant.grid.set_noise(Frequency::ZERO);
    let rating = StorageRating {
        p: 100e3,
        capacity_wh: 100e3,
        ramp: 1e6,
    };
    plant.storage.push(Storage::new(rating, 0.5));
    plant.loads.push(Load::new(p, true).shaped(0.0, 0.0));
    plant.pv.push(Pv::new(1e3, 1e6, site.f_nominal));
    plant.pv[0].set_available(0.0);
    let hang = |(bus, on)| Hang { bus, on };
    let places = Places {
        pv: vec![hang((1, On::All))],
        storage: vec![hang(storage)],
        gensets: Vec::new(),
        loads: vec![hang(load)],
        coupling: Some(0),
    };
    plant.wire(Wires::new(network, &places, 3).unwrap());
    plant
}

fn run(plant: &mut Plant, seconds: f64) {
    for _ in 0..(seconds * 100.0) as u32 {
        plant.step(Duration::from_millis(10));
    }
}

fn near(found: f64, expected: f64, within: f64) {
    assert!(
        (found - expected).abs() <= within,
        "{found}, not {expected}"
    );
}

#[test]
fn each_unit_has_the_voltage_of_its_bus_and_the_utility_gives_the_losses() {
    let mut plant = plant("", (1, On::All), (2, On::All), 50e3);
    run(&mut plant, 0.5);
    let nominal = 400.0 / 3.0_f64.sqrt();
    // 50 kW at the end of 300 m: the row that pandapower and OpenDSS agree on.
    near(plant.volts(Unit::Load(0))[0] / nominal, 1.0 - 0.01993, 1e-5);
    near(plant.volts(Unit::Storage(0))[0] / nominal, 1.0, 1e-6);
    near(plant.bus().v / nominal, 1.0, 1e-6);
    near(plant.pcc().p, 50e3 + plant.pcc().losses, 1e-3);
    assert!(plant.pcc().losses > 900.0, "{}", plant.pcc().losses);
}

#[test]
fn an_island_is_held_from_the_bus_of_its_storage() {
    let mut plant = plant("", (2, On::All), (1, On::All), 50e3);
    plant.breaker.open();
    run(&mut plant, 2.0);
    assert_eq!(plant.bus().supply, Supply::Island);
    let (at_load, at_storage) = (
        plant.volts(Unit::Load(0))[0],
        plant.volts(Unit::Storage(0))[0],
    );
    assert!(at_load < 0.985 * at_storage, "{at_load} {at_storage}");
    // 50 kW and the cable's losses on a droop of 2 % for 100 kW.
    let lost = plant.storage[0].p() - 50e3;
    assert!((900.0..1500.0).contains(&lost), "{lost}");
    near(plant.bus().f, 50.0 - (50e3 + lost) / 100e3, 1e-3);
    // A setpoint above what is drawn lets the phases slip past each other.
    plant.storage[0].set_p(60e3);
    plant.breaker.close();
    run(&mut plant, 30.0);
    assert_eq!(plant.bus().supply, Supply::Grid, "{:?}", plant.breaker);
    near(plant.volts(Unit::Load(0))[0] / 230.94, 1.0, 1e-2);
}

#[test]
fn a_transformer_that_turns_the_phases_does_not_keep_an_island_from_coming_back() {
    let turned = r#"
bus = [{ name = "mv", v_ll = "20kV" }, { name = "grid", v_ll = "400V" }, { name = "hall", v_ll = "400V" }, { name = "shed", v_ll = "400V" }]
source = [{ bus = "mv" }]
transformer = [{ name = "T1", high = "mv", low = "grid", s = "100kVA", v_high = "20kV", v_low = "400V", vk_percent = 4, vkr_percent = 1.75, group = "Dyn5" }]
"#;
    let rest = NETWORK
        .lines()
        .filter(|l| l.starts_with("switch") || l.starts_with("line"));
    let text = turned.to_owned() + &rest.collect::<Vec<_>>().join("\n");
    let mut plant = plant_on(&network_of(&text), (2, On::All), (2, On::All), 20e3);
    run(&mut plant, 0.5);
    assert!(plant.bus().angle.abs() < 2.0, "{}", plant.bus().angle);
    plant.breaker.open();
    run(&mut plant, 1.0);
    plant.storage[0].set_p(30e3);
    run(&mut plant, 1.0);
    plant.breaker.close();
    run(&mut plant, 30.0);
    assert_eq!(plant.bus().supply, Supply::Grid, "{:?}", plant.breaker);
}

#[test]
fn a_load_of_one_phase_shows_in_that_phase() {
    let more = "unbalanced = true\n";
    let mut plant = plant(more, (1, On::All), (2, On::One(1)), 10e3);
    run(&mut plant, 0.5);
    let v = plant.volts(Unit::Load(0));
    assert!(v[1] < 227.0 && v[0] > 229.0 && v[2] > 229.0, "{v:?}");
    assert_eq!(plant.shares(Unit::Load(0)), [0.0, 1.0, 0.0]);
    near(plant.shares(Unit::Main)[1], 1.0, 1e-6);
}

#[test]
fn more_than_the_cable_can_carry_trips_the_coupling_breaker() {
    let mut plant = plant("", (1, On::All), (2, On::All), 2e6);
    plant.storage[0].connect(false);
    run(&mut plant, 0.1);
    assert_eq!(plant.bus().supply, Supply::Dead);
    assert_eq!(plant.volts(Unit::Load(0)), [0.0; 3]);
    assert!(!plant.breaker.is_closed());
}

#[test]
fn a_der_in_an_unbalanced_network_trips_by_its_worst_phase() {
    // A heavy load on one phase at the end of the cable, where the storage hangs.
    let check = |on, p, expected| {
        let mut plant = plant("unbalanced = true\n", (2, On::All), (2, on), p);
        plant.storage[0].set_functions(crate::plant::der::tests::functions(
            der_model::settings::Kind::Storage,
            "",
        ));
        run(&mut plant, 22.0);
        let functions = plant.storage[0].functions().expect("a DER");
        assert_eq!(
            functions.status(),
            expected,
            "{:?}",
            plant.volts(Unit::Storage(0))
        );
    };
    check(On::One(1), 50e3, der_model::Status::Tripped);
    check(On::All, 50e3, der_model::Status::On);
}
