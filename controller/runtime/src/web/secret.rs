//! Files that only their owner may read: tokens and keys.

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use document::{Actor, Diagnostic};

/// Permissions of such a file: its owner alone reads and writes it.
pub(super) const MODE: u32 = 0o600;
/// Everybody but the owner.
const OTHERS: u32 = 0o077;

/// What such a file says; `what` names it in the sentence of a fault.
///
/// # Errors
/// R123 when others can use it, R124 when it cannot be read.
pub fn read(path: &Path, what: &str) -> Result<String, Box<Diagnostic>> {
    let shown = path.display();
    let unreadable = |e: std::io::Error| {
        let cause = format!("the file {shown} cannot be read: {e}");
        let help = format!("give the path of {what}; `gridrig init` makes one");
        Box::new(Diagnostic::error("R124", Actor::Operator, cause).help(help))
    };
    let found = std::fs::metadata(path).map_err(unreadable)?;
    let mode = found.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        let cause = format!("others can use {what} in {shown} (mode {mode:03o})");
        let help =
            format!("`chmod 600 {shown}`; what others have read meanwhile is to be replaced");
        return Err(Box::new(
            Diagnostic::error("R123", Actor::Operator, cause).help(help),
        ));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

/// A token in a file of one line, as a caller has it.
///
/// # Errors
/// As [`read`], and R124 when there is not one line.
pub fn read_line(path: &Path, what: &str) -> Result<String, Box<Diagnostic>> {
    let text = read(path, what)?;
    let line = text.trim();
    if line.is_empty() || line.contains(char::is_control) {
        let cause = format!("the file {} does not hold {what}", path.display());
        return Err(Box::new(
            Diagnostic::error("R124", Actor::Operator, cause)
                .help("write it into the file, in one line, and nothing else"),
        ));
    }
    Ok(line.to_owned())
}

/// Writes a new file with these permissions, to the disk.
///
/// # Errors
/// What the system says; also when there is a file already.
pub(super) fn write_new(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Bytes that nobody can foretell, in hexadecimal digits.
///
/// # Errors
/// What the system says.
pub(super) fn drawn<const BYTES: usize>() -> std::io::Result<String> {
    use std::io::Read as _;
    let mut bytes = [0_u8; BYTES];
    std::fs::File::open(crate::evidence::ENTROPY)?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_only_where_nobody_else_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        write_new(&path, "sesame-sesame-sesame\n", MODE).unwrap();
        assert!(
            write_new(&path, "another", MODE).is_err(),
            "nothing is overwritten"
        );
        let set = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for (mode, expected) in [
            (0o600, Ok("sesame-sesame-sesame")),
            (0o400, Ok("sesame-sesame-sesame")),
            (0o640, Err("R123")),
            (0o604, Err("R123")),
            (0o610, Err("R123")),
        ] {
            set(mode);
            let read = read_line(&path, "the token");
            let read = read.as_deref().map_err(|fault| fault.code);
            assert_eq!(read, expected, "{mode:03o}");
        }
        set(0o600);
        for text in ["", " \n", "two\nlines\n"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read_line(&path, "it").unwrap_err().code, "R124", "{text:?}");
        }
        let nowhere = folder.path().join("nowhere");
        assert_eq!(read(&nowhere, "it").unwrap_err().code, "R124");
    }
}
