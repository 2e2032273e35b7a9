//! Who may do what: every call by every role, on this machine and beyond it.

use super::*;

const OBSERVE: &str = "observe-observe-observe";
const BID: &str = "bid-bid-bid-bid-bid-bid";
const OPERATE: &str = "operate-operate-operate";
const ARM: &str = "arm-arm-arm-arm-arm-arm";

/// Tokens for all four roles.
pub(in crate::web) fn tokens() -> Tokens {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.toml");
    let entry = |role: &str, secret: &str| {
        format!("[token.{role}-1]\nrole = \"{role}\"\nsecret = \"{secret}\"\n")
    };
    let text = [("observe", OBSERVE), ("operate", OPERATE), ("arm", ARM)]
        .map(|(role, secret)| entry(role, secret))
        .concat();
    let text = format!("{text}{}participant = \"plug1\"\n", entry("bid", BID));
    secret::write_new(&path, &text, secret::MODE).unwrap();
    Tokens::read(&path).unwrap()
}

async fn server_with_roles(loopback: bool) -> Server {
    server_of(tokens(), None, loopback, 64, std::path::Path::new("no-run")).await
}

fn bearer(token: &str) -> String {
    match token {
        "" => String::new(),
        token => format!("Authorization: Bearer {token}\r\n"),
    }
}

/// What each call answers to nobody, to a wrong token, and to each of the roles, one after the other: so
/// the last finds a bench that the one before has taken.
const CALLS: &[(&str, &str, &str, [u16; 5])] = &[
    ("GET", "/api/v1/state", "", [401, 403, 200, 200, 200]),
    ("GET", "/api/v1/devices", "", [401, 403, 200, 200, 200]),
    ("GET", "/api/v1/modes", "", [401, 403, 200, 200, 200]),
    ("GET", "/api/v1/arming", "", [401, 403, 200, 200, 200]),
    ("GET", "/api/v1/lock", "", [401, 403, 200, 200, 200]),
    ("GET", "/api/v1/dispatches", "", [401, 403, 200, 200, 200]),
    ("GET", "/api/v1/market", "", [401, 403, 200, 200, 200]),
    (
        "POST",
        "/api/v1/market/orders",
        r#"{"participant":"plug1"}"#,
        [401, 403, 403, 400, 400],
    ),
    (
        "POST",
        "/api/v1/market/readings",
        r#"{"participant":"plug1"}"#,
        [401, 403, 403, 400, 400],
    ),
    ("GET", "/api/v1/services", "", [401, 403, 200, 200, 200]),
    ("GET", "/api/v1/ledger", "", [401, 403, 200, 200, 200]),
    ("GET", "/api/v1/alarms", "", [401, 403, 200, 200, 200]),
    ("GET", "/api/v1/events", "", [401, 403, 200, 200, 200]),
    ("GET", "/api/v1/history", "", [401, 403, 200, 200, 200]),
    ("GET", "/api/v1/runs", "", [401, 403, 200, 200, 200]),
    ("GET", "/metrics", "", [401, 403, 200, 200, 200]),
    ("GET", "/", "", [303, 403, 200, 200, 200]),
    ("GET", "/login", "", [200; 5]),
    ("GET", "/app.js", "", [200; 5]),
    ("GET", "/style.css", "", [200; 5]),
    ("GET", "/api/v1/openapi.json", "", [200; 5]),
    ("GET", "/api/v1/access", "", [200, 403, 200, 200, 200]),
    ("POST", "/api/v1/safe", "", [202; 5]),
    ("POST", "/api/v1/disarm", "", [401, 403, 403, 202, 202]),
    ("POST", "/api/v1/lock/take", "", [401, 403, 403, 202, 423]),
    ("POST", "/api/v1/lock/drop", "", [401, 403, 403, 202, 202]),
    (
        "POST",
        "/api/v1/mode",
        r#"{"mode":"island"}"#,
        [401, 403, 403, 202, 202],
    ),
    (
        "POST",
        "/api/v1/hold",
        r#"{"device":"bat1","setpoint":{"p_w":5}}"#,
        [401, 403, 403, 202, 202],
    ),
    (
        "POST",
        "/api/v1/release",
        r#"{"device":"bat1"}"#,
        [401, 403, 403, 202, 202],
    ),
    (
        "POST",
        "/api/v1/agreement",
        r#"{"pf_min":0.95}"#,
        [401, 403, 403, 202, 202],
    ),
    (
        "POST",
        "/api/v1/hand_over",
        r#"{"to":"bat1"}"#,
        [401, 403, 403, 202, 202],
    ),
    (
        "POST",
        "/api/v1/signal",
        r#"{"service":"fcr1","fraction":0.1}"#,
        [401, 403, 403, 202, 202],
    ),
    (
        "POST",
        "/api/v1/baseline",
        r#"{"device":"bat1","p_w":5}"#,
        [401, 403, 403, 202, 202],
    ),
    (
        "POST",
        "/api/v1/acknowledge",
        r#"{"alarm":"low charge"}"#,
        [401, 403, 403, 409, 409],
    ),
    ("POST", "/api/v1/arm", "", [401, 403, 403, 403, 202]),
];

#[tokio::test]
async fn every_call_is_answered_to_each_role_as_the_table_says() {
    let mut known: Vec<(String, &str)> = CALLS
        .iter()
        .map(|(method, path, ..)| (method.to_lowercase(), *path))
        .collect();
    known.extend([
        ("get".into(), "/api/v1/stream"),
        // There is no ledger here, so nothing of it is found.
        ("get".into(), "/api/v1/ledger/{atom}"),
        ("get".into(), "/chart.umd.js"),
        ("get".into(), "/charts.js"),
        ("get".into(), "/diagram.js"),
        ("get".into(), "/elements.js"),
        ("get".into(), "/ledger.js"),
        ("get".into(), "/market.js"),
        ("get".into(), "/past.js"),
        ("post".into(), "/login"),
        ("post".into(), "/logout"),
    ]);
    known.sort();
    let mut all: Vec<(String, &str)> = routes()
        .iter()
        .map(|(method, path, ..)| ((*method).to_owned(), *path))
        .collect();
    all.sort();
    assert_eq!(known, all, "a call is missing in the table");

    for loopback in [false, true] {
        for (method, path, body, expected) in CALLS {
            let server = server_with_roles(loopback).await;
            for (n, token) in ["", "wrong", OBSERVE, OPERATE, ARM].iter().enumerate() {
                let (status, answer) = ask(&server, method, path, &bearer(token), body).await;
                let is_free = loopback && *method == "GET" && *path != "/api/v1/access";
                let expected = if is_free { 200 } else { expected[n] };
                assert_eq!(
                    status, expected,
                    "{method} {path} {token:?} {loopback}: {answer}"
                );
                let code = match (status, *token) {
                    (401, _) => "token_needed",
                    (403, "wrong") => "wrong_token",
                    (403, _) => "role_too_low",
                    (409, _) => "not_raised",
                    _ => continue,
                };
                assert_eq!(code_of(&answer), code, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn whoever_gives_no_name_has_the_bench_by_the_name_of_the_token() {
    let server = server_with_roles(false).await;
    let (status, told) = ask(&server, "POST", "/api/v1/lock/take", &bearer(OPERATE), "").await;
    assert_eq!(status, 202);
    assert!(told.contains(r#""holder":"operate-1""#), "{told}");
    let ann = format!("{}Gridrig-Holder: ann\r\n", bearer(ARM));
    let (status, _) = ask(&server, "POST", "/api/v1/lock/take", &ann, "").await;
    assert_eq!(status, 423);
}

#[tokio::test]
async fn a_wrong_token_too_often_is_not_compared_any_more_and_safe_works_all_the_same() {
    let mut server = server_with_roles(false).await;
    let state = async |token: &str| {
        let (status, body) = ask(&server, "GET", "/api/v1/state", &bearer(token), "").await;
        (
            status,
            if status == 200 {
                String::new()
            } else {
                code_of(&body)
            },
        )
    };
    for _ in 0..10 {
        assert_eq!(
            state("wrong-wrong-wrong").await,
            (403, "wrong_token".into())
        );
    }
    for token in ["wrong-wrong-wrong", ARM] {
        assert_eq!(state(token).await, (429, "too_many_wrong_tokens".into()));
    }
    let form = "token=arm-arm-arm-arm-arm-arm";
    let (status, page) = ask(&server, "POST", "/login", "", form).await;
    assert_eq!(status, 429);
    assert!(page.contains("Wait a few seconds"), "{page}");
    let (status, _) = ask(&server, "POST", "/api/v1/safe", &bearer("wrong"), "").await;
    assert_eq!(status, 202);
    assert_eq!(server.commands.try_recv().unwrap(), WebCommand::Safe);
}

/// Browsers of a laboratory behind one address, and connections of each: as many as the door has room for.
const BROWSERS: usize = 10;
const CONNECTIONS: usize = 6;

/// Asks for each path in turn on one connection, as a browser does; gives what was not answered with 200.
async fn ask_in_turn(server: &Server, paths: &[&str]) -> Vec<String> {
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let mut refused = Vec::new();
    for path in paths {
        let observes = bearer(OBSERVE);
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench.lab\r\n{observes}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let (mut answer, mut buffer) = (Vec::new(), [0; 65_536]);
        let is_whole = |answer: &[u8]| {
            let text = String::from_utf8_lossy(answer);
            let length = field(&text, "content-length").parse::<usize>();
            let head = answer.windows(4).position(|end| end == b"\r\n\r\n");
            head.is_some_and(|head| answer.len() >= head + 4 + length.unwrap())
        };
        while !is_whole(&answer) {
            let n = socket.read(&mut buffer).await.unwrap();
            assert!(n > 0, "the connection ended in the answer to {path}");
            answer.extend_from_slice(&buffer[..n]);
        }
        let answer = String::from_utf8(answer).unwrap();
        if status_of(&answer) != "200" {
            refused.push(format!("{path}: {answer}"));
        }
    }
    refused
}

#[tokio::test]
async fn right_requests_are_never_limited_however_many_a_laboratory_sends_at_once() {
    let server = server_with_roles(false).await;
    // Somebody there has the wrong note in hand, less often than is borne.
    for _ in 0..9 {
        let (status, _) = ask(&server, "GET", "/api/v1/state", &bearer("wrong"), "").await;
        assert_eq!(status, 403);
    }
    // All that a page is made of and asks for, but its stream.
    let routes = routes();
    let paths: Vec<&str> = routes
        .iter()
        .filter(|(method, path, ..)| *method == "get" && !path.contains('{'))
        .map(|(_, path, ..)| *path)
        .filter(|path| !path.ends_with("/stream"))
        .collect();
    let asking = (0..BROWSERS * CONNECTIONS).map(|_| ask_in_turn(&server, &paths));
    let refused = futures_util::future::join_all(asking).await.concat();
    assert!(paths.len() > 20 && refused.is_empty(), "{refused:?}");
}

/// The whole answer to a request, head and body.
async fn whole(server: &Server, method: &str, path: &str, headers: &str, body: &str) -> String {
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: bench.lab\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

fn field<'a>(answer: &'a str, name: &str) -> &'a str {
    let head = answer.split("\r\n\r\n").next().unwrap();
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut named = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
    named.next().map_or("", |(_, value)| value)
}

fn status_of(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap()
}

#[tokio::test]
async fn a_browser_signs_in_with_a_token_and_gets_a_cookie_that_no_script_and_no_other_site_can_use()
 {
    let server = server_with_roles(false).await;
    for (body, status) in [
        ("token=wrong", "403"),
        ("", "400"),
        ("token", "403"),
        ("tokn=x", "400"),
        ("token=%zz&token=1", "400"),
        ("token=a b\r\nX: y", "400"),
    ] {
        let answer = whole(&server, "POST", "/login", "", body).await;
        assert_eq!(status_of(&answer), status, "{body:?}: {answer}");
        assert_eq!(field(&answer, "set-cookie"), "", "{body:?}");
        assert!(answer.contains("role=\"alert\""), "{answer}");
    }
    let answer = whole(&server, "POST", "/login", "", &format!("token={OPERATE}")).await;
    assert_eq!(
        (status_of(&answer), field(&answer, "location")),
        ("303", "/")
    );
    let set = field(&answer, "set-cookie");
    let (cookie, attributes) = set.split_once("; ").unwrap();
    let name = format!("gridrig-{}=", server.address.port());
    assert!(
        cookie.starts_with(&name) && cookie.len() == name.len() + 64,
        "{set}"
    );
    assert!(!set.contains(OPERATE));
    assert_eq!(
        attributes,
        "Path=/; HttpOnly; SameSite=Strict; Max-Age=43200"
    );

    let with = |more: &str| format!("Cookie: theme=dark; {cookie}\r\n{more}");
    let own = with("Origin: https://bench.lab\r\n");
    let mode = r#"{"mode":"island"}"#;
    for (method, path, headers, body, status) in [
        ("GET", "/api/v1/state", with(""), "", "200"),
        ("GET", "/", with(""), "", "200"),
        ("POST", "/api/v1/mode", own.clone(), mode, "202"),
        ("POST", "/api/v1/arm", own.clone(), "", "403"),
        // Neither a page from elsewhere nor anything else may use the cookie to command.
        (
            "POST",
            "/api/v1/mode",
            with("Origin: https://evil.example\r\n"),
            mode,
            "403",
        ),
        (
            "POST",
            "/api/v1/mode",
            with("Origin: null\r\n"),
            mode,
            "403",
        ),
        ("POST", "/api/v1/mode", with("Origin: \r\n"), mode, "403"),
        ("POST", "/api/v1/mode", with(""), mode, "403"),
        // A token that is named counts, not the cookie beside it.
        ("GET", "/api/v1/state", with(&bearer("wrong")), "", "403"),
        ("POST", "/api/v1/arm", with(&bearer(ARM)), "", "202"),
        (
            "GET",
            "/api/v1/state",
            format!("Cookie: {name}{}\r\n", "0".repeat(64)),
            "",
            "401",
        ),
        (
            "POST",
            "/logout",
            with("Origin: https://evil.example\r\n"),
            "",
            "403",
        ),
        ("GET", "/api/v1/state", with(""), "", "200"),
        ("POST", "/logout", own.clone(), "", "303"),
        ("GET", "/api/v1/state", with(""), "", "401"),
    ] {
        let answer = whole(&server, method, path, &headers, body).await;
        assert_eq!(
            status_of(&answer),
            status,
            "{method} {path} {headers}: {answer}"
        );
        if status == "401" {
            assert_eq!(field(&answer, "www-authenticate"), "Bearer");
        }
    }
    let pressed = "Accept: text/html\r\nOrigin: https://bench.lab\r\n";
    let answer = whole(&server, "POST", "/api/v1/safe", pressed, "").await;
    assert!(
        status_of(&answer) == "202" && answer.contains("SAFE was accepted"),
        "{answer}"
    );
}

#[test]
fn a_cookie_over_tls_is_of_this_host_alone_and_travels_encrypted_only() {
    let folder = tempfile::tempdir().unwrap();
    let now = authority::tests::NOW;
    authority::init(folder.path(), &["bench.lab".into()], &[], now).unwrap();
    let access = Access {
        address: "10.1.0.5:7070".parse().unwrap(),
        tokens: tokens(),
        tls: Some(Tls::read(folder.path(), now).unwrap()),
    };
    let clock = Arc::new(crate::clock::SystemClock::start());
    let guard = guard::Guard::new(access, clock);
    assert_eq!(
        guard.set_cookie("x", Duration::from_secs(60)),
        "__Host-gridrig-7070=x; Path=/; HttpOnly; Secure; SameSite=Strict; Max-Age=60"
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_is_signed_in_stays_so_for_a_working_day() {
    let server = server_with_roles(false).await;
    let answer = whole(&server, "POST", "/login", "", &format!("token={OBSERVE}")).await;
    let cookie = field(&answer, "set-cookie").split(';').next().unwrap();
    let cookie = format!("Cookie: {cookie}\r\n");
    for (hours, status) in [(11, "200"), (2, "401")] {
        tokio::time::advance(Duration::from_secs(hours * 3600)).await;
        let answer = whole(&server, "GET", "/api/v1/state", &cookie, "").await;
        assert_eq!(status_of(&answer), status);
    }
}

#[tokio::test]
async fn a_token_of_a_bidder_orders_for_its_participant_and_does_nothing_else() {
    const MINE: &str = r#"{"participant":"plug1"}"#;
    const OTHER: &str = r#"{"participant":"plug2","side":"buy","steps":[]}"#;
    for (method, path, body, expected, code) in [
        // Understood to here: what is wrong with it is that it is no order.
        ("POST", "/api/v1/market/orders", MINE, 400, "bad_json"),
        (
            "POST",
            "/api/v1/market/orders",
            OTHER,
            403,
            "another_participant",
        ),
        ("GET", "/api/v1/market", "", 200, ""),
        (
            "POST",
            "/api/v1/mode",
            r#"{"mode":"island"}"#,
            403,
            "role_too_low",
        ),
        ("POST", "/api/v1/lock/take", "", 403, "role_too_low"),
        ("POST", "/api/v1/arm", "", 403, "role_too_low"),
        ("POST", "/api/v1/safe", "", 202, ""),
    ] {
        let server = server_with_roles(false).await;
        let (status, answer) = ask(&server, method, path, &bearer(BID), body).await;
        assert_eq!(status, expected, "{method} {path}: {answer}");
        assert!(answer.contains(code), "{answer}");
    }
    let server = server_with_roles(false).await;
    let observes = bearer(OBSERVE);
    let (status, _) = ask(&server, "POST", "/api/v1/market/orders", &observes, MINE).await;
    assert_eq!(status, 403);
}
