//! What may be asked of the bench over HTTP.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use model::{Agreement, DeviceIx, Instant, ModeRequest, Order, ServiceIx, Setpoint};
use quantities::{ActivePower, Bounds, Frequency, PhaseAngle, ReactivePower, Voltage};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::error::{SendTimeoutError, TrySendError};

use super::answer::Problem;
use super::door::Peer;
use super::{Desk, lock, login, moment};

/// How long `safe` waits for its place in the queue. Chosen: 1 s, ten cycles.
const SAFE_WAIT: Duration = Duration::from_secs(1);

/// A command that came in over HTTP and may be given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WebCommand {
    /// Bring everything to rest.
    Safe,
    /// Allow (or stop) writing to devices.
    Arm(bool),
    /// Change the mode.
    Mode(ModeRequest),
    /// Let a device hold a setpoint.
    Hold {
        /// Which device.
        device: DeviceIx,
        /// What it shall hold.
        setpoint: Setpoint,
    },
    /// Let go of a device.
    Release {
        /// Which device.
        device: DeviceIx,
    },
    /// Agree something else with the utility.
    Agree(Agreement),
    /// Let another unit form the island.
    HandOver {
        /// Which unit.
        to: DeviceIx,
    },
    /// Give a service the set point that it follows.
    Signal {
        /// Which service.
        service: ServiceIx,
        /// Fraction of its contract, positive = more into the bus.
        fraction: f64,
    },
    /// Declare what a device would do without its services.
    Baseline {
        /// Which device.
        device: DeviceIx,
        /// Power, positive = into the bus.
        p: ActivePower,
    },
}

impl WebCommand {
    /// The order that enters the next cycle, where it is limited like any other.
    #[must_use]
    pub fn order(self) -> Order {
        match self {
            Self::Safe => Order::Mode(ModeRequest::Safe),
            Self::Arm(armed) => Order::Arm(armed),
            Self::Mode(request) => Order::Mode(request),
            Self::Hold { device, setpoint } => Order::Hold { device, setpoint },
            Self::Release { device } => Order::Release { device },
            Self::Agree(agreement) => Order::Agree(agreement),
            Self::HandOver { to } => Order::HandOver { to },
            Self::Signal { service, fraction } => Order::Signal { service, fraction },
            Self::Baseline { device, p } => Order::Baseline { device, p },
        }
    }
}

/// Ask for a mode.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModeBody {
    mode: ModeRequest,
}

/// Hold a device to a setpoint.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HoldBody {
    device: String,
    setpoint: SetpointBody,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetpointBody {
    p_w: Option<f64>,
    q_var: Option<f64>,
    ceiling_w: Option<f64>,
    f_hz: Option<f64>,
    v_v: Option<f64>,
    phase_deg: Option<f64>,
    on: Option<bool>,
}

/// What is agreed at the coupling; what is left out is not agreed any more.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AgreementBody {
    target_w: Option<f64>,
    import_min_w: Option<f64>,
    import_max_w: Option<f64>,
    pf_min: Option<f64>,
    q_var: Option<f64>,
}

impl AgreementBody {
    fn agreement(&self) -> Result<Agreement, Problem> {
        let refused = |why: &str| Problem {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            code: "bad_agreement",
            message: why.to_owned(),
            help: "positive = import; a limit has both ends, `import_min_w` and `import_max_w`",
        };
        let limits = match (self.import_min_w, self.import_max_w) {
            (None, None) => None,
            (Some(low), Some(high)) => {
                let (low, high) = (ActivePower::from_watts(low), ActivePower::from_watts(high));
                let limits = Bounds::new(low, high);
                Some(limits.ok_or_else(|| refused("the limits leave nothing between them"))?)
            }
            _ => return Err(refused("one end of the limits is missing")),
        };
        let agreement = Agreement {
            target: self.target_w.map(ActivePower::from_watts),
            limits,
            pf_min: self.pf_min,
            q: self.q_var.map(ReactivePower::from_vars),
        };
        match agreement.fault() {
            None => Ok(agreement),
            Some(why) => Err(refused(why)),
        }
    }
}

/// Give a service the set point that it follows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignalBody {
    service: String,
    fraction: f64,
}

/// Declare what a device would do without its services.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BaselineBody {
    device: String,
    p_w: f64,
}

/// Let go of a device.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReleaseBody {
    device: String,
}

/// Let another unit form the island.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HandOverBody {
    to: String,
}

pub(super) type Body = Result<Bytes, BytesRejection>;

pub(super) fn parse<T: DeserializeOwned>(body: Body) -> Result<T, Problem> {
    let body = body.map_err(|rejection| Problem {
        status: rejection.status(),
        code: "body_not_read",
        message: rejection.body_text(),
        help: "a command is a small JSON object",
    })?;
    serde_json::from_slice(&body).map_err(|error| Problem {
        status: StatusCode::BAD_REQUEST,
        code: "bad_json",
        message: format!("the body is not understood: {error}"),
        help: "see /api/v1/openapi.json for the shape",
    })
}

fn device(desk: &Desk, name: &str) -> Result<DeviceIx, Problem> {
    desk.view.device_named(name).ok_or_else(|| Problem {
        status: StatusCode::NOT_FOUND,
        code: "unknown_device",
        message: format!("the rig has no device called {name:?}"),
        help: "see /api/v1/devices for the names",
    })
}

impl SetpointBody {
    fn setpoint(self) -> Result<Setpoint, Problem> {
        let Self {
            p_w,
            q_var,
            ceiling_w,
            f_hz,
            v_v,
            phase_deg,
            on,
        } = self;
        let of_source = f_hz.is_some() || v_v.is_some() || phase_deg.is_some();
        match (p_w, q_var, ceiling_w, on) {
            (None, None, None, on) if of_source => Ok(Setpoint::Source {
                f: f_hz.map(Frequency::from_hertz),
                v: v_v.map(Voltage::from_volts),
                phase: phase_deg.map(PhaseAngle::from_degrees),
                on,
            }),
            (Some(p_w), q_var, None, None) if !of_source => Ok(Setpoint::Power {
                p: ActivePower::from_watts(p_w),
                q: ReactivePower::from_vars(q_var.unwrap_or(0.0)),
            }),
            (None, None, Some(ceiling_w), None) if !of_source => Ok(Setpoint::Ceiling {
                p: ActivePower::from_watts(ceiling_w),
            }),
            (None, None, None, Some(on)) => Ok(Setpoint::Switch { on }),
            _ => Err(Problem {
                status: StatusCode::BAD_REQUEST,
                code: "bad_setpoint",
                message: "a setpoint is one of power, ceiling, switch or source".into(),
                help: "give {\"p_w\": 1500, \"q_var\": 0}, {\"ceiling_w\": 800}, {\"on\": false} or {\"f_hz\": 49.5, \"v_v\": 230}",
            }),
        }
    }
}

fn accepted(now: Instant) -> Response {
    let body = serde_json::json!({
        "accepted": true,
        "t_s": now.as_seconds(),
        "note": "the command enters the next cycle as an order and is limited like any other"
    });
    (StatusCode::ACCEPTED, Json(body)).into_response()
}

fn ended() -> Problem {
    Problem {
        status: StatusCode::SERVICE_UNAVAILABLE,
        code: "ended",
        message: "the controller does not take commands any more".into(),
        help: "the run has ended; look at its run folder",
    }
}

pub(super) fn busy() -> Problem {
    Problem {
        status: StatusCode::SERVICE_UNAVAILABLE,
        code: "busy",
        message: "too many commands wait already".into(),
        help: "try again in a second",
    }
}

fn give(desk: &Desk, command: WebCommand) -> Result<Response, Problem> {
    desk.commands
        .try_send(command)
        .map(|()| accepted(desk.lease.now()))
        .map_err(|e| match e {
            TrySendError::Full(_) => busy(),
            TrySendError::Closed(_) => ended(),
        })
}

/// Always allowed, and the only command that waits for its place. A person at the form to sign in is
/// answered with a page, all others with JSON.
pub(super) async fn safe(
    State(desk): State<Desk>,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let given = desk
        .commands
        .send_timeout(WebCommand::Safe, SAFE_WAIT)
        .await;
    given.map_err(|e| match e {
        SendTimeoutError::Timeout(_) => busy(),
        SendTimeoutError::Closed(_) => ended(),
    })?;
    if !peer.ip().is_loopback() {
        // It needs no token, so this is all that tells who it was.
        tracing::warn!(message = "The safe state was asked for.", from = %peer);
    }
    let accepts = headers.get(ACCEPT).and_then(|kinds| kinds.to_str().ok());
    if accepts.is_some_and(|kinds| kinds.contains("text/html")) {
        let said = "SAFE was accepted: every device is being told to go to its safe state.";
        return Ok(login::form(StatusCode::ACCEPTED, said));
    }
    Ok(accepted(desk.lease.now()))
}

/// Arming is under a lease: it takes or renews it, and ends with it.
pub(super) async fn arm(
    State(desk): State<Desk>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    lock::taken(&desk, &headers, body)?;
    give(&desk, WebCommand::Arm(true))
}

pub(super) async fn disarm(State(desk): State<Desk>) -> Result<Response, Problem> {
    give(&desk, WebCommand::Arm(false))
}

/// Something that is wanted of the bench, as the body of a request says it.
pub(super) trait Wish: DeserializeOwned {
    /// The command that it comes to.
    fn command(self, desk: &Desk) -> Result<WebCommand, Problem>;
}

/// Takes a wish of somebody who may operate, unless somebody else has the lease, and gives it when its
/// moment has come.
pub(super) async fn wish<W: Wish>(
    State(desk): State<Desk>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    lock::check(&desk, &headers)?;
    let command = parse::<W>(body)?.command(&desk)?;
    moment::come(&desk, &headers).await?;
    // Whoever had the bench when it was asked may have lost it meanwhile.
    lock::check(&desk, &headers)?;
    give(&desk, command)
}

impl Wish for ModeBody {
    fn command(self, _: &Desk) -> Result<WebCommand, Problem> {
        Ok(WebCommand::Mode(self.mode))
    }
}

impl Wish for HoldBody {
    fn command(self, desk: &Desk) -> Result<WebCommand, Problem> {
        let device = device(desk, &self.device)?;
        let setpoint = self.setpoint.setpoint()?;
        Ok(WebCommand::Hold { device, setpoint })
    }
}

impl Wish for ReleaseBody {
    fn command(self, desk: &Desk) -> Result<WebCommand, Problem> {
        let device = device(desk, &self.device)?;
        Ok(WebCommand::Release { device })
    }
}

impl Wish for AgreementBody {
    fn command(self, _: &Desk) -> Result<WebCommand, Problem> {
        Ok(WebCommand::Agree(self.agreement()?))
    }
}

impl Wish for HandOverBody {
    fn command(self, desk: &Desk) -> Result<WebCommand, Problem> {
        let to = device(desk, &self.to)?;
        Ok(WebCommand::HandOver { to })
    }
}

impl Wish for SignalBody {
    fn command(self, desk: &Desk) -> Result<WebCommand, Problem> {
        let Self {
            service: name,
            fraction,
        } = self;
        let service = desk.view.service_named(&name).ok_or_else(|| Problem {
            status: StatusCode::NOT_FOUND,
            code: "unknown_service",
            message: format!("the rig has sold no service called {name:?}"),
            help: "see /api/v1/services for the names",
        })?;
        if !(-1.0..=1.0).contains(&fraction) {
            return Err(Problem {
                status: StatusCode::UNPROCESSABLE_ENTITY,
                code: "bad_signal",
                message: format!("a signal of {fraction} is more than was sold"),
                help: "a signal is a fraction of the contract, from -1 to 1, positive = more into the bus",
            });
        }
        Ok(WebCommand::Signal { service, fraction })
    }
}

impl Wish for BaselineBody {
    fn command(self, desk: &Desk) -> Result<WebCommand, Problem> {
        let device = device(desk, &self.device)?;
        let p = ActivePower::from_watts(self.p_w);
        Ok(WebCommand::Baseline { device, p })
    }
}
