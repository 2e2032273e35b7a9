//! Reads the recipes that write setpoints, and checks that each ends safely.

use std::time::Duration;

use document::{Spanned, Table};
use model::Point;
use quantities::{ActivePower, Quantity};

use super::field::{self, Recipe};
use super::registers::Defaults;
use super::{required_time, twice, value};
use crate::codes;
use crate::modbus::{CommsLoss, Control, Layout, Readback};

/// Points that can be set.
const CONTROLLABLE: &[Point] = &[
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
            control(table, defaults, sign, known, point.map(|p| p.value))
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

fn control(
    table: Table<'_>,
    defaults: &Defaults,
    sign: Option<f64>,
    known: &[Point],
    point: Option<Point>,
) -> Option<Control> {
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
        point,
        sign,
        known,
        reverts,
        revert: revert.as_ref(),
    };
    let fields = field::read_all(&table, defaults, &recipe);
    let Some(point) = point else {
        for key in ["safe", "tolerance", "range"] {
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
    table.finish();
    let (fields, setpoint) = fields?;
    Some(Control {
        point,
        fields,
        readback: Readback {
            field: setpoint,
            tolerance: tolerance?,
        },
        range,
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

fn refresh(
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

fn control_range(table: &Table<'_>, point: Point) -> Option<quantities::Bounds<ActivePower>> {
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

/// Largest difference of the read-back; a switch has none.
fn tolerance(table: &Table<'_>, point: Point) -> Option<f64> {
    if point == Point::SwitchOn {
        return Some(0.0);
    }
    Some(value::setting(table, "tolerance", point)?.value.abs())
}
