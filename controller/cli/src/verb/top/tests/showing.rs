//! What stands on the screen, at which size, and which keys do what.

use super::*;

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
