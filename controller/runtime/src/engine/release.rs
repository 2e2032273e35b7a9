//! Ledger before hardware: what is durable is handed to its bus, what is not does not leave.

use std::time::Duration;

use bus::WriteJob;
use control::Dispatch;
use ledger_node::Receipt;
use model::{Event, Instant, Order, Stage, UtcTime};

use super::Engine;
use crate::evidence::{CONTROLLER, NotDurable};

/// Share of the period by which a record that is waited for may delay the next cycle.
/// Chosen: a tenth, half of what counts as late.
const DELAY_SHARE: f64 = 0.1;

/// How long a step may wait for its record, so that the next cycle is not late: a step of the fast path
/// may begin just before it.
fn patience(now: Instant, next_due: Instant, period: Duration) -> Duration {
    next_due.since(now) + period.mul_f64(DELAY_SHARE)
}

impl Engine {
    /// Makes dispatches durable, then hands them to their buses.
    pub(super) fn release(
        &mut self,
        now: Instant,
        utc: UtcTime,
        dispatches: &[Dispatch],
        rests: bool,
        events: &mut Vec<Event>,
    ) {
        if dispatches.is_empty() {
            return;
        }
        if rests {
            self.release_rest(now, utc, dispatches, events);
            return;
        }
        if self.ledger_stopped {
            self.forget(dispatches);
            return;
        }
        let cause = self.parts.desk.as_ref().and_then(|d| d.cause);
        let within = patience(now, self.next_due, self.period());
        let durable =
            self.parts
                .evidence
                .before_release(utc, now, &self.names, dispatches, cause, within);
        let receipts = match durable {
            Ok(receipts) => receipts,
            Err(NotDurable::Fenced(why)) => {
                self.fenced(why, events);
                self.forget(dispatches);
                return;
            }
            Err(NotDurable::Late(deadline)) => {
                // The stated policy: hold. The next cycle decides anew with a newer image.
                events.push(Event::LedgerLate {
                    deadline_ms: deadline.as_millis() as u64,
                    policy: "held back; the next cycle decides anew".into(),
                });
                self.forget(dispatches);
                return;
            }
            Err(stopped) => {
                self.ledger_failed(&stopped, events);
                self.forget(dispatches);
                return;
            }
        };
        self.ledger_fenced = false;
        for (dispatch, receipt) in dispatches.iter().zip(&receipts) {
            self.send(now, dispatch, Some(receipt), events);
        }
        self.counters.dispatches_logged = self.parts.evidence.dispatches_logged;
    }

    /// Hands the setpoints of a safe end to their buses: recorded first while the ledger still works,
    /// and sent in any case, unless another controller has the devices: then its word counts.
    pub(super) fn release_rest(
        &mut self,
        now: Instant,
        utc: UtcTime,
        dispatches: &[Dispatch],
        events: &mut Vec<Event>,
    ) {
        let recorded = if self.ledger_stopped {
            Ok(Vec::new())
        } else {
            self.parts.evidence.before_release(
                utc,
                now,
                &self.names,
                dispatches,
                None,
                Duration::MAX,
            )
        };
        if let Err(NotDurable::Fenced(why)) = recorded {
            self.fenced(why, events);
            self.forget(dispatches);
            return;
        }
        let receipts = recorded.unwrap_or_default();
        if receipts.len() < dispatches.len() {
            events.push(Event::LedgerLate {
                deadline_ms: 0,
                policy: "rest is sent without its record".into(),
            });
        }
        for (index, dispatch) in dispatches.iter().enumerate() {
            self.send(now, dispatch, receipts.get(index), events);
        }
        self.counters.dispatches_logged = self.parts.evidence.dispatches_logged;
    }

    /// Hands one setpoint to its bus. Without a receipt (only rest is sent so) it is not counted
    /// as a dispatch, and the event before it says that the record is missing.
    pub(super) fn send(
        &mut self,
        now: Instant,
        dispatch: &Dispatch,
        receipt: Option<&Receipt>,
        events: &mut Vec<Event>,
    ) {
        let device = dispatch.device;
        let number = self.tracker.number();
        let atom = receipt.map_or_else(String::new, |r| r.atom_id.to_string());
        if let Some(receipt) = receipt {
            self.counters.dispatches += 1;
            events.push(Event::Dispatched {
                device,
                setpoint: dispatch.setpoint.get(),
                function: dispatch.function,
                why: dispatch.why.clone(),
                clamped: dispatch.clamped.clone(),
                ledger_clock: receipt.clock,
                atom: atom.clone(),
            });
            self.tracker.sent(
                device,
                number,
                receipt.atom_id,
                dispatch.setpoint.get(),
                now,
            );
        }
        let bus = self.parts.rig.devices[device.index()].bus;
        let job = WriteJob {
            dispatch: number,
            device,
            setpoint: dispatch.setpoint,
            valid_until: dispatch.valid_until,
            urgent: dispatch.urgent,
        };
        if let Err(rejected) = self.parts.path.write(bus, job) {
            events.push(Event::SetpointMissed {
                device,
                stage: Stage::Written,
                why: rejected.to_string(),
                atom,
            });
            self.own_orders.push(Order::Forget { device });
        }
    }

    pub(super) fn forget(&mut self, dispatches: &[Dispatch]) {
        self.own_orders.extend(
            dispatches
                .iter()
                .map(|d| Order::Forget { device: d.device }),
        );
    }

    /// Records what nothing waits for.
    pub(super) fn record(
        &mut self,
        utc: UtcTime,
        notes: Vec<ledger_core::Payload>,
        events: &mut Vec<Event>,
    ) {
        if self.ledger_stopped {
            return;
        }
        let evidence = &mut self.parts.evidence;
        let drafts = notes
            .into_iter()
            .map(|payload| evidence.draft(CONTROLLER, payload))
            .collect();
        if let Err(fault) = evidence.note(utc, drafts) {
            self.ledger_failed(&fault, events);
        }
    }

    /// Another controller has the devices. It is said once, and each cycle asks anew: authority may
    /// come back.
    fn fenced(&mut self, why: String, events: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.ledger_fenced, true) {
            events.push(Event::LedgerFenced { why });
        }
    }

    /// Fail-stop: without evidence nothing is dispatched any more, and the bench comes to rest.
    pub(super) fn ledger_failed(&mut self, fault: &NotDurable, events: &mut Vec<Event>) {
        if self.ledger_stopped {
            return;
        }
        self.ledger_stopped = true;
        events.push(Event::LedgerStopped {
            why: fault.to_string(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_waits_for_its_record_no_longer_than_the_next_cycle_can() {
        let at = |ms: u64| Instant::START + Duration::from_millis(ms);
        let check = |now: Instant, next_due: Instant, expected_ms: u64| {
            let found = patience(now, next_due, Duration::from_millis(100));
            assert_eq!(found, Duration::from_millis(expected_ms));
        };
        check(at(1_000), at(1_100), 110);
        check(at(1_099), at(1_100), 11);
        check(at(1_103), at(1_100), 10);
    }
}
