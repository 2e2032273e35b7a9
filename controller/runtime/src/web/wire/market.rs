//! The market as the API tells it. Prices are in milli-cent per kWh, energy in milliwatt-hours.

use serde::Serialize;

use crate::view::{IntervalView, LiveView, MarketView, OrderView, PositionView};

/// The latest of the market.
#[derive(Clone, Debug, Serialize)]
pub struct Market {
    /// Number of the interval.
    pub interval: u64,
    /// How it is cleared.
    pub mechanism: String,
    /// Clearing price in milli-cent per kWh; `null` when nothing cleared.
    pub price_mc_per_kwh: Option<i64>,
    /// Cleared energy in milliwatt-hours.
    pub energy_mwh: i64,
    /// Trades since the run began.
    pub trades: u64,
    /// Accounts.
    pub accounts: Vec<Account>,
    /// Where orders from outside are taken; `null` where the rig has nobody who gives any.
    pub open: Option<OpenGate>,
}

/// What one who orders from outside has to know.
#[derive(Clone, Debug, Serialize)]
pub struct OpenGate {
    /// The next interval whose gate is open.
    pub interval: u64,
    /// When it begins, UTC.
    pub begins_utc: String,
    /// When its gate closes, UTC.
    pub gate_utc: String,
    /// Length of an interval in seconds.
    pub interval_s: f64,
    /// Lowest price.
    pub floor_mc_per_kwh: i64,
    /// Highest price.
    pub cap_mc_per_kwh: i64,
    /// All prices are multiples of this.
    pub tick_mc_per_kwh: i64,
    /// Most steps of an order.
    pub steps_max: usize,
    /// The next block that is traded ahead, if the market does so.
    pub day_ahead: Option<Block>,
    /// Who orders from outside.
    pub participants: Vec<Outsider>,
    /// The intervals that are open within the day.
    pub intraday: Vec<Quote>,
}

/// The best prices of an order book within the day.
#[derive(Clone, Debug, Serialize)]
pub struct Quote {
    /// Number of the interval.
    pub interval: u64,
    /// The highest that somebody pays; `null` when nobody buys.
    pub bid_mc_per_kwh: Option<i64>,
    /// The lowest that somebody takes; `null` when nobody sells.
    pub offer_mc_per_kwh: Option<i64>,
}

/// One who orders from outside.
#[derive(Clone, Debug, Serialize)]
pub struct Outsider {
    /// Its name.
    pub name: String,
    /// The most that it may buy in an interval now, in milliwatt-hours.
    pub buy_max_mwh: String,
    /// The most that it may sell.
    pub sell_max_mwh: String,
}

/// Intervals that are traded together ahead.
#[derive(Clone, Debug, Serialize)]
pub struct Block {
    /// Number of the first.
    pub interval: u64,
    /// How many.
    pub intervals: u64,
    /// When the first begins, UTC.
    pub begins_utc: String,
    /// When the gate of all closes, UTC.
    pub gate_utc: String,
}

impl OpenGate {
    fn of(open: crate::desk::OpenGate) -> Self {
        Self {
            interval: open.next.interval,
            begins_utc: open.next.begins.to_string(),
            gate_utc: open.next.gate.to_string(),
            interval_s: open.interval_ns as f64 / 1e9,
            floor_mc_per_kwh: open.floor_mc,
            cap_mc_per_kwh: open.cap_mc,
            tick_mc_per_kwh: open.tick_mc,
            steps_max: open.steps_max,
            day_ahead: open.ahead.map(|(first, intervals)| Block {
                interval: first.interval,
                intervals,
                begins_utc: first.begins.to_string(),
                gate_utc: first.gate.to_string(),
            }),
            participants: (open.outsiders.into_iter())
                .map(|(name, buys, sells)| Outsider {
                    name,
                    buy_max_mwh: buys.to_string(),
                    sell_max_mwh: sells.to_string(),
                })
                .collect(),
            intraday: (open.intraday.into_iter())
                .map(|(interval, bid, offer)| Quote {
                    interval,
                    bid_mc_per_kwh: bid,
                    offer_mc_per_kwh: offer,
                })
                .collect(),
        }
    }
}

/// An account of the market.
#[derive(Clone, Debug, Serialize)]
pub struct Account {
    /// Whose.
    pub name: String,
    /// Balance with its unit; positive = has been paid.
    pub balance: String,
}

/// The latest of the market with its last intervals.
#[derive(Clone, Debug, Serialize)]
pub struct Markets {
    /// The latest.
    #[serde(flatten)]
    pub latest: Market,
    /// The last intervals, newest first.
    pub intervals: Vec<Interval>,
}

/// An interval that was cleared.
#[derive(Clone, Debug, Serialize)]
pub struct Interval {
    /// Its number.
    pub interval: u64,
    /// Control time in seconds at which it begins and ends.
    pub from_s: f64,
    /// See `from_s`.
    pub until_s: f64,
    /// Price; `null` when nothing was traded.
    pub price_mc_per_kwh: Option<i64>,
    /// Traded energy.
    pub energy_mwh: i64,
    /// Why the book could not be cleared.
    pub failure: Option<String>,
    /// Record of the clearing in the ledger.
    pub atom: String,
    /// The book, in the order of the ledger.
    pub orders: Vec<Order>,
    /// What each participant has traded and done.
    pub participants: Vec<Position>,
    /// Whether it is settled.
    pub settled: bool,
    /// Whether deviations cost no penalty, since nobody was asked to deliver; `null` before settlement.
    pub excused: Option<bool>,
    /// Energy that no meter accounts for; `null` before settlement.
    pub unaccounted_mwh: Option<i64>,
}

/// An order of a book.
#[derive(Clone, Debug, Serialize)]
pub struct Order {
    /// Whose.
    pub who: String,
    /// `buy` or `sell`.
    pub side: &'static str,
    /// Steps, best price first: price and energy.
    pub steps: Vec<(i64, i64)>,
    /// What of it was served.
    pub served_mwh: i64,
    /// Its record in the ledger.
    pub atom: Option<String>,
}

/// What a participant has traded and done in an interval; energy is positive into the bus.
#[derive(Clone, Debug, Serialize)]
pub struct Position {
    /// Who.
    pub who: String,
    /// Energy that it has committed to.
    pub committed_mwh: i64,
    /// Energy that its meter says; `null` before that, and when it is not known.
    pub metered_mwh: Option<i64>,
    /// `valid`, `estimated` or `missing`; `null` before the meters are read.
    pub quality: Option<&'static str>,
    /// What was booked, in cent and positive to the participant; `null` before settlement.
    pub amount_ct: Option<f64>,
}

/// Units of money (1e-11 EUR) in a cent.
const UNITS_PER_CENT: f64 = 1e9;

impl From<&MarketView> for Market {
    fn from(m: &MarketView) -> Self {
        let accounts = m.accounts.iter().cloned();
        Self {
            interval: m.interval,
            mechanism: m.mechanism.clone(),
            price_mc_per_kwh: m.price_mc_per_kwh,
            energy_mwh: m.energy_mwh,
            trades: m.trades,
            accounts: accounts
                .map(|(name, balance)| Account { name, balance })
                .collect(),
            open: m.open.clone().map(OpenGate::of),
        }
    }
}

impl From<&IntervalView> for Interval {
    fn from(i: &IntervalView) -> Self {
        Self {
            interval: i.interval,
            from_s: i.from.as_seconds(),
            until_s: i.until.as_seconds(),
            price_mc_per_kwh: i.price_mc_per_kwh,
            energy_mwh: i.energy_mwh,
            failure: i.failure.clone(),
            atom: i.atom.clone(),
            orders: i.orders.iter().map(Order::from).collect(),
            participants: i.participants.iter().map(Position::from).collect(),
            settled: i.settled.is_some(),
            excused: i.settled.map(|settled| settled.is_excused),
            unaccounted_mwh: i.settled.map(|settled| settled.unaccounted_mwh),
        }
    }
}

impl From<&OrderView> for Order {
    fn from(o: &OrderView) -> Self {
        Self {
            who: o.who.clone(),
            side: if o.buys { "buy" } else { "sell" },
            steps: o.steps.clone(),
            served_mwh: o.served_mwh,
            atom: o.atom.clone(),
        }
    }
}

impl From<&PositionView> for Position {
    fn from(p: &PositionView) -> Self {
        Self {
            who: p.who.clone(),
            committed_mwh: p.committed_mwh,
            metered_mwh: p.metered_mwh,
            quality: p.quality,
            amount_ct: p.amount_u.map(|units| units as f64 / UNITS_PER_CENT),
        }
    }
}

/// The latest of the market.
#[must_use]
pub fn market(view: &LiveView) -> Option<Market> {
    view.latest_market().as_ref().map(Market::from)
}

/// The latest of the market with its last intervals.
#[must_use]
pub fn markets(view: &LiveView) -> Option<Markets> {
    let market = view.latest_market()?;
    let intervals = market.intervals.iter().rev();
    Some(Markets {
        latest: Market::from(&market),
        intervals: intervals.map(|view| Interval::from(&**view)).collect(),
    })
}
