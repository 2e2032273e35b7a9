//! What GitHub Actions shows of a test run: failed checks beside their lines, and a summary of the step.
//!
//! Source: workflow commands of GitHub Actions (escaping of data and of properties), and its job summaries.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use scenario::report::result::RunResult;
use scenario::verdict::Verdict;

/// Scenarios of a summary that did not pass. Chosen: a summary may have 1 MiB, and people read fewer.
const ROWS_MAX: usize = 200;

/// Tells GitHub, where it runs this.
pub fn tell(result: &RunResult) {
    if std::env::var_os("GITHUB_ACTIONS").is_none_or(|v| v != "true") {
        return;
    }
    let root = std::env::var("GITHUB_WORKSPACE").unwrap_or_default();
    for line in annotations(result, Path::new(&root)) {
        // On standard error: standard output may be the JSON document. Both are read.
        crate::terminal::to_stderr(&format!("{line}\n"));
    }
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|p| !p.is_empty()) else {
        return;
    };
    let file = OpenOptions::new().append(true).create(true).open(&path);
    if let Err(e) = file.and_then(|mut file| file.write_all(summary(result).as_bytes())) {
        // The run folder holds all of it; a summary that is not there changes no verdict.
        crate::terminal::to_stderr(&format!(
            "::warning::the step summary cannot be written: {e}\n"
        ));
    }
}

/// A path as GitHub knows it: from the root of the repository.
fn from_root(file: &str, root: &Path) -> String {
    let inside = Path::new(file).canonicalize().ok().and_then(|path| {
        Some(
            path.strip_prefix(root.canonicalize().ok()?)
                .ok()?
                .to_owned(),
        )
    });
    inside.map_or_else(|| file.to_owned(), |path| path.display().to_string())
}

/// The workflow commands by which GitHub shows a failed check beside its line.
fn annotations(result: &RunResult, root: &Path) -> Vec<String> {
    let data = |text: &str| {
        text.replace('%', "%25")
            .replace('\r', "%0D")
            .replace('\n', "%0A")
    };
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let failed = result
        .scenarios
        .iter()
        .filter(|s| s.verdict != Verdict::Pass);
    failed
        .flat_map(|one| {
            let title = property(&one.name);
            let file = property(&from_root(&one.file, root));
            let of_checks = one.checks.iter().filter(|c| c.verdict != Verdict::Pass);
            let mut lines: Vec<String> = of_checks
                .map(|c| {
                    let why = data(&format!("{}: {}", c.name, c.why));
                    format!("::error file={file},line={},title={title}::{why}", c.line)
                })
                .collect();
            if lines.is_empty() {
                let why = data(&one.reason());
                lines.push(format!("::error file={file},title={title}::{why}"));
            }
            lines
        })
        .collect()
}

/// The summary of the step, in Markdown: the verdict, and what did not pass.
fn summary(result: &RunResult) -> String {
    let cell = |text: &str| {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('|', "\\|")
            .replace(['\r', '\n'], " ")
    };
    let open: Vec<_> = result
        .scenarios
        .iter()
        .filter(|s| s.verdict != Verdict::Pass)
        .collect();
    let passed = result.scenarios.len() - open.len();
    let mut text = format!(
        "### gridrig: {}\n\n{passed} of {} scenarios passed, seed {}.\n\n",
        result.verdict,
        result.scenarios.len(),
        result.seed
    );
    if !open.is_empty() {
        text.push_str("| verdict | scenario | why |\n| --- | --- | --- |\n");
    }
    for one in open.iter().take(ROWS_MAX) {
        let (name, why) = (cell(&one.name), cell(&one.reason()));
        text.push_str(&format!("| {} | {name} | {why} |\n", one.verdict));
    }
    if open.len() > ROWS_MAX {
        text.push_str(&format!("\n… and {} more.\n", open.len() - ROWS_MAX));
    }
    for one in result.repeats.iter().filter(|r| r.is_flaky()) {
        text.push_str(&format!("\nFlaky: {} {}\n", cell(&one.name), one.line()));
    }
    text
}
