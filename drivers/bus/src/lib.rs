//! Buses and drivers: from wire bytes to samples, from approved setpoints to wire bytes.
