//! Commands on their way: which wait, which are out, which were carried out.
//!
//! Pure; time is an argument. Per device and point the last wish wins. A command that
//! is not out by its deadline is never sent. One that is out counts as done only when
//! the device's own state topic says so.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{DeviceIx, Instant, Point, Stage};

use super::link::Token;
use crate::LinkEvent;
pub(crate) use crate::port::Order;

impl Order {
    pub(crate) fn missed(&self, stage: Stage, why: String) -> LinkEvent {
        LinkEvent::Missed {
            dispatch: self.dispatch,
            device: self.device,
            stage,
            why,
        }
    }

    fn confirmed(&self, stage: Stage, at: Instant) -> LinkEvent {
        LinkEvent::Confirmed {
            dispatch: self.dispatch,
            device: self.device,
            stage,
            at,
        }
    }
}

/// What is to be set on a device.
pub(crate) type Key = (DeviceIx, Point);

/// What a point shall be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Wish {
    /// In the base unit, as it is said to the device; a switch is 0 or 1.
    pub(crate) value: f64,
    /// Largest difference of what the device then reports.
    pub(crate) tolerance: f64,
}

impl Wish {
    /// Whether a report of the device fulfils it.
    pub(crate) fn is(&self, reported: f64) -> bool {
        (reported - self.value).abs() <= self.tolerance
    }
}

/// A command that is out.
#[derive(Clone, Copy, Debug)]
struct Sent {
    order: Order,
    wish: Wish,
    token: Token,
    at: Instant,
    confirm_until: Instant,
    written: bool,
    /// Connection on which it went out.
    session: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    waiting: Option<(Order, Wish)>,
    sent: Option<Sent>,
}

/// What became of commands at an instant.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) events: Vec<LinkEvent>,
    /// Devices of commands that were dropped because they came too late.
    pub(crate) expired: Vec<DeviceIx>,
    /// Devices that did not confirm a command.
    pub(crate) unconfirmed: Vec<DeviceIx>,
    /// The broker of the present connection owes an acknowledgement: the connection is dead.
    pub(crate) dead_connection: bool,
}

/// All commands of a bus.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    slots: BTreeMap<Key, Slot>,
    tokens: u64,
    session: u64,
}

impl Orders {
    /// Takes a command in; one that still waits for the same point is dropped.
    pub(crate) fn take(&mut self, point: Point, order: Order, wish: Wish) -> Option<LinkEvent> {
        let slot = self.slots.entry((order.device, point)).or_default();
        slot.waiting
            .replace((order, wish))
            .map(|(old, _)| old.missed(Stage::Written, superseded(&order)))
    }

    /// The next command to send among the points that are ready: urgent ones first, then the oldest.
    pub(crate) fn next_ready(
        &self,
        now: Instant,
        ready: impl Fn(DeviceIx) -> bool,
    ) -> Option<(Key, Order, Wish)> {
        self.slots
            .iter()
            .filter_map(|(key, slot)| slot.waiting.map(|(order, wish)| (*key, order, wish)))
            .filter(|(key, order, _)| now <= order.valid_until && ready(key.0))
            .min_by_key(|(_, order, _)| (!order.urgent, order.dispatch))
    }

    /// A name for the next message.
    pub(crate) fn next_token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    /// The waiting command of a point has gone out; an older one that was out is given up.
    pub(crate) fn sent(
        &mut self,
        key: Key,
        token: Token,
        now: Instant,
        confirm_within: Duration,
    ) -> Option<LinkEvent> {
        let session = self.session;
        let slot = self.slots.get_mut(&key)?;
        let (order, wish) = slot.waiting.take()?;
        slot.sent
            .replace(Sent {
                order,
                wish,
                token,
                at: now,
                confirm_until: now + confirm_within,
                written: false,
                session,
            })
            .map(|old| old.order.missed(missing_stage(&old), superseded(&order)))
    }

    /// The broker has taken a message.
    pub(crate) fn acknowledged(&mut self, token: Token, now: Instant) -> Option<LinkEvent> {
        let sent = self
            .slots
            .values_mut()
            .filter_map(|slot| slot.sent.as_mut())
            .find(|sent| sent.token == token && !sent.written)?;
        sent.written = true;
        Some(sent.order.confirmed(Stage::Written, now))
    }

    /// Time since a command went out that a report of the device confirms.
    pub(crate) fn confirmed_after(
        &self,
        key: Key,
        reported: f64,
        now: Instant,
    ) -> Option<Duration> {
        let sent = self.slots.get(&key)?.sent?;
        sent.wish.is(reported).then(|| now.since(sent.at))
    }

    /// The device says what a point is now; whether that confirms a command, and events for it.
    pub(crate) fn state(&mut self, key: Key, reported: f64, now: Instant) -> Vec<LinkEvent> {
        let Some(slot) = self.slots.get_mut(&key) else {
            return Vec::new();
        };
        let Some(sent) = slot.sent.filter(|sent| sent.wish.is(reported)) else {
            return Vec::new();
        };
        slot.sent = None;
        let mut events = Vec::new();
        if !sent.written {
            // The device was faster than the broker's acknowledgement.
            events.push(sent.order.confirmed(Stage::Written, now));
        }
        events.push(sent.order.confirmed(Stage::Register, now));
        events
    }

    /// A connection was made.
    pub(crate) fn link_up(&mut self) {
        self.session += 1;
    }

    /// The connection is lost: what the broker has not taken waits again, while it is not late.
    pub(crate) fn link_down(&mut self, now: Instant) {
        for slot in self.slots.values_mut() {
            if let Some(sent) = slot.sent
                && !sent.written
                && now <= sent.order.valid_until
                && slot.waiting.is_none()
            {
                slot.waiting = Some((sent.order, sent.wish));
                slot.sent = None;
            }
        }
    }

    /// What is over by now. `name` is a device's name in the rig.
    pub(crate) fn tick<'a>(&mut self, now: Instant, name: impl Fn(DeviceIx) -> &'a str) -> Outcome {
        let mut outcome = Outcome::default();
        for ((device, point), slot) in &mut self.slots {
            if let Some((order, _)) = slot.waiting
                && now > order.valid_until
            {
                slot.waiting = None;
                outcome.expired.push(*device);
                outcome.events.push(order.missed(
                    Stage::Written,
                    format!(
                        "{}: {point} expired before it could be sent: broker or device is away",
                        name(*device)
                    ),
                ));
            }
            if let Some(sent) = slot.sent
                && now >= sent.confirm_until
            {
                slot.sent = None;
                outcome.unconfirmed.push(*device);
                outcome.dead_connection |= !sent.written && sent.session == self.session;
                let why = if sent.written {
                    "the device did not report it in time: check its state topic, whether it is locked, and \
                     that the broker lets this login publish its commands"
                } else {
                    "the broker did not acknowledge it in time"
                };
                outcome.events.push(sent.order.missed(
                    missing_stage(&sent),
                    format!("{}: {point}: {why}", name(*device)),
                ));
            }
        }
        self.slots
            .retain(|_, slot| slot.waiting.is_some() || slot.sent.is_some());
        outcome
    }

    /// When the next command is over.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.slots
            .values()
            .flat_map(|slot| {
                // Valid at its deadline still, so over just after it.
                let expiry = slot
                    .waiting
                    .map(|(order, _)| order.valid_until + Duration::from_nanos(1));
                [expiry, slot.sent.map(|sent| sent.confirm_until)]
            })
            .flatten()
            .min()
    }

    /// Whether an urgent command is still to be sent or confirmed.
    pub(crate) fn has_urgent(&self) -> bool {
        self.slots.values().any(|slot| {
            slot.waiting.is_some_and(|(order, _)| order.urgent)
                || slot.sent.is_some_and(|sent| sent.order.urgent)
        })
    }

    /// Drops commands: all, or those that are not urgent and have not gone out.
    pub(crate) fn drop_all(&mut self, only_idle: bool, why: &str) -> Vec<LinkEvent> {
        let mut events = Vec::new();
        for slot in self.slots.values_mut() {
            if let Some((order, _)) = slot.waiting
                && !(only_idle && order.urgent)
            {
                slot.waiting = None;
                events.push(order.missed(Stage::Written, why.to_owned()));
            }
            if let Some(sent) = slot.sent.filter(|_| !only_idle) {
                slot.sent = None;
                events.push(sent.order.missed(missing_stage(&sent), why.to_owned()));
            }
        }
        events
    }
}

fn superseded(by: &Order) -> String {
    format!("superseded by dispatch {}", by.dispatch.0)
}

fn missing_stage(sent: &Sent) -> Stage {
    if sent.written {
        Stage::Register
    } else {
        Stage::Written
    }
}

#[cfg(test)]
mod tests;
