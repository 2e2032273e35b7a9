//! Static characteristics of frequency and voltage services: pure functions of data.
//!
//! A characteristic says what power belongs to a frequency or a voltage once
//! everything has settled. How fast a device gets there is the business of the
//! function or the device that uses it.
//!
//! - [`Curve`]: a piecewise-linear function, held constant beyond its ends.
//! - [`Droop`]: proportional power around a nominal frequency, with a deadband.
//! - [`Reduction`]: a generator's own reduction when the frequency is too high
//!   (limited frequency sensitive mode).
//! - [`definition`]: the services of markets and grid codes as data, with their sources.
//! - [`Reactive`] and [`FrequencyWatt`]: what a device does by itself, IEEE 1547 and others alike.
//!
//! Nominal frequency is always a parameter: nothing here knows 50 or 60 Hz.

mod curve;
pub mod definition;
mod droop;
mod support;

pub use curve::{Curve, CurveError};
pub use droop::{Droop, Reduction};
pub use support::{FrequencyWatt, Reactive, Side};
