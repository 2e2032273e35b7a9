//! What a rig means to the control core and to the buses.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bus::mqtt::link::{Broker, Trust};
use bus::{BusDevice, BusSpec, Endpoint, LimitOf};
use control::Bench;
use document::{Actor, Diagnostic};
use model::{
    DeviceImage, DeviceIx, DeviceSpec, Point, Rating, Role, SourceRating, TemperatureRating,
};
use profile::Protocol;
use profile::modbus::{CommsLoss, FieldValue, Poll};
use quantities::{ActivePower, ApparentPower, Bounds, PowerRamp, Quantity, StateOfCharge};

use crate::telemetry::{HomeConfig, HomeDevice, InfluxConfig};

use super::{BrokerAddress, BusKind, CanUri, Rig, RigDevice, Site};

/// Samples count as fresh for this many poll periods: a usual rule of supervisory control is that no
/// value older than three polls is used. Two lost answers in a row do not make a device unknown.
const FRESH_PERIODS: u32 = 3;
/// Shortest age that counts as stale: below it, one late answer would blind the controller.
/// Chosen: 1 s, twice the longest time-out of the bundled profiles.
const FRESH_AT_LEAST: Duration = Duration::from_secs(1);

impl RigDevice {
    /// Within which time the device falls back by itself when it hears nothing, as rig and profile say;
    /// `None` for one that holds what it was told. Of several controls the slowest counts.
    #[must_use]
    pub fn falls_back_within(&self) -> Option<Duration> {
        let of_loss = |loss: CommsLoss| match loss {
            CommsLoss::Reverts { after } => Some(after),
            CommsLoss::Holds => None,
        };
        match &self.profile.protocol {
            Protocol::Modbus(modbus) => modbus
                .controls
                .iter()
                .filter(|c| c.point != Point::ReactivePowerSet)
                .filter_map(|c| {
                    let told = c
                        .fields
                        .iter()
                        .any(|f| f.value == FieldValue::RevertSeconds);
                    // A rig's wish counts only where the device has a register for it.
                    self.revert.filter(|_| told).or(of_loss(c.comms_loss))
                })
                .max(),
            Protocol::Mqtt(mqtt) => mqtt.commands.iter().filter_map(|c| c.revert).max(),
            Protocol::Can(can) => can
                .controls
                .iter()
                .filter_map(|c| of_loss(c.comms_loss))
                .max(),
            Protocol::Scpi(_) => None,
        }
    }
}

impl Rig {
    /// The index of a device by name.
    #[must_use]
    pub fn device(&self, name: &str) -> Option<DeviceIx> {
        self.devices
            .iter()
            .position(|d| &*d.id == name)
            .map(device_ix)
    }

    /// The rig as the control core sees it.
    #[must_use]
    pub fn bench(&self) -> Bench {
        Bench {
            settings: self.control.clone(),
            devices: self.devices.iter().map(|d| spec(d, &self.site)).collect(),
        }
    }

    /// The devices of a bus, as the bus is told.
    #[must_use]
    pub fn devices_on(&self, bus: usize) -> Vec<BusDevice> {
        self.devices
            .iter()
            .enumerate()
            .filter(|(_, d)| d.bus == bus)
            .map(|(index, d)| BusDevice {
                ix: device_ix(index),
                id: Arc::clone(&d.id),
                profile: Arc::clone(&d.profile),
                unit: d.unit,
                topic: d.topic.clone(),
                revert: d.revert,
                poll: d.poll,
                keep_alives: d.keep_alives,
                limits: limits(d),
            })
            .collect()
    }

    /// The rig's own name at a broker: its title in letters, digits and hyphens.
    #[must_use]
    pub fn node(&self) -> String {
        let words = self.title.split(|c: char| !c.is_ascii_alphanumeric());
        let words: Vec<String> = words
            .filter(|word| !word.is_empty())
            .map(str::to_ascii_lowercase)
            .collect();
        if words.is_empty() {
            "bench".to_owned()
        } else {
            words.join("-")
        }
    }

    /// Topic on which a broker keeps whether we are connected to it by this bus.
    #[must_use]
    pub fn status_topic(&self, bus: &str) -> String {
        format!("gridrig/{}/{bus}/status", self.node())
    }

    /// The telemetry server, with its token fetched and its spool in a run folder.
    ///
    /// # Errors
    /// R022 or R023 when token or authority are not where the rig says.
    pub fn telemetry_server(
        &self,
        run_dir: &Path,
    ) -> Result<Option<InfluxConfig>, Box<Diagnostic>> {
        let Some(server) = &self.influx else {
            return Ok(None);
        };
        let token = server.token.as_ref();
        let token = token.map(|t| t.read("the telemetry token")).transpose()?;
        let ca = server.ca.as_deref();
        let authority = |ca| read_pem(ca, "the telemetry server's certificate authority");
        Ok(Some(InfluxConfig {
            url: server.url.clone(),
            api: server.api,
            org: server.org.clone(),
            bucket: server.bucket.clone(),
            token,
            ca_pem: ca.map(authority).transpose()?,
            spool_bytes: server.spool_bytes,
            spool_dir: run_dir.join(crate::telemetry::SPOOL_FOLDER),
        }))
    }

    /// What the Home Assistant of the rig is shown, and where.
    ///
    /// # Errors
    /// A diagnostic when a password or certificate is missing.
    pub fn home(&self) -> Result<Option<HomeConfig>, Box<Diagnostic>> {
        let Some(home) = &self.home_assistant else {
            return Ok(None);
        };
        let node = self.node();
        let status = HomeConfig::status_of(&node);
        Ok(Some(HomeConfig {
            broker: broker(&home.broker, "`[telemetry.homeassistant]`", status)?,
            prefix: home.prefix.clone(),
            node,
            every: home.every,
            alarms: self.alarms.iter().map(|a| a.name.clone()).collect(),
            devices: self
                .devices
                .iter()
                .map(|device| HomeDevice {
                    name: device.id.to_string(),
                    title: device.profile.title.clone(),
                    points: device
                        .profile
                        .points()
                        .into_iter()
                        .map(|point| (point, point_age_max(device, point)))
                        .collect(),
                })
                .collect(),
        }))
    }

    /// The TCP port that the maker of a bus's instrument has chosen.
    fn own_port(&self, bus: usize) -> u16 {
        let of_maker =
            self.devices
                .iter()
                .filter(|d| d.bus == bus)
                .find_map(|d| match &d.profile.protocol {
                    Protocol::Scpi(scpi) => Some(scpi.port),
                    _ => None,
                });
        // Without an instrument nobody dials.
        of_maker.unwrap_or_default()
    }

    /// How a bus of the real bench is opened.
    ///
    /// # Errors
    /// A diagnostic when a password or certificate is missing, or the bus exists only in an
    /// emulated bench.
    pub fn bus_spec(&self, bus: usize, seed: u64) -> Result<BusSpec, Box<Diagnostic>> {
        let rig_bus = &self.buses[bus];
        let endpoint = match &rig_bus.kind {
            BusKind::ModbusTcp { host, port, .. } | BusKind::ModbusRtuTcp { host, port, .. } => {
                Endpoint::Tcp {
                    host: host.clone(),
                    port: *port,
                }
            }
            BusKind::ModbusRtu { port, settings } => Endpoint::Serial {
                path: port.clone(),
                settings: *settings,
            },
            BusKind::Can(CanUri::SocketCan { interface }) => Endpoint::SocketCan {
                interface: interface.clone(),
            },
            BusKind::Can(CanUri::Socketcand {
                host,
                port,
                interface,
            }) => Endpoint::Socketcand {
                host: host.clone(),
                port: *port,
                interface: interface.clone(),
            },
            BusKind::Can(CanUri::Slcan { path, bitrate }) => Endpoint::Slcan {
                path: path.clone(),
                bitrate: *bitrate,
            },
            BusKind::Can(CanUri::Virtual { name, bitrate }) => Endpoint::VirtualCan {
                name: name.clone(),
                bitrate: *bitrate,
            },
            BusKind::ScpiTcp { host, port } => Endpoint::Tcp {
                host: host.clone(),
                port: port.unwrap_or_else(|| self.own_port(bus)),
            },
            BusKind::ScpiSerial { port, settings } => Endpoint::Serial {
                path: port.clone(),
                settings: *settings,
            },
            BusKind::Mqtt(address) => Endpoint::Broker(broker(
                address,
                &format!("bus `{}`", rig_bus.id),
                self.status_topic(&rig_bus.id),
            )?),
        };
        Ok(BusSpec {
            id: Arc::clone(&rig_bus.id),
            framing: rig_bus.kind.framing(),
            endpoint,
            timeout: rig_bus.timeout,
            min_gap: rig_bus.min_gap,
            seed,
        })
    }
}

/// A broker with its secrets; `what` names who is connected to it.
pub(super) fn broker(
    address: &BrokerAddress,
    what: &str,
    status: String,
) -> Result<Broker, Box<Diagnostic>> {
    let trust = match &address.ca {
        None => None,
        Some(ca) => Some(Trust {
            ca_pem: read_pem(ca, "the broker's certificate authority")?,
            client_pem: match &address.own {
                None => None,
                Some((cert, key)) => Some((
                    read_pem(cert, "our own certificate")?,
                    read_pem(key, "the key of our own certificate")?,
                )),
            },
        }),
    };
    Ok(Broker {
        host: address.host.clone(),
        port: address.port,
        login: login(address, what)?,
        trust,
        status: Some(status),
    })
}

fn login(address: &BrokerAddress, what: &str) -> Result<Option<(String, String)>, Box<Diagnostic>> {
    let Some(user) = &address.user else {
        return Ok(None);
    };
    let password = match &address.password_env {
        None => String::new(),
        Some(name) => std::env::var(name).map_err(|_| {
            Box::new(
                Diagnostic::error(
                    "R022",
                    Actor::Operator,
                    format!("the password of {what} is not set"),
                )
                .help(format!("set the environment variable {name}")),
            )
        })?,
    };
    Ok(Some((user.clone(), password)))
}

fn read_pem(path: &std::path::Path, what: &str) -> Result<Vec<u8>, Box<Diagnostic>> {
    std::fs::read(path).map_err(|e| {
        Box::new(
            Diagnostic::error(
                "R023",
                Actor::Operator,
                format!("the file {} cannot be read: {e}", path.display()),
            )
            .help(format!("give the path of {what} in PEM form")),
        )
    })
}

pub(super) fn device_ix(index: usize) -> DeviceIx {
    DeviceIx(u16::try_from(index).expect("a rig has at most 1000 devices (checked at load)"))
}

/// The rig's limits on what can be set.
fn limits(device: &RigDevice) -> Vec<LimitOf> {
    let limit = |point, (low, high): (f64, f64)| LimitOf { point, low, high };
    [
        device.f.map(|f| limit(Point::FrequencySet, ends(f))),
        device.v.map(|v| limit(Point::VoltageSet, ends(v))),
        device.p.map(|p| limit(Point::ActivePowerSet, ends(p))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn ends<Q: Quantity>(bounds: Bounds<Q>) -> (f64, f64) {
    (bounds.lower().base(), bounds.upper().base())
}

pub(super) fn spec(device: &RigDevice, site: &Site) -> DeviceSpec {
    let takes = |point: Point| takes(device, point);
    let p = device
        .p
        .unwrap_or_else(|| Bounds::exactly(ActivePower::ZERO));
    let s_max = device.s.unwrap_or_else(|| {
        ApparentPower::from_volt_amperes(Quantity::max(p.lower().abs(), p.upper().abs()).as_watts())
    });
    DeviceSpec {
        id: (&*device.id).into(),
        role: device.role,
        rating: Rating {
            p,
            s_max,
            // Without a stated ramp a device may move its whole range in one second.
            ramp: device.ramp.unwrap_or_else(|| {
                PowerRamp::from_watts_per_second((p.upper() - p.lower()).as_watts().max(1.0))
            }),
            soc: device.soc.unwrap_or_else(|| {
                Bounds::between(
                    StateOfCharge::from_percent(0.0),
                    StateOfCharge::from_percent(100.0),
                )
            }),
            capacity: device.capacity,
            efficiency: device.efficiency,
            source: match (device.role, device.f, device.v) {
                (Role::Source, Some(f), Some(v)) => Some(SourceRating {
                    f,
                    v,
                    rocof: device.rocof,
                    slew: device.slew,
                    nominal: (site.f, site.v),
                }),
                _ => None,
            },
            temperature: (device.t_charge.is_some() || device.t_discharge.is_some()).then(|| {
                TemperatureRating {
                    charge: device.t_charge.unwrap_or(Bounds::unbounded()),
                    discharge: device.t_discharge.unwrap_or(Bounds::unbounded()),
                }
            }),
        },
        shed: device.shed,
        battery: device.battery.map(device_ix),
        takes_power: takes(Point::ActivePowerSet),
        takes_reactive: takes(Point::ReactivePowerSet),
        takes_ceiling: takes(Point::ActivePowerLimit),
        takes_switch: takes(Point::SwitchOn),
        safe_p: safe(device, &[Point::ActivePowerSet, Point::ActivePowerLimit])
            .map_or(ActivePower::ZERO, ActivePower::from_watts),
        safe_on: safe(device, &[Point::SwitchOn]).map(|on| on >= 0.5),
        forming: device.forming,
        sample_age_max: (sample_period(device) * FRESH_PERIODS).max(FRESH_AT_LEAST),
    }
}

/// The value for a safe end that the profile gives the first of these points that it can set.
fn safe(device: &RigDevice, points: &[Point]) -> Option<f64> {
    match &device.profile.protocol {
        Protocol::Modbus(modbus) => points
            .iter()
            .find_map(|p| modbus.controls.iter().find(|c| c.point == *p))
            .map(|c| c.safe),
        Protocol::Mqtt(mqtt) => points
            .iter()
            .find_map(|p| mqtt.commands.iter().find(|c| c.point == *p))
            .map(|c| c.safe),
        Protocol::Can(can) => points
            .iter()
            .find_map(|p| can.controls.iter().find(|c| c.point == *p))
            .map(|c| c.safe),
        Protocol::Scpi(scpi) => points
            .iter()
            .find_map(|p| scpi.controls.iter().find(|c| c.point == *p))
            .and_then(|c| c.safe),
    }
}

/// How often the slowest of the points that control looks at comes.
fn sample_period(device: &RigDevice) -> Duration {
    match &device.profile.protocol {
        Protocol::Modbus(modbus) => {
            polled_for_control(device, modbus.points.iter().map(|p| (p.point, p.poll)))
        }
        Protocol::Scpi(scpi) => {
            polled_for_control(device, scpi.points.iter().map(|p| (p.point, p.poll)))
        }
        Protocol::Can(can) => can
            .frames
            .iter()
            .map(|f| f.period)
            .max()
            .unwrap_or(device.poll.normal),
        Protocol::Mqtt(mqtt) => mqtt
            .requests
            .iter()
            .map(|r| r.every)
            .max()
            .unwrap_or(mqtt.timeout / FRESH_PERIODS),
    }
}

/// The slowest period of what control looks at. What changes as slowly as a temperature and is polled
/// in the slow class does not make everything else of the device old.
fn polled_for_control(device: &RigDevice, points: impl Iterator<Item = (Point, Poll)>) -> Duration {
    let periods = points
        .filter(|(point, _)| DeviceImage::has(*point))
        .filter_map(|(_, poll)| match poll {
            Poll::Fast => Some(device.poll.fast),
            Poll::Normal => Some(device.poll.normal),
            Poll::Slow | Poll::Once => None,
        });
    periods.max().unwrap_or(device.poll.normal)
}

/// Oldest age at which a value of a point still counts; `None` where it is read once.
fn point_age_max(device: &RigDevice, point: Point) -> Option<Duration> {
    let polled = |poll: Poll| match poll {
        Poll::Fast => Some(device.poll.fast),
        Poll::Normal => Some(device.poll.normal),
        Poll::Slow => Some(device.poll.slow),
        Poll::Once => None,
    };
    let age_max = |period: Duration| (period * FRESH_PERIODS).max(FRESH_AT_LEAST);
    match &device.profile.protocol {
        Protocol::Modbus(modbus) => {
            // A point may stand there several times; the device has one of them.
            let places = modbus.points.iter().filter(|p| p.point == point);
            let periods: Option<Vec<Duration>> = places.map(|p| polled(p.poll)).collect();
            periods?.into_iter().max().map(age_max)
        }
        Protocol::Scpi(scpi) => {
            let place = scpi.points.iter().find(|p| p.point == point)?;
            polled(place.poll).map(age_max)
        }
        Protocol::Can(can) => {
            let frames = can.frames.iter();
            let its = frames.filter(|f| f.signals.iter().any(|s| s.point == point));
            its.map(|f| f.timeout).max()
        }
        Protocol::Mqtt(mqtt) => Some(mqtt.timeout),
    }
}

pub(super) fn takes(device: &RigDevice, point: Point) -> bool {
    match &device.profile.protocol {
        Protocol::Modbus(modbus) => modbus.controls.iter().any(|c| c.point == point),
        Protocol::Mqtt(mqtt) => mqtt.commands.iter().any(|c| c.point == point),
        Protocol::Can(can) => can.controls.iter().any(|c| c.point == point),
        Protocol::Scpi(scpi) => scpi.controls.iter().any(|c| c.point == point),
    }
}
