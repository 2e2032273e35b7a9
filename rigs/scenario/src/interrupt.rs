//! Hears an interruption at any time of a test run, also between two scenarios.
//!
//! Every scenario has a runtime of its own; a signal that arrives while there is none would be
//! lost. One thread therefore listens from the beginning to the end of the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::live::{in_runtime, stop};

/// How often a scenario asks whether it was interrupted. Chosen: half a control period.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Whether the run was asked to end.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens for the signals that end a run.
    pub(crate) fn listen() -> Self {
        let heard = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&heard);
        let listener = std::thread::Builder::new()
            .name("interrupt".into())
            .spawn(move || {
                if in_runtime(false, stop(None)).is_ok() {
                    tell.store(true, Ordering::Release);
                }
            });
        if let Err(e) = listener {
            // Without the thread the signal ends the process by itself, as for every program.
            tracing::warn!(message = "Nobody listens for an interruption.", %e);
        }
        Self(heard)
    }

    /// Whether it was heard by now.
    pub(crate) fn was_heard(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Ends when it is heard.
    pub(crate) async fn heard(&self) {
        while !self.was_heard() {
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
}
