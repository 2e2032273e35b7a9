//! A disk in memory that fails on demand and crashes on demand: for tests, and
//! for the simulation of several nodes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::storage::Storage;

/// One file.
#[derive(Debug, Clone, Default)]
pub struct File {
    /// What the file holds as long as the power stays on.
    pub bytes: Vec<u8>,
    /// How much of it is on stable storage.
    pub synced: usize,
}

/// The content of a disk and what it will do.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    /// The files by name.
    pub files: BTreeMap<String, File>,
    /// Bytes that still fit, where the disk is small.
    pub space: Option<usize>,
    /// Most bytes that one append takes, where appends are short.
    pub piece: Option<usize>,
    /// Synchronisations that still succeed, where one will fail.
    pub good_syncs: Option<usize>,
    /// Synchronisations so far.
    pub syncs: usize,
}

/// A storage on such a disk. Clones share the disk.
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage(Arc<Mutex<Disk>>);

impl MemoryStorage {
    /// Holds the disk up until what is given is dropped.
    pub fn stall(&self) -> MutexGuard<'_, Disk> {
        self.locked()
    }

    fn locked(&self) -> MutexGuard<'_, Disk> {
        // Whoever panicked with it is a test that has failed already.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A storage on this disk.
    pub fn of(disk: Disk) -> MemoryStorage {
        MemoryStorage(Arc::new(Mutex::new(disk)))
    }

    /// A copy of the disk as it is.
    pub fn disk(&self) -> Disk {
        self.locked().clone()
    }

    /// Changes the disk.
    pub fn set(&self, change: impl FnOnce(&mut Disk)) {
        change(&mut self.locked());
    }

    /// The disk after a crash that kept `kept` bytes beyond what was synchronised.
    pub fn after_crash(&self, kept: usize) -> MemoryStorage {
        let mut disk = self.disk();
        for file in disk.files.values_mut() {
            file.bytes.truncate(file.synced.saturating_add(kept));
        }
        MemoryStorage::of(disk)
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Storage for MemoryStorage {
    fn names(&mut self) -> io::Result<Vec<String>> {
        Ok(self.locked().files.keys().cloned().collect())
    }
    fn read(&mut self, name: &str) -> io::Result<Vec<u8>> {
        self.locked()
            .files
            .get(name)
            .map(|f| f.bytes.clone())
            .ok_or_else(missing)
    }
    fn read_at(&mut self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let disk = self.locked();
        let bytes = &disk.files.get(name).ok_or_else(missing)?.bytes;
        let from = offset as usize;
        let part = bytes.get(from..from + length);
        part.map(<[u8]>::to_vec)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
    fn length(&mut self, name: &str) -> io::Result<u64> {
        let disk = self.locked();
        let file = disk.files.get(name).ok_or_else(missing)?;
        Ok(file.bytes.len() as u64)
    }
    fn create(&mut self, name: &str) -> io::Result<()> {
        match self.locked().files.entry(name.to_owned()) {
            Entry::Vacant(place) => {
                place.insert(File::default());
                Ok(())
            }
            Entry::Occupied(_) => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.locked();
        let limits = [Some(bytes.len()), disk.piece, disk.space];
        let count = limits.into_iter().flatten().min().unwrap_or(0);
        if count == 0 {
            return Err(io::Error::from_raw_os_error(
                rustix::io::Errno::NOSPC.raw_os_error(),
            ));
        }
        disk.space = disk.space.map(|space| space - count);
        disk.files
            .get_mut(name)
            .ok_or_else(missing)?
            .bytes
            .extend_from_slice(&bytes[..count]);
        Ok(count)
    }
    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        let mut disk = self.locked();
        let file = disk.files.get_mut(name).ok_or_else(missing)?;
        file.bytes.truncate(length as usize);
        // What is appended later was never synchronised.
        file.synced = file.synced.min(file.bytes.len());
        Ok(())
    }
    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut disk = self.locked();
        disk.syncs += 1;
        if disk.good_syncs == Some(0) {
            return Err(io::Error::from_raw_os_error(
                rustix::io::Errno::IO.raw_os_error(),
            ));
        }
        disk.good_syncs = disk.good_syncs.map(|n| n - 1);
        let file = disk.files.get_mut(name).ok_or_else(missing)?;
        file.synced = file.bytes.len();
        Ok(())
    }
    fn sync_names(&mut self) -> io::Result<()> {
        Ok(())
    }
}
