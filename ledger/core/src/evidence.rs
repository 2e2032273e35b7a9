//! Evidence: two signed objects that one honest signer never makes both.
//!
//! A contradiction is self-contained. It accuses exactly the key under both
//! signatures, so that nobody can be accused by what another has made: an honest
//! signer keeps its place on stable storage before anything with that place
//! leaves it.

use thiserror::Error;

use crate::atom::{Atom, AtomError};
use crate::directory::Directory;
use crate::head::SignedHead;
use crate::particle::Particle;
use crate::payload::governance::FraudProof;
use crate::record::{Field, Opaque, SchemaError};
use crate::universe::Universe;
use crate::vote::{Vote, VoteError};
use crate::{Address, AtomId};

record! {
    /// A vote with the atom that it is about.
    Testimony {
        /// Canonical bytes of the atom.
        atom: Opaque,
        /// The vote.
        vote: Vote,
    }
}

/// What contradicts what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contradiction {
    /// An author wrote two atoms for one place of its sequence.
    TwoAtoms(Box<Atom>, Box<Atom>),
    /// An owner consumes one particle in two atoms.
    TwoSpends(Box<Atom>, Box<Atom>),
    /// A node gave one value of its clock to two events.
    TwoVertices(Box<Testimony>, Box<Testimony>),
    /// A node witnessed two atoms that consume one particle.
    TwoLocks(Box<Testimony>, Box<Testimony>),
    /// A node signed two trees of one size.
    TwoHeads(Box<SignedHead>, Box<SignedHead>),
}

/// The names on the wire, in the order of [`Contradiction`].
const NAMES: [&str; 5] = [
    "two-atoms",
    "two-spends",
    "two-vertices",
    "two-locks",
    "two-heads",
];

/// Why two objects are no evidence.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EvidenceError {
    /// The proof names no known kind of contradiction.
    #[error("`{0}` is not a kind of contradiction")]
    UnknownKind(String),
    /// An object is not in the schema.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// An atom does not hold.
    #[error(transparent)]
    Atom(#[from] AtomError),
    /// A vote does not hold.
    #[error(transparent)]
    Vote(#[from] VoteError),
    /// A head is not signed by a node of the configuration.
    #[error("a head is not signed by a node of the configuration")]
    Head,
    /// One honest signer may have made both.
    #[error("the two objects do not contradict each other")]
    NoContradiction,
}

impl Contradiction {
    /// The name of its kind.
    pub fn name(&self) -> &'static str {
        match self {
            Contradiction::TwoAtoms(..) => NAMES[0],
            Contradiction::TwoSpends(..) => NAMES[1],
            Contradiction::TwoVertices(..) => NAMES[2],
            Contradiction::TwoLocks(..) => NAMES[3],
            Contradiction::TwoHeads(..) => NAMES[4],
        }
    }

    /// The payload that publishes it.
    ///
    /// # Errors
    /// Objects over a limit of the encoding.
    pub fn to_payload(&self) -> Result<FraudProof, SchemaError> {
        let (first, second) = match self {
            Contradiction::TwoAtoms(a, b) | Contradiction::TwoSpends(a, b) => {
                (a.to_bytes()?, b.to_bytes()?)
            }
            Contradiction::TwoVertices(a, b) | Contradiction::TwoLocks(a, b) => {
                (a.to_bytes()?, b.to_bytes()?)
            }
            Contradiction::TwoHeads(a, b) => (a.to_bytes()?, b.to_bytes()?),
        };
        Ok(FraudProof {
            what: self.name().to_owned(),
            first: Opaque(first),
            second: Opaque(second),
        })
    }

    /// Reads a published proof; it is not yet checked.
    ///
    /// # Errors
    /// An unknown kind, or objects that are not what the kind says.
    pub fn from_payload(
        proof: &FraudProof,
        directory: &Directory,
    ) -> Result<Contradiction, EvidenceError> {
        let (first, second) = (&proof.first.0, &proof.second.0);
        let atom = |bytes: &[u8]| Atom::from_bytes(bytes, &directory.id).map(Box::new);
        let shown = |bytes: &[u8]| Testimony::from_bytes(bytes).map(Box::new);
        let head = |bytes: &[u8]| SignedHead::from_bytes(bytes).map(Box::new);
        let kind = NAMES.iter().position(|name| *name == proof.what);
        Ok(match kind {
            Some(0) => Contradiction::TwoAtoms(atom(first)?, atom(second)?),
            Some(1) => Contradiction::TwoSpends(atom(first)?, atom(second)?),
            Some(2) => Contradiction::TwoVertices(shown(first)?, shown(second)?),
            Some(3) => Contradiction::TwoLocks(shown(first)?, shown(second)?),
            Some(4) => Contradiction::TwoHeads(head(first)?, head(second)?),
            _ => return Err(EvidenceError::UnknownKind(proof.what.clone())),
        })
    }

    /// Checks both objects and gives the one who made them.
    ///
    /// # Errors
    /// An object does not hold, or they do not contradict each other.
    pub fn accused(
        &self,
        universe: &Universe,
        directory: &Directory,
    ) -> Result<Address, EvidenceError> {
        let contradicts = |holds: bool, accused: Address| match holds {
            true => Ok(accused),
            false => Err(EvidenceError::NoContradiction),
        };
        match self {
            Contradiction::TwoAtoms(a, b) => {
                a.verify()?;
                b.verify()?;
                let (one, other) = (a.body(), b.body());
                let same_place = one.author == other.author && one.author_seq == other.author_seq;
                contradicts(same_place && a.id() != b.id(), one.author)
            }
            Contradiction::TwoSpends(a, b) => {
                a.verify()?;
                b.verify()?;
                let (one, other) = (a.body(), b.body());
                let shared = one.particles.iter().any(|particle| {
                    matches!(particle, Particle::Down(_)) && other.particles.contains(particle)
                });
                let same_author = one.author == other.author;
                contradicts(same_author && shared && a.id() != b.id(), one.author)
            }
            Contradiction::TwoVertices(a, b) => {
                let (one, other) = (a.check(universe, directory)?, b.check(universe, directory)?);
                let (v, w) = (&one.1.vertex, &other.1.vertex);
                let same_place = v.node == w.node && (v.incarnation, v.l) == (w.incarnation, w.l);
                contradicts(same_place && one.1.vertex_id != other.1.vertex_id, v.node)
            }
            Contradiction::TwoLocks(a, b) => {
                let (one, other) = (a.check(universe, directory)?, b.check(universe, directory)?);
                let (v, w) = (&one.1.vertex, &other.1.vertex);
                let shared = v.locks.iter().any(|lock| w.locks.contains(lock));
                contradicts(v.node == w.node && shared && one.0 != other.0, v.node)
            }
            Contradiction::TwoHeads(a, b) => {
                for signed in [a, b] {
                    let node = directory.node(&signed.head.node);
                    let key = node.and_then(|at| universe.nodes.get(at)).map(|n| n.key);
                    key.filter(|key| signed.verify(&directory.id, key).is_ok())
                        .ok_or(EvidenceError::Head)?;
                }
                let (one, other) = (&a.head, &b.head);
                let same_place = one.node == other.node
                    && (one.incarnation, one.size) == (other.incarnation, other.size);
                contradicts(same_place && one.root != other.root, one.node)
            }
        }
    }
}

impl Testimony {
    /// Checks the vote and gives the atom's id with what the vote says.
    fn check(
        &self,
        universe: &Universe,
        directory: &Directory,
    ) -> Result<(AtomId, crate::vote::Witness), EvidenceError> {
        let atom = Atom::from_bytes(&self.atom.0, &directory.id)?;
        atom.verify()?;
        Ok((atom.id(), self.vote.check(&atom, universe, directory)?))
    }
}

#[cfg(test)]
mod tests;
