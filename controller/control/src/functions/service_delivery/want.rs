//! What a service is to give now, as a fraction of its contract: by the frequency, or by a signal.

use std::time::Duration;

use limiter::loop_delay::TooLate;
use model::{Event, Instant};
use services::Course;
use services::definition::Shape;

use super::super::loop_guard::LoopGuard;
use super::super::{Situation, Wishes};
use crate::reservation::ServiceSpec;

/// How long the last answer stands while the frequency is not known, beyond the age that its samples may have.
/// Chosen: 5 s, in which a bus that has lost its connection is there again, and a sixtieth of the
/// shortest reserve of energy of a service that is held for minutes.
const STANDS: Duration = Duration::from_secs(5);
/// Return of an answer to a frequency that stays unknown, or over a loop that is too slow, per second, where its service names neither
/// release nor ramp. Chosen: all of it within 5 s, as long as it stood.
const RELEASE_PER_S: f64 = 0.2;

/// What a service wants, and since when it is guessed.
#[derive(Clone, Debug, Default)]
pub(super) struct Want {
    /// The last set point of somebody, for a service that follows one.
    pub(super) signal: f64,
    /// What the last known frequency asked for, and when.
    known: Option<(Instant, f64)>,
    told: Sight,
    in_time: LoopGuard,
    /// The loop is too slow for it.
    too_late: Option<TooLate>,
}

/// How the frequency is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sight {
    /// It is, or nothing hangs on it.
    #[default]
    Clear,
    /// It is not: the last answer stands.
    Stands,
    /// It was not for too long: the answer returns.
    Returns,
}

impl Want {
    /// What is wanted now. To let go of an answer at once would step a frequency that nobody sees.
    pub(super) fn look(
        &mut self,
        s: &Situation<'_>,
        spec: &ServiceSpec,
        wishes: &mut Wishes,
    ) -> f64 {
        if spec.definition.shape == Shape::Signal {
            return self.signal;
        }
        if spec.definition.shape.closes_a_loop() {
            let what = format!("the service {}", spec.name);
            self.too_late = self.in_time.look(s, &what, wishes).err();
        }
        let seen = s.seen.f.and_then(|f| spec.definition.fraction(f));
        if let Some(wanted) = seen {
            self.known = Some((s.now, wanted));
        }
        let last = self.known.filter(|(_, wanted)| *wanted != 0.0);
        let (sight, wanted) = match (seen, last) {
            (Some(wanted), _) => (Sight::Clear, wanted),
            (None, None) => (Sight::Clear, 0.0),
            (None, Some((at, wanted))) if s.now.since(at) <= STANDS => (Sight::Stands, wanted),
            (None, Some(_)) => (Sight::Returns, 0.0),
        };
        if std::mem::replace(&mut self.told, sight) != sight {
            let name = &spec.name;
            let text = match sight {
                Sight::Clear => format!("the frequency is known again: {name} follows it"),
                Sight::Stands => format!(
                    "the frequency is not known: the last answer of {name} stands for {} s",
                    STANDS.as_secs()
                ),
                Sight::Returns => {
                    format!("the frequency is still not known: the answer of {name} returns")
                }
            };
            wishes.events.push(Event::Noticed { device: None, text });
        }
        match self.too_late {
            Some(_) => 0.0,
            None => wanted,
        }
    }

    /// Why the service is refused, if it is: then nothing of it is in reserve.
    pub(super) fn refused(&self) -> Option<TooLate> {
        self.too_late
    }

    /// How the answer moves now.
    pub(super) fn course(&self, spec: &ServiceSpec) -> Course {
        let course = spec.definition.course();
        match (self.told, self.too_late) {
            (Sight::Clear | Sight::Stands, None) => course,
            (Sight::Returns, _) | (_, Some(_)) => Course {
                release_per_s: course
                    .release_per_s
                    .or(course.ramp_per_s)
                    .or(Some(RELEASE_PER_S)),
                ..course
            },
        }
    }

    /// What was seen is of another situation; a set point stays.
    pub(super) fn forget(&mut self) {
        self.known = None;
        self.told = Sight::Clear;
        self.too_late = None;
    }
}
