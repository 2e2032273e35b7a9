//! Telemetry as somebody else's servers understand it: VictoriaMetrics and InfluxDB 1 parse, store and count.

// Everything in this file is a test, its small functions too.
#![allow(clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;
use suite::process::{Running, WithArguments, gridrig, tool};
use suite::{PATIENCE, folder, free_port, http, root, run, wait_for, wait_for_port};

fn server(dir: &Path, port: u16) -> Running {
    let storage = format!("-storageDataPath={}", dir.join("store").display());
    let listen = format!("-httpListenAddr=127.0.0.1:{port}");
    let server = Running::start(tool("victoria-metrics").with([
        listen.as_str(),
        &storage,
        "-retentionPeriod=12",
        "-search.latencyOffset=0s",
    ]));
    wait_for_port("victoria-metrics", port);
    server
}

/// The demo bench with a server to write to.
fn rig(dir: &Path, port: u16, api: &str) -> PathBuf {
    let path = dir.join("telemetry.toml");
    let text = format!(
        "schema = 1\ninherit = \"{}\"\n\
         [plant]\nday = \"{}\"\n\
         [telemetry]\ninflux = {{ url = \"http://127.0.0.1:{port}\", org = \"lab\", bucket = \"bench\", api = \"{api}\" }}\n",
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
/// one series with a common exponent, so the last digits of a binary one are its own.
fn absent(recorded: &[Point], held: &[Point]) -> Vec<Point> {
    let mut by_place: BTreeMap<(&str, i64), Vec<f64>> = BTreeMap::new();
    for (series, at, value) in held {
        by_place.entry((series, *at)).or_default().push(*value);
    }
    let is_held = |(series, at, value): &&Point| {
        let near = |seen: &f64| (seen - value).abs() <= 1e-9 * value.abs().max(1e-3);
        by_place
            .get(&(series.as_str(), *at))
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
    let role = |device: &str| match device {
        "pcc" => "pcc",
        "brk1" => "breaker",
        "pv1" => "pv",
        "ess1" => "ess",
        "bat1" => "battery",
        _ => "load",
    };
    run::samples(run_dir)
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

#[test]
#[ignore = "needs peers"]
fn a_server_that_goes_away_and_comes_back_misses_nothing() {
    let (dir, port) = (folder(), free_port());
    let first = server(dir.path(), port);
    let run_dir = dir.path().join("run");
    let mut demo = demo(&rig(dir.path(), port, "v2"), &run_dir, "40s");
    wait_for("the server has some values", PATIENCE, || {
        (exported(port).len() > 200).then_some(())
    });
    assert_eq!(metric(port, INVALID), 0);
    // By SIGTERM: what this server has acknowledged but not stored is its own loss when it is killed.
    let (status, _) = first.terminate();
    assert!(status.success(), "the server stored what it had: {status}");
    // Chosen: longer than any buffer that is not on disk would like.
    std::thread::sleep(std::time::Duration::from_secs(8));
    let _second = server(dir.path(), port);
    let (status, stderr) = demo.end(PATIENCE * 2);
    assert!(status.success(), "{status}:\n{stderr}");

    let (written, lost) = (
        counter(&run_dir, "telemetry_written"),
        counter(&run_dir, "telemetry_lost"),
    );
    assert_eq!(lost, 0);
    let expected = recorded(&run_dir);
    wait_for(
        "the server shows every sample of the run folder",
        PATIENCE,
        || absent(&expected, &exported(port)).is_empty().then_some(()),
    );
    assert_eq!(metric(port, INVALID), 0, "the server refused lines");
    // What was sent twice because its acknowledgement died with the server is there twice.
    let held = exported(port).len();
    assert!(
        held >= written,
        "{written} values were acknowledged, {held} are there"
    );
}

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
    let (dir, port) = (folder(), free_port());
    let first = influx_1(dir.path(), port);
    let run_dir = dir.path().join("run");
    let rig = rig(dir.path(), port, "v1");
    set_up_twice(&rig, port);
    let mut demo = demo(&rig, &run_dir, "12s");
    wait_for("the server has some values", PATIENCE, || {
        (held_by_influx_1(port).1 > 100).then_some(())
    });
    // By SIGKILL: what it has acknowledged is in its write-ahead log.
    drop(first);
    std::thread::sleep(std::time::Duration::from_secs(3));
    let _second = influx_1(dir.path(), port);
    let (status, stderr) = demo.end(PATIENCE * 2);
    assert!(status.success(), "{status}:\n{stderr}");
    assert_eq!(counter(&run_dir, "telemetry_lost"), 0);
    let (held, values) = held_by_influx_1(port);
    assert_eq!(values, counter(&run_dir, "telemetry_written"));
    let absent = absent(&recorded(&run_dir), &held);
    assert!(
        absent.is_empty(),
        "in the run folder but not on the server: {absent:?}"
    );
    dashboards_show_what_is_there(dir.path(), &rig, port, &recorded(&run_dir));
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

/// Every query of the exported dashboards is one that the server understands, and one of a device's values
/// finds some exactly where the device has said any.
fn dashboards_show_what_is_there(dir: &Path, rig: &Path, port: u16, recorded: &[Point]) {
    let out = dir.join("grafana");
    let mut exported = Running::start(
        gridrig()
            .with(["dash", "export"])
            .with([rig])
            .with(["--out"])
            .with([&out]),
    );
    let (status, stderr) = exported.end(PATIENCE);
    assert!(status.success(), "{status}:\n{stderr}");
    let boards = std::fs::read_dir(out.join("dashboards")).expect("dashboards");
    let said: BTreeSet<&str> = recorded.iter().map(|(name, ..)| name.as_str()).collect();
    let mut asked = 0;
    for board in boards {
        let text = std::fs::read_to_string(board.expect("a file").path()).expect("read");
        let board: Value = serde_json::from_str(&text).expect("JSON");
        for panel in board["panels"].as_array().expect("panels") {
            for target in panel["targets"].as_array().expect("targets") {
                // As Grafana puts its own words in place.
                let query = target["query"]
                    .as_str()
                    .expect("a query")
                    .replace("$timeFilter", "time > now() - 1h")
                    .replace("$__interval", "1s");
                let escaped: String = query.bytes().map(|b| format!("%{b:02X}")).collect();
                let answer = http::get(port, &format!("/query?db=bench&q={escaped}")).body;
                let answer: Value = serde_json::from_str(&answer).expect("JSON");
                let result = &answer["results"][0];
                assert!(result["error"].is_null(), "{query}: {answer}");
                asked += 1;
                if ["FROM \"bus\"", "FROM \"cycle\""]
                    .iter()
                    .any(|from| query.contains(from))
                {
                    assert!(!result["series"].is_null(), "no figures: {query}");
                }
                if let Some(device) = query.split("\"device\" = '").nth(1) {
                    let device = device.split('\'').next().expect("quoted");
                    let quoted: Vec<&str> = query.split('"').collect();
                    let name = format!("{}_{} {device}", quoted[3], quoted[1]);
                    let is_shown = !result["series"].is_null();
                    assert_eq!(is_shown, said.contains(name.as_str()), "{query}");
                }
            }
        }
    }
    assert!(asked > 60, "only {asked} queries");
    assert!(said.len() > 60, "only {} values were said", said.len());
}
