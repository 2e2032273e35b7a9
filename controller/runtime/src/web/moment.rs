//! When a command is given: at once, or at a moment of the bench's own clock.
//!
//! Whoever asks for a moment in the header `Gridrig-At` (`12.5`, seconds since the run began, or `+1.5`, seconds from
//! now) gets the answer when it has come, and with it the time at which the command was given. Until then the command
//! is nobody else's: with the connection it is gone, so that what a dead program has planned never happens.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use model::Instant;

use super::Desk;
use super::answer::Problem;

/// The header with the moment.
const AT: &str = "gridrig-at";

/// How far away a moment may be. Chosen: 10 min, the longest step of a usual test; whoever plans further has
/// a scenario.
const AHEAD_MAX: Duration = Duration::from_secs(600);

/// How long ago a moment may be. Chosen: 0.5 ms, what rounding takes from a time that was told and comes back;
/// what comes later is not what was asked for.
const LATE_MAX: Duration = Duration::from_micros(500);

fn refused(message: String) -> Problem {
    Problem {
        status: StatusCode::UNPROCESSABLE_ENTITY,
        code: "bad_moment",
        message,
        help: "give `Gridrig-At: +1.5`, seconds from now, or seconds since the run began, at most ten minutes away",
    }
}

/// The moment that a request names, or now.
fn wanted(headers: &HeaderMap, now: Instant) -> Result<Instant, Problem> {
    let Some(given) = headers.get(AT) else {
        return Ok(now);
    };
    let text = given.to_str().unwrap_or("").trim();
    let seconds = |text: &str| {
        let number: f64 = text.parse().ok()?;
        Duration::try_from_secs_f64(number).ok()
    };
    let at = match text.strip_prefix('+') {
        Some(later) => seconds(later).map(|later| now + later),
        None => seconds(text).map(|since_start| Instant::START + since_start),
    };
    let at = at.ok_or_else(|| refused(format!("{text:?} is no moment")))?;
    if at + LATE_MAX < now {
        let late_s = now.since(at).as_secs_f64();
        return Err(refused(format!("that moment was {late_s:.3} s ago")));
    }
    if at.since(now) > AHEAD_MAX {
        let away_s = at.since(now).as_secs_f64();
        return Err(refused(format!("that moment is {away_s:.0} s away")));
    }
    Ok(at)
}

/// Waits for the moment that a request names.
pub(super) async fn come(desk: &Desk, headers: &HeaderMap) -> Result<(), Problem> {
    let now = desk.lease.now();
    let at = wanted(headers, now)?;
    tokio::time::sleep(at.since(now)).await;
    Ok(())
}
