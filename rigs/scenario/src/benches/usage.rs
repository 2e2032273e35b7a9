//! What a process has used: CPU time, memory, threads, as Linux counts them.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::BenchError;

/// CPU time of this process so far, all threads, user and system.
pub(super) fn cpu() -> Duration {
    spent(ClockId::ProcessCPUTime)
}

/// CPU time of the calling thread so far.
pub(super) fn cpu_of_thread() -> Duration {
    spent(ClockId::ThreadCPUTime)
}

fn spent(clock: ClockId) -> Duration {
    let spent = clock_gettime(clock);
    Duration::new(
        u64::try_from(spent.tv_sec).unwrap_or(0),
        u32::try_from(spent.tv_nsec).unwrap_or(0),
    )
}

/// Average number of runnable processes in the last minute, to judge a measurement by.
pub(super) fn load() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// Another process, seen from outside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process(pub(super) u32);

/// Memory and threads of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// Resident memory now, in KiB.
    pub rss_kib: u64,
    /// Most resident memory so far, in KiB.
    pub rss_max_kib: u64,
    /// Threads now.
    pub threads: u64,
}

impl Process {
    /// CPU time of its living threads so far.
    pub(super) fn cpu(self) -> Result<Duration, BenchError> {
        let failed = "the child's CPU time cannot be read";
        let mut nanos = 0;
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.0));
        for task in tasks.map_err(BenchError::system(failed))? {
            let path = task.map_err(BenchError::system(failed))?.path();
            // A thread that has ended in between has no file any more.
            if let Ok(text) = std::fs::read_to_string(path.join("schedstat")) {
                nanos += on_cpu_nanos(&text).unwrap_or(0);
            }
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Its memory and threads now.
    pub(super) fn size(self) -> Result<Size, BenchError> {
        let failed = "the child's memory cannot be read";
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.0))
            .map_err(BenchError::system(failed))?;
        size(&text).ok_or(BenchError::Child {
            expected: "VmRSS, VmHWM and Threads in its status",
            said: text,
        })
    }
}

/// The first field of a thread's `schedstat`: time on a CPU in nanoseconds.
fn on_cpu_nanos(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

fn size(status: &str) -> Option<Size> {
    let field = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some(Size {
        rss_kib: field("VmRSS:")?,
        rss_max_kib: field("VmHWM:")?,
        threads: field("Threads:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_threads_are_read_from_the_status_of_a_process() {
        let status = "Name:\tgridrig\nVmPeak:\t  900 kB\nVmHWM:\t   512 kB\nVmRSS:\t   384 kB\nThreads:\t7\n";
        let expected = Size {
            rss_kib: 384,
            rss_max_kib: 512,
            threads: 7,
        };
        assert_eq!(size(status), Some(expected));
        assert_eq!(size("Name:\tgridrig\n"), None);
    }

    #[test]
    fn the_time_on_a_cpu_is_the_first_field() {
        assert_eq!(on_cpu_nanos("123456 789 12\n"), Some(123_456));
        assert_eq!(on_cpu_nanos(""), None);
    }
}
