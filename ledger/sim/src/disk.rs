//! The disks of a node, and what happens to them.

use std::io;

use ledger_core::UniverseId;
use ledger_node::memory::Disk;
use ledger_node::{MemoryStorage, Storage};
use ledger_replica::Stores;

use crate::chance::Chance;

/// The disks of one node: its own log and its copies of the others'.
#[derive(Debug, Clone)]
pub struct Disks {
    /// Its own log.
    pub own: MemoryStorage,
    /// Copies, none at its own place.
    pub copies: Vec<Option<MemoryStorage>>,
}

/// A disk whose synchronisation says done and does nothing, once a log has been
/// begun: what a node does that signs before it is durable.
struct Forgetful(MemoryStorage);

impl Storage for Forgetful {
    fn names(&mut self) -> io::Result<Vec<String>> {
        self.0.names()
    }
    fn read(&mut self, name: &str) -> io::Result<Vec<u8>> {
        self.0.read(name)
    }
    fn read_at(&mut self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.0.read_at(name, offset, length)
    }
    fn create(&mut self, name: &str) -> io::Result<()> {
        self.0.create(name)
    }
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<usize> {
        self.0.append(name, bytes)
    }
    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        self.0.truncate(name, length)
    }
    fn sync(&mut self, name: &str) -> io::Result<()> {
        // The configuration and the header of the first segment.
        let has_begun = self.0.disk().syncs >= 2;
        match has_begun {
            true => Ok(()),
            false => self.0.sync(name),
        }
    }
    fn sync_names(&mut self) -> io::Result<()> {
        self.0.sync_names()
    }
}

fn is_index(name: &str) -> bool {
    name.starts_with("index-")
}

impl Disks {
    /// Empty disks.
    pub fn new(me: usize, nodes: usize) -> Disks {
        Disks {
            own: MemoryStorage::default(),
            copies: (0..nodes)
                .map(|node| (node != me).then(MemoryStorage::default))
                .collect(),
        }
    }

    /// The door through which a replica uses them.
    pub fn stores(&self, is_forgetful: bool) -> Stores {
        let boxed = |disk: &MemoryStorage| -> Box<dyn Storage> { Box::new(disk.clone()) };
        Stores {
            own: match is_forgetful {
                true => Box::new(Forgetful(self.own.clone())),
                false => boxed(&self.own),
            },
            copies: self.copies.iter().map(|c| c.as_ref().map(boxed)).collect(),
        }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &MemoryStorage> {
        [&self.own].into_iter().chain(self.copies.iter().flatten())
    }

    /// Whether all of the own log is on stable storage. Nobody waits for its index.
    pub fn is_durable(&self) -> bool {
        let disk = self.own.stall();
        let mut log = disk.files.iter().filter(|(name, _)| !is_index(name));
        log.all(|(_, f)| f.synced >= f.bytes.len())
    }

    /// Without the indexes, so that opening reads everything.
    pub fn without_indexes(&self) -> Disks {
        let whole = self.backup();
        for disk in whole.all() {
            disk.set(|d| d.files.retain(|name, _| !is_index(name)));
        }
        whole
    }

    /// Whether these bytes of the own log are on stable storage.
    pub fn has_durably(&self, bytes: &[u8]) -> bool {
        let disk = self.own.stall();
        disk.files.values().any(|file| {
            let synced = &file.bytes[..file.synced.min(file.bytes.len())];
            synced.windows(bytes.len()).any(|part| part == bytes)
        })
    }

    /// The segments of the own log, in their order.
    pub fn segments(&self) -> Vec<Vec<u8>> {
        let disk = self.own.disk();
        let segments = disk.files.into_iter();
        let segments = segments.filter(|(name, _)| name.starts_with("segment-"));
        segments.map(|(_, file)| file.bytes).collect()
    }

    /// The power fails: of what was not synchronised the disk has kept a part.
    pub fn lose_power(&mut self, chance: &mut Chance) {
        self.each(|disk| {
            let unsynced = |f: &ledger_node::memory::File| f.bytes.len().saturating_sub(f.synced);
            let most = disk.disk().files.values().map(unsynced).max();
            let kept = chance.below(most.unwrap_or(0) as u64 + 1) as usize;
            let left = disk.after_crash(kept);
            // What was kept is on the platter.
            left.set(|d| {
                for file in d.files.values_mut() {
                    file.synced = file.bytes.len();
                }
            });
            left
        });
    }

    /// The process ends: the system still has all that was written.
    pub fn lose_process(&mut self) {
        self.each(|disk| MemoryStorage::of(disk.disk()));
    }

    /// Whatever was wrong with the disks is mended; what they hold stays.
    pub fn mend(&mut self) {
        for disk in self.all() {
            disk.set(|d| (d.space, d.piece, d.good_syncs) = (None, None, None));
        }
    }

    /// A copy that does not change with them: a backup.
    pub fn backup(&self) -> Disks {
        let mut copy = self.clone();
        copy.lose_process();
        copy
    }

    /// The last batch of the own log is gone, as on a node that keeps its clock
    /// on the disk only now and then.
    pub fn forget_last_batch(&mut self) {
        self.own.set(|d: &mut Disk| {
            let last = d.files.iter_mut().rfind(|(n, _)| n.starts_with("segment-"));
            if let Some((_, file)) = last
                && let Some(last) = crate::frames::batches(&file.bytes).last()
            {
                // The head is followed by the end frame of 49 bytes, and before
                // it stand the entries with their frames of 9 bytes each.
                let frame = |bytes: usize| bytes + 9;
                let entries = last.items.iter().map(|item| match item {
                    crate::frames::Item::Entry(bytes) | crate::frames::Item::Leaf(bytes) => {
                        frame(bytes.len())
                    }
                });
                let length = frame(20) + entries.sum::<usize>() + frame(last.head.len()) + 49;
                let kept = file.bytes.len() - length;
                file.bytes.truncate(kept);
                file.synced = kept;
            }
        });
    }

    /// One stored bit turns over; says in which disk (none: the own log), or
    /// nothing where nothing is stored.
    pub fn rot(&mut self, chance: &mut Chance) -> Option<Option<usize>> {
        let mut disks: Vec<(Option<usize>, &MemoryStorage)> = vec![(None, &self.own)];
        let copies = self.copies.iter().enumerate();
        disks.extend(copies.filter_map(|(at, c)| Some((Some(at), c.as_ref()?))));
        // Half of the time the own log.
        let at = match chance.percent(50) {
            true => 0,
            false => chance.place(disks.len()),
        };
        let (which, disk) = *disks.get(at)?;
        let mut has_rotted = false;
        disk.set(|d| {
            let names: Vec<String> = d.files.keys().cloned().collect();
            if let Some(name) = chance.pick(&names)
                && let Some(file) = d.files.get_mut(name)
                && let stored = match is_index(name) {
                    true => file.bytes.len(),
                    false => file.synced.min(file.bytes.len()),
                }
                && stored > 0
            {
                let at = chance.place(stored);
                file.bytes[at] ^= 1 << chance.below(8);
                has_rotted = true;
            }
        });
        has_rotted.then_some(which)
    }

    /// The copies come back as from a node that keeps other shards: they go as far as
    /// they went, and what stands there are leaves.
    pub fn thin_copies(&self, id: &UniverseId) {
        let leaf = |bytes: &[u8]| ledger_core::merkle::leaf_hash(id, bytes);
        for copy in self.copies.iter().flatten() {
            copy.set(|d| {
                // Neither an index nor what was filled in comes with them.
                d.files.retain(|name, _| name.starts_with("segment-"));
                for (_, file) in d.files.iter_mut() {
                    let was_synced = file.synced >= file.bytes.len();
                    file.bytes = crate::frames::thinned(&file.bytes, &leaf);
                    file.synced = if was_synced { file.bytes.len() } else { 0 };
                }
            });
        }
    }

    fn each(&mut self, mut change: impl FnMut(&MemoryStorage) -> MemoryStorage) {
        self.own = change(&self.own);
        for copy in self.copies.iter_mut().flatten() {
            *copy = change(copy);
        }
    }
}
