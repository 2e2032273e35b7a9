//! `ledger-verify`: a generated log verified offline on all cores, beside the bare signatures that
//! the same cores verify in the same run.

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, Instant};

use ledger_core::payload::{
    Dispatch, DispatchAck, DispatchKind, DispatchStage, MeterReading, ReadingQuality, Setpoint,
};
use ledger_core::universe::{NodeMember, SHARD_BITS_DEFAULT, Suite};
use ledger_core::{
    AtomId, Digest32, Party, Payload, PublicKey, Role, SecretKey, Signature, Universe,
};
use ledger_node::{AtomDraft, Durability, Keyring, NodeLog};
use ledger_verify::{Expectation, verify_on};
use serde_json::{Value, json};

use super::usage::{Process, cpu, load};
use super::{BenchError, rounded};

/// Entries of the log unless told otherwise. Chosen: half a minute of a fast machine.
pub const ENTRIES: usize = 100_000;

/// Entries of a batch, under one head. Chosen: what a busy node writes at once.
const BATCH: usize = 256;

/// When the run of the log begins: 21 September 2026, in nanoseconds since the Unix epoch.
const BEGIN_UTC_NS: i64 = 1_790_000_000_000_000_000;

/// Time between two batches in nanoseconds.
const STEP_NS: i64 = 100_000_000;

/// Time for which bare signatures are verified, before and after the log.
const BARE: Duration = Duration::from_secs(2);

/// Different signatures among the bare ones. Chosen: so many that no cache knows the next.
const BARE_SIGNATURES: u64 = 4096;

/// Signatures that a core verifies before it looks at the clock.
const BARE_AT_ONCE: usize = 64;

/// Generates a log of so many entries, verifies it, and compares.
///
/// # Errors
/// The log cannot be written, or does not verify.
pub fn measure(entries: usize) -> Result<Value, BenchError> {
    let failed = "the number of cores is not known";
    let cores = std::thread::available_parallelism().map_err(BenchError::system(failed))?;
    let failed = "there is no folder for the log";
    let folder = std::env::temp_dir().join(format!("gridrig-ledger-verify-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(BenchError::system(failed))?;
    let measured = measure_in(&folder, entries, cores);
    let removed = std::fs::remove_dir_all(&folder);
    let measured = measured?;
    removed.map_err(BenchError::system("the log cannot be removed"))?;
    Ok(measured)
}

fn measure_in(folder: &Path, entries: usize, cores: NonZeroUsize) -> Result<Value, BenchError> {
    let load = load();
    let signatures = write_log(folder, entries)?;
    let us = Process(std::process::id());
    let before = bare(cores)?;
    let rss_before = us.size()?.rss_kib;
    let (began, cpu_before) = (Instant::now(), cpu());
    let report = verify_on(folder, &Expectation::default(), cores);
    let verified = Pace::since(signatures as f64, began, cpu_before);
    let rss_max = us.size()?.rss_max_kib;
    let after = bare(cores)?;
    if !report.is_ok() || report.entries != entries as u64 {
        return Err(BenchError::Run(report.to_string()));
    }
    let bare_per_s = f64::midpoint(before.per_s, after.per_s);
    let bare_per_cpu_s = f64::midpoint(before.per_cpu_s, after.per_cpu_s);
    let took_s = signatures as f64 / verified.per_s;
    Ok(json!({
        "bench": "ledger-verify",
        "optimised": !cfg!(debug_assertions),
        "load": load,
        "cores": cores,
        "entries": entries,
        "signatures": signatures,
        "took_s": rounded(took_s),
        "entries_per_s": (entries as f64 / took_s).round(),
        "signatures_per_s": verified.per_s.round(),
        "bare_signatures_per_s": bare_per_s.round(),
        "bare_before_and_after": [before.per_s.round(), after.per_s.round()],
        "ratio": rounded(verified.per_s / bare_per_s),
        "signatures_per_cpu_s": verified.per_cpu_s.round(),
        "bare_signatures_per_cpu_s": bare_per_cpu_s.round(),
        "ratio_of_cpu": rounded(verified.per_cpu_s / bare_per_cpu_s),
        "rss_before_kib": rss_before,
        "rss_max_kib": rss_max,
    }))
}

/// How fast signatures went: by the clock on the wall, and by the time that the cores were ours,
/// which other work on the machine hardly changes.
pub(super) struct Pace {
    pub(super) per_s: f64,
    per_cpu_s: f64,
}

impl Pace {
    fn since(signatures: f64, began: Instant, cpu_before: Duration) -> Pace {
        Pace {
            per_s: signatures / began.elapsed().as_secs_f64(),
            per_cpu_s: signatures / (cpu() - cpu_before).as_secs_f64(),
        }
    }
}

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

/// Writes a log and gives the number of signatures in it. Of three entries one is a dispatch, one
/// its acknowledgement, one a reading; each has one signature, as has every head.
fn write_log(folder: &Path, entries: usize) -> Result<u64, BenchError> {
    let party = |name: &str, role, n| Party {
        name: name.to_owned(),
        roles: vec![role],
        key: key(n).public(),
    };
    let universe = Universe {
        version: 1,
        suite: Suite::Sha3Secp256k1,
        name: "bench".to_owned(),
        created_utc_ns: BEGIN_UTC_NS,
        shard_bits: SHARD_BITS_DEFAULT,
        nodes: vec![NodeMember {
            name: "node-1".to_owned(),
            key: key(1).public(),
        }],
        parties: vec![
            party("controller", Role::Dispatcher, 2),
            party("meter", Role::Meter, 3),
        ],
        federation: None,
    };
    let keys = Keyring::new("node-1", key(1))
        .with_party("controller", key(2))
        .with_party("meter", key(3));
    let failed = |what: String| BenchError::Run(what);
    let mut log = NodeLog::create(folder, &universe, keys, Durability::Buffered)
        .map_err(|e| failed(e.to_string()))?;
    let (mut now, mut signatures, mut written) = (BEGIN_UTC_NS, 0, 0);
    // The dispatch of a batch is acknowledged in a later one, so its id is known.
    let mut commands: Vec<AtomId> = vec![];
    while written < entries {
        let (mut drafts, mut acknowledged) = (vec![], commands.iter());
        for n in written..entries.min(written + BATCH) {
            drafts.push(match (n % 3, acknowledged.next()) {
                (1, Some(dispatch)) => AtomDraft::new("controller", ack(*dispatch, now)),
                (2, _) => AtomDraft::new("meter", reading(n as u64)),
                _ => AtomDraft::new("controller", dispatch(n as i64, now)),
            });
        }
        let is_command = |draft: &AtomDraft| matches!(draft.payload, Payload::Dispatch(_));
        let places: Vec<bool> = drafts.iter().map(is_command).collect();
        let receipts = log
            .append_batch(now, drafts)
            .map_err(|e| failed(e.to_string()))?;
        let ids = receipts.iter().zip(&places);
        commands = ids.filter(|(_, is)| **is).map(|(r, _)| r.atom_id).collect();
        signatures += (receipts.len() + 1) as u64;
        written += receipts.len();
        now += STEP_NS;
    }
    log.close(now).map_err(|e| failed(e.to_string()))?;
    Ok(signatures + 1)
}

fn dispatch(n: i64, now: i64) -> Payload {
    Payload::Dispatch(Dispatch {
        device: format!("inverter-{}", n % 50),
        kind: DispatchKind::Power,
        setpoint: Setpoint {
            p_milliwatts: Some(n * 1000),
            ..Setpoint::NONE
        },
        authority_epoch: 0,
        valid_from_utc_ns: now,
        valid_until_utc_ns: now + STEP_NS,
        cause: None,
        why: "price".to_owned(),
    })
}

fn ack(dispatch: AtomId, now: i64) -> Payload {
    Payload::DispatchAck(DispatchAck {
        dispatch,
        stage: DispatchStage::Power,
        measured_p_milliwatts: Some(1_500_000),
        seen_utc_ns: now,
    })
}

fn reading(n: u64) -> Payload {
    Payload::MeterReading(MeterReading {
        participant: format!("house-{}", n % 20),
        interval_start_utc_ns: BEGIN_UTC_NS,
        interval_ns: 900_000_000_000,
        energy_milliwatt_hours: Some(25_000),
        quality: ReadingQuality::Valid,
    })
}

/// How fast all cores together verify signatures and nothing else.
pub(super) fn bare(cores: NonZeroUsize) -> Result<Pace, BenchError> {
    let secret = key(2);
    let public = secret.public();
    let signed: Vec<(Digest32, Signature)> = (0..BARE_SIGNATURES)
        .map(|n| {
            let mut digest = [0x5a; 32];
            digest[..8].copy_from_slice(&n.to_be_bytes());
            secret.sign(&digest).map(|signature| (digest, signature))
        })
        .collect::<Result<_, _>>()
        .map_err(|e| BenchError::Run(e.to_string()))?;
    let (began, cpu_before) = (Instant::now(), cpu());
    let count = std::thread::scope(|scope| {
        let hands: Vec<_> = (0..cores.get())
            .map(|hand| {
                let signed = &signed;
                scope.spawn(move || verified(&public, signed, hand, began))
            })
            .collect();
        let counts = hands.into_iter().map(|hand| hand.join().unwrap_or(0));
        counts.sum::<usize>()
    });
    Ok(Pace::since(count as f64, began, cpu_before))
}

/// How many signatures one core verifies until the time is over.
fn verified(
    public: &PublicKey,
    signed: &[(Digest32, Signature)],
    hand: usize,
    began: Instant,
) -> usize {
    // Each core begins at another place.
    let mut signatures = signed.iter().cycle().skip(hand * 997);
    let mut count = 0;
    while began.elapsed() < BARE {
        for (digest, signature) in signatures.by_ref().take(BARE_AT_ONCE) {
            count += usize::from(public.verify(digest, signature).is_ok());
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signature_of_a_small_log_is_counted_and_verified() {
        let folder = tempfile::tempdir().unwrap();
        // Two batches and a part of one: 600 entries, of which the first batch has no answers.
        let signatures = write_log(folder.path(), 600).unwrap();
        let report = verify_on(folder.path(), &Expectation::default(), NonZeroUsize::MIN);
        assert!(report.is_ok(), "{report}");
        assert_eq!(report.entries, 600);
        let heads = 4;
        assert_eq!(signatures, 600 + heads);
        assert!(report.kinds["dispatch-ack"] > 50, "{:?}", report.kinds);
    }
}
