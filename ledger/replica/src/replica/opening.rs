//! How a replica begins: what its logs say, out of their indexes as far as these
//! go.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ledger_core::{Atom, Directory, Entry, Epochs, Kind, KnownKeys, Universe, UniverseError};
use ledger_node::{
    IndexFound, IndexOptions, Keyring, LedgerError, Mirror, NodeLog, NodeLogOptions, Row,
    StorageError, read_epochs,
};

use super::range_check::Check;
use super::{Effect, Replica, Start, Stores};
use crate::ranges::Taken;
use crate::standing::Standings;
use crate::waiting::WaitingRoom;
use crate::watch::{Clash, Watch};

/// What the copies of the others' logs leave to be done.
#[derive(Default)]
struct Left {
    clashes: Vec<(Clash, Atom)>,
    /// What others have witnessed and this node has not: few, unless it was stopped
    /// for long.
    late: Vec<(usize, u64, Entry)>,
}

impl Replica {
    /// A replica that goes on where its logs end.
    ///
    /// # Errors
    /// Storage, damage, keys that are not in the universe, or another universe
    /// in the log than this one.
    pub fn open(
        universe: &Universe,
        keys: Keyring,
        stores: Stores,
        options: impl Into<NodeLogOptions>,
        start: Start,
    ) -> Result<Replica, LedgerError> {
        let id = universe.id()?;
        let options = options.into();
        let index = options.index_entries.map(|entries| IndexOptions {
            entries,
            key: keys.node_key().clone(),
        });
        let mut own = stores.own;
        let epochs = match read_epochs(&mut *own)? {
            Some(epochs) => epochs,
            None => Epochs::genesis(universe)?,
        };
        let directory = Directory::of(&epochs);
        let universe = &epochs.view();
        let names = own
            .names()
            .map_err(|e| StorageError::new("list", "the log", &e))?;
        let mut rows = Vec::new();
        let mut log = if names.is_empty() {
            NodeLog::create_on(own, epochs.genesis_configuration(), keys, options)?
        } else {
            NodeLog::open_on(own, keys, options, &mut |row| rows.push(row))?
        };
        if log.universe_id() != id {
            return Err(UniverseError::Rule {
                rule: "The log is of this universe.",
            }
            .into());
        }
        if stores.copies.len() != epochs.nodes().len() {
            return Err(UniverseError::Rule {
                rule: "There is a copy for each node that ever was.",
            }
            .into());
        }
        let me = log.place_of_node();
        let mut standings = Standings::default();
        let mut taken = Taken::new(epochs.nodes().len());
        for row in &rows {
            taken.note(me, row.clock);
        }
        let proofs = own_past(&mut log, &mut standings, &directory, rows)?;
        let has_joined = !directory.is_member(0, me);
        standings.watch = has_joined.then(Watch::default);
        let known = Arc::new(KnownKeys::of_universe(universe));
        let mut left = Left::default();
        let mut epochs_seen = vec![0; epochs.nodes().len()];
        let mut mirrors = Vec::with_capacity(stores.copies.len());
        let mut refused = Vec::new();
        let mut note = |node: usize, found: &IndexFound| {
            if let IndexFound::Refused { why } = found {
                let name = universe.nodes.get(node).map_or("", |node| &node.name);
                let what = format!(
                    "the index beside the log of `{name}` is not its own, so all of it was read: {why}"
                );
                refused.push(Effect::Faulty { node: me, what });
            }
        };
        note(me, log.index_found());
        for (node, storage) in stores.copies.into_iter().enumerate() {
            let Some(storage) = storage else {
                mirrors.push(None);
                continue;
            };
            let key = universe.nodes.get(node).map(|node| node.key);
            let key = key.ok_or(UniverseError::Rule {
                rule: "There is a node for each copy.",
            })?;
            let mut rows = Vec::new();
            let index = index.clone();
            let key = (key, Arc::clone(&known));
            let mut mirror = Mirror::open_on(storage, id, key, index, &mut |row| rows.push(row))?;
            note(node, mirror.index_found());
            if directory.keeps_all(me) {
                mirror.refuse_leaves();
            }
            for row in rows {
                taken.note(node, row.clock);
                epochs_seen[node] = row.vertex_epoch.max(epochs_seen[node]);
                past_of(
                    node,
                    &mut mirror,
                    &mut standings,
                    (&directory, &known),
                    &row,
                    &mut left,
                )?;
            }
            mirrors.push(Some(mirror));
        }
        standings.count_all(&directory);
        let others = directory.members().iter().copied();
        let others = others.filter(|node| *node != me);
        let unheard = match start {
            Start::First | Start::GoesOn => BTreeSet::new(),
            Start::Again { lost } => others.filter(|node| !lost.contains(node)).collect(),
        };
        let has_read_up = !has_joined || log.clock() > 0;
        let mut replica = Replica {
            universe: universe.clone(),
            epochs,
            directory,
            known,
            me,
            log,
            mirrors,
            standings,
            waiting: WaitingRoom::default(),
            dropped_from: BTreeMap::new(),
            submitted: VecDeque::new(),
            next_ticket: 0,
            to_publish: vec![],
            accused: BTreeMap::new(),
            quarantined: BTreeSet::new(),
            suspects: BTreeMap::new(),
            unheard,
            began_with: BTreeMap::new(),
            signed_size: 0,
            signing_since_utc_ns: None,
            to_tell: BTreeSet::new(),
            told_utc_ns: i64::MIN,
            lacks: BTreeMap::new(),
            epochs_seen,
            has_read_up,
            has_told_epoch: false,
            taken,
            check: Check::default(),
            effects: vec![],
        };
        for atom in &proofs {
            replica.heed(atom);
        }
        for (clash, atom) in left.clashes {
            replica.contest(clash, atom);
        }
        for (node, clock, entry) in left.late {
            replica.sighted(node, clock, entry, i64::MIN);
        }
        // Nobody has to be told of the past, but of an index that was none.
        replica.effects = refused;
        Ok(replica)
    }
}

/// What this node's own log says; gives the proofs of fraud in it.
fn own_past(
    log: &mut NodeLog,
    standings: &mut Standings,
    directory: &Directory,
    rows: Vec<Row>,
) -> Result<Vec<Atom>, LedgerError> {
    let me = log.place_of_node();
    let mut proofs = Vec::new();
    for row in &rows {
        if matches!(row.kind, Kind::Epoch | Kind::FraudProof)
            && let Some(atom) = log.atom_at(row.clock)?
        {
            standings.carried(&atom);
            if row.kind == Kind::FraudProof {
                proofs.push(atom);
            }
        }
    }
    standings.recall(directory, me, rows);
    Ok(proofs)
}

/// What the copy of another's log says at one place.
fn past_of(
    node: usize,
    mirror: &mut Mirror,
    standings: &mut Standings,
    (directory, known): (&Directory, &KnownKeys),
    row: &Row,
    left: &mut Left,
) -> Result<(), LedgerError> {
    if standings.watch.is_none() && standings.recall_vote(directory, row, node) {
        return Ok(());
    }
    // It is not in this node's own log like that, so the entry itself is wanted.
    let Some(entry) = mirror.entry_at(row.clock)? else {
        return Ok(());
    };
    if standings.holds(known, row, &entry.atom).is_err() {
        return Ok(());
    }
    standings.recall_sight(directory, row, node);
    let watch = standings.watch.as_mut();
    if let Some(clash) = watch.and_then(|w| w.note(row, (node, row.clock))) {
        left.clashes.push((clash, entry.atom.clone()));
    }
    let standing = standings.get(&row.atom);
    if standing.is_none_or(|standing| standing.clock.is_none()) {
        left.late.push((node, row.clock, entry));
    }
    Ok(())
}
