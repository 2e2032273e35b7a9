//! What must hold before the part of the former is handed over.

use model::{DeviceIx, Forming, Link, Mode, Role};
use quantities::{ActivePower, Quantity};

use super::seen::{charge, formers, is_former, is_on, rated};
use crate::functions::Situation;
use crate::mode::limits;

/// A condition with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// The microgrid is on the utility, on its way out, or in a stable island.
    ModeFits,
    /// No other hand-over is under way in an island.
    NoneUnderWay,
    /// The unit can form a voltage and has a switch that can be set.
    FormerThere,
    /// It answers.
    FormerAnswers,
    /// Nobody holds it off by hand.
    FormerFree,
    /// There is somebody to take over from, and everybody of them can be taken off.
    OthersCanPart,
    /// No other unit without a droop is connected, if it has none itself.
    OneUndrooped,
    /// Its charge is above the reserve that an island needs.
    ChargeAboveReserve,
    /// It alone can carry what cannot be shed.
    CoversLoads,
}

impl Guard {
    /// All guards, in the order in which they are asked.
    const ALL: &[Self] = &[
        Self::ModeFits,
        Self::NoneUnderWay,
        Self::FormerThere,
        Self::FormerAnswers,
        Self::FormerFree,
        Self::OthersCanPart,
        Self::OneUndrooped,
        Self::ChargeAboveReserve,
        Self::CoversLoads,
    ];

    /// The name in refusals.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ModeFits => "mode_fits",
            Self::NoneUnderWay => "none_under_way",
            Self::FormerThere => "former_there",
            Self::FormerAnswers => "former_answers",
            Self::FormerFree => "former_free",
            Self::OthersCanPart => "others_can_part",
            Self::OneUndrooped => "one_undrooped",
            Self::ChargeAboveReserve => "charge_above_reserve",
            Self::CoversLoads => "covers_loads",
        }
    }

    /// Why it does not hold, with numbers; `None` when it does. Unknown never counts as good.
    fn refuses(
        self,
        s: &Situation<'_>,
        to: DeviceIx,
        under_way: Option<DeviceIx>,
    ) -> Option<String> {
        let spec = s.spec(to);
        let others = || formers(s).filter(|device| *device != to);
        match self {
            Self::ModeFits => {
                (!matches!(s.mode, Mode::GridConnected | Mode::Leaving | Mode::Islanded))
                    .then(|| format!("the microgrid is in {}", s.mode))
            }
            Self::NoneUnderWay => {
                let before = under_way.filter(|_| !s.mode.is_coupled())?;
                Some(format!("{} is taking over", s.spec(before).id))
            }
            Self::FormerThere if !is_former(spec) => Some("it forms no voltage".into()),
            Self::FormerThere => {
                (!spec.takes_switch).then(|| "it has no switch that can be set".into())
            }
            Self::FormerAnswers => (s.image.devices[to.index()].link == Link::Offline)
                .then(|| "it does not answer".into()),
            Self::FormerFree => s
                .held_off
                .contains(&to)
                .then(|| "a person holds it off; release it first".into()),
            Self::OthersCanPart => {
                let on = || others().filter(|device| is_on(s, *device) == Some(true));
                if let Some(device) = on().find(|device| !s.spec(*device).takes_switch) {
                    return Some(format!(
                        "{} would go on forming: it has no switch that can be set",
                        s.spec(device).id
                    ));
                }
                // One that has fallen silent stands still, and is left alone.
                let silent = others().any(|device| is_on(s, device).is_none());
                (on().next().is_none() && !silent && !s.mode.is_coupled())
                    .then(|| "no other unit forms the island".into())
            }
            Self::OneUndrooped => {
                if spec.forming != Forming::Isochronous {
                    return None;
                }
                let other = others().find(|device| {
                    s.spec(*device).forming == Forming::Isochronous
                        && is_on(s, *device) != Some(false)
                })?;
                Some(format!(
                    "{} forms without a droop, too, and is not seen off",
                    s.spec(other).id
                ))
            }
            Self::ChargeAboveReserve if spec.role != Role::Ess => None,
            Self::ChargeAboveReserve => match charge(s, to) {
                None => Some("the state of charge is not known".into()),
                Some(soc) => is_empty(s, to).then(|| {
                    format!(
                        "state of charge {:.0} %, {:.0} % is kept for an island",
                        soc.as_percent(),
                        reserve(s, to) * 100.0
                    )
                }),
            },
            Self::CoversLoads => {
                let Some(load) = s.seen.load else {
                    return Some("what the loads take is not known".into());
                };
                let sheddable: ActivePower = s
                    .bench
                    .shed_order()
                    .iter()
                    .map(|device| s.spec(*device).rating.p.lower().abs())
                    .sum();
                let firm = Quantity::max(load - sheddable, ActivePower::ZERO);
                let able = able(s, to);
                (able < firm).then(|| {
                    format!("loads that cannot be shed take {firm:.1}, it can give {able:.1}")
                })
            }
        }
    }
}

/// Charge as a fraction that is kept for an island.
fn reserve(s: &Situation<'_>, device: DeviceIx) -> f64 {
    s.spec(device).rating.soc.lower().as_fraction() + limits::RESERVE_SOC
}

/// Whether a storage's charge is not above what is kept for an island; not known is not above.
pub(super) fn is_empty(s: &Situation<'_>, device: DeviceIx) -> bool {
    charge(s, device).is_none_or(|soc| soc.as_fraction() <= reserve(s, device))
}

/// What a unit can give now.
fn able(s: &Situation<'_>, to: DeviceIx) -> ActivePower {
    match s.spec(to).role {
        Role::Genset => rated(s, to),
        _ => s
            .storage_answering
            .iter()
            .find(|(device, _)| *device == to)
            .map_or(ActivePower::ZERO, |(_, able)| able.upper()),
    }
}

/// The first guard that refuses, with its numbers.
pub(super) fn refusal(
    s: &Situation<'_>,
    to: DeviceIx,
    under_way: Option<DeviceIx>,
) -> Option<String> {
    Guard::ALL.iter().find_map(|guard| {
        let why = guard.refuses(s, to, under_way)?;
        Some(format!("{}: {why}", guard.name()))
    })
}
