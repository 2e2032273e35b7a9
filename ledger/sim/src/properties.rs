//! Which runs show which property.
//!
//! Each property has its own share of the seeds, with a focus: what goes wrong
//! there is what the property is about. Every checker looks at every run.

use crate::byzantine::Behaviour;
use crate::plan::{Focus, Liars, Mutation, Trouble};
use crate::world::{Outcome, run};

/// A property of the ledger design, section 3, that a simulation can show.
#[derive(Debug, Clone, Copy)]
pub struct Property {
    /// Its number there.
    pub number: u8,
    /// What it says.
    pub says: &'static str,
    /// What its runs are about.
    pub focus: Focus,
}

const fn focus(liars: Liars, troubles: &'static [Trouble]) -> Focus {
    Focus {
        liars,
        troubles,
        keeps_liar: false,
    }
}

/// All that go wrong with a node that keeps what is on stable storage.
const CRASHES: &[Trouble] = &[
    Trouble::PowerFails,
    Trouble::Killed,
    Trouble::Ended,
    Trouble::SyncFails,
    Trouble::DiskFull,
];

/// The properties, in the order of their numbers.
pub const PROPERTIES: [Property; 16] = [
    Property {
        number: 1,
        says: "the clock of a node rises by one for each entry, across crashes",
        focus: focus(Liars::None, CRASHES),
    },
    Property {
        number: 2,
        says: "what was acknowledged is there after the power has failed",
        focus: focus(Liars::None, &[Trouble::PowerFails, Trouble::SyncFails]),
    },
    Property {
        number: 3,
        says: "no command is let out before it is on stable storage",
        focus: focus(Liars::Some, CRASHES),
    },
    Property {
        number: 4,
        says: "two atoms that exclude each other are never both final",
        focus: focus(
            Liars::Always(&[
                Behaviour::TwoLogs,
                Behaviour::TwoVertices,
                Behaviour::WitnessesAll,
            ]),
            &[Trouble::Partition],
        ),
    },
    Property {
        number: 5,
        says: "what is final stays final",
        focus: focus(Liars::Always(&[]), CRASHES),
    },
    Property {
        number: 6,
        says: "all nodes come to the same finals once the network is whole",
        focus: focus(Liars::Some, &[Trouble::Partition, Trouble::Slow]),
    },
    Property {
        number: 7,
        says: "amounts are conserved after each final atom",
        focus: focus(Liars::Some, &[]),
    },
    Property {
        number: 10,
        says: "a fork is known to all who have seen both sides of it",
        focus: focus(
            Liars::Always(&[Behaviour::TwoLogs, Behaviour::TwoVertices]),
            &[Trouble::Slow, Trouble::Partition],
        ),
    },
    Property {
        number: 11,
        says: "nobody honest is accused",
        focus: focus(Liars::Always(&[]), &[]),
    },
    Property {
        number: 12,
        says: "a restored node gives no clock twice",
        focus: focus(
            Liars::None,
            &[Trouble::BackupRestored, Trouble::DiskReplaced],
        ),
    },
    Property {
        number: 14,
        says: "any two heads of an honest node are consistent",
        focus: focus(Liars::None, &[]),
    },
    Property {
        number: 15,
        says: "what an atom names stands before it",
        focus: focus(Liars::Some, &[Trouble::Slow, Trouble::Killed]),
    },
    Property {
        number: 16,
        says: "what honest parties say becomes final",
        focus: focus(Liars::Always(&[]), &[Trouble::Slow, Trouble::Partition]),
    },
    Property {
        number: 17,
        says: "a minority finalises nothing, and nothing is lost when it comes back",
        focus: focus(Liars::None, &[Trouble::Partition]),
    },
    Property {
        number: 19,
        says: "no atom is twice in a log",
        focus: focus(
            Liars::Always(&[Behaviour::Replays]),
            &[Trouble::Slow, Trouble::Killed],
        ),
    },
    Property {
        number: 20,
        says: "a disk that fails or rots is reported, never silently cut",
        focus: focus(
            Liars::None,
            &[Trouble::BitRots, Trouble::DiskFull, Trouble::SyncFails],
        ),
    },
];

/// The property to whose share a seed belongs.
pub fn of_seed(seed: u64) -> &'static Property {
    &PROPERTIES[(seed % PROPERTIES.len() as u64) as usize]
}

/// The first `count` seeds of the share of the property `number`.
pub fn seeds_of(number: u8, count: u64) -> impl Iterator<Item = u64> {
    let at = PROPERTIES.iter().position(|p| p.number == number);
    let at = at.unwrap_or(0) as u64;
    (0..count).map(move |n| n * PROPERTIES.len() as u64 + at)
}

/// Runs a seed with the focus of its property.
pub fn run_seed(seed: u64, mutation: Option<Mutation>) -> Outcome {
    run(seed, of_seed(seed).focus, mutation)
}

/// Most notes in the report of a run.
const NOTES_MAX: usize = 40;

/// What a failing run says: seed, step, what, and how to see it again.
pub fn report(seed: u64, outcome: &Outcome) -> String {
    use std::fmt::Write as _;
    let mut text = format!("seed {seed} ({} steps):\n", outcome.steps);
    for violation in &outcome.violations {
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "  property {} at step {}: {}",
            violation.property, violation.step, violation.what
        );
    }
    let plan = &outcome.plan;
    let _ = writeln!(
        text,
        "  {} nodes, liar {:?}, troubles {:?}",
        plan.nodes, plan.liar, plan.troubles
    );
    for note in outcome.notes.iter().take(NOTES_MAX) {
        let _ = writeln!(text, "  {note}");
    }
    let _ = writeln!(
        text,
        "  again: cargo run --release -p ledger-sim -- --seeds 1 --from {seed}"
    );
    text
}
