//! The page and the HTTP API: what the lab sees, and the few things it may ask for.
//!
//! On this machine reading needs no right; beyond it all needs a token, over TLS. `safe` is always
//! allowed. Each route says which role it needs (`guard`). A command becomes a [`model::Order`] and
//! so a proposal that is arbitrated and limited like any other: there is no second road to the hardware.
//!
//! It is not responsible for what is shown (see [`crate::view`]).

mod alarms;
mod answer;
pub mod authority;
mod command;
mod door;
mod explorer;
mod guard;
mod ledger;
mod lock;
mod login;
mod metrics;
mod moment;
mod orders;
mod past;
mod patience;
mod readings;
pub mod secret;
#[cfg(test)]
mod tests;
mod tls;
mod tokens;
pub mod wire;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::sse::{self, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use futures_util::Stream;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::MissedTickBehavior;

use crate::alarm::Alarms;
use crate::desk::BidQueue;
use crate::lease::Lease;
use crate::view::LiveView;
use answer::{Problem, json};
use guard::{Guard, Need};

pub use command::WebCommand;
pub use guard::{Access, check_listen};
pub use past::Runs;
pub use tls::Tls;
pub use tokens::{Role, Tokens};

/// Largest body of a request, in bytes. Chosen: 4 KiB; the longest command takes 100 bytes.
const BODY_BYTES_MAX: usize = 4_096;
/// Streams at a time. Chosen: 32, a lab full of walls; each costs one small task.
const STREAMS_MAX: usize = 32;
/// States a second on a stream that does not ask for another rate: twice reads well on a wall.
const STATES_PER_S: u32 = 2;
/// Most states a second on a stream: one for each cycle of a usual bench.
const STATES_PER_S_MAX: u32 = 10;

/// What every handler can reach.
#[derive(Clone)]
struct Desk {
    view: Arc<LiveView>,
    commands: mpsc::Sender<WebCommand>,
    guard: Arc<Guard>,
    lease: Lease,
    alarms: Alarms,
    runs: Runs,
    bids: Option<BidQueue>,
    streams: Arc<Semaphore>,
    latest: Latest,
}

/// The state of a cycle as text, made once for all streams: its number, and the text.
type Latest = Arc<Mutex<Option<(u64, Arc<str>)>>>;

/// What page and API show and reach.
pub struct Hall {
    /// What is shown.
    pub view: Arc<LiveView>,
    /// Where commands go.
    pub commands: mpsc::Sender<WebCommand>,
    /// Who may ask for what.
    pub access: Access,
    /// Who has the bench.
    pub lease: Lease,
    /// What a person shall look at.
    pub alarms: Alarms,
    /// The runs of before.
    pub runs: Runs,
    /// Where orders of the market go; `None` without a market.
    pub bids: Option<BidQueue>,
}

/// A route: method, path, what it needs, handler. The OpenAPI document lists the same ones with their
/// needs, which a test compares.
type Route = (&'static str, &'static str, Need, MethodRouter<Desk>);

/// All routes.
fn routes() -> Vec<Route> {
    use command::{
        AgreementBody, BaselineBody, HandOverBody, HoldBody, ModeBody, ReleaseBody, SignalBody,
        wish,
    };
    const OPERATE: Need = Need::Have(Role::Operate);
    let free = [
        ("/app.js", SCRIPT),
        ("/elements.js", ELEMENTS),
        ("/charts.js", CHARTS),
        ("/past.js", PAST),
        ("/chart.umd.js", LIBRARY),
        ("/diagram.js", DIAGRAM),
        ("/market.js", MARKET),
        ("/ledger.js", LEDGER),
        ("/style.css", STYLE),
        ("/api/v1/openapi.json", OPENAPI),
    ];
    let free = free.map(|(path, asset)| ("get", path, Need::Nothing, get(move || file(asset))));
    let mut routes: Vec<Route> = vec![
        ("get", "/", Need::Page, get(|| file(HTML))),
        ("get", "/login", Need::Nothing, get(login::page)),
        ("post", "/login", Need::Nothing, post(login::sign_in)),
        ("post", "/logout", Need::Nothing, post(login::sign_out)),
        ("get", "/metrics", Need::Look, get(metrics_page)),
        ("get", "/api/v1/access", Need::Nothing, get(login::access)),
        ("get", "/api/v1/state", Need::Look, get(state)),
        ("get", "/api/v1/devices", Need::Look, get(devices)),
        ("get", "/api/v1/modes", Need::Look, get(modes)),
        ("get", "/api/v1/arming", Need::Look, get(arming)),
        ("get", "/api/v1/lock", Need::Look, get(lock::who)),
        ("get", "/api/v1/dispatches", Need::Look, get(dispatches)),
        ("get", "/api/v1/market", Need::Look, get(market)),
        ("get", "/api/v1/services", Need::Look, get(services)),
        ("get", "/api/v1/ledger", Need::Look, get(ledger::list)),
        (
            "get",
            "/api/v1/ledger/{atom}",
            Need::Look,
            get(ledger::entry),
        ),
        ("get", "/api/v1/alarms", Need::Look, get(alarms::list)),
        ("get", "/api/v1/events", Need::Look, get(past::events)),
        ("get", "/api/v1/history", Need::Look, get(past::history)),
        ("get", "/api/v1/runs", Need::Look, get(past::runs)),
        ("get", "/api/v1/stream", Need::Look, get(stream)),
        ("post", "/api/v1/safe", Need::Nothing, post(command::safe)),
        (
            "post",
            "/api/v1/market/orders",
            Need::Have(Role::Bid),
            post(orders::order),
        ),
        (
            "post",
            "/api/v1/market/readings",
            OPERATE,
            post(readings::reading),
        ),
        ("post", "/api/v1/lock/take", OPERATE, post(lock::take)),
        ("post", "/api/v1/lock/drop", OPERATE, post(lock::give_back)),
        (
            "post",
            "/api/v1/acknowledge",
            OPERATE,
            post(alarms::acknowledge),
        ),
        (
            "post",
            "/api/v1/arm",
            Need::Have(Role::Arm),
            post(command::arm),
        ),
        ("post", "/api/v1/disarm", OPERATE, post(command::disarm)),
        ("post", "/api/v1/mode", OPERATE, post(wish::<ModeBody>)),
        ("post", "/api/v1/hold", OPERATE, post(wish::<HoldBody>)),
        (
            "post",
            "/api/v1/release",
            OPERATE,
            post(wish::<ReleaseBody>),
        ),
        (
            "post",
            "/api/v1/agreement",
            OPERATE,
            post(wish::<AgreementBody>),
        ),
        (
            "post",
            "/api/v1/hand_over",
            OPERATE,
            post(wish::<HandOverBody>),
        ),
        ("post", "/api/v1/signal", OPERATE, post(wish::<SignalBody>)),
        (
            "post",
            "/api/v1/baseline",
            OPERATE,
            post(wish::<BaselineBody>),
        ),
    ];
    routes.extend(free);
    routes
}

#[derive(Clone, Copy)]
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
const ELEMENTS: Asset = Asset {
    kind: "text/javascript; charset=utf-8",
    text: include_str!("../../../../dashboards/web/elements.js"),
};
const CHARTS: Asset = Asset {
    kind: "text/javascript; charset=utf-8",
    text: include_str!("../../../../dashboards/web/charts.js"),
};
const PAST: Asset = Asset {
    kind: "text/javascript; charset=utf-8",
    text: include_str!("../../../../dashboards/web/past.js"),
};
/// Chart.js, out of the crate that carries it: see `build.rs`.
const LIBRARY: Asset = Asset {
    kind: "text/javascript; charset=utf-8",
    text: include_str!(concat!(env!("OUT_DIR"), "/chart.umd.js")),
};
const DIAGRAM: Asset = Asset {
    kind: "text/javascript; charset=utf-8",
    text: include_str!("../../../../dashboards/web/diagram.js"),
};
const MARKET: Asset = Asset {
    kind: "text/javascript; charset=utf-8",
    text: include_str!("../../../../dashboards/web/market.js"),
};
const LEDGER: Asset = Asset {
    kind: "text/javascript; charset=utf-8",
    text: include_str!("../../../../dashboards/web/ledger.js"),
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
fn app(hall: Hall) -> Router {
    let Hall {
        view,
        commands,
        access,
        lease,
        alarms,
        runs,
        bids,
    } = hall;
    let desk = Desk {
        view,
        commands,
        guard: Arc::new(Guard::new(access, lease.clock())),
        lease,
        alarms,
        runs,
        bids,
        streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        latest: Latest::default(),
    };
    routes()
        .into_iter()
        .fold(Router::new(), |router, (_, path, need, handler)| {
            let admit = from_fn_with_state((desk.clone(), need), guard::admit);
            router.route(path, handler.route_layer(admit))
        })
        .fallback(answer::no_such_page)
        .method_not_allowed_fallback(answer::no_such_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(desk.clone(), guard::watch))
        .with_state(desk)
}

/// Serves page and API; drop the future to end it.
pub async fn serve(listener: TcpListener, hall: Hall) {
    let tls = hall.access.tls.clone();
    door::keep(listener, app(hall), tls).await;
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
    json(&wire::markets(&desk.view))
}

async fn services(State(desk): State<Desk>) -> Response {
    json(&wire::services(&desk.view))
}

/// The state as text; within a cycle everybody gets the same.
fn state_text(view: &LiveView, latest: &Latest) -> Arc<str> {
    let n = view.cycles();
    let mut kept = latest.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, text)) = kept.as_ref().filter(|(of, _)| n == Some(*of)) {
        return Arc::clone(text);
    }
    let text: Arc<str> = answer::text(&wire::State::of(view)).into();
    *kept = n.map(|n| (n, Arc::clone(&text)));
    text
}

/// How often a stream tells the state: `hz=N`, a whole number.
fn rate(query: &str) -> Result<u32, Problem> {
    let parts = past::parts_of(query, &["hz"])?;
    let Some((_, asked)) = parts.last() else {
        return Ok(STATES_PER_S);
    };
    let rate = asked.parse().ok();
    let rate = rate.filter(|hz| (1..=STATES_PER_S_MAX).contains(hz));
    rate.ok_or_else(|| {
        let message = format!("`hz` is {asked:?}");
        past::wrong(message, "give a whole number from 1 to 10")
    })
}

/// A state twice a second or as often as is asked for, and each event as soon as it happened. A reader that was cut off says the
/// number of its last event and gets those that it missed.
async fn stream(
    State(desk): State<Desk>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let rate = match rate(&query.unwrap_or_default()) {
        Ok(rate) => rate,
        Err(problem) => return problem.into_response(),
    };
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
    let stream = frames(desk.view, desk.latest, rate, seen);
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
    latest_text: Latest,
    rate: u32,
    seen: Option<u64>,
) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut news = view.news();
    let latest = *news.borrow_and_update();
    // A number from a former run is larger than any of this one: such a reader starts anew.
    let seen = seen.filter(|n| *n <= latest).unwrap_or(latest);
    if seen < latest {
        news.mark_changed();
    }
    let start = (view, latest_text, ticks, news, seen, Vec::new());
    futures_util::stream::unfold(
        start,
        |(view, latest_text, mut ticks, mut news, mut seen, mut queue)| async move {
            loop {
                if let Some(event) = queue.pop() {
                    let event: wire::Event = event;
                    seen = event.seq;
                    let frame = sse::Event::default()
                        .event("event")
                        .id(event.seq.to_string())
                        .data(answer::text(&event));
                    return Some((Ok(frame), (view, latest_text, ticks, news, seen, queue)));
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
                            .data(state_text(&view, &latest_text));
                        return Some((Ok(frame), (view, latest_text, ticks, news, seen, queue)));
                    }
                }
            }
        },
    )
}
