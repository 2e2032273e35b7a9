//! The run folder: what every attempt leaves behind, also one that failed to start.

use std::collections::BTreeMap;
use std::path::Path;

use document::{Actor, Diagnostic};
use runtime::engine::Finished;
use runtime::rig::Rig;
use sha3::{Digest, Sha3_256};

use crate::report::environment::Environment;
use crate::report::junit::{InconclusiveAs, junit};
use crate::report::result::{
    Counters, FallbackTime, RunResult, SCHEMA, SafeStep, TELEMETRY_WAITING,
};
use crate::verdict::Verdict;

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
}

impl About {
    /// A result of this run that says nothing yet.
    #[must_use]
    pub fn result(&self, ended_utc: String) -> RunResult {
        RunResult {
            schema: SCHEMA,
            id: self.id.clone(),
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
            shard: None,
            parts: Vec::new(),
            repeats: Vec::new(),
            changes: None,
            scenarios: Vec::new(),
            counters: Counters::default(),
            ledger: crate::report::result::LedgerSummary::default(),
            safe_end: Vec::new(),
            fallbacks: Vec::new(),
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
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            rig: self.rig.clone(),
            rig_hash: rig.map_or_else(String::new, |r| hash(&r.source.text)),
            seed: self.seed,
            // Unknown, not zero: nothing here asks a time server.
            clock_offset_ms: None,
            firmware: BTreeMap::new(),
            command: self.command.clone(),
        }
    }
}

/// Writes `result.json`, `junit.xml`, `report.html`, `env.json` and `repro.sh`.
///
/// # Errors
/// A diagnostic that names the file.
pub fn write(
    run_dir: &Path,
    result: &RunResult,
    html: &str,
    environment: &Environment,
    inconclusive: InconclusiveAs,
) -> Result<(), Box<Diagnostic>> {
    let put = |name: &str, text: &str| {
        let path = run_dir.join(name);
        std::fs::write(&path, text).map_err(|e| {
            Box::new(
                Diagnostic::error(
                    "R025",
                    Actor::Operator,
                    format!("{} cannot be written: {e}", path.display()),
                )
                .help("make room, or give another folder with `--out`"),
            )
        })
    };
    let encoded = |what: &str, e: String| {
        Box::new(Diagnostic::error(
            "R025",
            Actor::Us,
            format!("{what} cannot be encoded: {e}"),
        ))
    };
    put(
        "result.json",
        &result
            .to_json()
            .map_err(|e| encoded("result.json", e.to_string()))?,
    )?;
    put(
        "junit.xml",
        &junit(result, inconclusive).map_err(|e| encoded("junit.xml", e.to_string()))?,
    )?;
    put("report.html", html)?;
    put(
        "env.json",
        &environment
            .to_json()
            .map_err(|e| encoded("env.json", e.to_string()))?,
    )?;
    put("repro.sh", &environment.repro_script())?;
    make_runnable(&run_dir.join("repro.sh"));
    Ok(())
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
        more,
    }
}
