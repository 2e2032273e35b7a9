//! Atoms: signed statements with a place in their author's sequence.
//!
//! An atom is its body and the signatures over it. The [`AtomId`] is the tagged
//! hash of the body bytes alone and is at the same time the digest that is
//! signed. The bytes that were received are the bytes that are hashed and
//! stored; they are accepted only if they are canonical.

use thiserror::Error;

use crate::address::Address;
use crate::cbor::Value;
use crate::credit;
use crate::hash::{AtomId, Digest32, Tag, UniverseId, preimage, tagged};
use crate::hlc::{ClockQuality, Hlc};
use crate::keys::{KeyError, PublicKey, SecretKey, Signature};
use crate::known::KnownKeys;
use crate::particle::{PARTICLES_MAX, Particle};
use crate::payload::{Kind, Payload};
use crate::record::{Field, SchemaError, Shown, next_field, open_record};

/// The only body version there is.
pub const BODY_VERSION: u64 = 1;

/// Most destinations of an atom (ledger design 2.2).
pub const DESTINATIONS_MAX: usize = 16;

/// Most dependencies of an atom (ledger design 2.2).
pub const DEPENDENCIES_MAX: usize = 64;

/// Most signatures of an atom.
/// Chosen: one per destination is the most that any rule could ask for.
pub const SIGNATURES_MAX: usize = 16;

/// Number of fields of a body on the wire; payload and kind count apart.
const BODY_FIELDS: usize = 14;

/// What an atom says, who says it and after what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The universe in which it is said.
    pub universe: UniverseId,
    /// The configuration epoch; 0 is the genesis.
    pub config_epoch: u64,
    /// Who says it.
    pub author: Address,
    /// Number in the author's sequence, from 1.
    pub author_seq: u64,
    /// The author's previous atom; absent for the first.
    pub prev: Option<AtomId>,
    /// Where it belongs: sorted, unique, 1 to [`DESTINATIONS_MAX`].
    pub destinations: Vec<Address>,
    /// What it depends on: sorted, unique, at most [`DEPENDENCIES_MAX`].
    pub deps: Vec<AtomId>,
    /// When it was said.
    pub hlc: Hlc,
    /// How far that time may be trusted.
    pub clock_quality: ClockQuality,
    /// What it creates and consumes.
    pub particles: Vec<Particle>,
    /// What it says.
    pub payload: Payload,
    /// When it expires, in nanoseconds since the Unix epoch, UTC.
    pub expiry_utc_ns: Option<i64>,
}

impl Body {
    /// The kind of the atom.
    pub fn kind(&self) -> Kind {
        self.payload.kind()
    }

    fn check(&self) -> Result<(), SchemaError> {
        let sorted_ids = self.deps.is_sorted_by(|a, b| a < b);
        let sorted_addresses = self.destinations.is_sorted_by(|a, b| a < b);
        let rules = [
            (sorted_addresses, "Destinations are sorted and unique."),
            (
                (1..=DESTINATIONS_MAX).contains(&self.destinations.len()),
                "There are 1 to 16 destinations.",
            ),
            (sorted_ids, "Dependencies are sorted and unique."),
            (
                self.deps.len() <= DEPENDENCIES_MAX,
                "There are at most 64 dependencies.",
            ),
            (
                self.particles.len() <= PARTICLES_MAX,
                "There are at most 64 particles.",
            ),
            (
                credit::is_attested(self),
                "A meter reading puts up what it has metered or nothing, and nobody else does.",
            ),
            (self.author_seq >= 1, "An author's sequence begins at 1."),
            (
                (self.author_seq == 1) == self.prev.is_none(),
                "Exactly the first atom has no predecessor.",
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(SchemaError::Rule { rule }),
            None => Ok(()),
        }
    }
}

impl Field for Body {
    fn to_value(&self) -> Value {
        Value::Array(vec![
            BODY_VERSION.to_value(),
            self.universe.to_value(),
            self.config_epoch.to_value(),
            self.kind().to_value(),
            self.author.to_value(),
            self.author_seq.to_value(),
            self.prev.to_value(),
            self.destinations.to_value(),
            self.deps.to_value(),
            self.hlc.to_value(),
            self.clock_quality.to_value(),
            self.particles.to_value(),
            self.payload.to_value(),
            self.expiry_utc_ns.to_value(),
        ])
    }

    fn from_value(value: Value) -> Result<Self, SchemaError> {
        const RECORD: &str = "Body";
        let items = &mut open_record(value, RECORD, BODY_FIELDS)?;
        if next_field::<u64>(items, RECORD, "version")? != BODY_VERSION {
            return Err(SchemaError::Rule {
                rule: "The body version is 1.",
            });
        }
        let universe = next_field(items, RECORD, "universe_id")?;
        let config_epoch = next_field(items, RECORD, "config_epoch")?;
        let kind: Kind = next_field(items, RECORD, "kind")?;
        let body = Body {
            universe,
            config_epoch,
            author: next_field(items, RECORD, "author")?,
            author_seq: next_field(items, RECORD, "author_seq")?,
            prev: next_field(items, RECORD, "prev")?,
            destinations: next_field(items, RECORD, "destinations")?,
            deps: next_field(items, RECORD, "deps")?,
            hlc: next_field(items, RECORD, "hlc")?,
            clock_quality: next_field(items, RECORD, "clock_quality")?,
            particles: next_field(items, RECORD, "particles")?,
            payload: Payload::from_value(
                kind,
                items.next().ok_or(SchemaError::Expected {
                    expected: "a payload",
                })?,
            )
            .map_err(|e| SchemaError::InField {
                record: RECORD,
                field: "payload",
                source: Box::new(e),
            })?,
            expiry_utc_ns: next_field(items, RECORD, "expiry")?,
        };
        body.check()?;
        Ok(body)
    }

    fn shown(&self) -> Shown {
        Shown::Record(vec![
            ("config_epoch", self.config_epoch.shown()),
            ("author", self.author.shown()),
            ("author_seq", self.author_seq.shown()),
            ("prev", self.prev.shown()),
            ("destinations", self.destinations.shown()),
            ("deps", self.deps.shown()),
            ("hlc", self.hlc.shown()),
            ("clock_quality", self.clock_quality.shown()),
            ("particles", self.particles.shown()),
            ("payload", self.payload.shown()),
            ("expiry_utc_ns", self.expiry_utc_ns.shown()),
        ])
    }
}

record! {
    /// A signature with the key that made it.
    Signed {
        /// The key.
        key: PublicKey,
        /// The signature over the atom's id.
        signature: Signature,
    }
}

record! {
    /// The two parts of an atom on the wire.
    AtomParts {
        /// Canonical bytes of the body.
        body: crate::record::Opaque,
        /// Signatures, sorted by key.
        sigs: Vec<Signed>,
    }
}

/// Why bytes are not an atom of a universe.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AtomError {
    /// The bytes do not match the schema.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The body names another universe.
    #[error("the atom is of universe {found}")]
    Universe {
        /// The universe that the body names.
        found: UniverseId,
    },
    /// The list of signatures is empty, too long, unsorted, or has one key twice.
    #[error("signatures are 1 to {SIGNATURES_MAX}, sorted by key, one per key")]
    SignatureList,
    /// No signature is by the author.
    #[error("the author {author} did not sign")]
    AuthorMissing {
        /// The author.
        author: Address,
    },
    /// A signature does not verify.
    #[error("the signature by {key}: {source}")]
    Signature {
        /// The key.
        key: PublicKey,
        /// What is wrong.
        source: KeyError,
    },
}

fn check_list(sigs: &[Signed]) -> Result<(), AtomError> {
    let is_sorted = sigs.is_sorted_by(|a, b| a.key < b.key);
    match is_sorted && (1..=SIGNATURES_MAX).contains(&sigs.len()) {
        true => Ok(()),
        false => Err(AtomError::SignatureList),
    }
}

/// Verifies a list of signatures over an atom, and that the author's is in it.
pub(crate) fn verify_signatures(
    universe: &UniverseId,
    id: &AtomId,
    author: &Address,
    sigs: &[Signed],
    verify: impl Fn(&PublicKey, &Digest32, &Signature) -> Result<(), KeyError>,
) -> Result<(), AtomError> {
    check_list(sigs)?;
    let mut keys = sigs.iter().map(|signed| &signed.key);
    if !keys.any(|key| Address::of_key(universe, key) == *author) {
        return Err(AtomError::AuthorMissing { author: *author });
    }
    for Signed { key, signature } in sigs {
        let verified = verify(key, &id.0, signature);
        verified.map_err(|source| AtomError::Signature { key: *key, source })?;
    }
    Ok(())
}

/// A signed statement. Its parts are private: what is inside was canonical.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Atom {
    id: AtomId,
    body_bytes: Vec<u8>,
    body: Body,
    sigs: Vec<Signed>,
}

impl Atom {
    /// Signs a body by its author.
    ///
    /// # Errors
    /// A body that breaks a rule or a limit, or a key that is not the author's.
    pub fn sign(body: Body, key: &SecretKey) -> Result<Atom, AtomError> {
        let body_bytes = body.to_bytes().map_err(SchemaError::from)?;
        // Reading it back applies every rule of the schema to our own writing.
        let body = Body::from_bytes(&body_bytes)?;
        let public = key.public();
        if Address::of_key(&body.universe, &public) != body.author {
            return Err(AtomError::AuthorMissing {
                author: body.author,
            });
        }
        let id = AtomId(tagged(Tag::Atom, &body.universe, &[&body_bytes]));
        let signature = key.sign(&id.0).map_err(|source| AtomError::Signature {
            key: public,
            source,
        })?;
        Ok(Atom {
            id,
            body_bytes,
            body,
            sigs: vec![Signed {
                key: public,
                signature,
            }],
        })
    }

    /// Reads an atom of `universe`. Signatures are listed properly, but not yet
    /// verified: see [`Atom::verify`].
    ///
    /// # Errors
    /// Bytes that are not canonical, not in the schema, or of another universe.
    pub fn from_bytes(bytes: &[u8], universe: &UniverseId) -> Result<Atom, AtomError> {
        let parts = AtomParts::from_bytes(bytes)?;
        let body = Body::from_bytes(&parts.body.0)?;
        if body.universe != *universe {
            return Err(AtomError::Universe {
                found: body.universe,
            });
        }
        check_list(&parts.sigs)?;
        let id = AtomId(tagged(Tag::Atom, universe, &[&parts.body.0]));
        Ok(Atom {
            id,
            body_bytes: parts.body.0,
            body,
            sigs: parts.sigs,
        })
    }

    /// The canonical bytes of body and signatures.
    ///
    /// # Errors
    /// Longer than the limit of the encoding.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SchemaError> {
        self.bytes_with(&self.sigs)
    }

    /// Verifies every signature and that the author's is among them.
    ///
    /// # Errors
    /// The first signature that does not verify.
    pub fn verify(&self) -> Result<(), AtomError> {
        self.verified_by(PublicKey::verify)
    }

    /// As [`Atom::verify`], where some keys are known to sign often.
    ///
    /// # Errors
    /// As there.
    pub fn verify_by(&self, known: &KnownKeys) -> Result<(), AtomError> {
        self.verified_by(|key, digest, signature| known.verify(key, digest, signature))
    }

    fn verified_by(
        &self,
        verify: impl Fn(&PublicKey, &Digest32, &Signature) -> Result<(), KeyError>,
    ) -> Result<(), AtomError> {
        let (universe, author) = (&self.body.universe, &self.body.author);
        verify_signatures(universe, &self.id, author, &self.sigs, verify)
    }

    /// Adds a signature by another key, or replaces the one by the same key.
    ///
    /// # Errors
    /// The key refuses to sign, or there would be too many signatures.
    pub fn cosign(&mut self, key: &SecretKey) -> Result<(), AtomError> {
        let public = key.public();
        let signature = key
            .sign(&self.id.0)
            .map_err(|source| AtomError::Signature {
                key: public,
                source,
            })?;
        self.sigs.retain(|signed| signed.key != public);
        if self.sigs.len() == SIGNATURES_MAX {
            return Err(AtomError::SignatureList);
        }
        let at = self.sigs.partition_point(|signed| signed.key < public);
        self.sigs.insert(
            at,
            Signed {
                key: public,
                signature,
            },
        );
        Ok(())
    }

    /// The canonical bytes with these signatures in place of its own.
    ///
    /// # Errors
    /// Longer than the limit of the encoding.
    pub fn bytes_with(&self, sigs: &[Signed]) -> Result<Vec<u8>, SchemaError> {
        let parts = AtomParts {
            body: crate::record::Opaque(self.body_bytes.clone()),
            sigs: sigs.to_vec(),
        };
        Ok(parts.to_bytes()?)
    }

    /// The id.
    pub fn id(&self) -> AtomId {
        self.id
    }

    /// The body.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The canonical bytes of the body.
    pub fn body_bytes(&self) -> &[u8] {
        &self.body_bytes
    }

    /// The signatures, sorted by key.
    pub fn sigs(&self) -> &[Signed] {
        &self.sigs
    }

    /// The bytes whose plain SHA3-256 is the id, for other tools.
    pub fn signed_preimage(&self) -> Vec<u8> {
        preimage(Tag::Atom, &self.body.universe, &self.body_bytes)
    }
}

#[cfg(test)]
mod tests;
