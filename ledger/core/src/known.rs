//! Keys that sign often: a reader of a whole log meets the same few thousands of times.
//!
//! Responsible for the same answer as [`PublicKey::verify`], in a third of its time. What that costs is
//! memory and a millisecond for each key, so it is done for a bounded list that the caller names, and
//! only once a key has come up a few times.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::hash::Digest32;
use crate::keys::{KeyError, PublicKey, Signature, memory};
use crate::multiples::{self, Multiples};
use crate::universe::Universe;

/// Signatures of a key that are verified without its multiples.
/// Chosen: computing them takes about as long as twenty of these verifications.
const FEW: u32 = 20;

/// Most keys of a universe that are known to sign often.
/// Chosen: the nodes and authors of a large laboratory; they take 8 MB.
const OF_UNIVERSE_MAX: usize = 40;

/// A list of keys, each with what makes its signatures cheap to verify.
#[derive(Default)]
pub struct KnownKeys(BTreeMap<PublicKey, Known>);

struct Known {
    /// Made when it is first needed: a key may be of somebody who never says a word.
    parsed: OnceLock<Result<k256::ecdsa::VerifyingKey, KeyError>>,
    seen: AtomicU32,
    multiples: OnceLock<Multiples>,
}

impl KnownKeys {
    /// The keys of a list.
    pub fn of(keys: impl IntoIterator<Item = PublicKey>) -> KnownKeys {
        let known = |key: PublicKey| {
            let known = Known {
                parsed: OnceLock::new(),
                seen: AtomicU32::new(0),
                multiples: OnceLock::new(),
            };
            (key, known)
        };
        KnownKeys(keys.into_iter().map(known).collect())
    }

    /// The keys of a universe, nodes first: they sign most.
    pub fn of_universe(universe: &Universe) -> KnownKeys {
        let nodes = universe.nodes.iter().map(|node| node.key);
        let parties = universe.parties.iter().map(|party| party.key);
        KnownKeys::of(nodes.chain(parties).take(OF_UNIVERSE_MAX))
    }

    /// As [`PublicKey::verify`], also of a key that is not in the list.
    ///
    /// # Errors
    /// As there.
    pub fn verify(
        &self,
        key: &PublicKey,
        digest: &Digest32,
        signature: &Signature,
    ) -> Result<(), KeyError> {
        match self.0.get(key) {
            None => key.verify(digest, signature),
            Some(known) => memory::recall((*key, *digest, *signature), || {
                known.verify(key, digest, signature)
            }),
        }
    }
}

impl std::fmt::Debug for KnownKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Known {
    fn verify(
        &self,
        key: &PublicKey,
        digest: &Digest32,
        signature: &Signature,
    ) -> Result<(), KeyError> {
        let signature = signature.parsed()?;
        let key = self.parsed.get_or_init(|| key.parsed());
        let key = key.as_ref().map_err(|error| *error)?;
        let is_rare =
            self.multiples.get().is_none() && self.seen.fetch_add(1, Ordering::Relaxed) < FEW;
        if is_rare {
            return crate::keys::verify(key, digest, &signature);
        }
        let multiples = self
            .multiples
            .get_or_init(|| Multiples::of(&(*key.as_affine()).into()));
        match multiples::verifies(multiples, digest, &signature) {
            true => Ok(()),
            false => Err(KeyError::Verify),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::SecretKey;

    /// The order of the group, as a digest that stands for zero. Source: SEC 2, 2.4.1.
    fn order() -> Digest32 {
        let text = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        crate::hash::from_hex(text).unwrap().try_into().unwrap()
    }

    /// The other signature of the same statement, which is refused: s becomes n - s.
    fn high_s(signature: &Signature) -> Signature {
        let (r, s) = signature.parsed().unwrap().split_scalars();
        let high = k256::ecdsa::Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
        Signature(high.to_bytes().into())
    }

    /// A key that has been seen often enough, and whose multiples are there.
    fn often(key: PublicKey) -> KnownKeys {
        let known = KnownKeys::of([key]);
        for _ in 0..=FEW {
            // What it says does not matter here.
            let _ = known.verify(&key, &[1; 32], &Signature([1; 64]));
        }
        assert!(known.0[&key].multiples.get().is_some());
        known
    }

    #[test]
    fn a_key_gets_its_multiples_once_it_has_signed_more_than_a_few_times() {
        let secret = SecretKey::from_seed(&[7; 32]);
        let key = secret.public();
        let known = KnownKeys::of([key]);
        let signature = secret.sign(&[1; 32]).unwrap();
        for n in 0..=FEW {
            let has = known.0[&key].multiples.get().is_some();
            assert!(!has, "after {n}");
            assert_eq!(known.verify(&key, &[1; 32], &signature), Ok(()));
        }
        assert!(known.0[&key].multiples.get().is_some());
    }

    proptest! {
        // Each case computes the multiples of a key.
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_known_key_says_of_any_signature_what_the_library_says(
            seed in any::<[u8; 32]>(),
            digests in prop::collection::vec(any::<[u8; 32]>(), 1..4),
            at in any::<prop::sample::Index>(),
            xor in 0u8..4,
            arbitrary in any::<[u8; 32]>(),
        ) {
            let secret = SecretKey::from_seed(&seed);
            let key = secret.public();
            let known = often(key);
            let edges = [[0; 32], [0xff; 32], order()];
            for digest in digests.into_iter().chain(edges) {
                let good = secret.sign(&digest).unwrap();
                prop_assert_eq!(known.verify(&key, &digest, &good), Ok(()));
                let mut changed = good;
                changed.0[at.index(64)] ^= xor;
                let mut foreign = good;
                foreign.0[32..].copy_from_slice(&arbitrary);
                let mut low = good;
                low.0[..31].fill(0);
                let none = [Signature([0; 64]), Signature([0xff; 64])];
                for signature in [changed, foreign, low, high_s(&good), none[0], none[1]] {
                    prop_assert_eq!(
                        known.verify(&key, &digest, &signature),
                        key.verify(&digest, &signature)
                    );
                }
            }
        }
    }

    #[test]
    fn a_key_that_is_no_point_or_not_in_the_list_is_judged_like_any_other() {
        let (secret, other) = (
            SecretKey::from_seed(&[7; 32]),
            SecretKey::from_seed(&[8; 32]),
        );
        let good = secret.sign(&[1; 32]).unwrap();
        let none = PublicKey([0; 33]);
        let known = KnownKeys::of([none, other.public()]);
        for (key, expected) in [
            (secret.public(), Ok(())),
            (other.public(), Err(KeyError::Verify)),
            (none, Err(KeyError::PublicKey)),
        ] {
            assert_eq!(known.verify(&key, &[1; 32], &good), expected);
        }
    }
}
