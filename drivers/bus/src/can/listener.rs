//! What a bus full of frames says about its devices: a pure state machine.
//!
//! Responsible for turning frames and silence into samples and events. Time is an
//! argument. Not responsible for the link, nor for sending the keep-alives that it
//! says are due.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::{DeviceIx, Flaw, Instant, Point, PointSample, Reading, Sample};
use profile::can::{CanId, CanProfile, Frame as FrameSpec};
use profile::{Profile, Protocol};

use super::codec::{self, CLASS_BUS_OFF, Data, Frame};
use crate::{BusDevice, BusStats, KeepAlives, LinkEvent, Sink};

/// A frame that devices want to hear.
#[derive(Clone, Debug, PartialEq)]
struct KeepAlive {
    frame: Frame,
    every: Duration,
    due: Instant,
    /// Sent also while the bench only looks.
    always: bool,
}

/// How a frame of the profile comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    /// Not yet, since this instant; or the last time then.
    Listening { since: Instant, heard: bool },
    /// Its time is over.
    Silent,
}

#[derive(Debug)]
struct Device {
    ix: DeviceIx,
    id: Arc<str>,
    profile: Arc<Profile>,
    watches: Vec<Watch>,
    /// What was said about the device last; nothing yet at first.
    online: Option<bool>,
    /// Its identity frame did not fit.
    wrong: bool,
}

impl Device {
    fn can(&self) -> Option<&CanProfile> {
        can(&self.profile)
    }

    fn points(&self) -> BTreeSet<Point> {
        self.can()
            .into_iter()
            .flat_map(|p| &p.frames)
            .flat_map(points)
            .collect()
    }
}

fn can(profile: &Profile) -> Option<&CanProfile> {
    match &profile.protocol {
        Protocol::Can(profile) => Some(profile),
        Protocol::Modbus(_) | Protocol::Mqtt(_) => None,
    }
}

fn points(frame: &FrameSpec) -> impl Iterator<Item = Point> + '_ {
    frame.signals.iter().map(|s| s.point)
}

/// Where samples, events and counts go.
pub(crate) struct Desk<'a> {
    pub(crate) sink: &'a dyn Sink,
    pub(crate) stats: &'a BusStats,
    pub(crate) now: Instant,
}

impl Desk<'_> {
    fn sample(&self, device: DeviceIx, point: Point, reading: Reading<f64>) {
        self.sink.sample(PointSample {
            device,
            point,
            sample: Sample {
                measured_at: self.now,
                reading,
            },
        });
    }

    fn notice(&self, device: Option<DeviceIx>, text: String) {
        self.sink.event(LinkEvent::Notice { device, text });
    }
}

/// Listens to a bus.
#[derive(Debug)]
pub(crate) struct Listener {
    devices: Vec<Device>,
    /// Which frames of which devices have an identifier.
    by_id: BTreeMap<CanId, Vec<(usize, usize)>>,
    keep_alives: Vec<KeepAlive>,
    /// The rig's time-out in place of the profiles'.
    timeout: Option<Duration>,
    /// The controller is off the bus and this has been told.
    bus_off: bool,
    /// The bench is armed.
    armed: bool,
}

impl Listener {
    /// A listener for these devices; those of other protocols get a notice and bad samples.
    pub(crate) fn new(devices: Vec<BusDevice>, timeout: Option<Duration>, desk: &Desk<'_>) -> Self {
        let mut this = Self {
            devices: Vec::new(),
            by_id: BTreeMap::new(),
            keep_alives: Vec::new(),
            timeout,
            bus_off: false,
            armed: false,
        };
        for device in devices {
            let Some(profile) = can(&device.profile) else {
                desk.notice(
                    Some(device.ix),
                    format!(
                        "{}: profile {} is not for CAN; put the device on another bus",
                        device.id, device.profile.id
                    ),
                );
                desk.sink.event(LinkEvent::Offline(device.ix, Flaw::Config));
                continue;
            };
            let place = this.devices.len();
            for (n, frame) in profile.frames.iter().enumerate() {
                this.by_id.entry(frame.id).or_default().push((place, n));
            }
            this.hear_keep_alives(&device, profile, desk);
            this.devices.push(Device {
                ix: device.ix,
                id: device.id,
                watches: vec![
                    Watch::Listening {
                        since: desk.now,
                        heard: false,
                    };
                    profile.frames.len()
                ],
                profile: device.profile,
                online: None,
                wrong: false,
            });
        }
        this
    }

    /// Two devices that want the same frame get it once, at the shorter interval.
    fn hear_keep_alives(&mut self, device: &BusDevice, profile: &CanProfile, desk: &Desk<'_>) {
        for wanted in &profile.keep_alive {
            let Some(data) = Data::new(&wanted.data) else {
                desk.notice(
                    Some(device.ix),
                    format!(
                        "{}: a keep-alive of profile {} has more than 8 bytes and is not sent",
                        device.id, device.profile.id
                    ),
                );
                continue;
            };
            let frame = Frame::Data {
                id: wanted.id,
                data,
            };
            let always = device.keep_alives == KeepAlives::Always;
            match self.keep_alives.iter_mut().find(|k| k.frame == frame) {
                Some(known) => {
                    known.every = known.every.min(wanted.every);
                    known.always |= always;
                }
                None => self.keep_alives.push(KeepAlive {
                    frame,
                    every: wanted.every,
                    due: desk.now,
                    always,
                }),
            }
        }
    }

    /// Identifiers that any device sends.
    pub(crate) fn ids(&self) -> Vec<CanId> {
        self.by_id.keys().copied().collect()
    }

    /// Time that a frame takes on the wire, at the slowest bit rate of the profiles.
    pub(crate) fn wire_time(&self, frame: &Frame) -> Duration {
        // ISO 11898-1: 47 bits around the data with 11-bit identifiers, 67 with 29-bit ones,
        // gap between frames included, stuff bits left out.
        let bits = match frame {
            Frame::Data { id, data } => overhead_bits(*id) + 8 * data.as_slice().len() as u64,
            Frame::Remote { id } => overhead_bits(*id),
            // An error frame is six to twelve dominant bits, a delimiter and a gap.
            Frame::Error { .. } => 23,
        };
        let rate = self
            .devices
            .iter()
            .filter_map(|d| d.can().map(|p| p.bitrate))
            .filter(|rate| *rate > 0)
            .min();
        rate.map_or(Duration::ZERO, |rate| {
            Duration::from_nanos(bits * 1_000_000_000 / u64::from(rate))
        })
    }

    /// Takes in a frame.
    pub(crate) fn hear(&mut self, frame: &Frame, desk: &Desk<'_>) {
        match frame {
            Frame::Data { id, data } => self.hear_data(*id, data.as_slice(), desk),
            // Requests of other nodes; a device that is asked answers with a data frame.
            Frame::Remote { .. } => {}
            Frame::Error { class } if class & CLASS_BUS_OFF != 0 => self.hear_bus_off(desk),
            Frame::Error { class } => {
                tracing::debug!(class, "The CAN controller reported an error.");
                BusStats::add(&desk.stats.corrupt, 1);
            }
        }
    }

    fn hear_data(&mut self, id: CanId, data: &[u8], desk: &Desk<'_>) {
        self.bus_off = false;
        for (place, n) in self.by_id.get(&id).into_iter().flatten() {
            if let Some(device) = self.devices.get_mut(*place) {
                hear_frame(device, *n, data, desk);
            }
        }
    }

    /// The controller left the bus: nothing of what is known is true any more.
    fn hear_bus_off(&mut self, desk: &Desk<'_>) {
        if std::mem::replace(&mut self.bus_off, true) {
            return;
        }
        desk.notice(
            None,
            "the CAN controller has left the bus (bus-off): check cable, termination and bit rate; \
             it returns by itself if the interface has a restart time (`ip link set … restart-ms 100`)"
                .to_owned(),
        );
        for device in &mut self.devices {
            device.watches.fill(Watch::Silent);
            go_offline(device, Flaw::BusOff, desk);
        }
    }

    /// What silence says by now.
    pub(crate) fn tick(&mut self, desk: &Desk<'_>) {
        for device in &mut self.devices {
            let profile = Arc::clone(&device.profile);
            let Some(profile) = can(&profile) else {
                continue;
            };
            for (n, frame) in profile.frames.iter().enumerate() {
                let limit = self.timeout.unwrap_or(frame.timeout);
                match device.watches.get(n) {
                    Some(Watch::Listening { since, .. }) if desk.now >= *since + limit => {
                        lose_frame(device, profile, n, desk);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Frames that have to be sent now; each is due again after its interval.
    pub(crate) fn due_keep_alives(&mut self, now: Instant) -> Vec<Frame> {
        let mut frames = Vec::new();
        let armed = self.armed;
        for keep_alive in self.keep_alives.iter_mut().filter(|k| armed || k.always) {
            if keep_alive.due <= now {
                // Counted from now: after an outage there is one frame, not a burst.
                keep_alive.due = now + keep_alive.every;
                frames.push(keep_alive.frame);
            }
        }
        frames
    }

    /// All keep-alives are due at once: the link has just opened.
    pub(crate) fn link_up(&mut self, now: Instant) {
        for keep_alive in &mut self.keep_alives {
            keep_alive.due = now;
        }
    }

    /// When the next silence is judged; `None` when all is silent already.
    pub(crate) fn next_silence(&self) -> Option<Instant> {
        let limits = self.devices.iter().flat_map(|device| {
            let frames = device.can().map_or(&[][..], |p| &p.frames);
            frames.iter().zip(&device.watches)
        });
        limits
            .filter_map(|(frame, watch)| match watch {
                Watch::Listening { since, .. } => {
                    Some(*since + self.timeout.unwrap_or(frame.timeout))
                }
                Watch::Silent => None,
            })
            .min()
    }

    /// When the next keep-alive is due.
    pub(crate) fn next_keep_alive(&self) -> Option<Instant> {
        let sent = self.keep_alives.iter().filter(|k| self.armed || k.always);
        sent.map(|k| k.due).min()
    }

    /// The bench is armed or disarmed: all keep-alives are due at once, or are not sent any more.
    pub(crate) fn arm(&mut self, armed: bool, now: Instant) {
        if std::mem::replace(&mut self.armed, armed) != armed && armed {
            self.link_up(now);
        }
    }

    /// Name of a device in the rig, for messages.
    pub(crate) fn name(&self, ix: DeviceIx) -> Option<&str> {
        self.devices.iter().find(|d| d.ix == ix).map(|d| &*d.id)
    }
}

fn overhead_bits(id: CanId) -> u64 {
    match id {
        CanId::Standard(_) => 47,
        CanId::Extended(_) => 67,
    }
}

fn hear_frame(device: &mut Device, n: usize, data: &[u8], desk: &Desk<'_>) {
    let profile = Arc::clone(&device.profile);
    let Some(frame) = can(&profile).and_then(|p| p.frames.get(n)) else {
        return;
    };
    if let Some(watch) = device.watches.get_mut(n) {
        *watch = Watch::Listening {
            since: desk.now,
            heard: true,
        };
    }
    if device.online != Some(true) {
        device.online = Some(true);
        desk.sink.event(LinkEvent::Online(device.ix));
    }
    match codec::identity_fits(frame, data) {
        Some(true) => device.wrong = false,
        Some(false) => identity_is_wrong(device, frame, data, desk),
        None => {}
    }
    let mut corrupt = data.len() < frame.len_min;
    for signal in &frame.signals {
        let reading = if device.wrong {
            Reading::Bad(Flaw::Config)
        } else {
            codec::decode(frame, signal, data)
        };
        corrupt |= reading == Reading::Bad(Flaw::Corrupt);
        desk.sample(device.ix, signal.point, reading);
    }
    BusStats::add(
        if corrupt {
            &desk.stats.corrupt
        } else {
            &desk.stats.answers
        },
        1,
    );
}

/// A device that says it is another one: none of its numbers mean what the profile says.
fn identity_is_wrong(device: &mut Device, frame: &FrameSpec, data: &[u8], desk: &Desk<'_>) {
    if std::mem::replace(&mut device.wrong, true) {
        return;
    }
    desk.notice(
        Some(device.ix),
        format!(
            "{}: frame {} says {:?}, but profile {} expects {:?}: choose the profile of this device",
            device.id,
            id_text(frame.id),
            String::from_utf8_lossy(data),
            device.profile.id,
            String::from_utf8_lossy(frame.identify.as_deref().unwrap_or_default()),
        ),
    );
    for point in device.points() {
        desk.sample(device.ix, point, Reading::Bad(Flaw::Config));
    }
}

fn id_text(id: CanId) -> String {
    match id {
        CanId::Standard(id) => format!("0x{id:03X}"),
        CanId::Extended(id) => format!("0x{id:08X}"),
    }
}

/// A frame has not come in time: its points are not believed, unless another live frame has them.
fn lose_frame(device: &mut Device, profile: &CanProfile, n: usize, desk: &Desk<'_>) {
    if let Some(watch) = device.watches.get_mut(n) {
        *watch = Watch::Silent;
    }
    BusStats::add(&desk.stats.timeouts, 1);
    if device.watches.iter().all(|w| *w == Watch::Silent) {
        go_offline(device, Flaw::Offline, desk);
        return;
    }
    let live: BTreeSet<Point> = profile
        .frames
        .iter()
        .zip(&device.watches)
        .filter(|(_, watch)| matches!(watch, Watch::Listening { heard: true, .. }))
        .flat_map(|(frame, _)| points(frame))
        .collect();
    for point in profile.frames.get(n).into_iter().flat_map(points) {
        if !live.contains(&point) {
            desk.sample(device.ix, point, Reading::Bad(Flaw::Timeout));
        }
    }
}

fn go_offline(device: &mut Device, flaw: Flaw, desk: &Desk<'_>) {
    for point in device.points() {
        desk.sample(device.ix, point, Reading::Bad(flaw));
    }
    if device.online != Some(false) {
        device.online = Some(false);
        desk.sink.event(LinkEvent::Offline(device.ix, flaw));
    }
}
