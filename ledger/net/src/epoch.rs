//! Changing the configuration of a universe: proposed at one node, signed by
//! admins wherever their keys are, carried by any node.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ledger_core::universe::NodeMember;
use ledger_core::{
    EpochChange, EpochError, Epochs, Level, Party, Payload, Role, SecretKey, Universe, UniverseId,
};
use ledger_node::{AtomDraft, Durability, FileStorage, Keyring, NodeLog};
use thiserror::Error;

use crate::config::NodeConfig;
use crate::files::{
    COPIES, FRESH, FilesError, OWN, fault, file_name, key_text, read_key, write_key,
};
use crate::grant::wait;
use crate::node::Node;
use crate::tls::TransportKey;

/// The file of a change in the folder of a proposal.
pub const CHANGE_FILE: &str = "change.json";

/// The file of the configuration that the change follows: its admins are who may sign.
pub const BEFORE_FILE: &str = "before.cbor";

/// What shall be otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// The node that leaves.
    pub leaves: Option<String>,
    /// The node that joins, and where it will listen. It takes over the groups of
    /// the one that leaves, or keeps every group where none does.
    pub joins: Option<(String, SocketAddr)>,
    /// Parties that get a new key.
    pub new_keys: Vec<String>,
    /// Parties that are new, and what they may do.
    pub parties: Vec<(String, Vec<Role>)>,
    /// Parties that are parties no more.
    pub removed: Vec<String>,
    /// How many admins must sign the change after this one.
    pub admin_threshold: Option<u64>,
}

/// Why a change is not made.
#[derive(Debug, Error)]
pub enum ChangeError {
    /// The universe has nobody of this name, or has already.
    #[error("`{name}` is {what} of this universe")]
    Name {
        /// The name.
        name: String,
        /// What it is.
        what: &'static str,
    },
    /// The change may not follow the current configuration.
    #[error(transparent)]
    Epoch(#[from] EpochError),
    /// The node has not heard what the others have.
    #[error("the node has not caught up with a quorum of the others")]
    Behind,
    /// The ledger does not take it.
    #[error("the ledger does not take the change: {0}")]
    Refused(String),
    /// It is in the log of this node, and no quorum has it.
    #[error("the change is no further than {level}: it counts when a quorum of all nodes has it")]
    NotFinal {
        /// How far it is.
        level: &'static str,
    },
    /// A file.
    #[error("{}", .0.0.message)]
    Files(FilesError),
}

impl From<FilesError> for ChangeError {
    fn from(e: FilesError) -> ChangeError {
        ChangeError::Files(e)
    }
}

type Entropy<'a> = &'a mut dyn FnMut(&mut [u8; 32]) -> std::io::Result<()>;

/// A change that nobody has signed yet, and the new keys that it needs.
struct Made {
    change: EpochChange,
    node: Option<(SecretKey, [u8; 32])>,
    parties: Vec<(String, SecretKey)>,
}

fn cannot(what: String) -> FilesError {
    fault(
        "L006",
        what,
        "name a folder that does not exist yet, on a disk with room",
    )
}

fn secret(entropy: Entropy<'_>) -> Result<[u8; 32], FilesError> {
    let mut bytes = [0; 32];
    entropy(&mut bytes).map_err(|e| cannot(format!("there is no entropy: {e}")))?;
    Ok(bytes)
}

fn signing(entropy: Entropy<'_>) -> Result<SecretKey, FilesError> {
    let key = SecretKey::from_bytes(&secret(entropy)?);
    key.map_err(|e| cannot(format!("a key could not be made: {e}")))
}

/// Puts the wish into a configuration that follows the current one.
fn make(epochs: &Epochs, wish: &Wish, entropy: Entropy<'_>) -> Result<Made, ChangeError> {
    let name = |name: &str, what| ChangeError::Name {
        name: name.to_owned(),
        what,
    };
    let old = epochs.current();
    let mut next = old.clone();
    let mut made = Vec::new();
    for (party, roles) in &wish.parties {
        if old.party(party).is_some() {
            return Err(name(party, "a party already"));
        }
        let key = signing(entropy)?;
        next.parties.push(Party {
            name: party.clone(),
            roles: roles.clone(),
            key: key.public(),
        });
        made.push((party.clone(), key));
    }
    for party in &wish.new_keys {
        let of = next.parties.iter_mut().find(|p| p.name == *party);
        let of = of.ok_or_else(|| name(party, "no party"))?;
        let key = signing(entropy)?;
        of.key = key.public();
        made.push((party.clone(), key));
    }
    for party in &wish.removed {
        if next.party(party).is_none() {
            return Err(name(party, "no party"));
        }
        next.parties.retain(|p| p.name != *party);
    }
    next.parties.sort_by(|a, b| a.name.cmp(&b.name));
    let leaves = wish.leaves.as_ref().map(|node| {
        let at = old.nodes.iter().position(|n| n.name == *node);
        at.ok_or_else(|| name(node, "no node"))
    });
    let leaves = leaves.transpose()?;
    let node = match &wish.joins {
        None => None,
        Some((node, _)) if epochs.nodes().iter().any(|n| n.name == *node) => {
            return Err(name(node, "a node, or has been one,"));
        }
        Some(_) => Some((signing(entropy)?, secret(entropy)?)),
    };
    if let Some(federation) = &mut next.federation {
        federation.admin_threshold = wish.admin_threshold.unwrap_or(federation.admin_threshold);
    }
    let joins = wish.joins.as_ref().zip(node.as_ref());
    let joins = match joins {
        None => None,
        Some(((name, _), (key, transport))) => {
            let transport = TransportKey::from_bytes(transport);
            let transport =
                transport.map_err(|e| cannot(format!("a key could not be made: {e}")))?;
            let (name, key) = (name.clone(), key.public());
            Some((NodeMember { name, key }, transport.digest()))
        }
    };
    move_node(old, &mut next, leaves, joins);
    Ok(Made {
        change: epochs.propose(&next)?,
        node,
        parties: made,
    })
}

/// One node leaves, one joins; lists and places follow.
fn move_node(
    old: &Universe,
    next: &mut Universe,
    leaves: Option<usize>,
    joins: Option<(NodeMember, [u8; 32])>,
) {
    let Some(before) = &old.federation else {
        return;
    };
    let keys = old
        .nodes
        .iter()
        .cloned()
        .zip(before.transport_keys.iter().copied());
    let staying = keys.zip(0..).filter(|(_, at)| Some(*at) != leaves);
    /// A node with its key on the wire, and its place before the change.
    type Placed = ((NodeMember, [u8; 32]), Option<usize>);
    let mut nodes: Vec<Placed> = staying.map(|(node, at)| (node, Some(at))).collect();
    nodes.extend(joins.map(|node| (node, None)));
    nodes.sort_by(|a, b| a.0.0.name.cmp(&b.0.0.name));
    let keeps = |group: &Vec<u64>, was: Option<usize>| match (was, leaves) {
        (Some(at), _) | (None, Some(at)) => group.contains(&(at as u64)),
        (None, None) => true,
    };
    let replicas = before.replicas.iter().map(|group| {
        let kept = nodes
            .iter()
            .zip(0..)
            .filter(|((_, was), _)| keeps(group, *was));
        kept.map(|(_, at)| at).collect()
    });
    let replicas = replicas.collect();
    if let Some(federation) = &mut next.federation {
        federation.replicas = replicas;
        federation.transport_keys = nodes.iter().map(|((_, key), _)| *key).collect();
    }
    next.nodes = nodes.into_iter().map(|((node, _), _)| node).collect();
}

/// Proposes a change: writes a folder with its file, the new keys of parties, and a
/// folder for the node that joins.
///
/// # Errors
/// See [`ChangeError`].
pub fn propose(
    config: &NodeConfig,
    wish: &Wish,
    folder: &Path,
    entropy: Entropy<'_>,
) -> Result<EpochChange, ChangeError> {
    let made = make(&config.epochs, wish, entropy)?;
    let write = |what: &Path, e: std::io::Error| cannot(format!("{}: {e}", what.display()));
    std::fs::create_dir(folder).map_err(|e| write(folder, e))?;
    let keys = folder.join("keys");
    if !made.parties.is_empty() {
        std::fs::create_dir(&keys).map_err(|e| write(&keys, e))?;
    }
    for (party, key) in &made.parties {
        let path = keys.join(file_name(party));
        write_key(&path, &key_text(key, None)).map_err(|e| write(&path, e))?;
    }
    if let (Some((name, listen)), Some((key, transport))) = (&wish.joins, &made.node) {
        let home = folder.join(name);
        let keys = home.join("keys");
        std::fs::create_dir_all(&keys).map_err(|e| write(&keys, e))?;
        let path = keys.join(file_name(name));
        write_key(&path, &key_text(key, Some(transport))).map_err(|e| write(&path, e))?;
        let genesis = config.epochs.genesis_configuration().to_json();
        let genesis = genesis.map_err(|e| cannot(e.to_string()))?;
        let path = home.join("universe.json");
        std::fs::write(&path, genesis).map_err(|e| write(&path, e))?;
        let path = home.join("node.toml");
        let text = config_text(config, wish, name, *listen);
        std::fs::write(&path, text).map_err(|e| write(&path, e))?;
    }
    let before = config.epochs.current().canonical();
    let before = before.map_err(|e| cannot(e.to_string()))?;
    let path = folder.join(BEFORE_FILE);
    std::fs::write(&path, before).map_err(|e| write(&path, e))?;
    save(&folder.join(CHANGE_FILE), &config.epochs.id(), &made.change)?;
    Ok(made.change)
}

/// The configuration of a node that joins: it dials all others.
fn config_text(config: &NodeConfig, wish: &Wish, name: &str, listen: SocketAddr) -> String {
    let mut text = format!(
        "# A node of a gridrig ledger. Start it with: gridrig ledger node node.toml\n\
         universe = \"universe.json\"\n\
         node = \"{name}\"\n\
         keys = \"keys\"\n\
         log = \"log\"\n\
         listen = \"{listen}\"\n\
         # Nodes that are gone for good: a restart does not wait for their word.\n\
         lost = []\n\n\
         # Where the other nodes are.\n\
         [peers]\n"
    );
    for node in &config.epochs.current().nodes {
        let at = config.universe.nodes.iter().position(|n| n.key == node.key);
        let address = match at {
            Some(at) if at == config.me => Some(config.listen),
            at => at.and_then(|at| config.peers.get(at).copied().flatten()),
        };
        if let Some(address) = address.filter(|_| wish.leaves.as_ref() != Some(&node.name)) {
            text += &format!("{} = \"{address}\"\n", node.name);
        }
    }
    text
}

fn save(path: &Path, id: &UniverseId, change: &EpochChange) -> Result<(), FilesError> {
    let json = change.to_json(id).map_err(|e| cannot(e.to_string()))?;
    std::fs::write(path, json).map_err(|e| cannot(format!("{}: {e}", path.display())))
}

/// Reads the file of a change.
///
/// # Errors
/// L008: there is none, or somebody has changed it.
pub fn load(path: &Path) -> Result<(UniverseId, EpochChange), FilesError> {
    let wrong = |what: String| {
        let help = "name the change.json that `gridrig ledger epoch propose` wrote, as it wrote it";
        fault(
            "L008",
            format!("the change {}: {what}", path.display()),
            help,
        )
    };
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    // The same line stands in universe.json; the comparison with the rendering decides.
    let id = text.split_once("\"universe_id\": \"");
    let id = id.and_then(|(_, rest)| rest.split_once('"')?.0.parse::<UniverseId>().ok());
    let id = id.ok_or_else(|| wrong("it names no universe".to_owned()))?;
    let change = EpochChange::from_json(&text, &id).map_err(|e| wrong(e.to_string()))?;
    Ok((id, change))
}

/// The configuration that a change follows, out of the file beside it. Nobody has to
/// be trusted for it: the change names it by its hash.
fn before(path: &Path, change: &EpochChange) -> Result<Universe, FilesError> {
    let path = path.with_file_name(BEFORE_FILE);
    let wrong = |what: String| {
        let help = "keep it beside change.json: `gridrig ledger epoch propose` wrote both";
        let what = format!(
            "the configuration before the change, {}: {what}",
            path.display()
        );
        fault("L008", what, help)
    };
    let bytes = std::fs::read(&path).map_err(|e| wrong(e.to_string()))?;
    let before = Universe::from_canonical(&bytes).map_err(|e| wrong(e.to_string()))?;
    match change.is_for(&before).map_err(|e| wrong(e.to_string()))? {
        true => Ok(before),
        false => Err(wrong("the change follows another one".to_owned())),
    }
}

/// Signs a change with the key of an admin of the configuration before it.
///
/// # Errors
/// The file of the change, of the configuration before it or of the key; L015: the key
/// is no admin's.
pub fn sign(path: &Path, key: &Path) -> Result<EpochChange, FilesError> {
    let (id, mut change) = load(path)?;
    let before = before(path, &change)?;
    let (key, _) = read_key(key)?;
    let mut parties = before.parties.iter();
    let party = parties.find(|party| party.key == key.public());
    if !party.is_some_and(|party| party.roles.contains(&Role::Admin)) {
        let whose = party.map_or_else(
            || "nobody's in this universe".to_owned(),
            |party| format!("that of `{}`, who is no admin", party.name),
        );
        let admins = before.parties.iter();
        let admins = admins.filter(|party| party.roles.contains(&Role::Admin));
        let admins: Vec<&str> = admins.map(|party| party.name.as_str()).collect();
        return Err(fault(
            "L015",
            format!("the key is {whose}: nothing was signed"),
            &format!("sign with the key of an admin: {}", admins.join(", ")),
        ));
    }
    let signed = change.approve(&id, &key);
    signed.map_err(|e| cannot(format!("the key does not sign: {e}")))?;
    save(path, &id, &change)?;
    Ok(change)
}

/// Carries a change into the ledger and waits until it is final.
///
/// # Errors
/// See [`ChangeError`]. After [`ChangeError::NotFinal`] the change stays in the log
/// of this node and counts as soon as a quorum has it.
pub fn apply(
    node: &Node,
    config: &NodeConfig,
    now_utc_ns: i64,
    change: &EpochChange,
    patience: Duration,
) -> Result<(), ChangeError> {
    config.epochs.check(change)?;
    let is_ready = || {
        let status = node.status();
        (status.may_sign && status.has_caught_up).then_some(())
    };
    wait(patience, is_ready).ok_or(ChangeError::Behind)?;
    let draft = AtomDraft::new(&config.node, Payload::Epoch(change.clone()));
    let mut ticket = node.submit(now_utc_ns, vec![draft]);
    let receipts = ticket.wait(patience);
    let receipts = receipts.map_err(|e| ChangeError::Refused(e.to_string()))?;
    let Some(receipt) = receipts.first() else {
        return Ok(());
    };
    let is_kept = || (node.status().next_epoch == Some(change.number)).then_some(());
    wait(patience, is_kept).ok_or_else(|| ChangeError::NotFinal {
        level: node.level(receipt.atom_id).map_or("nothing", Level::name),
    })
}

/// Begins the log of the node that joins, in the folder that the proposal made for
/// it; gives its configuration file, or `None` where none joins.
///
/// # Errors
/// Its files, or a change that may not follow.
pub fn begin_log(
    epochs: &Epochs,
    change: &EpochChange,
    proposal: &Path,
) -> Result<Option<PathBuf>, ChangeError> {
    let mut epochs = epochs.clone();
    let before = epochs.nodes().len();
    epochs.follow(change)?;
    let Some(node) = epochs.nodes().get(before) else {
        return Ok(None);
    };
    let home = proposal.join(&node.name);
    let config = home.join("node.toml");
    // Somebody may have moved it to its host already.
    if !config.exists() {
        return Ok(None);
    }
    let write = |what: &Path, e: std::io::Error| cannot(format!("{}: {e}", what.display()));
    let (key, _) = read_key(&home.join("keys").join(file_name(&node.name)))?;
    let log = home.join("log");
    for made in [&log.join(OWN), &log.join(COPIES)] {
        std::fs::create_dir_all(made).map_err(|e| write(made, e))?;
    }
    let own = log.join(OWN);
    let storage = FileStorage::open(&own).map_err(|e| write(&own, e))?;
    let ring = Keyring::new(&node.name, key);
    NodeLog::begin_on(Box::new(storage), &epochs, ring, Durability::Fsync)
        .map_err(|e| cannot(e.to_string()))?;
    let fresh = log.join(FRESH);
    std::fs::write(&fresh, "").map_err(|e| write(&fresh, e))?;
    Ok(Some(config))
}
