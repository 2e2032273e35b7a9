//! Energy credits: what was minted and moved against the rules is seen.

use std::cell::Cell;

use super::forge::{Lies, write};
use super::*;
use ledger_core::atom::{Body, DESTINATIONS_MAX};
use ledger_core::credit::{CREDIT, attested};
use ledger_core::particle::Up;
use ledger_core::payload::{MeterReading, Mint, ReadingQuality, Transfer};
use ledger_core::{Address, Amount, Particle, ParticleId, UniverseId, Vertex};

/// What is said in a ledger, one after the other.
enum Says {
    /// The meter, which has measured so many milliwatt-hours for Anna.
    Metered(i64),
    /// The market mints for the reading with this number, out of these particles.
    Minted(usize, Vec<Up>, Vec<Up>),
    /// Anna gives on.
    Moved(Vec<Up>, Vec<Up>),
}

// The keys of the parties.
const CONTROLLER: u8 = 2;
const MARKET: u8 = 3;
const METER: u8 = 5;
const ANNA: u8 = 6;

fn id() -> UniverseId {
    universe().id().unwrap()
}

fn address(n: u8) -> Address {
    Address::of_key(&id(), &key(n).public())
}

fn reading(energy: i64) -> MeterReading {
    MeterReading {
        participant: "anna".to_owned(),
        interval_start_utc_ns: NOW,
        interval_ns: 1,
        energy_milliwatt_hours: Some(energy),
        quality: ReadingQuality::Valid,
    }
}

/// What the meter attests as the ledger's entry `clock`.
fn metered(energy: i64, clock: u64) -> Up {
    attested(&reading(energy), &address(ANNA), address(MARKET), clock).unwrap()
}

fn credit(amount: i128, owner: u8, nonce: u64) -> Up {
    Up {
        asset: CREDIT.to_owned(),
        amount: Amount(amount),
        owner: address(owner),
        nonce,
    }
}

fn check(says: &[Says], expected: Option<CheckName>) {
    let readings = Cell::new(Vec::<AtomId>::new());
    let last = Cell::new(0);
    let payload = |at: usize, before: AtomId| {
        let mut known = readings.take();
        // What was said before has its id now.
        if at > 0 && matches!(says[at - 1], Says::Metered(_)) {
            known.push(before);
        }
        let payload = match &says[at] {
            Says::Metered(energy) => Payload::MeterReading(reading(*energy)),
            Says::Minted(number, ..) => Payload::Mint(Mint {
                reading: known[*number],
            }),
            Says::Moved(..) => Payload::Transfer(Transfer {
                memo: String::new(),
            }),
        };
        readings.set(known);
        payload
    };
    let next = |before: AtomId| {
        let at = last.replace(last.get() + 1);
        payload(at, before)
    };
    let moves = |clock: u64| -> (Vec<Up>, Vec<Up>) {
        match &says[clock as usize - 1] {
            Says::Metered(energy) => (vec![], vec![metered(*energy, clock)]),
            Says::Minted(_, downs, ups) | Says::Moved(downs, ups) => (downs.clone(), ups.clone()),
        }
    };
    let author = |clock: u64| match &says[clock as usize - 1] {
        Says::Metered(_) => key(METER),
        Says::Minted(..) => key(MARKET),
        Says::Moved(..) => key(ANNA),
    };
    let down = |up: &Up| up.id(&id()).unwrap();
    let body = |clock: u64, body: &mut Body| {
        let (downs, ups) = moves(clock);
        let downs = downs.iter().map(|up| Particle::Down(down(up)));
        body.particles = downs.chain(ups.into_iter().map(Particle::Up)).collect();
        let (author, particles) = (body.author, &body.particles);
        let fits = body
            .payload
            .destinations(&id(), &author, particles, DESTINATIONS_MAX);
        body.destinations = fits;
    };
    let vertex = |clock: u64, vertex: &mut Vertex| {
        let mut locks: Vec<ParticleId> = moves(clock).0.iter().map(down).collect();
        locks.sort_unstable();
        vertex.locks = locks;
    };
    let lies = Lies {
        author: Some(&author),
        body: Some(&body),
        vertex: Some(&vertex),
        ..Lies::default()
    };
    let run = tempfile::tempdir().unwrap();
    let payloads: Vec<&dyn Fn(AtomId) -> Payload> = says.iter().map(|_| &next as _).collect();
    write(run.path(), &payloads, &lies);
    match expected {
        None => passes(&verify(run.path())),
        Some(expected) => assert_eq!(failure(run.path()), Ok(expected)),
    }
}

#[test]
fn a_credit_is_followed_from_the_meter_to_its_last_owner() {
    let minted = credit(5, ANNA, 1);
    let parts = vec![credit(3, CONTROLLER, 2), credit(2, ANNA, 3)];
    check(
        &[
            Says::Metered(5),
            Says::Minted(0, vec![metered(5, 1)], vec![minted.clone()]),
            Says::Moved(vec![minted], parts),
        ],
        None,
    );
}

#[test]
fn credits_that_no_meter_has_attested_are_seen() {
    let seen = Some(CheckName::Particles);
    let from = || vec![metered(5, 1)];
    let to = |amount| vec![credit(amount, ANNA, 1)];
    for minted in [
        // Above the reading, below it, without it, in another name.
        Says::Minted(0, from(), to(6)),
        Says::Minted(0, from(), to(4)),
        Says::Minted(0, vec![], to(5)),
        Says::Minted(0, from(), vec![credit(5, CONTROLLER, 1)]),
    ] {
        check(&[Says::Metered(5), minted], seen);
    }
    // Twice for one reading, and for another reading than the one that attests it.
    let again = Says::Minted(0, from(), vec![credit(5, ANNA, 2)]);
    let once = Says::Minted(0, from(), to(5));
    check(&[Says::Metered(5), once, again], seen);
    let other = Says::Minted(1, from(), to(5));
    check(&[Says::Metered(5), Says::Metered(5), other], seen);
}

#[test]
fn a_credit_that_was_spent_is_not_spent_again() {
    let minted = credit(5, ANNA, 1);
    let spent = |nonce| Says::Moved(vec![minted.clone()], vec![credit(5, CONTROLLER, nonce)]);
    let says = [
        Says::Metered(5),
        Says::Minted(0, vec![metered(5, 1)], vec![minted.clone()]),
        spent(2),
        spent(3),
    ];
    check(&says, Some(CheckName::Particles));
}
