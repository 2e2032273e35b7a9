//! Alarms over HTTP: what they say, and that somebody has seen one.
//!
//! To see an alarm changes nothing on the bench, so it needs the role `operate` but not the lease.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::answer::{Problem, json};
use super::command::{Body, parse};
use super::{Desk, lock};
use crate::alarm::{AlarmView, NotAcknowledged, Standing};

/// An alarm of the rig, and how it stands.
#[derive(Clone, Debug, Serialize)]
struct Alarm {
    name: String,
    /// The value as the rig writes it.
    watch: String,
    severity: &'static str,
    raised: bool,
    /// Control time at which it was raised, in seconds since the run began.
    since_s: Option<f64>,
    /// What was seen then.
    why: Option<String>,
    acknowledged_by: Option<String>,
    /// How often it was raised in this run.
    times: u64,
}

impl Alarm {
    fn of(view: AlarmView) -> Self {
        let (since_s, why, acknowledged_by) = match view.standing {
            Standing::Calm => (None, None, None),
            Standing::Raised {
                since,
                why,
                acknowledged_by,
            } => (Some(since.as_seconds()), Some(why), acknowledged_by),
        };
        Self {
            name: view.spec.name,
            watch: view.spec.signal,
            severity: view.spec.severity.name(),
            raised: since_s.is_some(),
            since_s,
            why,
            acknowledged_by,
            times: view.times,
        }
    }
}

pub(super) async fn list(State(desk): State<Desk>) -> Response {
    let alarms: Vec<Alarm> = desk.alarms.view().into_iter().map(Alarm::of).collect();
    json(&alarms)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AcknowledgeBody {
    alarm: String,
}

pub(super) async fn acknowledge(
    State(desk): State<Desk>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let AcknowledgeBody { alarm } = parse(body)?;
    let by = lock::holder(&headers);
    match desk.alarms.acknowledge(&alarm, &by) {
        Ok(()) => {
            let told = Json(serde_json::json!({ "alarm": alarm, "acknowledged": true }));
            Ok((StatusCode::ACCEPTED, told).into_response())
        }
        Err(why) => Err(Problem {
            status: match why {
                NotAcknowledged::Unknown => StatusCode::NOT_FOUND,
                NotAcknowledged::Calm => StatusCode::CONFLICT,
            },
            code: match why {
                NotAcknowledged::Unknown => "unknown_alarm",
                NotAcknowledged::Calm => "not_raised",
            },
            message: match why {
                NotAcknowledged::Unknown => format!("the rig has no alarm called {alarm:?}"),
                NotAcknowledged::Calm => format!("the alarm {alarm:?} is not raised"),
            },
            help: "see /api/v1/alarms for the names and how each stands",
        }),
    }
}
