//! Reserve: who offered to be ready, what was bought of it, and how it was called.

use std::collections::BTreeMap;

use ledger_core::AtomId;
use ledger_core::payload::{Fill, Payload};
use market::activation::score_of;
use market::venue::reserve;

use super::tables::{WHEN, side};
use super::{Cell, Kind, MarketOfRun, Table};

impl MarketOfRun {
    /// A row for each offer and each need; readiness is power times the length of the interval.
    pub(super) fn capacity(&self) -> Table {
        let mut bought: BTreeMap<AtomId, &Fill> = BTreeMap::new();
        for (_, payload) in &self.records {
            if let Payload::Clearing(clearing) = payload {
                bought.extend(clearing.fills.iter().map(|fill| (fill.order, fill)));
            }
        }
        let mut rows = Vec::new();
        for (id, payload) in &self.records {
            let Payload::Order(order) = payload else {
                continue;
            };
            let is_ready = reserve::interval_of(order.interval).is_some();
            let when = self.when_of(payload).filter(|_| is_ready);
            let Some(when) = when.filter(|_| self.protection.shows_orders()) else {
                continue;
            };
            let fill = bought.get(id);
            for step in &order.steps {
                let mut row = when.cells();
                row.extend([
                    Cell::Text(self.name(&order.agent)),
                    Cell::text(side(order.side)),
                    Cell::Whole(step.price_millicents_per_kwh),
                    Cell::Whole(self.protection.energy(step.quantity_milliwatt_hours)),
                    Cell::Whole(fill.map_or(0, |fill| {
                        self.protection.energy(fill.quantity_milliwatt_hours)
                    })),
                    Cell::Eur(fill.map_or(0, |fill| self.protection.money(fill.amount.0))),
                ]);
                rows.push(row);
            }
        }
        let columns = [
            ("participant", Kind::Text),
            ("side", Kind::Text),
            ("price_mc_per_kwh", Kind::Whole),
            ("offered_mwh", Kind::Whole),
            ("bought_mwh", Kind::Whole),
            ("received_if_kept_eur", Kind::Eur),
        ];
        Table {
            columns: WHEN.iter().chain(&columns).copied().collect(),
            rows,
        }
    }

    pub(super) fn activations(&self) -> Table {
        let columns = [
            ("participant", Kind::Text),
            ("moments", Kind::Whole),
            ("available_moments", Kind::Whole),
            ("up_mwh", Kind::Whole),
            ("down_mwh", Kind::Whole),
            ("asked_sum_mw", Kind::Whole),
            ("missed_sum_mw", Kind::Whole),
            ("score_ppm", Kind::Whole),
        ];
        let whole = |number: u64| Cell::Whole(i64::try_from(number).unwrap_or(i64::MAX));
        self.by_interval(&columns, |payload| match payload {
            Payload::Activation(it) => {
                let (asked, missed) = (it.asked_milliwatts, it.missed_milliwatts);
                let score = score_of(asked.into(), missed.into());
                vec![vec![
                    Cell::Text(self.name(&it.participant)),
                    whole(it.moments),
                    whole(it.available_moments),
                    Cell::Whole(self.protection.energy(it.up_milliwatt_hours)),
                    Cell::Whole(self.protection.energy(it.down_milliwatt_hours)),
                    whole(asked),
                    whole(missed),
                    Cell::maybe(score.map(i64::from)),
                ]]
            }
            _ => Vec::new(),
        })
    }
}
