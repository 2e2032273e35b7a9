//! Modbus servers: several units behind one TCP port or on one serial line.
//!
//! [`frame`] cuts requests out of a byte stream and wraps answers; [`image`] says what
//! stands in the registers; this file serves a stream and lets faults befall answers.

pub mod fixed;
pub mod frame;
pub mod image;
pub mod number;
pub mod sunspec;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::faults::WireFaults;
use crate::world::Shared;
use frame::{Framing, Request, Wrap};
use image::{Exception, Image};
use profile::modbus::Table;

/// Silence after which a half-received RTU request is thrown away.
/// Chosen: far above the 3.5 characters of any baud rate down to 1200, so that a slow
/// pty never cuts a good frame, far below any client's time-out.
const RTU_SILENCE: Duration = Duration::from_millis(60);

/// Most registers (read), registers (write), bits (read) and bits (write) in a request.
//= MODBUS Application Protocol Specification V1.1b3, 6.1 to 6.12.
const READ_REGISTERS_MAX: u16 = 125;
const WRITE_REGISTERS_MAX: u16 = 123;
const READ_BITS_MAX: u16 = 2000;
const WRITE_BITS_MAX: u16 = 1968;

/// A unit on a port.
#[derive(Debug)]
struct Unit {
    number: u8,
    device: usize,
    image: Image,
    /// What stands in the registers when the device starts.
    at_start: Image,
    /// How often it had started when `image` was made.
    starts: u32,
}

/// A port: the units that are reached through it.
#[derive(Debug)]
pub struct Port {
    world: Shared,
    units: Mutex<Vec<Unit>>,
    /// The data of the last answer of any unit, by function and length.
    said: Mutex<BTreeMap<(u8, usize), Vec<u8>>>,
}

/// What goes back on the wire, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Time to wait before it is sent.
    pub after: Duration,
    /// The framed bytes.
    pub bytes: Vec<u8>,
    /// What becomes of the connection.
    pub connection: Connection,
}

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It goes on.
    Kept,
    /// The device closes it.
    Closed,
    /// It stays open, and nothing is ever answered on it again.
    Dead,
}

impl Port {
    /// A port without units.
    #[must_use]
    pub fn new(world: Shared) -> Self {
        Self {
            world,
            units: Mutex::new(Vec::new()),
            said: Mutex::new(BTreeMap::new()),
        }
    }

    /// Puts a device behind a unit number.
    pub fn add(&mut self, number: u8, device: usize, image: Image) {
        self.units
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Unit {
                number,
                device,
                at_start: image.clone(),
                image,
                starts: 0,
            });
    }

    /// Serves a stream until it ends.
    ///
    /// # Errors
    /// When the stream breaks.
    pub async fn serve<S>(self: Arc<Self>, mut stream: S, framing: Framing) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut buffer: Vec<u8> = Vec::with_capacity(512);
        let mut chunk = [0_u8; 512];
        let mut dead = false;
        loop {
            while let Some(request) = framing.take(&mut buffer) {
                if dead {
                    continue;
                }
                for answer in self.answer(&request) {
                    // A serial line has nothing to close.
                    if answer.connection == Connection::Closed && framing == Framing::Tcp {
                        return Ok(());
                    }
                    dead |= answer.connection == Connection::Dead;
                    if !answer.after.is_zero() {
                        tokio::time::sleep(answer.after).await;
                    }
                    stream.write_all(&answer.bytes).await?;
                }
                stream.flush().await?;
            }
            let read = stream.read(&mut chunk);
            let count = if framing == Framing::Rtu && !buffer.is_empty() {
                match tokio::time::timeout(RTU_SILENCE, read).await {
                    Ok(count) => count?,
                    Err(_) => {
                        buffer.clear();
                        continue;
                    }
                }
            } else {
                read.await?
            };
            if count == 0 {
                return Ok(());
            }
            buffer.extend_from_slice(chunk.get(..count).unwrap_or_default());
            if framing.is_lost(&buffer) {
                return Ok(());
            }
        }
    }

    /// The answers to a request: one, or none (another unit's, a broadcast, or lost).
    #[must_use]
    pub fn answer(&self, request: &Request) -> Vec<Answer> {
        let mut units = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        let rtu = matches!(request.wrap, Wrap::Rtu);
        if rtu && request.unit == 0 {
            // A broadcast is obeyed by everybody and answered by nobody.
            for unit in units.iter_mut() {
                self.carry_out(unit, &request.pdu).ok();
            }
            return Vec::new();
        }
        let Some(unit) = units.iter_mut().find(|unit| unit.number == request.unit) else {
            // A gateway says that nobody is there; a serial line is silent.
            return if rtu {
                Vec::new()
            } else {
                let pdu = Exception::GatewayTargetSilent.pdu(request.function());
                vec![Answer {
                    after: Duration::ZERO,
                    bytes: request.wrap.bytes(request.unit, &pdu),
                    connection: Connection::Kept,
                }]
            };
        };
        let wire = self.world.lock().befall(unit.device);
        let gone = |connection| {
            vec![Answer {
                after: Duration::ZERO,
                bytes: Vec::new(),
                connection,
            }]
        };
        if wire.hang_up {
            return gone(Connection::Closed);
        }
        if wire.half_open {
            return gone(Connection::Dead);
        }
        let answered = match wire.exception {
            Some(code) => Err(Exception::Other(code)),
            None => self.carry_out(unit, &request.pdu),
        };
        let mut pdu = answered.unwrap_or_else(|exception| exception.pdu(request.function()));
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let shape = (pdu.first().copied().unwrap_or_default(), pdu.len());
        let before = said.insert(shape, pdu.clone());
        if let Some(before) = before.filter(|_| wire.previous) {
            pdu = before;
        }
        spoil(&wire, request, pdu).into_iter().collect()
    }

    /// Does what a request asks for; gives the answer's function and data.
    fn carry_out(&self, unit: &mut Unit, pdu: &[u8]) -> Result<Vec<u8>, Exception> {
        let mut world = self.world.lock();
        if world.starts(unit.device) != unit.starts {
            unit.starts = world.starts(unit.device);
            unit.image = unit.at_start.clone();
        }
        let function = *pdu.first().ok_or(Exception::IllegalFunction)?;
        let word = |at: usize| -> Result<u16, Exception> {
            match (pdu.get(at), pdu.get(at + 1)) {
                (Some(high), Some(low)) => Ok(u16::from_be_bytes([*high, *low])),
                _ => Err(Exception::IllegalValue),
            }
        };
        if !matches!(function, 1..=4) {
            world.touched(|| format!("unit {} function {function}", unit.number));
        }
        let echo = || -> Vec<u8> { pdu.get(..5).unwrap_or_default().to_vec() };
        match function {
            1 | 2 => {
                let table = if function == 1 {
                    Table::Coil
                } else {
                    Table::Discrete
                };
                let (address, count) = (word(1)?, within(word(3)?, READ_BITS_MAX)?);
                let bits = unit
                    .image
                    .read(&world, unit.device, table, address, count)?;
                let mut answer = vec![function, count.div_ceil(8) as u8];
                answer.extend(bits.chunks(8).map(|eight| {
                    eight
                        .iter()
                        .enumerate()
                        .fold(0_u8, |byte, (n, bit)| byte | (u8::from(*bit != 0) << n))
                }));
                Ok(answer)
            }
            3 | 4 => {
                let table = if function == 3 {
                    Table::Holding
                } else {
                    Table::Input
                };
                let (address, count) = (word(1)?, within(word(3)?, READ_REGISTERS_MAX)?);
                let words = unit
                    .image
                    .read(&world, unit.device, table, address, count)?;
                let mut answer = vec![function, (2 * count) as u8];
                answer.extend(words.iter().flat_map(|word| word.to_be_bytes()));
                Ok(answer)
            }
            5 => {
                let value = match word(3)? {
                    0xff00 => 1,
                    0 => 0,
                    _ => return Err(Exception::IllegalValue),
                };
                let written = [value];
                unit.image
                    .write(&mut world, unit.device, Table::Coil, word(1)?, &written)?;
                Ok(echo())
            }
            6 => {
                let written = [word(3)?];
                unit.image
                    .write(&mut world, unit.device, Table::Holding, word(1)?, &written)?;
                Ok(echo())
            }
            15 => {
                let count = within(word(3)?, WRITE_BITS_MAX)?;
                let bytes = pdu.get(6..).unwrap_or_default();
                if bytes.len() != usize::from(count.div_ceil(8))
                    || pdu.get(5).map(|n| usize::from(*n)) != Some(bytes.len())
                {
                    return Err(Exception::IllegalValue);
                }
                let bits: Vec<u16> = (0..usize::from(count))
                    .map(|n| u16::from(bytes.get(n / 8).is_some_and(|b| b >> (n % 8) & 1 == 1)))
                    .collect();
                unit.image
                    .write(&mut world, unit.device, Table::Coil, word(1)?, &bits)?;
                Ok(echo())
            }
            16 if !unit.image.takes_many() => Err(Exception::IllegalFunction),
            16 => {
                let count = within(word(3)?, WRITE_REGISTERS_MAX)?;
                let bytes = pdu.get(6..).unwrap_or_default();
                if bytes.len() != 2 * usize::from(count)
                    || pdu.get(5).map(|n| usize::from(*n)) != Some(bytes.len())
                {
                    return Err(Exception::IllegalValue);
                }
                let words: Vec<u16> = bytes
                    .chunks_exact(2)
                    .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                    .collect();
                unit.image
                    .write(&mut world, unit.device, Table::Holding, word(1)?, &words)?;
                Ok(echo())
            }
            _ => Err(Exception::IllegalFunction),
        }
    }
}

fn within(count: u16, most: u16) -> Result<u16, Exception> {
    if (1..=most).contains(&count) {
        Ok(count)
    } else {
        Err(Exception::IllegalValue)
    }
}

/// The answer as the faults leave it.
fn spoil(wire: &WireFaults, request: &Request, mut pdu: Vec<u8>) -> Option<Answer> {
    if wire.lost {
        return None;
    }
    if wire.wrong_length && pdu.len() > 4 {
        // A register too few, told consistently: only the request reveals it.
        pdu.truncate(pdu.len() - 2);
        if let (Some(1..=4), Some(count)) = (pdu.first().copied(), pdu.get_mut(1)) {
            *count = count.saturating_sub(2);
        }
    }
    let unit = if wire.wrong_unit {
        request.unit.wrapping_add(1)
    } else {
        request.unit
    };
    let wrap = match request.wrap {
        Wrap::Tcp { transaction } if wire.wrong_transaction => Wrap::Tcp {
            transaction: transaction.wrapping_sub(1),
        },
        wrap => wrap,
    };
    let mut bytes = match wire.garbage {
        Some(seed) => noise(seed),
        None => wrap.bytes(unit, &pdu),
    };
    if wire.damaged {
        // The middle of the frame: data, not the length that keeps a stream in step.
        let middle = bytes.len() - 3;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 0x10;
        }
    }
    Some(Answer {
        after: wire.delay,
        bytes,
        connection: Connection::Kept,
    })
}

/// Bytes of a line that somebody else talks on, or that is not terminated: 8 to 39 of them.
fn noise(seed: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut bytes = vec![0; 8 + (seed % 32) as usize];
    rng.fill_bytes(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests;
