//! The `[device]` section: what hangs on the buses, with which profile and limits.

use std::sync::Arc;
use std::time::Duration;

use bus::KeepAlives;
use document::{Source, Spanned, Table};
use model::{Efficiency, Forming, Point, Role};
use profile::modbus::CommsLoss;
use profile::{Profile, Protocol};
use quantities::{
    ApparentPower, Frequency, FrequencyRate, PowerRamp, Quantity, Temperature, Voltage, VoltageRate,
};

use super::bench::takes;
use super::parse::{DEVICES_MAX, Reader};
use super::sections::Place;
use super::{BusKind, RigBus, RigDevice};

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
    let keep_alives = keep_alives(table, profile.as_deref());
    let profile = profile.map(|profile| permitted(profile, keep_alives, table));
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
    let source_limited = limits
        .as_ref()
        .is_some_and(|limits| limits.has("f") && limits.has("v"));
    let (f, v, rocof, slew) = match &limits {
        Some(limits) => (
            limits.range::<Frequency>("f").map(|f| f.value),
            limits.range::<Voltage>("v").map(|v| v.value),
            limits
                .quantity::<FrequencyRate>("rocof")
                .map(|rate| rate.value),
            limits
                .quantity::<VoltageRate>("slew")
                .map(|rate| rate.value),
        ),
        None => (None, None, None, None),
    };
    let temperature = |key| limits.as_ref()?.range::<Temperature>(key).map(|t| t.value);
    let (t_charge, t_discharge) = (temperature("t_charge"), temperature("t_discharge"));
    if let Some(limits) = limits {
        limits.finish();
    }
    let forming = forming(table, role);
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
    let ramp = table.quantity("ramp").map(|r| r.value);
    let device = RigDevice {
        id: name.into(),
        ramp: slowest(ramp, profile.as_deref()),
        capacity: table.quantity("capacity").map(|c| c.value),
        efficiency: efficiency(table),
        revert: table.duration("revert").map(|r| r.value),
        shed: table.integer("shed", 1..=255).map(|s| s.value as u8),
        invert: table.boolean("invert").is_some_and(|i| i.value),
        unit,
        topic,
        p,
        s,
        f,
        v,
        rocof,
        slew,
        soc,
        t_charge,
        t_discharge,
        forming,
        battery,
        poll,
        keep_alives,
        profile: profile?,
        bus: bus?,
        role: role?,
    };
    let moves_power =
        takes(&device, Point::ActivePowerSet) || takes(&device, Point::ActivePowerLimit);
    let accepted = table.boolean("accept_hold").is_some_and(|a| a.value);
    if moves_power && keeps_for_ever(&device) && !accepted {
        document.error(
            "R014",
            table.span(),
            format!("`{name}` keeps its last setpoint for ever when it hears nothing"),
            "",
            "use a profile whose `comms_loss` says how the device falls back by itself; if the device \
             cannot, and somebody stands beside it, say `accept_hold = true`",
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
    if device.role == Role::Source && !source_limited {
        document.error(
            "R008",
            table.span(),
            format!("`{name}` sets frequency and voltage of the bench but has no limits of both"),
            "",
            "add `limits = { f = \"47..52Hz\", v = \"180..260V\" }`",
        );
    }
    Some(device)
}

/// The profile without a write path where the rig does not give one: unless it says otherwise,
/// everything may be written except where the profile asks to be told. What keeps a device awake
/// is written as well, and stays only where the rig says that it is sent always.
fn permitted(profile: Arc<Profile>, keep_alives: KeepAlives, table: &Table<'_>) -> Arc<Profile> {
    let allowed = table
        .boolean("allow_writes")
        .map_or(!profile.opt_in, |allowed| allowed.value);
    if allowed {
        return profile;
    }
    let mut closed = profile.read_only();
    if let (KeepAlives::Always, Protocol::Can(closed), Protocol::Can(open)) =
        (keep_alives, &mut closed.protocol, &profile.protocol)
    {
        closed.keep_alive.clone_from(&open.keep_alive);
    }
    Arc::new(closed)
}

/// What a storage keeps of the energy that passes through it.
fn efficiency(table: &Table<'_>) -> Efficiency {
    let share = |key: &str, usual: f64| {
        let Some(found) = table.quantity::<quantities::StateOfCharge>(key) else {
            return usual;
        };
        let share = found.value.as_fraction();
        if (0.5..=1.0).contains(&share) {
            return share;
        }
        table.document().error(
            "D005",
            found.span,
            format!("`{key}` must lie between 50 % and 100 %"),
            "",
            "it is the share of the energy that comes through, one way",
        );
        usual
    };
    Efficiency {
        charge: share("charge_efficiency", Efficiency::USUAL.charge),
        discharge: share("discharge_efficiency", Efficiency::USUAL.discharge),
    }
}

/// What a device does where no utility is: a storage or a set forms along a droop unless the rig says otherwise.
fn forming(table: &Table<'_>, role: Option<Role>) -> Forming {
    let words = [
        ("droop", Forming::Droops),
        ("isochronous", Forming::Isochronous),
        ("follows", Forming::Follows),
    ];
    let wish = table.choice("forming", &words);
    let can_form = matches!(role, Some(Role::Ess | Role::Genset));
    if let Some(wish) = wish.as_ref().filter(|_| !can_form) {
        table.document().error(
            "D005",
            wish.span.clone(),
            "only a storage inverter or a generating set forms a voltage",
            "",
            "leave `forming` out",
        );
    }
    match wish {
        Some(wish) => wish.value,
        None if can_form => Forming::Droops,
        None => Forming::Follows,
    }
}

/// The slower of the rig's ramp and those that the profile's controls bear.
fn slowest(rig: Option<PowerRamp>, profile: Option<&Profile>) -> Option<PowerRamp> {
    let controls = match profile.map(|p| &p.protocol) {
        Some(Protocol::Modbus(modbus)) => modbus.controls.as_slice(),
        _ => &[],
    };
    let ramps = controls.iter().filter_map(|c| c.ramp).chain(rig);
    ramps.min_by(|a, b| a.base().total_cmp(&b.base()))
}

/// Whether a control that moves power has no fallback of the device's own.
fn keeps_for_ever(device: &RigDevice) -> bool {
    let moves = [Point::ActivePowerSet, Point::ActivePowerLimit];
    match &device.profile.protocol {
        Protocol::Modbus(modbus) => modbus
            .controls
            .iter()
            .any(|c| moves.contains(&c.point) && c.comms_loss == CommsLoss::Holds),
        Protocol::Mqtt(mqtt) => mqtt
            .commands
            .iter()
            .any(|c| moves.contains(&c.point) && c.revert.is_none()),
        Protocol::Can(can) => can
            .controls
            .iter()
            .any(|c| moves.contains(&c.point) && c.comms_loss == CommsLoss::Holds),
        // A load that goes on drawing what it drew harms nobody; that is what loads do.
        Protocol::Scpi(_) => false,
    }
}

/// When a CAN device is sent its keep-alives; the key is a mistake at any other device.
fn keep_alives(table: &Table<'_>, profile: Option<&Profile>) -> KeepAlives {
    let words = &[
        ("armed", KeepAlives::WhileArmed),
        ("always", KeepAlives::Always),
    ];
    let Some(wish) = table.choice("keep_alive", words) else {
        return KeepAlives::default();
    };
    if profile.is_some_and(|p| !matches!(p.protocol, Protocol::Can(_))) {
        table.document().error(
            "D005",
            wish.span,
            "only a device on CAN is sent keep-alives",
            "",
            "leave `keep_alive` out",
        );
    }
    wish.value
}

/// Serial lines below this bear one block of a meter per second besides their writes, not five.
/// A read of 74 registers takes 170 ms at 9600 baud.
const SLOW_BAUD: u32 = 38_400;

/// Default periods of the poll classes. Chosen: fast 200 ms, two control periods, and 1 s on slow
/// serial lines; normal 1 s; slow 60 s.
fn poll(table: &Table<'_>, bus: Option<&BusKind>) -> bus::PollPeriods {
    let slow_line = bus
        .and_then(BusKind::serial)
        .is_some_and(|settings| settings.baud < SLOW_BAUD);
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
