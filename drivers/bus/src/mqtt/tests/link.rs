//! What the bus makes of a link that says what no broker of a test can be brought to say.

use std::sync::Mutex;

use super::*;
use crate::arming;
use crate::mqtt::link::{LinkError, NotSent, Token};

/// A link that says what the test says, takes everything, and acknowledges nothing.
struct Scripted {
    says: mpsc::UnboundedReceiver<Heard>,
    published: Arc<Mutex<Vec<String>>>,
    resets: Arc<Mutex<Vec<String>>>,
}

impl Link for Scripted {
    fn subscribe(&mut self, _: &str) {}

    fn publish(&mut self, _: Option<Token>, topic: &str, _: &[u8]) -> Result<(), NotSent> {
        self.published.lock().unwrap().push(topic.to_owned());
        Ok(())
    }

    async fn next(&mut self) -> Heard {
        match self.says.recv().await {
            Some(heard) => heard,
            None => std::future::pending().await,
        }
    }

    fn reset(&mut self, why: &str) {
        self.resets.lock().unwrap().push(why.to_owned());
    }

    async fn close(self) {}
}

struct Far {
    says: mpsc::UnboundedSender<Heard>,
    published: Arc<Mutex<Vec<String>>>,
    resets: Arc<Mutex<Vec<String>>>,
    sink: Arc<Recorder>,
    clock: Arc<TestClock>,
    key: arming::Key<Job>,
}

impl Far {
    fn serve() -> Self {
        let (says, heard) = mpsc::unbounded_channel();
        let (published, resets) = (Arc::default(), Arc::default());
        let (sink, clock) = (Arc::new(Recorder::default()), TestClock::start());
        let stats = Arc::new(BusStats::default());
        let (key, door) = arming::new();
        let devices = [device(0, Protocol::Mqtt(plug()), Some("p1"))];
        let dialogue = {
            let desk = desk_at(&*sink, &stats, clock.now());
            Dialogue::new(&devices, None, "gridrig/x", &desk)
        };
        let bus = Bus {
            name: "mqtt-a".into(),
            dialogue,
            clock: clock.clone(),
            sink: sink.clone(),
            stats,
            been_up: false,
        };
        let link = Scripted {
            says: heard,
            published: Arc::clone(&published),
            resets: Arc::clone(&resets),
        };
        tokio::spawn(bus.serve(link, door));
        Self {
            says,
            published,
            resets,
            sink,
            clock,
            key,
        }
    }

    async fn say(&self, heard: Heard) {
        self.says.send(heard).unwrap();
        sleep(Duration::from_millis(1)).await;
    }
}

fn sensor() -> Heard {
    Heard::Message(Message {
        topic: "tele/p1/SENSOR".into(),
        payload: SENSOR.into(),
        retain: false,
    })
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_nothing_is_acknowledged_is_given_up_once() {
    let far = Far::serve();
    far.say(Heard::Up).await;
    let writer = far.key.open();
    let on = Setpoint::Switch { on: true };
    let write = job(&far.clock, 1, 0, on, Duration::from_secs(1), false);
    writer.send(Job::Write(write)).await.unwrap();
    sleep(Duration::from_millis(2990)).await;
    assert_eq!(*far.resets.lock().unwrap(), [] as [&str; 0]);
    sleep(Duration::from_secs(60)).await;
    let resets = far.resets.lock().unwrap().clone();
    assert_eq!(resets, ["a command was not acknowledged"]);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_lost_to_a_message_too_large_is_down_and_says_which_topic_it_was() {
    let barred = Heard::Barred {
        filter: "tele/p1/HUGE".into(),
        bytes: 5 << 20,
    };
    let down = Heard::Down(LinkError::Closed);
    for (lost, words) in [(barred, "tele/p1/HUGE"), (down, "closed the connection")] {
        let far = Far::serve();
        far.say(Heard::Up).await;
        far.say(sensor()).await;
        far.say(lost).await;
        let before = far.published.lock().unwrap().len();
        sleep(Duration::from_secs(3)).await;
        far.sink.check(0, Point::ActivePower, Err(Flaw::Timeout));
        sleep(Duration::from_secs(10)).await;
        assert_eq!(far.published.lock().unwrap().len(), before, "{words}");
        let notices = far.sink.notices();
        assert!(
            notices.len() == 1 && notices[0].contains(words),
            "{notices:?}"
        );
        far.say(Heard::Up).await;
        far.say(sensor()).await;
        far.sink.check(0, Point::ActivePower, Ok(-42.0));
    }
}
