//! Home Assistant: the bench's points announced by MQTT discovery, and their values.
//!
//! One configuration per device is kept at the broker, under `PREFIX/device/gridrig-NODE/…/config`;
//! the values of a device are one message at a time, never kept. It is shown there and commanded
//! nowhere: no entity that takes commands is ever announced, and nothing that comes in is an order.
//!
//! A sink of its own thread and its own connection. A broker that is slow or away costs values
//! there and nothing else: the queue of rows is bounded and drops, of each point only the latest
//! value is kept, and no more than a few messages are under way at once.
//!
//! Whether we are there is said by the broker itself, by our last will. What is not known, because
//! a read failed or no sample came in time, is `null`, which the announced templates make
//! unavailable.

mod board;
mod entity;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bus::mqtt::link::{Broker, BrokerLink, Heard, Link, LinkError, Token, client_id};
use model::{Instant as ControlInstant, Point};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval};

use super::line::{Row, values_in};
use super::{Counts, TelemetryError};
use board::Board;

/// Messages that may be under way without the broker's acknowledgement.
/// Chosen: 16, a quarter of what the link can queue.
const UNDER_WAY_MAX: usize = 16;
/// Time after which a broker that does not acknowledge is given up.
/// Chosen: 10 s, two of the link's keep-alives.
const ACKNOWLEDGE_WAIT: Duration = Duration::from_secs(10);
/// How often is looked for what is due. Chosen: a tenth of a second, as the usual cycle.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Batches of rows that may wait on a real bench. Chosen: 1024, over a minute of 100 ms cycles.
const BATCHES_WAITING_MAX: usize = 1_024;
/// Grace of the thread beyond the time that it has for its end. Chosen: 2 s.
const END_GRACE: Duration = Duration::from_secs(2);

/// A device as it is announced.
#[derive(Clone, Debug, PartialEq)]
pub struct HomeDevice {
    /// Name in the rig.
    pub name: String,
    /// What it is.
    pub title: String,
    /// Its points, each with the age above which its value does not count; `None` = read once.
    pub points: Vec<(Point, Option<Duration>)>,
}

/// Where Home Assistant listens, and what it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct HomeConfig {
    /// Its broker; its status topic is the one that the announcements name.
    pub broker: Broker,
    /// First level of the topics of discovery.
    pub prefix: String,
    /// The rig's own name at a broker.
    pub node: String,
    /// How often the values of a device are told.
    pub every: Duration,
    /// The devices, in the order of the rig.
    pub devices: Vec<HomeDevice>,
    /// Names of the rig's alarms.
    pub alarms: Vec<String>,
}

impl HomeConfig {
    /// Topic on which the broker keeps whether we are there.
    #[must_use]
    pub fn status_of(node: &str) -> String {
        format!("gridrig/{node}/status")
    }

    fn status(&self) -> String {
        Self::status_of(&self.node)
    }

    /// Under which all our configurations are.
    fn branch(&self) -> String {
        format!("{}/device/gridrig-{}", self.prefix, self.node)
    }
}

/// What became of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Raised,
    Acknowledged,
    Cleared,
}

enum Message {
    Rows(ControlInstant, Arc<[Row]>),
    Finish(Duration),
}

/// The sending end of the sink.
pub(super) struct Home {
    queue: mpsc::Sender<Message>,
    alarms: mpsc::UnboundedSender<(String, Turn)>,
    counts: Arc<Counts>,
    ended: Receiver<()>,
    thread: JoinHandle<()>,
}

impl Home {
    /// Starts the thread; the broker need not be there.
    ///
    /// # Errors
    /// When a certificate cannot be used, or a thread cannot be started.
    pub(super) fn start(config: &HomeConfig) -> Result<Self, TelemetryError> {
        // The process tells two benches of one name apart, at one broker and in their waits.
        let process = std::process::id();
        let id = client_id(&[
            b"homeassistant",
            config.node.as_bytes(),
            &process.to_le_bytes(),
        ]);
        let link =
            BrokerLink::new(&config.broker, &id, process.into()).map_err(TelemetryError::Broker)?;
        let counts = Arc::new(Counts::default());
        let (queue, messages) = mpsc::channel(BATCHES_WAITING_MAX);
        let (alarms, raised) = mpsc::unbounded_channel();
        let teller = Teller {
            board: Board::new(config, Instant::now()),
            birth: format!("{}/status", config.prefix),
            branch: config.branch(),
            counts: Arc::clone(&counts),
            up: false,
            under_way: BTreeMap::new(),
            next_token: 0,
        };
        let (end, ended) = sync_channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(TelemetryError::Thread)?;
        let thread = std::thread::Builder::new()
            .name("telemetry-home".into())
            .spawn(move || {
                runtime.block_on(teller.run(link, messages, raised));
                let _ = end.try_send(());
            })
            .map_err(TelemetryError::Thread)?;
        Ok(Self {
            queue,
            alarms,
            counts,
            ended,
            thread,
        })
    }

    /// Hands rows over, or counts them as lost; never waits.
    pub(super) fn rows(&self, now: ControlInstant, rows: Arc<[Row]>) {
        let values = values_in(&rows);
        Counts::add(&self.counts.taken, values);
        if self.queue.try_send(Message::Rows(now, rows)).is_err() {
            Counts::add(&self.counts.lost, values);
        }
    }

    /// Hands over what became of an alarm; never waits. An alarm flaps once a cycle at most,
    /// so those that wait need no bound.
    pub(super) fn alarm(&self, name: &str, turn: Turn) {
        // A thread that has ended has told why.
        let _ = self.alarms.send((name.to_owned(), turn));
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Says that we go, and ends the thread within `within`.
    pub(super) fn finish(self, within: Duration) -> Arc<Counts> {
        // A queue that is full is closed instead, which ends the thread as well.
        let _ = self.queue.try_send(Message::Finish(within));
        drop(self.queue);
        if self.ended.recv_timeout(within + END_GRACE) != Err(RecvTimeoutError::Timeout) {
            let _ = self.thread.join();
        }
        self.counts
    }
}

/// The thread's side.
struct Teller {
    board: Board,
    /// Where Home Assistant says that it has started.
    birth: String,
    branch: String,
    counts: Arc<Counts>,
    up: bool,
    /// Since when a message waits for its acknowledgement, and how many values it tells.
    under_way: BTreeMap<Token, (Instant, u64)>,
    next_token: u64,
}

impl Teller {
    async fn run(
        mut self,
        mut link: BrokerLink,
        mut messages: mpsc::Receiver<Message>,
        mut alarms: mpsc::UnboundedReceiver<(String, Turn)>,
    ) {
        link.subscribe(&self.birth);
        link.subscribe(&format!("{}/+/config", self.branch));
        let mut look = interval(LOOK_EVERY);
        let within = loop {
            tokio::select! {
                message = messages.recv() => match message {
                    Some(Message::Rows(now, rows)) => self.board.take(&rows, now, Instant::now()),
                    Some(Message::Finish(within)) => break within,
                    None => break Duration::from_secs(1),
                },
                Some((name, turn)) = alarms.recv() => self.board.alarm(&name, turn, Instant::now()),
                heard = link.next() => self.hear(heard),
                _ = look.tick() => {}
            }
            self.tell(&mut link);
        };
        // Says `offline`, which an orderly end would otherwise keep the broker from saying.
        let _ = tokio::time::timeout(within, link.close()).await;
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Up => {
                self.up = true;
                self.under_way.clear();
                self.board.announce();
            }
            Heard::Down(error) => {
                self.up = false;
                tell_outage(&error);
            }
            Heard::Message(message) if message.topic == self.birth => {
                // A kept one is old news; we announce at every connection anyway.
                if !message.retain && message.payload == b"online" {
                    self.board.announce();
                }
            }
            // What is not kept is the echo of our own.
            Heard::Message(message) if message.retain => {
                self.board.find(&message.topic, &message.payload);
            }
            Heard::Message(_) => {}
            Heard::Acknowledged(token) => {
                if let Some((_, values)) = self.under_way.remove(&token) {
                    Counts::add(&self.counts.written, values);
                }
            }
            Heard::SubscriptionRefused => tracing::warn!(
                "The broker of Home Assistant refuses a subscription: check the access rights of the login."
            ),
            Heard::Barred { filter, bytes } => {
                self.up = false;
                tracing::warn!(
                    message = "The broker of Home Assistant keeps a message that is too large.",
                    filter,
                    bytes
                );
            }
        }
    }

    /// Publishes what is due, as far as the broker keeps up.
    fn tell(&mut self, link: &mut BrokerLink) {
        if !self.up {
            return;
        }
        let now = Instant::now();
        let oldest = self.under_way.values().map(|(since, _)| *since).min();
        if oldest.is_some_and(|since| now - since > ACKNOWLEDGE_WAIT) {
            self.up = false;
            link.reset("it does not acknowledge");
            return;
        }
        while self.under_way.len() < UNDER_WAY_MAX {
            let Some(post) = self.board.next(now) else {
                return;
            };
            let token = Token(self.next_token);
            self.next_token += 1;
            let sent = if post.kept {
                link.keep(Some(token), &post.topic, post.payload.as_bytes())
            } else {
                link.publish(Some(token), &post.topic, post.payload.as_bytes())
            };
            if sent.is_err() {
                // All is announced anew with the next connection.
                self.up = false;
                return;
            }
            self.under_way.insert(token, (now, post.values));
        }
    }
}

fn tell_outage(error: &LinkError) {
    tracing::warn!(message = "The broker of Home Assistant cannot be used; it is tried again.", %error);
}
