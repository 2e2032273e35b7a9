//! The configuration of one node: where its files are and whom it talks to.
//!
//! ```toml
//! universe = "../universe.json"
//! node = "node-1"
//! keys = "keys"
//! log = "log"
//! listen = "127.0.0.1:7301"
//! lost = []
//!
//! [peers]
//! node-2 = "127.0.0.1:7302"
//! ```

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use document::{Diagnostic, Document, Source};
use ledger_core::{Epochs, Universe};
use ledger_node::epochs_in;

use crate::files::OWN;

/// The codes of a ledger's nodes, explained.
pub const EXPLANATIONS: &[(&str, &str)] = &[
    (
        "L001",
        "A node's configuration names something that the universe does not have, or not a socket address such as `192.168.1.12:7301`.",
    ),
    (
        "L002",
        "A file that a node's configuration names cannot be read, or does not hold what it should. The universe is the `universe.json` that `gridrig ledger init` wrote, the same at every node.",
    ),
    (
        "L003",
        "A key file is missing, can be read by others, or is not the key that the universe names. A key belongs to one node alone, with the permissions 0600: who has it can sign in its place.",
    ),
    (
        "L004",
        "The log of a node cannot be opened. Another process may keep it, a disk may be full or failing; the message says which. Damage is never mended by cutting something off: a copy of another's log may be removed, it is fetched again; a node's own log is not, ask the other nodes' operators first.",
    ),
    (
        "L005",
        "The address on which a node listens cannot be used.",
    ),
    (
        "L006",
        "A new universe cannot be written here: the folder exists already, or cannot be made.",
    ),
    (
        "L007",
        "Devices are not granted to a controller. A grant counts everywhere only when it is final, and whoever grants must know what was granted before: so the node waits until it has caught up with a quorum of the others, and until they have the grant. The admin's key lies with one node; with two, the admin would contradict itself.",
    ),
    (
        "L008",
        "A change of the configuration is not made, or this node has left with one. A change follows the current configuration, moves one node at most, and carries the signatures of as many admins as that configuration asks for; it counts when a quorum of all nodes of the old configuration has it. A node that has left signs nothing any more, and the others do not take its connections.",
    ),
    (
        "L015",
        "A change of the configuration is signed by admins of the configuration before it. The key that was named is not one of theirs, so nothing was signed.",
    ),
];

/// What is wrong with a node's configuration: every fault, with its place.
#[derive(Debug)]
pub struct ConfigError(pub Vec<Diagnostic>);

/// The configuration of one node, read and checked against its universe.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeConfig {
    /// The current configuration of the universe, with every node that ever was.
    pub universe: Universe,
    /// All configurations up to it.
    pub epochs: Epochs,
    /// The node's name.
    pub node: String,
    /// The node, by its place in the universe.
    pub me: usize,
    /// The folder of its keys.
    pub keys: PathBuf,
    /// The folder of its log and of the copies of the others'.
    pub log: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where the other nodes are, in the order of the universe; those that are not named
    /// are heard of through others only.
    pub peers: Vec<Option<SocketAddr>>,
    /// Nodes that are gone for good.
    pub lost: BTreeSet<usize>,
}

impl NodeConfig {
    /// Reads a configuration file; paths in it are relative to its folder.
    ///
    /// # Errors
    /// Every fault, with its place.
    pub fn load(path: &Path) -> Result<NodeConfig, ConfigError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| {
            let message = format!("{shown} cannot be read: {e}");
            let help = "name the node's configuration file, which `gridrig ledger init` wrote";
            ConfigError(vec![operator("L002", message, help)])
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let document =
            Document::parse(Source::new(shown, text)).map_err(|fault| ConfigError(vec![*fault]))?;
        let config = NodeConfig::read(&document, folder);
        match (config, document.has_errors()) {
            (Some(config), false) => Ok(config),
            _ => Err(ConfigError(document.into_faults())),
        }
    }

    fn read(document: &Document, folder: &Path) -> Option<NodeConfig> {
        let root = document.root();
        let universe_path = root.required_text("universe", "../universe.json");
        let node = root.required_text("node", "node-1");
        let keys = root.required_text("keys", "keys");
        let log = root.required_text("log", "log");
        let listen = root.required_text("listen", "127.0.0.1:7301");
        let lost = root.texts("lost");
        let peers = root.table("peers");
        let named: Vec<_> = peers
            .iter()
            .flat_map(|table| {
                let keys = table.keys().into_iter();
                keys.filter_map(|name| Some((name.clone(), table.text(&name.value)?)))
            })
            .collect();
        if let Some(peers) = peers {
            peers.finish();
        }
        root.finish();

        let universe_path = universe_path?;
        let universe = match std::fs::read_to_string(folder.join(&universe_path.value))
            .map_err(|e| e.to_string())
            .and_then(|text| Universe::from_json(&text).map_err(|e| e.to_string()))
        {
            Ok(universe) => universe,
            Err(e) => {
                let help = "name the universe.json that every node of this universe has";
                let message = format!("the universe cannot be read: {e}");
                document.error("L002", universe_path.span, message, "here", help);
                return None;
            }
        };
        let log = log.map(|log| (folder.join(&log.value), log.span));
        let (log, span) = log?;
        let genesis = Epochs::genesis(&universe);
        let beside = epochs_in(&log.join(OWN)).map_err(|e| e.to_string());
        let epochs = beside.and_then(|found| match found {
            Some(epochs) => Ok(epochs),
            None => genesis.map_err(|e| e.to_string()),
        });
        let epochs = match epochs {
            Ok(epochs) => epochs,
            Err(e) => {
                let help = "take the files `epoch-*.cbor` of another node";
                let message = format!("the configurations beside the log: {e}");
                document.error("L002", span, message, "in here", help);
                return None;
            }
        };
        if epochs.genesis_configuration() != &universe {
            let help = "a log belongs to the universe with which it began";
            let message = "the log is of another universe".to_owned();
            document.error("L002", span, message, "in here", help);
            return None;
        }
        let universe = epochs.view();
        let place = |name: &str| universe.nodes.iter().position(|n| n.name == name);
        let known = || {
            let names: Vec<&str> = universe.nodes.iter().map(|n| n.name.as_str()).collect();
            format!("the universe has {}", names.join(", "))
        };
        let find = |name: &document::Spanned<String>| {
            let found = place(&name.value);
            if found.is_none() {
                let message = format!("the universe has no node `{}`", name.value);
                document.error("L001", name.span.clone(), message, "here", known());
            }
            found
        };
        let address = |text: &document::Spanned<String>| match text.value.parse::<SocketAddr>() {
            Ok(address) => Some(address),
            Err(_) => {
                let message = format!("`{}` is not an address with a port", text.value);
                let help = "such as `192.168.1.12:7301`";
                document.error("L001", text.span.clone(), message, "here", help);
                None
            }
        };
        let me = node.as_ref().and_then(find);
        let lost = lost.iter().filter_map(find).collect();
        let mut peer_addresses = vec![None; universe.nodes.len()];
        for (name, text) in &named {
            let (at, to) = (find(name), address(text));
            if let Some(slot) = at.and_then(|at| peer_addresses.get_mut(at)) {
                *slot = to;
            }
            if at.is_some() && at == me {
                let message = format!("`{}` is this node itself", name.value);
                document.error("L001", name.span.clone(), message, "here", "leave it out");
            }
        }
        Some(NodeConfig {
            listen: listen.as_ref().and_then(address)?,
            node: node?.value,
            me: me?,
            keys: folder.join(keys?.value),
            log,
            epochs,
            peers: peer_addresses,
            lost,
            universe,
        })
    }
}

pub(crate) fn operator(code: &'static str, message: String, help: &str) -> Diagnostic {
    Diagnostic::error(code, document::Actor::Operator, message).help(help)
}
