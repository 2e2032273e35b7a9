//! What `gridrig top` shows, from answers in the shapes that the daemon gives.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::{Color, Modifier};
use runtime::telemetry::Level;
use runtime::web::wire::{self, Known, Quality};
use serde_json::{Value, json};

use super::*;
use asker::Order;
use pane::Pane;
use screen::Room;

mod asking;
mod operating;
mod showing;

fn known<T>(value: T, quality: Quality) -> Known<T> {
    Known {
        value: (!matches!(quality, Quality::Unread | Quality::Absent)).then_some(value),
        age_s: None,
        quality,
        why: None,
    }
}

fn device(name: &str, role: &'static str, p_w: f64, quality: Quality, age_s: f64) -> wire::Device {
    let absent = || known(0.0, Quality::Absent);
    wire::Device {
        name: name.into(),
        role,
        profile: "test/device".into(),
        bus: "lan1".into(),
        link: if quality == Quality::Stale {
            "offline"
        } else {
            "online"
        },
        quality,
        why: (quality == Quality::Stale).then_some("no answer"),
        age_s: Some(age_s),
        age_max_s: 2.0,
        p_w: known(p_w, quality),
        q_var: known(-120.0, quality),
        v_v: known(230.4, quality),
        f_hz: absent(),
        soc: absent(),
        switch_on: known(false, Quality::Absent),
        line: None,
    }
}

fn dispatch(device: &str, why: &str, ledger_clock: u64) -> wire::Dispatch {
    wire::Dispatch {
        utc: "2026-01-01T10:00:01.234Z".into(),
        t_s: 1.0,
        device: device.into(),
        setpoint_text: "1500 W".into(),
        setpoint: json!({ "p_w": 1500.0 }),
        function: "exchange_tracking",
        why: why.into(),
        clamped: vec!["ramp".into()],
        ledger_clock,
        atom: "00ff".into(),
        stage: "register",
        after_s: Some(0.25),
        missed: None,
    }
}

/// A script of which the second step is under way, and a band that is still to come.
fn scenario() -> wire::Scenario {
    let step = |at: &str, text: &str, due_s| wire::Step {
        at: at.into(),
        text: text.into(),
        mark: text.is_empty().then(|| "t0".into()),
        due_s: Some(due_s),
    };
    let band = |low, high, from_s, until_s| wire::Band {
        name: "it stays".into(),
        subject: "ess1".into(),
        quantity: "p",
        unit: "W",
        low,
        high,
        from_s: Some(from_s),
        until_s,
    };
    wire::Scenario {
        name: "A step".into(),
        file: "step.toml".into(),
        phase: "steps",
        step: Some(1),
        steps: vec![
            step("0s", "ess1.p = 0 W", 100.0),
            step("+2s", "", 122.0),
            step("+9s", "grid.f = 49.5 Hz", 131.0),
        ],
        bands: vec![
            band(Some(1900.0), Some(2100.0), 132.0, Some(137.0)),
            band(None, Some(2150.0), 100.0, None),
        ],
    }
}

/// An interval that is open, and the one before it, which is settled.
fn market() -> Value {
    let interval = |interval: u64, settled: bool| {
        json!({
            "interval": interval, "from_s": 3.0 + 15.0 * interval as f64,
            "until_s": 18.0 + 15.0 * interval as f64, "price_mc_per_kwh": 24_000 + interval,
            "energy_mwh": 12_500, "failure": null, "atom": "aa", "settled": settled,
            "excused": settled.then_some(false), "unaccounted_mwh": settled.then_some(20),
            "orders": [
                { "who": "load1", "side": "buy", "steps": [[300_000, 12_500]], "served_mwh": 12_500, "atom": "bb" },
                { "who": "ess1", "side": "sell", "steps": [[9_000, 5_000], [24_000, 20_000]], "served_mwh": 12_500, "atom": "cc" },
            ],
            "participants": [
                { "who": "ess1", "committed_mwh": 12_500, "metered_mwh": settled.then_some(12_480),
                  "quality": settled.then_some("valid"), "amount_ct": settled.then_some(0.3) },
                { "who": "load1", "committed_mwh": -12_500, "metered_mwh": null,
                  "quality": settled.then_some("missing"), "amount_ct": settled.then_some(-0.3) },
            ],
        })
    };
    json!({
        "interval": 7, "mechanism": "uniform_k_half", "price_mc_per_kwh": 24_007,
        "energy_mwh": 12_500, "trades": 14,
        "accounts": [{ "name": "ess1", "balance": "2.1000 ct" }, { "name": "load1", "balance": "-2.1000 ct" }],
        "intervals": [interval(7, false), interval(6, true)],
    })
}

/// An alarm that nobody has seen, one that somebody has, and a calm one.
fn alarms() -> Value {
    let alarm = |name: &str, since_s: Option<f64>, by: Option<&str>| {
        json!({
            "name": name, "watch": "ess1.soc", "severity": "error", "raised": since_s.is_some(),
            "since_s": since_s, "why": since_s.map(|_| "12.0 %"), "acknowledged_by": by, "times": 3,
        })
    };
    json!([
        alarm("low charge", Some(75.0), None),
        alarm("hot", Some(60.0), Some("alice")),
        alarm("calm one", None, None),
    ])
}

/// A bench in an island; what is not set stays unknown.
fn state() -> wire::State {
    let mut breaker = device("brk1", "breaker", 0.0, Quality::Absent, 0.1);
    breaker.switch_on = known(false, Quality::Good);
    breaker.quality = Quality::Good;
    wire::State {
        rig: wire::Rig {
            title: "Two batteries".into(),
            rig_path: "two.toml".into(),
            site: "230 V".into(),
            started_utc: "2026-01-01T09:00:00Z".into(),
            virtual_time: false,
            version: "0.1.0",
        },
        cycle: Some(wire::Cycle {
            n: 1234,
            t_s: 123.4,
            utc: "2026-01-01T10:00:02.345Z".into(),
            late_ms: 0.1,
            took_ms: 0.42,
            mode: "islanded",
            mode_for_s: 12.0,
            armed: true,
        }),
        estimate: Some(wire::Estimate {
            f_hz: Some(49.876),
            rocof_hz_per_s: Some(0.01),
            v_v: Some(229.1),
            pcc_w: Some(-0.0),
            pcc_var: None,
            storage_w: Some(12_345.0),
            storage_var: Some(-50.0),
            pv_w: Some(0.0),
            load_w: None,
            soc: Some(0.555),
            breaker_closed: Some(false),
            grid_f_hz: None,
            grid_v_v: None,
        }),
        devices: vec![
            breaker,
            device("ess1", "ess", 1_500.0, Quality::Good, 0.1),
            device("ess2", "ess", 777.0, Quality::Stale, 7.0),
            device("plug1", "load", -300.0, Quality::Held, 1.5),
            device("plug2", "load", 0.0, Quality::Unread, 0.0),
        ],
        buses: vec![wire::Bus {
            name: "lan1".into(),
            busy_percent: 87.4,
            requests: 100,
            answers: 91,
            timeouts: 9,
            corrupt: 0,
            exceptions: 0,
            expired: 0,
            reconnects: 2,
            bus_offs: 0,
            bus_errors: 0,
        }],
        dispatches: vec![
            dispatch("ess1", "holds the island", 42),
            wire::Dispatch {
                stage: "missed",
                missed: Some("power: 700 W in place of 1500 W".into()),
                ..dispatch("ess2", "shares it", 41)
            },
        ],
        market: None,
        scenario: Some(scenario()),
        ledger: Some(wire::Ledger {
            clock: 4711,
            root: "aa".into(),
            entries: 4711,
            federation: None,
        }),
        counters: wire::Counters {
            cycles: 1234,
            cycles_late: 3,
            samples: 1,
            dispatches: 2,
            dispatches_logged: 2,
            trades: 0,
            telemetry_written: 0,
            telemetry_lost: 0,
            telemetry_waiting: 0,
            database_lost: 0,
            home_written: 0,
            home_lost: 0,
        },
    }
}

/// What the daemon answers at the path of each question.
fn answers(state: &wire::State) -> Vec<Value> {
    let events: Vec<wire::Event> = [
        (1, Level::Info, None, "The run began."),
        (2, Level::Error, Some("ess2"), "The device is silent."),
    ]
    .into_iter()
    .map(|(seq, level, device, text)| wire::Event {
        seq,
        utc: format!("2026-01-01T10:00:0{seq}.000Z"),
        t_s: 0.0,
        event: "test",
        level,
        device: device.map(str::to_owned),
        text: text.into(),
        details: serde_json::Map::new(),
    })
    .collect();
    let services = [wire::Service {
        name: "fcr1".into(),
        service: "fcr-ce".into(),
        sold_up_w: 2_000.0,
        sold_down_w: 0.0,
        phase: "delivering",
        asked_w: 1_250.0,
        baseline_w: Some(100.0),
        up_w: 750.0,
        down_w: 0.0,
        delivered_w: None,
        available: false,
        availability: 0.987,
    }];
    let text = serde_json::to_string(&(
        state,
        json!({ "holder": "alice", "left_s": 125.0 }),
        events,
        services,
        market(),
        alarms(),
    ));
    let all: Value = serde_json::from_str(&text.expect("answers are JSON")).expect("and are read");
    all.as_array().expect("six answers").clone()
}

fn looked(state: &wire::State) -> News {
    News::Looked(Box::new(
        Look::of(answers(state)).expect("the answers are understood"),
    ))
}

fn screen() -> Screen {
    let mut screen = Screen::new("http://127.0.0.1:7070".into());
    screen.hear(looked(&state()), Duration::ZERO);
    screen
}

fn seconds(s: f64) -> Duration {
    Duration::from_secs_f64(s)
}

fn drawn(screen: &mut Screen, size: (u16, u16), palette: Palette, now: Duration) -> Buffer {
    let backend = TestBackend::new(size.0, size.1);
    let mut terminal = Terminal::new(backend).expect("a picture in memory");
    let mut room = Room::default();
    terminal
        .draw(|area| room = frame::draw(area, screen, palette, now))
        .expect("a picture in memory is drawn");
    screen.fit(room);
    terminal.backend().buffer().clone()
}

fn text_of(buffer: &Buffer) -> Vec<String> {
    let rows = buffer
        .content()
        .chunks(usize::from(buffer.area().width).max(1));
    rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>())
        .map(|row| row.trim_end().to_owned())
        .collect()
}

fn rows(screen: &mut Screen, size: (u16, u16), now: Duration) -> Vec<String> {
    text_of(&drawn(screen, size, Palette::Coloured, now))
}

fn key(code: KeyCode) -> KeyEvent {
    KeyEvent::new(code, KeyModifiers::NONE)
}
