//! Nested bounds pick one wish per group and per device.
//!
//! Proposals are walked from the highest priority down. Each one narrows the
//! bounds for those below; bounds that would leave nothing are refused, so a
//! lower priority can never undo a higher one. The wish is that of the highest
//! priority that has one, clamped into the bounds of all. The result therefore
//! lies in the intersection of all accepted bounds.

use model::{DeviceIx, Function, Group, Proposal, Setpoint, Target};
use quantities::{ActivePower, Bounds};

/// What a group shall do in total.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupWish {
    /// Total power.
    pub p: ActivePower,
    /// Whose wish it is.
    pub function: Function,
    /// Why, with the clamps of others in it.
    pub why: String,
}

/// What one device shall do.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceWish {
    /// Which device.
    pub device: DeviceIx,
    /// What it shall do.
    pub setpoint: Setpoint,
    /// Whose wish it is.
    pub function: Function,
    /// Why.
    pub why: String,
}

/// Picks the wish of a group; `None` when nobody wishes anything for it.
#[must_use]
pub fn group(of: Group, proposals: &[Proposal]) -> Option<GroupWish> {
    let mut bounds = Bounds::<ActivePower>::unbounded();
    let mut narrowed_by = None;
    let mut chosen: Option<(ActivePower, &Proposal)> = None;
    for proposal in by_priority(proposals) {
        let Target::Group {
            group,
            wish,
            bounds: own,
        } = &proposal.target
        else {
            continue;
        };
        if *group != of {
            continue;
        }
        if let Some(both) = bounds.intersect(*own) {
            if both != bounds {
                narrowed_by = Some(proposal.function);
            }
            bounds = both;
        }
        if let (None, Some(p)) = (&chosen, wish) {
            chosen = Some((*p, proposal));
        }
    }
    let (p, proposal) = chosen?;
    let inside = bounds.clamp(p);
    let why = match narrowed_by {
        Some(by) if inside != p => format!(
            "{}; wished {p:.1}, held to {inside:.1} by {}",
            proposal.why,
            by.name()
        ),
        _ => proposal.why.clone(),
    };
    Some(GroupWish {
        p: inside,
        function: proposal.function,
        why,
    })
}

/// Picks one wish per device that somebody addresses directly: the highest priority's.
#[must_use]
pub fn devices(proposals: &[Proposal]) -> Vec<DeviceWish> {
    let mut chosen: Vec<DeviceWish> = Vec::new();
    for proposal in by_priority(proposals) {
        let Target::Device { device, setpoint } = &proposal.target else {
            continue;
        };
        if chosen.iter().all(|c| c.device != *device) {
            chosen.push(DeviceWish {
                device: *device,
                setpoint: *setpoint,
                function: proposal.function,
                why: proposal.why.clone(),
            });
        }
    }
    chosen.sort_by_key(|c| c.device);
    chosen
}

/// Highest priority first; equals keep their order.
fn by_priority(proposals: &[Proposal]) -> Vec<&Proposal> {
    let mut sorted: Vec<&Proposal> = proposals.iter().collect();
    sorted.sort_by_key(|p| p.function);
    sorted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn w(watts: f64) -> ActivePower {
        ActivePower::from_watts(watts)
    }

    fn proposal(function: Function, wish: Option<f64>, lower: f64, upper: f64) -> Proposal {
        Proposal {
            function,
            target: Target::Group {
                group: Group::Storage,
                wish: wish.map(w),
                bounds: Bounds::between(w(lower), w(upper)),
            },
            why: function.name().into(),
        }
    }

    fn check(proposals: &[Proposal], expected: Option<(f64, Function)>) {
        let got = group(Group::Storage, proposals).map(|g| (g.p.as_watts(), g.function));
        assert_eq!(got, expected);
    }

    #[test]
    fn the_highest_priority_wins_and_every_bound_narrows() {
        use Function::{FrequencyDroop, MarketSchedule, PccTracking};
        check(&[], None);
        check(
            &[
                proposal(MarketSchedule, Some(5.0), -9.0, 9.0),
                proposal(PccTracking, Some(3.0), -9.0, 9.0),
            ],
            Some((3.0, PccTracking)),
        );
        check(
            &[
                proposal(MarketSchedule, Some(5.0), -9.0, 9.0),
                proposal(FrequencyDroop, None, -9.0, 2.0),
            ],
            Some((2.0, MarketSchedule)),
        );
        // A lower priority may not shut out a higher one.
        check(
            &[
                proposal(FrequencyDroop, Some(4.0), 3.0, 9.0),
                proposal(MarketSchedule, Some(-5.0), -9.0, -1.0),
            ],
            Some((4.0, FrequencyDroop)),
        );
    }

    proptest! {
        #[test]
        fn the_wish_lies_inside_the_bounds_of_the_highest_priority(
            rows in proptest::collection::vec((0..8_usize, proptest::option::of(-9..9_i8), -9..9_i8, -9..9_i8), 1..8)
        ) {
            use Function::*;
            let order = [Safety, LoadShedding, FrequencyDroop, IslandBalance, Synchronising, Operator, PccTracking, MarketSchedule];
            let proposals: Vec<_> = rows
                .iter()
                .map(|(f, wish, a, b)| proposal(order[*f], wish.map(f64::from), f64::from(*a), f64::from(*b)))
                .collect();
            let Some(got) = group(Group::Storage, &proposals) else {
                prop_assert!(rows.iter().all(|(_, wish, _, _)| wish.is_none()));
                return Ok(());
            };
            let first = proposals.iter().min_by_key(|p| p.function).expect("not empty");
            let Target::Group { bounds, .. } = first.target else { unreachable!() };
            prop_assert!(bounds.contains(got.p));
        }
    }
}
