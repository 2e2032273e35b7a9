//! What other people's clients may send, and what they get.

use proptest::prelude::*;

use super::*;
use crate::faults::Fault;

fn instrument(id: &str) -> (Instrument, Shared) {
    let profile = profile::bundled(id).expect(id);
    Instrument::alone(&profile).expect("it speaks SCPI")
}

fn say(instrument: &Instrument, message: &str) -> Option<String> {
    let reply = instrument.answer(message.as_bytes())?;
    Some(
        String::from_utf8(reply)
            .expect("text")
            .trim_end()
            .to_owned(),
    )
}

/// Each message in turn, with what comes back.
fn check(id: &str, rows: &[(&str, &str)]) -> Shared {
    let (instrument, world) = instrument(id);
    for (message, expected) in rows {
        world.lock().step(STEP);
        let answer = say(&instrument, message).unwrap_or_default();
        assert_eq!(answer, *expected, "{id}: {message}");
    }
    world
}

#[test]
fn short_long_relative_and_compound_messages_all_mean_the_same() {
    let world = check(
        "generic/grid-simulator",
        &[
            ("*IDN?", "GRIDSIM,EMU,1.0"),
            ("SOUR:FREQ 49.5", ""),
            (":source:frequency?", "49.5000"),
            ("FREQ 49.25;:FREQ?", "49.2500"),
            (
                "SOUR:FREQ 49.1HZ;VOLT 225V;:SOUR:VOLT?;FREQ?",
                "225.000;49.1000",
            ),
            ("MEAS:FREQ?;VOLT?", "+4.910000E+01;+2.250000E+02"),
            ("OUTP:STAT OFF;:OUTP:STAT?", "0"),
            ("MEAS:FREQ?", "+9.910000E+37"),
            ("MEAS:VOLT?", "+0.000000E+00"),
            ("OUTP:STAT 1;*OPC?", "1"),
            ("FREQ? MAX;:FREQ? MIN", "1000.0000;10.0000"),
            ("SYST:ERR?", "0,\"No error\""),
        ],
    );
    assert_eq!(world.lock().get("grid.f"), Ok(49.1));
}

#[test]
fn every_mistake_stands_in_the_queue_by_its_number_and_changes_nothing() {
    let world = check(
        "generic/grid-simulator",
        &[
            ("FREKUENCY 49", ""),
            ("FREQ", ""),
            ("FREQ fifty", ""),
            ("FREQ 49,50", ""),
            ("FREQ 5000", ""),
            (":;FREQ?", "50.0000"),
            ("*FOO?", ""),
            ("SYST:ERR?;*ESR?", "-113,\"Undefined header\";48"),
            ("SYST:ERR?", "-109,\"Missing parameter\""),
            ("SYST:ERR?", "-104,\"Data type error\""),
            ("SYST:ERR?", "-108,\"Parameter not allowed\""),
            ("SYST:ERR?", "-222,\"Data out of range\""),
            ("SYST:ERR?", "-102,\"Syntax error\""),
            ("SYST:ERR?", "-113,\"Undefined header\""),
            ("SYST:ERR?", "0,\"No error\""),
            ("*ESR?", "0"),
        ],
    );
    assert_eq!(world.lock().get("grid.f"), Ok(50.0));
}

#[test]
fn a_full_queue_ends_with_an_overflow_and_is_emptied_by_a_clear() {
    let (instrument, _) = instrument("generic/grid-simulator");
    for _ in 0..30 {
        say(&instrument, "NONSENSE");
    }
    assert_eq!(say(&instrument, "*STB?").as_deref(), Some("4"));
    let queue: Vec<String> = (0..ERRORS_MAX)
        .map(|_| say(&instrument, "SYST:ERR?").expect("an entry"))
        .collect();
    assert_eq!(queue[ERRORS_MAX - 2], "-113,\"Undefined header\"");
    assert_eq!(queue[ERRORS_MAX - 1], "-350,\"Queue overflow\"");
    say(&instrument, "NONSENSE;*CLS");
    assert_eq!(
        say(&instrument, "SYST:ERR?").as_deref(),
        Some("0,\"No error\"")
    );
}

#[test]
fn limits_that_were_told_are_kept_by_the_instrument_itself() {
    let world = check(
        "generic/grid-simulator",
        &[
            ("SOUR:FREQ:LIM:LOW 47;HIGH 52", ""),
            ("FREQ 52.5", ""),
            ("SYST:ERR?", "-222,\"Data out of range\""),
            ("FREQ 46.9;:FREQ 52", ""),
            ("SYST:ERR?", "-222,\"Data out of range\""),
            ("*RST;FREQ 60", ""),
            ("SYST:ERR?;:OUTP:STAT?", "0,\"No error\";0"),
        ],
    );
    assert_eq!(world.lock().get("grid.f"), Ok(60.0));
    assert_eq!(world.lock().get("grid.live"), Ok(0.0));
}

#[test]
fn the_instruments_of_the_makers_take_their_own_messages() {
    let rows: [(&str, &[(&str, &str)]); 4] = [
        (
            "ametek/mx",
            &[
                ("inst:coup all;:volt:ac 231.0", ""),
                ("volt:ac?;:freq?", "231.0;50.00"),
                ("outp on;outp?", "1"),
                ("fetc:volt:ac?", "+2.310000E+02"),
                ("syst:err?", "0,\"No error\""),
            ],
        ),
        (
            "pacific/upc",
            &[
                (":SOURce:VOLTage1 229;VOLTage2 229;VOLTage3 229", ""),
                (":SOUR:FREQ:LIM:MIN 47;MAX 52;:FREQ 49.8", ""),
                (":MEAS:VOLT3?;:MEAS:FREQ?", "+2.290000E+02;+4.980000E+01"),
                ("SYST:ERR?", "0,\"No error\""),
            ],
        ),
        (
            "nhr/9410",
            &[
                ("SYST:RWL", ""),
                ("FREQ 49.987", ""),
                ("FREQ?", "49.987"),
                ("SYST:ERR?", "0,\"No error\""),
            ],
        ),
        (
            "chroma/63800",
            &[
                (":LOAD:MODE POW", ""),
                (":LOAD:POW 1500", ""),
                (":LOAD 1", ""),
                (":LOAD?", "1"),
                (":LOAD:POW?;:MEAS:POW?", "1500.0;+1.500000E+03"),
                (":LOAD OFF;:LOAD:POW 9000", ""),
                ("SYST:ERR?", "-222,\"Data out of range\""),
            ],
        ),
    ];
    for (id, rows) in rows {
        check(id, rows);
    }
}

#[test]
fn faults_fall_on_what_is_answered() {
    let (instrument, world) = instrument("generic/grid-simulator");
    let with = |fault: Fault, message: &str| {
        let reply = {
            world.lock().set_fault("inst", fault, true).expect("there");
            instrument.hear(message.as_bytes())
        };
        world.lock().set_fault("inst", fault, false).expect("there");
        reply.map(|reply| (reply.after, reply.bytes))
    };
    assert_eq!(with(Fault::Silent, "FREQ?"), None);
    assert_eq!(with(Fault::Loss(1.0), "FREQ?"), None);
    let (after, _) = with(Fault::Delay(STEP), "FREQ?").expect("late, but there");
    assert_eq!(after, STEP);
    let (_, bytes) = with(Fault::Crc(1.0), "FREQ?").expect("there");
    assert!(bytes.iter().any(|b| !b.is_ascii()), "{bytes:?}");
    let (_, bytes) = with(Fault::WrongLength, "FREQ?").expect("there");
    assert_eq!(bytes, b"50.\n");
    assert_eq!(with(Fault::Exception(4), "FREQ?"), None);
    let (_, bytes) = with(Fault::NotImplemented, "MEAS:FREQ?").expect("there");
    assert_eq!(bytes, b"+9.910000E+37\n");
    // A message without an answer is carried out or not heard at all.
    for (fault, frequency) in [
        (Fault::Silent, "50.0000"),
        (Fault::Loss(1.0), "49.0000"),
        (Fault::Exception(4), "48.0000"),
        (Fault::Delay(STEP), "50.0000"),
    ] {
        let told = if frequency == "50.0000" {
            "49.0000"
        } else {
            frequency
        };
        with(fault, &format!("FREQ {told}"));
        if matches!(fault, Fault::Delay(_)) {
            with(fault, "FREQ 50");
        }
        assert_eq!(
            say(&instrument, "FREQ?").as_deref(),
            Some(frequency),
            "{fault}"
        );
    }
    with(Fault::IgnoreWrites, "FREQ 49");
    assert_eq!(say(&instrument, "FREQ?").as_deref(), Some("50.0000"));
    assert_eq!(
        say(&instrument, "SYST:ERR?").as_deref(),
        Some("-200,\"Execution error\"")
    );
}

#[tokio::test(start_paused = true)]
async fn two_clients_share_one_queue_and_an_endless_message_is_an_error() {
    let (instrument, _) = instrument("generic/grid-simulator");
    let instrument = Arc::new(instrument);
    let mut clients = Vec::new();
    for _ in 0..2 {
        let (near, far) = tokio::io::duplex(64);
        tokio::spawn(Arc::clone(&instrument).serve(far));
        clients.push(near);
    }
    let endless = vec![b'A'; 3 * MESSAGE_MAX];
    clients[0].write_all(&endless).await.expect("taken");
    clients[0].write_all(b"\nNON").await.expect("taken");
    clients[1].write_all(b"*OPC?\n").await.expect("taken");
    let mut reply = [0; 64];
    let n = clients[1].read(&mut reply).await.expect("answered");
    assert_eq!(&reply[..n], b"1\n");
    clients[0]
        .write_all(b"SENSE\n*OPC?\n")
        .await
        .expect("taken");
    let n = clients[0].read(&mut reply).await.expect("answered");
    assert_eq!(&reply[..n], b"1\n");
    clients[1].write_all(b"SYST:ERR?\n").await.expect("taken");
    let n = clients[1].read(&mut reply).await.expect("answered");
    assert_eq!(&reply[..n], b"-363,\"Input buffer overrun\"\n");
    clients[1].write_all(b"SYST:ERR?\n").await.expect("taken");
    let n = clients[1].read(&mut reply).await.expect("answered");
    assert_eq!(&reply[..n], b"-113,\"Undefined header\"\n");
}

proptest! {
    #[test]
    fn no_message_stops_an_instrument_or_moves_it_out_of_its_range(
        message in "(\\*|:)?[A-Za-z:?;, *\"0-9.+-]{0,60}",
        value in "[0-9.eE+-]{1,12}",
    ) {
        let (instrument, world) = instrument("generic/grid-simulator");
        say(&instrument, &message);
        say(&instrument, &format!("SOUR:FREQ {value};VOLT {value}"));
        let world = world.lock();
        let f = world.setpoint(0, Point::FrequencySet).expect("set");
        let v = world.setpoint(0, Point::VoltageSet).expect("set");
        prop_assert!((10.0..=1000.0).contains(&f) && (0.0..=600.0).contains(&v), "{} {}", f, v);
    }
}
