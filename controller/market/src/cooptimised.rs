//! Energy and reserve of an interval cleared together: three books in one program.
//!
//! Theory. Energy, readiness upwards and readiness downwards have a book each, and each book balances. What
//! joins them is room: what somebody sells of energy and is ready for upwards is no more than it can inject,
//! what it buys and is ready for downwards no more than it can withdraw. The program takes the allocation of
//! the greatest welfare in all three. Its matrix is that of a network, so its corners are whole numbers.
//!
//! **Prices.** The price of energy lies in the interval of those that support the allocation, where the `k` of
//! the uniform price says; that of readiness is the lowest that supports it beside that price of energy. So
//! readiness costs what its last provider asks and what it loses by not trading energy. Nobody would rather
//! have traded something else at these prices.
//!
//! So the prices are found first, each where its book balances by merit, by bisection in whole numbers. They
//! settle every step but those that neither gain nor lose; what these trade is the small program that is left.
//!
//! **Certificate.** What everybody trades is the primal solution; the three prices, and what room is worth to
//! each who has too little of it, are the dual one, all in whole numbers. The name of the mechanism in the
//! record of energy tells the latter ([`Dual`]), the fills of the three records the former, so the records of
//! a clearing prove it: [`Books::check`] solves nothing. What single steps gain follows from the prices.
//!
//! Not responsible for which orders are admitted. Equals share what there is as in any auction if they trade
//! energy alone; of providers at one price the solver takes one, always the same.

mod prices;
mod rest;

use std::collections::BTreeMap;
use std::fmt;

use crate::book::Book;
use crate::clearing::{Clearing, Fill, worth};
use crate::crossing::best;
use crate::lp::{Bound, Certificate, Flaw, LpError, Program, Row};
use crate::mechanism::KFactor;
use crate::order::{AgentId, Order, Side};
use crate::quantity::{Money, Mwh, MwhTotal, Price};
use crate::reserve::ReserveError;

/// Name of the mechanism.
pub const NAME: &str = "co_optimised";

/// Most steps that may neither gain nor lose at the prices, beside those that trade energy alone.
/// Chosen: 100, whose program takes a quarter of a second in a build without optimisation; 200 take 2.4 s.
pub const EVEN_MAX: usize = 100;

/// Most providers whose steps can never be too many: of each one is even on each side of energy and of readiness,
/// beside the two sides of those that trade energy alone and what the utility needs of either readiness.
pub const PROVIDERS_MAX: usize = (EVEN_MAX - 4) / 4;

/// Books of an interval.
const STAGES: usize = 3;

/// What each book trades, in words.
const TRADED: [&str; STAGES] = ["energy", "readiness upwards", "readiness downwards"];

/// The books of an interval that are cleared together.
#[derive(Debug, Clone)]
pub struct Books {
    /// Energy; its rules say what everybody can do.
    pub energy: Book,
    /// Readiness upwards: who needs it buys, who offers it sells.
    pub up: Book,
    /// Readiness downwards.
    pub down: Book,
}

/// What everybody trades, by book: energy, upwards, downwards.
pub type Traded = [BTreeMap<(AgentId, Side), Mwh>; STAGES];

/// The prices that prove a clearing: of each book, and what room is worth to whom.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dual {
    /// Price of energy, of readiness upwards, of readiness downwards.
    pub prices: [Price; STAGES],
    /// What one more unit of room to inject and to withdraw would be worth, of those to whom it would be.
    pub rooms: BTreeMap<AgentId, [Price; 2]>,
}

impl fmt::Display for Dual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [energy, up, down] = self.prices.map(|price| price.0);
        write!(f, "{NAME}:{energy}/{up}/{down}")?;
        for (index, (agent, [inject, withdraw])) in self.rooms.iter().enumerate() {
            let before = if index == 0 { ':' } else { ',' };
            write!(f, "{before}{agent}={}/{}", inject.0, withdraw.0)?;
        }
        Ok(())
    }
}

impl Dual {
    /// What the name of a mechanism tells; `None` when it is not of this mechanism. Whatever `agents` are called,
    /// each is read once, in their order.
    #[must_use]
    pub fn read<'a>(name: &str, agents: impl Iterator<Item = &'a AgentId>) -> Option<Self> {
        let rest = name.strip_prefix(NAME)?.strip_prefix(':')?;
        let (prices, mut rest) = match rest.split_once(':') {
            Some((prices, rooms)) => (prices, Some(rooms)),
            None => (rest, None),
        };
        let price = |text: &str| Some(Price(text.parse().ok()?));
        let prices: Vec<Price> = prices.split('/').map(price).collect::<Option<_>>()?;
        let mut rooms = BTreeMap::new();
        for agent in agents {
            let own = rest.and_then(|rest| rest.strip_prefix(agent.as_str())?.strip_prefix('='));
            let Some(own) = own else { continue };
            let (room, more) = match own.split_once(',') {
                Some((room, more)) => (room, Some(more)),
                None => (own, None),
            };
            let (inject, withdraw) = room.split_once('/')?;
            rooms.insert(agent.clone(), [price(inject)?, price(withdraw)?]);
            rest = more;
        }
        let dual = Self {
            prices: prices.try_into().ok()?,
            rooms,
        };
        // One way to say it, so that a record has no room for anything else.
        (dual.to_string() == name).then_some(dual)
    }
}

/// What comes of the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleared {
    /// Energy; the name of its mechanism holds the [`Dual`].
    pub energy: Clearing,
    /// Readiness upwards.
    pub up: Clearing,
    /// Readiness downwards.
    pub down: Clearing,
    /// The proof.
    pub dual: Dual,
}

/// One step of an order as a column of the program.
struct Column<'a> {
    stage: usize,
    order: &'a Order,
    price: i128,
    most: i128,
    /// The row of the room that it takes.
    room: Option<usize>,
}

impl Column<'_> {
    /// What two units gain at a doubled price of their book.
    fn twice_margin(&self, twice: i128) -> i128 {
        match self.order.side {
            Side::Sell => twice - 2 * self.price,
            Side::Buy => 2 * self.price - twice,
        }
    }

    /// What a unit gains at a price of its book.
    fn margin(&self, price: i128) -> i128 {
        match self.order.side {
            Side::Sell => price - self.price,
            Side::Buy => self.price - price,
        }
    }
}

/// What somebody has too little of, perhaps.
struct Room<'a> {
    agent: &'a AgentId,
    /// `Sell` is room to inject.
    side: Side,
    most: i128,
    /// Its columns of energy.
    energy: Vec<usize>,
}

/// The program of three books.
struct Layout<'a> {
    books: [&'a Book; STAGES],
    columns: Vec<Column<'a>>,
    rooms: Vec<Room<'a>>,
    /// Where each room is.
    places: BTreeMap<(&'a AgentId, Side), usize>,
    program: Program,
}

/// The direction of energy that readiness of a book takes the room of.
fn direction(stage: usize) -> Side {
    if stage == 1 { Side::Sell } else { Side::Buy }
}

fn proves_nothing(what: String) -> ReserveError {
    LpError::Certificate(what).into()
}

fn fraction() -> ReserveError {
    proves_nothing("what is traded is no whole number".into())
}

fn narrow(price: i128) -> Result<Price, LpError> {
    i64::try_from(price)
        .map(Price)
        .map_err(|_| LpError::Overflow)
}

impl Books {
    /// What comes of them at a `k` of the price of energy.
    ///
    /// # Errors
    /// [`ReserveError::TooManyEven`] and [`ReserveError::Program`].
    pub fn clear(&self, k: KFactor) -> Result<Cleared, ReserveError> {
        let layout = self.layout();
        let (low, high) = layout.supporting();
        let energy = k.price(low, high);
        let mut dual = Dual {
            prices: [energy; STAGES],
            ..Dual::default()
        };
        for stage in [1, 2] {
            dual.prices[stage] = narrow(layout.readiness(stage, energy))?;
        }
        for (index, room) in layout.rooms.iter().enumerate() {
            let worth = narrow(layout.room(index, &dual.prices))?;
            if worth != Price(0) {
                let own = dual.rooms.entry(room.agent.clone()).or_default();
                own[usize::from(room.side == Side::Buy)] = worth;
            }
        }
        let traded = layout.traded(&dual)?;
        layout.prove(&layout.certificate(traded.clone(), &dual))?;
        let [mut energy, up, down] = layout.clearings(&traded, &dual);
        energy.competitive = energy.price.map(|_| (low, high));
        Ok(Cleared {
            energy,
            up,
            down,
            dual,
        })
    }

    /// Whether records prove themselves: that these trades and the prices that the mechanism of energy is named
    /// with are the best that could come of these books.
    ///
    /// # Errors
    /// What does not hold, and of whom, as [`ReserveError::Program`].
    pub fn check(&self, traded: &Traded, mechanism: &str) -> Result<(), ReserveError> {
        let layout = self.layout();
        let agents: std::collections::BTreeSet<&AgentId> =
            layout.rooms.iter().map(|room| room.agent).collect();
        let dual = Dual::read(mechanism, agents.into_iter());
        let dual = dual.ok_or_else(|| {
            proves_nothing(format!("`{mechanism}` tells no prices of its limits"))
        })?;
        let mut left = traded.clone();
        let columns = layout.columns.iter().map(|column| {
            let own = (column.order.agent.clone(), column.order.side);
            // Of one order the better step is served first.
            let rest = left[column.stage].entry(own).or_default();
            let part = i128::from(rest.0).min(column.most);
            // No more than it was.
            rest.0 -= part as i64;
            part
        });
        let columns: Vec<i128> = columns.collect();
        for (stage, left) in left.iter().enumerate() {
            if let Some(((agent, side), _)) = left.iter().find(|(_, rest)| rest.0 != 0) {
                let what = TRADED[stage];
                let why = format!("the {side} of `{agent}` trades more {what} than it has ordered");
                return Err(proves_nothing(why));
            }
        }
        layout.prove(&layout.certificate(columns, &dual))
    }

    fn layout(&self) -> Layout<'_> {
        let books = [&self.energy, &self.up, &self.down];
        let capabilities = self.energy.rules().capabilities.as_ref();
        let mut rooms = Vec::new();
        for stage in [1, 2] {
            let side = direction(stage);
            let offers = books[stage].orders().iter();
            for offer in offers.filter(|order| order.side == Side::Sell) {
                let can = capabilities.and_then(|all| all.get(&offer.agent));
                let most = can.map(|can| match side {
                    Side::Sell => can.inject_max.0,
                    Side::Buy => can.withdraw_max.0,
                });
                let agent = &offer.agent;
                rooms.extend(most.map(|most| Room {
                    agent,
                    side,
                    most,
                    energy: Vec::new(),
                }));
            }
        }
        let places: BTreeMap<(&AgentId, Side), usize> = (rooms.iter().enumerate())
            .map(|(index, room): (usize, &Room<'_>)| ((room.agent, room.side), index))
            .collect();
        let room_of = |agent, side| places.get(&(agent, side)).copied();
        let mut columns = Vec::new();
        for (stage, book) in books.into_iter().enumerate() {
            for order in book.orders() {
                let room = match (stage, order.side) {
                    (0, side) => room_of(&order.agent, side),
                    (stage, Side::Sell) => room_of(&order.agent, direction(stage)),
                    (_, Side::Buy) => None,
                };
                columns.extend(order.steps.iter().map(|step| Column {
                    stage,
                    order,
                    price: step.price.0.into(),
                    most: step.quantity.0.into(),
                    room,
                }));
            }
        }
        for (index, column) in columns.iter().enumerate() {
            if let (0, Some(room)) = (column.stage, column.room) {
                rooms[room].energy.push(index);
            }
        }
        let program = program(&columns, &rooms);
        Layout {
            books,
            columns,
            rooms,
            places,
            program,
        }
    }
}

/// Rows: the balance of each book, the rooms, and how much each step has.
fn program(columns: &[Column<'_>], rooms: &[Room<'_>]) -> Program {
    let sign = |column: &Column<'_>| column.order.side.injection_sign();
    let costs = columns.iter();
    let costs = costs.map(|column| column.price * i128::from(sign(column)));
    let numbered = || columns.iter().enumerate();
    let mut rows = Vec::with_capacity(STAGES + rooms.len() + columns.len());
    for stage in 0..STAGES {
        let own = numbered().filter(|(_, column)| column.stage == stage);
        rows.push(Row {
            terms: own.map(|(index, column)| (index, sign(column))).collect(),
            bound: Bound::Exact,
            limit: 0,
        });
    }
    for (index, room) in rooms.iter().enumerate() {
        let own = numbered().filter(|(_, column)| column.room == Some(index));
        rows.push(Row {
            terms: own.map(|(index, _)| (index, 1)).collect(),
            bound: Bound::Most,
            limit: room.most,
        });
    }
    rows.extend(numbered().map(|(index, column)| Row {
        terms: vec![(index, 1)],
        bound: Bound::Most,
        limit: column.most,
    }));
    Program {
        costs: costs.collect(),
        rows,
    }
}

impl Layout<'_> {
    /// What one more unit of a room is worth at these prices.
    fn room(&self, room: usize, prices: &[Price; STAGES]) -> i128 {
        let own = self.columns.iter().filter(|it| it.room == Some(room));
        let gains = own.map(|it| (it.margin(prices[it.stage].0.into()), it.most));
        let mut gains: Vec<(i128, i128)> = gains.filter(|(gain, _)| *gain > 0).collect();
        gains.sort_unstable_by(|a, b| b.cmp(a));
        let mut left = self.rooms[room].most;
        let beyond = gains.into_iter().find(|(_, most)| {
            left -= most;
            left < 0
        });
        beyond.map_or(0, |(gain, _)| gain)
    }

    /// What a unit of a column gains beside the room that it takes, by the prices of a certificate.
    fn gain(&self, column: &Column<'_>, prices: &[i128]) -> i128 {
        let room = column.room.map_or(0, |room| prices[STAGES + room]);
        column.margin(prices[column.stage]) + room
    }

    /// The certificate of an allocation and its prices.
    fn certificate(&self, columns: Vec<i128>, dual: &Dual) -> Certificate {
        let mut prices: Vec<i128> = dual.prices.iter().map(|price| price.0.into()).collect();
        let rooms = self.rooms.iter().map(|room| {
            let own = dual.rooms.get(room.agent).copied().unwrap_or_default();
            // A limit from above costs at most nothing.
            -i128::from(own[usize::from(room.side == Side::Buy)].0)
        });
        prices.extend(rooms);
        let gains = self.columns.iter();
        let gains = gains.map(|column| -self.gain(column, &prices).max(0));
        let gains: Vec<i128> = gains.collect();
        prices.extend(gains);
        Certificate {
            whole: 1,
            columns,
            prices,
        }
    }

    /// Whether a certificate is one; of what does not hold it tells whose it is.
    fn prove(&self, certificate: &Certificate) -> Result<(), ReserveError> {
        let step = |index: usize| {
            let Column { stage, order, .. } = &self.columns[index];
            format!(
                "the {} of `{}` for {}",
                order.side, order.agent, TRADED[*stage]
            )
        };
        let why = match self.program.flaw(certificate)? {
            None => return Ok(()),
            Some(Flaw::Negative(column)) => format!("{} trades less than nothing", step(column)),
            Some(Flaw::Worth(column)) => format!("{} would rather trade more", step(column)),
            Some(Flaw::Row(row)) if row < STAGES => {
                format!("what is sold of {} is not what is bought", TRADED[row])
            }
            Some(Flaw::Row(row)) => match self.rooms.get(row - STAGES) {
                Some(room) => format!(
                    "the {} of `{}` and what it is ready for do not fit into its room, or room has a negative worth",
                    room.side, room.agent
                ),
                None => format!(
                    "{} trades more than ordered",
                    step(row - STAGES - self.rooms.len())
                ),
            },
            Some(Flaw::Gap { cost, worth }) => match self.slack(certificate) {
                Some((column, gain)) if gain > 0 => {
                    format!("{} would rather trade more", step(column))
                }
                Some((column, _)) => format!("{} would rather trade less", step(column)),
                None => format!("it costs {cost} and its limits are worth {worth}"),
            },
            Some(flaw @ Flaw::Shape) => flaw.to_string(),
        };
        Err(proves_nothing(why))
    }

    /// A column that is traded at a loss, or with a gain and not in full, and what a unit of it gains.
    fn slack(&self, certificate: &Certificate) -> Option<(usize, i128)> {
        let columns = self.columns.iter().enumerate();
        let gains = columns.map(|(index, column)| {
            let gain = self.gain(column, &certificate.prices);
            (index, column, gain)
        });
        let mut odd = gains.filter(|(index, column, gain)| {
            let units = certificate.columns[*index];
            (*gain < 0 && units > 0) || (*gain > 0 && units < column.most)
        });
        odd.next().map(|(index, _, gain)| (index, gain))
    }

    /// The three clearings that an allocation and its prices are.
    fn clearings(&self, traded: &[i128], dual: &Dual) -> [Clearing; STAGES] {
        [0, 1, 2].map(|stage| {
            let (book, price) = (self.books[stage], dual.prices[stage]);
            let served = self.columns.iter().zip(traded);
            let mut served = served.filter(|(column, _)| column.stage == stage);
            let (mut fills, mut welfare, mut quantity) = (Vec::new(), Money(0), MwhTotal(0));
            for order in book.orders() {
                let steps = served.by_ref().take(order.steps.len());
                let units: i128 = steps.map(|(_, units)| units).sum();
                // An admitted order adds up to 64 bits at most, and so does its share.
                let energy = Mwh(i64::try_from(units).unwrap_or(i64::MAX));
                if energy.0 == 0 {
                    continue;
                }
                let (amount, value) = (price * energy, worth(order, energy));
                let (payment, gain) = match order.side {
                    Side::Buy => (amount, value),
                    Side::Sell => (-amount, -value),
                };
                welfare += gain;
                if order.side == Side::Buy {
                    quantity += energy.into();
                }
                fills.push(Fill {
                    agent: order.agent.clone(),
                    side: order.side,
                    quantity: energy,
                    payment,
                });
            }
            Clearing {
                interval: book.interval(),
                mechanism: match stage {
                    0 => dual.to_string(),
                    _ => NAME.to_owned(),
                },
                quantity,
                price: (!fills.is_empty()).then_some(price),
                competitive: None,
                indicative: best(book),
                fills,
                trades: Vec::new(),
                welfare,
                operator: Money(0),
            }
        })
    }
}

#[cfg(test)]
mod tests;
