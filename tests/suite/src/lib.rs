//! What the whole-house tests share: processes that end with their test, lines of JSON, free ports.
//!
//! It is not responsible for any protocol and knows nothing of gridrig's inside: the interop suites
//! drive the built program and look at it through other people's tools. Every wait has a limit, and a
//! wait that is over is a failure that says what it waited for.

// A failed wait ends the test: this crate is never part of the program.
#![allow(clippy::panic)]

pub mod bench;
pub mod browser;
pub mod http;
pub mod late_meter;
pub mod process;
pub mod run;
pub mod sim;

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long anything may take before it counts as dead. Chosen: 60 s, far above what two busy cores
/// need for the slowest of it, the first start of a browser.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often a wait looks again. Chosen: 50 ms, so that looking costs nothing.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The root of the sources.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the sources are there")
}

/// Where builds, peers and logs are: `CARGO_TARGET_DIR`, by default `target` beside the sources.
#[must_use]
pub fn target() -> PathBuf {
    let named = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    // A name that is absolute stays as it is.
    root().join(named)
}

/// Waits until `holds` gives a value.
///
/// # Panics
/// When it did not within `patience`; the message says `what` was waited for.
pub fn wait_for<T>(what: &str, patience: Duration, mut holds: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = holds() {
            return found;
        }
        assert!(
            began.elapsed() < patience,
            "never came true within {patience:?}: {what}"
        );
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// A port of loopback that is free now.
///
/// # Panics
/// When the system has none.
#[must_use]
pub fn free_port() -> u16 {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    probe
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}

/// Waits until somebody listens on a port of loopback.
///
/// # Panics
/// When nobody did within [`PATIENCE`].
pub fn wait_for_port(what: &str, port: u16) {
    wait_for(&format!("{what} listens on port {port}"), PATIENCE, || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
    });
}

/// A folder that is gone after the test.
///
/// # Panics
/// When the system gives none.
#[must_use]
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}
