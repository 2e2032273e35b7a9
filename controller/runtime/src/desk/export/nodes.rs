//! What a feeder came to: prices, flows and limits by node and interval.

use std::collections::BTreeMap;

use ledger_core::payload::{Payload, Side};
use market::AgentId;

use super::{Cell, Kind, MarketOfRun, Table};

impl MarketOfRun {
    pub(super) fn nodes(&self) -> Table {
        let columns = [
            ("node", Kind::Text),
            ("price_mc_per_kwh", Kind::Whole),
            ("injected_mwh", Kind::Whole),
            ("flow_toward_root_mwh", Kind::Whole),
            ("line_most_mwh", Kind::Whole),
            ("line_loss_fee_mc_per_kwh", Kind::Whole),
        ];
        self.by_interval(&columns, |payload| {
            let (Payload::Clearing(clearing), Some(feeder)) = (payload, &self.rules.feeder) else {
                return Vec::new();
            };
            let mut prices = BTreeMap::new();
            let injected = clearing.fills.iter().filter_map(|fill| {
                let energy = i128::from(fill.quantity_milliwatt_hours);
                let agent = AgentId::from(fill.agent.as_str());
                let sign = match self.sides.get(&fill.order)? {
                    Side::Sell => 1,
                    Side::Buy => -1,
                };
                // Everybody at a node pays exactly its price.
                if let Some(price) = (sign * fill.amount.0).checked_div(energy) {
                    let node = feeder.at.get(&agent).copied().unwrap_or(0);
                    prices.insert(node, price);
                }
                Some((agent, sign * energy))
            });
            let injected: Vec<(AgentId, i128)> = injected.collect();
            let Some(nodes) = feeder.nodes(&clearing.mechanism, injected.into_iter()) else {
                return Vec::new();
            };
            let whole = |number: i128| i64::try_from(number).unwrap_or(i64::MAX);
            let energy = |number: i128| Cell::Whole(self.protection.energy(whole(number)));
            let rows = nodes.iter().enumerate().map(|(index, node)| {
                vec![
                    Cell::text(&feeder.nodes[index]),
                    Cell::maybe(prices.get(&index).copied().map(whole)),
                    energy(node.injection.0),
                    energy(node.flow.0),
                    Cell::maybe(node.capacity.map(|most| most.0)),
                    Cell::Whole(node.fee.0),
                ]
            });
            rows.collect()
        })
    }
}
