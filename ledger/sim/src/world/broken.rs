//! What broken variants do in place of the rule.

use std::collections::BTreeMap;

use ledger_core::{AtomId, Level};
use ledger_replica::{Effect, Replica};

use crate::lab::Lab;
use crate::plan::Mutation;

pub(super) fn count_copies(
    copies: &mut BTreeMap<(usize, AtomId), usize>,
    lab: &Lab,
    to: usize,
    bytes: &[u8],
) {
    let Some((batch, _)) = crate::frames::batch(bytes) else {
        return;
    };
    for item in &batch.items {
        if let crate::frames::Item::Entry(bytes) = item
            && let Ok(entry) = ledger_core::Entry::from_bytes(bytes, &lab.id)
        {
            *copies.entry((to, entry.atom.id())).or_insert(1) += 1;
        }
    }
}

/// What a broken variant does instead of what the replica wanted.
pub(super) fn mutate(
    mutation: Mutation,
    (node, nodes): (usize, usize),
    replica: Option<&Replica>,
    copies: &BTreeMap<(usize, AtomId), usize>,
    effects: &mut Vec<Effect>,
) {
    let Some(replica) = replica else { return };
    let quorum = crate::auditor::quorum(nodes, (nodes - 1) / 3);
    let level = Level::Final;
    let mut more = Vec::new();
    for effect in effects.iter() {
        match (mutation, effect) {
            (Mutation::QuorumMinusOne, Effect::Reached { atom, .. }) => {
                let witnesses = replica.standing(atom).map_or(0, |s| s.witnesses().count());
                if witnesses + 1 >= quorum {
                    more.push(Effect::Reached { atom: *atom, level });
                }
            }
            (Mutation::FirstSeenWins, Effect::Refused { why, .. }) => {
                // The refusal names the atom that was here first.
                let first = why.split(' ').find_map(|word| word.parse().ok());
                more.extend(first.map(|atom| Effect::Reached { atom, level }));
            }
            _ => {}
        }
    }
    if mutation == Mutation::CountsCopies {
        let of_node = copies.range((node, AtomId([0; 32]))..=(node, AtomId([255; 32])));
        let enough = of_node.filter(|(_, count)| **count >= quorum);
        more.extend(enough.map(|((_, atom), _)| Effect::Reached { atom: *atom, level }));
    }
    effects.extend(more);
}
