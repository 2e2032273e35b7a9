//! A stock OpenSSL verifies our signatures: a second implementation that an
//! auditor already has.

#![allow(clippy::disallowed_methods)] // The other program reads files.

use std::io;
use std::path::Path;
use std::process::Command;

use ledger_core::atom::Body;
use ledger_core::payload::Mode;
use ledger_core::{Address, Atom, AtomError, ClockQuality, Hlc, Payload, SecretKey, UniverseId};

fn atom() -> Result<(Atom, SecretKey), AtomError> {
    let key = SecretKey::from_seed(&[1; 32]);
    let universe = UniverseId([7; 32]);
    let author = Address::of_key(&universe, &key.public());
    let mode = Mode {
        from: "grid".to_owned(),
        to: "island".to_owned(),
        reason: "test".to_owned(),
    };
    let body = Body {
        universe,
        config_epoch: 0,
        author,
        author_seq: 1,
        prev: None,
        destinations: vec![author],
        deps: vec![],
        hlc: Hlc(5),
        clock_quality: ClockQuality::UNKNOWN,
        particles: vec![],
        payload: Payload::Mode(mode),
        expiry_utc_ns: None,
    };
    Ok((Atom::sign(body, &key)?, key))
}

fn openssl_accepts(folder: &Path) -> io::Result<bool> {
    let run = Command::new("openssl")
        .args(["dgst", "-sha3-256", "-keyform", "DER", "-verify", "key.der"])
        .args(["-signature", "signature.der", "preimage.bin"])
        .current_dir(folder)
        .output()?;
    Ok(run.status.success())
}

#[test]
fn openssl_accepts_an_atom_signature_and_refuses_a_changed_one() {
    if Command::new("openssl").arg("version").output().is_err() {
        println!("skipped: there is no openssl in PATH");
        return;
    }
    let folder = std::env::temp_dir().join(format!("ledger-openssl-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (atom, key) = atom().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    write("key.der", &key.public().to_spki_der());
    write("signature.der", &atom.sigs()[0].signature.to_der().unwrap());
    write("preimage.bin", &atom.signed_preimage());
    let accepted = openssl_accepts(&folder).unwrap();
    let mut changed = atom.signed_preimage();
    changed[100] ^= 1;
    write("preimage.bin", &changed);
    let changed_accepted = openssl_accepts(&folder).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!((accepted, changed_accepted), (true, false));
}
