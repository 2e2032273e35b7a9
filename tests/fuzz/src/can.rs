//! CAN: frames to values, the text that carries frames over TCP and serial lines, and DBC files.

use std::collections::VecDeque;
use std::sync::LazyLock;

use bus::can::socketcand::{Heard, Parser};
use bus::can::{codec, slcan};
use document::Source;
use model::Reading;
use profile::Protocol;
use profile::can::{Frame, Number};
use profile::dbc::{self, Database, Shape};

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

/// Most bytes that the parser of serial lines may hold back. Source: its own bound on a line.
const LINE_BYTES_MAX: usize = 160;

/// What a serial adapter says, whole and byte by byte: the same is heard, and a frame that is
/// heard is the same after it was sent and heard again.
pub fn slcan_client(bytes: &[u8]) {
    let whole = lines(bytes, bytes.len().max(1));
    assert_eq!(whole, lines(bytes, 1), "it matters how the stream is split");
    for heard in whole {
        if let slcan::Heard::Frame(frame) = &heard {
            let line = slcan::send_line(frame);
            let again = line.map(|line| lines(line.as_bytes(), 1));
            assert_eq!(again, Some(vec![heard]), "a frame changes on its way");
        }
    }
}

fn lines(bytes: &[u8], chunk: usize) -> Vec<slcan::Heard> {
    let mut parser = slcan::Parser::default();
    let mut heard = VecDeque::new();
    for part in bytes.chunks(chunk) {
        parser.push(part, &mut heard);
        assert!(parser.held_bytes() <= LINE_BYTES_MAX);
    }
    heard.into()
}

/// A DBC file: a signal that can be read lies within its message and keeps its raw number.
pub fn dbc_file(bytes: &[u8]) {
    let source = Source::new("fuzzed.dbc", dbc::text_of(bytes.to_vec()));
    let Ok(database) = Database::parse(&source) else {
        return;
    };
    for message in &database.messages {
        for shape in message.signals.iter().filter_map(|s| s.shape.as_ref().ok()) {
            for pattern in [0x00, 0xA5, 0xFF] {
                read_and_write(shape, &vec![pattern; message.len]);
            }
        }
    }
}

fn read_and_write(shape: &Shape, data: &[u8]) {
    let field = &shape.field;
    let raw = codec::extract(data, field.at);
    assert!(raw.is_some(), "{field:?} lies outside of {data:?}");
    for selector in &shape.page {
        assert!(codec::extract(data, selector.at).is_some());
        assert!(!selector.values.is_empty());
    }
    let Some(raw) = raw else { return };
    let mut copy = data.to_vec();
    codec::insert(&mut copy, field.at, raw);
    assert_eq!(copy, data, "{field:?} changes what it does not own");
    // Beyond 53 bits a double does not keep every number, nor do a scale and an offset that are
    // far apart.
    let plain = field.factor == 1.0 && field.offset == 0.0;
    if field.number != Number::Float && field.at.len <= 53 && plain {
        let again = codec::value(field, raw).and_then(|value| codec::raw(field, value));
        assert_eq!(again, Some(raw), "{field:?}");
    }
}
