//! Peers that flood, stall and drip, against a door with one answer behind it.

use axum::routing::get;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use tokio::io::AsyncReadExt as _;

use super::super::authority::{CA_FILE, init, tests::NOW};
use super::*;

struct Door {
    address: SocketAddr,
    keys: tempfile::TempDir,
}

async fn door(is_encrypted: bool) -> Door {
    let keys = tempfile::tempdir().unwrap();
    let tls = is_encrypted.then(|| {
        init(keys.path(), &["bench.lab".into()], &[], NOW).unwrap();
        Tls::read(keys.path(), NOW).unwrap()
    });
    let app = Router::new().route("/", get(|| async { "alive" }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(keep(listener, app, tls));
    Door { address, keys }
}

impl Door {
    async fn dial(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// What comes back for these bytes, to the end of the connection.
    async fn answer(&self, bytes: &[u8]) -> String {
        said(self.dial().await, bytes).await
    }

    /// Asks over TLS, trusting the authority of the folder of keys.
    async fn answer_encrypted(&self) -> String {
        let mut roots = rustls::RootCertStore::empty();
        let ca = std::fs::read(self.keys.path().join(CA_FILE)).unwrap();
        let ca = rustls::pki_types::CertificateDer::from_pem_slice(&ca).unwrap();
        roots.add(ca).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("bench.lab").unwrap();
        let stream = connector.connect(name, self.dial().await).await.unwrap();
        said(stream, ASK).await
    }
}

const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: bench.lab\r\nConnection: close\r\n\r\n";

/// Sends bytes and reads to the end; an end that is abrupt is an end, too.
async fn said(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> String {
    let mut answer = Vec::new();
    let _ = stream.write_all(bytes).await;
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_page_with_keys_is_served_encrypted_and_says_so_to_whoever_comes_without() {
    let door = door(true).await;
    let answer = door.answer_encrypted().await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("alive"),
        "{answer}"
    );
    let answer = door.answer(ASK).await;
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.contains("https://"),
        "{answer}"
    );
}

#[tokio::test]
async fn callers_that_stall_hold_nobody_else_up_and_have_no_more_places_than_one_address_may() {
    for is_encrypted in [false, true] {
        let door = door(is_encrypted).await;
        let mut held = Vec::new();
        // Half of them say nothing, half begin something.
        for n in 0..CONNECTIONS_OF_ONE_MAX - 1 {
            let mut stream = door.dial().await;
            if n.is_multiple_of(2) {
                let begun: &[u8] = if is_encrypted {
                    &[HANDSHAKE, 3, 1]
                } else {
                    b"GET / HT"
                };
                stream.write_all(begun).await.unwrap();
            }
            held.push(stream);
        }
        let ask = async || {
            if is_encrypted {
                door.answer_encrypted().await
            } else {
                door.answer(ASK).await
            }
        };
        assert!(ask().await.ends_with("alive"), "one place is left");
        // The places of those that were answered are free again a little later than they know it, so
        // that some of these may come to nothing.
        let mut is_full = false;
        for _ in 0..8 {
            held.push(door.dial().await);
            is_full = is_full || door.answer(ASK).await.is_empty();
        }
        assert!(is_full, "no place is left, and that is told at once");
        held.clear();
        let ask_again = async {
            while !door.dial_is_answered(is_encrypted).await {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), ask_again)
            .await
            .expect("places are free again");
    }
}

impl Door {
    async fn dial_is_answered(&self, is_encrypted: bool) -> bool {
        // Whether encrypted or not, a plain question is answered, if there is a place.
        let expected = if is_encrypted {
            "HTTP/1.1 400"
        } else {
            "HTTP/1.1 200"
        };
        self.answer(ASK).await.starts_with(expected)
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_too_long_for_keys_or_for_a_request_is_sent_away() {
    for (is_encrypted, bytes, within) in [
        (true, &b""[..], HANDSHAKE_WITHIN),
        (true, &[HANDSHAKE, 3, 1, 1, 0][..], HANDSHAKE_WITHIN),
        (false, b"", HEAD_WITHIN),
        (false, b"GET / HTTP/1.1\r\nHost: bench.lab\r\n", HEAD_WITHIN),
        // Answered, and then silent.
        (
            false,
            b"GET / HTTP/1.1\r\nHost: bench.lab\r\n\r\n",
            HEAD_WITHIN,
        ),
    ] {
        let door = door(is_encrypted).await;
        let began = tokio::time::Instant::now();
        let answer = timeout(within * 3, door.answer(bytes)).await;
        assert!(answer.is_ok(), "{bytes:?} is still there");
        let took = began.elapsed();
        assert!(took >= within && took < within * 2, "{bytes:?}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_drips_is_not_longer_alive_than_one_that_is_silent() {
    let door = door(false).await;
    let mut stream = door.dial().await;
    let began = tokio::time::Instant::now();
    let dripping = async {
        let letters = b"GET / HTTP/1.1\r\nX: "
            .iter()
            .chain(std::iter::repeat(&b'a'));
        for letter in letters {
            if stream.write_all(&[*letter]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    timeout(HEAD_WITHIN * 3, dripping)
        .await
        .expect("it is sent away");
    assert!(began.elapsed() >= HEAD_WITHIN);
}

#[tokio::test]
async fn heads_without_end_and_headers_without_number_are_refused() {
    let door = door(false).await;
    let long = format!(
        "GET / HTTP/1.1\r\nX: {}\r\n\r\n",
        "a".repeat(2 * HEAD_BYTES_MAX)
    );
    let many = format!(
        "GET / HTTP/1.1\r\n{}\r\n",
        "X: y\r\n".repeat(HEADERS_MAX + 1)
    );
    for request in [long, many] {
        let answer = door.answer(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    assert!(door.answer(ASK).await.ends_with("alive"));
}
