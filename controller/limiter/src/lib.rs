//! The one door to the hardware: only this crate makes an [`Approved`] value.
//!
//! Drivers take nothing but `Approved<Setpoint>`; whatever an operator, the market
//! or a control function wishes passes through here and is clamped or refused.
//!
//! ```compile_fail
//! // The field is private: nobody outside can make one.
//! let forged = limiter::Approved { value: 1 };
//! ```

mod approved;

pub use approved::Approved;
