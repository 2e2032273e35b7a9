//! Delivers the frequency services that were sold: each device in service follows its declared baseline, and
//! what services ask for comes on top.
//!
//! The baseline is what was declared before the event (the market's commitment, or what somebody has
//! stated), never what happened to be measured. Reserves come first: a baseline uses only what they
//! leave. What a service asks for is shared out over its devices by the room that each has; a device that
//! is away, held by somebody, or seen not to follow is owed for by the others. Loads with a switch only give
//! whole blocks, and the others what is left; the sun is held under a ceiling. While the microgrid
//! is not coupled nothing is delivered and nothing is in reserve, and that is told.

mod expected;
mod following;
mod place;
mod recovery;
mod switched;
mod want;

use std::collections::{BTreeMap, BTreeSet};

use model::{
    DeviceIx, Event, Function, Mode, Proposal, ServiceIx, ServicePhase, ServiceReport, Setpoint,
    Target,
};
use quantities::{ActivePower, Quantity, ReactivePower};
use services::definition::Shape;
use services::{Delivery, Phase};

use self::expected::Expected;
use self::following::Following;
use self::place::{Place, could_give};
use self::recovery::Recoveries;
use self::switched::Switched;
use self::want::Want;
use super::{Propose, Situation, Wishes};
use crate::Rhythm;
use crate::allocate::{self, allocate};
use crate::reservation::{Deliverer, Reserved, ServiceSpec, Side};

/// Share of what was sold that has to be there for a service to count as available.
/// Chosen: 95 %, since charge and limits come in steps of a battery management system.
const ENOUGH: f64 = 0.95;
/// Power that is worth an event, as a share of what was sold. Chosen: 5 %, as of every shortfall.
const WORTH_TELLING: f64 = 0.05;

/// Delivery of all services.
#[derive(Clone, Debug, Default)]
pub struct ServiceDelivery {
    ongoing: Vec<Ongoing>,
    devices: BTreeMap<DeviceIx, Following>,
    /// Baselines in force.
    baselines: BTreeMap<DeviceIx, ActivePower>,
    /// Baselines that wait for the end of an event.
    declared: BTreeMap<DeviceIx, ActivePower>,
    recoveries: Recoveries,
    expected: Expected,
    switched: Switched,
    /// Inverters that are held under a ceiling.
    held: BTreeSet<DeviceIx>,
    reports: Vec<ServiceReport>,
    served: ActivePower,
}

/// A service under way.
#[derive(Clone, Debug, Default)]
struct Ongoing {
    delivery: Delivery,
    want: Want,
    asked: ActivePower,
    told: ServicePhase,
    available: Option<bool>,
    short: bool,
    /// What each device was asked for last.
    shares: BTreeMap<DeviceIx, ActivePower>,
}

impl ServiceDelivery {
    /// Takes a set point; false where there is no such service, or it follows none, or it is no number.
    pub fn signal(&mut self, services: &[ServiceSpec], service: ServiceIx, fraction: f64) -> bool {
        let follows = services
            .get(service.index())
            .is_some_and(|spec| spec.definition.shape == Shape::Signal);
        if follows && fraction.is_finite() && fraction.abs() <= 1.0 {
            self.ongoing.resize_with(services.len(), Ongoing::default);
            self.ongoing[service.index()].want.signal = fraction;
            return true;
        }
        false
    }

    /// Takes a baseline, which counts once no event is under way.
    pub fn declare(&mut self, device: DeviceIx, p: ActivePower) {
        self.declared.insert(device, p);
    }

    /// What each service is asked for and could give, as of the last look.
    #[must_use]
    pub fn reports(&self) -> &[ServiceReport] {
        &self.reports
    }

    /// What a service asks of each device, as of the last look.
    pub fn shares(&self, service: ServiceIx) -> impl Iterator<Item = (DeviceIx, ActivePower)> + '_ {
        let ongoing = self.ongoing.get(service.index()).into_iter();
        let shares = ongoing.flat_map(|ongoing| &ongoing.shares);
        shares.map(|(device, share)| (*device, *share))
    }

    /// Power that services ask for on top of the baselines, as of the last look.
    #[must_use]
    pub fn served(&self) -> ActivePower {
        self.served
    }

    /// Nothing is delivered, and nothing is in reserve. Storages are the others' to dispose of; loads that
    /// were told something go back to their baselines, and what held the sun is lifted once.
    fn withdraw(&mut self, s: &Situation<'_>, why: &str, wishes: &mut Wishes) {
        let services = &s.bench.settings.services;
        self.baselines.append(&mut self.declared);
        let theirs: BTreeSet<DeviceIx> = services
            .iter()
            .flat_map(|spec| spec.devices.iter().copied())
            .collect();
        for device in theirs {
            let setpoint = match Deliverer::of(s.spec(device)) {
                Some(Deliverer::Load) if s.sent.contains_key(&device) => Setpoint::Power {
                    p: self.baselines.get(&device).copied().unwrap_or_default(),
                    q: ReactivePower::ZERO,
                },
                Some(Deliverer::Block) if s.sent.contains_key(&device) => {
                    let reserved = Reserved::of(device, services, &s.bench.devices);
                    Setpoint::Switch {
                        on: reserved.up > ActivePower::ZERO,
                    }
                }
                Some(Deliverer::Sun) if self.held.remove(&device) => lifted(s, device),
                _ => continue,
            };
            let why = format!("its baseline, since {why}");
            wishes.proposals.push(proposal(device, setpoint, why));
        }
        self.recoveries.forget();
        self.expected.forget();
        self.switched.go_back();
        self.served = ActivePower::ZERO;
        self.devices.clear();
        self.reports.clear();
        for (index, (ongoing, spec)) in self.ongoing.iter_mut().zip(services).enumerate() {
            ongoing.delivery.reset();
            ongoing.want.forget();
            ongoing.asked = ActivePower::ZERO;
            ongoing.shares.clear();
            ongoing.short = false;
            ongoing.tell_phase(spec, ActivePower::ZERO, wishes);
            if ongoing.available.replace(false) != Some(false) {
                wishes.events.push(Event::ServiceUnavailable {
                    service: spec.name.clone(),
                    up_w: 0.0,
                    down_w: 0.0,
                    why: why.to_owned(),
                });
            }
            self.reports.push(ServiceReport {
                service: ServiceIx(index as u16),
                phase: ServicePhase::Ready,
                asked: ActivePower::ZERO,
                baseline: None,
                others: ActivePower::ZERO,
                up: ActivePower::ZERO,
                down: ActivePower::ZERO,
                available: false,
            });
        }
    }

    /// Takes up the baselines that were declared, unless an event is under way.
    fn take_baselines(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        let quiet = |ongoing: &Ongoing| ongoing.delivery.phase() == Phase::Ready;
        let is_quiet = self.ongoing.iter().all(quiet);
        if is_quiet {
            self.baselines.append(&mut self.declared);
        }
        if s.rhythm == Rhythm::Supervisory {
            self.recoveries.look(s, is_quiet, wishes);
        }
    }

    /// Lets each service look, and shares out what it asks for; what nobody can give.
    fn deliver(&mut self, s: &Situation<'_>, places: &mut [Place], wishes: &mut Wishes) {
        let services = &s.bench.settings.services;
        for (ongoing, spec) in self.ongoing.iter_mut().zip(services) {
            // Between two cycles only those look again that are answered fast.
            if s.rhythm == Rhythm::Supervisory || spec.definition.fast {
                ongoing.asked = ongoing.look(s, spec, wishes);
            }
            let theirs = Place::of(places, spec);
            let rooms = Place::rooms(places, &theirs, true);
            let others = allocate::room(&rooms, ongoing.asked);
            let asked = (ongoing.asked, others);
            let blocks = self.switched.share(s, spec, asked, places, &self.devices);
            let rest = ongoing.asked - blocks.given;
            let side = Side::of_wish(ongoing.asked);
            let merit = spec.merit(side);
            let whole = match &merit {
                Some(merit) => allocate::in_turn(rest, &rooms, merit),
                None => allocate(rest, &rooms),
            };
            let mut shares: BTreeMap<DeviceIx, ActivePower> = whole.shares.into_iter().collect();
            // Where a block that has to stay gives too much, or the next one would, nothing is missing.
            let is_exact =
                blocks.given.abs() <= ongoing.asked.abs() && whole.excess.abs() >= blocks.grain;
            let mut missing = if is_exact {
                whole.excess
            } else {
                ActivePower::ZERO
            };
            for (device, share) in shares
                .iter()
                .chain(blocks.asked.iter().map(|(d, p)| (d, p)))
            {
                Place::give(places, *device, *share);
            }
            // What a device owes that is seen not to follow, the others are asked for; what blocks owe, they were.
            let owed: ActivePower = shares
                .iter()
                .map(|(device, share)| {
                    self.devices
                        .get(device)
                        .map_or(ActivePower::ZERO, |f| f.owes(*share))
                })
                .sum();
            if owed != ActivePower::ZERO {
                let rooms = Place::rooms(places, &theirs, false);
                let again = match &merit {
                    Some(merit) => {
                        let given = |device| shares.get(device).copied().unwrap_or_default().abs();
                        let left = merit
                            .iter()
                            .map(|(device, most)| (*device, *most - given(device)));
                        allocate::in_turn(owed, &rooms, &left.collect::<Vec<_>>())
                    }
                    None => allocate(owed, &rooms),
                };
                missing += again.excess;
                for (device, share) in again.shares {
                    Place::give(places, device, share);
                    *shares.entry(device).or_default() += share;
                }
            }
            shares.extend(blocks.asked);
            ongoing.tell(s, spec, &self.devices, (&shares, owed, missing), wishes);
            ongoing.shares = shares;
        }
    }

    /// What each service could give now, told when it changes.
    fn account(&mut self, s: &Situation<'_>, places: &[Place], wishes: &mut Wishes) {
        let services = &s.bench.settings.services;
        self.reports.clear();
        for (index, spec) in services.iter().enumerate() {
            let could = |side: Side| {
                let spent = |i: usize| self.ongoing[i].delivery.spent_s();
                could_give(side, index, services, places, &s.bench.devices, &spent)
            };
            let refused = self.ongoing[index].want.refused();
            let (up, down) = match refused {
                Some(_) => (ActivePower::ZERO, ActivePower::ZERO),
                None => (could(Side::Up), could(Side::Down)),
            };
            let enough = up >= spec.up * ENOUGH && down >= spec.down * ENOUGH;
            let theirs: Vec<&Place> = places
                .iter()
                .filter(|place| spec.devices.contains(&place.device))
                .collect();
            let given: ActivePower = theirs.iter().map(|place| place.given).sum();
            let baseline: ActivePower = theirs.iter().map(|place| place.baseline).sum();
            let ongoing = &mut self.ongoing[index];
            let own: ActivePower = ongoing.shares.values().copied().sum();
            ongoing.tell_phase(spec, baseline, wishes);
            self.reports.push(ServiceReport {
                service: ServiceIx(index as u16),
                phase: ongoing.told,
                asked: ongoing.asked,
                baseline: Some(baseline),
                others: given - own,
                up,
                down,
                available: enough,
            });
            if ongoing.available.replace(enough) == Some(enough) {
                continue;
            }
            let (service, up_w, down_w) = (spec.name.clone(), up.as_watts(), down.as_watts());
            wishes.events.push(if enough {
                Event::ServiceAvailable {
                    service,
                    up_w,
                    down_w,
                }
            } else {
                Event::ServiceUnavailable {
                    service,
                    up_w,
                    down_w,
                    why: match refused {
                        Some(late) => late.to_string(),
                        None => place::why_less(s, spec, places, &self.devices),
                    },
                }
            });
        }
    }
}

impl Ongoing {
    /// What the service asks for now, on top of the baseline.
    fn look(&mut self, s: &Situation<'_>, spec: &ServiceSpec, wishes: &mut Wishes) -> ActivePower {
        let wanted = self.want.look(s, spec, wishes);
        let side = if wanted < 0.0 { Side::Down } else { Side::Up };
        // What was not sold is not answered either.
        let wanted = if spec.sold(side) == ActivePower::ZERO {
            0.0
        } else {
            wanted
        };
        let since = s.now.since(model::Instant::START);
        let answer = self.delivery.step(&self.want.course(spec), since, wanted);
        let side = if answer < 0.0 { Side::Down } else { Side::Up };
        spec.sold(side) * answer
    }

    /// Tells of devices that fail, and of what nobody can give.
    fn tell(
        &mut self,
        s: &Situation<'_>,
        spec: &ServiceSpec,
        devices: &BTreeMap<DeviceIx, Following>,
        (shares, owed, missing): (&BTreeMap<DeviceIx, ActivePower>, ActivePower, ActivePower),
        wishes: &mut Wishes,
    ) {
        let worth = Quantity::max(spec.up, spec.down) * WORTH_TELLING;
        for device in &spec.devices {
            let before = self.shares.get(device).copied().unwrap_or_default();
            let now = devices.get(device);
            let failed_now = now.is_some_and(Following::has_just_failed);
            let gone_now = !shares.contains_key(device) && self.shares.contains_key(device);
            if before.abs() <= worth || !(failed_now || gone_now) {
                continue;
            }
            let lost = match now {
                Some(following) if failed_now => following.owes(before),
                _ => before,
            };
            wishes.events.push(Event::ServiceReallocated {
                service: spec.name.clone(),
                device: *device,
                why: place::why_lost(s, *device, devices),
                lost_w: lost.as_watts(),
                moved_w: (lost - missing).as_watts(),
                missing_w: missing.as_watts(),
            });
        }
        let short = missing.abs() > worth;
        if short && !self.short {
            let of_whom = match owed == ActivePower::ZERO {
                true => String::new(),
                false => format!("; {owed:.1} is owed by devices that do not follow"),
            };
            wishes.events.push(Event::ServiceFellShort {
                service: spec.name.clone(),
                asked_w: self.asked.as_watts(),
                achieved_w: (self.asked - missing).as_watts(),
                why: format!(
                    "{missing:.1} of {:.1} cannot be given{of_whom}; {}",
                    self.asked,
                    place::why_short(s, spec, shares, devices)
                ),
            });
        }
        self.short = short;
    }

    fn tell_phase(&mut self, spec: &ServiceSpec, baseline: ActivePower, wishes: &mut Wishes) {
        let phase = match self.delivery.phase() {
            Phase::Ready => ServicePhase::Ready,
            Phase::Activating { .. } => ServicePhase::Activating,
            Phase::Holding { .. } => ServicePhase::Holding,
            Phase::Releasing { .. } => ServicePhase::Releasing,
            Phase::Recovering { .. } => ServicePhase::Recovering,
        };
        let from = std::mem::replace(&mut self.told, phase);
        if from != phase {
            wishes.events.push(Event::ServicePhaseChanged {
                service: spec.name.clone(),
                from,
                to: phase,
                asked_w: self.asked.as_watts(),
                baseline_w: baseline.as_watts(),
            });
        }
    }
}

impl Propose for ServiceDelivery {
    const FAST: bool = true;

    fn propose(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        let services = &s.bench.settings.services;
        if services.is_empty() || s.mode == Mode::Starting {
            return;
        }
        self.ongoing.resize_with(services.len(), Ongoing::default);
        if s.mode != Mode::GridConnected || !s.armed {
            let why = match s.armed {
                true => format!("the mode is {}", s.mode),
                false => "the bench is not armed".to_owned(),
            };
            self.withdraw(s, &why, wishes);
            return;
        }
        self.take_baselines(s, wishes);
        self.expect(s);
        let mut places = Place::all(
            s,
            (&self.baselines, &self.recoveries),
            (&self.expected, &self.switched),
        );
        for place in &places {
            let following = self.devices.entry(place.device).or_default();
            following.look(s, place.device, place.baseline);
        }
        self.devices
            .retain(|device, _| places.iter().any(|place| place.device == *device));
        Place::judge(&mut places, &self.devices);
        self.switched.note(s, &mut places);
        self.deliver(s, &mut places, wishes);
        self.switched.note(s, &mut places);
        for place in &places {
            if let Some(following) = self.devices.get_mut(&place.device) {
                following.ask(place.given);
            }
            if let Some(setpoint) = self.setpoint(s, place) {
                let why = self.why(s, place);
                wishes.proposals.push(proposal(place.device, setpoint, why));
            }
        }
        self.served = places.iter().map(|place| place.given).sum();
        self.account(s, &places, wishes);
    }
}

impl ServiceDelivery {
    /// Sees what those do that are told no power, while no event is under way.
    fn expect(&mut self, s: &Situation<'_>) {
        let services = &s.bench.settings.services;
        let is_quiet = |device: DeviceIx| {
            let ready = |(spec, ongoing): (&ServiceSpec, &Ongoing)| {
                !spec.devices.contains(&device) || ongoing.delivery.phase() == Phase::Ready
            };
            // Where nobody tells what the sun would give, it is seen only while it is not held.
            let asked = self.devices.get(&device).is_some_and(Following::is_asked);
            let alone = self.expected.sun_now(s, device).is_none();
            services.iter().zip(&self.ongoing).all(ready) && !(asked && alone)
        };
        let serving = s.serving.iter().map(|(device, _)| *device);
        let quiet: BTreeSet<DeviceIx> = serving.filter(|device| is_quiet(*device)).collect();
        self.expected.look(s, &self.switched, &quiet);
    }

    /// What a device is told; nothing where it is left to do as it does.
    fn setpoint(&mut self, s: &Situation<'_>, place: &Place) -> Option<Setpoint> {
        let p = place.baseline + place.given;
        match place.kind {
            Deliverer::Storage | Deliverer::Load => Some(Setpoint::Power {
                p,
                q: ReactivePower::ZERO,
            }),
            Deliverer::Block => Some(Setpoint::Switch {
                on: place.stands_on != self.switched.is_engaged(place.device),
            }),
            Deliverer::Sun => {
                let services = &s.bench.settings.services;
                let reserved = Reserved::of(place.device, services, &s.bench.devices);
                if reserved.up > ActivePower::ZERO || place.given != ActivePower::ZERO {
                    self.held.insert(place.device);
                    return Some(Setpoint::Ceiling { p });
                }
                let was_held = self.held.remove(&place.device);
                was_held.then(|| lifted(s, place.device))
            }
        }
    }

    /// What each service asks of a device, and its baseline.
    fn why(&self, s: &Situation<'_>, place: &Place) -> String {
        let services = s.bench.settings.services.iter();
        let mut words: Vec<String> = services
            .zip(&self.ongoing)
            .filter_map(|(spec, ongoing)| {
                let share = ongoing.shares.get(&place.device)?;
                (*share != ActivePower::ZERO).then(|| format!("{} {share:.1}", spec.name))
            })
            .collect();
        words.push(format!("baseline {:.1}", place.baseline));
        if let Some(f) = s.seen.f {
            words.push(format!("{f:.3}"));
        }
        words.join(", ")
    }
}

fn proposal(device: DeviceIx, setpoint: Setpoint, why: String) -> Proposal {
    Proposal {
        function: Function::ServiceDelivery,
        target: Target::Device { device, setpoint },
        why,
    }
}

/// No ceiling: the sun gives what it can.
fn lifted(s: &Situation<'_>, device: DeviceIx) -> Setpoint {
    Setpoint::Ceiling {
        p: s.spec(device).rating.p.upper(),
    }
}
