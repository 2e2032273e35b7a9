//! A meter that misbehaves as real lines do: some answers come too late, some are garbage, some have
//! the wrong length. What it says is always true of the register that was asked for.
//!
//! Written here from the Modbus specification, with a CRC of its own: it shares nothing with gridrig.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Point of the SDM630, its first input register, and what this meter measures there. Every register
/// has a value of its own, so that an answer to another question is a wrong value.
pub const MEASURED: &[(&str, u16, f32)] = &[
    ("ac.v.l1", 0x00, 230.125),
    ("ac.v.l2", 0x02, 230.875),
    ("ac.v.l3", 0x04, 229.375),
    ("ac.i.l1", 0x06, 5.0625),
    ("ac.i.l2", 0x08, 4.8125),
    ("ac.i.l3", 0x0A, 6.1875),
    ("ac.p.l1", 0x0C, 1150.5),
    ("ac.p.l2", 0x0E, 1105.25),
    ("ac.p.l3", 0x10, 1400.75),
    ("ac.p", 0x34, 3656.5),
    ("ac.s", 0x38, 3671.25),
    ("ac.q", 0x3C, 343.5),
    ("ac.pf", 0x3E, 0.9375),
    ("ac.f", 0x46, 49.96875),
    ("ac.e_exp", 0x48, 1234.5),
    ("ac.e_imp", 0x4A, 56.75),
];

/// How it misbehaves: every so many answers. Primes, so that all orders of faults occur.
const LATE_EVERY: u64 = 7;
const GARBAGE_EVERY: u64 = 11;
const SHORT_EVERY: u64 = 13;

/// What it did, counted.
#[derive(Debug, Default)]
pub struct Misdeeds {
    /// Requests that it heard.
    pub heard: AtomicU64,
    /// Answers that came too late.
    pub late: AtomicU64,
    /// Answers that were garbage or had the wrong length.
    pub broken: AtomicU64,
}

enum Deed {
    Good,
    Late,
    Garbage,
    Short,
}

impl Misdeeds {
    fn next(&self) -> Deed {
        let n = self.heard.fetch_add(1, Ordering::Relaxed) + 1;
        let (counter, deed) = if n.is_multiple_of(GARBAGE_EVERY) {
            (&self.broken, Deed::Garbage)
        } else if n.is_multiple_of(SHORT_EVERY) {
            (&self.broken, Deed::Short)
        } else if n.is_multiple_of(LATE_EVERY) {
            (&self.late, Deed::Late)
        } else {
            return Deed::Good;
        };
        counter.fetch_add(1, Ordering::Relaxed);
        deed
    }
}

/// The answer to a read of input registers: function, byte count, words.
fn answer(request: &[u8]) -> Vec<u8> {
    let word = |at: usize| u16::from_be_bytes([request[at], request[at + 1]]);
    if request[0] != 4 {
        // Illegal function: the meter has nothing but input registers.
        return vec![request[0] | 0x80, 1];
    }
    let (start, count) = (word(1), word(3).min(125));
    let values: BTreeMap<u16, f32> = MEASURED.iter().map(|(_, r, v)| (*r, *v)).collect();
    let mut pdu = vec![4, (count * 2) as u8];
    for register in start..start.saturating_add(count) {
        let bytes = values.get(&(register & !1)).unwrap_or(&0.0).to_be_bytes();
        let half = usize::from(register & 1) * 2;
        pdu.extend_from_slice(&bytes[half..half + 2]);
    }
    pdu
}

/// An answer with one word too few, in itself well-formed.
fn shortened(mut pdu: Vec<u8>) -> Vec<u8> {
    if pdu.len() > 4 {
        pdu.truncate(pdu.len() - 2);
        pdu[1] -= 2;
    }
    pdu
}

/// The check of Modbus RTU, bit by bit.
fn crc(bytes: &[u8]) -> [u8; 2] {
    let mut crc = 0xFFFF_u16;
    for byte in bytes {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xA001
            } else {
                crc >> 1
            };
        }
    }
    crc.to_le_bytes()
}

/// Serves on one end of a serial cable until the other is gone.
///
/// # Panics
/// When the cable cannot be opened.
#[must_use]
pub fn on_cable(path: &Path, unit: u8, late_by: Duration) -> Arc<Misdeeds> {
    let misdeeds = Arc::new(Misdeeds::default());
    let done = Arc::clone(&misdeeds);
    let mut line = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("the cable is there");
    std::thread::spawn(move || {
        let mut heard: Vec<u8> = Vec::new();
        let mut bytes = [0_u8; 256];
        while let Ok(n @ 1..) = line.read(&mut bytes) {
            heard.extend_from_slice(&bytes[..n]);
            // A read request is eight bytes; what does not check is noise, byte by byte.
            while heard.len() >= 8 {
                let (body, check) = (&heard[..6], [heard[6], heard[7]]);
                if crc(body) != check {
                    heard.remove(0);
                    continue;
                }
                let request: Vec<u8> = heard.drain(..8).collect();
                if request[0] != unit {
                    continue;
                }
                let pdu = answer(&request[1..6]);
                let (pdu, late) = match done.next() {
                    Deed::Good => (pdu, false),
                    Deed::Late => (pdu, true),
                    Deed::Short => (shortened(pdu), false),
                    Deed::Garbage => (vec![0x55; 9], false),
                };
                let mut frame = vec![unit];
                frame.extend_from_slice(&pdu);
                let check = crc(&frame);
                frame.extend_from_slice(&check);
                if late {
                    // In the line's own thread: what is asked meanwhile is answered after it.
                    std::thread::sleep(late_by);
                }
                if line.write_all(&frame).is_err() {
                    return;
                }
            }
        }
    });
    misdeeds
}

/// Serves over TCP; gives its port.
///
/// # Panics
/// When the system has no port.
#[must_use]
pub fn on_tcp(unit: u8, late_by: Duration) -> (u16, Arc<Misdeeds>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
    let port = listener
        .local_addr()
        .expect("a bound socket has an address")
        .port();
    let misdeeds = Arc::new(Misdeeds::default());
    let done = Arc::clone(&misdeeds);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let done = Arc::clone(&done);
            std::thread::spawn(move || {
                let mut stream = stream;
                let mut header = [0_u8; 7];
                while stream.read_exact(&mut header).is_ok() {
                    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
                    let mut request = vec![0_u8; length.saturating_sub(1)];
                    if stream.read_exact(&mut request).is_err() || request.len() < 5 {
                        return;
                    }
                    if header[6] != unit {
                        continue;
                    }
                    let pdu = answer(&request);
                    let pdu = match done.next() {
                        Deed::Good => pdu,
                        Deed::Late => {
                            std::thread::sleep(late_by);
                            pdu
                        }
                        Deed::Short => shortened(pdu),
                        // The transaction of another question, as some gateways do.
                        Deed::Garbage => {
                            header[1] = header[1].wrapping_sub(1);
                            pdu
                        }
                    };
                    let length = (pdu.len() as u16 + 1).to_be_bytes();
                    let mut frame = vec![header[0], header[1], 0, 0, length[0], length[1], unit];
                    frame.extend_from_slice(&pdu);
                    if stream.write_all(&frame).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (port, misdeeds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_is_that_of_the_specification() {
        // The example of the Modbus over serial line guide: 02 07 gives 41 12.
        assert_eq!(crc(&[0x02, 0x07]), [0x41, 0x12]);
    }

    #[test]
    fn each_register_has_a_value_of_its_own() {
        let mut values: Vec<u32> = MEASURED.iter().map(|(_, _, v)| v.to_bits()).collect();
        values.sort_unstable();
        values.dedup();
        assert_eq!(values.len(), MEASURED.len());
    }
}
