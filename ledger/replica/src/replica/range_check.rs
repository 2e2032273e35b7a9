//! The safety net behind the cursors: what of a log was taken in is compared with
//! what another node has, and what is missing is filled in.

use std::collections::BTreeMap;
use std::sync::Arc;

use ledger_node::MirrorFault;
use ledger_node::mirror::clocks_of;

use super::{CATCH_UP_BYTES, Effect, Replica};
use crate::message::Message;
use crate::ranges::{RANGE_PLACES_MAX, RANGES_MAX, RangePrint};

/// How often each log is compared with what one other node has of it.
/// Chosen: the ledger design, 2.9. It is 50 bytes for each log.
const INTERVAL_NS: u64 = 10_000_000_000;

/// When it is compared first.
/// Chosen: a restored copy shows soon after a start; by then who is well has answered.
const FIRST_NS: u64 = 2_000_000_000;

/// Most places that are hashed for one node between two words of what this one has.
/// Chosen: 512 KiB of bits, about 4 ms. An honest node asks for two such ranges in
/// all that time; who asks for more gets no answer.
const ANSWERED_PLACES_MAX: u64 = 4 * RANGE_PLACES_MAX;

/// As how many places a range counts that is sent.
/// Chosen: so nobody is sent more than 64 of them, some 6 MB, in half a second.
const SENT_COSTS_PLACES: u64 = ANSWERED_PLACES_MAX / 64;

/// What is asked now, and of whom.
#[derive(Debug, Default)]
pub(super) struct Check {
    /// How often the logs were compared.
    round: u64,
    last_utc_ns: Option<i64>,
    /// Of each log the node that was asked, and the range.
    asked: BTreeMap<usize, (usize, (u64, u64))>,
    /// How many places were hashed for each node lately.
    answered: BTreeMap<usize, u64>,
    /// Places of answers that were compared with what stands here, for each node that gave them.
    compared: BTreeMap<usize, u64>,
}

impl Replica {
    /// Asks about a range of each log when it is time to.
    pub(super) fn check_ranges(&mut self, now_utc_ns: i64) {
        self.check.answered.clear();
        self.check.compared.clear();
        let last = *self.check.last_utc_ns.get_or_insert(now_utc_ns);
        let due = if self.check.round == 0 {
            FIRST_NS
        } else {
            INTERVAL_NS
        };
        // A clock that was set back must not silence it.
        if now_utc_ns.abs_diff(last) < due {
            return;
        }
        self.check.last_utc_ns = Some(now_utc_ns);
        let round = self.check.round;
        self.check.round += 1;
        self.check.asked.clear();
        let members = self.directory.members().iter().copied();
        let peers = members.filter(|node| *node != self.me);
        let peers = peers.filter(|node| self.directory.keep_the_same(*node, self.me));
        let peers: Vec<usize> = peers.collect();
        for node in 0..self.mirrors.len() {
            let size = self.held(node);
            // The log of a liar need not be the same everywhere.
            let is_own = node == self.me;
            if size == 0 || is_own || peers.is_empty() || self.quarantined.contains(&node) {
                continue;
            }
            // Each time another node, so that a liar hides nothing for long.
            let to = peers[(node as u64 + round) as usize % peers.len()];
            let pieces = size.div_ceil(RANGE_PLACES_MAX);
            // The latest range and the others take turns.
            let piece = match round % 2 {
                0 => pieces - 1,
                _ => round / 2 % pieces,
            };
            let first = piece * RANGE_PLACES_MAX + 1;
            let last = (first + RANGE_PLACES_MAX - 1).min(size);
            self.check.asked.insert(node, (to, (first, last)));
            let range = self.taken.print(&self.directory.id, node, (first, last));
            self.send_ranges(to, node, false, vec![range]);
        }
    }

    /// Whom it has asked about a log.
    #[cfg(test)]
    pub(crate) fn check_asks(&self, node: usize) -> Option<usize> {
        self.check.asked.get(&node).map(|(whom, _)| *whom)
    }

    fn send_ranges(&mut self, to: usize, node: usize, is_answer: bool, ranges: Vec<RangePrint>) {
        let message = Message::Ranges {
            node,
            is_answer,
            ranges,
        };
        self.effects.push(Effect::Send { to, message });
    }

    /// Another node says what it has taken in: what differs is divided, or sent.
    pub(super) fn on_ranges_asked(&mut self, from: usize, node: usize, ranges: &[RangePrint]) {
        if node == from || !self.directory.keep_the_same(from, self.me) {
            return;
        }
        for theirs in ranges.iter().take(RANGES_MAX) {
            // Nobody can be told of what is not here either.
            if theirs.last > self.held(node) {
                continue;
            }
            let answered = self.check.answered.entry(from).or_default();
            *answered = answered.saturating_add(theirs.places());
            if *answered > ANSWERED_PLACES_MAX {
                return;
            }
            let id = self.directory.id;
            let mine = self.taken.print(&id, node, (theirs.first, theirs.last));
            if mine == *theirs {
                continue;
            }
            match mine.is_bits() {
                true => {
                    let lacking = theirs.lacks_of(&mine);
                    if !lacking.is_empty() {
                        *answered += SENT_COSTS_PLACES;
                        self.send_filling(from, node, &lacking);
                    }
                }
                false => {
                    let parts = self.taken.parts(&id, node, &mine);
                    self.send_ranges(from, node, true, parts);
                }
            }
        }
    }

    /// Sends the batches in which these places are.
    fn send_filling(&mut self, to: usize, node: usize, lacking: &[u64]) {
        let after = lacking.first().map_or(0, |clock| clock - 1);
        let batches = match self.mirrors.get_mut(node) {
            Some(Some(mirror)) => mirror.batches_after(after, CATCH_UP_BYTES),
            _ => self.log.batches_after(after, CATCH_UP_BYTES),
        };
        let batches = match batches {
            Ok(batches) => batches,
            Err(e) => return self.faulty(self.me, e.to_string()),
        };
        let lacks = |bytes: &Vec<u8>| {
            let clocks = clocks_of(bytes);
            clocks.is_some_and(|(first, last)| lacking.iter().any(|l| (first..=last).contains(l)))
        };
        for bytes in batches.into_iter().filter(lacks) {
            let bytes: Arc<[u8]> = bytes.into();
            if let Some(bytes) = self.as_kept_by(to, &bytes) {
                let message = Message::Filling { node, bytes };
                self.effects.push(Effect::Send { to, message });
            }
        }
    }

    /// What was asked differs, and these are the parts: those that differ are asked for.
    pub(super) fn on_ranges_differ(&mut self, from: usize, node: usize, ranges: &[RangePrint]) {
        let mut differ = Vec::new();
        for theirs in ranges.iter().take(RANGES_MAX) {
            let range = (theirs.first, theirs.last);
            if !self.is_asked(from, node, range) {
                return;
            }
            let compared = self.check.compared.entry(from).or_default();
            *compared = compared.saturating_add(theirs.places());
            if *compared > ANSWERED_PLACES_MAX {
                return;
            }
            let mine = self.taken.print(&self.directory.id, node, range);
            let is_more = match mine.is_bits() {
                true => !mine.lacks_of(theirs).is_empty(),
                false => mine != *theirs,
            };
            if is_more {
                differ.push(mine);
            }
        }
        if !differ.is_empty() {
            self.send_ranges(from, node, false, differ);
        }
    }

    fn is_asked(&self, from: usize, node: usize, (first, last): (u64, u64)) -> bool {
        let asked = self.check.asked.get(&node);
        asked.is_some_and(|(whom, range)| *whom == from && range.0 <= first && last <= range.1)
    }

    /// Takes in what is missing of a batch that stands here.
    pub(super) fn on_filling(&mut self, now_utc_ns: i64, from: usize, node: usize, bytes: &[u8]) {
        let is_asked = clocks_of(bytes).is_some_and(|(first, last)| {
            // The batch at either end of a range may go beyond it.
            let asked = self.check.asked.get(&node);
            asked.is_some_and(|(whom, range)| *whom == from && range.0 <= last && first <= range.1)
        });
        if !is_asked || self.quarantined.contains(&node) {
            return;
        }
        // What others keep stays a leaf here, or the room for what is lacking would be used up by it.
        let Some(bytes) = self.as_kept_by(self.me, &Arc::from(bytes)) else {
            return;
        };
        let Some(Some(mirror)) = self.mirrors.get_mut(node) else {
            return;
        };
        match mirror.fill(&bytes) {
            Ok(entries) => {
                let mut filled = 0;
                for (clock, entry) in entries {
                    if !self.taken.has(node, clock) {
                        filled += 1;
                        self.sighted(node, clock, entry, now_utc_ns);
                    }
                }
                if filled > 0 {
                    let entries = filled;
                    self.effects.push(Effect::Filled { node, entries });
                }
            }
            Err(MirrorFault::Lie { what }) => {
                self.quarantined.insert(node);
                self.faulty(node, what.to_owned());
            }
            Err(e @ MirrorFault::Unsigned { .. }) => self.faulty(from, e.to_string()),
            Err(MirrorFault::Storage(e)) => self.faulty(self.me, e.to_string()),
            // It stands here otherwise, or not at all.
            Err(MirrorFault::Known | MirrorFault::Gap { .. } | MirrorFault::Fork(..)) => {}
        }
    }
}
