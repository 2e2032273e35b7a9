//! The only maker of Approved setpoints.
