//! Atoms, logical clocks and proofs: pure and exact.
