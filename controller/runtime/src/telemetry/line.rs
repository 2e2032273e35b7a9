//! Rows of samples, and the line protocol that a time-series server reads.
//!
//! Naming, on which the dashboards build (pinned by a test):
//!
//! | what | measurement | tags | fields |
//! | --- | --- | --- | --- |
//! | a device's points | its role, such as `ess` | `device`, `bus`, `role`, `quality` = `good` | the canonical point with `_` for `.`, such as `ac_p`, a float in the point's base unit |
//! | a bad reading | the same | the same, `quality` = why it is bad | the point and `_bad`, such as `ac_p_bad`, 1 |
//! | an event | `event` | `kind`, `device` if it is about one | `text`, a string |
//! | a bus, a cycle, a service, the bench's own bus | `bus`, `cycle`, `service`, `bench` | `bus`, none, `service`, none | those of [`super::figures`], floats |
//! | a cleared market interval | `market` | none | `price_mc_per_kwh` if there was one, `energy_mwh`, `trades`, floats |
//!
//! Every line has the tags of its [`Origin`]: `bench`, `run`, and `site` where the rig names one.
//!
//! Times are nanoseconds since 1970. The field of a point has good values only: a bad reading is a gap there. All numbers are floats,
//! so that a field never changes its type.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::ControlFlow;

use model::{Flaw, Instant, Point, PointSample, Reading, UtcTime};

use super::record::EventRecord;
use super::{NamedDevice, record};

/// The quality of a good reading.
const GOOD: &str = "good";

/// Measurement of events.
pub(super) const EVENT: &str = "event";

/// Measurement of cleared market intervals.
pub(super) const MARKET: &str = "market";

/// Its fields: millicents per kilowatt hour, milliwatt hours, a number.
pub(super) const MARKET_FIELDS: [&str; 3] = ["price_mc_per_kwh", "energy_mwh", "trades"];

/// A sample with its record time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) utc: UtcTime,
    pub(super) sample: PointSample,
}

impl Row {
    /// The row of a sample; `utc` and `now` are one moment on both clocks.
    pub(super) fn of(utc: UtcTime, now: Instant, sample: PointSample) -> Self {
        let measured = sample.sample.measured_at.as_nanos();
        let nanos = match now.as_nanos().checked_sub(measured) {
            Some(ago) => utc.unix_nanos().checked_sub_unsigned(ago),
            None => utc
                .unix_nanos()
                .checked_add_unsigned(measured - now.as_nanos()),
        };
        Self {
            utc: nanos.map_or(utc, UtcTime::from_unix_nanos),
            sample,
        }
    }

    /// The value, if the reading is good and a number.
    pub(super) fn value(&self) -> Option<f64> {
        match self.sample.sample.reading {
            Reading::Good(value) if value.is_finite() => Some(value),
            Reading::Good(_) | Reading::Bad(_) => None,
        }
    }

    /// What is wrong with the reading, in a word; `None` of a good one.
    pub(super) fn flaw(&self) -> Option<Cow<'static, str>> {
        match self.sample.sample.reading {
            Reading::Good(value) if value.is_finite() => None,
            Reading::Good(_) => Some("not a number".into()),
            Reading::Bad(Flaw::Exception(code)) => Some(format!("exception {code}").into()),
            Reading::Bad(flaw) => Some(flaw.word().into()),
        }
    }
}

/// Where lines come from: tags of each. What is empty is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Name of the site, if the rig has one.
    pub site: String,
    /// Title of the rig.
    pub bench: String,
    /// Name of the run folder.
    pub run: String,
}

/// What all lines of a run are made of, written and escaped once.
#[derive(Clone, Debug)]
pub(super) struct Labels {
    /// Tags of the origin, each with its comma.
    origin: String,
    /// Of each device, in the order of the rig.
    devices: Vec<DeviceLabels>,
    /// The field of each point with its equals sign, in the order of [`Point::ALL`].
    fields: Vec<String>,
}

/// What the lines of a device begin with.
#[derive(Clone, Debug)]
struct DeviceLabels {
    /// Measurement and tags up to the value of `quality`, and what follows it.
    head: String,
    rest: String,
    /// Both with the quality that nearly all have.
    good: String,
}

impl Labels {
    pub(super) fn new(origin: &Origin, devices: &[NamedDevice]) -> Self {
        let of_origin = [
            ("bench", origin.bench.as_str()),
            ("run", origin.run.as_str()),
            ("site", origin.site.as_str()),
        ];
        let mut tags = String::new();
        push_tags(&mut tags, &of_origin);
        let of_device = |device: &NamedDevice| {
            let role = device.role.name();
            let head = head(role, &[("bus", &device.bus), ("device", &device.name)]);
            let mut rest = String::new();
            push_tags(&mut rest, &[("role", role)]);
            let (head, rest) = (head + ",quality=", rest + &tags);
            DeviceLabels {
                good: format!("{head}{GOOD}{rest}"),
                head,
                rest,
            }
        };
        let field = |point: &Point| field_name(*point) + "=";
        Self {
            devices: devices.iter().map(of_device).collect(),
            origin: tags,
            fields: Point::ALL.iter().map(field).collect(),
        }
    }

    fn field(&self, point: Point) -> &str {
        // The order of `ALL` is that of the declaration.
        self.fields.get(point as usize).map_or("", String::as_str)
    }
}

/// How many values rows hold.
pub(super) fn values_in(rows: &[Row]) -> u64 {
    rows.iter().filter(|r| r.value().is_some()).count() as u64
}

/// Lines of the protocol, each ended by a line feed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) text: String,
    /// Number of lines.
    pub(super) lines: usize,
    /// Number of field values in them.
    pub(super) values: u64,
}

impl Lines {
    /// Lines that are text already: they are counted.
    pub(super) fn counted(text: String) -> Self {
        Self {
            lines: text.bytes().filter(|byte| *byte == b'\n').count(),
            values: values_of(&text),
            text,
        }
    }

    /// Ends a line with its time.
    fn end(&mut self, utc: UtcTime, values: u64) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, " {}", utc.unix_nanos());
        self.lines += 1;
        self.values += values;
    }
}

/// Adds a number that is one, as short as it is read back the same.
fn push_number(text: &mut String, value: f64) {
    let mut digits = zmij::Buffer::new();
    let digits = digits.format_finite(value);
    if digits.contains('e') {
        // Whole numbers and small ones without an exponent, which not every reader takes.
        let _ = write!(text, "{value}");
    } else {
        text.push_str(digits.strip_suffix(".0").unwrap_or(digits));
    }
}

/// How many field values lines of the protocol hold.
pub(super) fn values_of(lines: &str) -> u64 {
    lines.lines().map(values_of_line).sum()
}

/// Fields stand between the first and the second space that is neither escaped nor quoted, with commas between.
fn values_of_line(line: &str) -> u64 {
    let (mut values, mut in_fields, mut quoted, mut escaped) = (0, false, false, false);
    for byte in line.bytes() {
        if escaped {
            escaped = false;
            continue;
        }
        match byte {
            b'\\' => escaped = true,
            b'"' if in_fields => quoted = !quoted,
            _ if quoted => {}
            b' ' if in_fields => break,
            b' ' => (in_fields, values) = (true, 1),
            b',' if in_fields => values += 1,
            _ => {}
        }
    }
    values
}

/// The field name of a point.
#[must_use]
pub fn field_name(point: Point) -> String {
    let mut name = String::new();
    push_field_name(&mut name, point);
    name
}

fn push_field_name(out: &mut String, point: Point) {
    let mut parts = point.name().split('.');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        out.push('_');
        out.push_str(part);
    }
}

/// Which characters have to be escaped, by the place in the line.
#[derive(Clone, Copy)]
enum Place {
    Measurement,
    Key,
    Text,
}

fn escape_into(out: &mut String, text: &str, place: Place) {
    let special: &[char] = match place {
        Place::Measurement => &[',', ' '],
        Place::Key => &[',', '=', ' '],
        Place::Text => &['"', '\\'],
    };
    for c in text.chars() {
        match (c, place) {
            // A line ends a record, so a line feed can be in none.
            ('\n' | '\r' | '\t', Place::Text) => out.push(' '),
            ('\n' | '\r' | '\t', _) => {
                if out.ends_with('\\') {
                    out.push('_');
                }
                out.push_str("\\ ");
            }
            _ => {
                if special.contains(&c) {
                    // Readers disagree on a backslash before an escaped character: they are kept apart.
                    if !matches!(place, Place::Text) && out.ends_with('\\') {
                        out.push('_');
                    }
                    out.push('\\');
                }
                out.push(c);
            }
        }
    }
    // A backslash at the end of a key would escape what follows it.
    if !matches!(place, Place::Text) && text.ends_with('\\') {
        out.push('_');
    }
}

fn head(measurement: &str, tags: &[(&str, &str)]) -> String {
    let mut line = String::with_capacity(160);
    escape_into(&mut line, measurement, Place::Measurement);
    push_tags(&mut line, tags);
    line
}

fn push_tags(line: &mut String, tags: &[(&str, &str)]) {
    for (key, value) in tags {
        // An empty tag value is not allowed by the protocol.
        if value.is_empty() {
            continue;
        }
        line.push(',');
        escape_into(line, key, Place::Key);
        line.push('=');
        escape_into(line, value, Place::Key);
    }
}

/// The lines of rows: readings of one device at one time and of one quality share a line.
pub(super) fn sample_lines(labels: &Labels, rows: &[Row]) -> Lines {
    let mut lines = Lines::default();
    // Chosen: as much as a line with one value takes.
    lines.text.reserve(rows.len() * 32);
    let mut rest = rows;
    while let Some(first) = rest.first() {
        let of_one = |r: &Row| r.utc == first.utc && r.sample.device == first.sample.device;
        let end = rest.iter().position(|r| !of_one(r)).unwrap_or(rest.len());
        let (these, others) = rest.split_at(end);
        rest = others;
        let Some(device) = labels.devices.get(first.sample.device.index()) else {
            continue;
        };
        if let ControlFlow::Break(()) = good_line(&mut lines, labels, device, these) {
            lines_by_quality(&mut lines, labels, device, these);
        }
    }
    lines
}

/// The line of a device whose rows are of one time and all good; at the first that is not, nothing is added.
fn good_line(
    lines: &mut Lines,
    labels: &Labels,
    device: &DeviceLabels,
    rows: &[Row],
) -> ControlFlow<()> {
    let before = lines.text.len();
    let text = &mut lines.text;
    text.push_str(&device.good);
    let mut separator = ' ';
    for row in rows {
        let Some(value) = row.value() else {
            text.truncate(before);
            return ControlFlow::Break(());
        };
        text.push(separator);
        text.push_str(labels.field(row.sample.point));
        push_number(text, value);
        separator = ',';
    }
    if let Some(row) = rows.first() {
        lines.end(row.utc, rows.len() as u64);
    }
    ControlFlow::Continue(())
}

/// A line of each quality of rows of a device of one time.
fn lines_by_quality(lines: &mut Lines, labels: &Labels, device: &DeviceLabels, rows: &[Row]) {
    let mut done: Vec<Option<Cow<'static, str>>> = Vec::new();
    for first in rows {
        let flaw = first.flaw();
        if done.contains(&flaw) {
            continue;
        }
        let text = &mut lines.text;
        text.push_str(&device.head);
        escape_into(text, flaw.as_deref().unwrap_or(GOOD), Place::Key);
        text.push_str(&device.rest);
        let mut values = 0;
        for row in rows.iter().filter(|row| row.flaw() == flaw) {
            text.push(if values == 0 { ' ' } else { ',' });
            match row.value() {
                Some(value) => {
                    text.push_str(labels.field(row.sample.point));
                    push_number(text, value);
                }
                None => {
                    push_field_name(text, row.sample.point);
                    text.push_str("_bad=1");
                }
            }
            values += 1;
        }
        lines.end(first.utc, values);
        done.push(flaw);
    }
}

/// Adds a line with one tag (none where its name is empty) and those of the fields that are numbers; none of none.
pub(super) fn push_line_of<'a>(
    lines: &mut Lines,
    labels: &Labels,
    measurement: &str,
    tag: (&str, &str),
    fields: impl Iterator<Item = (&'a str, f64)>,
    utc: UtcTime,
) {
    let mut values = 0;
    for (name, value) in fields.filter(|(_, value)| value.is_finite()) {
        if values == 0 {
            let tags = [tag];
            let tags: &[(&str, &str)] = if tag.0.is_empty() { &[] } else { &tags };
            lines.text.push_str(&head(measurement, tags));
            lines.text.push_str(&labels.origin);
        }
        lines.text.push(if values == 0 { ' ' } else { ',' });
        lines.text.push_str(name);
        lines.text.push('=');
        push_number(&mut lines.text, value);
        values += 1;
    }
    if values > 0 {
        lines.end(utc, values);
    }
}

/// The lines of an event: the event itself, and the figures of a cleared market.
pub(super) fn event_lines(labels: &Labels, utc: UtcTime, record: &EventRecord) -> Lines {
    let device = record.device.as_deref().unwrap_or("");
    let mut lines = Lines::default();
    let text = &mut lines.text;
    text.push_str(&head(EVENT, &[("device", device), ("kind", record.event)]));
    text.push_str(&labels.origin);
    text.push_str(" text=\"");
    escape_into(text, &record.text, Place::Text);
    text.push('"');
    lines.end(utc, 1);
    if record.event == record::MARKET_CLEARED {
        let fields = MARKET_FIELDS
            .iter()
            .filter_map(|key| Some((*key, record.details.get(*key)?.as_f64()?)));
        push_line_of(&mut lines, labels, MARKET, ("", ""), fields, utc);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_back_to_the_bit_and_is_no_longer_than_it_must_be() {
        let written = |value: f64| {
            let mut text = String::new();
            push_number(&mut text, value);
            text
        };
        // Bits from a fixed seed (xorshift, Marsaglia 2003): every exponent comes.
        let mut bits = 0x2545_f491_4f6c_dd1d_u64;
        let mut drawn = Vec::new();
        for _ in 0..100_000 {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            drawn.push(f64::from_bits(bits));
            drawn.push((bits % 1_000_000) as f64 / 1e3 - 500.0);
        }
        let edges = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            1e15,
            1e16,
            1e-5,
            1e-7,
            f64::MAX,
            f64::MIN_POSITIVE,
            230.1,
        ];
        for value in drawn.into_iter().chain(edges) {
            if value.is_finite() {
                let text = written(value);
                let back: f64 = text.parse().expect("it is a number");
                assert_eq!(back.to_bits(), value.to_bits(), "{text}");
                // The standard library writes the shortest, too; of two as near it may take the other.
                assert_eq!(text.len(), value.to_string().len(), "{text}");
                assert!(!text.contains('e'), "{text}");
            }
        }
    }

    #[test]
    fn each_point_has_the_field_of_its_name() {
        let labels = Labels::new(&Origin::default(), &[]);
        for point in Point::ALL {
            assert_eq!(labels.field(*point), format!("{}=", field_name(*point)));
        }
    }
}
