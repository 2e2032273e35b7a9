//! A log that is read back: at opening, and from the others where it has lost
//! something.

use std::path::Path;

use ledger_core::merkle::Frontier;
use ledger_core::{Authority, Entry, Field as _, HeadId, ParticleStates, PublicKey, SignedHead};

use super::{LEDGER_FOLDER, NodeLog, NodeLogOptions, UNIVERSE_FILE, empty_chain};
use crate::epochs::read_epochs;
use crate::error::{LedgerError, StorageError};
use crate::index::{Noted, Notes, Recall, Row, State};
use crate::keyring::Keyring;
use crate::segment::{Item, RawBatch};
use crate::segments::{Follower, Segments};
use crate::state::Chain;
use crate::storage::{FileStorage, Storage};

/// What is told of each entry while a log is read back.
pub type Visit<'a> = &'a mut dyn FnMut(Row);

/// A log that is being read back.
struct Reading<'a> {
    key: PublicKey,
    chain: Chain,
    particles: ParticleStates,
    last_head: Option<(String, usize, SignedHead)>,
    visit: Visit<'a>,
}

impl Recall for Reading<'_> {
    fn log_key(&self) -> PublicKey {
        self.key
    }

    fn heads_wanted(&self) -> usize {
        1
    }

    fn recall(&mut self, noted: Noted) -> Result<(), &'static str> {
        let Noted::Entry(row) = noted else {
            return Err("an entry of this node's own log is missing");
        };
        if !row.particles.is_empty() {
            let id = self.chain.universe();
            let applied = match self.chain.keeps(&row.author) {
                true => self
                    .particles
                    .apply(&id, row.kind, &row.author, &row.particles),
                false => self.particles.observe(&id, &row.particles),
            };
            applied.map_err(|_| "the particles do not follow")?;
            self.particles.settle();
        }
        self.chain.recall(&row);
        (self.visit)(row);
        Ok(())
    }

    fn recall_device(&mut self, device: String, authority: Authority) {
        self.chain.recall_device(device, authority);
    }

    fn resume(&mut self, frontier: Frontier, state: &State, heads: Vec<SignedHead>) {
        if let Some(head) = heads.last() {
            self.chain.resume(frontier, state, &head.head);
        }
    }
}

impl Follower for Reading<'_> {
    fn next_clock(&self) -> u64 {
        self.chain.next_clock()
    }

    fn last_head(&self) -> HeadId {
        self.chain.last_head()
    }

    fn follow(&mut self, file: &str, batch: &RawBatch<'_>) -> Result<Notes, LedgerError> {
        let corrupt = |offset: usize, what: String| LedgerError::Corrupt {
            file: file.to_owned(),
            offset: offset as u64,
            what,
        };
        let id = self.chain.universe();
        let mut entries = Vec::with_capacity(batch.items.len());
        for (offset, item) in &batch.items {
            let Item::Entry(bytes) = item else {
                let what = "an entry of this node's own log is missing";
                return Err(corrupt(*offset, what.to_owned()));
            };
            let entry = Entry::from_bytes(bytes, &id)
                .map_err(|e| corrupt(*offset, format!("the entry: {e}")))?;
            self.chain
                .follow_entry(&entry, bytes, &mut self.particles)
                .map_err(|what| corrupt(*offset, what.to_owned()))?;
            entries.push(entry);
        }
        let head = SignedHead::from_bytes(batch.head)
            .map_err(|e| corrupt(batch.head_at, format!("the head: {e}")))?;
        self.chain
            .follow_head(&head.head)
            .map_err(|what| corrupt(batch.head_at, what.to_owned()))?;
        if self.chain.last_head().0 != batch.head_id {
            let what = "the end of the batch names another head";
            return Err(corrupt(batch.head_at, what.to_owned()));
        }
        self.particles.settle();
        self.last_head = Some((file.to_owned(), batch.head_at, head));
        let notes = self.chain.notes(&entries, batch.head.len());
        for noted in &notes.seen {
            if let Noted::Entry(row) = noted {
                (self.visit)(row.clone());
            }
        }
        Ok(notes)
    }
}

impl NodeLog {
    /// Opens the log in `run_dir/ledger` and cuts off a torn tail.
    ///
    /// # Errors
    /// Storage, another process that keeps the log, keys that are not in its
    /// universe, or [`LedgerError::Corrupt`] with file and offset.
    pub fn open(
        run_dir: &Path,
        keys: Keyring,
        options: impl Into<NodeLogOptions>,
    ) -> Result<NodeLog, LedgerError> {
        let folder = run_dir.join(LEDGER_FOLDER);
        let name = folder.display().to_string();
        let storage =
            FileStorage::open(&folder).map_err(|e| StorageError::new("open", &name, &e))?;
        NodeLog::open_on(Box::new(storage), keys, options, &mut |_| {})
    }

    /// As [`NodeLog::open`], from a storage; tells `visit` every entry, out of the
    /// index or out of the log.
    ///
    /// # Errors
    /// As [`NodeLog::open`].
    pub fn open_on(
        mut storage: Box<dyn Storage>,
        keys: Keyring,
        options: impl Into<NodeLogOptions>,
        visit: Visit<'_>,
    ) -> Result<NodeLog, LedgerError> {
        let options = options.into();
        let epochs = read_epochs(&mut *storage)?.ok_or_else(|| {
            StorageError::new("read", UNIVERSE_FILE, &std::io::ErrorKind::NotFound.into())
        })?;
        let id = epochs.id();
        let authors = keys.authors(&epochs)?;
        let mut reading = Reading {
            key: keys.node_key().public(),
            chain: empty_chain(&epochs, &keys)?,
            particles: ParticleStates::default(),
            last_head: None,
            visit,
        };
        let keeping = options.keeping(&epochs, &keys);
        let segments = Segments::open(storage, id, keeping, &mut reading)?;
        // One signature covers all of it: the last head is over the root of all
        // entries and the chain of all heads.
        if let Some((file, offset, head)) = reading.last_head {
            head.verify(&id, &keys.node_key().public())
                .map_err(|e| LedgerError::Corrupt {
                    file,
                    offset: offset as u64,
                    what: format!("the head: {e}"),
                })?;
        }
        Ok(NodeLog {
            epochs,
            segments,
            options,
            universe: id,
            keys,
            authors,
            chain: reading.chain,
            particles: reading.particles,
            stopped: None,
        })
    }

    /// Takes back a batch of its own that others still have and this log has
    /// lost: a restored backup catches up with what its node once signed. Gives the
    /// entries.
    ///
    /// # Errors
    /// Bytes that are not the next batch of this log, signed by its own key, or
    /// storage.
    pub fn take_back(&mut self, bytes: &[u8]) -> Result<Vec<Entry>, LedgerError> {
        let corrupt = |what: &str| LedgerError::Corrupt {
            file: "a batch from a peer".to_owned(),
            offset: 0,
            what: what.to_owned(),
        };
        let batch =
            crate::segment::read_batch(bytes, 0).map_err(|_| corrupt("the batch does not read"))?;
        if batch.first_clock != self.chain.next_clock() || batch.next != bytes.len() {
            return Err(corrupt("the batch does not follow the one before"));
        }
        // Before anything of it is believed.
        let key = self.keys.node_key().public();
        let signed = SignedHead::from_bytes(batch.head);
        if !signed.is_ok_and(|head| head.verify(&self.universe, &key).is_ok()) {
            return Err(corrupt("the head is not ours"));
        }
        let mut reading = Reading {
            key,
            chain: self.chain.clone(),
            particles: std::mem::take(&mut self.particles),
            last_head: None,
            visit: &mut |_| {},
        };
        let mark = reading.particles.mark();
        let before = (self.chain.next_clock(), self.chain.last_head());
        let followed = reading.follow("a batch from a peer", &batch);
        self.particles = reading.particles;
        let notes = match followed {
            Ok(notes) => notes,
            Err(e) => {
                self.particles.roll_back(mark);
                return Err(e);
            }
        };
        let last_clock = reading.chain.next_clock() - 1;
        let written = self
            .segments
            .append(bytes, before, last_clock, true, Some(notes));
        if let Err(e) = written {
            self.stopped = Some(e.clone());
            return Err(e.into());
        }
        self.chain = reading.chain;
        let id = self.universe;
        let entries = batch.items.iter().filter_map(|(_, item)| match item {
            Item::Entry(bytes) => Entry::from_bytes(bytes, &id).ok(),
            Item::Leaf(_) => None,
        });
        Ok(entries.collect())
    }
}
