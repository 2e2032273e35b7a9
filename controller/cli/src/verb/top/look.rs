//! What is read of the daemon's answers. `None` is unknown, which is never zero.
//!
//! The shapes are those of `runtime::web::wire`, as far as they are shown; a test builds those and
//! reads them here.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::daemon::{Question, refused};
use crate::problem::Problem;

/// What is asked at each look, in the order in which [`Look::of`] takes the answers.
const PATHS: [&str; 6] = [
    "/api/v1/state",
    "/api/v1/lock",
    "/api/v1/events",
    "/api/v1/services",
    "/api/v1/market",
    "/api/v1/alarms",
];

/// What is asked once: the last ten minutes, for charts.
pub fn history() -> Question<'static> {
    Question::read("/api/v1/history")
}

/// The questions of one look.
pub fn questions() -> [Question<'static>; 6] {
    PATHS.map(Question::read)
}

/// One look at the bench.
#[derive(Clone, Debug)]
pub struct Look {
    pub state: State,
    pub lock: Lock,
    /// The kept events, oldest first.
    pub events: Vec<Event>,
    pub services: Vec<Service>,
    pub market: Option<Market>,
    /// In the order of the rig.
    pub alarms: Vec<Alarm>,
}

impl Look {
    /// Reads the answers to [`questions`].
    ///
    /// # Errors
    /// R024 when an answer is not what this version of gridrig gives.
    pub fn of(answers: Vec<Value>) -> Result<Self, Problem> {
        let mut answers = PATHS.iter().zip(answers);
        Ok(Self {
            state: next(&mut answers)?,
            lock: next(&mut answers)?,
            events: next(&mut answers)?,
            services: next(&mut answers)?,
            market: next(&mut answers)?,
            alarms: next(&mut answers)?,
        })
    }
}

fn next<'a, T: DeserializeOwned>(
    answers: &mut impl Iterator<Item = (&'a &'static str, Value)>,
) -> Result<T, Problem> {
    let (path, answer) = answers.next().unwrap_or((&"", Value::Null));
    serde_json::from_value(answer).map_err(|e| {
        refused(format!(
            "the daemon's answer at {path} is not understood: {e}"
        ))
        .help("use the `gridrig` that the daemon was started with")
        .into()
    })
}

#[derive(Clone, Debug, Deserialize)]
pub struct State {
    pub rig: Rig,
    pub cycle: Option<Cycle>,
    pub estimate: Option<Estimate>,
    pub devices: Vec<Device>,
    pub buses: Vec<Bus>,
    /// Newest first.
    pub dispatches: Vec<Dispatch>,
    pub market: Option<Price>,
    pub ledger: Option<Ledger>,
    pub scenario: Option<Scenario>,
    pub counters: Counters,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Rig {
    pub title: String,
    pub rig_path: String,
    pub started_utc: String,
    pub virtual_time: bool,
    pub version: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Cycle {
    pub n: u64,
    pub t_s: f64,
    pub utc: String,
    pub took_ms: f64,
    pub mode: String,
    pub mode_for_s: f64,
    pub armed: bool,
}

/// Positive = into the bus; load = consumption.
#[derive(Clone, Debug, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    Good,
    Held,
    Stale,
    Unread,
    Absent,
}

impl Quality {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Held => "held",
            Self::Stale => "stale",
            Self::Unread => "unread",
            Self::Absent => "absent",
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Known<T> {
    pub value: Option<T>,
    pub quality: Quality,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Device {
    pub name: String,
    pub role: String,
    pub bus: String,
    pub link: String,
    pub quality: Quality,
    pub why: Option<String>,
    pub age_s: Option<f64>,
    pub p_w: Known<f64>,
    pub q_var: Known<f64>,
    pub v_v: Known<f64>,
    pub f_hz: Known<f64>,
    pub soc: Known<f64>,
    pub switch_on: Known<bool>,
}

#[derive(Clone, Debug, Deserialize)]
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
}

#[derive(Clone, Debug, Deserialize)]
pub struct Dispatch {
    pub utc: String,
    /// Its identity in the ledger.
    pub atom: String,
    pub device: String,
    pub setpoint_text: String,
    pub function: String,
    pub why: String,
    pub clamped: Vec<String>,
    pub ledger_clock: u64,
    pub stage: String,
    pub after_s: Option<f64>,
    pub missed: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Price {
    pub price_mc_per_kwh: Option<i64>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Market {
    pub mechanism: String,
    pub accounts: Vec<Account>,
    /// Newest first.
    pub intervals: Vec<Interval>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Account {
    pub name: String,
    pub balance: String,
}

/// Energy in milliwatt-hours, positive into the bus.
#[derive(Clone, Debug, Deserialize)]
pub struct Interval {
    pub interval: u64,
    /// The clearing, by its identity in the ledger.
    pub atom: Option<String>,
    pub from_s: f64,
    pub until_s: f64,
    pub price_mc_per_kwh: Option<i64>,
    pub energy_mwh: i64,
    pub failure: Option<String>,
    pub orders: Vec<Order>,
    pub participants: Vec<Position>,
    pub settled: bool,
    pub unaccounted_mwh: Option<i64>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Order {
    pub who: String,
    /// Its identity in the ledger; what was traded before has none here.
    pub atom: Option<String>,
    pub side: String,
    /// Price in milli-cent per kWh, and energy.
    pub steps: Vec<(i64, i64)>,
    pub served_mwh: i64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Position {
    pub who: String,
    pub committed_mwh: i64,
    pub metered_mwh: Option<i64>,
    pub amount_ct: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Alarm {
    pub name: String,
    pub watch: String,
    pub severity: String,
    pub raised: bool,
    pub since_s: Option<f64>,
    pub why: Option<String>,
    pub acknowledged_by: Option<String>,
    pub times: u64,
}

/// Times are control time in seconds.
#[derive(Clone, Debug, Deserialize)]
pub struct Scenario {
    pub name: String,
    pub file: String,
    pub phase: String,
    pub step: Option<usize>,
    pub steps: Vec<Step>,
    pub bands: Vec<Band>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Step {
    pub at: String,
    pub text: String,
    pub mark: Option<String>,
    pub due_s: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Band {
    pub name: String,
    pub subject: String,
    pub quantity: String,
    pub unit: String,
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub from_s: Option<f64>,
    pub until_s: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Ledger {
    pub clock: u64,
    /// How it stands with the other nodes, where there are some.
    pub federation: Option<Federation>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Federation {
    pub not_final: u64,
    pub nodes: Vec<LedgerNode>,
    /// Who has contradicted itself.
    pub accused: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct LedgerNode {
    pub name: String,
    pub entries: u64,
    pub connected: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Counters {
    pub cycles: u64,
    pub cycles_late: u64,
    pub dispatches: u64,
    pub dispatches_logged: u64,
    pub telemetry_lost: u64,
    pub telemetry_waiting: u64,
    /// A daemon that is older does not say it.
    #[serde(default)]
    pub database_lost: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Lock {
    pub holder: Option<String>,
    pub left_s: Option<f64>,
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Info,
    Warning,
    Error,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Event {
    pub utc: String,
    pub level: Level,
    pub device: Option<String>,
    pub text: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Service {
    pub name: String,
    pub service: String,
    pub sold_up_w: f64,
    pub sold_down_w: f64,
    pub phase: String,
    pub asked_w: f64,
    pub baseline_w: Option<f64>,
    pub up_w: f64,
    pub down_w: f64,
    pub delivered_w: Option<f64>,
    pub available: bool,
    pub availability: f64,
}
