//! From a TOML text to scenarios: all faults, each with its place.
//!
//! The document is read once per combination of the matrix, because a value such as
//! `{loss}` gets its unit checked only when it is put in. Faults that repeat are told once.

mod adopt;
mod characteristic;
mod checks;
mod include;
mod list;
mod matrix;
mod steps;
mod windows;
mod words;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use document::{Diagnostic, Document, Severity, Source, Spanned, Table};
use emulator::faults::Fault;
use model::Role;
use runtime::Defect;

use super::timeline::Timeline;
use super::{After, Mention, Mutant, Named, Need, Phase, Scenario, Step};
use crate::codes;
use crate::verdict::Expect;
pub(super) use checks::figures;
use list::Steps;
use matrix::{Matrix, combinations};
pub(crate) use words::nearest;

/// The name under which the controller itself stands among the mutants.
const CONTROLLER: &str = "controller";

/// Largest number of runs of one file, those of its mutants included.
///
/// Chosen: an hour of short scenarios in virtual time; more is a mistake before it is a test.
const RUNS_MAX: usize = 10_000;

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
    let included = include::sources(&document);
    if document.has_errors() {
        // Without the steps of these files nothing of what follows could be told.
        return Err(document.into_faults());
    }
    let combinations = combinations(&document);
    let fixed = matrix::fixed(&combinations);
    let matrix_is_bad = document.has_errors();
    let mut faults = document.into_faults();
    let mut scenarios = Vec::new();
    let parse =
        |source: &Arc<Source>| Document::parse(Arc::clone(source)).map_err(|fault| vec![*fault]);
    for matrix in &combinations {
        let document = parse(&source)?;
        let included: Vec<Document> = included.iter().map(parse).collect::<Result<_, _>>()?;
        let scenario = Reader::new(&document, &included, matrix, matrix_is_bad)
            .of(combinations.len())
            .scenario();
        let is_bad = document.has_errors() || included.iter().any(Document::has_errors);
        faults.extend(document.into_faults());
        faults.extend(included.into_iter().flat_map(Document::into_faults));
        if let Some((mut scenario, mutants)) = scenario.filter(|_| !is_bad) {
            scenario.fixed.clone_from(&fixed);
            let known_bad = mutants.into_iter().map(|mutant| scenario.spoilt_by(mutant));
            let known_bad: Vec<Scenario> = known_bad.collect();
            scenarios.push(scenario);
            scenarios.extend(known_bad);
        }
        let is_too_much =
            |fault: &Diagnostic| [codes::BAD_LOOP, codes::BAD_MATRIX].contains(&fault.code);
        if faults.iter().any(is_too_much) {
            // The other combinations are as long, and there may be many of them.
            break;
        }
    }
    tidy(&mut faults, &source.path);
    if faults.iter().any(|f| f.severity == Severity::Error) {
        return Err(faults);
    }
    Ok(Loaded {
        scenarios,
        warnings: faults,
    })
}

/// Reads a file that scenarios include, by itself; what should be mended but does not hinder.
///
/// What its texts take from a matrix is known where it is included, and not looked at.
///
/// # Errors
/// All faults of the file and of those that it includes, in the order of their places.
pub fn read_fragment(source: Arc<Source>) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
    let document = Document::parse(Arc::clone(&source)).map_err(|fault| vec![*fault])?;
    let included: Vec<Document> = include::sources(&document)
        .into_iter()
        .map(|source| Document::parse(source).map_err(|fault| vec![*fault]))
        .collect::<Result<_, _>>()?;
    let (matrix, of_no_matrix) = (Matrix::new(), true);
    let mut reader = Reader::new(&document, &included, &matrix, of_no_matrix);
    let files = reader.files();
    reader.parts(&files, |_, _| ());
    files.into_iter().for_each(|(_, table)| table.finish());
    let mut faults = document.into_faults();
    faults.extend(included.into_iter().flat_map(Document::into_faults));
    tidy(&mut faults, &source.path);
    match faults.iter().any(|f| f.severity == Severity::Error) {
        true => Err(faults),
        false => Ok(faults),
    }
}

/// Tells each fault once, those of `own` first, in the order of their places.
fn tidy(faults: &mut Vec<Diagnostic>, own: &str) {
    let mut known = BTreeSet::new();
    let order = |fault: &Diagnostic| match &fault.place {
        Some(place) if place.source.path == own => (String::new(), place.span.start),
        Some(place) => (place.source.path.clone(), place.span.start),
        None => (String::new(), 0),
    };
    faults.retain(|f| known.insert((order(f), f.code, f.message.clone())));
    faults.sort_by_key(order);
}

/// A file with its table at the top.
type File<'d> = (&'d Document, Table<'d>);

/// What all files of a scenario together say to do; `None` where a part cannot be done.
struct Parts {
    setup: Option<Vec<Phase>>,
    steps: Option<Vec<Step>>,
    teardown: Option<Vec<Phase>>,
}

/// Reads one combination.
struct Reader<'d> {
    /// The document that is being read: the scenario's own, or one that it includes.
    document: &'d Document,
    own: &'d Document,
    included: &'d [Document],
    matrix: &'d Matrix,
    /// What stands for a text in braces: the matrix, and the rounds of loops.
    names: Matrix,
    /// The rounds of the loops around what is being read, the outermost first.
    rounds: Vec<i64>,
    /// How many combinations the matrix has.
    combinations: usize,
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
    fn new(
        document: &'d Document,
        included: &'d [Document],
        matrix: &'d Matrix,
        matrix_is_bad: bool,
    ) -> Self {
        Self {
            document,
            own: document,
            included,
            matrix,
            names: matrix.clone(),
            rounds: Vec::new(),
            combinations: 1,
            matrix_is_bad,
            marks: BTreeSet::new(),
            taken: BTreeSet::new(),
            mentions: RefCell::new(Vec::new()),
        }
    }

    /// The same reader, of one of so many combinations.
    fn of(self, combinations: usize) -> Self {
        Self {
            combinations,
            ..self
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
        let mut checks = None;
        let mut files = self.files();
        let parts = self.parts(&files, |reader, times| {
            checks = reader.checks(&root);
            if let (Some((timeline, is_first)), Some(checks)) = (times, &checks) {
                reader.windows(timeline, checks, is_first);
            }
        });
        // The own one is read on under its other name.
        files.pop();
        files.into_iter().for_each(|(_, table)| table.finish());
        for key in ["include", "setup", "do", "teardown"] {
            root.has(key);
        }
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
        let order = |mention: &Mention| {
            let is_included = mention.place.source.path != self.own.source().path;
            (is_included, mention.place.span.start)
        };
        mentions.sort_by_key(order);
        mentions.dedup();
        let scenario = Scenario {
            name: name?.value,
            file: self.document.source().path.clone(),
            source,
            tags,
            need,
            rig,
            matrix: self.matrix.clone(),
            fixed: BTreeSet::new(),
            seed,
            setup: parts.setup?,
            steps: parts.steps?,
            teardown: parts.teardown?,
            checks: checks?.into_iter().map(|(check, _)| check).collect(),
            after,
            expect,
            mutant: None,
            mentions,
        };
        Some((scenario, mutants))
    }

    /// All files with their tables: those that are included first, the own one last.
    fn files(&self) -> Vec<File<'d>> {
        let included = self.included.iter();
        included
            .chain([self.own])
            .map(|document| (document, document.root()))
            .collect()
    }

    /// Setup, script and teardown of all files. The setup and the script of an included file come
    /// before the own ones and its teardown behind it. `looked_at` reads what may name the marks of
    /// both; it is told the times of the script, and whether nothing comes before it.
    fn parts(
        &mut self,
        files: &[File<'d>],
        mut looked_at: impl FnMut(&mut Self, Option<(&Timeline, bool)>),
    ) -> Parts {
        let setup = self.phases(files.iter(), "setup");
        let mut steps = Steps::default();
        for (document, table) in files {
            self.document = document;
            table.has("include");
            self.add_steps(table, &mut steps);
        }
        self.document = self.own;
        let steps = steps.done();
        let is_first = setup.as_ref().is_none_or(Vec::is_empty);
        let times = steps.as_ref().map(|(_, timeline)| (timeline, is_first));
        looked_at(self, times);
        // It also follows a script that broke, so that no mark of that one can be counted on.
        self.marks.clear();
        let teardown = self.phases(files.iter().rev(), "teardown");
        Parts {
            setup,
            steps: steps.map(|(steps, _)| steps),
            teardown,
        }
    }

    /// Judges the faults of a mutant, which has nothing else.
    fn faults_of(&self, mutant: Table<'_>) {
        for text in mutant.texts("faults") {
            if let Err(why) = Fault::parse(&text.value) {
                let what = why.to_string();
                let help = "write `{ faults = [\"loss=1%\"] }`";
                self.document
                    .error(codes::BAD_MUTANT, text.span, what, "", help);
            }
        }
        mutant.finish();
    }

    /// What this scenario has to catch: devices, each a table that is laid over the device's `der` or its faults, and
    /// controllers, by the name of what is wrong with them.
    fn mutants(&self, root: &Table<'_>) -> Vec<Mutant> {
        let Some(table) = self.optional(root, "mutants") else {
            return Vec::new();
        };
        let mut mutants = Vec::new();
        for device in table.keys() {
            for der in table.tables(&device.value) {
                let span = der.span();
                if device.value == CONTROLLER {
                    let defect = self.word(&der, "defect", Defect::ALL);
                    der.finish();
                    mutants.extend(defect.map(Mutant::Controller));
                    continue;
                }
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
                // Faults are the emulator's, whatever the device is; all else is a DER's.
                let faulty = der.has("faults");
                if faulty {
                    self.faults_of(der);
                }
                mutants.push(Mutant::Device {
                    device: device.value.clone(),
                    part: (!faulty).then_some("der"),
                    over: self.document.source().text[span].to_owned(),
                });
            }
        }
        let runs = self.combinations.saturating_mul(mutants.len() + 1);
        if runs > RUNS_MAX {
            self.document.error(
                codes::BAD_MATRIX,
                root.span_of("mutants"),
                format!(
                    "matrix and mutants together make {runs} runs, and {RUNS_MAX} are the most"
                ),
                "each in every combination",
                "give the mutants a file with a smaller matrix",
            );
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

    /// What stands under `setup` or `teardown` of these files; one that does not have it has none.
    fn phases<'f>(
        &mut self,
        files: impl Iterator<Item = &'f File<'d>>,
        key: &str,
    ) -> Option<Vec<Phase>>
    where
        'd: 'f,
    {
        let mut phases = Some(Vec::new());
        for (document, root) in files.filter(|(_, root)| root.has(key)) {
            self.document = document;
            let phase = self.phase(root, key);
            phases = phases.zip(phase).map(|(mut phases, phase)| {
                phases.push(phase);
                phases
            });
        }
        self.document = self.own;
        phases
    }

    fn phase(&mut self, root: &Table<'_>, key: &str) -> Option<Phase> {
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
        Some(Phase {
            steps: steps?.0,
            within: within?,
        })
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
            match self.names.get(name) {
                Some(value) => filled.push_str(value),
                None if self.matrix_is_bad => return None,
                None => {
                    let known: Vec<&str> = self.names.keys().map(String::as_str).collect();
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
