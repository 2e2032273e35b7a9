//! A link to a broker in the same process, for virtual time.

use std::collections::BTreeSet;
use std::time::Duration;

use profile::mqtt::{Message, ToBroker};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::{Heard, Link, LinkError, NotSent, Token};
use crate::can::Backoff;

/// Where the far ends of a connection are sent at each dial.
pub type Dials = mpsc::UnboundedSender<(
    mpsc::UnboundedReceiver<ToBroker>,
    mpsc::UnboundedSender<Message>,
)>;

struct Open {
    to_broker: mpsc::UnboundedSender<ToBroker>,
    from_broker: mpsc::UnboundedReceiver<Message>,
    /// Messages that the broker has taken and that are not told yet.
    taken: std::collections::VecDeque<Token>,
}

enum State {
    Waiting(Instant),
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
            taken: std::collections::VecDeque::new(),
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
            && let State::Up(open) = &self.state
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
        open.taken.extend(token);
        Ok(())
    }

    async fn next(&mut self) -> Heard {
        loop {
            match &mut self.state {
                State::Waiting(until) => {
                    sleep_until(*until).await;
                    match self.dial() {
                        Ok(open) => {
                            self.state = State::Up(open);
                            self.told = false;
                            return Heard::Up;
                        }
                        Err(error) => {
                            if let Some(heard) = self.lost(error) {
                                return heard;
                            }
                        }
                    }
                }
                State::GivenUp(error) => {
                    let error = error.clone();
                    if let Some(heard) = self.lost(error) {
                        return heard;
                    }
                }
                State::Up(open) => {
                    if let Some(token) = open.taken.pop_front() {
                        return Heard::Acknowledged(token);
                    }
                    let message = tokio::select! {
                        biased;
                        message = open.from_broker.recv() => message,
                        () = open.to_broker.closed() => None,
                    };
                    match message {
                        Some(message) => {
                            self.backoff.reset();
                            return Heard::Message(message);
                        }
                        None => {
                            if let Some(heard) = self.lost(LinkError::Closed) {
                                return heard;
                            }
                        }
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
