//! CAN: batteries that send their frames at their period.
//!
//! The bytes of a frame come from the profile's signals by this file's own bit
//! placement. How frames reach a client is the business of `socketcand`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use profile::can::{ByteOrder, CanId, CanProfile, Frame, Signal};
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::world::{Shared, World};

/// Frames that a slow client may lag behind before it loses some.
/// Chosen: ten seconds of a battery with a hundred frames a second.
const BACKLOG: usize = 1024;

/// A frame on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanFrame {
    /// Identifier.
    pub id: CanId,
    /// Up to eight data bytes.
    pub data: Vec<u8>,
}

/// A frame with the one who sent it, so that nobody hears himself.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) by: u64,
    pub(crate) at: Duration,
    pub(crate) frame: CanFrame,
    /// In place of the frame: every controller has left the bus.
    pub(crate) bus_off: bool,
}

/// The sender number of the batteries; clients count from one.
const BATTERIES: u64 = 0;

/// A CAN bus with the batteries that send on it.
#[derive(Debug)]
pub struct CanBus {
    world: Shared,
    batteries: Vec<(usize, CanProfile)>,
    traffic: broadcast::Sender<Sent>,
    heard: Mutex<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    clients: u64,
    last: BTreeMap<CanId, Duration>,
}

impl CanBus {
    /// A bus without batteries.
    #[must_use]
    pub fn new(world: Shared) -> Self {
        let (traffic, _) = broadcast::channel(BACKLOG);
        Self {
            world,
            batteries: Vec::new(),
            traffic,
            heard: Mutex::new(Heard::default()),
        }
    }

    /// Puts a battery on the bus.
    pub fn add(&mut self, device: usize, profile: CanProfile) {
        self.batteries.push((device, profile));
    }

    /// Sends all batteries' frames at their periods, for ever.
    pub async fn run(self: Arc<Self>) {
        let start = Instant::now();
        // Battery, frame, and when it is due next; what is due together goes by identifier,
        // as arbitration would have it.
        let mut due: Vec<(Instant, usize, &Frame)> = self
            .batteries
            .iter()
            .flat_map(|(device, profile)| profile.frames.iter().map(move |f| (start, *device, f)))
            .collect();
        due.sort_by_key(|(_, device, frame)| (frame.id, *device));
        while let Some(next) = due.iter().map(|(at, ..)| *at).min() {
            tokio::time::sleep_until(next).await;
            for (at, device, frame) in due.iter_mut().filter(|(at, ..)| *at <= next) {
                // Chosen: a profile without a period sends ten times a second.
                *at += frame.period.max(Duration::from_millis(1));
                self.send_of(*device, frame);
            }
        }
    }

    /// The time at which a client last sent a frame, in the plant's time.
    #[must_use]
    pub fn last_heard(&self, id: CanId) -> Option<Duration> {
        self.heard().last.get(&id).copied()
    }

    pub(crate) fn join(&self) -> (u64, broadcast::Receiver<Sent>) {
        let mut heard = self.heard();
        heard.clients += 1;
        (heard.clients, self.traffic.subscribe())
    }

    /// Takes a frame of a client, for everybody else.
    pub(crate) fn hear(&self, by: u64, frame: CanFrame) {
        let at = {
            let mut world = self.world.lock();
            world.touched(|| format!("frame {:?}", frame.id));
            world.plant.now()
        };
        self.heard().last.insert(frame.id, at);
        // No receiver is no fault: a bus may have one client only.
        let sent = Sent {
            by,
            at,
            frame,
            bus_off: false,
        };
        self.traffic.send(sent).ok();
    }

    fn send_of(&self, device: usize, frame: &Frame) {
        let (wire, data, at) = {
            let mut world = self.world.lock();
            let wire = world.befall(device);
            let data = encode(frame, &world, device);
            (wire, data, world.plant.now())
        };
        let Some(mut data) = data else { return };
        // A damaged CAN frame never arrives: controllers throw it away.
        if wire.lost || wire.damaged || wire.hang_up {
            return;
        }
        if wire.wrong_length {
            data.pop();
        }
        let sent = Sent {
            by: BATTERIES,
            at,
            frame: CanFrame { id: frame.id, data },
            bus_off: wire.bus_off,
        };
        if wire.delay.is_zero() {
            self.traffic.send(sent).ok();
        } else {
            let traffic = self.traffic.clone();
            tokio::spawn(async move {
                tokio::time::sleep(wire.delay).await;
                traffic.send(sent).ok();
            });
        }
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The data bytes of a frame now; `None` when the device knows none of its values.
#[must_use]
pub fn encode(frame: &Frame, world: &World, device: usize) -> Option<Vec<u8>> {
    let mut data = vec![0_u8; length(frame)];
    if let Some(text) = &frame.identify {
        // Identity texts are filled with blanks, as `50594C4F4E202020` is.
        let blanks = std::iter::repeat(&b' ');
        for (byte, letter) in data.iter_mut().zip(text.iter().chain(blanks)) {
            *byte = *letter;
        }
    }
    let mut known = frame.signals.is_empty();
    for signal in &frame.signals {
        let value = world.value(device, signal.point);
        known |= value.is_some();
        place(&mut data, signal, raw(signal, value));
    }
    known.then_some(data)
}

/// Data bytes that a frame needs: all its signals, at least what receivers demand, at most eight.
fn length(frame: &Frame) -> usize {
    let last_bit = |signal: &Signal| -> usize {
        let bits = usize::from(signal.bits).max(1);
        let start = usize::from(signal.start_bit);
        match signal.order {
            ByteOrder::Little => start + bits - 1,
            ByteOrder::Big => {
                let first = start / 8 * 8 + 7 - start % 8;
                first + bits - 1
            }
        }
    };
    let needed = frame.signals.iter().map(|s| last_bit(s) / 8 + 1).max();
    needed.unwrap_or(0).max(frame.len_min).min(8)
}

/// The raw number of a signal; a value that is not known becomes all ones, the custom on
/// vehicle buses, which lies outside any believable range.
fn raw(signal: &Signal, value: Option<f64>) -> u64 {
    let bits = u32::from(signal.bits.clamp(1, 64));
    let mask = u64::MAX >> (64 - bits);
    let Some(value) = value.filter(|v| v.is_finite()) else {
        return if signal.signed {
            // The most negative number, for all ones would be a plausible minus one.
            1 << (bits - 1)
        } else {
            mask
        };
    };
    let raw = ((value - signal.offset) / signal.factor).round();
    let clamped = if signal.signed {
        let top = (mask >> 1) as f64;
        raw.clamp(-top - 1.0, top) as i64 as u64
    } else {
        raw.clamp(0.0, mask as f64) as u64
    };
    clamped & mask
}

/// Puts a raw number into its bits.
fn place(data: &mut [u8], signal: &Signal, raw: u64) {
    let bits = usize::from(signal.bits.clamp(1, 64));
    let start = usize::from(signal.start_bit);
    for n in 0..bits {
        // Bit `n` of the number, from the least significant up, and where it stands.
        let (byte, bit) = match signal.order {
            ByteOrder::Little => ((start + n) / 8, (start + n) % 8),
            ByteOrder::Big => {
                let from_top = bits - 1 - n;
                let at = start / 8 * 8 + (7 - start % 8) + from_top;
                (at / 8, 7 - at % 8)
            }
        };
        if let Some(byte) = data.get_mut(byte) {
            *byte = (*byte & !(1 << bit)) | (((raw >> n) as u8 & 1) << bit);
        }
    }
}

#[cfg(test)]
mod tests;
