//! From register words to values and back: pure, total, no I/O.
//!
//! Responsible for what an [`Encoding`] means: type, word order, factor, scale
//! register, and the patterns that mean "not implemented". It is not responsible
//! for where a register stands (see `blocks`) nor for how it travels (see `link`).
//!
//! Terms: a *raw* number is what the registers hold, a *value* is in the base unit
//! of the point: `value = raw * factor * 10^scale`.

use model::Flaw;
use profile::modbus::{DataType, Encoding, WordOrder};

/// Bit pattern of a scale factor register that means "not implemented".
/// Source: SunSpec Device Information Model Specification, type `sunssf`.
const SCALE_NOT_IMPLEMENTED: u16 = 0x8000;

/// Largest magnitude of a scale factor (a power of ten, no unit).
/// Source: SunSpec Device Information Model Specification, type `sunssf`: -10 to 10.
const SCALE_MAX: i16 = 10;

/// Why a value cannot be written into a register.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum EncodeError {
    /// The value is not a number, or the encoding has no factor.
    #[error("{0} is not a number that a register can hold")]
    NotFinite(f64),
    /// The raw number does not fit into the register's type.
    #[error("raw number {raw} does not fit into {data:?}")]
    DoesNotFit {
        /// The raw number.
        raw: f64,
        /// The type.
        data: DataType,
    },
    /// The raw number is the pattern that means "not implemented".
    #[error("raw number {0:#x} means \"not implemented\" on this device")]
    Reserved(u64),
    /// The scale register does not hold a scale factor.
    #[error("scale register holds {0:#06x}, which is no scale factor")]
    NoScale(u16),
}

/// The words of one value, most one 64 bit number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    words: [u16; 4],
    len: u16,
}

impl Words {
    /// The words in wire order.
    #[must_use]
    pub fn as_slice(&self) -> &[u16] {
        &self.words[..usize::from(self.len)]
    }
}

/// The value in `words`, which must be exactly those of the encoding's type.
///
/// # Errors
/// [`Flaw::NotImplemented`] when the device says so (also through its scale
/// register), [`Flaw::OutOfRange`] for an infinite number, [`Flaw::Corrupt`]
/// when the number of words is not that of the type.
pub fn decode(encoding: &Encoding, words: &[u16], scale: Option<u16>) -> Result<f64, Flaw> {
    let scale = match scale {
        Some(word) => power_of_scale(word).ok_or(Flaw::NotImplemented)?,
        // A scale that was asked for and is not at hand is not a scale of one.
        None if encoding.scale.is_some() => return Err(Flaw::Corrupt),
        None => 0,
    };
    let bits = join(encoding, words).ok_or(Flaw::Corrupt)?;
    if encoding.not_implemented.contains(bits) {
        return Err(Flaw::NotImplemented);
    }
    let raw = number(encoding.data, bits);
    if raw.is_nan() {
        return Err(Flaw::NotImplemented);
    }
    let value = scaled(raw * encoding.factor, scale);
    if value.is_finite() {
        Ok(value)
    } else {
        Err(Flaw::OutOfRange)
    }
}

/// The value, if it lies in `range` (ends included, base unit).
///
/// # Errors
/// As [`decode`], and [`Flaw::OutOfRange`] outside the range.
pub fn decode_in_range(
    encoding: &Encoding,
    words: &[u16],
    scale: Option<u16>,
    range: (f64, f64),
) -> Result<f64, Flaw> {
    let value = decode(encoding, words, scale)?;
    if range.0 <= value && value <= range.1 {
        Ok(value)
    } else {
        Err(Flaw::OutOfRange)
    }
}

/// The words that hold the raw number nearest to `value`.
///
/// # Errors
/// When no register content stands for this value.
pub fn encode(encoding: &Encoding, value: f64, scale: Option<u16>) -> Result<Words, EncodeError> {
    let scale = match scale {
        Some(word) => power_of_scale(word).ok_or(EncodeError::NoScale(word))?,
        None if encoding.scale.is_some() => {
            return Err(EncodeError::NoScale(SCALE_NOT_IMPLEMENTED));
        }
        None => 0,
    };
    let raw = scaled(value / encoding.factor, -scale);
    if !raw.is_finite() {
        return Err(EncodeError::NotFinite(value));
    }
    encode_number(encoding, raw)
}

/// The words of a raw number, without factor and scale.
///
/// # Errors
/// When the type cannot hold it.
pub fn encode_raw(encoding: &Encoding, raw: i64) -> Result<Words, EncodeError> {
    let bits = match encoding.data {
        DataType::F32 => u64::from((raw as f32).to_bits()),
        data => {
            let (low, high) = limits(data);
            if i128::from(raw) < low || i128::from(raw) > high {
                return Err(EncodeError::DoesNotFit {
                    raw: raw as f64,
                    data,
                });
            }
            i128::from(raw) as u64 & mask(data)
        }
    };
    Ok(split(encoding, bits))
}

fn encode_number(encoding: &Encoding, raw: f64) -> Result<Words, EncodeError> {
    let data = encoding.data;
    let bits = if data == DataType::F32 {
        let single = raw as f32;
        if !single.is_finite() {
            return Err(EncodeError::DoesNotFit { raw, data });
        }
        u64::from(single.to_bits())
    } else {
        // A float-to-integer cast saturates, so the comparison below sees every overflow.
        let integer = raw.round() as i128;
        let (low, high) = limits(data);
        if integer < low || integer > high {
            return Err(EncodeError::DoesNotFit { raw, data });
        }
        integer as u64 & mask(data)
    };
    if encoding.not_implemented.contains(bits) {
        return Err(EncodeError::Reserved(bits));
    }
    Ok(split(encoding, bits))
}

/// The power of ten in a scale register; `None` when it holds none.
fn power_of_scale(word: u16) -> Option<i16> {
    let power = word.cast_signed();
    (word != SCALE_NOT_IMPLEMENTED && power.abs() <= SCALE_MAX).then_some(power)
}

/// `value * 10^power`; a negative power divides, as tenths are not exact in binary.
fn scaled(value: f64, power: i16) -> f64 {
    if power < 0 {
        value / 10_f64.powi(i32::from(-power))
    } else {
        value * 10_f64.powi(i32::from(power))
    }
}

fn join(encoding: &Encoding, words: &[u16]) -> Option<u64> {
    if words.len() != usize::from(encoding.data.registers()) {
        return None;
    }
    let shift_in = |bits: u64, word: &u16| bits << 16 | u64::from(*word);
    Some(match encoding.order {
        WordOrder::BigFirst => words.iter().fold(0, shift_in),
        WordOrder::LittleFirst => words.iter().rev().fold(0, shift_in),
    })
}

fn split(encoding: &Encoding, bits: u64) -> Words {
    let len = encoding.data.registers();
    let mut words = [0; 4];
    for (place, word) in words[..usize::from(len)].iter_mut().enumerate() {
        let place = place as u16;
        let significance = match encoding.order {
            WordOrder::BigFirst => len - 1 - place,
            WordOrder::LittleFirst => place,
        };
        *word = (bits >> (16 * significance)) as u16;
    }
    Words { words, len }
}

fn number(data: DataType, bits: u64) -> f64 {
    match data {
        DataType::Bit => f64::from(u8::from(bits != 0)),
        DataType::U16 | DataType::U32 | DataType::U64 => bits as f64,
        DataType::I16 => f64::from((bits as u16).cast_signed()),
        DataType::I32 => f64::from((bits as u32).cast_signed()),
        DataType::I64 => bits.cast_signed() as f64,
        DataType::F32 => f64::from(f32::from_bits(bits as u32)),
    }
}

fn limits(data: DataType) -> (i128, i128) {
    match data {
        DataType::Bit => (0, 1),
        DataType::U16 => (0, i128::from(u16::MAX)),
        DataType::I16 => (i128::from(i16::MIN), i128::from(i16::MAX)),
        DataType::U32 => (0, i128::from(u32::MAX)),
        DataType::I32 => (i128::from(i32::MIN), i128::from(i32::MAX)),
        DataType::U64 | DataType::F32 => (0, i128::from(u64::MAX)),
        DataType::I64 => (i128::from(i64::MIN), i128::from(i64::MAX)),
    }
}

fn mask(data: DataType) -> u64 {
    u64::MAX >> (64 - 16 * u32::from(data.registers()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use profile::modbus::{Address, Patterns, Table};

    fn plain(data: DataType) -> Encoding {
        Encoding {
            data,
            order: WordOrder::BigFirst,
            factor: 1.0,
            scale: None,
            not_implemented: Patterns::default(),
        }
    }

    fn with_scale(data: DataType) -> Encoding {
        Encoding {
            scale: Some(Address::Fixed {
                table: Table::Holding,
                address: 9,
            }),
            ..plain(data)
        }
    }

    #[test]
    fn words_become_the_value_that_the_encoding_says() {
        use DataType::*;
        let little = |data| Encoding {
            order: WordOrder::LittleFirst,
            ..plain(data)
        };
        let nan = |data, pattern| Encoding {
            not_implemented: Some(pattern).into(),
            ..plain(data)
        };
        let twofold = Encoding {
            not_implemented: Patterns::of(&[0x7FFF, 0xFFFF]).expect("two fit"),
            ..plain(I16)
        };
        type Row<'a> = (Encoding, &'a [u16], Option<u16>, Result<f64, Flaw>);
        let rows: &[Row<'_>] = &[
            (plain(U16), &[0xFFFF], None, Ok(65_535.0)),
            (plain(I16), &[0xFFFF], None, Ok(-1.0)),
            (plain(U32), &[1, 2], None, Ok(65_538.0)),
            (little(U32), &[1, 2], None, Ok(131_073.0)),
            (plain(I32), &[0xFFFF, 0xFFFE], None, Ok(-2.0)),
            (
                little(I64),
                &[0xFFFD, 0xFFFF, 0xFFFF, 0xFFFF],
                None,
                Ok(-3.0),
            ),
            (plain(U64), &[0, 0, 1, 0], None, Ok(65_536.0)),
            (
                plain(F32),
                &[0x4366, 0x3334],
                None,
                Ok(f64::from(230.200_01_f32)),
            ),
            (plain(Bit), &[1], None, Ok(1.0)),
            (nan(U16, 0xFFFF), &[0xFFFF], None, Err(Flaw::NotImplemented)),
            (nan(I16, 0x8000), &[0x8000], None, Err(Flaw::NotImplemented)),
            (twofold, &[0xFFFF], None, Err(Flaw::NotImplemented)),
            (twofold, &[0x7FFF], None, Err(Flaw::NotImplemented)),
            (twofold, &[0x7FFE], None, Ok(32_766.0)),
            (
                nan(I32, 0x8000_0000),
                &[0x8000, 0],
                None,
                Err(Flaw::NotImplemented),
            ),
            (plain(F32), &[0x7FC0, 0], None, Err(Flaw::NotImplemented)),
            (plain(F32), &[0xFFC0, 1], None, Err(Flaw::NotImplemented)),
            (plain(F32), &[0x7F80, 0], None, Err(Flaw::OutOfRange)),
            (plain(U32), &[1], None, Err(Flaw::Corrupt)),
            (with_scale(I16), &[2301], Some(0xFFFF), Ok(230.1)),
            (with_scale(I16), &[5], Some(3), Ok(5000.0)),
            (
                with_scale(I16),
                &[5],
                Some(0x8000),
                Err(Flaw::NotImplemented),
            ),
            (with_scale(I16), &[5], Some(11), Err(Flaw::NotImplemented)),
            (
                with_scale(I16),
                &[5],
                Some(0xFFF5),
                Err(Flaw::NotImplemented),
            ),
            (with_scale(I16), &[5], None, Err(Flaw::Corrupt)),
        ];
        for (encoding, words, scale, expected) in rows {
            assert_eq!(
                decode(encoding, words, *scale),
                *expected,
                "{encoding:?} {words:?} {scale:?}"
            );
        }
    }

    #[test]
    fn a_value_outside_its_range_is_not_believed() {
        for (raw, expected) in [
            (499, Ok(499.0)),
            (500, Ok(500.0)),
            (501, Err(Flaw::OutOfRange)),
        ] {
            let read = decode_in_range(&plain(DataType::U16), &[raw], None, (0.0, 500.0));
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn a_value_that_no_register_can_hold_is_refused() {
        let reserved = Encoding {
            not_implemented: Some(0x8000).into(),
            ..plain(DataType::I16)
        };
        assert!(matches!(
            encode(&plain(DataType::U16), -1.0, None),
            Err(EncodeError::DoesNotFit { .. })
        ));
        assert!(matches!(
            encode(&plain(DataType::I16), 4e4, None),
            Err(EncodeError::DoesNotFit { .. })
        ));
        assert!(matches!(
            encode(&plain(DataType::F32), 1e39, None),
            Err(EncodeError::DoesNotFit { .. })
        ));
        assert!(matches!(
            encode(&plain(DataType::I16), f64::NAN, None),
            Err(EncodeError::NotFinite(_))
        ));
        assert_eq!(
            encode(&reserved, -32_768.0, None),
            Err(EncodeError::Reserved(0x8000))
        );
        assert_eq!(
            encode(&with_scale(DataType::I16), 1.0, Some(0x8000)),
            Err(EncodeError::NoScale(0x8000))
        );
        assert!(encode_raw(&plain(DataType::U16), -1).is_err());
        assert_eq!(
            encode_raw(&plain(DataType::I16), -1).map(|w| w.as_slice().to_vec()),
            Ok(vec![0xFFFF])
        );
    }

    fn any_encoding() -> impl Strategy<Value = Encoding> {
        use DataType::*;
        (
            prop::sample::select(vec![Bit, U16, I16, U32, I32, U64, I64, F32]),
            prop::sample::select(vec![WordOrder::BigFirst, WordOrder::LittleFirst]),
            prop::sample::select(vec![1.0, -1.0, 0.1, -0.01, 10.0, 1000.0]),
            any::<bool>(),
            prop::option::of(any::<u64>()),
        )
            .prop_map(|(data, order, factor, scale, not_implemented)| Encoding {
                data,
                order,
                factor,
                scale: scale.then_some(Address::Fixed {
                    table: Table::Holding,
                    address: 0,
                }),
                not_implemented: not_implemented.into(),
            })
    }

    proptest! {
        #[test]
        fn no_words_make_the_decoder_panic(
            encoding in any_encoding(),
            words in prop::collection::vec(any::<u16>(), 0..6),
            scale in prop::option::of(any::<u16>()),
        ) {
            if let Ok(value) = decode(&encoding, &words, scale) {
                prop_assert!(value.is_finite());
            }
        }

        #[test]
        fn what_is_encoded_decodes_to_within_half_a_step(
            encoding in any_encoding(),
            value in -1e9..1e9_f64,
            power in -10..=10_i16,
        ) {
            let scale = encoding.scale.map(|_| power.cast_unsigned());
            if let Ok(words) = encode(&encoding, value, scale) {
                let back = decode(&encoding, words.as_slice(), scale);
                let step = encoding.factor.abs() * encoding.scale.map_or(1.0, |_| 10_f64.powi(power.into()));
                let half = if encoding.data == DataType::F32 { value.abs() * f64::from(f32::EPSILON) + step * 1e-30 } else { step * 0.5 };
                let back = back.map_err(|flaw| TestCaseError::fail(format!("{flaw:?}")))?;
                prop_assert!((back - value).abs() <= half * (1.0 + 1e-9) + value.abs() * 1e-12, "{back} for {value}");
            }
        }
    }
}
