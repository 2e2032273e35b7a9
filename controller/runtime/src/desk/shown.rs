//! What the page is shown of an interval: its book when it is cleared, its meters when it is settled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ledger_core::AtomId;
use market::meter::Reading;
use market::settlement::{Account, Settlement};
use market::{AgentId, Book, Clearing, Side};

use super::{Desk, DeskState, UTILITY};
use crate::view::{INTERVALS_KEPT, IntervalView, OrderView, PositionView, SettledView};

impl Desk {
    /// Keeps what was cleared.
    pub(super) fn show_cleared(
        &mut self,
        clearing: &Clearing,
        book: &Book,
        orders: &BTreeMap<u64, AtomId>,
        atom: AtomId,
        failure: Option<String>,
    ) {
        let served = |who: &AgentId, side: Side| {
            let mut fills = clearing.fills.iter();
            let fill = fills.find(|fill| fill.agent == *who && fill.side == side);
            fill.map_or(0, |fill| fill.quantity.0)
        };
        let shown = book.orders().iter().map(|order| OrderView {
            who: order.agent.to_string(),
            buys: order.side == Side::Buy,
            steps: (order.steps.iter())
                .map(|step| (step.price.0, step.quantity.0))
                .collect(),
            served_mwh: served(&order.agent, order.side),
            atom: orders.get(&order.rank).map(ToString::to_string),
        });
        let seats = self.seats.iter().map(|seat| seat.agent.clone());
        let everybody: BTreeSet<AgentId> = seats.chain([UTILITY.into()]).collect();
        let delivers = self.venue.delivering(clearing);
        let participants = everybody.into_iter().map(|agent| PositionView {
            committed_mwh: i64::try_from(delivers.position(&agent).0).unwrap_or(i64::MAX),
            who: agent.to_string(),
            ..PositionView::default()
        });
        let interval = &clearing.interval;
        let view = IntervalView {
            interval: interval.index,
            from: self.rules.instant(interval.start_ns),
            until: self.rules.instant(interval.end_ns()),
            price_mc_per_kwh: clearing.reference().map(|p| p.0),
            energy_mwh: i64::try_from(clearing.quantity.0).unwrap_or(i64::MAX),
            failure,
            atom: atom.to_string(),
            orders: shown.collect(),
            participants: participants.collect(),
            settled: None,
        };
        let kept = &mut self.state.intervals;
        while kept.len() >= INTERVALS_KEPT {
            kept.pop_front();
        }
        kept.push_back(Arc::new(view));
    }
}

impl DeskState {
    /// Adds what the meters and the settlement say.
    pub(super) fn show_settled(
        &mut self,
        interval: u64,
        readings: &BTreeMap<String, Reading>,
        settlement: &Settlement,
        is_excused: bool,
    ) {
        let mut kept = self.intervals.iter_mut();
        let Some(view) = kept.find(|view| view.interval == interval) else {
            return;
        };
        let view = Arc::make_mut(view);
        let balances = settlement.balances();
        for position in &mut view.participants {
            let reading = readings.get(&position.who);
            position.metered_mwh = reading.and_then(|r| r.energy()).map(|energy| energy.0);
            position.quality = reading.map(|reading| match reading {
                Reading::Valid { .. } => "valid",
                Reading::Estimated { .. } => "estimated",
                Reading::Missing { .. } => "missing",
            });
            let account = Account::Participant(position.who.as_str().into());
            // The page counts towards the account, the market what it pays.
            position.amount_u = Some(balances.get(&account).map_or(0, |paid| -paid.0));
        }
        view.settled = Some(SettledView {
            is_excused,
            unaccounted_mwh: i64::try_from(settlement.unaccounted.0).unwrap_or(i64::MAX),
        });
    }
}
