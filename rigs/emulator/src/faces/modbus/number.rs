//! Numbers in registers: the emulator's own encoder.

use profile::modbus::{DataType, Patterns, WordOrder};

/// The raw bits of a number, or of "not implemented" when there is none.
///
/// What does not fit is held at the end of the type's range, beside the pattern that
/// means "not implemented". Without such a pattern an unknown number becomes all ones
/// (not a number for a float), which no range of a profile accepts as good data.
#[must_use]
pub fn to_bits(value: Option<f64>, data: DataType, not_implemented: impl Into<Patterns>) -> u64 {
    let patterns = not_implemented.into();
    let width = 16 * u32::from(data.registers());
    let mask = if width >= 64 {
        u64::MAX
    } else {
        (1_u64 << width) - 1
    };
    let first = patterns.as_slice().first().copied();
    let unknown = first.unwrap_or(match data {
        DataType::F32 => u64::from(f32::NAN.to_bits()),
        DataType::Bit => 0,
        _ => mask,
    }) & mask;
    let Some(value) = value.filter(|v| !v.is_nan()) else {
        return unknown;
    };
    // A float to integer cast saturates, which is what is wanted at the ends of 64 bit.
    let mut bits = match data {
        DataType::Bit => u64::from(value >= 0.5),
        DataType::F32 => u64::from((value as f32).to_bits()),
        DataType::U16 => value.round().clamp(0.0, f64::from(u16::MAX)) as u64,
        DataType::U32 => value.round().clamp(0.0, f64::from(u32::MAX)) as u64,
        DataType::U64 => value.round() as u64,
        DataType::I16 => value
            .round()
            .clamp(f64::from(i16::MIN), f64::from(i16::MAX)) as i64 as u64,
        DataType::I32 => value
            .round()
            .clamp(f64::from(i32::MIN), f64::from(i32::MAX)) as i64 as u64,
        DataType::I64 => value.round() as i64 as u64,
    } & mask;
    // A good number must not be taken for none: its neighbour nearer to zero is told.
    for _ in 0..Patterns::MAX {
        let taken = patterns
            .as_slice()
            .iter()
            .any(|pattern| pattern & mask == bits);
        if !taken || bits == 0 || matches!(data, DataType::Bit | DataType::F32) {
            break;
        }
        let is_negative = matches!(data, DataType::I16 | DataType::I32 | DataType::I64)
            && bits >> (width - 1) == 1;
        bits = if is_negative {
            bits.wrapping_add(1) & mask
        } else {
            bits - 1
        };
    }
    bits
}

/// The number in raw bits, before any scale.
#[must_use]
pub fn from_bits(bits: u64, data: DataType) -> f64 {
    match data {
        DataType::Bit => f64::from(u8::from(bits != 0)),
        DataType::U16 | DataType::U32 | DataType::U64 => bits as f64,
        DataType::I16 => f64::from(bits as u16 as i16),
        DataType::I32 => f64::from(bits as u32 as i32),
        DataType::I64 => bits as i64 as f64,
        DataType::F32 => f64::from(f32::from_bits(bits as u32)),
    }
}

/// Raw bits as registers in the order of the device.
#[must_use]
pub fn to_words(bits: u64, data: DataType, order: WordOrder) -> Vec<u16> {
    let count = data.registers();
    let mut words: Vec<u16> = (0..count)
        .rev()
        .map(|n| (bits >> (16 * u32::from(n))) as u16)
        .collect();
    if order == WordOrder::LittleFirst {
        words.reverse();
    }
    words
}

/// Registers in the order of the device as raw bits.
#[must_use]
pub fn from_words(words: &[u16], order: WordOrder) -> u64 {
    let join = |bits: u64, word: &u16| (bits << 16) | u64::from(*word);
    match order {
        WordOrder::BigFirst => words.iter().fold(0, join),
        WordOrder::LittleFirst => words.iter().rev().fold(0, join),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_stand_in_registers_as_the_types_say() {
        let rows: [(f64, DataType, WordOrder, &[u16]); 9] = [
            (-1.0, DataType::I16, WordOrder::BigFirst, &[0xffff]),
            (40000.0, DataType::I16, WordOrder::BigFirst, &[0x7fff]),
            (-5.0, DataType::U16, WordOrder::BigFirst, &[0]),
            (
                65538.0,
                DataType::U32,
                WordOrder::BigFirst,
                &[0x0001, 0x0002],
            ),
            (
                65538.0,
                DataType::U32,
                WordOrder::LittleFirst,
                &[0x0002, 0x0001],
            ),
            (
                -2.0,
                DataType::I32,
                WordOrder::LittleFirst,
                &[0xfffe, 0xffff],
            ),
            (230.5, DataType::F32, WordOrder::BigFirst, &[0x4366, 0x8000]),
            (
                4_294_967_298.0,
                DataType::U64,
                WordOrder::BigFirst,
                &[0, 1, 0, 2],
            ),
            (1.0, DataType::Bit, WordOrder::BigFirst, &[1]),
        ];
        for (value, data, order, words) in rows {
            let bits = to_bits(Some(value), data, None);
            assert_eq!(to_words(bits, data, order), words, "{value} as {data:?}");
        }
    }

    #[test]
    fn an_unknown_number_is_never_a_plausible_one() {
        assert_eq!(to_bits(None, DataType::I16, Some(0x8000)), 0x8000);
        assert_eq!(to_bits(None, DataType::U16, None), 0xffff);
        assert!(from_bits(to_bits(None, DataType::F32, None), DataType::F32).is_nan());
    }

    #[test]
    fn a_good_number_is_never_taken_for_an_unknown_one() {
        assert_eq!(to_bits(Some(65535.0), DataType::U16, Some(0xffff)), 0xfffe);
        assert_eq!(to_bits(Some(-40000.0), DataType::I16, Some(0x8000)), 0x8001);
        let both = Patterns::of(&[0x7fff, 0x7ffe]).expect("two fit");
        assert_eq!(to_bits(Some(40000.0), DataType::I16, both), 0x7ffd);
        assert_eq!(to_bits(None, DataType::I16, both), 0x7fff);
        assert_eq!(
            to_bits(Some(0.0), DataType::U32, Some(0)),
            0,
            "accumulators"
        );
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_within_half_a_unit(value in -32_000.0..32_000.0_f64, little in any::<bool>()) {
            let order = if little { WordOrder::LittleFirst } else { WordOrder::BigFirst };
            for data in [DataType::I16, DataType::I32, DataType::I64] {
                let words = to_words(to_bits(Some(value), data, None), data, order);
                let back = from_bits(from_words(&words, order), data);
                prop_assert!((back - value).abs() <= 0.5);
            }
        }
    }
}
