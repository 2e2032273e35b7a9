//! Characteristics that a device follows by itself, once it has adopted them.
//!
//! An inverter answers to voltage and frequency within a second, also when nobody controls it.
//! Which law it follows is a setting of the device, not a setpoint: it stays until it is replaced.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A characteristic, in per unit unless it is said otherwise.
///
/// Voltages are in per unit of nominal, active power in per unit of the largest active power,
/// reactive power in per unit of the largest apparent power; positive = into the bus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Characteristic {
    /// Reactive power of the voltage: (v, q).
    VoltVar(Vec<(f64, f64)>),
    /// Ceiling of active power of the voltage: (v, p).
    VoltWatt(Vec<(f64, f64)>),
    /// Reactive power of the active power: (p, q).
    WattVar(Vec<(f64, f64)>),
    /// Active power of the frequency.
    FreqDroop(Droop),
    /// Reactive power in a fixed proportion to the active power.
    PowerFactor {
        /// Cosine of the angle, above 0 up to 1.
        pf: f64,
        /// Takes reactive power (under-excited); gives it otherwise.
        absorbs: bool,
    },
}

/// Answer of active power to the frequency.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Droop {
    /// Dead band above nominal, in hertz.
    pub db_over_hz: f64,
    /// Dead band below nominal, in hertz.
    pub db_under_hz: f64,
    /// Change of frequency per change of power above the band, both in per unit.
    pub k_over: f64,
    /// As `k_over`, below the band.
    pub k_under: f64,
}

/// Why numbers do not make a characteristic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotACharacteristic {
    /// A number is not finite.
    NotFinite,
    /// A curve has no point at all.
    Empty,
    /// A point stands left of the one before it; counted from one.
    NotAscending(usize),
    /// A number lies where no device would follow it; which, and between what.
    Outside(&'static str, &'static str),
}

impl fmt::Display for NotACharacteristic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFinite => f.write_str("a number of it is not finite"),
            Self::Empty => f.write_str("it has no point"),
            Self::NotAscending(point) => {
                write!(f, "point {point} stands left of the one before it")
            }
            Self::Outside(what, range) => write!(f, "{what} must lie in {range}"),
        }
    }
}

impl Characteristic {
    /// The name, as on the command line.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::VoltVar(_) => "volt-var",
            Self::VoltWatt(_) => "volt-watt",
            Self::WattVar(_) => "watt-var",
            Self::FreqDroop(_) => "freq-droop",
            Self::PowerFactor { .. } => "power-factor",
        }
    }

    /// Whether a device could follow it at all.
    ///
    /// # Errors
    /// See [`NotACharacteristic`].
    pub fn check(&self) -> Result<(), NotACharacteristic> {
        use NotACharacteristic::Outside;
        let within = |value: f64, lower: f64, upper: f64, what, range| {
            if !value.is_finite() {
                Err(NotACharacteristic::NotFinite)
            } else if (lower..=upper).contains(&value) {
                Ok(())
            } else {
                Err(Outside(what, range))
            }
        };
        // Voltages beyond this are past every trip.
        let voltage = |v: f64| within(v, 0.5, 1.5, "a voltage", "0.5..1.5");
        let signed = |x: f64, what| within(x, -1.0, 1.0, what, "-1..1");
        match self {
            Self::VoltVar(points) => curve(points, &voltage, &|q| signed(q, "a reactive power")),
            Self::VoltWatt(points) => curve(points, &voltage, &|p| signed(p, "a power")),
            Self::WattVar(points) => curve(points, &|p| signed(p, "a power"), &|q| {
                signed(q, "a reactive power")
            }),
            Self::FreqDroop(droop) => {
                for db in [droop.db_over_hz, droop.db_under_hz] {
                    within(db, 0.0, 5.0, "a dead band", "0..5 Hz")?;
                }
                for k in [droop.k_over, droop.k_under] {
                    within(k, 0.001, 1.0, "a droop", "0.001..1")?;
                }
                Ok(())
            }
            Self::PowerFactor { pf, .. } => within(*pf, 0.1, 1.0, "a power factor", "0.1..1"),
        }
    }
}

type Check<'c> = &'c dyn Fn(f64) -> Result<(), NotACharacteristic>;

fn curve(points: &[(f64, f64)], x: Check<'_>, y: Check<'_>) -> Result<(), NotACharacteristic> {
    if points.is_empty() {
        return Err(NotACharacteristic::Empty);
    }
    for point in points {
        x(point.0)?;
        y(point.1)?;
    }
    match points.windows(2).position(|pair| pair[1].0 < pair[0].0) {
        Some(at) => Err(NotACharacteristic::NotAscending(at + 2)),
        None => Ok(()),
    }
}

impl fmt::Display for Characteristic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name())?;
        match self {
            Self::VoltVar(points) | Self::VoltWatt(points) | Self::WattVar(points) => {
                for (n, (x, y)) in points.iter().enumerate() {
                    write!(f, "{}{x}:{y}", if n == 0 { " " } else { "," })?;
                }
                Ok(())
            }
            Self::FreqDroop(droop) => write!(
                f,
                " over {} Hz / {}, under {} Hz / {}",
                droop.db_over_hz, droop.k_over, droop.db_under_hz, droop.k_under
            ),
            Self::PowerFactor { pf, absorbs } => {
                write!(
                    f,
                    " {pf} {}",
                    if *absorbs { "absorbing" } else { "injecting" }
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_device_could_follow_is_a_characteristic() {
        use NotACharacteristic::{Empty, NotAscending, NotFinite, Outside};
        let droop = Droop {
            db_over_hz: 0.036,
            db_under_hz: 0.036,
            k_over: 0.05,
            k_under: 0.05,
        };
        let flat = Droop {
            k_over: 0.0,
            ..droop
        };
        let pf = |pf| Characteristic::PowerFactor { pf, absorbs: true };
        let rows = [
            (
                Characteristic::VoltVar(vec![(0.92, 0.44), (1.08, -0.44)]),
                Ok(()),
            ),
            (Characteristic::VoltVar(vec![]), Err(Empty)),
            (
                Characteristic::VoltVar(vec![(0.92, f64::NAN)]),
                Err(NotFinite),
            ),
            (
                Characteristic::VoltVar(vec![(0.92, 0.0), (1.0, 0.0), (0.99, 0.0)]),
                Err(NotAscending(3)),
            ),
            // Percent taken for per unit.
            (
                Characteristic::VoltVar(vec![(92.0, 0.44)]),
                Err(Outside("a voltage", "0.5..1.5")),
            ),
            (
                Characteristic::WattVar(vec![(0.5, 1.2)]),
                Err(Outside("a reactive power", "-1..1")),
            ),
            (Characteristic::FreqDroop(droop), Ok(())),
            (
                Characteristic::FreqDroop(flat),
                Err(Outside("a droop", "0.001..1")),
            ),
            (pf(0.95), Ok(())),
            (pf(0.0), Err(Outside("a power factor", "0.1..1"))),
        ];
        for (characteristic, expected) in rows {
            assert_eq!(characteristic.check(), expected, "{characteristic}");
        }
    }
}
