//! The network between the units: which bus each hangs on, and the voltage it has there.
//!
//! Without one, all units share a busbar behind the feeder. With one, the utility is the
//! network's first source, the coupling breaker one of its switches (its `to` end is the main
//! busbar, where what the rig hangs nowhere else is), and each island is held from the bus of its
//! largest forming unit; the other forming ones feed what their droop gives them. The power
//! flow is the crate `network`'s; this file only tells it what units do.

use network::description::{Impedance, Network, On, Source, Zip};
use network::flow::{Flow, Outcome};
use network::matrix::{Phases, Phasor};
use network::tree::TreeError;

use super::load::LEAST_V_PU;
use super::zones::Zones;

/// Where a unit hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hang {
    /// Its bus.
    pub bus: usize,
    /// Its phases.
    pub on: On,
}

/// Voltage in per unit below which no unit does anything that would have to be told apart.
/// Chosen: what counts as dead.
const UNIT_LEAST_PU: f64 = 0.05;

/// A unit of the plant, or the main busbar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// The main busbar.
    Main,
    /// A photovoltaic inverter.
    Pv(usize),
    /// A storage inverter.
    Storage(usize),
    /// A diesel set.
    Genset(usize),
    /// A load.
    Load(usize),
}

/// Who holds the voltage of a part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Holder {
    /// The utility, with this voltage at its sources.
    Grid {
        /// In per unit.
        v_pu: f64,
    },
    /// A storage inverter or a diesel set, with this voltage at its bus.
    Unit {
        /// Which one.
        unit: Unit,
        /// In per unit.
        v_pu: f64,
    },
    /// Nobody.
    Nobody,
}

/// What flows, in watts and var.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Drawn {
    /// What the source of the part gives.
    pub from_source: (f64, f64),
    /// What all loads of the part take less what its units feed in.
    pub taken: f64,
}

/// No voltage exists for what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoVoltage;

#[derive(Clone, Debug)]
enum Solver {
    Balanced(Box<Flow<1>>),
    Unbalanced(Box<Flow<3>>),
}

/// Does the same to either solver.
macro_rules! either {
    ($solver:expr, $flow:ident => $what:expr) => {
        match $solver {
            Solver::Balanced($flow) => $what,
            Solver::Unbalanced($flow) => $what,
        }
    };
}

/// A unit's place and its load in the solver.
#[derive(Clone, Copy, Debug)]
struct Place {
    hang: Hang,
    load: usize,
}

/// The network with the plant's units on it.
#[derive(Clone, Debug)]
pub struct Wires {
    solver: Solver,
    main: usize,
    /// Voltage of the main busbar without any load: transformers turn it.
    unloaded: Phasor,
    /// Index of the first storage among the sources; the sets come after the storages.
    first_storage: usize,
    pv: Vec<Place>,
    storage: Vec<Place>,
    gensets: Vec<Place>,
    loads: Vec<Place>,
    zones: Zones,
    /// Which sources hold and which switches are closed, as the solver has them.
    arranged: Option<(Vec<bool>, Vec<bool>)>,
    /// Voltage below which the solver makes constant power an impedance, in per unit; zero is never.
    least_pu: f64,
    /// How each part came out of the last solution.
    drawn: Vec<Result<Drawn, NoVoltage>>,
    /// Power in a balanced solution for one watt of the site: a site of one phase has a third.
    scale: f64,
}

/// Where all units hang.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Photovoltaic inverters.
    pub pv: Vec<Hang>,
    /// Storage inverters.
    pub storage: Vec<Hang>,
    /// Diesel sets.
    pub gensets: Vec<Hang>,
    /// Loads.
    pub loads: Vec<Hang>,
    /// The switch of the network that is the coupling breaker.
    pub coupling: Option<usize>,
}

/// The main busbar of a network: behind the coupling breaker, or at the utility.
#[must_use]
pub fn main_bus(network: &Network, coupling: Option<usize>) -> usize {
    let behind = coupling.and_then(|n| network.switches.get(n));
    let source = network.sources.first();
    behind.map_or(source.map_or(0, |s| s.bus), |switch| switch.to)
}

impl Wires {
    /// Hangs units on a network; a site of one phase counts as a third of a balanced one.
    ///
    /// # Errors
    /// When the network is no tree.
    pub fn new(network: &Network, places: &Places, phases: u8) -> Result<Self, TreeError> {
        let zones = Zones::of(network, places);
        let mut network = network.clone();
        let first_storage = network.sources.len();
        // What forms an island is an ideal voltage at its bus; nothing does at the beginning.
        let formers = places.storage.iter().chain(&places.gensets);
        network.sources.extend(formers.map(|hang| Source {
            bus: hang.bus,
            v_pu: 1.0,
            angle: 0.0,
            z: Impedance::default(),
            z2: Impedance::default(),
            z0: Impedance::default(),
        }));
        // The plant begins connected.
        if let Some(switch) = places.coupling.and_then(|n| network.switches.get_mut(n)) {
            switch.closed = true;
        }
        let mut wires = Self {
            solver: if network.unbalanced {
                Solver::Unbalanced(Box::new(Flow::with_live(&network, |n| n < first_storage)?))
            } else {
                Solver::Balanced(Box::new(Flow::with_live(&network, |n| n < first_storage)?))
            },
            main: main_bus(&network, places.coupling),
            unloaded: Phasor::new(1.0, 0.0),
            first_storage,
            pv: Vec::new(),
            storage: Vec::new(),
            gensets: Vec::new(),
            loads: Vec::new(),
            zones,
            arranged: None,
            least_pu: 0.0,
            drawn: Vec::new(),
            scale: if network.unbalanced {
                1.0
            } else {
                3.0 / f64::from(phases)
            },
        };
        // Not solved yet, every bus has the voltage that it would have without a load.
        wires.unloaded = wires.main_voltage();
        let mut hang = |hangs: &[Hang]| -> Vec<Place> {
            let place = |hang: &Hang| Place {
                hang: *hang,
                load: either!(&mut wires.solver, flow => flow.add_load(hang.bus, hang.on, Zip::default())),
            };
            hangs.iter().map(place).collect()
        };
        let (pv, storage) = (hang(&places.pv), hang(&places.storage));
        let (gensets, loads) = (hang(&places.gensets), hang(&places.loads));
        (wires.pv, wires.storage, wires.gensets, wires.loads) = (pv, storage, gensets, loads);
        Ok(wires)
    }

    /// The zones of its network.
    pub(super) fn zones(&self) -> Zones {
        self.zones.clone()
    }

    /// Tells what a unit does, positive = into the network.
    pub fn set(&mut self, unit: Unit, p: f64, q: f64) {
        if let Some(place) = self.place(unit) {
            let mut s = self.scale;
            if self.least_pu > 0.0 {
                // A unit knows what it does at its voltage; the solver shall not do it again.
                let v = self.per_unit(unit).clamp(UNIT_LEAST_PU, self.least_pu);
                s *= (self.least_pu / v).powi(2);
            }
            either!(&mut self.solver, flow => flow.set_load(place.load, -p * s, -q * s));
        }
    }

    fn place(&self, unit: Unit) -> Option<Place> {
        match unit {
            Unit::Main => None,
            Unit::Pv(n) => self.pv.get(n),
            Unit::Storage(n) => self.storage.get(n),
            Unit::Genset(n) => self.gensets.get(n),
            Unit::Load(n) => self.loads.get(n),
        }
        .copied()
    }

    /// Index of a unit among the sources, if it can hold a part.
    fn source(&self, unit: Unit) -> Option<usize> {
        match unit {
            Unit::Storage(n) => Some(self.first_storage + n),
            Unit::Genset(n) => Some(self.first_storage + self.storage.len() + n),
            Unit::Main | Unit::Pv(_) | Unit::Load(_) => None,
        }
    }

    /// Solves the network with these holders of its parts; what a holder does itself does not count,
    /// for it gives what is left.
    pub(super) fn solve(&mut self, holders: &[Holder], zones: &Zones) {
        let sources = self.first_storage + self.storage.len() + self.gensets.len();
        let mut live = vec![false; sources];
        let mut roots: Vec<Option<usize>> = vec![None; holders.len()];
        let mut least_pu = f64::INFINITY;
        for (n, holder) in holders.iter().enumerate() {
            match *holder {
                Holder::Grid { v_pu } => {
                    least_pu = least_pu.min(v_pu);
                    for (source, live) in live.iter_mut().enumerate().take(self.first_storage) {
                        if zones.part_of_source(source) == Some(n) {
                            roots[n].get_or_insert(source);
                            *live = true;
                            either!(&mut self.solver, flow => flow.set_source(source, v_pu, 0.0));
                        }
                    }
                }
                Holder::Unit { unit, v_pu } => {
                    least_pu = least_pu.min(v_pu);
                    self.set(unit, 0.0, 0.0);
                    if let Some(source) = self.source(unit) {
                        roots[n] = Some(source);
                        live[source] = true;
                        either!(&mut self.solver, flow => flow.set_source(source, v_pu, 0.0));
                    }
                }
                Holder::Nobody => {}
            }
        }
        // No load holds its power through a short circuit; above, a collapse is told as one.
        let least = if least_pu < LEAST_V_PU {
            LEAST_V_PU
        } else {
            0.0
        };
        self.least_pu = least;
        either!(&mut self.solver, flow => flow.set_least(least));
        let arranged = self.arrange(live, zones.closed().collect());
        if arranged.is_ok() {
            either!(&mut self.solver, flow => flow.solve());
        }
        let drawn = |root: &Option<usize>| match (arranged, root) {
            (Ok(()), Some(source)) => self.outcome(*source),
            _ => Err(NoVoltage),
        };
        self.drawn = roots.iter().map(drawn).collect();
    }

    /// How the part of a source came out.
    fn outcome(&self, source: usize) -> Result<Drawn, NoVoltage> {
        let scale = self.scale;
        either!(&self.solver, flow => {
            let solved = |outcome| matches!(outcome, Outcome::Solved { .. });
            if !flow.islands().any(|(n, outcome)| n == source && solved(outcome)) {
                return Err(NoVoltage);
            }
            let s: Phasor = flow.source_power(source).iter().sum();
            Ok(Drawn {
                from_source: (s.re / scale, s.im / scale),
                taken: flow.drawn_from(source).re / scale,
            })
        })
    }

    /// What flowed in a part in the last solution.
    ///
    /// # Errors
    /// When it has no voltage: nobody holds it, or too much is asked for.
    pub fn drawn(&self, part: usize) -> Result<Drawn, NoVoltage> {
        self.drawn.get(part).copied().unwrap_or(Err(NoVoltage))
    }

    /// Lets sources hold and switches stand as they are told; nothing happens when they do.
    fn arrange(&mut self, live: Vec<bool>, closed: Vec<bool>) -> Result<(), NoVoltage> {
        let wanted = (live, closed);
        if self.arranged.as_ref() == Some(&wanted) {
            return Ok(());
        }
        // Only on a change of supply, so the two short lists may be made anew.
        let sources: Vec<(usize, bool)> = wanted.0.iter().copied().enumerate().collect();
        let switches: Vec<(usize, bool)> = wanted.1.iter().copied().enumerate().collect();
        let arranged = either!(&mut self.solver, flow => flow.rearrange(&sources, &switches));
        self.arranged = arranged.is_ok().then_some(wanted);
        arranged.map_err(|_| NoVoltage)
    }

    /// Voltage at a unit per phase, line to neutral in volts.
    #[must_use]
    pub fn volts(&self, unit: Unit) -> [f64; 3] {
        let bus = self.place(unit).map_or(self.main, |place| place.hang.bus);
        either!(&self.solver, flow => {
            let nominal = flow.nominal(bus) / 3.0_f64.sqrt();
            three(&flow.voltage(bus)).map(|v| v.norm() * nominal)
        })
    }

    /// Voltage that a unit goes by, in per unit of its bus: that of its phase, or the mean.
    #[must_use]
    pub fn per_unit(&self, unit: Unit) -> f64 {
        let place = self.place(unit);
        let bus = place.map_or(self.main, |place| place.hang.bus);
        let v = either!(&self.solver, flow => three(&flow.voltage(bus)).map(|v| v.norm()));
        match (place.map(|place| place.hang.on), &self.solver) {
            (Some(On::One(phase)), Solver::Unbalanced(_)) => v.get(phase).copied().unwrap_or(0.0),
            _ => v.iter().sum::<f64>() / 3.0,
        }
    }

    /// Voltage at a unit of all phases where they differ, in per unit of its bus.
    #[must_use]
    pub fn per_phase(&self, unit: Unit) -> Option<[f64; 3]> {
        let Solver::Unbalanced(flow) = &self.solver else {
            return None;
        };
        let hang = self.place(unit)?.hang;
        (hang.on == On::All).then(|| three(&flow.voltage(hang.bus)).map(|v| v.norm()))
    }

    /// Angle of the main busbar in degrees, against what the utility gives it without a load.
    #[must_use]
    pub fn angle(&self) -> f64 {
        (self.main_voltage() * self.unloaded.conj())
            .arg()
            .to_degrees()
    }

    fn main_voltage(&self) -> Phasor {
        either!(&self.solver, flow => flow.voltage(self.main)[0])
    }

    /// How a unit's power, or that of the utility at the main busbar, is spread over phases.
    #[must_use]
    pub fn shares(&self, unit: Unit) -> Option<[f64; 3]> {
        let Solver::Unbalanced(flow) = &self.solver else {
            return None;
        };
        match self.place(unit).map(|place| place.hang.on) {
            Some(On::One(phase)) => Some(std::array::from_fn(|n| f64::from(u8::from(n == phase)))),
            Some(On::All) => None,
            None => {
                let s = flow.source_power(0).map(|s| s.re);
                let sum: f64 = s.iter().sum();
                // Where hardly anything flows, a share of it says nothing.
                (sum.abs() > 1.0).then(|| s.map(|s| s / sum))
            }
        }
    }
}

fn three<const N: usize>(v: &Phases<N>) -> [Phasor; 3] {
    std::array::from_fn(|n| v[n.min(N - 1)])
}

#[cfg(test)]
mod tests;
