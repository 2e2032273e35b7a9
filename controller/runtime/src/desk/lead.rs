//! Whether a gate leaves time for what follows it, by what is measured of a run.
//!
//! A rig is refused whose gate leaves less than the bounds of clearing, finality and setpoints ([`Lead`]). A run in real
//! time measures all three: how long a record took to be durable and a rehearsal of the clearing before the first
//! cycle, how long devices take to answer a read before the first gate, and each setpoint that its register
//! proves from then on. Nothing is written to measure: a setpoint that nobody wants moves power. A read is the floor
//! of a setpoint, which is written and read back, so twice that long at least.
//!
//! Who gives no answer to a write (CAN, MQTT) is not measured: when it proves a setpoint it has heard it long before.

use std::collections::BTreeSet;
use std::time::Duration;

use model::{DeviceIx, Event};
use profile::Protocol;

use super::Desk;
use super::seat::Seat;
use crate::rig::{Lead, Rig};

/// Transactions of a setpoint at least: it is written, and read back.
const TRANSACTIONS: u32 = 2;

/// What was measured of a run, beside what its rig says.
#[derive(Debug)]
pub(super) struct Watch {
    /// By the clock of the bench.
    gate: Duration,
    period: Duration,
    /// What the rig was checked against.
    bound: Lead,
    /// The longest that was measured of each, and no less than that.
    longest: Lead,
    /// Devices that the market commands and that answer.
    answering: BTreeSet<DeviceIx>,
    has_reads: bool,
    /// Whether it was told that a setpoint took longer than the rig says, and that the gate is too short.
    is_slow_told: bool,
    is_short_told: bool,
}

impl Watch {
    fn is_short(&self) -> bool {
        self.longest.whole() > self.gate
    }

    /// That the gate is too short, once.
    fn short(&mut self, follows: &str) -> Option<Event> {
        let is_new = self.is_short() && !self.is_short_told;
        self.is_short_told |= is_new;
        is_new.then(|| Event::Noticed {
            device: None,
            text: format!(
                "The gate closes {:?} before an interval, and by what was measured now it takes {}: {follows}.",
                self.gate, self.longest
            ),
        })
    }
}

impl Desk {
    /// Begins to measure, with what a record took to be durable and a rehearsal of the clearing. The first cycle tells
    /// if the gate does not leave time for both records, the clearing and the setpoints.
    pub fn rehearse(&mut self, rig: &Rig, market: &crate::rig::Market, record: Duration) {
        let began = self.ticks();
        let rehearsed = (self.rules.interval(0)).map(|interval| {
            let order = |seat: &Seat| {
                let side = market::Side::Buy;
                let price = market::Price(0);
                market::Order::single(seat.agent.clone(), side, price, market::Mwh(1))
            };
            let orders = self.seats.iter().map(order).collect();
            self.venue.clear(interval, orders).is_ok()
        });
        let clear = Duration::from_nanos(u64::try_from(self.ticks() - began).unwrap_or(u64::MAX));
        if rehearsed.is_none() {
            return;
        }
        let bench = rig.bench();
        let answering = self.seats.iter().map(|seat| seat.device).filter(|device| {
            let spec = &bench.devices[device.index()];
            let protocol = &rig.devices[device.index()].profile.protocol;
            (spec.takes_power || spec.takes_switch)
                && matches!(protocol, Protocol::Modbus(_) | Protocol::Scpi(_))
        });
        let mut watch = Watch {
            gate: market.gate / market.time_factor,
            period: rig.control.period,
            bound: market.lead,
            longest: Lead {
                clear: clear.max(market.lead.clear),
                finality: (record * 2).max(market.lead.finality),
                setpoint: market.lead.setpoint,
            },
            answering: answering.collect(),
            has_reads: false,
            is_slow_told: false,
            is_short_told: false,
        };
        self.untold.extend(watch.short("intervals may go untraded"));
        self.lead = Some(watch);
    }

    /// Takes in how long devices have taken to answer reads, once, in the cycle before the first gate.
    pub fn hear_reads(
        &mut self,
        now: model::Instant,
        reads: impl FnOnce() -> Vec<(DeviceIx, Duration)>,
    ) {
        let first = self.rules.interval(0).map(|first| self.gate_ns(&first));
        let Some(watch) = self.lead.as_mut().filter(|watch| !watch.has_reads) else {
            return;
        };
        let next_ns = self.rules.market_ns(now + watch.period);
        if first.is_none_or(|gate_ns| next_ns < gate_ns) {
            return;
        }
        watch.has_reads = true;
        let reads = reads().into_iter();
        let reads = reads.filter(|(device, _)| watch.answering.contains(device));
        let Some((_, read)) = reads.max_by_key(|(_, took)| *took) else {
            return;
        };
        let setpoint = watch.period + crate::evidence::DEADLINE + read * TRANSACTIONS;
        watch.longest.setpoint = watch.longest.setpoint.max(setpoint);
        self.untold
            .extend(watch.short("devices may begin an interval late"));
    }

    /// Takes in how long after the cycle that decided it a setpoint was proved by its register.
    pub fn hear_setpoint(&mut self, device: DeviceIx, took: Duration) {
        let Some(watch) = self.lead.as_mut() else {
            return;
        };
        if !watch.answering.contains(&device) {
            return;
        }
        // The schedule is heard in the cycle after the gate.
        let setpoint = watch.period + took;
        watch.longest.setpoint = watch.longest.setpoint.max(setpoint);
        if setpoint > watch.bound.setpoint && !watch.is_slow_told {
            watch.is_slow_told = true;
            self.untold.push(Event::Noticed {
                device: Some(device),
                text: format!(
                    "A setpoint was heard {setpoint:?} after a gate would have closed; its rig leaves {:?} for that.",
                    watch.bound.setpoint
                ),
            });
        }
        self.untold
            .extend(watch.short("devices may begin an interval late"));
    }
}
