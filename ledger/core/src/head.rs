//! Tree heads: a node's signed commitment to all its entries so far.
//!
//! A head closes each batch. It names the previous head, so that the heads form
//! a chain of their own. The last head of a run that ended in good order is
//! marked closed, so that removing the end of the log is seen.

use crate::address::Address;
use crate::hash::{Digest32, HeadId, Tag, UniverseId, VertexId, tagged};
use crate::hlc::Hlc;
use crate::keys::{KeyError, PublicKey, SecretKey, Signature};
use crate::known::KnownKeys;
use crate::record::{Field, SchemaError};

record! {
    /// What a node commits to.
    Head {
        /// The node.
        node: Address,
        /// Which life of the node this is.
        incarnation: u64,
        /// Number of entries; the logical clock of the last one.
        size: u64,
        /// Root over the entries.
        root: Digest32,
        /// The last vertex.
        last_vertex: VertexId,
        /// The node's previous head.
        prev: HeadId,
        /// When the head was made.
        hlc: Hlc,
        /// Whether the node closed the log in good order here.
        closed: bool,
    }
}

record! {
    /// A head with the node's signature over its id.
    SignedHead {
        /// The head.
        head: Head,
        /// The signature.
        signature: Signature,
    }
}

impl Head {
    /// The id, which is the digest that is signed.
    ///
    /// # Errors
    /// Over a limit of the encoding; a head never is.
    pub fn id(&self, universe: &UniverseId) -> Result<HeadId, SchemaError> {
        Ok(HeadId(tagged(Tag::Head, universe, &[&self.to_bytes()?])))
    }
}

impl SignedHead {
    /// Signs a head.
    ///
    /// # Errors
    /// The key refuses to sign.
    pub fn sign(
        head: Head,
        universe: &UniverseId,
        key: &SecretKey,
    ) -> Result<SignedHead, KeyError> {
        let id = head.id(universe).map_err(|_| KeyError::Sign)?;
        Ok(SignedHead {
            signature: key.sign(&id.0)?,
            head,
        })
    }

    /// Verifies the signature by the node's key.
    ///
    /// # Errors
    /// See [`PublicKey::verify`].
    pub fn verify(&self, universe: &UniverseId, key: &PublicKey) -> Result<(), KeyError> {
        let id = self.head.id(universe).map_err(|_| KeyError::Verify)?;
        key.verify(&id.0, &self.signature)
    }

    /// As [`SignedHead::verify`], where some keys are known to sign often.
    ///
    /// # Errors
    /// As there.
    pub fn verify_by(
        &self,
        known: &KnownKeys,
        universe: &UniverseId,
        key: &PublicKey,
    ) -> Result<(), KeyError> {
        let id = self.head.id(universe).map_err(|_| KeyError::Verify)?;
        known.verify(key, &id.0, &self.signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_changed_byte_of_a_head_is_refused(at in any::<prop::sample::Index>(), xor in 1u8..) {
            let (universe, key) = (UniverseId([1; 32]), SecretKey::from_seed(&[1; 32]));
            let head = Head {
                node: Address::of_key(&universe, &key.public()),
                incarnation: 0,
                size: 1000,
                root: [1; 32],
                last_vertex: VertexId([2; 32]),
                prev: HeadId([3; 32]),
                hlc: Hlc(77),
                closed: true,
            };
            let signed = SignedHead::sign(head, &universe, &key).unwrap();
            prop_assert_eq!(signed.verify(&universe, &key.public()), Ok(()));
            let mut bytes = signed.to_bytes().unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= xor;
            if let Ok(changed) = SignedHead::from_bytes(&bytes) {
                prop_assert!(changed.verify(&universe, &key.public()).is_err());
            }
        }
    }
}
