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
        let answer = {
            let mut far = far.lock().expect("sound");
            far.heard.push((unit, function));
            let (address, count) = (u16::from_be_bytes([a0, a1]), u16::from_be_bytes([c0, c1]));
            match far.units.get(&unit) {
                None => continue,
                Some(Unit::Refuses(code)) => vec![function | 0x80, *code],
                Some(Unit::Registers(registers)) => {
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
            }
        };
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
    Unit::Registers(registers)
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
    let (found, _) = look(&units, &[1, 2, 3, 4, 5]).await;
    let there: Vec<u8> = found.iter().map(|f| f.unit).collect();
    assert_eq!(there, [1, 4]);
    assert!(found.iter().all(|f| f.candidates.is_empty()));
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
