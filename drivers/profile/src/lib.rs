//! Device profiles: what a device says and takes, as data.
//!
//! A profile is a TOML file: the driver, the emulator and the reference page all
//! read the same one. This crate owns its schema, its validation and the bundled
//! files; it does no I/O on a bus, and it neither encodes nor groups reads (see `bus`).
//!
//! # The file
//!
//! All files begin with `schema = 1` and a head:
//!
//! | `[profile]` | |
//! | --- | --- |
//! | `id`, `title`, `version` | identity `vendor/model`, a line for people, revision from 1 |
//! | `source` | list of the documents it was made from |
//! | `protocol` | `"modbus"`, `"can"`, `"mqtt"` or `"scpi"` |
//! | `opt_in` | `true`: nothing is written unless the rig's device says `allow_writes = true` |
//! | `sign` | direction that the vendor counts as positive: `"import+"`, `"export+"`, `"generation+"`, `"consumption+"`, `"discharge+"`, `"charge+"`, `"into-bus"`, `"out-of-bus"`; a single value may state its own |
//!
//! Every mapped value has `name` (a canonical point), `unit` (the vendor's, converted to
//! the base unit), `scale` (what one raw count means in that unit, 1 if left out) and
//! `range` (`"0..500V"`, or `[0, 1]` where the point has no unit).
//!
//! | Modbus | |
//! | --- | --- |
//! | `[modbus]` | `layout` (`"fixed"`, or `"sunspec"` with `models` that must be there, `one_of` of which one must be, and `optional` ones), `unit`, `timeout`, `min_gap`, `late_window`, `connect_delay`, `max_regs`, `max_gap`, `table`, `order` (`"ABCD"`, `"CDAB"`), `write_function` (`"multiple"`, 16, or `"single"`, 6), `serial = { baud, parity, stop }` |
//! | `[[point]]` | a value at `addr` with `type`, `table`, `order`, `scale_addr`, `not_implemented` (a raw number or a list); `monotonic = true` of a counter; or of SunSpec `model` (one, or a list of which the first that is there counts) and `point` (`module[2].DCW` in a group); `poll` is `"fast"`, `"normal"`, `"slow"` or `"once"` |
//! | `[identify]`, `[[identify]]` | a register as in a point, with `scale` and a `range` of plain numbers; all of them must fit. One that spans several registers and has a scale also catches a wrong word order or unit |
//! | `[[control]]` | `name`, `safe`, `tolerance`, `range`, `ramp`, `ceiling` and `floor` (points whose value is as far as the device goes now), `stepwise` (write in the order of the file), `comms_loss` (`"reverts"` with `revert` and `refresh`, or `"holds"`), and `fields` |
//! | `fields` | registers with `write = "setpoint"`, `"percent"` (with `of`, `min`), `"magnitude"`, `"positive-part"`, `"negative-part"`, `"by-sign"` (raw numbers `positive`, `zero`, `negative`), `"revert-seconds"` or `"constant"` (with `raw`); positive is power into the AC bus |
//! | `[[heartbeat]]` | a counter in the device that is moved on `every` second or so while the bench is armed |
//!
//! | CAN | |
//! | --- | --- |
//! | `[can]` | `bitrate`, `fd = true` for frames of up to 64 bytes, `dbc` (a file beside the profile) |
//! | `[[frame]]` | `id`, `extended`, `id_mask` (bits that must fit; `0x3ffff00` takes a J1939 PGN from any source), `len_min`, `period`, `timeout`, `identify`, `page = { start, bits, order, value }` where a number in the frame says what the rest means, and `signals` with `start`, `bits`, `order` (`"little"`, `"big"`), `signed` or `float`, `offset`, `mask` (which bits count), `not_implemented` (raw numbers from this one upwards) |
//! | `[[keep_alive]]` | `id`, `extended`, `data` in hexadecimal pairs, `every`, `values` (numbers of the device that are said back to it), `wakes_for` (the device is silent without it) |
//! | `[[control]]` | `name`, `id`, `extended`, `len`, `refresh`, `confirm_within`, `tolerance`, `safe`, `range`, `comms_loss` with `revert`, and `fields`: numbers with `write = "setpoint"`, `"constant"` (with `raw`) or `"counter"`; a frame of the profile must say the same point, which proves the setpoint |
//! | with a DBC file | `message = "NAME"` in place of `id` and `len` (and of `period`, where the file has a cycle time), `signal = "NAME"` in place of `start`, `bits`, `order`, `signed`, `float` and `offset`; unit and pages come from the file too |
//!
//! | MQTT | |
//! | --- | --- |
//! | `[mqtt]` | `timeout`, `availability = { topic, json, online, offline }` (`json`: a pointer to the word), `empty = "gone"` where an empty payload says that the source of a topic is gone |
//! | `[[topic]]` | `subscribe`, and `values` with `json` (a pointer) and `words = { ON = 1 }` |
//! | `[[request]]` | `topic`, `payload`, `every` |
//! | `[[command]]` | `name`, `topic`, `confirm_within`, `safe`, `comms_loss` (`"reverts"` with `revert` and `refresh`, or `"holds"`); for a switch `on`, `off` and, where it reverts, `dead_man`; for a power `payload` with `{v}` for the number, `unit`, `scale`, `sign`, `decimals`, `range`, `tolerance` |
//!
//! In topics and payloads `{t}` is the device's `topic` in the rig, `{t.1}` to `{t.9}` a level
//! of it, `{c}` the topic under which the controller wants its answers.
//!
//! | SCPI | |
//! | --- | --- |
//! | `[scpi]` | `port`, `serial = { baud, parity, stop }`, `terminator` (`"\n"`, `"\r\n"`), `timeout`, `min_gap`, `connect_delay`, `identify` (text in the reply to `*IDN?`), `remote` (messages before the first setting), `errors` (query of the error queue) |
//! | `[[point]]` | `query`, `field` (which of the values between commas), `poll` |
//! | `[[control]]` | `name`, `readback` (a query), `comms_loss`; for a number `set` with `{value}`, `decimals`, `unit`, `tolerance`, `range`, `limit` with `{low}` and `{high}`; for a switch `on` and `off`; `safe`, except where a source goes back to nominal |
//!
//! Headers are written as manuals do, capitals for the short form: `SOURce:FREQuency {value}`.
//!
//! # The sign of a meter
//!
//! Meters are mapped as wired at the point of common coupling: import is power into the
//! bus and positive, and the energy that the maker calls import is given to the bus,
//! `ac.e_exp`. In front of a load the same meter counts consumption; the rig says so with
//! `invert = true`, and whoever inverts must also swap `ac.e_exp` and `ac.e_imp`.

pub mod can;
pub mod dbc;
pub mod modbus;
pub mod mqtt;
pub mod scpi;
pub mod sunspec;

mod bundled;
mod codes;
mod near;
mod read;
mod reference;

use std::collections::BTreeSet;
use std::sync::Arc;

use model::Point;

pub use bundled::{bundled, bundled_class, bundled_ids, bundled_text, similar};
pub use codes::{EXPLANATIONS, explanation};
pub use reference::reference_page;

/// A device profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Identity such as `eastron/sdm630`, the name that rigs use.
    pub id: Arc<str>,
    /// What the device is, in a line, with vendor and model.
    pub title: String,
    /// Revision of this profile, raised with every change of meaning.
    pub version: u32,
    /// Documents that the profile was made from, with revision.
    pub source: Vec<String>,
    /// The device is only read unless the rig says `allow_writes = true`.
    pub opt_in: bool,
    /// How the device is reached and what it says there.
    pub protocol: Protocol,
}

/// How a device is reached.
#[derive(Clone, Debug, PartialEq)]
pub enum Protocol {
    /// Modbus TCP or RTU: registers.
    Modbus(modbus::ModbusProfile),
    /// CAN: frames with signals.
    Can(can::CanProfile),
    /// MQTT: topics with payloads.
    Mqtt(mqtt::MqttProfile),
    /// SCPI: queries and settings of a bench instrument.
    Scpi(scpi::ScpiProfile),
}

impl Profile {
    /// All points that the device says, in canonical order, each once.
    #[must_use]
    pub fn points(&self) -> Vec<Point> {
        let points: BTreeSet<Point> = match &self.protocol {
            Protocol::Modbus(m) => m.points.iter().map(|p| p.point).collect(),
            Protocol::Can(c) => c
                .frames
                .iter()
                .flat_map(|f| f.signals.iter().map(|s| s.point))
                .collect(),
            Protocol::Mqtt(m) => m
                .topics
                .iter()
                .flat_map(|t| t.values.iter().map(|v| v.point))
                .collect(),
            Protocol::Scpi(s) => s.points.iter().map(|p| p.point).collect(),
        };
        points.into_iter().collect()
    }

    /// Whether the device says this point.
    #[must_use]
    pub fn says(&self, point: Point) -> bool {
        self.points().contains(&point)
    }

    /// All points that can be set, in the order of the file.
    #[must_use]
    pub fn controls(&self) -> Vec<Point> {
        match &self.protocol {
            Protocol::Modbus(m) => {
                // One that stands there for several models is one point.
                let mut points: Vec<Point> = Vec::new();
                for control in &m.controls {
                    if !points.contains(&control.point) {
                        points.push(control.point);
                    }
                }
                points
            }
            Protocol::Can(c) => c.controls.iter().map(|c| c.point).collect(),
            Protocol::Mqtt(m) => m.commands.iter().map(|c| c.point).collect(),
            Protocol::Scpi(s) => s.controls.iter().map(|c| c.point).collect(),
        }
    }

    /// The same device without anything that can be set: no write path is left.
    #[must_use]
    pub fn read_only(&self) -> Self {
        let mut profile = self.clone();
        match &mut profile.protocol {
            Protocol::Modbus(m) => {
                m.controls.clear();
                m.heartbeats.clear();
            }
            Protocol::Can(c) => {
                c.controls.clear();
                c.keep_alive.clear();
            }
            Protocol::Mqtt(m) => m.commands.clear(),
            Protocol::Scpi(s) => s.controls.clear(),
        }
        profile
    }

    /// Whether this point can be set.
    #[must_use]
    pub fn takes(&self, point: Point) -> bool {
        self.controls().contains(&point)
    }
}
