//! Diagnostics as people read them (code, place, source line, caret, reason, help) and as JSON.

use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use document::{Actor, Diagnostic, Place, Severity};
use serde_json::{Value, json};

/// Longest source line that is drawn whole, in characters.
/// Chosen: a line of a rig with every key; beyond it only the part around the caret is of use.
const LINE_WIDTH_MAX: usize = 200;

/// The order in which they are told: who must act, then file and place.
fn sorted(diagnostics: &[Diagnostic]) -> Vec<&Diagnostic> {
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by_key(|d| {
        let place = d.place.as_ref();
        (
            d.actor,
            place.map(|p| p.source.path.clone()),
            place.map_or(0, |p| p.span.start),
        )
    });
    sorted
}

/// Every diagnostic, drawn.
pub fn all(diagnostics: &[Diagnostic], coloured: bool) -> Vec<String> {
    sorted(diagnostics)
        .into_iter()
        .map(|d| one(d, coloured))
        .collect()
}

/// Every diagnostic as `{code, severity, actor, message, file, line, column, help}`.
pub fn as_json(diagnostics: &[Diagnostic]) -> Value {
    sorted(diagnostics)
        .into_iter()
        .map(|d| {
            let at = d.place.as_ref().map(Place::line_and_column);
            json!({
                "code": d.code,
                "severity": severity(d.severity),
                "actor": d.actor.name(),
                "message": d.message,
                "label": d.label,
                "file": d.place.as_ref().map(|p| &p.source.path),
                "line": at.map(|(line, _)| line),
                "column": at.map(|(_, column)| column),
                "help": d.help,
            })
        })
        .collect()
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

fn one(diagnostic: &Diagnostic, coloured: bool) -> String {
    let level = match diagnostic.severity {
        Severity::Warning => Level::WARNING,
        Severity::Error => Level::ERROR,
    };
    let message = one_line(&diagnostic.message);
    let title = level.primary_title(message).id(diagnostic.code);
    let help = diagnostic
        .help
        .as_deref()
        .map(|help| Level::HELP.message(one_line(help)));
    // A device and we ourselves are named; operator and author know that it is their turn.
    let actor = match diagnostic.actor {
        Actor::Device => Some("this is for the device, or for whoever made it, to mend"),
        Actor::Us => Some("this is a mistake of gridrig; please report it"),
        Actor::Operator | Actor::Author => None,
    }
    .map(|text| Level::NOTE.message(text));
    let window = diagnostic.place.as_ref().map(window);
    let mut group: Group<'_> = match &window {
        Some(window) => {
            let annotation = AnnotationKind::Primary.span(window.span.clone());
            let annotation = if diagnostic.label.is_empty() {
                annotation
            } else {
                annotation.label(one_line(&diagnostic.label))
            };
            let snippet = Snippet::source(window.text.as_str())
                .line_start(window.line)
                .path(window.path.as_str())
                .annotation(annotation);
            title.element(snippet)
        }
        None => Group::with_title(title),
    };
    if let Some(help) = help {
        group = group.element(help);
    }
    if let Some(actor) = actor {
        group = group.element(actor);
    }
    let renderer = if coloured {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let drawn = renderer
        .decor_style(DecorStyle::Ascii)
        .render(&[group])
        .to_string();
    match &window {
        Some(window) => with_true_column(&drawn, window),
        None => drawn,
    }
}

/// Control characters of a foreign text must not reach a terminal.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' { ' ' } else { c })
        .collect()
}

/// The lines around a place, cut out of the source.
struct Window {
    path: String,
    /// The text that is drawn.
    text: String,
    /// Number of its first line, from 1.
    line: usize,
    /// The marked range in it.
    span: Range<usize>,
    /// Column in the source, and in the window where that differs.
    column: usize,
    column_in_window: usize,
}

fn window(place: &Place) -> Window {
    let text = &place.source.text;
    let start = boundary(text, place.span.start);
    let end = boundary(text, place.span.end.max(start));
    let line_start = text[..start].rfind('\n').map_or(0, |i| i + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |i| start + i);
    // A range over several lines is marked on its first one.
    let end = end.min(line_end).max(start);
    let (line, column) = place.line_and_column();
    let source_line = &text[line_start..line_end];
    let before = source_line[..start - line_start].chars().count();
    let marked = text[start..end].chars().count();
    let all: Vec<char> = source_line
        .chars()
        .map(|c| if c.is_control() && c != '\t' { ' ' } else { c })
        .collect();
    let (from, until) = if all.len() <= LINE_WIDTH_MAX {
        (0, all.len())
    } else {
        let from = before.saturating_sub(LINE_WIDTH_MAX / 2);
        (from, (from + LINE_WIDTH_MAX).min(all.len()))
    };
    let cut_left = if from > 0 { "… " } else { "" };
    let cut_right = if until < all.len() { " …" } else { "" };
    let shown: String = all[from..until].iter().collect();
    let lead: String = all[from..before.min(until)].iter().collect();
    let marked_until = (before + marked).min(until).max(before.min(until));
    let body: String = all[before.min(until)..marked_until].iter().collect();
    let span_start = cut_left.len() + lead.len();
    Window {
        path: one_line(&place.source.path),
        text: format!("{cut_left}{shown}{cut_right}"),
        line,
        span: span_start..span_start + body.len(),
        column,
        column_in_window: cut_left.chars().count() + lead.chars().count() + 1,
    }
}

/// The nearest character boundary at or below an offset that may be anything.
fn boundary(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// Only a window of a wide line was drawn: its column is put right.
fn with_true_column(drawn: &str, window: &Window) -> String {
    if window.column == window.column_in_window {
        return drawn.to_owned();
    }
    let shown = format!(
        "{}:{}:{}",
        window.path, window.line, window.column_in_window
    );
    let right = format!("{}:{}:{}", window.path, window.line, window.column);
    drawn.replacen(&shown, &right, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use document::Source;
    use proptest::prelude::*;

    fn at(text: &str, span: Range<usize>) -> Diagnostic {
        let place = Place {
            source: Source::new("rig.toml", text),
            span,
        };
        Diagnostic::error("R012", Actor::Author, "the limit is too wide")
            .at(place, "nameplate 3 kW")
            .help("write \"-3..3kW\"")
    }

    #[test]
    fn an_error_shows_code_place_source_caret_reason_and_help() {
        let drawn = all(&[at("schema = 1\nlimits = \"-5..5kW\"\n", 20..29)], false);
        let expected = "\
error[R012]: the limit is too wide
 --> rig.toml:2:10
  |
2 | limits = \"-5..5kW\"
  |          ^^^^^^^^^ nameplate 3 kW
  |
  = help: write \"-3..3kW\"";
        assert_eq!(drawn, [expected]);
    }

    #[test]
    fn an_error_without_a_place_is_plain() {
        let diagnostic = Diagnostic::error("R024", Actor::Operator, "the port is in use")
            .help("take another one");
        assert_eq!(
            all(&[diagnostic], false),
            ["error[R024]: the port is in use\n |\n = help: take another one"]
        );
    }

    #[test]
    fn the_operator_comes_first_then_files_in_their_order() {
        let told = as_json(&[
            at("one\ntwo\n", 4..7),
            at("one\ntwo\n", 0..3),
            Diagnostic::error("R024", Actor::Operator, "x"),
        ]);
        let lines: Vec<&Value> = told
            .as_array()
            .expect("a list")
            .iter()
            .map(|d| &d["line"])
            .collect();
        assert_eq!(lines, [&Value::Null, &json!(1), &json!(2)]);
    }

    #[test]
    fn a_wide_line_is_cut_around_the_caret_and_keeps_its_column() {
        let text = format!("{}BAD{}", "x".repeat(5000), "y".repeat(5000));
        let drawn = all(&[at(&text, 5000..5003)], false).join("");
        assert!(drawn.contains("rig.toml:1:5001"), "{drawn}");
        assert!(drawn.contains("BAD"), "{drawn}");
        assert!(drawn.lines().all(|l| l.chars().count() < 260), "{drawn}");
    }

    proptest! {
        #[test]
        fn no_span_of_any_text_makes_it_panic(
            text in "[a-zä€𝄞\\n\\r\\t\\x1b \"]{0,80}",
            start in 0usize..120,
            length in 0usize..120,
        ) {
            let length = length.min(120);
            let drawn = all(&[at(&text, start..start + length)], true);
            prop_assert!(drawn.join("").contains("R012"));
            let reversed = Range { start, end: start.saturating_sub(length) };
            prop_assert!(all(&[at(&text, reversed)], false).join("").contains("help"));
        }
    }
}
