//! The charge comes back after an event: within its rule, declared before, and under an answer.

use services::definition::Recovery;

use super::*;

/// Containment of 1 kW for an hour; a hundredth of that energy in each ten seconds, declared twenty before: 3.6 kW.
fn recovering(change: impl FnOnce(&mut ServiceSpec)) -> Fleet {
    let mut service = sold("dc1", "dc", 1.0, 1.0, &[ESS]);
    service.hold = Duration::from_secs(3600);
    service.recover = Some(StateOfCharge::from_percent(50.0));
    service.definition.recovery = Some(Recovery {
        share: 0.01,
        every_s: 10.0,
        notice_s: 20.0,
    });
    change(&mut service);
    Fleet::with(vec![service])
}

/// Until so many seconds of the run.
fn until(fleet: &mut Fleet, second: f64) {
    let now = fleet.desk.now_ms as f64 / 1000.0;
    fleet.run(second - now, &[]);
}

#[test]
fn a_charge_comes_back_by_periods_that_were_declared_before_and_an_answer_goes_on_top() {
    let mut fleet = recovering(|_| ());
    fleet.desk.see(BAT, Point::StateOfCharge, 0.4);
    until(&mut fleet, 29.0);
    fleet.sees([0.0, 0.0]);
    let declared = |e: &Event| {
        matches!(
            e,
            Event::Noticed {
                device: Some(ESS),
                ..
            }
        )
    };
    assert!(!fleet.told(declared).is_empty(), "twenty seconds before");
    until(&mut fleet, 32.0);
    fleet.sees([-3.6, 0.0]);
    fleet.f(49.5);
    until(&mut fleet, 37.0);
    fleet.sees([-2.6, DROOP_KW]);
    // The charge is there meanwhile; what was declared is kept until the last of it is over.
    fleet.desk.see(BAT, Point::StateOfCharge, 0.5);
    fleet.f(50.0);
    until(&mut fleet, 45.0);
    fleet.sees([-3.6, 0.0]);
    until(&mut fleet, 62.0);
    fleet.sees([0.0, 0.0]);
}

#[test]
fn a_recovery_begins_and_ends_while_no_event_is_under_way() {
    let mut fleet = recovering(|_| ());
    fleet.desk.see(BAT, Point::StateOfCharge, 0.4);
    until(&mut fleet, 28.0);
    fleet.f(49.5);
    until(&mut fleet, 33.0);
    // Its period has begun in the middle of an event, so it waits.
    fleet.sees([1.0, DROOP_KW]);
    fleet.f(50.0);
    until(&mut fleet, 37.0);
    fleet.sees([-3.6, 0.0]);
}

#[test]
fn nothing_comes_back_where_nobody_asked_where_it_is_there_or_where_the_charge_is_not_known() {
    for (recover, soc) in [(None, 0.4), (Some(50.0), 0.495), (Some(50.0), f64::NAN)] {
        let mut fleet = recovering(|s| s.recover = recover.map(StateOfCharge::from_percent));
        if soc.is_finite() {
            fleet.desk.see(BAT, Point::StateOfCharge, soc);
        } else {
            fleet.desk.image.devices[BAT.index()].soc = model::Signal::unread();
        }
        until(&mut fleet, 45.0);
        let told = fleet.told(|e| {
            matches!(
                e,
                Event::Noticed {
                    device: Some(ESS),
                    ..
                }
            )
        });
        assert_eq!(told, [], "{recover:?} {soc}");
    }
}

#[test]
fn a_recovery_keeps_out_of_what_is_reserved() {
    // A hundred times faster than the rule would be 360 kW; 1 kW of 10 is kept downwards.
    let mut fleet = recovering(|s| {
        if let Some(rule) = &mut s.definition.recovery {
            rule.share = 1.0;
        }
    });
    fleet.desk.see(BAT, Point::StateOfCharge, 0.4);
    until(&mut fleet, 35.0);
    fleet.sees([-9.0, 0.0]);
}
