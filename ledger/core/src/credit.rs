//! Energy credits: what a meter has attested is minted once, and by one issuer.
//!
//! A meter reading puts up one particle of *metered energy*: how much, in whose name
//! (the asset says it) and who may issue it (the owner). A mint takes such particles
//! down and puts up as many credits, for those in whose name the energy was metered.
//! So a reading is minted once as a particle goes down once, by the one who owns it,
//! under the same locks and with the same finality as a payment; without a reading
//! there is nothing to take down, and more than was metered does not balance.

use crate::address::Address;
use crate::atom::Body;
use crate::particle::{Particle, Up};
use crate::payload::market::{MeterReading, ReadingQuality};
use crate::payload::{Kind, Payload};
use crate::record::Amount;

/// The asset of an energy credit; its smallest unit is the milliwatt-hour.
pub const CREDIT: &str = "energy";

/// What the asset of metered energy begins with; the address of whose it is follows.
const METERED: &str = "metered/";

/// The asset of the energy that was metered in somebody's name.
pub fn metered_of(whose: &Address) -> String {
    format!("{METERED}{whose}")
}

/// In whose name an asset is metered energy; `None` for every other asset.
pub fn whose(asset: &str) -> Option<Address> {
    asset.strip_prefix(METERED)?.parse().ok()
}

/// Whether an asset is kept for meters: it begins as theirs do.
pub fn is_metered(asset: &str) -> bool {
    asset.starts_with(METERED)
}

/// What a reading attests, for `issuer` to mint in the name of `whose`: energy that was
/// measured over the whole interval and went into the AC bus; `None` for any other.
pub fn attested(
    reading: &MeterReading,
    whose: &Address,
    issuer: Address,
    nonce: u64,
) -> Option<Up> {
    let energy = reading
        .energy_milliwatt_hours
        .filter(|energy| *energy > 0)?;
    (reading.quality == ReadingQuality::Valid).then(|| Up {
        asset: metered_of(whose),
        amount: Amount(energy.into()),
        owner: issuer,
        nonce,
    })
}

/// Whether what a body puts up as metered energy is what its reading says. Only a
/// reading may, and no more than once.
pub(crate) fn is_attested(body: &Body) -> bool {
    let Payload::MeterReading(reading) = &body.payload else {
        let mut particles = body.particles.iter();
        return !particles.any(|p| matches!(p, Particle::Up(up) if is_metered(&up.asset)));
    };
    match &body.particles[..] {
        [] => true,
        [Particle::Up(up)] => whose(&up.asset)
            .is_some_and(|of| attested(reading, &of, up.owner, up.nonce).as_ref() == Some(up)),
        _ => false,
    }
}

/// Whether this kind of atom may carry particles of an asset in a direction.
pub(crate) fn may_carry(kind: Kind, asset: &str, is_up: bool) -> bool {
    match kind {
        Kind::MeterReading => is_up && is_metered(asset),
        Kind::Mint if is_up => asset == CREDIT,
        Kind::Mint => is_metered(asset),
        _ => !is_metered(asset),
    }
}
