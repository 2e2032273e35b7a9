//! Payloads of governance: documents, foreign heads, authority and evidence.

use crate::address::Address;
use crate::hash::{AtomId, Digest32};
use crate::record::Opaque;

record! {
    /// Binds a document, such as the rig or a later configuration, to the log.
    Config {
        /// Which document.
        subject: String,
        /// Its SHA3-256 without a tag, so that any tool can recompute it.
        digest: Digest32,
        /// What changed, for people.
        note: String,
    }
}

record! {
    /// The head of another log, as evidence that it existed by now.
    Checkpoint {
        /// The node that keeps that log.
        node: Address,
        /// Its number of entries.
        size: u64,
        /// Its root.
        root: Digest32,
    }
}

record! {
    /// Lets an issuer command a device from an epoch on.
    AuthorityGrant {
        /// The issuer.
        issuer: Address,
        /// The device.
        device: String,
        /// The first epoch of the grant.
        authority_epoch: u64,
    }
}

record! {
    /// Two signed objects that contradict each other.
    FraudProof {
        /// The kind of contradiction.
        what: String,
        /// The first object as it was received.
        first: Opaque,
        /// The second object as it was received.
        second: Opaque,
    }
}

record! {
    /// Compensation after a fraud. It never unlocks a frozen particle.
    Resolve {
        /// The proof of the fraud.
        fraud: AtomId,
        /// What was decided.
        why: String,
    }
}
