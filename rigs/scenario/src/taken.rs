//! Who has a bench of hardware: one run at a time, on this machine, whatever rig it names it by.
//!
//! A run of the hardware holds a lock for each of its buses until its process ends, however that ends. Two
//! rigs that share a bus exclude each other, as the devices on it could not tell whom to obey. The lease
//! inside a daemon (who may command it) is another thing; so are machines that reach the same devices over
//! a network, of which nobody here knows.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bus::Endpoint;
use document::{Actor, Diagnostic};
use runtime::rig::Rig;

use crate::far_ends::FarEnds;
use crate::folder::hash;

/// How often is looked whether a bench is free. Chosen: a fifth of a second, which nobody feels.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Digits of the hash in the name of a lock. Chosen: 64 bits, more than benches there are.
const NAME_DIGITS: usize = 16;

/// The locks of a bench; they are given back when this is dropped, or with the process.
#[derive(Debug)]
pub struct Taken {
    _locks: Vec<File>,
}

/// What of a rig cannot be shared: the far ends of its buses, each with where its lock is.
fn locks(rig: &Rig, far_ends: &FarEnds) -> Vec<(String, PathBuf)> {
    let folder = std::env::temp_dir();
    (0..rig.buses.len())
        .filter(|index| far_ends.is_real(*index))
        .filter_map(|index| {
            let end = far_end(&rig.bus_spec(index, 0).ok()?.endpoint)?;
            let name = format!("gridrig-bus-{}.lock", &hash(&end)[..NAME_DIGITS]);
            Some((rig.buses[index].id.to_string(), folder.join(name)))
        })
        .collect()
}

/// The far end of a bus, however a rig names it; `None` = many may use it at once, as a broker.
fn far_end(endpoint: &Endpoint) -> Option<String> {
    let real = |path: &str| {
        let found = std::fs::canonicalize(path);
        found.map_or_else(|_| path.to_owned(), |path| path.display().to_string())
    };
    match endpoint {
        Endpoint::Tcp { host, port } => Some(format!("tcp {host}:{port}")),
        Endpoint::Serial { path, .. } | Endpoint::Slcan { path, .. } => {
            Some(format!("serial {}", real(path)))
        }
        Endpoint::SocketCan { interface } => Some(format!("can {interface}")),
        Endpoint::Socketcand {
            host,
            port,
            interface,
        } => Some(format!("can {host}:{port}/{interface}")),
        Endpoint::VirtualCan { .. }
        | Endpoint::Broker(_)
        | Endpoint::Memory(_)
        | Endpoint::MemoryBroker(_) => None,
    }
}

/// Opens a lock, made before by anybody, or makes it for everybody.
fn open(path: &Path) -> std::io::Result<File> {
    if let Ok(file) = File::open(path) {
        return Ok(file);
    }
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    // Who may not write it can still lock it, and is then not named.
    let _ = file.set_permissions(std::fs::Permissions::from_mode(0o666));
    Ok(file)
}

/// Takes what is real of these rigs. Where somebody has it, it is waited for that long.
///
/// # Errors
/// C029 when somebody else has it then, with who that is.
pub fn take<'a>(
    rigs: impl IntoIterator<Item = (&'a Rig, &'a FarEnds)>,
    wait: Duration,
) -> Result<Taken, Diagnostic> {
    let began = Instant::now();
    let mut wanted: Vec<(String, PathBuf)> = rigs
        .into_iter()
        .flat_map(|(rig, far_ends)| locks(rig, far_ends))
        .collect();
    // Always in the same order, lest two runs wait for each other.
    wanted.sort_by(|a, b| a.1.cmp(&b.1));
    wanted.dedup_by(|a, b| a.1 == b.1);
    let mut held = Vec::new();
    let mut was_told = false;
    for (bus, path) in wanted {
        let file = open(&path).map_err(|e| cannot_lock(&path, &e))?;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(e)) => return Err(cannot_lock(&path, &e)),
                Err(TryLockError::WouldBlock) => {}
            }
            let who = std::fs::read_to_string(&path).unwrap_or_default();
            let who = match who.trim() {
                "" => "another run".to_owned(),
                who => who.to_owned(),
            };
            if began.elapsed() >= wait {
                return Err(Diagnostic::error(
                    "C029",
                    Actor::Operator,
                    format!("the bench is taken: {who} has the bus {bus}"),
                )
                .help("wait for its end, or let this run wait with `--wait 10min`"));
            }
            if !std::mem::replace(&mut was_told, true) {
                tracing::info!(target: "start", message = "Waits for the bench.", taken_by = %who, %bus);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        name_holder(&path);
        held.push(file);
    }
    Ok(Taken { _locks: held })
}

/// Says in a lock who holds it, for those who wait.
fn name_holder(path: &Path) {
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    let verb = std::env::args().nth(1).unwrap_or_default();
    let line = format!("{user}, `gridrig {verb}`, process {}\n", std::process::id());
    let written = OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(path)
        .and_then(|mut file| file.write_all(line.as_bytes()));
    if let Err(e) = written {
        tracing::debug!(message = "The lock of a bus does not name its holder.", %e);
    }
}

fn cannot_lock(path: &Path, e: &std::io::Error) -> Diagnostic {
    Diagnostic::error(
        "C029",
        Actor::Operator,
        format!(
            "the lock of the bench {} cannot be used: {e}",
            path.display()
        ),
    )
    .help("mend its permissions, or set TMPDIR to a folder that all who use the bench share")
}
