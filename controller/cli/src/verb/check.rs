//! `gridrig check`: rigs, profiles and scenarios, first on paper, then on the live bench.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bus::PollPeriods;
use clap::Args;
use document::{Actor, Diagnostic, Document, Severity, Source};
use model::{DeviceIx, Point};
use profile::{Profile, Protocol};
use runtime::access::plausible::{self, Observations};
use runtime::access::points_of;
use runtime::rig::Rig;
use scenario::far_ends::On as FarEnd;
use scenario::fit;
use scenario::runner;
use scenario::script::{self, Scenario};
use scenario::verdict::Verdict;
use serde_json::{Value, json};

use super::contact::{absences, in_runtime, open};
use super::device::read::{reading_json, value_text};
use super::live::{On, time};
use crate::budget::{self, Budget};
use crate::codes::usage;
use crate::problem::{Outcome, Problem};
use crate::render;
use crate::terminal::Terminal;
use crate::timing;

/// Periods for a profile that stands in no rig: those that a rig takes where it says nothing.
const PERIODS: PollPeriods = PollPeriods {
    fast: Duration::from_millis(200),
    normal: Duration::from_secs(1),
    slow: Duration::from_secs(60),
};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Rig, profile and scenario files, and files that scenarios include; which is which is told by what stands in them.
    #[arg(required_unless_present_any = ["reference", "schema"])]
    files: Vec<PathBuf>,
    /// Open the buses of the rigs, read every device, and judge whether it can be true.
    #[arg(long)]
    live: bool,
    /// What is at the far end of the buses for `--live`.
    #[arg(long, value_enum, default_value = "bench")]
    on: On,
    /// Time that all devices of a rig have for `--live`.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = super::contact::WITHIN)]
    within: Duration,
    /// Print the reference page of the bundled device profiles.
    #[arg(long)]
    reference: bool,
    /// Print the JSON Schema of scenario files, for editors.
    #[arg(long, conflicts_with = "reference")]
    schema: bool,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// What is on the bench.
    Rig,
    /// What a device says and takes.
    Profile,
    /// Steps and checks.
    Scenario,
    /// Steps that scenarios include.
    Fragment,
}

impl FileKind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Rig => "rig",
            Self::Profile => "profile",
            Self::Scenario => "scenario",
            Self::Fragment => "fragment",
        }
    }
}

/// Tells by its keys what a text is. A text that is no TOML, or says nothing of the kind, counts
/// as a rig, whose reader then says what is wrong.
pub fn kind_of(text: &str) -> FileKind {
    let Ok(document) = Document::parse(Source::new("", text)) else {
        return FileKind::Rig;
    };
    let root = document.root();
    let has_steps = ["do", "setup", "teardown", "include"]
        .iter()
        .any(|key| root.has(key));
    if root.has("profile") {
        FileKind::Profile
    } else if root.has("check") || has_steps && root.has("name") {
        FileKind::Scenario
    } else if has_steps {
        FileKind::Fragment
    } else {
        FileKind::Rig
    }
}

/// A file and what was found.
struct Checked {
    file: String,
    kind: FileKind,
    diagnostics: Vec<Diagnostic>,
    summary: Value,
    text: Vec<String>,
    rig: Option<Arc<Rig>>,
}

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    if arguments.reference {
        terminal.print(profile::reference_page().trim_end());
        return Ok(Verdict::Pass);
    }
    if arguments.schema {
        terminal.print(format!("{:#}", script::schema()));
        return Ok(Verdict::Pass);
    }
    let mut verdict = Verdict::Pass;
    let mut files = Vec::new();
    for path in &arguments.files {
        let mut checked = check(path)?;
        if let (true, Some(rig)) = (arguments.live, checked.rig.clone()) {
            let live = live(&rig, &arguments);
            match in_runtime(live)? {
                Ok(live) => {
                    checked.summary["live"] = live.json;
                    checked.text.extend(live.text);
                    checked.diagnostics.extend(live.diagnostics);
                }
                Err(problem) => checked.diagnostics.extend(problem.diagnostics),
            }
        }
        let is_bad = checked
            .diagnostics
            .iter()
            .any(|d| d.severity == Severity::Error);
        if is_bad {
            verdict = verdict.worse(Problem::from(checked.diagnostics.clone()).verdict);
        }
        terminal.draw(&checked.diagnostics);
        if terminal.is_json() {
            files.push(json!({
                "file": checked.file,
                "kind": checked.kind.word(),
                "ok": !is_bad,
                "diagnostics": render::as_json(&checked.diagnostics),
                "summary": checked.summary,
            }));
        } else {
            let ok = if is_bad { "not usable" } else { "ok" };
            let kind = checked.kind.word();
            terminal.print(format!("{}: {kind}, {ok}", checked.file));
            for line in &checked.text {
                terminal.print(format!("  {line}"));
            }
        }
    }
    if terminal.is_json() {
        terminal.print(json!({
            "verdict": verdict.word(),
            "exit_code": verdict.exit_code(),
            "files": files,
        }));
    }
    Ok(verdict)
}

fn check(path: &Path) -> Result<Checked, Problem> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|e| {
        Problem::usage(usage(
            "C003",
            format!("{file} cannot be read: {e}"),
            "name a rig, a profile or a scenario",
        ))
    })?;
    let kind = kind_of(&text);
    let source = Source::new(file.clone(), text);
    let mut checked = Checked {
        file,
        kind,
        diagnostics: Vec::new(),
        summary: Value::Null,
        text: Vec::new(),
        rig: None,
    };
    match kind {
        FileKind::Rig => match runtime::rig::load(path) {
            Ok(rig) => {
                checked.diagnostics = rig.warnings.clone();
                checked.diagnostics.extend(budget::overloads(&rig));
                (checked.summary, checked.text) = of_rig(&rig);
                checked.rig = Some(Arc::new(rig));
            }
            Err(faults) => checked.diagnostics = faults,
        },
        FileKind::Profile => match Profile::parse(source) {
            Ok((profile, warnings)) => {
                checked.diagnostics = warnings;
                (checked.summary, checked.text) = of_profile(&profile);
            }
            Err(faults) => checked.diagnostics = faults,
        },
        FileKind::Scenario => match script::read(source) {
            Ok(loaded) => {
                checked.diagnostics = loaded.warnings;
                // One that names no rig is run on whatever `--rig` says, which nobody knows here.
                let with_rig = loaded.scenarios.iter().filter(|s| s.rig.is_some());
                let with_rig: Vec<Scenario> = with_rig.cloned().collect();
                let wrong = runner::faults_of_mutants(&loaded.scenarios);
                for fault in fit::faults(&with_rig, None, FarEnd::Sim)
                    .into_iter()
                    .chain(wrong)
                {
                    if !checked.diagnostics.contains(&fault) {
                        checked.diagnostics.push(fault);
                    }
                }
                let names: Vec<String> = loaded.scenarios.iter().map(|s| s.title()).collect();
                checked.text = names.iter().map(|n| format!("scenario {n}")).collect();
                checked.summary = json!({"scenarios": names});
            }
            Err(faults) => checked.diagnostics = faults,
        },
        FileKind::Fragment => match script::read_fragment(source) {
            Ok(warnings) => {
                checked.diagnostics = warnings;
                checked.text = vec!["steps that scenarios include".to_owned()];
            }
            Err(faults) => checked.diagnostics = faults,
        },
    }
    Ok(checked)
}

fn budget_text(budget: &Budget) -> String {
    let reads = budget.reads_fast + budget.reads_normal + budget.reads_slow;
    let busy = match budget.busy_percent {
        Some(busy) => format!("busy {busy:.1} %"),
        None => "no budget: the devices speak by themselves".to_owned(),
    };
    if reads == 0 {
        return busy;
    }
    format!(
        "{} fast, {} normal and {} slow reads; {busy}; one round of all takes {:.0} ms, \
         {:.0} ms if none is answered",
        budget.reads_fast,
        budget.reads_normal,
        budget.reads_slow,
        budget.usual_s * 1e3,
        budget.worst_s * 1e3
    )
}

fn of_rig(rig: &Rig) -> (Value, Vec<String>) {
    let mut text = vec![format!(
        "{}: {} devices on {} buses",
        rig.title,
        rig.devices.len(),
        rig.buses.len()
    )];
    // As wide as the longest name: a list that is read downwards.
    let widest = |names: &mut dyn Iterator<Item = usize>| names.max().unwrap_or(0);
    let name = widest(&mut rig.devices.iter().map(|d| d.id.len()));
    let role = widest(&mut rig.devices.iter().map(|d| d.role.name().len()));
    let profile = widest(&mut rig.devices.iter().map(|d| d.profile.id.len()));
    let bus_name = widest(&mut rig.buses.iter().map(|b| b.id.len()));
    for device in &rig.devices {
        text.push(format!(
            "device {:<name$} {:<role$} {:<profile$} on {}{}",
            device.id,
            device.role.name(),
            device.profile.id,
            rig.buses[device.bus].id,
            if is_unpermitted(&device.profile) {
                ", read only: nothing is written without `allow_writes = true`"
            } else {
                ""
            }
        ));
    }
    let mut buses = Vec::new();
    for (index, bus) in rig.buses.iter().enumerate() {
        let budget = budget::of_bus(rig, index);
        text.push(format!(
            "bus    {:<bus_name$} {:<11} {}",
            bus.id,
            bus.kind.protocol(),
            budget_text(&budget)
        ));
        buses.push(json!({
            "bus": &*bus.id,
            "protocol": bus.kind.protocol(),
            "budget": budget,
        }));
    }
    let devices: Vec<Value> = rig
        .devices
        .iter()
        .map(|d| {
            json!({
                "device": &*d.id,
                "role": d.role.name(),
                "profile": &*d.profile.id,
                "takes": d.profile.controls().iter().map(|p| p.name()).collect::<Vec<_>>(),
                "bus": &*rig.buses[d.bus].id,
            })
        })
        .collect();
    let summary = json!({"title": rig.title, "devices": devices, "buses": buses});
    (summary, text)
}

/// Whether a device could be written to and the rig does not permit it.
fn is_unpermitted(profile: &Profile) -> bool {
    profile.opt_in && profile.controls().is_empty()
}

fn of_profile(profile: &Profile) -> (Value, Vec<String>) {
    let names = |points: &[Point]| points.iter().map(|p| p.name()).collect::<Vec<_>>();
    let (says, takes) = (profile.points(), profile.controls());
    let budget = budget::of_profile(profile, PERIODS);
    let text = vec![
        format!(
            "{} (version {}): {}",
            profile.id, profile.version, profile.title
        ),
        format!("says  {}", names(&says).join(" ")),
        format!(
            "takes {}",
            if takes.is_empty() {
                "nothing".to_owned()
            } else if profile.opt_in {
                format!(
                    "{} where the rig says `allow_writes = true`",
                    names(&takes).join(" ")
                )
            } else {
                names(&takes).join(" ")
            }
        ),
        budget_text(&budget),
    ];
    let summary = json!({
        "id": &*profile.id,
        "version": profile.version,
        "says": names(&says),
        "takes": names(&takes),
        "opt_in": profile.opt_in,
        "budget": budget,
    });
    (summary, text)
}

/// What the live bench said.
struct Live {
    json: Value,
    text: Vec<String>,
    diagnostics: Vec<Diagnostic>,
}

async fn live(rig: &Arc<Rig>, arguments: &Arguments) -> Result<Live, Problem> {
    let devices: Vec<DeviceIx> = rig
        .devices
        .iter()
        .filter_map(|d| rig.device(&d.id))
        .collect();
    let (bench, mut access, clock) = open(rig, &devices, arguments.on).await?;
    let wanted: Vec<(DeviceIx, Point)> = devices
        .iter()
        .flat_map(|d| points_of(rig, *d).into_iter().map(move |p| (*d, p)))
        .collect();
    let readings = access.read(&wanted, arguments.within).await;
    let now = clock.now();
    let is_heard = |d: &DeviceIx| access.heard_at(*d).is_some();
    // What is not there has no physics; its absence is told below.
    let observed = if devices.iter().any(is_heard) {
        access.observe(observation(rig)).await
    } else {
        Observations::new()
    };
    let mut text = Vec::new();
    let mut rows = Vec::new();
    for device in &devices {
        let name = &rig.devices[device.index()].id;
        let own: Vec<_> = readings.iter().filter(|r| r.device == *device).collect();
        let good = own.iter().filter(|r| r.reading.good().is_some()).count();
        let heard = access.heard_at(*device);
        // A driver tells a device only after its identity, if its profile knows one, was checked.
        let identity = match heard {
            Some(at) => format!("heard after {:.0} ms", at.as_seconds() * 1e3),
            None => "not heard".to_owned(),
        };
        text.push(format!(
            "live   {name:<10} {identity}, {good} of {} points",
            own.len()
        ));
        for reading in &own {
            text.push(format!(
                "         {:<16} {}",
                reading.point.name(),
                value_text(reading)
            ));
        }
        rows.push(json!({
            "device": &**name,
            "heard_after_s": heard.map(model::Instant::as_seconds),
            "readings": own.iter().map(|r| reading_json(rig, r, now)).collect::<Value>(),
        }));
    }
    let mut buses = Vec::new();
    for (index, bus) in rig.buses.iter().enumerate() {
        let Some(report) = access.report(index).filter(|r| r.answers > 0) else {
            continue;
        };
        let is_polled = bus.kind.protocol().starts_with("modbus");
        let round_trip =
            is_polled.then(|| Duration::from_nanos(report.busy_nanos / report.requests.max(1)));
        let timeout = round_trip.map(timing::timeout);
        let lost = report.timeouts + report.corrupt;
        let min_gap = round_trip.map(|_| timing::min_gap(used_gap(rig, index), lost));
        if let (Some(round_trip), Some(timeout), Some(min_gap)) = (round_trip, timeout, min_gap) {
            text.push(format!(
                "live   bus {:<6} {} requests, {} answers, {} time-outs, mean round trip {:.1} ms; \
                 timeout = \"{}\" and min_gap = \"{}\" would do",
                bus.id,
                report.requests,
                report.answers,
                report.timeouts,
                round_trip.as_secs_f64() * 1e3,
                timing::text(timeout),
                timing::text(min_gap)
            ));
        }
        buses.push(json!({
            "bus": &*bus.id,
            "requests": report.requests,
            "answers": report.answers,
            "timeouts": report.timeouts,
            "round_trip_s": round_trip.map(|t| t.as_secs_f64()),
            "proposed_timeout_s": timeout.map(|t| t.as_secs_f64()),
            "proposed_min_gap_s": min_gap.map(|t| t.as_secs_f64()),
        }));
    }
    let mut diagnostics = absences(rig, &readings, &access.notices, arguments.within);
    diagnostics.extend(nameplates(rig, &readings));
    diagnostics.extend(plausible::faults(rig, &readings, &observed));
    drop(bench);
    Ok(Live {
        json: json!({"devices": rows, "buses": buses, "notices": access.notices}),
        text,
        diagnostics,
    })
}

/// How long a bench is looked at for its physics: until every ordinary point has come anew.
fn observation(rig: &Rig) -> Duration {
    /// Chosen: at least three of the usual periods, and no longer than a person waits.
    const SHORTEST: Duration = Duration::from_secs(3);
    const LONGEST: Duration = Duration::from_secs(10);
    let periods = rig.devices.iter().map(|d| d.poll.normal);
    let longest = periods.max().unwrap_or_default();
    (longest + longest / 2).clamp(SHORTEST, LONGEST)
}

/// The longest silence before a request that a bus keeps: the rig's, or that of its devices.
fn used_gap(rig: &Rig, bus: usize) -> Duration {
    let of_devices = rig.devices.iter().filter(|d| d.bus == bus);
    let of_profiles = of_devices.filter_map(|d| match &d.profile.protocol {
        Protocol::Modbus(modbus) => Some(modbus.min_gap),
        _ => None,
    });
    let longest = of_profiles.max().unwrap_or_default();
    rig.buses[bus].min_gap.unwrap_or(longest)
}

/// R012 for a limit that is wider than the nameplate that the device itself told.
fn nameplates(rig: &Rig, readings: &[runtime::access::PointReading]) -> Vec<Diagnostic> {
    readings
        .iter()
        .filter(|r| r.point == Point::RatedActivePower)
        .filter_map(|reading| {
            let device = &rig.devices[reading.device.index()];
            let rated_w = reading.reading.good()?;
            let limits = device.p?;
            let widest_w = limits.upper().as_watts().max(-limits.lower().as_watts());
            (widest_w > rated_w).then(|| {
                Diagnostic::error(
                    "R012",
                    Actor::Author,
                    format!(
                        "the limits of `{}` allow {widest_w:.0} W, its nameplate says {rated_w:.0} W",
                        device.id
                    ),
                )
                .help(format!("keep `limits.p` within {rated_w:.0} W"))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_keys() {
        for (text, kind) in [
            ("[profile]\nid = \"a/b\"", FileKind::Profile),
            ("name = \"x\"\ndo = []", FileKind::Scenario),
            ("check = []", FileKind::Scenario),
            ("name = \"x\"\nsetup = {}", FileKind::Scenario),
            ("setup = {}", FileKind::Fragment),
            ("include = [\"a.toml\"]\ndo = []", FileKind::Fragment),
            ("schema = 1\n[bus]", FileKind::Rig),
            ("this is = = no TOML", FileKind::Rig),
        ] {
            assert_eq!(kind_of(text), kind, "{text}");
        }
    }

    #[test]
    fn every_bundled_profile_is_known_as_one() {
        for id in profile::bundled_ids() {
            let text = profile::bundled_text(id).expect("it is bundled");
            assert_eq!(kind_of(text), FileKind::Profile, "{id}");
        }
    }
}
