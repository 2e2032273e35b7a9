//! Multiples of a point of the curve, computed once, so that multiplying it is a few dozen additions.
//!
//! Responsible for what is public: verifying signatures of keys that sign often, and signing with
//! a key that everybody can compute (see [`crate::keys::SecretKey::from_seed`]). Which multiples
//! are looked up, and so the time it takes, depends on the scalar. It is *not* for the
//! scalars of a secret key: those are the business of `k256`, in constant time.
//!
//! Terms: a scalar is cut into *windows* of [`WINDOW_BITS`]; the *digit* of a window is signed,
//! so that half of the multiples are enough.

use std::sync::LazyLock;

use k256::elliptic_curve::ops::Reduce;
use k256::elliptic_curve::point::AffineCoordinates;
use k256::elliptic_curve::scalar::IsHigh;
use k256::elliptic_curve::{BatchNormalize, Curve, PrimeField};
use k256::sha2::Sha256;
use k256::{AffinePoint, FieldBytes, ProjectivePoint, Scalar, Secp256k1, U256};

use crate::hash::Digest32;

/// Bits of a window.
/// Chosen: of 5 to 8 the one with the shortest verification, its tables still inside a core's own cache:
/// 37 additions out of 208 KiB for a point.
const WINDOW_BITS: usize = 7;

/// Windows of a scalar of 256 bits, and room for the carry of the last one.
const WINDOWS: usize = 256 / WINDOW_BITS + 1;

/// The largest digit; the smallest is its negative plus one.
const DIGIT_MAX: usize = 1 << (WINDOW_BITS - 1);

/// The multiples of one point: of each window, from one times to [`DIGIT_MAX`] times.
pub(crate) struct Multiples(Vec<AffinePoint>);

/// Those of the generator: half of every verification.
static OF_GENERATOR: LazyLock<Multiples> =
    LazyLock::new(|| Multiples::of(&ProjectivePoint::GENERATOR));

impl Multiples {
    /// Computes those of a point.
    pub(crate) fn of(point: &ProjectivePoint) -> Multiples {
        let mut all = Vec::with_capacity(WINDOWS * DIGIT_MAX);
        let mut unit = *point;
        for _ in 0..WINDOWS {
            let mut multiple = unit;
            for _ in 0..DIGIT_MAX {
                all.push(multiple);
                multiple += unit;
            }
            // The last one pushed was DIGIT_MAX times the unit, and a window is twice as wide.
            unit = multiple - unit;
            unit = unit.double();
        }
        Multiples(ProjectivePoint::batch_normalize(all.as_slice()))
    }

    /// Adds `scalar` times the point to a sum.
    fn add_times(&self, scalar: &Scalar, sum: &mut ProjectivePoint) {
        let words = words_of(scalar);
        let mut carry = 0;
        for (window, multiples) in self.0.chunks_exact(DIGIT_MAX).enumerate() {
            let digit = bits(&words, window * WINDOW_BITS) + carry;
            carry = usize::from(digit > DIGIT_MAX);
            match (digit, carry) {
                (0, _) => {}
                (digit, 0) => *sum += multiples[digit - 1],
                (digit, _) => {
                    let below = (1 << WINDOW_BITS) - digit;
                    if below > 0 {
                        *sum -= multiples[below - 1];
                    }
                }
            }
        }
    }
}

/// The scalar as words, the least first, and a word of zeros behind.
fn words_of(scalar: &Scalar) -> [u64; 5] {
    let bytes = scalar.to_bytes();
    let mut words = [0; 5];
    for (word, bytes) in words.iter_mut().zip(bytes.rchunks_exact(8)) {
        for byte in bytes {
            *word = *word << 8 | u64::from(*byte);
        }
    }
    words
}

/// The bits of a window that begins at bit `at`.
fn bits(words: &[u64; 5], at: usize) -> usize {
    let (word, shift) = (at / 64, at % 64);
    let low = words[word] >> shift;
    let high = match shift {
        0 => 0,
        shift => words.get(word + 1).map_or(0, |next| next << (64 - shift)),
    };
    // A window is a few bits wide.
    (low | high) as usize & ((1 << WINDOW_BITS) - 1)
}

/// The number that a digest or a coordinate stands for, below the order of the group.
fn scalar_of(bytes: &FieldBytes) -> Scalar {
    <Scalar as Reduce<FieldBytes>>::reduce(bytes)
}

/// Its coordinates, in a time that may depend on them.
fn affine(point: ProjectivePoint) -> AffinePoint {
    let [affine] = ProjectivePoint::batch_normalize_vartime(&[point]);
    affine
}

/// Whether a signature over a digest is by the key whose multiples these are, and low-S.
/// As SEC 1, 4.1.4, does it.
pub(crate) fn verifies(
    key: &Multiples,
    digest: &Digest32,
    signature: &k256::ecdsa::Signature,
) -> bool {
    let (r, s) = signature.split_scalars();
    if bool::from(s.is_high()) {
        return false;
    }
    let inverse = Option::<Scalar>::from(s.invert_vartime());
    let Some(inverse) = inverse else {
        return false;
    };
    let mut point = ProjectivePoint::IDENTITY;
    OF_GENERATOR.add_times(&(scalar_of(&(*digest).into()) * inverse), &mut point);
    key.add_times(&(*r * inverse), &mut point);
    scalar_of(&affine(point).x()) == *r
}

/// Signs a digest with a key that is no secret: the very bytes of RFC 6979 that `k256` makes, sooner.
/// `None` where a number came out as zero, which no digest is known to cause.
pub(crate) fn sign_openly(key: &Scalar, digest: &Digest32) -> Option<k256::ecdsa::Signature> {
    let order = Secp256k1::ORDER;
    let mut nonce = FieldBytes::default();
    rfc6979::KGenerator::<Sha256, U256>::new(&key.to_bytes(), digest, &[], &order)
        .fill_next_k(&mut nonce);
    let nonce = Option::<Scalar>::from(Scalar::from_repr(nonce))?;
    let inverse = Option::<Scalar>::from(nonce.invert_vartime())?;
    let mut point = ProjectivePoint::IDENTITY;
    OF_GENERATOR.add_times(&nonce, &mut point);
    let r = scalar_of(&affine(point).x());
    let s = inverse * (scalar_of(&(*digest).into()) + r * key);
    let signature = k256::ecdsa::Signature::from_scalars(r, s).ok()?;
    Some(signature.normalize_s())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multiple_is_what_the_library_says_whatever_the_digits() {
        let five = ProjectivePoint::GENERATOR * Scalar::from(5_u64);
        let multiples = Multiples::of(&five);
        let repeated = |digit: u8| {
            // The same digit in every window.
            let step = Scalar::from(1_u64 << WINDOW_BITS);
            (0..36).fold(Scalar::ZERO, |sum, _| {
                sum * step + Scalar::from(u64::from(digit))
            })
        };
        let half = u8::try_from(DIGIT_MAX).unwrap();
        let digits = [1, half - 1, half, half + 1, 2 * half - 1].map(repeated);
        let ends = [
            Scalar::ZERO,
            Scalar::ONE,
            -Scalar::ONE,
            -Scalar::from(u64::MAX),
        ];
        for scalar in digits.into_iter().chain(ends) {
            let mut sum = five;
            multiples.add_times(&scalar, &mut sum);
            assert_eq!(sum, five * scalar + five, "{scalar:?}");
        }
    }
}
