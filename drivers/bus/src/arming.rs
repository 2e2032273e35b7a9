//! The door of a bus: shut until the bench is armed, so that a bus that only looks has no way to write.
//!
//! A bus is started without a write path. Arming makes one: [`Key::open`] sends the receiving end of
//! a new channel to the bus and gives the sending end away. When that end is dropped, the bench is
//! disarmed: what is urgent (rest) still leaves within [`CLOSING_MAX`], what else waits is missed, and
//! then nothing is written any more, not even to keep an earlier setpoint alive.
//!
//! It is not responsible for what is written, nor for telling what was missed: the buses do that.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

/// Writes that may wait on a bus.
/// Chosen: twice the most devices of a rig so far (32); more means that the bus cannot follow.
const WRITES_WAITING_MAX: usize = 64;

/// Time for urgent writes after disarming, or after the last handle was dropped.
/// Chosen: a safe end for a bus of devices at 9600 baud, a broker's round trip and a plug's relay many
/// times over, and short enough for an operator's Ctrl-C.
pub(crate) const CLOSING_MAX: Duration = Duration::from_secs(2);

/// Proof that the bench is armed: a request that writes cannot be made without one, and only an
/// open door gives one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit(());

/// The outer side of a door.
#[derive(Debug)]
pub(crate) struct Key<J>(mpsc::UnboundedSender<mpsc::Receiver<J>>);

// Derived, it would demand that jobs can be cloned.
impl<J> Clone for Key<J> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<J> Key<J> {
    /// Opens the door. While an earlier write path is still in use, the new one waits for its end.
    pub(crate) fn open(&self) -> mpsc::Sender<J> {
        let (orders, jobs) = mpsc::channel(WRITES_WAITING_MAX);
        // A bus that has ended drops the receiver with the message: the sender then tells so.
        self.0.send(jobs).ok();
        orders
    }
}

/// What comes through a door.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Passed<J> {
    /// The bench is armed: from now on there is a write path.
    Opened(Permit),
    /// A setpoint.
    Order(J),
    /// The bench is disarmed: what is not urgent is missed.
    Closing,
    /// Nobody holds the bus any more.
    Ending,
}

#[derive(Debug)]
enum Path<J> {
    Shut,
    Open(mpsc::Receiver<J>),
    Closing { by: Instant },
}

/// The bus's side of a door.
#[derive(Debug)]
pub(crate) struct Door<J> {
    arming: mpsc::UnboundedReceiver<mpsc::Receiver<J>>,
    path: Path<J>,
    ending: bool,
}

/// A door that is shut, and what opens it.
pub(crate) fn new<J>() -> (Key<J>, Door<J>) {
    let (key, arming) = mpsc::unbounded_channel();
    let door = Door {
        arming,
        path: Path::Shut,
        ending: false,
    };
    (Key(key), door)
}

impl<J> Door<J> {
    /// Waits for what comes next; for ever after [`Passed::Ending`]. May be dropped at any point.
    pub(crate) async fn next(&mut self) -> Passed<J> {
        if let Path::Open(jobs) = &mut self.path {
            let job = jobs.recv().await;
            return self.took(job);
        }
        if self.ending {
            std::future::pending::<()>().await;
        }
        let armed = self.arming.recv().await;
        self.heard(armed)
    }

    /// What has come already, without waiting.
    pub(crate) fn try_next(&mut self) -> Option<Passed<J>> {
        use mpsc::error::TryRecvError::{Disconnected, Empty};
        if let Path::Open(jobs) = &mut self.path {
            return match jobs.try_recv() {
                Ok(job) => Some(Passed::Order(job)),
                Err(Empty) => None,
                Err(Disconnected) => Some(self.took(None)),
            };
        }
        if self.ending {
            return None;
        }
        match self.arming.try_recv() {
            Ok(jobs) => Some(self.heard(Some(jobs))),
            Err(Empty) => None,
            Err(Disconnected) => Some(self.heard(None)),
        }
    }

    fn took(&mut self, job: Option<J>) -> Passed<J> {
        match job {
            Some(job) => Passed::Order(job),
            None => {
                let by = Instant::now() + CLOSING_MAX;
                self.path = Path::Closing { by };
                Passed::Closing
            }
        }
    }

    fn heard(&mut self, armed: Option<mpsc::Receiver<J>>) -> Passed<J> {
        match armed {
            Some(jobs) => {
                self.path = Path::Open(jobs);
                Passed::Opened(Permit(()))
            }
            None => {
                self.ending = true;
                Passed::Ending
            }
        }
    }

    /// Whether the write path closes, and by when: until then urgent writes still leave.
    pub(crate) fn closes_by(&self) -> Option<Instant> {
        match self.path {
            Path::Closing { by } => Some(by),
            Path::Shut | Path::Open(_) => None,
        }
    }

    /// Whether the write path has to be shut now, given whether something urgent still waits.
    pub(crate) fn is_to_shut(&self, has_urgent: bool) -> bool {
        self.closes_by()
            .is_some_and(|by| !has_urgent || Instant::now() >= by)
    }

    /// Shuts a path that closes.
    pub(crate) fn shut(&mut self) {
        self.path = Path::Shut;
    }

    /// Whether a bus that ends has nothing left to do.
    pub(crate) fn is_over(&self) -> bool {
        self.ending && matches!(self.path, Path::Shut)
    }

    /// When a bus that ends may not go on any more; `None` for one that lives.
    pub(crate) fn ends_by(&self) -> Option<Instant> {
        self.ending.then(|| match self.path {
            Path::Closing { by } => by,
            Path::Shut | Path::Open(_) => Instant::now(),
        })
    }
}

/// Sleeps until then; for ever without a time.
pub(crate) async fn timer(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_gate_is_shut_until_it_is_opened_and_after_its_writer_is_gone() {
        let (key, mut door) = new::<u8>();
        assert_eq!(door.try_next(), None, "shut from the start");
        let orders = key.open();
        orders.try_send(1).expect("room");
        assert_eq!(door.next().await, Passed::Opened(Permit(())));
        assert_eq!(door.next().await, Passed::Order(1));
        orders.try_send(2).expect("room");
        drop(orders);
        assert_eq!(
            door.next().await,
            Passed::Order(2),
            "taken in, to be told of"
        );
        assert_eq!(door.try_next(), Some(Passed::Closing));
        assert!(!door.is_to_shut(true), "what is urgent has its time");
        assert!(door.is_to_shut(false));
        tokio::time::advance(CLOSING_MAX).await;
        assert!(door.is_to_shut(true));
        door.shut();
        assert_eq!(door.try_next(), None);
        assert!(!door.is_over());
        drop(key);
        assert_eq!(door.next().await, Passed::Ending);
        assert!(door.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_writer_waits_until_the_first_is_gone() {
        let (key, mut door) = new::<u8>();
        let (first, second) = (key.open(), key.open());
        second.try_send(2).expect("room");
        first.try_send(1).expect("room");
        assert_eq!(door.next().await, Passed::Opened(Permit(())));
        assert_eq!(door.next().await, Passed::Order(1));
        assert_eq!(door.try_next(), None);
        drop(first);
        assert_eq!(door.next().await, Passed::Closing);
        assert_eq!(
            door.next().await,
            Passed::Opened(Permit(())),
            "armed again at once"
        );
        assert_eq!(door.closes_by(), None);
        assert_eq!(door.next().await, Passed::Order(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_bus_ends_only_after_its_writer_has_closed() {
        let (key, mut door) = new::<u8>();
        let orders = key.open();
        assert_eq!(door.next().await, Passed::Opened(Permit(())));
        drop(key);
        assert_eq!(door.try_next(), None, "the writer holds the bus");
        drop(orders);
        assert_eq!(door.next().await, Passed::Closing);
        assert_eq!(door.next().await, Passed::Ending);
        assert!(!door.is_over());
        assert!(door.ends_by().is_some_and(|by| by > Instant::now()));
        door.shut();
        assert!(door.is_over());
    }
}
