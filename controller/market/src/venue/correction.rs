//! Settling again what is settled, when a reading comes late.
//!
//! Theory. A meter that said nothing counts as what was traded, so that nobody waits for it. When
//! its reading comes after all, the interval is settled again by it, all else as it was: the same
//! clearing, the same other readings, the same price where none was known, the same penalty, the same levies. What
//! each account is to pay more or less is its correction. Both settlements sum to zero, so the
//! corrections do.
//!
//! What an interval has done to somebody's standing stays as it is: others have traded since then.

use std::collections::{BTreeMap, VecDeque};

use crate::clearing::Clearing;
use crate::fault::Coded;
use crate::interval::Interval;
use crate::meter::{Quality, Reading};
use crate::order::AgentId;
use crate::penalty::Penalty;
use crate::quantity::{Money, MwhTotal};
use crate::regulation::{self, RegulationRules};
use crate::settlement::{Account, Basis, Item, Line, Settlement, SettlementError, settle};

/// How many settled intervals can still be corrected.
/// Chosen: 96, a day of quarter hours: a reading that is later than that is a matter for people.
pub const CORRECTED_MAX: usize = 96;

/// Why a reading changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CorrectionError {
    /// The interval is not settled, or longer ago than is kept.
    #[error("interval {interval} is not settled, or longer ago than the last {CORRECTED_MAX}")]
    NotSettled {
        /// Which interval.
        interval: u64,
    },
    /// Nobody of that name is metered there.
    #[error("`{agent}` has no meter in interval {interval}")]
    NotMetered {
        /// Which interval.
        interval: u64,
        /// Whose reading it is.
        agent: AgentId,
    },
    /// A valid reading stands.
    #[error("the reading of `{agent}` in interval {interval} is valid and stands")]
    Stands {
        /// Which interval.
        interval: u64,
        /// Whose reading it is.
        agent: AgentId,
    },
    /// The late reading says nothing.
    #[error("the late reading of `{agent}` in interval {interval} has no energy")]
    SaysNothing {
        /// Which interval.
        interval: u64,
        /// Whose reading it is.
        agent: AgentId,
    },
    /// It cannot be settled by it.
    #[error(transparent)]
    Settlement(#[from] SettlementError),
}

impl Coded for CorrectionError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotSettled { .. } => "M048",
            Self::NotMetered { .. } => "M049",
            Self::Stands { .. } => "M052",
            Self::SaysNothing { .. } => "M053",
            Self::Settlement(error) => error.code(),
        }
    }
    fn place(&self) -> String {
        match self {
            Self::NotSettled { interval } => format!("reading of interval {interval}"),
            Self::NotMetered { interval, agent }
            | Self::Stands { interval, agent }
            | Self::SaysNothing { interval, agent } => {
                format!("reading of `{agent}` in interval {interval}")
            }
            Self::Settlement(error) => error.place(),
        }
    }
    fn help(&self) -> String {
        match self {
            Self::NotSettled { .. } => "wait until the interval is settled".into(),
            Self::NotMetered { .. } => {
                "name a participant, or the utility of a bench with a meter there".into()
            }
            Self::Stands { .. } => "only what was missing or estimated is replaced".into(),
            Self::SaysNothing { .. } => "give its energy".into(),
            Self::Settlement(error) => error.help(),
        }
    }
}

/// What an interval was settled by.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) clearing: Clearing,
    pub(super) basis: Basis,
    pub(super) is_excused: bool,
    /// The penalty that was published for it, if somebody could owe one.
    pub(super) penalty: Option<Penalty>,
    /// Who owes it for what is metered.
    pub(super) bound: Vec<AgentId>,
}

/// The settled intervals that can still be corrected, oldest first.
#[derive(Debug, Default)]
pub(super) struct Archive(VecDeque<Kept>);

impl Archive {
    pub(super) fn keep(&mut self, kept: Kept) {
        if self.0.len() >= CORRECTED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(kept);
    }

    /// The interval of this number, and whether it is excused.
    pub(super) fn interval(&self, index: u64) -> Option<(Interval, bool)> {
        let mut all = self.0.iter();
        let kept = all.find(|kept| kept.clearing.interval.index == index)?;
        Some((kept.clearing.interval, kept.is_excused))
    }

    /// Settles an interval again with this reading: the corrections as lines of a settlement.
    pub(super) fn correct(
        &mut self,
        (index, agent): (u64, &AgentId),
        reading: Reading,
        regulation: Option<&RegulationRules>,
    ) -> Result<Settlement, CorrectionError> {
        let interval = index;
        let mut all = self.0.iter_mut();
        let kept = all
            .find(|kept| kept.clearing.interval.index == index)
            .ok_or(CorrectionError::NotSettled { interval })?;
        let agent = agent.clone();
        let mut basis = kept.basis.clone();
        let coupling = basis.coupling.as_mut().filter(|it| it.utility == agent);
        let place = match coupling {
            Some(coupling) => Some(&mut coupling.reading),
            None => basis.readings.get_mut(&agent),
        };
        let Some(place) = place else {
            return Err(CorrectionError::NotMetered { interval, agent });
        };
        if place.quality() == Quality::Valid {
            return Err(CorrectionError::Stands { interval, agent });
        }
        if reading.energy().is_none() {
            return Err(CorrectionError::SaysNothing { interval, agent });
        }
        *place = reading;
        let before = kept.settled(&kept.basis, regulation)?;
        let now = kept.settled(&basis, regulation)?;
        let (mut settlement, mut paid) = (now.0, now.1);
        for (account, amount) in before.1 {
            *paid.entry(account).or_insert(Money(0)) += -amount;
        }
        let changed = paid.into_iter().filter(|(_, amount)| *amount != Money(0));
        settlement.lines = changed
            .map(|(account, amount)| Line {
                account,
                item: Item::Correction,
                quantity: MwhTotal(0),
                price: None,
                amount,
            })
            .collect();
        let sum: Money = settlement.lines.iter().map(|line| line.amount).sum();
        if sum != Money(0) {
            return Err(SettlementError::NotZero { interval, sum }.into());
        }
        kept.basis = basis;
        Ok(settlement)
    }
}

impl Kept {
    /// What each account pays for imbalance, as penalty and to the state by these readings; what
    /// was traded is the same by all.
    fn settled(
        &self,
        basis: &Basis,
        regulation: Option<&RegulationRules>,
    ) -> Result<(Settlement, BTreeMap<Account, Money>), SettlementError> {
        let settlement = settle(&self.clearing, basis)?;
        let mut paid = settlement.balances();
        if let Some(regulation) = regulation {
            let energies = regulation::energies(&self.clearing, basis);
            for line in regulation.lines(self.clearing.interval.index, &energies)? {
                *paid.entry(line.account).or_insert(Money(0)) += line.amount;
            }
        }
        for (penalty, agent) in self
            .penalty
            .iter()
            .flat_map(|p| self.bound.iter().map(move |a| (p, a)))
        {
            let metered = basis.readings.get(agent).and_then(Reading::energy);
            let Some(metered) = metered else { continue };
            let position = basis.position(&self.clearing, agent);
            let charge = penalty.charge(position, MwhTotal::from(metered) - position);
            *paid
                .entry(Account::Participant(agent.clone()))
                .or_insert(Money(0)) += charge;
            *paid.entry(Account::Penalties).or_insert(Money(0)) += -charge;
        }
        Ok((settlement, paid))
    }
}
