//! Answers: JSON, and problems that say what to do.

use axum::Json;
use axum::http::header::CACHE_CONTROL;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Something wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// Stable word for programs.
    pub(super) code: &'static str,
    /// What is wrong.
    pub(super) message: String,
    /// What to do.
    pub(super) help: &'static str,
}

#[derive(Serialize)]
struct ProblemBody<'a> {
    code: &'a str,
    message: &'a str,
    help: &'a str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Json(ProblemBody {
            code: self.code,
            message: &self.message,
            help: self.help,
        });
        (self.status, [(CACHE_CONTROL, "no-store")], body).into_response()
    }
}

/// A value as JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Response {
    ([(CACHE_CONTROL, "no-store")], Json(value)).into_response()
}

/// A value as JSON text for a stream.
pub(super) fn text<T: Serialize>(value: &T) -> String {
    // Wire structs have text keys only, so this cannot fail; an empty object would be read as "nothing".
    serde_json::to_string(value).unwrap_or_else(|_| "{}".into())
}

/// The answer to a path that does not exist.
pub(super) async fn no_such_page(uri: Uri) -> Problem {
    Problem {
        status: StatusCode::NOT_FOUND,
        code: "not_found",
        message: format!("there is nothing at {}", uri.path()),
        help: "see /api/v1/openapi.json for what there is",
    }
}

/// The answer to a path that exists for another method.
pub(super) async fn no_such_method(method: Method, uri: Uri) -> Problem {
    Problem {
        status: StatusCode::METHOD_NOT_ALLOWED,
        code: "method_not_allowed",
        message: format!("{} does not take {method}", uri.path()),
        help: "see /api/v1/openapi.json for the methods",
    }
}
