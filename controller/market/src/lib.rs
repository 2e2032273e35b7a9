//! Clearing and settlement in exact integers.
