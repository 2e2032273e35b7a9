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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ledger_net::files::{Plan, init};

    use super::*;

    const BENCH: &str = r#"
schema = 1
site = { v = "230V", f = "50Hz", phases = 3 }
[bus]
rs1 = { kind = "modbus-rtu", port = "/dev/ttyUSB0", baud = 9600 }
[device]
met1 = { profile = "eastron/sdm630", bus = "rs1", unit = 2, role = "pcc" }
"#;

    /// A universe with two controllers and an admin, in `lab` beside the rig.
    fn universe(folder: &Path) {
        let party = |name: &str, role| (name.to_owned(), vec![role]);
        let address = "127.0.0.1:7301".parse().expect("an address");
        let plan = Plan {
            name: "lab".to_owned(),
            created_utc_ns: 1,
            addresses: vec![address],
            parties: vec![
                party("admin-1", Role::Admin),
                party("controller", Role::Dispatcher),
                party("controller-2", Role::Dispatcher),
            ],
            admin_threshold: 1,
            replicas: vec![],
        };
        let mut n = 0;
        let mut entropy = |bytes: &mut [u8; 32]| {
            n += 1;
            *bytes = [n; 32];
            Ok(())
        };
        init(&folder.join("lab"), &plan, &mut entropy).expect("a universe");
    }

    #[test]
    fn a_rig_commands_as_a_party_that_may() {
        let dir = tempfile::tempdir().expect("a folder");
        universe(dir.path());
        let check = |keys: &str, expected: Result<&str, (&str, &str)>| {
            let text = format!("{BENCH}[ledger]\n{keys}\n");
            let path = dir.path().join("rig.toml");
            std::fs::write(&path, text).expect("written");
            let found = crate::rig::load(&path);
            let found = found.as_ref().map(|rig| {
                let ledger = rig.ledger.as_ref();
                ledger.map_or("", |ledger| ledger.controller.as_str())
            });
            let found = found.map_err(|faults| (faults[0].code, faults[0].message.as_str()));
            assert_eq!(found, expected, "{keys}");
        };
        let node = "node = \"lab/node-1/node.toml\"";
        let with = |name: &str| format!("{node}\ncontroller = \"{name}\"");
        check(node, Ok("controller"));
        check(&with("controller-2"), Ok("controller-2"));
        check(
            &with("admin-1"),
            Err(("R088", "`admin-1` may not command devices")),
        );
        check(
            &with("nobody"),
            Err(("R088", "the universe has no party nobody")),
        );
    }
}
