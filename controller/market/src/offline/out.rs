//! Results as JSON in which keys keep their order and integers stay exact.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::order::AgentId;

/// Largest integer a double holds exactly, 2^53.
pub(super) const EXACT_MAX: i128 = 1 << 53;

/// JSON that keeps the order of its keys, so that results read in listing order.
pub(super) enum Out {
    Null,
    Integer(i128),
    /// In parts of 10000. It is shown as a number with a point, never counted with.
    Decimal(i128),
    Text(String),
    List(Vec<Out>),
    Map(Vec<(String, Out)>),
}

impl Out {
    pub(super) fn map<'a>(rows: impl Iterator<Item = (&'a AgentId, i128)>) -> Self {
        Self::Map(
            rows.map(|(agent, n)| (agent.to_string(), Self::Integer(n)))
                .collect(),
        )
    }
}

impl Serialize for Out {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Integer(n) if (-EXACT_MAX..=EXACT_MAX).contains(n) => {
                // Within 2^53, so it fits.
                serializer.serialize_i64(*n as i64)
            }
            Self::Integer(n) => serializer.collect_str(n),
            // Within 2^53 the nearest double shows as these very digits.
            Self::Decimal(n) if (-EXACT_MAX..=EXACT_MAX).contains(n) => {
                serializer.serialize_f64(*n as f64 / 1e4)
            }
            Self::Decimal(n) => {
                let sign = if *n < 0 { "-" } else { "" };
                let (whole, part) = (n.abs() / 10_000, n.abs() % 10_000);
                serializer.collect_str(&format_args!("{sign}{whole}.{part:04}"))
            }
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items
                    .iter()
                    .try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Self::Map(rows) => {
                let mut map = serializer.serialize_map(Some(rows.len()))?;
                rows.iter()
                    .try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
        }
    }
}

impl std::fmt::Display for Out {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| std::fmt::Error)?)
    }
}
