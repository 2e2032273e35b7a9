//! `gridrig report`: what came of runs, opened, compared, put together, exported.

mod export;
mod fresh;
mod samples;
mod svp;
mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::{Args, Subcommand, ValueEnum};
use scenario::folder::{About, REPORT_FILE, RESULT_FILE, hold};
use scenario::report::budgets::{Allowance, Budget, Budgets, share};
use scenario::report::compare::Comparison;
use scenario::report::html;
use scenario::report::junit::InconclusiveAs;
use scenario::report::merge::merge;
use scenario::report::result::{RunResult, Status};
use scenario::report::template::Template;
use scenario::verdict::Verdict;
use serde_json::{Value, json};

use self::export::Format;
pub(super) use self::table::table;
use crate::codes::usage;
use crate::folder;
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;

/// How an inconclusive scenario is shown to a continuous integration server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Inconclusive {
    /// As an error.
    #[default]
    Error,
    /// As skipped.
    Skip,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

/// What is done with reports.
#[derive(Debug, Subcommand)]
enum What {
    /// Show the report of a run in the browser, and say where it is.
    Open {
        /// The run folder.
        run: PathBuf,
        /// Lay it out anew: dispatch-transition, hil-commissioning, der-conformance, or a file of your own.
        #[arg(long, value_name = "NAME")]
        template: Option<String>,
    },
    /// Compare two runs; what got worse is a failure (exit code 1).
    Diff {
        /// The run folder of the earlier run.
        before: PathBuf,
        /// The run folder of the later one.
        now: PathBuf,
        /// By how much every value may differ, as a share of the earlier one [default: by anything].
        #[arg(long, value_name = "SHARE", value_parser = share)]
        within: Option<f64>,
        /// The same for checks of this kind, or whose name contains the word; may be repeated, the last that fits counts.
        #[arg(long, value_name = "WORD=SHARE", value_parser = budget)]
        budget: Vec<(String, f64)>,
        /// A file of budgets; `--within` and `--budget` are laid over it.
        #[arg(long, value_name = "FILE")]
        budgets: Option<PathBuf>,
    },
    /// Put the parts of a run together that `gridrig test --shard` has made.
    Merge {
        /// The run folders of all parts.
        #[arg(required = true)]
        parts: Vec<PathBuf>,
        /// The run folder; it must be new or empty (by default a new one under `out/`).
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Layout of the report: dispatch-transition, hil-commissioning, der-conformance, or a file.
        #[arg(long, value_name = "NAME")]
        template: Option<String>,
        /// How JUnit shows an inconclusive scenario.
        #[arg(long, value_enum, default_value_t)]
        inconclusive: Inconclusive,
    },
    /// Write the samples of a run as one table.
    Export {
        /// The run folder.
        run: PathBuf,
        /// How it is written.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        /// Where to; without it, to standard output. For `svp` a folder, which must be new or empty.
        #[arg(long, value_name = "FILE", required_if_eq("format", "svp"))]
        out: Option<PathBuf>,
    },
}

fn budget(text: &str) -> Result<(String, f64), String> {
    let parts = text.rsplit_once('=').filter(|(word, _)| !word.is_empty());
    let (word, of) = parts.ok_or("write it like `t90=5%`")?;
    Ok((word.to_owned(), share(of)?))
}

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    match arguments.what {
        What::Open { run, template } => open(&run, template.as_deref(), terminal),
        What::Diff {
            before,
            now,
            within,
            budget,
            budgets: file,
        } => {
            let mut allowed = file
                .as_deref()
                .map(budgets)
                .transpose()?
                .unwrap_or_default();
            allowed.all = within.or(allowed.all);
            allowed
                .named
                .extend(budget.into_iter().map(|(check, share)| Budget {
                    check,
                    allowance: Allowance {
                        within: Some(share),
                        ..Allowance::default()
                    },
                    ..Budget::default()
                }));
            diff(&before, &now, &allowed, terminal)
        }
        What::Merge {
            parts,
            out,
            template,
            inconclusive,
        } => {
            let layout = template.as_deref().map(Template::find).transpose()?;
            put_together(
                &parts,
                out.as_deref(),
                layout.as_ref(),
                inconclusive,
                terminal,
            )
        }
        What::Export { run, format, out } => export::run(&run, format, out.as_deref(), terminal),
    }
}

/// The result of a run; `run` is its folder or the file itself. Of a run that was killed it is what its
/// record says until then, and why it says no more.
pub(super) fn read(run: &Path) -> Result<RunResult, Problem> {
    let path = match run.is_dir() {
        true => run.join(RESULT_FILE),
        false => run.to_path_buf(),
    };
    let fail = |what: String| {
        Problem::usage(usage(
            "C004",
            format!("the run {}: {what}", path.display()),
            "name the run folder of an earlier `gridrig test`",
        ))
    };
    let text = std::fs::read_to_string(&path).map_err(|e| fail(e.to_string()))?;
    let mut result = RunResult::from_json(&text).map_err(|e| fail(e.to_string()))?;
    if result.status == Status::Running {
        if run.is_dir() && hold::is_held(run) {
            return Err(Problem::usage(usage(
                "C026",
                format!("the run {} still goes on", run.display()),
                "wait for its end; its samples can be exported at any time",
            )));
        }
        result.why = format!(
            "its runner was killed, or could not write its result: {}",
            result.why
        );
    }
    Ok(result)
}

/// As [`read`], with the pictures that its folder holds.
fn read_with_pictures(run: &Path) -> Result<RunResult, Problem> {
    let mut result = read(run)?;
    scenario::folder::pictures_of(run, &mut result);
    Ok(result)
}

/// The budgets of a file.
pub(super) fn budgets(path: &Path) -> Result<Budgets, Problem> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        Problem::usage(usage(
            "C003",
            format!("the budgets {}: {e}", path.display()),
            "name a file with `within` or `[[budget]]`",
        ))
    })?;
    Budgets::read(&path.display().to_string(), &text).map_err(Problem::from)
}

/// Tells people what a run has changed.
pub(super) fn tell(changes: &Comparison, terminal: &Terminal) {
    if changes.is_empty() {
        terminal.say(format!("Nothing differs from {}.", changes.baseline));
    }
    for line in changes.lines() {
        terminal.say(line);
    }
}

/// The report of a run, written anew where a layout is asked for, or where the one that is there was
/// written before the run was killed.
fn written(run: &Path, template: Option<&str>) -> Result<PathBuf, Problem> {
    let layout = template.map(Template::find).transpose()?;
    let is_there = run.join(REPORT_FILE).exists();
    if layout.is_none() && (is_there && scenario::folder::has_ended(run) || !run.is_dir()) {
        return Ok(run.join(REPORT_FILE));
    }
    let result = read_with_pictures(run)?;
    if layout.is_some() && result.scenarios.is_empty() {
        return Err(Problem::usage(usage(
            "C027",
            format!("the run {} holds no scenario to lay out", run.display()),
            "name the folder of a `gridrig test`",
        )));
    }
    let environment = scenario::folder::environment_in(run).unwrap_or_default();
    let stem = template.map(Path::new).and_then(Path::file_stem);
    let name = stem.map_or_else(
        || REPORT_FILE.to_owned(),
        |stem| format!("report-{}.html", stem.to_string_lossy()),
    );
    let html = html::report(&result, &environment, layout.as_ref());
    scenario::folder::write_report(run, &name, &html)?;
    Ok(run.join(name))
}

fn open(run: &Path, template: Option<&str>, terminal: &Terminal) -> Outcome {
    let path = written(run, template)?;
    let path = path.canonicalize().map_err(|e| {
        Problem::usage(usage(
            "C004",
            format!("the report {}: {e}", path.display()),
            "name a run folder; every attempt leaves one with report.html",
        ))
    })?;
    let has_screen = ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()));
    let shown = has_screen
        && Command::new("xdg-open")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .is_ok();
    terminal.result(
        || json!({ "report": path, "shown": shown }),
        || path.display().to_string(),
    );
    if !shown {
        terminal.say("There is no screen to show it on; open the file in any browser.");
    }
    Ok(Verdict::Pass)
}

fn diff(before: &Path, now: &Path, budgets: &Budgets, terminal: &Terminal) -> Outcome {
    let (before, now) = (read(before)?, read(now)?);
    for run in [&before, &now] {
        if run.status == Status::Running {
            terminal.say(format!("{}: {}", run.id, run.why));
        }
    }
    let changes = Comparison::of(&before, &now, budgets);
    let verdict = match changes.is_regression() {
        true => Verdict::Fail,
        false => Verdict::Pass,
    };
    terminal.result(
        || {
            let mut value = serde_json::to_value(&changes).unwrap_or(Value::Null);
            value["verdict"] = json!(verdict.word());
            value
        },
        || match changes.is_empty() {
            true => format!("Nothing differs from {}.", changes.baseline),
            false => changes.lines().join("\n"),
        },
    );
    Ok(verdict)
}

fn put_together(
    parts: &[PathBuf],
    out: Option<&Path>,
    template: Option<&Template>,
    inconclusive: Inconclusive,
    terminal: &Terminal,
) -> Outcome {
    let read_all: Result<Vec<RunResult>, Problem> =
        parts.iter().map(|part| read_with_pictures(part)).collect();
    let read_all = read_all?;
    let attempt = folder::make(out, "report", About::default())?;
    let whole = merge(&attempt.about.id, read_all).map_err(|e| {
        let help = "name every part of one `gridrig test … --shard I/N` once";
        attempt.failed(Problem::usage(usage("C023", e.to_string(), help)))
    })?;
    let about = About {
        rig: whole.rig.clone(),
        on: whole.on.clone(),
        speed: whole.speed.clone(),
        seed: whole.seed,
        ..attempt.about.clone()
    };
    let environment = about.environment_of(&whole);
    let html = html::report(&whole, &environment, template);
    let whole = scenario::folder::conclude(
        &attempt.dir,
        whole,
        &html,
        &environment,
        match inconclusive {
            Inconclusive::Error => InconclusiveAs::Error,
            Inconclusive::Skip => InconclusiveAs::Skipped,
        },
    );
    terminal.draw(&whole.unwritten);
    terminal.result(
        || serde_json::to_value(&whole).unwrap_or(Value::Null),
        || table(&whole),
    );
    terminal.say(format!(
        "The run folder is {}; records and ledgers stay in those of the parts.",
        attempt.dir.display()
    ));
    Ok(whole.verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_word_and_a_share() {
        assert_eq!(share("5%"), Ok(0.05));
        assert_eq!(share("0.05"), Ok(0.05));
        assert_eq!(budget("t90=2%"), Ok(("t90".to_owned(), 0.02)));
        assert_eq!(budget("p >= 1=2%"), Ok(("p >= 1".to_owned(), 0.02)));
        for bad in ["", "t90", "=5%", "t90=", "t90=-5%", "t90=nan", "t90=x%"] {
            assert!(budget(bad).is_err(), "{bad}");
        }
    }
}
