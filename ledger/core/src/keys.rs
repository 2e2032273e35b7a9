//! Keys and signatures: ECDSA over secp256k1 on a SHA3-256 prehash.
//!
//! RFC 6979 makes signing deterministic, so the same statement always gets the
//! same 64 bytes and a seeded run can be replayed. Only low-S signatures are
//! accepted, so a signature has one form. This module does not draw randomness:
//! the caller gives it the bytes.

pub(crate) mod memory;

use k256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use sha3::{Digest, Sha3_256};
use thiserror::Error;

use crate::hash::{Digest32, fixed_bytes};
use crate::multiples;

pub use memory::remembering;

/// Why a key or a signature is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The bytes are zero or not below the order of the group.
    #[error("the 32 bytes are not a secret key of secp256k1")]
    SecretKey,
    /// The bytes are not a compressed point of the curve.
    #[error("the 33 bytes are not a public key of secp256k1")]
    PublicKey,
    /// The 64 bytes are not a pair of scalars.
    #[error("the 64 bytes are not a signature of secp256k1")]
    Signature,
    /// The signature is not by this key over this digest, or not low-S.
    #[error("the signature does not verify")]
    Verify,
    /// The signing library refused the digest.
    #[error("the digest cannot be signed")]
    Sign,
}

/// A secret key. It is wiped when dropped and never printed.
#[derive(Clone)]
pub struct SecretKey {
    key: k256::ecdsa::SigningKey,
    /// Whether who knows a seed has it, too: then the time that signing takes gives nothing away.
    is_open: bool,
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

impl SecretKey {
    /// The key whose scalar is `bytes`, for keys that come from storage or from
    /// the operating system's entropy.
    ///
    /// # Errors
    /// Zero, or not below the order of the group (chance 2^-128).
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<SecretKey, KeyError> {
        let key = k256::ecdsa::SigningKey::from_slice(bytes).map_err(|_| KeyError::SecretKey)?;
        Ok(SecretKey {
            key,
            is_open: false,
        })
    }

    /// A key from a seed, for virtual time: the same seed gives the same key.
    ///
    /// Never use it on a bench: who knows the seed can sign. It signs sooner than other
    /// keys, in a time that depends on the key.
    pub fn from_seed(seed: &[u8; 32]) -> SecretKey {
        let mut candidate: Digest32 = *seed;
        // A digest is a valid scalar except with chance 2^-128, so this ends.
        loop {
            let hashed = Sha3_256::new()
                .chain_update(b"gridrig/seed/1")
                .chain_update(candidate);
            candidate = hashed.finalize().into();
            if let Ok(key) = SecretKey::from_bytes(&candidate) {
                return SecretKey {
                    is_open: true,
                    ..key
                };
            }
        }
    }

    /// The scalar, for the key file of a node.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.key.to_bytes().into()
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        let point = self.key.verifying_key().to_sec1_point(true);
        let mut bytes = [0; 33];
        bytes.copy_from_slice(point.as_bytes());
        PublicKey(bytes)
    }

    /// Signs a digest that was made with [`crate::hash::tagged`].
    ///
    /// # Errors
    /// [`KeyError::Sign`]; no digest is known to cause it.
    pub fn sign(&self, digest: &Digest32) -> Result<Signature, KeyError> {
        let openly = self.is_open.then(|| {
            let scalar = self.key.as_nonzero_scalar();
            multiples::sign_openly(scalar, digest)
        });
        let signature = match openly.flatten() {
            Some(signature) => signature,
            None => {
                let signed: Result<k256::ecdsa::Signature, _> = self.key.sign_prehash(digest);
                signed.map_err(|_| KeyError::Sign)?
            }
        };
        let signature = Signature(signature.to_bytes().into());
        memory::note(|| (self.public(), *digest, signature), Ok(()));
        Ok(signature)
    }
}

fixed_bytes! {
    /// A compressed public key (SEC 1), not yet checked to be on the curve.
    PublicKey(33) "33 bytes, a compressed public key";
    /// A signature, r then s, each 32 bytes big-endian.
    Signature(64) "64 bytes, a signature";
}

/// DER of a SubjectPublicKeyInfo (RFC 5480) up to the compressed point:
/// id-ecPublicKey 1.2.840.10045.2.1 with the named curve 1.3.132.0.10.
const SPKI_PREFIX: [u8; 23] = [
    0x30, 0x36, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
    0x81, 0x04, 0x00, 0x0a, 0x03, 0x22, 0x00,
];

impl PublicKey {
    /// Says whether the bytes are a point of the curve.
    ///
    /// # Errors
    /// [`KeyError::PublicKey`] when they are not.
    pub fn check(&self) -> Result<(), KeyError> {
        self.parsed().map(|_| ())
    }

    pub(crate) fn parsed(&self) -> Result<k256::ecdsa::VerifyingKey, KeyError> {
        k256::ecdsa::VerifyingKey::from_sec1_bytes(&self.0).map_err(|_| KeyError::PublicKey)
    }

    /// Verifies a signature over a digest.
    ///
    /// # Errors
    /// A malformed key or signature, or one that does not verify.
    pub fn verify(&self, digest: &Digest32, signature: &Signature) -> Result<(), KeyError> {
        memory::recall((*self, *digest, *signature), || {
            let signature = signature.parsed()?;
            verify(&self.parsed()?, digest, &signature)
        })
    }

    /// The key as a DER SubjectPublicKeyInfo, for other tools.
    pub fn to_spki_der(&self) -> Vec<u8> {
        [&SPKI_PREFIX[..], &self.0].concat()
    }
}

/// Verifies by a key that was parsed.
pub(crate) fn verify(
    key: &k256::ecdsa::VerifyingKey,
    digest: &Digest32,
    signature: &k256::ecdsa::Signature,
) -> Result<(), KeyError> {
    key.verify_prehash(digest, signature)
        .map_err(|_| KeyError::Verify)
}

impl Signature {
    pub(crate) fn parsed(&self) -> Result<k256::ecdsa::Signature, KeyError> {
        k256::ecdsa::Signature::from_slice(&self.0).map_err(|_| KeyError::Signature)
    }

    /// The signature as ASN.1 DER, for other tools.
    ///
    /// # Errors
    /// [`KeyError::Signature`] when the bytes are not two scalars.
    pub fn to_der(&self) -> Result<Vec<u8>, KeyError> {
        Ok(self.parsed()?.to_der().as_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_same_seed_and_digest_give_the_same_signature() {
        let key = SecretKey::from_seed(&[7; 32]);
        let again = SecretKey::from_bytes(&key.to_bytes()).unwrap();
        assert_eq!(key.sign(&[1; 32]).unwrap(), again.sign(&[1; 32]).unwrap());
        assert_ne!(key.public(), SecretKey::from_seed(&[8; 32]).public());
    }

    proptest! {
        #[test]
        fn a_key_from_a_seed_signs_as_any_other_key_does(
            seed in any::<[u8; 32]>(),
            digest in any::<[u8; 32]>(),
        ) {
            let open = SecretKey::from_seed(&seed);
            let closed = SecretKey::from_bytes(&open.to_bytes()).unwrap();
            prop_assert!(open.is_open && !closed.is_open);
            for digest in [digest, [0; 32], [0xff; 32]] {
                prop_assert!(multiples::sign_openly(open.key.as_nonzero_scalar(), &digest).is_some());
                prop_assert_eq!(open.sign(&digest).unwrap(), closed.sign(&digest).unwrap());
            }
        }
    }

    #[test]
    fn a_signature_is_refused_for_another_digest_key_or_form() {
        let key = SecretKey::from_seed(&[7; 32]);
        let good = key.sign(&[1; 32]).unwrap();
        let public = key.public();
        let check = |public: &PublicKey, digest, signature: &Signature, expected| {
            assert_eq!(public.verify(&digest, signature), expected);
        };
        check(&public, [1; 32], &good, Ok(()));
        check(&public, [2; 32], &good, Err(KeyError::Verify));
        check(
            &SecretKey::from_seed(&[8; 32]).public(),
            [1; 32],
            &good,
            Err(KeyError::Verify),
        );
        check(
            &PublicKey([0; 33]),
            [1; 32],
            &good,
            Err(KeyError::PublicKey),
        );
        check(
            &public,
            [1; 32],
            &Signature([0; 64]),
            Err(KeyError::Signature),
        );
        check(&public, [1; 32], &high_s(&good), Err(KeyError::Verify));
    }

    /// The other valid ECDSA signature of the same statement: s becomes n - s.
    fn high_s(signature: &Signature) -> Signature {
        let parsed = k256::ecdsa::Signature::from_slice(&signature.0).unwrap();
        let (r, s) = parsed.split_scalars();
        let high = k256::ecdsa::Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
        assert_ne!(high.to_bytes(), parsed.to_bytes());
        Signature(high.to_bytes().into())
    }

    #[test]
    fn zero_and_the_order_of_the_group_are_not_secret_keys() {
        assert_eq!(
            SecretKey::from_bytes(&[0; 32]).unwrap_err(),
            KeyError::SecretKey
        );
        assert_eq!(
            SecretKey::from_bytes(&[0xff; 32]).unwrap_err(),
            KeyError::SecretKey
        );
    }

    #[test]
    fn a_secret_key_does_not_print_its_scalar() {
        let key = SecretKey::from_seed(&[7; 32]);
        assert!(!format!("{key:?}").contains(&crate::hash::hex(&key.to_bytes())));
    }
}
