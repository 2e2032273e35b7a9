//! The matrix: all combinations of values, written as lists or as ranges.

use std::collections::{BTreeMap, BTreeSet};

use document::{Document, Table};

use crate::codes;

/// The values of one combination, by name.
pub(super) type Matrix = BTreeMap<String, String>;

/// Largest number of combinations of one file's matrix.
///
/// Chosen: more than a thousand runs of one file are a mistake before they are a test.
const COMBINATIONS_MAX: usize = 1000;

/// All combinations of the matrix; the last name varies fastest.
pub(super) fn combinations(document: &Document) -> Vec<Matrix> {
    let root = document.root();
    let mut all = vec![Matrix::new()];
    if !root.has("matrix") {
        return all;
    }
    let Some(table) = root.table("matrix") else {
        return all;
    };
    for key in table.keys() {
        let refuse = |message: String, label: &str, help: String| {
            document.error(codes::BAD_MATRIX, key.span.clone(), message, label, help);
        };
        let values = if table.is_table(&key.value) {
            let Some(range) = table.table(&key.value) else {
                continue;
            };
            match Range::read(range) {
                Ok(Some(range)) => range.values(),
                Ok(None) => continue,
                Err(why) => {
                    let message = format!("`{}`: {why}", key.value);
                    let help = "write `{ from = \"0%\", to = \"100%\", step = \"20%\" }`";
                    refuse(message, "", help.to_owned());
                    continue;
                }
            }
        } else {
            let texts = table.texts(&key.value).into_iter();
            texts.map(|text| text.value).collect()
        };
        if values.is_empty() {
            refuse(
                format!("`{}` has no values", key.value),
                "a list of texts, or a range",
                format!("write `{} = [\"20%\", \"80%\"]`", key.value),
            );
            continue;
        }
        if all.len().saturating_mul(values.len()) > COMBINATIONS_MAX {
            refuse(
                format!("the matrix has more than {COMBINATIONS_MAX} combinations"),
                "up to here",
                "split the file, or take fewer values".to_owned(),
            );
            break;
        }
        all = all
            .iter()
            .flat_map(|combination| {
                values.iter().map(|value| {
                    let mut next = combination.clone();
                    next.insert(key.value.clone(), value.clone());
                    next
                })
            })
            .collect();
    }
    all
}

/// Names that have the same value in all combinations.
pub(super) fn fixed(combinations: &[Matrix]) -> BTreeSet<String> {
    let first = combinations.first().into_iter().flatten();
    let is_fixed =
        |name: &String, value: &String| combinations.iter().all(|m| m.get(name) == Some(value));
    first
        .filter(|(name, value)| is_fixed(name, value))
        .map(|(name, _)| name.clone())
        .collect()
}

/// Values at equal distances, in whole numbers of their last decimal place so that each of them is
/// written as a person would.
struct Range {
    from: i64,
    step: i64,
    /// Steps from the first value to the last one.
    steps: i64,
    decimals: usize,
    unit: String,
}

/// Decimal places of a value. Chosen: a nanosecond of a second.
const DECIMALS_MAX: usize = 9;

impl Range {
    /// A range; `None` when a key is missing, which was told.
    fn read(table: Table<'_>) -> Result<Option<Self>, String> {
        let text = |key, example| match table.has(key) {
            true => table.text(key).map(|text| text.value),
            false => table.missing(key, example),
        };
        let from = text("from", "\"0%\"");
        let to = text("to", "\"100%\"");
        let step = text("step", "\"20%\"");
        table.finish();
        let (Some(from), Some(to), Some(step)) = (from, to, step) else {
            return Ok(None);
        };
        let numbers = [
            Number::read(&from)?,
            Number::read(&to)?,
            Number::read(&step)?,
        ];
        let decimals = numbers.iter().map(|n| n.decimals).max().unwrap_or(0);
        let unit = numbers[0].unit.to_owned();
        if numbers.iter().any(|n| n.unit != unit) {
            return Err(format!("{from}, {to} and {step} have different units"));
        }
        let [first, last, step_by] = numbers.map(|n| n.scaled(decimals));
        let too_large = || format!("{from}, {to} and {step} are too large to be counted with");
        let (first, last, by) = (
            first.ok_or_else(too_large)?,
            last.ok_or_else(too_large)?,
            step_by.ok_or_else(too_large)?,
        );
        let distance = last.checked_sub(first).ok_or_else(too_large)?;
        if by == 0 || distance.signum() * by.signum() < 0 {
            return Err(format!("steps of {step} never lead from {from} to {to}"));
        }
        if distance % by != 0 {
            return Err(format!("steps of {step} from {from} miss {to}"));
        }
        Ok(Some(Self {
            from: first,
            step: by,
            steps: distance / by,
            decimals,
            unit,
        }))
    }

    /// The values; of a range that is too long only so many that this is seen.
    fn values(&self) -> Vec<String> {
        let most = i64::try_from(COMBINATIONS_MAX).unwrap_or(i64::MAX);
        let numbers = (0..=self.steps.min(most)).map(|i| self.from + i * self.step);
        numbers.map(|number| self.written(number)).collect()
    }

    fn written(&self, number: i64) -> String {
        let sign = if number < 0 { "-" } else { "" };
        let digits = format!(
            "{:0>width$}",
            number.unsigned_abs(),
            width = self.decimals + 1
        );
        let (whole, part) = digits.split_at(digits.len() - self.decimals);
        let part = part.trim_end_matches('0');
        let point = if part.is_empty() { "" } else { "." };
        format!("{sign}{whole}{point}{part}{}", self.unit)
    }
}

/// A number as written, with its unit.
struct Number<'t> {
    digits: i64,
    decimals: usize,
    unit: &'t str,
}

impl<'t> Number<'t> {
    fn read(text: &'t str) -> Result<Self, String> {
        let text = text.trim();
        let is_part = |c: char| c.is_ascii_digit() || matches!(c, '.' | '+' | '-');
        let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let refuse = || format!("`{text}` is no number with a unit");
        let is_number = part.chars().all(|c| c.is_ascii_digit())
            && whole
                .chars()
                .chain(part.chars())
                .any(|c| c.is_ascii_digit());
        if !is_number || part.len() > DECIMALS_MAX {
            return Err(refuse());
        }
        Ok(Self {
            digits: format!("{whole}{part}").parse().map_err(|_| refuse())?,
            decimals: part.len(),
            unit: unit.trim(),
        })
    }

    /// The number in units of its last decimal place of so many.
    fn scaled(&self, decimals: usize) -> Option<i64> {
        let places = u32::try_from(decimals - self.decimals).ok()?;
        self.digits.checked_mul(10_i64.checked_pow(places)?)
    }
}

#[cfg(test)]
mod tests {
    use document::Source;

    use super::*;

    /// The values of a matrix with one range, or what is wrong with it.
    fn check(from: &str, to: &str, step: &str, expected: Result<&[&str], &str>) {
        let range = format!("{{ from = \"{from}\", to = \"{to}\", step = \"{step}\" }}");
        let source = Source::new("s.toml", format!("matrix = {{ a = {range} }}"));
        let document = Document::parse(source).expect("it is TOML");
        let all = combinations(&document);
        let faults = document.into_faults();
        match expected {
            Ok(expected) => {
                let values: Vec<&String> = all.iter().filter_map(|m| m.get("a")).collect();
                assert_eq!(values, expected, "{range}: {faults:?}");
                assert!(faults.is_empty(), "{range}: {faults:?}");
            }
            Err(words) => {
                let told = faults.iter().map(ToString::to_string).collect::<Vec<_>>();
                let is_told = told.len() == 1 && told[0].contains("[S011]");
                assert!(is_told && told[0].contains(words), "{range}: {told:?}");
                assert!(told[0].contains("s.toml:1:12"), "{told:?}");
            }
        }
    }

    #[test]
    fn a_range_is_written_out_as_a_person_would() {
        check(
            "0%",
            "100%",
            "20%",
            Ok(&["0%", "20%", "40%", "60%", "80%", "100%"]),
        );
        check("0.9", "1.1", "0.1", Ok(&["0.9", "1", "1.1"]));
        check("-1kW", "1 kW", "1kW", Ok(&["-1kW", "0kW", "1kW"]));
        check(
            "50.05Hz",
            "49.95Hz",
            "-0.05Hz",
            Ok(&["50.05Hz", "50Hz", "49.95Hz"]),
        );
        check("-.5V", "0V", ".25V", Ok(&["-0.5V", "-0.25V", "0V"]));
        check("3s", "3s", "1s", Ok(&["3s"]));
    }

    #[test]
    fn a_range_that_does_not_end_where_it_says_is_refused() {
        check("0%", "100%", "30%", Err("steps of 30% from 0% miss 100%"));
        check("0%", "100%", "-20%", Err("never lead"));
        check("0%", "100%", "0%", Err("never lead"));
        check("0%", "1kW", "20%", Err("different units"));
        check("a", "1kW", "1kW", Err("`a` is no number"));
        check("1.2.3", "5", "1", Err("no number"));
        check("1-2", "5", "1", Err("no number"));
        check("0V", "9999999999999999999V", "1V", Err("no number"));
        check("0s", "5000s", "1s", Err("more than 1000 combinations"));
    }
}
