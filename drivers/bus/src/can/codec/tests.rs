use std::time::Duration;

use model::Point;
use profile::can::ByteOrder;
use proptest::prelude::*;

use super::*;

fn signal(point: Point, start_bit: u16, bits: u16, signed: bool, factor: f64) -> Signal {
    Signal {
        point,
        field: Field {
            at: Bits {
                start: start_bit,
                len: bits,
                order: ByteOrder::Little,
            },
            number: if signed {
                Number::Signed
            } else {
                Number::Unsigned
            },
            factor,
            offset: 0.0,
        },
        mask: u64::MAX,
        not_implemented: None,
        range: (-1e12, 1e12),
    }
}

fn frame(len_min: usize) -> FrameSpec {
    FrameSpec {
        id: CanId::Standard(0x351),
        id_mask: 0x7FF,
        page: Vec::new(),
        len_min,
        period: Duration::from_secs(1),
        timeout: Duration::from_secs(3),
        identify: None,
        signals: Vec::new(),
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

fn check(hex: &str, signal: &Signal, expected: f64) {
    match decode(&frame(0), signal, &bytes(hex)) {
        Reading::Good(value) => assert!(
            (value - expected).abs() < 1e-9,
            "{hex} {signal:?}: {value}, not {expected}"
        ),
        Reading::Bad(flaw) => panic!("{hex} {signal:?}: {flaw:?}"),
    }
}

/// Captures of real packs with their values, from the driver dossier (section 1.3).
#[test]
fn frames_captured_from_batteries_decode_to_the_values_on_their_displays() {
    use Point::*;
    let limits = |start, point| signal(point, start, 16, start == 16 || start == 32, 0.1);
    for (hex, values) in [
        ("1402740E740ECC01", [53.2, 370.0, 370.0, 46.0]),
        ("1402C012C012C201", [53.2, 480.0, 480.0, 45.0]),
    ] {
        check(hex, &limits(0, ChargeVoltageMax), values[0]);
        check(hex, &limits(16, ChargeCurrentMax), values[1]);
        check(hex, &limits(32, DischargeCurrentMax), values[2]);
        check(hex, &limits(48, DischargeVoltageMin), values[3]);
    }
    check(
        "7A13F2FE6B01",
        &signal(BatteryVoltage, 0, 16, true, 0.01),
        49.86,
    );
    // The pack counts charging positive: the profile's factor turns the sign.
    check(
        "7A13F2FE6B01",
        &signal(BatteryCurrent, 16, 16, true, -0.1),
        27.0,
    );
    check(
        "7A13F2FE6B01",
        &signal(BatteryTemperature, 32, 16, true, 0.1),
        36.3,
    );
    check("58005E00", &signal(StateOfCharge, 0, 16, false, 0.01), 0.88);
    check(
        "58005E00",
        &signal(StateOfHealth, 16, 16, false, 0.01),
        0.94,
    );
    check("0000000006504E", &signal(Alarm, 0, 16, false, 1.0), 0.0);
    check("C000", &signal(ChargeEnabled, 7, 1, false, 1.0), 1.0);
    check("C000", &signal(DischargeEnabled, 6, 1, false, 1.0), 1.0);
    check("C000", &signal(State, 5, 1, false, 1.0), 0.0);
}

#[test]
fn big_endian_signals_follow_the_motorola_numbering_of_dbc_files() {
    for (hex, start, bits, signed, expected) in [
        ("0214000000000000", 7, 16, false, 0x0214 as f64),
        ("00000E7400000000", 23, 16, false, 0x0E74 as f64),
        ("0000FEF200000000", 23, 16, true, -270.0),
        // Twelve bits from the middle of byte 0: 0xA of byte 0, then all of byte 1.
        ("5ABC000000000000", 3, 12, false, 0xABC as f64),
        ("8000000000000000", 7, 1, false, 1.0),
        ("0000000000000001", 56, 1, false, 1.0),
        ("FFFFFFFFFFFFFFFF", 7, 64, true, -1.0),
    ] {
        let mut s = signal(Point::DcVoltage, start, bits, signed, 1.0);
        s.field.at.order = ByteOrder::Big;
        check(hex, &s, expected);
    }
}

#[test]
fn a_number_gets_its_offset_and_its_range() {
    let mut s = signal(Point::BatteryTemperature, 0, 8, false, 1.0);
    s.field.offset = -100.0;
    s.range = (-40.0, 80.0);
    check("7D", &s, 25.0);
    for (hex, flaw) in [("FF", Flaw::OutOfRange), ("00", Flaw::OutOfRange)] {
        assert_eq!(
            decode(&frame(0), &s, &bytes(hex)),
            Reading::Bad(flaw),
            "{hex}"
        );
    }
}

#[test]
fn a_short_frame_is_corrupt_and_an_absent_optional_signal_is_not_implemented() {
    let last = signal(Point::DischargeVoltageMin, 48, 16, false, 0.1);
    for (len_min, hex, expected) in [
        (6, "1402740E74", Flaw::Corrupt),
        (6, "1402740E740E", Flaw::NotImplemented),
        (0, "", Flaw::NotImplemented),
    ] {
        assert_eq!(
            decode(&frame(len_min), &last, &bytes(hex)),
            Reading::Bad(expected),
            "{hex}"
        );
    }
}

#[test]
fn an_identity_frame_must_begin_with_the_text_of_the_profile() {
    let mut spec = frame(8);
    assert_eq!(identity_fits(&spec, b"PYLON   "), None);
    spec.identify = Some(b"PYLON".to_vec());
    assert_eq!(identity_fits(&spec, b"PYLON   "), Some(true));
    assert_eq!(identity_fits(&spec, b"BYD     "), Some(false));
    assert_eq!(identity_fits(&spec, b"PYL"), Some(false));
}

#[test]
fn data_has_only_lengths_that_frames_have() {
    for len in 0..=80 {
        let known = len <= 8 || [12, 16, 20, 24, 32, 48, 64].contains(&len);
        let data = Data::new(&vec![7; len]);
        assert_eq!(data.is_some(), known, "{len}");
        if let Some(data) = data {
            assert_eq!(data.as_slice(), vec![7; len]);
            assert_eq!(data.is_fd(), len > 8);
        }
    }
}

fn field(start: u16, len: u16, number: Number, factor: f64, offset: f64) -> Field {
    Field {
        at: Bits {
            start,
            len,
            order: ByteOrder::Little,
        },
        number,
        factor,
        offset,
    }
}

#[test]
fn a_value_that_a_field_cannot_carry_is_never_cut_to_one_that_it_can() {
    use Number::*;
    for (field, value, expected) in [
        (field(0, 8, Unsigned, 1.0, 0.0), 255.4, Some(255)),
        (field(0, 8, Unsigned, 1.0, 0.0), 255.5, None),
        (field(0, 8, Unsigned, 1.0, 0.0), -0.6, None),
        (field(0, 8, Signed, 1.0, 0.0), -128.0, Some(0x80)),
        (field(0, 8, Signed, 1.0, 0.0), -128.6, None),
        (field(0, 8, Signed, 1.0, 0.0), 127.6, None),
        (field(0, 16, Signed, -0.1, 0.0), 27.0, Some(0xFEF2)),
        (field(0, 16, Unsigned, 0.1, -100.0), 0.0, Some(1000)),
        (field(0, 64, Unsigned, 1.0, 0.0), 2_f64.powi(64), None),
        (
            field(0, 64, Signed, 1.0, 0.0),
            -(2_f64.powi(63)),
            Some(1 << 63),
        ),
        (field(0, 32, Float, 1.0, 0.0), 1.5, Some(0x3FC0_0000)),
        (field(0, 32, Float, 1.0, 0.0), 1e300, None),
        (
            field(0, 64, Float, 1.0, 0.0),
            -2.0,
            Some(0xC000_0000_0000_0000),
        ),
        (field(0, 8, Unsigned, 1.0, 0.0), f64::NAN, None),
    ] {
        assert_eq!(raw(&field, value), expected, "{field:?} {value}");
    }
}

#[test]
fn floats_flags_and_absent_numbers_are_told_apart() {
    let mut s = signal(Point::DcVoltage, 0, 32, false, 1.0);
    s.field.number = Number::Float;
    check("0000C03F", &s, 1.5);
    // A float that is no number is no value.
    let nan = decode(&frame(0), &s, &bytes("0000C07F"));
    assert_eq!(nan, Reading::Bad(Flaw::NotImplemented));
    s.field.at.len = 64;
    check("000000000000F8BF", &s, -1.5);
    let mut alarms = signal(Point::Alarm, 0, 16, false, 1.0);
    alarms.mask = 0x5555;
    // Pairs of bits: 01 is raised, 10 is not, 00 is not watched.
    check("A9AA", &alarms, 1.0);
    check("AAAA", &alarms, 0.0);
    let mut j1939 = signal(Point::DcVoltage, 0, 16, false, 0.05);
    j1939.not_implemented = Some(0xFE00);
    check("E803", &j1939, 50.0);
    for hex in ["FFFF", "00FE"] {
        let reading = decode(&frame(0), &j1939, &bytes(hex));
        assert_eq!(reading, Reading::Bad(Flaw::NotImplemented), "{hex}");
    }
}

#[test]
fn a_page_is_known_by_the_numbers_that_select_it() {
    let page = [Selector {
        at: field(0, 8, Number::Unsigned, 1.0, 0.0).at,
        values: vec![(1, 1), (4, 6)],
    }];
    for (hex, fits) in [
        ("01", true),
        ("05", true),
        ("06", true),
        ("03", false),
        ("", false),
    ] {
        assert_eq!(is_page(&page, &bytes(hex)), fits, "{hex}");
    }
    assert!(is_page(&[], &[]), "no page means every frame");
}

#[test]
fn a_page_within_a_page_is_there_only_when_both_selectors_say_so() {
    let selector = |start, value| Selector {
        at: Bits {
            start,
            len: 8,
            order: ByteOrder::Little,
        },
        values: vec![(value, value)],
    };
    let page = [selector(0, 1), selector(8, 2)];
    for (hex, fits) in [
        ("0102", true),
        ("0103", false),
        ("0002", false),
        ("0003", false),
        ("01", false),
    ] {
        assert_eq!(is_page(&page, &bytes(hex)), fits, "{hex}");
    }
}

proptest! {
    #[test]
    fn what_is_put_into_a_frame_comes_out_and_leaves_its_neighbours_alone(
        fill: [u8; 64], raw: u64, start in 0_u16..512, bits in 1_u16..=64, big: bool, signed: bool,
    ) {
        let mut s = signal(Point::DcVoltage, start, bits, signed, 1.0);
        s.field.at.order = if big { ByteOrder::Big } else { ByteOrder::Little };
        let at = s.field.at;
        prop_assume!(at.positions().all(|p| p < 512));
        let raw = if bits == 64 { raw } else { raw & ((1 << bits) - 1) };
        let mut data = fill;
        insert(&mut data, at, raw);
        prop_assert_eq!(extract(&data, at), Some(raw));
        let places: Vec<usize> = at.positions().collect();
        for p in (0..512).filter(|p| !places.contains(p)) {
            prop_assert_eq!(data[p / 8] >> (p % 8) & 1, fill[p / 8] >> (p % 8) & 1);
        }
        let number = if signed { sign_extended(raw, bits) as f64 } else { raw as f64 };
        s.range = (f64::MIN, f64::MAX);
        prop_assert_eq!(decode(&frame(8), &s, &data), Reading::Good(number));
    }

    #[test]
    fn no_frame_and_no_signal_makes_the_decoder_panic(
        data in proptest::collection::vec(any::<u8>(), 0..=64),
        start: u16, bits: u16, big: bool, signed: bool, mask: u64, factor: f64, offset: f64, len_min in 0_usize..10,
    ) {
        let mut s = signal(Point::DcVoltage, start, bits, signed, factor);
        s.field.at.order = if big { ByteOrder::Big } else { ByteOrder::Little };
        s.field.offset = offset;
        s.mask = mask;
        let _ = decode(&frame(len_min), &s, &data);
        s.field.number = Number::Float;
        let _ = decode(&frame(len_min), &s, &data);
        let _ = raw(&s.field, factor);
    }
}
