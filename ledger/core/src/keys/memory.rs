//! What this thread has verified already, for whoever runs many nodes in one process.
//!
//! Whether a signature holds depends on key, digest and signature alone, so what was
//! found once is found again. A node meets each signature once and needs no memory;
//! in a simulation every node meets those of all others. There is a memory only
//! inside of [`remembering`], of this thread alone, and it is gone afterwards.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::{KeyError, PublicKey, Signature};
use crate::hash::Digest32;

/// What is claimed: that this key has signed this digest so.
type Claim = (PublicKey, Digest32, Signature);

/// What was found, by what was claimed.
type Found = BTreeMap<Claim, Result<(), KeyError>>;

thread_local! {
    static FOUND: RefCell<Option<Found>> = const { RefCell::new(None) };
}

/// Puts back what was there before, also when the work panics.
struct Before(Option<Found>);

impl Drop for Before {
    fn drop(&mut self) {
        FOUND.set(self.0.take());
    }
}

/// Does `work` with a memory of its own: no signature is verified twice in it, and
/// those that are made in it hold.
pub fn remembering<T>(work: impl FnOnce() -> T) -> T {
    let _before = Before(FOUND.replace(Some(Found::new())));
    work()
}

/// Whether a claim holds: out of the memory, or by `verify`.
pub(crate) fn recall(
    claim: Claim,
    verify: impl FnOnce() -> Result<(), KeyError>,
) -> Result<(), KeyError> {
    let known = FOUND.with_borrow(|found| Some(found.as_ref()?.get(&claim).copied()));
    match known {
        None => verify(),
        Some(Some(result)) => result,
        Some(None) => {
            let result = verify();
            note(|| claim, result);
            result
        }
    }
}

/// Notes what was found about a claim, where there is a memory.
pub(super) fn note(claim: impl FnOnce() -> Claim, result: Result<(), KeyError>) {
    FOUND.with_borrow_mut(|found| {
        if let Some(found) = found {
            found.insert(claim(), result);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SecretKey;

    #[test]
    fn a_memory_answers_as_a_verification_does_and_is_gone_afterwards() {
        let key = SecretKey::from_seed(&[7; 32]);
        let (public, other) = (key.public(), SecretKey::from_seed(&[8; 32]).public());
        let answers = || {
            let good = key.sign(&[1; 32]).unwrap();
            let mut bad = good;
            bad.0[3] ^= 1;
            // Twice: by verification, and out of the memory where there is one.
            [(); 2].map(|()| {
                [
                    public.verify(&[1; 32], &good),
                    public.verify(&[2; 32], &good),
                    public.verify(&[1; 32], &bad),
                    other.verify(&[1; 32], &good),
                    PublicKey([0; 33]).verify(&[1; 32], &good),
                ]
            })
        };
        let plain = answers();
        assert!(plain[0][0].is_ok() && plain[0][1..].iter().all(Result::is_err));
        assert_eq!(remembering(answers), plain);
        let is_there = || FOUND.with_borrow(Option::is_some);
        assert!(!is_there());
        let panicked = std::panic::catch_unwind(|| remembering(|| panic!("on purpose")));
        assert!(panicked.is_err() && !is_there());
    }

    #[test]
    fn what_was_verified_in_a_memory_is_not_verified_again() {
        let key = SecretKey::from_seed(&[7; 32]);
        let claim = (key.public(), [1; 32], key.sign(&[1; 32]).unwrap());
        remembering(|| {
            let mut times = 0;
            for _ in 0..3 {
                let found = recall(claim, || {
                    times += 1;
                    Err(KeyError::Verify)
                });
                assert_eq!(found, Err(KeyError::Verify));
            }
            assert_eq!(times, 1);
        });
    }
}
