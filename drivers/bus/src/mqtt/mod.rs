//! The MQTT bus: messages in, samples out, commands to the devices.
//!
//! Responsible for all devices behind one broker. `codec` and `topic` are the pure
//! parts, `orders` and `dialogue` decide, `link` carries. This file only lets them
//! talk.
//!
//! A broker is no bus with a bit rate: the time in use of [`BusStats`] stays zero.

pub mod codec;
mod dialogue;
pub mod link;
mod orders;
pub mod topic;

use std::sync::Arc;
use std::time::Duration;

use model::{Clock, Instant};
use tokio::sync::mpsc;

use dialogue::{Desk, Dialogue};
use link::{BrokerLink, Heard, Link, MemoryLink, client_id};
use orders::Order;

use crate::can::sleep_until;
use crate::{BusDevice, BusSpec, BusStats, Endpoint, LinkEvent, Sink, WriteJob};

/// Time that urgent commands have when the bus is told to end.
/// Chosen: two seconds, a broker's round trip and a plug's relay many times over.
const END_TIME: Duration = Duration::from_secs(2);

/// Runs the bus until all handles are dropped.
pub(crate) async fn run(
    spec: BusSpec,
    devices: Vec<BusDevice>,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn Sink>,
    jobs: mpsc::Receiver<WriteJob>,
    stats: Arc<BusStats>,
) {
    let seed = spec.seed.to_le_bytes();
    let began = clock.utc().unix_nanos().to_le_bytes();
    let process = std::process::id().to_le_bytes();
    // In memory there is nobody to collide with, and virtual time must repeat itself.
    let id = match spec.endpoint {
        Endpoint::MemoryBroker(_) => client_id(&[spec.id.as_bytes(), &seed]),
        _ => client_id(&[spec.id.as_bytes(), &seed, &began, &process]),
    };
    let reply = format!("gridrig/{id}");
    let desk = desk_at(&*sink, &stats, clock.now());
    let dialogue = Dialogue::new(&devices, spec.timeout, &reply, &desk);
    let name = Arc::clone(&spec.id);
    let bus = Bus {
        name,
        dialogue,
        clock,
        sink,
        stats,
        been_up: false,
    };
    match spec.endpoint {
        Endpoint::MemoryBroker(dials) => {
            bus.serve(MemoryLink::new(dials, spec.seed), jobs).await;
        }
        Endpoint::Broker {
            host,
            port,
            login,
            ca_pem,
        } => match BrokerLink::new(&host, port, login, ca_pem.as_deref(), &id, spec.seed) {
            Ok(link) => bus.serve(link, jobs).await,
            Err(error) => bus.refuse(&error.to_string(), jobs).await,
        },
        Endpoint::Tcp { .. }
        | Endpoint::Serial { .. }
        | Endpoint::SocketCan { .. }
        | Endpoint::Socketcand { .. }
        | Endpoint::Memory(_) => bus.refuse("this endpoint is no MQTT broker", jobs).await,
    }
}

fn desk_at<'a>(sink: &'a dyn Sink, stats: &'a BusStats, now: Instant) -> Desk<'a> {
    Desk { sink, stats, now }
}

struct Bus {
    name: Arc<str>,
    dialogue: Dialogue,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn Sink>,
    stats: Arc<BusStats>,
    been_up: bool,
}

impl Bus {
    async fn serve(mut self, mut link: impl Link, mut jobs: mpsc::Receiver<WriteJob>) {
        for filter in self.dialogue.filters() {
            link.subscribe(&filter);
        }
        let mut end_by = None;
        loop {
            let due = [self.dialogue.next_due(), end_by]
                .into_iter()
                .flatten()
                .min();
            tokio::select! {
                biased;
                job = jobs.recv(), if end_by.is_none() => match job {
                    Some(job) => {
                        let order = Order::from(job);
                        self.with(|dialogue, desk| dialogue.order(order, desk));
                    }
                    None => {
                        end_by = Some(self.clock.now() + END_TIME);
                        self.with(Dialogue::wind_down);
                    }
                },
                heard = link.next() => self.hear(heard),
                () = sleep_until(&*self.clock, due) => {}
            }
            if self.with(Dialogue::tick) {
                link.reset("a command was not acknowledged");
            }
            self.send(&mut link);
            let over = end_by.is_some_and(|by| self.clock.now() >= by);
            if over || end_by.is_some() && !self.dialogue.has_urgent() {
                break;
            }
        }
        self.with(Dialogue::end);
        link.close().await;
    }

    /// A bus that can never work says so for every command, until it is told to end.
    async fn refuse(mut self, why: &str, mut jobs: mpsc::Receiver<WriteJob>) {
        self.notice(format!("MQTT bus {}: {why}", self.name));
        loop {
            let due = self.dialogue.next_due();
            tokio::select! {
                biased;
                job = jobs.recv() => match job {
                    Some(job) => {
                        let event = Order::from(job).missed(model::Stage::Written, why.to_owned());
                        self.sink.event(event);
                    }
                    None => return,
                },
                () = sleep_until(&*self.clock, due) => {}
            }
            self.with(Dialogue::tick);
        }
    }

    fn hear(&mut self, heard: Heard) {
        let now = self.clock.now();
        match heard {
            Heard::Up => {
                if std::mem::replace(&mut self.been_up, true) {
                    BusStats::add(&self.stats.reconnects, 1);
                }
                self.dialogue.link_up(now);
            }
            Heard::Down(error) => {
                self.dialogue.link_down(now);
                self.notice(format!(
                    "MQTT bus {}: {error}; it is tried again",
                    self.name
                ));
            }
            Heard::Message(message) => {
                self.with(|dialogue, desk| dialogue.hear(&message, desk));
            }
            Heard::Acknowledged(token) => {
                self.with(|dialogue, desk| dialogue.acknowledged(token, desk));
            }
            Heard::SubscriptionRefused => self.notice(format!(
                "MQTT bus {}: the broker refuses a subscription: check the access rights of the login",
                self.name
            )),
        }
    }

    /// Sends all that is due. A message that finds no connection is lost, as it should be:
    /// the link says that it is down, and a command that is still wanted waits again.
    fn send(&mut self, link: &mut impl Link) {
        while let Some(message) = self.with(Dialogue::next_outgoing) {
            let sent = link.publish(message.token, &message.topic, message.payload.as_bytes());
            if sent.is_err() {
                self.dialogue.link_down(self.clock.now());
                return;
            }
            BusStats::add(&self.stats.requests, 1);
        }
    }

    fn with<R>(&mut self, act: impl FnOnce(&mut Dialogue, &Desk<'_>) -> R) -> R {
        let desk = desk_at(&*self.sink, &self.stats, self.clock.now());
        act(&mut self.dialogue, &desk)
    }

    fn notice(&self, text: String) {
        self.sink.event(LinkEvent::Notice { device: None, text });
    }
}

#[cfg(test)]
mod tests;
