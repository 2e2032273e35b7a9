//! A chain of complete SunSpec models: every point of every model is there.
//!
//! This file is the chain: where its models stand, and what a request touches. What a point
//! shows is in `content`, what the device does about what is written in `act`,
//! `curves` and, where it is a DER to IEEE 1547, `der`. Controls act as the models say, not as any client's recipe does, so that
//! foreign clients are obeyed as well.

mod act;
mod content;
mod curves;
mod der;
mod link;
mod scales;
mod state;

use std::collections::BTreeMap;

use profile::modbus::{Layout, ModbusProfile, Table};
use profile::sunspec;

use super::image::{Exception, Identity};
use crate::device::Nameplate;
use crate::plant::Site;
use crate::world::World;
use link::Link;

/// Address at which the chain begins: the first that clients try.
const BASE: u16 = sunspec::BASES[0];

/// A chain of models in the registers of a unit.
#[derive(Clone, Debug)]
pub struct SunSpecImage {
    links: Vec<Link>,
    /// First address behind the chain's end marker.
    end: u16,
    nameplate: Nameplate,
}

impl SunSpecImage {
    /// The chain that a profile requires or uses; model 1 always begins it.
    ///
    /// Of models that can stand for one another, the one of the site's phases is taken.
    #[must_use]
    pub fn new(profile: &ModbusProfile, identity: &Identity, site: Site) -> Self {
        Self::of_models(&models_of(profile, site), identity, site)
    }

    /// The chain of these models, in this order; unknown numbers are left out, and so is
    /// what would reach past the last address.
    #[must_use]
    pub fn of_models(numbers: &[u16], identity: &Identity, site: Site) -> Self {
        let mut base = BASE + 2;
        let mut links = Vec::new();
        for model in numbers.iter().filter_map(|n| sunspec::model(*n)) {
            let link = Link::new(model, base, identity, site);
            let Some(next) = base
                .checked_add(link.registers())
                .filter(|next| *next < u16::MAX - 2)
            else {
                break;
            };
            base = next;
            links.push(link);
        }
        Self {
            links,
            end: base + 2,
            nameplate: identity.nameplate,
        }
    }

    /// Reads registers.
    ///
    /// # Errors
    /// Exception 2 outside the chain or outside the holding table.
    pub fn read(
        &mut self,
        world: &World,
        device: usize,
        table: Table,
        address: u16,
        count: u16,
    ) -> Result<Vec<u16>, Exception> {
        let end = address.checked_add(count).filter(|end| *end <= self.end);
        let (Some(end), Table::Holding, BASE..) = (end, table, address) else {
            return Err(Exception::IllegalAddress);
        };
        let mut words = vec![0_u16; usize::from(count)];
        let mut put = |at: u16, word: u16| {
            if let Some(place) = at
                .checked_sub(address)
                .and_then(|n| words.get_mut(usize::from(n)))
            {
                *place = word;
            }
        };
        put(BASE, sunspec::MARKER[0]);
        put(BASE + 1, sunspec::MARKER[1]);
        put(self.end - 2, sunspec::END_MODEL);
        put(self.end - 1, 0);
        for link in &mut self.links {
            if link.base >= end || link.base + link.registers() <= address {
                continue;
            }
            link.settle(world.plant.now());
            for cell in &link.cells {
                let at = link.base + cell.offset;
                if at >= end || at + cell.size <= address {
                    continue;
                }
                for (n, word) in (at..).zip(link.words(cell, world, device)) {
                    put(n, word);
                }
            }
        }
        Ok(words)
    }

    /// Writes registers of writable points, then lets the device act on every model touched.
    ///
    /// # Errors
    /// Exception 2 when one of the registers is not writable; 3 when the device does not
    /// take what they now say.
    pub fn write(
        &mut self,
        world: &mut World,
        device: usize,
        table: Table,
        address: u16,
        words: &[u16],
    ) -> Result<(), Exception> {
        if table != Table::Holding {
            return Err(Exception::IllegalAddress);
        }
        // Look first, then write: a refused request must leave no trace.
        let places: Vec<(usize, usize, usize)> = (0..words.len())
            .map(|n| self.writable(usize::from(address) + n))
            .collect::<Option<_>>()
            .ok_or(Exception::IllegalAddress)?;
        let shift = world.scale_shift(device);
        let mut touched: BTreeMap<usize, Vec<u16>> = BTreeMap::new();
        for ((link, cell, word), value) in places.into_iter().zip(words) {
            if let Some(at) = self.links.get_mut(link) {
                let offset = at.write(cell, word, *value, shift);
                touched.entry(link).or_default().extend(offset);
            }
        }
        for (link, offsets) in touched {
            if let Some(link) = self.links.get_mut(link) {
                link.settle(world.plant.now());
                link.act(world, device, &offsets, &self.nameplate)?;
            }
        }
        Ok(())
    }

    /// Link, point and register in it of an address, when it may be written.
    fn writable(&self, address: usize) -> Option<(usize, usize, usize)> {
        let at = u16::try_from(address).ok()?;
        let number = self
            .links
            .iter()
            .position(|l| (l.base..l.base + l.registers()).contains(&at))?;
        let link = self.links.get(number)?;
        let offset = at - link.base;
        let cell = link
            .cells
            .iter()
            .position(|c| (c.offset..c.offset + c.size).contains(&offset))?;
        let found = link.cells.get(cell)?;
        found
            .writable
            .then_some((number, cell, usize::from(offset - found.offset)))
    }

    /// Address of a model's ID register.
    #[must_use]
    pub fn base_of(&self, model: u16) -> Option<u16> {
        self.links
            .iter()
            .find(|link| link.number == model)
            .map(|link| link.base)
    }

    /// Numbers of the models, in order.
    #[must_use]
    pub fn models(&self) -> Vec<u16> {
        self.links.iter().map(|link| link.number).collect()
    }
}

/// The models that a profile reads or writes, one of each set that stand for one another.
fn models_of(profile: &ModbusProfile, site: Site) -> Vec<u16> {
    let Layout::SunSpec {
        required,
        one_of,
        optional,
    } = &profile.layout
    else {
        return vec![1];
    };
    // The last digit of such a number is that of the phases: 101, 102, 103, 111, 203, 213, ...
    let fits = |model: &&u16| *model % 10 == u16::from(site.phases);
    let of_these = one_of.iter().find(fits).or(one_of.first());
    let mut numbers: Vec<u16> = required
        .iter()
        .chain(optional)
        .chain(of_these)
        .copied()
        .collect();
    numbers.push(1);
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

#[cfg(test)]
mod tests;
