//! Real processes of real nodes, killed with SIGKILL at random moments while all of
//! them write: what was acknowledged is still there, no clock is given twice, and in
//! the end all have the same.

// Everything in this file is a test, its small functions too.
#![allow(clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use ledger_core::payload::Mode;
use ledger_core::{Payload, Role};
use ledger_net::files::{COPIES, OWN, Plan, init};
use ledger_net::{Event, Node, NodeConfig};
use ledger_node::AtomDraft;
use ledger_node::read::entries_in;
use ledger_verify::Expectation;

const NODES: usize = 4;
const TEST: &str = "nodes_that_are_killed_at_random_lose_nothing_and_come_to_the_same";

/// Tells a process which node it is.
const NODE_CONFIG: &str = "GRIDRIG_KILLED_NODE";

/// The seed of the moments, and how many there are: see CONTRIBUTING.
const SEED: &str = "GRIDRIG_KILL_SEED";
const KILLS: &str = "GRIDRIG_KILLS";

/// Longer than anything here takes, so that a test that fails ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two things that a node says. Chosen: four nodes of a development build then
/// leave a core something for the restarts.
const SAYS: Duration = Duration::from_millis(40);

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("it does").as_nanos() as i64
}

fn asked(variable: &str, otherwise: u64) -> u64 {
    let value = std::env::var(variable).ok();
    value.and_then(|v| v.parse().ok()).unwrap_or(otherwise)
}

/// Keeps a node until it is killed, or told to end by a file. What it acknowledges
/// goes out in lines of their own, whatever the test runner prints between them.
fn keep(config: &Path) {
    let config = NodeConfig::load(config).expect("it is right");
    let lab = config.log.join("../..");
    let told = |event: Event| match event {
        Event::Reached { atom, level } => println!("\nreached {} {atom}", level as u8 + 1),
        Event::Accused { who, what } => println!("\nwrong {who} is accused: {what}"),
        Event::Faulty { node, what } => println!("\nwrong {node}: {what}"),
        Event::Refused { atom, why } => println!("\nwrong {atom}: {why}"),
        Event::Ready | Event::NextEpoch { .. } => {}
    };
    let node = Node::start(&config, Arc::new(now), told).expect("it starts");
    let party = format!("party-{}", config.me + 1);
    let mut count = 0;
    while !lab.join("end").exists() {
        if lab.join("quiet").exists() {
            let status = node.status();
            let held: BTreeSet<u64> = status.nodes.iter().map(|(_, held, _)| *held).collect();
            let held: Vec<String> = held.iter().map(u64::to_string).collect();
            let (open, may_sign) = (status.open, status.may_sign);
            println!("\nstands {} {open} {may_sign}", held.join(","));
        } else {
            count += 1;
            let (from, to) = ("grid".to_owned(), format!("{count}"));
            let reason = "asked".to_owned();
            let draft = AtomDraft::new(&party, Payload::Mode(Mode { from, to, reason }));
            // It is queued until the node may sign.
            match node.submit(now(), vec![draft]).wait(Duration::from_secs(1)) {
                Ok(receipts) => println!("\ntold {} {}", receipts[0].clock, receipts[0].atom_id),
                Err(ledger_node::WaitError::Late | ledger_node::WaitError::QueueFull) => {}
                Err(e) => println!("\nwrong {e}"),
            }
        }
        std::thread::sleep(SAYS);
    }
    node.close().expect("in good order");
}

/// What the nodes have said so far.
#[derive(Default)]
struct Said {
    /// By node and clock.
    told: BTreeMap<(usize, u64), String>,
    /// How many were acknowledged at each level; the atoms themselves.
    levels: [usize; 3],
    atoms: BTreeSet<String>,
    wrong: Vec<String>,
    stands: BTreeMap<usize, String>,
}

impl Said {
    fn hear(&mut self, node: usize, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["told", clock, atom] => {
                let place = (node, clock.parse().expect("a clock"));
                let first = self.told.insert(place, atom.to_owned());
                if first.is_some_and(|first| first != atom) {
                    self.wrong.push(format!("node {node} gave {clock} twice"));
                }
                self.atoms.insert(atom.to_owned());
            }
            ["reached", level, atom] => {
                self.levels[level.parse::<usize>().expect("a level") - 1] += 1;
                self.atoms.insert(atom.to_owned());
            }
            ["stands", ..] => {
                self.stands.insert(node, line.to_owned());
            }
            ["wrong", ..] => self.wrong.push(format!("node {node}: {line}")),
            _ => {}
        }
    }
}

struct Lab {
    configs: Vec<PathBuf>,
    processes: Vec<Option<Child>>,
    said: Arc<Mutex<Said>>,
}

impl Lab {
    fn new(folder: &Path) -> Lab {
        let held: Vec<TcpListener> = (0..NODES)
            .map(|_| TcpListener::bind("127.0.0.1:0").expect("it does"))
            .collect();
        let addresses: Vec<SocketAddr> = held
            .iter()
            .map(|l| l.local_addr().expect("bound"))
            .collect();
        let party = |n: usize| (format!("party-{n}"), vec![Role::Dispatcher]);
        let plan = Plan {
            name: "killed".to_owned(),
            created_utc_ns: now(),
            addresses,
            parties: (1..=NODES).map(party).collect(),
            admin_threshold: 1,
            replicas: vec![],
        };
        let mut n = 0;
        let mut entropy = |bytes: &mut [u8; 32]| {
            n += 1;
            *bytes = [n; 32];
            Ok(())
        };
        let made = init(folder, &plan, &mut entropy).expect("it is right");
        // Each node has a party at home.
        for n in 2..=NODES {
            let key = |node: usize| folder.join(format!("node-{node}/keys/party-{n}.key"));
            std::fs::rename(key(1), key(n)).expect("the key is there");
        }
        Lab {
            processes: made.configs.iter().map(|_| None).collect(),
            configs: made.configs,
            said: Arc::default(),
        }
    }

    fn start(&mut self, node: usize) {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", TEST, "--nocapture"])
            .env(NODE_CONFIG, &self.configs[node])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let said = Arc::clone(&self.said);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                said.lock().expect("whole").hear(node, &line);
            }
        });
        self.processes[node] = Some(child);
    }

    fn kill(&mut self, node: usize) {
        if let Some(mut child) = self.processes[node].take() {
            child.kill().expect("it was there");
            child.wait().expect("it ends");
        }
    }

    fn until(&self, what: &str, mut holds: impl FnMut(&Said) -> bool) {
        let began = Instant::now();
        while !holds(&self.said.lock().expect("whole")) {
            if began.elapsed() > PATIENCE {
                let said = self.said.lock().expect("whole");
                panic!("{what}: {:?}, {:?}", said.stands, said.wrong);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        (0..NODES).for_each(|node| self.kill(node));
    }
}

/// The entries of a log: the atom at each clock.
fn atoms(folder: &Path, config: &NodeConfig) -> Vec<String> {
    let entries = entries_in(folder, config.epochs.clone()).expect("it reads");
    let entries = entries.map(|entry| entry.expect("it reads").atom.id().to_string());
    entries.collect()
}

#[test]
fn nodes_that_are_killed_at_random_lose_nothing_and_come_to_the_same() {
    if let Some(config) = std::env::var_os(NODE_CONFIG) {
        return keep(Path::new(&config));
    }
    let (mut seed, kills) = (asked(SEED, 1), asked(KILLS, 8));
    println!("{SEED}={seed} {KILLS}={kills}");
    let mut draw = |below: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("lab");
    let mut lab = Lab::new(&folder);
    (0..NODES).for_each(|node| lab.start(node));
    lab.until("something is final", |said| said.levels[2] > 0);
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(draw(700)));
        // Mostly one, sometimes two at once, which no quorum survives.
        let first = draw(NODES as u64) as usize;
        let second = (first + 1 + draw(NODES as u64 - 1) as usize) % NODES;
        let killed = if draw(4) == 0 {
            vec![first, second]
        } else {
            vec![first]
        };
        killed.iter().for_each(|node| lab.kill(*node));
        std::thread::sleep(Duration::from_millis(draw(400)));
        killed.iter().for_each(|node| lab.start(*node));
    }
    std::fs::write(folder.join("quiet"), "").unwrap();
    lab.until("all have the same", |said| {
        let mut stands = said.stands.values();
        let first = stands.next();
        // One number: each node holds as much of every log as there is of its own.
        let is_one = |line: &String| !line.contains(',') && line.ends_with(" 0 true");
        said.stands.len() == NODES
            && first.is_some_and(is_one)
            && stands.all(|line| Some(line) == first)
    });
    std::fs::write(folder.join("end"), "").unwrap();
    for process in &mut lab.processes {
        let mut child = process.take().expect("it runs");
        assert!(child.wait().unwrap().success());
    }
    let said = lab.said.lock().unwrap();
    assert_eq!(said.wrong, Vec::<String>::new());
    println!(
        "{} told, {:?} times L1, L2, L3 was reached",
        said.told.len(),
        said.levels
    );
    assert!(said.told.len() > 20, "{} were told", said.told.len());
    let configs: Vec<NodeConfig> = lab
        .configs
        .iter()
        .map(|path| NodeConfig::load(path).expect("it is right"))
        .collect();
    let logs: Vec<Vec<String>> = configs.iter().map(|c| atoms(&c.log.join(OWN), c)).collect();
    for ((node, clock), atom) in &said.told {
        let at = usize::try_from(*clock).unwrap() - 1;
        assert_eq!(logs[*node].get(at), Some(atom), "node {node} at {clock}");
    }
    for (node, log) in logs.iter().enumerate() {
        let config = &configs[node];
        let own = config.log.join(OWN);
        let report = ledger_verify::verify_folder(&own, &Expectation::default());
        assert!(report.is_ok() && report.closed, "{report}");
        let unique: BTreeSet<&String> = log.iter().collect();
        assert_eq!(unique.len(), log.len(), "node {node} has an atom twice");
        for atom in &said.atoms {
            assert!(unique.contains(atom), "node {node} has lost {atom}");
        }
        // What others hold of it is what it holds itself: no clock meant two things.
        for (other, config) in configs.iter().enumerate().filter(|(o, _)| *o != node) {
            let name = &config.universe.nodes[node].name;
            let copy = atoms(&config.log.join(COPIES).join(name), config);
            assert_eq!(&copy, log, "the copy of node {node} at node {other}");
        }
    }
}
