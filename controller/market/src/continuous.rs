//! Continuous double auction: one order book of one product, price before time, and
//! every trade at the price of the order that rests.
//!
//! Prices are levels of a [`Scale`]. Each level holds a queue that is woven through one
//! array of orders, and a set of bits says which levels are not empty, so that
//! entering, trading and cancelling take the same time in a small book and in a large
//! one.
//!
//! Not responsible for the sequence: who calls first is first. Whoever replicates a
//! book fixes the sequence before it matches.

mod bits;
mod tender;

use std::collections::BTreeSet;

use crate::order::Side;
use crate::quantity::{Mwh, Price};
use bits::Bits;

pub use tender::{Execution, LEVELS_MAX, Placed, Scale, Tender, TenderError, Ticket, Validity};

/// No order, the end of a queue.
const NONE: u32 = u32::MAX;

/// A resting order, 40 bytes, so that a queue is walked within few cache lines.
#[derive(Debug, Clone, Copy)]
struct Node {
    left: i64,
    /// Nanoseconds; only read for an order that ends before the gate.
    until_ns: i64,
    level: u32,
    previous: u32,
    next: u32,
    owner: u32,
    id: u32,
    /// Counts the orders of this slot; the lowest bit tells the side.
    generation: u32,
}

#[derive(Debug, Clone)]
struct Ladder {
    /// First and last order of each level.
    queues: Vec<(u32, u32)>,
    occupied: Bits,
}

/// One order book.
#[derive(Debug, Clone)]
pub struct ContinuousBook {
    scale: Scale,
    bids: Ladder,
    offers: Ladder,
    nodes: Vec<Node>,
    free: Vec<u32>,
    ending: BTreeSet<(i64, Ticket)>,
}

impl ContinuousBook {
    /// An empty book.
    ///
    /// # Errors
    /// [`TenderError::Levels`].
    pub fn new(scale: Scale) -> Result<Self, TenderError> {
        let levels = scale.levels();
        let ticks = !matches!(scale, Scale::Ticks { tick, .. } if tick <= 0);
        let rising = !matches!(&scale, Scale::Listed(p) if !p.is_sorted_by(|a, b| a < b));
        if !(1..=LEVELS_MAX).contains(&levels) || !ticks || !rising {
            return Err(TenderError::Levels { levels });
        }
        let ladder = Ladder {
            queues: vec![(NONE, NONE); levels],
            occupied: Bits::new(levels),
        };
        Ok(Self {
            scale,
            bids: ladder.clone(),
            offers: ladder,
            nodes: Vec::new(),
            free: Vec::new(),
            ending: BTreeSet::new(),
        })
    }

    /// The best price of a side.
    #[must_use]
    pub fn best(&self, side: Side) -> Option<Price> {
        let level = match side {
            Side::Buy => self.bids.occupied.last(),
            Side::Sell => self.offers.occupied.first(),
        };
        level.map(|level| self.scale.price(level))
    }

    /// Enters a tender: it trades with what rests at its limit or better, best price
    /// first, then the oldest, and what is left does what its validity says.
    ///
    /// # Errors
    /// [`TenderError`].
    pub fn submit(
        &mut self,
        tender: Tender,
        executions: &mut Vec<Execution>,
    ) -> Result<Placed, TenderError> {
        let Tender { id, price, .. } = tender;
        let level = self
            .scale
            .level(price)
            .ok_or(TenderError::Price { id, price })?;
        if tender.quantity.0 <= 0 {
            let quantity = tender.quantity;
            return Err(TenderError::Quantity { id, quantity });
        }
        if self.free.is_empty() && self.nodes.len() >= NONE as usize {
            return Err(TenderError::Full { id });
        }
        if tender.validity == Validity::Whole && !self.covers(&tender, level) {
            return Ok(Placed::Rejected);
        }
        let mut left = tender.quantity.0;
        while left > 0 {
            let Some(opposite) = self.best_within(tender.side, level) else {
                break;
            };
            let price = self.scale.price(opposite);
            let ladder = match tender.side {
                Side::Buy => &self.offers,
                Side::Sell => &self.bids,
            };
            let slot = ladder.queues[opposite].0;
            let maker = &mut self.nodes[slot as usize];
            if maker.owner == tender.owner {
                // The newest goes, so that nobody can chase its own order away.
                let left = Mwh(left);
                return Ok(Placed::Cancelled { left });
            }
            let quantity = left.min(maker.left);
            maker.left -= quantity;
            left -= quantity;
            executions.push(Execution {
                maker: maker.id,
                taker: id,
                quantity: Mwh(quantity),
                price,
            });
            if maker.left == 0 {
                self.remove(slot);
            }
        }
        let rest = Mwh(left);
        Ok(match tender.validity {
            _ if left == 0 => Placed::Filled,
            Validity::Immediate | Validity::Whole => Placed::Cancelled { left: rest },
            // Whoever stands until the end of time stands until the gate.
            Validity::Gate | Validity::Until(i64::MAX) => Placed::Rests {
                ticket: self.rest(&tender, level, left),
                left: rest,
            },
            Validity::Until(until_ns) => {
                let ticket = self.rest(&tender, level, left);
                self.nodes[ticket.slot as usize].until_ns = until_ns;
                self.ending.insert((until_ns, ticket));
                Placed::Rests { ticket, left: rest }
            }
        })
    }

    /// The best level of the other side that a limit reaches.
    fn best_within(&self, side: Side, limit: usize) -> Option<usize> {
        match side {
            Side::Buy => self.offers.occupied.first().filter(|&level| level <= limit),
            Side::Sell => self.bids.occupied.last().filter(|&level| level >= limit),
        }
    }

    /// Whether all of the tender would trade at once.
    fn covers(&self, tender: &Tender, limit: usize) -> bool {
        let ladder = match tender.side {
            Side::Buy => &self.offers,
            Side::Sell => &self.bids,
        };
        let mut left = tender.quantity.0;
        let mut level = self.best_within(tender.side, limit);
        while let Some(at) = level {
            let mut slot = ladder.queues[at].0;
            while slot != NONE {
                let node = &self.nodes[slot as usize];
                if node.owner == tender.owner {
                    return false;
                }
                left -= left.min(node.left);
                if left == 0 {
                    return true;
                }
                slot = node.next;
            }
            level = match tender.side {
                Side::Buy => ladder.occupied.next_after(at).filter(|&next| next <= limit),
                Side::Sell => ladder
                    .occupied
                    .last_before(at)
                    .filter(|&next| next >= limit),
            };
        }
        false
    }

    fn rest(&mut self, tender: &Tender, level: usize, left: i64) -> Ticket {
        let sell = u32::from(tender.side == Side::Sell);
        let ladder = match tender.side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.offers,
        };
        let (first, last) = ladder.queues[level];
        let mut node = Node {
            left,
            until_ns: i64::MAX,
            // At most LEVELS_MAX.
            level: level as u32,
            previous: last,
            next: NONE,
            owner: tender.owner,
            id: tender.id,
            generation: sell,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                let used = self.nodes[slot as usize].generation;
                node.generation = (used & !1).wrapping_add(2) | sell;
                self.nodes[slot as usize] = node;
                slot
            }
            None => {
                self.nodes.push(node);
                // `submit` has bounded the number of orders.
                (self.nodes.len() - 1) as u32
            }
        };
        if last == NONE {
            ladder.queues[level] = (slot, slot);
            ladder.occupied.set(level);
        } else {
            ladder.queues[level] = (first, slot);
            self.nodes[last as usize].next = slot;
        }
        Ticket {
            slot,
            generation: node.generation,
        }
    }

    /// Takes an order out of its queue.
    fn remove(&mut self, slot: u32) {
        let node = self.nodes[slot as usize];
        let level = node.level as usize;
        let ladder = if node.generation & 1 == 1 {
            &mut self.offers
        } else {
            &mut self.bids
        };
        let queue = &mut ladder.queues[level];
        match node.previous {
            NONE => queue.0 = node.next,
            previous => self.nodes[previous as usize].next = node.next,
        }
        match node.next {
            NONE => queue.1 = node.previous,
            next => self.nodes[next as usize].previous = node.previous,
        }
        if queue.0 == NONE {
            ladder.occupied.clear(level);
        }
        if node.until_ns != i64::MAX {
            let ticket = Ticket {
                slot,
                generation: node.generation,
            };
            self.ending.remove(&(node.until_ns, ticket));
        }
        self.nodes[slot as usize].left = 0;
        self.free.push(slot);
    }

    fn resting(&mut self, ticket: Ticket) -> Option<&mut Node> {
        let node = self.nodes.get_mut(ticket.slot as usize)?;
        (node.left > 0 && node.generation == ticket.generation).then_some(node)
    }

    /// Cancels a resting order; what was left of it, or `None` if it rests no more.
    pub fn cancel(&mut self, ticket: Ticket) -> Option<Mwh> {
        let left = self.resting(ticket)?.left;
        self.remove(ticket.slot);
        Some(Mwh(left))
    }

    /// Reduces a resting order to `quantity`, which keeps its place in the queue; more
    /// energy or another price is a new order. `None` if it rests no more or would not
    /// become smaller.
    pub fn reduce(&mut self, ticket: Ticket, quantity: Mwh) -> Option<Mwh> {
        let node = self.resting(ticket)?;
        if quantity.0 <= 0 || quantity.0 >= node.left {
            return None;
        }
        node.left = quantity.0;
        Some(quantity)
    }

    /// Ends the orders that stand until `now_ns` or before; number and rest of each.
    pub fn expire(&mut self, now_ns: i64) -> Vec<(u32, Mwh)> {
        let mut ended = Vec::new();
        while let Some(&(until_ns, ticket)) = self.ending.first() {
            if until_ns > now_ns {
                break;
            }
            let node = self.nodes[ticket.slot as usize];
            ended.push((node.id, Mwh(node.left)));
            self.remove(ticket.slot);
        }
        ended
    }

    /// Closes the gate: what still rests ends, as number, rest and limit, by number.
    #[must_use]
    pub fn close(self) -> Vec<(u32, Mwh, Price)> {
        let resting = self.nodes.iter().filter(|node| node.left > 0);
        let mut ended: Vec<(u32, Mwh, Price)> = resting
            .map(|node| {
                (
                    node.id,
                    Mwh(node.left),
                    self.scale.price(node.level as usize),
                )
            })
            .collect();
        ended.sort_unstable_by_key(|&(id, ..)| id);
        ended
    }
}

#[cfg(test)]
mod tests;
