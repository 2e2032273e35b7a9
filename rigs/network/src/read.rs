//! A network out of a file, with the place of everything that is wrong with it.
//!
//! What a tree must be is checked here: no loop, no bus that nothing reaches, one name for
//! one thing. The keys are described in `rigs/README.md`.

mod elements;

use std::ops::Range;
use std::sync::Arc;

use document::{Document, Table};

use crate::description::{Bus, Edge, Network};

/// What the codes of networks mean, for `gridrig explain`.
pub const EXPLANATIONS: &[(&str, &str)] = &[
    (
        "R050",
        "Closed branches make a loop. The power flow of the emulated network goes outward from one source, so a ring needs an open switch (`closed = false`).",
    ),
    (
        "R051",
        "A bus that no line, transformer or switch joins to a source, even with every switch closed: it could never have a voltage.",
    ),
    (
        "R052",
        "One name for two things, or two names for one: buses and branches have names of their own, between two buses there is one switch, and a device is one switch and hangs on one bus.",
    ),
    ("R053", "A bus, or a device, that the rig does not have."),
    (
        "R054",
        "A number that no such element has, such as a cable without length, a transformer without rating or shares of a load beyond the whole.",
    ),
    (
        "R055",
        "A vector group that the emulated network does not know: Dyn, Yzn and Dzn stop the zero sequence on the high side, YNyn lets it through.",
    ),
    (
        "R056",
        "Two sources feed one island: both would hold its voltage. An open switch must stand between them.",
    ),
    (
        "R057",
        "A switch of the network that is a device is the rig's breaker, which couples the bench to the utility and is closed at the start; nobody would command another. A switch without a device is moved by scenarios, by its name.",
    ),
];

/// A name with its place.
struct Named {
    name: String,
    span: Range<usize>,
}

/// Reads a network from its table; faults are recorded in the table's document.
pub fn read(table: &Table<'_>, f_nominal: f64) -> Option<Network> {
    let reader = Reader {
        document: table.document(),
    };
    let mut network = Network {
        f_nominal,
        unbalanced: table.boolean("unbalanced").is_some_and(|x| x.value),
        ..Network::default()
    };
    let mut buses = Vec::new();
    for bus in table.tables("bus") {
        let name = bus.required_text("name", "house-1");
        let v_ll = elements::volts(&bus, "v_ll", "400V");
        bus.finish();
        let (Some(name), Some(v_ll)) = (name, v_ll) else {
            continue;
        };
        network.buses.push(Bus {
            name: name.value.as_str().into(),
            v_ll,
        });
        buses.push(Named {
            name: name.value,
            span: name.span,
        });
    }
    let mut branches = Vec::new();
    elements::sources(&reader, table, &mut network);
    elements::lines(&reader, table, &mut network, &mut branches);
    elements::transformers(&reader, table, &mut network, &mut branches);
    elements::switches(&reader, table, &mut network, &mut branches);
    elements::loads(&reader, table, &mut network);
    elements::connections(&reader, table, &mut network);
    if !table.has("source") {
        table.missing::<()>("source", "[{ bus = \"grid\" }]");
    }
    reader.once(&buses, "bus");
    reader.once(&branches, "branch");
    // A tree can only be judged when everything of it could be read.
    if !reader.document.has_errors() {
        reader.topology(&network, &buses, &branches);
    }
    (!reader.document.has_errors()).then_some(network)
}

/// What all parts of the reading need.
struct Reader<'d> {
    document: &'d Document,
}

impl Reader<'_> {
    /// The bus that a key names.
    fn bus(&self, table: &Table<'_>, key: &str, network: &Network) -> Option<usize> {
        let name = table.required_text(key, "house-1")?;
        let found = network.bus(&name.value);
        if found.is_none() {
            self.document.error(
                "R053",
                name.span,
                format!("there is no bus `{}`", name.value),
                "",
                "every bus has an entry `[[network.bus]]`",
            );
        }
        found
    }

    /// Every name stands for one thing.
    fn once(&self, names: &[Named], what: &str) {
        for (n, named) in names.iter().enumerate() {
            if names[..n].iter().any(|other| other.name == named.name) {
                self.document.error(
                    "R052",
                    named.span.clone(),
                    format!("a second {what} is called `{}`", named.name),
                    "",
                    "give each a name of its own",
                );
            }
        }
    }

    /// No loop, no orphan, one source for each island.
    fn topology(&self, network: &Network, buses: &[Named], branches: &[Named]) {
        let edges: Vec<Edge> = network.edges().collect();
        let mut islands = Joined::new(network.buses.len());
        for (edge, named) in edges.iter().zip(branches) {
            if edge.closed && !islands.join(edge.from, edge.to) {
                self.document.error(
                    "R050",
                    named.span.clone(),
                    format!(
                        "`{}` closes a loop: `{}` and `{}` are joined already",
                        named.name, network.buses[edge.from].name, network.buses[edge.to].name
                    ),
                    "",
                    "open a switch of the ring, or leave this branch out",
                );
            }
        }
        let mut fed: Vec<usize> = Vec::new();
        for source in &network.sources {
            let island = islands.root(source.bus);
            if fed.contains(&island) {
                self.document.error(
                    "R056",
                    buses[source.bus].span.clone(),
                    format!(
                        "the source at `{}` feeds an island that has one already",
                        network.buses[source.bus].name
                    ),
                    "",
                    "put an open switch between the two",
                );
            }
            fed.push(island);
        }
        for edge in &edges {
            islands.join(edge.from, edge.to);
        }
        let fed: Vec<usize> = network
            .sources
            .iter()
            .map(|source| islands.root(source.bus))
            .collect();
        for (bus, named) in buses.iter().enumerate() {
            if !fed.contains(&islands.root(bus)) {
                self.document.error(
                    "R051",
                    named.span.clone(),
                    format!("nothing joins bus `{}` to a source", named.name),
                    "",
                    "add the line or switch that feeds it",
                );
            }
        }
    }
}

/// Which buses are joined (union-find, Tarjan 1975).
struct Joined(Vec<usize>);

impl Joined {
    fn new(buses: usize) -> Self {
        Self((0..buses).collect())
    }

    fn root(&mut self, mut bus: usize) -> usize {
        while self.0[bus] != bus {
            self.0[bus] = self.0[self.0[bus]];
            bus = self.0[bus];
        }
        bus
    }

    /// Joins two; false when they were joined already.
    fn join(&mut self, a: usize, b: usize) -> bool {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a] = b;
        a != b
    }
}

/// A name as others share it.
fn shared(text: &str) -> Arc<str> {
    text.into()
}

#[cfg(test)]
mod tests;
