//! Four nodes over real sockets on loopback.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ledger_core::credit::{CREDIT, attested};
use ledger_core::particle::Up;
use ledger_core::payload::{
    Dispatch, DispatchKind, MeterReading, Mint, Mode, ReadingQuality, Setpoint, Transfer,
};
use ledger_core::{Address, Amount, AtomId, Level, Particle, Payload, Role};
use ledger_net::epoch::{
    BEFORE_FILE, CHANGE_FILE, Wish as ChangeWish, apply, begin_log, load, propose, sign,
};
use ledger_net::files::{OWN, Plan, init};
use ledger_net::grant::{GrantError, Wish, grant};
use ledger_net::{Event, Node, NodeConfig};
use ledger_node::{Asked, AtomDraft, Selector};
use ledger_verify::Expectation;

/// Longer than anything here takes, so that a test that fails ends.
const PATIENCE: Duration = Duration::from_secs(60);

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("it does").as_nanos() as i64
}

/// Addresses that were free a moment ago.
fn addresses(count: usize) -> Vec<SocketAddr> {
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("it does"))
        .collect();
    held.iter()
        .map(|l| l.local_addr().expect("it does"))
        .collect()
}

fn universe(folder: &Path, nodes: usize) -> Vec<NodeConfig> {
    universe_of(folder, nodes, 0)
}

/// As [`universe`], with keys of its own.
fn universe_of(folder: &Path, nodes: usize, keys: u8) -> Vec<NodeConfig> {
    let plan = Plan {
        name: "lab".to_owned(),
        created_utc_ns: now(),
        addresses: addresses(nodes),
        parties: vec![
            ("buyer".to_owned(), vec![Role::Participant]),
            ("admin".to_owned(), vec![Role::Admin]),
            ("controller".to_owned(), vec![Role::Dispatcher]),
            ("controller-2".to_owned(), vec![Role::Dispatcher]),
            ("market-operator".to_owned(), vec![Role::MarketOperator]),
            ("meter".to_owned(), vec![Role::Meter]),
        ],
        admin_threshold: 1,
        replicas: vec![],
    };
    let mut n = keys;
    let mut entropy = |bytes: &mut [u8; 32]| {
        n += 1;
        *bytes = [n; 32];
        Ok(())
    };
    let made = init(folder, &plan, &mut entropy).expect("it is right");
    let read = |path| NodeConfig::load(path).expect("it is right");
    made.configs.iter().map(|path| read(path)).collect()
}

fn start(config: &NodeConfig) -> Node {
    let quiet = |_: Event| {};
    Node::start(config, Arc::new(now), quiet).expect("it starts")
}

fn say(node: &Node, to: &str) -> AtomId {
    let (from, to, reason) = ("grid".to_owned(), to.to_owned(), "asked".to_owned());
    let draft = AtomDraft::new("controller", Payload::Mode(Mode { from, to, reason }));
    let receipts = node
        .submit(now(), vec![draft])
        .wait(PATIENCE)
        .expect("it does");
    receipts[0].atom_id
}

/// Waits until what is asked for holds; says what it saw last if it never does.
fn until<T: std::fmt::Debug + PartialEq>(what: &str, expected: &T, mut look: impl FnMut() -> T) {
    let began = Instant::now();
    loop {
        let seen = look();
        if seen == *expected {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: {seen:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_atom_becomes_final_and_survives_a_node_that_was_away() {
    let dir = tempfile::tempdir().unwrap();
    let configs = universe(&dir.path().join("lab"), 4);
    let mut nodes: Vec<Option<Node>> = configs.iter().map(|c| Some(start(c))).collect();
    let level = |node: &Option<Node>, atom| node.as_ref().unwrap().level(atom);
    let first = say(nodes[0].as_ref().unwrap(), "island");
    for node in &nodes {
        until("the first atom", &Some(Level::Final), || level(node, first));
    }
    // One is away: three of four are a quorum still.
    drop(nodes[3].take());
    let second = say(nodes[0].as_ref().unwrap(), "grid");
    until("with three of four", &Some(Level::Final), || {
        level(&nodes[1], second)
    });
    // Two are away: the rest log, and nothing becomes final.
    nodes[2].take().unwrap().close().unwrap();
    let third = say(nodes[0].as_ref().unwrap(), "safe");
    until("with two of four", &Some(Level::Replicated), || {
        level(&nodes[1], third)
    });
    // They come back, and everything is final everywhere.
    for at in [2, 3] {
        nodes[at] = Some(start(&configs[at]));
    }
    for node in &nodes {
        for atom in [first, second, third] {
            until("after all are back", &Some(Level::Final), || {
                level(node, atom)
            });
        }
        let stands = || {
            let status = node.as_ref().unwrap().status();
            (status.may_sign, status.clock, status.accused)
        };
        until("it has entered all three", &(true, 3, vec![]), stands);
    }
    for node in nodes.into_iter().flatten() {
        let head = node.close().unwrap().expect("it may sign").head;
        assert_eq!((head.size, head.closed), (3, true));
    }
    for config in &configs {
        let report = ledger_verify::verify_folder(&config.log.join(OWN), &Expectation::default());
        assert!(report.is_ok() && report.entries == 3, "{report}");
    }
}

#[test]
fn a_node_that_was_in_use_signs_nothing_before_all_others_have_spoken() {
    let dir = tempfile::tempdir().unwrap();
    let configs = universe(&dir.path().join("lab"), 4);
    let nodes: Vec<Node> = configs.iter().map(start).collect();
    let atom = say(&nodes[0], "island");
    until("all have it", &4, || {
        let held = nodes.iter().filter(|n| n.level(atom) == Some(Level::Final));
        held.count()
    });
    for node in nodes {
        node.close().unwrap();
    }
    let alone = start(&configs[0]);
    let names = ["node-2", "node-3", "node-4"].map(str::to_owned).to_vec();
    until("whom it waits for", &names, || alone.status().unheard);
    let draft = AtomDraft::new(
        "controller",
        Payload::Mode(Mode {
            from: "island".to_owned(),
            to: "grid".to_owned(),
            reason: "asked".to_owned(),
        }),
    );
    let mut ticket = alone.submit(now(), vec![draft]);
    assert!(ticket.wait(Duration::from_millis(200)).is_err());
    let others: Vec<Node> = configs[1..].iter().map(start).collect();
    assert_eq!(ticket.wait(PATIENCE).unwrap()[0].clock, 2);
    drop((alone, others));
}

#[test]
fn a_node_is_replaced_over_real_sockets_and_a_proof_follows_the_change() {
    let dir = tempfile::tempdir().unwrap();
    let lab = dir.path().join("lab");
    let configs = universe(&lab, 4);
    let mut nodes: Vec<Node> = configs.iter().map(start).collect();
    let first = say(&nodes[0], "island");
    for node in &nodes {
        until("the first atom", &Some(Level::Final), || node.level(first));
    }
    drop(nodes.pop());
    let wish = ChangeWish {
        leaves: Some("node-4".to_owned()),
        joins: Some(("node-5".to_owned(), addresses(1)[0])),
        ..ChangeWish::default()
    };
    let mut n = 200;
    let mut entropy = |bytes: &mut [u8; 32]| {
        n += 1;
        *bytes = [n; 32];
        Ok(())
    };
    let folder = dir.path().join("change");
    let file = folder.join(CHANGE_FILE);
    let unsigned = propose(&configs[0], &wish, &folder, &mut entropy).unwrap();
    let refused = apply(&nodes[0], &configs[0], now(), &unsigned, PATIENCE);
    assert_eq!(
        refused.unwrap_err().to_string(),
        "0 of 1 admins have signed it"
    );
    // Of those whose keys are there only the admin's counts.
    for (key, whose) in [("controller", "`controller`"), ("node-1", "nobody's")] {
        let refused = sign(&file, &configs[0].keys.join(format!("{key}.key"))).unwrap_err();
        assert_eq!(refused.0.code, "L015");
        assert!(refused.0.message.contains(whose), "{}", refused.0.message);
    }
    // Nor is anybody an admin because a file beside the change says so.
    let before = folder.join(BEFORE_FILE);
    let genesis = std::fs::read(&before).unwrap();
    std::fs::write(
        &before,
        configs[0].universe.canonical().unwrap().split_off(1),
    )
    .unwrap();
    let refused = sign(&file, &configs[0].keys.join("admin.key")).unwrap_err();
    assert_eq!(refused.0.code, "L008");
    let mut other = configs[0].universe.clone();
    other.name = "other".to_owned();
    std::fs::write(&before, other.canonical().unwrap()).unwrap();
    let refused = sign(&file, &configs[0].keys.join("admin.key")).unwrap_err();
    assert!(
        refused.0.message.contains("another one"),
        "{}",
        refused.0.message
    );
    std::fs::write(&before, genesis).unwrap();
    assert_eq!(load(&file).unwrap().1, unsigned, "nothing was signed");
    sign(&file, &configs[0].keys.join("admin.key")).unwrap();
    let (_, change) = load(&file).unwrap();
    apply(&nodes[0], &configs[0], now(), &change, PATIENCE).unwrap();
    let joins = begin_log(&configs[0].epochs, &change, &folder)
        .unwrap()
        .unwrap();
    for node in &nodes {
        until("the change is kept", &Some(1), || node.status().next_epoch);
    }
    for node in nodes {
        node.close().unwrap();
    }
    let quiet = |_: Event| {};
    let again = |name: &str| {
        let config = NodeConfig::load(&lab.join(name).join("node.toml")).unwrap();
        assert_eq!(config.epochs.last(), 1);
        let node = Node::go_on(&config, Arc::new(now), quiet).unwrap();
        (config, node)
    };
    let [one, two] = ["node-1", "node-2"].map(again);
    let (three, closed) = again("node-3");
    let five = NodeConfig::load(&joins).unwrap();
    let joined = start(&five);
    until("the new node has read up", &true, || {
        joined.status().may_sign
    });
    closed.close().unwrap();
    // With the third away only the fifth makes the quorum.
    let second = say(&one.1, "grid");
    for node in [&one.1, &two.1, &joined] {
        until("across the change", &Some(Level::Final), || {
            node.level(second)
        });
    }
    for node in [one.1, two.1, joined] {
        node.close().unwrap();
    }
    for config in [&one.0, &two.0, &three, &five] {
        let report = ledger_verify::verify_folder(&config.log.join(OWN), &Expectation::default());
        assert!(report.is_ok(), "{}: {report}", config.node);
    }
    let run = dir.path().join("run");
    std::fs::create_dir(&run).unwrap();
    std::os::unix::fs::symlink(one.0.log.join(OWN), run.join("ledger")).unwrap();
    for (atom, epochs, votes) in [(first, 0, 4), (second, 1, 3)] {
        let asked = Asked {
            atom: Selector::Id(atom.to_string()),
            since: None,
            with_dependencies: false,
        };
        let bundle = ledger_node::prove(std::slice::from_ref(&run), &asked).unwrap();
        let found = (bundle.epochs.len(), bundle.proven[0].votes.len());
        assert!(found.0 >= epochs && found.1 >= votes, "{found:?}");
        let bytes = bundle.to_bytes().unwrap();
        let expected = ledger_proof::Expectation::of(one.0.epochs.id());
        let report = ledger_proof::verify(&bytes, &expected);
        assert!(report.is_ok() && report.level == Some("L3"), "{report}");
    }
    // Whoever has left and knows it is not started any more.
    let own = lab.join("node-4/log").join(OWN);
    let name = "epoch-00000001.cbor";
    std::fs::copy(one.0.log.join(OWN).join(name), own.join(name)).unwrap();
    let left = NodeConfig::load(&lab.join("node-4/node.toml")).unwrap();
    let refused = Node::start(&left, Arc::new(now), quiet).unwrap_err();
    assert_eq!(refused.into_diagnostic().code, "L008");
}

#[test]
fn a_double_spend_is_refused_and_its_author_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let configs = universe(&dir.path().join("lab"), 4);
    // The buyer gives its key to two nodes.
    let key = "buyer.key";
    std::fs::copy(configs[0].keys.join(key), configs[1].keys.join(key)).unwrap();
    let nodes: Vec<Node> = configs.iter().map(start).collect();
    let id = configs[0].universe.id().unwrap();
    let address = |name: &str| Address::of_key(&id, &configs[0].universe.party(name).unwrap().key);
    let up = |owner: &str, nonce| Up {
        asset: CREDIT.to_owned(),
        amount: Amount(5),
        owner: address(owner),
        nonce,
    };
    let energy = MeterReading {
        participant: "buyer".to_owned(),
        interval_start_utc_ns: now(),
        interval_ns: 1,
        energy_milliwatt_hours: Some(5),
        quality: ReadingQuality::Valid,
    };
    let metered = attested(&energy, &address("buyer"), address("market-operator"), 1).unwrap();
    let says = |draft: AtomDraft| {
        let receipts = nodes[0].submit(now(), vec![draft]).wait(PATIENCE);
        receipts.map(|receipts| receipts[0].atom_id)
    };
    let is_final = |atom| {
        for node in &nodes[..2] {
            until("it is final", &Some(Level::Final), || node.level(atom));
        }
    };
    let mut read = AtomDraft::new("meter", Payload::MeterReading(energy));
    read.particles = vec![Particle::Up(metered.clone())];
    let reading = says(read).unwrap();
    is_final(reading);
    let minted = up("buyer", 1);
    let mint = |downs: &[&Up], ups: &[&Up]| {
        let payload = Payload::Mint(Mint { reading });
        let mut draft = AtomDraft::new("market-operator", payload);
        let downs = downs.iter().map(|up| Particle::Down(up.id(&id).unwrap()));
        let ups = ups.iter().map(|up| Particle::Up(Up::clone(up)));
        draft.particles = downs.chain(ups).collect();
        draft
    };
    // Without a reading, above it, in another name: no credits.
    for (downs, up, what) in [
        (
            &[][..],
            up("buyer", 1),
            "5 of energy is minted in a name in which 0",
        ),
        (
            &[&metered],
            Up {
                amount: Amount(6),
                ..up("buyer", 1)
            },
            "in which 5 was metered",
        ),
        (
            &[&metered],
            up("controller", 1),
            "is minted in a name in which",
        ),
    ] {
        let refused = says(mint(downs, &[&up])).unwrap_err().to_string();
        assert!(refused.contains(what), "{refused}");
    }
    let minted_by = says(mint(&[&metered], &[&minted])).unwrap();
    is_final(minted_by);
    // Nor twice for one reading.
    let refused = says(mint(&[&metered], &[&up("buyer", 9)]))
        .unwrap_err()
        .to_string();
    assert!(refused.contains("is spent by atom"), "{refused}");
    let spend = |memo: &str, to: &str| {
        let memo = memo.to_owned();
        let mut draft = AtomDraft::new("buyer", Payload::Transfer(Transfer { memo }));
        let down = minted.id(&id).unwrap();
        draft.particles = vec![Particle::Up(up(to, 2)), Particle::Down(down)];
        draft
    };
    // Both at once, each at another node: each finds it unspent.
    let tickets = [(0, "controller"), (1, "market-operator")].map(|(at, to)| {
        let node: &Node = &nodes[at];
        node.submit(now(), vec![spend("for energy", to)])
    });
    let mut spends = vec![];
    for mut ticket in tickets {
        spends.extend(
            ticket
                .wait(PATIENCE)
                .into_iter()
                .flatten()
                .map(|r| r.atom_id),
        );
    }
    for node in &nodes {
        let accused = || node.status().accused;
        until("the buyer is named", &vec!["buyer".to_owned()], accused);
    }
    for node in &nodes {
        let finals = spends
            .iter()
            .filter(|s| node.level(**s) == Some(Level::Final));
        assert!(finals.count() <= 1);
    }
    // And it may not spend any more, nor may anybody make it.
    let again = nodes[0]
        .submit(now(), vec![spend("again", "controller")])
        .wait(PATIENCE);
    assert!(again.unwrap_err().to_string().contains("buyer"));
}

#[test]
fn a_key_that_others_can_read_is_refused_with_its_path() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let configs = universe(&dir.path().join("lab"), 1);
    let key = configs[0].keys.join("node-1.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let quiet = |_: Event| {};
    let refused = Node::start(&configs[0], Arc::new(now), quiet).unwrap_err();
    let diagnostic = refused.into_diagnostic();
    assert_eq!(diagnostic.code, "L003");
    assert!(diagnostic.message.contains("node-1.key"), "{diagnostic:?}");
    assert!(diagnostic.message.contains("640"), "{diagnostic:?}");
}

#[tokio::test]
async fn a_port_in_use_is_told_within_a_runtime_and_the_next_start_is_still_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let configs = universe(&dir.path().join("lab"), 4);
    let held = TcpListener::bind(configs[0].listen).unwrap();
    let quiet = |_: Event| {};
    let refused = Node::start(&configs[0], Arc::new(now), quiet).unwrap_err();
    assert_eq!(refused.into_diagnostic().code, "L005");
    drop(held);
    let node = start(&configs[0]);
    until("it signs alone", &true, || node.status().may_sign);
    node.close().unwrap();
}

#[test]
fn two_processes_never_keep_one_log() {
    let dir = tempfile::tempdir().unwrap();
    let configs = universe(&dir.path().join("lab"), 1);
    let node = start(&configs[0]);
    let quiet = |_: Event| {};
    let refused = Node::start(&configs[0], Arc::new(now), quiet).unwrap_err();
    assert_eq!(refused.into_diagnostic().code, "L004");
    node.close().unwrap();
}

#[test]
fn a_stranger_and_garbage_on_the_wire_harm_nobody() {
    use std::io::{Read as _, Write as _};
    let dir = tempfile::tempdir().unwrap();
    let configs = universe(&dir.path().join("lab"), 4);
    let nodes: Vec<Node> = configs.iter().map(start).collect();
    let strangers: Vec<_> = (0..20)
        .map(|n| {
            let mut stream = std::net::TcpStream::connect(nodes[1].listens_on()).unwrap();
            // Some say nothing at all and hold the connection.
            if n % 2 == 0 {
                let _ = stream.write_all(&[n; 500]);
            }
            stream
        })
        .collect();
    // A node of another universe has other keys.
    let other = tempfile::tempdir().unwrap();
    let mut foreign = universe_of(&other.path().join("other"), 4, 100);
    foreign[0].peers = configs[0].peers.clone();
    let foreign = start(&foreign[0]);
    let atom = say(&nodes[0], "island");
    for node in &nodes {
        until("in spite of strangers", &Some(Level::Final), || {
            node.level(atom)
        });
    }
    let connected = foreign.status().nodes.into_iter().filter(|n| n.2);
    let others: Vec<String> = connected.map(|n| n.0).filter(|n| n != "node-1").collect();
    assert_eq!(others, Vec::<String>::new());
    for mut stream in strangers.into_iter().step_by(2) {
        // Whoever spoke garbage was told off or cut off.
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut told = Vec::new();
        let _ = stream.read_to_end(&mut told);
        assert!(told.len() < 100, "{} bytes", told.len());
    }
}

/// A command of `battery` by a controller; what it becomes.
fn command(node: &Node, author: &str, authority_epoch: u64) -> Result<AtomId, String> {
    let payload = Payload::Dispatch(Dispatch {
        device: "battery".to_owned(),
        kind: DispatchKind::Release,
        setpoint: Setpoint::NONE,
        authority_epoch,
        valid_from_utc_ns: now(),
        valid_until_utc_ns: now() + 1_000_000_000,
        cause: None,
        why: "droop".to_owned(),
    });
    let mut ticket = node.submit(now(), vec![AtomDraft::new(author, payload)]);
    let receipts = ticket.wait(PATIENCE).map_err(|e| e.to_string())?;
    Ok(receipts[0].atom_id)
}

#[test]
fn of_two_controllers_only_the_one_that_was_granted_a_device_commands_it() {
    let dir = tempfile::tempdir().unwrap();
    let configs = universe(&dir.path().join("lab"), 4);
    // The standby at the second node, the admin at the fourth.
    for (key, home) in [("controller-2.key", 1), ("admin.key", 3)] {
        std::fs::rename(configs[0].keys.join(key), configs[home].keys.join(key)).unwrap();
    }
    let nodes: Vec<Node> = configs.iter().map(start).collect();
    let universe = &configs[0].universe;
    let devices = ["battery".to_owned()];
    let wish = |admin, to| Wish {
        admin,
        to,
        devices: &devices,
        patience: PATIENCE,
    };
    // Nobody was granted anything: both command. That is what the lease of a bench is for.
    command(&nodes[0], "controller", 1).unwrap();
    let theirs = command(&nodes[1], "controller-2", 1).unwrap();
    until("the fourth node has heard", &Some(Level::Final), || {
        nodes[3].level(theirs)
    });
    let granted = |to| grant(&nodes[3], universe, &now, &wish("admin", to));
    assert_eq!(granted("controller-2").unwrap()[0].epoch, 2);
    let epoch_at = |node: usize| nodes[node].authority("battery").map(|of| of.epoch);
    for node in [0, 1] {
        until("they hear of it", &Some(2), || epoch_at(node));
    }
    for (epoch, why) in [
        (1, "authority epoch 1 is below 2"),
        (2, "authority epoch 2 was not granted to its author"),
        (3, "authority epoch 3 was not granted to its author"),
    ] {
        let refused = command(&nodes[0], "controller", epoch).unwrap_err();
        assert!(refused.ends_with(why), "{refused}");
    }
    command(&nodes[1], "controller-2", 2).unwrap();
    // And back. An order to somebody who commands nothing is refused before it is made.
    assert_eq!(granted("controller").unwrap()[0].epoch, 3);
    until("both hear of it", &(Some(3), Some(3)), || {
        (epoch_at(0), epoch_at(1))
    });
    command(&nodes[0], "controller", 3).unwrap();
    command(&nodes[1], "controller-2", 2).unwrap_err();
    let none = granted("buyer").unwrap_err().to_string();
    assert_eq!(
        none,
        "`buyer` is no dispatcher of this universe; it has controller, controller-2"
    );
    let stranger = grant(&nodes[0], universe, &now, &wish("admin", "controller"));
    assert!(
        matches!(stranger, Err(GrantError::Refused(_))),
        "{stranger:?}"
    );
    assert!(nodes.iter().all(|node| node.status().accused.is_empty()));
}

#[test]
fn a_grant_that_no_quorum_has_is_not_told_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let configs = universe(&dir.path().join("lab"), 4);
    let alone = start(&configs[0]);
    let wish = Wish {
        admin: "admin",
        to: "controller",
        devices: &["battery".to_owned()],
        patience: Duration::from_millis(50),
    };
    let found = grant(&alone, &configs[0].universe, &now, &wish);
    let waits_for = "node-2, node-3, node-4".to_owned();
    assert_eq!(found, Err(GrantError::Behind { waits_for }));
    assert_eq!(alone.authority("battery"), None);
}
