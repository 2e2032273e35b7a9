//! Servers that are slow, refuse or go, a full disk, and a clock that steps.

use super::server::*;
use super::*;

/// The numbers that are in the files of the spool, in order.
fn on_disk(dir: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir(dir.join("spool"));
    let mut paths: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "lines"))
        .collect();
    paths.sort();
    let text: String = paths
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap_or_default())
        .collect();
    values(&text.lines().map(String::from).collect::<Vec<_>>())
}

#[test]
fn a_server_that_is_slow_to_answer_keeps_nothing_from_the_disk() {
    // It accepts connections by its backlog and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let telemetry = start(dir.path(), &url, SPOOL, Pace::Real);
    send(&telemetry, 0, 50);
    let began = std::time::Instant::now();
    let all: Vec<u32> = (0..50).collect();
    while on_disk(dir.path()) != all {
        assert!(began.elapsed() < WITHIN, "{:?}", on_disk(dir.path()));
        std::thread::yield_now();
    }
    // Killed now, the process leaves all of it, what its batch under way holds included.
    assert!(
        began.elapsed() < endpoint::ANSWER_WAIT,
        "before any answer was due"
    );
    let report = telemetry.finish(Duration::ZERO);
    assert_eq!((report.written, report.lost, report.waiting), (0, 0, 50));
}

#[test]
fn what_a_server_acknowledged_before_it_was_gone_is_sent_again_and_counted_once() {
    let (dir, server) = (tempfile::tempdir().unwrap(), server(&[204, GONE]));
    let telemetry = start(dir.path(), &server.url, SPOOL, Pace::Real);
    send(&telemetry, 0, 2);
    let first = server.bodies.recv_timeout(WITHIN).unwrap();
    send(&telemetry, 2, 4);
    let again = server.bodies.recv_timeout(WITHIN).unwrap();
    assert_eq!(again, first);
    let report = telemetry.finish(WITHIN);
    assert_eq!((report.written, report.lost, report.waiting), (4, 0, 0));
    assert_eq!(values(&server.lines()), [2, 3]);
    assert!(!dir.path().join("spool").exists());
}

#[test]
fn a_server_that_refuses_has_what_it_acknowledged_and_gets_it_once() {
    let (dir, server) = (tempfile::tempdir().unwrap(), server(&[204, 503]));
    let telemetry = start(dir.path(), &server.url, SPOOL, Pace::Real);
    send(&telemetry, 0, 2);
    let first = server.bodies.recv_timeout(WITHIN).unwrap();
    assert_eq!(first.lines().count(), 2);
    send(&telemetry, 2, 4);
    let report = telemetry.finish(WITHIN);
    assert_eq!((report.written, report.lost, report.waiting), (4, 0, 0));
    assert_eq!(values(&server.lines()), [2, 3]);
}

#[test]
fn a_full_disk_stops_nothing_that_the_server_takes() {
    let (dir, server) = (tempfile::tempdir().unwrap(), server(&[]));
    // A file stands where the folder should be.
    std::fs::write(dir.path().join("spool"), "").unwrap();
    let telemetry = start(dir.path(), &server.url, SPOOL, Pace::Virtual);
    send(&telemetry, 0, 50);
    let report = telemetry.finish(WITHIN);
    assert_eq!((report.written, report.lost, report.waiting), (50, 0, 0));
    assert_eq!(values(&server.lines()), (0..50).collect::<Vec<_>>());
}

#[test]
fn a_wall_clock_that_steps_changes_the_times_of_what_follows_and_loses_nothing() {
    let (dir, server) = (tempfile::tempdir().unwrap(), server(&[]));
    let telemetry = start(dir.path(), &server.url, SPOOL, Pace::Real);
    // An hour back, then two forward: control goes on by its own time.
    let walls = [0.0, 1.0, -3598.0, -3597.0, 3604.0];
    for (s, wall) in walls.into_iter().enumerate() {
        let now = at(s as f64);
        telemetry.samples(utc(wall), now, &[watts(0, s as f64, s as f64)]);
        telemetry.event(utc(wall), now, &Event::ClockStepped { by_s: wall });
    }
    let report = telemetry.finish(WITHIN);
    assert_eq!((report.written, report.lost, report.waiting), (10, 0, 0));
    let told = server.lines();
    let of = |measurement: &str| -> Vec<i64> {
        let lines = told.iter().filter(|l| l.starts_with(measurement));
        lines
            .map(|l| l.rsplit(' ').next().unwrap().parse().unwrap())
            .collect()
    };
    let expected = walls.map(|wall| utc(wall).unix_nanos());
    assert_eq!(of("ess"), expected);
    assert_eq!(of("event"), expected);
}
