//! What binds participants of a venue to what they committed: the penalty of deviations, the
//! deposits that cover orders, and the standing of who breaks commitments again and again.
//!
//! A deposit is a running account: what a settlement makes its owner pay is taken from it, what
//! it receives is added. Orders of an interval are covered by what is left of it once the worst
//! case of every interval that is traded and not settled yet is held back.
//!
//! What is traded before real time is covered, too: until the price of real time is known a position
//! is held at its worst, bought back at the cap or sold back at the floor, and then at that price. A
//! penalty is owed for what is metered beyond the last position, that of real time.
//!
//! Nobody breaks anything in an interval that is excused: one in which the bench was not at the
//! utility, or was not armed, so that nobody was asked to deliver.
//!
//! Not responsible for how a penalty is set ([`crate::penalty`]), for the cover of one order
//! ([`crate::collateral`]) or for the steps of a standing ([`crate::standing`]).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::position::Positions;
use crate::book::BookRules;
use crate::clearing::Clearing;
use crate::collateral::{Account as Covered, CoverError, screen, worst_case};
use crate::meter::Reading;
use crate::order::{AgentId, Order, Side};
use crate::penalty::{Penalty, PenaltyEngine, PenaltyError, PenaltyRules, Seen, Trader};
use crate::quantity::{Money, Mwh, MwhTotal, PPM, Price, div_nearest};
use crate::settlement::{Account, Basis, Item, Line, Settlement};
use crate::standing::{Conduct, Standing, StandingRules};
use crate::utility::Parity;

/// The rules of obligations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObligationRules {
    /// How the penalty is set.
    pub penalty: PenaltyRules,
    /// Who may still trade.
    pub standing: StandingRules,
    /// Standard deviation of an honest forecast relative to its energy, in ppm: whom the upper
    /// bound of the penalty protects.
    pub forecast_error_ppm: u32,
    /// What each participant that is bound has paid in; nobody else owes a penalty or cover.
    pub deposits: BTreeMap<AgentId, Money>,
}

/// The terms of the next interval: they stand before its orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// What deviations cost.
    pub penalty: Penalty,
    /// How each participant stands, and what is left of its deposit to cover orders.
    pub accounts: BTreeMap<AgentId, (Standing, Money)>,
}

/// What an interval has cost those who broke it, and where they stand now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Consequences {
    /// Penalties, with the deviation that each is for.
    pub charged: Vec<(AgentId, MwhTotal, Money)>,
    /// Standings that are others than before.
    pub changed: Vec<(AgentId, Standing, Standing)>,
}

/// An interval that is traded and not settled yet.
#[derive(Debug)]
struct Open {
    penalty: Penalty,
    held: BTreeMap<AgentId, Money>,
    suspended: BTreeSet<AgentId>,
}

/// The obligations of a run.
#[derive(Debug)]
pub(crate) struct Obligations {
    rules: ObligationRules,
    engine: PenaltyEngine,
    standings: BTreeMap<AgentId, Standing>,
    deposits: BTreeMap<AgentId, Money>,
    open: BTreeMap<u64, Open>,
    /// What positions before real time could cost, by interval and stage.
    before: BTreeMap<(u64, Item), BTreeMap<AgentId, Money>>,
    /// What orders that rest within the day could cost.
    resting: BTreeMap<(u64, AgentId, Side), Money>,
    /// Whom the upper bound protected last.
    trader: Trader,
}

impl Obligations {
    /// Everybody in good standing, with what was paid in.
    pub(crate) fn new(rules: ObligationRules, parity: Parity) -> Result<Self, PenaltyError> {
        // Nothing was seen yet: a price amid the two parities, and imbalance at either.
        let spread = Price(parity.import.0.saturating_sub(parity.export.0) / 2);
        let trader = Trader {
            energy: Mwh(0),
            error: Mwh(0),
            gain: spread,
        };
        let new = |agent: &AgentId| (agent.clone(), Standing::NEW);
        Ok(Self {
            engine: PenaltyEngine::new(rules.penalty, spread, trader)?,
            standings: rules.deposits.keys().map(new).collect(),
            deposits: rules.deposits.clone(),
            open: BTreeMap::new(),
            before: BTreeMap::new(),
            resting: BTreeMap::new(),
            trader,
            rules,
        })
    }

    /// The terms of the next interval.
    pub(crate) fn terms(&self) -> Terms {
        let account = |(agent, standing): (&AgentId, &Standing)| {
            let open = self.open.values().filter_map(|open| open.held.get(agent));
            let before = self.before.values().filter_map(|held| held.get(agent));
            let resting = self.resting.iter();
            let resting = resting.filter(|((_, owner, _), _)| owner == agent);
            let resting = resting.map(|(_, held)| held);
            let held: Money = open.chain(before).chain(resting).copied().sum();
            let deposit = self.deposits.get(agent).copied().unwrap_or_default();
            (agent.clone(), (*standing, deposit + -held))
        };
        Terms {
            penalty: self.engine.penalty(),
            accounts: self.standings.iter().map(account).collect(),
        }
    }

    /// Energy of a side that is accepted of somebody, out of its capability.
    pub(crate) fn accepted(&self, agent: &AgentId, most: MwhTotal) -> MwhTotal {
        let standing = self.standings.get(agent).copied().unwrap_or(Standing::NEW);
        let share = i128::from(standing.accepted_ppm(&self.rules.standing).min(PPM));
        MwhTotal(most.0.saturating_mul(share) / i128::from(PPM))
    }

    /// The orders that are covered under the terms, or of somebody who is not bound, and why each
    /// other is not.
    pub(crate) fn screen(
        &self,
        orders: Vec<Order>,
        book: &BookRules,
    ) -> (Vec<Order>, Vec<CoverError>) {
        let (bound, mut free): (Vec<Order>, Vec<Order>) =
            (orders.into_iter()).partition(|order| self.standings.contains_key(&order.agent));
        let terms = self.terms();
        let covered = |(agent, (standing, deposit))| (agent, Covered { deposit, standing });
        let accounts = terms.accounts.into_iter().map(covered).collect();
        let standing = &self.rules.standing;
        let (kept, refused) = screen(bound, &accounts, book, &terms.penalty, standing);
        free.extend(kept);
        (free, refused)
    }

    /// Why an order within the day is not covered, when what is held for the one that it replaces
    /// is free.
    pub(crate) fn screen_instead(
        &self,
        order: Order,
        (interval, agent, side): (u64, &AgentId, Side),
        book: &BookRules,
    ) -> Option<CoverError> {
        let mut terms = self.terms();
        let (standing, deposit) = terms.accounts.remove(agent)?;
        let freed = self.resting.get(&(interval, agent.clone(), side));
        let deposit = deposit + freed.copied().unwrap_or_default();
        let account = Covered { deposit, standing };
        let accounts = BTreeMap::from([(agent.clone(), account)]);
        let standing = &self.rules.standing;
        let (_, refused) = screen(vec![order], &accounts, book, &terms.penalty, standing);
        refused.into_iter().next()
    }

    /// Holds back what the positions of a stage could cost, a unit being worth one of `prices` in
    /// real time.
    pub(crate) fn hold_before(
        &mut self,
        interval: u64,
        item: Item,
        positions: &Positions,
        prices: &[Price],
    ) {
        let held = self.standings.iter().filter_map(|(agent, standing)| {
            let share = i128::from(standing.collateral_ppm(&self.rules.standing));
            let most = positions.most(agent, prices)?.0.max(0);
            let held = Money(most.saturating_mul(share) / i128::from(PPM));
            Some((agent.clone(), held))
        });
        let held = held.collect();
        self.before.insert((interval, item), held);
    }

    /// Holds back what an order that rests within the day could cost, in place of the one of its
    /// side; `None` when none rests any more.
    pub(crate) fn hold_resting(
        &mut self,
        interval: u64,
        (agent, side): (&AgentId, Side),
        order: Option<&Order>,
        book: &BookRules,
    ) {
        let key = (interval, agent.clone(), side);
        let bound = self.standings.get(agent).zip(order);
        let Some((standing, order)) = bound else {
            self.resting.remove(&key);
            return;
        };
        let share = i128::from(standing.collateral_ppm(&self.rules.standing));
        let most = worst_case(order, book, &self.engine.penalty());
        let held = Money(most.0.saturating_mul(share) / i128::from(PPM));
        self.resting.insert(key, held);
    }

    /// Nothing rests any more for an interval, nor for those before it.
    pub(crate) fn end_resting(&mut self, interval: u64) {
        self.resting.retain(|(other, ..), _| *other > interval);
    }

    /// Holds back what a clearing could still cost.
    pub(crate) fn hold(&mut self, clearing: &Clearing, book: &BookRules) {
        let penalty = self.engine.penalty();
        let mut held: BTreeMap<AgentId, Money> = BTreeMap::new();
        for fill in &clearing.fills {
            let Some(standing) = self.standings.get(&fill.agent) else {
                continue;
            };
            // The price is known by now, so the payment takes the place of the order's own.
            let nothing = Order::single(fill.agent.clone(), fill.side, Price(0), fill.quantity);
            let apart = worst_case(&nothing, book, &penalty);
            let share = i128::from(standing.collateral_ppm(&self.rules.standing));
            let needed = (fill.payment.0.max(0).saturating_add(apart.0)).saturating_mul(share);
            *held.entry(fill.agent.clone()).or_default() += Money(needed / i128::from(PPM));
        }
        let suspended = self.standings.iter();
        let suspended = suspended
            .filter(|(_, standing)| matches!(standing, Standing::Suspended { .. }))
            .map(|(agent, _)| agent.clone())
            .collect();
        let open = Open {
            penalty,
            held,
            suspended,
        };
        self.open.insert(clearing.interval.index, open);
    }

    /// What the settlement of an interval leads to: penalties are lines of it, and everything
    /// moves on. Where real time only balances what was `traded` before, deviations are from that. Who `is_free`
    /// owes nothing and has broken nothing.
    pub(crate) fn close(
        &mut self,
        (clearing, traded): (&Clearing, &Clearing),
        basis: &Basis,
        is_free: &dyn Fn(&AgentId) -> bool,
        parity: Parity,
        settlement: &mut Settlement,
    ) -> Consequences {
        let index = clearing.interval.index;
        let open = self.open.remove(&index);
        // What was never settled is not any more.
        self.open.retain(|other, _| *other > index);
        self.before.retain(|(other, _), _| *other > index);
        let mut consequences = Consequences::default();
        let (mut deliveries, mut breaches) = (0_u32, 0_u32);
        for (agent, standing) in &mut self.standings {
            let before = *standing;
            let suspended = open
                .as_ref()
                .is_none_or(|open| open.suspended.contains(agent));
            let metered = basis.readings.get(agent).and_then(Reading::energy);
            let conduct = match (&open, metered) {
                (Some(open), Some(metered)) if !is_free(agent) && !suspended => {
                    let position = basis.position(clearing, agent);
                    let deviation = MwhTotal::from(metered) - position;
                    deliveries += 1;
                    let charge = open.penalty.charge(position, deviation);
                    if charge != Money(0) {
                        consequences
                            .charged
                            .push((agent.clone(), deviation, charge));
                    }
                    if open.penalty.is_breach(position, deviation) {
                        breaches += 1;
                        Some(Conduct::Broken)
                    } else {
                        Some(Conduct::Kept)
                    }
                }
                // A suspension goes by, whatever is metered meanwhile.
                _ => matches!(before, Standing::Suspended { .. }).then_some(Conduct::Kept),
            };
            if let Some(conduct) = conduct {
                *standing = before.after(conduct, &self.rules.standing);
            }
            if std::mem::discriminant(&before) != std::mem::discriminant(standing) {
                let change = (agent.clone(), before, *standing);
                consequences.changed.push(change);
            }
        }
        self.charge(settlement, &consequences);
        self.book(&settlement.lines);
        if let Some(contract) = traded.reference() {
            let imbalance = settlement
                .imbalance_price
                .map_or(contract, |(price, _)| price);
            let seen = Seen {
                imbalance,
                contract,
                deliveries,
                breaches,
            };
            self.trader = self
                .protected(traded, contract, parity)
                .unwrap_or(self.trader);
            self.engine.take(seen, self.trader);
        }
        consequences
    }

    /// The penalty of an interval that is not settled yet, and who owes it.
    pub(crate) fn owed(&self, interval: u64) -> Option<(Penalty, Vec<AgentId>)> {
        let open = self.open.get(&interval)?;
        let bound = self.standings.keys();
        let bound = bound.filter(|agent| !open.suspended.contains(*agent));
        Some((open.penalty, bound.cloned().collect()))
    }

    /// Takes what lines make their accounts pay from their deposits.
    pub(crate) fn book(&mut self, lines: &[Line]) {
        for line in lines {
            if let Account::Participant(agent) = &line.account
                && let Some(deposit) = self.deposits.get_mut(agent)
            {
                *deposit += -line.amount;
            }
        }
    }

    /// Penalties as lines: each is paid to the pool of them.
    fn charge(&self, settlement: &mut Settlement, consequences: &Consequences) {
        let line = |account, quantity, amount| Line {
            account,
            item: Item::Penalty,
            quantity,
            price: None,
            amount,
        };
        let mut pool = Money(0);
        for (agent, deviation, charge) in &consequences.charged {
            let account = Account::Participant(agent.clone());
            settlement.lines.push(line(account, *deviation, *charge));
            pool += *charge;
        }
        if pool != Money(0) {
            let lines = &mut settlement.lines;
            lines.push(line(Account::Penalties, MwhTotal(0), -pool));
        }
    }

    /// Of those who traded, the one with the least to gain against the utility.
    fn protected(&self, clearing: &Clearing, price: Price, parity: Parity) -> Option<Trader> {
        let traders = clearing.fills.iter();
        let traders = traders
            .filter(|fill| self.standings.contains_key(&fill.agent))
            .map(|fill| {
                let gain = match fill.side {
                    Side::Buy => parity.import.0.saturating_sub(price.0),
                    Side::Sell => price.0.saturating_sub(parity.export.0),
                };
                let error = i128::from(fill.quantity.0) * i128::from(self.rules.forecast_error_ppm);
                let error = div_nearest(error, i128::from(PPM));
                Trader {
                    energy: fill.quantity,
                    error: Mwh(i64::try_from(error).unwrap_or(i64::MAX)),
                    gain: Price(gain.max(0)),
                }
            });
        traders.min_by_key(|trader| (trader.gain, std::cmp::Reverse(trader.energy)))
    }
}

#[cfg(test)]
mod tests;
