//! How fast gridrig is on this machine, each time beside what it is measured against.
//!
//! Responsible for the benches whose figures stand in the documentation: each prints one
//! JSON document, with a peer or a bound measured in the same run, and is bounded in time
//! and count. All stays on loopback. It does not judge: a number on a busy machine is no
//! failure of the program, so no test depends on one.
//!
//! Whatever must not be counted runs in a child process: the same binary, called as
//! `bench --child ROLE`, where [`child`] answers.

mod beside;
mod busy;
mod cadence;
mod child;
mod cycles;
mod der;
mod fast_path;
mod feeder;
mod field;
mod idle;
mod late;
mod ledger_nodes;
mod ledger_open;
mod ledger_verify;
mod meters;
mod modbus;
mod mqtt;
mod one;
mod page;
mod peer;
mod plant;
mod report;
mod server;
mod silent;
mod soak;
mod telemetry;
mod unit;
mod usage;
mod virtual_time;

use serde_json::{Value, json};

pub use child::child;
pub use cycles::measure as measure_cycles;
pub use feeder::measure as measure_feeder;
pub use ledger_nodes::measure as measure_ledger_nodes;
pub use ledger_open::measure as measure_ledger_open;
pub use ledger_verify::{ENTRIES as LEDGER_ENTRIES, measure as measure_ledger_verify};
pub use mqtt::measure as measure_mqtt;
pub use soak::measure as measure_soak;

/// Why a bench could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The system refused something.
    #[error("{what}: {source}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// The child process did not say what it should.
    #[error("the child process of the bench said {said:?} instead of {expected}")]
    Child {
        /// What was expected.
        expected: &'static str,
        /// Its line.
        said: String,
    },
    /// There is no such role for a child process.
    #[error("a child process of a bench has no role `{0}`")]
    Role(String),
    /// A run or an emulated bench did not start or did not pass.
    #[error("the bench did not run: {0}")]
    Run(String),
    /// Some devices never answered.
    #[error("only {answering} of {devices} devices answer")]
    Silent {
        /// Those that do.
        answering: usize,
        /// All.
        devices: usize,
    },
}

impl BenchError {
    /// Makes an error of what the system says.
    fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

/// A bench.
#[derive(Clone, Copy, Debug)]
pub struct Bench {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it measures, in a line.
    pub what: &'static str,
    /// Measures, and gives the JSON document.
    pub measure: fn() -> Result<Value, BenchError>,
}

/// All benches of this crate; each takes half a minute at most, unless it says more.
pub const BENCHES: &[Bench] = &[
    Bench {
        name: "der",
        what: "steps per second of the DER model, beside OpenDER",
        measure: der::measure,
    },
    Bench {
        name: "fast-path",
        what: "from a step of the frequency to a setpoint and to measured power, and what the ledger costs (three minutes)",
        measure: fast_path::measure,
    },
    Bench {
        name: "modbus",
        what: "100 Modbus TCP devices at 50 Hz, beside pymodbus",
        measure: modbus::measure,
    },
    Bench {
        name: "virtual",
        what: "how many times faster than real time the demo bench runs",
        measure: virtual_time::measure,
    },
    Bench {
        name: "idle",
        what: "memory and CPU of the demo bench in real time",
        measure: idle::measure,
    },
    Bench {
        name: "late-replies",
        what: "wrong values believed when answers come late or broken, beside others (five minutes)",
        measure: late::measure,
    },
    Bench {
        name: "modbus-one",
        what: "requests per second on one connection, beside bare tokio-modbus",
        measure: one::measure,
    },
    Bench {
        name: "page",
        what: "what the page costs the server: 100 devices ten times a second, for one reader and for eight",
        measure: page::measure,
    },
    Bench {
        name: "modbus-scan",
        what: "250 Modbus TCP devices at 20 Hz, beside pymodbus",
        measure: modbus::measure_scan,
    },
    Bench {
        name: "modbus-server",
        what: "our emulator as a server under libmodbus, beside pymodbus (two minutes)",
        measure: server::measure,
    },
    Bench {
        name: "plant",
        what: "steps of the plant alone, and their cost against the size of its network",
        measure: plant::measure,
    },
    Bench {
        name: "report",
        what: "a thousand assertions as JUnit and HTML beside pytest-html, and a report of a hundred scenarios",
        measure: report::measure,
    },
    Bench {
        name: "telemetry",
        what: "values per second into line protocol, the run folder, the spool and VictoriaMetrics, beside Python's client",
        measure: telemetry::measure,
    },
    Bench {
        name: "rtu-silent",
        what: "what nine units of a serial line lose when the tenth is silent",
        measure: silent::measure,
    },
];

/// The bench `ledger-verify` in a line; it is not among [`BENCHES`], as it can be given a size.
pub const LEDGER_VERIFY: &str =
    "a generated ledger verified on all cores, beside the bare signatures";

/// The bench `ledger-open` in a line; it is not among [`BENCHES`], as it can be given a size.
pub const LEDGER_OPEN: &str =
    "opening a generated log and all that its node keeps, after a good end and after a kill";

/// The bench `ledger-nodes` in a line; it is not among [`BENCHES`], as it is of several parts.
pub const LEDGER_NODES: &str =
    "one node beside its disk, four nodes until an atom is final, eight in two groups and in one";

/// The bench `mqtt` in a line; it is not among [`BENCHES`], as it can be given a broker.
pub const MQTT: &str =
    "a command over MQTT at QoS 1, confirmed by its device, beside a bare client";

/// The bench `feeder` in a line; it is not among [`BENCHES`], as it can be given a time.
pub const FEEDER: &str =
    "how many times faster than real time 100 buses with 50 inverters run, and the plant alone";

/// The bench `cycles` in a line; it is not among [`BENCHES`], as it can be given a time.
pub const CYCLES: &str =
    "how late control cycles begin with 50 devices and all cores busy (ten minutes of real time)";

/// The bench `soak` in a line; it is not among [`BENCHES`], as it can be given a time.
pub const SOAK: &str = "whether memory stays flat in a day of virtual time (ten minutes of a core)";

/// A number as a reader can use it: three decimals.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// A figure beside the least that was asked for; a ratio of 1 and more is enough.
fn at_least(asked: f64, measured: f64) -> Value {
    json!({ "asked_at_least": asked, "measured": rounded(measured), "ratio": rounded(measured / asked) })
}

/// A figure beside the most that was asked for; a ratio of 1 and less is enough.
fn at_most(asked: f64, measured: f64) -> Value {
    // A share is small: it needs more decimals than a time.
    json!({ "asked_at_most": asked, "measured": rounded(measured * 1e3) / 1e3, "ratio": rounded(measured / asked) })
}
