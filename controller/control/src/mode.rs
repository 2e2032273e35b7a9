//! The mode machine: a table of what leads where, and the guards that pull its triggers.

use std::time::Duration;

use model::{Event, Instant, Mode, ModeRequest};
use quantities::Frequency;

use crate::{Estimate, Settings};

/// What can move the microgrid from one mode to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// The image can be trusted and the breaker is closed (or there is none).
    SeenClosed,
    /// The image can be trusted and the breaker is open.
    SeenOpen,
    /// Frequency and voltage of the island stayed inside their bands.
    Settled,
    /// The utility is healthy and a return is wanted.
    ReturnWanted,
    /// The breaker did not close in time, or the utility became unhealthy.
    ReturnFailed,
    /// Bring everything to rest.
    SafeWanted,
    /// Leave the safe mode.
    ResumeWanted,
}

impl Trigger {
    /// All triggers.
    pub const ALL: &'static [Self] = &[
        Self::SeenClosed,
        Self::SeenOpen,
        Self::Settled,
        Self::ReturnWanted,
        Self::ReturnFailed,
        Self::SafeWanted,
        Self::ResumeWanted,
    ];
}

/// Every transition there is. What is not in the table does not happen.
pub const TABLE: &[(Mode, Trigger, Mode)] = &[
    (Mode::Starting, Trigger::SeenClosed, Mode::GridConnected),
    (Mode::Starting, Trigger::SeenOpen, Mode::Islanding),
    (Mode::Starting, Trigger::SafeWanted, Mode::Safe),
    (Mode::GridConnected, Trigger::SeenOpen, Mode::Islanding),
    (Mode::GridConnected, Trigger::SafeWanted, Mode::Safe),
    (Mode::Islanding, Trigger::Settled, Mode::Islanded),
    (Mode::Islanding, Trigger::SeenClosed, Mode::GridConnected),
    (Mode::Islanding, Trigger::SafeWanted, Mode::Safe),
    (Mode::Islanded, Trigger::ReturnWanted, Mode::Resynchronising),
    (Mode::Islanded, Trigger::SeenClosed, Mode::GridConnected),
    (Mode::Islanded, Trigger::SafeWanted, Mode::Safe),
    (
        Mode::Resynchronising,
        Trigger::SeenClosed,
        Mode::GridConnected,
    ),
    (Mode::Resynchronising, Trigger::ReturnFailed, Mode::Islanded),
    (Mode::Resynchronising, Trigger::SafeWanted, Mode::Safe),
    (Mode::Safe, Trigger::ResumeWanted, Mode::Starting),
];

/// Where a trigger leads from a mode; `None` when the table has no such transition.
#[must_use]
pub fn next(mode: Mode, trigger: Trigger) -> Option<Mode> {
    TABLE
        .iter()
        .find(|(from, by, _)| *from == mode && *by == trigger)
        .map(|(_, _, to)| *to)
}

/// The table as a Mermaid diagram, for ARCHITECTURE.md.
#[must_use]
pub fn diagram() -> String {
    let mut text = String::from("stateDiagram-v2\n    [*] --> starting\n");
    for (from, by, to) in TABLE {
        text.push_str(&format!("    {from} --> {to}: {by:?}\n"));
    }
    text
}

/// Largest frequency deviation of a stable island, per unit of nominal.
/// Chosen: 0.5 Hz at 50 Hz, half of what load shedding allows (49.0 Hz).
const SETTLED_F_PU: f64 = 0.01;
/// Largest voltage deviation of a stable island, per unit. Usual supply band of +-10 %.
const SETTLED_V_PU: f64 = 0.10;
/// Window of utility frequency in which a return is allowed, per unit of nominal.
/// 49.5 to 50.1 Hz: the usual European reconnection window, as a configurable default of the field.
const GRID_F_PU: (f64, f64) = (0.99, 1.002);
/// Window of utility voltage in which a return is allowed, per unit. As in the limiter.
const GRID_V_PU: (f64, f64) = (0.917, 1.05);

/// The mode of the microgrid with the memory that its guards need.
#[derive(Clone, Debug)]
pub struct ModeMachine {
    mode: Mode,
    since: Instant,
    settled_since: Option<Instant>,
    grid_healthy_since: Option<Instant>,
    /// A person wants the island to stay, or to end, regardless of automatic return.
    wish: Option<ModeRequest>,
}

impl Default for ModeMachine {
    fn default() -> Self {
        Self {
            mode: Mode::Starting,
            since: Instant::START,
            settled_since: None,
            grid_healthy_since: None,
            wish: None,
        }
    }
}

impl ModeMachine {
    /// The mode now.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Since when.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Whether an island is wanted while the breaker is still closed.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.mode == Mode::GridConnected && self.wish == Some(ModeRequest::Island)
    }

    /// Takes in a wish; one that the mode cannot serve is refused with an event.
    pub fn request(&mut self, now: Instant, request: ModeRequest, events: &mut Vec<Event>) {
        let refused = match request {
            ModeRequest::Safe => {
                self.fire(now, Trigger::SafeWanted, "asked for", events);
                None
            }
            ModeRequest::Resume if self.mode == Mode::Safe => {
                self.wish = None;
                self.fire(now, Trigger::ResumeWanted, "asked for", events);
                None
            }
            ModeRequest::Resume => Some("the bench is not in the safe mode"),
            ModeRequest::Island if self.mode == Mode::Safe => Some("leave the safe mode first"),
            ModeRequest::Island => {
                self.wish = Some(request);
                None
            }
            ModeRequest::Reconnect if self.mode.is_islanded() => {
                self.wish = Some(request);
                None
            }
            ModeRequest::Reconnect => Some("the microgrid is not islanded"),
        };
        if let Some(why) = refused {
            events.push(Event::ModeRefused {
                mode: self.mode,
                request: format!("{request:?}").to_lowercase(),
                why: why.into(),
            });
        }
    }

    /// Pulls the triggers whose guards hold in this image.
    pub fn advance(
        &mut self,
        now: Instant,
        seen: &Estimate,
        has_breaker: bool,
        settings: &Settings,
        events: &mut Vec<Event>,
    ) {
        let closed = if has_breaker {
            seen.breaker_closed
        } else {
            // Without a breaker the bench stands on the utility as soon as anything is known of it.
            seen.f
                .or(seen.grid_f)
                .map(|_| true)
                .or(seen.pv.map(|_| true))
        };
        match closed {
            Some(true) => self.fire(
                now,
                Trigger::SeenClosed,
                "the coupling breaker is closed",
                events,
            ),
            Some(false) => self.fire(
                now,
                Trigger::SeenOpen,
                "the coupling breaker is open",
                events,
            ),
            None => {}
        }
        self.watch_island(now, seen, settings, events);
        self.watch_grid(now, seen, settings, events);
    }

    fn watch_island(
        &mut self,
        now: Instant,
        seen: &Estimate,
        settings: &Settings,
        events: &mut Vec<Event>,
    ) {
        let inside = seen
            .f
            .is_some_and(|f| deviation_pu(f, settings) <= SETTLED_F_PU)
            && seen
                .v
                .is_some_and(|v| (v / settings.nominal_v - 1.0).abs() <= SETTLED_V_PU);
        held(&mut self.settled_since, inside, now);
        if lasted(self.settled_since, now, settings.settle_time)
            && now.since(self.since) >= settings.settle_time
        {
            self.fire(
                now,
                Trigger::Settled,
                "frequency and voltage are stable",
                events,
            );
        }
    }

    fn watch_grid(
        &mut self,
        now: Instant,
        seen: &Estimate,
        settings: &Settings,
        events: &mut Vec<Event>,
    ) {
        let healthy = seen
            .grid_f
            .is_some_and(|f| (GRID_F_PU.0..=GRID_F_PU.1).contains(&(f / settings.nominal_f)))
            && seen
                .grid_v
                .is_some_and(|v| (GRID_V_PU.0..=GRID_V_PU.1).contains(&(v / settings.nominal_v)));
        held(&mut self.grid_healthy_since, healthy, now);
        let wanted = match self.wish {
            Some(ModeRequest::Reconnect) => true,
            Some(ModeRequest::Island) => false,
            _ => settings.auto_reconnect,
        };
        if wanted && lasted(self.grid_healthy_since, now, settings.reconnect_delay) {
            self.fire(now, Trigger::ReturnWanted, "the utility is healthy", events);
        }
        if self.mode == Mode::Resynchronising {
            if !healthy {
                self.fire(
                    now,
                    Trigger::ReturnFailed,
                    "the utility is not healthy any more",
                    events,
                );
            } else if now.since(self.since) >= settings.sync_timeout {
                self.grid_healthy_since = Some(now);
                self.fire(
                    now,
                    Trigger::ReturnFailed,
                    "the breaker did not close in time",
                    events,
                );
            }
        }
    }

    /// Follows the table; a trigger without a transition changes nothing.
    fn fire(&mut self, now: Instant, trigger: Trigger, why: &str, events: &mut Vec<Event>) {
        let Some(to) = next(self.mode, trigger) else {
            return;
        };
        events.push(Event::ModeChanged {
            from: self.mode,
            to,
            why: why.into(),
        });
        self.mode = to;
        self.since = now;
        self.settled_since = None;
        if to == Mode::GridConnected && self.wish == Some(ModeRequest::Reconnect) {
            self.wish = None;
        }
    }
}

fn deviation_pu(f: Frequency, settings: &Settings) -> f64 {
    (f / settings.nominal_f - 1.0).abs()
}

fn held(since: &mut Option<Instant>, holds: bool, now: Instant) {
    *since = holds.then(|| since.unwrap_or(now));
}

fn lasted(since: Option<Instant>, now: Instant, time: Duration) -> bool {
    since.is_some_and(|since| now.since(since) >= time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_answers_every_mode_and_trigger_in_one_way_only() {
        for mode in Mode::ALL {
            for trigger in Trigger::ALL {
                let rows = TABLE
                    .iter()
                    .filter(|(from, by, _)| from == mode && by == trigger)
                    .count();
                assert!(rows <= 1, "{mode} {trigger:?}");
            }
        }
    }

    #[test]
    fn every_mode_but_safe_can_be_brought_to_safe_and_safe_is_left_only_by_a_person() {
        for mode in Mode::ALL {
            let expected = (*mode != Mode::Safe).then_some(Mode::Safe);
            assert_eq!(next(*mode, Trigger::SafeWanted), expected, "{mode}");
        }
        let ways_out: Vec<_> = Trigger::ALL
            .iter()
            .filter(|t| next(Mode::Safe, **t).is_some())
            .collect();
        assert_eq!(ways_out, [&Trigger::ResumeWanted]);
    }

    #[test]
    fn the_diagram_is_printed_from_the_table() {
        insta::assert_snapshot!(diagram());
    }
}
