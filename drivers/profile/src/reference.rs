//! The reference page of all bundled devices, generated from their profiles.
//!
//! `drivers/profile/REFERENCE.md` holds the same text; a test keeps the two equal.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use model::Point;

use crate::can::{Bits, ByteOrder, CanId, CanProfile, ControlField, Frame, Number};
use crate::modbus::{
    Address, CommsLoss, Control, DataType, Encoding, FieldValue, Layout, ModbusProfile, Parity,
    Poll, Table, WordOrder, WriteFunction,
};
use crate::mqtt::{Command, MqttProfile, Payload};
use crate::scpi::{Form, ScpiProfile};
use crate::{EXPLANATIONS, Profile, Protocol, bundled, bundled_class, bundled_ids, sunspec};

/// The whole page, in Markdown.
#[must_use]
pub fn reference_page() -> String {
    let mut page = String::from(
        "# Devices, points and codes\n\n\
         Generated from the profiles; do not edit (run the tests of `profile` with `UPDATE=1`).\n\n\
         Positive is power from the device into the AC bus. A factor turns the raw number into \
         the unit beside it, the vendor's sign included. Addresses are zero-based wire addresses; \
         those of SunSpec are `model+offset`, counted from the model's ID register. \
         Values outside their range are not believed.\n",
    );
    contents(&mut page);
    for (class, title) in CLASSES {
        line(&mut page, &format!("\n## {title}"));
        for profile in of_class(class) {
            device(&mut page, &profile);
        }
    }
    points(&mut page);
    models(&mut page);
    let _ = write!(page, "\n## {CODES}\n\n");
    for (code, text) in EXPLANATIONS {
        line(&mut page, &format!("- **{code}** {text}"));
    }
    page
}

/// Classes of device, which are the folders of the profiles, with their headings.
const CLASSES: &[(&str, &str)] = &[
    ("inverter", "Photovoltaic inverters"),
    ("storage", "Storage inverters"),
    ("battery", "Batteries"),
    ("meter", "Meters"),
    ("plug", "Plugs and relays"),
    ("breaker", "Breakers"),
    ("instrument", "Bench instruments"),
];

/// Headings of what follows the devices.
const POINTS: &str = "Canonical points";
const MODELS: &str = "SunSpec models with a bundled layout";
const CODES: &str = "Codes";

fn of_class(class: &str) -> impl Iterator<Item = Arc<Profile>> {
    bundled_ids()
        .into_iter()
        .filter(move |id| bundled_class(id) == Some(class))
        .filter_map(bundled)
}

/// A heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn contents(page: &mut String) {
    line(page, "");
    for (class, title) in CLASSES {
        line(page, &format!("- [{title}](#{})", anchor(title)));
        for profile in of_class(class) {
            let id = &profile.id;
            let link = format!("  - [`{id}`](#{}): {}", anchor(id), profile.title);
            line(page, &link);
        }
    }
    for heading in [POINTS, MODELS, CODES] {
        line(page, &format!("- [{heading}](#{})", anchor(heading)));
    }
}

fn line(page: &mut String, text: &str) {
    page.push_str(text);
    page.push('\n');
}

fn table(page: &mut String, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    line(page, &format!("\n| {} |", head.join(" | ")));
    line(page, &format!("|{}", " --- |".repeat(head.len())));
    for row in rows {
        // A bar inside a cell would end it.
        let cells: Vec<String> = row.iter().map(|c| c.replace('|', "\\|")).collect();
        line(page, &format!("| {} |", cells.join(" | ")));
    }
}

fn device(page: &mut String, profile: &Profile) {
    line(
        page,
        &format!("\n### `{}`\n\n{}.\n", profile.id, profile.title),
    );
    for source in &profile.source {
        line(page, &format!("- Source: {source}."));
    }
    line(page, &format!("- Version: {}.", profile.version));
    if profile.opt_in {
        line(
            page,
            "- Read only, unless the rig's device says `allow_writes = true`.",
        );
    }
    match &profile.protocol {
        Protocol::Modbus(modbus) => registers(page, modbus),
        Protocol::Can(can) => frames(page, can),
        Protocol::Mqtt(mqtt) => topics(page, mqtt),
        Protocol::Scpi(scpi) => queries(page, scpi),
    }
}

fn unit(point: Point) -> &'static str {
    match point.unit() {
        "1" => "–",
        unit => unit,
    }
}

/// A value with its base unit, if the point has one.
fn value(value: f64, point: Point) -> String {
    match point.unit() {
        "1" => value.to_string(),
        unit => format!("{value} {unit}"),
    }
}

fn range((low, high): (f64, f64)) -> String {
    format!("{low} … {high}")
}

/// A factor without the noise of binary fractions.
fn factor(value: f64) -> String {
    // Ten digits show every factor that a vendor writes.
    let rounded = format!("{value:.10}");
    let trimmed = rounded.trim_end_matches('0').trim_end_matches('.');
    trimmed.to_owned()
}

fn time(time: Duration) -> String {
    match time.as_millis() {
        ms if ms % 1000 == 0 => format!("{} s", ms / 1000),
        ms => format!("{ms} ms"),
    }
}

fn registers(page: &mut String, modbus: &ModbusProfile) {
    let mut facts = format!(
        "- Modbus: unit {}, timeout {}, gap {}, at most {} registers per read over holes of {}",
        modbus.unit,
        time(modbus.timeout),
        time(modbus.min_gap),
        modbus.max_regs,
        modbus.max_gap
    );
    if let Some(serial) = modbus.serial {
        let parity = match serial.parity {
            Parity::None => 'N',
            Parity::Even => 'E',
            Parity::Odd => 'O',
        };
        let _ = write!(
            facts,
            "; serial {} 8{parity}{}",
            serial.baud, serial.stop_bits
        );
    }
    if !modbus.connect_delay.is_zero() {
        let _ = write!(
            facts,
            "; silent for {} after connecting",
            time(modbus.connect_delay)
        );
    }
    if modbus.write_function == WriteFunction::Single {
        facts.push_str("; written with function 6");
    }
    line(page, &format!("{facts}."));
    if let Layout::SunSpec {
        required,
        one_of,
        optional,
    } = &modbus.layout
    {
        let list = |before: &str, models: &[u16]| {
            let numbers: Vec<String> = models.iter().map(u16::to_string).collect();
            match models {
                [] => String::new(),
                _ => format!("{before}{}", numbers.join(", ")),
            }
        };
        line(
            page,
            &format!(
                "- SunSpec models: {}{}{}.",
                list("", required),
                list("; one of ", one_of),
                list("; used where they are: ", optional)
            ),
        );
    }
    for heartbeat in &modbus.heartbeats {
        line(
            page,
            &format!(
                "- Heartbeat: {} as {} is moved on every {} while the bench is armed.",
                address(heartbeat.address),
                data(heartbeat.encoding),
                time(heartbeat.every)
            ),
        );
    }
    for identify in &modbus.identify {
        line(
            page,
            &format!(
                "- Known by: {} as {} times {} in {}.",
                address(identify.address),
                data(identify.encoding),
                factor(identify.encoding.factor),
                range(identify.range)
            ),
        );
    }
    table(
        page,
        &[
            "Point", "Unit", "Address", "Type", "Factor", "Scale", "Poll", "Range",
        ],
        modbus.points.iter().map(|p| {
            vec![
                format!("`{}`", p.point),
                unit(p.point).to_owned(),
                address(p.address),
                data(p.encoding).to_owned(),
                factor(p.encoding.factor),
                p.encoding.scale.map_or_else(|| "–".to_owned(), address),
                format!(
                    "{}{}",
                    poll(p.poll),
                    if p.monotonic { ", counter" } else { "" }
                ),
                range(p.range),
            ]
        }),
    );
    for control in &modbus.controls {
        recipe(page, control);
    }
}

/// What happens to a setting that nobody repeats.
fn on_loss(loss: CommsLoss, refresh: Option<Duration>) -> String {
    let loss = match loss {
        CommsLoss::Reverts { after } => format!("the device reverts after {}", time(after)),
        CommsLoss::Holds => "the device holds the last value".to_owned(),
    };
    let refresh = refresh.map_or_else(String::new, |r| format!(", rewritten every {}", time(r)));
    format!("{loss}{refresh}")
}

fn recipe(page: &mut String, control: &Control) {
    let loss = on_loss(control.comms_loss, control.refresh);
    let bounds = [
        control.range.map(|range| format!(", takes {range}")),
        control.ceiling.map(|p| format!(", no more than `{p}`")),
        control.floor.map(|p| format!(", no less than minus `{p}`")),
        control.ramp.map(|ramp| format!(", no faster than {ramp}")),
    ];
    let bounds: String = bounds.into_iter().flatten().collect();
    line(
        page,
        &format!(
            "\n**Sets `{}`**: safe value {}, read back within {}{bounds}; without a word {loss}.",
            control.point,
            value(control.safe, control.point),
            value(control.readback.tolerance, control.point),
        ),
    );
    table(
        page,
        &["Address", "Type", "Written"],
        control.fields.iter().map(|field| {
            let written = match &field.value {
                FieldValue::Constant(raw) => format!("{raw}"),
                FieldValue::Setpoint => "the setpoint".to_owned(),
                FieldValue::PercentOf { reference, min } if min.is_infinite() => {
                    format!("the setpoint in percent of `{reference}`")
                }
                FieldValue::PercentOf { reference, min } => {
                    format!("the setpoint in percent of `{reference}`, at least {min}")
                }
                FieldValue::Magnitude => "the setpoint without its sign".to_owned(),
                FieldValue::PositivePart => "the setpoint, 0 below zero".to_owned(),
                FieldValue::NegativePart => "minus the setpoint, 0 above zero".to_owned(),
                FieldValue::BySign {
                    positive,
                    zero,
                    negative,
                } => format!("{positive} above zero, {zero} at zero, {negative} below"),
                FieldValue::RevertSeconds => "the revert time in seconds".to_owned(),
            };
            vec![
                address(field.address),
                data(field.encoding).to_owned(),
                written,
            ]
        }),
    );
}

fn address(address: Address) -> String {
    match address {
        Address::Fixed { table, address } => {
            let table = match table {
                Table::Holding => "holding",
                Table::Input => "input",
                Table::Coil => "coil",
                Table::Discrete => "discrete",
            };
            format!("{table} {address:#06x}")
        }
        Address::Model { model, offset } => format!("{model}+{offset}"),
    }
}

fn data(encoding: Encoding) -> &'static str {
    match (encoding.data, encoding.order) {
        (DataType::Bit, _) => "bit",
        (DataType::U16, _) => "u16",
        (DataType::I16, _) => "i16",
        (DataType::U32, WordOrder::BigFirst) => "u32",
        (DataType::I32, WordOrder::BigFirst) => "i32",
        (DataType::U64, WordOrder::BigFirst) => "u64",
        (DataType::I64, WordOrder::BigFirst) => "i64",
        (DataType::F32, WordOrder::BigFirst) => "f32",
        (DataType::U32, WordOrder::LittleFirst) => "u32 CDAB",
        (DataType::I32, WordOrder::LittleFirst) => "i32 CDAB",
        (DataType::U64, WordOrder::LittleFirst) => "u64 CDAB",
        (DataType::I64, WordOrder::LittleFirst) => "i64 CDAB",
        (DataType::F32, WordOrder::LittleFirst) => "f32 CDAB",
    }
}

fn poll(poll: Poll) -> &'static str {
    match poll {
        Poll::Fast => "fast",
        Poll::Normal => "normal",
        Poll::Slow => "slow",
        Poll::Once => "once",
    }
}

fn can_id(id: CanId) -> String {
    match id {
        CanId::Standard(id) => format!("{id:#05x}"),
        CanId::Extended(id) => format!("{id:#010x}"),
    }
}

fn frames(page: &mut String, can: &CanProfile) {
    line(page, &format!("- CAN: {} bit/s.", can.bitrate));
    for keep_alive in &can.keep_alive {
        let bytes: Vec<String> = keep_alive.data.iter().map(|b| format!("{b:02x}")).collect();
        let said_back: Vec<String> = keep_alive
            .values
            .iter()
            .map(|(point, field)| format!("`{point}` in {}", bits(field.at)))
            .collect();
        let with = match said_back.as_slice() {
            [] => String::new(),
            values => format!(" with its own {}", values.join(", ")),
        };
        let silent = keep_alive.wakes_for.map_or_else(String::new, |wakes_for| {
            format!("; silent without it for {}", time(wakes_for))
        });
        line(
            page,
            &format!(
                "- Wants to hear {} `{}`{with} every {}{silent}.",
                can_id(keep_alive.id),
                bytes.join(" "),
                time(keep_alive.every)
            ),
        );
    }
    for frame in &can.frames {
        if let Some(text) = &frame.identify {
            line(
                page,
                &format!(
                    "- Known by: {} begins with `{}`.",
                    can_id(frame.id),
                    String::from_utf8_lossy(text).escape_debug()
                ),
            );
        }
    }
    table(
        page,
        &[
            "Point", "Unit", "Frame", "Bits", "Factor", "Period", "Timeout", "Range",
        ],
        can.frames.iter().flat_map(|frame| {
            frame.signals.iter().map(move |s| {
                let number = match s.field.number {
                    Number::Unsigned => "",
                    Number::Signed => ", signed",
                    Number::Float => ", float",
                };
                let mask = match s.mask {
                    u64::MAX => String::new(),
                    mask => format!(", of these {mask:#x}"),
                };
                vec![
                    format!("`{}`", s.point),
                    unit(s.point).to_owned(),
                    frame_name(frame),
                    format!("{}{number}{mask}", bits(s.field.at)),
                    factor(s.field.factor),
                    time(frame.period),
                    time(frame.timeout),
                    range(s.range),
                ]
            })
        }),
    );
    for control in &can.controls {
        let loss = match control.comms_loss {
            CommsLoss::Reverts { after } => {
                format!("the device falls back after {}", time(after))
            }
            CommsLoss::Holds => "the device holds the last value".to_owned(),
        };
        let again = control
            .refresh
            .map_or_else(String::new, |every| format!(", sent every {}", time(every)));
        line(
            page,
            &format!(
                "\n**Sets `{}`** with {} of {} bytes{again}: safe value {}, confirmed within {}; without a word {loss}.\n",
                control.point,
                can_id(control.id),
                control.len,
                value(control.safe, control.point),
                time(control.confirm_within)
            ),
        );
        for field in &control.fields {
            let what = match field {
                ControlField::Setpoint(field) => {
                    format!("the setpoint, factor {}", factor(field.factor))
                }
                ControlField::Constant(_, raw) => format!("always {raw}"),
                ControlField::Counter(_) => "one more each time".to_owned(),
            };
            line(page, &format!("- {}: {what}", bits(field.at())));
        }
    }
}

fn bits(at: Bits) -> String {
    let order = match at.order {
        ByteOrder::Little => "little",
        ByteOrder::Big => "big",
    };
    format!("{} from {}, {order}", at.len, at.start)
}

/// The identifier of a frame, with its page if it is one of several.
fn frame_name(frame: &Frame) -> String {
    let pages: Vec<String> = frame
        .page
        .iter()
        .flat_map(|s| &s.values)
        .map(|(low, high)| {
            if low == high {
                low.to_string()
            } else {
                format!("{low}…{high}")
            }
        })
        .collect();
    match pages.as_slice() {
        [] => can_id(frame.id),
        pages => format!("{} page {}", can_id(frame.id), pages.join(", ")),
    }
}

fn topics(page: &mut String, mqtt: &MqttProfile) {
    line(
        page,
        &format!(
            "- MQTT: `{{t}}` is the device's topic, `{{c}}` the controller's; stale after {}.",
            time(mqtt.timeout)
        ),
    );
    if let Some(availability) = &mqtt.availability {
        let place = availability.json.as_ref().map_or_else(String::new, |json| {
            format!(" (at `{json}` where it is JSON)")
        });
        line(
            page,
            &format!(
                "- There when `{}` says `{}`, gone at `{}`{place}.",
                availability.topic, availability.online, availability.offline
            ),
        );
    }
    if mqtt.empty_is_gone {
        line(
            page,
            "- An empty payload says that the source of the values is gone.",
        );
    }
    for request in &mqtt.requests {
        let payload = match request.payload.as_str() {
            "" => "nothing".to_owned(),
            text => format!("`{text}`"),
        };
        line(
            page,
            &format!(
                "- Asked: {payload} to `{}` every {}.",
                request.topic,
                time(request.every)
            ),
        );
    }
    table(
        page,
        &["Point", "Unit", "Topic", "Value", "Factor", "Range"],
        mqtt.topics.iter().flat_map(|topic| {
            topic.values.iter().map(move |v| {
                vec![
                    format!("`{}`", v.point),
                    unit(v.point).to_owned(),
                    format!("`{}`", topic.subscribe),
                    v.json
                        .as_ref()
                        .map_or_else(|| "whole payload".to_owned(), |j| format!("`{j}`")),
                    factor(v.factor),
                    range(v.range),
                ]
            })
        }),
    );
    for command in &mqtt.commands {
        told(page, command);
    }
}

fn told(page: &mut String, command: &Command) {
    let loss = match (command.revert, command.refresh) {
        (Some(revert), Some(refresh)) => format!(
            "the device falls back by itself after {}, so it is said again every {}",
            time(revert),
            time(refresh)
        ),
        _ => "the device holds the last value".to_owned(),
    };
    line(
        page,
        &format!(
            "\n**Sets `{}`** on `{}`: safe value {}, confirmed within {}; without a word {loss}.\n",
            command.point,
            command.topic,
            command.safe,
            time(command.confirm_within)
        ),
    );
    match &command.payload {
        Payload::Switch { on, off, dead_man } => {
            line(page, &format!("- 1: `{on}`"));
            line(page, &format!("- 0: `{off}`"));
            if let Some(dead_man) = dead_man {
                line(page, &format!("- 1, with timer: `{dead_man}`"));
            }
        }
        Payload::Number {
            template,
            factor: per_number,
            decimals,
            range: taken,
            tolerance,
        } => line(
            page,
            &format!(
                "- `{template}`: factor {}, {decimals} decimals, {} {unit}, confirmed to {tolerance} {unit}",
                factor(*per_number),
                range(*taken),
                unit = unit(command.point),
            ),
        ),
    }
}

fn queries(page: &mut String, scpi: &ScpiProfile) {
    line(
        page,
        &format!(
            "- SCPI: TCP port {}, timeout {}, gap {}; known by `{}` in its reply to `*IDN?`.",
            scpi.port,
            time(scpi.timeout),
            time(scpi.min_gap),
            scpi.identify
        ),
    );
    if !scpi.remote.is_empty() {
        let messages: Vec<String> = scpi.remote.iter().map(|m| format!("`{m}`")).collect();
        line(
            page,
            &format!("- Before the first setting: {}.", messages.join(", ")),
        );
    }
    table(
        page,
        &["Point", "Unit", "Query", "Field", "Factor", "Poll", "Range"],
        scpi.points.iter().map(|p| {
            vec![
                format!("`{}`", p.point),
                unit(p.point).to_owned(),
                format!("`{}`", p.query),
                p.field.to_string(),
                factor(p.factor),
                poll(p.poll).to_owned(),
                range(p.range),
            ]
        }),
    );
    for control in &scpi.controls {
        let safe = control.safe.map_or_else(
            || "goes back to the site's nominal value at a safe end".to_owned(),
            |safe| format!("safe value {}", value(safe, control.point)),
        );
        line(
            page,
            &format!(
                "\n**Sets `{}`**: {safe}, read back with `{}` within {}; without a word {}.\n",
                control.point,
                control.readback,
                value(control.tolerance, control.point),
                on_loss(control.comms_loss, control.refresh),
            ),
        );
        match &control.form {
            Form::Number { template, decimals } => line(
                page,
                &format!(
                    "- `{template}` with {decimals} decimals, factor {}",
                    factor(control.factor)
                ),
            ),
            Form::Switch { on, off } => {
                line(page, &format!("- 1: `{on}`"));
                line(page, &format!("- 0: `{off}`"));
            }
        }
        if let Some(limit) = &control.limit {
            line(page, &format!("- Limits of the rig: `{limit}`"));
        }
    }
}

fn points(page: &mut String) {
    line(page, &format!("\n## {POINTS}"));
    let ids = bundled_ids();
    let profiles: Vec<_> = ids.iter().filter_map(|id| bundled(id)).collect();
    table(
        page,
        &["Point", "Unit", "Said by", "Taken by"],
        Point::ALL.iter().map(|point| {
            let list = |has: &dyn Fn(&Profile) -> bool| {
                let ids: Vec<String> = profiles
                    .iter()
                    .filter(|p| has(p))
                    .map(|p| format!("`{}`", p.id))
                    .collect();
                if ids.is_empty() {
                    "–".to_owned()
                } else {
                    ids.join(", ")
                }
            };
            vec![
                format!("`{point}`"),
                unit(*point).to_owned(),
                list(&|p| p.says(*point)),
                list(&|p| p.takes(*point)),
            ]
        }),
    );
}

fn models(page: &mut String) {
    line(page, &format!("\n## {MODELS}"));
    table(
        page,
        &["Model", "Name", "Length", "Points"],
        sunspec::numbers().filter_map(sunspec::model).map(|m| {
            vec![
                m.number.to_string(),
                format!("`{}`", m.name),
                m.length.to_string(),
                format!("{}{}", m.points.len(), groups(&m.groups)),
            ]
        }),
    );
}

/// What repeats in a model, in brackets.
fn groups(groups: &[sunspec::Group]) -> String {
    let mut text = String::new();
    for group in groups {
        let count = match &group.count {
            sunspec::Count::Point(point) => point.as_str(),
            sunspec::Count::Rest => "any number",
            sunspec::Count::Once => "once",
        };
        let inner = self::groups(&group.groups);
        let _ = write!(
            text,
            "; `{}` ({count}): {}{inner}",
            group.name,
            group.points.len()
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_page_in_the_repository_is_the_generated_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/REFERENCE.md");
        let page = reference_page();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &page).expect("written");
        }
        let stored = std::fs::read_to_string(path).expect("there: run with UPDATE=1 once");
        assert!(stored == page, "REFERENCE.md is old: run with UPDATE=1");
    }

    #[test]
    fn every_device_stands_once_under_its_class_and_in_the_contents() {
        let page = reference_page();
        let (contents, body) = page.split_once("\n## ").expect("there are headings");
        for id in bundled_ids() {
            let class = bundled_class(id).expect("it is bundled");
            let (_, title) = CLASSES
                .iter()
                .find(|(known, _)| *known == class)
                .expect("every class has a heading");
            assert!(
                contents.contains(&format!("  - [`{id}`](#{}): ", anchor(id))),
                "{id}"
            );
            let under = format!("\n## {body}");
            let headings: Vec<&str> = under
                .lines()
                .take_while(|line| *line != format!("### `{id}`"))
                .filter_map(|line| line.strip_prefix("## "))
                .collect();
            assert_eq!(headings.last(), Some(title), "{id}");
            assert_eq!(body.matches(&format!("\n### `{id}`\n")).count(), 1, "{id}");
        }
        assert_eq!(anchor("eastron/sdm630"), "eastronsdm630");
        assert_eq!(anchor("victron/gx-mqtt"), "victrongx-mqtt");
    }

    #[test]
    fn the_page_shows_addresses_factors_and_recipes() {
        let page = reference_page();
        let rows = [
            "| `ac.p` | W | input 0x0034 | f32 | 1 | – | fast | -100000 … 100000 |",
            "| `ac.p` | W | 103+14 | i16 | 1 | 103+15 | fast | -1000000 … 1000000 |",
            "| `bat.i` | A | 0x356 | 16 from 16, little, signed | -0.1 | 1 s | 3 s | -2000 … 2000 |",
            "| 123+5 | u16 | the setpoint in percent of `rating.p`, at least 1 |",
            "without a word the device reverts after 60 s, rewritten every 20 s.",
            "| `ac.p` | W | `tele/{t}/SENSOR` | `/ENERGY/Power` | -1 | -5000 … 5000 |",
        ];
        for row in rows {
            assert!(page.contains(row), "{row}");
        }
    }
}
