//! Recomputes every clearing and settlement of a run from its ledger.

use std::collections::BTreeMap;
use std::path::Path;

use ledger_core::AtomId;
use ledger_core::payload::{self, Payload, ReadingQuality};
use market::meter::Reading;
use market::settlement::{Basis, CouplingMeter};
use market::{Book, Mwh, Order, Price, Side};
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
    settlement: Option<Settled>,
}

/// A settlement with the newest price that stood before it in the ledger: what was known when it was made, that
/// of the next interval included, which clears before this one is settled.
struct Settled {
    found: payload::Settlement,
    fallback_price: Option<Price>,
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
    let mut newest_price = None;
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
                let price = clearing.price_millicents_per_kwh.map(Price);
                newest_price = price.or(newest_price);
                let recorded = intervals.entry(clearing.interval).or_default();
                recorded.clearing = Some(clearing);
            }
            Payload::MeterReading(reading) => readings.push(reading),
            Payload::Settlement(found) => {
                let recorded = intervals.entry(found.interval).or_default();
                recorded.settlement = Some(Settled {
                    found,
                    fallback_price: newest_price,
                });
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
        let atoms = recorded.orders.iter();
        let atoms: BTreeMap<u64, AtomId> = atoms.map(|(atom, o)| (o.rank, *atom)).collect();
        let (book, _) = match Book::admit(interval, &rules.book, orders) {
            Ok(admitted) => admitted,
            Err(e) => return Ok(different(e.to_string())),
        };
        let clearing = match mechanism.clear(&book) {
            Ok(clearing) => clearing,
            Err(e) => return Ok(different(e.to_string())),
        };
        let now_comes = clearing_payload(&clearing, &book, &atoms);
        if now_comes.as_ref() != Some(&found) {
            return Ok(different(format!(
                "clearing: recorded {found:?}, recomputed {now_comes:?}"
            )));
        }
        cleared += 1;
        let Some(Settled {
            found,
            fallback_price,
        }) = recorded.settlement
        else {
            continue;
        };
        let mut basis = Basis {
            readings: BTreeMap::new(),
            coupling: None,
            // Its recorded price: that it is the right one is shown where that clearing is recomputed.
            fallback_price,
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
    let steps = order.steps.iter().map(|step| market::Step {
        price: Price(step.price_millicents_per_kwh),
        quantity: Mwh(step.quantity_milliwatt_hours),
    });
    Order {
        agent: order.agent.as_str().into(),
        side: side(order.side),
        steps: steps.collect(),
        rank: order.rank,
    }
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

#[cfg(test)]
mod tests {
    use market::Interval;
    use market::utility::Parity;

    use super::*;
    use crate::clock::SystemClock;
    use crate::desk::{RULES_FILE, reading_payload};
    use crate::evidence::{CONTROLLER, Evidence, KeySource, MARKET_OPERATOR};

    /// A ledger of two intervals: nothing is traded in the first, whose settlement falls back on the price of the
    /// second, since that was cleared before. `known` = the price that its settlement takes.
    fn settled_after_the_next_was_cleared(folder: &Path, known: Option<Price>) {
        let clock = SystemClock::start();
        let utc = model::Clock::utc(&clock);
        let names = ["seller".to_owned(), "buyer".to_owned()];
        let mut evidence =
            Evidence::create(folder, "test", &names, KeySource::Seed(7), &clock).expect("a ledger");
        let rules = Rules {
            schema: 1,
            mechanism: crate::desk::MECHANISM.into(),
            book: market::BookRules::unbounded(),
            parity: Parity {
                import: Price(30_000),
                export: Price(5_000),
            },
            epoch_utc_ns: utc.unix_nanos(),
            first_start_ns: 0,
            interval_ns: 15_000_000_000,
        };
        let text = serde_json::to_vec(&rules).expect("JSON");
        std::fs::write(folder.join(RULES_FILE), &text).expect("written");
        let bind = crate::evidence::document(RULES_SUBJECT, &text, "rules");
        let mut note = |author: &str, payload| {
            let draft = evidence.draft(author, payload);
            let receipts = evidence.append(utc, vec![draft], None).expect("appended");
            receipts[0].atom_id
        };
        note(CONTROLLER, bind);
        let interval = |n| rules.interval(n).expect("an interval");
        let clear = |interval: Interval, orders: Vec<Order>| {
            let mechanism = market::mechanism::by_name(&rules.mechanism).expect("known");
            let (book, _) = Book::admit(interval, &rules.book, orders).expect("a book");
            let clearing = mechanism.clear(&book).expect("cleared");
            (book, clearing)
        };
        let (book, idle) = clear(interval(0), Vec::new());
        let clearing = clearing_payload(&idle, &book, &BTreeMap::new()).expect("recorded");
        note(MARKET_OPERATOR, Payload::Clearing(clearing));
        let orders = vec![
            Order::single("seller".into(), Side::Sell, Price(10_000), Mwh(500)).ranked(0),
            Order::single("buyer".into(), Side::Buy, Price(20_000), Mwh(500)).ranked(1),
        ];
        let atoms = orders.iter().map(|one| {
            let payload = crate::desk::order_payload(&interval(1), one);
            let atom = note(&crate::evidence::party_of(one.agent.as_str()), payload);
            (one.rank, atom)
        });
        let atoms = atoms.collect();
        let (book, traded) = clear(interval(1), orders);
        assert!(traded.price.is_some(), "{traded:?}");
        let clearing = clearing_payload(&traded, &book, &atoms).expect("recorded");
        note(MARKET_OPERATOR, Payload::Clearing(clearing));
        let reading = Reading::Valid { energy: Mwh(300) };
        let metered = reading_payload("seller", rules.epoch_utc_ns, &interval(0), &reading);
        note(CONTROLLER, Payload::MeterReading(metered));
        let basis = Basis {
            readings: BTreeMap::from([("seller".into(), reading)]),
            coupling: None,
            fallback_price: known.or(traded.price),
        };
        let settlement = market::settlement::settle(&idle, &basis).expect("settled");
        let settlement = settlement_payload(&settlement);
        note(MARKET_OPERATOR, Payload::Settlement(settlement));
        evidence.close(utc).expect("closed");
    }

    #[test]
    fn an_interval_without_a_price_is_settled_at_the_newest_one_that_was_known() {
        let folder = tempfile::tempdir().expect("a folder");
        settled_after_the_next_was_cleared(folder.path(), None);
        let expected = MarketReplay::Identical {
            cleared: 2,
            settled: 1,
        };
        assert_eq!(replay(folder.path()).expect("readable"), expected);

        let folder = tempfile::tempdir().expect("a folder");
        settled_after_the_next_was_cleared(folder.path(), Some(Price(1)));
        let found = replay(folder.path()).expect("readable");
        assert!(
            matches!(found, MarketReplay::Different { interval: 0, .. }),
            "{found:?}"
        );
    }
}
