//! Dashboards and data source of Grafana, made from a rig: what they name is what telemetry writes.
//!
//! Queries are InfluxQL, which InfluxDB 1, 2 and 3 answer alike; the names are those of the line protocol that telemetry writes.
//! Source of the shapes: Grafana's JSON model of a dashboard (schema version 39) and its provisioning files.

use std::path::Path;

use model::Point;
use serde_json::{Value, json};

use super::WriteApi;
use super::figures::{BUS, CYCLE, Kind, SERVICE};
use super::line::{EVENT, MARKET, MARKET_FIELDS, field_name};
use crate::rig::{Influx, Rig, RigDevice, SecretFrom};

/// Name of the data source, by which panels refer to it.
pub const SOURCE: &str = "gridrig";

/// Version of the dashboard's shape.
const SCHEMA: u32 = 39;

/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;

/// Size of a panel in grid units. Chosen: two beside each other, three rows on a screen.
const PANEL: (u64, u64) = (12, 8);

/// Kinds of events that a person should look at.
const TROUBLE: &str = "alarm_raised|cycle_late|device_offline|exchange_missed|fell_back|fell_short|ledger_fenced|ledger_late|ledger_stopped|\
                       setpoint_missed|setpoint_refused|service_fell_short|went_safe";

/// A file that Grafana reads.
#[derive(Clone, Debug, PartialEq)]
pub struct GrafanaFile {
    /// Its path inside the folder that is given to Grafana.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// All files for a bench: the data source and a compose file where the rig names a server, the provider, the
/// dashboards.
#[must_use]
pub fn files(rig: &Rig) -> Vec<GrafanaFile> {
    let source = rig.influx.as_ref().map(|server| GrafanaFile {
        path: "provisioning/datasources/gridrig.yaml".into(),
        text: data_source(server),
    });
    let compose = rig.influx.as_ref().map(|server| GrafanaFile {
        path: "compose.yaml".into(),
        text: compose(server),
    });
    let provider = GrafanaFile {
        path: "provisioning/dashboards/gridrig.yaml".into(),
        text: PROVIDER.into(),
    };
    let dashboards = dashboards(rig).into_iter().map(|board| GrafanaFile {
        path: format!(
            "dashboards/{}.json",
            board["uid"].as_str().unwrap_or("gridrig")
        ),
        text: format!("{board:#}\n"),
    });
    source
        .into_iter()
        .chain(compose)
        .chain([provider])
        .chain(dashboards)
        .collect()
}

/// Where Grafana finds the dashboards; the folder is told by a variable of its process.
const PROVIDER: &str = "apiVersion: 1
providers:
  - name: gridrig
    folder: gridrig
    type: file
    allowUiUpdates: true
    options:
      path: $GRIDRIG_DASHBOARDS
";

/// A text in YAML, which takes every text of JSON.
fn yaml(text: &str) -> String {
    Value::from(text).to_string()
}

fn data_source(server: &Influx) -> String {
    let database = database(server);
    let mut text = format!(
        "apiVersion: 1\ndatasources:\n  - name: {SOURCE}\n    uid: {SOURCE}\n    type: influxdb\n    \
         access: proxy\n    url: {}\n    jsonData:\n      dbName: {}\n      httpMode: GET\n",
        yaml(&server.url),
        yaml(database)
    );
    let token = token_variable(server);
    if server.ca.is_some() {
        text.push_str("      tlsAuthWithCACert: true\n");
    }
    if token.is_some() {
        text.push_str("      httpHeaderName1: Authorization\n");
    }
    if server.ca.is_some() || token.is_some() {
        text.push_str("    secureJsonData:\n");
    }
    // Grafana puts files and variables of its own environment in place; a secret is never written down.
    if let Some(ca) = &server.ca {
        let file = format!("$__file{{{}}}", absolute(ca));
        text.push_str(&format!("      tlsCACert: {}\n", yaml(&file)));
    }
    // Version 1 takes `Token user:password`, later ones `Token` with theirs.
    if let Some(variable) = token {
        text.push_str(&format!("      httpHeaderValue1: \"Token ${variable}\"\n"));
    }
    text
}

/// The database that holds what the server is sent.
fn database(server: &Influx) -> &str {
    match server.api {
        WriteApi::V1 => server.bucket.split('/').next().unwrap_or_default(),
        WriteApi::V2 => server.bucket.as_str(),
    }
}

/// The variable in which Grafana finds the token.
fn token_variable(server: &Influx) -> Option<&str> {
    server.token.as_ref().map(|token| match token {
        SecretFrom::Environment(name) => name.as_str(),
        SecretFrom::File(_) => "GRIDRIG_TOKEN",
    })
}

fn absolute(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.display().to_string()
}

/// A text in a compose file, where a dollar sign begins a variable.
fn composed(text: &str) -> String {
    yaml(text).replace('$', "$$")
}

/// InfluxDB and Grafana on this machine, for those who have Docker. They use the network of the machine, so the
/// address that the rig gives is right for gridrig and for Grafana alike, and both listen on loopback only.
fn compose(server: &Influx) -> String {
    let token = token_variable(server);
    let address = server.url.trim_start_matches("http://");
    let address = address.trim_end_matches('/');
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "8086"));
    let is_here = server.url.starts_with("http://") && ["127.0.0.1", "localhost"].contains(&host);
    let database_service = match (server.api, token) {
        (WriteApi::V1, _) if is_here => Some(format!(
            "    image: influxdb:1.8\n    network_mode: host\n    environment:\n      \
             INFLUXDB_HTTP_BIND_ADDRESS: \"127.0.0.1:{port}\"\n      INFLUXDB_DB: {}\n    \
             volumes:\n      - influxdb:/var/lib/influxdb\n",
            composed(database(server))
        )),
        (WriteApi::V2, Some(token)) if is_here && !server.org.is_empty() => {
            let token = format!("\"${{{token}:?the token of the rig}}\"");
            Some(format!(
                "    image: influxdb:2.7\n    network_mode: host\n    environment:\n      \
                 INFLUXD_HTTP_BIND_ADDRESS: \"127.0.0.1:{port}\"\n      \
                 DOCKER_INFLUXDB_INIT_MODE: setup\n      DOCKER_INFLUXDB_INIT_USERNAME: gridrig\n      \
                 DOCKER_INFLUXDB_INIT_PASSWORD: {token}\n      \
                 DOCKER_INFLUXDB_INIT_ORG: {}\n      DOCKER_INFLUXDB_INIT_BUCKET: {}\n      \
                 DOCKER_INFLUXDB_INIT_ADMIN_TOKEN: {token}\n    \
                 volumes:\n      - influxdb:/var/lib/influxdb2\n",
                composed(&server.org),
                composed(&server.bucket)
            ))
        }
        _ => None,
    };
    let mut text = match &database_service {
        Some(_) => "# InfluxDB and Grafana beside gridrig, on this machine.\n",
        None => {
            "# Grafana beside gridrig. The server is not among the services: the rig's is on another machine,\n\
             # or has no organisation or no token, without which no InfluxDB 2 can be set up.\n"
        }
    }
    .to_owned();
    text.push_str("services:\n");
    if let Some(service) = &database_service {
        text.push_str("  influxdb:\n");
        text.push_str(service);
    }
    text.push_str(
        "  grafana:\n    image: grafana/grafana-oss:11.6.0\n    network_mode: host\n    environment:\n      \
         GF_SERVER_HTTP_ADDR: \"127.0.0.1\"\n      GF_PATHS_PROVISIONING: /gridrig/provisioning\n      \
         GRIDRIG_DASHBOARDS: /gridrig/dashboards\n",
    );
    if let Some(variable) = token {
        text.push_str(&format!(
            "      {variable}: \"${{{variable}:?the token of the rig}}\"\n"
        ));
    }
    text.push_str("    volumes:\n      - .:/gridrig:ro\n      - grafana:/var/lib/grafana\n");
    if let Some(ca) = &server.ca {
        let ca = absolute(ca);
        text.push_str(&format!("      - {}\n", composed(&format!("{ca}:{ca}:ro"))));
    }
    text.push_str("volumes:\n");
    if database_service.is_some() {
        text.push_str("  influxdb: {}\n");
    }
    text.push_str("  grafana: {}\n");
    text
}

/// A text as a string of InfluxQL.
fn text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A name as an identifier of InfluxQL.
fn name(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What Grafana calls the unit of a point.
fn unit(point: Point) -> &'static str {
    match point.unit() {
        _ if point == Point::StateOfCharge => "percentunit",
        "W" => "watt",
        "var" => "voltampreact",
        "VA" => "voltamp",
        "V" => "volt",
        "A" => "amp",
        "Hz" => "hertz",
        "Wh" => "watth",
        "degC" => "celsius",
        "deg" => "degree",
        "s" => "s",
        _ => "none",
    }
}

/// One query of a panel with the name of its line.
struct Query {
    sql: String,
    alias: String,
}

impl Query {
    fn of(device: &RigDevice, point: Point) -> Self {
        Self {
            sql: format!(
                "SELECT mean({}) FROM {} WHERE \"device\" = {} AND $timeFilter GROUP BY time($__interval) fill(none)",
                name(&field_name(point)),
                name(device.role.name()),
                text(&device.id)
            ),
            alias: device.id.to_string(),
        }
    }

    fn named(mut self, alias: impl Into<String>) -> Self {
        self.alias = alias.into();
        self
    }
}

fn source() -> Value {
    json!({ "type": "influxdb", "uid": SOURCE })
}

/// A panel; its place is given when all are there.
fn panel(kind: &str, title: &str, unit: &str, queries: Vec<Query>) -> Value {
    let is_table = kind == "table";
    let targets: Vec<Value> = queries
        .into_iter()
        .enumerate()
        .map(|(n, query)| {
            json!({
                "refId": format!("Q{n}"),
                "datasource": source(),
                "query": query.sql,
                "rawQuery": true,
                "resultFormat": if is_table { "table" } else { "time_series" },
                "alias": query.alias,
            })
        })
        .collect();
    let options = match is_table {
        true => json!({ "showHeader": true, "cellHeight": "sm" }),
        false => json!({
            "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": [] },
            "tooltip": { "mode": "multi", "sort": "none" },
        }),
    };
    json!({
        "type": kind,
        "title": title,
        "datasource": source(),
        "targets": targets,
        "fieldConfig": { "defaults": { "unit": unit }, "overrides": [] },
        "options": options,
    })
}

/// Panels in rows of two, from the top; a panel that shows nothing is left out.
fn laid_out(panels: Vec<Value>) -> Vec<Value> {
    let shown = panels
        .into_iter()
        .filter(|p| p["targets"].as_array().is_some_and(|t| !t.is_empty()));
    let per_row = COLUMNS / PANEL.0;
    (0_u64..)
        .zip(shown)
        .map(|(n, mut panel)| {
            panel["id"] = json!(n + 1);
            panel["gridPos"] = json!({
                "x": n % per_row * PANEL.0,
                "y": n / per_row * PANEL.1,
                "w": PANEL.0,
                "h": PANEL.1,
            });
            panel
        })
        .collect()
}

fn dashboard(rig: &Rig, what: &str, title: &str, panels: Vec<Value>) -> Value {
    let modes =
        format!("SELECT \"text\" FROM {EVENT} WHERE \"kind\" = 'mode_changed' AND $timeFilter");
    json!({
        "uid": format!("gridrig-{what}"),
        "title": format!("{}: {title}", rig.title),
        "tags": ["gridrig"],
        "schemaVersion": SCHEMA,
        "editable": true,
        "graphTooltip": 1,
        "refresh": "5s",
        "time": { "from": "now-15m", "to": "now" },
        "timezone": "browser",
        "templating": { "list": [] },
        "annotations": { "list": [{
            "name": "mode changes",
            "datasource": source(),
            "enable": true,
            "iconColor": "orange",
            "target": {
                "refId": "modes",
                "query": modes,
                "rawQuery": true,
                "resultFormat": "table",
                "textColumn": "text",
                "fromAnnotations": true,
            },
        }] },
        "panels": laid_out(panels),
    })
}

/// The lines of a point of all devices that say it.
fn of_all(rig: &Rig, point: Point) -> Vec<Query> {
    let says = |device: &&RigDevice| device.profile.points().contains(&point);
    let devices = rig.devices.iter().filter(says);
    devices.map(|device| Query::of(device, point)).collect()
}

/// The dashboards of a bench.
#[must_use]
pub fn dashboards(rig: &Rig) -> Vec<Value> {
    let all = |title: &str, point| panel("timeseries", title, unit(point), of_all(rig, point));
    let mut boards = vec![
        dashboard(
            rig,
            "overview",
            "overview",
            vec![
                all("Active power, positive into the bus", Point::ActivePower),
                all("Frequency", Point::Frequency),
                all("Voltage of phase 1", Point::VoltageL1),
                all("State of charge", Point::StateOfCharge),
                all(
                    "Reactive power, positive into the bus",
                    Point::ReactivePower,
                ),
                trouble(),
            ],
        ),
        dashboard(
            rig,
            "devices",
            "devices",
            rig.devices.iter().flat_map(of_device).collect(),
        ),
        dashboard(rig, "health", "ledger and health", health()),
        dashboard(rig, "buses", "bus diagnostics", buses()),
    ];
    if !rig.control.services.is_empty() {
        boards.push(dashboard(
            rig,
            "services",
            "ancillary services",
            services(rig),
        ));
    }
    if rig.market.is_some() {
        boards.push(dashboard(rig, "market", "market", market()));
    }
    boards
}

/// A panel for each unit that a device has.
fn of_device(device: &RigDevice) -> Vec<Value> {
    let mut by_unit: Vec<(&str, Vec<Point>)> = Vec::new();
    for point in device.profile.points() {
        match by_unit.iter_mut().find(|(u, _)| *u == point.unit()) {
            Some((_, points)) => points.push(point),
            None => by_unit.push((point.unit(), vec![point])),
        }
    }
    by_unit
        .into_iter()
        .map(|(shown, points)| {
            let lines = points.iter().map(|p| Query::of(device, *p).named(p.name()));
            let title = match shown {
                "1" => format!("{}: states and ratios", device.id),
                shown => format!("{} in {shown}", device.id),
            };
            panel("timeseries", &title, unit(points[0]), lines.collect())
        })
        .collect()
}

/// A field of figures, a line for each thing that has one; `rate` tells its growth per second.
fn figure(title: &str, unit: &str, kind: Kind, field: usize, rate: bool) -> Value {
    let mean = format!("mean({})", name(kind.fields[field]));
    let shown = match rate {
        true => format!("non_negative_derivative({mean}, 1s)"),
        false => mean,
    };
    let by = match kind.tag {
        "" => String::new(),
        tag => format!(", {}", name(tag)),
    };
    let sql = format!(
        "SELECT {shown} FROM {} WHERE $timeFilter GROUP BY time($__interval){by} fill(none)",
        name(kind.measurement)
    );
    let alias = match kind.tag {
        "" => title.to_lowercase(),
        tag => format!("$tag_{tag}"),
    };
    panel("timeseries", title, unit, vec![Query { sql, alias }])
}

fn buses() -> Vec<Value> {
    vec![
        figure(
            "Share of time in which a bus is busy",
            "percent",
            BUS,
            0,
            false,
        ),
        figure("Requests per second", "none", BUS, 1, true),
        figure("Answers per second", "none", BUS, 2, true),
        figure("Time-outs per second", "none", BUS, 3, true),
        figure("Damaged answers per second", "none", BUS, 4, true),
        figure("Exceptions per second", "none", BUS, 5, true),
        figure("Reconnections per second", "none", BUS, 6, true),
    ]
}

fn trouble() -> Value {
    let sql = format!(
        "SELECT \"text\" FROM {EVENT} WHERE \"kind\" =~ /^({TROUBLE})$/ AND $timeFilter ORDER BY time DESC LIMIT 100"
    );
    let alias = String::new();
    panel(
        "table",
        "What needs a look",
        "none",
        vec![Query { sql, alias }],
    )
}

fn health() -> Vec<Value> {
    let counted = |title: &str, kinds: &str, by: &str| {
        let sql = format!(
            "SELECT count(\"text\") FROM {EVENT} WHERE \"kind\" =~ /^({kinds})$/ AND $timeFilter \
             GROUP BY time($__interval), \"{by}\" fill(0)"
        );
        let alias = format!("$tag_{by}");
        panel("timeseries", title, "none", vec![Query { sql, alias }])
    };
    vec![
        counted(
            "Dispatches and what became of them",
            "dispatched|setpoint_confirmed|setpoint_missed",
            "kind",
        ),
        counted("Dispatches by device", "dispatched", "device"),
        counted("Trouble", TROUBLE, "kind"),
        counted("Devices that went offline", "device_offline", "device"),
        figure(
            "How late the worst cycle of a second began",
            "ms",
            CYCLE,
            0,
            false,
        ),
        figure(
            "How long the longest cycle of a second took",
            "ms",
            CYCLE,
            1,
            false,
        ),
        trouble(),
    ]
}

fn services(rig: &Rig) -> Vec<Value> {
    let sql = format!(
        "SELECT \"text\" FROM {EVENT} WHERE \"kind\" =~ /^service_/ AND $timeFilter ORDER BY time DESC LIMIT 100"
    );
    let alias = String::new();
    let power = Point::ActivePower;
    let stores = rig.devices.iter().filter(|d| d.role == model::Role::Ess);
    let stores = stores.map(|device| Query::of(device, power)).collect();
    vec![
        panel(
            "timeseries",
            "Frequency",
            unit(Point::Frequency),
            of_all(rig, Point::Frequency),
        ),
        panel("timeseries", "Power of the storages", unit(power), stores),
        figure(
            "Asked for on top of the baseline",
            "watt",
            SERVICE,
            0,
            false,
        ),
        figure("Could be given upwards", "watt", SERVICE, 1, false),
        figure("Could be given downwards", "watt", SERVICE, 2, false),
        figure("Available", "bool", SERVICE, 3, false),
        panel(
            "table",
            "What the services say",
            "none",
            vec![Query { sql, alias }],
        ),
    ]
}

fn market() -> Vec<Value> {
    let of = |title: &str, field: &str, divisor: &str, unit: &str| {
        let sql = format!(
            "SELECT mean(\"{field}\") / {divisor} FROM {MARKET} WHERE $timeFilter GROUP BY time($__interval) fill(none)"
        );
        let alias = title.to_lowercase();
        panel("timeseries", title, unit, vec![Query { sql, alias }])
    };
    // Prices are written in thousandths of a cent per kilowatt hour, energies in milliwatt hours.
    let [price, energy, trades] = MARKET_FIELDS;
    vec![
        of("Price in cents per kWh", price, "1000", "none"),
        of("Energy of an interval", energy, "1000", "watth"),
        of("Trades of an interval", trades, "1", "none"),
    ]
}

#[cfg(test)]
mod tests;
