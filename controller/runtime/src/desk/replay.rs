//! Recomputes every clearing and settlement of a run from its ledger.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use ledger_core::AtomId;
use ledger_core::payload::{self, Payload};
use market::cooptimised::Traded;
use market::venue::reserve::Activation;
use market::venue::{Cleared, ahead, feeder, intraday, reserve, together};
use market::{AgentId, Interval, Order, Venue};
use sha3::{Digest, Sha3_256};

use super::records::{self, clearing_payload, settlement_payload, terms_payload, trade_payload};
use super::reserve::SIDES;
use super::{RULES_FILE, RULES_SUBJECT, Rules, UTILITY};

/// The outcome of a market replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarketReplay {
    /// Every number came out again.
    Identical {
        /// Intervals cleared again.
        cleared: u64,
        /// Intervals settled again.
        settled: u64,
        /// Intervals with orders on record that were never cleared.
        uncleared: u64,
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

/// Recomputes the market of a run, record by record in the order of the ledger: what was known
/// when something was decided is what stands before it.
///
/// # Errors
/// When ledger or rules cannot be read or do not belong together.
pub fn replay(run_dir: &Path) -> Result<MarketReplay, MarketReplayError> {
    replay_seen(run_dir, &mut |_| {})
}

/// The same, and shows whatever is cleared again to who wants to see it.
pub(super) fn replay_seen(
    run_dir: &Path,
    seen: &mut dyn FnMut(&Cleared),
) -> Result<MarketReplay, MarketReplayError> {
    let Some((rules, records)) = recorded(run_dir)? else {
        // A run without a market has nothing that could differ.
        return Ok(MarketReplay::Identical {
            cleared: 0,
            settled: 0,
            uncleared: 0,
        });
    };
    let mut again = Again {
        venue: rules.venue().map_err(MarketReplayError::Rules)?,
        rules,
        orders: BTreeMap::new(),
        deals: BTreeMap::new(),
        executed: VecDeque::new(),
        readings: BTreeMap::new(),
        activations: BTreeMap::new(),
        clearings: BTreeMap::new(),
        ready: BTreeMap::new(),
        cleared: 0,
        settled: 0,
        seen,
    };
    for (id, payload) in records {
        if let Err((interval, what)) = again.take(id, payload) {
            return Ok(MarketReplay::Different { interval, what });
        }
    }
    Ok(MarketReplay::Identical {
        cleared: again.cleared,
        settled: again.settled,
        uncleared: again.orders.len() as u64,
    })
}

/// The records of a ledger with the id of each.
type Records = Vec<(AtomId, Payload)>;

/// The rules that a run's ledger binds and its records in their order; `None` without a market.
pub(super) fn recorded(run_dir: &Path) -> Result<Option<(Rules, Records)>, MarketReplayError> {
    let mut bound = None;
    let mut records = Vec::new();
    for entry in ledger_node::entries(run_dir)? {
        let entry = entry?;
        let id = entry.atom.id();
        match entry.atom.body().payload.clone() {
            Payload::Config(config) if config.subject == RULES_SUBJECT => {
                bound = Some(config.digest);
            }
            payload => records.push((id, payload)),
        }
    }
    let Some(bound) = bound else {
        return Ok(None);
    };
    let unreadable = |e: &dyn std::fmt::Display| MarketReplayError::Rules(e.to_string());
    let bytes = std::fs::read(run_dir.join(RULES_FILE)).map_err(|e| unreadable(&e))?;
    let digest: [u8; 32] = Sha3_256::digest(&bytes).into();
    if digest != bound {
        return Err(MarketReplayError::RulesNotBound);
    }
    let rules: Rules = serde_json::from_slice(&bytes).map_err(|e| unreadable(&e))?;
    Ok(Some((rules, records)))
}

/// The market of a run, decided again.
struct Again<'a> {
    rules: Rules,
    venue: Venue,
    /// Orders on record of intervals that are not cleared yet.
    orders: BTreeMap<u64, Vec<(AtomId, Order)>>,
    /// Contracts on record of intervals that are not cleared yet.
    deals: BTreeMap<u64, Vec<payload::Trade>>,
    /// Trades within the day that came out and are not seen on record yet.
    executed: VecDeque<payload::Trade>,
    /// Readings on record of intervals that are not settled yet.
    readings: BTreeMap<u64, Vec<payload::MeterReading>>,
    /// How reserve was called in intervals that are not settled yet.
    activations: BTreeMap<u64, BTreeMap<AgentId, Activation>>,
    /// Clearings that are not settled yet.
    clearings: BTreeMap<u64, market::Clearing>,
    /// Clearings of readiness on record that wait for that of energy, by their numbers.
    ready: BTreeMap<u64, payload::Clearing>,
    cleared: u64,
    settled: u64,
    /// Who looks on.
    seen: &'a mut dyn FnMut(&Cleared),
}

impl Again<'_> {
    /// Takes the next record; the interval and what differs, if it does not come out again.
    fn take(&mut self, id: AtomId, payload: Payload) -> Result<(), (u64, String)> {
        match payload {
            Payload::Terms(found) => {
                let index = found.interval;
                let now_come = self.venue.terms().map(|t| terms_payload(index, &t));
                if now_come.as_ref() != Some(&found) {
                    let what = format!("terms: recorded {found:?}, recomputed {now_come:?}");
                    return Err((index, what));
                }
            }
            // Numbers of reserve lie beyond those of the other stages.
            Payload::Order(order) if reserve::interval_of(order.interval).is_some() => {
                let orders = self.orders.entry(order.interval).or_default();
                orders.push((id, records::order(&order)));
            }
            Payload::Order(order) if intraday::interval_of(order.interval).is_some() => {
                self.enter(&order);
            }
            Payload::Withdrawal(found) => {
                if let Some(index) = intraday::interval_of(found.interval) {
                    let agent = found.agent.as_str().into();
                    let side = records::side(found.side);
                    self.venue.withdraw_intraday(index, &agent, side);
                }
            }
            Payload::Order(order) => {
                let orders = self.orders.entry(order.interval).or_default();
                orders.push((id, records::order(&order)));
            }
            Payload::Trade(found) if intraday::interval_of(found.interval).is_some() => {
                let now_comes = self.executed.pop_front();
                if now_comes.as_ref() != Some(&found) {
                    let index = intraday::interval_of(found.interval).unwrap_or_default();
                    let what = format!("trade: recorded {found:?}, recomputed {now_comes:?}");
                    return Err((index, what));
                }
            }
            Payload::Trade(deal) => {
                self.deals.entry(deal.interval).or_default().push(deal);
            }
            Payload::Clearing(found) => {
                let index = found.interval;
                self.clear(&found).map_err(|what| (index, what))?;
            }
            Payload::MeterReading(reading) => {
                if let Some(index) = self.rules.index_at(reading.interval_start_utc_ns) {
                    self.readings.entry(index).or_default().push(reading);
                }
            }
            Payload::Activation(found) => {
                let all = self.activations.entry(found.interval).or_default();
                let agent = found.participant.as_str().into();
                all.insert(agent, records::activation(&found));
            }
            Payload::Settlement(found) => {
                let index = found.interval;
                self.settle(&found).map_err(|what| (index, what))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Enters an order within the day; one that is refused was refused then, too.
    fn enter(&mut self, order: &payload::Order) {
        let index = intraday::interval_of(order.interval);
        let interval = index.and_then(|index| self.rules.interval(index));
        let Some(interval) = interval else { return };
        let entered = self.venue.enter_intraday(interval, records::order(order));
        let executions = entered.into_iter().flat_map(|entered| entered.executions);
        let trade = |it: intraday::Execution| trade_payload(order.interval, &it.deal);
        self.executed.extend(executions.map(trade));
    }

    /// Orders on record under this number, each with its record by rank.
    fn posted(&mut self, number: u64) -> (BTreeMap<u64, AtomId>, Vec<Order>) {
        let recorded = self.orders.remove(&number).unwrap_or_default();
        let ranked = recorded.into_iter();
        ranked
            .map(|(atom, order)| ((order.rank, atom), order))
            .unzip()
    }

    /// Buys the readiness of a side of an interval again.
    fn buy_reserve(
        &mut self,
        (index, side): (u64, market::Side),
        found: &payload::Clearing,
    ) -> Result<(), String> {
        let interval = self.rules.interval(index);
        let interval = interval.ok_or("there is no such interval")?;
        let (atoms, orders) = self.posted(found.interval);
        let cleared = self.venue.clear_reserve(interval, side, orders);
        let cleared = cleared.map_err(|e| e.to_string())?;
        let cleared = cleared.ok_or("there is no reserve stage")?;
        let now_comes = clearing_payload(&cleared.clearing, &cleared.book, &atoms);
        if now_comes.as_ref() != Some(found) {
            return Err(format!(
                "reserve: recorded {found:?}, recomputed {now_comes:?}"
            ));
        }
        (self.seen)(&cleared);
        self.venue.take_reserve(&cleared.clearing);
        self.cleared += 1;
        Ok(())
    }

    fn clear(&mut self, found: &payload::Clearing) -> Result<(), String> {
        if let Some(product) = reserve::interval_of(found.interval) {
            if self.venue.buys_together() {
                self.ready.insert(found.interval, found.clone());
                return Ok(());
            }
            return self.buy_reserve(product, found);
        }
        let (index, is_ahead) = ahead::interval_of(found.interval);
        let interval = self.rules.interval(index);
        let interval = interval.ok_or("there is no such interval")?;
        let (atoms, orders) = self.posted(found.interval);
        if let Some(missing) = self.executed.front() {
            return Err(format!("trade: recorded none, recomputed {missing:?}"));
        }
        if !is_ahead {
            let recorded = self.deals.remove(&index).unwrap_or_default();
            let agreed = self.venue.contracted(index);
            let agreed: Vec<_> = agreed
                .iter()
                .map(|deal| trade_payload(index, deal))
                .collect();
            if recorded != agreed {
                return Err(format!(
                    "contracts: recorded {recorded:?}, agreed {agreed:?}"
                ));
            }
        }
        if !is_ahead && self.venue.buys_together() && self.is_joined(interval) {
            let cleared = self.clear_together(interval, (atoms, orders), found)?;
            self.venue.take(&cleared);
            self.clearings.insert(found.interval, cleared);
            self.cleared += 1;
            return Ok(());
        }
        let cleared = if is_ahead {
            let product = ahead::product(interval);
            let cleared = self.venue.clear_ahead(product, orders);
            cleared.transpose().ok_or("there is no day-ahead stage")?
        } else {
            let limits = feeder::limits_of(&found.mechanism);
            self.venue.clear_within(interval, orders, &limits)
        };
        let cleared = cleared.map_err(|e| e.to_string())?;
        let now_comes = clearing_payload(&cleared.clearing, &cleared.book, &atoms);
        if now_comes.as_ref() != Some(found) {
            return Err(format!(
                "clearing: recorded {found:?}, recomputed {now_comes:?}"
            ));
        }
        (self.seen)(&cleared);
        if is_ahead {
            self.venue.take_ahead(&cleared.clearing);
            self.cleared += 1;
            return Ok(());
        }
        self.venue.take(&cleared.clearing);
        self.clearings.insert(found.interval, cleared.clearing);
        self.cleared += 1;
        Ok(())
    }

    /// Whether readiness of an interval was ordered, or is recorded as bought.
    fn is_joined(&self, interval: Interval) -> bool {
        SIDES.into_iter().any(|side| {
            let number = reserve::product(interval, side).index;
            self.orders.contains_key(&number) || self.ready.contains_key(&number)
        })
    }

    /// Looks whether the records of an interval whose energy and readiness were cleared together prove themselves,
    /// and clears them again: of what is equally good the rule takes one.
    fn clear_together(
        &mut self,
        interval: Interval,
        (atoms, energy): (BTreeMap<u64, AtomId>, Vec<Order>),
        found: &payload::Clearing,
    ) -> Result<market::Clearing, String> {
        let numbers = SIDES.map(|side| reserve::product(interval, side).index);
        let [(up_atoms, up), (down_atoms, down)] = numbers.map(|number| self.posted(number));
        let recorded = numbers.map(|number| self.ready.remove(&number));
        let [Some(of_up), Some(of_down)] = &recorded else {
            return Err("reserve: its clearing is not on record".into());
        };
        let records = [
            (found, &atoms, &energy),
            (of_up, &up_atoms, &up),
            (of_down, &down_atoms, &down),
        ];
        let mut traded = Traded::default();
        for (traded, (clearing, atoms, orders)) in traded.iter_mut().zip(records) {
            *traded = records::traded(clearing, atoms, orders)?;
        }
        let orders = together::Orders {
            energy,
            ready: [up, down],
        };
        let cleared = self.venue.clear_together(interval, orders.clone());
        let cleared = cleared.map_err(|e| e.to_string())?;
        let cleared = cleared.ok_or("reserve: it is not bought together with energy")?;
        // What could not be cleared is recorded as nothing, which proves nothing.
        if cleared.energy.failure.is_none() {
            let proved = self
                .venue
                .prove_together(interval, orders, &traded, &found.mechanism);
            proved.map_err(|e| format!("certificate of interval {}: {e}", interval.index))?;
        }
        let [of_up_again, of_down_again] = &cleared.ready;
        for (what, recorded, again, atoms) in [
            ("reserve", of_up, of_up_again, &up_atoms),
            ("reserve", of_down, of_down_again, &down_atoms),
            ("clearing", found, &cleared.energy, &atoms),
        ] {
            let now_comes = clearing_payload(&again.clearing, &again.book, atoms);
            if now_comes.as_ref() != Some(recorded) {
                return Err(format!(
                    "{what}: recorded {recorded:?}, recomputed {now_comes:?}"
                ));
            }
        }
        for ready in &cleared.ready {
            (self.seen)(ready);
            self.venue.take_reserve(&ready.clearing);
            self.cleared += 1;
        }
        (self.seen)(&cleared.energy);
        Ok(cleared.energy.clearing)
    }

    /// Settles again what is settled, by the reading that stands before it.
    fn correct(
        &mut self,
        late: &payload::MeterReading,
        found: &payload::Settlement,
    ) -> Result<(), String> {
        let agent = late.participant.as_str().into();
        let reading = records::reading(late);
        let corrected = self.venue.correct(found.interval, &agent, reading);
        let corrected = corrected.map_err(|e| format!("correction: {e}"))?;
        let now_comes = settlement_payload(&corrected, found.is_excused);
        if now_comes != *found {
            return Err(format!(
                "correction: recorded {found:?}, recomputed {now_comes:?}"
            ));
        }
        Ok(())
    }

    fn settle(&mut self, found: &payload::Settlement) -> Result<(), String> {
        let recorded = self.readings.remove(&found.interval).unwrap_or_default();
        let clearing = self.clearings.remove(&found.interval);
        if let (None, [late]) = (&clearing, recorded.as_slice()) {
            return self.correct(late, found);
        }
        let clearing = clearing.ok_or("settlement: nothing was cleared")?;
        let mut readings = BTreeMap::new();
        let mut coupling = None;
        for reading in &recorded {
            let value = records::reading(reading);
            if reading.participant == UTILITY {
                coupling = Some(value);
            } else {
                readings.insert(reading.participant.as_str().into(), value);
            }
        }
        let activations = self.activations.remove(&found.interval);
        (self.venue).take_activations(found.interval, activations.unwrap_or_default());
        let settled = (self.venue).settle(&clearing, readings, coupling, found.is_excused);
        let settled = settled.map_err(|e| format!("settlement: {e}"))?;
        let now_comes = settlement_payload(&settled.settlement, found.is_excused);
        if now_comes != *found {
            return Err(format!(
                "settlement: recorded {found:?}, recomputed {now_comes:?}"
            ));
        }
        self.settled += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
