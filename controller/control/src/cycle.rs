//! The control cycle: the whole flow on one screen.

mod deciding;
mod releasing;
mod resting;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use limiter::{Approved, Limiter};
use model::{
    Characteristic, DeviceIx, Event, Function, Group, Instant, Mode, ModeRequest, Order,
    ProcessImage, Proposal, Readiness, Role, Schedule, ServiceReport, Setpoint,
};
use quantities::{ActivePower, Bounds, Quantity};
use serde::Serialize;

use crate::defect::Defect;
use crate::estimate::{Estimate, RocofWindow, estimate};
use crate::functions::{
    BlackStart, ExchangeContract, FrequencyDroop, HandOver, IslandBalance, LoadShedding,
    MarketSchedule, Operator, PccTracking, PccVoltage, Propose, ReactiveExchange, Reserve, Safety,
    SecondaryFrequency, Separating, ServiceDelivery, Situation, Synchronising, VoltageSupport,
    Wishes,
};
use crate::mode::{Asking, Look, ModeMachine};
use crate::reservation::{Deliverer, Reserved};
use crate::settings::Bench;

/// Which of the two rhythms a step belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rhythm {
    /// Everything, once per period.
    Supervisory,
    /// A frequency sample arrived: only the functions marked fast look again.
    Fast,
}

/// A setpoint that may leave for its device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Dispatch {
    /// Which device.
    pub device: DeviceIx,
    /// What it shall do.
    pub setpoint: Approved<Setpoint>,
    /// Who asked.
    pub function: Function,
    /// Why, with numbers and units.
    pub why: String,
    /// What the limiter changed, empty when nothing.
    pub clamped: Vec<String>,
    /// Not to be written after this instant.
    pub valid_until: Instant,
    /// Goes before everything else on its bus.
    pub urgent: bool,
}

/// A characteristic that may leave for its device, which then follows it by itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Adoption {
    /// Which device.
    pub device: DeviceIx,
    /// What it shall follow.
    pub characteristic: Approved<Characteristic>,
    /// Time after which it shall give it up by itself; `None`: as the device has it.
    pub revert: Option<Duration>,
    /// Not to be begun after this instant.
    pub valid_until: Instant,
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// Operating mode after the step.
    pub mode: Mode,
    /// What is true on the bus.
    pub estimate: Estimate,
    /// Setpoints to send, in the order of the rig.
    pub dispatches: Vec<Dispatch>,
    /// Characteristics to send, in the order in which they were asked for.
    pub adoptions: Vec<Adoption>,
    /// What each service is asked for and could give.
    pub services: Vec<ServiceReport>,
    /// What happened.
    pub events: Vec<Event>,
}

/// The control core of one microgrid.
#[derive(Clone, Debug)]
pub struct Controller {
    bench: Bench,
    limiter: Limiter,
    window: RocofWindow,
    mode: ModeMachine,
    armed: bool,
    /// The safe end has begun: nothing is decided any more.
    resting: bool,
    /// Devices that hear nothing, on purpose.
    unplugged: BTreeSet<DeviceIx>,
    loop_delay: Option<Duration>,
    schedules: Vec<Schedule>,
    /// What the market has bought of services, now and later.
    readiness: Vec<Readiness>,
    safety: Safety,
    load_shedding: LoadShedding,
    separating: Separating,
    black_start: BlackStart,
    hand_over: HandOver,
    frequency_droop: FrequencyDroop,
    island_balance: IslandBalance,
    secondary_frequency: SecondaryFrequency,
    synchronising: Synchronising,
    operator: Operator,
    service_delivery: ServiceDelivery,
    exchange_contract: ExchangeContract,
    reserve: Reserve,
    voltage_support: VoltageSupport,
    pcc_voltage: PccVoltage,
    reactive_exchange: ReactiveExchange,
    pcc_tracking: PccTracking,
    market_schedule: MarketSchedule,
    /// The market's schedule was left for an island.
    market_suspended: bool,
    /// What the functions that are not fast proposed last: it stands until they look again.
    standing: Vec<Proposal>,
    sent: BTreeMap<DeviceIx, (Instant, Setpoint)>,
    /// Devices whose last setpoint was a step of their ramp, short of what was wished: what is left of
    /// the way is sent, however little it is.
    on_the_way: BTreeSet<DeviceIx>,
    /// Sources that somebody has asked for something just now: that is sent even if it says nothing
    /// new, since an instrument that was restarted has forgotten it.
    said_again: BTreeSet<DeviceIx>,
    short: BTreeMap<Group, bool>,
    refused: BTreeMap<DeviceIx, limiter::Refusal>,
    /// Characteristics that were let through in this step.
    adoptions: Vec<Adoption>,
    /// What is wrong with it on purpose; a sound one has nothing.
    defect: Option<Defect>,
}

impl Controller {
    /// A controller for a bench, at rest and not armed.
    #[must_use]
    pub fn new(bench: Bench) -> Self {
        let limiter = bench.limiter();
        Self {
            bench,
            limiter,
            window: RocofWindow::default(),
            mode: ModeMachine::default(),
            armed: false,
            resting: false,
            unplugged: BTreeSet::new(),
            loop_delay: None,
            schedules: Vec::new(),
            readiness: Vec::new(),
            safety: Safety::default(),
            load_shedding: LoadShedding::default(),
            separating: Separating,
            black_start: BlackStart::default(),
            hand_over: HandOver::default(),
            frequency_droop: FrequencyDroop::default(),
            island_balance: IslandBalance::default(),
            secondary_frequency: SecondaryFrequency::default(),
            synchronising: Synchronising::default(),
            operator: Operator::default(),
            service_delivery: ServiceDelivery::default(),
            exchange_contract: ExchangeContract::default(),
            reserve: Reserve::default(),
            voltage_support: VoltageSupport::default(),
            pcc_voltage: PccVoltage::default(),
            reactive_exchange: ReactiveExchange::default(),
            pcc_tracking: PccTracking::default(),
            market_schedule: MarketSchedule::default(),
            market_suspended: false,
            standing: Vec::new(),
            sent: BTreeMap::new(),
            on_the_way: BTreeSet::new(),
            said_again: BTreeSet::new(),
            short: BTreeMap::new(),
            refused: BTreeMap::new(),
            adoptions: Vec::new(),
            defect: None,
        }
    }

    /// A controller that is wrong on purpose, for the qualification kit of scenarios only.
    #[must_use]
    pub fn with_defect(mut bench: Bench, defect: Defect) -> Self {
        defect.spoil_bench(&mut bench);
        Self {
            defect: Some(defect),
            ..Self::new(bench)
        }
    }

    /// The bench that the controller was made for.
    #[must_use]
    pub fn bench(&self) -> &Bench {
        &self.bench
    }

    /// One step: image and orders in, approved setpoints and events out.
    #[must_use]
    pub fn step(
        &mut self,
        now: Instant,
        rhythm: Rhythm,
        image: &ProcessImage,
        orders: &[Order],
    ) -> Outcome {
        let mut wishes = Wishes::default();
        let rest = self.take_orders(now, image, orders, &mut wishes.events);
        let mut seen = estimate(&self.bench, now, image, &mut self.window);
        if let Some(defect) = self.defect {
            defect.spoil_estimate(&self.bench, &mut seen);
        }
        let storage = able_of(&self.limiter, &self.bench, Role::Ess, now, image);
        let look = Look {
            now,
            held_open: self.operator.holds_open(&self.bench),
            seen: &seen,
            bench: &self.bench,
            storage: &storage,
        };
        self.mode.advance(&look, &mut wishes.events);
        self.tell_market(now, &mut wishes.events);

        self.look(now, rhythm, &seen, image, &storage, &mut wishes);
        if let Some(defect) = self.defect {
            defect.spoil_proposals(&mut wishes.proposals);
        }
        let wanted = self.decide(now, image, &mut wishes);
        let mut dispatches = rest;
        if self.armed && !self.resting {
            dispatches.extend(self.release(now, wanted, image, &mut wishes.events));
        }
        Outcome {
            mode: self.mode.mode(),
            estimate: seen,
            dispatches,
            adoptions: std::mem::take(&mut self.adoptions),
            services: self.service_delivery.reports().to_vec(),
            events: wishes.events,
        }
    }

    /// What would be sent first if the bench were armed now; nothing changes.
    #[must_use]
    pub fn preview(&self, now: Instant, image: &ProcessImage) -> Vec<Dispatch> {
        let mut ahead = self.clone();
        ahead
            .step(now, Rhythm::Supervisory, image, &[Order::Arm(true)])
            .dispatches
    }

    /// What a device was asked for last, since it was armed.
    #[must_use]
    pub fn last_sent(&self, device: DeviceIx) -> Option<Setpoint> {
        self.sent.get(&device).map(|(_, setpoint)| *setpoint)
    }

    /// Takes orders in; gives the rest of what was touched when the bench is disarmed.
    fn take_orders(
        &mut self,
        now: Instant,
        image: &ProcessImage,
        orders: &[Order],
        events: &mut Vec<Event>,
    ) -> Vec<Dispatch> {
        let mut rest = Vec::new();
        for order in orders {
            let known = |device: &DeviceIx| device.index() < self.bench.devices.len();
            let is_deaf = |defect: Defect| defect.is_deaf_to(order, &self.schedules);
            if self.defect.is_some_and(is_deaf) {
                continue;
            }
            match order {
                Order::Hold { device, setpoint } if known(device) => {
                    let setpoint = setpoint.for_role(self.bench.devices[device.index()].role);
                    self.operator.hold(*device, setpoint);
                    if matches!(setpoint, Setpoint::Source { .. }) {
                        self.said_again.insert(*device);
                    }
                }
                Order::HandOver { to } if known(to) => self.hand_over.ask(*to),
                Order::Adopt {
                    device,
                    characteristic,
                    revert,
                } if known(device) => {
                    self.adopt(now, *device, characteristic, *revert, image, events);
                }
                Order::Probe { device, p, until } if known(device) => {
                    self.market_schedule.probe(*device, *p, *until);
                }
                Order::Release { device } if known(device) => self.operator.release(*device),
                Order::Forget { device } => {
                    self.sent.remove(device);
                    self.limiter.forget(*device);
                }
                Order::Hold { device, .. }
                | Order::Release { device }
                | Order::HandOver { to: device }
                | Order::Probe { device, .. }
                | Order::Adopt { device, .. } => {
                    events.push(Event::OrderRefused {
                        why: format!("there is no device number {}", device.0),
                    });
                }
                Order::Schedule(schedule) => {
                    let mut schedule = schedule.clone();
                    schedule.devices.retain(|(device, _)| known(device));
                    // What is said again of an interval takes the place of what was said before.
                    self.schedules.retain(|s| s.interval != schedule.interval);
                    self.schedules.push(schedule);
                }
                Order::Ready(readiness) => self.readiness.push(readiness.clone()),
                Order::Agree(agreement) => match agreement.fault() {
                    None => {
                        self.bench.settings.agreement = *agreement;
                        events.push(Event::Agreed {
                            agreement: *agreement,
                        });
                    }
                    Some(why) => events.push(Event::OrderRefused { why: why.into() }),
                },
                Order::Signal { service, fraction } => {
                    let services = &self.bench.settings.services;
                    if !self.service_delivery.signal(services, *service, *fraction) {
                        let why = match services.get(service.index()) {
                            None => format!("there is no service number {}", service.0),
                            Some(spec) => format!(
                                "{} takes no signal of {fraction}: it follows the frequency, or the \
                                 signal is not within -1 to 1",
                                spec.name
                            ),
                        };
                        events.push(Event::OrderRefused { why });
                    }
                }
                Order::Baseline { device, p } => {
                    let mut services = self.bench.settings.services.iter();
                    if services.any(|spec| spec.devices.contains(device)) && p.is_finite() {
                        self.service_delivery.declare(*device, *p);
                    } else {
                        events.push(Event::OrderRefused {
                            why: format!("device number {} delivers no service", device.0),
                        });
                    }
                }
                Order::Mode(request) => self.mode.ask(*request, Asking::Person),
                Order::EmergencyStop => {
                    self.safety.stop();
                    self.mode.ask(ModeRequest::Safe, Asking::EmergencyStop);
                }
                Order::HeartbeatLost => self.mode.ask(ModeRequest::Safe, Asking::Heartbeat),
                Order::Rest(step) => {
                    self.resting = true;
                    self.schedules.clear();
                    rest.extend(self.rest_step(now, *step, image));
                }
                Order::Unplug { device, out } => {
                    if *out {
                        self.unplugged.insert(*device);
                    } else {
                        self.unplugged.remove(device);
                        // What it fell back to is not what it was told.
                        self.sent.remove(device);
                        self.limiter.forget(*device);
                    }
                }
                Order::LoopDelay(delay) => self.loop_delay = Some(*delay),
                Order::Arm(armed) => {
                    self.resting = false;
                    self.unplugged.clear();
                    if self.armed != *armed {
                        self.armed = *armed;
                        // Who lets go of a bench leaves it at rest: its own timers may be minutes long.
                        rest.extend(self.rest(now, "the bench is disarmed"));
                        self.sent.clear();
                        // Nobody knows where devices were taken meanwhile: each moves from where it is.
                        for index in 0..self.bench.devices.len() {
                            self.limiter.forget(DeviceIx(index as u16));
                        }
                        events.push(Event::Armed { armed: *armed });
                    }
                }
            }
        }
        self.schedules.retain(|s| s.until > now);
        self.take_readiness(now);
        rest
    }

    /// What the market has bought counts from its time on; of a service that it buys nothing else is ready.
    fn take_readiness(&mut self, now: Instant) {
        self.readiness.retain(|it| it.until > now);
        for (index, spec) in self.bench.settings.services.iter_mut().enumerate() {
            if let Some(ready) = &mut spec.ready {
                let mut all = self.readiness.iter();
                let in_force = all.find(|it| it.service.index() == index && it.from <= now);
                *ready = in_force.map(|it| it.shares.clone()).unwrap_or_default();
            }
        }
    }

    /// What a service asks of each device, as of the last step.
    pub fn called(
        &self,
        service: model::ServiceIx,
    ) -> impl Iterator<Item = (DeviceIx, ActivePower)> + '_ {
        self.service_delivery.shares(service)
    }

    /// What a device can do now beside what services have reserved of it; `None` when it does not answer.
    #[must_use]
    pub fn able(
        &self,
        now: Instant,
        device: DeviceIx,
        image: &ProcessImage,
    ) -> Option<Bounds<ActivePower>> {
        let own = image.devices.get(device.index())?;
        if own.link == model::Link::Offline {
            return None;
        }
        let able = self.limiter.capability(now, device, image)?;
        let reserved = Reserved::of(device, &self.bench.settings.services, &self.bench.devices);
        // Where the reserves leave nothing, it is to rest.
        let rest = Bounds::exactly(ActivePower::ZERO);
        Some(reserved.leaves(able).unwrap_or(rest))
    }

    /// Lets a characteristic through to its device, or tells why not.
    fn adopt(
        &mut self,
        now: Instant,
        device: DeviceIx,
        wish: &Characteristic,
        revert: Option<Duration>,
        image: &ProcessImage,
        events: &mut Vec<Event>,
    ) {
        let approved = match (self.armed && !self.resting, self.mode.mode()) {
            (false, _) => Err("the bench is not armed".to_owned()),
            (true, Mode::Safe) => Err("the bench is in the safe mode".to_owned()),
            (true, _) => self
                .limiter
                .approve_characteristic(device, wish.clone(), image)
                .map_err(|refusal| refusal.to_string()),
        };
        match approved {
            Ok(characteristic) => self.adoptions.push(Adoption {
                device,
                characteristic,
                revert,
                valid_until: now + self.bench.settings.setpoint_validity,
            }),
            Err(why) => events.push(Event::NotAdopted {
                device,
                characteristic: wish.to_string(),
                why,
            }),
        }
    }

    /// Tells when the market's schedule is left for an island, and when it is taken up again.
    fn tell_market(&mut self, now: Instant, events: &mut Vec<Event>) {
        let mode = self.mode.mode();
        let Some(interval) = in_force(&self.schedules, now).map(|s| s.interval) else {
            return;
        };
        let suspended = !mode.is_coupled();
        if std::mem::replace(&mut self.market_suspended, suspended) != suspended {
            events.push(if suspended {
                Event::MarketSuspended { interval, mode }
            } else {
                Event::MarketResumed { interval }
            });
        }
    }

    /// The devices that follow their baseline and deliver services on top: those that were promised and
    /// that nobody holds, while the bench is coupled.
    fn in_service(&self) -> BTreeSet<DeviceIx> {
        if self.mode.mode() != Mode::GridConnected {
            return BTreeSet::new();
        }
        let services = self.bench.settings.services.iter();
        services
            .flat_map(|spec| spec.devices.iter().copied())
            .filter(|device| !self.operator.holds(*device))
            .filter(|device| !self.market_schedule.probes(*device))
            .collect()
    }

    /// Lets the functions look at the situation; those that are not fast stand by what they said.
    fn look(
        &mut self,
        now: Instant,
        rhythm: Rhythm,
        seen: &Estimate,
        image: &ProcessImage,
        storage: &[(DeviceIx, Bounds<ActivePower>)],
        wishes: &mut Wishes,
    ) {
        let in_service = self.in_service();
        let is_free = |device: &DeviceIx| !in_service.contains(device);
        let storage_sent = storage
            .iter()
            .filter(|(device, _)| is_free(device))
            .map(|(device, _)| sent_power(&self.sent, *device))
            .sum();
        let held_off = self.operator.held_off();
        let on = connected(&self.bench, self.mode.mode(), now, image, storage);
        let (free, mut serving): (Vec<_>, Vec<_>) =
            on.iter().copied().partition(|(device, _)| is_free(device));
        let loads = able_of(&self.limiter, &self.bench, Role::Load, now, image);
        let loads = connected(&self.bench, self.mode.mode(), now, image, &loads);
        let sun = able_of(&self.limiter, &self.bench, Role::Pv, now, image);
        let sun = connected(&self.bench, self.mode.mode(), now, image, &sun);
        let others = loads
            .into_iter()
            .chain(sun)
            .chain(switched_loads(&self.bench, image));
        serving.extend(others.filter(|(device, _)| !is_free(device)));
        serving.sort_by_key(|(device, _)| *device);
        let situation = Situation {
            now,
            rhythm,
            mode: self.mode.mode(),
            armed: self.armed,
            opening: self.mode.is_opening(),
            seen,
            image,
            bench: &self.bench,
            schedule: in_force(&self.schedules, now),
            storage: &free,
            storage_answering: storage,
            sent: &self.sent,
            held_off: &held_off,
            storage_sent,
            serving: &serving,
            in_service: &in_service,
            served: self.service_delivery.served(),
            loop_delay: self.loop_delay,
        };
        macro_rules! run {
            ($($function:ident),+) => {$(
                turn(&mut self.$function, rhythm, &situation, &mut self.standing, wishes);
            )+};
        }
        if rhythm == Rhythm::Supervisory {
            self.standing.clear();
        }
        run!(
            safety,
            load_shedding,
            separating,
            black_start,
            hand_over,
            frequency_droop,
            island_balance,
            secondary_frequency,
            synchronising,
            operator,
            service_delivery,
            exchange_contract,
            reserve,
            voltage_support,
            pcc_voltage,
            reactive_exchange,
            pcc_tracking,
            market_schedule
        );
        wishes.proposals.extend(self.standing.iter().cloned());
    }
}

/// The market's schedule that speaks of this instant: the latest one.
fn in_force(schedules: &[Schedule], now: Instant) -> Option<&Schedule> {
    let mut latest_first = schedules.iter().rev();
    latest_first.find(|s| s.from <= now && now < s.until)
}

/// Gives a function its turn: a fast one in every step, the others in supervisory steps.
fn turn<F: Propose>(
    function: &mut F,
    rhythm: Rhythm,
    situation: &Situation<'_>,
    standing: &mut Vec<Proposal>,
    wishes: &mut Wishes,
) {
    if F::FAST {
        function.propose(situation, wishes);
    } else if rhythm == Rhythm::Supervisory {
        let mut own = Wishes::default();
        function.propose(situation, &mut own);
        standing.extend(own.proposals);
        wishes.events.extend(own.events);
    }
}

/// The storages, or loads, that are not seen off. On a dead bus all of them are, and are meant to come back.
fn connected(
    bench: &Bench,
    mode: Mode,
    now: Instant,
    image: &ProcessImage,
    storage: &[(DeviceIx, Bounds<ActivePower>)],
) -> Vec<(DeviceIx, Bounds<ActivePower>)> {
    let is_off = |device: DeviceIx| {
        let age_max = bench.devices[device.index()].sample_age_max;
        image.devices[device.index()].switch_on.fresh(now, age_max) == Some(false)
    };
    let all = storage.iter().copied();
    all.filter(|(device, _)| mode.is_dark() || !is_off(*device))
        .collect()
}

/// What the loads take that have a switch only and answer; one that is off can be switched on.
fn switched_loads<'a>(
    bench: &'a Bench,
    image: &'a ProcessImage,
) -> impl Iterator<Item = (DeviceIx, Bounds<ActivePower>)> + 'a {
    let answers = |device: DeviceIx| image.devices[device.index()].link != model::Link::Offline;
    bench
        .of_role(Role::Load)
        .filter(move |(device, spec)| {
            Deliverer::of(spec) == Some(Deliverer::Block) && answers(*device)
        })
        .map(|(device, spec)| {
            let lower = Quantity::min(spec.rating.p.lower(), ActivePower::ZERO);
            (device, Bounds::between(lower, ActivePower::ZERO))
        })
}

fn able_of(
    limiter: &Limiter,
    bench: &Bench,
    role: Role,
    now: Instant,
    image: &ProcessImage,
) -> Vec<(DeviceIx, Bounds<ActivePower>)> {
    bench
        .of_role(role)
        .filter(|(device, spec)| {
            let takes = match role {
                Role::Pv => spec.takes_ceiling,
                _ => spec.takes_power,
            };
            takes && image.devices[device.index()].link != model::Link::Offline
        })
        .filter_map(|(device, spec)| {
            let able = limiter.capability(now, device, image)?;
            let able = match role {
                // A ceiling has no lower side.
                Role::Pv => Bounds::between(
                    ActivePower::ZERO,
                    Quantity::max(spec.rating.p.upper(), ActivePower::ZERO),
                ),
                _ => able,
            };
            Some((device, able))
        })
        .collect()
}

fn sent_power(sent: &BTreeMap<DeviceIx, (Instant, Setpoint)>, device: DeviceIx) -> ActivePower {
    match sent.get(&device) {
        Some((_, Setpoint::Power { p, .. })) => *p,
        _ => ActivePower::ZERO,
    }
}

#[cfg(test)]
mod tests;
