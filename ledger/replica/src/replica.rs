//! The replica: inputs in, one batch to the log, effects out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ledger_core::{
    Address, AtomId, Contradiction, Directory, Epochs, KnownKeys, Level, Quorum, SignedHead,
    Universe,
};
use ledger_node::{
    AppendError, AtomDraft, IndexFound, Mirror, NodeLog, Receipt, Storage, StorageError,
};

use crate::message::Message;
use crate::ranges::Taken;
use crate::standing::{Standing, Standings};
use crate::waiting::WaitingRoom;

pub use crate::waiting::WAITING_MAX;

mod blame;
mod change;
mod gossip;
mod opening;
mod range_check;
mod witnessing;

use gossip::Lack;

/// Most bytes of batches that answer one word of what somebody has.
/// Chosen: about a second of a busy log; the answer to it asks for more.
const CATCH_UP_BYTES: u64 = 512 * 1024;

/// How often a node says what it has, when nothing else makes it do so.
/// Chosen: the ledger design, 2.9: 200 ms to 1 s.
pub const HAVE_INTERVAL_NS: i64 = 500_000_000;

/// How long an answer to one word of what somebody has counts as being on its way.
/// Chosen: less than between two words, so that an answer that is lost is given again
/// to the second one that shows it.
const UNDERWAY_NS: i64 = HAVE_INTERVAL_NS / 2;

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
    /// What was missing in the copy of a node's log was filled in.
    Filled {
        /// The node, by its place.
        node: usize,
        /// How many entries.
        entries: usize,
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
    /// Those of nodes and parties, shared with the copies.
    known: Arc<KnownKeys>,
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
    /// What a node (the first) last lacked of the log of another (the second).
    lacks: BTreeMap<(usize, usize), Lack>,
    /// Of each node the epoch of its latest vertex that was seen.
    epochs_seen: Vec<u64>,
    /// Whether this node may sign as far as it has joined later: it has read what
    /// the others said before.
    has_read_up: bool,
    /// Whether the next epoch was told of.
    has_told_epoch: bool,
    /// Of each log what was taken in, and what is asked of it now.
    taken: Taken,
    check: range_check::Check,
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

impl Replica {
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

    /// How many atoms wait to be witnessed here: at most [`WAITING_MAX`].
    pub fn waiting_atoms(&self) -> usize {
        self.waiting.count()
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
        // What was on its way to it has gone with the last connection.
        self.lacks.retain(|(of, _), _| *of != node);
        self.to_tell.insert(node);
    }

    /// Takes a message of another node.
    pub fn receive(&mut self, now_utc_ns: i64, from: usize, message: Message) {
        match message {
            Message::Have(have) => self.on_have(now_utc_ns, from, &have),
            Message::Batch { node, more, bytes } => {
                let before = self.held(node);
                self.on_batch(now_utc_ns, from, node, &bytes);
                // Only whoever could follow asks on; else two nodes whose copies
                // of a forked log differ would send each other the same for ever.
                if more && self.held(node) > before {
                    self.to_tell.insert(from);
                }
            }
            Message::Ranges {
                node,
                is_answer: false,
                ranges,
            } => self.on_ranges_asked(from, node, &ranges),
            Message::Ranges { node, ranges, .. } => self.on_ranges_differ(from, node, &ranges),
            Message::Filling { node, bytes } => self.on_filling(now_utc_ns, from, node, &bytes),
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

    /// Whether something that was submitted is not in the log yet.
    pub fn has_submissions(&self) -> bool {
        !self.submitted.is_empty()
    }

    /// Of each log here, by the place of its node, how many entries opening took out
    /// of the index: what the log says of them was not read.
    pub fn unread(&self) -> Vec<(usize, u64)> {
        let of = |node: usize, mirror: &Option<Mirror>| {
            let found = match mirror {
                Some(mirror) => mirror.index_found(),
                None if node == self.me => self.log.index_found(),
                None => return None,
            };
            match found {
                IndexFound::Used { entries } => Some((node, *entries)),
                IndexFound::None | IndexFound::Refused { .. } => None,
            }
        };
        let logs = self.mirrors.iter().enumerate();
        logs.filter_map(|(node, mirror)| of(node, mirror)).collect()
    }

    /// Says that the log of a node here has turned out to be damaged. When it is this
    /// node's own, nothing is witnessed any more. The next opening reads all of it.
    pub fn damaged(&mut self, node: usize, why: StorageError) {
        self.faulty(self.me, why.to_string());
        match self.mirrors.get_mut(node) {
            Some(Some(mirror)) => mirror.forget_index(),
            _ => self.log.stop(why),
        }
    }

    /// Ends the log in good order, with a last head where this node may sign: what it
    /// has lost and not taken back yet goes on behind the head that stands there.
    ///
    /// # Errors
    /// As [`NodeLog::close`].
    pub fn close(mut self, now_utc_ns: i64) -> Result<Option<SignedHead>, AppendError> {
        for mirror in self.mirrors.iter_mut().flatten() {
            // A copy that is not on the disk is fetched again.
            mirror.finish();
            let _: Result<(), StorageError> = mirror.sync();
        }
        match self.may_sign() {
            true => self.log.close(now_utc_ns).map(Some),
            false => Ok(None),
        }
    }
}
