//! `gridrig ledger grant`: from now on this controller commands these devices, and no other.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use document::{Actor, Diagnostic};
use ledger_core::Holder;
use ledger_net::grant::{GrantError, Granted, Wish, grant};
use ledger_net::{Node, NodeConfig};
use model::Clock as _;
use scenario::verdict::Verdict;
use serde_json::{Value, json};

use crate::codes::usage;
use crate::problem::{Outcome, Problem};
use crate::rig_file;
use crate::terminal::Terminal;

/// How long each wait may take: for the word of the others, and until the grant is final.
/// Chosen: as long as a run waits for the other nodes when it begins.
const PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `ledger grant`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The configuration of the node at which the admin's key lies. It must not be running.
    config: PathBuf,
    /// The party that commands from now on, such as `controller-2`.
    #[arg(long, value_name = "PARTY")]
    to: String,
    /// A device; again for more.
    #[arg(long, required_unless_present = "rig")]
    device: Vec<String>,
    /// All devices of a rig.
    #[arg(long)]
    rig: Option<PathBuf>,
    /// The admin who signs.
    #[arg(long, default_value = "admin-1", value_name = "PARTY")]
    admin: String,
}

/// Runs it.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> Outcome {
    let config = NodeConfig::load(&arguments.config).map_err(|e| Problem::from(e.0))?;
    let mut devices = arguments.device.clone();
    if let Some(path) = &arguments.rig {
        let rig = rig_file::load(Some(path), terminal)?;
        devices.extend(rig.devices.iter().map(|device| device.id.to_string()));
    }
    devices.sort();
    devices.dedup();
    let clock = runtime::clock::SystemClock::start();
    let wall = Arc::new(move || clock.utc().unix_nanos());
    let told = |e: ledger_net::NodeError| Problem::from(vec![e.into_diagnostic()]);
    let node = Node::start(&config, Arc::clone(&wall) as _, |_| {}).map_err(told)?;
    let wish = Wish {
        admin: &arguments.admin,
        to: &arguments.to,
        devices: &devices,
        patience: PATIENCE,
    };
    let granted = grant(&node, &config.universe, &*wall, &wish);
    // What others have of this node's log they keep; a node that only granted has nothing else to do.
    node.close().map_err(told)?;
    let granted = granted.map_err(problem)?;
    terminal.result(
        || {
            let devices = granted.iter().map(|granted| {
                json!({ "device": granted.device, "epoch": granted.epoch, "before": before(granted) })
            });
            json!({ "to": arguments.to, "level": "L3", "devices": devices.collect::<Vec<Value>>() })
        },
        || {
            let rows = granted.iter().map(|granted| {
                let (device, epoch) = (&granted.device, granted.epoch);
                format!("{device:<16} epoch {epoch:<4} to {}\n", arguments.to)
            });
            format!(
                "{}Final (L3). A controller that is cut off from the other nodes does not hear of it: see to it that it is off.",
                rows.collect::<String>()
            )
        },
    );
    Ok(Verdict::Pass)
}

fn before(granted: &Granted) -> Value {
    match granted.before {
        None => Value::Null,
        Some(authority) => json!({
            "epoch": authority.epoch,
            "issuer": match authority.holder {
                Holder::Issuer(issuer) => Value::from(issuer.to_string()),
                Holder::Anybody | Holder::Contested => Value::Null,
            },
        }),
    }
}

fn problem(e: GrantError) -> Problem {
    let help = match e {
        GrantError::Party { .. } => {
            return Problem::usage(usage(
                "C001",
                e.to_string(),
                "`--controllers` and `--admins` of `gridrig ledger init` make parties",
            ));
        }
        GrantError::Behind { .. } => {
            "start the other nodes; one that is gone for good is listed under `lost`"
        }
        GrantError::Refused(_) => {
            "the admin's key file lies in the `keys` folder of this node, and of no other"
        }
        GrantError::NotFinal { .. } => {
            "start the other nodes and this one: then it becomes final, and holds"
        }
        GrantError::Contended { .. } => "agree with the other admin, and grant again",
    };
    Problem::from(Diagnostic::error("L007", Actor::Operator, e.to_string()).help(help))
}
