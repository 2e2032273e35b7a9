//! Who may ask for what.
//!
//! A browser on this machine can be made to send requests by any page it shows. Two checks keep such
//! pages out: on loopback the `Host` must be this machine (a rebound name is not), and a request that
//! names an `Origin` must come from our own page. Neither hinders a program such as `curl`.
//!
//! What a request needs stands in the table of routes. On loopback reading needs nothing: whoever has
//! this machine has the bench. Beyond it all but the form to sign in needs a token, with one exception:
//! `safe` works for everybody, everywhere. A stop that first asks for a token is none, and who misuses
//! it stops a bench, which is written down with the address, but starts nothing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, LOCATION, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use document::{Actor, Diagnostic};
use model::{Clock, Instant};
use tokio::time::timeout;

use super::Desk;
use super::answer::Problem;
use super::door::Peer;
use super::login::Sessions;
use super::patience::Patience;
use super::tls::Tls;
use super::tokens::{Bearer, Role, Tokens};

/// How long a request may take, its body included. Chosen: 30 s; the longest question of the past
/// takes a few.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// What readers of this server may do.
#[derive(Clone, Debug)]
pub struct Access {
    /// Where the server listens: on loopback a foreign `Host` is refused, and reading is free.
    pub address: SocketAddr,
    /// Who may do what; without any the server is read-only, except for `safe`.
    pub tokens: Tokens,
    /// How it is encrypted, if it is.
    pub tls: Option<Tls>,
}

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing, wherever it comes from.
    Nothing,
    /// To be on this machine, or to have a token.
    Look,
    /// The same; a browser without is shown the form to sign in.
    Page,
    /// A token of this role or a higher one.
    Have(Role),
}

/// Who asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    pub(super) bearer: Option<Bearer>,
    /// Whether a cookie says so, which browsers send by themselves.
    pub(super) by_cookie: bool,
}

/// What decides who may do what, while the server runs.
pub(super) struct Guard {
    access: Access,
    clock: Arc<dyn Clock>,
    patience: Patience,
    pub(super) sessions: Sessions,
    /// Cookies do not heed ports: each bench of a machine has a name of its own.
    pub(super) cookie_name: String,
}

impl Guard {
    pub(super) fn new(access: Access, clock: Arc<dyn Clock>) -> Self {
        let port = access.address.port();
        // Browsers take a name of this form only encrypted and for this host alone (RFC 6265bis, 4.1.3.2).
        let prefix = if access.tls.is_some() { "__Host-" } else { "" };
        Self {
            cookie_name: format!("{prefix}gridrig-{port}"),
            access,
            clock,
            patience: Patience::default(),
            sessions: Sessions::default(),
        }
    }

    /// Control time: whoever is signed in, or was wrong, is so for a time of the bench.
    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    fn is_on_loopback(&self) -> bool {
        self.access.address.ip().is_loopback()
    }

    /// A cookie that lives so long.
    pub(super) fn set_cookie(&self, value: &str, lives: Duration) -> String {
        let secure = if self.access.tls.is_some() {
            "; Secure"
        } else {
            ""
        };
        format!(
            "{}={value}; Path=/; HttpOnly{secure}; SameSite=Strict; Max-Age={}",
            self.cookie_name,
            lives.as_secs()
        )
    }

    /// Whose token this is, unless too many wrong ones came from there.
    pub(super) fn bearer(&self, from: IpAddr, given: &str) -> Result<Bearer, Problem> {
        if !self.patience.is_left(from, self.now()) {
            return Err(Problem {
                status: StatusCode::TOO_MANY_REQUESTS,
                code: "too_many_wrong_tokens",
                message: format!("too many wrong tokens came from {from}"),
                help: "wait a few seconds; POST /api/v1/safe always works",
            });
        }
        self.access.tokens.bearer(given).ok_or_else(|| {
            self.patience.wrong(from, self.now());
            Problem {
                status: StatusCode::FORBIDDEN,
                code: "wrong_token",
                message: "this is not the token of this bench".into(),
                help: "ask whoever started the daemon for the token",
            }
        })
    }

    /// Who asks, by token or by cookie.
    pub(super) fn standing(&self, from: IpAddr, headers: &HeaderMap) -> Result<Standing, Problem> {
        if self.access.tokens.is_empty() {
            return Ok(Standing::default());
        }
        if let Some(given) = header(headers, AUTHORIZATION) {
            let bearer = given
                .split_once(' ')
                .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
            // What is no token at all is as wrong as one.
            let token = bearer.map_or("", |(_, token)| token.trim());
            return Ok(Standing {
                bearer: Some(self.bearer(from, token)?),
                by_cookie: false,
            });
        }
        let bearer = self.sessions.bearer(&self.cookie_name, headers, self.now());
        Ok(Standing {
            by_cookie: bearer.is_some(),
            bearer,
        })
    }

    /// Whether a request may pass; who it is that asks.
    fn admit(&self, need: Need, from: IpAddr, request: &Request) -> Result<Standing, Problem> {
        let role = match need {
            Need::Nothing => return Ok(Standing::default()),
            Need::Look | Need::Page if self.is_on_loopback() => return Ok(Standing::default()),
            Need::Look | Need::Page => Role::Observe,
            Need::Have(role) => role,
        };
        if self.access.tokens.is_empty() {
            return Err(Problem {
                status: StatusCode::FORBIDDEN,
                code: "read_only",
                message: "this server was started without a token, so it only shows".into(),
                help: "start the daemon with a token; POST /api/v1/safe always works",
            });
        }
        let standing = self.standing(from, request.headers())?;
        let Some(bearer) = &standing.bearer else {
            return Err(Problem {
                status: StatusCode::UNAUTHORIZED,
                code: "token_needed",
                message: format!("this needs a token with the role `{}`", role.name()),
                help: "send the header `Authorization: Bearer TOKEN`, or sign in at /login",
            });
        };
        if bearer.role < role {
            return Err(Problem {
                status: StatusCode::FORBIDDEN,
                code: "role_too_low",
                message: format!(
                    "this needs the role `{}`, and the token has the role `{}`",
                    role.name(),
                    bearer.role.name()
                ),
                help: "ask whoever keeps the bench; POST /api/v1/safe always works",
            });
        }
        // Every browser names the origin of what it changes; a request with a cookie and without an
        // origin was made by something else.
        let reads = *request.method() == Method::GET || *request.method() == Method::HEAD;
        if standing.by_cookie && !reads && !request.headers().contains_key(ORIGIN) {
            return Err(foreign_origin());
        }
        Ok(standing)
    }
}

/// Whether the page may be served at this address.
///
/// Beyond the own machine a token would travel in the clear without TLS, and without a token everybody
/// could command the bench.
///
/// # Errors
/// W001 when TLS or a token is missing for others, W002 when a token is none; what is wrong, and what
/// to do.
pub fn check_listen(
    addr: SocketAddr,
    tokens: &Tokens,
    is_encrypted: bool,
) -> Result<(), Box<Diagnostic>> {
    let loopback = addr.ip().is_loopback();
    if let Some(why) = tokens.fault(!loopback) {
        let what = format!("a token of the page {why}");
        return Err(Box::new(
            Diagnostic::error("W002", Actor::Operator, what).help(
                "give 16 or more letters and digits, or on loopback no token for a read-only page",
            ),
        ));
    }
    let lacks = match (is_encrypted, tokens.is_empty()) {
        _ if loopback => return Ok(()),
        (true, false) => return Ok(()),
        (false, true) => "it needs TLS and a token",
        (false, false) => "without TLS the token would travel in the clear",
        (true, true) => "without a token everybody there could command the bench",
    };
    Err(Box::new(
        Diagnostic::error(
            "W001",
            Actor::Operator,
            format!("the page cannot listen on {addr}, beyond this machine: {lacks}"),
        )
        .help(format!(
            "`gridrig init keys` makes both, then `--listen {addr} --tls keys --tokens keys/tokens.toml`; \
             or listen on 127.0.0.1:{port} and reach it by `ssh -L {port}:127.0.0.1:{port} HOST`",
            port = addr.port()
        )),
    ))
}

/// Headers of every answer: nothing from elsewhere is loaded, and nobody frames the page.
const HEADERS: &[(&str, &str)] = &[
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    // With `no-referrer` a browser would hide the origin of the form to sign in from ourselves.
    ("referrer-policy", "same-origin"),
];

/// Looks at every request before its handler, and at every answer after it.
pub(super) async fn watch(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    let checked = check_host(&desk.guard, request.headers())
        .and_then(|()| check_origin(request.method(), request.headers()));
    let mut response = match checked {
        Ok(()) => match timeout(ANSWERED_WITHIN, next.run(request)).await {
            Ok(response) => response,
            Err(_) => too_slow().into_response(),
        },
        Err(problem) => problem.into_response(),
    };
    match response.status() {
        StatusCode::UNAUTHORIZED => {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        StatusCode::TOO_MANY_REQUESTS => {
            let seconds = HeaderValue::from(Patience::retry_after_s());
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        _ => {}
    }
    for (name, value) in HEADERS {
        response.headers_mut().insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    response
}

/// Looks whether whoever asks may have what one route needs; a bearer without a name of the request's
/// own commands under that of the token.
pub(super) async fn admit(
    State((desk, need)): State<(Desk, Need)>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let from = peer.map_or(IpAddr::from([0, 0, 0, 0]), |Peer(address)| address.ip());
    match desk.guard.admit(need, from, &request) {
        Ok(standing) => {
            let name = (standing.bearer.as_ref()).and_then(|bearer| bearer.name.clone());
            if let Some(bearer) = standing.bearer {
                request.extensions_mut().insert(bearer);
            }
            if let Some(name) = name.and_then(|name| HeaderValue::from_str(&name).ok()) {
                request
                    .headers_mut()
                    .entry(super::lock::HOLDER)
                    .or_insert(name);
            }
            next.run(request).await
        }
        Err(problem) if need == Need::Page && problem.status == StatusCode::UNAUTHORIZED => {
            (StatusCode::SEE_OTHER, [(LOCATION, "/login")]).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

fn too_slow() -> Problem {
    Problem {
        status: StatusCode::REQUEST_TIMEOUT,
        code: "too_slow",
        message: format!(
            "the request was not done within {} s",
            ANSWERED_WITHIN.as_secs()
        ),
        help: "send the whole body at once, or ask for less of the past",
    }
}

fn header(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a `Host` is this machine, with any port.
pub(super) fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => return v6 == "::1]" || v6.starts_with("::1]:"),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<std::net::Ipv4Addr>()
            .is_ok_and(|ip| ip.is_loopback())
}

fn check_host(guard: &Guard, headers: &HeaderMap) -> Result<(), Problem> {
    let host = header(headers, HOST).unwrap_or("");
    if !guard.is_on_loopback() || is_this_machine(host) {
        return Ok(());
    }
    Err(Problem {
        status: StatusCode::FORBIDDEN,
        code: "foreign_host",
        message: format!("this server is for its own machine, not for a host called {host:?}"),
        help: "open http://127.0.0.1 with the same port; a proxy has to pass on such a Host",
    })
}

/// A request that changes something and names its origin must come from our own page.
fn check_origin(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if *method == Method::GET || *method == Method::HEAD {
        return Ok(());
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return Ok(());
    };
    let host = header(headers, HOST).unwrap_or("");
    let from = origin
        .to_str()
        .ok()
        .and_then(|o| o.split_once("://"))
        .map_or("", |(_, from)| from);
    if !from.is_empty() && from.eq_ignore_ascii_case(host) {
        return Ok(());
    }
    Err(foreign_origin())
}

fn foreign_origin() -> Problem {
    Problem {
        status: StatusCode::FORBIDDEN,
        code: "foreign_origin",
        message: "a page from elsewhere may not command this bench".into(),
        help: "use the bench's own page, or a program with a token that sends no Origin",
    }
}
