//! What a run left behind, read without gridrig's own readers.

use std::path::Path;

use serde_json::Value;

/// A row of `samples.csv.zst`, by its column names.
pub type SampleRow = std::collections::BTreeMap<String, String>;

/// The result of a run.
///
/// # Panics
/// When the run left none.
#[must_use]
pub fn result(run_dir: &Path) -> Value {
    let text = std::fs::read_to_string(run_dir.join("result.json")).expect("the run left a result");
    serde_json::from_str(&text).expect("the result is JSON")
}

/// The events of a run, in order.
///
/// # Panics
/// When the run left none, or a line is not JSON.
#[must_use]
pub fn events(run_dir: &Path) -> Vec<Value> {
    let text =
        std::fs::read_to_string(run_dir.join("events.jsonl")).expect("the run left its events");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect()
}

/// The events of one kind.
#[must_use]
pub fn events_of<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events
        .iter()
        .filter(|event| event["event"] == kind)
        .collect()
}

/// All samples of a run, decompressed and split here.
///
/// # Panics
/// When the file is missing or broken.
#[must_use]
pub fn samples(run_dir: &Path) -> Vec<SampleRow> {
    let file =
        std::fs::File::open(run_dir.join("samples.csv.zst")).expect("the run left its samples");
    let bytes = zstd::decode_all(file).expect("the samples are one zstd stream");
    rows(&String::from_utf8(bytes).expect("the samples are text"))
}

/// All samples that a killed run left: the stream has no end, and its last row may not be whole.
///
/// # Panics
/// When the file is missing, or ended in good order.
#[must_use]
pub fn torn_samples(run_dir: &Path) -> Vec<SampleRow> {
    let file =
        std::fs::File::open(run_dir.join("samples.csv.zst")).expect("the run left its samples");
    let mut stream = zstd::Decoder::new(file).expect("the samples are a zstd stream");
    let mut bytes = Vec::new();
    let ended = std::io::Read::read_to_end(&mut stream, &mut bytes);
    assert!(ended.is_err(), "the run was not killed");
    let text = String::from_utf8(bytes).expect("the samples are text");
    rows(text.rsplit_once('\n').map_or("", |(whole, _)| whole))
}

fn rows(text: &str) -> Vec<SampleRow> {
    let mut lines = text.lines();
    let columns: Vec<&str> = lines
        .next()
        .expect("the samples have a head")
        .split(',')
        .collect();
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            assert_eq!(
                fields.len(),
                columns.len(),
                "a row of another length: {line}"
            );
            columns
                .iter()
                .zip(fields)
                .map(|(c, f)| ((*c).to_owned(), f.to_owned()))
                .collect()
        })
        .collect()
}

/// The good values of one point of one device, in order of arrival.
#[must_use]
pub fn values(samples: &[SampleRow], device: &str, point: &str) -> Vec<f64> {
    samples
        .iter()
        .filter(|row| row["device"] == device && row["point"] == point)
        .filter_map(|row| row["value"].parse().ok())
        .collect()
}
