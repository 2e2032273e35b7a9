//! Scenarios: script, runner, checks, report; and the emulated bench itself.

pub mod check;
pub mod codes;
pub mod report;
pub mod script;
pub mod series;
pub mod signal;
pub mod verdict;
