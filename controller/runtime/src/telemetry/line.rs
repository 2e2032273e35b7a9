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

/// One line of the protocol, without its line feed, with the number of its field values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) values: u32,
    pub(super) text: String,
}

/// The field name of a point.
#[must_use]
pub fn field_name(point: Point) -> String {
    point.name().replace('.', "_")
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
            ('\n' | '\r' | '\t', _) => out.push_str("\\ "),
            _ => {
                if special.contains(&c) {
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
pub(super) fn sample_lines(labels: &Labels, rows: &[Row]) -> Vec<Line> {
    let mut lines = Vec::with_capacity(rows.len());
    let mut rest = rows;
    while let Some(first) = rest.first() {
        let of_one = |r: &Row| r.utc == first.utc && r.sample.device == first.sample.device;
        let end = rest.iter().position(|r| !of_one(r)).unwrap_or(rest.len());
        let (these, others) = rest.split_at(end);
        rest = others;
        let Some((head, rest)) = labels.devices.get(first.sample.device.index()) else {
            continue;
        };
        let mut done: Vec<Option<Cow<'static, str>>> = Vec::new();
        for row in these {
            let flaw = row.flaw();
            if done.contains(&flaw) {
                continue;
            }
            let mut text = String::with_capacity(head.len() + rest.len() + 64);
            text.push_str(head);
            escape_into(&mut text, flaw.as_deref().unwrap_or("good"), Place::Key);
            text.push_str(rest);
            let mut values = 0_u32;
            for row in these.iter().filter(|row| row.flaw() == flaw) {
                text.push(if values == 0 { ' ' } else { ',' });
                let name = field_name(row.sample.point);
                // Writing to a string cannot fail.
                let _ = match row.value() {
                    Some(value) => write!(text, "{name}={value}"),
                    None => write!(text, "{name}_bad=1"),
                };
                values += 1;
            }
            let _ = write!(text, " {}", first.utc.unix_nanos());
            lines.push(Line { values, text });
            done.push(flaw);
        }
    }
    lines
}

/// A line with one tag (none where its name is empty) and those of the fields that are numbers; `None` of none.
pub(super) fn line_of<'a>(
    labels: &Labels,
    measurement: &str,
    tag: (&str, &str),
    fields: impl Iterator<Item = (&'a str, f64)>,
    utc: UtcTime,
) -> Option<Line> {
    let tags = [tag];
    let mut text = head(measurement, if tag.0.is_empty() { &[] } else { &tags });
    text.push_str(&labels.origin);
    let mut values = 0_u32;
    for (name, value) in fields.filter(|(_, value)| value.is_finite()) {
        text.push(if values == 0 { ' ' } else { ',' });
        // Writing to a string cannot fail.
        let _ = write!(text, "{name}={value}");
        values += 1;
    }
    let _ = write!(text, " {}", utc.unix_nanos());
    (values > 0).then_some(Line { values, text })
}

/// The lines of an event: the event itself, and the figures of a cleared market.
pub(super) fn event_line(labels: &Labels, utc: UtcTime, record: &EventRecord) -> Vec<Line> {
    let device = record.device.as_deref().unwrap_or("");
    let mut text = head(EVENT, &[("device", device), ("kind", record.event)]);
    text.push_str(&labels.origin);
    text.push_str(" text=\"");
    escape_into(&mut text, &record.text, Place::Text);
    let _ = write!(text, "\" {}", utc.unix_nanos());
    let mut lines = vec![Line { values: 1, text }];
    if record.event == record::MARKET_CLEARED {
        let fields: Vec<String> = MARKET_FIELDS
            .iter()
            .filter_map(|key| {
                let value = record.details.get(*key)?.as_f64()?;
                Some(format!("{key}={value}"))
            })
            .collect();
        if !fields.is_empty() {
            lines.push(Line {
                values: fields.len() as u32,
                text: format!(
                    "{MARKET}{} {} {}",
                    labels.origin,
                    fields.join(","),
                    utc.unix_nanos()
                ),
            });
        }
    }
    lines
}
