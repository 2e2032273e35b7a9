//! The page and the HTTP API: what the lab sees, and the few things it may ask for.
//!
//! Reading needs no right. `safe` is always allowed. Everything else needs the token. A command
//! becomes a [`model::Order`] and so a proposal that is arbitrated and limited like any other: there
//! is no second road to the hardware.
//!
//! It is not responsible for what is shown (see [`crate::view`]), nor for TLS, which is not built
//! yet: [`check_listen`] therefore refuses to listen beyond the own machine.

mod alarms;
mod answer;
mod command;
mod guard;
mod lock;
mod metrics;
mod past;
#[cfg(test)]
mod tests;
pub mod wire;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{self, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use futures_util::Stream;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::MissedTickBehavior;

use crate::alarm::Alarms;
use crate::lease::Lease;
use crate::view::LiveView;
use answer::{Problem, json};

pub use command::WebCommand;
pub use guard::{Access, check_listen};
pub use past::Runs;

/// Largest body of a request, in bytes. Chosen: 4 KiB; the longest command takes 100 bytes.
const BODY_BYTES_MAX: usize = 4_096;
/// Streams at a time. Chosen: 32, a lab full of walls; each costs one small task.
const STREAMS_MAX: usize = 32;
/// Time between two states on a stream: twice a second reads well on a wall.
const STATE_EVERY: Duration = Duration::from_millis(500);

/// What every handler can reach.
#[derive(Clone)]
struct Desk {
    view: Arc<LiveView>,
    commands: mpsc::Sender<WebCommand>,
    access: Arc<Access>,
    lease: Lease,
    alarms: Alarms,
    runs: Runs,
    streams: Arc<Semaphore>,
}

/// A route: method, path, handler. The OpenAPI document lists the same ones, which a test compares.
type Route = (&'static str, &'static str, MethodRouter<Desk>);

/// All routes.
fn routes() -> Vec<Route> {
    vec![
        ("get", "/", get(|| file(HTML))),
        ("get", "/app.js", get(|| file(SCRIPT))),
        ("get", "/charts.js", get(|| file(CHARTS))),
        ("get", "/diagram.js", get(|| file(DIAGRAM))),
        ("get", "/style.css", get(|| file(STYLE))),
        ("get", "/metrics", get(metrics_page)),
        ("get", "/api/v1/openapi.json", get(|| file(OPENAPI))),
        ("get", "/api/v1/state", get(state)),
        ("get", "/api/v1/devices", get(devices)),
        ("get", "/api/v1/modes", get(modes)),
        ("get", "/api/v1/arming", get(arming)),
        ("get", "/api/v1/lock", get(lock::who)),
        ("get", "/api/v1/dispatches", get(dispatches)),
        ("get", "/api/v1/market", get(market)),
        ("get", "/api/v1/services", get(services)),
        ("get", "/api/v1/ledger", get(ledger)),
        ("get", "/api/v1/alarms", get(alarms::list)),
        ("get", "/api/v1/events", get(past::events)),
        ("get", "/api/v1/history", get(past::history)),
        ("get", "/api/v1/runs", get(past::runs)),
        ("get", "/api/v1/stream", get(stream)),
        ("post", "/api/v1/safe", post(command::safe)),
        ("post", "/api/v1/lock/take", post(lock::take)),
        ("post", "/api/v1/lock/drop", post(lock::give_back)),
        ("post", "/api/v1/acknowledge", post(alarms::acknowledge)),
        ("post", "/api/v1/arm", post(command::arm)),
        ("post", "/api/v1/disarm", post(command::disarm)),
        (
            "post",
            "/api/v1/mode",
            post(command::wish::<command::ModeBody>),
        ),
        (
            "post",
            "/api/v1/hold",
            post(command::wish::<command::HoldBody>),
        ),
        (
            "post",
            "/api/v1/release",
            post(command::wish::<command::ReleaseBody>),
        ),
        (
            "post",
            "/api/v1/agreement",
            post(command::wish::<command::AgreementBody>),
        ),
        (
            "post",
            "/api/v1/hand_over",
            post(command::wish::<command::HandOverBody>),
        ),
        (
            "post",
            "/api/v1/signal",
            post(command::wish::<command::SignalBody>),
        ),
        (
            "post",
            "/api/v1/baseline",
            post(command::wish::<command::BaselineBody>),
        ),
    ]
}

struct Asset {
    kind: &'static str,
    text: &'static str,
}

const HTML: Asset = Asset {
    kind: "text/html; charset=utf-8",
    text: include_str!("../../../../dashboards/web/index.html"),
};
const SCRIPT: Asset = Asset {
    kind: "text/javascript; charset=utf-8",
    text: include_str!("../../../../dashboards/web/app.js"),
};
const CHARTS: Asset = Asset {
    kind: "text/javascript; charset=utf-8",
    text: include_str!("../../../../dashboards/web/charts.js"),
};
const DIAGRAM: Asset = Asset {
    kind: "text/javascript; charset=utf-8",
    text: include_str!("../../../../dashboards/web/diagram.js"),
};
const STYLE: Asset = Asset {
    kind: "text/css; charset=utf-8",
    text: include_str!("../../../../dashboards/web/style.css"),
};
const OPENAPI: Asset = Asset {
    kind: "application/json",
    text: include_str!("../../../../dashboards/web/openapi.json"),
};

async fn file(asset: Asset) -> Response {
    (
        [(CONTENT_TYPE, asset.kind), (CACHE_CONTROL, "no-cache")],
        asset.text,
    )
        .into_response()
}

/// The application, ready to be served.
fn app(
    view: Arc<LiveView>,
    commands: mpsc::Sender<WebCommand>,
    access: Access,
    lease: Lease,
    alarms: Alarms,
    runs: Runs,
) -> Router {
    let desk = Desk {
        view,
        commands,
        access: Arc::new(access),
        lease,
        alarms,
        runs,
        streams: Arc::new(Semaphore::new(STREAMS_MAX)),
    };
    routes()
        .into_iter()
        .fold(Router::new(), |router, (_, path, handler)| {
            router.route(path, handler)
        })
        .fallback(answer::no_such_page)
        .method_not_allowed_fallback(answer::no_such_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(axum::middleware::from_fn_with_state(
            desk.clone(),
            guard::watch,
        ))
        .with_state(desk)
}

/// Serves page and API until the listener fails; drop the future to end it.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    view: Arc<LiveView>,
    commands: mpsc::Sender<WebCommand>,
    access: Access,
    lease: Lease,
    alarms: Alarms,
    runs: Runs,
) -> std::io::Result<()> {
    axum::serve(listener, app(view, commands, access, lease, alarms, runs)).await
}

async fn metrics_page(State(desk): State<Desk>) -> Response {
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        metrics::page(&desk.view, &desk.alarms.view()),
    )
        .into_response()
}

async fn state(State(desk): State<Desk>) -> Response {
    json(&wire::State::of(&desk.view))
}

async fn devices(State(desk): State<Desk>) -> Response {
    json(&wire::devices(&desk.view))
}

async fn modes(State(desk): State<Desk>) -> Response {
    json(&wire::Modes::of(&desk.view))
}

async fn arming(State(desk): State<Desk>) -> Response {
    json(&wire::Arming::of(&desk.view))
}

async fn dispatches(State(desk): State<Desk>) -> Response {
    json(&wire::dispatches(&desk.view))
}

async fn market(State(desk): State<Desk>) -> Response {
    json(&wire::market(&desk.view))
}

async fn services(State(desk): State<Desk>) -> Response {
    json(&wire::services(&desk.view))
}

async fn ledger(State(desk): State<Desk>) -> Response {
    json(&wire::ledger(&desk.view))
}

/// A state twice a second, and each event as soon as it happened. A reader that was cut off says the
/// number of its last event and gets those that it missed.
async fn stream(State(desk): State<Desk>, headers: HeaderMap) -> Response {
    let Ok(seat) = Arc::clone(&desk.streams).try_acquire_owned() else {
        return Problem {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "too_many_streams",
            message: format!("{STREAMS_MAX} readers follow the stream already"),
            help: "close one of them, or poll /api/v1/state",
        }
        .into_response();
    };
    let seen = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.parse().ok());
    let stream = frames(desk.view, seen);
    // The seat is held as long as the stream lives.
    let stream = futures_util::StreamExt::map(stream, move |frame| {
        let _held = &seat;
        frame
    });
    Sse::new(stream)
        .keep_alive(sse::KeepAlive::default())
        .into_response()
}

/// The frames of one stream; `seen` is the number of the last event that the reader has.
fn frames(
    view: Arc<LiveView>,
    seen: Option<u64>,
) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    let mut ticks = tokio::time::interval(STATE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut news = view.news();
    let latest = *news.borrow_and_update();
    // A number from a former run is larger than any of this one: such a reader starts anew.
    let seen = seen.filter(|n| *n <= latest).unwrap_or(latest);
    if seen < latest {
        news.mark_changed();
    }
    let start = (view, ticks, news, seen, Vec::new());
    futures_util::stream::unfold(
        start,
        |(view, mut ticks, mut news, mut seen, mut queue)| async move {
            loop {
                if let Some(event) = queue.pop() {
                    let event: wire::Event = event;
                    seen = event.seq;
                    let frame = sse::Event::default()
                        .event("event")
                        .id(event.seq.to_string())
                        .data(answer::text(&event));
                    return Some((Ok(frame), (view, ticks, news, seen, queue)));
                }
                tokio::select! {
                    changed = news.changed() => {
                        // The sender lives in the view, which this stream holds.
                        if changed.is_err() { return None; }
                        queue = wire::events_after(&view, seen);
                        queue.reverse();
                    }
                    _ = ticks.tick() => {
                        let frame = sse::Event::default()
                            .event("state")
                            .data(answer::text(&wire::State::of(&view)));
                        return Some((Ok(frame), (view, ticks, news, seen, queue)));
                    }
                }
            }
        },
    )
}
