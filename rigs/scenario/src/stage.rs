//! Plays a script: its steps by the clock of the run, on the bench and through the controller's door.

mod board;
mod play;
mod source;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use document::{Actor, Diagnostic};
use emulator::bench::Handle;
use emulator::course::Course;
use emulator::faults::Fault;
use model::{
    Clock, DeviceIx, Instant, Mode, ModeRequest, Order, Reading, Role, ServiceIx, Setpoint,
};
use quantities::{ActivePower, ReactivePower};
use runtime::clock::SimClock;
use runtime::engine::OrderQueue;
use runtime::rig::Rig;

use crate::check::WindowEnd;
use crate::recorder::SharedRecording;
use crate::script::{Action, Anchor, Moment, Progress, Scenario, Step};
use crate::series::FaultSpan;
use crate::signal::{Signal, SignalQuantity};
use crate::verdict::Verdict;
pub(crate) use board::Board;
pub(crate) use play::Played;
pub(crate) use source::is_input;
use source::{HeldSource, source_of};

/// Time for the bench to answer before a scenario begins.
/// Chosen: 10 s, the longest first contact of the bundled profiles with one lost connection.
const READY_WITHIN: Duration = Duration::from_secs(10);
/// Whose fault it is when no device and no bus is meant: its clock can jump.
pub(crate) const CONTROLLER: &str = "controller";
/// How often waiting steps look. Chosen: half a control period.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Record kept after the last step when no check asks for more. Chosen: 1 s, ten cycles.
pub(crate) const AFTERMATH: Duration = Duration::from_secs(1);

/// Why a scenario did not come to its end.
pub(crate) struct Broken {
    /// How the scenario counts.
    pub(crate) verdict: Verdict,
    /// Why.
    pub(crate) why: String,
}

impl Broken {
    /// The bench was not there.
    pub(crate) fn infrastructure(why: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Infrastructure,
            why: why.into(),
        }
    }

    /// Both, which count as the worse of the two.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            verdict: self.verdict.worse(other.verdict),
            why: format!("{}; {}", self.why, other.why),
        }
    }

    /// What diagnostics mean for a scenario.
    pub(crate) fn of(faults: &[Diagnostic]) -> Self {
        let author = faults.iter().any(|f| f.actor == Actor::Author);
        Self {
            verdict: if author {
                Verdict::Config
            } else {
                Verdict::Infrastructure
            },
            why: faults
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; "),
        }
    }
}

/// Where a script is played: the bench, the controller's door, the clock, the record.
pub(crate) struct Stage<'a> {
    pub(crate) rig: &'a Rig,
    pub(crate) clock: &'a dyn Clock,
    /// The controller's own clock, where its wall side can be stepped: in virtual time.
    pub(crate) wall: Option<SimClock>,
    pub(crate) bench: Option<Handle>,
    pub(crate) orders: OrderQueue,
    pub(crate) recording: SharedRecording,
    pub(crate) ramps: Vec<HeldRamp>,
    pub(crate) courses: Vec<Playing>,
    pub(crate) returns: Vec<Return>,
    pub(crate) marks: BTreeMap<String, Instant>,
    /// Active and reactive power that devices are held to, in watt and var.
    pub(crate) held: BTreeMap<DeviceIx, (f64, f64)>,
    /// What sources are held to.
    pub(crate) sources: BTreeMap<DeviceIx, HeldSource>,
    /// Set points and baselines that were said.
    pub(crate) said: BTreeMap<Signal, f64>,
    /// Where it is shown how far the script is, while a page is served.
    pub(crate) board: Option<Board>,
}

/// A recorded course that was begun.
pub(crate) struct Playing {
    course: Arc<Course>,
    signals: Vec<Signal>,
    began: Instant,
    /// The row whose values are set.
    row: Option<usize>,
}

/// Something that a step has set for a time, and that goes back.
pub(crate) struct Return {
    signal: Signal,
    value: f64,
    at: Instant,
}

/// A held setpoint that moves along a straight line.
pub(crate) struct HeldRamp {
    signal: Signal,
    from: f64,
    to: f64,
    began: Instant,
    over: Duration,
}

impl Stage<'_> {
    /// Every device answers and the mode is known, or the bench is not there.
    async fn wait_until_ready(&mut self) -> Result<(), Broken> {
        let began = self.clock.now();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let (known, heard) = self.recording.with(|r| {
                let known = r
                    .modes
                    .last()
                    .is_some_and(|(_, mode)| *mode != Mode::Starting);
                let heard: Vec<String> = r
                    .events
                    .iter()
                    .filter(|e| e.kind == "device_online")
                    .filter_map(|e| e.device.clone())
                    .collect();
                (known, heard)
            });
            let absent: Vec<&str> = self
                .rig
                .devices
                .iter()
                .map(|d| &*d.id)
                .filter(|id| !heard.iter().any(|h| h == id))
                .collect();
            if known && absent.is_empty() {
                return Ok(());
            }
            if self.clock.now().since(began) >= READY_WITHIN {
                return Err(Broken::infrastructure(if absent.is_empty() {
                    "the bench did not come up: its mode stayed unknown".to_owned()
                } else {
                    format!("these devices did not answer: {}", absent.join(", "))
                }));
            }
        }
    }

    fn moment(&self, moment: &Moment, start: Instant, previous: Instant) -> Instant {
        let anchor = match &moment.anchor {
            Anchor::Start => start,
            Anchor::Previous | Anchor::End => previous,
            Anchor::Mark(mark) => self.marks.get(mark).copied().unwrap_or(start),
        };
        moment.from_anchor(anchor)
    }

    async fn sleep_until(&mut self, at: Instant) {
        loop {
            self.move_ramps();
            let left = at.since(self.clock.now());
            if left.is_zero() {
                return;
            }
            // Held ramps move while we wait; without one there is nothing to do until then.
            let nap = if self.ramps.is_empty() && self.courses.is_empty() {
                left
            } else {
                left.min(LOOK_EVERY)
            };
            let now = self.clock.now();
            let returns = self.returns.iter().map(|back| back.at.since(now));
            tokio::time::sleep(returns.fold(nap, Duration::min)).await;
        }
    }

    async fn wait_for(&mut self, step: &Step, began: Instant) -> Result<(), Broken> {
        let Some(until) = &step.until else {
            return Ok(());
        };
        loop {
            self.move_ramps();
            let now = self.clock.now();
            match self.recording.with(|r| until.progress(r, began, now)) {
                Progress::Met => return Ok(()),
                Progress::Waiting => tokio::time::sleep(LOOK_EVERY).await,
                Progress::Late => {
                    return Err(Broken {
                        verdict: Verdict::Fail,
                        why: format!(
                            "{}: what the step waits for did not come within {} s",
                            step.origin,
                            until.within.as_secs_f64()
                        ),
                    });
                }
            }
        }
    }

    fn act(&mut self, action: &Action, step: &Step) -> Result<(), Broken> {
        let at = |e: String| Broken {
            verdict: Verdict::Config,
            why: format!("{}: {e}", step.origin),
        };
        match action {
            Action::Set { signal, value } | Action::Step { signal, value } => {
                self.put(signal, *value).map_err(at)
            }
            Action::Pulse {
                signal,
                value,
                length,
            } => self.pulse(signal, *value, *length).map_err(at),
            Action::Play { course, .. } if course.row(Duration::ZERO).is_none() => Err(at(
                "the course has no row at 0, and nothing would be set until its first".into(),
            )),
            Action::Play { course, signals } => {
                self.courses.push(Playing {
                    course: Arc::clone(course),
                    signals: signals.clone(),
                    began: self.clock.now(),
                    row: None,
                });
                self.move_courses().map_err(at)
            }
            Action::Hold { signal, value } => self.hold(signal, *value).map_err(at),
            Action::Ramp { signal, to, over } => self.ramp(signal, *to, *over).map_err(at),
            Action::Release { device } => {
                let device = self
                    .rig
                    .device(device)
                    .ok_or_else(|| at(format!("the rig has no device `{device}`")))?;
                self.held.remove(&device);
                self.sources.remove(&device);
                self.orders.push(Order::Release { device });
                Ok(())
            }
            Action::Unplug { device, out } => {
                let device = self
                    .rig
                    .device(device)
                    .ok_or_else(|| at(format!("the rig has no device `{device}`")))?;
                self.order(Order::Unplug { device, out: *out }).map_err(at)
            }
            Action::Fault {
                subject,
                name,
                fault,
            } => self.fault(subject, name, fault.as_ref()).map_err(at),
            Action::HandOver { to } => {
                let to = self
                    .rig
                    .device(to)
                    .ok_or_else(|| at(format!("the rig has no device `{to}`")))?;
                self.order(Order::HandOver { to }).map_err(at)
            }
            Action::Adopt {
                device,
                characteristic,
                revert,
            } => {
                let device = self
                    .rig
                    .device(device)
                    .ok_or_else(|| at(format!("the rig has no device `{device}`")))?;
                self.order(Order::Adopt {
                    device,
                    characteristic: characteristic.clone(),
                    revert: *revert,
                })
                .map_err(at)
            }
            Action::Mode(request) => {
                self.orders.push(Order::Mode(*request));
                Ok(())
            }
            Action::Agree(agreement) => {
                self.orders.push(Order::Agree(*agreement));
                Ok(())
            }
        }
    }

    fn put(&mut self, signal: &Signal, value: f64) -> Result<(), String> {
        if is_input(self.rig, signal) {
            self.set_input(signal, value)
        } else {
            self.hold(signal, value)
        }
    }

    /// Sets a signal for a time.
    fn pulse(&mut self, signal: &Signal, value: f64, length: Duration) -> Result<(), String> {
        if is_input(self.rig, signal) {
            let Some(bench) = &self.bench else {
                return Err(format!("`{signal}` can only be set on an emulated bench"));
            };
            // The plant itself knows when the time is over, to a step of it.
            return bench
                .pulse(&signal.to_string(), self.input_value(signal, value), length)
                .map_err(|e| e.to_string());
        }
        let before = match (signal.quantity, source_of(self.rig, signal)?) {
            (SignalQuantity::ServiceSignal | SignalQuantity::Baseline, _) => {
                Some(self.said.get(signal).copied().unwrap_or_default())
            }
            // A phase is said as a jump: the way back is the same one.
            (SignalQuantity::PhaseJump, _) => Some(-value),
            (quantity, Some(source)) => {
                let held = self.sources.get(&source);
                held.and_then(|held| held.value(quantity))
            }
            (quantity, None) => {
                let device = self.rig.device(&signal.subject);
                let held = device.and_then(|device| self.held.get(&device));
                held.and_then(|held| match quantity {
                    SignalQuantity::ActivePower => Some(held.0),
                    SignalQuantity::ReactivePower => Some(held.1),
                    _ => None,
                })
            }
        };
        let before = before.ok_or_else(|| {
            format!("`{signal}` was never set, so there is nothing to go back to")
        })?;
        self.hold(signal, value)?;
        self.returns.push(Return {
            signal: signal.clone(),
            value: before,
            at: self.clock.now() + length,
        });
        Ok(())
    }

    /// Takes back what was set for a time that is over.
    fn take_back(&mut self) -> Result<(), String> {
        let now = self.clock.now();
        let (due, later) = std::mem::take(&mut self.returns)
            .into_iter()
            .partition(|back| back.at <= now);
        self.returns = later;
        let due: Vec<Return> = due;
        due.into_iter()
            .try_for_each(|back| self.hold(&back.signal, back.value))
    }

    /// Sets what the rows say that have come since the last look.
    fn move_courses(&mut self) -> Result<(), String> {
        let now = self.clock.now();
        let mut due = Vec::new();
        self.courses.retain_mut(|playing| {
            let time = now.since(playing.began);
            let row = playing.course.row(time);
            if row != playing.row {
                playing.row = row;
                let values = playing.course.at(time).into_iter().flatten();
                let values = values.map(|(_, value)| value);
                due.extend(playing.signals.iter().cloned().zip(values));
            }
            time < playing.course.length()
        });
        due.into_iter()
            .try_for_each(|(signal, value)| self.put(&signal, value))
    }

    fn set_input(&self, signal: &Signal, value: f64) -> Result<(), String> {
        let Some(bench) = &self.bench else {
            return Err(format!("`{signal}` can only be set on an emulated bench"));
        };
        bench
            .set(&signal.to_string(), self.input_value(signal, value))
            .map_err(|e| e.to_string())
    }

    /// The emulator counts a load's consumption as positive; scenarios have one sign for all.
    fn input_value(&self, signal: &Signal, value: f64) -> f64 {
        match signal.quantity {
            SignalQuantity::ActivePower | SignalQuantity::ReactivePower => -value,
            _ => value,
        }
    }

    /// Says something to the services: the set point of one, or the baseline of a device.
    fn say(&mut self, signal: &Signal, value: f64) -> Result<(), String> {
        let name = &signal.subject;
        let order = if signal.quantity == SignalQuantity::ServiceSignal {
            let mut services = self.rig.control.services.iter();
            let index = services.position(|sold| sold.name == *name);
            let index = index.ok_or_else(|| format!("the rig has sold no service `{name}`"))?;
            Order::Signal {
                service: ServiceIx(index as u16),
                fraction: value,
            }
        } else {
            let device = self.rig.device(name);
            Order::Baseline {
                device: device.ok_or_else(|| format!("the rig has no device `{name}`"))?,
                p: ActivePower::from_watts(value),
            }
        };
        self.said.insert(signal.clone(), value);
        if signal.quantity == SignalQuantity::ServiceSignal {
            let now = self.clock.now();
            self.recording
                .with(|r| r.push(signal, now, Reading::Good(value)));
        }
        self.order(order)
    }

    fn hold(&mut self, signal: &Signal, value: f64) -> Result<(), String> {
        if matches!(
            signal.quantity,
            SignalQuantity::ServiceSignal | SignalQuantity::Baseline
        ) {
            return self.say(signal, value);
        }
        if let Some(device) = source_of(self.rig, signal)? {
            let held = self.sources.entry(device).or_default();
            let setpoint = held.take(signal.quantity, value);
            let setpoint = setpoint.ok_or_else(|| format!("`{signal}` cannot be held"))?;
            return self.order(Order::Hold { device, setpoint });
        }
        let device = self
            .rig
            .device(&signal.subject)
            .ok_or_else(|| format!("the rig has no device `{}`", signal.subject))?;
        let role = self.rig.devices[device.index()].role;
        let setpoint = match (signal.quantity, role) {
            (SignalQuantity::ActivePower, Role::Pv) => Setpoint::Ceiling {
                p: ActivePower::from_watts(value),
            },
            // Holding one of the two leaves the other where it is held.
            (quantity @ (SignalQuantity::ActivePower | SignalQuantity::ReactivePower), _) => {
                let held = self.held.entry(device).or_insert((0.0, 0.0));
                if quantity == SignalQuantity::ActivePower {
                    held.0 = value;
                } else {
                    held.1 = value;
                }
                Setpoint::Power {
                    p: ActivePower::from_watts(held.0),
                    q: ReactivePower::from_vars(held.1),
                }
            }
            (SignalQuantity::Switch, _) => Setpoint::Switch { on: value >= 0.5 },
            _ => return Err(format!("`{signal}` cannot be held")),
        };
        self.order(Order::Hold { device, setpoint })
    }

    fn order(&self, order: Order) -> Result<(), String> {
        if self.orders.push(order) {
            Ok(())
        } else {
            Err("too many orders wait".into())
        }
    }

    fn ramp(&mut self, signal: &Signal, to: f64, over: Duration) -> Result<(), String> {
        if is_input(self.rig, signal) {
            let Some(bench) = &self.bench else {
                return Err(format!("`{signal}` can only be moved on an emulated bench"));
            };
            return bench
                .ramp(&signal.to_string(), self.input_value(signal, to), over)
                .map_err(|e| e.to_string());
        }
        let now = self.clock.now();
        let source = source_of(self.rig, signal)?.and_then(|device| self.sources.get(&device));
        // What was never said is nothing: that is what a service takes it for.
        let of_service = matches!(
            signal.quantity,
            SignalQuantity::ServiceSignal | SignalQuantity::Baseline
        );
        let said = self.said.get(signal).copied();
        let from = source
            .and_then(|held| held.value(signal.quantity))
            .or(said.or(of_service.then_some(0.0)))
            .or_else(|| {
                self.recording.with(|r| {
                    let series = r.series.get(signal)?;
                    series.held(now, Duration::from_secs(5)).map(|(_, v)| v)
                })
            })
            .ok_or_else(|| {
                format!("`{signal}` was never measured, so it cannot be moved from there")
            })?;
        self.ramps.retain(|r| r.signal != *signal);
        self.ramps.push(HeldRamp {
            signal: signal.clone(),
            from,
            to,
            began: now,
            over,
        });
        Ok(())
    }

    fn move_ramps(&mut self) {
        if let Err(why) = self.move_courses() {
            tracing::warn!(message = "A recorded course could not go on.", why);
        }
        if let Err(why) = self.take_back() {
            tracing::warn!(message = "What was set for a time could not go back.", why);
        }
        let now = self.clock.now();
        let mut moved = Vec::new();
        self.ramps.retain(|ramp| {
            let part = now.since(ramp.began).as_secs_f64() / ramp.over.as_secs_f64().max(1e-9);
            let part = part.min(1.0);
            moved.push((
                ramp.signal.clone(),
                ramp.from + (ramp.to - ramp.from) * part,
            ));
            part < 1.0
        });
        for (signal, value) in moved {
            // The device was found when the ramp began.
            if let Err(why) = self.hold(&signal, value) {
                tracing::warn!(message = "A ramp could not go on.", why);
            }
        }
    }

    fn fault(&self, subject: &str, name: &str, fault: Option<&Fault>) -> Result<(), String> {
        if subject == CONTROLLER && self.rig.device(subject).is_none() {
            return self.step_wall(name, fault);
        }
        let Some(bench) = &self.bench else {
            return Err("faults can only be put into an emulated bench".into());
        };
        let now = self.clock.now();
        match fault {
            Some(fault) => {
                bench
                    .set_fault(subject, *fault, true)
                    .map_err(|e| e.to_string())?;
                let what = format!("{subject}.{fault}");
                self.recording.with(|r| {
                    r.faults.push(FaultSpan {
                        what,
                        from: now,
                        to: None,
                    });
                });
            }
            None => {
                let fault = Fault::parse(name)
                    .or_else(|_| Fault::parse(&format!("{name}=1")))
                    .or_else(|_| Fault::parse(&format!("{name}=1s")))
                    .or_else(|_| Fault::parse(&format!("{name}=1%")))
                    .map_err(|e| e.to_string())?;
                bench
                    .set_fault(subject, fault, false)
                    .map_err(|e| e.to_string())?;
                let begins = format!("{subject}.{name}");
                self.recording.with(|r| {
                    for span in r.faults.iter_mut().filter(|s| s.what.starts_with(&begins)) {
                        span.to.get_or_insert(now);
                    }
                });
            }
        }
        Ok(())
    }

    /// Steps the wall clock of the controller itself.
    fn step_wall(&self, name: &str, fault: Option<&Fault>) -> Result<(), String> {
        match (fault, &self.wall) {
            (Some(Fault::ClockJump(by_s)), Some(clock)) => {
                clock.step_wall(*by_s);
                Ok(())
            }
            (Some(Fault::ClockJump(_)), None) => {
                Err("the machine's clock is not ours to step: use `--speed max`".into())
            }
            (Some(_), _) => Err(format!("the controller has no fault `{name}`")),
            (None, _) => Err("a clock that has jumped is set back by another jump".into()),
        }
    }

    /// The latest moment that a check looks at.
    fn end_of_record(&self, scenario: &Scenario, start: Instant, previous: Instant) -> Instant {
        let mut end = previous + AFTERMATH;
        for check in &scenario.checks {
            let Some(window) = check.kind.window() else {
                continue;
            };
            let needs = match &window.to {
                WindowEnd::For(time) => self.moment(&window.from, start, previous) + *time,
                WindowEnd::At(moment) if moment.anchor == Anchor::End => continue,
                WindowEnd::At(moment) => self.moment(moment, start, previous),
            };
            // The sample that ends the window must have been taken.
            end = end.max(needs + AFTERMATH);
        }
        end
    }

    async fn bring_to_rest(&mut self, devices: &[String], within: Duration) -> Result<(), Broken> {
        for name in devices {
            if self.rig.device(name).is_none() {
                return Err(Broken {
                    verdict: Verdict::Config,
                    why: format!("`after.safe`: the rig has no device `{name}`"),
                });
            }
        }
        self.orders.push(Order::Mode(ModeRequest::Safe));
        let began = self.clock.now();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let at_rest = devices.iter().all(|name| self.is_at_rest(name, began));
            if at_rest {
                return Ok(());
            }
            if self.clock.now().since(began) >= within {
                return Err(Broken {
                    verdict: Verdict::Safety,
                    why: format!(
                        "{} did not come to rest within {} s",
                        devices.join(", "),
                        within.as_secs_f64()
                    ),
                });
            }
        }
    }

    /// Whether a device's measured power is near zero, measured since `began`.
    fn is_at_rest(&self, name: &str, began: Instant) -> bool {
        let Some(device) = self.rig.device(name) else {
            return false;
        };
        let widest = self.rig.devices[device.index()].p.map_or(1000.0, |p| {
            p.upper().as_watts().abs().max(p.lower().as_watts().abs())
        });
        // Chosen: 3 % of the rating and at least 60 W, as for every setpoint.
        let near = (widest * 0.03).max(60.0);
        let signal = Signal::new(name, SignalQuantity::ActivePower);
        let now = self.clock.now();
        self.recording.with(|r| {
            r.series
                .get(&signal)
                .and_then(|s| s.measured(began, now).last())
                .is_some_and(|(_, p)| p.abs() <= near)
        })
    }
}
