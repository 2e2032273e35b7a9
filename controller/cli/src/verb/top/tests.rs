//! What `gridrig top` shows, from answers in the shapes that the daemon gives.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::channel;
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
use screen::{Pane, Room};

mod operating;

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

#[test]
fn a_usual_terminal_shows_mode_powers_devices_and_dispatches() {
    let expected = "\
● islanded for 12.0 s  ARMED  alice has the bench for 2 min 5 s
cycle 1234 at 10:00:02.3 UTC, 3 of 1234 late; took 0.42 ms; ledger 4711
Two batteries (two.toml) at http://127.0.0.1:7070, gridrig 0.1.0
scenario A step: step 2 of 3: a mark
ALARM low charge: 12.0 %
utility – Hz – V ─[ open ]─ 0 W, – var bus 49.876 Hz 229.1 V 0.01 Hz/s
PV 0 W   storage 12.3 kW, -50 var   charge 55.5 %   load – W
";
    let mut screen = screen();
    let shown = rows(&mut screen, (80, 26), Duration::ZERO).join("\n");
    assert!(shown.starts_with(expected), "{shown}");
    for line in [
        "ess1     1500 W    -120 var    230.4 V          100 ms  good",
        "ess2    (777 W)  (-120 var)",
        "(230.4 V)           7.0 s  offline: no answer",
        "plug2         –",
        "\n[1 dispatches]2 events 3 buses 4 services 5 market 6 alarms 7 scenario 8 ledger",
        "10:00:01.2  ess1 → 1500 W  read back after 250 ms  ledger 42",
        "            exchange tracking: holds the island  clamped: ramp",
        "10:00:01.2  ess2 → 1500 W  missed, power: 700 W in place of 1500 W  ledger 41",
    ] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
    assert!(shown.ends_with("s safe"), "{shown}");
}

#[test]
fn what_is_lost_or_contradicts_itself_is_told_at_the_top() {
    let mut bench = state();
    bench.counters.telemetry_lost = 12;
    bench.counters.telemetry_waiting = 34;
    bench.counters.database_lost = 56;
    bench.counters.dispatches_logged = 1;
    if let Some(ledger) = &mut bench.ledger {
        let node = |name: &str, connected| wire::LedgerNode {
            name: name.into(),
            entries: 99,
            connected,
        };
        ledger.federation = Some(wire::Federation {
            not_final: 3,
            nodes: vec![node("a", true), node("b", false)],
            accused: vec!["b".into()],
        });
    }
    let mut screen = Screen::new("http://127.0.0.1:7070".into());
    screen.hear(looked(&bench), Duration::ZERO);
    let shown = rows(&mut screen, (220, 24), Duration::ZERO);
    let lost = "; 1 dispatched, not in the ledger; 12 values of telemetry lost; 56 rows missing in samples.db; 34 values of telemetry wait";
    assert!(shown[1].ends_with(lost), "{shown:?}");
    assert_eq!(
        shown[4],
        "ledger nodes: a 99 b away; 3 entries not final yet; contradicted itself: b"
    );
}

#[test]
fn each_list_shows_what_the_page_shows() {
    let rows_of = [
        (
            Pane::Dispatches,
            "ess2 → 1500 W  missed, power: 700 W in place of 1500 W  ledger 41",
        ),
        (Pane::Events, "10:00:02.0 !! ess2: The device is silent."),
        (Pane::Buses, "lan1  87 %  █████████░"),
        (Pane::Services, "fcr1     fcr-ce  delivering  1250 W"),
        (
            Pane::Services,
            "– W     100 W  750 W of 2000 W  not sold  not available 98.7 %",
        ),
        (
            Pane::Market,
            "interval 7, 0:01:48 to 0:02:03, uniform_k_half: 12.5 Wh at 24.007 ct/kWh; not settled yet",
        ),
        (
            Pane::Market,
            "  sells ess1: 5.0 Wh at 9.000, 20.0 Wh at 24.000",
        ),
        (
            Pane::Market,
            "interval 6, 0:01:33 to 0:01:48, uniform_k_half: 12.5 Wh at 24.006 ct/kWh; settled, 0.0 Wh belong to nobody",
        ),
        (
            Pane::Market,
            "ess1         sells 12.5 Wh of 25.0 Wh    12.5 Wh  12.5 Wh   0.3000 ct   2.1000 ct",
        ),
        (
            Pane::Market,
            "load1        buys 12.5 Wh of 12.5 Wh    -12.5 Wh        –  -0.3000 ct  -2.1000 ct",
        ),
        (
            Pane::Market,
            "prices in ct/kWh, newest first: 24.007 24.006",
        ),
        (
            Pane::Alarms,
            "low charge  ess1.soc  error     raised at 0:01:15      3           12.0 %",
        ),
        (
            Pane::Alarms,
            "hot         ess1.soc  error     raised at 0:01:00      3  alice    12.0 %",
        ),
        (Pane::Alarms, "calm one    ess1.soc  error     calm"),
        (Pane::Scenario, "A step (step.toml): step 2 of 3: a mark"),
        (Pane::Scenario, "✓   0:01:40        ess1.p = 0 W"),
        (Pane::Scenario, "▶   0:02:02  t0    a mark"),
        (Pane::Scenario, "   in 7.6 s        grid.f = 49.5 Hz"),
        (
            Pane::Scenario,
            "ess1.p  1900 to 2100 W  0:02:12 to 0:02:17  it stays",
        ),
        (
            Pane::Scenario,
            "ess1.p  at most 2150 W  0:01:40 to the end  it stays",
        ),
    ];
    let mut screen = screen();
    for (i, pane) in Pane::ALL.into_iter().enumerate() {
        let digit = char::from_digit(i as u32 + 1, 10).expect("a digit");
        screen.press(key(KeyCode::Char(digit)), Duration::ZERO);
        assert_eq!(screen.pane, pane);
        let shown = rows(&mut screen, (160, 45), Duration::ZERO).join("\n");
        for (_, line) in rows_of.iter().filter(|(of, _)| *of == pane) {
            assert!(shown.contains(line), "{line}\n{shown}");
        }
    }
    screen.press(key(KeyCode::Tab), Duration::ZERO);
    assert_eq!(screen.pane, Pane::Dispatches);
    screen.press(key(KeyCode::BackTab), Duration::ZERO);
    assert_eq!(screen.pane, Pane::Ledger);
}

#[test]
fn an_alarm_that_nobody_has_seen_is_told_at_the_top_and_seen_by_a_key() {
    let mut screen = screen();
    let shown = rows(&mut screen, (100, 30), Duration::ZERO).join("\n");
    assert!(shown.contains("\nALARM low charge: 12.0 %\n"), "{shown}");
    assert!(
        !shown.contains("ALARM hot") && !shown.contains("ALARM calm"),
        "{shown}"
    );
    assert!(shown.contains("a alarm seen"), "{shown}");
    let act = screen.press(key(KeyCode::Char('a')), Duration::ZERO);
    assert_eq!(act, Act::Give(Order::Acknowledge("low charge".into())));
    let mut all = answers(&state());
    all[5][0]["acknowledged_by"] = json!("tester");
    let look = Look::of(all).expect("the answers are understood");
    screen.hear(News::Looked(Box::new(look)), seconds(0.5));
    let act = screen.press(key(KeyCode::Char('a')), seconds(1.0));
    assert_eq!(act, Act::None);
    let shown = rows(&mut screen, (100, 30), seconds(1.0)).join("\n");
    assert!(
        !shown.contains("ALARM") && shown.contains("No alarm waits"),
        "{shown}"
    );
}

#[test]
fn old_values_are_said_to_be_old_and_are_never_shown_as_fresh() {
    let failed = || News::Failed("nobody answers".into());
    type Heard = Vec<(f64, News)>;
    let table: [(Heard, f64, &str); 6] = [
        (vec![], 2.4, ""),
        (
            vec![],
            2.6,
            "No connection for 2.6 s: what is shown is old.",
        ),
        (
            vec![(0.5, failed())],
            0.6,
            "No connection for 1.0 s: what is shown is old.",
        ),
        (
            vec![
                (2.0, failed()),
                (2.5, looked(&state())),
                (3.0, looked(&state())),
            ],
            3.1,
            "The control loop has not turned for 3.1 s: what is shown is old.",
        ),
        (vec![(2.0, failed()), (2.5, looked(&later()))], 3.1, ""),
        // A bench of 5 s a cycle has time until the fourth is due.
        (
            vec![(1.0, looked(&slow())), (14.0, looked(&slow()))],
            15.0,
            "",
        ),
    ];
    for (heard, now, notice) in table {
        let mut screen = screen();
        for (at, news) in heard {
            screen.hear(news, seconds(at));
        }
        let picture = drawn(&mut screen, (100, 24), Palette::Coloured, seconds(now));
        let shown = text_of(&picture).join("\n");
        assert!(shown.contains(notice), "{notice}\n{shown}");
        let is_old = !notice.is_empty();
        assert_eq!(shown.contains("is old"), is_old, "{shown}");
        assert_eq!(shown.starts_with('○'), is_old, "{shown}");
        for fresh in ["\nutility ", "  good", "  1500 W  "] {
            assert_eq!(!shown.contains(fresh), is_old, "{fresh}: {shown}");
        }
        // The lamp, and a value of a device.
        let cell = &picture[(2, 0)];
        assert_eq!(cell.modifier.contains(Modifier::DIM), is_old, "{notice}");
        assert_eq!(cell.fg == Color::Reset, is_old, "{notice}");
    }
}

/// The same bench a cycle later.
fn later() -> wire::State {
    let mut state = state();
    if let Some(cycle) = &mut state.cycle {
        cycle.n += 1;
    }
    state
}

/// A bench with a cycle every five seconds.
fn slow() -> wire::State {
    let mut state = state();
    if let Some(cycle) = &mut state.cycle {
        cycle.n = 10;
        cycle.t_s = 50.0;
    }
    state
}

#[test]
fn ages_grow_while_nothing_new_comes() {
    let mut screen = screen();
    screen.hear(News::Failed("nobody answers".into()), seconds(0.5));
    let shown = rows(&mut screen, (100, 24), seconds(30.0)).join("\n");
    let line = shown
        .lines()
        .find(|l| l.starts_with("ess1"))
        .expect("the device is shown");
    assert!(line.contains("30.1 s"), "{shown}");
}

#[test]
fn a_daemon_that_never_answered_is_named_with_what_keeps_it() {
    let mut screen = Screen::new("http://127.0.0.1:7070".into());
    let asking = rows(&mut screen, (80, 24), Duration::ZERO);
    assert_eq!(asking[0], "Asking http://127.0.0.1:7070 …");
    screen.hear(News::Failed("Connection refused".into()), seconds(0.1));
    let shown = rows(&mut screen, (80, 24), seconds(0.2));
    assert_eq!(shown[0], "No connection to http://127.0.0.1:7070.");
    assert_eq!(shown[1], "Connection refused");
    assert!(shown[23].starts_with("q end"), "{shown:?}");
}

#[test]
fn no_size_is_too_small_and_no_bench_too_empty_or_too_large() {
    let empty = wire::State {
        cycle: None,
        estimate: None,
        devices: vec![],
        buses: vec![],
        dispatches: vec![],
        ledger: None,
        ..state()
    };
    let mut large = state();
    large.devices = (0..60)
        .map(|i| device(&format!("device{i}"), "load", 1.0, Quality::Good, 0.1))
        .collect();
    for bench in [empty, state(), large] {
        let mut screen = Screen::new("http://127.0.0.1:7070".into());
        screen.hear(looked(&bench), Duration::ZERO);
        for (width, height) in [
            (0, 0),
            (1, 1),
            (2, 3),
            (10, 4),
            (20, 7),
            (80, 8),
            (80, 9),
            (80, 24),
            (120, 40),
        ] {
            for code in [
                KeyCode::Tab,
                KeyCode::Char('d'),
                KeyCode::PageDown,
                KeyCode::End,
            ] {
                screen.press(key(code), Duration::ZERO);
                let shown = rows(&mut screen, (width, height), Duration::ZERO);
                assert_eq!(shown.len(), usize::from(height));
            }
        }
    }
}

#[test]
fn devices_that_have_no_room_are_counted_and_can_be_scrolled_to() {
    let mut bench = state();
    bench.devices = (0..30)
        .map(|i| device(&format!("device{i}"), "load", 1.0, Quality::Good, 0.1))
        .collect();
    let mut screen = Screen::new("http://127.0.0.1:7070".into());
    screen.hear(looked(&bench), Duration::ZERO);
    let size = (80, 26);
    let shown = rows(&mut screen, size, Duration::ZERO).join("\n");
    assert!(shown.contains("… and 20 more: press d"), "{shown}");
    assert!(shown.contains("[1 dispatches]"), "{shown}");
    screen.press(key(KeyCode::Char('d')), Duration::ZERO);
    let all = rows(&mut screen, size, Duration::ZERO).join("\n");
    assert!(
        all.contains("device16") && !all.contains("device17"),
        "{all}"
    );
    screen.press(key(KeyCode::Down), Duration::ZERO);
    screen.press(key(KeyCode::Down), Duration::ZERO);
    screen.press(key(KeyCode::Up), Duration::ZERO);
    let next = rows(&mut screen, size, Duration::ZERO).join("\n");
    assert!(
        next.contains("device17") && !next.contains("device18"),
        "{next}"
    );
    for _ in 0..100 {
        screen.press(key(KeyCode::PageDown), Duration::ZERO);
    }
    let last = rows(&mut screen, size, Duration::ZERO).join("\n");
    assert!(last.contains("device29"), "{last}");
    // Nothing was scrolled past the end: one step up is seen at once.
    screen.press(key(KeyCode::Up), Duration::ZERO);
    let up = rows(&mut screen, size, Duration::ZERO).join("\n");
    assert!(!up.contains("device29"), "{up}");
}

#[test]
fn safe_is_asked_for_by_two_keys_and_by_no_other_way() {
    let s = KeyCode::Char('s');
    let table: [(&[(f64, KeyCode)], Act); 6] = [
        (&[(0.0, s)], Act::None),
        (&[(0.0, s), (1.0, s)], Act::Give(Order::Safe)),
        (&[(0.0, s), (6.0, s)], Act::None),
        (&[(0.0, s), (1.0, KeyCode::Down), (2.0, s)], Act::None),
        (&[(0.0, s), (1.0, s), (2.0, s)], Act::None),
        (&[(0.0, s), (1.0, KeyCode::Esc)], Act::Quit),
    ];
    for (keys, expected) in table {
        let mut screen = screen();
        let mut act = Act::None;
        for (at, code) in keys {
            act = screen.press(key(*code), seconds(*at));
        }
        assert_eq!(act, expected, "{keys:?}");
    }
    let mut screen = screen();
    screen.press(key(s), Duration::ZERO);
    let shown = rows(&mut screen, (80, 24), Duration::ZERO);
    assert!(shown[23].contains("Press s once more"), "{shown:?}");
    screen.hear(News::Told("SAFE was accepted".into()), seconds(1.0));
    let shown = rows(&mut screen, (80, 24), seconds(2.0)).join("\n");
    assert!(shown.contains("SAFE was accepted"), "{shown}");
}

#[test]
fn q_escape_and_control_c_end_it() {
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    for key in [key(KeyCode::Char('q')), key(KeyCode::Esc), control_c] {
        assert_eq!(screen().press(key, Duration::ZERO), Act::Quit, "{key:?}");
    }
    let c = key(KeyCode::Char('c'));
    assert_eq!(screen().press(c, Duration::ZERO), Act::None);
}

#[test]
fn without_colours_there_are_none_and_the_text_is_the_same() {
    let mut screen = screen();
    let coloured = drawn(&mut screen, (120, 30), Palette::new(true), Duration::ZERO);
    let plain = drawn(&mut screen, (120, 30), Palette::new(false), Duration::ZERO);
    let colours = |picture: &Buffer| {
        let cells = picture.content().iter();
        cells
            .filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
            .count()
    };
    assert!(colours(&coloured) > 20);
    assert_eq!(colours(&plain), 0);
    assert_eq!(text_of(&coloured), text_of(&plain));
}

#[test]
fn a_frame_of_plain_text_has_all_lists_and_no_control_characters() {
    let mut bench = state();
    bench.dispatches[0].why = "a bell\u{7} and\u{1b}[31m red".into();
    let mut screen = Screen::new("http://127.0.0.1:7070".into());
    screen.hear(looked(&bench), Duration::ZERO);
    let text = frame::plain(&screen, Duration::ZERO);
    for line in [
        "● islanded",
        "ess2    ess",
        "dispatches:\n",
        "events:\n",
        "buses:\n",
        "services:\n",
        "market:\n",
        "alarms:\n",
        "ledger:\n",
        "scenario:\n",
        "a bell  and",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let controls = text
        .chars()
        .filter(|c| c.is_control() && *c != '\n')
        .count();
    assert_eq!(controls, 0, "{text}");
}

/// The first line of a request, and its body where it has one.
fn request(reads: &mut impl BufRead) -> Option<String> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reads.read_line(&mut line).ok().filter(|read| *read > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let length = lines.iter().find_map(|line| {
        let lower = line.to_ascii_lowercase();
        lower.strip_prefix("content-length: ")?.parse().ok()
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reads.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).ok()?;
    let first = lines.into_iter().next()?;
    Some(format!("{first} {body}").trim_end().to_owned())
}

/// A daemon that answers each path with a document; it tells what it was asked.
fn daemon(answers: Vec<Value>) -> (Address, std::sync::mpsc::Receiver<String>) {
    daemon_without(answers, None)
}

/// The same, but what begins with this is never answered.
fn daemon_without(
    answers: Vec<Value>,
    silent: Option<&'static str>,
) -> (Address, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of this machine");
    let address = listener.local_addr().expect("it has an address");
    let (tells, asked) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let Ok(reads) = stream.try_clone() else {
                return;
            };
            let (tells, answers) = (tells.clone(), answers.clone());
            std::thread::spawn(move || {
                let mut reads = BufReader::new(reads);
                while let Some(first) = request(&mut reads) {
                    let at = look::questions()
                        .iter()
                        .position(|q| first == format!("GET {} HTTP/1.1", q.path));
                    let body = at.and_then(|i| answers.get(i)).cloned().unwrap_or_default();
                    let body = body.to_string();
                    let length = body.len();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
                    let is_silent = silent.is_some_and(|silent| first.starts_with(silent));
                    if tells.send(first).is_err()
                        || !is_silent && stream.write_all(answer.as_bytes()).is_err()
                    {
                        break;
                    }
                }
            });
        }
    });
    (Address::of(&format!("http://{address}")), asked)
}

fn caller() -> Caller {
    Caller {
        holder: "tester".into(),
        token: None,
    }
}

#[test]
fn a_look_asks_for_its_documents_over_one_connection_and_an_order_for_one() {
    let (address, asked) = daemon(answers(&state()));
    let (news, orders) = asker::start(address, caller()).expect("the thread starts");
    let within = Duration::from_secs(20);
    let first = news.recv_timeout(within).expect("the daemon answers");
    let News::Looked(look) = first else {
        panic!("{first:?}");
    };
    assert_eq!(look.state.devices.len(), 5);
    assert_eq!(look.lock.holder.as_deref(), Some("alice"));
    orders.give(Order::Safe);
    let told = || {
        std::iter::from_fn(|| news.recv_timeout(within).ok())
            .find_map(|item| match item {
                News::Told(text) => Some(text),
                _ => None,
            })
            .expect("the order is answered")
    };
    let safe = told();
    assert!(safe.starts_with("SAFE was accepted"), "{safe}");
    // Without the token nothing is asked for.
    orders.give(Order::Acknowledge("low charge".into()));
    let refused = told();
    assert!(refused.contains("--token-env"), "{refused}");
    let asked: Vec<String> = asked.try_iter().collect();
    let posts: Vec<&String> = asked.iter().filter(|a| a.starts_with("POST")).collect();
    assert_eq!(posts, ["POST /api/v1/safe HTTP/1.1"]);
}

#[test]
fn an_alarm_is_seen_by_who_has_the_token() {
    let (address, asked) = daemon(answers(&state()));
    let with_token = Caller {
        token: Some("s3cret".into()),
        ..caller()
    };
    let (news, orders) = asker::start(address, with_token).expect("the thread starts");
    orders.give(Order::Acknowledge("low charge".into()));
    let within = Duration::from_secs(20);
    let told = std::iter::from_fn(|| news.recv_timeout(within).ok()).find_map(|item| match item {
        News::Told(text) => Some(text),
        _ => None,
    });
    assert_eq!(told.as_deref(), Some("low charge was seen by tester."));
    let asked: Vec<String> = asked.try_iter().collect();
    let expected = r#"POST /api/v1/acknowledge HTTP/1.1 {"alarm":"low charge"}"#;
    assert!(asked.iter().any(|a| a == expected), "{asked:?}");
}

#[test]
fn an_answer_in_another_shape_is_refused_and_names_its_path() {
    let mut wrong = answers(&state());
    wrong[3] = json!({ "services": [] });
    let told = Look::of(wrong).expect_err("the shape is another one").why();
    assert!(
        told.contains("/api/v1/services is not understood"),
        "{told}"
    );
    let told = Look::of(vec![]).expect_err("nothing was answered").why();
    assert!(
        told.contains("/api/v1/state") || told.contains("not understood"),
        "{told}"
    );
}

#[test]
fn charts_go_on_from_what_the_daemon_remembers_and_show_a_hole_where_nothing_is_known() {
    let history = json!({
        "t_s": [0.0, 0.5, 1.0, 1.5],
        "f_hz": [50.0, 50.0, null, 49.8],
        "v_v": [null, null, null, null],
        "devices": [{ "name": "ess1", "p_w": [0.0, 1000.0, null, 500.0], "q_var": [0.0, -120.0, null, -60.0] }],
    });
    let history = serde_json::from_value(history).expect("it is understood");
    let mut screen = Screen::new("http://127.0.0.1:7070".into());
    screen.hear(News::Recalled(history), Duration::ZERO);
    screen.hear(looked(&state()), Duration::ZERO);
    assert_eq!(
        screen.press(key(KeyCode::Char('c')), Duration::ZERO),
        Act::None
    );
    let shown = rows(&mut screen, (80, 60), Duration::ZERO);
    let row = |start: &str| shown.iter().find(|row| row.starts_with(start));
    // Between the history and the look there is a pause, which is a hole, too.
    let expected = [
        // Only the upper third of the scale; the lower two are full there.
        ("bus f", "██"),
        // Lowest, highest, nothing, half, the pause, and now.
        ("ess1      ", "▁▆ ▃ █"),
        // From 0 down to -120 var, half, the pause, and now.
        ("ess1 Q", "█▁ ▅ ▁"),
    ];
    for (name, blocks) in expected {
        let found = row(name).unwrap_or_else(|| panic!("{name}: {shown:#?}"));
        assert!(found.contains(blocks), "{found}");
    }
    assert!(row("ess1      ").is_some_and(|row| row.ends_with(" 1500 W")));
    assert!(row("ess1 Q").is_some_and(|row| row.ends_with(" -120 var")));
    assert!(
        row("storage Q").is_some() && row("exchange Q").is_none(),
        "{shown:#?}"
    );
    // What was never known is not drawn; what is too old to be used is a hole.
    assert!(row("ess2").is_none(), "{shown:#?}");
    let _ = screen.press(key(KeyCode::Char('c')), Duration::ZERO);
    let back = rows(&mut screen, (80, 26), Duration::ZERO);
    assert!(
        back.iter().any(|row| row.contains("[1 dispatches]")),
        "{back:#?}"
    );
}
