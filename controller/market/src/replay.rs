//! Recomputes recorded intervals and finds the first number that differs.
//!
//! Not responsible for reading a record: the caller turns whatever it keeps into
//! [`Record`]s, in the order of the run.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::book::{Book, BookRules};
use crate::clearing::Clearing;
use crate::interval::Interval;
use crate::mechanism::by_name;
use crate::order::Order;
use crate::settlement::{Basis, Settlement, settle};

/// Everything recorded about one interval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The interval.
    pub interval: Interval,
    /// Name of the mechanism.
    pub mechanism: String,
    /// Rules of the book.
    pub rules: BookRules,
    /// The orders as posted; those the rules refuse are refused again.
    pub orders: Vec<Order>,
    /// The recorded result.
    pub clearing: Clearing,
    /// The recorded settlement and what it was made from; `None` while the
    /// interval is not settled yet.
    pub settled: Option<Settled>,
}

/// The settled part of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settled {
    /// Meters and prices the settlement was made from.
    pub basis: Basis,
    /// The recorded settlement.
    pub settlement: Settlement,
}

/// The first place where record and recomputation differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Interval index.
    pub interval: u64,
    /// Which field, such as `clearing.fills[2].payment`.
    pub place: String,
    /// What the record says.
    pub recorded: String,
    /// What comes out now.
    pub recomputed: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            interval,
            place,
            recorded,
            recomputed,
        } = self;
        write!(
            f,
            "interval {interval}: {place}: recorded {recorded}, recomputed {recomputed}"
        )
    }
}

/// The outcome of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every number came out again.
    Identical {
        /// How many intervals were cleared again.
        cleared: u64,
        /// How many of them were settled again.
        settled: u64,
    },
    /// At least one did not.
    Different(Box<Difference>),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identical { .. } => f.write_str("IDENTICAL"),
            Self::Different(difference) => difference.fmt(f),
        }
    }
}

/// Recomputes the records in turn until one differs.
pub fn replay(records: impl IntoIterator<Item = Record>) -> Verdict {
    let (mut cleared, mut settled) = (0, 0);
    for record in records {
        if let Some(difference) = first_difference(&record) {
            return Verdict::Different(Box::new(difference));
        }
        cleared += 1;
        settled += u64::from(record.settled.is_some());
    }
    Verdict::Identical { cleared, settled }
}

/// Recomputes one record; `None` when it comes out the same.
#[must_use]
pub fn first_difference(record: &Record) -> Option<Difference> {
    let differs = |place: &str, recorded: &str, recomputed: String| Difference {
        interval: record.interval.index,
        place: place.into(),
        recorded: recorded.into(),
        recomputed,
    };
    let refused = |place, error: &dyn fmt::Display| differs(place, "a result", error.to_string());
    let mechanism = match by_name(&record.mechanism) {
        Ok(mechanism) => mechanism,
        Err(error) => return Some(refused("mechanism", &error)),
    };
    let book = match Book::admit(record.interval, &record.rules, record.orders.clone()) {
        Ok((book, _)) => book,
        Err(error) => return Some(refused("rules", &error)),
    };
    let clearing = match mechanism.clear(&book) {
        Ok(clearing) => clearing,
        Err(error) => return Some(refused("clearing", &error)),
    };
    if let Some(found) = compare("clearing", &record.clearing, &clearing) {
        return Some(differs(&found.place, &found.recorded, found.recomputed));
    }
    let Settled { basis, settlement } = record.settled.as_ref()?;
    match settle(&clearing, basis) {
        Err(error) => Some(refused("settlement", &error)),
        Ok(again) => compare("settlement", settlement, &again)
            .map(|found| differs(&found.place, &found.recorded, found.recomputed)),
    }
}

struct Found {
    place: String,
    recorded: String,
    recomputed: String,
}

/// Compares the values themselves, and their JSON only to name the place.
fn compare<T: PartialEq + Serialize + fmt::Debug>(
    root: &str,
    recorded: &T,
    recomputed: &T,
) -> Option<Found> {
    if recorded == recomputed {
        return None;
    }
    let json = |value: &T| serde_json::to_value(value).unwrap_or(serde_json::Value::Null);
    descend(root.into(), &json(recorded), &json(recomputed)).or_else(|| {
        // Unequal values with equal JSON: still different, if less precisely.
        let (recorded, recomputed) = (format!("{recorded:?}"), format!("{recomputed:?}"));
        Some(Found {
            place: root.into(),
            recorded,
            recomputed,
        })
    })
}

fn descend(
    place: String,
    recorded: &serde_json::Value,
    recomputed: &serde_json::Value,
) -> Option<Found> {
    use serde_json::Value::{Array, Object};
    match (recorded, recomputed) {
        _ if recorded == recomputed => None,
        (Array(a), Array(b)) if a.len() != b.len() => {
            let count = |list: &[serde_json::Value]| format!("{} entries", list.len());
            Some(Found {
                place,
                recorded: count(a),
                recomputed: count(b),
            })
        }
        (Array(a), Array(b)) => (a.iter().zip(b).enumerate())
            .find_map(|(index, (a, b))| descend(format!("{place}[{index}]"), a, b)),
        (Object(a), Object(b)) => {
            // By name, whatever order the map keeps, so that everybody is told the same.
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            let absent = serde_json::Value::Null;
            keys.into_iter().find_map(|key| {
                let [a, b] = [a, b].map(|map| map.get(key).unwrap_or(&absent));
                descend(format!("{place}.{key}"), a, b)
            })
        }
        _ => {
            let (recorded, recomputed) = (recorded.to_string(), recomputed.to_string());
            Some(Found {
                place,
                recorded,
                recomputed,
            })
        }
    }
}

#[cfg(test)]
mod tests;
