//! Keeps the power factor, or the reactive power, at the point of common coupling.

use model::{Function, Group, Mode, Proposal, Target};
use quantities::{Bounds, ReactivePower};

use super::smoothed::Smoothed;
use super::{Propose, Situation, Wishes};

/// Reactive exchange while grid-connected: the storage gives what the site needs beyond what may be
/// taken from the utility. A stated reactive power is held; a power factor is a limit.
#[derive(Clone, Debug, Default)]
pub struct ReactiveExchange {
    need: Smoothed<ReactivePower>,
    /// What the storage was last asked to give for it.
    held: Option<ReactivePower>,
}

/// Share of the reactive power that a power factor allows that is used.
/// Chosen: 90 %, so that noise of the meters and one period's change stay inside the agreed factor.
const USED: f64 = 0.9;

impl Propose for ReactiveExchange {
    const FAST: bool = false;

    fn propose(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        let agreement = &s.bench.settings.agreement;
        let is_agreed = agreement.q.is_some() || agreement.pf_min.is_some();
        if s.mode != Mode::GridConnected || !is_agreed {
            self.need.forget();
            self.held = None;
            return;
        }
        let (Some(exchanged), Some(given)) = (s.seen.pcc_q, s.seen.storage_q) else {
            self.need.forget();
            self.stand_by_the_last(wishes);
            return;
        };
        // What the utility would bring if the storage gave none.
        let need = self.need.take(s.now, exchanged + given);
        let (left, agreed) = match (agreement.q, agreement.pf_min, s.seen.pcc) {
            (Some(q), _, _) => (q, format!("{q:.1}")),
            (None, Some(pf), Some(p)) => {
                let most = ReactivePower::from_vars(p.as_watts().abs() * tangent(pf) * USED);
                let left = Bounds::between(-most, most).clamp(need);
                (left, format!("a power factor of {pf:.2} at {p:.1}"))
            }
            _ => {
                self.stand_by_the_last(wishes);
                return;
            }
        };
        self.held = Some(need - left);
        let why = format!("{exchanged:.1} exchanged, agreed {agreed}");
        wishes.proposals.push(proposal(need - left, why));
    }
}

impl ReactiveExchange {
    /// To let go of it would step the exchange that nobody sees.
    fn stand_by_the_last(&self, wishes: &mut Wishes) {
        if let Some(held) = self.held {
            let why = "the exchange is not known: the last reactive power stands";
            wishes.proposals.push(proposal(held, why.into()));
        }
    }
}

fn proposal(wish: ReactivePower, why: String) -> Proposal {
    Proposal {
        function: Function::ReactiveExchange,
        target: Target::Reactive {
            group: Group::Storage,
            wish,
        },
        why,
    }
}

/// Reactive over active power at a power factor.
fn tangent(pf: f64) -> f64 {
    let pf = pf.clamp(f64::EPSILON, 1.0);
    (1.0 - pf * pf).sqrt() / pf
}
