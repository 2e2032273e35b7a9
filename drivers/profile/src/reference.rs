//! The reference page of all bundled devices, generated from their profiles.

/// placeholder
pub fn reference_page() -> String { String::new() }
