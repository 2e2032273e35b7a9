//! SCPI: replies to values, and the messages that an emulated instrument takes.

use std::sync::LazyLock;

use bus::scpi::codec::{self, Cut, LINE_MAX, Lines};
use emulator::faces::scpi::Instrument;
use model::Point;
use profile::scpi::ScpiProfile;
use profile::{Profile, Protocol};

use crate::choice;

static PROFILES: LazyLock<Vec<(std::sync::Arc<Profile>, ScpiProfile)>> = LazyLock::new(|| {
    profile::bundled_ids()
        .into_iter()
        .filter_map(profile::bundled)
        .filter_map(|profile| match &profile.protocol {
            Protocol::Scpi(scpi) => {
                let scpi = scpi.clone();
                Some((profile, scpi))
            }
            _ => None,
        })
        .collect()
});

/// What an instrument replies, under the points and settings of any bundled profile: a value that
/// is believed is a number inside its range, and it does not matter how the stream is split.
pub fn reply(bytes: &[u8]) {
    let Some((number, said)) = choice(bytes, PROFILES.len()) else {
        return;
    };
    let whole = cut(said, said.len().max(1));
    assert_eq!(whole, cut(said, 1), "it matters how the stream is split");
    let (_, profile) = &PROFILES[number];
    for piece in whole {
        let Cut::Line(line) = piece else { continue };
        assert!(line.len() <= LINE_MAX);
        for point in &profile.points {
            if let Ok(value) = codec::decode(point, &line) {
                let (low, high) = point.range;
                assert!(low <= value && value <= high, "{} is {value}", point.point);
            }
        }
        for setting in &profile.controls {
            if let Ok(value) = codec::read_back(setting, &line) {
                assert!(value.is_finite(), "{} reads back {value}", setting.point);
            }
        }
        let _ = codec::is_complete(&line);
        if let Ok(Some(error)) = codec::error_entry(&line) {
            assert!(!error.starts_with("0:"), "no error is an error: {error}");
        }
    }
}

fn cut(bytes: &[u8], chunk: usize) -> Vec<Cut> {
    let mut lines = Lines::default();
    bytes
        .chunks(chunk)
        .flat_map(|part| lines.push(part))
        .collect()
}

/// Longest answer of an instrument, in bytes for each byte of a message.
/// Chosen: the longest answer there is, an identity, to the shortest query, `*IDN?`, with room.
const ANSWER_PER_BYTE: usize = 16;
/// Entries that an error queue may hold. Source: the emulator's own bound.
const ERRORS_MAX: usize = 16;

/// What a client says, line by line, to an instrument of any bundled profile: it answers in
/// text, its error queue has an end, and nothing leaves its range.
pub fn message(bytes: &[u8]) {
    let Some((number, said)) = choice(bytes, PROFILES.len()) else {
        return;
    };
    let (profile, scpi) = &PROFILES[number];
    let (instrument, world) = Instrument::alone(profile).expect("it speaks SCPI");
    for line in said.split(|byte| *byte == b'\n') {
        let Some(answer) = instrument.answer(line) else {
            continue;
        };
        let most = ANSWER_PER_BYTE * line.len() + 64;
        assert!(answer.len() <= most, "{} bytes", answer.len());
        let text = |byte: &u8| byte.is_ascii_graphic() || b" \r\n".contains(byte);
        assert!(answer.iter().all(text), "{answer:?}");
    }
    let ended = (0..=ERRORS_MAX).any(|_| {
        let entry = instrument.answer(scpi.errors.as_bytes());
        entry.is_some_and(|entry| entry.starts_with(b"0,"))
    });
    assert!(ended, "the error queue has no end");
    let world = world.lock();
    for setting in &scpi.controls {
        let held = world.setpoint(0, setting.point);
        if let (Some(value), Some((low, high))) = (held, setting.range) {
            // What nobody has set is the plant's own.
            let untouched = instrument_default(setting.point) == Some(value);
            assert!(
                untouched || (low - 1e-9..=high + 1e-9).contains(&value),
                "{} is {value}",
                setting.point
            );
        }
    }
}

fn instrument_default(point: Point) -> Option<f64> {
    match point {
        Point::FrequencySet => Some(50.0),
        Point::VoltageSet => Some(230.0),
        _ => None,
    }
}
