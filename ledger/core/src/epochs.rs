//! The configurations of a universe, one after the other.
//!
//! The genesis is epoch 0. Each later one is an [`EpochChange`]: a whole
//! configuration that names the one before by its hash and is signed by as many
//! admins of the one before as that asks for. Whoever holds the genesis and the
//! changes knows every configuration, and needs to trust nobody else.
//!
//! One change moves one node at most: one leaves, one joins, or both. Then a
//! quorum of the old configuration and one of the new share so many nodes that
//! two atoms that exclude each other are never both final, one before the change
//! and one after it, as long as a node that joins has read the logs of a quorum
//! of the old ones as far as these wrote in the old epoch.

use thiserror::Error;

use crate::address::Address;
use crate::atom::Signed;
use crate::cbor::Value;
use crate::hash::{Digest32, Tag, UniverseId, from_hex, hex, tagged};
use crate::keys::{PublicKey, SecretKey};
use crate::record::{Field, Opaque, SchemaError};
use crate::universe::{NodeMember, Universe, UniverseError, json_text};

record! {
    /// A later configuration of a universe, with the admins' signatures.
    EpochChange where is_later {
        /// Number of the epoch that it begins; the genesis is 0.
        number: u64,
        /// Hash of the configuration before.
        prev: Digest32,
        /// Canonical bytes of the configuration.
        configuration: Opaque,
        /// The signatures of admins of the configuration before, sorted by key.
        approvals: Vec<Signed>,
    }
}

fn is_later(change: &EpochChange) -> Result<(), SchemaError> {
    let rules = [
        (change.number >= 1, "The epoch of the genesis is 0."),
        (
            change.approvals.is_sorted_by(|a, b| a.key < b.key),
            "Approvals are sorted by key and unique.",
        ),
    ];
    match rules.into_iter().find(|(holds, _)| !holds) {
        Some((_, rule)) => Err(SchemaError::Rule { rule }),
        None => Ok(()),
    }
}

/// Why a change of the configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EpochError {
    /// It is not the next one.
    #[error("epoch {found} does not follow epoch {last}")]
    Number {
        /// Its number.
        found: u64,
        /// The number of the configuration that it would follow.
        last: u64,
    },
    /// It names another configuration than the one before.
    #[error("epoch {number} was made for another configuration than epoch {}", .number - 1)]
    Predecessor {
        /// Its number.
        number: u64,
    },
    /// The configuration does not hold.
    #[error(transparent)]
    Configuration(#[from] UniverseError),
    /// A rule over both configurations is broken.
    #[error("the change of the configuration: {rule}")]
    Rule {
        /// The broken rule as a sentence.
        rule: &'static str,
    },
    /// A signature is of nobody who may approve, or does not hold.
    #[error("the key {key} has not approved it as an admin of the configuration before")]
    Approval {
        /// The key.
        key: PublicKey,
    },
    /// Too few admins have signed.
    #[error("{found} of {needed} admins have signed it")]
    TooFew {
        /// How many have.
        found: u64,
        /// How many it takes.
        needed: u64,
    },
}

impl EpochChange {
    /// What the admins sign: number, predecessor and configuration.
    pub fn digest(&self, id: &UniverseId) -> Digest32 {
        let fields = vec![
            self.number.to_value(),
            self.prev.to_value(),
            self.configuration.to_value(),
        ];
        // Over the limit of the encoding it is refused as a payload anyway.
        let bytes = Value::Array(fields).encode().unwrap_or_default();
        tagged(Tag::Epoch, id, &[&bytes])
    }

    /// Whether it was made for this configuration, and follows it.
    ///
    /// # Errors
    /// The configuration is over the limits of the encoding.
    pub fn is_for(&self, before: &Universe) -> Result<bool, UniverseError> {
        Ok(self.prev == digest_of(&before.canonical()?))
    }

    /// Adds the approval of whoever has this key, in its place.
    ///
    /// # Errors
    /// The key refuses to sign.
    pub fn approve(&mut self, id: &UniverseId, key: &SecretKey) -> Result<(), crate::KeyError> {
        let signed = Signed {
            key: key.public(),
            signature: key.sign(&self.digest(id))?,
        };
        self.approvals.retain(|other| other.key != signed.key);
        let at = self.approvals.partition_point(|s| s.key < signed.key);
        self.approvals.insert(at, signed);
        Ok(())
    }
}

/// What precedes the canonical bytes in the file of a change.
const CANONICAL_KEY: &str = "\"canonical_cbor_hex\": \"";

impl EpochChange {
    /// The file in which a change goes from admin to admin: a rendering for people
    /// around the canonical bytes.
    ///
    /// # Errors
    /// A configuration that breaks a rule, or a change over the limits of the
    /// encoding.
    pub fn to_json(&self, id: &UniverseId) -> Result<String, UniverseError> {
        let configuration = Universe::from_canonical(&self.configuration.0)?;
        let canonical = hex(&self.to_bytes().map_err(SchemaError::from)?);
        let list = |rows: Vec<String>| match rows.is_empty() {
            true => "[]".to_owned(),
            false => format!("[\n    {}\n  ]", rows.join(",\n    ")),
        };
        let row = |name: &str, key: &PublicKey, what: &str| {
            format!(r#"{{ "name": {}, "key": "{key}"{what} }}"#, json_text(name))
        };
        let nodes = configuration.nodes.iter();
        let parties = configuration.parties.iter().map(|party| {
            let roles: Vec<String> = party.roles.iter().map(|r| json_text(r.name())).collect();
            let roles = format!(r#", "roles": [{}]"#, roles.join(", "));
            row(&party.name, &party.key, &roles)
        });
        let threshold = configuration.federation.as_ref();
        let threshold = threshold.map_or(0, |federation| federation.admin_threshold);
        let approved = self.approvals.iter().map(|s| format!("\"{}\"", s.key));
        Ok(format!(
            "{{\n  \"universe_id\": \"{id}\",\n  \"epoch\": {},\n  \"follows\": \"{}\",\n  \
             \"nodes\": {},\n  \"parties\": {},\n  \"admin_threshold\": {threshold},\n  \
             \"approved_by\": {},\n  {CANONICAL_KEY}{canonical}\"\n}}\n",
            self.number,
            hex(&self.prev),
            list(nodes.map(|node| row(&node.name, &node.key, "")).collect()),
            list(parties.collect()),
            list(approved.collect()),
        ))
    }

    /// Reads such a file; any byte that the canonical bytes would not render to is
    /// refused, so that nobody approves what was not hashed.
    ///
    /// # Errors
    /// See [`UniverseError`].
    pub fn from_json(json: &str, id: &UniverseId) -> Result<EpochChange, UniverseError> {
        let not_it = || UniverseError::NotItsRendering;
        let (_, rest) = json.rsplit_once(CANONICAL_KEY).ok_or_else(not_it)?;
        let (canonical, _) = rest.split_once('"').ok_or_else(not_it)?;
        let bytes = from_hex(canonical).ok_or_else(not_it)?;
        let change = EpochChange::from_bytes(&bytes)?;
        match change.to_json(id)? == json {
            true => Ok(change),
            false => Err(not_it()),
        }
    }
}

/// The hash of a configuration; that of the genesis is the universe's id.
fn digest_of(configuration: &[u8]) -> Digest32 {
    tagged(Tag::Universe, &UniverseId::NONE, &[configuration])
}

/// All configurations of a universe up to the current one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epochs {
    id: UniverseId,
    genesis: Universe,
    /// The genesis first.
    configurations: Vec<Universe>,
    /// What began each of them but the genesis.
    changes: Vec<EpochChange>,
    /// Hash of the current one.
    digest: Digest32,
    /// Every node that ever was, in the order in which they joined.
    nodes: Vec<NodeMember>,
}

impl Epochs {
    /// The genesis alone.
    ///
    /// # Errors
    /// It breaks a rule.
    pub fn genesis(universe: &Universe) -> Result<Epochs, UniverseError> {
        let id = universe.id()?;
        Ok(Epochs {
            id,
            genesis: universe.clone(),
            configurations: vec![universe.clone()],
            changes: vec![],
            digest: id.0,
            nodes: universe.nodes.clone(),
        })
    }

    /// The configuration with which the universe began.
    pub fn genesis_configuration(&self) -> &Universe {
        &self.genesis
    }

    /// The universe.
    pub fn id(&self) -> UniverseId {
        self.id
    }

    /// Every configuration, the genesis first.
    pub fn configurations(&self) -> &[Universe] {
        &self.configurations
    }

    /// What began each of them but the genesis.
    pub fn changes(&self) -> &[EpochChange] {
        &self.changes
    }

    /// Every node that ever was, by its place.
    pub fn nodes(&self) -> &[NodeMember] {
        &self.nodes
    }

    /// The number of the current configuration.
    pub fn last(&self) -> u64 {
        self.changes.len() as u64
    }

    /// The current configuration.
    pub fn current(&self) -> &Universe {
        self.configurations.last().unwrap_or(&self.genesis)
    }

    /// The current configuration with every node that ever was, so that nodes
    /// are found by their places. A node that has left has no transport key. Its
    /// id is that of the universe in the genesis only.
    pub fn view(&self) -> Universe {
        let mut view = self.current().clone();
        if let Some(federation) = &mut view.federation {
            let keys = |node: &NodeMember| {
                let at = self.current().nodes.iter().position(|n| n.key == node.key);
                let of = self.current().federation.as_ref();
                let key = of.zip(at).and_then(|(f, at)| f.transport_keys.get(at));
                key.copied().unwrap_or([0; 32])
            };
            federation.transport_keys = self.nodes.iter().map(keys).collect();
        }
        view.nodes.clone_from(&self.nodes);
        view
    }

    /// A change to this configuration, which nobody has signed yet.
    ///
    /// # Errors
    /// The configuration breaks a rule, or may not follow the current one.
    pub fn propose(&self, configuration: &Universe) -> Result<EpochChange, EpochError> {
        self.rules(configuration)?;
        Ok(EpochChange {
            number: self.last() + 1,
            prev: self.digest,
            configuration: Opaque(configuration.canonical()?),
            approvals: vec![],
        })
    }

    /// Whether a change may follow the current configuration.
    ///
    /// # Errors
    /// See [`EpochError`].
    pub fn check(&self, change: &EpochChange) -> Result<Universe, EpochError> {
        let number = change.number;
        if number != self.last() + 1 {
            return Err(EpochError::Number {
                found: number,
                last: self.last(),
            });
        }
        if change.prev != self.digest {
            return Err(EpochError::Predecessor { number });
        }
        let configuration = Universe::from_canonical(&change.configuration.0)?;
        self.rules(&configuration)?;
        let digest = change.digest(&self.id);
        for signed in &change.approvals {
            let mut admins = self.current().admins();
            let is_admin = admins.any(|admin| admin.key == signed.key);
            if !is_admin || signed.key.verify(&digest, &signed.signature).is_err() {
                return Err(EpochError::Approval { key: signed.key });
            }
        }
        let federation = self.current().federation.as_ref();
        let (found, needed) = (
            change.approvals.len() as u64,
            federation.map_or(u64::MAX, |f| f.admin_threshold),
        );
        match found >= needed {
            true => Ok(configuration),
            false => Err(EpochError::TooFew { found, needed }),
        }
    }

    /// Goes on to the next configuration.
    ///
    /// # Errors
    /// As [`Epochs::check`].
    pub fn follow(&mut self, change: &EpochChange) -> Result<(), EpochError> {
        let configuration = self.check(change)?;
        self.digest = digest_of(&change.configuration.0);
        for node in &configuration.nodes {
            if !self.nodes.contains(node) {
                self.nodes.push(node.clone());
            }
        }
        self.configurations.push(configuration);
        self.changes.push(change.clone());
        Ok(())
    }

    /// The rules between the current configuration and the next.
    fn rules(&self, next: &Universe) -> Result<(), EpochError> {
        next.check()?;
        let old = self.current();
        let (Some(before), Some(after)) = (&old.federation, &next.federation) else {
            let rule = "Only a universe that several nodes keep has later configurations.";
            return Err(EpochError::Rule { rule });
        };
        let same = |one: &Universe| {
            let (name, created) = (one.name.clone(), one.created_utc_ns);
            (one.version, one.suite, name, created, one.shard_bits)
        };
        let joins = |node: &&NodeMember| !old.nodes.contains(node);
        let leaves = |node: &&NodeMember| !next.nodes.contains(node);
        let joined: Vec<&NodeMember> = next.nodes.iter().filter(joins).collect();
        let is_new = |node: &&NodeMember| {
            let mut known = self.nodes.iter();
            let of_node = known.any(|n| n.name == node.name || n.key == node.key);
            let mut parties = self.configurations.iter().flat_map(|c| &c.parties);
            !of_node && parties.all(|party| party.key != node.key)
        };
        // Of each node that stays: its transport key and the groups that it keeps.
        let kept = |universe: &Universe, key: &PublicKey| {
            let at = universe.nodes.iter().position(|n| n.key == *key)?;
            let federation = universe.federation.as_ref()?;
            let groups = federation.replicas.iter().zip(0usize..);
            let groups = groups.filter(|(nodes, _)| nodes.contains(&(at as u64)));
            let groups: Vec<usize> = groups.map(|(_, group)| group).collect();
            Some((federation.transport_keys.get(at).copied(), groups))
        };
        let mut staying = old.nodes.iter().filter(|node| !leaves(node));
        let parties_are_no_nodes = next.parties.iter().all(|party| {
            let mut nodes = self.nodes.iter();
            nodes.all(|node| node.key != party.key)
        });
        let rules = [
            (
                same(old) == same(next),
                "Name, creation, suite and shards of a universe never change.",
            ),
            (
                joined.len() <= 1 && old.nodes.iter().filter(leaves).count() <= 1,
                "One node leaves and one joins at most.",
            ),
            (
                joined.iter().all(is_new),
                "A node that joins has a name and a key that nobody ever had.",
            ),
            (
                staying.all(|node| kept(old, &node.key) == kept(next, &node.key)),
                "A node that stays keeps its transport key and its groups.",
            ),
            (parties_are_no_nodes, "A party never has the key of a node."),
            (
                next.admins().count() > 0,
                "There is an admin who can approve the next change.",
            ),
            (
                before.replicas.len() == after.replicas.len(),
                "The groups stay as many.",
            ),
            (old != next, "Something changes."),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(EpochError::Rule { rule }),
            None => Ok(()),
        }
    }

    /// Whether the party of this name has or had this key.
    pub fn had_key(&self, name: &str, key: &PublicKey) -> bool {
        let mut parties = self.configurations.iter().flat_map(|c| &c.parties);
        parties.any(|party| party.name == name && party.key == *key)
    }

    /// The name of whoever has this address, in any configuration.
    pub fn name_of(&self, address: &Address) -> Option<&str> {
        let parties = self.configurations.iter().rev().flat_map(|c| &c.parties);
        let parties = parties.map(|party| (&party.name, &party.key));
        let nodes = self.nodes.iter().map(|node| (&node.name, &node.key));
        parties
            .chain(nodes)
            .find(|(_, key)| Address::of_key(&self.id, key) == *address)
            .map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests;
