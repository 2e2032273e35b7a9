//! What the server answers, asked through a real socket by a hand-written client.

use std::sync::Arc;
use std::time::Duration;

use model::{DeviceIx, ModeRequest, Order, Role, Setpoint, UtcTime};
use quantities::{ActivePower, Bounds, ReactivePower};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::view::BusView;
use crate::view::tests::{bench_view, cycle_of, dispatched, stale_cycle};

struct Server {
    address: std::net::SocketAddr,
    view: Arc<LiveView>,
    commands: mpsc::Receiver<WebCommand>,
    alarms: Alarms,
    bids: BidQueue,
}

/// A bench that watches the charge of its storage, which is calm.
fn charge_alarm() -> Alarms {
    use crate::alarm::{AlarmSpec, Quantity, Severity, Side, Source};
    let low_charge = AlarmSpec {
        name: "low charge".into(),
        source: Source::Bench,
        signal: "bench.soc".into(),
        quantity: Quantity::Soc,
        side: Side::Below,
        limit: 0.2,
        clears: 0.2,
        lasting: Duration::ZERO,
        silent: None,
        severity: Severity::Error,
    };
    Alarms::of(&[low_charge], model::Instant::START)
}

async fn server(token: Option<&str>, queue: usize) -> Server {
    server_beside(token, queue, std::path::Path::new("no-run")).await
}

async fn server_beside(token: Option<&str>, queue: usize, here: &std::path::Path) -> Server {
    let tokens = Tokens::one(token.map(String::from));
    server_of(tokens, None, true, queue, here).await
}

/// A server; one that others reach believes so, but listens on loopback as any other here.
async fn server_of(
    tokens: Tokens,
    tls: Option<Tls>,
    loopback: bool,
    queue: usize,
    here: &std::path::Path,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let view = Arc::new(bench_view());
    let (tx, commands) = mpsc::channel(queue);
    let mut believed = address;
    if !loopback {
        believed.set_ip([10, 1, 0, 5].into());
    }
    let access = Access {
        address: believed,
        tokens,
        tls,
    };
    let lease = Lease::new(Arc::new(crate::clock::SimClock::start()));
    let runs = Runs::beside(here.to_owned());
    let alarms = charge_alarm();
    let bids = BidQueue::default();
    let hall = Hall {
        view: Arc::clone(&view),
        commands: tx,
        access,
        lease,
        alarms: alarms.clone(),
        runs,
        bids: Some(bids.clone()),
    };
    tokio::spawn(serve(listener, hall));
    Server {
        address,
        view,
        commands,
        alarms,
        bids,
    }
}

/// Status and body of an answer to a raw request.
async fn raw(server: &Server, request: String) -> (u16, String) {
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    (status, body)
}

async fn ask(
    server: &Server,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> (u16, String) {
    let host = if headers.to_ascii_lowercase().contains("host:") {
        String::new()
    } else {
        format!("Host: {}\r\n", server.address)
    };
    let length = body.len();
    raw(
        server,
        format!(
            "{method} {path} HTTP/1.1\r\n{host}{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        ),
    )
    .await
}

fn code_of(body: &str) -> String {
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    assert!(!problem["message"].as_str().unwrap().is_empty());
    assert!(!problem["help"].as_str().unwrap().is_empty());
    problem["code"].as_str().unwrap().to_owned()
}

#[test]
fn every_route_is_in_the_openapi_document_and_the_other_way_round() {
    let document: serde_json::Value = serde_json::from_str(OPENAPI.text).unwrap();
    let mut told: Vec<(String, String)> = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            told.push((method.clone(), path.clone()));
        }
    }
    let routes = routes();
    let mut built: Vec<(String, String)> = routes
        .iter()
        .map(|(method, path, ..)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    told.sort();
    built.sort();
    assert_eq!(told, built);
    // And what each needs is told, too.
    for (method, path, need, _) in routes {
        let operation = &document["paths"][path][method];
        let (role, security) = match need {
            Need::Nothing => (None, serde_json::Value::Null),
            Need::Look | Need::Page => (
                Some("observe"),
                serde_json::json!([{}, { "token": [] }, { "session": [] }]),
            ),
            Need::Have(role) => (
                Some(role.name()),
                serde_json::json!([{ "token": [] }, { "session": [] }]),
            ),
        };
        assert_eq!(operation["x-role"].as_str(), role, "{method} {path}");
        assert_eq!(operation["security"], security, "{method} {path}");
    }
}

#[tokio::test]
async fn every_route_answers_by_the_method_that_its_table_says() {
    let server = server(None, 4).await;
    for (method, path, ..) in routes() {
        if path.ends_with("/stream") {
            continue;
        }
        // What does not name one of something is told that there is none.
        if path.contains('{') {
            let path = path.replace("{atom}", "clock:1");
            let (status, body) = ask(&server, "GET", &path, "", "").await;
            assert_eq!(
                (status, code_of(&body).as_str()),
                (404, "no_ledger"),
                "{path}"
            );
            continue;
        }
        let (status, _) = ask(&server, &method.to_uppercase(), path, "", "").await;
        let other = if method == "get" { "DELETE" } else { "GET" };
        assert!(
            matches!((method, status), ("get", 200) | ("post", 202 | 403))
                || matches!((path, status), ("/login", 400) | ("/logout", 303)),
            "{path} {status}"
        );
        // A path that takes both has no other.
        if path == "/login" {
            continue;
        }
        let (status, body) = ask(&server, other, path, "", "").await;
        assert_eq!(
            (status, code_of(&body).as_str()),
            (405, "method_not_allowed"),
            "{path}"
        );
    }
    let (status, body) = ask(&server, "GET", "/api/v1/nothing", "", "").await;
    assert_eq!((status, code_of(&body).as_str()), (404, "not_found"));
}

#[test]
fn every_device_of_the_api_has_the_fields_of_the_document() {
    let document: serde_json::Value = serde_json::from_str(OPENAPI.text).unwrap();
    let view = bench_view();
    cycle_of(&view, 1);
    view.buses(vec![asked_bus()]);
    let state = serde_json::to_value(wire::State::of(&view)).unwrap();
    for (schema, value) in [
        ("State", &state),
        ("Device", &state["devices"][0]),
        ("Known", &state["devices"][0]["p_w"]),
        ("Line", &state["devices"][0]["line"]),
    ] {
        let mut told: Vec<&str> = document["components"]["schemas"][schema]["required"]
            .as_array()
            .unwrap()
            .iter()
            .map(|k| k.as_str().unwrap())
            .collect();
        let mut sent: Vec<&str> = value
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        told.sort_unstable();
        sent.sort_unstable();
        assert_eq!(told, sent, "{schema}");
    }
}

#[tokio::test]
async fn only_safe_works_without_a_token() {
    let commands = [
        "arm",
        "disarm",
        "mode",
        "hold",
        "release",
        "agreement",
        "hand_over",
        "signal",
        "baseline",
    ];
    for (token, headers, status, code) in [
        (None, "", 403, "read_only"),
        (None, "Authorization: Bearer x\r\n", 403, "read_only"),
        (Some("s3cret"), "", 401, "token_needed"),
        (
            Some("s3cret"),
            "Authorization: Bearer s3creT\r\n",
            403,
            "wrong_token",
        ),
        (
            Some("s3cret"),
            "Authorization: Bearer s3cret2\r\n",
            403,
            "wrong_token",
        ),
        (
            Some("s3cret"),
            "Authorization: Basic s3cret\r\n",
            403,
            "wrong_token",
        ),
    ] {
        let mut server = server(token, 4).await;
        for command in commands {
            let path = format!("/api/v1/{command}");
            let (got, body) = ask(&server, "POST", &path, headers, "{}").await;
            assert_eq!((got, code_of(&body).as_str()), (status, code), "{command}");
        }
        assert!(server.commands.try_recv().is_err());
        let (got, _) = ask(&server, "POST", "/api/v1/safe", headers, "").await;
        assert_eq!(got, 202);
        assert_eq!(server.commands.try_recv().unwrap(), WebCommand::Safe);
    }
}

#[tokio::test]
async fn whoever_has_the_bench_commands_it_and_others_may_only_make_it_safe() {
    let mut server = server(Some("s3cret"), 16).await;
    let token = "Authorization: Bearer s3cret\r\n";
    let ann = format!("{token}Gridrig-Holder: ann\r\n");
    let bob = format!("{token}Gridrig-Holder: bob\r\n");
    let rows: &[(&str, &str, &str, &str, u16)] = &[
        ("POST", "lock/take", "", "", 401),
        ("POST", "lock/take", &ann, r#"{"for_s":0}"#, 400),
        ("POST", "lock/take", &ann, r#"{"for_s":600}"#, 202),
        ("POST", "lock/take", &bob, "", 423),
        ("POST", "arm", &bob, "", 423),
        ("POST", "arm", token, "", 423),
        ("POST", "mode", &bob, r#"{"mode":"island"}"#, 423),
        ("POST", "release", &bob, r#"{"device":"bat1"}"#, 423),
        (
            "POST",
            "hold",
            &bob,
            r#"{"device":"bat1","setpoint":{"p_w":5}}"#,
            423,
        ),
        ("POST", "lock/drop", &bob, "", 423),
        ("POST", "safe", "", "", 202),
        ("POST", "disarm", &bob, "", 202),
        ("POST", "arm", &ann, r#"{"for_s":60}"#, 202),
        ("POST", "lock/drop", &ann, "", 202),
        ("POST", "mode", &bob, r#"{"mode":"island"}"#, 202),
    ];
    for (method, path, headers, body, expected) in rows {
        let path = format!("/api/v1/{path}");
        let (status, answer) = ask(&server, method, &path, headers, body).await;
        assert_eq!(status, *expected, "{path} {body}: {answer}");
    }
    let mut orders = Vec::new();
    while let Ok(command) = server.commands.try_recv() {
        orders.push(command.order());
    }
    let expected = [
        Order::Mode(ModeRequest::Safe),
        Order::Arm(false),
        Order::Arm(true),
        Order::Mode(ModeRequest::Island),
    ];
    assert_eq!(orders, expected);
    ask(&server, "POST", "/api/v1/arm", &bob, "").await;
    let (_, who) = ask(&server, "GET", "/api/v1/lock", "", "").await;
    assert!(
        who.contains(r#""holder":"bob""#),
        "arming takes the bench: {who}"
    );
}

#[tokio::test]
async fn a_command_with_the_token_becomes_an_order() {
    let mut server = server(Some("s3cret"), 4).await;
    let power = |p: f64, q: f64| Setpoint::Power {
        p: ActivePower::from_watts(p),
        q: ReactivePower::from_vars(q),
    };
    let device = DeviceIx(1);
    let hold = |setpoint| Order::Hold { device, setpoint };
    let rows: &[(&str, &str, Order)] = &[
        ("arm", "", Order::Arm(true)),
        ("disarm", "", Order::Arm(false)),
        ("safe", "", Order::Mode(ModeRequest::Safe)),
        (
            "mode",
            r#"{"mode":"island"}"#,
            Order::Mode(ModeRequest::Island),
        ),
        (
            "mode",
            r#"{"mode":"reconnect"}"#,
            Order::Mode(ModeRequest::Reconnect),
        ),
        (
            "mode",
            r#"{"mode":"resume"}"#,
            Order::Mode(ModeRequest::Resume),
        ),
        (
            "hold",
            r#"{"device":"bat1","setpoint":{"p_w":-1500,"q_var":20}}"#,
            hold(power(-1500.0, 20.0)),
        ),
        (
            "hold",
            r#"{"device":"bat1","setpoint":{"p_w":5}}"#,
            hold(power(5.0, 0.0)),
        ),
        (
            "hold",
            r#"{"device":"bat1","setpoint":{"ceiling_w":8}}"#,
            hold(Setpoint::Ceiling {
                p: ActivePower::from_watts(8.0),
            }),
        ),
        (
            "hold",
            r#"{"device":"bat1","setpoint":{"on":false}}"#,
            hold(Setpoint::Switch { on: false }),
        ),
        ("release", r#"{"device":"bat1"}"#, Order::Release { device }),
        (
            "hand_over",
            r#"{"to":"bat1"}"#,
            Order::HandOver { to: device },
        ),
        (
            "signal",
            r#"{"service":"fcr1","fraction":-0.4}"#,
            Order::Signal {
                service: model::ServiceIx(0),
                fraction: -0.4,
            },
        ),
        (
            "baseline",
            r#"{"device":"bat1","p_w":250}"#,
            Order::Baseline {
                device,
                p: ActivePower::from_watts(250.0),
            },
        ),
        (
            "agreement",
            r#"{"import_min_w":-3000,"import_max_w":5000,"pf_min":0.95}"#,
            Order::Agree(model::Agreement {
                limits: Bounds::new(
                    ActivePower::from_watts(-3000.0),
                    ActivePower::from_watts(5000.0),
                ),
                pf_min: Some(0.95),
                ..model::Agreement::default()
            }),
        ),
    ];
    for (command, body, order) in rows {
        let path = format!("/api/v1/{command}");
        let (status, answer) = ask(
            &server,
            "POST",
            &path,
            "Authorization: Bearer s3cret\r\n",
            body,
        )
        .await;
        assert_eq!(status, 202, "{command} {body} {answer}");
        assert_eq!(server.commands.try_recv().unwrap().order(), *order);
    }
}

#[tokio::test]
async fn a_malformed_command_is_refused_with_a_reason() {
    let mut server = server(Some("s3cret"), 4).await;
    let long = format!(r#"{{"device":"{}"}}"#, "x".repeat(5_000));
    let rows: &[(&str, &str, u16, &str)] = &[
        ("mode", "", 400, "bad_json"),
        ("mode", "{", 400, "bad_json"),
        ("mode", r#"{"mode":"asleep"}"#, 400, "bad_json"),
        ("mode", r#"{"mode":"island","now":true}"#, 400, "bad_json"),
        ("hold", r#"{"device":"bat1"}"#, 400, "bad_json"),
        (
            "hold",
            r#"{"device":"bat1","setpoint":{"p_w":"1kW"}}"#,
            400,
            "bad_json",
        ),
        (
            "hold",
            r#"{"device":"bat1","setpoint":{"p_w":1e999}}"#,
            400,
            "bad_json",
        ),
        (
            "hold",
            r#"{"device":"bat1","setpoint":{}}"#,
            400,
            "bad_setpoint",
        ),
        (
            "hold",
            r#"{"device":"bat1","setpoint":{"p_w":1,"on":true}}"#,
            400,
            "bad_setpoint",
        ),
        (
            "hold",
            r#"{"device":"bat1","setpoint":{"q_var":1}}"#,
            400,
            "bad_setpoint",
        ),
        (
            "hold",
            r#"{"device":"bat9","setpoint":{"p_w":1}}"#,
            404,
            "unknown_device",
        ),
        ("release", r#"{"device":"bat9"}"#, 404, "unknown_device"),
        ("hand_over", r#"{"to":"bat9"}"#, 404, "unknown_device"),
        ("hand_over", r#"{"device":"bat1"}"#, 400, "bad_json"),
        ("agreement", r#"{"pf_min":1.2}"#, 422, "bad_agreement"),
        (
            "signal",
            r#"{"service":"fcr1","fraction":1.2}"#,
            422,
            "bad_signal",
        ),
        (
            "signal",
            r#"{"service":"fcr9","fraction":0.2}"#,
            404,
            "unknown_service",
        ),
        ("signal", r#"{"service":"fcr1"}"#, 400, "bad_json"),
        (
            "baseline",
            r#"{"device":"bat9","p_w":0}"#,
            404,
            "unknown_device",
        ),
        ("agreement", r#"{"import_max_w":5}"#, 422, "bad_agreement"),
        (
            "agreement",
            r#"{"import_min_w":6,"import_max_w":5}"#,
            422,
            "bad_agreement",
        ),
        ("release", &long, 413, "body_not_read"),
    ];
    for (command, body, status, code) in rows {
        let path = format!("/api/v1/{command}");
        let (got, answer) = ask(
            &server,
            "POST",
            &path,
            "Authorization: Bearer s3cret\r\n",
            body,
        )
        .await;
        assert_eq!(
            (got, code_of(&answer).as_str()),
            (*status, *code),
            "{command} {body}"
        );
    }
    assert!(server.commands.try_recv().is_err());
}

/// Asks for an island at a moment: status and answer.
async fn at_moment(server: &Server, moment: &str) -> (u16, serde_json::Value) {
    let headers = format!("Authorization: Bearer t\r\nGridrig-At: {moment}\r\n");
    let body = r#"{"mode":"island"}"#;
    let (status, answer) = ask(server, "POST", "/api/v1/mode", &headers, body).await;
    (status, serde_json::from_str(&answer).unwrap())
}

#[tokio::test]
async fn a_command_waits_for_its_moment_and_says_when_it_was_given() {
    let mut server = server(Some("t"), 4).await;
    let (status, first) = at_moment(&server, "+0").await;
    assert_eq!(status, 202, "{first}");
    let began = first["t_s"].as_f64().unwrap();
    let (status, later) = at_moment(&server, "+0.05").await;
    assert_eq!(status, 202, "{later}");
    let later = later["t_s"].as_f64().unwrap();
    assert!(later >= began + 0.05, "{began} {later}");
    let (status, then) = at_moment(&server, &(later + 0.03).to_string()).await;
    assert_eq!(status, 202, "{then}");
    assert!(then["t_s"].as_f64().unwrap() >= later + 0.03, "{then}");
    for given in 0..3 {
        let command = server.commands.try_recv().map(WebCommand::order);
        assert_eq!(command, Ok(Order::Mode(ModeRequest::Island)), "{given}");
    }
    for bad in ["0", "+601", "1e9", "soon", "-1", "+-1", "nan", "+"] {
        let (status, problem) = at_moment(&server, bad).await;
        assert_eq!(
            (status, &problem["code"]),
            (422, &"bad_moment".into()),
            "{bad}"
        );
    }
    assert!(server.commands.try_recv().is_err());
}

#[tokio::test]
async fn a_planned_command_goes_with_its_connection_and_with_its_lease() {
    let mut server = server(Some("t"), 4).await;
    let plan = |holder: &str, at: &str| {
        let body = r#"{"mode":"island"}"#;
        format!(
            "POST /api/v1/mode HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer t\r\nGridrig-Holder: {holder}\r\n\
             Gridrig-At: {at}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            server.address,
            body.len()
        )
    };
    // Who asked is gone before the moment.
    let mut gone = TcpStream::connect(server.address).await.unwrap();
    gone.write_all(plan("ann", "+2").as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(30)).await;
    drop(gone);
    // Somebody else has taken the bench meanwhile.
    let taken = async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let bob = "Authorization: Bearer t\r\nGridrig-Holder: bob\r\n";
        ask(&server, "POST", "/api/v1/lock/take", bob, "").await.0
    };
    let ((status, body), taken) = tokio::join!(raw(&server, plan("ann", "+2.1")), taken);
    assert_eq!((status, &*code_of(&body), taken), (423, "locked", 202));
    assert!(server.commands.try_recv().is_err(), "nothing was given");
}

#[tokio::test]
async fn a_full_or_ended_queue_is_said_and_not_waited_for() {
    let mut server = server(Some("t"), 1).await;
    let arm =
        |s| async move { ask(s, "POST", "/api/v1/arm", "Authorization: Bearer t\r\n", "").await };
    assert_eq!(arm(&server).await.0, 202);
    let (status, body) = arm(&server).await;
    assert_eq!((status, code_of(&body).as_str()), (503, "busy"));
    server.commands.close();
    let (status, body) = ask(&server, "POST", "/api/v1/safe", "", "").await;
    assert_eq!((status, code_of(&body).as_str()), (503, "ended"));
}

#[tokio::test]
async fn a_page_from_elsewhere_is_kept_out() {
    let mut server = server(None, 4).await;
    let port = server.address.port();
    let rows: &[(&str, &str, u16)] = &[
        ("GET", "Host: evil.example\r\n", 403),
        ("GET", "Host: 127.0.0.1.evil.example\r\n", 403),
        ("GET", "Host: localhost:1\r\n", 200),
        ("GET", "Host: [::1]:7070\r\n", 200),
        ("GET", "Host: [::1].evil.example\r\n", 403),
        (
            "POST",
            &format!("Host: localhost:{port}\r\nOrigin: http://localhost:{port}\r\n"),
            202,
        ),
        (
            "POST",
            "Host: localhost\r\nOrigin: http://evil.example\r\n",
            403,
        ),
        ("POST", "Host: localhost\r\nOrigin: null\r\n", 403),
        ("POST", "Host: localhost\r\n", 202),
    ];
    for (method, headers, status) in rows {
        let path = if *method == "GET" {
            "/api/v1/state"
        } else {
            "/api/v1/safe"
        };
        let (got, _) = ask(&server, method, path, headers, "").await;
        assert_eq!(got, *status, "{method} {headers}");
    }
    assert_eq!(server.commands.recv().await, Some(WebCommand::Safe));
    assert_eq!(server.commands.recv().await, Some(WebCommand::Safe));
    assert!(server.commands.try_recv().is_err());
}

#[test]
fn beyond_this_machine_the_page_listens_only_with_tls_and_tokens() {
    let long = "0123456789abcdef";
    let rows = [
        ("127.0.0.1:7070", None, false, Ok(())),
        ("127.0.0.1:7070", None, true, Ok(())),
        ("[::1]:7070", Some("s3cret"), false, Ok(())),
        ("127.0.0.1:7070", Some(" "), false, Err("W002")),
        ("127.0.0.1:7070", Some("two words"), false, Err("W002")),
        ("127.0.0.1:7070", Some("gehe\u{ef}m"), false, Err("W002")),
        ("0.0.0.0:7070", None, false, Err("W001")),
        ("0.0.0.0:7070", Some(long), false, Err("W001")),
        ("192.168.1.2:7070", None, true, Err("W001")),
        ("[::]:7070", None, true, Err("W001")),
        ("[::ffff:127.0.0.1]:7070", None, false, Err("W001")),
        ("[::]:7070", Some("s3cret"), true, Err("W002")),
        ("[::]:7070", Some(long), true, Ok(())),
        ("192.168.1.2:7070", Some(long), true, Ok(())),
    ];
    for (addr, token, tls, expected) in rows {
        let tokens = Tokens::one(token.map(String::from));
        let told = check_listen(addr.parse().unwrap(), &tokens, tls);
        if let Err(fault) = &told
            && fault.code == "W001"
        {
            let help = fault.help.as_deref().unwrap();
            assert!(help.contains("gridrig init") && help.contains("ssh -L 7070"));
        }
        assert_eq!(
            told.map_err(|fault| fault.code),
            expected,
            "{addr} {token:?} {tls}"
        );
    }
}

/// Reads a stream until `enough` says so.
async fn read_stream(server: &Server, headers: &str, enough: impl Fn(&str) -> bool) -> String {
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let mut buffer = [0; 65_536];
    let reading = async {
        while !enough(&text) {
            let n = socket.read(&mut buffer).await.unwrap();
            assert!(n > 0, "the stream ended: {text}");
            text.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
    };
    tokio::time::timeout(Duration::from_secs(5), reading)
        .await
        .unwrap();
    text
}

#[tokio::test]
async fn a_stream_that_was_cut_goes_on_after_the_last_event() {
    let server = server(None, 4).await;
    for n in 1..=5 {
        server
            .view
            .event(UtcTime::default(), model::Instant::START, &dispatched(n));
    }
    let text = read_stream(&server, "Last-Event-ID: 3\r\n", |t| {
        t.contains("id: 5") && t.contains("event: state")
    })
    .await;
    assert!(!text.contains("id: 3") && text.contains("id: 4"), "{text}");
    // A number from a former run, and a new reader: only what happens from now on, but all of that.
    for headers in ["Last-Event-ID: 900\r\n", ""] {
        let view = Arc::clone(&server.view);
        let latest = *view.news().borrow();
        let telling = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            loop {
                ticks.tick().await;
                view.event(UtcTime::default(), model::Instant::START, &dispatched(9));
            }
        });
        let text = read_stream(&server, headers, |t| t.contains("id: ")).await;
        telling.abort();
        assert!(!text.contains(&format!("id: {latest}\n")), "{text}");
    }
}

#[tokio::test]
async fn metrics_leave_out_what_is_not_known() {
    let server = server(None, 4).await;
    let (_, before) = ask(&server, "GET", "/metrics", "", "").await;
    assert!(
        !before.contains("gridrig_device_active_power_watts"),
        "{before}"
    );
    cycle_of(&server.view, 1);
    let (_, page) = ask(&server, "GET", "/metrics", "", "").await;
    for line in [
        "gridrig_device_active_power_watts{device=\"bat1\",role=\"ess\"} -1500",
        "gridrig_mode{mode=\"islanded\"} 1",
        "gridrig_mode{mode=\"safe\"} 0",
        "gridrig_bus_frequency_hertz 49.9",
        "gridrig_link_busy_ratio{link=\"lan1\"} 0",
        "gridrig_link_bus_offs_total{link=\"lan1\"} 0",
    ] {
        assert!(page.lines().any(|l| l == line), "{line} in {page}");
    }
    // plug1 was never read.
    assert!(!page.contains("power_watts{device=\"plug1\""), "{page}");
    // A value that is too old to be used is not known either.
    stale_cycle(&server.view);
    let (_, stale) = ask(&server, "GET", "/metrics", "", "").await;
    assert!(!stale.contains("power_watts{device=\"bat1\""), "{stale}");
    assert!(
        stale.contains("gridrig_device_sample_age_seconds{device=\"bat1\",role=\"ess\"} 99"),
        "{stale}"
    );
    // Every family has its head, and every name its unit or `_total`.
    for line in page.lines().filter(|l| !l.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(page.contains(&format!("# HELP {name} ")), "{name}");
        assert!(page.contains(&format!("# TYPE {name} ")), "{name}");
    }
}

/// A bus whose first device was asked four times.
fn asked_bus() -> BusView {
    BusView {
        name: "lan1".into(),
        report: bus::BusReport::default(),
        busy_percent: 5.0,
        devices: vec![bus::DeviceReport {
            device: DeviceIx(0),
            requests: 4,
            answers: 2,
            timeouts: 1,
            corrupt: 0,
            exceptions: 1,
            retries: 1,
            late: 1,
            expired: 0,
            busy_nanos: 250_000_000,
            round_trip_p50: Some(Duration::from_millis(20)),
            round_trip_p99: None,
        }],
    }
}

#[tokio::test]
async fn metrics_tell_each_device_of_a_bus_that_asks() {
    let server = server(None, 4).await;
    cycle_of(&server.view, 1);
    server.view.buses(vec![asked_bus()]);
    let (_, page) = ask(&server, "GET", "/metrics", "", "").await;
    let name = &server.view.rig().devices[0].name;
    let link = &server.view.rig().devices[0].bus;
    for (metric, value) in [
        ("requests_total", "4"),
        ("answers_total", "2"),
        ("timeouts_total", "1"),
        ("exceptions_total", "1"),
        ("retries_total", "1"),
        ("late_answers_total", "1"),
        ("busy_seconds_total", "0.25"),
        ("round_trip_p50_seconds", "0.02"),
    ] {
        let line = format!("gridrig_device_{metric}{{device=\"{name}\",link=\"{link}\"}} {value}");
        assert!(page.lines().any(|l| l == line), "{line} in {page}");
    }
    // Not known is left out, and so is a device that was not asked.
    assert!(!page.contains("round_trip_p99"), "{page}");
    assert_eq!(page.matches("gridrig_device_requests_total{").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_tells_the_state_as_often_as_it_was_asked_to() {
    use futures_util::StreamExt;
    for (query, expected) in [("", 2), ("hz=1", 1), ("hz=10", 10)] {
        let view = Arc::new(bench_view());
        cycle_of(&view, 1);
        let rate = rate(query).unwrap();
        let mut frames = Box::pin(frames(view, Latest::default(), rate, None));
        // The first comes at once.
        let _ = frames.next().await;
        let began = tokio::time::Instant::now();
        for _ in 0..expected {
            let _ = frames.next().await;
        }
        assert_eq!(began.elapsed(), Duration::from_secs(1), "{query}");
    }
}

#[test]
fn streams_share_the_text_of_a_cycle_and_none_has_that_of_the_one_before() {
    let (view, latest) = (bench_view(), Latest::default());
    let before = state_text(&view, &latest);
    assert!(before.contains("\"cycle\":null"), "{before}");
    cycle_of(&view, 1);
    let first = state_text(&view, &latest);
    assert!(Arc::ptr_eq(&first, &state_text(&view, &latest)));
    assert!(first.contains("\"n\":1,"), "{first}");
    cycle_of(&view, 2);
    assert!(state_text(&view, &latest).contains("\"n\":2,"));
}

#[test]
fn roles_of_the_page_are_those_of_the_rig() {
    // The diagram's script places devices by role; a new role must be placed there too.
    for (name, _) in Role::NAMES {
        let placed = [format!("\"{name}\""), format!("    {name}: (g)")];
        assert!(
            placed.iter().any(|p| DIAGRAM.text.contains(p)),
            "{name} is not placed in the diagram"
        );
    }
}

#[test]
fn the_page_loads_nothing_from_elsewhere_and_never_makes_markup_of_text() {
    for asset in [
        HTML, ELEMENTS, SCRIPT, CHARTS, PAST, DIAGRAM, MARKET, LEDGER, STYLE,
    ] {
        for forbidden in [
            "https://",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "onclick=",
        ] {
            assert!(!asset.text.contains(forbidden), "{forbidden}");
        }
    }
}

#[test]
fn a_host_is_this_machine_only_by_its_own_names() {
    for (host, is) in [
        ("localhost", true),
        ("LOCALHOST:80", true),
        ("127.9.9.9:7070", true),
        ("[::1]", true),
        ("", false),
        ("10.0.0.1", false),
        ("localhost.evil.example", false),
        ("[::2]", false),
    ] {
        assert_eq!(guard::is_this_machine(host), is, "{host}");
    }
}

#[tokio::test]
async fn a_service_tells_what_it_delivers_and_for_which_share_of_the_time_it_was_available() {
    let server = server(None, 1).await;
    let services = async || {
        let (status, body) = ask(&server, "GET", "/api/v1/services", "", "").await;
        assert_eq!(status, 200);
        serde_json::from_str::<serde_json::Value>(&body).unwrap()
    };
    assert_eq!(services().await, serde_json::json!([]));
    cycle_of(&server.view, 1);
    cycle_of(&server.view, 2);
    let told = services().await;
    // -1500 W measured on a baseline of -200 W.
    assert_eq!(told[0]["delivered_w"], -1300.0);
    assert_eq!(told[0]["available"], true);
    assert_eq!(told[0]["availability"], 0.5);
    stale_cycle(&server.view);
    assert!(services().await[0]["delivered_w"].is_null());
}

/// A run folder with half a minute of the bench in it, as telemetry leaves it.
fn run_in(out: &std::path::Path, id: &str, title: &str) -> std::path::PathBuf {
    use crate::telemetry::{NamedDevice, Pace, Servers, Telemetry};
    use model::{Event, Instant, Point, PointSample, Reading, Sample};
    let dir = out.join(id);
    std::fs::create_dir(&dir).unwrap();
    let devices = vec![NamedDevice {
        name: "bat1".into(),
        role: Role::Ess,
        bus: "lan1".into(),
    }];
    let mut about = crate::telemetry::RunAbout::default();
    about.origin.bench = title.to_owned();
    let telemetry =
        Telemetry::start(&dir, devices, Servers::default(), Pace::Real, &about).unwrap();
    for second in 0..30_u32 {
        let now = Instant::from_nanos(u64::from(second) * 1_000_000_000);
        let utc = UtcTime::from_unix_nanos(1_795_341_600_000_000_000);
        let sample = Sample {
            measured_at: now,
            reading: Reading::Good(f64::from(second)),
        };
        let sample = PointSample {
            device: DeviceIx(0),
            point: Point::ActivePower,
            sample,
        };
        telemetry.samples(utc, now, &[sample]);
        if second == 7 {
            let why = "47.9 Hz".into();
            let device = DeviceIx(0);
            telemetry.event(utc, now, &Event::LoadShed { device, why });
        }
    }
    assert_eq!(telemetry.finish(Duration::from_secs(5)).lost, 0);
    dir
}

#[tokio::test]
async fn any_window_of_this_run_and_of_its_neighbours_can_be_asked_for() {
    let out = tempfile::tempdir().unwrap();
    run_in(out.path(), "20261122T100000Z-old", "the former");
    let here = run_in(out.path(), "20261122T110000Z-new", "this one");
    std::fs::create_dir(out.path().join("20261122T120000Z-empty")).unwrap();
    let server = server_beside(None, 1, &here).await;
    let get = async |path: &str| {
        let (status, body) = ask(&server, "GET", path, "", "").await;
        (
            status,
            serde_json::from_str::<serde_json::Value>(&body).unwrap(),
        )
    };

    let (status, runs) = get("/api/v1/runs").await;
    assert_eq!(status, 200);
    let told: Vec<_> = runs.as_array().unwrap().iter().collect();
    assert_eq!(told.len(), 2);
    assert_eq!(
        (
            told[0]["title"].as_str(),
            told[0]["current"].as_bool(),
            told[0]["seconds"].as_f64()
        ),
        (Some("this one"), Some(true), Some(29.0))
    );
    assert_eq!(told[1]["id"], "20261122T100000Z-old");

    let (status, past) =
        get("/api/v1/history?run=20261122T100000Z-old&from_s=10&to_s=20&points=2").await;
    assert_eq!(status, 200, "{past}");
    assert_eq!(past["t_s"], serde_json::json!([12.5, 17.5]));
    assert_eq!(past["devices"][0]["p_w"], serde_json::json!([12.0, 17.0]));
    assert_eq!(
        past["devices"][0]["p_low_w"],
        serde_json::json!([10.0, 15.0])
    );
    assert_eq!(
        past["devices"][0]["p_high_w"],
        serde_json::json!([14.0, 19.0])
    );
    assert_eq!(past["f_hz"], serde_json::json!([null, null]));
    for never_said in ["q_var", "f_hz", "v_v"] {
        let told = &past["devices"][0][never_said];
        assert_eq!(*told, serde_json::json!([null, null]), "{never_said}");
    }
    let (_, whole) = get("/api/v1/history?points=1").await;
    assert_eq!(
        (&whole["run"], &whole["devices"][0]["p_w"][0]),
        (&"20261122T110000Z-new".into(), &14.5.into())
    );

    let (status, each) = get("/api/v1/history?device=bat1&point=ac.p&from_s=10&to_s=13").await;
    assert_eq!(status, 200, "{each}");
    assert_eq!(each["t_s"], serde_json::json!([10.0, 11.0, 12.0]));
    assert_eq!(each["value"], serde_json::json!([10.0, 11.0, 12.0]));
    assert_eq!(
        (&each["unit"], &each["recorded_to_s"]),
        (&"W".into(), &29.0.into())
    );
    let (_, never) = get("/api/v1/history?device=bat1&point=bat.soc").await;
    assert_eq!(
        (&never["unit"], &never["t_s"]),
        (&"".into(), &serde_json::json!([]))
    );

    let (_, events) = get("/api/v1/events?run=20261122T100000Z-old").await;
    assert_eq!(
        (&events[0]["event"], &events[0]["seq"]),
        (&"load_shed".into(), &1.into())
    );
}

#[tokio::test]
async fn a_question_of_the_past_that_makes_no_sense_is_told_what_is_wrong_with_it() {
    let out = tempfile::tempdir().unwrap();
    let here = run_in(out.path(), "run", "this one");
    let server = server_beside(None, 1, &here).await;
    for (path, status, code) in [
        ("/api/v1/history?form_s=1", 400, "bad_query"),
        ("/api/v1/history?from_s=x", 400, "bad_query"),
        ("/api/v1/history?from_s=nan", 400, "bad_query"),
        ("/api/v1/history?from_s=5&to_s=5", 400, "bad_query"),
        ("/api/v1/history?points=0", 400, "bad_query"),
        ("/api/v1/history?points=5001", 400, "bad_query"),
        ("/api/v1/history?device=bat1", 400, "bad_query"),
        ("/api/v1/history?point=ac.p", 400, "bad_query"),
        (
            "/api/v1/history?device=bat1&point=ac.p&points=5",
            400,
            "bad_query",
        ),
        ("/api/v1/stream?hz=0", 400, "bad_query"),
        ("/api/v1/stream?hz=11", 400, "bad_query"),
        ("/api/v1/stream?rate=2", 400, "bad_query"),
        ("/api/v1/ledger?before=x", 400, "bad_query"),
        ("/api/v1/ledger?before=-1", 400, "bad_query"),
        ("/api/v1/ledger?limit=0", 400, "bad_query"),
        ("/api/v1/ledger?limit=501", 400, "bad_query"),
        ("/api/v1/ledger?kind=deal", 400, "bad_query"),
        ("/api/v1/ledger?who=%zz", 400, "bad_query"),
        ("/api/v1/ledger?after=1", 400, "bad_query"),
        ("/api/v1/ledger?limit=1", 404, "no_ledger"),
        ("/api/v1/ledger?run=other&limit=1", 404, "no_such_run"),
        ("/api/v1/ledger/nothing", 400, "bad_query"),
        ("/api/v1/ledger/clock:x", 400, "bad_query"),
        ("/api/v1/ledger/clock:1?kind=order", 400, "bad_query"),
        ("/api/v1/ledger/00ff", 404, "no_ledger"),
        ("/api/v1/history?run=", 404, "no_such_run"),
        ("/api/v1/history?run=..", 404, "no_such_run"),
        ("/api/v1/history?run=../run", 404, "no_such_run"),
        ("/api/v1/history?run=other", 404, "no_such_run"),
        ("/api/v1/events?points=1", 400, "bad_query"),
        ("/api/v1/events?run=%2Fetc", 404, "no_such_run"),
    ] {
        let (found, body) = ask(&server, "GET", path, "", "").await;
        assert_eq!((found, &*code_of(&body)), (status, code), "{path}");
    }
    // A run without a database says so; the last ten minutes are there all the same.
    std::fs::remove_file(here.join(crate::telemetry::DATABASE_FILE)).unwrap();
    let (status, body) = ask(&server, "GET", "/api/v1/history?points=5", "", "").await;
    assert_eq!((status, &*code_of(&body)), (404, "no_past"));
    assert_eq!(ask(&server, "GET", "/api/v1/history", "", "").await.0, 200);
}

#[tokio::test]
async fn an_alarm_is_listed_as_it_stands_and_seen_by_whoever_has_the_token() {
    let server = server(Some("secret"), 1).await;
    let list = async || {
        let (status, body) = ask(&server, "GET", "/api/v1/alarms", "", "").await;
        assert_eq!(status, 200);
        serde_json::from_str::<serde_json::Value>(&body).unwrap()[0].clone()
    };
    let see = async |token: &str, body: &str| {
        let headers = format!("Authorization: Bearer {token}\r\nGridrig-Holder: ann\r\n");
        ask(&server, "POST", "/api/v1/acknowledge", &headers, body).await
    };
    let low = r#"{"alarm":"low charge"}"#;
    let calm = list().await;
    assert_eq!(
        (&calm["raised"], &calm["severity"], &calm["since_s"]),
        (&false.into(), &"error".into(), &serde_json::Value::Null)
    );
    let (status, body) = see("secret", low).await;
    assert_eq!((status, &*code_of(&body)), (409, "not_raised"));

    let now = model::Instant::from_nanos(1_500_000_000);
    let estimate = control::Estimate {
        soc: Some(quantities::StateOfCharge::from_fraction(0.1)),
        ..control::Estimate::default()
    };
    let image = model::ProcessImage::unread(0);
    server
        .alarms
        .observe(now, &estimate, &image, |_| Duration::ZERO);
    let raised = list().await;
    assert_eq!(
        (&raised["raised"], &raised["since_s"], &raised["times"]),
        (&true.into(), &1.5.into(), &1.into())
    );
    assert_eq!(raised["why"], "bench.soc is 10.0 %, below 20.0 %");
    let (_, page) = ask(&server, "GET", "/metrics", "", "").await;
    assert!(
        page.contains("gridrig_alarm_raised{alarm=\"low charge\",severity=\"error\"} 1\n"),
        "{page}"
    );

    for (token, body, status, code) in [
        ("wrong", low, 403, "wrong_token"),
        ("secret", r#"{"alarm":"none"}"#, 404, "unknown_alarm"),
        ("secret", r#"{"name":"low charge"}"#, 400, "bad_json"),
    ] {
        let (found, answer) = see(token, body).await;
        assert_eq!((found, &*code_of(&answer)), (status, code), "{body}");
    }
    assert_eq!(list().await["acknowledged_by"], serde_json::Value::Null);
    assert_eq!(see("secret", low).await.0, 202);
    assert_eq!(list().await["acknowledged_by"], "ann");
}

mod roles;

const ORDER: &str =
    r#"{"participant":"plug1","side":"buy","steps":[{"price_mc_per_kwh":20000,"energy_mwh":500}]}"#;

/// Orders with the token while a desk answers this, and gives status and answer.
async fn order_answered(
    answer: Option<Result<crate::desk::Taken, market::CounterError>>,
) -> (u16, String, crate::desk::Bid) {
    let server = server(Some("s3cret"), 4).await;
    let bids = server.bids.clone();
    let desk = tokio::spawn(async move {
        loop {
            if let Some((bid, hears)) = bids.take().pop() {
                match answer {
                    Some(answer) => drop(hears.send(answer)),
                    None => drop(hears),
                }
                return bid;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let body = ORDER.replacen('{', r#"{"interval":7,"#, 1);
    let headers = "Authorization: Bearer s3cret\r\n";
    let (status, said) = ask(&server, "POST", "/api/v1/market/orders", headers, &body).await;
    (status, said, desk.await.unwrap())
}

#[tokio::test]
async fn an_order_of_the_market_gets_the_desks_answer() {
    let taken = crate::desk::Taken {
        interval: 7,
        begins: UtcTime::from_unix_nanos(1_800_000_000_000_000_000),
        gate: UtcTime::from_unix_nanos(1_799_999_999_000_000_000),
        entry: None,
    };
    let (status, said, bid) = order_answered(Some(Ok(taken))).await;
    assert_eq!(status, 202, "{said}");
    let told: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&told["taken"], &told["interval"]),
        (&true.into(), &7.into())
    );
    assert!(
        told["gate_utc"]
            .as_str()
            .unwrap()
            .starts_with("2027-01-15T07:59:59"),
        "{told}"
    );
    let expected = crate::desk::Bid {
        participant: "plug1".into(),
        side: market::Side::Buy,
        steps: vec![(20_000, 500)],
        interval: Some(7),
        stage: crate::desk::Stage::RealTime,
    };
    assert_eq!(bid, expected);

    let agent = || market::AgentId::from("plug1");
    let duplicate = market::BookError::Duplicate {
        agent: agent(),
        side: market::Side::Buy,
    };
    for (why, status, code) in [
        (
            market::CounterError::Closed {
                interval: 7,
                open: 8,
            },
            409,
            "M037",
        ),
        (
            market::CounterError::Stranger { agent: agent() },
            404,
            "M038",
        ),
        (
            market::CounterError::TooFar {
                interval: 7,
                last: 6,
            },
            422,
            "M039",
        ),
        (market::venue::Refusal::from(duplicate).into(), 422, "M014"),
    ] {
        let (found, said, _) = order_answered(Some(Err(why))).await;
        assert_eq!((found, code_of(&said).as_str()), (status, code), "{said}");
    }
    let (status, said, _) = order_answered(None).await;
    assert_eq!((status, code_of(&said).as_str()), (503, "no_answer"));
}

#[tokio::test]
async fn a_late_reading_gets_the_desks_answer() {
    use market::venue::CorrectionError;
    let agent = || market::AgentId::from("plug1");
    let interval = 7;
    for (answer, status, code) in [
        (Ok(-5_000_000_i128), 202, ""),
        (Err(CorrectionError::NotSettled { interval }), 409, "M048"),
        (
            Err(CorrectionError::NotMetered {
                interval,
                agent: agent(),
            }),
            404,
            "M049",
        ),
        (
            Err(CorrectionError::Stands {
                interval,
                agent: agent(),
            }),
            409,
            "M052",
        ),
    ] {
        let server = server(Some("s3cret"), 4).await;
        let inbox = server.bids.clone();
        let desk = tokio::spawn(async move {
            loop {
                if let Some((late, hears)) = inbox.take_readings().pop() {
                    let _gone = hears.send(answer);
                    return late;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let headers = "Authorization: Bearer s3cret\r\n";
        let body = r#"{"participant":"plug1","interval":7,"energy_mwh":-500}"#;
        let (found, said) = ask(&server, "POST", "/api/v1/market/readings", headers, body).await;
        assert_eq!(found, status, "{said}");
        match code {
            "" => assert!(said.contains("\"amount_u\":\"-5000000\""), "{said}"),
            code => assert_eq!(code_of(&said), code),
        }
        let expected = crate::desk::LateReading {
            participant: "plug1".into(),
            interval: 7,
            energy_mwh: -500,
        };
        assert_eq!(desk.await.unwrap(), expected);
    }
}

#[tokio::test]
async fn an_order_of_the_market_needs_the_token_and_a_shape() {
    let server = server(Some("s3cret"), 4).await;
    let bearer = "Authorization: Bearer s3cret\r\n";
    let foreign = "Authorization: Bearer s3cret\r\nOrigin: http://evil.example\r\n";
    for (headers, body, status, code) in [
        ("", ORDER, 401, "token_needed"),
        ("Authorization: Bearer guess\r\n", ORDER, 403, "wrong_token"),
        (foreign, ORDER, 403, "foreign_origin"),
        (bearer, "", 400, "bad_json"),
        (
            bearer,
            r#"{"participant":"plug1","side":"hold","steps":[]}"#,
            400,
            "bad_json",
        ),
        (
            bearer,
            r#"{"participant":"plug1","side":"buy"}"#,
            400,
            "bad_json",
        ),
        (bearer, &ORDER.replace("500", "0.5"), 400, "bad_json"),
        (
            bearer,
            &ORDER.replace("500", "99999999999999999999"),
            400,
            "bad_json",
        ),
        (
            bearer,
            &ORDER.replace("\"side\"", "\"now\":1,\"side\""),
            400,
            "bad_json",
        ),
    ] {
        let (found, said) = ask(&server, "POST", "/api/v1/market/orders", headers, body).await;
        assert_eq!(
            (found, code_of(&said).as_str()),
            (status, code),
            "{body}: {said}"
        );
    }
    assert!(
        server.bids.take().is_empty(),
        "nothing of it reached the desk"
    );
    let bid = crate::desk::Bid {
        participant: "plug1".into(),
        side: market::Side::Buy,
        steps: vec![(1, 1)],
        interval: None,
        stage: crate::desk::Stage::RealTime,
    };
    while server.bids.push(bid.clone()).is_some() {}
    let (status, said) = ask(&server, "POST", "/api/v1/market/orders", bearer, ORDER).await;
    assert_eq!((status, code_of(&said).as_str()), (503, "busy"));
}

#[tokio::test]
async fn the_charts_are_drawn_by_the_file_that_the_makers_of_their_library_published() {
    use sha3::{Digest as _, Sha3_256};
    /// SHA3-256 of `dist/chart.umd.js` in chart.js 4.5.1 as the npm registry has it.
    const PUBLISHED: &str = "3ef7931a592b38c47b3b9586e8cfc67ccd9729bf0deb0acbbc1c7253dbc78955";
    let server = server(None, 1).await;
    let (status, library) = ask(&server, "GET", "/chart.umd.js", "", "").await;
    assert_eq!(status, 200);
    let digest = Sha3_256::digest(library.as_bytes());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, PUBLISHED);
}

#[tokio::test]
async fn what_waits_for_a_telemetry_server_is_told_to_page_and_prometheus() {
    let server = server(None, 1).await;
    server.view.counters(crate::view::Counters {
        telemetry_waiting: 1_234,
        ..Default::default()
    });
    let (_, page) = ask(&server, "GET", "/metrics", "", "").await;
    assert!(
        page.contains("\ngridrig_telemetry_values_waiting 1234\n"),
        "{page}"
    );
    let (_, state) = ask(&server, "GET", "/api/v1/state", "", "").await;
    assert!(state.contains("\"telemetry_waiting\":1234"), "{state}");
}
