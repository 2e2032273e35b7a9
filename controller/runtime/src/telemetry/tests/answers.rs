//! Whom we write to, and what each of its answers means.

use std::io::Write;
use std::sync::mpsc as std_mpsc;

use super::server::{SPOOL, WITHIN};
use super::*;

#[test]
fn an_address_that_the_client_library_would_panic_on_is_refused_before() {
    let rows = [
        ("http://127.0.0.1:8086", true),
        ("https://influx.lab-1.example/", true),
        ("http://[::1]:8086", true),
        ("http://localhost", true),
        ("localhost:8086", false),
        ("ftp://localhost", false),
        ("http://", false),
        ("http://:8086", false),
        ("http://localhost:99999", false),
        ("http://localhost:x", false),
        ("http://300.1.1.1", false),
        ("http://1.2.3", false),
        ("http://[::g]", false),
        ("http://a b", false),
        ("http://user@host", false),
        ("http://host/path", false),
        ("http://xn--a", false),
        ("http://a..b", false),
    ];
    for (url, fits) in rows {
        assert_eq!(check_url(url).is_ok(), fits, "{url}");
        if fits {
            // What passes here must not panic there.
            let _ = influxdb2::ClientBuilder::new(url, "o", "t");
        }
    }
}

#[test]
fn an_authority_that_is_none_is_refused_before_the_run_begins() {
    for pem in [
        &b"not a certificate"[..],
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let config = InfluxConfig {
            url: "https://127.0.0.1:8086".into(),
            api: WriteApi::V2,
            org: "lab".into(),
            bucket: "bench".into(),
            token: None,
            ca_pem: Some(pem.to_vec()),
            spool_bytes: SPOOL,
            spool_dir: "unused".into(),
        };
        let made = endpoint::Endpoint::new(&config).map(|_| ());
        assert!(
            matches!(made, Err(TelemetryError::Authority(_))),
            "{made:?}"
        );
    }
}

/// A server that reads a request, answers with these bytes and closes, and does so for the next; it tells the first.
fn answers(bytes: String) -> (String, std_mpsc::Receiver<String>) {
    use std::io::Read;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tx, seen) = std_mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut chunk = [0; 4096];
            while !request.ends_with(b"m a=1 5\n") {
                let many = stream.read(&mut chunk).unwrap();
                assert!(many > 0, "the request ended early");
                request.extend_from_slice(&chunk[..many]);
            }
            stream.write_all(bytes.as_bytes()).unwrap();
            let _ = tx.send(String::from_utf8(request).unwrap());
        }
    });
    (url, seen)
}

/// Writes one line, `again` where the last try was refused; what became of it in a word, the wait that was
/// asked for, and the request.
fn write_one(
    api: WriteApi,
    bucket: &str,
    again: bool,
    bytes: &str,
) -> (&'static str, Option<u64>, String) {
    let (url, seen) = answers(bytes.to_owned());
    let config = InfluxConfig {
        url,
        api,
        org: "lab".into(),
        bucket: bucket.into(),
        token: Some("ann:s:3".into()),
        ca_pem: None,
        spool_bytes: SPOOL,
        spool_dir: "unused".into(),
    };
    let answer = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let endpoint = endpoint::Endpoint::new(&config).unwrap();
            endpoint.write("m a=1 5\n".into(), again).await
        });
    let (word, after) = match answer {
        endpoint::Answer::Done => ("done", None),
        endpoint::Answer::BadLines(..) => ("bad", None),
        endpoint::Answer::NotNow(refusal) => ("not now", refusal.after.map(|a| a.as_secs())),
    };
    (word, after, seen.recv_timeout(WITHIN).unwrap())
}

#[test]
fn each_answer_says_whether_lines_are_stored_bad_or_to_be_sent_again() {
    let page = "<html>Log in first</html>";
    let full = |status: &str, header: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\n{header}content-length: {length}\r\n\r\n{body}")
    };
    // What is sent, what it means to all versions, and the wait that is read.
    let rows = [
        ("HTTP/1.1 204 No Content\r\n\r\n".into(), "done", None),
        (
            full("400 Bad Request", "", "{\"error\":\"field type conflict\"}"),
            "bad",
            None,
        ),
        (full("413 Too Large", "", "{}"), "bad", None),
        (full("422 Unprocessable", "", "{}"), "bad", None),
        (full("401 Unauthorized", "", "{}"), "not now", None),
        (full("404 Not Found", "", "{}"), "not now", None),
        (
            full("429 Too Many", "retry-after: 7\r\n", "{}"),
            "not now",
            Some(7),
        ),
        (
            full("503 Unavailable", "Retry-After: soon\r\n", page),
            "not now",
            None,
        ),
        // The page of a proxy is no receipt; nor is half an answer, or none.
        (full("200 OK", "", page), "not now", None),
        ("HTTP/1.1 503 Unavail".into(), "not now", None),
        (String::new(), "not now", None),
    ];
    for (bytes, word, after) in &rows {
        for (api, again, after) in [
            (WriteApi::V1, false, *after),
            // The client library hides it, so a busy server is asked once more.
            (WriteApi::V2, false, *after),
            (WriteApi::V2, true, *after),
        ] {
            let (said, asked, _) = write_one(api, "bench", again, bytes);
            assert_eq!((said, asked), (*word, after), "{api:?} {again}: {bytes}");
        }
    }
}

#[test]
fn version_1_is_told_database_retention_policy_and_login() {
    // ann:s:3 in base 64: the first colon parts user and password.
    for (bucket, target) in [
        ("bench", "POST /write?precision=ns&db=bench HTTP/1.1"),
        (
            "bench/a week",
            "POST /write?precision=ns&db=bench&rp=a+week HTTP/1.1",
        ),
    ] {
        let (word, _, request) = write_one(
            WriteApi::V1,
            bucket,
            false,
            "HTTP/1.1 204 No Content\r\n\r\n",
        );
        assert_eq!(word, "done");
        assert_eq!(request.lines().next().unwrap(), target);
        assert!(
            request.contains("authorization: Basic YW5uOnM6Mw=="),
            "{request}"
        );
    }
}

#[test]
fn a_pause_is_spread_and_never_shorter_than_the_server_asks() {
    let s = Duration::from_secs;
    let rows = [
        (8, None, 0, s(4)),
        (8, None, u64::MAX, s(8)),
        (8, Some(20), 0, s(20)),
        (8, Some(20), u64::MAX, s(24)),
        (8, Some(1_000_000), 0, s(600)),
    ];
    for (wait, asked, random, expected) in rows {
        let pause = sending::pause(s(wait), asked.map(s), random);
        assert_eq!(pause, expected, "{wait} {asked:?} {random}");
    }
}
