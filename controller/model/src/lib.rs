//! The shared nouns of the controller: what rooms say to each other.
//!
//! Nothing here behaves: no I/O, no clock, no policy. A plain value travels one
//! way round: samples make a [`ProcessImage`], the control core answers it with
//! setpoints and [`Event`]s, and the next image shows what came of it.

pub mod characteristic;
pub mod command;
pub mod device;
pub mod event;
pub mod image;
pub mod mode;
pub mod point;
pub mod proposal;
pub mod sample;
pub mod service;
pub mod time;

pub use characteristic::{Characteristic, Droop, NotACharacteristic};
pub use command::{Agreement, Order, Readiness, ReadyShare, RestStep, Schedule, Setpoint};
pub use device::{
    DeviceId, DeviceIx, DeviceSpec, Efficiency, Forming, Rating, Role, SourceRating,
    TemperatureRating,
};
pub use event::{Event, Stage};
pub use image::{DeviceImage, Link, ProcessImage};
pub use mode::{Mode, ModeRequest};
pub use point::Point;
pub use proposal::{Function, Group, Proposal, Target};
pub use sample::{Flaw, PointSample, Reading, Sample, Signal};
pub use service::{ServiceIx, ServicePhase, ServiceReport};
pub use time::{Clock, Instant, LogicalTime, NoMoment, UtcTime};
