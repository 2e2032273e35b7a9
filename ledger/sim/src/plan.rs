//! What happens in a run, out of its seed.

use std::collections::BTreeSet;

use crate::byzantine::{BEHAVIOURS, Behaviour};
use crate::chance::Chance;
use crate::network::Network;
use crate::workload::Act;

/// What goes wrong beside the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The network falls in two.
    Partition,
    /// The power of a node fails: what was not synchronised is lost in part.
    PowerFails,
    /// The process of a node is killed.
    Killed,
    /// A node is ended in good order and begun again.
    Ended,
    /// A node goes on with an older copy of its disks.
    BackupRestored,
    /// A node goes on with empty disks.
    DiskReplaced,
    /// The disk of a node is full.
    DiskFull,
    /// The disk of a node cannot synchronise.
    SyncFails,
    /// A stored bit turns over.
    BitRots,
    /// The copies of a node are restored with leaves in place of entries: what was
    /// missed is not behind any cursor.
    CopiesThinned,
    /// The clock of a node jumps by up to an hour.
    ClockJumps,
    /// A node is slow.
    Slow,
}

/// All that goes wrong where a focus names nothing. Copies that come back thinned have
/// shares of their own: such a run takes the longest, until the logs are compared.
pub const TROUBLES: [Trouble; 11] = [
    Trouble::Partition,
    Trouble::PowerFails,
    Trouble::Killed,
    Trouble::Ended,
    Trouble::BackupRestored,
    Trouble::DiskReplaced,
    Trouble::DiskFull,
    Trouble::SyncFails,
    Trouble::BitRots,
    Trouble::ClockJumps,
    Trouble::Slow,
];

impl Trouble {
    /// Whether a node opens its disks again because of it.
    pub fn begins_anew(self) -> bool {
        !matches!(
            self,
            Trouble::Partition | Trouble::ClockJumps | Trouble::Slow | Trouble::DiskReplaced
        )
    }

    /// Whether a node loses what was on stable storage: then it is one of the
    /// `f` that may do anything.
    pub fn breaks_the_disk(self) -> bool {
        matches!(
            self,
            Trouble::BackupRestored | Trouble::DiskReplaced | Trouble::BitRots
        )
    }
}

/// A broken variant of the ledger: what the checks must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// A batch is sent and acknowledged before it is on stable storage.
    SignsBeforeSync,
    /// One vote less than a quorum is called final.
    QuorumMinusOne,
    /// A node witnesses two atoms of one place, or two spends.
    NoLock,
    /// After a crash the last value of the clock is given again.
    ClockReused,
    /// Of two atoms of one place the one that was seen first is called final.
    FirstSeenWins,
    /// A restored node signs before it has heard how far it went.
    SignsUnheard,
    /// Votes are counted, not voters.
    CountsCopies,
    /// Nodes go by their cursors alone.
    NoRangeCheck,
}

/// All of them.
pub const MUTATIONS: [Mutation; 8] = [
    Mutation::SignsBeforeSync,
    Mutation::QuorumMinusOne,
    Mutation::NoLock,
    Mutation::ClockReused,
    Mutation::FirstSeenWins,
    Mutation::SignsUnheard,
    Mutation::CountsCopies,
    Mutation::NoRangeCheck,
];

/// The course of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many nodes.
    pub nodes: usize,
    /// The one that lies, and how.
    pub liar: Option<(usize, Behaviour)>,
    /// The network before it is mended.
    pub network: Network,
    /// What is said, and when, in nanoseconds from the beginning.
    pub acts: Vec<(i64, Act)>,
    /// What goes wrong, when, and at which node.
    pub troubles: Vec<(i64, Trouble, usize)>,
    /// When all of it is mended, in nanoseconds from the beginning.
    pub mended_ns: i64,
}

const MS: i64 = 1_000_000;

impl Plan {
    /// The plan of a seed. `focus` is what it is mainly about.
    pub fn of(chance: &mut Chance, focus: Focus) -> Plan {
        // The work rises with the square of it, and four show most.
        let nodes = match chance.below(30) {
            0 => 5,
            1 => 6,
            2 => 7,
            _ => 4,
        };
        let wants_liar = match focus.liars {
            Liars::None => false,
            Liars::Some => chance.percent(50),
            Liars::Always(_) => true,
        };
        let behaviours: &[Behaviour] = match focus.liars {
            Liars::Always(among) if !among.is_empty() => among,
            _ => &BEHAVIOURS,
        };
        let behaviour = *chance.pick(behaviours).unwrap_or(&Behaviour::Garbage);
        let mut liar = wants_liar.then(|| (chance.place(nodes), behaviour));
        let length_ns = MS * chance.between(500, 1_500);
        let troubles = match focus.troubles.is_empty() {
            true => &TROUBLES[..],
            false => focus.troubles,
        };
        let count = 1 + chance.below(2);
        let mut broken = BTreeSet::new();
        let mut chosen = Vec::new();
        for _ in 0..count {
            let trouble = *chance.pick(troubles).unwrap_or(&Trouble::Slow);
            let honest: Vec<usize> = (0..nodes)
                .filter(|n| liar.is_none_or(|(at, _)| at != *n))
                .collect();
            let node = *chance.pick(&honest).unwrap_or(&0);
            let at = MS * chance.between(100, length_ns / MS);
            if trouble.breaks_the_disk() {
                broken.insert(node);
                let liars = usize::from(liar.is_some());
                if broken.len() + liars > (nodes - 1) / 3 {
                    match focus.keeps_liar {
                        true => continue,
                        false => liar = None,
                    }
                    if broken.len() > (nodes - 1) / 3 {
                        continue;
                    }
                }
            }
            chosen.push((at, trouble, node));
        }
        let mut network = match chance.percent(60) {
            true => Network::bad(chance),
            false => Network::good(),
        };
        network.delay_ns_max = network.delay_ns_max.max(MS);
        let honest: Vec<usize> = (0..nodes)
            .filter(|n| liar.is_none_or(|(at, _)| at != *n))
            .collect();
        let mut acts = acts(chance, &honest, liar.map(|(at, _)| at), length_ns);
        if focus.grants {
            acts.extend(handover(chance, length_ns));
            acts.sort_by_key(|(at, _)| *at);
        }
        Plan {
            nodes,
            liar,
            network,
            acts,
            troubles: chosen,
            mended_ns: length_ns + 200 * MS,
        }
    }
}

/// Whether somebody lies in the runs of a focus.
#[derive(Debug, Clone, Copy)]
pub enum Liars {
    /// Nobody.
    None,
    /// In half of them, in any way.
    Some,
    /// In all of them, in one of these ways; in any way where none is named.
    Always(&'static [Behaviour]),
}

/// What the runs that show a property are mainly about.
#[derive(Debug, Clone, Copy)]
pub struct Focus {
    /// Who lies.
    pub liars: Liars,
    /// What goes wrong; anything where nothing is named.
    pub troubles: &'static [Trouble],
    /// Whether rather a disk stays whole than that nobody lies.
    pub keeps_liar: bool,
    /// Whether the device is handed over while its first controller goes on.
    pub grants: bool,
}

/// The device goes from the first controller to the second, and both command it.
fn handover(chance: &mut Chance, length_ns: i64) -> Vec<(i64, Act)> {
    let granted = chance.between(0, length_ns / 2);
    let mut acts = vec![(granted, Act::Grant)];
    for by_standby in [false, true, false] {
        let at = chance.between(granted, length_ns);
        acts.push((at, Act::Dispatch { by_standby }));
    }
    acts
}

/// What is said: credits first, then a mixture in which somebody cheats.
fn acts(
    chance: &mut Chance,
    honest: &[usize],
    liar: Option<usize>,
    length_ns: i64,
) -> Vec<(i64, Act)> {
    let at = |chance: &mut Chance| chance.between(0, length_ns);
    let (early, soon) = (MS * 20, MS * 60);
    let metered = |participant| (early, Act::Reading { participant });
    let mut acts = vec![
        metered("anna"),
        metered("cleo"),
        (soon, Act::Mint),
        (soon, Act::Mint),
    ];
    for _ in 0..chance.between(2, 5) {
        let act = match chance.below(12) {
            0 | 1 => Act::Mode,
            2 | 3 => Act::Dispatch { by_standby: false },
            4 => Act::Dispatch { by_standby: true },
            5 => Act::Reading {
                participant: "anna",
            },
            6..=8 => Act::Transfer { owner: "anna" },
            9 => Act::Transfer { owner: "bert" },
            10 => Act::Mint,
            _ => Act::Grant,
        };
        acts.push((at(chance), act));
    }
    let cheats = chance.percent(70);
    if cheats {
        // The same moment at several nodes, so that neither has heard the other.
        let when = at(chance).max(length_ns / 3);
        let mut nodes: Vec<usize> = honest.iter().copied().chain(liar).collect();
        while nodes.len() > 2 && chance.percent(70) {
            nodes.remove(chance.place(nodes.len()));
        }
        let with_money = chance.percent(60);
        for (node, payee) in nodes.into_iter().zip(["anna", "bert"].into_iter().cycle()) {
            let act = match with_money {
                true => Act::DoubleSpend { node, payee },
                false => Act::TwoOrders { node },
            };
            acts.push((when, act));
        }
    }
    acts.sort_by_key(|(at, _)| *at);
    acts
}
