//! `der`: steps per second of the DER model, alone and from text to text, beside EPRI's OpenDER on
//! the same series.
//!
//! Volt-var with autonomous reference voltage, volt-watt, limit and droop are all on, and voltage,
//! frequency and power move in every row, so that nothing is the same twice.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use der_model::series::{Columns, Series};
use der_model::settings::{self, Kind};
use der_model::{Der, Measured, Settings, Volts};
use document::Source;
use quantities::Frequency;
use serde_json::{Value, json};

use super::usage::{cpu, load};
use super::{BenchError, peer, rounded};

/// Settings of the device. The time constant of the reference voltage is the shortest that there is.
const SETTINGS: &str = "step_s = 0.05
[volt_var]
vref_auto = true
[volt_watt]
[p_limit]
p_pu = 0.9
";

/// Time that each way is measured for. Chosen: some millions of steps.
const ROW: Duration = Duration::from_secs(2);

/// Rows of the series, which is gone through again and again: a quarter of an hour.
const ROWS: usize = 18_000;

/// Rows that OpenDER gets. Chosen: some seconds of it.
const ROWS_OF_PEER: usize = 10_000;

/// Step of the series in seconds.
const STEP_S: f64 = 0.05;

pub(super) fn measure() -> Result<Value, BenchError> {
    let rows: Vec<[f64; 3]> = (0..ROWS as u64).map(row).collect();
    let model = steps_alone(&rows)?;
    let text = rows_of_text(&rows)?;
    let theirs = opender(&rows[..ROWS_OF_PEER]);
    let ratio = theirs.as_ref().ok().map(|rate| model / rate);
    Ok(json!({
        "bench": "der",
        "optimised": !cfg!(debug_assertions),
        "load": load(),
        "model_steps_per_cpu_s": model.round(),
        "text_rows_per_cpu_s": text.round(),
        "opender_steps_per_cpu_s": theirs.as_ref().ok().map(|rate| rate.round()),
        "opender_missing": theirs.as_ref().err(),
        "ratio": ratio.map(rounded),
    }))
}

/// Voltage, frequency and available power of a row; they look random and are the same each time.
fn row(n: u64) -> [f64; 3] {
    // The fractional parts of multiples of the golden ratio are spread evenly (Weyl).
    let scatter = |of: f64| (n as f64 * 0.618_033_988_749_895 * of).fract();
    [
        0.95 + 0.1 * scatter(1.0),
        59.9 + 0.2 * scatter(0.37),
        0.3 + 0.7 * scatter(0.11),
    ]
}

fn device() -> Result<Settings, BenchError> {
    settings::read(Source::new("bench", SETTINGS))
        .map(|(settings, _)| settings)
        .map_err(|faults| BenchError::Run(super::virtual_time::told(&faults)))
}

fn steps_alone(rows: &[[f64; 3]]) -> Result<f64, BenchError> {
    let mut device = Der::new(device()?);
    let measured: Vec<Measured> = rows
        .iter()
        .map(|[v, f, p]| Measured {
            v: Volts::Balanced(*v),
            f: Frequency::from_hertz(*f),
            available_pu: *p,
            demand_pu: 0.0,
            absorbable_pu: 1.0,
            permit: true,
            angle_deg: None,
            island: false,
        })
        .collect();
    Ok(rate(rows.len(), || {
        let sum: f64 = measured
            .iter()
            .map(|measured| device.step(STEP_S, measured).p_pu)
            .sum();
        // Whoever never looks at a result may leave out the work.
        std::hint::black_box(sum);
    }))
}

fn rows_of_text(rows: &[[f64; 3]]) -> Result<f64, BenchError> {
    let lines = lines(rows);
    let [header, lines @ ..] = &lines[..] else {
        return Err(BenchError::Run("there are no rows".into()));
    };
    let told = |fault: &der_model::series::Fault| BenchError::Run(fault.message.clone());
    let columns = Columns::read(header, Kind::Pv)
        .map_err(|faults| faults.first().map_or(BenchError::Run(String::new()), told))?;
    let settings = device()?;
    let mut out = Vec::new();
    let mut wrong = None;
    let rate = rate(rows.len(), || {
        let mut series = Series::new(Der::new(settings.clone()), columns.clone());
        out.clear();
        for line in lines {
            if let Err(fault) = series.row(line, &mut out) {
                wrong = Some(told(&fault));
            }
        }
    });
    wrong.map_or(Ok(rate), Err)
}

/// How many times in a second of CPU, when one round is so many: others may use the machine, too.
fn rate(count: usize, mut round: impl FnMut()) -> f64 {
    round();
    let (start, used) = (Instant::now(), cpu());
    let mut rounds = 0;
    while start.elapsed() < ROW {
        round();
        rounds += 1;
    }
    (rounds * count) as f64 / (cpu() - used).as_secs_f64()
}

fn lines(rows: &[[f64; 3]]) -> Vec<String> {
    let mut lines = vec!["t_s,v_pu,f_hz,p_avail_pu".to_owned()];
    lines.extend(rows.iter().enumerate().map(|(n, [v, f, p])| {
        let t_s = n as f64 * STEP_S;
        format!("{t_s:.2},{v:.5},{f:.5},{p:.5}")
    }));
    lines
}

/// Steps per second of OpenDER, its reading and writing not counted; or why there are none.
fn opender(rows: &[[f64; 3]]) -> Result<f64, String> {
    let folder = Folder::make().map_err(|e| format!("no folder for the series: {e}"))?;
    let path = |name: &str| folder.0.join(name);
    let mut text = String::new();
    for line in lines(rows) {
        let _ = writeln!(text, "{line}");
    }
    for (name, text) in [("s.toml", SETTINGS), ("in.csv", &text)] {
        std::fs::write(path(name), text).map_err(|e| format!("no series: {e}"))?;
    }
    let shown = |path: PathBuf| path.display().to_string();
    let job = ["s.toml", "in.csv", "out.csv"].map(|name| shown(path(name)));
    let said = peer::ask(
        "opender_series.py",
        &[vec!["--job".into()], job.to_vec()].concat(),
    )?;
    let number = |key: &str| said[key].as_f64().ok_or(format!("it did not tell {key}"));
    Ok(number("rows")? / number("cpu_seconds")?)
}

/// A folder that goes with its owner.
struct Folder(PathBuf);

impl Folder {
    fn make() -> std::io::Result<Self> {
        let name = format!("gridrig-bench-der-{}", std::process::id());
        let path = Path::new(&std::env::temp_dir()).join(name);
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
