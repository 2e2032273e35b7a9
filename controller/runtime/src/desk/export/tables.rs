//! The tables, one function each.

use std::collections::BTreeMap;

use ledger_core::payload::{Payload, Side};

use super::{Cell, Kind, MarketOfRun, Table, When};

/// Columns that say which interval a row is of.
pub(super) const WHEN: [(&str, Kind); 5] = [
    ("interval", Kind::Whole),
    ("stage", Kind::Text),
    ("begins_utc_ns", Kind::Moment),
    ("begins_market_ns", Kind::Whole),
    ("length_ns", Kind::Whole),
];

impl When {
    pub(super) fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::Whole(i64::try_from(self.index).unwrap_or(i64::MAX)),
            Cell::text(self.stage),
            Cell::Whole(self.begins_utc_ns),
            Cell::Whole(self.interval.start_ns),
            Cell::Whole(self.interval.dt_ns),
        ]
    }
}

pub(super) fn side(side: Side) -> &'static str {
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
            let Some(when) = self.when_of(payload) else {
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
            Payload::Trade(trade) => {
                let energy = self.protection.energy(trade.quantity_milliwatt_hours);
                let worth = i128::from(trade.quantity_milliwatt_hours)
                    * i128::from(trade.price_millicents_per_kwh);
                let row = |who: &str, of: Side, sign: i8| {
                    vec![
                        Cell::Text(self.name(who)),
                        Cell::text(side(of)),
                        Cell::Whole(i64::from(sign) * energy),
                        Cell::Eur(self.protection.money(i128::from(sign) * worth)),
                    ]
                };
                vec![
                    row(&trade.buyer, Side::Buy, -1),
                    row(&trade.seller, Side::Sell, 1),
                ]
            }
            _ => Vec::new(),
        })
    }

    pub(super) fn contracts(&self) -> Table {
        let whole = |number: u64| Cell::Whole(i64::try_from(number).unwrap_or(i64::MAX));
        let rows = self.rules.venue.contracts.iter().map(|contract| {
            let delivered = self.records.iter().filter(|(_, payload)| match payload {
                Payload::Trade(trade) => contract.deal(trade.interval).is_some_and(|deal| {
                    (trade.buyer.as_str(), trade.seller.as_str())
                        == (deal.buyer.as_str(), deal.seller.as_str())
                        && trade.quantity_milliwatt_hours == deal.energy.0
                        && trade.price_millicents_per_kwh == deal.price.0
                }),
                _ => false,
            });
            vec![
                Cell::text(&contract.name),
                Cell::Text(self.name(contract.buyer.as_str())),
                Cell::Text(self.name(contract.seller.as_str())),
                whole(contract.first),
                whole(contract.last),
                Cell::Whole(self.protection.energy(contract.energy.0)),
                Cell::Whole(contract.price.0),
                whole(delivered.count() as u64),
            ]
        });
        Table {
            columns: vec![
                ("contract", Kind::Text),
                ("buyer", Kind::Text),
                ("seller", Kind::Text),
                ("first_interval", Kind::Whole),
                ("last_interval", Kind::Whole),
                ("energy_mwh", Kind::Whole),
                ("price_mc_per_kwh", Kind::Whole),
                ("intervals_on_record", Kind::Whole),
            ],
            rows: rows.collect(),
        }
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
            ("on_bench_mwh", Kind::Figure),
            ("quality", Kind::Text),
        ];
        self.by_interval(&columns, |payload| match payload {
            Payload::MeterReading(reading) => {
                let energy = reading.energy_milliwatt_hours;
                let shown = energy.map(|mwh| self.protection.energy(mwh));
                let on_bench = shown.map(|mwh| mwh as f64 / self.rules.time_factor as f64);
                vec![vec![
                    Cell::Text(self.name(&reading.participant)),
                    Cell::maybe(shown),
                    on_bench.map_or(Cell::Absent, Cell::Figure),
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

    /// A row for each commitment that could not be kept any more; `why` names powers of a device, so it is shown
    /// only where energies are.
    pub(super) fn infeasible(&self) -> Table {
        let columns = [
            ("whose", Kind::Text),
            ("committed_mwh", Kind::Whole),
            ("missing_mwh", Kind::Whole),
            ("why", Kind::Text),
        ];
        self.by_interval(&columns, |payload| match payload {
            Payload::Infeasible(found) => vec![vec![
                Cell::Text(self.name(&found.device)),
                Cell::Whole(self.protection.energy(found.committed_milliwatt_hours)),
                Cell::Whole(self.protection.energy(found.missing_milliwatt_hours)),
                match self.protection.shows_energies() {
                    true => Cell::text(&found.why),
                    false => Cell::Absent,
                },
            ]],
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
            let Some(when) = self.when_of(payload) else {
                continue;
            };
            let who = match payload {
                Payload::Order(order) => Cell::Text(self.name(&order.agent)),
                Payload::MeterReading(reading) => Cell::Text(self.name(&reading.participant)),
                Payload::Withdrawal(withdrawal) => Cell::Text(self.name(&withdrawal.agent)),
                Payload::Activation(activation) => Cell::Text(self.name(&activation.participant)),
                Payload::Infeasible(found) => Cell::Text(self.name(&found.device)),
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
