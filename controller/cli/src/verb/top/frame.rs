//! How the screen looks: what it knows, as lines. Pure: the same screen at the same time is the
//! same picture.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::Paragraph;

use super::look::{Cycle, Estimate, Federation, Lock, Look};
use super::operate;
use super::paint::{Palette, Tone, UNKNOWN, age, power, time_of, value, words};
use super::pane::{self, Pane, Since};
use super::row::{self, Row};
use super::scene;
use super::screen::{Full, Old, Room, Screen};
use super::trend;
use crate::verb::arming;

/// Width of a frame of plain text: as wide as it gets.
const PLAIN_WIDTH: usize = usize::MAX / 2;
/// Events and entries in a frame of plain text. Chosen: 20, as there are dispatches.
const PLAIN_EVENTS: usize = 20;

/// Draws the screen; how much of what scrolls was seen.
pub fn draw(area: &mut Frame<'_>, screen: &Screen, palette: Palette, now: Duration) -> Room {
    let whole = area.area();
    let width = usize::from(whole.width);
    let notices = notices(screen, palette, now);
    let since = since(screen, now);
    let values = if since.is_old {
        Palette::Faded
    } else {
        palette
    };
    let Some(look) = screen.look() else {
        let [top, foot] = stacked(whole, [whole.height.saturating_sub(1), 1]);
        area.render_widget(Paragraph::new(Text::from(notices)), top);
        area.render_widget(Paragraph::new(keys(screen, palette, now)), foot);
        return Room::default();
    };
    let mut top = header(screen, look, values);
    top.extend(notices);
    top.extend(diagram(look, values));
    let ahead = screen.arming(now).map(|of| of.ahead.table());
    if screen.full == Some(Full::Charts) || ahead.is_some() {
        let height = u16::try_from(top.len()).unwrap_or(u16::MAX);
        let height = height.min(whole.height.saturating_sub(1));
        let rest = whole.height.saturating_sub(height).saturating_sub(1);
        let [head, charts, foot] = stacked(whole, [height, rest, 1]);
        area.render_widget(Paragraph::new(Text::from(top)), head);
        area.render_widget(Paragraph::new(keys(screen, palette, now)), foot);
        let lines = match ahead {
            Some(table) => would_write(&table, palette),
            None => charts_of(screen, width, values),
        };
        return scrolled(area, lines, screen.first, charts);
    }
    let devices = pane::devices(&look.state.devices, since, width, values);
    let [head, middle, tabs, list, foot] = rooms(whole, screen, top.len(), devices.len());
    area.render_widget(Paragraph::new(Text::from(top)), head);
    area.render_widget(Paragraph::new(keys(screen, palette, now)), foot);
    if screen.full == Some(Full::Devices) {
        return scrolled(area, devices, screen.first, middle);
    }
    area.render_widget(Paragraph::new(cut(devices, middle.height, values)), middle);
    area.render_widget(Paragraph::new(titles(screen.pane, palette)), tabs);
    let rows = pane::rows(screen.pane, look, screen.explorer(), width, values);
    scrolled(area, marked(rows, screen), screen.first, list)
}

/// The lines of a list; the one that is marked stands out.
fn marked(rows: Vec<Row>, screen: &Screen) -> Vec<Line<'static>> {
    let mut marks = row::marks(&rows).into_iter();
    let at = marks.find(|(_, mark)| Some(mark) == screen.marked());
    let mut lines: Vec<Line> = rows.into_iter().map(|row| row.line).collect();
    if let Some(line) = at.and_then(|(n, _)| lines.get_mut(n)) {
        line.style = Style::new().add_modifier(Modifier::REVERSED);
    }
    lines
}

/// What arming would write.
fn would_write(table: &str, palette: Palette) -> Vec<Line<'static>> {
    let title = palette.word(
        Tone::Strong,
        "Armed, the bench would be written this at once:",
    );
    let rows = table.lines().map(|line| Line::from(line.to_owned()));
    std::iter::once(Line::from(title)).chain(rows).collect()
}

fn charts_of(screen: &Screen, width: usize, palette: Palette) -> Vec<Line<'static>> {
    let lines = screen.trends().lines(width, palette);
    match lines.is_empty() {
        true => vec![trend::nothing(palette)],
        false => lines,
    }
}

fn since(screen: &Screen, now: Duration) -> Since {
    Since {
        more_s: screen.since_turned(now).as_secs_f64(),
        is_old: screen.old(now).is_some(),
    }
}

/// The rooms from top to bottom: header, devices, titles, list, keys.
fn rooms(whole: Rect, screen: &Screen, header: usize, devices: usize) -> [Rect; 5] {
    let lines = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
    let head = lines(header).min(whole.height.saturating_sub(1));
    let rest = whole.height.saturating_sub(head).saturating_sub(1);
    // Devices have what they need, but never more than two thirds of what is left.
    let devices = if screen.full == Some(Full::Devices) {
        rest
    } else {
        lines(devices).min(rest - rest / 3)
    };
    let tabs = u16::from(rest > devices);
    let list = rest - devices - tabs;
    stacked(whole, [head, devices, tabs, list, 1])
}

/// Rooms of these heights from the top down, as far as there is any.
fn stacked<const N: usize>(whole: Rect, heights: [u16; N]) -> [Rect; N] {
    let mut left = whole;
    heights.map(|height| {
        let room = Rect {
            height: height.min(left.height),
            ..left
        };
        left.y += room.height;
        left.height -= room.height;
        room
    })
}

/// Shows lines from the first one on; how they fit.
fn scrolled(area: &mut Frame<'_>, lines: Vec<Line<'static>>, first: usize, room: Rect) -> Room {
    let seen = Room {
        lines: lines.len(),
        seen: usize::from(room.height),
    };
    let first = first.min(seen.lines.saturating_sub(seen.seen));
    let shown: Vec<Line> = lines.into_iter().skip(first).take(seen.seen).collect();
    area.render_widget(Paragraph::new(Text::from(shown)), room);
    seen
}

/// As many lines as there is room for; the last one says how many there are more.
fn cut(mut lines: Vec<Line<'static>>, height: u16, palette: Palette) -> Text<'static> {
    let height = usize::from(height);
    if lines.len() > height && height > 0 {
        let more = lines.len() - height + 1;
        lines.truncate(height - 1);
        let text = format!("… and {more} more: press d");
        lines.push(Line::from(palette.word(Tone::Dim, text)));
    }
    Text::from(lines)
}

/// The picture as plain text, with all there is.
pub fn plain(screen: &Screen, now: Duration) -> String {
    let palette = Palette::Plain;
    let mut lines = Vec::new();
    if let Some(look) = screen.look() {
        lines.extend(header(screen, look, palette));
        lines.extend(notices(screen, palette, now));
        lines.extend(diagram(look, palette));
        lines.push(Line::default());
        lines.extend(pane::devices(
            &look.state.devices,
            since(screen, now),
            PLAIN_WIDTH,
            palette,
        ));
        lines.push(Line::default());
        lines.push(Line::from("charts:"));
        lines.extend(charts_of(screen, PLAIN_WIDTH, palette));
        for open in Pane::ALL {
            let rows = pane::rows(open, look, screen.explorer(), PLAIN_WIDTH, palette);
            let mut list: Vec<Line> = rows.into_iter().map(|row| row.line).collect();
            if matches!(open, Pane::Events | Pane::Ledger) {
                list.truncate(PLAIN_EVENTS);
            }
            lines.push(Line::default());
            lines.push(Line::from(format!("{}:", open.name())));
            lines.extend(list);
        }
    } else {
        lines.extend(notices(screen, palette, now));
    }
    lines
        .iter()
        .map(|line| line.to_string().trim_end().replace(char::is_control, " ") + "\n")
        .collect()
}

/// Mode lamp, arm, lock; cycle; where this is.
fn header(screen: &Screen, look: &Look, palette: Palette) -> Vec<Line<'static>> {
    let state = &look.state;
    let mut first = match &state.cycle {
        None => vec![palette.word(Tone::Dim, "○ no cycle yet")],
        Some(cycle) => lamp(cycle, palette),
    };
    first.push(palette.word(Tone::Plain, format!("  {}", holder(&look.lock))));
    let mut second = Vec::new();
    if let Some(cycle) = &state.cycle {
        let late = state.counters.cycles_late;
        let tone = if late > 0 { Tone::Warn } else { Tone::Plain };
        let of = format!("cycle {} at {} UTC, ", cycle.n, time_of(&cycle.utc));
        second.push(palette.word(Tone::Plain, of));
        second.push(palette.word(tone, format!("{late} of {} late", state.counters.cycles)));
        let took = format!("; took {:.2} ms", cycle.took_ms);
        second.push(palette.word(Tone::Dim, took));
    }
    let counts = &state.counters;
    if let Some(ledger) = &state.ledger {
        second.push(palette.word(Tone::Dim, format!("; ledger {}", ledger.clock)));
    }
    if counts.dispatches_logged < counts.dispatches {
        let missing = counts.dispatches - counts.dispatches_logged;
        let text = format!("; {missing} dispatched, not in the ledger");
        second.push(palette.word(Tone::Bad, text));
    }
    if counts.telemetry_lost > 0 {
        let text = format!("; {} values of telemetry lost", counts.telemetry_lost);
        second.push(palette.word(Tone::Bad, text));
    }
    if counts.database_lost > 0 {
        let text = format!("; {} rows missing in samples.db", counts.database_lost);
        second.push(palette.word(Tone::Bad, text));
    }
    if counts.telemetry_waiting > 0 {
        let text = format!("; {} values of telemetry wait", counts.telemetry_waiting);
        second.push(palette.word(Tone::Dim, text));
    }
    if let Some(price) = state.market.as_ref().and_then(|m| m.price_mc_per_kwh) {
        let text = format!("; {:.3} ct/kWh", price as f64 / 1e3);
        second.push(palette.word(Tone::Dim, text));
    }
    let rig = &state.rig;
    let simulated = if rig.virtual_time {
        ", simulated time"
    } else {
        ""
    };
    let third = format!(
        "{} ({}{simulated}) at {}, gridrig {}",
        rig.title, rig.rig_path, screen.address, rig.version
    );
    let mut lines = vec![
        Line::from(first),
        Line::from(second),
        Line::from(palette.word(Tone::Dim, third)),
    ];
    lines.extend((state.scenario.as_ref()).map(|scenario| scene::line(scenario, palette)));
    let ledger = state.ledger.as_ref();
    if let Some(federation) = ledger.and_then(|l| l.federation.as_ref()) {
        lines.push(nodes(federation, palette));
    }
    lines
}

/// How the ledger stands with its other nodes.
fn nodes(federation: &Federation, palette: Palette) -> Line<'static> {
    let mut spans = vec![palette.word(Tone::Dim, "ledger nodes:")];
    for node in &federation.nodes {
        spans.push(if node.connected {
            palette.word(Tone::Plain, format!(" {} {}", node.name, node.entries))
        } else {
            palette.word(Tone::Warn, format!(" {} away", node.name))
        });
    }
    if federation.not_final > 0 {
        let text = format!("; {} entries not final yet", federation.not_final);
        spans.push(palette.word(Tone::Warn, text));
    }
    if !federation.accused.is_empty() {
        let text = format!("; contradicted itself: {}", federation.accused.join(", "));
        spans.push(palette.word(Tone::Bad, text));
    }
    Line::from(spans)
}

fn lamp(cycle: &Cycle, palette: Palette) -> Vec<Span<'static>> {
    // The colours of the page's lamp.
    let tone = match cycle.mode.as_str() {
        "grid_connected" => Tone::Good,
        "islanded" => Tone::Accent,
        "blackout" | "safe" => Tone::Bad,
        _ => Tone::Warn,
    };
    let bulb = if palette == Palette::Faded {
        "○"
    } else {
        "●"
    };
    let armed = if cycle.armed {
        (Tone::Bad, "ARMED")
    } else {
        (Tone::Dim, "read-only")
    };
    vec![
        palette.word(tone, format!("{bulb} {}", words(&cycle.mode))),
        palette.word(Tone::Dim, format!(" for {}  ", age(Some(cycle.mode_for_s)))),
        palette.word(armed.0, armed.1),
    ]
}

fn holder(lock: &Lock) -> String {
    match (&lock.holder, lock.left_s) {
        (Some(holder), Some(left)) => {
            let left = Duration::try_from_secs_f64(left).unwrap_or_default();
            format!("{holder} has the bench for {}", arming::words(left))
        }
        (Some(holder), None) => format!("{holder} has the bench"),
        (None, _) => "nobody has the bench".to_owned(),
    }
}

/// Utility, breaker and bus on one line, what hangs on the bus on the next.
fn diagram(look: &Look, palette: Palette) -> Vec<Line<'static>> {
    let Some(e) = &look.state.estimate else {
        return vec![Line::from(
            palette.word(Tone::Dim, "Nothing is known of the bus yet."),
        )];
    };
    let dim = |text: &str| palette.word(Tone::Dim, text.to_owned());
    let (tone, breaker) = match e.breaker_closed {
        Some(true) => (Tone::Good, "─[closed]─"),
        Some(false) => (Tone::Warn, "─[ open ]─"),
        None => (Tone::Dim, "─[  ?   ]─"),
    };
    let first = vec![
        dim("utility "),
        palette.word(Tone::Plain, rotation(e.grid_f_hz, e.grid_v_v)),
        palette.word(tone, format!(" {breaker} ")),
        palette.word(Tone::Strong, flow(e)),
        dim(" bus "),
        palette.word(Tone::Strong, rotation(e.f_hz, e.v_v)),
        dim(&format!(" {}", value(e.rocof_hz_per_s, 2, "Hz/s"))),
    ];
    let storage = format!(
        "{}, {}",
        power(e.storage_w, "W"),
        power(e.storage_var, "var")
    );
    let soc = e
        .soc
        .map_or(format!("{UNKNOWN} %"), |s| value(Some(s * 100.0), 1, "%"));
    let second = [
        ("PV ", power(e.pv_w, "W")),
        ("   storage ", storage),
        ("   charge ", soc),
        ("   load ", power(e.load_w, "W")),
    ]
    .into_iter()
    .flat_map(|(name, text)| [dim(name), palette.word(Tone::Plain, text)]);
    let mut lines = vec![Line::from(first), Line::from(second.collect::<Vec<_>>())];
    if palette == Palette::Faded {
        // As in the table of devices, brackets hold what was.
        for line in &mut lines {
            line.spans.insert(0, dim("("));
            line.spans.push(dim(")"));
        }
    }
    lines
}

fn rotation(f_hz: Option<f64>, v_v: Option<f64>) -> String {
    format!("{} {}", value(f_hz, 3, "Hz"), value(v_v, 1, "V"))
}

/// Power through the coupling, with the way that it goes.
fn flow(e: &Estimate) -> String {
    let both = format!("{}, {}", power(e.pcc_w, "W"), power(e.pcc_var, "var"));
    match e.pcc_w {
        Some(p) if p >= 1.0 => format!("{both} →"),
        Some(p) if p <= -1.0 => format!("← {both}"),
        _ => both,
    }
}

/// What must be said before anything else.
fn notices(screen: &Screen, palette: Palette, now: Duration) -> Vec<Line<'static>> {
    let seconds = |time: Duration| age(Some(time.as_secs_f64().max(1.0)));
    let address = &screen.address;
    let bad = |text: String| Line::from(palette.word(Tone::Bad, text));
    let mut lines = Vec::new();
    match screen.old(now) {
        Some(Old::Never { why }) => {
            lines.push(bad(format!("No connection to {address}.")));
            lines.push(Line::from(palette.word(Tone::Plain, why)));
            lines.push(Line::from("It is tried again twice a second."));
        }
        Some(Old::Unconnected { since, why }) => {
            let since = seconds(since);
            lines.push(bad(format!(
                "No connection for {since}: what is shown is old."
            )));
            lines.push(Line::from(palette.word(Tone::Plain, why)));
        }
        Some(Old::Standing { since }) => {
            let since = seconds(since);
            lines.push(bad(format!(
                "The control loop has not turned for {since}: what is shown is old."
            )));
        }
        None if screen.look().is_none() => {
            lines.push(Line::from(format!("Asking {address} …")));
        }
        None => {}
    }
    for alarm in screen.unseen() {
        let why = alarm.why.as_deref().unwrap_or_default();
        lines.push(bad(format!("ALARM {}: {why}", alarm.name)));
    }
    if let Some(told) = screen.told(now) {
        lines.push(Line::from(palette.word(Tone::Strong, told)));
    }
    lines
}

/// The names of the lists, the open one marked.
fn titles(open: Pane, palette: Palette) -> Line<'static> {
    // All of them are as wide as 80 columns, so brackets take the place of the gaps.
    let mut spans = Vec::new();
    let mut before = None;
    for (i, pane) in Pane::ALL.into_iter().enumerate() {
        let (gap, tone) = match (pane == open, before == Some(open)) {
            (true, _) => ("[", Tone::Strong),
            (false, true) => ("]", Tone::Dim),
            (false, false) => (" ", Tone::Dim),
        };
        spans.push(palette.word(if gap == " " { tone } else { Tone::Strong }, gap));
        spans.push(palette.word(tone, format!("{} {}", i + 1, pane.name())));
        before = Some(pane);
    }
    let end = if before == Some(open) { "]" } else { " " };
    spans.push(palette.word(Tone::Strong, end));
    Line::from(spans)
}

fn keys(screen: &Screen, palette: Palette, now: Duration) -> Line<'static> {
    if let Some(typing) = screen.typing() {
        let hint = match &typing.fault {
            Some(fault) => palette.word(Tone::Bad, format!("  {fault}")),
            None => palette.word(Tone::Dim, format!("  {}", operate::hint(&typing.text))),
        };
        let text = palette.word(Tone::Strong, format!(":{}▏", typing.text));
        return Line::from(vec![text, hint]);
    }
    if let Some(of) = screen.arming(now) {
        let time = arming::words(of.time);
        let text = format!("Arm the bench for {time}? y arms it; any other key lets it be.");
        return Line::from(palette.word(Tone::Bad, text));
    }
    if screen.is_asking_safe(now) {
        let text =
            "Bring the bench to its SAFE state? Press s once more; any other key lets it be.";
        return Line::from(palette.word(Tone::Bad, text));
    }
    let text = if screen.unseen().next().is_some() {
        "q end  1-8 list  ↑↓ Enter  d devices  c charts  a alarm seen  : operate  s safe"
    } else {
        "q end  Tab 1-8 list  ↑↓ Enter look  d devices  c charts  : operate  s safe"
    };
    Line::from(palette.word(Tone::Dim, text))
}
