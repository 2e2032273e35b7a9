//! Bench instruments that speak SCPI over any byte stream.
//!
//! `header` matches what a client sends against the headers of a profile; `commands` is the
//! set of commands that a profile means; this file holds the instrument: its error queue, its
//! status registers, its limits, and how it answers. Whatever the client does, an error ends up
//! in the queue and nothing else changes.
//!
//! Several clients may be connected; they share one queue, as they do on real instruments.

mod commands;
mod header;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use model::Point;
use profile::scpi::ScpiProfile;
use profile::{Profile, Protocol};
use quantities::{Frequency, Voltage};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::bench::STEP;
use crate::device::{Device, Kind, Nameplate};
use crate::plant::breaker::SyncCheck;
use crate::plant::load::Load;
use crate::plant::network::Feeder;
use crate::plant::{Forming, Plant, Site};
use crate::world::{Shared, World};
use commands::{Answer, Command, Commands, Effect};
use header::{Header, Path, units};

/// Longest message. Chosen: as usual instruments, 4 kB.
const MESSAGE_MAX: usize = 4096;

/// Entries of the error queue. Chosen: 16, as usual instruments.
const ERRORS_MAX: usize = 16;

/// What SCPI sends where there is no number.
//= SCPI-1999 volume 1, 7.2.1.5: 9.91E37 is "not a number".
const NOT_A_NUMBER: f64 = 9.91e37;

/// Errors of the standard.
//= SCPI-1999 volume 2, 21.8.9 to 21.8.13.
const SYNTAX: Error = (-102, "Syntax error");
const DATA_TYPE: Error = (-104, "Data type error");
const NOT_ALLOWED: Error = (-108, "Parameter not allowed");
const MISSING: Error = (-109, "Missing parameter");
const UNDEFINED: Error = (-113, "Undefined header");
const EXECUTION: Error = (-200, "Execution error");
const OUT_OF_RANGE: Error = (-222, "Data out of range");
const QUEUE_OVERFLOW: Error = (-350, "Queue overflow");
const INPUT_OVERRUN: Error = (-363, "Input buffer overrun");

type Error = (i16, &'static str);

/// An instrument.
#[derive(Debug)]
pub struct Instrument {
    world: Shared,
    device: usize,
    identity: String,
    terminator: &'static str,
    commands: Commands,
    state: Mutex<State>,
}

/// What an instrument remembers besides what the plant is.
#[derive(Debug, Default)]
struct State {
    errors: VecDeque<Error>,
    /// Standard event status: one bit for each class of error.
    events: u8,
    events_enabled: u8,
    requests_enabled: u8,
    limits: BTreeMap<Point, (Option<f64>, Option<f64>)>,
}

impl State {
    fn err(&mut self, error: Error) {
        //= IEEE 488.2, 11.5.1: bit 5 command, 4 execution, 3 device, 2 query error.
        self.events |= match error.0 {
            -199..=-100 => 0b10_0000,
            -299..=-200 => 0b01_0000,
            -499..=-400 => 0b00_0100,
            _ => 0b00_1000,
        };
        if self.errors.len() < ERRORS_MAX {
            self.errors.push_back(error);
        } else if let Some(last) = self.errors.back_mut() {
            *last = QUEUE_OVERFLOW;
        }
    }
}

/// What goes back on the wire, and when.
struct Reply {
    after: std::time::Duration,
    bytes: Vec<u8>,
}

impl Instrument {
    /// An instrument of a profile that calls itself by its profile's text and `name`.
    #[must_use]
    pub fn new(world: Shared, device: usize, profile: &ScpiProfile, name: &str) -> Self {
        Self {
            world,
            device,
            identity: format!("{},{name},1.0", profile.identify),
            terminator: if profile.crlf { "\r\n" } else { "\n" },
            commands: Commands::of(profile),
            state: Mutex::new(State::default()),
        }
    }

    /// An instrument on a plant of its own, for whoever tries the face alone: a source if it sets a
    /// frequency, else a load that begins off. `None` for a profile without SCPI.
    #[must_use]
    pub fn alone(profile: &Profile) -> Option<(Self, Shared)> {
        let Protocol::Scpi(scpi) = &profile.protocol else {
            return None;
        };
        let site = Site {
            v_nominal: Voltage::from_volts(230.0),
            f_nominal: Frequency::from_hertz(50.0),
            phases: 3,
        };
        let mut plant = Plant::new(
            site,
            Feeder::default(),
            Forming::default(),
            SyncCheck::default(),
            1,
        );
        plant.grid.set_noise(Frequency::ZERO);
        plant.loads.push(Load::new(0.0, false).shaped(0.0, 0.0));
        let kind = if profile.takes(Point::FrequencySet) {
            Kind::Source
        } else {
            Kind::ElectronicLoad(0)
        };
        let device = Device::new("inst".into(), "bus".into(), kind, Nameplate::default());
        let mut world = World::new(plant, vec![device], 1);
        world.step(STEP);
        let world = Shared::new(world);
        Some((Self::new(world.clone(), 0, scpi, "EMU"), world))
    }

    /// Serves a stream until it ends.
    ///
    /// # Errors
    /// When the stream breaks.
    pub async fn serve<S>(self: Arc<Self>, mut stream: S) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut line: Vec<u8> = Vec::new();
        let mut overrun = false;
        let mut chunk = [0_u8; 512];
        loop {
            let count = stream.read(&mut chunk).await?;
            if count == 0 {
                return Ok(());
            }
            for byte in chunk.get(..count).unwrap_or_default() {
                match byte {
                    b'\n' if overrun => overrun = false,
                    b'\n' => {
                        let message = std::mem::take(&mut line);
                        if let Some(reply) = self.hear(&message) {
                            if !reply.after.is_zero() {
                                tokio::time::sleep(reply.after).await;
                            }
                            stream.write_all(&reply.bytes).await?;
                            stream.flush().await?;
                        }
                    }
                    _ if overrun => {}
                    byte if line.len() < MESSAGE_MAX => line.push(*byte),
                    _ => {
                        line.clear();
                        overrun = true;
                        self.state().err(INPUT_OVERRUN);
                    }
                }
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries a message out at once, whatever would have befallen its answer's time; the answer
    /// comes with its terminator, `None` where there is none.
    #[must_use]
    pub fn answer(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.hear(message).map(|reply| reply.bytes)
    }

    /// Carries a message out; what befalls the wire befalls messages that are answered.
    fn hear(&self, message: &[u8]) -> Option<Reply> {
        let Ok(text) = std::str::from_utf8(message) else {
            self.state().err(SYNTAX);
            return None;
        };
        let asks = text.contains('?');
        let mut world = self.world.lock();
        if world.is_silent(self.device) {
            return None;
        }
        let wire = if asks {
            world.befall(self.device)
        } else {
            Default::default()
        };
        let answers = if wire.exception.is_some() {
            self.state().err(EXECUTION);
            Vec::new()
        } else {
            self.carry_out(&mut world, text)
        };
        drop(world);
        if answers.is_empty() || wire.lost {
            return None;
        }
        let mut bytes = answers.join(";").into_bytes();
        if wire.wrong_length {
            bytes.truncate(bytes.len() / 2);
        }
        if wire.damaged
            && let Some(first) = bytes.first_mut()
        {
            *first ^= 0x80;
        }
        bytes.extend_from_slice(self.terminator.as_bytes());
        Some(Reply {
            after: wire.delay,
            bytes,
        })
    }

    /// The answers to the queries of a message, in their order.
    fn carry_out(&self, world: &mut World, message: &str) -> Vec<String> {
        let mut path = Path::default();
        let mut answers = Vec::new();
        for unit in units(message) {
            let Some((header, parameters)) = path.resolve(unit) else {
                self.state().err(SYNTAX);
                continue;
            };
            let outcome = if header.is_common() {
                self.common(world, &header, &parameters)
            } else {
                self.command(world, &header, &parameters)
            };
            match outcome {
                Ok(Some(answer)) => answers.push(answer),
                Ok(None) => {}
                Err(error) => self.state().err(error),
            }
        }
        answers
    }

    /// The commands that every instrument has.
    fn common(
        &self,
        world: &mut World,
        header: &Header,
        parameters: &[&str],
    ) -> Result<Option<String>, Error> {
        let name = header.common_name();
        let byte = || -> Result<u8, Error> {
            let text = parameters.first().ok_or(MISSING)?;
            text.parse().map_err(|_| DATA_TYPE)
        };
        let mut state = self.state();
        match (name.as_str(), header.asks) {
            ("IDN", true) => Ok(Some(self.identity.clone())),
            ("OPC", true) => Ok(Some("1".into())),
            ("OPC", false) => {
                state.events |= 1;
                Ok(None)
            }
            ("ESR", true) => Ok(Some(std::mem::take(&mut state.events).to_string())),
            ("STB", true) => {
                let waiting = u8::from(!state.errors.is_empty()) * 4;
                let event = u8::from(state.events & state.events_enabled != 0) * 32;
                Ok(Some((waiting | event).to_string()))
            }
            ("ESE", true) => Ok(Some(state.events_enabled.to_string())),
            ("SRE", true) => Ok(Some(state.requests_enabled.to_string())),
            ("ESE", false) => {
                state.events_enabled = byte()?;
                Ok(None)
            }
            ("SRE", false) => {
                state.requests_enabled = byte()?;
                Ok(None)
            }
            ("TST", true) => Ok(Some("0".into())),
            ("CLS", false) => {
                state.errors.clear();
                state.events = 0;
                Ok(None)
            }
            ("RST", false) => {
                state.limits.clear();
                // A reset opens the output and forgets nothing else that could move a bench.
                if self.commands.switches() {
                    world.write(self.device, Point::SwitchOn, 0.0, None).ok();
                }
                Ok(None)
            }
            ("WAI", false) => Ok(None),
            _ => Err(UNDEFINED),
        }
    }

    fn command(
        &self,
        world: &mut World,
        header: &Header,
        parameters: &[&str],
    ) -> Result<Option<String>, Error> {
        match self.commands.find(header).ok_or(UNDEFINED)? {
            Command::Errors => {
                let (code, text) = self.state().errors.pop_front().unwrap_or((0, "No error"));
                Ok(Some(format!("{code},\"{text}\"")))
            }
            Command::Version => Ok(Some("1999.0".into())),
            Command::Query(answers) => {
                let told: Vec<String> = answers
                    .iter()
                    .map(|answer| self.tell(world, answer, parameters))
                    .collect::<Result<_, _>>()?;
                Ok(Some(told.join(",")))
            }
            Command::Set(effects) => {
                let effect = effects
                    .iter()
                    .find(|effect| effect.takes(parameters))
                    .ok_or(if parameters.is_empty() {
                        MISSING
                    } else {
                        DATA_TYPE
                    })?;
                self.put(world, effect, parameters)?;
                Ok(None)
            }
        }
    }

    fn tell(&self, world: &World, answer: &Answer, parameters: &[&str]) -> Result<String, Error> {
        match answer {
            Answer::Measured { point, factor } => match world.value(self.device, *point) {
                Some(value) if point.unit() == "1" => Ok(format!("{value:.0}")),
                Some(value) => Ok(scientific(value / factor)),
                None => Ok(scientific(NOT_A_NUMBER)),
            },
            Answer::Setting {
                point,
                factor,
                decimals,
                range,
            } => {
                let value = match parameters.first().map(|p| p.to_ascii_uppercase()) {
                    None => world.setpoint(self.device, *point).map(|v| v / factor),
                    Some(end) if end.starts_with("MIN") => range.map(|(low, _)| low),
                    Some(end) if end.starts_with("MAX") => range.map(|(_, high)| high),
                    Some(_) => return Err(NOT_ALLOWED),
                };
                let digits = usize::from(*decimals);
                Ok(value.map_or_else(
                    || scientific(NOT_A_NUMBER),
                    |value| format!("{value:.digits$}"),
                ))
            }
            Answer::Nothing => Ok("0".into()),
        }
    }

    fn put(&self, world: &mut World, effect: &Effect, parameters: &[&str]) -> Result<(), Error> {
        match effect {
            Effect::Accept { .. } => Ok(()),
            Effect::Fixed { point, value, .. } => self.write(world, *point, *value),
            Effect::Limit {
                point,
                factor,
                upper,
            } => {
                let value = commands::parameter(parameters, None)? * factor;
                let mut state = self.state();
                let (low, high) = state.limits.entry(*point).or_default();
                // A vendor's opposite sign turns the ends round.
                *if *upper == (*factor > 0.0) { high } else { low } = Some(value);
                Ok(())
            }
            Effect::Value {
                point,
                factor,
                range,
            } => {
                let raw = commands::parameter(parameters, *range)?;
                if range.is_some_and(|(low, high)| !(low..=high).contains(&raw)) {
                    return Err(OUT_OF_RANGE);
                }
                let value = raw * factor;
                let limits = self.state().limits.get(point).copied().unwrap_or_default();
                let fits = limits.0.is_none_or(|low| value >= low - 1e-9)
                    && limits.1.is_none_or(|high| value <= high + 1e-9);
                if !fits {
                    return Err(OUT_OF_RANGE);
                }
                self.write(world, *point, value)
            }
        }
    }

    fn write(&self, world: &mut World, point: Point, value: f64) -> Result<(), Error> {
        world
            .write(self.device, point, value, None)
            .map_err(|_| EXECUTION)
    }
}

/// A number with exponent as instruments write it, such as `+4.998000E+01`.
//= IEEE 488.2, 8.7.4: NR3 has a signed exponent.
fn scientific(value: f64) -> String {
    let text = format!("{value:+.6E}");
    match text.split_once('E') {
        Some((mantissa, exponent)) => {
            let exponent: i32 = exponent.parse().unwrap_or_default();
            format!("{mantissa}E{exponent:+03}")
        }
        None => text,
    }
}

#[cfg(test)]
mod tests;
