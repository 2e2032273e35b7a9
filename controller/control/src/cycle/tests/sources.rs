//! Grid simulators, and loads that take a setpoint.

use super::*;

#[test]
fn a_source_is_asked_once_and_once_more_when_somebody_says_it_again() {
    let mut desk = Desk::new();
    let f_of = |outcome: &Outcome| -> Vec<f64> {
        let of_source = outcome.dispatches.iter().filter(|d| d.device == SOURCE);
        of_source
            .filter_map(|d| match d.setpoint.get() {
                Setpoint::Source { f, .. } => f.map(Frequency::as_hertz),
                _ => None,
            })
            .collect()
    };
    assert_eq!(f_of(&desk.orders(&[hold_source(Some(49.5), None)])), [49.5]);
    assert!(desk.run(2.0).is_empty(), "it says nothing new");
    assert_eq!(f_of(&desk.orders(&[hold_source(Some(49.5), None)])), [49.5]);
    assert_eq!(f_of(&desk.orders(&[hold_source(Some(40.0), None)])), [47.0]);
    assert!(desk.run(2.0).is_empty());
    let on = Setpoint::Switch { on: true };
    let outcome = desk.orders(&[Order::Hold {
        device: SOURCE,
        setpoint: on,
    }]);
    let sent = outcome.dispatches.first().expect("sent").setpoint.get();
    assert_eq!(sent, on.for_role(Role::Source), "its switch is its output");
}

#[test]
fn a_source_goes_back_to_nominal_in_the_safe_mode_and_one_never_set_is_not_touched() {
    let nominal = Setpoint::Source {
        f: Some(Frequency::from_hertz(50.0)),
        v: Some(Voltage::from_volts(230.0)),
        phase: None,
        on: None,
    };
    let mut desk = Desk::new();
    desk.orders(&[Order::Mode(ModeRequest::Safe)]);
    assert!(!desk.run(1.0).contains_key(&SOURCE));
    assert!(
        desk.controller
            .rest(desk.now(), "the run ends")
            .iter()
            .all(|d| d.device != SOURCE)
    );

    let mut desk = Desk::new();
    desk.orders(&[hold_source(Some(49.0), Some(true))]);
    desk.run(1.0);
    let safe = desk.orders(&[Order::Mode(ModeRequest::Safe)]);
    let of_source = safe.dispatches.iter().find(|d| d.device == SOURCE);
    let sent = of_source.map(|d| (d.setpoint.get(), d.function));
    assert_eq!(sent, Some((nominal, Function::Safety)));
    assert!(!desk.run(1.0).contains_key(&SOURCE), "once");

    let mut desk = Desk::new();
    desk.orders(&[hold_source(Some(49.0), None)]);
    let rest = desk.controller.rest(desk.now(), "the run ends");
    let of_source = rest.iter().find(|d| d.device == SOURCE).expect("at rest");
    assert_eq!(of_source.setpoint.get(), nominal);
}

#[test]
fn a_load_that_takes_a_setpoint_is_switched_by_nobody_but_its_holder() {
    let mut desk = Desk::new();
    let plug_2 = DeviceIx(6);
    desk.controller.bench.devices[plug_2.index()].takes_power = true;
    desk.controller.sent.clear();
    let sent = desk.run(1.0);
    assert!(
        sent.contains_key(&DeviceIx(5)),
        "the other plug is given back"
    );
    assert!(!sent.contains_key(&plug_2));
}
