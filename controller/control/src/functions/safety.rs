//! Brings the bench to rest in the safe mode.

use std::collections::VecDeque;

use model::{
    DeviceIx, Forming, Function, Group, Instant, Mode, Proposal, RestStep, Role, Setpoint, Target,
};
use quantities::{ActivePower, Bounds, Frequency, Quantity};

use super::{Propose, Situation, Wishes};

/// The safe mode: step by step in the order of the safe end, sources to nominal, loads that take a
/// setpoint to their safe power, storages and photovoltaics to rest, and the coupling breaker open
/// where the rig wants that. Switched loads stay as they are.
///
/// A step is over when its devices are seen at rest, or its time is. An emergency stop opens the
/// breaker first, whatever the order: that is what the contact is there for.
#[derive(Clone, Debug, Default)]
pub struct Safety {
    is_stop: bool,
    sequence: Option<Sequence>,
}

#[derive(Clone, Debug)]
struct Sequence {
    left: VecDeque<RestStep>,
    reached: Vec<RestStep>,
    /// Since when the last of them has been told.
    since: Instant,
}

/// Power at which a device counts as at rest, as a share of its rating, and at least.
/// Chosen: as a scenario's end judges it, three times the error of a class 1 meter.
const REST_SHARE: f64 = 0.03;
const REST_AT_LEAST: ActivePower = ActivePower::from_watts(60.0);
/// How close a source must be to nominal. As the tracker judges it.
const SOURCE_CLOSE: Frequency = Frequency::from_hertz(0.05);

impl Safety {
    /// The safe mode that comes is that of an emergency stop.
    pub fn stop(&mut self) {
        self.is_stop = true;
    }

    /// Whether the devices of a step are to be at rest by now.
    #[must_use]
    pub fn has_reached(&self, step: RestStep) -> bool {
        let sequence = self.sequence.as_ref();
        sequence.is_some_and(|sequence| sequence.reached.contains(&step))
    }

    fn go_on(&mut self, s: &Situation<'_>) -> &Sequence {
        let is_stop = self.is_stop;
        let sequence = self.sequence.get_or_insert_with(|| {
            let opens = s.bench.settings.safe_opens_breaker;
            let breaker_first = is_stop && opens;
            let steps = s.bench.settings.safe_order.iter().copied();
            let takes_part = |step: &RestStep| match step {
                RestStep::Breaker => opens && !breaker_first,
                _ => of_step(s, *step).next().is_some(),
            };
            Sequence {
                left: steps.filter(takes_part).collect(),
                reached: breaker_first
                    .then_some(RestStep::Breaker)
                    .into_iter()
                    .collect(),
                since: s.now,
            }
        });
        loop {
            let in_time = s.now.since(sequence.since) < s.bench.settings.safe_step;
            let waits = in_time
                && match sequence.reached.last() {
                    None => false,
                    Some(RestStep::Breaker) => !is_stop && s.seen.breaker_closed != Some(false),
                    Some(step) => {
                        !of_step(s, *step).all(|device| is_at_rest(s, device, sequence.since))
                    }
                };
            if waits {
                return sequence;
            }
            let Some(next) = sequence.left.pop_front() else {
                return sequence;
            };
            sequence.reached.push(next);
            sequence.since = s.now;
        }
    }
}

impl Propose for Safety {
    const FAST: bool = true;

    fn propose(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        if s.mode != Mode::Safe {
            self.is_stop = false;
            self.sequence = None;
            return;
        }
        let reached = &self.go_on(s).reached;
        for step in reached {
            match step {
                RestStep::Storages => wishes.proposals.push(at_rest(Group::Storage)),
                RestStep::Pv => wishes.proposals.push(at_rest(Group::Pv)),
                RestStep::Loads => {
                    wishes.proposals.extend(of_step(s, *step).map(|device| {
                        let p = s.spec(device).safe_p;
                        let q = quantities::ReactivePower::ZERO;
                        proposal(Target::Device {
                            device,
                            setpoint: Setpoint::Power { p, q },
                        })
                    }));
                }
                RestStep::Breaker => {
                    if let Some((device, _)) = s.bench.first(Role::Breaker) {
                        let setpoint = Setpoint::Switch { on: false };
                        wishes
                            .proposals
                            .push(proposal(Target::Device { device, setpoint }));
                    }
                }
                // Sources are put where they belong by the decision itself; plugs stay.
                RestStep::Sources | RestStep::Plugs => {}
            }
        }
    }
}

/// The devices that the safe mode brings to rest in a step.
fn of_step<'a>(s: &'a Situation<'_>, step: RestStep) -> impl Iterator<Item = DeviceIx> + 'a {
    let devices = s.bench.devices.iter().enumerate();
    devices.filter_map(move |(index, spec)| {
        let device = DeviceIx(u16::try_from(index).ok()?);
        let moves = match spec.role {
            Role::Source => s.sent.contains_key(&device),
            Role::Load => spec.takes_power && s.sent.contains_key(&device),
            Role::Ess => spec.takes_power,
            Role::Pv => spec.takes_ceiling,
            _ => false,
        };
        (moves && RestStep::of(spec) == Some(step)).then_some(device)
    })
}

/// Whether a device has been seen at rest since then.
fn is_at_rest(s: &Situation<'_>, device: DeviceIx, since: Instant) -> bool {
    let (spec, own) = (s.spec(device), &s.image.devices[device.index()]);
    if let Some(rating) = spec.rating.source {
        let (nominal, _) = rating.nominal;
        let seen = own.f.last_good.filter(|(at, _)| *at > since);
        return seen.is_some_and(|(_, f)| (f - nominal).abs() <= SOURCE_CLOSE);
    }
    let Some((_, p)) = own.p.last_good.filter(|(at, _)| *at > since) else {
        return false;
    };
    // Who forms an island carries it, whatever it is told.
    let carries = spec.role == Role::Ess
        && spec.forming != Forming::Follows
        && s.seen.breaker_closed == Some(false);
    let rest = match spec.role {
        Role::Load => spec.safe_p,
        _ => ActivePower::ZERO,
    };
    let widest = Quantity::max(spec.rating.p.upper().abs(), spec.rating.p.lower().abs());
    let close = Quantity::max(widest * REST_SHARE, REST_AT_LEAST);
    carries || (p - rest).abs() <= close
}

fn at_rest(group: Group) -> Proposal {
    proposal(Target::Group {
        group,
        wish: Some(ActivePower::ZERO),
        bounds: Bounds::exactly(ActivePower::ZERO),
    })
}

fn proposal(target: Target) -> Proposal {
    Proposal {
        function: Function::Safety,
        target,
        why: "the bench is in the safe mode".into(),
    }
}
