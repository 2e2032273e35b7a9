//! Reads TOML documents with places, and collects every fault before it gives up.
