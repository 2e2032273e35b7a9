//! Frames that devices want to hear, and when. Pure; time is an argument.

use std::time::Duration;

use model::{DeviceIx, Instant, Point};
use profile::can::{CanId, Field};

use super::codec::{self, Data, Frame};
use crate::BusDevice;

/// All keep-alives of a bus.
#[derive(Debug, Default)]
pub(crate) struct KeepAlives {
    wanted: Vec<Wanted>,
    /// The bench is armed.
    armed: bool,
}

/// A frame that a device wants to hear.
#[derive(Debug)]
struct Wanted {
    device: DeviceIx,
    id: CanId,
    data: Vec<u8>,
    values: Vec<(Point, Field)>,
    every: Duration,
    due: Instant,
    /// Sent also while the bench only looks.
    always: bool,
}

impl KeepAlives {
    /// What these devices want to hear, first at `now`. Two devices that want the same fixed
    /// frame get it once, at the shorter interval.
    pub(crate) fn new(devices: &[BusDevice], now: Instant) -> Self {
        let mut this = Self::default();
        for device in devices {
            let profile = super::listener::can(&device.profile);
            let always = device.keep_alives == crate::KeepAlives::Always;
            for keep_alive in profile.into_iter().flat_map(|p| &p.keep_alive) {
                let same = |w: &&mut Wanted| {
                    w.id == keep_alive.id
                        && w.data == keep_alive.data
                        && w.values.is_empty()
                        && keep_alive.values.is_empty()
                };
                match this.wanted.iter_mut().find(same) {
                    Some(known) => {
                        known.every = known.every.min(keep_alive.every);
                        known.always |= always;
                    }
                    None => this.wanted.push(Wanted {
                        device: device.ix,
                        id: keep_alive.id,
                        data: keep_alive.data.clone(),
                        values: keep_alive.values.clone(),
                        every: keep_alive.every,
                        due: now,
                        always,
                    }),
                }
            }
        }
        this
    }

    /// Frames that have to be sent now, each with the device that wants it; each is due again after its interval. `known` is the
    /// last good value of a device's point: a frame that lacks one is left out this time.
    pub(crate) fn due(
        &mut self,
        now: Instant,
        known: impl Fn(DeviceIx, Point) -> Option<f64>,
    ) -> Vec<(DeviceIx, Frame)> {
        let mut frames = Vec::new();
        let armed = self.armed;
        let sent = self.wanted.iter_mut().filter(|w| armed || w.always);
        for wanted in sent.filter(|w| w.due <= now) {
            // Counted from now: after an outage there is one frame, not a burst.
            wanted.due = now + wanted.every;
            let frame = wanted.frame(&known);
            frames.extend(frame.map(|frame| (wanted.device, frame)));
        }
        frames
    }

    /// All are due at once: the link has just opened, or the bus has come back.
    pub(crate) fn begin(&mut self, now: Instant) {
        for wanted in &mut self.wanted {
            wanted.due = now;
        }
    }

    /// The bench is armed or disarmed: all are due at once, or are not sent any more.
    pub(crate) fn arm(&mut self, armed: bool, now: Instant) {
        if std::mem::replace(&mut self.armed, armed) != armed && armed {
            self.begin(now);
        }
    }

    /// When the next one is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let sent = self.wanted.iter().filter(|w| self.armed || w.always);
        sent.map(|w| w.due).min()
    }
}

impl Wanted {
    fn frame(&self, known: &impl Fn(DeviceIx, Point) -> Option<f64>) -> Option<Frame> {
        let mut data = self.data.clone();
        for (point, field) in &self.values {
            let value = known(self.device, *point)?;
            codec::insert(&mut data, field.at, codec::raw(field, value)?);
        }
        Some(Frame::Data {
            id: self.id,
            data: Data::new(&data)?,
        })
    }
}
