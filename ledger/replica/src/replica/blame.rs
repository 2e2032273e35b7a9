//! Who has contradicted itself, and what a replica does about it.

use ledger_core::payload::Payload;
use ledger_core::{Address, Atom, Contradiction};

use super::{Effect, Replica};
use crate::watch::Clash;

impl Replica {
    /// Takes a published proof to heart.
    pub(super) fn heed(&mut self, atom: &Atom) {
        let Payload::FraudProof(proof) = &atom.body().payload else {
            return;
        };
        let Ok(contradiction) = Contradiction::from_payload(proof, &self.directory) else {
            return;
        };
        if let Ok(who) = contradiction.accused(&self.universe, &self.directory) {
            self.blame(who, contradiction.name());
        }
    }

    pub(super) fn blame(&mut self, who: Address, what: &'static str) {
        if let Some(node) = self.directory.node(&who) {
            self.quarantined.insert(node);
            self.suspects.remove(&node);
        }
        if self.accused.insert(who, what).is_none() {
            self.effects.push(Effect::Accused { who, what });
        }
    }

    /// Publishes a contradiction, unless its author is accused already.
    pub(super) fn accuse(&mut self, contradiction: Contradiction) {
        match contradiction.accused(&self.universe, &self.directory) {
            Ok(who) if !self.accused.contains_key(&who) => {
                self.blame(who, contradiction.name());
                self.to_publish.push(contradiction);
            }
            Ok(_) => {}
            // What is put together out of a liar's batch need not hold. Then it shows
            // nothing, and nothing is wrong with this node.
            Err(_) => {}
        }
    }

    pub(super) fn faulty(&mut self, node: usize, what: String) {
        self.effects.push(Effect::Faulty { node, what });
    }

    /// Shows two atoms that exclude each other, of which this node cannot know
    /// whether one is final.
    pub(super) fn contest(&mut self, clash: Clash, atom: Atom) {
        let (node, clock) = clash.seen;
        let Some(Some(mirror)) = self.mirrors.get_mut(node) else {
            return;
        };
        if let Ok(Some(other)) = mirror.entry_at(clock) {
            let (one, other) = (Box::new(other.atom), Box::new(atom));
            self.accuse(match clash.spends {
                true => Contradiction::TwoSpends(one, other),
                false => Contradiction::TwoAtoms(one, other),
            });
        }
    }
}
