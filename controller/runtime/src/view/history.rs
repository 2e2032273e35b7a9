//! The recent past of the bench, thinned for charts.

use std::collections::VecDeque;
use std::time::Duration;

use control::Estimate;
use model::{Instant, ProcessImage};

use super::DeviceLabel;

/// Shortest time between two points of a chart.
/// Chosen: 500 ms, so that ten minutes fit in the width of a wide screen.
const POINT_EVERY: Duration = Duration::from_millis(500);
/// Points kept: ten minutes of them.
const POINTS_KEPT: usize = 1_200;

/// What one device has said of late. `None` is unknown and leaves a gap.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceTrace {
    /// Active power in watts, positive = into the bus.
    pub p_w: VecDeque<Option<f64>>,
    /// Reactive power in vars, positive = into the bus.
    pub q_var: VecDeque<Option<f64>>,
    /// Frequency in hertz.
    pub f_hz: VecDeque<Option<f64>>,
    /// Voltage of phase 1 in volts.
    pub v_v: VecDeque<Option<f64>>,
}

/// Ten minutes of the bench: all lists have one entry per point of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// Control time in seconds.
    pub t_s: VecDeque<f64>,
    /// Frequency of the bus in hertz.
    pub f_hz: VecDeque<Option<f64>>,
    /// Voltage of the bus in volts.
    pub v_v: VecDeque<Option<f64>>,
    /// What each device said, in the order of the rig.
    pub devices: Vec<DeviceTrace>,
    latest: Option<Instant>,
}

impl History {
    /// An empty past of so many devices.
    pub(super) fn of(devices: usize) -> Self {
        Self {
            devices: vec![DeviceTrace::default(); devices],
            ..Self::default()
        }
    }

    /// Takes in a cycle, unless the last point is too near.
    pub(super) fn observe(
        &mut self,
        labels: &[DeviceLabel],
        now: Instant,
        estimate: &Estimate,
        image: &ProcessImage,
    ) {
        if self.latest.is_some_and(|at| now.since(at) < POINT_EVERY) {
            return;
        }
        self.latest = Some(now);
        push(&mut self.t_s, now.as_seconds());
        push(&mut self.f_hz, estimate.f.map(|f| f.as_hertz()));
        push(&mut self.v_v, estimate.v.map(|v| v.as_volts()));
        for (i, trace) in self.devices.iter_mut().enumerate() {
            let age_max = labels.get(i).map_or(Duration::ZERO, |l| l.sample_age_max);
            let said = image.devices.get(i);
            push(
                &mut trace.p_w,
                said.and_then(|d| d.p.fresh(now, age_max))
                    .map(|p| p.as_watts()),
            );
            push(
                &mut trace.q_var,
                said.and_then(|d| d.q.fresh(now, age_max))
                    .map(|q| q.as_vars()),
            );
            push(
                &mut trace.f_hz,
                said.and_then(|d| d.f.fresh(now, age_max))
                    .map(|f| f.as_hertz()),
            );
            push(
                &mut trace.v_v,
                said.and_then(|d| d.v.fresh(now, age_max))
                    .map(|v| v.as_volts()),
            );
        }
    }
}

fn push<T>(ring: &mut VecDeque<T>, item: T) {
    super::push_bounded(ring, POINTS_KEPT, item);
}
