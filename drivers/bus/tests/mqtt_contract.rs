//! What a link to a broker promises, checked on every kind of link.
//!
//! The same contract runs in virtual time against a broker of channels, and in real
//! time against rumqttd behind a proxy that can cut the line. With
//! `GRIDRIG_MQTT_BROKER=host:port` it runs against that broker too; `GRIDRIG_MQTT_CA`
//! (a PEM file) makes that connection encrypted, `GRIDRIG_MQTT_LOGIN=user:password` logs in.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::mqtt::link::{
    Broker, BrokerLink, Dials, Heard, Link, LinkError, Login, MemoryLink, NotSent, Token, Trust,
};
use bus::mqtt::topic::matches;
use profile::mqtt::{Message, ToBroker};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

/// Longest wait for anything; a link reconnects within its 10 s of back-off plus dialling.
const PATIENCE: Duration = Duration::from_secs(20);
/// Time in which something that must not come would have come.
const SILENCE: Duration = Duration::from_millis(300);

/// A broker with clients, whose lines can be cut.
trait World {
    type Link: Link;
    fn link(&mut self) -> Self::Link;
    /// Makes the broker keep a message.
    async fn keep(&mut self, topic: &str, payload: &str);
    fn set_line(&mut self, up: bool);
}

async fn next(link: &mut impl Link) -> Heard {
    timeout(PATIENCE, link.next())
        .await
        .expect("the link said nothing")
}

/// What the link says until this, which is the last.
async fn until(link: &mut impl Link, wanted: impl Fn(&Heard) -> bool) -> Vec<Heard> {
    let mut all = Vec::new();
    loop {
        let heard = next(link).await;
        let done = wanted(&heard);
        all.push(heard);
        if done {
            return all;
        }
    }
}

fn is_message(topic: &str) -> impl Fn(&Heard) -> bool + '_ {
    move |heard| matches!(heard, Heard::Message(m) if m.topic == topic)
}

fn message(topic: &str, payload: &str, retain: bool) -> Heard {
    Heard::Message(Message {
        topic: topic.into(),
        payload: payload.into(),
        retain,
    })
}

async fn up(link: &mut impl Link) {
    until(link, |h| *h == Heard::Up).await;
}

/// A subscription is on its way when `Up` is told; this waits until it has arrived.
async fn settle(link: &mut impl Link, own_topic: &str) {
    for _ in 0..100 {
        let _ = link.publish(None, own_topic, b"settled");
        if let Ok(heard) = timeout(Duration::from_millis(100), link.next()).await
            && is_message(own_topic)(&heard)
        {
            while timeout(SILENCE, link.next()).await.is_ok() {}
            return;
        }
    }
    panic!("no subscription on {own_topic}");
}

async fn keeps_its_contract(world: &mut impl World) {
    let mut hearer = world.link();
    hearer.subscribe("one/+/state");
    assert_eq!(hearer.publish(None, "one/p1/state", b"x"), Err(NotSent));
    up(&mut hearer).await;
    hearer.subscribe("two/#");
    settle(&mut hearer, "one/self/state").await;
    settle(&mut hearer, "two/self").await;

    let mut speaker = world.link();
    up(&mut speaker).await;

    // A message with a token is acknowledged and reaches those who listen, as a live one.
    speaker
        .publish(Some(Token(7)), "one/p1/state", b"ON")
        .unwrap();
    until(&mut speaker, |h| *h == Heard::Acknowledged(Token(7))).await;
    let heard = until(&mut hearer, is_message("one/p1/state")).await;
    assert_eq!(heard, [message("one/p1/state", "ON", false)]);

    // Messages come in the order of sending; others pass by.
    for (topic, payload) in [("two/a/b", "1"), ("three", "2"), ("two/a", "3")] {
        speaker.publish(None, topic, payload.as_bytes()).unwrap();
    }
    let heard = until(&mut hearer, is_message("two/a")).await;
    let expected = [message("two/a/b", "1", false), message("two/a", "3", false)];
    assert_eq!(heard, expected);

    // Tokens come back each once, whatever goes between.
    for n in 100..110 {
        speaker.publish(Some(Token(n)), "three", b"x").unwrap();
        speaker.publish(None, "three", b"y").unwrap();
    }
    let acks = until(&mut speaker, |h| *h == Heard::Acknowledged(Token(109))).await;
    let expected: Vec<_> = (100..110).map(|n| Heard::Acknowledged(Token(n))).collect();
    assert_eq!(acks, expected);

    // A long message does not break the line.
    let long = "x".repeat(200 << 10);
    speaker.publish(None, "two/long", long.as_bytes()).unwrap();
    let heard = until(&mut hearer, is_message("two/long")).await;
    assert_eq!(heard, [message("two/long", &long, false)]);

    // A kept message is marked as such for one who comes later; what a link publishes is never kept.
    for token in [None, Some(Token(110))] {
        speaker.publish(token, "kept/p0", b"ON").unwrap();
    }
    until(&mut speaker, |h| *h == Heard::Acknowledged(Token(110))).await;
    world.keep("kept/p1", "Offline").await;
    let mut late = world.link();
    late.subscribe("kept/+");
    let heard = until(&mut late, is_message("kept/p1")).await;
    assert_eq!(heard, [Heard::Up, message("kept/p1", "Offline", true)]);
    let more = timeout(Duration::from_millis(200), late.next()).await;
    assert!(more.is_err(), "{more:?}");
    late.close().await;

    // An outage is told once; what is published meanwhile is refused.
    world.set_line(false);
    for link in [&mut speaker, &mut hearer] {
        until(link, |h| matches!(h, Heard::Down(_))).await;
        assert!(timeout(Duration::from_secs(2), link.next()).await.is_err());
    }
    assert_eq!(
        speaker.publish(Some(Token(8)), "two/late", b"LATE"),
        Err(NotSent)
    );

    // Afterwards the subscriptions are there again, and nothing comes late.
    world.set_line(true);
    up(&mut hearer).await;
    settle(&mut hearer, "two/self").await;
    up(&mut speaker).await;
    speaker
        .publish(Some(Token(9)), "two/fresh", b"FRESH")
        .unwrap();
    let acks = until(&mut speaker, |h| matches!(h, Heard::Acknowledged(_))).await;
    assert_eq!(acks, [Heard::Acknowledged(Token(9))]);
    let heard = until(&mut hearer, is_message("two/fresh")).await;
    assert_eq!(heard, [message("two/fresh", "FRESH", false)]);

    // A link that is given up comes back by itself.
    hearer.reset("test");
    assert_eq!(hearer.publish(None, "two/x", b"x"), Err(NotSent));
    let heard = until(&mut hearer, |h| *h == Heard::Up).await;
    let given_up = Heard::Down(LinkError::GivenUp { why: "test".into() });
    assert_eq!(heard, [given_up, Heard::Up]);
    settle(&mut hearer, "two/self").await;

    timeout(PATIENCE, hearer.close()).await.unwrap();
    timeout(PATIENCE, speaker.close()).await.unwrap();
}

/// A broker of channels.
struct MemoryWorld {
    dials: Dials,
    state: Arc<Mutex<MemoryBroker>>,
    links: u64,
}

#[derive(Default)]
struct MemoryBroker {
    clients: Vec<(Vec<String>, mpsc::UnboundedSender<Message>)>,
    kept: BTreeMap<String, Message>,
    down: bool,
}

impl MemoryBroker {
    fn publish(&mut self, message: &Message) {
        if message.retain {
            self.kept.insert(message.topic.clone(), message.clone());
        }
        for (filters, to_client) in &self.clients {
            if filters.iter().any(|f| matches(f, &message.topic)) {
                let live = Message {
                    retain: false,
                    ..message.clone()
                };
                let _ = to_client.send(live);
            }
        }
    }

    fn subscribe(&mut self, client: &mpsc::UnboundedSender<Message>, filter: String) {
        for kept in self.kept.values().filter(|m| matches(&filter, &m.topic)) {
            let _ = client.send(kept.clone());
        }
        let own = self.clients.iter_mut().find(|c| c.1.same_channel(client));
        if let Some((filters, _)) = own {
            filters.push(filter);
        }
    }
}

impl MemoryWorld {
    fn start() -> Self {
        let (dials, mut dialled): (Dials, _) = mpsc::unbounded_channel();
        let state = Arc::new(Mutex::new(MemoryBroker::default()));
        let broker = state.clone();
        tokio::spawn(async move {
            while let Some((from_client, to_client)) = dialled.recv().await {
                if !broker.lock().unwrap().down {
                    broker
                        .lock()
                        .unwrap()
                        .clients
                        .push((Vec::new(), to_client.clone()));
                    tokio::spawn(serve(broker.clone(), from_client, to_client));
                }
            }
        });
        Self {
            dials,
            state,
            links: 0,
        }
    }
}

async fn serve(
    broker: Arc<Mutex<MemoryBroker>>,
    mut from_client: mpsc::UnboundedReceiver<ToBroker>,
    to_client: mpsc::UnboundedSender<Message>,
) {
    loop {
        let said = tokio::select! {
            biased;
            said = from_client.recv() => said,
            () = sleep(Duration::from_millis(10)) => {
                if broker.lock().unwrap().down { return }
                continue;
            }
        };
        let mut broker = broker.lock().unwrap();
        match said {
            None => return,
            Some(_) if broker.down => return,
            Some(ToBroker::Subscribe(filter)) => broker.subscribe(&to_client, filter),
            Some(ToBroker::Publish(message)) => broker.publish(&message),
        }
    }
}

impl World for MemoryWorld {
    type Link = MemoryLink;
    fn link(&mut self) -> MemoryLink {
        self.links += 1;
        MemoryLink::new(self.dials.clone(), self.links)
    }
    async fn keep(&mut self, topic: &str, payload: &str) {
        self.state.lock().unwrap().publish(&Message {
            topic: topic.into(),
            payload: payload.into(),
            retain: true,
        });
    }
    fn set_line(&mut self, up: bool) {
        let mut broker = self.state.lock().unwrap();
        broker.down = !up;
        broker.clients.clear();
    }
}

/// A broker on the network behind a line that can be cut.
struct NetworkWorld {
    port: u16,
    line: watch::Sender<bool>,
    links: u64,
    login: Option<Login>,
    trust: Option<Trust>,
    status: Option<String>,
}

impl NetworkWorld {
    async fn to(broker: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (line, mut state) = watch::channel(true);
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                if !*state.borrow_and_update() {
                    continue;
                }
                let (broker, mut state) = (broker.clone(), state.clone());
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(broker).await else {
                        return;
                    };
                    tokio::select! {
                        biased;
                        _ = state.wait_for(|up| !up) => {}
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    }
                });
            }
        });
        Self {
            port,
            line,
            links: 0,
            login: None,
            trust: None,
            status: None,
        }
    }
}

impl NetworkWorld {
    fn named(&self, id: &str) -> BrokerLink {
        let broker = Broker {
            host: "127.0.0.1".into(),
            port: self.port,
            login: self.login.clone(),
            trust: self.trust.clone(),
            status: self.status.clone(),
        };
        BrokerLink::new(&broker, id, self.links).unwrap()
    }
}

impl World for NetworkWorld {
    type Link = BrokerLink;
    fn link(&mut self) -> BrokerLink {
        self.links += 1;
        let id = format!("contract-{}-{}", std::process::id(), self.links);
        self.named(&id)
    }
    async fn keep(&mut self, topic: &str, payload: &str) {
        let mut options = rumqttc::MqttOptions::new("keeper", "127.0.0.1", self.port);
        if let Some((user, password)) = &self.login {
            options.set_credentials(user, password);
        }
        if let Some(trust) = &self.trust {
            options.set_transport(bus::mqtt::link::tls(trust).unwrap());
        }
        let (client, mut event_loop) = rumqttc::AsyncClient::new(options, 4);
        client
            .publish(topic, rumqttc::QoS::AtLeastOnce, true, payload)
            .await
            .unwrap();
        loop {
            if let rumqttc::Event::Incoming(rumqttc::Packet::PubAck(_)) =
                event_loop.poll().await.unwrap()
            {
                return;
            }
        }
    }
    fn set_line(&mut self, up: bool) {
        self.line.send_replace(up);
    }
}

/// Starts rumqttd on a free port; it has no way to end but the end of the process.
async fn rumqttd() -> String {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = free.local_addr().unwrap();
    drop(free);
    let settings = rumqttd::ServerSettings {
        name: "contract".into(),
        listen,
        tls: None,
        next_connection_delay_ms: 1,
        connections: rumqttd::ConnectionSettings {
            connection_timeout_ms: 5000,
            max_payload_size: 1 << 20,
            max_inflight_count: 100,
            auth: None,
            external_auth: None,
            dynamic_filters: false,
        },
    };
    let config = rumqttd::Config {
        router: rumqttd::RouterConfig {
            max_connections: 100,
            max_outgoing_packet_count: 200,
            max_segment_size: 4 << 20,
            max_segment_count: 10,
            ..Default::default()
        },
        v4: Some(HashMap::from([("1".to_owned(), settings)])),
        ..Default::default()
    };
    std::thread::spawn(move || {
        if let Err(error) = rumqttd::Broker::new(config).start() {
            eprintln!("rumqttd ended: {error}");
        }
    });
    for _ in 0..200 {
        if TcpStream::connect(listen).await.is_ok() {
            return listen.to_string();
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("rumqttd does not listen");
}

#[tokio::test(start_paused = true)]
async fn a_link_over_channels_keeps_the_contract() {
    keeps_its_contract(&mut MemoryWorld::start()).await;
}

#[tokio::test]
async fn a_link_to_rumqttd_keeps_the_contract() {
    let broker = rumqttd().await;
    keeps_its_contract(&mut NetworkWorld::to(broker).await).await;
}

#[tokio::test]
async fn a_link_to_the_broker_of_the_environment_keeps_the_contract() {
    let Ok(broker) = std::env::var("GRIDRIG_MQTT_BROKER") else {
        eprintln!("GRIDRIG_MQTT_BROKER is not set: no other broker to check");
        return;
    };
    let mut world = NetworkWorld::to(broker).await;
    world.trust = std::env::var("GRIDRIG_MQTT_CA").ok().map(|path| Trust {
        ca_pem: std::fs::read(path).unwrap(),
        client_pem: None,
    });
    world.login = std::env::var("GRIDRIG_MQTT_LOGIN").ok().map(|login| {
        let (user, password) = login.split_once(':').unwrap();
        (user.to_owned(), password.to_owned())
    });
    keeps_its_contract(&mut world).await;
    if let Some((_, password)) = &mut world.login {
        password.push('x');
        let refused = next(&mut world.link()).await;
        assert!(
            matches!(refused, Heard::Down(LinkError::Refused { .. })),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn the_broker_keeps_whether_a_link_is_there_however_it_leaves() {
    let broker = rumqttd().await;
    let mut world = NetworkWorld::to(broker).await;
    let mut watcher = world.link();
    watcher.subscribe("gridrig/lab/mq/status");
    up(&mut watcher).await;
    settle(&mut watcher, "gridrig/lab/mq/status").await;
    world.status = Some("gridrig/lab/mq/status".into());
    let told = |word: &str| message("gridrig/lab/mq/status", word, false);
    let is = |word: &'static str| move |h: &Heard| matches!(h, Heard::Message(m) if m.payload == word.as_bytes());
    let mut link = world.link();
    up(&mut link).await;
    let there = async { until(&mut watcher, is("online")).await };
    // The link must be polled, or its word does not leave.
    tokio::select! {
        heard = there => assert_eq!(heard.last(), Some(&told("online"))),
        heard = async { loop { next_for_ever(&mut link).await; } } => { let () = heard; }
    }
    link.close().await;
    let heard = until(&mut watcher, is("offline")).await;
    assert_eq!(
        heard.last(),
        Some(&told("offline")),
        "an orderly end says so"
    );
    let mut link = world.link();
    up(&mut link).await;
    tokio::select! {
        _ = until(&mut watcher, is("online")) => {}
        () = async { loop { next_for_ever(&mut link).await; } } => {}
    }
    drop(link);
    let heard = until(&mut watcher, is("offline")).await;
    assert_eq!(
        heard.last(),
        Some(&told("offline")),
        "and so does the last will"
    );
    world.status = None;
    let mut later = world.link();
    later.subscribe("gridrig/lab/mq/status");
    let heard = until(&mut later, is("offline")).await;
    let kept = message("gridrig/lab/mq/status", "offline", true);
    assert_eq!(heard.last(), Some(&kept), "for whoever comes later, too");
}

async fn next_for_ever(link: &mut impl Link) {
    let _ = link.next().await;
}

#[tokio::test]
async fn whoever_only_listens_does_not_tell_that_it_is_there_and_a_broker_that_is_away_is_no_quiet_one()
 {
    let broker = rumqttd().await;
    let mut world = NetworkWorld::to(broker).await;
    let mut watcher = world.link();
    watcher.subscribe("#");
    up(&mut watcher).await;
    settle(&mut watcher, "ready").await;
    let listening = |port: u16| {
        let broker = Broker {
            host: "127.0.0.1".into(),
            port,
            login: None,
            trust: None,
            status: Some("gridrig/lab/mq/status".into()),
        };
        let spec = bus::BusSpec {
            id: "mq".into(),
            endpoint: bus::Endpoint::Broker(broker),
            framing: bus::Framing::default(),
            timeout: None,
            min_gap: None,
            seed: 1,
        };
        bus::mqtt::scan::listen(spec, &[], Duration::from_millis(500))
    };
    tokio::select! {
        heard = listening(world.port) => assert_eq!(heard, Ok(Vec::new())),
        heard = next(&mut watcher) => panic!("{heard:?}"),
    }
    let more = timeout(SILENCE, watcher.next()).await;
    assert!(more.is_err(), "{more:?}");
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = gone.local_addr().unwrap().port();
    drop(gone);
    let away = listening(port).await;
    assert!(
        matches!(&away, Err(LinkError::Transport { why }) if why.contains("cannot be reached")),
        "{away:?}"
    );
}
