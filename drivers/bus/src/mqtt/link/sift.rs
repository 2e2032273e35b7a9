//! Finds the subscription that brings a message too large to take.
//!
//! Such a message ends the connection before its topic is read; kept by the broker, it would
//! end every connection that asks for it. So the topics are subscribed to one by one, and
//! the one at which the connection ends twice is left out. Pure; time is an argument.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// Time for a kept message to come after its subscription.
/// Chosen: 300 ms, many round trips of a laboratory's network.
pub(super) const STEP: Duration = Duration::from_millis(300);

/// Ends of a connection at one topic after which it is left out.
/// Chosen: 2; the first may be a passing message of another topic.
const BLAMES_MAX: u8 = 2;

/// What is known about too large messages.
#[derive(Debug, Default)]
pub(super) struct Sift {
    wanted: bool,
    waiting: VecDeque<String>,
    current: Option<(String, Instant)>,
    blamed: BTreeMap<String, u8>,
    barred: BTreeSet<String>,
}

impl Sift {
    /// Topics to subscribe to at once after a connection; the others come one by one.
    pub(super) fn begin<'a>(
        &mut self,
        filters: impl Iterator<Item = &'a String>,
        now: Instant,
    ) -> Vec<String> {
        let open: Vec<String> = filters
            .filter(|f| !self.barred.contains(*f))
            .cloned()
            .collect();
        self.current = None;
        self.waiting.clear();
        if !self.wanted {
            return open;
        }
        self.waiting.extend(open);
        self.advance(now).into_iter().collect()
    }

    /// When the next step is due.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.current.as_ref().map(|(_, until)| *until)
    }

    /// The next topic to subscribe to; `None` when all have passed.
    pub(super) fn advance(&mut self, now: Instant) -> Option<String> {
        self.current = self.waiting.pop_front().map(|filter| (filter, now + STEP));
        self.wanted = self.current.is_some();
        self.current.as_ref().map(|(filter, _)| filter.clone())
    }

    /// The connection has ended at a too large message: the topic that is left out from now on.
    pub(super) fn blame(&mut self) -> Option<String> {
        self.wanted = true;
        let (filter, _) = self.current.take()?;
        let blames = self.blamed.entry(filter.clone()).or_default();
        *blames += 1;
        (*blames >= BLAMES_MAX && self.barred.insert(filter.clone())).then_some(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_at_which_the_connection_ends_twice_is_left_out_and_no_other() {
        let filters: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
        let now = Instant::now();
        let mut sift = Sift::default();
        assert_eq!(
            sift.begin(filters.iter(), now),
            filters,
            "nothing is wrong yet"
        );
        assert_eq!((sift.next_at(), sift.blame()), (None, None));
        // One passing message at `a`, then twice at `b`, which brings it every time.
        assert_eq!(sift.begin(filters.iter(), now), ["a"]);
        assert_eq!(sift.blame(), None);
        for expected in [None, Some("b".to_owned())] {
            assert_eq!(sift.begin(filters.iter(), now), ["a"]);
            assert_eq!(sift.next_at(), Some(now + STEP));
            assert_eq!(sift.advance(now).as_deref(), Some("b"));
            assert_eq!(sift.blame(), expected);
        }
        assert_eq!(sift.begin(filters.iter(), now), ["a"]);
        assert_eq!(sift.advance(now).as_deref(), Some("c"));
        assert_eq!((sift.advance(now), sift.next_at()), (None, None));
        assert_eq!(
            sift.begin(filters.iter(), now),
            ["a", "c"],
            "all at once again"
        );
    }
}
