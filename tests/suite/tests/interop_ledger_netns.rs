//! Four nodes of a ledger, each on a network of its own in the kernel, and a partition of it: a
//! link that is down loses packets and tells nobody, as a pulled cable does.

// Everything in this file is a test, its small functions too.
#![allow(clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use suite::process::{Running, WithArguments, gridrig, output};
use suite::{PATIENCE, folder, root, wait_for};

/// Nodes of the ledger, each in a namespace.
const NODES: usize = 4;
/// Where each listens in its own network.
const PORT: u16 = 7300;

fn ip(words: &[&str]) {
    let done = Command::new("ip").args(words).output().expect("ip starts");
    assert!(done.status.success(), "ip {words:?}: {done:?}");
}

/// A switch and the namespaces of the nodes behind it; all of it goes when this goes.
struct Networks {
    prefix: String,
}

impl Networks {
    fn new() -> Self {
        let prefix = format!("gridrig{}", std::process::id());
        let networks = Self { prefix };
        let switch = networks.switch();
        ip(&["netns", "add", &switch]);
        ip(&["-n", &switch, "link", "add", "switch", "type", "bridge"]);
        ip(&["-n", &switch, "link", "set", "switch", "up"]);
        for node in 1..=NODES {
            let (space, port) = (networks.space(node), format!("port{node}"));
            ip(&["netns", "add", &space]);
            ip(&[
                "-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "lan",
                "netns", &space,
            ]);
            ip(&[
                "-n", &switch, "link", "set", &port, "master", "switch", "up",
            ]);
            let address = format!("{}/24", address(node));
            ip(&["-n", &space, "address", "add", &address, "dev", "lan"]);
            ip(&["-n", &space, "link", "set", "lan", "up"]);
            ip(&["-n", &space, "link", "set", "lo", "up"]);
        }
        networks
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.prefix)
    }

    fn space(&self, node: usize) -> String {
        format!("{}-{node}", self.prefix)
    }

    /// A program of ours in the network of a node.
    fn gridrig_at(&self, node: usize) -> Command {
        let ours = gridrig();
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.space(node)])
            .arg(ours.get_program());
        command.args(ours.get_args());
        for (name, value) in ours.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(folder) = ours.get_current_dir() {
            command.current_dir(folder);
        }
        command
    }

    /// The cable of a node is pulled out of the switch, or put in again.
    fn cable(&self, node: usize, state: &str) {
        ip(&[
            "-n",
            &self.switch(),
            "link",
            "set",
            &format!("port{node}"),
            state,
        ]);
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        let spaces = (1..=NODES).map(|node| self.space(node));
        for space in spaces.chain([self.switch()]) {
            let _ = Command::new("ip").args(["netns", "del", &space]).output();
        }
    }
}

/// An address of the benchmark range of RFC 2544, in a network that nobody else is in.
fn address(node: usize) -> String {
    format!("198.18.0.{node}")
}

/// A universe of four nodes for the demo bench, each at its own address.
fn lab(dir: &Path) -> (PathBuf, PathBuf) {
    let (campus, lab) = (root().join("rigs/virtual/campus.toml"), dir.join("lab"));
    let made = gridrig()
        .with(["ledger", "init"])
        .with([&lab])
        .with(["--rig"])
        .with([&campus])
        .with(["--listen", &format!("127.0.0.1:{PORT}")]);
    let made = output(made);
    assert!(made.status.success(), "{made:?}");
    for node in 1..=NODES {
        let config = lab.join(format!("node-{node}/node.toml"));
        let mut text = fs::read_to_string(&config).expect("the configuration");
        for other in 1..=NODES {
            // `init` counts ports up from the first.
            let port = PORT + other as u16 - 1;
            let (from, to) = (format!("\"127.0.0.1:{port}\""), address(other));
            text = text.replace(&from, &format!("\"{to}:{PORT}\""));
        }
        assert!(!text.contains("127.0.0.1"), "{text}");
        fs::write(&config, text).expect("the configuration is written");
    }
    let rig = dir.join("rig.toml");
    let text = format!(
        "schema = 1\ninherit = \"{}\"\n[ledger]\nnode = \"lab/node-1/node.toml\"\n",
        campus.display()
    );
    fs::write(&rig, text).expect("the rig is written");
    (lab, rig)
}

/// The atoms in a log, as anybody can read them.
fn atoms(log: &Path, dir: &Path) -> Vec<String> {
    let count = fs::read_dir(dir).expect("a folder").count();
    let run = dir.join(format!("as-run-{count}"));
    fs::create_dir(&run).expect("a folder");
    std::os::unix::fs::symlink(log, run.join("ledger")).expect("a link");
    let shown = output(gridrig().with(["--json", "ledger", "show"]).with([&run]));
    assert!(shown.status.success(), "{shown:?}");
    let text = String::from_utf8(shown.stdout).expect("text");
    let atom =
        |line: &str| serde_json::from_str::<Value>(line).expect("an object each")["atom"].clone();
    let atoms = text.lines().map(atom);
    atoms
        .map(|atom| atom.as_str().expect("a text").to_owned())
        .collect()
}

#[test]
#[ignore = "needs peers"]
fn two_of_four_nodes_behind_a_dead_link_finalise_nothing_and_lose_nothing() {
    let dir = folder();
    let networks = Networks::new();
    let (lab, rig) = lab(dir.path());
    let start = |node: usize| {
        let config = lab.join(format!("node-{node}/node.toml"));
        let command = networks
            .gridrig_at(node)
            .with(["--json", "ledger", "node"])
            .with([config]);
        Running::start(command)
    };
    let mut others: Vec<Running> = (2..=NODES).map(start).collect();
    for node in &mut others {
        while node.json()["event"] != "ready" {}
    }
    let run_dir = dir.path().join("run");
    let run = Running::start(
        networks
            .gridrig_at(1)
            .with(["run"])
            .with([&rig])
            .with([
                "--on",
                "sim",
                "--arm",
                "--listen",
                "127.0.0.1:8080",
                "--out",
            ])
            .with([&run_dir]),
    );
    let logs: Vec<PathBuf> = (1..=NODES)
        .map(|node| lab.join(format!("node-{node}/log/own")))
        .collect();
    let of = |node: usize| atoms(&logs[node - 1], dir.path());
    // What a node told of itself last.
    let mut status = |at: usize| loop {
        let told = others[at].json();
        if told["clock"].is_u64() {
            break told;
        }
    };
    let mut until = |what: &str, at: usize, holds: &dyn Fn(&Value) -> bool| {
        wait_for(what, PATIENCE, || {
            Some(status(at)).filter(|told| holds(told))
        })
    };
    let clock = |told: &Value| told["clock"].as_u64().unwrap_or(0);
    let open = |told: &Value| told["not_final"].as_u64();
    until("what is said first is final", 0, &|told| {
        clock(told) > 5 && open(told) == Some(0)
    });
    // The links of two nodes die: nobody is told, and of either part two are left, or one.
    networks.cable(3, "down");
    networks.cable(4, "down");
    let alone = until("nothing becomes final on this side", 0, &|told| {
        open(told) >= Some(10)
    });
    let before = until("the other side stands still", 1, &|told| {
        told["may_sign"] == true
    });
    let later = until("it is still alone", 0, &|told| {
        clock(told) > clock(&alone) + 10
    });
    assert!(open(&later) > open(&alone), "{later}");
    let there = until("it has heard nothing", 1, &|told| told["may_sign"] == true);
    assert!(clock(&there) < clock(&later), "{there}");
    assert!(clock(&before) <= clock(&there));
    let said_alone: BTreeSet<String> = of(1).into_iter().collect();
    networks.cable(3, "up");
    networks.cable(4, "up");
    for at in 0..NODES - 1 {
        until("all is final again", at, &|told| {
            clock(told) > clock(&later) && open(told) == Some(0)
        });
    }
    let (ended, told) = run.terminate();
    assert!(ended.success(), "{told}");
    let result = suite::run::result(&run_dir);
    assert_eq!(result["ledger"]["verified"], true, "{result}");
    assert_eq!(result["ledger"]["not_final"], 0, "{result}");
    let own: BTreeSet<String> = of(1).into_iter().collect();
    assert!(own.is_superset(&said_alone));
    for node in 2..=NODES {
        let theirs = wait_for("a node has it all", PATIENCE, || {
            let theirs: BTreeSet<String> = of(node).into_iter().collect();
            (theirs.len() >= own.len()).then_some(theirs)
        });
        assert_eq!(theirs, own, "node-{node}");
    }
    for other in others {
        assert!(other.terminate().0.success());
    }
}
