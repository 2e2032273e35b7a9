//! Who may ask for what.
//!
//! A browser on this machine can be made to send requests by any page it shows. Two checks keep such
//! pages out: on loopback the `Host` must be this machine (a rebound name is not), and a request that
//! names an `Origin` must come from our own page. Neither hinders a program such as `curl`.

use std::net::SocketAddr;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use document::{Actor, Diagnostic};

use super::Desk;
use super::answer::Problem;

/// What readers of this server may do.
#[derive(Clone, PartialEq, Eq)]
pub struct Access {
    /// Whether the server listens on loopback only: then a foreign `Host` is refused.
    pub loopback: bool,
    /// The token of those who may operate; `None` makes the server read-only, except for `safe`.
    pub token: Option<String>,
}

impl std::fmt::Debug for Access {
    /// The token stays out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("loopback", &self.loopback)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .finish()
    }
}

/// Whether the page may be served at this address.
///
/// Beyond the own machine a token would travel in the clear without TLS, and TLS is not built yet:
/// every such address is refused, with the way around it.
///
/// # Errors
/// A message for the operator.
pub fn check_listen(
    addr: SocketAddr,
    token: Option<&str>,
    tls: bool,
) -> Result<(), Box<Diagnostic>> {
    if addr.ip().is_loopback() {
        return match (token, tls) {
            (Some(token), _) if token.trim().is_empty() || !token.is_ascii() => Err(Box::new(
                Diagnostic::error(
                    "W002",
                    Actor::Operator,
                    "the token of the page is empty or has characters beyond ASCII",
                )
                .help("give 16 or more letters and digits, or no token for a read-only page"),
            )),
            (_, true) => Err(Box::new(
                Diagnostic::error("W001", Actor::Operator, "TLS is not built yet")
                    .help("leave TLS out: on loopback nothing leaves this machine"),
            )),
            _ => Ok(()),
        };
    }
    let lacks = match (token, tls) {
        (None, false) => "it would need TLS and a token, and TLS is not built yet",
        (Some(_), false) => "the token would travel in the clear, and TLS is not built yet",
        (_, true) => "TLS is not built yet",
    };
    Err(Box::new(
        Diagnostic::error(
            "W001",
            Actor::Operator,
            format!("the page cannot listen on {addr}, beyond this machine: {lacks}"),
        )
        .help(format!(
            "listen on 127.0.0.1:{port} and reach it by `ssh -L {port}:127.0.0.1:{port} HOST`, \
             or put a reverse proxy with TLS in front that passes on `Host: 127.0.0.1:{port}`",
            port = addr.port()
        )),
    ))
}

/// Headers of every answer: nothing from elsewhere is loaded, and nobody frames the page.
const HEADERS: &[(&str, &str)] = &[
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
];

/// Looks at every request before its handler, and at every answer after it.
pub(super) async fn watch(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    let checked = check_host(&desk.access, request.headers())
        .and_then(|()| check_origin(request.method(), request.headers()));
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    response
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

fn check_host(access: &Access, headers: &HeaderMap) -> Result<(), Problem> {
    let host = header(headers, HOST).unwrap_or("");
    if !access.loopback || is_this_machine(host) {
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
    Err(Problem {
        status: StatusCode::FORBIDDEN,
        code: "foreign_origin",
        message: "a page from elsewhere may not command this bench".into(),
        help: "use the bench's own page, or a program that sends no Origin",
    })
}

/// Whether a request may operate the bench.
pub(super) fn check_token(access: &Access, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(token) = &access.token else {
        return Err(Problem {
            status: StatusCode::FORBIDDEN,
            code: "read_only",
            message: "this server was started without a token, so it only shows".into(),
            help: "start the daemon with a token; POST /api/v1/safe always works",
        });
    };
    let given = header(headers, AUTHORIZATION).and_then(|a| a.split_once(' '));
    match given {
        Some((scheme, given))
            if scheme.eq_ignore_ascii_case("bearer") && same(given.trim(), token) =>
        {
            Ok(())
        }
        Some(_) => Err(Problem {
            status: StatusCode::FORBIDDEN,
            code: "wrong_token",
            message: "this is not the token of this bench".into(),
            help: "ask whoever started the daemon for the token",
        }),
        None => Err(Problem {
            status: StatusCode::UNAUTHORIZED,
            code: "token_needed",
            message: "operating the bench needs the token".into(),
            help: "send the header `Authorization: Bearer TOKEN`",
        }),
    }
}

/// Whether two texts are the same, in a time that does not tell where they differ.
fn same(a: &str, b: &str) -> bool {
    let differing = a.bytes().zip(b.bytes()).fold(0, |d, (a, b)| d | (a ^ b));
    a.len() == b.len() && differing == 0
}
