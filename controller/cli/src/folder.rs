//! The run folder of an attempt: made before anything else, and never left without a result.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use document::{Actor, Diagnostic};
use model::Clock as _;
use runtime::clock::SystemClock;
use scenario::folder::About;
use scenario::folder::hold::Hold;
use scenario::report::junit::InconclusiveAs;
use scenario::report::result::RunResult;
use scenario::report::run::{RunReport, run_report};
use scenario::verdict::Verdict;

use crate::codes::usage;
use crate::problem::Problem;

/// Where run folders are made when nothing else is said.
const OUT: &str = "out";
/// Attempts to find a free name. Chosen: more runs than this cannot begin in one second.
const NAMES_MAX: u32 = 1000;

/// An attempt with its folder.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The folder.
    pub dir: PathBuf,
    /// What is known of the run from the start.
    pub about: About,
    /// Held as long as this process lives, for whoever asks whether the run goes on.
    _hold: Arc<Hold>,
}

/// Makes the folder of an attempt: `out` itself if it is given, else a new one under `out/`.
///
/// # Errors
/// R025 when the folder exists and is not empty, or cannot be made.
pub fn make(out: Option<&Path>, verb: &str, about: About) -> Result<Attempt, Problem> {
    let utc = SystemClock::start().utc();
    let id = id_of(verb, std::env::args());
    let dir = match out {
        Some(dir) => {
            make_empty(dir)?;
            dir.to_path_buf()
        }
        None => make_new(&format!("{}-{id}", utc.compact()))?,
    };
    let attempt = Attempt {
        _hold: Arc::new(Hold::take(&dir)),
        dir,
        about: About {
            id,
            started_utc: utc.to_string(),
            command: std::env::args().collect(),
            ..about
        },
    };
    // From now on whoever finds the folder can tell what it is, however this process ends.
    scenario::folder::begin(&attempt.dir, &attempt.about)?;
    Ok(attempt)
}

/// Name of a run: its verb and a short hash of what was asked for, without where it is written to.
/// The same command has the same name, so that two results of it can be compared byte for byte.
fn id_of(verb: &str, arguments: impl Iterator<Item = String>) -> String {
    let mut asked = String::new();
    let mut skip_value = false;
    for argument in arguments.skip(1) {
        if std::mem::take(&mut skip_value) || argument.starts_with("--out=") {
            continue;
        }
        skip_value = argument == "--out";
        if !skip_value {
            asked.push_str(&argument);
            asked.push('\0');
        }
    }
    let digest = scenario::folder::hash(&asked);
    format!("{verb}-{}", &digest[..8])
}

fn make_empty(dir: &Path) -> Result<(), Problem> {
    std::fs::create_dir_all(dir).map_err(|e| cannot_make(dir, &e))?;
    let mut entries = std::fs::read_dir(dir).map_err(|e| cannot_make(dir, &e))?;
    if entries.next().is_some() {
        return Err(Problem::usage(usage(
            "R025",
            format!("the run folder {} is not empty", dir.display()),
            "a run never writes over another one: name a new folder, or leave out `--out`",
        )));
    }
    Ok(())
}

fn make_new(name: &str) -> Result<PathBuf, Problem> {
    let parent = Path::new(OUT);
    std::fs::create_dir_all(parent).map_err(|e| cannot_make(parent, &e))?;
    for n in 1..NAMES_MAX {
        let dir = match n {
            1 => parent.join(name),
            n => parent.join(format!("{name}-{n}")),
        };
        match std::fs::create_dir(&dir) {
            Ok(()) => return Ok(dir),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => (),
            Err(e) => return Err(cannot_make(&dir, &e)),
        }
    }
    let full = std::io::Error::other("too many runs began in this second");
    Err(cannot_make(&parent.join(name), &full))
}

fn cannot_make(dir: &Path, e: &std::io::Error) -> Problem {
    Problem::from(
        Diagnostic::error(
            "R025",
            Actor::Operator,
            format!("the run folder {} cannot be made: {e}", dir.display()),
        )
        .help("give another folder with `--out`, make room, or mend its permissions"),
    )
}

impl Attempt {
    /// Leaves a result behind for an attempt that came to nothing, and hands the problem on.
    ///
    /// What a run has already written of itself stays as it is.
    pub fn failed(&self, mut problem: Problem) -> Problem {
        if !scenario::folder::has_ended(&self.dir)
            && let Err(faults) = self.conclude(problem.verdict, &problem.why(), |_| ())
        {
            // The first fault is the cause; that it could not be written down is told too.
            problem.diagnostics.extend(faults);
        }
        problem
    }

    /// Writes the result of an attempt without scenarios and without a control loop; `complete`
    /// adds what is known besides the verdict.
    ///
    /// # Errors
    /// R025 when the folder cannot be written.
    pub fn conclude(
        &self,
        verdict: Verdict,
        why: &str,
        complete: impl FnOnce(&mut RunResult),
    ) -> Result<(), Vec<Diagnostic>> {
        let mut result = self.about.result(String::new());
        result.verdict = verdict;
        result.exit_code = verdict.exit_code();
        result.why = why.to_owned();
        complete(&mut result);
        let environment = self.about.environment(None);
        let html = run_report(&result, &environment, &RunReport::default());
        self.write(&result, &html)
    }

    /// Writes a result with its report.
    ///
    /// # Errors
    /// R025 when the folder cannot be written.
    pub fn write(&self, result: &RunResult, html: &str) -> Result<(), Vec<Diagnostic>> {
        let mut result = result.clone();
        result.ended_utc = SystemClock::start().utc().to_string();
        scenario::folder::write(
            &self.dir,
            &result,
            html,
            &self.about.environment(None),
            InconclusiveAs::Error,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_command_has_the_same_name_wherever_it_writes() {
        let id = |line: &str| id_of("test", line.split(' ').map(str::to_owned));
        let plain = id("gridrig test a.toml --seed 7");
        assert_eq!(plain, id("gridrig test a.toml --seed 7 --out x"));
        assert_eq!(plain, id("gridrig test --out=y a.toml --seed 7"));
        assert_ne!(plain, id("gridrig test a.toml --seed 8"));
        assert!(plain.starts_with("test-"), "{plain}");
    }
}
