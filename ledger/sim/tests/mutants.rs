//! Broken variants of the ledger, and the property that finds each of them.

use ledger_sim::Mutation;
use ledger_sim::properties::{run_seed, seeds_of};

/// Most seeds of a share that are tried; the first that shows it ends the search.
const SEEDS: u64 = 40;

/// The share of seeds in which a variant shows, and the property that it breaks.
const CAUGHT: [(Mutation, u8, u8); 8] = [
    (Mutation::SignsBeforeSync, 2, 2),
    (Mutation::QuorumMinusOne, 4, 4),
    (Mutation::NoLock, 4, 4),
    (Mutation::ClockReused, 1, 12),
    (Mutation::FirstSeenWins, 4, 4),
    (Mutation::SignsUnheard, 12, 12),
    (Mutation::CountsCopies, 17, 17),
    (Mutation::NoRangeCheck, 6, 6),
];

#[test]
fn each_broken_variant_is_caught_by_the_property_that_it_breaks() {
    for (mutation, share, property) in CAUGHT {
        let caught = seeds_of(share, SEEDS).find(|seed| {
            let outcome = run_seed(*seed, Some(mutation));
            let mut violations = outcome.violations.iter();
            violations.any(|violation| violation.property == property)
        });
        println!("{mutation:?}: property {property} at seed {caught:?}");
        assert!(caught.is_some(), "{mutation:?} is not caught");
    }
}

#[test]
fn the_list_names_every_broken_variant() {
    let named: Vec<Mutation> = CAUGHT.iter().map(|(mutation, _, _)| *mutation).collect();
    assert_eq!(named, ledger_sim::MUTATIONS);
}
