//! Quantities written by people: `"2kW"`, `"-2..2kW"`, `"20%"`, `"150ms"`.

use std::time::Duration;

use crate::{Bounds, Quantity};

/// Why a text is not the quantity that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseQuantityError {
    /// There is no number where one was expected.
    NoNumber {
        /// The whole text.
        text: String,
    },
    /// The number carries no unit; a bare number is never guessed.
    NoUnit {
        /// The whole text.
        text: String,
        /// Units that would be accepted.
        accepted: String,
    },
    /// The unit belongs to another quantity or to none.
    WrongUnit {
        /// The unit that was written.
        unit: String,
        /// Units that would be accepted.
        accepted: String,
    },
    /// The lower end lies above the upper end.
    Reversed {
        /// The whole text.
        text: String,
    },
    /// The number is too large to be counted with in the base unit.
    TooLarge {
        /// The whole text.
        text: String,
    },
    /// A time runs forwards.
    Negative {
        /// The whole text.
        text: String,
    },
    /// A range was expected (`lower..upper`).
    NotARange {
        /// The whole text.
        text: String,
    },
}

impl std::fmt::Display for ParseQuantityError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoNumber { text } => write!(f, "`{text}` does not start with a number"),
            Self::NoUnit { text, accepted } => {
                write!(f, "`{text}` has no unit (use one of: {accepted})")
            }
            Self::WrongUnit { unit, accepted } => {
                write!(
                    f,
                    "unit `{unit}` does not fit here (use one of: {accepted})"
                )
            }
            Self::Reversed { text } => write!(f, "`{text}` ends below where it starts"),
            Self::TooLarge { text } => write!(f, "`{text}` is too large to be meant"),
            Self::Negative { text } => write!(f, "`{text}` is a time below zero"),
            Self::NotARange { text } => {
                write!(f, "`{text}` is not a range (write it as \"0..3kW\")")
            }
        }
    }
}

impl std::error::Error for ParseQuantityError {}

/// Splits `text` after its leading number. The number is plain decimal, with sign and exponent.
fn split_number(text: &str) -> Result<(f64, &str), ParseQuantityError> {
    let trimmed = text.trim();
    let bytes = trimmed.as_bytes();
    let mut end = 0;
    while end < bytes.len() {
        let c = bytes[end];
        let exponent_sign =
            matches!(c, b'+' | b'-') && (end == 0 || matches!(bytes[end - 1], b'e' | b'E'));
        // `e` belongs to the number only when a digit or a sign follows it.
        let exponent = matches!(c, b'e' | b'E')
            && end > 0
            && bytes
                .get(end + 1)
                .is_some_and(|n| n.is_ascii_digit() || matches!(n, b'+' | b'-'));
        if c.is_ascii_digit() || c == b'.' || exponent_sign || exponent {
            end += 1;
        } else {
            break;
        }
    }
    let number = trimmed[..end].parse::<f64>().ok().filter(|n| n.is_finite());
    match number {
        Some(number) => Ok((number, trimmed[end..].trim())),
        None => Err(ParseQuantityError::NoNumber { text: text.into() }),
    }
}

/// The quantity of a number in the base unit.
fn in_base<Q: Quantity>(number: f64, text: &str) -> Result<Q, ParseQuantityError> {
    if number.is_finite() {
        Ok(Q::from_base(number))
    } else {
        Err(ParseQuantityError::TooLarge { text: text.into() })
    }
}

fn accepted<Q: Quantity>() -> String {
    let base = if Q::SYMBOL == "1" { "%" } else { Q::SYMBOL };
    std::iter::once(base)
        .chain(Q::MULTIPLES.iter().map(|(symbol, _)| *symbol))
        .collect::<Vec<_>>()
        .join(", ")
}

fn factor<Q: Quantity>(text: &str, unit: &str) -> Result<f64, ParseQuantityError> {
    // A dimensionless quantity is written in percent.
    if Q::SYMBOL == "1" && unit == "%" {
        return Ok(0.01);
    }
    if unit == Q::SYMBOL && Q::SYMBOL != "1" {
        return Ok(1.0);
    }
    if let Some((_, factor)) = Q::MULTIPLES.iter().find(|(symbol, _)| *symbol == unit) {
        return Ok(*factor);
    }
    let accepted = accepted::<Q>();
    Err(if unit.is_empty() {
        ParseQuantityError::NoUnit {
            text: text.into(),
            accepted,
        }
    } else {
        ParseQuantityError::WrongUnit {
            unit: unit.into(),
            accepted,
        }
    })
}

/// Reads a quantity with its unit, such as `"2kW"`.
///
/// # Errors
/// When the number or the unit is missing or the unit belongs to another quantity.
pub fn parse_quantity<Q: Quantity>(text: &str) -> Result<Q, ParseQuantityError> {
    let (number, unit) = split_number(text)?;
    in_base(number * factor::<Q>(text, unit)?, text)
}

/// Reads a range such as `"-2..2kW"`; an end without a unit takes the other's.
///
/// # Errors
/// As [`parse_quantity`], and when the ends are reversed.
pub fn parse_range<Q: Quantity>(text: &str) -> Result<Bounds<Q>, ParseQuantityError> {
    let Some((low, high)) = text.split_once("..") else {
        return Err(ParseQuantityError::NotARange { text: text.into() });
    };
    let (low_number, low_unit) = split_number(low)?;
    let (high_number, high_unit) = split_number(high)?;
    let high_factor = factor::<Q>(text, high_unit)?;
    let low_factor = if low_unit.is_empty() {
        high_factor
    } else {
        factor::<Q>(text, low_unit)?
    };
    Bounds::new(
        in_base(low_number * low_factor, text)?,
        in_base(high_number * high_factor, text)?,
    )
    .ok_or(ParseQuantityError::Reversed { text: text.into() })
}

/// Units of time that people write, with their length in seconds.
const TIME_UNITS: &[(&str, f64)] = &[
    ("us", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("min", 60.0),
    ("h", 3600.0),
];

/// Longest time that is taken, in seconds.
/// Chosen: a hundred years: nothing on a bench lasts longer, and no sum of times overflows.
const TIME_S_MAX: f64 = 100.0 * 365.25 * 86_400.0;

/// Reads a time such as `"150ms"` or `"1.5s"`; never negative.
///
/// # Errors
/// When the number or the unit is missing or unknown, or the time is negative or endless.
pub fn parse_duration(text: &str) -> Result<Duration, ParseQuantityError> {
    let (number, unit) = split_number(text)?;
    let accepted = || {
        TIME_UNITS
            .iter()
            .map(|(symbol, _)| *symbol)
            .collect::<Vec<_>>()
            .join(", ")
    };
    match TIME_UNITS.iter().find(|(symbol, _)| *symbol == unit) {
        Some((_, seconds)) => {
            let seconds = number * seconds;
            if seconds > TIME_S_MAX {
                return Err(ParseQuantityError::TooLarge { text: text.into() });
            }
            Duration::try_from_secs_f64(seconds)
                .map_err(|_| ParseQuantityError::Negative { text: text.into() })
        }
        None if unit.is_empty() => Err(ParseQuantityError::NoUnit {
            text: text.into(),
            accepted: accepted(),
        }),
        None => Err(ParseQuantityError::WrongUnit {
            unit: unit.into(),
            accepted: accepted(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ActivePower, Frequency, PowerRamp, StateOfCharge, Voltage};

    fn check<Q: Quantity>(text: &str, expected: Result<f64, &str>) {
        let got = parse_quantity::<Q>(text)
            .map(Quantity::base)
            .map_err(|e| e.to_string());
        assert_eq!(got, expected.map_err(String::from), "{text}");
    }

    #[test]
    fn a_quantity_is_read_with_its_unit_and_never_without() {
        check::<ActivePower>("2kW", Ok(2000.0));
        check::<ActivePower>(" -2.5 kW ", Ok(-2500.0));
        check::<ActivePower>("1e3W", Ok(1000.0));
        check::<PowerRamp>("500W/s", Ok(500.0));
        check::<StateOfCharge>("20%", Ok(0.2));
        check::<Frequency>("50Hz", Ok(50.0));
        check::<ActivePower>("2", Err("`2` has no unit (use one of: W, kW, MW)"));
        check::<ActivePower>(
            "2V",
            Err("unit `V` does not fit here (use one of: W, kW, MW)"),
        );
        check::<Voltage>("", Err("`` does not start with a number"));
        check::<Voltage>("infV", Err("`infV` does not start with a number"));
        check::<Voltage>("1e999V", Err("`1e999V` does not start with a number"));
    }

    #[test]
    fn a_range_borrows_the_unit_of_its_upper_end() {
        let bounds = parse_range::<ActivePower>("-2..3kW").expect("a range");
        assert_eq!(bounds.lower().as_watts(), -2000.0);
        assert_eq!(bounds.upper().as_watts(), 3000.0);
        assert!(parse_range::<ActivePower>("3..-2kW").is_err(), "reversed");
        assert!(parse_range::<ActivePower>("3kW").is_err(), "not a range");
    }

    #[test]
    fn a_time_is_read_with_its_unit() {
        assert_eq!(parse_duration("150ms"), Ok(Duration::from_millis(150)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert!(parse_duration("15").is_err());
        let negative = ParseQuantityError::Negative { text: "-1s".into() };
        assert_eq!(parse_duration("-1s"), Err(negative));
        assert!(parse_duration("1 parsec").is_err());
    }

    #[test]
    fn what_is_too_large_to_be_counted_with_is_refused() {
        let too_large = |text: &str| ParseQuantityError::TooLarge { text: text.into() };
        let power = parse_quantity::<ActivePower>("1e308kW");
        assert_eq!(power.err(), Some(too_large("1e308kW")));
        let range = parse_range::<ActivePower>("0..1e308MW");
        assert_eq!(range.err(), Some(too_large("0..1e308MW")));
        for text in ["1e300s", "1e6h"] {
            assert_eq!(parse_duration(text), Err(too_large(text)));
        }
    }
}
