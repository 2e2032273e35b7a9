//! What the verification promises: the ledgers of an honest node pass, and
//! everything else fails with the check that saw it.

mod credits;
mod forge;
mod forged;
mod honest;
mod many;

use std::path::Path;

use ledger_core::payload::{Dispatch, DispatchAck, DispatchKind, DispatchStage, Mode, Setpoint};
use ledger_core::universe::{NodeMember, SHARD_BITS_DEFAULT, Suite};
use ledger_core::{AtomId, Party, Payload, Role, SecretKey, Universe};

use crate::{CheckName, Report, verify};

const NOW: i64 = 1_790_000_000_000_000_000;
const SEGMENT: &str = "ledger/segment-00000001.log";

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
        nodes: vec![
            NodeMember {
                name: "node-1".to_owned(),
                key: key(1).public(),
            },
            NodeMember {
                name: "node-2".to_owned(),
                key: key(4).public(),
            },
        ],
        parties: vec![
            party("anna", &[Role::Participant], 6),
            party("controller", &[Role::Dispatcher], 2),
            party("market", &[Role::MarketOperator], 3),
            party("meter", &[Role::Meter], 5),
        ],
        federation: None,
    }
}

fn dispatch(authority_epoch: u64) -> Payload {
    Payload::Dispatch(Dispatch {
        device: "inverter-1".to_owned(),
        kind: DispatchKind::Switch,
        setpoint: Setpoint {
            switch_closed: Some(false),
            ..Setpoint::NONE
        },
        authority_epoch,
        valid_from_utc_ns: NOW,
        valid_until_utc_ns: NOW,
        cause: None,
        why: "rocof".to_owned(),
    })
}

fn ack(dispatch: AtomId) -> Payload {
    let stage = DispatchStage::Register;
    Payload::DispatchAck(DispatchAck {
        dispatch,
        stage,
        measured_p_milliwatts: None,
        seen_utc_ns: NOW,
    })
}

fn mode() -> Payload {
    Payload::Mode(Mode {
        from: "grid".to_owned(),
        to: "island".to_owned(),
        reason: "rocof".to_owned(),
    })
}

/// The name of the first failed check, or the whole report when none failed.
fn failure(run: &Path) -> Result<CheckName, String> {
    let report = verify(run);
    report
        .first_failure()
        .map(|check| check.name)
        .ok_or_else(|| report.to_string())
}

fn passes(report: &Report) {
    assert!(report.is_ok(), "{report}");
}
