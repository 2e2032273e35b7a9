//! An index that grows with its log.

use ledger_core::{Address, UniverseId};

use super::block::{BatchRow, Chained, Gathering, block_bytes, body_hash};
use super::{IndexOptions, Notes, State};
use crate::error::StorageError;
use crate::segments::{append_bytes, cut};
use crate::storage::Storage;

/// The name of the index of a segment.
pub(crate) fn index_name(segment: u64) -> String {
    format!("index-{segment:08}.log")
}

/// The index of one log, open for writing.
#[derive(Debug)]
pub(crate) struct Index {
    pub(super) universe: UniverseId,
    pub(super) options: IndexOptions,
    /// Whose log it is about.
    pub(super) node: Address,
    /// All blocks so far.
    pub(super) chain: Chained,
    /// The segment of the block that is being gathered.
    pub(super) segment: u64,
    gathering: Gathering,
    state: Option<State>,
    /// Why nothing is written any more. The log goes on without: all that this
    /// costs is time at the next opening.
    pub(super) fault: Option<StorageError>,
}

impl Index {
    pub(crate) fn new(universe: UniverseId, options: IndexOptions, node: Address) -> Index {
        Index {
            universe,
            options,
            node,
            chain: Chained::NONE,
            segment: 1,
            gathering: Gathering::default(),
            state: None,
            fault: None,
        }
    }

    /// Takes a batch in that stands at `offset` of `segment`, and is as durable as
    /// it will be.
    pub(crate) fn add(
        &mut self,
        storage: &mut dyn Storage,
        segment: u64,
        (offset, length): (u64, u64),
        notes: Notes,
    ) {
        if segment != self.segment {
            self.flush(storage);
            self.segment = segment;
        }
        self.gathering.batch(BatchRow {
            offset,
            length,
            entries: notes.seen.len() as u32,
            head_bytes: notes.head_bytes as u32,
        });
        for noted in &notes.seen {
            self.gathering.row(noted);
        }
        for (device, authority) in notes.devices {
            self.gathering.device(device, authority);
        }
        self.state = Some(notes.state);
        if self.gathering.count >= self.options.entries {
            self.flush(storage);
        }
    }

    /// Writes what is gathered as a block.
    pub(crate) fn flush(&mut self, storage: &mut dyn Storage) {
        let Some(state) = self.state.take().filter(|_| !self.gathering.is_empty()) else {
            return;
        };
        let body = std::mem::take(&mut self.gathering).body(&self.node, &state);
        if self.fault.is_some() {
            return;
        }
        match self.write(storage, &body) {
            Ok(chain) => self.chain = chain,
            Err(e) => self.fault = Some(e),
        }
    }

    fn write(&self, storage: &mut dyn Storage, body: &[u8]) -> Result<Chained, StorageError> {
        let name = index_name(self.segment);
        let hash = self
            .chain
            .with(&self.universe, &body_hash(&self.universe, body));
        let signature = self.options.key.sign(&hash).map_err(|e| {
            let e = std::io::Error::other(e.to_string());
            StorageError::new("sign", &name, &e)
        })?;
        append_bytes(storage, &name, &block_bytes(body, &signature))?;
        Ok(Chained { hash, signature })
    }

    /// Writes what is gathered and puts all of the index on stable storage. What
    /// fails here costs time at the next opening and nothing else.
    pub(crate) fn finish(&mut self, storage: &mut dyn Storage) {
        self.flush(storage);
        let name = index_name(self.segment);
        if storage.names().is_ok_and(|names| names.contains(&name)) {
            let synced = storage.sync(&name).and_then(|()| storage.sync_names());
            if let Err(e) = synced {
                self.fault = Some(StorageError::new("synchronise", &name, &e));
            }
        }
    }

    /// Empties every file of the index: it is written anew.
    pub(crate) fn forget(&mut self, storage: &mut dyn Storage) {
        self.chain = Chained::NONE;
        self.gathering = Gathering::default();
        self.state = None;
        for name in storage.names().unwrap_or_default() {
            if name.starts_with("index-")
                && let Err(e) = cut(storage, &name, 0)
            {
                self.fault = Some(e);
            }
        }
    }
}
