use super::*;
use proptest::prelude::*;

/// `expected` is the refusal, or `None` where the bytes are canonical.
fn check(hex: &str, expected: Option<CborError>) {
    let bytes: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
        .collect();
    assert_eq!(Value::decode(&bytes).err(), expected, "{hex}");
}

#[test]
fn only_the_shortest_definite_form_inside_the_subset_is_accepted() {
    use CborError::*;
    check("00", None);
    check("1bffffffffffffffff", None);
    check("3bffffffffffffffff", None);
    check(
        "826161f6",
        Some(NotInSubset {
            offset: 3,
            initial: 0xf6,
        }),
    );
    check("1817", Some(NotShortest { offset: 0 }));
    check("1900ff", Some(NotShortest { offset: 0 }));
    check("1a0000ffff", Some(NotShortest { offset: 0 }));
    check("1b00000000ffffffff", Some(NotShortest { offset: 0 }));
    check("5801aa", Some(NotShortest { offset: 0 }));
    check(
        "0000",
        Some(Trailing {
            offset: 1,
            count: 1,
        }),
    );
    check("", Some(Truncated { offset: 0 }));
    check("42aa", Some(Truncated { offset: 0 }));
    check("8201", Some(Truncated { offset: 2 }));
    check(
        "9f01ff",
        Some(NotInSubset {
            offset: 0,
            initial: 0x9f,
        }),
    );
    check(
        "5f41aaff",
        Some(NotInSubset {
            offset: 0,
            initial: 0x5f,
        }),
    );
    check(
        "a10102",
        Some(NotInSubset {
            offset: 0,
            initial: 0xa1,
        }),
    );
    check(
        "c100",
        Some(NotInSubset {
            offset: 0,
            initial: 0xc1,
        }),
    );
    check(
        "f97e00",
        Some(NotInSubset {
            offset: 0,
            initial: 0xf9,
        }),
    );
    check("61ff", Some(NotUtf8 { offset: 0 }));
    check("81818181818100", None);
    check("8181818181818100", Some(TooDeep { offset: 6 }));
    check(
        "9a00100000",
        Some(TooMany {
            offset: 0,
            count: 0x10_0000,
        }),
    );
    check(
        "9bffffffffffffffff",
        Some(TooMany {
            offset: 0,
            count: u64::MAX,
        }),
    );
    check("5bffffffffffffffff", Some(Truncated { offset: 0 }));
}

#[test]
fn the_first_item_of_a_sequence_is_read_with_its_length() {
    let sequence = [0x82, 0x01, 0x41, 0xaa, 0x05];
    let first = Value::Array(vec![Value::Int(1), Value::Bytes(vec![0xaa])]);
    assert_eq!(Value::decode_first(&sequence), Ok((first, 4)));
    assert_eq!(Value::decode_first(&sequence[4..]), Ok((Value::Int(5), 1)));
    for (bad, expected) in [
        (&sequence[..3], CborError::Truncated { offset: 2 }),
        (&[], CborError::Truncated { offset: 0 }),
        (&[0x18, 0x05, 0x00], CborError::NotShortest { offset: 0 }),
    ] {
        assert_eq!(Value::decode_first(bad), Err(expected));
    }
}

#[test]
fn values_over_the_limits_are_refused_before_they_are_written() {
    let long = Value::Bytes(vec![0; ENCODED_BYTES_MAX]);
    assert!(matches!(long.encode(), Err(CborError::TooLong { .. })));
    assert_eq!(Value::Int(1 << 64).encode(), Err(CborError::IntegerRange));
    assert_eq!(
        Value::Int(-(1 << 64) - 1).encode(),
        Err(CborError::IntegerRange)
    );
    let many = Value::Array(vec![Value::Int(0); ELEMENTS_MAX + 1]);
    assert!(matches!(many.encode(), Err(CborError::TooMany { .. })));
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(|n| Value::Int(n.into())),
        any::<u64>().prop_map(|n| Value::Int(-1 - i128::from(n))),
        (0u64..300).prop_map(|n| Value::Int(n.into())),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        // dcbor also demands NFC, which ASCII always is.
        "[ -~]{0,40}".prop_map(Value::Text),
    ];
    leaf.prop_recursive(DEPTH_MAX as u32 - 1, 64, 8, |inner| {
        proptest::collection::vec(inner, 0..8).prop_map(Value::Array)
    })
}

fn as_dcbor(value: &Value) -> dcbor::CBOR {
    match value {
        Value::Int(n) => match u64::try_from(*n) {
            Ok(n) => n.into(),
            Err(_) => dcbor::CBORCase::Negative((-1 - n) as u64).into(),
        },
        Value::Bytes(bytes) => dcbor::CBOR::to_byte_string(bytes),
        Value::Text(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(as_dcbor).collect::<Vec<_>>().into(),
    }
}

fn is_ascii(value: &Value) -> bool {
    match value {
        Value::Text(text) => text.is_ascii(),
        Value::Array(items) => items.iter().all(is_ascii),
        _ => true,
    }
}

proptest! {
    #[test]
    fn the_bytes_equal_those_of_an_independent_encoder(value in value()) {
        let ours = value.encode().unwrap();
        prop_assert_eq!(&ours, &as_dcbor(&value).to_cbor_data());
        prop_assert_eq!(Value::decode(&ours).unwrap(), value);
    }

    #[test]
    fn whatever_decodes_is_also_canonical_for_an_independent_decoder(
        value in value(), at in any::<prop::sample::Index>(), xor in 1u8..,
    ) {
        let mut bytes = value.encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= xor;
        if let Ok(decoded) = Value::decode(&bytes) {
            prop_assert_eq!(decoded.encode().unwrap(), bytes.clone());
            match dcbor::CBOR::try_from_data(&bytes) {
                Ok(theirs) => prop_assert_eq!(as_dcbor(&decoded), theirs),
                // They also refuse text that is not in normal form C.
                Err(e) => prop_assert!(!is_ascii(&decoded), "{:?} {:02x?}", e, bytes),
            }
        }
    }

    #[test]
    fn the_decoder_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(value) = Value::decode(&bytes) {
            prop_assert_eq!(value.encode().unwrap(), bytes);
        }
    }
}
