//! Whether somebody still writes a run folder.
//!
//! A process that makes a run holds a lock on its folder until it ends, however it ends: the system
//! gives the lock back when a process is killed. So a record that says that its run goes on can be
//! told from one whose writer is gone.

use std::fs::{File, TryLockError};
use std::path::Path;

/// A held run folder; it is given back when this is dropped, or with the process.
#[derive(Debug)]
pub struct Hold(Option<File>);

impl Hold {
    /// Holds a run folder. Where the file system knows no locks nothing is held, and a run under way
    /// looks like one whose writer is gone.
    #[must_use]
    pub fn take(run_dir: &Path) -> Self {
        let held = File::open(run_dir).ok().filter(|f| f.try_lock().is_ok());
        Self(held)
    }

    /// Whether it is held.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.0.is_some()
    }
}

/// Whether a process holds this run folder.
#[must_use]
pub fn is_held(run_dir: &Path) -> bool {
    let held = File::open(run_dir).map(|folder| folder.try_lock_shared());
    matches!(held, Ok(Err(TryLockError::WouldBlock)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_until_its_writer_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(!is_held(folder.path()));
        let hold = Hold::take(folder.path());
        assert!(hold.is_held() && is_held(folder.path()));
        assert!(!Hold::take(folder.path()).is_held(), "one writer");
        drop(hold);
        assert!(!is_held(folder.path()));
        assert!(!is_held(&folder.path().join("none")));
    }
}
