//! `modbus-server`: our emulator, pymodbus and libmodbus as servers, under the same client in C.
//!
//! libmodbus' client reads ten registers over one connection as fast as it can, in turns from
//! ours, from pymodbus' asyncio server and from libmodbus' own server. Ours moves a plant beside
//! it, as in a run, and asks for SCHED_FIFO, as `gridrig sim` does; the others run as they come.
//! The client runs under SCHED_FIFO for all of them, so that a delay is the server's.
//!
//! The slowest answers tell more of the machine's other work than of a server, so the turns are
//! short and many, and a ratio is the median of those within a round. They tell of its sleep, too: a
//! processor that waits for the other side's answer is put to sleep each time, so everything is done once as the system
//! likes and once with processors that are kept awake (`processors` in a rig), for all servers alike.
//!
//! What the wire, the kernel and the client leave is the ratio that libmodbus' server reaches, which does nothing else:
//! it is told beside ours.

use std::time::Duration;

use runtime::awake::Awake;
use serde_json::{Value, json};

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
    libmodbus: Turns,
}

impl Seen {
    /// Reads all servers in turns with the same client.
    fn of(ports: &Ports) -> Result<Self, String> {
        let mut seen = Self::default();
        for _ in 0..ROUNDS {
            seen.ours.0.push(scan(ports.ours)?);
            seen.pymodbus.0.push(scan(ports.pymodbus)?);
            seen.libmodbus.0.push(scan(ports.libmodbus)?);
        }
        Ok(seen)
    }

    fn json(&self) -> Value {
        let ratios = self.pymodbus.over(&self.ours);
        let bounds = self.pymodbus.over(&self.libmodbus);
        json!({
            "ours": self.ours.json(),
            "pymodbus": self.pymodbus.json(),
            "libmodbus": self.libmodbus.json(),
            "p999_ratio": rounded(median(ratios.clone())),
            "p999_ratios": ratios.into_iter().map(rounded).collect::<Value>(),
            // What a server reaches that does nothing but answer.
            "bound_p999_ratio": rounded(median(bounds)),
            "p999_over_libmodbus": rounded(median(self.ours.over(&self.libmodbus))),
        })
    }
}

fn compare(ours: u64) -> Result<Value, String> {
    let (_python, said) = peer::Serving::start("pymodbus_scan.py", &["serve".to_owned()])?;
    let arguments = ["serve", "tcp", "1", "0=50.0"].map(str::to_owned);
    let (_c, told) = peer::Serving::tool("libmodbus_peer", &arguments)?;
    let ports = Ports {
        ours,
        pymodbus: port_of(&said)?,
        libmodbus: port_of(&told)?,
    };
    // Only the client inherits it: the servers of others run already.
    let fifo = runtime::rights::for_devices();
    let mut awake = Awake::prepare().map_err(|e| e.to_string())?;
    let idle = Seen::of(&ports)?;
    awake.keep(true);
    let woken = Seen::of(&ports)?;
    Ok(json!({
        "sched_fifo": fifo.map_or_else(Value::from, |()| true.into()),
        "pymodbus_version": said.get("version"),
        "idle": idle.json(),
        "awake": woken.json(),
        "how_awake": awake.way.line(),
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
