//! The mqtt bus.

use std::sync::Arc;

use model::Clock;
use tokio::sync::mpsc;

use crate::{BusDevice, BusSpec, BusStats, Sink, WriteJob};

/// Runs the bus until all handles are dropped.
pub(crate) async fn run(
    _spec: BusSpec,
    _devices: Vec<BusDevice>,
    _clock: Arc<dyn Clock>,
    _sink: Arc<dyn Sink>,
    _jobs: mpsc::Receiver<WriteJob>,
    _stats: Arc<BusStats>,
) {
}
