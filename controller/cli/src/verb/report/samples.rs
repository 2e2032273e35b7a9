//! Where the samples of a run are read from: its database where there is one, else its record.
//!
//! Both hold the same rows; the record has them as they arrived, the database in the order of time. A database
//! that its disk has ended lacks what came later, and so does the record of a machine that was lost, since only
//! the database is synced once a second. So where one has more rows than the other, that one is read.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use runtime::telemetry::past::Past;
use runtime::telemetry::{DATABASE_FILE, SAMPLE_COLUMNS, SAMPLES_FILE};
use scenario::folder::hold;

use crate::codes::usage;
use crate::problem::Problem;
use crate::terminal::Terminal;

/// The samples below a run folder: its own, or those of its scenarios, in their order.
pub(super) struct Samples {
    pub(super) places: Vec<Place>,
    /// What is worth knowing about where they come from.
    pub(super) said: Vec<String>,
}

/// The samples of a run, or of one of its scenarios.
pub(super) struct Place {
    /// The folder of the scenario; empty where the run has none.
    pub(super) scenario: String,
    source: Source,
}

enum Source {
    Record(PathBuf),
    Database(PathBuf, Past),
}

/// What is done with a line: it says whether more is wanted.
pub(super) type TakeLine<'t> = dyn FnMut(&str) -> Result<bool, Problem> + 't;

/// How a record was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// To its end, or to where no more was wanted.
    Whole,
    /// To where a run that was killed, or that goes on, has come.
    Early,
}

impl Samples {
    /// Those of a run folder; what is worth knowing about where they come from is told.
    pub(super) fn told(run: &Path, terminal: &Terminal) -> Result<Self, Problem> {
        let samples = Self::find(run)?;
        for said in &samples.said {
            terminal.say(said);
        }
        Ok(samples)
    }

    /// Those of a run folder.
    pub(super) fn find(run: &Path) -> Result<Self, Problem> {
        let mut samples = Self {
            places: Vec::new(),
            said: Vec::new(),
        };
        let still = hold::is_held(run);
        for (scenario, folder) in folders(run).map_err(|e| no_run(run, &e.to_string()))? {
            let source = source(&folder, still, &mut samples.said)?;
            samples.places.push(Place { scenario, source });
        }
        if samples.places.is_empty() {
            let what = format!("there is no {SAMPLES_FILE} and no {DATABASE_FILE} in it");
            return Err(no_run(run, &what));
        }
        Ok(samples)
    }
}

impl Place {
    /// Gives each line to `take`; the first one names the columns.
    pub(super) fn each(&self, take: &mut TakeLine<'_>) -> Result<(), Problem> {
        match &self.source {
            Source::Record(path) => match each_of_record(path, take) {
                Ok(_) => Ok(()),
                Err(Unread::Taking(problem)) => Err(problem),
                Err(Unread::Damaged(what)) => Err(damaged(path, &what)),
            },
            Source::Database(path, past) => {
                if !take(SAMPLE_COLUMNS)? {
                    return Ok(());
                }
                let mut wrong = None;
                let read = past.each_sample(&mut |line| match take(line) {
                    Ok(goes_on) => goes_on,
                    Err(problem) => {
                        wrong = Some(problem);
                        false
                    }
                });
                read.map_err(|e| damaged(path, &e.to_string()))?;
                wrong.map_or(Ok(()), Err)
            }
        }
    }
}

fn no_run(run: &Path, what: &str) -> Problem {
    Problem::usage(usage(
        "C004",
        format!("the run {}: {what}", run.display()),
        "name a run folder that holds samples",
    ))
}

fn damaged(path: &Path, what: &str) -> Problem {
    let what = format!("{} cannot be read any further: {what}", path.display());
    let help = "take another copy of the run, if there is one";
    Problem::usage(usage("C010", what, help))
}

/// The folders that hold samples, each with the name of its scenario.
fn folders(run: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    let holds = |folder: &Path| {
        [SAMPLES_FILE, DATABASE_FILE]
            .iter()
            .any(|file| folder.join(file).is_file())
    };
    if holds(run) {
        return Ok(vec![(String::new(), run.to_owned())]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(run)? {
        let entry = entry?;
        if holds(&entry.path()) {
            found.push((
                entry.file_name().to_string_lossy().into_owned(),
                entry.path(),
            ));
        }
    }
    found.sort();
    Ok(found)
}

/// Chooses what is read of a folder; `still` is whether its run goes on.
fn source(folder: &Path, still: bool, said: &mut Vec<String>) -> Result<Source, Problem> {
    let (record, database) = (folder.join(SAMPLES_FILE), folder.join(DATABASE_FILE));
    let past = database.is_file().then(|| {
        let past = Past::open(folder)?;
        Ok::<_, runtime::telemetry::past::PastError>((past.count_samples()?, past))
    });
    let (past, unread) = match past {
        None => (None, None),
        Some(Ok(read)) => (Some(read), None),
        Some(Err(e)) => (None, Some(e.to_string())),
    };
    if !record.is_file() {
        let (_, past) = past.ok_or_else(|| damaged(&database, &unread.unwrap_or_default()))?;
        return Ok(Source::Database(database, past));
    }
    let mut lines: u64 = 0;
    let mut count = |_: &str| {
        lines += 1;
        Ok(true)
    };
    let ending = each_of_record(&record, &mut count);
    // The first line names the columns.
    let rows = lines.saturating_sub(1);
    let early = match (&ending, still) {
        (Ok(Ending::Whole), _) => String::new(),
        (Ok(Ending::Early), true) => " ends here: the run goes on".to_owned(),
        (Ok(Ending::Early), false) => " ends early: the run was killed".to_owned(),
        (Err(Unread::Damaged(what)), _) => format!(" cannot be read any further: {what}"),
        (Err(Unread::Taking(_)), _) => String::new(),
    };
    let shown = record.display();
    match past {
        Some((held, past)) if held >= rows => {
            if !early.is_empty() {
                said.push(format!(
                    "{shown}{early}; {held} samples are read from {DATABASE_FILE} beside it"
                ));
            }
            Ok(Source::Database(database, past))
        }
        other => {
            if let Some((held, _)) = other {
                said.push(format!(
                    "{} lacks {} samples that its record has, which is read",
                    database.display(),
                    rows - held
                ));
            }
            if let Some(what) = unread {
                said.push(format!("{what}; the record beside it is read"));
            }
            if !early.is_empty() {
                said.push(format!("{shown}{early}"));
            }
            Ok(Source::Record(record))
        }
    }
}

/// Why a record was not read to its end.
enum Unread {
    Taking(Problem),
    Damaged(String),
}

fn each_of_record(path: &Path, take: &mut TakeLine<'_>) -> Result<Ending, Unread> {
    let damaged = |e: std::io::Error| Unread::Damaged(e.to_string());
    let file = File::open(path).map_err(damaged)?;
    let lines = zstd::stream::Decoder::new(file).map_err(damaged)?;
    for line in BufReader::new(lines).lines() {
        let line = match line {
            Ok(line) => line,
            // A run that was killed ends in the middle of a frame: all before it stands.
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(Ending::Early),
            Err(e) => return Err(damaged(e)),
        };
        if !take(&line).map_err(Unread::Taking)? {
            break;
        }
    }
    Ok(Ending::Whole)
}

#[cfg(test)]
mod tests {
    use model::{DeviceIx, Flaw, Instant, Point, PointSample, Reading, Role, Sample, UtcTime};
    use runtime::telemetry::{NamedDevice, Pace, RunAbout, Servers, Telemetry};

    use super::*;

    /// A run of so many moments with two readings each, one of them bad.
    fn run_of(moments: u32) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        let device = NamedDevice {
            name: "bat, \"1\"".into(),
            role: Role::Ess,
            bus: "lan1".into(),
        };
        let about = RunAbout::default();
        let servers = Servers::default();
        let telemetry = Telemetry::start(dir.path(), vec![device], servers, Pace::Real, &about);
        let telemetry = telemetry.expect("the folder can be written");
        let utc = |now: Instant| UtcTime::from_unix_nanos(now.as_nanos() as i64);
        for moment in 0..moments {
            let now = Instant::from_nanos(u64::from(moment) * 100_000_001);
            let reading = |point, reading| PointSample {
                device: DeviceIx(0),
                point,
                sample: Sample {
                    measured_at: now,
                    reading,
                },
            };
            let values = [-0.0, 0.1, -1e-9, 1e300, 230.000_000_1];
            let value = values[moment as usize % values.len()];
            let samples = [
                reading(Point::ActivePower, Reading::Good(value)),
                reading(Point::ReactivePower, Reading::Bad(Flaw::Exception(2))),
            ];
            telemetry.samples(utc(now), now, &samples);
        }
        let report = telemetry.finish(std::time::Duration::from_secs(20));
        assert_eq!((report.store_lost, report.database_lost), (0, 0));
        dir
    }

    fn lines(samples: &Samples) -> Vec<String> {
        let mut lines = Vec::new();
        for place in &samples.places {
            let read = place.each(&mut |line| {
                lines.push(line.to_owned());
                Ok(true)
            });
            assert!(
                read.is_ok(),
                "{}",
                read.err().map_or(String::new(), |e| e.why())
            );
        }
        lines
    }

    fn found(run: &Path) -> Samples {
        Samples::find(run).unwrap_or_else(|e| panic!("{}", e.why()))
    }

    #[test]
    fn the_record_and_the_database_of_a_run_give_the_same_rows() {
        let run = run_of(25);
        let both = found(run.path());
        assert!(matches!(both.places[0].source, Source::Database(..)));
        assert_eq!(both.said, [""; 0]);
        let of_database = lines(&both);
        assert_eq!(of_database[0], SAMPLE_COLUMNS);
        assert_eq!(of_database.len(), 1 + 50);
        std::fs::remove_file(run.path().join(DATABASE_FILE)).expect("it was there");
        let record = found(run.path());
        assert!(matches!(record.places[0].source, Source::Record(..)));
        assert_eq!(lines(&record), of_database);
    }

    /// A run whose record and whose database are those of two, as when one of them has lost its end.
    fn mixed(record: &Path, database: &Path) -> tempfile::TempDir {
        let run = tempfile::tempdir().expect("a folder");
        for (from, name) in [(record, SAMPLES_FILE), (database, DATABASE_FILE)] {
            std::fs::copy(from.join(name), run.path().join(name)).expect("it is copied");
        }
        run
    }

    #[test]
    fn what_one_of_them_lacks_is_read_from_the_other() {
        let (long, short) = (run_of(25), run_of(9));
        let whole = lines(&found(long.path()));
        for (record, database, said) in [
            (
                &long,
                &short,
                Some("samples.db lacks 32 samples that its record has"),
            ),
            // A record that ended well and is shorter: nothing to say but what it holds.
            (&short, &long, None),
        ] {
            let run = mixed(record.path(), database.path());
            let samples = found(run.path());
            assert_eq!(lines(&samples), whole);
            assert_eq!(
                samples.said.len(),
                usize::from(said.is_some()),
                "{:?}",
                samples.said
            );
            if let Some(said) = said {
                assert!(samples.said[0].contains(said), "{:?}", samples.said);
            }
        }
    }

    #[test]
    fn a_record_or_a_database_that_cannot_be_read_costs_nothing_while_the_other_can() {
        let run = run_of(25);
        let whole = lines(&found(run.path()));
        let (record, database) = (
            run.path().join(SAMPLES_FILE),
            run.path().join(DATABASE_FILE),
        );
        let kept = std::fs::read(&record).expect("the record");
        let torn = kept[..kept.len() - 9].to_vec();
        let mut damaged = kept.clone();
        damaged[9..].fill(0xA5);
        for (bytes, said) in [
            (
                torn,
                "ends early: the run was killed; 50 samples are read from samples.db",
            ),
            (damaged, "cannot be read any further"),
            (Vec::new(), ""),
        ] {
            std::fs::write(&record, bytes).expect("written");
            let samples = found(run.path());
            assert_eq!(lines(&samples), whole, "{said}");
            assert!(samples.said.concat().contains(said), "{:?}", samples.said);
        }
        std::fs::remove_file(&record).expect("it was there");
        assert_eq!(lines(&found(run.path())), whole);
        std::fs::write(&database, "this is a text and no database, and long enough")
            .expect("written");
        assert!(Samples::find(run.path()).is_err_and(|e| e.diagnostics[0].code == "C010"));
        std::fs::write(&record, kept).expect("written");
        let samples = found(run.path());
        assert_eq!(lines(&samples), whole);
        assert!(
            samples.said[0].ends_with("the record beside it is read"),
            "{:?}",
            samples.said
        );
    }
}
