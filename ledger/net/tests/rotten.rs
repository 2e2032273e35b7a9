//! A bit that turned over where a start does not read: the node finds it on its own.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime};

use ledger_core::payload::Mode;
use ledger_core::{Payload, Role};
use ledger_net::files::{OWN, Plan, init};
use ledger_net::{Event, Node, NodeConfig};
use ledger_node::AtomDraft;

/// Longer than anything here takes, so that a test that fails ends.
const PATIENCE: Duration = Duration::from_secs(60);

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("it does").as_nanos() as i64
}

/// A universe of one node.
fn alone(folder: &Path) -> NodeConfig {
    let held = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let plan = Plan {
        name: "lab".to_owned(),
        created_utc_ns: now(),
        addresses: vec![held.local_addr().expect("it has an address")],
        parties: vec![("controller".to_owned(), vec![Role::Dispatcher])],
        admin_threshold: 1,
        replicas: vec![],
    };
    drop(held);
    let mut n = 0;
    let mut entropy = |bytes: &mut [u8; 32]| {
        n += 1;
        *bytes = [n; 32];
        Ok(())
    };
    let made = init(folder, &plan, &mut entropy).expect("it is right");
    NodeConfig::load(&made.configs[0]).expect("it is right")
}

fn draft() -> AtomDraft {
    let (from, to, reason) = ("grid".to_owned(), "island".to_owned(), "asked".to_owned());
    AtomDraft::new("controller", Payload::Mode(Mode { from, to, reason }))
}

#[test]
fn a_node_whose_old_log_has_rotted_tells_of_it_and_signs_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let config = alone(&dir.path().join("lab"));
    let node = Node::start(&config, Arc::new(now), |_| {}).unwrap();
    for _ in 0..5 {
        node.submit(now(), vec![draft()]).wait(PATIENCE).unwrap();
    }
    node.close().unwrap();
    let segment = config.log.join(OWN).join("segment-00000001.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[400] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    // The start reads the index and the end of the log, and finds nothing wrong.
    let (told, events) = channel();
    let on_event = move |event| {
        let _ = told.send(event);
    };
    let node = Node::start(&config, Arc::new(now), on_event).unwrap();
    let what = loop {
        let event = events.recv_timeout(PATIENCE).expect("it is found");
        if let Event::Faulty { what, .. } = event {
            break what;
        }
    };
    assert!(what.contains("ledger-corrupt"), "{what}");
    assert!(what.contains("segment-00000001.log: at byte"), "{what}");
    assert!(node.submit(now(), vec![draft()]).wait(PATIENCE).is_err());
    assert!(node.status().stopped.is_some());
    drop(node);
    // The next start reads all of it; the lock goes with the thread that had it.
    let message = loop {
        match Node::start(&config, Arc::new(now), |_| {}) {
            Ok(_) => panic!("a log that has rotted is opened"),
            Err(e) => {
                let message = e.into_diagnostic().message;
                if !message.contains("ledger-locked") && !message.contains("cannot be opened") {
                    break message;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    };
    assert!(message.contains("ledger-corrupt"), "{message}");
}
