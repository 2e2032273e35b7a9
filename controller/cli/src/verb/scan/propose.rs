//! A rig made of what was found: every guess is said to be one.
//!
//! Limits come from nameplates and are never wider; a device that moves power and tells no
//! nameplate stands in the file as a comment, for a person to complete.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use bus::can::scan::{Candidate as CanCandidate, Traffic};
use bus::modbus::scan::{Candidate, Found, Patience};
use bus::mqtt::scan::Found as Announced;
use bus::scpi::scan::Found as Instrument;
use model::{Point, Role};
use profile::mqtt::Message;
use profile::{Profile, Protocol};
use serde_json::{Value, json};

use super::role::guess;
use super::target::{Target, quoted};
use crate::{budget, timing};

/// Units of a TCP device from which on "all answer alike" means that it does not look at the unit.
/// Chosen: eight; gateways with more devices exist, but hardly ones with all units taken.
const ALL_ALIKE_FROM: usize = 8;
/// Shortest time-out in a proposed rig. Chosen: 200 ms; a scan meets a device at leisure, and a
/// time-out costs nothing while answers come.
const TIMEOUT_MIN: Duration = Duration::from_millis(200);
/// Nominal voltages to neutral, in volts, and how far off a measured one may be.
/// Source: IEC 60038 (230 V, 120 V); tolerance chosen: 15 %, the widest that a service allows.
const NOMINAL_V: [f64; 2] = [230.0, 120.0];
const NOMINAL_V_OFF: f64 = 0.15;
/// How far a healthy supply is off nominal, as fractions of frequency and voltage.
/// Source: EN 50160, 4.2.1 and 4.2.2, as given by secondary sources: 1 % and 10 %.
const SUPPLY_OFF: (f64, f64) = (0.01, 0.10);
/// How busy a proposed bus may be, in percent. Chosen: 80, so that setpoints and second attempts find
/// their place between the reads.
const BUSY_PERCENT_MAX: f64 = 80.0;
/// Periods of fast and normal reads that are proposed in turn where a bus cannot carry the usual ones.
/// Chosen: about twice as long each time, up to what still shows a person that a device is there.
const PERIODS: [(&str, &str); 5] = [
    ("500ms", "2s"),
    ("1s", "5s"),
    ("2s", "10s"),
    ("5s", "20s"),
    ("10s", "60s"),
];
/// Most identifiers and names that a remark lists. Chosen: a screen line or two.
const LISTED_MAX: usize = 16;

/// What was found on a bus.
pub enum Finds {
    Modbus {
        /// The bus with the settings that worked.
        at: Target,
        /// Units that were asked.
        asked: usize,
        /// How they were asked.
        patience: Patience,
        found: Vec<Found>,
    },
    Can(Traffic, Vec<CanCandidate>),
    Mqtt(Vec<Message>, Vec<Announced>),
    Scpi {
        /// The bus with the settings that worked.
        at: Target,
        found: Option<Instrument>,
    },
}

/// Where the limits in a proposed entry come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Limits {
    /// Its keys have them, or it needs none.
    #[default]
    InKeys,
    /// Those of a healthy supply at the site's nominal values: a source tells no nameplate that
    /// could be read without a word that moves it.
    OfSupply,
}

#[derive(Debug, Default)]
struct Device {
    name: String,
    bus: String,
    profile: String,
    keys: Vec<(&'static str, String)>,
    limits: Limits,
    remarks: Vec<String>,
    /// Why it stands in the file as a comment only.
    left_out: Option<String>,
    also: Vec<String>,
}

#[derive(Debug)]
struct Bus {
    name: String,
    keys: Vec<(&'static str, String)>,
    remarks: Vec<String>,
    /// Periods of the fast and the normal reads of its devices, where it cannot carry the usual ones.
    periods: Option<(&'static str, &'static str)>,
}

/// The rig that is proposed.
#[derive(Debug, Default)]
pub struct Proposal {
    buses: Vec<Bus>,
    devices: Vec<Device>,
    names: BTreeMap<&'static str, usize>,
    frequencies: Vec<f64>,
    voltages: Vec<f64>,
    three_phases: bool,
}

impl Proposal {
    /// Takes in what a bus has.
    pub fn add(&mut self, target: &Target, finds: Finds) {
        let name = self.name(target.kind.prefix());
        let mut bus = Bus {
            name: name.clone(),
            keys: target.keys.clone(),
            remarks: Vec::new(),
            periods: None,
        };
        match finds {
            Finds::Modbus {
                at,
                asked,
                patience,
                found,
            } => {
                bus.keys = at.keys;
                self.modbus(&mut bus, asked, patience, &found);
            }
            Finds::Can(traffic, candidates) => self.can(&mut bus, &traffic, &candidates),
            Finds::Mqtt(messages, devices) => self.mqtt(&mut bus, &messages, &devices),
            Finds::Scpi { at, found } => {
                bus.keys = at.keys;
                self.scpi(&mut bus, found.as_ref());
            }
        }
        self.buses.push(bus);
    }

    fn name(&mut self, prefix: &'static str) -> String {
        let number = self.names.entry(prefix).or_default();
        *number += 1;
        format!("{prefix}{number}")
    }

    fn modbus(&mut self, bus: &mut Bus, asked: usize, patience: Patience, found: &[Found]) {
        let slowest = found.iter().map(|f| f.round_trip_max).max();
        if let Some(slowest) = slowest {
            let lost: usize = found.iter().map(|f| f.silences).sum();
            let timeout = timing::timeout(slowest).max(TIMEOUT_MIN);
            let min_gap = timing::min_gap(patience.min_gap, lost as u64);
            bus.remarks.push(format!(
                "The slowest answer took {:.1} ms; {lost} answers were lost with {} of silence before each request.",
                slowest.as_secs_f64() * 1e3,
                timing::text(patience.min_gap)
            ));
            bus.keys.push(("timeout", quoted(&timing::text(timeout))));
            bus.keys.push(("min_gap", quoted(&timing::text(min_gap))));
        }
        let alike = |a: &Found, b: &Found| {
            let ids = |f: &Found| -> Vec<String> {
                let ids = f.candidates.iter().map(|c| c.profile.id.to_string());
                ids.collect()
            };
            a.identity == b.identity && ids(a) == ids(b)
        };
        let ignores_units = asked >= ALL_ALIKE_FROM
            && found.len() == asked
            && found.windows(2).all(|w| alike(&w[0], &w[1]));
        let mut kept: Vec<&Found> = Vec::new();
        for one in found {
            // The same serial number at two units is one device.
            let twin = kept.iter().find(|other| {
                let has_serial =
                    |f: &Found| f.identity.as_ref().is_some_and(|i| !i.serial.is_empty());
                ignores_units || has_serial(one) && one.identity == other.identity
            });
            match twin {
                Some(first) => bus.remarks.push(format!(
                    "Unit {} answers like unit {}: the same device, left out.",
                    one.unit, first.unit
                )),
                None => {
                    kept.push(one);
                    self.unit(bus, one);
                }
            }
        }
    }

    fn unit(&mut self, bus: &mut Bus, found: &Found) {
        let mut remarks = Vec::new();
        if let Some(identity) = &found.identity {
            remarks.push(format!(
                "It says: maker {}, model {}, serial number {}; SunSpec models {}.",
                or_dash(&identity.maker),
                or_dash(&identity.model),
                or_dash(&identity.serial),
                list(identity.models.iter())
            ));
        }
        let Some(best) = found.candidates.first() else {
            let known = match &found.identity {
                Some(_) => format!(" {}", remarks.join(" ")),
                None => String::new(),
            };
            bus.remarks.push(format!(
                "Unit {} answers, but no bundled profile fits: write one (docs/add-a-device.md).{known}",
                found.unit
            ));
            return;
        };
        remarks.push(format!(
            "{} of its {} points were read.",
            best.good(),
            best.readings.len()
        ));
        let also = found.candidates[1..].iter().map(|c| {
            format!(
                "{} ({} of {} points)",
                c.profile.id,
                c.good(),
                c.readings.len()
            )
        });
        self.learn(best);
        let mut device = Device {
            bus: bus.name.clone(),
            keys: vec![("unit", found.unit.to_string())],
            remarks,
            also: also.collect(),
            ..Device::default()
        };
        self.limits(&mut device, &best.profile, best);
        self.settle(device, &best.profile);
    }

    /// Limits within the nameplate, for what moves power.
    fn limits(&self, device: &mut Device, profile: &Profile, read: &Candidate) {
        let watts = |point| read.value(point).filter(|v| *v >= 1.0).map(f64::floor);
        let (rated_p, rated_s) = (
            watts(Point::RatedActivePower),
            watts(Point::RatedApparentPower),
        );
        let p = match (rated_p, rated_s) {
            (Some(p), Some(s)) => Some(p.min(s)),
            (p, s) => p.or(s),
        };
        let moves_power =
            profile.takes(Point::ActivePowerSet) || profile.takes(Point::ActivePowerLimit);
        let Some(p) = p else {
            if moves_power {
                device.left_out = Some(
                    "its nameplate cannot be read: fill in limits.p from the one on its case"
                        .to_owned(),
                );
                device.keys.push(("limits", "{ p = \"0..?W\" }".to_owned()));
            }
            return;
        };
        if !moves_power {
            return;
        }
        device.remarks.push(format!(
            "Its nameplate says {p} W{}.",
            rated_s.map_or(String::new(), |s| format!(" and {s} VA"))
        ));
        let (lower, upper) = match guess(profile).role {
            Role::Load => (-p, 0.0),
            Role::Ess => (-p, p),
            _ => (0.0, p),
        };
        let s = rated_s.map_or(String::new(), |s| format!(", s = \"{s}VA\""));
        let soc = match read.value(Point::StateOfCharge) {
            // Chosen: kind to any battery until a person knows better.
            Some(_) => ", soc = \"20..80%\"",
            None => "",
        };
        device
            .keys
            .push(("limits", format!("{{ p = \"{lower}..{upper}W\"{s}{soc} }}")));
    }

    fn learn(&mut self, read: &Candidate) {
        self.frequencies.extend(read.value(Point::Frequency));
        self.voltages.extend(read.value(Point::VoltageL1));
        self.three_phases |= read.value(Point::VoltageL3).is_some_and(|v| v > 1.0);
    }

    fn settle(&mut self, mut device: Device, profile: &Profile) {
        let guess = guess(profile);
        device.name = self.name(guess.prefix);
        device.profile = profile.id.to_string();
        device.keys.push(("role", quoted(guess.role.name())));
        self.devices.push(device);
    }

    fn can(&mut self, bus: &mut Bus, traffic: &Traffic, candidates: &[CanCandidate]) {
        let hex = |ids: &mut dyn Iterator<Item = &profile::can::CanId>| {
            list(ids.map(|id| match id {
                profile::can::CanId::Standard(id) => format!("{id:03X}"),
                profile::can::CanId::Extended(id) => format!("{id:08X}"),
            }))
        };
        let Some(best) = candidates.first() else {
            bus.remarks.push(match traffic.len() {
                0 => {
                    "Nothing was heard; some batteries are silent until an inverter talks to them."
                        .to_owned()
                }
                _ => format!(
                    "Frames were heard, but no bundled profile fits: {}.",
                    hex(&mut traffic.keys())
                ),
            });
            return;
        };
        let mut remarks = vec![format!(
            "{} of its {} frames were heard{}.",
            best.seen,
            best.seen + best.missing.len(),
            match best.missing.len() {
                0 => String::new(),
                _ => format!(", not {}", hex(&mut best.missing.iter())),
            }
        )];
        if let Protocol::Can(can) = &best.profile.protocol {
            let known = |id: &&profile::can::CanId| {
                can.frames.iter().any(|f| f.id == **id)
                    || can.keep_alive.iter().any(|k| k.id == **id)
            };
            let others: Vec<_> = traffic.keys().filter(|id| !known(id)).collect();
            if !others.is_empty() {
                remarks.push(format!(
                    "Other frames on this bus: {}.",
                    hex(&mut others.into_iter())
                ));
            }
        }
        let also = candidates[1..].iter().map(|c| {
            format!(
                "{} ({} of {} frames)",
                c.profile.id,
                c.seen,
                c.seen + c.missing.len()
            )
        });
        let device = Device {
            bus: bus.name.clone(),
            remarks,
            also: also.collect(),
            ..Device::default()
        };
        self.settle(device, &best.profile);
    }

    fn mqtt(&mut self, bus: &mut Bus, messages: &[Message], devices: &[Announced]) {
        for found in devices {
            let Some((best, seen)) = found.candidates.first() else {
                continue;
            };
            let mut remarks = vec![match seen {
                1 => "One of its topics was heard.".to_owned(),
                _ => format!("{seen} of its topics were heard."),
            }];
            if found.is_away {
                remarks.push("Its last will says that it is away now.".to_owned());
            }
            let also = found.candidates[1..]
                .iter()
                .map(|(profile, seen)| format!("{} ({seen} topics)", profile.id));
            let device = Device {
                bus: bus.name.clone(),
                keys: vec![("topic", quoted(&found.topic))],
                remarks,
                also: also.collect(),
                ..Device::default()
            };
            let device = if best.takes(Point::ActivePowerSet) {
                Device {
                    left_out: Some(
                        "it takes power setpoints and tells no nameplate: fill in limits.p"
                            .to_owned(),
                    ),
                    ..device
                }
            } else {
                device
            };
            self.settle(device, best);
        }
        // The levels of a device's name stand in its topics in their order, not always side by side.
        let known = |topic: &str| {
            devices.iter().any(|found| {
                let mut levels = topic.split('/');
                let mut name = found.topic.split('/');
                name.all(|wanted| levels.any(|level| level == wanted))
            })
        };
        let mut others: Vec<&str> = messages
            .iter()
            .map(|m| m.topic.as_str())
            .filter(|topic| !known(topic))
            .collect();
        others.sort_unstable();
        others.dedup();
        if !others.is_empty() {
            bus.remarks.push(format!(
                "Announced, but not matched: {}.",
                list(others.iter())
            ));
        }
        if messages.is_empty() {
            bus.remarks
                .push("No device has announced itself.".to_owned());
        }
    }

    fn scpi(&mut self, bus: &mut Bus, found: Option<&Instrument>) {
        let Some(found) = found else {
            bus.remarks
                .push("Nobody says who it is when it is asked `*IDN?`.".to_owned());
            return;
        };
        let timeout = timing::timeout(found.round_trip).max(TIMEOUT_MIN);
        bus.keys.push(("timeout", quoted(&timing::text(timeout))));
        let Some((best, others)) = found.candidates.split_first() else {
            bus.remarks.push(format!(
                "It calls itself `{}`, but no bundled profile fits: write one (docs/add-a-device.md).",
                found.identity
            ));
            return;
        };
        let mut device = Device {
            bus: bus.name.clone(),
            remarks: vec![format!("It calls itself `{}`.", found.identity)],
            also: others.iter().map(|p| p.id.to_string()).collect(),
            ..Device::default()
        };
        if best.takes(Point::FrequencySet) {
            device.limits = Limits::OfSupply;
            device.remarks.push(
                "Its limits are those of a healthy supply, not its own: widen them for your test."
                    .to_owned(),
            );
        } else if best.takes(Point::ActivePowerSet) {
            device.left_out = Some(
                "it takes power setpoints and tells no nameplate: fill in limits.p".to_owned(),
            );
            device
                .keys
                .push(("limits", "{ p = \"-?..0kW\" }".to_owned()));
        }
        self.settle(device, best);
    }

    /// Has devices asked more seldom where their bus could not carry what they ask for: by the same
    /// estimate `gridrig check` would warn of it.
    pub fn ease(&mut self) {
        for periods in PERIODS {
            let Ok(rig) = runtime::rig::load_text(Path::new("the proposal"), &self.rig()) else {
                return;
            };
            let crowded: Vec<&str> = (0..rig.buses.len())
                .filter(|bus| {
                    let busy = budget::of_bus(&rig, *bus).busy_percent;
                    busy.is_some_and(|percent| percent > BUSY_PERCENT_MAX)
                })
                .map(|bus| &*rig.buses[bus].id)
                .collect();
            for bus in self
                .buses
                .iter_mut()
                .filter(|b| crowded.contains(&b.name.as_str()))
            {
                bus.periods = Some(periods);
            }
            if crowded.is_empty() {
                return;
            }
        }
    }

    /// Longer periods of the bus of a device, if there are any.
    fn periods(&self, device: &Device) -> Option<(&'static str, &'static str)> {
        self.buses.iter().find(|b| b.name == device.bus)?.periods
    }

    /// The keys of a device, with limits that come from the site and periods that come from its bus.
    fn keys(&self, device: &Device) -> Vec<(&'static str, String)> {
        let mut keys = device.keys.clone();
        if let Some((fast, normal)) = self.periods(device) {
            let periods = format!("{{ fast = \"{fast}\", normal = \"{normal}\" }}");
            keys.push(("poll", periods));
        }
        if device.limits == Limits::OfSupply {
            let (f, v) = (self.nominal_f(), self.nominal_v());
            let (f, v) = (f.unwrap_or(50.0), v.unwrap_or(NOMINAL_V[0]));
            let (df, dv) = (f * SUPPLY_OFF.0, v * SUPPLY_OFF.1);
            let limits = format!(
                "{{ f = \"{:.1}..{:.1}Hz\", v = \"{:.0}..{:.0}V\" }}",
                f - df,
                f + df,
                v - dv,
                v + dv
            );
            keys.push(("limits", limits));
        }
        keys
    }

    /// Devices that the rig has.
    pub fn usable(&self) -> usize {
        self.devices.iter().filter(|d| d.left_out.is_none()).count()
    }

    /// What was seen although it made no device; `None` when nothing was.
    pub fn remarks(&self) -> Option<String> {
        let of_buses = self.buses.iter().flat_map(|bus| {
            let remarks = bus.remarks.iter();
            remarks.map(move |remark| format!("{}: {remark}", bus.name))
        });
        let of_devices = self.devices.iter().filter_map(|d| {
            let why = d.left_out.as_ref()?;
            Some(format!("{}: {} was found, but {why}", d.bus, d.profile))
        });
        let all: Vec<String> = of_buses.chain(of_devices).collect();
        (!all.is_empty()).then(|| all.join("\n"))
    }

    /// For machines.
    pub fn as_json(&self) -> Value {
        let rows = self.devices.iter().map(|d| {
            json!({
                "device": d.name,
                "profile": d.profile,
                "bus": d.bus,
                "keys": self.keys(d).iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect::<serde_json::Map<_, _>>(),
                "also_fits": d.also,
                "left_out": d.left_out,
            })
        });
        rows.collect()
    }

    /// The rig file.
    pub fn rig(&self) -> String {
        let mut text = String::from(
            "# Proposed by `gridrig scan`, which has only read.\n#\n\
             # Every role is a guess. A meter only informs until it is told what it measures: make it\n\
             # \"pcc\" at the point of common coupling, or \"load\" with `invert = true` in front of a load.\n\
             # Read every line, then let `gridrig check --live` see this file on the bench.\n\
             schema = 1\ntitle  = \"Scanned bench\"\n",
        );
        self.site(&mut text);
        text.push_str("safety = { heartbeat = \"1s\", on_lost = \"safe\" }\n\n[bus]\n");
        let inline = |keys: &[(&'static str, String)]| {
            let keys: Vec<String> = keys.iter().map(|(k, v)| format!("{k} = {v}")).collect();
            keys.join(", ")
        };
        for bus in &self.buses {
            comment(&mut text, &bus.remarks);
            if let Some((fast, normal)) = bus.periods {
                let eased = format!(
                    "Its devices are read every {fast} and {normal}: more often it could not carry them all."
                );
                comment(&mut text, &[eased]);
            }
            // A bus without a device is told, not opened.
            let has_device = self
                .devices
                .iter()
                .any(|d| d.bus == bus.name && d.left_out.is_none());
            let mark = if has_device { "" } else { "# " };
            let _ = writeln!(text, "{mark}{} = {{ {} }}", bus.name, inline(&bus.keys));
        }
        text.push_str("\n[device]\n");
        for (number, device) in self.devices.iter().enumerate() {
            if number > 0 {
                text.push('\n');
            }
            comment(&mut text, &device.remarks);
            if !device.also.is_empty() {
                comment(
                    &mut text,
                    &[format!("These fit, too: {}.", device.also.join(", "))],
                );
            }
            if let Some(why) = &device.left_out {
                comment(&mut text, &[format!("Left out: {why}.")]);
            }
            let mark = device.left_out.as_ref().map_or("", |_| "# ");
            let _ = writeln!(
                text,
                "{mark}{} = {{ profile = {}, bus = {}, {} }}",
                device.name,
                quoted(&device.profile),
                quoted(&device.bus),
                inline(&self.keys(device))
            );
        }
        text
    }

    fn nominal_f(&self) -> Option<f64> {
        mean(&self.frequencies).map(|f| if f < 55.0 { 50.0 } else { 60.0 })
    }

    fn nominal_v(&self) -> Option<f64> {
        let v = mean(&self.voltages)?;
        let near = |nominal: &&f64| (v / **nominal - 1.0).abs() <= NOMINAL_V_OFF;
        NOMINAL_V.iter().find(near).copied()
    }

    fn site(&self, text: &mut String) {
        let (f, v) = (self.nominal_f(), self.nominal_v());
        if f.is_none() || v.is_none() {
            comment(
                text,
                &["Not measured, so only usual: correct voltage, frequency and phases.".into()],
            );
        }
        let phases = if self.three_phases || v.is_none() {
            3
        } else {
            1
        };
        let _ = writeln!(
            text,
            "site   = {{ v = \"{}V\", f = \"{}Hz\", phases = {phases} }}",
            v.unwrap_or(NOMINAL_V[0]),
            f.unwrap_or(50.0)
        );
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn comment(text: &mut String, lines: &[String]) {
    for line in lines {
        // What a device says of itself must not end the comment.
        let printable: String = line.chars().filter(|c| !c.is_control()).collect();
        let _ = writeln!(text, "# {printable}");
    }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn list<T: std::fmt::Display>(things: impl Iterator<Item = T>) -> String {
    let all: Vec<String> = things.map(|t| t.to_string()).collect();
    match all.len().checked_sub(LISTED_MAX) {
        Some(more @ 1..) => format!("{} and {more} more", all[..LISTED_MAX].join(" ")),
        _ => all.join(" "),
    }
}
