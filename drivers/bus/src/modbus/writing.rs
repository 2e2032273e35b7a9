//! Carrying out a write: scales, references, requests, and the proof from the device's own register.

use std::time::Duration;

use model::{Point, Stage};

use super::blocks;
use super::device::{Device, ask};
use super::link::{Ask, LinkError};
use super::write::{Composed, Recipe, refresh_interval, revert_time, targets};
use super::{BUSY_MAX, BUSY_WAIT, Bus};
use crate::LinkEvent;
use crate::plan::Write;

/// Reads of a written register before a difference counts.
/// Chosen: with [`READBACK_WAIT`] a device has 100 ms to take the value over.
const READBACKS_MAX: u8 = 3;

/// Wait between two reads of a written register that is not as it should be.
/// Chosen: one internal cycle of usual inverters; the bus is held for it, so it is short.
const READBACK_WAIT: Duration = Duration::from_millis(50);

/// Attempts at a write whose answer was lost. Chosen: one lost frame is noise; setpoints may be repeated.
const ATTEMPTS_MAX: u8 = 3;

/// Why a control was not written.
enum Fault {
    /// The link or the device: another attempt may succeed.
    Link(LinkError),
    /// Another attempt would fail alike.
    Final(String),
}

impl From<LinkError> for Fault {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

/// A control that was written and has to be proved.
struct Written {
    control: usize,
    recipe: Recipe,
    composed: Composed,
}

/// The control that sets a point: the first whose registers are there, or else the first.
fn control_of(device: &Device, point: Point) -> Option<usize> {
    let first = || {
        device
            .profile
            .controls
            .iter()
            .position(|c| c.point == point)
    };
    device.recipe_of(point).or_else(first)
}

impl Bus {
    pub(super) async fn write(&mut self, write: Write) {
        self.writing = Some((write, Stage::Written));
        self.write_and_prove(write).await;
        self.writing = None;
    }

    async fn write_and_prove(&mut self, write: Write) {
        let index = write.device;
        let ix = self.devices[index].spec.ix;
        let mut written = Vec::new();
        for (point, value) in targets(write.setpoint) {
            let device = &self.devices[index];
            let Some(control) = control_of(device, point) else {
                // Only the second target (reactive power) may be missing: the first was checked on entry.
                if value != 0.0 {
                    let text = format!(
                        "{}: profile {} has no {point}; the wish for reactive power is not written",
                        device.spec.id, device.spec.profile.id
                    );
                    self.notice(index, text);
                }
                continue;
            };
            let unchanged = device.kept.contains(&point) && device.held.get(&point) == Some(&value);
            if point == Point::ReactivePowerSet && unchanged {
                continue;
            }
            match self.write_control(index, control, value).await {
                Ok(done) => written.push(done),
                Err(fault) => {
                    self.write_failed(write, point, fault);
                    return;
                }
            }
        }
        self.sink.event(LinkEvent::Confirmed {
            dispatch: write.dispatch,
            device: ix,
            stage: Stage::Written,
            at: self.clock.now(),
        });
        self.writing = Some((write, Stage::Register));
        for done in &written {
            if let Err(why) = self.prove(index, done).await {
                self.missed(write.dispatch, ix, Stage::Register, why);
                return;
            }
        }
        self.sink.event(LinkEvent::Confirmed {
            dispatch: write.dispatch,
            device: ix,
            stage: Stage::Register,
            at: self.clock.now(),
        });
    }

    fn write_failed(&mut self, mut write: Write, point: Point, fault: Fault) {
        let now = self.now();
        let device = &self.devices[write.device];
        let ix = device.spec.ix;
        let why = match &fault {
            Fault::Link(error) => format!("{}: {point}: {error}", device.spec.id),
            Fault::Final(why) => format!("{}: {point}: {why}", device.spec.id),
        };
        let wait = match &fault {
            Fault::Link(LinkError::Exception(5 | 6)) if write.refusals < BUSY_MAX => {
                Some(BUSY_WAIT * 2_u32.pow(write.refusals.into()))
            }
            Fault::Link(LinkError::Timeout(_) | LinkError::Corrupt(_) | LinkError::Down(_))
                if write.refusals + 1 < ATTEMPTS_MAX =>
            {
                Some(Duration::ZERO)
            }
            _ => None,
        };
        if let Some(wait) = wait {
            write.refusals += 1;
            write.not_before = now + wait;
            let device = write.device;
            if self.plan.write_again(write) {
                self.count_retry(device);
                return;
            }
        }
        self.missed(write.dispatch, ix, Stage::Written, why);
    }

    /// Writes a setpoint once more, so that the device's own watchdog stays quiet.
    pub(super) async fn refresh(&mut self, index: usize, point: Point) {
        let now = self.now();
        self.plan.refresh_done(index, point, now);
        let device = &self.devices[index];
        let control = control_of(device, point);
        let (Some(control), Some(value)) = (control, device.held.get(&point).copied()) else {
            return;
        };
        let why = match self.write_control(index, control, value).await {
            Ok(done) => self.prove(index, &done).await.err(),
            Err(Fault::Link(error)) => Some(error.to_string()),
            Err(Fault::Final(why)) => Some(why),
        };
        if let Some(why) = why {
            let id = &self.devices[index].spec.id;
            let text = format!("{id}: keep-alive of {point}: {why}");
            self.notice_about(index, &format!("keep-alive of {point}"), text);
        }
    }

    async fn write_control(
        &mut self,
        index: usize,
        control: usize,
        value: f64,
    ) -> Result<Written, Fault> {
        let Some(permit) = self.permit else {
            return Err(Fault::Final("the bench is not armed".to_owned()));
        };
        let device = &self.devices[index];
        let nowhere = || Fault::Final("its registers are not in this device".to_owned());
        let recipe = device
            .recipes
            .get(control)
            .cloned()
            .flatten()
            .ok_or_else(nowhere)?;
        for reference in &recipe.references {
            self.learn(index, *reference).await?;
        }
        // The scale is read anew each time: a stale one would be wrong by powers of ten.
        let mut scales = Vec::new();
        for block in &recipe.scale_blocks {
            scales.push(self.transact(index, ask(block)).await?.words);
        }
        let device = &self.devices[index];
        let spec = device.profile.controls.get(control).ok_or_else(nowhere)?;
        let point = spec.point;
        let rig_revert = device.spec.revert;
        let composed = recipe
            .compose(
                spec,
                value,
                &scales,
                |p| device.references.get(&p).copied(),
                revert_time(spec, rig_revert),
            )
            .map_err(Fault::Final)?;
        let every = refresh_interval(spec, rig_revert);
        if let Some(remark) = &composed.clamped {
            let text = format!("{}: {remark}", device.spec.id);
            self.notice_about(index, &format!("range of {point}"), text);
        }
        for request in &composed.writes {
            let (ask, address) = match request {
                blocks::Write::Registers { address, words } => {
                    let address = *address;
                    (
                        Ask::WriteRegisters {
                            permit,
                            address,
                            words,
                        },
                        address,
                    )
                }
                blocks::Write::Register { address, word } => (
                    Ask::WriteRegister {
                        permit,
                        address: *address,
                        word: *word,
                    },
                    *address,
                ),
                blocks::Write::Coil { address, on } => (
                    Ask::WriteCoil {
                        permit,
                        address: *address,
                        on: *on,
                    },
                    *address,
                ),
            };
            match self.transact(index, ask).await {
                Ok(_) => {}
                Err(error @ LinkError::Exception(code)) if !matches!(code, 5 | 6) => {
                    return Err(Fault::Final(format!(
                        "register {address}: {error}; check that the device is in remote control and takes this value"
                    )));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let now = self.now();
        self.devices[index].held.insert(point, value);
        self.devices[index].kept.insert(point);
        self.plan.set_refresh(index, point, every, now);
        Ok(Written {
            control,
            recipe,
            composed,
        })
    }

    /// Reads a point that a percentage or a limit refers to, unless it is known.
    async fn learn(&mut self, index: usize, point: Point) -> Result<(), Fault> {
        let device = &self.devices[index];
        if device.references.contains_key(&point) {
            return Ok(());
        }
        let read = device.reads.iter().find(|r| {
            let holds = |p: &blocks::Place| device.profile.points[p.point].point == point;
            r.block.places.iter().any(holds)
        });
        let Some((key, question)) = read.map(|r| (r.key, ask(&r.block))) else {
            return Err(Fault::Final(format!(
                "{point} is not read, and what the device takes depends on it"
            )));
        };
        let answer = self.transact(index, question).await?;
        self.publish(index, key, &answer);
        Ok(())
    }

    /// Reads the written register back and compares.
    async fn prove(&mut self, index: usize, written: &Written) -> Result<(), String> {
        let mut why = String::new();
        for attempt in 0..READBACKS_MAX {
            if attempt > 0 {
                tokio::time::sleep(READBACK_WAIT).await;
            }
            let mut answers = Vec::new();
            let mut failed = None;
            for block in &written.recipe.readback {
                match self.transact(index, ask(block)).await {
                    Ok(answer) => answers.push(answer.words),
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            let device = &self.devices[index];
            let Some(control) = device.profile.controls.get(written.control) else {
                return Err("its registers are not in this device".to_owned());
            };
            let verdict = match failed {
                None => written.recipe.verify(control, &written.composed, &answers),
                Some(error) => Err(format!("register not read back: {error}")),
            };
            match verdict {
                Ok(()) => return Ok(()),
                Err(text) => why = format!("{}: {}: {text}", device.spec.id, control.point),
            }
            if !self.link.is_up() {
                break;
            }
        }
        Err(why)
    }
}
