//! The plant: a low-voltage network behind a feeder, with sources, storages, sets and loads.
//!
//! Deterministic: time comes in as the argument of [`Plant::step`], randomness from a
//! seed. It is made of parts (see [`zones`]), each in one of the states of [`Supply`]: the grid
//! holds voltage and frequency, storage inverters and diesel sets form an island, or it is dead.
//! Without a network there is one part, the busbar.
//!
//! **Theory.** Connected, the bus voltage follows from the exact two-bus formula
//! (see [`network`]), or from the power flow of a whole network (see [`wires`]). Islanded,
//! every forming inverter wants `P = P_set + (f0 - f) / mp` inside its limits, a diesel set
//! follows its governor, and what the part really draws differs from the sum of wishes by an
//! imbalance that drives the frequency (see [`::network::island`]). Where the limits leave room
//! this settles on the droop line; where they do not, the frequency runs until the protection
//! takes the island down. Voltage and sharing of reactive power are in [`part`].
//!
//! A switch that joins two live parts does so inside the windows of the sync-check only;
//! outside of them every unit that forms one of the two trips.
//!
//! It is not responsible for what a device says or is told (see `device`), nor for
//! electromagnetic transients: a step is some milliseconds.

pub mod breaker;
pub mod counter;
pub mod der;
mod drifting;
pub mod genset;
pub mod grid;
mod islanded;
pub mod load;
pub mod network;
mod noise;
pub mod part;
pub mod pv;
pub mod storage;
mod together;
pub mod wires;
pub mod zones;

use std::time::Duration;

use der_model::Volts;
use quantities::{Frequency, Voltage};

use breaker::{Breaker, BusSide, SyncCheck};
use counter::Counter;
use der::Terminals;
use genset::{Around, Genset};
use grid::Grid;
use load::Load;
use network::Feeder;
pub use part::{Bus, Supply};
use part::{Drawn, Former, Part};
use pv::Pv;
use storage::Storage;
use wires::{Holder, Unit, Wires};
use zones::{NotSwitched, Zones};

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

/// How a unit forms an island; all in per unit of its rating and of nominal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FormingLaw {
    /// Frequency droop at rated power.
    pub droop_p: f64,
    /// Voltage droop at rated reactive power.
    pub droop_q: f64,
    /// Inertia constant on its rating, in seconds.
    pub inertia_s: f64,
    /// Resistance of its virtual impedance.
    pub virtual_r: f64,
    /// Reactance of its virtual impedance.
    pub virtual_x: f64,
    /// Largest current.
    pub current_max: f64,
}

impl Default for FormingLaw {
    /// Chosen: 2 % and 5 % droop as laboratory inverters come from the box; an inertia
    /// constant of 1 s gives an overloaded island some 100 ms until it goes down,
    /// enough for a fast shed and too little for a slow one; no virtual impedance, for the droop
    /// of voltage shares already; 1.2 times the rated current for a moment, as data sheets say.
    fn default() -> Self {
        Self {
            droop_p: 0.02,
            droop_q: 0.05,
            inertia_s: 1.0,
            virtual_r: 0.0,
            virtual_x: 0.0,
            current_max: 1.2,
        }
    }
}

/// How an island is formed, and when it goes down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forming {
    /// Law of the storage inverters that have none of their own.
    pub law: FormingLaw,
    /// Under-frequency trip in per unit of nominal.
    pub trip_low: f64,
    /// Over-frequency trip in per unit of nominal.
    pub trip_high: f64,
    /// Under-voltage trip in per unit of nominal.
    pub trip_v_low: f64,
    /// Time outside the trip limits until the island goes down.
    pub trip_after: Duration,
}

impl Default for Forming {
    /// Chosen: trips 6 % below and 4 % above nominal (47 and 52 Hz) leave room for the droop
    /// line; the voltage is that of the relay at the coupling breaker.
    fn default() -> Self {
        Self {
            law: FormingLaw::default(),
            trip_low: 0.94,
            trip_high: 1.04,
            trip_v_low: 0.7,
            trip_after: Duration::from_millis(200),
        }
    }
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
    sync: SyncCheck,
    /// The utility.
    pub grid: Grid,
    /// The breaker at the point of common coupling.
    pub breaker: Breaker,
    /// Photovoltaic inverters.
    pub pv: Vec<Pv>,
    /// Storage inverters with their batteries.
    pub storage: Vec<Storage>,
    /// Diesel sets.
    pub gensets: Vec<Genset>,
    /// Loads.
    pub loads: Vec<Load>,
    wires: Option<Wires>,
    zones: Zones,
    parts: Vec<Part>,
    pcc: Exchange,
    /// The grid's voltage in the last step, in volts.
    v_grid_before: f64,
    /// By how many degrees the grid's phase has jumped so far.
    jumped_deg: f64,
    now: Duration,
}

/// Voltage in per unit below which an inverter that follows does not connect to a bus that is being
/// brought up. The lower end of the usual window in which devices enter service, 0.88.
const FOLLOW_V_PU: f64 = 0.88;

impl Plant {
    /// A plant at rest on its grid, without units; add them to `pv`, `storage`, `gensets` and
    /// `loads`.
    #[must_use]
    pub fn new(site: Site, feeder: Feeder, forming: Forming, sync: SyncCheck, seed: u64) -> Self {
        let (v, f) = (site.v_nominal.as_volts(), site.f_nominal.as_hertz());
        Self {
            site,
            feeder,
            forming,
            sync,
            grid: Grid::new(site, seed),
            breaker: Breaker::closed(sync),
            pv: Vec::new(),
            storage: Vec::new(),
            gensets: Vec::new(),
            loads: Vec::new(),
            wires: None,
            zones: Zones::busbar(),
            parts: vec![Part::new(v, f)],
            pcc: Exchange::default(),
            v_grid_before: v,
            jumped_deg: 0.0,
            now: Duration::ZERO,
        }
    }

    /// Puts a network between the units, once all of them are there.
    pub fn wire(&mut self, wires: Wires) {
        self.zones = wires.zones();
        self.wires = Some(wires);
    }

    /// Whether a network lies between the units.
    #[must_use]
    pub fn is_wired(&self) -> bool {
        self.wires.is_some()
    }

    /// Voltage at a unit per phase, line to neutral in volts.
    #[must_use]
    pub fn volts(&self, unit: Unit) -> [f64; 3] {
        let bus = self.bus_at(unit);
        match &self.wires {
            Some(wires) if bus.is_live() => wires.volts(unit),
            _ => match self.grid.unbalance() {
                Some((shares, _)) if bus.supply == Supply::Grid => {
                    shares.map(|share| share * bus.v)
                }
                _ => [bus.v; 3],
            },
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

    /// The main busbar's part at the end of the last step.
    #[must_use]
    pub fn bus(&self) -> Bus {
        self.bus_at(Unit::Main)
    }

    /// The part in which a unit hangs, at the end of the last step.
    #[must_use]
    pub fn bus_at(&self, unit: Unit) -> Bus {
        let part = self.zones.part(unit).min(self.parts.len() - 1);
        self.parts[part].bus
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

    /// Whether voltage stands on the main busbar.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.bus().is_live()
    }

    /// Opens or closes a switch of the network by its name.
    ///
    /// # Errors
    /// When there is none, or closing it would make what the network cannot solve.
    pub fn switch(&mut self, name: &str, closed: bool) -> Result<(), NotSwitched> {
        self.zones.switch(name, closed)
    }

    /// Whether a switch of the network is closed; `None` when there is none of that name.
    #[must_use]
    pub fn is_switch_closed(&self, name: &str) -> Option<bool> {
        self.zones.is_closed(name)
    }

    /// Names of the switches that can be told to open and close.
    pub fn switches(&self) -> impl Iterator<Item = &str> {
        self.zones.switches()
    }

    /// Restarts a dead, open bus from its storage inverters; false when none can or it is not dead.
    pub fn restart(&mut self) -> bool {
        let n = self.zones.part(Unit::Main);
        let dead = self.bus().supply == Supply::Dead && !self.parts[n].joined;
        if dead {
            for former in &self.parts[n].formers {
                if let Former::Storage(s) = *former {
                    self.storage[s].reset();
                }
            }
        }
        let can = dead && self.can_form_island(n);
        if can {
            self.begin_island(n, self.site.f_nominal.as_hertz());
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
        let jump = self.grid.take_phase_jump();
        self.jumped_deg += jump;
        for part in &mut self.parts {
            part.turn(self.grid.f(), jump, dt_s);
        }
        let main = self.bus();
        let side = BusSide {
            live: main.is_live(),
            v: main.v,
            f: main.f,
            angle: main.angle,
        };
        self.breaker.step(dt_s, &self.grid, &side, self.site);
        if let Some(moved) = self.zones.arrange(self.breaker.is_closed()) {
            self.put_together(&moved);
        }
        self.attend_gensets(dt_s);
        for n in 0..self.parts.len() {
            self.settle_supply(n);
        }
        self.step_followers(dt_s);
        self.solve_wires();
        for n in 0..self.parts.len() {
            match self.parts[n].bus.supply {
                Supply::Grid => self.step_connected(n),
                Supply::Island => self.step_islanded(n, dt_s),
                Supply::Drifting => self.step_drifting(n, dt_s),
                Supply::Lost | Supply::Dead => self.rest(n, dt_s),
            }
        }
        let main = self.zones.part(Unit::Main);
        let is_exchanging =
            self.zones.part_of_source(0) == Some(main) && self.bus().supply == Supply::Grid;
        if !is_exchanging {
            self.pcc.rest();
        }
        self.v_grid_before = self.grid.v();
        self.count(dt_s);
    }

    /// Engines start and stop, and sets come into step; one may take a dead part.
    fn attend_gensets(&mut self, dt_s: f64) {
        for g in 0..self.gensets.len() {
            let n = self.zones.part(Unit::Genset(g));
            let part = &self.parts[n];
            let around = match part.bus.supply {
                Supply::Grid | Supply::Island | Supply::Drifting if part.starting_s.is_none() => {
                    Around::Live
                }
                Supply::Dead if !part.joined => Around::Dead,
                _ => Around::Closed,
            };
            if self.gensets[g].attend(dt_s, around) {
                self.begin_island(n, self.site.f_nominal.as_hertz());
            }
        }
    }

    /// The table of supplies: who holds a part now.
    fn settle_supply(&mut self, n: usize) {
        let grid_here = self.parts[n].joined && self.grid.is_there(self.site);
        let supply = match (self.parts[n].bus.supply, self.parts[n].joined, grid_here) {
            (_, true, true) => Supply::Grid,
            (Supply::Dead, true, false) => Supply::Dead,
            // Without a voltage the utility is a short circuit, unless it is disconnected.
            (_, true, false) => self.without_holder(n, self.grid.is_energised()),
            (Supply::Island, false, _) => Supply::Island,
            (Supply::Drifting, false, _) => Supply::Drifting,
            (Supply::Dead, false, _) => {
                let asked = self.storages(n).any(Storage::is_asked);
                if asked {
                    self.begin_island(n, self.site.f_nominal.as_hertz());
                    self.parts[n].starting_s = Some(0.0);
                    Supply::Island
                } else {
                    Supply::Dead
                }
            }
            (Supply::Grid | Supply::Lost, false, _) => {
                if self.can_form_island(n) {
                    self.begin_island(n, self.parts[n].bus.f);
                    Supply::Island
                } else {
                    self.without_holder(n, false)
                }
            }
        };
        self.parts[n].bus.supply = supply;
    }

    /// The storages of a part.
    fn storages(&self, n: usize) -> impl Iterator<Item = &Storage> {
        let formers = self.parts[n].formers.iter();
        formers.filter_map(|former| match *former {
            Former::Storage(s) => self.storage.get(s),
            Former::Genset(_) => None,
        })
    }

    fn can_form_island(&self, n: usize) -> bool {
        let mut formers = self.parts[n].formers.iter();
        formers.any(|former| match *former {
            Former::Storage(s) => self.storage[s].can_form(),
            Former::Genset(g) => self.gensets[g].can_form(),
        })
    }

    fn begin_island(&mut self, n: usize, f: f64) {
        self.parts[n].begin_island(f);
        for former in &self.parts[n].formers {
            if let Former::Storage(s) = *former {
                self.storage[s].begin_forming();
            }
        }
    }

    /// Steps everything that follows its part; leaves with each part what it draws together.
    fn step_followers(&mut self, dt_s: f64) {
        for part in &mut self.parts {
            part.drawn = Drawn::default();
        }
        let v_grid = (self.grid.v(), self.v_grid_before);
        let v_nominal = self.site.v_nominal.as_volts();
        let f_nominal = self.site.f_nominal.as_hertz();
        let around = |part: &Part| around(part, v_grid, v_nominal);
        let jumped_deg = self.jumped_deg;
        let wires = self.wires.as_ref();
        let unbalance = self.grid.unbalance();
        let terminals = |part: &Part, unit| {
            let of_grid = unbalance.filter(|_| part.bus.supply == Supply::Grid);
            let v = terminal_volts(around(part), wires, of_grid, unit);
            Terminals {
                v,
                f: Frequency::from_hertz(part.bus.f),
                angle_deg: jumped_deg + part.bus.angle + v.turned_deg(),
                island: part.bus.supply == Supply::Drifting,
            }
        };
        for (n, pv) in self.pv.iter_mut().enumerate() {
            let part = &mut self.parts[self.zones.part(Unit::Pv(n))];
            if pv.functions().is_some() {
                pv.carry_out(dt_s, &terminals(part, Unit::Pv(n)));
            } else {
                let (v_pu, _) = around(part);
                let follows = part.starting_s.is_none() || v_pu >= FOLLOW_V_PU;
                let v_pu = if follows { v_pu } else { 0.0 };
                pv.step(dt_s, v_pu, Frequency::from_hertz(part.bus.f));
            }
            part.drawn.p -= pv.p();
            part.drawn.q -= pv.q();
        }
        for (n, load) in self.loads.iter_mut().enumerate() {
            let part = &mut self.parts[self.zones.part(Unit::Load(n))];
            let (v_pu, moved) = around(part);
            let wires = self
                .wires
                .as_ref()
                .filter(|_| part.bus.v > 0.0 && v_pu > 0.0);
            let own = wires.map_or(v_pu, |wires| wires.per_unit(Unit::Load(n)) * moved);
            // Just connected, it has not been solved yet.
            let own = if own > 0.0 { own } else { v_pu };
            load.step(dt_s, own, part.bus.f / f_nominal);
            part.drawn.p -= load.p();
            part.drawn.q -= load.q();
            part.drawn.damping_w += load.damping_w();
        }
        for (n, storage) in self.storage.iter_mut().enumerate() {
            let part = &mut self.parts[self.zones.part(Unit::Storage(n))];
            let follows = match part.bus.supply {
                Supply::Grid => {
                    storage.reset();
                    true
                }
                Supply::Island => {
                    if storage.is_asked() {
                        storage.begin_forming();
                    }
                    !storage.is_forming()
                }
                Supply::Drifting => true,
                Supply::Lost | Supply::Dead => false,
            };
            if storage.functions().is_some() {
                let at = terminals(part, Unit::Storage(n));
                if part.bus.supply == Supply::Island && storage.is_forming() {
                    storage.look_on(dt_s, &at, part.starting_s.is_some());
                    continue;
                }
                // Without a voltage it still has its timers.
                storage.carry_out(dt_s, &at);
                part.drawn.p -= storage.p();
                part.drawn.q -= storage.q();
            } else if follows {
                storage.follow(dt_s, around(part).0);
                part.drawn.p -= storage.p();
                part.drawn.q -= storage.q();
            } else if part.bus.supply == Supply::Island {
                storage.track_setpoint(dt_s);
            }
        }
        for (n, set) in self.gensets.iter_mut().enumerate() {
            let part = &mut self.parts[self.zones.part(Unit::Genset(n))];
            if part.bus.supply == Supply::Grid {
                set.follow(part.bus.f, self.grid.f(), f_nominal, dt_s);
                part.drawn.p -= set.p();
                part.drawn.q -= set.q();
            }
        }
    }

    fn step_connected(&mut self, n: usize) {
        self.parts[n].starting_s = None;
        self.parts[n].bus.tripping_s = 0.0;
        self.parts[n].bus.f = self.grid.f_seen();
        let df_pu = self.grid.f() / self.site.f_nominal.as_hertz() - 1.0;
        let mut damped = 0.0;
        for (l, load) in self.loads.iter_mut().enumerate() {
            if self.zones.part(Unit::Load(l)) == n {
                load.settle(df_pu);
                damped += load.damping_w() * df_pu;
            }
        }
        if self.wires.is_some() {
            self.connect_wires(n);
            return;
        }
        let drawn = self.parts[n].drawn;
        let (p, q) = (drawn.p + damped, drawn.q);
        let phases = f64::from(self.site.phases);
        let flow = self.feeder.flow(self.grid.v(), -p / phases, -q / phases);
        let bus = &mut self.parts[n].bus;
        bus.v = flow.v;
        bus.angle = flow.angle;
        self.pcc.p = p;
        self.pcc.q = q;
        self.pcc.losses = flow.losses * phases;
    }

    /// The grid's voltage through the network.
    fn connect_wires(&mut self, n: usize) {
        let is_coupled = self.zones.part_of_source(0) == Some(n);
        let Some(Ok(drawn)) = self.wires.as_ref().map(|wires| wires.drawn(n)) else {
            // A voltage that does not exist trips the undervoltage relay at once.
            if is_coupled {
                self.breaker.open();
            }
            self.go_dead(n);
            return;
        };
        if let Some(wires) = &self.wires {
            let bus = &mut self.parts[n].bus;
            if self.zones.part(Unit::Main) == n {
                bus.v = mean(wires.volts(Unit::Main));
                bus.angle = wires.angle();
            } else {
                bus.v = self.grid.v();
                bus.angle = 0.0;
            }
        }
        if is_coupled {
            (self.pcc.p, self.pcc.q) = drawn.from_source;
            self.pcc.losses = drawn.from_source.0 - drawn.taken;
        }
    }

    /// Tells the network what all units do, who holds each part, and solves it; the one that
    /// holds a part counts as what it makes up for.
    fn solve_wires(&mut self) {
        if self.wires.is_none() {
            return;
        }
        let v_nominal = self.site.v_nominal.as_volts();
        let holders: Vec<Holder> = (0..self.parts.len())
            .map(|n| match self.parts[n].bus.supply {
                Supply::Grid => Holder::Grid {
                    v_pu: self.grid.v() / v_nominal,
                },
                Supply::Island => {
                    let v = self.parts[n].bus.v;
                    let v_pu = if v > 0.0 { v / v_nominal } else { 1.0 };
                    match self.slack(n) {
                        Some(former) => Holder::Unit {
                            unit: former.unit(),
                            v_pu,
                        },
                        None => Holder::Nobody,
                    }
                }
                // A network has no island that nobody holds.
                Supply::Drifting | Supply::Lost | Supply::Dead => Holder::Nobody,
            })
            .collect();
        let Some(wires) = self.wires.as_mut() else {
            return;
        };
        let f_nominal = self.site.f_nominal.as_hertz();
        for (n, pv) in self.pv.iter().enumerate() {
            wires.set(Unit::Pv(n), pv.p(), pv.q());
        }
        for (n, load) in self.loads.iter_mut().enumerate() {
            let part = &self.parts[self.zones.part(Unit::Load(n))];
            load.settle(part.bus.f / f_nominal - 1.0);
            wires.set(Unit::Load(n), load.p(), load.q());
        }
        for (n, storage) in self.storage.iter().enumerate() {
            wires.set(Unit::Storage(n), storage.p(), storage.q());
        }
        for (n, set) in self.gensets.iter().enumerate() {
            wires.set(Unit::Genset(n), set.p(), set.q());
        }
        wires.solve(&holders, &self.zones);
    }

    /// A step of a part that nobody holds.
    fn rest(&mut self, n: usize, dt_s: f64) {
        for former in &self.parts[n].formers {
            match *former {
                Former::Storage(s) => self.storage[s].rest(),
                Former::Genset(g) => {
                    self.gensets[g].rest();
                    self.gensets[g].idle(dt_s);
                }
            }
        }
        let bus = &mut self.parts[n].bus;
        bus.v = 0.0;
        bus.tripping_s = 0.0;
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
        for set in &mut self.gensets {
            set.count(dt_s);
        }
        for load in &mut self.loads {
            load.count(dt_s);
        }
    }
}

impl Exchange {
    /// Nothing flows.
    fn rest(&mut self) {
        (self.p, self.q, self.losses) = (0.0, 0.0, 0.0);
    }
}

/// Voltage in per unit as the units of a part see it now, and how much it has moved with the grid's
/// since the last step; a part that has just come back begins at nominal, a dead one has none.
fn around(part: &Part, (v_grid, v_before): (f64, f64), v_nominal: f64) -> (f64, f64) {
    if !part.bus.is_live() {
        return (0.0, 1.0);
    }
    let moved = if part.bus.supply == Supply::Grid && v_before > 0.0 {
        v_grid / v_before
    } else {
        1.0
    };
    let v = part.bus.v / v_nominal;
    let before = match part.bus.supply {
        Supply::Grid if v <= 0.0 => v_grid / v_nominal,
        _ if v > 0.0 => v * moved,
        _ => 1.0,
    };
    (before, moved)
}

/// What a unit measures of the voltage in per unit, given that of its part and how much it has moved:
/// of a network that of its own bus, and each phase of an unbalanced one or behind an unbalanced grid.
fn terminal_volts(
    (v_pu, moved): (f64, f64),
    wires: Option<&Wires>,
    of_grid: Option<([f64; 3], [f64; 3])>,
    unit: Unit,
) -> Volts {
    let Some(wires) = wires.filter(|_| v_pu > 0.0) else {
        return match of_grid {
            Some((shares, degrees)) if v_pu > 0.0 => Volts::Turned {
                phases: shares.map(|share| share * v_pu),
                degrees,
            },
            _ => Volts::Balanced(v_pu),
        };
    };
    // Just connected, nothing has been solved yet.
    match (wires.per_phase(unit), wires.per_unit(unit) * moved) {
        (Some(phases), own) if own > 0.0 => Volts::Phases(phases.map(|v| v * moved)),
        (None, own) if own > 0.0 => Volts::Balanced(own),
        _ => Volts::Balanced(v_pu),
    }
}

fn mean(volts: [f64; 3]) -> f64 {
    volts.iter().sum::<f64>() / 3.0
}

#[cfg(test)]
mod tests;
