//! What is known of each point, and which message is due: no connection, no clock of its own.
//!
//! Only the latest value of a point is kept. A broker that is slow or away therefore costs
//! nothing here: what was not told in time is replaced by what is true now.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Flaw, Instant as ControlInstant, Reading};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::super::line::Row;
use super::entity::{Shown, Topics, component, object_id};
use super::{HomeConfig, HomeDevice, Turn};

/// Time between a configuration and the first values after it.
/// Chosen: a second, in which Home Assistant subscribes to what the configuration names.
const SETTLE: Duration = Duration::from_secs(1);
/// Shortest time between two states of a device. Chosen: a second; only a point that came or
/// went is told before its turn.
const STATE_GAP: Duration = Duration::from_secs(1);

/// Name of the device there that shows the alarms of the rig.
const ALARMS: &str = "_alarms";

/// A message that is due.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Post {
    pub(super) topic: String,
    pub(super) payload: String,
    /// Whether the broker keeps it.
    pub(super) kept: bool,
    /// How many values it tells.
    pub(super) values: u64,
}

/// What is known of a point.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Known {
    /// Nothing, or the latest attempt failed.
    Nothing,
    /// The device has said that it does not have it, and never said a value.
    Absent,
    /// This, at that time.
    Good(f64, Instant),
}

struct Slot {
    shown: Shown,
    age_max: Option<Duration>,
    known: Known,
}

impl Slot {
    fn value(&self, now: Instant) -> Option<f64> {
        match self.known {
            Known::Good(value, at) => {
                let fresh = self.age_max.is_none_or(|age_max| now - at <= age_max);
                fresh.then_some(value)
            }
            Known::Nothing | Known::Absent => None,
        }
    }
}

/// One device of the rig.
struct Card {
    id: String,
    name: String,
    model: String,
    config_topic: String,
    state_topic: String,
    slots: Vec<Slot>,
    /// Entities of an earlier run that are there no more, with their platforms.
    gone: BTreeMap<String, String>,
    config_due: bool,
    state_due: Instant,
    told_at: Option<Instant>,
    /// Which points had a value when it was last told.
    told: Vec<bool>,
}

/// All devices, and what is to be forgotten.
pub(super) struct Board {
    cards: Vec<Card>,
    status: String,
    every: Duration,
    /// Topics of earlier devices whose configuration the broker still keeps.
    forget: Vec<String>,
    /// Where the search for the next message goes on, so that no device waits for ever.
    turn: usize,
}

impl Board {
    pub(super) fn new(config: &HomeConfig, now: Instant) -> Self {
        let card = |device: &HomeDevice| {
            let object = object_id(&device.name);
            Card {
                id: format!("gridrig-{}-{object}", config.node),
                name: device.name.clone(),
                model: device.title.clone(),
                config_topic: format!("{}/{object}/config", config.branch()),
                state_topic: format!("gridrig/{}/device/{object}/state", config.node),
                slots: device
                    .points
                    .iter()
                    .map(|(point, age_max)| Slot {
                        shown: Shown::Point(*point),
                        age_max: *age_max,
                        known: Known::Nothing,
                    })
                    .collect(),
                gone: BTreeMap::new(),
                config_due: true,
                state_due: now,
                told_at: None,
                told: Vec::new(),
            }
        };
        let mut cards: Vec<Card> = config.devices.iter().map(card).collect();
        if !config.alarms.is_empty() {
            // No device of a rig can be called so.
            let mut bench = card(&HomeDevice {
                name: ALARMS.to_owned(),
                title: "alarms of the bench".to_owned(),
                points: Vec::new(),
            });
            bench.name = format!("{} alarms", config.node);
            bench.slots = config
                .alarms
                .iter()
                .flat_map(|name| [Shown::Alarm(name.clone()), Shown::seen(name)])
                .map(|shown| Slot {
                    shown,
                    age_max: None,
                    known: Known::Good(0.0, now),
                })
                .collect();
            cards.push(bench);
        }
        Self {
            cards,
            status: config.status(),
            every: config.every,
            forget: Vec::new(),
            turn: 0,
        }
    }

    /// Takes samples in; `control_now` and `now` are one moment.
    pub(super) fn take(&mut self, rows: &[Row], control_now: ControlInstant, now: Instant) {
        for row in rows {
            let (point, sample) = (row.sample.point, row.sample.sample);
            let Some(card) = self.cards.get_mut(row.sample.device.index()) else {
                continue;
            };
            let shown = Shown::Point(point);
            let Some(slot) = card.slots.iter_mut().find(|s| s.shown == shown) else {
                continue;
            };
            let age = control_now.since(sample.measured_at);
            let was_absent = slot.known == Known::Absent;
            slot.known = match sample.reading {
                Reading::Good(value) if value.is_finite() => {
                    Known::Good(value, now.checked_sub(age).unwrap_or(now))
                }
                Reading::Bad(Flaw::NotImplemented) if !matches!(slot.known, Known::Good(..)) => {
                    Known::Absent
                }
                Reading::Good(_) | Reading::Bad(_) => Known::Nothing,
            };
            card.config_due |= was_absent != (slot.known == Known::Absent);
        }
    }

    /// Takes in what became of an alarm; it is told at once. One that is raised anew, or is over, waits to be seen.
    pub(super) fn alarm(&mut self, name: &str, turn: Turn, now: Instant) {
        for card in &mut self.cards {
            for slot in &mut card.slots {
                let is_on = match (&slot.shown, turn) {
                    (Shown::Alarm(alarm), Turn::Raised | Turn::Cleared) if alarm == name => {
                        turn == Turn::Raised
                    }
                    (Shown::Seen(alarm, _), _) if alarm == name => turn == Turn::Acknowledged,
                    _ => continue,
                };
                slot.known = Known::Good(f64::from(u8::from(is_on)), now);
                card.state_due = card.state_due.min(now);
            }
        }
    }

    /// All configurations, and then all states, are due: we came back, or Home Assistant did.
    pub(super) fn announce(&mut self) {
        for card in &mut self.cards {
            card.config_due = true;
        }
    }

    /// Looks at a configuration of this rig that the broker had kept from an earlier run.
    pub(super) fn find(&mut self, topic: &str, payload: &[u8]) {
        if payload.is_empty() {
            return;
        }
        let Some(card) = self.cards.iter_mut().find(|c| c.config_topic == topic) else {
            if !self.forget.iter().any(|known| known == topic) {
                self.forget.push(topic.to_owned());
            }
            return;
        };
        let Ok(config) = serde_json::from_slice::<Value>(payload) else {
            return;
        };
        let Some(components) = config["components"].as_object() else {
            return;
        };
        for (name, component) in components {
            let is_ours = card.slots.iter().any(|slot| slot.shown.key() == *name);
            // An entry of its platform alone says already that it is gone.
            let is_there = component.as_object().is_some_and(|c| c.len() > 1);
            if let (false, true, Some(platform)) =
                (is_ours, is_there, component["platform"].as_str())
                && card
                    .gone
                    .insert(name.clone(), platform.to_owned())
                    .is_none()
            {
                card.config_due = true;
            }
        }
    }

    /// The next message that is due, which counts as told from now on.
    pub(super) fn next(&mut self, now: Instant) -> Option<Post> {
        if let Some(topic) = self.forget.pop() {
            return Some(Post {
                topic,
                payload: String::new(),
                kept: true,
                values: 0,
            });
        }
        if let Some(card) = self.cards.iter_mut().find(|c| c.config_due) {
            card.config_due = false;
            card.state_due = now + SETTLE;
            card.told_at = Some(now);
            return Some(card.config(&self.status));
        }
        for _ in 0..self.cards.len() {
            self.turn = (self.turn + 1) % self.cards.len();
            let card = &mut self.cards[self.turn];
            if card.is_due(now) {
                return Some(card.state(now, self.every));
            }
        }
        None
    }
}

impl Card {
    fn config(&self, status: &str) -> Post {
        let topics = Topics {
            status,
            state: &self.state_topic,
        };
        let mut components: Map<String, Value> = self
            .gone
            .iter()
            .map(|(name, platform)| (name.clone(), json!({ "platform": platform })))
            .collect();
        for slot in &self.slots {
            // An entry of its platform alone takes the entity away.
            let entry = match slot.known {
                Known::Absent => json!({ "platform": slot.shown.platform() }),
                Known::Nothing | Known::Good(..) => component(&slot.shown, &self.id, &topics),
            };
            components.insert(slot.shown.key(), entry);
        }
        let config = json!({
            "device": {
                "identifiers": [self.id],
                "name": self.name,
                "model": self.model,
            },
            "origin": { "name": "gridrig", "sw_version": env!("CARGO_PKG_VERSION") },
            "components": components,
            "qos": 1,
        });
        Post {
            topic: self.config_topic.clone(),
            payload: config.to_string(),
            kept: true,
            values: 0,
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        if now >= self.state_due {
            return true;
        }
        let gap_is_over = self.told_at.is_none_or(|told| now >= told + STATE_GAP);
        // Which points have a value: one that came or went is told soon, a new number in its turn.
        let has_changed = || {
            let known = self.slots.iter().map(|s| s.value(now).is_some());
            !known.eq(self.told.iter().copied())
        };
        gap_is_over && has_changed()
    }

    fn state(&mut self, now: Instant, every: Duration) -> Post {
        let values: Vec<Option<f64>> = self.slots.iter().map(|s| s.value(now)).collect();
        let state: Map<String, Value> = self
            .slots
            .iter()
            .zip(&values)
            .map(|(slot, value)| {
                let said = value.map_or(Value::Null, |value| slot.shown.said(value));
                (slot.shown.key(), said)
            })
            .collect();
        self.told = values.iter().map(Option::is_some).collect();
        self.told_at = Some(now);
        self.state_due = now + every;
        Post {
            topic: self.state_topic.clone(),
            payload: Value::Object(state).to_string(),
            kept: false,
            values: self.told.iter().filter(|known| **known).count() as u64,
        }
    }
}
