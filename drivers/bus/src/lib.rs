//! Buses and drivers: from wire bytes to samples, from approved setpoints to wire bytes.
//!
//! One task per physical link. A bus is told which devices hang on it and what
//! their profiles say; it reads, decodes, and hands [`model::PointSample`]s to a
//! [`Sink`]; it takes [`WriteJob`]s, writes them, and reads the device's own
//! register or state topic back. A bus starts without a way to write: [`BusHandle::arm`]
//! makes one, and it is gone when the bench is disarmed. Whether the measured power then follows is
//! judged by the runtime, which sees the whole image.
//!
//! It is not responsible for limits (see `limiter`), for what a sample means, nor
//! for the emulated side (see `emulator`, which shares no codec with this crate).

mod arming;
mod asking;
pub mod can;
pub mod modbus;
pub mod mqtt;
pub mod plan;
mod port;
pub mod scpi;
mod stats;
mod traffic;

pub use arming::Permit;
pub use port::{
    AdoptJob, BusDevice, BusHandle, BusSpec, DispatchId, Endpoint, Framing, KeepAlives, LimitOf,
    LinkEvent, PollPeriods, Rejected, Sink, WriteJob, Writer, start,
};
pub use stats::{BusReport, BusStats, DeviceReport, DeviceStats};
pub use traffic::Traffic;
