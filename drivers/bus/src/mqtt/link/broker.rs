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
    AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, NetworkOptions, Outgoing, Packet,
    QoS, SubscribeFilter, SubscribeReasonCode, TlsConfiguration, Transport,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Heard, Link, LinkError, NotSent, Token};
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
/// Largest message taken. Chosen: 4 MiB; lists of bridge devices pass 100 KiB, and the
/// library's 10 KiB would lose the connection over and over to one retained message.
const INCOMING_BYTES_MAX: usize = 4 << 20;
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
    filters: BTreeSet<String>,
    backoff: Backoff,
    state: State,
    told: bool,
}

impl BrokerLink {
    /// A link to a broker; with a certificate authority the connection is encrypted.
    ///
    /// # Errors
    /// When the certificate authority cannot be read.
    pub fn new(
        host: &str,
        port: u16,
        login: Option<Login>,
        ca_pem: Option<&[u8]>,
        client_id: &str,
        seed: u64,
    ) -> Result<Self, LinkError> {
        let mut options = MqttOptions::new(client_id, host, port);
        options
            .set_keep_alive(KEEP_ALIVE)
            .set_clean_session(true)
            .set_max_packet_size(INCOMING_BYTES_MAX, OUTGOING_BYTES_MAX);
        if let Some((user, password)) = login {
            options.set_credentials(user, password);
        }
        if let Some(pem) = ca_pem {
            options.set_transport(tls(pem)?);
        }
        Ok(Self {
            options,
            filters: BTreeSet::new(),
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
        (!std::mem::replace(&mut self.told, true)).then_some(Heard::Down(error))
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
        let State::Running(session) = &self.state else {
            return Err(NotSent);
        };
        if !session.up {
            return Err(NotSent);
        }
        let qos = match token {
            Some(_) => QoS::AtLeastOnce,
            None => QoS::AtMostOnce,
        };
        // The token goes first: the task must find it when the packet leaves.
        let queued = session.tokens.send(token).is_ok()
            && session
                .client
                .try_publish(topic, qos, false, payload)
                .is_ok();
        if queued {
            Ok(())
        } else {
            // Tokens and packets are out of step now, and a client with a full queue is stuck.
            self.reset("it takes no more messages");
            Err(NotSent)
        }
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
                State::Running(session) => match session.from_client.recv().await {
                    Some(FromClient::Heard(Heard::Up)) => {
                        session.up = true;
                        self.told = false;
                        let filters: Vec<_> = self
                            .filters
                            .iter()
                            .map(|f| SubscribeFilter::new(f.clone(), QoS::AtLeastOnce))
                            .collect();
                        if !filters.is_empty()
                            && session.client.try_subscribe_many(filters).is_err()
                        {
                            self.reset("it takes no subscriptions");
                            continue;
                        }
                        return Heard::Up;
                    }
                    Some(FromClient::Heard(heard)) => {
                        self.backoff.reset();
                        return heard;
                    }
                    Some(FromClient::Ended(error)) => {
                        if let Some(heard) = self.lost(error) {
                            return heard;
                        }
                    }
                    None => {
                        if let Some(heard) = self.lost(LinkError::Closed) {
                            return heard;
                        }
                    }
                },
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
            Err(error) => Some(FromClient::Ended(explained(error))),
        };
        let Some(said) = said else { continue };
        let ends = matches!(said, FromClient::Ended(_));
        if to_link.send(said).await.is_err() || ends {
            return;
        }
    }
}

fn explained(error: ConnectionError) -> LinkError {
    match error {
        ConnectionError::ConnectionRefused(code) => LinkError::Refused {
            code: format!("{code:?}"),
        },
        error => LinkError::Transport {
            why: error.to_string(),
        },
    }
}

/// TLS by rustls with the ring provider, trusting this certificate authority and no other.
///
/// # Errors
/// When there is no certificate in the PEM text, or one that cannot be read.
pub fn tls(ca_pem: &[u8]) -> Result<Transport, LinkError> {
    let unusable = |why: String| LinkError::Certificate { why };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem) {
        let certificate = certificate.map_err(|e| unusable(e.to_string()))?;
        roots
            .add(certificate)
            .map_err(|e| unusable(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("it has no certificate in PEM form".to_owned()));
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Transport::tls_with_config(TlsConfiguration::Rustls(
        std::sync::Arc::new(config),
    )))
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

    #[test]
    fn a_certificate_authority_that_is_none_is_refused_in_clear_text() {
        for pem in [
            &b"not a certificate"[..],
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            let made = BrokerLink::new("localhost", 8883, None, Some(pem), "me", 0);
            let Err(LinkError::Certificate { why }) = made.map(|_| ()) else {
                panic!("taken: {pem:?}")
            };
            assert!(!why.is_empty());
        }
    }
}
