//! Reserve and energy of one interval, bought one after the other or together.
//!
//! *One after the other*: the cheapest capacity at the price of the last one needed, and
//! what is reserved no longer counts as capability for energy ([`procure`]).
//!
//! *Together*: the least cost of energy and reserve with what each provider can do, so
//! that the price of reserve holds what its last provider loses by not selling energy
//! ([`cooptimise`]). The program is a flow in a network (a provider's room is split over
//! up-reserve, what is left unused, and energy, of which a part can be taken back as
//! down-reserve), so its corners are whole numbers. The prices come with the certificate
//! of [`crate::lp`], which a replica checks instead of solving again.
//!
//! Not responsible for activation and pay: [`crate::activation`].

use crate::book::Book;
use crate::cooptimised::EVEN_MAX;
use crate::crossing::{allocate, levels};
use crate::fault::Coded;
use crate::lp::{Bound, Certificate, LpError, Program, Row};
use crate::order::{AgentId, Side};
use crate::quantity::{Money, Mwh, MwhTotal, Price};

/// Most providers of one program. Chosen: solved within a second on one core.
pub const PROVIDERS_MAX: usize = 200;

/// What a provider can do and asks for, in the interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Who.
    pub agent: AgentId,
    /// Least and most energy, injection positive.
    pub energy: (Mwh, Mwh),
    /// What its energy costs.
    pub energy_price: Price,
    /// Most it can go up, by ramp and state of charge, not negative.
    pub up_max: Mwh,
    /// What being ready to go up costs.
    pub up_price: Price,
    /// Most it can go down, not negative.
    pub down_max: Mwh,
    /// What being ready to go down costs.
    pub down_price: Price,
}

/// What is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Energy, exactly.
    pub energy: Mwh,
    /// Up-reserve, at least.
    pub up: Mwh,
    /// Down-reserve, at least.
    pub down: Mwh,
}

/// What one provider is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Award {
    /// Who.
    pub agent: AgentId,
    /// Energy.
    pub energy: Mwh,
    /// Ready to go up by.
    pub up: Mwh,
    /// Ready to go down by.
    pub down: Mwh,
}

/// The result of buying together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cooptimised {
    /// By provider, in their order.
    pub awards: Vec<Award>,
    /// Price of energy.
    pub energy_price: Price,
    /// Price of up-reserve.
    pub up_price: Price,
    /// Price of down-reserve.
    pub down_price: Price,
    /// What all of it costs as asked.
    pub cost: Money,
    /// The proof.
    pub certificate: Certificate,
}

/// Why reserve is not bought.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    /// A provider contradicts itself.
    #[error("provider `{agent}`: {reason}")]
    Provider {
        /// Who.
        agent: AgentId,
        /// What is wrong.
        reason: &'static str,
    },
    /// Too many for one program.
    #[error("{found} providers, one program takes {PROVIDERS_MAX}")]
    TooMany {
        /// How many.
        found: usize,
    },
    /// Too many providers at the very price at which it does not matter who trades.
    #[error("{found} steps of providers neither gain nor lose, one program takes {EVEN_MAX}")]
    TooManyEven {
        /// How many.
        found: usize,
    },
    /// Energy and reserve have no price together by this rule.
    #[error("energy and reserve are cleared together at one price, which `{name}` does not make")]
    Mechanism {
        /// The rule.
        name: String,
    },
    /// The offers do not cover the need.
    #[error("{needed} of reserve are needed and {offered} offered")]
    Short {
        /// What is needed.
        needed: MwhTotal,
        /// What is offered.
        offered: MwhTotal,
    },
    /// The program has no solution.
    #[error(transparent)]
    Program(#[from] LpError),
}

impl Coded for ReserveError {
    fn code(&self) -> &'static str {
        match self {
            Self::Provider { .. } => "M144",
            Self::TooMany { .. } | Self::TooManyEven { .. } => "M145",
            Self::Mechanism { .. } => "M147",
            Self::Short { .. } => "M146",
            Self::Program(error) => error.code(),
        }
    }
    fn place(&self) -> String {
        match self {
            Self::Provider { agent, .. } => format!("provider `{agent}`"),
            Self::TooMany { .. } => "providers".into(),
            Self::TooManyEven { .. } => "orders".into(),
            Self::Mechanism { name } => format!("mechanism `{name}`"),
            Self::Short { .. } => "reserve offers".into(),
            Self::Program(error) => error.place(),
        }
    }
    fn help(&self) -> String {
        match self {
            Self::Provider { .. } => {
                "order the energies least <= most, and let no reserve be negative".into()
            }
            Self::TooMany { .. } | Self::TooManyEven { .. } => {
                "buy reserve and energy one after the other".into()
            }
            Self::Mechanism { .. } => {
                "use `uniform_k_half`, or another `uniform_k_<num>_<den>`".into()
            }
            Self::Short { .. } => "need less, or let more be offered".into(),
            Self::Program(error) => error.help(),
        }
    }
}

/// Capacity bought alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Procured {
    /// The price of the last one needed; everybody gets it.
    pub price: Price,
    /// Who is ready for how much.
    pub awards: Vec<(AgentId, Mwh)>,
}

/// The cheapest capacity of the offers of a book, at one price; equals at the margin
/// share. Nothing needed has no price.
///
/// # Errors
/// [`ReserveError::Short`].
pub fn procure(book: &Book, needed: MwhTotal) -> Result<Option<Procured>, ReserveError> {
    if needed.0 <= 0 {
        return Ok(None);
    }
    let mut offered = 0;
    for level in levels(book, Side::Sell) {
        offered += level.total;
        if offered >= needed.0 {
            let shares = allocate(book, Side::Sell, level.price, needed);
            let awards = book.entries(Side::Sell).iter().zip(shares);
            let awards = awards.filter(|(_, share)| *share > 0);
            return Ok(Some(Procured {
                price: level.price,
                awards: awards
                    .map(|(e, share)| (book.orders()[e.order].agent.clone(), Mwh(share)))
                    .collect(),
            }));
        }
    }
    let offered = MwhTotal(offered);
    Err(ReserveError::Short { needed, offered })
}

/// Columns per provider: energy above its least, up, down.
const COLUMNS: usize = 3;

/// The program of providers and need: rows of energy, up and down, then three or four
/// per provider.
///
/// # Errors
/// [`ReserveError::Provider`], [`ReserveError::TooMany`].
pub fn program(providers: &[Provider], need: Need) -> Result<Program, ReserveError> {
    if providers.len() > PROVIDERS_MAX {
        let found = providers.len();
        return Err(ReserveError::TooMany { found });
    }
    let mut program = Program::default();
    let every = |column: usize| (0..providers.len()).map(move |i| (COLUMNS * i + column, 1));
    let least: i128 = providers.iter().map(|p| i128::from(p.energy.0.0)).sum();
    let row = |terms: Vec<(usize, i64)>, bound, limit| Row {
        terms,
        bound,
        limit,
    };
    program.rows.extend([
        row(
            every(0).collect(),
            Bound::Exact,
            i128::from(need.energy.0) - least,
        ),
        row(every(1).collect(), Bound::Least, need.up.0.into()),
        row(every(2).collect(), Bound::Least, need.down.0.into()),
    ]);
    for (index, provider) in providers.iter().enumerate() {
        let refuse = |reason| {
            let agent = provider.agent.clone();
            Err(ReserveError::Provider { agent, reason })
        };
        let (least, most) = (
            i128::from(provider.energy.0.0),
            i128::from(provider.energy.1.0),
        );
        if least > most {
            return refuse("its least energy is above its most");
        }
        if provider.up_max.0 < 0 || provider.down_max.0 < 0 {
            return refuse("a reserve is negative");
        }
        let [energy, up, down] = [0, 1, 2].map(|column| COLUMNS * index + column);
        let prices = [
            provider.energy_price,
            provider.up_price,
            provider.down_price,
        ];
        program
            .costs
            .extend(prices.map(|price| i128::from(price.0)));
        program.rows.extend([
            row(vec![(energy, 1), (up, 1)], Bound::Most, most - least),
            row(vec![(energy, -1), (down, 1)], Bound::Most, 0),
            row(vec![(up, 1)], Bound::Most, provider.up_max.0.into()),
            row(vec![(down, 1)], Bound::Most, provider.down_max.0.into()),
        ]);
    }
    Ok(program)
}

/// Energy and reserve at the least cost of both.
///
/// # Errors
/// [`ReserveError`].
pub fn cooptimise(providers: &[Provider], need: Need) -> Result<Cooptimised, ReserveError> {
    let certificate = program(providers, need)?.solve()?;
    accept(providers, need, certificate)
}

/// The result that a certificate proves, for a replica that was given it.
///
/// # Errors
/// [`ReserveError::Program`] when it proves nothing.
pub fn accept(
    providers: &[Provider],
    need: Need,
    certificate: Certificate,
) -> Result<Cooptimised, ReserveError> {
    program(providers, need)?.verify(&certificate)?;
    let Certificate {
        whole,
        columns,
        prices,
    } = &certificate;
    let fraction = || LpError::Certificate("an energy or a price is no whole number".into());
    let whole_of = |value: i128| -> Result<i64, LpError> {
        let exact = (value % whole == 0)
            .then_some(value / whole)
            .ok_or_else(fraction)?;
        i64::try_from(exact).map_err(|_| LpError::Overflow)
    };
    let mut awards = Vec::with_capacity(providers.len());
    let mut cost = Money(0);
    for (provider, part) in providers.iter().zip(columns.chunks(COLUMNS)) {
        let energy = Mwh(provider.energy.0.0 + whole_of(part[0])?);
        let (up, down) = (Mwh(whole_of(part[1])?), Mwh(whole_of(part[2])?));
        cost += provider.energy_price * energy;
        cost += provider.up_price * up + provider.down_price * down;
        awards.push(Award {
            agent: provider.agent.clone(),
            energy,
            up,
            down,
        });
    }
    Ok(Cooptimised {
        awards,
        energy_price: Price(whole_of(prices[0])?),
        up_price: Price(whole_of(prices[1])?),
        down_price: Price(whole_of(prices[2])?),
        cost,
        certificate,
    })
}

#[cfg(test)]
mod tests;
