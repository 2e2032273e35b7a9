//! Clearing on a radial feeder: lines with a capacity and a fee, one price per node.
//!
//! Each part of the tree is a curve of net injection over price. A line lets its
//! neighbour see that curve shifted by the fee and cut at the capacity, so curves
//! are summed from the leaves to the root, the root's price is where nothing is left
//! over, and going down again every node takes the price at which its line carries what
//! was agreed. This is exact: the result is checked against the conditions under which
//! no other one has more welfare ([`Cleared::check`]), in release builds too.
//!
//! What buyers pay beyond what sellers receive is the fees and the congestion rent,
//! `(p_to − p_from − fee) · flow`, to the last unit.
//!
//! Not responsible for losses ([`crate::losses`]), or for voltages: a caller that finds
//! a line too full tightens its capacity and clears again ([`Feeder::clear_until`]).

mod check;
mod curve;

use crate::book::Book;
use crate::clearing::worth;
use crate::fault::Coded;
use crate::order::{AgentId, Side};
use crate::outcome::shares;
use crate::quantity::{Money, Mwh, MwhTotal, Price};
use curve::Curve;

/// The line from a node toward the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The node at the other end, of a lower number.
    pub toward: usize,
    /// Most energy in the interval, either way, not negative.
    pub capacity: Mwh,
    /// What each unit of energy pays for the line, either way, not negative.
    pub fee: Price,
}

/// A tree of nodes: node 0 is the root, and line `i` leads from node `i + 1` toward it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feeder {
    lines: Vec<Line>,
}

/// Why a feeder, or its clearing, is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeederError {
    /// A line is none.
    #[error("line of node {node}: {reason}")]
    Line {
        /// The node that it is for.
        node: usize,
        /// What is wrong.
        reason: String,
    },
    /// There is not one book per node.
    #[error("{nodes} nodes and {books} books")]
    Books {
        /// Nodes of the feeder.
        nodes: usize,
        /// Books given.
        books: usize,
    },
    /// The result breaks a condition of the best one: a defect of this module.
    #[error("node {node}: {what}")]
    NotBest {
        /// Which node, or the node of which line.
        node: usize,
        /// Which condition.
        what: String,
    },
}

impl Coded for FeederError {
    fn code(&self) -> &'static str {
        match self {
            Self::Line { .. } => "M120",
            Self::Books { .. } => "M121",
            Self::NotBest { .. } => "M122",
        }
    }
    fn place(&self) -> String {
        match self {
            Self::Line { node, .. } => format!("line of node {node}"),
            Self::Books { .. } => "feeder".into(),
            Self::NotBest { node, .. } => format!("node {node}"),
        }
    }
    fn help(&self) -> String {
        match self {
            Self::Line { .. } => {
                "let each line lead to a node of a lower number, with a capacity and a fee that are \
                 not negative"
                    .into()
            }
            Self::Books { .. } => "give one book per node, an empty one where nobody orders".into(),
            Self::NotBest { .. } => "do not settle this; report it with the books".into(),
        }
    }
}

/// What one order trades.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFill {
    /// Whose order.
    pub agent: AgentId,
    /// Bid or offer.
    pub side: Side,
    /// Energy, not negative; zero for who does not trade.
    pub quantity: Mwh,
    /// What it pays.
    pub payment: Money,
}

/// One node of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCleared {
    /// The price; `None` at a node at which nothing gives one.
    pub price: Option<Price>,
    /// Every order of the node, in the order of its book.
    pub fills: Vec<NodeFill>,
    /// Energy toward the root, negative when it comes from there; zero for the root.
    pub flow: MwhTotal,
    /// What the line of this node earns by its scarcity.
    pub rent: Money,
    /// What the line of this node earns by its fee.
    pub fees: Money,
}

/// The result for a feeder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleared {
    /// By node.
    pub nodes: Vec<NodeCleared>,
    /// Value of what bids are served minus cost of what offers give and of the fees.
    pub welfare: Money,
}

impl Cleared {
    /// Congestion rent of all lines.
    #[must_use]
    pub fn rent(&self) -> Money {
        self.nodes.iter().map(|node| node.rent).sum()
    }

    /// Fees of all lines.
    #[must_use]
    pub fn fees(&self) -> Money {
        self.nodes.iter().map(|node| node.fees).sum()
    }
}

impl Feeder {
    /// A feeder of one node more than it has lines.
    ///
    /// # Errors
    /// [`FeederError::Line`].
    pub fn new(lines: Vec<Line>) -> Result<Self, FeederError> {
        for (index, line) in lines.iter().enumerate() {
            let node = index + 1;
            let refuse = |reason: String| Err(FeederError::Line { node, reason });
            if line.toward >= node {
                return refuse(format!("it leads to node {}", line.toward));
            }
            if line.capacity.0 < 0 {
                return refuse(format!("its capacity is {}", line.capacity));
            }
            if line.fee.0 < 0 {
                return refuse(format!("its fee is {}", line.fee));
            }
        }
        Ok(Self { lines })
    }

    /// The lines, by node from node 1 on.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Clears one book per node, and checks that no other result is better.
    ///
    /// # Errors
    /// [`FeederError`].
    pub fn clear(&self, books: &[Book]) -> Result<Cleared, FeederError> {
        let nodes = self.lines.len() + 1;
        if books.len() != nodes {
            let books = books.len();
            return Err(FeederError::Books { nodes, books });
        }
        // From the leaves up: what a node holds, and what its line shows of it.
        let own: Vec<Curve> = books.iter().map(Curve::of_orders).collect();
        let mut whole = own.clone();
        let mut shown: Vec<Option<Curve>> = vec![None; nodes];
        for node in (1..nodes).rev() {
            let line = self.lines[node - 1];
            let seen = whole[node].through(line.capacity.0.into(), line.fee.0.into());
            whole[line.toward] = whole[line.toward].clone().with(&seen);
            shown[node] = Some(seen);
        }
        // From the root down: the price of a node, then what its parts give at it.
        let mut flow = vec![0_i128; nodes];
        let mut cleared: Vec<NodeCleared> = Vec::with_capacity(nodes);
        for node in 0..nodes {
            let wish = node.checked_sub(1).and_then(|line| {
                let Line { toward, fee, .. } = self.lines[line];
                // Who exports takes the price less the fee; who imports pays it on top.
                let fee = i128::from(fee.0) * flow[node].signum();
                cleared[toward].price.map(|price| i128::from(price.0) - fee)
            });
            let price = price(whole[node].supporting(flow[node]), wish);
            let children: Vec<usize> = (1..nodes)
                .filter(|&child| self.lines[child - 1].toward == node)
                .collect();
            let parts = children.iter().filter_map(|&child| shown[child].as_ref());
            let fills = split(&books[node], price, flow[node], parts);
            let (fills, passed) = fills;
            for (child, energy) in children.into_iter().zip(passed) {
                flow[child] = energy;
            }
            cleared.push(NodeCleared {
                price,
                fills,
                flow: MwhTotal(flow[node]),
                rent: Money(0),
                fees: Money(0),
            });
        }
        for node in 1..nodes {
            let line = self.lines[node - 1];
            let price = |node: usize| cleared[node].price.map_or(0, |price| i128::from(price.0));
            let (here, there) = (price(node), price(line.toward));
            let fees = i128::from(line.fee.0) * flow[node].abs();
            cleared[node].fees = Money(fees);
            cleared[node].rent = Money((there - here) * flow[node] - fees);
        }
        let mut welfare = Money(0);
        for (node, book) in cleared.iter().zip(books) {
            welfare += -node.fees;
            for (order, fill) in book.orders().iter().zip(&node.fills) {
                let value = worth(order, fill.quantity);
                welfare += if order.side == Side::Buy {
                    value
                } else {
                    -value
                };
            }
        }
        let cleared = Cleared {
            nodes: cleared,
            welfare,
        };
        cleared.check(self, books)?;
        Ok(cleared)
    }

    /// Clears, lets `inspect` name lines that carry too much with a smaller capacity
    /// for each, and clears again, at most `passes` times. The last result, and
    /// whether nothing was left to mend.
    ///
    /// # Errors
    /// [`FeederError`], also when `inspect` names a line that there is not.
    pub fn clear_until(
        &self,
        books: &[Book],
        passes: usize,
        mut inspect: impl FnMut(&Cleared) -> Vec<(usize, Mwh)>,
    ) -> Result<(Cleared, bool), FeederError> {
        let mut feeder = self.clone();
        let mut cleared = feeder.clear(books)?;
        for _ in 0..passes {
            let tighter = inspect(&cleared);
            if tighter.is_empty() {
                return Ok((cleared, true));
            }
            for (node, capacity) in tighter {
                let line = node
                    .checked_sub(1)
                    .and_then(|line| feeder.lines.get_mut(line));
                let line = line.ok_or_else(|| FeederError::Line {
                    node,
                    reason: "there is none".into(),
                })?;
                line.capacity = Mwh(capacity.0.clamp(0, line.capacity.0));
            }
            cleared = feeder.clear(books)?;
        }
        let mended = inspect(&cleared).is_empty();
        Ok((cleared, mended))
    }
}

/// A price that supports what a node injects, as near to the wished one as there is;
/// without a wish, the middle of what supports it.
fn price((low, high): (Option<i128>, Option<i128>), wish: Option<i128>) -> Option<Price> {
    let price = match (low, high, wish) {
        (low, high, Some(wish)) => {
            let above = low.map_or(wish, |low| wish.max(low));
            high.map_or(above, |high| above.min(high))
        }
        (Some(low), Some(high), None) => low + (high - low).div_euclid(2),
        (Some(end), None, None) | (None, Some(end), None) => end,
        (None, None, None) => return None,
    };
    // Between limits that are 64-bit prices, or a fee away from one.
    i64::try_from(price).ok().map(Price)
}

/// What the orders of a node and its children give at a price so that `injection`
/// leaves it: all that is certain, and of what is at its own limit the same share each.
fn split<'a>(
    book: &Book,
    price: Option<Price>,
    injection: i128,
    children: impl Iterator<Item = &'a Curve>,
) -> (Vec<NodeFill>, Vec<i128>) {
    let orders = book.orders();
    let mut certain = vec![0_i128; orders.len()];
    let mut loose = vec![0_i128; orders.len()];
    for (index, order) in orders.iter().enumerate() {
        for step in &order.steps {
            let energy = i128::from(step.quantity.0);
            match price {
                Some(price) if order.side.prefers(step.price, price) => certain[index] += energy,
                Some(price) if step.price == price => loose[index] += energy,
                _ => {}
            }
        }
    }
    let sign = |index: usize| i128::from(orders[index].side.injection_sign());
    let mut sum: i128 = (0..orders.len())
        .map(|index| {
            // At its limit a bid counts as served here, and leaves by its share.
            let served = certain[index] + if sign(index) < 0 { loose[index] } else { 0 };
            sign(index) * served
        })
        .sum();
    let mut passed = Vec::new();
    let mut rooms = loose.clone();
    for child in children {
        let (least, most) = price.map_or((0, 0), |price| child.at(price));
        sum += least;
        passed.push(least);
        rooms.push(most - least);
    }
    let parts = shares(injection - sum, &rooms);
    let fills = orders.iter().enumerate().map(|(index, order)| {
        let share = match order.side {
            Side::Buy => loose[index] - parts[index],
            Side::Sell => parts[index],
        };
        // At most what the order asks for, which fits 64 bits.
        let quantity = Mwh((certain[index] + share) as i64);
        let amount = price.map_or(Money(0), |price| price * quantity);
        NodeFill {
            agent: order.agent.clone(),
            side: order.side,
            quantity,
            payment: if order.side == Side::Buy {
                amount
            } else {
                -amount
            },
        }
    });
    let fills = fills.collect();
    for (energy, part) in passed.iter_mut().zip(&parts[orders.len()..]) {
        *energy += part;
    }
    (fills, passed)
}

#[cfg(test)]
mod tests;
