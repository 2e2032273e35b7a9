//! What a bus full of frames says about its devices: a pure state machine.
//!
//! Responsible for turning frames and silence into samples and events. Time is an
//! argument. Not responsible for the link, nor for anything that is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::{DeviceIx, Flaw, Instant, Point, PointSample, Reading, Sample};
use profile::can::{CanId, CanProfile, Frame as FrameSpec};
use profile::{Profile, Protocol};

use super::codec::{self, CLASS_BUS_OFF, CLASS_RESTARTED, Frame};
use crate::{BusDevice, BusStats, LinkEvent, Sink};

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
    /// The last reading of each point, while it is good.
    latest: BTreeMap<Point, f64>,
}

/// What a device has said: a point and its reading.
pub(crate) type Said = (DeviceIx, Point, Reading<f64>);

/// What a frame did to the bus as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing.
    None,
    /// The controller has left the bus.
    Off,
    /// The controller has come back.
    Back,
}

impl Device {
    fn can(&self) -> Option<&CanProfile> {
        can(&self.profile)
    }

    /// Says what a point is now.
    fn say(&mut self, point: Point, reading: Reading<f64>, desk: &Desk<'_>) {
        match reading {
            Reading::Good(value) => self.latest.insert(point, value),
            Reading::Bad(_) => self.latest.remove(&point),
        };
        desk.sample(self.ix, point, reading);
    }

    fn points(&self) -> BTreeSet<Point> {
        self.can()
            .into_iter()
            .flat_map(|p| &p.frames)
            .flat_map(points)
            .collect()
    }
}

pub(super) fn can(profile: &Profile) -> Option<&CanProfile> {
    match &profile.protocol {
        Protocol::Can(profile) => Some(profile),
        Protocol::Modbus(_) | Protocol::Mqtt(_) | Protocol::Scpi(_) => None,
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
    /// Which frames of which devices have an identifier as it stands.
    by_id: BTreeMap<CanId, Vec<(usize, usize)>>,
    /// Which frames of which devices have an identifier that is only partly told.
    masked: Vec<(usize, usize)>,
    /// The rig's time-out in place of the profiles'.
    timeout: Option<Duration>,
    /// The controller is off the bus and this has been told.
    bus_off: bool,
}

impl Listener {
    /// A listener for these devices; those of other protocols get a notice and bad samples.
    pub(crate) fn new(devices: &[BusDevice], timeout: Option<Duration>, desk: &Desk<'_>) -> Self {
        let mut this = Self {
            devices: Vec::new(),
            by_id: BTreeMap::new(),
            masked: Vec::new(),
            timeout,
            bus_off: false,
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
                if is_whole(frame) {
                    this.by_id.entry(frame.id).or_default().push((place, n));
                } else {
                    this.masked.push((place, n));
                }
            }
            this.devices.push(Device {
                ix: device.ix,
                id: Arc::clone(&device.id),
                watches: vec![
                    Watch::Listening {
                        since: desk.now,
                        heard: false,
                    };
                    profile.frames.len()
                ],
                profile: Arc::clone(&device.profile),
                online: None,
                wrong: false,
                latest: BTreeMap::new(),
            });
        }
        this
    }

    /// Identifiers that any device sends, each with the bits of it that must fit.
    pub(crate) fn ids(&self) -> Vec<(CanId, u32)> {
        let ids: BTreeSet<(CanId, u32)> = self
            .devices
            .iter()
            .filter_map(Device::can)
            .flat_map(|p| p.frames.iter().map(|f| (f.id, f.id_mask)))
            .collect();
        ids.into_iter().collect()
    }

    /// The last reading of a point of a device, while it is good.
    pub(crate) fn known(&self, ix: DeviceIx, point: Point) -> Option<f64> {
        let device = self.devices.iter().find(|d| d.ix == ix)?;
        device.latest.get(&point).copied()
    }

    /// Time that a frame takes on the wire, at the slowest bit rate of the profiles.
    pub(crate) fn wire_time(&self, frame: &Frame) -> Duration {
        let bits = frame.bits();
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

    /// Takes in a frame; says what the devices have said, and what became of the bus.
    pub(crate) fn hear(&mut self, frame: &Frame, desk: &Desk<'_>) -> (Vec<Said>, Turn) {
        match frame {
            Frame::Data { id, data } => {
                let back = std::mem::replace(&mut self.bus_off, false);
                let turn = if back { Turn::Back } else { Turn::None };
                (self.hear_data(*id, data.as_slice(), desk), turn)
            }
            // Requests of other nodes; a device that is asked answers with a data frame.
            Frame::Remote { .. } => (Vec::new(), Turn::None),
            Frame::Error { class } if class & CLASS_BUS_OFF != 0 => {
                (Vec::new(), self.hear_bus_off(desk))
            }
            // The points stay bad until their frames come.
            Frame::Error { class } if class & CLASS_RESTARTED != 0 => {
                self.bus_off = false;
                (Vec::new(), Turn::Back)
            }
            Frame::Error { class } => {
                tracing::debug!(class, "The CAN controller reported an error.");
                BusStats::add(&desk.stats.bus_errors, 1);
                (Vec::new(), Turn::None)
            }
        }
    }

    fn hear_data(&mut self, id: CanId, data: &[u8], desk: &Desk<'_>) -> Vec<Said> {
        let mut said = Vec::new();
        let whole = self.by_id.get(&id).into_iter().flatten();
        for (place, n) in whole.chain(&self.masked) {
            if let Some(device) = self.devices.get_mut(*place) {
                hear_frame(device, *n, id, data, desk, &mut said);
            }
        }
        said
    }

    /// The controller left the bus: nothing of what is known is true any more.
    fn hear_bus_off(&mut self, desk: &Desk<'_>) -> Turn {
        if std::mem::replace(&mut self.bus_off, true) {
            return Turn::None;
        }
        BusStats::add(&desk.stats.bus_offs, 1);
        desk.notice(
            None,
            "the CAN controller has left the bus (bus-off): check cable, termination and bit rate; \
             it is opened anew, and returns by itself if the interface has a restart time \
             (`ip link set … restart-ms 100`)"
                .to_owned(),
        );
        for device in &mut self.devices {
            device.watches.fill(Watch::Silent);
            go_offline(device, Flaw::BusOff, desk);
        }
        Turn::Off
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

    /// Name of a device in the rig, for messages.
    pub(crate) fn name(&self, ix: DeviceIx) -> Option<&str> {
        self.devices.iter().find(|d| d.ix == ix).map(|d| &*d.id)
    }
}

/// Whether all bits of a frame's identifier must fit.
fn is_whole(frame: &FrameSpec) -> bool {
    let all = match frame.id {
        CanId::Standard(_) => u32::from(CanId::STANDARD_MAX),
        CanId::Extended(_) => CanId::EXTENDED_MAX,
    };
    frame.id_mask == all
}

fn hear_frame(
    device: &mut Device,
    n: usize,
    id: CanId,
    data: &[u8],
    desk: &Desk<'_>,
    said: &mut Vec<Said>,
) {
    let profile = Arc::clone(&device.profile);
    let Some(frame) = can(&profile).and_then(|p| p.frames.get(n)) else {
        return;
    };
    if !frame.has_id(id) || !codec::is_page(&frame.page, data) {
        return;
    }
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
        device.say(signal.point, reading, desk);
        said.push((device.ix, signal.point, reading));
    }
    if corrupt {
        BusStats::add(&desk.stats.corrupt, 1);
        desk.stats.add_to(device.ix, |d| &d.corrupt, 1);
    } else {
        BusStats::add(&desk.stats.answers, 1);
        desk.stats.add_to(device.ix, |d| &d.answers, 1);
    }
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
            frame.id,
            String::from_utf8_lossy(data),
            device.profile.id,
            String::from_utf8_lossy(frame.identify.as_deref().unwrap_or_default()),
        ),
    );
    for point in device.points() {
        device.say(point, Reading::Bad(Flaw::Config), desk);
    }
}

/// A frame has not come in time: its points are not believed, unless another live frame has them.
fn lose_frame(device: &mut Device, profile: &CanProfile, n: usize, desk: &Desk<'_>) {
    if let Some(watch) = device.watches.get_mut(n) {
        *watch = Watch::Silent;
    }
    BusStats::add(&desk.stats.timeouts, 1);
    desk.stats.add_to(device.ix, |d| &d.timeouts, 1);
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
            device.say(point, Reading::Bad(Flaw::Timeout), desk);
        }
    }
}

fn go_offline(device: &mut Device, flaw: Flaw, desk: &Desk<'_>) {
    for point in device.points() {
        device.say(point, Reading::Bad(flaw), desk);
    }
    if device.online != Some(false) {
        device.online = Some(false);
        desk.sink.event(LinkEvent::Offline(device.ix, flaw));
    }
}
