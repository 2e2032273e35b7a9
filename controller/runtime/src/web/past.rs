//! Any window of any run that lies beside this one, out of the databases of their folders.
//!
//! A query reads the disk, so it runs beside the server's thread, one at a time: a wall of pages must not take
//! a second core from the bench.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::Point;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::answer::{Problem, json};
use super::explorer::Explorer;
use super::{Desk, wire};
use crate::telemetry::DATABASE_FILE;
use crate::telemetry::past::{Past, PastError, Window};

/// Points of a chart. Chosen: 600 are what the page asks for, 5000 are more than any screen has.
const POINTS: u32 = 600;
const POINTS_MAX: u32 = 5_000;

/// Runs that are listed, and events of a former run: the newest. Chosen: a term of a course, and what a page
/// scrolls.
const RUNS_MAX: usize = 200;
const EVENTS_MAX: u32 = 1_000;

/// Readings of one point in one answer. Chosen: 100,000, a point that is read ten times a second for
/// nearly three hours, and some megabytes of JSON.
const READINGS_MAX: u32 = 100_000;

/// Longest time of control that may be asked about, in seconds, before and after a run began. Chosen: 1e9, thirty
/// years; a run is shorter, and nanoseconds of it leave room in 64 bits for the parts of any window.
const SECONDS_MAX: f64 = 1e9;

/// The folders of runs: this one, and its neighbours.
#[derive(Clone, Debug)]
pub struct Runs {
    here: PathBuf,
    looks: Arc<Semaphore>,
    /// The ledgers that were asked for, this run's and one other's.
    ledgers: Arc<Mutex<Vec<(PathBuf, Explorer)>>>,
}

/// A run of which there is a database.
#[derive(Clone, Debug, Serialize)]
struct Run {
    /// Name of its folder.
    id: String,
    /// What its rig is called.
    title: Option<String>,
    /// When it began.
    started_utc: Option<String>,
    /// How much of it there is, in seconds of control time.
    seconds: f64,
    /// Whether it is the one that goes on.
    current: bool,
}

/// A window of a run: all lists have one entry per part of it, and null is where nothing good was read.
#[derive(Clone, Debug, Serialize)]
struct Stretch {
    run: String,
    /// Where it begins and ends, and how long a part is, in seconds of control time.
    from_s: f64,
    to_s: f64,
    step_s: f64,
    /// Middle of each part.
    t_s: Vec<f64>,
    /// Mean frequency and voltage of the bus.
    f_hz: Vec<Option<f64>>,
    v_v: Vec<Option<f64>>,
    /// Lowest and highest of them.
    f_low_hz: Vec<Option<f64>>,
    f_high_hz: Vec<Option<f64>>,
    v_low_v: Vec<Option<f64>>,
    v_high_v: Vec<Option<f64>>,
    devices: Vec<Stretched>,
}

/// A device in a window: mean power, the lowest and the highest; mean frequency and voltage of phase 1.
#[derive(Clone, Debug, Serialize)]
struct Stretched {
    name: String,
    p_w: Vec<Option<f64>>,
    p_low_w: Vec<Option<f64>>,
    p_high_w: Vec<Option<f64>>,
    q_var: Vec<Option<f64>>,
    f_hz: Vec<Option<f64>>,
    v_v: Vec<Option<f64>>,
}

/// Readings of a point of a device, each as it was taken; null where it is bad.
#[derive(Clone, Debug, Serialize)]
struct Reading {
    run: String,
    device: String,
    point: String,
    /// Unit of the values; empty where the device never said the point.
    unit: String,
    from_s: f64,
    to_s: f64,
    /// How far the record of the run goes, in seconds of control time: it is written once a second.
    recorded_to_s: f64,
    /// When each was measured.
    t_s: Vec<f64>,
    value: Vec<Option<f64>>,
}

/// An event as the list of events of its run has it, with its number.
#[derive(Serialize)]
struct Told {
    seq: i64,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq)]
struct Asked {
    run: Option<String>,
    from_s: Option<f64>,
    to_s: Option<f64>,
    points: Option<u32>,
    device: Option<String>,
    point: Option<String>,
}

pub(super) fn wrong(message: String, help: &'static str) -> Problem {
    Problem {
        status: StatusCode::BAD_REQUEST,
        code: "bad_query",
        message,
        help,
    }
}

/// The parts of a query, none of which may be unknown.
pub(super) fn parts_of<'a>(
    query: &'a str,
    known: &[&str],
) -> Result<Vec<(&'a str, &'a str)>, Problem> {
    query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(key, value)| match known.contains(&key) {
            true => Ok((key, value)),
            false => Err(wrong(
                format!("`{key}` cannot be asked for here"),
                "see /api/v1/openapi.json for the parameters of this path",
            )),
        })
        .collect()
}

impl Asked {
    /// Reads `run=…&from_s=…&to_s=…&points=…` or `device=…&point=…` in place of the last; no name needs escapes.
    fn read(query: &str, known: &[&str]) -> Result<Self, Problem> {
        let mut asked = Self::default();
        for (key, value) in parts_of(query, known)? {
            let number = || {
                let read = value.parse::<f64>().ok();
                read.filter(|v| v.abs() <= SECONDS_MAX).ok_or_else(|| {
                    let message = format!("`{key}` is {value:?}, which is no time of a run");
                    wrong(message, "give seconds since the run began, such as 90.5")
                })
            };
            match key {
                "run" => asked.run = Some(value.to_owned()),
                "device" => asked.device = Some(value.to_owned()),
                "point" => asked.point = Some(value.to_owned()),
                "from_s" => asked.from_s = Some(number()?),
                "to_s" => asked.to_s = Some(number()?),
                _ => {
                    let points = value.parse().ok().filter(|n| (1..=POINTS_MAX).contains(n));
                    asked.points = Some(points.ok_or_else(|| {
                        let message = format!("`points` is {value:?}");
                        wrong(message, "give a whole number from 1 to 5000")
                    })?);
                }
            }
        }
        Ok(asked)
    }

    /// From which nanosecond up to which; without words for it the whole run, whose last one is given.
    fn bounds(&self, end_ns: Option<i64>) -> Result<(i64, i64), Problem> {
        let from_ns = self.from_s.map_or(0, nanos);
        match self.to_s.map(nanos) {
            Some(to_ns) if from_ns >= to_ns => Err(wrong(
                "the window ends before it begins".to_owned(),
                "give `from_s` below `to_s`",
            )),
            Some(to_ns) => Ok((from_ns, to_ns)),
            None => {
                let to_ns = end_ns.map_or(0, |last| last.saturating_add(1));
                Ok((from_ns, to_ns.max(from_ns.saturating_add(1))))
            }
        }
    }
}

/// Nanoseconds of control time.
fn nanos(seconds: f64) -> i64 {
    (seconds * 1e9).round() as i64
}

impl Runs {
    /// Those beside a run folder.
    #[must_use]
    pub fn beside(run_dir: PathBuf) -> Self {
        Self {
            here: run_dir,
            looks: Arc::new(Semaphore::new(1)),
            ledgers: Arc::default(),
        }
    }

    fn id(&self) -> String {
        let name = self.here.file_name();
        name.map_or_else(String::new, |n| n.to_string_lossy().into_owned())
    }

    /// The folder of a run: this one, or a neighbour by its name alone.
    fn folder(&self, run: Option<&str>) -> Result<PathBuf, Problem> {
        let Some(id) = run.filter(|id| *id != self.id()) else {
            return Ok(self.here.clone());
        };
        let plain = !id.is_empty()
            && !id.starts_with('.')
            && id
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        let folder = self.here.with_file_name(id);
        match plain && folder.join(DATABASE_FILE).is_file() {
            true => Ok(folder),
            false => Err(Problem {
                status: StatusCode::NOT_FOUND,
                code: "no_such_run",
                message: format!("there is no run {id:?} beside this one"),
                help: "GET /api/v1/runs names those that there are",
            }),
        }
    }

    fn list(&self) -> Vec<Run> {
        let neighbours = self.here.parent().and_then(|p| std::fs::read_dir(p).ok());
        let mut ids: Vec<String> = neighbours
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let there = entry.path().join(DATABASE_FILE).is_file();
                there.then(|| entry.file_name().to_string_lossy().into_owned())
            })
            .collect();
        // Their names begin with the time at which they began.
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.truncate(RUNS_MAX);
        ids.into_iter()
            .filter_map(|id| {
                let past = Past::open(&self.here.with_file_name(&id)).ok()?;
                Some(Run {
                    current: id == self.id(),
                    title: past.about("title").ok()?,
                    started_utc: past.about("started_utc").ok()?,
                    seconds: past.end_ns().ok()?.unwrap_or(0) as f64 / 1e9,
                    id,
                })
            })
            .collect()
    }

    fn stretch(&self, asked: &Asked) -> Result<Stretch, Problem> {
        let folder = self.folder(asked.run.as_deref())?;
        let run = folder.file_name().unwrap_or_default();
        let past = Past::open(&folder)?;
        let (from_ns, to_ns) = asked.bounds(past.end_ns()?)?;
        let window = Window {
            from_ns,
            to_ns,
            parts: asked.points.unwrap_or(POINTS),
        };
        let figure = |field| past.figure("bench", "", field, window);
        let (f, v) = (figure("f_hz")?, figure("v_v")?);
        let devices = past.devices()?.into_iter().map(|name| {
            let p = past.device(&name, Point::ActivePower.name(), window)?;
            let mean = |point: Point| Ok(past.device(&name, point.name(), window)?.mean);
            let (q_var, f_hz) = (mean(Point::ReactivePower)?, mean(Point::Frequency)?);
            let v_v = mean(Point::VoltageL1)?;
            Ok(Stretched {
                name,
                p_w: p.mean,
                p_low_w: p.low,
                p_high_w: p.high,
                q_var,
                f_hz,
                v_v,
            })
        });
        let devices = devices.collect::<Result<Vec<_>, PastError>>()?;
        Ok(Stretch {
            run: run.to_string_lossy().into_owned(),
            from_s: window.from_ns as f64 / 1e9,
            to_s: window.to_ns as f64 / 1e9,
            step_s: window.step_ns() as f64 / 1e9,
            t_s: window.middles_s(),
            f_hz: f.mean,
            f_low_hz: f.low,
            f_high_hz: f.high,
            v_v: v.mean,
            v_low_v: v.low,
            v_high_v: v.high,
            devices,
        })
    }

    /// Each reading of one point of one device.
    fn readings(&self, asked: &Asked) -> Result<Reading, Problem> {
        let (Some(device), Some(point), None) = (&asked.device, &asked.point, asked.points) else {
            return Err(wrong(
                "single readings are of one point of one device".to_owned(),
                "give `device` and `point`, such as `device=ess1&point=ac.p`, and no `points`",
            ));
        };
        let folder = self.folder(asked.run.as_deref())?;
        let run = folder.file_name().unwrap_or_default();
        let past = Past::open(&folder)?;
        let end_ns = past.end_ns()?;
        let (from_ns, to_ns) = asked.bounds(end_ns)?;
        let found = past.readings(device, point, (from_ns, to_ns), READINGS_MAX + 1)?;
        if found.rows.len() > READINGS_MAX as usize {
            return Err(wrong(
                format!("the window holds more than {READINGS_MAX} readings"),
                "ask for a shorter window, or for its course with `points`",
            ));
        }
        let seconds = |ns: i64| ns as f64 / 1e9;
        Ok(Reading {
            run: run.to_string_lossy().into_owned(),
            device: device.clone(),
            point: point.clone(),
            unit: found.unit,
            from_s: seconds(from_ns),
            to_s: seconds(to_ns),
            recorded_to_s: seconds(end_ns.unwrap_or(0)),
            t_s: found.rows.iter().map(|(at, _)| seconds(*at)).collect(),
            value: found.rows.into_iter().map(|(_, value)| value).collect(),
        })
    }

    fn events(&self, run: &str) -> Result<Vec<Told>, Problem> {
        let past = Past::open(&self.folder(Some(run))?)?;
        let lines = past.events(EVENTS_MAX)?.into_iter();
        Ok(lines
            .filter_map(|(seq, line)| {
                let rest = serde_json::from_str(&line).ok()?;
                Some(Told { seq, rest })
            })
            .collect())
    }

    /// Looks at the ledger of this run, or of one that is named, as it stands on the disk now.
    pub(super) async fn explore<T, U>(
        self,
        run: Option<String>,
        look: impl FnOnce(&Explorer) -> Result<T, Problem> + Send + 'static,
        told: impl FnOnce(String, T) -> U + Send + 'static,
    ) -> Response
    where
        U: Serialize + Send + 'static,
    {
        self.look(move |runs| {
            let folder = runs.folder(run.as_deref())?;
            // What a panic has left half done is made anew from the files.
            let mut ledgers = runs.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
            let place = ledgers.iter().position(|(of, _)| *of == folder);
            let (_, mut explorer) = match place {
                Some(place) => ledgers.swap_remove(place),
                None => (folder.clone(), Explorer::open(&folder)?),
            };
            explorer.follow()?;
            let found = look(&explorer);
            ledgers.retain(|(of, _)| *of == runs.here);
            let run = folder.file_name().unwrap_or_default();
            let run = run.to_string_lossy().into_owned();
            ledgers.push((folder, explorer));
            Ok(told(run, found?))
        })
        .await
    }

    /// Looks at the disk beside the server's thread.
    async fn look<T: Serialize + Send + 'static>(
        self,
        look: impl FnOnce(&Self) -> Result<T, Problem> + Send + 'static,
    ) -> Response {
        // The semaphore is never closed.
        let _turn = self.looks.clone().acquire_owned().await;
        match tokio::task::spawn_blocking(move || look(&self)).await {
            Ok(Ok(found)) => json(&found),
            Ok(Err(problem)) => problem.into_response(),
            Err(e) => Problem {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                code: "failed",
                message: format!("the look at the past did not end well: {e}"),
                help: "report it with the run folder",
            }
            .into_response(),
        }
    }
}

impl From<PastError> for Problem {
    fn from(e: PastError) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            code: "no_past",
            message: e.to_string(),
            help: "a run in virtual time has no database, and one on a full disk has none from there on",
        }
    }
}

/// The last ten minutes out of memory; the window that is asked for, or each reading of a point in it,
/// out of a database.
pub(super) async fn history(State(desk): State<Desk>, RawQuery(query): RawQuery) -> Response {
    let Some(query) = query.filter(|q| !q.is_empty()) else {
        return json(&wire::History::of(&desk.view));
    };
    let known = ["run", "from_s", "to_s", "points", "device", "point"];
    match Asked::read(&query, &known) {
        Ok(asked) if asked.device.is_some() || asked.point.is_some() => {
            desk.runs.look(move |runs| runs.readings(&asked)).await
        }
        Ok(asked) => desk.runs.look(move |runs| runs.stretch(&asked)).await,
        Err(problem) => problem.into_response(),
    }
}

/// The runs of which there is a database, the newest first.
pub(super) async fn runs(State(desk): State<Desk>) -> Response {
    desk.runs.look(|runs| Ok(runs.list())).await
}

/// The events of this run, or of one that is named.
pub(super) async fn events(State(desk): State<Desk>, RawQuery(query): RawQuery) -> Response {
    match Asked::read(&query.unwrap_or_default(), &["run"]) {
        Ok(Asked { run: Some(run), .. }) if run != desk.runs.id() => {
            desk.runs.look(move |runs| runs.events(&run)).await
        }
        Ok(_) => json(&wire::events_after(&desk.view, 0)),
        Err(problem) => problem.into_response(),
    }
}
