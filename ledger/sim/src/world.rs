//! One run: nodes, a network, disks and a queue of what happens when.

use std::collections::{BTreeMap, BTreeSet};

use ledger_core::{Address, AtomId, Level};
use ledger_node::{AppendError, Durability, LedgerError, NodeLogOptions, Refusal, StorageError};
use ledger_replica::{Effect, Message, Replica, Start, Ticket};

use crate::auditor::{Auditor, Log};
use crate::byzantine::{Behaviour, Liar};
use crate::chance::Chance;
use crate::disk::Disks;
use crate::invariants::{Facts, Violation, check};
use crate::lab::{BEGIN_UTC_NS, DISHONEST, Lab};
use crate::network::Network;
use crate::plan::{Focus, Mutation, Plan, Trouble};
use crate::workload::{self, Act, Said, Workload};

const MS: i64 = 1_000_000;

/// How often a node is stepped when nothing else makes it.
const TICK_NS: i64 = 125 * MS;

/// Time in which all must agree once everything is mended.
/// Chosen: the patience with an atom that is missing is two seconds, and what a
/// node has is said twice a second; this is four times all of it.
const CONVERGENCE_NS: i64 = 16_000 * MS;

/// Time for what the cursors have missed: two comparisons of each log, of which one
/// may be with the liar.
const RANGE_CHECKS_NS: i64 = 24_000 * MS;

/// Most events of a run. Chosen: a run of seven nodes that takes all its time has
/// 20,000; one that has more sends itself messages for ever.
const STEPS_MAX: u64 = 40_000;

/// Entries of a block of an index.
/// Chosen: a run has some ten entries in each log, so that opening has a part out of
/// the index and a part behind it.
const INDEX_ENTRIES: usize = 4;

/// How long a node that was opened out of an index reads the rest at most.
const RECHECK_NS_MAX: i64 = 400 * MS;

/// How far a clock jumps at most.
const JUMP_NS_MAX: i64 = 3_600_000 * MS;

/// What happens.
#[derive(Debug)]
enum Event {
    Arrives {
        from: usize,
        to: usize,
        /// In which lives of the sender and of the receiver it was sent.
        lives: (u64, u64),
        bytes: Vec<u8>,
    },
    Step(usize),
    Tick(usize),
    Said(Act, u32),
    Trouble(Trouble, usize),
    Begins(usize, How),
    /// In which life it was opened out of an index.
    Rechecks(usize, u64),
    Mended,
    Looked,
}

/// With which disks a node begins again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    AsItWas,
    FromBackup,
    WithEmptyDisks,
}

/// An honest node.
struct Honest {
    replica: Option<Replica>,
    disks: Disks,
    backup: Disks,
    keys: Vec<&'static str>,
    life: u64,
    skew_ns: i64,
    delay_ns_max: i64,
    is_stepping: bool,
    said: BTreeMap<Ticket, Said>,
    rot: Option<Option<usize>>,
    /// Rot that opening has not read, for the index went beyond it.
    unread_rot: Option<Option<usize>>,
    is_indexed: bool,
    clean_root: Option<(u64, ledger_core::Digest32)>,
}

enum Seat {
    Honest(Box<Honest>),
    Liar(Box<Liar>),
}

/// What a run has come to.
#[derive(Debug)]
pub struct Outcome {
    /// What does not hold.
    pub violations: Vec<Violation>,
    /// How many events happened.
    pub steps: u64,
    /// How many atoms are final.
    pub finals: usize,
    /// How many commands were refused because the device was somebody else's.
    pub fenced: usize,
    /// How many openings took something out of an index.
    pub indexed: usize,
    /// How often rot was found in what opening had not read.
    pub rot_found_later: usize,
    /// A number that is the same exactly when the run was.
    pub digest: u64,
    /// The plan of the run.
    pub plan: Plan,
    /// What went wrong in it, for people.
    pub notes: Vec<String>,
}

/// One run.
pub struct World {
    lab: &'static Lab,
    plan: Plan,
    mutation: Option<Mutation>,
    chance: Chance,
    now_ns: i64,
    /// How long nothing happened at all, to let clocks that were ahead come true.
    waited_ns: i64,
    queue: BTreeMap<(i64, u64), Event>,
    serial: u64,
    step: u64,
    seats: Vec<Seat>,
    network: Network,
    workload: Workload,
    auditor: Auditor,
    facts: Facts,
    is_mended: bool,
    is_over: bool,
    deadline_ns: i64,
    digest: u32,
    fenced: usize,
    indexed: usize,
    rot_found_later: usize,
    /// Nodes that went on without all that they had signed.
    restored: BTreeSet<usize>,
    /// Copies of votes that came to each node, for the mutation that counts them.
    copies: BTreeMap<(usize, AtomId), usize>,
}

/// Runs one seed. A thorough auditor trusts no signature.
pub fn run(seed: u64, focus: Focus, mutation: Option<Mutation>, is_thorough: bool) -> Outcome {
    let mut chance = Chance::of(seed);
    let mut plan = Plan::of(&mut chance, focus);
    match mutation {
        // All else being well, the broken rule alone must show.
        Some(Mutation::NoLock) => (plan.nodes, plan.liar) = (4, None),
        Some(Mutation::ClockReused | Mutation::SignsUnheard) => plan.liar = None,
        _ => {}
    }
    World::new(plan, chance, mutation, is_thorough).run()
}

impl World {
    fn new(plan: Plan, mut chance: Chance, mutation: Option<Mutation>, is_thorough: bool) -> World {
        let lab = Lab::of(plan.nodes);
        let is_liar = |node: usize| match mutation {
            Some(Mutation::NoLock) => node >= 2,
            _ => plan.liar.is_some_and(|(at, _)| at == node),
        };
        let honest: Vec<usize> = (0..plan.nodes).filter(|n| !is_liar(*n)).collect();
        let workload = Workload::new(lab, &honest, Chance::of(chance.below(u64::MAX)));
        let seats = (0..plan.nodes).map(|node| {
            if is_liar(node) {
                let behaviour = plan.liar.map_or(Behaviour::WitnessesAll, |(_, b)| b);
                let chance = Chance::of(chance.below(u64::MAX));
                return Seat::Liar(Box::new(Liar::new(lab, node, behaviour, chance)));
            }
            let disks = Disks::new(node, plan.nodes);
            let mut honest = Honest {
                replica: None,
                backup: disks.backup(),
                disks,
                keys: workload.residents(node),
                life: 0,
                skew_ns: 0,
                delay_ns_max: MS * chance.between(2, 40),
                is_stepping: false,
                said: BTreeMap::new(),
                rot: None,
                unread_rot: None,
                // Where nothing is opened again an index would be work for nothing.
                is_indexed: plan.troubles.iter().any(|(_, t, _)| t.begins_anew()),
                clean_root: None,
            };
            honest.replica = honest.open(lab, node, Start::First, mutation).ok();
            Seat::Honest(Box::new(honest))
        });
        let seats: Vec<Seat> = seats.collect();
        let is_thinned = plan
            .troubles
            .iter()
            .any(|(_, trouble, _)| *trouble == Trouble::CopiesThinned);
        let range_checks_ns = if is_thinned { RANGE_CHECKS_NS } else { 0 };
        let liars = (0..plan.nodes).filter(|n| is_liar(*n)).collect();
        World {
            lab,
            mutation,
            now_ns: 0,
            waited_ns: 0,
            queue: BTreeMap::new(),
            serial: 0,
            step: 0,
            network: plan.network.clone(),
            workload,
            auditor: Auditor::new(lab, liars, is_thorough),
            facts: Facts::new(lab, honest),
            is_mended: false,
            is_over: false,
            deadline_ns: plan.mended_ns + CONVERGENCE_NS + range_checks_ns,
            digest: 0,
            fenced: 0,
            indexed: 0,
            rot_found_later: 0,
            restored: BTreeSet::new(),
            copies: BTreeMap::new(),
            seats,
            chance,
            plan,
        }
    }

    fn run(mut self) -> Outcome {
        for node in 0..self.plan.nodes {
            self.at(self.now_ns + MS * node as i64, Event::Tick(node));
        }
        for (at, act) in self.plan.acts.clone() {
            self.at(at, Event::Said(act, 0));
        }
        for (at, trouble, node) in self.plan.troubles.clone() {
            self.at(at, Event::Trouble(trouble, node));
        }
        self.at(self.plan.mended_ns, Event::Mended);
        while !self.is_over {
            let Some(((at, _), event)) = self.queue.pop_first() else {
                break;
            };
            self.now_ns = at;
            self.step += 1;
            self.facts.step = self.step;
            self.happens(event);
            if self.step == STEPS_MAX {
                self.facts.unsettled = Some("messages go round without end".to_owned());
                break;
            }
        }
        self.end()
    }

    fn at(&mut self, at_ns: i64, event: Event) {
        self.serial += 1;
        self.queue.insert((at_ns, self.serial), event);
    }

    fn local_ns(&self, skew_ns: i64) -> i64 {
        BEGIN_UTC_NS + self.waited_ns + self.now_ns + skew_ns
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Arrives {
                from,
                to,
                lives,
                bytes,
            } => self.arrives((from, to), lives, &bytes),
            Event::Step(node) => {
                if let Seat::Honest(honest) = &mut self.seats[node] {
                    honest.is_stepping = false;
                }
                self.steps(node);
            }
            Event::Tick(node) => {
                let backs_up = self.chance.percent(10);
                if let Seat::Honest(honest) = &mut self.seats[node]
                    && honest.replica.is_some()
                    && honest.unread_rot.is_none()
                    && backs_up
                {
                    honest.backup = honest.disks.backup();
                }
                self.steps(node);
                self.at(self.now_ns + TICK_NS, Event::Tick(node));
            }
            Event::Said(act, tries) => self.says(act, tries),
            Event::Trouble(trouble, node) => self.troubles(trouble, node),
            Event::Begins(node, how) => self.begins(node, how),
            Event::Rechecks(node, life) => self.rechecks(node, life),
            Event::Mended => self.mends(),
            Event::Looked => match self.unsettled() {
                None => self.is_over = true,
                Some(why) if self.now_ns >= self.deadline_ns => {
                    self.facts.unsettled = Some(why);
                    self.is_over = true;
                }
                Some(_) => self.at(self.now_ns + TICK_NS, Event::Looked),
            },
        }
    }

    /// In which life a node is.
    fn life(&self, node: usize) -> u64 {
        match &self.seats[node] {
            Seat::Honest(honest) => honest.life,
            Seat::Liar(_) => 0,
        }
    }

    fn arrives(&mut self, (from, to): (usize, usize), lives: (u64, u64), bytes: &[u8]) {
        // A connection ends with the life of either of its ends.
        if lives != (self.life(from), self.life(to)) {
            return;
        }
        let Ok(message) = Message::decode(bytes) else {
            return;
        };
        let now = match &self.seats[to] {
            Seat::Honest(honest) => self.local_ns(honest.skew_ns),
            Seat::Liar(_) => self.local_ns(0),
        };
        self.digest = crc32c::crc32c_append(self.digest, bytes);
        let mut step_in = None;
        match &mut self.seats[to] {
            Seat::Honest(honest) => {
                let Some(replica) = &mut honest.replica else {
                    return;
                };
                if let Message::Batch { bytes, .. } = &message
                    && self.mutation == Some(Mutation::CountsCopies)
                {
                    count_copies(&mut self.copies, self.lab, to, bytes);
                }
                let batch = match &message {
                    Message::Batch { node, bytes, .. } => Some((*node, bytes.clone())),
                    _ => None,
                };
                let before = batch.as_ref().map_or(0, |(of, _)| replica.held(*of));
                replica.receive(now, from, message);
                if let Some((of, bytes)) = batch {
                    let held = replica.held(of);
                    self.auditor.received(of, &bytes, before, held);
                    self.auditor.arrived(of, &bytes, held > before);
                }
                if !honest.is_stepping {
                    honest.is_stepping = true;
                    step_in = Some(honest.delay_ns_max);
                }
            }
            Seat::Liar(liar) => {
                if let Message::Batch { node, bytes, .. } = &message {
                    self.auditor.arrived(*node, bytes, true);
                }
                liar.receive(now, from, message);
            }
        }
        if let Some(delay_ns_max) = step_in {
            let delay = self.chance.between(0, delay_ns_max);
            self.at(self.now_ns + delay, Event::Step(to));
        }
    }

    fn steps(&mut self, node: usize) {
        let now = match &self.seats[node] {
            Seat::Honest(honest) => self.local_ns(honest.skew_ns),
            Seat::Liar(_) => self.local_ns(0),
        };
        match &mut self.seats[node] {
            Seat::Liar(liar) => {
                for (to, bytes) in liar.step(now) {
                    if let Ok(Message::Batch {
                        node: of, bytes, ..
                    }) = Message::decode(&bytes)
                    {
                        self.auditor.saw(node, of, &bytes);
                    }
                    self.sends(node, to, bytes);
                }
            }
            Seat::Honest(honest) => {
                let Some(replica) = &mut honest.replica else {
                    return;
                };
                let effects = replica.step(now);
                self.facts.waits(node, replica.waiting_atoms());
                self.takes(node, effects);
            }
        }
    }

    fn sends(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        let lives = (self.life(from), self.life(to));
        for delay in self.network.delays_ns(&mut self.chance, from, to) {
            let bytes = bytes.clone();
            let arrives = Event::Arrives {
                from,
                to,
                lives,
                bytes,
            };
            self.at(self.now_ns + delay, arrives);
        }
    }

    /// Takes what an honest node does to the world.
    fn takes(&mut self, node: usize, mut effects: Vec<Effect>) {
        let Seat::Honest(honest) = &mut self.seats[node] else {
            return;
        };
        let is_durable = honest.disks.is_durable();
        if let Some(mutation) = self.mutation {
            let nodes = self.plan.nodes;
            let replica = honest.replica.as_ref();
            mutate(mutation, (node, nodes), replica, &self.copies, &mut effects);
        }
        // What is sent is seen first: with it a node's own vote counts.
        let mut out = Vec::new();
        for effect in &effects {
            if let Effect::Send { to, message } = effect {
                if let Message::Batch {
                    node: of, bytes, ..
                } = message
                {
                    self.auditor.saw(node, *of, bytes);
                    if *of == node {
                        let is_durable = is_durable || honest.disks.has_durably(bytes);
                        self.facts.signed(node, is_durable);
                    }
                }
                let is_check = matches!(message, Message::Ranges { .. } | Message::Filling { .. });
                if is_check && self.mutation == Some(Mutation::NoRangeCheck) {
                    continue;
                }
                if let Ok(bytes) = message.encode() {
                    out.push((*to, bytes));
                }
            }
        }
        for (to, bytes) in out {
            self.sends(node, to, bytes);
        }
        let mut stops = false;
        for effect in effects {
            match effect {
                Effect::Send { .. } => {}
                Effect::Appended { ticket, result } => {
                    stops |= matches!(result, Err(AppendError::Stopped(_)));
                    self.answers(node, ticket, &result, is_durable);
                }
                Effect::Reached {
                    atom,
                    level: Level::Final,
                } => {
                    let mut votes = self.auditor.voters(&atom);
                    // After a crash it may have on its disk what it has not sent yet.
                    if !votes.contains(&node) && self.has_on_disk(node, &atom) {
                        votes.insert(node);
                    }
                    self.facts.is_final(node, atom, &votes);
                }
                Effect::Reached { .. } => {}
                Effect::Refused { atom, why } => self.facts.refused(node, atom, why),
                Effect::Accused { who, what } => self.facts.accused(node, who, what),
                // Nobody changes the configuration here.
                Effect::NextEpoch { .. } => {}
                Effect::Filled { node: of, entries } => {
                    let note = format!("node {node} fills in {entries} of node {of}");
                    self.facts.note(note);
                }
                Effect::Faulty { node: whom, what } => {
                    stops |= whom == node;
                    self.facts.faulty(node, whom, what);
                }
            }
        }
        if stops {
            self.stops(node);
        }
    }

    /// Whether an atom stands in the log of a node, as the auditor reads its disk.
    fn has_on_disk(&self, node: usize, atom: &AtomId) -> bool {
        let Seat::Honest(honest) = &self.seats[node] else {
            return false;
        };
        if honest.unread_rot == Some(None) {
            // The auditor reads up to the rot; the node has said that it has it.
            let standing = honest.replica.as_ref().and_then(|r| r.standing(atom));
            return standing.is_some_and(|s| s.clock.is_some());
        }
        let segments = honest.disks.segments();
        let segments: Vec<&[u8]> = segments.iter().map(Vec::as_slice).collect();
        let log = self.auditor.read(&segments);
        log.lines.iter().any(|line| line.entry.atom.id() == *atom)
    }

    fn answers(
        &mut self,
        node: usize,
        ticket: Ticket,
        result: &Result<Vec<ledger_node::Receipt>, AppendError>,
        is_durable: bool,
    ) {
        let Seat::Honest(honest) = &mut self.seats[node] else {
            return;
        };
        let Some(said) = honest.said.remove(&ticket) else {
            return;
        };
        let act = said.act.clone();
        let is_fenced = |reason: &Refusal| matches!(reason, Refusal::Authority { .. });
        self.fenced += usize::from(
            matches!(result, Err(AppendError::Refused { reason, .. }) if is_fenced(reason)),
        );
        if let Ok(receipts) = result {
            for receipt in receipts {
                let by_standby = match act {
                    Act::Dispatch { by_standby } => Some(by_standby),
                    _ => None,
                };
                let is_command = by_standby.is_some();
                let is_honest = workload::author(&act) != DISHONEST;
                let id = receipt.atom_id;
                self.facts
                    .acknowledged(node, id, is_command, is_honest, is_durable);
                if let Some(by_standby) = by_standby
                    && !self.is_mended
                {
                    let ack = Act::Ack {
                        dispatch: id,
                        by_standby,
                    };
                    let after = self.now_ns + MS * self.chance.between(1, 80);
                    self.at(after, Event::Said(ack, 0));
                }
            }
        }
        if let Some(again) = self.workload.answered(node, said, result) {
            let tries = again.tries;
            self.at(self.now_ns + 300 * MS, Event::Said(again.act, tries));
        }
    }

    fn says(&mut self, act: Act, tries: u32) {
        let node = self.workload.home(&act);
        let skew = match &self.seats[node] {
            Seat::Honest(honest) => honest.skew_ns,
            Seat::Liar(_) => 0,
        };
        let now = self.local_ns(skew);
        let is_up = match &self.seats[node] {
            Seat::Honest(honest) => honest.replica.is_some(),
            Seat::Liar(_) => true,
        };
        let drafted = is_up.then(|| self.workload.draft(now, &act)).flatten();
        let Some((draft, mut said)) = drafted else {
            if tries < workload::TRIES_MAX {
                self.at(self.now_ns + 300 * MS, Event::Said(act, tries + 1));
            }
            return;
        };
        said.tries = tries;
        match &mut self.seats[node] {
            Seat::Honest(honest) => {
                if let Some(replica) = &mut honest.replica {
                    let ticket = replica.submit(now, vec![draft]);
                    honest.said.insert(ticket, said);
                }
                self.at(self.now_ns, Event::Step(node));
            }
            Seat::Liar(liar) => liar.submit(now, draft),
        }
    }

    fn troubles(&mut self, trouble: Trouble, node: usize) {
        self.facts.note(format!("{trouble:?} at node {node}"));
        let nodes = self.plan.nodes;
        let away = MS * self.chance.between(50, 900);
        match trouble {
            Trouble::Partition => {
                let sides = (0..nodes).map(|_| self.chance.percent(50)).collect();
                self.network.sides = Some(sides);
                return;
            }
            Trouble::ClockJumps => {
                let jump = self.chance.between(-JUMP_NS_MAX, JUMP_NS_MAX);
                if let Seat::Honest(honest) = &mut self.seats[node] {
                    honest.skew_ns = jump;
                }
                return;
            }
            _ => {}
        }
        let Seat::Honest(honest) = &mut self.seats[node] else {
            return;
        };
        let is_up = honest.replica.is_some();
        match trouble {
            Trouble::Slow => honest.delay_ns_max = 400 * MS,
            Trouble::DiskFull if is_up => {
                let space = self.chance.place(3_000);
                let disks: Vec<_> = honest.disks.all().collect();
                if let Some(disk) = self.chance.pick(&disks) {
                    disk.set(|d| d.space = Some(space));
                }
            }
            Trouble::SyncFails if is_up => {
                let disks: Vec<_> = honest.disks.all().collect();
                if let Some(disk) = self.chance.pick(&disks) {
                    disk.set(|d| d.good_syncs = Some(0));
                }
            }
            Trouble::Ended if is_up => {
                if let Some(replica) = honest.replica.take() {
                    let now = BEGIN_UTC_NS + self.waited_ns + self.now_ns + honest.skew_ns;
                    // A disk that fails just now is a crash.
                    let _: Result<_, _> = replica.close(now);
                }
                self.goes_down(node);
                self.at(self.now_ns + away, Event::Begins(node, How::AsItWas));
            }
            Trouble::PowerFails | Trouble::Killed if is_up => {
                match trouble {
                    Trouble::Killed => honest.disks.lose_process(),
                    _ => honest.disks.lose_power(&mut self.chance),
                }
                self.goes_down(node);
                self.at(self.now_ns + away, Event::Begins(node, How::AsItWas));
            }
            Trouble::BackupRestored => {
                // What went wrong went wrong some time ago.
                self.goes_down(node);
                self.at(self.now_ns + away, Event::Begins(node, How::FromBackup));
            }
            Trouble::DiskReplaced => {
                self.goes_down(node);
                self.at(self.now_ns + away, Event::Begins(node, How::WithEmptyDisks));
            }
            Trouble::CopiesThinned if is_up => {
                honest.disks.lose_process();
                honest.disks.thin_copies(&self.lab.id);
                self.goes_down(node);
                self.at(self.now_ns + away, Event::Begins(node, How::AsItWas));
            }
            Trouble::BitRots if is_up => {
                honest.disks.lose_process();
                let root = honest.replica.as_ref().map(|r| (r.clock(), r.root()));
                honest.clean_root = root;
                honest.rot = honest.disks.rot(&mut self.chance);
                self.goes_down(node);
                self.at(self.now_ns + away, Event::Begins(node, How::AsItWas));
            }
            _ => {}
        }
    }

    /// A node whose storage failed is ended and begun again on mended disks.
    fn stops(&mut self, node: usize) {
        let Seat::Honest(honest) = &mut self.seats[node] else {
            return;
        };
        if honest.replica.is_none() {
            return;
        }
        match self.chance.percent(50) {
            true => honest.disks.lose_process(),
            false => honest.disks.lose_power(&mut self.chance),
        }
        self.goes_down(node);
        let away = MS * self.chance.between(50, 600);
        self.at(self.now_ns + away, Event::Begins(node, How::AsItWas));
    }

    fn goes_down(&mut self, node: usize) {
        let Seat::Honest(honest) = &mut self.seats[node] else {
            return;
        };
        honest.replica = None;
        honest.life += 1;
        for (_, said) in std::mem::take(&mut honest.said) {
            self.workload.unanswered(&said);
        }
    }

    /// What was only on the disks of a node that lost them is gone.
    fn loses(&mut self, node: usize) {
        let others: Vec<&Replica> = self
            .honest()
            .filter(|(other, _)| *other != node)
            .filter_map(|(_, honest)| honest.replica.as_ref())
            .collect();
        let acknowledged = self.facts.acknowledged_at(node);
        let is_gone = |id: &AtomId| others.iter().all(|other| other.standing(id).is_none());
        let gone: Vec<AtomId> = acknowledged.filter(is_gone).collect();
        self.facts.gone_with_the_disk(node, &gone);
    }

    fn begins(&mut self, node: usize, how: How) {
        let has_rotted = match &self.seats[node] {
            Seat::Honest(honest) => honest.rot.is_some() || honest.unread_rot.is_some(),
            Seat::Liar(_) => false,
        };
        if how != How::AsItWas || has_rotted {
            self.loses(node);
        }
        if how != How::AsItWas || has_rotted {
            self.restored.insert(node);
        }
        let nodes = self.plan.nodes;
        self.facts.note(format!("node {node} begins {how:?}"));
        // Whom the operator knows to be gone for good.
        let lost: BTreeSet<usize> = match self.plan.liar {
            Some((liar, Behaviour::Withholds | Behaviour::Garbage | Behaviour::LiesInHave)) => {
                [liar].into()
            }
            Some((
                liar,
                Behaviour::TwoLogs
                | Behaviour::TwoVertices
                | Behaviour::WitnessesAll
                | Behaviour::SpoilsSignatures
                | Behaviour::Floods,
            )) => [liar].into(),
            _ => BTreeSet::new(),
        };
        let start = match self.mutation {
            Some(Mutation::SignsUnheard | Mutation::ClockReused) => Start::First,
            _ => Start::Again { lost },
        };
        let (lab, mutation) = (self.lab, self.mutation);
        let Seat::Honest(honest) = &mut self.seats[node] else {
            return;
        };
        if honest.replica.is_some() {
            return;
        }
        match how {
            How::AsItWas => {}
            How::FromBackup => honest.disks = honest.backup.backup(),
            How::WithEmptyDisks => honest.disks = Disks::new(node, nodes),
        }
        if how != How::AsItWas {
            (honest.rot, honest.unread_rot) = (None, None);
        }
        honest.disks.mend();
        if mutation == Some(Mutation::ClockReused) {
            honest.disks.forget_last_batch();
        }
        let before = honest.unread_rot.take();
        let has_rotted_twice = honest.rot.is_some() && before.is_some();
        let was_seen = before.is_some();
        let rot = honest.rot.take().or(before);
        let mut rechecks = None;
        match honest.open(lab, node, start.clone(), mutation) {
            Ok(replica) => {
                let found = (replica.clock(), replica.root());
                // Once it was open it has gone on.
                if rot.is_some() && !was_seen {
                    let is_whole = honest.clean_root == Some(found);
                    self.facts.rot_was_missed(node, is_whole);
                }
                self.indexed += usize::from(!replica.unread().is_empty());
                if rot.is_some() && !replica.unread().is_empty() {
                    honest.unread_rot = rot;
                    rechecks = Some(honest.life);
                }
                honest.replica = Some(replica);
            }
            Err(e) => {
                // Whatever is damaged is replaced, and fetched from the others.
                let is_precise =
                    matches!(&e, LedgerError::Corrupt { .. } | LedgerError::Universe(_));
                self.facts
                    .refused_to_open(node, rot.is_some() && is_precise, &e);
                match rot {
                    Some(Some(copy)) if !has_rotted_twice => {
                        honest.disks.copies[copy] = Some(ledger_node::MemoryStorage::default());
                    }
                    _ => honest.disks = Disks::new(node, nodes),
                }
                let opened = honest.open(lab, node, start, mutation);
                if let Err(e) = &opened {
                    self.facts.refused_to_open(node, false, e);
                }
                honest.replica = opened.ok();
            }
        }
        honest.is_stepping = false;
        if let Some(life) = rechecks {
            let after = self.chance.between(0, RECHECK_NS_MAX);
            self.at(self.now_ns + after, Event::Rechecks(node, life));
        }
        let Seat::Honest(honest) = &mut self.seats[node] else {
            return;
        };
        if let Some(replica) = &mut honest.replica {
            for other in (0..nodes).filter(|other| *other != node) {
                replica.greet(other);
            }
        }
        for other in (0..nodes).filter(|other| *other != node) {
            if let Seat::Honest(honest) = &mut self.seats[other]
                && let Some(replica) = &mut honest.replica
            {
                replica.greet(node);
            }
        }
        self.steps(node);
    }

    /// A node that was opened out of an index has read the rest: whether it is damaged,
    /// is found by reading all of it.
    fn rechecks(&mut self, node: usize, life: u64) {
        let (lab, mutation) = (self.lab, self.mutation);
        let Seat::Honest(honest) = &mut self.seats[node] else {
            return;
        };
        let Some(rot) = honest.unread_rot.filter(|_| honest.life == life) else {
            return;
        };
        let whole = honest.disks.without_indexes();
        let is_there = std::mem::replace(&mut honest.disks, whole);
        let read = honest.open(lab, node, Start::First, mutation);
        honest.disks = is_there;
        match (read, &mut honest.replica) {
            // It was in an index, which opening has refused or not needed.
            (Ok(_), _) => honest.unread_rot = None,
            (Err(e), Some(replica)) => {
                self.rot_found_later += 1;
                let which = rot.unwrap_or(node);
                replica.damaged(which, StorageError::damaged("a disk", &e.to_string()));
                self.steps(node);
            }
            (Err(_), None) => {}
        }
    }

    fn mends(&mut self) {
        self.is_mended = true;
        let has_jumped = |(_, trouble, _): &(i64, Trouble, usize)| *trouble == Trouble::ClockJumps;
        if self.plan.troubles.iter().any(has_jumped) {
            self.waited_ns = JUMP_NS_MAX;
        }
        self.network = Network::good();
        for node in 0..self.plan.nodes {
            if let Seat::Honest(honest) = &mut self.seats[node] {
                honest.skew_ns = 0;
                honest.delay_ns_max = 5 * MS;
                honest.disks.mend();
            }
        }
        self.at(self.now_ns + 2 * TICK_NS, Event::Looked);
    }

    fn honest(&self) -> impl Iterator<Item = (usize, &Honest)> {
        let seats = self.seats.iter().enumerate();
        seats.filter_map(|(node, seat)| match seat {
            Seat::Honest(honest) => Some((node, &**honest)),
            Seat::Liar(_) => None,
        })
    }

    /// Why not all honest nodes have what all honest nodes have, and agree; none
    /// once they do.
    fn unsettled(&self) -> Option<String> {
        let is_coming =
            |e: &Event| matches!(e, Event::Begins(..) | Event::Said(..) | Event::Rechecks(..));
        if let Some(event) = self.queue.values().find(|e| is_coming(e)) {
            return Some(format!("still to happen: {event:?}"));
        }
        let expected = self.expected_accused();
        for (node, honest) in self.honest() {
            let Some(replica) = &honest.replica else {
                return Some(format!("node {node} is down"));
            };
            if !replica.may_sign() {
                return Some(format!("node {node} may not sign"));
            }
            for (other, has) in self.honest() {
                let has = has.replica.as_ref().map_or(0, Replica::clock);
                let held = replica.held(other);
                if held != has {
                    return Some(format!("node {node} has {held} of {has} of node {other}"));
                }
            }
            let finals = self.firm_finals();
            for id in self.due().chain(finals) {
                let standing = replica.standing(&id);
                if standing.is_none_or(|s| s.level != Some(Level::Final)) {
                    return Some(format!("{id} is not final at node {node}"));
                }
            }
            let mut silent = expected.iter();
            if let Some(who) = silent.find(|who| !replica.accused().contains_key(who)) {
                return Some(format!("node {node} does not accuse {who}"));
            }
        }
        None
    }

    fn firm_finals(&self) -> impl Iterator<Item = AtomId> {
        let finals = self.auditor.finals().map(ledger_core::Atom::id);
        finals.filter(|id| self.is_firm(id))
    }

    fn is_firm(&self, id: &AtomId) -> bool {
        let is_kept = |node: usize, id: &AtomId| self.is_kept(node, id);
        self.auditor.is_firm(id, &is_kept)
    }

    /// Whether a node still has its vote, which it may have lost with its disk.
    fn is_kept(&self, node: usize, id: &AtomId) -> bool {
        let Seat::Honest(honest) = &self.seats[node] else {
            return true;
        };
        let replica = honest.replica.as_ref();
        let standing = replica.and_then(|replica| replica.standing(id));
        !self.restored.contains(&node) || standing.is_some_and(|s| s.clock.is_some())
    }

    /// What has to become final everywhere: what honest parties were told is in a
    /// log, as long as it spends nothing that is final here and not there.
    fn due(&self) -> impl Iterator<Item = AtomId> {
        let is_kept = |node: usize, id: &AtomId| self.is_kept(node, id);
        let due = self.facts.due();
        due.filter(move |id| self.auditor.is_founded(id, &is_kept))
    }

    /// Who has contradicted itself before the eyes of honest nodes.
    fn expected_accused(&self) -> BTreeSet<Address> {
        let forked = self.auditor.forked().into_iter();
        let nodes = forked.map(|node| self.lab.node(node));
        nodes.collect()
    }

    fn end(mut self) -> Outcome {
        let mut logs: BTreeMap<usize, Log> = BTreeMap::new();
        for (node, honest) in self.honest() {
            let segments = honest.disks.segments();
            let segments: Vec<&[u8]> = segments.iter().map(Vec::as_slice).collect();
            logs.insert(node, self.auditor.read(&segments));
        }
        let expected = self.expected_accused();
        let mut ends = Vec::new();
        for (node, honest) in self.honest() {
            let Some(replica) = &honest.replica else {
                continue;
            };
            let level = |id: &AtomId| replica.standing(id).and_then(|s| s.level);
            let finals = self.firm_finals();
            let lacking: Vec<AtomId> = finals
                .filter(|id| level(id) != Some(Level::Final))
                .collect();
            let due = self.due();
            let late: Vec<AtomId> = due.filter(|id| level(id) != Some(Level::Final)).collect();
            let reached = self.facts.finals_of(node);
            let gone: Vec<AtomId> = reached
                .filter(|id| self.is_firm(id))
                .filter(|id| level(id) != Some(Level::Final))
                .collect();
            let silent: Vec<Address> = expected
                .iter()
                .filter(|who| !replica.accused().contains_key(who))
                .copied()
                .collect();
            ends.push(crate::invariants::End {
                node,
                may_sign: replica.may_sign(),
                lacking,
                late,
                gone,
                silent,
            });
        }
        self.facts.ends = ends;
        let notes = std::mem::take(&mut self.facts.notes);
        let violations = check(&self.facts, &self.auditor, &logs);
        Outcome {
            violations,
            steps: self.step,
            finals: self.auditor.finals().count(),
            fenced: self.fenced,
            indexed: self.indexed,
            rot_found_later: self.rot_found_later,
            digest: u64::from(self.digest) << 32 | self.step,
            notes,
            plan: self.plan,
        }
    }
}

impl Honest {
    fn open(
        &mut self,
        lab: &'static Lab,
        node: usize,
        start: Start,
        mutation: Option<Mutation>,
    ) -> Result<Replica, LedgerError> {
        let is_forgetful = mutation == Some(Mutation::SignsBeforeSync);
        let stores = self.disks.stores(is_forgetful);
        let keys = lab.keyring(node, &self.keys);
        let options = NodeLogOptions {
            index_entries: self.is_indexed.then_some(INDEX_ENTRIES),
            ..Durability::Fsync.into()
        };
        Replica::open(&lab.universe, keys, stores, options, start)
    }
}

fn count_copies(copies: &mut BTreeMap<(usize, AtomId), usize>, lab: &Lab, to: usize, bytes: &[u8]) {
    let Some((batch, _)) = crate::frames::batch(bytes) else {
        return;
    };
    for item in &batch.items {
        if let crate::frames::Item::Entry(bytes) = item
            && let Ok(entry) = ledger_core::Entry::from_bytes(bytes, &lab.id)
        {
            *copies.entry((to, entry.atom.id())).or_insert(1) += 1;
        }
    }
}

/// What a broken variant does instead of what the replica wanted.
fn mutate(
    mutation: Mutation,
    (node, nodes): (usize, usize),
    replica: Option<&Replica>,
    copies: &BTreeMap<(usize, AtomId), usize>,
    effects: &mut Vec<Effect>,
) {
    let Some(replica) = replica else { return };
    let quorum = crate::auditor::quorum(nodes, (nodes - 1) / 3);
    let level = Level::Final;
    let mut more = Vec::new();
    for effect in effects.iter() {
        match (mutation, effect) {
            (Mutation::QuorumMinusOne, Effect::Reached { atom, .. }) => {
                let witnesses = replica.standing(atom).map_or(0, |s| s.witnesses().count());
                if witnesses + 1 >= quorum {
                    more.push(Effect::Reached { atom: *atom, level });
                }
            }
            (Mutation::FirstSeenWins, Effect::Refused { why, .. }) => {
                // The refusal names the atom that was here first.
                let first = why.split(' ').find_map(|word| word.parse().ok());
                more.extend(first.map(|atom| Effect::Reached { atom, level }));
            }
            _ => {}
        }
    }
    if mutation == Mutation::CountsCopies {
        let of_node = copies.range((node, AtomId([0; 32]))..=(node, AtomId([255; 32])));
        let enough = of_node.filter(|(_, count)| **count >= quorum);
        more.extend(enough.map(|((_, atom), _)| Effect::Reached { atom: *atom, level }));
    }
    effects.extend(more);
}
