//! What the system lets this process do for its timing: real-time priority and locked memory.
//!
//! Responsible for asking, and for saying what was granted. It is not responsible for what
//! runs then: the control thread (see [`crate::thread`]), or emulated devices that answer alone.

use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// Priority of the control thread under SCHED_FIFO, 1 to 99. Chosen: 50, above ordinary work and
/// below the kernel's own threads, as the measurements of control loops on this kind of host were made with.
const CONTROL_PRIORITY: u8 = 50;

/// Priority of the thread that writes the ledger, for which the control thread waits. Chosen: next below it, so
/// that a cycle that is due never waits for a record that is being signed.
const LEDGER_PRIORITY: u8 = 45;

/// Priority of the thread of the buses. Chosen: below the ledger's, as a setpoint waits for its record before it
/// waits for its bus, and above that of emulated devices on the same host.
const BUSES_PRIORITY: u8 = 43;

/// Priority of emulated devices that run by themselves (`gridrig sim`), and of who measures them.
/// Chosen: under the control thread's, so that on one host a cycle never waits for a device.
const DEVICES_PRIORITY: u8 = 40;

/// What was granted, or why not.
pub type Granted = Result<(), String>;

/// What the process was allowed to do for its timing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Whether the control thread runs under SCHED_FIFO, or why not.
    pub fifo: Granted,
    /// Whether the memory is locked, or why not.
    pub locked: Granted,
}

impl Rights {
    /// A line for the start of a run.
    #[must_use]
    pub fn line(&self) -> String {
        let word = |granted: &Granted, yes: &str| match granted {
            Ok(()) => yes.to_owned(),
            Err(why) => format!("no {yes} ({why})"),
        };
        format!(
            "{}, {}",
            word(&self.fifo, "SCHED_FIFO"),
            word(&self.locked, "mlockall")
        )
    }
}

/// Asks for SCHED_FIFO for the calling thread; threads and processes that it starts inherit it.
fn fifo(priority: u8) -> Granted {
    let priority = priority
        .try_into()
        .map_err(|_| format!("{priority} is no priority"))?;
    set_thread_priority_and_policy(
        thread_native_id(),
        ThreadPriority::Crossplatform(priority),
        ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo),
    )
    .map_err(|e| e.to_string())
}

/// Asks for what the control thread wants: SCHED_FIFO for the calling thread, locked memory for the process.
pub(crate) fn for_control() -> Rights {
    // On fault only: locking all at once would pull the whole reserve of every stack into memory.
    let locked = rustix::mm::mlockall(
        rustix::mm::MlockAllFlags::CURRENT
            | rustix::mm::MlockAllFlags::FUTURE
            | rustix::mm::MlockAllFlags::ONFAULT,
    )
    .map_err(|e| e.to_string());
    Rights {
        fifo: fifo(CONTROL_PRIORITY),
        locked,
    }
}

/// Does something whose threads are waited for by the control thread: under SCHED_FIFO where the system grants
/// it, which they inherit. The calling thread stays as it is.
pub(crate) fn beside_control<T: Send>(start: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // Refused as it will be to the control thread, which tells so.
            let _granted = fifo(LEDGER_PRIORITY);
            start()
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Asks for SCHED_FIFO for the calling thread, which serves the buses.
pub(crate) fn for_buses() -> Granted {
    fifo(BUSES_PRIORITY)
}

/// Asks for SCHED_FIFO for the calling thread, which serves emulated devices or measures them.
///
/// # Errors
/// When the system refuses, with its words: the devices then answer when they are let.
pub fn for_devices() -> Granted {
    fifo(DEVICES_PRIORITY)
}

#[cfg(test)]
mod tests {
    use thread_priority::thread_schedule_policy;

    use super::*;

    #[test]
    fn what_was_granted_is_so_and_what_was_not_is_told() {
        // On a thread of its own, as others of this process must not inherit it.
        let asked = std::thread::spawn(|| (for_devices(), thread_schedule_policy()));
        let (granted, policy) = asked.join().expect("no panic");
        let fifo = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
        assert_eq!(
            granted.is_ok(),
            policy == Ok(fifo),
            "{granted:?} {policy:?}"
        );
        let of_thread = || thread_schedule_policy().ok();
        let inherited = beside_control(|| std::thread::spawn(of_thread).join());
        assert_eq!(
            granted.is_ok(),
            inherited.expect("no panic") == Some(fifo),
            "what it starts inherits it"
        );
        assert_ne!(of_thread(), Some(fifo), "the caller stays as it is");
        let rights = Rights {
            fifo: Err("not permitted".to_owned()),
            locked: Ok(()),
        };
        assert_eq!(rights.line(), "no SCHED_FIFO (not permitted), mlockall");
    }
}
