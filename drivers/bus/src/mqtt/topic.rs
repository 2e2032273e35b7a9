//! Topics: templates of a profile filled in, and filters matched.

use profile::mqtt::TOPIC_LEVELS_MAX;

/// Why a template cannot be filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfilled {
    /// It needs a device topic and there is none.
    NoTopic,
    /// The device topic has not so many levels.
    NoLevel(usize),
}

/// A template of a profile with the device's topic for `{t}`, its levels for `{t.1}` and so on,
/// and the controller's reply topic for `{c}`.
///
/// Other braces stand: payloads are often JSON. It is one pass: what was filled in is not
/// looked at again, so a topic that happens to hold a placeholder stays as it is.
///
/// # Errors
/// When it needs more of a device topic than there is.
pub fn fill(template: &str, device: Option<&str>, reply: &str) -> Result<String, Unfilled> {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        let (before, from_brace) = rest.split_at(at);
        filled.push_str(before);
        rest = match placeholder(from_brace) {
            Some((Placeholder::Topic, after)) => {
                filled.push_str(device.ok_or(Unfilled::NoTopic)?);
                after
            }
            Some((Placeholder::Level(n), after)) => {
                let levels = device.ok_or(Unfilled::NoTopic)?;
                let level = levels.split('/').nth(n - 1).ok_or(Unfilled::NoLevel(n))?;
                filled.push_str(level);
                after
            }
            Some((Placeholder::Reply, after)) => {
                filled.push_str(reply);
                after
            }
            None => {
                filled.push('{');
                &from_brace[1..]
            }
        };
    }
    filled.push_str(rest);
    Ok(filled)
}

/// What a placeholder stands for.
enum Placeholder {
    Topic,
    Level(usize),
    Reply,
}

/// The placeholder at the beginning of a text that begins with a brace, and what follows it.
fn placeholder(text: &str) -> Option<(Placeholder, &str)> {
    let (name, after) = text[1..].split_once('}')?;
    let meant = match name {
        "t" => Placeholder::Topic,
        "c" => Placeholder::Reply,
        _ => {
            let n = name.strip_prefix("t.")?.parse().ok();
            // One digit, as the profile's reader says: `{t.01}` is none.
            let n = n.filter(|n| name.len() == 3 && (1..=TOPIC_LEVELS_MAX).contains(n))?;
            Placeholder::Level(n)
        }
    };
    Some((meant, after))
}

/// Whether a device topic of a rig can stand in topics: not empty, and no wildcards.
#[must_use]
pub fn is_plain(topic: &str) -> bool {
    !topic.is_empty() && !topic.contains(['+', '#', '\0'])
}

/// Whether a topic falls under a filter with `+` (one level) and `#` (all further levels).
///
/// Wildcards do not match topics that begin with `$` (MQTT 3.1.1, section 4.7.2).
#[must_use]
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some(level) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_the_standard_says() {
        for (filter, topic, expected) in [
            ("tele/p1/SENSOR", "tele/p1/SENSOR", true),
            ("tele/p1/SENSOR", "tele/p1/sensor", false),
            ("tele/p1", "tele/p1/SENSOR", false),
            ("tele/p1/SENSOR", "tele/p1", false),
            ("tele/+/SENSOR", "tele/p1/SENSOR", true),
            ("tele/+/SENSOR", "tele/p1/x/SENSOR", false),
            ("tele/+", "tele/", true),
            ("tele/#", "tele/p1/SENSOR", true),
            ("tele/#", "tele", true),
            ("#", "tele/p1", true),
            ("+", "tele", true),
            ("#", "$SYS/uptime", false),
            ("+/uptime", "$SYS/uptime", false),
            ("$SYS/#", "$SYS/uptime", true),
            ("/a", "/a", true),
            ("+/a", "/a", true),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} on {topic}");
        }
    }

    #[test]
    fn templates_are_filled_and_json_braces_stand() {
        use Unfilled::{NoLevel, NoTopic};
        for (template, device, expected) in [
            ("cmnd/{t}/POWER", Some("p1"), Ok("cmnd/p1/POWER")),
            ("cmnd/{t}/POWER", None, Err(NoTopic)),
            ("{c}/rpc", None, Ok("me/rpc")),
            (
                "N/{t.1}/vebus/{t.2}/Soc",
                Some("ab/257"),
                Ok("N/ab/vebus/257/Soc"),
            ),
            ("N/{t.1}/vebus/{t.2}/Soc", Some("ab"), Err(NoLevel(2))),
            ("N/{t.1}", None, Err(NoTopic)),
            (
                r#"{"src":"{c}","params":{"on":true}}"#,
                Some("p1"),
                Ok(r#"{"src":"me","params":{"on":true}}"#),
            ),
            // What was filled in is not filled again, neither the reply nor a level.
            ("{t}/x", Some("{c}"), Ok("{c}/x")),
            ("{t}/x", Some("{t.1}/b"), Ok("{t.1}/b/x")),
            ("{t.1}/{t.2}", Some("{t.2}/{c}"), Ok("{t.2}/{c}")),
            (
                "{t.0}/{t.01}/{t.10}/{t.x}/{u}",
                Some("a"),
                Ok("{t.0}/{t.01}/{t.10}/{t.x}/{u}"),
            ),
            ("{{t}}", Some("p1"), Ok("{p1}")),
            ("a{", Some("p1"), Ok("a{")),
            ("{t", None, Ok("{t")),
        ] {
            let filled = fill(template, device, "me");
            assert_eq!(filled.as_deref().map_err(|e| *e), expected, "{template}");
        }
        assert!(is_plain("shellies/plug-1") && !is_plain("") && !is_plain("a/#"));
    }
}
