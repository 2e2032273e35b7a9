//! The rows of `gridrig der run`: text in, text out, one row at a time.
//!
//! Columns may stand in any order. What is missing or no number is a fault with its line and
//! column: a hole is never filled.

use std::ops::Range;

use quantities::Frequency;

use crate::model::{Der, Measured, Output, Status};
use crate::settings::Kind;
use crate::voltage::Volts;

/// First line of the output.
pub const HEADER: &str = "t_s,p_pu,q_pu,status\n";

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Stable code.
    pub code: &'static str,
    /// Bytes of the line that are wrong.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl Fault {
    fn new(code: &'static str, span: Range<usize>, message: String, help: &str) -> Self {
        Self {
            code,
            span,
            message,
            help: help.to_owned(),
        }
    }
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Time,
    Voltage,
    Phase(usize),
    Frequency,
    Available,
    Demand,
    Permit,
    Angle,
    Island,
}

const NAMES: [(&str, Column); 11] = [
    ("t_s", Column::Time),
    ("v_pu", Column::Voltage),
    ("v_a_pu", Column::Phase(0)),
    ("v_b_pu", Column::Phase(1)),
    ("v_c_pu", Column::Phase(2)),
    ("f_hz", Column::Frequency),
    ("p_avail_pu", Column::Available),
    ("p_demand_pu", Column::Demand),
    ("permit", Column::Permit),
    ("angle_deg", Column::Angle),
    ("island", Column::Island),
];

/// The columns of a file, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    order: Vec<Column>,
    phases: bool,
    kind: Kind,
}

impl Columns {
    /// Reads the first line.
    ///
    /// # Errors
    /// A name that is unknown, twice or missing; all of them.
    pub fn read(line: &str, kind: Kind) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut order = Vec::new();
        for (span, name) in cells(line) {
            match NAMES.iter().find(|(known, _)| *known == name) {
                Some((_, column)) if order.contains(column) => faults.push(Fault::new(
                    "G010",
                    span,
                    format!("column `{name}` is there twice"),
                    "take one of them away",
                )),
                Some((_, column)) => order.push(*column),
                None => {
                    let known: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
                    faults.push(Fault::new(
                        "G010",
                        span,
                        format!("unknown column `{name}`"),
                        &format!("known are {}", known.join(", ")),
                    ));
                }
            }
        }
        let phases = order.iter().any(|c| matches!(c, Column::Phase(_)));
        let mut needed = vec![Column::Time, Column::Frequency, Column::Available];
        if phases {
            needed.extend([0, 1, 2].map(Column::Phase));
        } else {
            needed.push(Column::Voltage);
        }
        if kind == Kind::Storage {
            needed.push(Column::Demand);
        }
        for (name, column) in NAMES {
            if needed.contains(&column) && !order.contains(&column) {
                faults.push(Fault::new(
                    "G010",
                    0..line.len(),
                    format!("column `{name}` is missing"),
                    "add it: what is not known is not computed with",
                ));
            }
        }
        if phases && order.contains(&Column::Voltage) {
            faults.push(Fault::new(
                "G010",
                0..line.len(),
                "the voltage is given twice: as one and by phases".into(),
                "keep `v_pu`, or `v_a_pu`, `v_b_pu` and `v_c_pu`",
            ));
        }
        if faults.is_empty() {
            Ok(Self {
                order,
                phases,
                kind,
            })
        } else {
            Err(faults)
        }
    }

    /// Reads a row: its time in seconds, where that stands, and what is measured.
    ///
    /// # Errors
    /// The first cell that is wrong.
    pub fn row(&self, line: &str) -> Result<(f64, Range<usize>, Measured), Fault> {
        let mut measured = Measured {
            v: Volts::Balanced(f64::NAN),
            f: Frequency::from_hertz(f64::NAN),
            available_pu: f64::NAN,
            demand_pu: 0.0,
            absorbable_pu: 1.0,
            permit: true,
            angle_deg: None,
            island: false,
        };
        let (mut t_s, mut t_at) = (f64::NAN, 0..0);
        let mut phases = [f64::NAN; 3];
        let mut count = 0;
        for (span, cell) in cells(line) {
            let Some(column) = self.order.get(count) else {
                count += 1;
                continue;
            };
            count += 1;
            let number = |least: f64| number(cell, &span, least);
            match column {
                Column::Time => {
                    t_s = number(f64::NEG_INFINITY)?;
                    t_at = span;
                }
                Column::Voltage => measured.v = Volts::Balanced(number(0.0)?),
                Column::Phase(n) => phases[*n] = number(0.0)?,
                Column::Frequency => {
                    measured.f = Frequency::from_hertz(number(f64::MIN_POSITIVE)?);
                }
                Column::Available => measured.available_pu = number(0.0)?,
                Column::Demand => measured.demand_pu = number(f64::NEG_INFINITY)?,
                Column::Permit => measured.permit = flag(cell, &span)?,
                Column::Angle => measured.angle_deg = Some(number(f64::NEG_INFINITY)?),
                Column::Island => measured.island = flag(cell, &span)?,
            }
        }
        if count != self.order.len() {
            return Err(Fault::new(
                "G013",
                0..line.len(),
                format!("{count} cells instead of {}", self.order.len()),
                "every row has a cell for every column",
            ));
        }
        if self.phases {
            measured.v = Volts::Phases(phases);
        }
        if self.kind == Kind::Storage {
            // The column is the sun's. A storage gives what is demanded, up to its rating.
            measured.available_pu = 1.0;
        }
        Ok((t_s, t_at, measured))
    }
}

/// The cells of a line without the blanks around them, each with its place.
fn cells(line: &str) -> impl Iterator<Item = (Range<usize>, &str)> {
    let mut at = 0;
    line.split(',').map(move |cell| {
        let start = at + (cell.len() - cell.trim_ascii_start().len());
        at += cell.len() + 1;
        let cell = cell.trim_ascii();
        (start..start + cell.len(), cell)
    })
}

fn number(cell: &str, span: &Range<usize>, least: f64) -> Result<f64, Fault> {
    match decimal(cell).map_or_else(|| cell.parse(), Ok) {
        Ok(value) if value.is_finite() && value >= least => Ok(value),
        Ok(value) if value.is_finite() => Err(Fault::new(
            "G011",
            span.clone(),
            format!("{cell} is less than this can be"),
            "voltage and available power are not negative, frequency is positive",
        )),
        _ => Err(Fault::new(
            "G011",
            span.clone(),
            if cell.is_empty() {
                "an empty cell".into()
            } else {
                format!("`{cell}` is not a finite number")
            },
            "write a number with a point, such as 0.95; a hole is not filled",
        )),
    }
}

/// A plain decimal such as `-0.9823`, exactly as the general way reads it: its digits and the power
/// of ten are both exact, so the quotient is rounded once. Everything else is left to that way.
fn decimal(cell: &str) -> Option<f64> {
    let (sign, digits) = match cell.as_bytes() {
        [b'-', rest @ ..] => (-1.0, rest),
        rest => (1.0, rest),
    };
    if digits.len() > DIGITS_EXACT || !digits.last()?.is_ascii_digit() {
        return None;
    }
    let mut whole = 0_u64;
    let mut decimals = None;
    for byte in digits {
        match byte {
            b'0'..=b'9' => {
                whole = whole * 10 + u64::from(byte - b'0');
                decimals = decimals.map(|n| n + 1);
            }
            b'.' if decimals.is_none() => decimals = Some(0),
            _ => return None,
        }
    }
    Some(sign * whole as f64 / POWERS[decimals.unwrap_or(0)])
}

/// Digits, the point among them, that a double holds exactly.
const DIGITS_EXACT: usize = 15;

/// Powers of ten for them.
const POWERS: [f64; DIGITS_EXACT] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14,
];

fn flag(cell: &str, span: &Range<usize>) -> Result<bool, Fault> {
    match cell {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(Fault::new(
            "G011",
            span.clone(),
            format!("`{cell}` is neither yes nor no"),
            "write 1 or 0, true or false",
        )),
    }
}

/// What came of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// Rows.
    pub rows: u64,
    /// Rows by status: on, entering, tripped, ceased, off.
    pub by_status: [u64; 5],
    /// How often it tripped.
    pub trips: u64,
    /// Shortest and longest step in seconds.
    pub step_s: Option<(f64, f64)>,
}

/// A device that is driven by the rows of a file.
#[derive(Clone, Debug)]
pub struct Series {
    device: Der,
    columns: Columns,
    last: Option<(f64, Status)>,
    report: Report,
}

/// Resolution of steps, in a second. Times that are written as decimals are no exact numbers: without
/// rounding their differences would differ, and each would cost an exponential.
const RESOLUTION: f64 = 1e9;

impl Series {
    /// A device before its first row.
    #[must_use]
    pub fn new(device: Der, columns: Columns) -> Self {
        Self {
            device,
            columns,
            last: None,
            report: Report::default(),
        }
    }

    /// Drives the device through a row, and writes what it gives.
    ///
    /// # Errors
    /// When the row cannot be read, or its time is not after that of the row before.
    pub fn row(&mut self, line: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
        let (t_s, t_at, measured) = self.columns.row(line)?;
        let dt_s = match self.last {
            Some((before_s, _)) if t_s <= before_s => {
                return Err(Fault::new(
                    "G012",
                    t_at,
                    format!("time goes from {before_s} to {t_s}"),
                    "every row is later than the one before",
                ));
            }
            Some((before_s, _)) => ((t_s - before_s) * RESOLUTION).round() / RESOLUTION,
            None => 0.0,
        };
        let given = self.device.step(dt_s, &measured);
        self.count(dt_s, given.status);
        self.last = Some((t_s, given.status));
        out.extend_from_slice(line.get(t_at).unwrap_or_default().as_bytes());
        write_output(&given, out);
        Ok(())
    }

    fn count(&mut self, dt_s: f64, status: Status) {
        let report = &mut self.report;
        report.rows += 1;
        let at = match status {
            Status::On => 0,
            Status::Entering => 1,
            Status::Tripped => 2,
            Status::Ceased => 3,
            Status::Off => 4,
        };
        report.by_status[at] += 1;
        if let Some((_, before)) = self.last {
            report.trips += u64::from(status == Status::Tripped && before != Status::Tripped);
            let (least, most) = report.step_s.unwrap_or((dt_s, dt_s));
            report.step_s = Some((least.min(dt_s), most.max(dt_s)));
        } else {
            report.trips += u64::from(status == Status::Tripped);
        }
    }

    /// What came of it so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.report
    }
}

fn write_output(given: &Output, out: &mut Vec<u8>) {
    out.push(b',');
    write_fixed(given.p_pu, out);
    out.push(b',');
    write_fixed(given.q_pu, out);
    out.push(b',');
    out.extend_from_slice(given.status.word().as_bytes());
    out.push(b'\n');
}

/// Decimals of powers in the output: a millionth of what any instrument resolves.
const DECIMALS: usize = 9;

/// Writes a number below a billion with a fixed number of decimals. By hand, as there are two for
/// every row and the general way takes longer than the model.
fn write_fixed(value: f64, out: &mut Vec<u8>) {
    let whole = (value * POWERS[DECIMALS]).round() as i64;
    if whole < 0 {
        out.push(b'-');
    }
    let mut rest = whole.unsigned_abs();
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while rest > 0 || digits.len() - at <= DECIMALS {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let point = digits.len() - DECIMALS;
    out.extend_from_slice(&digits[at..point]);
    out.push(b'.');
    out.extend_from_slice(&digits[point..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(line: &str, kind: Kind) -> Result<Columns, Vec<String>> {
        Columns::read(line, kind).map_err(|faults| {
            let tell = |f: Fault| format!("{} {:?} {}", f.code, f.span, f.message);
            faults.into_iter().map(tell).collect()
        })
    }

    #[test]
    fn the_first_line_names_what_is_known_and_all_that_is_wrong_with_it_is_told() {
        assert!(header("t_s,v_pu,f_hz,p_avail_pu", Kind::Pv).is_ok());
        assert!(header("t_s, f_hz, p_avail_pu, v_a_pu, v_b_pu, v_c_pu", Kind::Pv).is_ok());
        let rows: [(&str, Kind, &[&str]); 4] = [
            (
                "t_s,v_pu,f_hz,p_avail_pu",
                Kind::Storage,
                &["G010 0..24 column `p_demand_pu` is missing"],
            ),
            (
                "t_s,volt,f_hz,f_hz",
                Kind::Pv,
                &[
                    "G010 4..8 unknown column `volt`",
                    "G010 14..18 column `f_hz` is there twice",
                    "G010 0..18 column `v_pu` is missing",
                    "G010 0..18 column `p_avail_pu` is missing",
                ],
            ),
            (
                "t_s,v_pu,v_a_pu,v_b_pu,v_c_pu,f_hz,p_avail_pu",
                Kind::Pv,
                &["G010 0..45 the voltage is given twice: as one and by phases"],
            ),
            (
                "t_s,v_a_pu,f_hz,p_avail_pu",
                Kind::Pv,
                &[
                    "G010 0..26 column `v_b_pu` is missing",
                    "G010 0..26 column `v_c_pu` is missing",
                ],
            ),
        ];
        for (line, kind, expected) in rows {
            assert_eq!(
                header(line, kind),
                Err(expected.iter().map(|s| (*s).into()).collect())
            );
        }
    }

    #[test]
    fn a_cell_that_cannot_be_read_is_told_with_its_place() {
        let columns = header("t_s,v_pu,f_hz,p_avail_pu,permit", Kind::Pv).expect("a header");
        let rows = [
            ("0,1,60,1,1", None),
            (" 0.05 ,1.0,60.0, 0.5 ,true", None),
            ("0,NaN,60,1,1", Some(("G011", 2..5))),
            ("0,,60,1,1", Some(("G011", 2..2))),
            ("0,-1,60,1,1", Some(("G011", 2..4))),
            ("0,1,0,1,1", Some(("G011", 4..5))),
            ("0,1,60,1,2", Some(("G011", 9..10))),
            ("0,1,60,1", Some(("G013", 0..8))),
            ("0,1,60,1,1,1", Some(("G013", 0..12))),
            ("", Some(("G011", 0..0))),
        ];
        for (line, expected) in rows {
            let found = columns.row(line).err().map(|f| (f.code, f.span));
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn time_goes_forward_and_the_report_counts() {
        let file = document::Source::new("s.toml", "");
        let (settings, _) = crate::settings::read(file).expect("settings");
        let columns = header("t_s,v_pu,f_hz,p_avail_pu", Kind::Pv).expect("a header");
        let mut series = Series::new(Der::new(settings), columns);
        let mut out = Vec::new();
        for (line, code) in [
            ("10,1,60,1", None),
            ("10,1,60,1", Some("G012")),
            ("9,1,60,1", Some("G012")),
            ("10.5,1.21,60,1", None),
            ("10.6,1.21,60,1", None),
        ] {
            let found = series.row(line, &mut out).err().map(|fault| fault.code);
            assert_eq!(found, code, "{line}");
        }
        let report = series.report();
        assert_eq!((report.rows, report.trips), (3, 1));
        assert_eq!(report.by_status, [1, 0, 2, 0, 0]);
        assert_eq!(report.step_s, Some((0.1, 0.5)));
    }

    #[test]
    fn a_plain_decimal_is_read_as_the_general_way_reads_it() {
        for cell in [
            "0",
            "1",
            "-1",
            "0.05",
            "59.964",
            "0.1",
            "-0.0733333",
            "1.",
            ".5",
            "123456789.12345",
            "9007199254740993",
            "1e3",
            "+1",
            "",
            "-",
            "1.2.3",
            "NaN",
            "0.30000000000000004",
        ] {
            let general = cell.parse::<f64>().ok().map(f64::to_bits);
            if let Some(found) = decimal(cell) {
                assert_eq!(Some(found.to_bits()), general, "{cell}");
            }
        }
        assert_eq!(decimal("59.964"), Some(59.964));
        assert_eq!(decimal("1.2.3"), None);
    }

    #[test]
    fn numbers_are_written_with_nine_decimals_and_no_negative_zero() {
        for (value, expected) in [
            (0.0, "0.000000000"),
            (-1e-12, "0.000000000"),
            (0.44, "0.440000000"),
            (-0.0733333333, "-0.073333333"),
            (1.0, "1.000000000"),
            (-12.5, "-12.500000000"),
        ] {
            let mut out = Vec::new();
            write_fixed(value, &mut out);
            assert_eq!(String::from_utf8(out).expect("digits"), expected);
        }
    }
}
