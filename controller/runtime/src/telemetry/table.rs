//! Samples as a table of text: the same rows, whether out of the record or out of the database of a run.

use std::fmt::Write as _;

/// The columns of a table of samples.
pub const SAMPLE_COLUMNS: &str = "utc_ns,t_s,device,point,value,unit,quality";

/// A row of it.
pub(super) struct Cells<'a> {
    pub(super) utc_ns: i64,
    /// Control time, in nanoseconds since the run began.
    pub(super) at_ns: u64,
    pub(super) device: &'a str,
    pub(super) point: &'a str,
    pub(super) value: Option<f64>,
    pub(super) unit: &'a str,
    pub(super) quality: &'a str,
}

impl Cells<'_> {
    /// Writes the row, without a line feed.
    pub(super) fn push(&self, out: &mut String) {
        // Writing to a string cannot fail. Seconds are printed from the integer, so that no digit is lost.
        let _ = write!(
            out,
            "{},{}.{:09},",
            self.utc_ns,
            self.at_ns / 1_000_000_000,
            self.at_ns % 1_000_000_000
        );
        push_field(out, self.device);
        let _ = write!(out, ",{},", self.point);
        if let Some(value) = self.value {
            // Zero has one sign in SQLite, so it has one here.
            let _ = write!(out, "{}", value + 0.0);
        }
        let _ = write!(out, ",{},{}", self.unit, self.quality);
    }
}

/// A field of CSV, quoted where RFC 4180 asks for it; a line feed becomes a space, since a row is a line.
fn push_field(out: &mut String, field: &str) {
    if field.contains([',', '"', '\n', '\r']) {
        out.push('"');
        out.push_str(&field.replace('"', "\"\"").replace(['\n', '\r'], " "));
        out.push('"');
    } else {
        out.push_str(field);
    }
}
