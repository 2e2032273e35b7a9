//! A disk in memory that fails on demand and crashes on demand.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use crate::storage::Storage;

#[derive(Debug, Clone, Default)]
pub(crate) struct File {
    pub bytes: Vec<u8>,
    pub synced: usize,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    pub files: BTreeMap<String, File>,
    /// Bytes that still fit, where the disk is small.
    pub space: Option<usize>,
    /// Most bytes that one append takes, where appends are short.
    pub piece: Option<usize>,
    /// Synchronisations that still succeed, where one will fail.
    pub good_syncs: Option<usize>,
    pub syncs: usize,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryStorage(pub Arc<Mutex<Disk>>);

impl MemoryStorage {
    pub fn of(disk: Disk) -> MemoryStorage {
        MemoryStorage(Arc::new(Mutex::new(disk)))
    }

    pub fn disk(&self) -> Disk {
        self.0.lock().unwrap().clone()
    }

    pub fn set(&self, change: impl FnOnce(&mut Disk)) {
        change(&mut self.0.lock().unwrap());
    }

    /// The disk after a crash that kept `kept` bytes beyond what was synchronised.
    pub fn after_crash(&self, kept: usize) -> MemoryStorage {
        let mut disk = self.disk();
        for file in disk.files.values_mut() {
            file.bytes.truncate(file.synced + kept);
        }
        MemoryStorage::of(disk)
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Storage for MemoryStorage {
    fn names(&mut self) -> io::Result<Vec<String>> {
        Ok(self.disk().files.keys().cloned().collect())
    }
    fn read(&mut self, name: &str) -> io::Result<Vec<u8>> {
        self.0
            .lock()
            .unwrap()
            .files
            .get(name)
            .map(|f| f.bytes.clone())
            .ok_or_else(missing)
    }
    fn create(&mut self, name: &str) -> io::Result<()> {
        match self
            .0
            .lock()
            .unwrap()
            .files
            .insert(name.to_owned(), File::default())
        {
            None => Ok(()),
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.lock().unwrap();
        let limits = [Some(bytes.len()), disk.piece, disk.space];
        let count = limits.into_iter().flatten().min().unwrap();
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
        let mut disk = self.0.lock().unwrap();
        disk.files
            .get_mut(name)
            .ok_or_else(missing)?
            .bytes
            .truncate(length as usize);
        Ok(())
    }
    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
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
