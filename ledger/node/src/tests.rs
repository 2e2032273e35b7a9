//! What a log promises, as tests over a disk that fails and crashes on demand.

mod append;
mod damage;
mod files;
mod filled;
mod index;
mod prove;
mod tail;

use ledger_core::payload::{Dispatch, DispatchKind, MeterReading, Mode, ReadingQuality, Setpoint};
use ledger_core::universe::{NodeMember, SHARD_BITS_DEFAULT, Suite};
use ledger_core::{Party, Payload, Role, SecretKey, Universe};

use crate::memory::MemoryStorage;
use crate::{AtomDraft, Durability, Keyring, LedgerError, NodeLog, NodeLogOptions, Receipt};

const NOW: i64 = 1_790_000_000_000_000_000;

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

fn universe() -> Universe {
    let party = |name: &str, roles: &[Role], n| Party {
        name: name.to_owned(),
        roles: roles.to_vec(),
        key: key(n).public(),
    };
    Universe {
        version: 1,
        suite: Suite::Sha3Secp256k1,
        name: "bench-1".to_owned(),
        created_utc_ns: NOW,
        shard_bits: SHARD_BITS_DEFAULT,
        nodes: vec![NodeMember {
            name: "node-1".to_owned(),
            key: key(1).public(),
        }],
        parties: vec![
            party("controller", &[Role::Dispatcher, Role::Meter], 2),
            party("market", &[Role::MarketOperator], 3),
        ],
        federation: None,
    }
}

fn keys() -> Keyring {
    Keyring::new("node-1", key(1))
        .with_party("controller", key(2))
        .with_party("market", key(3))
}

fn dispatch(device: &str, authority_epoch: u64) -> AtomDraft {
    AtomDraft::new(
        "controller",
        Payload::Dispatch(Dispatch {
            device: device.to_owned(),
            kind: DispatchKind::Power,
            setpoint: Setpoint {
                p_milliwatts: Some(1_500_000),
                ..Setpoint::NONE
            },
            authority_epoch,
            valid_from_utc_ns: NOW,
            valid_until_utc_ns: NOW + 1,
            cause: None,
            why: "droop".to_owned(),
        }),
    )
}

fn mode(to: &str) -> AtomDraft {
    let (from, to, reason) = ("grid".to_owned(), to.to_owned(), "rocof".to_owned());
    AtomDraft::new("controller", Payload::Mode(Mode { from, to, reason }))
}

fn reading() -> AtomDraft {
    AtomDraft::new(
        "controller",
        Payload::MeterReading(MeterReading {
            participant: "house-1".to_owned(),
            interval_start_utc_ns: NOW,
            interval_ns: 1_000_000_000,
            energy_milliwatt_hours: Some(-3),
            quality: ReadingQuality::Valid,
        }),
    )
}

fn create(storage: &MemoryStorage, durability: Durability) -> NodeLog {
    NodeLog::create_on(Box::new(storage.clone()), &universe(), keys(), durability).unwrap()
}

fn open(storage: &MemoryStorage) -> Result<NodeLog, LedgerError> {
    NodeLog::open_on(
        Box::new(storage.clone()),
        keys(),
        Durability::Fsync,
        &mut |_| {},
    )
}

fn small_segments() -> NodeLogOptions {
    NodeLogOptions {
        durability: Durability::Fsync,
        segment_bytes: 2000,
        index_entries: None,
    }
}

fn clocks(receipts: &[Receipt]) -> Vec<u64> {
    receipts.iter().map(|r| r.clock).collect()
}
