//! The thread of the buses in real time, with an async runtime of its own.
//!
//! What the process does beside control (page, telemetry, emulated devices) has another thread, so that none of
//! it stands between a sample and the setpoint that answers it. With the right to it runs under SCHED_FIFO.

use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::rights;

/// Time that buses have to take their leave when nobody holds them any more.
/// Chosen: some round trips to a broker or an instrument; rest has been confirmed before.
const LEAVE: Duration = Duration::from_millis(300);

/// Pause between two looks whether they have. Chosen: it delays the end of a run only.
const LOOK: Duration = Duration::from_millis(5);

/// The thread; it ends with this, and whatever runs on it.
pub(crate) struct Field {
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Field {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread or no timer.
    pub(crate) fn start() -> std::io::Result<Self> {
        let (tell, told) = sync_channel(1);
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("field".into())
            .spawn(move || {
                // Refused as it is to the control thread, which tells so.
                let _granted = rights::for_buses();
                let built = Builder::new_current_thread().enable_all().build();
                let runtime = match built {
                    Ok(runtime) => runtime,
                    Err(error) => {
                        // The starter waits below.
                        let _heard = tell.send(Err(error));
                        return;
                    }
                };
                let _heard = tell.send(Ok(runtime.handle().clone()));
                runtime.block_on(async {
                    // Told or dropped: both end it.
                    let _ended = stopped.await;
                    let metrics = Handle::current().metrics();
                    let all_left = async {
                        while metrics.num_alive_tasks() > 0 {
                            tokio::time::sleep(LOOK).await;
                        }
                    };
                    // Who does not go by itself goes with the runtime.
                    let _left = tokio::time::timeout(LEAVE, all_left).await;
                });
                runtime.shutdown_background();
            })?;
        let runtime = told
            .recv()
            .map_err(|_| std::io::Error::other("the thread of the buses ended at once"))??;
        Ok(Self {
            runtime,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Does something whose tasks are to run on the thread.
    pub(crate) fn inside<T>(&self, start: impl FnOnce() -> T) -> T {
        let _entered = self.runtime.enter();
        start()
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // What a bus did to end it badly was told when it happened.
            let _ended = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_run_on_the_thread_of_the_buses_and_may_take_their_leave() {
        let field = Field::start().expect("a thread");
        let (tell, told) = sync_channel(2);
        let (go, gone) = oneshot::channel::<()>();
        let (keep, kept) = oneshot::channel::<()>();
        field.inside(|| {
            let said = tell.clone();
            tokio::spawn(async move {
                let name = std::thread::current().name().map(str::to_owned);
                let _heard = said.send(name);
                let _told = gone.await;
                tokio::time::sleep(4 * LOOK).await;
                let _heard = said.send(Some("farewell".to_owned()));
            });
            tokio::spawn(async move {
                let _held = keep;
                std::future::pending::<()>().await;
            })
        });
        assert_eq!(told.recv().expect("it ran").as_deref(), Some("field"));
        drop(go);
        drop(field);
        let said = told.try_recv().expect("it had its time");
        assert_eq!(said.as_deref(), Some("farewell"));
        assert!(kept.blocking_recv().is_err(), "who stays is dropped");
    }
}
