//! Figures of a whole run. Nothing is settled by them, so they may be floating point.

use std::collections::BTreeMap;

use ledger_core::payload::{Fill, Payload, ReadingQuality, Side};

use market::venue::balancing::POOL;

use super::super::UTILITY;
use super::latencies::quantile;
use super::{Cell, Kind, MarketOfRun, Table};

/// Milliwatt-hours in a watt-hour.
const PER_WH: f64 = 1e3;
/// Units of money in a euro.
const UNITS_PER_EUR: f64 = 1e11;
/// Scale of the index of Herfindahl and Hirschman: one seller alone is 10000.
const HHI_WHOLE: f64 = 10_000.0;

/// What is added up over a run.
#[derive(Default)]
struct Sums {
    cleared: f64,
    settled: f64,
    traded_mwh: f64,
    prices: Vec<f64>,
    sold_mwh: BTreeMap<String, f64>,
    consumed_mwh: f64,
    produced_mwh: f64,
    imported_mwh: f64,
    exported_mwh: f64,
    deviation_mwh: f64,
    committed_mwh: f64,
    positions: f64,
    residual_u: i128,
    /// What participants have received, and what the utility alone would have given them.
    received_u: BTreeMap<String, f64>,
    alone_u: BTreeMap<String, f64>,
}

/// A share of something; `None` of nothing.
fn share(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

impl MarketOfRun {
    fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        let mut positions: BTreeMap<(Option<u64>, &str), f64> = BTreeMap::new();
        let parity = self.rules.venue.parity;
        for (_, payload) in &self.records {
            match payload {
                Payload::Clearing(clearing) => {
                    sums.cleared += 1.0;
                    sums.traded_mwh += clearing.quantity_milliwatt_hours as f64;
                    sums.prices
                        .extend(clearing.price_millicents_per_kwh.map(|mc| mc as f64));
                    let index = self.rules.delivered_in(clearing.interval);
                    let sold = clearing.fills.iter().filter(|fill| fill.agent != POOL);
                    for fill in sold {
                        let energy = fill.quantity_milliwatt_hours as f64;
                        let key = (index, fill.agent.as_str());
                        let position = positions.entry(key).or_default();
                        match self.sides.get(&fill.order) {
                            Some(Side::Sell) => {
                                *position += energy;
                                *sums.sold_mwh.entry(fill.agent.clone()).or_default() += energy;
                            }
                            Some(Side::Buy) => *position -= energy,
                            None => {}
                        }
                    }
                }
                Payload::Trade(deal) => {
                    let Some((index, sides)) = self.rules.delivered_by(deal) else {
                        continue;
                    };
                    for (who, energy) in sides {
                        *positions.entry((Some(index), who)).or_default() += energy as f64;
                    }
                }
                Payload::MeterReading(reading) => {
                    let Some(metered) = reading.energy_milliwatt_hours else {
                        continue;
                    };
                    let metered = metered as f64;
                    let who = reading.participant.as_str();
                    if who == UTILITY {
                        sums.imported_mwh += metered.max(0.0);
                        sums.exported_mwh += (-metered).max(0.0);
                        continue;
                    }
                    sums.produced_mwh += metered.max(0.0);
                    sums.consumed_mwh += (-metered).max(0.0);
                    let price = if metered < 0.0 {
                        parity.import
                    } else {
                        parity.export
                    };
                    *sums.alone_u.entry(who.to_owned()).or_default() += metered * price.0 as f64;
                    let index = self.rules.index_at(reading.interval_start_utc_ns);
                    let position = index.and_then(|index| positions.get(&(Some(index), who)));
                    if reading.quality == ReadingQuality::Valid {
                        let committed = position.copied().unwrap_or_default();
                        sums.positions += 1.0;
                        sums.deviation_mwh += (metered - committed).abs();
                        sums.committed_mwh += committed.abs();
                    }
                }
                Payload::Settlement(settlement) => {
                    sums.settled += 1.0;
                    for line in &settlement.lines {
                        sums.residual_u += line.amount.0;
                        let received = sums.received_u.entry(line.account.clone()).or_default();
                        *received += line.amount.0 as f64;
                    }
                }
                _ => {}
            }
        }
        sums
    }

    /// Welfare, what part it is of the most that orders allow, Smith's alpha, and the share of intervals in which
    /// one seller could not be done without: of real time, as far as it is shown and replays.
    fn worth(&self) -> [Option<f64>; 4] {
        let outcomes = self.outcomes();
        let (mut welfare, mut most, mut count, mut pivotal) = (0.0, 0.0, 0.0, 0.0);
        // Squares of how far trades were from the equilibrium of their interval, and these prices.
        let (mut squares, mut levels, mut trades) = (0.0, 0.0, 0.0);
        for (_, payload) in &self.records {
            let Some(when) = self.when_of(payload) else {
                continue;
            };
            let outcome = outcomes.get(&when.index);
            let level = outcome.and_then(|it| Some(it.equilibrium?.0 as f64));
            let prices: Vec<f64> = match payload {
                Payload::Clearing(clearing) if when.stage == "real_time" => {
                    if let Some(it) = outcome {
                        count += 1.0;
                        welfare += it.welfare.0 as f64;
                        most += it.most.unwrap_or(it.welfare).0 as f64;
                        pivotal += f64::from(u8::from(it.is_pivotal));
                    }
                    let fills = clearing
                        .fills
                        .iter()
                        .filter(|f| f.quantity_milliwatt_hours > 0);
                    let price = |f: &Fill| {
                        let received = f.amount.0 as f64 / f.quantity_milliwatt_hours as f64;
                        match self.sides.get(&f.order) {
                            Some(Side::Buy) => -received,
                            _ => received,
                        }
                    };
                    fills.map(price).collect()
                }
                Payload::Trade(trade) if when.stage == "intraday" => {
                    vec![trade.price_millicents_per_kwh as f64]
                }
                _ => Vec::new(),
            };
            for (price, level) in prices.into_iter().zip(std::iter::repeat(level)) {
                let Some(level) = level else { continue };
                squares += (price - level).powi(2);
                levels += level;
                trades += 1.0;
            }
        }
        let apart = share(squares, trades).map(f64::sqrt);
        let level = share(levels, trades).filter(|level| *level > 0.0);
        [
            (count > 0.0).then_some(welfare / UNITS_PER_EUR),
            share(welfare, most),
            apart.zip(level).map(|(apart, level)| apart / level),
            share(pivotal, count),
        ]
    }

    /// Median and 99th percentile of what clearing, finality and setpoints took, in milliseconds.
    fn delays(&self) -> [[Option<f64>; 2]; 3] {
        let timed = self.timed();
        let sorted = |mut all: Vec<i64>| {
            all.sort_unstable();
            all
        };
        let clear = sorted(timed.values().map(|it| it.clear_us).collect());
        let finality = sorted(timed.values().map(|it| it.finality_us).collect());
        [clear, finality, self.setpoints_us(None)]
            .map(|all| [50, 99].map(|percent| quantile(&all, percent).map(|us| us as f64 / 1e3)))
    }

    pub(super) fn kpi(&self) -> Table {
        let sums = self.sums();
        let [welfare, efficiency, alpha, pivotal] = self.worth();
        let [clear, finality, setpoint] = self.delays();
        let count = sums.prices.len() as f64;
        let mean = share(sums.prices.iter().sum(), count);
        let spread = mean.and_then(|mean| {
            let squares = sums.prices.iter().map(|price| (price - mean).powi(2));
            share(squares.sum::<f64>(), count).map(f64::sqrt)
        });
        let sold: f64 = sums.sold_mwh.values().sum();
        let shares = sums.sold_mwh.values().map(|energy| energy / sold);
        let hhi = (sold > 0.0).then(|| shares.map(|s| s * s).sum::<f64>() * HHI_WHOLE);
        let gains: Vec<f64> = (sums.alone_u.iter())
            .map(|(who, alone)| sums.received_u.get(who).copied().unwrap_or_default() - alone)
            .collect();
        let gain: f64 = gains.iter().sum();
        let squares: f64 = gains.iter().map(|gain| gain * gain).sum();
        let jain = share(gain * gain, gains.len() as f64 * squares);
        // Mean difference of any two, over twice their mean; of gains that are not all positive it may exceed one.
        let apart = gains
            .iter()
            .flat_map(|a| gains.iter().map(move |b| (a - b).abs()));
        let gini = share(apart.sum(), 2.0 * gains.len() as f64 * gain);
        let alone: f64 = sums.alone_u.values().sum();
        let own = sums.produced_mwh - sums.exported_mwh;
        let figures = [
            ("intervals_cleared", "1", Some(sums.cleared)),
            ("intervals_settled", "1", Some(sums.settled)),
            ("energy_traded", "Wh", Some(sums.traded_mwh / PER_WH)),
            ("price_mean", "mc/kWh", mean),
            ("price_standard_deviation", "mc/kWh", spread),
            (
                "self_sufficiency",
                "1",
                share(sums.consumed_mwh - sums.imported_mwh, sums.consumed_mwh),
            ),
            ("self_consumption", "1", share(own, sums.produced_mwh)),
            (
                "tracking_error_mean",
                "Wh",
                share(sums.deviation_mwh / PER_WH, sums.positions),
            ),
            (
                "imbalance_of_committed",
                "1",
                share(sums.deviation_mwh, sums.committed_mwh),
            ),
            ("sellers_hhi", "1", hhi),
            ("gain_over_utility_only", "EUR", Some(gain / UNITS_PER_EUR)),
            ("bill_utility_only", "EUR", Some(-alone / UNITS_PER_EUR)),
            ("gain_fairness_jain", "1", jain),
            ("gain_inequality_gini", "1", gini),
            ("welfare", "EUR", welfare),
            ("welfare_efficiency", "1", efficiency),
            ("smiths_alpha", "1", alpha),
            ("pivotal_seller_intervals", "1", pivotal),
            ("clear_median", "ms", clear[0]),
            ("clear_p99", "ms", clear[1]),
            ("finality_median", "ms", finality[0]),
            ("finality_p99", "ms", finality[1]),
            ("setpoint_median", "ms", setpoint[0]),
            ("setpoint_p99", "ms", setpoint[1]),
            (
                "budget_residual",
                "EUR",
                Some(sums.residual_u as f64 / UNITS_PER_EUR),
            ),
        ];
        let row = |(name, unit, value): (&str, &str, Option<f64>)| {
            let value = value.map_or(Cell::Absent, Cell::Figure);
            vec![Cell::text(name), value, Cell::text(unit)]
        };
        Table {
            columns: vec![
                ("figure", Kind::Text),
                ("value", Kind::Figure),
                ("unit", Kind::Text),
            ],
            rows: figures.into_iter().map(row).collect(),
        }
    }
}
