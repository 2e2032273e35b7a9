//! What the server answers, asked through a real socket by a hand-written client.

use std::sync::Arc;
use std::time::Duration;

use model::{DeviceIx, ModeRequest, Order, Role, Setpoint, UtcTime};
use quantities::{ActivePower, Bounds, ReactivePower};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::view::BusView;
use crate::view::tests::{bench_view, cycle_of, dispatched, stale_cycle};

mod commands;
mod contract;
mod metrics;
mod past;
mod reach;
mod roles;
mod stream;
mod trade;

struct Server {
    address: std::net::SocketAddr,
    view: Arc<LiveView>,
    commands: mpsc::Receiver<WebCommand>,
    alarms: Alarms,
    bids: BidQueue,
}

/// A bench that watches the charge of its storage, which is calm.
fn charge_alarm() -> Alarms {
    use crate::alarm::{AlarmSpec, Quantity, Severity, Side, Source};
    let low_charge = AlarmSpec {
        name: "low charge".into(),
        source: Source::Bench,
        signal: "bench.soc".into(),
        quantity: Quantity::Soc,
        side: Side::Below,
        limit: 0.2,
        clears: 0.2,
        lasting: Duration::ZERO,
        silent: None,
        severity: Severity::Error,
    };
    Alarms::of(&[low_charge], model::Instant::START)
}

async fn server(token: Option<&str>, queue: usize) -> Server {
    server_beside(token, queue, std::path::Path::new("no-run")).await
}

async fn server_beside(token: Option<&str>, queue: usize, here: &std::path::Path) -> Server {
    let tokens = Tokens::one(token.map(String::from));
    server_of(tokens, None, true, queue, here).await
}

/// A server; one that others reach believes so, but listens on loopback as any other here.
async fn server_of(
    tokens: Tokens,
    tls: Option<Tls>,
    loopback: bool,
    queue: usize,
    here: &std::path::Path,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let view = Arc::new(bench_view());
    let (tx, commands) = mpsc::channel(queue);
    let mut believed = address;
    if !loopback {
        believed.set_ip([10, 1, 0, 5].into());
    }
    let access = Access {
        address: believed,
        tokens,
        tls,
    };
    let lease = Lease::new(Arc::new(crate::clock::SimClock::start()));
    let runs = Runs::beside(here.to_owned());
    let alarms = charge_alarm();
    let bids = BidQueue::default();
    let hall = Hall {
        view: Arc::clone(&view),
        commands: tx,
        access,
        lease,
        alarms: alarms.clone(),
        runs,
        bids: Some(bids.clone()),
    };
    tokio::spawn(serve(listener, hall));
    Server {
        address,
        view,
        commands,
        alarms,
        bids,
    }
}

/// Status and body of an answer to a raw request.
async fn raw(server: &Server, request: String) -> (u16, String) {
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    (status, body)
}

async fn ask(
    server: &Server,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> (u16, String) {
    let host = if headers.to_ascii_lowercase().contains("host:") {
        String::new()
    } else {
        format!("Host: {}\r\n", server.address)
    };
    let length = body.len();
    let answer = raw(
        server,
        format!(
            "{method} {path} HTTP/1.1\r\n{host}{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        ),
    )
    .await;
    check_is_documented(method, path, answer.0);
    answer
}

/// What a call answers is among what the OpenAPI document says of it, whoever asks it for whatever.
#[track_caller]
fn check_is_documented(method: &str, path: &str, status: u16) {
    let document: serde_json::Value = serde_json::from_str(OPENAPI.text).unwrap();
    let path = path.split('?').next().unwrap_or(path);
    let is_it = |template: &str| {
        let (asked, told) = (path.split('/'), template.split('/'));
        asked.clone().count() == told.clone().count()
            && asked.zip(told).all(|(a, t)| a == t || t.starts_with('{'))
    };
    let mut paths = document["paths"].as_object().unwrap().iter();
    let operation = paths
        .find(|(template, _)| *template == path)
        .or_else(|| {
            let mut paths = document["paths"].as_object().unwrap().iter();
            paths.find(|(template, _)| is_it(template))
        })
        .map(|(_, methods)| &methods[method.to_lowercase()]);
    // What the server has not is not told of.
    let Some(told) = operation.and_then(|operation| operation["responses"].as_object()) else {
        return;
    };
    let told: Vec<&str> = told.keys().map(String::as_str).collect();
    assert!(
        told.contains(&status.to_string().as_str()),
        "{method} {path} answers {status}, told of are {told:?}"
    );
}

fn code_of(body: &str) -> String {
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    assert!(!problem["message"].as_str().unwrap().is_empty());
    assert!(!problem["help"].as_str().unwrap().is_empty());
    problem["code"].as_str().unwrap().to_owned()
}
