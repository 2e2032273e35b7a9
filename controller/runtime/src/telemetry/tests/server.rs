//! A strict server: it gets every value once, in order, and nobody waits for it.

use std::collections::VecDeque;
use std::sync::mpsc as std_mpsc;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};

use super::*;

/// A strict server: checks rights and parameters, refuses malformed batches as a whole, and fails as scripted.
pub(super) struct Server {
    pub(super) url: String,
    pub(super) bodies: std_mpsc::Receiver<String>,
    pub(super) requests: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Desk {
    script: Arc<Mutex<VecDeque<u16>>>,
    pub(super) bodies: std_mpsc::Sender<String>,
    requests: Arc<AtomicU64>,
}

async fn write(
    State(desk): State<Desk>,
    Query(query): Query<std::collections::BTreeMap<String, String>>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, &'static str) {
    desk.requests.fetch_add(1, Ordering::Relaxed);
    let scripted = desk.script.lock().unwrap().pop_front();
    match scripted {
        // The connection breaks without an answer, as when the server is killed.
        Some(GONE) => std::panic::resume_unwind(Box::new(())),
        Some(204) | None => {}
        Some(status) => return (StatusCode::from_u16(status).unwrap(), "scripted"),
    }
    if headers
        .get("authorization")
        .is_none_or(|a| a != "Token t0k3n")
    {
        return (StatusCode::UNAUTHORIZED, "unauthorized access");
    }
    let parameter = |key: &str| query.get(key).map_or("", String::as_str).to_owned();
    if [
        parameter("org"),
        parameter("bucket"),
        parameter("precision"),
    ] != ["lab", "bench", "ns"]
    {
        return (StatusCode::NOT_FOUND, "no such bucket");
    }
    if body.lines().count() > 5_000 {
        return (StatusCode::PAYLOAD_TOO_LARGE, "too many lines");
    }
    // The device `bad1` stands for whatever this server cannot read.
    if body.is_empty()
        || body
            .lines()
            .any(|l| l.contains("bad1") || l.split(' ').count() < 3)
    {
        return (StatusCode::BAD_REQUEST, "unable to parse");
    }
    if body.lines().any(|line| line.contains("bat_soc=")) {
        let conflict = r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: field type conflict: input field \"bat_soc\" on measurement \"ess\" is type float, already exists as type integer dropped=1"}"#;
        return (StatusCode::UNPROCESSABLE_ENTITY, conflict);
    }
    desk.bodies.send(body).unwrap();
    (StatusCode::NO_CONTENT, "")
}

/// In a script: no answer.
pub(super) const GONE: u16 = 0;

/// A server on its own thread that first answers as scripted; 204 is its own answer.
pub(super) fn server(script: &[u16]) -> Server {
    let (tx, bodies) = std_mpsc::channel();
    let requests = Arc::new(AtomicU64::new(0));
    let desk = Desk {
        script: Arc::new(Mutex::new(script.iter().copied().collect())),
        bodies: tx,
        requests: Arc::clone(&requests),
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let app = axum::Router::new()
                    .route("/api/v2/write", axum::routing::post(write))
                    .with_state(desk);
                axum::serve(listener, app).await.unwrap();
            });
    });
    Server {
        url,
        bodies,
        requests,
    }
}

impl Server {
    /// The lines that were accepted so far, in order.
    pub(super) fn lines(&self) -> Vec<String> {
        self.bodies
            .try_iter()
            .flat_map(|b| b.lines().map(String::from).collect::<Vec<_>>())
            .collect()
    }
}

/// An address where nobody listens.
pub(super) fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

pub(super) fn start(dir: &Path, url: &str, spool_bytes: u64, pace: Pace) -> Telemetry {
    let config = InfluxConfig {
        url: url.into(),
        api: WriteApi::V2,
        org: "lab".into(),
        bucket: "bench".into(),
        token: Some("t0k3n".into()),
        ca_pem: None,
        spool_bytes,
        spool_dir: dir.join("spool"),
    };
    let servers = Servers {
        influx: Some(config),
        home_assistant: None,
    };
    Telemetry::start(dir, devices(), servers, pace, &RunAbout::default()).unwrap()
}

/// Sends one value per second from one time to another: each makes a batch, as control time passes.
pub(super) fn send(telemetry: &Telemetry, from: u32, until: u32) {
    for s in from..until {
        let t_s = f64::from(s);
        telemetry.samples(utc(t_s), at(t_s), &[watts(0, t_s, t_s)]);
    }
}

pub(super) fn values(lines: &[String]) -> Vec<u32> {
    lines
        .iter()
        .map(|l| {
            l.split("ac_p=")
                .nth(1)
                .unwrap()
                .split(' ')
                .next()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect()
}

pub(super) const SPOOL: u64 = 1 << 20;
pub(super) const WITHIN: Duration = Duration::from_secs(10);

#[test]
fn the_server_acknowledges_every_value() {
    for pace in [Pace::Real, Pace::Virtual] {
        let (dir, server) = (tempfile::tempdir().unwrap(), server(&[]));
        let telemetry = start(dir.path(), &server.url, SPOOL, pace);
        send(&telemetry, 0, 50);
        telemetry.event(utc(50.0), at(50.0), &Event::Armed { armed: true });
        let report = telemetry.finish(WITHIN);
        assert_eq!(
            (
                report.written,
                report.lost,
                report.waiting,
                report.store_written
            ),
            (51, 0, 0, 50)
        );
        let lines = server.lines();
        assert_eq!(values(&lines[..50]), (0..50).collect::<Vec<_>>());
        assert!(lines[50].starts_with("event,kind=armed "));
    }
}

#[test]
fn a_large_burst_goes_in_batches_of_five_thousand() {
    let (dir, server) = (tempfile::tempdir().unwrap(), server(&[]));
    let telemetry = start(dir.path(), &server.url, SPOOL, Pace::Virtual);
    send(&telemetry, 0, 12_000);
    let report = telemetry.finish(WITHIN);
    assert_eq!((report.written, report.lost), (12_000, 0));
    assert_eq!(values(&server.lines()), (0..12_000).collect::<Vec<_>>());
    assert!(server.requests.load(Ordering::Relaxed) >= 3);
}

#[test]
fn a_bad_line_is_isolated_and_the_others_arrive() {
    let (dir, server) = (tempfile::tempdir().unwrap(), server(&[]));
    let telemetry = start(dir.path(), &server.url, SPOOL, Pace::Virtual);
    send(&telemetry, 0, 40);
    telemetry.samples(
        utc(40.0),
        at(40.0),
        &[watts(2, 40.0, 1.0), watts(0, 40.0, 40.0)],
    );
    send(&telemetry, 41, 60);
    let report = telemetry.finish(WITHIN);
    assert_eq!((report.written, report.lost, report.waiting), (60, 1, 0));
    assert_eq!(values(&server.lines()), (0..60).collect::<Vec<_>>());
}

#[test]
fn a_field_that_the_server_has_as_another_type_is_lost_alone() {
    let (dir, server) = (tempfile::tempdir().unwrap(), server(&[]));
    let telemetry = start(dir.path(), &server.url, SPOOL, Pace::Virtual);
    for s in 0..200 {
        let t_s = f64::from(s);
        // The server has `soc` as an integer: in more lines than it would be asked about one by one.
        let soc = sample(0, Point::StateOfCharge, t_s, Reading::Good(0.5));
        telemetry.samples(utc(t_s), at(t_s), &[watts(0, t_s, t_s), soc]);
    }
    let report = telemetry.finish(WITHIN);
    assert_eq!((report.written, report.lost, report.waiting), (200, 200, 0));
    let lines = server.lines();
    assert_eq!(values(&lines), (0..200).collect::<Vec<_>>());
    assert!(lines.iter().all(|line| !line.contains("soc")), "{lines:?}");
    let requests = server.requests.load(Ordering::Relaxed);
    assert!(requests < 20, "{requests}");
}

#[test]
fn a_server_that_refuses_everything_is_not_flooded() {
    let (dir, server) = (tempfile::tempdir().unwrap(), server(&[400; 5_000]));
    let telemetry = start(dir.path(), &server.url, SPOOL, Pace::Virtual);
    send(&telemetry, 0, 4_000);
    let report = telemetry.finish(WITHIN);
    assert_eq!((report.written, report.lost, report.waiting), (0, 4_000, 0));
    let requests = server.requests.load(Ordering::Relaxed);
    assert!(requests < 500, "{requests}");
}

#[test]
fn a_busy_server_gets_everything_in_order_when_it_is_ready() {
    for status in [429, 500, 503, 401, 404] {
        let (dir, server) = (tempfile::tempdir().unwrap(), server(&[status]));
        let telemetry = start(dir.path(), &server.url, SPOOL, Pace::Real);
        send(&telemetry, 0, 5);
        // The first batch is refused, and tried again by itself after half a second.
        let first = server.bodies.recv_timeout(WITHIN).unwrap();
        assert!(first.contains("ac_p=0"), "{status} {first}");
        send(&telemetry, 5, 8);
        let report = telemetry.finish(WITHIN);
        assert_eq!(
            (report.written, report.lost, report.waiting),
            (8, 0, 0),
            "{status}"
        );
        let mut lines: Vec<String> = first.lines().map(String::from).collect();
        lines.extend(server.lines());
        assert_eq!(values(&lines), (0..8).collect::<Vec<_>>(), "{status}");
    }
}

#[test]
fn what_an_absent_server_missed_is_kept_for_the_next_run() {
    let dir = tempfile::tempdir().unwrap();
    let telemetry = start(dir.path(), &nobody(), SPOOL, Pace::Real);
    send(&telemetry, 0, 10);
    let report = telemetry.finish(WITHIN);
    assert_eq!(
        (
            report.written,
            report.lost,
            report.waiting,
            report.store_written
        ),
        (0, 0, 10, 10)
    );
    let server = server(&[]);
    let telemetry = start(dir.path(), &server.url, SPOOL, Pace::Real);
    send(&telemetry, 10, 12);
    let report = telemetry.finish(WITHIN);
    assert_eq!((report.written, report.lost, report.waiting), (12, 0, 0));
    assert_eq!(values(&server.lines()), (0..12).collect::<Vec<_>>());
    assert!(!dir.path().join("spool").exists());
}

/// More calls than the queue to the server has places: were one of them to wait for it, this test would not end.
#[test]
fn a_server_that_has_the_connection_and_says_nothing_keeps_nobody_waiting() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let telemetry = start(dir.path(), &url, 1 << 30, Pace::Real);
    send(&telemetry, 0, 3);
    // The kernel has accepted the connection and the request; nobody will ever read it.
    let report = || telemetry.report();
    while report().spooled < 3 {
        std::thread::yield_now();
    }
    send(&telemetry, 3, 10_000);
    let told = report();
    assert_eq!((told.written, told.waiting + told.lost), (0, 10_000));
    drop(listener);
    let _ = telemetry.finish(Duration::ZERO);
}

#[test]
fn a_spool_that_cannot_be_written_is_counted_as_lost() {
    let dir = tempfile::tempdir().unwrap();
    // A file stands where the folder should be.
    std::fs::write(dir.path().join("spool"), "").unwrap();
    let telemetry = start(dir.path(), &nobody(), SPOOL, Pace::Real);
    send(&telemetry, 0, 10);
    let report = telemetry.finish(WITHIN);
    assert_eq!((report.written, report.lost, report.waiting), (0, 10, 0));
}

#[test]
fn a_server_that_never_answers_does_not_hold_up_the_end() {
    // It accepts connections by its backlog and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let telemetry = start(dir.path(), &url, SPOOL, Pace::Virtual);
    send(&telemetry, 0, 10);
    let report = telemetry.finish(Duration::from_millis(200));
    assert_eq!((report.written, report.lost, report.waiting), (0, 0, 10));
    let left = spool::Spool::open(dir.path().join("spool"), SPOOL, "here");
    assert_eq!(
        left.values(),
        10,
        "the batch waits on disk for the next run"
    );
}

#[test]
fn events_of_one_moment_do_not_replace_each_other_on_the_server() {
    let (dir, server) = (tempfile::tempdir().unwrap(), server(&[]));
    let telemetry = start(dir.path(), &server.url, SPOOL, Pace::Virtual);
    for second in [7.0, 7.0, 7.0, 8.0] {
        telemetry.event(utc(second), at(second), &Event::Armed { armed: true });
    }
    assert_eq!(telemetry.finish(WITHIN).written, 4);
    let lines = server.lines();
    let ns: Vec<i64> = lines
        .iter()
        .map(|l| l.rsplit(' ').next().unwrap().parse().unwrap())
        .collect();
    let (seven, eight) = (utc(7.0).unix_nanos(), utc(8.0).unix_nanos());
    assert_eq!(ns, [seven, seven + 1, seven + 2, eight]);
}
