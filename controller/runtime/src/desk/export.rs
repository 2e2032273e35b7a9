//! The market of a run as others read it: tables with units in the names of their columns, and documents
//! in the words of [OASIS CTS](cts) and [OpenADR 3](openadr).
//!
//! Everything comes from the ledger of the run and the rules that it binds; how long the market took is said by
//! its events, and the manifest names what lies beside them. What the rules protect of
//! participants is protected here too. Times are of the wall clock in nanoseconds (`_utc_ns`) and of the
//! market (`_market_ns`, since the run began); energy is positive into the bus; money is a decimal text
//! in EUR, exact, positive to whoever received it; prices are whole milli-cent per kilowatt-hour.
//!
//! Not responsible for how a table is written into a file.

pub mod cts;
mod figures;
mod latencies;
mod manifest;
mod nodes;
pub mod openadr;
mod ready;
mod tables;
mod welfare;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ledger_core::AtomId;
use ledger_core::payload::{Payload, Side};
use market::Interval;
use market::venue::{ahead, intraday, reserve};
use model::UtcTime;

use self::latencies::Reached;
use super::replay::{MarketReplayError, recorded};
use super::{Protection, Rules};

/// Units of money (1e-11 EUR) in a euro.
const UNITS_PER_EUR: u128 = 100_000_000_000;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whole numbers.
    Whole,
    /// Moments of the wall clock, in nanoseconds since the Unix epoch.
    Moment,
    /// Texts.
    Text,
    /// Amounts, as decimal texts in EUR.
    Eur,
    /// Figures that nothing is settled by.
    Figure,
}

/// A value of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Nobody knows, or there is none.
    Absent,
    /// A whole number, or a moment.
    Whole(i64),
    /// A text.
    Text(String),
    /// An amount in 1e-11 EUR.
    Eur(i128),
    /// A figure.
    Figure(f64),
}

impl Cell {
    fn text(text: impl ToString) -> Self {
        Self::Text(text.to_string())
    }

    fn maybe(value: Option<i64>) -> Self {
        value.map_or(Self::Absent, Self::Whole)
    }

    /// The value as a text; `None` where there is none.
    #[must_use]
    pub fn told(&self) -> Option<String> {
        match self {
            Self::Absent => None,
            Self::Whole(number) => Some(number.to_string()),
            Self::Text(text) => Some(text.clone()),
            Self::Eur(units) => Some(eur(*units)),
            Self::Figure(figure) => Some(format!("{figure}")),
        }
    }
}

/// An amount as an exact decimal text.
fn eur(units: i128) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let units = units.unsigned_abs();
    format!(
        "{sign}{}.{:011}",
        units / UNITS_PER_EUR,
        units % UNITS_PER_EUR
    )
}

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Name and content of each column.
    pub columns: Vec<(&'static str, Kind)>,
    /// The rows, each with as many cells as there are columns.
    pub rows: Vec<Vec<Cell>>,
}

/// A value as RFC 4180 writes it.
fn field(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

impl Table {
    /// The table as lines of comma-separated values, the names first.
    pub fn csv(&self) -> impl Iterator<Item = String> {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        let rows = self.rows.iter().map(|row| {
            let cells = row
                .iter()
                .map(|cell| field(&cell.told().unwrap_or_default()));
            cells.collect::<Vec<_>>().join(",")
        });
        [names.join(",")].into_iter().chain(rows)
    }
}

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Every step of every order.
    Orders,
    /// What of each order was served, and for how much.
    Trades,
    /// What each interval came to.
    Clearing,
    /// What each participant committed to.
    Positions,
    /// What each meter said.
    Meter,
    /// Every line of every settlement.
    Settlement,
    /// What each account has received in all.
    Balances,
    /// What deviations have cost.
    Penalties,
    /// What participants agreed between each other before the run.
    Contracts,
    /// Who offered to be ready, and what was bought of it.
    Capacity,
    /// How reserve was called, and how it followed.
    Activations,
    /// What was committed and could not be delivered any more.
    Infeasible,
    /// What each clearing was worth to all, and the most that it could have been.
    Welfare,
    /// What each node of a feeder came to in each interval.
    Nodes,
    /// What each line of a feeder earned by being full.
    Congestion,
    /// How long clearing, finality and setpoints took.
    Latencies,
    /// Which record of the ledger each row comes from.
    LedgerRefs,
    /// Figures of the whole run.
    Kpi,
    /// What the run was made of, and the digest of every other table.
    Manifest,
}

impl What {
    /// All of them by their names.
    pub const NAMES: [(&'static str, Self); 19] = [
        ("orders", Self::Orders),
        ("trades", Self::Trades),
        ("clearing", Self::Clearing),
        ("positions", Self::Positions),
        ("meter", Self::Meter),
        ("settlement", Self::Settlement),
        ("balances", Self::Balances),
        ("penalties", Self::Penalties),
        ("contracts", Self::Contracts),
        ("capacity", Self::Capacity),
        ("activations", Self::Activations),
        ("infeasible", Self::Infeasible),
        ("welfare", Self::Welfare),
        ("nodes", Self::Nodes),
        ("congestion", Self::Congestion),
        ("latencies", Self::Latencies),
        ("ledger_refs", Self::LedgerRefs),
        ("kpi", Self::Kpi),
        ("manifest", Self::Manifest),
    ];
}

/// The market of a run.
pub struct MarketOfRun {
    run_dir: PathBuf,
    rules: Rules,
    protection: Protection,
    /// Records of the market in the order of the ledger, those of intervals that are still shown.
    records: Vec<(AtomId, Payload)>,
    /// Side of each order.
    sides: BTreeMap<AtomId, Side>,
    /// How long setpoints that followed a clearing took.
    reached: Reached,
}

/// Number, stage and times of an interval.
struct When {
    index: u64,
    stage: &'static str,
    interval: Interval,
    begins_utc_ns: i64,
}

impl MarketOfRun {
    /// Reads a run as it is shown at a moment; `None` without a market.
    ///
    /// # Errors
    /// When ledger or rules cannot be read or do not belong together.
    pub fn read(run_dir: &Path, now: UtcTime) -> Result<Option<Self>, MarketReplayError> {
        let Some((rules, records)) = recorded(run_dir)? else {
            return Ok(None);
        };
        let protection = rules.protection.clone().unwrap_or_else(Protection::none);
        let mut market = Self {
            run_dir: run_dir.to_owned(),
            rules,
            protection,
            sides: BTreeMap::new(),
            records: Vec::new(),
            reached: Reached::default(),
        };
        for (id, payload) in records {
            market.reached.take(id, &payload);
            if let Payload::Order(order) = &payload {
                market.sides.insert(id, order.side);
            }
            let ends = (market.when_of(&payload)).map(|when| {
                let lasts = market.rules.on_bench(when.interval.dt_ns);
                when.begins_utc_ns.saturating_add(lasts)
            });
            let is_shown = |ends: i64| {
                let ago = now.unix_nanos().saturating_sub(ends);
                market.protection.retains(ago)
            };
            if ends.is_some_and(is_shown) {
                market.records.push((id, payload));
            }
        }
        Ok(Some(market))
    }

    /// A table of it.
    #[must_use]
    pub fn table(&self, what: What) -> Table {
        match what {
            What::Orders => self.orders(),
            What::Trades => self.trades(),
            What::Clearing => self.clearing(),
            What::Positions => self.positions(),
            What::Meter => self.meter(),
            What::Settlement => self.settlement(),
            What::Balances => self.balances(),
            What::Penalties => self.penalties(),
            What::Contracts => self.contracts(),
            What::Capacity => self.capacity(),
            What::Activations => self.activations(),
            What::Infeasible => self.infeasible(),
            What::Welfare => self.welfare(),
            What::Nodes => self.nodes(),
            What::Congestion => self.congestion(),
            What::Latencies => self.latencies(),
            What::LedgerRefs => self.ledger_refs(),
            What::Kpi => self.kpi(),
            What::Manifest => self.manifest(),
        }
    }

    /// The number that a record gives its interval; `None` for what is of no interval.
    fn number_of(&self, payload: &Payload) -> Option<u64> {
        match payload {
            Payload::Order(p) => Some(p.interval),
            Payload::Clearing(p) => Some(p.interval),
            Payload::Settlement(p) => Some(p.interval),
            Payload::Terms(p) => Some(p.interval),
            Payload::Withdrawal(p) => Some(p.interval),
            Payload::Trade(p) => Some(p.interval),
            Payload::Activation(p) => Some(p.interval),
            Payload::Infeasible(p) => Some(p.interval),
            Payload::MeterReading(p) => self.rules.index_at(p.interval_start_utc_ns),
            _ => None,
        }
    }

    /// The interval of a record; `None` for what is of none.
    fn when_of(&self, payload: &Payload) -> Option<When> {
        let when = self.when(self.number_of(payload)?)?;
        // What two trade in real time they have agreed before.
        let is_contract = matches!(payload, Payload::Trade(_)) && when.stage == "real_time";
        Some(When {
            stage: if is_contract { "contract" } else { when.stage },
            ..when
        })
    }

    /// The interval that a number means. Those of the later stages lie beyond those of the earlier.
    fn when(&self, number: u64) -> Option<When> {
        let (index, stage) = if let Some((index, side)) = reserve::interval_of(number) {
            let stage = match side {
                market::Side::Sell => "reserve_up",
                market::Side::Buy => "reserve_down",
            };
            (index, stage)
        } else if let Some(index) = intraday::interval_of(number) {
            (index, "intraday")
        } else {
            match ahead::interval_of(number) {
                (index, true) => (index, "day_ahead"),
                (index, false) => (index, "real_time"),
            }
        };
        let interval = self.rules.interval(index)?;
        Some(When {
            index,
            stage,
            begins_utc_ns: self.rules.utc_of(&interval),
            interval,
        })
    }

    /// What somebody is called here.
    fn name(&self, who: &str) -> String {
        self.protection.name(who).to_owned()
    }

    /// Signed energy of a fill, positive into the bus, as it is shown.
    fn injected(&self, fill: &ledger_core::payload::Fill) -> Option<i64> {
        let energy = fill.quantity_milliwatt_hours;
        let signed = match self.sides.get(&fill.order)? {
            Side::Sell => energy,
            Side::Buy => -energy,
        };
        Some(self.protection.energy(signed))
    }
}
