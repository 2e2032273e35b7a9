//! The record and the database of a run: torn files, full and hanging disks.

use std::io::Write;
use std::sync::mpsc as std_mpsc;

use super::*;

#[test]
fn the_store_gives_back_what_it_was_given() {
    for pace in [Pace::Real, Pace::Virtual] {
        let dir = tempfile::tempdir().unwrap();
        let telemetry = Telemetry::start(
            dir.path(),
            devices(),
            Servers::default(),
            pace,
            &RunAbout::default(),
        )
        .unwrap();
        telemetry.samples(
            utc(2.0),
            at(2.0),
            &[
                watts(0, 1.75, -1500.0625),
                sample(1, Point::Frequency, 2.0, Reading::Good(49.987_654_321)),
                sample(
                    0,
                    Point::StateOfCharge,
                    1.5,
                    Reading::Bad(Flaw::Exception(2)),
                ),
                sample(0, Point::ReactivePower, 1.5, Reading::Good(f64::NAN)),
            ],
        );
        let report = telemetry.finish(Duration::from_secs(5));
        assert_eq!(
            (report.written, report.lost, report.store_written),
            (2, 0, 2)
        );
        let rows = read_samples(&dir.path().join(SAMPLES_FILE)).unwrap();
        let row = |utc_s: f64, device: &str, point, value| StoredSample {
            utc_ns: utc(utc_s).unix_nanos(),
            t_s: utc_s,
            device: device.into(),
            point,
            value,
        };
        assert_eq!(
            rows,
            [
                row(1.75, "bat1", Point::ActivePower, Ok(-1500.0625)),
                row(2.0, "plug, \"3\"", Point::Frequency, Ok(49.987_654_321)),
                row(1.5, "bat1", Point::StateOfCharge, Err("exception 2".into())),
                row(
                    1.5,
                    "bat1",
                    Point::ReactivePower,
                    Err("not a number".into())
                ),
            ]
        );
    }
}

#[test]
fn events_are_told_with_names_and_values() {
    let dir = tempfile::tempdir().unwrap();
    let telemetry = Telemetry::start(
        dir.path(),
        devices(),
        Servers::default(),
        Pace::Real,
        &RunAbout::default(),
    )
    .unwrap();
    let shed = Event::LoadShed {
        device: DeviceIx(1),
        why: "47.9 Hz".into(),
    };
    telemetry.event(utc(1.5), at(1.5), &shed);
    assert_eq!(telemetry.finish(Duration::from_secs(5)).events_lost, 0);
    let text = std::fs::read_to_string(dir.path().join(EVENTS_FILE)).unwrap();
    let expected = concat!(
        r#"{"utc":"2026-11-22T10:00:01.500Z","t_s":1.5,"event":"load_shed","level":"warning","#,
        r#""device":"plug, \"3\"","text":"The load was shed: 47.9 Hz.","details":{"why":"47.9 Hz"}}"#,
        "\n"
    );
    assert_eq!(text, expected);
}

#[test]
fn in_virtual_time_the_same_run_makes_the_same_files() {
    let run = || {
        let dir = tempfile::tempdir().unwrap();
        let telemetry = Telemetry::start(
            dir.path(),
            devices(),
            Servers::default(),
            Pace::Virtual,
            &RunAbout::default(),
        )
        .unwrap();
        for n in 0..20_000 {
            let t_s = f64::from(n) / 10.0;
            telemetry.samples(
                utc(t_s),
                at(t_s),
                &[watts(0, t_s, t_s.sin()), watts(1, t_s, 1.0)],
            );
        }
        telemetry.event(utc(1.0), at(1.0), &Event::Armed { armed: true });
        let report = telemetry.finish(Duration::from_secs(5));
        assert_eq!((report.written, report.lost), (40_000, 0));
        [SAMPLES_FILE, EVENTS_FILE].map(|file| std::fs::read(dir.path().join(file)).unwrap())
    };
    assert_eq!(run(), run());
}

/// A file in memory that can be looked at while it is written.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_killed_process_loses_only_what_followed_the_last_flush() {
    let file = Shared::default();
    let counts = Arc::new(Counts::default());
    let mut store = Store::new(
        file.clone(),
        Shared::default(),
        devices().into(),
        Arc::clone(&counts),
    );
    let second = |s: u32| -> Vec<PointSample> {
        (0..100)
            .map(|i| watts(0, f64::from(s) + f64::from(i) / 100.0, f64::from(i).sqrt()))
            .collect()
    };
    for s in 0..10 {
        store.rows(&rows_of(&second(s)));
        store.flush();
    }
    let flushed = file.0.lock().unwrap().len();
    store.rows(&rows_of(&second(10)));
    assert_eq!(Counts::read(&counts.written), 1_000);
    let bytes = file.0.lock().unwrap().clone();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("torn");
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        read_samples(&path).unwrap()
    };
    assert_eq!(read(&bytes[..flushed]).len(), 1_000);
    // Wherever it is torn, what can be read is a prefix of what was written.
    let all: Vec<f64> = read(&bytes[..flushed]).iter().map(|r| r.t_s).collect();
    for cut in (0..flushed).step_by(97) {
        let rows = read(&bytes[..cut]);
        assert!(
            rows.iter()
                .map(|r| r.t_s)
                .eq(all[..rows.len()].iter().copied()),
            "{cut}"
        );
    }
    assert!(read(&bytes[..flushed - 1]).len() >= 900);
}

#[test]
fn a_file_that_is_no_store_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other");
    std::fs::write(&path, zstd::encode_all(&b"a,b\n1,2\n"[..], 1).unwrap()).unwrap();
    assert!(
        matches!(read_samples(&path), Err(StoreError::NotAStore { first_line, .. }) if first_line == "a,b\n")
    );
    let text = "utc_ns,t_s,device,point,value,unit,quality\n1,x,d,ac.p,1,W,good\n";
    std::fs::write(&path, zstd::encode_all(text.as_bytes(), 1).unwrap()).unwrap();
    assert!(matches!(
        read_samples(&path),
        Err(StoreError::Row { row: 1, .. })
    ));
    assert!(matches!(
        read_samples(&dir.path().join("none")),
        Err(StoreError::Open { .. })
    ));
}

#[test]
fn a_full_disk_is_counted_and_never_a_panic() {
    let full = || {
        std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap()
    };
    let counts = Arc::new(Counts::default());
    let mut store = Store::new(full(), full(), devices().into(), Arc::clone(&counts));
    for s in 0..5_u32 {
        store.rows(&rows_of(&[
            watts(0, f64::from(s), 1.0),
            sample(0, Point::ActivePower, 9.0, Reading::Bad(Flaw::Timeout)),
        ]));
        store.event(&happened());
        store.flush();
    }
    store.rows(&rows_of(&[watts(0, 9.0, 1.0)]));
    store.event(&happened());
    store.finish();
    let read = |c: &AtomicU64| Counts::read(c);
    assert_eq!(
        (
            read(&counts.written),
            read(&counts.lost),
            read(&counts.events_lost)
        ),
        (0, 6, 6)
    );
}

#[test]
fn a_run_whose_database_cannot_be_made_keeps_its_record_and_counts_what_the_database_lacks() {
    let dir = tempfile::tempdir().unwrap();
    // A folder in its place: no database can be made.
    std::fs::create_dir(dir.path().join(DATABASE_FILE)).unwrap();
    let telemetry = Telemetry::start(
        dir.path(),
        devices(),
        Servers::default(),
        Pace::Real,
        &RunAbout::default(),
    )
    .unwrap();
    let samples = [
        watts(0, 1.0, 5.0),
        sample(1, Point::ActivePower, 1.0, Reading::Bad(Flaw::Timeout)),
    ];
    telemetry.samples(utc(1.0), at(1.0), &samples);
    telemetry.figures(utc(1.0), at(1.0), vec![Figures::of_cycle(0.25, 1.0)]);
    telemetry.event(utc(1.0), at(1.0), &Event::Armed { armed: true });
    let report = telemetry.finish(Duration::from_secs(5));
    assert_eq!((report.store_written, report.store_lost), (1, 0));
    assert_eq!(report.events_lost, 0);
    assert_eq!(report.database_lost, 2 + 2 + 1);
    assert_eq!(
        read_samples(&dir.path().join(SAMPLES_FILE)).unwrap().len(),
        2
    );
}

#[test]
fn a_hanging_disk_drops_and_counts_but_never_waits() {
    /// A disk that answers only when it is let go; it says that it hangs.
    struct Hanging(std_mpsc::Sender<()>, std_mpsc::Receiver<()>);
    impl Write for Hanging {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.send(());
            let _ = self.1.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (let_go, hang) = std_mpsc::channel();
    let (hangs, hung) = std_mpsc::channel();
    let counts = Arc::new(Counts::default());
    let store = Store::new(
        Hanging(hangs, hang),
        Shared::default(),
        devices().into(),
        Arc::clone(&counts),
    );
    let thread = StoreThread::start(store).unwrap();
    for n in 1..=10_000 {
        // Ten seconds apart: the thread flushes with each, and hangs with the first.
        let rows: Arc<[Row]> = rows_of(&[watts(0, f64::from(n) * 10.0, 1.0)]).into();
        thread.rows(at(f64::from(n) * 10.0), rows, &counts);
        if n == 1 {
            hung.recv().unwrap();
        }
    }
    let lost = Counts::read(&counts.lost);
    assert!((5_000..10_000).contains(&lost), "{lost}");
    // What never reached the thread is missing in its database, too, and so are figures and events.
    assert_eq!(Counts::read(&counts.database_lost), lost);
    thread.figures(
        utc(0.0),
        at(0.0),
        vec![Figures::of_cycle(0.25, 1.0)],
        &counts,
    );
    thread.event(happened(), &counts);
    assert_eq!(Counts::read(&counts.database_lost), lost + 3);
    drop(let_go);
    thread.finish(Duration::from_secs(20));
    assert_eq!(
        Counts::read(&counts.written) + Counts::read(&counts.lost),
        10_000
    );
}
