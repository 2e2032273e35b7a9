//! Recomputes every clearing and settlement of a run from its ledger.

use std::collections::BTreeMap;
use std::path::Path;

use ledger_core::AtomId;
use ledger_core::payload::{self, Payload, ReadingQuality};
use market::meter::Reading;
use market::settlement::{Basis, CouplingMeter};
use market::{AgentId, Book, Mwh, Order, Price, Side};
use sha3::{Digest, Sha3_256};

use super::{RULES_FILE, RULES_SUBJECT, Rules, UTILITY, clearing_payload, settlement_payload};

/// The outcome of a market replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarketReplay {
    /// Every number came out again.
    Identical {
        /// Intervals cleared again.
        cleared: u64,
        /// Intervals settled again.
        settled: u64,
    },
    /// The first interval that did not.
    Different {
        /// Its number.
        interval: u64,
        /// What differs.
        what: String,
    },
}

/// Why a run's market cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum MarketReplayError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] ledger_node::LedgerError),
    /// The rules cannot be read.
    #[error("{RULES_FILE} cannot be read: {0}")]
    Rules(String),
    /// The rules are not those that the ledger binds.
    #[error("{RULES_FILE} is not the file that the ledger binds")]
    RulesNotBound,
}

/// What the ledger says about one interval.
#[derive(Default)]
struct Recorded {
    orders: Vec<(AtomId, payload::Order)>,
    clearing: Option<payload::Clearing>,
    readings: Vec<payload::MeterReading>,
    settlement: Option<payload::Settlement>,
}

/// Recomputes the market of a run.
///
/// # Errors
/// When ledger or rules cannot be read or do not belong together.
pub fn replay(run_dir: &Path) -> Result<MarketReplay, MarketReplayError> {
    let unreadable = |e: &dyn std::fmt::Display| MarketReplayError::Rules(e.to_string());
    let mut bound = None;
    let mut intervals: BTreeMap<u64, Recorded> = BTreeMap::new();
    let mut readings: Vec<payload::MeterReading> = Vec::new();
    for entry in ledger_node::entries(run_dir)? {
        let entry = entry?;
        let id = entry.atom.id();
        match entry.atom.body().payload.clone() {
            Payload::Config(config) if config.subject == RULES_SUBJECT => {
                bound = Some(config.digest);
            }
            Payload::Order(order) => {
                let recorded = intervals.entry(order.interval).or_default();
                recorded.orders.push((id, order));
            }
            Payload::Clearing(clearing) => {
                let recorded = intervals.entry(clearing.interval).or_default();
                recorded.clearing = Some(clearing);
            }
            Payload::MeterReading(reading) => readings.push(reading),
            Payload::Settlement(settlement) => {
                let recorded = intervals.entry(settlement.interval).or_default();
                recorded.settlement = Some(settlement);
            }
            _ => {}
        }
    }
    let Some(bound) = bound else {
        // A run without a market has nothing that could differ.
        return Ok(MarketReplay::Identical {
            cleared: 0,
            settled: 0,
        });
    };
    let bytes = std::fs::read(run_dir.join(RULES_FILE)).map_err(|e| unreadable(&e))?;
    let digest: [u8; 32] = Sha3_256::digest(&bytes).into();
    if digest != bound {
        return Err(MarketReplayError::RulesNotBound);
    }
    let rules: Rules = serde_json::from_slice(&bytes).map_err(|e| unreadable(&e))?;
    for reading in readings {
        let since_first = reading
            .interval_start_utc_ns
            .saturating_sub(rules.epoch_utc_ns)
            .saturating_sub(rules.first_start_ns);
        if let Ok(index) = u64::try_from(since_first / rules.interval_ns.max(1)) {
            intervals.entry(index).or_default().readings.push(reading);
        }
    }
    recompute(&rules, intervals)
}

fn recompute(
    rules: &Rules,
    intervals: BTreeMap<u64, Recorded>,
) -> Result<MarketReplay, MarketReplayError> {
    let unreadable = |e: &dyn std::fmt::Display| MarketReplayError::Rules(e.to_string());
    let mechanism = market::mechanism::by_name(&rules.mechanism).map_err(|e| unreadable(&e))?;
    let (mut cleared, mut settled) = (0, 0);
    let mut prices: BTreeMap<u64, Price> = BTreeMap::new();
    for (index, recorded) in intervals {
        let different = |what: String| MarketReplay::Different {
            interval: index,
            what,
        };
        let Some(found) = recorded.clearing else {
            // Orders without a clearing: the interval did not count.
            continue;
        };
        let Some(interval) = rules.interval(index) else {
            return Ok(different("there is no such interval".into()));
        };
        let orders: Vec<Order> = recorded.orders.iter().map(|(_, o)| order(o)).collect();
        let atoms: BTreeMap<(AgentId, Side), AtomId> = recorded
            .orders
            .iter()
            .map(|(atom, o)| ((o.agent.as_str().into(), side(o.side)), *atom))
            .collect();
        let (book, _) = match Book::admit(interval, &rules.book, orders) {
            Ok(admitted) => admitted,
            Err(e) => return Ok(different(e.to_string())),
        };
        let clearing = match mechanism.clear(&book) {
            Ok(clearing) => clearing,
            Err(e) => return Ok(different(e.to_string())),
        };
        let now_comes = clearing_payload(&clearing, &atoms);
        if now_comes != found {
            return Ok(different(format!(
                "clearing: recorded {found:?}, recomputed {now_comes:?}"
            )));
        }
        if let Some(price) = clearing.price {
            prices.insert(index, price);
        }
        cleared += 1;
        let Some(found) = recorded.settlement else {
            continue;
        };
        let mut basis = Basis {
            readings: BTreeMap::new(),
            coupling: None,
            // The settlement ran after the next interval had cleared: the newest price by then.
            fallback_price: None,
        };
        for reading in &recorded.readings {
            let value = metered(reading);
            if reading.participant == UTILITY {
                basis.coupling = Some(CouplingMeter {
                    utility: UTILITY.into(),
                    reading: value,
                    parity: rules.parity,
                });
            } else {
                basis
                    .readings
                    .insert(reading.participant.as_str().into(), value);
            }
        }
        // The fallback price matters only where nothing cleared; it is the newest price known when
        // the interval was settled, which is that of the next interval if it had one.
        basis.fallback_price = prices.values().next_back().copied();
        let settlement = match market::settlement::settle(&clearing, &basis) {
            Ok(settlement) => settlement,
            Err(e) => return Ok(different(format!("settlement: {e}"))),
        };
        let now_comes = settlement_payload(&settlement);
        if now_comes != found {
            return Ok(different(format!(
                "settlement: recorded {found:?}, recomputed {now_comes:?}"
            )));
        }
        settled += 1;
    }
    Ok(MarketReplay::Identical { cleared, settled })
}

fn side(side: payload::Side) -> Side {
    match side {
        payload::Side::Buy => Side::Buy,
        payload::Side::Sell => Side::Sell,
    }
}

fn order(order: &payload::Order) -> Order {
    Order::single(
        order.agent.as_str().into(),
        side(order.side),
        Price(order.price_millicents_per_kwh),
        Mwh(order.quantity_milliwatt_hours),
    )
    .ranked(order.rank)
}

fn metered(reading: &payload::MeterReading) -> Reading {
    let energy = reading.energy_milliwatt_hours.map(Mwh);
    match (reading.quality, energy) {
        (ReadingQuality::Valid, Some(energy)) => Reading::Valid { energy },
        // The coverage itself is not recorded and does not enter a settlement.
        (ReadingQuality::Estimated, Some(energy)) => Reading::Estimated {
            energy,
            coverage_ppm: 0,
        },
        _ => Reading::Missing { coverage_ppm: 0 },
    }
}
