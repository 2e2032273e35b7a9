//! What each participant of a run committed and what its meter says, out of the ledger.

use std::collections::BTreeMap;
use std::path::Path;

use ledger_core::payload::{Payload, ReadingQuality, Settlement, Side};
use model::Instant;

use super::replay::{MarketReplayError, recorded};

/// One participant in one settled interval; energy in milliwatt-hours, positive into the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Number of the interval.
    pub interval: u64,
    /// Begin of the interval in the time of the run.
    pub from: Instant,
    /// Its end.
    pub until: Instant,
    /// Who.
    pub participant: String,
    /// What it traded.
    pub committed_mwh: i128,
    /// What was metered; `None` when its meter was missing.
    pub metered_mwh: Option<i64>,
    /// Whether the meter covered the interval.
    pub is_whole: bool,
    /// Whether nobody was asked to deliver at some time in it.
    pub is_excused: bool,
}

/// What bookings of a late reading are for.
const CORRECTION: &str = "correction";

/// What a run's settlements come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// Every participant in every settled interval, in the order of the ledger.
    pub deliveries: Vec<Delivery>,
    /// What each account has paid as penalties, in 1e-11 EUR; the pool has received them.
    pub penalties: BTreeMap<String, i128>,
    /// Bookings of each kind and account, as [`BOOKINGS`](super::BOOKINGS) names them: in how many
    /// settlements there is one that is not zero, and what the account has paid by them.
    pub booked: BTreeMap<(String, String), (u64, i128)>,
}

/// Reads the books of a run; empty ones without a market.
///
/// # Errors
/// When ledger or rules cannot be read or do not belong together.
pub fn books(run_dir: &Path) -> Result<Books, MarketReplayError> {
    let mut books = Books::default();
    let Some((rules, records)) = recorded(run_dir)? else {
        return Ok(books);
    };
    let mut sides = BTreeMap::new();
    let mut positions: BTreeMap<(u64, String), i128> = BTreeMap::new();
    let mut readings: BTreeMap<u64, Vec<_>> = BTreeMap::new();
    for (id, payload) in records {
        match payload {
            Payload::Order(order) => {
                sides.insert(id, order.side);
            }
            Payload::Trade(deal) => {
                let Some((index, sides)) = rules.delivered_by(&deal) else {
                    continue;
                };
                for (who, energy) in sides {
                    *positions.entry((index, who.to_owned())).or_default() += i128::from(energy);
                }
            }
            Payload::Clearing(clearing) => {
                let Some(index) = rules.delivered_in(clearing.interval) else {
                    continue;
                };
                for fill in clearing.fills {
                    let sign = match sides.get(&fill.order) {
                        Some(Side::Sell) => 1,
                        Some(Side::Buy) => -1,
                        None => continue,
                    };
                    let position = positions.entry((index, fill.agent));
                    *position.or_default() += sign * i128::from(fill.quantity_milliwatt_hours);
                }
            }
            Payload::MeterReading(reading) => {
                if let Some(index) = rules.index_at(reading.interval_start_utc_ns) {
                    readings.entry(index).or_default().push(reading);
                }
            }
            Payload::Settlement(settlement) => {
                let index = settlement.interval;
                let Some(interval) = rules.interval(index) else {
                    continue;
                };
                let at = |ns: i64| rules.instant(ns);
                let read = readings.remove(&index).unwrap_or_default();
                if settlement.lines.iter().any(|line| line.what == CORRECTION) {
                    // A reading that came late takes the place of what was there.
                    for late in &read {
                        let mut own = books.deliveries.iter_mut();
                        let own =
                            own.find(|d| d.interval == index && d.participant == late.participant);
                        if let Some(own) = own {
                            own.metered_mwh = late.energy_milliwatt_hours;
                            own.is_whole = late.quality == ReadingQuality::Valid;
                        }
                    }
                    count(&mut books, &settlement);
                    continue;
                }
                for reading in read {
                    let key = (index, reading.participant.clone());
                    books.deliveries.push(Delivery {
                        interval: index,
                        from: at(interval.start_ns),
                        until: at(interval.end_ns()),
                        committed_mwh: positions.remove(&key).unwrap_or_default(),
                        participant: reading.participant,
                        metered_mwh: reading.energy_milliwatt_hours,
                        is_whole: reading.quality == ReadingQuality::Valid,
                        is_excused: settlement.is_excused,
                    });
                }
                count(&mut books, &settlement);
            }
            _ => {}
        }
    }
    Ok(books)
}

/// Adds the bookings of a settlement.
fn count(books: &mut Books, settlement: &Settlement) {
    for line in settlement.lines.iter().filter(|l| l.amount.0 != 0) {
        // The ledger counts towards the account.
        if line.what == "penalty" {
            *books.penalties.entry(line.account.clone()).or_default() -= line.amount.0;
        }
        let key = (line.what.clone(), line.account.clone());
        let (count, paid) = books.booked.entry(key).or_default();
        *count += 1;
        *paid -= line.amount.0;
    }
}
