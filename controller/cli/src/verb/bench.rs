//! `gridrig bench NAME`: how fast parts of gridrig are on this machine, as JSON.

mod signed_orders;

use std::time::Instant;

use clap::Args;
use document::{Actor, Diagnostic};
use scenario::benches::{self, BenchError};
use scenario::verdict::Verdict;
use serde_json::{Value, json};

use super::live::SEED;
use crate::codes::usage;
use crate::problem::{Outcome, Problem};
use crate::rig_file::nearest;
use crate::terminal::Terminal;

/// A bench of this room: its name, what it measures, and how. To add one, add a row; those of a
/// whole bench are in [`scenario::benches`].
type Bench = (
    &'static str,
    &'static str,
    fn(&Arguments) -> Result<Value, Problem>,
);

const BENCHES: &[Bench] = &[
    (
        "market",
        "clearing generated books of a hundred to a million orders, and operations of an order book",
        market,
    ),
    (
        "market-signed",
        "ten thousand signed orders until they are verified, cleared and in a ledger",
        |_| signed_orders::measure(),
    ),
    ("ledger-nodes", benches::LEDGER_NODES, ledger_nodes),
    ("ledger-open", benches::LEDGER_OPEN, |arguments| {
        sized(arguments, benches::measure_ledger_open)
    }),
    ("ledger-verify", benches::LEDGER_VERIFY, |arguments| {
        sized(arguments, benches::measure_ledger_verify)
    }),
    ("mqtt", benches::MQTT, mqtt),
    ("feeder", benches::FEEDER, |arguments| {
        timed(arguments, FEEDER_S, benches::measure_feeder)
    }),
    ("cycles", benches::CYCLES, |arguments| {
        timed(arguments, CYCLES_S, benches::measure_cycles)
    }),
    ("soak", benches::SOAK, |arguments| {
        timed(arguments, SOAK_S, benches::measure_soak)
    }),
];

/// Sizes of the books. Chosen: from a campus to more orders than any local market has.
const ORDERS: [usize; 6] = [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// Largest book without another wish: the next one takes gigabytes.
const ORDERS_MAX: usize = 1_000_000;

/// Operations of an order book. Chosen: enough to leave every cache.
const OPERATIONS: usize = 2_000_000;

/// Benches that run through a time that can be given.
const TIMED: [&str; 3] = ["feeder", "cycles", "soak"];

/// Time of the bench `feeder` where none is given, in seconds. Chosen: long enough that the start weighs little.
const FEEDER_S: u64 = 120;

/// Time of the bench `cycles` where none is given, in seconds. Chosen: ten minutes, by who asked for it.
const CYCLES_S: u64 = 600;

/// Time of the bench `soak` where none is given, in seconds. Chosen: a day, by who asked for it.
const SOAK_S: u64 = 86_400;

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// What is measured; without a name, the benches are listed.
    name: Option<String>,
    /// Rounds of which the best counts.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Only sizes up to this one; without it, up to a million.
    #[arg(long, value_name = "N")]
    size_max: Option<usize>,
    /// Entries of the ledger of the bench `ledger-open` or `ledger-verify`.
    #[arg(long, value_name = "N", default_value_t = benches::LEDGER_ENTRIES)]
    entries: usize,
    /// Broker of the bench `mqtt`; without it, a mosquitto is started.
    #[arg(long, value_name = "HOST:PORT")]
    broker: Option<String>,
    /// Time that the bench `cycles`, `feeder` or `soak` runs through.
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// Plays a part in a bench: what must not be counted runs in a process of its own.
    #[arg(long, value_name = "ROLE", hide = true)]
    child: Option<String>,
}

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    if let Some(role) = &arguments.child {
        benches::child(role).map_err(not_measured)?;
        return Ok(Verdict::Pass);
    }
    let Some(name) = &arguments.name else {
        for (name, what) in known() {
            terminal.print(format!("{name:<13} {what}"));
        }
        return Ok(Verdict::Pass);
    };
    if arguments.seconds.is_some() && !TIMED.contains(&name.as_str()) {
        let message = format!("the bench `{name}` has no `--seconds`");
        let help = format!("only {} have", TIMED.join(" and "));
        return Err(Problem::usage(usage("C001", message, &help)));
    }
    if let Some(bench) = benches::BENCHES.iter().find(|b| b.name == name) {
        terminal.print((bench.measure)().map_err(not_measured)?);
        return Ok(Verdict::Pass);
    }
    let Some((_, _, measure)) = BENCHES.iter().find(|(known, _, _)| known == name) else {
        let help = match nearest(name, known().map(|(known, _)| known)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`gridrig bench` lists them".to_owned(),
        };
        let message = format!("there is no bench `{name}`");
        return Err(Problem::usage(usage("C001", message, &help)));
    };
    terminal.print(measure(&arguments)?);
    Ok(Verdict::Pass)
}

/// All benches, with what they measure.
fn known() -> impl Iterator<Item = (&'static str, &'static str)> {
    let own = BENCHES.iter().map(|(name, what, _)| (*name, *what));
    own.chain(benches::BENCHES.iter().map(|b| (b.name, b.what)))
}

/// A bench that did not come to its end, as a person is told.
fn not_measured(error: BenchError) -> Problem {
    match error {
        BenchError::Role(_) => {
            let help = "a bench plays its roles itself; give the name of a bench";
            Problem::usage(usage("C001", error.to_string(), help))
        }
        _ => {
            let told = Diagnostic::error("R026", Actor::Operator, error.to_string());
            Problem::from(vec![told])
        }
    }
}

fn market(arguments: &Arguments) -> Result<Value, Problem> {
    let start = Instant::now();
    let now_ns = || u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let size_max = arguments.size_max.unwrap_or(ORDERS_MAX);
    let refused = |e: &dyn market::Coded| Problem::usage(usage(e.code(), e.to_string(), ""));
    let mut rows = Vec::new();
    for orders in ORDERS.into_iter().filter(|n| *n <= size_max) {
        let timing = market::bench::time_clearing(SEED, orders, arguments.rounds, now_ns)
            .map_err(|e| refused(&e))?;
        let whole_ns = timing.outcome_ns + timing.check_ns;
        rows.push(json!({
            "orders": timing.orders,
            "price_only_ms": milliseconds(timing.crossing_ns),
            "allocation_ms": milliseconds(timing.allocation_ns),
            "price_and_allocation_ns_per_order":
                (timing.crossing_ns + timing.allocation_ns) / timing.orders.max(1) as u64,
            "clear_with_fills_ms": milliseconds(timing.outcome_ns),
            "self_check_ms": milliseconds(timing.check_ns),
            "whole_clear_ms": milliseconds(whole_ns),
        }));
    }
    let operations = OPERATIONS.min(size_max.saturating_mul(2));
    let stream = market::bench::time_continuous(SEED, operations, arguments.rounds, now_ns)
        .map_err(|e| refused(&e))?;
    Ok(json!({
        "bench": "market",
        "seed": SEED,
        "rounds": arguments.rounds,
        "optimised": !cfg!(debug_assertions),
        "rows": rows,
        "continuous": {
            "operations": stream.operations,
            "ms": milliseconds(stream.ns),
            "operations_per_s": stream.operations as u64 * 1_000_000_000 / stream.ns.max(1),
            "trades": stream.trades,
            "resting": stream.resting,
        },
    }))
}

fn ledger_nodes(_: &Arguments) -> Result<Value, Problem> {
    benches::measure_ledger_nodes().map_err(not_measured)
}

/// A bench of a ledger of some size.
fn sized(
    arguments: &Arguments,
    measure: fn(usize) -> Result<Value, BenchError>,
) -> Result<Value, Problem> {
    if arguments.entries == 0 {
        let help = "a thousand entries take a second; the default is that of the documentation";
        return Err(Problem::usage(usage(
            "C001",
            "a ledger of no entries",
            help,
        )));
    }
    measure(arguments.entries).map_err(not_measured)
}

/// A bench that runs for a time.
fn timed(
    arguments: &Arguments,
    seconds: u64,
    measure: fn(u64) -> Result<Value, BenchError>,
) -> Result<Value, Problem> {
    measure(arguments.seconds.unwrap_or(seconds)).map_err(not_measured)
}

fn mqtt(arguments: &Arguments) -> Result<Value, Problem> {
    let broker = match arguments.broker.as_deref() {
        None => None,
        Some(text) => {
            let bare = text.strip_prefix("mqtt://").unwrap_or(text);
            let parsed = bare.rsplit_once(':').and_then(|(host, port)| {
                let port = port.parse().ok()?;
                (!host.is_empty()).then(|| (host.to_owned(), port))
            });
            let Some(broker) = parsed else {
                let message = format!("`{text}` is no broker");
                let help = "write it as `127.0.0.1:1883`";
                return Err(Problem::usage(usage("C001", message, help)));
            };
            Some(broker)
        }
    };
    benches::measure_mqtt(broker).map_err(not_measured)
}

fn milliseconds(nanoseconds: u64) -> f64 {
    // Whole microseconds are what the clock can vouch for.
    (nanoseconds as f64 / 1e3).round() / 1e3
}
