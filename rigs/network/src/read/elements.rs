//! The elements of a network, one function each.

use document::Table;
use quantities::{ActivePower, ApparentPower, Current, ReactivePower, Voltage};

use super::{Named, Reader, shared};
use crate::description::{
    Connection, Impedance, Line, Load, Network, NeutralPath, On, Source, Switch, Transformer, Zip,
};

/// A voltage that must be there, in volts.
pub(super) fn volts(table: &Table<'_>, key: &str, example: &str) -> Option<f64> {
    if !table.has(key) {
        return table.missing(key, &format!("{example:?}"));
    }
    let volts = table.quantity::<Voltage>(key)?.value.as_volts();
    positive(table, key, volts)
}

/// A number that must be there.
fn required(table: &Table<'_>, key: &str, example: &str) -> Option<f64> {
    if !table.has(key) {
        return table.missing(key, example);
    }
    table.number(key).map(|x| x.value)
}

fn number(table: &Table<'_>, key: &str, default: f64) -> f64 {
    table.number(key).map_or(default, |x| x.value)
}

fn positive(table: &Table<'_>, key: &str, value: f64) -> Option<f64> {
    within(table, key, value, f64::MIN_POSITIVE, f64::MAX)
}

/// The value, or a fault with its place when it is outside of what there is.
fn within(table: &Table<'_>, key: &str, value: f64, low: f64, high: f64) -> Option<f64> {
    if (low..=high).contains(&value) {
        return Some(value);
    }
    let wanted = match (low, high) {
        (f64::MIN_POSITIVE, _) => "must be more than zero".to_owned(),
        (low, f64::MAX) => format!("must be at least {low}"),
        _ => format!("must lie between {low} and {high}"),
    };
    table.document().error(
        "R054",
        table.span_of(key),
        format!("`{key}` cannot be {value}"),
        wanted,
        "",
    );
    None
}

fn impedance(table: &Table<'_>, r: &str, x: &str, default: Impedance) -> Option<Impedance> {
    Some(Impedance {
        r: within(table, r, number(table, r, default.r), 0.0, f64::MAX)?,
        x: number(table, x, default.x),
    })
}

/// The zero sequence must be said where phases differ; elsewhere it is not looked at.
fn zero_sequence(table: &Table<'_>, network: &Network, (r, x): (&str, &str)) -> Option<Impedance> {
    if network.unbalanced {
        for key in [r, x] {
            if !table.has(key) {
                return table.missing(key, "0.8");
            }
        }
    }
    impedance(table, r, x, Impedance::default())
}

fn name(table: &Table<'_>, branches: &mut Vec<Named>, example: &str) -> Option<String> {
    let name = table.required_text("name", example)?;
    branches.push(Named {
        name: name.value.clone(),
        span: name.span,
    });
    Some(name.value)
}

fn phases(table: &Table<'_>) -> Option<On> {
    let words = [
        ("abc", On::All),
        ("a", On::One(0)),
        ("b", On::One(1)),
        ("c", On::One(2)),
    ];
    if !table.has("phase") {
        return Some(On::All);
    }
    table.choice("phase", &words).map(|x| x.value)
}

/// `[[network.source]]`.
pub(super) fn sources(reader: &Reader<'_>, table: &Table<'_>, network: &mut Network) {
    for source in table.tables("source") {
        let bus = reader.bus(&source, "bus", network);
        let v_pu = within(&source, "v_pu", number(&source, "v_pu", 1.0), 0.0, 2.0);
        let angle = number(&source, "angle_deg", 0.0);
        let z = impedance(&source, "r_ohm", "x_ohm", Impedance::default());
        let z2 = z.and_then(|z| impedance(&source, "r2_ohm", "x2_ohm", z));
        let z0 = z.and_then(|z| impedance(&source, "r0_ohm", "x0_ohm", z));
        source.finish();
        if let (Some(bus), Some(v_pu), Some(z), Some(z2), Some(z0)) = (bus, v_pu, z, z2, z0) {
            network.sources.push(Source {
                bus,
                v_pu,
                angle,
                z,
                z2,
                z0,
            });
        }
    }
}

/// `[[network.line]]`.
pub(super) fn lines(
    reader: &Reader<'_>,
    table: &Table<'_>,
    network: &mut Network,
    branches: &mut Vec<Named>,
) {
    for line in table.tables("line") {
        let name = name(&line, branches, "cable-1");
        let (from, to) = (
            reader.bus(&line, "from", network),
            reader.bus(&line, "to", network),
        );
        let length_m = required(&line, "length_m", "35")
            .and_then(|length| positive(&line, "length_m", length));
        let r = required(&line, "r_ohm_per_km", "0.208");
        let x = required(&line, "x_ohm_per_km", "0.080");
        let z_per_km = impedance(&line, "r_ohm_per_km", "x_ohm_per_km", Impedance::default());
        let z0_per_km = zero_sequence(&line, network, ("r0_ohm_per_km", "x0_ohm_per_km"));
        let c_nf_per_km = number(&line, "c_nf_per_km", 0.0);
        let c0_nf_per_km = number(&line, "c0_nf_per_km", c_nf_per_km);
        let i_max = (line.quantity::<Current>("i_max"))
            .and_then(|i| positive(&line, "i_max", i.value.as_amperes()));
        let span = line.span();
        line.finish();
        let (Some(name), Some(from), Some(to), Some(length_m)) = (name, from, to, length_m) else {
            continue;
        };
        let (Some(_), Some(_), Some(z_per_km), Some(z0_per_km)) = (r, x, z_per_km, z0_per_km)
        else {
            continue;
        };
        let (one, other) = (&network.buses[from], &network.buses[to]);
        if (one.v_ll - other.v_ll).abs() > 1e-6 * one.v_ll {
            reader.document.error(
                "R054",
                span,
                format!(
                    "`{name}` joins {} V and {} V, which a line cannot",
                    one.v_ll, other.v_ll
                ),
                "",
                "a transformer stands between two voltages",
            );
            continue;
        }
        network.lines.push(Line {
            name: shared(&name),
            from,
            to,
            length_m,
            z_per_km,
            z0_per_km,
            c_nf_per_km,
            c0_nf_per_km,
            i_max,
        });
    }
}

/// `[[network.transformer]]`.
pub(super) fn transformers(
    reader: &Reader<'_>,
    table: &Table<'_>,
    network: &mut Network,
    branches: &mut Vec<Named>,
) {
    for t in table.tables("transformer") {
        let name = name(&t, branches, "transformer-1");
        let high = reader.bus(&t, "high", network);
        let low = reader.bus(&t, "low", network);
        if !t.has("s") {
            t.missing::<()>("s", "\"400kVA\"");
        }
        let s_va = t
            .quantity::<ApparentPower>("s")
            .and_then(|s| positive(&t, "s", s.value.as_volt_amperes()));
        let v_high = volts(&t, "v_high", "20kV");
        let v_low = volts(&t, "v_low", "400V");
        let vk = required(&t, "vk_percent", "4").and_then(|vk| positive(&t, "vk_percent", vk));
        let vkr = required(&t, "vkr_percent", "1.4")
            .and_then(|vkr| within(&t, "vkr_percent", vkr, 0.0, vk.unwrap_or(f64::MAX)));
        let vk0 = positive(
            &t,
            "vk0_percent",
            number(&t, "vk0_percent", vk.unwrap_or(1.0)),
        );
        let vkr0 = number(&t, "vkr0_percent", vkr.unwrap_or(0.0));
        let iron = t
            .quantity::<ActivePower>("iron_loss")
            .map_or(0.0, |p| p.value.as_watts());
        let no_load = number(&t, "no_load_current_percent", 0.0);
        let tap = number(&t, "tap_percent", 0.0);
        let tap = within(&t, "tap_percent", tap, -50.0, 50.0);
        let group = group(reader, &t);
        t.finish();
        let (Some(name), Some(high), Some(low), Some(s_va)) = (name, high, low, s_va) else {
            continue;
        };
        let (Some(v_high), Some(v_low), Some(vk_percent), Some(vkr_percent)) =
            (v_high, v_low, vk, vkr)
        else {
            continue;
        };
        let (Some(vk0_percent), Some(tap_percent), Some((neutral, clock))) = (vk0, tap, group)
        else {
            continue;
        };
        network.transformers.push(Transformer {
            name: shared(&name),
            high,
            low,
            s_va,
            v_high,
            v_low,
            vk_percent,
            vkr_percent,
            vk0_percent,
            vkr0_percent: vkr0,
            iron_loss_w: iron,
            no_load_current_percent: no_load,
            tap_percent,
            clock,
            neutral,
        });
    }
}

fn group(reader: &Reader<'_>, table: &Table<'_>) -> Option<(NeutralPath, u8)> {
    let text = table.required_text("group", "Dyn5")?;
    let known = [
        ("Dyn", NeutralPath::LowGrounded),
        ("Yzn", NeutralPath::LowGrounded),
        ("Dzn", NeutralPath::LowGrounded),
        ("YNyn", NeutralPath::Through),
    ];
    let found = known.iter().find_map(|(word, neutral)| {
        let clock: u8 = text.value.strip_prefix(word)?.parse().ok()?;
        (clock < 12).then_some((*neutral, clock))
    });
    if found.is_none() {
        reader.document.error(
            "R055",
            text.span,
            format!("the vector group `{}` is not known", text.value),
            "",
            "Dyn, Yzn, Dzn or YNyn with a clock number, such as `Dyn5`",
        );
    }
    found
}

/// `[[network.switch]]`.
pub(super) fn switches(
    reader: &Reader<'_>,
    table: &Table<'_>,
    network: &mut Network,
    branches: &mut Vec<Named>,
) {
    for switch in table.tables("switch") {
        let name = name(&switch, branches, "breaker-1");
        let (from, to) = (
            reader.bus(&switch, "from", network),
            reader.bus(&switch, "to", network),
        );
        let closed = switch.boolean("closed").is_none_or(|x| x.value);
        let device = switch.text("device");
        let span = switch.span_of("name");
        switch.finish();
        let (Some(name), Some(from), Some(to)) = (name, from, to) else {
            continue;
        };
        let same = |other: &&Switch| {
            (other.from, other.to) == (from, to)
                || (other.from, other.to) == (to, from)
                || device
                    .as_ref()
                    .is_some_and(|d| other.device.as_deref() == Some(&d.value))
        };
        if let Some(other) = network.switches.iter().find(same) {
            reader.document.error(
                "R052",
                span,
                format!("`{name}` and `{}` are two names for one switch", other.name),
                "",
                "between two buses there is one switch, and a device is one",
            );
            continue;
        }
        network.switches.push(Switch {
            name: shared(&name),
            from,
            to,
            closed,
            device: device.map(|d| shared(&d.value)),
        });
    }
}

/// `[[network.load]]`.
pub(super) fn loads(reader: &Reader<'_>, table: &Table<'_>, network: &mut Network) {
    for load in table.tables("load") {
        let bus = reader.bus(&load, "bus", network);
        let on = phases(&load);
        if !load.has("p") {
            load.missing::<()>("p", "\"3kW\"");
        }
        let p = load
            .quantity::<ActivePower>("p")
            .map(|p| p.value.as_watts());
        let q = load
            .quantity::<ReactivePower>("q")
            .map_or(0.0, |q| q.value.as_vars());
        let share = |key| within(&load, key, number(&load, key, 0.0), 0.0, 100.0);
        let (z, i) = (share("constant_z_percent"), share("constant_i_percent"));
        if let (Some(z), Some(i)) = (z, i) {
            within(&load, "constant_i_percent", i, 0.0, 100.0 - z);
        }
        load.finish();
        if let (Some(bus), Some(on), Some(p), Some(z), Some(i)) = (bus, on, p, z, i) {
            let zip = Zip {
                z: z / 100.0,
                i: i / 100.0,
            };
            network.loads.push(Load { bus, on, p, q, zip });
        }
    }
}

/// `[[network.connection]]`.
pub(super) fn connections(reader: &Reader<'_>, table: &Table<'_>, network: &mut Network) {
    for connection in table.tables("connection") {
        let device = connection.required_text("device", "pv1");
        let bus = reader.bus(&connection, "bus", network);
        let on = phases(&connection);
        connection.finish();
        let (Some(device), Some(bus), Some(on)) = (device, bus, on) else {
            continue;
        };
        if network
            .connections
            .iter()
            .any(|c| *c.device == *device.value)
        {
            reader.document.error(
                "R052",
                device.span,
                format!("`{}` hangs on a second bus", device.value),
                "",
                "a device hangs on one bus",
            );
            continue;
        }
        network.connections.push(Connection {
            device: shared(&device.value),
            bus,
            on,
        });
    }
}
