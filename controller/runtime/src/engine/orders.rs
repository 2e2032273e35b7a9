//! Orders from outside, on their way to the next step.

use std::sync::{Arc, Mutex, PoisonError};

use model::{ModeRequest, Order};

/// Orders from outside that wait for the next step.
#[derive(Clone, Debug, Default)]
pub struct OrderQueue(Arc<Mutex<Vec<Order>>>);

/// Orders that may wait. Chosen: 1000, far more than people and scripts give in a cycle.
const ORDERS_WAITING_MAX: usize = 1000;

impl OrderQueue {
    /// Adds an order; false when too many wait already. The way to the safe mode is never full: it is
    /// enough that it waits there once.
    pub fn push(&self, order: Order) -> bool {
        let is_safe = matches!(order, Order::Mode(ModeRequest::Safe) | Order::HeartbeatLost);
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= ORDERS_WAITING_MAX {
            if is_safe && waiting.last() != Some(&order) {
                waiting.push(order);
            }
            return is_safe;
        }
        waiting.push(order);
        true
    }

    pub(crate) fn take(&self) -> Vec<Order> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_still_takes_the_way_to_the_safe_mode() {
        let queue = OrderQueue::default();
        let mut taken = 0;
        while queue.push(Order::Arm(true)) {
            taken += 1;
        }
        assert_eq!(taken, ORDERS_WAITING_MAX);
        assert!(!queue.push(Order::Mode(ModeRequest::Resume)));
        assert!(queue.push(Order::Mode(ModeRequest::Safe)));
        assert!(
            queue.push(Order::Mode(ModeRequest::Safe)),
            "it waits already"
        );
        assert!(queue.push(Order::HeartbeatLost));
        assert_eq!(queue.take().len(), ORDERS_WAITING_MAX + 2);
    }
}
