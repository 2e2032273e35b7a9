//! Lists of steps. Loops are written out here; each step keeps the place where it stands.

use std::ops::Range;

use document::{Spanned, Table};

use super::Reader;
use crate::codes;
use crate::script::moment::is_mark;
use crate::script::timeline::Timeline;
use crate::script::{Anchor, Moment, Step};

/// Steps and rounds of loops that a script may have when it is written out.
///
/// Chosen: a step each 45 s for a day; more is a mistake before it is a test.
const WRITTEN_OUT_MAX: usize = 2000;

/// Steps that all combinations of a file's matrix may have together.
///
/// Chosen: a hundred steps in each of a thousand combinations, which is some ten megabytes.
const OF_ALL_COMBINATIONS_MAX: usize = 100_000;

/// Steps that are read one after the other, with their times.
#[derive(Default)]
pub(super) struct Steps {
    steps: Vec<Step>,
    timeline: Timeline,
    is_bad: bool,
    written_out: usize,
}

impl Steps {
    /// The steps with their times; `None` when they cannot be carried out.
    pub(super) fn done(self) -> Option<(Vec<Step>, Timeline)> {
        (!self.is_bad).then_some((self.steps, self.timeline))
    }
}

impl Reader<'_> {
    /// The steps under `do`.
    pub(super) fn steps(&mut self, table: &Table<'_>) -> Option<(Vec<Step>, Timeline)> {
        let mut steps = Steps::default();
        self.add_steps(table, &mut steps);
        steps.done()
    }

    /// Adds the steps under `do`.
    pub(super) fn add_steps(&mut self, table: &Table<'_>, steps: &mut Steps) {
        for table in table.tables("do") {
            let place = table.span();
            if !self.has_room(steps, &place) {
                return;
            }
            if table.has("repeat") {
                self.repeat(table, steps);
                continue;
            }
            match self.step(table) {
                Some(step) => {
                    self.check_order(&steps.timeline, &step, place);
                    steps.timeline.push(&step);
                    steps.steps.push(step);
                }
                None => steps.is_bad = true,
            }
        }
    }

    /// Counts a step or round more, and tells of the first one that there is no room for.
    fn has_room(&self, steps: &mut Steps, place: &Range<usize>) -> bool {
        let each = OF_ALL_COMBINATIONS_MAX / self.combinations.max(1);
        let most = WRITTEN_OUT_MAX.min(each);
        steps.written_out += 1;
        if steps.written_out == most + 1 {
            let of = match self.combinations {
                0 | 1 => String::new(),
                several => format!(" in each of {several} combinations"),
            };
            steps.is_bad = true;
            self.document.error(
                codes::BAD_LOOP,
                place.clone(),
                format!("with its loops this script has more than {most} steps{of}"),
                "up to here",
                "take fewer rounds or combinations, or split the file",
            );
        }
        steps.written_out <= most
    }

    /// Writes a loop out.
    fn repeat(&mut self, table: Table<'_>, steps: &mut Steps) {
        // Chosen: the steps that a script may have are fewer anyway.
        let times = table.integer("repeat", 1..=1000).map(|times| times.value);
        let name = table.has("as").then(|| self.round_name(&table));
        if !table.has("do") {
            table.missing::<()>("do", "[{ at = \"+1s\", … }]");
        }
        let (Some(times), true, None | Some(Some(_))) = (times, table.has("do"), &name) else {
            steps.is_bad = true;
            // Its steps are not read, but nothing is wrong with their key.
            table.finish();
            return;
        };
        let name = name.flatten();
        for round in 1..=times {
            if !self.has_room(steps, &table.span()) {
                break;
            }
            if let Some(name) = &name {
                self.names.insert(name.clone(), round.to_string());
            }
            self.rounds.push(round);
            self.add_steps(&table, steps);
            self.rounds.pop();
        }
        if let Some(name) = &name {
            self.names.remove(name);
        }
        table.finish();
    }

    /// The name that stands for the number of the round in the texts of a loop.
    fn round_name(&self, table: &Table<'_>) -> Option<String> {
        let text = table.text("as")?;
        let fault = if !is_mark(&text.value) {
            format!("`{}` cannot name a round", text.value)
        } else if self.names.contains_key(&text.value) {
            format!("`{}` stands for something already", text.value)
        } else {
            return Some(text.value);
        };
        let help = "take another name: a letter, then letters, digits and underscores";
        self.document
            .error(codes::BAD_LOOP, text.span, fault, "", help);
        None
    }

    fn check_order(&self, timeline: &Timeline, step: &Step, place: Range<usize>) {
        if let Some(before) = timeline.before_last(&step.at) {
            self.document.error(
                codes::BACKWARDS,
                place,
                format!(
                    "this step is at {} and the one before it at {before} at the earliest",
                    step.at
                ),
                "earlier than the one before it",
                "put the steps in the order of time, or count from the previous one: \"+1s\"",
            );
        }
    }

    /// The moment of a step, which comes before the record can end.
    pub(super) fn step_at(&self, text: &Spanned<String>) -> Option<Moment> {
        let moment = self.moment(text, "+1s")?;
        if moment.anchor == Anchor::End {
            self.document.error(
                codes::BAD_MOMENT,
                text.span.clone(),
                "the record ends when the steps are over, and no step can count from its end",
                "",
                "write it as \"+1s\" or \"t0+1s\"",
            );
            return None;
        }
        Some(moment)
    }
}
