//! `gridrig test`: scenarios, chosen and judged.

mod github;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use document::{Diagnostic, Source};
use runtime::web::Tokens;
use scenario::fit;
use scenario::folder::About;
use scenario::report::merge::Shard;
use scenario::report::number;
use scenario::report::result::RunResult;
use scenario::report::template::Template;
use scenario::runner::{self, Baseline, Hardware, TestOptions};
use scenario::script::{self, Scenario};
use scenario::verdict::Verdict;
use serde_json::{Value, json};

use super::check::{FileKind, kind_of};
use super::live::{On, SEED, Speed};
use super::report::{self, Inconclusive};
use crate::codes::usage;
use crate::folder::{self, Attempt};
use crate::problem::{Outcome, Problem};
use crate::rig_file;
use crate::selection::Selection;
use crate::terminal::Terminal;

/// Arguments of `test`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Scenario files, or folders of them.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The rig for all of them, in place of their own.
    #[arg(long)]
    rig: Option<PathBuf>,
    /// What is at the far end of the buses.
    #[arg(long, value_enum, default_value = "sim")]
    on: On,
    /// Only scenarios whose name fits: `ffr and not slow`.
    #[arg(short = 'k', value_name = "EXPR")]
    named: Option<String>,
    /// Only scenarios with this tag.
    #[arg(long)]
    tag: Option<String>,
    /// Seed of everything random, where a scenario gives none.
    #[arg(long, default_value_t = SEED)]
    seed: u64,
    /// Run each scenario so often, with the next seed each time.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    repeat: u32,
    /// Only the I-th of N parts, from 1.
    #[arg(long, value_name = "I/N", value_parser = shard)]
    shard: Option<Shard>,
    /// Real time, or as fast as the machine can [default: max on sim, else 1].
    #[arg(long, value_enum)]
    speed: Option<Speed>,
    /// Serve a page that shows the scenario under way; it needs real time (`--speed 1`).
    #[arg(long, value_name = "ADDRESS", conflicts_with = "list")]
    listen: Option<SocketAddr>,
    /// Name the scenarios that would run, and run none.
    #[arg(long)]
    list: bool,
    /// An earlier run whose values are compared; it changes no verdict, unless there are budgets.
    #[arg(long, value_name = "RUN")]
    baseline: Option<PathBuf>,
    /// A file that says by how much values may differ from the baseline; more than that is a failure.
    #[arg(long, value_name = "FILE", requires = "baseline")]
    budgets: Option<PathBuf>,
    /// On hardware: wait so long for a bench that another run has [default: not at all].
    #[arg(long, value_name = "TIME", value_parser = super::live::time)]
    wait: Option<Duration>,
    /// On hardware: a command of the shell that switches the bench off and on, and returns when it is up
    /// again; run once, when the bench was not there, and the scenario after it once more [default: what
    /// the rig says in `[bench] recover`].
    #[arg(long, value_name = "COMMAND")]
    recover: Option<String>,
    /// Layout of the report: dispatch-transition, hil-commissioning, der-conformance, or a file
    /// [default: in the order in which the scenarios ran].
    #[arg(long, value_name = "NAME")]
    report_template: Option<String>,
    /// The run folder; it must be new or empty (by default a new one under `out/`).
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Run known-bad scenarios as ordinary ones.
    #[arg(long)]
    ignore_expect: bool,
    /// How JUnit shows an inconclusive scenario.
    #[arg(long, value_enum, default_value_t)]
    inconclusive: Inconclusive,
}

fn shard(text: &str) -> Result<Shard, String> {
    let parts = text
        .split_once('/')
        .and_then(|(i, n)| Some((i.parse::<usize>().ok()?, n.parse::<usize>().ok()?)));
    match parts {
        Some((part, of)) if (1..=of).contains(&part) => Ok(Shard { part, of }),
        Some((i, n)) => Err(format!("there is no part {i} of {n}; parts count from 1")),
        None => Err("write it like `1/4`".into()),
    }
}

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    let speed = arguments.speed.unwrap_or(match arguments.on {
        On::Sim => Speed::Max,
        On::Bench | On::Mixed => Speed::Real,
    });
    if arguments.on == On::Sim && (arguments.wait.is_some() || arguments.recover.is_some()) {
        return Err(Problem::usage(usage(
            "C001",
            "an emulated bench is nobody else's, and needs no recovering",
            "use `--on bench` or `--on mixed`, or leave out `--wait` and `--recover`",
        )));
    }
    if speed == Speed::Max && arguments.on != On::Sim {
        return Err(Problem::usage(usage(
            "C002",
            "a bench with hardware has no virtual time",
            "use `--on sim`, or leave out `--speed max`",
        )));
    }
    if speed == Speed::Max && arguments.listen.is_some() {
        return Err(Problem::usage(usage(
            "C002",
            "a scenario in virtual time is over before a page could show it",
            "add `--speed 1`, or leave out `--listen`",
        )));
    }
    let selection = arguments.named.as_deref().map(Selection::parse);
    let selection = selection.transpose()?;
    if arguments.list {
        return list(&arguments, selection.as_ref(), terminal);
    }
    let about = About {
        rig: arguments
            .rig
            .as_ref()
            .map_or_else(String::new, |p| p.display().to_string()),
        on: arguments.on.word().into(),
        speed: if speed == Speed::Max { "max" } else { "1" }.into(),
        seed: arguments.seed,
        shard: arguments.shard,
        ..About::default()
    };
    let attempt = folder::make(arguments.out.as_deref(), "test", about)?;
    start(&arguments, speed, selection.as_ref(), &attempt, terminal)
        .map_err(|problem| attempt.failed(problem))
}

/// Where the page is served. It has no token, so that it only shows, but for the safe state.
fn page(listen: Option<SocketAddr>, terminal: &Terminal) -> Result<Option<TcpListener>, Problem> {
    let Some(address) = listen else {
        return Ok(None);
    };
    runtime::web::check_listen(address, &Tokens::default(), false)?;
    let listener = scenario::live::bind(address)?;
    let address = listener.local_addr().unwrap_or(address);
    terminal.say(format!("The scenario under way is at http://{address}/."));
    Ok(Some(listener))
}

fn nothing_selected(why: String) -> Problem {
    Problem {
        verdict: Verdict::NothingSelected,
        diagnostics: vec![usage("C007", why, "see `-k`, `--tag` and `--shard`")],
    }
}

/// How many scenarios there are, and those that were chosen.
fn choose(
    arguments: &Arguments,
    selection: Option<&Selection>,
    terminal: &Terminal,
) -> Result<(usize, Vec<Scenario>), Problem> {
    let all = scenarios(&arguments.paths, terminal)?;
    let found = all.len();
    let chosen = all
        .into_iter()
        .filter(|s| selection.is_none_or(|k| k.takes(&s.title())))
        .filter(|s| arguments.tag.as_ref().is_none_or(|t| s.tags.contains(t)))
        .enumerate()
        .filter(|(index, _)| arguments.shard.is_none_or(|shard| shard.takes(*index)))
        .map(|(_, s)| s)
        .collect();
    Ok((found, chosen))
}

/// Names what would run.
fn list(arguments: &Arguments, selection: Option<&Selection>, terminal: &Terminal) -> Outcome {
    let (found, chosen) = choose(arguments, selection, terminal)?;
    if chosen.is_empty() {
        let why = format!("none of {found} scenarios was selected");
        return Err(nothing_selected(why));
    }
    let row = |s: &Scenario| {
        json!({
            "name": s.title(),
            "file": s.file,
            "tags": s.tags,
            "checks": s.checks.len(),
            "expect": s.expect,
        })
    };
    terminal.result(
        || Value::Array(chosen.iter().map(row).collect()),
        || {
            let lines = chosen.iter().map(|s| match s.tags.as_slice() {
                [] => s.title(),
                tags => format!("{} ({})", s.title(), tags.join(", ")),
            });
            lines.collect::<Vec<_>>().join("\n")
        },
    );
    Ok(Verdict::Pass)
}

fn start(
    arguments: &Arguments,
    speed: Speed,
    selection: Option<&Selection>,
    attempt: &Attempt,
    terminal: &Terminal,
) -> Outcome {
    let baseline = arguments
        .baseline
        .as_deref()
        .map(report::read)
        .transpose()?;
    let budgets = arguments
        .budgets
        .as_deref()
        .map(report::budgets)
        .transpose()?;
    let template = arguments
        .report_template
        .as_deref()
        .map(Template::find)
        .transpose()?;
    let baseline = baseline.map(|before| Baseline {
        before,
        binds: budgets.is_some(),
        budgets: budgets.unwrap_or_default(),
    });
    if let Some(rig) = &arguments.rig {
        // A faulty rig is told once, with its places, and not by every scenario.
        rig_file::load(Some(rig), terminal)?;
    }
    let (found, chosen) = choose(arguments, selection, terminal)?;
    if chosen.is_empty() {
        let why = format!("none of {found} scenarios was selected");
        attempt.conclude(Verdict::NothingSelected, &why, |_| ())?;
        return Err(nothing_selected(why));
    }
    let misfits = fit::faults(&chosen, arguments.rig.as_deref(), arguments.on.into());
    if !misfits.is_empty() {
        return Err(Problem::from(misfits));
    }
    let total = chosen.len() * arguments.repeat as usize;
    let width = total.to_string().len();
    let mut count = 0;
    let result = runner::run(
        TestOptions {
            scenarios: chosen,
            rig: arguments.rig.clone(),
            on: arguments.on.into(),
            virtual_time: speed == Speed::Max,
            seed: arguments.seed,
            repeat: arguments.repeat,
            ignore_expect: arguments.ignore_expect,
            inconclusive_as_skipped: arguments.inconclusive == Inconclusive::Skip,
            shard: attempt.about.shard,
            baseline,
            listen: page(arguments.listen, terminal)?,
            template,
            hardware: Hardware {
                wait: arguments.wait.unwrap_or_default(),
                recover: arguments.recover.clone(),
            },
            run_dir: attempt.dir.clone(),
            command: attempt.about.command.clone(),
            id: attempt.about.id.clone(),
        },
        |one| {
            count += 1;
            terminal.say(format!(
                "[{count:>width$}/{total}] {:<14} {} ({} s)",
                one.verdict.word(),
                one.name,
                number(one.duration_s)
            ));
        },
    )?;
    tell(&result, attempt, terminal);
    Ok(result.verdict)
}

/// Every scenario of the files and folders, in the order of the command line; folders are sorted.
fn scenarios(paths: &[PathBuf], terminal: &Terminal) -> Result<Vec<Scenario>, Problem> {
    let mut scenarios = Vec::new();
    let mut faults: Vec<Diagnostic> = Vec::new();
    for path in paths {
        let unreadable = |e: std::io::Error| {
            usage(
                "C003",
                format!("{} cannot be read: {e}", path.display()),
                "name a scenario file, or a folder of them",
            )
        };
        if !path.is_dir() {
            match std::fs::read_to_string(path) {
                Ok(text) => read(path, text, &mut scenarios, &mut faults, terminal),
                Err(e) => faults.push(unreadable(e)),
            }
            continue;
        }
        let mut files = Vec::new();
        collect(path, &mut files).map_err(|e| Problem::usage(unreadable(e)))?;
        for file in files {
            match std::fs::read_to_string(&file) {
                // A folder may hold rigs and profiles beside its scenarios.
                Ok(text) if kind_of(&text) == FileKind::Scenario => {
                    read(&file, text, &mut scenarios, &mut faults, terminal);
                }
                Ok(_) => (),
                Err(e) => faults.push(unreadable(e)),
            }
        }
    }
    if faults.is_empty() {
        Ok(scenarios)
    } else {
        Err(Problem::from(faults))
    }
}

fn read(
    path: &Path,
    text: String,
    scenarios: &mut Vec<Scenario>,
    faults: &mut Vec<Diagnostic>,
    terminal: &Terminal,
) {
    match script::read(Source::new(path.display().to_string(), text)) {
        Ok(loaded) => {
            if !terminal.is_quiet() {
                terminal.draw(&loaded.warnings);
            }
            scenarios.extend(loaded.scenarios);
        }
        Err(found) => faults.extend(found),
    }
}

/// All TOML files below a folder, sorted by their paths. Links to folders are not followed.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut entries: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "toml") {
            files.push(path);
        }
    }
    Ok(())
}

fn tell(result: &RunResult, attempt: &Attempt, terminal: &Terminal) {
    terminal.result(
        || serde_json::to_value(result).unwrap_or(Value::Null),
        || report::table(result),
    );
    for one in result.repeats.iter().filter(|r| r.is_flaky()) {
        terminal.say(format!("flaky: {} {}", one.name, one.line()));
    }
    if let Some(changes) = &result.changes {
        report::tell(changes, terminal);
    }
    github::tell(result);
    let dir = attempt.dir.display();
    if !result.unwritten.is_empty() {
        terminal.draw(&result.unwritten);
        terminal.say(format!(
            "Samples, events, journal and ledger of each scenario are in {dir}, as far as they were recorded."
        ));
        return;
    }
    terminal.say(format!("The run folder is {dir}; see {dir}/report.html."));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_run_count_from_one() {
        for part in [1, 4] {
            assert_eq!(shard(&format!("{part}/4")), Ok(Shard { part, of: 4 }));
        }
        for bad in ["0/4", "5/4", "1/0", "1", "a/b", ""] {
            assert!(shard(bad).is_err(), "{bad}");
        }
    }
}
