//! Frequency of an island: machines that hold it together, and what hangs on them.
//!
//! **Theory.** All machines of an island turn together. With stored energy and droop of each,
//! `M df/dt = sum P(f) - L(f)`, `M = sum M_i`:
//!
//! - a set with a governor (Kundur, *Power System Stability and Control*, 1994, 11.1):
//!   `M_i = 2 H S / f0`, and `T dP/dt = P_set + (f0 - f) S / (R f0) - P`, inside its limits;
//! - a grid-forming inverter whose droop sees its power through a first-order filter of time
//!   constant `T`: `f = f0 - R f0 (P_filtered - P_set) / S` is the same as a machine with
//!   `M_i = T S / (R f0)` and `P(f) = P_set + (f0 - f) S / (R f0)` without lag (D'Arco and
//!   Suul, "Equivalence of virtual synchronous machines and frequency-droops", IEEE Trans.
//!   Smart Grid 5, 2014);
//! - loads take `L(f) = L0 (1 + D (f - f0) / f0)`; `L0 D` is the damping in watts.
//!
//! What a machine gives at its terminals is `P(f) - M_i df/dt`. A step is solved by the
//! trapezoidal rule, implicitly: it is stable at any step, and at 10 ms within 1 % of the
//! closed form of a first-order unit (the test has four rows of it).
//!
//! Limits are those of the power that drives a machine; what neither machines nor loads give
//! moves the frequency until somebody trips. A frequency that no rotating machine survives is
//! a named [`State`], never a number far away.

mod diesel;

pub use diesel::{Diesel, Engine, Fuel};

/// Frequencies that can be held, in per unit of nominal.
/// Chosen: twice what any relay of such a network waits for; beyond, the machines are lost.
const HELD_PU: (f64, f64) = (0.8, 1.2);

/// Rounds of Newton's method for one step.
/// Chosen: power over frequency is a line with two bends per machine, so that each round ends
/// on the right piece or halves the bracket.
const ROUNDS_MAX: u32 = 60;

/// A grid-forming inverter with droop.
#[derive(Clone, Debug, PartialEq)]
pub struct Former {
    /// Rated power in volt-amperes.
    pub s_va: f64,
    /// Droop: change of frequency in per unit of nominal at rated power.
    pub droop: f64,
    /// Time constant of the power that its droop sees, in seconds.
    pub filter_s: f64,
    /// Power at nominal frequency, in watts.
    pub p_set: f64,
    /// Least and most power in watts: the battery's, inside the current limit.
    pub p_limits: (f64, f64),
}

/// What holds an island together.
#[derive(Clone, Debug, PartialEq)]
pub enum Machine {
    /// A grid-forming inverter.
    Former(Former),
    /// A diesel set.
    Diesel(Diesel),
}

/// What hangs on an island.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Demand {
    /// Power at nominal frequency less what following inverters give, in watts.
    pub p: f64,
    /// Change of that power in watts for a change of frequency by one per unit of nominal. Loads
    /// have it; what following inverters give has not, so it is no share of `p`.
    pub damping_w: f64,
}

/// Whether the island has a frequency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has.
    Held,
    /// It left the range that machines survive, or nothing runs that could hold one.
    Lost,
}

/// An island.
#[derive(Clone, Debug)]
pub struct Island {
    f_nominal: f64,
    f: f64,
    /// Mean over the last step, and at its end, in hertz per second.
    rocof: (f64, f64),
    state: State,
    /// What holds it together.
    pub machines: Vec<Machine>,
}

impl Former {
    fn driven(&self, f: f64, f_nominal: f64) -> Line {
        let slope = -self.s_va / (self.droop * f_nominal);
        let (low, high) = self.p_limits;
        let free = self.p_set + slope * (f - f_nominal);
        let p = free.clamp(low, high);
        Line {
            p,
            slope: if p == free { slope } else { 0.0 },
        }
    }
}

/// A power and how it changes with frequency.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Line {
    p: f64,
    slope: f64,
}

impl Machine {
    /// Energy that a change of frequency takes, in watt-seconds per hertz.
    fn inertia(&self, f_nominal: f64) -> f64 {
        match self {
            Self::Former(former) => former.filter_s * former.s_va / (former.droop * f_nominal),
            Self::Diesel(diesel) => diesel.inertia(f_nominal),
        }
    }

    /// Power that drives it now.
    fn now(&self, f: f64, f_nominal: f64) -> f64 {
        match self {
            Self::Former(former) => former.driven(f, f_nominal).p,
            Self::Diesel(diesel) => diesel.p(),
        }
    }

    /// Power that drives it at the end of a step that ends at `f_next`.
    fn next(&self, f: f64, f_next: f64, f_nominal: f64, dt_s: f64) -> Line {
        match self {
            Self::Former(former) => former.driven(f_next, f_nominal),
            Self::Diesel(diesel) => diesel.next(f, f_next, f_nominal, dt_s),
        }
    }
}

impl Island {
    /// An island at nominal frequency.
    #[must_use]
    pub fn new(f_nominal: f64, machines: Vec<Machine>) -> Self {
        Self {
            f_nominal,
            f: f_nominal,
            rocof: (0.0, 0.0),
            state: State::Held,
            machines,
        }
    }

    /// Begins anew at a frequency: at the moment when a network comes apart.
    pub fn begin(&mut self, f: f64) {
        self.f = f;
        self.rocof = (0.0, 0.0);
        self.state = State::Held;
    }

    /// Frequency in hertz; the last one when it was lost.
    #[must_use]
    pub fn f(&self) -> f64 {
        self.f
    }

    /// Change of frequency over the last step in hertz per second.
    #[must_use]
    pub fn rocof(&self) -> f64 {
        self.rocof.0
    }

    /// Whether it has a frequency.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Power that a machine gives at its terminals, in watts.
    #[must_use]
    pub fn power(&self, machine: usize) -> f64 {
        let Some(machine) = self
            .machines
            .get(machine)
            .filter(|_| self.state == State::Held)
        else {
            return 0.0;
        };
        let driven = machine.now(self.f, self.f_nominal);
        driven - machine.inertia(self.f_nominal) * self.rocof.1
    }

    /// Moves on by `dt_s` seconds with this demand.
    pub fn step(&mut self, dt_s: f64, demand: Demand) -> State {
        for machine in &mut self.machines {
            if let Machine::Diesel(diesel) = machine {
                diesel.start_up(dt_s);
            }
        }
        let inertia: f64 = self
            .machines
            .iter()
            .map(|m| m.inertia(self.f_nominal))
            .sum();
        if self.state == State::Lost || inertia <= 0.0 {
            return self.lose();
        }
        let (f, f_nominal) = (self.f, self.f_nominal);
        let load = |x: f64| Line {
            p: demand.p + demand.damping_w * (x - f_nominal) / f_nominal,
            slope: demand.damping_w / f_nominal,
        };
        let driven: f64 = self.machines.iter().map(|m| m.now(f, f_nominal)).sum();
        let before = driven - load(f).p;
        // Rising in `x`: what the change takes less the mean of what is there to make it.
        let missing = |x: f64| -> Line {
            let drawn = load(x);
            let mut after = Line {
                p: -drawn.p,
                slope: -drawn.slope,
            };
            for machine in &self.machines {
                let line = machine.next(f, x, f_nominal, dt_s);
                after.p += line.p;
                after.slope += line.slope;
            }
            Line {
                p: inertia * (x - f) / dt_s - 0.5 * (before + after.p),
                slope: inertia / dt_s - 0.5 * after.slope,
            }
        };
        let (low, high) = (HELD_PU.0 * f_nominal, HELD_PU.1 * f_nominal);
        let Some(next) = root(missing, f, low, high) else {
            return self.lose();
        };
        for machine in &mut self.machines {
            if let Machine::Diesel(diesel) = machine {
                diesel.step(f, next, f_nominal, dt_s);
            }
        }
        let driven: f64 = self.machines.iter().map(|m| m.now(next, f_nominal)).sum();
        self.rocof = ((next - f) / dt_s, (driven - load(next).p) / inertia);
        self.f = next;
        State::Held
    }

    fn lose(&mut self) -> State {
        self.state = State::Lost;
        self.rocof = (0.0, 0.0);
        State::Lost
    }
}

/// Root of a rising function with a slope between two ends; `None` when there is none.
fn root(g: impl Fn(f64) -> Line, start: f64, mut low: f64, mut high: f64) -> Option<f64> {
    if g(low).p > 0.0 || g(high).p < 0.0 {
        return None;
    }
    let mut x = start.clamp(low, high);
    for _ in 0..ROUNDS_MAX {
        let line = g(x);
        if line.p > 0.0 {
            high = x;
        } else {
            low = x;
        }
        let newton = x - line.p / line.slope;
        let next = if newton > low && newton < high {
            newton
        } else {
            0.5 * (low + high)
        };
        // A picohertz is below what any meter resolves.
        if (next - x).abs() < 1e-12 {
            return Some(next);
        }
        x = next;
    }
    Some(x)
}

#[cfg(test)]
mod tests;
