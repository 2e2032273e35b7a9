//! One step of the edge: take, decide, record, release, tell.
//!
//! The engine is plain code that somebody calls when a step is due: the control
//! thread of a real bench ([`crate::thread`]), or the loop of virtual time
//! ([`crate::session`]). It never waits, except for the ledger and only up to its
//! deadline: what is not durable does not leave.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus::{LinkEvent, WriteJob};
use control::{Controller, Dispatch, Outcome, Rhythm};
use ledger_node::Receipt;
use limiter::Approved;
use model::{
    Clock, DeviceId, DeviceIx, Event, Instant, Mode, ModeRequest, Order, Point, PointSample,
    ProcessImage, Setpoint, Stage, UtcTime,
};

use crate::desk::Desk;
use crate::evidence::{self, CONTROLLER, Evidence, NotDurable};
use crate::image::ImageStore;
use crate::journal::Journal;
use crate::rig::Rig;
use crate::telemetry::{Level, Telemetry, describe};
use crate::tracker::{Progress, Tracker};
use crate::view::{
    ArmingView, BusView, Change, Counters, CycleReport, LedgerView, LiveView, MarketView,
};
use crate::write_path::{Spare, WritePath};

/// Somebody in the process who wants to hear everything, such as a scenario's recorder.
pub trait Listener: Send {
    /// Samples of a step.
    fn samples(&mut self, now: Instant, samples: &[PointSample]);
    /// Something happened.
    fn event(&mut self, now: Instant, event: &Event);
    /// A supervisory cycle is over.
    fn cycle(&mut self, now: Instant, mode: Mode);
}

/// Orders from outside that wait for the next step.
#[derive(Clone, Debug, Default)]
pub struct OrderQueue(Arc<Mutex<Vec<Order>>>);

/// Orders that may wait. Chosen: 1000, far more than people and scripts give in a cycle.
const ORDERS_WAITING_MAX: usize = 1000;

impl OrderQueue {
    /// Adds an order; false when too many wait already.
    pub fn push(&self, order: Order) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= ORDERS_WAITING_MAX {
            return false;
        }
        waiting.push(order);
        true
    }

    pub(crate) fn take(&self) -> Vec<Order> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The pulse of the engine, watched by the heartbeat guard.
#[derive(Debug, Default)]
pub struct Pulse {
    last_nanos: AtomicU64,
}

impl Pulse {
    pub(crate) fn beat(&self, now: Instant) {
        self.last_nanos.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// Time of the last step.
    #[must_use]
    pub fn last(&self) -> Instant {
        Instant::from_nanos(self.last_nanos.load(Ordering::Relaxed))
    }
}

/// What the engine is made of.
pub struct Parts {
    /// The rig.
    pub rig: Arc<Rig>,
    /// The clock of the run.
    pub clock: Arc<dyn Clock>,
    /// Where the buses put what they hear.
    pub store: Arc<ImageStore>,
    /// The running buses, in the order of the rig, and the way to write to them while armed.
    pub path: WritePath,
    /// The ledger.
    pub evidence: Evidence,
    /// The market, if the rig has one.
    pub desk: Option<Desk>,
    /// The journal.
    pub journal: Journal,
    /// The telemetry sinks.
    pub telemetry: Telemetry,
    /// What the page shows.
    pub view: Arc<LiveView>,
    /// Orders from outside.
    pub orders: OrderQueue,
    /// Others who listen.
    pub listeners: Vec<Box<dyn Listener>>,
    /// The pulse for the heartbeat guard.
    pub pulse: Arc<Pulse>,
    /// Whether the bench is to be armed once its devices have told what they do now.
    pub arms: bool,
}

/// The engine of a run.
pub struct Engine {
    parts: Parts,
    controller: Controller,
    tracker: Tracker,
    names: Vec<DeviceId>,
    counters: Counters,
    mode: Mode,
    ledger_stopped: bool,
    estop_seen: bool,
    /// Devices whose limit is wider than their nameplate.
    too_wide: BTreeSet<DeviceIx>,
    /// What devices said that their controls hold, and when.
    held: BTreeMap<(DeviceIx, Point), (Instant, f64)>,
    /// Why the run ends, once it does: then the bench is not armed again.
    ends: Option<String>,
    /// The end has been told.
    has_ended: bool,
    /// Orders that the edge itself gives to the next step.
    own_orders: Vec<Order>,
    buses_told_at: Instant,
    busy_before: Vec<u64>,
}

/// A step counts as late when it begins more than this share of the period after it was due.
const LATE_SHARE: f64 = 0.2;
/// A nameplate may be rounded by its scale factor. Chosen: 0.5 %, the usual accuracy class.
const NAMEPLATE_ROUNDING: f64 = 1.005;
/// How long a run that starts armed waits for devices that have not answered yet.
/// Chosen: 3 s, the first three attempts of every driver; whoever is absent then is told of anyway.
const ARMED_WITHIN: Duration = Duration::from_secs(3);
/// How often the page hears of buses, market and ledger. Chosen: once a second, as people read.
const TELL_EVERY: Duration = Duration::from_secs(1);

impl Engine {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let bench = parts.rig.bench();
        let busy_before = vec![0; parts.path.buses().len()];
        Self {
            names: bench.devices.iter().map(|d| d.id.clone()).collect(),
            controller: Controller::new(bench),
            tracker: Tracker::default(),
            counters: Counters::default(),
            mode: Mode::Starting,
            ledger_stopped: false,
            estop_seen: false,
            too_wide: BTreeSet::new(),
            held: BTreeMap::new(),
            ends: None,
            has_ended: false,
            own_orders: Vec::new(),
            buses_told_at: Instant::START,
            busy_before,
            parts,
        }
    }

    /// The period of the supervisory cycle.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.controller.bench().settings.period
    }

    /// The counters of the run.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// One step. `due` is when it should have begun, for the supervisory rhythm.
    pub fn step(&mut self, rhythm: Rhythm, due: Instant) {
        self.take_step(rhythm, due);
    }

    /// As [`Self::step`]; gives the number of setpoints that were decided.
    fn take_step(&mut self, rhythm: Rhythm, due: Instant) -> usize {
        let cycle = tracing::debug_span!("cycle", n = self.counters.cycles, mode = %self.mode);
        let _inside = cycle.enter();
        let now = self.parts.clock.now();
        let utc = self.parts.clock.utc();
        self.parts.pulse.beat(now);
        let (image, arrivals) = self.parts.store.take(now);
        self.counters.samples += arrivals.samples.len() as u64;

        self.look_at_controls(&arrivals.samples);
        let mut events = Vec::new();
        let mut notes = Vec::new();
        let mut orders = std::mem::take(&mut self.own_orders);
        orders.extend(self.parts.orders.take());
        if self.ends.is_some() {
            orders.retain(|order| *order != Order::Arm(true));
        }
        self.hear(now, &arrivals.events, &mut events, &mut notes);
        self.watch_estop(now, &image, &mut orders);
        self.arm_when_known(now, &image, &mut orders);
        self.watch_nameplates(&arrivals.samples, &mut orders, &mut events);
        if rhythm == Rhythm::Supervisory {
            self.trade(
                now,
                utc,
                &image,
                &arrivals.samples,
                &mut orders,
                &mut events,
            );
        }

        let outcome = self.controller.step(now, rhythm, &image, &orders);
        self.parts
            .journal
            .step(now, rhythm, &arrivals.samples, &image, &orders, &outcome);
        self.mode = outcome.mode;
        let armed = orders.iter().rev().find_map(|order| match order {
            Order::Arm(armed) => Some(*armed),
            _ => None,
        });
        if armed == Some(true) && !self.parts.path.is_open() {
            self.parts.path.open();
            // From here on each write is read back, and the registers are not looked at by themselves.
            self.held.clear();
            self.parts.view.arming(None);
        }
        let islanded = self.mode.is_islanded();
        let followed = self
            .tracker
            .look(now, &image, self.controller.bench(), islanded);
        self.acknowledge(followed, &mut events, &mut notes);
        for event in &outcome.events {
            if let Event::ModeChanged { from, to, why } = event {
                notes.push(evidence::mode_change(*from, *to, why));
            }
        }
        events.extend(outcome.events.iter().cloned());
        if let Some(why) = self.ends.as_ref().filter(|_| !self.has_ended) {
            self.has_ended = true;
            events.push(Event::WentSafe {
                why: why.clone(),
                devices: outcome.dispatches.len() as u64,
            });
        }
        self.release(now, utc, &outcome.dispatches, armed, &mut events);
        if armed == Some(false) {
            self.parts.path.close();
        }
        self.record(utc, notes, &mut events);
        self.tell(
            now,
            utc,
            rhythm,
            due,
            &image,
            &arrivals.samples,
            &outcome,
            &events,
        );
        outcome.dispatches.len()
    }

    /// A limit of the rig must not be wider than what the device itself says on its nameplate.
    /// When it is, the bench is disarmed and stays so until the rig is mended.
    fn watch_nameplates(
        &mut self,
        samples: &[PointSample],
        orders: &mut Vec<Order>,
        events: &mut Vec<Event>,
    ) {
        for sample in samples
            .iter()
            .filter(|s| s.point == Point::RatedActivePower)
        {
            let Some(rated) = sample.sample.reading.good() else {
                continue;
            };
            let spec = &self.controller.bench().devices[sample.device.index()];
            let widest = spec.rating.p.upper().as_watts().abs();
            let widest = widest.max(spec.rating.p.lower().as_watts().abs());
            let moves_power = spec.takes_power || spec.takes_ceiling;
            if moves_power && widest > rated * NAMEPLATE_ROUNDING {
                self.too_wide.insert(sample.device);
                orders.push(Order::Arm(false));
                events.push(Event::Noticed {
                    device: Some(sample.device),
                    text: format!(
                        "R012: the rig's limit of {widest} W is wider than the nameplate of {rated} W \
                         that the device reports; the bench stays disarmed. Narrow `limits.p` in the rig"
                    ),
                });
            }
        }
        if !self.too_wide.is_empty() {
            orders.retain(|order| {
                let refused = *order == Order::Arm(true);
                if refused {
                    events.push(Event::OrderRefused {
                        why: "a limit of the rig is wider than a nameplate (R012)".into(),
                    });
                }
                !refused
            });
        }
    }

    /// Whoever starts a run armed has consented; the bench is still looked at first, and what will be
    /// written is told.
    fn arm_when_known(&mut self, now: Instant, image: &ProcessImage, orders: &mut Vec<Order>) {
        let is_known = image.devices.iter().all(|d| d.link != model::Link::Unknown);
        if !self.parts.arms || !(is_known || now >= Instant::START + ARMED_WITHIN) {
            return;
        }
        self.parts.arms = false;
        for change in self.look_ahead(now, image).changes {
            tracing::info!(
                target: "start",
                message = "Arming changes this.",
                device = %self.names[change.device.index()],
                point = %change.point,
                now = ?change.now.map(|(_, value)| value),
                would_be = change.would_be,
                why = change.why
            );
        }
        orders.push(Order::Arm(true));
    }

    /// Keeps what devices say that their controls hold.
    fn look_at_controls(&mut self, samples: &[PointSample]) {
        for sample in samples.iter().filter(|s| s.point.is_control()) {
            let key = (sample.device, sample.point);
            match sample.sample.reading.good() {
                Some(value) => self.held.insert(key, (sample.sample.measured_at, value)),
                None => self.held.remove(&key),
            };
        }
    }

    /// What arming would change now.
    fn look_ahead(&self, now: Instant, image: &ProcessImage) -> ArmingView {
        let blocked = self
            .parts
            .rig
            .devices
            .iter()
            .enumerate()
            .find_map(|(n, d)| {
                let wide = self.too_wide.contains(&DeviceIx(n as u16));
                wide.then(|| format!("R012: the limit of {} is wider than its nameplate", d.id))
            });
        let changes = self.controller.preview(now, image);
        let changes = changes.iter().flat_map(|dispatch| {
            let targets = match dispatch.setpoint.get() {
                Setpoint::Power { p, q } => vec![
                    (Point::ActivePowerSet, p.as_watts()),
                    (Point::ReactivePowerSet, q.as_vars()),
                ],
                Setpoint::Ceiling { p } => vec![(Point::ActivePowerLimit, p.as_watts())],
                Setpoint::Switch { on } => vec![(Point::SwitchOn, f64::from(u8::from(on)))],
                Setpoint::Source { f, v, phase, on } => [
                    f.map(|f| (Point::FrequencySet, f.as_hertz())),
                    v.map(|v| (Point::VoltageSet, v.as_volts())),
                    phase.map(|phase| (Point::PhaseSet, phase.as_degrees())),
                    on.map(|on| (Point::SwitchOn, f64::from(u8::from(on)))),
                ]
                .into_iter()
                .flatten()
                .collect(),
            };
            let device = dispatch.device;
            let profile = &self.parts.rig.devices[device.index()].profile;
            let switch = image.devices[device.index()].switch_on.last_good;
            targets
                .into_iter()
                .filter(|(point, _)| profile.takes(*point))
                .map(move |(point, would_be)| Change {
                    device,
                    point,
                    now: match point {
                        Point::SwitchOn => switch.map(|(at, on)| (at, f64::from(u8::from(on)))),
                        _ => self.held.get(&(device, point)).copied(),
                    },
                    would_be,
                    function: dispatch.function,
                    why: dispatch.why.clone(),
                    clamped: dispatch.clamped.clone(),
                })
        });
        ArmingView {
            at: now,
            blocked,
            changes: changes.collect(),
        }
    }

    /// Takes in what the buses said about links and writes.
    fn hear(
        &mut self,
        now: Instant,
        heard: &[LinkEvent],
        events: &mut Vec<Event>,
        notes: &mut Vec<ledger_core::Payload>,
    ) {
        for event in heard {
            match event {
                LinkEvent::Online(device) => events.push(Event::DeviceOnline { device: *device }),
                LinkEvent::Offline(device, flaw) => events.push(Event::DeviceOffline {
                    device: *device,
                    flaw: *flaw,
                }),
                LinkEvent::Notice { device, text } => events.push(Event::Noticed {
                    device: *device,
                    text: text.clone(),
                }),
                LinkEvent::Confirmed { .. } | LinkEvent::Missed { .. } => {
                    if let Some(progress) = self.tracker.heard(now, event) {
                        self.acknowledge(vec![progress], events, notes);
                    }
                }
            }
        }
    }

    /// Tells of confirmed and missed setpoints; what was missed counts as not sent.
    fn acknowledge(
        &mut self,
        progress: Vec<Progress>,
        events: &mut Vec<Event>,
        notes: &mut Vec<ledger_core::Payload>,
    ) {
        let utc = self.parts.clock.utc();
        for progress in progress {
            // The register alone is worth an event; the ledger hears of the end of each dispatch.
            if progress.stage == Stage::Power || progress.missed.is_some() {
                notes.push(evidence::acknowledgement(utc, &progress));
            }
            if progress.missed.is_some() {
                self.own_orders.push(Order::Forget {
                    device: progress.device,
                });
            }
            events.push(progress.event());
        }
    }

    /// The emergency stop circuit must be seen closed; anything else is a stop.
    fn watch_estop(&mut self, now: Instant, image: &ProcessImage, orders: &mut Vec<Order>) {
        let Some(estop) = self.parts.rig.safety.estop else {
            return;
        };
        let spec = &self.controller.bench().devices[estop];
        let closed = image.devices[estop]
            .switch_on
            .fresh(now, spec.sample_age_max);
        self.estop_seen |= closed.is_some();
        // Before the circuit was read for the first time the bench is not armed anyway.
        if self.estop_seen && closed != Some(true) && self.mode != Mode::Safe {
            orders.push(Order::Mode(ModeRequest::Safe));
        }
    }

    /// Lets the market desk do what is due.
    fn trade(
        &mut self,
        now: Instant,
        utc: UtcTime,
        image: &ProcessImage,
        samples: &[PointSample],
        orders: &mut Vec<Order>,
        events: &mut Vec<Event>,
    ) {
        let Some(desk) = &mut self.parts.desk else {
            return;
        };
        desk.observe(samples);
        if self.ledger_stopped {
            return;
        }
        let connected = self.mode == Mode::GridConnected;
        let bench = self.controller.bench();
        match desk.work(now, utc, image, bench, connected, &mut self.parts.evidence) {
            Ok(says) => {
                self.counters.trades += says.trades;
                orders.extend(says.orders);
                events.extend(says.events);
            }
            Err(fault) => self.ledger_failed(&fault, events),
        }
    }

    /// Makes dispatches durable, then hands them to their buses.
    fn release(
        &mut self,
        now: Instant,
        utc: UtcTime,
        dispatches: &[Dispatch],
        armed: Option<bool>,
        events: &mut Vec<Event>,
    ) {
        if dispatches.is_empty() {
            return;
        }
        if armed == Some(false) {
            self.release_rest(now, utc, dispatches, events);
            return;
        }
        if self.ledger_stopped {
            self.forget(dispatches);
            return;
        }
        let cause = self.parts.desk.as_ref().and_then(|d| d.cause);
        let durable = self
            .parts
            .evidence
            .before_release(utc, now, &self.names, dispatches, cause);
        let receipts = match durable {
            Ok(receipts) => receipts,
            Err(NotDurable::Late(deadline)) => {
                // The stated policy: hold. The next cycle decides anew with a newer image.
                events.push(Event::LedgerLate {
                    deadline_ms: deadline.as_millis() as u64,
                    policy: "held back; the next cycle decides anew".into(),
                });
                self.forget(dispatches);
                return;
            }
            Err(stopped) => {
                self.ledger_failed(&stopped, events);
                self.forget(dispatches);
                return;
            }
        };
        for (dispatch, receipt) in dispatches.iter().zip(&receipts) {
            self.send(now, dispatch, Some(receipt), events);
        }
        self.counters.dispatches_logged = self.parts.evidence.dispatches_logged;
    }

    /// Hands the setpoints of a safe end to their buses: recorded first while the ledger still works,
    /// and sent in any case.
    fn release_rest(
        &mut self,
        now: Instant,
        utc: UtcTime,
        dispatches: &[Dispatch],
        events: &mut Vec<Event>,
    ) {
        let receipts = if self.ledger_stopped {
            Vec::new()
        } else {
            self.parts
                .evidence
                .before_release(utc, now, &self.names, dispatches, None)
                .unwrap_or_default()
        };
        if receipts.len() < dispatches.len() {
            events.push(Event::LedgerLate {
                deadline_ms: 0,
                policy: "rest is sent without its record".into(),
            });
        }
        for (index, dispatch) in dispatches.iter().enumerate() {
            self.send(now, dispatch, receipts.get(index), events);
        }
        self.counters.dispatches_logged = self.parts.evidence.dispatches_logged;
    }

    /// Hands one setpoint to its bus. Without a receipt (only rest is sent so) it is not counted
    /// as a dispatch, and the event before it says that the record is missing.
    fn send(
        &mut self,
        now: Instant,
        dispatch: &Dispatch,
        receipt: Option<&Receipt>,
        events: &mut Vec<Event>,
    ) {
        let device = dispatch.device;
        let number = self.tracker.number();
        let atom = receipt.map_or_else(String::new, |r| r.atom_id.to_string());
        if let Some(receipt) = receipt {
            self.counters.dispatches += 1;
            events.push(Event::Dispatched {
                device,
                setpoint: dispatch.setpoint.get(),
                function: dispatch.function,
                why: dispatch.why.clone(),
                clamped: dispatch.clamped.clone(),
                ledger_clock: receipt.clock,
                atom: atom.clone(),
            });
            self.tracker.sent(
                device,
                number,
                receipt.atom_id,
                dispatch.setpoint.get(),
                now,
            );
        }
        let bus = self.parts.rig.devices[device.index()].bus;
        let job = WriteJob {
            dispatch: number,
            device,
            setpoint: dispatch.setpoint,
            valid_until: dispatch.valid_until,
            urgent: dispatch.urgent,
        };
        if let Err(rejected) = self.parts.path.write(bus, job) {
            events.push(Event::SetpointMissed {
                device,
                stage: Stage::Written,
                why: rejected.to_string(),
                atom,
            });
            self.own_orders.push(Order::Forget { device });
        }
    }

    fn forget(&mut self, dispatches: &[Dispatch]) {
        self.own_orders.extend(
            dispatches
                .iter()
                .map(|d| Order::Forget { device: d.device }),
        );
    }

    /// Records what nothing waits for.
    fn record(&mut self, utc: UtcTime, notes: Vec<ledger_core::Payload>, events: &mut Vec<Event>) {
        if self.ledger_stopped {
            return;
        }
        let evidence = &mut self.parts.evidence;
        let drafts = notes
            .into_iter()
            .map(|payload| evidence.draft(CONTROLLER, payload))
            .collect();
        if let Err(fault) = evidence.note(utc, drafts) {
            self.ledger_failed(&fault, events);
        }
    }

    /// Fail-stop: without evidence nothing is dispatched any more, and the bench comes to rest.
    fn ledger_failed(&mut self, fault: &NotDurable, events: &mut Vec<Event>) {
        if self.ledger_stopped {
            return;
        }
        self.ledger_stopped = true;
        events.push(Event::LedgerStopped {
            why: fault.to_string(),
        });
    }

    /// Whether the ledger has failed: the run must end.
    #[must_use]
    pub fn must_end(&self) -> bool {
        self.ledger_stopped
    }

    #[allow(clippy::too_many_arguments, reason = "the one fan-out at the edge")]
    fn tell(
        &mut self,
        now: Instant,
        utc: UtcTime,
        rhythm: Rhythm,
        due: Instant,
        image: &ProcessImage,
        samples: &[PointSample],
        outcome: &Outcome,
        events: &[Event],
    ) {
        let mut events = events.to_vec();
        let supervisory = rhythm == Rhythm::Supervisory;
        let late = now.since(due);
        if supervisory {
            self.counters.cycles += 1;
            if late > self.period().mul_f64(LATE_SHARE) {
                self.counters.cycles_late += 1;
                events.push(Event::CycleLate {
                    late_ms: late.as_secs_f64() * 1000.0,
                });
            }
        }
        self.parts.telemetry.samples(utc, now, samples);
        for event in &events {
            self.parts.telemetry.event(utc, now, event);
            self.parts.view.event(utc, now, event);
            self.trace(event);
        }
        for listener in &mut self.parts.listeners {
            listener.samples(now, samples);
            for event in &events {
                listener.event(now, event);
            }
            if supervisory {
                listener.cycle(now, outcome.mode);
            }
        }
        if supervisory {
            let took = self.parts.clock.now().since(now);
            self.parts.view.cycle(CycleReport {
                n: self.counters.cycles,
                now,
                utc,
                late_ms: late.as_secs_f64() * 1000.0,
                took_ms: took.as_secs_f64() * 1000.0,
                mode: outcome.mode,
                armed: self.parts.path.is_open(),
                estimate: &outcome.estimate,
                image,
            });
            if now.since(self.buses_told_at) >= TELL_EVERY {
                self.tell_slowly(now);
                if !self.parts.path.is_open() && self.ends.is_none() {
                    let ahead = self.look_ahead(now, image);
                    self.parts.view.arming(Some(ahead));
                }
            }
        }
    }

    /// Tells the log, in the same words as everybody else.
    fn trace(&self, event: &Event) {
        if !tracing::enabled!(tracing::Level::ERROR) {
            return;
        }
        let name = |device: DeviceIx| {
            self.names
                .get(device.index())
                .map_or_else(String::new, ToString::to_string)
        };
        let record = describe(event, &name);
        let device = record.device.as_deref().unwrap_or("-");
        match record.level {
            Level::Info => tracing::info!(message = record.text, event = record.event, device),
            Level::Warning => tracing::warn!(message = record.text, event = record.event, device),
            Level::Error => tracing::error!(message = record.text, event = record.event, device),
        }
    }

    /// What the page hears once a second.
    fn tell_slowly(&mut self, now: Instant) {
        let elapsed = now.since(self.buses_told_at).as_nanos().max(1) as f64;
        self.buses_told_at = now;
        let buses = self
            .parts
            .path
            .buses()
            .iter()
            .zip(&mut self.busy_before)
            .map(|(bus, before)| {
                let report = bus.stats.report();
                let busy = report.busy_nanos.saturating_sub(*before) as f64 / elapsed;
                *before = report.busy_nanos;
                BusView {
                    name: bus.id.to_string(),
                    report,
                    busy_percent: (busy * 100.0).min(100.0),
                    devices: bus.stats.devices(),
                }
            })
            .collect();
        self.parts.view.buses(buses);
        let telemetry = self.parts.telemetry.report();
        self.counters.telemetry_written = telemetry.written;
        self.counters.telemetry_lost = telemetry.lost;
        self.counters.home_written = telemetry.home_written;
        self.counters.home_lost = telemetry.home_lost;
        self.parts.view.counters(self.counters);
        self.parts.view.ledger(LedgerView {
            clock: self.parts.evidence.clock,
            root: self.parts.evidence.root_text(),
            entries: self.parts.evidence.clock,
        });
        if let Some(desk) = &self.parts.desk {
            let state = &desk.state;
            self.parts.view.market(MarketView {
                interval: state.interval,
                mechanism: desk.mechanism_name(),
                price_mc_per_kwh: state.price_mc_per_kwh,
                energy_mwh: state.energy_mwh,
                trades: state.trades,
                accounts: state
                    .accounts
                    .iter()
                    .map(|(name, amount)| (name.clone(), amount.to_string()))
                    .collect(),
            });
        }
    }

    /// Begins the safe end: disarms the bench, which brings every device to rest that was touched.
    /// From here on the engine only listens. Gives the number of setpoints that were sent.
    ///
    /// The setpoints are recorded first while the ledger still works; rest is sent in any case.
    pub fn come_to_rest(&mut self, why: &str) -> usize {
        self.ends = Some(why.to_owned());
        self.parts.arms = false;
        self.own_orders.push(Order::Arm(false));
        let due = self.parts.clock.now();
        self.take_step(Rhythm::Supervisory, due)
    }

    /// Rest for every device that takes power, approved beforehand for the heartbeat guard.
    #[must_use]
    pub fn rest_in_hand(&mut self) -> Vec<(usize, DeviceIx, Approved<Setpoint>)> {
        let now = self.parts.clock.now();
        // A copy of the controller: looking ahead must not change what it thinks it has sent.
        let mut limiter = self.controller.bench().limiter();
        (0..self.names.len())
            .filter_map(|index| {
                let device = DeviceIx(index as u16);
                let rest = limiter.rest(now, device)?;
                Some((self.parts.rig.devices[index].bus, device, rest))
            })
            .collect()
    }

    /// Listens once more during the safe end: what the buses say is told, nothing is decided.
    pub fn listen(&mut self) {
        let due = self.parts.clock.now();
        self.step(Rhythm::Supervisory, due);
    }

    /// The write path as the heartbeat guard may use it.
    #[must_use]
    pub fn spare_path(&self) -> Spare {
        self.parts.path.spare()
    }

    /// Ends the run: closes ledger, journal and telemetry in good order.
    pub fn finish(self, run_dir: &Path) -> Finished {
        let utc = self.parts.clock.utc();
        let mut parts = self.parts;
        let mut faults = Vec::new();
        let root = match parts.evidence.close(utc) {
            Ok(root) => root,
            Err(e) => {
                faults.push(e.to_string());
                String::new()
            }
        };
        match parts.journal.finish() {
            Ok(0) => {}
            Ok(lost) => faults.push(format!(
                "the journal lost {lost} steps: the disk could not follow"
            )),
            Err(e) => faults.push(format!("the journal could not be written: {e}")),
        }
        let telemetry = parts.telemetry.finish(Duration::from_secs(5));
        let mut counters = self.counters;
        counters.telemetry_written = telemetry.written;
        counters.telemetry_lost = telemetry.lost;
        counters.home_written = telemetry.home_written;
        counters.home_lost = telemetry.home_lost;
        if telemetry.store_lost > 0 || telemetry.events_lost > 0 {
            faults.push(format!(
                "the run folder lost {} samples and {} events: {}",
                telemetry.store_lost,
                telemetry.events_lost,
                run_dir.display()
            ));
        }
        Finished {
            counters,
            held_back: parts.evidence.held_back,
            ledger_root: root,
            unaccounted_mwh: parts.desk.as_ref().map_or(0, |d| d.state.unaccounted_mwh),
            accounts: parts
                .desk
                .map(|d| {
                    d.state
                        .accounts
                        .into_iter()
                        .map(|(name, amount)| (name, amount.to_string()))
                        .collect()
                })
                .unwrap_or_default(),
            faults,
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finished {
    /// The counters of the run.
    pub counters: Counters,
    /// Dispatches that are in the ledger but were held back, because their record came too late.
    pub held_back: u64,
    /// Root of the closed ledger, hexadecimal; empty when it could not be closed.
    pub ledger_root: String,
    /// Balance of every account in 1e-11 EUR, positive = has paid.
    pub accounts: Vec<(String, String)>,
    /// Energy that no meter accounts for, in milliwatt-hours; zero without a market.
    pub unaccounted_mwh: i64,
    /// What could not be written.
    pub faults: Vec<String>,
}
