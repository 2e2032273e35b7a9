//! What a scenario file says: steps, checks, and what is needed to run them.
//!
//! A scenario is read once for every combination of its matrix and becomes plain
//! data: moments, actions with values in base units, checks. Nothing here knows how a
//! step is carried out (see the runner) or judged (see [`crate::check`]).

mod keys;
mod mention;
mod moment;
mod read;
mod reference;
mod schema;
#[cfg(test)]
mod tests;
mod timeline;
mod until;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use emulator::course::Course;
use emulator::faults::Fault;
use model::{Agreement, Characteristic, ModeRequest, Role};

pub use mention::{Mention, Named};
pub use moment::{Anchor, Moment};
pub(crate) use read::nearest;
pub use read::{Loaded, read, read_fragment};
pub use reference::reference_page;
pub use schema::schema;
pub use until::{Progress, Until, UntilKind};

use runtime::Defect;

use crate::check::Check;
use crate::signal::Signal;
use crate::verdict::Expect;

/// A scenario, for one combination of its matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Name as written, with the matrix put in where it asks for it.
    pub name: String,
    /// File that it was read from, as the user gave it.
    pub file: String,
    /// Where the demands come from: standards' clauses, papers.
    pub source: Vec<String>,
    /// Words to select by.
    pub tags: Vec<String>,
    /// What the bench must have.
    pub need: Need,
    /// Rig to run on, a name or a path relative to the file; `None` = the caller's choice.
    pub rig: Option<String>,
    /// The combination of the matrix, by name.
    pub matrix: BTreeMap<String, String>,
    /// Names of the matrix that have one value only; no title shows them.
    pub fixed: BTreeSet<String>,
    /// Seed of everything random; `None` = the caller's choice.
    pub seed: Option<u64>,
    /// What makes the bench ready for the steps, in this order.
    pub setup: Vec<Phase>,
    /// Steps in the order in which they are carried out.
    pub steps: Vec<Step>,
    /// What puts the bench back once the record is over, also after a failure, in this order.
    pub teardown: Vec<Phase>,
    /// What is checked.
    pub checks: Vec<Check>,
    /// What happens at the end, whatever happened before.
    pub after: Option<After>,
    /// Whether the checks are expected to pass.
    pub expect: Expect,
    /// The device that is another one in this run, and is to be caught.
    pub mutant: Option<Mutant>,
    /// What it names of the bench, in the order of the places.
    pub mentions: Vec<Mention>,
}

/// Something that is wrong on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A device.
    Device {
        /// Which one.
        device: String,
        /// The part of its entry in the rig that is another one; all of it where none is named.
        part: Option<&'static str>,
        /// What is laid over that, as TOML.
        over: String,
    },
    /// The controller itself.
    Controller(Defect),
}

impl std::fmt::Display for Mutant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (device, der) = match self {
            Self::Controller(defect) => return write!(f, "controller: {}", defect.name()),
            Self::Device { device, over, .. } => (device, over),
        };
        let der = der.strip_prefix('{').unwrap_or(der);
        let der = der.strip_suffix('}').unwrap_or(der);
        // In one line, however it is broken over lines in the file.
        let words: Vec<&str> = der.split_whitespace().collect();
        write!(f, "{device}: {}", words.join(" "))
    }
}

impl Scenario {
    /// Name with what differs in this combination of the matrix, and the mutant: `FFR [loss=2%, soc=20%]`.
    #[must_use]
    pub fn title(&self) -> String {
        let combination = self.matrix.iter();
        let combination = combination.filter(|(name, _)| !self.fixed.contains(*name));
        let combination = combination.map(|(name, value)| format!("{name}={value}"));
        let mutant = self.mutant.iter().map(ToString::to_string);
        let special: Vec<String> = combination.chain(mutant).collect();
        if special.is_empty() {
            return self.name.clone();
        }
        format!("{} [{}]", self.name, special.join(", "))
    }

    /// The same run with a device that is wrong on purpose, which a check must catch.
    fn spoilt_by(&self, mutant: Mutant) -> Self {
        let mut spoilt = self.clone();
        spoilt.tags.push("mutants".to_owned());
        spoilt.expect = Expect::Fail;
        spoilt.mutant = Some(mutant);
        spoilt
    }

    /// The steps of setup, script and teardown.
    fn all_steps(&self) -> impl Iterator<Item = &Step> {
        let before = self.setup.iter().flat_map(|phase| &phase.steps);
        let behind = self.teardown.iter().flat_map(|phase| &phase.steps);
        before.chain(&self.steps).chain(behind)
    }

    /// Every signal that a check or a wait looks at, each once: what must be recorded.
    #[must_use]
    pub fn watched(&self) -> Vec<Signal> {
        let mut signals: Vec<Signal> = self
            .checks
            .iter()
            .flat_map(|check| check.kind.signals())
            .chain(
                self.all_steps()
                    .filter_map(|step| step.until.as_ref()?.signal()),
            )
            .cloned()
            .collect();
        signals.sort();
        signals.dedup();
        signals
    }
}

/// What the bench must have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Need {
    /// Least number of devices of a role.
    pub roles: Vec<(Role, u32)>,
    /// Whether frequency and voltage of the utility must be settable.
    pub grid_source: bool,
}

/// Steps before the script or behind it, with a deadline for all of them together.
///
/// Their moments count from the begin of the phase.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// Steps in the order in which they are carried out.
    pub steps: Vec<Step>,
    /// Time after which the bench has failed to get through them.
    pub within: Duration,
}

/// A step: what is done at a moment, and what is waited for then.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// When. Relative moments count from the end of the previous step.
    pub at: Moment,
    /// What is done, in this order, all at once.
    pub actions: Vec<Action>,
    /// Name given to this moment.
    pub mark: Option<String>,
    /// What is waited for; the step ends when it is met, without it at once.
    pub until: Option<Until>,
    /// Where it stands.
    pub origin: Origin,
}

/// Where a step stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file, where the scenario includes it.
    pub file: Option<String>,
    /// Line in its file, counted from 1.
    pub line: usize,
    /// The rounds of the loops around it, counted from 1, the outermost first.
    pub rounds: Vec<i64>,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}, ")?;
        }
        write!(f, "line {}", self.line)?;
        for round in &self.rounds {
            write!(f, ", round {round}")?;
        }
        Ok(())
    }
}

/// Something that a step does.
///
/// The runner decides who carries it out: a value of an emulated input (`grid.*`,
/// `*.available`, a load's `p`) goes to the bench, a device's `p`, `q` or `on` to the
/// controller as an operator's hold, which is limited like any other proposal.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Set as a starting condition.
    Set {
        /// What.
        signal: Signal,
        /// Value in the base unit of the signal.
        value: f64,
    },
    /// Stepped as the stimulus of the test; it is drawn in the report.
    Step {
        /// What.
        signal: Signal,
        /// Value in the base unit of the signal.
        value: f64,
    },
    /// Stepped for a time; then it is again what it was before.
    Pulse {
        /// What.
        signal: Signal,
        /// Value in the base unit of the signal.
        value: f64,
        /// How long.
        length: Duration,
    },
    /// Moved along a straight line. The step does not wait for its end.
    Ramp {
        /// What.
        signal: Signal,
        /// Final value in the base unit of the signal.
        to: f64,
        /// How long it takes.
        over: Duration,
    },
    /// A recorded course begun: each column moves as `Step` would, when its row comes.
    Play {
        /// The course.
        course: Arc<Course>,
        /// The signals of its columns.
        signals: Vec<Signal>,
    },
    /// Held by the controller for the operator, also where `Set` would mean an input.
    Hold {
        /// What: `p`, `q` or `on` of a device.
        signal: Signal,
        /// Value in the base unit of the signal.
        value: f64,
    },
    /// Let go by the operator.
    Release {
        /// Which device.
        device: String,
    },
    /// The plug of a device pulled, so that it hears nothing, or put back.
    Unplug {
        /// Which device.
        device: String,
        /// Whether its plug is out.
        out: bool,
    },
    /// A fault put in or taken away.
    Fault {
        /// Bus or device.
        subject: String,
        /// The fault's name.
        name: String,
        /// The fault; `None` takes the one of that name away.
        fault: Option<Fault>,
    },
    /// A change of mode asked for.
    Mode(ModeRequest),
    /// What is agreed with the utility from now on.
    Agree(Agreement),
    /// The part of the former handed to a unit.
    HandOver {
        /// Which unit.
        to: String,
    },
    /// A characteristic that a device is to follow by itself.
    Adopt {
        /// Which device.
        device: String,
        /// What it shall follow.
        characteristic: Characteristic,
        /// Time after which it shall give it up by itself.
        revert: Option<Duration>,
    },
}

/// What happens after the last step, also after a failure.
#[derive(Clone, Debug, PartialEq)]
pub struct After {
    /// Devices that are brought to rest.
    pub safe: Vec<String>,
    /// Time for it.
    pub within: Duration,
}
