//! The bundle: a file that holds a statement with all that proves it.
//!
//! A bundle is a sequence of canonical CBOR items (RFC 8742: one behind the
//! other, nothing between them). Each is an array of a code and its content, and
//! no longer than an atom may be, so that a reader never holds more than that
//! before it has judged it. `docs/ledger-format.md` says it byte by byte.

use ledger_core::cbor::Value;
use ledger_core::vertex::Commitment;
use ledger_core::{
    Address, AtomId, CborError, Digest32, Field, Opaque, SchemaError, UniverseId, Vote,
};
use thiserror::Error;

/// What the header calls itself.
pub const PROOF_FORMAT: &str = "gridrig ledger proof";

/// The only version of the bundle there is.
pub const PROOF_VERSION: u64 = 1;

/// Most items of a bundle.
/// Chosen: a settlement of a laboratory depends on some hundred atoms with up to
/// seven votes each; it bounds what a forged header can announce.
pub const ITEMS_MAX: u64 = 65_536;

/// What an item is. The number on the wire never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemCode {
    /// What the bundle is and what it proves; always the first.
    Header = 1,
    /// Canonical bytes of the genesis configuration; always the second.
    Universe = 2,
    /// Canonical bytes of an atom that begins a later configuration; its votes
    /// follow it.
    Epoch = 3,
    /// Canonical bytes of an atom; its votes follow it.
    Atom = 4,
    /// A vote for the atom before it.
    Vote = 5,
    /// That a head of this bundle extends an older one.
    Consistency = 6,
    /// What the bundle says, for people. Nothing authenticates it.
    Summary = 7,
}

impl ItemCode {
    /// Every code, in the order in which items stand.
    pub const ALL: [ItemCode; 7] = [
        ItemCode::Header,
        ItemCode::Universe,
        ItemCode::Epoch,
        ItemCode::Atom,
        ItemCode::Vote,
        ItemCode::Consistency,
        ItemCode::Summary,
    ];
}

/// An atom and the votes for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// Canonical bytes of the atom with its signatures.
    pub atom: Vec<u8>,
    /// The votes, in the order of the nodes in the configuration.
    pub votes: Vec<Vote>,
}

/// The proof that a head of the bundle extends an older head of the same node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consistency {
    /// The node.
    pub node: Address,
    /// The older head: number of entries and root.
    pub since: Commitment,
    /// The path of RFC 9162 section 2.1.4.
    pub path: Vec<Digest32>,
}

/// Everything in a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The universe.
    pub universe_id: UniverseId,
    /// The atom that the bundle is about.
    pub subject: AtomId,
    /// Canonical bytes of the genesis configuration.
    pub universe: Vec<u8>,
    /// What began each later configuration, in their order: the atom, and the
    /// votes of the configuration before.
    pub epochs: Vec<Proven>,
    /// The subject first; then, if at all, everything that it depends on. Each
    /// further one is named by one before it.
    pub proven: Vec<Proven>,
    /// Consistency proofs; one is enough for an auditor that kept one head.
    pub consistency: Vec<Consistency>,
    /// For people; nothing authenticates it.
    pub summary: Option<String>,
}

/// Why bytes are not a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("item {item} at byte {offset}: {what}")]
pub struct FormatError {
    /// Number of the item, from 1.
    pub item: u64,
    /// Its offset in bytes.
    pub offset: usize,
    /// What is wrong with it.
    pub what: FormatFault,
}

/// What is wrong with an item.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FormatFault {
    /// Its bytes are not a canonical item.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// It is not what its code says.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The file is none of ours, or of a version that this program does not know.
    #[error("this is no ledger proof of version {PROOF_VERSION}")]
    Unknown,
    /// No item of this code belongs here.
    #[error("an item of this code does not belong here")]
    Place,
    /// The file has more or fewer items than its header says.
    #[error("the header announces {announced} items, there are {found}")]
    Count {
        /// Number in the header.
        announced: u64,
        /// Number in the file.
        found: u64,
    },
}

/// Takes an array of exactly `N` elements apart.
fn fields<const N: usize>(value: Value, expected: &'static str) -> Result<[Value; N], SchemaError> {
    match value {
        Value::Array(items) => items.try_into().ok(),
        _ => None,
    }
    .ok_or(SchemaError::Expected { expected })
}

impl Consistency {
    fn to_value(&self) -> Value {
        Value::Array(vec![
            self.node.to_value(),
            self.since.to_value(),
            self.path.to_value(),
        ])
    }

    fn from_value(value: Value) -> Result<Consistency, SchemaError> {
        let [node, since, path] = fields(value, "a node, an older head and a path")?;
        Ok(Consistency {
            node: Field::from_value(node)?,
            since: Field::from_value(since)?,
            path: Field::from_value(path)?,
        })
    }
}

impl Bundle {
    /// The bytes of the file.
    ///
    /// # Errors
    /// An item over a limit of the encoding.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SchemaError> {
        let mut items = vec![(ItemCode::Universe, Value::Bytes(self.universe.clone()))];
        let epochs = self.epochs.iter().map(|epoch| (ItemCode::Epoch, epoch));
        let proven = self.proven.iter().map(|proven| (ItemCode::Atom, proven));
        for (code, proven) in epochs.chain(proven) {
            items.push((code, Value::Bytes(proven.atom.clone())));
            items.extend(proven.votes.iter().map(|v| (ItemCode::Vote, v.to_value())));
        }
        let consistency = self.consistency.iter();
        items.extend(consistency.map(|c| (ItemCode::Consistency, c.to_value())));
        let summary = self.summary.iter();
        items.extend(summary.map(|text| (ItemCode::Summary, text.to_value())));
        let header = Value::Array(vec![
            PROOF_FORMAT.to_owned().to_value(),
            PROOF_VERSION.to_value(),
            self.universe_id.to_value(),
            self.subject.to_value(),
            (items.len() as u64 + 1).to_value(),
        ]);
        let mut out = Vec::new();
        for (code, content) in std::iter::once((ItemCode::Header, header)).chain(items) {
            let item = Value::Array(vec![Value::Int(code as i128), content]);
            out.extend(item.encode()?);
        }
        Ok(out)
    }

    /// Reads a file. What stands in it is not yet judged, only that each item
    /// is canonical and stands where it may.
    ///
    /// # Errors
    /// The first item that is not.
    pub fn from_bytes(bytes: &[u8]) -> Result<Bundle, FormatError> {
        let (mut item, mut offset) = (0, 0);
        let mut reading = Reading::default();
        while offset < bytes.len() {
            item += 1;
            let at = |what| FormatError { item, offset, what };
            let (value, length) =
                Value::decode_first(&bytes[offset..]).map_err(|e| at(e.into()))?;
            reading.take(value).map_err(at)?;
            offset += length;
        }
        reading
            .bundle(item)
            .map_err(|what| FormatError { item, offset, what })
    }
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    announced: u64,
    bundle: Option<Bundle>,
    /// The code of the item before.
    last: Option<ItemCode>,
}

impl Reading {
    fn take(&mut self, item: Value) -> Result<(), FormatFault> {
        use ItemCode::{
            Atom, Consistency as Extends, Epoch, Header, Summary, Universe, Vote as Says,
        };
        let [code, content] = fields(item, "an array of a code and a content")?;
        let code = u8::from_value(code)?;
        let known = ItemCode::ALL.into_iter().find(|known| *known as u8 == code);
        let code = known.ok_or(FormatFault::Place)?;
        // Epochs stand before all atoms.
        let is_before_atoms = self.bundle.as_ref().is_some_and(|b| b.proven.is_empty());
        let may_stand = match (self.last, code) {
            (Some(Epoch | Says), Epoch) => is_before_atoms,
            (Some(Epoch), Says | Atom) => true,
            (Some(Says), Extends | Summary) => !is_before_atoms,
            (None, Header) | (Some(Header), Universe) | (Some(Universe), Atom | Epoch) => true,
            (Some(Atom | Says), Says) | (Some(Says), Atom) => true,
            (Some(Extends), Extends | Summary) => true,
            // An atom without a vote is caught as one below its quorum.
            (Some(Atom), Atom | Extends | Summary) => true,
            _ => false,
        };
        if !may_stand {
            return Err(match self.last {
                None => FormatFault::Unknown,
                Some(_) => FormatFault::Place,
            });
        }
        self.last = Some(code);
        let Some(bundle) = &mut self.bundle else {
            let (bundle, announced) = header(content)?;
            (self.bundle, self.announced) = (Some(bundle), announced);
            return Ok(());
        };
        match code {
            Header => return Err(FormatFault::Place),
            Epoch => bundle.epochs.push(Proven {
                atom: Opaque::from_value(content)?.0,
                votes: vec![],
            }),
            Universe => bundle.universe = Opaque::from_value(content)?.0,
            Atom => bundle.proven.push(Proven {
                atom: Opaque::from_value(content)?.0,
                votes: vec![],
            }),
            Says => {
                let vote = Vote::from_value(content)?;
                let proven = bundle.proven.last_mut().or(bundle.epochs.last_mut());
                let proven = proven.ok_or(FormatFault::Place)?;
                proven.votes.push(vote);
            }
            Extends => bundle.consistency.push(Consistency::from_value(content)?),
            Summary => bundle.summary = Some(String::from_value(content)?),
        }
        Ok(())
    }

    fn bundle(self, found: u64) -> Result<Bundle, FormatFault> {
        let bundle = self.bundle.ok_or(FormatFault::Unknown)?;
        let announced = self.announced;
        if announced != found || bundle.proven.is_empty() {
            return Err(FormatFault::Count { announced, found });
        }
        Ok(bundle)
    }
}

/// Reads the header; gives a bundle without content, and the number of items.
fn header(content: Value) -> Result<(Bundle, u64), FormatFault> {
    let [format, version, universe_id, subject, items] =
        fields(content, "the five fields of a header")?;
    let is_known =
        String::from_value(format)? == PROOF_FORMAT && u64::from_value(version)? == PROOF_VERSION;
    let items = u64::from_value(items)?;
    if !is_known || items > ITEMS_MAX {
        return Err(FormatFault::Unknown);
    }
    let bundle = Bundle {
        universe_id: Field::from_value(universe_id)?,
        subject: Field::from_value(subject)?,
        universe: vec![],
        epochs: vec![],
        proven: vec![],
        consistency: vec![],
        summary: None,
    };
    Ok((bundle, items))
}
