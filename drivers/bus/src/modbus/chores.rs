//! What a device is taught besides setpoints: heartbeats and characteristics.
//!
//! Responsible for moving on the counters that tell a device that its controller is there, and
//! for carrying a characteristic through the steps of its adoption, one request at a time, so
//! that the bus goes on meanwhile. All of it is done only while the bench is armed. It is not
//! responsible for the steps themselves (see [`super::adopt`]) nor for their turn (see `plan`).

use std::time::Duration;

use model::{Characteristic, DeviceIx, Instant, Stage};
use profile::modbus::{DataType, Table};

use super::codec;
use super::curve_adoption::{Adoption, Next, Request};
use super::link::{Ask, LinkError};
use super::{BUSY_WAIT, Bus};
use crate::{AdoptJob, BusStats, DispatchId, LinkEvent};

/// Attempts at a request of an adoption that was not answered, or refused as busy.
/// Chosen: as for setpoints, one lost frame is noise; every step may be repeated.
const ATTEMPTS_MAX: u8 = 4;

/// A characteristic as the bus takes it in. Outside tests it always was approved.
#[derive(Clone, Debug)]
pub(super) struct Teaching {
    pub(super) dispatch: DispatchId,
    pub(super) device: DeviceIx,
    pub(super) wish: Characteristic,
    pub(super) revert: Option<Duration>,
    pub(super) valid_until: Instant,
}

impl From<AdoptJob> for Teaching {
    fn from(job: AdoptJob) -> Self {
        Self {
            dispatch: job.dispatch,
            device: job.device,
            wish: job.characteristic.value().clone(),
            revert: job.revert,
            valid_until: job.valid_until,
        }
    }
}

/// What a device has to be taught.
#[derive(Debug, Default)]
pub(super) struct Chores {
    beats: Vec<Beat>,
    adopting: Option<Adopting>,
}

/// A counter that is moved on.
#[derive(Debug)]
struct Beat {
    count: u32,
    due: Instant,
}

/// A characteristic on its way.
#[derive(Debug)]
struct Adopting {
    job: Teaching,
    /// In the plan's time.
    valid_until: Instant,
    /// `None` until its first request.
    steps: Option<Adoption>,
    stage: Stage,
    attempts: u8,
    due: Instant,
}

impl Bus {
    /// Takes a characteristic in.
    pub(super) fn take_teaching(&mut self, job: Teaching) {
        let (dispatch, ix) = (job.dispatch, job.device);
        let Some(index) = self.devices.iter().position(|d| d.spec.ix == ix) else {
            let why = format!("bus {} has no such device", self.id);
            self.missed(dispatch, ix, Stage::Written, why);
            return;
        };
        let (now, valid_until) = (self.now(), self.plan_time(job.valid_until));
        let device = &mut self.devices[index];
        if let Some(other) = &device.chores.adopting {
            let why = format!(
                "{}: it is still adopting {}",
                device.spec.id,
                other.job.wish.name()
            );
            self.missed(dispatch, ix, Stage::Written, why);
            return;
        }
        device.chores.adopting = Some(Adopting {
            job,
            valid_until,
            steps: None,
            stage: Stage::Written,
            attempts: 0,
            due: now,
        });
        self.plan_chores(index);
    }

    /// The device is ready, or the bench was armed: its heartbeats begin.
    pub(super) fn begin_beats(&mut self, index: usize) {
        let now = self.now();
        let device = &mut self.devices[index];
        let count = device.profile.heartbeats.len();
        device
            .chores
            .beats
            .resize_with(count, || Beat { count: 0, due: now });
        self.plan_chores(index);
    }

    /// The bench is not armed any more: heartbeats fall silent, and what was under way is missed.
    pub(super) fn end_chores(&mut self) {
        for index in 0..self.devices.len() {
            self.devices[index].chores.beats.clear();
            self.adoption_missed(
                index,
                "the bench was disarmed or the run ended before it was done",
            );
            self.plan.set_chore(index, None);
        }
    }

    /// Drops the characteristics that came too late to be begun.
    pub(super) fn expire_teachings(&mut self) {
        let now = self.now();
        for index in 0..self.devices.len() {
            let adopting = self.devices[index].chores.adopting.as_ref();
            if adopting.is_some_and(|a| a.steps.is_none() && now > a.valid_until) {
                BusStats::add(&self.stats.expired, 1);
                if let Some(stats) = self.stats.device(self.devices[index].spec.ix) {
                    BusStats::add(&stats.expired, 1);
                }
                self.adoption_missed(index, "expired before it could be written");
                self.plan_chores(index);
            }
        }
    }

    /// The device is set up anew: it may have restarted or been exchanged, and its registers may be
    /// elsewhere. What was begun must not go on there, whenever that may be.
    pub(super) fn drop_begun_adoption(&mut self, index: usize) {
        let adopting = self.devices[index].chores.adopting.as_ref();
        if adopting.is_some_and(|a| a.steps.is_some()) {
            self.adoption_missed(index, "the device went away before it was done");
            self.plan_chores(index);
        }
    }

    fn adoption_missed(&mut self, index: usize, why: &str) {
        let device = &mut self.devices[index];
        if let Some(adopting) = device.chores.adopting.take() {
            let (id, ix) = (device.spec.id.clone(), device.spec.ix);
            let why = format!("{id}: {}: {why}", adopting.job.wish.name());
            self.missed(adopting.job.dispatch, ix, adopting.stage, why);
        }
    }

    fn plan_chores(&mut self, index: usize) {
        let chores = &self.devices[index].chores;
        let beats = chores.beats.iter().map(|b| b.due);
        let due = beats.chain(chores.adopting.as_ref().map(|a| a.due)).min();
        self.plan
            .set_chore(index, due.filter(|_| self.permit.is_some()));
    }

    /// Does what is due, one request.
    pub(super) async fn chore(&mut self, index: usize) {
        let now = self.now();
        let adopting = self.devices[index].chores.adopting.as_ref();
        if adopting.is_some_and(|a| a.due <= now) {
            self.adopt(index).await;
        } else {
            self.beat(index, now).await;
        }
        self.plan_chores(index);
    }

    async fn beat(&mut self, index: usize, now: Instant) {
        let device = &mut self.devices[index];
        let Some(number) = device.chores.beats.iter().position(|b| b.due <= now) else {
            return;
        };
        let (Some(permit), Some(heartbeat)) =
            (self.permit, device.profile.heartbeats.get(number).cloned())
        else {
            return;
        };
        let beat = &mut device.chores.beats[number];
        beat.due = now + heartbeat.every;
        let count = moved_on(beat.count, heartbeat.encoding.data);
        beat.count = count;
        let registers = heartbeat.encoding.data.registers();
        let Some((Table::Holding, address)) = device.resolve(heartbeat.address, registers) else {
            return;
        };
        let failed = match codec::encode_raw(&heartbeat.encoding, count.into()) {
            Ok(words) => {
                let ask = Ask::WriteRegisters {
                    permit,
                    address,
                    words: words.as_slice(),
                };
                self.transact(index, ask).await.err().map(|e| e.to_string())
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = failed {
            let id = &self.devices[index].spec.id;
            let text = format!("{id}: heartbeat, register {address}: {why}");
            self.notice_about(index, "heartbeat", text);
        }
    }

    /// The next request of an adoption.
    async fn adopt(&mut self, index: usize) {
        let Some(mut adopting) = self.devices[index].chores.adopting.take() else {
            return;
        };
        let outcome = self.adopt_step(index, &mut adopting).await;
        let stage = adopting.stage;
        let (dispatch, ix) = (adopting.job.dispatch, adopting.job.device);
        let confirmed = |stage| LinkEvent::Confirmed {
            dispatch,
            device: ix,
            stage,
            at: self.clock.now(),
        };
        match outcome {
            Ok(Next::Done) => {
                self.sink.event(confirmed(Stage::Register));
                return;
            }
            Ok(Next::Written) => {
                self.sink.event(confirmed(stage));
                adopting.stage = Stage::Register;
                adopting.due = self.now();
            }
            Ok(Next::Go) => adopting.due = self.now(),
            Ok(Next::Wait(wait)) => adopting.due = self.now() + wait,
            Err(why) => {
                self.devices[index].chores.adopting = Some(adopting);
                self.adoption_missed(index, &why);
                return;
            }
        }
        self.devices[index].chores.adopting = Some(adopting);
    }

    async fn adopt_step(&mut self, index: usize, adopting: &mut Adopting) -> Result<Next, String> {
        let steps = match &mut adopting.steps {
            Some(steps) => steps,
            none => {
                let Some(chain) = self.devices[index].chain() else {
                    let profile = &self.devices[index].spec.profile.id;
                    return Err(format!("profile {profile} is not one of SunSpec models"));
                };
                let job = &adopting.job;
                none.insert(Adoption::begin(job.wish.clone(), job.revert, chain)?)
            }
        };
        let Some(permit) = self.permit else {
            return Err("the bench is not armed".to_owned());
        };
        let Some(request) = steps.request() else {
            return Err("a register of it is not in this device".to_owned());
        };
        let ask = match &request {
            Request::Read { address, count } => Ask::Read {
                table: Table::Holding,
                address: *address,
                count: *count,
            },
            Request::Write { address, words } => Ask::WriteRegisters {
                permit,
                address: *address,
                words,
            },
        };
        match self.transact(index, ask).await {
            Ok(answer) => {
                adopting.attempts = 0;
                steps.take(&answer.words)
            }
            Err(LinkError::Exception(code)) if !matches!(code, 5 | 6) => {
                Err(steps.refused(&LinkError::Exception(code).to_string()))
            }
            Err(error) => {
                adopting.attempts += 1;
                if adopting.attempts >= ATTEMPTS_MAX || self.plan.is_offline(index) {
                    Err(steps.refused(&error.to_string()))
                } else {
                    Ok(Next::Wait(BUSY_WAIT))
                }
            }
        }
    }
}

/// The next count of a heartbeat. All ones mean "not implemented", so it goes round before.
fn moved_on(count: u32, data: DataType) -> u32 {
    let most = match data {
        DataType::U32 => u32::MAX,
        _ => u32::from(u16::MAX),
    };
    (count + 1) % most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_goes_round_before_it_would_say_that_it_is_not_implemented() {
        for (count, data, next) in [
            (0, DataType::U16, 1),
            (65_533, DataType::U16, 65_534),
            (65_534, DataType::U16, 0),
            (65_534, DataType::U32, 65_535),
            (u32::MAX - 1, DataType::U32, 0),
        ] {
            assert_eq!(moved_on(count, data), next, "{count} of {data:?}");
        }
    }
}
