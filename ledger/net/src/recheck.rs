//! In the background a started node reads what opening took out of an index: a bit
//! that turned over in an old part of a log is found within hours of the start,
//! not when somebody needs that part.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ledger_core::{PublicKey, UniverseId};
use ledger_node::{LedgerError, StorageError, recheck};
use ledger_replica::Replica;

use crate::config::NodeConfig;
use crate::files::{COPIES, OWN};
use crate::peers::Switchboard;

/// How much longer it pauses than it reads.
/// Chosen: a twentieth of a core, which a control cycle does not notice; a million
/// entries are then read in a few minutes.
const PAUSE: u32 = 19;

/// How often it looks whether the node ends.
const LOOK: Duration = Duration::from_millis(100);

/// A log of which opening has not read all.
pub(crate) struct Unread {
    node: usize,
    folder: PathBuf,
    universe: UniverseId,
    key: PublicKey,
    until: u64,
}

impl Unread {
    /// Those of a replica.
    pub(crate) fn of(replica: &Replica, config: &NodeConfig) -> Vec<Unread> {
        let universe = config.epochs.id();
        let logs = replica.unread().into_iter();
        let unread = logs.filter_map(|(node, until)| {
            let member = config.universe.nodes.get(node)?;
            let folder = match node == config.me {
                true => config.log.join(OWN),
                false => config.log.join(COPIES).join(&member.name),
            };
            Some(Unread {
                node,
                folder,
                universe,
                key: member.key,
                until,
            })
        });
        unread.collect()
    }

    /// Reads it; gives what is damaged, or nothing when all holds or the node ends.
    fn check(&self, board: &Switchboard) -> Option<StorageError> {
        let mut began = Instant::now();
        let found = recheck(
            &self.folder,
            &self.universe,
            &self.key,
            self.until,
            &mut |_| {
                if began.elapsed() >= LOOK / PAUSE {
                    let mut pause = began.elapsed() * PAUSE;
                    while !pause.is_zero() && !board.inbox.must_end() {
                        let part = pause.min(LOOK);
                        std::thread::sleep(part);
                        pause -= part;
                    }
                    began = Instant::now();
                }
                !board.inbox.must_end()
            },
        );
        match found {
            Ok(_) => None,
            Err(LedgerError::Corrupt { file, offset, what }) => {
                let file = self.folder.join(file).display().to_string();
                let detail = format!("at byte {offset}: {what}");
                Some(StorageError::damaged(&file, &detail))
            }
            Err(LedgerError::Storage(e)) => Some(e),
            Err(e) => Some(StorageError::damaged(
                &self.folder.display().to_string(),
                &e.to_string(),
            )),
        }
    }
}

/// Reads them one after the other and tells the replica of what is damaged. Without
/// a thread for it the node goes on: the next start tries again.
pub(crate) fn recheck_in_background(unread: Vec<Unread>, board: &Arc<Switchboard>) {
    if unread.is_empty() {
        return;
    }
    let board = Arc::clone(board);
    let spawned = std::thread::Builder::new()
        .name("ledger-recheck".to_owned())
        .spawn(move || {
            for log in unread {
                if let Some(why) = log.check(&board) {
                    let damaged = (log.node, why);
                    board.inbox.tell(|waiting| waiting.damaged.push(damaged));
                }
            }
        });
    if let Err(e) = spawned {
        tracing::warn!("no thread to read the old part of the logs: {e}");
    }
}
