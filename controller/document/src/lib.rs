//! Reads TOML documents with places, and collects every fault before it gives up.
//!
//! A rig, a profile or a scenario is a TOML file that a person wrote. This crate
//! turns it into typed values and, where that fails, into [`Diagnostic`]s with
//! code, place, reason and help: all of them, not only the first. Keys that
//! nobody asked for are faults with a suggestion.
//!
//! It is not responsible for what a file means (see `profile`, `runtime`,
//! `scenario`) nor for how a fault is shown (see the command line).

mod diagnostic;
mod merge;
mod table;

pub use diagnostic::{Actor, Diagnostic, Place, Severity, Source};
pub use merge::merged;
pub use table::{Document, Spanned, Table};
