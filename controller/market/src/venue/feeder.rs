//! The real-time stage on a radial feeder: lines with limits and losses, one price per node.
//!
//! Theory. The book of an interval falls apart into one per node, and [`crate::feeder`] merges
//! them exactly. A line of resistance `r` that carries `P` loses `r·P²/V²`, at the margin
//! `2·r·P/V²`. With losses the feeder is cleared twice: by the flows of the first time each line gets
//! a fee per unit of energy, its marginal loss at the price of the root. So what one pays holds
//! the losses that it causes, and every node has a price of its own.
//!
//! **Money.** What buyers pay beyond what sellers receive is the congestion rent and the fees. The
//! rent is the account of congestion's. The mean loss is half of the marginal one: half of the fees
//! stays with the account of losses, against which stands what the operator pays for lost energy,
//! and half goes back to all who traded, by their energy.
//!
//! **Record.** The name of the mechanism says what held for lines besides the rules:
//! `radial_feeder:3=8123@12` is a clearing in which the line of node 3 carried at most 8123 mWh and
//! cost 12 mc/kWh. So a replay clears within the same limits, without a power flow.
//!
//! Not responsible for finding limits: whoever knows the voltages gives them, and they only tighten.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::Venue;
use crate::auction::AuctionError;
use crate::book::Book;
use crate::clearing::{Clearing, Fill, worth};
use crate::crossing::best;
use crate::feeder::{Cleared, Feeder, FeederError, Line, NodeFill};
use crate::losses::{credits, marginal_loss_ppm};
use crate::order::{AgentId, Order, Side};
use crate::quantity::{Money, Mwh, MwhTotal, PPM, Price, div_nearest};
use crate::settlement::{self, Account, Item, Settlement};

/// Name of the mechanism.
pub const NAME: &str = "radial_feeder";
/// Nanoseconds in an hour.
const NS_PER_HOUR: i128 = 3_600_000_000_000;

/// The most that lines carry in one interval, by the node that they lead to; other lines carry what
/// the rules say.
pub type Limits = BTreeMap<usize, Mwh>;

/// The line from a node toward the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineRules {
    /// The node at the other end, of a lower number.
    pub toward: usize,
    /// Most energy in an interval, either way; `None` where nothing limits it.
    pub capacity: Option<Mwh>,
    /// Resistance of a conductor.
    pub resistance_milliohm: u32,
    /// Nominal voltage between conductors.
    pub voltage_millivolt: u32,
}

/// A tree of nodes: node 0 is the root, where the utility grid is, and line `i` leads from node
/// `i + 1` toward it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeederRules {
    /// What the nodes are called.
    pub nodes: Vec<String>,
    /// One line for each node but the root.
    pub lines: Vec<LineRules>,
    /// Where somebody is; who is not listed is at the root.
    pub at: BTreeMap<AgentId, usize>,
    /// Whether prices hold the losses.
    pub losses: bool,
}

/// What a clearing on a feeder comes to at one node and its line; zero for the line of the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeResult {
    /// What is injected there, withdrawal negative.
    pub injection: MwhTotal,
    /// Energy toward the root, negative when it comes from there.
    pub flow: MwhTotal,
    /// Most that the line carried in this clearing, if anything limited it.
    pub capacity: Option<Mwh>,
    /// What a unit of energy paid for the losses of the line.
    pub fee: Price,
}

/// What held for one line in a clearing.
type Held = (Option<Mwh>, Price);

/// What a name says of lines; `None` when it is not of this mechanism.
fn held(mechanism: &str) -> Option<BTreeMap<usize, Held>> {
    let rest = mechanism.strip_prefix(NAME)?;
    if rest.is_empty() {
        return Some(BTreeMap::new());
    }
    let lines = rest.strip_prefix(':')?.split(',').map(|line| {
        let (node, (capacity, fee)) = line.split_once('=').and_then(|(node, held)| {
            let held = held.split_once('@')?;
            Some((node.parse().ok()?, held))
        })?;
        let capacity = match capacity {
            "" => None,
            energy => Some(Mwh(energy.parse().ok()?)),
        };
        Some((node, (capacity, Price(fee.parse().ok()?))))
    });
    lines.collect()
}

/// The limits by which a clearing was made, as its record says; none for another mechanism.
#[must_use]
pub fn limits_of(mechanism: &str) -> Limits {
    let lines = held(mechanism).unwrap_or_default().into_iter();
    let limits = lines.filter_map(|(node, (capacity, _))| Some((node, capacity?)));
    limits.collect()
}

impl FeederRules {
    /// Whether the lines are a tree of these nodes.
    ///
    /// # Errors
    /// [`FeederError`].
    pub fn check(&self) -> Result<(), FeederError> {
        if self.lines.len() + 1 != self.nodes.len() {
            let (nodes, books) = (self.lines.len() + 1, self.nodes.len());
            return Err(FeederError::Books { nodes, books });
        }
        if let Some(&node) = self.at.values().find(|&&node| node >= self.nodes.len()) {
            let reason = "there is no such node".into();
            return Err(FeederError::Line { node, reason });
        }
        self.feeder(&Limits::new(), &[]).map(drop)
    }

    fn node_of(&self, agent: &AgentId) -> usize {
        self.at.get(agent).copied().unwrap_or(0)
    }

    fn capacity(&self, node: usize, limits: &Limits) -> Option<Mwh> {
        let own = node
            .checked_sub(1)
            .and_then(|line| self.lines.get(line)?.capacity);
        let limit = limits.get(&node).copied();
        match (own, limit) {
            (Some(own), Some(limit)) => Some(own.min(limit)),
            (own, limit) => own.or(limit),
        }
    }

    fn feeder(&self, limits: &Limits, fees: &[Price]) -> Result<Feeder, FeederError> {
        let lines = self.lines.iter().enumerate().map(|(index, line)| Line {
            toward: line.toward,
            capacity: self.capacity(index + 1, limits).unwrap_or(Mwh(i64::MAX)),
            fee: fees.get(index).copied().unwrap_or(Price(0)),
        });
        Feeder::new(lines.collect())
    }

    /// What a unit of energy loses on each line by these flows, at the price of the root.
    fn fees(&self, cleared: &Cleared, interval_ns: i64) -> Vec<Price> {
        let price = cleared.nodes[0].price.map_or(0, |price| price.0.max(0));
        let fee = |(line, node): (&LineRules, &crate::feeder::NodeCleared)| {
            let power = node.flow.0.abs().saturating_mul(NS_PER_HOUR) / i128::from(interval_ns);
            let power = i64::try_from(power).unwrap_or(i64::MAX);
            let ppm = marginal_loss_ppm(line.resistance_milliohm, power, line.voltage_millivolt);
            // What loses more than all that it carries is no line any more.
            let ppm = i128::from(ppm).min(PPM.into());
            // At most the price.
            Price(div_nearest(i128::from(price) * ppm, PPM.into()) as i64)
        };
        self.lines
            .iter()
            .zip(&cleared.nodes[1..])
            .map(fee)
            .collect()
    }

    /// Clears a book within limits.
    pub(super) fn clear(&self, book: &Book, limits: &Limits) -> Result<Clearing, AuctionError> {
        let (cleared, fees) = self.cleared(book, limits)?;
        Ok(clearing(book, cleared, self.name(limits, &fees)))
    }

    /// What a book comes to at every node within limits, and what a unit pays for the losses of each line.
    ///
    /// # Errors
    /// As a clearing of the book on this feeder.
    pub fn cleared(
        &self,
        book: &Book,
        limits: &Limits,
    ) -> Result<(Cleared, Vec<Price>), AuctionError> {
        let mut by_node: Vec<Vec<Order>> = vec![Vec::new(); self.nodes.len()];
        for order in book.orders() {
            by_node[self.node_of(&order.agent)].push(order.clone());
        }
        let books = by_node.into_iter().map(|orders| {
            // What the whole book has admitted its parts admit as well.
            Book::admit(book.interval(), book.rules(), orders).map(|(book, _)| book)
        });
        let books: Vec<Book> = books.collect::<Result<_, _>>()?;
        let mut cleared = self.feeder(limits, &[])?.clear(&books)?;
        let mut fees = Vec::new();
        if self.losses {
            fees = self.fees(&cleared, book.interval().dt_ns);
            cleared = self.feeder(limits, &fees)?.clear(&books)?;
        }
        Ok((cleared, fees))
    }

    fn name(&self, limits: &Limits, fees: &[Price]) -> String {
        let mut name = NAME.to_owned();
        for node in 1..self.nodes.len() {
            let limit = limits.get(&node);
            let fee = fees.get(node - 1).map_or(0, |fee| fee.0);
            if limit.is_none() && fee == 0 {
                continue;
            }
            name.push(if name.len() == NAME.len() { ':' } else { ',' });
            let limit = limit.map(|limit| limit.0.to_string()).unwrap_or_default();
            // Writing into text does not fail.
            let _ = write!(name, "{node}={limit}@{fee}");
        }
        name
    }

    /// What a clearing comes to at each node; `None` when it was not made on a feeder.
    #[must_use]
    pub fn nodes_of(&self, clearing: &Clearing) -> Option<Vec<NodeResult>> {
        let injected = clearing.fills.iter().map(|fill| {
            let injected = i128::from(fill.quantity.0) * i128::from(fill.side.injection_sign());
            (fill.agent.clone(), injected)
        });
        self.nodes(&clearing.mechanism, injected)
    }

    /// The same of what the record of a clearing says: its mechanism, and what each injects.
    pub fn nodes(
        &self,
        mechanism: &str,
        injected: impl Iterator<Item = (AgentId, i128)>,
    ) -> Option<Vec<NodeResult>> {
        let held = held(mechanism)?;
        let limits = limits_of(mechanism);
        let result = |node: usize| NodeResult {
            injection: MwhTotal(0),
            flow: MwhTotal(0),
            capacity: self.capacity(node, &limits),
            fee: held.get(&node).map_or(Price(0), |(_, fee)| *fee),
        };
        let mut nodes: Vec<NodeResult> = (0..self.nodes.len()).map(result).collect();
        for (agent, injected) in injected {
            nodes[self.node_of(&agent)].injection += MwhTotal(injected);
        }
        for node in (1..nodes.len()).rev() {
            let flow = nodes[node].flow + nodes[node].injection;
            nodes[node].flow = flow;
            nodes[self.lines[node - 1].toward].flow += flow;
        }
        nodes[0].flow = MwhTotal(0);
        Some(nodes)
    }

    /// Says in a settlement whose the money is that the feeder has left over.
    fn earmark(&self, clearing: &Clearing, settlement: &mut Settlement) {
        let Some(nodes) = self.nodes_of(clearing) else {
            return;
        };
        let fees = nodes.iter().map(|node| {
            let paid = i128::from(node.fee.0) * node.flow.0.abs();
            Money(paid)
        });
        let fees: Money = fees.sum();
        let rent = clearing.operator + -fees;
        // The half that is kept is the one that is rounded down.
        let back = Money(fees.0 - fees.0.div_euclid(2));
        let lines = &mut settlement.lines;
        lines.retain(|line| (&line.account, line.item) != (&Account::Operator, Item::Surplus));
        let mut book = |account, item, amount: Money| {
            if amount != Money(0) {
                lines.push(settlement::Line {
                    account,
                    item,
                    quantity: MwhTotal(0),
                    price: None,
                    amount,
                });
            }
        };
        book(Account::Congestion, Item::Congestion, -rent);
        book(Account::Losses, Item::Losses, back + -fees);
        let mut returned: BTreeMap<AgentId, Money> = BTreeMap::new();
        for (agent, _, amount) in credits(&clearing.fills, back) {
            *returned.entry(agent).or_insert(Money(0)) += amount;
        }
        for (agent, amount) in returned {
            book(Account::Participant(agent), Item::Losses, amount);
        }
    }
}

/// The result of a feeder as a clearing, its fills in the order of the book.
fn clearing(book: &Book, cleared: Cleared, mechanism: String) -> Clearing {
    let prices: Vec<Price> = (cleared.nodes.iter())
        .filter(|node| node.fills.iter().any(|fill| fill.quantity.0 > 0))
        .filter_map(|node| node.price)
        .collect();
    let fills = cleared.nodes.into_iter().flat_map(|node| node.fills);
    let mut found: BTreeMap<(Side, AgentId), NodeFill> = fills
        .filter(|fill| fill.quantity.0 > 0)
        .map(|fill| ((fill.side, fill.agent.clone()), fill))
        .collect();
    let mut welfare = Money(0);
    let fills = book.orders().iter().filter_map(|order| {
        let fill = found.remove(&(order.side, order.agent.clone()))?;
        let value = worth(order, fill.quantity);
        welfare += match order.side {
            Side::Buy => value,
            Side::Sell => -value,
        };
        Some(Fill {
            agent: fill.agent,
            side: fill.side,
            quantity: fill.quantity,
            payment: fill.payment,
        })
    });
    let fills: Vec<Fill> = fills.collect();
    let bought = fills.iter().filter(|fill| fill.side == Side::Buy);
    Clearing {
        interval: book.interval(),
        mechanism,
        quantity: bought.map(|fill| MwhTotal::from(fill.quantity)).sum(),
        price: (prices.first().copied()).filter(|one| prices.iter().all(|price| price == one)),
        competitive: None,
        indicative: best(book),
        operator: fills.iter().map(|fill| fill.payment).sum(),
        fills,
        trades: Vec::new(),
        welfare,
    }
}

impl Venue {
    /// The venue whose real-time stage is on a feeder; without rules, as it was.
    ///
    /// # Errors
    /// [`FeederError`].
    pub fn on_feeder(mut self, rules: Option<FeederRules>) -> Result<Self, FeederError> {
        if let Some(rules) = &rules {
            rules.check()?;
        }
        self.feeder = rules;
        Ok(self)
    }

    /// The feeder of the real-time stage, if it is on one.
    #[must_use]
    pub fn feeder(&self) -> Option<&FeederRules> {
        self.feeder.as_ref()
    }

    pub(super) fn earmark(&self, clearing: &Clearing, settlement: &mut Settlement) {
        if let Some(feeder) = &self.feeder {
            feeder.earmark(clearing, settlement);
        }
    }
}

#[cfg(test)]
mod tests;
