//! Runs scenarios: a bench of its own for each, steps by the clock of the run, checks at the end.

mod recover;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bus::DeviceReport;
use document::{Actor, Diagnostic};
use model::Clock;
use profile::Protocol;
use runtime::desk::MarketReplay;
use runtime::rig::Rig;
use runtime::session::{Ended, Options, Session, Time};
use runtime::web::{Access, Runs, Tokens};

use crate::check::CheckResult;
use crate::check::{Evidence, LedgerEvidence, LinkEvidence, MarketEvidence, Replay, evaluate};
use crate::demo;
use crate::evidence;
use crate::far_ends::{FarEnds, On};
use crate::fit;
use crate::folder::{self, About};
use crate::interrupt::Interrupt;
use crate::live::{in_runtime, open_buses, serve, time};
use crate::recorder::{Recorder, SharedRecording};
use crate::report::budgets::Budgets;
use crate::report::compare::Comparison;
use crate::report::html::report;
use crate::report::junit::InconclusiveAs;
use crate::report::merge::Shard;
use crate::report::repeats;
use crate::report::result::{Counters, Halves, LedgerSummary, RunResult, ScenarioResult};
use crate::report::template::Template;
use crate::script::{Mutant, Need, Scenario};
use crate::stage::{Board, Broken, Played, Stage};
use crate::taken::{self, Taken};
use crate::verdict::Verdict;
use recover::Remedy;

/// What a test run is told.
pub struct TestOptions {
    /// The scenarios, in order.
    pub scenarios: Vec<Scenario>,
    /// The rig for all of them; `None` = each scenario's own, or the demo rig.
    pub rig: Option<PathBuf>,
    /// What is at the far end of the buses.
    pub on: On,
    /// Whether time is virtual.
    pub virtual_time: bool,
    /// Seed where a scenario gives none.
    pub seed: u64,
    /// How often each scenario runs; every repetition has the next seed.
    pub repeat: u32,
    /// Whether known-bad scenarios run as ordinary ones.
    pub ignore_expect: bool,
    /// Whether JUnit shows an inconclusive scenario as skipped.
    pub inconclusive_as_skipped: bool,
    /// Which part of a run this is; the scenarios are those of the part already.
    pub shard: Option<Shard>,
    /// An earlier run that this one is compared with.
    pub baseline: Option<Baseline>,
    /// Where the page of the scenario under way is served, in real time; `None` = nowhere.
    pub listen: Option<std::net::TcpListener>,
    /// What a run on hardware is told besides.
    pub hardware: Hardware,
    /// The layout of the report; `None` = in the order in which the scenarios ran.
    pub template: Option<Template>,
    /// The run folder; it must exist.
    pub run_dir: PathBuf,
    /// The command line, for `repro.sh`.
    pub command: Vec<String>,
    /// Name of the run.
    pub id: String,
}

/// How a run on hardware gets its bench, and gets it back.
#[derive(Clone, Debug, Default)]
pub struct Hardware {
    /// How long it waits for a bench that somebody else has.
    pub wait: Duration,
    /// Command of the shell that switches the bench off and on again, and returns when it is up; it goes
    /// before what the rig says.
    pub recover: Option<String>,
}

/// An earlier run, and what it means when this one differs from it.
pub struct Baseline {
    /// Its result.
    pub before: RunResult,
    /// By how much values may differ.
    pub budgets: Budgets,
    /// Whether a regression is a failure of this run, or is only shown.
    pub binds: bool,
}

/// Runs all scenarios and writes the run folder. `told` hears of each one as it ends.
///
/// # Errors
/// Diagnostics of what kept the run from starting at all; a scenario that cannot run is a result.
pub fn run(
    options: TestOptions,
    mut told: impl FnMut(&ScenarioResult),
) -> Result<RunResult, Vec<Diagnostic>> {
    // Held until all is written.
    let _taken = match options.on.has_hardware() {
        true => Some(taken_for(&options)?),
        false => None,
    };
    let utc = || runtime::clock::SystemClock::start().utc().to_string();
    let about = About {
        id: options.id.clone(),
        rig: options.rig.as_ref().map_or_else(
            || "each scenario's own".to_owned(),
            |p| p.display().to_string(),
        ),
        on: options.on.word().into(),
        speed: if options.virtual_time { "max" } else { "1" }.into(),
        seed: options.seed,
        started_utc: utc(),
        command: options.command.clone(),
        shard: options.shard,
    };
    let mut notes = Notes::of(&about, &options.run_dir);
    let mut results = Vec::new();
    let mut totals = Counters::default();
    let mut number = 0;
    let mut interrupted = false;
    let mut recovery = Recovery::Ready;
    let interrupt = Interrupt::listen();
    // A device that is wrong on purpose exists on an emulated bench only, and a controller that is wrong
    // commands no hardware.
    let can_be = |scenario: &&Scenario| !options.on.has_hardware() || scenario.mutant.is_none();
    let scenarios: Vec<&Scenario> = options.scenarios.iter().filter(can_be).collect();
    'all: for scenario in &scenarios {
        for repetition in 0..u64::from(options.repeat.max(1)) {
            number += 1;
            let seed = scenario
                .seed
                .unwrap_or(options.seed)
                .wrapping_add(repetition);
            let one = One {
                scenario,
                seed,
                run_dir: options
                    .run_dir
                    .join(format!("{number:03}-{}", slug(&scenario.title()))),
                options: &options,
                interrupt: &interrupt,
            };
            notes.take(&scenario.title(), &results);
            let mut done = one.run();
            if let (Verdict::Infrastructure, Recovery::Ready) = (done.result.verdict, &recovery)
                && let Some(outcome) = recovered(&options, scenario, &done.result, &interrupt)
            {
                // Once in a run: what is not mended by it is a case for a person.
                recovery = Recovery::of(outcome);
                if matches!(recovery, Recovery::Done) {
                    let again = options.run_dir.join(format!("{number:03}-again"));
                    done = One {
                        run_dir: again,
                        ..one
                    }
                    .run();
                }
            }
            totals.add(&done.counters);
            told(&done.result);
            results.push(done.result);
            if interrupt.was_heard() {
                interrupted = true;
                break 'all;
            }
        }
    }
    let mut result = about.result(utc());
    result.repeats = repeats::of(&results);
    result.scenarios = results;
    let mut regressed = false;
    if let Some(baseline) = &options.baseline {
        let changes = Comparison::of(&baseline.before, &result, &baseline.budgets);
        regressed = baseline.binds && changes.is_regression();
        if regressed {
            let (count, since) = (changes.regressions(), &changes.baseline);
            result.why = format!("{count} regressions since {since}");
        }
        result.changes = Some(changes);
    }
    result.counters = totals;
    recovery.note(&mut result);
    result.ledger = LedgerSummary::of_scenarios(&result.scenarios);
    let result = result.judged(if interrupted {
        Verdict::Interrupted
    } else if scenarios.is_empty() {
        Verdict::NothingSelected
    } else if regressed {
        Verdict::Fail
    } else {
        Verdict::Pass
    });
    let inconclusive = if options.inconclusive_as_skipped {
        InconclusiveAs::Skipped
    } else {
        InconclusiveAs::Error
    };
    let environment = about.environment_of(&result);
    let html = report(&result, &environment, options.template.as_ref());
    Ok(folder::conclude(
        &options.run_dir,
        result,
        &html,
        &environment,
        inconclusive,
    ))
}

/// Takes the bench of all scenarios.
fn taken_for(options: &TestOptions) -> Result<Taken, Vec<Diagnostic>> {
    let rigs: Vec<Rig> = match &options.rig {
        Some(path) => vec![load_rig(Some(path))?],
        None => {
            let own = options.scenarios.iter().filter(|s| s.mutant.is_none());
            // A rig that cannot be read is told by its scenario.
            own.filter_map(|s| rig_of(s, None).ok()).collect()
        }
    };
    let far_ends = rigs
        .iter()
        .map(|rig| FarEnds::of(rig, options.on).map_err(|fault| vec![*fault]));
    let far_ends: Vec<FarEnds> = far_ends.collect::<Result<_, _>>()?;
    taken::take(rigs.iter().zip(&far_ends), options.hardware.wait).map_err(|fault| vec![fault])
}

/// Brings the bench back by what the command line says, or else the rig; `None` where there is no hardware,
/// nobody says how, or a person wants the run to end.
fn recovered(
    options: &TestOptions,
    scenario: &Scenario,
    result: &ScenarioResult,
    interrupt: &Interrupt,
) -> Option<Result<(), String>> {
    if !options.on.has_hardware() || interrupt.was_heard() {
        return None;
    }
    // A rig that cannot be read is what its scenario has told already.
    let rig = rig_of(scenario, options.rig.as_deref()).ok();
    let of_rig = rig
        .as_ref()
        .and_then(|rig| rig.hardware.power_cycle.as_ref());
    let told = options.hardware.recover.as_deref().map(Remedy::Shell);
    let remedy = told.or(of_rig.map(Remedy::OfRig))?;
    tracing::warn!(
        message = "The bench is recovered, and the scenario run again.",
        why = %result.reason()
    );
    Some(remedy.apply(interrupt))
}

/// Whether the bench was recovered in this run.
enum Recovery {
    /// It was not needed.
    Ready,
    /// It was, and the command succeeded.
    Done,
    /// It was, and the command failed, with why.
    Failed(String),
}

impl Recovery {
    fn of(outcome: Result<(), String>) -> Self {
        match outcome {
            Ok(()) => Self::Done,
            Err(why) => Self::Failed(why),
        }
    }

    /// Says it in the result.
    fn note(&self, result: &mut RunResult) {
        let (recovered, why) = match self {
            Self::Ready => return,
            Self::Done => (1, String::new()),
            Self::Failed(why) => (0, format!("the bench could not be recovered: {why}")),
        };
        let counter = ("bench_recovered".to_owned(), recovered);
        result.counters.more.extend([counter]);
        if result.why.is_empty() {
            result.why = why;
        }
    }
}

/// What the run folder says of a run that goes on, lest a kill take what has ended with it.
struct Notes<'a> {
    about: &'a About,
    run_dir: &'a Path,
    last: Option<std::time::Instant>,
}

/// Shortest time between two notes. Chosen: 500 ms; a note of a hundred scenarios takes some
/// milliseconds, and a kill takes half a second of virtual time's work along.
const NOTE_EVERY: Duration = Duration::from_millis(500);

impl<'a> Notes<'a> {
    fn of(about: &'a About, run_dir: &'a Path) -> Self {
        Self {
            about,
            run_dir,
            last: None,
        }
    }

    /// Notes what has ended, and what begins now.
    fn take(&mut self, begins: &str, ended: &[ScenarioResult]) {
        if self.last.is_some_and(|last| last.elapsed() < NOTE_EVERY) {
            return;
        }
        let mut note = self.about.under_way(&format!("`{begins}`"));
        note.scenarios = ended.to_vec();
        if let Err(fault) = folder::record(self.run_dir, &note) {
            // The end of the run tells it again, if it is still so then.
            tracing::warn!(message = "The record of the run could not be brought up to date.", %fault);
        }
        self.last = Some(std::time::Instant::now());
    }
}

/// A name that every file system takes.
fn slug(title: &str) -> String {
    let mut slug = String::new();
    for c in title.to_lowercase().chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    // Chosen: 60 characters, readable and short of every limit.
    slug.chars()
        .take(60)
        .collect::<String>()
        .trim_matches('-')
        .to_owned()
}

/// What is wrong with the devices that scenarios are to catch, beyond what they are wrong in: each
/// must be one that its rig can have.
#[must_use]
pub fn faults_of_mutants(scenarios: &[Scenario]) -> Vec<Diagnostic> {
    let mutants = scenarios.iter().filter(|s| s.mutant.is_some());
    mutants
        .filter_map(|scenario| rig_of(scenario, None).err())
        .flatten()
        .collect()
}

/// The file of a scenario's rig; `None` is the demo bench.
pub(crate) fn rig_path(scenario: &Scenario, given: Option<&Path>) -> Option<PathBuf> {
    let beside = scenario.rig.as_ref().map(|name| {
        let folder = Path::new(&scenario.file).parent();
        folder.unwrap_or(Path::new(".")).join(name)
    });
    given.map(Path::to_path_buf).or(beside)
}

/// The rig of a file, or the demo bench.
///
/// # Errors
/// All faults of the rig.
pub(crate) fn load_rig(path: Option<&Path>) -> Result<Rig, Vec<Diagnostic>> {
    match path {
        Some(path) => runtime::rig::load(path),
        None => runtime::rig::load_text(Path::new(demo::RIG_PATH), demo::RIG),
    }
}

/// The rig of a scenario.
///
/// # Errors
/// All faults of the rig.
fn rig_of(scenario: &Scenario, given: Option<&Path>) -> Result<Rig, Vec<Diagnostic>> {
    match (rig_path(scenario, given), &scenario.mutant) {
        (Some(path), Some(Mutant::Device { device, part, over })) => {
            runtime::rig::load_mutant(&path, device, *part, over)
        }
        (None, Some(Mutant::Device { device, .. })) => Err(vec![Diagnostic::error(
            "R067",
            Actor::Author,
            format!("mutants of {device} need a rig that the scenario names"),
        )]),
        (path, _) => load_rig(path.as_deref()),
    }
}

/// What a rig has not of what a scenario needs, in words.
pub(crate) fn unmet(need: &Need, rig: &Rig, far_ends: &FarEnds) -> Option<String> {
    for (role, least) in &need.roles {
        let have = rig.devices.iter().filter(|d| d.role == *role).count();
        if have < *least as usize {
            let role = role.name();
            return Some(format!(
                "the scenario needs {least} {role}, the rig has {have}"
            ));
        }
    }
    let has_source = rig.devices.iter().any(|d| d.role == model::Role::Source);
    (need.grid_source && !has_source && !far_ends.emulates(rig, "grid")).then(|| {
        "the scenario needs a grid source that can be set; this bench has none (give the rig a grid \
         simulator with the role `source`)"
            .to_owned()
    })
}

/// One scenario to run.
struct One<'a> {
    scenario: &'a Scenario,
    seed: u64,
    run_dir: PathBuf,
    options: &'a TestOptions,
    interrupt: &'a Interrupt,
}

/// What came of one scenario.
struct Done {
    result: ScenarioResult,
    counters: Counters,
}

impl One<'_> {
    fn run(&self) -> Done {
        match self.try_run() {
            Ok(done) => done,
            Err(broken) => self.broken(broken),
        }
    }

    fn broken(&self, broken: Broken) -> Done {
        let checks = self
            .scenario
            .checks
            .iter()
            .map(|c| CheckResult::infrastructure(c, broken.why.clone()))
            .collect();
        let mut result = ScenarioResult::judge(
            self.scenario,
            broken.verdict,
            broken.why,
            checks,
            self.options.ignore_expect,
        );
        result.seed = self.seed;
        Done {
            result,
            counters: Counters::default(),
        }
    }

    fn try_run(&self) -> Result<Done, Broken> {
        let rig = rig_of(self.scenario, self.options.rig.as_deref())
            .map_err(|faults| Broken::of(&faults))?;
        let far_ends = FarEnds::of(&rig, self.options.on).map_err(|fault| Broken::of(&[*fault]))?;
        if let Some(why) = unmet(&self.scenario.need, &rig, &far_ends) {
            return Err(Broken::infrastructure(why));
        }
        if far_ends.has_real() {
            let impossible = fit::only_emulated(self.scenario, &rig, &far_ends);
            if !impossible.is_empty() {
                return Err(Broken::of(&impossible));
            }
        }
        std::fs::create_dir_all(&self.run_dir).map_err(|e| {
            Broken::infrastructure(format!("{} cannot be made: {e}", self.run_dir.display()))
        })?;
        let rig = Arc::new(rig);
        in_runtime(self.options.virtual_time, self.go(rig, far_ends)).map_err(|f| Broken::of(&f))?
    }

    /// Serves the page for this scenario. Whoever asks between two scenarios waits for the next one. There
    /// is no token: a person at the page may look, and bring the bench to its safe state.
    fn serve(&self, listener: &std::net::TcpListener, session: &Session) -> Result<(), Broken> {
        let own = listener.try_clone().and_then(|own| {
            own.set_nonblocking(true)?;
            tokio::net::TcpListener::from_std(own)
        });
        let unserved = |e| Broken::infrastructure(format!("the page cannot be served: {e}"));
        let own = own.map_err(unserved)?;
        let address = own.local_addr().map_err(unserved)?;
        let access = Access {
            address,
            tokens: Tokens::default(),
            tls: None,
        };
        serve(own, session, access, Runs::beside(self.run_dir.clone()));
        Ok(())
    }

    async fn go(&self, rig: Arc<Rig>, far_ends: FarEnds) -> Result<Done, Broken> {
        let virtual_time = self.options.virtual_time;
        let (time, clock) = time(virtual_time).map_err(|f| Broken::of(&f))?;
        let (bench, buses) = open_buses(&rig, &far_ends, virtual_time, self.seed)
            .await
            .map_err(|f| Broken::of(&f))?;
        let wall = match &time {
            Time::Virtual(clock, _) => Some(clock.clone()),
            Time::Real(..) => None,
        };
        let recording = SharedRecording::new(rig.control.period);
        let mut session = Session::open(
            Options {
                rig: Arc::clone(&rig),
                buses,
                run_dir: self.run_dir.clone(),
                seed: self.seed,
                armed: true,
                listeners: vec![Box::new(Recorder::new(&rig, recording.clone()))],
            },
            time,
        )
        .map_err(|d| Broken::of(&[*d]))?;
        if let Some(Mutant::Controller(defect)) = self.scenario.mutant {
            session.spoil(defect);
        }
        let board = match &self.options.listen {
            Some(listener) => {
                self.serve(listener, &session)?;
                Some(Board::of(self.scenario, Arc::clone(&session.view)))
            }
            None => None,
        };
        let mut stage = Stage {
            rig: &rig,
            clock: &*clock,
            wall,
            bench: bench.as_ref().map(crate::bench::EmulatedBench::handle),
            orders: session.orders.clone(),
            recording: recording.clone(),
            ramps: Vec::new(),
            courses: Vec::new(),
            returns: Vec::new(),
            marks: BTreeMap::new(),
            held: BTreeMap::new(),
            sources: BTreeMap::new(),
            said: BTreeMap::new(),
            board,
        };
        let mut played: Result<Played, Broken> = Err(Broken::infrastructure("it was not played"));
        let ended = {
            let play = async {
                tokio::select! {
                    biased;
                    () = self.interrupt.heard() => {
                        played = Err(Broken {
                            verdict: Verdict::Interrupted,
                            why: "interrupted by a person; the bench was brought to rest".into(),
                        });
                        "interrupted by a person".to_owned()
                    }
                    end = stage.play(self.scenario) => {
                        played = end;
                        "the scenario is over".to_owned()
                    }
                }
            };
            session.run(play).await.map_err(|d| Broken::of(&[*d]))?
        };
        let played = played?;
        recording.with(|r| r.ended = r.ended.min(played.until));
        Ok(self.judge(&rig, &far_ends, &recording, &ended, played.afterwards))
    }

    /// What of the hardware was not there, in words: an emulated device is always where it is told.
    fn absent(rig: &Rig, far_ends: &FarEnds, recording: &SharedRecording) -> Option<String> {
        let (real, _) = far_ends.names(rig);
        let came = recording.with(|r| {
            let online = r.events.iter().filter(|e| e.kind == "device_online");
            online.filter_map(|e| e.device.clone()).collect::<Vec<_>>()
        });
        let absent: Vec<&str> = real
            .iter()
            .map(String::as_str)
            .filter(|name| !came.iter().any(|c| c == *name))
            .collect();
        (!absent.is_empty()).then(|| format!("{} never answered", absent.join(", ")))
    }

    fn judge(
        &self,
        rig: &Rig,
        far_ends: &FarEnds,
        recording: &SharedRecording,
        ended: &Ended,
        afterwards: Option<Broken>,
    ) -> Done {
        let ledger = evidence::read_back(&self.run_dir, &ended.finished.ledger_root);
        let summary = ledger.summary.clone();
        let evidence = evidence_of(&self.run_dir, rig, recording, ended, ledger);
        let (checks, duration_s) = recording.with(|recording| {
            let checks: Vec<CheckResult> = self
                .scenario
                .checks
                .iter()
                .map(|check| evaluate(check, recording, &evidence))
                .collect();
            (checks, recording.ended.since(recording.began).as_secs_f64())
        });
        let faults: Vec<String> = ended
            .fault
            .iter()
            .chain(&ended.finished.faults)
            .cloned()
            .chain(Self::absent(rig, far_ends, recording))
            .collect();
        let faults = (!faults.is_empty()).then(|| Broken::infrastructure(faults.join("; ")));
        let broken = afterwards.into_iter().chain(faults).reduce(Broken::and);
        let (run, why) = broken.map_or((Verdict::Pass, String::new()), |b| (b.verdict, b.why));
        let mut result =
            ScenarioResult::judge(self.scenario, run, why, checks, self.options.ignore_expect);
        result.seed = self.seed;
        result.duration_s = duration_s;
        result.rig = rig.source.path.clone();
        result.rig_hash = folder::hash(&rig.source.text);
        result.firmware = folder::firmware(rig, &ended.finished);
        if self.options.on == On::Mixed {
            let (real, emulated) = far_ends.names(rig);
            result.halves = Some(Halves { real, emulated });
        }
        result.ledger = Some(summary);
        (result.safe_end, result.fallbacks) = folder::safety(&ended.finished);
        Done {
            result,
            counters: folder::counters(&ended.finished),
        }
    }
}

/// What ledger, market and buses say, for the checks that ask for them.
fn evidence_of(
    run_dir: &Path,
    rig: &Rig,
    recording: &SharedRecording,
    ended: &Ended,
    ledger: evidence::Found,
) -> Evidence {
    let market = rig.market.as_ref().map(|market| {
        // A cleared interval begins after its gate, and is settled when its meters were read.
        let on_bench = (market.gate + market.interval) / market.time_factor;
        let due_after = on_bench + runtime::desk::METER_LAG;
        let (ended_intervals, settled) = recording.with(|r| {
            let last = r.events.iter().map(|e| e.at).max().unwrap_or(r.ended);
            let of_kind = |kind: &'static str| r.events.iter().filter(move |e| e.kind == kind);
            let due = of_kind("market_cleared")
                .filter(|e| e.at + due_after + rig.control.period <= last)
                .count();
            (due as u64, of_kind("market_settled").count() as u64)
        });
        MarketEvidence {
            intervals_ended: ended_intervals,
            intervals_settled: settled,
            sum_u: ended
                .finished
                .accounts
                .iter()
                .filter_map(|(_, amount)| amount.parse::<i128>().ok())
                .sum(),
            unaccounted_mwh: ended.finished.unaccounted_mwh,
            replay: replay_of(run_dir),
            // What cannot be read is told by the replay, and shows nothing.
            books: runtime::desk::books(run_dir).unwrap_or_default(),
        }
    });
    Evidence {
        ledger: LedgerEvidence {
            dispatches: ended.finished.counters.dispatches,
            // What was recorded too late was held back, and the ledger says so.
            dispatches_logged: ledger.dispatches.saturating_sub(ended.finished.held_back),
            verification: ledger.verification,
        },
        market,
        links: links(rig, &ended.finished.links),
    }
}

/// Computes the market of a run again.
fn replay_of(run_dir: &Path) -> Replay {
    match runtime::desk::replay(run_dir) {
        Ok(MarketReplay::Identical {
            cleared, settled, ..
        }) => Replay::Identical { cleared, settled },
        Ok(MarketReplay::Different { interval, what }) => {
            Replay::Different(format!("interval {interval}, {what}"))
        }
        Err(fault) => Replay::Impossible(fault.to_string()),
    }
}

/// How the way to each device was.
fn links(rig: &Rig, reports: &[DeviceReport]) -> Vec<LinkEvidence> {
    let link = |report: &DeviceReport| {
        let device = rig.devices.get(report.device.index())?;
        // A device that speaks by itself is not asked: its silences are no lost answers.
        let is_asked = matches!(
            device.profile.protocol,
            Protocol::Modbus(_) | Protocol::Scpi(_)
        );
        is_asked.then(|| LinkEvidence {
            device: device.id.to_string(),
            requests: report.requests,
            lost: report.timeouts + report.corrupt,
            p99: report.round_trip_p99,
        })
    };
    reports.iter().filter_map(link).collect()
}
