//! The sinks against a strict server of our own, torn files and full disks.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::mpsc as std_mpsc;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use model::{DeviceIx, Flaw, Mode, Point, Reading, Sample};

use super::line::{Labels, Lines, event_lines, sample_lines, values_of};
use super::*;

fn at(seconds: f64) -> Instant {
    Instant::from_nanos((seconds * 1e9).round() as u64)
}

/// 2026-11-22T10:00:00 UTC, and so many seconds more.
fn utc(seconds: f64) -> UtcTime {
    UtcTime::from_unix_nanos(1_795_341_600_000_000_000 + (seconds * 1e9).round() as i64)
}

fn devices() -> Vec<NamedDevice> {
    [
        ("bat1", Role::Ess),
        ("plug, \"3\"", Role::Load),
        ("bad1", Role::Meter),
    ]
    .map(|(name, role)| NamedDevice {
        name: name.into(),
        role,
        bus: "lan 1".into(),
    })
    .into()
}

fn sample(device: u16, point: Point, t_s: f64, reading: Reading<f64>) -> PointSample {
    PointSample {
        device: DeviceIx(device),
        point,
        sample: Sample {
            measured_at: at(t_s),
            reading,
        },
    }
}

fn watts(device: u16, t_s: f64, value: f64) -> PointSample {
    sample(device, Point::ActivePower, t_s, Reading::Good(value))
}

// The embedded store.

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

fn happened_event() -> Event {
    Event::LoadShed {
        device: DeviceIx(1),
        why: "47.9 Hz".into(),
    }
}

fn happened() -> ToldEvent {
    ToldEvent {
        utc: utc(0.0),
        now: at(0.0),
        record: describe(&happened_event(), &|_| "plug".into()),
    }
}

fn rows_of(samples: &[PointSample]) -> Vec<Row> {
    samples
        .iter()
        .map(|s| Row::of(utc(0.0), at(0.0), *s))
        .collect()
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

// The line protocol.

#[test]
fn lines_are_named_as_the_dashboards_expect() {
    let rows: &[(&[PointSample], &[&str])] = &[
        (
            &[watts(0, 1.0, 2.5)],
            &["ess,bus=lan\\ 1,device=bat1,quality=good,role=ess ac_p=2.5 1795341601000000000"],
        ),
        (
            &[
                watts(0, 1.0, -1e3),
                sample(0, Point::VoltageL1, 1.0, Reading::Good(230.1)),
                watts(0, 2.0, 3.0),
            ],
            &[
                "ess,bus=lan\\ 1,device=bat1,quality=good,role=ess ac_p=-1000,ac_v_l1=230.1 1795341601000000000",
                "ess,bus=lan\\ 1,device=bat1,quality=good,role=ess ac_p=3 1795341602000000000",
            ],
        ),
        (
            &[sample(1, Point::SwitchOn, 0.0, Reading::Good(1.0))],
            &[
                "load,bus=lan\\ 1,device=plug\\,\\ \"3\",quality=good,role=load switch_on=1 1795341600000000000",
            ],
        ),
        // What is not a good number is no value, and says why.
        (
            &[
                watts(0, 0.0, f64::NAN),
                sample(0, Point::Frequency, 0.0, Reading::Good(50.0)),
                sample(0, Point::ReactivePower, 0.0, Reading::Good(f64::INFINITY)),
                sample(
                    0,
                    Point::StateOfCharge,
                    0.0,
                    Reading::Bad(Flaw::Exception(2)),
                ),
            ],
            &[
                "ess,bus=lan\\ 1,device=bat1,quality=not\\ a\\ number,role=ess ac_p_bad=1,ac_q_bad=1 1795341600000000000",
                "ess,bus=lan\\ 1,device=bat1,quality=good,role=ess ac_f=50 1795341600000000000",
                "ess,bus=lan\\ 1,device=bat1,quality=exception\\ 2,role=ess bat_soc_bad=1 1795341600000000000",
            ],
        ),
        (&[watts(77, 0.0, 1.0)], &[]),
    ];
    for (samples, expected) in rows {
        let lines = sample_lines(
            &Labels::new(&Origin::default(), &devices()),
            &rows_of(samples),
        );
        let texts: Vec<&str> = lines.text.lines().collect();
        assert_eq!(texts, *expected);
        assert_eq!(lines.values, values_of(&lines.text));
    }
}

#[test]
fn values_are_counted_in_the_text_whatever_its_names_and_strings_hold() {
    let nasty = r#"a b,c=d "e" \ \, \  é"#;
    let origin = Origin {
        site: nasty.into(),
        bench: format!("{nasty}\n"),
        run: "\\".into(),
    };
    let mut named = devices();
    for device in &mut named {
        device.name = nasty.into();
        device.bus = format!("{nasty} {nasty}");
    }
    let labels = Labels::new(&origin, &named);
    let rows = rows_of(&[
        watts(0, 1.0, 2.5),
        sample(0, Point::Frequency, 1.0, Reading::Good(50.0)),
        sample(
            0,
            Point::StateOfCharge,
            1.0,
            Reading::Bad(Flaw::Exception(2)),
        ),
        watts(1, 1.0, -1e-300),
    ]);
    let samples = sample_lines(&labels, &rows);
    assert_eq!((samples.values, values_of(&samples.text)), (4, 4));
    assert_eq!(samples.text.lines().count(), 3);
    let event = Event::LoadShed {
        device: DeviceIx(1),
        why: format!("{nasty}, \"1,2,3\" = {nasty}"),
    };
    let told = describe(&event, &|_| nasty.into());
    let event = event_lines(&labels, utc(0.0), &told);
    assert_eq!((event.values, values_of(&event.text)), (1, 1));
    let mut figures = Lines::default();
    Figures::of_cycle(0.5, 1.0).push_line(&mut figures, &labels, utc(0.0));
    assert_eq!((figures.values, values_of(&figures.text)), (2, 2));
    // A backslash never stands before one that escapes, since servers read two in different ways.
    let texts = [samples.text, figures.text].concat();
    for two in [r"\\,", r"\\=", r"\\ "] {
        assert!(!texts.contains(two), "{two} in {texts}");
    }
}

#[test]
fn every_line_says_which_site_bench_and_run_it_is_of() {
    let origin = Origin {
        site: "north hall".into(),
        bench: "Campus, 400 V".into(),
        run: "20261122T100000Z-run-1".into(),
    };
    let of = r"bench=Campus\,\ 400\ V,run=20261122T100000Z-run-1,site=north\ hall";
    let labels = Labels::new(&origin, &devices());
    let record = describe(&happened_event(), &|_| "plug".into());
    let mut lines = sample_lines(&labels, &rows_of(&[watts(0, 0.0, 1.0)]));
    lines.text += &event_lines(&labels, utc(0.0), &record).text;
    Figures::of_cycle(0.5, 1.0).push_line(&mut lines, &labels, utc(0.0));
    let texts = lines.text.lines();
    let heads: Vec<&str> = texts.map(|t| t.split_once(of).expect(t).0).collect();
    assert_eq!(
        heads,
        [
            r"ess,bus=lan\ 1,device=bat1,quality=good,role=ess,",
            "event,device=plug,kind=load_shed,",
            "cycle,",
        ]
    );
}

#[test]
fn every_point_has_its_own_field() {
    let mut names: Vec<String> = Point::ALL.iter().map(|p| field_name(*p)).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), Point::ALL.len());
    assert!(
        names
            .iter()
            .all(|n| n.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
    );
}

#[test]
fn events_become_lines_whatever_their_text_holds() {
    let changed = Event::ModeChanged {
        from: Mode::Islanded,
        to: Mode::Safe,
        why: "a \"quoted\" back\\slash,\nnew line = 1".into(),
    };
    let cleared = Event::MarketCleared {
        interval: 3,
        price_mc_per_kwh: None,
        energy_mwh: 1_500,
        trades: 2,
    };
    let shed = Event::LoadRestored {
        device: DeviceIx(1),
    };
    let rows: &[(&Event, &[&str])] = &[
        (
            &changed,
            &[
                r#"event,kind=mode_changed text="Mode changed from islanded to safe: a \"quoted\" back\\slash, new line = 1." 1795341600000000000"#,
            ],
        ),
        (
            &cleared,
            &[
                r#"event,kind=market_cleared text="Interval 3 cleared nothing." 1795341600000000000"#,
                "market energy_mwh=1500,trades=2 1795341600000000000",
            ],
        ),
        (
            &shed,
            &[
                r#"event,device=a\ b\=c\_,kind=load_restored text="The load was given back." 1795341600000000000"#,
            ],
        ),
    ];
    for (event, expected) in rows {
        let record = describe(event, &|_| "a b=c\\".into());
        let lines = event_lines(&Labels::new(&Origin::default(), &[]), utc(0.0), &record);
        let texts: Vec<&str> = lines.text.lines().collect();
        assert_eq!(texts, *expected);
    }
}

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

// The server.

/// A strict server: checks rights and parameters, refuses malformed batches as a whole, and fails as scripted.
struct Server {
    url: String,
    bodies: std_mpsc::Receiver<String>,
    requests: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Desk {
    script: Arc<Mutex<VecDeque<u16>>>,
    bodies: std_mpsc::Sender<String>,
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
const GONE: u16 = 0;

/// A server on its own thread that first answers as scripted; 204 is its own answer.
fn server(script: &[u16]) -> Server {
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
    fn lines(&self) -> Vec<String> {
        self.bodies
            .try_iter()
            .flat_map(|b| b.lines().map(String::from).collect::<Vec<_>>())
            .collect()
    }
}

/// An address where nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn start(dir: &Path, url: &str, spool_bytes: u64, pace: Pace) -> Telemetry {
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
fn send(telemetry: &Telemetry, from: u32, until: u32) {
    for s in from..until {
        let t_s = f64::from(s);
        telemetry.samples(utc(t_s), at(t_s), &[watts(0, t_s, t_s)]);
    }
}

fn values(lines: &[String]) -> Vec<u32> {
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

const SPOOL: u64 = 1 << 20;
const WITHIN: Duration = Duration::from_secs(10);

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

// Bad days.

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
