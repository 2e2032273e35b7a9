//! The order of a tree: from each source outward, every bus after the one that feeds it.
//!
//! Switches cut the tree into islands. An island without a live source is dead; a source whose
//! island an earlier one already feeds holds nothing there and says so.

use crate::description::Edge;

/// Where a bus stands in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feed {
    /// The bus.
    pub bus: usize,
    /// Position of the bus that feeds it; itself at a source.
    pub parent: usize,
    /// The edge that feeds it; `None` at a source.
    pub edge: Option<usize>,
    /// Whether the edge is passed from its `to` end to its `from` end.
    pub reversed: bool,
}

/// An island: a run of positions in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Island {
    /// Index of the source.
    pub source: usize,
    /// First position.
    pub first: usize,
    /// Position after the last one.
    pub end: usize,
}

/// Why an order cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A closed edge joins two buses that were already joined.
    #[error("closed branch {edge} makes a loop")]
    Loop {
        /// Index of the edge.
        edge: usize,
    },
    /// Two live sources feed the same island.
    #[error("source {second} feeds the island that source {first} holds")]
    TwoSources {
        /// The one that came first.
        first: usize,
        /// The other.
        second: usize,
    },
}

/// The order, with all room that it needs made once.
#[derive(Clone, Debug)]
pub struct Tree {
    edges: Vec<Edge>,
    /// Neighbours of bus `n`: `edge_of[start[n]..start[n + 1]]`.
    start: Vec<usize>,
    edge_of: Vec<usize>,
    /// Fed buses, sources first, island by island.
    pub feeds: Vec<Feed>,
    /// Position of each bus in `feeds`; `usize::MAX` for a dead one.
    pub position: Vec<usize>,
    /// Islands with a source.
    pub islands: Vec<Island>,
}

impl Tree {
    /// Makes room for a network of so many buses.
    #[must_use]
    pub fn new(buses: usize, edges: Vec<Edge>, sources: usize) -> Self {
        let mut start = vec![0; buses + 1];
        for edge in &edges {
            for bus in [edge.from, edge.to] {
                if let Some(count) = start.get_mut(bus + 1) {
                    *count += 1;
                }
            }
        }
        for bus in 0..buses {
            start[bus + 1] += start[bus];
        }
        let mut next = start.clone();
        let mut edge_of = vec![0; edges.len() * 2];
        for (n, edge) in edges.iter().enumerate() {
            for bus in [edge.from, edge.to] {
                edge_of[next[bus]] = n;
                next[bus] += 1;
            }
        }
        Self {
            edges,
            start,
            edge_of,
            feeds: Vec::with_capacity(buses),
            position: vec![usize::MAX; buses],
            islands: Vec::with_capacity(sources),
        }
    }

    /// Edges as they stand.
    #[must_use]
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// Opens or closes an edge; [`Tree::order`] makes it count.
    pub fn set_closed(&mut self, edge: usize, closed: bool) {
        if let Some(edge) = self.edges.get_mut(edge) {
            edge.closed = closed;
        }
    }

    /// Orders the buses anew from live sources; needs no memory.
    ///
    /// # Errors
    /// When closed edges make a loop or two live sources meet. The order is then of no use
    /// until another one succeeds.
    pub fn order(
        &mut self,
        sources: impl Iterator<Item = (usize, usize)>,
    ) -> Result<(), TreeError> {
        self.feeds.clear();
        self.islands.clear();
        self.position.fill(usize::MAX);
        for (source, bus) in sources {
            if self.position[bus] != usize::MAX {
                let at = self.position[bus];
                let held = self.islands.iter().find(|i| (i.first..i.end).contains(&at));
                return Err(TreeError::TwoSources {
                    first: held.map_or(source, |island| island.source),
                    second: source,
                });
            }
            let first = self.feeds.len();
            self.take(Feed {
                bus,
                parent: first,
                edge: None,
                reversed: false,
            });
            // The order is its own queue: what was taken is looked around from in turn.
            let mut next = first;
            while next < self.feeds.len() {
                self.look_around(next)?;
                next += 1;
            }
            self.islands.push(Island {
                source,
                first,
                end: self.feeds.len(),
            });
        }
        Ok(())
    }

    fn look_around(&mut self, at: usize) -> Result<(), TreeError> {
        let Feed {
            bus, edge: fed_by, ..
        } = self.feeds[at];
        for n in self.start[bus]..self.start[bus + 1] {
            let edge = self.edge_of[n];
            let Edge {
                from, to, closed, ..
            } = self.edges[edge];
            if !closed || fed_by == Some(edge) {
                continue;
            }
            let reversed = to == bus;
            let far = if reversed { from } else { to };
            if self.position[far] != usize::MAX {
                return Err(TreeError::Loop { edge });
            }
            self.take(Feed {
                bus: far,
                parent: at,
                edge: Some(edge),
                reversed,
            });
        }
        Ok(())
    }

    fn take(&mut self, feed: Feed) {
        self.position[feed.bus] = self.feeds.len();
        self.feeds.push(feed);
    }
}
