//! By how much the values of a run may differ from those of an earlier one: a file of budgets.
//!
//! ```toml
//! within = "5%"                      # every value, as a share of the earlier one
//! [[budget]]
//! scenario = "FFR"                   # part of the scenario's name; all without it
//! check    = "t90"                   # kind of the check, or part of its name; all without it
//! within   = "10%"
//! by       = "50ms"                  # or so much, where that is more
//! worse    = "up"                    # only a rise counts; `down` = only a fall; both without it
//! ```
//! Of several that fit a check the last one counts, and it counts alone.

use serde::{Deserialize, Serialize};

use document::{Diagnostic, Document, Source, Table};

/// Units in which an amount may be written, with the unit that checks show and how many of it one is.
const UNITS: &[(&str, &str, f64)] = &[
    ("s", "s", 1.0),
    ("ms", "s", 1e-3),
    ("W", "W", 1.0),
    ("kW", "W", 1e3),
    ("var", "var", 1.0),
    ("kvar", "var", 1e3),
    ("V", "V", 1.0),
    ("mV", "V", 1e-3),
    ("Hz", "Hz", 1.0),
    ("mHz", "Hz", 1e-3),
    ("Wh", "Wh", 1.0),
    ("kWh", "Wh", 1e3),
    ("%", "%", 1.0),
    ("", "", 1.0),
];

/// Which way a value gets worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Worse {
    /// Both: it shall be what it was.
    #[default]
    Both,
    /// Up: a smaller one is welcome.
    Up,
    /// Down: a greater one is welcome.
    Down,
}

/// An amount in the unit that checks show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Amount {
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: String,
}

/// By how much a value may differ: by the larger of share and amount.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Allowance {
    /// As a share of the earlier value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<f64>,
    /// As an amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Amount>,
    /// Which way it gets worse.
    #[serde(default)]
    pub worse: Worse,
}

impl Allowance {
    /// Whether a step from one value to another, both in `unit`, is more than it allows. From zero a
    /// share allows nothing.
    #[must_use]
    pub fn is_exceeded(&self, before: f64, now: f64, unit: &str) -> bool {
        let is_welcome = match self.worse {
            Worse::Both => false,
            Worse::Up => now < before,
            Worse::Down => now > before,
        };
        let share = self.within.map_or(0.0, |share| share * before.abs());
        let by = self.by.as_ref().filter(|by| by.unit == unit);
        let allowed = share.max(by.map_or(0.0, |by| by.value));
        // An allowance of exactly what was drifted is kept: it is a decimal number.
        !is_welcome && (now - before).abs() > allowed + 1e-12
    }
}

/// The allowance of some checks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Budget {
    /// Part of the scenario's name; empty = all.
    pub scenario: String,
    /// Kind of the check, or part of its name; empty = all.
    pub check: String,
    /// What is allowed.
    pub allowance: Allowance,
}

/// By how much values may differ.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Budgets {
    /// For every check, as a share of the earlier value; `None` = by anything.
    pub all: Option<f64>,
    /// For some; the last one that fits counts.
    pub named: Vec<Budget>,
}

impl Budgets {
    /// What a check of a scenario is allowed, by its name and its kind; `None` = anything.
    #[must_use]
    pub fn of(&self, scenario: &str, check: &str, kind: &str) -> Option<Allowance> {
        let fits = |budget: &&Budget| {
            let is_check = check.contains(budget.check.as_str()) || kind == budget.check;
            scenario.contains(budget.scenario.as_str()) && is_check
        };
        let named = self.named.iter().rev().find(fits);
        let all = || {
            self.all.map(|share| Allowance {
                within: Some(share),
                ..Allowance::default()
            })
        };
        named.map(|budget| budget.allowance.clone()).or_else(all)
    }

    /// Reads a file of budgets.
    ///
    /// # Errors
    /// All faults of the text, with their places.
    pub fn read(path: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        let document = Document::parse(Source::new(path, text)).map_err(|fault| vec![*fault])?;
        let root = document.root();
        let budgets = Self {
            all: share_of(&document, &root),
            named: root
                .tables("budget")
                .into_iter()
                .map(|table| budget(&document, table))
                .collect(),
        };
        if budgets == Self::default() {
            document.error(
                "C028",
                root.span(),
                "a file of budgets has budgets",
                "there is none",
                "add `within = \"5%\"`, or `[[budget]]` with check and within",
            );
        }
        root.finish();
        if document.has_errors() {
            return Err(document.into_faults());
        }
        Ok(budgets)
    }
}

/// `5%` or `0.05`.
///
/// # Errors
/// How it is written.
pub fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.strip_suffix('%') {
        Some(percent) => (percent, 100.0),
        None => (text, 1.0),
    };
    match number.trim().parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value / unit),
        _ => Err("write it like `5%`".into()),
    }
}

fn share_of(document: &Document, table: &Table<'_>) -> Option<f64> {
    let text = table.text("within")?;
    match share(&text.value) {
        Ok(share) => Some(share),
        Err(how) => {
            let message = format!("`{}` is no share", text.value);
            document.error("C028", text.span, message, "", how);
            None
        }
    }
}

fn budget(document: &Document, table: Table<'_>) -> Budget {
    const WAYS: &[(&str, Worse)] = &[
        ("up", Worse::Up),
        ("down", Worse::Down),
        ("both", Worse::Both),
    ];
    let word = |key: &str| table.text(key).map_or_else(String::new, |text| text.value);
    let budget = Budget {
        scenario: word("scenario"),
        check: word("check"),
        allowance: Allowance {
            within: share_of(document, &table),
            by: table.text("by").and_then(|text| {
                let amount = amount(&text.value);
                if amount.is_none() {
                    let message = format!("`{}` is no amount", text.value);
                    document.error(
                        "C028",
                        text.span,
                        message,
                        "",
                        "write it like `50ms` or `20W`",
                    );
                }
                amount
            }),
            worse: table
                .choice("worse", WAYS)
                .map_or(Worse::Both, |way| way.value),
        },
    };
    if !table.has("within") && !table.has("by") {
        document.error(
            "C028",
            table.span(),
            "a budget says how much is allowed",
            "this one does not",
            "add `within = \"5%\"` or `by = \"50ms\"`",
        );
    }
    table.finish();
    budget
}

fn amount(text: &str) -> Option<Amount> {
    let begin = text.find(|c: char| c.is_alphabetic() || c == '%');
    let (number, unit) = text.split_at(begin.unwrap_or(text.len()));
    let (_, shown, factor) = UNITS.iter().find(|(name, ..)| *name == unit.trim())?;
    let number: f64 = number.trim().parse().ok()?;
    (number.is_finite() && number >= 0.0).then(|| Amount {
        value: number * factor,
        unit: (*shown).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
within = "5%"
[[budget]]
check  = "t90"
within = "10%"
by     = "50ms"
worse  = "up"
[[budget]]
scenario = "FFR"
check    = "band"
by       = "20W"
[[budget]]
scenario = "FFR"
check    = "t90"
by       = "10ms"
"#;

    #[test]
    fn the_last_budget_that_fits_a_check_counts_and_alone() {
        let budgets = Budgets::read("b.toml", FILE).expect("right");
        let check = |scenario: &str, check: &str, before: f64, now: f64, unit: &str| {
            let allowance = budgets
                .of(scenario, check, "band")
                .expect("there is one for all");
            allowance.is_exceeded(before, now, unit)
        };
        let rows = [
            // scenario, check, from, to, unit, too far
            ("droop", "settle bat1.p", 2.0, 2.1, "s", false),
            ("droop", "settle bat1.p", 2.0, 2.11, "s", true),
            ("droop", "t90 bat1.p", 0.2, 0.25, "s", false),
            ("droop", "t90 bat1.p", 0.2, 0.26, "s", true),
            ("droop", "t90 bat1.p", 2.0, 2.2, "s", false),
            ("droop", "t90 bat1.p", 2.0, 0.1, "s", false),
            ("FFR step", "bat1.p", 2000.0, 1981.0, "W", false),
            ("FFR step", "bat1.p", 2000.0, 2021.0, "W", true),
            // Two fit, and the later one is the narrower.
            ("FFR step", "t90 bat1.p", 0.2, 0.209, "s", false),
            ("FFR step", "t90 bat1.p", 0.2, 0.22, "s", true),
            // An amount of another unit allows nothing.
            ("FFR step", "band bat1.f", 50.0, 50.1, "Hz", true),
        ];
        for (scenario, name, before, now, unit, too_far) in rows {
            assert_eq!(
                check(scenario, name, before, now, unit),
                too_far,
                "{name} {now}"
            );
        }
        assert_eq!(Budgets::default().of("a", "b", "c"), None);
    }

    #[test]
    fn what_is_wrong_in_a_file_of_budgets_is_told_with_its_place() {
        for (text, code) in [
            ("", "C028"),
            ("within = \"much\"", "C028"),
            ("[[budget]]\ncheck = \"t90\"\n", "C028"),
            ("[[budget]]\nby = \"5 parsec\"\n", "C028"),
            ("[[budget]]\nby = \"-5W\"\n", "C028"),
            (
                "[[budget]]\nwithin = \"5%\"\nworse = \"sideways\"\n",
                "D006",
            ),
            ("[[budget]]\nwithin = \"5%\"\nchek = \"t90\"\n", "D002"),
        ] {
            let faults = Budgets::read("b.toml", text).expect_err(text);
            let codes: Vec<&str> = faults.iter().map(|f| f.code).collect();
            assert!(codes.contains(&code), "{text}: {codes:?}");
        }
    }
}
