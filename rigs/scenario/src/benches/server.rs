//! `modbus-server`: our emulator, pymodbus and libmodbus as servers, under the same client in C.
//!
//! libmodbus' client reads ten registers over one connection as fast as it can, in turns from
//! ours, from pymodbus' asyncio server and from libmodbus' own server. Ours moves a plant beside
//! it, as in a run, and asks for SCHED_FIFO, as `gridrig sim` does; the others run as they come.
//! The client runs under SCHED_FIFO for all of them, so that a delay is the server's.
//!
//! The slowest answers tell of what else the machine does, so the turns are short and many, a ratio is the median of those
//! within a round, and all is done three times: while nothing else runs; the same with processors that are kept awake
//! (`processors` in a rig), since one that waits for the other side's answer is put to sleep each time; and while as many threads
//! as there are processors compute, as when a suite runs beside its bench.
//!
//! What the wire, the kernel and the client leave is the ratio that libmodbus' server reaches, which does nothing else;
//! what is owed to SCHED_FIFO alone is the one that pymodbus reaches under it. Both are told beside ours.

use std::time::Duration;

use runtime::awake::Awake;
use serde_json::{Value, json};

use super::busy::Busy;
use super::cadence::quantile;
use super::meters::{self, REGISTERS, Wiring};
use super::{BenchError, child, peer, rounded, usage};

/// The role of the child process that holds our server.
pub(super) const SERVER: &str = "modbus-server-ours";

/// Rounds in which every server has a turn. Chosen: five, an odd number for the median.
const ROUNDS: usize = 5;

/// Time for which the client reads in a turn.
/// Chosen: two seconds, in which tens of answers of the slowest server lie beyond the last quantile.
const TURN: Duration = Duration::from_secs(2);

/// What the client tells of a turn, apart from its counts.
const QUANTILES: [&str; 4] = ["p50_us", "p99_us", "p999_us", "max_us"];

/// The quantile that is compared.
const COMPARED: &str = "p999_us";

/// The child: one meter behind a port, with the rights of `gridrig sim`.
pub(super) fn serve() -> Result<(), BenchError> {
    // Whether it was granted is told by the parent, which asks for the same.
    let _granted = runtime::rights::for_devices();
    meters::serve(1, Wiring::Ports)
}

fn scan(port: u64) -> Result<Value, String> {
    let arguments = [
        "scan".to_owned(),
        "tcp".to_owned(),
        "127.0.0.1".to_owned(),
        port.to_string(),
        "1".to_owned(),
        TURN.as_secs().to_string(),
    ];
    peer::tool("libmodbus_peer", &arguments)
}

fn port_of(said: &Value) -> Result<u64, String> {
    let port = said.get("port").and_then(Value::as_u64);
    port.ok_or_else(|| format!("a server names no port: {said}"))
}

/// The ports of all servers.
struct Ports {
    ours: u64,
    pymodbus: u64,
    pymodbus_fifo: u64,
    libmodbus: u64,
}

/// What the client has seen of a server, round after round.
#[derive(Clone, Debug, Default)]
struct Turns(Vec<Value>);

impl Turns {
    fn numbers(&self, name: &str) -> Vec<f64> {
        let told = self.0.iter().filter_map(|turn| turn.get(name)?.as_f64());
        told.collect()
    }

    fn json(&self) -> Value {
        let sum = |name| rounded(self.numbers(name).iter().sum());
        let mut document = json!({
            "requests": sum("requests"),
            "errors": sum("errors"),
            "seconds": sum("seconds"),
        });
        for name in QUANTILES {
            document[name] = rounded(median(self.numbers(name))).into();
        }
        document
    }

    /// How many times higher the compared quantile is here than there, in each round.
    fn over(&self, other: &Self) -> Vec<f64> {
        let (here, there) = (self.numbers(COMPARED), other.numbers(COMPARED));
        let both = here.iter().zip(&there);
        both.map(|(here, there)| here / there).collect()
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    quantile(&values, 0.5)
}

/// What the client has seen of all servers.
#[derive(Clone, Debug, Default)]
struct Seen {
    ours: Turns,
    pymodbus: Turns,
    /// The same server under SCHED_FIFO.
    pymodbus_fifo: Turns,
    libmodbus: Turns,
}

impl Seen {
    /// Reads all servers in turns with the same client.
    fn of(ports: &Ports) -> Result<Self, String> {
        under_fifo(|_| {
            let mut seen = Self::default();
            for _ in 0..ROUNDS {
                seen.ours.0.push(scan(ports.ours)?);
                seen.pymodbus.0.push(scan(ports.pymodbus)?);
                seen.pymodbus_fifo.0.push(scan(ports.pymodbus_fifo)?);
                seen.libmodbus.0.push(scan(ports.libmodbus)?);
            }
            Ok(seen)
        })
    }

    fn json(&self) -> Value {
        let ratios = self.pymodbus.over(&self.ours);
        let bounds = self.pymodbus.over(&self.libmodbus);
        json!({
            "ours": self.ours.json(),
            "pymodbus": self.pymodbus.json(),
            "pymodbus_fifo": self.pymodbus_fifo.json(),
            "libmodbus": self.libmodbus.json(),
            "p999_ratio": rounded(median(ratios.clone())),
            "p999_ratios": ratios.into_iter().map(rounded).collect::<Value>(),
            // What its scheduling class alone gives to the same server.
            "fifo_p999_ratio": rounded(median(self.pymodbus.over(&self.pymodbus_fifo))),
            // What a server reaches that does nothing but answer.
            "bound_p999_ratio": rounded(median(bounds)),
            "p999_over_libmodbus": rounded(median(self.ours.over(&self.libmodbus))),
        })
    }
}

/// Does something on a thread that has asked for SCHED_FIFO: programs that it starts inherit that, nothing else does.
fn under_fifo<T: Send>(
    work: impl FnOnce(Result<(), String>) -> Result<T, String> + Send,
) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| work(runtime::rights::for_devices()));
        thread
            .join()
            .map_err(|_| "the thread that measures has ended".to_owned())?
    })
}

fn compare(ours: u64) -> Result<Value, String> {
    let python = || peer::Serving::start("pymodbus_scan.py", &["serve".to_owned()]);
    let (_python, said) = python()?;
    let ((_python_fifo, said_fifo), fifo) = under_fifo(|fifo| Ok((python()?, fifo)))?;
    let arguments = ["serve", "tcp", "1", "0=50.0"].map(str::to_owned);
    let (_c, told) = peer::Serving::tool("libmodbus_peer", &arguments)?;
    let ports = Ports {
        ours,
        pymodbus: port_of(&said)?,
        pymodbus_fifo: port_of(&said_fifo)?,
        libmodbus: port_of(&told)?,
    };
    let mut awake = Awake::prepare().map_err(|e| e.to_string())?;
    let idle = Seen::of(&ports)?;
    awake.keep(true);
    let woken = Seen::of(&ports)?;
    awake.keep(false);
    let others = Busy::start().map_err(|e| e.to_string())?;
    let busy = Seen::of(&ports)?;
    let (busy_threads, _) = others.end();
    Ok(json!({
        "sched_fifo": fifo.map_or_else(Value::from, |()| true.into()),
        "pymodbus_version": said.get("version"),
        "idle": idle.json(),
        "awake": woken.json(),
        "how_awake": awake.way.line(),
        "busy": busy.json(),
        "busy_threads": busy_threads,
    }))
}

/// Reads all servers in turns with the same client.
pub(super) fn measure() -> Result<Value, BenchError> {
    let (_server, said) = child::Kept::start(SERVER)?;
    let port = meters::ports(&said)?.first().copied().unwrap_or_default();
    let load = usage::load();
    let mut document = json!({
        "bench": "modbus-server",
        "registers": REGISTERS,
        "rounds": ROUNDS,
        "turn_s": TURN.as_secs(),
        "load_1_min": load,
        "optimised": !cfg!(debug_assertions),
    });
    match compare(port.into()) {
        Ok(Value::Object(compared)) => {
            if let Some(document) = document.as_object_mut() {
                document.extend(compared);
            }
        }
        Ok(_) => {}
        Err(why) => document["why_no_peer"] = why.into(),
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_the_median_of_those_within_a_round() {
        let turns = |p999: [f64; 3]| {
            let told = p999.map(|p| json!({"p999_us": p, "requests": 10, "max_us": 2.0 * p}));
            Turns(told.to_vec())
        };
        // The machine is busy in the second round, for both.
        let (ours, theirs) = (turns([10.0, 900.0, 20.0]), turns([100.0, 2700.0, 240.0]));
        assert_eq!(theirs.over(&ours), [10.0, 3.0, 12.0]);
        assert_eq!(median(theirs.over(&ours)), 10.0);
        let seen = Seen {
            ours: ours.clone(),
            pymodbus: theirs,
            pymodbus_fifo: ours.clone(),
            libmodbus: ours.clone(),
        };
        let told = seen.json();
        assert_eq!(
            (&told["p999_ratio"], &told["p999_over_libmodbus"]),
            (&json!(10.0), &json!(1.0))
        );
        let told = ours.json();
        assert_eq!(told["requests"], 30.0);
        assert_eq!(
            (&told["p999_us"], &told["max_us"]),
            (&json!(20.0), &json!(40.0))
        );
    }
}
