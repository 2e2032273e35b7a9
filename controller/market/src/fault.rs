//! What every refusal of this crate can say about itself.
//!
//! Not responsible for printing: the command line joins code, place and help
//! into its own layout.

/// A refusal with a stable code, the place it is about, and what to do.
pub trait Coded: std::error::Error {
    /// Stable code, `M` and three digits; never reused for another meaning.
    fn code(&self) -> &'static str;

    /// What the refusal is about: an order, an agent, a field.
    fn place(&self) -> String;

    /// What the reader can do about it.
    fn help(&self) -> String;
}
