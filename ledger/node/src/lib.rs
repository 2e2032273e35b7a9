//! The node log: durable, append-only, its entry index is the logical clock.
