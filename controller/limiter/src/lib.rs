//! The one door to the hardware: only this crate makes an [`Approved`] value.
//!
//! Drivers take nothing but `Approved<Setpoint>`; whatever an operator, the market
//! or a control function wishes passes through here and is clamped or refused.
//! The rules are hard limits of devices and bench; they know nothing of aims.
//!
//! ```compile_fail
//! // The field is private: nobody outside can make one.
//! let forged = limiter::Approved { value: 1 };
//! ```
//! ```
//! // Reading one is open to all.
//! fn written(setpoint: &limiter::Approved<model::Setpoint>) -> model::Setpoint { setpoint.get() }
//! ```

mod approved;
mod capability;
mod exchange;
mod fences;
mod interlock;
pub mod loop_delay;
mod ramp;
mod rules;
mod source;
mod verdict;

pub use approved::Approved;
pub use capability::capability;
pub use fences::{Fences, SyncWindow};
pub use rules::Limiter;
pub use verdict::{Clamp, Refusal, Verdict};
