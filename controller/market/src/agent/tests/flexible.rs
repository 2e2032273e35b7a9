//! Vehicles, rooms, quadratic loads and planned batteries.

use super::*;
use crate::interval::Interval;

const HOUR_NS: i64 = 3_600_000_000_000;

fn charged(state_of_charge_ppm: u32) -> Outlook {
    Outlook {
        forecast: None,
        state_of_charge_ppm: Some(state_of_charge_ppm),
    }
}

const CAR: &str = r#"{"kind":"electric_vehicle","agent":"car","capacity_mwh":10000,
    "charge_milliwatt_max":2000,"charge_efficiency_ppm":800000,"wanted_ppm":900000,
    "departure_ns":36000000000000,"slack_full_ns":14400000000000,"patient":1000,"urgency":2}"#;

/// What the car bids at an hour of market time: price and energy.
fn car_bids(hour: i64, state_of_charge_ppm: u32) -> Option<(i64, i64)> {
    let mut car: Participant = serde_json::from_str(CAR).unwrap();
    let view = view("car", charged(state_of_charge_ppm), Coupling::Islanded);
    let interval = Interval::new(0, hour * HOUR_NS, HOUR_NS).unwrap();
    let orders = car.orders(&view, &interval);
    orders
        .first()
        .map(|order| (order.steps[0].price.0, order.steps[0].quantity.0))
}

#[test]
fn a_vehicle_bids_more_the_less_time_is_left_and_the_cap_when_it_is_late() {
    // From 50 % to 90 % of 10 Wh through 80 % are 5 Wh: two and a half hours at 2 W.
    assert_eq!(car_bids(0, 500_000), Some((1_000, 2_000)));
    assert_eq!(car_bids(3, 500_000), Some((1_000, 2_000)));
    // Three and a half of four hours of slack: 1000 + 299000/64, on a tick.
    assert_eq!(car_bids(4, 500_000), Some((5_670, 2_000)));
    // Half an hour of slack: 1000 + 299000 · 49/64.
    assert_eq!(car_bids(7, 500_000), Some((229_920, 2_000)));
    assert_eq!(car_bids(8, 500_000), Some((300_000, 2_000)));
    assert_eq!(car_bids(9, 100_000), Some((300_000, 2_000)));
    // The last energy only, then none.
    assert_eq!(car_bids(0, 880_000), Some((1_000, 250)));
    assert_eq!(car_bids(0, 900_000), None);
    assert_eq!(car_bids(10, 500_000), None);
}

#[test]
fn a_vehicle_whose_charge_nobody_knows_does_not_order_and_a_wrong_one_is_refused() {
    check(CAR, UNKNOWN, &[]);
    for (key, value) in [
        ("capacity_mwh", "0"),
        ("urgency", "5"),
        ("slack_full_ns", "-1"),
    ] {
        let mut car: serde_json::Value = serde_json::from_str(CAR).unwrap();
        car[key] = serde_json::from_str(value).unwrap();
        let refused = serde_json::from_value::<Participant>(car).unwrap_err();
        assert!(
            refused.to_string().contains("vehicle `car`"),
            "{key}: {refused}"
        );
    }
}

const ROOM: &str = r#"{"agent":"room","milliwatt":600,"wanted_mk":295000,"limit_mk":297000,
    "reach_ppm":2000000,"expected":20000,"deviation":3000}"#;

fn clearing_at(index: u64, price: i64) -> Clearing {
    let orders = vec![
        Order::single("x".into(), Side::Buy, Price(price), Mwh(1)),
        Order::single("y".into(), Side::Sell, Price(price), Mwh(1)),
    ];
    let interval = Interval::new(index, 0, MINUTE_NS).unwrap();
    let book = crate::Book::new(interval, &BookRules::unbounded(), orders).unwrap();
    crate::Mechanism::clear(&crate::mechanism::UniformPrice::HALF, &book).unwrap()
}

#[test]
fn a_room_pays_by_its_distance_from_where_it_should_be() {
    let room: Climate = serde_json::from_str(ROOM).unwrap();
    let cap = Price(300_000);
    for (temperature, expected) in [
        (295_000, Some(20_000)),
        (296_000, Some(23_000)),
        (294_000, Some(17_000)),
        (296_999, Some(25_997)),
        (297_000, Some(300_000)),
        (293_000, None),
    ] {
        let found = room.price(temperature, cap).map(|price| price.0);
        assert_eq!(found, expected, "{temperature} mK");
    }
    // Heating is the mirror image.
    let cold = ROOM.replace("297000", "293000");
    let cold: Climate = serde_json::from_str(&cold).unwrap();
    assert_eq!(cold.price(294_000, cap), Some(Price(23_000)));
    assert_eq!(cold.price(292_000, cap), Some(cap));
    assert_eq!(cold.price(297_000, cap), None);
}

#[test]
fn a_room_orders_what_it_feels_and_learns_what_prices_are_usual() {
    let mut room: Climate = serde_json::from_str(ROOM).unwrap();
    let view = view("room", UNKNOWN, Coupling::Islanded);
    let interval = Interval::new(0, 0, MINUTE_NS).unwrap();
    assert_eq!(room.orders(&view, &interval), []);
    room.feel(Some(296_000));
    let orders = room.orders(&view, &interval);
    assert_eq!(
        (orders[0].steps[0].price, orders[0].steps[0].quantity),
        (Price(23_000), Mwh(10))
    );
    for index in 0..300 {
        room.heed(&clearing_at(index, 40_000));
    }
    // The mean has moved to where prices are, and they no longer deviate.
    let learned = room.price(296_000, Price(300_000)).unwrap().0;
    assert!((39_900..40_300).contains(&learned), "{learned}");
}

#[test]
fn a_quadratic_load_bids_its_line_in_steps() {
    let mut load: Participant =
        serde_json::from_str(r#"{"kind":"quadratic_load","agent":"q","choke":16000}"#).unwrap();
    let interval = Interval::new(0, 0, MINUTE_NS).unwrap();
    let mut steps = |energy: i64| -> Vec<(i64, i64)> {
        let view = view("q", forecast(energy), Coupling::Islanded);
        let orders = load.orders(&view, &interval);
        crate::Book::new(interval, &view.rules, orders.clone()).unwrap();
        let steps = orders.iter().flat_map(|order| &order.steps);
        steps.map(|step| (step.price.0, step.quantity.0)).collect()
    };
    let line = steps(-800);
    assert_eq!(
        (line[0], line[7], line.len()),
        ((15_000, 100), (1_000, 100), 8)
    );
    assert_eq!(steps(-3).iter().map(|(_, energy)| energy).sum::<i64>(), 3);
    assert_eq!((steps(0), steps(5)), (vec![], vec![]));
    assert_eq!(steps(i64::MIN).len(), 8);
}

fn store(efficiency_ppm: u32, wear: i64) -> PlannedBattery {
    let declared = Declaration {
        agent: "store".into(),
        capacity_mwh: Mwh(100_000),
        charge_milliwatt_max: 20_000,
        discharge_milliwatt_max: 20_000,
        state_of_charge_ppm_min: 0,
        state_of_charge_ppm_max: PPM,
        reserve_ppm: 0,
        charge_efficiency_ppm: efficiency_ppm,
        discharge_efficiency_ppm: efficiency_ppm,
        degradation: Price(wear),
        thresholds: Thresholds::Fixed {
            buy_below: Price(1_000),
            sell_above: Price(90_000),
        },
    };
    PlannedBattery::new(Battery::try_from(declared).unwrap(), Price(0), HOUR_NS)
}

/// Bids and offers of the store at half charge, as steps of price and energy.
fn plans(store: &mut PlannedBattery, prices: Option<&[i64]>) -> [Vec<(i64, i64)>; 2] {
    store.expect(prices.map(|prices| prices.iter().copied().map(Price).collect()));
    let view = view("store", charged(500_000), Coupling::Islanded);
    let interval = Interval::new(0, 0, HOUR_NS).unwrap();
    let orders = store.orders(&view, &interval);
    crate::Book::new(interval, &view.rules, orders.clone()).unwrap();
    [Side::Buy, Side::Sell].map(|side| {
        let own = orders.iter().filter(|order| order.side == side);
        let steps = own.flat_map(|order| &order.steps);
        steps.map(|step| (step.price.0, step.quantity.0)).collect()
    })
}

#[test]
fn a_planned_battery_bids_by_what_it_can_still_sell_for() {
    let mut ideal = store(PPM, 0);
    // It holds 50 Wh and can sell 20 in each hour: the 60 of the horizon leave room for
    // ten more at the worst price of the three; beyond, energy is worth nothing.
    let [bids, offers] = plans(&mut ideal, Some(&[30_000, 50_000, 40_000]));
    assert_eq!(bids, [(30_000, 10_000), (0, 10_000)]);
    // All that it sells now it could buy back at 30000 before the better hours.
    assert_eq!(offers, [(30_010, 20_000)]);
    // Of the 80 it could sell later it holds 50 and buys 20 in the cheap hour ahead; ten
    // more are worth the good hours, the next ones only that the cheap hour is spared.
    let [bids, _] = plans(&mut ideal, Some(&[10_000, 60_000, 60_000, 60_000, 60_000]));
    assert_eq!(bids, [(60_000, 10_000), (10_000, 10_000)]);
    // After the horizon it is worth what was declared.
    let mut valued = store(PPM, 0);
    valued.value_after = Price(25_000);
    assert_eq!(plans(&mut valued, Some(&[]))[0], [(25_000, 20_000)]);
}

#[test]
fn losses_and_wear_stand_between_what_it_pays_and_what_it_asks() {
    let mut lossy = store(900_000, 500);
    let [bids, offers] = plans(&mut lossy, Some(&[30_000, 50_000, 40_000]));
    let (bid, offer) = (bids[0].0, offers[0].0);
    assert!(bid + 2 * 500 <= offer, "{bid} {offer}");
    // The best price less wear and the way out, then the way in and wear again.
    assert!(bid <= (50_000 - 500) * 81 / 100 - 500, "{bid}");
}

#[test]
fn negative_prices_never_make_it_trade_with_itself() {
    let mut lossy = store(700_000, 0);
    for prices in [[-30_000; 4], [-5_000, 20, -9_000, 10]] {
        let [bids, offers] = plans(&mut lossy, Some(&prices));
        if let (Some(bid), Some(offer)) = (bids.first(), offers.first()) {
            assert!(bid.0 < offer.0, "{prices:?}: {bid:?} {offer:?}");
        }
    }
}

#[test]
fn a_battery_without_a_forecast_keeps_to_its_thresholds() {
    let mut store = store(PPM, 0);
    let [bids, offers] = plans(&mut store, None);
    assert_eq!(
        (bids, offers),
        (vec![(1_000, 20_000)], vec![(90_000, 20_000)])
    );
}

#[test]
fn following_the_plan_earns_what_the_best_schedule_earns() {
    let prices = [10_000, 42_000, 15_000, 60_000, 5_000, 30_000];
    let mut store = store(PPM, 0);
    let (mut charge, mut earned) = (500_000_i64, 0_i64);
    for (hour, price) in prices.iter().enumerate() {
        let ahead = prices[hour + 1..].iter().copied().map(Price).collect();
        store.expect(Some(ahead));
        let view = view(
            "store",
            charged(u32::try_from(charge).unwrap()),
            Coupling::Islanded,
        );
        let interval = Interval::new(0, 0, HOUR_NS).unwrap();
        for order in store.orders(&view, &interval) {
            for step in &order.steps {
                let taken = !order.side.prefers(Price(*price), step.price);
                if taken {
                    let moved = step.quantity.0 * order.side.injection_sign();
                    charge -= moved * 10;
                    earned += moved * price;
                }
            }
        }
    }
    assert_eq!(earned, best_schedule(&prices, 5));
}

/// The most that can be earned in steps of 10 Wh, at most two in an hour, with ten levels,
/// by trying everything.
fn best_schedule(prices: &[i64], level: i64) -> i64 {
    let Some((price, later)) = prices.split_first() else {
        return 0;
    };
    let moves = (-2..=2).filter(|sold| (0..=10).contains(&(level - sold)));
    let earned = moves.map(|sold| sold * 10_000 * price + best_schedule(later, level - sold));
    earned.max().unwrap()
}
