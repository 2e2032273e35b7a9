//! What the page and the API may know of a running bench: the latest of everything, and a little past.
//!
//! The engine tells this view what happened, once per cycle and per event; each call copies a few
//! hundred bytes under a mutex and returns. Readers take the mutex as briefly and make wire structs
//! (see [`crate::web`]) of a copy. The view reads no clock, decides nothing and forgets what is old.
//!
//! It is not responsible for access rights or HTTP (see [`crate::web`]), nor for keeping records
//! (see [`crate::telemetry`]).

mod history;
mod market;
mod scenario;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::{BusReport, DeviceReport};
use control::Estimate;
use model::{
    DeviceImage, DeviceIx, Event, Function, Instant, Mode, Point, ProcessImage, Role, ServiceIx,
    ServiceReport, Setpoint, Stage, UtcTime,
};
use quantities::ActivePower;
use tokio::sync::watch;

pub use history::{DeviceTrace, History};
pub use market::{INTERVALS_KEPT, IntervalView, MarketView, OrderView, PositionView, SettledView};
pub use scenario::{BandView, ScenarioView, StepView};

/// Events that the page can scroll back. Chosen: 200, some minutes of a lively test.
pub const EVENTS_KEPT: usize = 200;
/// Dispatches that are shown with their reasons. The design asks for the last 20.
pub const DISPATCHES_KEPT: usize = 20;

/// A device as a reader of the page knows it.
#[derive(Clone, Debug)]
pub struct DeviceLabel {
    /// Name in the rig.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Profile, such as `sunspec/inverter`.
    pub profile: String,
    /// Name of its bus in the rig.
    pub bus: String,
    /// Oldest age at which a sample still counts as fresh ([`model::DeviceSpec::sample_age_max`]).
    pub sample_age_max: Duration,
}

/// A service that was sold, as a reader of the page knows it.
#[derive(Clone, Debug)]
pub struct ServiceLabel {
    /// Name in the rig.
    pub name: String,
    /// What it is, such as `fcr-ce`.
    pub service: String,
    /// Power that was sold upwards.
    pub up: ActivePower,
    /// Power that was sold downwards, as a magnitude.
    pub down: ActivePower,
    /// The devices that deliver it.
    pub devices: Vec<DeviceIx>,
}

/// The rig, as far as it does not change during a run.
#[derive(Clone, Debug)]
pub struct RigView {
    /// Title of the page.
    pub title: String,
    /// Path of the rig file.
    pub rig_path: String,
    /// The site in words, such as `230 V, 50 Hz, 1 phase`.
    pub site: String,
    /// The devices, in the order of the rig: [`DeviceIx`] points into this list.
    pub devices: Vec<DeviceLabel>,
    /// The services, in the order of the rig: [`ServiceIx`] points into this list.
    pub services: Vec<ServiceLabel>,
    /// Names of the buses.
    pub buses: Vec<String>,
    /// When the run began.
    pub started_utc: UtcTime,
    /// Whether time is simulated.
    pub virtual_time: bool,
}

/// What one supervisory cycle came to.
#[derive(Clone, Copy, Debug)]
pub struct CycleReport<'a> {
    /// Number of the cycle, from 1.
    pub n: u64,
    /// Control time of the cycle.
    pub now: Instant,
    /// Wall-clock time of the cycle.
    pub utc: UtcTime,
    /// How late it began, in milliseconds.
    pub late_ms: f64,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
    /// Operating mode after the cycle.
    pub mode: Mode,
    /// Whether devices may be written to.
    pub armed: bool,
    /// What is true on the bus.
    pub estimate: &'a Estimate,
    /// What every device said.
    pub image: &'a ProcessImage,
    /// What each service is asked for and could give.
    pub services: &'a [ServiceReport],
}

/// The latest of the ledger.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LedgerView {
    /// Its clock.
    pub clock: u64,
    /// Root of its commitment, hexadecimal.
    pub root: String,
    /// Number of entries.
    pub entries: u64,
    /// How it stands with the other nodes; `None` where there are none.
    pub federation: Option<crate::evidence::Federation>,
}

/// Counters since the run began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Supervisory cycles.
    pub cycles: u64,
    /// Cycles begun more than a fifth of the period after they were due.
    pub cycles_late: u64,
    /// Samples taken in.
    pub samples: u64,
    /// Setpoints sent.
    pub dispatches: u64,
    /// Setpoints whose record was durable in the ledger.
    pub dispatches_logged: u64,
    /// Trades.
    pub trades: u64,
    /// Values acknowledged by the telemetry sink.
    pub telemetry_written: u64,
    /// Values that the telemetry sink lost.
    pub telemetry_lost: u64,
    /// Values that wait for a telemetry server, at the end of a run in its spool.
    pub telemetry_waiting: u64,
    /// Rows that the database of the run did not take.
    pub database_lost: u64,
    /// Values that the broker of Home Assistant has acknowledged.
    pub home_written: u64,
    /// Values that the sink of Home Assistant lost.
    pub home_lost: u64,
}

/// An event with its number and times.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenEvent {
    /// Number in the run, from 1; a stream that was cut goes on after it.
    pub seq: u64,
    /// Wall-clock time.
    pub utc: UtcTime,
    /// Control time.
    pub at: Instant,
    /// What happened.
    pub event: Event,
}

/// A dispatch and how far it has come.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenDispatch {
    /// Wall-clock time.
    pub utc: UtcTime,
    /// Control time.
    pub at: Instant,
    /// Which device.
    pub device: DeviceIx,
    /// What it was asked to do.
    pub setpoint: Setpoint,
    /// Who asked.
    pub function: Function,
    /// Why.
    pub why: String,
    /// What the limiter changed.
    pub clamped: Vec<String>,
    /// Ledger clock of its record.
    pub ledger_clock: u64,
    /// Identity of its record.
    pub atom: String,
    /// The furthest stage that was confirmed, with the seconds since dispatch.
    pub reached: Option<(Stage, f64)>,
    /// The stage that was missed, with the reason.
    pub missed: Option<(Stage, String)>,
}

/// The latest cycle, without borrowed parts.
#[derive(Clone, Debug)]
pub struct LastCycle {
    /// Number of the cycle.
    pub n: u64,
    /// Control time.
    pub now: Instant,
    /// Wall-clock time.
    pub utc: UtcTime,
    /// Lateness in milliseconds.
    pub late_ms: f64,
    /// Duration in milliseconds.
    pub took_ms: f64,
    /// Operating mode.
    pub mode: Mode,
    /// Control time at which this mode was first seen.
    pub mode_since: Instant,
    /// Whether devices may be written to.
    pub armed: bool,
    /// What is true on the bus.
    pub estimate: Estimate,
    /// What every device said.
    pub devices: Vec<DeviceImage>,
}

/// A bus with its counters.
#[derive(Clone, Debug, PartialEq)]
pub struct BusView {
    /// Name in the rig.
    pub name: String,
    /// Its counters.
    pub report: BusReport,
    /// Share of the time during which the link was in use, in percent.
    pub busy_percent: f64,
    /// The counters of its devices, where it asks them.
    pub devices: Vec<DeviceReport>,
}

#[derive(Debug, Default)]
struct Inner {
    cycle: Option<LastCycle>,
    history: History,
    seq: u64,
    events: VecDeque<SeenEvent>,
    dispatches: VecDeque<SeenDispatch>,
    market: Option<MarketView>,
    ledger: Option<LedgerView>,
    services: Vec<ServiceReport>,
    /// Cycles in which there was a report of the services, and of them those in which each was available.
    service_cycles: u64,
    available_cycles: Vec<u64>,
    buses: Vec<BusView>,
    counters: Counters,
    arming: Option<ArmingView>,
    scenario: Option<ScenarioView>,
}

/// What arming would change first, as it looked at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ArmingView {
    /// When it was looked ahead.
    pub at: Instant,
    /// Why the bench cannot be armed, if it cannot.
    pub blocked: Option<String>,
    /// One row for each control that would be written.
    pub changes: Vec<Change>,
}

/// A control that would be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Which device.
    pub device: DeviceIx,
    /// Which control.
    pub point: Point,
    /// What the device holds there now, in the base unit, and when it said so; `None` = not known.
    pub now: Option<(Instant, f64)>,
    /// What would be written, in the base unit.
    pub would_be: f64,
    /// Who asks.
    pub function: Function,
    /// Why.
    pub why: String,
    /// What the limiter would change about the wish.
    pub clamped: Vec<String>,
}

/// The live view of one run. Share it in an `Arc`.
#[derive(Debug)]
pub struct LiveView {
    rig: RigView,
    inner: Mutex<Inner>,
    news: watch::Sender<u64>,
}

impl LiveView {
    /// A view of a run that has not begun to turn.
    #[must_use]
    pub fn new(rig: RigView) -> Self {
        let inner = Inner {
            history: History::of(rig.devices.len()),
            ..Inner::default()
        };
        Self {
            rig,
            inner: Mutex::new(inner),
            news: watch::Sender::new(0),
        }
    }

    /// A poisoned lock only says that a reader or writer panicked; the view is replaced bit by bit anyhow.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a supervisory cycle.
    pub fn cycle(&self, report: CycleReport<'_>) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        inner
            .history
            .observe(&self.rig.devices, report.now, report.estimate, report.image);
        let mode_since = match &inner.cycle {
            Some(last) if last.mode == report.mode => last.mode_since,
            _ => report.now,
        };
        // The list of images is reused: a cycle allocates nothing here.
        let mut devices = inner.cycle.take().map(|c| c.devices).unwrap_or_default();
        devices.clone_from(&report.image.devices);
        inner.services.clear();
        inner.services.extend_from_slice(report.services);
        if !report.services.is_empty() {
            inner.service_cycles += 1;
            inner.available_cycles.resize(report.services.len(), 0);
            for (cycles, service) in inner.available_cycles.iter_mut().zip(report.services) {
                *cycles += u64::from(service.available);
            }
        }
        inner.cycle = Some(LastCycle {
            n: report.n,
            now: report.now,
            utc: report.utc,
            late_ms: report.late_ms,
            took_ms: report.took_ms,
            mode: report.mode,
            mode_since,
            armed: report.armed,
            estimate: report.estimate.clone(),
            devices,
        });
    }

    /// Takes in an event.
    pub fn event(&self, utc: UtcTime, now: Instant, event: &Event) {
        let mut inner = self.lock();
        inner.seq += 1;
        let seq = inner.seq;
        inner.follow_dispatch(utc, now, event);
        push_bounded(
            &mut inner.events,
            EVENTS_KEPT,
            SeenEvent {
                seq,
                utc,
                at: now,
                event: event.clone(),
            },
        );
        drop(inner);
        self.news.send_replace(seq);
    }

    /// Takes in what arming would change; `None` while the bench is armed.
    pub fn arming(&self, arming: Option<ArmingView>) {
        self.lock().arming = arming;
    }

    /// What arming would change, as it looked less than two seconds ago; `None` while armed.
    #[must_use]
    pub fn latest_arming(&self) -> Option<ArmingView> {
        self.lock().arming.clone()
    }

    /// Takes in the latest of the market.
    pub fn market(&self, market: MarketView) {
        self.lock().market = Some(market);
    }

    /// Takes in how far a scenario is that is being played on this bench.
    pub fn scenario(&self, scenario: ScenarioView) {
        self.lock().scenario = Some(scenario);
    }

    /// The scenario that is being played; `None` where none is.
    #[must_use]
    pub fn latest_scenario(&self) -> Option<ScenarioView> {
        self.lock().scenario.clone()
    }

    /// Takes in the latest of the ledger.
    pub fn ledger(&self, ledger: LedgerView) {
        self.lock().ledger = Some(ledger);
    }

    /// Takes in the counters of the buses.
    pub fn buses(&self, buses: Vec<BusView>) {
        self.lock().buses = buses;
    }

    /// Takes in the counters of the run.
    pub fn counters(&self, counters: Counters) {
        self.lock().counters = counters;
    }

    /// The rig.
    #[must_use]
    pub fn rig(&self) -> &RigView {
        &self.rig
    }

    /// The device of a name.
    #[must_use]
    pub fn device_named(&self, name: &str) -> Option<DeviceIx> {
        let place = self.rig.devices.iter().position(|d| d.name == name)?;
        u16::try_from(place).ok().map(DeviceIx)
    }

    /// The name of a device; a device outside the rig is named by its number.
    #[must_use]
    pub fn name_of(&self, device: DeviceIx) -> String {
        self.rig
            .devices
            .get(device.index())
            .map_or_else(|| format!("#{}", device.0), |d| d.name.clone())
    }

    /// The latest cycle; `None` before the first.
    #[must_use]
    pub fn last_cycle(&self) -> Option<LastCycle> {
        self.lock().cycle.clone()
    }

    /// The number of the latest cycle; `None` before the first.
    #[must_use]
    pub fn cycles(&self) -> Option<u64> {
        self.lock().cycle.as_ref().map(|cycle| cycle.n)
    }

    /// The events after a number, oldest first; at most [`EVENTS_KEPT`].
    #[must_use]
    pub fn events_after(&self, seq: u64) -> Vec<SeenEvent> {
        let inner = self.lock();
        inner
            .events
            .iter()
            .filter(|e| e.seq > seq)
            .cloned()
            .collect()
    }

    /// The last dispatches, newest first.
    #[must_use]
    pub fn dispatches(&self) -> Vec<SeenDispatch> {
        self.lock().dispatches.iter().rev().cloned().collect()
    }

    /// The latest of the market; `None` before the first clearing.
    #[must_use]
    pub fn latest_market(&self) -> Option<MarketView> {
        self.lock().market.clone()
    }

    /// The services as of the latest cycle, in the order of the rig.
    #[must_use]
    pub fn latest_services(&self) -> Vec<ServiceReport> {
        self.lock().services.clone()
    }

    /// Share of the cycles so far in which each service was available, in the order of the rig; empty before
    /// the first report.
    #[must_use]
    pub fn availability(&self) -> Vec<f64> {
        let inner = self.lock();
        let share = |cycles: &u64| *cycles as f64 / inner.service_cycles as f64;
        inner.available_cycles.iter().map(share).collect()
    }

    /// The place of a service in the rig, by name.
    #[must_use]
    pub fn service_named(&self, name: &str) -> Option<ServiceIx> {
        let mut services = self.rig.services.iter();
        let index = services.position(|service| service.name == name)?;
        u16::try_from(index).ok().map(ServiceIx)
    }

    /// The latest of the ledger; `None` before the first entry.
    #[must_use]
    pub fn latest_ledger(&self) -> Option<LedgerView> {
        self.lock().ledger.clone()
    }

    /// The buses with their counters.
    #[must_use]
    pub fn latest_buses(&self) -> Vec<BusView> {
        self.lock().buses.clone()
    }

    /// The counters of the run.
    #[must_use]
    pub fn latest_counters(&self) -> Counters {
        self.lock().counters
    }

    /// The last ten minutes, for charts.
    #[must_use]
    pub fn history(&self) -> History {
        self.lock().history.clone()
    }

    /// Tells the number of the latest event whenever it changes.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }
}

impl Inner {
    /// Keeps the list of dispatches: a new one, or news of one that the ledger's record names.
    fn follow_dispatch(&mut self, utc: UtcTime, at: Instant, event: &Event) {
        match event {
            Event::Dispatched {
                device,
                setpoint,
                function,
                why,
                clamped,
                ledger_clock,
                atom,
            } => push_bounded(
                &mut self.dispatches,
                DISPATCHES_KEPT,
                SeenDispatch {
                    utc,
                    at,
                    device: *device,
                    setpoint: *setpoint,
                    function: *function,
                    why: why.clone(),
                    clamped: clamped.clone(),
                    ledger_clock: *ledger_clock,
                    atom: atom.clone(),
                    reached: None,
                    missed: None,
                },
            ),
            Event::SetpointConfirmed {
                stage,
                after_s,
                atom,
                ..
            } => {
                if let Some(dispatch) = self.dispatch_of(atom) {
                    // News may overtake each other: the furthest stage stays.
                    if dispatch.reached.is_none_or(|(seen, _)| seen < *stage) {
                        dispatch.reached = Some((*stage, *after_s));
                    }
                }
            }
            Event::SetpointMissed {
                stage, why, atom, ..
            } => {
                if let Some(dispatch) = self.dispatch_of(atom) {
                    dispatch.missed = Some((*stage, why.clone()));
                }
            }
            _ => {}
        }
    }

    fn dispatch_of(&mut self, atom: &str) -> Option<&mut SeenDispatch> {
        self.dispatches.iter_mut().rev().find(|d| d.atom == atom)
    }
}

fn push_bounded<T>(ring: &mut VecDeque<T>, kept: usize, item: T) {
    while ring.len() >= kept {
        ring.pop_front();
    }
    ring.push_back(item);
}
