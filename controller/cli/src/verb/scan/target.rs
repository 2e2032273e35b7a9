//! What is scanned: a bus in the words of a rig.
//!
//! The address goes through the reader of rigs, so that it is checked and opened exactly as it
//! will be when it stands in one.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bus::BusSpec;
use document::Diagnostic;
use profile::modbus::{Parity, SerialSettings};
use profile::{Profile, Protocol};
use runtime::rig::Rig;
use scenario::bench::{EmulatedBench, address_text};
use tokio::task::JoinSet;

use super::super::live::SEED;
use super::Arguments;
use crate::codes::usage;
use crate::problem::Problem;
use crate::terminal::Terminal;

/// The registered port of Modbus TCP.
const MODBUS_PORT: u16 = 502;
/// The port on which most instruments take SCPI; registered for it at IANA as `scpi-raw`.
const SCPI_PORT: u16 = 5025;
/// Shortest prefix of a network that is scanned, in bits: 256 hosts.
/// Chosen: the networks of laboratories; more would take a person by surprise.
const PREFIX_MIN: u8 = 24;
/// Hosts of a network that are tried at once. Chosen: unnoticed by a small switch.
const HOSTS_AT_ONCE: usize = 32;
/// Time that a host of a network has to take the connection.
/// Chosen: 500 ms, far above the round trip inside a building.
const HOST_TIME: Duration = Duration::from_millis(500);

/// Protocol of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    ModbusTcp,
    ModbusRtu,
    Can,
    Mqtt,
    Scpi,
}

impl Kind {
    /// Name of a bus of this kind, before its number.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::ModbusTcp => "lan",
            Self::ModbusRtu => "rs",
            Self::Can => "can",
            Self::Mqtt => "mq",
            Self::Scpi => "inst",
        }
    }

    /// A bundled profile that speaks this protocol: a rig has no bus without a device.
    fn anyone(self) -> &'static str {
        match self {
            Self::ModbusTcp | Self::ModbusRtu => "eastron/sdm630",
            Self::Can => "pylontech/lv-can",
            Self::Mqtt => "tasmota/plug",
            Self::Scpi => "nhr/9410",
        }
    }

    /// A role that needs nothing more than the bus.
    fn role(self) -> &'static str {
        match self {
            Self::Can => "battery",
            _ => "meter",
        }
    }
}

/// A bus to look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub kind: Kind,
    /// Keys and values of its entry in `[bus]`, as they stand in the file.
    pub keys: Vec<(&'static str, String)>,
    /// Whether the speed of a serial line is known.
    has_settings: bool,
}

/// A text of the operator as a value of a rig.
pub fn quoted(text: &str) -> String {
    // Every JSON string of printable characters is one of TOML, too.
    let printable: String = text.chars().filter(|c| !c.is_control()).collect();
    serde_json::Value::String(printable).to_string()
}

impl Target {
    pub fn tcp(host: &str, port: u16) -> Self {
        let keys = vec![
            ("kind", quoted("modbus-tcp")),
            ("host", quoted(host)),
            ("port", port.to_string()),
        ];
        Self {
            kind: Kind::ModbusTcp,
            keys,
            has_settings: true,
        }
    }

    fn serial(path: &str) -> Self {
        let keys = vec![("kind", quoted("modbus-rtu")), ("port", quoted(path))];
        Self {
            kind: Kind::ModbusRtu,
            keys,
            has_settings: false,
        }
    }

    fn scpi(host: &str, port: u16) -> Self {
        let keys = vec![
            ("kind", quoted("scpi")),
            ("host", quoted(host)),
            ("port", port.to_string()),
        ];
        Self {
            kind: Kind::Scpi,
            keys,
            has_settings: true,
        }
    }

    fn scpi_serial(path: &str) -> Self {
        let keys = vec![("kind", quoted("scpi")), ("serial", quoted(path))];
        Self {
            kind: Kind::Scpi,
            keys,
            has_settings: false,
        }
    }

    fn can(uri: &str) -> Self {
        let keys = vec![("kind", quoted("can")), ("uri", quoted(uri))];
        Self {
            kind: Kind::Can,
            keys,
            has_settings: true,
        }
    }

    fn mqtt(url: &str) -> Self {
        let keys = vec![("kind", quoted("mqtt")), ("url", quoted(url))];
        Self {
            kind: Kind::Mqtt,
            keys,
            has_settings: true,
        }
    }

    fn at(&self, baud: u32, parity: &str, stop_bits: u8) -> Self {
        let mut keys = self.keys.clone();
        keys.push(("baud", baud.to_string()));
        keys.push(("parity", quoted(parity)));
        keys.push(("stop_bits", stop_bits.to_string()));
        Self {
            keys,
            has_settings: true,
            ..self.clone()
        }
    }

    /// Its address for a person.
    pub fn shown(&self) -> String {
        let value = |key: &str| {
            let found = self.keys.iter().find(|(k, _)| *k == key);
            found.map(|(_, v)| v.trim_matches('"').to_owned())
        };
        let words = ["host", "port", "serial", "uri", "url", "baud", "parity"];
        let texts: Vec<String> = words.iter().filter_map(|key| value(key)).collect();
        texts.join(" ")
    }

    /// What is tried in turn: itself, or for a serial line whose speed is not said those of the
    /// makers.
    pub fn tries(&self, profiles: &[Arc<Profile>]) -> Vec<Self> {
        if self.has_settings {
            return vec![self.clone()];
        }
        let mut known: Vec<SerialSettings> = Vec::new();
        for profile in profiles {
            let settings = match (&profile.protocol, self.kind) {
                (Protocol::Modbus(modbus), Kind::ModbusRtu) => modbus.serial,
                (Protocol::Scpi(scpi), Kind::Scpi) => scpi.serial,
                _ => None,
            };
            if let Some(settings) = settings
                && !known.contains(&settings)
            {
                known.push(settings);
            }
        }
        let word = |parity| match parity {
            Parity::None => "none",
            Parity::Even => "even",
            Parity::Odd => "odd",
        };
        known
            .into_iter()
            .map(|s| self.at(s.baud, word(s.parity), s.stop_bits))
            .collect()
    }

    /// How it is opened.
    ///
    /// # Errors
    /// What a rig with this address would be told.
    pub fn spec(&self) -> Result<BusSpec, Box<Diagnostic>> {
        let keys: Vec<String> = self
            .keys
            .iter()
            .map(|(k, v)| format!("{k} = {v}"))
            .collect();
        let address = match self.kind {
            Kind::Mqtt => "topic = \"anyone\"",
            _ => "",
        };
        let text = format!(
            "schema = 1\nsite = {{ v = \"230V\", f = \"50Hz\" }}\n\
             safety = {{ heartbeat = \"1s\", on_lost = \"safe\" }}\n\
             [bus.scan]\n{}\n[device.anyone]\nprofile = {}\nbus = \"scan\"\nrole = {}\n{address}\n",
            keys.join("\n"),
            quoted(self.kind.anyone()),
            quoted(self.kind.role()),
        );
        let rig = runtime::rig::load_text(Path::new("the command line"), &text)
            .map_err(|mut faults| Box::new(faults.swap_remove(0)))?;
        rig.bus_spec(0, SEED)
    }
}

/// The targets that the command line names one by one.
///
/// # Errors
/// C001 for an address that cannot be read, R-codes as in a rig.
pub fn named(arguments: &Arguments) -> Result<Vec<Target>, Problem> {
    let mut targets = Vec::new();
    for text in arguments.tcp.iter().filter(|text| !text.contains('/')) {
        let (host, port) = host_and_port(text, MODBUS_PORT)?;
        targets.push(Target::tcp(host, port));
    }
    for text in &arguments.scpi {
        let (host, port) = host_and_port(text, SCPI_PORT)?;
        targets.push(Target::scpi(host, port));
    }
    let lines = arguments.serial.iter().map(|path| Target::serial(path));
    let instruments = arguments.scpi_serial.iter();
    for line in lines.chain(instruments.map(|path| Target::scpi_serial(path))) {
        targets.push(match arguments.baud {
            Some(baud) => line.at(baud, &arguments.parity, 1),
            None => line,
        });
    }
    targets.extend(arguments.can.iter().map(|uri| Target::can(uri)));
    for url in &arguments.mqtt {
        let mut broker = Target::mqtt(url);
        if let Some(user) = &arguments.user {
            broker.keys.push(("user", quoted(user)));
        }
        if let Some(name) = &arguments.password_env {
            broker.keys.push(("password_env", quoted(name)));
        }
        if let Some(ca) = &arguments.ca {
            // The rig may be written to another folder.
            let whole = std::fs::canonicalize(ca).unwrap_or_else(|_| ca.clone());
            broker
                .keys
                .push(("ca", quoted(&whole.display().to_string())));
        }
        targets.push(broker);
    }
    for target in &targets {
        // All addresses are checked before anything is opened.
        target.spec()?;
    }
    Ok(targets)
}

/// The buses of the emulated bench of a rig.
pub fn of_bench(bench: &EmulatedBench, rig: &Rig) -> Vec<Target> {
    let is_scpi = |id: &str| {
        let mut buses = rig.buses.iter();
        buses.any(|bus| *bus.id == *id && bus.kind.protocol() == "scpi")
    };
    bench
        .addresses
        .iter()
        .filter_map(|address| {
            let text = address_text(&address.address);
            let scpi = is_scpi(&address.bus);
            if text.starts_with("mqtt://") {
                Some(Target::mqtt(&text))
            } else if text.starts_with("socketcand://") {
                Some(Target::can(&text))
            } else if text.starts_with('/') {
                Some(if scpi {
                    Target::scpi_serial(&text)
                } else {
                    Target::serial(&text)
                })
            } else {
                let (host, port) = host_and_port(&text, MODBUS_PORT).ok()?;
                Some(if scpi {
                    Target::scpi(host, port)
                } else {
                    Target::tcp(host, port)
                })
            }
        })
        .collect()
}

fn host_and_port(text: &str, usual: u16) -> Result<(&str, u16), Problem> {
    match text.rsplit_once(':') {
        None => Ok((text, usual)),
        Some((host, port)) => match port.parse() {
            Ok(port) if !host.is_empty() => Ok((host, port)),
            _ => Err(Problem::usage(usage(
                "C001",
                format!("`{text}` is no address"),
                "write it like `192.168.1.10` or `192.168.1.10:502`",
            ))),
        },
    }
}

/// The hosts of the networks that the command line names, as far as they take a connection.
///
/// # Errors
/// C001 for a network that cannot be read or is too large.
pub async fn of_networks(texts: &[String], terminal: &Terminal) -> Result<Vec<Target>, Problem> {
    let mut targets = Vec::new();
    for text in texts.iter().filter(|text| text.contains('/')) {
        let (hosts, port) = network(text).map_err(|why| {
            Problem::usage(usage(
                "C001",
                format!("`{text}` is no network that is scanned: {why}"),
                "write it like `192.168.1.0/28` or `192.168.1.0/24:502`",
            ))
        })?;
        terminal.say(format!("Trying {} hosts of {text} ...", hosts.len()));
        for some in hosts.chunks(HOSTS_AT_ONCE) {
            let mut tries = JoinSet::new();
            for host in some.iter().copied() {
                tries.spawn(async move {
                    let dial = tokio::net::TcpStream::connect((IpAddr::V4(host), port));
                    let taken = tokio::time::timeout(HOST_TIME, dial).await;
                    matches!(taken, Ok(Ok(_))).then_some(host)
                });
            }
            let mut there: Vec<Ipv4Addr> = tries.join_all().await.into_iter().flatten().collect();
            there.sort_unstable();
            targets.extend(
                there
                    .iter()
                    .map(|host| Target::tcp(&host.to_string(), port)),
            );
        }
    }
    Ok(targets)
}

/// Hosts and port of `192.168.1.0/28:502`. Network and broadcast address are no hosts.
fn network(text: &str) -> Result<(Vec<Ipv4Addr>, u16), String> {
    let (base, rest) = text.split_once('/').ok_or("there is no `/`")?;
    let base: Ipv4Addr = base
        .parse()
        .map_err(|_| format!("`{base}` is no IPv4 address"))?;
    let (bits, port) = match rest.split_once(':') {
        Some((bits, port)) => (
            bits,
            port.parse().map_err(|_| format!("`{port}` is no port"))?,
        ),
        None => (rest, MODBUS_PORT),
    };
    let bits: u8 = bits
        .parse()
        .map_err(|_| format!("`{bits}` is no number of bits"))?;
    if !(PREFIX_MIN..=32).contains(&bits) {
        return Err(format!(
            "it has to be /{PREFIX_MIN} to /32, which is 256 hosts at most"
        ));
    }
    let size = 1_u32 << (32 - u32::from(bits));
    let first = u32::from(base) & !(size - 1);
    let inner = if size > 2 { 1..size - 1 } else { 0..size };
    Ok((inner.map(|n| Ipv4Addr::from(first + n)).collect(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_bounded_and_leaves_out_its_ends() {
        let hosts = |text: &str| network(text).map(|(hosts, port)| (hosts.len(), port));
        assert_eq!(hosts("192.168.1.7/28"), Ok((14, 502)));
        assert_eq!(hosts("192.168.1.0/24:1502"), Ok((254, 1502)));
        assert_eq!(hosts("192.168.1.7/32"), Ok((1, 502)));
        for text in [
            "192.168.1.0/23",
            "10.0.0.0/8",
            "x/28",
            "1.2.3.4/x",
            "1.2.3.4/28:x",
        ] {
            assert!(hosts(text).is_err(), "{text}");
        }
        let (hosts, _) = network("192.168.1.77/30").expect("it is one");
        assert_eq!(
            hosts,
            [
                Ipv4Addr::new(192, 168, 1, 77),
                Ipv4Addr::new(192, 168, 1, 78)
            ]
        );
    }

    #[test]
    fn every_kind_of_target_can_be_opened_as_a_rig_would() {
        for target in [
            Target::tcp("127.0.0.1", 502),
            Target::serial("/dev/ttyUSB0").at(9600, "even", 1),
            Target::can("socketcand://127.0.0.1:29536/can0"),
            Target::mqtt("mqtt://127.0.0.1"),
            Target::scpi("127.0.0.1", 5025),
            Target::scpi_serial("/dev/ttyUSB0").at(9600, "none", 1),
        ] {
            assert!(target.spec().is_ok(), "{target:?}");
        }
        let bad = Target::can("nonsense")
            .spec()
            .expect_err("it is no address");
        assert_eq!(bad.code, "R019");
    }

    #[test]
    fn a_text_of_a_stranger_cannot_leave_its_quotes() {
        assert_eq!(quoted("a\"b\n[bus]\\"), r#""a\"b[bus]\\""#);
    }
}
