//! The venue of a run: its rules, and what lasts from interval to interval.
//!
//! It tells the terms of an interval, clears its orders, and settles it when the meters are
//! read. All that it does follows from its rules and from what it is given, in that order; a
//! replay gives it the records of a run and must get every number again.
//!
//! Not responsible for gates, for keeping records, or for who orders what.

pub mod ahead;
pub mod balancing;
pub mod correction;
pub mod feeder;
pub mod intraday;
mod obligations;
mod position;
pub mod reserve;
pub mod together;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use ahead::AheadRules;
pub use correction::{CORRECTED_MAX, CorrectionError};
pub use feeder::FeederRules;
pub use intraday::{IntradayError, IntradayRules};
pub use obligations::{Consequences, ObligationRules, Terms};
pub use reserve::{Procurement, ReserveRules};

use self::correction::{Archive, Kept};
use self::intraday::{Entered, Intraday};
use self::obligations::Obligations;
use self::position::Positions;
use self::reserve::Bought;
use crate::auction::{Auction, AuctionError};
use crate::book::{Book, BookError, BookRules, Capability};
use crate::clearing::{Clearing, Fill};
use crate::collateral::CoverError;
use crate::contract::{Contract, ContractError, Deal};
use crate::fault::Coded;
use crate::interval::Interval;
use crate::mechanism::{KFactor, nothing};
use crate::meter::Reading;
use crate::order::{AgentId, Order, Side};
use crate::penalty::PenaltyError;
use crate::quantity::{Money, Mwh, MwhTotal, Price};
use crate::regulation::{self, RegulationError, RegulationRules};
use crate::settlement::{Basis, CouplingMeter, Item, Settlement, SettlementError, settle};
use crate::utility::Parity;

/// Everything that a venue goes by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VenueRules {
    /// Name of the mechanism, as [`Auction::by_name`] takes it.
    pub mechanism: String,
    /// Which orders are admissible.
    pub book: BookRules,
    /// Name of the utility grid's account.
    pub utility: AgentId,
    /// What the utility grid sells and buys at.
    pub parity: Parity,
    /// Who trades whole or not at all, where the mechanism asks.
    pub indivisible: BTreeSet<AgentId>,
    /// What binds participants to what they committed; `None` leaves it at the imbalance.
    pub obligations: Option<ObligationRules>,
    /// The day-ahead stage; `None` where intervals are traded in real time alone.
    #[serde(default)]
    pub ahead: Option<AheadRules>,
    /// What a regulator asks; `None` leaves it at the rules of the book.
    #[serde(default)]
    pub regulation: Option<RegulationRules>,
    /// What participants have agreed between each other before the run.
    #[serde(default)]
    pub contracts: Vec<Contract>,
    /// The stage within the day; `None` where there is none.
    #[serde(default)]
    pub intraday: Option<IntradayRules>,
    /// The reserve that the utility buys of participants; `None` where it buys none.
    #[serde(default)]
    pub reserve: Option<ReserveRules>,
}

/// Why a venue cannot open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VenueError {
    /// No bench can use the mechanism, or the rules of the book contradict themselves.
    #[error(transparent)]
    Auction(#[from] AuctionError),
    /// The rules of the penalty contradict themselves.
    #[error(transparent)]
    Penalty(#[from] PenaltyError),
    /// A contract is none.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// No order book can be kept.
    #[error(transparent)]
    Intraday(#[from] IntradayError),
}

/// Why an order is not in the book.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not admissible.
    #[error(transparent)]
    Book(#[from] BookError),
    /// It is not covered, or not allowed.
    #[error(transparent)]
    Cover(#[from] CoverError),
    /// A regulator does not let it be.
    #[error(transparent)]
    Regulation(#[from] RegulationError),
    /// No order book takes it.
    #[error(transparent)]
    Intraday(#[from] IntradayError),
}

macro_rules! coded_by_its_parts {
    ($($name:ident: $($part:ident)*;)*) => {$(
        impl Coded for $name {
            fn code(&self) -> &'static str {
                match self { $(Self::$part(error) => error.code(),)* }
            }
            fn place(&self) -> String {
                match self { $(Self::$part(error) => error.place(),)* }
            }
            fn help(&self) -> String {
                match self { $(Self::$part(error) => error.help(),)* }
            }
        }
    )*};
}
coded_by_its_parts!(VenueError: Auction Penalty Contract Intraday; Refusal: Book Cover Regulation Intraday;);

/// Why orders are not admitted, and which prices were moved.
type Not = (Vec<Refusal>, Vec<RegulationError>);

/// An interval that is cleared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleared {
    /// The admitted orders.
    pub book: Book,
    /// What came of them.
    pub clearing: Clearing,
    /// Why each other order was refused.
    pub refused: Vec<Refusal>,
    /// Which prices were moved to the bounds that a regulator sets.
    pub moved: Vec<RegulationError>,
    /// Why the mechanism could not clear the book: then nothing is traded, and all that is
    /// metered is settled as imbalance.
    pub failure: Option<AuctionError>,
}

/// An interval that is settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The accounts, penalties included.
    pub settlement: Settlement,
    /// What it has cost those who broke it.
    pub consequences: Consequences,
}

/// A venue.
#[derive(Debug)]
pub struct Venue {
    rules: VenueRules,
    auction: Auction,
    /// What a unit was worth when something was traded last.
    fallback: Option<Price>,
    obligations: Option<Obligations>,
    ahead: Option<Auction>,
    intraday: Option<Intraday>,
    feeder: Option<FeederRules>,
    /// What was traded before real time of intervals that are not settled yet, by stage.
    positions: BTreeMap<(u64, Item), Positions>,
    /// What is settled and can still be corrected.
    archive: Archive,
    /// Whether real time activates balancing energy.
    balances: bool,
    reserve: Option<Auction>,
    /// Where the price of energy lies, where reserve is bought together with it.
    together: Option<KFactor>,
    /// Reserve of intervals that are not settled yet.
    bought: BTreeMap<u64, Bought>,
}

impl Venue {
    /// A venue before its first interval.
    ///
    /// # Errors
    /// [`VenueError`].
    pub fn new(rules: VenueRules) -> Result<Self, VenueError> {
        rules.book.check().map_err(AuctionError::from)?;
        for contract in &rules.contracts {
            contract.check()?;
        }
        let obligations = rules.obligations.clone();
        let obligations = obligations
            .map(|obligations| Obligations::new(obligations, rules.parity))
            .transpose()?;
        Ok(Self {
            auction: Auction::by_name(&rules.mechanism, rules.indivisible.clone())?,
            ahead: (rules.ahead.as_ref())
                .map(|stage| ahead::auction(stage, rules.indivisible.clone()))
                .transpose()?,
            intraday: (rules.intraday.as_ref())
                .map(|_| Intraday::new(&rules.book))
                .transpose()?,
            reserve: (rules.reserve.as_ref())
                .map(|_| reserve::auction())
                .transpose()?,
            together: together::rule(&rules)?,
            bought: BTreeMap::new(),
            balances: false,
            feeder: None,
            rules,
            fallback: None,
            obligations,
            positions: BTreeMap::new(),
            archive: Archive::default(),
        })
    }

    /// What it goes by.
    #[must_use]
    pub fn rules(&self) -> &VenueRules {
        &self.rules
    }

    /// The terms of the interval that is cleared next; `None` without obligations.
    #[must_use]
    pub fn terms(&self) -> Option<Terms> {
        self.obligations.as_ref().map(Obligations::terms)
    }

    /// The most that somebody may order on a side; `None` without bound.
    #[must_use]
    pub fn accepted(&self, agent: &AgentId, side: Side) -> Option<MwhTotal> {
        let capability = self.rules.book.capabilities.as_ref()?.get(agent)?;
        let most = match side {
            Side::Buy => capability.withdraw_max,
            Side::Sell => capability.inject_max,
        };
        Some(match &self.obligations {
            Some(obligations) => obligations.accepted(agent, most),
            None => most,
        })
    }

    /// The part of an order that is accepted, cut where its prices are worst; `None` if none is.
    #[must_use]
    pub fn accepted_part(&self, interval: u64, order: Order) -> Option<Order> {
        match self.accepted_in(interval, &order.agent, order.side) {
            Some(most) => order.at_most(most),
            None => Some(order),
        }
    }

    /// Whether a regulator lets somebody order for an interval.
    ///
    /// # Errors
    /// Why not.
    pub fn lets(&self, agent: &AgentId, interval: &Interval) -> Result<(), RegulationError> {
        match &self.rules.regulation {
            Some(regulation) => regulation.admits(agent, Side::Buy, interval),
            None => Ok(()),
        }
    }

    /// The order with prices that leave room for what is owed beside them: what it pays in all is no
    /// more than it said, what it keeps no less. A bid at the cap is one at any price and stays.
    #[must_use]
    pub fn net_of_levies(&self, mut order: Order) -> Option<Order> {
        let Some(regulation) = &self.rules.regulation else {
            return Some(order);
        };
        let book = &self.rules.book;
        let owed = regulation.owed(order.side).0;
        order.steps.retain_mut(|step| {
            let net = match order.side {
                Side::Buy if step.price >= book.cap => Some(step.price),
                Side::Buy => book.bid_at(Price(step.price.0.saturating_sub(owed))),
                Side::Sell => book.offer_at(Price(step.price.0.saturating_add(owed))),
            };
            step.price = net.unwrap_or(step.price);
            net.is_some()
        });
        regulation::merge_equal_prices(&mut order);
        (!order.steps.is_empty()).then_some(order)
    }

    /// Whether orders would all be admitted as things stand now.
    ///
    /// # Errors
    /// [`Refusal`], the first one.
    pub fn inspect(&self, interval: Interval, orders: Vec<Order>) -> Result<(), Refusal> {
        let rules = &self.rules;
        let (orders, refused, _) = self.regulated(&interval, orders);
        if let Some(why) = refused.into_iter().next() {
            return Err(why.into());
        }
        let (_, refused) = Book::admit(interval, &self.book_of(&interval), orders.clone())?;
        if let Some(why) = refused.into_iter().next() {
            return Err(why.into());
        }
        let screened = self.obligations.as_ref();
        let uncovered = screened.map(|it| it.screen(orders, &rules.book).1);
        match uncovered.into_iter().flatten().next() {
            Some(why) => Err(why.into()),
            None => Ok(()),
        }
    }

    /// What a unit is worth where an interval does not say: what it was worth when something was
    /// traded last, else the middle between what the utility charges and what it pays.
    fn fallback(&self) -> Price {
        let Parity { import, export } = self.rules.parity;
        // The mean of two 64-bit numbers is one.
        let middle = (i128::from(import.0) + i128::from(export.0)).div_euclid(2);
        self.fallback.unwrap_or(Price(middle as i64))
    }

    /// Clears an interval. It counts once it is [taken](Self::take).
    ///
    /// # Errors
    /// [`BookError::Rules`] when no book can be kept.
    pub fn clear(&self, interval: Interval, orders: Vec<Order>) -> Result<Cleared, BookError> {
        self.clear_within(interval, orders, &feeder::Limits::new())
    }

    /// Clears an interval on a feeder whose lines carry no more than these limits.
    ///
    /// # Errors
    /// As [`Venue::clear`].
    pub fn clear_within(
        &self,
        interval: Interval,
        orders: Vec<Order>,
        limits: &feeder::Limits,
    ) -> Result<Cleared, BookError> {
        let rules = &self.rules;
        let (book, (refused, moved)) = self.admitted(interval, orders)?;
        if self.balances {
            let (clearing, failure) = match balancing::clear(&book) {
                Ok(clearing) => (clearing, None),
                Err(failure) => (nothing(&book, balancing::NAME.to_owned()), Some(failure)),
            };
            return Ok(Cleared {
                book,
                clearing,
                refused,
                moved,
                failure,
            });
        }
        let Some(feeder) = &self.feeder else {
            return Ok(self.cleared(&self.auction, &rules.mechanism, book, (refused, moved)));
        };
        let (clearing, failure) = match feeder.clear(&book, limits) {
            Ok(clearing) => (clearing, None),
            Err(failure) => (nothing(&book, feeder::NAME.to_owned()), Some(failure)),
        };
        Ok(Cleared {
            book,
            clearing,
            refused,
            moved,
            failure,
        })
    }

    /// The book of an interval in real time, and what was not admitted or moved.
    fn admitted(&self, interval: Interval, orders: Vec<Order>) -> Result<(Book, Not), BookError> {
        // Whatever balances the bus is nobody's to regulate or to cover.
        let (pool, orders): (Vec<Order>, Vec<Order>) = (orders.into_iter())
            .partition(|order| self.balances && order.agent.as_str() == balancing::POOL);
        let (orders, not, moved) = self.regulated(&interval, orders);
        let mut refused: Vec<Refusal> = not.into_iter().map(Refusal::from).collect();
        let (mut orders, uncovered) = self.screened(orders);
        refused.extend(uncovered);
        orders.extend(pool);
        let (book, not) = Book::admit(interval, &self.book_of(&interval), orders)?;
        refused.extend(not.into_iter().map(Refusal::from));
        Ok((book, (refused, moved)))
    }

    /// The orders that a regulator lets be, why others are not, and which prices were moved.
    fn regulated(
        &self,
        interval: &Interval,
        orders: Vec<Order>,
    ) -> (Vec<Order>, Vec<RegulationError>, Vec<RegulationError>) {
        let rules = &self.rules;
        match &rules.regulation {
            None => (orders, Vec::new(), Vec::new()),
            Some(regulation) => regulation.screen(orders, &rules.utility, interval, &rules.book),
        }
    }

    /// The orders that are covered, and why each other is not.
    fn screened(&self, orders: Vec<Order>) -> (Vec<Order>, Vec<Refusal>) {
        match &self.obligations {
            None => (orders, Vec::new()),
            Some(obligations) => {
                let (orders, not) = obligations.screen(orders, &self.rules.book);
                (orders, not.into_iter().map(Refusal::from).collect())
            }
        }
    }

    /// The prices between which real time may end.
    fn worst(&self) -> [Price; 2] {
        [self.rules.book.floor, self.rules.book.cap]
    }

    /// Clears the day-ahead [product](ahead::product) of an interval; `None` without that stage.
    ///
    /// # Errors
    /// [`BookError::Rules`] when no book can be kept.
    pub fn clear_ahead(
        &self,
        product: Interval,
        orders: Vec<Order>,
    ) -> Result<Option<Cleared>, BookError> {
        let Some((auction, rules)) = self.ahead.as_ref().zip(self.rules.ahead.as_ref()) else {
            return Ok(None);
        };
        let (orders, ineligible, moved) = self.regulated(&product, orders);
        let mut refused: Vec<Refusal> = ineligible.into_iter().map(Refusal::from).collect();
        let (orders, uncovered) = self.screened(orders);
        refused.extend(uncovered);
        let (book, not) = Book::admit(product, &self.rules.book, orders)?;
        refused.extend(not.into_iter().map(Refusal::from));
        Ok(Some(self.cleared(
            auction,
            &rules.mechanism,
            book,
            (refused, moved),
        )))
    }

    fn cleared(
        &self,
        auction: &Auction,
        mechanism: &str,
        book: Book,
        (refused, moved): Not,
    ) -> Cleared {
        let cleared = auction.clear(&book, &self.rules.utility, self.rules.parity);
        let (clearing, failure) = match cleared {
            Ok(clearing) => (clearing, None),
            Err(failure) => (nothing(&book, mechanism.to_owned()), Some(failure)),
        };
        Cleared {
            book,
            clearing,
            refused,
            moved,
            failure,
        }
    }

    /// Takes what was traded ahead of an interval.
    pub fn take_ahead(&mut self, clearing: &Clearing) {
        let (index, _) = ahead::interval_of(clearing.interval.index);
        let traded = Positions::of_clearing(clearing);
        let worst = self.worst();
        if let Some(obligations) = &mut self.obligations {
            obligations.hold_before(index, Item::Ahead, &traded, &worst);
        }
        self.positions.insert((index, Item::Ahead), traded);
    }

    /// What is traded of an interval before real time, by stage.
    fn positions_of(&self, interval: u64) -> impl Iterator<Item = (Item, &Positions)> {
        let stages = self.positions.range((interval, Item::Energy)..);
        stages
            .take_while(move |((other, _), _)| *other == interval)
            .map(|((_, item), traded)| (*item, traded))
    }

    /// What is delivered by contract in an interval, in the order of the contracts.
    #[must_use]
    pub fn contracted(&self, interval: u64) -> Vec<Deal> {
        let contracts = self.rules.contracts.iter();
        contracts.filter_map(|one| one.deal(interval)).collect()
    }

    /// What one has of an interval before real time, injection positive.
    #[must_use]
    pub fn position_before(&self, interval: u64, agent: &AgentId) -> MwhTotal {
        let mut position = MwhTotal(0);
        for deal in self.contracted(interval) {
            for (party, sign) in [(&deal.buyer, -1), (&deal.seller, 1)] {
                if party == agent {
                    position += MwhTotal(sign * i128::from(deal.energy.0));
                }
            }
        }
        for item in [Item::Ahead, Item::Intraday] {
            if let Some(positions) = self.positions.get(&(interval, item)) {
                position += positions.injected(agent);
            }
        }
        position
    }

    /// Whether an order may be entered into the book of an interval within the day now.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn inspect_intraday(&self, interval: Interval, order: &Order) -> Result<(), Refusal> {
        self.admissible_intraday(interval, order.clone()).map(drop)
    }

    /// The order that would be entered: a regulator may have moved its prices.
    fn admissible_intraday(&self, interval: Interval, order: Order) -> Result<Order, Refusal> {
        let (mut kept, mut refused, _) = self.regulated(&interval, vec![order]);
        if let Some(why) = refused.pop() {
            return Err(why.into());
        }
        // What is not refused is kept.
        let order = kept.pop().ok_or(IntradayError::NoStage)?;
        let stage = self.intraday.as_ref().ok_or(IntradayError::NoStage)?;
        let capability = self.rules.book.capabilities.as_ref().map(|_| {
            let most = |side| self.accepted(&order.agent, side).unwrap_or_default();
            Capability {
                inject_max: most(Side::Sell),
                withdraw_max: most(Side::Buy),
            }
        });
        let position = self.position_before(interval.index, &order.agent);
        stage.inspect(interval, &order, position, capability)?;
        let screened = self.obligations.as_ref();
        let uncovered = screened.map(|obligations| {
            let book = BookRules {
                capabilities: None,
                ..self.rules.book.clone()
            };
            let key = (interval.index, &order.agent, order.side);
            obligations.screen_instead(order.clone(), key, &book)
        });
        match uncovered.flatten() {
            Some(why) => Err(why.into()),
            None => Ok(order),
        }
    }

    /// Enters an order into the book of an interval within the day, in place of the one of its side;
    /// what is traded counts at once.
    ///
    /// # Errors
    /// [`Refusal`]; then nothing has changed.
    pub fn enter_intraday(&mut self, interval: Interval, order: Order) -> Result<Entered, Refusal> {
        let order = self.admissible_intraday(interval, order)?;
        let stage = self.intraday.as_mut().ok_or(IntradayError::NoStage)?;
        let entered = stage.enter(interval.index, &order)?;
        let key = (interval.index, Item::Intraday);
        for execution in &entered.executions {
            self.positions.entry(key).or_default().take(&execution.deal);
        }
        let worst = self.worst();
        if let Some(obligations) = &mut self.obligations {
            let rests = (entered.rests.0 > 0).then_some(&order);
            let of = (&order.agent, order.side);
            obligations.hold_resting(interval.index, of, rests, &self.rules.book);
            if let Some(traded) = self.positions.get(&key) {
                obligations.hold_before(interval.index, Item::Intraday, traded, &worst);
            }
        }
        Ok(entered)
    }

    /// Takes an order out of the book of an interval within the day; what was left of it.
    pub fn withdraw_intraday(&mut self, interval: u64, agent: &AgentId, side: Side) -> MwhTotal {
        if let Some(obligations) = &mut self.obligations {
            obligations.hold_resting(interval, (agent, side), None, &self.rules.book);
        }
        let stage = self.intraday.as_mut();
        stage.map_or(MwhTotal(0), |stage| stage.withdraw(interval, agent, side))
    }

    /// Whether an order may rest in the book of an interval within the day.
    #[must_use]
    pub fn rests_intraday(&self, interval: u64, agent: &AgentId, side: Side) -> bool {
        let stage = self.intraday.as_ref();
        stage.is_some_and(|stage| stage.rests(interval, agent, side))
    }

    /// The best bid and the best offer for an interval within the day.
    #[must_use]
    pub fn best_intraday(&self, interval: u64) -> (Option<Price>, Option<Price>) {
        let stage = self.intraday.as_ref();
        stage.map_or((None, None), |stage| stage.best(interval))
    }

    /// Takes a clearing as the newest that is known.
    pub fn take(&mut self, clearing: &Clearing) {
        self.fallback = clearing.reference().or(self.fallback);
        let index = clearing.interval.index;
        if let Some(stage) = &mut self.intraday {
            stage.close(index);
        }
        for deal in self.contracted(index) {
            let positions = self.positions.entry((index, Item::Contract));
            positions.or_default().take(&deal);
        }
        let price = clearing.reference().unwrap_or(self.fallback());
        let price = self.settled_against(clearing, price);
        let mut owed = clearing.clone();
        if self.balances {
            // What stands can be missed as well as what is activated; what is paid for it is held below.
            let standing = self.standing_trades(clearing).fills.into_iter();
            owed.fills.extend(standing.map(|fill| Fill {
                payment: Money(0),
                ..fill
            }));
        }
        if let Some(obligations) = &mut self.obligations {
            obligations.hold(&owed, &self.rules.book);
            obligations.end_resting(index);
            // The price of real time is known by now.
            let stages = self.positions.range((index, Item::Energy)..);
            for ((_, item), traded) in stages.take_while(|((other, _), _)| *other == index) {
                obligations.hold_before(index, *item, traded, &[price]);
            }
        }
    }

    /// Settles an interval by its meters; `coupling` is that of the utility grid, if there is one,
    /// and nobody has broken anything if it `is_excused`.
    ///
    /// # Errors
    /// [`SettlementError`]; then nothing has changed.
    pub fn settle(
        &mut self,
        clearing: &Clearing,
        mut readings: BTreeMap<AgentId, Reading>,
        coupling: Option<Reading>,
        is_excused: bool,
    ) -> Result<Settled, SettlementError> {
        let fallback = self.fallback();
        let pool = AgentId::from(balancing::POOL);
        if self.balances && clearing.fills.iter().any(|fill| fill.agent == pool) {
            readings.insert(pool, Reading::Valid { energy: Mwh(0) });
        }
        let rules = &self.rules;
        let bought = self
            .bought
            .get(&clearing.interval.index)
            .cloned()
            .unwrap_or_default();
        let coupling = coupling.map(|reading| CouplingMeter {
            utility: rules.utility.clone(),
            reading,
            parity: rules.parity,
        });
        let basis = Basis {
            readings,
            coupling,
            fallback_price: Some(fallback),
            instructed: match self.balances {
                // No rig has both.
                true => self.standing_positions(clearing.interval.index),
                false => bought.instructed(&rules.utility),
            },
        };
        let mut settlement = settle(clearing, &basis)?;
        self.earmark(clearing, &mut settlement);
        let index = clearing.interval.index;
        let levied = match &self.rules.regulation {
            Some(rules) => rules.lines(index, &regulation::energies(clearing, &basis))?,
            None => Vec::new(),
        };
        let price = clearing.reference().unwrap_or(fallback);
        let price = self.settled_against(clearing, price);
        for (item, traded) in self.positions_of(index) {
            settlement.lines.extend(traded.lines(index, item, price)?);
        }
        if let Some(rules) = &self.rules.reserve {
            settlement
                .lines
                .extend(bought.lines(rules, &self.rules.utility));
        }
        // By what a unit was traded that somebody may have missed.
        let standing = self.balances.then(|| self.standing_trades(clearing));
        let standing = standing.filter(|standing| !standing.fills.is_empty());
        let traded = standing.as_ref().unwrap_or(clearing);
        let left_out = self.left_out(clearing);
        let is_free = |agent: &AgentId| is_excused || left_out.contains(agent);
        // What was never settled is not any more.
        self.bought.retain(|other, _| *other > index);
        self.positions.retain(|(other, _), _| *other > index);
        let owed = self.obligations.as_ref().filter(|_| !is_excused);
        let owed = owed.and_then(|obligations| obligations.owed(index));
        let (penalty, mut bound) = owed.map_or((None, Vec::new()), |(p, bound)| (Some(p), bound));
        bound.retain(|agent| !is_free(agent));
        let consequences = match &mut self.obligations {
            None => Consequences::default(),
            Some(obligations) => {
                let of = (clearing, traded);
                obligations.close(of, &basis, &is_free, rules.parity, &mut settlement)
            }
        };
        settlement.lines.extend(levied);
        self.archive.keep(Kept {
            clearing: clearing.clone(),
            basis,
            is_excused,
            penalty,
            bound,
        });
        Ok(Settled {
            settlement,
            consequences,
        })
    }

    /// The interval of this number, and whether it is excused, if it is settled and can still be
    /// corrected.
    #[must_use]
    pub fn correctable(&self, interval: u64) -> Option<(Interval, bool)> {
        self.archive.interval(interval)
    }

    /// Settles an interval again by a reading that has come late; the lines are what it changes.
    ///
    /// # Errors
    /// [`CorrectionError`]; then nothing has changed.
    pub fn correct(
        &mut self,
        interval: u64,
        agent: &AgentId,
        reading: Reading,
    ) -> Result<Settlement, CorrectionError> {
        let settlement =
            self.archive
                .correct((interval, agent), reading, self.rules.regulation.as_ref())?;
        if let Some(obligations) = &mut self.obligations {
            obligations.book(&settlement.lines);
        }
        Ok(settlement)
    }
}

#[cfg(test)]
mod tests;
