//! What a regulator asks of a venue: bounds of prices, who may take part and under which contract,
//! and what the state and the network take of each unit of energy.
//!
//! Bounds are those of the book ([`crate::book::BookRules`]); here is what becomes of a price beyond
//! them. Taxes and surcharges are for metered energy, a line of the settlement each, and the account
//! that receives them has the same sum with the other sign: the accounts still sum to zero.
//!
//! Not responsible for what of it others are shown, nor for tariffs of the utility grid: these are
//! prices of its two orders ([`crate::utility`]).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::book::BookRules;
use crate::fault::Coded;
use crate::interval::Interval;
use crate::meter::Reading;
use crate::order::{AgentId, Order, Side};
use crate::quantity::{Money, MwhTotal, Price};
use crate::settlement::{Account, Item, Line, SettlementError};

/// What becomes of a price beyond the bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Beyond {
    /// The order is refused, by the book.
    #[default]
    Refuse,
    /// It moves to the bound where that is no worse for whoever ordered; else the order is refused.
    Clip,
}

/// What is taken of a unit of metered energy, per kilowatt-hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Levy {
    /// Of what is withdrawn.
    pub withdrawal: Price,
    /// Of what is injected.
    pub injection: Price,
}

/// A participation contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// What it is called where it is filed.
    pub id: String,
    /// From when it holds, in market time.
    pub from_ns: i64,
    /// Until when, in market time; not the moment itself.
    pub until_ns: i64,
    /// Digest of the terms that were accepted, hexadecimal.
    pub accepts: Option<String>,
}

/// Everything that a regulator asks of a venue.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegulationRules {
    /// What becomes of a price beyond the bounds of the book.
    pub beyond: Beyond,
    /// Who may take part; `None` lets everybody.
    pub eligible: Option<BTreeSet<AgentId>>,
    /// Contracts; `None` asks nobody for one.
    pub contracts: Option<BTreeMap<AgentId, Contract>>,
    /// Digest of the terms that hold, hexadecimal.
    pub terms: Option<String>,
    /// What the state takes.
    pub tax: Levy,
    /// What funds and networks take.
    pub surcharge: Levy,
}

/// Why an order may not be, or is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegulationError {
    /// A price beyond the bounds was moved to them.
    #[error("{side} of `{agent}`: {price} was moved to the bound {bound}")]
    Clipped {
        /// Who ordered.
        agent: AgentId,
        /// Which side.
        side: Side,
        /// The first price that was.
        price: Price,
        /// The bound.
        bound: Price,
    },
    /// Whoever ordered may not take part.
    #[error("{side} of `{agent}`: it is not eligible to take part")]
    NotEligible {
        /// Who ordered.
        agent: AgentId,
        /// Which side.
        side: Side,
    },
    /// No contract of whoever ordered holds throughout the interval.
    #[error("{side} of `{agent}`: {contract} in interval {interval}")]
    NoContract {
        /// Who ordered.
        agent: AgentId,
        /// Which side.
        side: Side,
        /// What there is instead, in words.
        contract: String,
        /// The interval.
        interval: u64,
    },
    /// Its contract accepts other terms than those that hold.
    #[error("{side} of `{agent}`: contract `{contract}` does not accept the terms that hold")]
    OtherTerms {
        /// Who ordered.
        agent: AgentId,
        /// Which side.
        side: Side,
        /// Which contract.
        contract: String,
    },
}

impl Coded for RegulationError {
    fn code(&self) -> &'static str {
        match self {
            Self::Clipped { .. } => "M055",
            Self::NotEligible { .. } => "M056",
            Self::NoContract { .. } => "M057",
            Self::OtherTerms { .. } => "M058",
        }
    }

    fn place(&self) -> String {
        match self {
            Self::Clipped { agent, side, .. }
            | Self::NotEligible { agent, side }
            | Self::NoContract { agent, side, .. }
            | Self::OtherTerms { agent, side, .. } => format!("{side} of `{agent}`"),
        }
    }

    fn help(&self) -> String {
        match self {
            Self::Clipped { .. } => "order within the bounds of prices",
            Self::NotEligible { .. } => "name it under `[regulation.eligible]`",
            Self::NoContract { .. } => "give it a contract under `[regulation.contract]`",
            Self::OtherTerms { .. } => {
                "let it accept the terms that hold, by their digest in its contract"
            }
        }
        .into()
    }
}

impl RegulationRules {
    /// Whether somebody may order for an interval.
    ///
    /// # Errors
    /// [`RegulationError`], but never that a price was moved.
    pub fn admits(
        &self,
        agent: &AgentId,
        side: Side,
        interval: &Interval,
    ) -> Result<(), RegulationError> {
        let agent = || agent.clone();
        let eligible = self.eligible.as_ref();
        if eligible.is_some_and(|eligible| !eligible.contains(&agent())) {
            let agent = agent();
            return Err(RegulationError::NotEligible { agent, side });
        }
        let Some(contracts) = &self.contracts else {
            return Ok(());
        };
        let none = |contract: String| RegulationError::NoContract {
            agent: agent(),
            side,
            contract,
            interval: crate::venue::ahead::interval_of(interval.index).0,
        };
        let contract = contracts.get(&agent());
        let contract = contract.ok_or_else(|| none("it has no contract".into()))?;
        if interval.start_ns < contract.from_ns || interval.end_ns() > contract.until_ns {
            return Err(none(format!("contract `{}` does not hold", contract.id)));
        }
        if self.terms.is_some() && self.terms != contract.accepts {
            return Err(RegulationError::OtherTerms {
                agent: agent(),
                side,
                contract: contract.id.clone(),
            });
        }
        Ok(())
    }

    /// The orders that may be, as they may be; why others are not, and which prices were moved.
    /// The utility grid is asked for nothing.
    pub(crate) fn screen(
        &self,
        orders: Vec<Order>,
        utility: &AgentId,
        interval: &Interval,
        book: &BookRules,
    ) -> (Vec<Order>, Vec<RegulationError>, Vec<RegulationError>) {
        let (mut kept, mut refused, mut moved) = (Vec::new(), Vec::new(), Vec::new());
        for mut order in orders {
            if order.agent != *utility
                && let Err(why) = self.admits(&order.agent, order.side, interval)
            {
                refused.push(why);
                continue;
            }
            if self.beyond == Beyond::Clip {
                moved.extend(clip(&mut order, book));
            }
            kept.push(order);
        }
        (kept, refused, moved)
    }

    /// What `agent` owes beside the price for a unit that it takes or gives.
    #[must_use]
    pub fn owed(&self, side: Side) -> Price {
        let of = |levy: &Levy| match side {
            Side::Buy => levy.withdrawal.0,
            Side::Sell => levy.injection.0,
        };
        Price(of(&self.tax).saturating_add(of(&self.surcharge)))
    }

    /// The lines of taxes and surcharges of an interval, by what its meters say; whose meter is
    /// missing pays for its position. Each kind sums to zero with the account that receives it.
    ///
    /// # Errors
    /// [`SettlementError::Overflow`].
    pub(crate) fn lines(
        &self,
        interval: u64,
        energies: &BTreeMap<AgentId, MwhTotal>,
    ) -> Result<Vec<Line>, SettlementError> {
        let mut lines = Vec::new();
        for (levy, item, receiver) in [
            (self.tax, Item::Tax, Account::Taxes),
            (self.surcharge, Item::Surcharge, Account::Surcharges),
        ] {
            let mut received = 0_i128;
            for (agent, energy) in energies {
                let rate = if energy.0 < 0 {
                    levy.withdrawal
                } else {
                    levy.injection
                };
                let account = Account::Participant(agent.clone());
                let amount = (energy.0.checked_abs())
                    .and_then(|energy| energy.checked_mul(rate.0.into()))
                    .and_then(|amount| Some((amount, received.checked_add(amount)?)));
                let Some((amount, sum)) = amount else {
                    return Err(SettlementError::Overflow { interval, account });
                };
                received = sum;
                if amount != 0 {
                    lines.push(Line {
                        account,
                        item,
                        quantity: *energy,
                        // Of what is injected too it is paid, so it is no price of the energy.
                        price: None,
                        amount: Money(amount),
                    });
                }
            }
            if received != 0 {
                lines.push(Line {
                    account: receiver,
                    item,
                    quantity: MwhTotal(0),
                    price: None,
                    amount: Money(-received),
                });
            }
        }
        Ok(lines)
    }
}

/// What each participant has metered, or its position where nothing was.
pub(crate) fn energies(
    clearing: &crate::clearing::Clearing,
    basis: &crate::settlement::Basis,
) -> BTreeMap<AgentId, MwhTotal> {
    let energy = |(agent, reading): (&AgentId, &Reading)| {
        let position = || basis.position(clearing, agent);
        let energy = reading.energy().map_or_else(position, MwhTotal::from);
        (agent.clone(), energy)
    };
    basis.readings.iter().map(energy).collect()
}

/// Makes steps of one price one step; energy that would not fit stays for the book to refuse.
pub(crate) fn merge_equal_prices(order: &mut Order) {
    order.steps.dedup_by(|next, before| {
        let sum = before.quantity.0.checked_add(next.quantity.0);
        match sum {
            Some(sum) if next.price == before.price && next.quantity.0 > 0 => {
                before.quantity.0 = sum;
                true
            }
            _ => false,
        }
    });
}

/// Moves prices beyond the bounds to them; the first that was, with its bound. A bid below the floor
/// and an offer above the cap stay, for the book to refuse: whoever made them would be worse off at
/// the bound.
fn clip(order: &mut Order, book: &BookRules) -> Option<RegulationError> {
    let (side, bound) = match order.side {
        Side::Buy => (Side::Buy, book.cap),
        Side::Sell => (Side::Sell, book.floor),
    };
    let mut first = None;
    for step in &mut order.steps {
        if side.prefers(step.price, bound) {
            first.get_or_insert(step.price);
            step.price = bound;
        }
    }
    let price = first?;
    merge_equal_prices(order);
    Some(RegulationError::Clipped {
        agent: order.agent.clone(),
        side,
        price,
        bound,
    })
}

#[cfg(test)]
mod tests;
