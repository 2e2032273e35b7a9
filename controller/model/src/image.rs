//! The process image: what every device said, frozen at one instant.

use quantities::{
    ActivePower, Current, Frequency, PhaseAngle, ReactivePower, StateOfCharge, Temperature, Voltage,
};
use serde::{Deserialize, Serialize};

use crate::sample::{PointSample, Signal};
use crate::{Instant, Point};

/// Whether a device can be talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// Nothing was heard yet.
    Unknown,
    /// It answers.
    Online,
    /// It has stopped answering.
    Offline,
}

/// What one device said.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceImage {
    /// Whether it can be talked to.
    pub link: Link,
    /// Active power.
    pub p: Signal<ActivePower>,
    /// Reactive power.
    pub q: Signal<ReactivePower>,
    /// Voltage of phase 1.
    pub v: Signal<Voltage>,
    /// Frequency.
    pub f: Signal<Frequency>,
    /// State of charge.
    pub soc: Signal<StateOfCharge>,
    /// Battery voltage.
    pub battery_v: Signal<Voltage>,
    /// Battery temperature.
    pub battery_t: Signal<Temperature>,
    /// Largest charge current that the battery allows.
    pub charge_i_max: Signal<Current>,
    /// Largest discharge current that the battery allows.
    pub discharge_i_max: Signal<Current>,
    /// Switch or breaker position.
    pub switch_on: Signal<bool>,
    /// Voltage on the utility side of a breaker.
    pub grid_v: Signal<Voltage>,
    /// Frequency on the utility side of a breaker.
    pub grid_f: Signal<Frequency>,
    /// Angle across a breaker.
    pub sync_angle: Signal<PhaseAngle>,
}

impl DeviceImage {
    /// A device that has said nothing yet.
    #[must_use]
    pub fn unread() -> Self {
        Self {
            link: Link::Unknown,
            p: Signal::unread(),
            q: Signal::unread(),
            v: Signal::unread(),
            f: Signal::unread(),
            soc: Signal::unread(),
            battery_v: Signal::unread(),
            battery_t: Signal::unread(),
            charge_i_max: Signal::unread(),
            discharge_i_max: Signal::unread(),
            switch_on: Signal::unread(),
            grid_v: Signal::unread(),
            grid_f: Signal::unread(),
            sync_angle: Signal::unread(),
        }
    }

    /// Whether a point has a place in the image: control looks at it.
    #[must_use]
    pub fn has(point: Point) -> bool {
        let mut device = Self::unread();
        let read = crate::Sample {
            measured_at: Instant::START,
            reading: crate::Reading::Good(1.0),
        };
        device.observe(point, read);
        device != Self::unread()
    }

    /// Takes in a sample of one of the points that control uses; others pass by.
    pub fn observe(&mut self, point: Point, sample: crate::Sample<f64>) {
        macro_rules! take {
            ($field:ident, $from:expr) => {
                self.$field.observe(crate::Sample {
                    measured_at: sample.measured_at,
                    reading: sample.reading.map($from),
                })
            };
        }
        match point {
            Point::ActivePower => take!(p, ActivePower::from_watts),
            Point::ReactivePower => take!(q, ReactivePower::from_vars),
            Point::VoltageL1 => take!(v, Voltage::from_volts),
            Point::Frequency => take!(f, Frequency::from_hertz),
            Point::StateOfCharge => take!(soc, StateOfCharge::from_fraction),
            Point::BatteryVoltage => take!(battery_v, Voltage::from_volts),
            Point::BatteryTemperature => take!(battery_t, Temperature::from_celsius),
            Point::ChargeCurrentMax => take!(charge_i_max, Current::from_amperes),
            Point::DischargeCurrentMax => take!(discharge_i_max, Current::from_amperes),
            Point::SwitchOn => take!(switch_on, |v| v >= 0.5),
            Point::GridVoltage => take!(grid_v, Voltage::from_volts),
            Point::GridFrequency => take!(grid_f, Frequency::from_hertz),
            Point::SyncAngle => take!(sync_angle, PhaseAngle::from_degrees),
            _ => {}
        }
    }
}

/// What the whole bench said, frozen at one instant: no control function sees half-new data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessImage {
    /// When the image was frozen.
    pub taken_at: Instant,
    /// One image per device, in the order of the rig.
    pub devices: Vec<DeviceImage>,
}

impl ProcessImage {
    /// An image of so many devices that have said nothing yet.
    #[must_use]
    pub fn unread(devices: usize) -> Self {
        Self {
            taken_at: Instant::START,
            devices: vec![DeviceImage::unread(); devices],
        }
    }

    /// Takes in a sample; one for a device outside the rig is ignored.
    pub fn observe(&mut self, sample: PointSample) {
        if let Some(device) = self.devices.get_mut(sample.device.index()) {
            device.observe(sample.point, sample.sample);
        }
    }
}
