//! What a page may show of a script while it is played: which step it is at, and the band of each
//! demand before the curve comes.
//!
//! A step that is still to come is expected at its moment as if no wait took time; each step that
//! begins puts those behind it right.

use std::sync::Arc;
use std::time::Duration;

use model::Instant;
use runtime::view::{BandView, LiveView, ScenarioView, StepView};

use crate::check::{CheckKind, Comparison, Condition, WindowEnd};
use crate::script::{Action, Anchor, Moment, Scenario};
use crate::signal::Signal;

/// The part of a scenario that is its script.
const STEPS: &str = "steps";

/// The board of one scenario.
pub(crate) struct Board {
    view: Arc<LiveView>,
    shown: ScenarioView,
    /// Moment of each step.
    steps: Vec<Moment>,
    /// Window of each band.
    windows: Vec<(Moment, WindowEnd)>,
    /// When the script began.
    start: Option<Instant>,
}

impl Board {
    /// Shows a scenario on a view.
    pub(crate) fn of(scenario: &Scenario, view: Arc<LiveView>) -> Self {
        let steps = &scenario.steps;
        let (bands, windows) = scenario
            .checks
            .iter()
            .filter_map(|check| {
                let (signal, low, high, from, to) = demand(&check.kind)?;
                let (unit, factor) = signal.quantity.shown_unit();
                let band = BandView {
                    name: check.name.clone(),
                    subject: signal.subject.clone(),
                    quantity: signal.quantity.name(),
                    unit,
                    low: low.map(|v| v * factor),
                    high: high.map(|v| v * factor),
                    from: None,
                    until: None,
                };
                Some((band, (from, to)))
            })
            .unzip();
        let board = Self {
            shown: ScenarioView {
                name: scenario.title(),
                file: scenario.file.clone(),
                phase: "waiting for the bench",
                step: None,
                steps: steps
                    .iter()
                    .map(|step| StepView {
                        at: step.at.to_string(),
                        text: step
                            .actions
                            .iter()
                            .map(words)
                            .collect::<Vec<_>>()
                            .join(", "),
                        mark: step.mark.clone(),
                        due: None,
                    })
                    .collect(),
                bands,
            },
            steps: steps.iter().map(|step| step.at.clone()).collect(),
            windows,
            start: None,
            view,
        };
        board.tell();
        board
    }

    fn tell(&self) {
        self.view.scenario(self.shown.clone());
    }

    /// Another part of the scenario begins.
    pub(crate) fn phase(&mut self, phase: &'static str) {
        self.shown.phase = phase;
        self.tell();
    }

    /// The script begins.
    pub(crate) fn begins(&mut self, start: Instant) {
        self.start = Some(start);
        self.shown.phase = STEPS;
        self.expect_from(0, start);
        self.tell();
    }

    /// A step of the script begins.
    pub(crate) fn step(&mut self, index: usize, now: Instant) {
        // Those of setup and teardown are not of the script.
        if self.start.is_none() || self.shown.phase != STEPS {
            return;
        }
        self.shown.step = Some(index);
        if let Some(step) = self.shown.steps.get_mut(index) {
            step.due = Some(now);
        }
        self.expect_from(index + 1, now);
        self.tell();
    }

    /// Works out when the steps from `first` on are due, and with them the bands.
    fn expect_from(&mut self, first: usize, previous: Instant) {
        let Some(start) = self.start else { return };
        let mut previous = previous;
        for (index, at) in self.steps.iter().enumerate().skip(first) {
            let due = self.place(at, start, previous).unwrap_or(previous);
            // A step waits for the one before it.
            previous = due.max(previous);
            if let Some(step) = self.shown.steps.get_mut(index) {
                step.due = Some(previous);
            }
        }
        let windows = self.windows.iter().map(|(from, to)| {
            let from = self.place(from, start, previous);
            let until = match to {
                WindowEnd::For(time) => from.map(|from| from + *time),
                WindowEnd::At(Moment {
                    anchor: Anchor::End,
                    ..
                }) => None,
                WindowEnd::At(moment) => self.place(moment, start, previous),
            };
            (from, until)
        });
        let windows: Vec<_> = windows.collect();
        for (band, (from, until)) in self.shown.bands.iter_mut().zip(windows) {
            (band.from, band.until) = (from, until);
        }
    }

    fn place(&self, moment: &Moment, start: Instant, previous: Instant) -> Option<Instant> {
        let anchor = match &moment.anchor {
            Anchor::Start => start,
            Anchor::Previous | Anchor::End => previous,
            Anchor::Mark(mark) => {
                let mut steps = self.shown.steps.iter();
                steps.find(|step| step.mark.as_ref() == Some(mark))?.due?
            }
        };
        Some(moment.from_anchor(anchor))
    }
}

type Demand<'a> = (&'a Signal, Option<f64>, Option<f64>, Moment, WindowEnd);

/// The band that a demand asks a signal to keep, in its base unit; `None` where it asks for none.
fn demand(kind: &CheckKind) -> Option<Demand<'_>> {
    let bounds = |comparison: Comparison, limit: f64| match comparison {
        Comparison::Above | Comparison::AtLeast => Some((Some(limit), None)),
        Comparison::Below | Comparison::AtMost => Some((None, Some(limit))),
        Comparison::Equal => Some((Some(limit), Some(limit))),
        Comparison::Different => None,
    };
    match kind {
        CheckKind::Band {
            signal,
            window,
            within,
            ..
        } => Some((
            signal,
            Some(within.0),
            Some(within.1),
            window.from.clone(),
            window.to.clone(),
        )),
        CheckKind::Always {
            condition, window, ..
        } => {
            let Condition::Signal {
                signal,
                comparison,
                limit,
            } = condition
            else {
                return None;
            };
            let (low, high) = bounds(*comparison, *limit)?;
            Some((signal, low, high, window.from.clone(), window.to.clone()))
        }
        CheckKind::Never {
            condition, window, ..
        } => {
            let Condition::Signal {
                signal,
                comparison,
                limit,
            } = condition
            else {
                return None;
            };
            let (low, high) = bounds(comparison.opposite(), *limit)?;
            Some((signal, low, high, window.from.clone(), window.to.clone()))
        }
        // The value that is to be reached, from when it is to be reached.
        CheckKind::ResponseTime {
            signal,
            from,
            max,
            to: Some(to),
            over,
            ..
        } => Some((
            signal,
            Some(*to),
            Some(*to),
            later(from, *max),
            WindowEnd::For(over.saturating_sub(*max)),
        )),
        _ => None,
    }
}

fn later(moment: &Moment, by: Duration) -> Moment {
    let by = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
    Moment {
        anchor: moment.anchor.clone(),
        offset_ns: moment.offset_ns.saturating_add(by),
    }
}

/// What an action does, in words.
fn words(action: &Action) -> String {
    let seconds = |time: Duration| crate::report::number(time.as_secs_f64());
    match action {
        Action::Set { signal, value } | Action::Step { signal, value } => {
            format!("{signal} = {}", signal.show(*value))
        }
        Action::Pulse {
            signal,
            value,
            length,
        } => format!(
            "{signal} = {} for {} s",
            signal.show(*value),
            seconds(*length)
        ),
        Action::Ramp { signal, to, over } => {
            format!("{signal} to {} in {} s", signal.show(*to), seconds(*over))
        }
        Action::Play { signals, .. } => {
            let names: Vec<String> = signals.iter().map(ToString::to_string).collect();
            format!("a course of {}", names.join(", "))
        }
        Action::Hold { signal, value } => format!("hold {signal} = {}", signal.show(*value)),
        Action::Release { device } => format!("release {device}"),
        Action::Unplug { device, out: true } => format!("unplug {device}"),
        Action::Unplug { device, out: false } => format!("plug in {device}"),
        Action::Fault {
            subject,
            name,
            fault: Some(_),
        } => format!("fault {subject}.{name}"),
        Action::Fault {
            subject,
            name,
            fault: None,
        } => format!("{subject}.{name} is over"),
        Action::Mode(request) => format!("ask for {}", request.name()),
        Action::Agree(_) => "another agreement with the utility".to_owned(),
        Action::HandOver { to } => format!("{to} forms the island"),
        Action::Adopt { device, .. } => format!("{device} adopts a characteristic"),
    }
}

#[cfg(test)]
mod tests {
    use runtime::view::RigView;

    use super::*;

    fn at(seconds: f64) -> Instant {
        Instant::from_nanos((seconds * 1e9) as u64)
    }

    fn board(text: &str) -> (Board, Arc<LiveView>) {
        let source = document::Source::new("board.toml", text);
        let mut loaded = crate::script::read(source).expect("it is right");
        let view = Arc::new(LiveView::new(RigView {
            title: "bench".into(),
            rig_path: "rig.toml".into(),
            site: "230 V".into(),
            devices: Vec::new(),
            services: Vec::new(),
            buses: Vec::new(),
            started_utc: model::UtcTime::default(),
            virtual_time: false,
        }));
        let board = Board::of(&loaded.scenarios.remove(0), Arc::clone(&view));
        (board, view)
    }

    const STEP: &str = r#"
name = "A step"
do = [
  { at = "1s", set = { "ess1.p" = "1kW" }, until = { settle = "ess1.p", band = "50W", within = "5s" } },
  { at = "+2s", step = { "grid.f" = "49.5Hz" }, mark = "t0" },
  { at = "t0+4s", set = { "ess1.p" = "0W" } },
]
check = [
  { band = "ess1.p", from = "t0+1s", for = "2s", within = "1.9..2.1kW" },
  { never = "grid.f < 49Hz" },
  { t90 = "ess1.p", from = "t0", to = "2kW", max = "1s", over = "3s" },
  { always = "bat1.soc > 20%", from = "t0", to = "t0+5s" },
  { event = "device_online" },
  { ledger = "complete" },
]
"#;

    /// Begin and end of each band.
    fn bands(view: &LiveView) -> Vec<(Option<f64>, Option<f64>)> {
        let shown = view.latest_scenario().expect("a scenario is shown");
        let seconds = |at: Option<Instant>| at.map(Instant::as_seconds);
        let bands = shown.bands.iter();
        bands
            .map(|band| (seconds(band.from), seconds(band.until)))
            .collect()
    }

    #[test]
    fn each_band_is_known_before_its_time_and_moves_with_the_steps_that_it_is_counted_from() {
        let (mut board, view) = board(STEP);
        assert_eq!(bands(&view), vec![(None, None); 4]);
        let shown = view.latest_scenario().expect("it is shown");
        let ends: Vec<_> = shown
            .bands
            .iter()
            .map(|band| {
                (
                    &*band.subject,
                    band.quantity,
                    band.unit,
                    band.low,
                    band.high,
                )
            })
            .collect();
        assert_eq!(
            ends,
            [
                ("ess1", "p", "W", Some(1900.0), Some(2100.0)),
                ("grid", "f", "Hz", Some(49.0), None),
                ("ess1", "p", "W", Some(2000.0), Some(2000.0)),
                ("bat1", "soc", "%", Some(20.0), None),
            ]
        );
        board.begins(at(10.0));
        // As if the first step took no time: t0 at 13 s.
        let some = |from: f64, until: f64| (Some(from), Some(until));
        assert_eq!(
            bands(&view),
            [
                some(14.0, 16.0),
                (Some(10.0), None),
                some(14.0, 16.0),
                some(13.0, 18.0)
            ]
        );
        board.step(0, at(11.0));
        // The first step has waited for two seconds.
        board.step(1, at(15.0));
        assert_eq!(
            bands(&view),
            [
                some(16.0, 18.0),
                (Some(10.0), None),
                some(16.0, 18.0),
                some(15.0, 20.0)
            ]
        );
        let shown = view.latest_scenario().expect("it is shown");
        assert_eq!((shown.step, shown.phase), (Some(1), "steps"));
        let due: Vec<_> = shown
            .steps
            .iter()
            .map(|s| s.due.map(Instant::as_seconds))
            .collect();
        assert_eq!(due, [Some(11.0), Some(15.0), Some(19.0)]);
        assert_eq!(shown.steps[1].text, "grid.f = 49.5 Hz");
    }
}
