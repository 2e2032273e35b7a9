//! A distributed energy resource as IEEE 1547-2018 describes it.
//!
//! [`Der`] takes what the device measures, step by step, and says what it gives: reactive functions
//! with autonomous reference voltage, volt-watt, frequency droop from the power before the event,
//! limit of active power, enter service, trip, ride-through and momentary cessation.
//! [`settings`] is what can be set, [`defaults`] every default and range with its source,
//! [`series`] the rows of `gridrig der run`, [`defect`] devices that are wrong on purpose.
//!
//! Where the standard leaves a choice, the model chooses as EPRI's OpenDER 2.2.0 does, so that both
//! can be held against each other; what is known to differ stands in the suite `interop_der`.
//! The text of the standard was not read.
//!
//! It is not responsible for what stands around the device: plant, wires, protocols. It reads no
//! clock and draws no chance.

pub mod active;
pub mod defaults;
pub mod defect;
pub mod filter;
pub mod model;
pub mod reactive;
pub mod region;
pub mod ride;
pub mod series;
pub mod service;
pub mod settings;
pub mod trip;
pub mod voltage;

pub use defect::Defect;
pub use model::{Der, Measured, Output, Status};
pub use region::{Quantity, Region, Steps};
pub use settings::Settings;
pub use voltage::Volts;
