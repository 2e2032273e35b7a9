//! What remains of a run: `result.json`, `junit.xml`, `report.html`, `env.json`, `repro.sh`.
//!
//! Everything here turns given data into text. It reads no clock and no file, so that
//! the same run gives the same bytes; times of day stand only in fields that are named so.

pub mod budgets;
pub mod charts;
pub mod compare;
pub mod environment;
mod footer;
pub mod html;
pub mod junit;
#[cfg(test)]
mod junit_form;
pub mod merge;
pub mod pictures;
pub mod plot;
pub mod repeats;
pub mod result;
pub mod run;
mod safety;
pub mod template;
mod templated;
#[cfg(test)]
mod tests;

/// A number with at most six significant digits and no needless zeros.
#[must_use]
pub fn number(value: f64) -> String {
    if value.is_nan() {
        return "unknown".to_owned();
    }
    if value == 0.0 || value.is_infinite() {
        return format!("{}", value.abs() * if value < 0.0 { -1.0 } else { 1.0 });
    }
    let digits_before = value.abs().log10().floor() as i32 + 1;
    let decimals = usize::try_from((6 - digits_before).clamp(0, 9)).unwrap_or(0);
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

/// A text in which nothing is markup, for elements and quoted attributes.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
