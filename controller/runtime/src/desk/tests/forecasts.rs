//! What agents of the bench expect of devices that do as they like.

use super::*;

/// Energy that the load orders for each interval, in milliwatt-hours, when it draws so much before each
/// gate, in watts.
fn ordered(forecast: &str, draws: &[f64]) -> Vec<i64> {
    let load = "load1 = { kind = \"must_run\" }";
    let with = format!("load1 = {{ kind = \"must_run\", {forecast} }}");
    let mut bench = Bench::new((load, &with), "");
    // Gates close at 2, 17, 32 s and so on.
    for (gate, watts) in draws.iter().enumerate() {
        bench.power_w.insert("load1", *watts);
        bench.run_until(2_000 + 15_000 * gate as u64);
    }
    let orders = bench.close().into_iter().filter_map(|record| match record {
        Payload::Order(order) if order.agent == "load1" => {
            Some(order.steps.iter().map(|s| s.quantity_milliwatt_hours).sum())
        }
        _ => None,
    });
    orders.collect()
}

/// Whether they are these energies, within what the last digits of samples make.
fn check(forecast: &str, draws: &[f64], expected: &[i64]) {
    let found = ordered(forecast, draws);
    let is_near = |(a, b): (&i64, &i64)| (a - b).abs() <= 1;
    assert!(
        found.len() == expected.len() && found.iter().zip(expected).all(is_near),
        "{forecast}: {found:?}, expected {expected:?}"
    );
}

#[test]
fn a_load_orders_by_the_forecast_that_its_rig_names() {
    // 6 kW for 15 s are 25 Wh.
    let draws = [-6_000.0, -2_400.0, -6_000.0];
    check(
        "forecast = \"persistence\"",
        &draws,
        &[25_000, 10_000, 25_000],
    );
    // Half of what it was, half of what it is: 6, 4.2 and 5.1 kW.
    let half = "forecast = \"smoothing\", smoothing_ppm = 500000";
    check(half, &draws, &[25_000, 17_500, 21_250]);
    // The bench's clock begins at 08:00 UTC, a third of a day of a minute after a minute began, for
    // 60 s divide 8 h: so interval 0 has its middle at 10.5 s of the day, where the profile is 10.5 kW.
    let profile = "forecast = \"profile\", profile_day = \"1min\", \
                   profile_w = [0, -15000, -30000, -15000]";
    // At its gate, 2 s, it is 2 kW, and the load draws as much.
    check(profile, &[-2_000.0], &[43_750]);
    // It draws 1 kW more than usual, and that lasts.
    check(profile, &[-3_000.0], &[47_916]);
}
