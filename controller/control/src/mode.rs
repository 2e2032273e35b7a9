//! The mode of the microgrid: a table of what leads where, guards with names, and the memory of how
//! long something has been so.
//!
//! What is seen and what is asked both pull triggers; the table alone says whether one leads
//! somewhere, and its guards whether it may. A request that is not followed is always told, with the
//! guard that refused and its numbers; what is merely seen and refused is told once.

pub mod guard;
pub mod limits;
pub mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use model::{DeviceIx, Event, Instant, Mode, ModeRequest, Role};
use quantities::{ActivePower, Bounds, Frequency, Quantity, Voltage};

use crate::{Bench, Estimate, Settings};
use guard::{Guard, Sight};
use table::Trigger;

/// Why the microgrid is leaving the utility.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Departure {
    /// A person wants an island: only from a quiet exchange.
    Planned,
    /// The utility wants us gone: quiet or not, in time.
    Demanded,
    /// The utility is gone: at once.
    MainsLost,
}

/// Who makes a request; the change of mode that follows names it as its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// A person, or what acts for one: a script, the service manager.
    Person,
    /// The emergency stop circuit.
    EmergencyStop,
    /// The guard of the heartbeat, which has brought devices to rest already.
    Heartbeat,
}

impl Asking {
    fn cause(self) -> &'static str {
        match self {
            Self::Person => "asked for",
            Self::EmergencyStop => "the emergency stop is not seen closed",
            Self::Heartbeat => "control had not run for a heartbeat",
        }
    }
}

/// The mode of the microgrid with the memory that its guards need.
#[derive(Clone, Debug)]
pub struct ModeMachine {
    mode: Mode,
    since: Instant,
    settled_since: Option<Instant>,
    healthy_since: Option<Instant>,
    dead_since: Option<Instant>,
    mains_bad_since: Option<Instant>,
    quiet_since: Option<Instant>,
    /// Since when the breaker has been asked to open, while leaving.
    opening_since: Option<Instant>,
    departure: Option<Departure>,
    /// A person wants the island to stay, or to end, regardless of automatic return.
    wish: Option<ModeRequest>,
    /// What was asked and not yet answered.
    asked: Vec<(ModeRequest, Asking)>,
    /// Which guard refused a trigger that still stands.
    refused: BTreeMap<Trigger, Guard>,
}

impl Default for ModeMachine {
    fn default() -> Self {
        Self {
            mode: Mode::Starting,
            since: Instant::START,
            settled_since: None,
            healthy_since: None,
            dead_since: None,
            mains_bad_since: None,
            quiet_since: None,
            opening_since: None,
            departure: None,
            wish: None,
            asked: Vec::new(),
            refused: BTreeMap::new(),
        }
    }
}

/// What the machine looks at in one step.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// Now.
    pub now: Instant,
    /// What is true on the bus.
    pub seen: &'a Estimate,
    /// Whether a person holds the coupling breaker open.
    pub held_open: bool,
    /// Settings and devices.
    pub bench: &'a Bench,
    /// What each storage inverter that answers can do now.
    pub storage: &'a [(DeviceIx, Bounds<ActivePower>)],
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

    /// Whether the coupling breaker shall be opened now, on the way out of the grid.
    #[must_use]
    pub fn is_opening(&self) -> bool {
        self.opening_since.is_some()
    }

    /// Takes in a request and who makes it; the next [`advance`](Self::advance) answers it.
    pub fn ask(&mut self, request: ModeRequest, by: Asking) {
        self.asked.push((request, by));
    }

    /// Pulls the triggers of what is asked and of what is seen.
    pub fn advance(&mut self, look: &Look<'_>, events: &mut Vec<Event>) {
        self.remember(look);
        for (request, by) in std::mem::take(&mut self.asked) {
            self.answer(look, request, by.cause(), events);
        }
        let has_breaker = look.bench.first(Role::Breaker).is_some();
        let closed = if has_breaker {
            look.seen.breaker_closed
        } else {
            // Without a breaker the bench stands on the utility as soon as anything is known of it.
            look.seen
                .f
                .or(look.seen.grid_f)
                .map(|_| true)
                .or(look.seen.pv.map(|_| true))
        };
        match closed {
            Some(true) => self.see(
                look,
                Trigger::SeenClosed,
                "the coupling breaker is closed",
                events,
            ),
            Some(false) => self.see(
                look,
                Trigger::SeenOpen,
                "the coupling breaker is open",
                events,
            ),
            None => {}
        }
        self.watch_mains(look, events);
        self.watch_leaving(look, events);
        self.watch_bus(look, events);
        self.watch_return(look, events);
    }

    /// Keeps how long each condition has held.
    fn remember(&mut self, look: &Look<'_>) {
        let (now, seen, settings) = (look.now, look.seen, &look.bench.settings);
        let settled = seen
            .f
            .is_some_and(|f| (f / settings.nominal_f - 1.0).abs() <= limits::SETTLED_F_PU)
            && seen
                .v
                .is_some_and(|v| (v / settings.nominal_v - 1.0).abs() <= limits::SETTLED_V_PU);
        held(&mut self.settled_since, settled, now);
        let healthy = seen
            .grid_f
            .is_some_and(|f| within(limits::RETURN_F_PU, f / settings.nominal_f))
            && seen
                .grid_v
                .is_some_and(|v| within(limits::RETURN_V_PU, v / settings.nominal_v));
        held(&mut self.healthy_since, healthy, now);
        let dead = seen
            .v
            .is_some_and(|v| v / settings.nominal_v < limits::DEAD_V_PU);
        held(&mut self.dead_since, dead, now);
        held(&mut self.mains_bad_since, mains_bad(seen, settings), now);
        let rated: ActivePower = look
            .bench
            .of_role(Role::Ess)
            .map(|(_, spec)| spec.rating.p.upper())
            .sum();
        let quiet = seen
            .pcc
            .is_some_and(|p| p.abs() <= rated * limits::QUIET_SHARE);
        held(&mut self.quiet_since, quiet, now);
    }

    /// Answers a request: a transition, a wish for the island, or a refusal.
    fn answer(
        &mut self,
        look: &Look<'_>,
        request: ModeRequest,
        why: &str,
        events: &mut Vec<Event>,
    ) {
        match (request, self.mode.is_islanded()) {
            // In an island, to stay and to return are wishes; the table moves when they can be met.
            (ModeRequest::Island | ModeRequest::Disconnect, true) => {
                self.wish = Some(ModeRequest::Island);
                if self.mode == Mode::Resynchronising {
                    self.fire(
                        look,
                        Trigger::IslandAsked,
                        why,
                        Telling::Asked(request),
                        events,
                    );
                }
            }
            (ModeRequest::Reconnect, true) => self.wish = Some(request),
            (ModeRequest::Disconnect, false) if self.mode == Mode::Leaving => {
                self.departure = Some(Departure::Demanded);
                self.wish = Some(ModeRequest::Island);
            }
            _ => {
                let trigger = Trigger::of(request);
                if self.fire(look, trigger, why, Telling::Asked(request), events) {
                    self.departure = match request {
                        ModeRequest::Island => Some(Departure::Planned),
                        ModeRequest::Disconnect => Some(Departure::Demanded),
                        _ => None,
                    };
                    self.wish = self.departure.map(|_| ModeRequest::Island);
                }
            }
        }
    }

    fn watch_mains(&mut self, look: &Look<'_>, events: &mut Vec<Event>) {
        let lost = lasted(self.mains_bad_since, look.now, limits::MAINS_LOST_FOR)
            && look.seen.breaker_closed == Some(true);
        if !lost {
            return;
        }
        let why = format!("the utility is lost: {}", mains_text(look.seen));
        // Who is on the way out already does not wait for a quiet exchange any more.
        if self.mode == Mode::Leaving
            || self.mode == Mode::GridConnected
                && self.fire(look, Trigger::MainsLost, &why, Telling::Once, events)
        {
            self.departure = Some(Departure::MainsLost);
        }
    }

    /// On the way out: when the breaker opens, and when the way is given up.
    fn watch_leaving(&mut self, look: &Look<'_>, events: &mut Vec<Event>) {
        let Some(departure) = self.departure.filter(|_| self.mode == Mode::Leaving) else {
            self.opening_since = None;
            return;
        };
        let now = look.now;
        let overdue = now.since(self.since) >= limits::LEAVE_WITHIN;
        let quiet = lasted(self.quiet_since, now, limits::QUIET_FOR);
        let open = match departure {
            Departure::Planned => quiet,
            Departure::Demanded => quiet || overdue,
            Departure::MainsLost => true,
        };
        if open || self.opening_since.is_some() {
            self.opening_since.get_or_insert(now);
        }
        if departure != Departure::Planned {
            return;
        }
        if lasted(self.opening_since, now, limits::OPEN_WITHIN) {
            let why = "the coupling breaker was not seen open in time";
            self.see(look, Trigger::LeaveFailed, why, events);
        } else if overdue && self.opening_since.is_none() {
            let exchange = look
                .seen
                .pcc
                .map_or("the exchange is not known".into(), |p| {
                    format!("{p:.1} are still exchanged")
                });
            let why = format!("the exchange did not come to rest in time, {exchange}");
            self.see(look, Trigger::LeaveFailed, &why, events);
        }
    }

    /// The island's own voltage and frequency.
    fn watch_bus(&mut self, look: &Look<'_>, events: &mut Vec<Event>) {
        let settings = &look.bench.settings;
        if lasted(self.dead_since, look.now, limits::DEAD_FOR) {
            self.see(
                look,
                Trigger::SeenDead,
                "there is no voltage on the bus",
                events,
            );
        }
        if self.mode == Mode::Blackout && Guard::VoltageOnBus.check(&self.sight(look)).is_ok() {
            self.see(
                look,
                Trigger::SeenLive,
                "there is voltage on the bus",
                events,
            );
        }
        if lasted(self.settled_since, look.now, settings.settle_time)
            && look.now.since(self.since) >= settings.settle_time
        {
            self.see(
                look,
                Trigger::Settled,
                "frequency and voltage are stable",
                events,
            );
        }
        if self.mode == Mode::BlackStarting && look.now.since(self.since) >= limits::START_WITHIN {
            let why = "the bus did not come up and settle in time";
            self.see(look, Trigger::StartFailed, why, events);
        }
    }

    fn watch_return(&mut self, look: &Look<'_>, events: &mut Vec<Event>) {
        let settings = &look.bench.settings;
        let long_healthy = lasted(self.healthy_since, look.now, settings.reconnect_delay);
        let wanted = match self.wish {
            // A person hears which guard keeps the island waiting; the automatic only waits.
            Some(ModeRequest::Reconnect) => true,
            Some(_) => false,
            None => settings.auto_reconnect && long_healthy,
        };
        if wanted && self.mode == Mode::Islanded {
            self.see(
                look,
                Trigger::ReturnWanted,
                "the utility is healthy",
                events,
            );
        }
        if self.mode == Mode::Resynchronising {
            if look.held_open {
                let why = "a person holds the coupling breaker open";
                self.see(look, Trigger::ReturnFailed, why, events);
            } else if self.healthy_since.is_none() {
                let why = "the utility is not healthy any more";
                self.see(look, Trigger::ReturnFailed, why, events);
            } else if look.now.since(self.since) >= settings.sync_timeout {
                self.healthy_since = Some(look.now);
                let why = "the breaker did not close in time";
                self.see(look, Trigger::ReturnFailed, why, events);
            }
        }
    }

    fn see(&mut self, look: &Look<'_>, trigger: Trigger, why: &str, events: &mut Vec<Event>) {
        self.fire(look, trigger, why, Telling::Once, events);
    }

    fn sight<'a>(&self, look: &Look<'a>) -> Sight<'a> {
        Sight {
            held_open: look.held_open,
            seen: look.seen,
            bench: look.bench,
            storage: look.storage,
            dead_for: self.dead_since.map(|since| look.now.since(since)),
            healthy_for: self.healthy_since.map(|since| look.now.since(since)),
        }
    }

    /// Follows the table; whether the mode has changed.
    fn fire(
        &mut self,
        look: &Look<'_>,
        trigger: Trigger,
        why: &str,
        telling: Telling,
        events: &mut Vec<Event>,
    ) -> bool {
        let Some(row) = table::find(self.mode, trigger) else {
            let why = format!("{} has no way there", self.mode);
            self.tell_refusal(trigger, None, why, telling, events);
            return false;
        };
        let sight = self.sight(look);
        let refused_by = row
            .guards
            .iter()
            .find_map(|guard| Some((*guard, guard.check(&sight).err()?)));
        if let Some((guard, why)) = refused_by {
            let why = format!("{}: {why}", guard.name());
            self.tell_refusal(trigger, Some(guard), why, telling, events);
            return false;
        }
        events.push(Event::ModeChanged {
            from: self.mode,
            to: row.to,
            why: why.into(),
        });
        self.mode = row.to;
        self.since = look.now;
        self.settled_since = None;
        // What a dead line was is no news of the one that has just been coupled.
        self.mains_bad_since = None;
        self.opening_since = None;
        self.refused.clear();
        // What was wished for is there, or cannot be any more.
        if row.to == Mode::GridConnected || row.to == Mode::Starting {
            self.wish = None;
        }
        true
    }

    /// A request's refusal is always told; that of something seen once, until it changes.
    fn tell_refusal(
        &mut self,
        trigger: Trigger,
        guard: Option<Guard>,
        why: String,
        telling: Telling,
        events: &mut Vec<Event>,
    ) {
        let request = match (telling, guard) {
            (Telling::Asked(request), _) => request.name().to_owned(),
            // Most of what is seen leads nowhere from most modes: only a guard is worth telling.
            (Telling::Once, None) => return,
            (Telling::Once, Some(guard)) => {
                if self.refused.insert(trigger, guard) == Some(guard) {
                    return;
                }
                format!("{trigger:?}")
            }
        };
        events.push(Event::ModeRefused {
            mode: self.mode,
            request,
            why,
        });
    }
}

/// How a refusal is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Telling {
    /// Somebody asked, and gets an answer each time.
    Asked(ModeRequest),
    /// It was seen, and stands until it is not.
    Once,
}

/// Whether what is known of the utility is outside the limits of one that can be stayed with.
/// Unknown is not lost: a meter that fails is not a utility that fails.
fn mains_bad(seen: &Estimate, settings: &Settings) -> bool {
    let v = seen.grid_v.or(seen.v);
    let f = seen.grid_f.or(seen.f);
    let live = v.is_none_or(|v| v / settings.nominal_v >= limits::DEAD_V_PU);
    v.is_some_and(|v| !within(limits::MAINS_V_PU, v / settings.nominal_v))
        // A dead line has no frequency, whatever its meter says.
        || live && f.is_some_and(|f| !within(limits::MAINS_F_PU, f / settings.nominal_f))
        || settings
            .mains_rocof_max
            .is_some_and(|max| seen.rocof.is_some_and(|rocof| rocof.abs() > max))
}

fn mains_text(seen: &Estimate) -> String {
    let unknown = || "unknown".to_owned();
    let v = seen
        .grid_v
        .or(seen.v)
        .map_or_else(unknown, |v: Voltage| format!("{v:.1}"));
    let f = seen
        .grid_f
        .or(seen.f)
        .map_or_else(unknown, |f: Frequency| format!("{f:.2}"));
    match seen.rocof {
        Some(rocof) => format!("{v}, {f}, {rocof:.2}"),
        None => format!("{v}, {f}"),
    }
}

fn within((low, high): (f64, f64), value: f64) -> bool {
    (low..=high).contains(&value)
}

fn held(since: &mut Option<Instant>, holds: bool, now: Instant) {
    *since = holds.then(|| since.unwrap_or(now));
}

fn lasted(since: Option<Instant>, now: Instant, time: Duration) -> bool {
    since.is_some_and(|since| now.since(since) >= time)
}

#[cfg(test)]
mod tests;
