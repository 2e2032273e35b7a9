//! One run: nodes, a network, disks and a queue of what happens when.

mod broken;
mod judging;
mod lives;

use std::collections::{BTreeMap, BTreeSet};

use ledger_core::{AtomId, Level};
use ledger_node::{AppendError, Refusal};
use ledger_replica::{Effect, Message, Replica, Start, Ticket};

use crate::auditor::Auditor;
use crate::byzantine::{Behaviour, Liar};
use crate::chance::Chance;
use crate::disk::Disks;
use crate::invariants::{Facts, Violation};
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
                    broken::count_copies(&mut self.copies, self.lab, to, bytes);
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
            broken::mutate(mutation, (node, nodes), replica, &self.copies, &mut effects);
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
}
