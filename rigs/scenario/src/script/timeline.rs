//! When the steps of a script can come, as far as its text tells.
//!
//! A step comes at its moment, or when the one before it is over where that is later. How long a
//! wait takes only the run knows, so that each distance between two steps has a shortest and a
//! longest value. What is said to be impossible here is so for every length of every wait.
//! Times are nanoseconds, `i128` so that no sum of a file's times overflows.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Anchor, Moment, Step};

/// The steps of a script, as far as their times go.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Timeline {
    steps: Vec<Timed>,
    marks: BTreeMap<String, usize>,
}

#[derive(Clone, Debug, PartialEq)]
struct Timed {
    at: Moment,
    /// Longest time that it waits.
    wait_max: i128,
}

/// The least and the largest distance from what a bound is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Distance {
    least: i128,
    most: i128,
}

/// No distance at all.
const NOTHING: Distance = Distance { least: 0, most: 0 };

/// A distance that nothing is known of.
///
/// Chosen: far beyond every time that can be written, and far from where a sum would overflow.
const UNKNOWN: i128 = 1 << 100;

fn nanoseconds(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(UNKNOWN)
}

impl Timeline {
    /// Adds the next step.
    pub(crate) fn push(&mut self, step: &Step) {
        if let Some(mark) = &step.mark {
            self.marks.insert(mark.clone(), self.steps.len());
        }
        let wait = step.until.as_ref().map(|until| until.within);
        self.steps.push(Timed {
            at: step.at.clone(),
            wait_max: nanoseconds(wait.unwrap_or_default()),
        });
    }

    /// The last step, in the words of a moment that is to come behind it, where that moment lies before it.
    pub(crate) fn before_last(&self, moment: &Moment) -> Option<Moment> {
        let reference = match &moment.anchor {
            Anchor::Start => None,
            Anchor::Mark(mark) => self.marks.get(mark).copied(),
            Anchor::Previous | Anchor::End => return None,
        };
        let least = self.begins(reference).last()?.least;
        (i128::from(moment.offset_ns) < least).then(|| Moment {
            anchor: match reference {
                Some(_) => moment.anchor.clone(),
                None => Anchor::Start,
            },
            offset_ns: i64::try_from(least).unwrap_or(i64::MAX),
        })
    }

    /// The shortest time that the steps can take.
    pub(crate) fn least(&self) -> Duration {
        let least = self.begins(None).last().map_or(0, |last| last.least);
        Duration::from_nanos(u64::try_from(least).unwrap_or(u64::MAX))
    }

    /// How far at most a moment lies behind `anchor`, in nanoseconds; `None` where that cannot be told.
    ///
    /// A mark that is not one of these steps was set before the first of them. The end of the
    /// record hangs on what is looked at and is not told here.
    pub(crate) fn most_behind(&self, moment: &Moment, anchor: &Anchor) -> Option<i128> {
        let reference = self.reference(anchor)?;
        let before_start = -self.since_start(reference).least;
        let most = match &moment.anchor {
            Anchor::Start => before_start,
            Anchor::Mark(mark) => match (self.marks.get(mark), reference) {
                (None, _) => before_start,
                (Some(set), Some(reference)) if *set < reference => {
                    -self.begins(Some(*set)).get(reference - set)?.least
                }
                (Some(set), _) => {
                    let begins = self.begins(reference);
                    begins.get(set - reference.unwrap_or(0))?.most
                }
            },
            Anchor::Previous | Anchor::End => return None,
        };
        Some(most + i128::from(moment.offset_ns))
    }

    /// How far at most the end of the last step lies behind `anchor`, in nanoseconds.
    pub(crate) fn end_most_behind(&self, anchor: &Anchor) -> Option<i128> {
        let reference = self.reference(anchor)?;
        match self.steps.last() {
            None => Some(0),
            Some(last) => Some(self.begins(reference).last()?.most + last.wait_max),
        }
    }

    /// The step that an anchor is; `Some(None)` is the begin of the script.
    fn reference(&self, anchor: &Anchor) -> Option<Option<usize>> {
        match anchor {
            Anchor::Start => Some(None),
            Anchor::Mark(mark) => self.marks.get(mark).map(|index| Some(*index)),
            Anchor::Previous | Anchor::End => None,
        }
    }

    /// How far a step lies behind the begin of the script.
    fn since_start(&self, step: Option<usize>) -> Distance {
        step.and_then(|index| self.begins(None).get(index).copied())
            .unwrap_or(NOTHING)
    }

    /// When each step from `reference` on begins, counted from the begin of that one; without one,
    /// each step from the begin of the script.
    fn begins(&self, reference: Option<usize>) -> Vec<Distance> {
        let start = match reference {
            Some(_) => self.since_start(reference),
            None => NOTHING,
        };
        let first = reference.unwrap_or(0);
        let mut begins: Vec<Distance> = Vec::with_capacity(self.steps.len());
        let mut over = NOTHING;
        for (index, step) in self.steps.iter().enumerate().skip(first) {
            let anchor = match &step.at.anchor {
                Anchor::Start => Distance {
                    least: -start.most,
                    most: -start.least,
                },
                Anchor::Previous | Anchor::End => over,
                Anchor::Mark(mark) => match self.marks.get(mark) {
                    Some(set) if (first..index).contains(set) => begins[set - first],
                    // Set before what we count from, and how long before is not needed.
                    _ => Distance {
                        least: -UNKNOWN,
                        most: 0,
                    },
                },
            };
            let offset = i128::from(step.at.offset_ns);
            let begin = match reference {
                Some(reference) if index == reference => NOTHING,
                _ => Distance {
                    least: (anchor.least + offset).max(over.least),
                    most: (anchor.most + offset).max(over.most),
                },
            };
            begins.push(begin);
            over = Distance {
                least: begin.least,
                most: begin.most + step.wait_max,
            };
        }
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Origin, Until, UntilKind};

    /// Steps as moment, mark and longest wait in seconds.
    fn timeline(steps: &[(&str, &str, u64)]) -> Timeline {
        let mut timeline = Timeline::default();
        for (at, mark, wait) in steps {
            timeline.push(&Step {
                at: Moment::parse(at).expect("a moment"),
                actions: Vec::new(),
                mark: (!mark.is_empty()).then(|| (*mark).to_owned()),
                until: (*wait > 0).then(|| Until {
                    kind: UntilKind::Mode(model::Mode::Islanded),
                    within: Duration::from_secs(*wait),
                }),
                origin: Origin {
                    file: None,
                    line: 1,
                    rounds: Vec::new(),
                },
            });
        }
        timeline
    }

    #[test]
    fn a_step_that_lies_before_its_predecessor_is_told_whatever_the_waits_take() {
        type Row<'a> = (&'a [(&'a str, &'a str, u64)], &'a str, Option<&'a str>);
        let rows: [Row<'_>; 9] = [
            (&[("3s", "", 0)], "1s", Some("3s")),
            (&[("3s", "", 0)], "3s", None),
            (&[("5s", "", 0), ("+1s", "", 0)], "3s", Some("6s")),
            (&[("5s", "t0", 0)], "t0-2s", Some("t0")),
            (&[("5s", "t0", 0), ("+4s", "", 0)], "t0+3s", Some("t0+4s")),
            (&[("5s", "t0", 0), ("+4s", "", 0)], "t0+4s", None),
            (&[("0s", "t0", 60), ("+4s", "", 0)], "t0+5s", None),
            (&[("0s", "", 60), ("+4s", "t0", 0)], "t0-1s", Some("t0")),
            (&[("2s", "", 0)], "ready+1s", Some("2s")),
        ];
        for (steps, next, expected) in rows {
            let moment = Moment::parse(next).expect("a moment");
            let told = timeline(steps).before_last(&moment).map(|m| m.to_string());
            assert_eq!(told.as_deref(), expected, "{next} behind {steps:?}");
        }
    }

    #[test]
    fn a_distance_between_marks_does_not_hang_on_waits_before_both() {
        let steps: &[(&str, &str, u64)] = &[
            ("0s", "", 60),
            ("+1s", "t0", 0),
            ("+2s", "", 5),
            ("+1s", "t1", 0),
        ];
        let timeline = timeline(steps);
        let behind = |moment: &str, anchor: &str| {
            let moment = Moment::parse(moment).expect("a moment");
            let anchor = Moment::parse(anchor).expect("a moment").anchor;
            let most = timeline.most_behind(&moment, &anchor)?;
            Some(most as f64 / 1e9)
        };
        let rows = [
            ("t1", "t0", Some(8.0)),
            ("t0", "t1", Some(-3.0)),
            ("t1+1s", "start", Some(70.0)),
            ("2s", "t0", Some(1.0)),
            ("ready", "t0", Some(-1.0)),
            ("end", "t0", None),
            ("t0", "ready", None),
        ];
        for (moment, anchor, expected) in rows {
            assert_eq!(behind(moment, anchor), expected, "{moment} behind {anchor}");
        }
        let end = timeline.end_most_behind(&Anchor::Mark("t0".to_owned()));
        assert_eq!(end, Some(8_000_000_000));
        assert_eq!(timeline.least(), Duration::from_secs(4));
    }
}
