//! The quantities themselves.

use std::fmt;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub, SubAssign};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What all quantities share: a base unit, its symbol, and a value in it.
///
/// Generic code (bounds, parsing, telemetry) goes through this trait; code that
/// knows its quantity uses the constructors that name the unit.
pub trait Quantity: Copy + PartialOrd + fmt::Debug + fmt::Display {
    /// Symbol of the base unit, as printed and parsed.
    const SYMBOL: &'static str;
    /// Symbols accepted besides the base unit, each with its factor to it.
    const MULTIPLES: &'static [(&'static str, f64)];
    /// Builds the quantity from a value in the base unit.
    fn from_base(value: f64) -> Self;
    /// The value in the base unit.
    fn base(self) -> f64;

    /// The smaller of two; an unordered (NaN) pair gives `self`.
    fn min(self, other: Self) -> Self {
        if other < self { other } else { self }
    }
    /// The larger of two; an unordered (NaN) pair gives `self`.
    fn max(self, other: Self) -> Self {
        if other > self { other } else { self }
    }
    /// The magnitude, without sign.
    fn abs(self) -> Self {
        Self::from_base(self.base().abs())
    }
    /// Whether the value is a number (neither NaN nor infinite).
    fn is_finite(self) -> bool {
        self.base().is_finite()
    }
}

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $symbol:literal, [$(($multiple:literal, $factor:expr)),*],
     $($(#[$ctor_doc:meta])* $from:ident / $as:ident = $scale:expr),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(f64);

        impl $name {
            /// None of it.
            pub const ZERO: Self = Self(0.0);
            $(
                #[doc = concat!("Builds the quantity; the argument's unit is in the name.")]
                #[must_use]
                pub const fn $from(value: f64) -> Self { Self(value * $scale) }
                #[doc = concat!("The value in the unit that the name says.")]
                #[must_use]
                pub const fn $as(self) -> f64 { self.0 / $scale }
            )+
        }

        impl Quantity for $name {
            const SYMBOL: &'static str = $symbol;
            const MULTIPLES: &'static [(&'static str, f64)] = &[$(($multiple, $factor)),*];
            fn from_base(value: f64) -> Self { Self(value) }
            fn base(self) -> f64 { self.0 }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let (value, symbol) = readable(self.0, $symbol, Self::MULTIPLES);
                if let Some(precision) = f.precision() {
                    write!(f, "{value:.precision$} {symbol}")
                } else {
                    write!(f, "{value} {symbol}")
                }
            }
        }
    };
}

macro_rules! additive {
    ($($name:ident),+) => {$(
        impl Add for $name { type Output = Self; fn add(self, o: Self) -> Self { Self(self.0 + o.0) } }
        impl Sub for $name { type Output = Self; fn sub(self, o: Self) -> Self { Self(self.0 - o.0) } }
        impl Neg for $name { type Output = Self; fn neg(self) -> Self { Self(-self.0) } }
        impl AddAssign for $name { fn add_assign(&mut self, o: Self) { self.0 += o.0; } }
        impl SubAssign for $name { fn sub_assign(&mut self, o: Self) { self.0 -= o.0; } }
        impl Mul<f64> for $name { type Output = Self; fn mul(self, k: f64) -> Self { Self(self.0 * k) } }
        impl Div<f64> for $name { type Output = Self; fn div(self, k: f64) -> Self { Self(self.0 / k) } }
        /// The ratio of two of a kind is a plain number.
        impl Div for $name { type Output = f64; fn div(self, o: Self) -> f64 { self.0 / o.0 } }
        impl std::iter::Sum for $name { fn sum<I: Iterator<Item = Self>>(i: I) -> Self { i.fold(Self(0.0), Add::add) } }
    )+};
}

/// Picks the multiple that a person would write: `2500 W` is `2.5 kW`.
fn readable(
    value: f64,
    symbol: &'static str,
    multiples: &'static [(&'static str, f64)],
) -> (f64, &'static str) {
    let magnitude = value.abs();
    let mut best = (value, symbol, 1.0_f64);
    for &(multiple, factor) in multiples {
        let fits = magnitude >= factor && factor > best.2;
        if fits {
            best = (value / factor, multiple, factor);
        }
    }
    (best.0, best.1)
}

quantity!(
    /// Active power, watt base. Positive = from the device into the AC bus.
    ActivePower, "W", [("kW", 1e3), ("MW", 1e6)],
    from_watts / as_watts = 1.0,
    from_kilowatts / as_kilowatts = 1e3
);
quantity!(
    /// Reactive power, var base. Positive = from the device into the AC bus (over-excited).
    ReactivePower, "var", [("kvar", 1e3)],
    from_vars / as_vars = 1.0,
    from_kilovars / as_kilovars = 1e3
);
quantity!(
    /// Apparent power, volt-ampere base; a magnitude, never negative.
    ApparentPower, "VA", [("kVA", 1e3)],
    from_volt_amperes / as_volt_amperes = 1.0,
    from_kilovolt_amperes / as_kilovolt_amperes = 1e3
);
quantity!(
    /// Voltage, volt base, line to neutral unless a name says otherwise.
    Voltage, "V", [("kV", 1e3)],
    from_volts / as_volts = 1.0
);
quantity!(
    /// Rate of change of voltage, volt per second.
    VoltageRate, "V/s", [("kV/s", 1e3)],
    from_volts_per_second / as_volts_per_second = 1.0
);
quantity!(
    /// Current, ampere base. Positive as for power.
    Current, "A", [("kA", 1e3)],
    from_amperes / as_amperes = 1.0
);
quantity!(
    /// Frequency, hertz base.
    Frequency, "Hz", [],
    from_hertz / as_hertz = 1.0
);
quantity!(
    /// Rate of change of frequency, hertz per second.
    FrequencyRate, "Hz/s", [],
    from_hertz_per_second / as_hertz_per_second = 1.0
);
quantity!(
    /// Rate of change of active power, watt per second.
    PowerRamp, "W/s", [("kW/s", 1e3)],
    from_watts_per_second / as_watts_per_second = 1.0
);
quantity!(
    /// Energy, watt-hour base.
    Energy, "Wh", [("kWh", 1e3)],
    from_watt_hours / as_watt_hours = 1.0,
    from_kilowatt_hours / as_kilowatt_hours = 1e3
);
quantity!(
    /// State of charge as a fraction of usable capacity, 0 to 1; written in percent.
    StateOfCharge, "1", [],
    from_fraction / as_fraction = 1.0,
    from_percent / as_percent = 0.01
);
quantity!(
    /// Phase angle, degree base.
    PhaseAngle, "deg", [],
    from_degrees / as_degrees = 1.0
);
quantity!(
    /// Temperature, degree Celsius base.
    Temperature, "degC", [],
    from_celsius / as_celsius = 1.0
);

additive!(
    ActivePower,
    ReactivePower,
    Voltage,
    Current,
    Frequency,
    FrequencyRate,
    VoltageRate,
    PowerRamp,
    Energy,
    PhaseAngle
);

impl ApparentPower {
    /// The apparent power of an active and a reactive part: the only road from P and Q to S.
    #[must_use]
    pub fn of(p: ActivePower, q: ReactivePower) -> Self {
        Self(p.0.hypot(q.0))
    }
}

impl Mul<Duration> for ActivePower {
    type Output = Energy;
    /// Energy moved at this power during a time.
    fn mul(self, time: Duration) -> Energy {
        Energy(self.0 * time.as_secs_f64() / 3600.0)
    }
}

impl Div<Duration> for Energy {
    type Output = ActivePower;
    /// Mean power that moves this energy during a time.
    fn div(self, time: Duration) -> ActivePower {
        ActivePower(self.0 * 3600.0 / time.as_secs_f64())
    }
}

impl Mul<Duration> for PowerRamp {
    type Output = ActivePower;
    /// Change of power at this ramp during a time.
    fn mul(self, time: Duration) -> ActivePower {
        ActivePower(self.0 * time.as_secs_f64())
    }
}

impl Mul<Duration> for FrequencyRate {
    type Output = Frequency;
    /// Change of frequency at this rate during a time.
    fn mul(self, time: Duration) -> Frequency {
        Frequency(self.0 * time.as_secs_f64())
    }
}

impl Mul<Duration> for VoltageRate {
    type Output = Voltage;
    /// Change of voltage at this rate during a time.
    fn mul(self, time: Duration) -> Voltage {
        Voltage(self.0 * time.as_secs_f64())
    }
}

impl Div<Duration> for Frequency {
    type Output = FrequencyRate;
    /// Mean rate of a frequency change over a time.
    fn div(self, time: Duration) -> FrequencyRate {
        FrequencyRate(self.0 / time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_kilowatts_for_a_quarter_of_an_hour_are_750_watt_hours() {
        let energy = ActivePower::from_kilowatts(3.0) * Duration::from_secs(900);
        assert_eq!(energy.as_watt_hours(), 750.0);
        assert_eq!(
            (energy / Duration::from_secs(900)).as_kilowatts(),
            3.0,
            "and back"
        );
    }

    #[test]
    fn apparent_power_is_the_hypotenuse() {
        let s = ApparentPower::of(ActivePower::from_watts(-3.0), ReactivePower::from_vars(4.0));
        assert_eq!(s.as_volt_amperes(), 5.0);
    }

    #[test]
    fn a_quantity_prints_in_the_multiple_a_person_would_write() {
        let rows = [
            (2500.0, "2.5 kW"),
            (-2500.0, "-2.5 kW"),
            (12.0, "12 W"),
            (3.2e6, "3.2 MW"),
            (0.0, "0 W"),
        ];
        for (watts, text) in rows {
            assert_eq!(ActivePower::from_watts(watts).to_string(), text);
        }
    }
}
