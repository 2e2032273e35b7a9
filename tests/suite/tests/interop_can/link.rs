//! What connects a python-can peer with our driver.

use suite::folder;
use suite::process::{Peer, Running, serial_cable};
use tempfile::TempDir;

/// A bus with two ends: a URI for our rig, and arguments for a peer.
pub struct Link {
    pub ours: String,
    pub theirs: Vec<String>,
    /// What carries it, until the test is over.
    _kept: Kept,
}

enum Kept {
    Relay { _peer: Peer },
    Cable { _running: Running, _dir: TempDir },
}

impl Link {
    /// A socketcand daemon, of whom both are clients.
    pub fn socketcand() -> Self {
        let relay = Peer::start("socketcand_relay.py", ["--port", "0"]);
        Self {
            ours: uri_of(&relay),
            theirs: vec!["--port".to_owned(), relay.port().to_string()],
            _kept: Kept::Relay { _peer: relay },
        }
    }

    /// A serial line on which both speak slcan, each of which takes the other for the adapter.
    pub fn serial() -> Self {
        let dir = folder();
        let cable = serial_cable(dir.path());
        let end = |name: &str| dir.path().join(name).display().to_string();
        Self {
            ours: format!("slcan://{}?bitrate=500000", end("ours")),
            theirs: vec!["--slcan".to_owned(), end("theirs")],
            _kept: Kept::Cable {
                _running: cable,
                _dir: dir,
            },
        }
    }
}

/// The bus of a socketcand daemon, for our rig.
pub fn uri_of(relay: &Peer) -> String {
    format!("socketcand://127.0.0.1:{}/can0", relay.port())
}
