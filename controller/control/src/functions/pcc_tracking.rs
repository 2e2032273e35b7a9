//! Holds the exchange at the point of common coupling with the storage.

use model::{Function, Group, Instant, Mode, Proposal, Target};
use quantities::{ActivePower, Bounds, Quantity};

use super::{Propose, Situation, Wishes};

/// Integral tracking of the exchange: the reference moves until the meter agrees.
///
/// A new market interval starts from what the market committed the storage to, so the tracking
/// only corrects what forecasts got wrong. What the market asks for within an interval, to make up for
/// what it lacks, moves the reference at once.
#[derive(Clone, Debug, Default)]
pub struct PccTracking {
    reference: Option<ActivePower>,
    updated_at: Option<Instant>,
    interval: Option<u64>,
    /// What the market wanted of the exchange last in this interval.
    wanted: Option<ActivePower>,
}

/// Error that is left alone, as a share of the storage's rating: below it, moving the battery
/// costs more than it brings. Chosen: 1 %, twice the noise of the emulated meter.
const LEFT_ALONE: f64 = 0.01;

impl Propose for PccTracking {
    const FAST: bool = false;

    fn propose(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        let settings = &s.bench.settings;
        let target = if s.mode == Mode::Leaving {
            Some(ActivePower::ZERO)
        } else {
            s.schedule.and_then(|x| x.pcc).or(settings.agreement.target)
        };
        let (Some(target), Some(measured), true) = (target, s.exchange(), s.mode.is_coupled())
        else {
            self.reference = None;
            self.updated_at = None;
            self.wanted = None;
            return;
        };
        let interval = s.schedule.map(|x| x.interval);
        if interval != self.interval {
            self.interval = interval;
            self.wanted = None;
            self.reference = s.schedule.map(|schedule| {
                schedule
                    .devices
                    .iter()
                    .filter(|(device, _)| s.is_free(*device))
                    .filter(|(device, _)| s.spec(*device).role == model::Role::Ess)
                    .map(|(_, p)| *p)
                    .sum()
            });
        }
        let able = s.storage_able();
        let wanted = s.schedule.and_then(|x| x.pcc);
        let wanted = wanted.filter(|_| s.mode != Mode::Leaving);
        let before = std::mem::replace(&mut self.wanted, wanted);
        // The storage carries what the utility shall not.
        let asked = match (before, wanted) {
            (Some(before), Some(wanted)) => before - wanted,
            _ => ActivePower::ZERO,
        };
        let last = self.reference.unwrap_or(s.storage_sent) + asked;
        let elapsed = self
            .updated_at
            .map_or(settings.period, |at| s.now.since(at))
            .min(settings.period * 4);
        let error = measured - target;
        let least = s.storage_rated() * LEFT_ALONE;
        // What a ramp has not let through yet is on its way, and is not asked for again.
        let awaited = last - s.storage_sent;
        let is_awaited =
            awaited.abs() > least && awaited * error.as_watts().signum() > ActivePower::ZERO;
        let moved = if error.abs() <= least || is_awaited {
            last
        } else {
            last + error * (settings.pcc_gain_per_s * elapsed.as_secs_f64())
        };
        // Held inside what the storage can do, so that the integral does not wind up.
        let reference = able.clamp(moved);
        self.reference = Some(reference);
        self.updated_at = Some(s.now);
        wishes.proposals.push(Proposal {
            function: Function::PccTracking,
            target: Target::Group {
                group: Group::Storage,
                wish: Some(reference),
                bounds: Bounds::unbounded(),
            },
            why: format!("exchange {measured:.1}, wanted {target:.1}"),
        });
    }
}
