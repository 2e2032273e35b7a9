//! Pictures as inline SVG: no script, nothing to load, readable on paper.

use std::fmt::Write as _;

use super::plot::{Line, Plot, Stretch};
use super::{escape, number};

/// Size of a picture in its own units; the page scales it.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 190.0;
/// Room for the scales and for the names of marks.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 24.0;

/// Rooms between the ticks of the scales. Chosen: as many as can be read on A4.
const TICKS_X: f64 = 8.0;
const TICKS_Y: f64 = 4.0;

/// Colours of lines in a picture with several: distinguishable for the colour-blind and in print.
//= Okabe and Ito, Color Universal Design, 2008.
const COLOURS: &[&str] = &[
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000",
];

/// The scale of a picture.
struct Scale {
    x: (f64, f64),
    y: (f64, f64),
}

impl Scale {
    fn of(plot: &Plot) -> Self {
        let values = plot
            .lines
            .iter()
            .flat_map(|line| line.points.iter().filter_map(|(_, v)| *v))
            .chain(plot.lower)
            .chain(plot.upper)
            .chain(plot.band.iter().flat_map(|(_, low, high)| [*low, *high]))
            .chain(plot.worst.map(|(_, v)| v))
            .filter(|v| v.is_finite());
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
            (l.min(v), h.max(v))
        });
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        // A flat line keeps room above and below: a ten-thousandth of its value (5 mHz at 50 Hz).
        let room = ((high - low) * 0.08).max(high.abs().max(1.0) * 1e-4);
        Self {
            x: (plot.from_s, plot.to_s.max(plot.from_s + 1e-9)),
            y: (low - room, high + room),
        }
    }

    fn at(&self, t: f64) -> f64 {
        let share = (t - self.x.0) / (self.x.1 - self.x.0);
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn height(&self, v: f64) -> f64 {
        let share = (v - self.y.0) / (self.y.1 - self.y.0);
        HEIGHT - BOTTOM - share.clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }
}

/// Round numbers inside a range, about so many.
fn ticks((low, high): (f64, f64), count: f64) -> Vec<f64> {
    let rough = (high - low) / count;
    if !rough.is_finite() || rough <= 0.0 {
        return Vec::new();
    }
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .iter()
        .map(|m| m * power)
        .find(|s| *s >= rough)
        .unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    // Chosen: a broken scale must not fill the page.
    (first..=last.min(first + 50))
        .map(|i| i as f64 * step)
        .collect()
}

/// A picture as an SVG element; `label` is what a screen reader says.
#[must_use]
pub fn svg(plot: &Plot, label: &str) -> String {
    let scale = Scale::of(plot);
    let mut out = String::new();
    // Writing to a String cannot fail, so the results below are not looked at.
    let _ = write!(
        out,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        escape(label)
    );
    for fault in &plot.faults {
        stretch(&mut out, &scale, fault);
    }
    band(&mut out, &scale, plot);
    axes(&mut out, &scale, &plot.unit);
    for (t, name) in &plot.marks {
        let x = scale.at(*t);
        let _ = write!(
            out,
            "<path class=\"mark\" d=\"M{x:.1} {TOP}V{:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" \
             class=\"marked\">{}</text>",
            HEIGHT - BOTTOM,
            x + 3.0,
            TOP - 4.0,
            escape(name)
        );
    }
    for (i, line) in plot.lines.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let _ = write!(
            out,
            "<path class=\"line\" stroke=\"{colour}\" d=\"{}\"/>",
            path(line, &scale)
        );
    }
    if let Some((t, v)) = plot.worst {
        let _ = write!(
            out,
            "<circle class=\"worst\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"6\"/>",
            scale.at(t),
            scale.height(v)
        );
    }
    if plot.lines.iter().all(|line| line.points.is_empty()) {
        let _ = write!(
            out,
            "<text class=\"nothing\" x=\"{}\" y=\"{}\">nothing was measured</text>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT / 2.0
        );
    }
    out.push_str("</svg>");
    out
}

/// Names of the lines with their colours; empty for a single line.
#[must_use]
pub fn legend(plot: &Plot) -> String {
    if plot.lines.len() < 2 {
        return String::new();
    }
    let names: Vec<String> = plot
        .lines
        .iter()
        .enumerate()
        .map(|(i, line)| {
            format!(
                "<span><i style=\"background:{}\"></i>{}</span>",
                COLOURS[i % COLOURS.len()],
                escape(&line.name)
            )
        })
        .collect();
    format!("<p class=\"legend\">{}</p>", names.join(" "))
}

fn stretch(out: &mut String, scale: &Scale, fault: &Stretch) {
    let (from, to) = (scale.at(fault.from_s), scale.at(fault.to_s));
    let _ = write!(
        out,
        "<rect class=\"fault\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\">\
         <title>{}</title></rect><text class=\"faulty\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
        (to - from).max(0.5),
        HEIGHT - TOP - BOTTOM,
        escape(&fault.name),
        from + 3.0,
        HEIGHT - BOTTOM - 4.0,
        escape(&fault.name)
    );
}

/// A band that moves, as one closed shape: along its upper end and back along the lower one.
fn moving_band(out: &mut String, scale: &Scale, band: &[(f64, f64, f64)]) {
    let upper = band.iter().map(|(t, _, high)| (*t, *high));
    let lower = band.iter().rev().map(|(t, low, _)| (*t, *low));
    let mut d = String::new();
    for (i, (t, v)) in upper.chain(lower).enumerate() {
        let pen = if i == 0 { 'M' } else { 'L' };
        let _ = write!(d, "{pen}{:.1} {:.1}", scale.at(t), scale.height(v));
    }
    let _ = write!(out, "<path class=\"band\" d=\"{d}Z\"/>");
}

fn band(out: &mut String, scale: &Scale, plot: &Plot) {
    if !plot.band.is_empty() {
        moving_band(out, scale, &plot.band);
        return;
    }
    let (from, to) = plot.window.unwrap_or(scale.x);
    let (left, right) = (scale.at(from), scale.at(to));
    let top = plot.upper.map_or(TOP, |v| scale.height(v));
    let bottom = plot.lower.map_or(HEIGHT - BOTTOM, |v| scale.height(v));
    if plot.window.is_none() && plot.lower.is_none() && plot.upper.is_none() {
        return;
    }
    let _ = write!(
        out,
        "<rect class=\"band\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
        (right - left).max(0.5),
        (bottom - top).max(0.5)
    );
    for limit in [plot.lower, plot.upper].into_iter().flatten() {
        let y = scale.height(limit);
        let _ = write!(
            out,
            "<path class=\"limit\" d=\"M{left:.1} {y:.1}H{right:.1}\"/>"
        );
    }
}

fn axes(out: &mut String, scale: &Scale, unit: &str) {
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    for t in ticks(scale.x, TICKS_X) {
        let x = scale.at(t);
        let _ = write!(
            out,
            "<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom}\"/>\
             <text class=\"x\" x=\"{x:.1}\" y=\"{:.1}\">{} s</text>",
            bottom + 15.0,
            number(t)
        );
    }
    for v in ticks(scale.y, TICKS_Y) {
        let y = scale.height(v);
        let _ = write!(
            out,
            "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>\
             <text class=\"y\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT - 6.0,
            y + 4.0,
            number(v)
        );
    }
    let _ = write!(
        out,
        "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>\
         <text class=\"y\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
        LEFT - 6.0,
        TOP - 10.0,
        escape(unit)
    );
}

fn path(line: &Line, scale: &Scale) -> String {
    let mut d = String::new();
    let mut is_down = false;
    for (t, value) in &line.points {
        let Some(v) = value.filter(|v| v.is_finite()) else {
            is_down = false;
            continue;
        };
        let (x, y) = (scale.at(*t), scale.height(v));
        let _ = match (is_down, line.holds) {
            (false, _) => write!(d, "M{x:.1} {y:.1}h.1"),
            (true, true) => write!(d, "H{x:.1}V{y:.1}"),
            (true, false) => write!(d, "L{x:.1} {y:.1}"),
        };
        is_down = true;
    }
    d
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let rows: &[((f64, f64), &[f64])] = &[
            ((0.0, 8.0), &[0.0, 2.0, 4.0, 6.0, 8.0]),
            ((49.48, 50.02), &[49.6, 49.8, 50.0]),
            ((1.0, 1.0), &[]),
            ((f64::NAN, 1.0), &[]),
        ];
        for (range, expected) in rows {
            let got = ticks(*range, TICKS_Y);
            assert_eq!(got.len(), expected.len(), "{range:?} {got:?}");
            assert!(got.iter().zip(*expected).all(|(a, b)| (a - b).abs() < 1e-9));
        }
    }

    #[test]
    fn names_cannot_become_markup() {
        let plot = Plot {
            to_s: 1.0,
            marks: vec![(0.5, "<script>".to_owned())],
            faults: vec![Stretch {
                from_s: 0.0,
                to_s: 1.0,
                name: "</svg>".to_owned(),
            }],
            unit: "<b>".to_owned(),
            ..Plot::default()
        };
        let svg = svg(&plot, "\"><script>");
        assert!(!svg.contains("<script>") && !svg.contains("<b>"), "{svg}");
        assert_eq!(svg.matches("</svg>").count(), 1);
    }
}
