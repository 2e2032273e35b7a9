//! Locks and quorums at four nodes, of which one lies, and two atoms that exclude
//! each other: every order in which they can be witnessed, one state after the
//! other. The quorum is that of the replica.

use std::collections::BTreeSet;

use ledger_core::{Level, Quorum};

const NODES: usize = 4;

/// What each node has witnessed: one bit for each of the two atoms.
type State = [u8; NODES];

/// All that can happen next. The last node lies: it witnesses anything, in any
/// order. Another witnesses an atom unless it has witnessed one, if it `locks`.
fn next(state: State, locks: bool) -> Vec<State> {
    let mut states = Vec::new();
    for (node, seen) in state.into_iter().enumerate() {
        for atom in [1, 2] {
            let is_free = seen == 0 || !locks || node == NODES - 1;
            if seen & atom == 0 && is_free {
                let mut after = state;
                after[node] |= atom;
                states.push(after);
            }
        }
    }
    states
}

fn votes(state: &State, atom: u8) -> usize {
    state.iter().filter(|seen| **seen & atom != 0).count()
}

/// All states that can be reached, and those in which both atoms are final.
fn explore(locks: bool, is_final: impl Fn(usize) -> bool) -> (usize, usize) {
    let mut seen = BTreeSet::new();
    let mut open = vec![[0; NODES]];
    while let Some(state) = open.pop() {
        if seen.insert(state) {
            open.extend(next(state, locks));
        }
    }
    let both = |state: &&State| is_final(votes(state, 1)) && is_final(votes(state, 2));
    let broken = seen.iter().filter(both).count();
    (seen.len(), broken)
}

const QUORUM: Quorum = Quorum { replicas: NODES };

#[test]
fn with_locks_and_a_quorum_two_atoms_are_final_in_no_state() {
    let is_final = |votes| QUORUM.level(votes) == Some(Level::Final);
    // Three nodes with three states each, and the liar with four.
    assert_eq!(explore(true, is_final), (27 * 4, 0));
}

#[test]
fn without_locks_or_with_one_vote_less_there_are_states_with_both() {
    let is_final = |votes| QUORUM.level(votes) == Some(Level::Final);
    assert!(explore(false, is_final).1 > 0);
    let one_less = |votes| votes + 1 >= QUORUM.is_final();
    assert!(explore(true, one_less).1 > 0);
}

#[test]
fn with_locks_the_honest_may_part_so_that_neither_is_ever_final() {
    // That is why the place stays frozen, and why nobody may choose by time.
    let state: State = [1, 1, 2, 2];
    assert!(
        next(state, true)
            .iter()
            .all(|after| after[..3] == state[..3])
    );
    assert!(votes(&state, 1) < QUORUM.is_final() && votes(&state, 2) < QUORUM.is_final());
}
