//! Services of which the market says who is ready.

use model::{Readiness, ReadyShare};

use super::*;

/// A signal service of which nobody is ready but by what the market has bought.
fn bought() -> Fleet {
    let mut spec = sold("agc1", "agc", 6.0, 6.0, &[ESS, ESS_2]);
    spec.ready = Some(Vec::new());
    Fleet::with(vec![spec])
}

/// Both storages are ready from a time to another: the second is called first upwards, the first downwards.
fn ready(fleet: &Fleet, from_ms: u64, for_ms: u64) -> Order {
    let at = |ms: u64| Instant::START + Duration::from_millis(fleet.desk.now_ms + ms);
    let kw = ActivePower::from_kilowatts;
    let share = |device, up, down, up_rank, down_rank| ReadyShare {
        device,
        up: kw(up),
        down: kw(down),
        up_rank,
        down_rank,
    };
    Order::Ready(Readiness {
        service: ServiceIx(0),
        from: at(from_ms),
        until: at(from_ms + for_ms),
        shares: vec![share(ESS, 4.0, 3.0, 1, 0), share(ESS_2, 2.0, 1.0, 0, 1)],
    })
}

#[test]
fn nobody_is_called_of_whom_the_market_has_bought_nothing() {
    let mut fleet = bought();
    fleet.run(5.0, &[signal(0, 1.0)]);
    fleet.sees([0.0, 0.0]);
}

#[test]
fn the_cheapest_is_called_first_for_no_more_than_it_has_ready_and_only_in_its_time() {
    let mut fleet = bought();
    let bought = ready(&fleet, 2_000, 60_000);
    fleet.run(1.5, &[bought, signal(0, 0.5)]);
    fleet.sees([0.0, 0.0]);
    // Half of 6 kW upwards: 2 of the second, the rest of the first.
    fleet.run(20.0, &[]);
    fleet.sees([1.0, 2.0]);
    // A quarter of 4 kW downwards is the first one's alone, and all of it both.
    fleet.run(20.0, &[signal(0, -0.25)]);
    fleet.sees([-1.0, 0.0]);
    let outcome = fleet.run(15.0, &[signal(0, -1.0)]);
    fleet.sees([-3.0, -1.0]);
    // What is ready is less than what was sold, and that is told.
    assert!(!outcome.services[0].available);
    fleet.run(10.0, &[]);
    fleet.sees([0.0, 0.0]);
}

#[test]
fn a_schedule_leaves_what_the_market_has_bought_and_gets_all_of_it_afterwards() {
    let mut fleet = bought();
    let bought = ready(&fleet, 0, 10_000);
    fleet.run(2.0, &[bought, schedule(0.0, 9.0)]);
    fleet.sees([6.0, 0.0]);
    fleet.run(10.0, &[]);
    fleet.sees([9.0, 0.0]);
}
