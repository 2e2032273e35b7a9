//! The MQTT bus: messages in, samples out, commands to the devices.
//!
//! Responsible for all devices behind one broker. `codec` and `topic` are the pure
//! parts, `orders` and `dialogue` decide, `link` carries. This file only lets them
//! talk. While the bench is not armed, devices are asked for their state (a profile's
//! requests), and nothing else is published.
//!
//! A broker is no bus with a bit rate: the time in use of [`BusStats`] stays zero.

pub mod codec;
mod dialogue;
pub mod link;
mod orders;
pub mod scan;
pub mod topic;

use std::sync::Arc;

use model::{Clock, Instant};

use dialogue::{Desk, Dialogue};
use link::{BrokerLink, Heard, Link, MemoryLink, client_id};
use orders::Order;

use crate::arming::{Door, Passed, timer};
use crate::can::sleep_until;
use crate::port::Job;
use crate::{AdoptJob, BusDevice, BusSpec, BusStats, Endpoint, LinkEvent, Sink, Traffic};

/// Runs the bus until all handles and its writer are dropped.
pub(crate) async fn run(
    spec: BusSpec,
    devices: Vec<BusDevice>,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn Sink>,
    door: Door<Job>,
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
            bus.serve(MemoryLink::new(dials, spec.seed), door).await;
        }
        Endpoint::Broker(broker) => match BrokerLink::new(&broker, &id, spec.seed) {
            Ok(link) => bus.serve(link, door).await,
            Err(error) => bus.refuse(&error.to_string(), door).await,
        },
        Endpoint::Tcp { .. }
        | Endpoint::Serial { .. }
        | Endpoint::SocketCan { .. }
        | Endpoint::Socketcand { .. }
        | Endpoint::Slcan { .. }
        | Endpoint::VirtualCan { .. }
        | Endpoint::Memory(_) => bus.refuse("this endpoint is no MQTT broker", door).await,
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
    async fn serve(mut self, mut link: impl Link, mut door: Door<Job>) {
        for filter in self.dialogue.filters() {
            link.subscribe(&filter);
        }
        loop {
            let due = self.dialogue.next_due();
            let closes_by = door.closes_by();
            tokio::select! {
                biased;
                passed = door.next() => self.pass(passed),
                () = timer(closes_by) => {}
                heard = link.next() => self.hear(heard),
                () = sleep_until(&*self.clock, due) => {}
            }
            if self.with(Dialogue::tick) {
                link.reset("a command was not acknowledged");
            }
            self.send(&mut link);
            if door.is_to_shut(self.dialogue.has_urgent()) {
                self.with(Dialogue::shut);
                door.shut();
            }
            if door.is_over() {
                break;
            }
        }
        link.close().await;
    }

    fn pass(&mut self, passed: Passed<Job>) {
        match passed {
            Passed::Order(Job::Write(job)) => {
                let order = Order::from(job);
                self.with(|dialogue, desk| dialogue.order(order, desk));
            }
            Passed::Order(Job::Adopt(job)) => self.sink.event(no_characteristic(&job)),
            Passed::Closing => self.with(Dialogue::wind_down),
            // Without an order there is nothing that could be commanded.
            Passed::Opened(_) | Passed::Ending => {}
        }
    }

    /// A bus that can never work says so for every command, until it is told to end.
    async fn refuse(mut self, why: &str, mut door: Door<Job>) {
        self.notice(format!("MQTT bus {}: {why}", self.name));
        loop {
            let due = self.dialogue.next_due();
            tokio::select! {
                biased;
                passed = door.next() => match passed {
                    Passed::Order(Job::Adopt(job)) => self.sink.event(no_characteristic(&job)),
                    Passed::Order(Job::Write(job)) => {
                        let event = Order::from(job).missed(model::Stage::Written, why.to_owned());
                        self.sink.event(event);
                    }
                    Passed::Closing => door.shut(),
                    Passed::Opened(_) => {}
                    Passed::Ending => return,
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
                self.sink.traffic(Traffic::Mqtt {
                    topic: &message.topic,
                    payload: &message.payload,
                    retain: message.retain,
                    is_ours: false,
                });
                self.with(|dialogue, desk| dialogue.hear(&message, desk));
            }
            Heard::Acknowledged(token) => {
                self.with(|dialogue, desk| dialogue.acknowledged(token, desk));
            }
            Heard::Barred { filter, bytes } => {
                self.dialogue.link_down(now);
                self.notice(format!(
                    "MQTT bus {}: topic {filter} brings a message of {bytes} bytes, above the {} MiB \
                     that are taken: it is not listened to any more in this run; if the broker keeps \
                     the message, publish an empty one in its place (retained)",
                    self.name,
                    link::INCOMING_BYTES_MAX >> 20
                ));
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
            self.sink.traffic(Traffic::Mqtt {
                topic: &message.topic,
                payload: message.payload.as_bytes(),
                retain: false,
                is_ours: true,
            });
            BusStats::add(&self.stats.requests, 1);
            self.stats.add_to(message.device, |d| &d.requests, 1);
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

/// Devices over MQTT follow no characteristic by themselves.
fn no_characteristic(job: &AdoptJob) -> LinkEvent {
    LinkEvent::Missed {
        dispatch: job.dispatch,
        device: job.device,
        stage: model::Stage::Written,
        why: "a device over MQTT has no SunSpec models and can adopt no characteristic".to_owned(),
    }
}

#[cfg(test)]
mod tests;
