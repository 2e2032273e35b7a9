//! A sink that keeps what goes over the buses, beside the values that come of it.
//!
//! Responsible for keeping transactions and samples in their order, within a bound. It is not
//! responsible for files (see the command line).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::{LinkEvent, Sink, Traffic};
use model::{Clock, Instant, PointSample};
use profile::can::CanId;

/// Most entries that wait to be taken. Chosen: half a minute of the busiest bus; who takes them
/// every second never comes near it.
const WAITING_MAX: usize = 100_000;

/// Something that happened on a bus.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When it was known.
    pub at: Instant,
    /// What it was.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A Modbus transaction; see [`Traffic::Modbus`].
    #[allow(missing_docs, reason = "the fields are those of Traffic::Modbus")]
    Modbus {
        unit: u8,
        function: u8,
        address: u16,
        count: u16,
        written: Vec<u16>,
        answer: Result<Vec<u16>, String>,
        round_trip: Option<Duration>,
    },
    /// A CAN frame; see [`Traffic::Can`].
    #[allow(missing_docs, reason = "the fields are those of Traffic::Can")]
    Can {
        id: CanId,
        data: Vec<u8>,
        is_ours: bool,
    },
    /// An MQTT message; see [`Traffic::Mqtt`].
    #[allow(missing_docs, reason = "the fields are those of Traffic::Mqtt")]
    Mqtt {
        topic: String,
        payload: Vec<u8>,
        retain: bool,
        is_ours: bool,
    },
    /// A line of SCPI; see [`Traffic::Scpi`].
    #[allow(missing_docs, reason = "the fields are those of Traffic::Scpi")]
    Scpi { line: Option<String>, is_ours: bool },
    /// A decoded value.
    Sample(PointSample),
}

/// Keeps what happens, and passes samples and events on.
pub struct Recorder {
    next: Arc<dyn Sink>,
    clock: Arc<dyn Clock>,
    waiting: Mutex<(Vec<Entry>, u64)>,
}

impl Recorder {
    /// A recorder in front of another sink.
    #[must_use]
    pub fn new(next: Arc<dyn Sink>, clock: Arc<dyn Clock>) -> Self {
        Self {
            next,
            clock,
            waiting: Mutex::default(),
        }
    }

    /// What has happened since the last call, and how many entries were lost since the beginning
    /// because nobody took them in time.
    #[must_use]
    pub fn take(&self) -> (Vec<Entry>, u64) {
        let mut waiting = self.waiting();
        (std::mem::take(&mut waiting.0), waiting.1)
    }

    fn waiting(&self) -> MutexGuard<'_, (Vec<Entry>, u64)> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, what: What) {
        let at = self.clock.now();
        let mut waiting = self.waiting();
        if waiting.0.len() < WAITING_MAX {
            waiting.0.push(Entry { at, what });
        } else {
            waiting.1 += 1;
        }
    }
}

impl Sink for Recorder {
    fn sample(&self, sample: PointSample) {
        self.keep(What::Sample(sample));
        self.next.sample(sample);
    }

    fn event(&self, event: LinkEvent) {
        self.next.event(event);
    }

    fn traffic(&self, traffic: Traffic<'_>) {
        self.keep(match traffic {
            Traffic::Modbus {
                unit,
                function,
                address,
                count,
                written,
                answer,
                round_trip,
            } => What::Modbus {
                unit,
                function,
                address,
                count,
                written: written.to_vec(),
                answer: answer.map(<[u16]>::to_vec).map_err(str::to_owned),
                round_trip,
            },
            Traffic::Can { id, data, is_ours } => What::Can {
                id,
                data: data.to_vec(),
                is_ours,
            },
            Traffic::Mqtt {
                topic,
                payload,
                retain,
                is_ours,
            } => What::Mqtt {
                topic: topic.to_owned(),
                payload: payload.to_vec(),
                retain,
                is_ours,
            },
            Traffic::Scpi { line, is_ours } => What::Scpi {
                line: line.map(str::to_owned),
                is_ours,
            },
        });
    }
}
