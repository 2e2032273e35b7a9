//! Readings of the market that come late, from whoever reads a meter.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use market::Coded;
use market::venue::CorrectionError;
use serde::{Deserialize, Serialize};

use super::Desk;
use super::answer::Problem;
use super::command::{Body, busy, parse};
use crate::desk::LateReading;

/// How long the desk's answer is waited for. Chosen: 1 s, ten cycles.
const ANSWER_WAIT: Duration = Duration::from_secs(1);

/// A late reading.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadingBody {
    participant: String,
    interval: u64,
    energy_mwh: i64,
}

/// What it has changed.
#[derive(Serialize)]
struct CorrectedBody {
    booked: bool,
    interval: u64,
    /// What its owner receives by it, in 1e-11 EUR.
    amount_u: String,
}

fn refused(why: &CorrectionError) -> Problem {
    let status = match why {
        CorrectionError::NotMetered { .. } => StatusCode::NOT_FOUND,
        CorrectionError::NotSettled { .. } | CorrectionError::Stands { .. } => StatusCode::CONFLICT,
        CorrectionError::SaysNothing { .. } | CorrectionError::Settlement(_) => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
    };
    Problem {
        status,
        code: why.code(),
        message: format!("{why}; {}", why.help()),
        help: "`gridrig explain CODE` says more",
    }
}

/// Books a late reading, or says why not.
pub(super) async fn reading(State(desk): State<Desk>, body: Body) -> Result<Response, Problem> {
    let body = parse::<ReadingBody>(body)?;
    let Some(bids) = &desk.bids else {
        return Err(Problem {
            status: StatusCode::NOT_FOUND,
            code: "no_market",
            message: "the rig of this run has no market".into(),
            help: "add `[market]` to the rig",
        });
    };
    let interval = body.interval;
    let late = LateReading {
        participant: body.participant,
        interval,
        energy_mwh: body.energy_mwh,
    };
    let answer = bids.push_reading(late).ok_or_else(busy)?;
    match tokio::time::timeout(ANSWER_WAIT, answer).await {
        Ok(Ok(Ok(amount))) => {
            let told = CorrectedBody {
                booked: true,
                interval,
                amount_u: amount.to_string(),
            };
            Ok((StatusCode::ACCEPTED, Json(told)).into_response())
        }
        Ok(Ok(Err(why))) => Err(refused(&why)),
        Ok(Err(_)) | Err(_) => Err(Problem {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "no_answer",
            message: "the market has not answered".into(),
            help: "it may have booked the reading all the same: the ledger tells",
        }),
    }
}
