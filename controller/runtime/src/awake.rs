//! Processors that stay awake while the bench is armed, so that a fast path does not wait for one.
//!
//! A processor without work is put to sleep. The way back takes a core some tens of microseconds, one of a
//! virtual machine up to some milliseconds, since its host has to run it again first; a setpoint
//! that goes through four threads takes that way four times. Responsible for keeping them from it, at the price of
//! their power. It is not responsible for who may run first (see [`crate::rights`]).
//!
//! Two ways: where the kernel has idle states to choose from it is asked for none (its quality of service for
//! latency, `/dev/cpu_dma_latency`). Elsewhere each processor gets a thread under SCHED_IDLE that does nothing: every
//! other thread goes before it, at once.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// Where the kernel takes wishes for latency; a wish holds for as long as the file is open.
/// Source: Documentation/power/pm_qos_interface.rst of Linux.
const LATENCY: &str = "/dev/cpu_dma_latency";

/// What says which driver chooses idle states; `none` where there are none to choose from.
const IDLE_DRIVER: &str = "/sys/devices/system/cpu/cpuidle/current_driver";

/// Wishes, in microseconds: no latency, and any.
/// Source: as [`LATENCY`]; `PM_QOS_CPU_LATENCY_DEFAULT_VALUE` in include/linux/pm_qos.h.
const NONE_US: i32 = 0;
const ANY_US: i32 = 2_000_000_000;

/// What the threads are to do.
const REST: u8 = 0;
const STAY_AWAKE: u8 = 1;
const END: u8 = 2;

/// How processors are kept awake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// The kernel is asked for it.
    Kernel,
    /// So many threads.
    Threads(usize),
}

impl Way {
    /// In words, for the start of a run.
    #[must_use]
    pub fn line(&self) -> String {
        match self {
            Self::Kernel => format!("by the kernel ({LATENCY})"),
            Self::Threads(count) => format!("by {count} threads under SCHED_IDLE"),
        }
    }
}

/// Whether the kernel has idle states to choose from, and whether it takes our wish; with its words if not.
///
/// # Errors
/// Why the wish cannot be told.
pub fn kernel() -> Result<bool, String> {
    let has_states = fs::read_to_string(IDLE_DRIVER).is_ok_and(|driver| driver.trim() != "none");
    match has_states {
        true => wish().map(|_| true),
        false => Ok(false),
    }
}

fn wish() -> Result<File, String> {
    let opened = File::options().write(true).open(Path::new(LATENCY));
    opened.map_err(|e| format!("{LATENCY}: {e}"))
}

/// Keeps the processors of this process awake, or lets them rest. They rest again when it goes.
pub struct Awake {
    /// Which way it does.
    pub way: Way,
    wish: Option<File>,
    does: Arc<AtomicU8>,
    threads: Vec<JoinHandle<()>>,
}

impl Awake {
    /// Prepares; the processors may rest still.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn prepare() -> std::io::Result<Self> {
        let mut awake = Self {
            way: Way::Kernel,
            wish: None,
            does: Arc::new(AtomicU8::new(REST)),
            threads: Vec::new(),
        };
        if kernel() == Ok(true) {
            awake.wish = wish().ok();
        }
        if awake.wish.is_none() {
            for processor in processors() {
                let does = Arc::clone(&awake.does);
                let thread = std::thread::Builder::new()
                    .name("awake".into())
                    .spawn(move || stay_awake(processor, &does))?;
                awake.threads.push(thread);
            }
            awake.way = Way::Threads(awake.threads.len());
        }
        Ok(awake)
    }

    /// Keeps them awake from now on, or lets them rest. It costs nothing where nothing changes.
    pub fn keep(&mut self, awake: bool) {
        let does = if awake { STAY_AWAKE } else { REST };
        if self.does.swap(does, Ordering::AcqRel) == does {
            return;
        }
        if let Some(file) = &mut self.wish {
            let latency = if awake { NONE_US } else { ANY_US };
            // A kernel that has taken the wish at the start takes this one, too.
            let _taken = file.write_all(&latency.to_ne_bytes());
        }
        for thread in &self.threads {
            thread.thread().unpark();
        }
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.does.store(END, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            // It has nothing to say.
            let _ended = thread.join();
        }
    }
}

/// The processors that this process may use; none where the system does not tell.
fn processors() -> Vec<usize> {
    sched_getaffinity(None).map_or_else(
        |_| Vec::new(),
        |set| {
            (0..CpuSet::MAX_CPU)
                .filter(|cpu| set.is_set(*cpu))
                .collect()
        },
    )
}

/// Does nothing on one processor, but does it all the time.
fn stay_awake(processor: usize, does: &AtomicU8) {
    let mut only = CpuSet::new();
    only.set(processor);
    let behind_all = set_thread_priority_and_policy(
        thread_native_id(),
        ThreadPriority::Min,
        ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle),
    );
    // Anywhere else or before anybody else it would do harm.
    if behind_all.is_err() || sched_setaffinity(None, &only).is_err() {
        return;
    }
    loop {
        match does.load(Ordering::Acquire) {
            END => return,
            STAY_AWAKE => std::hint::spin_loop(),
            _ => std::thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Policy and processor of the threads called `awake`, and whether they run or wait, from the kernel.
    fn threads() -> Vec<(u32, char)> {
        let tasks = fs::read_dir("/proc/self/task").expect("a list of threads");
        let stats =
            tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
        let told = stats.filter_map(|stat| {
            let (_, rest) = stat.split_once("(awake) ")?;
            let words: Vec<&str> = rest.split(' ').collect();
            // Fields 3 and 41 of proc_pid_stat(5): state and policy.
            Some((words[38].parse().ok()?, words[0].chars().next()?))
        });
        told.collect()
    }

    #[test]
    fn processors_are_kept_awake_behind_everybody_else_and_only_while_it_is_wanted() {
        /// SCHED_IDLE, in include/uapi/linux/sched.h.
        const SCHED_IDLE: u32 = 5;
        let mut awake = Awake::prepare().expect("threads");
        let Way::Threads(count) = awake.way else {
            // The kernel does it: nothing of it can be seen from here.
            return;
        };
        assert_eq!(count, processors().len());
        let become_so = |state: fn(char) -> bool| {
            let patience = 2000;
            (0..patience).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(1));
                let seen = threads();
                seen.len() == count && seen.iter().all(|(p, s)| *p == SCHED_IDLE && state(*s))
            })
        };
        assert!(
            become_so(|s| s == 'S'),
            "they rest at first: {:?}",
            threads()
        );
        awake.keep(true);
        assert!(become_so(|s| s == 'R'), "they stay awake: {:?}", threads());
        awake.keep(false);
        assert!(become_so(|s| s == 'S'), "they rest again: {:?}", threads());
        awake.keep(true);
        drop(awake);
        assert!(threads().is_empty(), "they have ended: {:?}", threads());
    }
}
