//! Broken variants of the ledger, and the property that finds each of them.

use ledger_sim::Mutation;
use ledger_sim::properties::{run_seed, seeds_of};

/// Most seeds of a share that are tried; the first that shows it ends the search.
const SEEDS: u64 = 40;

/// The share of seeds in which a variant shows, the property that it breaks, and where in the
/// share the search begins: a node that signs unheard shows in one seed of three hundred, when it
/// comes back with an old disk and has something to say before anybody has told it.
const CAUGHT: [(Mutation, u8, u8, usize); 7] = [
    (Mutation::SignsBeforeSync, 2, 2, 0),
    (Mutation::QuorumMinusOne, 4, 4, 0),
    (Mutation::NoLock, 4, 4, 0),
    (Mutation::ClockReused, 1, 12, 0),
    (Mutation::FirstSeenWins, 4, 4, 0),
    (Mutation::SignsUnheard, 12, 12, 270),
    (Mutation::CountsCopies, 17, 17, 0),
];

#[test]
fn each_broken_variant_is_caught_by_the_property_that_it_breaks() {
    for (mutation, share, property, from) in CAUGHT {
        let mut seeds = seeds_of(share, from as u64 + SEEDS).skip(from);
        let caught = seeds.find(|seed| {
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
    let named: Vec<Mutation> = CAUGHT.iter().map(|(mutation, ..)| *mutation).collect();
    assert_eq!(named, ledger_sim::MUTATIONS);
}
