//! `env.json` and `repro.sh`: what a run was made with, and how to make it again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::result::Halves;

/// What a run was made with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Version of gridrig.
    pub gridrig: String,
    /// Versions of whatever else matters, by name.
    pub versions: BTreeMap<String, String>,
    /// Operating system and kernel.
    pub system: String,
    /// Rig, as the user named it.
    pub rig: String,
    /// Hash of the rig with all that it inherits, hexadecimal.
    pub rig_hash: String,
    /// The same for each rig that scenarios ran on, by its file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rigs: BTreeMap<String, String>,
    /// What was real and what was emulated on a bench that was half real, by the file of its rig.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub halves: BTreeMap<String, Halves>,
    /// Seed of everything random.
    pub seed: u64,
    /// Offset of the clock from its reference in milliseconds; `None` = not known.
    pub clock_offset_ms: Option<f64>,
    /// Firmware by device, as the device says it.
    pub firmware: BTreeMap<String, String>,
    /// The command line, word by word.
    pub command: Vec<String>,
}

impl Environment {
    /// The bytes of `env.json`.
    ///
    /// # Errors
    /// Never for data of these types; the error is that of the writer of JSON.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// The text of `repro.sh`: the same command with the seed of this run.
    #[must_use]
    pub fn repro_script(&self) -> String {
        let mut words: Vec<String> = self.command.clone();
        let has_seed = words
            .iter()
            .any(|w| w == "--seed" || w.starts_with("--seed="));
        if !has_seed {
            words.extend(["--seed".to_owned(), self.seed.to_string()]);
        }
        let command: Vec<String> = words.iter().map(|word| quote(word)).collect();
        let rig = one_line(&self.rig);
        format!(
            "#!/bin/sh\n# Runs it again: gridrig {}, rig {rig} (hash {}), seed {}.\n\
             # Call it from the folder in which the first run was called.\nset -eu\nexec {} \"$@\"\n",
            one_line(&self.gridrig),
            one_line(&self.rig_hash),
            self.seed,
            command.join(" ")
        )
    }
}

/// A text that cannot end the comment that it stands in.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// A word that the shell takes as it is.
fn quote(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_with_blanks_and_quotes_reaches_the_program_unchanged() {
        let environment = Environment {
            gridrig: "0.1.0\nrm -rf".to_owned(),
            seed: 7,
            command: ["gridrig", "test", "a b.toml", "-k", "it's $HOME"]
                .map(String::from)
                .to_vec(),
            ..Environment::default()
        };
        let script = environment.repro_script();
        assert!(
            script.ends_with("exec gridrig test 'a b.toml' -k 'it'\\''s $HOME' --seed 7 \"$@\"\n"),
            "{script}"
        );
        assert!(!script.contains("\nrm"), "a comment stays one line");
    }

    #[test]
    fn a_seed_that_was_given_is_not_given_twice() {
        for given in [vec!["--seed", "3"], vec!["--seed=3"]] {
            let environment = Environment {
                seed: 3,
                command: given.iter().map(ToString::to_string).collect(),
                ..Environment::default()
            };
            assert_eq!(environment.repro_script().matches("--seed").count(), 1);
        }
    }
}
