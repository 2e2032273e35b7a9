//! What a copy lacks though it goes far enough, and how that is found and filled in.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use ledger_core::universe::NodeMember;
use ledger_core::{Federation, KnownKeys, Level, PublicKey, Universe};
use ledger_node::mirror::{has_leaves, without_other_shards};
use ledger_node::{Durability, Keyring, MemoryStorage, Mirror};

use super::{NOW, key, mode, universe};
use crate::{Effect, Message, Replica, Start, Stores};

/// So long nothing but time has to pass.
const SECOND_NS: i64 = 1_000_000_000;

/// Nodes with their disks, in a network that loses what the test says.
struct Lab {
    universe: Universe,
    disks: Vec<Vec<MemoryStorage>>,
    replicas: Vec<Option<Replica>>,
    now: i64,
    /// Bytes of each message about ranges, and of each filling.
    ranges: Vec<usize>,
    fillings: Vec<usize>,
    /// Whether messages about ranges are lost: the broken variant.
    without_check: bool,
}

/// A node's key, which is verified by as any other.
fn unknown(key: PublicKey) -> (PublicKey, Arc<KnownKeys>) {
    (key, Arc::default())
}

impl Lab {
    fn new(universe: Universe) -> Lab {
        let nodes = universe.nodes.len();
        let mut lab = Lab {
            disks: (0..nodes)
                .map(|_| (0..nodes).map(|_| MemoryStorage::default()).collect())
                .collect(),
            replicas: (0..nodes).map(|_| None).collect(),
            universe,
            now: NOW,
            ranges: vec![],
            fillings: vec![],
            without_check: false,
        };
        (0..nodes).for_each(|node| lab.open(node, Start::First));
        lab
    }

    fn open(&mut self, me: usize, start: Start) {
        let disks = self.disks[me].iter().enumerate();
        let copies = disks.map(|(of, disk)| {
            let copy: Box<dyn ledger_node::Storage> = Box::new(disk.clone());
            (of != me).then_some(copy)
        });
        let stores = Stores {
            copies: copies.collect(),
            own: Box::new(self.disks[me][me].clone()),
        };
        let n = me as u8 + 1;
        let keys = Keyring::new(&format!("node-{n}"), key(n)).with_party("controller", key(101));
        let replica = Replica::open(&self.universe, keys, stores, Durability::Fsync, start);
        self.replicas[me] = Some(replica.unwrap());
    }

    /// Lets so much time pass; gives who has told what was filled in, and faults.
    fn pass(&mut self, seconds: i64) -> (usize, Vec<String>) {
        let (mut filled, mut faults) = (0, vec![]);
        let until = self.now + seconds * SECOND_NS;
        while self.now <= until {
            let mut under_way = VecDeque::new();
            loop {
                for from in 0..self.replicas.len() {
                    let Some(replica) = &mut self.replicas[from] else {
                        continue;
                    };
                    for effect in replica.step(self.now) {
                        match effect {
                            Effect::Send { to, message } => {
                                under_way.push_back((from, to, message))
                            }
                            Effect::Filled { entries, .. } => filled += entries,
                            Effect::Faulty { what, .. } => faults.push(what),
                            _ => {}
                        }
                    }
                }
                let Some((from, to, message)) = under_way.pop_front() else {
                    break;
                };
                let bytes = message.encode().unwrap();
                match &message {
                    Message::Ranges { .. } => self.ranges.push(bytes.len()),
                    Message::Filling { .. } => self.fillings.push(bytes.len()),
                    _ => {}
                }
                let is_check = matches!(message, Message::Ranges { .. } | Message::Filling { .. });
                if let Some(replica) = &mut self.replicas[to]
                    && !(is_check && self.without_check)
                {
                    replica.receive(self.now, from, Message::decode(&bytes).unwrap());
                }
            }
            self.now += SECOND_NS / 2;
        }
        (filled, faults)
    }

    fn say(&mut self, node: usize, count: usize) {
        for n in 0..count {
            let replica = self.replicas[node].as_mut().unwrap();
            replica.submit(self.now, vec![mode(&format!("mode-{n}"))]);
            // Short ones one by one, of long ones many in a batch.
            if count > 9 && n % 30 > 0 {
                continue;
            }
            let sends = replica.step(self.now);
            for effect in sends {
                if let Effect::Send { to, message } = effect
                    && let Some(other) = &mut self.replicas[to]
                {
                    other.receive(self.now, node, message);
                }
            }
        }
    }

    /// The node is stopped, and in its copy of another's log the entries from `first`
    /// on, so many, stand as leaves: as in a copy of a node that keeps other shards.
    fn thin(&mut self, node: usize, of: usize, first: u64, count: u64) {
        self.replicas[node] = None;
        let id = self.universe.id().unwrap();
        let member = self.universe.nodes[of].key;
        let whole = Box::new(self.disks[node][of].clone());
        let mut copy = Mirror::open_on(whole, id, unknown(member), None, &mut |_| {}).unwrap();
        let thinned = MemoryStorage::default();
        let storage = Box::new(thinned.clone());
        let mut thin = Mirror::open_on(storage, id, unknown(member), None, &mut |_| {}).unwrap();
        for bytes in copy.batches_after(0, u64::MAX).unwrap() {
            let (begin, end) = ledger_node::mirror::clocks_of(&bytes).unwrap();
            let kept = (begin..=end).map(|clock| !(first..first + count).contains(&clock));
            let kept: Vec<bool> = kept.collect();
            thin.follow(&without_other_shards(&id, &bytes, &kept).unwrap())
                .unwrap();
        }
        assert_eq!((thin.size(), thin.root()), (copy.size(), copy.root()));
        self.disks[node][of] = thinned;
    }

    /// The batch behind a clock of a node's log, out of a copy that is whole.
    fn batch(&self, of: usize, after: u64) -> std::sync::Arc<[u8]> {
        let keeper = usize::from(of != 2) * 2;
        let disk = MemoryStorage::of(self.disks[keeper][of].disk());
        let (id, key) = (self.universe.id().unwrap(), self.universe.nodes[of].key);
        let mut copy =
            Mirror::open_on(Box::new(disk), id, unknown(key), None, &mut |_| {}).unwrap();
        copy.batches_after(after, 0).unwrap().remove(0).into()
    }

    fn leaves(&self, node: usize, of: usize) -> usize {
        let id = self.universe.id().unwrap();
        let copy = Box::new(self.disks[node][of].clone());
        let key = self.universe.nodes[of].key;
        let mut copy = Mirror::open_on(copy, id, unknown(key), None, &mut |_| {}).unwrap();
        let batches = copy.batches_after(0, u64::MAX).unwrap();
        batches.iter().filter(|bytes| has_leaves(bytes)).count()
    }

    /// How many of the atoms in the log of node 0 are final at a node.
    fn finals(&self, node: usize) -> usize {
        let said = self.replicas[0].as_ref().unwrap();
        let here = self.replicas[node].as_ref().unwrap();
        let disk = self.disks[0][0].clone();
        let keys = Keyring::new("node-1", key(1)).with_party("controller", key(101));
        let mut rows = vec![];
        let disk = MemoryStorage::of(disk.disk());
        let options = ledger_node::NodeLogOptions::from(Durability::Buffered);
        let visit = &mut |row: ledger_node::Row| rows.push(row.atom);
        ledger_node::NodeLog::open_on(Box::new(disk), keys, options, visit).unwrap();
        assert_eq!(rows.len() as u64, said.clock());
        let level = |id| here.standing(id).and_then(|s| s.level);
        rows.iter()
            .filter(|id| level(id) == Some(Level::Final))
            .count()
    }
}

/// Thins all copies of node 3 at `first`, so many entries, and starts it again.
fn thinned(said: usize, first: u64, count: u64) -> Lab {
    let mut lab = Lab::new(universe(4));
    lab.say(0, said);
    lab.pass(1);
    assert_eq!(lab.finals(3), said);
    for of in 0..3 {
        lab.thin(3, of, first, count);
    }
    lab.open(
        3,
        Start::Again {
            lost: BTreeSet::new(),
        },
    );
    lab
}

#[test]
fn what_the_cursors_have_missed_is_found_and_filled_in_and_stays() {
    for (said, first, count) in [(5, 3, 1), (270, 200, 3)] {
        let mut lab = thinned(said, first, count);
        // It goes as far as the others say, so nobody sends anything.
        assert_eq!(lab.finals(3), said - count as usize);
        lab.pass(1);
        assert_eq!(lab.finals(3), said - count as usize);
        (lab.ranges, lab.fillings) = (vec![], vec![]);
        let (filled, faults) = lab.pass(3);
        assert_eq!((filled as u64, faults), (3 * count, vec![]));
        assert_eq!(lab.finals(3), said);
        // Only what differs is sent, and a few words about it.
        let words: usize = lab.ranges.iter().sum();
        assert!(words < 20_000, "{words} bytes of ranges");
        // Of each log one batch, or two where it ends between them.
        let sent = lab.fillings.len();
        assert!(sent <= 3 * 2, "{sent} batches");
        // It is on the disk of the node: after another start nothing is missing.
        for of in 0..3 {
            assert_eq!(lab.leaves(3, of), 0);
        }
        lab.replicas[3] = None;
        lab.open(
            3,
            Start::Again {
                lost: BTreeSet::new(),
            },
        );
        assert_eq!(lab.finals(3), said);
        lab.fillings = vec![];
        lab.pass(12);
        assert_eq!(lab.fillings, Vec::<usize>::new());
    }
}

#[test]
fn without_the_range_check_what_the_cursors_have_missed_never_comes() {
    let mut lab = thinned(5, 3, 1);
    lab.without_check = true;
    lab.pass(60);
    assert_eq!(lab.finals(3), 4);
}

#[test]
fn a_filling_that_nobody_has_asked_for_or_that_is_another_changes_nothing() {
    let mut lab = thinned(5, 3, 1);
    lab.without_check = true;
    lab.pass(3);
    let good = lab.batch(1, 2);
    let node = lab.replicas[3].as_mut().unwrap();
    let asked = (0..3).find(|from| {
        let whom = node.check_asks(1);
        whom == Some(*from)
    });
    let asked = asked.unwrap();
    let stranger = (0..3).find(|from| *from != asked).unwrap();
    let mut fill = |from: usize, bytes: &[u8]| {
        let bytes = bytes.into();
        node.receive(NOW, from, Message::Filling { node: 1, bytes });
        let effects = node.step(NOW).into_iter();
        let filled = effects.filter(|e| matches!(e, Effect::Filled { .. }));
        filled.count()
    };
    assert_eq!(fill(stranger, &good), 0);
    for at in 0..good.len() {
        let mut bad = good.to_vec();
        bad[at] ^= 1;
        assert_eq!(fill(asked, &bad), 0, "byte {at}");
    }
    assert_eq!(fill(asked, &good[..good.len() - 1]), 0);
    assert_eq!(fill(asked, &good), 1);
    assert_eq!(fill(asked, &good), 0);
}

#[test]
fn who_asks_without_end_gets_no_answer_and_the_next_who_asks_does() {
    let mut lab = thinned(5, 3, 1);
    let node = lab.replicas[0].as_mut().unwrap();
    let range = crate::ranges::RangePrint {
        first: 1,
        last: 5,
        print: [0; 32],
    };
    let mut answers = |from: usize, asks: usize| {
        for _ in 0..asks {
            let ranges = vec![range.clone(); crate::ranges::RANGES_MAX];
            let ask = Message::Ranges {
                node: 0,
                is_answer: false,
                ranges,
            };
            node.receive(NOW, from, ask);
        }
        let sends = node.step(NOW).into_iter();
        let fillings = sends.filter(|e| {
            matches!(
                e,
                Effect::Send {
                    message: Message::Filling { .. },
                    ..
                }
            )
        });
        fillings.count()
    };
    // Five batches for each range that differs.
    assert_eq!(answers(1, 1), 16 * 5);
    assert_eq!(answers(1, 100), (64 - 16) * 5);
    assert_eq!(answers(1, 10), 0);
    assert_eq!(answers(2, 1), 16 * 5);
}

#[test]
fn who_answers_without_end_is_compared_no_further() {
    let mut lab = Lab::new(universe(4));
    lab.say(0, 270);
    lab.pass(3);
    let now = lab.now;
    let node = lab.replicas[1].as_mut().unwrap();
    let asked = node.check_asks(0).expect("asked");
    let answer = crate::ranges::RangePrint {
        first: 1,
        last: node.held(0),
        print: [0; 32],
    };
    let places = 16 * answer.places();
    for _ in 0..3_000 {
        let ranges = vec![answer.clone(); crate::ranges::RANGES_MAX];
        let answers = Message::Ranges {
            node: 0,
            is_answer: true,
            ranges,
        };
        node.receive(now, asked, answers);
    }
    let is_ranges = |effect: &Effect| match effect {
        Effect::Send { message, .. } => matches!(message, Message::Ranges { .. }),
        _ => false,
    };
    let said = node.step(now);
    let compared = said.iter().filter(|effect| is_ranges(effect)).count() as u64;
    // Four times the longest range.
    assert_eq!(compared, 4 * crate::ranges::RANGE_PLACES_MAX / places);
}

/// Eight nodes, of which the first four keep one half of the shards.
fn two_groups() -> Universe {
    let mut universe = universe(4);
    universe.nodes = (1..=8)
        .map(|n| NodeMember {
            name: format!("node-{n}"),
            key: key(n).public(),
        })
        .collect();
    universe.federation = Some(Federation {
        admin_threshold: 1,
        transport_keys: vec![[0; 32]; 8],
        replicas: vec![vec![0, 1, 2, 3], vec![4, 5, 6, 7]],
    });
    universe
}

#[test]
fn a_node_of_other_shards_hands_on_no_leaf_of_what_is_kept_here() {
    let universe = two_groups();
    let id = universe.id().unwrap();
    let controller = ledger_core::Address::of_key(&id, &key(101).public());
    let group = controller.shard().group(universe.shard_bits) as usize;
    let (at_home, away) = ([0, 4][group], [4, 0][group]);
    let mut lab = Lab::new(universe);
    // The node is down while its group speaks, and then hears the others first.
    lab.replicas[at_home + 3] = None;
    lab.say(at_home, 4);
    lab.pass(1);
    lab.open(
        at_home + 3,
        Start::Again {
            lost: BTreeSet::new(),
        },
    );
    for from in away..away + 4 {
        let node = lab.replicas[at_home + 3].as_mut().unwrap();
        node.greet(from);
        let have = node.step(NOW).into_iter().find_map(|effect| match effect {
            Effect::Send { to, message } if to == from => Some(message),
            _ => None,
        });
        let sender = lab.replicas[from].as_mut().unwrap();
        sender.receive(NOW, at_home + 3, have.unwrap());
        for effect in sender.step(lab.now) {
            if let Effect::Send { to, message } = effect
                && to == at_home + 3
                && let Some(node) = &mut lab.replicas[to]
            {
                node.receive(NOW, from, message);
            }
        }
    }
    lab.without_check = true;
    let (_, faults) = lab.pass(1);
    assert_eq!(faults, Vec::<String>::new());
    for of in at_home..at_home + 3 {
        assert_eq!(lab.leaves(at_home + 3, of), 0);
    }
}

#[test]
fn a_leaf_from_a_liar_is_refused_where_every_shard_is_kept() {
    let mut lab = Lab::new(universe(4));
    lab.replicas[3] = None;
    lab.say(0, 1);
    lab.open(3, Start::First);
    let id = lab.universe.id().unwrap();
    let whole = lab.batch(0, 0);
    let thin = without_other_shards(&id, &whole, &[false]).unwrap();
    let node = lab.replicas[3].as_mut().unwrap();
    let batch = Message::Batch {
        node: 0,
        more: false,
        bytes: thin.into(),
    };
    node.receive(NOW, 1, batch);
    let told = node.step(NOW).into_iter();
    let mut told = told.filter(|e| matches!(e, Effect::Faulty { node: 1, .. }));
    assert!(told.next().is_some());
    assert_eq!(node.held(0), 0);
}
