//! The CAN bus: frames in, samples out, keep-alives to the devices.
//!
//! Responsible for one CAN bus, over the kernel's interface or a socketcand server.
//! Devices on CAN speak by themselves: nothing is polled. Their profiles have no
//! controls yet, so every setpoint is answered with a clear refusal.
//! A keep-alive is a write, since to the battery it is an inverter: it is sent while the
//! bench is armed, and otherwise only for a device whose entry in the rig says so.
//!
//! `codec` cuts numbers out of frames, `listener` judges frames and silence,
//! `link` keeps a transport open. This file only lets them talk.

mod backoff;
#[cfg(test)]
pub(crate) mod bench;
pub mod codec;
mod link;
mod listener;
pub mod scan;
#[cfg(target_os = "linux")]
pub mod socketcan;
pub mod socketcand;

use std::sync::Arc;
use std::time::Duration;

use model::{Clock, Instant, Stage};

pub(crate) use backoff::Backoff;
pub use link::LinkError;
use link::{Link, Step};
use listener::{Desk, Listener};

use crate::arming::{Door, Passed};
use crate::port::Job;
use crate::{BusDevice, BusSpec, BusStats, LinkEvent, Sink, Traffic};

/// Longest sleep when nothing is due. Chosen: an hour; any event ends it sooner.
const IDLE: Duration = Duration::from_secs(3600);

/// Runs the bus until all handles and its writer are dropped.
pub(crate) async fn run(
    spec: BusSpec,
    devices: Vec<BusDevice>,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn Sink>,
    mut door: Door<Job>,
    stats: Arc<BusStats>,
) {
    let desk = |now| Desk {
        sink: &*sink,
        stats: &stats,
        now,
    };
    let mut listener = Listener::new(devices, spec.timeout, &desk(clock.now()));
    let mut link = Link::new(spec.endpoint, &spec.id, listener.ids(), spec.seed);
    let mut been_up = false;
    let mut queue_full_told = false;
    loop {
        let due = next_due(&listener, &link);
        tokio::select! {
            biased;
            passed = door.next() => match passed {
                Passed::Opened(_) => listener.arm(true, clock.now()),
                Passed::Order(job) => sink.event(refusal(&job, &listener)),
                Passed::Closing => {
                    listener.arm(false, clock.now());
                    door.shut();
                }
                Passed::Ending => break,
            },
            step = link.next() => match step {
                Step::Up => {
                    if std::mem::replace(&mut been_up, true) {
                        BusStats::add(&stats.reconnects, 1);
                    }
                    listener.link_up(clock.now());
                }
                Step::Frame(frame) => {
                    show(&*sink, &frame, false);
                    listener.hear(&frame, &desk(clock.now()));
                    count_busy(&stats, listener.wire_time(&frame));
                }
                Step::Garbage => BusStats::add(&stats.corrupt, 1),
                Step::Down(error) => sink.event(link_lost(&spec.id, &error)),
            },
            () = sleep_until(&*clock, due) => {}
        }
        let now = clock.now();
        listener.tick(&desk(now));
        if link.is_up() {
            for frame in listener.due_keep_alives(now) {
                match link.send(&frame).await {
                    Ok(()) => {
                        show(&*sink, &frame, true);
                        queue_full_told = false;
                        BusStats::add(&stats.requests, 1);
                        count_busy(&stats, listener.wire_time(&frame));
                    }
                    Err(error) if link.is_up() => {
                        BusStats::add(&stats.timeouts, 1);
                        if !std::mem::replace(&mut queue_full_told, true) {
                            sink.event(link_lost(&spec.id, &error));
                        }
                    }
                    Err(error) => {
                        sink.event(link_lost(&spec.id, &error));
                        break;
                    }
                }
            }
        }
    }
    link.close().await;
}

/// Shows a frame to whoever records.
fn show(sink: &dyn Sink, frame: &codec::Frame, is_ours: bool) {
    if let codec::Frame::Data { id, data } = frame {
        sink.traffic(Traffic::Can {
            id: *id,
            data: data.as_slice(),
            is_ours,
        });
    }
}

/// Keep-alives wait for a link; silence does not.
fn next_due(listener: &Listener, link: &Link) -> Option<Instant> {
    let keep_alive = if link.is_up() {
        listener.next_keep_alive()
    } else {
        None
    };
    [listener.next_silence(), keep_alive]
        .into_iter()
        .flatten()
        .min()
}

/// Sleeps until the controller's clock shows this instant.
pub(crate) async fn sleep_until(clock: &dyn Clock, due: Option<Instant>) {
    let wait = due.map_or(IDLE, |due| due.since(clock.now()));
    tokio::time::sleep(wait).await;
}

fn count_busy(stats: &BusStats, time: Duration) {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    BusStats::add(&stats.busy_nanos, nanos);
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
