//! The run folder: what every attempt leaves behind, also one that failed to start or was killed.
//!
//! Its record says from the beginning that the run goes on, and is replaced when it has ended. A file
//! is written beside the old one and takes its place when it is whole, so that a full disk or a kill
//! leaves no half of one.

pub mod clock_offset;
pub mod hold;

use std::collections::BTreeMap;
use std::path::Path;

use document::{Actor, Diagnostic};
use runtime::engine::Finished;
use runtime::rig::Rig;
use sha3::{Digest, Sha3_256};

use crate::report::environment::Environment;
use crate::report::html::scenario_report;
use crate::report::junit::{InconclusiveAs, junit};
use crate::report::merge::Shard;
use crate::report::pictures::{self, PICTURES_FILE};
use crate::report::result::{
    Counters, FallbackTime, NOT_TOLD, RunResult, SCHEMA, SafeStep, Status, TELEMETRY_WAITING,
};
use crate::verdict::Verdict;

/// The result of a run, for machines.
pub const RESULT_FILE: &str = "result.json";

/// The report of a run, for people.
pub const REPORT_FILE: &str = "report.html";

/// SHA3-256 of a text, hexadecimal: the name by which a rig's content is known.
#[must_use]
pub fn hash(text: &str) -> String {
    Sha3_256::digest(text.as_bytes())
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// Version of gridrig, as it stands in results.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a run is called and made with.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Name of the run.
    pub id: String,
    /// Path of the rig as the user gave it.
    pub rig: String,
    /// `sim` or `bench`.
    pub on: String,
    /// `1` or `max`.
    pub speed: String,
    /// Seed.
    pub seed: u64,
    /// Begin, RFC 3339.
    pub started_utc: String,
    /// The command line.
    pub command: Vec<String>,
    /// Which part of a run this is; `None` = all of it.
    pub shard: Option<Shard>,
}

impl About {
    /// A result of this run that says nothing yet.
    #[must_use]
    pub fn result(&self, ended_utc: String) -> RunResult {
        RunResult {
            schema: SCHEMA,
            id: self.id.clone(),
            status: Status::Ended,
            verdict: Verdict::Pass,
            exit_code: 0,
            why: String::new(),
            gridrig: VERSION.into(),
            rig: self.rig.clone(),
            on: self.on.clone(),
            speed: self.speed.clone(),
            seed: self.seed,
            started_utc: self.started_utc.clone(),
            ended_utc,
            shard: self.shard,
            parts: Vec::new(),
            repeats: Vec::new(),
            changes: None,
            scenarios: Vec::new(),
            counters: Counters::default(),
            ledger: crate::report::result::LedgerSummary::default(),
            safe_end: Vec::new(),
            fallbacks: Vec::new(),
            unwritten: Vec::new(),
        }
    }

    /// What stands in the run folder as long as the run has not ended: an interrupted run, so that
    /// whoever finds it after a kill takes it for nothing else. `what` is what is under way.
    #[must_use]
    pub fn under_way(&self, what: &str) -> RunResult {
        RunResult {
            status: Status::Running,
            verdict: Verdict::Interrupted,
            exit_code: Verdict::Interrupted.exit_code(),
            why: format!("the run had not ended when this was written; {what} was under way"),
            ..self.result(String::new())
        }
    }

    /// What the run was made with.
    #[must_use]
    pub fn environment(&self, rig: Option<&Rig>) -> Environment {
        Environment {
            gridrig: VERSION.into(),
            versions: BTreeMap::from([
                ("result_schema".to_owned(), SCHEMA.to_string()),
                ("rig_schema".to_owned(), "1".to_owned()),
            ]),
            system: system(),
            rig: self.rig.clone(),
            rig_hash: rig.map_or_else(String::new, |r| hash(&r.source.text)),
            seed: self.seed,
            rigs: BTreeMap::new(),
            halves: BTreeMap::new(),
            // Virtual time has none, and is the same for the same seed.
            clock_offset_ms: (self.speed == "1")
                .then(clock_offset::measured_ms)
                .flatten(),
            firmware: BTreeMap::new(),
            command: self.command.clone(),
        }
    }

    /// What a run of scenarios was made with: each rig with its hash, and that of the run where all ran on one.
    #[must_use]
    pub fn environment_of(&self, result: &RunResult) -> Environment {
        let mut environment = self.environment(None);
        let known = result.scenarios.iter().filter(|s| !s.rig_hash.is_empty());
        environment.rigs = known.map(|s| (s.rig.clone(), s.rig_hash.clone())).collect();
        let half_real = result.scenarios.iter().filter_map(|scenario| {
            let halves = scenario.halves.clone()?;
            Some((scenario.rig.clone(), halves))
        });
        environment.halves = half_real.collect();
        // Several rigs may have devices of one name.
        let is_one = environment.rigs.len() <= 1;
        for scenario in &result.scenarios {
            for (device, version) in &scenario.firmware {
                let name = match is_one {
                    true => device.clone(),
                    false => format!("{}: {device}", scenario.rig),
                };
                let known = environment.firmware.entry(name).or_default();
                // What was told once is known, whatever a later scenario did not hear.
                if known.is_empty() || version != NOT_TOLD {
                    known.clone_from(version);
                }
            }
        }
        if let [only] = environment.rigs.values().collect::<Vec<_>>().as_slice() {
            environment.rig_hash = (*only).clone();
        }
        environment
    }
}

/// Operating system, kernel where it tells, and processor.
fn system() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let words = [std::env::consts::OS, kernel.trim(), std::env::consts::ARCH];
    let known: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    known.join(" ")
}

/// Writes a file of a run folder: beside the old one, whose place it takes when it is whole.
fn put(run_dir: &Path, name: &str, bytes: impl AsRef<[u8]>) -> Result<(), Diagnostic> {
    let path = run_dir.join(name);
    let part = run_dir.join(format!(".{name}.part"));
    let written = std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, &path));
    written.map_err(|e| {
        // Half a file tells nothing, and its room is needed.
        let _ = std::fs::remove_file(&part);
        Diagnostic::error(
            "R025",
            Actor::Operator,
            format!("{} cannot be written: {e}", path.display()),
        )
        .help(
            "make room, or give another folder with `--out`; what was recorded until then is kept",
        )
    })
}

fn encoded(name: &str, text: Result<String, impl std::fmt::Display>) -> Result<String, Diagnostic> {
    text.map_err(|e| Diagnostic::error("R025", Actor::Us, format!("{name} cannot be encoded: {e}")))
}

/// Writes `result.json` alone.
///
/// # Errors
/// A diagnostic that names the file.
pub fn record(run_dir: &Path, result: &RunResult) -> Result<(), Diagnostic> {
    let text = encoded(RESULT_FILE, result.to_json())?;
    put(run_dir, RESULT_FILE, &text)
}

/// Writes `result.json`, `junit.xml`, `report.html`, `env.json` and `repro.sh`, as many as can be, and
/// the pictures where there are any.
///
/// # Errors
/// A diagnostic for each file that could not be written.
pub fn write(
    run_dir: &Path,
    result: &RunResult,
    html: &str,
    environment: &Environment,
    inconclusive: InconclusiveAs,
) -> Result<(), Vec<Diagnostic>> {
    let mut faults = Vec::new();
    faults.extend(record(run_dir, result).err());
    let texts = [
        (
            "junit.xml",
            encoded("junit.xml", junit(result, inconclusive)),
        ),
        (REPORT_FILE, Ok(html.to_owned())),
        ("env.json", encoded("env.json", environment.to_json())),
        ("repro.sh", Ok(environment.repro_script())),
    ];
    for (name, text) in texts {
        faults.extend(text.and_then(|text| put(run_dir, name, &text)).err());
    }
    make_runnable(&run_dir.join("repro.sh"));
    let has_pictures = result
        .scenarios
        .iter()
        .flat_map(|s| &s.checks)
        .any(|c| c.plot.is_some());
    if let Some(bytes) = has_pictures.then(|| pictures::pack(result)).flatten() {
        faults.extend(put(run_dir, PICTURES_FILE, &bytes).err());
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults)
    }
}

/// Hangs the pictures that a run folder holds on the checks of its result, where it has any.
pub fn pictures_of(run_dir: &Path, result: &mut RunResult) {
    if let Ok(bytes) = std::fs::read(run_dir.join(PICTURES_FILE)) {
        pictures::hang(&bytes, result);
    }
}

/// What a run was made with; `None` when its folder does not say.
#[must_use]
pub fn environment_in(run_dir: &Path) -> Option<Environment> {
    let text = std::fs::read_to_string(run_dir.join("env.json")).ok()?;
    serde_json::from_str(&text).ok()
}

/// Writes a report into a run folder under a name of its own.
///
/// # Errors
/// A diagnostic that names the file.
pub fn write_report(run_dir: &Path, name: &str, html: &str) -> Result<(), Diagnostic> {
    put(run_dir, name, html)
}

/// Writes the files of a run that begins, and says that it goes on.
///
/// # Errors
/// As [`write()`].
pub fn begin(run_dir: &Path, about: &About) -> Result<(), Vec<Diagnostic>> {
    let result = about.under_way("its beginning");
    let environment = about.environment(None);
    let html = scenario_report(&result, &environment);
    write(run_dir, &result, &html, &environment, InconclusiveAs::Error)
}

/// Whether the record in a run folder is the result of a run that has ended.
#[must_use]
pub fn has_ended(run_dir: &Path) -> bool {
    let text = std::fs::read_to_string(run_dir.join(RESULT_FILE));
    let result = text.ok().and_then(|text| RunResult::from_json(&text).ok());
    result.is_some_and(|result| result.status == Status::Ended)
}

/// As [`write()`], for a run that has come to its end: what could not be written is told by the result,
/// which is then at best one of infrastructure. A record that is too long is replaced by its head.
#[must_use]
pub fn conclude(
    run_dir: &Path,
    mut result: RunResult,
    html: &str,
    environment: &Environment,
    inconclusive: InconclusiveAs,
) -> RunResult {
    let Err(faults) = write(run_dir, &result, html, environment, inconclusive) else {
        return result;
    };
    result.verdict = result.verdict.worse(Verdict::Infrastructure);
    result.exit_code = result.verdict.exit_code();
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let told = told.join("; ");
    result.why = match result.why.is_empty() {
        true => told,
        false => format!("{}; {told}", result.why),
    };
    result.unwritten = faults;
    let head = RunResult {
        scenarios: Vec::new(),
        repeats: Vec::new(),
        changes: None,
        ..result.clone()
    };
    // What stands there from the beginning is not true any more, and short files may still fit.
    let short = scenario_report(&head, environment);
    if let Err(fault) = put(run_dir, REPORT_FILE, short) {
        tracing::debug!(message = "Not even a short report could be written.", %fault);
    }
    if record(run_dir, &result).is_err()
        && let Err(fault) = record(run_dir, &head)
    {
        tracing::debug!(message = "Not even the head of the record could be written.", %fault);
    }
    result
}

/// Lets the script be called; where that is not possible it can still be given to a shell.
fn make_runnable(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    if let Ok(metadata) = std::fs::metadata(path) {
        let mut permissions = metadata.permissions();
        permissions.set_mode(permissions.mode() | 0o111);
        if let Err(e) = std::fs::set_permissions(path, permissions) {
            tracing::debug!(message = "repro.sh stays a plain file.", %e);
        }
    }
}

/// The steps of the safe ends of a run, and how devices fell back, as the result holds them.
#[must_use]
pub fn safety(finished: &Finished) -> (Vec<SafeStep>, Vec<FallbackTime>) {
    let steps = finished.rested.iter().map(|rested| SafeStep {
        step: rested.step.name().to_owned(),
        devices: rested.devices.clone(),
        missed: rested.missed.clone(),
        took_s: rested.after.as_secs_f64(),
        within_s: rested.within.as_secs_f64(),
    });
    let fallbacks = finished.fallbacks.iter().map(|fallback| FallbackTime {
        device: fallback.device.clone(),
        measured_s: fallback.after.map(|after| after.as_secs_f64()),
        out_s: fallback.out.as_secs_f64(),
        stated_s: fallback.stated.map(|stated| stated.as_secs_f64()),
    });
    (steps.collect(), fallbacks.collect())
}

/// What each device of a rig calls its firmware, or that it does not say.
#[must_use]
pub fn firmware(rig: &Rig, finished: &Finished) -> BTreeMap<String, String> {
    let told = |index: usize| {
        let mut all = finished.firmware.iter();
        let own = all.find(|(device, _)| device.index() == index);
        own.map_or_else(|| NOT_TOLD.to_owned(), |(_, version)| version.clone())
    };
    let devices = rig.devices.iter().enumerate();
    devices
        .map(|(index, device)| (device.id.to_string(), told(index)))
        .collect()
}

/// The counters of a finished run as the result holds them.
#[must_use]
pub fn counters(finished: &Finished) -> Counters {
    let of = finished.counters;
    let mut more = BTreeMap::from([("dispatches_held_back".to_owned(), finished.held_back)]);
    // Only where a server did not take all of it is there something to say.
    if of.telemetry_waiting > 0 {
        more.insert(TELEMETRY_WAITING.to_owned(), of.telemetry_waiting);
    }
    Counters {
        cycles: of.cycles,
        cycles_late: of.cycles_late,
        samples: of.samples,
        dispatches: of.dispatches,
        dispatches_logged: of.dispatches_logged,
        trades: of.trades,
        telemetry_written: of.telemetry_written,
        telemetry_lost: of.telemetry_lost,
        database_lost: of.database_lost,
        more,
    }
}
