//! Splits the wish of a group over its devices and reports what is left over.

use model::DeviceIx;
use quantities::{ActivePower, Bounds, Quantity};

/// What each device shall give, and what none could.
#[derive(Clone, Debug, PartialEq)]
pub struct Allocation {
    /// Share of each device, in the order in which they came.
    pub shares: Vec<(DeviceIx, ActivePower)>,
    /// What no device could give, signed as the wish.
    pub excess: ActivePower,
}

/// Splits `total` in proportion to what each device can still give in that direction.
///
/// All devices of a group move in the same direction or rest: no battery charges another.
/// A device whose bounds exclude rest (it must give or take something) gets its nearest end first.
#[must_use]
pub fn allocate(total: ActivePower, able: &[(DeviceIx, Bounds<ActivePower>)]) -> Allocation {
    let zero = ActivePower::ZERO;
    let rest: Vec<ActivePower> = able.iter().map(|(_, b)| b.clamp(zero)).collect();
    let forced: ActivePower = rest.iter().copied().sum();
    let wanted = total - forced;
    let room: Vec<ActivePower> = able
        .iter()
        .zip(&rest)
        .map(|((_, b), rest)| {
            if wanted >= zero {
                Quantity::max(b.upper() - *rest, zero)
            } else {
                Quantity::min(b.lower() - *rest, zero)
            }
        })
        .collect();
    let all_room: ActivePower = room.iter().copied().sum();
    let given = if all_room == zero {
        zero
    } else if wanted.abs() > all_room.abs() {
        all_room
    } else {
        wanted
    };
    let fraction = if all_room == zero {
        0.0
    } else {
        given / all_room
    };
    let shares = able
        .iter()
        .zip(rest.iter().zip(&room))
        .map(|((device, bounds), (rest, room))| (*device, bounds.clamp(*rest + *room * fraction)))
        .collect();
    Allocation {
        shares,
        excess: wanted - given,
    }
}

/// Asks one device after the other, in the order given, each for what it has ready at most; who has
/// nothing ready is asked for nothing.
#[must_use]
pub fn in_turn(
    total: ActivePower,
    able: &[(DeviceIx, Bounds<ActivePower>)],
    ready: &[(DeviceIx, ActivePower)],
) -> Allocation {
    let mut left = total;
    let mut shares = Vec::with_capacity(ready.len());
    for (device, most) in ready {
        let Some((_, bounds)) = able.iter().find(|(it, _)| it == device) else {
            continue;
        };
        let most = Bounds::between(-*most, *most);
        let share = bounds.clamp(most.clamp(left));
        left -= share;
        shares.push((*device, share));
    }
    Allocation {
        shares,
        excess: left,
    }
}

/// What devices can give together in the direction of a wish, signed as it.
#[must_use]
pub fn room(able: &[(DeviceIx, Bounds<ActivePower>)], wish: ActivePower) -> ActivePower {
    let zero = ActivePower::ZERO;
    let of = |bounds: &Bounds<ActivePower>| match wish >= zero {
        true => Quantity::max(bounds.upper(), zero),
        false => Quantity::min(bounds.lower(), zero),
    };
    able.iter().map(|(_, bounds)| of(bounds)).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn able(rows: &[(f64, f64)]) -> Vec<(DeviceIx, Bounds<ActivePower>)> {
        rows.iter()
            .enumerate()
            .map(|(i, (a, b))| {
                (
                    DeviceIx(i as u16),
                    Bounds::between(ActivePower::from_watts(*a), ActivePower::from_watts(*b)),
                )
            })
            .collect()
    }

    fn check(total: f64, rows: &[(f64, f64)], shares: &[f64], excess: f64) {
        let got = allocate(ActivePower::from_watts(total), &able(rows));
        let watts: Vec<f64> = got.shares.iter().map(|(_, p)| p.as_watts()).collect();
        assert_eq!(watts, shares);
        assert_eq!(got.excess.as_watts(), excess);
    }

    #[test]
    fn a_wish_is_split_by_what_each_can_give_and_the_rest_is_reported() {
        check(90.0, &[(-100.0, 100.0), (-50.0, 50.0)], &[60.0, 30.0], 0.0);
        check(
            -300.0,
            &[(-100.0, 100.0), (-50.0, 50.0)],
            &[-100.0, -50.0],
            -150.0,
        );
        check(50.0, &[(-100.0, 0.0), (-50.0, 100.0)], &[0.0, 50.0], 0.0);
        check(10.0, &[], &[], 10.0);
        check(10.0, &[(0.0, 0.0)], &[0.0], 10.0);
    }

    proptest! {
        #[test]
        fn shares_and_excess_sum_to_the_wish_and_every_share_is_possible(
            total in -1e4..1e4_f64,
            rows in proptest::collection::vec((-1e4..1e4_f64, -1e4..1e4_f64), 0..6)
        ) {
            let able = able(&rows);
            let got = allocate(ActivePower::from_watts(total), &able);
            let sum: ActivePower = got.shares.iter().map(|(_, p)| *p).sum();
            prop_assert!(((sum + got.excess).as_watts() - total).abs() < 1e-6);
            for ((_, share), (_, bounds)) in got.shares.iter().zip(&able) {
                prop_assert!(bounds.contains(*share));
            }
        }
    }
}
