//! SCPI text: messages out of settings, values out of replies. Pure.
//!
//! Strict where a wrong value could slip in: a reply is a number of IEEE 488.2, or the
//! word of a switch, or it is corrupt. SCPI has a number of its own for "not a number"
//! and for infinity; neither is a value.

use model::Flaw;
use profile::scpi::{Form, QueryPoint, Setting};

/// Longest reply that is believed, in bytes.
/// Chosen: far above any reply to the queries of a profile; what is longer is no reply.
pub const LINE_MAX: usize = 4096;

/// What SCPI sends for "not a number".
//= SCPI-1999 volume 1, 7.2.1.4 and 7.2.1.5: NaN is 9.91E37, infinity 9.9E37.
const NOT_A_NUMBER: f64 = 9.91e37;
/// Numbers from here on are infinity or nothing at all.
const INFINITY_FROM: f64 = 9.9e37;

/// Cuts lines out of what arrives, and holds no more than one of the longest.
#[derive(Debug, Default)]
pub struct Lines {
    held: Vec<u8>,
    /// A line was too long: everything up to its end is thrown away.
    skipping: bool,
}

/// What was cut out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A line, without its terminator.
    Line(String),
    /// A line that is no text or too long.
    Garbage,
}

impl Lines {
    /// Takes bytes in.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Cut> {
        let mut cut = Vec::new();
        for byte in bytes {
            match (*byte, self.skipping) {
                (b'\n', true) => self.skipping = false,
                (b'\n', false) => cut.push(text(std::mem::take(&mut self.held))),
                (_, true) => {}
                (byte, false) if self.held.len() < LINE_MAX => self.held.push(byte),
                _ => {
                    self.held.clear();
                    self.skipping = true;
                    cut.push(Cut::Garbage);
                }
            }
        }
        cut
    }

    /// Whether a line has begun and not ended.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.skipping || !self.held.is_empty()
    }

    /// Forgets what has begun.
    pub fn clear(&mut self) {
        self.held.clear();
        self.skipping = false;
    }
}

fn text(bytes: Vec<u8>) -> Cut {
    let printable = |byte: &u8| (b' '..=b'~').contains(byte) || matches!(byte, b'\r' | b'\t');
    if !bytes.iter().all(printable) {
        return Cut::Garbage;
    }
    match String::from_utf8(bytes) {
        Ok(line) => Cut::Line(line.trim().to_owned()),
        Err(_) => Cut::Garbage,
    }
}

/// A number of a reply: plain, with a point, or with an exponent.
///
/// # Errors
/// `NotImplemented` for SCPI's NaN, `OutOfRange` for its infinities, `Corrupt` for anything else.
//= IEEE 488.2, 8.7.2 to 8.7.4: NR1, NR2 and NR3.
pub fn number(text: &str) -> Result<f64, Flaw> {
    let text = text.trim();
    // `inf`, `nan` and the like would be read by the library, and are no replies.
    let plain =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    if text.is_empty() || !text.bytes().all(plain) {
        return Err(Flaw::Corrupt);
    }
    let value: f64 = text.parse().map_err(|_| Flaw::Corrupt)?;
    if value == NOT_A_NUMBER {
        Err(Flaw::NotImplemented)
    } else if value.abs() >= INFINITY_FROM {
        Err(Flaw::OutOfRange)
    } else {
        Ok(value)
    }
}

/// A number, or a switch's word.
fn number_or_word(text: &str) -> Result<f64, Flaw> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("on") {
        Ok(1.0)
    } else if text.eq_ignore_ascii_case("off") {
        Ok(0.0)
    } else {
        number(text)
    }
}

/// One of the values of a reply; a comma inside quotes parts nothing.
fn field(reply: &str, index: usize) -> Option<&str> {
    let (mut quoted, mut start, mut at) = (false, 0, 0);
    for (place, byte) in reply.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                if at == index {
                    return reply.get(start..place);
                }
                at += 1;
                start = place + 1;
            }
            _ => {}
        }
    }
    (at == index).then(|| reply.get(start..)).flatten()
}

/// The value of a point in a reply, in its base unit.
///
/// # Errors
/// As [`number`]; `Corrupt` when there is no such field, `OutOfRange` outside the point's range.
pub fn decode(point: &QueryPoint, reply: &str) -> Result<f64, Flaw> {
    let text = field(reply, point.field).ok_or(Flaw::Corrupt)?;
    let raw = match point.point.unit() {
        "1" => number_or_word(text)?,
        _ => number(text)?,
    };
    let value = raw * point.factor;
    let (low, high) = point.range;
    if (low..=high).contains(&value) {
        Ok(value)
    } else {
        Err(Flaw::OutOfRange)
    }
}

/// The message that sets a value, given in its base unit.
#[must_use]
pub fn compose(setting: &Setting, value: f64) -> String {
    match &setting.form {
        Form::Number { template, decimals } => {
            template.replace("{value}", &decimal(value / setting.factor, *decimals))
        }
        Form::Switch { on, .. } if value >= 0.5 => on.clone(),
        Form::Switch { off, .. } => off.clone(),
    }
}

/// The message that tells an instrument its limits, given in the base unit.
#[must_use]
pub fn compose_limit(setting: &Setting, limit: &str, (low, high): (f64, f64)) -> String {
    let decimals = match &setting.form {
        Form::Number { decimals, .. } => *decimals,
        Form::Switch { .. } => 0,
    };
    let (a, b) = (low / setting.factor, high / setting.factor);
    // A vendor's opposite sign turns the range round.
    let (low, high) = (a.min(b), a.max(b));
    limit
        .replace("{low}", &decimal(low, decimals))
        .replace("{high}", &decimal(high, decimals))
}

/// A number with so many decimals; nothing is written as plus nothing.
fn decimal(value: f64, decimals: u8) -> String {
    let digits = usize::from(decimals);
    let text = format!("{value:.digits$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.bytes().all(|b| matches!(b, b'0' | b'.')) => rest.to_owned(),
        _ => text,
    }
}

/// The setting that a reply to its readback tells, in the base unit.
///
/// # Errors
/// As [`number`].
pub fn read_back(setting: &Setting, reply: &str) -> Result<f64, Flaw> {
    match &setting.form {
        Form::Number { .. } => Ok(number(reply)? * setting.factor),
        Form::Switch { .. } => number_or_word(reply),
    }
}

/// Whether a reply to `*OPC?` says that everything is done.
#[must_use]
pub fn is_complete(reply: &str) -> bool {
    matches!(number(reply), Ok(1.0))
}

/// An entry of the error queue; `None` for the one that says that the queue is empty.
///
/// # Errors
/// `Corrupt` when the reply is no entry.
//= SCPI-1999 volume 2, 21.8: <number>,"<text>[;device dependent info]"; 0,"No error" when empty.
pub fn error_entry(reply: &str) -> Result<Option<String>, Flaw> {
    let code = field(reply, 0).unwrap_or_default();
    let code = number(code)?;
    if code.fract() != 0.0 || code.abs() > 32_768.0 {
        return Err(Flaw::Corrupt);
    }
    if code == 0.0 {
        return Ok(None);
    }
    let text = reply.split_once(',').map_or("", |(_, text)| text);
    Ok(Some(format!("{code}: {}", text.trim().trim_matches('"'))))
}

#[cfg(test)]
mod tests;
