//! A log that is made up: everything in it is signed, nothing of it is checked.

use std::collections::BTreeSet;

use ledger_core::atom::{Body, DESTINATIONS_MAX, Signed};
use ledger_core::merkle::{Frontier, leaf_hash};
use ledger_core::payload::{Order, Side, Step};
use ledger_core::vertex::Commitment;
use ledger_core::{
    Address, Atom, AtomId, Entry, Field as _, Head, HeadId, Hlc, Particle, Payload, Signature,
    SignedHead, Vertex, VertexId,
};
use ledger_node::AtomDraft;
use ledger_replica::Message;

use crate::chance::Chance;
use crate::frames::{self, Item};
use crate::lab::{DISHONEST, Lab};

/// What is wrong with a made-up log, beside that it holds whatever comes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgery {
    /// Nothing else.
    None,
    /// Now and then a batch has two versions.
    TwoVertices,
    /// The signatures in it do not hold.
    Signatures,
    /// It holds atoms that nobody can take: far ahead, of the future, not its role.
    Flood,
}

/// Most atoms that a flood brings in one run.
/// Chosen: enough to be in everybody's way, and cheap to sign.
const FLOOD_MAX: u64 = 12;

/// A made-up log.
#[derive(Debug)]
pub struct Forger {
    lab: &'static Lab,
    me: usize,
    forgery: Forgery,
    chain: Chain,
    pending: Vec<Atom>,
    seen: BTreeSet<AtomId>,
    /// Each batch with the clock of its last entry.
    batches: Vec<(u64, Vec<u8>)>,
    answers: Vec<(usize, Message)>,
    flooded: u64,
    next_seq: u64,
    last: Option<AtomId>,
}

#[derive(Debug, Clone)]
struct Chain {
    frontier: Frontier,
    last_vertex: VertexId,
    last_head: HeadId,
    committed: Commitment,
    hlc: Hlc,
}

impl Forger {
    /// An empty log of the node at the place `me`.
    pub fn new(lab: &'static Lab, me: usize, forgery: Forgery) -> Forger {
        let frontier = Frontier::new(lab.id);
        Forger {
            lab,
            me,
            forgery,
            chain: Chain {
                last_vertex: VertexId::NONE,
                last_head: HeadId::NONE,
                committed: Commitment {
                    size: 0,
                    root: frontier.root(),
                },
                frontier,
                hlc: Hlc::default(),
            },
            pending: vec![],
            seen: BTreeSet::new(),
            batches: vec![],
            answers: vec![],
            flooded: 0,
            next_seq: 1,
            last: None,
        }
    }

    /// Takes what the dishonest party says, as its next word at this node.
    pub(super) fn submit(&mut self, now_utc_ns: i64, draft: AtomDraft) {
        let (seq, prev) = (self.next_seq, self.last);
        if let Some(atom) = self.signed(now_utc_ns, draft.payload, draft.particles, seq, prev) {
            self.next_seq += 1;
            self.last = Some(atom.id());
            self.seen.insert(atom.id());
            self.pending.push(atom);
        }
    }

    fn signed(
        &self,
        now_utc_ns: i64,
        payload: Payload,
        particles: Vec<Particle>,
        author_seq: u64,
        prev: Option<AtomId>,
    ) -> Option<Atom> {
        let author = self.lab.party(DISHONEST);
        let body = Body {
            universe: self.lab.id,
            config_epoch: 0,
            author,
            author_seq,
            prev,
            destinations: payload.destinations(&self.lab.id, &author, &particles, DESTINATIONS_MAX),
            deps: vec![],
            hlc: self.chain.hlc.tick(now_utc_ns),
            clock_quality: ledger_core::ClockQuality::VIRTUAL,
            particles,
            payload,
            expiry_utc_ns: None,
        };
        Atom::sign(body, self.lab.party_key(DISHONEST)?).ok()
    }

    /// Remembers all atoms in a message; answers what somebody lacks of this log.
    pub(super) fn receive(&mut self, from: usize, message: &Message) {
        match message {
            Message::Have(have) => {
                let size = have.held.get(self.me).map_or(0, |held| held.size);
                let lacking = self.batches.iter().filter(|(last, _)| *last > size);
                let message = |bytes: &[u8]| Message::Batch {
                    node: self.me,
                    more: false,
                    bytes: bytes.into(),
                };
                let answers = lacking.map(|(_, bytes)| (from, message(bytes)));
                self.answers.extend(answers);
            }
            // It has no copies to compare.
            Message::Ranges { .. } | Message::Filling { .. } => {}
            Message::Batch { bytes, .. } => {
                let Some((batch, _)) = frames::batch(bytes) else {
                    return;
                };
                for item in &batch.items {
                    if let Item::Entry(bytes) = item
                        && let Ok(entry) = Entry::from_bytes(bytes, &self.lab.id)
                        && self.seen.insert(entry.atom.id())
                    {
                        self.pending.push(entry.atom);
                    }
                }
            }
        }
    }

    /// Gives what it sends now.
    pub(super) fn step(&mut self, now_utc_ns: i64, chance: &mut Chance) -> Vec<(usize, Message)> {
        if self.forgery == Forgery::Flood && self.flooded < FLOOD_MAX && chance.percent(30) {
            self.flooded += 1;
            let atom = self.nuisance(now_utc_ns, chance);
            self.pending.extend(atom);
        }
        let mut sends = std::mem::take(&mut self.answers);
        let atoms = std::mem::take(&mut self.pending);
        if atoms.is_empty() {
            return sends;
        }
        let before = self.chain.clone();
        let Some(bytes) = self.batch(now_utc_ns, &atoms) else {
            return sends;
        };
        let is_two = self.forgery == Forgery::TwoVertices && chance.percent(50);
        let other = is_two.then(|| {
            let after = std::mem::replace(&mut self.chain, before);
            let other = self.batch(now_utc_ns + 1_000_000_000, &atoms);
            self.chain = after;
            other
        });
        for to in (0..self.lab.nodes()).filter(|to| *to != self.me) {
            let bytes = match &other {
                Some(Some(other)) if chance.percent(50) => other,
                _ => &bytes,
            };
            sends.push((
                to,
                Message::Batch {
                    node: self.me,
                    more: false,
                    bytes: bytes.as_slice().into(),
                },
            ));
        }
        self.batches.push((self.chain.frontier.size(), bytes));
        sends
    }

    /// An atom that nobody can take, now or ever.
    fn nuisance(&self, now_utc_ns: i64, chance: &mut Chance) -> Option<Atom> {
        let order = |agent: String| {
            Payload::Order(Order {
                agent,
                interval: 1,
                side: Side::Buy,
                steps: vec![Step {
                    price_millicents_per_kwh: 1,
                    quantity_milliwatt_hours: 1,
                }],
                rank: 0,
            })
        };
        let prev = Some(AtomId([9; 32]));
        let far = 2 + chance.below(1_000_000);
        match chance.below(3) {
            0 => self.signed(now_utc_ns, order("far".to_owned()), vec![], far, prev),
            1 => {
                let later = now_utc_ns + 3_600_000_000_000;
                self.signed(later, order("later".to_owned()), vec![], 1, None)
            }
            _ => {
                let mode = Payload::Mode(ledger_core::payload::Mode {
                    from: "mine".to_owned(),
                    to: "yours".to_owned(),
                    reason: String::new(),
                });
                self.signed(now_utc_ns, mode, vec![], far, prev)
            }
        }
    }

    /// The next batch of the log, with these atoms.
    fn batch(&mut self, now_utc_ns: i64, atoms: &[Atom]) -> Option<Vec<u8>> {
        let (id, node) = (&self.lab.id, self.lab.node(self.me));
        let first_clock = self.chain.frontier.size() + 1;
        let mut entries = Vec::new();
        for atom in atoms {
            if let Some(bytes) = self.entry(now_utc_ns, node, atom.clone()) {
                self.chain.frontier.push(leaf_hash(id, &bytes));
                entries.push(bytes);
            }
        }
        if entries.is_empty() {
            return None;
        }
        self.chain.hlc = self.chain.hlc.tick(now_utc_ns);
        let head = Head {
            node,
            incarnation: 0,
            size: self.chain.frontier.size(),
            root: self.chain.frontier.root(),
            last_vertex: self.chain.last_vertex,
            prev: self.chain.last_head,
            hlc: self.chain.hlc,
            closed: false,
        };
        self.chain.committed = Commitment {
            size: head.size,
            root: head.root,
        };
        self.chain.last_head = head.id(id).ok()?;
        let signed = SignedHead::sign(head, id, &self.lab.node_keys[self.me]).ok()?;
        let head_id = self.chain.last_head.0;
        Some(frames::write(
            first_clock,
            &entries,
            &signed.to_bytes().ok()?,
            &head_id,
        ))
    }

    fn entry(&mut self, now_utc_ns: i64, node: Address, atom: Atom) -> Option<Vec<u8>> {
        let id = &self.lab.id;
        let body = atom.body();
        let mut locks: Vec<_> = body
            .particles
            .iter()
            .filter_map(|particle| match particle {
                Particle::Down(down) => Some(*down),
                Particle::Up(_) => None,
            })
            .collect();
        locks.sort_unstable();
        let vertex = Vertex {
            node,
            incarnation: 0,
            l: self.chain.frontier.size() + 1,
            e: atom.id(),
            n: 0,
            c: self.chain.committed.clone(),
            prev: self.chain.last_vertex,
            locks,
            hlc: self.chain.hlc.tick(now_utc_ns),
        };
        let vertex_id = vertex.id(id).ok()?;
        let mut signature = None;
        let atom = match self.forgery {
            Forgery::Signatures => {
                signature = Vertex::may_be_signed_for(body.kind()).then_some(Signature([1; 64]));
                let spoilt = |signed: &Signed| {
                    let mut signed = signed.clone();
                    signed.signature.0[40] ^= 1;
                    signed
                };
                let sigs: Vec<Signed> = atom.sigs().iter().map(spoilt).collect();
                Atom::from_bytes(&atom.bytes_with(&sigs).ok()?, id).ok()?
            }
            _ => atom,
        };
        self.chain.hlc = vertex.hlc;
        let entry = Entry {
            vertex,
            vertex_id,
            signature,
            atom,
        };
        let bytes = entry.to_bytes().ok()?;
        self.chain.last_vertex = vertex_id;
        Some(bytes)
    }
}
