use std::time::Duration;

use der_model::settings::{Emulated, Kind, read_emulated};
use document::{Document, Source};
use quantities::Voltage;

use super::*;
use crate::plant::breaker::SyncCheck;
use crate::plant::network::Feeder;
use crate::plant::pv::Pv;
use crate::plant::storage::{Storage, StorageRating};
use crate::plant::{Forming, Plant, Site};

pub(crate) fn functions(kind: Kind, settings: &str) -> Functions {
    let document = Document::parse(Source::new("rig.toml", settings)).expect("TOML");
    let emulated = Emulated {
        kind,
        nominal: Frequency::from_hertz(50.0),
    };
    let settings = read_emulated(document.root(), emulated);
    Functions::new(settings.unwrap_or_else(|| panic!("{:?}", document.into_faults())))
}

/// A plant on a stiff grid with a PV and a storage of 10 kVA each; the sun offers 8 kW.
fn plant(settings: &str) -> Plant {
    let site = Site {
        v_nominal: Voltage::from_volts(230.0),
        f_nominal: Frequency::from_hertz(50.0),
        phases: 3,
    };
    let stiff = Feeder {
        r_ohm: 0.0,
        x_ohm: 0.0,
    };
    let (forming, sync) = (Forming::default(), SyncCheck::default());
    let mut plant = Plant::new(site, stiff, forming, sync, 7);
    plant.grid.set_noise(Frequency::ZERO);
    let mut pv = Pv::new(10e3, 50e3, site.f_nominal);
    pv.set_available(8e3);
    pv.set_functions(functions(Kind::Pv, settings));
    plant.pv.push(pv);
    let rating = StorageRating {
        p: 10e3,
        capacity_wh: 10e3,
        ramp: 50e3,
    };
    let mut storage = Storage::new(rating, 0.5);
    storage.set_functions(functions(Kind::Storage, settings));
    plant.storage.push(storage);
    run(&mut plant, 1.0);
    plant
}

fn run(plant: &mut Plant, seconds: f64) {
    for _ in 0..(seconds * 100.0).round() as u64 {
        plant.step(Duration::from_millis(10));
    }
}

/// Within half a per cent of the rating: what the inverter's own 20 ms leave of a ramp.
fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 50.0, "{found}, not {expected}");
}

#[test]
fn both_kinds_follow_the_voltage_of_their_bus_with_the_response_of_the_model() {
    let mut plant = plant("[volt_var]\n");
    near(plant.pv[0].p(), 8e3);
    plant.grid.set_v(Voltage::from_volts(0.95 * 230.0));
    // The curve gives 0.22 of the rating, nine tenths of it after five seconds.
    run(&mut plant, 5.0);
    near(plant.pv[0].q(), 0.9 * 2200.0);
    near(plant.storage[0].q(), 0.9 * 2200.0);
    run(&mut plant, 15.0);
    near(plant.pv[0].q(), 2200.0);
    near(plant.storage[0].q(), 2200.0);
    near(plant.pcc().q, -4400.0);
}

#[test]
fn droop_counts_from_the_power_before_the_event_also_when_the_sun_changes() {
    let mut plant = plant("[freq_droop]\nolrt_s = 0.5\n");
    plant.storage[0].set_p(-3e3);
    run(&mut plant, 2.0);
    plant.grid.set_f(Frequency::from_hertz(50.536));
    run(&mut plant, 3.0);
    // Half a hertz of 2.5 is a fifth of the rating.
    near(plant.pv[0].p(), 6e3);
    near(plant.storage[0].p(), -5e3);
    plant.pv[0].set_available(7e3);
    run(&mut plant, 3.0);
    near(plant.pv[0].p(), 6e3);
}

#[test]
fn the_ceiling_is_a_limit_and_droop_goes_over_it() {
    let mut plant =
        plant("[p_limit]\nenabled = false\nresponse_s = 2\n[freq_droop]\nolrt_s = 0.2\n");
    plant.pv[0].set_ceiling(4e3);
    run(&mut plant, 1.0);
    near(plant.pv[0].p(), 5e3);
    run(&mut plant, 1.0);
    near(plant.pv[0].p(), 4e3);
    plant.grid.set_f(Frequency::from_hertz(49.464));
    run(&mut plant, 3.0);
    near(plant.pv[0].p(), 6e3);
    plant.grid.set_f(Frequency::from_hertz(50.0));
    plant.pv[0].set_ceiling(10e3);
    run(&mut plant, 5.0);
    near(plant.pv[0].p(), 8e3);
}

#[test]
fn a_jump_of_the_phase_is_seen_as_one_and_a_wandering_frequency_is_not() {
    let mut plant = plant("[ride_through]\nphase_jump_deg = 20\n");
    plant.grid.set_f(Frequency::from_hertz(50.3));
    run(&mut plant, 10.0);
    plant.grid.jump_phase(-15.0);
    run(&mut plant, 1.0);
    assert_eq!(status(&plant), Status::On);
    plant.grid.jump_phase(25.0);
    run(&mut plant, 0.02);
    assert_eq!(status(&plant), Status::Tripped);
    near(plant.pv[0].p(), 0.0);
}

fn status(plant: &Plant) -> Status {
    let functions = plant.pv[0].functions();
    functions.expect("it is a DER").status()
}

#[test]
fn a_dip_is_ridden_through_without_power_and_a_lost_utility_trips() {
    let mut plant = plant("[enter_service]\ndelay_s = 5\nramp_s = 10\n");
    plant.grid.set_v(Voltage::from_volts(0.4 * 230.0));
    run(&mut plant, 0.05);
    assert_eq!(status(&plant), Status::Ceased);
    near(plant.pv[0].p(), 0.0);
    plant.grid.set_v(Voltage::from_volts(230.0));
    run(&mut plant, 0.4);
    near(plant.pv[0].p(), 8e3);
    plant.grid.set_energised(false);
    run(&mut plant, 3.0);
    assert_eq!(status(&plant), Status::Tripped);
    // The relay at the coupling has opened meanwhile.
    plant.grid.set_energised(true);
    plant.breaker.close();
    run(&mut plant, 4.5);
    near(plant.pv[0].p(), 0.0);
    run(&mut plant, 5.5);
    assert_eq!(status(&plant), Status::Entering);
    // Half of the ramp, less the time that the breaker took.
    let p = plant.pv[0].p();
    assert!((4.8e3..5e3).contains(&p), "{p}");
    run(&mut plant, 10.0);
    near(plant.pv[0].p(), 8e3);
}

#[test]
fn an_empty_storage_gives_nothing_and_a_full_one_takes_nothing() {
    let mut plant = plant("[freq_droop]\nolrt_s = 0.2\n");
    for (soc, f_hz) in [(0.0, 49.0), (1.0, 51.0)] {
        plant.storage[0].set_soc(soc);
        plant.grid.set_f(Frequency::from_hertz(f_hz));
        run(&mut plant, 3.0);
        near(plant.storage[0].p(), 0.0);
    }
}

#[test]
fn of_several_reactive_functions_one_acts_and_the_held_value_goes_before_all() {
    let of = |law| {
        Some(ReactiveSettings {
            law,
            olrt_s: 1.0,
            vref: Vref::NOMINAL,
        })
    };
    let pf = || of(Reactive::power_factor(0.95, true).expect("a power factor"));
    let mut functions = functions(Kind::Pv, "[volt_var]\n");
    use ReactiveFunction::{Constant, PowerFactor, VoltVar};
    let mut check = |change: fn(&mut Functions), acts| {
        change(&mut functions);
        assert_eq!(functions.reactive(), acts);
    };
    check(|_| {}, Some(VoltVar));
    functions.change(Change::Reactive(PowerFactor, pf()));
    let mut check = |change: fn(&mut Functions), acts| {
        change(&mut functions);
        assert_eq!(functions.reactive(), acts);
    };
    check(|_| {}, Some(PowerFactor));
    check(|f| f.hold_q(Some(0.1)), Some(Constant));
    check(|f| f.hold_q(None), Some(PowerFactor));
    check(
        |f| f.change(Change::Reactive(PowerFactor, None)),
        Some(VoltVar),
    );
    check(|f| f.change(Change::Reactive(VoltVar, None)), None);
    check(Functions::start_anew, Some(VoltVar));
}

/// The same plant with a storage that may form, 3 kW of load, and no sun.
fn former(settings: &str) -> Plant {
    let mut plant = plant(settings);
    plant.pv[0].set_available(0.0);
    plant.storage[0].form_too();
    plant.loads.push(crate::plant::load::Load::new(3e3, true));
    run(&mut plant, 20.0);
    plant
}

#[test]
fn a_der_that_may_form_holds_its_island_with_its_functions_back_and_follows_again_on_the_grid() {
    use crate::plant::Supply;
    let mut plant = former(
        "[volt_var]\nolrt_s = 1\n[freq_droop]\nolrt_s = 0.2\n[ride_through]\nrocof_hz_per_s = 3\nphase_jump_deg = 20\n",
    );
    let status = |plant: &Plant| plant.storage[0].functions().expect("a DER").status();
    plant.storage[0].set_p(1e3);
    plant.grid.set_v(Voltage::from_volts(0.95 * 230.0));
    run(&mut plant, 5.0);
    near(plant.storage[0].q(), 2200.0);
    plant.grid.set_v(Voltage::from_volts(0.0));
    run(&mut plant, 3.0);
    assert_eq!(plant.bus().supply, Supply::Island);
    assert!(plant.storage[0].is_forming());
    assert_eq!(status(&plant), Status::On);
    // Its droop of a former, 2 kW beyond its setpoint of 10 kW at 2 %, not that of a follower; and the
    // reactive power is what the loads take, whatever its volt-var curve says.
    assert!(
        (plant.bus().f - (50.0 - 0.2 * 1.0)).abs() < 0.03,
        "{}",
        plant.bus().f
    );
    assert!(
        (plant.storage[0].p() - 3e3).abs() < 150.0,
        "{}",
        plant.storage[0].p()
    );
    near(plant.storage[0].q(), -plant.loads[0].q());
    plant.grid.set_v(Voltage::from_volts(0.95 * 230.0));
    plant.breaker.close();
    run(&mut plant, 60.0);
    assert_eq!(plant.bus().supply, Supply::Grid, "back in step");
    assert!(!plant.storage[0].is_forming());
    assert_eq!(status(&plant), Status::On, "without entering service anew");
    near(plant.storage[0].p(), 1e3);
    near(plant.storage[0].q(), 2200.0);
}

#[test]
fn a_der_that_forms_still_trips_and_then_nobody_holds_its_bus() {
    use crate::plant::Supply;
    // An under-frequency trip above where 3 kW of 10 bring the frequency.
    let mut plant = former("allow_out_of_range = true\n[trip]\nuf2 = [49.8, 0.5]\n");
    plant.grid.set_v(Voltage::from_volts(0.0));
    run(&mut plant, 0.5);
    assert_eq!(plant.bus().supply, Supply::Island);
    run(&mut plant, 1.0);
    let functions = plant.storage[0].functions().expect("a DER");
    assert_eq!(
        functions.model().cause(),
        Some(der_model::trip::Cause::UnderFrequency)
    );
    assert_eq!(plant.bus().supply, Supply::Dead);
    assert!(!plant.storage[0].can_form(), "it has tripped");
    // Told to connect, it brings its dead bus up, and does not trip meanwhile.
    plant.loads[0].switch(false);
    plant.storage[0].connect(true);
    run(&mut plant, 15.0);
    assert_eq!(plant.bus().supply, Supply::Island);
    assert!((plant.bus().v - 230.0).abs() < 12.0, "{}", plant.bus().v);
}

#[test]
fn a_der_that_was_not_told_so_forms_nothing() {
    use crate::plant::Supply;
    let mut plant = plant("");
    plant.pv[0].set_available(0.0);
    run(&mut plant, 20.0);
    plant.grid.set_v(Voltage::from_volts(0.0));
    run(&mut plant, 3.0);
    assert_eq!(plant.bus().supply, Supply::Dead);
}
