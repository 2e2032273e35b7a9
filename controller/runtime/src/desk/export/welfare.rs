//! What clearings were worth. The books are not on the ledger as such: they are those of a replay.

use std::collections::BTreeMap;

use market::mechanism::by_name;
use market::quantity::PPM;
use market::venue::{Cleared, feeder};
use market::{Money, Mwh, Price, Side};

use super::super::replay::replay_seen;
use super::{Cell, Kind, MarketOfRun, Table};

/// The mechanism that leads to the most welfare that orders allow, and to the price at which it does.
const BEST: &str = "uniform_k_half";

/// A line of a feeder in a clearing.
struct LineEarned {
    /// The node whose line it is.
    node: usize,
    prices: [Option<Price>; 2],
    flow: i128,
    rent: Money,
}

/// What a clearing came to.
pub(super) struct Outcome {
    pub(super) welfare: Money,
    /// The most that the same orders allow, without lines and whatever is indivisible.
    pub(super) most: Option<Money>,
    /// The price at which that is reached.
    pub(super) equilibrium: Option<Price>,
    /// Whether somebody had to sell, since the others together offered less than was traded.
    pub(super) is_pivotal: bool,
    lines: Vec<LineEarned>,
}

impl MarketOfRun {
    /// What every clearing of the run came to, by its number, as far as it replays.
    pub(super) fn outcomes(&self) -> BTreeMap<u64, Outcome> {
        let mut found = BTreeMap::new();
        // The rules were read before; a record that does not come out again ends the list.
        let _replayed = replay_seen(&self.run_dir, &mut |cleared| {
            found.insert(cleared.clearing.interval.index, self.outcome(cleared));
        });
        found
    }

    fn outcome(&self, cleared: &Cleared) -> Outcome {
        let (book, clearing) = (&cleared.book, &cleared.clearing);
        let best = by_name(BEST).ok().and_then(|best| best.clear(book).ok());
        let mut offered: BTreeMap<&str, i128> = BTreeMap::new();
        for order in book.orders().iter().filter(|it| it.side == Side::Sell) {
            let energy: i128 = order.steps.iter().map(|s| i128::from(s.quantity.0)).sum();
            *offered.entry(order.agent.as_str()).or_default() += energy;
        }
        let all: i128 = offered.values().sum();
        let traded = clearing.quantity.0;
        let is_pivotal = traded > 0 && offered.values().any(|own| all - own < traded);
        let on_lines =
            self.rules.feeder.as_ref().filter(|_| {
                clearing.mechanism.starts_with(feeder::NAME) && cleared.failure.is_none()
            });
        let lines = on_lines.and_then(|rules| {
            let limits = feeder::limits_of(&clearing.mechanism);
            let (nodes, _) = rules.cleared(book, &limits).ok()?;
            let line = |(index, line): (usize, &market::venue::feeder::LineRules)| {
                let node = &nodes.nodes[index + 1];
                LineEarned {
                    node: index + 1,
                    prices: [node.price, nodes.nodes[line.toward].price],
                    flow: node.flow.0,
                    rent: node.rent,
                }
            };
            Some(rules.lines.iter().enumerate().map(line).collect())
        });
        Outcome {
            welfare: clearing.welfare,
            most: best.as_ref().map(|best| best.welfare),
            equilibrium: best.as_ref().and_then(|best| best.price),
            is_pivotal,
            lines: lines.unwrap_or_default(),
        }
    }

    pub(super) fn welfare(&self) -> Table {
        let columns = [
            ("welfare_eur", Kind::Eur),
            ("welfare_most_eur", Kind::Eur),
            ("efficiency_ppm", Kind::Whole),
            ("equilibrium_price_mc_per_kwh", Kind::Whole),
            ("pivotal_seller", Kind::Whole),
        ];
        let row = |it: &Outcome| {
            let most = it.most.filter(|most| most.0 > 0);
            let part = most.and_then(|most| {
                let part = it.welfare.0.checked_mul(PPM.into())?.div_euclid(most.0);
                i64::try_from(part).ok()
            });
            vec![
                Cell::Eur(self.protection.money(it.welfare.0)),
                (it.most).map_or(Cell::Absent, |most| {
                    Cell::Eur(self.protection.money(most.0))
                }),
                Cell::maybe(part),
                Cell::maybe(it.equilibrium.map(|price| price.0)),
                Cell::Whole(it.is_pivotal.into()),
            ]
        };
        self.by_outcome(&columns, |it| vec![row(it)])
    }

    /// Rows that `of` makes of what each shown clearing came to.
    fn by_outcome(
        &self,
        columns: &[(&'static str, Kind)],
        of: impl Fn(&Outcome) -> Vec<Vec<Cell>>,
    ) -> Table {
        let outcomes = self.outcomes();
        self.by_interval(columns, |payload| {
            let ledger_core::payload::Payload::Clearing(clearing) = payload else {
                return Vec::new();
            };
            outcomes.get(&clearing.interval).map_or_else(Vec::new, &of)
        })
    }

    pub(super) fn congestion(&self) -> Table {
        let columns = [
            ("from_node", Kind::Text),
            ("toward_node", Kind::Text),
            ("flow_toward_root_mwh", Kind::Whole),
            ("from_price_mc_per_kwh", Kind::Whole),
            ("toward_price_mc_per_kwh", Kind::Whole),
            ("rent_eur", Kind::Eur),
        ];
        let Some(feeder) = &self.rules.feeder else {
            return self.by_interval(&columns, |_| Vec::new());
        };
        let row = |it: &LineEarned| {
            let Mwh(flow) = Mwh(i64::try_from(it.flow).unwrap_or(i64::MAX));
            let [from, toward] = it.prices.map(|price| Cell::maybe(price.map(|p| p.0)));
            vec![
                Cell::text(&feeder.nodes[it.node]),
                Cell::text(&feeder.nodes[feeder.lines[it.node - 1].toward]),
                Cell::Whole(self.protection.energy(flow)),
                from,
                toward,
                Cell::Eur(self.protection.money(it.rent.0)),
            ]
        };
        self.by_outcome(&columns, |it| it.lines.iter().map(row).collect())
    }
}
