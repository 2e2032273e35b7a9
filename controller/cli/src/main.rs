//! The `gridrig` command: one verb per file.

fn main() {}
