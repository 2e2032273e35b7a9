//! Which runs show which property.
//!
//! Each property has its own share of the seeds, with a focus: what goes wrong
//! there is what the property is about. Every checker looks at every run.

use std::process::Command;

use ledger_core::keys::remembering;

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
        grants: false,
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
pub const PROPERTIES: [Property; 20] = [
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
        focus: focus(
            Liars::Some,
            &[Trouble::Partition, Trouble::Slow, Trouble::CopiesThinned],
        ),
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
    Property {
        number: 8,
        says: "no forged signature comes into an honest log",
        focus: focus(
            Liars::Always(&[Behaviour::SpoilsSignatures, Behaviour::Garbage]),
            &[],
        ),
    },
    Property {
        number: 18,
        says: "no node takes a command of whoever has lost the device",
        focus: Focus {
            grants: true,
            ..focus(Liars::None, &[Trouble::Partition, Trouble::Killed])
        },
    },
    Property {
        number: 21,
        says: "what is sent without end fills no memory",
        focus: focus(
            Liars::Always(&[Behaviour::Floods, Behaviour::Replays]),
            &[Trouble::Slow],
        ),
    },
    Property {
        number: 22,
        says: "a clock that jumps changes no order",
        focus: focus(Liars::Some, &[Trouble::ClockJumps]),
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

/// One seed in so many is run without a memory for signatures, and its auditor trusts
/// none. Chosen: it is a third of the time of all seeds, and of 2,000 it is 250.
const THOROUGH_EVERY: u64 = 8;

/// Whether every signature of a seed's run is verified by everybody who meets it. In
/// the others each is verified once, by whoever meets it first.
pub fn is_thorough(seed: u64) -> bool {
    seed.is_multiple_of(THOROUGH_EVERY)
}

/// Runs a seed with the focus of its property.
pub fn run_seed(seed: u64, mutation: Option<Mutation>) -> Outcome {
    let run = || run(seed, of_seed(seed).focus, mutation, is_thorough(seed));
    match is_thorough(seed) {
        true => run(),
        false => remembering(run),
    }
}

/// Most notes in the report of a run.
const NOTES_MAX: usize = 40;

/// The commit that is run, and whether the sources differ from it.
fn commit() -> String {
    let mut git = Command::new("git");
    let git = git.args(["describe", "--always", "--dirty"]);
    let told = git.current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let told = told.ok().filter(|told| told.status.success());
    let told = told.map(|told| String::from_utf8_lossy(&told.stdout).trim().to_owned());
    told.unwrap_or_else(|| "unknown to git".to_owned())
}

/// What a failing run says: seed, commit, step, what, and how to see it again.
pub fn report(seed: u64, outcome: &Outcome) -> String {
    use std::fmt::Write as _;
    let (commit, steps) = (commit(), outcome.steps);
    let mut text = format!("seed {seed} of commit {commit} ({steps} steps):\n");
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
