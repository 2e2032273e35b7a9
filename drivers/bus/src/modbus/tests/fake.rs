//! A hand-written device on the far end of an in-memory stream: every byte is made here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

/// What the device does with one answer.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    /// Answers after this time, whatever else goes on.
    After(Duration),
    /// Answers after this time and does not listen meanwhile: answers keep their order.
    Busy(Duration),
    /// Says nothing.
    Silent,
    /// Sends these bytes instead.
    Bytes(Vec<u8>),
    /// Sends these bytes, and then the answer.
    Before(Vec<u8>),
    /// The answer with its last byte changed.
    Damaged,
    /// The answer of another unit.
    OtherUnit,
    /// The answer with another transaction number (TCP only).
    OtherTransaction,
    /// One register too few, but a sound frame.
    Short,
    /// Another function in a sound frame.
    OtherFunction,
    /// This exception.
    Refuse(u8),
    /// Closes the connection.
    HangUp,
}

/// One request, as the device understood it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) unit: u8,
    pub(super) function: u8,
    pub(super) address: u16,
    pub(super) count: u16,
    pub(super) words: Vec<u16>,
    pub(super) at: tokio::time::Instant,
}

/// Which number a TCP answer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    /// That of its request.
    Own,
    /// Always the same: a gateway that does not repeat numbers.
    Zero,
    /// That of the newest request when it leaves: a gateway that remembers only one.
    Newest,
}

type Rule = Box<dyn FnMut(u64, &Heard) -> Deed + Send>;

/// The registers of all units, and a rule for faults.
pub(super) struct Fake {
    /// Registers that differ from their own address.
    pub(super) registers: BTreeMap<(u8, u16), u16>,
    /// Registers that are refused with exception 2.
    pub(super) holes: Vec<u16>,
    /// Written registers do not take the value.
    pub(super) stubborn: bool,
    pub(super) stamp: Stamp,
    /// Registers that take no value with function 6, though they say so.
    pub(super) deaf: Vec<u16>,
    pub(super) heard: Vec<Heard>,
    pub(super) rule: Rule,
    pub(super) dials: u32,
}

pub(super) type Shared = Arc<Mutex<Fake>>;

pub(super) fn fake(rule: impl FnMut(u64, &Heard) -> Deed + Send + 'static) -> Shared {
    Arc::new(Mutex::new(Fake {
        registers: BTreeMap::new(),
        holes: Vec::new(),
        stubborn: false,
        stamp: Stamp::Own,
        deaf: Vec::new(),
        heard: Vec::new(),
        rule: Box::new(rule),
        dials: 0,
    }))
}

/// Serves each stream that is dialled.
pub(super) async fn serve(
    shared: Shared,
    rtu: bool,
    mut dialled: mpsc::UnboundedReceiver<DuplexStream>,
) {
    while let Some(stream) = dialled.recv().await {
        shared.lock().expect("sound").dials += 1;
        tokio::spawn(talk(Arc::clone(&shared), rtu, stream));
    }
}

async fn talk(shared: Shared, rtu: bool, stream: DuplexStream) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (out, mut answers) = mpsc::unbounded_channel::<Option<Vec<u8>>>();
    let newest = Arc::new(AtomicU16::new(0));
    let (stamp, number) = (shared.lock().expect("sound").stamp, Arc::clone(&newest));
    let sender = tokio::spawn(async move {
        while let Some(Some(mut bytes)) = answers.recv().await {
            match stamp {
                Stamp::Own => {}
                Stamp::Zero => bytes[..2].fill(0),
                Stamp::Newest => {
                    bytes[..2].copy_from_slice(&number.load(Ordering::Relaxed).to_be_bytes());
                }
            }
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = writer.shutdown().await;
    });
    loop {
        let Some((tid, heard)) = hear(&mut reader, rtu).await else {
            break;
        };
        newest.store(tid, Ordering::Relaxed);
        let deed = {
            let mut fake = shared.lock().expect("sound");
            let n = fake.heard.len() as u64;
            fake.heard.push(heard.clone());
            (fake.rule)(n, &heard)
        };
        let pdu = answer(&mut shared.lock().expect("sound"), &heard);
        let right = frame(rtu, tid, heard.unit, &pdu);
        let (delay, bytes) = match deed {
            Deed::After(delay) => (delay, right),
            Deed::Busy(delay) => {
                tokio::time::sleep(delay).await;
                (Duration::ZERO, right)
            }
            Deed::Silent => continue,
            Deed::Bytes(bytes) => (Duration::ZERO, bytes),
            Deed::Before(mut bytes) => {
                bytes.extend(right);
                (Duration::ZERO, bytes)
            }
            Deed::Damaged => {
                let mut bytes = right;
                if let Some(last) = bytes.last_mut() {
                    *last ^= 0x55;
                }
                (Duration::ZERO, bytes)
            }
            Deed::OtherUnit => (
                Duration::ZERO,
                frame(rtu, tid, heard.unit.wrapping_add(1), &pdu),
            ),
            Deed::OtherTransaction => (
                Duration::ZERO,
                frame(rtu, tid.wrapping_add(1), heard.unit, &pdu),
            ),
            Deed::Short => {
                let mut short = pdu.clone();
                short.truncate(short.len() - 2);
                short[1] -= 2;
                (Duration::ZERO, frame(rtu, tid, heard.unit, &short))
            }
            Deed::OtherFunction => {
                let mut other = pdu.clone();
                other[0] = if other[0] == 3 { 4 } else { 3 };
                (Duration::ZERO, frame(rtu, tid, heard.unit, &other))
            }
            Deed::Refuse(code) => (
                Duration::ZERO,
                frame(rtu, tid, heard.unit, &[heard.function | 0x80, code]),
            ),
            Deed::HangUp => break,
        };
        let out = out.clone();
        if delay.is_zero() {
            let _ = out.send(Some(bytes));
        } else {
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                let _ = out.send(Some(bytes));
            });
        }
    }
    let _ = out.send(None);
    let _ = sender.await;
}

async fn hear(reader: &mut (impl AsyncReadExt + Unpin), rtu: bool) -> Option<(u16, Heard)> {
    let mut tid = 0;
    if !rtu {
        let mut header = [0; 6];
        reader.read_exact(&mut header).await.ok()?;
        tid = u16::from_be_bytes([header[0], header[1]]);
    }
    let mut head = [0; 6];
    reader.read_exact(&mut head).await.ok()?;
    let word = |i: usize| u16::from_be_bytes([head[i], head[i + 1]]);
    let (address, count) = (word(2), word(4));
    let mut words = Vec::new();
    if head[1] == 16 {
        let bytes = reader.read_u8().await.ok()?;
        for _ in 0..bytes / 2 {
            words.push(reader.read_u16().await.ok()?);
        }
    }
    if head[1] == 6 {
        words.push(count);
    }
    if rtu {
        reader.read_u16().await.ok()?;
    }
    let heard = Heard {
        unit: head[0],
        function: head[1],
        address,
        count,
        words,
        at: tokio::time::Instant::now(),
    };
    Some((tid, heard))
}

/// The right answer: a register holds its own address unless something else was put there.
fn answer(fake: &mut Fake, heard: &Heard) -> Vec<u8> {
    let end = u32::from(heard.address) + u32::from(heard.count);
    let hit = |hole: &u16| *hole >= heard.address && u32::from(*hole) < end;
    if !matches!(heard.function, 5 | 6) && (end > 65_536 || fake.holes.iter().any(hit)) {
        return vec![heard.function | 0x80, 2];
    }
    let echo = || {
        let mut pdu = vec![heard.function];
        pdu.extend(heard.address.to_be_bytes());
        pdu.extend(heard.count.to_be_bytes());
        pdu
    };
    let held = |fake: &Fake, a: u16| fake.registers.get(&(heard.unit, a)).copied().unwrap_or(a);
    match heard.function {
        1 | 2 => {
            let mut bytes = vec![0; usize::from(heard.count).div_ceil(8)];
            for i in 0..heard.count {
                if fake
                    .registers
                    .get(&(heard.unit, heard.address + i))
                    .is_some_and(|w| *w != 0)
                {
                    bytes[usize::from(i / 8)] |= 1 << (i % 8);
                }
            }
            let mut pdu = vec![heard.function, bytes.len() as u8];
            pdu.extend(bytes);
            pdu
        }
        3 | 4 => {
            let mut pdu = vec![heard.function, (heard.count * 2) as u8];
            for i in 0..heard.count {
                pdu.extend(held(fake, heard.address + i).to_be_bytes());
            }
            pdu
        }
        5 => {
            if !fake.stubborn {
                fake.registers
                    .insert((heard.unit, heard.address), u16::from(heard.count != 0));
            }
            echo()
        }
        6 => {
            if !fake.deaf.contains(&heard.address) {
                fake.registers
                    .insert((heard.unit, heard.address), heard.count);
            }
            echo()
        }
        16 => {
            if !fake.stubborn {
                for (i, word) in (0..).zip(&heard.words) {
                    fake.registers
                        .insert((heard.unit, heard.address + i), *word);
                }
            }
            echo()
        }
        other => vec![other | 0x80, 1],
    }
}

/// A frame around a PDU.
pub(super) fn frame(rtu: bool, tid: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !rtu {
        bytes.extend(tid.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend((pdu.len() as u16 + 1).to_be_bytes());
    }
    bytes.push(unit);
    bytes.extend(pdu);
    if rtu {
        bytes.extend(crc(&bytes).to_le_bytes());
    }
    bytes
}

fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0xA001
            } else {
                crc >> 1
            }
        })
    })
}
