//! Payloads: what an atom says, one strict schema per kind.
//!
//! All quantities are integers in the unit of the field's name. Positive power
//! flows from the device into the AC bus. An absent value is absent, never
//! zero. This module knows shapes and the rules inside one payload; references
//! between atoms are checked by whoever holds the log.

pub mod control;
pub mod governance;
pub mod market;

use crate::address::Address;
use crate::cbor::Value;
use crate::epochs::EpochChange;
use crate::hash::{AtomId, UniverseId};
use crate::particle::Particle;
use crate::record::{Field, SchemaError, Shown};

pub use control::{
    Device, Dispatch, DispatchAck, DispatchKind, DispatchStage, Mode, Setpoint, Trip,
};
pub use governance::{AuthorityGrant, Checkpoint, Config, FraudProof, Resolve};
pub use market::{
    Activation, Burn, Clearing, Fill, Infeasible, MeterReading, Mint, Order, ReadingQuality,
    Settlement, SettlementLine, Side, StandingKind, Step, Terms, TermsAccount, Trade, Transfer,
    Withdrawal,
};

coded! {
    /// The kind of an atom. The number on the wire never changes its meaning.
    Kind {
        /// A setpoint for a device, logged before it leaves.
        Dispatch = 1 "dispatch",
        /// What the device answered.
        DispatchAck = 2 "dispatch-ack",
        /// A protective act, logged after it.
        Trip = 3 "trip",
        /// A change of the operating mode.
        Mode = 4 "mode",
        /// Energy over an interval.
        MeterReading = 5 "meter-reading",
        /// An offer to buy or to sell.
        Order = 6 "order",
        /// The result of a market interval.
        Clearing = 7 "clearing",
        /// One bilateral exchange.
        Trade = 8 "trade",
        /// Who owes whom after an interval.
        Settlement = 9 "settlement",
        /// A document that the run is bound to.
        Config = 10 "config",
        /// Another log's head.
        Checkpoint = 11 "checkpoint",
        /// Creates an asset.
        Mint = 12 "mint",
        /// Destroys an asset.
        Burn = 13 "burn",
        /// Moves an asset.
        Transfer = 14 "transfer",
        /// Lets an issuer command a device from an epoch on.
        AuthorityGrant = 15 "authority-grant",
        /// Two signed objects that contradict each other.
        FraudProof = 16 "fraud-proof",
        /// Compensation after a fraud; it never unlocks.
        Resolve = 17 "resolve",
        /// What counts when orders of a market interval are taken.
        Terms = 18 "terms",
        /// A later configuration of the universe, signed by its admins.
        Epoch = 19 "epoch",
        /// An order that rests is taken back.
        Withdrawal = 20 "withdrawal",
        /// How reserve was called, and how it followed.
        Activation = 21 "activation",
        /// What was committed and cannot be delivered any more.
        Infeasible = 22 "infeasible",
    }
}

/// The payload of an atom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// See [`Kind::Dispatch`].
    Dispatch(Dispatch),
    /// See [`Kind::DispatchAck`].
    DispatchAck(DispatchAck),
    /// See [`Kind::Trip`].
    Trip(Trip),
    /// See [`Kind::Mode`].
    Mode(Mode),
    /// See [`Kind::MeterReading`].
    MeterReading(MeterReading),
    /// See [`Kind::Order`].
    Order(Order),
    /// See [`Kind::Clearing`].
    Clearing(Clearing),
    /// See [`Kind::Trade`].
    Trade(Trade),
    /// See [`Kind::Settlement`].
    Settlement(Settlement),
    /// See [`Kind::Config`].
    Config(Config),
    /// See [`Kind::Checkpoint`].
    Checkpoint(Checkpoint),
    /// See [`Kind::Mint`].
    Mint(Mint),
    /// See [`Kind::Burn`].
    Burn(Burn),
    /// See [`Kind::Transfer`].
    Transfer(Transfer),
    /// See [`Kind::AuthorityGrant`].
    AuthorityGrant(AuthorityGrant),
    /// See [`Kind::FraudProof`].
    FraudProof(FraudProof),
    /// See [`Kind::Resolve`].
    Resolve(Resolve),
    /// See [`Kind::Terms`].
    Terms(Terms),
    /// See [`Kind::Epoch`].
    Epoch(EpochChange),
    /// See [`Kind::Withdrawal`].
    Withdrawal(Withdrawal),
    /// See [`Kind::Activation`].
    Activation(Activation),
    /// See [`Kind::Infeasible`].
    Infeasible(Infeasible),
}

/// The table between kinds and payload types.
macro_rules! for_each_kind {
    ($payload:expr, $p:ident => $each:expr) => {
        match $payload {
            Payload::Dispatch($p) => $each,
            Payload::DispatchAck($p) => $each,
            Payload::Trip($p) => $each,
            Payload::Mode($p) => $each,
            Payload::MeterReading($p) => $each,
            Payload::Order($p) => $each,
            Payload::Clearing($p) => $each,
            Payload::Trade($p) => $each,
            Payload::Settlement($p) => $each,
            Payload::Config($p) => $each,
            Payload::Checkpoint($p) => $each,
            Payload::Mint($p) => $each,
            Payload::Burn($p) => $each,
            Payload::Transfer($p) => $each,
            Payload::AuthorityGrant($p) => $each,
            Payload::FraudProof($p) => $each,
            Payload::Resolve($p) => $each,
            Payload::Terms($p) => $each,
            Payload::Epoch($p) => $each,
            Payload::Withdrawal($p) => $each,
            Payload::Activation($p) => $each,
            Payload::Infeasible($p) => $each,
        }
    };
}

impl Kind {
    /// Whether every node keeps atoms of this kind, whatever their shards: what
    /// all must know to judge others.
    pub fn is_for_all(self) -> bool {
        matches!(
            self,
            Kind::AuthorityGrant
                | Kind::FraudProof
                | Kind::Resolve
                | Kind::Checkpoint
                | Kind::Epoch
        )
    }
}

impl Payload {
    /// The kind of this payload.
    pub fn kind(&self) -> Kind {
        match self {
            Payload::Dispatch(_) => Kind::Dispatch,
            Payload::DispatchAck(_) => Kind::DispatchAck,
            Payload::Trip(_) => Kind::Trip,
            Payload::Mode(_) => Kind::Mode,
            Payload::MeterReading(_) => Kind::MeterReading,
            Payload::Order(_) => Kind::Order,
            Payload::Clearing(_) => Kind::Clearing,
            Payload::Trade(_) => Kind::Trade,
            Payload::Settlement(_) => Kind::Settlement,
            Payload::Config(_) => Kind::Config,
            Payload::Checkpoint(_) => Kind::Checkpoint,
            Payload::Mint(_) => Kind::Mint,
            Payload::Burn(_) => Kind::Burn,
            Payload::Transfer(_) => Kind::Transfer,
            Payload::AuthorityGrant(_) => Kind::AuthorityGrant,
            Payload::FraudProof(_) => Kind::FraudProof,
            Payload::Resolve(_) => Kind::Resolve,
            Payload::Terms(_) => Kind::Terms,
            Payload::Epoch(_) => Kind::Epoch,
            Payload::Withdrawal(_) => Kind::Withdrawal,
            Payload::Activation(_) => Kind::Activation,
            Payload::Infeasible(_) => Kind::Infeasible,
        }
    }

    /// The canonical value; the kind stands beside it in the body.
    pub fn to_value(&self) -> Value {
        for_each_kind!(self, p => p.to_value())
    }

    /// Reads the payload of a known kind.
    ///
    /// # Errors
    /// Says which field or rule is broken.
    pub fn from_value(kind: Kind, value: Value) -> Result<Payload, SchemaError> {
        Ok(match kind {
            Kind::Dispatch => Payload::Dispatch(Field::from_value(value)?),
            Kind::DispatchAck => Payload::DispatchAck(Field::from_value(value)?),
            Kind::Trip => Payload::Trip(Field::from_value(value)?),
            Kind::Mode => Payload::Mode(Field::from_value(value)?),
            Kind::MeterReading => Payload::MeterReading(Field::from_value(value)?),
            Kind::Order => Payload::Order(Field::from_value(value)?),
            Kind::Clearing => Payload::Clearing(Field::from_value(value)?),
            Kind::Trade => Payload::Trade(Field::from_value(value)?),
            Kind::Settlement => Payload::Settlement(Field::from_value(value)?),
            Kind::Config => Payload::Config(Field::from_value(value)?),
            Kind::Checkpoint => Payload::Checkpoint(Field::from_value(value)?),
            Kind::Mint => Payload::Mint(Field::from_value(value)?),
            Kind::Burn => Payload::Burn(Field::from_value(value)?),
            Kind::Transfer => Payload::Transfer(Field::from_value(value)?),
            Kind::AuthorityGrant => Payload::AuthorityGrant(Field::from_value(value)?),
            Kind::FraudProof => Payload::FraudProof(Field::from_value(value)?),
            Kind::Resolve => Payload::Resolve(Field::from_value(value)?),
            Kind::Terms => Payload::Terms(Field::from_value(value)?),
            Kind::Epoch => Payload::Epoch(Field::from_value(value)?),
            Kind::Withdrawal => Payload::Withdrawal(Field::from_value(value)?),
            Kind::Activation => Payload::Activation(Field::from_value(value)?),
            Kind::Infeasible => Payload::Infeasible(Field::from_value(value)?),
        })
    }

    /// The rendering for people.
    pub fn shown(&self) -> Shown {
        for_each_kind!(self, p => p.shown())
    }

    /// The things without a key that this payload is about. The atom belongs
    /// into their shards beside its author's.
    pub fn subjects(&self) -> Vec<&str> {
        match self {
            Payload::Dispatch(p) => vec![&p.device],
            Payload::Trip(p) => vec![&p.device],
            Payload::MeterReading(p) => vec![&p.participant],
            Payload::Order(p) => vec![&p.agent],
            Payload::Withdrawal(p) => vec![&p.agent],
            Payload::Activation(p) => vec![&p.participant],
            Payload::Infeasible(p) => vec![&p.device],
            Payload::Trade(p) => vec![&p.buyer, &p.seller],
            Payload::Settlement(p) => p.lines.iter().map(|l| l.account.as_str()).collect(),
            Payload::AuthorityGrant(p) => vec![&p.device],
            _ => vec![],
        }
    }

    /// The destinations of an atom with this payload: its author, its subjects
    /// and the owners of what it puts up, sorted and unique. When subjects make
    /// them more than `limit` the atom belongs to the author's shard only: a
    /// settlement of a large market is found through the market operator.
    pub fn destinations(
        &self,
        universe: &UniverseId,
        author: &Address,
        particles: &[Particle],
        limit: usize,
    ) -> Vec<Address> {
        let subjects = self.subjects();
        let named = subjects.iter().map(|name| Address::of_name(universe, name));
        let owners = particles.iter().filter_map(|particle| match particle {
            Particle::Up(up) => Some(up.owner),
            Particle::Down(_) => None,
        });
        let sorted = |mut all: Vec<Address>| {
            all.sort_unstable();
            all.dedup();
            all
        };
        let kept: Vec<Address> = owners.chain([*author]).collect();
        let all = sorted(named.chain(kept.iter().copied()).collect());
        if all.len() > limit { sorted(kept) } else { all }
    }

    /// The atoms that this payload names, with the kind that each must have.
    /// They must come earlier in the log.
    pub fn references(&self) -> Vec<(AtomId, Option<Kind>)> {
        match self {
            Payload::Dispatch(p) => p.cause.iter().map(|id| (*id, None)).collect(),
            Payload::DispatchAck(p) => vec![(p.dispatch, Some(Kind::Dispatch))],
            Payload::Clearing(p) => p
                .fills
                .iter()
                .map(|f| (f.order, Some(Kind::Order)))
                .collect(),
            Payload::Mint(p) => vec![(p.reading, Some(Kind::MeterReading))],
            Payload::Resolve(p) => vec![(p.fraud, Some(Kind::FraudProof))],
            _ => vec![],
        }
    }
}

#[cfg(test)]
mod tests;
