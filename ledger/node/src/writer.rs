//! The writer thread: appending without stopping the control cycle.
//!
//! A caller submits drafts and gets a ticket. The thread takes all that is
//! queued, appends it as one batch and answers every ticket. A caller that
//! waits only until its deadline loses nothing: the append goes on, and the
//! ticket can be asked again. The queue is bounded; when it is full the
//! submission is refused at once, because the control cycle must not wait.
//!
//! Which submissions share a batch depends on the scheduler, and so do the heads.
//! A run that must be reproduced byte for byte appends to the [`NodeLog`] itself.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use ledger_core::SignedHead;
use thiserror::Error;

use crate::draft::{AtomDraft, Receipt};
use crate::error::{AppendError, StorageError};
use crate::log::NodeLog;

/// Most submissions that wait in the queue.
/// Chosen: at 50 cycles a second it is 20 s of a stalled disk, far more than any
/// deadline; it bounds the memory.
pub const QUEUE_SUBMISSIONS_MAX: usize = 1024;

/// Most drafts that are gathered into one batch.
/// Chosen: ledger design 2.5. One submission may exceed it on its own.
const GATHER_DRAFTS_MAX: usize = 256;

enum Order {
    Append {
        now_utc_ns: i64,
        drafts: Vec<AtomDraft>,
        answer: SyncSender<Answer>,
    },
    Close {
        now_utc_ns: i64,
    },
}

type Answer = Result<Vec<Receipt>, AppendError>;

/// Where the answer to a submission goes.
#[derive(Debug)]
pub struct Reply(SyncSender<Answer>);

impl Reply {
    /// Answers; nobody listens any more when the ticket was dropped.
    pub fn send(self, answer: Result<Vec<Receipt>, AppendError>) {
        let _ = self.0.send(answer);
    }
}

/// Why a ticket has no receipts.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WaitError {
    /// The deadline passed first. The append goes on; the ticket may be asked
    /// again.
    #[error("ledger-late: the append is not durable yet")]
    Late,
    /// The queue was full, so the drafts were not taken.
    #[error("ledger-queue-full: the drafts were not taken")]
    QueueFull,
    /// The writer has been closed, so the drafts were not taken.
    #[error("ledger-closed: the writer is closed")]
    Closed,
    /// The receipts were handed out already.
    #[error("ledger-answered: the ticket was answered before")]
    Answered,
    /// The append failed.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl WaitError {
    /// A code that does not change between releases.
    pub fn code(&self) -> &'static str {
        match self {
            WaitError::Late => "ledger-late",
            WaitError::QueueFull => "ledger-queue-full",
            WaitError::Closed => "ledger-closed",
            WaitError::Answered => "ledger-answered",
            WaitError::Append(e) => e.code(),
        }
    }
}

/// A claim on the receipts of one submission.
#[derive(Debug)]
pub struct Ticket(Claim);

#[derive(Debug)]
enum Claim {
    Waiting(Receiver<Answer>),
    Refused(WaitError),
    Answered,
}

impl Ticket {
    /// A ticket and where its answer goes, for another keeper of a log.
    pub fn pair() -> (Reply, Ticket) {
        let (answer, answers) = sync_channel(1);
        (Reply(answer), Ticket(Claim::Waiting(answers)))
    }

    /// A ticket of a submission that was not taken.
    pub fn refused(why: WaitError) -> Ticket {
        Ticket(Claim::Refused(why))
    }

    /// Waits at most `deadline` for the receipts.
    ///
    /// # Errors
    /// [`WaitError::Late`] when the deadline passed first; every other error is
    /// final.
    pub fn wait(&mut self, deadline: Duration) -> Result<Vec<Receipt>, WaitError> {
        let answer = match &self.0 {
            Claim::Refused(e) => return Err(e.clone()),
            Claim::Answered => return Err(WaitError::Answered),
            Claim::Waiting(answers) => match answers.recv_timeout(deadline) {
                Ok(answer) => answer.map_err(WaitError::from),
                Err(RecvTimeoutError::Timeout) => return Err(WaitError::Late),
                Err(RecvTimeoutError::Disconnected) => Err(WaitError::Closed),
            },
        };
        self.0 = match &answer {
            Ok(_) => Claim::Answered,
            Err(e) => Claim::Refused(e.clone()),
        };
        answer
    }
}

/// A log behind a thread.
#[derive(Debug)]
pub struct LedgerWriter {
    orders: SyncSender<Order>,
    thread: JoinHandle<Option<Result<SignedHead, AppendError>>>,
}

impl LedgerWriter {
    /// Moves the log to its own thread.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn start(log: NodeLog) -> Result<LedgerWriter, StorageError> {
        let (orders, queue) = sync_channel(QUEUE_SUBMISSIONS_MAX);
        let thread = std::thread::Builder::new()
            .name("ledger-writer".to_owned())
            .spawn(move || serve(log, &queue))
            .map_err(|e| StorageError::new("start a thread for", "the log", &e))?;
        Ok(LedgerWriter { orders, thread })
    }

    /// Queues drafts as one group, appended whole or not at all, with the time
    /// at which they were made. It never waits.
    pub fn submit(&self, now_utc_ns: i64, drafts: Vec<AtomDraft>) -> Ticket {
        let (answer, answers) = sync_channel(1);
        match self.orders.try_send(Order::Append {
            now_utc_ns,
            drafts,
            answer,
        }) {
            Ok(()) => Ticket(Claim::Waiting(answers)),
            Err(TrySendError::Full(_)) => Ticket(Claim::Refused(WaitError::QueueFull)),
            Err(TrySendError::Disconnected(_)) => Ticket(Claim::Refused(WaitError::Closed)),
        }
    }

    /// Appends all that is queued, then closes the log in good order.
    ///
    /// # Errors
    /// As [`NodeLog::close`]; [`WaitError::Closed`] when the thread is gone.
    pub fn close(self, now_utc_ns: i64) -> Result<SignedHead, WaitError> {
        // Waiting for room is right here: the control cycle is over.
        self.orders
            .send(Order::Close { now_utc_ns })
            .map_err(|_| WaitError::Closed)?;
        drop(self.orders);
        match self.thread.join() {
            Ok(Some(closed)) => Ok(closed?),
            _ => Err(WaitError::Closed),
        }
    }
}

/// The thread: ends when it is told to close, or when no caller is left.
fn serve(mut log: NodeLog, queue: &Receiver<Order>) -> Option<Result<SignedHead, AppendError>> {
    let mut close_at = None;
    while close_at.is_none() {
        let mut order = Some(queue.recv().ok()?);
        let mut groups = Vec::new();
        let mut answers = Vec::new();
        let mut count = 0;
        while let Some(next) = order.take() {
            match next {
                Order::Append {
                    now_utc_ns,
                    drafts,
                    answer,
                } => {
                    count += drafts.len();
                    groups.push((now_utc_ns, drafts));
                    answers.push(answer);
                }
                Order::Close { now_utc_ns } => {
                    close_at = Some(now_utc_ns);
                    break;
                }
            }
            if count < GATHER_DRAFTS_MAX {
                order = queue.try_recv().ok();
            }
        }
        for (result, answer) in log.append_groups(groups).into_iter().zip(answers) {
            // Nobody listens any more when the ticket was dropped.
            let _ = answer.send(result);
        }
    }
    close_at.map(|now_utc_ns| log.close_here(now_utc_ns))
}
