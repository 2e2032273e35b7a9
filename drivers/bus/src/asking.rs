//! The rhythm of a bus that asks: orders come in, what is due is done, a lost link is opened.
//!
//! Responsible for one loop, [`drive`]: it takes in what comes through the door, lets the plan say what is
//! next, and has it carried out to its end. It is not responsible for the order of work (see
//! [`crate::plan`]) nor for what a task consists of (see `modbus` and `scpi`). Devices on CAN and MQTT
//! speak by themselves, so their buses have a rhythm of their own.

use std::time::Duration;

use model::Instant;

use crate::arming::{Door, Passed, timer};
use crate::plan::{Plan, Task};

/// Orders that are set aside during a transaction.
/// Chosen: as many as may wait in the channel; then that fills up and refuses.
const EARLY_MAX: usize = 64;

/// Stands in for "never" in timers, which cannot hold every instant. Chosen: beyond any run.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// A bus that asks its devices, and takes orders of this kind.
pub(crate) trait Asking<J> {
    /// Takes in what has come through the door.
    fn pass(&mut self, passed: Passed<J>);

    /// Tells of orders that have come too late.
    fn expire(&mut self);

    /// The write path is shut: what could not be done is told, and nothing is kept alive.
    fn shut(&mut self);

    /// What is to be done, and when.
    fn plan(&mut self) -> &mut Plan;

    /// Zero of the plan's time, which runs with the timers.
    fn epoch(&self) -> tokio::time::Instant;

    /// Whether the link is there.
    fn is_up(&self) -> bool;

    /// Opens the link and tells what came of it. May be dropped and called again.
    fn connect(&mut self) -> impl Future<Output = ()> + Send;

    /// Carries a task out. It is dropped at the end of a bus that may not go on any more.
    fn perform(&mut self, task: Task) -> impl Future<Output = ()> + Send;
}

/// Lives a bus until all handles and its writer are dropped.
pub(crate) async fn drive<J>(mut bus: impl Asking<J>, mut door: Door<J>) {
    loop {
        while let Some(passed) = door.try_next() {
            bus.pass(passed);
        }
        bus.expire();
        if door.is_to_shut(bus.plan().has_urgent()) {
            bus.shut();
            door.shut();
        }
        if door.is_over() {
            return;
        }
        let task = if bus.is_up() {
            let now = Instant::START + bus.epoch().elapsed();
            bus.plan().next(now)
        } else {
            Task::Wait(bus.plan().next_expiry())
        };
        let Task::Wait(until) = task else {
            // The end is noticed during a long transaction, too; orders are only set aside.
            let mut early = Vec::new();
            {
                let mut performing = std::pin::pin!(bus.perform(task));
                loop {
                    tokio::select! {
                        biased;
                        () = timer(door.ends_by()) => break,
                        () = &mut performing => break,
                        passed = door.next(), if early.len() < EARLY_MAX => early.push(passed),
                    }
                }
            }
            for passed in early {
                bus.pass(passed);
            }
            continue;
        };
        let until = bus.epoch() + until.map_or(FAR, |at| at.since(Instant::START).min(FAR));
        let connecting = !bus.is_up();
        let closes_by = door.closes_by();
        tokio::select! {
            biased;
            passed = door.next() => bus.pass(passed),
            () = timer(closes_by) => {}
            () = bus.connect(), if connecting => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }
}
