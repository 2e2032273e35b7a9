//! The plant: one low-voltage busbar behind a feeder, with sources, storages and loads.
//!
//! Deterministic: time comes in as the argument of [`Plant::step`], randomness from a
//! seed. A bus is in one of three states of [`Supply`]: the grid holds voltage and
//! frequency, storage inverters form an island by droop, or the bus is dead.
//!
//! **Theory.** Connected, the bus voltage follows from the exact two-bus formula
//! (see [`network`]), or from the power flow of a whole network (see [`wires`]). Islanded,
//! every forming inverter wants `P = P_set + (f0 - f) / mp` inside its limits, and what the
//! bus really draws differs from the sum of wishes by an imbalance that drives the frequency
//! (see [`::network::island`]). Where the limits leave room this settles on the droop line
//! within milliseconds; where they do not, the frequency runs until the protection takes the
//! island down.
//!
//! It is not responsible for what a device says or is told (see `device`), nor for
//! electromagnetic transients: a step is some milliseconds.

pub mod breaker;
pub mod counter;
pub mod grid;
pub mod load;
pub mod network;
mod noise;
pub mod pv;
pub mod storage;
pub mod wires;

use std::time::Duration;

use ::network::island::{Demand, Former, Island, Machine, State};
use quantities::{Frequency, Voltage};

use breaker::{Breaker, BusSide, SyncCheck};
use counter::Counter;
use grid::Grid;
use load::Load;
use network::Feeder;
use pv::Pv;
use storage::Storage;
use wires::{Held, NoVoltage, Unit, Wires};

/// Nominal values of the site.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Site {
    /// Nominal voltage, line to neutral.
    pub v_nominal: Voltage,
    /// Nominal frequency.
    pub f_nominal: Frequency,
    /// Number of phases, 1 or 3; loads and sources are balanced over them.
    pub phases: u8,
}

/// How storage inverters form an island.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forming {
    /// Frequency droop in per unit of nominal at rated power.
    pub droop_p: f64,
    /// Voltage droop in per unit of nominal at rated reactive power.
    pub droop_q: f64,
    /// Inertia constant on the rating of the forming inverters, in seconds.
    pub inertia_s: f64,
    /// Under-frequency trip in per unit of nominal.
    pub trip_low: f64,
    /// Over-frequency trip in per unit of nominal.
    pub trip_high: f64,
    /// Time outside the trip limits until the island goes down.
    pub trip_after: Duration,
}

impl Default for Forming {
    /// Chosen: 2 % and 5 % droop as laboratory inverters come from the box; an inertia
    /// constant of 1 s gives an overloaded island some 100 ms until it goes down,
    /// enough for a fast shed and too little for a slow one; trips 6 % below and 4 %
    /// above nominal (47 and 52 Hz) leave room for the droop line.
    fn default() -> Self {
        Self {
            droop_p: 0.02,
            droop_q: 0.05,
            inertia_s: 1.0,
            trip_low: 0.94,
            trip_high: 1.04,
            trip_after: Duration::from_millis(200),
        }
    }
}

/// Who holds voltage and frequency of the bus.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Supply {
    /// The grid, through the feeder.
    Grid,
    /// The storage inverters.
    Island,
    /// Nobody, but the breaker is still closed on a dead grid.
    Lost,
    /// Nobody: black until the grid comes back through the breaker or somebody restarts.
    Dead,
}

/// The bus as it was at the end of the last step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bus {
    /// Who holds it.
    pub supply: Supply,
    /// Voltage, line to neutral, in volts.
    pub v: f64,
    /// Frequency in hertz; the last one while the bus is dead.
    pub f: f64,
    /// Angle against the grid in degrees, -180 to 180.
    pub angle: f64,
    tripping_s: f64,
}

/// Power through the point of common coupling, positive = import.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Exchange {
    /// Active power at the bus in watts.
    pub p: f64,
    /// Reactive power at the bus in var.
    pub q: f64,
    /// Active power lost in the feeder in watts.
    pub losses: f64,
    /// Counted energy.
    pub counter: Counter,
}

/// The whole plant.
#[derive(Clone, Debug)]
pub struct Plant {
    site: Site,
    feeder: Feeder,
    forming: Forming,
    /// The utility.
    pub grid: Grid,
    /// The breaker at the point of common coupling.
    pub breaker: Breaker,
    /// Photovoltaic inverters.
    pub pv: Vec<Pv>,
    /// Storage inverters with their batteries.
    pub storage: Vec<Storage>,
    /// Loads.
    pub loads: Vec<Load>,
    wires: Option<Wires>,
    /// The storages as machines, in their order; anew with each island.
    island: Island,
    bus: Bus,
    /// Time since a dead bus began to be brought up, in seconds; `None` when nobody does.
    starting_s: Option<f64>,
    pcc: Exchange,
    now: Duration,
}

/// Stages of voltage in which a forming unit brings up a dead bus: per unit of nominal, until so
/// many seconds after the start. Then it stands at nominal.
//= MathWorks, Simscape microgrid black start example: 0.3 per unit for 2 s, 0.7 for 3 s, then 1.0.
const START_STAGES: [(f64, f64); 2] = [(2.0, 0.3), (5.0, 0.7)];

/// Voltage in per unit below which an inverter that follows does not connect to a bus that is being
/// brought up. The lower end of the usual window in which devices enter service, 0.88.
const FOLLOW_V_PU: f64 = 0.88;

impl Plant {
    /// A plant at rest on its grid, without units; add them to `pv`, `storage` and `loads`.
    #[must_use]
    pub fn new(site: Site, feeder: Feeder, forming: Forming, sync: SyncCheck, seed: u64) -> Self {
        Self {
            site,
            feeder,
            forming,
            grid: Grid::new(site, seed),
            breaker: Breaker::closed(sync),
            pv: Vec::new(),
            storage: Vec::new(),
            loads: Vec::new(),
            wires: None,
            island: Island::new(site.f_nominal.as_hertz(), Vec::new()),
            bus: Bus {
                supply: Supply::Grid,
                v: site.v_nominal.as_volts(),
                f: site.f_nominal.as_hertz(),
                angle: 0.0,
                tripping_s: 0.0,
            },
            starting_s: None,
            pcc: Exchange::default(),
            now: Duration::ZERO,
        }
    }

    /// Puts a network between the units, once all of them are there.
    pub fn wire(&mut self, wires: Wires) {
        self.wires = Some(wires);
    }

    /// Voltage at a unit per phase, line to neutral in volts.
    #[must_use]
    pub fn volts(&self, unit: Unit) -> [f64; 3] {
        match &self.wires {
            Some(wires) if self.is_live() => wires.volts(unit),
            _ => [self.bus.v; 3],
        }
    }

    /// How a unit's power is spread over the site's phases.
    #[must_use]
    pub fn shares(&self, unit: Unit) -> [f64; 3] {
        let wired = self.wires.as_ref().and_then(|wires| wires.shares(unit));
        wired.unwrap_or([1.0 / f64::from(self.site.phases); 3])
    }

    /// Nominal values.
    #[must_use]
    pub fn site(&self) -> Site {
        self.site
    }

    /// The bus at the end of the last step.
    #[must_use]
    pub fn bus(&self) -> Bus {
        self.bus
    }

    /// The exchange with the grid in the last step.
    #[must_use]
    pub fn pcc(&self) -> Exchange {
        self.pcc
    }

    /// Time stepped so far.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Whether voltage stands on the bus.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.bus.supply, Supply::Grid | Supply::Island)
    }

    /// Restarts a dead, open bus from its storage inverters; false when none can or it is not dead.
    pub fn restart(&mut self) -> bool {
        let dead = self.bus.supply == Supply::Dead && !self.breaker.is_closed();
        if dead {
            self.storage.iter_mut().for_each(Storage::reset);
        }
        let can = dead && self.can_form_island();
        if can {
            self.begin_island(self.site.f_nominal.as_hertz());
        }
        can
    }

    /// Moves everything on by `dt`.
    ///
    /// Steps of 1 to 20 ms are meant; the frequency of an island is solved implicitly and
    /// stays stable beyond, but relays then see less.
    pub fn step(&mut self, dt: Duration) {
        let dt_s = dt.as_secs_f64();
        self.now += dt;
        self.grid.step(dt_s);
        self.turn_angle(dt_s);
        let side = BusSide {
            live: self.is_live(),
            v: self.bus.v,
            f: self.bus.f,
            angle: self.bus.angle,
        };
        self.breaker.step(dt_s, &self.grid, &side, self.site);
        self.settle_supply();
        match self.bus.supply {
            Supply::Grid => self.step_connected(dt_s),
            Supply::Island => self.step_islanded(dt_s),
            Supply::Lost | Supply::Dead => self.step_dead(dt_s),
        }
        self.count(dt_s);
    }

    fn turn_angle(&mut self, dt_s: f64) {
        match self.bus.supply {
            Supply::Island => {
                let slip = self.bus.f - self.grid.f();
                self.bus.angle = wrap(self.bus.angle + 360.0 * slip * dt_s);
            }
            Supply::Grid | Supply::Lost | Supply::Dead => self.bus.angle = 0.0,
        }
        // A jump of the grid's phase shows across an open breaker only.
        self.bus.angle = match self.bus.supply {
            Supply::Island => wrap(self.bus.angle - self.grid.take_phase_jump()),
            _ => {
                self.grid.take_phase_jump();
                self.bus.angle
            }
        };
    }

    /// The table of supplies: who holds the bus now.
    fn settle_supply(&mut self) {
        let grid_here = self.breaker.is_closed() && self.grid.is_live(self.site);
        self.bus.supply = match (self.bus.supply, self.breaker.is_closed(), grid_here) {
            (_, true, true) => Supply::Grid,
            (Supply::Dead, true, false) => Supply::Dead,
            (_, true, false) => Supply::Lost,
            (Supply::Island, false, _) => Supply::Island,
            (Supply::Dead, false, _) => {
                if self.storage.iter().any(Storage::is_asked) {
                    self.begin_island(self.site.f_nominal.as_hertz());
                    self.starting_s = Some(0.0);
                    Supply::Island
                } else {
                    Supply::Dead
                }
            }
            (Supply::Grid | Supply::Lost, false, _) => {
                let f = self.bus.f;
                if self.can_form_island() {
                    self.begin_island(f);
                    Supply::Island
                } else {
                    Supply::Dead
                }
            }
        };
    }

    fn can_form_island(&self) -> bool {
        self.storage.iter().any(Storage::can_form)
    }

    fn begin_island(&mut self, f: f64) {
        self.bus.supply = Supply::Island;
        self.bus.f = f;
        self.bus.tripping_s = 0.0;
        for storage in &mut self.storage {
            storage.begin_forming();
        }
        self.island.begin(f);
        let forming = self.forming;
        let machine = |_: &Storage| {
            Machine::Former(Former {
                s_va: 0.0,
                droop: forming.droop_p,
                // So much of a filter acts like the inertia that the site asks for.
                filter_s: 2.0 * forming.inertia_s * forming.droop_p,
                p_set: 0.0,
                p_limits: (0.0, 0.0),
            })
        };
        self.island.machines = self.storage.iter().map(machine).collect();
    }

    fn step_connected(&mut self, dt_s: f64) {
        self.starting_s = None;
        self.storage.iter_mut().for_each(Storage::reset);
        let (mut p, mut q) = self.step_followers(dt_s);
        for storage in &mut self.storage {
            storage.follow(dt_s);
            p += storage.p();
            q += storage.q();
        }
        if self.wires.is_some() {
            self.connect_wires();
            return;
        }
        let phases = f64::from(self.site.phases);
        let flow = self.feeder.flow(self.grid.v(), p / phases, q / phases);
        self.bus.v = flow.v;
        self.bus.f = self.grid.f();
        self.bus.angle = flow.angle;
        self.bus.tripping_s = 0.0;
        self.pcc.p = -p;
        self.pcc.q = -q;
        self.pcc.losses = flow.losses * phases;
    }

    fn step_islanded(&mut self, dt_s: f64) {
        let (p, q) = self.step_followers(dt_s);
        let forming = self.forming;
        let f_nominal = self.site.f_nominal.as_hertz();
        for (storage, machine) in self.storage.iter_mut().zip(&mut self.island.machines) {
            if storage.is_asked() {
                storage.begin_forming();
            }
            storage.track_setpoint(dt_s);
            if let Machine::Former(former) = machine {
                storage.drive(former);
            }
        }
        let rating: f64 = self.formers().map(Storage::rating).sum();
        if rating <= 0.0 {
            self.go_dead();
            return;
        }
        let wired = self.wires.is_some().then(|| self.draw_of_wires());
        let Ok((p, q)) = wired.unwrap_or(Ok((p, q))) else {
            self.go_dead();
            return;
        };
        let demand = Demand {
            p: -p,
            damping: 0.0,
        };
        if self.island.step(dt_s, demand) == State::Lost {
            self.go_dead();
            return;
        }
        let f_next = self.island.f();
        let q_wish: f64 = self.formers().map(Storage::q_set).sum();
        for (n, storage) in self.storage.iter_mut().enumerate() {
            if storage.is_forming() {
                let share = storage.rating() / rating;
                storage.form(self.island.power(n), -q * share);
            }
        }
        self.bus.f = f_next;
        self.bus.v = self.site.v_nominal.as_volts()
            * self.stage(dt_s)
            * (1.0 - forming.droop_q * (-q - q_wish) / rating);
        self.pcc.p = 0.0;
        self.pcc.q = 0.0;
        self.pcc.losses = 0.0;
        let f_pu = f_next / f_nominal;
        if f_pu < forming.trip_low || f_pu > forming.trip_high {
            self.bus.tripping_s += dt_s;
            if self.bus.tripping_s >= forming.trip_after.as_secs_f64() {
                self.go_dead();
            }
        } else {
            self.bus.tripping_s = 0.0;
        }
    }

    /// The stage of voltage of a bus that is being brought up, per unit of nominal.
    fn stage(&mut self, dt_s: f64) -> f64 {
        let Some(since_s) = self.starting_s else {
            return 1.0;
        };
        self.starting_s = Some(since_s + dt_s);
        let stage = START_STAGES.iter().find(|(until_s, _)| since_s < *until_s);
        match stage {
            Some((_, v_pu)) => *v_pu,
            None => {
                self.starting_s = None;
                1.0
            }
        }
    }

    /// The grid's voltage through the network.
    fn connect_wires(&mut self) {
        let v_pu = self.grid.v() / self.site.v_nominal.as_volts();
        let Ok(drawn) = self.solve_wires(Held::ByGrid, v_pu) else {
            // A voltage that does not exist trips the undervoltage relay at once.
            self.breaker.open();
            self.go_dead();
            return;
        };
        if let Some(wires) = &self.wires {
            self.bus.v = mean(wires.volts(Unit::Main));
            self.bus.angle = wires.angle();
        }
        self.bus.f = self.grid.f();
        self.bus.tripping_s = 0.0;
        (self.pcc.p, self.pcc.q) = drawn.from_source;
        self.pcc.losses = drawn.from_source.0 - drawn.taken;
    }

    /// What an island asks of its forming inverters together, losses included, as power into
    /// the network.
    fn draw_of_wires(&mut self) -> Result<(f64, f64), NoVoltage> {
        let largest = |a: &(usize, f64), b: &(usize, f64)| a.1.total_cmp(&b.1);
        let formers = self
            .storage
            .iter()
            .enumerate()
            .filter(|(_, s)| s.is_forming());
        let slack = formers.map(|(n, s)| (n, s.rating())).max_by(largest);
        let (slack, _) = slack.ok_or(NoVoltage)?;
        let nominal = self.site.v_nominal.as_volts();
        let v_pu = if self.bus.v > 0.0 {
            self.bus.v / nominal
        } else {
            1.0
        };
        let drawn = self.solve_wires(Held::ByStorage(slack), v_pu)?;
        let (mut p, mut q) = drawn.from_source;
        for (n, storage) in self.storage.iter().enumerate() {
            if n != slack && storage.is_forming() {
                p += storage.p();
                q += storage.q();
            }
        }
        Ok((-p, -q))
    }

    /// Tells the network what all units do and solves it; the one that holds it counts as what
    /// it makes up for.
    fn solve_wires(&mut self, held: Held, v_pu: f64) -> Result<wires::Drawn, NoVoltage> {
        let wires = self.wires.as_mut().ok_or(NoVoltage)?;
        for (n, pv) in self.pv.iter().enumerate() {
            wires.set(Unit::Pv(n), pv.p(), pv.q());
        }
        for (n, load) in self.loads.iter().enumerate() {
            wires.set(Unit::Load(n), load.p(), load.q());
        }
        for (n, storage) in self.storage.iter().enumerate() {
            if held == Held::ByStorage(n) {
                wires.set(Unit::Storage(n), 0.0, 0.0);
            } else {
                wires.set(Unit::Storage(n), storage.p(), storage.q());
            }
        }
        wires.solve(held, v_pu)
    }

    fn formers(&self) -> impl Iterator<Item = &Storage> {
        self.storage.iter().filter(|s| s.is_forming())
    }

    fn step_dead(&mut self, dt_s: f64) {
        self.step_followers(dt_s);
        self.rest();
    }

    fn go_dead(&mut self) {
        self.bus.supply = Supply::Dead;
        self.starting_s = None;
        for pv in &mut self.pv {
            pv.trip();
        }
        self.storage.iter_mut().for_each(Storage::trip);
        for load in &mut self.loads {
            load.step(0.0, 0.0);
        }
        self.rest();
    }

    fn rest(&mut self) {
        for storage in &mut self.storage {
            storage.rest();
        }
        self.bus.v = 0.0;
        self.bus.tripping_s = 0.0;
        self.pcc.p = 0.0;
        self.pcc.q = 0.0;
        self.pcc.losses = 0.0;
    }

    /// Steps everything that follows the bus; gives the sum of its power.
    fn step_followers(&mut self, dt_s: f64) -> (f64, f64) {
        let (v_pu, f) = self.per_unit();
        let wires = self
            .wires
            .as_ref()
            .filter(|_| self.bus.v > 0.0 && v_pu > 0.0);
        let (mut p, mut q) = (0.0, 0.0);
        for pv in &mut self.pv {
            let live = v_pu > 0.0 && (self.starting_s.is_none() || v_pu >= FOLLOW_V_PU);
            pv.step(dt_s, live, Frequency::from_hertz(f));
            p += pv.p();
            q += pv.q();
        }
        for (n, load) in self.loads.iter_mut().enumerate() {
            let own = wires.map_or(v_pu, |wires| wires.per_unit(Unit::Load(n)));
            // Just connected, it has not been solved yet.
            load.step(dt_s, if own > 0.0 { own } else { v_pu });
            p += load.p();
            q += load.q();
        }
        (p, q)
    }

    /// Voltage in per unit and frequency as the units saw them last; a bus that has just
    /// come back begins at nominal, a dead one has none.
    fn per_unit(&self) -> (f64, f64) {
        if !self.is_live() {
            return (0.0, self.bus.f);
        }
        let v = self.bus.v / self.site.v_nominal.as_volts();
        let live = if v > 0.0 { v } else { 1.0 };
        (live, self.bus.f)
    }

    fn count(&mut self, dt_s: f64) {
        let p = self.pcc.p;
        self.pcc.counter.add(p, dt_s);
        for pv in &mut self.pv {
            pv.count(dt_s);
        }
        for storage in &mut self.storage {
            storage.count(dt_s);
        }
        for load in &mut self.loads {
            load.count(dt_s);
        }
    }
}

/// An angle in degrees brought to -180..=180.
fn wrap(degrees: f64) -> f64 {
    let turned = (degrees + 180.0).rem_euclid(360.0) - 180.0;
    if turned.is_nan() { 0.0 } else { turned }
}

fn mean(volts: [f64; 3]) -> f64 {
    volts.iter().sum::<f64>() / 3.0
}

#[cfg(test)]
mod tests;
