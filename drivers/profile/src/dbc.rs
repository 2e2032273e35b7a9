//! DBC files: which numbers stand where in the frames of a CAN bus, as tool makers write it down.
//!
//! Responsible for making [`Field`]s and [`Selector`]s of what a DBC file says, and for
//! saying with its line what cannot be used. The syntax is read by `can-dbc`. Not
//! responsible for what a signal means to us: the profile maps it to a point.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use can_dbc::{Dbc, MessageId, MultiplexIndicator, SignalExtendedValueType, ValueType};
use document::Source;

use crate::can::{Bits, ByteOrder, CanId, DATA_BYTES_MAX, Field, Number, Selector, frame_length};

/// Largest file that is read, in bytes.
/// Chosen: the DBC files of whole vehicles have about 2 MB; twice that is parsed within seconds.
pub const FILE_BYTES_MAX: usize = 4 << 20;

/// Deepest nesting of multiplexers. Chosen: deeper than any published file; it bounds a loop of names.
const NESTING_MAX: usize = 8;

/// Attribute with the cycle time of a message in milliseconds, as tool makers name it.
const CYCLE_TIME: &str = "GenMsgCycleTime";

/// Why a file cannot be used at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct Unusable {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub why: String,
}

/// What a DBC file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Database {
    /// Its messages, in the order of the file.
    pub messages: Vec<Message>,
}

/// A message: a frame on the bus.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its name in the file.
    pub name: String,
    /// Its identifier.
    pub id: CanId,
    /// Its data bytes.
    pub len: usize,
    /// How often it is sent, if the file says so.
    pub cycle: Option<Duration>,
    /// Its signals, in the order of the file.
    pub signals: Vec<Signal>,
}

/// A signal: a number in a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// Its name in the file.
    pub name: String,
    /// Its unit as the file writes it; often empty.
    pub unit: String,
    /// The line that declares it.
    pub line: usize,
    /// Where it stands; or why it cannot be read.
    pub shape: Result<Shape, String>,
}

/// Where a signal stands and when it is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Where and how; factor and offset lead to the file's unit.
    pub field: Field,
    /// It is there only when each of these numbers has one of its values.
    pub page: Vec<Selector>,
}

impl Database {
    /// Reads a DBC text.
    ///
    /// # Errors
    /// The first line that is not DBC, or that no bus can carry.
    pub fn parse(source: &Arc<Source>) -> Result<Self, Unusable> {
        let text = &source.text;
        if text.len() > FILE_BYTES_MAX {
            return Err(Unusable {
                line: 1,
                why: format!(
                    "the file has {} bytes, more than {FILE_BYTES_MAX}: keep the messages that are mapped",
                    text.len()
                ),
            });
        }
        let lines = Lines::of(text)?;
        let dbc = Dbc::try_from(text.as_str()).map_err(|error| syntax(&error))?;
        let mut ids = BTreeSet::new();
        let mut messages = Vec::new();
        for message in &dbc.messages {
            // Signals of no message are collected under this name with an identifier that no frame has.
            if message.name == "VECTOR__INDEPENDENT_SIG_MSG" {
                continue;
            }
            let line = lines.message(&message.name);
            let at = |why: String| Unusable { line, why };
            let id = id(message.id).ok_or_else(|| {
                at(format!(
                    "`{}` has no identifier of 11 or 29 bits",
                    message.name
                ))
            })?;
            if !ids.insert(id) {
                return Err(at(format!("{id} is the identifier of two messages")));
            }
            let len = usize::try_from(message.size)
                .ok()
                .filter(|len| *len <= DATA_BYTES_MAX && frame_length(*len) == Some(*len))
                .ok_or_else(|| {
                    at(format!(
                        "`{}` has {} bytes: a frame has 0 to 8, 12, 16, 20, 24, 32, 48 or 64",
                        message.name, message.size
                    ))
                })?;
            let mut names = BTreeSet::new();
            if let Some(twice) = message.signals.iter().find(|s| !names.insert(&s.name)) {
                return Err(Unusable {
                    line: lines.signal(&message.name, &twice.name),
                    why: format!("`{}` has the signal `{}` twice", message.name, twice.name),
                });
            }
            let signals = message
                .signals
                .iter()
                .map(|signal| Signal {
                    name: signal.name.clone(),
                    unit: signal.unit.clone(),
                    line: lines.signal(&message.name, &signal.name),
                    shape: shape(&dbc, message, signal, len),
                })
                .collect();
            messages.push(Message {
                name: message.name.clone(),
                id,
                len,
                cycle: cycle(&dbc, message.id),
                signals,
            });
        }
        Ok(Self { messages })
    }

    /// The message of a name.
    #[must_use]
    pub fn message(&self, name: &str) -> Option<&Message> {
        self.messages.iter().find(|m| m.name == name)
    }
}

impl Message {
    /// The signal of a name.
    #[must_use]
    pub fn signal(&self, name: &str) -> Option<&Signal> {
        self.signals.iter().find(|s| s.name == name)
    }
}

/// The text of a DBC file: UTF-8, or else the western code page in which most tools write.
#[must_use]
pub fn text_of(bytes: Vec<u8>) -> String {
    // Latin-1 is that code page in all letters and signs of units, the degree sign above all.
    String::from_utf8(bytes)
        .unwrap_or_else(|e| e.into_bytes().iter().map(|b| char::from(*b)).collect())
}

fn syntax(error: &can_dbc::DbcError) -> Unusable {
    let can_dbc::DbcError::Pest(pest) = error else {
        return Unusable {
            line: 1,
            why: format!("this is not a DBC file: {error}"),
        };
    };
    // The place is a type of a crate below `can-dbc`; its text begins with `--> LINE:COLUMN`.
    let text = pest.to_string();
    let place = text
        .split_once("--> ")
        .and_then(|(_, rest)| rest.split_whitespace().next()?.split_once(':'));
    let (line, column) = place.unwrap_or(("1", "1"));
    Unusable {
        line: line.parse().unwrap_or(1),
        why: format!(
            "this is not DBC from column {column} on: `{}`",
            shortened(pest.line())
        ),
    }
}

fn id(id: MessageId) -> Option<CanId> {
    match id {
        MessageId::Standard(id) if id <= CanId::STANDARD_MAX => Some(CanId::Standard(id)),
        MessageId::Standard(_) => None,
        MessageId::Extended(id) => Some(CanId::Extended(id)),
    }
}

fn cycle(dbc: &Dbc, id: MessageId) -> Option<Duration> {
    let value = dbc
        .attribute_values_message
        .iter()
        .find(|a| a.message_id == id && a.name == CYCLE_TIME)?;
    match value.value {
        can_dbc::AttributeValue::Uint(ms) if ms > 0 => Some(Duration::from_millis(ms)),
        _ => None,
    }
}

fn shape(
    dbc: &Dbc,
    message: &can_dbc::Message,
    signal: &can_dbc::Signal,
    len: usize,
) -> Result<Shape, String> {
    let float = dbc
        .signal_extended_value_type_list
        .iter()
        .find(|v| v.message_id == message.id && v.signal_name == signal.name)
        .map(|v| v.signal_extended_value_type);
    let at = bits(signal, len)?;
    let number = match (float, at.len) {
        (Some(SignalExtendedValueType::IEEEfloat32Bit), 32)
        | (Some(SignalExtendedValueType::IEEEdouble64bit), 64) => Number::Float,
        (
            Some(
                SignalExtendedValueType::IEEEfloat32Bit | SignalExtendedValueType::IEEEdouble64bit,
            ),
            bits,
        ) => return Err(format!("a floating-point number does not have {bits} bits")),
        (Some(SignalExtendedValueType::SignedOrUnsignedInteger) | None, _) => {
            match signal.value_type {
                ValueType::Signed => Number::Signed,
                ValueType::Unsigned => Number::Unsigned,
            }
        }
    };
    if signal.factor == 0.0 || !signal.factor.is_finite() || !signal.offset.is_finite() {
        return Err(format!(
            "its factor {} or offset {} makes no value",
            signal.factor, signal.offset
        ));
    }
    Ok(Shape {
        field: Field {
            at,
            number,
            factor: signal.factor,
            offset: signal.offset,
        },
        page: page(dbc, message, signal, len, 0)?,
    })
}

fn bits(signal: &can_dbc::Signal, len: usize) -> Result<Bits, String> {
    let size = u16::try_from(signal.size)
        .ok()
        .filter(|s| (1..=64).contains(s));
    let Some(size) = size else {
        return Err(format!("it has {} bits; a number has 1 to 64", signal.size));
    };
    let outside = || format!("it does not lie within the {len} bytes of its message");
    let bits = Bits {
        start: u16::try_from(signal.start_bit).map_err(|_| outside())?,
        len: size,
        order: match signal.byte_order {
            can_dbc::ByteOrder::LittleEndian => ByteOrder::Little,
            can_dbc::ByteOrder::BigEndian => ByteOrder::Big,
        },
    };
    match bits.last_byte() {
        Some(last) if last < len => Ok(bits),
        _ => Err(outside()),
    }
}

/// The numbers that must fit before a signal is there: its multiplexer, and that one's own.
fn page(
    dbc: &Dbc,
    message: &can_dbc::Message,
    signal: &can_dbc::Signal,
    len: usize,
    depth: usize,
) -> Result<Vec<Selector>, String> {
    if depth > NESTING_MAX {
        return Err(format!(
            "its multiplexers are nested more than {NESTING_MAX} deep"
        ));
    }
    let extended: Vec<_> = dbc
        .extended_multiplex
        .iter()
        .filter(|e| e.message_id == message.id && e.signal_name == signal.name)
        .collect();
    let chosen = match (extended.as_slice(), signal.multiplexer_indicator) {
        ([], MultiplexIndicator::Plain | MultiplexIndicator::Multiplexor) => return Ok(Vec::new()),
        (
            [],
            MultiplexIndicator::MultiplexedSignal(value)
            | MultiplexIndicator::MultiplexorAndMultiplexedSignal(value),
        ) => {
            let mut switches = message
                .signals
                .iter()
                .filter(|s| s.multiplexer_indicator == MultiplexIndicator::Multiplexor);
            match (switches.next(), switches.next()) {
                (Some(switch), None) => vec![(switch, vec![(value, value)])],
                (None, _) => return Err("its message has no multiplexer".to_owned()),
                _ => {
                    return Err(
                        "its message has several multiplexers and no SG_MUL_VAL_ says which is its own"
                            .to_owned(),
                    );
                }
            }
        }
        (entries, _) => entries
            .iter()
            .map(|entry| {
                let switch = message
                    .signals
                    .iter()
                    .find(|s| s.name == entry.multiplexor_signal_name)
                    .ok_or_else(|| {
                        format!(
                            "its multiplexer `{}` is not there",
                            entry.multiplexor_signal_name
                        )
                    })?;
                let values = entry.mappings.iter().map(|m| (m.min_value, m.max_value));
                Ok((switch, values.collect()))
            })
            .collect::<Result<Vec<_>, String>>()?,
    };
    let mut page = Vec::new();
    for (switch, values) in chosen {
        page.extend(self::page(dbc, message, switch, len, depth + 1)?);
        let at = bits(switch, len).map_err(|why| format!("its multiplexer: {why}"))?;
        if values.is_empty() {
            return Err("no value of its multiplexer is named".to_owned());
        }
        page.push(Selector { at, values });
    }
    page.sort();
    page.dedup();
    Ok(page)
}

/// Where messages and signals are declared, and a check that `can-dbc` leaves out.
struct Lines {
    messages: Vec<(String, usize)>,
    signals: Vec<(String, String, usize)>,
}

impl Lines {
    fn of(text: &str) -> Result<Self, Unusable> {
        let mut this = Self {
            messages: Vec::new(),
            signals: Vec::new(),
        };
        for (n, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_whitespace().take(3).collect();
            match words.as_slice() {
                ["BO_", id, name] => {
                    // The parser keeps the lower 16 bits of an identifier without the flag of
                    // 29 bits: 0x10351 would silently be 0x351.
                    if id
                        .parse::<u64>()
                        .is_ok_and(|id| (0x800..1 << 31).contains(&id) || id > u64::from(u32::MAX))
                    {
                        return Err(Unusable {
                            line: n + 1,
                            why: format!(
                                "{id} is not an identifier: 11 bits, or 29 bits plus 2147483648"
                            ),
                        });
                    }
                    this.messages
                        .push((name.trim_end_matches(':').to_owned(), n + 1));
                }
                ["SG_", name, ..] => {
                    if let Some((message, _)) = this.messages.last() {
                        let name = name.trim_end_matches(':').to_owned();
                        this.signals.push((message.clone(), name, n + 1));
                    }
                }
                _ => {}
            }
        }
        Ok(this)
    }

    fn message(&self, name: &str) -> usize {
        self.messages
            .iter()
            .find(|(known, _)| known == name)
            .map_or(1, |(_, line)| *line)
    }

    fn signal(&self, message: &str, name: &str) -> usize {
        self.signals
            .iter()
            .rev()
            .find(|(of, known, _)| of == message && known == name)
            .map_or(1, |(.., line)| *line)
    }
}

/// The beginning of a line, for a message.
fn shortened(line: &str) -> String {
    line.trim().chars().take(60).collect()
}

#[cfg(test)]
mod tests;
