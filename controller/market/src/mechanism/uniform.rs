//! Periodic double auction at one price inside the competitive interval.
//!
//! `p = lo + floor((hi - lo) * k)`: k = 0 favours buyers, k = 1 sellers.
//! Individually rational, budget balanced, efficient for the reported values;
//! not truthful.

use super::{Mechanism, allocation, fills, nothing};
use crate::book::Book;
use crate::clearing::Clearing;
use crate::crossing::{best, cross};
use crate::order::Side;
use crate::quantity::{Money, Price};

/// Where in the competitive interval the price lies, a ratio from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KFactor {
    num: u32,
    den: u32,
}

impl KFactor {
    /// The ratio `num / den`; `None` unless `0 < den` and `num <= den`.
    #[must_use]
    pub fn new(num: u32, den: u32) -> Option<Self> {
        (den > 0 && num <= den).then_some(Self { num, den })
    }

    pub(crate) fn price(self, lo: Price, hi: Price) -> Price {
        let width = i128::from(hi.0) - i128::from(lo.0);
        let up = width * i128::from(self.num) / i128::from(self.den);
        // 0 <= up <= hi - lo, so the price lies between two prices.
        Price((i128::from(lo.0) + up) as i64)
    }
}

/// The uniform-price auction at a given `k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UniformPrice {
    /// Where in the competitive interval the price lies.
    pub k: KFactor,
}

impl UniformPrice {
    /// The middle of the interval, rounded down.
    pub const HALF: Self = Self {
        k: KFactor { num: 1, den: 2 },
    };

    /// The uniform price of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        if name == "uniform_k_half" {
            return Some(Self::HALF);
        }
        let (num, den) = name.strip_prefix("uniform_k_")?.split_once('_')?;
        let k = KFactor::new(num.parse().ok()?, den.parse().ok()?)?;
        Some(Self { k })
    }
}

impl Mechanism for UniformPrice {
    fn name(&self) -> String {
        if *self == Self::HALF {
            return "uniform_k_half".into();
        }
        format!("uniform_k_{}_{}", self.k.num, self.k.den)
    }

    fn outcome(&self, book: &Book) -> Clearing {
        let Some(crossing) = cross(book) else {
            return nothing(book, self.name());
        };
        let price = self.k.price(crossing.lo, crossing.hi);
        let (mut fills, welfare) = fills(book, &allocation(book, &crossing));
        for fill in &mut fills {
            let amount = price * fill.quantity;
            fill.payment = if fill.side == Side::Buy {
                amount
            } else {
                -amount
            };
        }
        Clearing {
            interval: book.interval(),
            mechanism: self.name(),
            quantity: crossing.quantity,
            price: Some(price),
            competitive: Some((crossing.lo, crossing.hi)),
            indicative: best(book),
            fills,
            trades: Vec::new(),
            welfare,
            operator: Money(0),
        }
    }
}
