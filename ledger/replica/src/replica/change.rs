//! What a replica does about a change of the configuration.

use ledger_core::payload::Checkpoint;
use ledger_core::{Address, Level, Payload};
use ledger_node::{AppendError, AtomDraft, Refusal};

use super::{Effect, Replica};

impl Replica {
    /// The first word of this node in an epoch, where it was in the one before: it
    /// says that there are no more of it in that one.
    pub(super) fn first_word(&self) -> Option<AtomDraft> {
        let before = self.epochs.last().checked_sub(1)?;
        let is_due = self.log.latest_epoch() <= before && self.directory.is_member(before, self.me);
        let node = self.universe.nodes.get(self.me).filter(|_| is_due)?;
        let payload = Checkpoint {
            node: Address::of_key(&self.directory.id, &node.key),
            size: self.log.clock(),
            root: self.log.root(),
        };
        let payload = Payload::Checkpoint(payload);
        Some(AtomDraft::new(&node.name, payload))
    }

    /// Whether, of each group that this node keeps, a quorum of the nodes of the
    /// configuration before has been read as far as it wrote in it: then whatever
    /// became final before the change has been seen here.
    pub(super) fn reads_up(&self) -> bool {
        let joined = (0..=self.epochs.last()).find(|e| self.directory.is_member(*e, self.me));
        let Some(joined) = joined.filter(|epoch| *epoch > 0) else {
            return true;
        };
        let has_gone_on = |node: usize| self.epochs_seen.get(node) >= Some(&joined);
        self.directory
            .has_quorums_of(joined - 1, self.me, has_gone_on)
    }

    /// A node that has left takes nothing from its parties any more.
    pub(super) fn refuse_after_leaving(&mut self) {
        let epoch = self.epochs.last();
        if self.directory.is_member(epoch, self.me) {
            return;
        }
        for (ticket, _, _) in std::mem::take(&mut self.submitted) {
            let reason = Refusal::Left { epoch };
            let result = Err(AppendError::Refused { draft: 0, reason });
            self.effects.push(Effect::Appended { ticket, result });
        }
    }

    /// Keeps the next configuration beside the log once its change is final.
    pub(super) fn keep_next_epoch(&mut self) {
        let number = self.epochs.last() + 1;
        if self.has_told_epoch {
            return;
        }
        let Some((Some(atom), change)) = self.standings.change(number) else {
            return;
        };
        if self.standings.level(atom) != Some(Level::Final) {
            return;
        }
        self.has_told_epoch = true;
        let (atom, change) = (*atom, change.clone());
        match self.log.keep_epoch(&change) {
            Ok(()) => self.effects.push(Effect::NextEpoch { number, atom }),
            Err(e) => self.faulty(self.me, e.to_string()),
        }
    }
}
