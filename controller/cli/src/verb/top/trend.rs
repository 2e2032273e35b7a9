//! The last ten minutes as charts of characters: each quantity is a band of blocks, and a hole where nothing is known.
//!
//! It begins with what the daemon remembers and goes on with each look.

use std::collections::VecDeque;

use ratatui::text::Line;
use serde::Deserialize;

use super::look::{Known, Quality, State};
use super::paint::{Palette, Tone, UNKNOWN, power, value};

/// Points that are kept: as many as the daemon's own memory of ten minutes has.
const POINTS_KEPT: usize = 1_200;
/// A longer pause between two points is a hole. Chosen: as on the page.
const PAUSE_S: f64 = 5.0;
/// Least time between two points; a look that comes sooner says nothing new.
const APART_S: f64 = 0.3;
/// Lines of a chart of the bus, and of one device.
const BUS_LINES: usize = 3;
const DEVICE_LINES: usize = 1;
/// Columns of a name with the ends of its scale, and of the latest value.
const LEFT: usize = 22;
const RIGHT: usize = 12;
/// Columns of a name alone.
const NAME: usize = 10;
/// Widest chart. Chosen: 200 columns, three seconds each; a frame of plain text has no width of its own.
const COLUMNS_MAX: usize = 200;
/// Blocks from the lowest to the highest.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What a quantity is measured in, and the least span of its scale: noise shall not fill a chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Frequency,
    Voltage,
    Power,
    Reactive,
}

impl Kind {
    fn text(self, of: Option<f64>) -> String {
        match self {
            Self::Frequency => value(of, 3, "Hz"),
            Self::Voltage => value(of, 1, "V"),
            Self::Power => power(of, "W"),
            Self::Reactive => power(of, "var"),
        }
    }

    fn least_span(self) -> f64 {
        match self {
            Self::Frequency => 0.1,
            Self::Voltage => 4.0,
            Self::Power | Self::Reactive => 100.0,
        }
    }
}

#[derive(Clone, Debug)]
struct Trend {
    name: String,
    kind: Kind,
    lines: usize,
    points: VecDeque<Option<f64>>,
}

/// What is remembered of the bench.
#[derive(Clone, Debug, Default)]
pub struct Trends {
    at_s: VecDeque<f64>,
    trends: Vec<Trend>,
}

/// What the daemon remembers, as far as it is shown.
#[derive(Clone, Debug, Deserialize)]
pub struct History {
    pub t_s: Vec<f64>,
    pub f_hz: Vec<Option<f64>>,
    pub v_v: Vec<Option<f64>>,
    pub devices: Vec<Trace>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Trace {
    pub name: String,
    pub p_w: Vec<Option<f64>>,
    pub q_var: Vec<Option<f64>>,
}

impl Trends {
    /// Begins anew with what the daemon remembers.
    pub fn recall(history: History) -> Self {
        let mut trends = Self {
            at_s: history.t_s.into(),
            trends: Vec::new(),
        };
        let bus = [
            ("bus f", Kind::Frequency, history.f_hz),
            ("bus V", Kind::Voltage, history.v_v),
        ];
        for (name, kind, points) in bus {
            *trends.of(name, kind, BUS_LINES) = points.into();
        }
        let mut reactive = Vec::new();
        for device in history.devices {
            *trends.of(&device.name, Kind::Power, DEVICE_LINES) = device.p_w.into();
            reactive.push((device.name, device.q_var));
        }
        for (name, q_var) in reactive {
            *trends.of(&name, Kind::Reactive, DEVICE_LINES) = q_var.into();
        }
        let points = trends.at_s.len();
        for trend in &mut trends.trends {
            trend.points.resize(points, None);
        }
        trends
    }

    /// The points of a quantity: those of one that is new are unknown so far.
    fn of(&mut self, name: &str, kind: Kind, lines: usize) -> &mut VecDeque<Option<f64>> {
        let known = (self.trends.iter()).position(|t| t.name == name && t.kind == kind);
        let at = known.unwrap_or_else(|| {
            self.trends.push(Trend {
                name: name.to_owned(),
                kind,
                lines,
                points: VecDeque::new(),
            });
            self.trends.len() - 1
        });
        &mut self.trends[at].points
    }

    /// Takes in a look.
    pub fn observe(&mut self, state: &State) {
        let (Some(cycle), Some(e)) = (&state.cycle, &state.estimate) else {
            return;
        };
        match self.at_s.back() {
            // Another run, or the same cycle once more.
            Some(last) if cycle.t_s < *last => *self = Self::default(),
            Some(last) if cycle.t_s - last < APART_S => return,
            Some(last) if cycle.t_s - last > PAUSE_S => {
                let middle = (cycle.t_s + last) / 2.0;
                self.at_s.push_back(middle);
            }
            _ => {}
        }
        self.at_s.push_back(cycle.t_s);
        let points = self.at_s.len();
        let mut told = vec![
            ("bus f", Kind::Frequency, BUS_LINES, e.f_hz),
            ("bus V", Kind::Voltage, BUS_LINES, e.v_v),
            ("exchange P", Kind::Power, BUS_LINES, e.pcc_w),
            ("storage P", Kind::Power, BUS_LINES, e.storage_w),
            ("exchange Q", Kind::Reactive, BUS_LINES, e.pcc_var),
            ("storage Q", Kind::Reactive, BUS_LINES, e.storage_var),
        ];
        let fresh = |known: &Known<f64>| {
            let is_fresh = matches!(known.quality, Quality::Good | Quality::Held);
            known.value.filter(|_| is_fresh)
        };
        for kind in [Kind::Power, Kind::Reactive] {
            told.extend(state.devices.iter().map(|d| {
                let value = match kind {
                    Kind::Reactive => fresh(&d.q_var),
                    _ => fresh(&d.p_w),
                };
                (d.name.as_str(), kind, DEVICE_LINES, value)
            }));
        }
        for (name, kind, lines, value) in told {
            let known = self.of(name, kind, lines);
            known.resize(points - 1, None);
            known.push_back(value);
        }
        // What is not told of any more is unknown.
        for trend in &mut self.trends {
            trend.points.resize(points, None);
        }
        let old = points.saturating_sub(POINTS_KEPT);
        self.at_s.drain(..old);
        for trend in &mut self.trends {
            trend.points.drain(..old);
        }
    }

    /// The charts, as wide as there is room; nothing is drawn of what was never known.
    pub fn lines(&self, width: usize, palette: Palette) -> Vec<Line<'static>> {
        let columns = width.saturating_sub(LEFT + RIGHT).clamp(1, COLUMNS_MAX);
        let mut lines = Vec::new();
        let order = [BUS_LINES, DEVICE_LINES];
        for trend in order
            .iter()
            .flat_map(|n| self.trends.iter().filter(move |t| t.lines == *n))
        {
            if trend.points.iter().any(Option::is_some) {
                lines.extend(trend.drawn(columns, palette));
            }
        }
        if let (Some(from), Some(to)) = (self.at_s.front(), self.at_s.back())
            && !lines.is_empty()
        {
            let text = format!("the last {:.0} s, left to right", to - from);
            lines.push(Line::from(palette.word(Tone::Dim, text)));
        }
        lines
    }
}

impl Trend {
    /// Means of as many equal parts as there are columns; `None` where a part has no point that is known.
    fn parts(&self, columns: usize) -> Vec<Option<f64>> {
        let points = self.points.len();
        let columns = columns.min(points);
        (0..columns)
            .map(|n| {
                let part = n * points / columns..(n + 1) * points / columns;
                let known = self.points.range(part).flatten();
                let (sum, count) = known.fold((0.0, 0_u32), |(s, c), v| (s + v, c + 1));
                (count > 0).then(|| sum / f64::from(count))
            })
            .collect()
    }

    fn drawn(&self, columns: usize, palette: Palette) -> Vec<Line<'static>> {
        let parts = self.parts(columns);
        let known = || parts.iter().flatten().copied();
        let (low, high) = known().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
            (low.min(v), high.max(v))
        });
        let missing = (self.kind.least_span() - (high - low)).max(0.0);
        let (bottom, top) = (low - missing / 2.0, high + missing / 2.0);
        let steps = self.lines * BLOCKS.len();
        // From 1, so that the lowest value is seen and a hole is not taken for it.
        let level =
            |v: f64| 1 + ((v - bottom) / (top - bottom) * (steps - 1) as f64).round() as usize;
        let latest = self.kind.text(self.points.back().copied().flatten());
        (0..self.lines)
            .rev()
            .map(|line| {
                let blocks: String = parts
                    .iter()
                    .map(
                        |v| match v.map_or(0, level).saturating_sub(line * BLOCKS.len()) {
                            0 => ' ',
                            filled => BLOCKS[filled.min(BLOCKS.len()) - 1],
                        },
                    )
                    .collect();
                let end = match (line + 1 == self.lines, line) {
                    _ if self.lines == 1 => String::new(),
                    (true, _) => self.kind.text(Some(top)),
                    (_, 0) => self.kind.text(Some(bottom)),
                    _ => String::new(),
                };
                let name = if line == self.lines / 2 {
                    self.name.as_str()
                } else {
                    ""
                };
                let right = if line == self.lines / 2 {
                    latest.as_str()
                } else {
                    ""
                };
                // Reactive power of a device is told apart from its power by its sign and by its unit.
                let mark = match (self.kind, self.lines) {
                    (Kind::Reactive, DEVICE_LINES) => " Q",
                    _ => "",
                };
                let kept = NAME - mark.len();
                let name: String = name.chars().take(kept).collect::<String>() + mark;
                Line::from(vec![
                    palette.word(Tone::Strong, format!("{name:<10}")),
                    palette.word(Tone::Dim, format!("{end:>11} ")),
                    palette.word(Tone::Accent, format!("{blocks:<columns$}")),
                    palette.word(Tone::Plain, format!(" {right}")),
                ])
            })
            .collect()
    }
}

/// What is said while nothing is known.
pub fn nothing(palette: Palette) -> Line<'static> {
    Line::from(palette.word(Tone::Dim, format!("Nothing is known yet: {UNKNOWN}")))
}
