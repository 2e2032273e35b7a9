//! Closes the accounts of an interval to a sum of exactly zero.
//!
//! Theory. Positions pay the clearing price. A meter that differs from its
//! position is a deviation, and all deviations settle at one imbalance price:
//! the price of the energy that really balanced the bus. If the utility grid
//! delivered more than its position the system was short and the price is import
//! parity; if less, it was long and the price is export parity; if neither, or
//! without a utility grid, it is the clearing price. Positions sum to zero, so
//! deviations sum to what all meters together say was injected: the losses and
//! whatever the meters do not account for. The market operator buys that energy
//! at the imbalance price, and the accounts sum to zero whatever the price is.
//!
//! Where real time activates balancing energy instead ([`crate::venue::balancing`]), the imbalance price is
//! that of the activation, or of the one that was avoided.
//!
//! Not responsible for tariffs, for metering, or for who holds the balances.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clearing::Clearing;
use crate::fault::Coded;
use crate::interval::Interval;
use crate::meter::{Quality, Reading};
use crate::order::{AgentId, Side};
use crate::quantity::{Money, MwhTotal, Price};
use crate::utility::Parity;
use crate::venue::balancing;

/// Whose money it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// A participant, the utility grid included.
    Participant(AgentId),
    /// The market operator, who buys losses and unaccounted energy.
    Operator,
    /// The pool of penalties.
    Penalties,
    /// Who receives taxes.
    Taxes,
    /// Who receives surcharges: networks and funds.
    Surcharges,
    /// Who receives what scarce lines earn.
    Congestion,
    /// Who receives what traders pay for the losses of lines.
    Losses,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Participant(agent) => agent.fmt(f),
            Self::Operator => f.pad("(operator)"),
            Self::Penalties => f.pad("(penalties)"),
            Self::Taxes => f.pad("(taxes)"),
            Self::Surcharges => f.pad("(surcharges)"),
            Self::Congestion => f.pad("(congestion)"),
            Self::Losses => f.pad("(losses)"),
        }
    }
}

/// What a line is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// Energy traded in the auction.
    Energy,
    /// Metered energy beyond the position.
    Imbalance,
    /// Losses and energy no meter accounts for.
    Unaccounted,
    /// What the mechanism leaves with the operator, or what the operator adds to it.
    Surplus,
    /// What a deviation beyond its tolerance costs.
    Penalty,
    /// What two have agreed by contract, against the price of real time.
    Contract,
    /// What was traded ahead, against the price of real time.
    Ahead,
    /// What the state takes of metered energy.
    Tax,
    /// What networks and funds take of it.
    Surcharge,
    /// What was traded within the day, against the price of real time.
    Intraday,
    /// Being ready to inject more or less.
    Reserve,
    /// Energy that reserve was called for.
    Activation,
    /// What a reading that came late changes.
    Correction,
    /// Rent of scarce lines.
    Congestion,
    /// What losses of lines cost, and what of it goes back.
    Losses,
}

impl Item {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Energy,
        Self::Imbalance,
        Self::Unaccounted,
        Self::Surplus,
        Self::Penalty,
        Self::Contract,
        Self::Ahead,
        Self::Tax,
        Self::Surcharge,
        Self::Intraday,
        Self::Reserve,
        Self::Activation,
        Self::Correction,
        Self::Congestion,
        Self::Losses,
    ];
}

/// One line of a settlement; `amount = −price · quantity` where it has a price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Whose line.
    pub account: Account,
    /// What for.
    pub item: Item,
    /// Energy, injection positive.
    pub quantity: MwhTotal,
    /// Its price; `None` where the mechanism says amounts and no price.
    pub price: Option<Price>,
    /// What the account pays; negative is received.
    pub amount: Money,
}

/// Where the imbalance price comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriceSource {
    /// The system was short: import parity.
    ImportParity,
    /// The system was long: export parity.
    ExportParity,
    /// It was balanced, or an island: the clearing price, or the mean of what was traded.
    ClearingPrice,
    /// As before, but nothing was traded: the last valid price.
    Fallback,
    /// The price of the balancing energy that was activated.
    Activation,
    /// No balancing energy was activated: the best bid of the direction that was needed.
    AvoidedActivation,
}

/// The meter at the point of common coupling and what its energy is worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CouplingMeter {
    /// The utility grid's account.
    pub utility: AgentId,
    /// Its meter, import positive.
    pub reading: Reading,
    /// Marginal prices across the coupling.
    pub parity: Parity,
}

/// What a settlement needs besides the clearing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Basis {
    /// A reading for every participant, the utility grid excepted.
    pub readings: BTreeMap<AgentId, Reading>,
    /// The utility grid; `None` on an island without one.
    pub coupling: Option<CouplingMeter>,
    /// Last valid price, for deviations when nothing cleared.
    pub fallback_price: Option<Price>,
    /// Energy that participants were told to inject more, or less, than they traded, the utility grid
    /// included; it sums to zero and moves their positions.
    #[serde(default)]
    pub instructed: BTreeMap<AgentId, MwhTotal>,
}

impl Basis {
    /// What somebody is to inject: what it traded, and what it was told beside.
    pub(crate) fn position(&self, clearing: &Clearing, agent: &AgentId) -> MwhTotal {
        let told = self.instructed.get(agent).copied().unwrap_or_default();
        clearing.position(agent) + told
    }
}

/// The settlement of one interval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settlement {
    /// The interval settled.
    pub interval: Interval,
    /// Price of all deviations; `None` when there is none to price.
    pub imbalance_price: Option<(Price, PriceSource)>,
    /// Sum of all meters: losses and unaccounted energy.
    pub unaccounted: MwhTotal,
    /// Accounts whose meter was missing and taken to equal the position.
    pub substituted: Vec<AgentId>,
    /// Accounts whose meter was estimated.
    pub estimated: Vec<AgentId>,
    /// The lines: energy in the order of the clearing, then imbalance by name,
    /// then the operator, then penalties by name, then taxes and surcharges by name.
    pub lines: Vec<Line>,
}

/// Why an interval cannot be settled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettlementError {
    /// Someone traded and nothing is said about its meter.
    #[error("interval {interval}: `{agent}` traded, but has no reading, not even a missing one")]
    NoReading {
        /// Interval index.
        interval: u64,
        /// Who traded.
        agent: AgentId,
    },
    /// The utility grid is metered twice.
    #[error("interval {interval}: `{agent}` is both a participant and the utility grid")]
    MeteredTwice {
        /// Interval index.
        interval: u64,
        /// Whose meter.
        agent: AgentId,
    },
    /// Somebody deviated and no price is known.
    #[error("interval {interval}: deviations have no price")]
    NoPrice {
        /// Interval index.
        interval: u64,
    },
    /// An amount exceeds 128 bits.
    #[error("interval {interval}: the amount of {account} exceeds 128 bits")]
    Overflow {
        /// Interval index.
        interval: u64,
        /// Whose amount.
        account: Account,
    },
    /// The accounts do not sum to zero: the clearing did not, or was changed.
    #[error("interval {interval}: the accounts sum to {sum} instead of zero")]
    NotZero {
        /// Interval index.
        interval: u64,
        /// The sum.
        sum: Money,
    },
}

impl Coded for SettlementError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoReading { .. } => "M080",
            Self::MeteredTwice { .. } => "M081",
            Self::NoPrice { .. } => "M082",
            Self::Overflow { .. } => "M083",
            Self::NotZero { .. } => "M084",
        }
    }

    fn place(&self) -> String {
        match self {
            Self::NoReading { interval, agent } | Self::MeteredTwice { interval, agent } => {
                format!("settlement of interval {interval}, `{agent}`")
            }
            Self::Overflow { interval, account } => {
                format!("settlement of interval {interval}, {account}")
            }
            Self::NoPrice { interval } | Self::NotZero { interval, .. } => {
                format!("settlement of interval {interval}")
            }
        }
    }

    fn help(&self) -> String {
        match self {
            Self::NoReading { .. } => "meter it, or state its reading as missing",
            Self::MeteredTwice { .. } => "leave the utility grid out of the readings",
            Self::NoPrice { .. } => "give the last valid price as the fallback price",
            Self::Overflow { .. } => "check the units of meters and prices",
            Self::NotZero { .. } => "do not book this interval; check the clearing's record",
        }
        .into()
    }
}

impl Settlement {
    /// What each account pays over all lines; the sum is zero.
    #[must_use]
    pub fn balances(&self) -> BTreeMap<Account, Money> {
        let mut balances = BTreeMap::new();
        for line in &self.lines {
            *balances.entry(line.account.clone()).or_insert(Money(0)) += line.amount;
        }
        balances
    }
}

/// Deviations of one interval.
struct Deviations {
    by_agent: BTreeMap<AgentId, MwhTotal>,
    /// Metered minus position of the utility grid, if there is one.
    utility: Option<MwhTotal>,
    unaccounted: MwhTotal,
    substituted: Vec<AgentId>,
    estimated: Vec<AgentId>,
}

fn deviations(clearing: &Clearing, basis: &Basis) -> Result<Deviations, SettlementError> {
    let interval = clearing.interval.index;
    let mut positions: BTreeMap<&AgentId, MwhTotal> = BTreeMap::new();
    for fill in &clearing.fills {
        let injected = i128::from(fill.quantity.0) * i128::from(fill.side.injection_sign());
        *positions.entry(&fill.agent).or_default() += MwhTotal(injected);
    }
    for (agent, told) in &basis.instructed {
        *positions.entry(agent).or_default() += *told;
    }
    let utility = basis
        .coupling
        .as_ref()
        .map(|meter| (&meter.utility, &meter.reading));
    if let Some((agent, _)) = utility.filter(|(agent, _)| basis.readings.contains_key(*agent)) {
        return Err(SettlementError::MeteredTwice {
            interval,
            agent: agent.clone(),
        });
    }
    let readings: BTreeMap<&AgentId, &Reading> = basis.readings.iter().chain(utility).collect();
    if let Some(agent) = positions
        .keys()
        .find(|agent| !readings.contains_key(**agent))
    {
        return Err(SettlementError::NoReading {
            interval,
            agent: (*agent).clone(),
        });
    }
    let mut found = Deviations {
        by_agent: BTreeMap::new(),
        utility: None,
        unaccounted: MwhTotal(0),
        substituted: Vec::new(),
        estimated: Vec::new(),
    };
    for (agent, reading) in readings {
        let position = positions.get(agent).copied().unwrap_or_default();
        let metered = reading.energy().map_or(position, MwhTotal::from);
        match reading.quality() {
            Quality::Valid => {}
            Quality::Estimated => found.estimated.push(agent.clone()),
            Quality::Missing => found.substituted.push(agent.clone()),
        }
        found.unaccounted += metered;
        found.by_agent.insert(agent.clone(), metered - position);
    }
    found.utility = utility.and_then(|(agent, _)| found.by_agent.get(agent).copied());
    Ok(found)
}

fn imbalance_price(
    clearing: &Clearing,
    basis: &Basis,
    utility_deviation: Option<MwhTotal>,
) -> Option<(Price, PriceSource)> {
    let from_utility = utility_deviation.map_or(Ordering::Equal, |beyond| beyond.0.cmp(&0));
    if clearing.mechanism == balancing::NAME {
        let activated = clearing.price.map(|price| (price, PriceSource::Activation));
        let (best_bid, best_offer) = clearing.indicative;
        let avoided = match from_utility {
            Ordering::Greater => best_offer,
            Ordering::Less => best_bid,
            Ordering::Equal => None,
        };
        let avoided = avoided.map(|price| (price, PriceSource::AvoidedActivation));
        let last = basis.fallback_price;
        return activated
            .or(avoided)
            .or(last.map(|price| (price, PriceSource::Fallback)));
    }
    match (&basis.coupling, from_utility) {
        (Some(meter), Ordering::Greater) => Some((meter.parity.import, PriceSource::ImportParity)),
        (Some(meter), Ordering::Less) => Some((meter.parity.export, PriceSource::ExportParity)),
        (None, _) | (_, Ordering::Equal) => match clearing.reference() {
            Some(price) => Some((price, PriceSource::ClearingPrice)),
            None => basis
                .fallback_price
                .map(|price| (price, PriceSource::Fallback)),
        },
    }
}

/// Settles an interval.
///
/// # Errors
/// [`SettlementError`]; in particular, when the accounts would not sum to zero.
pub fn settle(clearing: &Clearing, basis: &Basis) -> Result<Settlement, SettlementError> {
    let interval = clearing.interval.index;
    let mut lines = energy_lines(clearing)?;
    let found = deviations(clearing, basis)?;
    let deviates =
        found.unaccounted.0 != 0 || found.by_agent.values().any(|deviation| deviation.0 != 0);
    let mut imbalance = None;
    if deviates {
        let (price, source) = imbalance_price(clearing, basis, found.utility)
            .ok_or(SettlementError::NoPrice { interval })?;
        imbalance = Some((price, source));
        let participants = found
            .by_agent
            .into_iter()
            .filter(|(_, deviation)| deviation.0 != 0);
        for (agent, deviation) in participants {
            let account = Account::Participant(agent);
            lines.push(line(interval, account, Item::Imbalance, deviation, price)?);
        }
        if found.unaccounted.0 != 0 {
            let (account, bought) = (Account::Operator, -found.unaccounted);
            lines.push(line(interval, account, Item::Unaccounted, bought, price)?);
        }
    }
    let sum = lines
        .iter()
        .try_fold(0_i128, |sum, line| sum.checked_add(line.amount.0));
    match sum {
        Some(0) => {}
        Some(sum) => {
            return Err(SettlementError::NotZero {
                interval,
                sum: Money(sum),
            });
        }
        None => {
            return Err(SettlementError::Overflow {
                interval,
                account: Account::Operator,
            });
        }
    }
    Ok(Settlement {
        interval: clearing.interval,
        imbalance_price: imbalance,
        unaccounted: found.unaccounted,
        substituted: found.substituted,
        estimated: found.estimated,
        lines,
    })
}

/// One line per fill, two per trade of a rule that pairs; then the operator's.
fn energy_lines(clearing: &Clearing) -> Result<Vec<Line>, SettlementError> {
    let interval = clearing.interval.index;
    let energy = |agent: &AgentId, side: Side, quantity: MwhTotal, price| {
        let account = Account::Participant(agent.clone());
        let injected = MwhTotal(quantity.0 * i128::from(side.injection_sign()));
        line(interval, account, Item::Energy, injected, price)
    };
    let mut lines = Vec::with_capacity(clearing.fills.len() + 1);
    for fill in &clearing.fills {
        let quantity = MwhTotal::from(fill.quantity);
        match clearing.price {
            Some(price) => lines.push(energy(&fill.agent, fill.side, quantity, price)?),
            None if clearing.trades.is_empty() => lines.push(Line {
                account: Account::Participant(fill.agent.clone()),
                item: Item::Energy,
                quantity: MwhTotal(quantity.0 * i128::from(fill.side.injection_sign())),
                price: None,
                amount: fill.payment,
            }),
            None => {}
        }
    }
    if clearing.price.is_none() {
        for trade in &clearing.trades {
            let quantity = MwhTotal::from(trade.quantity);
            for (agent, side) in [(&trade.buyer, Side::Buy), (&trade.seller, Side::Sell)] {
                lines.push(energy(agent, side, quantity, trade.price)?);
            }
        }
    }
    if clearing.operator != Money(0) {
        lines.push(Line {
            account: Account::Operator,
            item: Item::Surplus,
            quantity: MwhTotal(0),
            price: None,
            amount: Money(-clearing.operator.0),
        });
    }
    Ok(lines)
}

fn line(
    interval: u64,
    account: Account,
    item: Item,
    quantity: MwhTotal,
    price: Price,
) -> Result<Line, SettlementError> {
    match quantity.0.checked_mul(-i128::from(price.0)) {
        Some(amount) => Ok(Line {
            account,
            item,
            quantity,
            price: Some(price),
            amount: Money(amount),
        }),
        None => Err(SettlementError::Overflow { interval, account }),
    }
}

#[cfg(test)]
mod tests;
