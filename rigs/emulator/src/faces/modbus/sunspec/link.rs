//! One model in a chain: its points, and the numbers in them.

use std::time::Duration;

use profile::modbus::WordOrder;
use profile::sunspec::{Model, ModelPoint, PointType};

use super::super::image::Identity;
use super::super::number::{from_bits, from_words, to_bits, to_words};
use super::content::{Content, MODULES, PORTS, content};
use super::curves::{self, Adoption};
use super::scales::{Scales, scales};
use crate::plant::Site;
use crate::world::World;

/// One model of a chain.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) number: u16,
    /// Address of its ID register.
    pub(super) base: u16,
    /// What its length register says.
    pub(super) length: u16,
    pub(super) cells: Vec<Cell>,
    /// The curves, for a model that has some.
    pub(super) adoption: Option<Adoption>,
}

/// One point of the chain.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) name: String,
    pub(super) offset: u16,
    pub(super) size: u16,
    pub(super) writable: bool,
    kind: PointType,
    /// Exponent of its scale factor; `None` when it has none.
    scale: Option<i16>,
    pub(super) content: Content,
}

/// How often the groups of the emulated models are there.
fn counts(point: &str) -> Option<u16> {
    match point {
        "NPrt" => Some(PORTS),
        "*" => Some(MODULES),
        _ => curves::counts(point),
    }
}

impl Link {
    pub(super) fn new(model: &Model, base: u16, identity: &Identity, site: Site) -> Self {
        let scales = scales(model, &identity.nameplate, site);
        let length = model.length_with(&counts).unwrap_or(model.length);
        let points = model
            .lay_out(&counts, length)
            .unwrap_or_else(|| model.points.clone());
        let cells = points
            .iter()
            .map(|point| Cell::new((model.number, length), point, &scales, identity, site))
            .collect();
        Self {
            number: model.number,
            base,
            length,
            cells,
            adoption: Adoption::of(model.number),
        }
    }

    /// Registers that the model takes, its ID and length registers included.
    pub(super) fn registers(&self) -> u16 {
        self.length.saturating_add(2)
    }

    pub(super) fn words(&self, cell: &Cell, world: &World, device: usize) -> Vec<u16> {
        let shift = world.scale_shift(device);
        match &cell.content {
            // The scale factor itself says where all others stand.
            Content::Words { words, .. } if cell.kind == PointType::Sunssf => {
                let own = from_words(words, WordOrder::BigFirst) as u16 as i16;
                if own == i16::MIN {
                    return words.clone();
                }
                vec![(own + shift).cast_unsigned()]
            }
            Content::Words { words, scale } => match cell.scale {
                Some(own) if own + shift != *scale => cell.encode(cell.number(), shift),
                _ => words.clone(),
            },
            Content::Measured(point, factor) => {
                let value = world.value(device, *point).map(|value| value * factor);
                cell.encode(value, shift)
            }
            Content::Enable {
                point,
                written,
                after,
            } => {
                // Once the timer has run out, the register shows what was agreed for then.
                let told = if *written == 1 && !world.holds(device, *point) {
                    self.number(after).map_or(0, |after| after as u16)
                } else {
                    *written
                };
                vec![told]
            }
            Content::Switch { .. } => {
                let position = world.value(device, model::Point::SwitchOn);
                cell.encode(position, 0)
            }
            Content::Remaining(point) => {
                let left = world.remaining(device, *point).unwrap_or_default();
                cell.encode(Some(left.as_secs_f64().ceil()), 0)
            }
            Content::Told(told) => cell.encode(told(world, device), 0),
            Content::Uptime => {
                // It rolls over, as a heartbeat may.
                let seconds = world.plant.now().as_secs() % 0xffff;
                cell.encode(Some(seconds as f64), 0)
            }
        }
    }

    /// The point of a name.
    pub(super) fn cell(&self, name: &str) -> Option<&Cell> {
        self.cells.iter().find(|c| c.name == name)
    }

    /// The number that a stored point holds, in its unit; `None` when it is not implemented.
    pub(super) fn number(&self, name: &str) -> Option<f64> {
        self.cell(name)?.number()
    }

    /// Puts a number into a stored point, as the device itself does.
    pub(super) fn put(&mut self, name: &str, number: Option<f64>) {
        if let Some(cell) = self.cells.iter_mut().find(|c| c.name == name) {
            let new = Content::Words {
                words: cell.encode(number, 0),
                scale: cell.scale.unwrap_or(0),
            };
            if matches!(cell.content, Content::Words { .. }) {
                cell.content = new;
            }
        }
    }

    /// Stores a word that was written; gives back the offset of the point.
    pub(super) fn write(
        &mut self,
        cell: usize,
        word: usize,
        value: u16,
        shift: i16,
    ) -> Option<u16> {
        let cell = self.cells.get_mut(cell)?;
        let at = cell.scale.map_or(0, |own| own + shift);
        if matches!(&cell.content, Content::Words { scale, .. } if cell.scale.is_some() && *scale != at)
        {
            // The other registers of the point have to stand at the same exponent.
            let words = cell.encode(cell.number(), shift);
            cell.content = Content::Words { words, scale: at };
        }
        match &mut cell.content {
            Content::Words { words, .. } => {
                if let Some(stored) = words.get_mut(word) {
                    *stored = value;
                }
            }
            Content::Enable { written, .. } | Content::Switch { written } => *written = value,
            Content::Measured(..) | Content::Remaining(_) | Content::Uptime | Content::Told(_) => {}
        }
        Some(cell.offset)
    }

    /// Brings the points that move by themselves up to now.
    pub(super) fn settle(&mut self, now: Duration) {
        if let Some(mut adoption) = self.adoption.take() {
            adoption.settle(self, now);
            self.adoption = Some(adoption);
        }
    }
}

impl Cell {
    fn new(
        model: (u16, u16),
        point: &ModelPoint,
        scales: &Scales,
        identity: &Identity,
        site: Site,
    ) -> Self {
        let scale = point.sf.as_deref().map(|sf| scales.of(sf).unwrap_or(0));
        let mut cell = Self {
            name: point.name.clone(),
            offset: point.offset,
            size: point.size,
            kind: point.kind,
            writable: point.writable && !curves::is_active(&point.name),
            scale,
            content: Content::Uptime,
        };
        cell.content =
            content(model, point, identity, site, scales).unwrap_or_else(|number| Content::Words {
                words: cell.encode(number, 0),
                scale: scale.unwrap_or(0),
            });
        cell
    }

    /// The number that stands in it, in its unit; `None` when it is not implemented or measured.
    fn number(&self) -> Option<f64> {
        let (words, scale) = match &self.content {
            Content::Words { words, scale } => (words.clone(), *scale),
            Content::Enable { written, .. } | Content::Switch { written } => (vec![*written], 0),
            _ => return None,
        };
        let bits = from_words(&words, WordOrder::BigFirst);
        if self.kind.not_implemented() == Some(bits) {
            return None;
        }
        Some(from_bits(bits, self.kind.data()?) * 10_f64.powi(scale.into()))
    }

    fn encode(&self, value: Option<f64>, shift: i16) -> Vec<u16> {
        let Some(data) = self.kind.data() else {
            // Texts that nobody fills, and fillers.
            let filler = if self.kind == PointType::Pad {
                0x8000
            } else {
                0
            };
            return vec![filler; usize::from(self.size)];
        };
        let scale = self.scale.map_or(0, |own| own + shift);
        let raw = value.map(|value| value / 10_f64.powi(scale.into()));
        to_words(
            to_bits(raw, data, self.kind.not_implemented()),
            data,
            WordOrder::BigFirst,
        )
    }
}
