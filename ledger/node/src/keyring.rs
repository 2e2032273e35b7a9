//! The secret keys that a node holds, by the names in the universe.

use std::collections::BTreeMap;

use ledger_core::{Address, Role, SecretKey, Universe, UniverseId};

use crate::error::LedgerError;

/// The node's own key and those of the parties it signs for.
#[derive(Debug, Clone)]
pub struct Keyring {
    node: (String, SecretKey),
    parties: BTreeMap<String, SecretKey>,
}

/// A party's key together with what the universe says about it.
#[derive(Debug, Clone)]
pub(crate) struct Author {
    pub key: SecretKey,
    pub address: Address,
    pub roles: Vec<Role>,
}

impl Keyring {
    /// A keyring with only the node's key.
    pub fn new(node_name: &str, node_key: SecretKey) -> Keyring {
        Keyring {
            node: (node_name.to_owned(), node_key),
            parties: BTreeMap::new(),
        }
    }

    /// Adds the key of a party.
    #[must_use]
    pub fn with_party(mut self, name: &str, key: SecretKey) -> Keyring {
        self.parties.insert(name.to_owned(), key);
        self
    }

    /// The node's key.
    pub(crate) fn node_key(&self) -> &SecretKey {
        &self.node.1
    }

    /// Checks that every key is the one the universe names, and looks up what
    /// each party may do.
    pub(crate) fn authors(
        &self,
        universe: &Universe,
        id: &UniverseId,
    ) -> Result<BTreeMap<String, Author>, LedgerError> {
        let foreign = |name: &String| LedgerError::ForeignKey { name: name.clone() };
        let (name, key) = &self.node;
        let public = key.public();
        if !universe
            .nodes
            .iter()
            .any(|n| n.name == *name && n.key == public)
        {
            return Err(foreign(name));
        }
        let author = |(name, key): (&String, &SecretKey)| {
            let public = key.public();
            let party = universe
                .party(name)
                .filter(|p| p.key == public)
                .ok_or_else(|| foreign(name))?;
            let (address, roles) = (Address::of_key(id, &public), party.roles.clone());
            Ok((
                name.clone(),
                Author {
                    key: key.clone(),
                    address,
                    roles,
                },
            ))
        };
        self.parties.iter().map(author).collect()
    }
}
