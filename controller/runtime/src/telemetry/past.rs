//! Reads the database of a run: any window of it, thinned to as many points as a chart can show.
//!
//! It may be that of the run that goes on, of one that ended, or of one that was killed.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::database::{APPLICATION_ID, DATABASE_FILE, DEVICE, SCHEMA};
use super::table::Cells;

/// Why the past of a run cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// There is no database, or it is damaged.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// It is a database, but not of a run, or of a later gridrig.
    #[error("{path} is no database of a run of this version")]
    Foreign {
        /// Its path.
        path: PathBuf,
    },
}

/// The past of one run.
pub struct Past {
    connection: Connection,
    path: PathBuf,
}

/// A stretch of control time, in nanoseconds since the run began; the end is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First nanosecond.
    pub from_ns: i64,
    /// The one after the last.
    pub to_ns: i64,
    /// Equal parts into which it is cut.
    pub parts: u32,
}

impl Window {
    /// Length of one part: at least a nanosecond, and no part is missing at the end.
    #[must_use]
    pub fn step_ns(&self) -> i64 {
        let span = self.to_ns.saturating_sub(self.from_ns).max(1);
        let parts = i64::from(self.parts.max(1));
        (span / parts + i64::from(span % parts != 0)).max(1)
    }

    /// Middle of each part, in seconds.
    #[must_use]
    pub fn middles_s(&self) -> Vec<f64> {
        let step = self.step_ns();
        (0..i64::from(self.parts.max(1)))
            .map(|part| (self.from_ns + part * step + step / 2) as f64 / 1e9)
            .collect()
    }
}

/// What a series was in each part of a window. `None` where nothing good was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// Mean of the good readings.
    pub mean: Vec<Option<f64>>,
    /// The lowest of them.
    pub low: Vec<Option<f64>>,
    /// The highest of them.
    pub high: Vec<Option<f64>>,
}

impl Trace {
    fn unknown(parts: usize) -> Self {
        let nothing = vec![None; parts];
        Self {
            mean: nothing.clone(),
            low: nothing.clone(),
            high: nothing,
        }
    }
}

/// Readings of one point of one device, each as it was taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings {
    /// Unit of the values; empty where the device never said the point.
    pub unit: String,
    /// When each was measured, in nanoseconds since the run began, and its value; `None` where it is bad.
    pub rows: Vec<(i64, Option<f64>)>,
}

impl Past {
    /// Opens the database of a run folder.
    ///
    /// # Errors
    /// When there is none, or it is not one of ours.
    pub fn open(run_dir: &Path) -> Result<Self, PastError> {
        let path = run_dir.join(DATABASE_FILE);
        let opened = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).and_then(
            |connection| {
                // The writer commits once a second; a reader that meets it waits a moment.
                connection.busy_timeout(std::time::Duration::from_secs(2))?;
                let number = |name: &str| {
                    connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0))
                };
                Ok((
                    number("application_id")? == APPLICATION_ID
                        && number("user_version")? == SCHEMA,
                    connection,
                ))
            },
        );
        match opened {
            Ok((true, connection)) => Ok(Self { connection, path }),
            Ok((false, _)) => Err(PastError::Foreign { path }),
            Err(source) => Err(PastError::Unreadable { path, source }),
        }
    }

    fn told<T>(&self, read: rusqlite::Result<T>) -> Result<T, PastError> {
        read.map_err(|source| PastError::Unreadable {
            path: self.path.clone(),
            source,
        })
    }

    /// What the run says of itself under a key, such as `title`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn about(&self, key: &str) -> Result<Option<String>, PastError> {
        let query = "SELECT value FROM run WHERE key = ?1";
        self.told(
            self.connection
                .query_row(query, [key], |row| row.get(0))
                .optional(),
        )
    }

    /// Last nanosecond of control time of which there is a figure or an event; `None` of an empty run.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn end_ns(&self) -> Result<Option<i64>, PastError> {
        let last = "SELECT max(at_ns) FROM sample WHERE series = ?1";
        let ends = self.told(self.series().and_then(|series| {
            let mut query = self.connection.prepare(last)?;
            let ends = series
                .iter()
                .map(|s| query.query_row([s.id], |row| row.get::<_, Option<i64>>(0)));
            ends.collect::<rusqlite::Result<Vec<_>>>()
        }))?;
        Ok(ends.into_iter().flatten().max())
    }

    fn series(&self) -> rusqlite::Result<Vec<Series>> {
        let mut query = self
            .connection
            .prepare("SELECT id, kind, name FROM series ORDER BY id")?;
        let rows = query.query_map([], |row| {
            Ok(Series {
                id: row.get(0)?,
                kind: row.get(1)?,
                name: row.get(2)?,
            })
        })?;
        rows.collect()
    }

    /// The devices of the run that said anything, in the order in which they began to.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn devices(&self) -> Result<Vec<String>, PastError> {
        let series = self.told(self.series())?;
        let mut names: Vec<String> = Vec::new();
        for one in series.into_iter().filter(|s| s.kind == DEVICE) {
            if !names.contains(&one.name) {
                names.push(one.name);
            }
        }
        Ok(names)
    }

    /// A point of a device in a window; unknown throughout where it never said it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn device(&self, name: &str, point: &str, window: Window) -> Result<Trace, PastError> {
        self.trace(DEVICE, name, point, window)
    }

    /// A figure of the bench in a window.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn figure(
        &self,
        kind: &str,
        name: &str,
        field: &str,
        window: Window,
    ) -> Result<Trace, PastError> {
        self.trace(kind, name, field, window)
    }

    fn trace(
        &self,
        kind: &str,
        name: &str,
        point: &str,
        window: Window,
    ) -> Result<Trace, PastError> {
        let parts = window.parts.max(1) as usize;
        let mut trace = Trace::unknown(parts);
        let of = "SELECT id FROM series WHERE kind = ?1 AND name = ?2 AND point = ?3";
        let id = self
            .connection
            .query_row(of, [kind, name, point], |row| row.get::<_, i64>(0))
            .optional();
        let Some(id) = self.told(id)? else {
            return Ok(trace);
        };
        let thinned = "SELECT (at_ns - ?2) / ?4, avg(value), min(value), max(value) FROM sample
                       WHERE series = ?1 AND at_ns >= ?2 AND at_ns < ?3 AND value IS NOT NULL GROUP BY 1";
        let filled = self.connection.prepare(thinned).and_then(|mut query| {
            let bounds = params![id, window.from_ns, window.to_ns, window.step_ns()];
            let mut rows = query.query(bounds)?;
            while let Some(row) = rows.next()? {
                let part = row.get::<_, i64>(0)?;
                let Some(part) = usize::try_from(part).ok().filter(|p| *p < parts) else {
                    continue;
                };
                trace.mean[part] = row.get(1)?;
                trace.low[part] = row.get(2)?;
                trace.high[part] = row.get(3)?;
            }
            Ok(())
        });
        self.told(filled)?;
        Ok(trace)
    }

    /// The readings of a point of a device from one nanosecond up to another, oldest first, at most so many.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn readings(
        &self,
        name: &str,
        point: &str,
        (from_ns, to_ns): (i64, i64),
        at_most: u32,
    ) -> Result<Readings, PastError> {
        let of = "SELECT id, unit FROM series WHERE kind = ?1 AND name = ?2 AND point = ?3";
        let series = self.connection.query_row(of, [DEVICE, name, point], |row| {
            Ok((row.get::<_, i64>(0)?, row.get(1)?))
        });
        let Some((id, unit)) = self.told(series.optional())? else {
            return Ok(Readings::default());
        };
        let each =
            "SELECT at_ns, value FROM sample WHERE series = ?1 AND at_ns >= ?2 AND at_ns < ?3
                    ORDER BY at_ns LIMIT ?4";
        let rows = self.connection.prepare(each).and_then(|mut query| {
            let rows = query.query_map(params![id, from_ns, to_ns, at_most], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        });
        let rows = self.told(rows)?;
        Ok(Readings { unit, rows })
    }

    /// How many readings of devices there are.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn count_samples(&self) -> Result<u64, PastError> {
        let count = "SELECT count(*) FROM sample
                     WHERE series IN (SELECT id FROM series WHERE kind = ?1)";
        let count = self
            .connection
            .query_row(count, [DEVICE], |row| row.get::<_, i64>(0));
        Ok(self.told(count)?.try_into().unwrap_or(0))
    }

    /// Gives every reading of a device to `take`, oldest first, each as a row with the columns
    /// [`SAMPLE_COLUMNS`](super::SAMPLE_COLUMNS), as the record has it; it says whether more is wanted.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn each_sample(&self, take: &mut dyn FnMut(&str) -> bool) -> Result<(), PastError> {
        let all = "SELECT utc_ns, at_ns, name, point, value, unit, coalesce(quality, 'good')
                   FROM sample JOIN series ON series.id = sample.series
                   WHERE kind = ?1 ORDER BY at_ns, series.id";
        let mut line = String::new();
        let read = self.connection.prepare(all).and_then(|mut query| {
            let mut rows = query.query([DEVICE])?;
            while let Some(row) = rows.next()? {
                let text = |at| row.get_ref(at).and_then(|cell| Ok(cell.as_str()?));
                line.clear();
                let cells = Cells {
                    utc_ns: row.get(0)?,
                    at_ns: row.get::<_, i64>(1)?.unsigned_abs(),
                    device: text(2)?,
                    point: text(3)?,
                    value: row.get(4)?,
                    unit: text(5)?,
                    quality: text(6)?,
                };
                cells.push(&mut line);
                if !take(&line) {
                    break;
                }
            }
            Ok(())
        });
        self.told(read)
    }

    /// The last events of the run with their numbers, oldest first, each as the line of JSON that the list of events has.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn events(&self, at_most: u32) -> Result<Vec<(i64, String)>, PastError> {
        let latest = "SELECT seq, line FROM event ORDER BY seq DESC LIMIT ?1";
        let read = self.connection.prepare(latest).and_then(|mut query| {
            let rows = query.query_map([at_most], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        });
        let mut events = self.told(read)?;
        events.reverse();
        Ok(events)
    }
}

struct Series {
    id: i64,
    kind: String,
    name: String,
}
