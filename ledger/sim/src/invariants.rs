//! The properties, one checker each, over what the nodes did and what the
//! auditor found.

use std::collections::{BTreeMap, BTreeSet};

use ledger_core::credit::{CREDIT, is_metered};
use ledger_core::merkle::{consistency_proof, root, verify_consistency};
use ledger_core::{Address, AtomId, Digest32, Kind, Particle, ParticleId, Payload};
use ledger_node::LedgerError;
use ledger_replica::replica::WAITING_MAX;

use crate::auditor::{Auditor, Log, quorum};
use crate::lab::Lab;

/// A property that does not hold in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Number of the property in the ledger design, section 3.
    pub property: u8,
    /// The step at which it showed; the last where it shows only at the end.
    pub step: u64,
    /// What does not hold.
    pub what: String,
}

/// What is written down while a run goes on.
#[derive(Debug)]
pub struct Facts {
    lab: &'static Lab,
    honest: Vec<usize>,
    /// The step of the run.
    pub step: u64,
    /// Why the honest nodes did not agree in time.
    pub unsettled: Option<String>,
    /// How the honest nodes stand at the end.
    pub ends: Vec<End>,
    /// What went wrong, for people.
    pub notes: Vec<String>,
    acknowledged: Vec<(usize, AtomId, bool)>,
    finals: BTreeSet<(usize, AtomId)>,
    refused: Vec<(usize, AtomId, String)>,
    violations: Vec<Violation>,
}

/// How a node stands at the end.
#[derive(Debug, Default)]
pub struct End {
    /// The node.
    pub node: usize,
    /// Whether it may sign.
    pub may_sign: bool,
    /// What is final and not final here.
    pub lacking: Vec<AtomId>,
    /// What an honest party said and is not final here.
    pub late: Vec<AtomId>,
    /// What this node once called final and does not any more.
    pub gone: Vec<AtomId>,
    /// Who contradicted itself and is not accused here.
    pub silent: Vec<Address>,
}

impl Facts {
    /// Nothing has happened yet.
    pub fn new(lab: &'static Lab, honest: Vec<usize>) -> Facts {
        Facts {
            lab,
            honest,
            step: 0,
            unsettled: None,
            ends: vec![],
            notes: vec![],
            acknowledged: vec![],
            finals: BTreeSet::new(),
            refused: vec![],
            violations: vec![],
        }
    }

    /// Writes down what happened.
    pub fn note(&mut self, what: String) {
        self.notes.push(format!("step {}: {what}", self.step));
    }

    fn broken(&mut self, property: u8, what: String) {
        let step = self.step;
        self.violations.push(Violation {
            property,
            step,
            what,
        });
    }

    /// A node lets a batch of its own log out.
    pub fn signed(&mut self, node: usize, is_durable: bool) {
        if !is_durable {
            let what = format!("node {node} sends of its log what is not on stable storage");
            self.broken(1, what);
        }
    }

    /// A node says that an atom is in its log.
    pub fn acknowledged(
        &mut self,
        node: usize,
        atom: AtomId,
        is_command: bool,
        is_honest: bool,
        is_durable: bool,
    ) {
        self.acknowledged.push((node, atom, is_honest));
        if !is_durable {
            let what = format!("node {node} acknowledges {atom} before it is on stable storage");
            self.broken(2, what);
            if is_command {
                let what = format!("node {node} lets command {atom} out before it is durable");
                self.broken(3, what);
            }
        }
    }

    /// A node says that an atom is final, when the auditor has found the votes of
    /// these nodes.
    pub fn is_final(&mut self, node: usize, atom: AtomId, votes: &BTreeSet<usize>) {
        self.finals.insert((node, atom));
        let needed = quorum(self.lab.nodes(), self.lab.tolerated());
        if votes.len() < needed {
            let what = format!("node {node} calls {atom} final with {votes:?}, not {needed} votes");
            self.broken(17, what);
        }
    }

    /// So many atoms wait at a node to be witnessed.
    pub fn waits(&mut self, node: usize, count: usize) {
        if count > WAITING_MAX {
            self.broken(21, format!("{count} atoms wait at node {node}"));
        }
    }

    /// A node will never witness an atom.
    pub fn refused(&mut self, node: usize, atom: AtomId, why: String) {
        self.note(format!("node {node} refuses {atom}: {why}"));
        self.refused.push((node, atom, why));
    }

    /// A node says that somebody has contradicted itself.
    pub fn accused(&mut self, node: usize, who: Address, what: &str) {
        self.note(format!("node {node} accuses {who} of {what}"));
        let honest_node = self.honest.iter().any(|n| self.lab.node(*n) == who);
        let parties = crate::workload::HONEST;
        let honest_party = parties.iter().any(|name| self.lab.party(name) == who);
        if honest_node || honest_party {
            let what = format!("node {node} accuses {who}, who is honest, of {what}");
            self.broken(11, what);
        }
    }

    /// A node says that another has sent or signed what does not hold.
    pub fn faulty(&mut self, node: usize, whom: usize, what: String) {
        self.note(format!("node {node} says of node {whom}: {what}"));
        if whom != node && self.honest.contains(&whom) {
            let what = format!("node {node} says of node {whom}, which is honest: {what}");
            self.broken(11, what);
        }
    }

    /// A node opened disks on which a bit has turned over.
    pub fn rot_was_missed(&mut self, node: usize, is_whole: bool) {
        if !is_whole {
            let what = format!("node {node} opened a damaged disk and lost entries silently");
            self.broken(20, what);
        }
    }

    /// A node did not open its disks.
    pub fn refused_to_open(&mut self, node: usize, is_expected: bool, error: &LedgerError) {
        self.note(format!("node {node} does not open: {error}"));
        if !is_expected {
            self.broken(20, format!("node {node} does not open its disks: {error}"));
        }
    }

    /// What a node has said is in its log.
    pub fn acknowledged_at(&self, node: usize) -> impl Iterator<Item = AtomId> {
        let here = self.acknowledged.iter().filter(move |(n, _, _)| *n == node);
        here.map(|(_, id, _)| *id)
    }

    /// A node lost its disks, and with them what nobody else had.
    pub fn gone_with_the_disk(&mut self, node: usize, gone: &[AtomId]) {
        let stays = |(n, id, _): &(usize, AtomId, bool)| *n != node || !gone.contains(id);
        self.acknowledged.retain(stays);
    }

    /// What honest parties were told is in a log: it is due to become final.
    pub fn due(&self) -> impl Iterator<Item = AtomId> {
        let honest = self.acknowledged.iter().filter(|(_, _, honest)| *honest);
        honest.map(|(_, id, _)| *id)
    }

    /// What a node has called final.
    pub fn finals_of(&self, node: usize) -> impl Iterator<Item = AtomId> {
        let of_node = self.finals.iter().filter(move |(n, _)| *n == node);
        of_node.map(|(_, id)| *id)
    }
}

/// Holds all properties against a run that is over.
pub fn check(facts: &Facts, auditor: &Auditor, logs: &BTreeMap<usize, Log>) -> Vec<Violation> {
    let mut found = facts.violations.clone();
    let mut add = |property: u8, whats: Vec<String>| {
        found.extend(whats.into_iter().map(|what| Violation {
            property,
            step: facts.step,
            what,
        }));
    };
    for (node, log) in logs {
        add(1, the_clock_rises_by_one(*node, log));
        add(7, amounts_are_conserved(*node, log, auditor, facts));
        add(14, heads_are_consistent(*node, log, facts));
        add(15, what_comes_before_stands_before(*node, log));
        add(18, no_command_is_stale(*node, log, facts));
        add(19, an_atom_is_once_in_a_log(*node, log));
        add(8, every_signature_holds(*node, log));
        add(22, times_rise_with_the_clock(*node, log));
    }
    add(2, what_was_acknowledged_is_there(facts, logs));
    add(
        4,
        what_excludes_each_other_is_not_both_final(facts, auditor),
    );
    add(5, what_was_final_is_final(facts));
    add(6, all_have_the_same_finals(facts));
    add(10, forks_are_known_to_all(facts));
    add(12, no_clock_is_given_twice(facts, auditor));
    add(16, what_honest_parties_say_becomes_final(facts));
    found
}

fn the_clock_rises_by_one(node: usize, log: &Log) -> Vec<String> {
    let clocks = log.lines.iter().map(|line| line.entry.vertex.l);
    let wrong = (1..).zip(clocks).find(|(expected, l)| expected != l);
    let wrong = wrong.map(|(expected, l)| format!("node {node}: clock {l} stands at {expected}"));
    wrong.into_iter().collect()
}

fn what_was_acknowledged_is_there(facts: &Facts, logs: &BTreeMap<usize, Log>) -> Vec<String> {
    let is_there = |node: &usize, id: &AtomId| {
        let log = logs.get(node);
        log.is_some_and(|log| log.lines.iter().any(|line| line.entry.atom.id() == *id))
    };
    let lost = facts.acknowledged.iter();
    let lost = lost.filter(|(node, id, _)| !is_there(node, id));
    lost.map(|(node, id, _)| format!("node {node} has lost {id}, which it had acknowledged"))
        .collect()
}

fn what_excludes_each_other_is_not_both_final(facts: &Facts, auditor: &Auditor) -> Vec<String> {
    let said = |id: &AtomId| facts.finals.iter().any(|(_, said)| said == id);
    let is_final = |id: &&AtomId| auditor.is_final(id) || said(id);
    let mut found = Vec::new();
    for set in auditor.exclusive() {
        let both: Vec<String> = set.iter().filter(is_final).map(AtomId::to_string).collect();
        if both.len() > 1 {
            found.push(format!("all of these are final: {}", both.join(", ")));
        }
    }
    found
}

fn what_was_final_is_final(facts: &Facts) -> Vec<String> {
    let gone = facts.ends.iter().flat_map(|end| {
        let gone = end.gone.iter();
        gone.map(|id| format!("node {} called {id} final once", end.node))
    });
    gone.collect()
}

fn all_have_the_same_finals(facts: &Facts) -> Vec<String> {
    let lacking = facts.ends.iter().flat_map(|end| {
        let lacking = end.lacking.iter();
        lacking.map(|id| format!("{id} is final, but not at node {}", end.node))
    });
    lacking.collect()
}

/// Per asset what is up is what was minted less what was burned, after each
/// final atom, in the order of each honest log.
fn amounts_are_conserved(node: usize, log: &Log, auditor: &Auditor, facts: &Facts) -> Vec<String> {
    let mut up: BTreeMap<ParticleId, (String, i128)> = BTreeMap::new();
    let mut net: BTreeMap<String, i128> = BTreeMap::new();
    let mut found = Vec::new();
    let finals = log.lines.iter().map(|line| &line.entry.atom);
    for atom in finals.filter(|atom| auditor.is_final(&atom.id())) {
        let body = atom.body();
        let mut change: BTreeMap<String, i128> = BTreeMap::new();
        for particle in &body.particles {
            match particle {
                Particle::Up(new) => {
                    let Ok(id) = new.id(&facts.lab.id) else {
                        continue;
                    };
                    *change.entry(new.asset.clone()).or_default() += new.amount.0;
                    if up.insert(id, (new.asset.clone(), new.amount.0)).is_some() {
                        found.push(format!("node {node}: particle {id} is put up twice"));
                    }
                }
                Particle::Down(id) => match up.remove(id) {
                    Some((asset, amount)) => *change.entry(asset).or_default() -= amount,
                    None => found.push(format!("node {node}: particle {id} was not up")),
                },
            }
        }
        // What is minted is what was metered, and a reading alone brings that about.
        let is_whole = change.values().sum::<i128>() == 0;
        for (asset, amount) in change {
            *net.entry(asset.clone()).or_default() += amount;
            let is_right = match body.kind() {
                Kind::MeterReading => amount > 0 && is_metered(&asset),
                Kind::Mint => is_whole && (amount > 0) == (asset == CREDIT),
                Kind::Burn => amount < 0,
                _ => amount == 0,
            };
            if !is_right {
                found.push(format!(
                    "node {node}: {} changes {asset} by {amount}",
                    atom.id()
                ));
            }
        }
        for (asset, expected) in &net {
            let of_asset = up.values().filter(|(a, _)| a == asset);
            let sum: i128 = of_asset.map(|(_, amount)| amount).sum();
            if sum != *expected || sum < 0 {
                found.push(format!(
                    "node {node}: {sum} of {asset} is up, not {expected}"
                ));
            }
        }
    }
    found
}

fn forks_are_known_to_all(facts: &Facts) -> Vec<String> {
    let silent = facts.ends.iter().flat_map(|end| {
        let silent = end.silent.iter();
        silent.map(|who| format!("node {} does not accuse {who}, which forked", end.node))
    });
    silent.collect()
}

fn no_clock_is_given_twice(facts: &Facts, auditor: &Auditor) -> Vec<String> {
    let twice = auditor.twice().iter();
    let twice = twice.filter(|(node, _)| facts.honest.contains(node));
    twice
        .map(|(node, l)| format!("node {node} has given clock {l} twice"))
        .collect()
}

/// Any two heads of an honest log are consistent, and not with another history.
fn heads_are_consistent(node: usize, log: &Log, facts: &Facts) -> Vec<String> {
    let id = &facts.lab.id;
    let leaves: Vec<Digest32> = log.lines.iter().map(|line| line.leaf).collect();
    let mut found = Vec::new();
    for head in log.heads.iter().map(|signed| &signed.head) {
        let prefix = leaves.get(..head.size as usize);
        if prefix.map(|prefix| root(id, prefix)) != Some(head.root) {
            found.push(format!(
                "node {node}: head of {} has another root",
                head.size
            ));
        }
    }
    let heads: Vec<_> = log.heads.iter().map(|signed| &signed.head).collect();
    for pair in heads.windows(2) {
        let (old, new) = (pair[0], pair[1]);
        if old.size == 0 || new.size as usize > leaves.len() {
            continue;
        }
        let proof = consistency_proof(id, &leaves[..new.size as usize], old.size as usize);
        let Some(proof) = proof else {
            found.push(format!(
                "node {node}: no proof from {} to {}",
                old.size, new.size
            ));
            continue;
        };
        let holds = |old_root: &Digest32| {
            verify_consistency(id, (old.size, old_root), (new.size, &new.root), &proof)
        };
        let mut other = old.root;
        other[0] ^= 1;
        if !holds(&old.root) || holds(&other) {
            let sizes = format!("{} and {}", old.size, new.size);
            found.push(format!("node {node}: heads of {sizes} are not consistent"));
        }
    }
    found
}

fn what_comes_before_stands_before(node: usize, log: &Log) -> Vec<String> {
    let places: BTreeMap<AtomId, usize> = log
        .lines
        .iter()
        .enumerate()
        .map(|(at, line)| (line.entry.atom.id(), at))
        .collect();
    let mut found = Vec::new();
    for (at, line) in log.lines.iter().enumerate() {
        let body = line.entry.atom.body();
        let references = body.payload.references().into_iter().map(|(id, _)| id);
        let before = body.deps.iter().copied().chain(references).chain(body.prev);
        for id in before {
            if places.get(&id).is_some_and(|place| *place > at) {
                let later = line.entry.atom.id();
                found.push(format!(
                    "node {node}: {later} stands before {id}, which it names"
                ));
            }
        }
    }
    found
}

/// A node never takes a command below an epoch that it has seen for the device,
/// nor one of somebody to whom the device was not granted.
fn no_command_is_stale(node: usize, log: &Log, facts: &Facts) -> Vec<String> {
    // The epoch of each device, and where there was a grant, whose it is. All grants
    // are of one admin, so no epoch is granted twice.
    let mut seen: BTreeMap<&str, (u64, Option<Address>)> = BTreeMap::new();
    let mut found = Vec::new();
    for line in &log.lines {
        let (id, body) = (line.entry.atom.id(), line.entry.atom.body());
        match &body.payload {
            Payload::Dispatch(dispatch) => {
                let (device, epoch) = (&dispatch.device, dispatch.authority_epoch);
                let (highest, holder) = seen.entry(device).or_default();
                let mut acknowledged = facts.acknowledged.iter();
                let is_own = acknowledged.any(|(n, a, _)| *n == node && *a == id);
                let may = match holder {
                    None => epoch >= *highest,
                    Some(holder) => epoch == *highest && body.author == *holder,
                };
                if is_own && !may {
                    found.push(format!(
                        "node {node} took command {id} of epoch {epoch} by {}",
                        body.author
                    ));
                }
                if holder.is_none() {
                    *highest = (*highest).max(epoch);
                }
            }
            Payload::AuthorityGrant(grant) => {
                let (highest, holder) = seen.entry(&grant.device).or_default();
                if grant.authority_epoch >= *highest {
                    (*highest, *holder) = (grant.authority_epoch, Some(grant.issuer));
                }
            }
            _ => {}
        }
    }
    found
}

fn an_atom_is_once_in_a_log(node: usize, log: &Log) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let ids = log.lines.iter().map(|line| line.entry.atom.id());
    ids.filter(|id| !seen.insert(*id))
        .map(|id| format!("node {node} has {id} twice"))
        .collect()
}

fn every_signature_holds(node: usize, log: &Log) -> Vec<String> {
    let atoms = log.lines.iter().map(|line| &line.entry.atom);
    let wrong = atoms.filter_map(|atom| Some((atom.id(), atom.verify().err()?)));
    wrong
        .map(|(id, e)| format!("node {node} has witnessed {id}: {e}"))
        .collect()
}

/// The times in a log rise with its clock, wherever the wall clock was put.
fn times_rise_with_the_clock(node: usize, log: &Log) -> Vec<String> {
    let mut found = Vec::new();
    for pair in log.lines.windows(2) {
        let [before, after] = [&pair[0], &pair[1]].map(|line| &line.entry.vertex);
        if before.hlc >= after.hlc {
            let clocks = format!("{} and {}", before.l, after.l);
            found.push(format!("node {node}: the times of {clocks} do not rise"));
        }
    }
    found
}

fn what_honest_parties_say_becomes_final(facts: &Facts) -> Vec<String> {
    let mut found: Vec<String> = facts
        .ends
        .iter()
        .flat_map(|end| {
            let late = end.late.iter();
            let why = |id: &AtomId| {
                let refused = facts.refused.iter().filter(|(_, atom, _)| atom == id);
                let why: Vec<String> = refused.map(|(n, _, why)| format!("{n}: {why}")).collect();
                why.join("; ")
            };
            late.map(move |id| format!("{id} is not final at node {} ({})", end.node, why(id)))
        })
        .collect();
    let silent = facts.ends.iter().filter(|end| !end.may_sign);
    found.extend(silent.map(|end| format!("node {} may not sign for ever", end.node)));
    if let Some(why) = &facts.unsettled
        && found.is_empty()
    {
        found.push(format!("the nodes do not agree: {why}"));
    }
    found
}
