//! The configurations of a log as files beside it: `universe.json`, and for each
//! later epoch a file with the change that began it. A node goes by the epochs
//! whose files it had when its log was opened.

use ledger_core::{EpochChange, Epochs, Field as _};

use crate::error::{LedgerError, StorageError};
use crate::log::{UNIVERSE_FILE, universe_of};
use crate::segments::{create_file, read_file};
use crate::storage::Storage;

/// The name of the file of an epoch.
pub fn epoch_file(number: u64) -> String {
    format!("epoch-{number:08}.cbor")
}

/// Gives a file beside a log, or `None` where there is none.
type ReadFile<'r> = dyn FnMut(&str) -> Result<Option<Vec<u8>>, StorageError> + 'r;

/// All configurations beside a log; `read` gives a file, or `None` where there is
/// none. A file that does not read as a change was never finished: what it said
/// is final, so the log or the other nodes say it again.
pub(crate) fn epochs_by(read: &mut ReadFile<'_>) -> Result<Epochs, LedgerError> {
    let genesis = read(UNIVERSE_FILE)?.unwrap_or_default();
    let mut epochs = Epochs::genesis(&universe_of(&genesis)?)?;
    loop {
        let file = epoch_file(epochs.last() + 1);
        let Some(bytes) = read(&file)? else {
            return Ok(epochs);
        };
        let Ok(change) = EpochChange::from_bytes(&bytes) else {
            return Ok(epochs);
        };
        epochs
            .follow(&change)
            .map_err(|source| LedgerError::Epoch { file, source })?;
    }
}

/// The configurations in a storage; `None` where no log was begun.
///
/// # Errors
/// Storage, or a file that is no configuration, or one that may not follow.
pub fn read_epochs(storage: &mut dyn Storage) -> Result<Option<Epochs>, LedgerError> {
    let names = storage
        .names()
        .map_err(|e| StorageError::new("list", "the log", &e))?;
    if !names.iter().any(|name| name == UNIVERSE_FILE) {
        return Ok(None);
    }
    let mut read = |name: &str| match names.iter().any(|known| known == name) {
        true => read_file(storage, name).map(Some),
        false => Ok(None),
    };
    epochs_by(&mut read).map(Some)
}

/// The configurations in a folder, without its lock; `None` where no log was begun.
///
/// # Errors
/// As [`read_epochs`].
pub fn epochs_in(folder: &std::path::Path) -> Result<Option<Epochs>, LedgerError> {
    let mut read = |name: &str| match std::fs::read(folder.join(name)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StorageError::new("read", name, &e)),
    };
    match read(UNIVERSE_FILE)? {
        None => Ok(None),
        Some(_) => epochs_by(&mut read).map(Some),
    }
}

/// Writes the file of an epoch; when it returns, it is on stable storage.
pub(crate) fn write_epoch(
    storage: &mut dyn Storage,
    change: &EpochChange,
) -> Result<(), LedgerError> {
    let bytes = change.to_bytes().map_err(ledger_core::SchemaError::from);
    let bytes = bytes.map_err(ledger_core::UniverseError::from)?;
    let name = epoch_file(change.number);
    let names = storage
        .names()
        .map_err(|e| StorageError::new("list", "the log", &e))?;
    if names.contains(&name) {
        if read_file(storage, &name)? == bytes {
            return Ok(());
        }
        // One that was never finished. Removing is nothing that a log does, so it is
        // emptied; the power may fail here, too.
        storage
            .truncate(&name, 0)
            .map_err(|e| StorageError::new("truncate", &name, &e))?;
        crate::segments::append_all(storage, &name, &bytes)?;
        return Ok(());
    }
    Ok(create_file(storage, &name, &bytes)?)
}
