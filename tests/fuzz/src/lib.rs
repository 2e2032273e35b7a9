//! Every decoder under arbitrary bytes.
//!
//! Responsible for one table, [`TARGETS`]: a name, and a function that feeds bytes to a
//! decoder and looks at what must hold whatever they are. The coverage-guided fuzzer
//! (`tests/fuzz/fuzz`, by hand) and the plain tests (`tests/replay.rs`, with the corpus,
//! what once broke something, and seeded mutations) run the same table. It is not
//! responsible for what a decoder means: that is tested beside it.
//!
//! A target panics when a promise is broken; that it does not panic otherwise is the
//! first promise of all.

// A broken promise ends the run: this crate is never part of the program.
#![allow(clippy::panic)]

mod can;
mod far_end;
mod files;
mod ledger;
mod link;
mod modbus;
mod mqtt;
mod scpi;

/// A decoder with its promises.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of its corpus and of its fuzzer.
    pub name: &'static str,
    /// Feeds bytes to it.
    pub run: fn(&[u8]),
}

macro_rules! targets {
    ($($name:ident: $run:path;)+) => {
        /// All of them.
        pub const TARGETS: &[Target] = &[$(Target { name: stringify!($name), run: $run },)+];
    };
}

targets! {
    modbus_registers: modbus::registers;
    modbus_request: modbus::request;
    modbus_link: link::modbus_link;
    modbus_unit: far_end::modbus_unit;
    sunspec_walk: modbus::sunspec_walk;
    can_signals: can::signals;
    socketcand_client: can::socketcand_client;
    slcan_client: can::slcan_client;
    can_client: far_end::can_client;
    dbc_file: can::dbc_file;
    mqtt_payload: mqtt::payload;
    mqtt_topic: mqtt::topic;
    mqtt_command: far_end::mqtt_command;
    mqtt_scan: mqtt::scan;
    scpi_reply: scpi::reply;
    scpi_message: scpi::message;
    profile_file: files::profile;
    rig_file: files::rig;
    scenario_file: files::scenario;
    course_file: files::course;
    quantity: files::quantity;
    market_book: files::market_book;
    ledger_cbor: ledger::cbor;
    ledger_entry: ledger::entry;
    ledger_proof: ledger::proof;
    ledger_universe: ledger::universe;
}

/// Runs the target of a name; the fuzzer's programs call it.
///
/// # Panics
/// When there is no such target, or when it finds a broken promise.
pub fn run(name: &str, bytes: &[u8]) {
    let Some(target) = TARGETS.iter().find(|t| t.name == name) else {
        panic!("there is no target `{name}`");
    };
    (target.run)(bytes);
}

/// Cuts a number off the front, to choose with: the rest is what is decoded.
fn choice(bytes: &[u8], among: usize) -> Option<(usize, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<2>()?;
    let number = usize::from(u16::from_be_bytes(*head));
    (among > 0).then(|| (number % among, rest))
}
