//! The ledger over the API: where it stands, a page of it, and one entry with its relatives.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ledger_core::payload::Kind;
use ledger_node::{LedgerError, Selector};
use serde::Serialize;

use super::answer::{Problem, json};
use super::explorer::{Explorer, Found, NotFound, Page, Wanted};
use super::past::{parts_of, wrong};
use super::{Desk, wire};

/// Entries of a page. Chosen: 50 fill a screen, 500 are what an answer may hold.
const LIMIT: usize = 50;
const LIMIT_MAX: usize = 500;

/// What was asked for, and of which run.
#[derive(Clone, Debug, Default, PartialEq)]
struct Asked {
    run: Option<String>,
    wanted: Wanted,
}

/// Names are those of participants and devices; `%20` and the like are taken as they are typed.
fn unescaped(value: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || (rest.next()? as char).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

impl Asked {
    fn read(query: &str) -> Result<Self, Problem> {
        let mut asked = Self::default();
        asked.wanted.limit = LIMIT;
        let known = ["run", "before", "limit", "kind", "who", "interval"];
        for (key, value) in parts_of(query, &known)? {
            let number = || {
                value.parse::<u64>().map_err(|_| {
                    let message = format!("`{key}` is {value:?}, which is no whole number");
                    wrong(message, "give one, such as 2000")
                })
            };
            match key {
                "run" => asked.run = Some(value.to_owned()),
                "before" => asked.wanted.before = Some(number()?),
                "interval" => asked.wanted.interval = Some(number()?),
                "limit" => {
                    let limit = usize::try_from(number()?).unwrap_or(usize::MAX);
                    if !(1..=LIMIT_MAX).contains(&limit) {
                        let message = format!("`limit` is {value:?}");
                        return Err(wrong(message, "give a whole number from 1 to 500"));
                    }
                    asked.wanted.limit = limit;
                }
                "kind" => {
                    let kind = Kind::ALL.iter().find(|kind| kind.name() == value);
                    asked.wanted.kind = Some(*kind.ok_or_else(|| {
                        let message = format!("there is no kind {value:?} of entries");
                        wrong(message, "kinds are named as `gridrig ledger show` does, such as `order` or `dispatch-ack`")
                    })?);
                }
                _ => {
                    let who = unescaped(value).ok_or_else(|| {
                        wrong(
                            format!("`who` is {value:?}"),
                            "give the name of a participant or of a device",
                        )
                    })?;
                    asked.wanted.who = Some(who);
                }
            }
        }
        Ok(asked)
    }
}

/// A page with the run that it is of.
#[derive(Clone, Debug, Serialize)]
struct PageOfRun {
    run: String,
    #[serde(flatten)]
    page: Page,
}

/// An entry with the run that it is of.
#[derive(Clone, Debug, Serialize)]
struct FoundInRun {
    run: String,
    #[serde(flatten)]
    found: Found,
}

impl From<LedgerError> for Problem {
    fn from(e: LedgerError) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            code: "no_ledger",
            message: e.to_string(),
            help: "`gridrig ledger verify` tells what is wrong with the ledger of a run",
        }
    }
}

impl From<NotFound> for Problem {
    fn from(e: NotFound) -> Self {
        let (status, code) = match &e {
            NotFound::Ledger(_) => (StatusCode::NOT_FOUND, "no_ledger"),
            NotFound::Absent(_) => (StatusCode::NOT_FOUND, "no_such_entry"),
            NotFound::Ambiguous(_) => (StatusCode::BAD_REQUEST, "ambiguous"),
        };
        Self {
            status,
            code,
            message: e.to_string(),
            help: "the newest entries are held here, by `clock:N` or the first digits of their identity; \
                   `gridrig ledger show` has all",
        }
    }
}

/// Where the ledger stands, or a page of its entries where any is asked for.
pub(super) async fn list(State(desk): State<Desk>, RawQuery(query): RawQuery) -> Response {
    let Some(query) = query.filter(|q| !q.is_empty()) else {
        return json(&wire::ledger(&desk.view));
    };
    match Asked::read(&query) {
        Ok(asked) => {
            let look = move |explorer: &Explorer| Ok(explorer.page(&asked.wanted));
            desk.runs
                .explore(asked.run, look, |run, page| PageOfRun { run, page })
                .await
        }
        Err(problem) => problem.into_response(),
    }
}

/// One entry with its relatives.
pub(super) async fn entry(
    State(desk): State<Desk>,
    atom: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Response {
    const HELP: &str = "such as /api/v1/ledger/clock:2000";
    // Its escapes may say anything.
    let Ok(Path(atom)) = atom else {
        return wrong("an entry is named by a text".to_owned(), HELP).into_response();
    };
    let selector: Selector = match atom.parse() {
        Ok(selector) => selector,
        Err(what) => {
            return wrong(format!("{what}, not by {atom:?}"), HELP).into_response();
        }
    };
    let run = match parts_of(&query.unwrap_or_default(), &["run"]) {
        Ok(parts) => parts.last().map(|(_, run)| (*run).to_owned()),
        Err(problem) => return problem.into_response(),
    };
    let look = move |explorer: &Explorer| Ok(explorer.find(&selector)?);
    desk.runs
        .explore(run, look, |run, found| FoundInRun { run, found })
        .await
}
