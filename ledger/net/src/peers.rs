//! Connections: of each pair of nodes one dials, see [`dials`].

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ledger_core::Digest32;
use ledger_replica::Message;
use ledger_replica::message::MESSAGE_BYTES_MAX;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::inbox::Inbox;
use crate::tls::{TransportKey, digest};

/// Messages that wait to be sent to one peer.
/// Chosen: two seconds of a busy node; when a peer takes none, further ones are
/// dropped, and it asks for what it has missed when it is back.
const OUTBOUND_MAX: usize = 1024;

/// How long a handshake or a piece of a message may take.
/// Chosen: a laboratory's network answers within a second; a peer that stalls
/// gives its place up.
const STALL: Duration = Duration::from_secs(10);

/// Between two attempts to dial, at first and at most.
const REDIAL_FIRST: Duration = Duration::from_millis(50);
const REDIAL_MAX: Duration = Duration::from_secs(2);

/// Connections that are in their handshake at one time.
/// Chosen: every node of a large universe at once; strangers cannot hold more.
const HANDSHAKES_MAX: usize = 64;

/// The network under the connections. There is another than this system's in a test,
/// which loses hosts with what they had under way.
pub(crate) trait Wire: Send + 'static {
    type Listener: Send + Sync + 'static;
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    fn accept(
        listener: &Self::Listener,
    ) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
    fn connect(address: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// The network of this system.
pub(crate) struct Tcp;

impl Wire for Tcp {
    type Listener = TcpListener;
    type Stream = TcpStream;
    async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, from) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok((stream, from))
    }
    async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// The way to one peer.
#[derive(Debug)]
pub(crate) struct Line {
    /// To the task that writes, while there is a connection.
    outbound: Mutex<Option<mpsc::Sender<Arc<[u8]>>>>,
    is_up: AtomicBool,
}

impl Line {
    pub(crate) fn new() -> Line {
        Line {
            outbound: Mutex::new(None),
            is_up: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// Sends if there is a connection and room; whoever misses it asks.
    pub(crate) fn send(&self, bytes: Arc<[u8]>) {
        let outbound = self.outbound.lock();
        let outbound = outbound.unwrap_or_else(PoisonError::into_inner);
        if let Some(outbound) = &*outbound {
            let _ = outbound.try_send(bytes);
        }
    }
}

/// All that a connection needs.
pub(crate) struct Switchboard {
    pub me: usize,
    /// How many nodes the universe began with.
    pub genesis: usize,
    pub key: TransportKey,
    /// The pinned keys, in the order of the configuration.
    pub pinned: Vec<Digest32>,
    pub lines: Vec<Line>,
    pub inbox: Inbox,
}

/// Whether a node dials another: of those of the genesis the one with the lower
/// place; one that has joined later dials all that were there before, since these
/// need not know where it is.
pub(crate) fn dials(from: usize, to: usize, genesis: usize) -> bool {
    match from.max(to) >= genesis {
        true => from > to,
        false => from < to,
    }
}

/// Accepts whoever proves to be a node that dials this one.
pub(crate) async fn accept<W: Wire>(board: Arc<Switchboard>, listener: W::Listener) {
    let Ok(config) = board.key.server(board.pinned.clone()) else {
        return tracing::error!("there is no TLS 1.3");
    };
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let handshakes = Arc::new(tokio::sync::Semaphore::new(HANDSHAKES_MAX));
    loop {
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else {
            return;
        };
        let (stream, from) = match W::accept(&listener).await {
            Ok(accepted) => accepted,
            Err(e) => {
                // Out of descriptors: others may give some back.
                tracing::warn!("a connection could not be accepted: {e}");
                tokio::time::sleep(REDIAL_FIRST).await;
                continue;
            }
        };
        let (board, acceptor) = (Arc::clone(&board), acceptor.clone());
        tokio::spawn(async move {
            let handshake = tokio::time::timeout(STALL, acceptor.accept(stream)).await;
            drop(permit);
            let tls = match handshake {
                Ok(Ok(tls)) => tls,
                Ok(Err(e)) => return tracing::warn!("{from} is refused: {e}"),
                Err(_) => return tracing::warn!("{from} stalled in its handshake"),
            };
            let presented = tls.get_ref().1.peer_certificates();
            let presented = presented.and_then(|keys| keys.first()).map(digest);
            let node = board.pinned.iter().position(|key| Some(*key) == presented);
            match node {
                Some(node) if dials(node, board.me, board.genesis) => {
                    talk(&board, node, tls).await;
                }
                _ => tracing::warn!("{from} is a node that does not dial this one"),
            }
        });
    }
}

/// Dials a node, and again whenever the connection ends.
pub(crate) async fn dial<W: Wire>(board: Arc<Switchboard>, node: usize, address: SocketAddr) {
    let Some(pinned) = board.pinned.get(node).copied() else {
        return;
    };
    let Ok(config) = board.key.client(pinned) else {
        return tracing::error!("there is no TLS 1.3");
    };
    let connector = TlsConnector::from(Arc::new(config));
    let mut pause = REDIAL_FIRST;
    loop {
        let connected = tokio::time::timeout(STALL, async {
            let stream = W::connect(address).await?;
            // The name is not looked at: the key is pinned.
            let name = ServerName::from(address.ip());
            connector.connect(name, stream).await
        });
        match connected.await {
            Ok(Ok(tls)) => {
                pause = REDIAL_FIRST;
                talk(&board, node, tls).await;
            }
            Ok(Err(e)) => tracing::debug!("node {node} at {address}: {e}"),
            Err(_) => tracing::debug!("node {node} at {address} does not answer"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(REDIAL_MAX);
    }
}

/// Carries messages in both directions until the connection ends.
async fn talk(board: &Switchboard, node: usize, stream: impl AsyncRead + AsyncWrite + Send) {
    let Some(line) = board.lines.get(node) else {
        return;
    };
    let (sender, mut outbound) = mpsc::channel::<Arc<[u8]>>(OUTBOUND_MAX);
    // A newer connection takes the place of an older one, which then ends.
    *line.outbound.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender.clone());
    line.is_up.store(true, Ordering::Relaxed);
    board.inbox.tell(|waiting| {
        waiting.greet.insert(node);
    });
    tracing::info!("connected with node {node}");
    let (mut reader, mut writer) = tokio::io::split(stream);
    let write = async {
        while let Some(bytes) = outbound.recv().await {
            let length = (bytes.len() as u32).to_be_bytes();
            let sent = async {
                writer.write_all(&length).await?;
                writer.write_all(&bytes).await?;
                writer.flush().await
            };
            match tokio::time::timeout(STALL, sent).await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => return format!("{e}"),
                Err(_) => return "it takes nothing".to_owned(),
            }
        }
        "another connection took its place".to_owned()
    };
    let read = async {
        loop {
            match read_message(&mut reader).await {
                Ok(message) => {
                    let mut message = message;
                    while let Err(back) = board.inbox.push(node, message) {
                        message = back;
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                }
                Err(e) => return e,
            }
        }
    };
    let why = tokio::select! { why = write => why, why = read => why };
    tracing::info!("the connection with node {node} has ended: {why}");
    let mut outbound = line.outbound.lock().unwrap_or_else(PoisonError::into_inner);
    if outbound.as_ref().is_some_and(|o| o.same_channel(&sender)) {
        *outbound = None;
        line.is_up.store(false, Ordering::Relaxed);
    }
}

async fn read_message(reader: &mut (impl AsyncRead + Unpin)) -> Result<Message, String> {
    let mut length = [0; 4];
    let read = reader.read_exact(&mut length).await;
    read.map_err(|e| e.to_string())?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(format!("a message of {length} bytes"));
    }
    let mut bytes = Vec::new();
    // The memory grows with what has come, not with what is announced.
    let mut limited = reader.take(length as u64);
    let read = tokio::time::timeout(STALL, limited.read_to_end(&mut bytes)).await;
    match read {
        Ok(Ok(count)) if count == length => {}
        Ok(Ok(_)) => return Err("it ended within a message".to_owned()),
        Ok(Err(e)) => return Err(e.to_string()),
        Err(_) => return Err("it stalled within a message".to_owned()),
    }
    Message::decode(&bytes).map_err(|e| format!("no message: {e}"))
}
