//! A ceiling on the sun, held while it is needed and lifted once.

use model::{Function, Group, Proposal, Role, Target};
use quantities::{ActivePower, Bounds, Quantity};

use super::{Situation, Wishes};

/// Whether a function holds the photovoltaics under a ceiling.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ceiling {
    held: bool,
}

impl Ceiling {
    /// Holds all photovoltaics together under `most`, never below nothing.
    pub(super) fn hold(
        &mut self,
        function: Function,
        most: ActivePower,
        why: String,
        wishes: &mut Wishes,
    ) {
        self.held = true;
        let most = Quantity::max(most, ActivePower::ZERO);
        wishes.proposals.push(proposal(function, most, why));
    }

    /// Lets the sun give what it can, if it was held.
    pub(super) fn lift(
        &mut self,
        function: Function,
        s: &Situation<'_>,
        why: &str,
        wishes: &mut Wishes,
    ) {
        if std::mem::take(&mut self.held) {
            let rated = rated(s);
            wishes.proposals.push(proposal(function, rated, why.into()));
        }
    }
}

/// Rated power of all photovoltaics together.
pub(super) fn rated(s: &Situation<'_>) -> ActivePower {
    s.bench
        .of_role(Role::Pv)
        .map(|(_, spec)| spec.rating.p.upper())
        .sum()
}

fn proposal(function: Function, most: ActivePower, why: String) -> Proposal {
    Proposal {
        function,
        target: Target::Group {
            group: Group::Pv,
            wish: Some(most),
            bounds: Bounds::unbounded(),
        },
        why,
    }
}
