//! The safe end: devices come to rest in the order that the rig declares, each step with a deadline.
//!
//! It begins when the bench is disarmed, by whomever: a person, a lease that ran out, the end of the
//! run. From then on the core decides nothing more and only brings the devices of one step after the
//! other to rest; a step is over when they have all said so, or its time is. The last one disarms.
//! Where the core cannot be asked any more (it panicked or stalls), rest that was approved beforehand
//! leaves in the same order.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bus::{DispatchId, WriteJob};
use control::{Dispatch, Rhythm};
use limiter::Approved;
use model::{DeviceIx, Event, Instant, Order, RestStep, Setpoint};

use super::Engine;
use crate::tracker::Progress;
use crate::write_path::Spare;

/// How long rest that was approved beforehand may be on its way. Chosen: 10 s: rest is never too late.
const REST_VALIDITY: Duration = Duration::from_secs(10);

/// A step of a safe end, as it went.
#[derive(Clone, Debug, PartialEq)]
pub struct Rested {
    /// Which step.
    pub step: RestStep,
    /// Devices that were told.
    pub devices: Vec<String>,
    /// Those that did not confirm it in time.
    pub missed: Vec<String>,
    /// How long it took.
    pub after: Duration,
    /// How long it might have taken.
    pub within: Duration,
}

/// Rest in hand: which bus, which device, and its rest, in the order of the steps.
pub type RestInHand = Vec<(usize, DeviceIx, Approved<Setpoint>)>;

/// A safe end under way.
#[derive(Debug)]
pub(super) struct SafeEnd {
    left: VecDeque<RestStep>,
    current: Option<Current>,
    devices: u64,
}

#[derive(Debug)]
struct Current {
    step: RestStep,
    began: Instant,
    told: Vec<DeviceIx>,
    waiting: BTreeSet<DeviceIx>,
    missed: BTreeSet<DeviceIx>,
}

impl Engine {
    /// Begins the safe end: devices come to rest step by step, and then the bench is disarmed. From
    /// here on it is not armed again.
    ///
    /// The setpoints are recorded first while the ledger still works; rest is sent in any case.
    pub fn come_to_rest(&mut self, why: &str) {
        self.ends = Some(why.to_owned());
        self.parts.arms = false;
        self.own_orders.push(Order::Arm(false));
        self.listen();
    }

    /// Listens once more during the safe end: what the buses say is told, and the next step is taken.
    pub fn listen(&mut self) {
        let due = self.parts.clock.now();
        self.step(Rhythm::Supervisory, due);
    }

    /// Whether nothing is under way any more.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.safe_end.is_none() && !self.parts.path.is_open()
    }

    /// The longest time that a safe end can take.
    #[must_use]
    pub fn rests_within(&self) -> Duration {
        let safety = &self.parts.rig.safety;
        let steps = u32::try_from(safety.order.len()).unwrap_or(u32::MAX);
        // Each step costs a cycle besides its own time.
        (safety.step + self.period() * 2) * (steps + 1)
    }

    /// Turns an order to disarm into a safe end, and takes the one under way further.
    pub(super) fn direct_safe_end(
        &mut self,
        now: Instant,
        orders: &mut Vec<Order>,
        events: &mut Vec<Event>,
    ) {
        let disarms = orders.contains(&Order::Arm(false));
        if disarms && self.safe_end.is_none() && self.parts.path.is_open() {
            let touched: BTreeSet<RestStep> = self
                .controller
                .touched()
                .filter_map(|device| RestStep::of(self.spec(device)))
                .collect();
            let opens = self.controller.bench().settings.safe_opens_breaker;
            let takes_part = |step: &RestStep| {
                touched.contains(step) && *step != RestStep::Breaker
                    || opens && *step == RestStep::Breaker
            };
            let order = self.parts.rig.safety.order.iter().copied();
            self.safe_end = Some(SafeEnd {
                left: order.filter(takes_part).collect(),
                current: None,
                devices: 0,
            });
        }
        if self.safe_end.is_none() {
            return;
        }
        orders.retain(|order| match order {
            Order::Arm(true) => {
                events.push(Event::OrderRefused {
                    why: "the bench is coming to rest; arm it again when it has".into(),
                });
                false
            }
            Order::Arm(false) => false,
            _ => true,
        });
        self.end_step(now, events);
        let Some(end) = &mut self.safe_end else {
            return;
        };
        if end.current.is_some() {
            return;
        }
        match end.left.pop_front() {
            Some(step) => {
                orders.push(Order::Rest(step));
                end.current = Some(Current {
                    step,
                    began: now,
                    told: Vec::new(),
                    waiting: BTreeSet::new(),
                    missed: BTreeSet::new(),
                });
            }
            None => {
                orders.push(Order::Arm(false));
                self.rested_devices = end.devices;
                self.safe_end = None;
            }
        }
    }

    /// Ends the current step if all have confirmed it or its time is over.
    fn end_step(&mut self, now: Instant, events: &mut Vec<Event>) {
        let within = self.parts.rig.safety.step;
        let Some(end) = &mut self.safe_end else {
            return;
        };
        let Some(current) = &mut end.current else {
            return;
        };
        let after = now.since(current.began);
        if !current.waiting.is_empty() && after < within {
            return;
        }
        current.missed.append(&mut current.waiting);
        events.push(Event::Rested {
            step: current.step,
            devices: current.told.len() as u64,
            missed: current.missed.len() as u64,
            after_s: after.as_secs_f64(),
            within_s: within.as_secs_f64(),
        });
        let name = |device: &DeviceIx| self.names[device.index()].to_string();
        self.rested.push(Rested {
            step: current.step,
            devices: current.told.iter().map(name).collect(),
            missed: current.missed.iter().map(name).collect(),
            after,
            within,
        });
        end.current = None;
    }

    /// What was told in this step of the safe end, now waits for being confirmed.
    pub(super) fn rest_was_told(&mut self, dispatches: &[Dispatch]) {
        let Some(end) = &mut self.safe_end else {
            return;
        };
        let Some(current) = end.current.as_mut().filter(|c| c.told.is_empty()) else {
            return;
        };
        current.told = dispatches.iter().map(|d| d.device).collect();
        current.waiting = current.told.iter().copied().collect();
        end.devices += current.told.len() as u64;
    }

    /// A device has taken its rest over, or never will.
    pub(super) fn rest_was_heard(&mut self, progress: &Progress) {
        let current = self.safe_end.as_mut().and_then(|end| end.current.as_mut());
        if let Some(current) = current
            && current.waiting.remove(&progress.device)
            && progress.missed.is_some()
        {
            current.missed.insert(progress.device);
        }
    }

    /// Rest for every device that takes power, approved beforehand, in the order of the steps.
    #[must_use]
    pub fn rest_in_hand(&self) -> RestInHand {
        let now = self.parts.clock.now();
        // A limiter of its own: looking ahead must not change what the core thinks it has sent.
        let mut limiter = self.controller.bench().limiter();
        let order = self.parts.rig.safety.order.iter();
        let mut hand = RestInHand::new();
        for step in order {
            for index in 0..self.names.len() {
                let device = DeviceIx(index as u16);
                if RestStep::of(self.spec(device)) == Some(*step)
                    && let Some(rest) = limiter.rest(now, device)
                {
                    hand.push((self.parts.rig.devices[index].bus, device, rest));
                }
            }
        }
        hand
    }

    /// Sends rest that was approved beforehand to whoever was told something since the bench was armed,
    /// without asking the core: it has panicked.
    pub fn rest_without_the_core(&mut self, hand: &RestInHand, why: &str) {
        self.ends = Some(why.to_owned());
        self.parts.arms = false;
        let now = self.parts.clock.now();
        let sent = hand
            .iter()
            // What was never told anything is not touched at the end either.
            .filter(|(_, device, _)| self.parts.path.has_told(*device))
            .filter(|(bus, device, rest)| {
                let told = self.parts.path.write(*bus, job_of(*device, *rest, now));
                told.is_ok()
            })
            .count() as u64;
        let event = Event::WentSafe {
            why: why.to_owned(),
            devices: sent,
        };
        self.parts
            .telemetry
            .event(self.parts.clock.utc(), now, &event);
        self.parts.view.event(self.parts.clock.utc(), now, &event);
        // What is urgent still leaves after the path is gone.
        self.parts.path.close();
        self.has_ended = true;
    }

    /// The write path as the heartbeat guard may use it.
    #[must_use]
    pub fn spare_path(&self) -> Spare {
        self.parts.path.spare()
    }
}

/// Rest on its way, outside the tracker's numbers: nobody waits for it.
pub(crate) fn job_of(device: DeviceIx, setpoint: Approved<Setpoint>, now: Instant) -> WriteJob {
    WriteJob {
        dispatch: DispatchId(0),
        device,
        setpoint,
        valid_until: now + REST_VALIDITY,
        urgent: true,
    }
}
