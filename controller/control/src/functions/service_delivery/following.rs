//! Whether a device follows what services ask of it.

use std::time::Duration;

use model::{DeviceIx, Instant};
use quantities::{ActivePower, Quantity};

use super::Situation;

/// Distance from what was asked that is not held against a device, as a share of its rating.
/// Chosen: 5 %, the accuracy that IEEE 1547 asks of a power of its rating.
const NEAR: f64 = 0.05;
/// The same as a share of what was asked. Chosen: 10 %, what a t90 leaves open.
const NEAR_OF_ASKED: f64 = 0.1;
/// Shortest time of being off after which a device counts as failed. Chosen: 2 s, more than
/// any healthy bus and inverter need for a step of the whole range.
const OFF_FOR: Duration = Duration::from_secs(2);

/// What a device was asked for on top of its baseline, and what it made of that.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Following {
    asked: ActivePower,
    off_since: Option<Instant>,
    failed: bool,
    just_failed: bool,
    /// Share of what it was asked for that it is seen to give, 0 to 1.
    gives: f64,
}

impl Following {
    /// Compares what is measured with what was asked for at the last look.
    pub(super) fn look(&mut self, s: &Situation<'_>, device: DeviceIx, baseline: ActivePower) {
        let spec = s.spec(device);
        let measured = s.image.devices[device.index()]
            .p
            .fresh(s.now, spec.sample_age_max);
        let rated = Quantity::max(spec.rating.p.upper().abs(), spec.rating.p.lower().abs());
        let near = Quantity::max(rated * NEAR, self.asked.abs() * NEAR_OF_ASKED);
        let given = measured.map(|p| p - baseline);
        // What is not known is not given. Of whom nothing is asked, nothing is owed: it may be on its way
        // to another baseline.
        let is_asked = self.asked.abs() > near;
        let off = is_asked && given.is_none_or(|given| (given - self.asked).abs() > near);
        let since = *self.off_since.get_or_insert(s.now);
        if !off {
            self.off_since = None;
        }
        let failed = off && s.now.since(since) >= OFF_FOR.max(spec.sample_age_max * 2);
        self.just_failed = failed && !self.failed;
        self.failed = failed;
        self.gives = match given {
            Some(given) if self.asked != ActivePower::ZERO => (given / self.asked).clamp(0.0, 1.0),
            _ => 0.0,
        };
    }

    /// What it is asked for from now on.
    pub(super) fn ask(&mut self, asked: ActivePower) {
        self.asked = asked;
    }

    /// Whether it was asked for anything.
    pub(super) fn is_asked(&self) -> bool {
        self.asked != ActivePower::ZERO
    }

    /// Share of what it was asked for that it is seen to give, 0 to 1; all of it, unless it does not follow.
    pub(super) fn gives(&self) -> f64 {
        if self.failed { self.gives } else { 1.0 }
    }

    /// Whether it is seen not to follow.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Whether that was seen at the last look for the first time.
    pub(super) fn has_just_failed(&self) -> bool {
        self.just_failed
    }

    /// What it owes of a share.
    pub(super) fn owes(&self, share: ActivePower) -> ActivePower {
        if self.failed {
            share * (1.0 - self.gives)
        } else {
            ActivePower::ZERO
        }
    }
}
