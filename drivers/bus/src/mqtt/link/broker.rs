//! A link to an MQTT broker over TCP or TLS.
//!
//! One client per connection: the client library keeps unsent and unacknowledged
//! messages across an outage and delivers some of them late, and a late setpoint is a
//! wrong one. A client that lost its connection is therefore thrown away whole.
//!
//! What remains is what TCP itself still holds: bytes that left before the line went
//! dead can arrive when it comes back, until the broker has dropped the session after
//! one and a half keep-alives. The keep-alive is short for that reason.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use profile::mqtt::Message;
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, LastWill, MqttOptions, NetworkOptions,
    Outgoing, Packet, QoS, StateError, SubscribeFilter, SubscribeReasonCode, mqttbytes,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::sift::Sift;
use super::trust::{Trust, distrust, tls};
use super::{Heard, INCOMING_BYTES_MAX, Link, LinkError, NotSent, Token};
use crate::can::Backoff;

/// First wait before dialling again (driver dossier, section 2: 0.2 to 10 s).
pub(super) const WAIT_FIRST: Duration = Duration::from_millis(200);
/// Longest wait before dialling again (same source).
pub(super) const WAIT_MOST: Duration = Duration::from_secs(10);
/// Interval of pings. Chosen: 5 s, so that a dead line is noticed within 10 s and the
/// broker forgets the session, with what TCP still holds for it, after 7.5 s.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Time for connecting and for each flush. Chosen: 3 s, below the keep-alive.
const NETWORK_TIME_S: u64 = 3;
/// Largest message sent. Chosen: 256 KiB, far above any command.
const OUTGOING_BYTES_MAX: usize = 256 << 10;
/// Messages that may wait for the socket. Chosen: as many as writes may wait on a bus.
const OUTGOING_WAITING_MAX: usize = 64;
/// Messages from the broker that may wait for the bus; more hold the socket back.
/// Chosen: a burst of retained messages of a few hundred devices.
const INCOMING_WAITING_MAX: usize = 256;
/// Time for an orderly end. Chosen: one second, as the bus itself may take two.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// User and password.
pub type Login = (String, String);

/// Words of a status topic.
const ONLINE: &str = "online";
const OFFLINE: &str = "offline";

/// A broker and how a link presents itself there.
#[derive(Clone, PartialEq, Eq)]
pub struct Broker {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User and password.
    pub login: Option<Login>,
    /// TLS is used when it is there.
    pub trust: Option<Trust>,
    /// Topic on which the broker keeps `online` while the link is up and `offline` when it is
    /// not, whether it left in order or was lost (last will).
    pub status: Option<String>,
}

impl std::fmt::Debug for Broker {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("trust", &self.trust)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// A client name that no other client of the broker has: two of the same name throw
/// each other out. It follows from the arguments alone.
///
/// At most 23 letters, as every broker takes (MQTT 3.1.1, section 3.1.3.1).
#[must_use]
pub fn client_id(parts: &[&[u8]]) -> String {
    // FNV-1a (Fowler, Noll, Vo) over the parts, 64 bit: a name, not a secret.
    let hash = parts
        .iter()
        .flat_map(|part| part.iter().chain(std::iter::once(&0xFF)))
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
        });
    format!("grig-{hash:016x}")
}

/// What the task that drives the client says.
enum FromClient {
    Heard(Heard),
    Ended(LinkError),
}

/// One connection, from dialling to its end.
struct Session {
    client: AsyncClient,
    /// Tokens in the order of publishing; the task pairs them with packet numbers.
    tokens: mpsc::UnboundedSender<Option<Token>>,
    from_client: mpsc::Receiver<FromClient>,
    task: JoinHandle<()>,
    up: bool,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

enum State {
    Waiting(Instant),
    Running(Session),
    /// Given up, not told yet.
    GivenUp(LinkError),
}

/// A link to a broker on the network.
pub struct BrokerLink {
    options: MqttOptions,
    status: Option<String>,
    filters: BTreeSet<String>,
    sift: Sift,
    backoff: Backoff,
    state: State,
    told: bool,
}

impl BrokerLink {
    /// A link to a broker.
    ///
    /// # Errors
    /// When a certificate or key cannot be used.
    pub fn new(broker: &Broker, client_id: &str, seed: u64) -> Result<Self, LinkError> {
        let mut options = MqttOptions::new(client_id, &broker.host, broker.port);
        options
            .set_keep_alive(KEEP_ALIVE)
            .set_clean_session(true)
            .set_max_packet_size(INCOMING_BYTES_MAX, OUTGOING_BYTES_MAX);
        if let Some((user, password)) = &broker.login {
            options.set_credentials(user, password);
        }
        if let Some(trust) = &broker.trust {
            options.set_transport(tls(trust)?);
        }
        if let Some(status) = &broker.status {
            let will = LastWill::new(status, OFFLINE, QoS::AtLeastOnce, true);
            options.set_last_will(will);
        }
        Ok(Self {
            options,
            status: broker.status.clone(),
            filters: BTreeSet::new(),
            sift: Sift::default(),
            backoff: Backoff::new(WAIT_FIRST, WAIT_MOST, seed),
            state: State::Waiting(Instant::now()),
            told: false,
        })
    }

    fn dial(&self) -> Session {
        let (client, mut event_loop) = AsyncClient::new(self.options.clone(), OUTGOING_WAITING_MAX);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(NETWORK_TIME_S);
        event_loop.set_network_options(network);
        let (tokens, tokens_out) = mpsc::unbounded_channel();
        let (to_link, from_client) = mpsc::channel(INCOMING_WAITING_MAX);
        // The client must be polled by a task that never publishes, or both would wait
        // for the same full channel.
        let task = tokio::spawn(drive(event_loop, tokens_out, to_link));
        Session {
            client,
            tokens,
            from_client,
            task,
            up: false,
        }
    }

    fn lost(&mut self, error: LinkError) -> Option<Heard> {
        self.state = State::Waiting(Instant::now() + self.backoff.wait());
        if let LinkError::TooLarge { bytes } = error
            && let Some(filter) = self.sift.blame()
        {
            self.told = true;
            return Some(Heard::Barred { filter, bytes });
        }
        (!std::mem::replace(&mut self.told, true)).then_some(Heard::Down(error))
    }

    /// Publishes a message that the broker keeps; empty, it forgets the one that it keeps.
    ///
    /// Only for what is ours: a command that is kept would be carried out late.
    ///
    /// # Errors
    /// When there is no connection. The message is forgotten.
    pub fn keep(
        &mut self,
        token: Option<Token>,
        topic: &str,
        payload: &[u8],
    ) -> Result<(), NotSent> {
        self.send(token, (topic, true), QoS::AtLeastOnce, payload)
    }

    fn send(
        &mut self,
        token: Option<Token>,
        (topic, retain): (&str, bool),
        qos: QoS,
        payload: &[u8],
    ) -> Result<(), NotSent> {
        let State::Running(session) = &self.state else {
            return Err(NotSent);
        };
        if !session.up {
            return Err(NotSent);
        }
        // The token goes first: the task must find it when the packet leaves.
        let queued = session.tokens.send(token).is_ok()
            && session
                .client
                .try_publish(topic, qos, retain, payload)
                .is_ok();
        if queued {
            Ok(())
        } else {
            // Tokens and packets are out of step now, and a client with a full queue is stuck.
            self.reset("it takes no more messages");
            Err(NotSent)
        }
    }

    /// The broker has let us in: it is asked for what we listen to, and told that we are there.
    fn greet(&mut self) {
        self.told = false;
        let at_once = self.sift.begin(self.filters.iter(), Instant::now());
        if let State::Running(session) = &mut self.state {
            session.up = true;
            let filters: Vec<_> = at_once
                .into_iter()
                .map(|f| SubscribeFilter::new(f, QoS::AtLeastOnce))
                .collect();
            if !filters.is_empty() && session.client.try_subscribe_many(filters).is_err() {
                self.reset("it takes no subscriptions");
            }
        }
        if let Some(status) = self.status.clone() {
            // Refused only by a queue that is full, which gives the connection up by itself.
            let _ = self.keep(None, &status, ONLINE.as_bytes());
        }
    }

    /// The next step in looking for the topic of a message that is too large.
    fn sift_on(&mut self) {
        let next = self.sift.advance(Instant::now());
        if let (Some(filter), State::Running(session)) = (next, &self.state)
            && session
                .client
                .try_subscribe(filter, QoS::AtLeastOnce)
                .is_err()
        {
            self.reset("it takes no more subscriptions");
        }
    }
}

impl Link for BrokerLink {
    fn subscribe(&mut self, filter: &str) {
        if self.filters.insert(filter.to_owned())
            && let State::Running(session) = &self.state
            && session.up
            && session
                .client
                .try_subscribe(filter, QoS::AtLeastOnce)
                .is_err()
        {
            self.reset("it takes no more subscriptions");
        }
    }

    fn publish(
        &mut self,
        token: Option<Token>,
        topic: &str,
        payload: &[u8],
    ) -> Result<(), NotSent> {
        let qos = match token {
            Some(_) => QoS::AtLeastOnce,
            None => QoS::AtMostOnce,
        };
        self.send(token, (topic, false), qos, payload)
    }

    async fn next(&mut self) -> Heard {
        loop {
            match &mut self.state {
                State::Waiting(until) => {
                    sleep_until(*until).await;
                    self.state = State::Running(self.dial());
                }
                State::GivenUp(error) => {
                    let error = error.clone();
                    if let Some(heard) = self.lost(error) {
                        return heard;
                    }
                }
                State::Running(session) => {
                    let sift_at = self.sift.next_at();
                    let said = tokio::select! {
                        biased;
                        said = session.from_client.recv() => said,
                        () = sleep_until(sift_at.unwrap_or_else(Instant::now)), if sift_at.is_some() => {
                            self.sift_on();
                            continue;
                        }
                    };
                    let heard = match said {
                        Some(FromClient::Heard(Heard::Up)) => {
                            self.greet();
                            if !matches!(self.state, State::Running(_)) {
                                continue;
                            }
                            Some(Heard::Up)
                        }
                        Some(FromClient::Heard(heard)) => {
                            self.backoff.reset();
                            Some(heard)
                        }
                        Some(FromClient::Ended(error)) => self.lost(error),
                        None => self.lost(LinkError::Closed),
                    };
                    if let Some(heard) = heard {
                        return heard;
                    }
                }
            }
        }
    }

    fn reset(&mut self, why: &str) {
        if matches!(self.state, State::Running(_)) {
            self.state = State::GivenUp(LinkError::GivenUp {
                why: why.to_owned(),
            });
        }
    }

    async fn close(mut self) {
        if let Some(status) = self.status.clone() {
            // An orderly end takes the last will with it, so we say ourselves that we go.
            let _ = self.keep(None, &status, OFFLINE.as_bytes());
        }
        if let State::Running(session) = &mut self.state
            && session.client.try_disconnect().is_ok()
        {
            // What comes in meanwhile is dropped, so that the task is never held back.
            let ended = async { while session.from_client.recv().await.is_some() {} };
            if timeout(CLOSE_TIME, ended).await.is_err() {
                tracing::debug!("The broker did not take the end of the connection in time.");
            }
        }
    }
}

/// Polls a client until its connection ends.
async fn drive(
    mut event_loop: EventLoop,
    mut tokens: mpsc::UnboundedReceiver<Option<Token>>,
    to_link: mpsc::Sender<FromClient>,
) {
    let mut under_way: BTreeMap<u16, Token> = BTreeMap::new();
    let (host, port) = event_loop.mqtt_options.broker_address();
    loop {
        let said = match event_loop.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => Some(FromClient::Heard(Heard::Up)),
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                Some(FromClient::Heard(Heard::Message(Message {
                    topic: publish.topic,
                    payload: publish.payload.to_vec(),
                    retain: publish.retain,
                })))
            }
            Ok(Event::Incoming(Packet::PubAck(ack))) => under_way
                .remove(&ack.pkid)
                .map(|token| FromClient::Heard(Heard::Acknowledged(token))),
            Ok(Event::Incoming(Packet::SubAck(ack)))
                if ack.return_codes.contains(&SubscribeReasonCode::Failure) =>
            {
                Some(FromClient::Heard(Heard::SubscriptionRefused))
            }
            Ok(Event::Outgoing(Outgoing::Publish(number))) => {
                if let Ok(Some(token)) = tokens.try_recv() {
                    under_way.insert(number, token);
                }
                None
            }
            // The broker acknowledges out of order and the library would wait for ever.
            Ok(Event::Outgoing(Outgoing::AwaitAck(_))) => {
                Some(FromClient::Ended(LinkError::GivenUp {
                    why: "it does not acknowledge in order".to_owned(),
                }))
            }
            Ok(Event::Outgoing(Outgoing::Disconnect)) => return,
            Ok(_) => None,
            Err(error) => Some(FromClient::Ended(explained(error, (&host, port)))),
        };
        let Some(said) = said else { continue };
        let ends = matches!(said, FromClient::Ended(_));
        if to_link.send(said).await.is_err() || ends {
            return;
        }
    }
}

fn explained(error: ConnectionError, (host, port): (&str, u16)) -> LinkError {
    if let Some(distrust) = distrust(&error, host) {
        return distrust;
    }
    match error {
        ConnectionError::ConnectionRefused(code) => LinkError::Refused {
            code: format!("{code:?}"),
        },
        ConnectionError::MqttState(StateError::Deserialization(
            mqttbytes::Error::PayloadSizeLimitExceeded(bytes),
        )) => LinkError::TooLarge { bytes },
        ConnectionError::Io(error) => LinkError::Transport {
            why: format!("the broker at {host}:{port} cannot be reached: {error}"),
        },
        error => LinkError::Transport {
            why: format!("the connection to the broker at {host}:{port} failed: {error}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_name_fits_every_broker_and_follows_from_its_parts() {
        let id = client_id(&[b"mqtt", &7_u64.to_le_bytes()]);
        assert!(id.len() <= 23, "{id}");
        assert_eq!(id, client_id(&[b"mqtt", &7_u64.to_le_bytes()]));
        assert_ne!(id, client_id(&[b"mqtt", &8_u64.to_le_bytes()]));
        assert_ne!(client_id(&[b"a", b"bc"]), client_id(&[b"ab", b"c"]));
    }
}
