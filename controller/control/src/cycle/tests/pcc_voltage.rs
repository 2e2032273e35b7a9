//! Support of the voltage at the coupling, given by two storages that do what they are told.

use model::Link;
use services::definition::named;

use super::*;
use crate::VoltageSpec;

/// The second storage: half of the first.
const ESS_2: DeviceIx = DeviceIx(8);

fn desk() -> Desk {
    let mut desk = Desk::made(|devices, settings| {
        let mut second = spec("ess2", Role::Ess, -5.0, 5.0);
        second.battery = None;
        devices.push(second);
        settings.pcc_voltage = Some(VoltageSpec {
            name: "vs1".to_owned(),
            definition: named("voltage-support").expect("a service"),
            q: ReactivePower::from_vars(6000.0),
        });
    });
    desk.see(ESS_2, Point::ActivePower, 0.0);
    desk.see(ESS_2, Point::StateOfCharge, 0.5);
    desk
}

/// Runs for a time at a voltage; what the two storages were sent at its end, in kilovar.
fn run(desk: &mut Desk, v: Option<f64>, seconds: usize) -> [f64; 2] {
    for _ in 0..10 * seconds {
        match v {
            Some(v) => desk.see(PCC, Point::VoltageL1, v),
            None => {
                for device in &mut desk.image.devices {
                    device.v.last_good = None;
                }
            }
        }
        desk.orders(&[]);
    }
    [ESS, ESS_2].map(|device| match desk.controller.last_sent(device) {
        Some(Setpoint::Power { q, .. }) => q.as_vars() / 1000.0,
        _ => 0.0,
    })
}

#[track_caller]
fn check(got: [f64; 2], kvar: [f64; 2]) {
    let near = got.iter().zip(kvar).all(|(a, b)| (a - b).abs() < 0.1);
    assert!(near, "{got:?}, not {kvar:?}");
}

#[test]
fn reactive_power_follows_the_voltage_at_the_coupling_shared_by_what_each_is_made_for() {
    let mut desk = desk();
    for (v, kvar) in [
        (230.0, [0.0, 0.0]),
        (228.0, [0.0, 0.0]),
        (218.5, [3.2, 1.6]),
        (200.0, [4.0, 2.0]),
        (239.2, [-2.4, -1.2]),
        (230.0, [0.0, 0.0]),
    ] {
        let got = run(&mut desk, Some(v), 7);
        check(got, kvar);
    }
}

#[test]
fn an_answer_stands_while_the_voltage_is_not_known_and_ends_with_the_coupling() {
    let mut desk = desk();
    run(&mut desk, Some(218.5), 7);
    let got = run(&mut desk, None, 3);
    check(got, [3.2, 1.6]);
    let blind = |e: &Event| matches!(e, Event::Noticed { text, .. } if text.contains("not known"));
    assert_eq!(desk.events.iter().filter(|e| blind(e)).count(), 1);
}

#[test]
fn a_storage_that_falls_silent_is_made_up_for_and_what_is_not_left_is_told() {
    let mut desk = desk();
    run(&mut desk, Some(218.5), 7);
    desk.image.devices[ESS_2.index()].link = Link::Offline;
    let got = run(&mut desk, Some(218.5), 1);
    assert!((got[0] - 4.8).abs() < 0.1, "{got:?}");
    // At 9.5 kW of 10 kVA there are 3.1 kvar left.
    desk.see(ESS, Point::ActivePower, 9500.0);
    run(&mut desk, Some(218.5), 1);
    let short =
        |e: &Event| matches!(e, Event::Noticed { text, .. } if text.contains("are left beside"));
    assert_eq!(
        desk.events.iter().filter(|e| short(e)).count(),
        1,
        "{:?}",
        desk.events
    );
}
