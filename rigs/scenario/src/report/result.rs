//! `result.json`: what came out, for machines.

use std::collections::BTreeMap;

use document::Diagnostic;
use serde::{Deserialize, Serialize};

use super::compare::Comparison;
use super::merge::Shard;
use super::repeats::Repeated;
use crate::check::CheckResult;
use crate::script::Scenario;
use crate::verdict::{Expect, Verdict, of_scenario};

/// Version of the shape of `result.json`; it grows when a field changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It has ended, and this is its result.
    #[default]
    Ended,
    /// It had not ended when this was written: it goes on, or its process was killed.
    Running,
}

/// The result of a run: of scenarios, or of a demo or daemon without any.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Version of this shape.
    pub schema: u32,
    /// Name of the run, as its folder.
    pub id: String,
    /// How far it has come. A run that is under way counts as interrupted until it has ended.
    #[serde(default)]
    pub status: Status,
    /// What came out.
    pub verdict: Verdict,
    /// Exit code of the process.
    pub exit_code: u8,
    /// Why, when it is not told by the scenarios.
    pub why: String,
    /// Version of gridrig.
    pub gridrig: String,
    /// Rig, as the user named it.
    pub rig: String,
    /// What it ran on: `sim`, `bench` or `mixed`.
    pub on: String,
    /// `1` for real time, `max` for virtual time.
    pub speed: String,
    /// Seed of everything random.
    pub seed: u64,
    /// Time of day when it began.
    pub started_utc: String,
    /// Time of day when it ended.
    pub ended_utc: String,
    /// Which part of a run this is; `None` = all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// Names of the parts that this was put together from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
    /// Scenarios in the order in which they ran.
    pub scenarios: Vec<ScenarioResult>,
    /// Those that ran several times, and how often they passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repeats: Vec<Repeated>,
    /// What has changed since the run that it was to be compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Comparison>,
    /// What was counted.
    pub counters: Counters,
    /// The ledger of the run.
    pub ledger: LedgerSummary,
    /// The steps of the safe end, as they went.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub safe_end: Vec<SafeStep>,
    /// How devices fell back whose plug was pulled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<FallbackTime>,
    /// Files of the run folder that could not be written; not part of `result.json`.
    #[serde(skip)]
    pub unwritten: Vec<Diagnostic>,
}

/// A step of the safe end, as it went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SafeStep {
    /// Name of the step.
    pub step: String,
    /// Devices that were told.
    pub devices: Vec<String>,
    /// Those that did not confirm it in time.
    pub missed: Vec<String>,
    /// How long it took, in seconds.
    pub took_s: f64,
    /// How long it might have taken, in seconds.
    pub within_s: f64,
}

/// How long a device took to fall back by itself, after it heard nothing any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FallbackTime {
    /// Which device.
    pub device: String,
    /// What was measured, in seconds; `None` = it did not fall back while its plug was out.
    pub measured_s: Option<f64>,
    /// How long its plug was out, in seconds.
    pub out_s: f64,
    /// Within which time it has to, as rig and profile say, in seconds; `None` = they state none.
    pub stated_s: Option<f64>,
}

impl FallbackTime {
    /// Whether it fell back within the time that is stated.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        match (self.measured_s, self.stated_s) {
            (Some(measured), Some(stated)) => measured <= stated,
            _ => false,
        }
    }
}

/// The result of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScenarioResult {
    /// Name with the combination of the matrix.
    pub name: String,
    /// File that it stands in.
    pub file: String,
    /// Words to select by.
    pub tags: Vec<String>,
    /// Where its demands come from.
    pub source: Vec<String>,
    /// The combination of the matrix.
    pub matrix: BTreeMap<String, String>,
    /// Seed of everything random.
    pub seed: u64,
    /// What was expected, `pass` also when that was told to be ignored.
    pub expect: Expect,
    /// What came out.
    pub verdict: Verdict,
    /// Why the script was not carried out to its end; empty when it was.
    pub why: String,
    /// How long it took, in seconds of the bench.
    pub duration_s: f64,
    /// Checks in the order of the file.
    pub checks: Vec<CheckResult>,
    /// Rig that it ran on, as its file is named; empty = the demo bench, or it never began.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rig: String,
    /// Hash of that rig, hexadecimal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rig_hash: String,
    /// What was real and what was emulated; `None` where all of it was the one or the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halves: Option<Halves>,
    /// What each of its devices calls its firmware, or [`NOT_TOLD`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub firmware: BTreeMap<String, String>,
    /// Its ledger; `None` when it never began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<LedgerSummary>,
    /// The steps of the safe end, as they went.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub safe_end: Vec<SafeStep>,
    /// How devices fell back whose plug was pulled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<FallbackTime>,
}

/// What stands for a firmware of which nothing was heard.
pub const NOT_TOLD: &str = "not told";

/// The devices of a bench that is half real.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halves {
    /// Those that were asked at their real addresses.
    pub real: Vec<String>,
    /// Those that were emulated.
    pub emulated: Vec<String>,
}

impl ScenarioResult {
    /// Judges a scenario.
    ///
    /// `run` is how the script itself went ([`Verdict::Pass`] = to its end), `why` says
    /// what stopped it. `ignore_expect` runs a known-bad scenario as an ordinary one.
    /// Seed and duration are those of the scenario's file and zero; see [`Self::ran`].
    #[must_use]
    pub fn judge(
        scenario: &Scenario,
        run: Verdict,
        why: impl Into<String>,
        checks: Vec<CheckResult>,
        ignore_expect: bool,
    ) -> Self {
        let expect = if ignore_expect {
            Expect::Pass
        } else {
            scenario.expect
        };
        let verdicts: Vec<Verdict> = checks.iter().map(|c| c.verdict).collect();
        Self {
            name: scenario.title(),
            file: scenario.file.clone(),
            tags: scenario.tags.clone(),
            source: scenario.source.clone(),
            matrix: scenario.matrix.clone(),
            seed: scenario.seed.unwrap_or_default(),
            expect,
            verdict: of_scenario(run, &verdicts, expect),
            why: why.into(),
            duration_s: 0.0,
            checks,
            rig: String::new(),
            rig_hash: String::new(),
            halves: None,
            firmware: BTreeMap::new(),
            ledger: None,
            safe_end: Vec::new(),
            fallbacks: Vec::new(),
        }
    }

    /// Notes the seed that was used in the end, and how long it took in seconds of the bench.
    #[must_use]
    pub fn ran(mut self, seed: u64, duration_s: f64) -> Self {
        self.seed = seed;
        self.duration_s = duration_s;
        self
    }

    /// Why it came out so, in one sentence.
    #[must_use]
    pub fn reason(&self) -> String {
        if !self.why.is_empty() {
            return self.why.clone();
        }
        let is_known_bad = self.expect == Expect::Fail;
        match (is_known_bad, self.verdict) {
            (true, Verdict::Pass) => "the known-bad device was caught".to_owned(),
            (true, Verdict::Fail) => "the known-bad device was not caught".to_owned(),
            _ if self.checks.is_empty() => "nothing was checked".to_owned(),
            _ => self
                .checks
                .iter()
                .find(|c| c.verdict == self.verdict && c.verdict != Verdict::Pass)
                .map(|c| format!("{}: {}", c.name, c.why))
                .unwrap_or_default(),
        }
    }
}

/// Name of the count of values that wait in the spool of a run for its telemetry server.
pub const TELEMETRY_WAITING: &str = "telemetry_waiting";

/// What was counted in a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// Control cycles.
    pub cycles: u64,
    /// Cycles begun more than a fifth of the period after they were due.
    pub cycles_late: u64,
    /// Samples taken from devices.
    pub samples: u64,
    /// Setpoints that left for devices.
    pub dispatches: u64,
    /// Dispatches found in the ledger.
    pub dispatches_logged: u64,
    /// Trades of the market.
    pub trades: u64,
    /// Field values acknowledged by the telemetry store.
    pub telemetry_written: u64,
    /// Field values that the telemetry store never got.
    pub telemetry_lost: u64,
    /// Rows (readings, figures, events) that `samples.db` did not take; zero where there is none.
    #[serde(default)]
    pub database_lost: u64,
    /// Anything else, by name.
    #[serde(flatten)]
    pub more: BTreeMap<String, u64>,
}

impl Counters {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        self.cycles += other.cycles;
        self.cycles_late += other.cycles_late;
        self.samples += other.samples;
        self.dispatches += other.dispatches;
        self.dispatches_logged += other.dispatches_logged;
        self.trades += other.trades;
        self.telemetry_written += other.telemetry_written;
        self.telemetry_lost += other.telemetry_lost;
        self.database_lost += other.database_lost;
        for (name, count) in &other.more {
            *self.more.entry(name.clone()).or_default() += count;
        }
    }

    /// What is missing in the database of the run, in a sentence; `None` where it has everything.
    fn database_missing(&self) -> Option<String> {
        let rows = match self.database_lost {
            0 => return None,
            1 => "1 row".to_owned(),
            n => format!("{n} rows"),
        };
        Some(format!(
            "In samples.db {rows} (readings, figures, events) are missing; what the record has of them is in samples.csv.zst and events.jsonl."
        ))
    }

    /// What is missing at the telemetry sink and in the database of the run, in sentences; `None` where
    /// both have everything.
    #[must_use]
    pub fn telemetry_missing(&self) -> Option<String> {
        let sentences = [self.sink_missing(), self.database_missing()];
        let told: Vec<String> = sentences.into_iter().flatten().collect();
        (!told.is_empty()).then(|| told.join(" "))
    }

    fn sink_missing(&self) -> Option<String> {
        let waiting = self.more.get(TELEMETRY_WAITING).copied().unwrap_or(0);
        let values = |n: u64| match n {
            1 => "1 value".to_owned(),
            n => format!("{n} values"),
        };
        match (self.telemetry_lost, waiting) {
            (0, 0) => None,
            (lost, 0) => Some(format!("Of telemetry {} were lost.", values(lost))),
            (0, waiting) => Some(format!(
                "Of telemetry {} wait in the spool of this run; the next run brings them to the server.",
                values(waiting)
            )),
            (lost, waiting) => Some(format!(
                "Of telemetry {} were lost, and {} wait in the spool of this run; the next run brings them to the server.",
                values(lost),
                values(waiting)
            )),
        }
    }

    /// All counts with their names, in the order of the file.
    #[must_use]
    pub fn rows(&self) -> Vec<(&str, u64)> {
        let mut rows = vec![
            ("cycles", self.cycles),
            ("cycles_late", self.cycles_late),
            ("samples", self.samples),
            ("dispatches", self.dispatches),
            ("dispatches_logged", self.dispatches_logged),
            ("trades", self.trades),
            ("telemetry_written", self.telemetry_written),
            ("telemetry_lost", self.telemetry_lost),
            ("database_lost", self.database_lost),
        ];
        rows.extend(self.more.iter().map(|(name, n)| (name.as_str(), *n)));
        rows
    }
}

/// The ledger of a run, in short.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LedgerSummary {
    /// Root over all entries, hexadecimal; `None` when there is no ledger.
    pub root: Option<String>,
    /// Number of entries.
    pub entries: u64,
    /// Whether it was verified and holds; `None` when nobody tried.
    pub verified: Option<bool>,
    /// Address of the node that signed the last head, which is the word for root and entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Its signature, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// Where several nodes keep it: entries that were not final (L3) at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_final: Option<u64>,
    /// Where several nodes keep it: those that were there at the end, and all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<(u64, u64)>,
}

impl LedgerSummary {
    /// What the ledgers of scenarios come to: each has one of its own, so that there is a root to show
    /// for one alone.
    #[must_use]
    pub fn of_scenarios(scenarios: &[ScenarioResult]) -> Self {
        let ledgers: Vec<&Self> = scenarios.iter().filter_map(|s| s.ledger.as_ref()).collect();
        match ledgers.as_slice() {
            [] => Self::default(),
            [only] => (*only).clone(),
            several => Self {
                entries: several.iter().map(|ledger| ledger.entries).sum(),
                verified: several
                    .iter()
                    .map(|ledger| ledger.verified)
                    .reduce(|all, one| Some(all? && one?))
                    .flatten(),
                ..Self::default()
            },
        }
    }
}

impl RunResult {
    /// Takes the worst verdict of the scenarios, and the exit code that says it.
    ///
    /// A run that was stopped hands over why as `run`; otherwise that is [`Verdict::Pass`].
    #[must_use]
    pub fn judged(mut self, run: Verdict) -> Self {
        let worst = Verdict::worst(self.scenarios.iter().map(|s| s.verdict));
        self.verdict = worst.worse(run);
        self.exit_code = self.verdict.exit_code();
        self
    }

    /// The bytes of `result.json`: indented, fields in the order of their declaration.
    ///
    /// # Errors
    /// Never for data of these types; the error is that of the writer of JSON.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// Reads a `result.json` again, for comparing runs.
    ///
    /// # Errors
    /// When it is not one, or its schema is another one.
    pub fn from_json(text: &str) -> Result<Self, ResultError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let version: Version = serde_json::from_str(text).map_err(ResultError::NotAResult)?;
        if version.schema != SCHEMA {
            return Err(ResultError::OtherSchema {
                found: version.schema,
            });
        }
        serde_json::from_str(text).map_err(ResultError::NotAResult)
    }
}

/// Why a `result.json` cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ResultError {
    /// It is not JSON of this shape.
    #[error("this is not a result of a run")]
    NotAResult(#[source] serde_json::Error),
    /// It was written by another version.
    #[error("the result has schema {found}, this gridrig reads schema {SCHEMA}")]
    OtherSchema {
        /// Schema of the file.
        found: u32,
    },
}
