//! Keeps the exchange at the point of common coupling inside what was agreed with the utility.

mod breach;

use model::{Function, Group, Mode, Proposal, Target};
use quantities::{ActivePower, Bounds};

use super::ceiling::{self, Ceiling};
use super::smoothed::Smoothed;
use super::{Propose, Situation, Wishes};
use breach::Breach;

/// The agreed exchange: the storage may move only where the exchange stays inside, and the sun is
/// held under a ceiling when the storage cannot take what is too much.
///
/// An answer to a frequency deviation has priority over it, as grid codes have it.
#[derive(Clone, Debug, Default)]
pub struct ExchangeContract {
    ceiling: Ceiling,
    rest: Smoothed<ActivePower>,
    breach: Breach,
}

/// Distance that is kept from either limit, as a share of the storage's rating.
/// Chosen: 1 %, twice the noise of the emulated meter, as the tracking leaves alone.
const MARGIN: f64 = 0.01;

/// Distance below a ceiling at which the sun is held, as a share of its rating: further away, a
/// ceiling would only follow every change of the loads.
/// Chosen: 10 %, the largest cloud step of the demo day in one second.
const NEAR: f64 = 0.1;

impl Propose for ExchangeContract {
    const FAST: bool = false;

    fn propose(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        let (Some(limits), Mode::GridConnected) = (s.bench.settings.agreement.limits, s.mode)
        else {
            self.rest.forget();
            self.breach.lapse(s.now, wishes);
            let why = "no limit of the exchange counts now";
            self.ceiling
                .lift(Function::ExchangeContract, s, why, wishes);
            return;
        };
        let (Some(exchange), Some(storage)) = (s.exchange(), s.storage_measured()) else {
            // What is not known lifts no ceiling: the one that was told stands.
            self.rest.forget();
            return;
        };
        let margin = s.storage_rated() * MARGIN;
        let inner = Bounds::new(limits.lower() + margin, limits.upper() - margin).unwrap_or(limits);
        // What the utility would bring if the storage rested; the storage carries the rest.
        let rest = self.rest.take(s.now, exchange + storage);
        self.breach.look(s, limits, exchange, rest, wishes);
        wishes.proposals.push(Proposal {
            function: Function::ExchangeContract,
            target: Target::Group {
                group: Group::Storage,
                wish: None,
                bounds: Bounds::between(rest - inner.upper(), rest - inner.lower()),
            },
            why: format!("exchange {exchange:.1}, agreed {limits:.1}"),
        });
        let Some(pv) = s.seen.pv else {
            return;
        };
        // With the storage charging as hard as it can, this much import is left of the agreed export.
        let room = rest - s.storage_able().lower() - inner.lower();
        let most = pv + room;
        if most < pv + ceiling::rated(s) * NEAR {
            let why = format!("exchange {exchange:.1}, agreed {limits:.1}, the sun gives {pv:.1}");
            self.ceiling
                .hold(Function::ExchangeContract, most, why, wishes);
        } else {
            let why = "the storage can take all of the sun";
            self.ceiling
                .lift(Function::ExchangeContract, s, why, wishes);
        }
    }
}
