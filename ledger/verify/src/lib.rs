//! Offline verification: no I/O but files.
