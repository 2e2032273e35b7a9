//! The utility grid as an ordinary participant: one offer to import, one bid to
//! export, bounded by the point of common coupling.
//!
//! The local price is thereby bracketed by export and import parity. Losses are
//! in parts per million, so parity is exact integer arithmetic, rounded against
//! the trade: the import offer up, the export bid down.
//!
//! Not responsible for the tariff's calendar: the caller gives the tariff of the
//! interval.

use serde::{Deserialize, Serialize};

use crate::book::PRICE_MAGNITUDE_MAX;
use crate::fault::Coded;
use crate::quantity::{Mwh, PPM, Price};

/// Prices at which the utility grid sells and buys, before losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tariff {
    /// Energy price of import.
    pub import: Price,
    /// Price the utility pays for export.
    pub export: Price,
    /// Levies on import.
    pub surcharge: Price,
    /// Congestion charge on import.
    pub congestion: Price,
    /// Fee deducted from export.
    pub export_fee: Price,
    /// Loss between the utility's meter and the local bus, in parts per million.
    pub loss_ppm: u32,
}

/// What one local kilowatt-hour is worth across the point of common coupling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parity {
    /// Cost of one more kilowatt-hour imported.
    pub import: Price,
    /// Revenue of one more kilowatt-hour exported; never above `import`.
    pub export: Price,
}

/// Whether the bus is connected to the utility grid, and how far it may trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Coupling {
    /// The breaker is closed.
    Connected {
        /// Most energy importable in the interval.
        import_max: Mwh,
        /// Most energy exportable in the interval.
        export_max: Mwh,
    },
    /// The breaker is open: the capacity is zero.
    Islanded,
}

/// Why a tariff is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TariffError {
    /// All energy would be lost.
    #[error("tariff: a loss of {loss_ppm} ppm leaves nothing")]
    Loss {
        /// The refused loss.
        loss_ppm: u32,
    },
    /// Buying from the utility and selling back would earn money.
    #[error("tariff: export parity {export} is above import parity {import}")]
    Arbitrage {
        /// Import parity.
        import: Price,
        /// Export parity.
        export: Price,
    },
    /// A parity is beyond any admissible price.
    #[error("tariff: parity exceeds 2^62 mc/kWh")]
    Magnitude,
}

impl Coded for TariffError {
    fn code(&self) -> &'static str {
        match self {
            Self::Loss { .. } => "M040",
            Self::Arbitrage { .. } => "M041",
            Self::Magnitude => "M042",
        }
    }
    fn place(&self) -> String {
        "utility tariff".into()
    }
    fn help(&self) -> String {
        match self {
            Self::Loss { .. } => "give a loss below 1000000 ppm".into(),
            Self::Arbitrage { .. } => "let import cost at least what export earns".into(),
            Self::Magnitude => "check the unit: prices are in mc/kWh".into(),
        }
    }
}

impl Tariff {
    /// `import = ceil((import + surcharge + congestion) / (1 - loss))`,
    /// `export = floor((export - fee) * (1 - loss))`.
    ///
    /// # Errors
    /// When nothing survives the loss, or a round trip would earn money.
    pub fn parity(&self) -> Result<Parity, TariffError> {
        let whole = i128::from(PPM);
        let kept = whole - i128::from(self.loss_ppm);
        if kept <= 0 {
            return Err(TariffError::Loss {
                loss_ppm: self.loss_ppm,
            });
        }
        let [import, export, surcharge, congestion, fee] = [
            self.import,
            self.export,
            self.surcharge,
            self.congestion,
            self.export_fee,
        ]
        .map(|price| i128::from(price.0));
        // Rounding up is rounding the negative down; the divisor is positive.
        let import = -((-(import + surcharge + congestion) * whole).div_euclid(kept));
        let export = ((export - fee) * kept).div_euclid(whole);
        let price = |value: i128| match i64::try_from(value) {
            Ok(value) if value.unsigned_abs() <= PRICE_MAGNITUDE_MAX.unsigned_abs() => {
                Ok(Price(value))
            }
            _ => Err(TariffError::Magnitude),
        };
        let parity = Parity {
            import: price(import)?,
            export: price(export)?,
        };
        if parity.export > parity.import {
            let Parity { import, export } = parity;
            return Err(TariffError::Arbitrage { import, export });
        }
        Ok(parity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARIFF: Tariff = Tariff {
        import: Price(22_000),
        export: Price(8_000),
        surcharge: Price(6_000),
        congestion: Price(1_000),
        export_fee: Price(500),
        loss_ppm: 20_000,
    };

    #[test]
    fn parity_is_rounded_against_the_trade() {
        // 29000 / 0.98 = 29591.8..; 7500 * 0.98 = 7350.
        let expected = Parity {
            import: Price(29_592),
            export: Price(7_350),
        };
        assert_eq!(TARIFF.parity(), Ok(expected));
        let negative = Tariff {
            import: Price(-9_001),
            export: Price(-30_001),
            ..TARIFF
        };
        // -2001 / 0.98 = -2041.8 rises to -2041; -30501 * 0.98 = -29890.98 falls.
        let expected = Parity {
            import: Price(-2_041),
            export: Price(-29_891),
        };
        assert_eq!(negative.parity(), Ok(expected));
    }

    #[test]
    fn a_tariff_that_pays_for_a_round_trip_is_refused() {
        let arbitrage = Tariff {
            export: Price(60_000),
            ..TARIFF
        };
        assert!(matches!(
            arbitrage.parity(),
            Err(TariffError::Arbitrage { .. })
        ));
        let lossy = Tariff {
            loss_ppm: 1_000_000,
            ..TARIFF
        };
        assert_eq!(
            lossy.parity(),
            Err(TariffError::Loss {
                loss_ppm: 1_000_000
            })
        );
        let huge = Tariff {
            import: Price(i64::MAX),
            ..TARIFF
        };
        assert_eq!(huge.parity(), Err(TariffError::Magnitude));
    }
}
