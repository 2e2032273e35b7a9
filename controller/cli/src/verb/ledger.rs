//! `gridrig ledger`: look at the evidence of a run, verify it, and prove parts of it, offline.

mod proof;

mod epoch;
mod grant;
mod init;
mod node;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ledger_core::{Digest32, Universe};
use ledger_node::{Holdings, LedgerError};
use ledger_verify::Expectation;
use scenario::report::result::RunResult;
use scenario::verdict::Verdict;
use serde_json::{Value, json};

use crate::codes::usage;
use crate::problem::{Outcome, Problem};
use crate::terminal::{Terminal, nobody_reads};

/// Arguments of `ledger`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a new universe: keys, configuration and an empty log for each node.
    Init(init::Arguments),
    /// Keep one node's log among the others, until it is told to end.
    Node(node::Arguments),
    /// Let a controller command devices from now on, and no other.
    Grant(grant::Arguments),
    /// Change the configuration: a node, a key, the admins; signed by its admins.
    Epoch(epoch::Arguments),
    /// Every entry, a line each; with --json, an object each.
    Show {
        /// The run folder.
        run: PathBuf,
        /// Who owns which credits at the end, and what was metered, minted and burned.
        #[arg(long)]
        balances: bool,
    },
    /// Verify everything; one line per check, exit code 0 or 6.
    Verify {
        /// The run folder.
        run: PathBuf,
        /// The genesis configuration, kept elsewhere, that it must be of.
        #[arg(long, value_name = "FILE")]
        universe: Option<PathBuf>,
    },
    /// Write a proof of one atom that needs neither the run nor this bench.
    Prove(proof::Prove),
    /// Verify such a proof; one line per check, exit code 0 or 6.
    VerifyProof(proof::VerifyProof),
}

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    match arguments.what {
        What::Init(arguments) => init::run(&arguments, terminal),
        What::Node(arguments) => node::run(&arguments, terminal),
        What::Grant(arguments) => grant::run(&arguments, terminal),
        What::Epoch(arguments) => epoch::run(&arguments, terminal),
        What::Show { run, balances } => match balances {
            true => show_balances(&run, terminal),
            false => show(&run, terminal),
        },
        What::Verify { run, universe } => verify(&run, universe.as_deref(), terminal),
        What::Prove(arguments) => proof::prove(&arguments, terminal),
        What::VerifyProof(arguments) => {
            let universe = universe_id(arguments.universe())?;
            proof::verify(&arguments, universe, terminal)
        }
    }
}

fn unreadable(e: &LedgerError) -> Problem {
    let diagnostic = usage(
        e.code(),
        e.to_string(),
        "name the run folder, the one that holds ledger/",
    );
    match e {
        LedgerError::Corrupt { .. } => Problem {
            verdict: Verdict::Ledger,
            diagnostics: vec![diagnostic.help("`gridrig ledger verify` tells all that is wrong")],
        },
        _ => Problem::usage(diagnostic),
    }
}

fn show(run: &Path, terminal: &Terminal) -> Outcome {
    let entries = ledger_node::show(run).map_err(|e| unreadable(&e))?;
    for entry in entries {
        let entry = entry.map_err(|e| unreadable(&e))?;
        if terminal.is_json() {
            terminal.print(entry);
        } else {
            terminal.print(line(&entry));
        }
        if nobody_reads() {
            break;
        }
    }
    Ok(Verdict::Pass)
}

fn show_balances(run: &Path, terminal: &Terminal) -> Outcome {
    let (holdings, balances) = ledger_node::balances(run).map_err(|e| unreadable(&e))?;
    let Holdings {
        metered,
        minted,
        burned,
        ..
    } = holdings;
    terminal.result(
        || {
            let list = balances.iter().map(|of| {
                let amount = of.amount.to_string();
                json!({ "owner": of.owner, "asset": of.asset, "milliwatt_hours": amount })
            });
            json!({
                "balances": list.collect::<Vec<Value>>(),
                "metered_milliwatt_hours": metered.to_string(),
                "minted_milliwatt_hours": minted.to_string(),
                "burned_milliwatt_hours": burned.to_string(),
            })
        },
        || {
            let lines = balances
                .iter()
                .map(|of| format!("{:>16} mWh  {:<8} {}\n", of.amount, of.asset, of.owner));
            let lines: String = lines.collect();
            format!("{lines}metered {metered} mWh, minted {minted} mWh, burned {burned} mWh")
        },
    );
    Ok(Verdict::Pass)
}

fn line(entry: &Value) -> String {
    let text = |key: &str| match &entry[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let atom: String = text("atom").chars().take(16).collect();
    format!(
        "{:>8}  {}  {atom}  {:<14} {:<24} {}",
        text("clock"),
        text("utc"),
        text("kind"),
        text("author"),
        text("payload")
    )
}

fn verify(run: &Path, universe: Option<&Path>, terminal: &Terminal) -> Outcome {
    if !run.is_dir() {
        return Err(Problem::usage(usage(
            "C004",
            format!("there is no run folder {}", run.display()),
            "name the folder that a run has told at its end",
        )));
    }
    let expected = expectation(run, universe)?;
    let report = ledger_verify::verify_against(run, &expected);
    terminal.result(
        || serde_json::to_value(&report).unwrap_or(Value::Null),
        || report.to_string(),
    );
    Ok(if report.is_ok() {
        Verdict::Pass
    } else {
        Verdict::Ledger
    })
}

/// What is known from elsewhere: the universe, and what the run itself noted down at its end.
fn expectation(run: &Path, universe: Option<&Path>) -> Result<Expectation, Problem> {
    let universe = match universe {
        None => None,
        Some(path) => Some(universe_id(path)?),
    };
    let noted = std::fs::read_to_string(run.join("result.json"))
        .ok()
        .and_then(|text| RunResult::from_json(&text).ok())
        .map(|result| result.ledger);
    let head = noted.as_ref().and_then(|ledger| {
        let root = digest(ledger.root.as_deref()?)?;
        (ledger.entries > 0).then_some((ledger.entries, root))
    });
    Ok(Expectation {
        universe,
        // A root is noted only when the log was closed in good order. The log of a node among
        // several goes on with the next run, so there the root alone must be in it.
        closed: noted.is_some_and(|ledger| ledger.root.is_some() && ledger.nodes.is_none()),
        head,
    })
}

fn universe_id(path: &Path) -> Result<ledger_core::UniverseId, Problem> {
    let fail = |what: String| {
        Problem::usage(usage(
            "C003",
            format!("the universe {}: {what}", path.display()),
            "name the ledger/universe.json that was kept from the run",
        ))
    };
    let text = std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
    let universe = Universe::from_json(&text).map_err(|e| fail(e.to_string()))?;
    universe.id().map_err(|e| fail(e.to_string()))
}

fn digest(hex: &str) -> Option<Digest32> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(bytes)
}
