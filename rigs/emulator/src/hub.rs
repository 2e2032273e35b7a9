//! A broker in memory, for virtual time: topics, wildcards, retained messages, last wills.
//!
//! It carries what the emulated plugs and the driver say to each other and nothing
//! more: no sessions, no quality of service (channels lose nothing).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use profile::mqtt::{Message, ToBroker};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The broker; clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Hub(Arc<Mutex<State>>);

/// How long a client of this process waits before it finds that the broker is down.
/// Chosen: as often as real firmware tries again, about twice a second.
const REFUSED_AFTER: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
struct State {
    down: bool,
    retained: BTreeMap<String, Message>,
    clients: BTreeMap<u64, Client>,
    next: u64,
}

#[derive(Debug)]
struct Client {
    filters: Vec<String>,
    deliver: UnboundedSender<Message>,
}

impl Hub {
    /// Connects a client of this process; its will is told when it drops its sender.
    #[must_use]
    pub fn connect(
        &self,
        will: Option<Message>,
    ) -> (UnboundedSender<ToBroker>, UnboundedReceiver<Message>) {
        let (say, heard) = unbounded_channel();
        let (deliver, delivered) = unbounded_channel();
        if self.state().down {
            tokio::spawn(async move {
                tokio::time::sleep(REFUSED_AFTER).await;
                drop((heard, deliver));
            });
        } else {
            self.attach(heard, deliver, will);
        }
        (say, delivered)
    }

    /// Serves the far ends of a client's channels as a task of the current runtime.
    pub fn attach(
        &self,
        mut heard: UnboundedReceiver<ToBroker>,
        deliver: UnboundedSender<Message>,
        will: Option<Message>,
    ) {
        let number = {
            let mut state = self.state();
            if state.down {
                // Both ends are dropped: nobody is there.
                return;
            }
            state.next += 1;
            let number = state.next;
            let client = Client {
                filters: Vec::new(),
                deliver,
            };
            state.clients.insert(number, client);
            number
        };
        let hub = self.clone();
        tokio::spawn(async move {
            while let Some(said) = heard.recv().await {
                match said {
                    ToBroker::Subscribe(filter) => hub.state().subscribe(number, filter),
                    ToBroker::Publish(message) => {
                        let mut state = hub.state();
                        // Who was cut off by a restart is heard by nobody.
                        if state.clients.contains_key(&number) {
                            state.publish(&message);
                        }
                    }
                }
            }
            let mut state = hub.state();
            if state.clients.remove(&number).is_some()
                && let Some(will) = will
            {
                state.publish(&will);
            }
        });
    }

    /// The broker goes down, or is up again. It keeps nothing: neither connections nor messages nor wills.
    pub fn set_down(&self, down: bool) {
        let mut state = self.state();
        if std::mem::replace(&mut state.down, down) != down && down {
            state.clients.clear();
            state.retained.clear();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn subscribe(&mut self, number: u64, filter: String) {
        let Some(client) = self.clients.get_mut(&number) else {
            return;
        };
        for message in self.retained.values() {
            if matches(&filter, &message.topic) {
                // A client that is gone is removed by its own task.
                client.deliver.send(message.clone()).ok();
            }
        }
        if !client.filters.contains(&filter) {
            client.filters.push(filter);
        }
    }

    fn publish(&mut self, message: &Message) {
        if message.retain {
            if message.payload.is_empty() {
                self.retained.remove(&message.topic);
            } else {
                self.retained.insert(message.topic.clone(), message.clone());
            }
        }
        // Whoever listens already gets it as news, not as a kept one.
        let news = Message {
            retain: false,
            ..message.clone()
        };
        for client in self.clients.values() {
            if client.filters.iter().any(|f| matches(f, &message.topic)) {
                client.deliver.send(news.clone()).ok();
            }
        }
    }
}

/// Whether a topic filter with `+` and `#` takes a topic.
//= OASIS MQTT 3.1.1, 4.7: `#` also takes the level above; wildcards do not take `$` topics.
#[must_use]
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut filters = filter.split('/');
    let mut topics = topic.split('/');
    loop {
        match (filters.next(), topics.next()) {
            (Some("#"), _) => return true,
            (Some("+"), Some(_)) => {}
            (Some(level), Some(name)) if level == name => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_take_what_the_standard_says() {
        let rows = [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/+", "a/b", true),
            ("a/+", "a", false),
            ("a/+", "a/", true),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("+/b/#", "x/b/c", true),
            ("#", "$SYS/x", false),
            ("cmnd/plug/#", "cmnd/plug2/POWER", false),
        ];
        for (filter, topic, expected) in rows {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }

    fn message(topic: &str, payload: &str, retain: bool) -> Message {
        Message {
            topic: topic.into(),
            payload: payload.into(),
            retain,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_kept_message_waits_for_late_subscribers_and_goes_when_emptied() {
        let hub = Hub::default();
        let (say, _keep) = hub.connect(None);
        say.send(ToBroker::Publish(message("a", "1", true)))
            .expect("up");
        say.send(ToBroker::Publish(message("b", "2", false)))
            .expect("up");
        tokio::task::yield_now().await;
        let (ask, mut hear) = hub.connect(None);
        ask.send(ToBroker::Subscribe("#".into())).expect("up");
        assert_eq!(hear.recv().await, Some(message("a", "1", true)));
        say.send(ToBroker::Publish(message("a", "", true)))
            .expect("up");
        assert_eq!(hear.recv().await, Some(message("a", "", false)));
        let (late, mut hear) = hub.connect(None);
        late.send(ToBroker::Subscribe("#".into())).expect("up");
        tokio::task::yield_now().await;
        assert!(hear.try_recv().is_err(), "nothing is kept any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_restart_cuts_everybody_off_and_forgets_what_was_kept() {
        let hub = Hub::default();
        let (say, mut hear) = hub.connect(Some(message("will", "gone", false)));
        say.send(ToBroker::Publish(message("a", "1", true)))
            .expect("up");
        tokio::task::yield_now().await;
        hub.set_down(true);
        assert_eq!(hear.recv().await, None, "cut off");
        let (_ask, mut hear) = hub.connect(None);
        assert_eq!(hear.recv().await, None, "not taken");
        hub.set_down(false);
        let (ask, mut hear) = hub.connect(None);
        ask.send(ToBroker::Subscribe("#".into())).expect("up");
        // What the old connection still says is for nobody, its will included.
        say.send(ToBroker::Publish(message("b", "2", false)))
            .expect("the task lives");
        drop(say);
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        assert!(
            hear.try_recv().is_err(),
            "nothing kept, nothing late, no will"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_will_is_told_when_a_client_is_gone() {
        let hub = Hub::default();
        let (ask, mut hear) = hub.connect(None);
        ask.send(ToBroker::Subscribe("tele/+/LWT".into()))
            .expect("up");
        let will = message("tele/plug/LWT", "Offline", true);
        let (say, keep) = hub.connect(Some(will));
        tokio::task::yield_now().await;
        assert!(hear.try_recv().is_err());
        drop((say, keep));
        assert_eq!(
            hear.recv().await,
            Some(message("tele/plug/LWT", "Offline", false))
        );
    }
}
