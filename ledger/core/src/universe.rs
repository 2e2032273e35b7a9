//! The universe: the genesis configuration of one instance of the ledger.
//!
//! It says which nodes keep the log and which parties may sign which kinds of
//! atom. Its hash, the [`UniverseId`], is inside every other hash. It is a
//! permissioned ledger: a key that is not named here signs nothing.
//!
//! The file `universe.json` is a rendering for people around the canonical
//! bytes. It is accepted only if it is, byte for byte, what those canonical
//! bytes render to, so that nobody reads a name there that was not hashed.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use thiserror::Error;

use crate::address::Address;
use crate::cbor::Value;
use crate::federation::Federation;
use crate::hash::{Tag, UniverseId, from_hex, hex, tagged};
use crate::keys::{KeyError, PublicKey};
use crate::payload::Kind;
use crate::record::{Field, SchemaError, Shown, next_field, open_record};

/// The format version of a universe that one node keeps.
pub const UNIVERSE_VERSION: u64 = 1;

/// The format version of a universe that several nodes keep.
pub const UNIVERSE_VERSION_FEDERATED: u64 = 2;

/// Default number of shard bits: 16 groups.
/// Chosen: ledger design 2.1; a laboratory has fewer nodes than that.
pub const SHARD_BITS_DEFAULT: u8 = 4;

/// Most shard bits that are accepted.
/// Chosen: 65,536 groups are more than a permissioned ledger has nodes.
pub const SHARD_BITS_MAX: u8 = 16;

coded! {
    /// The hash and the signature scheme; one per universe.
    Suite {
        /// SHA3-256 and ECDSA over secp256k1 with low S.
        Sha3Secp256k1 = 1 "sha3-256+ecdsa-secp256k1",
    }
}

coded! {
    /// What a party may do.
    Role {
        /// Issues setpoints and records what devices and modes did.
        Dispatcher = 1 "dispatcher",
        /// Reports readings.
        Meter = 2 "meter",
        /// Buys, sells and transfers.
        Participant = 3 "participant",
        /// Clears, settles, mints and burns.
        MarketOperator = 4 "market-operator",
        /// Changes configuration and authority.
        Admin = 5 "admin",
    }
}

impl Role {
    /// The kinds of atom that this role may author.
    pub fn kinds(self) -> &'static [Kind] {
        match self {
            Role::Dispatcher => &[
                Kind::Dispatch,
                Kind::DispatchAck,
                Kind::Trip,
                Kind::Mode,
                Kind::Config,
                Kind::Checkpoint,
                Kind::Infeasible,
            ],
            Role::Meter => &[Kind::MeterReading, Kind::Activation],
            Role::Participant => &[Kind::Order, Kind::Transfer, Kind::Withdrawal],
            Role::MarketOperator => &[
                Kind::Clearing,
                Kind::Trade,
                Kind::Settlement,
                Kind::Mint,
                Kind::Burn,
                Kind::Transfer,
                Kind::Terms,
            ],
            Role::Admin => &[
                Kind::Config,
                Kind::AuthorityGrant,
                Kind::FraudProof,
                Kind::Resolve,
                Kind::Checkpoint,
            ],
        }
    }
}

record! {
    /// A node that keeps a log.
    NodeMember {
        /// Its name.
        name: String,
        /// Its key for vertices and heads.
        key: PublicKey,
    }
}

record! {
    /// A party that may author atoms.
    Party {
        /// Its name, by which a draft names its author.
        name: String,
        /// What it may do, sorted by code.
        roles: Vec<Role>,
        /// Its key.
        key: PublicKey,
    }
}

/// The genesis configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Universe {
    /// Format version: [`UNIVERSE_VERSION_FEDERATED`] exactly with a federation.
    pub version: u64,
    /// The hash and signature scheme.
    pub suite: Suite,
    /// Name of the instance, for people.
    pub name: String,
    /// Creation time in nanoseconds since the Unix epoch, UTC.
    pub created_utc_ns: i64,
    /// The first so many bits of a shard are its group.
    pub shard_bits: u8,
    /// The nodes, in the order of their names.
    pub nodes: Vec<NodeMember>,
    /// The parties, in the order of their names.
    pub parties: Vec<Party>,
    /// How several nodes work together; absent where one node keeps all.
    pub federation: Option<Federation>,
}

/// Fields on the wire of a universe of one node; a federation is one more.
const UNIVERSE_FIELDS: usize = 7;

/// The version decides how many fields there are, so that the bytes, and with
/// them the id, of every universe of one node stay what they were.
impl Field for Universe {
    fn to_value(&self) -> Value {
        let mut fields = vec![
            self.version.to_value(),
            self.suite.to_value(),
            self.name.to_value(),
            self.created_utc_ns.to_value(),
            self.shard_bits.to_value(),
            self.nodes.to_value(),
            self.parties.to_value(),
        ];
        fields.extend(self.federation.iter().map(Field::to_value));
        Value::Array(fields)
    }

    fn from_value(value: Value) -> Result<Self, SchemaError> {
        const RECORD: &str = "Universe";
        let is_federated = match &value {
            Value::Array(fields) => fields.first() == Some(&UNIVERSE_VERSION_FEDERATED.to_value()),
            _ => false,
        };
        let count = UNIVERSE_FIELDS + usize::from(is_federated);
        let fields = &mut open_record(value, RECORD, count)?;
        Ok(Universe {
            version: next_field(fields, RECORD, "version")?,
            suite: next_field(fields, RECORD, "suite")?,
            name: next_field(fields, RECORD, "name")?,
            created_utc_ns: next_field(fields, RECORD, "created_utc_ns")?,
            shard_bits: next_field(fields, RECORD, "shard_bits")?,
            nodes: next_field(fields, RECORD, "nodes")?,
            parties: next_field(fields, RECORD, "parties")?,
            federation: match is_federated {
                true => Some(next_field(fields, RECORD, "federation")?),
                false => None,
            },
        })
    }

    fn shown(&self) -> Shown {
        let mut fields = vec![
            ("version", self.version.shown()),
            ("suite", self.suite.shown()),
            ("name", self.name.shown()),
            ("created_utc_ns", self.created_utc_ns.shown()),
            ("shard_bits", self.shard_bits.shown()),
            ("nodes", self.nodes.shown()),
            ("parties", self.parties.shown()),
        ];
        fields.extend(self.federation.iter().map(|f| ("federation", f.shown())));
        Shown::Record(fields)
    }
}

/// Why a universe or its file is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UniverseError {
    /// The bytes are not a universe.
    #[error("the genesis configuration: {0}")]
    Schema(#[from] SchemaError),
    /// A rule over the whole configuration is broken.
    #[error("the genesis configuration: {rule}")]
    Rule {
        /// The broken rule as a sentence.
        rule: &'static str,
    },
    /// A key is not on the curve.
    #[error("the key of `{name}`: {source}")]
    Key {
        /// Whose key.
        name: String,
        /// What is wrong with it.
        source: KeyError,
    },
    /// The file is not the rendering of the canonical bytes inside it.
    #[error("universe.json is not the rendering of the canonical bytes inside it")]
    NotItsRendering,
}

impl Universe {
    /// Checks the rules that no single field can show.
    ///
    /// # Errors
    /// The first broken rule, or the first key that is not on the curve.
    pub fn check(&self) -> Result<(), UniverseError> {
        let names: Vec<&String> = self.names().map(|(name, _)| name).collect();
        let sorted = |names: &[&String]| names.windows(2).all(|w| w[0] < w[1]);
        let (nodes, parties) = names.split_at(self.nodes.len());
        let keys: BTreeSet<&PublicKey> = self.names().map(|(_, key)| key).collect();
        let rules = [
            (
                self.version
                    == match self.federation {
                        None => UNIVERSE_VERSION,
                        Some(_) => UNIVERSE_VERSION_FEDERATED,
                    },
                "The version is 1, or 2 with a federation.",
            ),
            (!self.name.is_empty(), "The universe has a name."),
            (
                self.shard_bits <= SHARD_BITS_MAX,
                "There are at most 16 shard bits.",
            ),
            (!self.nodes.is_empty(), "There is at least one node."),
            (
                sorted(nodes) && sorted(parties),
                "Names are sorted and unique.",
            ),
            (
                names.iter().all(|n| !n.is_empty()),
                "Nodes and parties have names.",
            ),
            (keys.len() == names.len(), "No key serves two."),
            (
                self.parties
                    .iter()
                    .all(|p| !p.roles.is_empty() && p.roles.is_sorted_by(|a, b| a < b)),
                "Each party has roles, sorted and unique.",
            ),
        ];
        let shared = self.federation.as_ref().map(|f| f.rules(self));
        let rules = rules.into_iter().chain(shared.into_iter().flatten());
        if let Some((_, rule)) = rules.into_iter().find(|(holds, _)| !holds) {
            return Err(UniverseError::Rule { rule });
        }
        for (name, key) in self.names() {
            key.check().map_err(|source| UniverseError::Key {
                name: name.clone(),
                source,
            })?;
        }
        Ok(())
    }

    fn names(&self) -> impl Iterator<Item = (&String, &PublicKey)> {
        let nodes = self.nodes.iter().map(|n| (&n.name, &n.key));
        nodes.chain(self.parties.iter().map(|p| (&p.name, &p.key)))
    }

    /// The parties that may change the configuration.
    pub fn admins(&self) -> impl Iterator<Item = &Party> {
        let mut parties = self.parties.iter();
        std::iter::from_fn(move || parties.find(|party| party.roles.contains(&Role::Admin)))
    }

    /// The canonical bytes.
    ///
    /// # Errors
    /// A broken rule, or a configuration over the limits of the encoding.
    pub fn canonical(&self) -> Result<Vec<u8>, UniverseError> {
        self.check()?;
        Ok(self.to_bytes().map_err(SchemaError::from)?)
    }

    /// Reads and checks canonical bytes.
    ///
    /// # Errors
    /// Bytes that are not canonical, not a universe, or break a rule.
    pub fn from_canonical(bytes: &[u8]) -> Result<Universe, UniverseError> {
        let universe = Universe::from_bytes(bytes)?;
        universe.check()?;
        Ok(universe)
    }

    /// The id of this universe.
    ///
    /// # Errors
    /// As [`Universe::canonical`].
    pub fn id(&self) -> Result<UniverseId, UniverseError> {
        Ok(UniverseId(tagged(
            Tag::Universe,
            &UniverseId::NONE,
            &[&self.canonical()?],
        )))
    }

    /// The party of this name.
    pub fn party(&self, name: &str) -> Option<&Party> {
        self.parties.iter().find(|p| p.name == name)
    }

    /// The party whose key has this address.
    pub fn party_at(&self, id: &UniverseId, address: &Address) -> Option<&Party> {
        self.parties
            .iter()
            .find(|p| Address::of_key(id, &p.key) == *address)
    }

    /// The node whose key has this address.
    pub fn node_at(&self, id: &UniverseId, address: &Address) -> Option<&NodeMember> {
        self.nodes
            .iter()
            .find(|n| Address::of_key(id, &n.key) == *address)
    }

    /// The content of `universe.json`.
    ///
    /// # Errors
    /// As [`Universe::canonical`].
    pub fn to_json(&self) -> Result<String, UniverseError> {
        let canonical = hex(&self.canonical()?);
        let mut out = String::new();
        let members = |list: Vec<String>| match list.is_empty() {
            true => "[]".to_owned(),
            false => format!("[\n    {}\n  ]", list.join(",\n    ")),
        };
        let nodes = self.nodes.iter().map(|n| {
            format!(
                r#"{{ "name": {}, "key": "{}" }}"#,
                json_text(&n.name),
                n.key
            )
        });
        let parties = self.parties.iter().map(|p| {
            let roles: Vec<String> = p.roles.iter().map(|r| json_text(r.name())).collect();
            let (name, roles) = (json_text(&p.name), roles.join(", "));
            format!(
                r#"{{ "name": {name}, "roles": [{roles}], "key": "{}" }}"#,
                p.key
            )
        });
        let mut rows = vec![
            ("universe_id", json_text(&self.id()?.to_string())),
            ("version", self.version.to_string()),
            ("suite", json_text(self.suite.name())),
            ("name", json_text(&self.name)),
            ("created_utc_ns", self.created_utc_ns.to_string()),
            ("shard_bits", self.shard_bits.to_string()),
            ("nodes", members(nodes.collect())),
            ("parties", members(parties.collect())),
        ];
        if let Some(federation) = &self.federation {
            let keys = federation.transport_keys.iter().map(|key| hex(key));
            let keys = keys.map(|key| json_text(&key));
            let groups = federation.replicas.iter().map(|group| {
                let nodes = group.iter().filter_map(|n| self.nodes.get(*n as usize));
                let names: Vec<String> = nodes.map(|n| json_text(&n.name)).collect();
                format!("[{}]", names.join(", "))
            });
            rows.push(("admin_threshold", federation.admin_threshold.to_string()));
            rows.push(("transport_keys", members(keys.collect())));
            rows.push(("replicas_by_group", members(groups.collect())));
        }
        out.push_str("{\n");
        for (key, value) in rows {
            // Writing to a text cannot fail.
            let _ = writeln!(out, r#"  "{key}": {value},"#);
        }
        let _ = writeln!(out, "  {CANONICAL_KEY}{canonical}\"\n}}");
        Ok(out)
    }

    /// Reads `universe.json`; any byte that the canonical bytes would not
    /// render to is refused.
    ///
    /// # Errors
    /// See [`UniverseError`].
    pub fn from_json(json: &str) -> Result<Universe, UniverseError> {
        // The last occurrence: a name that contains the key is escaped, and the
        // comparison below decides in any case.
        let (_, rest) = json
            .rsplit_once(CANONICAL_KEY)
            .ok_or(UniverseError::NotItsRendering)?;
        let (canonical, _) = rest.split_once('"').ok_or(UniverseError::NotItsRendering)?;
        let bytes = from_hex(canonical).ok_or(UniverseError::NotItsRendering)?;
        let universe = Universe::from_canonical(&bytes)?;
        match universe.to_json()? == json {
            true => Ok(universe),
            false => Err(UniverseError::NotItsRendering),
        }
    }
}

/// What precedes the canonical bytes in `universe.json`.
const CANONICAL_KEY: &str = "\"canonical_cbor_hex\": \"";

/// A text as a JSON string (RFC 8259 section 7).
pub(crate) fn json_text(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests;
