//! Who has the bench: the lease over HTTP.
//!
//! Whoever commands says a name in the header `Gridrig-Holder`; without one it is that of the token in
//! the tokens file, or "the page". The name is no secret and proves nothing: it keeps people with the
//! same token from each other's tests.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::Desk;
use super::answer::Problem;
use super::command::{Body, parse};
use crate::lease::{Held, LEASE_USUAL, NAME_CHARS_MAX};

/// The header with the name of whoever commands.
pub(super) const HOLDER: &str = "gridrig-holder";
/// Who commands without a name.
const NAMELESS: &str = "the page";

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LeaseBody {
    /// For how long, in seconds.
    for_s: Option<f64>,
}

/// The name of whoever asks.
pub(super) fn holder(headers: &HeaderMap) -> String {
    let given = headers.get(HOLDER).and_then(|name| name.to_str().ok());
    let name: String = given
        .unwrap_or(NAMELESS)
        .trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(NAME_CHARS_MAX)
        .collect();
    if name.is_empty() {
        NAMELESS.to_owned()
    } else {
        name
    }
}

/// For how long the bench is wanted; an empty body leaves it at what is usual.
fn wanted(body: Body) -> Result<Duration, Problem> {
    let is_empty = body.as_ref().is_ok_and(|bytes| bytes.is_empty());
    let asked = if is_empty {
        LeaseBody::default()
    } else {
        parse::<LeaseBody>(body)?
    };
    let Some(seconds) = asked.for_s else {
        return Ok(LEASE_USUAL);
    };
    let time = Duration::try_from_secs_f64(seconds).ok();
    time.filter(|time| !time.is_zero()).ok_or_else(|| Problem {
        status: StatusCode::BAD_REQUEST,
        code: "bad_time",
        message: "a lease lasts for some time".into(),
        help: "give the seconds, such as {\"for_s\": 600}",
    })
}

/// Takes or renews the lease for whoever asks.
pub(super) fn taken(desk: &Desk, headers: &HeaderMap, body: Body) -> Result<Held, Problem> {
    let time = wanted(body)?;
    desk.lease
        .take(&holder(headers), time)
        .map_err(|held| held_by(desk, &held))
}

/// Whether whoever asks may command.
pub(super) fn check(desk: &Desk, headers: &HeaderMap) -> Result<(), Problem> {
    desk.lease
        .may_command(&holder(headers))
        .map_err(|held| held_by(desk, &held))
}

fn held_by(desk: &Desk, held: &Held) -> Problem {
    let left = desk.lease.left().unwrap_or_default();
    Problem {
        status: StatusCode::LOCKED,
        code: "locked",
        message: format!("{} has the bench for another {} s", held.by, left.as_secs()),
        help: "wait, or ask whoever has it for `gridrig lock drop`; `gridrig safe` always works",
    }
}

fn told(desk: &Desk) -> Response {
    let held = desk.lease.who();
    let left_s = desk.lease.left().map(|left| left.as_secs_f64());
    Json(serde_json::json!({
        "holder": held.map(|held| held.by),
        "left_s": left_s,
    }))
    .into_response()
}

pub(super) async fn who(State(desk): State<Desk>) -> Response {
    told(&desk)
}

pub(super) async fn take(
    State(desk): State<Desk>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    taken(&desk, &headers, body)?;
    Ok((StatusCode::ACCEPTED, told(&desk)).into_response())
}

pub(super) async fn give_back(
    State(desk): State<Desk>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    desk.lease
        .give_back(&holder(&headers))
        .map_err(|held| held_by(&desk, &held))?;
    Ok((StatusCode::ACCEPTED, told(&desk)).into_response())
}
