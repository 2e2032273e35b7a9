//! Watches the pulse of the control loop; when it stops, devices are brought to rest without it.
//!
//! A stalled cycle cannot decide any more, while the buses would go on refreshing its last
//! setpoints for ever. The guard acts once per stall, and leaves an order for the safe mode: the
//! core, should it come back, does not go on as if nothing had been.

use std::sync::Arc;
use std::time::Duration;

use model::{Clock, Instant, Order};

use crate::engine::{OrderQueue, Pulse};

/// Runs until it is dropped. `rest` is called once for every stall longer than `heartbeat`; it has to
/// know by itself whether there is a way to write.
pub async fn guard(
    heartbeat: Duration,
    clock: Arc<dyn Clock>,
    pulse: Arc<Pulse>,
    orders: OrderQueue,
    rest: impl Fn(),
) {
    let mut lost = false;
    loop {
        // Chosen: a quarter of the heartbeat, so that a stall is seen at most that much late.
        tokio::time::sleep(heartbeat / 4).await;
        let has_begun = pulse.last() > Instant::START;
        let silent = has_begun && clock.now().since(pulse.last()) > heartbeat;
        if silent && !lost {
            tracing::error!(
                message = "Control has not run for a heartbeat: devices are brought to rest.",
                heartbeat_s = heartbeat.as_secs_f64()
            );
            orders.push(Order::HeartbeatLost);
            rest();
        }
        lost = silent;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::clock::SimClock;

    #[tokio::test(start_paused = true)]
    async fn every_stall_longer_than_a_heartbeat_is_answered_with_rest_once() {
        let clock = Arc::new(SimClock::start());
        let (pulse, orders) = (Arc::new(Pulse::default()), OrderQueue::default());
        let rests = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&rests);
        let guard = tokio::spawn(guard(
            Duration::from_secs(1),
            Arc::clone(&clock) as Arc<dyn Clock>,
            Arc::clone(&pulse),
            orders.clone(),
            move || {
                counted.fetch_add(1, Ordering::Relaxed);
            },
        ));
        let beat_for = |seconds: u64| {
            let (pulse, clock) = (Arc::clone(&pulse), Arc::clone(&clock));
            async move {
                for _ in 0..seconds * 10 {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    pulse.beat(clock.now());
                }
            }
        };
        let stall = || tokio::time::sleep(Duration::from_secs(5));
        stall().await;
        assert_eq!(rests.load(Ordering::Relaxed), 0, "nothing has begun yet");
        beat_for(3).await;
        assert_eq!(rests.load(Ordering::Relaxed), 0, "a steady pulse");
        stall().await;
        assert_eq!(rests.load(Ordering::Relaxed), 1, "once per stall");
        beat_for(2).await;
        stall().await;
        assert_eq!(rests.load(Ordering::Relaxed), 2, "and again for the next");
        let told = [Order::HeartbeatLost, Order::HeartbeatLost];
        assert_eq!(orders.take(), told, "the safe mode each, by its cause");
        guard.abort();
    }
}
