//! Reads the MQTT part of a profile.

use std::time::Duration;

use document::{Spanned, Table};
use model::Point;

use super::control::{self, Loss};
use super::{can, pass_over, required_time, twice, value};
use crate::codes;
use crate::mqtt::{
    Availability, Command, MqttProfile, Payload, Request, TOPIC_LEVELS_MAX, Topic, Value,
};

/// Points that a device behind a broker can be told.
const CONTROLLABLE: [Point; 3] = [
    Point::SwitchOn,
    Point::ActivePowerSet,
    Point::ActivePowerLimit,
];

/// Most digits behind the decimal point of a number in a payload.
/// Chosen: 6; a millionth of a watt or of a share is below what any device resolves.
const DECIMALS_MAX: u8 = 6;

pub(super) fn read(root: &Table<'_>, sign: Option<f64>) -> Option<MqttProfile> {
    let Some(head) = root.table("mqtt") else {
        pass_over(root);
        return root.missing("mqtt", "{ timeout = \"15s\" }");
    };
    let timeout = required_time(&head, "timeout", "15s");
    let availability = head.table("availability").map(availability);
    let empty_is_gone = head.has("empty")
        && head
            .choice("empty", &[("gone", true), ("corrupt", false)])
            .is_some_and(|e| e.value);
    head.finish();

    let topics = topics(root, sign);
    let requests = root
        .tables("request")
        .into_iter()
        .filter_map(|t| request(t, timeout.as_ref()))
        .collect();
    let confirmable: Vec<Point> = topics
        .iter()
        .flat_map(|t| t.values.iter().map(|v| v.point))
        .collect();
    let mut commands: Vec<Command> = Vec::new();
    for table in root.tables("command") {
        let span = table.span_of("name");
        if let Some(command) = command(&table, sign, &confirmable) {
            if commands.iter().any(|c| c.point == command.point) {
                twice(&table, codes::CONTROL_TWICE, span, "this command");
            }
            commands.push(command);
        }
        table.finish();
    }
    Some(MqttProfile {
        topics,
        availability: match availability {
            Some(availability) => Some(availability?),
            None => None,
        },
        requests,
        commands,
        timeout: timeout?.value,
        empty_is_gone,
    })
}

/// A topic, checked: no wildcards, known placeholders, and one of them.
fn topic(table: &Table<'_>, key: &str, example: &str) -> Option<Spanned<String>> {
    let topic = table.required_text(key, example)?;
    let bare = placeholders().fold(topic.value.clone(), |text, p| text.replace(&p, ""));
    let named = bare != topic.value;
    if !named || bare.contains(['#', '+', '{', '}', '\0']) {
        table.document().error(
            codes::BAD_TOPIC,
            topic.span.clone(),
            format!("`{}` is not the topic of one device", topic.value),
            "",
            format!("for example `{key} = \"{example}\"`"),
        );
    }
    Some(topic)
}

/// Placeholders of a topic.
fn placeholders() -> impl Iterator<Item = String> {
    let levels = (1..=TOPIC_LEVELS_MAX).map(|n| format!("{{t.{n}}}"));
    ["{t}", "{c}"].map(str::to_owned).into_iter().chain(levels)
}

fn availability(table: Table<'_>) -> Option<Availability> {
    let topic = topic(&table, "topic", "tele/{t}/LWT");
    let json = table.text("json");
    if let Some(json) = &json {
        check_pointer(&table, json);
    }
    let online = table.required_text("online", "Online");
    let offline = table.required_text("offline", "Offline");
    table.finish();
    Some(Availability {
        topic: topic?.value,
        json: json.map(|j| j.value),
        online: online?.value,
        offline: offline?.value,
    })
}

fn topics(root: &Table<'_>, sign: Option<f64>) -> Vec<Topic> {
    let mut topics: Vec<Topic> = Vec::new();
    for table in root.tables("topic") {
        let subscribe = topic(&table, "subscribe", "tele/{t}/SENSOR");
        let mut values: Vec<Value> = Vec::new();
        for t in table.tables("values") {
            let span = t.span_of("name");
            if let Some(value) = read_value(&t, sign) {
                if values.iter().any(|v| v.point == value.point) {
                    let what = format!("`{}`", value.point);
                    twice(&t, codes::POINT_TWICE, span, &what);
                }
                values.push(value);
            }
            t.finish();
        }
        if let Some(subscribe) = subscribe {
            if topics.iter().any(|t| t.subscribe == subscribe.value) {
                twice(&table, codes::FRAME_TWICE, subscribe.span, "this topic");
            }
            topics.push(Topic {
                subscribe: subscribe.value,
                values,
            });
        }
        table.finish();
    }
    if topics.iter().all(|t| t.values.is_empty()) {
        root.document().error(
            codes::NOTHING_READ,
            root.span(),
            "the profile maps no point",
            "",
            "add `[[topic]]` tables with `values`",
        );
    }
    topics
}

fn read_value(t: &Table<'_>, sign: Option<f64>) -> Option<Value> {
    let point = value::point(t, "name");
    let json = t.text("json");
    if let Some(json) = &json {
        check_pointer(t, json);
    }
    let words = words(t);
    let Some(point) = point else {
        return value::pass_over(t);
    };
    let factor = value::factor(t, point.value, None, sign);
    let range = value::range(t, point.value);
    Some(Value {
        point: point.value,
        json: json.map(|j| j.value),
        factor: factor?,
        words,
        range: range?,
    })
}

fn check_pointer(t: &Table<'_>, json: &Spanned<String>) {
    let escapes_known = json
        .value
        .split('~')
        .skip(1)
        .all(|rest| rest.starts_with(['0', '1']));
    if !(json.value.is_empty() || json.value.starts_with('/')) || !escapes_known {
        t.document().error(
            codes::BAD_POINTER,
            json.span.clone(),
            format!("`{}` is not a JSON pointer", json.value),
            "",
            "for example `json = \"/ENERGY/Power\"`",
        );
    }
}

/// Words that stand for numbers, in the order of the file.
fn words(t: &Table<'_>) -> Vec<(String, f64)> {
    let Some(table) = t.table("words") else {
        return Vec::new();
    };
    let words = table
        .keys()
        .into_iter()
        .filter_map(|key| Some((key.value.clone(), table.number(&key.value)?.value)))
        .collect();
    table.finish();
    words
}

fn request(table: Table<'_>, timeout: Option<&Spanned<std::time::Duration>>) -> Option<Request> {
    let topic = topic(&table, "topic", "cmnd/{t}/Status");
    let payload = if table.has("payload") {
        table.text("payload")
    } else {
        table.missing("payload", "\"\"")
    };
    let every = required_time(&table, "every", "2s");
    if let (Some(every), Some(timeout)) = (&every, timeout) {
        can::check_timeout(&table, every.value, timeout);
    }
    table.finish();
    Some(Request {
        topic: topic?.value,
        payload: payload?.value,
        every: every?.value,
    })
}

fn command(table: &Table<'_>, sign: Option<f64>, confirmable: &[Point]) -> Option<Command> {
    let point = control::controllable(table, &CONTROLLABLE);
    let topic = topic(table, "topic", "cmnd/{t}/POWER");
    let confirm_within = required_time(table, "confirm_within", "3s");
    let loss = control::comms_loss(table);
    let reverting = loss.as_ref().is_some_and(|l| l.value == Loss::Reverts);
    let (revert, refresh) = fall_back(table, loss.is_some(), reverting);
    let Some(point) = point else {
        for key in [
            "payload",
            "unit",
            "scale",
            "sign",
            "decimals",
            "range",
            "tolerance",
            "on",
            "off",
            "dead_man",
            "safe",
        ] {
            table.has(key);
        }
        return None;
    };
    if !confirmable.contains(&point.value) {
        table.document().error(
            codes::UNCONFIRMED,
            point.span.clone(),
            format!("no topic tells `{}`", point.value),
            "",
            "map it in the topic on which the device confirms",
        );
    }
    let point = point.value;
    let payload = if point == Point::SwitchOn {
        switch(table, loss.as_ref())
    } else {
        number(table, point, sign)
    };
    let safe = value::setting(table, "safe", point);
    if let (Some(Payload::Number { range, .. }), Some(safe)) = (&payload, &safe)
        && !(range.0..=range.1).contains(&safe.value)
    {
        table.document().error(
            codes::SAFE_OUTSIDE,
            safe.span.clone(),
            "the safe value lies outside the command's range",
            format!("the range is {} to {} {}", range.0, range.1, point.unit()),
            "",
        );
    }
    Some(Command {
        point,
        topic: topic?.value,
        payload: payload?,
        confirm_within: confirm_within?.value,
        safe: safe?.value,
        revert,
        refresh,
    })
}

/// After which silence the device falls back, and how often a command is therefore repeated.
fn fall_back(
    table: &Table<'_>,
    stated: bool,
    reverting: bool,
) -> (Option<Duration>, Option<Duration>) {
    if !stated {
        // What the device does is not known, so times of its falling back may stand there.
        let _ = (table.has("revert"), table.has("refresh"));
    }
    if !reverting {
        return (None, None);
    }
    let revert = required_time(table, "revert", "60s");
    let refresh = if table.has("refresh") {
        required_time(table, "refresh", "10s")
    } else {
        None
    };
    if let Some(revert) = &revert {
        control::check_refresh(table, "refresh", refresh.as_ref(), revert);
    }
    (revert.map(|r| r.value), refresh.map(|r| r.value))
}

fn switch(table: &Table<'_>, loss: Option<&Spanned<Loss>>) -> Option<Payload> {
    let on = table.required_text("on", "ON");
    let off = table.required_text("off", "OFF");
    let dead_man = table.text("dead_man");
    if let Some(loss) = loss
        && (loss.value == Loss::Reverts) != dead_man.is_some()
    {
        table.document().error(
            codes::DEAD_MAN,
            loss.span.clone(),
            "`comms_loss` and `dead_man` contradict each other",
            "",
            "a switch reverts when, and only when, a dead-man message arms its timer",
        );
    }
    Some(Payload::Switch {
        on: on?.value,
        off: off?.value,
        dead_man: dead_man.map(|d| d.value),
    })
}

fn number(table: &Table<'_>, point: Point, sign: Option<f64>) -> Option<Payload> {
    let template = table.required_text("payload", "{v}");
    if let Some(template) = &template
        && !template.value.contains("{v}")
    {
        table.document().error(
            codes::SETPOINT_FIELD,
            template.span.clone(),
            "the payload has no place for the number",
            "",
            "write `{v}` where the number shall stand, such as `payload = '{\"value\":{v}}'`",
        );
    }
    let factor = value::factor(table, point, None, sign);
    let decimals = table
        .integer("decimals", 0..=i64::from(DECIMALS_MAX))
        .map_or(0, |d| u8::try_from(d.value).unwrap_or(0));
    let range = value::range(table, point);
    let tolerance = value::setting(table, "tolerance", point);
    Some(Payload::Number {
        template: template?.value,
        factor: factor?,
        decimals,
        range: range?,
        tolerance: tolerance?.value.abs(),
    })
}
