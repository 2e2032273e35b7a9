//! From a TOML text to scenarios: all faults, each with its place.
//!
//! The document is read once per combination of the matrix, because a value such as
//! `{loss}` gets its unit checked only when it is put in. Faults that repeat are told once.

mod characteristic;
mod checks;
mod steps;
mod windows;
mod words;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use document::{Diagnostic, Document, Severity, Source, Spanned, Table};
use model::Role;

use super::{After, Mention, Mutant, Named, Need, Phase, Scenario};
use crate::codes;
use crate::verdict::Expect;
pub(crate) use words::nearest;

/// Largest number of combinations of one file's matrix.
///
/// Chosen: more than a thousand runs of one file are a mistake before they are a test.
const COMBINATIONS_MAX: usize = 1000;

/// What a file gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// One scenario for each combination of the matrix, in the order of the file.
    pub scenarios: Vec<Scenario>,
    /// What should be mended but does not hinder.
    pub warnings: Vec<Diagnostic>,
}

/// Reads a scenario file.
///
/// # Errors
/// All faults of the file, in the order of their places.
pub fn read(source: Arc<Source>) -> Result<Loaded, Vec<Diagnostic>> {
    let document = Document::parse(Arc::clone(&source)).map_err(|fault| vec![*fault])?;
    let combinations = combinations(&document);
    let matrix_is_bad = document.has_errors();
    let mut faults = document.into_faults();
    let mut scenarios = Vec::new();
    for matrix in combinations {
        let document = Document::parse(Arc::clone(&source)).map_err(|fault| vec![*fault])?;
        let scenario = Reader::new(&document, &matrix, matrix_is_bad).scenario();
        let is_bad = document.has_errors();
        faults.extend(document.into_faults());
        if let Some((scenario, mutants)) = scenario.filter(|_| !is_bad) {
            let known_bad = mutants.into_iter().map(|mutant| scenario.spoilt_by(mutant));
            let known_bad: Vec<Scenario> = known_bad.collect();
            scenarios.push(scenario);
            scenarios.extend(known_bad);
        }
    }
    let mut known = BTreeSet::new();
    faults.retain(|f| {
        let start = f.place.as_ref().map_or(0, |p| p.span.start);
        known.insert((start, f.code, f.message.clone()))
    });
    faults.sort_by_key(|f| f.place.as_ref().map_or(0, |p| p.span.start));
    if faults.iter().any(|f| f.severity == Severity::Error) {
        return Err(faults);
    }
    Ok(Loaded {
        scenarios,
        warnings: faults,
    })
}

type Matrix = BTreeMap<String, String>;

/// All combinations of the matrix; the last name varies fastest.
fn combinations(document: &Document) -> Vec<Matrix> {
    let root = document.root();
    let mut all = vec![Matrix::new()];
    if !root.has("matrix") {
        return all;
    }
    let Some(table) = root.table("matrix") else {
        return all;
    };
    for key in table.keys() {
        let values = table.texts(&key.value);
        if values.is_empty() {
            document.error(
                codes::BAD_MATRIX,
                key.span.clone(),
                format!("`{}` has no values", key.value),
                "a list of texts",
                format!("write `{} = [\"20%\", \"80%\"]`", key.value),
            );
            continue;
        }
        if all.len().saturating_mul(values.len()) > COMBINATIONS_MAX {
            document.error(
                codes::BAD_MATRIX,
                key.span.clone(),
                format!("the matrix has more than {COMBINATIONS_MAX} combinations"),
                "up to here",
                "split the file, or take fewer values",
            );
            break;
        }
        all = all
            .iter()
            .flat_map(|combination| {
                values.iter().map(|value| {
                    let mut next = combination.clone();
                    next.insert(key.value.clone(), value.value.clone());
                    next
                })
            })
            .collect();
    }
    all
}

/// Reads one combination.
struct Reader<'d> {
    document: &'d Document,
    matrix: &'d Matrix,
    /// The matrix itself is faulty, so that a missing name is no news.
    matrix_is_bad: bool,
    /// Marks that can be named here.
    marks: BTreeSet<String>,
    /// All marks so far, those that cannot be named here included.
    taken: BTreeSet<String>,
    /// What was named of the bench so far.
    mentions: RefCell<Vec<Mention>>,
}

impl<'d> Reader<'d> {
    fn new(document: &'d Document, matrix: &'d Matrix, matrix_is_bad: bool) -> Self {
        Self {
            document,
            matrix,
            matrix_is_bad,
            marks: BTreeSet::new(),
            taken: BTreeSet::new(),
            mentions: RefCell::new(Vec::new()),
        }
    }

    fn scenario(mut self) -> Option<(Scenario, Vec<Mutant>)> {
        let root = self.document.root();
        root.has("matrix");
        let name = if root.has("name") {
            self.text(&root, "name")
        } else {
            root.missing("name", "\"what is shown, in one line\"")
        };
        let source = self.texts(&root, "source");
        let tags = self.texts(&root, "tags");
        let need = self.need(&root);
        let rig = self.text(&root, "rig").map(|t| t.value);
        let seed = root
            .integer("seed", 0..=i64::MAX)
            .and_then(|s| u64::try_from(s.value).ok());
        let setup = self.phases(&root, "setup");
        let steps = self.steps(&root);
        let checks = self.checks(&root);
        if let (Some((_, timeline)), Some(checks)) = (&steps, &checks) {
            self.windows(timeline, checks, setup.as_ref().is_none_or(Vec::is_empty));
        }
        // It also follows a script that broke, so that no mark of that one can be counted on.
        self.marks.clear();
        let teardown = self.phases(&root, "teardown");
        let after = self.after(&root);
        let expects = [("pass", Expect::Pass), ("fail", Expect::Fail)];
        let expect = self.word(&root, "expect", &expects).unwrap_or_default();
        if !root.has("check") || checks.as_ref().is_some_and(Vec::is_empty) {
            self.document.error(
                codes::NOTHING_CHECKED,
                root.span_of("check"),
                "the scenario checks nothing",
                "",
                "add `check = [{ band = \"bat1.p\", within = \"1.9..2.1kW\" }]`",
            );
        }
        let mutants = self.mutants(&root);
        root.finish();
        let mut mentions = self.mentions.take();
        mentions.sort_by_key(|mention| mention.place.span.start);
        let scenario = Scenario {
            name: name?.value,
            file: self.document.source().path.clone(),
            source,
            tags,
            need,
            rig,
            matrix: self.matrix.clone(),
            seed,
            setup: setup?,
            steps: steps?.0,
            teardown: teardown?,
            checks: checks?.into_iter().map(|(check, _)| check).collect(),
            after,
            expect,
            mutant: None,
            mentions,
        };
        Some((scenario, mutants))
    }

    /// Devices that this scenario has to catch, each a table that is laid over the device's `der`.
    fn mutants(&self, root: &Table<'_>) -> Vec<Mutant> {
        let Some(table) = self.optional(root, "mutants") else {
            return Vec::new();
        };
        let mut mutants = Vec::new();
        for device in table.keys() {
            for der in table.tables(&device.value) {
                let span = der.span();
                if der.keys().is_empty() {
                    self.document.error(
                        codes::BAD_MUTANT,
                        span,
                        "a mutant that differs in nothing cannot be caught",
                        "",
                        "say what is wrong: `{ defect = \"no_latch\" }`",
                    );
                    continue;
                }
                mutants.push(Mutant {
                    device: device.value.clone(),
                    der: self.document.source().text[span].to_owned(),
                });
            }
        }
        mutants
    }

    fn need(&self, root: &Table<'_>) -> Need {
        let mut need = Need::default();
        let Some(table) = self.optional(root, "need") else {
            return need;
        };
        for key in table.keys() {
            if key.value == "source" {
                need.grid_source = self
                    .word(&table, "source", &[("grid", true)])
                    .unwrap_or_default();
                continue;
            }
            let Some((_, role)) = Role::NAMES.iter().find(|(name, _)| *name == key.value) else {
                let known: Vec<&str> = Role::NAMES.iter().map(|(name, _)| *name).collect();
                self.document.error(
                    codes::BAD_NEED,
                    key.span,
                    format!("`{}` is not a role of a device", key.value),
                    "",
                    nearest(&key.value, &known),
                );
                continue;
            };
            // Chosen: no bench of one controller has more devices than that.
            if let Some(count) = table.integer(&key.value, 0..=1000) {
                need.roles
                    .push((*role, u32::try_from(count.value).unwrap_or(u32::MAX)));
            }
        }
        table.finish();
        need
    }

    /// The steps under `setup` or `teardown`; none where the key is not there.
    fn phases(&mut self, root: &Table<'_>, key: &str) -> Option<Vec<Phase>> {
        if !root.has(key) {
            return Some(Vec::new());
        }
        let table = root.table(key)?;
        if !table.has("do") {
            table.missing::<()>("do", "[{ at = \"0s\", set = { \"ess1.p\" = \"0W\" } }]");
        }
        let steps = self.steps(&table);
        let within = self.time(&table, "within", "30s");
        if let (Some((_, timeline)), Some(within)) = (&steps, within)
            && timeline.least() > within
        {
            let least_s = crate::report::number(timeline.least().as_secs_f64());
            self.document.error(
                codes::BACKWARDS,
                table.span_of("within"),
                format!("the last step of this {key} is at {least_s}s at the earliest"),
                "over before that",
                "give it more time, or move the step",
            );
        }
        table.finish();
        Some(vec![Phase {
            steps: steps?.0,
            within: within?,
        }])
    }

    fn after(&self, root: &Table<'_>) -> Option<After> {
        let table = self.optional(root, "after")?;
        let safe = self.devices(&table, "safe");
        let within = self.time(&table, "within", "10s");
        table.finish();
        Some(After {
            safe,
            within: within?,
        })
    }

    fn optional<'t>(&self, table: &Table<'t>, key: &str) -> Option<Table<'t>> {
        if table.has(key) {
            table.table(key)
        } else {
            None
        }
    }

    /// A text with the matrix put in.
    fn text(&self, table: &Table<'_>, key: &str) -> Option<Spanned<String>> {
        let text = table.text(key)?;
        let value = self.fill(&text)?;
        Some(Spanned {
            value,
            span: text.span,
        })
    }

    fn texts(&self, table: &Table<'_>, key: &str) -> Vec<String> {
        table
            .texts(key)
            .iter()
            .filter_map(|text| self.fill(text))
            .collect()
    }

    /// Devices by their names.
    fn devices(&self, table: &Table<'_>, key: &str) -> Vec<String> {
        let mut names = Vec::new();
        for text in table.texts(key) {
            if let Some(name) = self.fill(&text) {
                self.mention(Named::Device(name.clone()), text.span);
                names.push(name);
            }
        }
        names
    }

    /// The device that stands under a key.
    fn device(&self, table: &Table<'_>, key: &str) -> Option<String> {
        let text = self.text(table, key)?;
        self.mention(Named::Device(text.value.clone()), text.span);
        Some(text.value)
    }

    /// Notes that something of the bench is named here.
    fn mention(&self, named: Named, span: Range<usize>) {
        let place = self.document.place(span);
        self.mentions.borrow_mut().push(Mention { named, place });
    }

    /// Puts the matrix into a text.
    fn fill(&self, text: &Spanned<String>) -> Option<String> {
        let mut filled = String::new();
        let mut rest = text.value.as_str();
        while let Some((before, tail)) = rest.split_once('{') {
            filled.push_str(before);
            let Some((name, after)) = tail.split_once('}') else {
                filled.push('{');
                rest = tail;
                continue;
            };
            match self.matrix.get(name) {
                Some(value) => filled.push_str(value),
                None if self.matrix_is_bad => return None,
                None => {
                    let known: Vec<&str> = self.matrix.keys().map(String::as_str).collect();
                    self.document.error(
                        codes::UNKNOWN_PLACEHOLDER,
                        text.span.clone(),
                        format!("the matrix has no `{name}`"),
                        "",
                        nearest(name, &known),
                    );
                    return None;
                }
            }
            rest = after;
        }
        filled.push_str(rest);
        Some(filled)
    }
}
