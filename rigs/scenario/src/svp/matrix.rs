//! The matrix of a scenario, made of the parameters of a test.
//!
//! Parameters there have no units; those whose name tells one get it, from the labels that the scripts of the
//! tests of IEEE 1547.1 give them. What stands for something else is not taken over, and said: switches of the
//! script, and what the bench is, which is the rig's to say.

use std::fmt::Write as _;

use super::test_file::{Parameter, SvpTest};

/// Units by the last part of a name. Source: the labels of the parameters in the scripts.
const UNITS: &[(&str, &[&str])] = &[
    (
        "V",
        &[
            "v_nom", "v_low", "v_high", "v_min", "v_max", "v_in_nom", "v_in_min", "v_in_max",
            "v_trip",
        ],
    ),
    (
        "W",
        &["p_rated", "p_min", "p_max", "p_rated_prime", "p_min_prime"],
    ),
    ("VA", &["s_rated"]),
    ("var", &["var_rated", "q_rated"]),
    ("Hz", &["f_nom", "f_min", "f_max"]),
    ("A", &["i_rated", "i_low", "i_max"]),
    (
        "s",
        &[
            "t_dwell",
            "t_reconnect",
            "t_settling",
            "startup_time",
            "settling_time",
            "wait_time",
            "response_time",
        ],
    ),
];

/// Ends of names that are times in seconds. Source: the same.
const TIMES: &[&str] = &["_tr", "_t_r", "_response_time", "_delay"];

/// What a script takes `All` for. Source: the scripts for volt-var, volt-watt and frequency-watt.
const ALL: &[(&str, &[&str])] = &[
    ("irr", &["100%", "66%", "20%"]),
    ("power_lvl", &["100%", "66%", "20%"]),
    ("vref", &["100%", "95%", "105%"]),
];

/// Groups of parameters that say what the bench is and how it is reached.
const BENCH: &[&str] = &[
    "batt",
    "battsim",
    "comm",
    "das",
    "dcsim",
    "der",
    "der1547",
    "genset",
    "gridsim",
    "hil",
    "loadsim",
    "pvsim",
    "rlc",
    "rlc_loads",
    "switch",
    "wavegen",
];

/// What becomes of a parameter.
enum Fate {
    /// A row of the matrix: its name and values.
    Row(String, Vec<String>),
    /// One of the numbered tests of a script, which are one row together: its name and the number of this one,
    /// if it is switched on.
    Test(String, Option<String>),
    /// A switch or word of the script.
    Word,
    /// What the bench is.
    Bench,
}

/// A name that a text in braces may have.
fn key(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    name.chars().map(plain).collect()
}

/// The group of a name without its number, and its last part: `gridsim` and `mode` of `gridsim_1.mode`.
fn parts(name: &str) -> (&str, &str) {
    let group = name.split('.').next().unwrap_or_default();
    let numbered = group
        .rsplit_once('_')
        .filter(|(_, n)| n.chars().all(|c| c.is_ascii_digit()));
    let last = name.rsplit('.').next().unwrap_or_default();
    (numbered.map_or(group, |(group, _)| group), last)
}

fn unit_of(last: &str) -> Option<&'static str> {
    let named = UNITS.iter().find(|(_, names)| names.contains(&last));
    let timed = TIMES.iter().any(|end| last.ends_with(end)).then_some("s");
    named.map(|(unit, _)| *unit).or(timed)
}

/// A share such as `66%`, which needs no other unit.
fn is_share(text: &str) -> bool {
    text.strip_suffix('%')
        .is_some_and(|number| number.trim().parse::<f64>().is_ok())
}

fn fate(parameter: &Parameter) -> Fate {
    let (group, last) = parts(&parameter.name);
    if BENCH.contains(&group) || group.starts_with("das_") {
        return Fate::Bench;
    }
    let name = key(&parameter.name);
    let values = &parameter.values;
    if parameter.is_number {
        let unit = unit_of(last).unwrap_or("");
        return Fate::Row(
            name,
            values
                .iter()
                .map(|value| format!("{value}{unit}"))
                .collect(),
        );
    }
    if let Some((test, number)) = name.rsplit_once('_')
        && last.starts_with("test_")
        && number.chars().all(|c| c.is_ascii_digit())
    {
        let is_on = values.first().is_some_and(|value| value == "Enabled");
        return Fate::Test(test.to_owned(), is_on.then(|| number.to_owned()));
    }
    if values.iter().all(|value| is_share(value)) && !values.is_empty() {
        return Fate::Row(name, values.clone());
    }
    let all = ALL.iter().find(|(of, _)| *of == last);
    match all.filter(|_| values.iter().any(|value| value == "All")) {
        Some((_, texts)) => Fate::Row(name, texts.iter().map(|text| (*text).to_owned()).collect()),
        None => Fate::Word,
    }
}

/// The rows of a matrix, and what did not become one.
#[derive(Default)]
struct Sorted<'t> {
    rows: Vec<(String, Vec<String>)>,
    words: Vec<&'t Parameter>,
    bench: Vec<&'t Parameter>,
}

impl<'t> Sorted<'t> {
    fn of(test: &'t SvpTest) -> Self {
        let mut sorted = Self::default();
        for parameter in &test.parameters {
            match fate(parameter) {
                Fate::Bench => sorted.bench.push(parameter),
                Fate::Word => sorted.words.push(parameter),
                Fate::Test(name, number) => sorted.tests(name, number, parameter),
                // A value of a list is one of its own: the points of a curve belong together and are no sweep.
                Fate::Row(name, values) => match parameter.first {
                    None => sorted.rows.push((name, values)),
                    Some(first) => {
                        let numbered = (first..).zip(values);
                        let rows = numbered.map(|(n, value)| (format!("{name}_{n}"), vec![value]));
                        sorted.rows.extend(rows);
                    }
                },
            }
        }
        sorted
    }

    fn tests(&mut self, name: String, number: Option<String>, parameter: &'t Parameter) {
        let Some(number) = number else {
            return self.words.push(parameter);
        };
        match self.rows.iter_mut().find(|(known, _)| *known == name) {
            Some((_, numbers)) => {
                numbers.push(number);
                numbers.sort();
            }
            None => self.rows.push((name, vec![number])),
        }
    }
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string().trim().to_owned()
}

/// A scenario with the matrix that a test makes, and no steps and checks yet. `file` is what it was made of.
#[must_use]
pub fn scenario_text(test: &SvpTest, file: &str) -> String {
    let sorted = Sorted::of(test);
    let script = &test.script;
    let mut text = String::new();
    // Writing to a text cannot fail.
    let _ = write!(
        text,
        "\
# The parameters of a test of the SunSpec System Validation Platform, made by `gridrig migrate`. In any text of a step
# or check `{{NAME}}` stands for a value of the matrix; rows with one value show in no name. What SVP does with them
# stands in its script, so steps and checks are yours to write; tests/scenarios/ancillary has those of IEEE 1547.1.
name   = {name}
source = [{source}]
tags   = [\"svp\"]
do     = []
check  = []

[matrix]
",
        name = quoted(&test.name),
        source = quoted(&format!("SVP: {file}, script {script}")),
    );
    for (name, values) in &sorted.rows {
        let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
        let _ = writeln!(text, "{name} = [{}]", values.join(", "));
    }
    for (why, parameters) in [
        (
            "Switches and words of the script, which are no values of a matrix:",
            &sorted.words,
        ),
        ("What the bench is, which a rig says:", &sorted.bench),
    ] {
        if parameters.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n# {why}");
        for parameter in parameters {
            let values: Vec<String> = parameter.values.iter().map(|v| quoted(v)).collect();
            let _ = writeln!(text, "#   {} = {}", parameter.name, values.join(" "));
        }
    }
    text
}
