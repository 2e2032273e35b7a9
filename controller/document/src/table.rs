//! Tables of a TOML document, read key by key; what nobody asked for is a fault.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use quantities::{Bounds, Quantity, parse_duration, parse_quantity, parse_range};
use toml_edit::{Item, TableLike, Value};

use crate::{Actor, Diagnostic, Place, Severity, Source};

/// A value with its byte range in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Range<usize>,
}

impl<T> Spanned<T> {
    /// The same place with another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned {
            value: f(self.value),
            span: self.span,
        }
    }
}

/// A parsed document and the faults found in it so far.
pub struct Document {
    source: Arc<Source>,
    parsed: toml_edit::Document<String>,
    faults: RefCell<Vec<Diagnostic>>,
}

impl Document {
    /// Parses a TOML text.
    ///
    /// # Errors
    /// One diagnostic `D001` with the place when the text is not TOML.
    pub fn parse(source: Arc<Source>) -> Result<Self, Box<Diagnostic>> {
        match toml_edit::Document::parse(source.text.clone()) {
            Ok(parsed) => Ok(Self {
                source,
                parsed,
                faults: RefCell::new(Vec::new()),
            }),
            Err(e) => {
                let span = e.span().unwrap_or(0..0);
                let place = Place { source, span };
                Err(Box::new(
                    Diagnostic::error("D001", Actor::Author, "this is not a TOML document")
                        .at(place, e.message().to_owned()),
                ))
            }
        }
    }

    /// The table at the top.
    pub fn root(&self) -> Table<'_> {
        Table {
            document: self,
            table: self.parsed.as_table(),
            span: 0..0,
            path: String::new(),
            asked: RefCell::new(BTreeSet::new()),
        }
    }

    /// The text it was made of.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// A place in this document.
    pub fn place(&self, span: Range<usize>) -> Place {
        Place {
            source: Arc::clone(&self.source),
            span,
        }
    }

    /// Records an error of the document's author.
    pub fn error(
        &self,
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        let help = help.into();
        let mut diagnostic =
            Diagnostic::error(code, Actor::Author, message).at(self.place(span), label);
        diagnostic.help = (!help.is_empty()).then_some(help);
        self.faults.borrow_mut().push(diagnostic);
    }

    /// Records a warning for the document's author.
    pub fn warning(
        &self,
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let mut diagnostic = Diagnostic::error(code, Actor::Author, message)
            .at(self.place(span), "")
            .help(help);
        diagnostic.severity = Severity::Warning;
        self.faults.borrow_mut().push(diagnostic);
    }

    /// Records what was found wrong in another file that this one names.
    pub fn adopt(&self, faults: Vec<Diagnostic>) {
        self.faults.borrow_mut().extend(faults);
    }

    /// All faults so far, in the order of their places.
    pub fn into_faults(self) -> Vec<Diagnostic> {
        let mut faults = self.faults.into_inner();
        faults.sort_by_key(|d| d.place.as_ref().map_or(0, |p| p.span.start));
        faults
    }

    /// Whether an error (not only a warning) was found so far.
    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    /// How many errors (warnings left out) were found so far: a part of a document is right when
    /// reading it added none.
    pub fn errors(&self) -> usize {
        let faults = self.faults.borrow();
        let errors = faults.iter().filter(|d| d.severity == Severity::Error);
        errors.count()
    }
}

/// A table of a document. Ask for each key, then call [`Table::finish`].
pub struct Table<'d> {
    document: &'d Document,
    table: &'d dyn TableLike,
    span: Range<usize>,
    path: String,
    asked: RefCell<BTreeSet<String>>,
}

impl<'d> Table<'d> {
    /// The document that the table stands in.
    pub fn document(&self) -> &'d Document {
        self.document
    }

    /// Where the table stands; the whole document's table stands at its start.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Dotted path of the table, empty at the top.
    pub fn path(&self) -> &str {
        &self.path
    }

    fn item(&self, key: &str) -> Option<(&'d Item, Range<usize>)> {
        self.asked.borrow_mut().insert(key.to_owned());
        let (found_key, item) = self.table.get_key_value(key)?;
        let span = item
            .span()
            .or_else(|| found_key.span())
            .unwrap_or(self.span.clone());
        Some((item, span))
    }

    /// Whether the key is there; it counts as asked for.
    pub fn has(&self, key: &str) -> bool {
        self.item(key).is_some()
    }

    /// Where a key stands, or the table itself when it is not there.
    pub fn span_of(&self, key: &str) -> Range<usize> {
        self.item(key).map_or(self.span.clone(), |(_, span)| span)
    }

    fn wrong_kind(&self, key: &str, span: Range<usize>, found: &Item, wanted: &str) {
        self.document.error(
            "D003",
            span,
            format!("`{}` must be {wanted}", self.dotted(key)),
            format!("this is a {}", kind_name(found)),
            "",
        );
    }

    fn dotted(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Records that a key is missing; the result is always `None`.
    pub fn missing<T>(&self, key: &str, example: &str) -> Option<T> {
        self.document.error(
            "D004",
            self.span.clone(),
            format!("`{}` is missing", self.dotted(key)),
            "in this table",
            format!("add `{key} = {example}`"),
        );
        None
    }

    /// A text.
    pub fn text(&self, key: &str) -> Option<Spanned<String>> {
        let (item, span) = self.item(key)?;
        match item.as_str() {
            Some(text) => Some(Spanned {
                value: text.to_owned(),
                span,
            }),
            None => {
                self.wrong_kind(key, span, item, "a text in quotes");
                None
            }
        }
    }

    /// A text that must be there.
    pub fn required_text(&self, key: &str, example: &str) -> Option<Spanned<String>> {
        if self.has(key) {
            self.text(key)
        } else {
            self.missing(key, &format!("\"{example}\""))
        }
    }

    /// A whole number inside a range.
    pub fn integer(
        &self,
        key: &str,
        allowed: std::ops::RangeInclusive<i64>,
    ) -> Option<Spanned<i64>> {
        let (item, span) = self.item(key)?;
        let Some(value) = item.as_integer() else {
            self.wrong_kind(key, span, item, "a whole number");
            return None;
        };
        if allowed.contains(&value) {
            return Some(Spanned { value, span });
        }
        self.document.error(
            "D005",
            span,
            format!("`{}` is out of range", self.dotted(key)),
            format!("must lie in {}..={}", allowed.start(), allowed.end()),
            "",
        );
        None
    }

    /// A number, whole or not.
    pub fn number(&self, key: &str) -> Option<Spanned<f64>> {
        let (item, span) = self.item(key)?;
        let value = item
            .as_float()
            .or_else(|| item.as_integer().map(|i| i as f64));
        match value {
            Some(value) if value.is_finite() => Some(Spanned { value, span }),
            _ => {
                self.wrong_kind(key, span, item, "a finite number");
                None
            }
        }
    }

    /// True or false.
    pub fn boolean(&self, key: &str) -> Option<Spanned<bool>> {
        let (item, span) = self.item(key)?;
        match item.as_bool() {
            Some(value) => Some(Spanned { value, span }),
            None => {
                self.wrong_kind(key, span, item, "true or false");
                None
            }
        }
    }

    /// One of a set of names.
    pub fn choice<T: Copy>(&self, key: &str, names: &[(&str, T)]) -> Option<Spanned<T>> {
        let text = self.text(key)?;
        if let Some((_, value)) = names.iter().find(|(name, _)| *name == text.value) {
            return Some(Spanned {
                value: *value,
                span: text.span,
            });
        }
        let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        self.document.error(
            "D006",
            text.span,
            format!("`{}` is not a known {key}", text.value),
            "",
            suggestion(&text.value, &known)
                .unwrap_or_else(|| format!("use one of: {}", known.join(", "))),
        );
        None
    }

    fn parsed<T, E: std::fmt::Display>(
        &self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Spanned<T>> {
        let text = self.text(key)?;
        match parse(&text.value) {
            Ok(value) => Some(Spanned {
                value,
                span: text.span,
            }),
            Err(e) => {
                self.document.error(
                    "D007",
                    text.span,
                    format!("`{}` cannot be read: {e}", self.dotted(key)),
                    "",
                    "",
                );
                None
            }
        }
    }

    /// A quantity with its unit, such as `"2kW"`.
    pub fn quantity<Q: Quantity>(&self, key: &str) -> Option<Spanned<Q>> {
        self.parsed(key, parse_quantity::<Q>)
    }

    /// A range of a quantity, such as `"-2..2kW"`.
    pub fn range<Q: Quantity>(&self, key: &str) -> Option<Spanned<Bounds<Q>>> {
        self.parsed(key, parse_range::<Q>)
    }

    /// A time, such as `"150ms"`.
    pub fn duration(&self, key: &str) -> Option<Spanned<Duration>> {
        self.parsed(key, parse_duration)
    }

    /// A list of texts.
    pub fn texts(&self, key: &str) -> Vec<Spanned<String>> {
        self.list(key, "a list of texts", |value| {
            value.as_str().map(str::to_owned)
        })
    }

    /// A list of finite numbers.
    pub fn numbers(&self, key: &str) -> Vec<Spanned<f64>> {
        self.list(key, "a list of numbers", |value| {
            value
                .as_float()
                .or_else(|| value.as_integer().map(|i| i as f64))
                .filter(|n| n.is_finite())
        })
    }

    /// A list of pairs of finite numbers, such as the points of a curve.
    pub fn pairs(&self, key: &str) -> Vec<Spanned<(f64, f64)>> {
        let number = |value: &Value| {
            value
                .as_float()
                .or_else(|| value.as_integer().map(|i| i as f64))
                .filter(|n| n.is_finite())
        };
        self.list(key, "a list of pairs of numbers", |value| {
            let pair = value.as_array().filter(|pair| pair.len() == 2)?;
            Some((number(pair.get(0)?)?, number(pair.get(1)?)?))
        })
    }

    /// A list of pairs of texts, such as the points of a curve with their units.
    pub fn text_pairs(&self, key: &str) -> Vec<Spanned<[String; 2]>> {
        self.list(key, "a list of pairs of texts", |value| {
            let pair = value.as_array().filter(|pair| pair.len() == 2)?;
            let text = |index| pair.get(index).and_then(Value::as_str).map(str::to_owned);
            Some([text(0)?, text(1)?])
        })
    }

    /// A list of whole numbers.
    pub fn integers(&self, key: &str) -> Vec<Spanned<i64>> {
        self.list(key, "a list of whole numbers", Value::as_integer)
    }

    /// Whether what stands under `key` is a list, of values or of tables.
    #[must_use]
    pub fn is_list(&self, key: &str) -> bool {
        self.item(key)
            .is_some_and(|(item, _)| item.is_array() || item.is_array_of_tables())
    }

    /// Whether what stands under `key` is a table.
    #[must_use]
    pub fn is_table(&self, key: &str) -> bool {
        self.item(key).is_some_and(|(item, _)| item.is_table_like())
    }

    fn list<T>(
        &self,
        key: &str,
        wanted: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Vec<Spanned<T>> {
        let Some((item, span)) = self.item(key) else {
            return Vec::new();
        };
        let Some(array) = item.as_array() else {
            self.wrong_kind(key, span, item, wanted);
            return Vec::new();
        };
        array
            .iter()
            .filter_map(|value| {
                let at = value.span().unwrap_or(span.clone());
                let read = read(value);
                if read.is_none() {
                    self.document.error(
                        "D003",
                        at.clone(),
                        format!("`{}` must be {wanted}", self.dotted(key)),
                        "this item is not",
                        "",
                    );
                }
                read.map(|value| Spanned { value, span: at })
            })
            .collect()
    }

    /// A table below this one.
    pub fn table(&self, key: &str) -> Option<Table<'d>> {
        let (item, span) = self.item(key)?;
        match item.as_table_like() {
            Some(table) => Some(self.below(key, table, span)),
            None => {
                self.wrong_kind(key, span, item, "a table");
                None
            }
        }
    }

    /// A list of tables below this one, written `[[key]]` or `key = [{ … }]`.
    pub fn tables(&self, key: &str) -> Vec<Table<'d>> {
        let Some((item, span)) = self.item(key) else {
            return Vec::new();
        };
        if let Some(array) = item.as_array_of_tables() {
            return array
                .iter()
                .map(|t| self.below(key, t, t.span().unwrap_or(span.clone())))
                .collect();
        }
        let Some(array) = item.as_array() else {
            self.wrong_kind(key, span, item, "a list of tables");
            return Vec::new();
        };
        array
            .iter()
            .filter_map(|value| {
                let at = value.span().unwrap_or(span.clone());
                match value.as_inline_table() {
                    Some(table) => Some(self.below(key, table, at)),
                    None => {
                        self.document.error(
                            "D003",
                            at,
                            format!("`{}` must be a list of tables", self.dotted(key)),
                            "this item is not a table",
                            "",
                        );
                        None
                    }
                }
            })
            .collect()
    }

    /// All keys in writing order, each with its place; all count as asked for.
    pub fn keys(&self) -> Vec<Spanned<String>> {
        self.table
            .iter()
            .map(|(name, item)| {
                self.asked.borrow_mut().insert(name.to_owned());
                let span = self
                    .table
                    .get_key_value(name)
                    .and_then(|(k, _)| k.span())
                    .or_else(|| item.span())
                    .unwrap_or(self.span.clone());
                Spanned {
                    value: name.to_owned(),
                    span,
                }
            })
            .collect()
    }

    fn below(&self, key: &str, table: &'d dyn TableLike, span: Range<usize>) -> Table<'d> {
        Table {
            document: self.document,
            table,
            span,
            path: self.dotted(key),
            asked: RefCell::new(BTreeSet::new()),
        }
    }

    /// Ends the reading: every key that nobody asked for is a fault with a suggestion.
    pub fn finish(self) {
        let asked = self.asked.borrow();
        let known: Vec<&str> = asked.iter().map(String::as_str).collect();
        for (name, item) in self.table.iter() {
            if asked.contains(name) {
                continue;
            }
            let span = self
                .table
                .get_key_value(name)
                .and_then(|(k, _)| k.span())
                .or_else(|| item.span())
                .unwrap_or(self.span.clone());
            self.document.error(
                "D002",
                span,
                format!("unknown key `{}`", self.dotted(name)),
                "nothing reads this",
                suggestion(name, &known)
                    .unwrap_or_else(|| format!("known here: {}", known.join(", "))),
            );
        }
    }
}

fn kind_name(item: &Item) -> &'static str {
    match item {
        Item::None => "nothing",
        Item::Value(value) => value.type_name(),
        Item::Table(_) => "table",
        Item::ArrayOfTables(_) => "list of tables",
    }
}

/// The most similar known word, if one is near enough to be a slip of the pen.
fn suggestion(word: &str, known: &[&str]) -> Option<String> {
    known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(word, k), *k))
        // Chosen: a third of the letters may differ; more is another word (tried on the keys of the rig schema).
        .filter(|(distance, k)| *distance * 3 <= k.len().max(word.len()).max(3))
        .min()
        .map(|(_, k)| format!("did you mean `{k}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quantities::ActivePower;

    fn check(text: &str, read: impl FnOnce(&Table<'_>), expected: &[&str]) {
        let document = Document::parse(Source::new("rig.toml", text)).expect("TOML");
        let root = document.root();
        read(&root);
        root.finish();
        let found: Vec<String> = document
            .into_faults()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn all_faults_are_told_each_with_its_place() {
        check(
            "p = \"2V\"\nspede = 3\nport = 70000\n",
            |t| {
                t.quantity::<ActivePower>("p");
                t.integer("port", 1..=65535);
                t.text("speed");
            },
            &[
                "error[D007]: `p` cannot be read: unit `V` does not fit here (use one of: W, kW, MW) at rig.toml:1:5",
                "error[D002]: unknown key `spede` at rig.toml:2:1 (help: did you mean `speed`?)",
                "error[D005]: `port` is out of range at rig.toml:3:8",
            ],
        );
    }

    #[test]
    fn a_point_of_a_curve_is_a_pair_of_numbers() {
        check(
            "curve = [[0.92, 0.44], [1], [1, 0], [1.08, \"x\"]]\n",
            |t| {
                let points = t.pairs("curve");
                let points: Vec<_> = points.into_iter().map(|p| p.value).collect();
                assert_eq!(points, [(0.92, 0.44), (1.0, 0.0)]);
            },
            &[
                "error[D003]: `curve` must be a list of pairs of numbers at rig.toml:1:24",
                "error[D003]: `curve` must be a list of pairs of numbers at rig.toml:1:37",
            ],
        );
    }

    #[test]
    fn a_missing_key_says_what_to_add() {
        check(
            "[device]\ninv1 = { unit = 1 }\n",
            |t| {
                let device = t.table("device").expect("there");
                let inv1 = device.table("inv1").expect("there");
                inv1.integer("unit", 0..=247);
                let none = inv1.required_text("profile", "sunspec/inverter");
                assert_eq!(none, None);
                inv1.finish();
            },
            &[
                "error[D004]: `device.inv1.profile` is missing at rig.toml:2:8 (help: add `profile = \"sunspec/inverter\"`)",
            ],
        );
    }

    #[test]
    fn a_text_that_is_not_toml_has_a_place_too() {
        let Err(fault) = Document::parse(Source::new("rig.toml", "a = \n")) else {
            unreachable!("it does not parse")
        };
        assert_eq!(fault.code, "D001");
        assert!(fault.to_string().contains("rig.toml:1:"), "{fault}");
    }
}
