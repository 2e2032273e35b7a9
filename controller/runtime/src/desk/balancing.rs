//! Balancing energy at the gate: who bids beside what it has traded, and how much is needed.
//!
//! Who follows a schedule bids its curve around its position, as within the day. The sun and loads that must
//! run do as they like: they bid nothing, and what is expected of them beyond what they have traded is what
//! the others are asked for.

use std::collections::BTreeMap;

use market::venue::intraday::around;
use market::{Agent as _, AgentId, Interval, MarketView, Mwh, Order};

use super::Desk;
use super::reach::Reach;
use crate::rig::ParticipantKind;

impl Desk {
    /// What everybody bids for an interval beside its position, and what is needed, each with its rank.
    pub(super) fn balancing_bids(
        &mut self,
        view: &MarketView,
        interval: &Interval,
        reach: &Reach,
        outside: Vec<Order>,
    ) -> Vec<Order> {
        let index = interval.index;
        let rules = self.rules.venue.book.clone();
        let parity = self.rules.venue.parity;
        let (venue, signs) = (&self.venue, &self.signs);
        let mut expected: BTreeMap<AgentId, Mwh> = BTreeMap::new();
        let mut orders = Vec::new();
        let mut beside = |agent: &AgentId, whole: &[Order]| {
            let position = venue.position_before(index, agent);
            orders.extend(around(whole, position, parity, &rules));
        };
        for seat in self.seats.iter_mut().filter(|seat| !seat.is_outside()) {
            let agent = seat.agent.clone();
            if matches!(seat.kind, ParticipantKind::Pv | ParticipantKind::MustRun) {
                let forecast = view.outlooks.get(&agent).and_then(|it| it.forecast);
                expected.extend(forecast.map(|energy| (agent, energy)));
                continue;
            }
            // What is switched as a whole cannot give a part.
            let is_whole = self.rules.venue.indivisible.contains(&agent);
            let is_proved = signs.as_ref().is_none_or(|it| it.lets(seat.device).is_ok());
            if is_whole || !is_proved || venue.lets(&agent, interval).is_err() {
                continue;
            }
            let whole = seat.orders(view, interval);
            let whole: Vec<Order> = (reach.of(seat, whole).into_iter())
                .filter_map(|order| venue.net_of_levies(order))
                .filter_map(|order| venue.accepted_part(index, order))
                .collect();
            beside(&agent, &whole);
        }
        let utility = self.utility.orders(view, interval);
        beside(&self.utility.agent, &utility);
        // What comes from outside is beside a position already.
        orders.extend(outside);
        orders.extend(venue.balancing_demand(index, &expected));
        for (rank, order) in orders.iter_mut().enumerate() {
            order.rank = rank as u64;
        }
        orders
    }

    /// Orders ahead of those who have a contract: for what it leaves, since that is not traded once more.
    pub(super) fn beside_contracts(&self, interval: u64, orders: Vec<Order>) -> Vec<Order> {
        let mut by_agent: BTreeMap<AgentId, Vec<Order>> = BTreeMap::new();
        for order in orders {
            by_agent.entry(order.agent.clone()).or_default().push(order);
        }
        let venue = &self.rules.venue;
        let of = |(agent, whole): (AgentId, Vec<Order>)| {
            let position = self.venue.position_before(interval, &agent);
            match position.0 {
                0 => whole,
                _ => around(&whole, position, venue.parity, &venue.book),
            }
        };
        let mut orders: Vec<Order> = by_agent.into_iter().flat_map(of).collect();
        for (rank, order) in orders.iter_mut().enumerate() {
            order.rank = rank as u64;
        }
        orders
    }
}
