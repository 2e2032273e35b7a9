//! What can go wrong with a log, and who must act.

use std::io;

use ledger_core::{
    AtomError, AuthorityFault, EpochError, ParticleError, UniverseError, payload::Kind,
};
use thiserror::Error;

/// What kind of trouble storage reported. Each has a code that documents,
/// alarms and tests can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageFault {
    /// No space or no quota is left: the operator frees space.
    DiskFull,
    /// The device failed to read or write: the operator replaces it.
    DeviceError,
    /// The file would grow beyond a limit: the operator raises it.
    FileTooLarge,
    /// The process may not do this: the operator fixes permissions.
    NotPermitted,
    /// Another process keeps this log.
    Locked,
    /// There is no such file or folder.
    Missing,
    /// There is a file already where a new log should begin.
    Exists,
    /// What was written does not read any more: the operator replaces the device,
    /// and lets the log be verified.
    Damaged,
    /// Any other error.
    Other,
}

impl StorageFault {
    /// A code that does not change between releases.
    pub fn code(self) -> &'static str {
        match self {
            StorageFault::DiskFull => "ledger-disk-full",
            StorageFault::DeviceError => "ledger-device-error",
            StorageFault::FileTooLarge => "ledger-file-too-large",
            StorageFault::NotPermitted => "ledger-not-permitted",
            StorageFault::Locked => "ledger-locked",
            StorageFault::Missing => "ledger-missing",
            StorageFault::Exists => "ledger-exists",
            StorageFault::Damaged => "ledger-corrupt",
            StorageFault::Other => "ledger-storage",
        }
    }

    fn of(error: &io::Error) -> StorageFault {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageFault::DiskFull,
            io::ErrorKind::FileTooLarge => StorageFault::FileTooLarge,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                StorageFault::NotPermitted
            }
            io::ErrorKind::WouldBlock => StorageFault::Locked,
            io::ErrorKind::NotFound => StorageFault::Missing,
            io::ErrorKind::AlreadyExists => StorageFault::Exists,
            _ if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                StorageFault::DeviceError
            }
            _ => StorageFault::Other,
        }
    }
}

/// A failed operation on a file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: cannot {operation} {file}: {detail}", fault.code())]
pub struct StorageError {
    /// What kind of trouble.
    pub fault: StorageFault,
    /// What was attempted, a verb.
    pub operation: &'static str,
    /// On which file.
    pub file: String,
    /// The words of the operating system.
    pub detail: String,
}

impl StorageError {
    /// What an operating system's error means to a log.
    pub fn new(operation: &'static str, file: &str, error: &io::Error) -> StorageError {
        let (fault, detail) = (StorageFault::of(error), error.to_string());
        StorageError {
            fault,
            operation,
            file: file.to_owned(),
            detail,
        }
    }
}

impl StorageError {
    /// What stands in a file is not what was written.
    pub fn damaged(file: &str, detail: &str) -> StorageError {
        StorageError {
            fault: StorageFault::Damaged,
            operation: "read",
            file: file.to_owned(),
            detail: detail.to_owned(),
        }
    }
}

/// Why a log cannot be created, opened or read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LedgerError {
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The files are not what a node wrote. Nothing was changed.
    #[error("ledger-corrupt: {file} at byte {offset}: {what}")]
    Corrupt {
        /// The file.
        file: String,
        /// Offset of the damage in the file, in bytes.
        offset: u64,
        /// What does not hold there.
        what: String,
    },
    /// The genesis configuration is refused.
    #[error("ledger-universe: {0}")]
    Universe(#[from] UniverseError),
    /// A later configuration is refused.
    #[error("ledger-epoch: {file}: {source}")]
    Epoch {
        /// Its file.
        file: String,
        /// Why.
        source: EpochError,
    },
    /// A key does not belong to this universe.
    #[error("ledger-key: the key of `{name}` is not the one that the universe names")]
    ForeignKey {
        /// The node or party.
        name: String,
    },
    /// A head cannot be signed.
    #[error("ledger-sign: {0}")]
    Sign(#[from] ledger_core::KeyError),
}

impl LedgerError {
    /// A code that does not change between releases.
    pub fn code(&self) -> &'static str {
        match self {
            LedgerError::Storage(e) => e.fault.code(),
            LedgerError::Corrupt { .. } => "ledger-corrupt",
            LedgerError::Universe(_) => "ledger-universe",
            LedgerError::Epoch { .. } => "ledger-epoch",
            LedgerError::ForeignKey { .. } => "ledger-key",
            LedgerError::Sign(_) => "ledger-sign",
        }
    }
}

/// Why a draft is not made an atom. The log itself is unharmed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The keyring has no key of this name.
    #[error("there is no key of `{author}`")]
    NoKey {
        /// The author that the draft names.
        author: String,
    },
    /// The author's roles do not cover the kind.
    #[error("`{author}` may not author a {}", kind.name())]
    NotItsRole {
        /// The author.
        author: String,
        /// The kind of the draft.
        kind: Kind,
    },
    /// The author of a dispatch may not command the device.
    #[error("`{device}`: {fault}")]
    Authority {
        /// The device.
        device: String,
        /// Why not.
        fault: AuthorityFault,
    },
    /// The author's shard is kept by other nodes; one of those takes the draft.
    #[error("this node does not keep the shard of `{author}`")]
    NotKeptHere {
        /// The author.
        author: String,
    },
    /// The atom does not follow the author's latest one.
    #[error("atom {seq} of {author} does not follow the one before")]
    OutOfSequence {
        /// The author.
        author: ledger_core::Address,
        /// Number of the atom in the author's sequence.
        seq: u64,
    },
    /// The change of the configuration may not be made.
    #[error("the change of the configuration: {why}")]
    Epoch {
        /// Why not.
        why: String,
    },
    /// The node is no member of the configuration any more.
    #[error("this node has left the configuration with epoch {epoch}")]
    Left {
        /// The epoch.
        epoch: u64,
    },
    /// The atom is of an epoch that this node does not know yet.
    #[error("the atom is of configuration epoch {found}, this node is in epoch {epoch}")]
    LaterEpoch {
        /// The epoch of the atom.
        found: u64,
        /// That of the node.
        epoch: u64,
    },
    /// The draft had expired when it came to be appended.
    #[error("the draft has expired")]
    Expired,
    /// The author is frozen.
    #[error("`{author}` has contradicted itself and is frozen")]
    Accused {
        /// The author.
        author: String,
    },
    /// What the draft spends was spent.
    #[error("particle {particle} is spent by atom {by}")]
    Spent {
        /// The particle.
        particle: ledger_core::ParticleId,
        /// The atom that spends it.
        by: ledger_core::AtomId,
    },
    /// What the draft spends is not final, so it may still come to nothing.
    #[error("particle {particle} is not final yet")]
    NotFinal {
        /// The particle.
        particle: ledger_core::ParticleId,
    },
    /// The particles are refused.
    #[error(transparent)]
    Particles(#[from] ParticleError),
    /// The atom breaks its schema or a limit.
    #[error(transparent)]
    Atom(#[from] AtomError),
    /// The batch has more drafts than one batch may have.
    #[error("{count} drafts in one batch, more than {max}")]
    TooMany {
        /// Number of drafts.
        count: usize,
        /// The limit.
        max: usize,
    },
}

/// Why an append did not happen.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AppendError {
    /// One draft is refused, so none of its batch was appended.
    #[error("ledger-refused: draft {draft}: {reason}")]
    Refused {
        /// Index of the draft in the batch, from 0.
        draft: usize,
        /// Why.
        reason: Refusal,
    },
    /// Storage failed, now or at an earlier append. The log has stopped: what
    /// the file holds behind the last acknowledged batch is unknown until it is
    /// opened again.
    #[error("the log has stopped: {0}")]
    Stopped(StorageError),
    /// The node cannot sign.
    #[error("ledger-sign: {0}")]
    Sign(ledger_core::KeyError),
}

impl AppendError {
    /// A code that does not change between releases.
    pub fn code(&self) -> &'static str {
        match self {
            AppendError::Refused { .. } => "ledger-refused",
            AppendError::Stopped(e) => e.fault.code(),
            AppendError::Sign(_) => "ledger-sign",
        }
    }
}
