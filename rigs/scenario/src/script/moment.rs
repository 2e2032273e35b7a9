//! Moments of a script: absolute, after the previous step, or around a mark.

use std::fmt;
use std::time::Duration;

use model::Instant;
use quantities::parse_duration;

/// What a moment is counted from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Begin of the scenario.
    Start,
    /// End of the record.
    End,
    /// End of the previous step.
    Previous,
    /// A mark.
    Mark(String),
}

/// A moment: an anchor and a distance from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// What it is counted from.
    pub anchor: Anchor,
    /// Distance in nanoseconds; negative = before.
    pub offset_ns: i64,
}

impl Moment {
    /// Begin of the scenario.
    pub const START: Self = Self {
        anchor: Anchor::Start,
        offset_ns: 0,
    };
    /// End of the record.
    pub const END: Self = Self {
        anchor: Anchor::End,
        offset_ns: 0,
    };

    /// Reads a moment such as `3s`, `+1s`, `t0` or `t0+1.3s`.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let offset = |text: &str| {
            let time = parse_duration(text).map_err(|e| e.to_string())?;
            i64::try_from(time.as_nanos()).map_err(|_| format!("`{text}` is too long"))
        };
        if let Some(rest) = text.strip_prefix('+') {
            return Ok(Self {
                anchor: Anchor::Previous,
                offset_ns: offset(rest)?,
            });
        }
        if text.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return Ok(Self {
                anchor: Anchor::Start,
                offset_ns: offset(text)?,
            });
        }
        let sign_at = text.find(['+', '-']);
        let (name, sign, rest) = match sign_at {
            Some(i) => (text[..i].trim(), &text[i..=i], text[i + 1..].trim()),
            None => (text, "+", ""),
        };
        if !is_mark(name) {
            return Err(format!("`{text}` is neither a time nor a mark"));
        }
        let distance = if sign_at.is_some() { offset(rest)? } else { 0 };
        Ok(Self {
            anchor: match name {
                "start" => Anchor::Start,
                "end" => Anchor::End,
                mark => Anchor::Mark(mark.to_owned()),
            },
            offset_ns: if sign == "-" { -distance } else { distance },
        })
    }

    /// The moment as an instant, given where its anchor is; before the run's begin it is the begin.
    #[must_use]
    pub fn from_anchor(&self, anchor: Instant) -> Instant {
        let distance = Duration::from_nanos(self.offset_ns.unsigned_abs());
        if self.offset_ns < 0 {
            anchor - distance
        } else {
            anchor + distance
        }
    }
}

/// Whether a word can name a mark: a letter, then letters, digits and underscores.
pub(super) fn is_mark(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = crate::report::number(self.offset_ns.unsigned_abs() as f64 / 1e9);
        let sign = if self.offset_ns < 0 { '-' } else { '+' };
        match &self.anchor {
            Anchor::Start if self.offset_ns >= 0 => write!(f, "{seconds}s"),
            Anchor::Previous => write!(f, "{sign}{seconds}s"),
            anchor => {
                let name = match anchor {
                    Anchor::Mark(name) => name,
                    Anchor::End => "end",
                    Anchor::Start | Anchor::Previous => "start",
                };
                if self.offset_ns == 0 {
                    f.write_str(name)
                } else {
                    write!(f, "{name}{sign}{seconds}s")
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_absolute_relative_or_around_a_mark() {
        let rows = [
            ("3s", Some((Anchor::Start, 3_000_000_000)), "3s"),
            ("0s", Some((Anchor::Start, 0)), "0s"),
            ("+1s", Some((Anchor::Previous, 1_000_000_000)), "+1s"),
            ("t0", Some((Anchor::Mark("t0".into()), 0)), "t0"),
            (
                "t0+1.3s",
                Some((Anchor::Mark("t0".into()), 1_300_000_000)),
                "t0+1.3s",
            ),
            (
                "t0 - 200ms",
                Some((Anchor::Mark("t0".into()), -200_000_000)),
                "t0-0.2s",
            ),
            ("end-1s", Some((Anchor::End, -1_000_000_000)), "end-1s"),
            ("start", Some((Anchor::Start, 0)), "0s"),
            ("3", None, ""),
            ("-1s", None, ""),
            ("+", None, ""),
            ("t0+", None, ""),
            ("t0+x", None, ""),
            ("", None, ""),
            ("1e300s", None, ""),
        ];
        for (text, expected, shown) in rows {
            let got = Moment::parse(text).ok();
            assert_eq!(
                got.as_ref().map(ToString::to_string).unwrap_or_default(),
                shown
            );
            assert_eq!(got.map(|m| (m.anchor, m.offset_ns)), expected, "{text}");
        }
    }
}
