//! The parts of a run that several runners have made, put together as if one had made them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::repeats;
use super::result::{LedgerSummary, RunResult, ScenarioResult, Status};
use crate::verdict::Verdict;

/// Which part of a run this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// The part, from 1.
    pub part: usize,
    /// Of how many.
    pub of: usize,
}

impl Shard {
    /// Whether a scenario falls to this part, by its place in the order of the whole run, from 0.
    #[must_use]
    pub fn takes(self, index: usize) -> bool {
        let (turn, place) = (index / self.of, index % self.of);
        part_at(turn, place, self.of) == self.part - 1
    }
}

/// Who is dealt to at a place of a turn, from 0, and at which place who is: there and back, since files
/// alternate between long and short ones, and then one part would have all the long ones.
fn part_at(turn: usize, place: usize, of: usize) -> usize {
    match turn.is_multiple_of(2) {
        true => place,
        false => of - 1 - place,
    }
}

/// Why parts do not make one run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MergeError {
    /// A run is whole already.
    #[error("{run} is not a part of a run")]
    Whole {
        /// Its name.
        run: String,
    },
    /// A part is not there.
    #[error("part {part} of {of} is missing")]
    Missing {
        /// The part.
        part: usize,
        /// Of how many.
        of: usize,
    },
    /// A part is there twice.
    #[error("part {part} of {of} is there twice")]
    Twice {
        /// The part.
        part: usize,
        /// Of how many.
        of: usize,
    },
    /// Parts were made in different ways.
    #[error("the parts differ in their {what}: {one} and {other}")]
    Differs {
        /// In what.
        what: &'static str,
        /// The one.
        one: String,
        /// The other.
        other: String,
    },
}

/// What all parts of a run must share, as name and text.
fn manner(part: &RunResult) -> [(&'static str, String); 5] {
    [
        ("version of gridrig", part.gridrig.clone()),
        ("rig", part.rig.clone()),
        ("far end of the buses", part.on.clone()),
        ("speed", part.speed.clone()),
        ("seed", part.seed.to_string()),
    ]
}

/// Puts parts together; `id` is the name of the whole run. Parts may come in any order.
///
/// # Errors
/// When they are not all the parts of one run.
pub fn merge(id: &str, mut parts: Vec<RunResult>) -> Result<RunResult, MergeError> {
    let shard = |part: &RunResult| {
        part.shard.ok_or_else(|| MergeError::Whole {
            run: part.id.clone(),
        })
    };
    for part in &parts {
        shard(part)?;
    }
    parts.sort_by_key(|part| part.shard.map_or(0, |s| s.part));
    let Some(first) = parts.first() else {
        return Err(MergeError::Missing { part: 1, of: 1 });
    };
    let of = shard(first)?.of;
    for part in &parts {
        let parts_of = shard(part)?.of;
        let others = [("number of parts", parts_of.to_string())];
        let ours = [("number of parts", of.to_string())];
        let ours = ours.into_iter().chain(manner(first));
        for ((what, one), (_, other)) in ours.zip(others.into_iter().chain(manner(part))) {
            if one != other {
                return Err(MergeError::Differs { what, one, other });
            }
        }
    }
    for wanted in 1..=of {
        let found = parts
            .iter()
            .filter(|p| p.shard.is_some_and(|s| s.part == wanted));
        match found.count() {
            0 => return Err(MergeError::Missing { part: wanted, of }),
            1 => {}
            _ => return Err(MergeError::Twice { part: wanted, of }),
        }
    }
    Ok(together(id, &parts))
}

fn together(id: &str, parts: &[RunResult]) -> RunResult {
    let mut whole = parts[0].clone();
    whole.id = id.to_owned();
    whole.shard = None;
    whole.parts = parts.iter().map(|part| part.id.clone()).collect();
    let began = parts.iter().map(|part| &part.started_utc).min();
    let ended = parts.iter().map(|part| &part.ended_utc).max();
    whole.started_utc = began.cloned().unwrap_or_default();
    whole.ended_utc = ended.cloned().unwrap_or_default();
    for part in &parts[1..] {
        whole.counters.add(&part.counters);
    }
    let dealt: Vec<_> = parts.iter().map(|part| &*part.scenarios).collect();
    whole.scenarios = in_turn(&dealt);
    whole.ledger = LedgerSummary::of_scenarios(&whole.scenarios);
    // A part whose runner was killed says so by its verdict; the whole has ended.
    whole.status = Status::Ended;
    whole.repeats = repeats::of(&whole.scenarios);
    // A part to which no scenario fell says so; the whole has none only if all parts say it.
    let worst = Verdict::worst(
        parts
            .iter()
            .map(|part| part.verdict)
            .filter(|v| *v != Verdict::NothingSelected),
    );
    let told = parts.iter().filter(|part| !part.why.is_empty());
    let told = told.filter(|part| part.verdict != Verdict::NothingSelected);
    let told: Vec<String> = told
        .map(|part| match part.shard {
            Some(shard) => format!("part {}: {}", shard.part, part.why),
            None => part.why.clone(),
        })
        .collect();
    whole.why = told.join("; ");
    let nothing = whole.scenarios.is_empty() && worst == Verdict::Pass;
    whole.judged(if nothing {
        Verdict::NothingSelected
    } else {
        worst
    })
}

/// The order of one run: its scenarios were dealt to the parts in turn, each with all its repetitions.
fn in_turn(parts: &[&[ScenarioResult]]) -> Vec<ScenarioResult> {
    let mut dealt: BTreeMap<(usize, usize), Vec<ScenarioResult>> = BTreeMap::new();
    for (part, scenarios) in parts.iter().enumerate() {
        let same =
            |a: &ScenarioResult, b: &ScenarioResult| (&a.file, &a.name) == (&b.file, &b.name);
        for (turn, repetitions) in scenarios.chunk_by(same).enumerate() {
            dealt.insert(
                (turn, part_at(turn, part, parts.len())),
                repetitions.to_vec(),
            );
        }
    }
    dealt.into_values().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scenario_falls_to_one_part_and_parts_take_turns_there_and_back() {
        let part_of = |index: usize, of: usize| {
            let takes = |part: &usize| Shard { part: *part, of }.takes(index);
            let found: Vec<usize> = (1..=of).filter(takes).collect();
            assert_eq!(found.len(), 1, "{index} of {of}");
            found[0]
        };
        let dealt = |of: usize| (0..7).map(|n| part_of(n, of)).collect::<Vec<_>>();
        assert_eq!(dealt(1), [1; 7]);
        assert_eq!(dealt(2), [1, 2, 2, 1, 1, 2, 2]);
        assert_eq!(dealt(3), [1, 2, 3, 3, 2, 1, 1]);
        // Back at its place: that is how a merge finds the order again.
        for (turn, place, of) in [(0, 1, 3), (1, 0, 3), (1, 2, 3), (7, 0, 1)] {
            assert_eq!(part_at(turn, part_at(turn, place, of), of), place);
        }
    }
}
