//! What befalls nodes and networks: troubles, ends and new beginnings, until all is mended.

use std::collections::BTreeSet;

use ledger_core::AtomId;
use ledger_node::{Durability, LedgerError, NodeLogOptions, StorageError};
use ledger_replica::{Replica, Start};

use super::{
    Event, Honest, How, INDEX_ENTRIES, JUMP_NS_MAX, MS, RECHECK_NS_MAX, Seat, TICK_NS, World,
};
use crate::byzantine::Behaviour;
use crate::disk::Disks;
use crate::lab::{BEGIN_UTC_NS, Lab};
use crate::network::Network;
use crate::plan::{Mutation, Trouble};

impl World {
    pub(super) fn troubles(&mut self, trouble: Trouble, node: usize) {
        self.facts.note(format!("{trouble:?} at node {node}"));
        let nodes = self.plan.nodes;
        let away = MS * self.chance.between(50, 900);
        match trouble {
            Trouble::Partition => {
                let sides = (0..nodes).map(|_| self.chance.percent(50)).collect();
                self.network.sides = Some(sides);
                return;
            }
            Trouble::ClockJumps => {
                let jump = self.chance.between(-JUMP_NS_MAX, JUMP_NS_MAX);
                if let Seat::Honest(honest) = &mut self.seats[node] {
                    honest.skew_ns = jump;
                }
                return;
            }
            _ => {}
        }
        let Seat::Honest(honest) = &mut self.seats[node] else {
            return;
        };
        let is_up = honest.replica.is_some();
        match trouble {
            Trouble::Slow => honest.delay_ns_max = 400 * MS,
            Trouble::DiskFull if is_up => {
                let space = self.chance.place(3_000);
                let disks: Vec<_> = honest.disks.all().collect();
                if let Some(disk) = self.chance.pick(&disks) {
                    disk.set(|d| d.space = Some(space));
                }
            }
            Trouble::SyncFails if is_up => {
                let disks: Vec<_> = honest.disks.all().collect();
                if let Some(disk) = self.chance.pick(&disks) {
                    disk.set(|d| d.good_syncs = Some(0));
                }
            }
            Trouble::Ended if is_up => {
                if let Some(replica) = honest.replica.take() {
                    let now = BEGIN_UTC_NS + self.waited_ns + self.now_ns + honest.skew_ns;
                    // A disk that fails just now is a crash.
                    let _: Result<_, _> = replica.close(now);
                }
                self.goes_down(node);
                self.at(self.now_ns + away, Event::Begins(node, How::AsItWas));
            }
            Trouble::PowerFails | Trouble::Killed if is_up => {
                match trouble {
                    Trouble::Killed => honest.disks.lose_process(),
                    _ => honest.disks.lose_power(&mut self.chance),
                }
                self.goes_down(node);
                self.at(self.now_ns + away, Event::Begins(node, How::AsItWas));
            }
            Trouble::BackupRestored => {
                // What went wrong went wrong some time ago.
                self.goes_down(node);
                self.at(self.now_ns + away, Event::Begins(node, How::FromBackup));
            }
            Trouble::DiskReplaced => {
                self.goes_down(node);
                self.at(self.now_ns + away, Event::Begins(node, How::WithEmptyDisks));
            }
            Trouble::CopiesThinned if is_up => {
                honest.disks.lose_process();
                honest.disks.thin_copies(&self.lab.id);
                self.goes_down(node);
                self.at(self.now_ns + away, Event::Begins(node, How::AsItWas));
            }
            Trouble::BitRots if is_up => {
                honest.disks.lose_process();
                let root = honest.replica.as_ref().map(|r| (r.clock(), r.root()));
                honest.clean_root = root;
                honest.rot = honest.disks.rot(&mut self.chance);
                self.goes_down(node);
                self.at(self.now_ns + away, Event::Begins(node, How::AsItWas));
            }
            _ => {}
        }
    }

    /// A node whose storage failed is ended and begun again on mended disks.
    pub(super) fn stops(&mut self, node: usize) {
        let Seat::Honest(honest) = &mut self.seats[node] else {
            return;
        };
        if honest.replica.is_none() {
            return;
        }
        match self.chance.percent(50) {
            true => honest.disks.lose_process(),
            false => honest.disks.lose_power(&mut self.chance),
        }
        self.goes_down(node);
        let away = MS * self.chance.between(50, 600);
        self.at(self.now_ns + away, Event::Begins(node, How::AsItWas));
    }

    pub(super) fn goes_down(&mut self, node: usize) {
        let Seat::Honest(honest) = &mut self.seats[node] else {
            return;
        };
        honest.replica = None;
        honest.life += 1;
        for (_, said) in std::mem::take(&mut honest.said) {
            self.workload.unanswered(&said);
        }
    }

    /// What was only on the disks of a node that lost them is gone.
    pub(super) fn loses(&mut self, node: usize) {
        let others: Vec<&Replica> = self
            .honest()
            .filter(|(other, _)| *other != node)
            .filter_map(|(_, honest)| honest.replica.as_ref())
            .collect();
        let acknowledged = self.facts.acknowledged_at(node);
        let is_gone = |id: &AtomId| others.iter().all(|other| other.standing(id).is_none());
        let gone: Vec<AtomId> = acknowledged.filter(is_gone).collect();
        self.facts.gone_with_the_disk(node, &gone);
    }

    pub(super) fn begins(&mut self, node: usize, how: How) {
        let has_rotted = match &self.seats[node] {
            Seat::Honest(honest) => honest.rot.is_some() || honest.unread_rot.is_some(),
            Seat::Liar(_) => false,
        };
        if how != How::AsItWas || has_rotted {
            self.loses(node);
        }
        if how != How::AsItWas || has_rotted {
            self.restored.insert(node);
        }
        let nodes = self.plan.nodes;
        self.facts.note(format!("node {node} begins {how:?}"));
        // Whom the operator knows to be gone for good.
        let lost: BTreeSet<usize> = match self.plan.liar {
            Some((liar, Behaviour::Withholds | Behaviour::Garbage | Behaviour::LiesInHave)) => {
                [liar].into()
            }
            Some((
                liar,
                Behaviour::TwoLogs
                | Behaviour::TwoVertices
                | Behaviour::WitnessesAll
                | Behaviour::SpoilsSignatures
                | Behaviour::Floods,
            )) => [liar].into(),
            _ => BTreeSet::new(),
        };
        let start = match self.mutation {
            Some(Mutation::SignsUnheard | Mutation::ClockReused) => Start::First,
            _ => Start::Again { lost },
        };
        let (lab, mutation) = (self.lab, self.mutation);
        let Seat::Honest(honest) = &mut self.seats[node] else {
            return;
        };
        if honest.replica.is_some() {
            return;
        }
        match how {
            How::AsItWas => {}
            How::FromBackup => honest.disks = honest.backup.backup(),
            How::WithEmptyDisks => honest.disks = Disks::new(node, nodes),
        }
        if how != How::AsItWas {
            (honest.rot, honest.unread_rot) = (None, None);
        }
        honest.disks.mend();
        if mutation == Some(Mutation::ClockReused) {
            honest.disks.forget_last_batch();
        }
        let before = honest.unread_rot.take();
        let has_rotted_twice = honest.rot.is_some() && before.is_some();
        let was_seen = before.is_some();
        let rot = honest.rot.take().or(before);
        let mut rechecks = None;
        match honest.open(lab, node, start.clone(), mutation) {
            Ok(replica) => {
                let found = (replica.clock(), replica.root());
                // Once it was open it has gone on.
                if rot.is_some() && !was_seen {
                    let is_whole = honest.clean_root == Some(found);
                    self.facts.rot_was_missed(node, is_whole);
                }
                self.indexed += usize::from(!replica.unread().is_empty());
                if rot.is_some() && !replica.unread().is_empty() {
                    honest.unread_rot = rot;
                    rechecks = Some(honest.life);
                }
                honest.replica = Some(replica);
            }
            Err(e) => {
                // Whatever is damaged is replaced, and fetched from the others.
                let is_precise =
                    matches!(&e, LedgerError::Corrupt { .. } | LedgerError::Universe(_));
                self.facts
                    .refused_to_open(node, rot.is_some() && is_precise, &e);
                match rot {
                    Some(Some(copy)) if !has_rotted_twice => {
                        honest.disks.copies[copy] = Some(ledger_node::MemoryStorage::default());
                    }
                    _ => honest.disks = Disks::new(node, nodes),
                }
                let opened = honest.open(lab, node, start, mutation);
                if let Err(e) = &opened {
                    self.facts.refused_to_open(node, false, e);
                }
                honest.replica = opened.ok();
            }
        }
        honest.is_stepping = false;
        if let Some(life) = rechecks {
            let after = self.chance.between(0, RECHECK_NS_MAX);
            self.at(self.now_ns + after, Event::Rechecks(node, life));
        }
        let Seat::Honest(honest) = &mut self.seats[node] else {
            return;
        };
        if let Some(replica) = &mut honest.replica {
            for other in (0..nodes).filter(|other| *other != node) {
                replica.greet(other);
            }
        }
        for other in (0..nodes).filter(|other| *other != node) {
            if let Seat::Honest(honest) = &mut self.seats[other]
                && let Some(replica) = &mut honest.replica
            {
                replica.greet(node);
            }
        }
        self.steps(node);
    }

    /// A node that was opened out of an index has read the rest: whether it is damaged,
    /// is found by reading all of it.
    pub(super) fn rechecks(&mut self, node: usize, life: u64) {
        let (lab, mutation) = (self.lab, self.mutation);
        let Seat::Honest(honest) = &mut self.seats[node] else {
            return;
        };
        let Some(rot) = honest.unread_rot.filter(|_| honest.life == life) else {
            return;
        };
        let whole = honest.disks.without_indexes();
        let is_there = std::mem::replace(&mut honest.disks, whole);
        let read = honest.open(lab, node, Start::First, mutation);
        honest.disks = is_there;
        match (read, &mut honest.replica) {
            // It was in an index, which opening has refused or not needed.
            (Ok(_), _) => honest.unread_rot = None,
            (Err(e), Some(replica)) => {
                self.rot_found_later += 1;
                let which = rot.unwrap_or(node);
                replica.damaged(which, StorageError::damaged("a disk", &e.to_string()));
                self.steps(node);
            }
            (Err(_), None) => {}
        }
    }

    pub(super) fn mends(&mut self) {
        self.is_mended = true;
        let has_jumped = |(_, trouble, _): &(i64, Trouble, usize)| *trouble == Trouble::ClockJumps;
        if self.plan.troubles.iter().any(has_jumped) {
            self.waited_ns = JUMP_NS_MAX;
        }
        self.network = Network::good();
        for node in 0..self.plan.nodes {
            if let Seat::Honest(honest) = &mut self.seats[node] {
                honest.skew_ns = 0;
                honest.delay_ns_max = 5 * MS;
                honest.disks.mend();
            }
        }
        self.at(self.now_ns + 2 * TICK_NS, Event::Looked);
    }
}

impl Honest {
    pub(super) fn open(
        &mut self,
        lab: &'static Lab,
        node: usize,
        start: Start,
        mutation: Option<Mutation>,
    ) -> Result<Replica, LedgerError> {
        let is_forgetful = mutation == Some(Mutation::SignsBeforeSync);
        let stores = self.disks.stores(is_forgetful);
        let keys = lab.keyring(node, &self.keys);
        let options = NodeLogOptions {
            index_entries: self.is_indexed.then_some(INDEX_ENTRIES),
            ..Durability::Fsync.into()
        };
        Replica::open(&lab.universe, keys, stores, options, start)
    }
}
