//! Topics: templates of a profile filled in, and filters matched.

/// A template of a profile with the device's topic for `{t}` and the controller's
/// reply topic for `{c}`; `None` when it needs a device topic and there is none.
///
/// Other braces stand: payloads are often JSON.
#[must_use]
pub fn fill(template: &str, device: Option<&str>, reply: &str) -> Option<String> {
    if template.contains("{t}") && device.is_none() {
        return None;
    }
    Some(
        template
            .replace("{t}", device.unwrap_or_default())
            .replace("{c}", reply),
    )
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
        for (template, device, expected) in [
            ("cmnd/{t}/POWER", Some("p1"), Some("cmnd/p1/POWER")),
            ("cmnd/{t}/POWER", None, None),
            ("{c}/rpc", None, Some("me/rpc")),
            (
                r#"{"src":"{c}","params":{"on":true}}"#,
                Some("p1"),
                Some(r#"{"src":"me","params":{"on":true}}"#),
            ),
        ] {
            assert_eq!(
                fill(template, device, "me").as_deref(),
                expected,
                "{template}"
            );
        }
        assert!(is_plain("shellies/plug-1") && !is_plain("") && !is_plain("a/#"));
    }
}
