//! One write to the time-series server, and what its answer means for the lines.
//!
//! Versions 2 and 3 are asked by the client library, through its line-protocol call, the only one
//! whose body can be sent again. It hands out no headers, so what a busy server refuses is sent once more by
//! the HTTP client that the library itself is made of: how long the server wants to be left alone
//! (`Retry-After`) is in that answer; until it takes data again that client asks alone. Version 1 has another path and another way to
//! log in, which the library does not know; that client asks it from the start.

use std::time::Duration;

use influxdb2::api::write::TimestampPrecision;
use influxdb2::{Client, ClientBuilder, RequestError};

use super::refusal::RefusedField;
use super::{InfluxConfig, TelemetryError, WriteApi};

/// Time after which an answer is not waited for any more.
/// Chosen: 5 s, ten times what a busy small server was seen to take.
pub(super) const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// Characters of a refusal that are told: a page of HTML says no more than its beginning.
/// Chosen: 200, two lines of a log.
const REFUSAL_CHARACTERS: usize = 200;

/// What the server said about a request.
pub(super) enum Answer {
    Done,
    /// The lines are at fault: sending them again is of no use; why, and the field at fault where it is named.
    BadLines(String, Option<RefusedField>),
    /// The server, the way to it, or the rights are at fault: keep the lines and try later.
    NotNow(Refusal),
}

/// Why lines have to wait.
pub(super) struct Refusal {
    pub(super) why: String,
    /// The wait that the server asks for (`Retry-After`, in seconds).
    pub(super) after: Option<Duration>,
    /// Whether nobody answered, so that the server may have been killed.
    pub(super) gone: bool,
    /// Whether the server said that it has too much to do, and so may have named a wait.
    busy: bool,
}

/// The way to one bucket.
pub(super) struct Endpoint {
    client: reqwest::Client,
    url: String,
    /// Bucket and precision.
    query: Vec<(&'static str, String)>,
    login: Login,
    /// Versions 2 and 3: the client library, with organisation and bucket.
    library: Option<(Client, String, String)>,
}

enum Login {
    None,
    User(String, String),
    Token(String),
}

/// What the HTTP client is made of: of authorities, the one of the rig alone where it names one.
fn http(config: &InfluxConfig) -> Result<reqwest::ClientBuilder, TelemetryError> {
    let mut builder = reqwest::Client::builder();
    if let Some(pem) = &config.ca_pem {
        // The client takes a file of anything for one with no certificate.
        if !String::from_utf8_lossy(pem).contains("-----BEGIN CERTIFICATE-----") {
            let why = "it has no certificate in PEM form";
            return Err(TelemetryError::Authority(why.to_owned()));
        }
        let certificate = reqwest::Certificate::from_pem(pem)
            .map_err(|e| TelemetryError::Authority(e.to_string()))?;
        builder = builder
            .tls_built_in_root_certs(false)
            .add_root_certificate(certificate);
    }
    Ok(builder)
}

/// The HTTP client for a server.
///
/// # Errors
/// When the authority's certificate cannot be used.
pub(super) fn client(config: &InfluxConfig) -> Result<reqwest::Client, TelemetryError> {
    let built = http(config)?.build();
    built.map_err(|e| match config.ca_pem {
        Some(_) => TelemetryError::Authority(told(&e)),
        None => TelemetryError::Url(told(&e)),
    })
}

/// An error with its causes: the client's own words say only where it happened.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

impl Endpoint {
    /// # Errors
    /// When no client can be made for the address, which [`super::check_url`] has passed, or the authority's
    /// certificate cannot be used.
    pub(super) fn new(config: &InfluxConfig) -> Result<Self, TelemetryError> {
        let client = client(config)?;
        let token = config.token.as_deref();
        let base = config.url.trim_end_matches('/');
        let mut query = vec![("precision", "ns".to_owned())];
        match config.api {
            WriteApi::V2 => {
                let library = ClientBuilder::with_builder(
                    http(config)?,
                    &config.url,
                    &config.org,
                    token.unwrap_or(""),
                )
                .build()
                .map_err(|e| TelemetryError::Url(told(&e)))?;
                query.push(("org", config.org.clone()));
                query.push(("bucket", config.bucket.clone()));
                Ok(Self {
                    client,
                    url: format!("{base}/api/v2/write"),
                    query,
                    login: token.map_or(Login::None, |token| Login::Token(token.to_owned())),
                    library: Some((library, config.org.clone(), config.bucket.clone())),
                })
            }
            WriteApi::V1 => {
                // Version 1.8 maps buckets in the same way: a slash parts database and retention policy.
                match config.bucket.split_once('/') {
                    None => query.push(("db", config.bucket.clone())),
                    Some((database, policy)) => {
                        query.push(("db", database.to_owned()));
                        query.push(("rp", policy.to_owned()));
                    }
                }
                Ok(Self {
                    client,
                    url: format!("{base}/write"),
                    query,
                    login: token.map_or(Login::None, |token| {
                        let (user, password) = token.split_once(':').unwrap_or((token, ""));
                        Login::User(user.to_owned(), password.to_owned())
                    }),
                    library: None,
                })
            }
        }
    }

    /// Sends lines of line protocol, each ended by a newline; `again` where the last try was refused.
    pub(super) async fn write(&self, body: String, again: bool) -> Answer {
        let call = async {
            match &self.library {
                Some((client, org, bucket)) if !again => {
                    match write_v2(client, org, bucket, body.clone()).await {
                        // The library keeps to itself how long the server wants to be left alone: it is
                        // asked once more for that, and then not before its time.
                        Answer::NotNow(first) if first.busy => match self.write_plain(body).await {
                            Answer::NotNow(second) if second.gone => Answer::NotNow(first),
                            second => second,
                        },
                        answer => answer,
                    }
                }
                Some(_) | None => self.write_plain(body).await,
            }
        };
        let late = || Refusal {
            why: format!("no answer within {} s", ANSWER_WAIT.as_secs()),
            after: None,
            gone: true,
            busy: false,
        };
        tokio::time::timeout(ANSWER_WAIT, call)
            .await
            .unwrap_or_else(|_| Answer::NotNow(late()))
    }

    async fn write_plain(&self, body: String) -> Answer {
        let request = self.client.post(&self.url).query(&self.query).body(body);
        let request = match &self.login {
            Login::None => request,
            Login::User(user, password) => request.basic_auth(user, Some(password)),
            Login::Token(token) => request.header("Authorization", format!("Token {token}")),
        };
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return unheard(&error, None),
        };
        let status = response.status().as_u16();
        // Only 204 says that the lines are stored; a page of some proxy comes with 200.
        if status == 204 {
            return Answer::Done;
        }
        let after = response
            .headers()
            .get("retry-after")
            .and_then(|text| text.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        match response.text().await {
            Ok(text) => refused(status, &text, after),
            Err(error) => unheard(&error, after),
        }
    }
}

async fn write_v2(client: &Client, org: &str, bucket: &str, body: String) -> Answer {
    let call = client.write_line_protocol_with_precision(
        org,
        bucket,
        body,
        TimestampPrecision::Nanoseconds,
    );
    match call.await {
        Ok(()) => Answer::Done,
        Err(RequestError::Http { status, text }) => refused(status.as_u16(), &text, None),
        Err(error) => unheard(&error, None),
    }
}

fn refused(status: u16, text: &str, after: Option<Duration>) -> Answer {
    let beginning: String = text.chars().take(REFUSAL_CHARACTERS).collect();
    let why = format!("{status}: {beginning}");
    match status {
        // Malformed, too large, or refused in part.
        400 | 413 | 422 => Answer::BadLines(why, RefusedField::named_in(text)),
        _ => Answer::NotNow(Refusal {
            why,
            after,
            gone: false,
            busy: matches!(status, 429 | 503),
        }),
    }
}

/// Nobody answered, or not to the end.
fn unheard(error: &dyn std::error::Error, after: Option<Duration>) -> Answer {
    Answer::NotNow(Refusal {
        why: told(error),
        after,
        gone: true,
        busy: false,
    })
}
