//! What hangs together: zones that nothing can part, and parts that switches join.
//!
//! A zone is what lines and transformers join; it never changes. A part is a set of zones that
//! closed switches join at the moment, so a plant without a network has one of each. Whether the
//! utility is joined to a part decides who may hold it.

use std::sync::Arc;

use network::description::{Branch, Network};

use super::wires::{Places, Unit, main_bus};

/// Why a switch stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSwitched {
    /// No switch has that name, or it is the coupling breaker, which its device commands.
    #[error("there is no such switch in the network")]
    Unknown,
    /// Closed, it would make a loop.
    #[error("it would close a loop, which the emulated network does not solve")]
    Loop,
    /// Closed, it would join two sources of the utility.
    #[error("it would join two sources")]
    TwoSources,
}

/// A switch between two zones.
#[derive(Clone, Debug)]
struct Tie {
    name: Arc<str>,
    from: usize,
    to: usize,
    closed: bool,
}

/// The zones of a plant and the parts that they make up now.
#[derive(Clone, Debug)]
pub(super) struct Zones {
    pv: Vec<usize>,
    storage: Vec<usize>,
    gensets: Vec<usize>,
    loads: Vec<usize>,
    main: usize,
    /// Zone of each source of the network; the first is the utility at the coupling point.
    sources: Vec<usize>,
    ties: Vec<Tie>,
    /// The tie that is the coupling breaker; without one, it stands behind the first source.
    coupling: Option<usize>,
    /// Part of each zone.
    part_of: Vec<usize>,
    /// Whether the utility is joined, by part.
    joined: Vec<bool>,
    moved: bool,
}

/// What has moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moved {
    /// The part of each zone before.
    pub(super) part_before: Vec<usize>,
    /// Whether the coupling breaker has closed.
    pub(super) by_breaker: bool,
}

/// Which zones or buses are joined (union-find, Tarjan 1975).
struct Joined(Vec<usize>);

impl Joined {
    fn root(&mut self, mut n: usize) -> usize {
        while self.0[n] != n {
            self.0[n] = self.0[self.0[n]];
            n = self.0[n];
        }
        n
    }

    /// Joins two; false when they were joined already.
    fn join(&mut self, a: usize, b: usize) -> bool {
        let (a, b) = (self.root(a), self.root(b));
        // The smaller number stays, so that parts are numbered in the order of their zones.
        self.0[a.max(b)] = a.min(b);
        a != b
    }

    /// The number of each one's set, counted from zero.
    fn numbers(mut self) -> Vec<usize> {
        let mut numbers = vec![usize::MAX; self.0.len()];
        let mut next = 0;
        for n in 0..self.0.len() {
            let root = self.root(n);
            if numbers[root] == usize::MAX {
                numbers[root] = next;
                next += 1;
            }
            numbers[n] = numbers[root];
        }
        numbers
    }
}

impl Zones {
    /// One busbar behind the coupling breaker.
    pub(super) fn busbar() -> Self {
        Self {
            pv: Vec::new(),
            storage: Vec::new(),
            gensets: Vec::new(),
            loads: Vec::new(),
            main: 0,
            sources: vec![0],
            ties: Vec::new(),
            coupling: None,
            part_of: vec![0],
            joined: vec![true],
            moved: true,
        }
    }

    /// The zones of a network with units on it.
    pub(super) fn of(network: &Network, places: &Places) -> Self {
        let mut joined = Joined((0..network.buses.len()).collect());
        for edge in network.edges() {
            if !matches!(edge.branch, Branch::Switch(_)) {
                joined.join(edge.from, edge.to);
            }
        }
        let zone_of = joined.numbers();
        let zones = zone_of.iter().max().map_or(1, |last| last + 1);
        let of = |hangs: &[super::wires::Hang]| hangs.iter().map(|h| zone_of[h.bus]).collect();
        let tie = |switch: &network::description::Switch| Tie {
            name: Arc::clone(&switch.name),
            from: zone_of[switch.from],
            to: zone_of[switch.to],
            closed: switch.closed,
        };
        Self {
            pv: of(&places.pv),
            storage: of(&places.storage),
            gensets: of(&places.gensets),
            loads: of(&places.loads),
            main: zone_of[main_bus(network, places.coupling)],
            sources: network.sources.iter().map(|s| zone_of[s.bus]).collect(),
            ties: network.switches.iter().map(tie).collect(),
            coupling: places.coupling,
            part_of: vec![0; zones],
            joined: vec![true],
            moved: true,
        }
    }

    /// Zones in all.
    pub(super) fn count(&self) -> usize {
        self.part_of.len()
    }

    /// Part of a zone.
    pub(super) fn part_of(&self, zone: usize) -> usize {
        self.part_of.get(zone).copied().unwrap_or(0)
    }

    /// Part in which a unit hangs.
    pub(super) fn part(&self, unit: Unit) -> usize {
        let zone = match unit {
            Unit::Main => None,
            Unit::Pv(n) => self.pv.get(n),
            Unit::Storage(n) => self.storage.get(n),
            Unit::Genset(n) => self.gensets.get(n),
            Unit::Load(n) => self.loads.get(n),
        };
        self.part_of(zone.copied().unwrap_or(self.main))
    }

    /// Part of a source of the network.
    pub(super) fn part_of_source(&self, source: usize) -> Option<usize> {
        self.sources.get(source).map(|zone| self.part_of(*zone))
    }

    /// Whether the utility is joined, by part.
    pub(super) fn joined(&self) -> &[bool] {
        &self.joined
    }

    /// Whether each switch is closed, in the order of the network.
    pub(super) fn closed(&self) -> impl Iterator<Item = bool> {
        self.ties.iter().map(|tie| tie.closed)
    }

    fn tie(&self, name: &str) -> Option<usize> {
        let found = self.ties.iter().position(|tie| &*tie.name == name);
        found.filter(|n| Some(*n) != self.coupling)
    }

    /// Whether a switch is closed; `None` when there is none of that name.
    pub(super) fn is_closed(&self, name: &str) -> Option<bool> {
        self.tie(name).map(|n| self.ties[n].closed)
    }

    /// Names of the switches that can be told to open and close.
    pub(super) fn switches(&self) -> impl Iterator<Item = &str> {
        let coupling = self.coupling;
        let ties = self.ties.iter().enumerate();
        ties.filter(move |(n, _)| Some(*n) != coupling)
            .map(|(_, tie)| &*tie.name)
    }

    /// Opens or closes a switch; it counts from the next step on.
    ///
    /// The coupling breaker is counted as closed, since its relay may close it at any time.
    pub(super) fn switch(&mut self, name: &str, closed: bool) -> Result<(), NotSwitched> {
        let n = self.tie(name).ok_or(NotSwitched::Unknown)?;
        if closed && !self.ties[n].closed {
            let mut joined = Joined((0..self.count()).collect());
            for (m, tie) in self.ties.iter().enumerate() {
                if (tie.closed || m == n || Some(m) == self.coupling)
                    && !joined.join(tie.from, tie.to)
                {
                    return Err(NotSwitched::Loop);
                }
            }
            for (m, source) in self.sources.iter().enumerate() {
                let root = joined.root(*source);
                let earlier = &self.sources[..m];
                if earlier.iter().any(|other| joined.root(*other) == root) {
                    return Err(NotSwitched::TwoSources);
                }
            }
        }
        self.moved |= self.ties[n].closed != closed;
        self.ties[n].closed = closed;
        Ok(())
    }

    /// Puts the parts together anew where a switch or the breaker has moved; `None` when nothing has.
    pub(super) fn arrange(&mut self, breaker_closed: bool) -> Option<Moved> {
        let mut by_breaker = false;
        if let Some(tie) = self.coupling.and_then(|n| self.ties.get_mut(n)) {
            by_breaker = breaker_closed && !tie.closed;
            self.moved |= tie.closed != breaker_closed;
            tie.closed = breaker_closed;
        }
        let first_joined = self.coupling.is_some() || breaker_closed;
        let is_joined = self
            .part_of_source(0)
            .and_then(|part| self.joined.get(part).copied());
        if !self.moved && is_joined == Some(first_joined) {
            return None;
        }
        self.moved = false;
        let mut joined = Joined((0..self.count()).collect());
        for tie in self.ties.iter().filter(|tie| tie.closed) {
            joined.join(tie.from, tie.to);
        }
        let part_of = joined.numbers();
        let parts = part_of.iter().max().map_or(1, |last| last + 1);
        self.joined = vec![false; parts];
        for (n, zone) in self.sources.iter().enumerate() {
            self.joined[part_of[*zone]] |= n > 0 || first_joined;
        }
        Some(Moved {
            part_before: std::mem::replace(&mut self.part_of, part_of),
            by_breaker,
        })
    }
}

#[cfg(test)]
mod tests;
