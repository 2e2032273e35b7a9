//! `gridrig der run`: the model of a DER alone, offline, over a series.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use der_model::series::{Columns, Fault, HEADER, Report, Series};
use der_model::{Der, Settings};
use document::{Actor, Diagnostic, Place, Source};
use scenario::verdict::Verdict;
use serde_json::{Value, json};

use crate::codes::usage;
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;

/// Arguments of `der`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Drive a DER to IEEE 1547-2018 through a series, one row out for each row in.
    Run {
        /// Its settings; a missing key takes the default of its category.
        #[arg(long, value_name = "FILE")]
        settings: PathBuf,
        /// The series, a CSV file with `t_s,v_pu,f_hz,p_avail_pu[,p_demand_pu][,permit]`; phases as
        /// `v_a_pu,v_b_pu,v_c_pu`; `-` reads standard input.
        #[arg(long = "in", value_name = "FILE")]
        input: PathBuf,
        /// Where `t_s,p_pu,q_pu,status` goes; `-` is standard output.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// Rows with faults after which the reading gives up. Chosen: what fits on a screen.
const FAULTS_TOLD: usize = 10;

/// Bytes that are read and written at once. Chosen: some thousand rows.
const PORTION: usize = 1 << 16;

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    let What::Run {
        settings,
        input,
        out,
    } = arguments.what;
    let settings = read_settings(&settings, terminal)?;
    let step_s = settings.step_s;
    let report = drive(settings, &input, &out)?;
    let told = json_of(&report, step_s);
    // Rows on standard output leave no room for a second document there.
    if out == Path::new("-") {
        terminal.say(text_of(&report));
    } else if terminal.is_json() {
        terminal.print(told);
    } else {
        terminal.say(text_of(&report));
    }
    Ok(Verdict::Pass)
}

/// Reads the settings of a DER; warnings are drawn.
pub fn read_settings(path: &Path, terminal: &Terminal) -> Result<Settings, Problem> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|e| {
        let message = format!("{shown} cannot be read: {e}");
        Problem::usage(usage("C003", message, "name a TOML file with settings"))
    })?;
    let (settings, warnings) = der_model::settings::read(Source::new(shown, text))?;
    terminal.draw(&warnings);
    Ok(settings)
}

fn drive(settings: Settings, input: &Path, out: &Path) -> Result<Report, Problem> {
    let shown = if input == Path::new("-") {
        "standard input".into()
    } else {
        input.display().to_string()
    };
    let reading: Box<dyn std::io::Read> = if input == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(input).map_err(|e| unusable(&shown, "read", &e))?)
    };
    let mut lines = Lines {
        reader: BufReader::with_capacity(PORTION, reading),
        shown,
        number: 0,
        line: Vec::new(),
    };
    let mut faults = Vec::new();
    let header = lines.next()?.unwrap_or_default().to_owned();
    let columns = match Columns::read(&header, settings.kind) {
        Ok(columns) => columns,
        Err(wrong) => {
            let told = wrong.into_iter().map(|fault| lines.told(&header, fault));
            return Err(told.collect::<Vec<_>>().into());
        }
    };
    let mut target = Target::open(out)?;
    target.write(HEADER.as_bytes())?;
    let mut series = Series::new(Der::new(settings), columns);
    let mut row = Vec::new();
    while let Some(line) = lines.next()? {
        row.clear();
        match series.row(line, &mut row) {
            Ok(()) if faults.is_empty() => target.write(&row)?,
            Ok(()) => {}
            Err(fault) => {
                let line = line.to_owned();
                faults.push(lines.told(&line, fault));
                if faults.len() == FAULTS_TOLD {
                    break;
                }
            }
        }
    }
    if faults.is_empty() && series.report().rows == 0 {
        let fault = Fault {
            code: "G014",
            span: 0..header.len(),
            message: "there is no row below this line".into(),
            help: "add rows".into(),
        };
        faults.push(lines.told(&header, fault));
    }
    if !faults.is_empty() {
        return Err(faults.into());
    }
    target.close()?;
    Ok(series.report())
}

/// The lines of a file, one at a time: a series may be longer than the memory.
struct Lines {
    reader: BufReader<Box<dyn std::io::Read>>,
    shown: String,
    number: usize,
    line: Vec<u8>,
}

impl Lines {
    fn next(&mut self) -> Result<Option<&str>, Problem> {
        self.line.clear();
        let read = self.reader.read_until(b'\n', &mut self.line);
        if read.map_err(|e| unusable(&self.shown, "read", &e))? == 0 {
            return Ok(None);
        }
        self.number += 1;
        match std::str::from_utf8(&self.line) {
            Ok(line) => Ok(Some(line.trim_end_matches(['\n', '\r']))),
            Err(_) => Err(Problem::usage(usage(
                "G011",
                format!("{}:{}: this line is no text", self.shown, self.number),
                "a series is a CSV file in UTF-8",
            ))),
        }
    }

    /// A fault of the line that was read last, where it stands in the file.
    fn told(&self, line: &str, fault: Fault) -> Diagnostic {
        // Only the line itself is at hand: the ones before it are told by their number.
        let above = self.number.saturating_sub(1);
        let place = Place {
            source: Source::new(self.shown.clone(), format!("{}{line}", "\n".repeat(above))),
            span: above + fault.span.start..above + fault.span.end,
        };
        Diagnostic::error(fault.code, Actor::Author, fault.message)
            .at(place, "")
            .help(fault.help)
    }
}

fn unusable(shown: &str, what: &str, error: &std::io::Error) -> Problem {
    let message = format!("{shown} cannot be {what}: {error}");
    Problem::usage(usage("C003", message, "name a file, or `-`"))
}

/// Where the rows go: beside the file until all of them are there, so that half a result is never
/// taken for a whole one.
struct Target {
    writer: BufWriter<Box<dyn Write>>,
    /// The file beside, and the one that it becomes.
    becomes: Option<(PathBuf, PathBuf)>,
    shown: String,
}

impl Target {
    fn open(out: &Path) -> Result<Self, Problem> {
        let shown = out.display().to_string();
        let fail = |e| unusable(&shown, "written", &e);
        let special = std::fs::metadata(out).is_ok_and(|m| !m.is_file());
        let (writer, becomes): (Box<dyn Write>, _) = if out == Path::new("-") {
            (Box::new(std::io::stdout()), None)
        } else if special {
            (Box::new(File::create(out).map_err(fail)?), None)
        } else {
            let mut beside = out.as_os_str().to_owned();
            beside.push(".part");
            let beside = PathBuf::from(beside);
            let file = File::create(&beside).map_err(fail)?;
            (Box::new(file), Some((beside, out.to_owned())))
        };
        Ok(Self {
            writer: BufWriter::with_capacity(PORTION, writer),
            becomes,
            shown,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let written = self.writer.write_all(bytes);
        written.map_err(|e| unusable(&self.shown, "written", &e))
    }

    fn close(mut self) -> Result<(), Problem> {
        let done = self
            .writer
            .flush()
            .and_then(|()| match self.becomes.take() {
                Some((beside, out)) => std::fs::rename(beside, out),
                None => Ok(()),
            });
        done.map_err(|e| unusable(&self.shown, "written", &e))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // Whatever came between: what was begun is not left behind.
        if let Some((beside, _)) = &self.becomes {
            let _ = std::fs::remove_file(beside);
        }
    }
}

fn json_of(report: &Report, step_s: f64) -> Value {
    let [on, entering, tripped, ceased, off] = report.by_status;
    json!({
        "rows": report.rows,
        "trips": report.trips,
        "status": {"on": on, "entering": entering, "tripped": tripped, "ceased": ceased, "off": off},
        "step_s": step_s,
        "step_s_min": report.step_s.map(|(least, _)| least),
        "step_s_max": report.step_s.map(|(_, most)| most),
    })
}

fn text_of(report: &Report) -> String {
    let [on, entering, tripped, ceased, off] = report.by_status;
    format!(
        "{} rows: {on} on, {entering} entering, {tripped} tripped, {ceased} ceased, {off} off; {} trips",
        report.rows, report.trips
    )
}
