//! One write to the time-series server, and what its answer means for the lines.
//!
//! Versions 2 and 3 are asked by the client library, through its line-protocol call, the only one
//! whose body can be sent again. Version 1 has another path and another way to log in, which that
//! library does not know; it is asked by the HTTP client that the library itself is made of.

use std::time::Duration;

use influxdb2::api::write::TimestampPrecision;
use influxdb2::{Client, ClientBuilder, RequestError};

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
    /// The lines are at fault: sending them again is of no use.
    BadLines(String),
    /// The server, the way to it, or the rights are at fault: keep the lines and try later.
    NotNow(Refusal),
}

/// Why lines have to wait.
pub(super) struct Refusal {
    pub(super) why: String,
    /// The wait that the server asks for (`Retry-After`, in seconds); version 1 only, since the client
    /// library of the others hands out no headers.
    pub(super) after: Option<Duration>,
}

/// The way to one bucket.
pub(super) enum Endpoint {
    V2 {
        client: Client,
        org: String,
        bucket: String,
    },
    V1 {
        client: reqwest::Client,
        url: String,
        /// Database, retention policy and precision.
        query: Vec<(&'static str, String)>,
        /// User and password.
        login: Option<(String, String)>,
    },
}

impl Endpoint {
    /// # Errors
    /// When no client can be made for the address, which [`super::check_url`] has passed.
    pub(super) fn new(config: &InfluxConfig) -> Result<Self, TelemetryError> {
        let token = config.token.as_deref();
        match config.api {
            WriteApi::V2 => {
                let client = ClientBuilder::new(&config.url, &config.org, token.unwrap_or(""))
                    .build()
                    .map_err(|e| TelemetryError::Url(e.to_string()))?;
                Ok(Self::V2 {
                    client,
                    org: config.org.clone(),
                    bucket: config.bucket.clone(),
                })
            }
            WriteApi::V1 => {
                let client = reqwest::Client::builder()
                    .build()
                    .map_err(|e| TelemetryError::Url(e.to_string()))?;
                let mut query = vec![("precision", "ns".to_owned())];
                // Version 1.8 maps buckets in the same way: a slash parts database and retention policy.
                match config.bucket.split_once('/') {
                    None => query.push(("db", config.bucket.clone())),
                    Some((database, policy)) => {
                        query.push(("db", database.to_owned()));
                        query.push(("rp", policy.to_owned()));
                    }
                }
                Ok(Self::V1 {
                    client,
                    url: format!("{}/write", config.url.trim_end_matches('/')),
                    query,
                    login: token.map(|token| {
                        let (user, password) = token.split_once(':').unwrap_or((token, ""));
                        (user.to_owned(), password.to_owned())
                    }),
                })
            }
        }
    }

    /// Sends lines of line protocol, each ended by a newline.
    pub(super) async fn write(&self, body: String) -> Answer {
        let call = async {
            match self {
                Self::V2 {
                    client,
                    org,
                    bucket,
                } => write_v2(client, org, bucket, body).await,
                Self::V1 {
                    client,
                    url,
                    query,
                    login,
                } => {
                    let mut request = client.post(url).query(query).body(body);
                    if let Some((user, password)) = login {
                        request = request.basic_auth(user, Some(password));
                    }
                    write_v1(request).await
                }
            }
        };
        tokio::time::timeout(ANSWER_WAIT, call)
            .await
            .unwrap_or_else(|_| {
                not_now(
                    format!("no answer within {} s", ANSWER_WAIT.as_secs()),
                    None,
                )
            })
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
        Err(error) => not_now(error.to_string(), None),
    }
}

async fn write_v1(request: reqwest::RequestBuilder) -> Answer {
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return not_now(error.to_string(), None),
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
        Err(error) => not_now(error.to_string(), after),
    }
}

fn refused(status: u16, text: &str, after: Option<Duration>) -> Answer {
    let beginning: String = text.chars().take(REFUSAL_CHARACTERS).collect();
    let why = format!("{status}: {beginning}");
    match status {
        // Malformed, too large, or refused in part.
        400 | 413 | 422 => Answer::BadLines(why),
        _ => not_now(why, after),
    }
}

fn not_now(why: String, after: Option<Duration>) -> Answer {
    Answer::NotNow(Refusal { why, after })
}
