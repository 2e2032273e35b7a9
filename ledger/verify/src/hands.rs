//! Many hands: work on a list on all cores, while the caller does something else first.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Items that a hand takes at once.
/// Chosen: some milliseconds of signatures, so that the lock is no matter and no
/// hand is left alone with the rest for long. Few in tests, where lists are short.
const HANDFUL: usize = if cfg!(test) { 3 } else { 16 };

/// Does `work` on each item, on up to `hands` cores; the results are in the order
/// of the items. The caller's own core does `meanwhile` first and then helps.
pub(crate) fn many<T: Sync, R: Send, M>(
    hands: NonZeroUsize,
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
    meanwhile: impl FnOnce() -> M,
) -> (Vec<R>, M) {
    let mut results: Vec<Option<R>> = items.iter().map(|_| None).collect();
    let pairs = items.chunks(HANDFUL).zip(results.chunks_mut(HANDFUL));
    let heap = Mutex::new(pairs);
    let hand = || {
        loop {
            let taken = heap.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((items, results)) = taken else {
                return;
            };
            for (item, result) in items.iter().zip(results) {
                *result = Some(work(item));
            }
        }
    };
    let others = (hands.get() - 1).min(items.len().div_ceil(HANDFUL));
    let done = thread::scope(|scope| {
        for _ in 0..others {
            // A thread that the system refuses is a hand less.
            let _ = thread::Builder::new().spawn_scoped(scope, hand);
        }
        let done = meanwhile();
        hand();
        done
    });
    // The scope has ended, so every item was taken and worked on.
    (results.into_iter().flatten().collect(), done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_whatever_the_number_of_hands() {
        for count in [0, 1, 2, 3, 4, 1000] {
            let items: Vec<u64> = (0..count).collect();
            let expected: Vec<u64> = items.iter().map(|n| n * n).collect();
            for hands in 1..5 {
                let hands = NonZeroUsize::new(hands).unwrap();
                let (results, done) = many(hands, &items, |n| n * n, || "meanwhile");
                assert_eq!((results, done), (expected.clone(), "meanwhile"));
            }
        }
    }
}
