//! Reads the MQTT part of a profile.

use document::{Spanned, Table};
use model::Point;

use super::control::{self, Loss};
use super::{can, pass_over, required_time, twice, value};
use crate::codes;
use crate::mqtt::{Availability, Command, MqttProfile, Request, Topic, Value};

/// Placeholders of a topic.
const PLACEHOLDERS: [&str; 2] = ["{t}", "{c}"];

pub(super) fn read(root: &Table<'_>, sign: Option<f64>) -> Option<MqttProfile> {
    let Some(head) = root.table("mqtt") else {
        pass_over(root);
        return root.missing("mqtt", "{ timeout = \"15s\" }");
    };
    let timeout = required_time(&head, "timeout", "15s");
    let availability = head.table("availability").map(availability);
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
        if let Some(command) = command(&table, &confirmable) {
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
    })
}

/// A topic, checked: no wildcards, known placeholders, and one of them.
fn topic(table: &Table<'_>, key: &str, example: &str) -> Option<Spanned<String>> {
    let topic = table.required_text(key, example)?;
    let bare = PLACEHOLDERS
        .iter()
        .fold(topic.value.clone(), |text, p| text.replace(p, ""));
    let named = PLACEHOLDERS.iter().any(|p| topic.value.contains(p));
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

fn availability(table: Table<'_>) -> Option<Availability> {
    let topic = topic(&table, "topic", "tele/{t}/LWT");
    let online = table.required_text("online", "Online");
    let offline = table.required_text("offline", "Offline");
    table.finish();
    Some(Availability {
        topic: topic?.value,
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

fn command(table: &Table<'_>, confirmable: &[Point]) -> Option<Command> {
    let point = control::controllable(table, &[Point::SwitchOn]);
    let topic = topic(table, "topic", "cmnd/{t}/POWER");
    let on = table.required_text("on", "ON");
    let off = table.required_text("off", "OFF");
    let confirm_within = required_time(table, "confirm_within", "3s");
    let loss = control::comms_loss(table);
    let dead_man = table.text("dead_man");
    let reverting = loss.as_ref().is_some_and(|l| l.value == Loss::Reverts);
    if let Some(loss) = &loss
        && reverting != dead_man.is_some()
    {
        table.document().error(
            codes::DEAD_MAN,
            loss.span.clone(),
            "`comms_loss` and `dead_man` contradict each other",
            "",
            "a device reverts when, and only when, a dead-man message arms its timer",
        );
    }
    if loss.is_none() {
        // What the device does is not known, so times of its falling back may stand there.
        let _ = (table.has("revert"), table.has("refresh"));
    }
    let refresh = if reverting {
        let revert = required_time(table, "revert", "60s");
        let refresh = if table.has("refresh") {
            required_time(table, "refresh", "10s")
        } else {
            None
        };
        if let Some(revert) = &revert {
            control::check_refresh(table, "refresh", refresh.as_ref(), revert);
        }
        refresh
    } else {
        None
    };
    let safe = value::setting(table, "safe", Point::SwitchOn);
    let point = point?;
    if !confirmable.contains(&point.value) {
        table.document().error(
            codes::UNCONFIRMED,
            point.span.clone(),
            format!("no topic tells `{}`", point.value),
            "",
            "map it in the topic on which the device confirms",
        );
    }
    Some(Command {
        point: point.value,
        topic: topic?.value,
        payload_on: on?.value,
        payload_off: off?.value,
        confirm_within: confirm_within?.value,
        safe: safe?.value,
        dead_man: dead_man.map(|d| d.value),
        dead_man_refresh: refresh.map(|r| r.value),
    })
}
