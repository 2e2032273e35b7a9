//! The demands that a scenario can make.

use std::fmt;
use std::time::Duration;

use model::Mode;

use super::discrete::event_text;
use super::{
    Characteristic, Condition, Figure, LinkDemand, MarketWord, ResponseShare, RhythmDemand,
    ServiceFigure, Settling, Times, Window, WindowEnd,
};
use crate::script::Moment;
use crate::signal::Signal;

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
                let names: Vec<String> = events.iter().map(event_text).collect();
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
