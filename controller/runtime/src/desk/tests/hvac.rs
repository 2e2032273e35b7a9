//! A load that heats a room, by the model that its rig states.

use super::*;

const PLUG: &str = "plug1 = { kind = \"flexible\", willingness_mc_per_kwh = 30000 }";

const MODEL: &str = "outside = \"5degC\", running = \"40degC\", time_constant = \"100s\"";

/// The room: 5 degrees outside, 40 with the heater always on, a hundred seconds.
fn heated(more: &str) -> Bench {
    let heater = format!(
        "plug1 = {{ kind = \"flexible\", strategy = \"hvac\", wanted = \"21degC\", limit = \"19degC\", \
         expected_mc_per_kwh = 20000, deviation_mc_per_kwh = 8000, {more} }}"
    );
    Bench::new((PLUG, &heater), "")
}

#[test]
fn a_heater_keeps_its_room_in_the_band_of_comfort_by_what_it_bids() {
    let mut bench = heated(MODEL);
    bench.power_w.insert("plug1", 0.0);
    let mut room =
        market::agent::Room::new((278_150, 313_150), 100_000_000_000, 294_150).expect("a room");
    let (mut coldest, mut warmest) = (i64::MAX, i64::MIN);
    while bench.now_ms < 400_000 {
        let before = bench.now_ms;
        bench.run_until(before + 500);
        // It does what the schedule says, and the true room is as the model says.
        let plug = bench.device("plug1");
        let now = at(bench.now_ms);
        let schedules = bench.ordered.iter().rev().filter_map(|order| match order {
            Order::Schedule(schedule) => Some(schedule),
            _ => None,
        });
        let mut in_force = schedules.filter(|it| it.from <= now && now < it.until);
        let asked = in_force
            .next()
            .and_then(|it| it.devices.iter().find(|(d, _)| *d == plug));
        let is_on = asked.is_some_and(|(_, p)| p.as_watts() < -500.0);
        room.live(
            500_000_000,
            if bench.power_w["plug1"] < 0.0 {
                1_000_000
            } else {
                0
            },
        );
        bench
            .power_w
            .insert("plug1", if is_on { -2_000.0 } else { 0.0 });
        if bench.now_ms > 60_000 {
            coldest = coldest.min(room.temperature_mk());
            warmest = warmest.max(room.temperature_mk());
        }
    }
    let records = bench.close();
    let bids = records.iter().filter_map(|record| match record {
        Payload::Order(order) if order.agent == "plug1" => {
            Some(order.steps[0].price_millicents_per_kwh)
        }
        _ => None,
    });
    let bids: std::collections::BTreeSet<i64> = bids.collect();
    assert!(bids.len() > 3, "{bids:?}");
    // An interval and its gate move the room by 16 s: 2.3 K off, 3 K on. Outside of that it never is.
    assert!(coldest > 292_150 - 2_500, "{coldest}");
    assert!(warmest < 296_150 + 3_200, "{warmest}");
    let (low, high) = (coldest, warmest);
    assert!(high - low > 500, "it was both on and off: {low} to {high}");
}

#[test]
fn a_heater_whose_power_nobody_knows_does_not_know_its_room_and_is_silent() {
    let mut bench = heated(MODEL);
    bench.run_until(2_500);
    let silent: Vec<String> = bench
        .told(silences)
        .into_iter()
        .map(|(_, who)| who)
        .collect();
    assert!(silent.contains(&"plug1".to_owned()), "{silent:?}");
    // 1.5 of 2 K toward the limit, which is worth two deviations: 20000 and 12000.
    let begins = format!("{MODEL}, begins = \"19.5degC\"");
    let mut bench = heated(&begins);
    bench.power_w.insert("plug1", 0.0);
    bench.run_until(500);
    bench.run_until(2_500);
    let records = bench.close();
    let price = records.iter().find_map(|record| match record {
        Payload::Order(order) if order.agent == "plug1" => {
            Some(order.steps[0].price_millicents_per_kwh)
        }
        _ => None,
    });
    // It has cooled by 0.2 K in the second and a half before the gate.
    let price = price.expect("an order");
    assert!((32_000..35_000).contains(&price), "{price}");
}
