//! Characteristics on their way to devices: recorded as configuration before they leave, and told once
//! the device follows them, or does not.

use std::time::Duration;

use bus::{AdoptJob, DispatchId, LinkEvent};
use control::Adoption;
use ledger_core::Payload;
use model::{DeviceIx, Event, Instant, Stage, UtcTime};

use super::Engine;
use crate::evidence::{self, CONTROLLER, NotDurable};

/// A characteristic that was handed to its bus.
#[derive(Clone, Debug)]
pub(super) struct Adopting {
    dispatch: DispatchId,
    device: DeviceIx,
    /// Its name, such as `volt-var`.
    name: &'static str,
    text: String,
    atom: String,
    sent_at: Instant,
}

impl Engine {
    /// Records what the limiter has let through, then hands it to its bus.
    pub(super) fn release_adoptions(
        &mut self,
        now: Instant,
        utc: UtcTime,
        adoptions: &[Adoption],
        events: &mut Vec<Event>,
    ) {
        for adoption in adoptions {
            let text = adoption.characteristic.value().to_string();
            if let Err(why) = self.release_adoption(now, utc, adoption, &text, events) {
                events.push(Event::NotAdopted {
                    device: adoption.device,
                    characteristic: text,
                    why,
                });
            }
        }
    }

    fn release_adoption(
        &mut self,
        now: Instant,
        utc: UtcTime,
        adoption: &Adoption,
        text: &str,
        events: &mut Vec<Event>,
    ) -> Result<(), String> {
        let device = adoption.device;
        let name = adoption.characteristic.value().name();
        if self.ledger_stopped {
            return Err("the ledger has stopped".into());
        }
        let note = self.note_of(device, name, &format!("approved: {text}"));
        let draft = self.parts.evidence.draft(CONTROLLER, note);
        // A cycle is not delayed for it: a record that is late is a characteristic that does not leave.
        let patience = self.next_due.since(now).max(Duration::from_millis(1));
        let receipts = self.parts.evidence.append(utc, vec![draft], Some(patience));
        let atom = match receipts {
            Ok(receipts) => receipts.first().map(|r| r.atom_id.to_string()),
            Err(late @ NotDurable::Late(_)) => return Err(late.to_string()),
            Err(stopped) => {
                self.ledger_failed(&stopped, events);
                return Err(stopped.to_string());
            }
        };
        let atom = atom.ok_or("the ledger gave no receipt")?;
        let dispatch = self.tracker.number();
        let job = AdoptJob {
            dispatch,
            device,
            characteristic: adoption.characteristic.clone(),
            revert: adoption.revert,
            valid_until: adoption.valid_until,
        };
        let bus = self.parts.rig.devices[device.index()].bus;
        self.parts
            .path
            .adopt(bus, job)
            .map_err(|rejected| rejected.to_string())?;
        self.adopting.push(Adopting {
            dispatch,
            device,
            name,
            text: text.to_owned(),
            atom,
            sent_at: now,
        });
        Ok(())
    }

    /// Takes in what a bus says of a characteristic; false when it speaks of something else.
    pub(super) fn hear_of_adoption(
        &mut self,
        event: &LinkEvent,
        events: &mut Vec<Event>,
        notes: &mut Vec<Payload>,
    ) -> bool {
        let (number, outcome) = match event {
            // Written is not yet read back.
            LinkEvent::Confirmed {
                dispatch,
                stage: Stage::Register,
                at,
                ..
            } => (*dispatch, Ok(*at)),
            LinkEvent::Missed { dispatch, why, .. } => (*dispatch, Err(why.clone())),
            _ => return false,
        };
        let mut under_way = self.adopting.iter();
        let Some(index) = under_way.position(|adopting| adopting.dispatch == number) else {
            return false;
        };
        let Adopting {
            device,
            name,
            text,
            atom,
            sent_at,
            ..
        } = self.adopting.remove(index);
        let note = match &outcome {
            Ok(_) => format!("adopted: {text}"),
            Err(why) => format!("not adopted: {why}"),
        };
        notes.push(self.note_of(device, name, &note));
        events.push(match outcome {
            Ok(at) => Event::Adopted {
                device,
                characteristic: text,
                after_s: at.since(sent_at).as_secs_f64(),
                atom,
            },
            Err(why) => Event::NotAdopted {
                device,
                characteristic: text,
                why,
            },
        });
        true
    }

    /// A characteristic as the ledger has it: configuration of the device.
    fn note_of(&self, device: DeviceIx, name: &str, what: &str) -> Payload {
        let subject = format!("{} {name}", self.names[device.index()]);
        let bytes = format!("{subject}: {what}");
        evidence::document(&subject, bytes.as_bytes(), what)
    }
}
