//! Layouts of reports: which headings, which columns, and where a scenario goes by its tags.
//!
//! A layout is data: a TOML file, of which three come along and any other can be given by its path. A
//! layout says after which kind of standard it is laid out; it names no clause, for nobody who made
//! those that come along has read the standards.

use std::path::Path;

use document::{Actor, Diagnostic, Document, Source, Table};

/// The layouts that come along: name, and text of the file.
const BUNDLED: &[(&str, &str)] = &[
    (
        "dispatch-transition",
        include_str!("templates/dispatch-transition.toml"),
    ),
    (
        "hil-commissioning",
        include_str!("templates/hil-commissioning.toml"),
    ),
    (
        "der-conformance",
        include_str!("templates/der-conformance.toml"),
    ),
];

/// Longest file of a layout, in bytes. Chosen: 1 MiB; headings of any report are a fraction of it.
const BYTES_MAX: u64 = 1 << 20;

/// What a table of checks shows besides name and verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// The signal that was looked at.
    Signal,
    /// The value that decided.
    Value,
    /// Its limits.
    Allowed,
    /// What its measurement leaves open.
    Uncertainty,
    /// How many measurements were looked at.
    Samples,
    /// From when to when.
    Evidence,
}

/// The columns with their names, in files and as headings.
pub const COLUMNS: &[(&str, Column)] = &[
    ("signal", Column::Signal),
    ("value", Column::Value),
    ("allowed", Column::Allowed),
    ("uncertainty", Column::Uncertainty),
    ("samples", Column::Samples),
    ("evidence", Column::Evidence),
];

/// A part of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its heading.
    pub heading: String,
    /// What it shows, in a sentence or two; may be empty.
    pub text: String,
    /// Scenarios with one of these tags stand in it, unless an earlier section has them.
    pub tags: Vec<String>,
}

/// A layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Title of the report.
    pub title: String,
    /// Standard for whose kind of tests it is laid out; may be empty.
    pub after: String,
    /// What the report shows, in a sentence or two; may be empty.
    pub text: String,
    /// What a person fills in.
    pub fill: Vec<String>,
    /// Who signs.
    pub sign: Vec<String>,
    /// Columns of the tables.
    pub columns: Vec<Column>,
    /// Parts in their order.
    pub sections: Vec<Section>,
}

impl Template {
    /// Names of the layouts that come along.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUNDLED.iter().map(|(name, _)| *name)
    }

    /// The layout of this name, or the one in the file of this path.
    ///
    /// # Errors
    /// All faults of the file, or that there is none.
    pub fn find(name: &str) -> Result<Self, Vec<Diagnostic>> {
        if let Some((name, text)) = BUNDLED.iter().find(|(known, _)| *known == name) {
            return Self::read(&format!("{name}.toml"), text);
        }
        let missing = |why: &dyn std::fmt::Display| {
            let known: Vec<&str> = Self::names().collect();
            vec![
                Diagnostic::error(
                    "C027",
                    Actor::Operator,
                    format!("there is no layout of reports `{name}`: {why}"),
                )
                .help(format!(
                    "name one of {}, or a file of your own",
                    known.join(", ")
                )),
            ]
        };
        let path = Path::new(name);
        match std::fs::metadata(path) {
            Ok(found) if found.is_file() && found.len() <= BYTES_MAX => {}
            Ok(_) => return Err(missing(&"it is no file of headings")),
            Err(e) => return Err(missing(&e)),
        }
        let text = std::fs::read_to_string(path).map_err(|e| missing(&e))?;
        Self::read(name, &text)
    }

    /// Reads a layout.
    ///
    /// # Errors
    /// All faults of the text, with their places.
    pub fn read(path: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        let document = Document::parse(Source::new(path, text)).map_err(|fault| vec![*fault])?;
        let root = document.root();
        let title = root.required_text("title", "Acceptance tests");
        let template = Self {
            title: title.map_or_else(String::new, |title| title.value),
            after: plain(&root, "after"),
            text: plain(&root, "text"),
            fill: words(&root, "fill"),
            sign: words(&root, "sign"),
            columns: columns(&document, &root),
            sections: root.tables("section").into_iter().map(section).collect(),
        };
        if template.sections.is_empty() {
            let span = root.span();
            document.error(
                "C027",
                span,
                "a layout has sections",
                "there is none",
                "add `[[section]]` with a heading and tags",
            );
        }
        root.finish();
        if document.has_errors() {
            return Err(document.into_faults());
        }
        Ok(template)
    }

    /// The section in which a scenario with these tags stands; `None` = behind all of them.
    #[must_use]
    pub fn section_of(&self, tags: &[String]) -> Option<usize> {
        let has = |section: &Section| section.tags.iter().any(|tag| tags.contains(tag));
        self.sections.iter().position(has)
    }
}

fn plain(table: &Table<'_>, key: &str) -> String {
    table.text(key).map_or_else(String::new, |text| text.value)
}

fn words(table: &Table<'_>, key: &str) -> Vec<String> {
    let words = table.texts(key);
    words.into_iter().map(|word| word.value).collect()
}

fn section(table: Table<'_>) -> Section {
    let heading = table.required_text("heading", "Trip");
    let section = Section {
        heading: heading.map_or_else(String::new, |heading| heading.value),
        text: plain(&table, "text"),
        tags: words(&table, "tags"),
    };
    table.finish();
    section
}

/// The columns of a file; all of them where it names none.
fn columns(document: &Document, root: &Table<'_>) -> Vec<Column> {
    if !root.has("columns") {
        return COLUMNS.iter().map(|(_, column)| *column).collect();
    }
    let mut found = Vec::new();
    for word in root.texts("columns") {
        match COLUMNS.iter().find(|(name, _)| *name == word.value) {
            Some((_, column)) => found.push(*column),
            None => {
                let known: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
                document.error(
                    "C027",
                    word.span,
                    format!("there is no column `{}`", word.value),
                    "not known",
                    format!("name some of {}", known.join(", ")),
                );
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_that_comes_along_reads_and_names_no_clause() {
        for name in Template::names() {
            let template = Template::find(name).expect(name);
            assert!(
                !template.after.is_empty() && template.sections.len() > 5,
                "{name}"
            );
            assert!(
                template.sections.iter().all(|s| !s.tags.is_empty()),
                "{name}"
            );
            let text = BUNDLED
                .iter()
                .find(|(known, _)| *known == name)
                .expect(name)
                .1;
            for word in ["clause", "Clause", "§", "section 5", "Annex"] {
                assert!(!text.contains(word), "{name}: {word}");
            }
        }
    }

    #[test]
    fn a_scenario_stands_in_the_first_section_that_has_one_of_its_tags() {
        let template = Template::find("dispatch-transition").expect("bundled");
        let heading = |tags: &[&str]| {
            let tags: Vec<String> = tags.iter().map(ToString::to_string).collect();
            let section = template.section_of(&tags);
            section.map(|i| template.sections[i].heading.as_str())
        };
        for (tags, expected) in [
            (
                &["islanding", "planned", "resync"][..],
                Some("Transition: planned islanding"),
            ),
            (&["islanding", "resync"], Some("Transition: reconnection")),
            (&["market"], Some("Dispatch: exchange with the utility")),
            (&["mine"], None),
            (&[], None),
        ] {
            assert_eq!(heading(tags), expected, "{tags:?}");
        }
    }

    #[test]
    fn what_is_wrong_in_a_layout_is_told_with_its_place() {
        let section = "[[section]]\nheading = \"A\"\ntags = [\"a\"]\n";
        for (text, code) in [
            (
                format!("title = \"T\"\ncolumns = [\"valu\"]\n{section}"),
                "C027",
            ),
            ("title = \"T\"\n".to_owned(), "C027"),
            (format!("title = \"T\"\nhue = \"red\"\n{section}"), "D002"),
            (format!("after = \"X\"\n{section}"), "D004"),
        ] {
            let faults = Template::read("t.toml", &text).expect_err(&text);
            let codes: Vec<&str> = faults.iter().map(|f| f.code).collect();
            assert!(codes.contains(&code), "{text}: {codes:?}");
        }
        assert_eq!(Template::find("no/such").expect_err("none")[0].code, "C027");
    }
}
