//! The state of a log after a prefix of it: all that the next entry depends on.
//!
//! The same state results from appending and from reading back, so that a
//! reopened log goes on exactly where it stopped.

use std::collections::BTreeMap;
use std::sync::Arc;

use ledger_core::atom::{Body, DESTINATIONS_MAX};
use ledger_core::hlc::Hlc;
use ledger_core::merkle::{Frontier, leaf_hash};
use ledger_core::vertex::Commitment;
use ledger_core::{
    Address, Atom, AtomError, AtomId, Authorities, Authority, Directory, Entry, Head, HeadId,
    Particle, ParticleId, ParticleStates, Payload, SecretKey, SignedHead, UniverseId, Vertex,
    VertexId,
};

use crate::draft::AtomDraft;
use crate::error::Refusal;
use crate::index::{Noted, Notes, Row, State, device_of};
use crate::keyring::Author;

/// An author's place: number and id of the latest atom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Number in the author's sequence, from 1.
    pub seq: u64,
    /// The atom.
    pub id: AtomId,
}

/// The small part of the state; it is cloned so that a refused batch leaves no
/// trace.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    universe: UniverseId,
    directory: Arc<Directory>,
    /// The place of the node in the configuration.
    me: usize,
    node: Address,
    incarnation: u64,
    frontier: Frontier,
    last_vertex: VertexId,
    last_head: HeadId,
    committed: Commitment,
    hlc: Hlc,
    /// Of the authors whose shard this node keeps: it alone can tell their order.
    authors: BTreeMap<Address, Place>,
    authorities: Authorities,
    /// The epoch of the latest entry; it never falls.
    epoch: u64,
}

/// An incarnation rises only when a node is restored from a backup.
const FIRST_INCARNATION: u64 = 0;

impl Chain {
    /// The state of an empty log.
    pub(crate) fn new(directory: Arc<Directory>, me: usize, node: Address) -> Chain {
        let universe = directory.id;
        let frontier = Frontier::new(universe);
        let committed = Commitment {
            size: 0,
            root: frontier.root(),
        };
        Chain {
            universe,
            directory,
            me,
            node,
            incarnation: FIRST_INCARNATION,
            frontier,
            last_vertex: VertexId::NONE,
            last_head: HeadId::NONE,
            committed,
            hlc: Hlc::default(),
            authors: BTreeMap::new(),
            authorities: Authorities::default(),
            epoch: 0,
        }
    }

    /// What an index keeps of the state, once a head is over it.
    pub(crate) fn state(&self) -> State {
        State {
            last_head: self.last_head,
            epoch: self.epoch,
            hlc: self.hlc.0,
            size: self.frontier.size(),
            peaks: self.frontier.peaks().to_vec(),
        }
    }

    /// What an index keeps of a batch that ends here.
    pub(crate) fn notes(&self, entries: &[Entry], head_bytes: usize) -> Notes {
        let devices = entries
            .iter()
            .filter_map(|entry| device_of(&entry.atom.body().payload));
        let devices: std::collections::BTreeSet<&String> = devices.collect();
        let holder = |device: &String| Some((device.clone(), self.authorities.of(device)?));
        Notes {
            seen: entries
                .iter()
                .map(|entry| Noted::Entry(Row::of(entry)))
                .collect(),
            devices: devices.into_iter().filter_map(holder).collect(),
            head_bytes,
            state: self.state(),
        }
    }

    /// Takes what an index has of an entry.
    pub(crate) fn recall(&mut self, row: &Row) {
        if self.keeps(&row.author) {
            let (seq, id) = (row.seq, row.atom);
            self.authors.insert(row.author, Place { seq, id });
        }
    }

    /// Takes who may command a device, out of an index.
    pub(crate) fn recall_device(&mut self, device: String, authority: Authority) {
        self.authorities.recall(device, authority);
    }

    /// Goes on behind what an index has, under the head that is over it.
    pub(crate) fn resume(&mut self, frontier: Frontier, state: &State, head: &Head) {
        self.frontier = frontier;
        self.last_vertex = head.last_vertex;
        self.last_head = state.last_head;
        self.committed = Commitment {
            size: head.size,
            root: head.root,
        };
        self.hlc = Hlc(state.hlc);
        self.epoch = state.epoch;
    }

    /// The configuration epoch in which this node says what it says.
    pub(crate) fn epoch(&self) -> u64 {
        self.directory.epoch()
    }

    /// The epoch of the latest entry.
    pub(crate) fn latest_epoch(&self) -> u64 {
        self.epoch
    }

    /// The clock of the next entry.
    pub(crate) fn next_clock(&self) -> u64 {
        self.frontier.size() + 1
    }

    /// The node, by its place in the configuration.
    pub(crate) fn me(&self) -> usize {
        self.me
    }

    /// The address of the node.
    pub(crate) fn node(&self) -> Address {
        self.node
    }

    /// The universe.
    pub(crate) fn universe(&self) -> UniverseId {
        self.universe
    }

    /// The id of the latest head.
    pub(crate) fn last_head(&self) -> HeadId {
        self.last_head
    }

    /// The size and root of the latest head.
    pub(crate) fn committed(&self) -> &Commitment {
        &self.committed
    }

    /// Makes the entry of a draft and advances. Returns it with its bytes.
    pub(crate) fn make_entry(
        &mut self,
        draft: AtomDraft,
        author: &Author,
        particles: &mut ParticleStates,
        now_utc_ns: i64,
    ) -> Result<(Entry, Vec<u8>), Refusal> {
        let kind = draft.payload.kind();
        if !author.kinds.contains(&kind) {
            return Err(Refusal::NotItsRole {
                author: draft.author,
                kind,
            });
        }
        if !self.keeps(&author.address) {
            return Err(Refusal::NotKeptHere {
                author: draft.author,
            });
        }
        let mut deps = draft.deps;
        deps.sort_unstable();
        deps.dedup();
        let place = self.authors.get(&author.address);
        let body = Body {
            universe: self.universe,
            config_epoch: self.epoch(),
            author: author.address,
            author_seq: place.map_or(0, |p| p.seq) + 1,
            prev: place.map(|p| p.id),
            destinations: draft.payload.destinations(
                &self.universe,
                &author.address,
                &draft.particles,
                DESTINATIONS_MAX,
            ),
            deps,
            hlc: self.hlc.tick(now_utc_ns),
            clock_quality: draft.clock_quality,
            particles: draft.particles,
            payload: draft.payload,
            expiry_utc_ns: draft.expiry_utc_ns,
        };
        self.check_authority(&body.author, &body.payload)?;
        let atom = Atom::sign(body, &author.key)?;
        self.enter(atom, particles, now_utc_ns)
    }

    /// Makes the entry of an atom that somebody else wrote, and advances. The
    /// caller has verified its signatures and that its author may write it. A
    /// command of a past epoch is witnessed like any other: that it was said is a
    /// fact, the device refuses it, and nodes that heard of the grant at different
    /// times must not part over it.
    pub(crate) fn witness(
        &mut self,
        atom: Atom,
        particles: &mut ParticleStates,
        now_utc_ns: i64,
    ) -> Result<(Entry, Vec<u8>), Refusal> {
        let body = atom.body();
        let place = self.authors.get(&body.author).copied();
        let follows =
            body.author_seq == place.map_or(0, |p| p.seq) + 1 && body.prev == place.map(|p| p.id);
        if self.keeps(&body.author) && !follows {
            return Err(Refusal::OutOfSequence {
                author: body.author,
                seq: body.author_seq,
            });
        }
        self.enter(atom, particles, now_utc_ns)
    }

    fn enter(
        &mut self,
        atom: Atom,
        particles: &mut ParticleStates,
        now_utc_ns: i64,
    ) -> Result<(Entry, Vec<u8>), Refusal> {
        let body = atom.body();
        let epoch = self.epoch();
        if !self.directory.is_member(epoch, self.me) {
            return Err(Refusal::Left { epoch });
        }
        if body.config_epoch > epoch {
            let found = body.config_epoch;
            return Err(Refusal::LaterEpoch { found, epoch });
        }
        match self.keeps(&body.author) {
            true => {
                particles.apply(&self.universe, body.kind(), &body.author, &body.particles)?;
            }
            false => particles.observe(&self.universe, &body.particles)?,
        }
        let vertex = Vertex {
            node: self.node,
            incarnation: self.incarnation,
            l: self.next_clock(),
            e: atom.id(),
            n: epoch,
            c: self.committed.clone(),
            prev: self.last_vertex,
            locks: locks(body),
            hlc: self.hlc.max(body.hlc).tick(now_utc_ns),
        };
        let vertex_id = vertex.id(&self.universe).map_err(AtomError::from)?;
        let entry = Entry {
            vertex,
            vertex_id,
            // The head of the batch is signed, and covers it.
            signature: None,
            atom,
        };
        let bytes = entry.to_bytes().map_err(AtomError::from)?;
        self.advance(&entry, &bytes);
        Ok((entry, bytes))
    }

    /// Whether this node keeps the shard of an address.
    pub(crate) fn keeps(&self, address: &Address) -> bool {
        self.directory.serves(self.me, address)
    }

    /// The latest atom of an author whose shard this node keeps.
    pub(crate) fn place(&self, author: &Address) -> Option<Place> {
        self.authors.get(author).copied()
    }

    /// Who may command which device.
    pub(crate) fn authorities(&self) -> &Authorities {
        &self.authorities
    }

    /// A dispatch is by whoever may command the device.
    fn check_authority(&self, author: &Address, payload: &Payload) -> Result<(), Refusal> {
        let Payload::Dispatch(dispatch) = payload else {
            return Ok(());
        };
        let checked = self.authorities.check(author, dispatch);
        checked.map_err(|fault| Refusal::Authority {
            device: dispatch.device.clone(),
            fault,
        })
    }

    fn advance(&mut self, entry: &Entry, bytes: &[u8]) {
        let body = entry.atom.body();
        self.frontier.push(leaf_hash(&self.universe, bytes));
        self.last_vertex = entry.vertex_id;
        self.epoch = entry.vertex.n;
        self.hlc = self.hlc.max(body.hlc).max(entry.vertex.hlc);
        if self.directory.serves(self.me, &body.author) {
            self.authors.insert(
                body.author,
                Place {
                    seq: body.author_seq,
                    id: entry.atom.id(),
                },
            );
        }
        self.authorities.note(&body.payload);
    }

    /// Makes and signs the head of a batch. The head becomes the latest one.
    pub(crate) fn make_head(
        &mut self,
        closed: bool,
        node_key: &SecretKey,
        now_utc_ns: i64,
    ) -> Result<SignedHead, ledger_core::KeyError> {
        let head = Head {
            node: self.node,
            incarnation: self.incarnation,
            size: self.frontier.size(),
            root: self.frontier.root(),
            last_vertex: self.last_vertex,
            prev: self.last_head,
            hlc: self.hlc.tick(now_utc_ns),
            closed,
        };
        let signed = SignedHead::sign(head, &self.universe, node_key)?;
        self.commit(&signed.head)?;
        Ok(signed)
    }

    fn commit(&mut self, head: &Head) -> Result<(), ledger_core::KeyError> {
        self.last_head = head
            .id(&self.universe)
            .map_err(|_| ledger_core::KeyError::Sign)?;
        self.committed = Commitment {
            size: head.size,
            root: head.root,
        };
        self.hlc = self.hlc.max(head.hlc);
        Ok(())
    }

    /// Advances over an entry that was read back; says what does not follow.
    pub(crate) fn follow_entry(
        &mut self,
        entry: &Entry,
        bytes: &[u8],
        particles: &mut ParticleStates,
    ) -> Result<(), &'static str> {
        let (body, vertex) = (entry.atom.body(), &entry.vertex);
        let place = self.authors.get(&body.author);
        let keeps = self.keeps(&body.author);
        let rules = [
            (
                vertex.l == self.next_clock(),
                "the logical clock does not follow",
            ),
            (
                vertex.prev == self.last_vertex,
                "the vertex does not follow the one before",
            ),
            (vertex.node == self.node, "the vertex is of another node"),
            (
                vertex.n >= self.epoch && vertex.n >= body.config_epoch,
                "the configuration epoch falls",
            ),
            (
                self.directory.is_member(vertex.n, self.me),
                "the vertex is of an epoch that the files beside the log do not have",
            ),
            (
                vertex.c == self.committed,
                "the vertex names another head than the one before",
            ),
            (
                !keeps || body.author_seq == place.map_or(0, |p| p.seq) + 1,
                "the author's sequence does not follow",
            ),
            (
                !keeps || body.prev == place.map(|p| p.id),
                "the author's atom does not follow the one before",
            ),
            (
                vertex.locks == locks(body),
                "the vertex does not lock what the atom takes down",
            ),
        ];
        if let Some((_, what)) = rules.into_iter().find(|(holds, _)| !holds) {
            return Err(what);
        }
        let applied = match keeps {
            true => particles.apply(&self.universe, body.kind(), &body.author, &body.particles),
            false => particles.observe(&self.universe, &body.particles),
        };
        applied.map_err(|_| "the particles do not follow")?;
        self.advance(entry, bytes);
        Ok(())
    }

    /// Advances over a head that was read back; says what does not follow.
    pub(crate) fn follow_head(&mut self, head: &Head) -> Result<(), &'static str> {
        let rules = [
            (
                head.size == self.frontier.size(),
                "the head counts other entries",
            ),
            (
                head.root == self.frontier.root(),
                "the root is not that of the entries",
            ),
            (
                head.last_vertex == self.last_vertex,
                "the head names another vertex",
            ),
            (
                head.prev == self.last_head,
                "the head does not follow the one before",
            ),
            (head.node == self.node, "the head is of another node"),
        ];
        if let Some((_, what)) = rules.into_iter().find(|(holds, _)| !holds) {
            return Err(what);
        }
        self.commit(head)
            .map_err(|_| "the head has no canonical form")
    }
}

/// What a vertex locks for an atom: all that the atom takes down, sorted.
fn locks(body: &Body) -> Vec<ParticleId> {
    let downs = body.particles.iter().filter_map(|particle| match particle {
        Particle::Down(id) => Some(*id),
        Particle::Up(_) => None,
    });
    let mut locks: Vec<ParticleId> = downs.collect();
    locks.sort_unstable();
    locks.dedup();
    locks
}
