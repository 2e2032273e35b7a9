//! Physical quantities as newtypes: one unit and one sign for the whole house.
//!
//! **The sign.** Positive is power from the device into the AC bus: generation,
//! discharge, import at the point of common coupling. A healthy bus then sums to
//! its losses. A vendor's opposite sign is flipped in its profile and nowhere else.
//!
//! **The units.** Every quantity holds one `f64` in its SI-like base unit (watt,
//! var, volt, hertz, watt-hour, degree). Constructors and getters name the unit;
//! only the operators that mean something exist. Active and reactive power have
//! the same dimension and are different things, so they do not add:
//!
//! ```
//! use quantities::ActivePower;
//! let p = ActivePower::from_watts(1.0) + ActivePower::from_kilowatts(2.0);
//! assert_eq!(p.as_watts(), 2001.0);
//! ```
//! ```compile_fail
//! use quantities::{ActivePower, ReactivePower};
//! let wrong = ActivePower::from_watts(1.0) + ReactivePower::from_vars(2.0);
//! ```
//!
//! This crate is not responsible for age or quality (see `model::sample`) nor for
//! money, which is an exact integer (see `market`).

mod bounds;
mod parse;
mod units;

pub use bounds::Bounds;
pub use parse::{ParseQuantityError, parse_duration, parse_quantity, parse_range};
pub use units::{
    ActivePower, ApparentPower, Current, Energy, Frequency, FrequencyRate, PhaseAngle, PowerRamp,
    Quantity, ReactivePower, StateOfCharge, Temperature, Voltage, VoltageRate,
};
