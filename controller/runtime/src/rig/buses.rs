//! The `[bus]` section: where each bus is and how it is opened.

use std::collections::BTreeMap;

use document::{Spanned, Table};
use profile::Protocol;
use profile::modbus::{Parity, SerialSettings};

use super::parse::Reader;
use super::sections::Place;
use super::{BrokerAddress, BusKind, CanUri, RigBus, RigDevice};

pub(super) fn buses(reader: &Reader<'_>) -> Vec<RigBus> {
    let mut buses = Vec::new();
    let mut opened: BTreeMap<String, String> = BTreeMap::new();
    for (name, table) in reader.entries("bus") {
        let timeout = table.duration("timeout").map(|d| d.value);
        let min_gap = table.duration("min_gap").map(|d| d.value);
        let kind = bus_kind(reader, &table);
        let serial_stated = ["baud", "parity", "stop_bits"].iter().any(|k| table.has(k));
        let document = table.document();
        let span = table.span();
        table.finish();
        let Some(kind) = kind else { continue };
        if let Some(port) = exclusive(&kind)
            && let Some(other) = opened.insert(port.clone(), name.clone())
        {
            document.error(
                "R003",
                span,
                format!("buses `{other}` and `{name}` both open {port}"),
                "opened twice",
                "put the devices on one bus",
            );
        }
        buses.push(RigBus {
            id: name.as_str().into(),
            serial_stated,
            kind,
            timeout,
            min_gap,
        });
    }
    buses
}

/// A serial line whose settings the rig does not state has those of its devices' maker.
pub(super) fn settle_serial(buses: &mut [RigBus], devices: &[(RigDevice, Place<'_>)]) {
    for (index, bus) in buses.iter_mut().enumerate() {
        let (BusKind::ModbusRtu { settings, .. }
        | BusKind::ModbusRtuTcp { settings, .. }
        | BusKind::ScpiSerial { settings, .. }) = &mut bus.kind
        else {
            continue;
        };
        let of_maker = devices
            .iter()
            .filter(|(d, _)| d.bus == index)
            .find_map(|(d, _)| match &d.profile.protocol {
                Protocol::Modbus(modbus) => modbus.serial,
                Protocol::Scpi(scpi) => scpi.serial,
                Protocol::Can(_) | Protocol::Mqtt(_) => None,
            });
        if let (false, Some(of_maker)) = (bus.serial_stated, of_maker) {
            *settings = of_maker;
        }
    }
}

/// What only one bus may open.
fn exclusive(kind: &BusKind) -> Option<String> {
    match kind {
        BusKind::ModbusRtu { port, .. } | BusKind::ScpiSerial { port, .. } => Some(port.clone()),
        BusKind::ModbusTcp { host, port, .. } | BusKind::ModbusRtuTcp { host, port, .. }
            if *port != 0 =>
        {
            Some(format!("{host}:{port}"))
        }
        BusKind::ScpiTcp {
            host,
            port: Some(port),
        } => Some(format!("{host}:{port}")),
        BusKind::ModbusTcp { .. }
        | BusKind::ModbusRtuTcp { .. }
        | BusKind::ScpiTcp { .. }
        | BusKind::Mqtt(_)
        | BusKind::Can(_) => None,
    }
}

#[derive(Clone, Copy)]
enum Kind {
    ModbusTcp,
    ModbusRtuTcp,
    ModbusRtu,
    Can,
    Mqtt,
    Scpi,
}

fn bus_kind(reader: &Reader<'_>, table: &Table<'_>) -> Option<BusKind> {
    let kinds = [
        ("modbus-tcp", Kind::ModbusTcp),
        ("modbus-rtu", Kind::ModbusRtu),
        ("modbus-rtu-tcp", Kind::ModbusRtuTcp),
        ("can", Kind::Can),
        ("mqtt", Kind::Mqtt),
        ("scpi", Kind::Scpi),
    ];
    if !table.has("kind") {
        return table.missing("kind", "\"modbus-tcp\"");
    }
    match table.choice("kind", &kinds)?.value {
        Kind::ModbusTcp => {
            let (host, port) = tcp_address(table)?;
            let numbers = [("match", true), ("ignore", false)];
            Some(BusKind::ModbusTcp {
                host,
                port,
                numbered: table.choice("tid", &numbers).is_none_or(|n| n.value),
            })
        }
        Kind::ModbusRtuTcp => {
            let (host, port) = tcp_address(table)?;
            Some(BusKind::ModbusRtuTcp {
                host,
                port,
                settings: line_settings(table),
            })
        }
        Kind::Scpi if table.has("serial") => Some(BusKind::ScpiSerial {
            port: table.required_text("serial", "/dev/ttyUSB0")?.value,
            settings: line_settings(table),
        }),
        Kind::Scpi => Some(BusKind::ScpiTcp {
            host: table.required_text("host", "192.168.1.30")?.value,
            port: table.integer("port", 1..=65_535).map(|p| p.value as u16),
        }),
        Kind::ModbusRtu => Some(BusKind::ModbusRtu {
            port: table.required_text("port", "/dev/ttyUSB0")?.value,
            settings: line_settings(table),
        }),
        Kind::Can => {
            let uri = table.required_text("uri", "socketcan://can0")?;
            match can_uri(&uri.value) {
                Some(uri) => Some(BusKind::Can(uri)),
                None => {
                    bad_address(table, uri);
                    None
                }
            }
        }
        Kind::Mqtt => broker(reader, table).map(BusKind::Mqtt),
    }
}

/// A broker as a table of the rig names it.
pub(super) fn broker(reader: &Reader<'_>, table: &Table<'_>) -> Option<BrokerAddress> {
    let url = table.required_text("url", "mqtt://192.168.1.2:1883")?;
    let user = table.text("user").map(|u| u.value);
    let password_env = table.text("password_env").map(|p| p.value);
    let ca = table.text("ca").map(|c| reader.path(table, &c.value));
    let cert = table.text("cert");
    let key = table.text("key").map(|k| reader.path(table, &k.value));
    let Some((tls, host, port)) = broker_url(&url.value) else {
        bad_address(table, url);
        return None;
    };
    if tls && ca.is_none() {
        table.document().error(
            "R019",
            url.span,
            "mqtts:// needs the certificate authority of the broker",
            "",
            "add `ca = \"ca.pem\"`",
        );
        return None;
    }
    let own = match (cert, key) {
        (Some(cert), Some(key)) if tls => Some((reader.path(table, &cert.value), key)),
        (None, None) => None,
        (cert, key) => {
            let span = cert.map_or_else(|| table.span_of("key"), |c| c.span);
            let (message, help) = if key.is_none() || !table.has("cert") {
                (
                    "`cert` and `key` belong together",
                    "give both files, or none",
                )
            } else {
                (
                    "a certificate needs an encrypted connection",
                    "write `mqtts://` and give `ca`",
                )
            };
            table.document().error("R019", span, message, "", help);
            return None;
        }
    };
    Some(BrokerAddress {
        host,
        port,
        user,
        password_env,
        ca,
        own,
    })
}

fn tcp_address(table: &Table<'_>) -> Option<(String, u16)> {
    let host = table.required_text("host", "192.168.1.10")?.value;
    // 502 is the registered Modbus port.
    let port = table.integer("port", 0..=65_535);
    Some((host, port.map_or(502, |p| p.value as u16)))
}

fn line_settings(table: &Table<'_>) -> SerialSettings {
    let parities = [
        ("none", Parity::None),
        ("even", Parity::Even),
        ("odd", Parity::Odd),
    ];
    SerialSettings {
        baud: table
            .integer("baud", 300..=4_000_000)
            .map_or(9600, |b| b.value as u32),
        parity: table
            .choice("parity", &parities)
            .map_or(Parity::None, |p| p.value),
        stop_bits: table
            .integer("stop_bits", 1..=2)
            .map_or(1, |s| s.value as u8),
    }
}

fn bad_address(table: &Table<'_>, text: Spanned<String>) {
    table.document().error(
        "R019",
        text.span,
        format!("`{}` is not an address that gridrig knows", text.value),
        "",
        "see `gridrig explain R019`",
    );
}

fn can_uri(text: &str) -> Option<CanUri> {
    let (scheme, rest) = text.split_once("://")?;
    match scheme {
        "socketcan" if !rest.is_empty() => Some(CanUri::SocketCan {
            interface: rest.into(),
        }),
        "virtual" => {
            let (name, bitrate) = with_bitrate(rest)?;
            (!name.is_empty()).then(|| CanUri::Virtual {
                name: name.into(),
                bitrate,
            })
        }
        "slcan" => {
            let (path, bitrate) = with_bitrate(rest)?;
            let bitrate = bitrate.unwrap_or(SLCAN_BITRATE);
            let fits = path.starts_with('/') && bus::can::slcan::BITRATES.contains(&bitrate);
            fits.then(|| CanUri::Slcan {
                path: path.into(),
                bitrate,
            })
        }
        "socketcand" => {
            let (address, interface) = rest.split_once('/')?;
            // 29536 is the port that socketcand listens on.
            let (host, port) = host_and_port(address, 29_536)?;
            (!interface.is_empty()).then(|| CanUri::Socketcand {
                host,
                port,
                interface: interface.into(),
            })
        }
        _ => None,
    }
}

/// Bit rate of a serial adapter where the rig gives none: that of the batteries' protocols.
const SLCAN_BITRATE: u32 = 500_000;

/// What stands before `?bitrate=…`, and the bit rate if it is there.
fn with_bitrate(text: &str) -> Option<(&str, Option<u32>)> {
    match text.split_once('?') {
        None => Some((text, None)),
        Some((before, option)) => {
            let rate: u32 = option.strip_prefix("bitrate=")?.parse().ok()?;
            (10_000..=1_000_000)
                .contains(&rate)
                .then_some((before, Some(rate)))
        }
    }
}

fn broker_url(text: &str) -> Option<(bool, String, u16)> {
    let (scheme, rest) = text.split_once("://")?;
    let rest = rest.trim_end_matches('/');
    // 1883 and 8883 are the registered MQTT ports.
    let (tls, default_port) = match scheme {
        "mqtt" => (false, 1883),
        "mqtts" => (true, 8883),
        _ => return None,
    };
    let (host, port) = host_and_port(rest, default_port)?;
    Some((tls, host, port))
}

fn host_and_port(text: &str, default_port: u16) -> Option<(String, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (text, default_port),
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}
