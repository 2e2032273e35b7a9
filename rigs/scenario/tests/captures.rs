//! Captures of the wire, replayed: the driver reads from them what was read then, and the
//! emulator's own encoders make the same words and frames.

#![allow(clippy::panic, reason = "a test that fails says so by a panic")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::can::codec;
use bus::{BusDevice, BusSpec, Endpoint, Framing, KeepAlives, LinkEvent, PollPeriods, Sink};
use emulator::faces::modbus::number;
use emulator::faces::scpi::Instrument;
use model::{Clock, DeviceIx, Instant, Point, PointSample, UtcTime};
use profile::modbus::{Address, Table};
use profile::mqtt::{Message, ToBroker};
use profile::{Profile, Protocol};
use serde_json::Value;
use tokio::io::{
    AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream,
};
use tokio::sync::mpsc;

/// Differences that count as equal: captured values are decimal, floats on the wire are single.
const EQUAL: f64 = 1e-6;

struct Capture {
    file: PathBuf,
    profile: Arc<Profile>,
    /// The device's topic, of one on MQTT.
    topic: Option<String>,
    rows: Vec<Value>,
}

fn captures() -> Vec<Capture> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../drivers/bus/captures");
    let mut found = Vec::new();
    for folder in std::fs::read_dir(root).expect("there are captures") {
        let folder = folder.expect("it can be listed").path();
        if !folder.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(folder).expect("it can be listed") {
            let file = file.expect("it can be listed").path();
            let text = std::fs::read_to_string(&file).expect("it can be read");
            let mut rows: Vec<Value> = text
                .lines()
                .map(|line| serde_json::from_str(line).expect("each line is an object"))
                .collect();
            let head = rows.remove(0);
            let id = head["profile"].as_str().expect("the first line names it");
            assert!(head["source"].as_str().is_some_and(|s| s.len() > 10));
            let profile = profile::bundled(id).unwrap_or_else(|| panic!("{id} is not bundled"));
            let topic = head["topic"].as_str().map(str::to_owned);
            assert_eq!(
                topic.is_some(),
                matches!(profile.protocol, Protocol::Mqtt(_))
            );
            found.push(Capture {
                file,
                profile,
                topic,
                rows,
            });
        }
    }
    assert!(found.len() >= 16, "captures are missing");
    found
}

impl Capture {
    /// The values that were read when it was recorded.
    fn values(&self) -> BTreeMap<Point, f64> {
        let rows = self.rows.iter().filter(|r| r["quality"] == "good");
        rows.map(|row| {
            let name = row["point"].as_str().expect("a value has a point");
            let point = Point::from_name(name).unwrap_or_else(|| panic!("{name}"));
            (point, row["value"].as_f64().expect("a good value"))
        })
        .collect()
    }

    /// Points that the capture must not be read as.
    fn never_good(&self) -> Vec<Point> {
        let rows = self.rows.iter().filter(|r| r["quality"] == "bad");
        rows.map(|row| {
            let name = row["point"].as_str().expect("a value has a point");
            Point::from_name(name).unwrap_or_else(|| panic!("{name}"))
        })
        .collect()
    }

    /// Answers by query; a line of the instrument answers the query before it.
    fn answers(&self) -> BTreeMap<String, String> {
        let mut answers = BTreeMap::new();
        let mut asked = None;
        for row in self.rows.iter().filter(|r| r["scpi"].is_string()) {
            let text = row["scpi"].as_str().expect("it is one").to_owned();
            match (row["sent"] == true, asked.take()) {
                (true, _) => asked = Some(text),
                (false, Some(query)) => {
                    answers.insert(query, text);
                }
                (false, None) => {}
            }
        }
        answers
    }

    /// Messages that the device has sent, with their topics.
    fn messages(&self) -> Vec<(String, String)> {
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let said = |row: &&Value| row["mqtt"].is_string() && row["sent"] == false;
        let rows = self.rows.iter().filter(said);
        rows.map(|row| (text(row, "mqtt"), text(row, "payload")))
            .collect()
    }

    /// Words by function and address.
    fn words(&self) -> BTreeMap<(u64, u64), u16> {
        let mut words = BTreeMap::new();
        for row in self.rows.iter().filter(|r| r["modbus"].is_u64()) {
            let function = row["modbus"].as_u64().expect("it is one");
            let address = row["address"].as_u64().expect("it has one");
            let read = row["words"].as_array().expect("it was answered");
            for (word, address) in read.iter().zip(address..) {
                let word = word.as_str().expect("words are texts");
                let word = u16::from_str_radix(word, 16).expect("in hexadecimal");
                words.insert((function, address), word);
            }
        }
        words
    }
}

/// Answers Modbus TCP reads with what was captured, and refuses everything else.
async fn modbus(words: BTreeMap<(u64, u64), u16>, mut stream: DuplexStream) {
    let mut head = [0; 12];
    while stream.read_exact(&mut head).await.is_ok() {
        let [t0, t1, _, _, _, _, unit, function, a0, a1, c0, c1] = head;
        let address = u64::from(u16::from_be_bytes([a0, a1]));
        let count = u64::from(u16::from_be_bytes([c0, c1]));
        let read: Option<Vec<u16>> = (address..address + count)
            .map(|a| words.get(&(u64::from(function), a)).copied())
            .collect();
        let pdu = match read {
            Some(read) => {
                let bytes = read.iter().flat_map(|w| w.to_be_bytes());
                let head = [function, read.len() as u8 * 2];
                head.into_iter().chain(bytes).collect::<Vec<u8>>()
            }
            None => vec![function | 0x80, 2],
        };
        let mut frame = vec![t0, t1, 0, 0, 0, pdu.len() as u8 + 1, unit];
        frame.extend(pdu);
        if stream.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// Answers queries with what was captured, and asks nobody for anything else.
async fn scpi(answers: BTreeMap<String, String>, stream: DuplexStream) {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut lines = BufReader::new(reader).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(answer) = answers.get(&line) {
            let answer = format!("{answer}\n");
            if writer.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// Speaks socketcand and sends what was captured, once.
async fn can(frames: Vec<(String, String)>, stream: DuplexStream) {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = BufReader::new(reader);
    let mut heard = Vec::new();
    writer.write_all(b"< hi >").await.expect("it listens");
    // `< open .. >`, then `< rawmode >`.
    for _ in 0..2 {
        reader
            .read_until(b'>', &mut heard)
            .await
            .expect("it speaks");
        writer.write_all(b"< ok >").await.expect("it listens");
    }
    for (id, data) in frames {
        let line = format!("< frame {id} 1.000000 {data} >");
        writer.write_all(line.as_bytes()).await.expect("it listens");
    }
    // The line stays open until the bus has ended.
    reader.read_to_end(&mut heard).await.ok();
}

/// Is a broker to whoever dials, and says what was captured once it has been subscribed to.
async fn mqtt(messages: Vec<(String, String)>, (mut from_bus, to_bus): Dialled) {
    // Virtual time: this long passes when the bus waits.
    tokio::time::sleep(Duration::from_millis(100)).await;
    for (topic, payload) in messages {
        let message = Message {
            topic,
            payload: payload.into_bytes(),
            retain: false,
        };
        to_bus.send(message).expect("it listens");
    }
    while let Some(said) = from_bus.recv().await {
        if let ToBroker::Publish(message) = said {
            assert!(!message.retain, "{} is kept", message.topic);
        }
    }
}

type Dialled = (
    mpsc::UnboundedReceiver<ToBroker>,
    mpsc::UnboundedSender<Message>,
);

#[derive(Default)]
struct Heard(Mutex<BTreeMap<Point, f64>>);

impl Sink for Heard {
    fn sample(&self, sample: PointSample) {
        if let Some(value) = sample.sample.reading.good() {
            // The latest counts, as in the capture.
            let mut heard = self.0.lock().expect("sound");
            heard.insert(sample.point, value);
        }
    }

    fn event(&self, _: LinkEvent) {}
}

/// The clock of the paused runtime.
struct Timers(tokio::time::Instant);

impl Clock for Timers {
    fn now(&self) -> Instant {
        Instant::START + self.0.elapsed()
    }

    fn utc(&self) -> UtcTime {
        UtcTime::from_unix_nanos(0)
    }
}

#[tokio::test(start_paused = true)]
async fn every_capture_is_read_by_its_driver_as_it_was_read_then() {
    for capture in captures() {
        let file = capture.file.display();
        let (dial, mut dialled) = mpsc::unbounded_channel();
        let words = capture.words();
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let frames: Vec<_> = capture
            .rows
            .iter()
            .filter(|r| r["can"].is_string() && r["sent"] == false)
            .map(|r| (text(r, "can"), text(r, "data")))
            .collect();
        let answers = capture.answers();
        let profile = Arc::clone(&capture.profile);
        let (dial_broker, mut at_broker) = mpsc::unbounded_channel();
        let messages = capture.messages();
        tokio::spawn(async move {
            while let Some(dialled) = at_broker.recv().await {
                mqtt(messages.clone(), dialled).await;
            }
        });
        tokio::spawn(async move {
            while let Some(stream) = dialled.recv().await {
                match profile.protocol {
                    Protocol::Can(_) => can(frames.clone(), stream).await,
                    Protocol::Scpi(_) => scpi(answers.clone(), stream).await,
                    _ => modbus(words.clone(), stream).await,
                }
            }
        });
        let spec = BusSpec {
            id: "bus".into(),
            endpoint: match capture.topic {
                Some(_) => Endpoint::MemoryBroker(dial_broker),
                None => Endpoint::Memory(dial),
            },
            framing: Framing::Tcp,
            timeout: None,
            min_gap: None,
            seed: 1,
        };
        let period = Duration::from_millis(500);
        let device = BusDevice {
            ix: DeviceIx(0),
            id: "device".into(),
            profile: Arc::clone(&capture.profile),
            unit: None,
            topic: capture.topic.clone(),
            revert: None,
            poll: PollPeriods {
                fast: period,
                normal: period,
                slow: period,
            },
            limits: Vec::new(),
            keep_alives: KeepAlives::default(),
        };
        let heard = Arc::new(Heard::default());
        let clock = Arc::new(Timers(tokio::time::Instant::now()));
        let sink = Arc::clone(&heard) as Arc<dyn Sink>;
        let handle = bus::start(spec, vec![device], clock, sink);
        tokio::time::sleep(Duration::from_secs(2)).await;
        drop(handle);
        let heard = heard.0.lock().expect("sound").clone();
        let expected = capture.values();
        let refused = capture.never_good();
        // A plug of the first generation tells three values, and no more.
        assert!(
            expected.len() + refused.len() >= 3,
            "{file} says too little"
        );
        assert!(!expected.is_empty(), "{file} says nothing");
        for (point, value) in expected {
            let read = heard.get(&point).copied();
            let differs = read.is_none_or(|r| (r - value).abs() > EQUAL * value.abs().max(1.0));
            assert!(!differs, "{file}: {point} was {value}, now {read:?}");
        }
        for point in refused {
            let read = heard.get(&point);
            assert!(read.is_none(), "{file}: {point} was refused, now {read:?}");
        }
    }
}

#[test]
fn the_emulator_makes_the_same_words_of_the_same_values() {
    let mut compared = 0;
    for capture in captures() {
        let Protocol::Modbus(modbus) = &capture.profile.protocol else {
            continue;
        };
        let (words, values) = (capture.words(), capture.values());
        for point in &modbus.points {
            let Address::Fixed { table, address } = point.address else {
                continue;
            };
            let function = match table {
                Table::Coil => 1,
                Table::Discrete => 2,
                Table::Holding => 3,
                Table::Input => 4,
            };
            let Some(value) = values.get(&point.point) else {
                continue;
            };
            let encoding = &point.encoding;
            let raw = value / encoding.factor;
            let bits = number::to_bits(Some(raw), encoding.data, None);
            let made = number::to_words(bits, encoding.data, encoding.order);
            let captured: Vec<u16> = (u64::from(address)..)
                .take(made.len())
                .filter_map(|a| words.get(&(function, a)).copied())
                .collect();
            assert_eq!(
                made,
                captured,
                "{}: {}",
                capture.file.display(),
                point.point
            );
            compared += 1;
        }
    }
    assert!(compared > 10, "only {compared} values were compared");
}

/// An emulated instrument whose utility is as `values` say.
fn instrument(capture: &Capture, values: &BTreeMap<Point, f64>) -> Instrument {
    let alone = Instrument::alone(&capture.profile);
    let (instrument, world) = alone.expect("the capture is one of SCPI");
    let mut world = world.lock();
    for (measured, set) in [
        (Point::Frequency, Point::FrequencySet),
        (Point::VoltageL1, Point::VoltageSet),
        (Point::SwitchOn, Point::SwitchOn),
    ] {
        let value = values.get(&measured).copied().expect("it was captured");
        world.write(0, set, value, None).expect("a source takes it");
    }
    world.step(emulator::bench::STEP);
    drop(world);
    instrument
}

#[test]
fn the_emulated_instrument_answers_the_same_numbers_to_the_same_queries() {
    let mut compared = 0;
    let captures = captures().into_iter();
    for capture in captures.filter(|c| matches!(c.profile.protocol, Protocol::Scpi(_))) {
        let values = capture.values();
        let emulated = instrument(&capture, &values);
        let Protocol::Scpi(scpi) = &capture.profile.protocol else {
            continue;
        };
        for (query, captured) in capture.answers() {
            let answer = emulated.answer(query.as_bytes());
            let answer = String::from_utf8(answer.expect("it knows the query")).expect("text");
            let file = capture.file.display();
            // Powers are the plant's own; an identity is a name.
            let points = scpi.points.iter().filter(|p| p.query == query);
            for point in points.filter(|p| !["W", "var"].contains(&p.point.unit())) {
                let number = |text: &str| text.trim().parse::<f64>().expect("a number");
                let (answer, captured) = (number(&answer), number(&captured));
                let off = (answer - captured).abs() / captured.abs().max(1.0);
                assert!(off <= EQUAL, "{file}: {query} was {captured}, now {answer}");
                assert!(values.contains_key(&point.point), "{file}: {}", point.point);
                compared += 1;
            }
        }
    }
    assert!(compared >= 3, "only {compared} values were compared");
}

/// A frame of the capture: identifier as its profile has it, and data.
fn frames(capture: &Capture) -> Vec<(u32, Vec<u8>)> {
    let rows = capture.rows.iter().filter(|r| r["can"].is_string());
    rows.map(|row| {
        let id = row["can"].as_str().expect("an identifier");
        let hex = row["data"].as_str().expect("data");
        let data = (0..hex.len() / 2)
            .map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).expect("in hexadecimal"));
        let id = u32::from_str_radix(id, 16).expect("in hexadecimal");
        (id, data.collect())
    })
    .collect()
}

#[test]
fn the_emulator_makes_the_same_frames_of_the_same_values() {
    let mut compared = 0;
    for capture in captures() {
        let Protocol::Can(can) = &capture.profile.protocol else {
            continue;
        };
        let (values, refused) = (capture.values(), capture.never_good());
        for (id, captured) in frames(&capture) {
            // The emulator does not make frames that are refused.
            let sound = |f: &&profile::can::Frame| {
                f.id.number() == id && f.signals.iter().all(|s| !refused.contains(&s.point))
            };
            for frame in can.frames.iter().filter(sound) {
                let made = emulator::faces::can::data(frame, |p| values.get(&p).copied());
                let made = made.expect("its values are in the capture");
                for signal in &frame.signals {
                    // Bytes that the device leaves out, and bits that nobody reads, are not compared.
                    let cut =
                        |data: &[u8]| Some(codec::extract(data, signal.field.at)? & signal.mask);
                    let file = capture.file.display();
                    let expected = cut(&captured);
                    assert!(expected.is_some(), "{file}: {id:X} is too short");
                    assert_eq!(cut(&made), expected, "{file}: {} in {id:X}", signal.point);
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 40, "only {compared} values were compared");
}
