//! Where the values of a run go: an embedded store in the run folder, a time-series server, and a
//! Home Assistant.
//!
//! The engine hands over samples and events; nothing here ever makes it wait. On a real bench each
//! sink has its own thread behind a bounded queue, and what does not fit is dropped and counted. In
//! virtual time the store is written in the caller's thread and the server's queue is unbounded, so
//! that nothing is dropped and the files depend on nothing but the run.
//!
//! It is not responsible for the ledger, the journal, the log, or the page.
//!
//! Terms: a *value* is one good reading of one point; a bad reading is a row with its reason in the
//! store and a gap at the server, never a number.

mod database;
mod endpoint;
mod figures;
pub mod grafana;
mod homeassistant;
mod influx;
mod line;
pub mod past;
mod record;
mod refusal;
mod sending;
pub mod setup;
mod spool;
mod store;
mod table;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::{Event, Instant, PointSample, Role, UtcTime};

pub use database::DATABASE_FILE;
pub use figures::Figures;
pub use homeassistant::{HomeConfig, HomeDevice};
pub use influx::{InfluxConfig, WriteApi, check_url};
pub use line::{Origin, field_name};
pub use record::{EventRecord, Level, describe, setpoint_text};
pub(crate) use record::{setpoint_json, stage_name};
pub(crate) use spool::SPOOL as SPOOL_FOLDER;
pub use store::{StoreError, StoredSample, read_samples};
pub use table::SAMPLE_COLUMNS;

use database::Database;
use homeassistant::{Home, Turn};
use influx::Influx;
use line::{Labels, Row, sample_lines};
use store::{Store, StoreThread, ToldEvent};

/// A device as the sinks name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedDevice {
    /// Name in the rig.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Name of its bus in the rig.
    pub bus: String,
}

/// What a run says of itself to its sinks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunAbout {
    /// Site, bench and run.
    pub origin: Origin,
    /// Path of the rig file.
    pub rig: String,
    /// When it began, as text.
    pub started_utc: String,
}

/// Whether a sink may lag behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// A real bench: own threads, bounded queues, drop and count.
    Real,
    /// Virtual time: nothing is dropped, and the files depend on nothing but the run.
    Virtual,
}

/// Name of the store in the run folder.
pub const SAMPLES_FILE: &str = "samples.csv.zst";
/// Name of the list of events in the run folder.
pub const EVENTS_FILE: &str = "events.jsonl";

/// Why telemetry could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A file of the run folder could not be made.
    #[error("cannot write {path}: {source}")]
    File {
        /// Its path.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The server's address in the rig cannot be used.
    #[error("the address of the telemetry server cannot be used: {0}")]
    Url(String),
    /// The authority that the rig names for the server cannot be used.
    #[error("the certificate authority of the telemetry server (`ca`) cannot be used: {0}")]
    Authority(String),
    /// The broker of Home Assistant cannot be used as the rig says.
    #[error("the broker of Home Assistant: {0}")]
    Broker(bus::mqtt::link::LinkError),
    /// A thread could not be started.
    #[error("cannot start a telemetry thread: {0}")]
    Thread(std::io::Error),
}

/// What became of the values, counted since the run began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TelemetryReport {
    /// Values acknowledged by the server, or by the embedded store where there is no server.
    pub written: u64,
    /// Values that the same sink will never get.
    pub lost: u64,
    /// Values that still wait for the server, in memory or in the spool on disk; zero without a server.
    pub waiting: u64,
    /// Values that were put into the spool, from which the server gets them; zero without a server.
    pub spooled: u64,
    /// Values in the embedded store.
    pub store_written: u64,
    /// Values that the embedded store did not take.
    pub store_lost: u64,
    /// Events that did not reach the list of events.
    pub events_lost: u64,
    /// Rows (readings good or bad, figures, events) that the database did not take; zero where there is none.
    pub database_lost: u64,
    /// Values that the broker of Home Assistant has acknowledged. Of each point only the latest
    /// is told, a few seconds apart: they are far fewer than those that were measured.
    pub home_written: u64,
    /// Values that the sink of Home Assistant did not even look at, because it could not follow.
    pub home_lost: u64,
}

/// The servers that a rig names.
#[derive(Clone, Debug, Default)]
pub struct Servers {
    /// A time-series server.
    pub influx: Option<InfluxConfig>,
    /// A Home Assistant. Its clock is the wall's, so it hears nothing of virtual time.
    pub home_assistant: Option<HomeConfig>,
}

/// Counters of one sink, in values where nothing else is said.
#[derive(Debug, Default)]
struct Counts {
    taken: AtomicU64,
    written: AtomicU64,
    lost: AtomicU64,
    spooled: AtomicU64,
    events_lost: AtomicU64,
    /// In rows of the database: readings, figures and events.
    database_lost: AtomicU64,
}

impl Counts {
    fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    fn read(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

/// The embedded store, on its own thread or in the caller's.
enum StoreSink {
    Thread(StoreThread),
    Here(Box<Mutex<Store<File, File>>>),
}

/// The front of all sinks.
pub struct Telemetry {
    devices: Arc<[NamedDevice]>,
    store: StoreSink,
    store_counts: Arc<Counts>,
    influx: Option<Influx>,
    home: Option<Home>,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry")
            .field("report", &self.report())
            .finish_non_exhaustive()
    }
}

impl Telemetry {
    /// Opens the files of the run folder and starts the threads.
    ///
    /// # Errors
    /// When a file cannot be made, a server's address or certificate makes no sense, or a thread cannot be started.
    pub fn start(
        run_dir: &Path,
        devices: Vec<NamedDevice>,
        servers: Servers,
        pace: Pace,
        about: &RunAbout,
    ) -> Result<Self, TelemetryError> {
        let open = |name: &str| {
            let path = run_dir.join(name);
            File::create(&path).map_err(|source| TelemetryError::File { path, source })
        };
        let devices: Arc<[NamedDevice]> = devices.into();
        let store_counts = Arc::new(Counts::default());
        let store = Store::new(
            open(SAMPLES_FILE)?,
            open(EVENTS_FILE)?,
            Arc::clone(&devices),
            Arc::clone(&store_counts),
        );
        let home = match (&servers.home_assistant, pace) {
            (Some(config), Pace::Real) => Some(Home::start(config)?),
            (Some(_), Pace::Virtual) | (None, _) => None,
        };
        let influx = match servers.influx {
            Some(config) => Some(Influx::start(config, &about.origin, &devices, pace)?),
            None => None,
        };
        let store = match pace {
            Pace::Real => {
                let devices = Arc::clone(&devices);
                let database = Database::create(run_dir, devices, about, Arc::clone(&store_counts));
                let store = store.indexed(database);
                StoreSink::Thread(StoreThread::start(store).map_err(TelemetryError::Thread)?)
            }
            // Nobody watches a virtual run while it goes on, and its files shall be the same each time.
            Pace::Virtual => StoreSink::Here(Box::new(Mutex::new(store))),
        };
        Ok(Self {
            devices,
            store,
            store_counts,
            influx,
            home,
        })
    }

    /// Takes samples; never waits. `utc` and `now` are the same moment on both clocks, so that the
    /// record time of a sample follows from its control time.
    pub fn samples(&self, utc: UtcTime, now: Instant, samples: &[PointSample]) {
        if samples.is_empty() {
            return;
        }
        let rows: Arc<[Row]> = samples
            .iter()
            .map(|sample| Row::of(utc, now, *sample))
            .collect();
        if let Some(influx) = &self.influx {
            influx.rows(now, Arc::clone(&rows));
        }
        if let Some(home) = &self.home {
            home.rows(now, Arc::clone(&rows));
        }
        match &self.store {
            StoreSink::Thread(thread) => thread.rows(now, rows, &self.store_counts),
            StoreSink::Here(store) => store
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .rows(&rows),
        }
    }

    /// Takes an event; never waits.
    pub fn event(&self, utc: UtcTime, now: Instant, event: &Event) {
        let record = describe(event, &|device| {
            self.devices
                .get(device.index())
                .map_or_else(|| format!("#{}", device.0), |d| d.name.clone())
        });
        if let Some(influx) = &self.influx {
            influx.event(utc, now, &record);
        }
        if let Some(home) = &self.home {
            match event {
                Event::AlarmRaised { alarm, .. } => home.alarm(alarm, Turn::Raised),
                Event::AlarmAcknowledged { alarm, .. } => home.alarm(alarm, Turn::Acknowledged),
                Event::AlarmCleared { alarm, .. } => home.alarm(alarm, Turn::Cleared),
                _ => {}
            }
        }
        let event = ToldEvent { utc, now, record };
        match &self.store {
            StoreSink::Thread(thread) => thread.event(event, &self.store_counts),
            StoreSink::Here(store) => store
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .event(&event),
        }
    }

    /// Takes figures of the bench itself, for a server and the database; never waits.
    pub fn figures(&self, utc: UtcTime, now: Instant, figures: Vec<Figures>) {
        if let Some(influx) = &self.influx {
            influx.figures(utc, now, &figures);
        }
        if let StoreSink::Thread(thread) = &self.store {
            thread.figures(utc, now, figures, &self.store_counts);
        }
    }

    /// What became of the values so far.
    #[must_use]
    pub fn report(&self) -> TelemetryReport {
        report(
            &self.store_counts,
            self.influx.as_ref().map(Influx::counts),
            self.home.as_ref().map(Home::counts),
        )
    }

    /// Ends all sinks: writes out what is left, for the server as long as `within` allows. What the
    /// server did not take in that time stays in the spool for the next run.
    #[must_use]
    pub fn finish(self, within: Duration) -> TelemetryReport {
        match self.store {
            StoreSink::Thread(thread) => thread.finish(within),
            StoreSink::Here(store) => (*store)
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner)
                .finish(),
        }
        let influx_counts = self.influx.map(|influx| influx.finish(within));
        let home_counts = self.home.map(|home| home.finish(within));
        report(
            &self.store_counts,
            influx_counts.as_deref(),
            home_counts.as_deref(),
        )
    }
}

/// Makes the line protocol of samples, as a server gets it.
#[derive(Clone, Debug)]
pub struct LineProtocol {
    labels: Labels,
}

impl LineProtocol {
    /// For the devices of a run.
    #[must_use]
    pub fn new(origin: &Origin, devices: &[NamedDevice]) -> Self {
        Self {
            labels: Labels::new(origin, devices),
        }
    }

    /// The lines of samples, each with its line feed; `utc` and `now` are one moment on both clocks.
    #[must_use]
    pub fn lines(&self, utc: UtcTime, now: Instant, samples: &[PointSample]) -> String {
        let rows: Vec<Row> = samples.iter().map(|s| Row::of(utc, now, *s)).collect();
        sample_lines(&self.labels, &rows).text
    }
}

fn report(store: &Counts, influx: Option<&Counts>, home: Option<&Counts>) -> TelemetryReport {
    let store_written = Counts::read(&store.written);
    let store_lost = Counts::read(&store.lost);
    let (written, lost, waiting) = influx.map_or((store_written, store_lost, 0), |c| {
        let (written, lost) = (Counts::read(&c.written), Counts::read(&c.lost));
        (
            written,
            lost,
            Counts::read(&c.taken).saturating_sub(written + lost),
        )
    });
    TelemetryReport {
        written,
        lost,
        waiting,
        spooled: influx.map_or(0, |c| Counts::read(&c.spooled)),
        store_written,
        store_lost,
        events_lost: Counts::read(&store.events_lost),
        database_lost: Counts::read(&store.database_lost),
        home_written: home.map_or(0, |c| Counts::read(&c.written)),
        home_lost: home.map_or(0, |c| Counts::read(&c.lost)),
    }
}
