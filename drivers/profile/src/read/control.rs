//! Reads the recipes that write setpoints, and checks that each ends safely.

use std::time::Duration;

use document::{Spanned, Table};
use model::Point;
use quantities::{ActivePower, PowerRamp, Quantity};

use super::field::{self, Recipe};
use super::registers::Defaults;
use super::{required_time, twice, value};
use crate::codes;
use crate::modbus::{CommsLoss, Control, Layout, Readback, WriteFunction};

/// Points that can be set.
pub(super) const CONTROLLABLE: &[Point] = &[
    Point::ActivePowerSet,
    Point::ActivePowerLimit,
    Point::ReactivePowerSet,
    Point::SwitchOn,
];

/// Whether the device falls back by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// It falls back.
    Reverts,
    /// It keeps the last value.
    Holds,
}

pub(super) fn read(
    root: &Table<'_>,
    defaults: &Defaults,
    sign: Option<f64>,
    known: &[Point],
    write_function: WriteFunction,
) -> Vec<Control> {
    let mut seen: Vec<Point> = Vec::new();
    root.tables("control")
        .into_iter()
        .filter_map(|table| {
            let point = controllable(&table, CONTROLLABLE);
            if let Some(point) = &point {
                // In the SunSpec layout a control may stand there for several models.
                let elsewhere = matches!(defaults.layout, Layout::SunSpec { .. });
                if seen.contains(&point.value) && !elsewhere {
                    let what = format!("the control `{}`", point.value);
                    twice(&table, codes::CONTROL_TWICE, point.span.clone(), &what);
                }
                seen.push(point.value);
            }
            let base = Recipe {
                point: point.map(|p| p.value),
                sign,
                known,
                write_function,
                reverts: true,
                revert: None,
                stepwise: false,
            };
            control(table, defaults, base)
        })
        .collect()
}

/// The point that a control sets, if it is one that can be set.
pub(super) fn controllable(table: &Table<'_>, allowed: &[Point]) -> Option<Spanned<Point>> {
    let point = value::point(table, "name")?;
    if allowed.contains(&point.value) {
        return Some(point);
    }
    let names: Vec<&str> = allowed.iter().map(|p| p.name()).collect();
    table.document().error(
        codes::NOT_CONTROLLABLE,
        point.span,
        format!("`{}` cannot be set", point.value),
        "",
        format!("use one of: {}", names.join(", ")),
    );
    None
}

/// What the device does when it hears nothing more; there is no default.
pub(super) fn comms_loss(table: &Table<'_>) -> Option<Spanned<Loss>> {
    if table.has("comms_loss") {
        return table.choice(
            "comms_loss",
            &[("reverts", Loss::Reverts), ("holds", Loss::Holds)],
        );
    }
    table.document().error(
        codes::COMMS_LOSS_UNSTATED,
        table.span(),
        "it is not said what the device does when it hears nothing more",
        "in this table",
        "add `comms_loss = \"reverts\"` with `revert = \"60s\"`, or `comms_loss = \"holds\"`",
    );
    None
}

fn control(table: Table<'_>, defaults: &Defaults, base: Recipe<'_>) -> Option<Control> {
    let (point, known) = (base.point, base.known);
    let loss = comms_loss(&table);
    let reverts = loss.as_ref().is_none_or(|l| l.value == Loss::Reverts);
    let revert = match &loss {
        Some(l) if l.value == Loss::Reverts => required_time(&table, "revert", "60s"),
        // Without a known loss behaviour the time may stand there; nothing follows from it.
        None => table.duration("revert"),
        Some(_) => None,
    };
    let refresh = refresh(&table, loss.as_ref().map(|l| l.value), revert.as_ref());
    let recipe = Recipe {
        reverts,
        revert: revert.as_ref(),
        stepwise: table.boolean("stepwise").is_some_and(|s| s.value),
        ..base
    };
    let fields = field::read_all(&table, defaults, &recipe);
    let Some(point) = point else {
        for key in ["safe", "tolerance", "range", "ceiling", "floor", "ramp"] {
            table.has(key);
        }
        table.finish();
        return None;
    };
    let range = control_range(&table, point);
    let safe = value::setting(&table, "safe", point);
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
    let tolerance = tolerance(&table, point);
    let ceiling = limit(&table, "ceiling", point, known);
    let floor = limit(&table, "floor", point, known);
    let ramp = ramp(&table, point);
    table.finish();
    let (fields, proved) = fields?;
    Some(Control {
        point,
        fields,
        readback: Readback {
            fields: proved,
            tolerance: tolerance?,
        },
        range,
        ceiling,
        floor,
        ramp,
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

pub(super) fn refresh(
    table: &Table<'_>,
    loss: Option<Loss>,
    revert: Option<&Spanned<Duration>>,
) -> Option<Duration> {
    let refresh = if table.has("refresh") {
        required_time(table, "refresh", "10s")
    } else {
        None
    };
    if loss != Some(Loss::Reverts) {
        return refresh.map(|r| r.value);
    }
    let revert = revert?;
    check_refresh(table, "refresh", refresh.as_ref(), revert);
    refresh.map(|r| r.value)
}

/// A setpoint that the device drops is rewritten at least twice before.
pub(super) fn check_refresh(
    table: &Table<'_>,
    key: &str,
    refresh: Option<&Spanned<Duration>>,
    revert: &Spanned<Duration>,
) {
    let half = revert.value / 2;
    match refresh {
        None if table.has(key) => {}
        None => table.document().error(
            codes::REFRESH_MISSING,
            revert.span.clone(),
            format!(
                "the device reverts after {:?} and nothing is rewritten",
                revert.value
            ),
            "",
            format!("add `{key} = \"{}s\"` or less", half.as_secs_f64()),
        ),
        Some(refresh) if refresh.value > half => table.document().error(
            codes::REFRESH_TOO_SLOW,
            refresh.span.clone(),
            format!("rewriting every {:?} is too slow", refresh.value),
            format!("the device reverts after {:?}", revert.value),
            format!("write `{key} = \"{}s\"` or less", half.as_secs_f64()),
        ),
        Some(_) => {}
    }
}

pub(super) fn control_range(
    table: &Table<'_>,
    point: Point,
) -> Option<quantities::Bounds<ActivePower>> {
    if !table.has("range") {
        return None;
    }
    if point.unit() != "W" {
        table.document().error(
            codes::RANGE_NOT_POWER,
            table.span_of("range"),
            format!("`{point}` takes no range"),
            "",
            "leave it out",
        );
        return None;
    }
    table.range::<ActivePower>("range").map(|r| r.value)
}

/// The point whose value is as far as the device goes now; one that this profile reads.
fn limit(table: &Table<'_>, key: &str, point: Point, known: &[Point]) -> Option<Point> {
    if !table.has(key) {
        return None;
    }
    let limit = value::point(table, key)?;
    if !known.contains(&limit.value) || limit.value.unit() != point.unit() {
        table.document().error(
            codes::NO_REFERENCE,
            limit.span,
            format!("`{}` cannot limit `{point}`", limit.value),
            "",
            format!("map a point in {} that this profile reads", point.unit()),
        );
        return None;
    }
    Some(limit.value)
}

/// Fastest change that the device bears.
fn ramp(table: &Table<'_>, point: Point) -> Option<PowerRamp> {
    let ramp = table.quantity::<PowerRamp>("ramp")?;
    if point.unit() != "W" || ramp.value.base() <= 0.0 {
        table.document().error(
            codes::BAD_RAMP,
            ramp.span,
            format!("`{point}` takes no such ramp"),
            "",
            "for example `ramp = \"500W/s\"` on a control of active power",
        );
        return None;
    }
    Some(ramp.value)
}

/// Largest difference of the read-back; a switch has none.
pub(super) fn tolerance(table: &Table<'_>, point: Point) -> Option<f64> {
    if point == Point::SwitchOn {
        return Some(0.0);
    }
    Some(value::setting(table, "tolerance", point)?.value.abs())
}
