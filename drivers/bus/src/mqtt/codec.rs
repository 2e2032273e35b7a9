//! Payloads to values, as pure functions.
//!
//! A payload is a plain number or word, or JSON in which a pointer (RFC 6901) leads
//! to one. Devices send deltas: what a payload does not mention is not sampled.

use model::{Flaw, Point, Reading};
use profile::mqtt::Value;
use serde_json::Value as Json;

/// The values of a topic in a payload. A pointer that leads nowhere gives nothing.
#[must_use]
pub fn decode(values: &[Value], payload: &[u8]) -> Vec<(Point, Reading<f64>)> {
    // One payload is parsed once, however many values it carries.
    let json = values
        .iter()
        .any(|v| v.json.is_some())
        .then(|| serde_json::from_slice::<Json>(payload).ok());
    values
        .iter()
        .filter_map(|value| {
            let number = match (&value.json, &json) {
                (None, _) => plain(value, payload),
                (Some(pointer), Some(Some(json))) => found(value, json.pointer(pointer)?),
                (Some(_), _) => Err(Flaw::Corrupt),
            };
            Some((value.point, judged(value, number)))
        })
        .collect()
}

/// The word that tells whether a device is there: at the pointer of a JSON object, or the whole
/// payload where that is none (bridges have said it plainly before they said it in JSON).
#[must_use]
pub fn word(pointer: Option<&str>, payload: &[u8]) -> Option<String> {
    let plain = || Some(std::str::from_utf8(payload).ok()?.trim().to_owned());
    let Some(pointer) = pointer else {
        return plain();
    };
    match serde_json::from_slice::<Json>(payload) {
        Ok(json @ Json::Object(_)) => match json.pointer(pointer)? {
            Json::String(word) => Some(word.clone()),
            other => Some(other.to_string()),
        },
        _ => plain(),
    }
}

/// A number as a device takes it in a command, and the value that it then stands for.
///
/// `factor` leads from the number to the base unit.
#[must_use]
pub fn number(value: f64, factor: f64, decimals: u8) -> (String, f64) {
    let text = format!("{:.*}", usize::from(decimals), value / factor);
    // Rounding leaves a sign on a zero that no device expects.
    let text = match text.parse::<f64>() {
        Ok(0.0) => text.trim_start_matches('-').to_owned(),
        _ => text,
    };
    let said = text.parse::<f64>().unwrap_or(f64::NAN) * factor;
    (text, said)
}

fn plain(value: &Value, payload: &[u8]) -> Result<f64, Flaw> {
    let text = std::str::from_utf8(payload).map_err(|_| Flaw::Corrupt)?;
    word_or_number(value, text)
}

/// A listed word stands for a raw number as it is; anything else must be a number.
fn word_or_number(value: &Value, text: &str) -> Result<f64, Flaw> {
    let text = text.trim();
    let listed = value.words.iter().find(|(word, _)| word == text);
    match listed {
        Some((_, number)) => Ok(*number),
        None => text.parse::<f64>().map_err(|_| Flaw::Corrupt),
    }
}

fn found(value: &Value, json: &Json) -> Result<f64, Flaw> {
    match json {
        Json::Null => Err(Flaw::NotImplemented),
        Json::Bool(on) => {
            Ok(word_or_number(value, &on.to_string()).unwrap_or(f64::from(u8::from(*on))))
        }
        Json::Number(number) => number.as_f64().ok_or(Flaw::Corrupt),
        Json::String(text) => word_or_number(value, text),
        Json::Array(items) => listed(value, items),
        Json::Object(_) => Err(Flaw::Corrupt),
    }
}

/// Devices with several phases list a quantity once per phase. A total is the sum of
/// powers and energies; of a voltage or a switch there is none, so the profile has to
/// point at one item (`/ENERGY/Voltage/0`).
fn listed(value: &Value, items: &[Json]) -> Result<f64, Flaw> {
    match items {
        [] => Err(Flaw::NotImplemented),
        [one] => match one {
            Json::Array(_) => Err(Flaw::Corrupt),
            one => found(value, one),
        },
        several if matches!(value.point.unit(), "W" | "var" | "Wh") => {
            several.iter().try_fold(0.0, |sum, item| match item {
                Json::Array(_) => Err(Flaw::Corrupt),
                item => Ok(sum + found(value, item)?),
            })
        }
        _ => Err(Flaw::Config),
    }
}

fn judged(value: &Value, number: Result<f64, Flaw>) -> Reading<f64> {
    match number.map(|n| n * value.factor) {
        Err(flaw) => Reading::Bad(flaw),
        Ok(n) if !n.is_finite() => Reading::Bad(Flaw::Corrupt),
        Ok(n) if n < value.range.0 || n > value.range.1 => Reading::Bad(Flaw::OutOfRange),
        Ok(n) => Reading::Good(n),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(point: Point, json: Option<&str>, factor: f64) -> Value {
        Value {
            point,
            json: json.map(str::to_owned),
            factor,
            words: vec![("ON".into(), 1.0), ("OFF".into(), 0.0)],
            range: (-5000.0, 5000.0),
        }
    }

    fn check(value: &Value, payload: &str, expected: Option<Reading<f64>>) {
        let decoded = decode(std::slice::from_ref(value), payload.as_bytes());
        let expected: Vec<_> = expected.into_iter().map(|r| (value.point, r)).collect();
        assert_eq!(decoded, expected, "{payload} at {:?}", value.json);
    }

    #[test]
    fn payloads_as_plugs_send_them_become_readings() {
        use Flaw::*;
        use Point::*;
        use Reading::{Bad, Good};
        let tele =
            r#"{"Time":"2026-01-01T00:00:00","ENERGY":{"Total":1.5,"Power":42,"Voltage":"230"}}"#;
        // (point, pointer, factor, payload, expected)
        let rows = [
            (
                ActivePower,
                Some("/ENERGY/Power"),
                -1.0,
                tele,
                Some(Good(-42.0)),
            ),
            (
                EnergyImport,
                Some("/ENERGY/Total"),
                1000.0,
                tele,
                Some(Good(1500.0)),
            ),
            (
                VoltageL1,
                Some("/ENERGY/Voltage"),
                1.0,
                tele,
                Some(Good(230.0)),
            ),
            (
                ReactivePower,
                Some("/ENERGY/ReactivePower"),
                1.0,
                tele,
                None,
            ),
            (
                SwitchOn,
                Some("/POWER"),
                1.0,
                r#"{"POWER":"ON"}"#,
                Some(Good(1.0)),
            ),
            (
                SwitchOn,
                Some("/POWER"),
                1.0,
                r#"{"POWER":"on?"}"#,
                Some(Bad(Corrupt)),
            ),
            (
                SwitchOn,
                Some("/output"),
                1.0,
                r#"{"output":true}"#,
                Some(Good(1.0)),
            ),
            (
                SwitchOn,
                Some("/output"),
                1.0,
                r#"{"output":false}"#,
                Some(Good(0.0)),
            ),
            (SwitchOn, None, 1.0, "OFF", Some(Good(0.0))),
            (SwitchOn, None, 1.0, "", Some(Bad(Corrupt))),
            (ActivePower, None, 1.0, " 12.5\n", Some(Good(12.5))),
            (ActivePower, None, 1.0, "nan", Some(Bad(Corrupt))),
            (ActivePower, None, 1.0, "inf", Some(Bad(Corrupt))),
            (ActivePower, None, 1.0, "5001", Some(Bad(OutOfRange))),
            (
                ActivePower,
                Some("/p"),
                1.0,
                r#"{"p":null}"#,
                Some(Bad(NotImplemented)),
            ),
            (
                ActivePower,
                Some("/p"),
                1.0,
                r#"{"p":1"#,
                Some(Bad(Corrupt)),
            ),
            (ActivePower, Some("/p"), 1.0, "", Some(Bad(Corrupt))),
            (
                ActivePower,
                Some("/p"),
                1.0,
                r#"{"p":{}}"#,
                Some(Bad(Corrupt)),
            ),
            (
                ActivePower,
                Some("/p"),
                -1.0,
                r#"{"p":[10,20,30]}"#,
                Some(Good(-60.0)),
            ),
            (
                ActivePower,
                Some("/p"),
                -1.0,
                r#"{"p":[10,null,30]}"#,
                Some(Bad(NotImplemented)),
            ),
            (
                ActivePower,
                Some("/p"),
                1.0,
                r#"{"p":[[1],2]}"#,
                Some(Bad(Corrupt)),
            ),
            (
                ActivePower,
                Some("/p"),
                1.0,
                r#"{"p":[]}"#,
                Some(Bad(NotImplemented)),
            ),
            (
                VoltageL1,
                Some("/v"),
                1.0,
                r#"{"v":[230,231]}"#,
                Some(Bad(Config)),
            ),
            (
                VoltageL1,
                Some("/v"),
                1.0,
                r#"{"v":[230]}"#,
                Some(Good(230.0)),
            ),
            (
                VoltageL2,
                Some("/v/1"),
                1.0,
                r#"{"v":[230,231]}"#,
                Some(Good(231.0)),
            ),
        ];
        for (point, pointer, factor, payload, expected) in rows {
            check(&value(point, pointer, factor), payload, expected);
        }
    }

    #[test]
    fn a_listed_word_wins_over_the_number_that_it_looks_like() {
        let mut v = value(Point::SwitchOn, Some("/s"), 1.0);
        v.words = vec![("false".into(), 1.0), ("0".into(), 1.0)];
        check(&v, r#"{"s":false}"#, Some(Reading::Good(1.0)));
        check(&v, r#"{"s":"0"}"#, Some(Reading::Good(1.0)));
        check(&v, r#"{"s":true}"#, Some(Reading::Good(1.0)));
    }

    #[test]
    fn availability_is_told_in_json_or_in_a_plain_word() {
        for (pointer, payload, expected) in [
            (None, "Online", Some("Online")),
            (None, " true\n", Some("true")),
            (Some("/state"), r#"{"state":"online"}"#, Some("online")),
            (Some("/state"), "offline", Some("offline")),
            (Some("/up"), r#"{"up":true}"#, Some("true")),
            (Some("/state"), r#"{"status":"online"}"#, None),
            (Some("/state"), "true", Some("true")),
        ] {
            let said = word(pointer, payload.as_bytes());
            assert_eq!(said.as_deref(), expected, "{payload} at {pointer:?}");
        }
        assert_eq!(word(None, &[0xFF]), None);
    }

    #[test]
    fn a_number_is_said_as_the_device_takes_it_and_stands_for_what_was_said() {
        for (value, factor, decimals, text, said) in [
            (200.4, -1.0, 0, "-200", 200.0),
            (-1234.56, 1.0, 1, "-1234.6", -1234.6),
            (0.2, -1.0, 0, "0", 0.0),
            (1500.0, 1000.0, 2, "1.50", 1500.0),
        ] {
            let (number, stands_for) = number(value, factor, decimals);
            assert_eq!(number, text);
            assert!((stands_for - said).abs() < 1e-9, "{value}: {stands_for}");
        }
    }

    #[test]
    fn json_without_an_end_to_its_depth_is_corrupt_and_harms_nobody() {
        let deep = "[".repeat(1 << 20);
        let at = value(Point::ActivePower, Some("/p"), 1.0);
        check(&at, &deep, Some(Reading::Bad(Flaw::Corrupt)));
        assert_eq!(word(Some("/state"), deep.as_bytes()), Some(deep));
    }

    proptest! {
        #[test]
        fn no_payload_makes_the_decoder_panic(
            payload in proptest::collection::vec(any::<u8>(), 0..200),
            pointer in proptest::option::of("(/[a-c0-9~]{0,3}){0,4}"),
        ) {
            let _ = decode(&[value(Point::ActivePower, pointer.as_deref(), 1.0)], &payload);
            let _ = word(pointer.as_deref(), &payload);
        }

        #[test]
        fn a_number_comes_out_as_it_was_written(number in -5000.0_f64..5000.0) {
            let at = value(Point::ActivePower, Some("/a/0/b"), 1.0);
            let payload = format!(r#"{{"a":[{{"b":{number:?}}}]}}"#);
            let read = decode(&[at], payload.as_bytes());
            let [(Point::ActivePower, Reading::Good(n))] = read.as_slice() else {
                return Err(TestCaseError::fail(format!("{read:?}")));
            };
            // The JSON reader may be off by the last bit.
            prop_assert!((n - number).abs() <= number.abs() * 1e-15, "{} {}", n, number);
            prop_assert_eq!(
                decode(&[value(Point::ActivePower, None, 1.0)], format!("{number:?}").as_bytes()),
                vec![(Point::ActivePower, Reading::Good(number))]
            );
        }
    }
}
