//! Brings the voltage of an island back to nominal, or to the utility's before they meet.

use model::{Function, Group, Instant, Mode, Proposal, Target};
use quantities::{Bounds, ReactivePower};

use super::{Propose, Situation, Wishes};

/// Secondary control of voltage: the storage's reactive reference moves until the voltage fits.
///
/// The grid-forming inverter lowers its voltage along its droop as it gives reactive power; the
/// reference moves that line. Where the inverter only follows, reactive power lifts the bus itself.
#[derive(Clone, Debug, Default)]
pub struct VoltageSupport {
    reference: Option<(Instant, ReactivePower)>,
}

/// Deviation that is left alone, per unit. Chosen: 0.2 %, half the accuracy class of a class 0.5 meter.
const LEFT_ALONE_PU: f64 = 0.002;
impl Propose for VoltageSupport {
    const FAST: bool = false;

    fn propose(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        let nominal = s.bench.settings.nominal_v;
        let target = match s.mode {
            Mode::Islanded => nominal,
            Mode::Resynchronising => s.seen.grid_v.unwrap_or(nominal),
            _ => {
                self.reference = None;
                return;
            }
        };
        if s.storage.is_empty() {
            // A set forms alone: a reference that nobody takes would only wind up.
            self.reference = None;
            return;
        }
        let (Some(v), Some(given)) = (s.seen.v, s.seen.storage_q) else {
            // To let go of the reference would step the voltage that nobody sees.
            if let Some((_, last)) = self.reference {
                let why = "the voltage of the island is not known: the last reference stands";
                wishes.proposals.push(proposal(last, why.into()));
            }
            return;
        };
        let rated = s.storage_reactive_rated();
        let (at, last) = self.reference.unwrap_or((s.now, given));
        let settings = &s.bench.settings;
        let elapsed = s.now.since(at).min(settings.period * 4);
        let error = (target - v) / nominal;
        let step = if error.abs() <= LEFT_ALONE_PU {
            0.0
        } else {
            error * settings.island_v_gain_per_s * elapsed.as_secs_f64()
        };
        // The limiter cuts it to what apparent power leaves; here it only must not wind up.
        let reference = Bounds::between(-rated, rated).clamp(last + rated * step);
        self.reference = Some((s.now, reference));
        let why = format!("island at {v:.1}, wanted {target:.1}");
        wishes.proposals.push(proposal(reference, why));
    }
}

fn proposal(wish: ReactivePower, why: String) -> Proposal {
    Proposal {
        function: Function::VoltageSupport,
        target: Target::Reactive {
            group: Group::Storage,
            wish,
        },
        why,
    }
}
