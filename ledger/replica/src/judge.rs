//! Whether an atom may be witnessed: now, later, or never.
//!
//! The rules stand in a table; the first that does not hold decides. A rule that
//! may come to hold makes the atom wait. A rule that is broken for good is a
//! refusal, and where the author has contradicted itself, evidence.

use std::collections::BTreeMap;

use ledger_core::atom::DESTINATIONS_MAX;
use ledger_core::{
    Address, Atom, AtomId, Directory, Hlc, Level, Particle, ParticleId, ParticleStates, Universe,
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
    pub universe: &'a Universe,
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
        if !self
            .directory
            .may_author(self.universe, &body.author, body.kind())
        {
            return never("the author may not write this kind");
        }
        if body.config_epoch != 0 {
            return never("the atom is of another configuration epoch");
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
    let particles = atom.body().particles.iter();
    let mut downs: Vec<ParticleId> = particles
        .filter_map(|particle| match particle {
            Particle::Down(id) => Some(*id),
            Particle::Up(_) => None,
        })
        .collect();
    downs.sort_unstable();
    downs
}
