//! Telemetry as somebody else understands it: VictoriaMetrics and InfluxDB 1 parse, store and count,
//! and fastparquet reads what a run exports.

// Everything in this file is a test, its small functions too.
#![allow(clippy::panic)]

#[path = "interop_telemetry/boards.rs"]
mod boards;
#[path = "interop_telemetry/cycles.rs"]
mod cycles;
#[path = "interop_telemetry/database.rs"]
mod database;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use suite::process::{Running, WithArguments, gridrig, json_of, output, text_of, tool};
use suite::{PATIENCE, folder, free_port, http, root, run, wait_for, wait_for_port};

/// VictoriaMetrics on a folder of its own.
fn server(dir: &Path, port: u16) -> Running {
    server_with(dir, port, &[])
}

fn server_with(dir: &Path, port: u16, more: &[String]) -> Running {
    let storage = format!("-storageDataPath={}", dir.join("store").display());
    let listen = format!("-httpListenAddr=127.0.0.1:{port}");
    let usual = [
        listen.as_str(),
        &storage,
        "-retentionPeriod=12",
        "-search.latencyOffset=0s",
        // One point per series and time, so that what is sent twice is there once.
        "-dedup.minScrapeInterval=1ms",
    ];
    let server = Running::start(tool("victoria-metrics").with(usual).with(more));
    wait_for_port("victoria-metrics", port);
    server
}

/// The demo bench with a server to write to.
fn rig(dir: &Path, port: u16, api: &str) -> PathBuf {
    rig_with(dir, &format!("http://127.0.0.1:{port}"), api, "", "")
}

/// The same with more keys of its own, and of its server.
fn rig_with(dir: &Path, url: &str, api: &str, keys: &str, of_server: &str) -> PathBuf {
    let path = dir.join("telemetry.toml");
    let text = format!(
        "schema = 1\n{keys}inherit = \"{}\"\n\
         [plant]\nday = \"{}\"\n\
         [telemetry]\ninflux = {{ url = \"{url}\", org = \"lab\", bucket = \"bench\", api = \"{api}\"{of_server} }}\n",
        root().join("rigs/virtual/campus.toml").display(),
        root().join("rigs/virtual/campus-day.toml").display(),
    );
    std::fs::write(&path, text).expect("the folder can be written");
    path
}

fn demo(rig: &Path, run_dir: &Path, run_for: &str) -> Running {
    Running::start(
        gridrig()
            .with(["demo", "--headless", "--for", run_for, "--rig"])
            .with([rig])
            .with(["--out"])
            .with([run_dir]),
    )
}

/// A point: series, milliseconds, value.
type Point = (String, i64, f64);

/// The points of the run folder that the server does not hold. It keeps decimal fractions, several of
/// one series with a common exponent, so the last digits of a binary one are its own; and of several values
/// of one series within a millisecond it keeps one, which may be any of them.
fn absent(recorded: &[Point], held: &[Point]) -> Vec<Point> {
    let mut by_place: BTreeMap<(&str, i64), Vec<f64>> = BTreeMap::new();
    for (series, at, value) in held {
        by_place.entry((series, *at)).or_default().push(*value);
    }
    let mut told: BTreeMap<(&str, i64), Vec<f64>> = BTreeMap::new();
    for (series, at, value) in recorded {
        told.entry((series, *at)).or_default().push(*value);
    }
    let is_held = |(series, at, _): &&Point| {
        let place = (series.as_str(), *at);
        let near = |seen: &f64| {
            let any = |value: &f64| (seen - value).abs() <= 1e-9 * value.abs().max(1e-3);
            told[&place].iter().any(any)
        };
        by_place
            .get(&place)
            .is_some_and(|values| values.iter().any(near))
    };
    recorded
        .iter()
        .filter(|point| !is_held(point))
        .cloned()
        .collect()
}

/// All points of the server, each as often as it is there.
fn exported(port: u16) -> Vec<Point> {
    let _ = http::post(port, "/internal/force_flush", None, &Value::Null);
    // match[]={__name__!=""}, as a query is escaped.
    let path = "/api/v1/export?match%5B%5D=%7B__name__%21%3D%22%22%7D";
    let body = http::get(port, path).body;
    let mut points = Vec::new();
    for line in body.lines() {
        let series: Value = serde_json::from_str(line).expect("an export is JSON lines");
        let metric = &series["metric"];
        let name = format!(
            "{} {}",
            metric["__name__"].as_str().unwrap_or_default(),
            metric["device"].as_str().unwrap_or_default()
        );
        let numbers = |key: &str| series[key].as_array().expect("an array").clone();
        for (value, at) in numbers("values").iter().zip(numbers("timestamps")) {
            let value = value.as_f64().expect("a number");
            points.push((name.clone(), at.as_i64().expect("milliseconds"), value));
        }
    }
    points
}

/// A number of the server's own metrics page.
fn metric(port: u16, name: &str) -> u64 {
    let page = http::get(port, "/metrics").body;
    let line = page
        .lines()
        .find_map(|l| l.strip_prefix(name))
        .map(str::trim);
    line.and_then(|n| n.parse().ok())
        .unwrap_or_else(|| panic!("{name} is not on the metrics page"))
}

const INVALID: &str = "vm_rows_invalid_total{type=\"influx\"}";

/// Every good sample of the run folder, as the server must hold it.
fn recorded(run_dir: &Path) -> Vec<Point> {
    points_of(&run::samples(run_dir))
}

fn points_of(samples: &[run::SampleRow]) -> Vec<Point> {
    let role = |device: &str| match device {
        "pcc" => "pcc",
        "brk1" => "breaker",
        "pv1" => "pv",
        "ess1" => "ess",
        "bat1" => "battery",
        _ => "load",
    };
    samples
        .iter()
        .filter_map(|row| {
            let value: f64 = row["value"].parse().ok()?;
            let nanos: i64 = row["utc_ns"].parse().expect("a record time");
            let device = &row["device"];
            let name = format!(
                "{}_{} {device}",
                role(device),
                row["point"].replace('.', "_")
            );
            Some((name, nanos.div_euclid(1_000_000), value))
        })
        .collect()
}

fn counter(run_dir: &Path, name: &str) -> usize {
    let counters = &run::result(run_dir)["counters"];
    let number = counters[name]
        .as_u64()
        .and_then(|n| usize::try_from(n).ok());
    number.unwrap_or_else(|| panic!("no {name} in {counters}"))
}

#[test]
#[ignore = "needs peers"]
fn the_server_holds_exactly_what_the_run_says_it_wrote() {
    let (dir, port) = (folder(), free_port());
    let _server = server(dir.path(), port);
    let run_dir = dir.path().join("run");
    let (status, stderr) = demo(&rig(dir.path(), port, "v2"), &run_dir, "15s").end(PATIENCE * 2);
    assert!(status.success(), "{status}:\n{stderr}");
    let written = counter(&run_dir, "telemetry_written");
    assert!(written > 500, "only {written} values in 15 s");
    assert_eq!(counter(&run_dir, "telemetry_lost"), 0);
    // A point may show up to a second after the server took it.
    let written = written - merged(&run_dir);
    wait_for(
        &format!("the server shows {written} values"),
        PATIENCE,
        || (exported(port).len() == written).then_some(()),
    );
    assert_eq!(metric(port, INVALID), 0, "the server refused lines");
    let absent = absent(&recorded(&run_dir), &exported(port));
    assert!(
        absent.is_empty(),
        "in the run folder but not on the server: {absent:?}"
    );
}

/// What was written more than once within one millisecond: this server has no finer time, so one is left of several
/// events of one kind about one device, and of a plug that said the same twice.
fn merged(run_dir: &Path) -> usize {
    let events = run::events(run_dir);
    let told = events
        .iter()
        .map(|e| format!("{} {} {}", e["event"], e["device"], e["utc"]));
    let samples = run::samples(run_dir);
    let measured = samples.iter().map(|row| {
        let nanos: i64 = row["utc_ns"].parse().expect("a record time");
        let at = nanos.div_euclid(1_000_000);
        format!("{} {} {} {at}", row["device"], row["point"], row["quality"])
    });
    let places: BTreeSet<String> = told.chain(measured).collect();
    events.len() + samples.len() - places.len()
}

/// VictoriaMetrics is killed, gone for a time and started again; it then holds each value that was written, once,
/// also what it had acknowledged and not yet brought to its disk.
fn victoria_metrics_is_whole_after_a_kill(run_for: Duration, gone_for: Duration) {
    let (dir, port) = (folder(), free_port());
    let first = server(dir.path(), port);
    let run_dir = dir.path().join("run");
    let run_for_text = format!("{}s", run_for.as_secs());
    let mut demo = demo(&rig(dir.path(), port, "v2"), &run_dir, &run_for_text);
    wait_for("the server has some values", PATIENCE, || {
        (exported(port).len() > 200).then_some(())
    });
    assert_eq!(metric(port, INVALID), 0);
    first.kill();
    std::thread::sleep(gone_for);
    let _second = server(dir.path(), port);
    let (status, stderr) = demo.end(run_for + PATIENCE);
    assert!(status.success(), "{status}:\n{stderr}");
    assert_eq!(counter(&run_dir, "telemetry_lost"), 0);
    let written = counter(&run_dir, "telemetry_written");
    let expected = written - merged(&run_dir);
    wait_for(
        &format!("the server holds {expected} values"),
        PATIENCE,
        || (exported(port).len() == expected).then_some(()),
    );
    assert_eq!(metric(port, INVALID), 0, "the server refused lines");
    let absent = absent(&recorded(&run_dir), &exported(port));
    assert!(
        absent.is_empty(),
        "in the run folder but not on the server: {absent:?}"
    );
    let said = format!("{written} values were written, {expected} points are there");
    println!("VictoriaMetrics, gone for {gone_for:?} of {run_for:?}: {said}.");
}

#[test]
#[ignore = "needs peers"]
fn victoria_metrics_holds_each_value_once_after_it_was_killed_and_came_back() {
    // Chosen: it is killed within five seconds after it has said that it has something.
    victoria_metrics_is_whole_after_a_kill(Duration::from_secs(16), Duration::from_secs(4));
}

#[test]
#[ignore = "needs peers"]
fn victoria_metrics_is_whole_after_half_a_minute_of_three_minutes() {
    victoria_metrics_is_whole_after_a_kill(THREE_MINUTES, HALF_A_MINUTE);
}

#[test]
#[ignore = "needs peers"]
fn influxdb_1_is_whole_after_half_a_minute_of_three_minutes() {
    influxdb_1_is_whole_after_a_kill(THREE_MINUTES, HALF_A_MINUTE);
}

const THREE_MINUTES: Duration = Duration::from_secs(180);
const HALF_A_MINUTE: Duration = Duration::from_secs(30);

/// InfluxDB 1 on a folder of its own.
fn influx_1(dir: &Path, port: u16) -> Running {
    let config = dir.join("influxdb.toml");
    let folder = |name: &str| dir.join(name).display().to_string();
    let text = format!(
        "reporting-disabled = true\nbind-address = \"127.0.0.1:0\"\n\
         [meta]\ndir = \"{}\"\n\
         [data]\ndir = \"{}\"\nwal-dir = \"{}\"\nquery-log-enabled = false\n\
         [http]\nbind-address = \"127.0.0.1:{port}\"\nlog-enabled = false\n",
        folder("meta"),
        folder("data"),
        folder("wal"),
    );
    std::fs::write(&config, text).expect("the folder can be written");
    let server = Running::start(tool("influxd").with(["run", "-config"]).with([config]));
    wait_for_port("influxd", port);
    server
}

/// All numbers of the server, and how many values it holds, text included.
fn held_by_influx_1(port: u16) -> (Vec<Point>, usize) {
    // SELECT * FROM /.*/ GROUP BY *, so that tags are no columns.
    let path = "/query?db=bench&epoch=ns&q=SELECT%20*%20FROM%20%2F.*%2F%20GROUP%20BY%20*";
    let body: Value = serde_json::from_str(&http::get(port, path).body).expect("JSON");
    let (mut points, mut values) = (Vec::new(), 0);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for series in list(&body["results"][0]["series"]) {
        let device = series["tags"]["device"].as_str().unwrap_or_default();
        let measurement = series["name"].as_str().unwrap_or_default();
        let columns = list(&series["columns"]);
        for row in list(&series["values"]) {
            let at = row[0].as_i64().expect("nanoseconds").div_euclid(1_000_000);
            for (column, value) in columns.iter().zip(list(&row)).skip(1) {
                values += usize::from(!value.is_null());
                if let (Some(field), Some(value)) = (column.as_str(), value.as_f64()) {
                    points.push((format!("{measurement}_{field} {device}"), at, value));
                }
            }
        }
    }
    (points, values)
}

#[test]
#[ignore = "needs peers"]
fn influxdb_1_holds_each_value_once_after_it_was_killed_and_came_back() {
    influxdb_1_is_whole_after_a_kill(Duration::from_secs(12), Duration::from_secs(3));
}

fn influxdb_1_is_whole_after_a_kill(run_for: Duration, gone_for: Duration) {
    let (dir, port) = (folder(), free_port());
    let first = influx_1(dir.path(), port);
    let run_dir = dir.path().join("run");
    let rig = boards::rig(dir.path(), port);
    set_up_twice(&rig, port);
    let mut demo = demo(&rig, &run_dir, &format!("{}s", run_for.as_secs()));
    wait_for("the server has some values", PATIENCE, || {
        (held_by_influx_1(port).1 > 100).then_some(())
    });
    first.kill();
    std::thread::sleep(gone_for);
    let _second = influx_1(dir.path(), port);
    let (status, stderr) = demo.end(run_for + PATIENCE);
    assert!(status.success(), "{status}:\n{stderr}");
    assert_eq!(counter(&run_dir, "telemetry_lost"), 0);
    let (held, values) = held_by_influx_1(port);
    let written = counter(&run_dir, "telemetry_written");
    assert_eq!(values, written);
    let absent = absent(&recorded(&run_dir), &held);
    assert!(
        absent.is_empty(),
        "in the run folder but not on the server: {absent:?}"
    );
    println!(
        "InfluxDB 1, gone for {gone_for:?} of {run_for:?}: {written} values were written, {values} are there."
    );
    boards::name_and_show_what_is_there(dir.path(), &rig, port, &recorded(&run_dir));
}

#[test]
#[ignore = "needs peers"]
fn what_a_killed_controller_had_recorded_reaches_the_server_with_the_next_run() {
    let (dir, port) = (folder(), free_port());
    let server = influx_1(dir.path(), port);
    let rig = rig(dir.path(), port, "v1");
    set_up_twice(&rig, port);
    let (killed, next) = (dir.path().join("1-killed"), dir.path().join("2-next"));
    let first = demo(&rig, &killed, "60s");
    wait_for("the server has some values", PATIENCE, || {
        (held_by_influx_1(port).1 > 100).then_some(())
    });
    // It takes connections by its backlog and answers nothing, so the batch on its way is never acknowledged.
    server.signal(Signal::STOP);
    std::thread::sleep(Duration::from_secs(3));
    first.kill();
    server.signal(Signal::CONT);
    let (status, stderr) = demo(&rig, &next, "3s").end(PATIENCE);
    assert!(status.success(), "{status}:\n{stderr}");
    assert!(!killed.join("spool").exists(), "the next run took it over");
    let (held, _) = held_by_influx_1(port);
    let record = points_of(&run::torn_samples(&killed));
    let latest = record.iter().map(|(_, at, _)| *at).max().expect("a record");
    let first_at = record.iter().map(|(_, at, _)| *at).min().expect("a record");
    assert!(latest - first_at > 2_000, "the record ends before the stop");
    let absent = absent(&record, &held);
    assert!(
        absent.is_empty(),
        "recorded before the kill but not on the server: {absent:?}"
    );
}

#[test]
#[ignore = "needs peers"]
fn what_the_server_refuses_and_what_has_no_room_is_counted_and_the_rest_is_there() {
    let (dir, port) = (folder(), free_port());
    let first = influx_1(dir.path(), port);
    let title = r#"a b,c=d "e" back\\slash é, and a\\ space"#;
    let keys = format!("title = \"{}\"\n", title.replace('"', "\\\""));
    let url = format!("http://127.0.0.1:{port}");
    let rig = rig_with(dir.path(), &url, "v1", &keys, ", spool = \"25kB\"");
    set_up_twice(&rig, port);
    // Somebody has written whole numbers where we write others.
    let whole = "pcc,device=other ac_p=1i\n";
    let path = "/write?db=bench&precision=ns";
    let answer = http::try_request(port, "POST", path, None, whole).expect("an answer");
    assert_eq!(answer.status, 204, "{}", answer.body);
    let run_dir = dir.path().join("run");
    let mut demo = demo(&rig, &run_dir, "14s");
    wait_for("the server has some values", PATIENCE, || {
        (held_by_influx_1(port).1 > 100).then_some(())
    });
    first.kill();
    std::thread::sleep(Duration::from_secs(4));
    let _second = influx_1(dir.path(), port);
    let (status, stderr) = demo.end(PATIENCE * 2);
    assert!(status.success(), "{status}:\n{stderr}");
    for told in [
        "has this field as another type",
        "Of telemetry ",
        " were lost.",
    ] {
        assert!(stderr.contains(told), "{told} is not in:\n{stderr}");
    }
    let lost = counter(&run_dir, "telemetry_lost");
    let (held, values) = held_by_influx_1(port);
    // What was on its way when it was killed may be there although nobody has acknowledged it; it counts as lost
    // when it had to give way.
    let written = counter(&run_dir, "telemetry_written");
    let others = values - 1;
    assert!(
        (written..=written + lost).contains(&others),
        "{others} are there; {written} were acknowledged and {lost} lost"
    );
    let record = recorded(&run_dir);
    let absent = absent(&record, &held);
    assert!(
        !absent.is_empty() && absent.len() <= lost,
        "{lost} {absent:?}"
    );
    // One that the server had time for says which bench it is of, as the rig has it.
    let path = "/query?db=bench&q=SHOW%20TAG%20VALUES%20WITH%20KEY%20%3D%20bench";
    let said = http::get(port, path).json();
    let name = &said["results"][0]["series"][0]["values"][0][1];
    assert_eq!(name, r#"a b,c=d "e" back\slash é, and a\_ space"#, "{said}");
}

/// Runs openssl in a folder.
fn openssl(dir: &Path, arguments: &str) {
    let mut command = Command::new("openssl").with(arguments.split(' '));
    command.current_dir(dir);
    let done = output(command);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "openssl {arguments}: {said}");
}

#[test]
#[ignore = "needs peers"]
fn a_server_with_a_private_authority_is_believed_by_that_authority_alone() {
    let (dir, port) = (folder(), free_port());
    std::fs::write(dir.path().join("ext"), "subjectAltName=IP:127.0.0.1\n").expect("written");
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    for arguments in [
        format!("req -x509 {key} -keyout ca.key -out ca.pem -days 30 -subj /CN=lab"),
        format!("req -x509 {key} -keyout other.key -out other.pem -days 30 -subj /CN=other"),
        format!("req {key} -keyout server.key -out server.csr -subj /CN=server"),
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 30 -extfile ext".to_owned(),
    ] {
        openssl(dir.path(), &arguments);
    }
    let file = |name: &str| dir.path().join(name).display().to_string();
    let _server = server_with(
        dir.path(),
        port,
        &[
            "-tls".to_owned(),
            format!("-tlsCertFile={}", file("server.pem")),
            format!("-tlsKeyFile={}", file("server.key")),
        ],
    );
    let url = format!("https://127.0.0.1:{port}");
    let run = |name: &str, ca: &str| {
        let rig = rig_with(dir.path(), &url, "v2", "", ca);
        let run_dir = dir.path().join(name);
        let (status, stderr) = demo(&rig, &run_dir, "3s").end(PATIENCE);
        assert!(status.success(), "{status}:\n{stderr}");
        assert_eq!(counter(&run_dir, "telemetry_lost"), 0);
        (counter(&run_dir, "telemetry_written"), stderr)
    };
    for (name, ca) in [("1-none", ""), ("2-other", ", ca = \"other.pem\"")] {
        let (written, stderr) = run(name, ca);
        assert_eq!(written, 0, "{name}");
        assert!(stderr.contains("wait in the spool of this run"), "{stderr}");
    }
    let (written, _) = run("3-ours", ", ca = \"ca.pem\"");
    // The second run had taken over what the first had left, and so has the third.
    let waited = counter(&dir.path().join("2-other"), "telemetry_waiting");
    assert!(written > waited, "{written} of {waited} that waited");
}

/// `telemetry init` makes the database with its retention and the query that makes means; asked again, it changes them.
fn set_up_twice(rig: &Path, port: u16) {
    for keep in ["30", "60"] {
        let mut setting_up = Running::start(
            gridrig()
                .with(["telemetry", "init"])
                .with([rig])
                .with(["--keep", keep]),
        );
        let (status, stderr) = setting_up.end(PATIENCE);
        assert!(status.success(), "{status}:\n{stderr}");
        let ask = |query: &str| {
            let escaped: String = query.bytes().map(|b| format!("%{b:02X}")).collect();
            http::get(port, &format!("/query?db=bench&q={escaped}")).body
        };
        let hours = keep.parse::<u32>().expect("a number") * 24;
        let policies = ask("SHOW RETENTION POLICIES ON bench");
        assert!(
            policies.contains(&format!("[\"autogen\",\"{hours}h0m0s\"")),
            "{policies}"
        );
        assert!(
            policies.contains("[\"minutes\",\"17520h0m0s\""),
            "{policies}"
        );
        let queries = ask("SHOW CONTINUOUS QUERIES");
        let made = queries.matches("CREATE CONTINUOUS QUERY gridrig_minutes ");
        assert_eq!(made.count(), 1, "{queries}");
    }
}

#[test]
#[ignore = "needs peers"]
fn an_exported_run_is_the_same_table_in_pandas() {
    let dir = folder();
    let (run_dir, file) = (dir.path().join("run"), dir.path().join("samples.parquet"));
    let demo = [
        "demo",
        "--headless",
        "--speed",
        "max",
        "--for",
        "20s",
        "--out",
    ];
    let _said = text_of(gridrig().with(demo).with([&run_dir]));
    let csv = text_of(gridrig().with(["report", "export"]).with([&run_dir]));
    let parquet = ["--format", "parquet", "--out"];
    let export = gridrig().with(["report", "export"]).with([&run_dir]);
    let _said = text_of(export.with(parquet).with([&file]));
    let told = json_of("read_parquet.py", [&file]);

    // scenario,utc_ns,t_s,device,point,value,unit,quality
    let rows: Vec<Vec<&str>> = csv
        .lines()
        .skip(1)
        .map(|l| l.splitn(8, ',').collect())
        .collect();
    let moments: BTreeSet<&str> = rows.iter().map(|row| row[1]).collect();
    let mut powers: BTreeMap<String, (u64, f64)> = BTreeMap::new();
    let (mut good, mut flawed) = (0, 0);
    for row in &rows {
        let value: Option<f64> = row[5].parse().ok().filter(|_| row[7] == "good");
        let Some(value) = value else {
            flawed += 1;
            continue;
        };
        good += 1;
        if row[6] == "W" {
            let name = format!("{}_{}_w", row[3], row[4].replace('.', "_"));
            let (count, sum) = powers.entry(name).or_default();
            *count += 1;
            *sum += value;
        }
    }
    assert!(good > 1000 && powers.len() > 5, "{good} {powers:?}");
    for (name, (count, sum)) in &powers {
        let found = &told["numbers"][name];
        assert_eq!(found[0].as_u64(), Some(*count), "{name}");
        let total = found[1].as_f64().expect("a sum");
        assert!(
            (total - sum).abs() <= 1e-9 * sum.abs().max(1.0),
            "{name}: {total} {sum}"
        );
    }
    let counts = told["numbers"].as_object().expect("columns of numbers");
    let columns = counts.iter().filter(|(name, _)| *name != "t_s");
    let all: u64 = columns.filter_map(|(_, found)| found[0].as_u64()).sum();
    assert_eq!(all, good, "what has a flaw is null: {flawed} have one");
    assert!(told["rows"].as_u64() >= Some(moments.len() as u64));
    let time = told["types"]["utc"].as_str().expect("a type");
    assert!(time.starts_with("datetime64[ns"), "{time}");
}
