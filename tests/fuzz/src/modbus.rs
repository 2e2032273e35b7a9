//! Modbus: registers to values, requests out of a stream, the walk over SunSpec models.

use std::sync::LazyLock;

use bus::modbus::codec::{decode, decode_in_range};
use bus::modbus::sunspec::{Step, Walk};
use emulator::faces::modbus::frame::Framing;
use profile::Protocol;
use profile::modbus::RegisterPoint;

use crate::choice;

static POINTS: LazyLock<Vec<RegisterPoint>> = LazyLock::new(|| {
    profile::bundled_ids()
        .into_iter()
        .filter_map(profile::bundled)
        .filter_map(|profile| match &profile.protocol {
            Protocol::Modbus(modbus) => Some(modbus.points.clone()),
            _ => None,
        })
        .flatten()
        .collect()
});

/// Words under any encoding of a bundled profile: a value that is believed is a number
/// inside its range.
pub fn registers(bytes: &[u8]) {
    let Some((number, rest)) = choice(bytes, POINTS.len()) else {
        return;
    };
    let point = &POINTS[number];
    let mut words: Vec<u16> = rest
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
        .collect();
    let scale = (rest.len() % 2 == 1).then(|| words.pop()).flatten();
    if let Ok(value) = decode(&point.encoding, &words, scale) {
        assert!(value.is_finite(), "{} is {value}", point.point);
    }
    if let Ok(value) = decode_in_range(&point.encoding, &words, scale, point.range) {
        assert!(
            point.range.0 <= value && value <= point.range.1,
            "{} is {value}, outside of {:?}",
            point.point,
            point.range
        );
    }
}

/// Longest request that is taken out of a stream: unit, 253 bytes, and framing.
const REQUEST_BYTES_MAX: usize = 260;

/// A stream of requests: bytes are only ever taken away, and a server that is out of step
/// knows it.
pub fn request(bytes: &[u8]) {
    for framing in [Framing::Tcp, Framing::Rtu] {
        let mut buffer = bytes.to_vec();
        loop {
            let before = buffer.len();
            let Some(request) = framing.take(&mut buffer) else {
                break;
            };
            assert!(buffer.len() < before, "{framing:?} took nothing away");
            assert!(request.pdu.len() <= REQUEST_BYTES_MAX, "{framing:?}");
        }
        let _ = framing.is_lost(&buffer);
    }
}

/// Most questions that a walk may ask: three bases, 64 models, and the ends of both.
/// Chosen: far above that, far below a walk that does not end.
const QUESTIONS_MAX: usize = 20_000;

/// A device that answers anything: the walk ends, and every place in the chain is a register.
pub fn sunspec_walk(bytes: &[u8]) {
    let mut walk = Walk::start();
    let mut answers = bytes.chunks(5);
    for _ in 0..QUESTIONS_MAX {
        let answer = match answers.next() {
            Some([kind, a, b, c, d]) if kind % 8 != 0 => {
                Some([u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])])
            }
            _ => None,
        };
        match walk.take(answer) {
            Step::Ask => {}
            Step::NotFound => return,
            Step::Found(chain, _) => {
                for model in [1, 103, 704] {
                    let _ = chain.resolve(model, u16::MAX, 4);
                    let _ = chain.resolve(model, 2, 2);
                }
                return;
            }
        }
    }
    panic!("the walk does not end");
}
