//! Whether a run has come to rest, and what it has come to.

use std::collections::{BTreeMap, BTreeSet};

use ledger_core::{Address, AtomId, Level};
use ledger_replica::Replica;

use super::{Event, Honest, Outcome, Seat, World};
use crate::auditor::Log;
use crate::invariants::{End, check};

impl World {
    pub(super) fn honest(&self) -> impl Iterator<Item = (usize, &Honest)> {
        let seats = self.seats.iter().enumerate();
        seats.filter_map(|(node, seat)| match seat {
            Seat::Honest(honest) => Some((node, &**honest)),
            Seat::Liar(_) => None,
        })
    }

    /// Why not all honest nodes have what all honest nodes have, and agree; none
    /// once they do.
    pub(super) fn unsettled(&self) -> Option<String> {
        let is_coming =
            |e: &Event| matches!(e, Event::Begins(..) | Event::Said(..) | Event::Rechecks(..));
        if let Some(event) = self.queue.values().find(|e| is_coming(e)) {
            return Some(format!("still to happen: {event:?}"));
        }
        let expected = self.expected_accused();
        for (node, honest) in self.honest() {
            let Some(replica) = &honest.replica else {
                return Some(format!("node {node} is down"));
            };
            if !replica.may_sign() {
                return Some(format!("node {node} may not sign"));
            }
            for (other, has) in self.honest() {
                let has = has.replica.as_ref().map_or(0, Replica::clock);
                let held = replica.held(other);
                if held != has {
                    return Some(format!("node {node} has {held} of {has} of node {other}"));
                }
            }
            let finals = self.firm_finals();
            for id in self.due().chain(finals) {
                let standing = replica.standing(&id);
                if standing.is_none_or(|s| s.level != Some(Level::Final)) {
                    return Some(format!("{id} is not final at node {node}"));
                }
            }
            let mut silent = expected.iter();
            if let Some(who) = silent.find(|who| !replica.accused().contains_key(who)) {
                return Some(format!("node {node} does not accuse {who}"));
            }
        }
        None
    }

    pub(super) fn firm_finals(&self) -> impl Iterator<Item = AtomId> {
        let finals = self.auditor.finals().map(ledger_core::Atom::id);
        finals.filter(|id| self.is_firm(id))
    }

    pub(super) fn is_firm(&self, id: &AtomId) -> bool {
        let is_kept = |node: usize, id: &AtomId| self.is_kept(node, id);
        self.auditor.is_firm(id, &is_kept)
    }

    /// Whether a node still has its vote, which it may have lost with its disk.
    pub(super) fn is_kept(&self, node: usize, id: &AtomId) -> bool {
        let Seat::Honest(honest) = &self.seats[node] else {
            return true;
        };
        let replica = honest.replica.as_ref();
        let standing = replica.and_then(|replica| replica.standing(id));
        !self.restored.contains(&node) || standing.is_some_and(|s| s.clock.is_some())
    }

    /// What has to become final everywhere: what honest parties were told is in a
    /// log, as long as it spends nothing that is final here and not there.
    pub(super) fn due(&self) -> impl Iterator<Item = AtomId> {
        let is_kept = |node: usize, id: &AtomId| self.is_kept(node, id);
        let due = self.facts.due();
        due.filter(move |id| self.auditor.is_founded(id, &is_kept))
    }

    /// Who has contradicted itself before the eyes of honest nodes.
    pub(super) fn expected_accused(&self) -> BTreeSet<Address> {
        let forked = self.auditor.forked().into_iter();
        let nodes = forked.map(|node| self.lab.node(node));
        nodes.collect()
    }

    pub(super) fn end(mut self) -> Outcome {
        let mut logs: BTreeMap<usize, Log> = BTreeMap::new();
        for (node, honest) in self.honest() {
            let segments = honest.disks.segments();
            let segments: Vec<&[u8]> = segments.iter().map(Vec::as_slice).collect();
            logs.insert(node, self.auditor.read(&segments));
        }
        let expected = self.expected_accused();
        let mut ends = Vec::new();
        for (node, honest) in self.honest() {
            let Some(replica) = &honest.replica else {
                continue;
            };
            let level = |id: &AtomId| replica.standing(id).and_then(|s| s.level);
            let finals = self.firm_finals();
            let lacking: Vec<AtomId> = finals
                .filter(|id| level(id) != Some(Level::Final))
                .collect();
            let due = self.due();
            let late: Vec<AtomId> = due.filter(|id| level(id) != Some(Level::Final)).collect();
            let reached = self.facts.finals_of(node);
            let gone: Vec<AtomId> = reached
                .filter(|id| self.is_firm(id))
                .filter(|id| level(id) != Some(Level::Final))
                .collect();
            let silent: Vec<Address> = expected
                .iter()
                .filter(|who| !replica.accused().contains_key(who))
                .copied()
                .collect();
            ends.push(End {
                node,
                may_sign: replica.may_sign(),
                lacking,
                late,
                gone,
                silent,
            });
        }
        self.facts.ends = ends;
        let notes = std::mem::take(&mut self.facts.notes);
        let violations = check(&self.facts, &self.auditor, &logs);
        Outcome {
            violations,
            steps: self.step,
            finals: self.auditor.finals().count(),
            fenced: self.fenced,
            indexed: self.indexed,
            rot_found_later: self.rot_found_later,
            digest: u64::from(self.digest) << 32 | self.step,
            notes,
            plan: self.plan,
        }
    }
}
