//! Looking for Modbus devices: what counts as one, and that nothing is written.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::modbus::scan::{Found, Patience, scan};
use bus::{BusSpec, Endpoint};
use model::{Clock, Instant, UtcTime};
use profile::Profile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;

/// What is at a unit.
#[derive(Clone, Debug)]
enum Unit {
    /// Registers by address, the same in both tables; all others are refused.
    Registers(BTreeMap<u16, u16>),
    /// Every request is answered with this exception.
    Refuses(u8),
    /// As the first, after this time.
    Slow(Duration, BTreeMap<u16, u16>),
    /// Input registers; what asks for others is not answered.
    InputOnly(BTreeMap<u16, u16>),
    /// The first request is answered, and nothing after it.
    Stops(bool),
}

/// The words of a request, or that it is refused.
fn words(registers: &BTreeMap<u16, u16>, function: u8, address: u16, count: u16) -> Vec<u8> {
    let words: Option<Vec<u16>> = (address..address + count)
        .map(|a| registers.get(&a).copied())
        .collect();
    match words {
        Some(words) if function == 3 || function == 4 => {
            let bytes = words.iter().flat_map(|w| w.to_be_bytes());
            let head = [function, words.len() as u8 * 2];
            head.into_iter().chain(bytes).collect()
        }
        _ => vec![function | 0x80, 2],
    }
}

#[derive(Default)]
struct Far {
    units: BTreeMap<u8, Unit>,
    /// Unit and function of every request.
    heard: Vec<(u8, u8)>,
    /// Clients at once, and the most there were.
    clients: (usize, usize),
}

/// Serves Modbus TCP frames. Layout: Modbus Messaging on TCP/IP V1.0b, 3.1.
async fn serve(far: Arc<Mutex<Far>>, mut stream: DuplexStream) {
    {
        let mut far = far.lock().expect("sound");
        far.clients.0 += 1;
        far.clients.1 = far.clients.1.max(far.clients.0);
    }
    let mut head = [0; 12];
    while stream.read_exact(&mut head).await.is_ok() {
        let [t0, t1, _, _, _, _, unit, function, a0, a1, c0, c1] = head;
        let (after, answer) = {
            let mut far = far.lock().expect("sound");
            far.heard.push((unit, function));
            let (address, count) = (u16::from_be_bytes([a0, a1]), u16::from_be_bytes([c0, c1]));
            let now = Duration::ZERO;
            match far.units.get_mut(&unit) {
                None => continue,
                Some(Unit::InputOnly(_)) if function != 4 => continue,
                Some(Unit::Stops(stopped)) => {
                    if std::mem::replace(stopped, true) {
                        continue;
                    }
                    (now, vec![function | 0x80, 2])
                }
                Some(Unit::Refuses(code)) => (now, vec![function | 0x80, *code]),
                Some(Unit::Registers(registers) | Unit::InputOnly(registers)) => {
                    (now, words(registers, function, address, count))
                }
                Some(Unit::Slow(after, registers)) => {
                    (*after, words(registers, function, address, count))
                }
            }
        };
        tokio::time::sleep(after).await;
        let length = answer.len() as u8 + 1;
        let mut frame = vec![t0, t1, 0, 0, 0, length, unit];
        frame.extend(answer);
        if stream.write_all(&frame).await.is_err() {
            break;
        }
    }
    far.lock().expect("sound").clients.0 -= 1;
}

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Instant {
        Instant::START
    }

    fn utc(&self) -> UtcTime {
        UtcTime::from_unix_nanos(0)
    }
}

/// A three-phase Eastron meter, made by hand from its manual: 230 V, 2 A and 460 W in each phase.
fn sdm630() -> Unit {
    Unit::Registers(sdm630_registers())
}

fn sdm630_registers() -> BTreeMap<u16, u16> {
    let mut registers = BTreeMap::new();
    let mut put = |address: u16, value: f32| {
        let bits = value.to_bits();
        registers.insert(address, (bits >> 16) as u16);
        registers.insert(address + 1, bits as u16);
    };
    for address in (0..0x180).step_by(2) {
        put(address, 0.0);
    }
    for phase in [0, 2, 4] {
        put(phase, 230.0);
        put(6 + phase, 2.0);
        put(0xC + phase, 460.0);
    }
    put(0x34, 1380.0);
    put(0x46, 50.0);
    registers
}

/// A SunSpec inverter whose chain begins at 50000, with a single-phase model of integers, or with
/// nothing of an inverter. Layout: SunSpec models 1, 101, 120, 121 and 123.
fn sunspec(is_inverter: bool) -> BTreeMap<u16, u16> {
    let mut registers: BTreeMap<u16, u16> = (50_000..50_210).map(|a| (a, 0)).collect();
    let mut put = |address: u16, words: &[u16]| {
        registers.extend((address..).zip(words.iter().copied()));
    };
    put(50_000, &[0x5375, 0x6E53, 1, 66]);
    put(50_004, &[0x4142]);
    put(50_020, &[0x4D31]);
    put(50_044, &[0x7631]);
    put(50_052, &[0x5331]);
    let model = if is_inverter { 101 } else { 64_001 };
    put(50_070, &[model, 50]);
    put(50_122, &[120, 26]);
    put(50_150, &[121, 30]);
    put(50_182, &[123, 24]);
    put(50_208, &[0xFFFF, 0]);
    registers
}

async fn look(units: &[(u8, Unit)], asked: &[u8]) -> (Vec<Found>, Arc<Mutex<Far>>) {
    let far = Arc::new(Mutex::new(Far {
        units: units.iter().cloned().collect(),
        ..Far::default()
    }));
    let (dial, mut dialled) = mpsc::unbounded_channel();
    let served = Arc::clone(&far);
    tokio::spawn(async move {
        while let Some(stream) = dialled.recv().await {
            tokio::spawn(serve(Arc::clone(&served), stream));
        }
    });
    let spec = BusSpec {
        id: "lan1".into(),
        endpoint: Endpoint::Memory(dial),
        framing: bus::Framing::Tcp,
        timeout: None,
        min_gap: None,
        seed: 1,
    };
    let profiles: Vec<Arc<Profile>> = ["eastron/sdm630", "eastron/sdm120", "sunspec/inverter"]
        .iter()
        .filter_map(|id| profile::bundled(id))
        .collect();
    let patience = Patience {
        timeout: Duration::from_millis(300),
        min_gap: Duration::from_millis(20),
    };
    let mut told = Vec::new();
    let tell = |found: &Found| told.push(found.unit);
    let found = scan(spec, asked, &profiles, patience, Arc::new(Stopped), tell)
        .await
        .expect("the link opens");
    assert_eq!(told, found.iter().map(|f| f.unit).collect::<Vec<_>>());
    (found, far)
}

fn names(found: &Found) -> Vec<&str> {
    found.candidates.iter().map(|c| &*c.profile.id).collect()
}

#[tokio::test(start_paused = true)]
async fn a_meter_is_found_by_its_values_and_the_richer_profile_comes_first() {
    let (found, _) = look(&[(7, sdm630())], &[6, 7, 8]).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].unit, 7);
    assert_eq!(names(&found[0]), ["eastron/sdm630", "eastron/sdm120"]);
    assert_eq!(
        found[0].candidates[0].value(model::Point::ActivePower),
        Some(1380.0)
    );
}

#[tokio::test(start_paused = true)]
async fn an_exception_is_a_device_but_not_when_the_gateway_gives_it() {
    let units = [
        (1, Unit::Refuses(2)),
        (2, Unit::Refuses(0x0B)),
        (3, Unit::Refuses(0x0A)),
        (4, Unit::Refuses(1)),
    ];
    let (found, far) = look(&units, &[1, 2, 3, 4, 5]).await;
    let there: Vec<u8> = found.iter().map(|f| f.unit).collect();
    assert_eq!(there, [1, 4]);
    assert!(found.iter().all(|f| f.candidates.is_empty()));
    let far = far.lock().expect("sound");
    let asked = far.heard.iter().filter(|(unit, _)| *unit == 2).count();
    assert_eq!(asked, 1, "the gateway knows, so nobody asks twice");
}

#[tokio::test(start_paused = true)]
async fn a_scan_only_reads_never_broadcasts_and_keeps_to_one_client() {
    let units = [(1, sdm630()), (4, Unit::Refuses(6)), (9, sdm630())];
    let (found, far) = look(&units, &[0, 1, 2, 3, 4, 9]).await;
    assert_eq!(found.len(), 3);
    let far = far.lock().expect("sound");
    assert!(far.heard.len() > 10, "{:?}", far.heard);
    for (unit, function) in &far.heard {
        assert!((1..=4).contains(function), "function {function}");
        assert_ne!(*unit, 0, "the broadcast was asked");
    }
    assert_eq!(far.clients.1, 1, "clients at once");
}

#[tokio::test(start_paused = true)]
async fn a_device_with_input_registers_only_is_found_all_the_same() {
    let (found, _) = look(&[(3, Unit::InputOnly(sdm630_registers()))], &[3]).await;
    assert_eq!(names(&found[0])[0], "eastron/sdm630");
}

#[tokio::test(start_paused = true)]
async fn a_register_that_a_meter_lacks_costs_that_point_and_no_other() {
    let mut registers = sdm630_registers();
    registers.remove(&6);
    let (found, _) = look(&[(1, Unit::Registers(registers))], &[1]).await;
    let best = &found[0].candidates[0];
    assert_eq!(best.value(model::Point::CurrentL1), None);
    assert_eq!(best.value(model::Point::ActivePower), Some(1380.0));
    assert_eq!(best.against(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_falls_silent_is_left_soon_and_the_next_one_has_all_of_its_chances() {
    let slow = Unit::Slow(Duration::from_millis(100), sdm630_registers());
    let units = [(1, Unit::Stops(false)), (2, slow), (3, sdm630())];
    let (found, far) = look(&units, &[1, 2, 3]).await;
    assert_eq!((found[0].unit, found[0].silences), (1, 4));
    let far = far.lock().expect("sound");
    let asked = far.heard.iter().filter(|(unit, _)| *unit == 1).count();
    assert_eq!(asked, 1 + 4, "the answer, and four in vain");
    for (one, slowest_ms) in [(&found[1], 100..150), (&found[2], 0..50)] {
        assert_eq!(one.silences, 0);
        assert_eq!(names(one), ["eastron/sdm630", "eastron/sdm120"]);
        let took = one.round_trip_max.as_millis();
        assert!(slowest_ms.contains(&took), "{took} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sunspec_device_is_looked_for_at_every_base_says_who_it_is_and_is_nothing_else() {
    for is_inverter in [true, false] {
        // It repeats the registers of a meter, as gateways of several devices do.
        let mut registers = sunspec(is_inverter);
        registers.extend(sdm630_registers());
        let (found, _) = look(&[(1, Unit::Registers(registers))], &[1]).await;
        let identity = found[0].identity.as_ref().expect("it speaks SunSpec");
        let texts = [&identity.maker, &identity.model, &identity.serial];
        assert_eq!(texts, ["AB", "M1", "S1"]);
        let model = if is_inverter { 101 } else { 64_001 };
        assert_eq!(identity.models, [1, model, 120, 121, 123]);
        let expected: &[&str] = if is_inverter {
            &["sunspec/inverter"]
        } else {
            &[]
        };
        assert_eq!(names(&found[0]), expected);
    }
}
