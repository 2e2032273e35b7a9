//! Stackelberg: a retailer leads by posting two prices, members follow.
//!
//! At the posted price every bid not below it buys in full and every offer not above
//! it sells in full; the retailer trades the rest with the utility grid. Only the
//! members' own limits within the utility's prices can be best, so those are tried,
//! all pairs of them. The leader wants its margin, or the welfare of all without a
//! loss of its own.

use crate::book::Book;
use crate::crossing::{Level, levels};
use crate::mechanism::{RuleError, Surroundings};
use crate::order::Side;
use crate::outcome::{Exchange, Outcome};
use crate::quantity::{Money, MwhTotal, Price};
use crate::utility::Parity;

/// Most price levels of a side. Chosen: their pairs are tried within a second.
const LEVELS_MAX: usize = 4_096;

/// What the leader wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stackelberg {
    /// Its own margin.
    Margin,
    /// The welfare of all, at no loss of its own.
    Welfare,
}

/// What a side does at a posted price.
#[derive(Debug, Clone, Copy)]
struct Response {
    price: Price,
    energy: i128,
    value: i128,
}

/// The responses of a side to each price worth posting, within the utility's.
fn responses(levels: &[Level], side: Side, parity: Parity) -> Vec<Response> {
    // The price that nobody would refuse for the utility's: it always may be posted.
    let outer = match side {
        Side::Buy => parity.import,
        Side::Sell => parity.export,
    };
    let mut sum = Response {
        price: outer,
        energy: 0,
        value: 0,
    };
    let mut all = Vec::new();
    let mut posted_outer = false;
    for level in levels {
        let worse = side.prefers(outer, level.price);
        if worse && !posted_outer {
            all.push(sum);
            posted_outer = true;
        }
        sum.energy += level.total;
        sum.value += i128::from(level.price.0) * level.total;
        let within = parity.export <= level.price && level.price <= parity.import;
        if within {
            posted_outer |= level.price == outer;
            all.push(Response {
                price: level.price,
                ..sum
            });
        }
    }
    if !posted_outer {
        all.push(sum);
    }
    all
}

/// One pair of posted prices with what comes of it.
struct Posting {
    buy: Response,
    sell: Response,
    margin: i128,
    welfare: i128,
    utility: Exchange,
}

impl Stackelberg {
    fn name(self) -> &'static str {
        match self {
            Self::Margin => "stackelberg",
            Self::Welfare => "stackelberg_welfare",
        }
    }

    pub(crate) fn clear(self, book: &Book, around: &Surroundings) -> Result<Outcome, RuleError> {
        let rule = self.name();
        let parity = around.parity.ok_or(RuleError::NoTariff { rule })?;
        let side = |side| {
            let levels = levels(book, side);
            if levels.len() > LEVELS_MAX {
                let (most, found) = (LEVELS_MAX, levels.len());
                return Err(RuleError::TooMany { rule, most, found });
            }
            Ok(responses(&levels, side, parity))
        };
        let (buyers, sellers) = (side(Side::Buy)?, side(Side::Sell)?);
        let mut best: Option<Posting> = None;
        for &buy in &buyers {
            for &sell in &sellers {
                let posting = Posting::of(buy, sell, parity).ok_or(RuleError::Overflow { rule })?;
                if posting.is_feasible(around)
                    && best.as_ref().is_none_or(|b| self.beats(&posting, b))
                {
                    best = Some(posting);
                }
            }
        }
        let Some(best) = best else {
            return Ok(Outcome::default());
        };
        let served = |order: &crate::order::Order| -> i64 {
            let price = match order.side {
                Side::Buy => best.buy.price,
                Side::Sell => best.sell.price,
            };
            let steps = order.steps.iter();
            let taken = steps.filter(|step| !order.side.prefers(price, step.price));
            taken.map(|step| step.quantity.0).sum()
        };
        let quantity: Vec<i64> = book.orders().iter().map(served).collect();
        Ok(Outcome {
            utility: best.utility,
            ..Outcome::at_prices(book, &quantity, best.buy.price, best.sell.price)
        })
    }

    /// More of what the leader wants; of equals, the one that trades more.
    fn beats(self, a: &Posting, b: &Posting) -> bool {
        let wish = |posting: &Posting| match self {
            Self::Margin => (posting.margin, posting.buy.energy + posting.sell.energy),
            Self::Welfare => (posting.welfare, posting.buy.energy + posting.sell.energy),
        };
        wish(a) > wish(b)
    }
}

impl Posting {
    fn of(buy: Response, sell: Response, parity: Parity) -> Option<Self> {
        let import = (buy.energy - sell.energy).max(0);
        let export = (sell.energy - buy.energy).max(0);
        let pays = |price: Price, energy: i128| i128::from(price.0).checked_mul(energy);
        let utility = pays(parity.export, export)?.checked_sub(pays(parity.import, import)?)?;
        let members = pays(buy.price, buy.energy)?.checked_sub(pays(sell.price, sell.energy)?)?;
        Some(Self {
            buy,
            sell,
            margin: members.checked_add(utility)?,
            welfare: buy.value.checked_sub(sell.value)?.checked_add(utility)?,
            utility: Exchange {
                import: MwhTotal(import),
                export: MwhTotal(export),
                payment: Money(utility),
            },
        })
    }

    /// Whether the coupling carries it and the leader does not lose by it.
    fn is_feasible(&self, around: &Surroundings) -> bool {
        let (import, export) = around.utility_max;
        self.utility.import <= import.into()
            && self.utility.export <= export.into()
            && self.margin >= 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::BookRules;
    use crate::interval::Interval;
    use crate::order::Order;
    use crate::quantity::Mwh;

    #[test]
    fn the_leader_takes_the_margin_that_its_followers_leave() {
        let order = |name: &str, side, price, quantity| {
            Order::single(name.into(), side, Price(price), Mwh(quantity))
        };
        let orders = vec![
            order("rich", Side::Buy, 25, 10),
            order("poor", Side::Buy, 12, 10),
            order("sun", Side::Sell, 2, 12),
        ];
        let interval = Interval::new(0, 0, 1).unwrap();
        let book = Book::new(interval, &BookRules::unbounded(), orders).unwrap();
        let around = Surroundings {
            parity: Some(Parity {
                import: Price(30),
                export: Price(5),
            }),
            utility_max: (Mwh(100), Mwh(100)),
            ..Surroundings::of(&book)
        };
        // At 25 only the rich one buys, and 2 of the sun's 12 are exported without margin.
        let margin = Stackelberg::Margin.clear(&book, &around).unwrap();
        assert_eq!(margin.prices, Some((Price(25), Price(5))));
        assert_eq!(
            (margin.residual().0, margin.utility.export.0),
            (10 * (25 - 5), 2)
        );
        // Both would need 8 imported at 30, which is worth less than nothing to the poor one.
        let welfare = Stackelberg::Welfare.clear(&book, &around).unwrap();
        assert_eq!(welfare.bought(), MwhTotal(10));
        assert_eq!(welfare.welfare(&book).0, 10 * 25 - 12 * 2 + 2 * 5);
    }
}
