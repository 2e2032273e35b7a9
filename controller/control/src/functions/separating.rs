//! Opens the coupling breaker on the way out of the grid.

use model::{Function, Mode, Proposal, Role, Setpoint, Target};

use super::{Propose, Situation, Wishes};

/// Opening the coupling breaker. When is the mode machine's to say: from a quiet exchange for a
/// wanted island, in time for a demanded one, at once when the utility is lost.
#[derive(Clone, Debug, Default)]
pub struct Separating;

impl Propose for Separating {
    // A lost utility takes the bus down within cycles of the mains.
    const FAST: bool = true;

    fn propose(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        let Some((breaker, _)) = s.bench.first(Role::Breaker) else {
            return;
        };
        if s.mode != Mode::Leaving || !s.opening {
            return;
        }
        let why = match s.seen.pcc {
            Some(exchange) => format!("the microgrid leaves at an exchange of {exchange:.1}"),
            None => "the microgrid leaves; the exchange is not known".into(),
        };
        wishes.proposals.push(Proposal {
            function: Function::Separating,
            target: Target::Device {
                device: breaker,
                setpoint: Setpoint::Switch { on: false },
            },
            why,
        });
    }
}
