//! Energy and reserve of an interval cleared together in real time.
//!
//! The orders are those of the reserve stage and of real time; what each can do joins them
//! ([`crate::cooptimised`]). The three clearings are recorded and taken as if each had been made alone. An interval
//! for which nobody needs readiness, as in an island, is cleared by the auction of real time.
//!
//! Not responsible for what readiness is paid and how it is called: [`super::reserve`].

use super::reserve::Procurement;
use super::{Cleared, Not, Venue, VenueRules};
use crate::auction::AuctionError;
use crate::book::{Book, BookError};
use crate::cooptimised::{Books, NAME, Traded};
use crate::interval::Interval;
use crate::mechanism::{KFactor, UniformPrice, nothing};
use crate::order::{Order, Side};
use crate::reserve::ReserveError;

/// What is cleared together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Together {
    /// Energy.
    pub energy: Cleared,
    /// Readiness upwards and downwards.
    pub ready: [Cleared; 2],
}

/// Orders of an interval: of energy, of readiness upwards and downwards.
#[derive(Debug, Clone, Default)]
pub struct Orders {
    /// Energy.
    pub energy: Vec<Order>,
    /// Readiness upwards and downwards.
    pub ready: [Vec<Order>; 2],
}

/// Where the price of energy lies; `None` where reserve is not bought together with it.
pub(super) fn rule(rules: &VenueRules) -> Result<Option<KFactor>, AuctionError> {
    let reserve = rules.reserve.as_ref();
    if reserve.is_none_or(|it| it.procurement == Procurement::Sequential) {
        return Ok(None);
    }
    let refused = || ReserveError::Mechanism {
        name: rules.mechanism.clone(),
    };
    let rule = UniformPrice::by_name(&rules.mechanism).ok_or_else(refused)?;
    Ok(Some(rule.k))
}

impl Venue {
    /// Whether readiness is bought together with energy.
    #[must_use]
    pub fn buys_together(&self) -> bool {
        self.together.is_some()
    }

    fn books(&self, interval: Interval, orders: Orders) -> Result<(Books, [Not; 3]), BookError> {
        let [up, down] = orders.ready;
        let (energy, energy_not) = self.admitted(interval, orders.energy)?;
        let (up, up_not) = self.admitted_reserve(interval, Side::Sell, up)?;
        let (down, down_not) = self.admitted_reserve(interval, Side::Buy, down)?;
        Ok((Books { energy, up, down }, [energy_not, up_not, down_not]))
    }

    /// Clears energy and readiness of an interval; `None` where readiness is not bought with it, or none is needed.
    ///
    /// # Errors
    /// [`BookError::Rules`] when no book can be kept.
    pub fn clear_together(
        &self,
        interval: Interval,
        orders: Orders,
    ) -> Result<Option<Together>, BookError> {
        let Some(k) = self.together else {
            return Ok(None);
        };
        if orders.ready.iter().all(Vec::is_empty) {
            return Ok(None);
        }
        let (books, [energy, up, down]) = self.books(interval, orders)?;
        let (clearings, failure) = match books.clear(k) {
            Ok(found) => ([found.energy, found.up, found.down], None),
            Err(failure) => {
                let idle = |book: &Book| nothing(book, NAME.to_owned());
                let idle = [&books.energy, &books.up, &books.down].map(idle);
                (idle, Some(AuctionError::from(failure)))
            }
        };
        let [of_energy, of_up, of_down] = clearings;
        let cleared = |book, clearing, (refused, moved): Not, failure| Cleared {
            book,
            clearing,
            refused,
            moved,
            failure,
        };
        Ok(Some(Together {
            energy: cleared(books.energy, of_energy, energy, failure),
            ready: [
                cleared(books.up, of_up, up, None),
                cleared(books.down, of_down, down, None),
            ],
        }))
    }

    /// Whether the records of an interval that was cleared together prove themselves, without clearing it again.
    ///
    /// # Errors
    /// What does not hold, and of whom.
    pub fn prove_together(
        &self,
        interval: Interval,
        orders: Orders,
        traded: &Traded,
        mechanism: &str,
    ) -> Result<(), AuctionError> {
        let (books, _) = self.books(interval, orders)?;
        Ok(books.check(traded, mechanism)?)
    }
}

#[cfg(test)]
mod tests;
