//! What waits for the replica: a queue for each peer, so that one that floods
//! fills its own and nobody else's.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ledger_core::{AtomId, Level};
use ledger_node::{AtomDraft, StorageError, writer::Reply};
use ledger_replica::Message;
use ledger_replica::ranges::RANGE_BYTES;

/// Most bytes of messages that wait from one peer.
/// Chosen: two of the longest messages; a peer that is ahead of that waits.
const PEER_BYTES_MAX: usize = 2 * ledger_replica::message::MESSAGE_BYTES_MAX;

/// Most messages of one peer in one step, so that everybody gets a turn.
/// Chosen: at 2,000 atoms a second in batches of ten it is a third of a second.
const PEER_MESSAGES_PER_STEP: usize = 64;

/// Most submissions that wait. Chosen: as for a log behind a thread.
const SUBMISSIONS_MAX: usize = ledger_node::writer::QUEUE_SUBMISSIONS_MAX;

/// A submission of a party of this node.
pub(crate) struct Submission {
    pub now_utc_ns: i64,
    pub drafts: Vec<AtomDraft>,
    pub reply: Reply,
}

/// Somebody wants to know how far an atom is.
pub(crate) struct Question {
    pub atom: AtomId,
    pub reply: std::sync::mpsc::SyncSender<Option<Level>>,
}

#[derive(Default)]
pub(crate) struct Waiting {
    peers: Vec<(VecDeque<Message>, usize)>,
    pub submissions: VecDeque<Submission>,
    pub questions: Vec<Question>,
    pub greet: BTreeSet<usize>,
    /// Logs that have turned out to be damaged, by the place of their node.
    pub damaged: Vec<(usize, StorageError)>,
    pub must_end: bool,
}

/// The queue between the sockets and the replica's thread.
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    news: Condvar,
}

/// What a step has to do.
pub(crate) struct Work {
    pub messages: Vec<(usize, Message)>,
    pub submissions: Vec<Submission>,
    pub questions: Vec<Question>,
    pub greet: BTreeSet<usize>,
    pub damaged: Vec<(usize, StorageError)>,
    pub must_end: bool,
}

/// What a message takes without what it bears. Chosen: a whole number of lines of a cache, more than an empty one is.
const MESSAGE_BYTES: usize = 128;

fn size(message: &Message) -> usize {
    let borne = match message {
        // A few hashes for each node.
        Message::Have(have) => 64 * have.held.len(),
        Message::Batch { bytes, .. } | Message::Filling { bytes, .. } => bytes.len(),
        Message::Ranges { ranges, .. } => RANGE_BYTES * ranges.len(),
    };
    MESSAGE_BYTES + borne
}

impl Inbox {
    pub(crate) fn new(nodes: usize) -> Inbox {
        Inbox {
            waiting: Mutex::new(Waiting {
                peers: (0..nodes).map(|_| (VecDeque::new(), 0)).collect(),
                ..Waiting::default()
            }),
            news: Condvar::new(),
        }
    }

    fn locked(&self) -> MutexGuard<'_, Waiting> {
        // A thread that panicked with it leaves whole queues behind.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message, or gives it back when its sender has to wait.
    pub(crate) fn push(&self, from: usize, message: Message) -> Result<(), Message> {
        let mut waiting = self.locked();
        let Some((queue, bytes)) = waiting.peers.get_mut(from) else {
            return Ok(());
        };
        if *bytes > PEER_BYTES_MAX {
            return Err(message);
        }
        *bytes += size(&message);
        queue.push_back(message);
        self.news.notify_one();
        Ok(())
    }

    /// Queues a submission, or gives it back when there are too many.
    pub(crate) fn submit(&self, submission: Submission) -> Result<(), Submission> {
        let mut waiting = self.locked();
        if waiting.submissions.len() >= SUBMISSIONS_MAX || waiting.must_end {
            return Err(submission);
        }
        waiting.submissions.push_back(submission);
        self.news.notify_one();
        Ok(())
    }

    /// Whether the node is to end.
    pub(crate) fn must_end(&self) -> bool {
        self.locked().must_end
    }

    /// Changes something else that waits.
    pub(crate) fn tell(&self, change: impl FnOnce(&mut Waiting)) {
        change(&mut self.locked());
        self.news.notify_one();
    }

    /// Waits for something to do, at most for `patience`.
    pub(crate) fn take(&self, patience: Duration) -> Work {
        let is_idle = |waiting: &mut Waiting| {
            !waiting.must_end
                && waiting.submissions.is_empty()
                && waiting.questions.is_empty()
                && waiting.greet.is_empty()
                && waiting.damaged.is_empty()
                && waiting.peers.iter().all(|(queue, _)| queue.is_empty())
        };
        let (mut waiting, _) = self
            .news
            .wait_timeout_while(self.locked(), patience, is_idle)
            .unwrap_or_else(PoisonError::into_inner);
        let mut messages = Vec::new();
        for (from, (queue, bytes)) in waiting.peers.iter_mut().enumerate() {
            for _ in 0..PEER_MESSAGES_PER_STEP {
                let Some(message) = queue.pop_front() else {
                    break;
                };
                *bytes = bytes.saturating_sub(size(&message));
                messages.push((from, message));
            }
        }
        Work {
            messages,
            submissions: waiting.submissions.drain(..).collect(),
            questions: std::mem::take(&mut waiting.questions),
            greet: std::mem::take(&mut waiting.greet),
            damaged: std::mem::take(&mut waiting.damaged),
            must_end: waiting.must_end,
        }
    }
}
