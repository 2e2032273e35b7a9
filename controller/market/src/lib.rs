//! Clearing and settlement in exact integers.
//!
//! Responsible for: what an order is and which book is admitted; who trades
//! how much at what price; what the traded energy means as power; what the
//! meters say; who pays whom; and the recomputation of all of it from records.
//!
//! Not responsible for: when a gate closes, where orders come from, how a
//! schedule becomes a setpoint, and where results are kept. Everything here is
//! a pure function of its arguments: no clock, no randomness, no input or
//! output, and no floating point.
//!
//! # Units and signs
//!
//! Energy is `i64` milliwatt-hours ([`Mwh`]), price is `i64` milli-cents per
//! kilowatt-hour ([`Price`]), money is `i128` units ([`Money`], 1 u = 1 mc·mWh/kWh
//! = 1e-11 EUR), so that a price times an energy is exact and nothing is ever
//! rounded before it is displayed. Injection into the bus is positive,
//! withdrawal negative. A positive payment is paid by the account that carries it.
//!
//! # Order of a market interval
//!
//! [`agent`] posts orders, [`book`] admits them, [`mechanism`] clears them into a
//! [`clearing`], [`schedule`] turns fills into power, [`meter`] integrates what
//! flowed, [`settlement`] closes the accounts to a sum of zero, and [`replay`]
//! proves the records later. [`venue`] keeps what lasts from interval to interval.

pub mod fault;
pub mod quantity;

pub mod chance;

pub mod interval;
pub mod order;

pub mod book;
pub mod contract;

pub mod clearing;
pub mod crossing;
pub mod mechanism;
pub mod outcome;

pub mod auction;
pub mod catalogue;
pub mod continuous;

pub mod feeder;
pub mod losses;

pub mod collateral;
pub mod penalty;
pub mod standing;

pub mod activation;
pub mod cooptimised;
pub mod lp;
pub mod reserve;

pub mod agent;
pub mod forecast;
pub mod utility;

pub mod meter;
pub mod schedule;

pub mod balancing;
pub mod regulation;
pub mod settlement;
pub mod sign;
pub mod venue;

pub mod counter;

pub mod offline;
pub mod replay;

#[doc(hidden)]
pub mod bench;

pub use agent::{Agent, MarketView};
pub use book::{Book, BookError, BookRules};
pub use clearing::{Clearing, Fill};
pub use counter::{Counter, CounterError};
pub use fault::Coded;
pub use interval::Interval;
pub use mechanism::Mechanism;
pub use order::{AgentId, Order, Side, Step};
pub use quantity::{MilliwattNs, Money, Mwh, MwhTotal, Price};
pub use venue::Venue;
