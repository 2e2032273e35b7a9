//! Replies as instruments send them, and as nobody should.

use std::sync::Arc;

use profile::Protocol;
use profile::scpi::ScpiProfile;
use proptest::prelude::*;

use super::*;

fn profile(id: &str) -> ScpiProfile {
    let profile: Arc<profile::Profile> = profile::bundled(id).expect(id);
    match &profile.protocol {
        Protocol::Scpi(scpi) => scpi.clone(),
        _ => panic!("{id} does not speak SCPI"),
    }
}

fn setting(id: &str, point: model::Point) -> Setting {
    let found = profile(id).controls.into_iter().find(|c| c.point == point);
    found.expect("it is set there")
}

#[test]
fn only_numbers_of_the_standard_are_numbers() {
    let rows = [
        ("50", Ok(50.0)),
        ("+5.000000E+01", Ok(50.0)),
        (" -12.5 ", Ok(-12.5)),
        (".5", Ok(0.5)),
        ("9.91E37", Err(Flaw::NotImplemented)),
        ("9.9E37", Err(Flaw::OutOfRange)),
        ("-9.9E+37", Err(Flaw::OutOfRange)),
        ("1e400", Err(Flaw::OutOfRange)),
        ("", Err(Flaw::Corrupt)),
        ("nan", Err(Flaw::Corrupt)),
        ("inf", Err(Flaw::Corrupt)),
        ("infinity", Err(Flaw::Corrupt)),
        ("50 Hz", Err(Flaw::Corrupt)),
        ("5O", Err(Flaw::Corrupt)),
        ("50;1", Err(Flaw::Corrupt)),
        ("1,2", Err(Flaw::Corrupt)),
        ("--1", Err(Flaw::Corrupt)),
        ("GRIDSIM,1", Err(Flaw::Corrupt)),
    ];
    for (text, expected) in rows {
        assert_eq!(number(text), expected, "{text:?}");
    }
}

#[test]
fn a_reply_with_several_values_gives_the_one_that_is_meant() {
    let rows = [
        ("230.1,49.98,1500", 1, Some("49.98")),
        ("230.1,49.98,1500", 2, Some("1500")),
        ("230.1", 0, Some("230.1")),
        ("230.1", 1, None),
        ("\"a,b\",7", 1, Some("7")),
        (",", 1, Some("")),
    ];
    for (reply, index, expected) in rows {
        assert_eq!(field(reply, index), expected, "{reply} [{index}]");
    }
}

#[test]
fn a_setting_is_written_as_the_manual_says_and_read_back_with_its_sign() {
    use model::Point as P;
    let rows = [
        (
            "generic/grid-simulator",
            P::FrequencySet,
            49.5,
            "SOURce:FREQuency 49.5000",
        ),
        (
            "ametek/mx",
            P::VoltageSet,
            230.04,
            "INSTrument:COUPle ALL;:VOLTage:AC 230.0",
        ),
        (
            "pacific/upc",
            P::VoltageSet,
            231.0,
            "SOURce:VOLTage1 231.0;VOLTage2 231.0;VOLTage3 231.0",
        ),
        ("chroma/61600", P::SwitchOn, 1.0, "OUTPut ON"),
        ("chroma/61600", P::SwitchOn, 0.0, "OUTPut OFF"),
        // A load of 1.5 kW is -1500 W into the bus.
        (
            "chroma/63800",
            P::ActivePowerSet,
            -1500.0,
            "LOAD:MODE POWer;:LOAD:POWer 1500.0",
        ),
    ];
    for (id, point, value, message) in rows {
        let setting = setting(id, point);
        assert_eq!(compose(&setting, value), message);
    }
    let load = setting("chroma/63800", P::ActivePowerSet);
    assert_eq!(read_back(&load, "1500.0"), Ok(-1500.0));
    let output = setting("chroma/61600", P::SwitchOn);
    assert_eq!(read_back(&output, "ON"), Ok(1.0));
    assert_eq!(read_back(&output, "0"), Ok(0.0));
    assert_eq!(read_back(&output, "YES"), Err(Flaw::Corrupt));
}

#[test]
fn limits_are_told_in_the_instruments_own_direction() {
    let f = setting("generic/grid-simulator", model::Point::FrequencySet);
    let text = f.limit.clone().expect("it takes limits");
    assert_eq!(
        compose_limit(&f, &text, (47.0, 52.0)),
        "SOURce:FREQuency:LIMit:LOW 47.0000;HIGH 52.0000"
    );
    let load = setting("chroma/63800", model::Point::ActivePowerSet);
    assert_eq!(
        compose_limit(&load, "POWer:LIMit {low},{high}", (-2000.0, 0.0)),
        "POWer:LIMit 0.0,2000.0"
    );
}

#[test]
fn a_value_outside_its_range_is_not_believed() {
    let profile = profile("generic/grid-simulator");
    let f = &profile.points[0];
    assert_eq!(decode(f, "50.01"), Ok(50.01));
    assert_eq!(decode(f, "0"), Err(Flaw::OutOfRange));
    assert_eq!(decode(f, "9.91E37"), Err(Flaw::NotImplemented));
    assert_eq!(decode(f, "GRIDSIM"), Err(Flaw::Corrupt));
}

#[test]
fn an_error_queue_is_read_to_its_end() {
    let rows = [
        ("0,\"No error\"", Ok(None)),
        ("+0,\"No error\"", Ok(None)),
        (
            "-222,\"Data out of range; FREQ\"",
            Ok(Some("-222: Data out of range; FREQ".to_owned())),
        ),
        ("-113", Ok(Some("-113: ".to_owned()))),
        ("No error", Err(Flaw::Corrupt)),
        ("", Err(Flaw::Corrupt)),
        ("1.5,\"x\"", Err(Flaw::Corrupt)),
    ];
    for (reply, expected) in rows {
        assert_eq!(error_entry(reply), expected, "{reply:?}");
    }
    assert!(is_complete("1") && is_complete("+1"));
    assert!(!is_complete("0") && !is_complete("50.0") && !is_complete(""));
}

#[test]
fn lines_end_with_a_line_feed_whatever_the_parts_they_come_in() {
    let mut lines = Lines::default();
    assert_eq!(lines.push(b"49."), []);
    assert!(lines.has_begun());
    assert_eq!(
        lines.push(b"98\r\n50.0\n\xff\n5"),
        [
            Cut::Line("49.98".into()),
            Cut::Line("50.0".into()),
            Cut::Garbage
        ]
    );
    lines.clear();
    assert_eq!(lines.push(b"1\n"), [Cut::Line("1".into())]);
}

#[test]
fn a_line_without_an_end_is_told_once_and_takes_no_memory() {
    let mut lines = Lines::default();
    let mut told = Vec::new();
    for _ in 0..1000 {
        told.extend(lines.push(&[b'7'; 1000]));
    }
    assert_eq!(told, [Cut::Garbage]);
    assert!(lines.held.capacity() <= 2 * LINE_MAX);
    assert_eq!(lines.push(b"\n50\n"), [Cut::Line("50".into())]);
}

proptest! {
    #[test]
    fn whatever_arrives_is_cut_and_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), parts in 1..9_usize) {
        let profile = profile("generic/grid-simulator");
        let (mut whole, mut in_parts) = (Lines::default(), Lines::default());
        let expected = whole.push(&bytes);
        let found: Vec<Cut> = bytes.chunks(bytes.len().div_ceil(parts).max(1)).flat_map(|part| in_parts.push(part)).collect();
        prop_assert_eq!(&found, &expected);
        for cut in found {
            if let Cut::Line(line) = cut {
                for point in &profile.points {
                    if let Ok(value) = decode(point, &line) {
                        prop_assert!(value.is_finite() && (point.range.0..=point.range.1).contains(&value));
                    }
                }
                let _ = error_entry(&line);
                for control in &profile.controls {
                    let _ = read_back(control, &line);
                }
            }
        }
    }

    #[test]
    fn a_setting_that_is_echoed_reads_back_within_its_last_digit(value in 16.0..400.0_f64) {
        for id in ["generic/grid-simulator", "ametek/mx", "nhr/9410", "chroma/61600"] {
            for point in [model::Point::FrequencySet, model::Point::VoltageSet] {
                let setting = setting(id, point);
                let message = compose(&setting, value);
                let echoed = message.rsplit(' ').next().expect("a value");
                let back = read_back(&setting, echoed).expect("a number");
                prop_assert!((back - value).abs() <= setting.tolerance, "{} {}", message, back);
            }
        }
    }
}
