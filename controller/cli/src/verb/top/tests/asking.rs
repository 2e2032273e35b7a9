//! What it asks a daemon, over real sockets, and what it does with answers.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::channel;

use super::*;

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
pub(super) fn daemon(answers: Vec<Value>) -> (Address, std::sync::mpsc::Receiver<String>) {
    daemon_without(answers, None)
}

/// The same, but what begins with this is never answered.
pub(super) fn daemon_without(
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

pub(super) fn caller() -> Caller {
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
