//! What the screen knows: the last look, how old it is, which pane is open, what was asked for.
//!
//! Time is an argument, counted from when the screen was opened. How it looks is [`super::frame`]'s.

use std::cmp::Ordering;
use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::asker::News;
use super::look::{Alarm, Look};
use super::trend::Trends;

/// After how much silence what is shown is old. The page says so after the same time.
const OLD_AFTER: Duration = Duration::from_millis(2_500);
/// Periods of control without a new cycle after which its loop stands, on a slow bench.
/// Chosen: 3, so that one late cycle is none.
const STANDS_AFTER_PERIODS: f64 = 3.0;
/// How long a first `s` waits for its second. Chosen: 5 s: who has looked away begins anew.
const CONFIRM_WITHIN: Duration = Duration::from_secs(5);
/// How long an answer to an order is shown. Chosen: 10 s.
const TOLD_FOR: Duration = Duration::from_secs(10);

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
}

impl Pane {
    /// All of them, in the order of their keys.
    pub const ALL: [Self; 7] = [
        Self::Dispatches,
        Self::Events,
        Self::Buses,
        Self::Services,
        Self::Market,
        Self::Alarms,
        Self::Scenario,
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
        }
    }

    fn after(self, steps: usize) -> Self {
        let at = Self::ALL.iter().position(|p| *p == self).unwrap_or(0);
        Self::ALL[(at + steps) % Self::ALL.len()]
    }
}

/// What can have the whole room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    Devices,
    Charts,
}

/// What a key makes the program do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing beyond the screen.
    None,
    /// End.
    Quit,
    /// Ask for the safe state.
    Safe,
    /// Say that this alarm was seen.
    Acknowledge(String),
}

/// How the scrolled part fits: its lines, and how many of them are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    pub lines: usize,
    pub seen: usize,
}

/// Why what is shown is old.
#[derive(Clone, Debug, PartialEq)]
pub enum Old {
    /// There never was an answer.
    Never { why: String },
    /// The daemon does not answer any more.
    Unconnected { since: Duration, why: String },
    /// It answers, but its control loop stands.
    Standing { since: Duration },
}

#[derive(Clone, Debug)]
struct Seen {
    look: Look,
    /// When it was answered.
    at: Duration,
    /// When its cycle was seen first.
    turned_at: Duration,
}

/// What the screen knows.
#[derive(Clone, Debug)]
pub struct Screen {
    /// Where the daemon is.
    pub address: String,
    /// What the lower part shows.
    pub pane: Pane,
    /// What has the whole room, if something has.
    pub full: Option<Full>,
    /// First line that is seen of what scrolls.
    pub first: usize,
    trends: Trends,
    seen: Option<Seen>,
    fault: Option<String>,
    asked_safe_at: Option<Duration>,
    told: Option<(Duration, String)>,
    room: Room,
}

impl Screen {
    /// A screen that has seen nothing yet.
    pub fn new(address: String) -> Self {
        Self {
            address,
            pane: Pane::default(),
            full: None,
            first: 0,
            trends: Trends::default(),
            seen: None,
            fault: None,
            asked_safe_at: None,
            told: None,
            room: Room::default(),
        }
    }

    /// Takes news.
    pub fn hear(&mut self, news: News, now: Duration) {
        match news {
            News::Recalled(history) => {
                self.trends = Trends::recall(*history);
                if let Some(seen) = &self.seen {
                    self.trends.observe(&seen.look.state);
                }
            }
            News::Looked(look) => {
                self.trends.observe(&look.state);
                let cycle = |look: &Look| {
                    let n = look.state.cycle.as_ref().map(|c| c.n);
                    (look.state.rig.started_utc.clone(), n)
                };
                let before = self.seen.as_ref();
                let same = before.filter(|seen| cycle(&seen.look) == cycle(&look));
                self.seen = Some(Seen {
                    turned_at: same.map_or(now, |seen| seen.turned_at),
                    look: *look,
                    at: now,
                });
                self.fault = None;
            }
            News::Failed(why) => self.fault = Some(why),
            News::Told(text) => self.told = Some((now, text)),
            News::Ended => {}
        }
    }

    /// The last look.
    pub fn look(&self) -> Option<&Look> {
        self.seen.as_ref().map(|seen| &seen.look)
    }

    /// What is remembered of the last minutes.
    pub fn trends(&self) -> &Trends {
        &self.trends
    }

    /// Alarms that are raised and that nobody has seen, the oldest first.
    pub fn unseen(&self) -> impl Iterator<Item = &Alarm> {
        let alarms = self.look().into_iter().flat_map(|look| &look.alarms);
        let mut unseen: Vec<&Alarm> = alarms
            .filter(|alarm| alarm.raised && alarm.acknowledged_by.is_none())
            .collect();
        unseen.sort_by(|a, b| a.since_s.partial_cmp(&b.since_s).unwrap_or(Ordering::Equal));
        unseen.into_iter()
    }

    /// For how long the values that are shown have not changed, which their ages do not count.
    pub fn since_turned(&self, now: Duration) -> Duration {
        let turned = self.seen.as_ref().map_or(now, |seen| seen.turned_at);
        now.saturating_sub(turned)
    }

    /// Why what is shown is old; `None` while it is not.
    pub fn old(&self, now: Duration) -> Option<Old> {
        let Some(seen) = &self.seen else {
            let why = self.fault.clone()?;
            return Some(Old::Never { why });
        };
        let silent = now.saturating_sub(seen.at);
        if self.fault.is_some() || silent > OLD_AFTER {
            let why = self.fault.clone().unwrap_or("no answer".into());
            return Some(Old::Unconnected { since: silent, why });
        }
        let cycle = seen.look.state.cycle.as_ref()?;
        let period = if cycle.n == 0 {
            0.0
        } else {
            cycle.t_s / cycle.n as f64
        };
        let patience = Duration::try_from_secs_f64(STANDS_AFTER_PERIODS * period)
            .unwrap_or_default()
            .max(OLD_AFTER);
        let since = self.since_turned(now);
        (since > patience).then_some(Old::Standing { since })
    }

    /// Whether a second `s` is waited for.
    pub fn is_asking_safe(&self, now: Duration) -> bool {
        let asked = self.asked_safe_at;
        asked.is_some_and(|at| now.saturating_sub(at) <= CONFIRM_WITHIN)
    }

    /// What came of the last order, while that is news.
    pub fn told(&self, now: Duration) -> Option<&str> {
        let told = self.told.as_ref();
        told.filter(|(at, _)| now.saturating_sub(*at) <= TOLD_FOR)
            .map(|(_, text)| text.as_str())
    }

    /// Takes how much of what scrolls was seen when it was drawn.
    pub fn fit(&mut self, room: Room) {
        self.room = room;
        self.first = self.first.min(self.last_first());
    }

    /// The first line when the last one is seen.
    fn last_first(&self) -> usize {
        self.room.lines.saturating_sub(self.room.seen)
    }

    /// Takes a key. What it scrolls past the end is taken back when that is drawn.
    pub fn press(&mut self, key: KeyEvent, now: Duration) -> Act {
        let was_asking = self.is_asking_safe(now);
        self.asked_safe_at = None;
        let page = self.room.seen.max(1);
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return Act::Quit;
            }
            KeyCode::Char('q') | KeyCode::Esc => return Act::Quit,
            KeyCode::Char('s') if was_asking => return Act::Safe,
            KeyCode::Char('s') => self.asked_safe_at = Some(now),
            KeyCode::Char('d') => self.fill(Full::Devices),
            KeyCode::Char('c') => self.fill(Full::Charts),
            KeyCode::Char('a') => {
                if let Some(alarm) = self.unseen().next() {
                    return Act::Acknowledge(alarm.name.clone());
                }
                self.told = Some((now, "No alarm waits to be seen.".into()));
            }
            KeyCode::Char(c @ '1'..='7') => {
                let steps = (c as usize) - ('1' as usize);
                self.open(Pane::default().after(steps));
            }
            KeyCode::Tab | KeyCode::Right => self.open(self.pane.after(1)),
            KeyCode::BackTab | KeyCode::Left => self.open(self.pane.after(Pane::ALL.len() - 1)),
            KeyCode::Up => self.first = self.first.saturating_sub(1),
            KeyCode::Down => self.first += 1,
            KeyCode::PageUp => self.first = self.first.saturating_sub(page),
            KeyCode::PageDown => self.first += page,
            KeyCode::Home => self.first = 0,
            KeyCode::End => self.first = self.last_first(),
            _ => {}
        }
        Act::None
    }

    /// Gives the whole room to something, or takes it back.
    fn fill(&mut self, full: Full) {
        self.full = (self.full != Some(full)).then_some(full);
        self.first = 0;
    }

    fn open(&mut self, pane: Pane) {
        self.pane = pane;
        self.full = None;
        self.first = 0;
    }
}
