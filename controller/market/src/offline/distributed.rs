//! Distributed clearing of participants with quadratic costs: `{"g1": [a, b], …,
//! "d": [a, b]}`, where a generator's marginal cost is `b + a·q` and a load's marginal
//! value is `b − a·q`, `q` in Wh and prices in mc/kWh.
//!
//! Not responsible for how it is found: that is [`crate::mechanism::distributed`].

use serde_json::Value;

use super::out::Out;
use super::{OfflineError, integer, shape};
use crate::mechanism::distributed::admm::{Quadratic, Tolerance, WHOLE, exchange};
use crate::mechanism::distributed::{Respond, bisection};
use crate::quantity::{Price, div_nearest};

/// Weights of which the rounds are told. Chosen: from far too small to too large.
const WEIGHTS: [i128; 4] = [1, 5, 15, 50];

/// The weight of the result. Chosen: near the mean slope, where it is quickest.
const WEIGHT: i128 = 15;

/// Rounds after which an exchange is said not to settle.
const ROUNDS_MAX: u32 = 5_000;

/// Less than a millionth of a watt-hour and of a milli-cent.
const TOLERANCE: Tolerance = Tolerance {
    rest: 680_000,
    change: 850_000,
};

/// Digits that are told of a result; twelve are counted.
const TOLD: i128 = 10_000;

struct Named {
    name: String,
    agent: Quadratic,
}

impl Named {
    /// Of a load what it takes, of a generator what it gives.
    fn told(&self, injection: i128) -> (String, Out) {
        let (key, energy) = match self.name.strip_prefix('g') {
            Some(number) => (format!("q{number}"), injection),
            None => (self.name.clone(), -injection),
        };
        (key, Out::Decimal(div_nearest(energy, WHOLE / TOLD)))
    }
}

impl Respond for Named {
    fn respond(&self, price: Price) -> Option<(i128, i128)> {
        let above = i128::from(price.0) * WHOLE - self.agent.base;
        let wish = above.div_euclid(self.agent.slope);
        let wish = wish.clamp(self.agent.least, self.agent.most);
        Some((wish, wish))
    }
}

fn agents(place: &str, input: &Value) -> Result<Vec<Named>, OfflineError> {
    let rows = input.as_object().ok_or_else(|| shape(place, "an object"))?;
    let mut agents = Vec::new();
    for (name, row) in rows {
        let place = format!("{place}.{name}");
        let pair = row.as_array().map_or(&[][..], Vec::as_slice);
        let ([slope, base], true) = (pair, name.starts_with(['g', 'd'])) else {
            return Err(shape(&place, "a name from `g` or `d` with [a, b]"));
        };
        let (slope, base) = (integer(&place, slope)?, integer(&place, base)?);
        if slope <= 0 {
            return Err(shape(&place, "a slope `a` above zero"));
        }
        // Farther than any price of 64 bits leads.
        let far = WHOLE << 64;
        agents.push(Named {
            agent: Quadratic {
                slope: slope.into(),
                base: i128::from(base) * WHOLE,
                least: if name.starts_with('d') { -far } else { 0 },
                most: if name.starts_with('g') { far } else { 0 },
            },
            name: name.clone(),
        });
    }
    if agents.is_empty() {
        return Err(shape(place, "at least one participant"));
    }
    Ok(agents)
}

/// The price on ticks, by bisection.
pub(super) fn tatonnement(place: &str, input: &Value) -> Result<Out, OfflineError> {
    Ok(Out::Map(by_bisection(&agents(place, input)?)))
}

fn by_bisection(agents: &[Named]) -> Vec<(String, Out)> {
    let bases = || agents.iter().map(|named| named.agent.base / WHOLE);
    // From 64-bit integers; the price of any trade lies between them.
    let (low, high) = (bases().min().unwrap_or(0), bases().max().unwrap_or(0));
    let asked: Vec<&dyn Respond> = agents.iter().map(|named| named as &dyn Respond).collect();
    let found = bisection::search(&asked, Price(low as i64), Price(high as i64), 1);
    vec![
        ("p_tick".into(), Out::Integer(found.interval.0.0.into())),
        (
            "bisection_rounds".into(),
            Out::Integer(found.rounds_low.into()),
        ),
    ]
}

/// The exact price, by exchange.
pub(super) fn admm(place: &str, input: &Value) -> Result<Out, OfflineError> {
    let agents = agents(place, input)?;
    let (mut out, rounds) = by_exchange(&agents);
    out.push(rounds);
    Ok(Out::Map(out))
}

fn by_exchange(agents: &[Named]) -> (Vec<(String, Out)>, (String, Out)) {
    let bare: Vec<Quadratic> = agents.iter().map(|named| named.agent).collect();
    let found = exchange(&bare, WEIGHT, TOLERANCE, ROUNDS_MAX);
    let mut out = vec![(
        "p".into(),
        Out::Decimal(div_nearest(found.price, WHOLE / TOLD)),
    )];
    let injections = agents.iter().zip(&found.injections);
    out.extend(injections.map(|(named, &injection)| named.told(injection)));
    let rounds = WEIGHTS.map(|weight| {
        let found = exchange(&bare, weight, TOLERANCE, ROUNDS_MAX);
        let rounds = found.settled.then(|| Out::Integer(found.rounds.into()));
        (weight.to_string(), rounds.unwrap_or(Out::Null))
    });
    (out, ("admm_iters".into(), Out::Map(rounds.into())))
}

/// Both, in one result.
pub(super) fn both(place: &str, input: &Value) -> Result<Out, OfflineError> {
    let agents = agents(place, input)?;
    let (mut out, rounds) = by_exchange(&agents);
    out.extend(by_bisection(&agents));
    out.push(rounds);
    Ok(Out::Map(out))
}
