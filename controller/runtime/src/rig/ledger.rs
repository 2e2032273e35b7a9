//! `[ledger]`: the node among several whose log the runs of this bench go on.

use ledger_core::Role;
use ledger_net::NodeConfig;

use super::Rig;
use super::parse::Reader;
use crate::desk::Desk;
use crate::evidence::{CONTROLLER, MARKET_OPERATOR, party_of};

/// Where the runs of a bench write.
#[derive(Debug, Clone, PartialEq)]
pub struct SharedLedger {
    /// The node whose log they go on.
    pub node: NodeConfig,
    /// The party as which this controller commands.
    pub controller: String,
}

pub(super) fn ledger(reader: &Reader<'_>) -> Option<SharedLedger> {
    let table = reader.section("ledger")?;
    let node = table.required_text("node", "lab/node-1/node.toml");
    let path = node.as_ref().map(|node| reader.path(&table, &node.value));
    let controller = table.text("controller");
    let document = table.document();
    table.finish();
    match NodeConfig::load(&path?) {
        Ok(node) => Some(SharedLedger {
            node,
            controller: controller.map_or(CONTROLLER.to_owned(), |name| name.value),
        }),
        Err(e) => {
            let span = node?.span;
            let help = "`gridrig ledger init` makes a universe with a configuration for each node";
            let message = "the node's configuration is not in order";
            document.error("R087", span, message, "named here", help);
            document.adopt(e.0);
            None
        }
    }
}

/// Whether everybody who writes into the ledger is a party of its universe.
pub(super) fn check(reader: &Reader<'_>, rig: &Rig) {
    let (Some(ledger), Some(table)) = (&rig.ledger, reader.section("ledger")) else {
        return;
    };
    let universe = &ledger.node.universe;
    let is_dispatcher = |party: &ledger_core::Party| party.roles.contains(&Role::Dispatcher);
    if let Some(party) = universe.party(&ledger.controller)
        && !is_dispatcher(party)
    {
        let dispatchers = universe.parties.iter().filter(|party| is_dispatcher(party));
        let names: Vec<&str> = dispatchers.map(|party| party.name.as_str()).collect();
        table.document().error(
            "R088",
            table.span_of("controller"),
            format!("`{}` may not command devices", ledger.controller),
            "this party",
            format!("the universe has {}", names.join(", ")),
        );
    }
    let participants = Desk::participants(rig);
    let market = rig.market.iter().map(|_| MARKET_OPERATOR.to_owned());
    let needed = participants.iter().map(|name| party_of(name));
    let needed = [ledger.controller.clone()]
        .into_iter()
        .chain(market)
        .chain(needed);
    let missing: Vec<String> = needed
        .filter(|name| universe.party(name).is_none())
        .collect();
    if !missing.is_empty() {
        table.document().error(
            "R088",
            table.span_of("node"),
            format!("the universe has no party {}", missing.join(", ")),
            "this rig needs them",
            "make the universe with `gridrig ledger init --rig RIG`",
        );
    }
}
