//! Nested bounds pick one wish per group and per device.
//!
//! Proposals are walked from the highest priority down. Each one narrows the
//! bounds for those below; where they do not meet, those above leave the end that is nearest.
//! The wish is that of the highest priority that has one, clamped into its own bounds and
//! those of all above it. What is of lower priority has no say in it: a reserve or a contract
//! does not hold back the answer to a frequency deviation.

use model::{DeviceIx, Function, Group, Proposal, Setpoint, Target};
use quantities::{ActivePower, Bounds, Quantity, ReactivePower};

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

/// What a group shall give in total of reactive power.
#[derive(Clone, Debug, PartialEq)]
pub struct ReactiveWish {
    /// Total reactive power.
    pub q: ReactivePower,
    /// Whose wish it is.
    pub function: Function,
    /// Why.
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

/// Picks the wish of a group; `idle` is what it does when nobody wishes anything, inside the bounds of
/// all. `None` when there is nothing to do: nobody wishes, and being left alone breaks no bounds.
#[must_use]
pub fn group(of: Group, proposals: &[Proposal], idle: Option<GroupWish>) -> Option<GroupWish> {
    let mut bounds = Bounds::<ActivePower>::unbounded();
    let mut narrowing: Vec<(Bounds<ActivePower>, &Proposal)> = Vec::new();
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
        narrowing.push((*own, proposal));
        bounds = bounds.intersect(*own).unwrap_or_else(|| {
            let nearest = Quantity::max(own.lower(), bounds.lower());
            Bounds::exactly(bounds.clamp(nearest))
        });
        if let Some(p) = wish {
            chosen = Some((*p, proposal));
            break;
        }
    }
    let in_the_way_of = |p: ActivePower| {
        let mut narrowing = narrowing.iter();
        let (_, by) = narrowing.find(|(own, _)| !own.contains(p))?;
        Some(*by)
    };
    let Some((p, proposal)) = chosen else {
        let p = idle.as_ref().map_or(ActivePower::ZERO, |idle| idle.p);
        return match in_the_way_of(p) {
            // Being left alone would break what somebody demands.
            Some(by) => Some(GroupWish {
                p: bounds.clamp(p),
                function: by.function,
                why: by.why.clone(),
            }),
            None => idle,
        };
    };
    let inside = bounds.clamp(p);
    let why = match in_the_way_of(p) {
        Some(by) => format!(
            "{}; wished {p:.1}, held to {inside:.1} by {} ({})",
            proposal.why,
            by.function.name(),
            by.why
        ),
        None => proposal.why.clone(),
    };
    Some(GroupWish {
        p: inside,
        function: proposal.function,
        why,
    })
}

/// Picks the reactive wish of a group: the highest priority's.
#[must_use]
pub fn reactive(of: Group, proposals: &[Proposal]) -> Option<ReactiveWish> {
    by_priority(proposals)
        .into_iter()
        .find_map(|proposal| match proposal.target {
            Target::Reactive { group, wish } if group == of => Some(ReactiveWish {
                q: wish,
                function: proposal.function,
                why: proposal.why.clone(),
            }),
            _ => None,
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
        let got = group(Group::Storage, proposals, None).map(|g| (g.p.as_watts(), g.function));
        assert_eq!(got, expected);
    }

    #[test]
    fn the_highest_priority_wins_and_every_bound_narrows() {
        use Function::{FrequencyDroop, MarketSchedule, PccTracking, Reserve};
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
        // Nor may it hold the higher one's wish back.
        check(
            &[
                proposal(FrequencyDroop, Some(4.0), -9.0, 9.0),
                proposal(Reserve, None, -9.0, 1.0),
                proposal(MarketSchedule, Some(5.0), -9.0, 9.0),
            ],
            Some((4.0, FrequencyDroop)),
        );
    }

    #[test]
    fn bounds_that_do_not_meet_leave_the_end_of_the_higher_ones_that_is_nearest() {
        use Function::{ExchangeContract, MarketSchedule, Reserve};
        let nearest = |lower: f64, upper: f64| {
            let proposals = [
                proposal(Reserve, None, -5.0, 8.0),
                proposal(ExchangeContract, None, lower, upper),
                proposal(MarketSchedule, Some(1.0), -9.0, 9.0),
            ];
            let wish = group(Group::Storage, &proposals, None).expect("a wish");
            wish.p.as_watts()
        };
        assert_eq!(nearest(12.0, 20.0), 8.0);
        assert_eq!(nearest(-20.0, -12.0), -5.0);
        assert_eq!(nearest(2.0, 20.0), 2.0);
    }

    #[test]
    fn what_holds_a_wish_back_is_named() {
        use Function::{ExchangeContract, MarketSchedule, Reserve};
        let proposals = [
            proposal(ExchangeContract, None, 2.0, 9.0),
            proposal(Reserve, None, -9.0, 8.0),
            proposal(MarketSchedule, Some(1.0), -9.0, 9.0),
        ];
        let wish = group(Group::Storage, &proposals, None).expect("a wish");
        assert_eq!(
            wish.why,
            "market_schedule; wished 1.0 W, held to 2.0 W by exchange_contract (exchange_contract)"
        );
    }

    #[test]
    fn a_group_that_nobody_asks_is_left_alone_unless_that_breaks_a_bound() {
        use Function::{ExchangeContract, Idle, Reserve};
        let idle = |watts: f64| GroupWish {
            p: w(watts),
            function: Idle,
            why: "rest".into(),
        };
        let must_charge = [proposal(ExchangeContract, None, -9.0, -2.0)];
        let may_not_discharge = [proposal(Reserve, None, -9.0, 0.0)];
        for (proposals, left, expected) in [
            (&must_charge[..], None, Some((-2.0, ExchangeContract))),
            (&must_charge, Some(0.0), Some((-2.0, ExchangeContract))),
            (&must_charge, Some(-3.0), Some((-3.0, Idle))),
            (&may_not_discharge, None, None),
            (&may_not_discharge, Some(0.0), Some((0.0, Idle))),
            (&may_not_discharge, Some(1.0), Some((0.0, Reserve))),
        ] {
            let got = group(Group::Storage, proposals, left.map(idle));
            let got = got.map(|g| (g.p.as_watts(), g.function));
            assert_eq!(got, expected, "{left:?}");
        }
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
            let Some(got) = group(Group::Storage, &proposals, None) else {
                prop_assert!(rows.iter().all(|(_, wish, _, _)| wish.is_none()));
                return Ok(());
            };
            let first = proposals.iter().min_by_key(|p| p.function).expect("not empty");
            let Target::Group { bounds, .. } = first.target else { unreachable!() };
            prop_assert!(bounds.contains(got.p));
        }
    }
}
