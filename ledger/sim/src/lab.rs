//! The laboratory of a run: a universe, its keys, and who is at home where.

use std::sync::OnceLock;

use ledger_core::universe::{NodeMember, Suite};
use ledger_core::{Address, Directory, Federation, Party, Role, SecretKey, Universe, UniverseId};
use ledger_node::Keyring;

/// When every run begins, in nanoseconds since the Unix epoch, UTC.
/// Chosen: a time in 2026; nothing depends on which.
pub const BEGIN_UTC_NS: i64 = 1_790_000_000_000_000_000;

/// Fewest and most nodes of a run.
pub const NODES: std::ops::RangeInclusive<usize> = 4..=7;

/// The parties in the order of their names, with their roles.
const PARTIES: [(&str, Role); 8] = [
    ("admin", Role::Admin),
    ("anna", Role::Participant),
    ("bert", Role::Participant),
    (DISHONEST, Role::Participant),
    ("controller", Role::Dispatcher),
    ("meter", Role::Meter),
    ("operator", Role::MarketOperator),
    ("standby", Role::Dispatcher),
];

/// The party that says different things at different nodes.
pub const DISHONEST: &str = "cleo";

/// A universe with all secret keys.
#[derive(Debug)]
pub struct Lab {
    /// The configuration.
    pub universe: Universe,
    /// Its id.
    pub id: UniverseId,
    /// Who is who.
    pub directory: Directory,
    /// The keys of the nodes, in their order.
    pub node_keys: Vec<SecretKey>,
    party_keys: Vec<(&'static str, SecretKey, Address)>,
}

/// Key number `n`.
pub fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

impl Lab {
    /// The laboratory with so many nodes, see [`NODES`]. It is made once.
    pub fn of(nodes: usize) -> &'static Lab {
        static LABS: [OnceLock<Lab>; 8] = [const { OnceLock::new() }; 8];
        LABS[nodes.min(7)].get_or_init(|| Lab::new(nodes.min(7) as u8))
    }

    fn new(nodes: u8) -> Lab {
        let node_keys: Vec<SecretKey> = (1..=nodes).map(key).collect();
        let members = node_keys.iter().enumerate().map(|(at, key)| NodeMember {
            name: format!("node-{at}"),
            key: key.public(),
        });
        let parties: Vec<(&str, Role, SecretKey)> = (101u8..)
            .zip(PARTIES)
            .map(|(n, (name, role))| (name, role, key(n)))
            .collect();
        let universe = Universe {
            version: 2,
            suite: Suite::Sha3Secp256k1,
            name: "simulated".to_owned(),
            created_utc_ns: BEGIN_UTC_NS,
            shard_bits: 1,
            nodes: members.collect(),
            parties: parties
                .iter()
                .map(|(name, role, key)| Party {
                    name: (*name).to_owned(),
                    roles: vec![*role],
                    key: key.public(),
                })
                .collect(),
            federation: Some(Federation {
                admin_threshold: 1,
                transport_keys: vec![[0; 32]; usize::from(nodes)],
                replicas: Federation::full_replication(u64::from(nodes), 1),
            }),
        };
        let id = universe.id().expect("the configuration keeps the rules");
        Lab {
            directory: Directory::new(&universe, id),
            universe,
            id,
            node_keys,
            party_keys: parties
                .into_iter()
                .map(|(name, _, key)| {
                    let address = Address::of_key(&id, &key.public());
                    (name, key, address)
                })
                .collect(),
        }
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.node_keys.len()
    }

    /// How many of them may do anything: below a third.
    pub fn tolerated(&self) -> usize {
        (self.nodes() - 1) / 3
    }

    /// The address of a party.
    pub fn party(&self, name: &str) -> Address {
        let found = self.party_keys.iter().find(|(n, _, _)| *n == name);
        found.map_or(Address([0; 32]), |(_, _, address)| *address)
    }

    /// The key of a party.
    pub fn party_key(&self, name: &str) -> Option<&SecretKey> {
        let found = self.party_keys.iter().find(|(n, _, _)| *n == name);
        found.map(|(_, key, _)| key)
    }

    /// The address of a node.
    pub fn node(&self, node: usize) -> Address {
        Address::of_key(&self.id, &self.universe.nodes[node].key)
    }

    /// The keyring of a node with the keys of the parties that are at home there.
    pub fn keyring(&self, node: usize, parties: &[&str]) -> Keyring {
        let begun = Keyring::new(&format!("node-{node}"), self.node_keys[node].clone());
        parties
            .iter()
            .fold(begun, |keyring, name| match self.party_key(name) {
                Some(key) => keyring.with_party(name, key.clone()),
                None => keyring,
            })
    }
}
