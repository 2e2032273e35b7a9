//! The Modbus bus: one task that owns one link and all devices on it.
//!
//! Responsible for carrying out what the plan says: connect, set devices up, read,
//! write, read back, and tell what came of it. It is not responsible for the order of
//! work (see [`crate::plan`]), for believing answers (see [`link`]), or for what words
//! mean (see [`codec`]).

mod ask;
pub mod blocks;
mod chores;
pub mod codec;
mod counter;
mod curve_adoption;
mod deadline;
mod device;
pub(crate) mod dial;
mod gate;
mod guard;
pub mod link;
mod patience;
mod present_setpoints;
pub mod scan;
pub mod sunspec;
mod write;
mod writing;

use std::sync::Arc;
use std::time::Duration;

use model::{Clock, DeviceIx, Flaw, Instant, Stage};
use profile::Protocol;
use profile::modbus::Poll;

pub use dial::DialError;
pub(crate) use write::targets;

use crate::arming::{Door, Passed, Permit};
use crate::asking::{Asking, drive};
use crate::plan::{Change, Plan, ReadKey, Task, Write};
use crate::port::{Job, Order};
use crate::{BusDevice, BusSpec, BusStats, DispatchId, Framing, LinkEvent, Sink, Traffic};
use chores::Teaching;
use device::{Device, DeviceRead, Progress, REFUSED_RETRY, ask, is_answer};
use link::{Answer, Ask, Connected, LinkError, ModbusLink, Timing};

/// First wait after a device was busy; doubles with each refusal.
/// Chosen: devices that answer "busy" are done within some 100 ms.
const BUSY_WAIT: Duration = Duration::from_millis(100);

/// Refusals as busy that are put up with. Chosen: 100, 200 and 400 ms, then it is told.
const BUSY_MAX: u8 = 3;

/// Wait before a read that is done once per connection is tried again. Chosen: as the normal class.
const ONCE_RETRY: Duration = Duration::from_secs(1);

/// Runs the bus until all handles and its writer are dropped.
pub(crate) async fn run(
    spec: BusSpec,
    devices: Vec<BusDevice>,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn Sink>,
    door: Door<Job>,
    stats: Arc<BusStats>,
) {
    drive(Bus::new(spec, devices, clock, sink, stats), door).await;
}

/// What comes through the write path.
#[derive(Clone, Debug)]
enum Given {
    Order(Order),
    Teaching(Teaching),
}

impl From<Order> for Given {
    fn from(order: Order) -> Self {
        Self::Order(order)
    }
}

impl From<Job> for Given {
    fn from(job: Job) -> Self {
        match job {
            Job::Write(job) => Self::Order(job.into()),
            Job::Adopt(job) => Self::Teaching(job.into()),
        }
    }
}

struct Bus {
    id: Arc<str>,
    devices: Vec<Device>,
    plan: Plan,
    link: ModbusLink,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn Sink>,
    stats: Arc<BusStats>,
    /// Zero of the plan's time, which runs with the timers.
    epoch: tokio::time::Instant,
    dial_error: Option<DialError>,
    /// What was said about the link already.
    said: Vec<String>,
    /// The write that is being carried out, and the stage that it has to reach next.
    writing: Option<(Write, Stage)>,
    /// There while the bench is armed: without it no request that writes can be made.
    permit: Option<Permit>,
}

impl<J: Into<Given>> Asking<J> for Bus {
    fn pass(&mut self, passed: Passed<J>) {
        match passed {
            Passed::Opened(permit) => {
                self.permit = Some(permit);
                for device in &mut self.devices {
                    device.stop_looking(&mut self.plan);
                }
                for index in 0..self.devices.len() {
                    self.begin_beats(index);
                }
            }
            Passed::Order(job) => match job.into() {
                Given::Order(order) => self.take_in(order),
                Given::Teaching(teaching) => self.take_teaching(teaching),
            },
            Passed::Closing => {
                self.plan.clear_refreshes();
                // What is not kept alive any more is not kept: a bench that is armed again before the
                // door was shut has to write it anew.
                for device in &mut self.devices {
                    device.kept.clear();
                }
                self.end_chores();
                let idle = self.plan.take_writes(|w| !w.urgent);
                self.told_missed(idle.into_iter().map(|w| (w, Stage::Written)));
            }
            Passed::Ending => {}
        }
    }

    fn expire(&mut self) {
        self.expire_teachings();
        if self.plan.next_expiry().is_none() {
            return;
        }
        let now = self.now();
        for write in self.plan.expire(now) {
            BusStats::add(&self.stats.expired, 1);
            let device = &self.devices[write.device];
            if let Some(stats) = self.stats.device(device.spec.ix) {
                BusStats::add(&stats.expired, 1);
            }
            let cause = if !self.link.is_up() {
                "the link is down"
            } else if self.plan.is_offline(write.device) {
                "the device is offline"
            } else if device.question().is_some() {
                "the device was not ready yet"
            } else {
                "the bus is slower than it is asked to be"
            };
            let why = format!(
                "{}: expired before it could be written: {cause}",
                device.spec.id
            );
            self.missed(write.dispatch, device.spec.ix, Stage::Written, why);
        }
    }

    fn shut(&mut self) {
        let writing = self.writing.take();
        let waiting = self.plan.take_writes(|_| true);
        let waiting = waiting.into_iter().map(|w| (w, Stage::Written));
        self.told_missed(writing.into_iter().chain(waiting));
        self.plan.clear_refreshes();
        self.end_chores();
        let now = self.now();
        for (index, device) in self.devices.iter_mut().enumerate() {
            device.held.clear();
            device.kept.clear();
            device.look_at_controls(index, &mut self.plan, now);
        }
        self.permit = None;
    }

    fn plan(&mut self) -> &mut Plan {
        &mut self.plan
    }

    fn epoch(&self) -> tokio::time::Instant {
        self.epoch
    }

    fn is_up(&self) -> bool {
        self.link.is_up()
    }

    async fn connect(&mut self) {
        let connected = self.link.connect().await;
        self.connected(connected);
    }

    async fn perform(&mut self, task: Task) {
        // Reads are most of the work; room for the rest would be moved about with each of them.
        match task {
            Task::Write(write) => Box::pin(self.write(write)).await,
            Task::Refresh { device, point } => Box::pin(self.refresh(device, point)).await,
            Task::Chore(index) => Box::pin(self.chore(index)).await,
            Task::Setup(index) => Box::pin(self.set_up(index)).await,
            Task::Read { device, key } => self.read(device, key).await,
            Task::Probe(index) => Box::pin(self.probe(index)).await,
            Task::Wait(_) => {}
        }
    }
}

impl Bus {
    fn new(
        spec: BusSpec,
        specs: Vec<BusDevice>,
        clock: Arc<dyn Clock>,
        sink: Arc<dyn Sink>,
        stats: Arc<BusStats>,
    ) -> Self {
        let notice = |device: &BusDevice, text: String| {
            sink.event(LinkEvent::Notice {
                device: Some(device.ix),
                text,
            });
        };
        let mut devices = Vec::new();
        for device in specs {
            match &device.profile.protocol {
                Protocol::Modbus(profile) => {
                    let profile = profile.clone();
                    devices.push(Device::new(device, profile, &spec));
                }
                _ => notice(
                    &device,
                    format!(
                        "{}: profile {} does not speak Modbus, and bus {} does; move the device to another bus in the rig",
                        device.id, device.profile.id, spec.id
                    ),
                ),
            }
        }
        let framing = match spec.framing {
            // A line whose rate nobody states has that of its devices' maker.
            Framing::Rtu { baud: None } => Framing::Rtu {
                baud: devices
                    .iter()
                    .find_map(|d| d.profile.serial)
                    .map(|s| s.baud),
            },
            framing => framing,
        };
        let warm_up = devices.iter().map(|d| d.profile.connect_delay).max();
        let link = ModbusLink::new(
            spec.endpoint,
            framing,
            warm_up.unwrap_or_default(),
            spec.seed,
            Arc::clone(&stats),
        );
        let mut plan = Plan::new(devices.len());
        for (index, device) in devices.iter().enumerate() {
            if link.is_rtu() && device.unit == 0 {
                // Unit 0 is the broadcast: nobody would ever answer.
                device.flaw_all(Flaw::Config, clock.now(), &*sink);
                let text = format!(
                    "{}: unit 0 is the broadcast on a serial line and never answers; set the device's unit in the rig",
                    device.spec.id
                );
                notice(&device.spec, text);
                plan.setup_after(index, Instant::START, Duration::MAX);
            }
        }
        Self {
            id: spec.id,
            devices,
            plan,
            link,
            clock,
            sink,
            stats,
            epoch: tokio::time::Instant::now(),
            dial_error: None,
            said: Vec::new(),
            writing: None,
            permit: None,
        }
    }

    /// The plan's time.
    fn now(&self) -> Instant {
        Instant::START + self.epoch.elapsed()
    }

    /// The plan's time at the end of the last transaction.
    fn last_end(&self) -> Instant {
        let (end, _) = self.link.last();
        Instant::START + end.saturating_duration_since(self.epoch)
    }

    fn notice(&mut self, index: usize, text: String) {
        let topic = text.clone();
        self.notice_about(index, &topic, text);
    }

    /// Says something about a topic, unless something was said about it already.
    fn notice_about(&mut self, index: usize, topic: &str, text: String) {
        let device = &mut self.devices[index];
        if device.says_new(topic) {
            self.sink.event(LinkEvent::Notice {
                device: Some(device.spec.ix),
                text,
            });
        }
    }

    /// Says something about the link, once.
    fn notice_of_link(&mut self, text: String) {
        if !self.said.contains(&text) {
            self.sink.event(LinkEvent::Notice {
                device: None,
                text: format!("{}: {text}", self.id),
            });
            self.said.push(text);
        }
    }

    fn missed(&self, dispatch: DispatchId, device: DeviceIx, stage: Stage, why: String) {
        self.sink.event(LinkEvent::Missed {
            dispatch,
            device,
            stage,
            why,
        });
    }

    /// The plan's time of an instant of the run.
    fn plan_time(&self, instant: Instant) -> Instant {
        // The clock of the run and the timers run alike; the plan uses the timers' zero.
        let now = self.now();
        let at = self.clock.now();
        if instant < at {
            now - at.since(instant)
        } else {
            now + instant.since(at)
        }
    }

    fn take_in(&mut self, order: Order) {
        let Some(index) = self.devices.iter().position(|d| d.spec.ix == order.device) else {
            let why = format!("bus {} has no such device", self.id);
            self.missed(order.dispatch, order.device, Stage::Written, why);
            return;
        };
        let valid_until = self.plan_time(order.valid_until);
        let write = Write {
            dispatch: order.dispatch,
            device: index,
            setpoint: order.setpoint,
            valid_until,
            urgent: order.urgent,
            not_before: Instant::START,
            refusals: 0,
        };
        let device = &self.devices[index];
        if !device
            .profile
            .controls
            .iter()
            .any(|c| c.point == write.point())
        {
            let why = format!(
                "{}: profile {} has no {}",
                device.spec.id,
                device.spec.profile.id,
                write.point()
            );
            self.missed(order.dispatch, order.device, Stage::Written, why);
            return;
        }
        if let Some(old) = self.plan.push_write(write) {
            let why = format!("superseded by dispatch {}", write.dispatch.0);
            self.missed(old.dispatch, order.device, Stage::Written, why);
        }
    }

    fn told_missed(&self, writes: impl Iterator<Item = (Write, Stage)>) {
        for (write, stage) in writes {
            let device = &self.devices[write.device];
            let why = format!(
                "{}: the bench was disarmed or the run ended before it was done",
                device.spec.id
            );
            self.missed(write.dispatch, device.spec.ix, stage, why);
        }
    }

    fn connected(&mut self, result: Result<Connected, DialError>) {
        let now = self.now();
        match result {
            Ok(Connected::Resumed) => {}
            Ok(Connected::Anew) => {
                self.dial_error = None;
                self.plan.probe_all(now);
                for index in 0..self.devices.len() {
                    self.begin_setup(index);
                }
            }
            Err(error) => {
                if self.dial_error.as_ref() != Some(&error) {
                    self.sink.event(LinkEvent::Notice {
                        device: None,
                        text: format!("{}: {error}", self.id),
                    });
                    self.dial_error = Some(error);
                }
                let at = self.clock.now();
                for index in 0..self.devices.len() {
                    self.devices[index].flaw_all(Flaw::Offline, at, &*self.sink);
                    if self.plan.failed(index, now) == Some(Change::Offline) {
                        self.went_offline(index, Flaw::Offline);
                    }
                }
            }
        }
    }

    fn begin_setup(&mut self, index: usize) {
        self.drop_begun_adoption(index);
        let now = self.now();
        let device = &mut self.devices[index];
        device.restart();
        // A device at the broadcast unit was put aside at the start.
        if device.unit != 0 || !self.link.is_rtu() {
            self.plan.begin_setup(index, now);
        }
    }

    fn went_offline(&mut self, index: usize, flaw: Flaw) {
        let device = &self.devices[index];
        device.flaw_all(Flaw::Offline, self.clock.now(), &*self.sink);
        self.sink.event(LinkEvent::Offline(device.spec.ix, flaw));
        self.begin_setup(index);
    }

    async fn transact(&mut self, index: usize, ask: Ask<'_>) -> Result<Answer, LinkError> {
        let device = &self.devices[index];
        let timing = Timing {
            timeout: device.patience.timeout(device.timing.timeout),
            ..device.timing
        };
        let unit = device.unit;
        let result = self.link.transact(unit, ask, timing).await;
        let (_, busy) = self.link.last();
        self.take_note(index, &result, busy);
        self.show(unit, ask, &result);
        if let Some(complaint) = self.link.complaint() {
            self.notice_of_link(complaint);
        }
        let change = match &result {
            Ok(_) => self.plan.answered(index),
            Err(error) if is_answer(error) => self.plan.answered(index),
            Err(LinkError::Exception(_)) => self.plan.go_offline(index, self.now()),
            Err(_) => self.plan.failed(index, self.now()),
        };
        match change {
            Some(Change::Online) => {
                let ix = self.devices[index].spec.ix;
                self.sink.event(LinkEvent::Online(ix));
            }
            Some(Change::Offline) => {
                let flaw = result.as_ref().err().map_or(Flaw::Offline, LinkError::flaw);
                self.went_offline(index, flaw);
            }
            None => {}
        }
        result
    }

    /// Counts what came of a request, and learns how fast the device is.
    fn take_note(&mut self, index: usize, result: &Result<Answer, LinkError>, busy: Duration) {
        for unit in self.link.take_late() {
            let late = self.devices.iter().find(|d| d.unit == unit);
            if let Some(stats) = late.and_then(|d| self.stats.device(d.spec.ix)) {
                BusStats::add(&stats.late, 1);
            }
        }
        let device = &mut self.devices[index];
        match result {
            Ok(answer) => device.patience.answered(answer.latency),
            Err(LinkError::Timeout(_) | LinkError::Corrupt(_)) => device.patience.missed(),
            Err(LinkError::Exception(_) | LinkError::Down(_)) => {}
        }
        let Some(stats) = self.stats.device(device.spec.ix) else {
            return;
        };
        BusStats::add(&stats.requests, 1);
        let nanos = u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX);
        BusStats::add(&stats.busy_nanos, nanos);
        match result {
            Ok(answer) => {
                BusStats::add(&stats.answers, 1);
                stats.note_round_trip(answer.round_trip);
            }
            Err(LinkError::Timeout(_)) => BusStats::add(&stats.timeouts, 1),
            Err(LinkError::Corrupt(_)) => BusStats::add(&stats.corrupt, 1),
            Err(LinkError::Exception(_)) => BusStats::add(&stats.exceptions, 1),
            Err(LinkError::Down(_)) => {}
        }
    }

    /// Counts a request that is sent once more.
    fn count_retry(&self, index: usize) {
        if let Some(stats) = self.stats.device(self.devices[index].spec.ix) {
            BusStats::add(&stats.retries, 1);
        }
    }

    /// Shows a transaction to whoever records.
    fn show(&self, unit: u8, ask: Ask<'_>, result: &Result<Answer, LinkError>) {
        let function = ask.shape().function;
        let (address, count, written) = ask.told();
        let why = result.as_ref().err().map(ToString::to_string);
        self.sink.traffic(Traffic::Modbus {
            unit,
            function,
            address,
            count,
            written: &written,
            answer: match (result, &why) {
                (Ok(answer), _) => Ok(&answer.words),
                (Err(_), why) => Err(why.as_deref().unwrap_or_default()),
            },
            round_trip: result.as_ref().ok().map(|answer| answer.round_trip),
        });
    }

    /// When the device held what it has just said: the middle of the transaction.
    fn measured_at(&self, answer: &Answer) -> Instant {
        self.clock.now() - answer.round_trip / 2
    }

    async fn set_up(&mut self, index: usize) {
        let device = &self.devices[index];
        let Some(question) = device.question() else {
            let progress = if device.identity_is_nowhere() {
                self.devices[index].take_setup(None, &mut Vec::new())
            } else {
                Progress::Ready
            };
            self.progress(index, progress);
            return;
        };
        let result = self.transact(index, question).await;
        let words = match &result {
            Ok(answer) => Some(answer.words.as_slice()),
            Err(LinkError::Exception(1..=4)) => None,
            Err(error) => {
                let now = self.now();
                let at = self.clock.now();
                if !self.plan.is_offline(index) {
                    self.devices[index].flaw_all(error.flaw(), at, &*self.sink);
                }
                match error {
                    // The time-out was wait enough, and three in a row put the device offline.
                    LinkError::Timeout(_) | LinkError::Corrupt(_) => {
                        self.plan.begin_setup(index, now);
                    }
                    LinkError::Exception(_) | LinkError::Down(_) => {
                        self.plan.setup_failed(index, now);
                    }
                }
                return;
            }
        };
        let mut remarks = Vec::new();
        let progress = self.devices[index].take_setup(words, &mut remarks);
        let device = &self.devices[index];
        if let Some(version) = device.firmware() {
            self.stats.note_firmware(device.spec.ix, version);
        }
        for remark in remarks {
            self.notice(index, remark);
        }
        self.progress(index, progress);
    }

    fn progress(&mut self, index: usize, progress: Progress) {
        let now = self.now();
        let at = self.clock.now();
        match progress {
            Progress::More => self.plan.begin_setup(index, now),
            Progress::Ready => {
                self.plan.setup_done(index);
                self.devices[index].believe();
                if self.permit.is_some() {
                    self.begin_beats(index);
                }
                let device = &mut self.devices[index];
                let remark = device.arm(index, &mut self.plan, now, at, &*self.sink);
                if self.permit.is_none() {
                    device.look_at_controls(index, &mut self.plan, now);
                }
                if let Some(remark) = remark {
                    self.notice(index, remark);
                }
            }
            Progress::Wrong(text) => {
                self.devices[index].flaw_all(Flaw::Config, at, &*self.sink);
                let wait = self.devices[index].doubt();
                self.plan.setup_after(index, now, wait);
                self.notice(index, text);
            }
        }
    }

    async fn probe(&mut self, index: usize) {
        let begin = self.now();
        let device = &self.devices[index];
        let late_window = device.timing.late_window;
        if device.question().is_some() {
            self.set_up(index).await;
        } else {
            let cheapest = device.reads.iter().min_by_key(|r| r.block.count);
            let (key, question) = match cheapest {
                Some(read) => (Some(read.key), ask(&read.block)),
                None => (None, self.first_read(index)),
            };
            let result = self.transact(index, question).await;
            match (&result, key) {
                (Ok(answer), Some(key)) => self.publish(index, key, answer),
                (Err(error), _) if !is_answer(error) => {
                    let at = self.clock.now();
                    self.devices[index].flaw_all(Flaw::Offline, at, &*self.sink);
                }
                _ => {}
            }
        }
        if self.plan.is_offline(index) {
            let now = self.now();
            // After it the line is kept for the late answer.
            let cost = now.since(begin) + late_window;
            self.plan.probe_failed(index, now, cost);
        }
    }

    /// A cheap read for a device whose blocks are not known yet.
    fn first_read(&self, index: usize) -> Ask<'static> {
        let device = &self.devices[index];
        let place = device
            .profile
            .points
            .iter()
            .find_map(|p| device.resolve(p.address, 1));
        let (table, address) = place.unwrap_or((profile::modbus::Table::Holding, 0));
        Ask::Read {
            table,
            address,
            count: 1,
        }
    }

    fn publish(&mut self, index: usize, key: ReadKey, answer: &Answer) {
        let at = self.measured_at(answer);
        let device = &mut self.devices[index];
        let Some(at_read) = device.reads.iter().position(|r| r.key == key) else {
            return;
        };
        // The block leaves the list for a moment, as publishing takes note of references.
        let read = device.reads.swap_remove(at_read);
        let remarks = device.publish(&read.block, &answer.words, at, &*self.sink);
        device.reads.push(DeviceRead { busy: 0, ..read });
        let last = device.reads.len() - 1;
        device.reads.swap(at_read, last);
        for remark in remarks {
            self.notice(index, remark);
        }
    }

    async fn read(&mut self, index: usize, key: ReadKey) {
        if let Some(control) = self.looks_at(index, key) {
            Box::pin(self.look_at_control(index, key, control)).await;
            return;
        }
        let Some(read) = self.devices[index].reads.iter().find(|r| r.key == key) else {
            self.plan.remove_read(key);
            return;
        };
        let question = ask(&read.block);
        let refused = read.refused;
        match self.transact(index, question).await {
            Ok(answer) => {
                self.publish(index, key, &answer);
                self.plan.read_done(key, self.last_end());
                if refused {
                    // The device takes it now: back to the usual blocks.
                    self.progress(index, Progress::Ready);
                }
            }
            Err(error) => self.read_failed(index, key, &error),
        }
    }

    fn read_failed(&mut self, index: usize, key: ReadKey, error: &LinkError) {
        let now = self.now();
        let at = self.clock.now();
        let device = &mut self.devices[index];
        let Some(read) = device.reads.iter_mut().find(|r| r.key == key) else {
            return;
        };
        match error {
            LinkError::Exception(5 | 6) if read.busy < BUSY_MAX => {
                let wait = BUSY_WAIT * 2_u32.pow(read.busy.into());
                read.busy += 1;
                self.plan.read_again(key, now, wait);
                self.count_retry(index);
                return;
            }
            LinkError::Exception(1..=3) => {
                self.read_refused(index, key, error);
                return;
            }
            _ => read.busy = 0,
        }
        let once = read.poll == Poll::Once;
        let block = read.block.clone();
        let flaw = if self.plan.is_offline(index) {
            Flaw::Offline
        } else {
            error.flaw()
        };
        device.flaw_block(&block, flaw, at, &*self.sink);
        if once {
            self.plan.read_again(key, now, ONCE_RETRY);
        } else {
            self.plan.read_done(key, now);
        }
    }

    /// The device does not have all registers of a block: halve it until the bad one is alone.
    fn read_refused(&mut self, index: usize, key: ReadKey, error: &LinkError) {
        let now = self.now();
        let at = self.clock.now();
        let device = &mut self.devices[index];
        let Some(place) = device.reads.iter().position(|r| r.key == key) else {
            return;
        };
        if let Some((low, high)) = device.reads[place].block.halves() {
            let read = device.reads.swap_remove(place);
            self.plan.remove_read(key);
            device.flaw_block(&read.block, error.flaw(), at, &*self.sink);
            for half in [low, high] {
                device.add_read(index, &mut self.plan, half, read.poll, now);
            }
            return;
        }
        device.reads[place].refused = true;
        let block = device.reads[place].block.clone();
        let text = format!(
            "{}: {error}; it is not read any more (next attempt in {} min); check model, firmware and profile {}",
            device.describe(&block),
            REFUSED_RETRY.as_secs() / 60,
            device.spec.profile.id
        );
        device.flaw_block(&block, Flaw::Config, at, &*self.sink);
        self.plan.read_again(key, now, REFUSED_RETRY);
        self.notice(index, text);
    }
}

#[cfg(test)]
mod tests;
