//! `gridrig ledger epoch`: change the configuration of a universe, signed by its admins.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use document::{Actor, Diagnostic};
use ledger_core::{EpochChange, Role};
use ledger_net::epoch::{CHANGE_FILE, ChangeError, Wish, apply, begin_log, load, propose, sign};
use ledger_net::{Node, NodeConfig};
use model::Clock as _;
use scenario::verdict::Verdict;
use serde_json::json;

use crate::codes::usage;
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;

/// How long each wait may take. Chosen: as long as `gridrig ledger grant` waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `ledger epoch`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Write a change of the configuration into a new folder, with the keys that it needs.
    Propose(Propose),
    /// Sign a change as an admin.
    Sign {
        /// The change.json of a proposal.
        change: PathBuf,
        /// The admin's key file.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Carry a signed change into the ledger; the nodes go on in the new epoch.
    Apply {
        /// The configuration of any node, which must not be running.
        config: PathBuf,
        /// The change.json of a proposal.
        change: PathBuf,
    },
}

/// Arguments of `ledger epoch propose`.
#[derive(Debug, Args)]
pub struct Propose {
    /// The configuration of a node, as the state that the change follows.
    config: PathBuf,
    /// The folder to write, which must not exist yet.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// The node that leaves.
    #[arg(long, value_name = "NODE")]
    leaves: Option<String>,
    /// The node that joins, under a name that no node ever had.
    #[arg(long, value_name = "NODE", requires = "listen")]
    joins: Option<String>,
    /// Where the node that joins listens.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// A party that gets a new key; again for more.
    #[arg(long, value_name = "PARTY")]
    new_key: Vec<String>,
    /// A new admin; again for more.
    #[arg(long, value_name = "PARTY")]
    add_admin: Vec<String>,
    /// A party that is one no more; again for more.
    #[arg(long, value_name = "PARTY")]
    remove: Vec<String>,
    /// How many admins must sign the change after this one.
    #[arg(long, value_name = "K")]
    threshold: Option<u64>,
}

/// Runs it.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> Outcome {
    match &arguments.what {
        What::Propose(arguments) => run_propose(arguments, terminal),
        What::Sign { change, key } => {
            let signed = sign(change, key).map_err(|e| Problem::from(vec![*e.0]))?;
            tell(terminal, &signed, &change.display().to_string());
            Ok(Verdict::Pass)
        }
        What::Apply { config, change } => run_apply(config, change, terminal),
    }
}

fn run_propose(arguments: &Propose, terminal: &Terminal) -> Outcome {
    let config = NodeConfig::load(&arguments.config).map_err(|e| Problem::from(e.0))?;
    let admin = |name: &String| (name.clone(), vec![Role::Admin]);
    let wish = Wish {
        leaves: arguments.leaves.clone(),
        joins: arguments.joins.clone().zip(arguments.listen),
        new_keys: arguments.new_key.clone(),
        parties: arguments.add_admin.iter().map(admin).collect(),
        removed: arguments.remove.clone(),
        admin_threshold: arguments.threshold,
    };
    let mut entropy = |bytes: &mut [u8; 32]| {
        std::fs::File::open(runtime::evidence::ENTROPY).and_then(|mut f| f.read_exact(bytes))
    };
    let made = propose(&config, &wish, &arguments.out, &mut entropy).map_err(problem)?;
    tell(
        terminal,
        &made,
        &arguments.out.join(CHANGE_FILE).display().to_string(),
    );
    Ok(Verdict::Pass)
}

fn tell(terminal: &Terminal, change: &EpochChange, path: &str) {
    let (epoch, approvals) = (change.number, change.approvals.len());
    terminal.result(
        || json!({ "epoch": epoch, "approvals": approvals, "change": path }),
        || format!("Epoch {epoch}, signed by {approvals}: {path}"),
    );
}

fn run_apply(config: &std::path::Path, path: &std::path::Path, terminal: &Terminal) -> Outcome {
    let config = NodeConfig::load(config).map_err(|e| Problem::from(e.0))?;
    let (_, change) = load(path).map_err(|e| Problem::from(vec![*e.0]))?;
    // What may not follow is refused before a node is started for it.
    config
        .epochs
        .check(&change)
        .map_err(|e| problem(e.into()))?;
    let clock = runtime::clock::SystemClock::start();
    let wall = Arc::new(move || clock.utc().unix_nanos());
    let told = |e: ledger_net::NodeError| Problem::from(vec![e.into_diagnostic()]);
    let node = Node::start(&config, Arc::clone(&wall) as _, |_| {}).map_err(told)?;
    let applied = apply(&node, &config, wall(), &change, PATIENCE);
    node.close().map_err(told)?;
    applied.map_err(problem)?;
    let proposal = path.parent().unwrap_or(std::path::Path::new(""));
    let joins = begin_log(&config.epochs, &change, proposal).map_err(problem)?;
    let joins = joins.map(|path| path.display().to_string());
    terminal.result(
        || json!({ "epoch": change.number, "level": "L3", "joins": joins }),
        || {
            let next = joins.as_ref().map_or_else(String::new, |path| {
                format!("\nMove the folder of the new node to its host, then: gridrig ledger node {path}")
            });
            format!(
                "Epoch {} is final. Nodes go on in it when they start again; `gridrig ledger node` does so by itself.{next}",
                change.number
            )
        },
    );
    Ok(Verdict::Pass)
}

fn problem(e: ChangeError) -> Problem {
    let e = match e {
        ChangeError::Files(files) => return Problem::from(vec![*files.0]),
        e => e,
    };
    let help = match &e {
        ChangeError::Name { .. } => {
            let help = "the universe.json and the change.json before say who is who";
            return Problem::usage(usage("C001", e.to_string(), help));
        }
        ChangeError::Epoch(_) => {
            "propose it anew from the current configuration, and let the admins sign it"
        }
        ChangeError::Behind => {
            "start the other nodes; one that is gone for good is listed under `lost`"
        }
        ChangeError::Refused(_) | ChangeError::Files(_) => "see why, and propose it anew",
        ChangeError::NotFinal { .. } => {
            "start the other nodes and this one: then it becomes final, and counts"
        }
    };
    Problem::from(Diagnostic::error("L008", Actor::Operator, e.to_string()).help(help))
}
