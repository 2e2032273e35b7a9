//! Faults that a script puts into devices and buses at run time.
//!
//! Faults of values change what a device says; faults of the wire change how its
//! answers travel. Both are written as text in scenarios (`loss=20%`, `stuck`) and
//! set by name through the bench. It is not responsible for carrying them out:
//! values do so in `device`, wires in `faces`.

use std::fmt;
use std::time::Duration;

use quantities::{ActivePower, Quantity, StateOfCharge, parse_duration, parse_quantity};

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Every answer comes so much later.
    Delay(Duration),
    /// Every third answer comes so much later, meant to be longer than the time-out.
    Late(Duration),
    /// This fraction of answers never comes.
    Loss(f64),
    /// This fraction of answers has a flipped bit (in RTU, the checksum then fails).
    Crc(f64),
    /// Answers carry another unit's number.
    WrongUnit,
    /// Answers carry another transaction's number (TCP framing only).
    WrongTransaction,
    /// Answers have a register too few.
    WrongLength,
    /// Every request is answered with this exception.
    Exception(u8),
    /// Values stay as they were when the fault began.
    Stuck,
    /// Values are not implemented.
    NotImplemented,
    /// Power has the wrong sign.
    SignFlip,
    /// Writes are acknowledged and forgotten; registers keep their old value.
    IgnoreWrites,
    /// Writes show in the registers, but the power does not follow.
    HoldOutput,
    /// Nothing is answered.
    Silent,
    /// So many watts are added to the active power that is told.
    Bias(f64),
    /// Power is told so many powers of ten too large, and no scale factor says so.
    WrongScale(i16),
    /// This fraction of requests is answered with exception 6: the device is busy.
    Busy(f64),
    /// This fraction of answers is noise instead (Modbus).
    Garbage(f64),
    /// Answers carry the data of the answer before, in an otherwise right frame (Modbus).
    Previous,
    /// The peer is gone without a farewell: connections stay open, and dead for ever (Modbus).
    HalfOpen,
    /// The SunSpec scale factors have moved by so many powers of ten; the values are the same.
    ScaleShift(i16),
    /// The device starts anew and is away for so long; what it was told and its counters are gone.
    Reboot(Duration),
    /// The device's clock, and with it its timers, has jumped by so many seconds.
    ClockJump(f64),
    /// The controller of every node is off the bus (CAN).
    BusOff,
    /// The broker starts anew and is away for so long (MQTT); what it had kept is gone.
    Restart(Duration),
}

/// Why a text is no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// The name is not known.
    #[error("there is no fault `{name}`; there are: {known}")]
    Unknown {
        /// The name in question.
        name: String,
        /// All names.
        known: String,
    },
    /// The value does not fit the fault.
    #[error("fault `{name}` wants {wanted}, not `{value}`")]
    Value {
        /// The fault.
        name: String,
        /// What would fit.
        wanted: &'static str,
        /// What was given.
        value: String,
    },
}

/// What a fault wants behind its name.
#[derive(Clone, Copy)]
enum Wants {
    Nothing(Fault),
    Time(fn(Duration) -> Fault),
    Fraction(fn(f64) -> Fault),
    Code,
    Power,
    Powers(fn(i16) -> Fault),
    Jump,
}

/// The names of faults in scripts.
const NAMES: &[(&str, Wants)] = &[
    ("delay", Wants::Time(Fault::Delay)),
    ("late", Wants::Time(Fault::Late)),
    ("loss", Wants::Fraction(Fault::Loss)),
    ("drop", Wants::Fraction(Fault::Loss)),
    ("crc", Wants::Fraction(Fault::Crc)),
    ("wrong_unit", Wants::Nothing(Fault::WrongUnit)),
    ("wrong_tid", Wants::Nothing(Fault::WrongTransaction)),
    ("wrong_length", Wants::Nothing(Fault::WrongLength)),
    ("exception", Wants::Code),
    ("stuck", Wants::Nothing(Fault::Stuck)),
    ("nan", Wants::Nothing(Fault::NotImplemented)),
    ("sign_flip", Wants::Nothing(Fault::SignFlip)),
    ("ignore_writes", Wants::Nothing(Fault::IgnoreWrites)),
    ("hold_output", Wants::Nothing(Fault::HoldOutput)),
    ("silent", Wants::Nothing(Fault::Silent)),
    ("bias", Wants::Power),
    ("wrong_scale", Wants::Powers(Fault::WrongScale)),
    ("busy", Wants::Fraction(Fault::Busy)),
    ("garbage", Wants::Fraction(Fault::Garbage)),
    ("previous", Wants::Nothing(Fault::Previous)),
    ("half_open", Wants::Nothing(Fault::HalfOpen)),
    ("scale_shift", Wants::Powers(Fault::ScaleShift)),
    ("reboot", Wants::Time(Fault::Reboot)),
    ("clock_jump", Wants::Jump),
    ("bus_off", Wants::Nothing(Fault::BusOff)),
    ("restart", Wants::Time(Fault::Restart)),
];

impl Fault {
    /// Reads a fault such as `loss=20%`, `late=300ms`, `exception=6`, `bias=100W` or `stuck`.
    ///
    /// A fraction of zero or a time of zero is a fault that does nothing. A fraction may
    /// be left out and is 100 % then.
    ///
    /// # Errors
    /// When the name is unknown or the value does not fit it.
    pub fn parse(text: &str) -> Result<Self, FaultError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim())),
            None => (text.trim(), None),
        };
        Self::named(name, value)
    }

    /// A fault from its name and, where it has one, its value.
    ///
    /// # Errors
    /// As [`Fault::parse`].
    pub fn named(name: &str, value: Option<&str>) -> Result<Self, FaultError> {
        let Some((_, wants)) = NAMES.iter().find(|(known, _)| *known == name) else {
            return Err(FaultError::Unknown {
                name: name.into(),
                known: NAMES
                    .iter()
                    .map(|(known, _)| *known)
                    .collect::<Vec<_>>()
                    .join(", "),
            });
        };
        let wrong = |wanted: &'static str| FaultError::Value {
            name: name.into(),
            wanted,
            value: value.unwrap_or_default().into(),
        };
        match (*wants, value) {
            (Wants::Nothing(fault), None | Some("on")) => Ok(fault),
            (Wants::Nothing(_), Some(_)) => Err(wrong("no value")),
            (Wants::Time(make), Some(text)) => parse_duration(text)
                .map(make)
                .map_err(|_| wrong("a time such as `300ms`")),
            (Wants::Time(_), None) => Err(wrong("a time such as `300ms`")),
            (Wants::Fraction(make), None) => Ok(make(1.0)),
            (Wants::Fraction(make), Some(text)) => parse_quantity::<StateOfCharge>(text)
                .ok()
                .map(Quantity::base)
                .filter(|fraction| (0.0..=1.0).contains(fraction))
                .map(make)
                .ok_or_else(|| wrong("a fraction such as `20%`")),
            (Wants::Code, code) => code
                .and_then(|text| text.parse().ok())
                .filter(|code| (1..=127).contains(code))
                .map(Fault::Exception)
                .ok_or_else(|| wrong("an exception code from 1 to 127")),
            (Wants::Power, power) => power
                .and_then(|text| parse_quantity::<ActivePower>(text).ok())
                .map(|p| Fault::Bias(p.as_watts()))
                .ok_or_else(|| wrong("a power such as `100W`")),
            (Wants::Powers(make), powers) => powers
                .and_then(|text| text.parse().ok())
                // SunSpec scale factors lie between -10 and 10.
                .filter(|powers| (-10..=10).contains(powers))
                .map(make)
                .ok_or_else(|| wrong("powers of ten from -10 to 10")),
            (Wants::Jump, jump) => jump
                .and_then(|text| {
                    let (sign, text) = match text.strip_prefix('-') {
                        Some(text) => (-1.0, text),
                        None => (1.0, text),
                    };
                    Some(sign * parse_duration(text).ok()?.as_secs_f64())
                })
                .map(Fault::ClockJump)
                .ok_or_else(|| wrong("a time such as `-1h`")),
        }
    }

    /// Whether two faults are of the same kind, whatever their values.
    fn same_kind(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delay(time) => write!(f, "delay={}ms", time.as_millis()),
            Self::Late(time) => write!(f, "late={}ms", time.as_millis()),
            Self::Loss(fraction) => write!(f, "loss={}%", fraction * 100.0),
            Self::Crc(fraction) => write!(f, "crc={}%", fraction * 100.0),
            Self::WrongUnit => f.write_str("wrong_unit"),
            Self::WrongTransaction => f.write_str("wrong_tid"),
            Self::WrongLength => f.write_str("wrong_length"),
            Self::Exception(code) => write!(f, "exception={code}"),
            Self::Stuck => f.write_str("stuck"),
            Self::NotImplemented => f.write_str("nan"),
            Self::SignFlip => f.write_str("sign_flip"),
            Self::IgnoreWrites => f.write_str("ignore_writes"),
            Self::HoldOutput => f.write_str("hold_output"),
            Self::Silent => f.write_str("silent"),
            Self::Bias(watts) => write!(f, "bias={watts}W"),
            Self::WrongScale(powers) => write!(f, "wrong_scale={powers}"),
            Self::Busy(fraction) => write!(f, "busy={}%", fraction * 100.0),
            Self::Garbage(fraction) => write!(f, "garbage={}%", fraction * 100.0),
            Self::Previous => f.write_str("previous"),
            Self::HalfOpen => f.write_str("half_open"),
            Self::ScaleShift(powers) => write!(f, "scale_shift={powers}"),
            Self::Reboot(time) => write!(f, "reboot={}ms", time.as_millis()),
            Self::ClockJump(seconds) => write!(f, "clock_jump={seconds}s"),
            Self::BusOff => f.write_str("bus_off"),
            Self::Restart(time) => write!(f, "restart={}ms", time.as_millis()),
        }
    }
}

/// The faults of one device or bus; at most one of a kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultSet {
    active: Vec<Fault>,
    answers: u64,
}

/// What happens to one answer on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WireFaults {
    /// It comes so much later.
    pub delay: Duration,
    /// It does not come at all.
    pub lost: bool,
    /// A bit is flipped.
    pub damaged: bool,
    /// It carries another unit.
    pub wrong_unit: bool,
    /// It carries another transaction.
    pub wrong_transaction: bool,
    /// It is too short.
    pub wrong_length: bool,
    /// It is this exception.
    pub exception: Option<u8>,
    /// It is noise, made from this number.
    pub garbage: Option<u64>,
    /// It carries the data of the answer before.
    pub previous: bool,
    /// The connection is dead from now on.
    pub half_open: bool,
    /// The connection is closed instead.
    pub hang_up: bool,
    /// Every controller has left the bus.
    pub bus_off: bool,
}

impl FaultSet {
    /// Puts a fault in, in place of one of its kind, or takes its kind away.
    pub fn set(&mut self, fault: Fault, on: bool) {
        self.active.retain(|other| !other.same_kind(&fault));
        if on {
            self.active.push(fault);
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// Whether a fault of this kind is in.
    #[must_use]
    pub fn has(&self, kind: Fault) -> bool {
        self.active.iter().any(|fault| fault.same_kind(&kind))
    }

    /// Watts that are added to what is told.
    #[must_use]
    pub fn bias(&self) -> f64 {
        self.active
            .iter()
            .map(|fault| match fault {
                Fault::Bias(watts) => *watts,
                _ => 0.0,
            })
            .sum()
    }

    /// Powers of ten by which power is told too large.
    #[must_use]
    pub fn wrong_scale(&self) -> i32 {
        let powers = self.active.iter().map(|fault| match fault {
            Fault::WrongScale(powers) => i32::from(*powers),
            _ => 0,
        });
        powers.sum()
    }

    /// What these faults do to the next answer, on top of `wire`; `chance` gives numbers from 0 to below 1.
    pub fn befall(&mut self, wire: &mut WireFaults, mut chance: impl FnMut() -> f64) {
        if self.active.is_empty() {
            return;
        }
        self.answers += 1;
        for fault in &self.active {
            match *fault {
                Fault::Delay(time) => wire.delay += time,
                Fault::Late(time) if self.answers.is_multiple_of(3) => wire.delay += time,
                Fault::Loss(fraction) => wire.lost |= chance() < fraction,
                Fault::Crc(fraction) => wire.damaged |= chance() < fraction,
                Fault::WrongUnit => wire.wrong_unit = true,
                Fault::WrongTransaction => wire.wrong_transaction = true,
                Fault::WrongLength => wire.wrong_length = true,
                Fault::Exception(code) => wire.exception = Some(code),
                Fault::Silent => wire.lost = true,
                Fault::Busy(fraction) if chance() < fraction => {
                    // MODBUS Application Protocol V1.1b3, 7: server device busy.
                    wire.exception = Some(6);
                }
                Fault::Garbage(fraction) if chance() < fraction => {
                    wire.garbage = Some((chance() * (1_u64 << 53) as f64) as u64);
                }
                Fault::Previous => wire.previous = true,
                Fault::HalfOpen => wire.half_open = true,
                Fault::BusOff => wire.bus_off = true,
                Fault::Late(_)
                | Fault::Stuck
                | Fault::NotImplemented
                | Fault::SignFlip
                | Fault::IgnoreWrites
                | Fault::HoldOutput
                | Fault::Bias(_)
                | Fault::WrongScale(_)
                | Fault::Busy(_)
                | Fault::Garbage(_)
                | Fault::ScaleShift(_)
                | Fault::Reboot(_)
                | Fault::ClockJump(_)
                | Fault::Restart(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_read_from_the_text_that_it_prints() {
        let rows = [
            ("loss=20%", Fault::Loss(0.2)),
            ("late=300ms", Fault::Late(Duration::from_millis(300))),
            ("delay=50ms", Fault::Delay(Duration::from_millis(50))),
            ("stuck", Fault::Stuck),
            ("nan", Fault::NotImplemented),
            ("sign_flip", Fault::SignFlip),
            ("ignore_writes", Fault::IgnoreWrites),
            ("silent", Fault::Silent),
            ("exception=6", Fault::Exception(6)),
            ("bias=-100W", Fault::Bias(-100.0)),
            ("crc=100%", Fault::Crc(1.0)),
            ("busy=30%", Fault::Busy(0.3)),
            ("garbage=50%", Fault::Garbage(0.5)),
            ("previous", Fault::Previous),
            ("half_open", Fault::HalfOpen),
            ("wrong_scale=1", Fault::WrongScale(1)),
            ("scale_shift=-2", Fault::ScaleShift(-2)),
            ("reboot=3000ms", Fault::Reboot(Duration::from_secs(3))),
            ("clock_jump=-3600s", Fault::ClockJump(-3600.0)),
            ("bus_off", Fault::BusOff),
            ("restart=500ms", Fault::Restart(Duration::from_millis(500))),
        ];
        for (text, fault) in rows {
            assert_eq!(Fault::parse(text), Ok(fault));
            assert_eq!(fault.to_string(), text);
        }
    }

    #[test]
    fn a_text_that_is_no_fault_is_refused_with_what_would_do() {
        let rows = [
            (
                "loss=120%",
                "fault `loss` wants a fraction such as `20%`, not `120%`",
            ),
            ("late", "fault `late` wants a time such as `300ms`, not ``"),
            ("stuck=3", "fault `stuck` wants no value, not `3`"),
            (
                "exception=200",
                "fault `exception` wants an exception code from 1 to 127, not `200`",
            ),
            (
                "scale_shift=11",
                "fault `scale_shift` wants powers of ten from -10 to 10, not `11`",
            ),
            (
                "clock_jump=soon",
                "fault `clock_jump` wants a time such as `-1h`, not `soon`",
            ),
        ];
        for (text, message) in rows {
            assert_eq!(
                Fault::parse(text).map_err(|e| e.to_string()),
                Err(message.to_owned())
            );
        }
        assert!(matches!(
            Fault::parse("gremlin"),
            Err(FaultError::Unknown { .. })
        ));
    }

    #[test]
    fn a_fault_of_the_same_kind_replaces_the_old_one_and_goes_by_kind() {
        let mut faults = FaultSet::default();
        faults.set(Fault::Delay(Duration::from_millis(10)), true);
        faults.set(Fault::Delay(Duration::from_millis(30)), true);
        let mut wire = WireFaults::default();
        faults.befall(&mut wire, || 0.5);
        assert_eq!(wire.delay, Duration::from_millis(30));
        faults.set(Fault::Delay(Duration::ZERO), false);
        assert!(faults.is_empty());
    }

    #[test]
    fn loss_hits_its_share_and_late_every_third() {
        let mut faults = FaultSet::default();
        faults.set(Fault::Loss(0.25), true);
        faults.set(Fault::Late(Duration::from_secs(1)), true);
        let mut draws = (0..400).map(|n| f64::from(n % 4) / 4.0);
        let (mut lost, mut late) = (0, 0);
        for _ in 0..400 {
            let mut wire = WireFaults::default();
            faults.befall(&mut wire, || draws.next().expect("400 draws"));
            lost += u32::from(wire.lost);
            late += u32::from(wire.delay > Duration::ZERO);
        }
        assert_eq!((lost, late), (100, 133));
    }

    #[test]
    fn what_befalls_a_device_and_what_befalls_its_bus_add_up() {
        let ms = Duration::from_millis;
        let after = |faults: [Fault; 2]| {
            let mut wire = WireFaults::default();
            for fault in faults {
                let mut set = FaultSet::default();
                set.set(fault, true);
                set.befall(&mut wire, || 0.5);
            }
            wire
        };
        let delayed = after([Fault::Delay(ms(10)), Fault::Delay(ms(30))]);
        assert_eq!(delayed.delay, ms(40));
        // What one does the other does not undo.
        for faults in [[1.0, 0.0], [0.0, 1.0]] {
            assert!(after(faults.map(Fault::Loss)).lost, "{faults:?}");
            assert!(after(faults.map(Fault::Crc)).damaged, "{faults:?}");
        }
        assert!(!after([Fault::Loss(0.0), Fault::Loss(0.0)]).lost);
        assert!(after([Fault::BusOff, Fault::Stuck]).bus_off);
    }
}
