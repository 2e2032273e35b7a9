//! The bus against an instrument that does what a test tells it, in virtual time.

mod settings;

use std::sync::Mutex;

use model::{Reading, Setpoint};
use profile::Profile;
use quantities::{ActivePower, Frequency, Voltage};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::*;
use crate::can::bench::{Recorder, TestClock, adoption, job};
use crate::{BusHandle, Endpoint, Framing, KeepAlives, LimitOf, PollPeriods, Writer};

const MS: Duration = Duration::from_millis(1);

/// An instrument: what it holds, what it was told, and how it misbehaves.
#[derive(Debug)]
struct Instrument {
    f: f64,
    v: f64,
    on: bool,
    errors: Vec<String>,
    heard: Vec<String>,
    connections: usize,
    /// What befalls the replies to come, one each; then nothing more.
    mishaps: Vec<Mishap>,
    /// Replies in place of the right ones; an empty one is none.
    instead: BTreeMap<&'static str, &'static str>,
    /// A message that it does not take.
    refuses: Option<&'static str>,
    /// It says that it takes values, and keeps the ones that it has.
    deaf: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mishap {
    None,
    /// The reply comes so much later.
    Late(Duration),
    /// It does not come.
    Lost,
    /// Something else comes in its place.
    Instead(&'static [u8]),
    /// Something comes before it.
    Before(&'static [u8]),
    /// Something comes a moment after it.
    Then(&'static [u8]),
    /// The line is cut, the instrument has restarted and forgotten everything.
    Restart,
}

impl Instrument {
    fn reply(&mut self, message: &str) -> Option<String> {
        self.heard.push(message.to_owned());
        let set = |text: &str| text.rsplit(' ').next().and_then(|v| v.parse().ok());
        if let Some(reply) = self.instead.get(message) {
            return (!reply.is_empty()).then(|| (*reply).to_owned());
        }
        if self.refuses == Some(message) {
            self.errors.push("-200,\"Execution error\"".into());
            return None;
        }
        if self.deaf && message.starts_with("SOURce") && !message.contains('?') {
            return None;
        }
        match message {
            "*IDN?" => Some("Maker,GridSim 7,1,1.0".into()),
            "*OPC?" => Some("1".into()),
            "SYSTem:ERRor?" => Some(match self.errors.len() {
                0 => "0,\"No error\"".into(),
                _ => self.errors.remove(0),
            }),
            "MEASure:FREQuency?" => Some(format!("{:+.4E}", self.f)),
            "MEASure:VOLTage?" => Some(format!("{}", if self.on { self.v } else { 0.0 })),
            "MEASure:POWer?" | "MEASure:POWer:REACtive?" => Some("9.91E37".into()),
            "SOURce:FREQuency?" => Some(format!("{:.4}", self.f)),
            "SOURce:VOLTage?" => Some(format!("{:.3}", self.v)),
            "OUTPut:STATe?" => Some(u8::from(self.on).to_string()),
            "OUTPut:STATe ON" => {
                self.on = true;
                None
            }
            "OUTPut:STATe OFF" => {
                self.on = false;
                None
            }
            text if text.starts_with("SOURce:FREQuency ") => {
                match set(text) {
                    Some(f) if f < 60.0 => self.f = f,
                    _ => self.errors.push("-222,\"Data out of range\"".into()),
                }
                None
            }
            text if text.starts_with("SOURce:VOLTage ") => {
                self.v = set(text).expect("a number");
                None
            }
            "SYSTem:REMote" => None,
            text if text.contains("LIMit") => None,
            text => panic!("the instrument does not know {text}"),
        }
    }
}

async fn serve(mut stream: DuplexStream, instrument: Arc<Mutex<Instrument>>) {
    instrument.lock().unwrap().connections += 1;
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).await.is_ok_and(|n| n == 1) {
        if byte != *b"\n" {
            line.push(byte[0]);
            continue;
        }
        let message = String::from_utf8(std::mem::take(&mut line)).expect("text");
        let (reply, mishap) = {
            let mut instrument = instrument.lock().unwrap();
            let Some(reply) = instrument.reply(&message) else {
                continue;
            };
            let mishap = match instrument.mishaps.len() {
                0 => Mishap::None,
                _ => instrument.mishaps.remove(0),
            };
            if mishap == Mishap::Restart {
                (instrument.f, instrument.v, instrument.on) = (50.0, 230.0, false);
                return;
            }
            (format!("{reply}\n").into_bytes(), mishap)
        };
        tokio::time::sleep(2 * MS).await;
        let sent = match mishap {
            Mishap::Late(time) => {
                tokio::time::sleep(time).await;
                reply
            }
            Mishap::Lost => continue,
            Mishap::Instead(bytes) => bytes.to_vec(),
            Mishap::Before(bytes) => [bytes, &reply].concat(),
            _ => reply,
        };
        if stream.write_all(&sent).await.is_err() {
            return;
        }
        if let Mishap::Then(bytes) = mishap {
            tokio::time::sleep(5 * MS).await;
            stream.write_all(bytes).await.ok();
        }
    }
}

struct Rig {
    handle: BusHandle,
    writer: Option<Writer>,
    seen: Arc<Recorder>,
    clock: Arc<TestClock>,
    instrument: Arc<Mutex<Instrument>>,
    dispatched: u64,
}

impl Rig {
    fn new() -> Self {
        Self::of(profile::bundled("generic/grid-simulator").expect("bundled"))
    }

    fn of(profile: Arc<Profile>) -> Self {
        let instrument = Arc::new(Mutex::new(Instrument {
            f: 50.0,
            v: 230.0,
            on: true,
            errors: Vec::new(),
            heard: Vec::new(),
            connections: 0,
            mishaps: Vec::new(),
            instead: BTreeMap::new(),
            refuses: None,
            deaf: false,
        }));
        let (dial, mut dialled): (_, UnboundedReceiver<DuplexStream>) = mpsc::unbounded_channel();
        let far = Arc::clone(&instrument);
        tokio::spawn(async move {
            while let Some(stream) = dialled.recv().await {
                tokio::spawn(serve(stream, Arc::clone(&far)));
            }
        });
        let device = BusDevice {
            ix: DeviceIx(0),
            id: "grid1".into(),
            profile,
            unit: None,
            topic: None,
            revert: None,
            keep_alives: KeepAlives::default(),
            limits: vec![LimitOf {
                point: Point::FrequencySet,
                low: 47.0,
                high: 52.0,
            }],
            poll: PollPeriods {
                fast: 100 * MS,
                normal: 1000 * MS,
                slow: 60_000 * MS,
            },
        };
        let spec = BusSpec {
            id: "inst".into(),
            endpoint: Endpoint::Memory(dial),
            framing: Framing::Tcp,
            timeout: Some(100 * MS),
            min_gap: None,
            seed: 1,
        };
        let (clock, seen) = (TestClock::start(), Arc::new(Recorder::default()));
        let handle = crate::start(spec, vec![device], clock.clone(), seen.clone());
        Self {
            writer: None,
            handle,
            seen,
            clock,
            instrument,
            dispatched: 0,
        }
    }

    async fn run(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn set(&mut self, setpoint: Setpoint) {
        self.dispatched += 1;
        let valid = Duration::from_secs(2);
        let job = job(&self.clock, self.dispatched, 0, setpoint, valid, false);
        let handle = &self.handle;
        let writer = self.writer.get_or_insert_with(|| handle.arm());
        writer.write(job).expect("taken");
    }

    fn mishaps(&self, mishaps: &[Mishap]) {
        self.instrument.lock().unwrap().mishaps = mishaps.to_vec();
    }

    /// The messages that set something, since the last look.
    fn settings(&self) -> Vec<String> {
        let mut heard = std::mem::take(&mut self.instrument.lock().unwrap().heard);
        heard.retain(|message| !message.contains('?'));
        heard
    }

    /// What became of dispatches: the stage reached, or why not.
    fn outcomes(&self) -> Vec<(u64, Result<Stage, String>)> {
        let told = |event| match event {
            LinkEvent::Confirmed {
                dispatch, stage, ..
            } => Some((dispatch.0, Ok(stage))),
            LinkEvent::Missed { dispatch, why, .. } => Some((dispatch.0, Err(why))),
            _ => None,
        };
        self.seen
            .take_events()
            .into_iter()
            .filter_map(told)
            .collect()
    }
}

fn source(f: Option<f64>, v: Option<f64>, on: Option<bool>) -> Setpoint {
    Setpoint::Source {
        f: f.map(Frequency::from_hertz),
        v: v.map(Voltage::from_volts),
        phase: None,
        on,
    }
}

const DONE: [Result<Stage, String>; 2] = [Ok(Stage::Written), Ok(Stage::Register)];

#[tokio::test(start_paused = true)]
async fn an_instrument_is_known_by_its_name_and_asked_but_never_set_before_somebody_wants_it() {
    let rig = Rig::new();
    rig.run(Duration::from_secs(3)).await;
    rig.seen.check(0, Point::Frequency, Ok(50.0));
    rig.seen.check(0, Point::VoltageL1, Ok(230.0));
    rig.seen.check(0, Point::SwitchOn, Ok(1.0));
    rig.seen
        .check(0, Point::ActivePower, Err(Flaw::NotImplemented));
    assert_eq!(rig.settings(), Vec::<String>::new());
    let fast = rig.seen.all(0, Point::Frequency).len();
    assert!((25..=31).contains(&fast), "{fast} in three seconds");
    // It has its line to itself, so its counters are those of the line, with its round trips.
    let (told, line) = (rig.handle.stats.devices(), rig.handle.stats.report());
    assert_eq!(
        (told[0].requests, told[0].answers),
        (line.requests, line.answers)
    );
    assert!(
        told[0].requests > 60 && told[0].round_trip_p99.is_some(),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_setting_takes_control_once_tells_the_limits_and_is_read_back() {
    let mut rig = Rig::new();
    rig.run(500 * MS).await;
    rig.seen.take_events();
    rig.set(source(Some(49.5), None, None));
    rig.run(300 * MS).await;
    assert_eq!(
        rig.settings(),
        [
            "SYSTem:REMote",
            "SOURce:FREQuency:LIMit:LOW 47.0000;HIGH 52.0000",
            "SOURce:FREQuency 49.5000",
        ]
    );
    assert_eq!(rig.outcomes(), DONE.map(|stage| (1, stage)));
    rig.set(source(Some(49.5), Some(225.0), None));
    rig.run(300 * MS).await;
    assert_eq!(
        rig.settings(),
        ["SOURce:VOLTage 225.000"],
        "only what is new"
    );
    rig.set(source(Some(49.5), Some(225.0), None));
    rig.run(300 * MS).await;
    assert_eq!(
        rig.settings(),
        ["SOURce:VOLTage 225.000", "SOURce:FREQuency 49.5000"],
        "what says nothing new is meant to be said again"
    );
    rig.seen.check(0, Point::Frequency, Ok(49.5));
}

#[tokio::test(start_paused = true)]
async fn an_output_opens_before_and_closes_after_its_values_change() {
    let mut rig = Rig::new();
    rig.run(500 * MS).await;
    rig.set(source(Some(50.0), Some(100.0), Some(false)));
    rig.run(400 * MS).await;
    let opened = rig.settings();
    assert_eq!(
        opened[2..],
        [
            "OUTPut:STATe OFF",
            "SOURce:VOLTage 100.000",
            "SOURce:FREQuency 50.0000"
        ]
    );
    rig.set(source(Some(50.0), Some(230.0), Some(true)));
    rig.run(400 * MS).await;
    assert_eq!(
        rig.settings(),
        ["SOURce:VOLTage 230.000", "OUTPut:STATe ON"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_an_instrument_refuses_is_told_in_its_own_words() {
    let mut rig = Rig::new();
    rig.run(500 * MS).await;
    rig.instrument.lock().unwrap().errors = vec!["-410,\"Query INTERRUPTED\"".into(); 20];
    rig.seen.take_events();
    rig.set(source(Some(61.0), None, None));
    rig.run(900 * MS).await;
    let notices = rig.seen.notices();
    assert!(
        notices[0].contains("from before: -410: Query INTERRUPTED"),
        "{notices:?}"
    );
    let outcomes = rig.outcomes();
    let [(1, Err(why))] = outcomes.as_slice() else {
        panic!("{outcomes:?}");
    };
    assert!(why.contains("grid1: ctl.f_set: the instrument refuses `SOURce:FREQuency 61.0000`: -222: Data out of range"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_comes_too_late_is_never_the_reply_to_the_next_query() {
    let rig = Rig::new();
    rig.run(500 * MS).await;
    // Every reply from here on could be mistaken: frequency and voltage differ, the switch is a
    // number as well. Each third comes later than the time-out, by times that meet every phase of
    // falling into step.
    let late: Vec<Mishap> = (0..600_u64)
        .map(|n| match n % 3 {
            0 => Mishap::Late(MS * u32::try_from(60 + (n * 37) % 900).expect("small")),
            _ => Mishap::None,
        })
        .collect();
    rig.mishaps(&late);
    rig.run(Duration::from_secs(120)).await;
    let mut good = 0;
    for (point, expected) in [
        (Point::Frequency, 50.0),
        (Point::VoltageL1, 230.0),
        (Point::SwitchOn, 1.0),
    ] {
        for (at, reading) in rig.seen.all(0, point) {
            match reading {
                Reading::Good(value) => {
                    assert_eq!(value, expected, "{point} at {at} ms");
                    good += 1;
                }
                Reading::Bad(flaw) => assert_ne!(flaw, Flaw::OutOfRange, "{point} at {at} ms"),
            }
        }
    }
    assert!(good > 500, "only {good}");
    assert!(rig.handle.stats.report().timeouts > 50);
}

#[tokio::test(start_paused = true)]
async fn whatever_stands_on_the_line_no_wrong_value_is_shown() {
    let rows: [&[Mishap]; 8] = [
        &[Mishap::Instead(b"12.5\n1")],
        &[Mishap::Instead(b"\xff\xfe\n")],
        &[Mishap::Instead(b"49.9")],
        &[Mishap::Instead(b"\n")],
        &[Mishap::Before(b"12.5\n")],
        &[Mishap::Before(b"12.5\n13.5\n"), Mishap::Before(b"7\n")],
        &[Mishap::Instead(b"50.0\n51"), Mishap::Lost],
        &[Mishap::Instead(b"1e999\n"), Mishap::Instead(b"nan\n")],
    ];
    for row in rows {
        let rig = Rig::new();
        rig.run(450 * MS).await;
        rig.mishaps(row);
        rig.run(Duration::from_secs(3)).await;
        for (point, right) in [(Point::Frequency, 50.0), (Point::VoltageL1, 230.0)] {
            for (_, reading) in rig.seen.all(0, point) {
                if let Reading::Good(value) = reading {
                    // A whole reply of the right shape is the instrument's word, whatever it says.
                    assert!(value == right || row == rows[6], "{row:?}: {point} {value}");
                }
            }
            assert_eq!(
                rig.seen.latest(0, point),
                Some(Reading::Good(right)),
                "{row:?}"
            );
        }
        assert!(
            rig.handle.stats.report().corrupt + rig.handle.stats.report().timeouts > 0,
            "{row:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_without_an_end_is_cut_off_and_the_instrument_is_found_again() {
    static ENDLESS: [u8; 20_000] = [b'5'; 20_000];
    let rig = Rig::new();
    rig.run(450 * MS).await;
    rig.mishaps(&[Mishap::Instead(&ENDLESS)]);
    rig.run(Duration::from_secs(5)).await;
    rig.seen.check(0, Point::Frequency, Ok(50.0));
    assert!(rig.handle.stats.report().corrupt > 0);
}

#[tokio::test(start_paused = true)]
async fn an_instrument_that_restarts_is_left_as_it_is_and_that_is_told() {
    let mut rig = Rig::new();
    rig.run(500 * MS).await;
    rig.set(source(Some(49.0), None, Some(true)));
    rig.run(300 * MS).await;
    rig.settings();
    rig.mishaps(&[Mishap::Restart]);
    rig.run(Duration::from_secs(3)).await;
    assert_eq!(rig.instrument.lock().unwrap().connections, 2);
    assert_eq!(rig.settings(), Vec::<String>::new());
    let notices = rig.seen.notices();
    let lost = |point| {
        notices
            .iter()
            .any(|n| n.contains(point) && n.contains("lost its settings"))
    };
    assert!(lost("ctl.f_set") && lost("switch.on"), "{notices:?}");
    assert!(
        !rig.instrument.lock().unwrap().on,
        "nobody switched it on again"
    );
    // Somebody who says it once more is heard, and control is taken anew.
    rig.set(source(Some(49.0), None, Some(true)));
    rig.run(500 * MS).await;
    assert_eq!(rig.settings()[0], "SYSTem:REMote");
    assert!(rig.instrument.lock().unwrap().on);
}

#[tokio::test(start_paused = true)]
async fn a_setting_that_a_restart_has_cut_in_two_is_not_finished_on_the_fresh_instrument() {
    let mut rig = Rig::new();
    rig.run(500 * MS).await;
    rig.set(source(Some(50.0), None, None));
    rig.run(300 * MS).await;
    rig.settings();
    rig.outcomes();
    // The voltage is set, and the frequency's completion is what the restart swallows.
    rig.set(source(Some(49.0), Some(225.0), None));
    let completed = [Mishap::None, Mishap::None];
    rig.mishaps(&[&completed[..], &[Mishap::Restart]].concat());
    rig.run(Duration::from_secs(3)).await;
    assert_eq!(
        rig.settings(),
        ["SOURce:VOLTage 225.000", "SOURce:FREQuency 49.0000"],
        "each was said once"
    );
    let outcomes = rig.outcomes();
    assert!(
        matches!(outcomes.as_slice(), [(2, Err(why))] if why.contains("has restarted")),
        "{outcomes:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn another_instrument_than_the_profile_describes_is_never_set() {
    let ours = profile::bundled("generic/grid-simulator").expect("bundled");
    let mut other = (*ours).clone();
    if let Protocol::Scpi(scpi) = &mut other.protocol {
        scpi.identify = "CHROMA".into();
    }
    let mut rig = Rig::of(Arc::new(other));
    rig.run(Duration::from_secs(1)).await;
    rig.seen.check(0, Point::Frequency, Err(Flaw::Config));
    let notices = rig.seen.notices();
    assert!(
        notices[0].contains("calls itself `Maker,GridSim 7,1,1.0`"),
        "{notices:?}"
    );
    rig.set(source(Some(49.0), None, None));
    rig.run(Duration::from_secs(4)).await;
    assert_eq!(rig.settings(), Vec::<String>::new());
    let outcomes = rig.outcomes();
    assert!(matches!(outcomes.last(), Some((1, Err(_)))), "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_to_a_setting_is_repeated_and_a_silent_instrument_is_offline() {
    let mut rig = Rig::new();
    rig.run(500 * MS).await;
    rig.seen.take_events();
    rig.set(source(Some(49.5), None, None));
    rig.mishaps(&[Mishap::Lost]);
    rig.run(Duration::from_secs(1)).await;
    assert_eq!(rig.outcomes().last(), Some(&(1, Ok(Stage::Register))));
    rig.mishaps(&[Mishap::Lost; 8]);
    rig.run(Duration::from_secs(4)).await;
    rig.seen.check(0, Point::Frequency, Err(Flaw::Offline));
    rig.set(source(Some(50.5), None, None));
    rig.run(Duration::from_secs(3)).await;
    let outcomes = rig.outcomes();
    assert!(
        matches!(outcomes.last(), Some((2, Err(why))) if why.contains("expired")),
        "{outcomes:?}"
    );
    rig.run(Duration::from_secs(90)).await;
    rig.seen.check(0, Point::Frequency, Ok(49.5));
    assert_eq!(rig.instrument.lock().unwrap().f, 49.5, "never set late");
}

#[tokio::test(start_paused = true)]
async fn a_characteristic_is_refused_and_nothing_of_it_reaches_the_instrument() {
    let mut rig = Rig::new();
    rig.run(500 * MS).await;
    rig.seen.take_events();
    let adopt = adoption(&rig.clock, 7, 0);
    let writer = rig.writer.insert(rig.handle.arm());
    writer.adopt(adopt).expect("taken");
    rig.run(300 * MS).await;
    let outcomes = rig.outcomes();
    assert!(
        matches!(outcomes.as_slice(), [(7, Err(why))] if why.contains("grid1: an instrument has no SunSpec models")),
        "{outcomes:?}"
    );
    assert_eq!(rig.settings(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_setpoint_that_a_profile_cannot_set_is_refused_by_name() {
    let mut rig = Rig::new();
    rig.run(500 * MS).await;
    rig.seen.take_events();
    rig.set(Setpoint::Ceiling {
        p: ActivePower::from_watts(100.0),
    });
    rig.run(300 * MS).await;
    let outcomes = rig.outcomes();
    assert!(
        matches!(outcomes.as_slice(), [(1, Err(why))] if why.contains("profile generic/grid-simulator cannot set it")),
        "{outcomes:?}"
    );
}

#[test]
fn the_version_of_an_instrument_is_the_fourth_field_of_its_identity() {
    let check = |identity: &str, version: Option<&str>| {
        assert_eq!(firmware_of(identity), version, "{identity}");
    };
    check("CHROMA,61815,0123,1.30", Some("1.30"));
    check(
        "Pacific Power, 320AMX, 7, 4.1, build 3",
        Some("4.1, build 3"),
    );
    check("MAKER,MODEL,0,0", None);
    check("MAKER,MODEL,7,", None);
    check("MAKER MODEL", None);
}
