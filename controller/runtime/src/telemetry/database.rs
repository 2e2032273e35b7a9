//! The past of a run, to be asked of: `samples.db` in the run folder, a SQLite database.
//!
//! `samples.csv.zst` is the record of a run, small and the same for the same run; this is its index. It holds
//! every reading with its reason if it is bad, the figures of the bench, and the events, so that a page can
//! show any window of a run, also of one that ended or was killed, without a server. The `sqlite3` shell, a
//! spreadsheet or pandas read it: the views `samples` and `happenings` say names where the tables have numbers.
//!
//! Each second is one transaction that is synced to the disk: a killed process or a lost machine costs at most
//! the last second. A disk that takes no more ends the database, is told once, and costs nothing else; each
//! row (reading, figure or event) that it lacks from there is counted.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use model::{Instant, UtcTime};
use rusqlite::{Connection, params};

use super::figures::Figures;
use super::line::Row;
use super::record::EventRecord;
use super::{Counts, NamedDevice, RunAbout};

/// Name of the database in the run folder.
pub const DATABASE_FILE: &str = "samples.db";

/// What the file says of itself, so that it is not taken for another program's: `grid` in ASCII.
pub(super) const APPLICATION_ID: i32 = 0x6772_6964;

/// Version of the tables.
pub(super) const SCHEMA: i32 = 1;

/// What device readings are series of; figures are of their measurement.
pub(super) const DEVICE: &str = "device";

/// Times are nanoseconds: `at_ns` since the run began, on the clock of control, `utc_ns` since 1970. A series
/// has one row per time. `quality` is null where the value is good.
const TABLES: &str = "
CREATE TABLE run (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE series (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, point TEXT NOT NULL, unit TEXT NOT NULL,
    UNIQUE (kind, name, point));
CREATE TABLE sample (
    series INTEGER NOT NULL REFERENCES series, at_ns INTEGER NOT NULL, utc_ns INTEGER NOT NULL,
    value REAL, quality TEXT, PRIMARY KEY (series, at_ns)) WITHOUT ROWID;
CREATE TABLE event (
    seq INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, utc_ns INTEGER NOT NULL, kind TEXT NOT NULL,
    device TEXT, line TEXT NOT NULL);
CREATE VIEW samples AS
    SELECT strftime('%Y-%m-%dT%H:%M:%f', utc_ns / 1e9, 'unixepoch') || 'Z' AS utc, at_ns / 1e9 AS t_s,
           kind, name, point, value, unit, coalesce(quality, 'good') AS quality
    FROM sample JOIN series ON series.id = sample.series;
CREATE VIEW happenings AS
    SELECT strftime('%Y-%m-%dT%H:%M:%f', utc_ns / 1e9, 'unixepoch') || 'Z' AS utc, at_ns / 1e9 AS t_s,
           kind, device, json_extract(line, '$.text') AS text FROM event;
";

const INSERT_SAMPLE: &str = "INSERT OR REPLACE INTO sample VALUES (?1, ?2, ?3, ?4, ?5)";

/// The database while its run goes on.
pub(super) struct Database {
    /// `None` after the first error: what comes later is not in it.
    connection: Option<Connection>,
    devices: Arc<[NamedDevice]>,
    series: BTreeMap<(&'static str, String, &'static str), i64>,
    in_transaction: bool,
    /// Rows in the open transaction.
    pending: u64,
    counts: Arc<Counts>,
}

impl Database {
    /// Makes the file; where that is not possible, says so and takes nothing.
    pub(super) fn create(
        run_dir: &Path,
        devices: Arc<[NamedDevice]>,
        about: &RunAbout,
        counts: Arc<Counts>,
    ) -> Self {
        let mut database = Self {
            connection: None,
            devices,
            series: BTreeMap::new(),
            in_transaction: false,
            pending: 0,
            counts,
        };
        match open(&run_dir.join(DATABASE_FILE), about) {
            Ok(connection) => database.connection = Some(connection),
            Err(error) => told(&error),
        }
        database
    }

    /// Writes readings.
    pub(super) fn rows(&mut self, rows: &[Row]) {
        self.write(rows.len() as u64, |this, connection| {
            let mut insert = connection.prepare(INSERT_SAMPLE)?;
            for row in rows {
                let sample = &row.sample;
                let name = match this.devices.get(sample.device.index()) {
                    Some(device) => device.name.clone(),
                    None => format!("#{}", sample.device.0),
                };
                let point = sample.point;
                let series = series_of(
                    &mut this.series,
                    connection,
                    (DEVICE, name, point.name()),
                    point.unit(),
                )?;
                insert.execute(params![
                    series,
                    sample.sample.measured_at.as_nanos() as i64,
                    row.utc.unix_nanos(),
                    row.value(),
                    row.flaw()
                ])?;
                this.pending += 1;
            }
            Ok(())
        });
    }

    /// Writes figures of the bench.
    pub(super) fn figures(&mut self, utc: UtcTime, now: Instant, figures: &[Figures]) {
        self.write(rows_in(figures), |this, connection| {
            let mut insert = connection.prepare(INSERT_SAMPLE)?;
            for figure in figures {
                let (kind, name) = figure.of();
                for (field, value) in figure.known() {
                    // The unit is in the name of a figure.
                    let key = (kind, name.to_owned(), field);
                    let series = series_of(&mut this.series, connection, key, "")?;
                    let at = now.as_nanos() as i64;
                    insert.execute(params![series, at, utc.unix_nanos(), value, None::<&str>])?;
                    this.pending += 1;
                }
            }
            Ok(())
        });
    }

    /// Writes an event, with its line as the list of events has it.
    pub(super) fn event(&mut self, utc: UtcTime, now: Instant, record: &EventRecord, line: &str) {
        self.write(1, |this, connection| {
            connection
                .prepare(
                    "INSERT INTO event (at_ns, utc_ns, kind, device, line) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![
                    now.as_nanos() as i64,
                    utc.unix_nanos(),
                    record.event,
                    record.device,
                    line
                ])?;
            this.pending += 1;
            Ok(())
        });
    }

    /// Makes all that was written so far safe.
    pub(super) fn flush(&mut self) {
        if !std::mem::take(&mut self.in_transaction) {
            return;
        }
        let Some(connection) = self.connection.take() else {
            return;
        };
        let rows = std::mem::take(&mut self.pending);
        match connection.execute_batch("COMMIT") {
            Ok(()) => self.connection = Some(connection),
            Err(error) => {
                self.lose(rows);
                told(&error);
            }
        }
    }

    /// Ends the file, so that it is one and can be read from a folder that cannot be written.
    pub(super) fn finish(mut self) {
        self.flush();
        let Some(connection) = self.connection.take() else {
            return;
        };
        // A reader may hold it open: then the log beside it stays, and holds the same.
        if let Err(error) = connection.pragma_update(None, "journal_mode", "DELETE") {
            tracing::warn!(%error, "The log beside {DATABASE_FILE} stays: somebody is reading.");
        }
    }

    fn lose(&self, rows: u64) {
        Counts::add(&self.counts.database_lost, rows);
    }

    /// Writes so many rows, and counts in `pending` each that is in.
    fn write(
        &mut self,
        rows: u64,
        write: impl FnOnce(&mut Self, &Connection) -> rusqlite::Result<()>,
    ) {
        let Some(connection) = self.connection.take() else {
            self.lose(rows);
            return;
        };
        let pending = self.pending;
        let begun = match self.in_transaction {
            true => Ok(()),
            false => connection.execute_batch("BEGIN"),
        };
        match begun.and_then(|()| write(self, &connection)) {
            Ok(()) => {
                self.in_transaction = true;
                self.connection = Some(connection);
            }
            Err(error) => {
                self.lose(rows.saturating_sub(self.pending - pending));
                // What was complete within this second is worth keeping; SQLite may have taken it back already.
                let second = std::mem::take(&mut self.pending);
                if connection.execute_batch("COMMIT").is_err() {
                    self.lose(second);
                }
                self.in_transaction = false;
                told(&error);
            }
        }
    }
}

/// How many rows figures are.
pub(super) fn rows_in(figures: &[Figures]) -> u64 {
    figures.iter().map(|f| f.known().count() as u64).sum()
}

fn told(error: &rusqlite::Error) {
    tracing::error!(
        %error,
        "{DATABASE_FILE} takes no more; samples.csv.zst goes on, the page shows this run up to here."
    );
}

fn open(path: &Path, about: &RunAbout) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    // Readers look while we write. Synced at every commit, and there is one a second.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", SCHEMA)?;
    connection.execute_batch(TABLES)?;
    let about = [
        ("title", about.origin.bench.as_str()),
        ("site", &about.origin.site),
        ("rig", &about.rig),
        ("started_utc", &about.started_utc),
        ("gridrig", env!("CARGO_PKG_VERSION")),
    ];
    for (key, value) in about {
        connection.execute("INSERT INTO run VALUES (?1, ?2)", params![key, value])?;
    }
    Ok(connection)
}

fn series_of(
    known: &mut BTreeMap<(&'static str, String, &'static str), i64>,
    connection: &Connection,
    key: (&'static str, String, &'static str),
    unit: &str,
) -> rusqlite::Result<i64> {
    if let Some(id) = known.get(&key) {
        return Ok(*id);
    }
    connection.execute(
        "INSERT INTO series (kind, name, point, unit) VALUES (?1, ?2, ?3, ?4)",
        params![key.0, key.1, key.2, unit],
    )?;
    let id = connection.last_insert_rowid();
    known.insert(key, id);
    Ok(id)
}

#[cfg(test)]
mod tests;
