//! A run of the demo or of the daemon: a bench, a page, and a run folder.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use document::{Actor, Diagnostic};
use model::Clock;
use runtime::clock::{SimClock, SystemClock};
use runtime::rig::Rig;
use runtime::session::{Ended, Options, Session, Time};
use runtime::thread::Waker;
use runtime::view::LiveView;
use runtime::web::{Access, Hall, Runs, Tls, Tokens, WebCommand};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::bench::EmulatedBench;
use crate::check::Verification;
use crate::evidence;
use crate::far_ends::{FarEnds, On};
use crate::folder::{self, About};
use crate::report::junit::InconclusiveAs;
use crate::report::plot::{Line, Plot};
use crate::report::result::{Halves, LedgerSummary, RunResult};
use crate::report::run::{DispatchRow, RunReport, run_report};
use crate::taken;
use crate::verdict::Verdict;

/// What a live run is told.
pub struct LiveOptions {
    /// The rig.
    pub rig: Arc<Rig>,
    /// What is at the far end of the buses.
    pub on: On,
    /// Whether time is virtual.
    pub virtual_time: bool,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// The run folder; it must exist and be empty.
    pub run_dir: PathBuf,
    /// When it ends by itself.
    pub run_for: Option<Duration>,
    /// Where the page is served; `None` = headless.
    pub listen: Option<SocketAddr>,
    /// Who may do what over the API.
    pub tokens: Tokens,
    /// How the page is encrypted, if it is.
    pub tls: Option<Tls>,
    /// Whether devices may be written to from the start.
    pub armed: bool,
    /// The command line, for `repro.sh`.
    pub command: Vec<String>,
    /// Name of the run.
    pub id: String,
}

impl LiveOptions {
    /// Whether neither devices nor a page are outside this process: then nobody but its own tasks can wake it.
    fn is_alone(&self) -> bool {
        self.virtual_time && self.on == On::Sim && self.listen.is_none()
    }
}

/// What a run says when it has started.
#[derive(Clone, Debug, Default)]
pub struct Ready {
    /// Where the page is, as a browser is told.
    pub page: Option<String>,
    /// Each bus with its address.
    pub buses: Vec<(String, String)>,
}

/// Why a run was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Its time was over.
    TimeOver,
    /// A person interrupted it.
    Interrupted,
    /// The system asked it to end.
    Terminated,
}

/// Runs a bench until its time is over, somebody stops it, or it fails; writes the run folder.
///
/// # Errors
/// Diagnostics of what kept it from starting.
pub fn run(
    options: LiveOptions,
    ready: impl FnOnce(&Ready) + Send,
) -> Result<RunResult, Vec<Diagnostic>> {
    let virtual_time = options.virtual_time;
    match options.is_alone() {
        true => alone_in_virtual_time(go(options, ready))?,
        false => in_runtime(virtual_time, go(options, ready))?,
    }
}

/// As [`in_runtime`] in virtual time, for a future that needs no socket, pipe or signal: the system is not
/// asked at each step of the clock whether one of them has something to say.
fn alone_in_virtual_time<F: Future>(future: F) -> Result<F::Output, Vec<Diagnostic>> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    on(builder.enable_time().start_paused(true), future)
}

/// Runs a future on a runtime of its own: one thread, and in virtual time with a paused clock.
///
/// # Errors
/// When the system gives no runtime.
pub(crate) fn in_runtime<F: Future>(
    virtual_time: bool,
    future: F,
) -> Result<F::Output, Vec<Diagnostic>> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    on(builder.enable_all().start_paused(virtual_time), future)
}

fn on<F: Future>(
    builder: &mut tokio::runtime::Builder,
    future: F,
) -> Result<F::Output, Vec<Diagnostic>> {
    let runtime = builder.build().map_err(|e| {
        vec![Diagnostic::error(
            "R026",
            Actor::Operator,
            format!("the system gives no threads or timers: {e}"),
        )]
    })?;
    let output = runtime.block_on(future);
    // Emulated devices and brokers end with the process; nothing waits for them.
    runtime.shutdown_background();
    Ok(output)
}

/// The time of a run; must be called inside its runtime.
///
/// # Errors
/// When the system has no file descriptor left.
pub(crate) fn time(virtual_time: bool) -> Result<(Time, Arc<dyn Clock>), Vec<Diagnostic>> {
    if virtual_time {
        let clock = SimClock::start();
        Ok((
            Time::Virtual(clock.clone(), Arc::new(Notify::new())),
            Arc::new(clock),
        ))
    } else {
        let clock = SystemClock::start();
        let waker = Waker::new().map_err(|e| {
            vec![Diagnostic::error(
                "R026",
                Actor::Operator,
                format!("the system gives no event descriptor: {e}"),
            )]
        })?;
        Ok((Time::Real(clock, waker), Arc::new(clock)))
    }
}

/// The buses of a run: emulated ones at their own addresses, or those of the rig.
///
/// # Errors
/// All faults that keep the bench from starting.
pub(crate) async fn open_buses(
    rig: &Rig,
    far_ends: &FarEnds,
    virtual_time: bool,
    seed: u64,
) -> Result<(Option<EmulatedBench>, Vec<bus::BusSpec>), Vec<Diagnostic>> {
    if far_ends.has_emulated() {
        let (bench, specs) = match virtual_time {
            true => EmulatedBench::start_memory(rig, seed)?,
            false => EmulatedBench::start_part(rig, far_ends, seed).await?,
        };
        return Ok((Some(bench), specs));
    }
    let mut faults = Vec::new();
    let mut specs = Vec::new();
    for index in 0..rig.buses.len() {
        match rig.bus_spec(index, seed) {
            Ok(spec) => specs.push(spec),
            Err(fault) => faults.push(*fault),
        }
    }
    if faults.is_empty() {
        Ok((None, specs))
    } else {
        Err(faults)
    }
}

async fn go(
    options: LiveOptions,
    ready: impl FnOnce(&Ready) + Send,
) -> Result<RunResult, Vec<Diagnostic>> {
    // Held until the bench has come to rest.
    let far_ends = FarEnds::of(&options.rig, options.on).map_err(|fault| vec![*fault])?;
    let _taken =
        taken::take([(&*options.rig, &far_ends)], Duration::ZERO).map_err(|fault| vec![fault])?;
    // The page before the buses: a port in use must not start a bench.
    let listener = match options.listen {
        Some(address) => Some(listener_of(address)?),
        None => None,
    };
    let page = listener.as_ref().and_then(|l| l.local_addr().ok());
    let page = page.map(|address| url(address, options.tls.is_some()));
    let (time, clock) = time(options.virtual_time)?;
    let about = About {
        id: options.id.clone(),
        rig: options.rig.source.path.clone(),
        on: options.on.word().into(),
        speed: if options.virtual_time { "max" } else { "1" }.into(),
        seed: options.seed,
        started_utc: clock.utc().to_string(),
        command: options.command.clone(),
        shard: None,
    };
    let (bench, buses) =
        open_buses(&options.rig, &far_ends, options.virtual_time, options.seed).await?;
    let session = Session::open(
        Options {
            rig: Arc::clone(&options.rig),
            buses,
            run_dir: options.run_dir.clone(),
            seed: options.seed,
            armed: options.armed,
            listeners: Vec::new(),
        },
        time,
    )
    .map_err(|d| vec![*d])?;
    let view = Arc::clone(&session.view);
    if let Some(listener) = listener {
        let runs = Runs::beside(options.run_dir.clone());
        let address = listener.local_addr().map_err(|e| unserved(e.to_string()))?;
        let access = Access {
            address,
            tokens: options.tokens.clone(),
            tls: options.tls.clone(),
        };
        serve(listener, &session, access, runs);
    }
    ready(&Ready {
        page,
        buses: addresses(&options.rig, bench.as_ref()),
    });

    let mut stopped = None;
    let ended = {
        let alone = options.is_alone();
        let stop = async {
            let why = match alone {
                true => stop_told(options.run_for).await,
                false => stop(options.run_for).await,
            };
            stopped = Some(why);
            match why {
                Stop::TimeOver => "its time is over",
                Stop::Interrupted => "interrupted by a person",
                Stop::Terminated => "asked to end by the system",
            }
            .to_owned()
        };
        session.run(stop).await.map_err(|d| vec![*d])?
    };
    let result = judge(&options, &about, &ended, stopped, &clock.utc().to_string());
    let mut environment = about.environment(Some(&options.rig));
    environment.firmware = folder::firmware(&options.rig, &ended.finished);
    if options.on == On::Mixed {
        let (real, emulated) = far_ends.names(&options.rig);
        let rig = options.rig.source.path.clone();
        environment.halves.insert(rig, Halves { real, emulated });
    }
    if let Some(rights) = &ended.rights {
        environment
            .versions
            .insert("control_thread".into(), rights.line());
    }
    let report = report(&options.rig, &view, &ended);
    let html = run_report(&result, &environment, &report);
    Ok(folder::conclude(
        &options.run_dir,
        result,
        &html,
        &environment,
        InconclusiveAs::Error,
    ))
}

fn listener_of(address: SocketAddr) -> Result<TcpListener, Vec<Diagnostic>> {
    let bound = bind(address)?;
    let taken = bound
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(bound));
    taken.map_err(|e| {
        vec![Diagnostic::error(
            "R026",
            Actor::Operator,
            format!("the system gives no socket for the page: {e}"),
        )]
    })
}

/// Takes an address for a page.
///
/// # Errors
/// R024 when it cannot be had.
pub fn bind(address: SocketAddr) -> Result<std::net::TcpListener, Vec<Diagnostic>> {
    std::net::TcpListener::bind(address).map_err(|e| unserved(format!("at {address}: {e}")))
}

fn unserved(why: String) -> Vec<Diagnostic> {
    vec![
        Diagnostic::error(
            "R024",
            Actor::Operator,
            format!("the page cannot be served {why}"),
        )
        .help("another program may use the port: stop it, give another address with `--listen 127.0.0.1:0`, or run `--headless`"),
    ]
}

/// What to write into a browser. A page on all addresses is told by the machine's own name.
fn url(address: SocketAddr, is_encrypted: bool) -> String {
    let scheme = if is_encrypted { "https" } else { "http" };
    let named = address.ip().is_unspecified();
    let names = runtime::web::authority::names_of_this_machine();
    match names.first().filter(|_| named) {
        Some(name) => format!("{scheme}://{name}:{}/", address.port()),
        None => format!("{scheme}://{address}/"),
    }
}

/// Serves page and API of a session, beside it, until the runtime ends.
pub(crate) fn serve(listener: TcpListener, session: &Session, access: Access, runs: Runs) {
    // Chosen: 64 commands may wait; a person gives one at a time.
    let (commands, mut waiting) = mpsc::channel::<WebCommand>(64);
    let orders = session.orders.clone();
    tokio::spawn(async move {
        while let Some(command) = waiting.recv().await {
            if !orders.push(command.order()) {
                tracing::warn!(message = "An order was dropped: too many wait.");
            }
        }
    });
    let hall = Hall {
        view: Arc::clone(&session.view),
        commands,
        access,
        lease: session.lease.clone(),
        alarms: session.alarms.clone(),
        runs,
        bids: session.bids.clone(),
    };
    tokio::spawn(runtime::web::serve(listener, hall));
}

fn addresses(rig: &Rig, bench: Option<&EmulatedBench>) -> Vec<(String, String)> {
    rig.buses
        .iter()
        .map(|bus| {
            let address = bench
                .and_then(|b| b.addresses.iter().find(|a| a.bus == bus.id))
                .map_or_else(
                    || bus.kind.protocol().to_owned(),
                    |a| crate::bench::address_text(&a.address),
                );
            (bus.id.to_string(), address)
        })
        .collect()
}

/// Waits for whatever ends the run first.
pub(crate) async fn stop(run_for: Option<Duration>) -> Stop {
    let time_over = async {
        match run_for {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    let (interrupt, terminate) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    let heard = |signal: std::io::Result<tokio::signal::unix::Signal>| async {
        match signal {
            Ok(mut signal) => {
                signal.recv().await;
            }
            // Without the handler the signal ends the process by itself.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = heard(interrupt) => Stop::Interrupted,
        () = heard(terminate) => Stop::Terminated,
        () = time_over => Stop::TimeOver,
    }
}

/// As [`stop`], where the runtime hears no signals: a thread does.
async fn stop_told(run_for: Option<Duration>) -> Stop {
    let (tell, told) = oneshot::channel();
    let listener = std::thread::Builder::new()
        .name("interrupt".into())
        .spawn(move || {
            if let Ok(why) = in_runtime(false, stop(None)) {
                // The run may be over by now.
                let _heard = tell.send(why);
            }
        });
    if let Err(e) = listener {
        // Without the thread the signal ends the process by itself, as for every program.
        tracing::warn!(message = "Nobody listens for an interruption.", %e);
    }
    let signalled = async {
        match told.await {
            Ok(why) => why,
            Err(_) => std::future::pending().await,
        }
    };
    let time_over = async {
        match run_for {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        why = signalled => why,
        () = time_over => Stop::TimeOver,
    }
}

fn judge(
    options: &LiveOptions,
    about: &About,
    ended: &Ended,
    stopped: Option<Stop>,
    ended_utc: &str,
) -> RunResult {
    let mut result = about.result(ended_utc.to_owned());
    result.counters = folder::counters(&ended.finished);
    (result.safe_end, result.fallbacks) = folder::safety(&ended.finished);
    let found = evidence::read_back(&options.run_dir, &ended.finished.ledger_root);
    let holds = matches!(found.verification, Verification::Holds { .. });
    result.ledger = LedgerSummary {
        not_final: ended.finished.federation.as_ref().map(|f| f.not_final),
        nodes: ended.finished.federation.as_ref().map(|f| {
            let there = f.nodes.iter().filter(|node| node.connected).count();
            (there as u64, f.nodes.len() as u64)
        }),
        ..found.summary
    };
    let mut faults: Vec<String> = ended.fault.iter().cloned().collect();
    faults.extend(ended.finished.faults.iter().cloned());
    let run = verdict(holds, &mut faults, stopped);
    result.why = faults.join("; ");
    result.verdict = run;
    result.exit_code = run.exit_code();
    result
}

/// The verdict of a run; what led to it is added to the faults.
fn verdict(verified: bool, faults: &mut Vec<String>, stopped: Option<Stop>) -> Verdict {
    if !verified {
        faults.push("the ledger does not verify".into());
        Verdict::Ledger
    } else if !faults.is_empty() {
        Verdict::Infrastructure
    } else if stopped == Some(Stop::Interrupted) {
        faults.push("interrupted by a person; the bench was brought to rest".into());
        Verdict::Interrupted
    } else {
        Verdict::Pass
    }
}

fn report(rig: &Rig, view: &LiveView, ended: &Ended) -> RunReport {
    let history = view.history();
    let t: Vec<f64> = history.t_s.iter().copied().collect();
    let (from_s, to_s) = (
        t.first().copied().unwrap_or(0.0),
        t.last().copied().unwrap_or(0.0),
    );
    let line = |name: &str, values: &std::collections::VecDeque<Option<f64>>| Line {
        name: name.to_owned(),
        points: t.iter().copied().zip(values.iter().copied()).collect(),
        holds: false,
    };
    let chart = |title: &str, unit: &str, lines: Vec<Line>| Plot {
        title: title.into(),
        unit: unit.into(),
        from_s,
        to_s,
        lines: lines
            .into_iter()
            .filter(|l| l.points.iter().any(|(_, v)| v.is_some()))
            .collect(),
        ..Plot::default()
    };
    let per_device =
        |pick: fn(&runtime::view::DeviceTrace) -> &std::collections::VecDeque<Option<f64>>| {
            rig.devices
                .iter()
                .zip(&history.devices)
                .map(|(device, trace)| line(&device.id, pick(trace)))
                .collect::<Vec<_>>()
        };
    let mut dispatches: Vec<DispatchRow> = view
        .dispatches()
        .iter()
        .map(|d| DispatchRow {
            t_s: d.at.as_seconds(),
            device: view.name_of(d.device),
            setpoint: runtime::telemetry::setpoint_text(d.setpoint),
            function: d.function.name().into(),
            why: d.why.clone(),
            clamped: d.clamped.join(", "),
            confirmed: match (&d.reached, &d.missed) {
                (_, Some((stage, why))) => format!("missed at {stage:?}: {why}").to_lowercase(),
                (Some((stage, after)), None) => {
                    format!("{stage:?} after {after:.2} s").to_lowercase()
                }
                (None, None) => "under way".into(),
            },
            ledger_clock: d.ledger_clock,
        })
        .collect();
    dispatches.sort_by(|a, b| a.t_s.total_cmp(&b.t_s));
    RunReport {
        charts: vec![
            chart("Active power", "W", per_device(|d| &d.p_w)),
            chart("Reactive power", "var", per_device(|d| &d.q_var)),
            chart("Frequency", "Hz", vec![line("bus", &history.f_hz)]),
            chart("Voltage", "V", vec![line("bus", &history.v_v)]),
        ],
        modes: view
            .last_cycle()
            .map(|c| vec![(c.mode_since.as_seconds(), c.mode.name().to_owned())])
            .unwrap_or_default(),
        dispatches,
        market: ended
            .finished
            .accounts
            .iter()
            .map(|(name, amount)| (name.clone(), euros(amount)))
            .collect(),
        ledger: vec![
            ("root".to_owned(), ended.finished.ledger_root.clone()),
            (
                "dispatches".to_owned(),
                ended.finished.counters.dispatches_logged.to_string(),
            ),
        ],
    }
}

/// An amount in 1e-11 EUR as a person reads it; display only, nothing is settled with it.
fn euros(amount_u: &str) -> String {
    match amount_u.parse::<i128>() {
        Ok(u) => {
            let verb = if u < 0 { "received" } else { "paid" };
            format!("{verb} {:.5} EUR", u.unsigned_abs() as f64 / 1e11)
        }
        Err(_) => amount_u.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_whose_control_panicked_ends_with_exit_code_3_and_a_broken_ledger_is_worse() {
        let panicked = "a step of the control panicked; devices were brought to rest";
        let rows: [(bool, &[&str], Option<Stop>, i32); 6] = [
            (true, &[], Some(Stop::TimeOver), 0),
            (true, &[], Some(Stop::Terminated), 0),
            (true, &[], Some(Stop::Interrupted), 130),
            (true, &[panicked], None, 3),
            (true, &[panicked], Some(Stop::Interrupted), 3),
            (false, &[panicked], None, 6),
        ];
        for (verified, faults, stopped, code) in rows {
            let mut faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            let verdict = verdict(verified, &mut faults, stopped);
            assert_eq!(i32::from(verdict.exit_code()), code, "{faults:?}");
        }
    }
}
