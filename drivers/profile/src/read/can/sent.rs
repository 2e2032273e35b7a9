//! Reads the frames that a device wants to hear: keep-alives and setpoints.

use document::{Spanned, Table};
use model::Point;
use quantities::{ActivePower, Quantity};

use super::super::control::{self, Loss};
use super::super::{required_time, twice, value};
use super::place::{Numbers, Taken};
use super::{Bus, id};
use crate::can::{CanId, Control, ControlField, KeepAlive, frame_length};
use crate::codes;
use crate::modbus::CommsLoss;

/// What a field of a control carries.
#[derive(Clone, Copy)]
enum Write {
    Setpoint,
    Constant,
    Counter,
}

/// Names of what a field carries.
const WRITES: &[(&str, Write)] = &[
    ("setpoint", Write::Setpoint),
    ("constant", Write::Constant),
    ("counter", Write::Counter),
];

pub(super) fn keep_alives(root: &Table<'_>, bus: &Bus, points: &[Point]) -> Vec<KeepAlive> {
    let mut keep_alives: Vec<KeepAlive> = Vec::new();
    for table in root.tables("keep_alive") {
        let span = table.span_of("id");
        if let Some(message) = keep_alive(&table, bus, points) {
            if keep_alives.iter().any(|k| k.id == message.id) {
                twice(&table, codes::FRAME_TWICE, span, "this keep-alive");
            }
            keep_alives.push(message);
        }
        table.finish();
    }
    keep_alives
}

fn keep_alive(table: &Table<'_>, bus: &Bus, points: &[Point]) -> Option<KeepAlive> {
    let id = id(table);
    let every = required_time(table, "every", "1s");
    let wakes_for = if table.has("wakes_for") {
        required_time(table, "wakes_for", "10s")
    } else {
        None
    };
    let data = bytes(table, bus);
    let numbers = Numbers {
        bytes_max: data.as_ref().map_or(bus.bytes_max, Vec::len),
        message: None,
        named: false,
    };
    let mut values = Vec::new();
    for t in table.tables("values") {
        let point = value::point(&t, "name");
        let placed = numbers.read(&t);
        match point {
            Some(point) => {
                let field = numbers.field(&t, point.value, bus.sign, placed.as_ref());
                if !points.contains(&point.value) {
                    t.document().error(
                        codes::NO_REFERENCE,
                        point.span,
                        format!("the device does not say `{}`", point.value),
                        "",
                        "only what a frame of this profile says can be said back",
                    );
                }
                values.extend(field.map(|field| (point.value, field)));
            }
            None => {
                value::pass_over::<()>(&t);
            }
        }
        t.finish();
    }
    Some(KeepAlive {
        id: id?,
        data: data?,
        every: every?.value,
        values,
        wakes_for: wakes_for.map(|w| w.value),
    })
}

fn bytes(table: &Table<'_>, bus: &Bus) -> Option<Vec<u8>> {
    let text = table.required_text("data", "00 00 00 00 00 00 00 00")?;
    let data: Option<Vec<u8>> = text
        .value
        .split_whitespace()
        .map(|pair| {
            (pair.len() == 2)
                .then(|| u8::from_str_radix(pair, 16).ok())
                .flatten()
        })
        .collect();
    let fits = |d: &Vec<u8>| d.len() <= bus.bytes_max && frame_length(d.len()) == Some(d.len());
    let Some(data) = data.filter(fits) else {
        table.document().error(
            codes::BAD_BYTES,
            text.span,
            "these are not the bytes of a frame",
            "",
            "write up to eight pairs of hexadecimal digits with spaces between",
        );
        return None;
    };
    Some(data)
}

pub(super) fn controls(root: &Table<'_>, bus: &Bus, points: &[Point]) -> Vec<Control> {
    let mut controls: Vec<Control> = Vec::new();
    let mut frames: Vec<(CanId, usize, Taken)> = Vec::new();
    for table in root.tables("control") {
        let place = table.span_of("fields");
        if let Some(control) = self::control(&table, bus, points) {
            if controls.iter().any(|c| c.point == control.point) {
                let what = format!("the control `{}`", control.point);
                twice(&table, codes::CONTROL_TWICE, table.span_of("name"), &what);
            }
            let known = frames.iter().position(|(id, ..)| *id == control.id);
            let known = known.unwrap_or_else(|| {
                frames.push((control.id, control.len, Taken::default()));
                frames.len() - 1
            });
            if let Some((id, len, taken)) = frames.get_mut(known) {
                let mut free = *len == control.len;
                for field in &control.fields {
                    // Two controls of one frame may both say the same constant.
                    let shared = controls.iter().any(|c| {
                        c.id == *id
                            && !matches!(field, ControlField::Setpoint(_))
                            && c.fields.contains(field)
                    });
                    free &= shared || taken.take(field.at());
                }
                if !free {
                    table.document().error(
                        codes::SIGNALS_OVERLAP,
                        place,
                        format!("the fields of {id} overlap, or its length differs"),
                        "",
                        "check start and number of bits; controls of one frame have one length",
                    );
                }
            }
            controls.push(control);
        }
        table.finish();
    }
    controls
}

fn control(table: &Table<'_>, bus: &Bus, points: &[Point]) -> Option<Control> {
    let point = control::controllable(table, control::CONTROLLABLE);
    let message = bus.message(table);
    let known = message.unwrap_or_default();
    let id = message.ok().and_then(|m| Bus::id(table, m));
    let len = match known {
        Some(message) => bus.len_min(table, Some(message)),
        None => length(table, bus),
    };
    let numbers = Numbers {
        bytes_max: len.unwrap_or(bus.bytes_max),
        message: known,
        named: message.is_err(),
    };
    let fields = fields(table, &numbers, bus, point.as_ref().map(|p| p.value));
    let confirm_within = required_time(table, "confirm_within", "1s");
    let loss = control::comms_loss(table);
    let revert = match &loss {
        Some(l) if l.value == Loss::Reverts => required_time(table, "revert", "1s"),
        None => table.duration("revert"),
        Some(_) => None,
    };
    let refresh = control::refresh(table, loss.as_ref().map(|l| l.value), revert.as_ref());
    let Some(point) = point else {
        for key in ["safe", "tolerance", "range"] {
            table.has(key);
        }
        return None;
    };
    let Spanned { value: point, span } = point;
    if !points.contains(&point) {
        table.document().error(
            codes::UNCONFIRMED,
            span,
            format!("nothing that the device says confirms `{point}`"),
            "",
            format!("map the signal that shows it back as `name = \"{point}\"` in a frame"),
        );
    }
    let range = control::control_range(table, point);
    let safe = value::setting(table, "safe", point);
    if let (Some(range), Some(safe)) = (range, &safe)
        && !range.contains(ActivePower::from_base(safe.value))
    {
        table.document().error(
            codes::SAFE_OUTSIDE,
            safe.span.clone(),
            "the safe value lies outside the control's range",
            format!("the range is {range}"),
            "",
        );
    }
    let tolerance = control::tolerance(table, point);
    Some(Control {
        point,
        id: id?,
        len: len?,
        fields: fields?,
        range,
        tolerance: tolerance?,
        confirm_within: confirm_within?.value,
        refresh,
        safe: safe?.value,
        comms_loss: match loss?.value {
            Loss::Reverts => CommsLoss::Reverts {
                after: revert?.value,
            },
            Loss::Holds => CommsLoss::Holds,
        },
    })
}

fn length(table: &Table<'_>, bus: &Bus) -> Option<usize> {
    let most = i64::try_from(bus.bytes_max).unwrap_or(i64::MAX);
    let len = match table.integer("len", 1..=most) {
        None if !table.has("len") => table.missing("len", "8"),
        len => len,
    }?;
    let bytes = usize::try_from(len.value).ok()?;
    if frame_length(bytes) != Some(bytes) {
        table.document().error(
            codes::BAD_BYTES,
            len.span,
            format!("no frame has {bytes} bytes"),
            "",
            "0 to 8, 12, 16, 20, 24, 32, 48 or 64",
        );
        return None;
    }
    Some(bytes)
}

fn fields(
    table: &Table<'_>,
    numbers: &Numbers<'_>,
    bus: &Bus,
    point: Option<Point>,
) -> Option<Vec<ControlField>> {
    let mut fields = Vec::new();
    let mut complete = true;
    for t in table.tables("fields") {
        let placed = numbers.read(&t);
        let write = if t.has("write") {
            t.choice("write", WRITES)
        } else {
            t.missing("write", "\"setpoint\"")
        };
        let field = match write.map(|w| w.value) {
            Some(Write::Setpoint) => match point {
                Some(point) => numbers
                    .field(&t, point, bus.sign, placed.as_ref())
                    .map(ControlField::Setpoint),
                None => value::pass_over(&t),
            },
            Some(Write::Constant) => constant(&t, placed.as_ref().map(|p| p.field.at)),
            Some(Write::Counter) => placed.map(|p| ControlField::Counter(p.field.at)),
            None => value::pass_over(&t),
        };
        t.finish();
        complete &= field.is_some();
        fields.extend(field);
    }
    let setpoints = fields
        .iter()
        .filter(|f| matches!(f, ControlField::Setpoint(_)))
        .count();
    if !complete {
        return None;
    }
    if setpoints != 1 {
        table.document().error(
            codes::SETPOINT_FIELD,
            table.span_of("fields"),
            format!("{setpoints} fields carry the setpoint, it must be one"),
            "",
            "mark one field with `write = \"setpoint\"`",
        );
        return None;
    }
    Some(fields)
}

fn constant(t: &Table<'_>, at: Option<crate::can::Bits>) -> Option<ControlField> {
    let raw = match t.integer("raw", 0..=i64::MAX) {
        None if !t.has("raw") => t.missing("raw", "1"),
        raw => raw,
    }?;
    let (at, number) = (at?, raw.value.unsigned_abs());
    if at.len < 64 && number >> at.len != 0 {
        t.document().error(
            codes::CONSTANT_TOO_BIG,
            raw.span,
            format!("{number} does not fit into {} bits", at.len),
            "",
            "write the raw number as it stands in the frame",
        );
        return None;
    }
    Some(ControlField::Constant(at, number))
}
