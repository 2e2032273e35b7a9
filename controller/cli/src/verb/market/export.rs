//! `gridrig market export`: the market of a run, for other people's tools.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{Type, TypePtr};
use runtime::clock::SystemClock;
use runtime::desk::export::{Cell, Kind, MarketOfRun, Table, What};
use scenario::verdict::Verdict;
use serde_json::Value;

use super::unreadable;
use crate::codes::usage;
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;

/// Arguments of `market export`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The run folder.
    run: PathBuf,
    /// Which table: orders, trades, clearing, positions, meter, settlement, balances, penalties,
    /// contracts, capacity, activations, infeasible, welfare, nodes, congestion, latencies, ledger_refs, kpi, manifest.
    #[arg(long, value_name = "TABLE", value_parser = table, required_if_eq_any([("format", "csv"), ("format", "parquet")]))]
    what: Option<What>,
    /// How it is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// A new file; without it, to standard output.
    #[arg(long, value_name = "FILE", required_if_eq("format", "parquet"))]
    out: Option<PathBuf>,
}

/// How an export is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Comma-separated, units in the names of the columns.
    #[default]
    Csv,
    /// Apache Parquet, with the same columns.
    Parquet,
    /// One JSON document in the words of OASIS CTS: tenders, transactions, positions, deliveries.
    Cts,
    /// One JSON document of OpenADR 3 objects: program, events with prices and setpoints, reports.
    Openadr3,
}

fn table(name: &str) -> Result<What, String> {
    let known = What::NAMES;
    let found = known.iter().find(|(known, _)| *known == name);
    let names = || known.map(|(name, _)| name).join(", ");
    found
        .map(|(_, what)| *what)
        .ok_or_else(|| format!("the tables are {}", names()))
}

/// Runs it.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> Outcome {
    let now = model::Clock::utc(&SystemClock::start());
    let market = MarketOfRun::read(&arguments.run, now).map_err(|e| unreadable(&e))?;
    let Some(market) = market else {
        return Err(Problem::usage(usage(
            "C004",
            format!("the run {} had no market", arguments.run.display()),
            "name a run whose rig has `[market]`",
        )));
    };
    let out = arguments.out.as_deref();
    match (arguments.format, arguments.what) {
        (Format::Cts, _) => document(&market.cts(), out)?,
        (Format::Openadr3, _) => document(&market.openadr(), out)?,
        (Format::Csv, Some(what)) => csv(&market.table(what), out)?,
        (Format::Parquet, Some(what)) => {
            // The arguments ask for both.
            let target = out.unwrap_or(Path::new(""));
            let table = market.table(what);
            let file = create(target)?;
            parquet(&table, file).map_err(|e| cannot_write(target, &e))?;
            let rows = table.rows.len();
            terminal.say(format!("{rows} rows were written to {}.", target.display()));
        }
        (Format::Csv | Format::Parquet, None) => {
            return Err(Problem::usage(usage(
                "C001",
                "which table shall be written?",
                "name one with `--what`, such as `--what settlement`",
            )));
        }
    }
    Ok(Verdict::Pass)
}

fn create(path: &Path) -> Result<File, Problem> {
    File::create_new(path).map_err(|e| cannot_write(path, &e))
}

fn cannot_write(path: &Path, e: &dyn std::fmt::Display) -> Problem {
    Problem::usage(usage(
        "C003",
        format!("{} cannot be written: {e}", path.display()),
        "make room, or name a new file with `--out`",
    ))
}

/// Writes what `fill` says into a new file, or to whoever reads standard output, who may have enough.
fn write(
    out: Option<&Path>,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), Problem> {
    let (target, mut sink): (&Path, Box<dyn Write>) = match out {
        Some(path) => (path, Box::new(BufWriter::new(create(path)?))),
        None => {
            let stdout = std::io::stdout().lock();
            (
                Path::new("standard output"),
                Box::new(BufWriter::new(stdout)),
            )
        }
    };
    match fill(&mut sink).and_then(|()| sink.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|e| cannot_write(target, &e)),
    }
}

fn document(value: &Value, out: Option<&Path>) -> Result<(), Problem> {
    write(out, |sink| {
        serde_json::to_writer_pretty(&mut *sink, value)?;
        writeln!(sink)
    })
}

fn csv(table: &Table, out: Option<&Path>) -> Result<(), Problem> {
    write(out, |sink| {
        table.csv().try_for_each(|line| writeln!(sink, "{line}"))
    })
}

fn schema(table: &Table) -> Result<TypePtr, ParquetError> {
    let field = |(name, kind): &(&'static str, Kind)| {
        let (physical, logical) = match kind {
            Kind::Whole => (Physical::INT64, None),
            Kind::Moment => {
                let time = LogicalType::timestamp(true, TimeUnit::NANOS);
                (Physical::INT64, Some(time))
            }
            Kind::Text | Kind::Eur => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Kind::Figure => (Physical::DOUBLE, None),
        };
        Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical)
            .build()
            .map(Arc::new)
    };
    let fields = table.columns.iter().map(field).collect::<Result<_, _>>()?;
    let schema = Type::group_type_builder("market").with_fields(fields);
    schema.build().map(Arc::new)
}

fn parquet(table: &Table, file: File) -> Result<(), ParquetError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by(format!("gridrig {}", env!("CARGO_PKG_VERSION")))
        .build();
    let mut writer = SerializedFileWriter::new(file, schema(table)?, Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    for (index, (_, kind)) in table.columns.iter().enumerate() {
        let Some(mut column) = group.next_column()? else {
            break;
        };
        let cells = || table.rows.iter().map(|row| &row[index]);
        // One where a value is, zero where it is absent.
        let there: Vec<i16> = cells()
            .map(|cell| i16::from(*cell != Cell::Absent))
            .collect();
        match kind {
            Kind::Whole | Kind::Moment => {
                let whole = |cell: &Cell| match cell {
                    Cell::Whole(number) => Some(*number),
                    _ => None,
                };
                let values: Vec<i64> = cells().filter_map(whole).collect();
                column
                    .typed::<Int64Type>()
                    .write_batch(&values, Some(&there), None)?;
            }
            Kind::Figure => {
                let figure = |cell: &Cell| match cell {
                    Cell::Figure(figure) => Some(*figure),
                    _ => None,
                };
                let values: Vec<f64> = cells().filter_map(figure).collect();
                column
                    .typed::<DoubleType>()
                    .write_batch(&values, Some(&there), None)?;
            }
            Kind::Text | Kind::Eur => {
                let told = cells().filter_map(Cell::told);
                let values: Vec<ByteArray> = told
                    .map(|text| ByteArray::from(text.into_bytes()))
                    .collect();
                column
                    .typed::<ByteArrayType>()
                    .write_batch(&values, Some(&there), None)?;
            }
        }
        column.close()?;
    }
    group.close()?;
    writer.close()?;
    Ok(())
}
