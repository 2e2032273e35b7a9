//! Reads the SCPI part of a profile.

use std::time::Duration;

use document::{Spanned, Table};
use model::Point;

use super::control::{self, Loss};
use super::modbus::{POLLS, serial};
use super::{pass_over, required_time, time_or, twice, value};
use crate::codes;
use crate::modbus::{CommsLoss, Poll};
use crate::scpi::{Form, QueryPoint, ScpiProfile, Setting};

/// Points that can be set over SCPI.
const SETTABLE: &[Point] = &[
    Point::FrequencySet,
    Point::VoltageSet,
    Point::PhaseSet,
    Point::ActivePowerSet,
    Point::SwitchOn,
];

/// Settings of a source: they go back to the site's nominal values and need no safe value.
const OF_SOURCE: &[Point] = &[Point::FrequencySet, Point::VoltageSet, Point::PhaseSet];

/// Port of raw SCPI where the maker has no other. Registered as scpi-raw.
const PORT: i64 = 5025;

/// Longest message. Chosen: twice the longest of the bundled profiles; instruments take less than 1 kB.
const MESSAGE_MAX: usize = 256;

pub(super) fn read(root: &Table<'_>, sign: Option<f64>) -> Option<ScpiProfile> {
    let Some(head) = root.table("scpi") else {
        pass_over(root);
        return root.missing("scpi", "{ timeout = \"500ms\", identify = \"MAKER\" }");
    };
    let port = head
        .integer("port", 1..=65_535)
        .map_or(PORT, |port| port.value);
    let serial = head.table("serial").map(serial);
    let ends = [("\n", false), ("\r\n", true)];
    let crlf = head.choice("terminator", &ends).is_some_and(|t| t.value);
    let timeout = required_time(&head, "timeout", "500ms");
    let min_gap = time_or(&head, "min_gap", Duration::ZERO);
    let connect_delay = time_or(&head, "connect_delay", Duration::ZERO);
    let identify = head.required_text("identify", "MAKER");
    if let Some(identify) = &identify {
        check_identity(&head, identify);
    }
    let remote = head.texts("remote");
    for text in &remote {
        check_message(&head, text, Kind::Command, &[]);
    }
    let errors = match head.text("errors") {
        Some(errors) => errors,
        None => Spanned {
            value: "SYSTem:ERRor?".to_owned(),
            span: head.span(),
        },
    };
    check_message(&head, &errors, Kind::Query, &[]);
    head.finish();

    let points = points(root, sign);
    let controls = controls(root, sign);
    Some(ScpiProfile {
        port: u16::try_from(port).ok()?,
        serial: match serial {
            Some(serial) => Some(serial?),
            None => None,
        },
        crlf,
        timeout: timeout?.value,
        min_gap,
        connect_delay,
        identify: identify?.value,
        remote: remote.into_iter().map(|t| t.value).collect(),
        errors: errors.value,
        points,
        controls,
    })
}

/// An identity cannot be taken for a number or the word of a switch.
fn check_identity(head: &Table<'_>, identify: &Spanned<String>) {
    let letters = identify
        .value
        .chars()
        .filter(char::is_ascii_alphabetic)
        .count();
    // Chosen: three letters are neither `ON`, `OFF` in a longer word, nor the `E` of a number.
    if letters < 3 || identify.value.eq_ignore_ascii_case("off") {
        head.document().error(
            codes::SCPI_MESSAGE,
            identify.span.clone(),
            format!("`{}` does not tell an instrument", identify.value),
            "needs at least three letters",
            "take the maker or the model from its reply to *IDN?",
        );
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Query,
    Command,
}

/// A message: one printable line, a question or not, with the placeholders that belong there.
fn check_message(table: &Table<'_>, text: &Spanned<String>, kind: Kind, placeholders: &[&str]) {
    let message = text.value.as_str();
    let bare = placeholders
        .iter()
        .fold(message.to_owned(), |text, p| text.replace(p, ""));
    let printable = message.chars().all(|c| (' '..='~').contains(&c));
    let asks = message.trim_end().ends_with('?');
    let why = if message.trim().is_empty() {
        "it is empty"
    } else if message.len() > MESSAGE_MAX {
        "it is too long"
    } else if !printable {
        "it holds something else than printable ASCII; the terminator is added when it is sent"
    } else if kind == Kind::Query && !asks {
        "a query ends with `?`"
    } else if kind == Kind::Query && message.matches('?').count() > 1 {
        "a query asks one thing, so that one reply belongs to it"
    } else if kind == Kind::Command && message.contains('?') {
        "a setting asks nothing: its reply would be taken for another's"
    } else if bare.contains(['{', '}']) {
        "it has a placeholder that does not belong here"
    } else if !placeholders.is_empty() && !placeholders.iter().any(|p| message.contains(p)) {
        "its placeholder is missing"
    } else {
        return;
    };
    let help = match placeholders {
        [] => String::new(),
        some => format!("placeholders here: {}", some.join(", ")),
    };
    table.document().error(
        codes::SCPI_MESSAGE,
        text.span.clone(),
        format!("`{message}` is not a message that can be sent here"),
        why,
        help,
    );
}

fn points(root: &Table<'_>, sign: Option<f64>) -> Vec<QueryPoint> {
    let mut points: Vec<QueryPoint> = Vec::new();
    for table in root.tables("point") {
        let span = table.span_of("name");
        if let Some(point) = point(&table, sign) {
            if points.iter().any(|p| p.point == point.point) {
                let what = format!("`{}`", point.point);
                twice(&table, codes::POINT_TWICE, span, &what);
            }
            points.push(point);
        }
        table.finish();
    }
    if points.is_empty() {
        root.document().error(
            codes::NOTHING_READ,
            root.span(),
            "the profile maps no point",
            "",
            "add `[[point]]` tables",
        );
    }
    points
}

fn point(table: &Table<'_>, sign: Option<f64>) -> Option<QueryPoint> {
    let point = value::point(table, "name");
    let query = table.required_text("query", "MEASure:FREQuency?");
    if let Some(query) = &query {
        check_message(table, query, Kind::Query, &[]);
    }
    // Chosen: no reply of an instrument of this kind holds more than 64 values.
    let field = table.integer("field", 0..=63).map_or(0, |f| f.value);
    let poll = table
        .choice("poll", POLLS)
        .map_or(Poll::Normal, |p| p.value);
    let Some(point) = point else {
        return value::pass_over(table);
    };
    let factor = value::factor(table, point.value, None, sign);
    let range = value::range(table, point.value);
    Some(QueryPoint {
        point: point.value,
        query: query?.value,
        field: usize::try_from(field).ok()?,
        factor: factor?,
        range: range?,
        poll,
    })
}

fn controls(root: &Table<'_>, sign: Option<f64>) -> Vec<Setting> {
    let mut controls: Vec<Setting> = Vec::new();
    for table in root.tables("control") {
        let span = table.span_of("name");
        if let Some(setting) = setting(&table, sign) {
            if controls.iter().any(|c| c.point == setting.point) {
                twice(&table, codes::CONTROL_TWICE, span, "this control");
            }
            controls.push(setting);
        }
        table.finish();
    }
    controls
}

fn setting(table: &Table<'_>, sign: Option<f64>) -> Option<Setting> {
    let point = control::controllable(table, SETTABLE);
    let readback = table.required_text("readback", "SOURce:FREQuency?");
    if let Some(readback) = &readback {
        check_message(table, readback, Kind::Query, &[]);
    }
    let loss = control::comms_loss(table);
    let revert = match &loss {
        Some(l) if l.value == Loss::Reverts => required_time(table, "revert", "60s"),
        // Without a known loss behaviour the time may stand there; nothing follows from it.
        None => table.duration("revert"),
        Some(_) => None,
    };
    let refresh = control::refresh(table, loss.as_ref().map(|l| l.value), revert.as_ref());
    let limit = table.text("limit");
    if let Some(limit) = &limit {
        check_message(table, limit, Kind::Command, &["{low}", "{high}"]);
    }
    let Some(point) = point.map(|p| p.value) else {
        for key in ["set", "decimals", "on", "off", "safe", "tolerance"] {
            table.has(key);
        }
        return value::pass_over(table);
    };
    let is_switch = point == Point::SwitchOn;
    let form = if is_switch {
        switch(table)
    } else {
        number(table)
    };
    let factor = if is_switch {
        Some(1.0)
    } else {
        value::factor(table, point, None, sign)
    };
    let range = if is_switch || !table.has("range") {
        None
    } else {
        value::bounds_in(table, "range", point).map(|r| r.value)
    };
    let tolerance = if is_switch {
        Some(0.0)
    } else {
        value::setting(table, "tolerance", point).map(|t| t.value.abs())
    };
    let safe = if OF_SOURCE.contains(&point) {
        None
    } else {
        let safe = value::setting(table, "safe", point)?;
        if range.is_some_and(|(low, high)| !(low..=high).contains(&safe.value)) {
            table.document().error(
                codes::SAFE_OUTSIDE,
                safe.span.clone(),
                "the safe value lies outside the control's range",
                "",
                "",
            );
        }
        Some(safe.value)
    };
    Some(Setting {
        point,
        form: form?,
        readback: readback?.value,
        factor: factor?,
        tolerance: tolerance?,
        range,
        limit: limit.map(|l| l.value),
        safe,
        refresh,
        comms_loss: match loss?.value {
            Loss::Reverts => CommsLoss::Reverts {
                after: revert?.value,
            },
            Loss::Holds => CommsLoss::Holds,
        },
    })
}

fn number(table: &Table<'_>) -> Option<Form> {
    let template = table.required_text("set", "SOURce:FREQuency {value}");
    if let Some(template) = &template {
        check_message(table, template, Kind::Command, &["{value}"]);
    }
    if !table.has("decimals") {
        table.missing::<()>("decimals", "2");
    }
    let decimals = table.integer("decimals", 0..=9);
    Some(Form::Number {
        template: template?.value,
        decimals: u8::try_from(decimals?.value).ok()?,
    })
}

fn switch(table: &Table<'_>) -> Option<Form> {
    let on = table.required_text("on", "OUTPut ON");
    let off = table.required_text("off", "OUTPut OFF");
    for text in [&on, &off].into_iter().flatten() {
        check_message(table, text, Kind::Command, &[]);
    }
    Some(Form::Switch {
        on: on?.value,
        off: off?.value,
    })
}
