//! What a scenario names of the bench that it is to run on.

use document::Place;

use crate::signal::Signal;

/// Something of a bench, named at a place of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// What.
    pub named: Named,
    /// Where it is named.
    pub place: Place,
}

/// What a scenario can name of a bench.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// A signal that a check or a wait looks at.
    Measured(Signal),
    /// A signal that a step sets.
    Set(Signal),
    /// A signal that the controller is asked to hold.
    Held(Signal),
    /// A device.
    Device(String),
    /// A device or a bus that a fault is put into.
    Faulty(String),
    /// A participant of the market.
    Participant(String),
}
