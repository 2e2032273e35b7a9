//! A recorded course: values of several signals over time, from CSV with units in the header.
//!
//! ```csv
//! # A comment; the first column is the time, the others are signals of the bench.
//! t [min], load1.p [-kW], pv1.available [kW], grid.f [Hz]
//! 0,       0.8,           2.4,                50
//! 15,      1.1,           2.2,                49.98
//! ```
//!
//! A value holds until the next row, the last one for ever: published profiles are means of
//! quarters of an hour, and nobody knows what was in between. The sign is the house's own, power
//! into the bus is positive; a unit with a minus (`[-kW]`) turns a published consumption round.
//!
//! Nothing is guessed: a column without unit, a unit of another quantity, a hole, a value that is
//! no number and a time that does not rise are faults with line and column. It is not responsible
//! for who carries the values out (see [`crate::bench`] for inputs of the plant, and the scripts of
//! scenarios for everything else).

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use document::{Actor, Diagnostic, Place, Severity, Source};
use quantities::{
    ActivePower, Frequency, Quantity, ReactivePower, StateOfCharge, Voltage, parse_quantity,
};

/// Faults of one file that are told. Chosen: a screenful; a wrong column has one in every row.
const FAULTS_MAX: usize = 20;

/// What the codes of a course mean, for `gridrig explain`.
pub const EXPLANATIONS: &[(&str, &str)] = &[
    (
        "E103",
        "The header of a recorded course is not understood. The first column is the time, as `t [s]`, `t [min]` or `t [h]`; each other is a signal of the bench with its unit, such as `load1.p [kW]` or `grid.f [Hz]`, once.",
    ),
    (
        "E104",
        "The unit of a column does not fit its signal, or there is none. Power is in W, kW or MW, reactive power in var or kvar, voltage in V, frequency in Hz, a switch in 1, the signal of a service in % or 1. A minus before it (`[-kW]`) turns the sign round, for a published consumption.",
    ),
    (
        "E105",
        "The times of a recorded course rise from row to row and do not begin before 0. Sort the rows, and take out those that stand twice, as on the night when the clocks go back.",
    ),
    (
        "E106",
        "A value is no finite number. A decimal comma, `NaN` and a text are refused: nobody knows what the bench should do then. Fill it in or take the row out; the value before it holds on.",
    ),
    (
        "E107",
        "A row has a hole, or more or fewer values than the header has columns. No value is invented for it: fill it in, or take the row out.",
    ),
];

/// A column: a signal in its base unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// The signal, such as `load1.p`.
    pub signal: String,
    /// Where its name stands in the header.
    pub span: Range<usize>,
}

/// A row: from when on, and one value for each column, in base units.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    from: Duration,
    values: Vec<f64>,
}

/// Values of signals over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    columns: Vec<Column>,
    rows: Vec<Row>,
}

impl Course {
    /// Reads a course.
    ///
    /// # Errors
    /// The faults of the text, each with its place; the first ones of very many.
    pub fn parse(source: &Arc<Source>) -> Result<Self, Vec<Diagnostic>> {
        let mut reader = Reader {
            source,
            faults: Vec::new(),
        };
        let course = reader.course();
        match course {
            Some(course) if reader.faults.is_empty() => Ok(course),
            _ => Err(reader.faults),
        }
    }

    /// The columns in the order of the file.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// What holds at a time after the beginning; `None` before the first row.
    pub fn at(&self, time: Duration) -> Option<impl Iterator<Item = (&str, f64)>> {
        let after = self.rows.partition_point(|row| row.from <= time);
        let row = self.rows.get(after.checked_sub(1)?)?;
        let signals = self.columns.iter().map(|column| column.signal.as_str());
        Some(signals.zip(row.values.iter().copied()))
    }

    /// The row that holds at a time, counted from 0.
    #[must_use]
    pub fn row(&self, time: Duration) -> Option<usize> {
        let after = self.rows.partition_point(|row| row.from <= time);
        after.checked_sub(1)
    }

    /// From when on its last row holds.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.rows.last().map_or(Duration::ZERO, |row| row.from)
    }
}

/// Factor of a unit to the base unit of a signal; `None` when it is no unit of it.
fn factor(signal: &str, unit: &str) -> Option<f64> {
    fn of<Q: Quantity>(unit: &str) -> Option<f64> {
        parse_quantity::<Q>(&format!("1{unit}"))
            .ok()
            .map(Quantity::base)
    }
    let (sign, unit) = match unit.strip_prefix('-') {
        Some(unit) => (-1.0, unit.trim()),
        None => (1.0, unit),
    };
    let factor = match signal.rsplit('.').next()? {
        "p" | "available" | "baseline" => of::<ActivePower>(unit),
        "signal" => of::<StateOfCharge>(unit).or((unit == "1").then_some(1.0)),
        "q" => of::<ReactivePower>(unit),
        "v" => of::<Voltage>(unit),
        "f" => of::<Frequency>(unit),
        "on" | "live" => (unit == "1").then_some(1.0),
        _ => None,
    };
    factor.map(|factor| factor * sign)
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    faults: Vec<Diagnostic>,
}

/// A piece of a line without the blanks around it.
struct Cell<'a> {
    text: &'a str,
    span: Range<usize>,
}

fn cells(line: &str, start: usize) -> Vec<Cell<'_>> {
    let mut at = start;
    line.split(',')
        .map(|raw| {
            let begin = at + (raw.len() - raw.trim_start().len());
            at += raw.len() + 1;
            let text = raw.trim();
            Cell {
                text,
                span: begin..begin + text.len(),
            }
        })
        .collect()
}

impl Reader<'_> {
    fn fault(&mut self, code: &'static str, span: &Range<usize>, message: String, help: &str) {
        if self.faults.len() >= FAULTS_MAX {
            return;
        }
        self.faults.push(Diagnostic {
            code,
            severity: Severity::Error,
            actor: Actor::Author,
            message,
            place: Some(Place {
                source: Arc::clone(self.source),
                span: span.clone(),
            }),
            label: String::new(),
            help: Some(help.to_owned()),
        });
    }

    fn course(&mut self) -> Option<Course> {
        let source = Arc::clone(self.source);
        let mut start = 0;
        let mut lines = source.text.split('\n').filter_map(|line| {
            let begin = start;
            start += line.len() + 1;
            let text = line.trim_end_matches('\r');
            let blank = text.trim().is_empty() || text.trim_start().starts_with('#');
            (!blank).then_some((text, begin))
        });
        let Some((header, begin)) = lines.next() else {
            let help = "begin it with `t [s], load1.p [kW]`";
            self.fault("E103", &(0..0), "the course is empty".to_owned(), help);
            return None;
        };
        let head = cells(header, begin);
        let (seconds, columns) = self.header(&head)?;
        let mut rows: Vec<Row> = Vec::new();
        for (line, begin) in lines {
            let cells = cells(line, begin);
            if let Some(row) = self.row(&cells, seconds, &columns, rows.last()) {
                rows.push(row);
            }
        }
        if rows.is_empty() && self.faults.is_empty() {
            let end = source.text.len();
            let help = "give at least one row";
            self.fault(
                "E107",
                &(end..end),
                "the course has no row".to_owned(),
                help,
            );
        }
        let columns = columns.into_iter().map(|(column, _)| column).collect();
        Some(Course { columns, rows })
    }

    /// Seconds in a unit of time, and the columns with their factors.
    fn header(&mut self, head: &[Cell<'_>]) -> Option<(f64, Vec<(Column, f64)>)> {
        let (time, signals) = head.split_first()?;
        let seconds = match named(time.text) {
            Some(("t", "s")) => Some(1.0),
            Some(("t", "min")) => Some(60.0),
            Some(("t", "h")) => Some(3600.0),
            _ => None,
        };
        if seconds.is_none() || signals.is_empty() {
            let what = format!("`{}` does not begin a header", time.text);
            let help = "begin the first line with the time, then signals: `t [s], load1.p [kW]`";
            self.fault("E103", &time.span, what, help);
        }
        let mut columns: Vec<(Column, f64)> = Vec::new();
        for cell in signals {
            let (signal, unit) = named(cell.text).unwrap_or((cell.text, ""));
            let span = cell.span.clone();
            if !signal.contains('.') || columns.iter().any(|(c, _)| c.signal == signal) {
                let what = format!("`{signal}` is no signal, or stands here twice");
                self.fault(
                    "E103",
                    &span,
                    what,
                    "name each once, such as `load1.p [kW]`",
                );
                continue;
            }
            let Some(factor) = factor(signal, unit) else {
                let what = match unit {
                    "" => format!("`{signal}` has no unit"),
                    unit => format!("`{unit}` is no unit of `{signal}`"),
                };
                self.fault(
                    "E104",
                    &span,
                    what,
                    "write it behind the name: `load1.p [kW]`",
                );
                continue;
            };
            let signal = signal.to_owned();
            columns.push((Column { signal, span }, factor));
        }
        (self.faults.is_empty()).then_some((seconds?, columns))
    }

    fn row(
        &mut self,
        cells: &[Cell<'_>],
        seconds: f64,
        columns: &[(Column, f64)],
        before: Option<&Row>,
    ) -> Option<Row> {
        let whole = cells.first()?.span.start..cells.last()?.span.end;
        if cells.len() != columns.len() + 1 {
            let what = format!(
                "{} values, and the header has {} columns",
                cells.len(),
                columns.len() + 1
            );
            self.fault("E107", &whole, what, "give one value for each column");
            return None;
        }
        let numbers: Vec<Option<f64>> = cells.iter().map(|cell| self.number(cell)).collect();
        let numbers: Vec<f64> = numbers.into_iter().collect::<Option<_>>()?;
        let (time, values) = numbers.split_first()?;
        let span = &cells.first()?.span;
        let Ok(from) = Duration::try_from_secs_f64(time * seconds) else {
            let help = "the course begins at 0 or later";
            self.fault("E105", span, format!("{time} is no time of a course"), help);
            return None;
        };
        if before.is_some_and(|before| before.from >= from) {
            let help = "sort the rows by time, and give each time once";
            let what = format!("the time does not rise to {time}");
            self.fault("E105", span, what, help);
            return None;
        }
        let factors = columns.iter().map(|(_, factor)| factor);
        let values = values.iter().zip(factors).map(|(v, f)| v * f).collect();
        Some(Row { from, values })
    }

    fn number(&mut self, cell: &Cell<'_>) -> Option<f64> {
        if cell.text.is_empty() {
            let help = "fill it in, or take the row out: no value is invented";
            self.fault("E107", &cell.span, "there is a hole".to_owned(), help);
            return None;
        }
        match cell.text.parse::<f64>() {
            Ok(value) if value.is_finite() => Some(value),
            _ => {
                let what = format!("`{}` is no finite number", cell.text);
                self.fault("E106", &cell.span, what, "write it like `-1.25`");
                None
            }
        }
    }
}

/// Name and unit of `load1.p [kW]`.
fn named(text: &str) -> Option<(&str, &str)> {
    let (name, unit) = text.strip_suffix(']')?.split_once('[')?;
    Some((name.trim(), unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Course, Vec<Diagnostic>> {
        Course::parse(&Source::new("c.csv", text))
    }

    #[test]
    fn a_value_holds_until_the_next_row_in_the_base_unit_and_the_houses_sign() {
        let text = "# a day\n t [min], load1.p [-kW] ,grid.f[Hz],plug1.on [1]\r\n\n1,0.8,50,1\n2.5,-1.1,49.9,0\n";
        let course = parse(text).expect("it is one");
        let at = |s: f64| -> Option<Vec<(String, f64)>> {
            let row = course.at(Duration::from_secs_f64(s))?;
            Some(row.map(|(name, v)| (name.to_owned(), v)).collect())
        };
        let row = |p: f64, f: f64, on: f64| {
            let names = ["load1.p", "grid.f", "plug1.on"].map(str::to_owned);
            Some(names.into_iter().zip([p, f, on]).collect::<Vec<_>>())
        };
        assert_eq!(at(59.9), None);
        assert_eq!(at(60.0), row(-800.0, 50.0, 1.0));
        assert_eq!(at(149.9), row(-800.0, 50.0, 1.0));
        assert_eq!(at(150.0), row(1100.0, 49.9, 0.0));
        assert_eq!(at(1e6), row(1100.0, 49.9, 0.0));
        assert_eq!(course.length(), Duration::from_secs(150));
    }

    #[test]
    fn what_is_not_understood_is_told_with_its_line_and_column() {
        let rows: [(&str, &[&str]); 12] = [
            ("", &["E103 1:1"]),
            ("time,load1.p [kW]\n0,1\n", &["E103 1:1"]),
            ("t [s]\n0\n", &["E103 1:1"]),
            ("t [s], load1.p [kW], load1.p [W]\n0,1,1\n", &["E103 1:22"]),
            (
                "t [s], load1.p, grid.f [V]\n0,1,1\n",
                &["E104 1:8", "E104 1:17"],
            ),
            ("t [s], load1.p [parsec]\n0,1\n", &["E104 1:8"]),
            ("t [s], load1.p [kW]\n", &["E107 2:1"]),
            (
                "t [s], load1.p [kW]\n0,1\n0,2\n-1,2\n",
                &["E105 3:1", "E105 4:1"],
            ),
            (
                "t [s], load1.p [kW]\n0,NaN\n1,inf\n2,1e999\n",
                &["E106 2:3", "E106 3:3", "E106 4:3"],
            ),
            (
                "t [s], load1.p [kW]\n0,\n1,2,3\n2\n",
                &["E107 2:3", "E107 3:1", "E107 4:1"],
            ),
            ("t [s], load1.p [kW]\n0,1,5\n", &["E107 2:1"]),
            ("t [h], load1.p [kW]\n1e300,1\n", &["E105 2:1"]),
        ];
        for (text, expected) in rows {
            let faults = parse(text).expect_err(text);
            let told: Vec<String> = faults
                .iter()
                .map(|fault| {
                    let place = fault.place.as_ref().expect("each has a place");
                    let (line, column) = place.line_and_column();
                    format!("{} {line}:{column}", fault.code)
                })
                .collect();
            assert_eq!(told, expected, "{text}");
        }
    }

    #[test]
    fn very_many_faults_are_told_by_the_first_ones() {
        let text = format!("t [s], load1.p [kW]\n{}", "0,x\n".repeat(5000));
        assert_eq!(parse(&text).map_err(|f| f.len()), Err(FAULTS_MAX));
    }
}
