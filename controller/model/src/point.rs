//! The canonical points: every profile maps a vendor's registers to these names.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! points {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $unit:literal;)+) => {
        /// A canonical point of a device. Sign: positive = into the AC bus.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Point {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)+
        }

        impl Point {
            /// All points, in the order of the reference page.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The canonical name, as in profiles, rigs, scenarios and telemetry.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The base unit of the value; `1` for a fraction, a state or a switch.
            #[must_use]
            pub const fn unit(self) -> &'static str {
                match self { $(Self::$variant => $unit,)+ }
            }
        }
    };
}

points! {
    /// Active power, total.
    ActivePower = "ac.p", "W";
    /// Reactive power, total.
    ReactivePower = "ac.q", "var";
    /// Apparent power, total.
    ApparentPower = "ac.s", "VA";
    /// Power factor.
    PowerFactor = "ac.pf", "1";
    /// Frequency.
    Frequency = "ac.f", "Hz";
    /// Voltage of phase 1 to neutral.
    VoltageL1 = "ac.v.l1", "V";
    /// Voltage of phase 2 to neutral.
    VoltageL2 = "ac.v.l2", "V";
    /// Voltage of phase 3 to neutral.
    VoltageL3 = "ac.v.l3", "V";
    /// Current of phase 1.
    CurrentL1 = "ac.i.l1", "A";
    /// Current of phase 2.
    CurrentL2 = "ac.i.l2", "A";
    /// Current of phase 3.
    CurrentL3 = "ac.i.l3", "A";
    /// Active power of phase 1.
    ActivePowerL1 = "ac.p.l1", "W";
    /// Active power of phase 2.
    ActivePowerL2 = "ac.p.l2", "W";
    /// Active power of phase 3.
    ActivePowerL3 = "ac.p.l3", "W";
    /// Energy taken from the AC bus, counter.
    EnergyImport = "ac.e_imp", "Wh";
    /// Energy given to the AC bus, counter.
    EnergyExport = "ac.e_exp", "Wh";
    /// Voltage of the DC side.
    DcVoltage = "dc.v", "V";
    /// Current of the DC side.
    DcCurrent = "dc.i", "A";
    /// Power of the DC side.
    DcPower = "dc.p", "W";
    /// Voltage of the first string of modules.
    StringVoltage1 = "dc.v.1", "V";
    /// Voltage of the second string of modules.
    StringVoltage2 = "dc.v.2", "V";
    /// Current of the first string of modules.
    StringCurrent1 = "dc.i.1", "A";
    /// Current of the second string of modules.
    StringCurrent2 = "dc.i.2", "A";
    /// Power of the first string of modules.
    StringPower1 = "dc.p.1", "W";
    /// Power of the second string of modules.
    StringPower2 = "dc.p.2", "W";
    /// State of charge of a battery, as a fraction.
    StateOfCharge = "bat.soc", "1";
    /// State of health of a battery, as a fraction.
    StateOfHealth = "bat.soh", "1";
    /// Battery voltage.
    BatteryVoltage = "bat.v", "V";
    /// Battery current, positive = discharging.
    BatteryCurrent = "bat.i", "A";
    /// Battery temperature.
    BatteryTemperature = "bat.t", "degC";
    /// Largest charge current that the battery allows now.
    ChargeCurrentMax = "bat.lim.cha_i", "A";
    /// Largest discharge current that the battery allows now.
    DischargeCurrentMax = "bat.lim.dis_i", "A";
    /// Highest charge voltage that the battery allows.
    ChargeVoltageMax = "bat.lim.cha_v", "V";
    /// Lowest discharge voltage that the battery allows.
    DischargeVoltageMin = "bat.lim.dis_v", "V";
    /// Largest power with which the battery may be charged now.
    ChargePowerMax = "bat.lim.cha_p", "W";
    /// Largest power with which the battery may be discharged now.
    DischargePowerMax = "bat.lim.dis_p", "W";
    /// The battery permits charging.
    ChargeEnabled = "bat.cha_en", "1";
    /// The battery permits discharging.
    DischargeEnabled = "bat.dis_en", "1";
    /// Rated apparent power, from the device's nameplate.
    RatedApparentPower = "rating.s", "VA";
    /// Rated active power, from the device's nameplate.
    RatedActivePower = "rating.p", "W";
    /// Operating state, vendor's or model's enumeration.
    State = "state", "1";
    /// Alarm bits, zero = none.
    Alarm = "alarm", "1";
    /// Warning bits, zero = none.
    Warning = "warning", "1";
    /// Switch, relay or breaker position: 1 = closed or on.
    SwitchOn = "switch.on", "1";
    /// Voltage on the far (utility) side of a coupling breaker.
    GridVoltage = "grid.v", "V";
    /// Frequency on the far (utility) side of a coupling breaker.
    GridFrequency = "grid.f", "Hz";
    /// Angle of the microgrid against the utility across the breaker.
    SyncAngle = "grid.angle", "deg";
    /// Active power setpoint.
    ActivePowerSet = "ctl.p_set", "W";
    /// Active power ceiling.
    ActivePowerLimit = "ctl.p_lim", "W";
    /// Reactive power setpoint.
    ReactivePowerSet = "ctl.q_set", "var";
    /// Frequency setpoint of a source.
    FrequencySet = "ctl.f_set", "Hz";
    /// Voltage setpoint of a source, line to neutral.
    VoltageSet = "ctl.v_set", "V";
    /// Phase angle setpoint of a source.
    PhaseSet = "ctl.phase_set", "deg";
}

impl Point {
    /// Whether it is a setpoint: what a device was told, not what it measures.
    #[must_use]
    pub const fn is_control(self) -> bool {
        matches!(
            self,
            Self::ActivePowerSet | Self::ActivePowerLimit | Self::ReactivePowerSet
        )
    }

    /// The point of a canonical name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|p| p.name() == name)
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_point() {
        for point in Point::ALL {
            assert_eq!(Point::from_name(point.name()), Some(*point));
        }
        assert_eq!(Point::from_name("ac.power"), None);
    }
}
