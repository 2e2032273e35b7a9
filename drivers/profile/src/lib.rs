//! Device profiles: what a device says, as data.
