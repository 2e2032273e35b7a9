//! The deterministic control core: a process image and orders in, approved setpoints and events out.
//!
//! `estimate -> mode -> functions -> arbitrate -> allocate -> limiter`, once per
//! supervisory cycle, and the same road with only the fast functions when a
//! frequency sample arrives. The whole flow is on one screen in [`cycle`].
//!
//! The core does no I/O, reads no clock and draws no random number: the same
//! inputs give the same outputs, so a journal of inputs replays a field failure.
//! It is not protection: fast trips stay in hardware.

pub mod allocate;
pub mod arbitrate;
pub mod blocks;
pub mod cycle;
pub mod defect;
pub mod estimate;
pub mod functions;
pub mod mode;
pub mod reservation;
pub mod settings;

pub use cycle::{Adoption, Controller, Dispatch, Outcome, Rhythm};
pub use defect::Defect;
pub use estimate::Estimate;
pub use reservation::{Deliverer, Dwell, Reserved, ServiceSpec, Side, VoltageSpec};
pub use settings::{Bench, Settings};
