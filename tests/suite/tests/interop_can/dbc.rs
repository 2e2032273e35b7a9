//! DBC files with cantools: thousands of random frames of random files, read and written by both.
//!
//! Twice: the signals of the file as they stand, and a profile that maps them to points, which is
//! the way of a device on the bench. The first difference is told with the file and the frame.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use bus::can::codec;
use document::Source;
use model::{Point, Reading};
use profile::can::{Field, Frame, Number};
use profile::dbc::{Database, Message};
use profile::{Profile, Protocol};
use serde_json::Value;
use suite::folder;
use suite::process::{WithArguments, script, text_of};

/// Files, and frames of each of their messages. Chosen: some 20,000 frames in a few seconds.
const FILES: usize = 400;
const FRAMES: usize = 20;
/// Any number serves: the same one gives the same files.
const SEED: &str = "26";

/// Values beyond are not looked for: the profile of this test believes none of them.
const BELIEVED_MAX: f64 = 1e290;

/// A number as cantools reads it; the raw one is none of a floating-point signal.
struct Theirs {
    raw: Option<i128>,
    value: f64,
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().expect("bytes are text");
    (0..hex.len() / 2)
        .map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).expect("in hexadecimal"))
        .collect()
}

fn double(hex: &Value) -> f64 {
    let hex = hex.as_str().expect("a double is text");
    f64::from_bits(u64::from_str_radix(hex, 16).expect("in hexadecimal"))
}

fn theirs(signals: &Value) -> BTreeMap<&str, Theirs> {
    let signals = signals.as_object().expect("signals by name");
    let of = |signal: &Value| Theirs {
        raw: signal["raw"]
            .as_str()
            .map(|raw| raw.parse().expect("a number")),
        value: double(&signal["value"]),
    };
    signals
        .iter()
        .map(|(name, signal)| (name.as_str(), of(signal)))
        .collect()
}

/// The raw number that bits stand for, as cantools tells it.
fn whole(field: &Field, raw: u64) -> Option<i128> {
    match field.number {
        Number::Float => None,
        Number::Unsigned => Some(i128::from(raw)),
        Number::Signed if raw >> (field.at.len - 1) & 1 == 1 => {
            Some(i128::from(raw) - (1 << field.at.len))
        }
        Number::Signed => Some(i128::from(raw)),
    }
}

/// Equal but for the rounding of one product and one sum: cantools keeps whole numbers whole
/// where a double of ours has 53 bits.
fn same(ours: f64, theirs: f64, offset: f64) -> bool {
    let size = (theirs - offset).abs().max(offset.abs()).max(theirs.abs());
    ours == theirs || (ours - theirs).abs() <= 2.0 * f64::EPSILON * size
}

/// What differs in a frame of a message, by the signals of the file alone.
fn differing(message: &Message, data: &[u8], theirs: &BTreeMap<&str, Theirs>) -> Option<String> {
    for signal in &message.signals {
        let name = signal.name.as_str();
        let shape = match &signal.shape {
            Ok(shape) => shape,
            Err(why) => return Some(format!("{name} is refused: {why}")),
        };
        let field = &shape.field;
        let raw = codec::is_page(&shape.page, data)
            .then(|| codec::extract(data, field.at))
            .flatten();
        match (raw, theirs.get(name)) {
            (None, None) => {}
            (Some(raw), Some(their)) if whole(field, raw) != their.raw => {
                return Some(format!("{name}: raw {raw:#x}, not {:?}", their.raw));
            }
            (Some(raw), Some(their)) => {
                // What is no number, and what is too large, is no value of ours.
                let ours = codec::value(field, raw).unwrap_or(f64::NAN);
                let none = ours.is_nan() && their.value.is_nan();
                if !none && !same(ours, their.value, field.offset) {
                    return Some(format!("{name}: {ours:?}, not {:?}", their.value));
                }
            }
            (ours, their) => {
                let their = their.map(|t| t.value);
                return Some(format!("{name}: raw {ours:?}, and {their:?} of theirs"));
            }
        }
    }
    None
}

/// Points without a direction, so that the values stay as they are.
const POINTS: [(&str, &str); 12] = [
    ("ac.v.l1", "V"),
    ("ac.v.l2", "V"),
    ("ac.v.l3", "V"),
    ("ac.i.l1", "A"),
    ("ac.i.l2", "A"),
    ("ac.i.l3", "A"),
    ("dc.v", "V"),
    ("dc.v.1", "V"),
    ("dc.v.2", "V"),
    ("bat.v", "V"),
    ("bat.lim.cha_v", "V"),
    ("grid.v", "V"),
];

/// The frames of a profile that maps each signal of a message to a point.
fn mapped(dbc: &str, message: &Message) -> Vec<Frame> {
    let dir = folder();
    let path = dir.path().join("device.toml");
    std::fs::write(dir.path().join("random.dbc"), dbc).expect("the folder can be written");
    let mut text = format!(
        "schema = 1\n[profile]\nid = \"lab/random\"\ntitle = \"R\"\nversion = 1\nsource = [\"random\"]\n\
         protocol = \"can\"\n[can]\nbitrate = 500000\nfd = true\ndbc = \"random.dbc\"\n\
         [[frame]]\nmessage = \"{}\"\nlen_min = 0\nperiod = \"1s\"\ntimeout = \"3s\"\nsignals = [\n",
        message.name
    );
    assert!(message.signals.len() <= POINTS.len(), "{dbc}");
    for (signal, (point, unit)) in message.signals.iter().zip(POINTS) {
        let _ = writeln!(
            text,
            "{{ name = \"{point}\", signal = \"{}\", unit = \"{unit}\", range = \"-1e290..1e290{unit}\" }},",
            signal.name
        );
    }
    text.push_str("]\n");
    let source = Source::new(path.display().to_string(), text.clone());
    let (profile, _) =
        Profile::parse(source).unwrap_or_else(|faults| unreachable!("{faults:?}\n{text}\n{dbc}"));
    let Protocol::Can(can) = profile.protocol else {
        unreachable!("a profile with a DBC file is of CAN")
    };
    can.frames
}

/// What differs in a frame of a message, as a device of a profile says it.
fn differing_points(
    message: &Message,
    frames: &[Frame],
    data: &[u8],
    theirs: &BTreeMap<&str, Theirs>,
) -> Option<String> {
    let here = frames.iter().filter(|f| codec::is_page(&f.page, data));
    let ours: BTreeMap<Point, Reading<f64>> = here
        .flat_map(|frame| {
            let said = frame.signals.iter();
            said.map(move |s| (s.point, codec::decode(frame, s, data)))
        })
        .collect();
    for (signal, (point, _)) in message.signals.iter().zip(POINTS) {
        let point = Point::from_name(point).expect("a canonical point");
        let offset = signal.shape.as_ref().map_or(0.0, |s| s.field.offset);
        let ours = ours.get(&point).copied().and_then(Reading::good);
        let theirs = theirs.get(signal.name.as_str()).map(|t| t.value);
        let believed = theirs.filter(|v| v.abs() <= BELIEVED_MAX);
        let fits = match (ours, believed) {
            (Some(ours), Some(theirs)) => same(ours, theirs, offset),
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        };
        if !fits {
            let name = &signal.name;
            return Some(format!("{name} as {point}: {ours:?}, not {theirs:?}"));
        }
    }
    None
}

/// What differs in the bytes that are made of values.
fn differing_bytes(message: &Message, write: &Value) -> Option<String> {
    let mut data = vec![0; message.len];
    for (name, value) in write["values"].as_object().expect("values by name") {
        let signal = message.signal(name).expect("of this message");
        let shape = signal.shape.as_ref().expect("readable");
        let value = double(value);
        let ours = codec::raw(&shape.field, value);
        let theirs = write["raws"][name].as_str();
        let agreed = match (ours, theirs) {
            (Some(ours), Some(theirs)) => {
                whole(&shape.field, ours).is_none_or(|raw| raw.to_string() == theirs)
            }
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        };
        if !agreed {
            return Some(format!("{name} of {value:?}: {ours:?}, not {theirs:?}"));
        }
        if let Some(raw) = ours {
            codec::insert(&mut data, shape.field.at, raw);
        }
    }
    (data != bytes(&write["data"])).then(|| format!("{data:02x?}"))
}

#[test]
#[ignore = "needs peers"]
fn random_frames_of_random_dbc_files_are_to_us_what_they_are_to_cantools() {
    let (mut read, mut written, mut refused) = (0, 0, 0);
    let (files, frames) = (FILES.to_string(), FRAMES.to_string());
    let asked = ["--seed", SEED, "--files", &files, "--frames", &frames];
    let text = text_of(script("dbc_decode.py").with(asked));
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("each line is an object");
        let dbc = line["dbc"].as_str().expect("the file");
        let source: Arc<Source> = Source::new("random.dbc", dbc);
        let database = Database::parse(&source).unwrap_or_else(|why| panic!("{why}\n{dbc}"));
        for of in line["messages"].as_array().expect("messages") {
            let name = of["name"].as_str().expect("a name");
            let message = database.message(name).expect("of this file");
            let profile = mapped(dbc, message);
            for frame in of["frames"].as_array().expect("frames") {
                let data = bytes(&frame["data"]);
                let theirs = theirs(&frame["signals"]);
                let found = differing(message, &data, &theirs)
                    .or_else(|| differing_points(message, &profile, &data, &theirs));
                if let Some(what) = found {
                    panic!("{what}\nframe of {name}: {}\n{dbc}", frame["data"]);
                }
                read += 1;
            }
            for write in of["writes"].as_array().expect("writes") {
                if let Some(what) = differing_bytes(message, write) {
                    panic!("{what}\nwrite of {name}: {write}\n{dbc}");
                }
                let raws = write["raws"].as_object().expect("raws by name");
                refused += raws.values().filter(|raw| raw.is_null()).count();
                written += 1;
            }
        }
    }
    println!("{read} frames read, {written} written, {refused} values that no bits carry");
    assert!(read > 15_000 && written > 8_000 && refused > 500);
}

/// The frame in which an earlier comparison saw one side without a value. Both read the same number
/// from it; a profile that does not believe so large a number shows none, as it must.
#[test]
#[ignore = "needs peers"]
fn a_big_endian_signal_on_a_page_is_a_value_within_its_range_and_none_outside() {
    let dbc = "VERSION \"\"\n\nNS_ :\n\nBS_:\n\nBU_: A B\n\nBO_ 1 M1: 8 A\n \
               SG_ Page M : 0|8@1+ (1,0) [0|0] \"\" B\n SG_ S0 m0 : 20|32@0- (0.1,-40) [0|0] \"\" B\n";
    let source: Arc<Source> = Source::new(Path::new("m1.dbc").display().to_string(), dbc);
    let database = Database::parse(&source).expect("a DBC file");
    let message = database.message("M1").expect("its message");
    let data = [0x00, 0x31, 0xaa, 0x2a, 0x91, 0x3d, 0xdb, 0xd2];
    let mut frames = mapped(dbc, message);
    let read = |frames: &[Frame]| {
        let here = frames.iter().find(|f| !f.page.is_empty()).expect("a page");
        codec::decode(here, &here.signals[0], &data)
    };
    // What cantools 45.1 reads.
    assert_eq!(read(&frames), Reading::Good(136_449_443.0));
    for frame in &mut frames {
        for signal in &mut frame.signals {
            signal.range = (-1e6, 1e6);
        }
    }
    assert_eq!(read(&frames), Reading::Bad(model::Flaw::OutOfRange));
}
