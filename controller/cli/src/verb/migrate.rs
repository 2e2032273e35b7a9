//! `gridrig migrate`: files of earlier forms and of others, made into those that this gridrig reads.
//!
//! Rigs, profiles and scenarios have one schema so far, so what there is to upgrade is a file that does not say
//! which one it has. Tests of the SunSpec System Validation Platform (`.tst`) become the matrix of a scenario.
//! What is changed is shown; a file is changed only where it is asked for.

use std::path::{Path, PathBuf};

use clap::Args;
use document::{Actor, Diagnostic, Document, Place, Source};
use scenario::svp;
use scenario::verdict::Verdict;
use serde_json::{Value, json};

use super::check::{FileKind, kind_of};
use crate::codes::usage;
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;

/// The schema of rigs and profiles that this gridrig reads.
const SCHEMA: i64 = 1;

/// Arguments of `migrate`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Rigs, profiles, scenarios, and tests of SVP (`.tst`).
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Change the files; without it the change is only shown.
    #[arg(long)]
    write: bool,
    /// Where the scenario goes that is made of a test of SVP; without it, to standard output.
    #[arg(long, value_name = "FILE", conflicts_with = "write")]
    out: Option<PathBuf>,
}

/// What became of a file.
struct Migrated {
    file: String,
    kind: &'static str,
    /// The new text, where it is another one.
    text: Option<String>,
    /// What people are told.
    told: String,
}

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    let tests = arguments.files.iter().filter(|path| is_test_of_svp(path));
    if arguments.out.is_some() && (tests.count(), arguments.files.len()) != (1, 1) {
        return Err(Problem::usage(usage(
            "C001",
            "`--out` is for the scenario that is made of one test of SVP",
            "name one `.tst` file with it",
        )));
    }
    let mut problems = Vec::new();
    let mut done = Vec::new();
    for path in &arguments.files {
        match migrate(path) {
            Ok(migrated) => done.push((path, migrated)),
            Err(problem) => problems.extend(problem.diagnostics),
        }
    }
    if !problems.is_empty() {
        // One file that cannot be read keeps all as they are.
        return Err(problems.into());
    }
    let mut told = Vec::new();
    for (path, migrated) in done {
        told.push(give(path, &migrated, &arguments, terminal)?);
    }
    if terminal.is_json() {
        terminal.print(json!({ "files": told }));
    }
    Ok(Verdict::Pass)
}

fn is_test_of_svp(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("tst"))
}

fn migrate(path: &Path) -> Result<Migrated, Problem> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|e| {
        let help = "name a rig, a profile, a scenario or a test of SVP (`.tst`)";
        Problem::usage(usage("C003", format!("{file} cannot be read: {e}"), help))
    })?;
    if is_test_of_svp(path) {
        return of_svp(path, text);
    }
    let kind = kind_of(&text);
    let source = Source::new(file.clone(), text);
    let document = Document::parse(source.clone()).map_err(|fault| Problem::from(*fault))?;
    let schema = document.root().integer("schema", 0..=i64::MAX);
    let has_schema = document.root().has("schema");
    if let Some(schema) = schema.filter(|schema| schema.value != SCHEMA) {
        let place = Place {
            source,
            span: schema.span,
        };
        let message = format!("schema {} is not known to this gridrig", schema.value);
        let fault =
            Diagnostic::error("C048", Actor::Operator, message).at(place, "it reads schema 1");
        return Err(fault
            .help("use a gridrig that is as new as the file")
            .into());
    }
    if document.has_errors() {
        return Err(document.into_faults().into());
    }
    let takes_schema = matches!(kind, FileKind::Rig | FileKind::Profile);
    let is_new = !takes_schema || has_schema;
    let text = (!is_new).then(|| with_schema(&source.text));
    let told = match (&text, takes_schema) {
        (Some((_, at)), _) => format!(
            "--- {file}\n+++ {file}\n@@ -{at},0 +{},1 @@\n+schema = {SCHEMA}",
            at + 1
        ),
        (None, true) => format!(
            "{file}: {}, schema {SCHEMA}, the newest: nothing to migrate",
            kind.word()
        ),
        (None, false) => format!(
            "{file}: {}, of the only form there is: nothing to migrate",
            kind.word()
        ),
    };
    Ok(Migrated {
        file,
        kind: kind.word(),
        text: text.map(|(text, _)| text),
        told,
    })
}

/// The text with a line for its schema behind the comments that it begins with, and how many lines those are.
fn with_schema(text: &str) -> (String, usize) {
    let is_comment = |line: &&str| line.starts_with('#');
    let comments: Vec<&str> = text.split_inclusive('\n').take_while(is_comment).collect();
    let (head, rest) = text.split_at(comments.iter().map(|line| line.len()).sum());
    let end = if head.is_empty() || head.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    (
        format!("{head}{end}schema = {SCHEMA}\n{rest}"),
        comments.len(),
    )
}

fn of_svp(path: &Path, text: String) -> Result<Migrated, Problem> {
    let file = path.display().to_string();
    let source = Source::new(file.clone(), text);
    let test = svp::read(&source.text).map_err(|faults| {
        let told = faults.into_iter().map(|fault| {
            let (code, message) = match fault.kind {
                svp::FaultKind::Foreign => {
                    ("C046", format!("this is no test of SVP: {}", fault.message))
                }
                svp::FaultKind::Parameter => ("C047", fault.message),
            };
            let place = Place {
                source: source.clone(),
                span: fault.span,
            };
            Diagnostic::error(code, Actor::Author, message).at(place, "")
        });
        Problem::from(told.collect::<Vec<_>>())
    })?;
    let name = path
        .file_name()
        .map_or_else(|| file.clone(), |name| name.to_string_lossy().into_owned());
    Ok(Migrated {
        kind: "svp-test",
        text: Some(svp::scenario_text(&test, &name)),
        told: format!(
            "{file}: {} parameters of the script `{}` became a matrix; its steps and checks are yours to write",
            test.parameters.len(),
            test.script
        ),
        file,
    })
}

/// Shows or writes what became of a file; what is told as JSON.
fn give(
    path: &Path,
    migrated: &Migrated,
    arguments: &Arguments,
    terminal: &Terminal,
) -> Result<Value, Problem> {
    let of_svp = is_test_of_svp(path);
    let target = match (&migrated.text, &arguments.out) {
        (Some(_), Some(out)) => Some(out.as_path()),
        // A test of SVP stays what it is.
        (Some(_), None) if arguments.write && !of_svp => Some(path),
        _ => None,
    };
    if let (Some(text), Some(target)) = (&migrated.text, target) {
        let written = match of_svp {
            true => std::fs::File::create_new(target)
                .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes())),
            false => std::fs::write(target, text),
        };
        written.map_err(|e| {
            let message = format!("{} cannot be written: {e}", target.display());
            Problem::usage(usage(
                "C003",
                message,
                "make room, or name a new file with `--out`",
            ))
        })?;
    }
    if !terminal.is_json() {
        match &migrated.text {
            Some(text) if of_svp && target.is_none() => {
                terminal.print(text.trim_end());
                terminal.say(&migrated.told);
            }
            _ if of_svp => terminal.say(&migrated.told),
            _ => terminal.print(&migrated.told),
        }
        if migrated.text.is_some() && target.is_none() && !of_svp {
            terminal.say("Nothing was written; `--write` changes the file.");
        }
    }
    Ok(json!({
        "file": migrated.file,
        "kind": migrated.kind,
        "changed": migrated.text.is_some() && !of_svp,
        "written": target.map(|target| target.display().to_string()),
        "text": migrated.text,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_stands_behind_the_comments_that_a_file_begins_with() {
        for (text, made, lines) in [
            ("title = \"a\"\n", "schema = 1\ntitle = \"a\"\n", 0),
            (
                "# a\n# b\ntitle = \"a\"\n",
                "# a\n# b\nschema = 1\ntitle = \"a\"\n",
                2,
            ),
            ("# a", "# a\nschema = 1\n", 1),
            ("\n# a\nx = 1\n", "schema = 1\n\n# a\nx = 1\n", 0),
        ] {
            assert_eq!(with_schema(text), (made.to_owned(), lines), "{text:?}");
        }
    }
}
