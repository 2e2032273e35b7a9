//! Scenarios: script, runner, checks, report; and the emulated bench itself.

pub mod bench;
pub mod benches;
pub mod check;
pub mod codes;
pub mod demo;
mod evidence;
pub mod far_ends;
pub mod fit;
pub mod folder;
mod interrupt;
pub mod live;
pub mod recorder;
pub mod report;
pub mod runner;
pub mod script;
pub mod series;
mod services;
pub mod signal;
mod stage;
pub mod svp;
mod taken;
pub mod verdict;
