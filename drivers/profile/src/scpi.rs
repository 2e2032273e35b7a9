//! SCPI profiles: queries that instruments answer, and messages that set them.
//!
//! Headers are written as a manual writes them, capitals for the short form
//! (`SOURce:FREQuency`): that is a valid long form for the instrument, and it tells the
//! emulator both forms.

use std::time::Duration;

use model::Point;

use crate::modbus::{CommsLoss, Poll, SerialSettings};

/// What an instrument says and takes.
#[derive(Clone, Debug, PartialEq)]
pub struct ScpiProfile {
    /// TCP port of the maker, unless the rig says otherwise.
    pub port: u16,
    /// Serial settings of the maker.
    pub serial: Option<SerialSettings>,
    /// Whether messages end with carriage return and line feed rather than line feed alone.
    /// Replies may end either way.
    pub crlf: bool,
    /// Time to wait for a reply.
    pub timeout: Duration,
    /// Silence to keep before each message.
    pub min_gap: Duration,
    /// Time to wait after connecting before the first message.
    pub connect_delay: Duration,
    /// Text that the reply to `*IDN?` must contain, whatever its case.
    pub identify: String,
    /// Messages that give control to the line. They go out once per connection, before the
    /// first setting, and never while nobody sets anything.
    pub remote: Vec<String>,
    /// Query that takes one entry from the error queue.
    pub errors: String,
    /// Values that are asked for.
    pub points: Vec<QueryPoint>,
    /// Settings.
    pub controls: Vec<Setting>,
}

/// A value in a reply. `value = number * factor` in the point's base unit, sign included.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryPoint {
    /// Canonical name.
    pub point: Point,
    /// The query.
    pub query: String,
    /// Which of the values in the reply, which commas part; the first is 0.
    pub field: usize,
    /// Factor to the base unit, with the vendor's sign in it.
    pub factor: f64,
    /// Values outside are not believed, in the base unit.
    pub range: (f64, f64),
    /// How often it is asked for.
    pub poll: Poll,
}

/// What can be set, and how it is proved.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Canonical name of what it sets.
    pub point: Point,
    /// The message.
    pub form: Form,
    /// Query that reads the setting back, in the same unit.
    pub readback: String,
    /// Factor from the instrument's number to the base unit, with the vendor's sign in it.
    pub factor: f64,
    /// Largest difference between setting and readback, in the base unit.
    pub tolerance: f64,
    /// What the instrument takes, in the base unit.
    pub range: Option<(f64, f64)>,
    /// Message that tells the instrument the rig's limits, with `{low}` and `{high}`: a second
    /// fence in the device itself.
    pub limit: Option<String>,
    /// Value for a safe end; `None` for a source, which goes back to the site's nominal values.
    pub safe: Option<f64>,
    /// Written again at this interval, so that the instrument's watchdog stays quiet.
    pub refresh: Option<Duration>,
    /// What the instrument does when it hears nothing more.
    pub comms_loss: CommsLoss,
}

/// How a setting is written.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// A number.
    Number {
        /// The message, with `{value}`.
        template: String,
        /// Digits behind the point.
        decimals: u8,
    },
    /// One message for 1, another for 0.
    Switch {
        /// Message for 1.
        on: String,
        /// Message for 0.
        off: String,
    },
}
