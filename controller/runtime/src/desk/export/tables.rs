//! The tables, one function each.

use std::collections::BTreeMap;

use ledger_core::payload::{Payload, Side};

use super::{Cell, Kind, MarketOfRun, Table, When};

/// Columns that say which interval a row is of.
const WHEN: [(&str, Kind); 5] = [
    ("interval", Kind::Whole),
    ("stage", Kind::Text),
    ("begins_utc_ns", Kind::Moment),
    ("begins_market_ns", Kind::Whole),
    ("length_ns", Kind::Whole),
];

impl When {
    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::Whole(i64::try_from(self.index).unwrap_or(i64::MAX)),
            Cell::text(self.stage),
            Cell::Whole(self.begins_utc_ns),
            Cell::Whole(self.interval.start_ns),
            Cell::Whole(self.interval.dt_ns),
        ]
    }
}

fn side(side: Side) -> &'static str {
    match side {
        Side::Buy => "buy",
        Side::Sell => "sell",
    }
}

impl MarketOfRun {
    /// A table of rows that each belong to an interval: those that `of` makes of a record.
    pub(super) fn by_interval(
        &self,
        columns: &[(&'static str, Kind)],
        of: impl Fn(&Payload) -> Vec<Vec<Cell>>,
    ) -> Table {
        let mut rows = Vec::new();
        for (_, payload) in &self.records {
            let Some(when) = self.number_of(payload).and_then(|number| self.when(number)) else {
                continue;
            };
            for cells in of(payload) {
                let mut row = when.cells();
                row.extend(cells);
                rows.push(row);
            }
        }
        Table {
            columns: WHEN.iter().chain(columns).copied().collect(),
            rows,
        }
    }

    pub(super) fn orders(&self) -> Table {
        let columns = [
            ("participant", Kind::Text),
            ("side", Kind::Text),
            ("rank", Kind::Whole),
            ("step", Kind::Whole),
            ("price_mc_per_kwh", Kind::Whole),
            ("energy_mwh", Kind::Whole),
        ];
        self.by_interval(&columns, |payload| match payload {
            Payload::Order(order) if self.protection.shows_orders() => (1..)
                .zip(&order.steps)
                .map(|(number, step)| {
                    vec![
                        Cell::Text(self.name(&order.agent)),
                        Cell::text(side(order.side)),
                        Cell::Whole(i64::try_from(order.rank).unwrap_or(i64::MAX)),
                        Cell::Whole(number),
                        Cell::Whole(step.price_millicents_per_kwh),
                        Cell::Whole(self.protection.energy(step.quantity_milliwatt_hours)),
                    ]
                })
                .collect(),
            _ => Vec::new(),
        })
    }

    pub(super) fn trades(&self) -> Table {
        let columns = [
            ("participant", Kind::Text),
            ("side", Kind::Text),
            ("energy_mwh", Kind::Whole),
            ("received_eur", Kind::Eur),
        ];
        self.by_interval(&columns, |payload| match payload {
            Payload::Clearing(clearing) => (clearing.fills.iter())
                .map(|fill| {
                    let of = self.sides.get(&fill.order);
                    vec![
                        Cell::Text(self.name(&fill.agent)),
                        of.map_or(Cell::Absent, |of| Cell::text(side(*of))),
                        Cell::maybe(self.injected(fill)),
                        Cell::Eur(self.protection.money(fill.amount.0)),
                    ]
                })
                .collect(),
            _ => Vec::new(),
        })
    }

    pub(super) fn clearing(&self) -> Table {
        let columns = [
            ("mechanism", Kind::Text),
            ("price_mc_per_kwh", Kind::Whole),
            ("price_low_mc_per_kwh", Kind::Whole),
            ("price_high_mc_per_kwh", Kind::Whole),
            ("energy_mwh", Kind::Whole),
            ("fills", Kind::Whole),
            ("operator_received_eur", Kind::Eur),
        ];
        self.by_interval(&columns, |payload| match payload {
            Payload::Clearing(c) => vec![vec![
                Cell::text(&c.mechanism),
                Cell::maybe(c.price_millicents_per_kwh),
                Cell::maybe(c.price_low_millicents_per_kwh),
                Cell::maybe(c.price_high_millicents_per_kwh),
                Cell::Whole(self.protection.energy(c.quantity_milliwatt_hours)),
                Cell::Whole(i64::try_from(c.fills.len()).unwrap_or(i64::MAX)),
                Cell::Eur(self.protection.money(c.operator_amount.0)),
            ]],
            _ => Vec::new(),
        })
    }

    pub(super) fn positions(&self) -> Table {
        let columns = [("participant", Kind::Text), ("committed_mwh", Kind::Whole)];
        self.by_interval(&columns, |payload| {
            let Payload::Clearing(clearing) = payload else {
                return Vec::new();
            };
            let mut positions: BTreeMap<String, i64> = BTreeMap::new();
            for fill in &clearing.fills {
                let position = positions.entry(self.name(&fill.agent)).or_default();
                *position = position.saturating_add(self.injected(fill).unwrap_or_default());
            }
            let rows = positions.into_iter();
            rows.map(|(who, energy)| vec![Cell::Text(who), Cell::Whole(energy)])
                .collect()
        })
    }

    pub(super) fn meter(&self) -> Table {
        let columns = [
            ("participant", Kind::Text),
            ("metered_mwh", Kind::Whole),
            ("quality", Kind::Text),
        ];
        self.by_interval(&columns, |payload| match payload {
            Payload::MeterReading(reading) => {
                let energy = reading.energy_milliwatt_hours;
                vec![vec![
                    Cell::Text(self.name(&reading.participant)),
                    Cell::maybe(energy.map(|mwh| self.protection.energy(mwh))),
                    Cell::text(reading.quality.name()),
                ]]
            }
            _ => Vec::new(),
        })
    }

    pub(super) fn settlement(&self) -> Table {
        let columns = [
            ("account", Kind::Text),
            ("item", Kind::Text),
            ("received_eur", Kind::Eur),
            ("excused", Kind::Whole),
        ];
        self.by_interval(&columns, |payload| match payload {
            Payload::Settlement(settlement) => (settlement.lines.iter())
                .map(|line| {
                    vec![
                        Cell::Text(self.name(&line.account)),
                        Cell::text(&line.what),
                        Cell::Eur(self.protection.money(line.amount.0)),
                        Cell::Whole(settlement.is_excused.into()),
                    ]
                })
                .collect(),
            _ => Vec::new(),
        })
    }

    pub(super) fn penalties(&self) -> Table {
        let columns = [("participant", Kind::Text), ("paid_eur", Kind::Eur)];
        self.by_interval(&columns, |payload| match payload {
            Payload::Settlement(settlement) => (settlement.lines.iter())
                .filter(|line| line.what == "penalty" && line.account != "penalties")
                .map(|line| {
                    vec![
                        Cell::Text(self.name(&line.account)),
                        Cell::Eur(self.protection.money(-line.amount.0)),
                    ]
                })
                .collect(),
            _ => Vec::new(),
        })
    }

    pub(super) fn balances(&self) -> Table {
        let mut balances: BTreeMap<String, i128> = BTreeMap::new();
        for (_, payload) in &self.records {
            if let Payload::Settlement(settlement) = payload {
                for line in &settlement.lines {
                    *balances.entry(self.name(&line.account)).or_default() += line.amount.0;
                }
            }
        }
        let rows = balances.into_iter();
        Table {
            columns: vec![("account", Kind::Text), ("received_eur", Kind::Eur)],
            rows: rows
                .map(|(account, amount)| {
                    let shown = Cell::Eur(self.protection.money(amount));
                    vec![Cell::Text(account), shown]
                })
                .collect(),
        }
    }

    pub(super) fn ledger_refs(&self) -> Table {
        let mut rows = Vec::new();
        for (id, payload) in &self.records {
            let Some(when) = self.number_of(payload).and_then(|number| self.when(number)) else {
                continue;
            };
            let who = match payload {
                Payload::Order(order) => Cell::Text(self.name(&order.agent)),
                Payload::MeterReading(reading) => Cell::Text(self.name(&reading.participant)),
                _ => Cell::Absent,
            };
            let mut row = when.cells();
            row.extend([Cell::text(payload.kind().name()), who, Cell::text(id)]);
            rows.push(row);
        }
        let columns = [
            ("record", Kind::Text),
            ("participant", Kind::Text),
            ("atom", Kind::Text),
        ];
        Table {
            columns: WHEN.iter().chain(&columns).copied().collect(),
            rows,
        }
    }
}
