//! What the screen knows: the last look, how old it is, which pane is open, what is being typed or asked for.
//!
//! Time is an argument, counted from when the screen was opened. How it looks is [`super::frame`]'s.

use std::cmp::Ordering;
use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::asker::{News, Order};
use super::ledger::{Explorer, Filter};
use super::look::{Alarm, Look};
use super::operate::{self, Said};
use super::paint::Palette;
use super::pane::{self, Pane};
use super::row::{self, Goal, Mark};
use super::trend::Trends;
use crate::verb::arming::Ahead;

/// After how much silence what is shown is old. The page says so after the same time.
const OLD_AFTER: Duration = Duration::from_millis(2_500);
/// Periods of control without a new cycle after which its loop stands, on a slow bench.
/// Chosen: 3, so that one late cycle is none.
const STANDS_AFTER_PERIODS: f64 = 3.0;
/// How long a first `s` waits for its second. Chosen: 5 s: who has looked away begins anew.
const CONFIRM_WITHIN: Duration = Duration::from_secs(5);
/// How long an answer to an order is shown. Chosen: 10 s.
const TOLD_FOR: Duration = Duration::from_secs(10);
/// How long what arming would write waits to be confirmed. Chosen: 30 s: a table has to be read, and
/// what is older is not what would be written.
const CONFIRM_ARMING_WITHIN: Duration = Duration::from_secs(30);
/// How often the newest entries of the ledger are asked for while they are shown. As the page does.
const PAGED_EVERY: Duration = Duration::from_secs(3);
/// After how long they are asked for once more though no answer has come. Chosen: 10 s, two patiences of a question.
const PAGED_AGAIN: Duration = Duration::from_secs(10);
/// Longest line that can be typed. Chosen: 200, more than any order needs.
const TYPED_MAX: usize = 200;

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
    /// Ask the daemon.
    Give(Order),
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

/// What is being typed.
#[derive(Clone, Debug, Default)]
pub struct Typing {
    pub text: String,
    /// Why it was not understood.
    pub fault: Option<String>,
}

/// What arming would write, and waits to be confirmed.
#[derive(Clone, Debug)]
pub struct Arming {
    /// For how long it would be armed.
    pub time: Duration,
    /// What would be written.
    pub ahead: Ahead,
    at: Duration,
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
    typing: Option<Typing>,
    arming: Option<Arming>,
    explorer: Explorer,
    /// When entries of the ledger were asked for last, and whether they have come.
    paged: Option<(Duration, bool)>,
    /// The line that is marked.
    marked: Option<Mark>,
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
            typing: None,
            arming: None,
            explorer: Explorer::default(),
            paged: None,
            marked: None,
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
            News::Ahead(time, ahead) => {
                self.arming = Some(Arming {
                    time,
                    ahead: *ahead,
                    at: now,
                });
                self.typing = None;
                self.full = None;
                self.first = 0;
            }
            News::Paged(filter, page) => {
                self.paged = self.paged.map(|(at, _)| (at, true));
                self.explorer.turn(&filter, *page);
            }
            News::Opened(found) => {
                self.open(Pane::Ledger);
                self.explorer.open(*found);
            }
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

    /// What is being typed.
    pub fn typing(&self) -> Option<&Typing> {
        self.typing.as_ref()
    }

    /// What arming would write, while that can be confirmed.
    pub fn arming(&self, now: Duration) -> Option<&Arming> {
        let arming = self.arming.as_ref();
        arming.filter(|of| now.saturating_sub(of.at) <= CONFIRM_ARMING_WITHIN)
    }

    /// What is known of the ledger.
    pub fn explorer(&self) -> &Explorer {
        &self.explorer
    }

    /// The line that is marked, by where it leads.
    pub fn marked(&self) -> Option<&Mark> {
        self.marked.as_ref()
    }

    /// What the screen has to ask for by itself: the newest entries of the ledger, while they are shown.
    pub fn wants(&mut self, now: Duration) -> Option<Order> {
        if self.pane != Pane::Ledger || self.full.is_some() || !self.explorer.is_live() {
            return None;
        }
        let is_due = self.paged.is_none_or(|(at, answered)| {
            let patience = if answered { PAGED_EVERY } else { PAGED_AGAIN };
            now.saturating_sub(at) >= patience
        });
        is_due.then(|| self.page(now))
    }

    fn page(&mut self, now: Duration) -> Order {
        self.paged = Some((now, false));
        Order::Page(self.explorer.filter.clone())
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

    /// Takes a key.
    pub fn press(&mut self, key: KeyEvent, now: Duration) -> Act {
        let was_asking = self.is_asking_safe(now);
        self.asked_safe_at = None;
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Act::Quit;
        }
        if self.typing.is_some() {
            return self.write(key, now);
        }
        if let Some(time) = self.arming(now).map(|of| of.time) {
            return self.confirm(key.code, time, now);
        }
        let is_in_ledger = self.pane == Pane::Ledger && self.full.is_none();
        if is_in_ledger
            && matches!(key.code, KeyCode::Esc | KeyCode::Backspace)
            && self.explorer.back()
        {
            self.open(Pane::Ledger);
            return Act::None;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Act::Quit,
            KeyCode::Char(':') => self.typing = Some(Typing::default()),
            KeyCode::Enter => return self.choose(now),
            KeyCode::Char('s') if was_asking => return Act::Give(Order::Safe),
            KeyCode::Char('s') => self.asked_safe_at = Some(now),
            KeyCode::Char('d') => self.fill(Full::Devices),
            KeyCode::Char('c') => self.fill(Full::Charts),
            KeyCode::Char('a') => {
                if let Some(alarm) = self.unseen().next() {
                    return Act::Give(Order::Acknowledge(alarm.name.clone()));
                }
                self.told = Some((now, "No alarm waits to be seen.".into()));
            }
            KeyCode::Char(c @ '1'..='8') => {
                let steps = (c as usize) - ('1' as usize);
                self.open(Pane::default().after(steps));
            }
            KeyCode::Tab | KeyCode::Right => self.open(self.pane.after(1)),
            KeyCode::BackTab | KeyCode::Left => self.open(self.pane.after(Pane::ALL.len() - 1)),
            KeyCode::Up => self.step(false),
            KeyCode::Down => self.step(true),
            code => {
                self.scroll(code);
            }
        }
        Act::None
    }

    /// Takes a key that scrolls; whether it is one. What is scrolled past the end is taken back when
    /// that is drawn.
    fn scroll(&mut self, code: KeyCode) -> bool {
        let page = self.room.seen.max(1);
        match code {
            KeyCode::Up => self.first = self.first.saturating_sub(1),
            KeyCode::Down => self.first += 1,
            KeyCode::PageUp => self.first = self.first.saturating_sub(page),
            KeyCode::PageDown => self.first += page,
            KeyCode::Home => self.first = 0,
            KeyCode::End => self.first = self.last_first(),
            _ => return false,
        }
        true
    }

    /// Takes a key while arming waits to be confirmed.
    fn confirm(&mut self, code: KeyCode, time: Duration, now: Duration) -> Act {
        if self.scroll(code) {
            return Act::None;
        }
        self.arming = None;
        self.first = 0;
        if code == KeyCode::Char('y') {
            return Act::Give(Order::Arm(time));
        }
        if code == KeyCode::Char('s') {
            self.asked_safe_at = Some(now);
        }
        self.told = Some((now, "Nothing was armed.".into()));
        Act::None
    }

    /// Takes a key of what is being typed.
    fn write(&mut self, key: KeyEvent, now: Duration) -> Act {
        let Some(typing) = &mut self.typing else {
            return Act::None;
        };
        match key.code {
            KeyCode::Esc => self.typing = None,
            KeyCode::Backspace if typing.text.is_empty() => self.typing = None,
            KeyCode::Backspace => {
                typing.text.pop();
                typing.fault = None;
            }
            KeyCode::Char('u') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                *typing = Typing::default();
            }
            KeyCode::Char(c) if typing.text.len() < TYPED_MAX && !c.is_control() => {
                typing.text.push(c);
                typing.fault = None;
            }
            KeyCode::Enter => {
                let text = typing.text.clone();
                let devices = self.look().into_iter().flat_map(|look| &look.state.devices);
                let devices: Vec<&str> = devices.map(|d| d.name.as_str()).collect();
                match operate::read(&text, &devices) {
                    Ok(said) => {
                        self.typing = None;
                        return self.said(said, now);
                    }
                    Err(fault) => {
                        self.typing = Some(Typing {
                            text,
                            fault: Some(fault),
                        })
                    }
                }
            }
            _ => {}
        }
        Act::None
    }

    fn said(&mut self, said: Said, now: Duration) -> Act {
        match said {
            Said::Order(order) => Act::Give(order),
            Said::Ledger(filter) => self.list(filter, now),
        }
    }

    /// Lists other entries of the ledger.
    fn list(&mut self, filter: Filter, now: Duration) -> Act {
        self.open(Pane::Ledger);
        self.explorer.list(filter);
        Act::Give(self.page(now))
    }

    /// The lines of the open list that lead somewhere, each with its number.
    fn marks(&self) -> Vec<(usize, Mark)> {
        let Some(look) = self.look().filter(|_| self.full.is_none()) else {
            return Vec::new();
        };
        // Neither width nor palette changes which lines there are.
        let rows = pane::rows(self.pane, look, &self.explorer, 80, Palette::Plain);
        row::marks(&rows)
    }

    /// Goes to where the marked line leads.
    fn choose(&mut self, now: Duration) -> Act {
        match self.marked.take().map(|(goal, _)| goal) {
            Some(Goal::Entry(atom)) => Act::Give(Order::Entry(atom)),
            Some(Goal::Older(clock)) => {
                let filter = self.explorer.filter.clone();
                self.list(
                    Filter {
                        before: Some(clock),
                        ..filter
                    },
                    now,
                )
            }
            Some(Goal::Newest) => {
                let filter = self.explorer.filter.clone();
                self.list(
                    Filter {
                        before: None,
                        ..filter
                    },
                    now,
                )
            }
            None => {
                if !self.marks().is_empty() {
                    self.step(true);
                }
                Act::None
            }
        }
    }

    /// Marks the next line that leads somewhere; where there is none, scrolls.
    fn step(&mut self, down: bool) {
        let marks = self.marks();
        let at = marks
            .iter()
            .position(|(_, mark)| Some(mark) == self.marked.as_ref());
        let next = match (at, down) {
            _ if marks.is_empty() => {
                self.scroll(if down { KeyCode::Down } else { KeyCode::Up });
                return;
            }
            (None, _) => marks
                .iter()
                .position(|(n, _)| *n >= self.first)
                .unwrap_or(0),
            (Some(at), true) => (at + 1).min(marks.len() - 1),
            (Some(at), false) => at.saturating_sub(1),
        };
        let (line, mark) = &marks[next];
        self.marked = Some(mark.clone());
        // What belongs to a line is below it, up to the next one; above the first are its titles.
        let end = marks.get(next + 1).map_or(line + 2, |(n, _)| *n);
        let seen = self.room.seen.max(1);
        if next == 0 && end <= seen {
            self.first = 0;
        } else if *line < self.first {
            self.first = *line;
        } else if end > self.first + seen {
            self.first = (end - seen).min(*line);
        }
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
        self.marked = None;
    }
}
