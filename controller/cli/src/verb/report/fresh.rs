//! Files that are written anew, and never over others.

use std::fs::File;
use std::path::Path;

use crate::codes::usage;
use crate::problem::Problem;

/// A file that was not there before.
pub(super) fn create(path: &Path) -> Result<File, Problem> {
    File::create_new(path).map_err(|e| cannot_write(path, &e))
}

/// What keeps a file from being written.
pub(super) fn cannot_write(path: &Path, e: &dyn std::fmt::Display) -> Problem {
    Problem::usage(usage(
        "C003",
        format!("{} cannot be written: {e}", path.display()),
        "make room, or name a new file with `--out`",
    ))
}
