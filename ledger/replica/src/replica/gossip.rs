//! What a replica says to the others about the logs, and what it takes from them.

use std::sync::Arc;

use ledger_core::{Address, Atom, Contradiction, Entry, Have, Held, SignedHead};
use ledger_node::mirror::{for_other_shards, has_leaves, last_clock};
use ledger_node::{LedgerError, MirrorFault, Sighting};

use super::{CATCH_UP_BYTES, Effect, Replica, UNDERWAY_NS, WAITING_MAX};
use crate::message::Message;
use crate::standing::NODES_MAX;

/// What a node has said that it lacks of a log, and what it was sent for that.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lack {
    /// How much it had by its last word.
    size: u64,
    /// What it was sent: behind which clock, up to which, and when.
    sent: Option<(u64, u64, i64)>,
}

impl Lack {
    /// Whether a node that has `size` entries now is to be sent what is behind `after`.
    ///
    /// What a node says that it lacks is mostly on its way: from the node whose log it is, or
    /// from whoever heard the same word. So it is sent to one that has come no
    /// further since its last word, or that has what was sent and follows.
    fn must_send(&self, size: u64, after: u64, now_utc_ns: i64) -> bool {
        let sent = self.sent;
        let lately = sent.filter(|(.., at)| now_utc_ns.saturating_sub(*at) < UNDERWAY_NS);
        let is_underway = lately.is_some_and(|(from, to, _)| (from..to).contains(&after));
        let follows = lately.is_some_and(|(_, to, _)| size >= to);
        !is_underway && (size <= self.size || follows)
    }
}

impl Replica {
    pub(super) fn now_and_then(&mut self, now_utc_ns: i64) {
        let others = (0..self.mirrors.len()).filter(|node| *node != self.me);
        self.to_tell.extend(others);
        for mirror in self.mirrors.iter_mut().flatten() {
            if let Err(e) = mirror.sync() {
                let (node, what) = (self.me, e.to_string());
                self.effects.push(Effect::Faulty { node, what });
            }
        }
        if self.waiting.count() < WAITING_MAX / 2 {
            self.look_again(now_utc_ns);
        }
        for (_, from) in self.suspects.values_mut() {
            *from /= 2;
        }
        self.check_ranges(now_utc_ns);
    }

    /// Sees again what found no room to wait.
    pub(super) fn look_again(&mut self, now_utc_ns: i64) {
        for (node, clock) in std::mem::take(&mut self.dropped_from) {
            let Some(Some(mirror)) = self.mirrors.get_mut(node) else {
                continue;
            };
            match mirror.entries_after(clock - 1, CATCH_UP_BYTES) {
                Ok((entries, last)) => {
                    for (clock, entry) in entries {
                        self.sighted(node, clock, entry, now_utc_ns);
                    }
                    if last < self.held(node) {
                        let first = self.dropped_from.entry(node).or_insert(last + 1);
                        *first = (*first).min(last + 1);
                    }
                }
                Err(e) => self.faulty(self.me, e.to_string()),
            }
        }
    }

    pub(super) fn have(&self, to: usize) -> Have {
        let held = (0..self.mirrors.len()).map(|node| match &self.mirrors[node] {
            Some(mirror) => Held {
                size: match self.suspects.get(&node) {
                    Some((whom, from)) if *whom == to => *from,
                    _ => mirror.size(),
                },
                root: mirror.root(),
            },
            None => Held {
                size: self.log.clock(),
                root: self.log.root(),
            },
        });
        Have {
            held: held.collect(),
            yours: self
                .mirrors
                .get(to)
                .and_then(|m| m.as_ref())
                .and_then(|m| m.head().cloned()),
        }
    }

    pub(super) fn on_have(&mut self, now_utc_ns: i64, from: usize, have: &Have) {
        // A node in another epoch knows fewer nodes, or more.
        if have.held.len() > NODES_MAX {
            return self.faulty(from, "it counts too many nodes".to_owned());
        }
        // Only what says more than is known is worth a look at its signature.
        let more = have.yours.as_ref();
        if let Some(head) = more.filter(|head| head.head.size > self.signed_size) {
            if !self.is_mine(head) {
                return self.faulty(from, "it shows a head that is not ours".to_owned());
            }
            self.signed_size = head.head.size;
        }
        self.unheard.remove(&from);
        if let Some(own) = have.held.get(from) {
            self.began_with.entry(from).or_insert(own.size);
        }
        // With the log of a node that it does not know it could do nothing.
        for (node, theirs) in have.held.iter().enumerate().take(self.mirrors.len()) {
            let mine = self.held(node);
            // Of its own log a node lacks something only after a backup was restored.
            if node == from && mine <= theirs.size {
                continue;
            }
            let root = match &self.mirrors[node] {
                Some(mirror) => mirror.root(),
                None => self.log.root(),
            };
            // Equal sizes with other roots: the batch shows who has signed both.
            let after = match mine == theirs.size && mine > 0 && root != theirs.root {
                true => mine - 1,
                false => theirs.size,
            };
            let size = theirs.size;
            let before = self.lacks.get(&(from, node)).copied();
            let mut lack = Lack {
                size,
                sent: before.and_then(|lack| lack.sent),
            };
            let comes = before.is_some_and(|lack| !lack.must_send(size, after, now_utc_ns));
            // Of its own log nothing comes to a node by itself.
            let comes = comes && node != from;
            if after >= mine || comes {
                self.lacks.insert((from, node), lack);
                continue;
            }
            let batches = match &mut self.mirrors[node] {
                Some(mirror) => mirror.batches_after(after, CATCH_UP_BYTES),
                None => self.log.batches_after(after, CATCH_UP_BYTES),
            };
            match batches {
                Ok(batches) => {
                    let last = batches.last().and_then(|bytes| last_clock(bytes));
                    lack.sent = last.map(|last| (after, last, now_utc_ns));
                    self.send_batches(from, node, batches);
                }
                Err(e) => self.faulty(self.me, e.to_string()),
            }
            self.lacks.insert((from, node), lack);
        }
    }

    pub(super) fn send_batches(&mut self, to: usize, node: usize, batches: Vec<Vec<u8>>) {
        // What is kept elsewhere is a leaf in a copy. Handed on to whoever keeps it, it
        // would count as known there. Where all is kept, a leaf is missing here, too.
        let me = self.me;
        let lacks = self.directory.keeps_all(me) || !self.directory.keeps_as_much(me, to);
        let whole = batches.into_iter();
        let whole = whole.take_while(|bytes| !(lacks && has_leaves(bytes)));
        let batches: Vec<Vec<u8>> = whole.collect();
        let last = batches.len().saturating_sub(1);
        for (at, bytes) in batches.into_iter().enumerate() {
            let bytes: Arc<[u8]> = bytes.into();
            if let Some(bytes) = self.as_kept_by(to, &bytes) {
                let more = at == last;
                let message = Message::Batch { node, more, bytes };
                self.effects.push(Effect::Send { to, message });
            }
        }
    }

    /// The batch with only what a node keeps in full.
    pub(super) fn as_kept_by(&self, node: usize, bytes: &Arc<[u8]>) -> Option<Arc<[u8]>> {
        if self.directory.keeps_all(node) {
            return Some(Arc::clone(bytes));
        }
        let is_kept = |entry: &Entry| self.is_for(node, &entry.atom);
        for_other_shards(&self.directory.id, bytes, &is_kept).map(Arc::from)
    }

    pub(super) fn is_for(&self, node: usize, atom: &Atom) -> bool {
        let body = atom.body();
        body.kind().is_for_all() || self.directory.serves_any(node, &body.destinations)
    }

    pub(super) fn is_mine(&self, head: &SignedHead) -> bool {
        let key = self.universe.nodes.get(self.me).map(|node| node.key);
        key.is_some_and(|key| {
            Address::of_key(&self.directory.id, &key) == head.head.node
                && head.verify(&self.directory.id, &key).is_ok()
        })
    }

    pub(super) fn on_batch(&mut self, now_utc_ns: i64, from: usize, node: usize, bytes: &[u8]) {
        if node == self.me {
            return self.on_own_batch(bytes);
        }
        let Some(Some(mirror)) = self.mirrors.get_mut(node) else {
            // Of a node that joins with an epoch that this one is not in yet.
            return;
        };
        match mirror.follow(bytes) {
            Ok(seen) => {
                for (clock, sighting) in seen {
                    if let Sighting::Entry(entry) = sighting {
                        self.sighted(node, clock, *entry, now_utc_ns);
                    }
                }
            }
            Err(MirrorFault::Known) => {}
            // Behind what a liar has signed a gap may stay for ever.
            Err(MirrorFault::Gap { .. }) if self.quarantined.contains(&node) => {}
            Err(MirrorFault::Gap { .. }) => {
                self.to_tell.insert(from);
            }
            Err(MirrorFault::Fork(one, other)) => {
                self.quarantined.insert(node);
                self.accuse(Contradiction::TwoHeads(one, other));
            }
            Err(e @ MirrorFault::Unsigned { .. }) => self.faulty(from, e.to_string()),
            Err(e @ MirrorFault::Lie { .. }) => {
                let against = mirror.against(bytes);
                let size = mirror.size();
                self.quarantined.insert(node);
                self.suspects.entry(node).or_insert((from, size));
                self.faulty(node, e.to_string());
                if let Ok(Some((one, other))) = against {
                    let (one, other) = (Box::new(one), Box::new(other));
                    self.accuse(Contradiction::TwoVertices(one, other));
                }
            }
            Err(MirrorFault::Storage(e)) => self.faulty(self.me, e.to_string()),
        }
    }

    /// A batch of this node's own log: what it has lost and others still have.
    pub(super) fn on_own_batch(&mut self, bytes: &[u8]) {
        if self.log.clock() >= self.signed_size {
            return;
        }
        match self.log.take_back(bytes) {
            Ok(entries) => {
                for entry in &entries {
                    self.entered(entry);
                }
            }
            // What does not follow was sent by more than one, or out of order.
            Err(LedgerError::Corrupt { .. }) => {}
            Err(e) => self.faulty(self.me, e.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_lacks_is_sent_once_and_again_when_it_has_not_come() {
        let check = |sent, size, now, expected| {
            let lack = Lack { size: 10, sent };
            assert_eq!(lack.must_send(size, size, now), expected, "{sent:?} {size}");
        };
        // Nothing was sent from here: to who stands still or asks for earlier, not to who moves.
        check(None, 10, 0, true);
        check(None, 5, 0, true);
        check(None, 12, 0, false);
        // Sent just now: not what is on its way; what is behind it, and what is before it.
        let sent = Some((10, 20, 0));
        let soon = UNDERWAY_NS - 1;
        check(sent, 10, soon, false);
        check(sent, 15, soon, false);
        check(sent, 20, soon, true);
        check(sent, 5, soon, true);
        // Sent long ago: it was lost on the way to who stands still.
        check(sent, 10, UNDERWAY_NS, true);
        check(sent, 20, UNDERWAY_NS, false);
    }
}
