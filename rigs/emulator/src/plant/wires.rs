//! The network between the units: which bus each hangs on, and the voltage it has there.
//!
//! Without one, all units share a busbar behind the feeder. With one, the utility is the
//! network's first source, the coupling breaker one of its switches (its `to` end is the main
//! busbar, where what the rig hangs nowhere else is), and an island is held from the bus of its
//! largest forming storage; the other forming ones feed what their droop gives them. The power
//! flow is the crate `network`'s; this file only tells it what units do.

use network::description::{Impedance, Network, On, Source, Zip};
use network::flow::{Flow, Outcome};
use network::matrix::{Phases, Phasor};
use network::tree::TreeError;

/// Where a unit hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hang {
    /// Its bus.
    pub bus: usize,
    /// Its phases.
    pub on: On,
}

/// A unit of the plant, or the main busbar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// The main busbar.
    Main,
    /// A photovoltaic inverter.
    Pv(usize),
    /// A storage inverter.
    Storage(usize),
    /// A load.
    Load(usize),
}

/// Who holds the voltage behind the coupling breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// The utility, through the closed breaker.
    ByGrid,
    /// A storage inverter, with the breaker open.
    ByStorage(usize),
    /// Nobody.
    ByNobody,
}

/// What flows, in watts and var.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Drawn {
    /// What the source of the island gives.
    pub from_source: (f64, f64),
    /// What all loads of the network take less what its units feed in.
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
    coupling: Option<usize>,
    /// Index of the first storage among the sources.
    first_storage: usize,
    pv: Vec<Place>,
    storage: Vec<Place>,
    loads: Vec<Place>,
    held: Option<Held>,
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
        let mut network = network.clone();
        let first_storage = network.sources.len();
        // A storage that forms is an ideal voltage at its bus; none does at the beginning.
        network
            .sources
            .extend(places.storage.iter().map(|hang| Source {
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
            coupling: places.coupling,
            first_storage,
            pv: Vec::new(),
            storage: Vec::new(),
            loads: Vec::new(),
            held: None,
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
        let (pv, storage, loads) = (hang(&places.pv), hang(&places.storage), hang(&places.loads));
        (wires.pv, wires.storage, wires.loads) = (pv, storage, loads);
        Ok(wires)
    }

    /// Tells what a unit does, positive = into the network.
    pub fn set(&mut self, unit: Unit, p: f64, q: f64) {
        if let Some(place) = self.place(unit) {
            let s = self.scale;
            either!(&mut self.solver, flow => flow.set_load(place.load, -p * s, -q * s));
        }
    }

    fn place(&self, unit: Unit) -> Option<Place> {
        match unit {
            Unit::Main => None,
            Unit::Pv(n) => self.pv.get(n),
            Unit::Storage(n) => self.storage.get(n),
            Unit::Load(n) => self.loads.get(n),
        }
        .copied()
    }

    /// Solves the network with `v_pu` at whoever holds it.
    ///
    /// # Errors
    /// When it has no voltage: nobody holds it, or too much is asked for.
    pub fn solve(&mut self, held: Held, v_pu: f64) -> Result<Drawn, NoVoltage> {
        let source = match held {
            Held::ByGrid => 0,
            Held::ByStorage(n) => self.first_storage + n,
            Held::ByNobody => return self.arrange(held).map(|()| Drawn::default()),
        };
        self.arrange(held)?;
        let scale = self.scale;
        either!(&mut self.solver, flow => {
            flow.set_source(source, v_pu, 0.0);
            flow.solve();
            let solved = |outcome| matches!(outcome, Outcome::Solved { .. });
            if !flow.islands().any(|(n, outcome)| n == source && solved(outcome)) {
                return Err(NoVoltage);
            }
            let s: Phasor = flow.source_power(source).iter().sum();
            let taken: f64 = (0..flow.loads()).map(|load| flow.load_power(load).re).sum();
            Ok(Drawn {
                from_source: (s.re / scale, s.im / scale),
                taken: taken / scale,
            })
        })
    }

    /// Switches to another holder; nothing happens when it is the same one.
    fn arrange(&mut self, held: Held) -> Result<(), NoVoltage> {
        if self.held == Some(held) {
            return Ok(());
        }
        let storages = self.storage.len();
        // Only on a change of supply, so the two short lists may be made anew.
        let mut sources: Vec<(usize, bool)> = (0..storages)
            .map(|n| (self.first_storage + n, held == Held::ByStorage(n)))
            .collect();
        let grid = held == Held::ByGrid;
        // Without a breaker between, the utility is not there when it does not hold.
        sources.push((0, grid || self.coupling.is_some()));
        let switches: Vec<(usize, bool)> = self.coupling.map(|n| (n, grid)).into_iter().collect();
        let arranged = either!(&mut self.solver, flow => flow.rearrange(&sources, &switches));
        self.held = arranged.is_ok().then_some(held);
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
