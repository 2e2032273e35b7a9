//! Bilateral contracts: so much energy in each interval of a period, from one to another, at a
//! price that both have agreed before anything was traded.
//!
//! Theory. A contract is a position of both sides. In real time everybody orders for the whole of
//! what it expects, as beside any other position: who has sold `c` by contract and `n` in real time
//! receives `p_contract * c + p_real * (n - c)`. So a contract fixes the price of its energy
//! whatever real time does, and who does not deliver buys back what it has sold.
//!
//! Not responsible for how the two came to agree ([`crate::mechanism`] has a negotiation).

use serde::{Deserialize, Serialize};

use crate::fault::Coded;
use crate::order::AgentId;
use crate::quantity::{Mwh, Price};

/// A contract between two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// Its name.
    pub name: String,
    /// Who takes the energy and pays.
    pub buyer: AgentId,
    /// Who gives it.
    pub seller: AgentId,
    /// First interval of its period.
    pub first: u64,
    /// Last interval of its period.
    pub last: u64,
    /// Energy of each interval, positive.
    pub energy: Mwh,
    /// What a unit costs.
    pub price: Price,
}

/// Energy that one sells another at a price: what a contract means in an interval, or a trade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deal {
    /// Who takes the energy and pays.
    pub buyer: AgentId,
    /// Who gives it.
    pub seller: AgentId,
    /// How much, positive.
    pub energy: Mwh,
    /// What a unit costs.
    pub price: Price,
}

/// Why a contract is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    /// Nobody contracts with itself.
    #[error("contract `{name}`: `{agent}` is buyer and seller")]
    OneParty {
        /// Its name.
        name: String,
        /// The only party.
        agent: AgentId,
    },
    /// There is nothing to deliver.
    #[error("contract `{name}`: {energy} in intervals {first} to {last} is nothing to deliver")]
    Nothing {
        /// Its name.
        name: String,
        /// Energy of each interval.
        energy: Mwh,
        /// First interval.
        first: u64,
        /// Last interval.
        last: u64,
    },
}

impl Coded for ContractError {
    fn code(&self) -> &'static str {
        match self {
            Self::OneParty { .. } => "M043",
            Self::Nothing { .. } => "M044",
        }
    }
    fn place(&self) -> String {
        match self {
            Self::OneParty { name, .. } | Self::Nothing { name, .. } => {
                format!("contract `{name}`")
            }
        }
    }
    fn help(&self) -> String {
        match self {
            Self::OneParty { .. } => "name two parties".into(),
            Self::Nothing { .. } => {
                "give a positive energy, and a last interval that is not before the first".into()
            }
        }
    }
}

impl Contract {
    /// Whether it is one.
    ///
    /// # Errors
    /// [`ContractError`].
    pub fn check(&self) -> Result<(), ContractError> {
        let name = self.name.clone();
        if self.buyer == self.seller {
            let agent = self.buyer.clone();
            return Err(ContractError::OneParty { name, agent });
        }
        if self.energy.0 <= 0 || self.last < self.first {
            return Err(ContractError::Nothing {
                name,
                energy: self.energy,
                first: self.first,
                last: self.last,
            });
        }
        Ok(())
    }

    /// What it means in an interval; `None` outside of its period.
    #[must_use]
    pub fn deal(&self, interval: u64) -> Option<Deal> {
        (self.first..=self.last).contains(&interval).then(|| Deal {
            buyer: self.buyer.clone(),
            seller: self.seller.clone(),
            energy: self.energy,
            price: self.price,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract(seller: &str, energy: i64, first: u64, last: u64) -> Contract {
        Contract {
            name: "c".into(),
            buyer: "load".into(),
            seller: seller.into(),
            first,
            last,
            energy: Mwh(energy),
            price: Price(20_000),
        }
    }

    #[test]
    fn a_contract_has_two_parties_and_something_to_deliver() {
        for (contract, code) in [
            (contract("sun", 1, 2, 2), None),
            (contract("load", 1, 2, 2), Some("M043")),
            (contract("sun", 0, 2, 2), Some("M044")),
            (contract("sun", -5, 2, 2), Some("M044")),
            (contract("sun", 1, 3, 2), Some("M044")),
        ] {
            let found = contract.check();
            assert_eq!(found.err().map(|e| e.code()), code, "{contract:?}");
        }
    }

    #[test]
    fn a_contract_holds_from_its_first_interval_to_its_last() {
        let contract = contract("sun", 7, 2, 4);
        let holds: Vec<u64> = (0..8).filter(|n| contract.deal(*n).is_some()).collect();
        assert_eq!(holds, [2, 3, 4]);
    }
}
