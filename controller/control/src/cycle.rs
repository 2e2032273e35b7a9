//! The control cycle: the whole flow on one screen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use limiter::{Approved, Limiter};
use model::{
    DeviceIx, Event, Function, Group, Instant, Mode, Order, ProcessImage, Proposal, RestStep, Role,
    Schedule, Setpoint,
};
use quantities::{ActivePower, Bounds, Quantity, ReactivePower};
use serde::Serialize;

use crate::allocate::allocate;
use crate::arbitrate::{self, DeviceWish};
use crate::estimate::{Estimate, RocofWindow, estimate};
use crate::functions::{
    BlackStart, ExchangeContract, FrequencyDroop, IslandBalance, LoadShedding, MarketSchedule,
    Operator, PccTracking, Propose, ReactiveExchange, Reserve, Safety, Separating, Situation,
    Synchronising, VoltageSupport, Wishes,
};
use crate::mode::{Look, ModeMachine};
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

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// Operating mode after the step.
    pub mode: Mode,
    /// What is true on the bus.
    pub estimate: Estimate,
    /// Setpoints to send, in the order of the rig.
    pub dispatches: Vec<Dispatch>,
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
    safety: Safety,
    load_shedding: LoadShedding,
    separating: Separating,
    black_start: BlackStart,
    frequency_droop: FrequencyDroop,
    island_balance: IslandBalance,
    synchronising: Synchronising,
    operator: Operator,
    exchange_contract: ExchangeContract,
    reserve: Reserve,
    voltage_support: VoltageSupport,
    reactive_exchange: ReactiveExchange,
    pcc_tracking: PccTracking,
    market_schedule: MarketSchedule,
    /// The market's schedule was left for an island.
    market_suspended: bool,
    /// What the functions that are not fast proposed last: it stands until they look again.
    standing: Vec<Proposal>,
    sent: BTreeMap<DeviceIx, (Instant, Setpoint)>,
    /// Sources that somebody has asked for something just now: that is sent even if it says nothing
    /// new, since an instrument that was restarted has forgotten it.
    said_again: BTreeSet<DeviceIx>,
    short: BTreeMap<Group, bool>,
    refused: BTreeMap<DeviceIx, limiter::Refusal>,
}

/// Change of a power setpoint that is not worth a message, as a share of the device's rating.
/// Chosen: 0.5 %, the usual accuracy class of an inverter's power.
const NOT_WORTH_SENDING: f64 = 0.005;
/// Time after which a switch that did not follow is asked again.
/// Chosen: 3 s, the confirmation deadline of the slowest plug.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(3);
/// How long a setpoint of the safe end may be on its way.
/// Chosen: 10 s, far longer than any bus needs: rest is never too late.
const REST_VALIDITY: Duration = Duration::from_secs(10);
/// Excess that is worth an event, as a share of the group's rating. Chosen: 5 %.
const SHORT_SHARE: f64 = 0.05;

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
            safety: Safety,
            load_shedding: LoadShedding::default(),
            separating: Separating,
            black_start: BlackStart::default(),
            frequency_droop: FrequencyDroop::default(),
            island_balance: IslandBalance::default(),
            synchronising: Synchronising::default(),
            operator: Operator::default(),
            exchange_contract: ExchangeContract::default(),
            reserve: Reserve::default(),
            voltage_support: VoltageSupport::default(),
            reactive_exchange: ReactiveExchange::default(),
            pcc_tracking: PccTracking::default(),
            market_schedule: MarketSchedule,
            market_suspended: false,
            standing: Vec::new(),
            sent: BTreeMap::new(),
            said_again: BTreeSet::new(),
            short: BTreeMap::new(),
            refused: BTreeMap::new(),
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
        let seen = estimate(&self.bench, now, image, &mut self.window);
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
        let wanted = self.decide(now, image, &mut wishes);
        let mut dispatches = rest;
        if self.armed && !self.resting {
            dispatches.extend(self.release(now, wanted, image, &mut wishes.events));
        }
        Outcome {
            mode: self.mode.mode(),
            estimate: seen,
            dispatches,
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

    /// The devices that were asked for something since the bench was armed.
    pub fn touched(&self) -> impl Iterator<Item = DeviceIx> {
        self.sent.keys().copied()
    }

    /// Brings every device to rest that was touched: the safe end of a run, or of being armed.
    #[must_use]
    pub fn rest(&mut self, now: Instant, why: &str) -> Vec<Dispatch> {
        self.rest_of(now, why, |_| true)
    }

    /// Brings the devices of a step to rest, and opens the breaker in its step if the rig wants that.
    fn rest_step(&mut self, now: Instant, step: RestStep, image: &ProcessImage) -> Vec<Dispatch> {
        let why = format!("the bench comes to rest: {}", step.name());
        if step != RestStep::Breaker {
            return self.rest_of(now, &why, |spec| RestStep::of(spec) == Some(step));
        }
        let open = Setpoint::Switch { on: false };
        let breaker = self.bench.first(Role::Breaker).map(|(device, _)| device);
        let Some(device) = breaker.filter(|_| self.bench.settings.safe_opens_breaker) else {
            return Vec::new();
        };
        let Ok(verdict) = self.limiter.approve(now, device, open, image) else {
            return Vec::new();
        };
        self.sent.insert(device, (now, open));
        vec![Dispatch {
            device,
            setpoint: verdict.approved,
            function: Function::Safety,
            why,
            clamped: Vec::new(),
            valid_until: now + REST_VALIDITY,
            urgent: true,
        }]
    }

    fn rest_of(
        &mut self,
        now: Instant,
        why: &str,
        wanted: impl Fn(&model::DeviceSpec) -> bool,
    ) -> Vec<Dispatch> {
        let devices = 0..self.bench.devices.len();
        devices
            .filter(|index| wanted(&self.bench.devices[*index]))
            .filter_map(|index| {
                let device = DeviceIx(u16::try_from(index).ok()?);
                // What was never touched is not touched at the end either.
                let (_, last) = self.sent.remove(&device)?;
                let setpoint = self.limiter.rest(now, device)?;
                (last != setpoint.get()).then(|| Dispatch {
                    device,
                    setpoint,
                    function: Function::Safety,
                    why: why.into(),
                    clamped: Vec::new(),
                    valid_until: now + REST_VALIDITY,
                    urgent: true,
                })
            })
            .collect()
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
            match order {
                Order::Hold { device, setpoint } if known(device) => {
                    let setpoint = setpoint.for_role(self.bench.devices[device.index()].role);
                    self.operator.hold(*device, setpoint);
                    if matches!(setpoint, Setpoint::Source { .. }) {
                        self.said_again.insert(*device);
                    }
                }
                Order::Release { device } if known(device) => self.operator.release(*device),
                Order::Forget { device } => {
                    self.sent.remove(device);
                    self.limiter.forget(*device);
                }
                Order::Hold { device, .. } | Order::Release { device } => {
                    events.push(Event::OrderRefused {
                        why: format!("there is no device number {}", device.0),
                    });
                }
                Order::Schedule(schedule) => {
                    let mut schedule = schedule.clone();
                    schedule.devices.retain(|(device, _)| known(device));
                    self.schedules.push(schedule);
                }
                Order::Agree(agreement) => match agreement.fault() {
                    None => {
                        self.bench.settings.agreement = *agreement;
                        events.push(Event::Agreed {
                            agreement: *agreement,
                        });
                    }
                    Some(why) => events.push(Event::OrderRefused { why: why.into() }),
                },
                Order::Mode(request) => self.mode.ask(*request),
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
        rest
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
        let storage_sent = storage
            .iter()
            .map(|(device, _)| sent_power(&self.sent, *device))
            .sum();
        let situation = Situation {
            now,
            mode: self.mode.mode(),
            opening: self.mode.is_opening(),
            seen,
            image,
            bench: &self.bench,
            schedule: in_force(&self.schedules, now),
            storage,
            storage_sent,
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
            frequency_droop,
            island_balance,
            synchronising,
            operator,
            exchange_contract,
            reserve,
            voltage_support,
            reactive_exchange,
            pcc_tracking,
            market_schedule
        );
        wishes.proposals.extend(self.standing.iter().cloned());
    }

    /// Arbitrates and allocates: one wish per device.
    fn decide(
        &mut self,
        now: Instant,
        image: &ProcessImage,
        wishes: &mut Wishes,
    ) -> Vec<DeviceWish> {
        let mut wanted = arbitrate::devices(&wishes.proposals);
        // Only the safe mode overrides what somebody holds a storage or inverter to.
        let safe = self.mode.mode() == Mode::Safe;
        if safe {
            wanted.retain(|w| {
                !matches!(
                    w.setpoint,
                    Setpoint::Power { .. } | Setpoint::Ceiling { .. } | Setpoint::Source { .. }
                )
            });
            wanted.extend(self.nominal_sources());
        }
        for (group, role) in [(Group::Storage, Role::Ess), (Group::Pv, Role::Pv)] {
            let reactive = arbitrate::reactive(group, &wishes.proposals);
            let idle = self.idle(group, reactive.is_some());
            let Some(wish) = arbitrate::group(group, &wishes.proposals, idle) else {
                self.short.remove(&group);
                continue;
            };
            let mut able = able_of(&self.limiter, &self.bench, role, now, image);
            // A device that is held gives what it is held to; the others give the rest.
            let held: ActivePower = able
                .iter()
                .filter(|(device, _)| wanted.iter().any(|w| w.device == *device))
                .map(|(device, _)| held_power(&wanted, *device))
                .sum();
            able.retain(|(device, _)| wanted.iter().all(|w| w.device != *device));
            let allocation = allocate(wish.p - held, &able);
            self.report_shortfall(group, &wish, allocation.excess, &mut wishes.events);
            for (device, p) in allocation.shares {
                let q = reactive
                    .as_ref()
                    .map_or(ReactivePower::ZERO, |wish| self.share_of(device, wish.q));
                let setpoint = match group {
                    Group::Storage => Setpoint::Power { p, q },
                    Group::Pv => Setpoint::Ceiling { p },
                };
                let why = match &reactive {
                    Some(reactive) if q != ReactivePower::ZERO => format!(
                        "{}; {q:.1} by {} ({})",
                        wish.why,
                        reactive.function.name(),
                        reactive.why
                    ),
                    _ => wish.why.clone(),
                };
                wanted.push(DeviceWish {
                    device,
                    setpoint,
                    function: wish.function,
                    why,
                });
            }
        }
        wanted.sort_by_key(|w| w.device);
        wanted
    }

    /// In the safe mode a source that was set from here goes back to the site's nominal values.
    fn nominal_sources(&self) -> impl Iterator<Item = DeviceWish> {
        self.bench
            .of_role(Role::Source)
            .filter(|(device, _)| self.sent.contains_key(device))
            .filter_map(|(device, spec)| {
                let (f, v) = spec.rating.source?.nominal;
                Some(DeviceWish {
                    device,
                    setpoint: Setpoint::Source {
                        f: Some(f),
                        v: Some(v),
                        phase: None,
                        on: None,
                    },
                    function: Function::Safety,
                    why: "the bench is in the safe mode".into(),
                })
            })
    }

    /// What a storage shall do when nobody asks for active power: come to rest, once it was touched.
    /// An island is never left alone: there the last reference stands until it is measured again,
    /// and it is said again only together with a reactive one.
    fn idle(&self, group: Group, is_asked_for_q: bool) -> Option<arbitrate::GroupWish> {
        if group != Group::Storage {
            return None;
        }
        let islanded = self.mode.mode().is_islanded();
        let sent = |(device, _)| self.sent.get(&device).map(|(_, setpoint)| *setpoint);
        let mut sent = self.bench.of_role(Role::Ess).filter_map(sent);
        let at_rest = Setpoint::Power {
            p: ActivePower::ZERO,
            q: ReactivePower::ZERO,
        };
        let touched = sent.any(|setpoint| setpoint != at_rest);
        (is_asked_for_q || (touched && !islanded)).then(|| arbitrate::GroupWish {
            p: if islanded {
                self.storage_sent()
            } else {
                ActivePower::ZERO
            },
            function: Function::Idle,
            why: "nobody asks for active power".into(),
        })
    }

    /// Total of the active power that the storage was sent last.
    fn storage_sent(&self) -> ActivePower {
        self.bench
            .of_role(Role::Ess)
            .map(|(device, _)| sent_power(&self.sent, device))
            .sum()
    }

    /// A device's share of the storage's reactive power, in proportion to what it is made for.
    fn share_of(&self, device: DeviceIx, total: ReactivePower) -> ReactivePower {
        let apparent = |spec: &model::DeviceSpec| match spec.takes_reactive {
            true => spec.rating.s_max.as_volt_amperes(),
            false => 0.0,
        };
        let all: f64 = self
            .bench
            .of_role(Role::Ess)
            .map(|(_, spec)| apparent(spec))
            .sum();
        if all > 0.0 {
            total * (apparent(&self.bench.devices[device.index()]) / all)
        } else {
            ReactivePower::ZERO
        }
    }

    fn report_shortfall(
        &mut self,
        group: Group,
        wish: &arbitrate::GroupWish,
        excess: ActivePower,
        events: &mut Vec<Event>,
    ) {
        // A ceiling above what the sun can give is no shortfall.
        let rated: ActivePower = self
            .bench
            .of_role(Role::Ess)
            .map(|(_, spec)| spec.rating.p.upper())
            .sum();
        let short = group == Group::Storage && excess.abs() > rated * SHORT_SHARE;
        let before = self.short.insert(group, short).unwrap_or(false);
        if short && !before {
            events.push(Event::FellShort {
                function: wish.function,
                excess_w: excess.as_watts(),
            });
        }
    }

    /// Passes the wishes through the limiter; what has not changed is not sent again.
    fn release(
        &mut self,
        now: Instant,
        wanted: Vec<DeviceWish>,
        image: &ProcessImage,
        events: &mut Vec<Event>,
    ) -> Vec<Dispatch> {
        let mut dispatches = Vec::new();
        for wish in wanted {
            let spec = &self.bench.devices[wish.device.index()];
            let takes = match wish.setpoint {
                Setpoint::Power { .. } => spec.takes_power,
                Setpoint::Ceiling { .. } => spec.takes_ceiling,
                Setpoint::Switch { .. } => spec.takes_switch,
                Setpoint::Source { .. } => spec.rating.source.is_some(),
            };
            // A device that cannot be asked is left alone, unless a person asked for it.
            if !takes && wish.function != Function::Operator {
                continue;
            }
            if self.unplugged.contains(&wish.device) || !self.worth_sending(now, &wish, image) {
                continue;
            }
            // A stop is not slowed down by a ramp.
            let verdict = if self.mode.mode() == Mode::Safe && wish.function == Function::Safety {
                self.limiter.stop(now, wish.device, wish.setpoint, image)
            } else {
                self.limiter.approve(now, wish.device, wish.setpoint, image)
            };
            match verdict {
                Ok(verdict) => {
                    self.refused.remove(&wish.device);
                    let approved = verdict.approved.get();
                    let same = !self.said_again.remove(&wish.device)
                        && self
                            .sent
                            .get(&wish.device)
                            .is_some_and(|(_, last)| same_enough(last, &approved, spec));
                    if same && !matches!(approved, Setpoint::Switch { .. }) {
                        continue;
                    }
                    self.sent.insert(wish.device, (now, approved));
                    dispatches.push(Dispatch {
                        device: wish.device,
                        setpoint: verdict.approved,
                        function: wish.function,
                        why: wish.why,
                        clamped: verdict.clamps.iter().map(ToString::to_string).collect(),
                        valid_until: now + self.bench.settings.setpoint_validity,
                        urgent: matches!(
                            wish.function,
                            Function::Safety
                                | Function::LoadShedding
                                | Function::Separating
                                | Function::FrequencyDroop
                        ),
                    });
                }
                Err(refusal) => {
                    let before = self.refused.insert(wish.device, refusal);
                    // The numbers change from cycle to cycle; the reason is told once.
                    if !before.is_some_and(|before| before.is_like(&refusal)) {
                        events.push(Event::SetpointRefused {
                            device: wish.device,
                            function: wish.function,
                            why: refusal.to_string(),
                        });
                    }
                }
            }
        }
        dispatches
    }

    fn worth_sending(&self, now: Instant, wish: &DeviceWish, image: &ProcessImage) -> bool {
        let spec = &self.bench.devices[wish.device.index()];
        let Some((at, last)) = self.sent.get(&wish.device) else {
            return !is_so_already(now, wish, spec, image);
        };
        if self.said_again.contains(&wish.device) {
            return true;
        }
        match wish.setpoint {
            // What a device may give changes while what is wished stays: the limiter looks each time.
            Setpoint::Power { .. } | Setpoint::Ceiling { .. } => true,
            // A switch is asked again when it is seen not to have followed.
            Setpoint::Switch { on } => {
                let seen = image.devices[wish.device.index()]
                    .switch_on
                    .fresh(now, spec.sample_age_max);
                *last != wish.setpoint || (seen == Some(!on) && now.since(*at) >= ASK_AGAIN_AFTER)
            }
            Setpoint::Source { .. } => !same_enough(last, &wish.setpoint, spec),
        }
    }
}

/// The market's schedule that speaks of this instant: the latest one.
fn in_force(schedules: &[Schedule], now: Instant) -> Option<&Schedule> {
    let mut latest_first = schedules.iter().rev();
    latest_first.find(|s| s.from <= now && now < s.until)
}

/// Whether a switch is seen where it is wanted: then it is not touched. A power setpoint is sent even
/// where the device holds it already, since it has to be repeated to stay.
fn is_so_already(
    now: Instant,
    wish: &DeviceWish,
    spec: &model::DeviceSpec,
    image: &ProcessImage,
) -> bool {
    let seen = image.devices[wish.device.index()].switch_on;
    matches!(wish.setpoint, Setpoint::Switch { on } if seen.fresh(now, spec.sample_age_max) == Some(on))
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

fn held_power(wanted: &[DeviceWish], device: DeviceIx) -> ActivePower {
    wanted
        .iter()
        .find(|w| w.device == device)
        .map_or(ActivePower::ZERO, |w| match w.setpoint {
            Setpoint::Power { p, .. } | Setpoint::Ceiling { p } => p,
            Setpoint::Switch { .. } | Setpoint::Source { .. } => ActivePower::ZERO,
        })
}

fn same_enough(a: &Setpoint, b: &Setpoint, spec: &model::DeviceSpec) -> bool {
    let small =
        Quantity::max(spec.rating.p.upper().abs(), spec.rating.p.lower().abs()) * NOT_WORTH_SENDING;
    match (a, b) {
        (Setpoint::Power { p: p1, q: q1 }, Setpoint::Power { p: p2, q: q2 }) => {
            // Coming to rest is always worth a message.
            let rest = *p2 == ActivePower::ZERO && *p1 != ActivePower::ZERO;
            !rest && (*p1 - *p2).abs() <= small && (*q1 - *q2).as_vars().abs() <= small.as_watts()
        }
        (Setpoint::Ceiling { p: p1 }, Setpoint::Ceiling { p: p2 }) => (*p1 - *p2).abs() <= small,
        (Setpoint::Switch { on: a }, Setpoint::Switch { on: b }) => a == b,
        // A source is asked for steps of millihertz on purpose: every change is worth a message.
        (Setpoint::Source { .. }, Setpoint::Source { .. }) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
