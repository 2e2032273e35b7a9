//! Orders of the market from outside.
//!
//! They need a token, that of their participant or one that may operate, and no lease: who bids does
//! not command the bench. What comes of a trade reaches devices as any schedule does, arbitrated and
//! limited.

use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use market::{Coded, CounterError, Side};
use serde::{Deserialize, Serialize};

use super::Desk;
use super::answer::Problem;
use super::command::{Body, busy, parse};
use super::tokens::Bearer;
use crate::desk::{Bid, Stage, Taken};

/// How long the desk's answer is waited for. Chosen: 1 s, ten cycles.
const ANSWER_WAIT: Duration = Duration::from_secs(1);

/// A step of an order.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepBody {
    price_mc_per_kwh: i64,
    energy_mwh: i64,
}

/// An order from outside.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderBody {
    participant: String,
    side: Side,
    steps: Vec<StepBody>,
    interval: Option<u64>,
    #[serde(default)]
    stage: Stage,
}

impl OrderBody {
    fn bid(self) -> Bid {
        let steps = self.steps.into_iter();
        Bid {
            participant: self.participant,
            side: self.side,
            steps: steps.map(|s| (s.price_mc_per_kwh, s.energy_mwh)).collect(),
            interval: self.interval,
            stage: self.stage,
        }
    }
}

/// What an order that was taken is told.
#[derive(Serialize)]
struct TakenBody {
    taken: bool,
    interval: u64,
    begins_utc: String,
    gate_utc: String,
    /// Energy that it has traded at once, within the day.
    #[serde(skip_serializing_if = "Option::is_none")]
    traded_mwh: Option<String>,
    /// Energy of it that rests in the order book.
    #[serde(skip_serializing_if = "Option::is_none")]
    rests_mwh: Option<String>,
}

impl TakenBody {
    fn of(taken: &Taken) -> Self {
        Self {
            taken: true,
            interval: taken.interval,
            begins_utc: taken.begins.to_string(),
            gate_utc: taken.gate.to_string(),
            traded_mwh: taken.entry.map(|entry| entry.traded_mwh.to_string()),
            rests_mwh: taken.entry.map(|entry| entry.rests_mwh.to_string()),
        }
    }
}

fn refused(why: &CounterError) -> Problem {
    let status = match why {
        CounterError::Stranger { .. } => StatusCode::NOT_FOUND,
        CounterError::Closed { .. } => StatusCode::CONFLICT,
        CounterError::TooFar { .. }
        | CounterError::NotAhead
        | CounterError::Refused(_)
        | CounterError::Sign(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Problem {
        status,
        code: why.code(),
        message: format!("{why}; {}", why.help()),
        help: "`gridrig explain CODE` says more; GET /api/v1/market tells the open interval and the rules",
    }
}

/// Takes an order, or says why not.
pub(super) async fn order(
    State(desk): State<Desk>,
    bearer: Option<Extension<Bearer>>,
    body: Body,
) -> Result<Response, Problem> {
    let bid = parse::<OrderBody>(body)?.bid();
    // The guard lets nobody through without.
    if !bearer.is_some_and(|bearer| bearer.may_order_for(&bid.participant)) {
        return Err(Problem {
            status: StatusCode::FORBIDDEN,
            code: "another_participant",
            message: format!("this token does not order for `{}`", bid.participant),
            help: "order for the participant that the tokens file names beside it, or use a token that may operate",
        });
    }
    let Some(bids) = &desk.bids else {
        return Err(Problem {
            status: StatusCode::NOT_FOUND,
            code: "no_market",
            message: "the rig of this run has no market".into(),
            help: "add `[market]` to the rig",
        });
    };
    let answer = bids.push(bid).ok_or_else(busy)?;
    match tokio::time::timeout(ANSWER_WAIT, answer).await {
        Ok(Ok(Ok(taken))) => {
            Ok((StatusCode::ACCEPTED, Json(TakenBody::of(&taken))).into_response())
        }
        Ok(Ok(Err(why))) => Err(refused(&why)),
        Ok(Err(_)) | Err(_) => Err(Problem {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "no_answer",
            message: "the market has not answered".into(),
            help: "it may have taken the order all the same: the ledger tells; a market stops with its ledger",
        }),
    }
}
