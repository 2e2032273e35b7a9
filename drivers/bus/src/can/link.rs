//! A CAN link that is dialled again when it is lost.
//!
//! Responsible for choosing the transport, for time limits on dialling and sending,
//! and for waiting between attempts. Not responsible for what frames mean.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use profile::can::CanId;
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::backoff::Backoff;
use super::codec::Frame;
use super::slcan;
#[cfg(target_os = "linux")]
use super::socketcan::Interface;
use super::socketcand::{Connection, Heard, Stream};
use super::wire::{Node, Wire};
use crate::Endpoint;

/// Time for dialling and handshake together.
/// Chosen: a socketcand server on a small computer answers within 0.1 s; 5 s covers a busy one.
const DIAL_TIME: Duration = Duration::from_secs(5);
/// Time for one frame to leave. Chosen: 1 s, the period of a battery's keep-alive.
const SEND_TIME: Duration = Duration::from_secs(1);
/// First wait before dialling again (driver dossier, section 2: 0.1 to 30 s).
const WAIT_FIRST: Duration = Duration::from_millis(100);
/// Longest wait before dialling again (same source).
const WAIT_MOST: Duration = Duration::from_secs(30);

/// Why a CAN link cannot be had or has ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The stream ended.
    #[error("the server has closed the connection")]
    Closed,
    /// The server did not open the bus.
    #[error("the socketcand server says \"{text}\": check the bus name in the rig")]
    Refused {
        /// Its words.
        text: String,
    },
    /// Dialling or sending took too long.
    #[error("no answer within {} s", after.as_secs())]
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// The kernel was built without CAN.
    #[error("this kernel has no CAN: use socketcand://host:port/{interface}")]
    NoKernelCan {
        /// Interface of the rig.
        interface: String,
    },
    /// The interface does not exist.
    #[error("there is no interface {interface}: plug the adapter in or correct the rig")]
    NoInterface {
        /// Interface of the rig.
        interface: String,
    },
    /// The interface is down.
    #[error(
        "interface {interface} is down: bring it up with `ip link set {interface} up` and its bit rate"
    )]
    Down {
        /// Interface of the rig.
        interface: String,
    },
    /// The transmit queue stays full: nobody acknowledges frames.
    #[error(
        "the transmit queue of {interface} stays full: check cable, termination and bit rate, as no other node acknowledges"
    )]
    QueueFull {
        /// Interface of the rig.
        interface: String,
    },
    /// The serial adapter does not do what it is told.
    #[error("the slcan adapter: {why}; check `bitrate` in the rig and the adapter's manual")]
    Adapter {
        /// What it refuses.
        why: String,
    },
    /// The serial port cannot be opened.
    #[error(
        "serial port {path}: {reason}; check that the adapter is plugged in and nobody else uses it"
    )]
    Serial {
        /// Its path.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// The interface takes classic frames only.
    #[error(
        "interface {interface} takes no frames of CAN FD: bring it up with `ip link set {interface} mtu 72` and `fd on`"
    )]
    NotFd {
        /// Interface of the rig.
        interface: String,
    },
    /// The transport cannot carry this frame.
    #[error("this transport cannot carry the frame")]
    NotCarried,
    /// The endpoint is none for CAN.
    #[error("this endpoint carries no CAN")]
    Endpoint,
    /// The transport failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What a link says.
#[derive(Debug)]
pub(crate) enum Step {
    /// It is open.
    Up,
    /// A frame has come.
    Frame(Frame),
    /// Something has come that is no frame.
    Garbage,
    /// It is lost or could not be opened; told once per outage.
    Down(LinkError),
}

enum Open {
    Stream(Box<Connection<Box<dyn Stream>>>),
    Serial(Box<slcan::Connection<tokio_serial::SerialStream>>),
    Virtual(Node),
    #[cfg(target_os = "linux")]
    Kernel(Interface),
}

type Dialling = Pin<Box<dyn Future<Output = Result<Open, LinkError>> + Send>>;

enum State {
    Waiting(Instant),
    Dialling(Dialling),
    Up(Open),
}

/// A link that keeps itself open.
pub(crate) struct Link {
    endpoint: Endpoint,
    /// Bus name for an endpoint that does not say one.
    name: String,
    ids: Vec<(CanId, u32)>,
    backoff: Backoff,
    state: State,
    /// Whether the outage that lasts now has been told.
    told: bool,
}

impl Link {
    /// A link to an endpoint that hears these identifiers.
    pub(crate) fn new(endpoint: Endpoint, name: &str, ids: Vec<(CanId, u32)>, seed: u64) -> Self {
        Self {
            endpoint,
            name: name.to_owned(),
            ids,
            backoff: Backoff::new(WAIT_FIRST, WAIT_MOST, seed),
            state: State::Waiting(Instant::now()),
            told: false,
        }
    }

    /// Whether frames can be sent.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// What happens next on the link. Safe to drop while it waits.
    pub(crate) async fn next(&mut self) -> Step {
        loop {
            match &mut self.state {
                State::Waiting(until) => {
                    sleep_until(*until).await;
                    self.state = State::Dialling(dial(
                        self.endpoint.clone(),
                        self.name.clone(),
                        self.ids.clone(),
                    ));
                }
                State::Dialling(dialling) => match dialling.await {
                    Ok(open) => {
                        self.state = State::Up(open);
                        self.told = false;
                        return Step::Up;
                    }
                    Err(error) => {
                        if let Some(step) = self.lost(error) {
                            return step;
                        }
                    }
                },
                State::Up(open) => match open.receive().await {
                    Ok(Some(frame)) => {
                        // Only traffic proves the link: a server that accepts and hangs up
                        // at once must not be dialled ten times a second.
                        self.backoff.reset();
                        return Step::Frame(frame);
                    }
                    Ok(None) => return Step::Garbage,
                    Err(error) => {
                        if let Some(step) = self.lost(error) {
                            return step;
                        }
                    }
                },
            }
        }
    }

    /// Sends a frame if the link is open; a failure closes it.
    ///
    /// # Errors
    /// What [`Step::Down`] would say, or a full transmit queue, which leaves the link open.
    pub(crate) async fn send(&mut self, frame: &Frame) -> Result<(), LinkError> {
        let State::Up(open) = &mut self.state else {
            return Err(LinkError::Closed);
        };
        let sent = timeout(SEND_TIME, open.send(frame))
            .await
            .unwrap_or(Err(LinkError::Timeout { after: SEND_TIME }));
        match sent {
            Err(
                error @ (LinkError::QueueFull { .. }
                | LinkError::NotCarried
                | LinkError::NotFd { .. }),
            ) => Err(error),
            Err(error) => {
                self.state = State::Waiting(Instant::now() + self.backoff.wait());
                self.told = true;
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    /// Closes the link in an orderly way.
    pub(crate) async fn close(self) {
        if let State::Up(open) = self.state {
            open.close().await;
        }
    }

    /// Closes the link and dials it again after a wait that grows until a frame comes: an
    /// adapter that is opened anew begins with a fresh controller.
    pub(crate) async fn reopen(&mut self) {
        let waiting = State::Waiting(Instant::now() + self.backoff.wait());
        if let State::Up(open) = std::mem::replace(&mut self.state, waiting) {
            open.close().await;
        }
        self.told = true;
    }

    fn lost(&mut self, error: LinkError) -> Option<Step> {
        self.state = State::Waiting(Instant::now() + self.backoff.wait());
        (!std::mem::replace(&mut self.told, true)).then_some(Step::Down(error))
    }
}

impl Open {
    async fn receive(&mut self) -> Result<Option<Frame>, LinkError> {
        match self {
            Self::Stream(connection) => match connection.receive().await? {
                Heard::Frame(frame) => Ok(Some(frame)),
                Heard::Refused(text) => Err(LinkError::Refused { text }),
                Heard::Hi | Heard::Ok | Heard::Echo | Heard::Garbage => Ok(None),
            },
            Self::Serial(connection) => match connection.receive().await? {
                slcan::Heard::Frame(frame) => Ok(Some(frame)),
                slcan::Heard::Done | slcan::Heard::Refused | slcan::Heard::Garbage => Ok(None),
            },
            Self::Virtual(node) => node.receive().await.map(Some),
            #[cfg(target_os = "linux")]
            Self::Kernel(interface) => interface.receive().await,
        }
    }

    async fn send(&mut self, frame: &Frame) -> Result<(), LinkError> {
        match self {
            Self::Stream(connection) => connection.send(frame).await,
            Self::Serial(connection) => connection.send(frame).await,
            Self::Virtual(node) => node.send(frame).await,
            #[cfg(target_os = "linux")]
            Self::Kernel(interface) => interface.send(frame).await,
        }
    }

    async fn close(self) {
        let closing = async {
            match self {
                Self::Stream(connection) => connection.close().await,
                Self::Serial(connection) => connection.close().await,
                Self::Virtual(_) => {}
                #[cfg(target_os = "linux")]
                Self::Kernel(_) => {}
            }
        };
        // A peer that does not take the end of the stream must not hold the bus.
        let _ = timeout(SEND_TIME, closing).await;
    }
}

/// The same future goes on when the caller is interrupted: half a handshake is not begun anew.
fn dial(endpoint: Endpoint, name: String, ids: Vec<(CanId, u32)>) -> Dialling {
    Box::pin(async move {
        timeout(DIAL_TIME, open(endpoint, name, ids))
            .await
            .unwrap_or(Err(LinkError::Timeout { after: DIAL_TIME }))
    })
}

async fn open(endpoint: Endpoint, name: String, ids: Vec<(CanId, u32)>) -> Result<Open, LinkError> {
    match endpoint {
        Endpoint::Socketcand {
            host,
            port,
            interface,
        } => {
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            stream.set_nodelay(true)?;
            over(Box::new(stream), &interface).await
        }
        Endpoint::Slcan { path, bitrate } => {
            let port = serial(&path)?;
            let connection = slcan::Connection::open(port, bitrate).await?;
            Ok(Open::Serial(Box::new(connection)))
        }
        Endpoint::VirtualCan { name, bitrate } => {
            Ok(Open::Virtual(Wire::named(&name, bitrate).join()))
        }
        Endpoint::Memory(dials) => over(Box::new(memory(&dials)?), &name).await,
        #[cfg(target_os = "linux")]
        Endpoint::SocketCan { interface } => Interface::open(&interface, &ids).map(Open::Kernel),
        #[cfg(not(target_os = "linux"))]
        Endpoint::SocketCan { interface } => Err(LinkError::NoKernelCan { interface }),
        Endpoint::Tcp { .. }
        | Endpoint::Serial { .. }
        | Endpoint::Broker(_)
        | Endpoint::MemoryBroker(_) => Err(LinkError::Endpoint),
    }
}

/// Speed of the serial side in bits per second. Chosen: what adapters with a real serial line
/// start with (slcand's default too); those on USB do not look at it.
const SERIAL_BAUD: u32 = 115_200;

fn serial(path: &str) -> Result<tokio_serial::SerialStream, LinkError> {
    use tokio_serial::SerialPortBuilderExt;
    tokio_serial::new(path, SERIAL_BAUD)
        .open_native_async()
        .map_err(|error| LinkError::Serial {
            path: path.to_owned(),
            reason: error.to_string(),
        })
}

async fn over(stream: Box<dyn Stream>, interface: &str) -> Result<Open, LinkError> {
    Connection::open(stream, interface)
        .await
        .map(|connection| Open::Stream(Box::new(connection)))
}

/// Bytes that an in-memory stream holds. Chosen: 80 frames, as a TCP window would hold more.
const MEMORY_BYTES: usize = 4096;

fn memory(dials: &mpsc::UnboundedSender<DuplexStream>) -> Result<DuplexStream, LinkError> {
    let (near, far) = tokio::io::duplex(MEMORY_BYTES);
    dials.send(far).map_err(|_| LinkError::Closed)?;
    Ok(near)
}
