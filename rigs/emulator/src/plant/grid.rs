//! The utility behind the feeder.

use quantities::{Frequency, Voltage};

use super::Site;
use super::noise::Noise;

/// Standard deviation of the grid's natural frequency noise, in hertz.
/// Chosen: a quiet hour of the continental European system; large enough to be seen on
/// a page with two decimals, far inside every deadband.
const F_NOISE_HZ: f64 = 0.005;

/// Time over which the noise forgets itself, in seconds.
/// Chosen: of the order of primary control.
const F_NOISE_CORRELATION_S: f64 = 10.0;

/// Voltage below which the grid counts as dead, in per unit.
/// Chosen: half of nominal; no inverter rides through deeper dips for long.
const DEAD_BELOW_PU: f64 = 0.5;

/// Voltage below which nothing stands there, in per unit.
/// Chosen: what black-start procedures call a dead bus, 5 %.
const NO_VOLTAGE_PU: f64 = 0.05;

/// Time over which devices measure a frequency, in seconds.
/// Chosen: five cycles, between a relay's and the ten of IEC 61000-4-30.
const F_WINDOW_S: f64 = 0.1;

/// The utility: an ideal voltage source whose values are set from outside.
#[derive(Clone, Debug)]
pub struct Grid {
    f_set: f64,
    v_set: f64,
    energised: bool,
    noise: Noise,
    f: f64,
    phase_jump: f64,
    /// A jump of which devices see the frequency, in degrees, and the time left of their window.
    seen: (f64, f64),
    /// Where a source has set its angle, in degrees.
    phase_set: f64,
    /// Voltage of each phase as a share of the one that was set.
    shares: [f64; 3],
    /// By how many degrees each phase is turned forward from its place.
    turned_deg: [f64; 3],
}

impl Grid {
    pub(super) fn new(site: Site, seed: u64) -> Self {
        let f = site.f_nominal.as_hertz();
        Self {
            f_set: f,
            v_set: site.v_nominal.as_volts(),
            energised: true,
            noise: Noise::new(seed, F_NOISE_HZ, F_NOISE_CORRELATION_S),
            f,
            phase_jump: 0.0,
            seen: (0.0, 0.0),
            phase_set: 0.0,
            shares: [1.0; 3],
            turned_deg: [0.0; 3],
        }
    }

    /// Sets the frequency around which the noise plays.
    pub fn set_f(&mut self, f: Frequency) {
        self.f_set = f.as_hertz();
    }

    /// Sets the voltage, line to neutral.
    pub fn set_v(&mut self, v: Voltage) {
        self.v_set = v.as_volts().max(0.0);
    }

    /// Connects or loses the utility.
    pub fn set_energised(&mut self, energised: bool) {
        self.energised = energised;
    }

    /// Sets the standard deviation of the frequency noise.
    pub fn set_noise(&mut self, deviation: Frequency) {
        self.noise.set_deviation(deviation.as_hertz());
    }

    /// Lets the phase jump by some degrees.
    pub fn jump_phase(&mut self, degrees: f64) {
        self.phase_jump += degrees;
    }

    /// Sets the phase angle in degrees: the phase jumps by what it differs from the last one.
    pub fn set_phase(&mut self, degrees: f64) {
        self.jump_phase(degrees - self.phase_set);
        self.phase_set = degrees;
    }

    /// Sets the voltage of one phase, line to neutral, `phase` from 0 to 2: it keeps this share of the
    /// voltage of all of them when that is set. Nothing happens while that is zero.
    pub fn set_phase_v(&mut self, phase: usize, v: Voltage) {
        if let Some(share) = self.shares.get_mut(phase)
            && self.v_set > 0.0
        {
            *share = v.as_volts().max(0.0) / self.v_set;
        }
    }

    /// Turns one phase forward by some degrees, `phase` from 0 to 2. The frequency is not seen to
    /// move: what devices take for the angle is that of all three.
    pub fn turn_phase(&mut self, phase: usize, degrees: f64) {
        if let Some(turned) = self.turned_deg.get_mut(phase) {
            *turned += degrees;
        }
    }

    /// Voltage of each phase in volts; zero when the utility is lost.
    #[must_use]
    pub fn phases(&self) -> [f64; 3] {
        let v = if self.energised { self.v_set } else { 0.0 };
        self.shares.map(|share| share * v)
    }

    /// Voltage of each phase as a share of their mean, and how far each is turned in degrees; nothing
    /// when they are all alike.
    pub(crate) fn unbalance(&self) -> Option<([f64; 3], [f64; 3])> {
        let mean = self.mean_share();
        let alike = self.shares == [mean; 3] && self.turned_deg == [0.0; 3];
        (!alike && mean > 0.0).then(|| (self.shares.map(|share| share / mean), self.turned_deg))
    }

    fn mean_share(&self) -> f64 {
        let [a, b, c] = self.shares;
        // Three alike have no rounding.
        if a == b && b == c {
            a
        } else {
            (a + b + c) / 3.0
        }
    }

    /// Phase angle that was set, in degrees.
    #[must_use]
    pub fn phase_set(&self) -> f64 {
        self.phase_set
    }

    /// Voltage that was set, in volts, whether or not it stands there.
    #[must_use]
    pub fn v_set(&self) -> f64 {
        self.v_set
    }

    /// Whether the utility is connected.
    #[must_use]
    pub fn is_energised(&self) -> bool {
        self.energised
    }

    /// Frequency that was set, in hertz, without noise.
    #[must_use]
    pub fn f_set(&self) -> f64 {
        self.f_set
    }

    /// Frequency in hertz, with noise.
    #[must_use]
    pub fn f(&self) -> f64 {
        self.f
    }

    /// Voltage in volts, the mean of the phases; zero when the utility is lost.
    #[must_use]
    pub fn v(&self) -> f64 {
        if self.energised {
            self.v_set * self.mean_share()
        } else {
            0.0
        }
    }

    /// Whether any voltage stands there at all, be it that of a fault nearby.
    #[must_use]
    pub fn is_there(&self, site: Site) -> bool {
        self.v() >= NO_VOLTAGE_PU * site.v_nominal.as_volts()
    }

    /// Whether enough voltage stands there to feed a bus.
    #[must_use]
    pub fn is_live(&self, site: Site) -> bool {
        self.v() >= DEAD_BELOW_PU * site.v_nominal.as_volts()
    }

    pub(super) fn step(&mut self, dt_s: f64) {
        self.f = self.f_set + self.noise.step(dt_s);
        // Half a step of slack: the window is a whole number of them, told in binary fractions.
        self.seen.1 -= dt_s;
        if self.seen.1 < 0.5 * dt_s {
            self.seen = (0.0, 0.0);
        }
    }

    pub(super) fn take_phase_jump(&mut self) -> f64 {
        let jump = std::mem::take(&mut self.phase_jump);
        if jump != 0.0 {
            self.seen = (jump, F_WINDOW_S);
        }
        jump
    }

    /// Frequency in hertz as devices on it measure it: a jump of the phase spreads over their
    /// window, 20 degrees in 100 ms for instance as 0.56 Hz.
    #[must_use]
    pub fn f_seen(&self) -> f64 {
        let (jump, left_s) = self.seen;
        if left_s > 0.0 {
            self.f + jump / 360.0 / F_WINDOW_S
        } else {
            self.f
        }
    }
}
