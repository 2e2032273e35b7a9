//! CAN: frames to values, and the text that carries frames over TCP.

use std::collections::VecDeque;
use std::sync::LazyLock;

use bus::can::codec;
use bus::can::socketcand::{Heard, Parser};
use model::Reading;
use profile::Protocol;
use profile::can::Frame;

use crate::choice;

static FRAMES: LazyLock<Vec<Frame>> = LazyLock::new(|| {
    profile::bundled_ids()
        .into_iter()
        .filter_map(profile::bundled)
        .filter_map(|profile| match &profile.protocol {
            Protocol::Can(can) => Some(can.frames.clone()),
            _ => None,
        })
        .flatten()
        .collect()
});

/// Data bytes under any frame of a bundled profile: a value that is believed is a number
/// inside its range.
pub fn signals(bytes: &[u8]) {
    let Some((number, data)) = choice(bytes, FRAMES.len()) else {
        return;
    };
    let frame = &FRAMES[number];
    for signal in &frame.signals {
        if let Reading::Good(value) = codec::decode(frame, signal, data) {
            assert!(
                signal.range.0 <= value && value <= signal.range.1,
                "{} is {value}, outside of {:?}",
                signal.point,
                signal.range
            );
        }
    }
    let _ = codec::identity_fits(frame, data);
}

/// Most bytes that the parser may hold back. Source: its own bound on an element.
const HELD_BYTES_MAX: usize = 256;

/// What a socketcand server says, whole and byte by byte: the same is heard.
pub fn socketcand_client(bytes: &[u8]) {
    let whole = heard(bytes, bytes.len().max(1));
    let split = heard(bytes, 1);
    assert_eq!(whole, split, "it matters how the stream is split");
}

fn heard(bytes: &[u8], chunk: usize) -> Vec<Heard> {
    let mut parser = Parser::default();
    let mut heard = VecDeque::new();
    for part in bytes.chunks(chunk) {
        parser.push(part, &mut heard);
        assert!(parser.held_bytes() <= HELD_BYTES_MAX);
    }
    heard.into()
}
