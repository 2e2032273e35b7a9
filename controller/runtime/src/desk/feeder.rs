//! The feeder of a rig in the market, and what a clearing would do to its voltages.
//!
//! The market knows no network and the network no market; this module translates. The buses that
//! the first source feeds are the nodes, a line carries the power of its rating at nominal voltage,
//! a transformer that of its nameplate, a switch anything.
//!
//! **Check.** Before a clearing counts, the power flow is solved with what it asks of every device;
//! who does as it likes counts with what it has ordered, and who does not trade with what was
//! measured. Where a bus would leave the band, the first line toward the root that carries what
//! moves its voltage is limited: by the power flow itself, halving its exchange until the bus is
//! in the band. Then the interval is cleared again. After the last round such lines are closed
//! to trade; what comes out then counts, and it is told if a bus lies outside the band even so.
//!
//! Not responsible for an island: its voltage is that of whoever forms it, and is not checked.

use std::collections::BTreeMap;

use market::book::BookError;
use market::quantity::energy_of_power_mwh;
use market::venue::feeder::{FeederRules, Limits, LineRules};
use market::venue::{self, feeder};
use market::{AgentId, Clearing, Interval, Mwh, Order, Side};
use model::{DeviceIx, Event, Role};
use network::description::{Branch, Edge, Network, On, Zip};
use network::flow::{Flow, Supply};
use network::tree::{Tree, TreeError};
use quantities::ActivePower;

use super::clearing::AtGate;
use super::seat::Seat;
use super::{Desk, DeskSays};
use crate::evidence::milliwatts;
use crate::rig::{MarketFeeder, ParticipantKind, Rig};

/// How far inside the band a limit aims, in per unit.
/// Chosen: 0.2 %, what meters and devices of a bench differ from what was asked of them.
const AIM_PU: f64 = 0.002;
/// How often the exchange of a line is halved. Chosen: 12, to a four-thousandth of it.
const HALVINGS: u32 = 12;

/// The power flow, whatever the number of conductors that it has.
trait PowerFlow {
    /// What a load draws, in watts and var.
    fn draw(&mut self, load: usize, p: f64, q: f64);
    /// Least and most voltage of a bus in per unit; zero where none exists, `None` without a source.
    fn voltage(&self, bus: usize) -> Option<(f64, f64)>;
    fn solve(&mut self);
}

impl<const N: usize> PowerFlow for Flow<N> {
    fn draw(&mut self, load: usize, p: f64, q: f64) {
        self.set_load(load, p, q);
    }
    fn voltage(&self, bus: usize) -> Option<(f64, f64)> {
        if self.supply(bus) == Supply::Dead {
            return None;
        }
        let phases = Flow::voltage(self, bus);
        let norms = phases.iter().map(|phase| phase.norm());
        Some(norms.fold((f64::INFINITY, 0.0), |(least, most), v| {
            (v.min(least), v.max(most))
        }))
    }
    fn solve(&mut self) {
        Flow::solve(self);
    }
}

/// A device on its node.
struct Hung {
    device: DeviceIx,
    /// Its place in the power flow.
    load: usize,
    node: usize,
}

/// What one device would do, in watts and var, positive into the bus.
#[derive(Clone, Copy, Default)]
struct Power {
    p: f64,
    q: f64,
    /// The part of `p` that follows what is traded.
    follows: bool,
}

/// A bus that would leave the band.
struct Outside {
    node: usize,
    /// Its voltage in per unit.
    v: f64,
    /// Whether it is too high.
    high: bool,
    /// How far outside.
    by: f64,
}

/// What watches the voltages of a feeder.
pub(super) struct Watch {
    flow: Box<dyn PowerFlow + Send>,
    how: MarketFeeder,
    names: Vec<String>,
    /// Bus of each node.
    buses: Vec<usize>,
    /// The node toward the root of each node.
    toward: Vec<usize>,
    hung: Vec<Hung>,
    /// Phases of a balanced network for each of the site's.
    scale: f64,
}

/// The power flow with its devices, whose places follow those of the network's own loads.
fn flow(
    network: &Network,
    places: &[(usize, On)],
) -> Result<(Box<dyn PowerFlow + Send>, Vec<usize>), TreeError> {
    fn of<const N: usize>(
        network: &Network,
        places: &[(usize, On)],
    ) -> Result<(Flow<N>, Vec<usize>), TreeError> {
        let mut flow = Flow::<N>::with_live(network, |source| source == 0)?;
        let loads = places
            .iter()
            .map(|(bus, on)| flow.add_load(*bus, *on, Zip::default()))
            .collect();
        Ok((flow, loads))
    }
    Ok(if network.unbalanced {
        let (flow, loads) = of::<3>(network, places)?;
        (Box::new(flow), loads)
    } else {
        let (flow, loads) = of::<1>(network, places)?;
        (Box::new(flow), loads)
    })
}

/// The line of the market that a branch is.
///
/// Where the powers of the site count `scale` times in the network, so do those that are traded.
fn line(
    network: &Network,
    branch: Branch,
    toward: usize,
    interval_ns: i64,
    scale: f64,
) -> LineRules {
    let (most_w, r_ohm, volts) = match branch {
        Branch::Line(n) => {
            let line = &network.lines[n];
            let v = network.buses[line.from].v_ll;
            let most = line.i_max.map(|i| 3_f64.sqrt() * v * i);
            (most, line.z_per_km.r * line.length_m / 1000.0, v)
        }
        Branch::Transformer(n) => {
            let t = &network.transformers[n];
            let r = t.vkr_percent / 100.0 * t.v_low * t.v_low / t.s_va;
            (Some(t.s_va), r, t.v_low)
        }
        Branch::Switch(n) => (None, 0.0, network.buses[network.switches[n].from].v_ll),
    };
    LineRules {
        toward,
        capacity: most_w.and_then(|w| energy_of_power_mwh(milliwatts(w / scale), interval_ns)),
        resistance_milliohm: (r_ohm * 1e3 * scale).round() as u32,
        voltage_millivolt: (volts * 1e3).round() as u32,
    }
}

/// The feeder of a rig's market and what watches it; `None` where the market has none.
pub(super) fn of_rig(
    rig: &Rig,
    seats: &[Seat],
    interval_ns: i64,
) -> Result<Option<(FeederRules, Watch)>, String> {
    let how = rig
        .market
        .as_ref()
        .and_then(|market| market.feeder.as_ref());
    let Some((how, network)) = how.zip(rig.emulate.network.as_deref()) else {
        return Ok(None);
    };
    let root = network.sources.first().ok_or("the network has no source")?;
    let edges: Vec<Edge> = network.edges().collect();
    let mut tree = Tree::new(network.buses.len(), edges, network.sources.len());
    tree.order(std::iter::once((0, root.bus)))
        .map_err(|e| e.to_string())?;
    // What the source does not reach is at the root.
    let node_of = |bus: usize| Some(tree.position[bus]).filter(|at| *at < tree.feeds.len());
    let is_breaker = |id: &str| {
        let mut devices = rig.devices.iter();
        devices.any(|device| device.role == Role::Breaker && *device.id == *id)
    };
    let coupling =
        (network.switches.iter()).find(|switch| switch.device.as_deref().is_some_and(is_breaker));
    let main = coupling.map_or(root.bus, |switch| switch.to);
    let place = |name: &str| {
        let own = network.connections.iter().find(|c| *c.device == *name);
        own.map_or((main, On::All), |own| (own.bus, own.on))
    };
    let exchanges = [Role::Pv, Role::Ess, Role::Genset, Role::Load];
    let devices: Vec<usize> = (0..rig.devices.len())
        .filter(|&n| exchanges.contains(&rig.devices[n].role))
        .collect();
    let places: Vec<(usize, On)> = (devices.iter())
        .map(|&n| place(&rig.devices[n].id))
        .collect();
    let (flow, loads) = flow(network, &places).map_err(|e| e.to_string())?;
    let hung = devices.iter().zip(&places).zip(loads);
    let hung = hung.map(|((&n, (bus, _)), load)| Hung {
        device: DeviceIx(n as u16),
        load,
        node: node_of(*bus).unwrap_or(0),
    });
    let at = seats.iter().map(|seat| {
        let (bus, _) = place(&rig.devices[seat.device.index()].id);
        (seat.agent.clone(), node_of(bus).unwrap_or(0))
    });
    // A site of one phase counts as a third of a balanced network, as in the emulated plant.
    let scale = match network.unbalanced {
        true => 1.0,
        false => 3.0 / f64::from(rig.site.phases),
    };
    let lines = tree.feeds.iter().filter_map(|feed| {
        let branch = tree.edges()[feed.edge?].branch;
        Some(line(network, branch, feed.parent, interval_ns, scale))
    });
    let names = tree.feeds.iter();
    let names: Vec<String> = names
        .map(|feed| network.buses[feed.bus].name.to_string())
        .collect();
    let rules = FeederRules {
        nodes: names.clone(),
        lines: lines.collect(),
        at: at.collect::<BTreeMap<AgentId, usize>>(),
        losses: how.losses,
    };
    let watch = Watch {
        flow,
        how: how.clone(),
        names,
        buses: tree.feeds.iter().map(|feed| feed.bus).collect(),
        toward: tree.feeds.iter().map(|feed| feed.parent).collect(),
        hung: hung.collect(),
        scale,
    };
    Ok(Some((rules, watch)))
}

/// Power of an energy in an interval, in watts.
fn watts(energy: i128, interval: &Interval) -> f64 {
    // A milliwatt-hour is 3.6 joules.
    energy as f64 * 3.6 / (interval.dt_ns as f64 * 1e-9)
}

impl Watch {
    /// What every device would do by a clearing; `epoch` is market time zero and how fast the market goes.
    fn powers(
        &self,
        at: &AtGate<'_>,
        epoch: (i64, i64),
        seats: &[Seat],
        clearing: &Clearing,
        orders: &[Order],
    ) -> Vec<Power> {
        let steps = |seat: &Seat, side: Side| -> i128 {
            let own = (orders.iter()).filter(|o| o.agent == seat.agent && o.side == side);
            let steps = own.flat_map(|order| &order.steps);
            steps.map(|step| i128::from(step.quantity.0)).sum()
        };
        // An order may be less than what is expected: nobody accepts more of who is capped.
        let expected = |seat: &Seat| -> i128 {
            let specs = &at.bench.bench.devices;
            let interval = &clearing.interval;
            let outlook = seat.outlook(at.now, at.bench.image, specs, interval, epoch);
            outlook.forecast.map_or(0, |energy| energy.0.into())
        };
        // The sun and what must run do what they do, whether or not somebody orders for them.
        let trades = |seat: &&Seat| match seat.kind {
            ParticipantKind::Pv | ParticipantKind::MustRun => {
                orders.iter().any(|o| o.agent == seat.agent)
            }
            _ => true,
        };
        let power = |hung: &Hung| {
            let image = &at.bench.image.devices[hung.device.index()];
            let age_max = at.bench.bench.devices[hung.device.index()].sample_age_max;
            let measured = image.p.fresh(at.now, age_max).map_or(0.0, |p| p.as_watts());
            let q = image.q.fresh(at.now, age_max).map_or(0.0, |q| q.as_vars());
            let own = seats.iter().filter(|seat| seat.device == hung.device);
            let own: Vec<&Seat> = own.filter(trades).collect();
            let is = |kind| own.iter().any(|seat| seat.kind == kind);
            let position = |seat: &Seat| clearing.position(&seat.agent).0;
            let energies = own.iter().map(|seat| match seat.kind {
                ParticipantKind::MustRun => expected(seat).min(-steps(seat, Side::Buy)),
                _ => position(seat),
            });
            let traded = watts(energies.sum(), &clearing.interval);
            let left = own
                .iter()
                .map(|seat| steps(seat, Side::Sell) - position(seat));
            let p = if own.is_empty() {
                measured
            } else if is(ParticipantKind::Pv) && left.sum::<i128>() <= 0 {
                // All that it offers is taken: nothing holds it to that, even if it offers only a part.
                let all = own.iter().map(|seat| expected(seat)).sum();
                traded.max(measured).max(watts(all, &clearing.interval))
            } else {
                traded
            };
            Power {
                p,
                q,
                follows: !own.is_empty() && !is(ParticipantKind::MustRun),
            }
        };
        self.hung.iter().map(power).collect()
    }

    /// The buses that leave the band by these powers, the worst first.
    fn outside(&mut self, powers: &[Power]) -> Vec<Outside> {
        for (hung, power) in self.hung.iter().zip(powers) {
            let scale = self.scale;
            self.flow
                .draw(hung.load, -power.p * scale, -power.q * scale);
        }
        self.flow.solve();
        let (low, high) = self.how.band_pu;
        let mut found = Vec::new();
        for (node, bus) in self.buses.iter().enumerate() {
            let Some((least, most)) = self.flow.voltage(*bus) else {
                continue;
            };
            for (v, high, by) in [(most, true, most - high), (least, false, low - least)] {
                if by > 0.0 {
                    found.push(Outside { node, v, high, by });
                }
            }
        }
        found.sort_by(|a, b| b.by.total_cmp(&a.by));
        found
    }

    /// Whether a bus stays inside of the band, with some room, by these powers.
    fn holds(&mut self, outside: &Outside, powers: &[Power]) -> bool {
        let (low, high) = self.how.band_pu;
        // The rest is of no matter here: it has its own line.
        drop(self.outside(powers));
        let v = self.flow.voltage(self.buses[outside.node]);
        v.is_some_and(|(least, most)| match outside.high {
            true => most <= high - AIM_PU,
            false => least >= low + AIM_PU,
        })
    }

    /// Nodes from one to the root, the root left out.
    fn path(&self, node: usize) -> Vec<usize> {
        let step = |node: &usize| Some(self.toward[*node]);
        let path = std::iter::successors(Some(node), step);
        path.take_while(|node| *node != 0).collect()
    }

    fn is_behind(&self, node: usize, line: usize) -> bool {
        self.path(node).contains(&line)
    }

    /// The powers when only a share of what crosses a line crosses it: who gives what crosses gives
    /// less, alike. `None` when nobody there follows what is traded.
    fn with_share(
        &self,
        line: usize,
        share: f64,
        flow: f64,
        powers: &[Power],
    ) -> Option<Vec<Power>> {
        let behind = |n: usize| self.is_behind(self.hung[n].node, line);
        let gives = |n: usize, power: &Power| {
            behind(n) && power.follows && power.p.signum() == flow.signum()
        };
        let (mut given, mut other) = (0.0, 0.0);
        for (n, power) in powers.iter().enumerate().filter(|(n, _)| behind(*n)) {
            if gives(n, power) {
                given += power.p;
            } else {
                other += power.p;
            }
        }
        if given == 0.0 {
            return None;
        }
        let part = ((share * flow - other) / given).clamp(0.0, 1.0);
        let changed = powers.iter().enumerate().map(|(n, power)| Power {
            p: if gives(n, power) {
                power.p * part
            } else {
                power.p
            },
            ..*power
        });
        Some(changed.collect())
    }

    /// How much the lines of these buses may carry; closed ones when it `is_last`.
    fn limits(
        &mut self,
        outside: &[Outside],
        powers: &[Power],
        flows: &[i128],
        is_last: bool,
    ) -> Limits {
        let mut limits = Limits::new();
        for bus in outside {
            let path = self.path(bus.node);
            // What is limited for a worse one is looked at again in the next round.
            if path.iter().any(|node| limits.contains_key(node)) {
                continue;
            }
            let moves = path
                .into_iter()
                .filter(|&node| (flows[node] > 0) == bus.high && flows[node] != 0);
            let moves: Vec<usize> = moves.collect();
            if is_last {
                // One at a time: what is closed to sell is closed to buy, too.
                limits.extend(moves.first().map(|line| (*line, Mwh(0))));
                break;
            }
            let mut nearest = None;
            for line in moves {
                let flow: f64 = (self.hung.iter().zip(powers))
                    .filter(|(hung, _)| self.is_behind(hung.node, line))
                    .map(|(_, power)| power.p)
                    .sum();
                let holds = |watch: &mut Self, share| {
                    let powers = watch.with_share(line, share, flow, powers);
                    powers.is_some_and(|powers| watch.holds(bus, &powers))
                };
                nearest = nearest.or(Some(line));
                if !holds(self, 0.0) {
                    continue;
                }
                let (mut good, mut bad) = (0.0, 1.0);
                for _ in 0..HALVINGS {
                    let middle = (good + bad) / 2.0;
                    if holds(self, middle) {
                        good = middle;
                    } else {
                        bad = middle;
                    }
                }
                let energy = (flows[line].abs() as f64 * good).floor();
                limits.insert(line, Mwh(energy as i64));
                nearest = None;
                break;
            }
            // No line alone is enough: the nearest one gives all that it can, for the worst bus. The
            // others may be well by then, and what is closed to sell is closed to buy, too.
            if limits.is_empty() {
                limits.extend(nearest.map(|line| (line, Mwh(0))));
            }
        }
        limits
    }

    fn told(&self, interval: &Interval, outside: &Outside, then: &str) -> Event {
        let (low, high) = self.how.band_pu;
        let (bound, side) = match outside.high {
            true => (high, "at most"),
            false => (low, "at least"),
        };
        Event::Noticed {
            device: None,
            text: format!(
                "interval {}: bus `{}` would have {:.4} of its nominal voltage, {side} {bound} by {}; {then}",
                interval.index, self.names[outside.node], outside.v, self.how.origin
            ),
        }
    }
}

impl Desk {
    /// Clears an interval so that the voltages of its feeder, if it has one, stay in their band.
    pub(super) fn clear_in_band(
        &mut self,
        at: &AtGate<'_>,
        interval: Interval,
        orders: Vec<Order>,
        says: &mut DeskSays,
    ) -> Result<venue::Cleared, BookError> {
        let Some(watch) = self.watch.as_mut().filter(|_| at.bench.connected) else {
            return self.venue.clear(interval, orders);
        };
        let mut limits = Limits::new();
        let mut cleared = self.venue.clear(interval, orders.clone())?;
        let rounds = watch.how.rounds;
        for round in 0..=rounds + 1 {
            let nodes = self
                .venue
                .feeder()
                .and_then(|it| it.nodes_of(&cleared.clearing));
            let Some(nodes) = nodes.filter(|_| rounds > 0 && cleared.failure.is_none()) else {
                break;
            };
            let epoch = (self.rules.epoch_utc_ns, self.rules.time_factor);
            let powers = watch.powers(at, epoch, &self.seats, &cleared.clearing, &orders);
            let outside = watch.outside(&powers);
            let Some(worst) = outside.first() else {
                break;
            };
            let flows: Vec<i128> = nodes.iter().map(|node| node.flow.0).collect();
            if round > rounds {
                let then = "all rounds are used up, and the clearing counts";
                says.events.push(watch.told(&interval, worst, then));
                break;
            }
            let is_last = round == rounds;
            let tighter = watch.limits(&outside, &powers, &flows, is_last);
            if tighter.is_empty() {
                let then = "no trade can change that, and the clearing counts";
                says.events.push(watch.told(&interval, worst, then));
                break;
            }
            let lines = tighter
                .iter()
                .map(|(node, limit)| format!("`{}` at most {} mWh", watch.names[*node], limit.0));
            let lines = lines.collect::<Vec<_>>().join(", ");
            let then = match is_last {
                true => format!("after {rounds} rounds its line is closed to trade: {lines}"),
                false => format!("cleared again with the line to {lines}"),
            };
            says.events.push(watch.told(&interval, worst, &then));
            for (node, limit) in tighter {
                let held = limits.entry(node).or_insert(limit);
                *held = limit.min(*held);
            }
            cleared = self.venue.clear_within(interval, orders.clone(), &limits)?;
        }
        Ok(cleared)
    }

    /// What photovoltaics on the feeder are held to: what they have sold, where that is not all of
    /// their offer.
    pub(super) fn ceilings_of(&self, cleared: &venue::Cleared) -> BTreeMap<DeviceIx, ActivePower> {
        let mut ceilings = BTreeMap::new();
        if self.venue.feeder().is_none() {
            return ceilings;
        }
        let suns = |seat: &&Seat| seat.kind == ParticipantKind::Pv;
        let mut devices: Vec<DeviceIx> = self.seats.iter().filter(suns).map(|s| s.device).collect();
        devices.dedup();
        for device in devices {
            let (mut offered, mut sold) = (0_i128, 0_i128);
            for seat in self.seats.iter().filter(|seat| seat.device == device) {
                let own = cleared.book.orders().iter();
                let own = own.filter(|o| o.agent == seat.agent && o.side == Side::Sell);
                offered += own
                    .flat_map(|order| &order.steps)
                    .map(|step| i128::from(step.quantity.0))
                    .sum::<i128>();
                sold += cleared.clearing.position(&seat.agent).0;
            }
            if sold < offered {
                let most = watts(sold.max(0), &cleared.clearing.interval);
                ceilings.insert(device, ActivePower::from_watts(most));
            }
        }
        ceilings
    }

    /// Name of the rule of real time, without what it says of single lines.
    pub(super) fn real_time_rule(&self) -> String {
        match self.venue.feeder() {
            Some(_) => feeder::NAME.to_owned(),
            None if self.rules.balancing => market::venue::balancing::NAME.to_owned(),
            None if self.venue.buys_together() => market::cooptimised::NAME.to_owned(),
            None => self.rules.venue.mechanism.clone(),
        }
    }
}
