//! A small HTTP client of our own, so that the page is not judged by the library that serves it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long an answer may take. Chosen: 20 s; every answer here takes milliseconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status, such as 200.
    pub status: u16,
    /// Its body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn json(&self) -> Value {
        match serde_json::from_str(&self.body) {
            Ok(value) => value,
            Err(e) => panic!("not JSON ({e}), status {}: {}", self.status, self.body),
        }
    }
}

/// One request to a port of loopback; `None` when nobody answers there.
#[must_use]
pub fn try_request(
    port: u16,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: &str,
) -> Option<Answer> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(ANSWER_WITHIN)).ok()?;
    let authorization =
        token.map_or_else(String::new, |t| format!("Authorization: Bearer {t}\r\n"));
    // HTTP/1.0: the answer ends with the connection and is never chunked.
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n\
         {authorization}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    Some(Answer {
        status,
        body: body.to_owned(),
    })
}

/// Reads a page that must be there.
///
/// # Panics
/// When nobody answers.
#[must_use]
pub fn get(port: u16, path: &str) -> Answer {
    let answer = try_request(port, "GET", path, None, "");
    answer.unwrap_or_else(|| panic!("nobody answers GET {path} on port {port}"))
}

/// Gives a command.
///
/// # Panics
/// When nobody answers.
#[must_use]
pub fn post(port: u16, path: &str, token: Option<&str>, body: &Value) -> Answer {
    let text = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let answer = try_request(port, "POST", path, token, &text);
    answer.unwrap_or_else(|| panic!("nobody answers POST {path} on port {port}"))
}
