//! What is asked for by keys: orders in words, arming with a look at what it writes, and the ledger.

use super::asking::{caller, daemon, daemon_without};
use super::*;
use ledger::{Filter, Found, Page};
use row::Goal;

/// Presses the keys of a text, one after the other; what the last one does. `⏎` is the enter key.
fn type_in(screen: &mut Screen, text: &str, now: Duration) -> Act {
    text.chars().fold(Act::None, |_, c| {
        let code = match c {
            '⏎' => KeyCode::Enter,
            '⌫' => KeyCode::Backspace,
            '⎋' => KeyCode::Esc,
            '↓' => KeyCode::Down,
            '↑' => KeyCode::Up,
            c => KeyCode::Char(c),
        };
        screen.press(key(code), now)
    })
}

fn foot(screen: &mut Screen, now: Duration) -> String {
    rows(screen, (80, 30), now).pop().unwrap_or_default()
}

fn hold(device: &str, setpoint: Value) -> Act {
    Act::Give(Order::Hold {
        device: device.into(),
        setpoint,
    })
}

#[test]
fn what_is_typed_after_a_colon_is_asked_for_when_it_is_complete() {
    let hour = Duration::from_secs(3_600);
    for (typed, act) in [
        (":arm⏎", Act::Give(Order::Ahead(hour))),
        (":disarm⏎", Act::Give(Order::Disarm)),
        (":island⏎", Act::Give(Order::Mode("island"))),
        (":reconnect⏎", Act::Give(Order::Mode("reconnect"))),
        (":hold ess1 1.5kW⏎", hold("ess1", json!({ "p_w": 1500.0 }))),
        (":hold plug1 off⏎", hold("plug1", json!({ "on": false }))),
        (":release ess1⏎", Act::Give(Order::Release("ess1".into()))),
        // A slip is mended; nothing is asked for by a line that is left.
        (":hold ess12⌫ 1kW⏎", hold("ess1", json!({ "p_w": 1000.0 }))),
        (":disarm⎋", Act::None),
        (":⌫", Act::None),
        // A key that ends or commands is a letter here.
        (":q", Act::None),
        (":ss", Act::None),
    ] {
        assert_eq!(
            type_in(&mut screen(), typed, Duration::ZERO),
            act,
            "{typed}"
        );
    }
}

#[test]
fn a_line_is_shown_while_it_is_typed_and_says_what_is_wrong_with_it() {
    let mut screen = screen();
    for (typed, shown) in [
        (
            ":",
            ":▏  arm, disarm, island, reconnect, black start, resume, hold, release, ledger",
        ),
        ("arm", ":arm▏  arm [for 30min]"),
        (
            "⌫⌫⌫hold",
            ":hold▏  hold DEVICE 1.5kW [200var], hold DEVICE ceiling 2kW, hold DEVICE on|off",
        ),
        (
            " ess9 1kW⏎",
            ":hold ess9 1kW▏  there is no device \"ess9\"; there are brk1, ess1, ess2, plug1, p",
        ),
    ] {
        assert_eq!(type_in(&mut screen, typed, Duration::ZERO), Act::None);
        assert_eq!(foot(&mut screen, Duration::ZERO), shown);
    }
    // What was typed is still there to be mended.
    let act = type_in(&mut screen, "⌫⌫⌫⌫⌫1 -2kW⏎", Duration::ZERO);
    assert_eq!(act, hold("ess1", json!({ "p_w": -2000.0 })));
    assert!(foot(&mut screen, Duration::ZERO).contains(": operate"));
}

fn ahead(changes: Value) -> News {
    let ahead = json!({ "armed": false, "blocked": null, "t_s": 12.0, "changes": changes });
    let ahead = serde_json::from_value(ahead).expect("it is understood");
    News::Ahead(Duration::from_secs(1_800), Box::new(ahead))
}

#[test]
fn arming_shows_what_would_be_written_and_asks_once_more() {
    let change = json!([{
        "device": "ess1", "point": "ctl.p_set", "unit": "W", "now": 0.0, "age_s": 0.1,
        "would_be": 1500.0, "function": "exchange tracking", "why": "holds zero", "clamped": [],
    }]);
    let arm = Act::Give(Order::Arm(Duration::from_secs(1_800)));
    for (keys, at, act) in [
        ("y", 1.0, arm.clone()),
        ("↓↓y", 1.0, arm),
        ("n", 1.0, Act::None),
        ("⏎", 1.0, Act::None),
        // Who sees it and wants the opposite.
        ("ss", 1.0, Act::Give(Order::Safe)),
        // What has stood there for half a minute is not what would be written.
        ("y", 31.0, Act::None),
        ("ny", 1.0, Act::None),
    ] {
        let mut screen = screen();
        screen.hear(ahead(change.clone()), Duration::ZERO);
        let shown = rows(&mut screen, (100, 30), seconds(0.5));
        let row = "ess1    ctl.p_set  0 W  1500 W        exchange tracking: holds zero";
        assert!(shown.iter().any(|shown| shown == row), "{shown:#?}");
        let question = "Arm the bench for 30 min 0 s? y arms it; any other key lets it be.";
        assert_eq!(shown[29], question);
        assert_eq!(
            type_in(&mut screen, keys, seconds(at)),
            act,
            "{keys} at {at}"
        );
        let after = rows(&mut screen, (100, 30), seconds(at)).join("\n");
        assert!(!after.contains("y arms it"), "{after}");
    }
}

fn entry(clock: u64, kind: &str, who: &str, text: &str) -> Value {
    json!({
        "clock": clock, "atom": format!("a{clock}"), "kind": kind, "who": who, "interval": 7,
        "utc": "2026-01-01T10:00:01.234Z", "text": text,
    })
}

fn page(next: Option<u64>) -> Box<Page> {
    let page = json!({
        "entries": [
            entry(42, "dispatch", "ess1", "ess1 → 1500 W"),
            entry(41, "order", "ess1", "sells 25.0 Wh"),
        ],
        "next": next, "first": 0, "last": 42,
        "balances": [
            { "owner": "ess1", "asset": "energy", "milliwatt_hours": "12480" },
            { "owner": "load1", "asset": "metered", "milliwatt_hours": "5" },
        ],
    });
    serde_json::from_value(page).expect("it is understood")
}

/// A dispatch with the order, the clearing, the acknowledgement and the reading of its interval.
fn found() -> News {
    let related = [
        (50, "meter-reading", "ess1", "12.5 Wh", "interval"),
        (43, "dispatch-ack", "ess1", "read back", "effect"),
        (40, "clearing", "market", "24.007 ct/kWh", "cause"),
        (30, "order", "load1", "buys 12.5 Wh", "interval"),
        (41, "order", "ess1", "sells 25.0 Wh", "interval"),
        (60, "later-kind", "ess1", "of a later daemon", "effect"),
    ];
    let related: Vec<Value> = related
        .into_iter()
        .map(|(clock, kind, who, text, relation)| {
            let mut related = entry(clock, kind, who, text);
            related["relation"] = json!(relation);
            related
        })
        .collect();
    let found = json!({
        "run": "run1", "line": entry(42, "dispatch", "ess1", "ess1 → 1500 W"),
        "entry": { "author": "controller", "clock": 42 }, "related": related, "left_off": 3,
    });
    News::Opened(Box::new(
        serde_json::from_value::<Found>(found).expect("it is understood"),
    ))
}

#[test]
fn an_energy_leads_to_its_order_clearing_dispatch_acknowledgement_and_reading() {
    let mut screen = screen();
    // From the market: the clearing, then the order of the first participant, then the next one's.
    for (keys, atom) in [
        ("5↓⏎", "aa"),
        ("5↓↓⏎", "cc"),
        ("5↓↓↓↓↑⏎", "bb"),
        ("5↓↓↓↓↓⏎", "cc"),
        ("1↓⏎", "00ff"),
    ] {
        let act = type_in(&mut screen, keys, Duration::ZERO);
        assert_eq!(act, Act::Give(Order::Entry(atom.into())), "{keys}");
    }
    screen.hear(found(), Duration::ZERO);
    assert_eq!(screen.pane, Pane::Ledger);
    let shown = rows(&mut screen, (100, 60), Duration::ZERO);
    let begin = shown.iter().position(|row| row.contains("[8 ledger]"));
    let expected = "\
dispatch 42: ess1 → 1500 W
said by controller at 10:00:01.2 UTC, interval 7
identity a42
Orders (2)
     41  order         sells 25.0 Wh
     30  order         buys 12.5 Wh
Clearing (1)
     40  clearing      24.007 ct/kWh  cause
Acknowledgements (1)
     43  dispatch-ack  read back  effect
Meter readings (1)
     50  meter-reading 12.5 Wh
later-kind (1)
     60  later-kind    of a later daemon  effect
3 more are not listed.
a proof that stands alone: gridrig ledger prove out/run1 clock:42 --with-dependencies --out 42.tproo
{
  \"author\": \"controller\",
  \"clock\": 42
}";
    let from = begin.expect("the pane is open") + 1;
    let lines: Vec<&str> = expected.lines().collect();
    assert_eq!(shown[from..from + lines.len()], lines);
    // Each is one key further; back leads to where one came from.
    let clearing = type_in(&mut screen, "↓↓↓⏎", Duration::ZERO);
    assert_eq!(clearing, Act::Give(Order::Entry("a40".into())));
    assert_eq!(type_in(&mut screen, "⌫", Duration::ZERO), Act::None);
    let back = rows(&mut screen, (100, 60), Duration::ZERO).join("\n");
    assert!(!back.contains("identity a42"), "{back}");
    assert_eq!(type_in(&mut screen, "⎋", Duration::ZERO), Act::Quit);
}

#[test]
fn the_newest_entries_come_by_themselves_while_they_are_looked_at() {
    let mut screen = screen();
    let newest = Filter::default;
    assert_eq!(screen.wants(Duration::ZERO), None, "another list is open");
    type_in(&mut screen, "8", Duration::ZERO);
    assert_eq!(screen.wants(Duration::ZERO), Some(Order::Page(newest())));
    // Not again before there is an answer, and then every three seconds.
    assert_eq!(screen.wants(seconds(4.0)), None);
    screen.hear(News::Paged(newest(), page(Some(41))), seconds(4.0));
    assert_eq!(screen.wants(seconds(4.0)), Some(Order::Page(newest())));
    screen.hear(News::Paged(newest(), page(Some(41))), seconds(4.1));
    assert_eq!(screen.wants(seconds(6.0)), None);
    assert_eq!(screen.wants(seconds(7.0)), Some(Order::Page(newest())));
    // A daemon that is silent is asked again after ten.
    assert_eq!(screen.wants(seconds(16.9)), None);
    assert_eq!(screen.wants(seconds(17.0)), Some(Order::Page(newest())));
    let shown = rows(&mut screen, (80, 40), seconds(17.0)).join("\n");
    for line in [
        "entries 0 to 42 can be looked at here; shown: all",
        "credits: ess1 12480 mWh, load1 (metered) 5 mWh",
        "     42  dispatch      ess1 → 1500 W  interval 7",
        "older ones",
    ] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
    // An old page is not asked for by itself.
    let older = Filter {
        before: Some(41),
        ..newest()
    };
    assert_eq!(
        type_in(&mut screen, "↓↓↓↓⏎", seconds(17.0)),
        Act::Give(Order::Page(older.clone()))
    );
    screen.hear(News::Paged(older, page(None)), seconds(17.1));
    assert_eq!(screen.wants(seconds(60.0)), None);
    let first = screen.press(key(KeyCode::Enter), seconds(60.0));
    assert_eq!(
        (first, screen.marked()),
        (Act::None, Some(&(Goal::Newest, 0)))
    );
    assert_eq!(
        type_in(&mut screen, "⏎", seconds(60.0)),
        Act::Give(Order::Page(newest()))
    );
}

#[test]
fn entries_are_asked_for_by_kind_name_and_interval() {
    let filter = Filter {
        kind: Some("dispatch-ack".into()),
        who: Some("plug 1&x".into()),
        interval: Some(7),
        before: Some(99),
    };
    assert_eq!(
        filter.path(),
        "/api/v1/ledger?limit=50&kind=dispatch-ack&who=plug%201%26x&interval=7&before=99"
    );
    let mut screen = screen();
    let act = type_in(&mut screen, ":ledger order about ess1⏎", Duration::ZERO);
    let asked = Filter {
        kind: Some("order".into()),
        who: Some("ess1".into()),
        ..Filter::default()
    };
    assert_eq!(act, Act::Give(Order::Page(asked)));
    // The answer to an earlier question is not taken for the one to this.
    screen.hear(News::Paged(Filter::default(), page(None)), Duration::ZERO);
    let shown = rows(&mut screen, (80, 40), Duration::ZERO).join("\n");
    assert!(
        shown.contains("The ledger was not asked for yet."),
        "{shown}"
    );
}

#[test]
fn a_marked_line_stands_out_and_is_scrolled_to() {
    let mut bench = state();
    bench.dispatches = (0..20)
        .map(|n| wire::Dispatch {
            atom: format!("atom{n}"),
            ..dispatch(&format!("dev{n}"), "why", n)
        })
        .collect();
    let mut screen = Screen::new("http://127.0.0.1:7070".into());
    screen.hear(looked(&bench), Duration::ZERO);
    let marked = |screen: &mut Screen| {
        let picture = drawn(screen, (80, 24), Palette::Plain, Duration::ZERO);
        let at = (0..24).find(|y| {
            let cell = &picture[(0, *y)];
            cell.modifier.contains(Modifier::REVERSED) && cell.symbol() == "1"
        });
        at.map(|y| text_of(&picture)[usize::from(y)].clone())
    };
    assert_eq!(marked(&mut screen), None);
    for n in 0..20 {
        type_in(&mut screen, "↓", Duration::ZERO);
        let line = marked(&mut screen).unwrap_or_default();
        assert!(line.contains(&format!("dev{n} →")), "{n}: {line}");
    }
    for n in (0..19).rev() {
        type_in(&mut screen, "↑", Duration::ZERO);
        let line = marked(&mut screen).unwrap_or_default();
        assert!(line.contains(&format!("dev{n} →")), "{n}: {line}");
    }
}

/// What came of an order that was given.
fn told_of(address: Address, caller: Caller, order: Order) -> News {
    let (news, orders) = asker::start(address, caller).expect("the thread starts");
    orders.give(order);
    let within = Duration::from_secs(20);
    std::iter::from_fn(|| news.recv_timeout(within).ok())
        .find(|item| !matches!(item, News::Looked(_) | News::Recalled(_) | News::Failed(_)))
        .expect("the order is answered")
}

#[test]
fn every_order_is_asked_at_its_path_by_who_has_the_token_and_by_nobody_else() {
    let hold = Order::Hold {
        device: "ess1".into(),
        setpoint: json!({ "p_w": 1500.0 }),
    };
    for (order, asked, told) in [
        (
            Order::Arm(Duration::from_secs(90)),
            r#"POST /api/v1/arm HTTP/1.1 {"for_s":90.0}"#,
            "The bench is armed from the next cycle on, for 1 min 30 s",
        ),
        (
            Order::Disarm,
            "POST /api/v1/disarm HTTP/1.1",
            "The bench is disarmed",
        ),
        (
            Order::Mode("black_start"),
            r#"POST /api/v1/mode HTTP/1.1 {"mode":"black_start"}"#,
            "black start was accepted",
        ),
        (
            hold,
            r#"POST /api/v1/hold HTTP/1.1 {"device":"ess1","setpoint":{"p_w":1500.0}}"#,
            "ess1 is to hold this",
        ),
        (
            Order::Release("ess1".into()),
            r#"POST /api/v1/release HTTP/1.1 {"device":"ess1"}"#,
            "ess1 is let go",
        ),
    ] {
        for token in [None, Some("s3cret".to_owned())] {
            let (address, heard) = daemon(answers(&state()));
            let caller = Caller {
                token: token.clone(),
                ..caller()
            };
            let News::Told(text) = told_of(address, caller, order.clone()) else {
                panic!("{order:?} is told of");
            };
            let posts: Vec<String> = heard.try_iter().filter(|a| a.starts_with("POST")).collect();
            match token {
                Some(_) => {
                    assert_eq!(posts, [asked]);
                    assert!(text.starts_with(told), "{text}");
                }
                None => {
                    assert_eq!(posts, [""; 0], "{order:?}");
                    assert!(text.contains("--token-env"), "{text}");
                }
            }
        }
    }
}

#[test]
fn the_safe_state_waits_for_no_other_order() {
    let (address, _asked) = daemon_without(answers(&state()), Some("POST /api/v1/arm"));
    let caller = Caller {
        token: Some("s3cret".to_owned()),
        ..caller()
    };
    let (news, orders) = asker::start(address, caller).expect("the thread starts");
    orders.give(Order::Arm(Duration::from_secs(90)));
    orders.give(Order::Disarm);
    orders.give(Order::Safe);
    let within = Duration::from_secs(20);
    let first = std::iter::from_fn(|| news.recv_timeout(within).ok())
        .find(|item| matches!(item, News::Told(_)));
    let Some(News::Told(first)) = first else {
        panic!("nothing was told");
    };
    assert!(first.starts_with("SAFE was accepted"), "{first}");
}
