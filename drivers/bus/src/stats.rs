//! What a bus counts, for the whole link and for each device on it.
//!
//! Responsible for counters and for how round trips are kept. Counting is lock-free, so
//! that a reader of the page never holds a bus up. It is not responsible for what a
//! number means to a person (see the page and the metrics of the runtime).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::DeviceIx;

/// Counters of a bus, since the run began.
#[derive(Debug, Default)]
pub struct BusStats {
    /// Requests sent (or frames and messages sent).
    pub requests: AtomicU64,
    /// Good answers (or frames and messages received).
    pub answers: AtomicU64,
    /// Requests without an answer in time.
    pub timeouts: AtomicU64,
    /// Damaged or foreign answers that were thrown away.
    pub corrupt: AtomicU64,
    /// Answers with an exception code.
    pub exceptions: AtomicU64,
    /// Setpoints dropped because they came too late.
    pub expired: AtomicU64,
    /// Connections opened again.
    pub reconnects: AtomicU64,
    /// Times that the CAN controller has left its bus.
    pub bus_offs: AtomicU64,
    /// Other errors that the CAN controller has reported: of wiring, bit rate or load.
    pub bus_errors: AtomicU64,
    /// Time during which the link was in use, in nanoseconds.
    pub busy_nanos: AtomicU64,
    /// The devices, in the order of the bus.
    devices: Vec<DeviceStats>,
    /// Version of the firmware of those that have told it, as the device says it.
    firmware: Mutex<BTreeMap<DeviceIx, String>>,
}

/// Counters of one device, since the run began. On a bus whose devices speak by themselves (CAN,
/// MQTT) its answers are its frames or messages, its time-outs their silences and what it did not
/// confirm, its round trips those from a command to its confirmation.
#[derive(Debug)]
pub struct DeviceStats {
    /// Which device.
    pub device: DeviceIx,
    /// Requests to it (or frames and messages sent).
    pub requests: AtomicU64,
    /// Its good answers (or frames and messages received).
    pub answers: AtomicU64,
    /// Requests without an answer in time.
    pub timeouts: AtomicU64,
    /// Damaged or foreign answers.
    pub corrupt: AtomicU64,
    /// Answers with an exception code.
    pub exceptions: AtomicU64,
    /// Requests that were sent once more because the device was busy or its answer was lost.
    pub retries: AtomicU64,
    /// Answers that came too late and were thrown away.
    pub late: AtomicU64,
    /// Setpoints dropped because they came too late.
    pub expired: AtomicU64,
    /// Time of the link that it has taken, in nanoseconds.
    pub busy_nanos: AtomicU64,
    round_trips: RoundTrips,
}

/// A reading of [`BusStats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names and units are those of BusStats")]
pub struct BusReport {
    pub requests: u64,
    pub answers: u64,
    pub timeouts: u64,
    pub corrupt: u64,
    pub exceptions: u64,
    pub expired: u64,
    pub reconnects: u64,
    pub bus_offs: u64,
    pub bus_errors: u64,
    pub busy_nanos: u64,
}

/// A reading of [`DeviceStats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names and units are those of DeviceStats")]
pub struct DeviceReport {
    pub device: DeviceIx,
    pub requests: u64,
    pub answers: u64,
    pub timeouts: u64,
    pub corrupt: u64,
    pub exceptions: u64,
    pub retries: u64,
    pub late: u64,
    pub expired: u64,
    pub busy_nanos: u64,
    /// Median of the times from request to answer; unknown before the first answer.
    pub round_trip_p50: Option<Duration>,
    /// The time that one in a hundred answers exceeds.
    pub round_trip_p99: Option<Duration>,
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl BusStats {
    /// Counters of a bus with these devices.
    #[must_use]
    pub fn of(devices: impl IntoIterator<Item = DeviceIx>) -> Self {
        Self {
            devices: devices.into_iter().map(DeviceStats::of).collect(),
            ..Self::default()
        }
    }

    /// All counters at once.
    #[must_use]
    pub fn report(&self) -> BusReport {
        BusReport {
            requests: read(&self.requests),
            answers: read(&self.answers),
            timeouts: read(&self.timeouts),
            corrupt: read(&self.corrupt),
            exceptions: read(&self.exceptions),
            expired: read(&self.expired),
            reconnects: read(&self.reconnects),
            bus_offs: read(&self.bus_offs),
            bus_errors: read(&self.bus_errors),
            busy_nanos: read(&self.busy_nanos),
        }
    }

    /// The counters of a device, if it is on this bus.
    #[must_use]
    pub fn device(&self, device: DeviceIx) -> Option<&DeviceStats> {
        self.devices.iter().find(|d| d.device == device)
    }

    /// All devices that were asked, have spoken, or were missed.
    #[must_use]
    pub fn devices(&self) -> Vec<DeviceReport> {
        let counted = |d: &&DeviceStats| {
            [&d.requests, &d.answers, &d.timeouts, &d.corrupt]
                .into_iter()
                .any(|counter| read(counter) > 0)
        };
        let devices = self.devices.iter().filter(counted);
        devices.map(DeviceStats::report).collect()
    }

    /// Adds to a counter of a device, if it is on this bus.
    pub(crate) fn add_to(
        &self,
        device: DeviceIx,
        counter: impl FnOnce(&DeviceStats) -> &AtomicU64,
        n: u64,
    ) {
        if let Some(device) = self.device(device) {
            Self::add(counter(device), n);
        }
    }

    /// Takes note of what a device calls its firmware; nothing where it says nothing.
    pub fn note_firmware(&self, device: DeviceIx, version: &str) {
        let version = version.trim();
        if !version.is_empty() {
            let mut firmware = self.firmware.lock().unwrap_or_else(PoisonError::into_inner);
            firmware.insert(device, version.to_owned());
        }
    }

    /// The firmware of the devices that have told it.
    #[must_use]
    pub fn firmware(&self) -> BTreeMap<DeviceIx, String> {
        let firmware = self.firmware.lock().unwrap_or_else(PoisonError::into_inner);
        firmware.clone()
    }

    /// Adds to a counter.
    pub fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

impl DeviceStats {
    fn of(device: DeviceIx) -> Self {
        Self {
            device,
            requests: AtomicU64::default(),
            answers: AtomicU64::default(),
            timeouts: AtomicU64::default(),
            corrupt: AtomicU64::default(),
            exceptions: AtomicU64::default(),
            retries: AtomicU64::default(),
            late: AtomicU64::default(),
            expired: AtomicU64::default(),
            busy_nanos: AtomicU64::default(),
            round_trips: RoundTrips::default(),
        }
    }

    /// Takes note of a time from request to answer.
    pub fn note_round_trip(&self, time: Duration) {
        self.round_trips.note(time);
    }

    /// All counters at once.
    #[must_use]
    pub fn report(&self) -> DeviceReport {
        DeviceReport {
            device: self.device,
            requests: read(&self.requests),
            answers: read(&self.answers),
            timeouts: read(&self.timeouts),
            corrupt: read(&self.corrupt),
            exceptions: read(&self.exceptions),
            retries: read(&self.retries),
            late: read(&self.late),
            expired: read(&self.expired),
            busy_nanos: read(&self.busy_nanos),
            round_trip_p50: self.round_trips.quantile(0.5),
            round_trip_p99: self.round_trips.quantile(0.99),
        }
    }
}

/// Steps of a doubling of time.
/// Chosen: eight steps are 12 % wide each, finer than round trips on any bus repeat.
const STEPS: u32 = 8;

/// Doublings above one microsecond that are told apart.
/// Chosen: 2^27 us is 134 s, longer than any time-out.
const DOUBLINGS: u32 = 27;

/// How often each length of time has occurred, in steps of an eighth of a doubling.
#[derive(Debug)]
struct RoundTrips {
    counts: [AtomicU64; (STEPS * DOUBLINGS) as usize],
}

impl Default for RoundTrips {
    fn default() -> Self {
        Self {
            counts: std::array::from_fn(|_| AtomicU64::default()),
        }
    }
}

impl RoundTrips {
    /// The step of a time: its power of two in microseconds, and the three bits after the first.
    fn step(time: Duration) -> usize {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        let doubling = micros.ilog2();
        let fraction = match doubling {
            0..3 => (micros << (3 - doubling)) & 7,
            _ => (micros >> (doubling - 3)) & 7,
        };
        let step = doubling as usize * STEPS as usize + fraction as usize;
        step.min((STEPS * DOUBLINGS) as usize - 1)
    }

    /// The middle of a step.
    fn middle(step: usize) -> Duration {
        let (doubling, fraction) = (step / STEPS as usize, step % STEPS as usize);
        let micros =
            2_f64.powi(doubling as i32) * (1.0 + (fraction as f64 + 0.5) / f64::from(STEPS));
        Duration::from_secs_f64(micros * 1e-6)
    }

    fn note(&self, time: Duration) {
        if let Some(count) = self.counts.get(Self::step(time)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The time that this share of all does not exceed, to within a sixteenth.
    fn quantile(&self, share: f64) -> Option<Duration> {
        let counts: Vec<u64> = self.counts.iter().map(read).collect();
        let all: u64 = counts.iter().sum();
        let wanted = (share * all as f64).ceil().max(1.0) as u64;
        let mut sum = 0;
        let step = counts.iter().position(|count| {
            sum += count;
            sum >= wanted
        });
        step.map(Self::middle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantiles_of_round_trips_are_right_to_a_sixteenth() {
        let trips = RoundTrips::default();
        assert_eq!(trips.quantile(0.5), None);
        // 98 of 20 ms, one of 3 s, one of 20 us.
        for _ in 0..98 {
            trips.note(Duration::from_millis(20));
        }
        trips.note(Duration::from_secs(3));
        trips.note(Duration::from_micros(20));
        for (share, seconds) in [(0.005, 20e-6), (0.5, 0.02), (0.98, 0.02), (0.999, 3.0)] {
            let told = trips.quantile(share).expect("noted").as_secs_f64();
            assert!((told / seconds - 1.0).abs() < 1.0 / 16.0, "{share}: {told}");
        }
    }

    #[test]
    fn no_time_falls_out_of_the_steps() {
        let rows = [
            (Duration::ZERO, 0),
            (Duration::from_micros(1), 0),
            (Duration::from_micros(2), 8),
            (Duration::from_micros(3), 12),
            (Duration::from_micros(9), 25),
            (Duration::MAX, 215),
        ];
        for (time, step) in rows {
            assert_eq!(RoundTrips::step(time), step, "{time:?}");
        }
    }

    #[test]
    fn a_device_that_was_never_asked_nor_heard_is_not_told() {
        let stats = BusStats::of([DeviceIx(3), DeviceIx(5)]);
        let asked = stats.device(DeviceIx(5)).expect("on the bus");
        BusStats::add(&asked.requests, 2);
        let told = stats.devices();
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].device, told[0].requests), (DeviceIx(5), 2));
        assert_eq!(told[0].round_trip_p99, None);
        assert!(stats.device(DeviceIx(4)).is_none());
    }
}
