//! One step of the edge: take, decide, record, release, tell.
//!
//! The engine is plain code that somebody calls when a step is due: the control
//! thread of a real bench ([`crate::thread`]), or the loop of virtual time
//! ([`crate::session`]). It never waits, except for the ledger and only up to its
//! deadline: what is not durable does not leave.

mod adopting;
mod arming;
mod fallback;
mod finish;
mod orders;
mod release;
mod safe_end;
mod tell;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bus::LinkEvent;
use control::{Controller, Defect, Rhythm};
use model::{
    Clock, DeviceId, DeviceIx, DeviceSpec, Event, Instant, Mode, Order, Point, PointSample,
    ProcessImage, Role, ServiceReport, Stage, UtcTime,
};

use crate::alarm::Alarms;
use crate::clock::next_due;
use crate::desk::{BenchNow, Desk};
use crate::evidence::{self, Evidence};
use crate::image::ImageStore;
use crate::journal::Journal;
use crate::lease::Lease;
use crate::rig::Rig;
use crate::telemetry::Telemetry;
use crate::tracker::{Progress, Tracker};
use crate::view::{Counters, LiveView};
use crate::write_path::WritePath;
pub use fallback::Fallback;
pub use finish::Finished;
pub use orders::OrderQueue;
pub(crate) use safe_end::job_of;
pub use safe_end::{RestInHand, Rested};

/// Somebody in the process who wants to hear everything, such as a scenario's recorder.
pub trait Listener: Send {
    /// Samples of a step.
    fn samples(&mut self, now: Instant, samples: &[PointSample]);
    /// What each service is asked for and could give, after a step.
    fn services(&mut self, now: Instant, services: &[ServiceReport]);
    /// Something happened.
    fn event(&mut self, now: Instant, event: &Event);
    /// A supervisory cycle is over, which began so much after it was due.
    fn cycle(&mut self, now: Instant, mode: Mode, late: Duration);
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
    /// Who has the bench.
    pub lease: Lease,
    /// What a person shall look at.
    pub alarms: Alarms,
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
    /// When the next supervisory cycle is due.
    next_due: Instant,
    mode: Mode,
    ledger_stopped: bool,
    /// Whether the latest commands were refused, for another controller has the devices.
    ledger_fenced: bool,
    estop_seen: bool,
    /// Devices whose limit is wider than their nameplate.
    too_wide: BTreeSet<DeviceIx>,
    /// What devices said that their controls hold, and when.
    held: BTreeMap<(DeviceIx, Point), (Instant, f64)>,
    /// Why the run ends, once it does: then the bench is not armed again.
    ends: Option<String>,
    /// The end has been told.
    has_ended: bool,
    /// The safe end under way.
    safe_end: Option<safe_end::SafeEnd>,
    /// The steps of safe ends, as they went.
    rested: Vec<Rested>,
    /// Devices that the last safe end told.
    rested_devices: u64,
    /// Characteristics under way.
    adopting: Vec<adopting::Adopting>,
    /// Devices whose plug is out.
    pulled: Vec<fallback::Pulled>,
    /// Devices that have proved their fallback, or not.
    fallbacks: Vec<Fallback>,
    /// How long the last storages took from a frequency to a setpoint that they had taken over.
    loop_delays: VecDeque<Duration>,
    /// Age of the frequency that the last step decided by.
    f_age: Option<Duration>,
    /// Orders that the edge itself gives to the next step.
    own_orders: Vec<Order>,
    buses_told_at: Instant,
    busy_before: Vec<u64>,
    /// How late the latest cycle since then began, and how long the longest took, in milliseconds.
    worst_cycle_ms: (f64, f64),
    /// Cycles so far, with the defect that leaves some out.
    leaves_out: Option<u64>,
    /// Wall-clock time at which the run began, by the wall clock of the last step.
    wall_start: Option<i64>,
}

/// Change of the wall clock against monotonic time from which it was stepped, in nanoseconds.
/// Chosen: 500 ms; time servers slew by 500 parts per million, which is a thousandth of that in a period,
/// and step what is more than 128 ms off (NTP's usual threshold, recalled).
const STEPPED_FROM_NS: i64 = 500_000_000;

/// Setpoints of storages whose loop delay is remembered; the longest counts.
/// Chosen: 20, two seconds of a supervisory cycle, so that one lost answer does not forbid a droop for long.
const LOOP_DELAYS_KEPT: usize = 20;
/// With the defect that leaves cycles out, every so many. Chosen: twenty times what a rhythm may lose.
const LEFT_OUT_EVERY: u64 = 50;

impl Engine {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let bench = parts.rig.bench();
        let busy_before = vec![0; parts.path.buses().len()];
        let next_due = parts.clock.now() + bench.settings.period;
        Self {
            next_due,
            names: bench.devices.iter().map(|d| d.id.clone()).collect(),
            controller: Controller::new(bench),
            tracker: Tracker::default(),
            counters: Counters::default(),
            mode: Mode::Starting,
            ledger_stopped: false,
            ledger_fenced: false,
            estop_seen: false,
            too_wide: BTreeSet::new(),
            held: BTreeMap::new(),
            ends: None,
            has_ended: false,
            safe_end: None,
            rested: Vec::new(),
            rested_devices: 0,
            adopting: Vec::new(),
            pulled: Vec::new(),
            fallbacks: Vec::new(),
            loop_delays: VecDeque::new(),
            f_age: None,
            own_orders: Vec::new(),
            buses_told_at: Instant::START,
            busy_before,
            worst_cycle_ms: (0.0, 0.0),
            leaves_out: None,
            wall_start: None,
            parts,
        }
    }

    /// Lets a controller decide that is wrong on purpose. Only the qualification kit of scenarios does
    /// this, on an emulated bench, before the first step.
    pub fn spoil(&mut self, defect: Defect) {
        self.controller = Controller::with_defect(self.parts.rig.bench(), defect);
        self.leaves_out = (defect == Defect::CyclesLeftOut).then_some(0);
    }

    /// Whether this cycle does not come, with the defect that leaves cycles out.
    fn leaves_out_now(&mut self, rhythm: Rhythm) -> bool {
        let Some(n) = self
            .leaves_out
            .as_mut()
            .filter(|_| rhythm == Rhythm::Supervisory)
        else {
            return false;
        };
        *n += 1;
        n.is_multiple_of(LEFT_OUT_EVERY)
    }

    /// The period of the supervisory cycle.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.controller.bench().settings.period
    }

    /// Whether there is a write path.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.parts.path.is_open()
    }

    /// The counters of the run.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// One step. `due` is when it should have begun, for the supervisory rhythm.
    pub fn step(&mut self, rhythm: Rhythm, due: Instant) {
        let cycle = tracing::debug_span!("cycle", n = self.counters.cycles, mode = %self.mode);
        let _inside = cycle.enter();
        let now = self.parts.clock.now();
        let utc = self.parts.clock.utc();
        self.parts.pulse.beat(now);
        if rhythm == Rhythm::Supervisory {
            self.next_due = next_due(due, self.period(), now);
        }
        if self.leaves_out_now(rhythm) {
            return;
        }
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
        self.watch_clock(now, utc, &mut events);
        self.hear(now, &arrivals.events, &mut events, &mut notes);
        self.watch_estop(now, &image, &mut orders);
        self.arm_when_known(now, &image, &mut orders);
        self.watch_nameplates(&arrivals.samples, &mut orders, &mut events);
        self.watch_lease(&mut orders, &mut events);
        self.pull_plugs(now, &mut orders, &mut events);
        self.watch_pulled(&image, &mut events);
        self.direct_safe_end(now, &mut orders, &mut events);
        self.f_age = self.age_of_frequency(now, &image);
        if let Some(desk) = &mut self.parts.desk {
            // What arrives with a step of the fast path arrives once, and is metered like all else.
            desk.observe(&arrivals.samples);
        }
        if rhythm == Rhythm::Supervisory {
            self.trade(now, utc, &image, &mut orders, &mut events);
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
        let rests = armed == Some(false) || self.safe_end.is_some();
        if self.safe_end.is_some() {
            self.rest_was_told(&outcome.dispatches);
        }
        if self.safe_end.is_none()
            && let Some(why) = self.ends.as_ref().filter(|_| !self.has_ended)
        {
            self.has_ended = true;
            events.push(Event::WentSafe {
                why: why.clone(),
                devices: self.rested_devices + outcome.dispatches.len() as u64,
            });
        }
        self.release(now, utc, &outcome.dispatches, rests, &mut events);
        self.release_adoptions(now, utc, &outcome.adoptions, &mut events);
        if armed == Some(false) {
            self.parts.path.close();
        }
        self.record(utc, notes, &mut events);
        self.watch_alarms(now, &outcome.estimate, &image, &mut events);
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
    }

    fn spec(&self, device: DeviceIx) -> &DeviceSpec {
        &self.controller.bench().devices[device.index()]
    }

    /// Tells what happened to the lease. A bench that is armed does not outlive the lease of whoever
    /// stood beside it.
    fn watch_lease(&mut self, orders: &mut Vec<Order>, events: &mut Vec<Event>) {
        let news = self.parts.lease.news();
        if news.iter().any(|e| matches!(e, Event::LeaseEnded { .. })) && self.parts.path.is_open() {
            orders.push(Order::Arm(false));
        }
        events.extend(news);
    }

    /// Tells of alarms. Nothing follows them: what must be kept is a limit.
    fn watch_alarms(
        &mut self,
        now: Instant,
        estimate: &control::Estimate,
        image: &ProcessImage,
        events: &mut Vec<Event>,
    ) {
        let bench = self.controller.bench();
        let age_max = |device: DeviceIx| bench.devices[device.index()].sample_age_max;
        self.parts.alarms.observe(now, estimate, image, age_max);
        events.extend(self.parts.alarms.news());
    }

    /// Tells when the wall clock was stepped. Nothing is timed by it; records carry it as it is.
    fn watch_clock(&mut self, now: Instant, utc: UtcTime, events: &mut Vec<Event>) {
        let elapsed = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        let start = utc.unix_nanos().saturating_sub(elapsed);
        if let Some(before) = self.wall_start.replace(start) {
            let by = start.saturating_sub(before);
            if by.saturating_abs() >= STEPPED_FROM_NS {
                events.push(Event::ClockStepped {
                    by_s: by as f64 / 1e9,
                });
            }
        }
    }

    /// How old the frequency is that this step decides by: that of the first role that has one.
    fn age_of_frequency(&self, now: Instant, image: &ProcessImage) -> Option<Duration> {
        [Role::Pcc, Role::Meter, Role::Ess, Role::Pv]
            .into_iter()
            .flat_map(|role| self.controller.bench().of_role(role))
            .find_map(|(device, spec)| {
                let age = image.devices[device.index()].f.age(now)?;
                (age <= spec.sample_age_max).then_some(age)
            })
    }

    /// Learns from a storage that has taken a setpoint over how long the loop takes, and tells the core
    /// the longest of the last ones when it has changed.
    fn learn_loop_delay(&mut self, progress: &Progress) {
        let of_storage = self.spec(progress.device).role == Role::Ess;
        let reached = progress.stage == Stage::Register && progress.missed.is_none();
        let Some(age) = self.f_age.filter(|_| of_storage && reached) else {
            return;
        };
        let longest = |delays: &VecDeque<Duration>| delays.iter().max().copied();
        let before = longest(&self.loop_delays);
        self.loop_delays.push_back(progress.after + age);
        if self.loop_delays.len() > LOOP_DELAYS_KEPT {
            self.loop_delays.pop_front();
        }
        let now = longest(&self.loop_delays);
        if let Some(delay) = now.filter(|_| now != before) {
            self.own_orders.push(Order::LoopDelay(delay));
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
                    if self.hear_of_adoption(event, events, notes) {
                        continue;
                    }
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
            self.rest_was_heard(&progress);
            self.learn_loop_delay(&progress);
            let is_proved = progress.stage == Stage::Register && progress.missed.is_none();
            if let Some(desk) = self.parts.desk.as_mut().filter(|_| is_proved) {
                desk.hear_setpoint(progress.device, progress.after);
            }
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

    /// Lets the market desk do what is due.
    fn trade(
        &mut self,
        now: Instant,
        utc: UtcTime,
        image: &ProcessImage,
        orders: &mut Vec<Order>,
        events: &mut Vec<Event>,
    ) {
        let Some(desk) = &mut self.parts.desk else {
            return;
        };
        let buses = self.parts.path.buses();
        desk.hear_reads(now, || round_trips(buses));
        if self.ledger_stopped {
            return;
        }
        let connected = self.mode == Mode::GridConnected;
        let called: Vec<_> = desk
            .bought_service()
            .map(|service| self.controller.called(service).collect())
            .unwrap_or_default();
        let services = self.controller.bench().settings.services.len();
        let served: Vec<_> = (0..services)
            .flat_map(|index| self.controller.called(model::ServiceIx(index as u16)))
            .collect();
        let able: Vec<_> = (self.controller.bench().devices.iter().enumerate())
            .filter(|(_, spec)| spec.takes_power)
            .filter_map(|(index, _)| {
                let device = DeviceIx(index as u16);
                Some((device, self.controller.able(now, device, image)?))
            })
            .collect();
        let bench = BenchNow {
            served: &served,
            able: &able,
            image,
            bench: self.controller.bench(),
            connected,
            delivers: connected && self.parts.path.is_open(),
            called: &called,
        };
        match desk.work(now, utc, &bench, &mut self.parts.evidence) {
            Ok(says) => {
                self.counters.trades += says.trades;
                orders.extend(says.orders);
                events.extend(says.events);
            }
            Err(fault) => self.ledger_failed(&fault, events),
        }
    }

    /// Whether the ledger has failed: the run must end.
    #[must_use]
    pub fn must_end(&self) -> bool {
        self.ledger_stopped
    }
}

/// How long devices have taken to answer, but for one time in a hundred; those that were asked and have answered.
fn round_trips(buses: &[bus::BusHandle]) -> Vec<(DeviceIx, Duration)> {
    let all = buses.iter().flat_map(|bus| bus.stats.devices());
    all.filter_map(|told| Some((told.device, told.round_trip_p99?)))
        .collect()
}
