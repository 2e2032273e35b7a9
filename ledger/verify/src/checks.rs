//! The checks, over all files in order.
//!
//! First the frames of all segments are read; signatures are looked at only
//! when the files are whole, because a changed byte is found much cheaper there.
//! What one entry or head says of itself is looked at on all cores (see
//! [`look`]); what it must be beside the others follows in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::Path;

use ledger_core::merkle::Frontier;
use ledger_core::payload::Kind;
use ledger_core::segment::SegmentHeader;
use ledger_core::vertex::Commitment;
use ledger_core::{
    Address, Atom, AtomId, Directory, EpochChange, Epochs, Field as _, HeadId, Hlc, KnownKeys,
    Particle, ParticleId, ParticleStates, Payload, PublicKey, Universe, UniverseId, VertexId,
};

use crate::Expectation;
use crate::hands;
use crate::look::{Look, LookedEntry, LookedHead, Part, look, parts_of, some_batches};
use crate::reader::{self, Batch, Found, SEGMENT};
use crate::report::{CHECKS, Check, CheckName, Report, Status};

/// Counts and first failures, by check.
#[derive(Default)]
struct Tally {
    counts: BTreeMap<CheckName, u64>,
    failures: BTreeMap<CheckName, (String, String)>,
    remarks: BTreeMap<CheckName, String>,
}

impl Tally {
    /// Counts one more thing and notes the first for which `holds` is false.
    fn note(&mut self, name: CheckName, holds: bool, place: &str, what: &str) {
        *self.counts.entry(name).or_default() += 1;
        if !holds {
            self.failures
                .entry(name)
                .or_insert_with(|| (place.to_owned(), what.to_owned()));
        }
    }

    /// As `note`; the failure is an error's own words.
    fn judge<T, E: std::fmt::Display>(
        &mut self,
        name: CheckName,
        place: &str,
        result: Result<T, E>,
    ) -> Option<T> {
        match result {
            Ok(value) => {
                self.note(name, true, place, "");
                Some(value)
            }
            Err(e) => {
                self.note(name, false, place, &e.to_string());
                None
            }
        }
    }
}

/// Verifies the files in `folder`.
pub(crate) fn run(folder: &Path, expected: &Expectation, cores: NonZeroUsize) -> Report {
    let mut walk = Walk::new(expected, cores);
    // `None` only says that a check failed; the tally knows which.
    let finished = walk.all(folder).is_some();
    walk.report(finished)
}

/// The state of the verification after a prefix of the log.
struct Walk<'a> {
    expected: &'a Expectation,
    cores: NonZeroUsize,
    tally: Tally,
    universe_id: Option<UniverseId>,
    entries: u64,
    root: Option<[u8; 32]>,
    kinds: BTreeMap<&'static str, u64>,
    closed: bool,
    tail_bytes: u64,
}

/// What the next entry must continue.
struct Chain<'u> {
    universe: &'u Universe,
    directory: &'u Directory,
    known: &'u KnownKeys,
    id: UniverseId,
    /// The node of this log, known from its first vertex or head.
    node: Option<(Address, PublicKey, u64)>,
    frontier: Frontier,
    last_vertex: VertexId,
    last_head: HeadId,
    committed: Commitment,
    hlc: Hlc,
    authors: BTreeMap<Address, (u64, AtomId)>,
    atoms: BTreeMap<AtomId, Kind>,
    /// For each device the highest epoch, and to whom it was granted.
    authorities: ledger_core::Authorities,
    particles: ParticleStates,
    /// Which reading put up metered energy that was not minted yet.
    attested: BTreeMap<ParticleId, AtomId>,
    /// The configuration epoch of the latest vertex.
    epoch: u64,
    /// The epochs whose change stands in the log so far.
    begun: BTreeSet<u64>,
}

impl<'a> Walk<'a> {
    fn new(expected: &'a Expectation, cores: NonZeroUsize) -> Walk<'a> {
        Walk {
            expected,
            cores,
            tally: Tally::default(),
            universe_id: None,
            entries: 0,
            root: None,
            kinds: BTreeMap::new(),
            closed: false,
            tail_bytes: 0,
        }
    }

    fn all(&mut self, folder: &Path) -> Option<()> {
        let genesis = self.universe(folder)?;
        let epochs = self.epochs(folder, &genesis)?;
        let (universe, id) = (epochs.view(), epochs.id());
        let segments = self.frames(folder)?;
        let directory = Directory::of(&epochs);
        let frontier = Frontier::new(id);
        let committed = Commitment {
            size: 0,
            root: frontier.root(),
        };
        let mut chain = Chain {
            universe: &universe,
            directory: &directory,
            known: &KnownKeys::of_universe(&universe),
            id,
            node: None,
            frontier,
            last_vertex: VertexId::NONE,
            last_head: HeadId::NONE,
            committed,
            hlc: Hlc::default(),
            authors: BTreeMap::new(),
            atoms: BTreeMap::new(),
            authorities: ledger_core::Authorities::default(),
            particles: ParticleStates::default(),
            attested: BTreeMap::new(),
            epoch: 0,
            begun: BTreeSet::new(),
        };
        for segment in &segments {
            self.segment(folder, segment, &mut chain)?;
        }
        self.entries = chain.frontier.size();
        self.root = Some(chain.frontier.root());
        self.end();
        Some(())
    }

    fn universe(&mut self, folder: &Path) -> Option<Universe> {
        let place = "universe.json";
        let text = std::fs::read_to_string(folder.join(place));
        let text = self.tally.judge(CheckName::Universe, place, text)?;
        let universe = self
            .tally
            .judge(CheckName::Universe, place, Universe::from_json(&text))?;
        let id = self
            .tally
            .judge(CheckName::Universe, place, universe.id())?;
        self.universe_id = Some(id);
        if let Some(expected) = self.expected.universe {
            let what = format!("it is universe {id}, expected {expected}");
            self.tally
                .note(CheckName::Universe, id == expected, place, &what);
        }
        Some(universe)
    }

    /// Follows the later configurations beside the log, each by the one before.
    fn epochs(&mut self, folder: &Path, genesis: &Universe) -> Option<Epochs> {
        let name = CheckName::Universe;
        let epochs = Epochs::genesis(genesis);
        let mut epochs = self.tally.judge(name, "universe.json", epochs)?;
        loop {
            let file = format!("epoch-{:08}.cbor", epochs.last() + 1);
            let bytes = match std::fs::read(folder.join(&file)) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Some(epochs),
                bytes => self.tally.judge(name, &file, bytes)?,
            };
            let change = EpochChange::from_bytes(&bytes);
            let change = self.tally.judge(name, &file, change)?;
            self.tally.judge(name, &file, epochs.follow(&change))?;
        }
    }

    /// Reads the frames of all segments; gives each segment's name, number and
    /// the length of its finished batches.
    fn frames(&mut self, folder: &Path) -> Option<Vec<(String, u64, usize)>> {
        let listed = std::fs::read_dir(folder).and_then(|entries| {
            entries
                .map(|e| Ok(e?.file_name().to_string_lossy().into_owned()))
                .collect::<std::io::Result<Vec<_>>>()
        });
        let mut names = self.tally.judge(CheckName::Frames, "ledger", listed)?;
        names.retain(|name| name.starts_with("segment-"));
        names.sort();
        self.tally.note(
            CheckName::Frames,
            !names.is_empty(),
            "ledger",
            "there is no segment",
        );
        let mut segments = Vec::with_capacity(names.len());
        let mut next_clock = 1;
        for (number, name) in (1u64..).zip(&names) {
            let expected = format!("segment-{number:08}.log");
            let what = format!("{expected} is missing");
            self.tally
                .note(CheckName::Frames, *name == expected, name, &what);
            let bytes =
                self.tally
                    .judge(CheckName::Frames, name, std::fs::read(folder.join(name)))?;
            let is_last = number == names.len() as u64;
            // Only the lengths of number and clock matter here, not the ids.
            let whole =
                SegmentHeader::new(number, UniverseId::NONE, next_clock, HeadId::NONE).to_bytes();
            let header_bytes = reader::FRAME_HEAD + whole.map_or(0, |bytes| bytes.len());
            let end = self.frames_of(name, &bytes, is_last, header_bytes, &mut next_clock)?;
            segments.push((name.clone(), number, end));
        }
        self.tally.failures.is_empty().then_some(segments)
    }

    /// Reads the frames of one segment whose header has `header_bytes`; gives
    /// the length of its finished batches and moves `next_clock` behind them.
    fn frames_of(
        &mut self,
        name: &str,
        bytes: &[u8],
        is_last: bool,
        header_bytes: usize,
        next_clock: &mut u64,
    ) -> Option<usize> {
        let mut damage = |at: usize, what: &str| {
            self.tally.note(
                CheckName::Frames,
                false,
                &format!("{name} at byte {at}"),
                what,
            );
            None
        };
        let header = reader::frame(bytes, 0).filter(|f| f.kind == SEGMENT);
        let Some(header) = header else {
            // A header that was begun and not finished, or is blank.
            let is_torn = bytes.len() < header_bytes || bytes.iter().all(|b| *b == 0);
            if is_last && is_torn {
                self.tail_bytes = bytes.len() as u64;
                return Some(0);
            }
            return damage(0, "the segment header does not read");
        };
        let mut at = header.end();
        let mut count = 1;
        while at < bytes.len() {
            match reader::batch(bytes, at) {
                Found::Batch(batch) => {
                    count += 3 + batch.entries.len() as u64;
                    *next_clock += batch.entries.len() as u64;
                    at = batch.end;
                }
                Found::Tail if is_last => {
                    self.tail_bytes = (bytes.len() - at) as u64;
                    break;
                }
                Found::Tail => return damage(at, "a batch is cut off, and segments follow it"),
                Found::Damage { at, what } => return damage(at, what),
            }
        }
        *self.tally.counts.entry(CheckName::Frames).or_default() += count;
        Some(at)
    }

    fn segment(
        &mut self,
        folder: &Path,
        segment: &(String, u64, usize),
        chain: &mut Chain<'_>,
    ) -> Option<()> {
        let (name, number, end) = segment;
        if *end == 0 {
            return Some(());
        }
        let bytes = self
            .tally
            .judge(CheckName::Frames, name, std::fs::read(folder.join(name)))?;
        let place = format!("{name} at byte 0");
        let header = reader::frame(&bytes, 0)?;
        let expected = SegmentHeader::new(
            *number,
            chain.id,
            chain.frontier.size() + 1,
            chain.last_head,
        );
        let found = SegmentHeader::from_bytes(header.payload);
        let found = self.tally.judge(CheckName::Canonical, &place, found)?;
        self.tally.note(
            CheckName::Frames,
            found == expected,
            &place,
            "the segment does not follow the one before",
        );
        let mut at = header.end();
        let (universe, directory, cores) = (chain.universe, chain.directory, self.cores);
        let known = chain.known;
        let mut looked_at: Option<(Vec<Batch<'_>>, Vec<Look>)> = None;
        loop {
            let batches = some_batches(&bytes[..*end], &mut at)?;
            let parts = batches.iter().flat_map(parts_of);
            let parts: Vec<Part<'_>> = parts.collect();
            let work = |part: &Part<'_>| look(part, universe, directory, known);
            let meanwhile = || match looked_at.take() {
                Some((batches, looks)) => self.follow(name, &batches, looks, chain),
                None => Some(()),
            };
            let (looks, followed) = hands::many(cores, &parts, work, meanwhile);
            followed?;
            if batches.is_empty() {
                return Some(());
            }
            looked_at = Some((batches, looks));
        }
    }

    /// Follows the chain through batches whose parts were looked at.
    fn follow(
        &mut self,
        file: &str,
        batches: &[Batch<'_>],
        looks: Vec<Look>,
        chain: &mut Chain<'_>,
    ) -> Option<()> {
        let mut looks = looks.into_iter();
        for batch in batches {
            self.batch(file, batch, &mut looks, chain)?;
        }
        Some(())
    }

    fn batch(
        &mut self,
        file: &str,
        batch: &Batch<'_>,
        looks: &mut impl Iterator<Item = Look>,
        chain: &mut Chain<'_>,
    ) -> Option<()> {
        let place = format!("{file} at byte {}", batch.at);
        let next_clock = chain.frontier.size() + 1;
        let what = "the batch begins with another clock";
        self.tally.note(
            CheckName::Clock,
            batch.first_clock == next_clock,
            &place,
            what,
        );
        for frame in &batch.entries {
            let place = format!("{file} at byte {}", frame.at);
            let Some(Look::Entry(entry)) = looks.next() else {
                return None;
            };
            let entry = self.tally.judge(CheckName::Canonical, &place, *entry)?;
            self.entry(&entry, chain);
        }
        let place = format!("{file} at byte {}", batch.head.at);
        let Some(Look::Head(head)) = looks.next() else {
            return None;
        };
        let head = self.tally.judge(CheckName::Canonical, &place, *head)?;
        self.head(&head, batch, &place, chain)
    }

    fn entry(&mut self, looked: &LookedEntry, chain: &mut Chain<'_>) {
        let entry = &looked.entry;
        let (vertex, body) = (&entry.vertex, entry.atom.body());
        if let Payload::Epoch(change) = &body.payload {
            chain.begun.insert(change.number);
        }
        let clock = chain.frontier.size() + 1;
        let place = &format!("clock {clock}");
        let tally = &mut self.tally;
        *self.kinds.entry(body.kind().name()).or_default() += 1;

        tally.note(
            CheckName::Clock,
            vertex.l == clock,
            place,
            &format!("the vertex says {}", vertex.l),
        );
        let vertex_rules = [
            (
                chain.node_is(&vertex.node, vertex.incarnation),
                "it is of another node or incarnation",
            ),
            (
                vertex.prev == chain.last_vertex,
                "it does not follow the vertex before",
            ),
            (
                vertex.c == chain.committed,
                "it names another head than the one before",
            ),
            (vertex.n >= chain.epoch, "its configuration epoch falls"),
            (
                chain.may_be_in(vertex.n),
                "its node does not belong to the configuration of its epoch, or that has not begun",
            ),
            (
                vertex.locks == downs(&body.particles),
                "it does not lock what the atom takes down",
            ),
        ];
        for (holds, what) in vertex_rules {
            tally.note(CheckName::Vertices, holds, place, what);
        }
        if let Some((node, key, _)) = chain.node {
            let verified = match node == vertex.node {
                true => looked.by_node,
                false => entry.verify_vertex(&key),
            };
            tally.judge(CheckName::Signatures, place, verified);
        }
        tally.judge(CheckName::Signatures, place, looked.by_author.as_ref());

        tally.note(
            CheckName::Signatures,
            chain.directory.knows(&body.author),
            place,
            "the author is not in the universe",
        );
        let kind = body.kind();
        tally.note(
            CheckName::Roles,
            chain
                .directory
                .may_author(body.config_epoch, &body.author, kind),
            place,
            "no role of the author allows this kind",
        );
        tally.note(
            CheckName::Roles,
            body.config_epoch <= vertex.n,
            place,
            "the atom is of a later configuration epoch than its vertex",
        );

        // Only a node that keeps the author's shard sees the whole sequence.
        let keeps = chain.keeps(&body.author);
        let before = chain.authors.get(&body.author);
        let follows = !keeps
            || body.author_seq == before.map_or(0, |(seq, _)| *seq) + 1
                && body.prev == before.map(|(_, id)| *id);
        tally.note(
            CheckName::Sequences,
            follows,
            place,
            "it does not follow the author's atom before",
        );

        let max = ledger_core::atom::DESTINATIONS_MAX;
        let destinations = body
            .payload
            .destinations(&chain.id, &body.author, &body.particles, max);
        let fits = destinations == body.destinations;
        tally.note(
            CheckName::Destinations,
            fits,
            place,
            "they are not those of author and subjects",
        );

        let is_new = !chain.atoms.contains_key(&entry.atom.id());
        tally.note(
            CheckName::References,
            is_new,
            place,
            "the atom stands in the log already",
        );
        let deps = body.deps.iter().map(|id| (*id, None));
        // Among several nodes what is named may be kept by others.
        let is_alone = chain.universe.federation.is_none();
        for (id, kind) in body.payload.references().into_iter().chain(deps) {
            let found = chain.atoms.get(&id);
            let of_kind = |found: &Kind| kind.is_none_or(|kind| kind == *found);
            let fits = found.map_or(!is_alone, of_kind);
            tally.note(
                CheckName::References,
                fits,
                place,
                &format!("atom {id} is not before it, or of another kind"),
            );
        }

        if let Payload::Dispatch(dispatch) = &body.payload {
            // Among several nodes another's command of a past epoch is witnessed as a fact; who
            // fences is the node that takes a command.
            let checked = match is_alone {
                true => chain.authorities.check(&body.author, dispatch),
                false => Ok(()),
            };
            tally.judge(CheckName::Authority, place, checked);
        }
        chain.authorities.note(&body.payload);
        let particles = &mut chain.particles;
        let applied = match keeps {
            true => particles.apply(&chain.id, kind, &body.author, &body.particles),
            false => particles.observe(&chain.id, &body.particles),
        };
        tally.judge(CheckName::Particles, place, applied);
        chain.particles.settle();
        if let Some(holds) = chain.follows_its_reading(&entry.atom) {
            let what = "it mints what another reading has attested than it names";
            tally.note(CheckName::Particles, holds, place, what);
        }
        // What others wrote may be older than what this node saw last.
        let rises = match is_alone {
            true => chain.hlc < body.hlc && body.hlc < vertex.hlc,
            false => chain.hlc < vertex.hlc && body.hlc < vertex.hlc,
        };
        tally.note(CheckName::Time, rises, place, "the clock does not rise");

        chain.hlc = vertex.hlc.max(chain.hlc);
        chain.epoch = vertex.n.max(chain.epoch);
        chain.last_vertex = entry.vertex_id;
        chain
            .authors
            .insert(body.author, (body.author_seq, entry.atom.id()));
        chain.atoms.insert(entry.atom.id(), body.kind());
        chain.frontier.push(looked.leaf);
        if let Some((size, root)) = self.expected.head
            && size == clock
        {
            let holds = chain.frontier.root() == root;
            self.tally.note(
                CheckName::KnownHead,
                holds,
                place,
                "the root differs from the known one",
            );
        }
    }

    fn head(
        &mut self,
        looked: &LookedHead,
        batch: &Batch<'_>,
        place: &str,
        chain: &mut Chain<'_>,
    ) -> Option<()> {
        let (signed, head) = (&looked.signed, &looked.signed.head);
        let id = self
            .tally
            .judge(CheckName::Canonical, place, head.id(&chain.id))?;
        let rules = [
            (
                chain.node_is(&head.node, head.incarnation),
                "it is of another node or incarnation",
            ),
            (
                head.size == chain.frontier.size(),
                "it counts other entries",
            ),
            (
                head.root == chain.frontier.root(),
                "its root is not that of the entries",
            ),
            (
                head.last_vertex == chain.last_vertex,
                "it names another vertex",
            ),
            (
                head.prev == chain.last_head,
                "it does not follow the head before",
            ),
            (
                batch.head_id == id.0,
                "the end of the batch names another head",
            ),
            (
                !batch.entries.is_empty() || head.closed,
                "it closes nothing and covers no new entry",
            ),
        ];
        for (holds, what) in rules {
            self.tally.note(CheckName::Heads, holds, place, what);
        }
        if let Some((node, key, _)) = chain.node {
            let verified = match node == head.node {
                true => looked.by_node,
                false => signed.verify(&chain.id, &key),
            };
            self.tally.judge(CheckName::Signatures, place, verified);
        }
        self.tally.note(
            CheckName::Time,
            head.hlc > chain.hlc,
            place,
            "the clock does not rise",
        );
        chain.hlc = head.hlc.max(chain.hlc);
        chain.committed = Commitment {
            size: head.size,
            root: head.root,
        };
        chain.last_head = id;
        self.closed = head.closed;
        Some(())
    }

    fn end(&mut self) {
        let place = format!("clock {}", self.entries);
        // A tail means that somebody wrote after the close.
        self.closed &= self.tail_bytes == 0;
        let holds = self.closed || !self.expected.closed;
        self.tally.note(
            CheckName::End,
            holds,
            &place,
            "the log was not closed in good order here",
        );
        let tail = match self.tail_bytes {
            0 => String::new(),
            n => format!("; tail: {n} bytes not committed"),
        };
        let remark = match self.closed {
            true => "closed".to_owned(),
            false => format!("not closed{tail}"),
        };
        self.tally.remarks.insert(CheckName::End, remark);
        if let Some((size, _)) = self.expected.head {
            let what = format!("the known head has {size} entries");
            let holds = (1..=self.entries).contains(&size);
            self.tally.note(CheckName::KnownHead, holds, &place, &what);
        }
    }

    fn report(self, finished: bool) -> Report {
        let mut tally = self.tally;
        let mut check = |name: CheckName| {
            let status = match tally.failures.remove(&name) {
                Some((place, what)) => Status::Failed { place, what },
                None if finished => Status::Ok {
                    remark: tally.remarks.remove(&name),
                },
                None => Status::Undecided,
            };
            Check {
                name,
                status,
                count: tally.counts.get(&name).copied().unwrap_or(0),
            }
        };
        let asked =
            |name: &CheckName| *name != CheckName::KnownHead || self.expected.head.is_some();
        Report {
            checks: CHECKS
                .iter()
                .map(|(name, _)| *name)
                .filter(asked)
                .map(&mut check)
                .collect(),
            universe_id: self.universe_id.map(|id| id.to_string()),
            entries: self.entries,
            root: self.root.map(|root| ledger_core::hash::hex(&root)),
            kinds: self.kinds,
            closed: self.closed,
            tail_bytes: self.tail_bytes,
        }
    }
}

/// What particles are taken down, sorted.
fn downs(particles: &[Particle]) -> Vec<ParticleId> {
    let downs = particles.iter().filter_map(|particle| match particle {
        Particle::Down(id) => Some(*id),
        Particle::Up(_) => None,
    });
    let mut downs: Vec<ParticleId> = downs.collect();
    downs.sort_unstable();
    downs.dedup();
    downs
}

impl Chain<'_> {
    /// Notes what a reading attests; of a mint whether all that it takes down was put
    /// up by the reading that it names.
    fn follows_its_reading(&mut self, atom: &Atom) -> Option<bool> {
        let body = atom.body();
        match &body.payload {
            Payload::MeterReading(_) => {
                let ups = body.particles.iter().filter_map(|particle| match particle {
                    Particle::Up(up) => up.id(&self.id).ok(),
                    Particle::Down(_) => None,
                });
                self.attested.extend(ups.map(|up| (up, atom.id())));
                None
            }
            Payload::Mint(mint) => {
                let of = downs(&body.particles).into_iter();
                let of: Vec<_> = of.map(|down| self.attested.remove(&down)).collect();
                // Among several nodes the reading may be kept by others.
                Some(
                    of.into_iter()
                        .flatten()
                        .all(|reading| reading == mint.reading),
                )
            }
            _ => None,
        }
    }

    /// Whether the node of this log keeps the shard of an address.
    fn keeps(&self, address: &Address) -> bool {
        let node = self
            .node
            .and_then(|(node, _, _)| self.directory.node(&node));
        node.is_some_and(|node| self.directory.serves(node, address))
    }

    /// Whether the node of this log may be in a configuration epoch here: it belongs
    /// to it, and has either joined with it or has its change in the log.
    fn may_be_in(&self, epoch: u64) -> bool {
        let node = self
            .node
            .and_then(|(node, _, _)| self.directory.node(&node));
        let is_member = |epoch: u64| node.is_some_and(|n| self.directory.is_member(epoch, n));
        let Some(before) = epoch.checked_sub(1) else {
            return is_member(0);
        };
        is_member(epoch) && (self.begun.contains(&epoch) || !is_member(before))
    }

    /// Whether this is the node of the log. The first one that the universe
    /// names becomes it.
    fn node_is(&mut self, address: &Address, incarnation: u64) -> bool {
        if self.node.is_none() {
            let member = self.universe.node_at(&self.id, address);
            self.node = member.map(|m| (*address, m.key, incarnation));
        }
        self.node
            .is_some_and(|(node, _, life)| node == *address && life == incarnation)
    }
}
