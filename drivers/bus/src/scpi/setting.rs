//! Carrying out a setting: control, limits, the message, completion, errors, and the proof.

use std::time::Duration;

use model::{Point, Setpoint, Stage};
use profile::scpi::Setting;

use super::link::LinkError;
use super::{Bus, ONLY, codec};
use crate::plan::Write;
use crate::{BusStats, LinkEvent};

/// Entries that are taken from an error queue before it counts as endless.
/// Chosen: twice the 16 to 20 entries that instruments hold.
const ERRORS_MAX: usize = 40;

/// Readbacks before a difference counts. Chosen: with [`READBACK_WAIT`] a source has 150 ms to settle.
const READBACKS_MAX: u8 = 4;

/// Wait between two readbacks. Chosen: a few cycles of the mains.
const READBACK_WAIT: Duration = Duration::from_millis(50);

/// Attempts at a setting whose reply was lost. Chosen: one lost reply is noise; settings may be repeated.
const ATTEMPTS_MAX: u8 = 3;

/// Why a setting was not carried out.
enum Fault {
    /// The line or the instrument: another attempt may succeed.
    Link(LinkError),
    /// Another attempt would fail alike.
    Final(String),
}

impl From<LinkError> for Fault {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

/// What a setpoint sets, in the order in which it is safe: an output is opened before and closed
/// after its values are changed.
fn targets(setpoint: Setpoint) -> Vec<(Point, f64)> {
    let flag = |on: bool| f64::from(u8::from(on));
    match setpoint {
        Setpoint::Power { p, .. } => vec![(Point::ActivePowerSet, p.as_watts())],
        Setpoint::Ceiling { p } => vec![(Point::ActivePowerLimit, p.as_watts())],
        Setpoint::Switch { on } => vec![(Point::SwitchOn, flag(on))],
        Setpoint::Source { f, v, phase, on } => {
            let output = on.map(|on| (Point::SwitchOn, flag(on)));
            let values = [
                v.map(|v| (Point::VoltageSet, v.as_volts())),
                f.map(|f| (Point::FrequencySet, f.as_hertz())),
                phase.map(|phase| (Point::PhaseSet, phase.as_degrees())),
            ];
            let opens = output.filter(|_| on == Some(false));
            let closes = output.filter(|_| on == Some(true));
            opens
                .into_iter()
                .chain(values.into_iter().flatten())
                .chain(closes)
                .collect()
        }
    }
}

impl Bus {
    pub(super) async fn write(&mut self, write: Write) {
        self.writing = Some((write, Stage::Written));
        self.set_and_prove(write).await;
        self.writing = None;
    }

    async fn set_and_prove(&mut self, write: Write) {
        let ix = self.device.ix;
        let mut done = Vec::new();
        let targets = targets(write.setpoint);
        let holds = |bus: &Self, (point, value): &(Point, f64)| bus.held.get(point) == Some(value);
        let changes = targets.iter().any(|target| !holds(self, target));
        for (point, value) in targets {
            // Where something changes, what is held already is not said again; a setpoint that
            // says nothing new is meant to be said once more.
            if changes && holds(self, &(point, value)) {
                continue;
            }
            match self.set(point, value).await {
                Ok(()) => done.push((point, value)),
                Err(fault) => {
                    self.write_failed(write, point, fault);
                    return;
                }
            }
        }
        self.confirm(write, Stage::Written);
        self.writing = Some((write, Stage::Register));
        for (point, value) in done {
            if let Err(why) = self.prove(point, value).await {
                self.held.remove(&point);
                self.missed(write.dispatch, ix, Stage::Register, why);
                return;
            }
        }
        self.confirm(write, Stage::Register);
    }

    fn confirm(&self, write: Write, stage: Stage) {
        self.sink.event(LinkEvent::Confirmed {
            dispatch: write.dispatch,
            device: self.device.ix,
            stage,
            at: self.clock.now(),
        });
    }

    fn write_failed(&mut self, mut write: Write, point: Point, fault: Fault) {
        self.held.remove(&point);
        let why = match &fault {
            Fault::Link(error) => format!("{}: {point}: {error}", self.device.id),
            Fault::Final(why) => format!("{}: {point}: {why}", self.device.id),
        };
        if matches!(fault, Fault::Link(_)) && write.refusals + 1 < ATTEMPTS_MAX {
            write.refusals += 1;
            self.stats.add_to(self.device.ix, |d| &d.retries, 1);
            write.not_before = self.now();
            if self.plan.write_again(write) {
                return;
            }
        }
        self.missed(write.dispatch, self.device.ix, Stage::Written, why);
    }

    /// Sends a held setting again, so that the instrument's own watchdog stays quiet.
    pub(super) async fn refresh(&mut self, point: Point) {
        self.plan.refresh_done(ONLY, point, self.now());
        let Some(value) = self.held.get(&point).copied() else {
            return;
        };
        let why = match self.set(point, value).await {
            Ok(()) => self.prove(point, value).await.err(),
            Err(Fault::Link(error)) => Some(error.to_string()),
            Err(Fault::Final(why)) => Some(why),
        };
        if let Some(why) = why {
            let text = format!("{}: keep-alive of {point}: {why}", self.device.id);
            self.notice(Some(self.device.ix), text);
        }
    }

    fn setting(&self, point: Point) -> Option<Setting> {
        let mut controls = self.profile.controls.iter();
        controls.find(|c| c.point == point).cloned()
    }

    async fn set(&mut self, point: Point, value: f64) -> Result<(), Fault> {
        let Some(setting) = self.setting(point) else {
            return Err(Fault::Final(format!(
                "profile {} cannot set it",
                self.device.profile.id
            )));
        };
        if let Some((low, high)) = setting.range
            && !(low..=high).contains(&value)
        {
            return Err(Fault::Final(format!(
                "{value} {} lies outside the {low} to {high} that the instrument takes; narrow the rig's limits",
                point.unit()
            )));
        }
        self.take_control().await?;
        let message = codec::compose(&setting, value);
        self.carry_out(&message).await?;
        self.held.insert(point, value);
        let now = self.now();
        self.plan.set_refresh(ONLY, point, setting.refresh, now);
        Ok(())
    }

    /// Gives control to the line and limits to the instrument, once per connection.
    async fn take_control(&mut self) -> Result<(), Fault> {
        if self.remote {
            return Ok(());
        }
        // What stands in the queue from before is not the fault of what comes now.
        let before = self.take_errors().await?;
        if !before.is_empty() {
            let text = format!(
                "{}: its error queue held from before: {}",
                self.device.id,
                before.join("; ")
            );
            self.notice(Some(self.device.ix), text);
        }
        for message in self.profile.remote.clone() {
            self.carry_out(&message).await?;
        }
        for setting in self.profile.controls.clone() {
            let limits = self.device.limits.iter().find(|l| l.point == setting.point);
            if let (Some(limit), Some(limits)) = (&setting.limit, limits) {
                let message = codec::compose_limit(&setting, limit, (limits.low, limits.high));
                self.carry_out(&message).await?;
            }
        }
        self.remote = true;
        Ok(())
    }

    /// Sends a message, waits until it is done, and takes the errors that it made.
    async fn carry_out(&mut self, message: &str) -> Result<(), Fault> {
        let Some(permit) = self.permit else {
            return Err(Fault::Final("the bench is not armed".to_owned()));
        };
        let told = self.link.tell(message, permit).await;
        self.heard_failure(told)?;
        let reply = self.ask("*OPC?").await?;
        if !codec::is_complete(&reply) {
            self.link.doubt();
            return Err(Fault::Link(LinkError::Corrupt));
        }
        let errors = self.take_errors().await?;
        if errors.is_empty() {
            return Ok(());
        }
        let refusals = errors.len() as u64;
        BusStats::add(&self.stats.exceptions, refusals);
        self.stats
            .add_to(self.device.ix, |d| &d.exceptions, refusals);
        Err(Fault::Final(format!(
            "the instrument refuses `{message}`: {}; check its mode, its own limits, and that it is in remote control",
            errors.join("; ")
        )))
    }

    /// A message without a reply proves nothing, but one that cannot be sent is a failure.
    fn heard_failure(&mut self, result: Result<(), LinkError>) -> Result<(), LinkError> {
        match result {
            Ok(()) => Ok(()),
            failed => self.heard(failed),
        }
    }

    /// Reads the error queue to its end.
    async fn take_errors(&mut self) -> Result<Vec<String>, Fault> {
        let query = self.profile.errors.clone();
        let mut errors = Vec::new();
        while errors.len() < ERRORS_MAX {
            let reply = self.ask(&query).await?;
            match codec::error_entry(&reply) {
                Ok(None) => return Ok(errors),
                Ok(Some(error)) => errors.push(error),
                Err(_) => {
                    self.link.doubt();
                    return Err(Fault::Link(LinkError::Corrupt));
                }
            }
        }
        errors.push(format!("and no end after {ERRORS_MAX} entries"));
        Ok(errors)
    }

    /// Reads a setting back and compares.
    async fn prove(&mut self, point: Point, value: f64) -> Result<(), String> {
        let Some(setting) = self.setting(point) else {
            return Err(format!("{}: {point} cannot be set", self.device.id));
        };
        let mut why = String::new();
        for attempt in 0..READBACKS_MAX {
            if attempt > 0 {
                tokio::time::sleep(READBACK_WAIT).await;
            }
            let verdict = match self.ask(&setting.readback).await {
                Ok(reply) => match codec::read_back(&setting, &reply) {
                    Ok(found) if (found - value).abs() <= setting.tolerance + slack(value) => {
                        return Ok(());
                    }
                    Ok(found) => format!("`{}` tells {found}, set was {value}", setting.readback),
                    Err(_) => {
                        self.link.doubt();
                        format!("`{}` is answered with `{reply}`", setting.readback)
                    }
                },
                Err(error) => format!("`{}`: {error}", setting.readback),
            };
            why = format!("{}: {point}: {verdict}", self.device.id);
            if !self.link.is_up() {
                break;
            }
        }
        Err(why)
    }

    /// After a new connection: whether the instrument still holds what it was set to. One that was
    /// switched off and on again does not, and nobody but a person switches it on once more.
    pub(super) async fn look_after_held(&mut self) {
        let mut has_restarted = false;
        for (point, value) in self.held.clone() {
            if let Err(why) = self.prove(point, value).await {
                if !self.link.is_up() || self.plan.is_offline(ONLY) {
                    return;
                }
                self.held.remove(&point);
                self.plan.set_refresh(ONLY, point, None, self.now());
                let text = format!(
                    "{why}; it has lost its settings, as after a restart, and is left as it is: set it anew"
                );
                self.notice(Some(self.device.ix), text);
                has_restarted = true;
            }
        }
        if has_restarted {
            self.forgo_waiting();
        }
    }

    /// What still waits was decided for the instrument as it was before it restarted: the controller
    /// has to see it as it is now, and decide anew.
    fn forgo_waiting(&mut self) {
        for write in self.plan.take_writes(|write| !write.urgent) {
            let why = format!(
                "{}: the instrument has restarted before it could be set",
                self.device.id
            );
            self.missed(write.dispatch, self.device.ix, Stage::Written, why);
        }
    }
}

/// Rounding of a decimal number on its way through text. Chosen: far below any last digit.
fn slack(value: f64) -> f64 {
    value.abs() * 1e-9 + 1e-9
}
