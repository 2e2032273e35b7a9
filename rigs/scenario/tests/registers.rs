//! The registers of the bundled profiles with fixed addresses: the driver's decoder and the
//! emulator's encoder share no code, so each is held against rows made by hand, and one against
//! the other over the whole range of every point.

use bus::modbus::codec::{decode, decode_in_range};
use document::Source;
use emulator::faces::modbus::fixed::words_of;
use model::{Flaw, Point};
use profile::modbus::{Address, DataType, Encoding, ModbusProfile, RegisterPoint};
use profile::{Profile, Protocol, bundled, bundled_ids, bundled_text};
use proptest::prelude::*;

fn modbus(id: &str) -> Option<ModbusProfile> {
    match &bundled(id).expect("bundled").protocol {
        Protocol::Modbus(modbus) => Some(modbus.clone()),
        _ => None,
    }
}

fn point(id: &str, name: &str) -> RegisterPoint {
    let name = Point::from_name(name).expect("a canonical name");
    let profile = modbus(id).expect("speaks Modbus");
    let mut points = profile.points.into_iter();
    points.find(|p| p.point == name).expect("mapped")
}

/// Registers as they stand on the wire, and the value in the base unit with our sign; `None` where
/// the device says that it has no such value. Worked out from the makers' tables with Python's
/// `struct`; the voltage and the frequency of `sungrow/sh` are those of an SH8.0RT that its owner
/// published (AlexanderLanin/homeassistant-sungrow, compare.md, direct connection).
const ROWS: &[(&str, &str, &[u16], Option<f64>)] = &[
    (
        "carlo-gavazzi/em24",
        "ac.v.l1",
        &[0x0903, 0x0000],
        Some(230.7),
    ),
    (
        "carlo-gavazzi/em24",
        "ac.p",
        &[0xfb2e, 0xffff],
        Some(-123.4),
    ),
    ("carlo-gavazzi/em24", "ac.f", &[0x01f3], Some(49.9)),
    ("carlo-gavazzi/em24", "ac.pf", &[0xfc27], Some(-0.985)),
    (
        "carlo-gavazzi/em24-e1",
        "ac.e_exp",
        &[0xe240, 0x0001],
        Some(12_345_600.0),
    ),
    (
        "carlo-gavazzi/em340",
        "ac.i.l1",
        &[0x139d, 0x0000],
        Some(5.021),
    ),
    (
        "eastron/sdm630",
        "ac.v.l1",
        &[0x4366, 0x3333],
        Some(230.199_996_948_242_2),
    ),
    (
        "eastron/sdm120",
        "ac.e_imp",
        &[0x449a, 0x5000],
        Some(1_234_500.0),
    ),
    ("schneider/iem3000", "ac.p", &[0x3fc0, 0x0000], Some(1500.0)),
    (
        "schneider/iem3000",
        "ac.e_exp",
        &[0, 0, 0x0012, 0xd687],
        Some(1_234_567.0),
    ),
    ("janitza/umg", "ac.f", &[0x4248, 0x0000], Some(50.0)),
    ("janitza/umg", "ac.p", &[0xc500, 0x0800], Some(-2048.5)),
    (
        "janitza/umg",
        "ac.e_imp",
        &[0x4b80, 0x0000],
        Some(16_777_216.0),
    ),
    (
        "huawei/sun2000",
        "rating.p",
        &[0x0000, 0x2710],
        Some(10_000.0),
    ),
    ("huawei/sun2000", "ac.p", &[0xffff, 0xff06], Some(-250.0)),
    ("huawei/sun2000", "ac.v.l1", &[0x090a], Some(231.4)),
    ("huawei/sun2000", "ac.i.l1", &[0x0000, 0x05f0], Some(1.52)),
    ("huawei/sun2000", "ac.f", &[0x1386], Some(49.98)),
    ("huawei/sun2000", "ac.pf", &[0x03db], Some(0.987)),
    ("huawei/sun2000", "bat.soc", &[0x0369], Some(0.873)),
    (
        "huawei/sun2000",
        "bat.lim.dis_p",
        &[0x0000, 0x1388],
        Some(5000.0),
    ),
    (
        "huawei/sun2000",
        "ac.e_exp",
        &[0x0012, 0xd687],
        Some(12_345_670.0),
    ),
    ("huawei/sun2000", "ac.p", &[0x7fff, 0xffff], None),
    ("huawei/sun2000", "bat.soc", &[0xffff], None),
    (
        "huawei/smart-meter",
        "ac.p",
        &[0x0000, 0x0708],
        Some(-1800.0),
    ),
    (
        "huawei/smart-meter",
        "ac.v.l3",
        &[0x0000, 0x08fa],
        Some(229.8),
    ),
    (
        "huawei/smart-meter",
        "ac.e_exp",
        &[0x0001, 0x81cd],
        Some(987_650.0),
    ),
    ("sungrow/sh", "rating.p", &[0x0050], Some(8000.0)),
    ("sungrow/sh", "ac.v.l1", &[0x0907], Some(231.1)),
    ("sungrow/sh", "ac.f", &[0x01f4], Some(50.0)),
    ("sungrow/sh", "ac.p", &[0xf63c, 0xffff], Some(-2500.0)),
    ("sungrow/sh", "dc.p", &[0x1170, 0x0001], Some(70_000.0)),
    ("sungrow/sh", "bat.soc", &[0x022b], Some(0.555)),
    ("sungrow/sh", "bat.t", &[0xffdd], Some(-3.5)),
    ("sungrow/sh", "bat.t", &[0x7fff], None),
    ("sungrow/sh-meter", "ac.p", &[0x0bb8, 0x0000], Some(-3000.0)),
    (
        "sungrow/sh-meter",
        "ac.e_exp",
        &[0x1171, 0x0001],
        Some(7_000_100.0),
    ),
    ("deye/sg-lv", "bat.v", &[0x14c0], Some(53.12)),
    ("deye/sg-lv", "dc.p", &[0xfa24], Some(-1500.0)),
    ("deye/sg-lv", "bat.i", &[0xf506], Some(-28.1)),
    ("deye/sg-lv", "rating.p", &[0xd4c0, 0x0001], Some(12_000.0)),
    ("deye/sg-hv", "bat.v", &[0x0fb5], Some(402.1)),
    ("deye/sg-hv", "dc.p", &[0xff6a], Some(-1500.0)),
    ("victron/gx-vebus", "ac.p", &[0x000c], Some(-120.0)),
    ("victron/gx-vebus", "ac.f", &[0x1389], Some(50.01)),
    ("victron/gx-vebus", "bat.i", &[0x0069], Some(-10.5)),
    ("victron/gx-vebus", "bat.soc", &[0x0209], Some(0.521)),
    ("victron/gx-battery", "dc.p", &[0x01f4], Some(-500.0)),
    ("victron/gx-battery", "bat.v", &[0x020c], Some(52.4)),
    ("sma/sunny-island", "ac.p", &[0x0000, 0x0bb8], Some(3000.0)),
    ("sma/sunny-island", "ac.f", &[0x0000, 0x138b], Some(50.03)),
    (
        "sma/sunny-island",
        "ac.v.l1",
        &[0x0000, 0x5a41],
        Some(231.05),
    ),
    ("sma/sunny-island", "bat.soc", &[0x0000, 0x0040], Some(0.64)),
    ("sma/sunny-island", "ac.p", &[0x8000, 0x0000], None),
    ("sma/sunny-island", "ac.f", &[0xffff, 0xffff], None),
];

#[test]
fn known_registers_are_known_values_on_both_sides() {
    for (id, name, words, value) in ROWS {
        let point = point(id, name);
        let read = decode_in_range(&point.encoding, words, None, point.range);
        match value {
            Some(value) => {
                let read = read.expect("a value");
                let close = (read - value).abs() <= 1e-9 * value.abs().max(1.0);
                assert!(close, "{id} {name}: {read}, not {value}");
            }
            None => assert_eq!(read, Err(Flaw::NotImplemented), "{id} {name}"),
        }
        assert_eq!(words_of(*value, &point.encoding), *words, "{id} {name}");
    }
}

#[test]
fn every_maker_with_fixed_addresses_has_a_row() {
    for id in bundled_ids() {
        let fixed = modbus(id).is_some_and(|profile| {
            let at = profile.points.first().map(|p| p.address);
            matches!(at, Some(Address::Fixed { .. }))
        });
        // The breaker's map is our own.
        let known = ROWS.iter().any(|row| row.0 == id) || id == "generic/sync-breaker";
        assert!(known || !fixed, "{id} needs a row of known registers");
    }
}

/// Whether the type can hold this raw number beside its patterns.
fn holds(encoding: &Encoding, raw: f64) -> bool {
    let (low, high) = match encoding.data {
        DataType::Bit => (0.0, 1.0),
        DataType::U16 => (0.0, f64::from(u16::MAX)),
        DataType::I16 => (f64::from(i16::MIN), f64::from(i16::MAX)),
        DataType::U32 => (0.0, f64::from(u32::MAX)),
        DataType::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
        // Whole numbers beyond are not exact in a float.
        DataType::U64 => (0.0, 9e15),
        DataType::I64 => (-9e15, 9e15),
        DataType::F32 => (f64::from(f32::MIN), f64::from(f32::MAX)),
    };
    low + 1.0 <= raw && raw <= high - 1.0 || encoding.data == DataType::Bit
}

proptest! {
    #[test]
    fn what_the_emulator_tells_is_read_to_within_half_a_step(share in 0.0..=1.0_f64) {
        for id in bundled_ids() {
            for point in modbus(id).into_iter().flat_map(|profile| profile.points) {
                if point.encoding.scale.is_some() || !matches!(point.address, Address::Fixed { .. }) {
                    continue;
                }
                let encoding = &point.encoding;
                let (low, high) = point.range;
                let value = low + share * (high - low);
                if !holds(encoding, value / encoding.factor) {
                    continue;
                }
                let words = words_of(Some(value), encoding);
                let read = decode(encoding, &words, None);
                let read = read.map_err(|flaw| TestCaseError::fail(format!("{id} {}: {flaw:?}", point.point)))?;
                let half = match encoding.data {
                    DataType::F32 => value.abs() * f64::from(f32::EPSILON) + 1e-30,
                    _ => encoding.factor.abs() * 0.5,
                };
                let wrong = format!("{id} {}: {read} for {value}", point.point);
                prop_assert!((read - value).abs() <= half * (1.0 + 1e-9) + value.abs() * 1e-12, "{}", wrong);
            }
        }
    }
}

/// Whether every proof of identity of a profile's text is satisfied by registers that a sound
/// device of the true profile would hold.
fn is_believed(id: &str, text: &str) -> bool {
    let (read, _) = Profile::parse(Source::new("wrong.toml", text)).expect("a profile");
    let truth = modbus(id).expect("speaks Modbus");
    let read = match read.protocol {
        Protocol::Modbus(read) => Some(read),
        _ => None,
    };
    let read = read.expect("speaks Modbus");
    read.identify
        .iter()
        .zip(&truth.identify)
        .all(|(read, truth)| {
            // A device of the middle of what its maker builds, not of the very least.
            let value = 0.5 * (truth.range.0 + truth.range.1);
            let words = words_of(Some(value), &truth.encoding);
            decode(&read.encoding, &words, None)
                .is_ok_and(|read_value| read.range.0 <= read_value && read_value <= read.range.1)
        })
}

#[test]
fn a_profile_with_the_words_in_the_other_order_is_not_believed() {
    let mut seen = 0;
    for id in bundled_ids() {
        let text = bundled_text(id).expect("bundled");
        let swapped = if text.contains("order    = \"ABCD\"") {
            text.replace("order    = \"ABCD\"", "order    = \"CDAB\"")
        } else {
            text.replace("order    = \"CDAB\"", "order    = \"ABCD\"")
        };
        let wide = modbus(id).is_some_and(|profile| {
            let points = profile.points.iter();
            profile.controls.iter().all(|c| !c.fields.is_empty())
                && points
                    .clone()
                    .all(|p| matches!(p.address, Address::Fixed { .. }))
                && points.clone().any(|p| p.encoding.data.registers() > 1)
        });
        // The breaker's map is our own, and nothing in it is known beforehand.
        if swapped == *text || !wide || id == "generic/sync-breaker" {
            continue;
        }
        assert!(is_believed(id, text), "{id}: the true profile");
        assert!(!is_believed(id, &swapped), "{id} read with swapped words");
        seen += 1;
    }
    assert!(seen >= 12, "only {seen} profiles were swapped");
}

#[test]
fn a_profile_with_another_unit_is_not_believed() {
    // Watts for kilowatts, volts for kilovolts, hertz for its tenth: one row for each way to slip.
    let rows = [
        (
            "huawei/sun2000",
            "type = \"u32\"\nrange = [500,",
            "type = \"u32\"\nscale = 1000\nrange = [500,",
        ),
        (
            "sungrow/sh",
            "scale = 0.1\nrange = [2, 50]",
            "scale = 100\nrange = [2, 50]",
        ),
        (
            "sungrow/sh",
            "scale = 0.1\nrange = [45, 65]",
            "scale = 0.01\nrange = [45, 65]",
        ),
        (
            "janitza/umg",
            "type = \"f32\"\nrange = [50,",
            "type = \"f32\"\nscale = 0.001\nrange = [50,",
        ),
        (
            "schneider/iem3000",
            "type = \"f32\"\nrange = [50,",
            "type = \"f32\"\nscale = 1000\nrange = [50,",
        ),
        (
            "carlo-gavazzi/em340",
            "scale = 0.1\nrange = [50,",
            "scale = 1\nrange = [50,",
        ),
        (
            "sma/sunny-island",
            "scale = 0.01\nrange = [45,",
            "scale = 0.1\nrange = [45,",
        ),
        (
            "deye/sg-lv",
            "scale = 0.1\nrange = [50,",
            "scale = 1\nrange = [50,",
        ),
    ];
    for (id, right, wrong) in rows {
        let text = bundled_text(id).expect("bundled");
        assert!(text.contains(right), "{id}: the row must change something");
        assert!(is_believed(id, text), "{id}: the true profile");
        assert!(
            !is_believed(id, &text.replacen(right, wrong, 1)),
            "{id}: {wrong}"
        );
    }
}
