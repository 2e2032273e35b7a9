//! The safe end: what was touched is brought to rest, all at once or step by step.

use std::time::Duration;

use model::{DeviceIx, Function, Instant, ProcessImage, RestStep, Role, Setpoint};

use super::{Controller, Dispatch};

/// How long a setpoint of the safe end may be on its way.
/// Chosen: 10 s, far longer than any bus needs: rest is never too late.
const REST_VALIDITY: Duration = Duration::from_secs(10);

impl Controller {
    /// The devices that were asked for something since the bench was armed.
    pub fn touched(&self) -> impl Iterator<Item = DeviceIx> {
        self.sent.keys().copied()
    }

    /// Brings every device to rest that was touched: the safe end of a run, or of being armed.
    #[must_use]
    pub fn rest(&mut self, now: Instant, why: &str) -> Vec<Dispatch> {
        self.rest_of(now, why, |_| true)
    }

    /// Brings the devices of a step to rest, and opens the breaker in its step if the rig wants that.
    pub(super) fn rest_step(
        &mut self,
        now: Instant,
        step: RestStep,
        image: &ProcessImage,
    ) -> Vec<Dispatch> {
        let why = format!("the bench comes to rest: {}", step.name());
        if step != RestStep::Breaker {
            return self.rest_of(now, &why, |spec| RestStep::of(spec) == Some(step));
        }
        let open = Setpoint::Switch { on: false };
        let breaker = self.bench.first(Role::Breaker).map(|(device, _)| device);
        let Some(device) = breaker.filter(|_| self.bench.settings.safe_opens_breaker) else {
            return Vec::new();
        };
        let Ok(verdict) = self.limiter.approve(now, device, open, image) else {
            return Vec::new();
        };
        self.sent.insert(device, (now, open));
        vec![Dispatch {
            device,
            setpoint: verdict.approved,
            function: Function::Safety,
            why,
            clamped: Vec::new(),
            valid_until: now + REST_VALIDITY,
            urgent: true,
        }]
    }

    fn rest_of(
        &mut self,
        now: Instant,
        why: &str,
        wanted: impl Fn(&model::DeviceSpec) -> bool,
    ) -> Vec<Dispatch> {
        let devices = 0..self.bench.devices.len();
        devices
            .filter(|index| wanted(&self.bench.devices[*index]))
            .filter_map(|index| {
                let device = DeviceIx(u16::try_from(index).ok()?);
                // What was never touched is not touched at the end either.
                let (_, last) = self.sent.remove(&device)?;
                let setpoint = self.limiter.rest(now, device)?;
                (last != setpoint.get()).then(|| Dispatch {
                    device,
                    setpoint,
                    function: Function::Safety,
                    why: why.into(),
                    clamped: Vec::new(),
                    valid_until: now + REST_VALIDITY,
                    urgent: true,
                })
            })
            .collect()
    }
}
