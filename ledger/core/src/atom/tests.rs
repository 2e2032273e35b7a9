use super::*;
use crate::credit::attested;
use crate::particle::Up;
use crate::payload::{MeterReading, Mode, ReadingQuality, Trip};
use crate::record::Amount;
use crate::record::Opaque;
use proptest::prelude::*;

const UNIVERSE: UniverseId = UniverseId([7; 32]);

fn key() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn body(payload: Payload) -> Body {
    let author = Address::of_key(&UNIVERSE, &key().public());
    Body {
        universe: UNIVERSE,
        config_epoch: 0,
        author,
        author_seq: 1,
        prev: None,
        destinations: payload.destinations(&UNIVERSE, &author, &[], DESTINATIONS_MAX),
        deps: vec![],
        hlc: Hlc(5),
        clock_quality: ClockQuality::VIRTUAL,
        particles: vec![],
        payload,
        expiry_utc_ns: None,
    }
}

fn mode(reason: &str) -> Payload {
    Payload::Mode(Mode {
        from: "a".to_owned(),
        to: "b".to_owned(),
        reason: reason.to_owned(),
    })
}

#[test]
fn an_atom_reads_back_and_verifies() {
    let atom = Atom::sign(body(mode("x")), &key()).unwrap();
    let read = Atom::from_bytes(&atom.to_bytes().unwrap(), &UNIVERSE).unwrap();
    assert_eq!(read, atom);
    assert_eq!(read.verify(), Ok(()));
}

#[test]
fn a_second_signature_does_not_rename_an_atom() {
    let atom = Atom::sign(body(mode("x")), &key()).unwrap();
    let witness = SecretKey::from_seed(&[2; 32]);
    let mut sigs = atom.sigs().to_vec();
    sigs.push(Signed {
        key: witness.public(),
        signature: witness.sign(&atom.id().0).unwrap(),
    });
    sigs.sort_by_key(|s| s.key);
    let parts = |sigs| {
        AtomParts {
            body: Opaque(atom.body_bytes().to_vec()),
            sigs,
        }
        .to_bytes()
        .unwrap()
    };
    let both = Atom::from_bytes(&parts(sigs.clone()), &UNIVERSE).unwrap();
    assert_eq!((both.id(), both.verify()), (atom.id(), Ok(())));

    let check = |sigs: Vec<Signed>, expected: &str| {
        let found = Atom::from_bytes(&parts(sigs), &UNIVERSE).and_then(|a| a.verify());
        assert!(
            found.unwrap_err().to_string().contains(expected),
            "{expected}"
        );
    };
    check(sigs.iter().rev().cloned().collect(), "sorted by key");
    check(vec![sigs[0].clone(), sigs[0].clone()], "one per key");
    check(vec![], "1 to 16");
    check(
        sigs.iter()
            .filter(|s| s.key == witness.public())
            .cloned()
            .collect(),
        "did not sign",
    );
    sigs[0].signature = sigs[1].signature;
    check(sigs, "does not verify");
}

#[test]
fn a_reading_puts_up_what_it_has_metered_and_nothing_else_puts_that_up() {
    let (whose, issuer) = (Address([5; 32]), Address([6; 32]));
    let reading = |energy, quality| MeterReading {
        participant: "anna".to_owned(),
        interval_start_utc_ns: 0,
        interval_ns: 1,
        energy_milliwatt_hours: energy,
        quality,
    };
    let (valid, five) = (
        ReadingQuality::Valid,
        reading(Some(5), ReadingQuality::Valid),
    );
    let up = attested(&five, &whose, issuer, 1).unwrap();
    for (energy, quality) in [
        (Some(0), valid),
        (Some(-5), valid),
        (Some(5), ReadingQuality::Estimated),
        (None, ReadingQuality::Missing),
    ] {
        assert_eq!(attested(&reading(energy, quality), &whose, issuer, 1), None);
    }
    let check = |payload: Payload, particles: Vec<Particle>, is_signed: bool| {
        let mut body = body(payload);
        body.particles = particles;
        assert_eq!(Atom::sign(body, &key()).is_ok(), is_signed);
    };
    let read = |reading: &MeterReading| Payload::MeterReading(reading.clone());
    let put_up = |up: &Up| vec![Particle::Up(up.clone())];
    check(read(&five), vec![], true);
    check(read(&five), put_up(&up), true);
    let more = Up {
        amount: Amount(6),
        ..up.clone()
    };
    check(read(&five), put_up(&more), false);
    check(read(&five), [put_up(&up), put_up(&more)].concat(), false);
    check(
        read(&reading(Some(5), ReadingQuality::Estimated)),
        put_up(&up),
        false,
    );
    check(
        read(&five),
        put_up(&Up {
            asset: "metered/x".to_owned(),
            ..up.clone()
        }),
        false,
    );
    check(
        read(&five),
        put_up(&Up {
            asset: "energy".to_owned(),
            ..up.clone()
        }),
        false,
    );
    let down = vec![Particle::Down(up.id(&UNIVERSE).unwrap())];
    check(read(&five), down, false);
    check(mode("x"), put_up(&up), false);
}

#[test]
fn an_atom_of_another_universe_is_refused_and_so_is_a_replayed_signature() {
    let atom = Atom::sign(body(mode("x")), &key()).unwrap();
    let other = UniverseId([8; 32]);
    let bytes = atom.to_bytes().unwrap();
    assert_eq!(
        Atom::from_bytes(&bytes, &other),
        Err(AtomError::Universe { found: UNIVERSE })
    );
    // The same statement under the other universe has another id, so the old
    // signature is worthless there.
    let mut moved = atom.body().clone();
    moved.universe = other;
    moved.author = Address::of_key(&other, &key().public());
    let parts = AtomParts {
        body: Opaque(moved.to_bytes().unwrap()),
        sigs: atom.sigs().to_vec(),
    };
    let replayed = Atom::from_bytes(&parts.to_bytes().unwrap(), &other).unwrap();
    assert!(matches!(
        replayed.verify(),
        Err(AtomError::Signature { .. })
    ));
}

#[test]
fn a_body_over_a_limit_or_out_of_order_is_not_signed() {
    let check = |change: &dyn Fn(&mut Body), expected: &str| {
        let mut body = body(mode("x"));
        change(&mut body);
        let found = Atom::sign(body, &key()).unwrap_err().to_string();
        assert!(found.contains(expected), "{found}");
    };
    let ids = |n: u8| (0..n).map(|i| AtomId([i; 32])).collect::<Vec<_>>();
    check(&|b| b.destinations.clear(), "1 to 16 destinations");
    check(
        &|b| b.destinations = (0..17).map(|i| Address([i; 32])).collect(),
        "1 to 16 destinations",
    );
    check(
        &|b| b.destinations = vec![Address([2; 32]), Address([1; 32])],
        "Destinations are sorted",
    );
    check(
        &|b| b.destinations = vec![Address([1; 32]); 2],
        "Destinations are sorted",
    );
    check(&|b| b.deps = ids(65), "at most 64 dependencies");
    check(
        &|b| b.deps = vec![AtomId([1; 32]); 2],
        "Dependencies are sorted",
    );
    check(&|b| b.author_seq = 0, "begins at 1");
    check(&|b| b.author_seq = 2, "no predecessor");
    check(&|b| b.prev = Some(AtomId([1; 32])), "no predecessor");
    check(&|b| b.author = Address([1; 32]), "did not sign");
    check(
        &|b| b.payload = mode(&"x".repeat(1025)),
        "at most 1024 bytes",
    );
    check(
        &|b| b.particles = vec![Particle::Down(crate::hash::ParticleId([0; 32])); 65],
        "at most 64 particles",
    );
}

proptest! {
    #[test]
    fn any_changed_byte_of_an_atom_is_refused(
        what in "[a-z]{1,20}", times in any::<(i64, i64)>(), at in any::<prop::sample::Index>(), xor in 1u8..,
    ) {
        let trip = Trip { device: "b".to_owned(), what, acted_at_utc_ns: times.0, logged_at_utc_ns: times.1 };
        let atom = Atom::sign(body(Payload::Trip(trip)), &key()).unwrap();
        let mut bytes = atom.to_bytes().unwrap();
        prop_assert!(Atom::from_bytes(&bytes, &UNIVERSE).unwrap().verify().is_ok());
        let at = at.index(bytes.len());
        bytes[at] ^= xor;
        prop_assert!(Atom::from_bytes(&bytes, &UNIVERSE).and_then(|a| a.verify()).is_err());
    }
}
