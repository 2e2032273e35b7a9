//! What dashboards name is what telemetry writes, and what Grafana can read.

use std::collections::BTreeSet;
use std::path::Path;

use model::{DeviceIx, Instant, PointSample, Reading, Sample, UtcTime};

use super::*;
use crate::telemetry::NamedDevice;
use crate::telemetry::Origin;
use crate::telemetry::describe;
use crate::telemetry::figures::KINDS;
use crate::telemetry::line::{Labels, Row, event_lines, sample_lines};

fn bundled(name: &str, more: &str) -> Rig {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rigs/virtual");
    if more.is_empty() {
        return crate::rig::load(&path.join(name)).expect("a right rig");
    }
    let text = std::fs::read_to_string(path.join(name)).expect("a bundled rig");
    crate::rig::load_text(&path.join(name), &format!("{text}\n{more}")).expect("a right rig")
}

fn targets(board: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let panels = list(&board["panels"]);
    let of_panels = panels.iter().flat_map(|p| list(&p["targets"]));
    let notes = list(&board["annotations"]["list"]);
    let queries = of_panels.chain(notes.into_iter().map(|note| note["target"].clone()));
    queries
        .map(|q| q["query"].as_str().expect("a query").to_owned())
        .collect()
}

/// What telemetry writes of a rig when every device says all it can: measurement, device and field.
fn written(rig: &Rig) -> BTreeSet<(String, String, String)> {
    let devices: Vec<NamedDevice> = rig
        .devices
        .iter()
        .map(|d| NamedDevice {
            name: d.id.to_string(),
            role: d.role,
            bus: rig.buses[d.bus].id.to_string(),
        })
        .collect();
    let utc = UtcTime::from_unix_nanos(1_795_341_600_000_000_000);
    let mut rows = Vec::new();
    for (n, device) in rig.devices.iter().enumerate() {
        for point in device.profile.points() {
            let sample = PointSample {
                device: DeviceIx(u16::try_from(n).expect("few")),
                point,
                sample: Sample {
                    measured_at: Instant::START,
                    reading: Reading::Good(1.0),
                },
            };
            rows.push(Row::of(utc, Instant::START, sample));
        }
    }
    let mut found = BTreeSet::new();
    let lines = sample_lines(&Labels::new(&Origin::default(), &devices), &rows);
    for line in lines.text.lines() {
        let [head, fields, _time] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let (measurement, tags) = head.split_once(',').expect("tags");
        let mut tags = tags.split(',');
        let device = tags.find_map(|tag| tag.strip_prefix("device="));
        let device = device.expect("a device");
        for field in fields.split(',') {
            let (name, _) = field.split_once('=').expect("a field");
            found.insert((measurement.to_owned(), device.to_owned(), name.to_owned()));
        }
    }
    found
}

/// The tags and the field of an event as it is written.
fn keys_of_an_event() -> BTreeSet<String> {
    let shed = model::Event::LoadShed {
        device: DeviceIx(0),
        why: "47.9 Hz".into(),
    };
    let record = describe(&shed, &|_| "plug1".into());
    let utc = UtcTime::from_unix_nanos(1_795_341_600_000_000_000);
    let lines = event_lines(&Labels::new(&Origin::default(), &[]), utc, &record);
    let (head, field) = lines.text.split_once(' ').expect("tags and a field");
    let tags = head.split(',').skip(1);
    let keys = tags.chain([field]).map(|part| part.split('=').next());
    keys.map(|key| key.expect("a name").to_owned()).collect()
}

#[test]
fn every_field_that_a_dashboard_names_is_written_and_every_written_one_is_shown() {
    let of_an_event = keys_of_an_event();
    for name in ["campus.toml", "zoo.toml", "services.toml"] {
        let rig = bundled(name, "");
        let mut named = BTreeSet::new();
        for query in dashboards(&rig).iter().flat_map(targets) {
            let parts: Vec<&str> = query.split('"').collect();
            let Some(device) = query.split("\"device\" = '").nth(1) else {
                let mut keys = parts.iter().skip(1).step_by(2);
                let of_events = query.contains(" FROM event WHERE ")
                    && keys.all(|key| of_an_event.contains(*key));
                let of_bench = KINDS.iter().any(|kind| {
                    let from = format!(" FROM \"{}\" ", kind.measurement);
                    kind.fields.contains(&parts[1]) && query.contains(&from)
                });
                let of_market =
                    MARKET_FIELDS.contains(&parts[1]) && query.contains(" FROM market ");
                assert!(of_events || of_market || of_bench, "{query}");
                continue;
            };
            let device = device.split('\'').next().expect("quoted");
            named.insert((parts[3].to_owned(), device.to_owned(), parts[1].to_owned()));
        }
        assert_eq!(named, written(&rig), "{name}");
    }
}

#[test]
fn kinds_of_trouble_are_kinds_of_events() {
    let readme = include_str!("../../../../../tests/scenarios/README.md");
    for kind in TROUBLE.split('|') {
        assert!(readme.contains(&format!("`{kind}`")), "{kind}");
    }
}

#[test]
fn panels_have_places_that_do_not_overlap_and_ids_of_their_own() {
    for board in dashboards(&bundled("campus.toml", "")) {
        let panels = board["panels"].as_array().expect("panels");
        assert!(!panels.is_empty(), "{}", board["title"]);
        let places: BTreeSet<(u64, u64)> = panels
            .iter()
            .map(|p| {
                let at = |key: &str| p["gridPos"][key].as_u64().expect("a place");
                assert!(at("x") + at("w") <= COLUMNS, "{p}");
                (at("x"), at("y"))
            })
            .collect();
        let ids: BTreeSet<u64> = panels.iter().filter_map(|p| p["id"].as_u64()).collect();
        assert_eq!((places.len(), ids.len()), (panels.len(), panels.len()));
    }
}

#[test]
fn a_data_source_names_the_server_and_never_holds_a_secret() {
    let with = |telemetry: &str| {
        let rig = bundled(
            "campus.toml",
            &format!("[telemetry]\ninflux = {telemetry}\n"),
        );
        let files = files(&rig);
        let source = files.iter().find(|f| f.path.contains("datasources"));
        source.expect("a data source").text.clone()
    };
    for (telemetry, holds) in [
        (
            "{ url = \"http://db:8086\", org = \"lab\", bucket = \"bench\", token_env = \"LAB_TOKEN\" }",
            &[
                "url: \"http://db:8086\"",
                "dbName: \"bench\"",
                "Token $LAB_TOKEN",
            ][..],
        ),
        (
            "{ url = \"http://db:8086\", bucket = \"bench/week\", api = \"v1\" }",
            &["dbName: \"bench\"\n"][..],
        ),
    ] {
        let text = with(telemetry);
        for part in holds {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(text.contains("Authorization"), telemetry.contains("token"));
    }
    let none = files(&bundled("campus.toml", ""));
    assert!(!none.iter().any(|f| f.path.contains("datasources")));
    assert!(!none.iter().any(|f| f.path == "compose.yaml"));
}

#[test]
fn a_compose_file_starts_the_server_of_the_rig_where_it_is_to_be_on_this_machine() {
    let v2 = "url = \"http://127.0.0.1:8087\", org = \"lab $1\", bucket = \"bench\"";
    let token = "token_env = \"LAB_TOKEN\"";
    for (influx, services, holds) in [
        (
            format!("{v2}, {token}"),
            &["influxdb", "grafana"][..],
            &[
                "influxdb:2.7",
                "\"127.0.0.1:8087\"",
                "DOCKER_INFLUXDB_INIT_ORG: \"lab $$1\"",
                "DOCKER_INFLUXDB_INIT_BUCKET: \"bench\"",
                "INIT_ADMIN_TOKEN: \"${LAB_TOKEN:?",
                "      LAB_TOKEN: \"${LAB_TOKEN:?",
            ][..],
        ),
        // Without a token no InfluxDB 2 can be set up.
        (v2.to_owned(), &["grafana"], &[]),
        (
            "url = \"http://localhost:8086\", bucket = \"bench/week\", api = \"v1\"".to_owned(),
            &["influxdb", "grafana"],
            &["influxdb:1.8", "INFLUXDB_DB: \"bench\""],
        ),
        (
            format!(
                "url = \"https://db:8086\", org = \"lab\", bucket = \"b\", ca = \"/pki/ca.pem\", {token}"
            ),
            &["grafana"],
            &["\"/pki/ca.pem:/pki/ca.pem:ro\""],
        ),
    ] {
        let section = format!("[telemetry]\ninflux = {{ {influx} }}\n");
        let files = files(&bundled("campus.toml", &section));
        let file = |name: &str| {
            let file = files.iter().find(|f| f.path.ends_with(name));
            file.expect(name).text.clone()
        };
        let compose = file("compose.yaml");
        let named: Vec<&str> = compose
            .lines()
            .skip_while(|line| *line != "services:")
            .take_while(|line| *line != "volumes:")
            .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'))
            .filter(|name| !name.starts_with(' '))
            .collect();
        assert_eq!(named, services, "{compose}");
        for part in holds {
            assert!(compose.contains(part), "{part}: {compose}");
        }
        let source = file("datasources/gridrig.yaml");
        let ca = "tlsCACert: \"$__file{/pki/ca.pem}\"";
        assert_eq!(source.contains(ca), influx.contains("ca ="), "{source}");
    }
}
