//! Tones, words and columns: what every part of the screen is made of.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

/// What a word's look says. A second sign always says the same, for those who see no colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    /// Less important, or old.
    Dim,
    Strong,
    Good,
    Warn,
    Bad,
    /// Of note, and neither good nor bad.
    Accent,
}

/// How tones look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    Coloured,
    /// Bold, dim and reversed only.
    Plain,
    /// Everything is old.
    Faded,
}

impl Palette {
    /// With colours, or without.
    pub fn new(is_coloured: bool) -> Self {
        if is_coloured {
            Self::Coloured
        } else {
            Self::Plain
        }
    }

    /// The look of a tone.
    pub fn style(self, tone: Tone) -> Style {
        let style = Style::new();
        let bold = style.add_modifier(Modifier::BOLD);
        match (self, tone) {
            (Self::Faded, _) | (_, Tone::Dim) => style.add_modifier(Modifier::DIM),
            (_, Tone::Plain) => style,
            (_, Tone::Strong) => bold,
            (Self::Plain, Tone::Bad) => bold.add_modifier(Modifier::REVERSED),
            (Self::Plain, Tone::Good | Tone::Warn | Tone::Accent) => bold,
            (Self::Coloured, Tone::Good) => style.fg(Color::Green),
            (Self::Coloured, Tone::Warn) => style.fg(Color::Yellow),
            (Self::Coloured, Tone::Bad) => bold.fg(Color::Red),
            (Self::Coloured, Tone::Accent) => style.fg(Color::Cyan),
        }
    }

    /// A word in a tone.
    pub fn word(self, tone: Tone, text: impl Into<String>) -> Span<'static> {
        Span::styled(text.into(), self.style(tone))
    }
}

/// What stands for a value that is not known.
pub const UNKNOWN: &str = "–";

/// A number with its unit.
pub fn value(value: Option<f64>, digits: usize, unit: &str) -> String {
    let Some(value) = value else {
        return format!("{UNKNOWN} {unit}");
    };
    // Nothing is minus zero.
    let smallest = 0.5 * 10f64.powi(-(digits as i32));
    let value = if value.abs() < smallest { 0.0 } else { value };
    format!("{value:.digits$} {unit}")
}

/// Watts or vars, in thousands from where five digits would be needed.
pub fn power(power: Option<f64>, unit: &str) -> String {
    match power {
        Some(p) if p.abs() >= 9_999.5 => value(Some(p / 1e3), 1, &format!("k{unit}")),
        p => value(p, 0, unit),
    }
}

/// An age or a length of time in seconds.
pub fn age(seconds: Option<f64>) -> String {
    match seconds {
        None => UNKNOWN.to_owned(),
        Some(s) if s < 0.9995 => format!("{:.0} ms", s * 1e3),
        Some(s) if s < 120.0 => format!("{s:.1} s"),
        Some(s) if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        Some(s) => format!("{:.0} h", s / 3_600.0),
    }
}

/// Control time in seconds, as hours, minutes and seconds.
pub fn clock(seconds: f64) -> String {
    let s = seconds.max(0.0).round() as u64;
    format!("{}:{:02}:{:02}", s / 3_600, s / 60 % 60, s % 60)
}

/// The time of day of an RFC 3339 time, to a tenth of a second.
pub fn time_of(utc: &str) -> String {
    utc.chars().skip(11).take(10).collect()
}

/// A name of the daemon as words.
pub fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// Where the cells of a column stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

/// The head of a column.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub title: &'static str,
    pub side: Side,
    /// Columns of a higher number go first where there is no room; 0 stays.
    pub spare: u8,
}

/// A head, for tables that are constants.
pub(super) const fn head(title: &'static str, side: Side, spare: u8) -> Head {
    Head { title, side, spare }
}

/// A cell of a table.
pub type Cell = (Tone, String);

/// Space between columns.
const GAP: usize = 2;
/// What the last column takes of the room of others. Chosen: 24, so that a long reason does not
/// displace a value; what is longer may be cut.
const LAST_WIDTH_MAX: usize = 24;

/// A table in lines, without the columns for which there is no room or nothing to say, the head
/// first.
pub fn table(
    heads: &[Head],
    rows: &[Vec<Cell>],
    width: usize,
    palette: Palette,
) -> Vec<Line<'static>> {
    let long = |text: &str| text.chars().count();
    let widths: Vec<usize> = heads
        .iter()
        .enumerate()
        .map(|(i, head)| {
            let cells = rows.iter().filter_map(|row| row.get(i));
            let longest = cells.map(|(_, text)| long(text)).max().unwrap_or(0);
            longest.max(long(head.title))
        })
        .collect();
    let says = |i: &usize| {
        let mut cells = rows.iter().filter_map(|row| row.get(*i));
        rows.is_empty() || cells.any(|(_, text)| !text.is_empty())
    };
    let mut kept: Vec<usize> = (0..heads.len()).filter(says).collect();
    let taken = |kept: &[usize]| -> usize {
        let last = kept.last();
        let width = |i: &usize| match Some(i) == last {
            true => widths[*i].min(LAST_WIDTH_MAX),
            false => widths[*i] + GAP,
        };
        kept.iter().map(width).sum()
    };
    while taken(&kept) > width {
        let most_spare = kept.iter().copied().max_by_key(|i| heads[*i].spare);
        match most_spare.filter(|i| heads[*i].spare > 0) {
            Some(column) => kept.retain(|i| *i != column),
            None => break,
        }
    }
    let last = kept.last().copied();
    let line = |cells: &[Cell]| -> Line<'static> {
        let mut spans = Vec::new();
        for i in &kept {
            let Some((tone, text)) = cells.get(*i) else {
                continue;
            };
            let fill = " ".repeat(widths[*i].saturating_sub(long(text)));
            let gap = " ".repeat(GAP);
            let padded = match (heads[*i].side, Some(*i) == last) {
                (Side::Right, true) => format!("{fill}{text}"),
                (Side::Right, false) => format!("{fill}{text}{gap}"),
                (Side::Left, true) => text.clone(),
                (Side::Left, false) => format!("{text}{fill}{gap}"),
            };
            spans.push(palette.word(*tone, padded));
        }
        Line::from(spans)
    };
    let titles: Vec<Cell> = heads
        .iter()
        .map(|head| (Tone::Dim, head.title.to_owned()))
        .collect();
    let mut lines = vec![line(&titles)];
    lines.extend(rows.iter().map(|row| line(row)));
    lines
}
