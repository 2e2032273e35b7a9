//! Follows every setpoint from the bus to the measured power.
//!
//! Register first, then power: the bus proves the register (or state topic), this
//! module proves the power or position from the next image. What is not proved in
//! time is an event, an entry in the ledger, and sent again.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::{DispatchId, LinkEvent};
use ledger_core::AtomId;
use model::{
    DeviceImage, DeviceIx, Event, Flaw, Instant, ProcessImage, Reading, Role, Setpoint, Stage,
};
use quantities::{ActivePower, Frequency, Quantity, Voltage};

/// A setpoint under way.
#[derive(Clone, Debug)]
struct Flight {
    dispatch: DispatchId,
    atom: AtomId,
    setpoint: Setpoint,
    sent_at: Instant,
    /// Set when the register was proved.
    register_at: Option<Instant>,
}

/// What became of a setpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Which device.
    pub device: DeviceIx,
    /// Its record in the ledger.
    pub atom: AtomId,
    /// The stage that was reached, or the one that was not.
    pub stage: Stage,
    /// `None` when reached; why not, otherwise.
    pub missed: Option<String>,
    /// Measured power when it was proved.
    pub measured: Option<ActivePower>,
    /// When.
    pub at: Instant,
    /// Time since it was sent.
    pub after: Duration,
}

impl Progress {
    /// The event that tells it.
    #[must_use]
    pub fn event(&self) -> Event {
        match &self.missed {
            None => Event::SetpointConfirmed {
                device: self.device,
                stage: self.stage,
                after_s: self.after.as_secs_f64(),
                atom: self.atom.to_string(),
            },
            Some(why) => Event::SetpointMissed {
                device: self.device,
                stage: self.stage,
                why: why.clone(),
                atom: self.atom.to_string(),
            },
        }
    }
}

/// How close measured power must come, as a share of the rating, and at least.
/// Chosen: 3 % and 60 W: three times the accuracy class of the bench's meters, and above the
/// idle draw of an inverter.
const POWER_SHARE: f64 = 0.03;
const POWER_AT_LEAST: ActivePower = ActivePower::from_watts(60.0);
/// How long power may take to follow a proved register.
/// Chosen: 10 s, twice the slowest open-loop response of the bundled inverters.
const POWER_WITHIN: Duration = Duration::from_secs(10);

/// The setpoints under way, at most one per device: a newer one takes the place of the older.
#[derive(Debug, Default)]
pub struct Tracker {
    flights: BTreeMap<DeviceIx, Flight>,
    next: u64,
}

impl Tracker {
    /// The number of the next dispatch.
    pub fn number(&mut self) -> DispatchId {
        self.next += 1;
        DispatchId(self.next)
    }

    /// A setpoint has left for its bus.
    pub fn sent(
        &mut self,
        device: DeviceIx,
        dispatch: DispatchId,
        atom: AtomId,
        setpoint: Setpoint,
        now: Instant,
    ) {
        self.flights.insert(
            device,
            Flight {
                dispatch,
                atom,
                setpoint,
                sent_at: now,
                register_at: None,
            },
        );
    }

    /// Takes in what a bus says about a write; what it says about a superseded one is passed over.
    pub fn heard(&mut self, now: Instant, event: &LinkEvent) -> Option<Progress> {
        match event {
            LinkEvent::Confirmed {
                dispatch,
                device,
                stage: Stage::Register,
                at,
            } => {
                let flight = self.flight(*device, *dispatch)?;
                flight.register_at = Some(*at);
                let (atom, after) = (flight.atom, at.since(flight.sent_at));
                Some(Progress {
                    device: *device,
                    atom,
                    stage: Stage::Register,
                    missed: None,
                    measured: None,
                    at: *at,
                    after,
                })
            }
            LinkEvent::Missed {
                dispatch,
                device,
                stage,
                why,
            } => {
                let flight = self.flight(*device, *dispatch)?.clone();
                self.flights.remove(device);
                Some(Progress {
                    device: *device,
                    atom: flight.atom,
                    stage: *stage,
                    missed: Some(why.clone()),
                    measured: None,
                    at: now,
                    after: now.since(flight.sent_at),
                })
            }
            _ => None,
        }
    }

    fn flight(&mut self, device: DeviceIx, dispatch: DispatchId) -> Option<&mut Flight> {
        self.flights
            .get_mut(&device)
            .filter(|f| f.dispatch == dispatch)
    }

    /// Looks whether measured power or position has followed.
    ///
    /// In an island a storage or set that forms carries what the island needs and not its setpoint:
    /// there its power proves nothing and its register is the last proof.
    pub fn look(
        &mut self,
        now: Instant,
        image: &ProcessImage,
        bench: &control::Bench,
        islanded: bool,
    ) -> Vec<Progress> {
        let mut done = Vec::new();
        self.flights.retain(|device, flight| {
            let Some(register_at) = flight.register_at else {
                return true;
            };
            let spec = &bench.devices[device.index()];
            let carries = match spec.role {
                Role::Ess => true,
                Role::Genset => matches!(flight.setpoint, Setpoint::Power { .. }),
                _ => false,
            };
            if islanded && carries {
                return false;
            }
            // An engine warms up and comes into step first, which takes as long as it takes.
            if spec.role == Role::Genset && flight.setpoint == (Setpoint::Switch { on: true }) {
                return false;
            }
            let seen = &image.devices[device.index()];
            // Some devices cannot tell their position: their register is all that there is to see.
            let never_read = Reading::Bad(Flaw::NeverRead);
            let is_switch = matches!(flight.setpoint, Setpoint::Switch { .. });
            if is_switch && seen.switch_on.latest.reading == never_read {
                return false;
            }
            let widest = Quantity::max(spec.rating.p.upper().abs(), spec.rating.p.lower().abs());
            let close = Quantity::max(widest * POWER_SHARE, POWER_AT_LEAST);
            let newer = |at: Instant| at > register_at;
            let (followed, measured, found) = match flight.setpoint {
                Setpoint::Power { p, .. } => match seen.p.last_good {
                    Some((at, measured)) => (
                        newer(at) && (measured - p).abs() <= close,
                        Some(measured),
                        format!("{measured:.1} is not {p:.1}"),
                    ),
                    None => (false, None, "its power was never read".into()),
                },
                Setpoint::Ceiling { p } => match seen.p.last_good {
                    Some((at, measured)) => (
                        newer(at) && measured <= p + close,
                        Some(measured),
                        format!("{measured:.1} is above the ceiling of {p:.1}"),
                    ),
                    None => (false, None, "its power was never read".into()),
                },
                Setpoint::Switch { on } => match seen.switch_on.last_good {
                    Some((at, position)) => (
                        newer(at) && position == on,
                        seen.p.last_good.map(|(_, p)| p),
                        format!("its switch is {}", if position { "closed" } else { "open" }),
                    ),
                    None => (false, None, "its switch was never read".into()),
                },
                Setpoint::Source { f, v, on, .. } => {
                    let (followed, found) = source_followed(seen, (f, v, on), newer);
                    (followed, seen.p.last_good.map(|(_, p)| p), found)
                }
            };
            let late = now.since(register_at) > POWER_WITHIN;
            if followed || late {
                done.push(Progress {
                    device: *device,
                    atom: flight.atom,
                    stage: Stage::Power,
                    missed: (!followed).then(|| {
                        format!(
                            "the setpoint was written and read back, but {} s later {found}; \
                             check whether the device is in remote control and not limited by itself",
                            POWER_WITHIN.as_secs()
                        )
                    }),
                    measured,
                    at: now,
                    after: now.since(flight.sent_at),
                });
            }
            !(followed || late)
        });
        done
    }
}

/// How close the measured frequency and voltage of a source must come.
/// Chosen: 50 mHz, a few times the 10 mHz of a usual meter since its filter still moves, and 2 % of
/// voltage for what the line between the source and its sense point drops.
const SOURCE_F_CLOSE_HZ: f64 = 0.05;
const SOURCE_V_SHARE: f64 = 0.02;

/// Whether a source gives what it was asked for, and what it gives otherwise. While its output is
/// off there is nothing to measure but that.
fn source_followed(
    seen: &DeviceImage,
    (f, v, on): (Option<Frequency>, Option<Voltage>, Option<bool>),
    newer: impl Fn(Instant) -> bool,
) -> (bool, String) {
    let position = seen.switch_on.last_good;
    if let (Some(on), Some((at, position))) = (on, position)
        && (!newer(at) || position != on)
    {
        let word = if position { "on" } else { "off" };
        return (false, format!("its output is {word}"));
    }
    if let Some((at, false)) = position {
        return (newer(at), "its output is off".into());
    }
    if let Some(f) = f {
        match seen.f.last_good {
            Some((at, measured)) => {
                if !newer(at) || (measured - f).abs().as_hertz() > SOURCE_F_CLOSE_HZ {
                    return (false, format!("{measured:.3} is not {f:.3}"));
                }
            }
            None => return (false, "its frequency was never read".into()),
        }
    }
    if let Some(v) = v {
        match seen.v.last_good {
            Some((at, measured)) => {
                if !newer(at) || (measured - v).abs() > v.abs() * SOURCE_V_SHARE {
                    return (false, format!("{measured:.1} is not {v:.1}"));
                }
            }
            None => return (false, "its voltage was never read".into()),
        }
    }
    (true, String::new())
}

#[cfg(test)]
mod tests {
    use control::{Bench, Settings};
    use model::Sample;

    use super::*;

    /// Whether a setpoint whose register was proved is missed, with the position that is seen then and
    /// a power of nothing.
    fn is_missed_of(
        (role, islanded): (Role, bool),
        setpoint: Setpoint,
        seen: Option<bool>,
    ) -> bool {
        let bench = Bench {
            settings: Settings::nominal(Frequency::from_hertz(50.0), Voltage::from_volts(230.0)),
            devices: vec![crate::journal::tests::device("device", role)],
        };
        let device = DeviceIx(0);
        let mut tracker = Tracker::default();
        let dispatch = tracker.number();
        let at = |s: u64| Instant::START + Duration::from_secs(s);
        tracker.sent(device, dispatch, AtomId([7; 32]), setpoint, at(1));
        let confirmed = LinkEvent::Confirmed {
            dispatch,
            device,
            stage: Stage::Register,
            at: at(2),
        };
        assert!(tracker.heard(at(2), &confirmed).is_some());
        let mut image = ProcessImage::unread(1);
        if let Some(on) = seen {
            image.devices[0].switch_on.observe(Sample {
                measured_at: at(3),
                reading: Reading::Good(on),
            });
        }
        image.devices[0].p.observe(Sample {
            measured_at: at(3),
            reading: Reading::Good(ActivePower::ZERO),
        });
        let told = tracker.look(at(20), &image, &bench, islanded);
        told.iter().any(|progress| progress.missed.is_some())
    }

    fn is_missed(seen: Option<bool>) -> bool {
        is_missed_of((Role::Load, false), Setpoint::Switch { on: true }, seen)
    }

    #[test]
    fn the_power_of_what_forms_an_island_proves_no_setpoint() {
        let power = Setpoint::Power {
            p: ActivePower::from_kilowatts(5.0),
            q: quantities::ReactivePower::ZERO,
        };
        for (role, islanded, missed) in [
            (Role::Ess, true, false),
            (Role::Ess, false, true),
            (Role::Genset, true, false),
            (Role::Genset, false, true),
            (Role::Load, true, true),
        ] {
            let found = is_missed_of((role, islanded), power, None);
            assert_eq!(found, missed, "{role:?}, islanded: {islanded}");
        }
        let off = Setpoint::Switch { on: false };
        assert!(is_missed_of((Role::Genset, true), off, Some(true)));
    }

    #[test]
    fn a_switch_that_is_seen_where_it_was_is_missed_and_one_that_cannot_be_seen_is_not() {
        assert!(is_missed(Some(false)));
        assert!(!is_missed(Some(true)));
        assert!(!is_missed(None));
    }
}
