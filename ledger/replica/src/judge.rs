//! Whether an atom may be witnessed: now, later, or never.
//!
//! The rules stand in a table; the first that does not hold decides. A rule that
//! may come to hold makes the atom wait. A rule that is broken for good is a
//! refusal, and where the author has contradicted itself, evidence.

use std::collections::BTreeMap;

use ledger_core::atom::DESTINATIONS_MAX;
use ledger_core::{
    Address, Atom, AtomId, Directory, EpochChange, Epochs, Hlc, Level, Particle, ParticleId,
    ParticleStates, Payload,
};
use ledger_node::Place;

use crate::standing::Standings;

/// How far an atom's own time may be ahead of this node's.
/// Chosen: the ledger design, section 5: a second in a laboratory, where clocks
/// are kept by NTP or PTP. It keeps one author from carrying every clock away.
pub(crate) const AHEAD_MAX_MS: u64 = 1_000;

/// How long an atom waits for another that it names and that is not here.
/// Chosen: what it names may live in shards that are kept elsewhere, so it
/// cannot wait for ever; two seconds are four rounds of asking the others.
pub(crate) const DEPENDENCY_PATIENCE_NS: i64 = 2_000_000_000;

/// What to do about an atom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Witness it.
    Now,
    /// Something has to come first.
    Later,
    /// Never.
    Never(String),
    /// Never, and another atom of the same author excludes it.
    Excluded {
        /// The other one.
        by: AtomId,
        /// Whether both take one particle down; else they share a place.
        spends: bool,
    },
}

/// What every verdict of one batch depends on.
pub(crate) struct Bench<'a> {
    pub epochs: &'a Epochs,
    pub directory: &'a Directory,
    pub me: usize,
    pub particles: &'a ParticleStates,
    pub place: &'a dyn Fn(&Address) -> Option<Place>,
    pub accused: &'a dyn Fn(&Address) -> bool,
    pub now_utc_ns: i64,
}

/// Places that atoms of the batch that is being chosen have taken.
pub(crate) type Staged = BTreeMap<Address, Place>;

impl Bench<'_> {
    /// What to do about an atom whose signatures hold, and that was first seen
    /// here at `since_utc_ns`.
    pub(crate) fn judge(
        &self,
        atom: &Atom,
        since_utc_ns: i64,
        standings: &Standings,
        staged: &Staged,
    ) -> Verdict {
        let body = atom.body();
        let never = |why: &str| Verdict::Never(why.to_owned());
        let (written, now) = (body.config_epoch, self.directory.epoch());
        if written > now {
            return Verdict::Later;
        }
        if !self
            .directory
            .may_author(written, &body.author, body.kind())
        {
            return never("the author may not write this kind");
        }
        let destinations = body.payload.destinations(
            &self.directory.id,
            &body.author,
            &body.particles,
            DESTINATIONS_MAX,
        );
        if destinations != body.destinations {
            return never("the destinations are not those of author, subjects and owners");
        }
        let now_ms = Hlc::default().tick(self.now_utc_ns).utc_milliseconds();
        if body.hlc.utc_milliseconds() > now_ms + AHEAD_MAX_MS {
            return Verdict::Later;
        }
        // A quorum has decided already; this node follows.
        let is_final = standings.level(&atom.id()) == Some(Level::Final);
        if (self.accused)(&body.author) && !is_final {
            return never("the author has contradicted itself");
        }
        // What was written before a change is taken from whoever may still write it.
        if !is_final && !self.directory.may_author(now, &body.author, body.kind()) {
            return never(
                "the atom is of a past configuration epoch, and its author has left with it",
            );
        }
        let contested = standings.watch.as_ref();
        if !is_final && contested.is_some_and(|watch| watch.is_contested(&atom.id())) {
            return never(
                "another atom excludes it, and which came first was before this node joined",
            );
        }
        if let Payload::Epoch(change) = &body.payload {
            match self.change(change, standings) {
                Verdict::Now => {}
                verdict => return verdict,
            }
        }
        if !self.directory.serves(self.me, &body.author) {
            return Verdict::Now;
        }
        if let verdict @ (Verdict::Later | Verdict::Excluded { .. } | Verdict::Never(_)) =
            self.sequence(atom, standings, staged)
        {
            return verdict;
        }
        if let verdict @ (Verdict::Later | Verdict::Excluded { .. } | Verdict::Never(_)) =
            self.spends(atom, standings)
        {
            return verdict;
        }
        let references = body.payload.references();
        let named = body.deps.iter().chain(references.iter().map(|(id, _)| id));
        let mut missing = named.filter(|id| standings.get(id).is_none_or(|s| s.clock.is_none()));
        let patient = self.now_utc_ns.saturating_sub(since_utc_ns) < DEPENDENCY_PATIENCE_NS;
        match missing.next() {
            Some(_) if patient && !is_final => Verdict::Later,
            _ => Verdict::Now,
        }
    }

    /// One change for each epoch, and each behind the one before.
    pub(crate) fn change(&self, change: &EpochChange, standings: &Standings) -> Verdict {
        let last = self.epochs.last();
        if change.number > last + 1 {
            return Verdict::Later;
        }
        let is_this = |other: &EpochChange| {
            let one = (&other.prev, &other.configuration);
            one == (&change.prev, &change.configuration)
        };
        let at = (change.number - 1) as usize;
        if let Some(began) = self.epochs.changes().get(at) {
            return match is_this(began) {
                true => Verdict::Now,
                false => Verdict::Never(format!("epoch {} began otherwise", change.number)),
            };
        }
        let witnessed = standings.change(change.number);
        if witnessed.is_some_and(|(_, other)| !is_this(other)) {
            let number = change.number;
            return Verdict::Never(format!("another change stands for epoch {number}"));
        }
        match self.epochs.check(change) {
            Ok(_) => Verdict::Now,
            Err(e) => Verdict::Never(e.to_string()),
        }
    }

    /// One atom for each place, and each behind the one before.
    fn sequence(&self, atom: &Atom, standings: &Standings, staged: &Staged) -> Verdict {
        let body = atom.body();
        if let Some(other) = standings.slot(&body.author, body.author_seq) {
            return match other == atom.id() {
                true => Verdict::Never("the atom is witnessed".to_owned()),
                false => Verdict::Excluded {
                    by: other,
                    spends: false,
                },
            };
        }
        let place = staged.get(&body.author).copied();
        if let Some(staged) = place.filter(|place| place.seq == body.author_seq) {
            return Verdict::Excluded {
                by: staged.id,
                spends: false,
            };
        }
        let place = place.or_else(|| (self.place)(&body.author));
        let seq = place.map_or(0, |p| p.seq);
        if body.author_seq > seq + 1 {
            return Verdict::Later;
        }
        match body.author_seq == seq + 1 && body.prev == place.map(|p| p.id) {
            true => Verdict::Now,
            // The one before is another than the author says here: it wrote two.
            false => Verdict::Never("the atom follows another than the author's last".to_owned()),
        }
    }

    /// What is taken down is up, owned by the author, final, and not taken by
    /// another atom.
    fn spends(&self, atom: &Atom, standings: &Standings) -> Verdict {
        for particle in downs(atom) {
            if let Some(other) = standings.lock(&particle) {
                return Verdict::Excluded {
                    by: other,
                    spends: true,
                };
            }
            let Some(up) = self.particles.up(&particle) else {
                return Verdict::Later;
            };
            if up.owner != atom.body().author {
                return Verdict::Never(format!("particle {particle} is not the author's"));
            }
            if !standings.is_final(&particle) {
                return Verdict::Later;
            }
        }
        Verdict::Now
    }
}

/// What an atom takes down, sorted.
pub(crate) fn downs(atom: &Atom) -> Vec<ParticleId> {
    downs_of(&atom.body().particles)
}

/// What particles take down, sorted.
pub(crate) fn downs_of(particles: &[Particle]) -> Vec<ParticleId> {
    let downs = particles.iter().filter_map(|particle| match particle {
        Particle::Down(id) => Some(*id),
        Particle::Up(_) => None,
    });
    let mut downs: Vec<ParticleId> = downs.collect();
    downs.sort_unstable();
    downs
}
