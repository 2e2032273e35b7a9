//! Who is who, by address: looked up once for each atom.
//!
//! A node has one place for as long as the universe lasts: those of the genesis
//! in its order, then those that later epochs added, in theirs. What else an
//! address may do is a matter of the epoch.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::Address;
use crate::epochs::Epochs;
use crate::federation::{Level, Quorum};
use crate::hash::UniverseId;
use crate::keys::PublicKey;
use crate::payload::Kind;
use crate::universe::Universe;

/// Kinds that a node itself may author: what it saw of others, and a change of
/// the configuration, which is the word of those who have signed it.
pub const KINDS_OF_NODES: [Kind; 3] = [Kind::FraudProof, Kind::Checkpoint, Kind::Epoch];

/// Who is who in all configurations of a universe so far.
#[derive(Debug, Clone)]
pub struct Directory {
    /// The universe.
    pub id: UniverseId,
    places: BTreeMap<Address, usize>,
    /// By epoch, the genesis first; never empty.
    tables: Vec<Table>,
}

/// One configuration.
#[derive(Debug, Clone)]
struct Table {
    /// What each party and node may author.
    kinds: BTreeMap<Address, BTreeSet<Kind>>,
    /// Places of the nodes, sorted.
    members: Vec<usize>,
    /// For each group the places of the nodes that keep it, sorted.
    replicas: Vec<Vec<usize>>,
    shard_bits: u8,
}

impl Table {
    fn new(universe: &Universe, id: &UniverseId, place: impl Fn(&PublicKey) -> usize) -> Table {
        let places: Vec<usize> = universe.nodes.iter().map(|n| place(&n.key)).collect();
        let parties = universe.parties.iter().map(|party| {
            let kinds = party.roles.iter().flat_map(|role| role.kinds()).copied();
            (Address::of_key(id, &party.key), kinds.collect())
        });
        let nodes = universe.nodes.iter().map(|node| {
            let kinds = KINDS_OF_NODES.into_iter().collect();
            (Address::of_key(id, &node.key), kinds)
        });
        let sorted = |mut group: Vec<usize>| {
            group.sort_unstable();
            group
        };
        let replicas = match &universe.federation {
            None => vec![sorted(places.clone()); 1 << universe.shard_bits],
            Some(federation) => {
                let list = |group: &Vec<u64>| {
                    let nodes = group.iter().filter_map(|n| places.get(*n as usize));
                    sorted(nodes.copied().collect())
                };
                federation.replicas.iter().map(list).collect()
            }
        };
        Table {
            kinds: parties.chain(nodes).collect(),
            members: sorted(places),
            replicas,
            shard_bits: universe.shard_bits,
        }
    }

    /// The nodes that keep the shard of an address.
    fn replicas(&self, address: &Address) -> &[usize] {
        let group = address.shard().group(self.shard_bits);
        usize::try_from(group)
            .ok()
            .and_then(|group| self.replicas.get(group))
            .map_or(&[], Vec::as_slice)
    }

    /// The nodes whose votes decide about an atom: the replicas of its author's
    /// shard, where its sequence and what it owns are kept. A change of the
    /// configuration concerns every group, so every node decides about it.
    fn deciding(&self, kind: Kind, author: &Address) -> &[usize] {
        match kind {
            Kind::Epoch => &self.members,
            _ => self.replicas(author),
        }
    }
}

/// How many of those who decide about an atom in one epoch have witnessed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Witnesses among them.
    pub witnesses: usize,
    /// All of them.
    pub quorum: Quorum,
}

impl Count {
    /// The level that this gives.
    pub fn level(self) -> Option<Level> {
        self.quorum.level(self.witnesses)
    }
}

impl Directory {
    /// The directory of the genesis alone.
    pub fn new(universe: &Universe, id: UniverseId) -> Directory {
        let keys: Vec<PublicKey> = universe.nodes.iter().map(|n| n.key).collect();
        Directory::over(id, &keys, std::slice::from_ref(universe))
    }

    /// The directory of all configurations so far.
    pub fn of(epochs: &Epochs) -> Directory {
        let keys: Vec<PublicKey> = epochs.nodes().iter().map(|n| n.key).collect();
        Directory::over(epochs.id(), &keys, epochs.configurations())
    }

    fn over(id: UniverseId, keys: &[PublicKey], configurations: &[Universe]) -> Directory {
        let by_key: BTreeMap<&PublicKey, usize> = keys.iter().zip(0..).collect();
        let place = |key: &PublicKey| by_key.get(key).copied().unwrap_or(usize::MAX);
        let addresses = keys.iter().map(|key| Address::of_key(&id, key));
        Directory {
            id,
            places: addresses.zip(0..).collect(),
            tables: configurations
                .iter()
                .map(|universe| Table::new(universe, &id, place))
                .collect(),
        }
    }

    /// The number of the current configuration; 0 is the genesis.
    pub fn epoch(&self) -> u64 {
        self.tables.len() as u64 - 1
    }

    fn table(&self, epoch: u64) -> Option<&Table> {
        self.tables.get(usize::try_from(epoch).ok()?)
    }

    /// The place of the node with this address, also of one that has left.
    pub fn node(&self, address: &Address) -> Option<usize> {
        self.places.get(address).copied()
    }

    /// Whether some configuration names whoever has this address.
    pub fn knows(&self, address: &Address) -> bool {
        self.tables.iter().any(|t| t.kinds.contains_key(address))
    }

    /// Whether a node belongs to the configuration of an epoch.
    pub fn is_member(&self, epoch: u64, node: usize) -> bool {
        let table = self.table(epoch);
        table.is_some_and(|table| table.members.binary_search(&node).is_ok())
    }

    /// The nodes of the current configuration, by their places, sorted.
    pub fn members(&self) -> &[usize] {
        let table = self.tables.last();
        table.map_or(&[], |table| &table.members)
    }

    /// Whether whoever has this address may author an atom of this kind in an
    /// epoch.
    pub fn may_author(&self, epoch: u64, address: &Address, kind: Kind) -> bool {
        let kinds = self.table(epoch).and_then(|t| t.kinds.get(address));
        kinds.is_some_and(|kinds| kinds.contains(&kind))
    }

    /// The nodes that keep the shard of an address now, by their places, sorted.
    pub fn replicas(&self, address: &Address) -> &[usize] {
        let table = self.tables.last();
        table.map_or(&[], |table| table.replicas(address))
    }

    /// Whether a node keeps the shard of an address, or has while it belonged to
    /// the configuration: the groups of a node never change.
    pub fn serves(&self, node: usize, address: &Address) -> bool {
        let mut tables = self.tables.iter();
        tables.any(|table| table.replicas(address).binary_search(&node).is_ok())
    }

    /// Whether a node keeps the shard of any of the addresses.
    pub fn serves_any(&self, node: usize, addresses: &[Address]) -> bool {
        addresses.iter().any(|address| self.serves(node, address))
    }

    /// Whether a node keeps every shard.
    pub fn keeps_all(&self, node: usize) -> bool {
        let keeps = |group: &Vec<usize>| group.binary_search(&node).is_ok();
        self.tables.iter().any(|t| t.replicas.iter().all(keeps))
    }

    /// The groups that a node keeps, or has kept.
    fn groups(&self, node: usize) -> BTreeSet<usize> {
        let groups = self.tables.iter().flat_map(|t| t.replicas.iter().zip(0..));
        let kept = groups.filter(|(nodes, _)| nodes.binary_search(&node).is_ok());
        kept.map(|(_, group)| group).collect()
    }

    /// Whether a node keeps all shards that another one keeps.
    pub fn keeps_as_much(&self, node: usize, other: usize) -> bool {
        self.groups(node).is_superset(&self.groups(other))
    }

    /// Whether two nodes keep the same shards.
    pub fn keep_the_same(&self, one: usize, other: usize) -> bool {
        self.groups(one) == self.groups(other)
    }

    /// The quorum that decides now about the atoms of an author.
    pub fn quorum(&self, author: &Address) -> Quorum {
        Quorum {
            replicas: self.replicas(author).len(),
        }
    }

    /// Whether a node is among those that decide about an atom, in any epoch.
    pub fn decides(&self, node: usize, kind: Kind, author: &Address) -> bool {
        let mut tables = self.tables.iter();
        tables.any(|table| table.deciding(kind, author).binary_search(&node).is_ok())
    }

    /// Of each epoch how many of those who decide have witnessed an atom.
    /// `has(node, epoch)` says whether a node has, in that epoch or before: a lock
    /// outlives a change, so the vote of a node that stays goes on to count; that
    /// of one that has left counts in the epochs that it belonged to only.
    pub fn counts(
        &self,
        kind: Kind,
        author: &Address,
        has: impl Fn(usize, u64) -> bool,
    ) -> impl Iterator<Item = Count> {
        let numbered = self.tables.iter().zip(0u64..);
        numbered.map(move |(table, epoch)| {
            let deciding = table.deciding(kind, author);
            Count {
                witnesses: deciding.iter().filter(|node| has(**node, epoch)).count(),
                quorum: Quorum {
                    replicas: deciding.len(),
                },
            }
        })
    }

    /// How far an atom is: the highest level that any epoch gives it.
    pub fn level(
        &self,
        kind: Kind,
        author: &Address,
        has: impl Fn(usize, u64) -> bool,
    ) -> Option<Level> {
        self.counts(kind, author, has)
            .filter_map(Count::level)
            .max()
    }

    /// Whether so many nodes of the configuration `epoch` satisfy `holds` that
    /// each group that `node` keeps has a quorum of them.
    pub fn has_quorums_of(&self, epoch: u64, node: usize, holds: impl Fn(usize) -> bool) -> bool {
        let Some(table) = self.table(epoch) else {
            return false;
        };
        let kept = self.tables.iter().flat_map(|t| t.replicas.iter().zip(0..));
        let mut kept = kept.filter(|(group, _)| group.binary_search(&node).is_ok());
        kept.all(|(_, group): (_, usize)| {
            let before = table.replicas.get(group).map_or(&[][..], Vec::as_slice);
            let quorum = Quorum {
                replicas: before.len(),
            };
            before.iter().filter(|node| holds(**node)).count() >= quorum.is_final()
        })
    }
}
