//! A bench whose ledger is kept by four nodes: real processes, one of them killed, and a network
//! that comes apart and together again.

// Everything in this file is a test, its small functions too.
#![allow(clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use suite::http::try_request;
use suite::process::{Running, WithArguments, gridrig, output, script};
use suite::{PATIENCE, folder, free_port, root, wait_for};

/// A cable between two nodes that can be pulled out.
struct Cable {
    port: u16,
    is_whole: Arc<AtomicBool>,
    ends: Arc<Mutex<Vec<TcpStream>>>,
}

impl Cable {
    fn to(target: u16) -> Cable {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let is_whole = Arc::new(AtomicBool::new(true));
        let ends: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let (whole, kept) = (Arc::clone(&is_whole), Arc::clone(&ends));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if !whole.load(Ordering::Relaxed) {
                    continue;
                }
                let Ok(other) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else {
                    continue;
                };
                let copies = (stream.try_clone(), other.try_clone());
                if let (Ok(one), Ok(two)) = copies {
                    let mut kept = kept.lock().expect("nobody panics with it");
                    kept.extend([
                        one.try_clone().expect("a socket"),
                        two.try_clone().expect("a socket"),
                    ]);
                    carry(stream, two);
                    carry(other, one);
                }
            }
        });
        Cable {
            port,
            is_whole,
            ends,
        }
    }

    fn pull(&self) {
        self.is_whole.store(false, Ordering::Relaxed);
        for end in self.ends.lock().expect("nobody panics with it").drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        self.is_whole.store(true, Ordering::Relaxed);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        let mut bytes = [0; 16_384];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}

/// A universe of four nodes for the demo bench, and that bench with a node for its ledger.
fn lab(dir: &Path) -> (PathBuf, PathBuf) {
    lab_with(dir, 1)
}

/// As [`lab`], with so many controllers.
fn lab_with(dir: &Path, controllers: u8) -> (PathBuf, PathBuf) {
    let campus = root().join("rigs/virtual/campus.toml");
    let lab = dir.join("lab");
    // Four ports in a row that are free now.
    let first = wait_for("four free ports", PATIENCE, || {
        let first = free_port();
        let free = |n| TcpListener::bind((Ipv4Addr::LOCALHOST, first.checked_add(n)?)).ok();
        (1..4).map(free).all(|held| held.is_some()).then_some(first)
    });
    let made = gridrig()
        .with(["ledger", "init"])
        .with([&lab])
        .with(["--rig"])
        .with([&campus])
        .with(["--controllers", &controllers.to_string()])
        .with(["--listen", &format!("127.0.0.1:{first}")]);
    assert!(output(made).status.success());
    let rig = dir.join("rig.toml");
    let text = format!(
        "schema = 1\ninherit = \"{}\"\n[ledger]\nnode = \"lab/node-1/node.toml\"\n",
        campus.display()
    );
    fs::write(&rig, text).expect("the rig is written");
    (lab, rig)
}

fn start(lab: &Path, node: usize) -> Running {
    let config = lab.join(format!("node-{node}/node.toml"));
    Running::start(gridrig().with(["--json", "ledger", "node"]).with([config]))
}

/// Waits until a node may sign.
fn is_ready(node: &mut Running) {
    while node.json()["event"] != "ready" {}
}

/// What the run tells about its ledger: its clock, entries that are not final, and who is connected.
fn ledger(port: u16) -> Option<(u64, u64, usize)> {
    let answer = try_request(port, "GET", "/api/v1/ledger", None, "")?;
    let told = answer.json();
    let ledger = &told["federation"];
    let nodes = ledger["nodes"].as_array()?;
    let there = nodes.iter().filter(|node| node["connected"] == true);
    Some((
        told["clock"].as_u64()?,
        ledger["not_final"].as_u64()?,
        there.count(),
    ))
}

/// A log as a run folder, which holds it as `ledger`.
fn as_run(log: &Path, dir: &Path) -> PathBuf {
    let run = dir.join(format!(
        "as-run-{}",
        fs::read_dir(dir).expect("a folder").count()
    ));
    fs::create_dir(&run).expect("a folder");
    std::os::unix::fs::symlink(log, run.join("ledger")).expect("a link");
    run
}

/// What comes out when the market is decided again from a node's own log, by the rules of a run.
fn market_again(log: &Path, rules: &Path, dir: &Path) -> Value {
    let run = as_run(log, dir);
    fs::copy(rules, run.join("market.json")).expect("the rules of the run");
    let replayed = output(gridrig().with(["--json", "market", "replay"]).with([&run]));
    let text = String::from_utf8(replayed.stdout).expect("text");
    serde_json::from_str(&text).expect("an object")
}

/// The entries of a log: atom and kind of each.
fn entries(log: &Path, dir: &Path) -> Vec<(String, String)> {
    let run = as_run(log, dir);
    let shown = output(gridrig().with(["--json", "ledger", "show"]).with([&run]));
    assert!(shown.status.success());
    let verified = output(gridrig().with(["ledger", "verify"]).with([&run]));
    assert!(verified.status.success(), "{verified:?}");
    let text = String::from_utf8(shown.stdout).expect("text");
    let object = |line: &str| serde_json::from_str::<Value>(line).expect("an object each");
    let word = |entry: &Value, key: &str| entry[key].as_str().expect("a text").to_owned();
    text.lines()
        .map(object)
        .map(|entry| (word(&entry, "atom"), word(&entry, "kind")))
        .collect()
}

#[test]
#[ignore = "needs peers"]
fn four_nodes_keep_a_bench_through_a_kill_and_a_split_and_prove_it_afterwards() {
    let dir = folder();
    let (lab, rig) = lab(dir.path());
    // The bench's node dials the three others, each over a cable of its own.
    let config = lab.join("node-1/node.toml");
    let mut text = fs::read_to_string(&config).expect("the configuration");
    let mut cables = vec![];
    for node in 2..=4 {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("node-{node} = ")))
            .expect("the peer's address")
            .to_owned();
        let port = line.rsplit([':', '"']).nth(1).expect("a port");
        let cable = Cable::to(port.parse().expect("a port"));
        let through = format!("node-{node} = \"127.0.0.1:{}\"", cable.port);
        text = text.replace(&line, &through);
        cables.push(cable);
    }
    fs::write(&config, text).expect("the configuration is written");
    let mut others: Vec<Running> = (2..=4).map(|node| start(&lab, node)).collect();
    others.iter_mut().for_each(is_ready);
    let (port, run_dir) = (free_port(), dir.path().join("run"));
    let run = Running::start(
        gridrig()
            .with(["run"])
            .with([&rig])
            .with(["--on", "sim", "--arm", "--listen"])
            .with([format!("127.0.0.1:{port}")])
            .with(["--out"])
            .with([&run_dir]),
    );
    let until = |what: &str, holds: &dyn Fn((u64, u64, usize)) -> bool| {
        wait_for(what, PATIENCE, || ledger(port).filter(|seen| holds(*seen)))
    };
    until("the first entries are final at four nodes", &|(
        clock,
        open,
        there,
    )| {
        clock > 5 && open == 0 && there == 4
    });
    // One is killed: three of four are enough.
    others.remove(2).kill();
    let (clock, _, _) = until("one is missed", &|(_, _, there)| there == 3);
    until("what is said without it is final", &|(now, open, _)| {
        now > clock + 5 && open == 0
    });
    // The bench is cut off: it goes on to log, and nothing becomes final.
    cables.iter().for_each(Cable::pull);
    let (clock, _, _) = until("the bench is alone", &|(_, _, there)| there == 1);
    let (later, still_open, _) = until("it logs on", &|(now, _, _)| now >= clock + 10);
    let alone = later - clock;
    assert!(still_open >= alone, "{still_open} of {alone} are open");
    // All come back.
    cables.iter().for_each(Cable::mend);
    let mut killed = start(&lab, 4);
    is_ready(&mut killed);
    until("all is final", &|(now, open, there)| {
        now >= later && open == 0 && there == 4
    });
    let (status, told) = run.terminate();
    assert!(status.success(), "{told}");
    let result = suite::run::result(&run_dir);
    assert_eq!(result["ledger"]["verified"], true, "{result}");
    assert_eq!(result["ledger"]["not_final"], 0, "{result}");
    others.push(killed);

    // Every log verifies and holds the same; nothing that was acknowledged is missing.
    let own = entries(&lab.join("node-1/log/own"), dir.path());
    let ids: BTreeSet<&String> = own.iter().map(|(atom, _)| atom).collect();
    let logged = result["counters"]["dispatches_logged"]
        .as_u64()
        .expect("a count");
    let dispatches = own.iter().filter(|(_, kind)| kind == "dispatch").count() as u64;
    assert!(dispatches >= logged, "{dispatches} of {logged}");
    for node in 2..=4 {
        let log = lab.join(format!("node-{node}/log/own"));
        let theirs = wait_for("a node has it all", PATIENCE, || {
            let theirs = entries(&log, dir.path());
            (theirs.len() >= own.len()).then_some(theirs)
        });
        let theirs: BTreeSet<&String> = theirs.iter().map(|(atom, _)| atom).collect();
        assert_eq!(theirs, ids, "node-{node}");
    }
    // And each decides the market again from what it holds itself, to the last unit.
    let market = |node: u8| {
        let log = lab.join(format!("node-{node}/log/own"));
        market_again(&log, &run_dir.join("market.json"), dir.path())
    };
    let own_market = market(1);
    assert_eq!(own_market["result"], "identical", "{own_market}");
    assert!(own_market["cleared"].as_u64() > Some(0), "{own_market}");
    for node in 2..=4 {
        assert_eq!(market(node), own_market, "node-{node}");
    }
    for other in others {
        assert!(other.terminate().0.success());
    }

    // A setpoint that was sent while the bench was alone, proved final.
    let proof = dir.path().join("a.tproof");
    let sent_alone = (clock + 1..=later)
        .find(|at| own[*at as usize - 1].1 == "dispatch")
        .unwrap_or(clock + 1);
    let prove = gridrig()
        .with(["ledger", "prove"])
        .with([&run_dir])
        .with([format!("clock:{sent_alone}"), "--out".to_owned()])
        .with([&proof]);
    let proved = output(prove);
    assert!(proved.status.success(), "{proved:?}");
    let universe = lab.join("universe.json");
    let verdicts = |file: &Path| {
        let ours = gridrig()
            .with(["ledger", "verify-proof", "--level", "l3", "--universe"])
            .with([&universe])
            .with([file]);
        let theirs = script("verify_proof.py")
            .with(["--universe"])
            .with([&universe])
            .with([file]);
        [ours, theirs].map(|mut command| command.output().expect("it starts").status.code())
    };
    assert_eq!(verdicts(&proof), [Some(0), Some(0)]);
    let bytes = fs::read(&proof).expect("the proof");
    let wrong = dir.path().join("wrong.tproof");
    for at in [bytes.len() / 5, bytes.len() / 3, bytes.len() / 2] {
        let mut altered = bytes.clone();
        altered[at] ^= 4;
        for changed in [&altered[..], &bytes[..at]] {
            fs::write(&wrong, changed).expect("a file");
            for code in verdicts(&wrong) {
                assert!(matches!(code, Some(2 | 6)), "byte {at}: {code:?}");
            }
        }
    }
}

#[test]
#[ignore = "needs peers"]
fn a_controller_that_has_lost_its_devices_sends_nothing_more_not_even_rest() {
    let dir = folder();
    let (lab, rig) = lab_with(dir.path(), 2);
    // The admin sits at the fourth node, which runs only while it grants.
    let admin = |node: u8| lab.join(format!("node-{node}/keys/admin-1.key"));
    fs::rename(admin(1), admin(4)).expect("the key is moved");
    let mut others: Vec<Running> = (2..=3).map(|node| start(&lab, node)).collect();
    others.iter_mut().for_each(is_ready);
    let (port, run_dir) = (free_port(), dir.path().join("run"));
    let run = Running::start(
        gridrig()
            .with(["run"])
            .with([&rig])
            .with(["--on", "sim", "--arm", "--listen"])
            .with([format!("127.0.0.1:{port}")])
            .with(["--out"])
            .with([&run_dir]),
    );
    let lines = |kind: &str| {
        let text = fs::read_to_string(run_dir.join("events.jsonl")).unwrap_or_default();
        let of_kind = format!("\"{kind}\"");
        text.lines().filter(|line| line.contains(&of_kind)).count()
    };
    let until = |what: &str, holds: &dyn Fn() -> bool| {
        wait_for(what, PATIENCE, || holds().then_some(()));
    };
    let grant = |to: &str| {
        let granted = gridrig()
            .with(["ledger", "grant"])
            .with([lab.join("node-4/node.toml")])
            .with(["--to", to, "--rig"])
            .with([&rig]);
        output(granted)
    };
    until("it commands", &|| lines("dispatched") > 3);
    let granted = grant("controller-2");
    assert!(granted.status.success(), "{granted:?}");
    until("it hears of it", &|| lines("ledger_fenced") == 1);
    let sent = lines("dispatched");
    // It decides ten times a second, and goes on to record what it sees.
    let clock = || ledger(port).map_or(0, |(clock, _, _)| clock);
    let heard = clock();
    until("it goes on", &|| clock() > heard + 5);
    assert_eq!(lines("dispatched"), sent);
    assert!(grant("controller").status.success());
    until("it commands again", &|| lines("dispatched") > sent);
    // It is ended as soon as its node has heard, mostly before it commands again: then its rest is
    // what is refused.
    let grants = || {
        let shown = output(gridrig().with(["ledger", "show"]).with([&run_dir]));
        let text = String::from_utf8(shown.stdout).expect("text");
        text.matches(" authority-grant ").count()
    };
    let each = grants() / 2;
    assert!(grant("controller-2").status.success());
    until("its node has heard", &|| grants() == 3 * each);
    let (_, told) = run.terminate();
    assert_eq!(lines("ledger_fenced"), 2, "{told}");
    let events = fs::read_to_string(run_dir.join("events.jsonl")).expect("events");
    let (_, after) = events
        .rsplit_once("\"ledger_fenced\"")
        .expect("it is there");
    assert!(!after.contains("\"dispatched\""), "{after}");
    assert!(
        !events.contains("rest is sent without its record"),
        "{told}"
    );
    let stranger = grant("participant/nobody");
    assert_eq!(stranger.status.code(), Some(2), "{stranger:?}");
    for other in others {
        assert!(other.terminate().0.success());
    }
}
