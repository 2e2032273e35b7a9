//! The shapes of the API. Units are the last part of a name; `null` is unknown, which is never zero.
//!
//! These structs are the promise to programs that read the API; types inside may change without them.

use std::time::Duration;

use model::{DeviceImage, Flaw, Instant, Link, Mode, Reading, Role, ServiceReport, Signal};
use quantities::{ActivePower, Quantity};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::telemetry::{self, Level};
use crate::view::{self, LiveView};

mod market;
mod scenario;

pub use market::{Account, Interval, Market, Markets, Order, Position, market, markets};
pub use scenario::{Band, Scenario, Step, scenario};

/// The whole state of the bench: what the page draws.
#[derive(Clone, Debug, Serialize)]
pub struct State {
    /// What does not change.
    pub rig: Rig,
    /// The latest cycle; `null` before the first.
    pub cycle: Option<Cycle>,
    /// What is true on the bus; `null` before the first cycle.
    pub estimate: Option<Estimate>,
    /// The devices, in the order of the rig.
    pub devices: Vec<Device>,
    /// The buses.
    pub buses: Vec<Bus>,
    /// The last dispatches, newest first.
    pub dispatches: Vec<Dispatch>,
    /// The latest of the market; `null` before the first clearing.
    pub market: Option<Market>,
    /// The latest of the ledger; `null` before the first entry.
    pub ledger: Option<Ledger>,
    /// The scenario that is being played; `null` where none is.
    pub scenario: Option<Scenario>,
    /// Counters since the run began.
    pub counters: Counters,
}

/// What does not change during a run.
#[derive(Clone, Debug, Serialize)]
pub struct Rig {
    /// Title.
    pub title: String,
    /// Path of the rig file.
    pub rig_path: String,
    /// The site in words.
    pub site: String,
    /// When the run began, RFC 3339.
    pub started_utc: String,
    /// Whether time is simulated.
    pub virtual_time: bool,
    /// Version of the program.
    pub version: &'static str,
}

/// The latest cycle.
#[derive(Clone, Debug, Serialize)]
pub struct Cycle {
    /// Its number.
    pub n: u64,
    /// Control time in seconds.
    pub t_s: f64,
    /// Wall-clock time, RFC 3339.
    pub utc: String,
    /// How late it began, in milliseconds.
    pub late_ms: f64,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
    /// Operating mode.
    pub mode: &'static str,
    /// For how long this mode has lasted, in seconds.
    pub mode_for_s: f64,
    /// Whether devices may be written to.
    pub armed: bool,
}

/// What is true on the bus. Positive = into the bus; load = consumption.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "names carry quantity and unit")]
pub struct Estimate {
    pub f_hz: Option<f64>,
    pub rocof_hz_per_s: Option<f64>,
    pub v_v: Option<f64>,
    pub pcc_w: Option<f64>,
    pub pcc_var: Option<f64>,
    pub storage_w: Option<f64>,
    pub storage_var: Option<f64>,
    pub pv_w: Option<f64>,
    pub load_w: Option<f64>,
    pub soc: Option<f64>,
    pub breaker_closed: Option<bool>,
    pub grid_f_hz: Option<f64>,
    pub grid_v_v: Option<f64>,
}

/// How far a value can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// The latest reading is good and fresh.
    Good,
    /// The latest attempt failed; the last good value is still fresh.
    Held,
    /// The last good value is too old to be used.
    Stale,
    /// There has never been a value.
    Unread,
    /// The device does not have this value.
    Absent,
}

/// A value with its age and how far it can be believed.
#[derive(Clone, Debug, Serialize)]
pub struct Known<T> {
    /// The last good value; `null` if there never was one.
    pub value: Option<T>,
    /// Its age in seconds.
    pub age_s: Option<f64>,
    /// How far it can be believed.
    pub quality: Quality,
    /// Why it is not good.
    pub why: Option<&'static str>,
}

impl<T: Copy> Known<T> {
    fn of<Q: Copy>(
        signal: &Signal<Q>,
        now: Instant,
        age_max: std::time::Duration,
        read: impl Fn(Q) -> T,
    ) -> Self {
        let age = signal.age(now);
        let (quality, why) = match (signal.latest.reading, age) {
            (Reading::Bad(Flaw::NotImplemented), None) => {
                (Quality::Absent, Some("not implemented"))
            }
            (Reading::Bad(flaw), None) => (Quality::Unread, Some(flaw.word())),
            (Reading::Good(_), Some(age)) if age <= age_max => (Quality::Good, None),
            (Reading::Good(_), _) => (Quality::Stale, Some("no new sample")),
            (Reading::Bad(flaw), Some(age)) if age <= age_max => (Quality::Held, Some(flaw.word())),
            (Reading::Bad(flaw), Some(_)) => (Quality::Stale, Some(flaw.word())),
        };
        Self {
            value: signal.last_good.map(|(_, value)| read(value)),
            age_s: age.map(|a| a.as_secs_f64()),
            quality,
            why,
        }
    }
}

/// A device.
#[derive(Clone, Debug, Serialize)]
pub struct Device {
    /// Name in the rig.
    pub name: String,
    /// What it is for.
    pub role: &'static str,
    /// Profile.
    pub profile: String,
    /// Name of its bus.
    pub bus: String,
    /// Whether it can be talked to: `unknown`, `online`, `offline`.
    pub link: &'static str,
    /// How far its main value can be believed.
    pub quality: Quality,
    /// Why it is not good.
    pub why: Option<&'static str>,
    /// Age of its youngest good value in seconds.
    pub age_s: Option<f64>,
    /// Oldest age at which a value is used, in seconds.
    pub age_max_s: f64,
    /// Active power in watts, positive = into the bus.
    pub p_w: Known<f64>,
    /// Reactive power in vars, positive = into the bus.
    pub q_var: Known<f64>,
    /// Voltage of phase 1 in volts.
    pub v_v: Known<f64>,
    /// Frequency in hertz.
    pub f_hz: Known<f64>,
    /// State of charge, 0 to 1.
    pub soc: Known<f64>,
    /// Switch or breaker position.
    pub switch_on: Known<bool>,
    /// What came of the requests to it; nothing where it speaks by itself or was not asked yet.
    pub line: Option<Line>,
}

impl Device {
    fn of(label: &view::DeviceLabel, image: &DeviceImage, now: Instant) -> Self {
        let age_max = label.sample_age_max;
        macro_rules! value {
            ($signal:expr) => {
                Known::of(&$signal, now, age_max, |q| q.base())
            };
        }
        let p_w = value!(image.p);
        let q_var = value!(image.q);
        let v_v = value!(image.v);
        let f_hz = value!(image.f);
        let soc = value!(image.soc);
        let switch_on = Known::of(&image.switch_on, now, age_max, |on| on);
        let (quality, why) = match label.role {
            Role::Breaker => (switch_on.quality, switch_on.why),
            Role::Battery => (soc.quality, soc.why),
            Role::Pcc
            | Role::Pv
            | Role::Ess
            | Role::Load
            | Role::Meter
            | Role::Source
            | Role::Genset => (p_w.quality, p_w.why),
        };
        let ages = [
            p_w.age_s,
            q_var.age_s,
            v_v.age_s,
            f_hz.age_s,
            soc.age_s,
            switch_on.age_s,
        ];
        Self {
            name: label.name.clone(),
            role: label.role.name(),
            profile: label.profile.clone(),
            bus: label.bus.clone(),
            link: match image.link {
                Link::Unknown => "unknown",
                Link::Online => "online",
                Link::Offline => "offline",
            },
            quality,
            why,
            age_s: ages.into_iter().flatten().reduce(f64::min),
            age_max_s: age_max.as_secs_f64(),
            p_w,
            q_var,
            v_v,
            f_hz,
            soc,
            switch_on,
            line: None,
        }
    }
}

/// How a device is reached: its share of the bus and what came of its requests, since the run began.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the counters are those of bus::DeviceStats")]
pub struct Line {
    pub requests: u64,
    pub answers: u64,
    pub timeouts: u64,
    pub corrupt: u64,
    pub exceptions: u64,
    pub retries: u64,
    pub late: u64,
    pub expired: u64,
    /// Time of the bus that it has taken, in seconds.
    pub busy_s: f64,
    /// Median of the times from request to answer, in milliseconds.
    pub round_trip_p50_ms: Option<f64>,
    /// The time that one in a hundred answers exceeds, in milliseconds.
    pub round_trip_p99_ms: Option<f64>,
}

impl From<&bus::DeviceReport> for Line {
    fn from(report: &bus::DeviceReport) -> Self {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        Self {
            requests: report.requests,
            answers: report.answers,
            timeouts: report.timeouts,
            corrupt: report.corrupt,
            exceptions: report.exceptions,
            retries: report.retries,
            late: report.late,
            expired: report.expired,
            busy_s: report.busy_nanos as f64 * 1e-9,
            round_trip_p50_ms: report.round_trip_p50.map(ms),
            round_trip_p99_ms: report.round_trip_p99.map(ms),
        }
    }
}

/// A bus with its counters since the run began.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the counters are those of bus::BusStats")]
pub struct Bus {
    pub name: String,
    pub busy_percent: f64,
    pub requests: u64,
    pub answers: u64,
    pub timeouts: u64,
    pub corrupt: u64,
    pub exceptions: u64,
    pub expired: u64,
    pub reconnects: u64,
    pub bus_offs: u64,
    pub bus_errors: u64,
}

/// What arming would change first.
#[derive(Clone, Debug, Serialize)]
pub struct Arming {
    /// Whether the bench is armed; then nothing is left to be shown.
    pub armed: bool,
    /// Why it cannot be armed.
    pub blocked: Option<String>,
    /// Control time at which it was looked ahead, in seconds; `null` before the first look.
    pub t_s: Option<f64>,
    /// Controls that would be written.
    pub changes: Vec<Change>,
}

/// A control that would be written.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// Which device.
    pub device: String,
    /// Which control.
    pub point: &'static str,
    /// Unit of both values; `1` for a switch.
    pub unit: &'static str,
    /// What the device holds now; `null` when it is not known.
    pub now: Option<f64>,
    /// How old that is, in seconds.
    pub age_s: Option<f64>,
    /// What would be written.
    pub would_be: f64,
    /// Who asks.
    pub function: &'static str,
    /// Why.
    pub why: String,
    /// What the limiter would change about the wish.
    pub clamped: Vec<String>,
}

impl Arming {
    /// From the live view.
    #[must_use]
    pub fn of(view: &LiveView) -> Self {
        let ahead = view.latest_arming();
        let armed = view.last_cycle().is_some_and(|c| c.armed);
        let changes = ahead.iter().flat_map(|ahead| {
            ahead.changes.iter().map(|change| Change {
                device: view.name_of(change.device),
                point: change.point.name(),
                unit: change.point.unit(),
                now: change.now.map(|(_, value)| value),
                age_s: change.now.map(|(at, _)| ahead.at.since(at).as_secs_f64()),
                would_be: change.would_be,
                function: change.function.name(),
                why: change.why.clone(),
                clamped: change.clamped.clone(),
            })
        });
        Self {
            armed,
            changes: changes.collect(),
            t_s: ahead.as_ref().map(|a| a.at.as_seconds()),
            blocked: ahead.and_then(|a| a.blocked),
        }
    }
}

/// A dispatch and how far it has come.
#[derive(Clone, Debug, Serialize)]
pub struct Dispatch {
    /// Wall-clock time, RFC 3339.
    pub utc: String,
    /// Control time in seconds.
    pub t_s: f64,
    /// Which device.
    pub device: String,
    /// What it was asked to do, in words.
    pub setpoint_text: String,
    /// The same as values: `p_w` and `q_var`, `ceiling_w`, or `on`.
    pub setpoint: Value,
    /// Who asked.
    pub function: &'static str,
    /// Why.
    pub why: String,
    /// What the limiter changed.
    pub clamped: Vec<String>,
    /// Ledger clock of its record.
    pub ledger_clock: u64,
    /// Identity of its record, hexadecimal.
    pub atom: String,
    /// How far it came: `sent`, `written`, `register`, `power`, or `missed`.
    pub stage: &'static str,
    /// Seconds from dispatch to the stage that was confirmed last.
    pub after_s: Option<f64>,
    /// What was missed, and why.
    pub missed: Option<String>,
}

/// The latest of the ledger.
#[derive(Clone, Debug, Serialize)]
pub struct Ledger {
    /// Its clock.
    pub clock: u64,
    /// Root of its commitment, hexadecimal.
    pub root: String,
    /// Number of entries.
    pub entries: u64,
    /// Where several nodes keep it: how it stands with them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub federation: Option<Federation>,
}

/// How the ledger stands with the other nodes.
#[derive(Clone, Debug, Serialize)]
pub struct Federation {
    /// Entries that are not final (L3) yet.
    pub not_final: u64,
    /// Every node of the universe.
    pub nodes: Vec<LedgerNode>,
    /// Who has contradicted itself, by name.
    pub accused: Vec<String>,
}

/// A node of the ledger as this one sees it.
#[derive(Clone, Debug, Serialize)]
pub struct LedgerNode {
    /// Its name.
    pub name: String,
    /// How much of its log is here.
    pub entries: u64,
    /// Whether there is a connection.
    pub connected: bool,
}

/// Counters since the run began.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the counters are those of view::Counters")]
pub struct Counters {
    pub cycles: u64,
    pub cycles_late: u64,
    pub samples: u64,
    pub dispatches: u64,
    pub dispatches_logged: u64,
    pub trades: u64,
    pub telemetry_written: u64,
    pub telemetry_lost: u64,
    /// Values that wait for a telemetry server, in memory or in the spool.
    pub telemetry_waiting: u64,
    /// Rows (readings, figures, events) that `samples.db` did not take.
    pub database_lost: u64,
    /// Values that the broker of Home Assistant has acknowledged.
    pub home_written: u64,
    /// Values that the sink of Home Assistant lost.
    pub home_lost: u64,
}

/// An event.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Number in the run.
    pub seq: u64,
    /// Wall-clock time, RFC 3339.
    pub utc: String,
    /// Control time in seconds.
    pub t_s: f64,
    /// Kind.
    pub event: &'static str,
    /// How much it matters.
    pub level: Level,
    /// Which device it is about.
    pub device: Option<String>,
    /// One sentence.
    pub text: String,
    /// Its values.
    pub details: Map<String, Value>,
}

/// The operating modes.
#[derive(Clone, Debug, Serialize)]
pub struct Modes {
    /// The present one; `null` before the first cycle.
    pub mode: Option<&'static str>,
    /// All there are.
    pub modes: Vec<&'static str>,
    /// What may be asked for.
    pub requests: &'static [&'static str],
}

/// Ten minutes for charts: every list has one entry per point of time.
#[derive(Clone, Debug, Serialize)]
pub struct History {
    /// Control time in seconds.
    pub t_s: Vec<f64>,
    /// Frequency of the bus in hertz.
    pub f_hz: Vec<Option<f64>>,
    /// Voltage of the bus in volts.
    pub v_v: Vec<Option<f64>>,
    /// What each device said, in the order of the rig.
    pub devices: Vec<Trace>,
}

/// What one device has said of late.
#[derive(Clone, Debug, Serialize)]
pub struct Trace {
    /// Name in the rig.
    pub name: String,
    /// Active power in watts.
    pub p_w: Vec<Option<f64>>,
    /// Reactive power in vars.
    pub q_var: Vec<Option<f64>>,
    /// Frequency in hertz.
    pub f_hz: Vec<Option<f64>>,
    /// Voltage of phase 1 in volts.
    pub v_v: Vec<Option<f64>>,
}

impl State {
    /// The state as it is now.
    #[must_use]
    pub fn of(view: &LiveView) -> Self {
        let cycle = view.last_cycle();
        let rig = view.rig();
        Self {
            rig: Rig {
                title: rig.title.clone(),
                rig_path: rig.rig_path.clone(),
                site: rig.site.clone(),
                started_utc: rig.started_utc.to_string(),
                virtual_time: rig.virtual_time,
                version: env!("CARGO_PKG_VERSION"),
            },
            estimate: cycle.as_ref().map(|c| Estimate::of(&c.estimate)),
            devices: devices_at(view, cycle.as_ref()),
            cycle: cycle.map(|c| Cycle {
                n: c.n,
                t_s: c.now.as_seconds(),
                utc: c.utc.to_string(),
                late_ms: c.late_ms,
                took_ms: c.took_ms,
                mode: c.mode.name(),
                mode_for_s: c.now.since(c.mode_since).as_secs_f64(),
                armed: c.armed,
            }),
            buses: buses(view),
            dispatches: dispatches(view),
            market: market(view),
            ledger: ledger(view),
            scenario: scenario(view),
            counters: Counters::of(view.latest_counters()),
        }
    }
}

impl Estimate {
    fn of(e: &control::Estimate) -> Self {
        Self {
            f_hz: e.f.map(Quantity::base),
            rocof_hz_per_s: e.rocof.map(Quantity::base),
            v_v: e.v.map(Quantity::base),
            pcc_w: e.pcc.map(Quantity::base),
            pcc_var: e.pcc_q.map(Quantity::base),
            storage_w: e.storage.map(Quantity::base),
            storage_var: e.storage_q.map(Quantity::base),
            pv_w: e.pv.map(Quantity::base),
            load_w: e.load.map(Quantity::base),
            soc: e.soc.map(Quantity::base),
            breaker_closed: e.breaker_closed,
            grid_f_hz: e.grid_f.map(Quantity::base),
            grid_v_v: e.grid_v.map(Quantity::base),
        }
    }
}

impl Counters {
    fn of(c: view::Counters) -> Self {
        Self {
            cycles: c.cycles,
            cycles_late: c.cycles_late,
            samples: c.samples,
            dispatches: c.dispatches,
            dispatches_logged: c.dispatches_logged,
            trades: c.trades,
            telemetry_written: c.telemetry_written,
            telemetry_lost: c.telemetry_lost,
            telemetry_waiting: c.telemetry_waiting,
            database_lost: c.database_lost,
            home_written: c.home_written,
            home_lost: c.home_lost,
        }
    }
}

impl Modes {
    /// The modes, and which one is present.
    #[must_use]
    pub fn of(view: &LiveView) -> Self {
        Self {
            mode: view.last_cycle().map(|c| c.mode.name()),
            modes: Mode::ALL.iter().map(|m| m.name()).collect(),
            requests: &["island", "reconnect", "resume"],
        }
    }
}

impl History {
    /// The history as it is now.
    #[must_use]
    pub fn of(view: &LiveView) -> Self {
        let past = view.history();
        Self {
            t_s: past.t_s.into(),
            f_hz: past.f_hz.into(),
            v_v: past.v_v.into(),
            devices: past
                .devices
                .into_iter()
                .zip(&view.rig().devices)
                .map(|(trace, label)| Trace {
                    name: label.name.clone(),
                    p_w: trace.p_w.into(),
                    q_var: trace.q_var.into(),
                    f_hz: trace.f_hz.into(),
                    v_v: trace.v_v.into(),
                })
                .collect(),
        }
    }
}

fn devices_at(view: &LiveView, cycle: Option<&view::LastCycle>) -> Vec<Device> {
    let unread = DeviceImage::unread();
    let now = cycle.map_or(Instant::START, |c| c.now);
    let image = |i: usize| cycle.and_then(|c| c.devices.get(i)).unwrap_or(&unread);
    let buses = view.latest_buses();
    let line = |i: usize| {
        let mut devices = buses.iter().flat_map(|b| &b.devices);
        devices.find(|d| d.device.index() == i).map(Line::from)
    };
    view.rig()
        .devices
        .iter()
        .enumerate()
        .map(|(i, label)| Device {
            line: line(i),
            ..Device::of(label, image(i), now)
        })
        .collect()
}

/// The devices as they are now.
#[must_use]
pub fn devices(view: &LiveView) -> Vec<Device> {
    devices_at(view, view.last_cycle().as_ref())
}

/// The buses; one without counters yet is idle.
#[must_use]
pub fn buses(view: &LiveView) -> Vec<Bus> {
    let told = view.latest_buses();
    view.rig()
        .buses
        .iter()
        .map(|name| {
            let bus = told.iter().find(|b| b.name == *name);
            let report = bus.map(|b| b.report).unwrap_or_default();
            Bus {
                name: name.clone(),
                busy_percent: bus.map_or(0.0, |b| b.busy_percent),
                requests: report.requests,
                answers: report.answers,
                timeouts: report.timeouts,
                corrupt: report.corrupt,
                exceptions: report.exceptions,
                expired: report.expired,
                reconnects: report.reconnects,
                bus_offs: report.bus_offs,
                bus_errors: report.bus_errors,
            }
        })
        .collect()
}

/// The last dispatches, newest first.
#[must_use]
pub fn dispatches(view: &LiveView) -> Vec<Dispatch> {
    view.dispatches()
        .into_iter()
        .map(|d| Dispatch {
            utc: d.utc.to_string(),
            t_s: d.at.as_seconds(),
            device: view.name_of(d.device),
            setpoint_text: telemetry::setpoint_text(d.setpoint),
            setpoint: telemetry::setpoint_json(d.setpoint),
            function: d.function.name(),
            why: d.why,
            clamped: d.clamped,
            ledger_clock: d.ledger_clock,
            atom: d.atom,
            stage: match (&d.missed, d.reached) {
                (Some(_), _) => "missed",
                (None, Some((stage, _))) => telemetry::stage_name(stage),
                (None, None) => "sent",
            },
            after_s: d.reached.map(|(_, after_s)| after_s),
            missed: d
                .missed
                .map(|(stage, why)| format!("{}: {why}", telemetry::stage_name(stage))),
        })
        .collect()
}

/// A service that was sold, and how far it is. Positive = more into the bus.
#[derive(Debug, Serialize)]
pub struct Service {
    /// Its name in the rig.
    pub name: String,
    /// What it is, such as `fcr-ce`.
    pub service: String,
    /// Power that was sold upwards.
    pub sold_up_w: f64,
    /// Power that was sold downwards, as a magnitude.
    pub sold_down_w: f64,
    /// How far it is.
    pub phase: &'static str,
    /// Power that it is asked for on top of the baseline.
    pub asked_w: f64,
    /// Power of its devices that was declared before; null while nothing is delivered.
    pub baseline_w: Option<f64>,
    /// Additional power that it could give now.
    pub up_w: f64,
    /// The same downwards, as a magnitude.
    pub down_w: f64,
    /// Measured power of its devices, less the baseline and what other services ask of them; null while
    /// nothing is delivered or a device's power is not known.
    pub delivered_w: Option<f64>,
    /// Whether what it could give now is enough of what was sold.
    pub available: bool,
    /// Share of the time so far in which it was.
    pub availability: f64,
}

/// The services, in the order of the rig; empty before the first cycle.
#[must_use]
pub fn services(view: &LiveView) -> Vec<Service> {
    let labels = &view.rig().services;
    let reports = view.latest_services();
    let last = view.last_cycle();
    labels
        .iter()
        .zip(&reports)
        .zip(view.availability())
        .map(|((label, report), availability)| Service {
            name: label.name.clone(),
            service: label.service.clone(),
            sold_up_w: label.up.as_watts(),
            sold_down_w: label.down.as_watts(),
            phase: report.phase.name(),
            asked_w: report.asked.as_watts(),
            baseline_w: report.baseline.map(ActivePower::as_watts),
            up_w: report.up.as_watts(),
            down_w: report.down.as_watts(),
            delivered_w: last
                .as_ref()
                .and_then(|last| delivered(view, last, label, report))
                .map(ActivePower::as_watts),
            available: report.available,
            availability,
        })
        .collect()
}

fn delivered(
    view: &LiveView,
    last: &view::LastCycle,
    label: &view::ServiceLabel,
    report: &ServiceReport,
) -> Option<ActivePower> {
    let baseline = report.baseline?;
    let measured: Option<ActivePower> = label
        .devices
        .iter()
        .map(|device| {
            let age_max = view.rig().devices.get(device.index())?.sample_age_max;
            last.devices.get(device.index())?.p.fresh(last.now, age_max)
        })
        .sum();
    Some(measured? - baseline - report.others)
}

/// The latest of the ledger.
#[must_use]
pub fn ledger(view: &LiveView) -> Option<Ledger> {
    view.latest_ledger().map(|l| Ledger {
        clock: l.clock,
        root: l.root,
        entries: l.entries,
        federation: l.federation.map(|f| Federation {
            not_final: f.not_final,
            nodes: f
                .nodes
                .into_iter()
                .map(|node| LedgerNode {
                    name: node.name,
                    entries: node.entries,
                    connected: node.connected,
                })
                .collect(),
            accused: f.accused,
        }),
    })
}

/// The events after a number, oldest first.
#[must_use]
pub fn events_after(view: &LiveView, seq: u64) -> Vec<Event> {
    view.events_after(seq)
        .into_iter()
        .map(|seen| {
            let record = telemetry::describe(&seen.event, &|device| view.name_of(device));
            Event {
                seq: seen.seq,
                utc: seen.utc.to_string(),
                t_s: seen.at.as_seconds(),
                event: record.event,
                level: record.level,
                device: record.device,
                text: record.text,
                details: record.details,
            }
        })
        .collect()
}
