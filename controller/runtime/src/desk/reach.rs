//! What a device can deliver of the interval that comes: its agent orders no more than that.
//!
//! Theory. A device goes from the power that it has when the interval begins to one end of what it can do now by its
//! ramp, and stays there; the energy of that is the most, or the least, that it can deliver. The power at the beginning
//! is taken to be the one that is measured at the gate, near the end of the interval before, by when a device has come to
//! what that asks of it; one that has not is out by no more than its ramp in the time of the gate. What
//! [tracking](super::tracking) finds infeasible within an interval is bounded by the same; so an agent does not sell
//! what would be.
//!
//! A device that cannot come down to nothing in time delivers what it must, which is not ordered: it is imbalance.
//!
//! Not responsible for the sun and switched loads, which have no power that could be asked of them, for later intervals,
//! whose beginning nobody knows, nor for orders from outside, which are bounded by the limits of the rig.

use std::collections::BTreeMap;

use market::{Interval, Order, Side};
use model::{DeviceIx, Instant};

use super::seat::{Seat, part_of};
use super::tracking::{JOULES_PER_MWH, able, seconds, takes_power};
use super::{BenchNow, Desk};

/// The least and the most that devices can deliver of an interval, in milliwatt-hours; who is not listed is not bound.
#[derive(Debug, Default)]
pub(super) struct Reach(BTreeMap<DeviceIx, (i64, i64)>);

impl Reach {
    /// The part of an order that the device of its seat can deliver, cut where its prices are worst.
    pub(super) fn part(&self, seat: (DeviceIx, u32), order: Order) -> Option<Order> {
        let (device, share_ppm) = seat;
        let Some((least, most)) = self.0.get(&device) else {
            return Some(order);
        };
        let whole = match order.side {
            Side::Sell => *most,
            Side::Buy => least.saturating_neg(),
        };
        let most = part_of(whole.max(0), share_ppm);
        order.at_most(market::MwhTotal(most.into()))
    }

    /// The parts of the orders of a seat.
    pub(super) fn of(&self, seat: &Seat, orders: Vec<Order>) -> Vec<Order> {
        let owner = (seat.device, seat.share_ppm);
        let parts = orders.into_iter().map(|order| self.part(owner, order));
        parts.flatten().collect()
    }
}

impl Desk {
    /// What devices can deliver of an interval whose gate closes now.
    pub(super) fn reach(&self, now: Instant, interval: &Interval, bench: &BenchNow<'_>) -> Reach {
        let span_s = seconds(interval.dt_ns);
        let whole = |joules: f64| (joules / JOULES_PER_MWH) as i64;
        let devices = self.seats.iter().map(|seat| seat.device);
        let devices = devices.filter(|it| takes_power(&bench.bench.devices[it.index()]));
        let bounds = devices.filter_map(|device| {
            let able = able(device, now, bench)?.at_pace(self.rules.time_factor);
            let (low, high) = (able.bounds.lower(), able.bounds.upper());
            let (least, most) = (able.reach(low, span_s), able.reach(high, span_s));
            Some((device, (whole(least), whole(most))))
        });
        Reach(bounds.collect())
    }
}

#[cfg(test)]
mod tests {
    use market::{Mwh, Price, Step};

    use super::*;

    #[test]
    fn who_has_a_part_of_a_device_orders_its_part_of_what_that_can_deliver() {
        let reach = Reach(BTreeMap::from([
            (DeviceIx(0), (-400, 1_000)),
            // It cannot come down to nothing in time.
            (DeviceIx(1), (50, 900)),
        ]));
        for (device, share_ppm, side, expected) in [
            (0, 1_000_000, Side::Sell, &[700, 300][..]),
            (0, 600_000, Side::Sell, &[600]),
            (0, 1_000_000, Side::Buy, &[400]),
            (0, 250_000, Side::Buy, &[100]),
            (1, 1_000_000, Side::Buy, &[]),
            (1, 1_000_000, Side::Sell, &[700, 200]),
            // Nobody knows what it can do.
            (2, 1_000_000, Side::Sell, &[700, 700]),
        ] {
            let step = |price| Step {
                price: Price(price),
                quantity: Mwh(700),
            };
            let order = Order {
                steps: vec![step(10), step(20)],
                ..Order::single("a".into(), side, Price(0), Mwh(1))
            };
            let part = reach.part((DeviceIx(device), share_ppm), order);
            let steps = part.map_or(Vec::new(), |it| it.steps);
            let found: Vec<i64> = steps.iter().map(|step| step.quantity.0).collect();
            assert_eq!(found, expected, "{device} {share_ppm} {side}");
        }
    }
}
