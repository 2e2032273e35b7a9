//! Proving: out of the logs of nodes, a bundle that needs none of them.
//!
//! Each log gives one vote for each atom that it holds, all under the log's
//! last head. The logs are read twice: once for the tree and for who names
//! whom, and once for the entries that are wanted. Nothing is verified here: whoever
//! gets the bundle verifies it, and so does whoever made it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ledger_core::entry::EntryParts;
use ledger_core::hash::DIGEST_BYTES;
use ledger_core::merkle::{consistency_proof, leaf_hash, root};
use ledger_core::vertex::Commitment;
use ledger_core::{
    Address, Atom, AtomId, Digest32, Directory, Epochs, Field as _, Opaque, Payload, SchemaError,
    SignedHead, UniverseId, Vertex, Vote,
};
use ledger_proof::{Bundle, Consistency, Proven};
use thiserror::Error;

use crate::error::LedgerError;
use crate::log::LEDGER_FOLDER;
use crate::read::{Entries, LogEntry, entries, entries_in, json, utc_text};
use crate::segment::segment_name;

/// Beside the log of one node among several: the copies of the others' logs, a
/// folder each.
pub const COPIES: &str = "copies";

/// Longest summary in bytes: what a text of a record may have.
const SUMMARY_BYTES_MAX: usize = 1024;

/// Which atom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// The one whose id begins with these digits, in lower case.
    Id(String),
    /// The one that the first log has witnessed as this event.
    Clock(u64),
}

impl FromStr for Selector {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Selector, Self::Err> {
        let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        match text.strip_prefix("clock:") {
            Some(clock) => clock.parse().map(Selector::Clock).ok(),
            None => (!text.is_empty() && text.chars().all(is_digit))
                .then(|| Selector::Id(text.to_owned())),
        }
        .ok_or("an atom is named by `clock:N` or by the first digits of its id")
    }
}

/// What is to be proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The atom.
    pub atom: Selector,
    /// A head that somebody has kept: number of entries and root.
    pub since: Option<(u64, Digest32)>,
    /// Whether all that the atom depends on is to be proved beside it.
    pub with_dependencies: bool,
}

/// Why there is no proof.
#[derive(Debug, Error)]
pub enum ProveError {
    /// A log does not read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A log ends before its first head, so nothing in it is proved.
    #[error("the log in {folder} has no entry under a head")]
    Empty {
        /// The run folder.
        folder: PathBuf,
    },
    /// The logs are of different universes.
    #[error("the log in {folder} is of another universe than the first")]
    OtherUniverse {
        /// The run folder.
        folder: PathBuf,
    },
    /// No log holds the atom.
    #[error("no atom of the ledger is {what}")]
    Absent {
        /// The atom as it was asked for.
        what: String,
    },
    /// The digits are the beginning of several ids.
    #[error("{count} atoms begin with {digits}")]
    Ambiguous {
        /// The digits.
        digits: String,
        /// How many there are.
        count: usize,
    },
    /// An atom that is named is in no log.
    #[error("atom {named}, which the atom depends on, is in none of the logs")]
    Incomplete {
        /// The missing atom.
        named: AtomId,
    },
    /// No log has ever had this head.
    #[error("no log had this root when it had {size} entries")]
    UnknownHead {
        /// The number of entries.
        size: u64,
    },
    /// A part is over a limit of the encoding.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

/// Gathers a proof out of the logs in these run folders, one for each node.
///
/// # Errors
/// See [`ProveError`].
pub fn prove(folders: &[PathBuf], asked: &Asked) -> Result<Bundle, ProveError> {
    let mut logs = Vec::with_capacity(folders.len());
    for folder in folders {
        let log = Log::read(Kept::Run(folder.clone()))?;
        let first: &Log = logs.first().unwrap_or(&log);
        if log.id != first.id {
            let folder = folder.clone();
            return Err(ProveError::OtherUniverse { folder });
        }
        let epochs = log.epochs.clone();
        logs.push(log);
        for copy in copies(folder) {
            match Log::read(Kept::Copy(copy, Box::new(epochs.clone()))) {
                Ok(log) => logs.push(log),
                // Nothing was heard of that node yet.
                Err(ProveError::Empty { .. }) => {}
                Err(e) => return Err(e),
            }
        }
    }
    let subject = select(&logs, &asked.atom)?;
    let wanted = match asked.with_dependencies {
        true => closure(&logs, subject)?,
        false => vec![subject],
    };
    let first = logs.first().ok_or(ProveError::Absent {
        what: subject.to_string(),
    })?;
    let directory = Directory::of(&first.epochs);
    let found = votes_for(&logs, &directory, &wanted)?;
    let summary = found
        .first()
        .map(|(atom, votes)| summary(&first.epochs, atom, votes));
    let (mut proven, mut last) = (Vec::with_capacity(found.len()), 0);
    for (atom, votes) in found {
        last = last.max(atom.body().config_epoch);
        for (vertex, _) in votes.values() {
            last = last.max(vertex.n);
        }
        proven.push(proven_by(&atom, votes)?);
    }
    let mut epochs = Vec::new();
    for number in 1..=last {
        epochs.push(epoch(&logs, &directory, number)?);
    }
    let consistency = match asked.since {
        None => vec![],
        Some((size, since)) => {
            let mut proofs = logs.iter().filter_map(|log| log.extends(size, since));
            vec![proofs.next().ok_or(ProveError::UnknownHead { size })?]
        }
    };
    let genesis = first.epochs.genesis_configuration();
    let universe = genesis.canonical().map_err(LedgerError::from)?;
    Ok(Bundle {
        universe_id: first.id,
        subject,
        universe,
        epochs,
        proven,
        consistency,
        summary,
    })
}

/// The votes for an atom, by the places of the nodes, each with its vertex.
type Votes = BTreeMap<usize, (Vertex, Vote)>;

/// These atoms with the votes of all who decide about them, in the same order.
fn votes_for(
    logs: &[Log],
    directory: &Directory,
    wanted: &[AtomId],
) -> Result<Vec<(Atom, Votes)>, ProveError> {
    let ids: BTreeSet<AtomId> = wanted.iter().copied().collect();
    let mut found: BTreeMap<AtomId, (Atom, Votes)> = BTreeMap::new();
    for log in logs {
        let Some(node) = directory.node(&log.node) else {
            continue;
        };
        for entry in log.entries_of(&ids)? {
            let vote = log.vote(&entry)?;
            let (author, kind) = (entry.atom.body().author, entry.atom.body().kind());
            let (_, votes) = found
                .entry(entry.atom.id())
                .or_insert_with(|| (entry.atom, BTreeMap::new()));
            let counts = directory.is_member(entry.vertex.n, node);
            if counts && directory.decides(node, kind, &author) {
                votes.insert(node, (entry.vertex, vote));
            }
        }
    }
    let mut in_order = Vec::with_capacity(wanted.len());
    for id in wanted {
        let atom = found
            .remove(id)
            .ok_or(ProveError::Incomplete { named: *id })?;
        in_order.push(atom);
    }
    Ok(in_order)
}

fn proven_by(atom: &Atom, votes: Votes) -> Result<Proven, ProveError> {
    Ok(Proven {
        atom: atom.to_bytes()?,
        votes: votes.into_values().map(|(_, vote)| vote).collect(),
    })
}

/// What proves that an epoch began: the atom that carries its change, with the
/// votes of the configuration before.
fn epoch(logs: &[Log], directory: &Directory, number: u64) -> Result<Proven, ProveError> {
    let carried = logs.iter().flat_map(|log| &log.changes);
    let carried = carried.filter(|(of, _)| *of == number).map(|(_, id)| *id);
    let ids: BTreeSet<AtomId> = carried.collect();
    let ids: Vec<AtomId> = ids.into_iter().collect();
    let mut best: Option<(Atom, Votes)> = None;
    for (atom, mut votes) in votes_for(logs, directory, &ids)? {
        votes.retain(|node, (vertex, _)| {
            vertex.n < number && directory.is_member(number - 1, *node)
        });
        if best
            .as_ref()
            .is_none_or(|(_, most)| votes.len() > most.len())
        {
            best = Some((atom, votes));
        }
    }
    let (atom, votes) = best.ok_or_else(|| ProveError::Absent {
        what: format!("the change to configuration epoch {number}"),
    })?;
    proven_by(&atom, votes)
}

/// The copies of other nodes' logs that lie beside the log of a run.
fn copies(run: &Path) -> Vec<PathBuf> {
    let own = run.join(LEDGER_FOLDER).canonicalize();
    let beside = own.ok().and_then(|own| Some(own.parent()?.join(COPIES)));
    let listed = beside.and_then(|folder| std::fs::read_dir(folder).ok());
    let paths = listed.into_iter().flatten().filter_map(Result::ok);
    let mut folders: Vec<PathBuf> = paths.map(|entry| entry.path()).collect();
    folders.retain(|folder| folder.join(segment_name(1)).exists());
    folders.sort();
    folders
}

/// Where a log is kept.
#[derive(Clone)]
enum Kept {
    /// In the ledger's folder of a run folder, with its configuration.
    Run(PathBuf),
    /// In a folder of segments alone.
    Copy(PathBuf, Box<Epochs>),
}

impl Kept {
    fn folder(&self) -> &Path {
        match self {
            Kept::Run(folder) | Kept::Copy(folder, _) => folder,
        }
    }

    fn entries(&self) -> Result<Entries, LedgerError> {
        match self {
            Kept::Run(folder) => entries(folder),
            Kept::Copy(folder, epochs) => entries_in(folder, (**epochs).clone()),
        }
    }
}

/// What is kept of a log after it was read once.
struct Log {
    kept: Kept,
    epochs: Epochs,
    /// By the epoch that it begins each atom that carries its change.
    changes: Vec<(u64, AtomId)>,
    id: UniverseId,
    node: Address,
    head: SignedHead,
    /// Hashes of the tree: leaves first, each further level half as long. A node
    /// without a right neighbour goes up unchanged, so these are the subtrees
    /// of RFC 9162.
    levels: Vec<Vec<Digest32>>,
    /// The place of each atom, from 0.
    places: BTreeMap<AtomId, usize>,
    /// What the atom at each place names.
    names: Vec<Vec<AtomId>>,
    /// The atom at each place.
    ids: Vec<AtomId>,
}

impl Log {
    fn read(kept: Kept) -> Result<Log, ProveError> {
        let mut all = kept.entries()?;
        let epochs = all.epochs().clone();
        let id = epochs.id();
        let mut changes = Vec::new();
        let (mut leaves, mut names, mut ids) = (vec![], vec![], vec![]);
        let mut places = BTreeMap::new();
        // What is kept elsewhere leaves its place empty, and its leaf comes below.
        let nothing = AtomId([0; DIGEST_BYTES]);
        for entry in all.by_ref() {
            let entry = entry?;
            let place = (entry.clock - 1) as usize;
            leaves.resize(place, [0; DIGEST_BYTES]);
            names.resize(place, vec![]);
            ids.resize(place, nothing);
            leaves.push(leaf_hash(
                &id,
                &parts(&entry)?.to_bytes().map_err(SchemaError::from)?,
            ));
            places.insert(entry.atom.id(), ids.len());
            ids.push(entry.atom.id());
            let body = entry.atom.body();
            if let Payload::Epoch(change) = &body.payload
                && epochs.changes().contains(change)
            {
                changes.push((change.number, entry.atom.id()));
            }
            let named = body.payload.references().into_iter().map(|(id, _)| id);
            let mut named: Vec<AtomId> = named.chain(body.deps.iter().copied()).collect();
            named.shrink_to_fit();
            names.push(named);
        }
        for (clock, leaf) in all.elsewhere() {
            let place = (*clock - 1) as usize;
            if place >= leaves.len() {
                leaves.resize(place + 1, [0; DIGEST_BYTES]);
            }
            leaves[place] = *leaf;
        }
        names.resize(leaves.len(), vec![]);
        ids.resize(leaves.len(), nothing);
        let head = all.signed_head().cloned();
        let empty = || ProveError::Empty {
            folder: kept.folder().to_path_buf(),
        };
        let head = head.filter(|h| h.head.size > 0).ok_or_else(empty)?;
        Ok(Log {
            node: head.head.node,
            levels: levels(&id, leaves),
            epochs,
            changes,
            id,
            kept,
            head,
            places,
            names,
            ids,
        })
    }

    /// Reads the entries of these atoms.
    fn entries_of(&self, wanted: &BTreeSet<AtomId>) -> Result<Vec<LogEntry>, LedgerError> {
        let places = wanted.iter().filter_map(|id| self.places.get(id));
        let last = places.max().map_or(0, |place| place + 1);
        let is_before = |entry: &Result<LogEntry, LedgerError>| match entry {
            Ok(entry) => entry.clock <= last as u64,
            Err(_) => true,
        };
        let until_last = self.kept.entries()?.take_while(is_before);
        until_last
            .filter(|entry| match entry {
                Ok(entry) => wanted.contains(&entry.atom.id()),
                Err(_) => true,
            })
            .collect()
    }

    fn vote(&self, entry: &LogEntry) -> Result<Vote, SchemaError> {
        let parts = parts(entry)?;
        Ok(Vote {
            vertex: parts.vertex,
            signature: parts.signature,
            sigs: entry.atom.sigs().to_vec(),
            path: path(&self.levels, (entry.clock - 1) as usize),
            head: self.head.clone(),
        })
    }

    /// The proof that this log's head extends an older one of it.
    fn extends(&self, size: u64, since: Digest32) -> Option<Consistency> {
        let leaves = self.levels.first()?;
        let count = usize::try_from(size).ok()?;
        let older = leaves.get(..count)?;
        (root(&self.id, older) == since).then_some(())?;
        Some(Consistency {
            node: self.node,
            since: Commitment { size, root: since },
            path: consistency_proof(&self.id, leaves, count)?,
        })
    }
}

fn parts(entry: &LogEntry) -> Result<EntryParts, SchemaError> {
    Ok(EntryParts {
        vertex: Opaque(entry.vertex.to_bytes()?),
        signature: entry.vertex_signature,
        atom: Opaque(entry.atom.to_bytes()?),
    })
}

fn levels(id: &UniverseId, leaves: Vec<Digest32>) -> Vec<Vec<Digest32>> {
    let mut all = vec![leaves];
    while let Some(last) = all.last()
        && last.len() > 1
    {
        let above = last.chunks(2).map(|pair| root(id, pair)).collect();
        all.push(above);
    }
    all
}

/// The path from a leaf to the root.
fn path(levels: &[Vec<Digest32>], leaf: usize) -> Vec<Digest32> {
    let numbered = levels.iter().zip(0u32..);
    let siblings = numbered.filter_map(|(level, height)| level.get(leaf >> height ^ 1));
    siblings.copied().collect()
}

fn select(logs: &[Log], selector: &Selector) -> Result<AtomId, ProveError> {
    match selector {
        Selector::Clock(clock) => {
            let place = clock.checked_sub(1).and_then(|at| usize::try_from(at).ok());
            let first = logs.first().zip(place);
            let found = first.and_then(|(log, place)| log.ids.get(place));
            found.copied().ok_or_else(|| ProveError::Absent {
                what: format!("event {clock} of the first log"),
            })
        }
        Selector::Id(digits) => {
            let ids = logs.iter().flat_map(|log| &log.ids);
            let fitting = ids.filter(|id| id.to_string().starts_with(digits));
            let fitting: BTreeSet<AtomId> = fitting.copied().collect();
            match fitting.first() {
                Some(id) if fitting.len() == 1 => Ok(*id),
                None => Err(ProveError::Absent {
                    what: digits.clone(),
                }),
                Some(_) => Err(ProveError::Ambiguous {
                    digits: digits.clone(),
                    count: fitting.len(),
                }),
            }
        }
    }
}

/// The atom and all that it depends on, each after one that names it.
fn closure(logs: &[Log], subject: AtomId) -> Result<Vec<AtomId>, ProveError> {
    let mut seen = BTreeSet::from([subject]);
    let (mut queue, mut all) = (VecDeque::from([subject]), vec![]);
    while let Some(id) = queue.pop_front() {
        all.push(id);
        let mut places = logs
            .iter()
            .filter_map(|log| Some((log, *log.places.get(&id)?)));
        let (log, place) = places.next().ok_or(ProveError::Incomplete { named: id })?;
        let named = log.names.get(place).into_iter().flatten();
        queue.extend(named.filter(|id| seen.insert(**id)));
    }
    Ok(all)
}

/// A line for people, as long as there is room for it.
fn summary(epochs: &Epochs, atom: &Atom, votes: &Votes) -> String {
    let body = atom.body();
    let author = epochs.name_of(&body.author);
    let author = author.map_or_else(|| body.author.to_string(), str::to_owned);
    let nodes = votes.keys().filter_map(|node| epochs.nodes().get(*node));
    let nodes: Vec<&str> = nodes.map(|node| node.name.as_str()).collect();
    let (kind, said) = (body.kind().name(), utc_text(body.hlc.utc_milliseconds()));
    let (nodes, payload) = (nodes.join(", "), json(body.payload.shown()));
    let mut text = format!("{kind} by {author} at {said}, witnessed by {nodes}: {payload}");
    while text.len() > SUMMARY_BYTES_MAX {
        text.pop();
    }
    text
}
