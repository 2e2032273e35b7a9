//! Checks: what was recorded against what was demanded. Pure functions.
//!
//! A check says pass only where the data shows it, fail only where the data shows
//! the opposite, and inconclusive everywhere else: without a measurement, over a hole
//! longer than the check allows, past the end of the record, or where the sampling is
//! too coarse to tell. A violation that was measured stays a failure, hole or not.
//! Only measurements made inside the window are judged; nothing is interpolated.
//!
//! **Response time (`t_start`, `t90`, `t_full`).** Time from the mark to the first of two successive
//! measurements that have covered 5 %, 90 % or 97 % of the step. The step goes from the median of the
//! measurements in the second before the mark to `to`, or, without `to`, to the median
//! of the last fifth of the observation (`over`, five times `max` unless told). Without
//! `to` the check does not know which way the step should go: state it where the sign
//! matters. The true time lies between that measurement and the one before it; the value
//! told is the middle, and the verdict holds for both ends.

mod acceptance;
mod count;
mod curve;
mod discrete;
mod energy;
mod evidence;
mod kpi;
mod link;
mod market;
mod response;
mod rhythm;
mod service;
mod settle;
#[cfg(test)]
mod tests;
mod values;

use std::fmt;
use std::time::Duration;

use model::{Instant, Mode};
use serde::{Deserialize, Serialize};

pub use acceptance::Acceptance;
pub use count::Times;
pub use curve::Characteristic;
pub use evidence::{Evidence, LedgerEvidence, LinkEvidence, Verification};
pub use kpi::{Figure, LoadClass};
pub use link::LinkDemand;
pub use market::{MarketEvidence, MarketWord, Replay};
pub use response::ResponseShare;
pub use rhythm::RhythmDemand;
pub use service::ServiceFigure;
pub use settle::Settling;

use crate::report::plot::Plot;
use crate::script::{Anchor, Moment};
use crate::series::Recording;
use crate::signal::Signal;
use crate::verdict::Verdict;

/// Longest hole in the data that a check overlooks unless it says otherwise.
///
/// Chosen: twice the one-second period of the slowest polled devices of the bundled rigs.
pub const MAX_GAP: Duration = Duration::from_secs(2);

/// A demand of a scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// Name in reports: as written, or made of its demand.
    pub name: String,
    /// The demand.
    pub kind: CheckKind,
    /// Line in the file, counted from 1.
    pub line: usize,
    /// Plus or minus of a measured value as the file states it, in the base unit of the signal;
    /// `None` = what the sampling leaves open.
    pub uncertainty: Option<f64>,
}

/// The end of a window.
#[derive(Clone, Debug, PartialEq)]
pub enum WindowEnd {
    /// So long after its begin.
    For(Duration),
    /// At a moment.
    At(Moment),
}

/// A stretch of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Begin.
    pub from: Moment,
    /// End.
    pub to: WindowEnd,
}

impl Window {
    /// The whole record.
    pub const WHOLE: Self = Self {
        from: Moment::START,
        to: WindowEnd::At(Moment::END),
    };
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `==`
    Equal,
    /// `!=`
    Different,
}

impl Comparison {
    /// The comparisons with their signs; of two that begin alike the longer comes first.
    pub const SIGNS: &'static [(&'static str, Self)] = &[
        (">=", Self::AtLeast),
        ("<=", Self::AtMost),
        ("==", Self::Equal),
        ("!=", Self::Different),
        (">", Self::Above),
        ("<", Self::Below),
    ];

    /// Whether it holds; never for a number that is none.
    #[must_use]
    pub fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Above => value > limit,
            Self::AtLeast => value >= limit,
            Self::Below => value < limit,
            Self::AtMost => value <= limit,
            Self::Equal => value == limit,
            // NaN differs from everything and shows nothing.
            Self::Different => value != limit && !value.is_nan(),
        }
    }

    /// The comparison that holds where this one does not; both are false for a number that is none.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Above => Self::AtMost,
            Self::AtLeast => Self::Below,
            Self::Below => Self::AtLeast,
            Self::AtMost => Self::Above,
            Self::Equal => Self::Different,
            Self::Different => Self::Equal,
        }
    }

    fn sign(self) -> &'static str {
        Self::SIGNS
            .iter()
            .find(|(_, c)| *c == self)
            .map_or("?", |(sign, _)| sign)
    }
}

/// Something that can be true at a moment.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Of a signal.
    Signal {
        /// Which.
        signal: Signal,
        /// How it is compared.
        comparison: Comparison,
        /// With what, in the base unit of the signal.
        limit: f64,
    },
    /// Of the mode.
    Mode {
        /// Whether it is this one (`==`) or another one (`!=`).
        is: bool,
        /// Which mode.
        mode: Mode,
    },
}

impl Condition {
    /// The condition that is true where this one is false.
    #[must_use]
    pub fn opposite(&self) -> Self {
        match self {
            Self::Signal {
                signal,
                comparison,
                limit,
            } => Self::Signal {
                signal: signal.clone(),
                comparison: comparison.opposite(),
                limit: *limit,
            },
            Self::Mode { is, mode } => Self::Mode {
                is: !is,
                mode: *mode,
            },
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal {
                signal,
                comparison,
                limit,
            } => write!(f, "{signal} {} {}", comparison.sign(), signal.show(*limit)),
            Self::Mode { is, mode } => {
                write!(f, "mode {} {mode}", if *is { "==" } else { "!=" })
            }
        }
    }
}

/// What a check demands.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckKind {
    /// Every measurement in the window lies in the band.
    Band {
        /// Which signal.
        signal: Signal,
        /// When.
        window: Window,
        /// Lower and upper end in the base unit, both allowed.
        within: (f64, f64),
        /// Longest hole that is overlooked.
        max_gap: Duration,
    },
    /// A share of a step is reached in time; see the head of this module.
    ResponseTime {
        /// Which share.
        share: ResponseShare,
        /// Which signal.
        signal: Signal,
        /// Moment of the stimulus.
        from: Moment,
        /// Longest allowed time.
        max: Duration,
        /// Settled value in the base unit; `None` = as observed.
        to: Option<f64>,
        /// Length of the observation.
        over: Duration,
        /// Longest hole that is overlooked.
        max_gap: Duration,
    },
    /// The signal answers another one as a characteristic says.
    Curve {
        /// Which signal.
        signal: Signal,
        /// What it answers, and how.
        characteristic: Characteristic,
        /// When; with a response time it begins at the step.
        window: Window,
        /// Longest hole that is overlooked, in both signals.
        max_gap: Duration,
    },
    /// A condition is at no time true.
    Never {
        /// The condition.
        condition: Condition,
        /// When.
        window: Window,
        /// Longest hole that is overlooked.
        max_gap: Duration,
    },
    /// A condition is at all times true.
    Always {
        /// The condition.
        condition: Condition,
        /// When.
        window: Window,
        /// Longest hole that is overlooked.
        max_gap: Duration,
    },
    /// A mode is reached, or already there.
    Mode {
        /// Which mode.
        mode: Mode,
        /// From when.
        from: Moment,
        /// In what time.
        within: Duration,
    },
    /// An event happens, or does not.
    Event {
        /// Its kind, one of [`crate::series::EVENT_KINDS`].
        kind: &'static str,
        /// The device that it concerns; `None` = any.
        device: Option<String>,
        /// When.
        window: Window,
        /// How often.
        times: Times,
    },
    /// A condition becomes true so often.
    Count {
        /// The condition.
        condition: Condition,
        /// When.
        window: Window,
        /// How often.
        times: Times,
        /// Longest hole that is overlooked.
        max_gap: Duration,
    },
    /// A power, summed over the window, lies in the band.
    Energy {
        /// Which signal.
        signal: Signal,
        /// When.
        window: Window,
        /// Lower and upper end in watt-hours, both allowed.
        within: (f64, f64),
        /// Longest hole that is overlooked.
        max_gap: Duration,
    },
    /// Events happen, the first of each not before the first of the one named before it.
    Ordered {
        /// Kinds, each with the device that it concerns; `None` = any.
        events: Vec<(&'static str, Option<String>)>,
        /// When.
        window: Window,
    },
    /// A key figure is at least or at most so much.
    Kpi {
        /// Which figure.
        figure: Figure,
        /// When.
        window: Window,
        /// Least value, in the figure's unit.
        at_least: Option<f64>,
        /// Largest value, in the figure's unit.
        at_most: Option<f64>,
        /// Longest time for which a measurement is held.
        max_gap: Duration,
    },
    /// A figure of what a service has delivered keeps its limit.
    Service {
        /// Which figure.
        figure: ServiceFigure,
        /// The signal of the service that a picture shows.
        signal: Signal,
        /// When.
        window: Window,
        /// Largest or least value, by the figure; a share for percentages.
        limit: f64,
        /// Longest hole that is overlooked.
        max_gap: Duration,
    },
    /// A signal goes no further beyond the end of its step than so much.
    Overshoot {
        /// Which signal.
        signal: Signal,
        /// Moment of the stimulus.
        from: Moment,
        /// Settled value in the base unit.
        to: f64,
        /// Length of the observation.
        over: Duration,
        /// Largest share of the step.
        most: f64,
        /// Longest hole that is overlooked.
        max_gap: Duration,
    },
    /// A signal comes into a band about a value in time, and stays there.
    Settle {
        /// Which signal.
        signal: Signal,
        /// Moment of the stimulus.
        from: Moment,
        /// What is demanded.
        demand: Settling,
        /// Longest hole that is overlooked.
        max_gap: Duration,
    },
    /// A device was asked often, answered soon, and hardly an answer was lost.
    Link {
        /// Which device.
        device: String,
        /// What is demanded.
        demand: LinkDemand,
    },
    /// The control cycles came evenly, and hardly one was left out.
    Rhythm {
        /// What is demanded.
        demand: RhythmDemand,
        /// When.
        window: Window,
    },
    /// Every dispatch is in the ledger, and the ledger verifies.
    Ledger,
    /// The market of the run as a whole.
    Market(MarketWord),
    /// Participants delivered what they committed.
    Delivered {
        /// Who.
        participants: Vec<String>,
        /// Largest part of what each committed that it may be off by, 0.01 = 1 %.
        at_most: f64,
        /// When; intervals count that lie in it as a whole.
        window: Window,
    },
    /// These participants have paid penalties, and nobody else has.
    Penalised {
        /// Who.
        participants: Vec<String>,
    },
    /// These accounts have bookings of a kind, and no other participant has.
    Booked {
        /// Whose.
        participants: Vec<String>,
        /// What the bookings are for.
        what: &'static str,
        /// In how many settlements each at least has one.
        at_least: u64,
    },
}

impl CheckKind {
    /// The key that it is written with.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Band { .. } => "band",
            Self::Curve { .. } => "curve",
            Self::ResponseTime { share, .. } => share.word(),
            Self::Service { figure, .. } => figure.word(),
            Self::Overshoot { .. } => "overshoot",
            Self::Settle { .. } => "settle",
            Self::Never { .. } => "never",
            Self::Always { .. } => "always",
            Self::Mode { .. } => "mode",
            Self::Event { .. } => "event",
            Self::Count { .. } => "count",
            Self::Energy { .. } => "energy",
            Self::Ordered { .. } => "ordered",
            Self::Kpi { .. } => "kpi",
            Self::Link { .. } => "link",
            Self::Rhythm { .. } => "jitter",
            Self::Ledger => "ledger",
            Self::Market(_) => "market",
            Self::Delivered { .. } => "delivered",
            Self::Penalised { .. } => "penalised",
            Self::Booked { .. } => "booked",
        }
    }

    /// The stretch of a run that it looks at; `None` for one that looks at evidence of the whole run.
    #[must_use]
    pub fn window(&self) -> Option<Window> {
        let lasts = |from: &Moment, length: Duration| Window {
            from: from.clone(),
            to: WindowEnd::For(length),
        };
        match self {
            Self::Band { window, .. }
            | Self::Curve { window, .. }
            | Self::Service { window, .. }
            | Self::Never { window, .. }
            | Self::Always { window, .. }
            | Self::Event { window, .. }
            | Self::Count { window, .. }
            | Self::Energy { window, .. }
            | Self::Ordered { window, .. }
            | Self::Kpi { window, .. }
            | Self::Rhythm { window, .. } => Some(window.clone()),
            Self::ResponseTime { from, over, .. } | Self::Overshoot { from, over, .. } => {
                Some(lasts(from, *over))
            }
            Self::Settle { from, demand, .. } => Some(lasts(from, demand.within + demand.hold)),
            Self::Mode { from, within, .. } => Some(lasts(from, *within)),
            Self::Delivered { window, .. } => Some(window.clone()),
            Self::Link { .. }
            | Self::Ledger
            | Self::Market(_)
            | Self::Penalised { .. }
            | Self::Booked { .. } => None,
        }
    }

    /// The signals that must be recorded.
    pub fn signals(&self) -> impl Iterator<Item = &Signal> {
        let other = match self {
            Self::Curve { characteristic, .. } => Some(&characteristic.of),
            _ => None,
        };
        self.signal().into_iter().chain(other)
    }

    /// The signal that it judges, if it judges one.
    #[must_use]
    pub fn signal(&self) -> Option<&Signal> {
        match self {
            Self::Band { signal, .. }
            | Self::Curve { signal, .. }
            | Self::ResponseTime { signal, .. }
            | Self::Service { signal, .. }
            | Self::Overshoot { signal, .. }
            | Self::Settle { signal, .. }
            | Self::Never {
                condition: Condition::Signal { signal, .. },
                ..
            }
            | Self::Always {
                condition: Condition::Signal { signal, .. },
                ..
            }
            | Self::Count {
                condition: Condition::Signal { signal, .. },
                ..
            }
            | Self::Energy { signal, .. } => Some(signal),
            _ => None,
        }
    }
}

impl fmt::Display for CheckKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Band { signal, within, .. } => write!(
                f,
                "{signal} within {}..{}",
                signal.show(within.0),
                signal.show(within.1)
            ),
            Self::Curve {
                signal,
                characteristic,
                ..
            } => {
                write!(f, "{signal} answers {}", characteristic.of)?;
                match characteristic.response {
                    Some(time) => {
                        let time = crate::report::number(time.as_secs_f64());
                        write!(f, " in {time} s")
                    }
                    None => f.write_str(" as its curve says"),
                }
            }
            Self::ResponseTime {
                share, signal, max, ..
            } => {
                let max = crate::report::number(max.as_secs_f64());
                write!(f, "{} of {signal} at most {max} s", share.word())
            }
            Self::Service {
                figure,
                signal,
                limit,
                ..
            } => {
                let (factor, unit) = figure.unit();
                let word = match figure.is_limited_above() {
                    true => "at most",
                    false => "at least",
                };
                let limit = crate::report::number(limit * factor);
                let text = format!(
                    "{} of {} {word} {limit} {unit}",
                    figure.word(),
                    signal.subject
                );
                f.write_str(text.trim_end())
            }
            Self::Overshoot { signal, most, .. } => {
                let most = crate::report::number(most * 100.0);
                write!(f, "overshoot of {signal} at most {most} %")
            }
            Self::Settle { signal, demand, .. } => {
                let within = crate::report::number(demand.within.as_secs_f64());
                let (to, band) = (signal.show(demand.to), signal.show(demand.band));
                write!(f, "{signal} settled at {to} ± {band} within {within} s")
            }
            Self::Never { condition, .. } => write!(f, "never {condition}"),
            Self::Always { condition, .. } => write!(f, "always {condition}"),
            Self::Mode { mode, within, .. } => {
                let within = crate::report::number(within.as_secs_f64());
                write!(f, "mode {mode} within {within} s")
            }
            Self::Event {
                kind,
                device,
                times,
                ..
            } => {
                write!(f, "event {kind}")?;
                if let Some(device) = device {
                    write!(f, " of {device}")?;
                }
                f.write_str(&times.text())
            }
            Self::Count {
                condition, times, ..
            } => write!(f, "count {condition}{}", times.text()),
            Self::Energy { signal, within, .. } => write!(
                f,
                "energy of {signal} within {}..{} Wh",
                crate::report::number(within.0),
                crate::report::number(within.1)
            ),
            Self::Ordered { events, .. } => {
                let names: Vec<String> = events.iter().map(discrete::event_text).collect();
                f.write_str(&names.join(", then "))
            }
            Self::Kpi {
                figure,
                at_least,
                at_most,
                ..
            } => {
                f.write_str(figure.word())?;
                let bounds = [("at least", at_least), ("at most", at_most)];
                for (word, bound) in bounds {
                    if let Some(bound) = bound {
                        let bound = crate::report::number(*bound);
                        write!(f, " {word} {bound} {}", figure.unit())?;
                    }
                }
                Ok(())
            }
            Self::Link { device, demand } => write!(
                f,
                "{device} answers within {} ms, and {} % at most are lost",
                crate::report::number(demand.p99.as_secs_f64() * 1000.0),
                crate::report::number(demand.loss * 100.0)
            ),
            Self::Rhythm { demand, .. } => write!(
                f,
                "jitter at most {} %, and {} % of the cycles left out",
                crate::report::number(demand.jitter * 100.0),
                crate::report::number(demand.overruns * 100.0)
            ),
            Self::Ledger => f.write_str("ledger complete"),
            Self::Market(word) => write!(f, "market {}", word.name()),
            Self::Delivered {
                participants,
                at_most,
                ..
            } => write!(
                f,
                "{} deliver what they committed within {} %",
                participants.join(", "),
                crate::report::number(at_most * 100.0)
            ),
            Self::Penalised { participants } if participants.is_empty() => {
                f.write_str("nobody pays a penalty")
            }
            Self::Penalised { participants } => {
                write!(f, "{} alone pay penalties", participants.join(", "))
            }
            Self::Booked {
                participants, what, ..
            } if participants.is_empty() => write!(f, "nobody is booked {what}"),
            Self::Booked {
                participants, what, ..
            } => write!(f, "{} alone are booked {what}", participants.join(", ")),
        }
    }
}

/// A point of a series that stands out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worst {
    /// Time since the run began, in seconds.
    pub t_s: f64,
    /// Value in the unit of the result.
    pub value: f64,
}

/// What a check found. Values are in `unit`: base units, and percent for a state of charge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// Name of the check.
    pub name: String,
    /// Its kind: its key in the scenario, such as `band`, `t90` or `event`.
    pub kind: String,
    /// Line in the scenario, counted from 1.
    pub line: usize,
    /// What came out.
    pub verdict: Verdict,
    /// The signal that was looked at.
    pub signal: Option<String>,
    /// The value that decided; `None` when there is none.
    pub value: Option<f64>,
    /// Unit of value and limits; empty for a count or a switch.
    pub unit: String,
    /// Lower limit.
    pub lower: Option<f64>,
    /// Upper limit.
    pub upper: Option<f64>,
    /// What the sampling leaves open, or the scenario states, as plus or minus.
    pub uncertainty: Option<f64>,
    /// Unit of the uncertainty.
    pub uncertainty_unit: String,
    /// Whether the value lies within its uncertainty of a limit; the verdict stands.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub marginal: bool,
    /// Begin of the evidence, in seconds since the run began.
    pub from_s: Option<f64>,
    /// End of the evidence, in seconds since the run began.
    pub to_s: Option<f64>,
    /// Measurements or events that were looked at.
    pub samples: u64,
    /// The measurement that decided.
    pub worst: Option<Worst>,
    /// Why, in one sentence with numbers.
    pub why: String,
    /// Where the band goes in time: seconds since the run began, lower and upper end; empty for a
    /// band that stands still. Not part of `result.json`.
    #[serde(skip)]
    pub band: Vec<(f64, f64, f64)>,
    /// Picture of the evidence; not part of `result.json`.
    #[serde(skip)]
    pub plot: Option<Plot>,
}

impl CheckResult {
    fn new(check: &Check) -> Self {
        let signal = check.kind.signal();
        let unit = signal.map_or("", |s| s.quantity.shown_unit().0);
        Self {
            name: check.name.clone(),
            kind: check.kind.word().to_owned(),
            line: check.line,
            verdict: Verdict::Inconclusive,
            signal: signal.map(ToString::to_string),
            value: None,
            unit: unit.to_owned(),
            lower: None,
            upper: None,
            uncertainty: None,
            uncertainty_unit: String::new(),
            marginal: false,
            from_s: None,
            to_s: None,
            samples: 0,
            worst: None,
            why: String::new(),
            band: Vec::new(),
            plot: None,
        }
    }

    fn says(mut self, verdict: Verdict, why: impl Into<String>) -> Self {
        self.verdict = verdict;
        self.why = why.into();
        self
    }

    /// Whether the value is no further from a limit than its uncertainty in the same unit.
    fn is_near_a_limit(&self) -> bool {
        let (Some(value), Some(uncertainty)) = (self.value, self.uncertainty) else {
            return false;
        };
        self.unit == self.uncertainty_unit
            && [self.lower, self.upper]
                .into_iter()
                .flatten()
                .any(|limit| (value - limit).abs() <= uncertainty)
    }

    /// A check that could not be made because the bench failed, with the reason.
    #[must_use]
    pub fn infrastructure(check: &Check, why: impl Into<String>) -> Self {
        Self::new(check).says(Verdict::Infrastructure, why)
    }
}

/// Judges a check.
#[must_use]
pub fn evaluate(check: &Check, recording: &Recording, evidence: &Evidence) -> CheckResult {
    let mut result = judge(check, recording, evidence);
    if let (Some(stated), Some(signal)) = (check.uncertainty, check.kind.signal()) {
        let (unit, factor) = signal.quantity.shown_unit();
        result.uncertainty = Some(stated * factor);
        unit.clone_into(&mut result.uncertainty_unit);
    }
    result.marginal = result.is_near_a_limit();
    result
}

fn judge(check: &Check, recording: &Recording, evidence: &Evidence) -> CheckResult {
    let mut result = CheckResult::new(check);
    match &check.kind {
        CheckKind::Ledger => return evidence::ledger(result, &evidence.ledger),
        CheckKind::Market(word) => {
            return market::word(result, evidence.market.as_ref(), *word);
        }
        CheckKind::Penalised { participants } => {
            return market::penalised(result, evidence.market.as_ref(), participants);
        }
        CheckKind::Booked {
            participants,
            what,
            at_least,
        } => {
            let market = evidence.market.as_ref();
            return market::booked(result, market, participants, what, *at_least);
        }
        CheckKind::Link { device, demand } => {
            return link::link(result, &evidence.links, device, *demand);
        }
        _ => {}
    }
    let window = match resolve(&check.kind, recording) {
        Ok(window) => window,
        Err(why) => return result.says(Verdict::Inconclusive, why),
    };
    result.from_s = Some(window.from.as_seconds());
    result.to_s = Some(window.seen_to.as_seconds());
    let mut result = match &check.kind {
        CheckKind::Band {
            signal,
            within,
            max_gap,
            ..
        } => values::band(result, recording, &window, signal, *within, *max_gap),
        CheckKind::Curve {
            signal,
            characteristic,
            max_gap,
            ..
        } => curve::curve(
            result,
            recording,
            &window,
            (signal, characteristic),
            *max_gap,
        ),
        CheckKind::Never {
            condition, max_gap, ..
        } => never(result, recording, &window, condition, *max_gap),
        // What holds always is what is never otherwise.
        CheckKind::Always {
            condition, max_gap, ..
        } => never(result, recording, &window, &condition.opposite(), *max_gap),
        CheckKind::ResponseTime {
            share,
            signal,
            max,
            to,
            max_gap,
            ..
        } => response::time(
            result, recording, &window, signal, *share, *max, *to, *max_gap,
        ),
        CheckKind::Service {
            figure,
            signal,
            limit,
            max_gap,
            ..
        } => service::figure(
            result, recording, &window, *figure, signal, *limit, *max_gap,
        ),
        CheckKind::Overshoot {
            signal,
            to,
            most,
            max_gap,
            ..
        } => service::overshoot(result, recording, &window, signal, *to, *most, *max_gap),
        CheckKind::Settle {
            signal,
            demand,
            max_gap,
            ..
        } => settle::settle(result, recording, &window, signal, *demand, *max_gap),
        CheckKind::Mode { mode, .. } => discrete::mode_reached(result, recording, &window, *mode),
        CheckKind::Event {
            kind,
            device,
            times,
            ..
        } => discrete::event(
            result,
            recording,
            &window,
            (kind, device.as_deref()),
            *times,
        ),
        CheckKind::Count {
            condition,
            times,
            max_gap,
            ..
        } => count::count(result, recording, &window, condition, *times, *max_gap),
        CheckKind::Energy {
            signal,
            within,
            max_gap,
            ..
        } => energy::energy(result, recording, &window, signal, *within, *max_gap),
        CheckKind::Ordered { events, .. } => discrete::ordered(result, recording, &window, events),
        CheckKind::Kpi {
            figure,
            at_least,
            at_most,
            max_gap,
            ..
        } => kpi::kpi(
            result,
            recording,
            &window,
            *figure,
            (*at_least, *at_most),
            *max_gap,
        ),
        CheckKind::Rhythm { demand, .. } => rhythm::rhythm(result, recording, &window, *demand),
        CheckKind::Delivered {
            participants,
            at_most,
            ..
        } => market::delivered(
            result,
            evidence.market.as_ref(),
            &window,
            participants,
            *at_most,
        ),
        CheckKind::Link { .. }
        | CheckKind::Ledger
        | CheckKind::Market(_)
        | CheckKind::Penalised { .. }
        | CheckKind::Booked { .. } => result,
    };
    if let Some(signal) = check.kind.signal() {
        result.plot = Some(match check.kind {
            CheckKind::Service { .. } | CheckKind::Overshoot { .. } => {
                service::plot(&result, signal, recording, &window)
            }
            // Limits of a number of times and of an energy are none of the signal.
            CheckKind::Count { .. } | CheckKind::Energy { .. } => Plot {
                lower: None,
                upper: None,
                ..Plot::of_check(&result, signal, recording, &window)
            },
            _ => Plot::of_check(&result, signal, recording, &window),
        });
    }
    result
}

fn never(
    result: CheckResult,
    recording: &Recording,
    window: &Span,
    condition: &Condition,
    max_gap: Duration,
) -> CheckResult {
    match condition {
        Condition::Signal {
            signal,
            comparison,
            limit,
        } => values::never(
            result,
            recording,
            window,
            signal,
            *comparison,
            *limit,
            max_gap,
        ),
        Condition::Mode { is, mode } => discrete::never_mode(result, recording, window, *is, *mode),
    }
}

/// A window in the times of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Begin.
    pub(crate) from: Instant,
    /// End as demanded.
    pub(crate) to: Instant,
    /// End as far as the record goes.
    pub(crate) seen_to: Instant,
}

impl Span {
    /// Whether the record goes to the end of the window.
    pub(crate) fn is_complete(&self) -> bool {
        self.seen_to >= self.to
    }

    fn length(&self) -> Duration {
        self.to.since(self.from)
    }
}

fn resolve(kind: &CheckKind, recording: &Recording) -> Result<Span, String> {
    let Window { from, to } = kind.window().unwrap_or(Window::WHOLE);
    let from = instant(&from, recording)?;
    let to = match to {
        WindowEnd::For(length) => from + length,
        WindowEnd::At(moment) => instant(&moment, recording)?,
    };
    if to < from {
        return Err("the window ended before it began".to_owned());
    }
    if from > recording.ended {
        return Err(format!(
            "the record ended at {} s, before the window began at {} s",
            crate::report::number(recording.ended.as_seconds()),
            crate::report::number(from.as_seconds())
        ));
    }
    Ok(Span {
        from,
        to,
        seen_to: to.min(recording.ended),
    })
}

fn instant(moment: &Moment, recording: &Recording) -> Result<Instant, String> {
    let anchor = match &moment.anchor {
        Anchor::Start => recording.began,
        Anchor::End => recording.ended,
        Anchor::Mark(mark) => *recording
            .marks
            .get(mark)
            .ok_or_else(|| format!("mark {mark} was never reached"))?,
        Anchor::Previous => {
            return Err("a check has no previous step to count from".to_owned());
        }
    };
    Ok(moment.from_anchor(anchor))
}
