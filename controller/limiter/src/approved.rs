//! The proof that a value has passed the limiter.

use serde::Serialize;

/// A value that the limiter has let through. It can be read and carried, not made or changed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Approved<T> {
    value: T,
}

impl<T> Approved<T> {
    /// The only place where one comes into being.
    pub(crate) fn new(value: T) -> Self {
        Self { value }
    }

    /// What was approved, for a look.
    #[must_use]
    pub fn value(&self) -> &T {
        &self.value
    }
}

impl<T: Copy> Approved<T> {
    /// What was approved.
    #[must_use]
    pub fn get(&self) -> T {
        self.value
    }
}
