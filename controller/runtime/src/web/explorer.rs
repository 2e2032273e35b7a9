//! What hangs together in the ledger of a run: from a megawatt-hour to its order, clearing,
//! dispatch, acknowledgement, meter reading and settlement, and back.
//!
//! The index is made of the files of the log, as `gridrig ledger show` reads them, so it shows what
//! is on the disk and nothing else. It is made when somebody asks first, goes on from there at each
//! question, and holds the newest entries; all of them are `gridrig ledger show`'s. It verifies
//! nothing: that is `gridrig ledger verify`'s.

#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use ledger_core::AtomId;
use ledger_core::payload::{Kind, Payload};
use ledger_node::{BatchPlace, Holdings, LedgerError, LogEntry, Selector, Tail};
use serde::Serialize;
use serde_json::Value;

use crate::desk::{Calendar, Protection};

/// Entries that the index holds.
/// Chosen: 50000, some hours of the demo bench in about 15 MB.
const KEPT: usize = 50_000;
/// Relatives that are told of one entry. Chosen: 500; a long interval of a bench that is regulated
/// has some hundred dispatches, and what is left out is counted.
const RELATED_MAX: usize = 500;

/// An entry as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    /// Its logical clock.
    pub(super) clock: u64,
    /// Its identity, hexadecimal.
    pub(super) atom: String,
    /// What kind of statement it is.
    pub(super) kind: &'static str,
    /// The participant or the device that it is about.
    pub(super) who: Option<String>,
    /// The market interval that it belongs to.
    pub(super) interval: Option<u64>,
    /// Wall-clock time at which it was said, RFC 3339.
    pub(super) utc: String,
    /// What it says, in a line.
    pub(super) text: String,
}

/// How an entry is related to the one that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Relation {
    /// It is named as a cause.
    Cause,
    /// It names the other one as a cause.
    Effect,
    /// It belongs to the same market interval.
    Interval,
}

/// A relative of an entry.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Related {
    /// How.
    pub(super) relation: Relation,
    /// The relative.
    #[serde(flatten)]
    pub(super) line: Line,
}

/// An entry with all that it says and what it hangs together with.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Found {
    /// The entry in a line.
    pub(super) line: Line,
    /// All of it, as `gridrig ledger show --json` prints it.
    pub(super) entry: Value,
    /// Its relatives in the order of the ledger.
    pub(super) related: Vec<Related>,
    /// Relatives that are not listed.
    pub(super) left_off: usize,
}

/// Which entries a page shall have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Those before this clock; without it the newest.
    pub(super) before: Option<u64>,
    /// How many at most.
    pub(super) limit: usize,
    /// Of this kind.
    pub(super) kind: Option<Kind>,
    /// About this participant or device.
    pub(super) who: Option<String>,
    /// Of this market interval.
    pub(super) interval: Option<u64>,
}

/// A page of the ledger.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Page {
    /// The newest first.
    pub(super) entries: Vec<Line>,
    /// The `before` of the next page; null on the last.
    pub(super) next: Option<u64>,
    /// Clock of the first and of the last entry that can be looked at here.
    pub(super) first: Option<u64>,
    /// See `first`.
    pub(super) last: Option<u64>,
    /// Who owns which credits after the last entry.
    pub(super) balances: Vec<Owned>,
}

/// What somebody owns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Owned {
    /// Who.
    pub(super) owner: String,
    /// `energy`, or `metered` where it waits for its mint.
    pub(super) asset: String,
    /// How much, in milliwatt-hours: a decimal text, since it may exceed what a number holds.
    pub(super) milliwatt_hours: String,
}

/// Why an entry is not shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotFound {
    /// The log cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// None is there.
    #[error("no entry that is held here is {0}")]
    Absent(String),
    /// Too few digits.
    #[error("{0} entries begin with these digits")]
    Ambiguous(usize),
}

/// Of which run of a log that lasts an interval is: runs count their intervals anew.
type IntervalOfRun = (u32, u64);

#[derive(Debug)]
struct Held {
    atom: AtomId,
    kind: Kind,
    who: Option<Box<str>>,
    interval: Option<IntervalOfRun>,
    utc_ms: u64,
    text: Box<str>,
    causes: Box<[AtomId]>,
    place: BatchPlace,
}

/// The index of one log.
#[derive(Debug)]
pub(super) struct Explorer {
    tail: Tail,
    calendar: Option<Calendar>,
    /// What of the market's participants may not be shown as it is.
    protection: Option<Protection>,
    index: Index,
}

/// What stands instead of what a record of the market says, where its participants are protected.
const WITHHELD: &str = "withheld: the rig's `[regulation.data]` protects participants; `gridrig ledger show` has it on the machine of the bench";

/// Whether a record says what participants of the market ordered, did or were paid.
fn is_of_participants(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Order
            | Kind::Clearing
            | Kind::Trade
            | Kind::MeterReading
            | Kind::Settlement
            | Kind::Terms
    )
}

#[derive(Debug, Default)]
struct Index {
    /// Of which clock the first is.
    first: u64,
    held: VecDeque<Held>,
    clock_of: BTreeMap<AtomId, u64>,
    effects: BTreeMap<AtomId, Vec<u64>>,
    intervals: BTreeMap<IntervalOfRun, Vec<u64>>,
    run: u32,
    holdings: Holdings,
}

impl Explorer {
    /// Of the log in a run folder, before its first entry.
    pub(super) fn open(run_dir: &Path) -> Result<Self, LedgerError> {
        Ok(Self {
            tail: Tail::open(run_dir)?,
            calendar: Calendar::of(run_dir),
            protection: Protection::of_run(run_dir).filter(|it| !it.shows_records()),
            index: Index::default(),
        })
    }

    /// Reads what was written since the last look.
    pub(super) fn follow(&mut self) -> Result<(), LedgerError> {
        let Self {
            tail,
            calendar,
            index,
            protection: _,
        } = self;
        let universe = tail.epochs().id();
        tail.look(|place, entry| {
            index.holdings.take(&universe, &entry.atom);
            index.take(place, &entry, calendar.as_ref());
        })
    }

    fn hides(&self, held: &Held) -> bool {
        self.protection.is_some() && is_of_participants(held.kind)
    }

    /// Whom an entry is about, as others are told.
    fn who<'a>(&'a self, held: &'a Held) -> Option<&'a str> {
        let who = held.who.as_deref()?;
        match &self.protection {
            Some(protection) if is_of_participants(held.kind) => Some(protection.name(who)),
            _ => Some(who),
        }
    }

    fn line(&self, held: &Held, clock: u64) -> Line {
        let mut line = held.line(clock);
        if self.hides(held) {
            line.who = self.who(held).map(str::to_owned);
            line.text = WITHHELD.into();
        }
        line
    }

    /// A page of the entries that are held.
    pub(super) fn page(&self, wanted: &Wanted) -> Page {
        let index = &self.index;
        let fits = |held: &Held| {
            wanted.kind.is_none_or(|kind| kind == held.kind)
                && (wanted.who.as_deref()).is_none_or(|who| self.who(held) == Some(who))
                && (wanted.interval).is_none_or(|n| held.interval.is_some_and(|(_, of)| of == n))
        };
        let count = match wanted.before {
            Some(before) => before
                .saturating_sub(index.first)
                .min(index.held.len() as u64),
            None => index.held.len() as u64,
        };
        let mut fitting = (index.first..index.first + count)
            .rev()
            .filter_map(|clock| Some((clock, index.at(clock)?)))
            .filter(|(_, held)| fits(held));
        let entries: Vec<Line> = fitting
            .by_ref()
            .take(wanted.limit)
            .map(|(clock, held)| self.line(held, clock))
            .collect();
        let more = fitting.next().is_some();
        Page {
            next: entries.last().map(|line| line.clock).filter(|_| more),
            entries,
            first: (!index.held.is_empty()).then_some(index.first),
            last: index.last(),
            balances: self.balances(),
        }
    }

    fn balances(&self) -> Vec<Owned> {
        let epochs = self.tail.epochs();
        let balances = self.index.holdings.balances(|owner| epochs.name_of(owner));
        let balances = balances.into_iter();
        let owned = balances.map(|of| Owned {
            owner: of.owner,
            asset: of.asset,
            milliwatt_hours: of.amount.to_string(),
        });
        owned.collect()
    }

    /// An entry with what it hangs together with.
    pub(super) fn find(&self, selector: &Selector) -> Result<Found, NotFound> {
        let index = &self.index;
        let clock = index.select(selector)?;
        let absent = || NotFound::Absent(format!("clock:{clock}"));
        let held = index.at(clock).ok_or_else(absent)?;
        let entry = match self.hides(held) {
            true => Value::String(WITHHELD.into()),
            false => self.tail.shown(held.place, clock)?.ok_or_else(absent)?,
        };
        let mut relatives = BTreeMap::new();
        // The closest relation counts, so it comes last.
        let of_interval = held.interval.and_then(|of| index.intervals.get(&of));
        relatives.extend(
            of_interval
                .into_iter()
                .flatten()
                .map(|c| (*c, Relation::Interval)),
        );
        let effects = index.effects.get(&held.atom);
        relatives.extend(
            effects
                .into_iter()
                .flatten()
                .map(|c| (*c, Relation::Effect)),
        );
        let causes = held
            .causes
            .iter()
            .filter_map(|atom| index.clock_of.get(atom));
        relatives.extend(causes.map(|c| (*c, Relation::Cause)));
        relatives.remove(&clock);
        let related: Vec<Related> = relatives
            .iter()
            .filter_map(|(clock, relation)| {
                let line = self.line(index.at(*clock)?, *clock);
                Some(Related {
                    relation: *relation,
                    line,
                })
            })
            .take(RELATED_MAX)
            .collect();
        Ok(Found {
            line: self.line(held, clock),
            entry,
            left_off: relatives.len() - related.len(),
            related,
        })
    }
}

impl Index {
    fn last(&self) -> Option<u64> {
        let behind = self.first + self.held.len() as u64;
        behind.checked_sub(1).filter(|_| !self.held.is_empty())
    }

    fn at(&self, clock: u64) -> Option<&Held> {
        let place = clock.checked_sub(self.first)?;
        self.held.get(usize::try_from(place).ok()?)
    }

    fn select(&self, selector: &Selector) -> Result<u64, NotFound> {
        match selector {
            Selector::Clock(clock) => (self.at(*clock).map(|_| *clock))
                .ok_or_else(|| NotFound::Absent(format!("clock:{clock}"))),
            Selector::Id(digits) => {
                let all = (self.first..).zip(&self.held);
                let mut fitting = all
                    .filter(|(_, held)| held.atom.to_string().starts_with(digits))
                    .map(|(clock, _)| clock);
                let first = fitting.next();
                let clock = first.ok_or_else(|| NotFound::Absent(digits.clone()))?;
                match fitting.count() {
                    0 => Ok(clock),
                    more => Err(NotFound::Ambiguous(more + 1)),
                }
            }
        }
    }

    fn take(&mut self, place: BatchPlace, entry: &LogEntry, calendar: Option<&Calendar>) {
        let body = entry.atom.body();
        let payload = &body.payload;
        // A log among several nodes lasts longer than a run, which begins with its rig.
        self.run += u32::from(matches!(payload, Payload::Config(c) if c.subject == "rig"));
        let mut causes: Vec<AtomId> = payload.references().into_iter().map(|(id, _)| id).collect();
        causes.extend(body.deps.iter().copied());
        causes.sort_unstable();
        causes.dedup();
        let cause = |atom: &AtomId| self.at(*self.clock_of.get(atom)?);
        let interval = match payload {
            Payload::Order(p) => Some((self.run, p.interval)),
            Payload::Withdrawal(p) => Some((self.run, p.interval)),
            Payload::Activation(p) => Some((self.run, p.interval)),
            Payload::Infeasible(p) => Some((self.run, p.interval)),
            Payload::Clearing(p) => Some((self.run, p.interval)),
            Payload::Trade(p) => Some((self.run, p.interval)),
            Payload::Settlement(p) => Some((self.run, p.interval)),
            Payload::Terms(p) => Some((self.run, p.interval)),
            Payload::MeterReading(p) => calendar
                .and_then(|calendar| calendar.beginning_at(p.interval_start_utc_ns))
                .map(|interval| (self.run, interval)),
            Payload::Dispatch(p) => p.cause.as_ref().and_then(cause).and_then(|c| c.interval),
            Payload::DispatchAck(p) => cause(&p.dispatch).and_then(|c| c.interval),
            Payload::Mint(p) => cause(&p.reading).and_then(|c| c.interval),
            _ => None,
        };
        let who = match payload {
            Payload::DispatchAck(p) => cause(&p.dispatch).and_then(|c| c.who.clone()),
            Payload::Mint(p) => cause(&p.reading).and_then(|c| c.who.clone()),
            payload => words::who(payload).map(Into::into),
        };
        // Where a copy of a log leaves entries out, those that are held still follow each other.
        if self.last().is_some_and(|last| last + 1 != entry.clock) {
            self.forget(self.held.len());
        }
        if self.held.is_empty() {
            self.first = entry.clock;
        }
        let atom = entry.atom.id();
        self.clock_of.insert(atom, entry.clock);
        for cause in &causes {
            self.effects.entry(*cause).or_default().push(entry.clock);
        }
        if let Some(interval) = interval {
            self.intervals
                .entry(interval)
                .or_default()
                .push(entry.clock);
        }
        self.held.push_back(Held {
            atom,
            kind: payload.kind(),
            who,
            interval,
            utc_ms: body.hlc.utc_milliseconds(),
            text: words::line(body).into(),
            causes: causes.into(),
            place,
        });
        self.forget(self.held.len().saturating_sub(KEPT));
    }

    /// Lets go of the oldest.
    fn forget(&mut self, count: usize) {
        for _ in 0..count {
            let Some(gone) = self.held.pop_front() else {
                return;
            };
            self.clock_of.remove(&gone.atom);
            let clock = self.first;
            self.first += 1;
            let of = |clocks: Option<&mut Vec<u64>>| {
                let clocks = clocks?;
                clocks.retain(|c| *c > clock);
                clocks.is_empty().then_some(())
            };
            for cause in &gone.causes {
                if of(self.effects.get_mut(cause)).is_some() {
                    self.effects.remove(cause);
                }
            }
            if let Some(interval) = gone.interval
                && of(self.intervals.get_mut(&interval)).is_some()
            {
                self.intervals.remove(&interval);
            }
        }
    }
}

impl Held {
    fn line(&self, clock: u64) -> Line {
        let millis = i64::try_from(self.utc_ms).unwrap_or(i64::MAX);
        Line {
            clock,
            atom: self.atom.to_string(),
            kind: self.kind.name(),
            who: self.who.as_deref().map(str::to_owned),
            interval: self.interval.map(|(_, interval)| interval),
            utc: model::UtcTime::from_unix_nanos(millis.saturating_mul(1_000_000)).to_string(),
            text: self.text.to_string(),
        }
    }
}
