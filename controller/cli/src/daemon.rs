//! The running daemon, asked over its HTTP API.
//!
//! Responsible for one question and its answer. What is asked, and what the answer means, is the
//! verbs' ([`crate::verb`]); what may be asked is the daemon's.

use std::time::Duration;

use clap::Args;
use document::{Actor, Diagnostic};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::problem::Problem;

/// How long the daemon may take for an answer. Chosen: 5 s, fifty cycles.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Where the daemon is.
#[derive(Clone, Debug, Args)]
pub struct Address {
    /// Address of the daemon's page.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7070")]
    api: Uri,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The name under which the bench is had.
    pub holder: String,
    /// The token for commands; reading and `safe` need none.
    pub token: Option<String>,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// `GET` reads, `POST` commands.
    pub method: Method,
    /// Path of the API.
    pub path: &'a str,
    /// The body; nothing is sent for `null`.
    pub body: &'a Value,
}

impl<'a> Question<'a> {
    /// Reads what is at a path.
    pub fn read(path: &'a str) -> Self {
        Self {
            method: Method::GET,
            path,
            body: &Value::Null,
        }
    }
}

/// The user's name, under which the bench is had when no other is given.
pub fn own_name() -> String {
    let own = std::env::var("USER").ok().filter(|user| !user.is_empty());
    own.unwrap_or_else(|| "operator".to_owned())
}

/// What the daemon refuses or cannot be asked.
pub fn refused(message: String) -> Diagnostic {
    Diagnostic::error("R024", Actor::Operator, message)
}

/// An answer as it came.
type Answer = (StatusCode, Bytes);

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.api.to_string().trim_end_matches('/'))
    }
}

impl Address {
    /// The address that a text names.
    #[cfg(test)]
    pub fn of(text: &str) -> Self {
        let api = text.parse().expect("the test names an address");
        Self { api }
    }

    /// Asks one question and waits for the answer.
    ///
    /// # Errors
    /// R024 when there is no answer, or when it is no.
    pub fn ask(&self, caller: &Caller, question: Question<'_>) -> Result<Value, Problem> {
        let answers = self.ask_all(caller, &[question])?;
        Ok(answers.into_iter().next().unwrap_or_default())
    }

    /// Asks several questions and waits for the answers.
    ///
    /// # Errors
    /// As [`Self::ask`], for the first that went wrong.
    pub fn ask_all(
        &self,
        caller: &Caller,
        questions: &[Question<'_>],
    ) -> Result<Vec<Value>, Problem> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| refused(format!("the system gives no sockets: {e}")))?
            .block_on(self.answers(caller, questions))
    }

    /// The answers to several questions, asked one after the other over one connection.
    ///
    /// # Errors
    /// As [`Self::ask`], for the first that went wrong.
    pub async fn answers(
        &self,
        caller: &Caller,
        questions: &[Question<'_>],
    ) -> Result<Vec<Value>, Problem> {
        let all = async {
            let mut sender = self.connect().await?;
            let mut answers = Vec::with_capacity(questions.len());
            for question in questions {
                answers.push(self.exchange(&mut sender, caller, question).await?);
            }
            Ok(answers)
        };
        let answers: Result<Vec<Answer>, String> =
            match tokio::time::timeout(ANSWER_WITHIN, all).await {
                Ok(answers) => answers,
                Err(_) => Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs())),
            };
        let answers = answers.map_err(|why| {
            refused(format!("the daemon at {self} does not answer: {why}"))
                .help("start it with `gridrig run`, or give its address with `--api`")
        })?;
        answers.into_iter().map(understood).collect()
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        if self.api.scheme_str() != Some("http") {
            return Err(
                "only `http://` is spoken, since the daemon listens on its own machine".into(),
            );
        }
        let authority = self.api.authority().ok_or("the address has no host")?;
        let address = (bare(authority.host()), authority.port_u16().unwrap_or(80));
        let stream = TcpStream::connect(address).await.map_err(|e| text(&e))?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| text(&e))?;
        // It ends with the connection; what goes wrong shows in the answer.
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn exchange(
        &self,
        sender: &mut SendRequest<Full<Bytes>>,
        caller: &Caller,
        question: &Question<'_>,
    ) -> Result<Answer, String> {
        let host = self.api.authority().map_or("", |a| a.as_str());
        let mut request = Request::builder()
            .method(&question.method)
            .uri(question.path)
            .header(hyper::header::HOST, host)
            .header("gridrig-holder", &caller.holder);
        if let Some(token) = &caller.token {
            request = request.header(hyper::header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = match question.body {
            Value::Null => Bytes::new(),
            body => Bytes::from(body.to_string()),
        };
        let request = request
            .body(Full::<Bytes>::new(body))
            .map_err(|e| text(&e))?;
        sender.ready().await.map_err(|e| text(&e))?;
        let answer = sender.send_request(request).await.map_err(|e| text(&e))?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|e| text(&e))?;
        Ok((status, body.to_bytes()))
    }
}

/// A host as it is connected to: an address of version 6 stands in brackets in a URL only.
fn bare(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host)
}

fn text(error: &dyn std::fmt::Display) -> String {
    error.to_string()
}

/// The document of an answer, if it is not no.
fn understood((status, body): Answer) -> Result<Value, Problem> {
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    if status.is_success() {
        return Ok(body);
    }
    let said = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or("");
    let fault = refused(format!(
        "the daemon refuses: {} ({status})",
        said("message")
    ));
    Err(fault.help(said("help")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_its_host_without_brackets_and_is_told_without_a_last_slash() {
        for (given, host, told) in [
            (
                "http://127.0.0.1:7070",
                "127.0.0.1",
                "http://127.0.0.1:7070",
            ),
            ("http://[::1]:7070/", "::1", "http://[::1]:7070"),
            ("http://bench.lab/", "bench.lab", "http://bench.lab"),
        ] {
            let address = Address::of(given);
            let authority = address.api.authority().expect("there is a host");
            assert_eq!(bare(authority.host()), host);
            assert_eq!(address.to_string(), told);
        }
    }
}
