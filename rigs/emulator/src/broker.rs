//! A real MQTT broker inside the process, on a loopback port.
//!
//! It runs until the process ends: the broker has no farewell call. It serves benches
//! that have no broker of their own; access control and persistence are not its job.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

/// Why the broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The port cannot be used.
    #[error("the broker cannot listen on 127.0.0.1:{port}: {source}")]
    Port {
        /// The port, 0 for any.
        port: u16,
        /// What the system says.
        source: std::io::Error,
    },
    /// No thread could be made for it.
    #[error("there is no thread for the broker: {0}")]
    Thread(std::io::Error),
    /// It does not answer.
    #[error("the broker on {address} does not accept connections")]
    Deaf {
        /// Where it should be.
        address: SocketAddr,
    },
}

/// Time in which the broker must accept its first connection.
/// Chosen: a hundred times what it takes on an idle machine.
const START_WITHIN: Duration = Duration::from_secs(5);

/// Largest message in bytes: discovery documents of gateways are the largest known.
/// Chosen: 1 MiB, four times the largest seen.
const PAYLOAD_MAX: usize = 1 << 20;

/// Starts a broker on a loopback port (0 = any free one) and waits until it accepts.
///
/// Only the start is blocking, for some milliseconds; it uses no clock but to give up.
///
/// # Errors
/// When the port is taken, or the broker does not come up.
pub fn start(port: u16) -> Result<SocketAddr, BrokerError> {
    let address = free_address(port).map_err(|source| BrokerError::Port { port, source })?;
    let server = ServerSettings {
        name: "bench".into(),
        listen: address,
        tls: None,
        next_connection_delay_ms: 1,
        connections: ConnectionSettings {
            connection_timeout_ms: 5_000,
            max_payload_size: PAYLOAD_MAX,
            max_inflight_count: 100,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    };
    let config = Config {
        id: 0,
        router: RouterConfig {
            max_connections: 256,
            max_outgoing_packet_count: 200,
            // Chosen: the log of a topic holds ten segments; a bench never needs its past.
            max_segment_size: PAYLOAD_MAX,
            max_segment_count: 10,
            ..RouterConfig::default()
        },
        v4: Some(HashMap::from([("bench".to_owned(), server)])),
        ..Config::default()
    };
    std::thread::Builder::new()
        .name("mqtt-broker".into())
        .spawn(move || {
            let mut broker = Broker::new(config);
            if let Err(error) = broker.start() {
                tracing::error!(%error, "The embedded broker has ended.");
            }
        })
        .map_err(BrokerError::Thread)?;
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        if begun.elapsed() > START_WITHIN {
            return Err(BrokerError::Deaf { address });
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(address)
}

/// The broker cannot be handed a socket, nor does it tell a port that it chose: a free
/// one is found by binding and given back at once.
fn free_address(port: u16) -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.local_addr()
}
