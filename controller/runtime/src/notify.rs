//! The service manager's watchdog: told that all is well only while control and buses both go on.
//!
//! The protocol is that of `sd_notify(3)`: a datagram of `NAME=value` to the socket that
//! `NOTIFY_SOCKET` names. It is three lines of text, so no library speaks it for us. When the cycle
//! stalls, or the buses do, no word is sent, and the manager ends and restarts the service; the
//! devices' own watchdogs have brought them to rest by then.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::time::Duration;

/// The manager, if there is one.
#[derive(Debug)]
pub struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    /// How often it wants to hear from us; `None` = it does not watch.
    pub every: Option<Duration>,
}

impl Manager {
    /// The manager that the environment names.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let name = std::env::var("NOTIFY_SOCKET").ok()?;
        let watchdog = std::env::var("WATCHDOG_USEC").ok();
        // A watchdog that is meant for another process is not ours to feed.
        let ours = std::env::var("WATCHDOG_PID")
            .ok()
            .is_none_or(|pid| pid == std::process::id().to_string());
        Self::at(&name, watchdog.filter(|_| ours).as_deref())
    }

    /// The manager at a socket, which watches for so many microseconds.
    fn at(name: &str, watchdog_us: Option<&str>) -> Option<Self> {
        let address = match name.strip_prefix('@') {
            Some(hidden) => SocketAddr::from_abstract_name(hidden).ok()?,
            None => SocketAddr::from_pathname(PathBuf::from(name)).ok()?,
        };
        let within = watchdog_us
            .and_then(|us| us.parse().ok())
            .map(Duration::from_micros);
        Some(Self {
            socket: UnixDatagram::unbound().ok()?,
            address,
            // sd_watchdog_enabled(3) advises half of it; a third leaves room for one lost word.
            every: within.map(|within| within / 3),
        })
    }

    /// Says something to the manager. One that does not listen is no reason to stop.
    pub fn say(&self, what: &str) {
        if let Err(e) = self.socket.send_to_addr(what.as_bytes(), &self.address) {
            tracing::debug!(message = "The service manager does not listen.", %e);
        }
    }
}

/// What has to go on for the watchdog to be fed.
#[derive(Debug, Default)]
pub struct Progress {
    last: Option<(u64, u64)>,
}

impl Progress {
    /// Whether both have gone on since the last look: the steps of control and the words of the buses.
    pub fn both_went_on(&mut self, steps: u64, words: u64) -> bool {
        let went_on = self
            .last
            .is_none_or(|(before, heard)| steps != before && words != heard);
        if went_on {
            self.last = Some((steps, words));
        }
        went_on
    }
}

/// Feeds the manager's watchdog until it is dropped.
pub async fn feed(manager: Manager, counts: impl Fn() -> (u64, u64)) {
    manager.say("READY=1");
    let Some(every) = manager.every else {
        return std::future::pending().await;
    };
    let mut progress = Progress::default();
    let mut was_fed = true;
    loop {
        tokio::time::sleep(every).await;
        let (steps, words) = counts();
        let is_fed = progress.both_went_on(steps, words);
        if is_fed {
            manager.say("WATCHDOG=1");
        } else if was_fed {
            tracing::error!(
                message = "Control or buses do not go on: the watchdog is not fed.",
                steps,
                words
            );
        }
        was_fed = is_fed;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn the_watchdog_is_fed_only_while_control_and_buses_both_go_on() {
        let rows = [
            ((1, 1), true, "the first look"),
            ((2, 2), true, "both"),
            ((3, 2), false, "the buses stand still"),
            ((4, 3), true, "both since the last time that it was fed"),
            ((4, 9), false, "control stands still"),
            ((4, 9), false, "and still"),
            ((5, 10), true, "both again"),
        ];
        let mut progress = Progress::default();
        for ((steps, words), fed, why) in rows {
            assert_eq!(progress.both_went_on(steps, words), fed, "{why}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_manager_hears_that_we_are_ready_and_then_as_long_as_we_go_on() {
        let name = format!("gridrig-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let ear = UnixDatagram::bind_addr(&address).expect("a socket");
        ear.set_nonblocking(true).expect("it does not wait");
        let manager = Manager::at(&format!("@{name}"), Some("3000000")).expect("a manager");
        assert_eq!(manager.every, Some(Duration::from_secs(1)));
        let steps = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&steps);
        let feeding = tokio::spawn(feed(manager, move || {
            let n = counted.load(Ordering::Relaxed);
            (n, n)
        }));
        let heard = || {
            let mut words = Vec::new();
            let mut bytes = [0; 64];
            while let Ok(n) = ear.recv(&mut bytes) {
                words.push(String::from_utf8_lossy(&bytes[..n]).into_owned());
            }
            words
        };
        for n in 1..=3 {
            steps.store(n, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(1010)).await;
        }
        assert_eq!(
            heard(),
            ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]
        );
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(heard(), Vec::<String>::new(), "nothing goes on");
        feeding.abort();
    }
}
