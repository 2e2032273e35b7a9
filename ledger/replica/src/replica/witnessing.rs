//! What becomes an entry of this node's log, and what others have made one of
//! theirs.

use std::sync::Arc;

use ledger_core::payload::Payload;
use ledger_core::{Atom, AtomId, Contradiction, Entry, Kind, Particle};
use ledger_node::mirror::without_other_shards;
use ledger_node::{AppendError, AtomDraft, Record, Refusal, Row};

use super::{Effect, Replica};
use crate::judge::{Bench, Verdict, downs};
use crate::message::Message;
use crate::waiting::{BATCH_ENTRIES_MAX, Excluded};

/// What the replica judges with; a macro, since some of it is borrowed while the
/// rest of the replica changes.
macro_rules! bench {
    ($replica:expr, $now_utc_ns:expr) => {
        Bench {
            epochs: &$replica.epochs,
            directory: &$replica.directory,
            me: $replica.me,
            particles: $replica.log.particles(),
            place: &|author| $replica.log.place(author),
            accused: &|author| $replica.accused.contains_key(author),
            now_utc_ns: $now_utc_ns,
        }
    };
}

impl Replica {
    /// An entry of this node's own log.
    pub(super) fn entered(&mut self, entry: &Entry) {
        let atom = &entry.atom;
        self.taken.note(self.me, entry.vertex.l);
        let level = self.standings.entered(&self.directory, self.me, entry);
        if let Some(level) = level {
            let atom = atom.id();
            self.effects.push(Effect::Reached { atom, level });
        }
        self.heed(atom);
        self.waiting.forget(atom);
    }

    /// An entry of another node's log.
    pub(super) fn sighted(&mut self, node: usize, clock: u64, entry: Entry, now_utc_ns: i64) {
        let row = Row::of(&entry);
        let atom = entry.atom;
        self.taken.note(node, clock);
        if let Some(seen) = self.epochs_seen.get_mut(node) {
            *seen = row.vertex_epoch.max(*seen);
        }
        if let Err(e) = self.standings.holds(&self.known, &row, &atom) {
            // An honest node verifies before it witnesses.
            self.quarantined.insert(node);
            return self.faulty(node, format!("it has witnessed an atom: {e}"));
        }
        if !self.quarantined.contains(&node) {
            let level = self.standings.seen(&self.directory, &row, node);
            if let Some(level) = level {
                let atom = row.atom;
                self.effects.push(Effect::Reached { atom, level });
            }
        }
        let watch = self.standings.watch.as_mut();
        if let Some(clash) = watch.and_then(|watch| watch.note(&row, (node, clock))) {
            self.contest(clash, atom.clone());
        }
        // What others have shown counts before this node says a word.
        if self.standings.watch.is_some() && atom.body().kind() == Kind::FraudProof {
            self.heed(&atom);
        }
        let is_known = self
            .standings
            .get(&atom.id())
            .is_some_and(|s| s.clock.is_some());
        if is_known || !self.is_for(self.me, &atom) {
            return;
        }
        if !self.waiting.admit(atom, now_utc_ns) {
            let first = self.dropped_from.entry(node).or_insert(clock);
            *first = (*first).min(clock);
        }
    }

    /// Appends what was submitted and what may be witnessed, as one batch.
    pub(super) fn append(&mut self, now_utc_ns: i64) {
        let since = *self.signing_since_utc_ns.get_or_insert(now_utc_ns);
        let seen = self.choose(now_utc_ns, since);
        let mut groups: Vec<(i64, Vec<Record>)> = Vec::new();
        let mut tickets = Vec::new();
        let mut count = seen.len();
        for contradiction in std::mem::take(&mut self.to_publish) {
            if let Ok(payload) = contradiction.to_payload()
                && let Some(node) = self.universe.nodes.get(self.me)
            {
                let draft = AtomDraft::new(&node.name, Payload::FraudProof(payload));
                groups.push((now_utc_ns, vec![Record::Draft(Box::new(draft))]));
                tickets.push(None);
            }
        }
        if let Some(draft) = self.first_word() {
            groups.push((now_utc_ns, vec![Record::Draft(Box::new(draft))]));
            tickets.push(None);
        }
        while let Some((_, _, drafts)) = self.submitted.front() {
            count += drafts.len();
            if count > BATCH_ENTRIES_MAX && count > drafts.len() {
                break;
            }
            if let Some((ticket, at, drafts)) = self.submitted.pop_front() {
                if let Some((draft, reason)) = self.refusal(&drafts, now_utc_ns) {
                    let result = Err(AppendError::Refused { draft, reason });
                    self.effects.push(Effect::Appended { ticket, result });
                    continue;
                }
                // From here on no other change is witnessed for that epoch.
                for draft in &drafts {
                    self.standings.lock_change(&draft.payload);
                }
                let records = drafts
                    .into_iter()
                    .map(|draft| Record::Draft(Box::new(draft)));
                groups.push((at, records.collect()));
                tickets.push(Some(ticket));
            }
        }
        let own = groups.len();
        let others = seen.clone();
        groups.extend(
            seen.into_iter()
                .map(|atom| (now_utc_ns, vec![Record::Seen(Box::new(atom))])),
        );
        if groups.is_empty() {
            return;
        }
        let appended = self.log.append_records(groups);
        for entry in &appended.entries {
            self.entered(entry);
        }
        for (at, result) in appended.results.into_iter().enumerate() {
            match (tickets.get(at), result) {
                (Some(Some(ticket)), result) => self.effects.push(Effect::Appended {
                    ticket: *ticket,
                    result,
                }),
                (None, Err(AppendError::Refused { reason, .. })) => {
                    let atom = &others[at - own];
                    self.standings.unlock_all(&downs(atom), &atom.id());
                    // A party of this node has just taken the place: it has said
                    // two things, and the next step shows both.
                    if matches!(reason, Refusal::OutOfSequence { .. }) {
                        continue;
                    }
                    self.waiting.forget(atom);
                    let (atom, why) = (atom.id(), reason.to_string());
                    self.effects.push(Effect::Refused { atom, why });
                }
                (_, Err(e)) => self.faulty(self.me, e.to_string()),
                (_, Ok(_)) => {}
            }
        }
        if appended.bytes.is_empty() {
            return;
        }
        let bytes: Arc<[u8]> = appended.bytes.into();
        // Nodes that keep the same get the same, made once.
        let mut made: Vec<(Vec<bool>, Arc<[u8]>)> = Vec::new();
        for to in (0..self.mirrors.len()).filter(|node| *node != self.me) {
            let entries = appended.entries.iter();
            let kept: Vec<bool> = entries.map(|e| self.is_for(to, &e.atom)).collect();
            let bytes = match made.iter().find(|(of, _)| *of == kept) {
                Some((_, bytes)) => Arc::clone(bytes),
                None if kept.iter().all(|is_kept| *is_kept) => Arc::clone(&bytes),
                None => match without_other_shards(&self.directory.id, &bytes, &kept) {
                    Some(bytes) => bytes.into(),
                    None => continue,
                },
            };
            made.push((kept, Arc::clone(&bytes)));
            let message = Message::Batch {
                node: self.me,
                more: false,
                bytes,
            };
            self.effects.push(Effect::Send { to, message });
        }
    }

    /// Why a submission cannot be taken, and which of its drafts is to blame: what
    /// it spends must be final, and not be spent by another atom.
    pub(super) fn refusal(
        &self,
        drafts: &[AtomDraft],
        now_utc_ns: i64,
    ) -> Option<(usize, Refusal)> {
        let of = |draft: &AtomDraft| {
            if draft.expiry_utc_ns.is_some_and(|at| at < now_utc_ns) {
                return Some(Refusal::Expired);
            }
            let author = self.log.author(&draft.author);
            if author.is_some_and(|author| self.accused.contains_key(&author)) {
                let author = draft.author.clone();
                return Some(Refusal::Accused { author });
            }
            if let Payload::Epoch(change) = &draft.payload
                && let Verdict::Never(why) =
                    bench!(self, now_utc_ns).change(change, &self.standings)
            {
                return Some(Refusal::Epoch { why });
            }
            draft.particles.iter().find_map(|particle| match particle {
                Particle::Down(particle) => match self.standings.lock(particle) {
                    Some(by) => Some(Refusal::Spent {
                        particle: *particle,
                        by,
                    }),
                    None => (!self.standings.is_final(particle)).then_some(Refusal::NotFinal {
                        particle: *particle,
                    }),
                },
                Particle::Up(_) => None,
            })
        };
        let mut changes = (0..).zip(drafts).filter(|(_, draft)| {
            let payload = &draft.payload;
            payload.kind() == Kind::Epoch
        });
        if let Some((at, _)) = changes.nth(1) {
            let why = "one at a time".to_owned();
            return Some((at, Refusal::Epoch { why }));
        }
        let mut refusals = drafts.iter().map(of).enumerate();
        refusals.find_map(|(at, refusal)| Some((at, refusal?)))
    }

    /// The waiting atoms that may be witnessed now. Those that never may are
    /// told of, and where their author has contradicted itself, that is, too.
    pub(super) fn choose(&mut self, now_utc_ns: i64, signing_since_utc_ns: i64) -> Vec<Atom> {
        let bench = bench!(self, now_utc_ns);
        let choice = self
            .waiting
            .choose(&bench, signing_since_utc_ns, &mut self.standings);
        for (atom, why) in choice.refused {
            self.effects.push(Effect::Refused { atom, why });
        }
        for excluded in choice.excluded {
            let Excluded { atom, by, spends } = excluded;
            let why = match spends {
                true => format!("it spends again what atom {by} has spent"),
                false => format!("its author wrote atom {by} for the same place"),
            };
            let id = atom.id();
            self.effects.push(Effect::Refused { atom: id, why });
            if let Some(other) = self.find(&by, &choice.witnessed) {
                let (one, other) = (Box::new(other), Box::new(atom));
                self.accuse(match spends {
                    true => Contradiction::TwoSpends(one, other),
                    false => Contradiction::TwoAtoms(one, other),
                });
            }
        }
        choice.witnessed
    }

    /// An atom that this node has witnessed, out of its log or of this batch.
    pub(super) fn find(&mut self, id: &AtomId, chosen: &[Atom]) -> Option<Atom> {
        if let Some(atom) = chosen.iter().find(|atom| atom.id() == *id) {
            return Some(atom.clone());
        }
        let clock = self.standings.get(id)?.clock?;
        self.log.atom_at(clock).ok().flatten()
    }
}
