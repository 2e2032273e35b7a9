//! A penalty on deviations that is neither too high nor too low.
//!
//! Who deviates by more than its tolerance pays `π` for each further unit. Below a lower
//! bound a deviation would pay: selling at one price and leaving it to the imbalance at
//! another earns the spread that can be foreseen, so `π` is at least its moving mean.
//! Above an upper bound the honest would stay away: with a forecast error of standard
//! deviation `σ` they pay `π · E[(|e| − δ)+]` on average, and that must leave them a part
//! `θ` of what trading at home saves against the utility grid. If the lower bound is above
//! the upper one, the tolerance is too narrow and is widened.
//!
//! Between the bounds `π` follows how often tolerances are broken:
//! `π ← clip(π · exp(η · (rate − target)), π_lo, π_hi)`, told before the gate of the next
//! interval with all four numbers.
//!
//! For a Gaussian error `E[(|e| − δ)+] = 2σ · (φ(z) − z·(1 − Φ(z)))` with `z = δ/σ`, taken
//! from a table, so that every replica computes the same.
//!
//! Not responsible for who may still trade after breaking it again and again:
//! [`crate::standing`].

use serde::{Deserialize, Serialize};

use crate::fault::Coded;
use crate::quantity::{Money, Mwh, MwhTotal, PPM, Price, div_nearest};

/// `φ(z) − z·(1 − Φ(z))` in parts of 1e9, for `z` from 0 to 5 in tenths.
/// Source: the definition, with the complementary error function in double precision.
const LOSS: [i64; 51] = [
    398_942_280,
    350_935_331,
    306_894_636,
    266_761_242,
    230_438_837,
    197_796_557,
    168_672_732,
    142_879_377,
    120_207_234,
    100_431_137,
    83_315_471,
    68_619_510,
    56_102_451,
    45_527_962,
    36_668_143,
    29_306_794,
    23_241_968,
    18_287_791,
    14_275_584,
    11_054_351,
    8_490_703,
    6_468_313,
    4_887_008,
    3_661_585,
    2_720_444,
    2_004_137,
    1_463_880,
    1_060_106,
    761_087,
    541_674,
    382_154,
    267_249,
    185_247,
    127_269,
    86_660,
    58_481,
    39_111,
    25_921,
    17_024,
    11_080,
    7_145,
    4_566,
    2_891,
    1_814,
    1_127,
    694,
    424,
    256,
    153,
    91,
    53,
];

/// One whole of the table.
const LOSS_WHOLE: i128 = 1_000_000_000;

/// Steps of the table per unit of `z`.
const LOSS_STEPS: i128 = 10;

/// How a penalty is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PenaltyRules {
    /// Deviation that is always free, in mWh.
    pub tolerance: Mwh,
    /// Deviation that is free relative to the commitment, in ppm.
    pub tolerance_ppm: u32,
    /// Part `θ` of the gain of trading at home that penalties may take on average, in ppm.
    pub share_ppm: u32,
    /// How often tolerances may be broken, in ppm.
    pub target_ppm: u32,
    /// How strongly `π` follows, `η` in ppm, at most a whole.
    pub strength_ppm: u32,
    /// Weight of the last interval in the mean spread, in ppm.
    pub memory_ppm: u32,
}

impl PenaltyRules {
    /// The values of the design: 5 % and at least 1 Wh free, half of the gain, 2 % of
    /// intervals.
    /// Chosen: meters of class 1 and forecasts of minutes are well within 5 %.
    pub const DEFAULT: Self = Self {
        tolerance: Mwh(1_000),
        tolerance_ppm: 50_000,
        share_ppm: 500_000,
        target_ppm: 20_000,
        strength_ppm: 500_000,
        memory_ppm: 100_000,
    };
}

/// Why rules or a trader's figures are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("penalty: {reason}")]
pub struct PenaltyError {
    reason: &'static str,
}

impl Coded for PenaltyError {
    fn code(&self) -> &'static str {
        "M150"
    }
    fn place(&self) -> String {
        "penalty rules".into()
    }
    fn help(&self) -> String {
        "give shares within 0 ..= 1000000 ppm, and energies and prices that are not negative".into()
    }
}

/// What is known of the traders that the upper bound protects: those with the least to
/// gain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trader {
    /// Energy it trades in an interval.
    pub energy: Mwh,
    /// Standard deviation of its forecast error, in mWh.
    pub error: Mwh,
    /// What a unit traded at home is better than at the utility: the tariff less the
    /// price for a buyer, the price less the feed-in for a seller.
    pub gain: Price,
}

/// The penalty of the next interval, told before its gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Penalty {
    /// What a unit beyond the tolerance costs.
    pub rate: Price,
    /// The least at which deviating does not pay.
    pub low: Price,
    /// The most at which honest trading still does; `None` without bound.
    pub high: Option<Price>,
    /// Deviation that is free, in mWh.
    pub tolerance: Mwh,
    /// Deviation that is free relative to the commitment, in ppm.
    pub tolerance_ppm: u32,
}

impl Penalty {
    /// The free deviation of a commitment.
    #[must_use]
    pub fn free(&self, committed: MwhTotal) -> MwhTotal {
        let relative = committed.0.unsigned_abs() / u128::from(PPM)
            * u128::from(self.tolerance_ppm)
            + committed.0.unsigned_abs() % u128::from(PPM) * u128::from(self.tolerance_ppm)
                / u128::from(PPM);
        MwhTotal(i128::from(self.tolerance.0).max(relative as i128))
    }

    /// What a deviation costs its owner. It is a fee: it goes to the pool of penalties.
    #[must_use]
    pub fn charge(&self, committed: MwhTotal, deviation: MwhTotal) -> Money {
        let over = (deviation.0.abs() - self.free(committed).0).max(0);
        Money(over.saturating_mul(self.rate.0.into()))
    }

    /// Whether a deviation breaks the tolerance.
    #[must_use]
    pub fn is_breach(&self, committed: MwhTotal, deviation: MwhTotal) -> bool {
        deviation.0.abs() > self.free(committed).0
    }
}

/// What an interval has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Price of imbalance.
    pub imbalance: Price,
    /// Price at which the same energy was contracted.
    pub contract: Price,
    /// Commitments that were metered.
    pub deliveries: u32,
    /// Of these, outside their tolerance.
    pub breaches: u32,
}

/// The penalty from interval to interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PenaltyEngine {
    rules: PenaltyRules,
    /// Moving mean of the spread, in parts of a million.
    spread: i128,
    told: Penalty,
}

impl PenaltyEngine {
    /// An engine that begins at the lower bound, with the spread expected so far.
    ///
    /// # Errors
    /// [`PenaltyError`].
    pub fn new(rules: PenaltyRules, spread: Price, trader: Trader) -> Result<Self, PenaltyError> {
        let shares = [
            rules.tolerance_ppm,
            rules.share_ppm,
            rules.target_ppm,
            rules.strength_ppm,
            rules.memory_ppm,
        ];
        if shares.iter().any(|share| *share > PPM) {
            let reason = "a share is more than a whole";
            return Err(PenaltyError { reason });
        }
        let sizes = [rules.tolerance.0, spread.0, trader.energy.0, trader.error.0];
        if sizes.iter().any(|size| *size < 0) {
            let reason = "an energy or the spread is negative";
            return Err(PenaltyError { reason });
        }
        let spread = i128::from(spread.0) * i128::from(PPM);
        let told = bounded(&rules, spread, trader, None);
        Ok(Self {
            rules,
            spread,
            told,
        })
    }

    /// The penalty of the next interval.
    #[must_use]
    pub fn penalty(&self) -> Penalty {
        self.told
    }

    /// Takes an interval in; the penalty of the one after it.
    pub fn take(&mut self, seen: Seen, trader: Trader) -> Penalty {
        let whole = i128::from(PPM);
        let spread = (i128::from(seen.imbalance.0) - i128::from(seen.contract.0)).abs();
        let weight = i128::from(self.rules.memory_ppm);
        self.spread += div_nearest((spread * whole - self.spread) * weight, whole);
        let rate = i128::from(seen.breaches.min(seen.deliveries)) * whole
            / i128::from(seen.deliveries.max(1));
        // Without deliveries nothing was seen, and nothing moves.
        let apart = if seen.deliveries == 0 {
            0
        } else {
            rate - i128::from(self.rules.target_ppm)
        };
        let grown = grow(
            self.told.rate,
            apart * i128::from(self.rules.strength_ppm) / whole,
        );
        self.told = bounded(&self.rules, self.spread, trader, Some(grown));
        self.told
    }
}

/// `price · exp(x)`, `x` in ppm from −1 to 1, by its series.
fn grow(price: Price, exponent_ppm: i128) -> Price {
    const WHOLE: i128 = 1_000_000_000_000;
    let x = exponent_ppm.clamp(-i128::from(PPM), i128::from(PPM)) * (WHOLE / i128::from(PPM));
    let (mut term, mut sum) = (WHOLE, WHOLE);
    // 1/12! is below the smallest part.
    for n in 1..=14 {
        term = term * x / WHOLE / n;
        sum += term;
    }
    let grown = div_nearest(i128::from(price.0) * sum, WHOLE);
    // A penalty that rounds to itself could never rise from small values.
    let step = if grown == i128::from(price.0) {
        exponent_ppm.signum()
    } else {
        0
    };
    Price(i64::try_from(grown + step).unwrap_or(i64::MAX))
}

/// Mean energy beyond the tolerance, in parts of 1e9 of a mWh.
fn expected_excess(error: Mwh, free: i128) -> i128 {
    let sigma = i128::from(error.0);
    if sigma == 0 {
        return 0;
    }
    // Where in the table, and how far toward the next entry in parts of sigma.
    let (place, between) = (free * LOSS_STEPS / sigma, free * LOSS_STEPS % sigma);
    let at = |index: i128| {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        i128::from(LOSS.get(index).copied().unwrap_or(0))
    };
    let (here, next) = (at(place), at(place + 1));
    let loss = here - (here - next) * between / sigma;
    2 * sigma * loss
}

/// The bounds with a tolerance as wide as they need, and the rate within them.
fn bounded(rules: &PenaltyRules, spread: i128, trader: Trader, rate: Option<Price>) -> Penalty {
    let low = Price(i64::try_from(-(-spread).div_euclid(i128::from(PPM))).unwrap_or(i64::MAX));
    let gained = i128::from(trader.gain.0.max(0)) * i128::from(trader.energy.0);
    let allowed = gained / i128::from(PPM) * i128::from(rules.share_ppm);
    let mut told = Penalty {
        rate: low,
        low,
        high: None,
        tolerance: rules.tolerance,
        tolerance_ppm: rules.tolerance_ppm,
    };
    loop {
        let free = told.free(trader.energy.into()).0;
        let excess = expected_excess(trader.error, free);
        // Without any excess the honest never pay, whatever the rate.
        told.high = (excess > 0).then(|| {
            let high = allowed.saturating_mul(LOSS_WHOLE) / excess;
            Price(i64::try_from(high).unwrap_or(i64::MAX))
        });
        if told.high.is_none_or(|high| high >= low) {
            break;
        }
        // The table ends at five deviations, so a few doublings end this.
        let wider = (free + 1).saturating_add(free.max(trader.error.0.into()) / 4);
        told.tolerance = Mwh(i64::try_from(wider).unwrap_or(i64::MAX));
    }
    let most = told.high.map_or(i64::MAX, |high| high.0);
    told.rate = Price(rate.map_or(low.0, |rate| rate.0.clamp(low.0, most)));
    told
}

#[cfg(test)]
mod tests;
