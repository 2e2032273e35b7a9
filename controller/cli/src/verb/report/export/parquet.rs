//! Samples as Apache Parquet: a row for each moment of a scenario, a column for each point.
//!
//! A point is told by device, point and unit, as in `ess1_ac_p_w`. What was not measured at a moment, or
//! was measured with a flaw, is null and never zero; which flaw it was stands in the column `flaws`.
//! The file is written in groups of rows, so that a long run takes no more memory than a short one.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{Type, TypePtr};

use super::{Line, Samples, cannot_write, each};
use crate::codes::usage;
use crate::problem::Problem;

/// Rows that are written together. Chosen: an hour in ten samples a second, some megabytes of memory.
const GROUP_ROWS: usize = 36_000;

/// Columns before those of the points.
const FIXED: [&str; 4] = ["scenario", "utc", "t_s", "flaws"];

/// Units in which a name cannot be written, with the words for them.
const WORDS: &[(&str, &str)] = &[("%", "percent"), ("degC", "celsius"), ("1", ""), ("", "")];

/// A sample, as it stands in a line.
struct Sample<'a> {
    utc_ns: i64,
    t_s: f64,
    device: &'a str,
    point: &'a str,
    value: Option<f64>,
    unit: &'a str,
    quality: &'a str,
}

impl<'a> Sample<'a> {
    /// Reads `utc_ns,t_s,device,point,value,unit,quality`.
    fn read(line: &'a str) -> Option<Self> {
        let fields: Vec<&str> = line.splitn(7, ',').collect();
        let [utc_ns, t_s, device, point, value, unit, quality] = fields.as_slice() else {
            return None;
        };
        Some(Self {
            utc_ns: utc_ns.parse().ok()?,
            t_s: t_s.parse().ok()?,
            device,
            point,
            value: match *value {
                "" => None,
                value => Some(value.parse().ok()?),
            },
            unit,
            quality,
        })
    }

    /// The value, where it is one.
    fn good(&self) -> Option<f64> {
        self.value
            .filter(|v| self.quality == "good" && v.is_finite())
    }
}

/// The name of a point's column: device, point, unit.
fn column_name(device: &str, point: &str, unit: &str) -> String {
    let word = WORDS.iter().find(|(known, _)| *known == unit);
    let unit = word.map_or_else(|| unit.to_lowercase(), |(_, word)| (*word).to_owned());
    let plain = |text: &str| -> String {
        let letters = text.chars();
        letters
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect()
    };
    let parts = [plain(device), plain(point), plain(&unit)];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("_")
}

/// The columns of the points: which column a device's point has, and the names in their order.
#[derive(Default)]
struct Columns {
    of: BTreeMap<(String, String), usize>,
    names: Vec<String>,
}

impl Columns {
    fn add(&mut self, sample: &Sample<'_>) {
        let key = (sample.device.to_owned(), sample.point.to_owned());
        if self.of.contains_key(&key) {
            return;
        }
        let plain = column_name(sample.device, sample.point, sample.unit);
        let is_taken = |name: &str| FIXED.contains(&name) || self.names.iter().any(|n| n == name);
        let mut name = plain.clone();
        // Two names that differ in a sign only: the later one is numbered.
        for n in 2.. {
            if !is_taken(&name) {
                break;
            }
            name = format!("{plain}_{n}");
        }
        self.of.insert(key, self.names.len());
        self.names.push(name);
    }

    fn column(&self, sample: &Sample<'_>) -> Option<usize> {
        let key = (sample.device.to_owned(), sample.point.to_owned());
        self.of.get(&key).copied()
    }
}

/// A moment of a scenario.
struct Row {
    scenario: String,
    utc_ns: i64,
    t_s: f64,
    flaws: String,
    values: Vec<Option<f64>>,
    /// Points that were told of at this moment, with a flaw or without.
    told: Vec<usize>,
}

/// Writes the file, and says what it holds.
pub(super) fn write(
    samples: &Samples,
    file: File,
    target: &Path,
) -> Result<Option<String>, Problem> {
    let mut columns = Columns::default();
    each(samples, &mut |line| {
        if let Line::Row(_, text) = line {
            columns.add(&read(text)?);
        }
        Ok(true)
    })?;
    let wrong = |e: ParquetError| cannot_write(target, &e);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by(format!("gridrig {}", env!("CARGO_PKG_VERSION")))
        .build();
    let schema = schema(&columns.names).map_err(wrong)?;
    let mut writer =
        SerializedFileWriter::new(file, schema, Arc::new(properties)).map_err(wrong)?;
    let mut rows: Vec<Row> = Vec::new();
    let (mut count_rows, mut count_values) = (0, 0);
    each(samples, &mut |line| {
        let Line::Row(scenario, text) = line else {
            return Ok(true);
        };
        let sample = read(text)?;
        let Some(column) = columns.column(&sample) else {
            return Ok(true);
        };
        let is_same = |row: &Row| {
            row.scenario == scenario && row.utc_ns == sample.utc_ns && !row.told.contains(&column)
        };
        if !rows.last().is_some_and(is_same) {
            if rows.len() == GROUP_ROWS {
                write_group(&mut writer, &rows, columns.names.len()).map_err(wrong)?;
                rows.clear();
            }
            rows.push(Row {
                scenario: scenario.to_owned(),
                utc_ns: sample.utc_ns,
                t_s: sample.t_s,
                flaws: String::new(),
                values: vec![None; columns.names.len()],
                told: Vec::new(),
            });
            count_rows += 1;
        }
        if let Some(row) = rows.last_mut() {
            row.told.push(column);
            row.values[column] = sample.good();
            if sample.good().is_none() {
                let gap = if row.flaws.is_empty() { "" } else { "; " };
                row.flaws.push_str(&format!(
                    "{gap}{}: {}",
                    columns.names[column], sample.quality
                ));
            }
            count_values += 1;
        }
        Ok(true)
    })?;
    write_group(&mut writer, &rows, columns.names.len()).map_err(wrong)?;
    writer.close().map_err(wrong)?;
    Ok(Some(format!(
        "{count_values} samples were written, in {count_rows} rows and {} columns.",
        columns.names.len() + FIXED.len()
    )))
}

fn read(line: &str) -> Result<Sample<'_>, Problem> {
    Sample::read(line).ok_or_else(|| {
        Problem::usage(usage(
            "C010",
            format!("`{line}` is no sample"),
            "take another copy of the run, if there is one",
        ))
    })
}

fn schema(points: &[String]) -> Result<TypePtr, ParquetError> {
    let field = |name: &str, physical, repetition, logical| {
        Type::primitive_type_builder(name, physical)
            .with_repetition(repetition)
            .with_logical_type(logical)
            .build()
            .map(Arc::new)
    };
    let (must, may) = (Repetition::REQUIRED, Repetition::OPTIONAL);
    let time = LogicalType::timestamp(true, TimeUnit::NANOS);
    let mut fields = vec![
        field(
            FIXED[0],
            Physical::BYTE_ARRAY,
            must,
            Some(LogicalType::String),
        )?,
        field(FIXED[1], Physical::INT64, must, Some(time))?,
        field(FIXED[2], Physical::DOUBLE, must, None)?,
        field(
            FIXED[3],
            Physical::BYTE_ARRAY,
            may,
            Some(LogicalType::String),
        )?,
    ];
    for name in points {
        fields.push(field(name, Physical::DOUBLE, may, None)?);
    }
    let root = Type::group_type_builder("samples").with_fields(fields);
    root.build().map(Arc::new)
}

/// Level of a value that is there, and of one that is null.
const THERE: i16 = 1;
const NULL: i16 = 0;

fn write_group(
    writer: &mut SerializedFileWriter<File>,
    rows: &[Row],
    points: usize,
) -> Result<(), ParquetError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut group = writer.next_row_group()?;
    let mut next = 0;
    while let Some(mut column) = group.next_column()? {
        match next {
            0 => {
                let values: Vec<ByteArray> = rows
                    .iter()
                    .map(|row| row.scenario.as_str().into())
                    .collect();
                column
                    .typed::<ByteArrayType>()
                    .write_batch(&values, None, None)?;
            }
            1 => {
                let values: Vec<i64> = rows.iter().map(|row| row.utc_ns).collect();
                column
                    .typed::<Int64Type>()
                    .write_batch(&values, None, None)?;
            }
            2 => {
                let values: Vec<f64> = rows.iter().map(|row| row.t_s).collect();
                column
                    .typed::<DoubleType>()
                    .write_batch(&values, None, None)?;
            }
            3 => {
                let told = |row: &&Row| !row.flaws.is_empty();
                let values: Vec<ByteArray> = rows
                    .iter()
                    .filter(told)
                    .map(|row| row.flaws.as_str().into())
                    .collect();
                let levels: Vec<i16> = rows
                    .iter()
                    .map(|row| if told(&row) { THERE } else { NULL })
                    .collect();
                column
                    .typed::<ByteArrayType>()
                    .write_batch(&values, Some(&levels), None)?;
            }
            n => {
                let point = n - FIXED.len();
                debug_assert!(point < points);
                let values: Vec<f64> = rows.iter().filter_map(|row| row.values[point]).collect();
                let levels: Vec<i16> = rows
                    .iter()
                    .map(|row| {
                        if row.values[point].is_some() {
                            THERE
                        } else {
                            NULL
                        }
                    })
                    .collect();
                column
                    .typed::<DoubleType>()
                    .write_batch(&values, Some(&levels), None)?;
            }
        }
        column.close()?;
        next += 1;
    }
    group.close()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_named_by_device_point_and_unit() {
        for (device, point, unit, name) in [
            ("ess1", "ac.p", "W", "ess1_ac_p_w"),
            ("ess-1", "battery.soc", "%", "ess_1_battery_soc_percent"),
            ("plug1", "switch.on", "1", "plug1_switch_on"),
            (
                "bat1",
                "battery.temperature",
                "degC",
                "bat1_battery_temperature_celsius",
            ),
        ] {
            assert_eq!(column_name(device, point, unit), name);
        }
    }

    #[test]
    fn names_that_differ_in_a_sign_only_have_columns_of_their_own() {
        let mut columns = Columns::default();
        for line in [
            "1,0.1,a-b,ac.p,1,W,good",
            "1,0.1,a_b,ac.p,2,W,good",
            "2,0.2,a-b,ac.p,3,W,good",
        ] {
            columns.add(&Sample::read(line).expect("a sample"));
        }
        assert_eq!(columns.names, ["a_b_ac_p_w", "a_b_ac_p_w_2"]);
        for bad in [
            "",
            "1,2",
            "x,0.1,a,ac.p,1,W,good",
            "1,0.1,a,ac.p,much,W,good",
        ] {
            assert!(Sample::read(bad).is_none(), "{bad}");
        }
    }
}
