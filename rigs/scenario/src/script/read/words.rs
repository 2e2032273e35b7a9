//! Single values of a scenario: times, moments, signals, known words.

use std::time::Duration;

use document::{Spanned, Table};
use quantities::parse_duration;

use super::Reader;
use crate::codes;
use crate::script::{Anchor, Moment, Named};
use crate::signal::{Signal, SignalNameError, SignalQuantity};

/// The most similar known word, or all of them.
pub(crate) fn nearest(word: &str, known: &[&str]) -> String {
    let like = known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(word, k), *k))
        // Chosen: as for keys, a third of the letters may differ.
        .filter(|(distance, k)| *distance * 3 <= k.len().max(word.len()).max(3))
        .min();
    match like {
        Some((_, k)) => format!("did you mean `{k}`?"),
        None if known.is_empty() => String::new(),
        None => format!("use one of: {}", known.join(", ")),
    }
}

impl Reader<'_> {
    /// One of a set of words.
    pub(super) fn word<T: Copy>(
        &self,
        table: &Table<'_>,
        key: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let text = self.text(table, key)?;
        let found = words.iter().find(|(word, _)| *word == text.value);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.document.error(
                codes::UNKNOWN_WORD,
                text.span,
                format!("`{}` is not known here", text.value),
                "",
                nearest(&text.value, &known),
            );
        }
        found.map(|(_, value)| *value)
    }

    /// A time longer than nothing that must be there.
    pub(super) fn time(&self, table: &Table<'_>, key: &str, example: &str) -> Option<Duration> {
        if table.has(key) {
            self.optional_time(table, key)
        } else {
            table.missing(key, &format!("\"{example}\""))
        }
    }

    /// A time longer than nothing.
    pub(super) fn optional_time(&self, table: &Table<'_>, key: &str) -> Option<Duration> {
        let text = self.text(table, key)?;
        match parse_duration(&text.value) {
            Ok(time) if !time.is_zero() => Some(time),
            Ok(_) => {
                self.document.error(
                    codes::BAD_NUMBER,
                    text.span,
                    format!("`{key}` is no time at all"),
                    "must be longer than nothing",
                    "",
                );
                None
            }
            Err(e) => {
                self.document.error(
                    codes::BAD_MOMENT,
                    text.span,
                    format!("`{key}` is not a time: {e}"),
                    "",
                    "write it as \"1.5s\" or \"200ms\"",
                );
                None
            }
        }
    }

    /// A moment whose mark, if it has one, is known.
    pub(super) fn moment(&self, text: &Spanned<String>, example: &str) -> Option<Moment> {
        let moment = match Moment::parse(&text.value) {
            Ok(moment) => moment,
            Err(e) => {
                self.document.error(
                    codes::BAD_MOMENT,
                    text.span.clone(),
                    e,
                    "not a moment",
                    format!("write it as \"3s\" or \"{example}\""),
                );
                return None;
            }
        };
        if let Anchor::Mark(mark) = &moment.anchor
            && !self.marks.contains(mark)
        {
            let known: Vec<&str> = self.marks.iter().map(String::as_str).collect();
            self.document.error(
                codes::UNKNOWN_MARK,
                text.span.clone(),
                format!("there is no mark `{mark}` here"),
                "",
                nearest(mark, &known),
            );
            return None;
        }
        Some(moment)
    }

    /// The signal that a text names.
    fn signal(&self, text: &Spanned<String>) -> Option<Signal> {
        let fault = match Signal::parse(&text.value) {
            Ok(signal) => return Some(signal),
            Err(fault) => fault,
        };
        let help = match &fault {
            SignalNameError::UnknownQuantity(quantity) => {
                let known: Vec<&str> = SignalQuantity::NAMES.iter().map(|(n, _)| *n).collect();
                nearest(quantity, &known)
            }
            SignalNameError::NoSubject(_) => {
                "name a device and a quantity, such as `bat1.p`".to_owned()
            }
        };
        self.document.error(
            codes::UNKNOWN_SIGNAL,
            text.span.clone(),
            fault.to_string(),
            "",
            help,
        );
        None
    }

    /// The signal that stands under a key and that is looked at.
    pub(super) fn signal_of(&self, table: &Table<'_>, key: &str) -> Option<Signal> {
        let text = self.text(table, key)?;
        self.measured(&text)
    }

    /// The signal that a text names and that is looked at.
    pub(super) fn measured(&self, text: &Spanned<String>) -> Option<Signal> {
        let signal = self.signal(text)?;
        self.mention(Named::Measured(signal.clone()), text.span.clone());
        Some(signal)
    }

    /// The signal that a text names and that is set or held.
    pub(super) fn moved(
        &self,
        text: &Spanned<String>,
        named: fn(Signal) -> Named,
    ) -> Option<Signal> {
        let signal = self.signal(text)?;
        self.mention(named(signal.clone()), text.span.clone());
        Some(signal)
    }

    /// A value of a signal, in its base unit.
    pub(super) fn value(&self, signal: &Signal, text: &Spanned<String>) -> Option<f64> {
        match signal.quantity.parse_value(&text.value) {
            Ok(value) => Some(value),
            Err(e) => {
                self.document.error(
                    codes::WRONG_UNIT,
                    text.span.clone(),
                    format!("this is no value of `{signal}`: {e}"),
                    "",
                    "",
                );
                None
            }
        }
    }

    /// A distance between two values of a signal, never negative.
    pub(super) fn distance(&self, signal: &Signal, table: &Table<'_>, key: &str) -> Option<f64> {
        let text = self.text(table, key)?;
        let value = self.value(signal, &text)?;
        if value >= 0.0 {
            return Some(value);
        }
        self.document.error(
            codes::BAD_NUMBER,
            text.span,
            format!("`{key}` is a distance and cannot be negative"),
            "",
            "",
        );
        None
    }
}
