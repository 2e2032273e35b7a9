//! What the page may know of the market: the latest, and the last intervals one by one.

use std::sync::Arc;

use model::Instant;

/// Intervals that are remembered. Chosen: 20, five minutes of the demo bench.
pub const INTERVALS_KEPT: usize = 20;

/// The latest of the market.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MarketView {
    /// Number of the interval.
    pub interval: u64,
    /// How it is cleared.
    pub mechanism: String,
    /// Clearing price in milli-cent per kWh; `None` when nothing cleared.
    pub price_mc_per_kwh: Option<i64>,
    /// Cleared energy in milliwatt-hours.
    pub energy_mwh: i64,
    /// Trades since the run began.
    pub trades: u64,
    /// Accounts with their balances, as text with unit; positive = has been paid.
    pub accounts: Vec<(String, String)>,
    /// What one who orders from outside has to know; `None` where nobody does.
    pub open: Option<crate::desk::OpenGate>,
    /// The last intervals, oldest first.
    pub intervals: Vec<Arc<IntervalView>>,
}

/// An interval that was cleared, and what came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IntervalView {
    /// Its number.
    pub interval: u64,
    /// Control time at which it begins.
    pub from: Instant,
    /// Control time at which it ends.
    pub until: Instant,
    /// Price in milli-cent per kWh; `None` when nothing was traded.
    pub price_mc_per_kwh: Option<i64>,
    /// Traded energy in milliwatt-hours.
    pub energy_mwh: i64,
    /// Why the book could not be cleared.
    pub failure: Option<String>,
    /// Record of the clearing, hexadecimal.
    pub atom: String,
    /// The book, in the order of the ledger.
    pub orders: Vec<OrderView>,
    /// Whoever has a meter or a position, by name.
    pub participants: Vec<PositionView>,
    /// What the settlement says; `None` before it.
    pub settled: Option<SettledView>,
}

/// An order of a book.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OrderView {
    /// Whose.
    pub who: String,
    /// Whether it buys.
    pub buys: bool,
    /// Its steps, best price first: milli-cent per kWh, and milliwatt-hours.
    pub steps: Vec<(i64, i64)>,
    /// What of it was served, in milliwatt-hours.
    pub served_mwh: i64,
    /// Its record, hexadecimal.
    pub atom: Option<String>,
}

/// What a participant has traded and done. Energy is positive into the bus.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PositionView {
    /// Who.
    pub who: String,
    /// What it has committed to, in milliwatt-hours.
    pub committed_mwh: i64,
    /// What its meter says, in milliwatt-hours; `None` before that, and when it is not known.
    pub metered_mwh: Option<i64>,
    /// How that reading came about.
    pub quality: Option<&'static str>,
    /// What was booked, in 1e-11 EUR and positive to the participant; `None` before settlement.
    pub amount_u: Option<i128>,
}

/// What a settlement says of the whole interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SettledView {
    /// Whether deviations cost no penalty.
    pub is_excused: bool,
    /// Energy that no meter accounts for, in milliwatt-hours.
    pub unaccounted_mwh: i64,
}
