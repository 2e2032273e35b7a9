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

use model::{Flaw, Instant, Point, PointSample, Reading, UtcTime};

use super::record::EventRecord;
use super::{NamedDevice, record};

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
        let ago = now.as_nanos() as i128 - sample.sample.measured_at.as_nanos() as i128;
        let nanos = i128::from(utc.unix_nanos()) - ago;
        Self {
            utc: UtcTime::from_unix_nanos(i64::try_from(nanos).unwrap_or(utc.unix_nanos())),
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

/// The tags of all lines of a run, escaped once.
#[derive(Clone, Debug)]
pub(super) struct Labels {
    /// Those of the origin, each with its comma.
    origin: String,
    /// Of each device: measurement and tags up to the value of `quality`, and what follows it.
    devices: Vec<(String, String)>,
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
            (head + ",quality=", rest + &tags)
        };
        Self {
            devices: devices.iter().map(of_device).collect(),
            origin: tags,
        }
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
    /// Number of field values in them.
    pub(super) values: u64,
}

impl Lines {
    /// Ends a line with its time.
    fn end(&mut self, utc: UtcTime, values: u64) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, " {}", utc.unix_nanos());
        self.values += values;
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
        if these.iter().all(|row| row.value().is_some()) {
            device_line(&mut lines, device, "good", these.iter());
            continue;
        }
        let mut done: Vec<Option<Cow<'static, str>>> = Vec::new();
        for row in these {
            let flaw = row.flaw();
            if done.contains(&flaw) {
                continue;
            }
            let alike = these.iter().filter(|row| row.flaw() == flaw);
            device_line(&mut lines, device, flaw.as_deref().unwrap_or("good"), alike);
            done.push(flaw);
        }
    }
    lines
}

/// One line of a device: rows of one time and one quality.
fn device_line<'a>(
    lines: &mut Lines,
    (head, rest): &(String, String),
    quality: &str,
    rows: impl Iterator<Item = &'a Row>,
) {
    let text = &mut lines.text;
    text.push_str(head);
    escape_into(text, quality, Place::Key);
    text.push_str(rest);
    let (mut values, mut utc) = (0, None);
    for row in rows {
        text.push(if values == 0 { ' ' } else { ',' });
        push_field_name(text, row.sample.point);
        // Writing to a string cannot fail.
        let _ = match row.value() {
            Some(value) => write!(text, "={value}"),
            None => write!(text, "_bad=1"),
        };
        values += 1;
        utc = Some(row.utc);
    }
    if let Some(utc) = utc {
        lines.end(utc, values);
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
        // Writing to a string cannot fail.
        let _ = write!(lines.text, "{name}={value}");
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
