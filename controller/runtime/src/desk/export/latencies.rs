//! How long it took from gate to setpoint: what the desk measured of its clearings (event `market_timed`, in real
//! time only), and what the ledger says of the setpoints that followed them.

use std::collections::BTreeMap;

use ledger_core::AtomId;
use ledger_core::payload::{DispatchStage, Payload};
use serde::Deserialize;

use super::{Cell, Kind, MarketOfRun, Table};
use crate::telemetry::EVENTS_FILE;

/// Nanoseconds in a microsecond.
const NS_PER_US: i64 = 1_000;

/// How long setpoints took that followed a clearing, in nanoseconds: from the command until its register, or the
/// measured power, says so.
#[derive(Default)]
pub(super) struct Reached {
    /// The clearing that caused a dispatch, and when that was made.
    caused: BTreeMap<AtomId, (AtomId, i64)>,
    took_ns: BTreeMap<AtomId, Vec<i64>>,
}

impl Reached {
    pub(super) fn take(&mut self, id: AtomId, payload: &Payload) {
        match payload {
            Payload::Dispatch(dispatch) => {
                if let Some(cause) = dispatch.cause {
                    self.caused.insert(id, (cause, dispatch.valid_from_utc_ns));
                }
            }
            // Where a device tells its power that is what the ledger has of it.
            Payload::DispatchAck(ack) if ack.stage != DispatchStage::Failed => {
                if let Some((cause, made)) = self.caused.remove(&ack.dispatch) {
                    let took = ack.seen_utc_ns.saturating_sub(made).max(0);
                    self.took_ns.entry(cause).or_default().push(took);
                }
            }
            _ => {}
        }
    }
}

/// What the desk measured of a clearing, in microseconds.
#[derive(Clone, Copy, Deserialize)]
pub(super) struct Timed {
    interval: u64,
    pub(super) clear_us: i64,
    pub(super) finality_us: i64,
}

/// The value below or at which this share of a sorted list lies.
pub(super) fn quantile(sorted: &[i64], percent: usize) -> Option<i64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

impl MarketOfRun {
    /// What was measured, by interval; nothing in virtual time, in which nothing takes any.
    pub(super) fn timed(&self) -> BTreeMap<u64, Timed> {
        #[derive(Deserialize)]
        struct Row {
            event: String,
            details: serde_json::Value,
        }
        let text = std::fs::read_to_string(self.run_dir.join(EVENTS_FILE)).unwrap_or_default();
        let rows = text.lines().filter(|line| line.contains("market_timed"));
        let timed = rows.filter_map(|line| {
            let row: Row = serde_json::from_str(line).ok()?;
            let timed: Timed = serde_json::from_value(row.details).ok()?;
            (row.event == "market_timed").then_some((timed.interval, timed))
        });
        timed.collect()
    }

    /// How long setpoints of the clearings that are shown took, sorted, in microseconds.
    pub(super) fn setpoints_us(&self, of: Option<AtomId>) -> Vec<i64> {
        let shown = self.records.iter().filter_map(|(id, payload)| {
            let is_meant = of.is_none_or(|one| one == *id);
            (is_meant && matches!(payload, Payload::Clearing(_)))
                .then(|| self.reached.took_ns.get(id))
        });
        let mut all: Vec<i64> = (shown.flatten().flatten())
            .map(|ns| ns / NS_PER_US)
            .collect();
        all.sort_unstable();
        all
    }

    pub(super) fn latencies(&self) -> Table {
        let timed = self.timed();
        let mut rows = Vec::new();
        for (id, payload) in &self.records {
            let (Payload::Clearing(clearing), Some(when)) = (payload, self.when_of(payload)) else {
                continue;
            };
            if when.stage != "real_time" {
                continue;
            }
            let took = timed.get(&clearing.interval);
            let setpoints = self.setpoints_us(Some(*id));
            let mut row = when.cells();
            row.extend([
                Cell::maybe(took.map(|took| took.clear_us)),
                Cell::maybe(took.map(|took| took.finality_us)),
                Cell::Whole(i64::try_from(setpoints.len()).unwrap_or(i64::MAX)),
                Cell::maybe(quantile(&setpoints, 50)),
                Cell::maybe(setpoints.last().copied()),
            ]);
            rows.push(row);
        }
        let columns = [
            ("clear_us", Kind::Whole),
            ("finality_us", Kind::Whole),
            ("setpoints", Kind::Whole),
            ("setpoint_median_us", Kind::Whole),
            ("setpoint_most_us", Kind::Whole),
        ];
        Table {
            columns: super::tables::WHEN
                .iter()
                .chain(&columns)
                .copied()
                .collect(),
            rows,
        }
    }
}
