//! Signing in with a browser: a token once, then a cookie for a day's work.
//!
//! The cookie holds a number that was drawn, not the token; it is no script's to read, travels
//! encrypted only and never with a request that another site caused. The form works without a script.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::Json;
use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use model::Instant;
use serde::Deserialize;

use super::answer::Problem;
use super::command::Body;
use super::door::Peer;
use super::tokens::Bearer;
use super::{Desk, secret};

/// How long somebody stays signed in. Chosen: 12 h, a working day with its evening.
const STAYS: Duration = Duration::from_secs(12 * 3600);
/// How many may be signed in. Chosen: 256; beyond, whose time is over first has to sign in again.
const SIGNED_IN_MAX: usize = 256;
/// Bytes of the number in a cookie. Chosen: 32, which nobody guesses.
const BYTES: usize = 32;

/// The form, with a place for what is said above it.
const PAGE: &str = include_str!("../../../../dashboards/web/login.html");
/// That place.
const SAID: &str = "<!--said-->";

/// Everybody who is signed in.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_number: Mutex<BTreeMap<String, (Bearer, Instant)>>,
}

impl Sessions {
    fn begin(&self, bearer: Bearer, now: Instant) -> std::io::Result<String> {
        let number = secret::drawn::<BYTES>()?;
        let mut all = self
            .by_number
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (_, until)| *until > now);
        if all.len() >= SIGNED_IN_MAX
            && let Some(first) = all.iter().min_by_key(|(_, (_, until))| *until)
        {
            let first = first.0.clone();
            all.remove(&first);
        }
        all.insert(number.clone(), (bearer, now + STAYS));
        Ok(number)
    }

    /// Whom the cookie of a request belongs to.
    pub(super) fn bearer(&self, name: &str, headers: &HeaderMap, now: Instant) -> Option<Bearer> {
        let all = self
            .by_number
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (bearer, until) = all.get(cookie(name, headers)?)?;
        (*until > now).then(|| bearer.clone())
    }

    fn end(&self, name: &str, headers: &HeaderMap) {
        if let Some(number) = cookie(name, headers) {
            let mut all = self
                .by_number
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            all.remove(number);
        }
    }
}

fn cookie<'a>(name: &str, headers: &'a HeaderMap) -> Option<&'a str> {
    let all = headers.get_all(COOKIE).iter();
    let pairs = all
        .filter_map(|c| c.to_str().ok())
        .flat_map(|c| c.split(';'));
    let mut named = pairs.filter_map(|pair| pair.trim().split_once('='));
    named.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// The form with a sentence above it, which is ours and never a caller's.
pub(super) fn form(status: StatusCode, said: &'static str) -> Response {
    let said = match said {
        "" => String::new(),
        said => format!("<p class=\"notice\" role=\"alert\">{said}</p>"),
    };
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
    ];
    (status, headers, PAGE.replace(SAID, &said)).into_response()
}

pub(super) async fn page() -> Response {
    form(StatusCode::OK, "")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoginBody {
    token: String,
}

/// The token of a form, as browsers send it.
fn token(body: Body) -> Option<String> {
    let bytes = body.ok()?;
    let query = std::str::from_utf8(&bytes).ok()?;
    let uri = Uri::builder().path_and_query(format!("/?{query}")).build();
    let Query(LoginBody { token }) = Query::try_from_uri(&uri.ok()?).ok()?;
    Some(token.trim().to_owned())
}

pub(super) async fn sign_in(
    State(desk): State<Desk>,
    Extension(Peer(peer)): Extension<Peer>,
    body: Body,
) -> Response {
    let Some(given) = token(body) else {
        return form(StatusCode::BAD_REQUEST, "The form was not understood.");
    };
    let bearer = match desk.guard.bearer(peer.ip(), &given) {
        Ok(bearer) => bearer,
        Err(problem) if problem.status == StatusCode::TOO_MANY_REQUESTS => {
            let said = "Too many wrong tokens came from your address. Wait a few seconds.";
            return form(problem.status, said);
        }
        Err(problem) => {
            let said = "This is not a token of this bench. Ask whoever keeps the bench for yours.";
            return form(problem.status, said);
        }
    };
    let number = match desk.guard.sessions.begin(bearer, desk.guard.now()) {
        Ok(number) => number,
        Err(e) => {
            tracing::error!(message = "Nobody can sign in: no number can be drawn.", %e);
            let said = "Nobody can sign in: look at the machine on which the bench runs.";
            return form(StatusCode::SERVICE_UNAVAILABLE, said);
        }
    };
    let cookie = desk.guard.set_cookie(&number, STAYS);
    let headers = [(SET_COOKIE, cookie), (LOCATION, "/".to_owned())];
    (StatusCode::SEE_OTHER, headers).into_response()
}

pub(super) async fn sign_out(State(desk): State<Desk>, headers: HeaderMap) -> Response {
    desk.guard.sessions.end(&desk.guard.cookie_name, &headers);
    let cookie = desk.guard.set_cookie("", Duration::ZERO);
    let headers = [(SET_COOKIE, cookie), (LOCATION, "/login".to_owned())];
    (StatusCode::SEE_OTHER, headers).into_response()
}

/// What whoever asks may do, for the page.
pub(super) async fn access(
    State(desk): State<Desk>,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let standing = desk.guard.standing(peer.ip(), &headers)?;
    let told = Json(serde_json::json!({
        "role": standing.bearer.as_ref().map(|bearer| bearer.role.name()),
        "name": standing.bearer.and_then(|bearer| bearer.name),
        "signed_in": standing.by_cookie,
    }));
    Ok(([(CACHE_CONTROL, "no-store")], told).into_response())
}
