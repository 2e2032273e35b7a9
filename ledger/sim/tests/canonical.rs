//! Property 9 at the level of a run: bytes that a laxer decoder would read as an
//! atom that is known are refused. The laxer decoder stands here, as the broken
//! variant without the re-encode check.

use ledger_core::cbor::{CborError, Value};

/// Reads as the ledger does, but takes a small number also in two bytes and does
/// not encode again what it has read.
fn lax(bytes: &[u8]) -> Result<Value, CborError> {
    match bytes {
        [0x18, n, rest @ ..] if *n < 24 && rest.is_empty() => Ok(Value::Int(i128::from(*n))),
        [0x81, rest @ ..] => Ok(Value::Array(vec![lax(rest)?])),
        bytes => Value::decode(bytes),
    }
}

/// Pairs of different bytes that read as one value.
fn collisions(decode: fn(&[u8]) -> Result<Value, CborError>) -> usize {
    let pairs: [(&[u8], &[u8]); 4] = [
        (&[0x05], &[0x18, 0x05]),
        (&[0x17], &[0x18, 0x17]),
        (&[0x81, 0x00], &[0x81, 0x18, 0x00]),
        (&[0x81, 0x00], &[0x9f, 0x00, 0xff]),
    ];
    let collide =
        |(one, other): &&(&[u8], &[u8])| decode(one).is_ok() && decode(one) == decode(other);
    pairs.iter().filter(collide).count()
}

#[test]
fn p09_no_two_byte_strings_read_as_one_value() {
    assert_eq!(collisions(Value::decode), 0);
}

#[test]
fn a_decoder_without_the_re_encode_check_is_caught_by_property_9() {
    assert!(collisions(lax) > 0);
}
