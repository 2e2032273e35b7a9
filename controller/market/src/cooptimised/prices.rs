//! The prices at which the three books balance.
//!
//! Theory. At a price of energy that no order has, everybody knows what it would trade, and how much of it
//! readiness takes: a unit is ready for what its provider asks, and beyond room that it does not use for what
//! it loses of energy as well; the cheapest units are ready. What is sold of energy in excess of what is bought
//! then grows with the price, so the prices that support an allocation lie where it is neither below zero on
//! the one side nor above it on the other, which bisection finds. Between two whole prices lie no orders, so
//! prices are doubled here and energy is looked at on odd numbers.

use super::{Layout, STAGES, direction};
use crate::order::{Order, Side};
use crate::quantity::Price;

/// A part of what somebody could be ready for.
struct Part {
    /// What a unit costs, doubled.
    cost: i128,
    units: i128,
    /// Whether it is lost to energy.
    displaces: bool,
}

impl Layout<'_> {
    /// What readiness of one provider costs, in parts of rising cost, at a doubled price of energy.
    fn parts_of(&self, stage: usize, offer: &Order, energy: i128) -> Vec<Part> {
        let room = self.places.get(&(&offer.agent, direction(stage)));
        let free = |units| Part {
            cost: 0,
            units,
            displaces: false,
        };
        let mut losses = Vec::new();
        match room {
            None => losses.push(free(i128::MAX)),
            Some(&room) => {
                let own = self.rooms[room].energy.iter().map(|&it| &self.columns[it]);
                let wanted = own.map(|it| Part {
                    cost: it.twice_margin(energy),
                    units: it.most,
                    displaces: true,
                });
                losses.extend(wanted.filter(|part| part.cost > 0));
                let used: i128 = losses.iter().map(|part| part.units).sum();
                losses.push(free((self.rooms[room].most - used).max(0)));
                losses.sort_unstable_by_key(|part| part.cost);
            }
        }
        let mut losses = losses.into_iter().peekable();
        let mut parts = Vec::new();
        for step in &offer.steps {
            let mut left = i128::from(step.quantity.0);
            while left > 0
                && let Some(loss) = losses.peek_mut()
            {
                let units = left.min(loss.units);
                parts.push(Part {
                    cost: 2 * i128::from(step.price.0) + loss.cost,
                    units,
                    displaces: loss.displaces,
                });
                left -= units;
                loss.units -= units;
                if loss.units == 0 {
                    losses.next();
                }
            }
        }
        parts
    }

    /// What could be ready, the cheapest first, and what is wanted of it, the best price first and doubled.
    fn merit(&self, stage: usize, energy: i128) -> (Vec<Part>, Vec<(i128, i128)>) {
        let orders = || self.books[stage].orders().iter();
        let offers = orders().filter(|order| order.side == Side::Sell);
        let parts = offers.flat_map(|offer| self.parts_of(stage, offer, energy));
        let mut parts: Vec<Part> = parts.filter(|part| part.units > 0).collect();
        parts.sort_by_key(|part| part.cost);
        let wanted = orders().filter(|order| order.side == Side::Buy);
        let wanted = wanted.flat_map(|order| &order.steps);
        let mut wanted: Vec<(i128, i128)> = wanted
            .map(|step| (2 * i128::from(step.price.0), step.quantity.0.into()))
            .collect();
        wanted.sort_by_key(|(price, _)| -price);
        (parts, wanted)
    }

    /// Energy that readiness takes from who would trade it.
    fn displaced(&self, stage: usize, energy: i128) -> i128 {
        let (parts, wanted) = self.merit(stage, energy);
        let mut wanted = wanted.into_iter();
        let (mut price, mut left, mut sum) = (0, 0, 0);
        for part in parts {
            let mut units = part.units;
            while units > 0 {
                if left == 0 {
                    let Some(next) = wanted.next() else {
                        return sum;
                    };
                    (price, left) = next;
                }
                if part.cost >= price {
                    return sum;
                }
                let served = units.min(left);
                (units, left) = (units - served, left - served);
                sum += if part.displaces { served } else { 0 };
            }
        }
        sum
    }

    /// What is sold of energy in excess of what is bought, at a doubled price that no order has.
    fn excess(&self, energy: i128) -> i128 {
        let columns = self.columns.iter().filter(|column| column.stage == 0);
        let wanted = columns.filter(|column| column.twice_margin(energy) > 0);
        let signed = wanted.map(|it| i128::from(it.order.side.injection_sign()) * it.most);
        signed.sum::<i128>() - self.displaced(1, energy) + self.displaced(2, energy)
    }

    /// The lowest and the highest price of energy that support an allocation, within the bounds of the book.
    pub(super) fn supporting(&self) -> (Price, Price) {
        let rules = self.books[0].rules();
        // Both ends are prices of 64 bits, and so is whatever lies between them.
        let (floor, cap) = (i128::from(rules.floor.0), i128::from(rules.cap.0));
        let (mut low, mut above) = (floor, cap);
        while low < above {
            let middle = low + (above - low) / 2;
            match self.excess(2 * middle + 1) >= 0 {
                true => above = middle,
                false => low = middle + 1,
            }
        }
        let (mut high, mut below) = (cap, low);
        while below < high {
            let middle = high - (high - below) / 2;
            match self.excess(2 * middle - 1) <= 0 {
                true => below = middle,
                false => high = middle - 1,
            }
        }
        (Price(low as i64), Price(high as i64))
    }

    /// The lowest price of readiness that supports the allocation at a price of energy.
    pub(super) fn readiness(&self, stage: usize, energy: Price) -> i128 {
        debug_assert!((1..STAGES).contains(&stage));
        let (parts, wanted) = self.merit(stage, 2 * i128::from(energy.0));
        let cheapest = parts.first().map(|part| part.cost);
        let mut wanted = wanted.into_iter();
        let mut next = wanted.next();
        let mut last = None;
        'served: for part in parts {
            let mut units = part.units;
            while units > 0 {
                let Some((price, left)) = &mut next else {
                    break 'served;
                };
                if part.cost >= *price {
                    break 'served;
                }
                last = Some(part.cost);
                let served = units.min(*left);
                units -= served;
                *left -= served;
                if *left == 0 {
                    next = wanted.next();
                }
            }
        }
        // Whoever is not served must not find it worth its while, and where nothing is wanted no offer may.
        let unserved = next.map(|(price, _)| price);
        let twice = last.max(unserved).or(cheapest.map(|cost| cost.min(0)));
        // Costs at a whole price of energy are even.
        twice.unwrap_or(0) / 2
    }
}
