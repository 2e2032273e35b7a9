//! The demo bench, inside the binary: it runs without any file on disk.

/// Path under which the demo rig is known.
pub const RIG_PATH: &str = "rigs/virtual/campus.toml";
/// The demo rig.
pub const RIG: &str = include_str!("../../virtual/campus.toml");
/// Path under which the course of its day is known.
pub const DAY_PATH: &str = "rigs/virtual/campus-day.toml";
/// The course of its day.
pub const DAY: &str = include_str!("../../virtual/campus-day.toml");
