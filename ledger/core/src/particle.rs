//! Particles: what an atom creates and consumes.
//!
//! A particle is put up once and taken down once. All particles of an atom
//! take effect or none does. Per asset the sum taken down equals the sum put
//! up, except where a burn destroys and a mint turns what was metered into as
//! many credits (see [`credit`]). This module checks that
//! algebra over one log; which of two conflicting atoms is final among several
//! nodes is not its business.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::address::Address;
use crate::cbor::Value;
use crate::credit::{self, metered_of};
use crate::hash::{ParticleId, Tag, UniverseId, tagged};
use crate::payload::Kind;
use crate::record::{Amount, Field, SchemaError, Shown};

/// Most particles in one atom (ledger design, property 21).
pub const PARTICLES_MAX: usize = 64;

record! {
    /// An amount of an asset that somebody owns.
    Up where is_positive {
        /// Name of the asset; it fixes the smallest unit.
        asset: String,
        /// How much of it, in its smallest unit, above zero.
        amount: Amount,
        /// Who may take it down.
        owner: Address,
        /// Makes two equal amounts of one owner differ.
        nonce: u64,
    }
}

fn is_positive(up: &Up) -> Result<(), SchemaError> {
    match up.amount.0 > 0 {
        true => Ok(()),
        false => Err(SchemaError::Rule {
            rule: "A particle holds an amount above zero.",
        }),
    }
}

impl Up {
    /// The id of this particle.
    ///
    /// # Errors
    /// An asset name over the limits of the encoding.
    pub fn id(&self, universe: &UniverseId) -> Result<ParticleId, SchemaError> {
        Ok(ParticleId(tagged(
            Tag::Particle,
            universe,
            &[&self.to_bytes()?],
        )))
    }
}

/// One change of state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Particle {
    /// The particle comes into being.
    Up(Up),
    /// The particle is consumed.
    Down(ParticleId),
}

/// Wire codes of [`Particle`].
const CODE_UP: i128 = 1;
const CODE_DOWN: i128 = 2;

impl Field for Particle {
    fn to_value(&self) -> Value {
        let (code, value) = match self {
            Particle::Up(up) => (CODE_UP, up.to_value()),
            Particle::Down(id) => (CODE_DOWN, id.to_value()),
        };
        Value::Array(vec![Value::Int(code), value])
    }
    fn from_value(value: Value) -> Result<Self, SchemaError> {
        let mut items = crate::record::open_record(value, "Particle", 2)?;
        match (items.next(), items.next()) {
            (Some(Value::Int(CODE_UP)), Some(up)) => Up::from_value(up).map(Particle::Up),
            (Some(Value::Int(CODE_DOWN)), Some(id)) => {
                ParticleId::from_value(id).map(Particle::Down)
            }
            _ => Err(SchemaError::Expected {
                expected: "a particle, up or down",
            }),
        }
    }
    fn shown(&self) -> Shown {
        Shown::Record(vec![match self {
            Particle::Up(up) => ("up", up.shown()),
            Particle::Down(id) => ("down", id.shown()),
        }])
    }
}

/// Why the particles of an atom are refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParticleError {
    /// The particle to take down was never put up, or is down already.
    #[error("particle {particle} is not up")]
    NotUp {
        /// The particle.
        particle: ParticleId,
    },
    /// The particle belongs to somebody else.
    #[error("particle {particle} is not owned by the author")]
    NotOwner {
        /// The particle.
        particle: ParticleId,
    },
    /// A particle with this id exists or existed.
    #[error("particle {particle} was put up before")]
    UpTwice {
        /// The particle.
        particle: ParticleId,
    },
    /// The sums differ for a kind that conserves.
    #[error("{asset}: {down} goes down and {up} goes up in a {kind}", kind = kind.name())]
    NotConserved {
        /// The asset.
        asset: String,
        /// Sum taken down, in the smallest unit.
        down: i128,
        /// Sum put up, in the smallest unit.
        up: i128,
        /// The kind of the atom.
        kind: Kind,
    },
    /// An asset that this kind does not put up, or does not take down.
    #[error("a {} moves no {asset} this way", kind.name())]
    WrongAsset {
        /// The asset.
        asset: String,
        /// The kind of the atom.
        kind: Kind,
    },
    /// What is minted in somebody's name is not what was metered in it.
    #[error("{minted} of energy is minted in a name in which {metered} was metered ({asset})")]
    NotMetered {
        /// The asset that names whose energy it is.
        asset: String,
        /// What the readings attest, in milliwatt-hours.
        metered: i128,
        /// What is minted, in milliwatt-hours.
        minted: i128,
    },
    /// A sum does not fit into 127 bits.
    #[error("the sum of {asset} overflows")]
    Overflow {
        /// The asset.
        asset: String,
    },
    /// This kind of atom carries no particles.
    #[error("a {} carries no particles", kind.name())]
    NoneAllowed {
        /// The kind of the atom.
        kind: Kind,
    },
    /// A particle has no canonical form.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

/// Says whether an atom of this kind by this author may carry these particles: each
/// goes down once and by its owner, and what goes down and what goes up balance as the
/// kind asks for. `up` finds what goes down.
///
/// # Errors
/// The first particle that may not move so, or the asset that does not balance.
pub fn balance<'a>(
    kind: Kind,
    author: &Address,
    particles: &[Particle],
    up: impl Fn(&ParticleId) -> Option<&'a Up>,
) -> Result<(), ParticleError> {
    if particles.is_empty() {
        return Ok(());
    }
    // Whether the sum down may differ from the sum up, and in which way.
    let allowed: fn(&i128, &i128) -> bool = match kind {
        // What is minted is booked against what was metered in the same name.
        Kind::Transfer | Kind::Mint => |down, up| down == up,
        Kind::Burn => |down, up| down > up,
        Kind::MeterReading => |_, _| true,
        _ => return Err(ParticleError::NoneAllowed { kind }),
    };
    let fits = |asset: &str, is_up| match credit::may_carry(kind, asset, is_up) {
        true => Ok(()),
        false => Err(ParticleError::WrongAsset {
            asset: asset.to_owned(),
            kind,
        }),
    };
    let add = |sum: &mut i128, up: &Up| {
        let added = sum.checked_add(up.amount.0);
        *sum = added.ok_or_else(|| ParticleError::Overflow {
            asset: up.asset.clone(),
        })?;
        Ok::<(), ParticleError>(())
    };
    let mut gone = BTreeSet::new();
    let mut sums: BTreeMap<String, (i128, i128)> = BTreeMap::new();
    for particle in particles {
        match particle {
            Particle::Up(up) => {
                fits(&up.asset, true)?;
                let asset = match kind {
                    Kind::Mint => metered_of(&up.owner),
                    _ => up.asset.clone(),
                };
                add(&mut sums.entry(asset).or_default().1, up)?;
            }
            Particle::Down(id) => {
                let Some(up) = up(id).filter(|_| gone.insert(*id)) else {
                    return Err(ParticleError::NotUp { particle: *id });
                };
                if up.owner != *author {
                    return Err(ParticleError::NotOwner { particle: *id });
                }
                fits(&up.asset, false)?;
                add(&mut sums.entry(up.asset.clone()).or_default().0, up)?;
            }
        }
    }
    let unequal = sums.into_iter().find(|(_, (down, up))| !allowed(down, up));
    match unequal {
        None => Ok(()),
        Some((asset, (metered, minted))) if kind == Kind::Mint => Err(ParticleError::NotMetered {
            asset,
            metered,
            minted,
        }),
        Some((asset, (down, up))) => Err(ParticleError::NotConserved {
            asset,
            down,
            up,
            kind,
        }),
    }
}

/// Which particles are up, after a prefix of a log.
#[derive(Debug, Clone, Default)]
pub struct ParticleStates {
    /// Every particle ever put up; `None` once it is down.
    states: BTreeMap<ParticleId, Option<Up>>,
    /// What each change since the last [`ParticleStates::settle`] replaced.
    replaced: Vec<(ParticleId, Option<Option<Up>>)>,
}

/// A place to which changes can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(usize);

impl ParticleStates {
    /// Applies all particles of an atom, or none and says why.
    ///
    /// # Errors
    /// The first particle that may not change so, or the asset that is not
    /// conserved.
    pub fn apply(
        &mut self,
        universe: &UniverseId,
        kind: Kind,
        author: &Address,
        particles: &[Particle],
    ) -> Result<(), ParticleError> {
        let mut changes: BTreeMap<ParticleId, Option<Up>> = BTreeMap::new();
        for particle in particles {
            if let Particle::Up(up) = particle {
                let id = up.id(universe)?;
                if self.states.contains_key(&id) || changes.contains_key(&id) {
                    return Err(ParticleError::UpTwice { particle: id });
                }
                changes.insert(id, Some(up.clone()));
            }
        }
        balance(kind, author, particles, |id| self.up(id))?;
        changes.extend(particles.iter().filter_map(|particle| match particle {
            Particle::Down(id) => Some((*id, None)),
            Particle::Up(_) => None,
        }));
        for (id, state) in changes {
            let before = self.states.insert(id, state);
            self.replaced.push((id, before));
        }
        Ok(())
    }

    /// Notes what an atom of another group puts up. Whether it may is decided by
    /// the replicas of its author; here its sums are unknown, because what it
    /// takes down is not kept here.
    ///
    /// # Errors
    /// A particle that was put up before, or one without a canonical form.
    pub fn observe(
        &mut self,
        universe: &UniverseId,
        particles: &[Particle],
    ) -> Result<(), ParticleError> {
        let mark = self.mark();
        for particle in particles {
            let Particle::Up(up) = particle else { continue };
            let id = up.id(universe)?;
            if self.states.contains_key(&id) {
                self.roll_back(mark);
                return Err(ParticleError::UpTwice { particle: id });
            }
            self.states.insert(id, Some(up.clone()));
            self.replaced.push((id, None));
        }
        Ok(())
    }

    /// The place before the next change.
    pub fn mark(&self) -> Mark {
        Mark(self.replaced.len())
    }

    /// Takes back every change since `mark`, which is not before the last
    /// [`ParticleStates::settle`].
    pub fn roll_back(&mut self, mark: Mark) {
        while self.replaced.len() > mark.0 {
            match self.replaced.pop() {
                Some((id, Some(before))) => {
                    self.states.insert(id, before);
                }
                Some((id, None)) => {
                    self.states.remove(&id);
                }
                None => return,
            }
        }
    }

    /// Keeps every change for good.
    pub fn settle(&mut self) {
        self.replaced.clear();
    }

    /// The particle, if it is up.
    pub fn up(&self, id: &ParticleId) -> Option<&Up> {
        self.states.get(id)?.as_ref()
    }

    /// The sum of all particles of `asset` that are up, in its smallest unit;
    /// `None` when it does not fit into 127 bits.
    pub fn total(&self, asset: &str) -> Option<i128> {
        let up = self
            .states
            .values()
            .flatten()
            .filter(|up| up.asset == asset);
        up.map(|up| up.amount.0).try_fold(0, i128::checked_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credit::CREDIT;
    use proptest::prelude::*;

    const UNIVERSE: UniverseId = UniverseId([9; 32]);
    const ANNA: Address = Address([1; 32]);
    const BERT: Address = Address([2; 32]);
    const METER: Address = Address([3; 32]);
    const ISSUER: Address = Address([4; 32]);

    fn up(amount: i128, owner: Address, nonce: u64) -> Up {
        Up {
            asset: "energy".to_owned(),
            amount: Amount(amount),
            owner,
            nonce,
        }
    }

    /// What a meter has attested in the name of `whose`, for the issuer.
    fn metered(amount: i128, whose: Address, nonce: u64) -> Up {
        Up {
            asset: metered_of(&whose),
            owner: ISSUER,
            ..up(amount, ISSUER, nonce)
        }
    }

    /// Credits of `owner` out of a reading, and the state after both.
    fn minted(credit: &Up) -> ParticleStates {
        let mut states = ParticleStates::default();
        let attested = metered(credit.amount.0, credit.owner, 900 + credit.nonce);
        let reading = [Particle::Up(attested.clone())];
        let mint = [down(&attested), Particle::Up(credit.clone())];
        for (kind, author, particles) in [
            (Kind::MeterReading, METER, &reading[..]),
            (Kind::Mint, ISSUER, &mint),
        ] {
            states.apply(&UNIVERSE, kind, &author, particles).unwrap();
        }
        states
    }

    fn down(up: &Up) -> Particle {
        Particle::Down(up.id(&UNIVERSE).unwrap())
    }

    #[test]
    fn a_transfer_conserves_and_is_made_by_the_owner_once() {
        let credit = up(10, ANNA, 1);
        let minted = minted(&credit);
        let check = |kind, author, particles: &[Particle], expected: &str| {
            let mut states = minted.clone();
            let found = states.apply(&UNIVERSE, kind, &author, particles);
            let found = found.map_or_else(|e| e.to_string(), |()| "done".to_owned());
            assert!(found.contains(expected), "{found} / {expected}");
            let total = if found == "done" && kind == Kind::Burn {
                4
            } else {
                10
            };
            assert_eq!(states.total("energy"), Some(total), "all or none");
        };
        let split = [
            down(&credit),
            Particle::Up(up(6, BERT, 2)),
            Particle::Up(up(4, ANNA, 3)),
        ];
        check(Kind::Transfer, ANNA, &split, "done");
        check(Kind::Transfer, BERT, &split, "not owned by the author");
        check(
            Kind::Transfer,
            ANNA,
            &split[..2],
            "10 goes down and 6 goes up",
        );
        check(
            Kind::Transfer,
            ANNA,
            &split[1..],
            "0 goes down and 10 goes up",
        );
        check(
            Kind::Transfer,
            ANNA,
            &[down(&credit), down(&credit)],
            "is not up",
        );
        check(Kind::Transfer, ANNA, &[down(&up(10, ANNA, 7))], "is not up");
        check(
            Kind::Transfer,
            ANNA,
            &[Particle::Up(credit.clone())],
            "was put up before",
        );
        check(
            Kind::Burn,
            ANNA,
            &[down(&credit), Particle::Up(up(4, ANNA, 3))],
            "done",
        );
        check(Kind::Mint, ANNA, &split, "a mint moves no energy this way");
        check(Kind::Dispatch, ANNA, &split, "carries no particles");
        let over = [
            Particle::Up(up(i128::MAX, ANNA, 4)),
            Particle::Up(up(1, ANNA, 5)),
        ];
        check(Kind::Transfer, ANNA, &over, "overflows");
    }

    #[test]
    fn credits_are_minted_once_for_a_reading_in_its_name_and_no_more_than_was_metered() {
        let (attested, other) = (metered(10, ANNA, 1), metered(5, BERT, 2));
        let mut states = ParticleStates::default();
        for up in [&attested, &other] {
            let particles = [Particle::Up(up.clone())];
            states
                .apply(&UNIVERSE, Kind::MeterReading, &METER, &particles)
                .unwrap();
        }
        let credit = |amount, owner, nonce| Particle::Up(up(amount, owner, nonce));
        let mut check = |kind, author, particles: &[Particle], expected: &str| {
            let found = states.apply(&UNIVERSE, kind, &author, particles);
            let found = found.map_or_else(|e| e.to_string(), |()| "done".to_owned());
            assert!(found.contains(expected), "{found} / {expected}");
        };
        let (first, second) = (down(&attested), down(&other));
        type Check<'a> = &'a mut dyn FnMut(Kind, Address, &[Particle], &str);
        let mint = |particles: Vec<Particle>, expected: &str, check: Check<'_>| {
            check(Kind::Mint, ISSUER, &particles, expected);
        };
        let c: Check<'_> = &mut check;
        mint(
            vec![credit(10, ANNA, 3)],
            "10 of energy is minted in a name in which 0",
            c,
        );
        mint(
            vec![first.clone(), credit(11, ANNA, 3)],
            "11 of energy is minted in a name in which 10",
            c,
        );
        mint(
            vec![first.clone(), credit(9, ANNA, 3)],
            "9 of energy is minted",
            c,
        );
        mint(
            vec![first.clone(), credit(10, BERT, 3)],
            "is minted in a name",
            c,
        );
        mint(
            vec![first.clone(), Particle::Up(metered(10, ANNA, 9))],
            "moves no metered/",
            c,
        );
        let gold = Particle::Up(Up {
            asset: "gold".to_owned(),
            ..up(10, ANNA, 3)
        });
        mint(vec![first.clone(), gold], "moves no gold", c);
        // Only the issuer that the meter named, and only by a mint.
        c(
            Kind::Mint,
            BERT,
            &[first.clone(), credit(10, ANNA, 3)],
            "not owned by the author",
        );
        let moved = Particle::Up(Up {
            owner: BERT,
            ..metered(10, ANNA, 9)
        });
        c(
            Kind::Transfer,
            ISSUER,
            &[first.clone(), moved],
            "a transfer moves no metered/",
        );
        c(
            Kind::Burn,
            ISSUER,
            std::slice::from_ref(&first),
            "a burn moves no metered/",
        );
        c(
            Kind::MeterReading,
            ISSUER,
            std::slice::from_ref(&first),
            "a meter-reading moves no",
        );
        let whole = vec![
            first.clone(),
            second,
            credit(10, ANNA, 3),
            credit(5, BERT, 4),
        ];
        mint(whole, "done", c);
        mint(vec![first, credit(10, ANNA, 5)], "is not up", c);
        assert_eq!(states.total(CREDIT), Some(15));
        assert_eq!(states.total(&metered_of(&ANNA)), Some(0));
    }

    #[test]
    fn a_particle_without_an_amount_above_zero_does_not_decode() {
        for amount in [0, -1] {
            assert!(Particle::from_value(Particle::Up(up(amount, ANNA, 1)).to_value()).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_sequence_of_transfers_changes_the_total(
            splits in proptest::collection::vec((any::<prop::sample::Index>(), 0u64..1000, any::<bool>()), 1..40)
        ) {
            let mut live = vec![up(1_000_000, ANNA, 0)];
            let mut states = minted(&live[0]);
            for (nonce, (which, part, to_bert)) in splits.into_iter().enumerate() {
                let spent = live.swap_remove(which.index(live.len()));
                let nonce = 2 * nonce as u64 + 1;
                let part = i128::from(part).min(spent.amount.0);
                let receiver = if to_bert { BERT } else { ANNA };
                let parts = [up(part, receiver, nonce), up(spent.amount.0 - part, spent.owner, nonce + 1)];
                let parts: Vec<Up> = parts.into_iter().filter(|p| p.amount.0 > 0).collect();
                let mut particles = vec![down(&spent)];
                particles.extend(parts.iter().cloned().map(Particle::Up));
                states.apply(&UNIVERSE, Kind::Transfer, &spent.owner, &particles).unwrap();
                live.extend(parts);
                prop_assert_eq!(states.total("energy"), Some(1_000_000));
            }
        }
    }
}
