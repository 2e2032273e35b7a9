//! Pools without limit prices: what members consume and produce is netted, the
//! rest is exchanged with the utility grid, and a formula shares the money.
//!
//! With `S` the energy offered, `D` the energy bid for, `ls` what the utility pays
//! and `lb` what it charges:
//!
//! - *Supply-demand ratio* (Liu and others, 2017): `SDR = S/D`, sellers receive
//!   `ls·lb / ((lb − ls)·SDR + ls)`, buyers pay `sell·SDR + lb·(1 − SDR)`; from
//!   `SDR = 1` on both are `ls`. It needs `0 < ls <= lb` and is the mid-market rate
//!   otherwise.
//! - *Mid-market rate* (Long and others, 2017): both sides trade at
//!   `m = (ls + lb)/2`; the longer side shares the rest at the utility's price.
//! - *Bill sharing* (the same): energy within the pool is free, importers share the
//!   bill, exporters the revenue.
//!
//! Amounts are settled, not prices: what all sellers receive is a whole number, and
//! what all buyers pay is that and the utility's bill, so nothing is left over.

use crate::book::Book;
use crate::mechanism::{RuleError, Surroundings};
use crate::order::Side;
use crate::outcome::{Exchange, Outcome, fills, shares};
use crate::quantity::{Money, MwhTotal};
use crate::utility::Parity;

/// A formula of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// Prices from the ratio of supply to demand.
    SupplyDemandRatio,
    /// The middle of the utility's prices.
    MidMarketRate,
    /// The utility's bill, shared.
    BillSharing,
}

/// What the sides of a pool pay and receive together, and what one unit costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolAmounts {
    /// What all buyers pay.
    pub buyers_pay: Money,
    /// What all sellers receive, rounded down; buyers pay that and the bill.
    pub sellers_receive: Money,
    /// What a seller receives per unit, exactly: a numerator and a positive denominator.
    pub sell_price: (i128, i128),
    /// What a buyer pays per unit, exactly.
    pub buy_price: (i128, i128),
    /// What the utility pays; negative when it is paid.
    pub utility_pays: Money,
}

impl Pool {
    fn name(self) -> &'static str {
        match self {
            Self::SupplyDemandRatio => "sdr",
            Self::MidMarketRate => "mmr",
            Self::BillSharing => "bill_sharing",
        }
    }

    /// The amounts for `supply` and `demand`, both positive.
    ///
    /// # Errors
    /// [`RuleError::Overflow`].
    pub fn amounts(
        self,
        supply: MwhTotal,
        demand: MwhTotal,
        parity: Parity,
    ) -> Result<PoolAmounts, RuleError> {
        let amounts = self.exact(supply.0, demand.0, parity);
        amounts.ok_or(RuleError::Overflow { rule: self.name() })
    }

    /// `None` on overflow.
    fn exact(self, supply: i128, demand: i128, parity: Parity) -> Option<PoolAmounts> {
        let (sell, buy) = (i128::from(parity.export.0), i128::from(parity.import.0));
        let bill = buy.checked_mul((demand - supply).max(0))?;
        let revenue = sell.checked_mul((supply - demand).max(0))?;
        // Without supply, or without demand, the price is that of the first unit.
        let sell_price = match self {
            Self::SupplyDemandRatio if sell > 0 => {
                if supply >= demand {
                    (sell, 1)
                } else {
                    let below = (buy - sell).checked_mul(supply)?;
                    let below = below.checked_add(sell.checked_mul(demand)?)?;
                    (sell.checked_mul(buy)?.checked_mul(demand)?, below)
                }
            }
            Self::SupplyDemandRatio | Self::MidMarketRate if supply <= demand => (sell + buy, 2),
            Self::SupplyDemandRatio | Self::MidMarketRate => {
                let middle = (sell + buy).checked_mul(demand)?;
                (middle.checked_add(revenue.checked_mul(2)?)?, 2 * supply)
            }
            Self::BillSharing => (revenue, supply.max(1)),
        };
        let (above, below) = sell_price;
        let above = above.checked_mul(supply)?;
        let sellers = above.div_euclid(below);
        let buy_price = match (self, demand) {
            (Self::SupplyDemandRatio, 0) if sell > 0 => (sell, 1),
            (Self::SupplyDemandRatio | Self::MidMarketRate, 0) => (sell + buy, 2),
            (Self::BillSharing, 0) => (0, 1),
            _ => {
                let rest = (bill - revenue).checked_mul(below)?;
                (above.checked_add(rest)?, below.checked_mul(demand)?)
            }
        };
        Some(PoolAmounts {
            buyers_pay: Money(sellers.checked_add(bill)?.checked_sub(revenue)?),
            sellers_receive: Money(sellers),
            sell_price,
            buy_price,
            utility_pays: Money(revenue - bill),
        })
    }

    /// The pool over a book, of which only the energies are used.
    pub(crate) fn clear(self, book: &Book, around: &Surroundings) -> Result<Outcome, RuleError> {
        let rule = self.name();
        let parity = around.parity.ok_or(RuleError::NoTariff { rule })?;
        let energy: Vec<i64> = (book.orders().iter())
            .map(|order| order.steps.iter().map(|step| step.quantity.0).sum())
            .collect();
        let weights = |side| -> Vec<i128> {
            let orders = book.orders().iter().zip(&energy);
            orders
                .map(|(order, &e)| if order.side == side { e.into() } else { 0 })
                .collect()
        };
        let (buyers, sellers) = (weights(Side::Buy), weights(Side::Sell));
        let demand = MwhTotal(buyers.iter().sum());
        let supply = MwhTotal(sellers.iter().sum());
        let amounts = self.amounts(supply, demand, parity)?;
        let paid = shares(amounts.buyers_pay.0, &buyers);
        let received = shares(amounts.sellers_receive.0, &sellers);
        let payment: Vec<i128> = paid.iter().zip(received).map(|(p, r)| p - r).collect();
        Ok(Outcome {
            fills: fills(book, &energy, &payment),
            utility: Exchange {
                import: MwhTotal((demand.0 - supply.0).max(0)),
                export: MwhTotal((supply.0 - demand.0).max(0)),
                payment: amounts.utility_pays,
            },
            ..Outcome::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::Price;

    const PARITY: Parity = Parity {
        import: Price(30_000),
        export: Price(8_000),
    };

    /// What buyers pay and sellers receive.
    fn check(pool: Pool, supply: i128, demand: i128, parity: Parity, expected: (i128, i128)) {
        let found = (pool.amounts(MwhTotal(supply), MwhTotal(demand), parity)).unwrap();
        assert_eq!(
            (found.buyers_pay.0, found.sellers_receive.0),
            expected,
            "{pool:?} {supply} {demand}"
        );
        let utility = found.utility_pays.0;
        assert_eq!(found.buyers_pay.0 - found.sellers_receive.0 + utility, 0);
    }

    #[test]
    fn buyers_pay_what_sellers_and_the_utility_receive() {
        // 250 · 160000/9 rounds down to 4444444.
        check(
            Pool::SupplyDemandRatio,
            250,
            1_000,
            PARITY,
            (26_944_444, 4_444_444),
        );
        check(
            Pool::SupplyDemandRatio,
            2_000,
            1_000,
            PARITY,
            (8_000_000, 16_000_000),
        );
        check(
            Pool::MidMarketRate,
            250,
            1_000,
            PARITY,
            (27_250_000, 4_750_000),
        );
        check(
            Pool::MidMarketRate,
            2_000,
            1_000,
            PARITY,
            (19_000_000, 27_000_000),
        );
        check(Pool::BillSharing, 250, 1_000, PARITY, (22_500_000, 0));
        check(Pool::BillSharing, 2_000, 1_000, PARITY, (0, 8_000_000));
        check(Pool::BillSharing, 0, 0, PARITY, (0, 0));
    }

    #[test]
    fn the_ratio_falls_back_to_the_middle_when_exports_earn_nothing() {
        let worthless = Parity {
            export: Price(-2_000),
            ..PARITY
        };
        for (supply, demand) in [(0, 9), (4, 9), (9, 9), (20, 9)] {
            let of = |pool: Pool| pool.amounts(MwhTotal(supply), MwhTotal(demand), worthless);
            assert_eq!(of(Pool::SupplyDemandRatio), of(Pool::MidMarketRate));
        }
    }

    #[test]
    fn amounts_beyond_128_bits_are_refused() {
        let huge = Parity {
            import: Price(1 << 61),
            export: Price(1 << 60),
        };
        let (supply, demand) = (MwhTotal(1 << 62), MwhTotal(1 << 63));
        let found = Pool::SupplyDemandRatio.amounts(supply, demand, huge);
        assert_eq!(found, Err(RuleError::Overflow { rule: "sdr" }));
    }
}
