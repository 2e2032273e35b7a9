//! The counter at which orders from outside are taken: who may order, until when, and what.
//!
//! Who orders from outside is known by name. Each has one curve per side and interval, up to the
//! gate, and each order is judged when it comes: what is taken now is in the book of its interval,
//! unless its cover or its standing has changed by then. What is taken is a set: the order in which
//! it came does not matter.
//!
//! Not responsible for when a gate closes in real time, nor for whose word an order is.

use std::collections::{BTreeMap, BTreeSet};

use crate::book::BookError;
use crate::fault::Coded;
use crate::interval::Interval;
use crate::order::{AgentId, Order, Side};
use crate::sign::SignFault;
use crate::venue::{Refusal, Venue};

/// How many intervals ahead orders are taken.
/// Chosen: 96, a day of quarter hours; it bounds what one who orders can make others keep.
pub const AHEAD_MAX: u64 = 96;

/// Why an order from outside is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CounterError {
    /// The gate of its interval has closed.
    #[error("the gate of interval {interval} has closed; interval {open} is open")]
    Closed {
        /// The interval it is for.
        interval: u64,
        /// The first one that still takes orders.
        open: u64,
    },
    /// Nobody of that name orders from outside.
    #[error("`{agent}` does not order from outside in this market")]
    Stranger {
        /// Who ordered.
        agent: AgentId,
    },
    /// Its interval is too far away.
    #[error("interval {interval} is too far away: the last that takes orders now is {last}")]
    TooFar {
        /// The interval it is for.
        interval: u64,
        /// The last one that takes orders.
        last: u64,
    },
    /// Nothing is traded ahead.
    #[error("this market does not trade ahead")]
    NotAhead,
    /// The venue would not admit it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The meter of its device is not to be believed.
    #[error(transparent)]
    Sign(#[from] SignFault),
}

impl Coded for CounterError {
    fn code(&self) -> &'static str {
        match self {
            Self::Closed { .. } => "M037",
            Self::Stranger { .. } => "M038",
            Self::TooFar { .. } => "M039",
            Self::NotAhead => "M054",
            Self::Refused(refusal) => refusal.code(),
            Self::Sign(fault) => fault.code(),
        }
    }

    fn place(&self) -> String {
        match self {
            Self::Closed { interval, .. } | Self::TooFar { interval, .. } => {
                format!("order for interval {interval}")
            }
            Self::Stranger { agent } => format!("order of `{agent}`"),
            Self::NotAhead => "market".into(),
            Self::Refused(refusal) => refusal.place(),
            Self::Sign(fault) => fault.place(),
        }
    }

    fn help(&self) -> String {
        match self {
            Self::Closed { open, .. } => format!("order for interval {open}, before its gate"),
            Self::Stranger { .. } => {
                "use the name of a participant whose strategy is `external`".into()
            }
            Self::NotAhead => "add `[market.day_ahead]` to the rig, or order for real time".into(),
            Self::TooFar { last, .. } => format!("order for interval {last} or one before it"),
            Self::Refused(refusal) => refusal.help(),
            Self::Sign(fault) => fault.help(),
        }
    }
}

/// The counter of a venue.
#[derive(Debug, Clone, Default)]
pub struct Counter {
    outsiders: BTreeSet<AgentId>,
    taken: BTreeMap<u64, BTreeMap<(AgentId, Side), Order>>,
}

impl Counter {
    /// A counter for those who order from outside.
    #[must_use]
    pub fn new(outsiders: BTreeSet<AgentId>) -> Self {
        Self {
            outsiders,
            taken: BTreeMap::new(),
        }
    }

    /// Who orders from outside.
    #[must_use]
    pub fn outsiders(&self) -> &BTreeSet<AgentId> {
        &self.outsiders
    }

    /// Takes an order for an interval, of which `open` is the first that still takes any.
    ///
    /// # Errors
    /// [`CounterError`]; then nothing has changed.
    pub fn take(
        &mut self,
        venue: &Venue,
        order: Order,
        interval: Interval,
        open: u64,
    ) -> Result<(), CounterError> {
        let index = interval.index;
        if !self.outsiders.contains(&order.agent) {
            let agent = order.agent;
            return Err(CounterError::Stranger { agent });
        }
        if index < open {
            return Err(CounterError::Closed {
                interval: index,
                open,
            });
        }
        let last = open.saturating_add(AHEAD_MAX - 1);
        if index > last {
            return Err(CounterError::TooFar {
                interval: index,
                last,
            });
        }
        let key = (order.agent.clone(), order.side);
        let before = self.taken.get(&index);
        if before.is_some_and(|taken| taken.contains_key(&key)) {
            let (agent, side) = key;
            return Err(Refusal::from(BookError::Duplicate { agent, side }).into());
        }
        let own = before.into_iter().flat_map(BTreeMap::values);
        let own = own.filter(|other| other.agent == order.agent).cloned();
        let together = own.chain([order.clone()]).collect();
        venue.inspect(interval, together)?;
        self.taken.entry(index).or_default().insert(key, order);
        Ok(())
    }

    /// Closes the gate of an interval: its orders by name and side, and who has given none.
    pub fn close(&mut self, index: u64) -> (Vec<Order>, Vec<AgentId>) {
        let taken = self.taken.remove(&index).unwrap_or_default();
        // What was never traded is not any more.
        self.taken.retain(|other, _| *other > index);
        let silent = self.outsiders.iter();
        let silent = silent.filter(|agent| taken.keys().all(|(other, _)| other != *agent));
        let silent = silent.cloned().collect();
        (taken.into_values().collect(), silent)
    }
}

#[cfg(test)]
mod tests;
