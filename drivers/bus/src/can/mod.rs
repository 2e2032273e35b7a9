//! The CAN bus: frames in, samples out, keep-alives and setpoints to the devices.
//!
//! Responsible for one CAN bus: the kernel's interface, a socketcand server, a serial
//! adapter, or a wire inside the process. Devices on CAN speak by themselves: nothing is
//! polled. A setpoint is a frame that is sent again and again; the device's own frame
//! proves it. A keep-alive is a write, since to the battery it is an inverter: it is sent
//! while the bench is armed, and otherwise only for a device whose entry in the rig says so.
//!
//! `codec` cuts numbers out of frames, `listener` judges frames and silence, `commands`
//! and `keep_alive` say what is to be sent, `link` keeps a transport open. This file only
//! lets them talk.

mod backoff;
#[cfg(test)]
pub(crate) mod bench;
pub mod codec;
mod commands;
mod keep_alive;
mod link;
mod listener;
pub mod scan;
pub mod slcan;
#[cfg(target_os = "linux")]
pub mod socketcan;
pub mod socketcand;
pub mod wire;

use std::sync::Arc;
use std::time::Duration;

use model::{Clock, DeviceIx, Instant, Stage};

pub(crate) use backoff::Backoff;
use commands::Commands;
use keep_alive::KeepAlives;
pub use link::LinkError;
use link::{Link, Step};
use listener::{Desk, Listener, Turn};

use codec::Frame;

use crate::arming::{Door, Passed, timer};
use crate::port::Job;
use crate::{BusDevice, BusSpec, BusStats, LinkEvent, Sink, Traffic};

/// Longest sleep when nothing is due. Chosen: an hour; any event ends it sooner.
const IDLE: Duration = Duration::from_secs(3600);

/// How long a controller that has left the bus may take to come back before it is opened anew.
/// Chosen: ten times the restart time that `ip link` usually sets (100 ms).
const BUS_OFF_PATIENCE: Duration = Duration::from_secs(1);

/// Runs the bus until all handles and its writer are dropped.
pub(crate) async fn run(
    spec: BusSpec,
    devices: Vec<BusDevice>,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn Sink>,
    mut door: Door<Job>,
    stats: Arc<BusStats>,
) {
    let mut bus = Bus::new(spec, &devices, clock, sink, stats);
    loop {
        let due = bus.next_due();
        let closing = door.closes_by();
        tokio::select! {
            biased;
            passed = door.next() => match passed {
                Passed::Opened(_) => bus.arm(),
                Passed::Order(job) => bus.take(&job),
                Passed::Closing => bus.disarm(),
                Passed::Ending => {}
            },
            step = bus.link.next() => bus.step(step),
            () = sleep_until(&*bus.clock, due) => {}
            () = timer(closing) => {}
        }
        bus.act().await;
        if door.is_to_shut(!bus.commands.is_idle()) {
            bus.give_up();
            door.shut();
        }
        if door.is_over() {
            break;
        }
    }
    bus.link.close().await;
}

struct Bus {
    id: Arc<str>,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn Sink>,
    stats: Arc<BusStats>,
    listener: Listener,
    keep_alives: KeepAlives,
    commands: Commands,
    link: Link,
    been_up: bool,
    queue_full_told: bool,
    /// The controller is off the bus; it is opened anew at this instant.
    off_until: Option<Instant>,
}

impl Bus {
    fn new(
        spec: BusSpec,
        devices: &[BusDevice],
        clock: Arc<dyn Clock>,
        sink: Arc<dyn Sink>,
        stats: Arc<BusStats>,
    ) -> Self {
        let now = clock.now();
        let desk = Desk {
            sink: &*sink,
            stats: &stats,
            now,
        };
        let listener = Listener::new(devices, spec.timeout, &desk);
        Self {
            link: Link::new(spec.endpoint, &spec.id, listener.ids(), spec.seed),
            id: spec.id,
            keep_alives: KeepAlives::new(devices, now),
            commands: Commands::new(devices),
            listener,
            clock,
            sink,
            stats,
            been_up: false,
            queue_full_told: false,
            off_until: None,
        }
    }

    /// There is a write path from now on.
    fn arm(&mut self) {
        self.keep_alives.arm(true, self.clock.now());
    }

    /// The write path has gone: what is not urgent is missed, and nothing is sent again.
    fn disarm(&mut self) {
        let now = self.clock.now();
        self.keep_alives.arm(false, now);
        let events = self.commands.disarm();
        events.into_iter().for_each(|e| self.sink.event(e));
    }

    /// Time for what is urgent is over as well.
    fn give_up(&mut self) {
        let events = self.commands.give_up();
        events.into_iter().for_each(|e| self.sink.event(e));
    }

    /// Takes a setpoint in; nothing on CAN takes a characteristic.
    fn take(&mut self, job: &Job) {
        let events = match job {
            Job::Write(job) => self.commands.take(job, self.clock.now()),
            Job::Adopt(_) => None,
        };
        match events {
            Some(events) => events.into_iter().for_each(|e| self.sink.event(e)),
            None => self.sink.event(refusal(job, &self.listener)),
        }
    }

    /// Takes in what the link says.
    fn step(&mut self, step: Step) {
        let now = self.clock.now();
        match step {
            Step::Up => {
                if std::mem::replace(&mut self.been_up, true) {
                    BusStats::add(&self.stats.reconnects, 1);
                }
                self.off_until = None;
                self.keep_alives.begin(now);
            }
            Step::Frame(frame) => {
                show(&*self.sink, &frame, false);
                self.hear(&frame, now);
            }
            Step::Garbage => BusStats::add(&self.stats.corrupt, 1),
            Step::Down(error) => self.sink.event(link_lost(&self.id, &error)),
        }
    }

    fn hear(&mut self, frame: &Frame, now: Instant) {
        let desk = Desk {
            sink: &*self.sink,
            stats: &self.stats,
            now,
        };
        let (said, turn) = self.listener.hear(frame, &desk);
        self.count_busy(frame);
        for (device, point, reading) in said {
            if let Some((event, since)) = self.commands.heard(device, point, reading, now) {
                if let Some(stats) = self.stats.device(device) {
                    stats.note_round_trip(since);
                }
                self.sink.event(event);
            }
        }
        match turn {
            Turn::None => {}
            Turn::Off => self.off_until = Some(now + BUS_OFF_PATIENCE),
            Turn::Back => {
                self.off_until = None;
                self.keep_alives.begin(now);
            }
        }
    }

    /// Does what is due: judges silence and deadlines, and sends.
    async fn act(&mut self) {
        let now = self.clock.now();
        let desk = Desk {
            sink: &*self.sink,
            stats: &self.stats,
            now,
        };
        self.listener.tick(&desk);
        let outcome = self.commands.tick(now);
        for device in outcome.expired {
            BusStats::add(&self.stats.expired, 1);
            self.stats.add_to(device, |d| &d.expired, 1);
        }
        for device in outcome.unconfirmed {
            BusStats::add(&self.stats.timeouts, 1);
            self.stats.add_to(device, |d| &d.timeouts, 1);
        }
        outcome.events.into_iter().for_each(|e| self.sink.event(e));
        if self.off_until.is_some_and(|until| until <= now) {
            self.off_until = None;
            self.link.reopen().await;
        }
        if !self.can_send() {
            return;
        }
        // Setpoints first: a keep-alive may come a little later.
        for outgoing in self.commands.due(now) {
            if self.send(outgoing.to, &outgoing.frame).await {
                let event = self.commands.sent(&outgoing, self.clock.now());
                event.into_iter().for_each(|e| self.sink.event(e));
            } else {
                self.commands.not_taken(&outgoing, self.clock.now());
            }
        }
        let listener = &self.listener;
        let known = |device, point| listener.known(device, point);
        for (device, frame) in self.keep_alives.due(now, known) {
            self.send(device, &frame).await;
        }
    }

    /// Sends a frame for a device; whether it has gone. A link that fails is told and dialled again.
    async fn send(&mut self, device: DeviceIx, frame: &Frame) -> bool {
        if !self.link.is_up() {
            return false;
        }
        match self.link.send(frame).await {
            Ok(()) => {
                show(&*self.sink, frame, true);
                self.queue_full_told = false;
                BusStats::add(&self.stats.requests, 1);
                self.stats.add_to(device, |d| &d.requests, 1);
                self.count_busy(frame);
                true
            }
            Err(error) => {
                let up = self.link.is_up();
                if up {
                    BusStats::add(&self.stats.timeouts, 1);
                }
                if !(up && std::mem::replace(&mut self.queue_full_told, up)) {
                    self.sink.event(link_lost(&self.id, &error));
                }
                false
            }
        }
    }

    /// A controller that is off the bus would only fill its queue.
    fn can_send(&self) -> bool {
        self.link.is_up() && self.off_until.is_none()
    }

    /// Keep-alives and setpoints wait for a link; silence and deadlines do not.
    fn next_due(&self) -> Option<Instant> {
        let can_send = self.can_send();
        let keep_alive = self.keep_alives.next_due().filter(|_| can_send);
        [
            self.listener.next_silence(),
            keep_alive,
            self.commands.next_due(can_send),
            self.off_until,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn count_busy(&self, frame: &Frame) {
        let time = self.listener.wire_time(frame);
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        BusStats::add(&self.stats.busy_nanos, nanos);
    }
}

/// Sleeps until the controller's clock shows this instant.
pub(crate) async fn sleep_until(clock: &dyn Clock, due: Option<Instant>) {
    let wait = due.map_or(IDLE, |due| due.since(clock.now()));
    tokio::time::sleep(wait).await;
}

/// Shows a frame to whoever records.
fn show(sink: &dyn Sink, frame: &Frame, is_ours: bool) {
    if let Frame::Data { id, data } = frame {
        sink.traffic(Traffic::Can {
            id: *id,
            data: data.as_slice(),
            is_ours,
        });
    }
}

fn refusal(job: &Job, listener: &Listener) -> LinkEvent {
    let (dispatch, device) = match job {
        Job::Write(job) => (job.dispatch, job.device),
        Job::Adopt(job) => (job.dispatch, job.device),
    };
    let name = listener.name(device).unwrap_or("a device not on this bus");
    LinkEvent::Missed {
        dispatch,
        device,
        stage: Stage::Written,
        why: format!(
            "{name} is a CAN device: its profile has no control; command the inverter that it belongs to"
        ),
    }
}

fn link_lost(bus: &str, error: &LinkError) -> LinkEvent {
    LinkEvent::Notice {
        device: None,
        text: format!("CAN bus {bus}: {error}; it is tried again"),
    }
}

#[cfg(test)]
mod tests;
