//! What the tests of buses share: a clock on virtual time, a sink that remembers, approved setpoints.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use limiter::{Approved, Limiter};
use model::{
    Clock, DeviceIx, DeviceSpec, Flaw, Image as _, Instant, Point, PointSample, ProcessImage,
    Reading, Role, Setpoint, UtcTime,
};
