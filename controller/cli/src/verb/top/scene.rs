//! The scenario under way as lines: its steps, and what is demanded of which signal when.

use ratatui::text::Line;

use super::look::{Band, Scenario, Step};
use super::paint::{Cell, Head, Palette, Side, Tone, age, clock, head, table};

/// The part of a scenario in which its steps count.
const STEPS: &str = "steps";

const STEP_HEADS: &[Head] = &[
    head("", Side::Left, 0),
    head("when", Side::Right, 0),
    head("mark", Side::Left, 2),
    head("step", Side::Left, 0),
];

const BAND_HEADS: &[Head] = &[
    head("signal", Side::Left, 0),
    head("is to keep", Side::Left, 0),
    head("when", Side::Left, 1),
    head("demand", Side::Left, 0),
];

/// How far it is, for the head of the screen.
pub(super) fn line(scenario: &Scenario, palette: Palette) -> Line<'static> {
    Line::from(vec![
        palette.word(Tone::Accent, format!("scenario {}: ", scenario.name)),
        palette.word(Tone::Plain, standing(scenario)),
    ])
}

fn standing(scenario: &Scenario) -> String {
    let step = scenario.step.filter(|_| scenario.phase == STEPS);
    let under_way = step.and_then(|n| Some((n, scenario.steps.get(n)?)));
    match under_way {
        Some((n, step)) => format!("step {} of {}: {}", n + 1, scenario.steps.len(), what(step)),
        None => scenario.phase.clone(),
    }
}

fn what(step: &Step) -> &str {
    if step.text.is_empty() {
        "a mark"
    } else {
        &step.text
    }
}

/// The pane; `now_s` is control time.
pub(super) fn lines(
    scenario: &Scenario,
    now_s: f64,
    width: usize,
    palette: Palette,
) -> Vec<Line<'static>> {
    let title = format!(
        "{} ({}): {}",
        scenario.name,
        scenario.file,
        standing(scenario)
    );
    let steps = scenario.steps.iter().enumerate();
    let steps: Vec<Vec<Cell>> = steps
        .map(|(n, step)| row(scenario, n, step, now_s))
        .collect();
    let bands: Vec<Vec<Cell>> = scenario.bands.iter().map(|b| band(b, now_s)).collect();
    let mut lines = vec![Line::from(palette.word(Tone::Strong, title))];
    lines.extend(table(STEP_HEADS, &steps, width, palette));
    if !bands.is_empty() {
        lines.push(Line::default());
        lines.extend(table(BAND_HEADS, &bands, width, palette));
    }
    lines
}

fn row(scenario: &Scenario, n: usize, step: &Step, now_s: f64) -> Vec<Cell> {
    let (tone, sign) = match scenario.step {
        Some(at) if n == at && scenario.phase == STEPS => (Tone::Strong, "▶"),
        Some(at) if n <= at => (Tone::Dim, "✓"),
        _ => (Tone::Plain, ""),
    };
    let when = match step.due_s {
        Some(due) if sign.is_empty() && due > now_s => format!("in {}", age(Some(due - now_s))),
        Some(due) => clock(due),
        None => step.at.clone(),
    };
    vec![
        (tone, sign.to_owned()),
        (tone, when),
        (Tone::Dim, step.mark.clone().unwrap_or_default()),
        (tone, what(step).to_owned()),
    ]
}

fn band(b: &Band, now_s: f64) -> Vec<Cell> {
    let end = |v: f64| format!("{v} {}", b.unit);
    let keeps = match (b.low, b.high) {
        (Some(low), Some(high)) if low == high => end(low),
        (Some(low), Some(high)) => format!("{low} to {}", end(high)),
        (Some(low), None) => format!("at least {}", end(low)),
        (None, Some(high)) => format!("at most {}", end(high)),
        (None, None) => String::new(),
    };
    let is_over = b.until_s.is_some_and(|until| until < now_s);
    let tone = match b.from_s {
        Some(from) if from <= now_s && !is_over => Tone::Accent,
        Some(_) if is_over => Tone::Dim,
        _ => Tone::Plain,
    };
    let when = match (b.from_s, b.until_s) {
        (Some(from), Some(until)) => format!("{} to {}", clock(from), clock(until)),
        (Some(from), None) => format!("{} to the end", clock(from)),
        (None, _) => "once it has begun".to_owned(),
    };
    vec![
        (Tone::Strong, format!("{}.{}", b.subject, b.quantity)),
        (tone, keeps),
        (tone, when),
        (Tone::Dim, b.name.clone()),
    ]
}
