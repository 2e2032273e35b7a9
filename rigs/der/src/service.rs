//! Enter service: the window, the delay that starts anew with every excursion, and the ramp.

use crate::filter::{Ramp, Timer};
use crate::settings::EnterService;
use crate::voltage::Volts;

/// Reference of the ramp when it is over. Above the rating, so that the last step is a whole one.
/// As OpenDER 2.2.0 has it.
const OVER: f64 = 1.1;

/// Delay and ramp.
#[derive(Clone, Debug, Default)]
pub struct Entering {
    delay: Timer,
    ramp: Ramp,
}

impl Entering {
    /// Whether all that is asked has held for the delay. It is looked at in service, too, so that an
    /// excursion shortly before a trip counts. Unless it `restarts`, an excursion only holds it up.
    pub fn may_enter(
        &mut self,
        settings: &EnterService,
        v: Volts,
        f_hz: f64,
        permit: bool,
        restarts: bool,
        dt_s: f64,
    ) -> bool {
        let window = v.low() >= settings.v_lo_pu
            && v.high() <= settings.v_hi_pu
            && f_hz >= settings.f_lo_hz
            && f_hz <= settings.f_hi_hz;
        let holds = window && permit;
        (holds || restarts) && self.delay.step(holds, settings.delay_s, dt_s)
    }

    /// Time in seconds that is left of the delay.
    #[must_use]
    pub fn left_s(&self, settings: &EnterService) -> f64 {
        (settings.delay_s - self.delay.held_s()).max(0.0)
    }

    /// The share of the rating that the ramp allows; more than 1 when it is over.
    pub fn share(&mut self, settings: &EnterService, dt_s: f64) -> f64 {
        self.ramp.step(OVER, settings.ramp_s, 0.0, dt_s)
    }

    /// In service at once, as what brings up its own bus is: nothing of the ramp is left.
    pub fn complete(&mut self) {
        self.ramp.reset(OVER);
    }

    /// Out of service: the next ramp begins at nothing.
    pub fn leave(&mut self) {
        self.ramp.reset(0.0);
    }
}
