//! Brings the frequency of an island that sets form alone back to nominal, by their setpoints.

use model::{DeviceIx, Forming, Function, Instant, Link, Mode, Proposal, Role, Setpoint, Target};
use quantities::{ActivePower, Bounds, Frequency, ReactivePower};

use super::synchronising::SLIP;
use super::{Propose, Situation, Wishes};

/// Secondary control of frequency: the setpoints of the sets move until the frequency fits.
///
/// A governor lets the frequency go along its droop, `f = f0 + R f0 (P_set - P) / P_rated`: back at
/// nominal a set gives exactly its setpoint. All sets that take one share a reference, per unit of
/// their rated power, so that they stay equally loaded. It is moved by the integral of the deviation
/// and never by the measured power: a setpoint that follows the power takes the droop away, and
/// leaves a governor and its engine to swing against each other.
///
/// Where a storage forms the island, its own reference does this faster (`island_balance`), and the
/// sets stay where they are. On the utility, or stopped, a set that was moved goes back to rest.
#[derive(Clone, Debug, Default)]
pub struct SecondaryFrequency {
    reference: Option<(Instant, f64)>,
}

/// Deviation that is left alone, per unit: 10 mHz at 50 Hz.
//= IEEE 1547-2018 Table 3, accuracy of a measured frequency (secondary sources)
const LEFT_ALONE_PU: f64 = 0.0002;
/// How far the reference may be ahead of what the sets are seen to give, per unit of their rating.
/// Below nominal a governor gives more than its setpoint, above it less. One that is seen on the other
/// side has come to a limit of its own, and a reference that still moved would only wind up.
/// Chosen: 5 %, above the error of a class 1 meter and the lag of a governor in a step.
const AHEAD: f64 = 0.05;
/// Difference between the reference and what was let through from which the latter counts.
/// Chosen: 1 %, twice the change that is worth a message.
const HELD_BACK: f64 = 0.01;

impl Propose for SecondaryFrequency {
    const FAST: bool = false;

    fn propose(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        let sets = on(s);
        rest(s, &sets, wishes);
        let Some(target) = target(s).filter(|_| s.armed && !sets.is_empty()) else {
            self.reference = None;
            return;
        };
        let rated = rated(s, &sets);
        let per_rated = |p: ActivePower| p / rated;
        let given: Option<ActivePower> = sets.iter().map(|set| measured(s, *set)).sum();
        let (Some(f), Some(given)) = (s.seen.f, given.map(per_rated)) else {
            // To let go of the reference would step a frequency that nobody sees.
            if let Some((_, last)) = self.reference {
                let why = "frequency or power of the sets is not known: the last reference stands";
                propose(s, &sets, last, why, wishes);
            }
            return;
        };
        let settings = &s.bench.settings;
        let (at, last) = match self.reference {
            Some((at, last)) => (at, let_through(s, &sets, last).unwrap_or(given)),
            None => (s.now, given),
        };
        let elapsed = s.now.since(at).min(settings.period * 4).as_secs_f64();
        let error = (target - f) / settings.nominal_f;
        let is_ahead = (last - given) * error.signum() > AHEAD;
        let step = if error.abs() <= LEFT_ALONE_PU || is_ahead {
            0.0
        } else {
            error * settings.island_f_gain_per_s * elapsed
        };
        let able: ActivePower = sets.iter().map(|set| able(s, *set).lower()).sum();
        let reference = (last + step).clamp(per_rated(able).min(1.0), 1.0);
        self.reference = Some((s.now, reference));
        let why = format!("island at {f:.3}, wanted {target:.3}");
        propose(s, &sets, reference, &why, wishes);
    }
}

/// The frequency that is wanted of sets alone; `None` while it is not theirs to hold.
fn target(s: &Situation<'_>) -> Option<Frequency> {
    let nominal = s.bench.settings.nominal_f;
    let forms = |device: DeviceIx| s.spec(device).forming;
    let storage_forms = s
        .storage
        .iter()
        .any(|(device, _)| forms(*device) != Forming::Follows);
    let holds_by_itself = running(s).any(|set| forms(set) == Forming::Isochronous);
    if !s.mode.is_islanded()
        || storage_forms
        || holds_by_itself
        || s.bench.settings.island_f_gain_per_s == 0.0
    {
        return None;
    }
    Some(match s.mode {
        Mode::Resynchronising => s.seen.grid_f.map_or(nominal, |f| f + SLIP),
        _ => nominal,
    })
}

/// The sets that are seen on.
fn running<'a>(s: &'a Situation<'_>) -> impl Iterator<Item = DeviceIx> + 'a {
    let sets = s.bench.of_role(Role::Genset);
    sets.filter(|(device, spec)| {
        let own = &s.image.devices[device.index()];
        own.link != Link::Offline && own.switch_on.fresh(s.now, spec.sample_age_max) == Some(true)
    })
    .map(|(device, _)| device)
}

/// Those of them that take a setpoint.
fn on(s: &Situation<'_>) -> Vec<DeviceIx> {
    running(s).filter(|set| s.spec(*set).takes_power).collect()
}

fn able(s: &Situation<'_>, set: DeviceIx) -> Bounds<ActivePower> {
    s.spec(set).rating.p
}

fn rated(s: &Situation<'_>, sets: &[DeviceIx]) -> ActivePower {
    sets.iter().map(|set| able(s, *set).upper()).sum()
}

fn measured(s: &Situation<'_>, set: DeviceIx) -> Option<ActivePower> {
    let own = &s.image.devices[set.index()];
    own.p.fresh(s.now, s.spec(set).sample_age_max)
}

/// What a set was sent last.
fn sent(s: &Situation<'_>, set: DeviceIx) -> Option<ActivePower> {
    match s.sent.get(&set) {
        Some((_, Setpoint::Power { p, .. })) => Some(*p),
        _ => None,
    }
}

/// What came of the reference: the limiter may have held it back, or somebody else was heard. `None`
/// where nothing was let through at all.
fn let_through(s: &Situation<'_>, sets: &[DeviceIx], reference: f64) -> Option<f64> {
    let sent: Option<ActivePower> = sets.iter().map(|set| sent(s, *set)).sum();
    let sent = sent? / rated(s, sets);
    let is_held_back = (sent - reference).abs() > HELD_BACK;
    Some(if is_held_back { sent } else { reference })
}

fn propose(s: &Situation<'_>, sets: &[DeviceIx], reference: f64, why: &str, wishes: &mut Wishes) {
    for set in sets {
        let p = able(s, *set).clamp(able(s, *set).upper() * reference);
        wishes.proposals.push(Proposal {
            function: Function::SecondaryFrequency,
            target: to_hold(*set, p),
            why: why.to_owned(),
        });
    }
}

/// Lets sets that were moved go back to rest on the utility, or when they have stopped.
fn rest(s: &Situation<'_>, on: &[DeviceIx], wishes: &mut Wishes) {
    for (set, spec) in s.bench.of_role(Role::Genset) {
        let is_idle = s.mode.is_coupled() || !on.contains(&set);
        let is_online = s.image.devices[set.index()].link != Link::Offline;
        if is_idle && is_online && sent(s, set).is_some_and(|p| p != spec.safe_p) {
            wishes.proposals.push(Proposal {
                function: Function::Idle,
                target: to_hold(set, spec.safe_p),
                why: "no island hangs on it".into(),
            });
        }
    }
}

fn to_hold(device: DeviceIx, p: ActivePower) -> Target {
    let q = ReactivePower::ZERO;
    let setpoint = Setpoint::Power { p, q };
    Target::Device { device, setpoint }
}
