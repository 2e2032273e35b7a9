//! A step of an island: what is drawn, what the frequency makes of it, who gives how much.

use network::island::{Demand, Former as Inverter, Machine, State};

use super::part::{Former, Share, meeting};
use super::storage::Storage;
use super::wires::{NoVoltage, Unit};
use super::{FormingLaw, Plant, Supply};

/// Voltage droop of a set's exciter in per unit, and the current that its generator sustains.
/// Chosen: a quadrature droop of 4 %, as sets that run in parallel have; three times the rated
/// current, which a generator with an excitation boost holds for some seconds.
const GENSET_DROOP_Q: f64 = 0.04;
const GENSET_CURRENT_MAX: f64 = 3.0;

impl Plant {
    pub(super) fn step_islanded(&mut self, n: usize, dt_s: f64) {
        self.drive(n);
        if self.holding(n).all(|share| share.s_va <= 0.0) {
            self.go_dead(n);
            return;
        }
        if self.wires.is_some() && self.draw_of_wires(n).is_err() {
            self.go_dead(n);
            return;
        }
        let drawn = self.parts[n].drawn;
        let demand = Demand {
            p: drawn.p,
            damping_w: drawn.damping_w,
        };
        if self.parts[n].island.step(dt_s, demand) == State::Lost {
            self.go_dead(n);
            return;
        }
        let f = self.parts[n].island.f();
        let f_pu = f / self.site.f_nominal.as_hertz();
        self.parts[n].bus.f = f;
        for (l, load) in self.loads.iter_mut().enumerate() {
            if self.zones.part(Unit::Load(l)) == n {
                load.settle(f_pu - 1.0);
            }
        }
        let v_pu = self.meet(n, drawn.q, f_pu, dt_s);
        self.parts[n].bus.v = v_pu * self.site.v_nominal.as_volts();
        if self.parts[n].gives_up(&self.forming, f_pu, v_pu, dt_s) {
            self.go_dead(n);
        }
    }

    /// Tells the machines of an island what their units are now.
    fn drive(&mut self, n: usize) {
        let law = self.forming.law;
        let part = &mut self.parts[n];
        for (former, machine) in part.formers.iter().zip(&mut part.island.machines) {
            match (*former, machine) {
                (Former::Storage(s), Machine::Former(former)) => {
                    *former = inverter(&self.storage[s], law);
                }
                (Former::Genset(g), Machine::Diesel(diesel)) => {
                    *diesel = self.gensets[g].machine();
                }
                _ => {}
            }
        }
    }

    /// What each unit that could form a part brings into its voltage.
    pub(super) fn holding(&self, n: usize) -> impl Iterator<Item = Share> {
        let part = &self.parts[n];
        let formers = part.formers.iter().enumerate();
        formers.map(|(m, former)| match *former {
            Former::Storage(s) => {
                let storage = &self.storage[s];
                Share {
                    s_va: if storage.is_forming() {
                        storage.rating()
                    } else {
                        0.0
                    },
                    law: storage.law().unwrap_or(self.forming.law),
                    p: part.island.power(m),
                    q_set: storage.q_set(),
                }
            }
            Former::Genset(g) => {
                let set = &self.gensets[g];
                Share {
                    s_va: if set.is_on_load() {
                        set.rated_va()
                    } else {
                        0.0
                    },
                    law: FormingLaw {
                        droop_q: GENSET_DROOP_Q,
                        current_max: GENSET_CURRENT_MAX,
                        ..FormingLaw::default()
                    },
                    p: part.island.power(m),
                    q_set: 0.0,
                }
            }
        })
    }

    /// Lets the forming units share what is drawn; the voltage in per unit at which they meet.
    fn meet(&mut self, n: usize, q: f64, f_pu: f64, dt_s: f64) -> f64 {
        let forming = || self.holding(n).filter(|share| share.s_va > 0.0);
        let droop = meeting(forming(), q).unwrap_or(0.0);
        let p: f64 = forming().map(|share| share.p).sum();
        let current_max: f64 = forming()
            .map(|share| share.s_va * share.law.current_max)
            .sum();
        let gives: Vec<(f64, f64)> = self
            .holding(n)
            .map(|share| {
                let q = if share.s_va > 0.0 {
                    share.q(droop)
                } else {
                    0.0
                };
                (share.p, q)
            })
            .collect();
        for (m, given) in gives.into_iter().enumerate() {
            match self.parts[n].formers[m] {
                Former::Storage(s) if self.storage[s].is_forming() => {
                    self.storage[s].form(given.0, given.1);
                }
                Former::Storage(_) => {}
                Former::Genset(g) => {
                    if let Some(Machine::Diesel(diesel)) = self.parts[n].island.machines.get(m) {
                        self.gensets[g].carry(diesel, given, f_pu, dt_s);
                    }
                }
            }
        }
        let before = self.parts[n].bus.v / self.site.v_nominal.as_volts();
        let before = if before > 0.0 { before } else { droop };
        let part = &mut self.parts[n];
        let ceiling = part.limit(before, p.hypot(q), current_max, dt_s);
        (part.stage(dt_s) * droop).min(ceiling).max(0.0)
    }

    /// What an island of a network asks of its forming units together, losses included.
    fn draw_of_wires(&mut self, n: usize) -> Result<(), NoVoltage> {
        let wires = self.wires.as_ref().ok_or(NoVoltage)?;
        let slack = self.slack(n).ok_or(NoVoltage)?;
        let (mut p, mut q) = wires.drawn(n)?.from_source;
        for former in self.parts[n].formers.iter().filter(|f| **f != slack) {
            match *former {
                Former::Storage(s) if self.storage[s].is_forming() => {
                    p += self.storage[s].p();
                    q += self.storage[s].q();
                }
                Former::Genset(g) if self.gensets[g].is_on_load() => {
                    p += self.gensets[g].p();
                    q += self.gensets[g].q();
                }
                _ => {}
            }
        }
        // What the frequency makes of the loads is in the flow already, as it was a step ago.
        let damped = self.parts[n].drawn.damping_w
            * (self.parts[n].bus.f / self.site.f_nominal.as_hertz() - 1.0);
        self.parts[n].drawn.p = p - damped;
        self.parts[n].drawn.q = q;
        Ok(())
    }

    /// The largest unit that forms a part: the network is held from its bus.
    pub(super) fn slack(&self, n: usize) -> Option<Former> {
        let formers = self.parts[n].formers.iter().zip(self.holding(n));
        let forming = formers.filter(|(_, share)| share.s_va > 0.0);
        let largest = forming.max_by(|a, b| a.1.s_va.total_cmp(&b.1.s_va));
        largest.map(|(former, _)| *former)
    }

    /// An island goes down: what forms it trips, and nothing flows any more.
    pub(super) fn go_dead(&mut self, n: usize) {
        self.trip(n);
        for (l, load) in self.loads.iter_mut().enumerate() {
            if self.zones.part(Unit::Load(l)) == n {
                load.step(0.0, 0.0, 1.0);
            }
        }
        for (m, pv) in self.pv.iter_mut().enumerate() {
            if self.zones.part(Unit::Pv(m)) == n {
                pv.trip();
            }
        }
        self.rest(n, 0.0);
    }

    /// Everything that forms a part trips, and nobody holds it any more.
    pub(super) fn trip(&mut self, n: usize) {
        let part = &mut self.parts[n];
        part.bus.supply = Supply::Dead;
        part.starting_s = None;
        for former in &part.formers {
            match *former {
                Former::Storage(s) => self.storage[s].trip(),
                Former::Genset(g) => self.gensets[g].trip(),
            }
        }
    }
}

/// A storage as a machine of its island; nothing while it does not form.
pub(super) fn inverter(storage: &Storage, law: FormingLaw) -> Inverter {
    let law = storage.law().unwrap_or(law);
    let mut former = Inverter {
        s_va: 0.0,
        droop: law.droop_p,
        // So much of a filter acts like the inertia that is asked for.
        filter_s: 2.0 * law.inertia_s * law.droop_p,
        p_set: 0.0,
        p_limits: (0.0, 0.0),
    };
    storage.drive(&mut former);
    former
}
