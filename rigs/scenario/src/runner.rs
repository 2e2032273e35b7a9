//! Runs scenarios: a bench of its own for each, steps by the clock of the run, checks at the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use document::{Actor, Diagnostic};
use emulator::bench::Handle;
use model::{Clock, Instant, Mode, ModeRequest, Order, Role, Setpoint};
use quantities::{ActivePower, ReactivePower};
use runtime::engine::OrderQueue;
use runtime::rig::Rig;
use runtime::session::{Ended, Options, Session};

use crate::check::{CheckKind, CheckResult, WindowEnd};
use crate::check::{Evidence, LedgerEvidence, MarketEvidence, Verification, evaluate};
use crate::demo;
use crate::folder::{self, About};
use crate::live::{in_runtime, open_buses, time};
use crate::recorder::{Recorder, SharedRecording};
use crate::report::html::scenario_report;
use crate::report::junit::InconclusiveAs;
use crate::report::result::{Counters, LedgerSummary, RunResult, ScenarioResult};
use crate::script::{Action, Anchor, Moment, Progress, Scenario, Step};
use crate::series::FaultSpan;
use crate::signal::{Signal, SignalQuantity};
use crate::verdict::Verdict;

/// What a test run is told.
pub struct TestOptions {
    /// The scenarios, in order.
    pub scenarios: Vec<Scenario>,
    /// The rig for all of them; `None` = each scenario's own, or the demo rig.
    pub rig: Option<PathBuf>,
    /// Whether the devices are emulated.
    pub emulated: bool,
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
    /// The run folder; it must exist and be empty.
    pub run_dir: PathBuf,
    /// The command line, for `repro.sh`.
    pub command: Vec<String>,
    /// Name of the run.
    pub id: String,
}

/// Time for the bench to answer before a scenario begins.
/// Chosen: 10 s, the longest first contact of the bundled profiles with one lost connection.
const READY_WITHIN: Duration = Duration::from_secs(10);
/// How often waiting steps look. Chosen: half a control period.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Record kept after the last step when no check asks for more. Chosen: 1 s, ten cycles.
const AFTERMATH: Duration = Duration::from_secs(1);

/// Runs all scenarios and writes the run folder. `told` hears of each one as it ends.
///
/// # Errors
/// Diagnostics of what kept the run from starting at all; a scenario that cannot run is a result.
pub fn run(
    options: TestOptions,
    mut told: impl FnMut(&ScenarioResult),
) -> Result<RunResult, Vec<Diagnostic>> {
    let utc = || runtime::clock::SystemClock::start().utc().to_string();
    let about = About {
        id: options.id.clone(),
        rig: options
            .rig
            .as_ref()
            .map_or_else(|| demo::RIG_PATH.to_owned(), |p| p.display().to_string()),
        on: if options.emulated { "sim" } else { "bench" }.into(),
        speed: if options.virtual_time { "max" } else { "1" }.into(),
        seed: options.seed,
        started_utc: utc(),
        command: options.command.clone(),
    };
    let mut results = Vec::new();
    let mut totals = Counters::default();
    let mut roots = Vec::new();
    let mut entries = 0;
    let mut number = 0;
    for scenario in &options.scenarios {
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
            };
            let done = one.run();
            add(&mut totals, &done.counters);
            roots.extend(done.root);
            entries += done.entries;
            told(&done.result);
            results.push(done.result);
        }
    }
    let mut result = about.result(utc());
    result.scenarios = results;
    result.counters = totals;
    result.ledger = LedgerSummary {
        // Each scenario has a ledger of its own; with one there is one root to show.
        root: match roots.as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        },
        entries,
        verified: None,
    };
    let result = result.judged(if options.scenarios.is_empty() {
        Verdict::NothingSelected
    } else {
        Verdict::Pass
    });
    let inconclusive = if options.inconclusive_as_skipped {
        InconclusiveAs::Skipped
    } else {
        InconclusiveAs::Error
    };
    let html = scenario_report(&result);
    folder::write(
        &options.run_dir,
        &result,
        &html,
        &about.environment(None),
        inconclusive,
    )
    .map_err(|d| vec![*d])?;
    Ok(result)
}

fn add(totals: &mut Counters, one: &Counters) {
    totals.cycles += one.cycles;
    totals.cycles_late += one.cycles_late;
    totals.samples += one.samples;
    totals.dispatches += one.dispatches;
    totals.dispatches_logged += one.dispatches_logged;
    totals.trades += one.trades;
    totals.telemetry_written += one.telemetry_written;
    totals.telemetry_lost += one.telemetry_lost;
    for (name, count) in &one.more {
        *totals.more.entry(name.clone()).or_default() += count;
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

/// The rig of a scenario.
///
/// # Errors
/// All faults of the rig.
fn rig_of(scenario: &Scenario, given: Option<&Path>) -> Result<Rig, Vec<Diagnostic>> {
    if let Some(path) = given {
        return runtime::rig::load(path);
    }
    match &scenario.rig {
        None => runtime::rig::load_text(Path::new(demo::RIG_PATH), demo::RIG),
        Some(name) => {
            let beside = Path::new(&scenario.file)
                .parent()
                .unwrap_or(Path::new("."))
                .join(name);
            runtime::rig::load(&beside)
        }
    }
}

/// One scenario to run.
struct One<'a> {
    scenario: &'a Scenario,
    seed: u64,
    run_dir: PathBuf,
    options: &'a TestOptions,
}

/// What came of one scenario.
struct Done {
    result: ScenarioResult,
    counters: Counters,
    root: Option<String>,
    entries: u64,
}

/// Why a scenario did not come to its end.
struct Broken {
    verdict: Verdict,
    why: String,
}

impl Broken {
    fn infrastructure(why: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Infrastructure,
            why: why.into(),
        }
    }

    fn of(faults: &[Diagnostic]) -> Self {
        let author = faults.iter().any(|f| f.actor == Actor::Author);
        Self {
            verdict: if author {
                Verdict::Config
            } else {
                Verdict::Infrastructure
            },
            why: faults
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; "),
        }
    }
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
            root: None,
            entries: 0,
        }
    }

    fn try_run(&self) -> Result<Done, Broken> {
        let rig = rig_of(self.scenario, self.options.rig.as_deref())
            .map_err(|faults| Broken::of(&faults))?;
        self.check_need(&rig)?;
        std::fs::create_dir_all(&self.run_dir).map_err(|e| {
            Broken::infrastructure(format!("{} cannot be made: {e}", self.run_dir.display()))
        })?;
        let rig = Arc::new(rig);
        in_runtime(self.options.virtual_time, self.go(rig)).map_err(|f| Broken::of(&f))?
    }

    fn check_need(&self, rig: &Rig) -> Result<(), Broken> {
        let need = &self.scenario.need;
        for (role, least) in &need.roles {
            let have = rig.devices.iter().filter(|d| d.role == *role).count();
            if have < *least as usize {
                return Err(Broken::infrastructure(format!(
                    "the scenario needs {least} {}, the rig has {have}",
                    role.name()
                )));
            }
        }
        if need.grid_source && !self.options.emulated {
            return Err(Broken::infrastructure(
                "the scenario needs a grid source that can be set; this bench has none",
            ));
        }
        Ok(())
    }

    async fn go(&self, rig: Arc<Rig>) -> Result<Done, Broken> {
        let virtual_time = self.options.virtual_time;
        let (time, clock) = time(virtual_time).map_err(|f| Broken::of(&f))?;
        let (bench, buses) = open_buses(&rig, self.options.emulated, virtual_time, self.seed)
            .await
            .map_err(|f| Broken::of(&f))?;
        let recording = SharedRecording::new(rig.control.period);
        let session = Session::open(
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
        let mut stage = Stage {
            rig: &rig,
            clock: &*clock,
            bench: bench.as_ref().map(crate::bench::EmulatedBench::handle),
            orders: session.orders.clone(),
            recording: recording.clone(),
            ramps: Vec::new(),
            marks: BTreeMap::new(),
        };
        let mut played: Result<Instant, Broken> = Err(Broken::infrastructure("it was not played"));
        let ended = {
            let play = async {
                played = stage.play(self.scenario).await;
                "the scenario is over".to_owned()
            };
            session.run(play).await.map_err(|d| Broken::of(&[*d]))?
        };
        let until = played?;
        recording.with(|r| r.ended = r.ended.min(until));
        Ok(self.judge(&rig, &recording, &ended))
    }

    fn judge(&self, rig: &Rig, recording: &SharedRecording, ended: &Ended) -> Done {
        let evidence = self.evidence(rig, recording, ended);
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
            .collect();
        let run = if faults.is_empty() {
            Verdict::Pass
        } else {
            Verdict::Infrastructure
        };
        let mut result = ScenarioResult::judge(
            self.scenario,
            run,
            faults.join("; "),
            checks,
            self.options.ignore_expect,
        );
        result.seed = self.seed;
        result.duration_s = duration_s;
        Done {
            result,
            counters: folder::counters(&ended.finished),
            root: (!ended.finished.ledger_root.is_empty())
                .then(|| ended.finished.ledger_root.clone()),
            entries: match &evidence.ledger.verification {
                Verification::Holds { .. } => ledger_verify::verify(&self.run_dir).entries,
                _ => 0,
            },
        }
    }

    /// Reads ledger and market of the run back, for the checks that ask for them.
    fn evidence(&self, rig: &Rig, recording: &SharedRecording, ended: &Ended) -> Evidence {
        let counters = ended.finished.counters;
        let verified = ledger_verify::verify(&self.run_dir);
        let found = match ledger_node::entries(&self.run_dir) {
            Ok(entries) => entries
                .filter_map(Result::ok)
                .filter(|e| matches!(e.atom.body().payload, ledger_core::Payload::Dispatch(_)))
                .count() as u64,
            Err(_) => 0,
        };
        let verification = if verified.is_ok() {
            Verification::Holds {
                root: ended.finished.ledger_root.clone(),
            }
        } else {
            Verification::Broken(
                verified
                    .first_failure()
                    .map_or_else(|| "it cannot be read".to_owned(), ToString::to_string),
            )
        };
        let market = rig.market.as_ref().map(|market| {
            // A cleared interval begins after its gate, and is settled when its meters were read.
            let due_after = runtime::desk::GATE + market.interval + runtime::desk::METER_LAG;
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
            }
        });
        Evidence {
            ledger: LedgerEvidence {
                dispatches: counters.dispatches,
                // What was recorded too late was held back, and the ledger says so.
                dispatches_logged: found.saturating_sub(ended.finished.held_back),
                verification,
            },
            market,
        }
    }
}

/// Where a script is played: the bench, the controller's door, the clock, the record.
struct Stage<'a> {
    rig: &'a Rig,
    clock: &'a dyn Clock,
    bench: Option<Handle>,
    orders: OrderQueue,
    recording: SharedRecording,
    ramps: Vec<HeldRamp>,
    marks: BTreeMap<String, Instant>,
}

/// A held setpoint that moves along a straight line.
struct HeldRamp {
    signal: Signal,
    from: f64,
    to: f64,
    began: Instant,
    over: Duration,
}

impl Stage<'_> {
    /// Plays the script; the end of its record.
    async fn play(&mut self, scenario: &Scenario) -> Result<Instant, Broken> {
        self.wait_until_ready().await?;
        let start = self.clock.now();
        self.recording.with(|r| r.began = start);
        let mut previous = start;
        for step in &scenario.steps {
            let at = self.moment(&step.at, start, previous);
            self.sleep_until(at).await;
            let began = self.clock.now();
            if let Some(mark) = &step.mark {
                self.marks.insert(mark.clone(), began);
                self.recording.with(|r| r.marks.insert(mark.clone(), began));
            }
            for action in &step.actions {
                self.act(action, step)?;
            }
            self.wait_for(step, began).await?;
            previous = self.clock.now();
        }
        let end = self.end_of_record(scenario, start, previous);
        self.sleep_until(end).await;
        if let Some(after) = &scenario.after {
            self.bring_to_rest(&after.safe, after.within).await?;
        }
        Ok(end)
    }

    /// Every device answers and the mode is known, or the bench is not there.
    async fn wait_until_ready(&mut self) -> Result<(), Broken> {
        let began = self.clock.now();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let (known, heard) = self.recording.with(|r| {
                let known = r
                    .modes
                    .last()
                    .is_some_and(|(_, mode)| *mode != Mode::Starting);
                let heard: Vec<String> = r
                    .events
                    .iter()
                    .filter(|e| e.kind == "device_online")
                    .filter_map(|e| e.device.clone())
                    .collect();
                (known, heard)
            });
            let absent: Vec<&str> = self
                .rig
                .devices
                .iter()
                .map(|d| &*d.id)
                .filter(|id| !heard.iter().any(|h| h == id))
                .collect();
            if known && absent.is_empty() {
                return Ok(());
            }
            if self.clock.now().since(began) >= READY_WITHIN {
                return Err(Broken::infrastructure(if absent.is_empty() {
                    "the bench did not come up: its mode stayed unknown".to_owned()
                } else {
                    format!("these devices did not answer: {}", absent.join(", "))
                }));
            }
        }
    }

    fn moment(&self, moment: &Moment, start: Instant, previous: Instant) -> Instant {
        let anchor = match &moment.anchor {
            Anchor::Start => start,
            Anchor::Previous | Anchor::End => previous,
            Anchor::Mark(mark) => self.marks.get(mark).copied().unwrap_or(start),
        };
        moment.from_anchor(anchor)
    }

    async fn sleep_until(&mut self, at: Instant) {
        loop {
            self.move_ramps();
            let left = at.since(self.clock.now());
            if left.is_zero() {
                return;
            }
            // Held ramps move while we wait; without one there is nothing to do until then.
            let nap = if self.ramps.is_empty() {
                left
            } else {
                left.min(LOOK_EVERY)
            };
            tokio::time::sleep(nap).await;
        }
    }

    async fn wait_for(&mut self, step: &Step, began: Instant) -> Result<(), Broken> {
        let Some(until) = &step.until else {
            return Ok(());
        };
        loop {
            self.move_ramps();
            let now = self.clock.now();
            match self.recording.with(|r| until.progress(r, began, now)) {
                Progress::Met => return Ok(()),
                Progress::Waiting => tokio::time::sleep(LOOK_EVERY).await,
                Progress::Late => {
                    return Err(Broken {
                        verdict: Verdict::Fail,
                        why: format!(
                            "line {}: what the step waits for did not come within {} s",
                            step.line,
                            until.within.as_secs_f64()
                        ),
                    });
                }
            }
        }
    }

    fn act(&mut self, action: &Action, step: &Step) -> Result<(), Broken> {
        let at = |e: String| Broken {
            verdict: Verdict::Config,
            why: format!("line {}: {e}", step.line),
        };
        match action {
            Action::Set { signal, value } | Action::Step { signal, value } => {
                if self.is_input(signal) {
                    self.set_input(signal, *value).map_err(at)
                } else {
                    self.hold(signal, *value).map_err(at)
                }
            }
            Action::Hold { signal, value } => self.hold(signal, *value).map_err(at),
            Action::Ramp { signal, to, over } => self.ramp(signal, *to, *over).map_err(at),
            Action::Release { device } => {
                let device = self
                    .rig
                    .device(device)
                    .ok_or_else(|| at(format!("the rig has no device `{device}`")))?;
                self.orders.push(Order::Release { device });
                Ok(())
            }
            Action::Fault {
                subject,
                name,
                fault,
            } => self.fault(subject, name, fault.as_ref()).map_err(at),
            Action::Mode(request) => {
                self.orders.push(Order::Mode(*request));
                Ok(())
            }
        }
    }

    /// Whether a signal is an input of the emulated bench, and not something that is asked of control.
    fn is_input(&self, signal: &Signal) -> bool {
        match signal.quantity {
            SignalQuantity::ActivePower | SignalQuantity::ReactivePower => {
                self.rig.device(&signal.subject).is_some_and(|ix| {
                    matches!(self.rig.devices[ix.index()].role, Role::Load | Role::Meter)
                })
            }
            SignalQuantity::Switch => false,
            _ => true,
        }
    }

    fn set_input(&self, signal: &Signal, value: f64) -> Result<(), String> {
        let Some(bench) = &self.bench else {
            return Err(format!("`{signal}` can only be set on an emulated bench"));
        };
        bench
            .set(&signal.to_string(), self.input_value(signal, value))
            .map_err(|e| e.to_string())
    }

    /// The emulator counts a load's consumption as positive; scenarios have one sign for all.
    fn input_value(&self, signal: &Signal, value: f64) -> f64 {
        match signal.quantity {
            SignalQuantity::ActivePower | SignalQuantity::ReactivePower => -value,
            _ => value,
        }
    }

    fn hold(&self, signal: &Signal, value: f64) -> Result<(), String> {
        let device = self
            .rig
            .device(&signal.subject)
            .ok_or_else(|| format!("the rig has no device `{}`", signal.subject))?;
        let role = self.rig.devices[device.index()].role;
        let setpoint = match (signal.quantity, role) {
            (SignalQuantity::ActivePower, Role::Pv) => Setpoint::Ceiling {
                p: ActivePower::from_watts(value),
            },
            (SignalQuantity::ActivePower, _) => Setpoint::Power {
                p: ActivePower::from_watts(value),
                q: ReactivePower::ZERO,
            },
            (SignalQuantity::ReactivePower, _) => Setpoint::Power {
                p: ActivePower::ZERO,
                q: ReactivePower::from_vars(value),
            },
            (SignalQuantity::Switch, _) => Setpoint::Switch { on: value >= 0.5 },
            _ => return Err(format!("`{signal}` cannot be held")),
        };
        if self.orders.push(Order::Hold { device, setpoint }) {
            Ok(())
        } else {
            Err("too many orders wait".into())
        }
    }

    fn ramp(&mut self, signal: &Signal, to: f64, over: Duration) -> Result<(), String> {
        if self.is_input(signal) {
            let Some(bench) = &self.bench else {
                return Err(format!("`{signal}` can only be moved on an emulated bench"));
            };
            return bench
                .ramp(&signal.to_string(), self.input_value(signal, to), over)
                .map_err(|e| e.to_string());
        }
        let now = self.clock.now();
        let from = self
            .recording
            .with(|r| {
                let series = r.series.get(signal)?;
                series.held(now, Duration::from_secs(5)).map(|(_, v)| v)
            })
            .ok_or_else(|| {
                format!("`{signal}` was never measured, so it cannot be moved from there")
            })?;
        self.ramps.retain(|r| r.signal != *signal);
        self.ramps.push(HeldRamp {
            signal: signal.clone(),
            from,
            to,
            began: now,
            over,
        });
        Ok(())
    }

    fn move_ramps(&mut self) {
        let now = self.clock.now();
        let mut moved = Vec::new();
        self.ramps.retain(|ramp| {
            let part = now.since(ramp.began).as_secs_f64() / ramp.over.as_secs_f64().max(1e-9);
            let part = part.min(1.0);
            moved.push((
                ramp.signal.clone(),
                ramp.from + (ramp.to - ramp.from) * part,
            ));
            part < 1.0
        });
        for (signal, value) in moved {
            // The device was found when the ramp began.
            if let Err(why) = self.hold(&signal, value) {
                tracing::warn!(message = "A ramp could not go on.", why);
            }
        }
    }

    fn fault(
        &self,
        subject: &str,
        name: &str,
        fault: Option<&emulator::faults::Fault>,
    ) -> Result<(), String> {
        let Some(bench) = &self.bench else {
            return Err("faults can only be put into an emulated bench".into());
        };
        let now = self.clock.now();
        match fault {
            Some(fault) => {
                bench
                    .set_fault(subject, fault.clone(), true)
                    .map_err(|e| e.to_string())?;
                let what = format!("{subject}.{fault}");
                self.recording.with(|r| {
                    r.faults.push(FaultSpan {
                        what,
                        from: now,
                        to: None,
                    });
                });
            }
            None => {
                let fault = emulator::faults::Fault::parse(name)
                    .or_else(|_| emulator::faults::Fault::parse(&format!("{name}=1")))
                    .or_else(|_| emulator::faults::Fault::parse(&format!("{name}=1s")))
                    .or_else(|_| emulator::faults::Fault::parse(&format!("{name}=1%")))
                    .map_err(|e| e.to_string())?;
                bench
                    .set_fault(subject, fault, false)
                    .map_err(|e| e.to_string())?;
                let begins = format!("{subject}.{name}");
                self.recording.with(|r| {
                    for span in r.faults.iter_mut().filter(|s| s.what.starts_with(&begins)) {
                        span.to.get_or_insert(now);
                    }
                });
            }
        }
        Ok(())
    }

    /// The latest moment that a check looks at.
    fn end_of_record(&self, scenario: &Scenario, start: Instant, previous: Instant) -> Instant {
        let mut end = previous + AFTERMATH;
        for check in &scenario.checks {
            let needs = match &check.kind {
                CheckKind::Band { window, .. }
                | CheckKind::Never { window, .. }
                | CheckKind::Event { window, .. } => match &window.to {
                    WindowEnd::For(time) => self.moment(&window.from, start, previous) + *time,
                    WindowEnd::At(moment) if moment.anchor == Anchor::End => continue,
                    WindowEnd::At(moment) => self.moment(moment, start, previous),
                },
                CheckKind::ResponseTime { from, over, .. } => {
                    self.moment(from, start, previous) + *over
                }
                CheckKind::Mode { from, within, .. } => {
                    self.moment(from, start, previous) + *within
                }
                CheckKind::Ledger | CheckKind::Market => continue,
            };
            // The sample that ends the window must have been taken.
            end = end.max(needs + AFTERMATH);
        }
        end
    }

    async fn bring_to_rest(&mut self, devices: &[String], within: Duration) -> Result<(), Broken> {
        for name in devices {
            if self.rig.device(name).is_none() {
                return Err(Broken {
                    verdict: Verdict::Config,
                    why: format!("`after.safe`: the rig has no device `{name}`"),
                });
            }
        }
        self.orders.push(Order::Mode(ModeRequest::Safe));
        let began = self.clock.now();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let at_rest = devices.iter().all(|name| self.is_at_rest(name, began));
            if at_rest {
                return Ok(());
            }
            if self.clock.now().since(began) >= within {
                return Err(Broken {
                    verdict: Verdict::Safety,
                    why: format!(
                        "{} did not come to rest within {} s",
                        devices.join(", "),
                        within.as_secs_f64()
                    ),
                });
            }
        }
    }

    /// Whether a device's measured power is near zero, measured since `began`.
    fn is_at_rest(&self, name: &str, began: Instant) -> bool {
        let Some(device) = self.rig.device(name) else {
            return false;
        };
        let widest = self.rig.devices[device.index()].p.map_or(1000.0, |p| {
            p.upper().as_watts().abs().max(p.lower().as_watts().abs())
        });
        // Chosen: 3 % of the rating and at least 60 W, as for every setpoint.
        let near = (widest * 0.03).max(60.0);
        let signal = Signal::new(name, SignalQuantity::ActivePower);
        let now = self.clock.now();
        self.recording.with(|r| {
            r.series
                .get(&signal)
                .and_then(|s| s.measured(began, now).last())
                .is_some_and(|(_, p)| p.abs() <= near)
        })
    }
}
