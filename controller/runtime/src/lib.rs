//! The edge: clock, control thread, dispatch, configuration, journal, telemetry, web.
//!
//! Everything that touches the world and is not a bus lives here: it reads the
//! rig, starts the buses, runs the control core on its own thread, makes every
//! dispatch durable before it leaves, and tells telemetry, journal and page.
//! It translates between rooms that do not know each other: control, market
//! and ledger.

pub mod access;
pub mod alarm;
pub mod awake;
pub mod clock;
pub mod desk;
pub mod engine;
pub mod evidence;
mod field;
pub mod fitness;
pub mod heartbeat;
pub mod image;
pub mod journal;
pub mod lease;
pub mod notify;
pub mod rig;
pub mod rights;
pub mod session;
pub mod telemetry;
pub mod thread;
pub mod tracker;
pub mod view;
pub mod web;
pub mod write_path;

/// Controllers that are wrong on purpose, for the qualification kit.
pub use control::Defect;
