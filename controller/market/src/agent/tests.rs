use super::*;
use crate::quantity::{MwhTotal, PPM};
use crate::utility::Parity;

mod flexible;
mod traders;

const MINUTE_NS: i64 = 60_000_000_000;

fn view(agent: &str, outlook: Outlook, coupling: Coupling) -> MarketView {
    MarketView {
        rules: BookRules::bounded(Price(-50_000), Price(300_000), 10),
        coupling,
        lost_load: None,
        outlooks: [(AgentId::from(agent), outlook)].into(),
    }
}

/// Orders as `side price quantity`, from a declaration in the form of a rig file.
fn check(declared: &str, outlook: Outlook, expected: &[(Side, i64, i64)]) {
    check_coupled(declared, outlook, Coupling::Islanded, expected);
}

fn check_coupled(
    declared: &str,
    outlook: Outlook,
    coupling: Coupling,
    expected: &[(Side, i64, i64)],
) {
    let mut participant: Participant = serde_json::from_str(declared).unwrap();
    let view = view(participant.agent().as_str(), outlook, coupling);
    let interval = Interval::new(0, 0, MINUTE_NS).unwrap();
    let orders = participant.orders(&view, &interval);
    let told: Vec<_> = orders
        .iter()
        .map(|o| (o.side, o.steps[0].price.0, o.steps[0].quantity.0))
        .collect();
    assert_eq!(told, expected, "{declared} {outlook:?}");
    // What a participant posts, the book admits.
    crate::Book::new(interval, &view.rules, orders).unwrap();
}

fn forecast(energy: i64) -> Outlook {
    Outlook {
        forecast: Some(Mwh(energy)),
        state_of_charge_ppm: None,
    }
}

const UNKNOWN: Outlook = Outlook {
    forecast: None,
    state_of_charge_ppm: None,
};

#[test]
fn photovoltaics_offers_its_forecast_at_zero() {
    let pv = r#"{"kind":"pv","agent":"roof"}"#;
    check(pv, forecast(500), &[(Side::Sell, 0, 500)]);
    check(pv, forecast(0), &[]);
    check(pv, forecast(-3), &[]);
    check(pv, UNKNOWN, &[]);
}

#[test]
fn a_must_run_load_bids_its_forecast_at_the_cap() {
    let load = r#"{"kind":"must_run","agent":"fridge"}"#;
    check(load, forecast(-200), &[(Side::Buy, 300_000, 200)]);
    check(load, forecast(5), &[]);
    check(load, forecast(i64::MIN), &[(Side::Buy, 300_000, i64::MAX)]);
    check(load, UNKNOWN, &[]);
}

#[test]
fn a_flexible_plug_bids_no_more_than_its_willingness() {
    let plug = r#"{"kind":"flexible_plug","agent":"kettle","willingness":12345}"#;
    check(plug, forecast(-70), &[(Side::Buy, 12_340, 70)]);
    check(plug, UNKNOWN, &[]);
    let never = r#"{"kind":"flexible_plug","agent":"kettle","willingness":-60000}"#;
    check(never, forecast(-70), &[]);
}

#[test]
fn the_utility_grid_brackets_the_market_and_posts_nothing_to_an_island() {
    let grid = r#"{"kind":"utility_grid","agent":"grid","parity":{"import":29592,"export":7505}}"#;
    let connected = Coupling::Connected {
        import_max: Mwh(900),
        export_max: Mwh(400),
    };
    let both = [(Side::Buy, 7_500, 400), (Side::Sell, 29_600, 900)];
    check_coupled(grid, UNKNOWN, connected, &both);
    let import_only = Coupling::Connected {
        import_max: Mwh(900),
        export_max: Mwh(0),
    };
    check_coupled(grid, UNKNOWN, import_only, &both[1..]);
    check_coupled(grid, UNKNOWN, Coupling::Islanded, &[]);
}

fn battery(thresholds: &str, reserve_ppm: u32) -> String {
    format!(
        r#"{{"kind":"battery","agent":"store","capacity_mwh":1000000,
        "charge_milliwatt_max":6000000,"discharge_milliwatt_max":3000000,
        "state_of_charge_ppm_min":100000,"state_of_charge_ppm_max":900000,
        "reserve_ppm":{reserve_ppm},"charge_efficiency_ppm":800000,
        "discharge_efficiency_ppm":900000,"degradation":1000,"thresholds":{thresholds}}}"#
    )
}

fn charged(state_of_charge_ppm: u32) -> Outlook {
    Outlook {
        forecast: None,
        state_of_charge_ppm: Some(state_of_charge_ppm),
    }
}

#[test]
fn a_battery_trades_between_its_limits_and_keeps_the_reserve() {
    let store = battery(
        r#"{"fixed":{"buy_below":10000,"sell_above":20000}}"#,
        50_000,
    );
    for (state_of_charge_ppm, withdraw, inject) in [
        // In the middle its power binds: 6 kW and 3 kW over a minute.
        (500_000, 100_000, 50_000),
        // 10 000 mWh of cells above the reserve yield 9 000 mWh at the bus.
        (160_000, 100_000, 9_000),
        (150_000, 100_000, 0),
        (20_000, 100_000, 0),
        // 10 000 mWh of cells below the reserve take 12 500 mWh from the bus.
        (840_000, 12_500, 50_000),
        (850_000, 0, 50_000),
        (1_000_000, 0, 50_000),
    ] {
        let expected: Vec<_> = [(Side::Buy, 10_000, withdraw), (Side::Sell, 20_000, inject)]
            .into_iter()
            .filter(|row| row.2 > 0)
            .collect();
        check(&store, charged(state_of_charge_ppm), &expected);
    }
    check(&store, UNKNOWN, &[]);
}

#[test]
fn a_battery_computes_its_thresholds_from_the_value_of_stored_energy() {
    let store = battery(r#"{"stored_value":{"value":18000}}"#, 0);
    // 18000 · 0.8 − 1000 and 18000 / 0.9 + 1000.
    let expected = [(Side::Buy, 13_400, 100_000), (Side::Sell, 21_000, 50_000)];
    check(&store, charged(500_000), &expected);
}

#[test]
fn a_battery_that_would_lose_by_a_round_trip_is_refused() {
    let fixed = |buy, sell| format!(r#"{{"fixed":{{"buy_below":{buy},"sell_above":{sell}}}}}"#);
    for (declared, accepted) in [
        (battery(&fixed(10_000, 12_000), 0), true),
        (battery(&fixed(10_000, 11_999), 0), false),
        (battery(&fixed(10_000, 9_000), 0), false),
        (battery(&fixed(0, 9_000), 400_000), true),
        (battery(&fixed(0, 9_000), 400_001), false),
        (battery(&fixed(0, 9_000), u32::MAX), false),
        (battery(r#"{"stored_value":{"value":-1}}"#, 0), false),
        (
            battery(r#"{"stored_value":{"value":9223372036854775807}}"#, 0),
            false,
        ),
        (
            battery(&fixed(0, 9_000), 0).replace("900000", "1000001"),
            false,
        ),
        (battery(&fixed(0, 9_000), 0).replace(":800000", ":0"), false),
        (
            battery(&fixed(0, 9_000), 0).replace("\"reserve_ppm\"", "\"reserves_ppm\""),
            false,
        ),
    ] {
        let told = serde_json::from_str::<Participant>(&declared);
        assert_eq!(told.is_ok(), accepted, "{declared}: {told:?}");
    }
}

#[test]
fn a_declaration_survives_being_written_down() {
    let declared = battery(r#"{"stored_value":{"value":18000}}"#, 0);
    let participant: Participant = serde_json::from_str(&declared).unwrap();
    let written = serde_json::to_string(&participant).unwrap();
    assert_eq!(
        serde_json::from_str::<Participant>(&written).unwrap(),
        participant
    );
}

#[test]
fn a_small_bus_clears_between_export_and_import_parity() {
    let parity = Parity {
        import: Price(30_000),
        export: Price(7_000),
    };
    let mut participants = [
        Participant::Pv(Pv {
            agent: "roof".into(),
        }),
        Participant::MustRun(MustRunLoad {
            agent: "load".into(),
        }),
        Participant::UtilityGrid(UtilityGrid {
            agent: "grid".into(),
            parity,
        }),
    ];
    let interval = Interval::new(0, 0, MINUTE_NS).unwrap();
    for (sun, price, grid) in [
        (2_000, 7_000, -1_000),
        (300, 30_000, 700),
        (1_000, 18_500, 0),
    ] {
        let view = MarketView {
            rules: BookRules::bounded(Price(-50_000), Price(300_000), 10),
            coupling: Coupling::Connected {
                import_max: Mwh(5_000),
                export_max: Mwh(5_000),
            },
            lost_load: None,
            outlooks: [
                ("roof".into(), forecast(sun)),
                ("load".into(), forecast(-1_000)),
            ]
            .into(),
        };
        let orders = participants
            .iter_mut()
            .flat_map(|p| p.orders(&view, &interval))
            .collect();
        let book = crate::Book::new(interval, &view.rules, orders).unwrap();
        let clearing = crate::mechanism::by_name("uniform_k_half")
            .unwrap()
            .clear(&book)
            .unwrap();
        assert_eq!(clearing.price, Some(Price(price)), "sun {sun}");
        assert_eq!(
            clearing.position(&"grid".into()),
            MwhTotal(grid),
            "sun {sun}"
        );
    }
}

#[test]
fn a_load_that_must_run_bids_the_value_of_lost_load_in_an_island_and_only_there() {
    let connected = Coupling::Connected {
        import_max: Mwh(9),
        export_max: Mwh(9),
    };
    for (coupling, lost_load, expected) in [
        (connected, Some(Price(90_000)), 300_000),
        (Coupling::Islanded, Some(Price(90_000)), 90_000),
        (Coupling::Islanded, None, 300_000),
    ] {
        let outlook = Outlook {
            forecast: Some(Mwh(-5)),
            state_of_charge_ppm: None,
        };
        let view = MarketView {
            lost_load,
            ..view("load", outlook, coupling)
        };
        let mut load = MustRunLoad {
            agent: "load".into(),
        };
        let interval = Interval::new(0, 0, MINUTE_NS).unwrap();
        let orders = load.orders(&view, &interval);
        assert_eq!(orders[0].steps[0].price, Price(expected), "{coupling:?}");
    }
}
