//! Orders from outside on their way to the desk, and the desk's answers.
//!
//! Whoever serves the API puts a bid into the queue and waits; the desk looks at it in its next
//! cycle and answers. What it takes goes on the ledger at the gate, beside the orders of the agents.

use std::sync::{Arc, Mutex, PoisonError};

use market::venue::CorrectionError;
use market::{Coded, CounterError, Interval, Mwh, Order, Price, Side, Step};
use model::{Event, UtcTime};
use serde::Deserialize;
use tokio::sync::oneshot;

use super::late::{Corrected, LateAsked, LateReading};
use super::{AheadTimes, Desk, DeskSays};
use crate::evidence::{Evidence, NotDurable};

/// Bids that may wait for the desk. Chosen: 32 in a cycle of 100 ms; one participant has two in an
/// interval, so a bench needs few, and each that is refused is told.
const BIDS_WAITING_MAX: usize = 32;

/// An order from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bid {
    /// Who orders.
    pub participant: String,
    /// Buys or sells.
    pub side: Side,
    /// Price in milli-cent per kWh and energy in milliwatt-hours of each step, best price first.
    pub steps: Vec<(i64, i64)>,
    /// Number of the interval; `None` for the next whose gate is open.
    pub interval: Option<u64>,
    /// Which stage it is for.
    pub stage: Stage,
}

impl Bid {
    /// The order, still without its rank.
    pub(super) fn order(self) -> Order {
        let step = |(price, energy): (i64, i64)| Step {
            price: Price(price),
            quantity: Mwh(energy),
        };
        Order {
            agent: self.participant.into(),
            side: self.side,
            steps: self.steps.into_iter().map(step).collect(),
            rank: 0,
        }
    }
}

/// A stage that takes orders from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Real time: one curve per side, cleared at the gate.
    #[default]
    RealTime,
    /// Ahead: one curve per side, cleared at the gate of its block.
    DayAhead,
    /// Within the day: a curve takes the place of the one before, and none takes it back.
    Intraday,
}

/// What became of an order within the day at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Energy that it has traded, in milliwatt-hours.
    pub traded_mwh: i128,
    /// Energy of it that rests.
    pub rests_mwh: i128,
}

/// An order that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Number of its interval.
    pub interval: u64,
    /// When the interval begins.
    pub begins: UtcTime,
    /// When its gate closes.
    pub gate: UtcTime,
    /// What became of it at once, within the day.
    pub entry: Option<Entry>,
}

/// What one who orders has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenGate {
    /// The next interval whose gate is open.
    pub next: Taken,
    /// Length of an interval in nanoseconds.
    pub interval_ns: i64,
    /// Lowest price in milli-cent per kWh.
    pub floor_mc: i64,
    /// Highest price.
    pub cap_mc: i64,
    /// All prices are multiples of this.
    pub tick_mc: i64,
    /// Most steps of an order.
    pub steps_max: usize,
    /// Who orders from outside, with the most that each may buy and sell in an interval now, in
    /// milliwatt-hours.
    pub outsiders: Vec<(String, i128, i128)>,
    /// The first interval whose day-ahead gate is open, its gate, and how many are traded together with it.
    pub ahead: Option<(Taken, u64)>,
    /// The intervals that are open within the day, with the best bid and the best offer.
    pub intraday: Vec<(u64, Option<i64>, Option<i64>)>,
}

type Answer = Result<Taken, CounterError>;

/// A bid with the way back.
type Asked = (Bid, oneshot::Sender<Answer>);

/// What waits for the desk.
#[derive(Debug, Default)]
struct Inbox {
    bids: Vec<Asked>,
    readings: Vec<LateAsked>,
}

/// Bids and late readings that wait for the desk.
#[derive(Clone, Debug, Default)]
pub struct BidQueue(Arc<Mutex<Inbox>>);

impl BidQueue {
    /// Puts a bid in; `None` when too many wait. The answer comes with the desk's next cycle.
    #[must_use]
    pub fn push(&self, bid: Bid) -> Option<oneshot::Receiver<Answer>> {
        let mut inbox = self.lock();
        if inbox.bids.len() >= BIDS_WAITING_MAX {
            return None;
        }
        let (answer, hears) = oneshot::channel();
        inbox.bids.push((bid, answer));
        Some(hears)
    }

    pub(crate) fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.lock().bids)
    }

    /// Puts a late reading in; `None` when too many wait. The answer comes with the desk's next
    /// cycle.
    #[must_use]
    pub fn push_reading(
        &self,
        reading: LateReading,
    ) -> Option<oneshot::Receiver<Result<Corrected, CorrectionError>>> {
        let mut inbox = self.lock();
        if inbox.readings.len() >= BIDS_WAITING_MAX {
            return None;
        }
        let (answer, hears) = oneshot::channel();
        inbox.readings.push((reading, answer));
        Some(hears)
    }

    pub(crate) fn take_readings(&self) -> Vec<LateAsked> {
        std::mem::take(&mut self.lock().readings)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inbox> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    /// Where orders from outside are put.
    #[must_use]
    pub fn bids(&self) -> BidQueue {
        self.bids.clone()
    }

    /// What one who orders from outside has to know; `None` when nobody does, or when no interval
    /// will ever be open again.
    #[must_use]
    pub fn open_gate(&self) -> Option<OpenGate> {
        let outsiders = self.counter.outsiders();
        if outsiders.is_empty() {
            return None;
        }
        let interval = self.rules.interval(self.next)?;
        let book = &self.rules.venue.book;
        let most = |agent, side| self.venue.accepted(agent, side).unwrap_or_default().0;
        Some(OpenGate {
            next: self.taken_for(&interval),
            interval_ns: interval.dt_ns,
            floor_mc: book.floor.0,
            cap_mc: book.cap.0,
            tick_mc: book.tick,
            steps_max: book.steps_max,
            outsiders: (outsiders.iter())
                .map(|agent| {
                    let (buys, sells) = (most(agent, Side::Buy), most(agent, Side::Sell));
                    let protection = self.rules.protection.as_ref();
                    let name = protection.map_or(agent.as_str(), |it| it.name(agent.as_str()));
                    (name.to_owned(), buys, sells)
                })
                .collect(),
            ahead: self.ahead.as_ref().and_then(|ahead| {
                let first = self.rules.interval(ahead.next)?;
                Some((self.taken_ahead(&first, ahead), ahead.intervals))
            }),
            intraday: (self.open_intraday())
                .map(|index| {
                    let (bid, offer) = self.venue.best_intraday(index);
                    (index, bid.map(|p| p.0), offer.map(|p| p.0))
                })
                .collect(),
        })
    }

    pub(super) fn taken_for(&self, interval: &Interval) -> Taken {
        let begins = self.rules.utc_of(interval);
        let before = self.rules.on_bench(self.gate_before_ns);
        Taken {
            interval: interval.index,
            begins: UtcTime::from_unix_nanos(begins),
            gate: UtcTime::from_unix_nanos(begins.saturating_sub(before)),
            entry: None,
        }
    }

    /// What one is told whose order for an interval is taken ahead.
    fn taken_ahead(&self, interval: &Interval, ahead: &AheadTimes) -> Taken {
        let first = interval.index - interval.index % ahead.intervals.max(1);
        let gate = self.rules.interval(first).map(|first| {
            let before = self.rules.on_bench(ahead.gate_ns);
            UtcTime::from_unix_nanos(self.rules.utc_of(&first).saturating_sub(before))
        });
        let taken = self.taken_for(interval);
        Taken {
            gate: gate.unwrap_or(taken.gate),
            ..taken
        }
    }

    fn judge_ahead(&mut self, bid: Bid) -> Answer {
        let open = self.ahead.as_ref().map(|ahead| ahead.next);
        let open = open.ok_or(CounterError::NotAhead)?;
        let index = bid.interval.unwrap_or(open);
        let far = CounterError::TooFar {
            interval: index,
            last: open,
        };
        let interval = self.rules.interval(index).ok_or(far)?;
        let order = bid.order();
        (self.ahead_counter).take(&self.venue, order, interval, open)?;
        let ahead = self.ahead.as_ref().ok_or(CounterError::NotAhead)?;
        Ok(self.taken_ahead(&interval, ahead))
    }

    /// Answers all that has come in; the gates that have closed by now are behind.
    pub(super) fn hear_bids(
        &mut self,
        utc: UtcTime,
        evidence: &mut Evidence,
        says: &mut DeskSays,
    ) -> Result<(), NotDurable> {
        let (mut acts, mut waiting) = (Vec::new(), Vec::new());
        for (bid, answer) in self.bids.take() {
            let judged = match bid.stage {
                Stage::RealTime => self.judge(bid),
                Stage::DayAhead => self.judge_ahead(bid),
                Stage::Intraday => match self.judge_intraday(bid) {
                    Ok((index, act)) => {
                        acts.push((index, act));
                        waiting.push((index, answer));
                        continue;
                    }
                    Err(why) => Err(why),
                },
            };
            if let Err(refusal) = &judged {
                let why = format!("[{}] {refusal}", refusal.code());
                says.events.push(Event::OrderRefused { why });
            }
            // Who does not wait any more will see it on the ledger.
            let _gone = answer.send(judged);
        }
        let results = self.play(utc, acts, evidence, says)?;
        for ((index, answer), entered) in waiting.into_iter().zip(results) {
            let told = |entered: market::venue::intraday::Entered| {
                let executions = entered.executions.iter();
                Entry {
                    traded_mwh: executions.map(|it| i128::from(it.deal.energy.0)).sum(),
                    rests_mwh: entered.rests.0,
                }
            };
            let Some(interval) = self.rules.interval(index) else {
                continue;
            };
            let taken = entered.map(|entered| Taken {
                entry: Some(told(entered)),
                ..self.taken_for(&interval)
            });
            let _gone = answer.send(taken.map_err(CounterError::from));
        }
        Ok(())
    }

    fn judge(&mut self, bid: Bid) -> Answer {
        let open = self.next;
        let index = bid.interval.unwrap_or(open);
        let far = |last| CounterError::TooFar {
            interval: index,
            last,
        };
        let interval = self.rules.interval(index).ok_or_else(|| far(open))?;
        let order = bid.order();
        self.sign_lets(&order.agent)?;
        self.counter.take(&self.venue, order, interval, open)?;
        Ok(self.taken_for(&interval))
    }
}
