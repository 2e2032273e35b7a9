//! `gridrig man`: manual pages, made from what the command line says of itself.

use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use document::{Actor, Diagnostic};
use scenario::verdict::Verdict;
use serde_json::json;

use crate::CommandLine;
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Write one page for gridrig and one for each verb to this folder, such as
    /// `~/.local/share/man/man1`.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// A page in roff.
struct Page {
    /// Name of its file, such as `gridrig-device-read.1`.
    file: String,
    text: String,
}

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    let pages = pages()?;
    let Some(out) = arguments.out else {
        let main = pages
            .into_iter()
            .next()
            .map(|page| page.text)
            .unwrap_or_default();
        terminal.result(|| json!({ "roff": main }), || main.clone());
        return Ok(Verdict::Pass);
    };
    let refused = |path: &Path, e: std::io::Error| {
        let what = format!("{} cannot be written: {e}", path.display());
        let fault = Diagnostic::error("C003", Actor::Operator, what);
        Problem::from(fault.help("make room, or name another folder with `--out`"))
    };
    std::fs::create_dir_all(&out).map_err(|e| refused(&out, e))?;
    let mut written = Vec::new();
    for page in pages {
        let path = out.join(page.file);
        std::fs::write(&path, page.text).map_err(|e| refused(&path, e))?;
        written.push(path.display().to_string());
    }
    terminal.result(|| json!({ "files": written }), || written.join("\n"));
    Ok(Verdict::Pass)
}

/// All pages, that of gridrig first, each verb before its own verbs.
fn pages() -> Result<Vec<Page>, Problem> {
    let mut command = CommandLine::command().disable_help_subcommand(true);
    // Flags that hold everywhere, and the full name of each verb, come with the build.
    command.build();
    let mut pages = Vec::new();
    write(&command, &mut pages).map_err(|e| {
        let what = format!("a manual page cannot be made: {e}");
        Diagnostic::error("E000", Actor::Us, what)
    })?;
    Ok(pages)
}

fn write(command: &Command, pages: &mut Vec<Page>) -> std::io::Result<()> {
    let man = Man::new(command.clone());
    let mut bytes = Vec::new();
    man.render(&mut bytes)?;
    pages.push(Page {
        file: man.get_filename(),
        text: String::from_utf8_lossy(&bytes).into_owned(),
    });
    for verb in command.get_subcommands() {
        write(verb, pages)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_verb_has_a_page_of_its_own_that_says_what_it_is_for() {
        fn names(command: &Command, above: &str, found: &mut Vec<(String, String)>) {
            for verb in command.get_subcommands() {
                let name = format!("{above}-{}", verb.get_name());
                let about = verb.get_about().map(ToString::to_string);
                found.push((name.clone(), about.expect("every verb says what it is for")));
                names(verb, &name, found);
            }
        }
        let mut wanted = Vec::new();
        names(&CommandLine::command(), "gridrig", &mut wanted);
        let pages = pages().expect("pages are made");
        assert_eq!(pages[0].file, "gridrig.1");
        assert_eq!(pages.len(), wanted.len() + 1);
        let files: BTreeSet<&str> = pages.iter().map(|p| p.file.as_str()).collect();
        assert_eq!(files.len(), pages.len(), "two pages of one name");
        for ((name, about), page) in wanted.iter().zip(&pages[1..]) {
            assert_eq!(page.file, format!("{name}.1"));
            // Roff escapes hyphens; the first word has none.
            let word = about.split(' ').next().expect("a sentence has words");
            assert!(page.text.contains(word), "{name}: {about}");
            assert!(page.text.contains("\n.SH OPTIONS"), "{name}");
        }
    }
}
