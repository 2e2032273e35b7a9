//! The secret keys that a node holds, by the names in the universe.

use std::collections::BTreeMap;

use ledger_core::directory::KINDS_OF_NODES;
use ledger_core::{Address, Epochs, Kind, SecretKey};

use crate::error::LedgerError;

/// The node's own key and those of the parties it signs for.
#[derive(Debug, Clone)]
pub struct Keyring {
    node: (String, SecretKey),
    parties: BTreeMap<String, SecretKey>,
}

/// A key together with what the universe says about whoever has it.
#[derive(Debug, Clone)]
pub(crate) struct Author {
    pub key: SecretKey,
    pub address: Address,
    pub kinds: Vec<Kind>,
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

    /// The node's name.
    pub(crate) fn node_name(&self) -> &str {
        &self.node.0
    }

    /// The node's key.
    pub fn node_key(&self) -> &SecretKey {
        &self.node.1
    }

    /// Checks that every key is one that the universe names or has named, and
    /// looks up what each party may do now. A key that another one has replaced
    /// signs nothing any more.
    pub(crate) fn authors(&self, epochs: &Epochs) -> Result<BTreeMap<String, Author>, LedgerError> {
        let foreign = |name: &String| LedgerError::ForeignKey { name: name.clone() };
        let (name, key) = &self.node;
        let public = key.public();
        let (universe, id) = (epochs.current(), &epochs.id());
        if !epochs
            .nodes()
            .iter()
            .any(|n| n.name == *name && n.key == public)
        {
            return Err(foreign(name));
        }
        let author = |(name, key): (&String, &SecretKey)| {
            let public = key.public();
            let party = universe.party(name).filter(|p| p.key == public);
            let Some(party) = party else {
                return match epochs.had_key(name, &public) {
                    true => None,
                    false => Some(Err(foreign(name))),
                };
            };
            let kinds = party.roles.iter().flat_map(|role| role.kinds());
            Some(Ok((
                name.clone(),
                Author {
                    key: key.clone(),
                    address: Address::of_key(id, &public),
                    kinds: kinds.copied().collect(),
                },
            )))
        };
        let itself = Author {
            key: key.clone(),
            address: Address::of_key(id, &public),
            kinds: KINDS_OF_NODES.to_vec(),
        };
        let parties = self.parties.iter().filter_map(author);
        parties.chain([Ok((name.clone(), itself))]).collect()
    }
}
