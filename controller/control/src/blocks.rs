//! Whole blocks: switched loads give all of their power or nothing.
//!
//! Those that can give any power go first, and blocks only make up for what these cannot: a block is let go
//! for what is left over, never for more than is asked. Once it is let go it stays while it is not far too much, and in
//! any case for the shortest time that the rig states, so that a wish that wanders about its size does not make it chatter.

use model::DeviceIx;
use quantities::{ActivePower, Quantity};

/// A switched load as a service sees it; powers are magnitudes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block {
    /// Which device.
    pub device: DeviceIx,
    /// What it gives when it is switched.
    pub size: ActivePower,
    /// What it is seen to give of that; less for one that does not follow.
    pub gives: ActivePower,
    /// Whether it is switched.
    pub engaged: bool,
    /// Whether it has to stay as it is, since it was switched just now or does not answer to its switch.
    pub locked: bool,
}

/// Share of a block that may be too much before it is taken back.
/// Chosen: a quarter, a band wider than any noise of what is asked, and below the 35 % that a fast reserve may give too much.
const KEPT: f64 = 0.25;
/// Power that is not worth switching for: rounding of sums. Chosen: 1 W.
const ROUNDING: ActivePower = ActivePower::from_watts(1.0);

/// Switches blocks so that they give what the others, who can give up to `others`, leave of `wanted`.
/// What the blocks then give together.
pub fn engage(wanted: ActivePower, others: ActivePower, blocks: &mut [Block]) -> ActivePower {
    let mut smallest_first: Vec<usize> = (0..blocks.len()).collect();
    smallest_first.sort_by(|a, b| blocks[*a].size.base().total_cmp(&blocks[*b].size.base()));
    let mut given = given(blocks);
    for at in &smallest_first {
        let block = &mut blocks[*at];
        let too_much = given - wanted > block.size * KEPT + ROUNDING;
        let not_wanted = wanted <= ROUNDING;
        if block.engaged && !block.locked && (too_much || not_wanted) {
            block.engaged = false;
            given -= block.gives;
        }
    }
    for at in smallest_first.iter().rev() {
        let block = &mut blocks[*at];
        let is_missing = wanted - others - given > ROUNDING;
        let fits = given + block.size <= wanted + ROUNDING;
        if !block.engaged && !block.locked && is_missing && fits && block.size > ROUNDING {
            block.engaged = true;
            given += block.gives;
        }
    }
    given
}

/// What blocks give together.
fn given(blocks: &[Block]) -> ActivePower {
    let engaged = blocks.iter().filter(|block| block.engaged);
    engaged.map(|block| block.gives).sum()
}

/// How much of `wanted` can be given by blocks of these sizes and by others who can give up to `others`.
#[must_use]
pub fn reach(wanted: ActivePower, others: ActivePower, sizes: &[ActivePower]) -> ActivePower {
    let mut blocks: Vec<Block> = sizes
        .iter()
        .enumerate()
        .map(|(index, size)| Block {
            device: DeviceIx(index as u16),
            size: *size,
            gives: *size,
            engaged: false,
            locked: false,
        })
        .collect();
    let given = engage(wanted, others, &mut blocks);
    Quantity::min(given + others, wanted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kw(kw: f64) -> ActivePower {
        ActivePower::from_kilowatts(kw)
    }

    fn blocks(sizes: &[f64]) -> Vec<Block> {
        let of = |(index, size): (usize, &f64)| Block {
            device: DeviceIx(index as u16),
            size: kw(*size),
            gives: kw(*size),
            engaged: false,
            locked: false,
        };
        sizes.iter().enumerate().map(of).collect()
    }

    fn engaged(blocks: &[Block]) -> Vec<usize> {
        (0..blocks.len()).filter(|at| blocks[*at].engaged).collect()
    }

    /// One block of 1 kW, one of 2, one of 4, which are wanted one after the other.
    fn check(others: f64, rows: &[(f64, &[usize])]) {
        let mut all = blocks(&[1.0, 2.0, 4.0]);
        for (wanted, expected) in rows {
            engage(kw(*wanted), kw(others), &mut all);
            assert_eq!(engaged(&all), *expected, "{wanted} kW beside {others} kW");
        }
    }

    #[test]
    fn blocks_make_up_what_the_others_cannot_give_and_never_more() {
        check(0.0, &[(0.5, &[]), (3.5, &[0, 1]), (7.0, &[0, 1, 2])]);
        check(0.0, &[(4.0, &[2]), (6.9, &[1, 2])]);
        check(3.0, &[(2.9, &[]), (3.5, &[1]), (6.9, &[1, 2])]);
        check(10.0, &[(7.0, &[])]);
    }

    #[test]
    fn a_block_stays_while_it_is_not_far_too_much_and_goes_when_nothing_is_wanted() {
        check(0.0, &[(4.0, &[2]), (3.1, &[2]), (2.9, &[1]), (0.0, &[])]);
        check(0.0, &[(1.0, &[0]), (0.8, &[0]), (1.0, &[0]), (0.7, &[])]);
    }

    #[test]
    fn a_wish_that_wanders_about_the_size_of_a_block_switches_it_once() {
        let mut all = blocks(&[2.0]);
        let mut switched = 0;
        for step in 0..100 {
            let before = all[0].engaged;
            let wanted = 2.0 + 0.4 * f64::from(step).sin();
            engage(kw(wanted), ActivePower::ZERO, &mut all);
            switched += usize::from(before != all[0].engaged);
        }
        assert_eq!(switched, 1);
    }

    #[test]
    fn what_is_locked_is_left_as_it_is_and_what_does_not_follow_is_made_up_for() {
        let mut all = blocks(&[2.0, 2.0]);
        all[0].engaged = true;
        all[0].locked = true;
        assert_eq!(
            engage(ActivePower::ZERO, ActivePower::ZERO, &mut all),
            kw(2.0)
        );
        assert_eq!(engaged(&all), [0]);
        all[0].gives = ActivePower::ZERO;
        assert_eq!(engage(kw(2.0), ActivePower::ZERO, &mut all), kw(2.0));
        assert_eq!(engaged(&all), [0, 1]);
    }

    #[test]
    fn only_so_much_is_in_reach_as_whole_blocks_and_the_others_make_up() {
        for (wanted, others, sizes, within) in [
            (4.0, 0.0, &[2.0, 2.0][..], 4.0),
            (3.5, 0.0, &[2.0, 2.0], 2.0),
            (3.5, 1.5, &[2.0, 2.0], 3.5),
            (1.0, 0.4, &[2.0], 0.4),
            (9.0, 1.0, &[2.0, 2.0], 5.0),
        ] {
            let sizes: Vec<ActivePower> = sizes.iter().map(|size| kw(*size)).collect();
            let found = reach(kw(wanted), kw(others), &sizes);
            assert_eq!(found, kw(within), "{wanted} kW beside {others} kW");
        }
    }

    proptest! {
        #[test]
        fn blocks_that_were_all_at_rest_never_give_more_than_is_wanted(
            wanted in 0.0..20.0_f64,
            others in 0.0..5.0_f64,
            sizes in proptest::collection::vec(0.0..6.0_f64, 0..6)
        ) {
            let mut all = blocks(&sizes);
            let given = engage(kw(wanted), kw(others), &mut all);
            prop_assert!(given <= kw(wanted) + ROUNDING * 6.0);
            let again = engage(kw(wanted), kw(others), &mut all);
            prop_assert!((given - again).abs() < ROUNDING);
        }
    }
}
