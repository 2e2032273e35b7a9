//! The conditions under which no other result on a feeder has more welfare.
//!
//! They are those of linear programming: what is traded is possible, every order does
//! what its node's price says, and prices along a line differ by the fee, unless it is
//! full, and then only the way it flows. Whoever has a result can check it without
//! searching one.

use super::{Cleared, Feeder, FeederError};
use crate::book::Book;
use crate::order::Side;
use crate::quantity::Money;

impl Cleared {
    /// Whether this is a best result of `books` on `feeder`.
    ///
    /// # Errors
    /// [`FeederError::NotBest`] with the first condition that does not hold.
    pub fn check(&self, feeder: &Feeder, books: &[Book]) -> Result<(), FeederError> {
        let breach = |node: usize, what: String| Err(FeederError::NotBest { node, what });
        let mut balance = vec![0_i128; books.len()];
        let mut paid = Money(0);
        for (node, (cleared, book)) in self.nodes.iter().zip(books).enumerate() {
            for (order, fill) in book.orders().iter().zip(&cleared.fills) {
                let energy = i128::from(fill.quantity.0);
                balance[node] += energy * i128::from(order.side.injection_sign());
                paid += fill.payment;
                let mut left = fill.quantity.0;
                for step in &order.steps {
                    let served = left.min(step.quantity.0);
                    left -= served;
                    let price = cleared.price;
                    let better = price.is_some_and(|p| order.side.prefers(step.price, p));
                    let worse = price.is_none_or(|p| order.side.prefers(p, step.price));
                    if better && served < step.quantity.0 || worse && served > 0 {
                        let what = format!("{} of `{}` at {}", order.side, order.agent, step.price);
                        return breach(node, format!("the price is not followed by {what}"));
                    }
                }
                let amount = price_times(cleared.price.map_or(0, |p| p.0), energy);
                let expected = if order.side == Side::Buy {
                    amount
                } else {
                    -amount
                };
                if left != 0 || fill.payment.0 != expected {
                    return breach(node, format!("`{}` trades or pays wrongly", order.agent));
                }
            }
            balance[node] -= cleared.flow.0;
        }
        for (index, line) in feeder.lines().iter().enumerate() {
            let (here, there) = (&self.nodes[index + 1], &self.nodes[line.toward]);
            let flow = here.flow.0;
            balance[line.toward] += flow;
            let full = flow.abs() == i128::from(line.capacity.0);
            if flow.abs() > i128::from(line.capacity.0) {
                return breach(index + 1, format!("the line carries {flow}"));
            }
            let (Some(from), Some(to)) = (here.price, there.price) else {
                // Where nothing gives a price, nothing may flow.
                if flow != 0 {
                    return breach(index + 1, "energy flows without a price".into());
                }
                continue;
            };
            let (rise, fee) = (
                i128::from(to.0) - i128::from(from.0),
                i128::from(line.fee.0),
            );
            let follows = match (flow.signum(), full) {
                (1, false) => rise == fee,
                (1, true) => rise >= fee,
                (-1, false) => rise == -fee,
                (-1, true) => rise <= -fee,
                // An empty line that could carry something has no reason to.
                (_, false) => rise.abs() <= fee,
                (_, true) => true,
            };
            if !follows {
                return breach(
                    index + 1,
                    format!("prices differ by {rise} at a fee of {fee}"),
                );
            }
        }
        if let Some(node) = balance.iter().position(|&left| left != 0) {
            return breach(node, format!("{} mWh are left over", balance[node]));
        }
        if paid != self.rent() + self.fees() {
            return breach(0, format!("{paid} is paid, not rent and fees"));
        }
        Ok(())
    }
}

fn price_times(price: i64, energy: i128) -> i128 {
    i128::from(price) * energy
}
