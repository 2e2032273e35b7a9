//! `gridrig ledger init`: a new universe of several nodes.

use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use ledger_core::Role;
use ledger_net::files::{Plan, init};
use model::Clock as _;
use scenario::verdict::Verdict;
use serde_json::json;

use crate::codes::usage;
use crate::problem::{Outcome, Problem};
use crate::rig_file;
use crate::terminal::Terminal;

/// Most nodes that are made at once.
/// Chosen: the number that the ledger's design reckons with.
const NODES_MAX: u16 = 50;

/// Most controllers. Chosen: one for each device of a small bench is more than anybody fails over to.
const CONTROLLERS_MAX: u8 = 9;

/// Arguments of `ledger init`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder, which must not exist yet.
    folder: PathBuf,
    /// Its name, for people.
    #[arg(long, default_value = "lab")]
    name: String,
    /// How many nodes: one tolerates nothing, three a crash, four a liar.
    #[arg(long, default_value_t = 4)]
    nodes: u16,
    /// The address of the first node; the others follow on the next ports. Change them in the
    /// nodes' configuration files when they run on several hosts.
    #[arg(long, default_value = "127.0.0.1:7301", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// The rig whose participants shall be parties of the universe.
    #[arg(long)]
    rig: Option<PathBuf>,
    /// How many admins there are, and how many of them must sign a change of the configuration.
    #[arg(long, default_value = "1/1", value_name = "K/N")]
    admins: String,
    /// How many controllers: `controller`, and for a standby `controller-2` and so on.
    #[arg(long, default_value_t = 1)]
    controllers: u8,
    /// Groups of shards: the nodes are dealt to them in equal parts. One keeps everything everywhere.
    #[arg(long, default_value_t = 1)]
    groups: u16,
}

/// Runs it.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> Outcome {
    let plan = plan(arguments, terminal)?;
    let mut entropy = |bytes: &mut [u8; 32]| {
        std::fs::File::open(runtime::evidence::ENTROPY).and_then(|mut f| f.read_exact(bytes))
    };
    let made = init(&arguments.folder, &plan, &mut entropy).map_err(|e| Problem::usage(*e.0))?;
    let id = made
        .universe
        .id()
        .map_or(String::new(), |id| id.to_string());
    let quorum = ledger_core::Quorum {
        replicas: plan.addresses.len() / usize::from(arguments.groups),
    };
    let configs: Vec<String> = made
        .configs
        .iter()
        .map(|p| p.display().to_string())
        .collect();
    terminal.result(
        || {
            json!({
                "universe_id": id,
                "universe": arguments.folder.join("universe.json").display().to_string(),
                "nodes": configs,
                "tolerated": quorum.tolerated(),
                "final_at": quorum.is_final(),
            })
        },
        || {
            format!(
                "Universe {id}\nAn atom is final when {} of {} nodes have it; {} of them may lie.\n\
                 Move each node's folder to its host, then: gridrig ledger node {}",
                quorum.is_final(),
                quorum.replicas,
                quorum.tolerated(),
                configs.first().map_or("", String::as_str),
            )
        },
    );
    Ok(Verdict::Pass)
}

fn plan(arguments: &Arguments, terminal: &Terminal) -> Result<Plan, Problem> {
    let wrong = |what: String, help: &str| Problem::usage(usage("C001", what, help));
    let nodes = arguments.nodes;
    if !(1..=NODES_MAX).contains(&nodes) {
        let what = format!("{nodes} nodes cannot be made");
        return Err(wrong(what, &format!("from 1 to {NODES_MAX}")));
    }
    let groups = arguments.groups;
    if !groups.is_power_of_two() || !nodes.is_multiple_of(groups) {
        let what = format!("{nodes} nodes cannot be dealt to {groups} groups");
        return Err(wrong(
            what,
            "a power of two that divides the number of nodes",
        ));
    }
    let (threshold, admins) = arguments
        .admins
        .split_once('/')
        .and_then(|(k, n)| Some((k.parse::<u64>().ok()?, n.parse::<u64>().ok()?)))
        .filter(|(k, n)| (1..=*n).contains(k) && *n <= 16)
        .ok_or_else(|| {
            let what = format!("`{}` is no number of admins", arguments.admins);
            wrong(what, "such as `2/3`: two of three must sign; at most 16")
        })?;
    let mut parties = vec![(
        runtime::evidence::MARKET_OPERATOR.to_owned(),
        vec![Role::MarketOperator],
    )];
    let controllers = arguments.controllers;
    if !(1..=CONTROLLERS_MAX).contains(&controllers) {
        let what = format!("{controllers} controllers cannot be made");
        return Err(wrong(what, &format!("from 1 to {CONTROLLERS_MAX}")));
    }
    parties.extend((1..=controllers).map(|number| {
        let name = runtime::evidence::CONTROLLER;
        let name = match number {
            1 => name.to_owned(),
            number => format!("{name}-{number}"),
        };
        (name, vec![Role::Dispatcher, Role::Meter])
    }));
    parties.extend((1..=admins).map(|n| (format!("admin-{n}"), vec![Role::Admin])));
    if let Some(path) = &arguments.rig {
        let rig = rig_file::load(Some(path), terminal)?;
        let names = runtime::desk::Desk::participants(&rig);
        let party = |name: &String| (runtime::evidence::party_of(name), vec![Role::Participant]);
        parties.extend(names.iter().map(party));
    }
    let ip: IpAddr = arguments.listen.ip();
    let addresses = (0..nodes).map(|n| {
        let port = arguments.listen.port().checked_add(n);
        port.map(|port| SocketAddr::new(ip, port))
    });
    let addresses = addresses.collect::<Option<Vec<_>>>().ok_or_else(|| {
        let what = format!(
            "there are no {nodes} ports from {}",
            arguments.listen.port()
        );
        wrong(what, "name a lower port")
    })?;
    let each = u64::from(nodes / groups);
    let dealt = |group: u64| (group * each..(group + 1) * each).collect();
    Ok(Plan {
        name: arguments.name.clone(),
        created_utc_ns: runtime::clock::SystemClock::start().utc().unix_nanos(),
        addresses,
        parties,
        admin_threshold: threshold,
        replicas: match groups {
            1 => vec![],
            groups => (0..u64::from(groups)).map(dealt).collect(),
        },
    })
}
