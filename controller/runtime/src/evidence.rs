//! The ledger as the edge uses it: every dispatch is durable before it leaves.
//!
//! Floats end here: setpoints become whole milliwatts, once, by [`milliwatts`].

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use control::Dispatch;
use ledger_core::payload::{self, Config, DispatchAck, DispatchKind, DispatchStage, Mode, Payload};
use ledger_core::universe::NodeMember;
use ledger_core::{
    Address, AtomId, ClockQuality, KeyError, Party, Role, SecretKey, Universe, UniverseId,
};
use ledger_net::{Event, Node};
use ledger_node::log::LEDGER_FOLDER;
use ledger_node::{
    AppendError, AtomDraft, Durability, Keyring, LedgerError, LedgerWriter, NodeLog, Receipt,
    Refusal, StorageError, Ticket, WaitError,
};
use model::{Clock, DeviceId, Function, Setpoint, Stage, UtcTime};
use sha3::{Digest, Sha3_256};

use crate::rig::SharedLedger;
use crate::rights;
use crate::tracker::Progress;

/// Name of the party that dispatches and reads the meters.
pub const CONTROLLER: &str = "controller";
/// Name of the party that clears and settles.
pub const MARKET_OPERATOR: &str = "market-operator";
/// Name of the node that keeps the log.
const NODE: &str = "node-1";
/// Deadline of a dispatch's record; `ledger.md` gives 20 ms as the default, a fifth of the cycle.
pub const DEADLINE: Duration = Duration::from_millis(20);
/// Fencing token of a device that nobody was granted: the first there is. From the first grant on the
/// ledger says which one it is, and whose.
const AUTHORITY_EPOCH_UNGRANTED: u64 = 1;

/// How long facts wait for the next record that something waits for, where the thread that writes the log is
/// the run's own: one head is signed for all of them, as for what a writer thread finds in its queue.
/// Chosen: a second, as samples wait for their file.
const FACTS_WAIT: Duration = Duration::from_secs(1);

/// How long the start of a run waits for the word of the other nodes, and the end for what is
/// not final yet (a fifth of it where most of the others are away).
/// Chosen: nodes on one network meet within a second; an operator is told in ten.
const READY_STEP: Duration = Duration::from_millis(10);
const READY_STEPS: u32 = 1000;

/// How long the start of a run waits for what it has noted.
/// Chosen: 2 s, far above any healthy disk.
const NOTES_WITHIN: Duration = Duration::from_secs(2);

/// Where keys come from.
#[derive(Clone, Copy, Debug)]
pub enum KeySource {
    /// The operating system's entropy: a bench.
    Entropy,
    /// A seed: virtual time, where the same seed shall give the same bytes.
    Seed(u64),
}

/// How the log is written.
enum Log {
    /// In the calling thread (virtual time: it must be deterministic).
    Here(Box<NodeLog>),
    /// Behind a thread that groups commits.
    Writer(LedgerWriter),
    /// A node among several, in threads of its own.
    Node(Box<Node>),
    /// It has failed or ended.
    Stopped,
}

/// Why a record is not durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDurable {
    /// Not before the deadline; it may still become durable later.
    #[error("the ledger was not durable within {} ms", .0.as_millis())]
    Late(Duration),
    /// The log has stopped: nothing more can be recorded.
    #[error("the ledger has stopped: {0}")]
    Stopped(String),
    /// A device was granted to another controller: nothing of this batch is recorded.
    #[error("the ledger takes no command: {0}")]
    Fenced(String),
}

impl From<AppendError> for NotDurable {
    fn from(e: AppendError) -> NotDurable {
        match e {
            AppendError::Refused {
                reason: reason @ Refusal::Authority { .. },
                ..
            } => NotDurable::Fenced(reason.to_string()),
            e => NotDurable::Stopped(e.to_string()),
        }
    }
}

/// Why the ledger of a run cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The node among several.
    #[error("{}", .0.message)]
    Node(Box<document::Diagnostic>),
    /// The log itself.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Its thread.
    #[error(transparent)]
    Thread(#[from] StorageError),
    /// A key.
    #[error("a key could not be made: {0}")]
    Key(#[from] KeyError),
    /// The operating system gives no entropy.
    #[error("the operating system gives no entropy for keys: {0}")]
    Entropy(std::io::Error),
}

/// The ledger of a run.
pub struct Evidence {
    log: Log,
    /// The party as which this controller writes.
    controller: String,
    deadline: Duration,
    clock_quality: ClockQuality,
    /// Dispatches that are durable.
    pub dispatches_logged: u64,
    /// Dispatches whose record came too late: they are in the ledger, were held back, and a failed
    /// acknowledgement says so.
    pub held_back: u64,
    /// The latest entry's clock.
    pub clock: u64,
    pending: Vec<Pending>,
    universe: UniverseId,
    /// The addresses of the parties, by their names.
    parties: BTreeMap<String, Address>,
    /// Facts that wait, and when they were told, in nanoseconds of the wall clock.
    facts: Vec<(i64, Vec<AtomDraft>)>,
    /// How it stood with the other nodes when it ended.
    at_end: Option<Federation>,
}

/// How a ledger stands with the other nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Federation {
    /// Entries of this node's log that are not final (L3) yet.
    pub not_final: u64,
    /// Every node of the universe.
    pub nodes: Vec<NodeView>,
    /// Who has contradicted itself, by name.
    pub accused: Vec<String>,
}

/// A node as this one sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// How much of its log is here.
    pub entries: u64,
    /// Whether there is a connection.
    pub connected: bool,
}

fn federation_of(node: &Node) -> Option<Federation> {
    let status = node.status();
    Some(Federation {
        not_final: status.open,
        nodes: status
            .nodes
            .into_iter()
            .map(|(name, entries, connected)| NodeView {
                name,
                entries,
                connected,
            })
            .collect(),
        accused: status.accused,
    })
}

/// What was said last is final in a moment where the others are there, and on a busy machine in some;
/// where most are away, only what was on its way can become so.
fn wait_until_final(node: &Node) {
    for step in 0..READY_STEPS {
        let status = node.status();
        let away = status.nodes.iter().filter(|(_, _, connected)| !connected);
        let most_are_away = 2 * away.count() >= status.nodes.len();
        if status.open == 0 || most_are_away && step >= READY_STEPS / 5 {
            return;
        }
        std::thread::sleep(READY_STEP);
    }
}

impl Log {
    /// Queues drafts where a thread appends them; `None` where none does.
    fn submit(&self, utc: UtcTime, drafts: Vec<AtomDraft>) -> Option<Ticket> {
        match self {
            Log::Writer(writer) => Some(writer.submit(utc.unix_nanos(), drafts)),
            Log::Node(node) => Some(node.submit(utc.unix_nanos(), drafts)),
            Log::Here(_) | Log::Stopped => None,
        }
    }
}

/// Facts on their way into the ledger, with their receipts at the end of it.
pub(crate) enum UnderWay {
    /// A thread appends them.
    Queued(Ticket),
    /// They were appended at once, or not at all.
    Answered(Result<Vec<Receipt>, WaitError>),
}

/// How far facts are on their way.
pub(crate) enum Progressed {
    /// Nothing is known yet.
    NotYet,
    /// They are in the ledger.
    Done(Vec<Receipt>),
    /// What they spend is not final yet: they are to be said again.
    TooEarly,
    /// The ledger does not take them, and says why.
    Refused(String),
}

/// A record that is on its way to the disk and that nobody waits for any more.
struct Pending {
    ticket: Ticket,
    /// Whether it holds dispatches that were held back because of the delay.
    held_back: bool,
}

impl Evidence {
    /// Begins the ledger of a run in `run_dir/ledger`.
    ///
    /// # Errors
    /// When the folder cannot be written or no entropy is to be had.
    pub fn create(
        run_dir: &Path,
        name: &str,
        participants: &[String],
        keys: KeySource,
        clock: &dyn Clock,
    ) -> Result<Self, CreateError> {
        let node_key = secret_key(keys, NODE)?;
        let mut parties = vec![
            (CONTROLLER.to_owned(), vec![Role::Dispatcher, Role::Meter]),
            (MARKET_OPERATOR.to_owned(), vec![Role::MarketOperator]),
        ];
        parties.extend(
            participants
                .iter()
                .map(|p| (party_of(p), vec![Role::Participant])),
        );
        parties.sort();
        let parties = parties
            .into_iter()
            .map(|(name, roles)| secret_key(keys, &name).map(|key| (name, roles, key)))
            .collect::<Result<Vec<_>, _>>()?;
        let universe = Universe {
            version: ledger_core::universe::UNIVERSE_VERSION,
            suite: ledger_core::universe::Suite::Sha3Secp256k1,
            name: name.to_owned(),
            created_utc_ns: clock.utc().unix_nanos(),
            shard_bits: ledger_core::universe::SHARD_BITS_DEFAULT,
            nodes: vec![NodeMember {
                name: NODE.into(),
                key: node_key.public(),
            }],
            parties: parties
                .iter()
                .map(|(name, roles, key)| Party {
                    name: name.clone(),
                    roles: roles.clone(),
                    key: key.public(),
                })
                .collect(),
            federation: None,
        };
        let keyring = parties
            .into_iter()
            .fold(Keyring::new(NODE, node_key), |ring, (name, _, key)| {
                ring.with_party(&name, key)
            });
        let virtual_time = matches!(keys, KeySource::Seed(_));
        let durability = if virtual_time {
            Durability::Buffered
        } else {
            Durability::Fsync
        };
        let log = NodeLog::create(run_dir, &universe, keyring, durability)?;
        let id = log.universe_id();
        let log = if virtual_time {
            Log::Here(Box::new(log))
        } else {
            // The control thread waits for this one: on a busy host it must not wait for other work, too.
            let writer = rights::beside_control(|| LedgerWriter::start(log));
            Log::Writer(writer?)
        };
        Ok(Self::of(log).within(id, &universe))
    }

    /// Goes on with the log of a node among several. `run_dir/ledger` becomes a link to it.
    ///
    /// # Errors
    /// The node cannot be started, or may not sign because others have not been heard.
    pub fn join(
        run_dir: &Path,
        ledger: &SharedLedger,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CreateError> {
        let config = &ledger.node;
        let wall = Arc::new(move || clock.utc().unix_nanos());
        let node = Node::start(config, wall, |event| match event {
            Event::Reached { .. } | Event::Ready => {}
            other => tracing::warn!("the ledger: {other:?}"),
        })
        .map_err(|e| CreateError::Node(Box::new(e.into_diagnostic())))?;
        let mut patience = READY_STEPS;
        while !node.status().may_sign {
            if patience == 0 {
                let waits_for = node.status().unheard.join(", ");
                let diagnostic = document::Diagnostic::error(
                    "R089",
                    document::Actor::Operator,
                    format!("the ledger's node `{}` waits for {waits_for}", config.node),
                )
                .help("start them; one that is gone for good is listed under `lost`");
                return Err(CreateError::Node(Box::new(diagnostic)));
            }
            patience -= 1;
            std::thread::sleep(READY_STEP);
        }
        let own = config.log.join(ledger_net::files::OWN);
        let linked = own
            .canonicalize()
            .and_then(|own| std::os::unix::fs::symlink(own, run_dir.join(LEDGER_FOLDER)));
        linked.map_err(|e| CreateError::Thread(StorageError::new("link", LEDGER_FOLDER, &e)))?;
        Ok(Self {
            controller: ledger.controller.clone(),
            ..Self::of(Log::Node(Box::new(node))).within(config.epochs.id(), &config.universe)
        })
    }

    fn of(log: Log) -> Self {
        Self {
            log,
            controller: CONTROLLER.to_owned(),
            clock_quality: ClockQuality::UNKNOWN,
            deadline: DEADLINE,
            dispatches_logged: 0,
            held_back: 0,
            clock: 0,
            pending: Vec::new(),
            universe: UniverseId::NONE,
            parties: BTreeMap::new(),
            facts: Vec::new(),
            at_end: None,
        }
    }

    /// The same, of a universe with its parties.
    fn within(self, id: UniverseId, universe: &Universe) -> Self {
        let parties = universe.parties.iter();
        let address = |party: &Party| (party.name.clone(), Address::of_key(&id, &party.key));
        Self {
            universe: id,
            parties: parties.map(address).collect(),
            ..self
        }
    }

    /// The universe of this ledger.
    pub(crate) fn universe(&self) -> UniverseId {
        self.universe
    }

    /// The address of a party; `None` where the universe has none of this name.
    pub(crate) fn address_of(&self, party: &str) -> Option<Address> {
        self.parties.get(party).copied()
    }

    /// Begins to record facts whose receipts are wanted, and that nothing waits for.
    pub(crate) fn begin(&mut self, utc: UtcTime, drafts: Vec<AtomDraft>) -> UnderWay {
        if drafts.is_empty() {
            return UnderWay::Answered(Ok(Vec::new()));
        }
        match &mut self.log {
            Log::Here(log) => UnderWay::Answered(
                log.append_batch(utc.unix_nanos(), drafts)
                    .map_err(WaitError::Append),
            ),
            log => match log.submit(utc, drafts) {
                Some(ticket) => UnderWay::Queued(ticket),
                None => UnderWay::Answered(Err(WaitError::Closed)),
            },
        }
    }

    /// How far that is by now.
    ///
    /// # Errors
    /// [`NotDurable::Stopped`] when the log has failed.
    pub(crate) fn look(&mut self, under_way: &mut UnderWay) -> Result<Progressed, NotDurable> {
        let answer = match under_way {
            UnderWay::Queued(ticket) => ticket.wait(Duration::ZERO),
            UnderWay::Answered(answer) => answer.clone(),
        };
        match answer {
            Ok(receipts) => {
                if let Some(last) = receipts.last() {
                    self.clock = self.clock.max(last.clock);
                }
                Ok(Progressed::Done(receipts))
            }
            Err(WaitError::Late) => Ok(Progressed::NotYet),
            Err(WaitError::Append(AppendError::Refused { reason, .. })) => match reason {
                Refusal::NotFinal { .. } => Ok(Progressed::TooEarly),
                reason => Ok(Progressed::Refused(reason.to_string())),
            },
            Err(e) => Err(NotDurable::Stopped(e.to_string())),
        }
    }

    /// How this ledger stands with the other nodes; `None` where there are none.
    #[must_use]
    pub fn federation(&self) -> Option<Federation> {
        match &self.log {
            Log::Node(node) => federation_of(node),
            _ => self.at_end.clone(),
        }
    }

    /// Makes the dispatches of a cycle durable, waiting `within` or the deadline of a record, whichever is
    /// shorter. They may leave only when this returns `Ok`.
    ///
    /// # Errors
    /// [`NotDurable`]: then they must not leave.
    pub fn before_release(
        &mut self,
        utc: UtcTime,
        now: model::Instant,
        device_names: &[DeviceId],
        dispatches: &[Dispatch],
        cause: Option<AtomId>,
        within: Duration,
    ) -> Result<Vec<Receipt>, NotDurable> {
        let drafts = dispatches
            .iter()
            .map(|d| {
                // The market's result is the cause of what follows it, and of nothing else.
                let cause = cause.filter(|_| follows_market(d.function));
                let mut payload = dispatch_payload(utc, now, device_names, d, cause);
                payload.authority_epoch = self.authority_epoch(&payload.device);
                self.draft(CONTROLLER, Payload::Dispatch(payload))
            })
            .collect();
        let receipts = self.append(utc, drafts, Some(self.deadline.min(within)));
        if let Err(NotDurable::Late(_)) = &receipts
            && let Some(last) = self.pending.last_mut()
        {
            last.held_back = true;
        }
        let receipts = receipts?;
        self.dispatches_logged += receipts.len() as u64;
        Ok(receipts)
    }

    /// The epoch under which a device is commanded now, as far as this node has heard. Where it was
    /// granted to another controller the ledger refuses the command.
    fn authority_epoch(&self, device: &str) -> u64 {
        let authority = match &self.log {
            Log::Node(node) => node.authority(device),
            _ => None,
        };
        authority.map_or(AUTHORITY_EPOCH_UNGRANTED, |authority| authority.epoch)
    }

    /// Records facts that nothing waits for: acknowledgements, modes, readings.
    ///
    /// # Errors
    /// [`NotDurable::Stopped`] when the log has failed.
    pub fn note(&mut self, utc: UtcTime, drafts: Vec<AtomDraft>) -> Result<(), NotDurable> {
        self.collect(utc, Duration::ZERO)?;
        if drafts.is_empty() {
            return Ok(());
        }
        match &mut self.log {
            Log::Here(_) => {
                let now = utc.unix_nanos();
                self.facts.push((now, drafts));
                let oldest = self.facts.first().map_or(now, |(told, _)| *told);
                // Either way: the wall clock may have been stepped back.
                let waited = Duration::from_nanos(now.abs_diff(oldest));
                match waited >= FACTS_WAIT {
                    true => self.append_facts(),
                    false => Ok(()),
                }
            }
            Log::Writer(_) | Log::Node(_) => {
                if let Some(ticket) = self.log.submit(utc, drafts) {
                    self.pending.push(Pending {
                        ticket,
                        held_back: false,
                    });
                }
                Ok(())
            }
            Log::Stopped => Err(NotDurable::Stopped("it has ended".into())),
        }
    }

    /// Records facts and waits for their receipts, since others will refer to them.
    ///
    /// # Errors
    /// [`NotDurable`].
    pub fn append(
        &mut self,
        utc: UtcTime,
        drafts: Vec<AtomDraft>,
        deadline: Option<Duration>,
    ) -> Result<Vec<Receipt>, NotDurable> {
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        // Chosen: 2 s for what is not on the way to the hardware, far above any healthy disk.
        let deadline = deadline.unwrap_or(Duration::from_secs(2));
        let receipts = match &mut self.log {
            Log::Here(_) => {
                self.facts.push((utc.unix_nanos(), drafts));
                self.append_all()
            }
            Log::Writer(_) | Log::Node(_) => {
                let ticket = self.log.submit(utc, drafts);
                let mut ticket = ticket.unwrap_or_else(|| Ticket::refused(WaitError::Closed));
                match ticket.wait(deadline) {
                    Ok(receipts) => Ok(receipts),
                    Err(WaitError::Late) => {
                        self.pending.push(Pending {
                            ticket,
                            held_back: false,
                        });
                        Err(NotDurable::Late(deadline))
                    }
                    Err(WaitError::Append(e)) => Err(e.into()),
                    Err(e) => Err(NotDurable::Stopped(e.to_string())),
                }
            }
            Log::Stopped => Err(NotDurable::Stopped("it has ended".into())),
        };
        if let Ok(receipts) = &receipts
            && let Some(last) = receipts.last()
        {
            self.clock = last.clock;
        }
        receipts
    }

    /// Appends all that waits, where this thread writes the log; the receipts of what came last.
    fn append_all(&mut self) -> Result<Vec<Receipt>, NotDurable> {
        let Log::Here(log) = &mut self.log else {
            return Ok(Vec::new());
        };
        let results = log.append_groups(std::mem::take(&mut self.facts));
        let mut latest = Vec::new();
        for receipts in results {
            latest = receipts?;
        }
        Ok(latest)
    }

    /// Appends the facts that wait.
    fn append_facts(&mut self) -> Result<(), NotDurable> {
        if let Some(last) = self.append_all()?.last() {
            self.clock = last.clock;
        }
        Ok(())
    }

    /// Looks at what became of the records that nobody waited for, for at most `patience` each.
    ///
    /// A dispatch that became durable after its deadline was held back; the ledger is told so.
    /// Waits until what was noted is durable, but no longer than for anything else that nothing hangs on.
    ///
    /// # Errors
    /// [`NotDurable::Stopped`] when the log has failed.
    pub fn wait_for_notes(&mut self, utc: UtcTime) -> Result<(), NotDurable> {
        self.collect(utc, NOTES_WITHIN)
    }

    fn collect(&mut self, utc: UtcTime, patience: Duration) -> Result<(), NotDurable> {
        let mut failed = None;
        let mut held_back = Vec::new();
        let clock = &mut self.clock;
        self.pending
            .retain_mut(|pending| match pending.ticket.wait(patience) {
                Ok(receipts) => {
                    if let Some(last) = receipts.last() {
                        *clock = (*clock).max(last.clock);
                    }
                    if pending.held_back {
                        held_back.extend(receipts.iter().map(|r| r.atom_id));
                    }
                    false
                }
                Err(WaitError::Late) => true,
                // A command that came late and was then refused: it did not leave, and is nowhere.
                Err(WaitError::Append(AppendError::Refused {
                    reason: Refusal::Authority { .. },
                    ..
                })) => false,
                Err(e) => {
                    failed = Some(e.to_string());
                    false
                }
            });
        self.held_back += held_back.len() as u64;
        let drafts: Vec<AtomDraft> = held_back
            .into_iter()
            .map(|dispatch| {
                let told = DispatchAck {
                    dispatch,
                    stage: DispatchStage::Failed,
                    measured_p_milliwatts: None,
                    seen_utc_ns: utc.unix_nanos(),
                };
                self.draft(CONTROLLER, Payload::DispatchAck(told))
            })
            .collect();
        if !drafts.is_empty()
            && let Some(ticket) = self.log.submit(utc, drafts)
        {
            self.pending.push(Pending {
                ticket,
                held_back: false,
            });
        }
        failed.map_or(Ok(()), |why| Err(NotDurable::Stopped(why)))
    }

    /// A draft by an author, with this clock's quality. The controller writes as the party that it is in
    /// the universe.
    #[must_use]
    pub fn draft(&self, author: &str, payload: Payload) -> AtomDraft {
        let author = match author {
            CONTROLLER => &self.controller,
            author => author,
        };
        let mut draft = AtomDraft::new(author, payload);
        draft.clock_quality = self.clock_quality.clone();
        draft
    }

    /// Root of the log as far as this thread knows it: exact in virtual time, empty while a
    /// writer thread holds the log.
    #[must_use]
    pub fn root_text(&self) -> String {
        match &self.log {
            Log::Here(log) => hex(&log.root()),
            Log::Node(node) => hex(&node.status().root),
            Log::Writer(_) | Log::Stopped => String::new(),
        }
    }

    /// Closes the log in good order; its root, hexadecimal.
    ///
    /// # Errors
    /// [`NotDurable::Stopped`] when it had failed.
    pub fn close(&mut self, utc: UtcTime) -> Result<String, NotDurable> {
        let stopped = |e: String| NotDurable::Stopped(e);
        // Chosen: 2 s for what is still on its way; closing waits for the disk in any case.
        self.collect(utc, Duration::from_secs(2))?;
        self.append_facts()?;
        let root = match std::mem::replace(&mut self.log, Log::Stopped) {
            Log::Here(log) => log
                .close(utc.unix_nanos())
                .map(|signed| signed.head.root)
                .map_err(|e| stopped(e.to_string())),
            Log::Writer(writer) => writer
                .close(utc.unix_nanos())
                .map(|signed| signed.head.root)
                .map_err(|e| stopped(e.to_string())),
            Log::Node(node) => {
                wait_until_final(&node);
                self.at_end = federation_of(&node);
                let root = node.status().root;
                node.close()
                    .map(|signed| signed.map_or(root, |signed| signed.head.root))
                    .map_err(|e| stopped(e.into_diagnostic().message))
            }
            Log::Stopped => Err(stopped("it has ended".into())),
        }?;
        Ok(hex(&root))
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The ledger name of a market participant.
#[must_use]
pub fn party_of(participant: &str) -> String {
    format!("participant/{participant}")
}

fn secret_key(keys: KeySource, who: &str) -> Result<SecretKey, CreateError> {
    match keys {
        KeySource::Seed(seed) => {
            let seed = Sha3_256::new()
                .chain_update(b"gridrig/run-key/1")
                .chain_update(seed.to_le_bytes())
                .chain_update(who.as_bytes())
                .finalize();
            Ok(SecretKey::from_seed(&seed.into()))
        }
        KeySource::Entropy => {
            let mut bytes = [0; 32];
            std::fs::File::open(ENTROPY)
                .and_then(|mut f| f.read_exact(&mut bytes))
                .map_err(CreateError::Entropy)?;
            Ok(SecretKey::from_bytes(&bytes)?)
        }
    }
}

/// The operating system's entropy.
pub const ENTROPY: &str = "/dev/urandom";

/// Whole milliwatts, nearest; the one place where a control value becomes a ledger value.
#[must_use]
pub fn milliwatts(watts: f64) -> i64 {
    whole(watts, 1e3)
}

/// A value in whole parts of its unit, nearest.
fn whole(value: f64, parts: f64) -> i64 {
    // A float cast saturates, and the limiter lets nothing through that is not finite.
    (value * parts).round() as i64
}

fn dispatch_payload(
    utc: UtcTime,
    now: model::Instant,
    names: &[DeviceId],
    dispatch: &Dispatch,
    cause: Option<AtomId>,
) -> payload::Dispatch {
    let none = payload::Setpoint::NONE;
    let (kind, setpoint) = match dispatch.setpoint.get() {
        Setpoint::Power { p, q } => (
            DispatchKind::Power,
            payload::Setpoint {
                p_milliwatts: Some(milliwatts(p.as_watts())),
                q_millivars: Some(milliwatts(q.as_vars())),
                ..none
            },
        ),
        Setpoint::Ceiling { p } => (
            DispatchKind::Ceiling,
            payload::Setpoint {
                ceiling_milliwatts: Some(milliwatts(p.as_watts()).max(0)),
                ..none
            },
        ),
        Setpoint::Switch { on } => (
            DispatchKind::Switch,
            payload::Setpoint {
                switch_closed: Some(on),
                ..none
            },
        ),
        Setpoint::Source { f, v, phase, on } => (
            DispatchKind::Source,
            payload::Setpoint {
                switch_closed: on,
                frequency_microhertz: f.map(|f| whole(f.as_hertz(), 1e6)),
                voltage_millivolts: v.map(|v| whole(v.as_volts(), 1e3)),
                phase_millidegrees: phase.map(|phase| whole(phase.as_degrees(), 1e3)),
                ..none
            },
        ),
    };
    let valid_for = dispatch.valid_until.since(now).as_nanos() as i64;
    payload::Dispatch {
        device: names[dispatch.device.index()].to_string(),
        kind,
        setpoint,
        authority_epoch: AUTHORITY_EPOCH_UNGRANTED,
        valid_from_utc_ns: utc.unix_nanos(),
        valid_until_utc_ns: utc.unix_nanos().saturating_add(valid_for),
        cause,
        why: why_of(dispatch),
    }
}

fn follows_market(function: Function) -> bool {
    matches!(function, Function::MarketSchedule | Function::PccTracking)
}

/// Who asked, why, and what was clamped, in one line.
fn why_of(dispatch: &Dispatch) -> String {
    let mut why = format!("{}: {}", dispatch.function.name(), dispatch.why);
    if !dispatch.clamped.is_empty() {
        why.push_str("; clamped by ");
        why.push_str(&dispatch.clamped.join(", "));
    }
    why
}

/// The acknowledgement of a dispatch.
#[must_use]
pub fn acknowledgement(utc: UtcTime, progress: &Progress) -> Payload {
    Payload::DispatchAck(DispatchAck {
        dispatch: progress.atom,
        stage: match (&progress.missed, progress.stage) {
            (Some(_), _) => DispatchStage::Failed,
            (None, Stage::Power) => DispatchStage::Power,
            (None, Stage::Written | Stage::Register) => DispatchStage::Register,
        },
        measured_p_milliwatts: progress.measured.map(|p| milliwatts(p.as_watts())),
        seen_utc_ns: utc.unix_nanos(),
    })
}

/// A change of mode.
#[must_use]
pub fn mode_change(from: model::Mode, to: model::Mode, why: &str) -> Payload {
    Payload::Mode(Mode {
        from: from.name().into(),
        to: to.name().into(),
        reason: why.into(),
    })
}

/// Binds a document to the log by its digest.
#[must_use]
pub fn document(subject: &str, bytes: &[u8], note: &str) -> Payload {
    Payload::Config(Config {
        subject: subject.into(),
        digest: Sha3_256::digest(bytes).into(),
        note: note.into(),
    })
}

#[cfg(test)]
mod tests;
