//! What is written is what any window of it shows; kills, foreign files and full disks are told.

use model::{DeviceIx, Flaw, Point, PointSample, Reading, Role, Sample};

use super::*;
use crate::telemetry::past::{Past, PastError, Window};
use crate::telemetry::record::describe;

fn at(seconds: f64) -> Instant {
    Instant::from_nanos((seconds * 1e9).round() as u64)
}

fn utc(seconds: f64) -> UtcTime {
    UtcTime::from_unix_nanos(1_795_341_600_000_000_000 + (seconds * 1e9).round() as i64)
}

fn row(t_s: f64, reading: Reading<f64>) -> Row {
    let sample = Sample {
        measured_at: at(t_s),
        reading,
    };
    let sample = PointSample {
        device: DeviceIx(0),
        point: Point::ActivePower,
        sample,
    };
    Row::of(utc(t_s), at(t_s), sample)
}

fn begin(dir: &Path) -> Database {
    begin_counted(dir, &Arc::default())
}

fn begin_counted(dir: &Path, counts: &Arc<Counts>) -> Database {
    let devices = [NamedDevice {
        name: "bat \"1\"".into(),
        role: Role::Ess,
        bus: "lan1".into(),
    }];
    let mut about = RunAbout::default();
    about.origin.bench = "a bench".into();
    Database::create(dir, devices.into(), &about, Arc::clone(counts))
}

/// Ten seconds at 10 Hz: the power is the time, and the last reading of each second is bad.
fn ten_seconds(database: &mut Database) {
    for tenth in 0..100_u32 {
        let t_s = f64::from(tenth) / 10.0;
        let reading = match tenth % 10 {
            9 => Reading::Bad(Flaw::Timeout),
            _ => Reading::Good(t_s),
        };
        database.rows(&[row(t_s, reading)]);
        if tenth % 10 == 9 {
            database.flush();
        }
    }
}

fn window(from_s: f64, to_s: f64, parts: u32) -> Window {
    Window {
        from_ns: (from_s * 1e9) as i64,
        to_ns: (to_s * 1e9) as i64,
        parts,
    }
}

fn mean(past: &Past, of: Window) -> Vec<Option<f64>> {
    let trace = past.device("bat \"1\"", "ac.p", of).unwrap();
    trace
        .mean
        .iter()
        .map(|v| v.map(|v| (v * 1e6).round() / 1e6))
        .collect()
}

#[test]
fn any_window_is_thinned_to_mean_lowest_and_highest_of_the_good_readings() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = begin(dir.path());
    ten_seconds(&mut database);
    database.finish();
    let past = Past::open(dir.path()).unwrap();
    for (of, means) in [
        // Nine readings a second: the bad one is in no mean.
        (window(0.0, 2.0, 2), vec![Some(0.4), Some(1.4)]),
        (window(0.0, 10.0, 1), vec![Some(4.9)]),
        (window(2.0, 2.3, 3), vec![Some(2.0), Some(2.1), Some(2.2)]),
        // Only the bad one, then past the end.
        (window(2.9, 3.0, 1), vec![None]),
        (window(9.0, 11.0, 2), vec![Some(9.4), None]),
        (window(-1.0, 1.0, 2), vec![None, Some(0.4)]),
        // A window that does not divide keeps its last nanosecond, in which there is a reading.
        (
            Window {
                from_ns: 0,
                to_ns: 600_000_001,
                parts: 3,
            },
            vec![Some(0.1), Some(0.35), Some(0.55)],
        ),
    ] {
        assert_eq!(mean(&past, of), means, "{of:?}");
        assert_eq!(of.middles_s().len(), means.len());
    }
    let second = past
        .device("bat \"1\"", "ac.p", window(1.0, 2.0, 1))
        .unwrap();
    assert_eq!(
        (&second.low[..], &second.high[..]),
        (&[Some(1.0)][..], &[Some(1.8)][..])
    );
    assert_eq!(past.devices().unwrap(), ["bat \"1\""]);
    assert_eq!(past.about("title").unwrap().as_deref(), Some("a bench"));
    assert_eq!(past.about("nothing").unwrap(), None);
    assert_eq!(past.end_ns().unwrap(), Some(9_900_000_000));
    // What nobody said is not known, rather than an error.
    let nobody = past.device("nobody", "ac.p", window(0.0, 1.0, 2)).unwrap();
    assert_eq!(nobody.mean, [None, None]);
}

#[test]
fn the_tables_say_names_units_reasons_and_times_to_any_reader() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = begin(dir.path());
    database.rows(&[
        row(0.5, Reading::Good(-1500.25)),
        row(1.0, Reading::Bad(Flaw::Exception(2))),
        row(1.5, Reading::Good(f64::NAN)),
    ]);
    database.figures(utc(2.0), at(2.0), &[Figures::of_cycle(0.25, f64::NAN)]);
    let shed = model::Event::LoadShed {
        device: DeviceIx(0),
        why: "47.9 Hz".into(),
    };
    let record = describe(&shed, &|_| "bat1".into());
    database.event(
        utc(2.5),
        at(2.5),
        &record,
        &record.json_line(utc(2.5), at(2.5)),
    );
    database.finish();
    let connection = Connection::open(dir.path().join(DATABASE_FILE)).unwrap();
    let mut all = connection
        .prepare("SELECT utc || ' ' || kind || ' ' || name || ' ' || point || ' ' || coalesce(value, '-') || ' ' || unit || ' ' || quality FROM samples ORDER BY t_s")
        .unwrap();
    let rows: Vec<String> = all
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(
        rows,
        [
            "2026-11-22T10:00:00.500Z device bat \"1\" ac.p -1500.25 W good",
            "2026-11-22T10:00:01.000Z device bat \"1\" ac.p - W exception 2",
            "2026-11-22T10:00:01.500Z device bat \"1\" ac.p - W not a number",
            "2026-11-22T10:00:02.000Z cycle  late_ms 0.25  good",
        ]
    );
    let told: String = connection
        .query_row(
            "SELECT kind || ' ' || device || ': ' || text FROM happenings",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert!(
        told.starts_with("load_shed bat1: ") && told.contains("47.9 Hz"),
        "{told}"
    );
    // The run has ended: it is one file, as a folder that cannot be written needs it.
    let names: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, [DATABASE_FILE]);
}

#[test]
fn a_killed_process_loses_only_what_followed_the_last_second() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = begin(dir.path());
    ten_seconds(&mut database);
    database.rows(&[row(10.0, Reading::Good(10.0))]);
    // What is on the disk now is what a killed process leaves behind; a lost machine loses the shared memory.
    for (left, files) in [
        ("killed", vec!["", "-wal", "-shm"]),
        ("lost", vec!["", "-wal"]),
    ] {
        let copy = dir.path().join(left);
        std::fs::create_dir(&copy).unwrap();
        for file in files {
            let name = format!("{DATABASE_FILE}{file}");
            std::fs::copy(dir.path().join(&name), copy.join(&name)).unwrap();
        }
        let past = Past::open(&copy).unwrap();
        assert_eq!(past.end_ns().unwrap(), Some(9_900_000_000), "{left}");
        assert_eq!(mean(&past, window(9.0, 10.0, 1)), [Some(9.4)], "{left}");
    }
    // And a reader sees the same beside the writer, who goes on.
    let past = Past::open(dir.path()).unwrap();
    assert_eq!(past.end_ns().unwrap(), Some(9_900_000_000));
    database.flush();
    assert_eq!(past.end_ns().unwrap(), Some(10_000_000_000));
}

#[test]
fn a_file_that_is_no_database_of_a_run_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        Past::open(dir.path()),
        Err(PastError::Unreadable { .. })
    ));
    let path = dir.path().join(DATABASE_FILE);
    std::fs::write(
        &path,
        "this is a text and not a database, and it is long enough to be read",
    )
    .unwrap();
    assert!(matches!(
        Past::open(dir.path()),
        Err(PastError::Unreadable { .. })
    ));
    std::fs::remove_file(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(matches!(
        Past::open(dir.path()),
        Err(PastError::Foreign { .. })
    ));
}

fn lost(counts: &Counts) -> u64 {
    Counts::read(&counts.database_lost)
}

fn rows_in_file(dir: &Path) -> u64 {
    let connection = Connection::open(dir.join(DATABASE_FILE)).unwrap();
    let count = "SELECT (SELECT count(*) FROM sample) + (SELECT count(*) FROM event)";
    let rows: i64 = connection.query_row(count, [], |row| row.get(0)).unwrap();
    rows as u64
}

#[test]
fn a_disk_that_takes_no_more_ends_the_database_and_each_row_that_it_lacks_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let counts = Arc::default();
    let mut database = begin_counted(dir.path(), &counts);
    ten_seconds(&mut database);
    // As a full disk does: not one page more.
    let connection = database.connection.as_ref().unwrap();
    let pages: i64 = connection
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .unwrap();
    connection
        .pragma_update(None, "max_page_count", pages)
        .unwrap();
    for n in 0..1_000_u32 {
        database.rows(&[row(10.0 + f64::from(n) / 10.0, Reading::Good(1.0))]);
    }
    assert!(database.connection.is_none());
    // Everything that comes later is let go and counted, without a word more.
    database.rows(&[
        row(500.0, Reading::Good(1.0)),
        row(501.0, Reading::Bad(Flaw::Timeout)),
    ]);
    database.figures(utc(501.0), at(501.0), &[Figures::of_cycle(0.25, f64::NAN)]);
    let armed = describe(&model::Event::Armed { armed: true }, &|_| String::new());
    database.event(utc(501.0), at(501.0), &armed, "{}");
    database.flush();
    database.finish();
    assert_eq!(lost(&counts) + rows_in_file(dir.path()), 100 + 1_000 + 4);
    assert!(lost(&counts) > 4, "{}", lost(&counts));
    let past = Past::open(dir.path()).unwrap();
    assert_eq!(mean(&past, window(0.0, 10.0, 1)), [Some(4.9)]);
    assert!(past.end_ns().unwrap().unwrap() < 110_000_000_000);
    // A folder that is not there is told, too, and costs nothing.
    let counts = Arc::default();
    let mut none = begin_counted(&dir.path().join("none"), &counts);
    none.rows(&[row(0.0, Reading::Good(1.0))]);
    none.finish();
    assert_eq!(lost(&counts), 1);
}

#[test]
fn a_second_that_cannot_be_synced_is_counted_whole() {
    let dir = tempfile::tempdir().unwrap();
    let counts = Arc::default();
    let mut database = begin_counted(dir.path(), &counts);
    ten_seconds(&mut database);
    assert_eq!(lost(&counts), 0);
    // The end of the transaction fails: a row of a series that is not there, found out at its end.
    let connection = database.connection.as_ref().unwrap();
    connection
        .pragma_update(None, "foreign_keys", true)
        .unwrap();
    database.rows(&[row(10.0, Reading::Good(1.0))]);
    let connection = database.connection.as_ref().unwrap();
    connection
        .pragma_update(None, "defer_foreign_keys", true)
        .unwrap();
    for id in database.series.values_mut() {
        *id = 999;
    }
    database.rows(&[row(10.1, Reading::Good(1.0)), row(10.2, Reading::Good(1.0))]);
    assert!(database.connection.is_some(), "it has not noticed yet");
    database.flush();
    database.finish();
    assert_eq!((lost(&counts), rows_in_file(dir.path())), (3, 100));
}
