//! Who owns what after a log: metered energy that waits for its mint, and credits.

use std::collections::BTreeMap;
use std::path::Path;

use ledger_core::credit::{CREDIT, is_metered};
use ledger_core::{Address, Atom, Kind, Particle, ParticleId, UniverseId, particle::Up};

use crate::error::LedgerError;
use crate::read::entries;

/// What somebody owns of an asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// The name of the owner; its address where the universe has no name for it.
    pub owner: String,
    /// The asset.
    pub asset: String,
    /// How much, in the smallest unit of the asset.
    pub amount: i128,
}

/// What is owned, after so many atoms.
#[derive(Debug, Clone, Default)]
pub struct Holdings {
    up: BTreeMap<ParticleId, Up>,
    /// What readings attest, in milliwatt-hours.
    pub metered: i128,
    /// What was minted out of it, in milliwatt-hours.
    pub minted: i128,
    /// What was burned of it, in milliwatt-hours.
    pub burned: i128,
}

impl Holdings {
    /// Takes what an atom moves. Whether it may is for the verification to say.
    pub fn take(&mut self, universe: &UniverseId, atom: &Atom) {
        let kind = atom.body().kind();
        for particle in &atom.body().particles {
            match particle {
                Particle::Up(up) => {
                    match kind {
                        Kind::MeterReading => self.metered += up.amount.0,
                        Kind::Mint => self.minted += up.amount.0,
                        Kind::Burn if up.asset == CREDIT => self.burned -= up.amount.0,
                        _ => {}
                    }
                    if let Ok(id) = up.id(universe) {
                        self.up.insert(id, up.clone());
                    }
                }
                Particle::Down(id) => {
                    let gone = self.up.remove(id);
                    if let Some(up) = gone.filter(|up| kind == Kind::Burn && up.asset == CREDIT) {
                        self.burned += up.amount.0;
                    }
                }
            }
        }
    }

    /// Who owns how much of what, by asset and owner. Metered energy that waits for its
    /// mint stands under one name, whosever it is.
    pub fn balances<'a>(&self, name_of: impl Fn(&Address) -> Option<&'a str>) -> Vec<Balance> {
        let mut sums: BTreeMap<(&str, Address), i128> = BTreeMap::new();
        for up in self.up.values() {
            let asset = match is_metered(&up.asset) {
                true => "metered",
                false => &up.asset,
            };
            *sums.entry((asset, up.owner)).or_default() += up.amount.0;
        }
        let balance = |((asset, owner), amount): ((&str, Address), i128)| Balance {
            owner: name_of(&owner).map_or_else(|| owner.to_string(), str::to_owned),
            asset: asset.to_owned(),
            amount,
        };
        let mut balances: Vec<Balance> = sums.into_iter().map(balance).collect();
        balances.sort_by(|a, b| (&a.asset, &a.owner).cmp(&(&b.asset, &b.owner)));
        balances
    }
}

/// Who owns what after the log in `run_dir/ledger`.
///
/// # Errors
/// As [`entries`], and damage further on.
pub fn balances(run_dir: &Path) -> Result<(Holdings, Vec<Balance>), LedgerError> {
    let entries = entries(run_dir)?;
    let epochs = entries.epochs().clone();
    let mut holdings = Holdings::default();
    for entry in entries {
        holdings.take(&epochs.id(), &entry?.atom);
    }
    let balances = holdings.balances(|owner| epochs.name_of(owner));
    Ok((holdings, balances))
}
