//! Storage: the few operations on files that a log needs.
//!
//! It is a trait so that full disks, short writes, failing synchronisation and
//! crashes can be tested as exactly as success. The real implementation also
//! holds the lock that keeps a second process away from the same log.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Files in one folder. Names are plain file names.
pub trait Storage: Send {
    /// The names of all files.
    ///
    /// # Errors
    /// Of the operating system, as for every operation here.
    fn names(&mut self) -> io::Result<Vec<String>>;
    /// The content of a file.
    fn read(&mut self, name: &str) -> io::Result<Vec<u8>>;
    /// The `length` bytes from `offset` on.
    fn read_at(&mut self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>>;
    /// How long a file is, in bytes.
    fn length(&mut self, name: &str) -> io::Result<u64> {
        self.read(name).map(|bytes| bytes.len() as u64)
    }
    /// Creates an empty file; it is an error if there is one.
    fn create(&mut self, name: &str) -> io::Result<()>;
    /// Appends at most all of `bytes` and says how many were taken.
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<usize>;
    /// Cuts a file to `length` bytes.
    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()>;
    /// Returns when the content of a file is on stable storage.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    /// Returns when the names themselves are on stable storage.
    fn sync_names(&mut self) -> io::Result<()>;
}

/// A folder of real files, locked against a second writer.
#[derive(Debug)]
pub struct FileStorage {
    path: PathBuf,
    folder: File,
    /// The file that was used last, open for appending.
    open: Option<(String, File)>,
}

impl FileStorage {
    /// Opens an existing folder and locks it.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when another process has the lock.
    pub fn open(path: &Path) -> io::Result<FileStorage> {
        let folder = File::open(path)?;
        flock(&folder, FlockOperation::NonBlockingLockExclusive)?;
        Ok(FileStorage {
            path: path.to_owned(),
            folder,
            open: None,
        })
    }

    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        let path = self.path.join(name);
        let is_open = self.open.as_ref().is_some_and(|(open, _)| open == name);
        if !is_open {
            self.open = None;
        }
        let (_, file) = match self.open.take() {
            Some(open) => self.open.insert(open),
            None => {
                let file = OpenOptions::new().append(true).open(path)?;
                self.open.insert((name.to_owned(), file))
            }
        };
        Ok(file)
    }
}

impl Storage for FileStorage {
    fn names(&mut self) -> io::Result<Vec<String>> {
        list(&self.path)
    }
    fn read(&mut self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.path.join(name))?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
    fn read_at(&mut self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let file = File::open(self.path.join(name))?;
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, offset)?;
        Ok(bytes)
    }
    fn length(&mut self, name: &str) -> io::Result<u64> {
        Ok(std::fs::metadata(self.path.join(name))?.len())
    }
    fn create(&mut self, name: &str) -> io::Result<()> {
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(self.path.join(name))?;
        self.open = Some((name.to_owned(), file));
        Ok(())
    }
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<usize> {
        self.file(name)?.write(bytes)
    }
    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        self.file(name)?.set_len(length)
    }
    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_data()
    }
    fn sync_names(&mut self) -> io::Result<()> {
        self.folder.sync_all()
    }
}

/// The names of the files in a folder, sorted.
pub(crate) fn list(path: &Path) -> io::Result<Vec<String>> {
    let entries = std::fs::read_dir(path)?;
    let mut names: Vec<String> = entries
        .map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()?;
    names.sort();
    Ok(names)
}
