//! The door of the page: connections in bounded numbers, each with its time.
//!
//! A peer that floods, that dials and says nothing, that says its request one byte at a time or with
//! headers without end holds a place for a few seconds, and no more places than one address may have.
//! It is not responsible for what is asked (see [`super::guard`]).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::tls::Tls;

/// Connections at a time. Chosen: 256, eight for each stream that may be followed.
const CONNECTIONS_MAX: usize = 256;
/// Connections of one address. Chosen: 64; a browser opens six, a laboratory behind one address has ten of them.
const CONNECTIONS_OF_ONE_MAX: usize = 64;
/// How long a caller may take to agree on keys. Chosen: 5 s, ten times a slow handset's.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
/// How long the head of a request may take, and how long a connection may idle before the next.
/// Chosen: 10 s; the page asks every few seconds.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Largest head of a request, in bytes. Chosen: 16 KiB, as most servers.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most headers of a request. Chosen: 64; a browser sends twenty.
const HEADERS_MAX: usize = 64;
/// Wait after the system gave no socket. Chosen: 1 s: by then others have closed theirs.
const NO_SOCKET_WAIT: Duration = Duration::from_secs(1);
/// First byte of an agreement on keys: a handshake record (RFC 8446, 5.1).
const HANDSHAKE: u8 = 0x16;

/// Who is connected, as a handler may ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer(pub(super) SocketAddr);

/// How many connections each address has.
#[derive(Clone, Debug, Default)]
struct Places {
    taken: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

/// A place that is free again when this is dropped.
struct Place {
    places: Places,
    address: IpAddr,
    _of_all: OwnedSemaphorePermit,
}

impl Places {
    fn take(&self, address: IpAddr, of_all: OwnedSemaphorePermit) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(address).or_default();
        if *count >= CONNECTIONS_OF_ONE_MAX {
            return None;
        }
        *count += 1;
        Some(Place {
            places: self.clone(),
            address,
            _of_all: of_all,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let taken = &self.places.taken;
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

/// Takes connections and lets the application answer them, until this future is dropped.
pub(super) async fn keep(listener: TcpListener, app: Router, tls: Option<Tls>) {
    let all = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let places = Places::default();
    // Those inside end with the door.
    let mut inside = tokio::task::JoinSet::new();
    loop {
        let of_all = Arc::clone(&all).acquire_owned().await;
        // It is never closed; without it there is nothing to wait for.
        let Ok(of_all) = of_all else { return };
        let (stream, address) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(e) => {
                    if !is_of_the_peer(&e) {
                        tracing::warn!(message = "The page has no socket for another caller.", %e);
                        tokio::time::sleep(NO_SOCKET_WAIT).await;
                    }
                    continue;
                }
            },
            Some(_) = inside.join_next() => continue,
        };
        // One too many of an address is closed at once: it learns so sooner than by waiting.
        if let Some(place) = places.take(address.ip().to_canonical(), of_all) {
            let (app, tls) = (app.clone(), tls.clone());
            inside.spawn(async move {
                let_in(stream, address, app, tls).await;
                drop(place);
            });
        }
    }
}

/// Whether a connection was gone before it was taken.
fn is_of_the_peer(e: &std::io::Error) -> bool {
    use std::io::ErrorKind as Kind;
    matches!(
        e.kind(),
        Kind::ConnectionRefused | Kind::ConnectionAborted | Kind::ConnectionReset
    )
}

async fn let_in(stream: TcpStream, address: SocketAddr, app: Router, tls: Option<Tls>) {
    let Some(tls) = tls else {
        return serve(stream, address, app).await;
    };
    let agreed = async {
        let mut first = [0];
        if stream.peek(&mut first).await.ok()? == 0 {
            return None;
        }
        if first != [HANDSHAKE] {
            say_it_is_encrypted(stream).await;
            return None;
        }
        // Who does not trust our certificate says so and goes; there is nobody to tell here.
        tls.acceptor().accept(stream).await.ok()
    };
    if let Ok(Some(stream)) = timeout(HANDSHAKE_WITHIN, agreed).await {
        serve(stream, address, app).await;
    }
}

/// Tells somebody who came with plain HTTP what to write instead.
async fn say_it_is_encrypted(mut stream: TcpStream) {
    let body = "This page is encrypted: write https:// before the address.\n";
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    // Whoever has gone needs no answer.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: SocketAddr,
    app: Router,
) {
    let app = TowerToHyperService::new(app);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(address));
        app.call(request)
    });
    // What ends a connection early is the caller's; what it asked for is told by its answers.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

#[cfg(test)]
mod tests;
