//! Closes the coupling breaker onto a matched utility.
//!
//! Whether voltage, slip and angle fit at the moment of closing is judged by the sync-check
//! relay in the breaker: a supervisor that polls is too slow for it. The supervisor makes the
//! island slip slowly past the utility and keeps asking for the breaker.

use model::{Function, Group, Instant, Mode, Proposal, Role, Setpoint, Target};
use quantities::{ActivePower, Bounds, Frequency};

use super::{Propose, Situation, Wishes};

/// Matching an island to the utility, and coupling it.
#[derive(Clone, Debug, Default)]
pub struct Synchronising {
    offset: Option<(Instant, ActivePower)>,
}

/// Slip against the utility while synchronising: the angle then passes zero every 10 s.
/// Chosen: 0.1 Hz, the strictest row of the usual synchronising limits.
pub(super) const SLIP: Frequency = Frequency::from_hertz(0.1);
/// Share of the island's own frequency droop that is corrected per second while matching.
/// Chosen: 0.5 /s, slower than the island settles and faster than a beat period.
const MATCH_GAIN_PER_S: f64 = 0.5;

impl Propose for Synchronising {
    const FAST: bool = false;

    fn propose(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        let Some((breaker, _)) = s.bench.first(Role::Breaker) else {
            return;
        };
        let switch = |on: bool, why: String| Proposal {
            function: Function::Synchronising,
            target: Target::Device {
                device: breaker,
                setpoint: Setpoint::Switch { on },
            },
            why,
        };
        if s.mode != Mode::Resynchronising {
            self.offset = None;
            return;
        }
        if let (Some(f), Some(grid_f), Some(storage)) = (s.seen.f, s.seen.grid_f, s.seen.storage) {
            let settings = &s.bench.settings;
            let (at, offset) = self.offset.unwrap_or((s.now, ActivePower::ZERO));
            let power_per_hertz =
                s.storage_rated() / (settings.nominal_f.as_hertz() * settings.droop);
            let error = grid_f + SLIP - f;
            let step = power_per_hertz
                * (error.as_hertz() * MATCH_GAIN_PER_S * s.now.since(at).as_secs_f64());
            let reach = s.storage_rated() * 0.5;
            let offset = Bounds::between(-reach, reach).clamp(offset + step);
            self.offset = Some((s.now, offset));
            // Sets alone are steered by their own setpoint (see `secondary_frequency`).
            let steered = Proposal {
                function: Function::Synchronising,
                target: Target::Group {
                    group: Group::Storage,
                    wish: Some(storage + offset),
                    bounds: Bounds::unbounded(),
                },
                why: format!("island at {f:.3}, utility at {grid_f:.3}"),
            };
            if s.storage.is_empty() {
                self.offset = None;
            } else {
                wishes.proposals.push(steered);
            }
            wishes.proposals.push(switch(
                true,
                format!("island at {f:.3}, utility at {grid_f:.3}; the relay waits for the angle"),
            ));
        }
    }
}
