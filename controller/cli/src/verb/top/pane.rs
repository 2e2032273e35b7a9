//! The parts of the screen that are lists: devices, dispatches, events, buses, services, alarms.

use ratatui::text::Line;

use super::ledger::Explorer;
use super::look::{Alarm, Bus, Device, Dispatch, Event, Known, Level, Look, Quality, Service};
use super::market;
use super::paint::{
    Cell, Head, Palette, Side, Tone, UNKNOWN, age, clock, head, power, table, time_of, value, words,
};
use super::row::Row;
use super::scene;

/// Above which a bus has no room for retries. The page's meter turns there, too.
const BUSY_PERCENT_MAX: f64 = 80.0;
/// Cells of the meter of a bus.
const METER_CELLS: usize = 10;

/// What the lower part shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    #[default]
    Dispatches,
    Events,
    Buses,
    Services,
    Market,
    Alarms,
    Scenario,
    Ledger,
}

impl Pane {
    /// All of them, in the order of their keys.
    pub const ALL: [Self; 8] = [
        Self::Dispatches,
        Self::Events,
        Self::Buses,
        Self::Services,
        Self::Market,
        Self::Alarms,
        Self::Scenario,
        Self::Ledger,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dispatches => "dispatches",
            Self::Events => "events",
            Self::Buses => "buses",
            Self::Services => "services",
            Self::Market => "market",
            Self::Alarms => "alarms",
            Self::Scenario => "scenario",
            Self::Ledger => "ledger",
        }
    }

    /// The one so many further on.
    pub(super) fn after(self, steps: usize) -> Self {
        let at = Self::ALL.iter().position(|p| *p == self).unwrap_or(0);
        Self::ALL[(at + steps) % Self::ALL.len()]
    }
}

const DEVICE_HEADS: &[Head] = &[
    head("device", Side::Left, 0),
    head("role", Side::Left, 7),
    head("bus", Side::Left, 8),
    head("W", Side::Right, 0),
    head("var", Side::Right, 3),
    head("V", Side::Right, 4),
    head("Hz", Side::Right, 5),
    head("SoC", Side::Right, 2),
    head("switch", Side::Left, 1),
    head("age", Side::Right, 0),
    head("quality", Side::Left, 0),
];

/// How long ago all of it was true.
#[derive(Clone, Copy, Debug)]
pub struct Since {
    /// What the ages of values do not count.
    pub more_s: f64,
    /// Whether that is so long that no value may be taken for fresh.
    pub is_old: bool,
}

impl Since {
    /// How far a value can be believed by now.
    fn now(self, quality: Quality) -> Quality {
        match quality {
            Quality::Good | Quality::Held if self.is_old => Quality::Stale,
            quality => quality,
        }
    }
}

/// The devices.
pub fn devices(
    devices: &[Device],
    since: Since,
    width: usize,
    palette: Palette,
) -> Vec<Line<'static>> {
    let rows: Vec<Vec<Cell>> = devices.iter().map(|d| device(d, since)).collect();
    table(DEVICE_HEADS, &rows, width, palette)
}

fn device(d: &Device, since: Since) -> Vec<Cell> {
    let quality = since.now(d.quality);
    let tone = match quality {
        Quality::Good => Tone::Good,
        Quality::Held => Tone::Warn,
        Quality::Stale | Quality::Unread => Tone::Bad,
        Quality::Absent => Tone::Dim,
    };
    // What is offline is stale, or becomes so at once.
    let word = match d.link.as_str() {
        "offline" => "offline",
        _ => quality.word(),
    };
    let why = match &d.why {
        Some(why) => format!("{word}: {why}"),
        None => word.to_owned(),
    };
    let switch = cell(since, &d.switch_on, |on| {
        let (closed, open) = match d.role.as_str() {
            "breaker" => ("closed", "open"),
            _ => ("on", "off"),
        };
        if on { closed } else { open }.to_owned()
    });
    vec![
        (Tone::Strong, d.name.clone()),
        (Tone::Dim, d.role.clone()),
        (Tone::Dim, d.bus.clone()),
        cell(since, &d.p_w, |v| power(Some(v), "W")),
        cell(since, &d.q_var, |v| power(Some(v), "var")),
        cell(since, &d.v_v, |v| value(Some(v), 1, "V")),
        cell(since, &d.f_hz, |v| value(Some(v), 3, "Hz")),
        cell(since, &d.soc, |v| value(Some(v * 100.0), 0, "%")),
        switch,
        (Tone::Plain, age(d.age_s.map(|s| s + since.more_s))),
        (tone, why),
    ]
}

/// A value; one that is too old to be used is marked, and dim.
fn cell<T: Copy>(since: Since, known: &Known<T>, show: impl Fn(T) -> String) -> Cell {
    match (since.now(known.quality), known.value) {
        (Quality::Absent, _) => (Tone::Dim, String::new()),
        (Quality::Unread, _) | (_, None) => (Tone::Dim, UNKNOWN.to_owned()),
        (Quality::Stale, Some(value)) => (Tone::Dim, format!("({})", show(value))),
        (Quality::Good | Quality::Held, Some(value)) => (Tone::Plain, show(value)),
    }
}

/// A list of the lower part.
pub fn rows(
    pane: Pane,
    look: &Look,
    explorer: &Explorer,
    width: usize,
    palette: Palette,
) -> Vec<Row> {
    let plain = |lines: Vec<Line<'static>>| lines.into_iter().map(Row::from).collect();
    let (nothing, rows): (&str, Vec<Row>) = match pane {
        Pane::Dispatches => (
            "Nothing has been dispatched yet.",
            look.state
                .dispatches
                .iter()
                .flat_map(|d| dispatch(d, palette))
                .collect(),
        ),
        Pane::Events => (
            "Nothing has happened yet.",
            (look.events.iter().rev())
                .map(|e| event(e, palette).into())
                .collect(),
        ),
        Pane::Buses => (
            "The rig has no bus.",
            plain(listed(BUS_HEADS, &look.state.buses, bus, width, palette)),
        ),
        Pane::Services => (
            "The rig sells no service.",
            plain(listed(
                SERVICE_HEADS,
                &look.services,
                service,
                width,
                palette,
            )),
        ),
        Pane::Market => (
            "No interval was cleared yet.",
            (look.market.as_ref()).map_or_else(Vec::new, |m| market::rows(m, width, palette)),
        ),
        Pane::Alarms => (
            "The rig has no alarm.",
            plain(listed(ALARM_HEADS, &look.alarms, alarm, width, palette)),
        ),
        Pane::Scenario => (
            "No scenario is played on this bench.",
            (look.state.scenario.as_ref()).map_or_else(Vec::new, |scenario| {
                let now_s = look.state.cycle.as_ref().map_or(0.0, |cycle| cycle.t_s);
                plain(scene::lines(scenario, now_s, width, palette))
            }),
        ),
        Pane::Ledger => ("The ledger was not asked for yet.", explorer.rows(palette)),
    };
    if rows.is_empty() {
        return vec![Row::plain(palette.word(Tone::Dim, nothing))];
    }
    rows
}

fn listed<T>(
    heads: &[Head],
    items: &[T],
    row: fn(&T) -> Vec<Cell>,
    width: usize,
    palette: Palette,
) -> Vec<Line<'static>> {
    if items.is_empty() {
        return Vec::new();
    }
    let rows: Vec<Vec<Cell>> = items.iter().map(row).collect();
    table(heads, &rows, width, palette)
}

/// What was asked of whom and how far it came; below it, who asked and why.
fn dispatch(d: &Dispatch, palette: Palette) -> [Row; 2] {
    let (tone, reached) = match d.stage.as_str() {
        "missed" => (Tone::Bad, "missed"),
        "power" => (Tone::Good, "power seen"),
        "register" => (Tone::Good, "read back"),
        stage => (Tone::Plain, stage),
    };
    let reached = match (&d.missed, d.after_s) {
        (Some(missed), _) => format!("{reached}, {missed}"),
        (None, Some(after)) => format!("{reached} after {}", age(Some(after))),
        (None, None) => reached.to_owned(),
    };
    let first = Line::from(vec![
        palette.word(Tone::Dim, format!("{}  ", time_of(&d.utc))),
        palette.word(Tone::Strong, format!("{} → {}", d.device, d.setpoint_text)),
        palette.word(tone, format!("  {reached}")),
        palette.word(Tone::Dim, format!("  ledger {}", d.ledger_clock)),
    ]);
    let mut second = vec![palette.word(
        Tone::Plain,
        format!("            {}: {}", words(&d.function), d.why),
    )];
    if !d.clamped.is_empty() {
        let clamped = format!("  clamped: {}", d.clamped.join("; "));
        second.push(palette.word(Tone::Warn, clamped));
    }
    [Row::about(first, Some(&d.atom)), Line::from(second).into()]
}

fn event(e: &Event, palette: Palette) -> Line<'static> {
    let (tone, mark) = match e.level {
        Level::Info => (Tone::Plain, "  "),
        Level::Warning => (Tone::Warn, "! "),
        Level::Error => (Tone::Bad, "!!"),
    };
    let text = match &e.device {
        Some(device) => format!("{device}: {}", e.text),
        None => e.text.clone(),
    };
    Line::from(vec![
        palette.word(Tone::Dim, format!("{} ", time_of(&e.utc))),
        palette.word(tone, format!("{mark} {text}")),
    ])
}

const BUS_HEADS: &[Head] = &[
    head("bus", Side::Left, 0),
    head("busy", Side::Right, 0),
    head("", Side::Left, 8),
    head("requests", Side::Right, 7),
    head("answers", Side::Right, 1),
    head("timeouts", Side::Right, 0),
    head("corrupt", Side::Right, 2),
    head("exceptions", Side::Right, 4),
    head("expired", Side::Right, 5),
    head("reconnects", Side::Right, 3),
    head("bus-offs", Side::Right, 6),
];

fn bus(b: &Bus) -> Vec<Cell> {
    let busy = if b.busy_percent >= BUSY_PERCENT_MAX {
        Tone::Bad
    } else {
        Tone::Plain
    };
    let full = (b.busy_percent / 100.0 * METER_CELLS as f64).round();
    let full = (full.max(0.0) as usize).min(METER_CELLS);
    let meter = format!("{}{}", "█".repeat(full), "░".repeat(METER_CELLS - full));
    let count = |n: u64| {
        let tone = if n > 0 { Tone::Warn } else { Tone::Dim };
        (tone, n.to_string())
    };
    vec![
        (Tone::Strong, b.name.clone()),
        (busy, value(Some(b.busy_percent), 0, "%")),
        (busy, meter),
        (Tone::Plain, b.requests.to_string()),
        (Tone::Plain, b.answers.to_string()),
        count(b.timeouts),
        count(b.corrupt),
        count(b.exceptions),
        count(b.expired),
        count(b.reconnects),
        count(b.bus_offs),
    ]
}

const SERVICE_HEADS: &[Head] = &[
    head("service", Side::Left, 0),
    head("kind", Side::Left, 5),
    head("phase", Side::Left, 1),
    head("asked", Side::Right, 0),
    head("delivered", Side::Right, 0),
    head("baseline", Side::Right, 4),
    head("up", Side::Right, 2),
    head("down", Side::Right, 3),
    head("", Side::Left, 0),
];

fn service(s: &Service) -> Vec<Cell> {
    let of = |could: f64, sold: f64| {
        if sold > 0.0 {
            format!("{} of {}", power(Some(could), "W"), power(Some(sold), "W"))
        } else {
            "not sold".to_owned()
        }
    };
    let measured = |p: Option<f64>| {
        let tone = if p.is_some() { Tone::Plain } else { Tone::Dim };
        (tone, power(p, "W"))
    };
    let percent = value(Some(s.availability * 100.0), 1, "%");
    let available = if s.available {
        (Tone::Good, format!("available {percent}"))
    } else {
        (Tone::Bad, format!("not available {percent}"))
    };
    vec![
        (Tone::Strong, s.name.clone()),
        (Tone::Dim, s.service.clone()),
        (Tone::Plain, words(&s.phase)),
        (Tone::Plain, power(Some(s.asked_w), "W")),
        measured(s.delivered_w),
        measured(s.baseline_w),
        (Tone::Plain, of(s.up_w, s.sold_up_w)),
        (Tone::Plain, of(s.down_w, s.sold_down_w)),
        available,
    ]
}

const ALARM_HEADS: &[Head] = &[
    head("alarm", Side::Left, 0),
    head("watches", Side::Left, 3),
    head("severity", Side::Left, 2),
    head("stands", Side::Left, 0),
    head("times", Side::Right, 4),
    head("seen by", Side::Left, 1),
    head("why", Side::Left, 0),
];

fn alarm(a: &Alarm) -> Vec<Cell> {
    let tone = match (a.raised, &a.acknowledged_by, a.severity.as_str()) {
        (false, _, _) => Tone::Dim,
        (true, None, "error") => Tone::Bad,
        (true, _, _) => Tone::Warn,
    };
    let stands = match a.since_s {
        Some(since) => format!("raised at {}", clock(since)),
        None => "calm".to_owned(),
    };
    vec![
        (Tone::Strong, a.name.clone()),
        (Tone::Dim, a.watch.clone()),
        (Tone::Dim, a.severity.clone()),
        (tone, stands),
        (Tone::Dim, a.times.to_string()),
        (Tone::Plain, a.acknowledged_by.clone().unwrap_or_default()),
        (Tone::Plain, a.why.clone().unwrap_or_default()),
    ]
}
