//! Two ways to a proof that an atom was seen: the star that this ledger uses, and
//! the path of the paper of 2017, for comparison only.
//!
//! In a star the node where something is said sends it to all replicas at once; the
//! first quorum of votes is the proof. On a path it is handed from node to node:
//! each adds a coordinate and picks the next one by chance, until so many took part
//! as the paper says. What a path costs in time grows with its length, what a star
//! costs does not; a path is shorter to show; and two paths may share no node at
//! all, or none but a liar, so that two atoms that exclude each other both have a
//! proof. Only the last one decides, which is why nothing else uses a path.

pub mod path;
pub mod star;

use ledger_core::Quorum;

use crate::chance::Chance;
use crate::network::Network;

/// What a message and a disk take, out of chance.
#[derive(Debug)]
pub struct Trip<'a> {
    /// The chance.
    pub chance: &'a mut Chance,
    /// The network between the nodes.
    pub network: &'a Network,
    /// Shortest and longest synchronisation of a disk, in nanoseconds.
    pub sync_ns: (i64, i64),
}

impl Trip<'_> {
    /// How long a message takes; `None` where it does not arrive.
    fn hop(&mut self, from: usize, to: usize) -> Option<i64> {
        let delays = self.network.delays_ns(self.chance, from, to);
        delays.into_iter().min()
    }

    fn sync(&mut self) -> i64 {
        self.chance.between(self.sync_ns.0, self.sync_ns.1)
    }
}

/// How an atom came to its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// Who took part, in the order in which they did.
    pub witnesses: Vec<usize>,
    /// From when it was said until whoever said it has the proof, in nanoseconds.
    pub latency_ns: i64,
}

/// A way to a proof.
pub trait Provisioner {
    /// Its name.
    fn name(&self) -> &'static str;

    /// The course of an atom that is said at `origin`, one of so many replicas;
    /// `None` where the network does not let it come to its end.
    fn course(&self, replicas: usize, origin: usize, trip: &mut Trip<'_>) -> Option<Course>;
}

/// To all replicas at once, until a quorum has answered.
#[derive(Debug, Clone, Copy)]
pub struct StarQuorum;

impl Provisioner for StarQuorum {
    fn name(&self) -> &'static str {
        "star"
    }

    fn course(&self, replicas: usize, origin: usize, trip: &mut Trip<'_>) -> Option<Course> {
        let own = trip.sync();
        let others = (0..replicas).filter(|node| *node != origin);
        let answer = |node: usize| {
            let there = trip.hop(origin, node)?;
            Some((there + trip.sync() + trip.hop(node, origin)?, node))
        };
        let mut answers: Vec<(i64, usize)> = others.filter_map(answer).collect();
        answers.sort_unstable();
        answers.truncate(Quorum { replicas }.is_final() - 1);
        let (last, count) = (answers.last().map_or(0, |(at, _)| *at), answers.len());
        let nodes = answers.into_iter().map(|(_, node)| node);
        (count + 1 == Quorum { replicas }.is_final()).then(|| Course {
            witnesses: [origin].into_iter().chain(nodes).collect(),
            latency_ns: own + last,
        })
    }
}

/// From node to node, each picked by chance from those that have not seen it.
#[derive(Debug, Clone, Copy)]
pub struct Path;

impl Path {
    /// How many nodes of `nodes` take part: the paper's `max(3, sqrt(n))`, rounded up.
    pub fn length(nodes: usize) -> usize {
        let root = (1..=nodes).find(|k| k * k >= nodes).unwrap_or(0);
        root.max(3).min(nodes)
    }
}

impl Provisioner for Path {
    fn name(&self) -> &'static str {
        "path"
    }

    fn course(&self, replicas: usize, origin: usize, trip: &mut Trip<'_>) -> Option<Course> {
        let mut course = Course {
            witnesses: vec![origin],
            latency_ns: trip.sync(),
        };
        let mut at = origin;
        while course.witnesses.len() < Path::length(replicas) {
            let fresh = (0..replicas).filter(|node| !course.witnesses.contains(node));
            let next = *trip.chance.pick(&fresh.collect::<Vec<usize>>())?;
            course.latency_ns += trip.hop(at, next)? + trip.sync();
            course.witnesses.push(next);
            at = next;
        }
        // The last one tells all others, whoever said it among them.
        course.latency_ns += trip.hop(at, origin)?;
        Some(course)
    }
}
