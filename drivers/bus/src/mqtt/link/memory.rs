//! A link to a broker in the same process, for virtual time.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use profile::mqtt::{Message, ToBroker};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::{Heard, Link, LinkError, NotSent, Token};
use crate::can::Backoff;

/// Time after which a dial or a message counts as taken if the broker is still there.
/// Chosen: 1 ms, a round trip; a broker that drops its ends at once has taken nothing.
const ROUND_TRIP: Duration = Duration::from_millis(1);

/// Where the far ends of a connection are sent at each dial.
pub type Dials = mpsc::UnboundedSender<(
    mpsc::UnboundedReceiver<ToBroker>,
    mpsc::UnboundedSender<Message>,
)>;

struct Open {
    to_broker: mpsc::UnboundedSender<ToBroker>,
    from_broker: mpsc::UnboundedReceiver<Message>,
    /// Messages under way, and when each counts as taken.
    under_way: VecDeque<(Instant, Token)>,
}

impl Open {
    /// What comes next; `None` when the broker is gone. Safe to drop while it waits.
    async fn next(&mut self) -> Option<Heard> {
        let oldest = self.under_way.front().copied();
        let acknowledged = async {
            match oldest {
                Some((taken_at, token)) => {
                    sleep_until(taken_at).await;
                    token
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            message = self.from_broker.recv() => message.map(Heard::Message),
            () = self.to_broker.closed() => None,
            token = acknowledged => {
                self.under_way.pop_front();
                Some(Heard::Acknowledged(token))
            }
        }
    }
}

enum State {
    Waiting(Instant),
    /// Dialled; the broker has until then to drop its ends.
    Dialled(Open, Instant),
    Up(Open),
    /// Given up by the caller, not told yet.
    GivenUp(LinkError),
}

/// A link over channels. A broker that drops its ends has lost its power.
pub struct MemoryLink {
    dials: Dials,
    filters: BTreeSet<String>,
    backoff: Backoff,
    state: State,
    told: bool,
}

impl MemoryLink {
    /// A link that dials here.
    #[must_use]
    pub fn new(dials: Dials, seed: u64) -> Self {
        Self {
            dials,
            filters: BTreeSet::new(),
            backoff: Backoff::new(super::broker::WAIT_FIRST, super::broker::WAIT_MOST, seed),
            state: State::Waiting(Instant::now()),
            told: false,
        }
    }

    fn dial(&mut self) -> Result<Open, LinkError> {
        let (to_broker, far_in) = mpsc::unbounded_channel();
        let (far_out, from_broker) = mpsc::unbounded_channel();
        self.dials
            .send((far_in, far_out))
            .map_err(|_| LinkError::Closed)?;
        for filter in &self.filters {
            to_broker
                .send(ToBroker::Subscribe(filter.clone()))
                .map_err(|_| LinkError::Closed)?;
        }
        Ok(Open {
            to_broker,
            from_broker,
            under_way: VecDeque::new(),
        })
    }

    fn lost(&mut self, error: LinkError) -> Option<Heard> {
        let wait: Duration = self.backoff.wait();
        self.state = State::Waiting(Instant::now() + wait);
        (!std::mem::replace(&mut self.told, true)).then_some(Heard::Down(error))
    }
}

impl Link for MemoryLink {
    fn subscribe(&mut self, filter: &str) {
        if self.filters.insert(filter.to_owned())
            && let State::Up(open) | State::Dialled(open, _) = &self.state
        {
            // A broker that is gone hears it when it is back: `dial` repeats all filters.
            let _ = open.to_broker.send(ToBroker::Subscribe(filter.to_owned()));
        }
    }

    fn publish(
        &mut self,
        token: Option<Token>,
        topic: &str,
        payload: &[u8],
    ) -> Result<(), NotSent> {
        let State::Up(open) = &mut self.state else {
            return Err(NotSent);
        };
        open.to_broker
            .send(ToBroker::Publish(Message {
                topic: topic.to_owned(),
                payload: payload.to_vec(),
                retain: false,
            }))
            .map_err(|_| NotSent)?;
        let taken_at = Instant::now() + ROUND_TRIP;
        open.under_way.extend(token.map(|token| (taken_at, token)));
        Ok(())
    }

    async fn next(&mut self) -> Heard {
        loop {
            match &mut self.state {
                State::Waiting(until) => {
                    sleep_until(*until).await;
                    match self.dial() {
                        Ok(open) => {
                            self.state = State::Dialled(open, Instant::now() + ROUND_TRIP);
                        }
                        Err(error) => {
                            if let Some(heard) = self.lost(error) {
                                return heard;
                            }
                        }
                    }
                }
                State::Dialled(open, until) => {
                    sleep_until(*until).await;
                    if open.to_broker.is_closed() {
                        if let Some(heard) = self.lost(LinkError::Closed) {
                            return heard;
                        }
                        continue;
                    }
                    let given_up = State::GivenUp(LinkError::Closed);
                    if let State::Dialled(open, _) = std::mem::replace(&mut self.state, given_up) {
                        self.state = State::Up(open);
                    }
                    self.told = false;
                    return Heard::Up;
                }
                State::GivenUp(error) => {
                    let error = error.clone();
                    if let Some(heard) = self.lost(error) {
                        return heard;
                    }
                }
                State::Up(open) => {
                    if let Some(heard) = open.next().await {
                        self.backoff.reset();
                        return heard;
                    }
                    if let Some(heard) = self.lost(LinkError::Closed) {
                        return heard;
                    }
                }
            }
        }
    }

    fn reset(&mut self, why: &str) {
        if matches!(self.state, State::Up(_)) {
            self.state = State::GivenUp(LinkError::GivenUp {
                why: why.to_owned(),
            });
        }
    }

    /// Dropping the channel ends is all there is to closing.
    async fn close(self) {}
}
