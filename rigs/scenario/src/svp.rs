//! The SunSpec System Validation Platform (SVP): its tests are read, and its tables of results are written, so that
//! the paperwork of a laboratory that has used it goes on.
//!
//! A test there (`.tst`) is the parameters of a script in Python; what the script does with them is not in it, so
//! what is made of it is the matrix of a scenario ([`scenario_text`]) and not the scenario. Its results are a table
//! of measurements and a summary of its steps ([`Table`], [`summary`]).
//! Source: the platform's `script.py` and the scripts and results of its tests of IEEE 1547.1, which are public.

mod matrix;
mod table;
mod test_file;
#[cfg(test)]
mod tests;

pub use matrix::scenario_text;
pub use table::{Table, summary};
pub use test_file::{Fault, FaultKind, Parameter, SvpTest, read};
