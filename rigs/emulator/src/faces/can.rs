//! CAN: devices that send their frames at their period and take setpoints.
//!
//! The bytes of a frame come from the profile by this file's own bit placement, and its
//! own reading of what is sent to the devices. How frames reach a client is the business
//! of `socketcand` and `slcan`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::Point;
use profile::can::{
    Bits, ByteOrder, CanId, CanProfile, Control, ControlField, Field, Frame, Number, frame_length,
};
use profile::modbus::CommsLoss;
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::device::Revert;
use crate::world::{Shared, World};

/// Frames that a slow client may lag behind before it loses some.
/// Chosen: ten seconds of a battery with a hundred frames a second.
const BACKLOG: usize = 1024;

/// A frame on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanFrame {
    /// Identifier.
    pub id: CanId,
    /// Up to 64 data bytes; more than eight make a frame of CAN FD.
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

/// The sender number of the devices; clients count from one.
const DEVICES: u64 = 0;

/// A CAN bus with the devices that send on it.
#[derive(Debug)]
pub struct CanBus {
    world: Shared,
    devices: Vec<(usize, CanProfile)>,
    traffic: broadcast::Sender<Sent>,
    heard: Mutex<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    clients: u64,
    last: BTreeMap<CanId, Duration>,
}

impl CanBus {
    /// A bus without devices.
    #[must_use]
    pub fn new(world: Shared) -> Self {
        let (traffic, _) = broadcast::channel(BACKLOG);
        Self {
            world,
            devices: Vec::new(),
            traffic,
            heard: Mutex::new(Heard::default()),
        }
    }

    /// Puts a device on the bus.
    pub fn add(&mut self, device: usize, profile: CanProfile) {
        self.devices.push((device, profile));
    }

    /// Sends all devices' frames at their periods, for ever.
    pub async fn run(self: Arc<Self>) {
        let start = Instant::now();
        // Device, frame, and when it is due next; what is due together goes by identifier,
        // as arbitration would have it.
        let mut due: Vec<(Instant, usize, &Frame)> = self
            .devices
            .iter()
            .flat_map(|(device, profile)| profile.frames.iter().map(move |f| (start, *device, f)))
            .collect();
        due.sort_by_key(|(_, device, frame)| (frame.id, *device));
        while let Some(next) = due.iter().map(|(at, ..)| *at).min() {
            tokio::time::sleep_until(next).await;
            for (at, device, frame) in due.iter_mut().filter(|(at, ..)| *at <= next) {
                // Chosen: a profile without a period sends ten times a second.
                *at += frame.period.max(Duration::from_millis(1));
                if self.is_awake(*device) {
                    self.send_of(*device, frame);
                }
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

    /// Takes a frame of a client, for everybody else and for the devices that it commands.
    pub(crate) fn hear(&self, by: u64, frame: CanFrame) {
        let at = {
            let mut world = self.world.lock();
            world.touched(|| format!("frame {:?}", frame.id));
            world.plant.now()
        };
        self.heard().last.insert(frame.id, at);
        for (device, profile) in &self.devices {
            for control in profile.controls.iter().filter(|c| c.id == frame.id) {
                self.obey(*device, control, &frame.data);
            }
        }
        // No receiver is no fault: a bus may have one client only.
        let sent = Sent {
            by,
            at,
            frame,
            bus_off: false,
        };
        self.traffic.send(sent).ok();
    }

    /// Whether a device says anything: some are silent until somebody talks to them.
    fn is_awake(&self, device: usize) -> bool {
        let waking = self
            .devices
            .iter()
            .filter(|(ix, _)| *ix == device)
            .flat_map(|(_, profile)| &profile.keep_alive)
            .filter_map(|k| Some((k.id, k.wakes_for?)));
        let now = self.world.lock().plant.now();
        let heard = self.heard();
        let mut woken = waking.map(|(id, wakes_for)| {
            let last = heard.last.get(&id);
            last.is_some_and(|last| now.saturating_sub(*last) <= wakes_for)
        });
        woken
            .next()
            .is_none_or(|first| first || woken.any(|other| other))
    }

    /// Does what a control's frame says, if all that must stand in it does.
    fn obey(&self, device: usize, control: &Control, data: &[u8]) {
        if data.len() < control.len {
            return;
        }
        let mut wanted = None;
        for field in &control.fields {
            match field {
                ControlField::Constant(at, raw) if cut(data, *at) != Some(*raw) => return,
                ControlField::Setpoint(field) => wanted = read(data, field),
                ControlField::Constant(..) | ControlField::Counter(_) => {}
            }
        }
        let Some(value) = wanted else { return };
        let revert = match control.comms_loss {
            CommsLoss::Reverts { after } => Some(Revert::from(after)),
            CommsLoss::Holds => None,
        };
        // A device that has no such setpoint does nothing, as a real one would.
        self.world
            .lock()
            .write(device, control.point, value, revert)
            .ok();
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
            by: DEVICES,
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
fn encode(frame: &Frame, world: &World, device: usize) -> Option<Vec<u8>> {
    data(frame, |point| world.value(device, point))
}

/// The data bytes of a frame with these values; `None` when it knows none of its values.
#[must_use]
pub fn data(frame: &Frame, value: impl Fn(Point) -> Option<f64>) -> Option<Vec<u8>> {
    let mut data = vec![0_u8; length(frame)];
    if let Some(text) = &frame.identify {
        // Identity texts are filled with blanks, as `50594C4F4E202020` is.
        let blanks = std::iter::repeat(&b' ');
        for (byte, letter) in data.iter_mut().zip(text.iter().chain(blanks)) {
            *byte = *letter;
        }
    }
    for selector in &frame.page {
        if let Some((first, _)) = selector.values.first() {
            place(&mut data, selector.at, *first);
        }
    }
    let mut known = frame.signals.is_empty();
    for signal in &frame.signals {
        let value = value(signal.point);
        known |= value.is_some();
        let number = match (value, signal.not_implemented) {
            (None, Some(pattern)) => pattern,
            (Some(value), None) if signal.mask != u64::MAX => flags(value, signal.mask),
            _ => raw(&signal.field, value),
        };
        place(&mut data, signal.field.at, number);
    }
    known.then_some(data)
}

/// Data bytes that a frame needs: all its numbers, at least what receivers demand.
fn length(frame: &Frame) -> usize {
    let numbers = frame.signals.iter().map(|s| s.field.at);
    let needed = numbers
        .chain(frame.page.iter().map(|s| s.at))
        .map(|at| spots(at).map(|(byte, _)| byte + 1).max().unwrap_or(0))
        .max();
    let bytes = needed.unwrap_or(0).max(frame.len_min);
    frame_length(bytes).unwrap_or(bytes)
}

/// Flags in the bits of a mask: what is raised, or the first of them when it has no bit there.
fn flags(value: f64, mask: u64) -> u64 {
    match value as u64 & mask {
        0 if value > 0.0 => 1 << mask.trailing_zeros(),
        raised => raised,
    }
}

/// The raw number of a value; one that is not known becomes all ones, the custom on
/// vehicle buses, which lies outside any believable range.
fn raw(field: &Field, value: Option<f64>) -> u64 {
    let bits = u32::from(field.at.len.clamp(1, 64));
    let mask = u64::MAX >> (64 - bits);
    let Some(value) = value.filter(|v| v.is_finite()) else {
        return match field.number {
            // The most negative number, for all ones would be a plausible minus one.
            Number::Signed => 1 << (bits - 1),
            // As a float, all ones are no number.
            Number::Unsigned | Number::Float => mask,
        };
    };
    let number = (value - field.offset) / field.factor;
    match field.number {
        Number::Float if bits == 32 => u64::from((number as f32).to_bits()),
        Number::Float => number.to_bits(),
        // Casts stop at the ends of their type, so the largest number stays the largest.
        Number::Signed => {
            let top = (mask >> 1) as f64;
            number.round().clamp(-top - 1.0, top) as i64 as u64 & mask
        }
        Number::Unsigned => number.round().clamp(0.0, mask as f64) as u64 & mask,
    }
}

/// Bytes and bits of a number, from its least significant bit up.
fn spots(at: Bits) -> impl DoubleEndedIterator<Item = (usize, usize)> {
    let (start, bits) = (usize::from(at.start), usize::from(at.len.clamp(1, 64)));
    (0..bits).map(move |n| match at.order {
        ByteOrder::Little => ((start + n) / 8, (start + n) % 8),
        ByteOrder::Big => {
            let from_top = start / 8 * 8 + (7 - start % 8) + (bits - 1 - n);
            (from_top / 8, 7 - from_top % 8)
        }
    })
}

/// Puts a raw number into its bits.
fn place(data: &mut [u8], at: Bits, raw: u64) {
    for (n, (byte, bit)) in spots(at).enumerate() {
        if let Some(byte) = data.get_mut(byte) {
            *byte = (*byte & !(1 << bit)) | (((raw >> n) as u8 & 1) << bit);
        }
    }
}

/// The raw number in some bits; `None` when the data ends before.
fn cut(data: &[u8], at: Bits) -> Option<u64> {
    let mut raw = 0;
    for (n, (byte, bit)) in spots(at).enumerate() {
        raw |= u64::from(data.get(byte)? >> bit & 1) << n;
    }
    Some(raw)
}

/// The value that a client wrote.
fn read(data: &[u8], field: &Field) -> Option<f64> {
    let raw = cut(data, field.at)?;
    let bits = u32::from(field.at.len);
    let number = match field.number {
        Number::Float if bits == 32 => f64::from(f32::from_bits(raw as u32)),
        Number::Float => f64::from_bits(raw),
        Number::Signed if raw >> (bits - 1) & 1 == 1 => raw as f64 - 2_f64.powi(bits as i32),
        Number::Signed | Number::Unsigned => raw as f64,
    };
    number
        .is_finite()
        .then_some(number * field.factor + field.offset)
}

#[cfg(test)]
mod tests;
