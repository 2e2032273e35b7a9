//! Defaults and ranges of adjustment as data, with the source of each.
//!
//! The data is `defaults.toml` beside this file. A number of a category wins over one of its section.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use document::{Actor, Diagnostic, Document, Source};

/// The data.
const TEXT: &str = include_str!("defaults.toml");

/// A setting as the data has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// What holds when nobody says otherwise.
    pub default: f64,
    /// What may be asked for.
    pub range: RangeInclusive<f64>,
    /// Where both were read.
    pub source: String,
}

/// All defaults.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// Nominal frequency of the absolute frequencies, in hertz.
    pub f_nom_hz: f64,
    settings: BTreeMap<String, Setting>,
    curves: BTreeMap<String, Vec<(f64, f64)>>,
}

impl Defaults {
    /// Reads the data.
    ///
    /// # Errors
    /// When the data itself is wrong, which a test of this crate rules out.
    pub fn load() -> Result<Self, Vec<Diagnostic>> {
        let document =
            Document::parse(Source::new("defaults.toml", TEXT)).map_err(|fault| vec![*fault])?;
        let mut found = Self::default();
        let root = document.root();
        found.f_nom_hz = root.number("f_nom_hz").map_or(f64::NAN, |f| f.value);
        let sources: BTreeMap<String, String> = root
            .table("source")
            .map(|table| {
                let text = |key: String| Some((key.clone(), table.text(&key)?.value));
                table
                    .keys()
                    .into_iter()
                    .filter_map(|key| text(key.value))
                    .collect()
            })
            .unwrap_or_default();
        for section in root.keys() {
            if let Some(table) = (!["f_nom_hz", "source"].contains(&section.value.as_str()))
                .then(|| root.table(&section.value))
                .flatten()
            {
                found.section(&section.value, &table, &sources);
            }
        }
        if document.has_errors() {
            return Err(document.into_faults());
        }
        Ok(found)
    }

    fn section(
        &mut self,
        path: &str,
        table: &document::Table<'_>,
        sources: &BTreeMap<String, String>,
    ) {
        for key in table.keys() {
            let Some(entry) = table.table(&key.value) else {
                continue;
            };
            let path = format!("{path}.{}", key.value);
            if entry.has("default") {
                let default = entry.number("default");
                let range: Vec<f64> = entry.numbers("range").iter().map(|n| n.value).collect();
                let source = source_of(&entry, sources);
                let (Some(default), [low, high], Some(source)) = (default, &range[..], source)
                else {
                    entry.missing::<()>("range", "[0.0, 1.0]");
                    continue;
                };
                let setting = Setting {
                    default: default.value,
                    range: *low..=*high,
                    source,
                };
                self.settings.insert(path, setting);
                entry.finish();
            } else if entry.has("points") {
                let points = entry.pairs("points").iter().map(|p| p.value).collect();
                source_of(&entry, sources);
                self.curves.insert(path, points);
                entry.finish();
            } else {
                self.section(&path, &entry, sources);
            }
        }
    }

    /// A setting of a section, for the first of the categories that has one of its own.
    ///
    /// # Errors
    /// When the data has no such setting: a mistake of ours.
    pub fn setting(
        &self,
        section: &str,
        key: &str,
        categories: &[&str],
    ) -> Result<&Setting, Diagnostic> {
        in_section(&self.settings, section, key, categories)
    }

    /// The points of a curve, found in the same way.
    ///
    /// # Errors
    /// When the data has no such curve: a mistake of ours.
    pub fn curve(&self, section: &str, categories: &[&str]) -> Result<&[(f64, f64)], Diagnostic> {
        in_section(&self.curves, section, "curve", categories).map(Vec::as_slice)
    }

    /// The points of a staircase of voltage or frequency and time, found in the same way.
    ///
    /// # Errors
    /// When the data has no such staircase: a mistake of ours.
    pub fn steps(
        &self,
        section: &str,
        key: &str,
        categories: &[&str],
    ) -> Result<&[(f64, f64)], Diagnostic> {
        in_section(&self.curves, section, key, categories).map(Vec::as_slice)
    }

    /// The names of all settings of a section, of whatever category.
    pub fn keys(&self, section: &str) -> impl Iterator<Item = &str> {
        let within = format!("{section}.");
        self.settings
            .keys()
            .filter(move |path| path.starts_with(&within))
            .filter_map(|path| path.rsplit('.').next())
    }

    /// How many settings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.settings.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty()
    }
}

fn in_section<'m, T>(
    map: &'m BTreeMap<String, T>,
    section: &str,
    key: &str,
    categories: &[&str],
) -> Result<&'m T, Diagnostic> {
    categories
        .iter()
        .find_map(|category| map.get(&format!("{section}.{category}.{key}")))
        .or_else(|| map.get(&format!("{section}.{key}")))
        .ok_or_else(|| {
            let what = format!("no default of `{section}.{key}` for {categories:?}");
            Diagnostic::error("E000", Actor::Us, what)
        })
}

fn source_of(entry: &document::Table<'_>, sources: &BTreeMap<String, String>) -> Option<String> {
    let named = entry.required_text("source", "opender")?;
    let found = sources.get(&named.value).cloned();
    if found.is_none() {
        entry.document().error(
            "D006",
            named.span,
            format!("there is no source `{}`", named.value),
            "",
            "sources stand in [source]",
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_is_whole_and_each_default_lies_in_its_range() {
        let defaults = Defaults::load().expect("the data is right");
        assert!(defaults.len() > 80, "{}", defaults.len());
        for (path, setting) in &defaults.settings {
            assert!(setting.range.contains(&setting.default), "{path}");
            assert!(!setting.source.is_empty(), "{path}");
        }
    }

    #[test]
    fn a_category_has_its_own_numbers() {
        let defaults = Defaults::load().expect("the data is right");
        let check = |section, key, category, expected: f64| {
            let found = defaults.setting(section, key, &[category]).expect(key);
            assert_eq!(found.default, expected, "{section}.{key} of {category}");
        };
        check("volt_var", "olrt_s", "A", 10.0);
        check("volt_var", "olrt_s", "B", 5.0);
        check("trip", "uv1_s", "I", 2.0);
        check("trip", "uv1_s", "II", 10.0);
        check("trip", "uv1_s", "III", 21.0);
        check("trip", "ov2_pu", "III", 1.2);
        check("capability", "absorb_pu", "A", 0.25);
        assert!(defaults.setting("trip", "ov3_pu", &["I"]).is_err());
    }
}
