//! `gridrig plant flow FILE`: the voltages of a network, without a bench.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use document::{Document, Source};
use network::description::Network;
use network::flow::{Flow, Outcome as Solution, Supply};
use quantities::Frequency;
use scenario::verdict::Verdict;
use serde_json::{Value, json};

use crate::codes::usage;
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;

/// Arguments of `plant`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Voltages and losses of a network with the loads that stand in its file.
    Flow {
        /// A rig with a section `[network]`, or a file with nothing but that and `f`.
        file: PathBuf,
    },
}

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    let What::Flow { file } = arguments.what;
    let network = read(&file)?;
    let (told, verdict) = if network.unbalanced {
        solve::<3>(&network)?
    } else {
        solve::<1>(&network)?
    };
    terminal.result(|| told.clone(), || text(&told));
    Ok(verdict)
}

fn read(file: &Path) -> Result<Arc<Network>, Problem> {
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|e| {
        let message = format!("{shown} cannot be read: {e}");
        Problem::usage(usage("C003", message, "name a rig or a network"))
    })?;
    let document = Document::parse(Source::new(shown.clone(), text)).map_err(|f| vec![*f])?;
    let nothing = || {
        let message = format!("{shown} has no section `[network]`");
        Problem::usage(usage("C003", message, "rigs/README.md describes it"))
    };
    let root = document.root();
    if root.has("site") || root.has("inherit") {
        let rig = runtime::rig::load(file)?;
        return rig.emulate.network.ok_or_else(nothing);
    }
    let f = root.quantity::<Frequency>("f");
    if !root.has("f") {
        root.missing::<()>("f", "\"50Hz\"");
    }
    let table = root.table("network");
    let asked = table.is_some();
    let network = table.and_then(|table| {
        let network = network::read::read(&table, f.map_or(0.0, |f| f.value.as_hertz()));
        table.finish();
        network
    });
    root.finish();
    let wrong = document.has_errors();
    let faults = document.into_faults();
    match network {
        Some(network) if !wrong => Ok(Arc::new(network)),
        _ if wrong || asked => Err(faults.into()),
        _ => Err(nothing()),
    }
}

fn solve<const N: usize>(network: &Network) -> Result<(Value, Verdict), Problem> {
    // A network that was read is a tree; what is left is a mistake of its file all the same.
    let mut flow = Flow::<N>::new(network)
        .map_err(|e| Problem::usage(usage("R050", e.to_string(), "see `gridrig check`")))?;
    flow.solve();
    let mut verdict = Verdict::Pass;
    let name = |bus: usize| network.buses[bus].name.to_string();
    let mut islands = Vec::new();
    for (source, outcome) in flow.islands() {
        let s: network::matrix::Phasor = flow.source_power(source).iter().sum();
        let (state, sweeps, at) = match outcome {
            Solution::Solved { sweeps } => ("solved", Some(sweeps), None),
            Solution::Collapsed { bus } => ("collapsed", None, Some(name(bus))),
            Solution::NotConverged { bus } => ("not converged", None, Some(name(bus))),
        };
        if at.is_some() {
            verdict = Verdict::Fail;
        }
        islands.push(json!({
            "source": name(network.sources[source].bus),
            "state": state, "sweeps": sweeps, "at": at,
            "p_w": s.re, "q_var": s.im,
        }));
    }
    let taken: network::matrix::Phasor = (0..flow.loads()).map(|n| flow.load_power(n)).sum();
    let given: f64 = islands.iter().filter_map(|i| i["p_w"].as_f64()).sum();
    let buses: Vec<Value> = (0..network.buses.len())
        .map(|bus| {
            let v = flow.voltage(bus);
            let state = match flow.supply(bus) {
                Supply::Live => "live",
                Supply::Dead => "dead",
                Supply::Failed => "failed",
            };
            json!({
                "name": name(bus),
                "state": state,
                "v_pu": v.iter().map(|v| v.norm()).collect::<Vec<_>>(),
                "angle_deg": v.iter().map(|v| v.arg().to_degrees()).collect::<Vec<_>>(),
            })
        })
        .collect();
    let told = json!({"islands": islands, "losses_w": given - taken.re, "buses": buses});
    Ok((told, verdict))
}

fn text(told: &Value) -> String {
    let list = |value: &Value, digits: usize| -> String {
        let numbers = value.as_array().into_iter().flatten();
        let texts = numbers.map(|x| format!("{:>9.digits$}", x.as_f64().unwrap_or_default()));
        texts.collect()
    };
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = Vec::new();
    for island in told["islands"].as_array().into_iter().flatten() {
        let at = match &island["at"] {
            Value::String(bus) => format!(" at {bus}"),
            _ => String::new(),
        };
        lines.push(format!(
            "from {}: {}{at}, {:.3} kW, {:.3} kvar",
            word(&island["source"]),
            word(&island["state"]),
            island["p_w"].as_f64().unwrap_or_default() / 1e3,
            island["q_var"].as_f64().unwrap_or_default() / 1e3,
        ));
    }
    let losses = told["losses_w"].as_f64().unwrap_or_default() / 1e3;
    lines.push(format!("losses {losses:.3} kW"));
    lines.push(format!("{:<16} {:<7} v_pu, angle_deg", "bus", "state"));
    for bus in told["buses"].as_array().into_iter().flatten() {
        lines.push(format!(
            "{:<16} {:<7}{}{}",
            word(&bus["name"]),
            word(&bus["state"]),
            list(&bus["v_pu"], 5),
            list(&bus["angle_deg"], 3),
        ));
    }
    lines.join("\n")
}
