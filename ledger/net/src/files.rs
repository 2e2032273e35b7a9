//! Keys and folders of nodes on disk, and the making of a new universe.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use document::Diagnostic;
use ledger_core::hash::{from_hex, hex};
use ledger_core::universe::{NodeMember, SHARD_BITS_DEFAULT, Suite, UNIVERSE_VERSION_FEDERATED};
use ledger_core::{Epochs, Federation, KeyError, Party, Role, SecretKey, Universe};
use ledger_node::{Durability, FileStorage, Keyring, NodeLog};

use crate::config::operator;
use crate::tls::TransportKey;

/// Permissions of a key file: its owner alone reads and writes it.
const KEY_MODE: u32 = 0o600;

/// In a node's log folder: its own log.
pub const OWN: &str = "own";
/// In a node's log folder: the copies of the others' logs, by their names.
pub use ledger_node::prove::COPIES;
/// In a node's log folder, from its making to its first start: the log has never
/// been in use, so nobody has to be asked how far it went.
pub const FRESH: &str = "fresh";

/// What is wrong with a node's files.
#[derive(Debug)]
pub struct FilesError(pub Box<Diagnostic>);

pub(crate) fn fault(code: &'static str, message: String, help: &str) -> FilesError {
    FilesError(Box::new(operator(code, message, help)))
}

/// Text of a key file.
pub(crate) fn key_text(signing: &SecretKey, transport: Option<&[u8; 32]>) -> String {
    let mut text = format!("secp256k1 {}\n", hex(&signing.to_bytes()));
    if let Some(transport) = transport {
        text += &format!("ed25519 {}\n", hex(transport));
    }
    text
}

pub(crate) fn write_key(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(KEY_MODE)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The keys in a key file: the signing key, and a node's transport key.
///
/// # Errors
/// L003: not there, open to others, or not a key file.
pub fn read_key(path: &Path) -> Result<(SecretKey, Option<[u8; 32]>), FilesError> {
    let shown = path.display();
    let wrong = |what: String| {
        let help = "restore the file that `gridrig ledger init` wrote, with the permissions 0600";
        fault("L003", format!("the key file {shown}: {what}"), help)
    };
    let found = std::fs::metadata(path).map_err(|e| wrong(e.to_string()))?;
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(wrong(format!("others can use it (mode {mode:03o})")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    let of = |name: &str| -> Option<[u8; 32]> {
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        let mut named = lines.filter(|(key, _)| *key == name);
        from_hex(named.next()?.1)?.try_into().ok()
    };
    let signing = of("secp256k1").ok_or_else(|| wrong("it holds no secp256k1 key".to_owned()))?;
    let signing = SecretKey::from_bytes(&signing).map_err(|e| wrong(e.to_string()))?;
    Ok((signing, of("ed25519")))
}

/// A node's keys: its own, for log and transport, and those of every party whose
/// key file lies beside.
///
/// # Errors
/// L003: a key file is not there, open to others, or of another universe.
pub fn read_keys(
    folder: &Path,
    node: &str,
    epochs: &Epochs,
) -> Result<(Keyring, TransportKey), FilesError> {
    let universe = &epochs.view();
    let path = folder.join(file_name(node));
    let (signing, transport) = read_key(&path)?;
    let wrong = |path: &Path, what: &str| {
        let help = "use the key that belongs to this universe";
        fault(
            "L003",
            format!("the key file {}: {what}", path.display()),
            help,
        )
    };
    let member = universe.nodes.iter().position(|n| n.name == node);
    let member = member.ok_or_else(|| wrong(&path, "the universe has no such node"))?;
    let transport = transport.ok_or_else(|| wrong(&path, "it holds no ed25519 key"))?;
    let transport =
        TransportKey::from_bytes(&transport).map_err(|e| wrong(&path, &e.to_string()))?;
    let pinned = universe.federation.as_ref();
    let pinned = pinned.and_then(|f| f.transport_keys.get(member));
    if universe.nodes[member].key != signing.public() || pinned != Some(&transport.digest()) {
        return Err(wrong(&path, "it is not the key that the universe names"));
    }
    let mut ring = Keyring::new(node, signing);
    for party in &universe.parties {
        let path = folder.join(file_name(&party.name));
        if !path.exists() {
            continue;
        }
        let (key, _) = read_key(&path)?;
        if key.public() != party.key {
            // One that another has replaced signs nothing any more.
            if epochs.had_key(&party.name, &key.public()) {
                continue;
            }
            return Err(wrong(&path, "it is not the key that the universe names"));
        }
        ring = ring.with_party(&party.name, key);
    }
    Ok((ring, transport))
}

/// The name of a key file. Parties may have a slash in their names.
pub fn file_name(member: &str) -> String {
    format!("{}.key", member.replace('/', "-of-"))
}

/// What a new universe shall be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its name, for people.
    pub name: String,
    /// Creation time in nanoseconds since the Unix epoch, UTC.
    pub created_utc_ns: i64,
    /// Where each node will listen; as many as there are nodes.
    pub addresses: Vec<SocketAddr>,
    /// Parties and their roles.
    pub parties: Vec<(String, Vec<Role>)>,
    /// How many admins must sign a change.
    pub admin_threshold: u64,
    /// Nodes of each group of shards, by place; empty for full replication.
    pub replicas: Vec<Vec<u64>>,
}

/// What was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// The universe.
    pub universe: Universe,
    /// The configuration file of each node.
    pub configs: Vec<PathBuf>,
}

/// Makes a universe in a new folder: `universe.json`, and for each node a folder
/// with its configuration, its keys and its empty log. The keys of the parties
/// lie with the first node; move them to where the party is.
///
/// `entropy` fills a key from the operating system's entropy.
///
/// # Errors
/// L006: the folder exists, or something in it cannot be written.
pub fn init(
    folder: &Path,
    plan: &Plan,
    entropy: &mut dyn FnMut(&mut [u8; 32]) -> std::io::Result<()>,
) -> Result<Made, FilesError> {
    let cannot = |what: String| {
        let help = "name a folder that does not exist yet, on a disk with room";
        fault("L006", what, help)
    };
    let mut secret = || -> Result<[u8; 32], FilesError> {
        let mut bytes = [0; 32];
        entropy(&mut bytes).map_err(|e| cannot(format!("there is no entropy: {e}")))?;
        Ok(bytes)
    };
    let signing = |bytes: [u8; 32]| {
        let key = SecretKey::from_bytes(&bytes);
        key.map_err(|e: KeyError| cannot(format!("a key could not be made: {e}")))
    };
    let mut nodes = Vec::new();
    for number in 1..=plan.addresses.len() {
        let transport = secret()?;
        let proven = TransportKey::from_bytes(&transport)
            .map_err(|e| cannot(format!("a key could not be made: {e}")))?;
        let key = signing(secret()?)?;
        nodes.push((
            node_name(number, plan.addresses.len()),
            key,
            transport,
            proven,
        ));
    }
    let mut parties = Vec::new();
    for (name, roles) in &plan.parties {
        parties.push((name.clone(), roles.clone(), signing(secret()?)?));
    }
    parties.sort_by(|a, b| a.0.cmp(&b.0));
    let universe = Universe {
        version: UNIVERSE_VERSION_FEDERATED,
        suite: Suite::Sha3Secp256k1,
        name: plan.name.clone(),
        created_utc_ns: plan.created_utc_ns,
        shard_bits: match plan.replicas.len() {
            0 => SHARD_BITS_DEFAULT,
            groups => groups.ilog2() as u8,
        },
        nodes: nodes
            .iter()
            .map(|(name, key, _, _)| NodeMember {
                name: name.clone(),
                key: key.public(),
            })
            .collect(),
        parties: parties
            .iter()
            .map(|(name, roles, key)| Party {
                name: name.clone(),
                roles: roles.clone(),
                key: key.public(),
            })
            .collect(),
        federation: Some(Federation {
            admin_threshold: plan.admin_threshold,
            transport_keys: nodes.iter().map(|(_, _, _, key)| key.digest()).collect(),
            replicas: match plan.replicas.is_empty() {
                true => Federation::full_replication(nodes.len() as u64, SHARD_BITS_DEFAULT),
                false => plan.replicas.clone(),
            },
        }),
    };
    let json = universe.to_json().map_err(|e| cannot(e.to_string()))?;
    let write = |what: &Path, e: std::io::Error| cannot(format!("{}: {e}", what.display()));
    std::fs::create_dir(folder).map_err(|e| write(folder, e))?;
    let file = folder.join("universe.json");
    std::fs::write(&file, json).map_err(|e| write(&file, e))?;
    let mut configs = Vec::new();
    for (at, (name, key, transport, _)) in nodes.iter().enumerate() {
        let home = folder.join(name);
        let (keys, log) = (home.join("keys"), home.join("log"));
        for made in [&keys, &log.join(OWN), &log.join(COPIES)] {
            std::fs::create_dir_all(made).map_err(|e| write(made, e))?;
        }
        let path = keys.join(file_name(name));
        write_key(&path, &key_text(key, Some(transport))).map_err(|e| write(&path, e))?;
        if at == 0 {
            for (name, _, key) in &parties {
                let path = keys.join(file_name(name));
                write_key(&path, &key_text(key, None)).map_err(|e| write(&path, e))?;
            }
        }
        let own = log.join(OWN);
        let storage = FileStorage::open(&own).map_err(|e| write(&own, e))?;
        let ring = Keyring::new(name, key.clone());
        NodeLog::create_on(Box::new(storage), &universe, ring, Durability::Fsync)
            .map_err(|e| cannot(e.to_string()))?;
        let fresh = log.join(FRESH);
        std::fs::write(&fresh, "").map_err(|e| write(&fresh, e))?;
        let config = home.join("node.toml");
        let text = config_text(name, at, &nodes, &plan.addresses);
        std::fs::write(&config, text).map_err(|e| write(&config, e))?;
        configs.push(config);
    }
    Ok(Made { universe, configs })
}

/// Names sort in the order of their numbers.
fn node_name(number: usize, count: usize) -> String {
    let digits = count.to_string().len();
    format!("node-{number:0digits$}")
}

fn config_text(
    name: &str,
    me: usize,
    nodes: &[(String, SecretKey, [u8; 32], TransportKey)],
    addresses: &[SocketAddr],
) -> String {
    let mut text = format!(
        "# A node of a gridrig ledger. Start it with: gridrig ledger node node.toml\n\
         universe = \"../universe.json\"\n\
         node = \"{name}\"\n\
         keys = \"keys\"\n\
         log = \"log\"\n\
         listen = \"{}\"\n\
         # Nodes that are gone for good: a restart does not wait for their word.\n\
         lost = []\n\n\
         # Where the other nodes are.\n\
         [peers]\n",
        addresses[me]
    );
    for (at, (peer, ..)) in nodes.iter().enumerate() {
        if at != me {
            text += &format!("{peer} = \"{}\"\n", addresses[at]);
        }
    }
    text
}
