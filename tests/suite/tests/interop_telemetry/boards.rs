//! The exported dashboards against what a server was really given: each name in each query, and what it shows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;
use suite::process::{Running, WithArguments, gridrig, json_of, node, text_of};
use suite::{PATIENCE, http, root};

use super::Point;

/// The demo bench with all that there is a board of: a service, and a market that clears every five seconds.
pub(crate) fn rig(dir: &Path, port: u16) -> PathBuf {
    let path = dir.join("boards.toml");
    let text = format!(
        "schema = 1\ninherit = \"{0}/campus.toml\"\n\
         [plant]\nday = \"{0}/campus-day.toml\"\n\
         [service]\ndc1 = {{ service = \"dc\", up = \"2kW\", down = \"2kW\", group = \"storage\" }}\n\
         [market]\ninterval = \"5s\"\npcc_max = \"40kW\"\nimport_mc_per_kwh = 22000\nexport_mc_per_kwh = 8000\n\
         [market.participant]\npv1 = {{ kind = \"pv\" }}\nload1 = {{ kind = \"must_run\" }}\n\
         plug2 = {{ kind = \"flexible\", willingness_mc_per_kwh = 15000 }}\n\
         [telemetry]\ninflux = {{ url = \"http://127.0.0.1:{port}\", bucket = \"bench\", api = \"v1\" }}\n",
        root().join("rigs/virtual").display(),
    );
    std::fs::write(&path, text).expect("the folder can be written");
    path
}

/// What the server answers to a question of InfluxQL: its series.
fn asked(port: u16, query: &str) -> Vec<Value> {
    let escaped: String = query.bytes().map(|b| format!("%{b:02X}")).collect();
    let answer = http::get(port, &format!("/query?db=bench&q={escaped}")).json();
    let result = &answer["results"][0];
    assert!(result["error"].is_null(), "{query}: {answer}");
    result["series"].as_array().cloned().unwrap_or_default()
}

/// By measurement, what is in one column of the answer.
fn by_measurement(port: u16, query: &str, column: usize) -> BTreeMap<String, BTreeSet<String>> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let of = |series: &Value| {
        let rows = series["values"].as_array().cloned().unwrap_or_default();
        let found = rows.iter().map(|row| text(&row[column])).collect();
        (text(&series["name"]), found)
    };
    asked(port, query).iter().map(of).collect()
}

/// What a query names.
struct Named {
    measurement: String,
    /// Fields and tags.
    keys: BTreeSet<String>,
    /// Tags that must have a text, with it.
    texts: Vec<(String, String)>,
}

impl Named {
    /// Names are between double quotes, texts between single ones. None of this bench holds a quote.
    fn in_query(query: &str) -> Self {
        let (shown, rest) = query.split_once(" FROM ").expect("a measurement");
        let (measurement, rest) = rest.split_once(' ').expect("a condition");
        let mut named = Self {
            measurement: measurement.trim_matches('"').to_owned(),
            keys: shown
                .split('"')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect(),
            texts: Vec::new(),
        };
        let parts: Vec<&str> = rest.split('\'').collect();
        for (n, part) in parts.iter().enumerate().step_by(2) {
            let names = part.split('"').skip(1).step_by(2);
            named.keys.extend(names.clone().map(str::to_owned));
            if let (Some(tag), Some(text)) = (names.last(), parts.get(n + 1)) {
                named.texts.push((tag.to_owned(), (*text).to_owned()));
            }
        }
        named
    }
}

/// Every board names measurements, fields and tags that the server has, and shows something; a query of a device's
/// values does so exactly where the device has said any, and one of trouble only where there was some.
pub(crate) fn name_and_show_what_is_there(dir: &Path, rig: &Path, port: u16, recorded: &[Point]) {
    let out = dir.join("grafana");
    let export = gridrig().with(["dash", "export"]).with([rig]);
    let mut exported = Running::start(export.with(["--out"]).with([&out]));
    let (status, stderr) = exported.end(PATIENCE);
    assert!(status.success(), "{status}:\n{stderr}");
    let schema = text_of(node("grafana_boards.cjs").with([out.join("dashboards")]));
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    assert!(schema["panels"].as_u64() > Some(50), "{schema}");
    let yaml = json_of(
        "compose_file.py",
        [
            out.join("compose.yaml"),
            out.join("provisioning/datasources/gridrig.yaml"),
        ],
    );
    assert_eq!(
        yaml["services"],
        serde_json::json!(["grafana", "influxdb"]),
        "{yaml}"
    );
    assert_eq!(yaml["sources"], serde_json::json!(["gridrig"]), "{yaml}");

    let fields = by_measurement(port, "SHOW FIELD KEYS", 0);
    let tags = by_measurement(port, "SHOW TAG KEYS", 0);
    let texts = |tag: &str| {
        let query = format!("SHOW TAG VALUES WITH KEY = \"{tag}\"");
        by_measurement(port, &query, 1)
    };
    let texts: BTreeMap<&str, _> = ["device", "kind"].map(|tag| (tag, texts(tag))).into();
    let has = |of: &BTreeMap<String, BTreeSet<String>>, measurement: &str, name: &str| {
        of.get(measurement)
            .is_some_and(|names| names.contains(name))
    };
    let said: BTreeSet<&str> = recorded.iter().map(|(name, ..)| name.as_str()).collect();
    let (mut boards, mut queries, mut unsaid) = (BTreeSet::new(), 0, 0);
    for board in std::fs::read_dir(out.join("dashboards")).expect("dashboards") {
        let text = std::fs::read_to_string(board.expect("a file").path()).expect("read");
        let board: Value = serde_json::from_str(&text).expect("JSON");
        boards.insert(board["uid"].as_str().expect("a name").to_owned());
        let list = |value: &Value| value.as_array().cloned().expect("a list");
        let of_panels = list(&board["panels"])
            .into_iter()
            .flat_map(|panel| list(&panel["targets"]));
        let notes = list(&board["annotations"]["list"]);
        let targets = of_panels.chain(notes.iter().map(|note| note["target"].clone()));
        for target in targets {
            let query = target["query"].as_str().expect("a query");
            let named = Named::in_query(query);
            let measurement = named.measurement.as_str();
            // As Grafana puts its own words in place.
            let filled = query
                .replace("$timeFilter", "time > now() - 1h")
                .replace("$__interval", "1s");
            let is_shown = !asked(port, &filled).is_empty();
            queries += 1;
            let device = named.texts.iter().find(|(tag, _)| tag == "device");
            let of_device = device.and_then(|(_, device)| {
                let field = named.keys.iter().find(|key| *key != "device")?;
                Some(format!("{measurement}_{field} {device}"))
            });
            let is_due = match &of_device {
                Some(name) => said.contains(name.as_str()),
                // There was none of this trouble.
                None => !query.contains("device_offline"),
            };
            unsaid += usize::from(!is_due && of_device.is_some());
            assert!(
                is_shown == is_due || !is_due && of_device.is_none(),
                "{query}"
            );
            let mut keys: Vec<&str> = named.keys.iter().map(String::as_str).collect();
            keys.extend(target["textColumn"].as_str());
            keys.extend(
                target["alias"]
                    .as_str()
                    .and_then(|a| a.strip_prefix("$tag_")),
            );
            for key in keys {
                let is_there = has(&fields, measurement, key) || has(&tags, measurement, key);
                // What no device of this kind has said has no field either.
                assert!(
                    is_there || of_device.is_some() && !is_due,
                    "{key} in {query}"
                );
            }
            for (tag, text) in &named.texts {
                assert!(
                    has(&texts[tag.as_str()], measurement, text),
                    "{text} in {query}"
                );
            }
        }
    }
    let all = [
        "buses", "devices", "health", "market", "overview", "services",
    ];
    let all: BTreeSet<String> = all.map(|name| format!("gridrig-{name}")).into();
    assert_eq!(boards, all);
    println!(
        "{queries} queries of {} boards, {unsaid} of them of what no device says",
        all.len()
    );
    assert!(queries > 100, "only {queries} queries");
    assert!(said.len() > 60, "only {} values were said", said.len());
}
