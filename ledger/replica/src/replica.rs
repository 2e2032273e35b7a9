//! The replica: inputs in, one batch to the log, effects out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ledger_core::payload::Payload;
use ledger_core::{
    Address, Atom, AtomId, Contradiction, Directory, Entry, Epochs, Have, Held, Kind, Level,
    Particle, Quorum, SignedHead, Universe, UniverseError,
};
use ledger_node::mirror::for_other_shards;
use ledger_node::{
    AppendError, AtomDraft, Keyring, LedgerError, Mirror, MirrorFault, NodeLog, NodeLogOptions,
    Receipt, Record, Refusal, Sighting, Storage, StorageError, read_epochs,
};

use crate::judge::{Bench, Verdict, downs};
use crate::message::Message;
use crate::standing::{NODES_MAX, Standing, Standings};
use crate::waiting::{BATCH_ENTRIES_MAX, Excluded, WaitingRoom};
use crate::watch::Watch;

pub use crate::waiting::WAITING_MAX;

mod change;

/// Most bytes of batches that answer one word of what somebody has.
/// Chosen: about a second of a busy log; the answer to it asks for more.
const CATCH_UP_BYTES: u64 = 512 * 1024;

/// How often a node says what it has, when nothing else makes it do so.
/// Chosen: the ledger design, 2.9: 200 ms to 1 s.
pub const HAVE_INTERVAL_NS: i64 = 500_000_000;

/// How a replica begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// The log was begun just now and has never been in use.
    First,
    /// The log was in use. What this node once signed may be more than its disk
    /// says, when a backup was restored; so it signs nothing before every other
    /// node has said how far it went. Those in `lost` are not waited for.
    Again {
        /// Nodes that are gone for good, by their places.
        lost: BTreeSet<usize>,
    },
    /// The log was open a moment ago in this process, which has opened it again
    /// to go on in the next epoch: it has lost nothing.
    GoesOn,
}

/// A claim on what is submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// What a step leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Something is to be sent to a node.
    Send {
        /// To which, by its place.
        to: usize,
        /// What.
        message: Message,
    },
    /// What was submitted is in the log (L1), or why it is not.
    Appended {
        /// The submission.
        ticket: Ticket,
        /// The receipts, in the order of the drafts.
        result: Result<Vec<Receipt>, AppendError>,
    },
    /// An atom has come to a level.
    Reached {
        /// The atom.
        atom: AtomId,
        /// The level.
        level: Level,
    },
    /// An atom that somebody has witnessed is not witnessed here, ever.
    Refused {
        /// The atom.
        atom: AtomId,
        /// Why.
        why: String,
    },
    /// Somebody has contradicted itself; the proof is in the log.
    Accused {
        /// Who.
        who: Address,
        /// In which way, see [`Contradiction::name`].
        what: &'static str,
    },
    /// A change of the configuration is final and kept beside the log: opened
    /// again, the replica goes on in this epoch.
    NextEpoch {
        /// Its number.
        number: u64,
        /// The atom that carried the change.
        atom: AtomId,
    },
    /// A node has sent or signed something that does not hold.
    Faulty {
        /// The node, by its place.
        node: usize,
        /// What.
        what: String,
    },
}

/// One node of several, as a state machine.
pub struct Replica {
    epochs: Epochs,
    /// The current configuration with every node that ever was.
    universe: Universe,
    directory: Directory,
    me: usize,
    log: NodeLog,
    /// Copies of the others' logs; none at this node's own place.
    mirrors: Vec<Option<Mirror>>,
    standings: Standings,
    /// Atoms to be witnessed.
    waiting: WaitingRoom,
    /// Of each node's log the first entry that found no room to wait.
    dropped_from: BTreeMap<usize, u64>,
    submitted: VecDeque<(Ticket, i64, Vec<AtomDraft>)>,
    next_ticket: u64,
    /// Proofs that this node still has to write into its log.
    to_publish: Vec<Contradiction>,
    accused: BTreeMap<Address, &'static str>,
    /// Nodes whose new votes do not count.
    quarantined: BTreeSet<usize>,
    /// Nodes that have said two things, whom to ask for it, and from which clock
    /// on: half of it each time, until both signatures are found.
    suspects: BTreeMap<usize, (usize, u64)>,
    /// Nodes that have not yet said how far this node went.
    unheard: BTreeSet<usize>,
    /// How much of its own log each node had when this one first heard of it.
    began_with: BTreeMap<usize, u64>,
    /// The largest size of this node's log that it has signed, as others show.
    signed_size: u64,
    /// Since when this node signs: before that nothing could be witnessed, so
    /// nothing has waited for what it names.
    signing_since_utc_ns: Option<i64>,
    /// Whom to tell what this node has, at the end of the step.
    to_tell: BTreeSet<usize>,
    told_utc_ns: i64,
    /// Of each node the epoch of its latest vertex that was seen.
    epochs_seen: Vec<u64>,
    /// Whether this node may sign as far as it has joined later: it has read what
    /// the others said before.
    has_read_up: bool,
    /// Whether the next epoch was told of.
    has_told_epoch: bool,
    effects: Vec<Effect>,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica")
            .field("me", &self.me)
            .field("clock", &self.log.clock())
            .finish_non_exhaustive()
    }
}

/// Where a replica keeps what it keeps.
pub struct Stores {
    /// Its own log: begun where the storage is empty, read back otherwise.
    pub own: Box<dyn Storage>,
    /// Copies of the others' logs, in the order of the configuration; none at
    /// this node's own place.
    pub copies: Vec<Option<Box<dyn Storage>>>,
}

/// What the replica judges with; a macro, since some of it is borrowed while the
/// rest of the replica changes.
macro_rules! bench {
    ($replica:expr, $now_utc_ns:expr) => {
        Bench {
            epochs: &$replica.epochs,
            directory: &$replica.directory,
            me: $replica.me,
            particles: $replica.log.particles(),
            place: &|author| $replica.log.place(author),
            accused: &|author| $replica.accused.contains_key(author),
            now_utc_ns: $now_utc_ns,
        }
    };
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
        let mut standings = Standings::default();
        let mut proofs = Vec::new();
        let mut epochs_seen = vec![0; epochs.nodes().len()];
        let log = if names.is_empty() {
            NodeLog::create_on(own, epochs.genesis_configuration(), keys, options)?
        } else {
            NodeLog::open_on(own, keys, options, &mut |entry: &Entry| {
                if let Some(node) = directory.node(&entry.vertex.node) {
                    standings.entered(&directory, node, entry);
                }
                if entry.atom.body().kind() == Kind::FraudProof {
                    proofs.push(entry.atom.clone());
                }
            })?
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
        let has_joined = !directory.is_member(0, me);
        standings.watch = has_joined.then(Watch::default);
        let mut clashes = Vec::new();
        // What others have witnessed and this node has not: few, unless it was
        // stopped for long.
        let mut late = Vec::new();
        let mut mirrors = Vec::with_capacity(stores.copies.len());
        for (node, storage) in stores.copies.into_iter().enumerate() {
            let Some(storage) = storage else {
                mirrors.push(None);
                continue;
            };
            let key = universe.nodes.get(node).map(|node| node.key);
            let key = key.ok_or(UniverseError::Rule {
                rule: "There is a node for each copy.",
            })?;
            let mirror = Mirror::open_on(storage, id, key, &mut |clock, sighting| {
                let Sighting::Entry(entry) = sighting else {
                    return;
                };
                epochs_seen[node] = entry.vertex.n.max(epochs_seen[node]);
                if standings.holds(&entry.atom).is_err() {
                    return;
                }
                let seen = (node, entry.vertex.n);
                standings.witnessed(&directory, &entry.atom, seen, None);
                let watch = standings.watch.as_mut();
                if let Some(clash) = watch.and_then(|w| w.note(&entry.atom, (node, clock))) {
                    clashes.push((clash, entry.atom.clone()));
                }
                let standing = standings.get(&entry.atom.id());
                if standing.is_none_or(|s| s.clock.is_none()) {
                    late.push((node, clock, *entry));
                }
            })?;
            mirrors.push(Some(mirror));
        }
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
            epochs_seen,
            has_read_up,
            has_told_epoch: false,
            effects: vec![],
        };
        for atom in &proofs {
            replica.heed(atom);
        }
        for (clash, atom) in clashes {
            replica.contest(clash, atom);
        }
        for (node, clock, entry) in late {
            replica.sighted(node, clock, entry, i64::MIN);
        }
        // Nobody has to be told of the past.
        replica.effects.clear();
        Ok(replica)
    }

    /// This node, by its place.
    pub fn me(&self) -> usize {
        self.me
    }

    /// The clock of this node's log.
    pub fn clock(&self) -> u64 {
        self.log.clock()
    }

    /// The root of this node's log.
    pub fn root(&self) -> ledger_core::Digest32 {
        self.log.root()
    }

    /// How an atom stands, if this node knows of it.
    pub fn standing(&self, id: &AtomId) -> Option<&Standing> {
        self.standings.get(id)
    }

    /// The log of this node.
    pub fn log(&self) -> &NodeLog {
        &self.log
    }

    /// How much of a node's log is here.
    pub fn held(&self, node: usize) -> u64 {
        match self.mirrors.get(node) {
            Some(Some(mirror)) => mirror.size(),
            Some(None) => self.log.clock(),
            None => 0,
        }
    }

    /// Whether this node may sign: it belongs to the configuration, every other
    /// node has said how far it went, and it has caught up with that.
    pub fn may_sign(&self) -> bool {
        self.unheard.is_empty()
            && self.log.clock() >= self.signed_size
            && self.directory.is_member(self.epochs.last(), self.me)
            && self.has_read_up
    }

    /// The configurations by which this node goes.
    pub fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// Whether this node has all that a quorum of nodes, itself among them, had
    /// in their logs when it first heard of each: then it knows all that was final
    /// before.
    pub fn has_caught_up(&self) -> bool {
        let began_with = self.began_with.iter();
        let caught_up = began_with.filter(|(node, size)| self.held(**node) >= **size);
        let quorum = Quorum {
            replicas: self.directory.members().len(),
        };
        caught_up.count() + 1 >= quorum.is_final()
    }

    /// The nodes that have not said yet how far this node went, by their places.
    pub fn unheard(&self) -> &BTreeSet<usize> {
        &self.unheard
    }

    /// Who has contradicted itself, and in which way.
    pub fn accused(&self) -> &BTreeMap<Address, &'static str> {
        &self.accused
    }

    /// How many atoms this node has witnessed that are not final yet.
    pub fn open_atoms(&self) -> u64 {
        self.standings.open()
    }

    /// Takes what a party of this node says. It is in the log, or refused, with
    /// the next [`Replica::step`].
    pub fn submit(&mut self, now_utc_ns: i64, drafts: Vec<AtomDraft>) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.submitted.push_back((ticket, now_utc_ns, drafts));
        ticket
    }

    /// Says to a node, with the next step, what this one has: when a connection
    /// begins.
    pub fn greet(&mut self, node: usize) {
        self.to_tell.insert(node);
    }

    /// Takes a message of another node.
    pub fn receive(&mut self, now_utc_ns: i64, from: usize, message: Message) {
        match message {
            Message::Have(have) => self.on_have(from, &have),
            Message::Batch { node, more, bytes } => {
                let before = self.held(node);
                self.on_batch(now_utc_ns, from, node, &bytes);
                // Only whoever could follow asks on; else two nodes whose copies
                // of a forked log differ would send each other the same for ever.
                if more && self.held(node) > before {
                    self.to_tell.insert(from);
                }
            }
        }
    }

    /// Does all that can be done: witnesses what waits, appends it with what was
    /// submitted as one batch, and says what is to be sent. What is in the
    /// effects is as durable as the log.
    pub fn step(&mut self, now_utc_ns: i64) -> Vec<Effect> {
        self.has_read_up = self.has_read_up || self.reads_up();
        match self.may_sign() {
            true => self.append(now_utc_ns),
            false => self.signing_since_utc_ns = None,
        }
        self.refuse_after_leaving();
        if now_utc_ns.saturating_sub(self.told_utc_ns) >= HAVE_INTERVAL_NS {
            self.told_utc_ns = now_utc_ns;
            self.now_and_then(now_utc_ns);
        }
        self.keep_next_epoch();
        for to in std::mem::take(&mut self.to_tell) {
            let message = Message::Have(Box::new(self.have(to)));
            self.effects.push(Effect::Send { to, message });
        }
        std::mem::take(&mut self.effects)
    }

    fn now_and_then(&mut self, now_utc_ns: i64) {
        let others = (0..self.mirrors.len()).filter(|node| *node != self.me);
        self.to_tell.extend(others);
        for mirror in self.mirrors.iter_mut().flatten() {
            if let Err(e) = mirror.sync() {
                let (node, what) = (self.me, e.to_string());
                self.effects.push(Effect::Faulty { node, what });
            }
        }
        if self.waiting.count() < WAITING_MAX / 2 {
            self.look_again(now_utc_ns);
        }
        for (_, from) in self.suspects.values_mut() {
            *from /= 2;
        }
    }

    /// Sees again what found no room to wait.
    fn look_again(&mut self, now_utc_ns: i64) {
        for (node, clock) in std::mem::take(&mut self.dropped_from) {
            let Some(Some(mirror)) = self.mirrors.get_mut(node) else {
                continue;
            };
            match mirror.entries_after(clock - 1, CATCH_UP_BYTES) {
                Ok((entries, last)) => {
                    for (clock, entry) in entries {
                        self.sighted(node, clock, entry, now_utc_ns);
                    }
                    if last < self.held(node) {
                        let first = self.dropped_from.entry(node).or_insert(last + 1);
                        *first = (*first).min(last + 1);
                    }
                }
                Err(e) => self.faulty(self.me, e.to_string()),
            }
        }
    }

    /// Whether something that was submitted is not in the log yet.
    pub fn has_submissions(&self) -> bool {
        !self.submitted.is_empty()
    }

    fn have(&self, to: usize) -> Have {
        let held = (0..self.mirrors.len()).map(|node| match &self.mirrors[node] {
            Some(mirror) => Held {
                size: match self.suspects.get(&node) {
                    Some((whom, from)) if *whom == to => *from,
                    _ => mirror.size(),
                },
                root: mirror.root(),
            },
            None => Held {
                size: self.log.clock(),
                root: self.log.root(),
            },
        });
        Have {
            held: held.collect(),
            yours: self
                .mirrors
                .get(to)
                .and_then(|m| m.as_ref())
                .and_then(|m| m.head().cloned()),
        }
    }

    fn on_have(&mut self, from: usize, have: &Have) {
        // A node in another epoch knows fewer nodes, or more.
        if have.held.len() > NODES_MAX {
            return self.faulty(from, "it counts too many nodes".to_owned());
        }
        // Only what says more than is known is worth a look at its signature.
        let more = have.yours.as_ref();
        if let Some(head) = more.filter(|head| head.head.size > self.signed_size) {
            if !self.is_mine(head) {
                return self.faulty(from, "it shows a head that is not ours".to_owned());
            }
            self.signed_size = head.head.size;
        }
        self.unheard.remove(&from);
        if let Some(own) = have.held.get(from) {
            self.began_with.entry(from).or_insert(own.size);
        }
        // With the log of a node that it does not know it could do nothing.
        for (node, theirs) in have.held.iter().enumerate().take(self.mirrors.len()) {
            let mine = self.held(node);
            // Of its own log a node lacks something only after a backup was restored.
            if node == from && mine <= theirs.size {
                continue;
            }
            let root = match &self.mirrors[node] {
                Some(mirror) => mirror.root(),
                None => self.log.root(),
            };
            // Equal sizes with other roots: the batch shows who has signed both.
            let after = match mine == theirs.size && mine > 0 && root != theirs.root {
                true => mine - 1,
                false => theirs.size,
            };
            if after >= mine {
                continue;
            }
            let batches = match &mut self.mirrors[node] {
                Some(mirror) => mirror.batches_after(after, CATCH_UP_BYTES),
                None => self.log.batches_after(after, CATCH_UP_BYTES),
            };
            match batches {
                Ok(batches) => self.send_batches(from, node, batches),
                Err(e) => self.faulty(self.me, e.to_string()),
            }
        }
    }

    fn send_batches(&mut self, to: usize, node: usize, batches: Vec<Vec<u8>>) {
        let last = batches.len().saturating_sub(1);
        for (at, bytes) in batches.into_iter().enumerate() {
            let bytes: Arc<[u8]> = bytes.into();
            if let Some(bytes) = self.as_kept_by(to, &bytes) {
                let more = at == last;
                let message = Message::Batch { node, more, bytes };
                self.effects.push(Effect::Send { to, message });
            }
        }
    }

    /// The batch with only what a node keeps in full.
    fn as_kept_by(&self, node: usize, bytes: &Arc<[u8]>) -> Option<Arc<[u8]>> {
        if self.directory.keeps_all(node) {
            return Some(Arc::clone(bytes));
        }
        let is_kept = |entry: &Entry| self.is_for(node, &entry.atom);
        for_other_shards(&self.directory.id, bytes, &is_kept).map(Arc::from)
    }

    fn is_for(&self, node: usize, atom: &Atom) -> bool {
        let body = atom.body();
        body.kind().is_for_all() || self.directory.serves_any(node, &body.destinations)
    }

    fn is_mine(&self, head: &SignedHead) -> bool {
        let key = self.universe.nodes.get(self.me).map(|node| node.key);
        key.is_some_and(|key| {
            Address::of_key(&self.directory.id, &key) == head.head.node
                && head.verify(&self.directory.id, &key).is_ok()
        })
    }

    fn on_batch(&mut self, now_utc_ns: i64, from: usize, node: usize, bytes: &[u8]) {
        if node == self.me {
            return self.on_own_batch(bytes);
        }
        let Some(Some(mirror)) = self.mirrors.get_mut(node) else {
            // Of a node that joins with an epoch that this one is not in yet.
            return;
        };
        match mirror.follow(bytes) {
            Ok(seen) => {
                for (clock, sighting) in seen {
                    if let Sighting::Entry(entry) = sighting {
                        self.sighted(node, clock, *entry, now_utc_ns);
                    }
                }
            }
            Err(MirrorFault::Known) => {}
            // Behind what a liar has signed a gap may stay for ever.
            Err(MirrorFault::Gap { .. }) if self.quarantined.contains(&node) => {}
            Err(MirrorFault::Gap { .. }) => {
                self.to_tell.insert(from);
            }
            Err(MirrorFault::Fork(one, other)) => {
                self.quarantined.insert(node);
                self.accuse(Contradiction::TwoHeads(one, other));
            }
            Err(e @ MirrorFault::Unsigned { .. }) => self.faulty(from, e.to_string()),
            Err(e @ MirrorFault::Lie { .. }) => {
                let against = mirror.against(bytes);
                let size = mirror.size();
                self.quarantined.insert(node);
                self.suspects.entry(node).or_insert((from, size));
                self.faulty(node, e.to_string());
                if let Ok(Some((one, other))) = against {
                    let (one, other) = (Box::new(one), Box::new(other));
                    self.accuse(Contradiction::TwoVertices(one, other));
                }
            }
            Err(MirrorFault::Storage(e)) => self.faulty(self.me, e.to_string()),
        }
    }

    /// A batch of this node's own log: what it has lost and others still have.
    fn on_own_batch(&mut self, bytes: &[u8]) {
        if self.log.clock() >= self.signed_size {
            return;
        }
        let mut entries = Vec::new();
        let taken = self
            .log
            .take_back(bytes, &mut |entry| entries.push(entry.clone()));
        match taken {
            Ok(()) => {
                for entry in &entries {
                    self.entered(entry);
                }
            }
            // What does not follow was sent by more than one, or out of order.
            Err(LedgerError::Corrupt { .. }) => {}
            Err(e) => self.faulty(self.me, e.to_string()),
        }
    }

    /// An entry of this node's own log.
    fn entered(&mut self, entry: &Entry) {
        let atom = &entry.atom;
        let id = atom.id();
        if let Some(level) = self.standings.entered(&self.directory, self.me, entry) {
            self.effects.push(Effect::Reached { atom: id, level });
        }
        self.heed(atom);
        self.waiting.forget(atom);
    }

    /// An entry of another node's log.
    fn sighted(&mut self, node: usize, clock: u64, entry: Entry, now_utc_ns: i64) {
        let (atom, epoch) = (entry.atom, entry.vertex.n);
        if let Some(seen) = self.epochs_seen.get_mut(node) {
            *seen = epoch.max(*seen);
        }
        if let Err(e) = self.standings.holds(&atom) {
            // An honest node verifies before it witnesses.
            self.quarantined.insert(node);
            return self.faulty(node, format!("it has witnessed an atom: {e}"));
        }
        if !self.quarantined.contains(&node) {
            let seen = (node, epoch);
            let level = self.standings.witnessed(&self.directory, &atom, seen, None);
            if let Some(level) = level {
                let atom = atom.id();
                self.effects.push(Effect::Reached { atom, level });
            }
        }
        let watch = self.standings.watch.as_mut();
        if let Some(clash) = watch.and_then(|watch| watch.note(&atom, (node, clock))) {
            self.contest(clash, atom.clone());
        }
        // What others have shown counts before this node says a word.
        if self.standings.watch.is_some() && atom.body().kind() == Kind::FraudProof {
            self.heed(&atom);
        }
        let is_known = self
            .standings
            .get(&atom.id())
            .is_some_and(|s| s.clock.is_some());
        if is_known || !self.is_for(self.me, &atom) {
            return;
        }
        if !self.waiting.admit(atom, now_utc_ns) {
            let first = self.dropped_from.entry(node).or_insert(clock);
            *first = (*first).min(clock);
        }
    }

    /// Takes a published proof to heart.
    fn heed(&mut self, atom: &Atom) {
        let Payload::FraudProof(proof) = &atom.body().payload else {
            return;
        };
        let Ok(contradiction) = Contradiction::from_payload(proof, &self.directory) else {
            return;
        };
        if let Ok(who) = contradiction.accused(&self.universe, &self.directory) {
            self.blame(who, contradiction.name());
        }
    }

    fn blame(&mut self, who: Address, what: &'static str) {
        if let Some(node) = self.directory.node(&who) {
            self.quarantined.insert(node);
            self.suspects.remove(&node);
        }
        if self.accused.insert(who, what).is_none() {
            self.effects.push(Effect::Accused { who, what });
        }
    }

    /// Publishes a contradiction, unless its author is accused already.
    fn accuse(&mut self, contradiction: Contradiction) {
        match contradiction.accused(&self.universe, &self.directory) {
            Ok(who) if !self.accused.contains_key(&who) => {
                self.blame(who, contradiction.name());
                self.to_publish.push(contradiction);
            }
            Ok(_) => {}
            Err(e) => self.faulty(self.me, format!("evidence that does not hold: {e}")),
        }
    }

    fn faulty(&mut self, node: usize, what: String) {
        self.effects.push(Effect::Faulty { node, what });
    }

    /// Appends what was submitted and what may be witnessed, as one batch.
    fn append(&mut self, now_utc_ns: i64) {
        let since = *self.signing_since_utc_ns.get_or_insert(now_utc_ns);
        let seen = self.choose(now_utc_ns, since);
        let mut groups: Vec<(i64, Vec<Record>)> = Vec::new();
        let mut tickets = Vec::new();
        let mut count = seen.len();
        for contradiction in std::mem::take(&mut self.to_publish) {
            if let Ok(payload) = contradiction.to_payload()
                && let Some(node) = self.universe.nodes.get(self.me)
            {
                let draft = AtomDraft::new(&node.name, Payload::FraudProof(payload));
                groups.push((now_utc_ns, vec![Record::Draft(Box::new(draft))]));
                tickets.push(None);
            }
        }
        if let Some(draft) = self.first_word() {
            groups.push((now_utc_ns, vec![Record::Draft(Box::new(draft))]));
            tickets.push(None);
        }
        while let Some((_, _, drafts)) = self.submitted.front() {
            count += drafts.len();
            if count > BATCH_ENTRIES_MAX && count > drafts.len() {
                break;
            }
            if let Some((ticket, at, drafts)) = self.submitted.pop_front() {
                if let Some((draft, reason)) = self.refusal(&drafts, now_utc_ns) {
                    let result = Err(AppendError::Refused { draft, reason });
                    self.effects.push(Effect::Appended { ticket, result });
                    continue;
                }
                // From here on no other change is witnessed for that epoch.
                for draft in &drafts {
                    self.standings.lock_change(&draft.payload);
                }
                let records = drafts
                    .into_iter()
                    .map(|draft| Record::Draft(Box::new(draft)));
                groups.push((at, records.collect()));
                tickets.push(Some(ticket));
            }
        }
        let own = groups.len();
        let others = seen.clone();
        groups.extend(
            seen.into_iter()
                .map(|atom| (now_utc_ns, vec![Record::Seen(Box::new(atom))])),
        );
        if groups.is_empty() {
            return;
        }
        let appended = self.log.append_records(groups);
        for entry in &appended.entries {
            self.entered(entry);
        }
        for (at, result) in appended.results.into_iter().enumerate() {
            match (tickets.get(at), result) {
                (Some(Some(ticket)), result) => self.effects.push(Effect::Appended {
                    ticket: *ticket,
                    result,
                }),
                (None, Err(AppendError::Refused { reason, .. })) => {
                    let atom = &others[at - own];
                    self.standings.unlock_all(&downs(atom), &atom.id());
                    // A party of this node has just taken the place: it has said
                    // two things, and the next step shows both.
                    if matches!(reason, Refusal::OutOfSequence { .. }) {
                        continue;
                    }
                    self.waiting.forget(atom);
                    let (atom, why) = (atom.id(), reason.to_string());
                    self.effects.push(Effect::Refused { atom, why });
                }
                (_, Err(e)) => self.faulty(self.me, e.to_string()),
                (_, Ok(_)) => {}
            }
        }
        if appended.bytes.is_empty() {
            return;
        }
        let bytes: Arc<[u8]> = appended.bytes.into();
        for to in (0..self.mirrors.len()).filter(|node| *node != self.me) {
            if let Some(bytes) = self.as_kept_by(to, &bytes) {
                let message = Message::Batch {
                    node: self.me,
                    more: false,
                    bytes,
                };
                self.effects.push(Effect::Send { to, message });
            }
        }
    }

    /// Why a submission cannot be taken, and which of its drafts is to blame: what
    /// it spends must be final, and not be spent by another atom.
    fn refusal(&self, drafts: &[AtomDraft], now_utc_ns: i64) -> Option<(usize, Refusal)> {
        let of = |draft: &AtomDraft| {
            if draft.expiry_utc_ns.is_some_and(|at| at < now_utc_ns) {
                return Some(Refusal::Expired);
            }
            let author = self.log.author(&draft.author);
            if author.is_some_and(|author| self.accused.contains_key(&author)) {
                let author = draft.author.clone();
                return Some(Refusal::Accused { author });
            }
            if let Payload::Epoch(change) = &draft.payload
                && let Verdict::Never(why) =
                    bench!(self, now_utc_ns).change(change, &self.standings)
            {
                return Some(Refusal::Epoch { why });
            }
            draft.particles.iter().find_map(|particle| match particle {
                Particle::Down(particle) => match self.standings.lock(particle) {
                    Some(by) => Some(Refusal::Spent {
                        particle: *particle,
                        by,
                    }),
                    None => (!self.standings.is_final(particle)).then_some(Refusal::NotFinal {
                        particle: *particle,
                    }),
                },
                Particle::Up(_) => None,
            })
        };
        let mut changes = (0..).zip(drafts).filter(|(_, draft)| {
            let payload = &draft.payload;
            payload.kind() == Kind::Epoch
        });
        if let Some((at, _)) = changes.nth(1) {
            let why = "one at a time".to_owned();
            return Some((at, Refusal::Epoch { why }));
        }
        let mut refusals = drafts.iter().map(of).enumerate();
        refusals.find_map(|(at, refusal)| Some((at, refusal?)))
    }

    /// The waiting atoms that may be witnessed now. Those that never may are
    /// told of, and where their author has contradicted itself, that is, too.
    fn choose(&mut self, now_utc_ns: i64, signing_since_utc_ns: i64) -> Vec<Atom> {
        let bench = bench!(self, now_utc_ns);
        let choice = self
            .waiting
            .choose(&bench, signing_since_utc_ns, &mut self.standings);
        for (atom, why) in choice.refused {
            self.effects.push(Effect::Refused { atom, why });
        }
        for excluded in choice.excluded {
            let Excluded { atom, by, spends } = excluded;
            let why = match spends {
                true => format!("it spends again what atom {by} has spent"),
                false => format!("its author wrote atom {by} for the same place"),
            };
            let id = atom.id();
            self.effects.push(Effect::Refused { atom: id, why });
            if let Some(other) = self.find(&by, &choice.witnessed) {
                let (one, other) = (Box::new(other), Box::new(atom));
                self.accuse(match spends {
                    true => Contradiction::TwoSpends(one, other),
                    false => Contradiction::TwoAtoms(one, other),
                });
            }
        }
        choice.witnessed
    }

    /// An atom that this node has witnessed, out of its log or of this batch.
    fn find(&mut self, id: &AtomId, chosen: &[Atom]) -> Option<Atom> {
        if let Some(atom) = chosen.iter().find(|atom| atom.id() == *id) {
            return Some(atom.clone());
        }
        let clock = self.standings.get(id)?.clock?;
        self.log.atom_at(clock).ok().flatten()
    }

    /// Ends the log in good order.
    ///
    /// # Errors
    /// As [`NodeLog::close`].
    pub fn close(mut self, now_utc_ns: i64) -> Result<SignedHead, AppendError> {
        for mirror in self.mirrors.iter_mut().flatten() {
            // A copy that is not on the disk is fetched again.
            let _: Result<(), StorageError> = mirror.sync();
        }
        self.log.close(now_utc_ns)
    }
}
