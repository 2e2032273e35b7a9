//! What everybody trades at the prices.
//!
//! Whoever gains trades all of its step, whoever loses none. Between those who do neither is left how to balance
//! the books and to fill the room that is worth something; of all ways one is taken that trades the most, of
//! energy and of readiness. Those who trade energy alone at the price of energy are one column of each side here.

use super::{Dual, EVEN_MAX, Layout, STAGES, fraction};
use crate::crossing::pro_rata;
use crate::lp::{Bound, Program, Row};
use crate::order::Side;
use crate::reserve::ReserveError;

/// What is free to trade between nothing and all.
struct Even {
    /// Its columns: one, or all of a side that trade energy alone.
    columns: Vec<usize>,
    stage: usize,
    side: Side,
    room: Option<usize>,
    most: i128,
}

impl Layout<'_> {
    /// Units of every column.
    pub(super) fn traded(&self, dual: &Dual) -> Result<Vec<i128>, ReserveError> {
        let prices = self.certificate(Vec::new(), dual).prices;
        let mut traded = vec![0_i128; self.columns.len()];
        let mut even: Vec<Even> = Vec::new();
        for (index, column) in self.columns.iter().enumerate() {
            let gain = self.gain(column, &prices);
            if gain > 0 {
                traded[index] = column.most;
            }
            if gain != 0 {
                continue;
            }
            let (stage, side, room) = (column.stage, column.order.side, column.room);
            let is_alone = |it: &&mut Even| {
                stage == 0
                    && room.is_none()
                    && it.room.is_none()
                    && (it.stage, it.side) == (0, side)
            };
            match even.iter_mut().find(is_alone) {
                Some(known) => {
                    known.columns.push(index);
                    known.most += column.most;
                }
                None => even.push(Even {
                    columns: vec![index],
                    stage,
                    side,
                    room,
                    most: column.most,
                }),
            }
        }
        if even.len() > EVEN_MAX {
            let found = even.len();
            return Err(ReserveError::TooManyEven { found });
        }
        let found = self.left(&even, &traded, &prices).solve()?;
        for (even, units) in even.iter().zip(&found.columns) {
            let whole = (units % found.whole == 0).then_some(units / found.whole);
            let whole = whole.ok_or_else(fraction)?;
            let each: Vec<i128> = even
                .columns
                .iter()
                .map(|&it| self.columns[it].most)
                .collect();
            for (&column, share) in even.columns.iter().zip(pro_rata(&each, whole)) {
                traded[column] = share;
            }
        }
        Ok(traded)
    }

    /// The program of what is even, beside what is settled.
    fn left(&self, even: &[Even], settled: &[i128], prices: &[i128]) -> Program {
        let numbered = || even.iter().enumerate();
        let sign = |side: Side| side.injection_sign();
        let settled = || self.columns.iter().zip(settled);
        let mut rows = Vec::new();
        for stage in 0..STAGES {
            let known = settled().filter(|(column, _)| column.stage == stage);
            let known = known.map(|(it, units)| i128::from(sign(it.order.side)) * units);
            let terms = numbered().filter(|(_, it)| it.stage == stage);
            rows.push(Row {
                terms: terms.map(|(index, it)| (index, sign(it.side))).collect(),
                bound: Bound::Exact,
                limit: -known.sum::<i128>(),
            });
        }
        for (room, it) in self.rooms.iter().enumerate() {
            let terms = numbered().filter(|(_, it)| it.room == Some(room));
            let terms: Vec<(usize, i64)> = terms.map(|(index, _)| (index, 1)).collect();
            if terms.is_empty() {
                continue;
            }
            let known = settled().filter(|(column, _)| column.room == Some(room));
            let known: i128 = known.map(|(_, units)| units).sum();
            rows.push(Row {
                terms,
                // Room that is worth something is used.
                bound: match prices[STAGES + room] {
                    0 => Bound::Most,
                    _ => Bound::Exact,
                },
                limit: it.most - known,
            });
        }
        rows.extend(numbered().map(|(index, it)| Row {
            terms: vec![(index, 1)],
            bound: Bound::Most,
            limit: it.most,
        }));
        let sells = |it: &Even| it.side == Side::Sell;
        Program {
            costs: even.iter().map(|it| -i128::from(sells(it))).collect(),
            rows,
        }
    }
}
