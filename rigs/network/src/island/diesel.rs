//! A diesel set: an engine with a governor, its generator, and what it burns.

use super::Line;

/// What a set burns: a line over its power, as data sheets give it at four loads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fuel {
    /// Litres per hour without a load.
    pub idle_l_per_h: f64,
    /// Further litres per kilowatt-hour.
    pub l_per_kwh: f64,
}

/// What the engine does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Engine {
    /// It stands.
    Stopped,
    /// It was started and gives nothing yet.
    Starting {
        /// Time until it can take load, in seconds.
        left_s: f64,
    },
    /// It turns with the island.
    Running,
}

/// A diesel set.
#[derive(Clone, Debug, PartialEq)]
pub struct Diesel {
    /// Rated power in volt-amperes.
    pub s_va: f64,
    /// Inertia constant in seconds.
    pub h_s: f64,
    /// Droop of the governor in per unit of nominal frequency at rated power.
    pub droop: f64,
    /// Time constant of governor and engine, in seconds.
    pub lag_s: f64,
    /// Power at nominal frequency, in watts.
    pub p_set: f64,
    /// Least and most power of the engine in watts.
    pub p_limits: (f64, f64),
    /// Time from a start command until it takes load, in seconds.
    pub starting_s: f64,
    /// What it burns.
    pub fuel: Fuel,
    /// What it does.
    pub engine: Engine,
    p: f64,
    litres: f64,
}

impl Diesel {
    /// A running set without a load.
    #[must_use]
    pub fn running(s_va: f64, h_s: f64, droop: f64, lag_s: f64) -> Self {
        Self {
            s_va,
            h_s,
            droop,
            lag_s,
            p_set: 0.0,
            p_limits: (0.0, s_va),
            // Chosen: a standby set with a heated engine takes load after ten seconds (the
            // class of NFPA 110 type 10).
            starting_s: 10.0,
            // Chosen: a 100 kW set's data sheet, 26 l/h at full and 4 l/h at no load.
            fuel: Fuel {
                idle_l_per_h: 4.0,
                l_per_kwh: 0.22,
            },
            engine: Engine::Running,
            p: 0.0,
            litres: 0.0,
        }
    }

    /// Starts it; nothing happens when it runs or starts already.
    pub fn start(&mut self) {
        if self.engine == Engine::Stopped {
            self.engine = Engine::Starting {
                left_s: self.starting_s,
            };
        }
    }

    /// Stops it at once.
    pub fn stop(&mut self) {
        self.engine = Engine::Stopped;
        self.p = 0.0;
    }

    /// Loses its load at once and turns on: its breaker has opened.
    pub fn drop_load(&mut self) {
        self.p = 0.0;
    }

    /// Burns what it needs to turn without a load.
    pub fn idle(&mut self, dt_s: f64) {
        self.burn(dt_s);
    }

    /// Power of the engine in watts.
    #[must_use]
    pub fn p(&self) -> f64 {
        self.p
    }

    /// Litres burnt so far.
    #[must_use]
    pub fn litres(&self) -> f64 {
        self.litres
    }

    pub(super) fn inertia(&self, f_nominal: f64) -> f64 {
        match self.engine {
            Engine::Running => 2.0 * self.h_s * self.s_va / f_nominal,
            Engine::Stopped | Engine::Starting { .. } => 0.0,
        }
    }

    /// Lets the time pass that an engine needs until it takes load.
    pub fn start_up(&mut self, dt_s: f64) {
        if let Engine::Starting { left_s } = self.engine {
            self.engine = if left_s > dt_s {
                Engine::Starting {
                    left_s: left_s - dt_s,
                }
            } else {
                Engine::Running
            };
        }
    }

    /// Power that the governor asks for.
    fn asked(&self, f: f64, f_nominal: f64) -> Line {
        let slope = -self.s_va / (self.droop * f_nominal);
        let (low, high) = self.p_limits;
        let free = self.p_set + slope * (f - f_nominal);
        let p = free.clamp(low, high);
        Line {
            p,
            slope: if p == free { slope } else { 0.0 },
        }
    }

    /// Power at the end of a step, by the trapezoidal rule.
    pub(super) fn next(&self, f: f64, f_next: f64, f_nominal: f64, dt_s: f64) -> Line {
        if self.engine != Engine::Running {
            return Line::default();
        }
        let a = dt_s / (2.0 * self.lag_s);
        let (before, after) = (self.asked(f, f_nominal), self.asked(f_next, f_nominal));
        Line {
            p: (self.p * (1.0 - a) + a * (before.p + after.p)) / (1.0 + a),
            slope: a * after.slope / (1.0 + a),
        }
    }

    /// Moves its governor on over a step in which the frequency went from `f` to `f_next`.
    pub fn step(&mut self, f: f64, f_next: f64, f_nominal: f64, dt_s: f64) {
        self.p = self.next(f, f_next, f_nominal, dt_s).p;
        self.burn(dt_s);
    }

    fn burn(&mut self, dt_s: f64) {
        if self.engine == Engine::Running {
            let per_hour = self.fuel.idle_l_per_h + self.fuel.l_per_kwh * self.p.max(0.0) / 1e3;
            self.litres += per_hour * dt_s / 3600.0;
        }
    }
}
