//! The running node: one thread for the replica, one for the sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use document::Diagnostic;
use ledger_core::{Address, AtomId, Authority, Digest32, Level, SignedHead, UniverseId};
use ledger_node::writer::WaitError;
use ledger_node::{
    AppendError, AtomDraft, Durability, FileStorage, LedgerError, NodeLogOptions, Storage, Ticket,
};
use ledger_replica::{Effect, Replica, Start, Stores};

use crate::config::{NodeConfig, operator};
use crate::files::{COPIES, FRESH, FilesError, OWN, read_keys};
use crate::inbox::{Inbox, Question, Submission, Work};
use crate::peers::{Line, Switchboard, Tcp, accept, dial, dials};
use crate::recheck::{Unread, recheck_in_background};

/// How long the replica's thread sleeps when nothing comes.
/// Chosen: a fifth of the interval in which it says what it has.
const IDLE: Duration = Duration::from_millis(100);

/// The wall clock, in nanoseconds since the Unix epoch, UTC.
pub type WallClock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What happens at a node, for a log line or an alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An atom has come to a level here.
    Reached {
        /// The atom.
        atom: AtomId,
        /// The level.
        level: Level,
    },
    /// An atom that others have witnessed is never witnessed here.
    Refused {
        /// The atom.
        atom: AtomId,
        /// Why.
        why: String,
    },
    /// Somebody has contradicted itself.
    Accused {
        /// Who: the name in the universe.
        who: String,
        /// In which way.
        what: &'static str,
    },
    /// A node has sent or signed something that does not hold.
    Faulty {
        /// The node's name.
        node: String,
        /// What.
        what: String,
    },
    /// A change of the configuration is final and kept: started again, the node
    /// goes on in this epoch.
    NextEpoch {
        /// Its number.
        number: u64,
    },
    /// The node may sign from now on.
    Ready,
}

/// How a node stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The configuration epoch in which it signs.
    pub epoch: u64,
    /// The epoch in which it goes on when it is started again, if it is another.
    pub next_epoch: Option<u64>,
    /// Its logical clock.
    pub clock: u64,
    /// The root of its log.
    pub root: Digest32,
    /// Whether it may sign.
    pub may_sign: bool,
    /// Whether it has all that a quorum of nodes had when it first heard of them.
    pub has_caught_up: bool,
    /// Nodes that have not said how far this one went, by name.
    pub unheard: Vec<String>,
    /// Of each node of the universe, in its order: its name, how much of its log
    /// is here, and whether there is a connection.
    pub nodes: Vec<(String, u64, bool)>,
    /// Atoms that have come to L1, L2 and L3 since this node was started.
    pub reached: [u64; 3],
    /// Atoms in this node's log that are not final yet.
    pub open: u64,
    /// Who has contradicted itself, by name or address.
    pub accused: Vec<String>,
    /// Of each device that was commanded or granted, its name: who may command it.
    pub authorities: Arc<BTreeMap<String, Authority>>,
    /// Why the log has stopped, if it has.
    pub stopped: Option<String>,
}

/// Why a node cannot be started or ended.
#[derive(Debug)]
pub enum NodeError {
    /// Something that an operator can mend.
    Told(Box<Diagnostic>),
    /// The log.
    Append(AppendError),
}

impl From<FilesError> for NodeError {
    fn from(e: FilesError) -> NodeError {
        NodeError::Told(e.0)
    }
}

impl NodeError {
    /// The error in the one shape that errors have.
    pub fn into_diagnostic(self) -> Diagnostic {
        match self {
            NodeError::Told(diagnostic) => *diagnostic,
            NodeError::Append(e) => operator(
                "L004",
                format!("the log: {e}"),
                "free the disk or replace it",
            ),
        }
    }
}

/// A running node. Dropping it ends it without closing the log.
pub struct Node {
    id: UniverseId,
    board: Arc<Switchboard>,
    status: Arc<Mutex<Status>>,
    listen: SocketAddr,
    thread: Option<JoinHandle<Result<Option<SignedHead>, AppendError>>>,
    /// The sockets live as long as this.
    runtime: Option<tokio::runtime::Runtime>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

fn told(code: &'static str, message: String, help: &str) -> NodeError {
    NodeError::Told(Box::new(operator(code, message, help)))
}

impl Node {
    /// Starts a node: opens its log, listens, dials, and tells `on_event`.
    ///
    /// # Errors
    /// L003 to L005: keys, the log, or the address.
    pub fn start(
        config: &NodeConfig,
        clock: WallClock,
        on_event: impl FnMut(Event) + Send + 'static,
    ) -> Result<Node, NodeError> {
        let start = match config.log.join(FRESH).exists() {
            true => Start::First,
            false => Start::Again {
                lost: config.lost.clone(),
            },
        };
        Node::begin(config, clock, on_event, start)
    }

    /// As [`Node::start`], right after this process has closed the node in good
    /// order, to go on in the next epoch: nobody has to be asked how far it went.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub fn go_on(
        config: &NodeConfig,
        clock: WallClock,
        on_event: impl FnMut(Event) + Send + 'static,
    ) -> Result<Node, NodeError> {
        Node::begin(config, clock, on_event, Start::GoesOn)
    }

    fn begin(
        config: &NodeConfig,
        clock: WallClock,
        mut on_event: impl FnMut(Event) + Send + 'static,
        start: Start,
    ) -> Result<Node, NodeError> {
        let (universe, epochs) = (&config.universe, &config.epochs);
        let mut members = epochs.current().nodes.iter();
        if !members.any(|node| node.name == config.node) {
            let (node, epoch) = (&config.node, epochs.last());
            let message = format!("`{node}` has left the configuration by epoch {epoch}");
            let help = "its log stays as evidence; `gridrig ledger verify` reads it";
            return Err(told("L008", message, help));
        }
        let (keys, transport) = read_keys(&config.keys, &config.node, epochs)?;
        let fresh = config.log.join(FRESH);
        let is_first = fresh.exists();
        let copies = universe.nodes.iter().enumerate().map(|(at, node)| {
            let folder = config.log.join(COPIES).join(&node.name);
            (at != config.me).then(|| storage(&folder)).transpose()
        });
        let stores = Stores {
            copies: copies.collect::<Result<_, _>>()?,
            own: storage(&config.log.join(OWN))?,
        };
        let replica = Replica::open(
            epochs.genesis_configuration(),
            keys,
            stores,
            NodeLogOptions::from(Durability::Fsync).indexed(),
            start,
        )
        .map_err(|e: LedgerError| {
            let message = format!("the log of `{}`: {e}", config.node);
            told("L004", message, "see `gridrig explain L004`")
        })?;
        // Before the log counts as used, so that a start which fails has not used it up. Not by the runtime below: this
        // may itself be called from within another one.
        let listener = std::net::TcpListener::bind(config.listen)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|e| {
                let message = format!("`{}` cannot listen on {}: {e}", config.node, config.listen);
                told(
                    "L005",
                    message,
                    "name an address of this machine with a free port",
                )
            })?;
        if is_first {
            // From here on others must be asked.
            std::fs::remove_file(&fresh)
                .and_then(|()| std::fs::File::open(&config.log)?.sync_all())
                .map_err(|e| {
                    let message = format!("{} cannot be removed: {e}", fresh.display());
                    told(
                        "L004",
                        message,
                        "give the node the right to write in its folder",
                    )
                })?;
        }
        let names: Vec<String> = universe.nodes.iter().map(|n| n.name.clone()).collect();
        let pinned = universe.federation.as_ref();
        let board = Arc::new(Switchboard {
            me: config.me,
            genesis: epochs.genesis_configuration().nodes.len(),
            key: transport,
            pinned: pinned.map_or(vec![], |f| f.transport_keys.clone()),
            lines: names.iter().map(|_| Line::new()).collect(),
            inbox: Inbox::new(names.len()),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("ledger-net")
            .enable_all()
            .build()
            .map_err(|e| {
                told(
                    "L005",
                    format!("no thread for sockets: {e}"),
                    "raise the limits",
                )
            })?;
        let listen = listener.local_addr().unwrap_or(config.listen);
        let accepting = Arc::clone(&board);
        runtime.spawn(async move {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => accept::<Tcp>(accepting, listener).await,
                Err(e) => tracing::error!("the listener cannot be used: {e}"),
            }
        });
        for (node, address) in config.peers.iter().enumerate() {
            if let Some(address) = address.filter(|_| dials(config.me, node, board.genesis)) {
                runtime.spawn(dial::<Tcp>(Arc::clone(&board), node, address));
            }
        }
        let unread = Unread::of(&replica, config);
        let status = Arc::new(Mutex::new(Status::default()));
        let mut worker = Worker::new(
            replica,
            Arc::clone(&board),
            Arc::clone(&status),
            clock,
            names,
        );
        // So that nobody reads a status of nothing before the first step.
        worker.tell_status();
        let spawned = std::thread::Builder::new()
            .name("ledger-replica".to_owned())
            .spawn(move || worker.run(&mut on_event));
        let thread = match spawned {
            Ok(thread) => thread,
            Err(e) => {
                // Dropping it would block, which an outer runtime forbids.
                runtime.shutdown_background();
                let what = format!("no thread for the log: {e}");
                return Err(told("L004", what, "raise the limits"));
            }
        };
        recheck_in_background(unread, &board);
        Ok(Node {
            id: config.epochs.id(),
            board,
            status,
            listen,
            thread: Some(thread),
            runtime: Some(runtime),
        })
    }

    /// The universe.
    pub fn universe_id(&self) -> UniverseId {
        self.id
    }

    /// Where it listens.
    pub fn listens_on(&self) -> SocketAddr {
        self.listen
    }

    /// How it stands, as of its latest step.
    pub fn status(&self) -> Status {
        let status = self.status.lock();
        status.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who may command a device, as of the latest step; `None` while nobody has.
    pub fn authority(&self, device: &str) -> Option<Authority> {
        let status = self.status.lock();
        let status = status.unwrap_or_else(PoisonError::into_inner);
        status.authorities.get(device).copied()
    }

    /// Queues drafts as one group, appended whole or not at all. It never waits.
    pub fn submit(&self, now_utc_ns: i64, drafts: Vec<AtomDraft>) -> Ticket {
        let (reply, ticket) = Ticket::pair();
        let submission = Submission {
            now_utc_ns,
            drafts,
            reply,
        };
        match self.board.inbox.submit(submission) {
            Ok(()) => ticket,
            Err(_) => Ticket::refused(WaitError::QueueFull),
        }
    }

    /// How far an atom is, as this node knows; `None` also when it is not known.
    pub fn level(&self, atom: AtomId) -> Option<Level> {
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        self.board.inbox.tell(|waiting| {
            waiting.questions.push(Question { atom, reply });
        });
        answer.recv_timeout(Duration::from_secs(5)).ok().flatten()
    }

    /// Appends all that is queued, closes the log in good order and ends. There is no
    /// last head of a node that may not sign.
    ///
    /// # Errors
    /// The log.
    pub fn close(mut self) -> Result<Option<SignedHead>, NodeError> {
        self.board.inbox.tell(|waiting| waiting.must_end = true);
        let ended = self.thread.take().map(JoinHandle::join);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        match ended {
            Some(Ok(closed)) => closed.map_err(NodeError::Append),
            _ => Err(told(
                "L004",
                "the thread of the log is gone".to_owned(),
                "report it",
            )),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            self.board.inbox.tell(|waiting| waiting.must_end = true);
            runtime.shutdown_background();
        }
    }
}

fn storage(folder: &Path) -> Result<Box<dyn Storage>, NodeError> {
    let opened = std::fs::create_dir_all(folder).and_then(|()| FileStorage::open(folder));
    match opened {
        Ok(storage) => Ok(Box::new(storage)),
        Err(e) => {
            let message = format!("{} cannot be opened: {e}", folder.display());
            let help = match e.kind() {
                std::io::ErrorKind::WouldBlock => "another process keeps it: two never share a key",
                _ => "give the node the right to read and write its folder",
            };
            Err(told("L004", message, help))
        }
    }
}

pub(crate) struct Worker {
    pub(crate) replica: Replica,
    board: Arc<Switchboard>,
    status: Arc<Mutex<Status>>,
    clock: WallClock,
    names: Vec<String>,
    next_epoch: Option<u64>,
    reached: [u64; 3],
    replies: BTreeMap<ledger_replica::Ticket, ledger_node::writer::Reply>,
    was_ready: bool,
    stopped: Option<String>,
    authorities: Arc<BTreeMap<String, Authority>>,
    /// How many changes they hold.
    authority_changes: u64,
}

impl Worker {
    pub(crate) fn new(
        replica: Replica,
        board: Arc<Switchboard>,
        status: Arc<Mutex<Status>>,
        clock: WallClock,
        names: Vec<String>,
    ) -> Worker {
        Worker {
            replica,
            board,
            status,
            clock,
            names,
            next_epoch: None,
            reached: [0; 3],
            replies: BTreeMap::new(),
            was_ready: false,
            stopped: None,
            authorities: Arc::default(),
            authority_changes: 0,
        }
    }

    fn run(mut self, on_event: &mut dyn FnMut(Event)) -> Result<Option<SignedHead>, AppendError> {
        loop {
            let work = self.board.inbox.take(IDLE);
            if self.turn(work, on_event) {
                return self.replica.close((self.clock)());
            }
        }
    }

    /// Does what there is to do; `true` when the node is to end and has said all.
    pub(crate) fn turn(&mut self, work: Work, on_event: &mut dyn FnMut(Event)) -> bool {
        let now = (self.clock)();
        for (from, message) in work.messages {
            self.replica.receive(now, from, message);
        }
        for node in work.greet {
            self.replica.greet(node);
        }
        for (node, why) in work.damaged {
            if node == self.board.me {
                self.stopped = Some(why.to_string());
            }
            self.replica.damaged(node, why);
        }
        for submission in work.submissions {
            let ticket = self
                .replica
                .submit(submission.now_utc_ns, submission.drafts);
            self.replies.insert(ticket, submission.reply);
        }
        let effects = self.replica.step(now);
        for effect in effects {
            self.carry_out(effect, on_event);
        }
        for question in work.questions {
            let standing = self.replica.standing(&question.atom);
            let _ = question.reply.send(standing.and_then(|s| s.level));
        }
        if self.replica.may_sign() && !self.was_ready {
            self.was_ready = true;
            on_event(Event::Ready);
        }
        self.tell_status();
        work.must_end && !(self.replica.may_sign() && self.replica.has_submissions())
    }

    fn carry_out(&mut self, effect: Effect, on_event: &mut dyn FnMut(Event)) {
        match effect {
            Effect::Send { to, message } => {
                let Some(line) = self.board.lines.get(to).filter(|line| line.is_up()) else {
                    return;
                };
                if let Ok(bytes) = message.encode() {
                    line.send(bytes.into());
                }
            }
            Effect::Appended { ticket, result } => {
                if let Err(AppendError::Stopped(e)) = &result {
                    self.stopped = Some(e.to_string());
                }
                if let Some(reply) = self.replies.remove(&ticket) {
                    reply.send(result);
                }
            }
            Effect::Reached { atom, level } => {
                self.reached[level as usize] += 1;
                on_event(Event::Reached { atom, level });
            }
            Effect::Refused { atom, why } => on_event(Event::Refused { atom, why }),
            Effect::Accused { who, what } => {
                let who = self.name_of(&who);
                on_event(Event::Accused { who, what });
            }
            Effect::NextEpoch { number, .. } => {
                self.next_epoch = Some(number);
                on_event(Event::NextEpoch { number });
            }
            Effect::Filled { node, entries } => {
                let node = self.names.get(node).map_or("", String::as_str);
                tracing::warn!(
                    node,
                    entries,
                    "Filled what was missing in the copy of a log."
                );
            }
            Effect::Faulty { node, what } => {
                let node = self.names.get(node).cloned().unwrap_or_default();
                on_event(Event::Faulty { node, what });
            }
        }
    }

    fn name_of(&self, who: &Address) -> String {
        let name = self.replica.epochs().name_of(who);
        name.map_or_else(|| who.to_string(), str::to_owned)
    }

    fn tell_status(&mut self) {
        let authorities = self.replica.log().authorities();
        if authorities.changes() != self.authority_changes {
            self.authority_changes = authorities.changes();
            let all = authorities.iter().map(|(device, of)| (device.clone(), *of));
            self.authorities = Arc::new(all.collect());
        }
        let named = |node: &usize| self.names.get(*node).cloned();
        let status = Status {
            epoch: self.replica.epochs().last(),
            next_epoch: self.next_epoch,
            clock: self.replica.clock(),
            root: self.replica.root(),
            may_sign: self.replica.may_sign(),
            has_caught_up: self.replica.has_caught_up(),
            unheard: self.replica.unheard().iter().filter_map(named).collect(),
            nodes: self
                .names
                .iter()
                .enumerate()
                .map(|(node, name)| {
                    let is_up = node == self.board.me || self.board.lines[node].is_up();
                    (name.clone(), self.replica.held(node), is_up)
                })
                .collect(),
            reached: self.reached,
            open: self.replica.open_atoms(),
            accused: self
                .replica
                .accused()
                .keys()
                .map(|who| self.name_of(who))
                .collect(),
            authorities: Arc::clone(&self.authorities),
            stopped: self.stopped.clone(),
        };
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}
