//! Energy, price and money as integers, and the few products that mean something.
//!
//! Not responsible for display units or rounding to cents: a display may round,
//! an account never does.
//!
//! ```
//! use market::{Mwh, Price};
//! let pay = Price(15_000) * Mwh(500_000);
//! assert_eq!(pay.0, 7_500_000_000);
//! ```
//!
//! A price and a price do not multiply, and energy does not add to money:
//!
//! ```compile_fail
//! use market::{Mwh, Price};
//! let nonsense = Price(1) * Price(1);
//! ```
//!
//! ```compile_fail
//! use market::{Money, Mwh};
//! let nonsense = Mwh(1) + Money(1);
//! ```

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, Neg, Sub};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Nanoseconds in an hour: 3600 s of 1e9 ns, by definition.
pub const NS_PER_HOUR: i64 = 3_600_000_000_000;

/// Parts per million in one whole, by definition.
pub const PPM: u32 = 1_000_000;

/// Energy in milliwatt-hours (1 mWh = 3.6 J), injection positive.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Mwh(pub i64);

/// A sum of energies in milliwatt-hours; wider than one order because many
/// orders of admissible size exceed 64 bits together. A decimal string in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MwhTotal(pub i128);

/// Price in milli-cents per kilowatt-hour (1 mc = 1e-5 EUR). It may be negative.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Price(pub i64);

/// Money in units u = mc·mWh/kWh = 1e-11 EUR; positive is paid. A decimal
/// string in JSON, because it does not fit a double.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Money(pub i128);

/// Energy as an exact product of power and time, in milliwatt-nanoseconds
/// (1 mWh = 3.6e12 mW·ns).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MilliwattNs(pub i128);

impl Mul<Mwh> for Price {
    type Output = Money;

    /// Exact: the product of two 64-bit integers fits 128 bits.
    fn mul(self, energy: Mwh) -> Money {
        Money(i128::from(self.0) * i128::from(energy.0))
    }
}

macro_rules! adds_up {
    ($($quantity:ident)*) => {$(
        impl Add for $quantity {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }
        impl Sub for $quantity {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
        }
        impl Neg for $quantity {
            type Output = Self;
            fn neg(self) -> Self {
                Self(-self.0)
            }
        }
        impl AddAssign for $quantity {
            fn add_assign(&mut self, other: Self) {
                self.0 += other.0;
            }
        }
        impl Sum for $quantity {
            fn sum<I: Iterator<Item = Self>>(terms: I) -> Self {
                terms.fold(Self::default(), Add::add)
            }
        }
    )*};
}
adds_up!(MwhTotal Money MilliwattNs);

impl From<Mwh> for MwhTotal {
    fn from(energy: Mwh) -> Self {
        Self(i128::from(energy.0))
    }
}

impl MilliwattNs {
    /// `power_milliwatt` held for `span_ns`, exactly.
    #[must_use]
    pub fn of(power_milliwatt: i64, span_ns: i64) -> Self {
        Self(i128::from(power_milliwatt) * i128::from(span_ns))
    }
}

impl From<Mwh> for MilliwattNs {
    fn from(energy: Mwh) -> Self {
        Self(i128::from(energy.0) * i128::from(NS_PER_HOUR))
    }
}

/// Energy of a constant power over a span, in mWh, rounded toward zero, so that
/// a capability is never overstated. `None` when it does not fit 64 bits.
#[must_use]
pub fn energy_of_power_mwh(power_milliwatt: i64, span_ns: i64) -> Option<Mwh> {
    let exact = MilliwattNs::of(power_milliwatt, span_ns).0;
    i64::try_from(exact / i128::from(NS_PER_HOUR)).ok().map(Mwh)
}

/// Quotient rounded to the nearest integer, halves away from zero: the unbiased
/// choice for a quantity that is not a bound. `divisor` must be positive.
#[must_use]
pub(crate) fn div_nearest(dividend: i128, divisor: i128) -> i128 {
    let quotient = dividend / divisor;
    let rest = (dividend % divisor).abs();
    if rest >= divisor - rest {
        quotient + dividend.signum()
    } else {
        quotient
    }
}

macro_rules! shows_unit {
    ($($quantity:ident $unit:literal)*) => {$(
        impl fmt::Display for $quantity {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{} ", $unit), self.0)
            }
        }
    )*};
}
shows_unit!(Mwh "mWh" MwhTotal "mWh" Price "mc/kWh" Money "u" MilliwattNs "mW·ns");

macro_rules! decimal_string {
    ($($quantity:ident)*) => {$(
        impl Serialize for $quantity {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $quantity {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map(Self).map_err(|_| {
                    serde::de::Error::custom(format!("`{text}` is not a decimal integer"))
                })
            }
        }
    )*};
}
decimal_string!(MwhTotal Money MilliwattNs);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn division_to_the_nearest_sends_halves_away_from_zero() {
        for (dividend, divisor, expected) in [
            (7, 2, 4),
            (-7, 2, -4),
            (6, 4, 2),
            (5, 4, 1),
            (-5, 4, -1),
            (0, 3, 0),
            (-2, 3, -1),
        ] {
            assert_eq!(
                div_nearest(dividend, divisor),
                expected,
                "{dividend} / {divisor}"
            );
        }
    }

    #[test]
    fn power_over_a_span_never_rounds_away_from_zero() {
        let minute = 60_000_000_000;
        for (milliwatt, expected) in [(60, 1), (59, 0), (119, 1), (-59, 0), (-119, -1)] {
            assert_eq!(energy_of_power_mwh(milliwatt, minute), Some(Mwh(expected)));
        }
        assert_eq!(energy_of_power_mwh(i64::MAX, i64::MAX), None);
    }

    #[test]
    fn money_survives_json_as_a_decimal_string() {
        let money = Money(-180_000_000_000_000_000_000_000);
        let json = serde_json::to_string(&money).unwrap();
        assert_eq!(json, "\"-180000000000000000000000\"");
        assert_eq!(serde_json::from_str::<Money>(&json).unwrap(), money);
        assert!(serde_json::from_str::<Money>("\"1e5\"").is_err());
    }
}
