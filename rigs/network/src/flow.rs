//! Power flow in a tree by backward and forward sweeps.
//!
//! **Theory.** Shirmohammadi, Hong, Semlyen and Luo, "A compensation-based power flow method
//! for weakly meshed distribution and transmission networks", IEEE Trans. Power Systems 3
//! (1988): what loads draw at the present voltages is summed up from the leaves to the source,
//! then voltages follow from the source to the leaves, until they stand still. Per sweep each
//! bus is looked at twice, so the cost is linear; the next step begins at the last voltages.
//! For one load behind `Z` the sweeps contract by `|Z| |S| / |V|^2`, which is below one
//! everywhere on the stable branch and reaches one at its end: where they do not come to
//! rest, there is no stable voltage.
//!
//! A load draws `I = V (conj(Sp + Si |V|) / |V|^2 + conj(Sz))`, with the shares of [`Zip`] at
//! nominal voltage.
//!
//! What has no solution is a named [`Outcome`] and has no voltage; nothing here is ever NaN.

mod pass;

use crate::base;
use crate::description::{Branch, Edge, Network, On, Zip};
use crate::matrix::{Matrix, Phases, Phasor, Sequences, ZERO, add, symmetrical, times};
use crate::tree::{Feed, Island, Tree, TreeError};
use pass::BothWays;

/// Change of voltage between two sweeps at which they count as at rest, in per unit.
/// Chosen: with a contraction of 0.9 the voltage is then still within 1e-7 of its end.
const AT_REST_PU: f64 = 1e-8;

/// Sweeps after which a solution is given up.
/// Chosen: enough up to 97 % of the largest power that can be carried; a usual feeder needs six.
const SWEEPS_MAX: u32 = 400;

/// How an island came out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// Voltages are there.
    Solved {
        /// Sweeps that it took.
        sweeps: u32,
    },
    /// More power is asked for than can be carried, so no voltage exists: the sweeps do not
    /// contract.
    Collapsed {
        /// The bus whose voltage moved most in the last sweep.
        bus: usize,
    },
    /// The sweeps contract, but too slowly: a voltage may exist, at the edge of collapse.
    NotConverged {
        /// The bus whose voltage moved most in the last sweep.
        bus: usize,
    },
}

/// What a bus has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supply {
    /// Voltage.
    Live,
    /// No source.
    Dead,
    /// A source, but no solution.
    Failed,
}

/// A load as the sweeps see it.
#[derive(Clone, Debug)]
struct Draw<const N: usize> {
    bus: usize,
    on: On,
    zip: Zip,
    power: Phases<N>,
}

#[derive(Clone, Debug)]
struct Root<const N: usize> {
    bus: usize,
    live: bool,
    e: Phases<N>,
    z: Option<Matrix<N>>,
    current: Phases<N>,
}

/// What loads want at a bus, in per unit.
#[derive(Clone, Copy, Debug)]
struct Want<const N: usize> {
    power: Phases<N>,
    current: Phases<N>,
    admittance: Phases<N>,
}

impl<const N: usize> Want<N> {
    const NOTHING: Self = Self {
        power: [ZERO; N],
        current: [ZERO; N],
        admittance: [ZERO; N],
    };
}

/// What a sweep has moved.
#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    /// The largest change of a voltage.
    change_pu: f64,
    /// Its bus.
    bus: usize,
}

/// The power flow of a network with `N` conductors: 1 = balanced, 3 = phase by phase.
#[derive(Clone, Debug)]
pub struct Flow<const N: usize> {
    tree: Tree,
    passes: Vec<BothWays<N>>,
    roots: Vec<Root<N>>,
    draws: Vec<Draw<N>>,
    nominal: Vec<f64>,
    first_switch: usize,
    /// Square of the voltage below which constant power becomes constant impedance.
    least_square: f64,
    /// By position in the order.
    v: Vec<Phases<N>>,
    current: Vec<Phases<N>>,
    want: Vec<Want<N>>,
    shunt: Vec<Option<Matrix<N>>>,
    outcomes: Vec<Outcome>,
}

impl<const N: usize> Flow<N> {
    /// Makes it, with all memory that it will ever need.
    ///
    /// # Errors
    /// When the network is no tree.
    pub fn new(network: &Network) -> Result<Self, TreeError> {
        Self::with_live(network, |_| true)
    }

    /// The same with only some of the sources live.
    ///
    /// # Errors
    /// As [`Flow::new`].
    pub fn with_live(network: &Network, live: impl Fn(usize) -> bool) -> Result<Self, TreeError> {
        let edges: Vec<Edge> = network.edges().collect();
        let passes = edges.iter().map(|e| BothWays::of(network, e.branch));
        let first_switch = edges
            .iter()
            .position(|e| matches!(e.branch, Branch::Switch(_)))
            .unwrap_or(edges.len());
        let roots = network.sources.iter().enumerate().map(|(n, source)| Root {
            bus: source.bus,
            live: live(n),
            e: symmetrical(Phasor::from_polar(source.v_pu, source.angle.to_radians())),
            z: pass::behind(source, network.buses[source.bus].v_ll),
            current: [ZERO; N],
        });
        let draws = network.loads.iter().map(|load| Draw {
            bus: load.bus,
            on: load.on,
            zip: load.zip,
            power: spread(load.on, load.p, load.q),
        });
        let buses = network.buses.len();
        let mut flow = Self {
            passes: passes.collect(),
            roots: roots.collect(),
            draws: draws.collect(),
            nominal: network.buses.iter().map(|bus| bus.v_ll).collect(),
            first_switch,
            least_square: 0.0,
            v: vec![[ZERO; N]; buses],
            current: vec![[ZERO; N]; buses],
            want: vec![Want::NOTHING; buses],
            shunt: vec![None; buses],
            outcomes: Vec::with_capacity(network.sources.len()),
            tree: Tree::new(buses, edges, network.sources.len()),
        };
        flow.arrange()?;
        Ok(flow)
    }

    /// Adds a load and gives its index; for devices, before the first step.
    pub fn add_load(&mut self, bus: usize, on: On, zip: Zip) -> usize {
        self.draws.push(Draw {
            bus,
            on,
            zip,
            power: [ZERO; N],
        });
        self.draws.len() - 1
    }

    /// Sets a load's power at nominal voltage in watts and var, positive = consumption.
    pub fn set_load(&mut self, load: usize, p: f64, q: f64) {
        if let Some(draw) = self.draws.get_mut(load) {
            draw.power = spread(draw.on, p, q);
        }
    }

    /// Sets the voltage in per unit below which constant power, and constant current, become a
    /// constant impedance: no device holds its power through a short circuit nearby. Zero, as
    /// from the beginning, is never.
    pub fn set_least(&mut self, v_pu: f64) {
        self.least_square = v_pu * v_pu;
    }

    /// Sets the voltage behind a source, in per unit and degrees.
    pub fn set_source(&mut self, source: usize, v_pu: f64, angle: f64) {
        if let Some(root) = self.roots.get_mut(source) {
            root.e = symmetrical(Phasor::from_polar(v_pu, angle.to_radians()));
        }
    }

    /// Sets the voltage behind a source per phase, in per unit.
    pub fn set_source_phases(&mut self, source: usize, e: Phases<N>) {
        if let Some(root) = self.roots.get_mut(source) {
            root.e = e;
        }
    }

    /// Lets sources hold voltage or leave it, and switches open or close, at once.
    ///
    /// # Errors
    /// When closed branches make a loop or two live sources meet; nothing is changed then.
    pub fn rearrange(
        &mut self,
        sources: &[(usize, bool)],
        switches: &[(usize, bool)],
    ) -> Result<(), TreeError> {
        let swap = |flow: &mut Self, sources: &[(usize, bool)], switches: &[(usize, bool)]| {
            for (source, live) in sources {
                if let Some(root) = flow.roots.get_mut(*source) {
                    root.live = *live;
                }
            }
            for (switch, closed) in switches {
                flow.tree.set_closed(flow.first_switch + switch, *closed);
            }
        };
        let was_live: Vec<_> = sources
            .iter()
            .map(|(n, _)| (*n, self.roots.get(*n).is_some_and(|root| root.live)))
            .collect();
        let was_closed: Vec<_> = switches
            .iter()
            .map(|(n, _)| (*n, self.is_closed(*n)))
            .collect();
        swap(self, sources, switches);
        let arranged = self.arrange();
        if arranged.is_err() {
            swap(self, &was_live, &was_closed);
            self.arrange()?;
        }
        arranged
    }

    /// Whether a switch is closed.
    #[must_use]
    pub fn is_closed(&self, switch: usize) -> bool {
        let edge = self.tree.edges().get(self.first_switch + switch);
        edge.is_some_and(|edge| edge.closed)
    }

    fn arrange(&mut self) -> Result<(), TreeError> {
        let live = self.roots.iter().enumerate().filter(|(_, root)| root.live);
        self.tree.order(live.map(|(n, root)| (n, root.bus)))?;
        self.outcomes.clear();
        self.shunt.fill(None);
        for at in 0..self.tree.feeds.len() {
            let Feed {
                parent,
                edge: Some(edge),
                reversed,
                ..
            } = self.tree.feeds[at]
            else {
                continue;
            };
            let pass = self.passes[edge].way(reversed);
            for (place, y) in [(parent, pass.y_near), (at, pass.y_far)] {
                if y != Sequences::default() {
                    add(self.shunt[place].get_or_insert([[ZERO; N]; N]), &y.matrix());
                }
            }
        }
        for island in &self.tree.islands {
            self.outcomes.push(Outcome::Solved { sweeps: 0 });
            flatten(&self.tree, *island, &self.passes, &self.roots, &mut self.v);
        }
        Ok(())
    }

    /// Solves all islands.
    pub fn solve(&mut self) {
        for want in &mut self.want {
            *want = Want::NOTHING;
        }
        for draw in &self.draws {
            let Some(want) = self.want.get_mut(self.tree.position[draw.bus]) else {
                continue;
            };
            let constant = 1.0 - draw.zip.z - draw.zip.i;
            for phase in 0..N {
                let s = draw.power[phase].conj();
                want.power[phase] += s * constant;
                want.current[phase] += s * draw.zip.i;
                want.admittance[phase] += s * draw.zip.z;
            }
        }
        for n in 0..self.tree.islands.len() {
            let island = self.tree.islands[n];
            self.outcomes[n] = self.solve_island(island, self.outcomes[n]);
        }
    }

    fn solve_island(&mut self, island: Island, before: Outcome) -> Outcome {
        if matches!(before, Outcome::Solved { .. }) {
            let outcome = self.sweep_to_rest(island);
            if matches!(outcome, Outcome::Solved { .. }) {
                return outcome;
            }
        }
        // A voltage far from the new one can mislead the sweeps: once more from the source's.
        flatten(&self.tree, island, &self.passes, &self.roots, &mut self.v);
        self.sweep_to_rest(island)
    }

    fn sweep_to_rest(&mut self, island: Island) -> Outcome {
        let mut last = Moved::default();
        // Least movement in the third quarter of the sweeps, largest one in the fourth.
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for sweeps in 1..=SWEEPS_MAX {
            self.backward(island);
            last = self.forward(island);
            if last.change_pu <= AT_REST_PU {
                return Outcome::Solved { sweeps };
            }
            if !last.change_pu.is_finite() {
                return Outcome::Collapsed { bus: last.bus };
            }
            match sweeps * 4 / SWEEPS_MAX {
                2 => least = least.min(last.change_pu),
                3.. => most = most.max(last.change_pu),
                _ => {}
            }
        }
        if most < least {
            Outcome::NotConverged { bus: last.bus }
        } else {
            Outcome::Collapsed { bus: last.bus }
        }
    }

    /// Currents from the leaves to the source.
    fn backward(&mut self, island: Island) {
        for at in island.first..island.end {
            let v = &self.v[at];
            let want = &self.want[at];
            let mut current = [ZERO; N];
            for phase in 0..N {
                let square = v[phase].norm_sqr().max(self.least_square);
                let wanted = want.power[phase] + want.current[phase] * square.sqrt();
                let y = if wanted == ZERO {
                    want.admittance[phase]
                } else {
                    wanted / square + want.admittance[phase]
                };
                current[phase] = v[phase] * y;
            }
            if let Some(y) = &self.shunt[at] {
                for (i, more) in current.iter_mut().zip(times(y, v)) {
                    *i += more;
                }
            }
            self.current[at] = current;
        }
        for at in (island.first + 1..island.end).rev() {
            let feed = self.tree.feeds[at];
            let i = self.current[at];
            let pass = feed.edge.map(|edge| self.passes[edge].way(feed.reversed));
            let turned = pass.and_then(|pass| pass.a.as_ref());
            let near = turned.map_or(i, |a| times(&a.1, &i));
            for (sum, more) in self.current[feed.parent].iter_mut().zip(near) {
                *sum += more;
            }
        }
    }

    /// Voltages from the source to the leaves.
    fn forward(&mut self, island: Island) -> Moved {
        let mut most = (0.0, 0);
        for at in island.first..island.end {
            let feed = self.tree.feeds[at];
            let i = &self.current[at];
            let mut v;
            match feed.edge {
                None => {
                    let root = &mut self.roots[island.source];
                    root.current = *i;
                    v = root.e;
                    if let Some(z) = &root.z {
                        drop_by(&mut v, z, i);
                    }
                }
                Some(edge) => {
                    let pass = self.passes[edge].way(feed.reversed);
                    v = self.v[feed.parent];
                    if let Some(a) = &pass.a {
                        v = times(&a.0, &v);
                    }
                    if let Some(z) = &pass.z {
                        drop_by(&mut v, z, i);
                    }
                }
            }
            for (new, old) in v.iter().zip(&self.v[at]) {
                let change = (new - old).norm_sqr();
                // What is no number counts as the largest change.
                if change > most.0 || change.is_nan() {
                    let largest = if change.is_nan() {
                        f64::INFINITY
                    } else {
                        change
                    };
                    most = (largest, feed.bus);
                }
            }
            self.v[at] = v;
        }
        Moved {
            change_pu: most.0.sqrt(),
            bus: most.1,
        }
    }

    /// Islands with a source, each with the source's index and how it came out.
    pub fn islands(&self) -> impl Iterator<Item = (usize, Outcome)> {
        let sources = self.tree.islands.iter().map(|island| island.source);
        sources.zip(self.outcomes.iter().copied())
    }

    /// What a bus has.
    #[must_use]
    pub fn supply(&self, bus: usize) -> Supply {
        match self.island_of(bus) {
            None => Supply::Dead,
            Some((_, Outcome::Solved { .. })) => Supply::Live,
            Some(_) => Supply::Failed,
        }
    }

    /// Source that feeds a bus, if any.
    #[must_use]
    pub fn source_of(&self, bus: usize) -> Option<usize> {
        self.island_of(bus).map(|(source, _)| source)
    }

    fn island_of(&self, bus: usize) -> Option<(usize, Outcome)> {
        let at = *self.tree.position.get(bus)?;
        let n = self
            .tree
            .islands
            .iter()
            .position(|island| (island.first..island.end).contains(&at))?;
        Some((self.tree.islands[n].source, self.outcomes[n]))
    }

    /// Voltages of a bus in per unit against its neutral; zero where there is none.
    #[must_use]
    pub fn voltage(&self, bus: usize) -> Phases<N> {
        match self.supply(bus) {
            Supply::Live => self.v[self.tree.position[bus]],
            Supply::Dead | Supply::Failed => [ZERO; N],
        }
    }

    /// Nominal voltage of a bus in volts, line to line.
    #[must_use]
    pub fn nominal(&self, bus: usize) -> f64 {
        self.nominal[bus]
    }

    /// Power that a source gives per phase, in watts and var, at its bus.
    #[must_use]
    pub fn source_power(&self, source: usize) -> Phases<N> {
        let Some(root) = self.roots.get(source) else {
            return [ZERO; N];
        };
        let feeds = root.live && self.source_of(root.bus) == Some(source);
        if !feeds {
            return [ZERO; N];
        }
        let v = self.voltage(root.bus);
        std::array::from_fn(|n| v[n] * root.current[n].conj() * base::volt_amperes(1.0, N))
    }

    /// Power that a load draws at its present voltage, in watts and var.
    #[must_use]
    pub fn load_power(&self, load: usize) -> Phasor {
        let draw = self.draws.get(load);
        draw.map_or(ZERO, |draw| self.drawn(draw, &self.voltage(draw.bus)))
    }

    /// What a load draws at a voltage.
    fn drawn(&self, draw: &Draw<N>, v: &Phases<N>) -> Phasor {
        let drawn = v.iter().zip(&draw.power).map(|(v, power)| {
            let zip = draw.zip;
            let square = v.norm_sqr();
            let held = square.max(self.least_square);
            // A dead load draws nothing, whatever its share of constant power.
            let falling = if square > 0.0 {
                (1.0 - zip.z - zip.i + zip.i * held.sqrt()) * square / held
            } else {
                0.0
            };
            power * (falling + zip.z * square)
        });
        drawn.sum::<Phasor>() * base::volt_amperes(1.0, N)
    }

    /// What all loads of a source's island draw together, in watts and var; nothing where it has
    /// no voltage.
    #[must_use]
    pub fn drawn_from(&self, source: usize) -> Phasor {
        let mut islands = self.tree.islands.iter().zip(&self.outcomes);
        let solved = |outcome: &Outcome| matches!(outcome, Outcome::Solved { .. });
        let found = islands.find(|(island, outcome)| island.source == source && solved(outcome));
        let Some((island, _)) = found else {
            return ZERO;
        };
        let places = island.first..island.end;
        let drawn = self.draws.iter().filter_map(|draw| {
            let at = self.tree.position.get(draw.bus)?;
            places.contains(at).then(|| self.drawn(draw, &self.v[*at]))
        });
        drawn.sum()
    }

    /// Loads in all.
    #[must_use]
    pub fn loads(&self) -> usize {
        self.draws.len()
    }
}

fn spread<const N: usize>(on: On, p: f64, q: f64) -> Phases<N> {
    let s = Phasor::new(p, q);
    std::array::from_fn(|phase| match on {
        // Balanced, a load of one phase counts with a third in each.
        _ if N == 1 => s * base::power(1.0, N),
        On::All => s * base::power(1.0, N) / N as f64,
        On::One(only) if only == phase => s * base::power(1.0, N),
        On::One(_) => ZERO,
    })
}

fn drop_by<const N: usize>(v: &mut Phases<N>, z: &Matrix<N>, i: &Phases<N>) {
    for (v, drop) in v.iter_mut().zip(times(z, i)) {
        *v -= drop;
    }
}

/// Voltages as they were without any current.
fn flatten<const N: usize>(
    tree: &Tree,
    island: Island,
    passes: &[BothWays<N>],
    roots: &[Root<N>],
    v: &mut [Phases<N>],
) {
    for at in island.first..island.end {
        let feed = tree.feeds[at];
        v[at] = match feed.edge {
            None => roots[island.source].e,
            Some(edge) => {
                let near = v[feed.parent];
                let pass = passes[edge].way(feed.reversed);
                pass.a.as_ref().map_or(near, |a| times(&a.0, &near))
            }
        };
    }
}

#[cfg(test)]
mod tests;
