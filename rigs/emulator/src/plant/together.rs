//! How parts come together and come apart when a switch or the coupling breaker moves.
//!
//! What comes apart goes on as it was. What comes together has the state of the stronger: the
//! grid's, else that of the largest island. Two that are live are joined without harm inside the
//! windows of the sync-check only.

use network::island::Machine;

use super::islanded::inverter;
use super::part::{self, Bus, Former, Part};
use super::zones::Moved;
use super::{Plant, Supply};

impl Plant {
    /// Makes the parts anew after a switch or the breaker has moved.
    pub(super) fn put_together(&mut self, moved: &Moved) {
        let (v, f) = (
            self.site.v_nominal.as_volts(),
            self.site.f_nominal.as_hertz(),
        );
        let joined = self.zones.joined().to_vec();
        let mut parts = Vec::with_capacity(joined.len());
        for (n, joined) in joined.into_iter().enumerate() {
            let zones = (0..self.zones.count()).filter(|zone| self.zones.part_of(*zone) == n);
            let mut from: Vec<usize> = zones
                .filter_map(|zone| moved.part_before.get(zone).copied())
                .filter(|part| *part < self.parts.len())
                .collect();
            from.sort_unstable();
            from.dedup();
            let mut part = match self.heir(&from, moved.by_breaker) {
                Some(heir) => self.parts[heir].clone(),
                None => Part::new(v, f),
            };
            part.joined = joined;
            parts.push(part);
        }
        self.parts = parts;
        for n in 0..self.parts.len() {
            let storages = (0..self.storage.len()).map(Former::Storage);
            let sets = (0..self.gensets.len()).map(Former::Genset);
            let formers = storages
                .chain(sets)
                .filter(|former| self.zones.part(former.unit()) == n)
                .collect();
            let (law, gensets, storage) = (self.forming.law, &self.gensets, &self.storage);
            self.parts[n].man(formers, |former| match *former {
                Former::Storage(s) => Machine::Former(inverter(&storage[s], law)),
                Former::Genset(g) => Machine::Diesel(gensets[g].machine()),
            });
        }
    }

    /// The part whose state the union of several has: the grid's, else that of the largest
    /// island. What is live and out of step with it trips, and takes an island with it.
    fn heir(&mut self, from: &[usize], by_breaker: bool) -> Option<usize> {
        let weight = |n: &usize| match self.parts[*n].bus.supply {
            Supply::Grid => f64::INFINITY,
            Supply::Island => self.holding(*n).map(|share| share.s_va).sum(),
            Supply::Drifting | Supply::Lost => 0.0,
            Supply::Dead => -1.0,
        };
        let heir = *from.iter().max_by(|a, b| weight(a).total_cmp(&weight(b)))?;
        let held = self.parts[heir].bus;
        // The relay of the coupling breaker has looked before it closed.
        let out_of_step: Vec<usize> = from
            .iter()
            .copied()
            .filter(|n| *n != heir && !by_breaker && self.is_out_of_step(held, *n))
            .collect();
        if !out_of_step.is_empty() && matches!(held.supply, Supply::Island | Supply::Drifting) {
            self.trip(heir);
        }
        for n in out_of_step {
            self.trip(n);
        }
        Some(heir)
    }

    /// Whether two parts, both live, are outside of the windows of the sync-check.
    fn is_out_of_step(&self, held: Bus, n: usize) -> bool {
        let other = self.parts[n].bus;
        let dv_pu = (held.v - other.v).abs() / self.site.v_nominal.as_volts();
        let in_step = dv_pu <= self.sync.dv_max_pu
            && (held.f - other.f).abs() <= self.sync.df_max.as_hertz()
            && part::wrap(held.angle - other.angle).abs() <= self.sync.angle_max.as_degrees();
        held.is_live() && other.is_live() && !in_step
    }
}
