//! Turns what the market decided into wishes: storage power, which switched loads run, and how much
//! of the sun the network bears.

use std::collections::BTreeMap;

use model::{DeviceIx, Function, Group, Instant, Proposal, Role, Setpoint, Target};
use quantities::{ActivePower, Bounds, ReactivePower};

use super::ceiling::Ceiling;
use super::{Propose, Situation, Wishes};

/// The market's schedule. It never counts in an island: there, balance comes first.
#[derive(Clone, Debug, Default)]
pub struct MarketSchedule {
    ceiling: Ceiling,
    /// What devices are to do so that the market sees whether their meters follow, and until when.
    probes: BTreeMap<DeviceIx, (ActivePower, Instant)>,
}

impl MarketSchedule {
    /// Tries out whether the meter of a device follows: it is asked for this much by itself.
    pub fn probe(&mut self, device: DeviceIx, p: ActivePower, until: Instant) {
        self.probes.insert(device, (p, until));
    }

    /// Whether a device is tried out.
    #[must_use]
    pub fn probes(&self, device: DeviceIx) -> bool {
        self.probes.contains_key(&device)
    }
}

/// Share of a load's rating from which a commitment means "on".
/// Chosen: one quarter; a switched load is all or nothing, and the auction may cut its order.
const ON_SHARE: f64 = 0.25;

impl Propose for MarketSchedule {
    const FAST: bool = false;

    fn propose(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        let connected = s.mode.is_coupled();
        let price = |schedule: &model::Schedule| match schedule.price_mc_per_kwh {
            Some(price) => format!("interval {} at {price} mc/kWh", schedule.interval),
            None => format!("interval {} did not clear", schedule.interval),
        };
        self.probes.retain(|_, (_, until)| *until > s.now);
        for (device, (p, _)) in self.probes.iter().filter(|_| connected) {
            wishes.proposals.push(Proposal {
                function: Function::MarketSchedule,
                target: Target::Device {
                    device: *device,
                    setpoint: Setpoint::Power {
                        p: *p,
                        q: ReactivePower::ZERO,
                    },
                },
                why: format!("its meter shall follow {p:.1} before it trades"),
            });
        }
        let schedule = s.schedule.filter(|_| connected);
        if let Some(schedule) = schedule {
            let storage: ActivePower = schedule
                .devices
                .iter()
                .filter(|(device, _)| s.is_free(*device) && s.spec(*device).role == Role::Ess)
                .map(|(_, p)| *p)
                .sum();
            wishes.proposals.push(Proposal {
                function: Function::MarketSchedule,
                target: Target::Group {
                    group: Group::Storage,
                    wish: Some(storage),
                    bounds: Bounds::unbounded(),
                },
                why: format!("{} commits {storage:.1}", price(schedule)),
            });
        }
        match schedule.filter(|schedule| !schedule.ceilings.is_empty()) {
            Some(schedule) => {
                let most = |(device, spec): (model::DeviceIx, &model::DeviceSpec)| {
                    let mut ceilings = schedule.ceilings.iter();
                    let own = ceilings.find(|(held, _)| *held == device);
                    own.map_or(spec.rating.p.upper(), |(_, most)| *most)
                };
                let most: ActivePower = s.bench.of_role(Role::Pv).map(most).sum();
                let why = format!(
                    "{} and the network bears {most:.1} of the sun",
                    price(schedule)
                );
                self.ceiling
                    .hold(Function::MarketSchedule, most, why, wishes);
            }
            None => {
                let why = "the network bears all of the sun";
                self.ceiling.lift(Function::MarketSchedule, s, why, wishes);
            }
        }
        // A load that takes a setpoint belongs to whoever runs it: nobody else switches it.
        let switched = |l: &model::DeviceSpec| l.takes_switch && !l.takes_power;
        for (device, spec) in s.bench.of_role(Role::Load).filter(|(_, l)| switched(l)) {
            let committed = schedule.and_then(|schedule| {
                schedule
                    .devices
                    .iter()
                    .find(|(d, _)| *d == device)
                    .map(|(_, p)| (schedule, *p))
            });
            let (on, why) = match committed {
                Some((schedule, p)) => (
                    p <= spec.rating.p.lower() * ON_SHARE,
                    format!("{} commits {p:.1}", price(schedule)),
                ),
                None => (true, "no market interval speaks of it".into()),
            };
            wishes.proposals.push(Proposal {
                function: Function::MarketSchedule,
                target: Target::Device {
                    device,
                    setpoint: Setpoint::Switch { on },
                },
                why,
            });
        }
    }
}
