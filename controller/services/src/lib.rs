//! Frequency and voltage services: pure functions of data.
//!
//! A characteristic says what power belongs to a frequency or a voltage once
//! everything has settled; a course says how the answer gets there, how long it is held, and how it
//! goes back.
//!
//! - [`Curve`]: a piecewise-linear function, held constant beyond its ends.
//! - [`Droop`]: proportional power around a nominal frequency, with a deadband.
//! - [`Reduction`]: a generator's own reduction when the frequency is too high
//!   (limited frequency sensitive mode).
//! - [`definition`]: the services of markets and grid codes as data, with their sources.
//! - [`Delivery`]: the answer of one service over time, by the [`Course`] of its definition.
//! - [`measure`]: what was delivered, from series: response, accuracy, overshoot, score, availability.
//! - [`Reactive`] and [`FrequencyWatt`]: what a device does by itself, IEEE 1547 and others alike.
//!
//! Nominal frequency is always a parameter: nothing here knows 50 or 60 Hz.

mod curve;
pub mod definition;
mod delivery;
mod droop;
pub mod measure;
mod support;

pub use curve::{Curve, CurveError};
pub use delivery::{Course, Delivery, Phase};
pub use droop::{Droop, Reduction};
pub use support::{FrequencyWatt, Reactive, Side};
