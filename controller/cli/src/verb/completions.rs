//! `gridrig completions SHELL`: the words of gridrig, for a shell to complete.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use scenario::verdict::Verdict;
use serde_json::json;

use crate::CommandLine;
use crate::problem::Outcome;
use crate::terminal::Terminal;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The shell.
    shell: Shell,
}

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    let shell = arguments.shell;
    let script = script(shell);
    terminal.result(
        || json!({ "shell": shell.to_string(), "script": script }),
        || script.clone(),
    );
    Ok(Verdict::Pass)
}

/// What the shell reads.
fn script(shell: Shell) -> String {
    let mut command = CommandLine::command();
    let name = command.get_name().to_owned();
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    /// Every verb with its own verbs, as they are typed.
    fn verbs() -> Vec<Vec<String>> {
        fn walk(command: &clap::Command, above: &[String], found: &mut Vec<Vec<String>>) {
            for verb in command.get_subcommands() {
                let words = [above, &[verb.get_name().to_owned()]].concat();
                found.push(words.clone());
                walk(verb, &words, found);
            }
        }
        let mut found = Vec::new();
        walk(&CommandLine::command(), &[], &mut found);
        found
    }

    #[test]
    fn bash_completes_every_verb_and_the_verbs_below_it() {
        let script = script(Shell::Bash);
        let verbs = verbs();
        assert!(verbs.len() > 40, "{}", verbs.len());
        for words in verbs {
            let (last, above) = words.split_last().expect("a verb has a name");
            let above: String = above.iter().map(|w| format!("__subcmd__{w}")).collect();
            let case = format!("gridrig{above},{last})");
            assert!(script.contains(&case), "{words:?}: no case `{case}`");
            let offered = script.lines().any(|line| {
                line.trim_start().starts_with("opts=")
                    && line.split([' ', '"']).any(|word| word == last)
            });
            assert!(offered, "{words:?} is never offered");
        }
    }

    #[test]
    fn every_shell_has_a_script_that_names_every_verb() {
        for shell in Shell::value_variants() {
            let script = script(*shell);
            for words in verbs() {
                let last = words.last().expect("a verb has a name");
                assert!(script.contains(last.as_str()), "{shell}: {last}");
            }
        }
    }
}
