//! The safe end in reports: how each step of it went, and how devices fell back by themselves.

use super::result::{FallbackTime, SafeStep};
use super::{escape, number};

/// Both tables; empty when there is nothing to show.
pub(super) fn safety(steps: &[SafeStep], fallbacks: &[FallbackTime]) -> String {
    format!("{}{}", safe_end(steps), fallback_times(fallbacks))
}

fn safe_end(steps: &[SafeStep]) -> String {
    if steps.is_empty() {
        return String::new();
    }
    let rows: Vec<String> = steps
        .iter()
        .map(|step| {
            let missed = if step.missed.is_empty() {
                "all".to_owned()
            } else {
                format!("not {}", step.missed.join(", "))
            };
            format!(
                "<tr><td>{}</td><td>{}</td><td class=\"n\">{} s</td><td class=\"n\">{} s</td><td>{}</td></tr>",
                escape(&step.step),
                escape(&step.devices.join(", ")),
                number(step.took_s),
                number(step.within_s),
                escape(&missed)
            )
        })
        .collect();
    format!(
        "<h2>Safe end</h2><table class=\"narrow\"><thead><tr><th>step</th><th>told</th>\
         <th class=\"n\">took</th><th class=\"n\">of</th><th>confirmed</th></tr></thead>\
         <tbody>{}</tbody></table>",
        rows.concat()
    )
}

fn fallback_times(fallbacks: &[FallbackTime]) -> String {
    if fallbacks.is_empty() {
        return String::new();
    }
    let seconds = |s: Option<f64>, none: &str| {
        s.map_or_else(|| none.to_owned(), |s| format!("{} s", number(s)))
    };
    let rows: Vec<String> = fallbacks
        .iter()
        .map(|fallback| {
            format!(
                "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{} s</td><td>{}</td></tr>",
                escape(&fallback.device),
                seconds(fallback.measured_s, "never"),
                seconds(fallback.stated_s, "none"),
                number(fallback.out_s),
                if fallback.is_proven() { "proven" } else { "not proven" }
            )
        })
        .collect();
    format!(
        "<h2>Fallback of devices that hear nothing</h2><table class=\"narrow\"><thead><tr>\
         <th>device</th><th class=\"n\">fell back after</th><th class=\"n\">stated</th>\
         <th class=\"n\">plug out for</th><th></th></tr></thead><tbody>{}</tbody></table>",
        rows.concat()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fallback_counts_as_proven_only_when_it_was_measured_within_what_is_stated() {
        let rows = [
            (Some(29.0), Some(30.0), "proven"),
            (Some(31.0), Some(30.0), "not proven"),
            (None, Some(30.0), "not proven"),
            (Some(3.0), None, "not proven"),
        ];
        for (measured_s, stated_s, word) in rows {
            let html = safety(
                &[],
                &[FallbackTime {
                    device: "ess1".into(),
                    measured_s,
                    out_s: 40.0,
                    stated_s,
                }],
            );
            assert!(html.contains(&format!("<td>{word}</td>")), "{html}");
        }
        assert_eq!(safety(&[], &[]), "");
    }
}
