//! What a bus does next: a scheduler without a clock and without I/O.
//!
//! Responsible for the order of work on one link: urgent writes, writes, keep-alive
//! refreshes, what a device is taught besides setpoints, reads by class, probes of devices
//! that do not answer. It also knows who is offline. It is not responsible for what a
//! read or a write consists of (see `modbus`); time is an argument.
//!
//! Terms: a read is *due* from its time on and should be done one period later, its
//! *deadline*; inside a class the earliest deadline goes first. A read stands in the
//! plan once: one that is late is merged with the next, never queued twice.

use std::time::Duration;

use model::{Instant, Point, Setpoint};

use crate::DispatchId;

/// Most writes in a row while a read is due.
/// Chosen: with 4 a storm of writes leaves the reads a fifth of the requests, and
/// one write still waits for one read at most.
pub const WRITES_IN_A_ROW_MAX: u8 = 4;

/// Failures in a row after which a device counts as offline.
/// Chosen: one lost answer is noise, three in a row are not.
pub const FAILURES_MAX: u8 = 3;

/// Wait before a device that has just gone offline is probed.
/// Chosen: a line that loses one answer in ten puts a device offline once in a thousand requests,
/// and it is there all the time; the time-outs before were wait enough for one that restarts.
const FIRST_PROBE: Duration = Duration::from_millis(500);

/// Step of the wait before a device that is offline is probed again, for each probe that failed.
/// Chosen: a device that restarts is back within seconds, a dead one need not be asked often.
const PROBE_STEP: Duration = Duration::from_secs(2);

/// Longest wait before a device that is offline is probed again.
/// Chosen: an operator who plugs it in again sees it within a minute.
const PROBE_WAIT_MAX: Duration = Duration::from_secs(60);

/// Pause after a probe, in multiples of its cost: 19 leaves offline devices 5 % of the bus time.
/// Chosen: the devices that answer keep 95 %.
const PROBE_PAUSE: u32 = 19;

/// Lateness after which a probe does not give way to reads any more.
/// Chosen: on a full bus a device would else never come back; [`PROBE_PAUSE`] still holds.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);

/// Wait before the next attempt after a failed step of setting a device up.
/// Chosen: as long as the usual time-out.
const SETUP_RETRY: Duration = Duration::from_millis(500);

/// Margin behind the end of validity at which a write is dropped: it may be written at the very end.
/// Chosen: the resolution of timers.
const EXPIRY_MARGIN: Duration = Duration::from_millis(1);

/// Class of a read; the order is that of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Control depends on it.
    Fast,
    /// Useful within a second or so.
    Normal,
    /// Changes by the minute.
    Slow,
}

/// Names a read in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadKey(u64);

/// A setpoint that waits to be written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Write {
    /// Number of the dispatch.
    pub dispatch: DispatchId,
    /// Which device, as an index of the bus.
    pub device: usize,
    /// What it shall do.
    pub setpoint: Setpoint,
    /// Last instant at which it may be written.
    pub valid_until: Instant,
    /// Goes before everything else.
    pub urgent: bool,
    /// Not before this instant (the device was busy).
    pub not_before: Instant,
    /// How often the device has refused it as busy.
    pub refusals: u8,
}

impl Write {
    /// The point that it sets: one write per device and point may wait.
    #[must_use]
    pub fn point(&self) -> Point {
        match self.setpoint {
            Setpoint::Power { .. } => Point::ActivePowerSet,
            Setpoint::Ceiling { .. } => Point::ActivePowerLimit,
            Setpoint::Switch { .. } => Point::SwitchOn,
            Setpoint::Source { .. } => Point::FrequencySet,
        }
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Task {
    /// Write this; it has left the queue.
    Write(Write),
    /// Write the last setpoint of this point again.
    Refresh {
        /// Which device.
        device: usize,
        /// Which point.
        point: Point,
    },
    /// Do what a device has to be taught besides setpoints, one request.
    Chore(usize),
    /// Make the next step in setting a device up.
    Setup(usize),
    /// Read this.
    Read {
        /// Which device.
        device: usize,
        /// Which of its reads.
        key: ReadKey,
    },
    /// See whether a device is there again, with one cheap request.
    Probe(usize),
    /// Nothing until then; for ever when there is nothing at all.
    Wait(Option<Instant>),
}

/// What an answer or its absence has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The device answers, for the first time or again.
    Online,
    /// The device has stopped answering.
    Offline,
}

#[derive(Clone, Copy, Debug)]
enum Health {
    /// Nothing was heard yet.
    Unknown {
        failures: u8,
    },
    Online {
        failures: u8,
    },
    Offline {
        probes: u32,
        probe_at: Instant,
    },
}

#[derive(Clone, Copy, Debug)]
struct DevicePlan {
    health: Health,
    /// When the next step of setting up is due; `None` once the device is ready.
    setup_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Read {
    key: ReadKey,
    device: usize,
    class: Class,
    /// `None`: once.
    period: Option<Duration>,
    /// `None`: done for good.
    due: Option<Instant>,
}

impl Read {
    fn deadline(&self, due: Instant) -> Instant {
        due + self.period.unwrap_or(Duration::ZERO)
    }

    /// Its class now: one that has missed its deadline by a period counts as fast, or a bus full
    /// of fast reads would never do it.
    fn rank(&self, due: Instant, now: Instant) -> Class {
        let overdue = self.period.is_some_and(|p| now >= due + p + p);
        if overdue { Class::Fast } else { self.class }
    }
}

#[derive(Clone, Copy, Debug)]
struct Refresh {
    device: usize,
    point: Point,
    every: Duration,
    due: Instant,
}

/// The plan of one bus.
#[derive(Debug, Default)]
pub struct Plan {
    devices: Vec<DevicePlan>,
    reads: Vec<Read>,
    writes: Vec<Write>,
    refreshes: Vec<Refresh>,
    /// When a device has to be taught something, by device.
    chores: Vec<(usize, Instant)>,
    keys: u64,
    writes_in_a_row: u8,
    /// Probes wait until then.
    probe_free_at: Instant,
}

impl Plan {
    /// A plan for so many devices; each has to be set up first.
    #[must_use]
    pub fn new(devices: usize) -> Self {
        let fresh = DevicePlan {
            health: Health::Unknown { failures: 0 },
            setup_at: Some(Instant::START),
        };
        Self {
            devices: vec![fresh; devices],
            ..Self::default()
        }
    }

    /// Adds a read that is due at once, and then every `period`, or once.
    pub fn add_read(
        &mut self,
        device: usize,
        class: Class,
        period: Option<Duration>,
        now: Instant,
    ) -> ReadKey {
        self.keys += 1;
        let key = ReadKey(self.keys);
        self.reads.push(Read {
            key,
            device,
            class,
            period,
            due: Some(now),
        });
        key
    }

    /// Takes a read out.
    pub fn remove_read(&mut self, key: ReadKey) {
        self.reads.retain(|r| r.key != key);
    }

    /// Takes all reads of a device out.
    pub fn clear_reads(&mut self, device: usize) {
        self.reads.retain(|r| r.device != device);
    }

    /// A read was done (or has failed for good this time): due again one period later.
    ///
    /// It stays on its grid, unless it has missed a whole period: what was missed is not made up for.
    pub fn read_done(&mut self, key: ReadKey, now: Instant) {
        if let Some(read) = self.reads.iter_mut().find(|r| r.key == key) {
            read.due = read.period.map(|period| {
                let next = read.due.unwrap_or(now) + period;
                if next + period < now { now } else { next }
            });
        }
    }

    /// A read is to be tried again after `wait`, whatever its period.
    pub fn read_again(&mut self, key: ReadKey, now: Instant, wait: Duration) {
        if let Some(read) = self.reads.iter_mut().find(|r| r.key == key) {
            read.due = Some(now + wait);
        }
    }

    /// A device has to be set up, from `now` on.
    pub fn begin_setup(&mut self, device: usize, now: Instant) {
        self.devices[device].setup_at = Some(now);
    }

    /// A step of setting up was refused: the next attempt comes a little later.
    pub fn setup_failed(&mut self, device: usize, now: Instant) {
        self.devices[device].setup_at = Some(now + SETUP_RETRY);
    }

    /// A device is not the one it should be: set up again after `wait`.
    pub fn setup_after(&mut self, device: usize, now: Instant, wait: Duration) {
        self.devices[device].setup_at = Some(now + wait);
    }

    /// A device is ready to be read and written.
    pub fn setup_done(&mut self, device: usize) {
        self.devices[device].setup_at = None;
    }

    /// Queues a write; gives back the one that it replaces (same device, same point).
    pub fn push_write(&mut self, mut write: Write) -> Option<Write> {
        let same = |w: &&mut Write| w.device == write.device && w.point() == write.point();
        match self.writes.iter_mut().find(same) {
            Some(waiting) => {
                // The place in the queue and the urgency stay, or frequent writes would starve.
                write.urgent |= waiting.urgent;
                Some(std::mem::replace(waiting, write))
            }
            None => {
                self.writes.push(write);
                None
            }
        }
    }

    /// Queues a write that the device was too busy for; `false` when a newer one waits already.
    pub fn write_again(&mut self, write: Write) -> bool {
        let newer = self
            .writes
            .iter()
            .any(|w| w.device == write.device && w.point() == write.point());
        if !newer {
            self.writes.push(write);
        }
        !newer
    }

    /// Takes out the writes that came too late.
    pub fn expire(&mut self, now: Instant) -> Vec<Write> {
        let late = |w: &Write| now >= w.valid_until + EXPIRY_MARGIN;
        if !self.writes.iter().any(late) {
            return Vec::new();
        }
        self.writes.extract_if(.., |w| late(w)).collect()
    }

    /// Takes out these writes, for the end of the write path.
    pub fn take_writes(&mut self, which: impl Fn(&Write) -> bool) -> Vec<Write> {
        self.writes.extract_if(.., |w| which(w)).collect()
    }

    /// No setpoint is written again by itself any more.
    pub fn clear_refreshes(&mut self) {
        self.refreshes.clear();
    }

    /// Whether an urgent write waits.
    #[must_use]
    pub fn has_urgent(&self) -> bool {
        self.writes.iter().any(|w| w.urgent)
    }

    /// The setpoint of a point was written: write it again after `every`, or not at all.
    pub fn set_refresh(
        &mut self,
        device: usize,
        point: Point,
        every: Option<Duration>,
        now: Instant,
    ) {
        self.refreshes
            .retain(|r| (r.device, r.point) != (device, point));
        if let Some(every) = every {
            self.refreshes.push(Refresh {
                device,
                point,
                every,
                due: now + every,
            });
        }
    }

    /// From when on a device has to be taught something besides setpoints; `None`: nothing.
    pub fn set_chore(&mut self, device: usize, due: Option<Instant>) {
        self.chores.retain(|(d, _)| *d != device);
        self.chores.extend(due.map(|due| (device, due)));
    }

    /// A refresh was attempted.
    pub fn refresh_done(&mut self, device: usize, point: Point, now: Instant) {
        for refresh in &mut self.refreshes {
            if (refresh.device, refresh.point) == (device, point) {
                refresh.due = now + refresh.every;
            }
        }
    }

    /// Whether a device counts as offline.
    #[must_use]
    pub fn is_offline(&self, device: usize) -> bool {
        matches!(self.devices[device].health, Health::Offline { .. })
    }

    /// A device has answered.
    pub fn answered(&mut self, device: usize) -> Option<Change> {
        let health = &mut self.devices[device].health;
        let change = !matches!(health, Health::Online { .. });
        *health = Health::Online { failures: 0 };
        change.then_some(Change::Online)
    }

    /// A device has not answered, or not in a way that can be believed.
    pub fn failed(&mut self, device: usize, now: Instant) -> Option<Change> {
        match &mut self.devices[device].health {
            Health::Unknown { failures } | Health::Online { failures } => {
                *failures += 1;
                if *failures < FAILURES_MAX {
                    return None;
                }
                self.go_offline(device, now)
            }
            Health::Offline { .. } => None,
        }
    }

    /// A device cannot be reached, whatever the number of failures (a gateway says so).
    pub fn go_offline(&mut self, device: usize, now: Instant) -> Option<Change> {
        let health = &mut self.devices[device].health;
        if matches!(health, Health::Offline { .. }) {
            return None;
        }
        *health = Health::Offline {
            probes: 1,
            probe_at: now + FIRST_PROBE,
        };
        Some(Change::Offline)
    }

    /// A probe has failed; it took `cost` of the bus's time.
    pub fn probe_failed(&mut self, device: usize, now: Instant, cost: Duration) {
        if let Health::Offline { probes, probe_at } = &mut self.devices[device].health {
            *probes = probes.saturating_add(1);
            *probe_at = now + PROBE_WAIT_MAX.min(PROBE_STEP * (*probes - 1).min(1000));
        }
        // With nobody else on the bus there is nothing to protect.
        let others = self
            .devices
            .iter()
            .any(|d| !matches!(d.health, Health::Offline { .. }));
        self.probe_free_at = if others {
            now + cost * PROBE_PAUSE
        } else {
            now
        };
    }

    /// The link is new: whoever was offline may be there again.
    pub fn probe_all(&mut self, now: Instant) {
        self.probe_free_at = now;
        for device in &mut self.devices {
            if let Health::Offline { probe_at, .. } = &mut device.health {
                *probe_at = now;
            }
        }
    }

    /// Takes the next task; writes that are taken leave the queue.
    pub fn next(&mut self, now: Instant) -> Task {
        let read = self.best_read(now);
        let read_waits_long = self.writes_in_a_row >= WRITES_IN_A_ROW_MAX && read.is_some();
        if let Some(at) = self.best_write(now, read_waits_long) {
            self.writes_in_a_row = self.writes_in_a_row.saturating_add(1);
            return Task::Write(self.writes.remove(at));
        }
        if !read_waits_long && let Some((device, point)) = self.best_refresh(now) {
            self.writes_in_a_row = self.writes_in_a_row.saturating_add(1);
            return Task::Refresh { device, point };
        }
        if !read_waits_long && let Some(device) = self.best_chore(now) {
            self.writes_in_a_row = self.writes_in_a_row.saturating_add(1);
            return Task::Chore(device);
        }
        if let Some(task) = read.or_else(|| self.best_probe(now)) {
            self.writes_in_a_row = 0;
            return task;
        }
        Task::Wait(self.wakes_at(now))
    }

    fn is_ready(&self, device: usize) -> bool {
        self.devices[device].setup_at.is_none()
    }

    fn may_write(&self, write: &Write) -> bool {
        self.is_ready(write.device) && (write.urgent || !self.is_offline(write.device))
    }

    fn best_write(&self, now: Instant, urgent_only: bool) -> Option<usize> {
        self.writes
            .iter()
            .enumerate()
            .filter(|(_, w)| w.not_before <= now && self.may_write(w) && (w.urgent || !urgent_only))
            .min_by_key(|(at, w)| (!w.urgent, *at))
            .map(|(at, _)| at)
    }

    fn best_refresh(&self, now: Instant) -> Option<(usize, Point)> {
        self.refreshes
            .iter()
            .filter(|r| r.due <= now && self.is_ready(r.device) && !self.is_offline(r.device))
            .min_by_key(|r| r.due)
            .map(|r| (r.device, r.point))
    }

    fn best_chore(&self, now: Instant) -> Option<usize> {
        self.chores
            .iter()
            .filter(|(d, due)| *due <= now && self.is_ready(*d) && !self.is_offline(*d))
            .min_by_key(|(_, due)| *due)
            .map(|(device, _)| *device)
    }

    /// The best of setup steps, reads, and probes that have waited too long.
    fn best_read(&self, now: Instant) -> Option<Task> {
        let mut best: Option<((Class, Instant), Task)> = None;
        let mut offer = |rank: (Class, Instant), task: Task| {
            if best.is_none_or(|(other, _)| rank < other) {
                best = Some((rank, task));
            }
        };
        for read in &self.reads {
            if let Some(due) = read.due
                && due <= now
                && self.is_ready(read.device)
                && !self.is_offline(read.device)
            {
                let task = Task::Read {
                    device: read.device,
                    key: read.key,
                };
                offer((read.rank(due, now), read.deadline(due)), task);
            }
        }
        for (index, device) in self.devices.iter().enumerate() {
            if let (Health::Unknown { .. } | Health::Online { .. }, Some(at)) =
                (device.health, device.setup_at)
                && at <= now
            {
                offer((Class::Fast, at), Task::Setup(index));
            }
        }
        // Of the probes only the one that has waited longest, so that each gets its turn.
        if let Some((probe_at, index)) = self.next_probe() {
            let impatient_at = probe_at.max(self.probe_free_at) + PROBE_PATIENCE;
            if impatient_at <= now {
                offer((Class::Fast, impatient_at), Task::Probe(index));
            }
        }
        best.map(|(_, task)| task)
    }

    fn best_probe(&self, now: Instant) -> Option<Task> {
        let (probe_at, index) = self.next_probe()?;
        (probe_at.max(self.probe_free_at) <= now).then_some(Task::Probe(index))
    }

    fn next_probe(&self) -> Option<(Instant, usize)> {
        let waiting = self
            .devices
            .iter()
            .enumerate()
            .filter_map(|(index, d)| match d.health {
                Health::Offline { probe_at, .. } => Some((probe_at, index)),
                _ => None,
            });
        waiting.min()
    }

    /// When the first of the waiting writes expires.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.writes
            .iter()
            .map(|w| w.valid_until + EXPIRY_MARGIN)
            .min()
    }

    /// The next instant at which something may become due.
    #[must_use]
    pub fn wakes_at(&self, now: Instant) -> Option<Instant> {
        let reads = self
            .reads
            .iter()
            .filter(|r| self.is_ready(r.device) && !self.is_offline(r.device))
            .filter_map(|r| r.due);
        let devices = self.devices.iter().filter_map(|d| match d.health {
            Health::Offline { probe_at, .. } => Some(probe_at.max(self.probe_free_at)),
            _ => d.setup_at,
        });
        let refreshes = self
            .refreshes
            .iter()
            .filter(|r| self.is_ready(r.device) && !self.is_offline(r.device))
            .map(|r| r.due);
        let chores = self
            .chores
            .iter()
            .filter(|(d, _)| self.is_ready(*d) && !self.is_offline(*d))
            .map(|(_, due)| *due);
        let writes = self.writes.iter().flat_map(|w| {
            let waits = w.not_before > now && self.may_write(w);
            [
                Some(w.valid_until + EXPIRY_MARGIN),
                waits.then_some(w.not_before),
            ]
        });
        reads
            .chain(devices)
            .chain(refreshes)
            .chain(chores)
            .chain(writes.flatten())
            .min()
    }
}

#[cfg(test)]
mod tests;
