//! The running daemon, asked over its HTTP API.
//!
//! Responsible for one question and its answer. What is asked, and what the answer means, is the
//! verbs' ([`crate::verb`]); what may be asked is the daemon's.

mod trust;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use document::{Actor, Diagnostic};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::codes::usage;
use crate::problem::Problem;
use trust::Trust;

/// How long the daemon may take for an answer. Chosen: 5 s, fifty cycles.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Where the daemon is.
#[derive(Clone, Debug, Args)]
pub struct Address {
    /// Address of the daemon's page.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7070")]
    api: Uri,
    /// Certificate of the authority that the bench's own was signed by, for `https://`.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// The variable in which a token is looked for when none is named.
const TOKEN_VARIABLE: &str = "GRIDRIG_TOKEN";

/// Where the token is, for commands, and beyond the bench's own machine for reading, too.
#[derive(Clone, Debug, Default, Args)]
pub struct Credentials {
    /// Environment variable with the token [default: GRIDRIG_TOKEN, if it is set].
    #[arg(long, value_name = "NAME")]
    token_env: Option<String>,
    /// File with the token in one line, which only its owner may read.
    #[arg(long, value_name = "FILE", conflicts_with = "token_env")]
    token_file: Option<PathBuf>,
}

impl Credentials {
    /// The token, where there is one.
    ///
    /// # Errors
    /// R022 when a variable was named that is not set; R123 or R124 when the file is open to others
    /// or holds no token.
    pub fn token(&self) -> Result<Option<String>, Problem> {
        match (&self.token_env, &self.token_file) {
            (Some(name), _) => std::env::var(name).map(Some).map_err(|_| {
                Problem::usage(usage(
                    "R022",
                    "the token for commands is not set",
                    &format!("set the environment variable {name}"),
                ))
            }),
            (None, Some(file)) => Ok(Some(runtime::web::secret::read_line(file, "the token")?)),
            (None, None) => Ok(std::env::var(TOKEN_VARIABLE).ok().filter(|t| !t.is_empty())),
        }
    }
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

/// Why there is none.
enum Failure {
    /// Nobody answers, or not to the end.
    Silent(String),
    /// Something is to be mended before it is asked again.
    Told(Box<Diagnostic>),
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::Silent(why)
    }
}

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
        Self { api, ca: None }
    }

    /// Asks one question and waits for the answer.
    ///
    /// # Errors
    /// R024 when there is no answer, or when it is no; C035 when the certificate of whoever answers is
    /// not accepted, C037 when a token would travel in the clear.
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
        runtime()?.block_on(self.answers(caller, questions))
    }

    /// Asks for the safe state, of whoever answers there. Nothing secret is told, so that neither a
    /// certificate that has expired nor a file that is missing keeps a bench from being stopped.
    ///
    /// # Errors
    /// R024 when there is no answer, or when it is no.
    pub fn ask_safe(&self) -> Result<Vouched, Problem> {
        runtime()?.block_on(self.make_safe())
    }

    /// As [`Self::ask_safe`].
    ///
    /// # Errors
    /// As [`Self::ask_safe`].
    pub async fn make_safe(&self) -> Result<Vouched, Problem> {
        let caller = Caller {
            holder: own_name(),
            token: None,
        };
        let question = Question {
            method: Method::POST,
            path: "/api/v1/safe",
            body: &Value::Null,
        };
        let questions = [question];
        match self.answers(&caller, &questions).await {
            Err(problem) if problem.diagnostics.iter().any(|d| d.code == "C035") => {
                let trust = Some(Trust::Anybody);
                self.answers_of(trust, &caller, &questions).await?;
                Ok(Vouched::No)
            }
            answers => answers.map(|_| Vouched::Yes),
        }
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
        let trust = self.ca.as_deref().map(Trust::Authority);
        self.answers_of(trust, caller, questions).await
    }

    async fn answers_of(
        &self,
        trust: Option<Trust<'_>>,
        caller: &Caller,
        questions: &[Question<'_>],
    ) -> Result<Vec<Value>, Problem> {
        let all = async {
            let mut sender = self.connect(trust, caller).await?;
            let mut answers = Vec::with_capacity(questions.len());
            for question in questions {
                answers.push(self.exchange(&mut sender, caller, question).await?);
            }
            Ok(answers)
        };
        let answers: Result<Vec<Answer>, Failure> =
            match tokio::time::timeout(ANSWER_WITHIN, all).await {
                Ok(answers) => answers,
                Err(_) => Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs()).into()),
            };
        let answers = answers.map_err(|failure| match failure {
            Failure::Silent(why) => refused(format!("the daemon at {self} does not answer: {why}"))
                .help("start it with `gridrig run`, or give its address with `--api`"),
            Failure::Told(fault) => *fault,
        })?;
        answers.into_iter().map(understood).collect()
    }

    async fn connect(
        &self,
        trust: Option<Trust<'_>>,
        caller: &Caller,
    ) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let told = |code, what: &str, help: &str| Failure::Told(Box::new(usage(code, what, help)));
        let authority = self.api.authority();
        let authority = authority.ok_or_else(|| "the address has no host".to_owned())?;
        let host = bare(authority.host());
        match self.api.scheme_str() {
            Some("http") => {
                if caller.token.is_some() && !is_this_machine(host) {
                    return Err(told(
                        "C037",
                        "the token would travel in the clear",
                        "ask by `https://`, with `--ca`; a bench is encrypted by `--tls`",
                    ));
                }
                let port = authority.port_u16().unwrap_or(80);
                let stream = TcpStream::connect((host, port)).await;
                greet(stream.map_err(|e| text(&e))?).await
            }
            Some("https") => {
                let trust = trust.ok_or_else(|| {
                    told(
                        "C035",
                        "whose certificate is to be trusted is not said",
                        "give `--ca` the `ca.pem` that `gridrig init` has made for this bench",
                    )
                })?;
                let port = authority.port_u16().unwrap_or(443);
                let stream = TcpStream::connect((host, port)).await;
                let stream = stream.map_err(|e| text(&e))?;
                let encrypted = trust::encrypt(stream, host, trust).await;
                greet(encrypted.map_err(Failure::Told)?).await
            }
            _ => Err("only `http://` and `https://` are spoken".to_owned().into()),
        }
    }

    async fn exchange(
        &self,
        sender: &mut SendRequest<Full<Bytes>>,
        caller: &Caller,
        question: &Question<'_>,
    ) -> Result<Answer, Failure> {
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

/// Whether a bench has vouched for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vouched {
    /// By a certificate that is trusted, or on this machine.
    Yes,
    /// Somebody accepted the command; whether it was the bench is not known.
    No,
}

fn runtime() -> Result<tokio::runtime::Runtime, Problem> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.map_err(|e| refused(format!("the system gives no sockets: {e}")).into())
}

/// Begins HTTP on a connection.
async fn greet(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Full<Bytes>>, Failure> {
    let greeted = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = greeted.map_err(|e| text(&e))?;
    // It ends with the connection; what goes wrong shows in the answer.
    tokio::spawn(connection);
    Ok(sender)
}

/// Whether a host is this machine, so that nothing leaves it.
fn is_this_machine(host: &str) -> bool {
    let address = host.parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|ip| ip.is_loopback())
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

    #[test]
    fn a_token_is_not_told_in_the_clear_nor_to_whoever_answers() {
        for (api, token, code) in [
            ("http://127.0.0.1:9", Some("t"), "R024"),
            ("http://[::1]:9", Some("t"), "R024"),
            ("http://192.0.2.1:9", Some("t"), "C037"),
            ("https://127.0.0.1:9", None, "C035"),
            ("ftp://127.0.0.1:9", None, "R024"),
        ] {
            let caller = Caller {
                holder: "ann".into(),
                token: token.map(String::from),
            };
            let asked = Address::of(api).ask(&caller, Question::read("/api/v1/state"));
            let problem = asked.expect_err("nobody answers there");
            assert_eq!(problem.diagnostics[0].code, code, "{api}");
        }
    }
}
