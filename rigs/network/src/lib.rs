//! Radial networks of any size: what they are made of, and the voltages in them.
//!
//! [`description`] says what a network is made of, [`read`] takes it from a file and refuses
//! what is no tree, [`tree`] orders it from its sources outward, and [`flow`] solves it,
//! balanced or phase by phase. All arithmetic is in per unit of [`base`].
//!
//! [`island`] is the frequency of what is cut off: machines, droop, inertia.
//!
//! It is not responsible for what devices do with their voltage, nor for protection.

pub mod base;
pub mod description;
pub mod flow;
pub mod island;
pub mod matrix;
pub mod read;
pub mod tree;
