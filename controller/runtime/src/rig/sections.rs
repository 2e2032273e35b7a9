//! The sections of a rig, one function each.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use document::{Document, Source, Spanned, Table};
use model::{Point, Role};
use profile::modbus::{CommsLoss, Parity, SerialSettings};
use profile::{Profile, Protocol};
use quantities::{ActivePower, ApparentPower, Frequency, Quantity, Voltage};

use super::bench::takes;
use super::parse::{DEVICES_MAX, Reader};
use super::{
    BusKind, CanUri, EmulatedDevice, Emulation, Influx, Market, OnLost, Participation, RigBus,
    RigDevice, Safety, Site,
};

/// Where a device stands: which layer, which bytes.
pub(super) type Place<'a> = (&'a Document, Range<usize>);

pub(super) fn site(reader: &Reader<'_>) -> Option<Site> {
    let Some(table) = reader.section("site") else {
        reader.own().error(
            "D004",
            0..0,
            "`site` is missing",
            "",
            "add `site = { v = \"230V\", f = \"50Hz\", phases = 3 }`",
        );
        return None;
    };
    let v = table.quantity::<Voltage>("v");
    let f = table.quantity::<Frequency>("f");
    let phases = table.integer("phases", 1..=3).map_or(3, |p| p.value);
    for key in ["v", "f"] {
        if !table.has(key) {
            table.missing::<()>(key, if key == "v" { "\"230V\"" } else { "\"50Hz\"" });
        }
    }
    let document = table.document();
    let span = table.span();
    table.finish();
    let (v, f) = (v?, f?);
    let fits = (100.0..=500.0).contains(&v.value.as_volts())
        && (45.0..=65.0).contains(&f.value.as_hertz());
    if !fits {
        document.error(
            "R020",
            span,
            "the site's nominal values are outside what gridrig controls",
            "100 to 500 V line to neutral, 45 to 65 Hz",
            "`v` is line to neutral: 230V for a 400 V network",
        );
        return None;
    }
    Some(Site {
        v: v.value,
        f: f.value,
        phases: phases as u8,
    })
}

pub(super) fn safety(reader: &Reader<'_>, devices: &[(RigDevice, Place<'_>)]) -> Safety {
    let mut safety = Safety {
        heartbeat: Duration::from_secs(1),
        on_lost: OnLost::Safe,
        estop: None,
    };
    let Some(table) = reader.section("safety") else {
        return safety;
    };
    if let Some(heartbeat) = table.duration("heartbeat") {
        safety.heartbeat = heartbeat.value;
    }
    let words = [("safe", OnLost::Safe), ("hold", OnLost::Hold)];
    if let Some(on_lost) = table.choice("on_lost", &words) {
        safety.on_lost = on_lost.value;
    }
    if let Some(estop) = table.text("estop") {
        let (name, contact) = estop
            .value
            .split_once('.')
            .unwrap_or((&estop.value, "switch.on"));
        // A profile has one contact; these are its names.
        let known = ["switch.on", "switch", "di0"].contains(&contact);
        safety.estop = named(devices, name).filter(|_| known);
        if safety.estop.is_none() {
            table.document().error(
                "R009",
                estop.span,
                format!("`{}` is no contact of this rig", estop.value),
                "",
                "name the device whose switch is the emergency stop circuit, such as `io1.switch.on`",
            );
        }
    }
    table.finish();
    safety
}

pub(super) fn control(reader: &Reader<'_>, site: &Site) -> control::Settings {
    let mut settings = control::Settings::nominal(site.f, site.v);
    let Some(table) = reader.section("control") else {
        return settings;
    };
    macro_rules! take {
        ($($field:ident: $read:ident as $key:literal),+ $(,)?) => {$(
            if let Some(found) = table.$read($key) { settings.$field = found.value; }
        )+};
    }
    take!(
        period: duration as "period",
        deadband: quantity as "deadband",
        auto_reconnect: boolean as "auto_reconnect",
        reconnect_delay: duration as "reconnect_delay",
        sync_timeout: duration as "sync_timeout",
        settle_time: duration as "settle_time",
        setpoint_validity: duration as "setpoint_validity",
        pcc_gain_per_s: number as "pcc_gain_per_s",
    );
    if let Some(droop) = table.quantity::<quantities::StateOfCharge>("droop") {
        settings.droop = droop.value.as_fraction();
    }
    settings.pcc_target = table.quantity("pcc_target").map(|p| p.value);
    let checks: [(&str, bool, &str); 4] = [
        (
            "period",
            (Duration::from_millis(10)..=Duration::from_secs(5)).contains(&settings.period),
            "the period must lie between 10 ms and 5 s",
        ),
        (
            "droop",
            (0.005..=0.5).contains(&settings.droop),
            "the droop must lie between 0.5 % and 50 %",
        ),
        (
            "deadband",
            settings.deadband.as_hertz() >= 0.0 && settings.deadband < site.f * 0.1,
            "the deadband must lie between 0 and a tenth of nominal",
        ),
        (
            "pcc_gain_per_s",
            (0.0..=10.0).contains(&settings.pcc_gain_per_s),
            "the gain must lie between 0 and 10 per second",
        ),
    ];
    for (key, fits, message) in checks {
        if !fits {
            table
                .document()
                .error("D005", table.span_of(key), message, "", "");
        }
    }
    table.finish();
    settings
}

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
        let BusKind::ModbusRtu { settings, .. } = &mut bus.kind else {
            continue;
        };
        let of_maker = devices
            .iter()
            .filter(|(d, _)| d.bus == index)
            .find_map(|(d, _)| match &d.profile.protocol {
                Protocol::Modbus(modbus) => modbus.serial,
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
        BusKind::ModbusRtu { port, .. } => Some(port.clone()),
        BusKind::ModbusTcp { host, port } if *port != 0 => Some(format!("{host}:{port}")),
        BusKind::ModbusTcp { .. } | BusKind::Mqtt { .. } | BusKind::Can(_) => None,
    }
}

#[derive(Clone, Copy)]
enum Kind {
    ModbusTcp,
    ModbusRtu,
    Can,
    Mqtt,
}

fn bus_kind(reader: &Reader<'_>, table: &Table<'_>) -> Option<BusKind> {
    let kinds = [
        ("modbus-tcp", Kind::ModbusTcp),
        ("modbus-rtu", Kind::ModbusRtu),
        ("can", Kind::Can),
        ("mqtt", Kind::Mqtt),
    ];
    if !table.has("kind") {
        return table.missing("kind", "\"modbus-tcp\"");
    }
    match table.choice("kind", &kinds)?.value {
        Kind::ModbusTcp => Some(BusKind::ModbusTcp {
            host: table.required_text("host", "192.168.1.10")?.value,
            // 502 is the registered Modbus port.
            port: table
                .integer("port", 0..=65_535)
                .map_or(502, |p| p.value as u16),
        }),
        Kind::ModbusRtu => {
            let port = table.required_text("port", "/dev/ttyUSB0")?.value;
            let parities = [
                ("none", Parity::None),
                ("even", Parity::Even),
                ("odd", Parity::Odd),
            ];
            Some(BusKind::ModbusRtu {
                port,
                settings: SerialSettings {
                    baud: table
                        .integer("baud", 300..=4_000_000)
                        .map_or(9600, |b| b.value as u32),
                    parity: table
                        .choice("parity", &parities)
                        .map_or(Parity::None, |p| p.value),
                    stop_bits: table
                        .integer("stop_bits", 1..=2)
                        .map_or(1, |s| s.value as u8),
                },
            })
        }
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
        Kind::Mqtt => {
            let url = table.required_text("url", "mqtt://192.168.1.2:1883")?;
            let user = table.text("user").map(|u| u.value);
            let password_env = table.text("password_env").map(|p| p.value);
            let ca = table.text("ca").map(|c| reader.path(table, &c.value));
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
            Some(BusKind::Mqtt {
                host,
                port,
                user,
                password_env,
                ca,
            })
        }
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
        "virtual" if !rest.is_empty() => Some(CanUri::Virtual { name: rest.into() }),
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

pub(super) fn devices<'a>(reader: &Reader<'a>, buses: &[RigBus]) -> Vec<(RigDevice, Place<'a>)> {
    let entries = reader.entries("device");
    let names: Vec<String> = entries.iter().map(|(n, _)| n.clone()).collect();
    if names.is_empty() || names.len() > DEVICES_MAX {
        reader.own().error(
            "D005",
            0..0,
            format!(
                "a rig has 1 to {DEVICES_MAX} devices, this one has {}",
                names.len()
            ),
            "",
            "add `[device]`",
        );
    }
    let mut devices = Vec::new();
    for (name, table) in entries {
        let place = (table.document(), table.span());
        let device = device(reader, buses, &names, &name, &table);
        table.finish();
        if let Some(device) = device {
            devices.push((device, place));
        }
    }
    // Indices of batteries were taken from all names; they only hold when every device was read.
    devices
}

fn device(
    reader: &Reader<'_>,
    buses: &[RigBus],
    names: &[String],
    name: &str,
    table: &Table<'_>,
) -> Option<RigDevice> {
    let document = table.document();
    let profile = table
        .required_text("profile", "eastron/sdm630")
        .and_then(|p| find_profile(reader, table, p));
    let bus = table.required_text("bus", "lan1").and_then(|b| {
        let found = buses.iter().position(|x| *x.id == *b.value);
        if found.is_none() {
            let known: Vec<&str> = buses.iter().map(|b| &*b.id).collect();
            document.error(
                "R001",
                b.span,
                format!("the rig has no bus `{}`", b.value),
                "",
                format!("buses of this rig: {}", known.join(", ")),
            );
        }
        found
    });
    if !table.has("role") {
        table.missing::<()>("role", "\"meter\"");
    }
    let role = table.choice("role", Role::NAMES).map(|r| r.value);
    let unit = table.integer("unit", 1..=247).map(|u| u.value as u8);
    let topic = table.text("topic").map(|t| t.value);
    let limits = table.table("limits");
    let (p, s, soc) = match &limits {
        Some(limits) => (
            limits.range("p").map(|p| p.value),
            limits.quantity::<ApparentPower>("s").map(|s| s.value),
            limits.range("soc").map(|s| s.value),
        ),
        None => (None, None, None),
    };
    if let Some(limits) = limits {
        limits.finish();
    }
    let battery = table.text("battery").and_then(|b| {
        let found = names.iter().position(|n| *n == b.value);
        if found.is_none() {
            document.error(
                "R007",
                b.span,
                format!("the rig has no device `{}`", b.value),
                "",
                "name the device with the role \"battery\" behind this inverter",
            );
        }
        found
    });
    let poll = poll(table, bus.map(|bus| &buses[bus].kind));
    let limits_given = table.has("limits");
    let device = RigDevice {
        id: name.into(),
        ramp: table.quantity("ramp").map(|r| r.value),
        capacity: table.quantity("capacity").map(|c| c.value),
        revert: table.duration("revert").map(|r| r.value),
        shed: table.integer("shed", 1..=255).map(|s| s.value as u8),
        invert: table.boolean("invert").is_some_and(|i| i.value),
        unit,
        topic,
        p,
        s,
        soc,
        battery,
        poll,
        profile: profile?,
        bus: bus?,
        role: role?,
    };
    let moves_power =
        takes(&device, Point::ActivePowerSet) || takes(&device, Point::ActivePowerLimit);
    if moves_power && keeps_for_ever(&device) {
        document.error(
            "R014",
            table.span(),
            format!("`{name}` keeps its last setpoint for ever when it hears nothing"),
            "",
            "use a profile whose `comms_loss` says how the device falls back by itself",
        );
    }
    // Limits that are there but cannot be read have been told of already.
    if moves_power && device.p.is_none() && !limits_given {
        document.error(
            "R008",
            table.span(),
            format!("`{name}` can move power but has no limits"),
            "",
            "add `limits = { p = \"-3..3kW\" }`",
        );
    }
    Some(device)
}

/// Whether a control that moves power has no fallback of the device's own.
fn keeps_for_ever(device: &RigDevice) -> bool {
    let moves = [Point::ActivePowerSet, Point::ActivePowerLimit];
    match &device.profile.protocol {
        Protocol::Modbus(modbus) => modbus
            .controls
            .iter()
            .any(|c| moves.contains(&c.point) && c.comms_loss == CommsLoss::Holds),
        Protocol::Can(_) | Protocol::Mqtt(_) => false,
    }
}

/// Serial lines below this bear one block of a meter per second besides their writes, not five.
/// A read of 74 registers takes 170 ms at 9600 baud.
const SLOW_BAUD: u32 = 38_400;

/// Default periods of the poll classes. Chosen: fast 200 ms, two control periods, and 1 s on slow
/// serial lines; normal 1 s; slow 60 s.
fn poll(table: &Table<'_>, bus: Option<&BusKind>) -> bus::PollPeriods {
    let slow_line = matches!(
        bus,
        Some(BusKind::ModbusRtu { settings, .. }) if settings.baud < SLOW_BAUD
    );
    let mut periods = bus::PollPeriods {
        fast: Duration::from_millis(if slow_line { 1000 } else { 200 }),
        normal: Duration::from_secs(1),
        slow: Duration::from_secs(60),
    };
    if let Some(poll) = table.table("poll") {
        for (key, slot) in [
            ("fast", &mut periods.fast),
            ("normal", &mut periods.normal),
            ("slow", &mut periods.slow),
        ] {
            if let Some(period) = poll.duration(key) {
                if period.value < Duration::from_millis(5) {
                    poll.document().error(
                        "D005",
                        period.span,
                        "no bus is read more often than every 5 ms",
                        "",
                        "",
                    );
                }
                *slot = period.value;
            }
        }
        poll.finish();
    }
    periods
}

fn find_profile(
    reader: &Reader<'_>,
    table: &Table<'_>,
    name: Spanned<String>,
) -> Option<Arc<Profile>> {
    let document = table.document();
    if let Some(profile) = profile::bundled(&name.value) {
        return Some(profile);
    }
    let path = reader.path(table, &name.value);
    if name.value.ends_with(".toml") && path.exists() {
        return match std::fs::read_to_string(&path)
            .map_err(|e| e.to_string())
            .and_then(|text| {
                Profile::parse(Source::new(path.display().to_string(), text)).map_err(|faults| {
                    faults
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join("; ")
                })
            }) {
            Ok((profile, _)) => Some(Arc::new(profile)),
            Err(why) => {
                document.error(
                    "R002",
                    name.span,
                    format!("the profile {} cannot be used: {why}", path.display()),
                    "",
                    "run `gridrig check` on it",
                );
                None
            }
        };
    }
    let help = profile::similar(&name.value).map_or_else(
        || format!("bundled profiles: {}", profile::bundled_ids().join(", ")),
        |similar| format!("did you mean `{similar}`?"),
    );
    document.error(
        "R002",
        name.span,
        format!("there is no profile `{}`", name.value),
        "neither bundled nor a file beside the rig",
        help,
    );
    None
}

/// What can only be seen when all devices are known.
pub(super) fn check_devices(
    reader: &Reader<'_>,
    buses: &[RigBus],
    devices: &[(RigDevice, Place<'_>)],
    emulate: &Emulation,
) {
    let mut addresses: BTreeMap<(usize, String), String> = BTreeMap::new();
    for (index, (device, (document, span))) in devices.iter().enumerate() {
        let fault = |code, message: String, help: &str| {
            document.error(code, span.clone(), message, "", help);
        };
        let kind = &buses[device.bus].kind;
        let fits = matches!(
            (&device.profile.protocol, kind),
            (
                Protocol::Modbus(_),
                BusKind::ModbusTcp { .. } | BusKind::ModbusRtu { .. }
            ) | (Protocol::Can(_), BusKind::Can(_))
                | (Protocol::Mqtt(_), BusKind::Mqtt { .. })
        );
        if !fits {
            fault(
                "R004",
                format!(
                    "`{}` ({}) cannot be on bus `{}` ({})",
                    device.id,
                    device.profile.id,
                    buses[device.bus].id,
                    kind.protocol()
                ),
                "put it on a bus of its own protocol",
            );
            continue;
        }
        let address = match &device.profile.protocol {
            Protocol::Modbus(modbus) => format!("unit {}", device.unit.unwrap_or(modbus.unit)),
            Protocol::Can(_) => "the CAN identifiers of its profile".to_owned(),
            Protocol::Mqtt(_) => match &device.topic {
                Some(topic) => format!("topic {topic}"),
                None => {
                    fault(
                        "R011",
                        format!("`{}` has no topic", device.id),
                        "add `topic = \"…\"`",
                    );
                    continue;
                }
            },
        };
        let key = (device.bus, address.clone());
        if let Some(other) = addresses.insert(key, device.id.to_string()) {
            fault(
                "R003",
                format!("`{other}` and `{}` both have {address}", device.id),
                "each device of a bus needs its own address",
            );
        }
        check_role(device, devices, &fault);
        check_limits(reader, index, device, emulate, (document, span.clone()));
    }
    for (role, most) in [(Role::Pcc, 1), (Role::Breaker, 1)] {
        let of_role: Vec<_> = devices.iter().filter(|(d, _)| d.role == role).collect();
        if let Some((device, (document, span))) = of_role.get(most) {
            document.error(
                "R013",
                span.clone(),
                format!("`{}` is a second {}", device.id, role.name()),
                "",
                "give it the role \"meter\" or \"load\"",
            );
        }
    }
}

fn check_role(
    device: &RigDevice,
    devices: &[(RigDevice, Place<'_>)],
    fault: &impl Fn(&'static str, String, &str),
) {
    let needs = match device.role {
        Role::Breaker => Some(Point::SwitchOn),
        _ => None,
    };
    if let Some(point) = needs.filter(|p| !takes(device, *p)) {
        fault(
            "R005",
            format!(
                "`{}` is a {} but its profile {} cannot set {point}",
                device.id,
                device.role.name(),
                device.profile.id
            ),
            "choose another profile or role",
        );
    }
    if device.shed.is_some() && !(device.role == Role::Load && takes(device, Point::SwitchOn)) {
        fault(
            "R006",
            format!("`{}` cannot be shed", device.id),
            "only loads with a switch can",
        );
    }
    if let Some(battery) = device.battery
        && devices
            .get(battery)
            .is_none_or(|(b, _)| b.role != Role::Battery)
    {
        fault(
            "R007",
            format!(
                "the battery of `{}` does not have the role \"battery\"",
                device.id
            ),
            "give it `role = \"battery\"`",
        );
    }
}

fn check_limits(
    _: &Reader<'_>,
    index: usize,
    device: &RigDevice,
    emulate: &Emulation,
    (document, span): Place<'_>,
) {
    let Some(p) = device.p else { return };
    let rated = emulate
        .devices
        .iter()
        .find(|(i, _)| *i == index)
        .and_then(|(_, e)| e.rated)
        .map(|s| ActivePower::from_watts(s.as_volt_amperes()));
    let profiled = match &device.profile.protocol {
        Protocol::Modbus(modbus) => modbus.controls.iter().find_map(|c| c.range),
        _ => None,
    };
    let widest = Quantity::max(p.upper().abs(), p.lower().abs());
    if let Some(rated) = rated.filter(|rated| widest > *rated) {
        document.error(
            "R012",
            span,
            format!("the limit of `{}` is wider than its nameplate", device.id),
            format!("limit {widest}, nameplate {rated}"),
            format!("use limits within {rated}"),
        );
    } else if let Some(range) = profiled.filter(|range| !range.encloses(p)) {
        document.error(
            "R012",
            span,
            format!(
                "the limit of `{}` is wider than its profile allows",
                device.id
            ),
            format!("limit {p}, profile {range}"),
            "use narrower limits",
        );
    }
}

pub(super) fn emulation(reader: &Reader<'_>, devices: &[(RigDevice, Place<'_>)]) -> Emulation {
    let mut emulation = Emulation::default();
    for (name, table) in reader.entries("emulate") {
        let options = EmulatedDevice {
            rated: table.quantity("rated").map(|x| x.value),
            soc: table.quantity("soc").map(|x| x.value),
            capacity: table.quantity("capacity").map(|x| x.value),
            ramp: table.quantity("ramp").map(|x| x.value),
            p: table.quantity("p").map(|x| x.value),
            port: table.integer("port", 0..=65_535).map(|x| x.value as u16),
            faults: table.texts("faults").into_iter().map(|x| x.value).collect(),
            measures: table.text("measures").map(|x| x.value),
        };
        match named(devices, &name) {
            Some(index) => emulation.devices.push((index, options)),
            None => table.document().error(
                "R009",
                table.span(),
                format!("`emulate` speaks of `{name}`, which the rig does not have"),
                "",
                "use the same names as in `[device]`",
            ),
        }
        table.finish();
    }
    if let Some(plant) = reader.section("plant") {
        emulation.feeder_r_ohm = plant.number("feeder_r_ohm").map(|x| x.value);
        emulation.feeder_x_ohm = plant.number("feeder_x_ohm").map(|x| x.value);
        emulation.day = plant.text("day").map(|x| reader.path(&plant, &x.value));
        plant.finish();
    }
    emulation
}

pub(super) fn influx(reader: &Reader<'_>) -> Option<Influx> {
    let telemetry = reader.section("telemetry")?;
    let table = telemetry.table("influx");
    telemetry.finish();
    let table = table?;
    let url = table.required_text("url", "http://127.0.0.1:8086");
    let influx = Influx {
        org: table.text("org").map_or_else(String::new, |x| x.value),
        bucket: table
            .required_text("bucket", "bench")
            .map_or_else(String::new, |x| x.value),
        token_env: table.text("token_env").map(|x| x.value),
        spool_bytes: table
            .text("spool")
            .and_then(|x| {
                let bytes = spool_bytes(&x.value);
                if bytes.is_none() {
                    table.document().error(
                        "D007",
                        x.span,
                        "`spool` cannot be read",
                        "",
                        "write it as \"512MB\"",
                    );
                }
                bytes
            })
            // Chosen: a day of the demo bench's telemetry.
            .unwrap_or(512_000_000),
        url: url.map_or_else(String::new, |x| x.value),
    };
    table.finish();
    Some(influx)
}

fn spool_bytes(text: &str) -> Option<u64> {
    let units = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)];
    units.iter().find_map(|(unit, factor)| {
        let number: u64 = text.trim().strip_suffix(unit)?.trim().parse().ok()?;
        number.checked_mul(*factor)
    })
}

pub(super) fn market(reader: &Reader<'_>, devices: &[(RigDevice, Place<'_>)]) -> Option<Market> {
    let table = reader.section("market")?;
    let document = table.document();
    let price = |key: &str, required: bool| {
        if required && !table.has(key) {
            table.missing::<()>(key, "22000");
        }
        market::Price(
            table
                .integer(key, -10_000_000..=10_000_000)
                .map_or(0, |p| p.value),
        )
    };
    let tariff = market::utility::Tariff {
        import: price("import_mc_per_kwh", true),
        export: price("export_mc_per_kwh", true),
        surcharge: price("surcharge_mc_per_kwh", false),
        congestion: price("congestion_mc_per_kwh", false),
        export_fee: price("export_fee_mc_per_kwh", false),
        loss_ppm: table
            .integer("loss_ppm", 0..=999_999)
            .map_or(0, |l| l.value as u32),
    };
    if let Err(e) = tariff.parity() {
        document.error(
            "R017",
            table.span(),
            e.to_string(),
            "",
            "see `gridrig explain R017`",
        );
    }
    if !table.has("interval") {
        table.missing::<()>("interval", "\"15s\"");
    }
    let interval = table.duration("interval");
    if let Some(interval) = &interval {
        // The gate: clearing, ledger and setpoints need about 0.2 s on this design's own figures;
        // a fifth of the interval for them leaves 1 s as the shortest.
        if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&interval.value) {
            document.error(
                "R018",
                interval.span.clone(),
                "the market interval must lie between 1 s and 1 h",
                "",
                "",
            );
        }
    }
    if !table.has("pcc_max") {
        table.missing::<()>("pcc_max", "\"40kW\"");
    }
    let pcc_max = table
        .quantity::<ActivePower>("pcc_max")
        .map(|p| p.value.abs());
    let mut participants = Vec::new();
    if let Some(list) = table.table("participant") {
        for name in list.keys() {
            let Some(entry) = list.table(&name.value) else {
                continue;
            };
            let index = named(devices, &name.value);
            if index.is_none() {
                document.error(
                    "R009",
                    name.span,
                    format!(
                        "`market` speaks of `{}`, which the rig does not have",
                        name.value
                    ),
                    "",
                    "use the same names as in `[device]`",
                );
            }
            let participation = participation(&entry);
            entry.finish();
            if let (Some(index), Some(participation)) = (index, participation) {
                participants.push((index, participation));
            }
        }
        list.finish();
    }
    table.finish();
    participants.sort_by_key(|(index, _)| *index);
    Some(Market {
        interval: interval?.value,
        tariff,
        pcc_max: pcc_max?,
        participants,
    })
}

fn participation(entry: &Table<'_>) -> Option<Participation> {
    #[derive(Clone, Copy)]
    enum Kind {
        Pv,
        MustRun,
        Flexible,
        Storage,
    }
    let kinds = [
        ("pv", Kind::Pv),
        ("must_run", Kind::MustRun),
        ("flexible", Kind::Flexible),
        ("storage", Kind::Storage),
    ];
    if !entry.has("kind") {
        return entry.missing("kind", "\"pv\"");
    }
    let price = |key: &str| {
        if entry.has(key) {
            entry
                .integer(key, -10_000_000..=10_000_000)
                .map(|p| p.value)
        } else {
            entry.missing(key, "20000")
        }
    };
    match entry.choice("kind", &kinds)?.value {
        Kind::Pv => Some(Participation::Pv),
        Kind::MustRun => Some(Participation::MustRun),
        Kind::Flexible => Some(Participation::Flexible {
            willingness_mc: price("willingness_mc_per_kwh")?,
        }),
        Kind::Storage => {
            let buy_below_mc = price("buy_below_mc_per_kwh");
            let sell_above_mc = price("sell_above_mc_per_kwh");
            Some(Participation::Storage {
                buy_below_mc: buy_below_mc?,
                sell_above_mc: sell_above_mc?,
            })
        }
    }
}

fn named(devices: &[(RigDevice, Place<'_>)], name: &str) -> Option<usize> {
    devices.iter().position(|(d, _)| *d.id == *name)
}
