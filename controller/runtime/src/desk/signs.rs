//! Before a device trades: whether its meter says the same direction as its setpoint.
//!
//! A storage is asked for a part of its rating into the bus, and then out of it, each until its meter is
//! there or the time is over; [`market::sign`] judges. Control does it for the market like any other wish,
//! while the bench is armed and at the utility; meanwhile the device stands in no service. Who does not follow
//! is tried again, who goes the other way is not: somebody has to look. What takes no setpoint is judged
//! by its first reading that is worth a word.
//!
//! Only where the rig asks for it: it moves power.

use std::collections::BTreeMap;

use market::Coded;
use market::sign::{SignFault, judge};
use model::{DeviceIx, DeviceSpec, Event, Instant, Order, Role};
use quantities::{ActivePower, Bounds, Quantity};

use super::{BenchNow, DeskSays};
use crate::evidence::milliwatts;
use crate::rig::ParticipantKind;

/// How long a device has for either side.
/// Chosen: 5 s, a poll of the slowest bundled profile, its setpoint and a ramp of a tenth a second.
const SIDE_MAX_NS: i64 = 5_000_000_000;
/// After which time one who did not follow is tried again. Chosen: 30 s, two intervals of the demo.
const AGAIN_NS: i64 = 30_000_000_000;
/// Distance to what was asked from which a side is over, as a part of it. Chosen: a quarter.
const THERE: f64 = 0.25;
/// Reading from which a meter has a direction. Chosen: 100 W, more than an idle inverter takes at night.
const LEAST: ActivePower = ActivePower::from_watts(100.0);

/// How far it has come with a device.
#[derive(Debug)]
enum State {
    /// It has not begun.
    Waits,
    /// It is asked for something.
    Tries {
        asked: i64,
        since: Instant,
        /// What was asked for and measured on the first side, once it is over.
        first: Option<(i64, i64)>,
    },
    /// It may trade.
    Agrees,
    /// It may not; with the time from which it is tried again, if it is.
    Refused(SignFault, Option<i64>),
}

/// A device that is looked at.
#[derive(Debug)]
struct Looked {
    name: String,
    kind: ParticipantKind,
    /// Whether a setpoint can be tried.
    is_driven: bool,
    state: State,
}

/// The check of a rig.
#[derive(Debug)]
pub(super) struct Signs {
    share: f64,
    devices: BTreeMap<DeviceIx, Looked>,
}

impl Signs {
    /// A check that asks each storage for this share of its rating.
    pub(super) fn new<'a>(
        share: f64,
        traded: impl Iterator<Item = (DeviceIx, ParticipantKind, &'a str, &'a DeviceSpec)>,
    ) -> Self {
        let looked = |(device, kind, name, spec): (_, _, &str, &DeviceSpec)| {
            let looked = Looked {
                name: name.to_owned(),
                kind,
                is_driven: spec.role == Role::Ess && spec.takes_power,
                state: State::Waits,
            };
            (device, looked)
        };
        Self {
            share,
            devices: traded.map(looked).collect(),
        }
    }

    /// Whether who trades with a device may.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn lets(&self, device: DeviceIx) -> Result<(), SignFault> {
        match self.devices.get(&device) {
            Some(Looked {
                state: State::Refused(fault, _),
                ..
            }) => Err(fault.clone()),
            Some(looked) if looked.is_driven && !matches!(looked.state, State::Agrees) => {
                let device = looked.name.clone();
                Err(SignFault::Untried { device })
            }
            _ => Ok(()),
        }
    }

    /// Looks at everybody who may not trade yet.
    pub(super) fn look(&mut self, now: Instant, bench: &BenchNow<'_>, says: &mut DeskSays) {
        let share = self.share;
        for (device, looked) in &mut self.devices {
            if matches!(looked.state, State::Agrees) {
                continue;
            }
            if looked.is_driven {
                looked.drive(*device, share, now, bench, says);
            } else {
                looked.read(*device, now, bench, says);
            }
        }
    }
}

impl Looked {
    fn judged(&mut self, device: DeviceIx, found: Result<String, SignFault>, says: &mut DeskSays) {
        match found {
            Ok(text) => {
                self.state = State::Agrees;
                says.events.push(Event::SignAgreed { device, text });
            }
            Err(fault) => {
                let why = format!("[{}] {fault}", fault.code());
                self.state = State::Refused(fault, None);
                says.events.push(Event::SignRefused { device, why });
            }
        }
    }

    /// Judges a device that takes no setpoint by what it says.
    fn read(&mut self, device: DeviceIx, now: Instant, bench: &BenchNow<'_>, says: &mut DeskSays) {
        if !matches!(self.state, State::Waits) {
            return;
        }
        let spec = &bench.bench.devices[device.index()];
        let measured = bench.image.devices[device.index()].p;
        let Some(p) = measured.fresh(now, spec.sample_age_max) else {
            return;
        };
        let (does, is_so) = match self.kind {
            ParticipantKind::Pv => ("gives", p > ActivePower::ZERO),
            ParticipantKind::MustRun | ParticipantKind::Flexible => {
                ("takes", p < ActivePower::ZERO)
            }
            ParticipantKind::Storage => return,
        };
        if p.abs() < LEAST {
            return;
        }
        let found = match is_so {
            true => Ok(format!("its meter says {p:.1}, and its kind {does}")),
            false => Err(SignFault::Kind {
                device: self.name.clone(),
                measured: milliwatts(p.as_watts()),
                does,
            }),
        };
        self.judged(device, found, says);
    }

    /// Asks a storage for a little, into the bus and out of it.
    fn drive(
        &mut self,
        device: DeviceIx,
        share: f64,
        now: Instant,
        bench: &BenchNow<'_>,
        says: &mut DeskSays,
    ) {
        let now_ns = now.as_nanos() as i64;
        let mut all = bench.able.iter();
        let able = all.find(|(it, _)| *it == device).map(|(_, able)| *able);
        let Some(able) = able.filter(|_| bench.delivers) else {
            // What was begun tells nothing when nobody delivers.
            if matches!(self.state, State::Tries { .. }) {
                self.state = State::Waits;
            }
            return;
        };
        let spec = &bench.bench.devices[device.index()];
        let part = |rated: ActivePower| able.clamp(rated * share);
        let (up, down) = (part(spec.rating.p.upper()), part(spec.rating.p.lower()));
        let mut ask = |p: ActivePower, span_ns: i64| {
            let until = now + std::time::Duration::from_nanos(span_ns.unsigned_abs());
            says.orders.push(Order::Probe { device, p, until });
        };
        let measured = bench.image.devices[device.index()].p.last_good;
        match &self.state {
            State::Agrees | State::Refused(_, None) => {}
            State::Refused(_, Some(again_ns)) if now_ns < *again_ns => {}
            State::Waits | State::Refused(..) => {
                let swing = Bounds::between(down, up);
                // What it can do now is too little to tell a direction by.
                if swing.upper() - swing.lower() < spec.rating.p.upper() * share {
                    return;
                }
                ask(up, SIDE_MAX_NS);
                self.state = State::Tries {
                    asked: milliwatts(up.as_watts()),
                    since: now,
                    first: None,
                };
            }
            State::Tries {
                asked,
                since,
                first,
            } => {
                let seen = measured.filter(|(at, _)| at > since).map(|(_, p)| p);
                let wanted = ActivePower::from_watts(*asked as f64 / 1e3);
                let near = spec.rating.p.upper() * (share * THERE);
                let is_there = seen.is_some_and(|p| (p - wanted).abs() <= near);
                let is_over = now_ns - since.as_nanos() as i64 >= SIDE_MAX_NS;
                let Some(seen) = seen.filter(|_| is_there || is_over) else {
                    if is_over {
                        self.state = State::Waits;
                    }
                    return;
                };
                let seen = milliwatts(seen.as_watts());
                let Some((first_asked, first_seen)) = *first else {
                    ask(down, SIDE_MAX_NS);
                    self.state = State::Tries {
                        asked: milliwatts(down.as_watts()),
                        since: now,
                        first: Some((*asked, seen)),
                    };
                    return;
                };
                // From now on it is nobody's.
                ask(ActivePower::ZERO, 0);
                let (asked, went) = (asked - first_asked, seen - first_seen);
                let found = judge(&self.name, asked, went).map(|()| {
                    format!(
                        "its meter went by {:.1} when its setpoint went by {:.1}",
                        ActivePower::from_watts(went as f64 / 1e3),
                        ActivePower::from_watts(asked as f64 / 1e3)
                    )
                });
                let again = matches!(found, Err(SignFault::Still { .. }));
                self.judged(device, found, says);
                if let (State::Refused(_, again_ns), true) = (&mut self.state, again) {
                    *again_ns = Some(now_ns.saturating_add(AGAIN_NS));
                }
            }
        }
    }
}
