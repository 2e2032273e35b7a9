//! What an entry of the ledger says, in a line for people.

use ledger_core::credit::CREDIT;
use ledger_core::payload::{DispatchStage, Order, Payload, Setpoint, Side};
use ledger_core::{Body, Particle};

/// Milliwatts in a watt, and the same for all that is counted in thousandths.
const THOUSANDTHS: f64 = 1e3;
/// Units of money (1e-11 EUR) in a cent.
const UNITS_PER_CENT: f64 = 1e9;

/// The participant or the device that a statement is about.
pub(super) fn who(payload: &Payload) -> Option<&str> {
    match payload {
        Payload::Dispatch(p) => Some(&p.device),
        Payload::Trip(p) => Some(&p.device),
        Payload::MeterReading(p) => Some(&p.participant),
        Payload::Order(p) => Some(&p.agent),
        Payload::Withdrawal(p) => Some(&p.agent),
        Payload::Activation(p) => Some(&p.participant),
        Payload::Infeasible(p) => Some(&p.device),
        Payload::AuthorityGrant(p) => Some(&p.device),
        _ => None,
    }
}

/// What it says.
pub(super) fn line(body: &Body) -> String {
    let payload = &body.payload;
    match payload {
        Payload::Dispatch(p) => format!("{} → {}: {}", p.device, setpoint(&p.setpoint), p.why),
        Payload::DispatchAck(p) => {
            let stage = match p.stage {
                DispatchStage::Register => "the device has taken it over",
                DispatchStage::Power => "the measured power follows",
                DispatchStage::Failed => "it failed",
            };
            match p.measured_p_milliwatts {
                Some(p) => format!("{stage}: {}", watts(p)),
                None => stage.to_owned(),
            }
        }
        Payload::Trip(p) => format!("{}: {}", p.device, p.what),
        Payload::Mode(p) => format!("{} → {}: {}", p.from, p.to, p.reason),
        Payload::MeterReading(p) => match p.energy_milliwatt_hours {
            Some(energy) => format!(
                "{}: {}, {}",
                p.participant,
                watt_hours(energy),
                p.quality.name()
            ),
            None => format!("{}: {}", p.participant, p.quality.name()),
        },
        Payload::Order(p) => order(p),
        Payload::Withdrawal(p) => format!("{} takes its {} back", p.agent, p.side.name()),
        Payload::Activation(p) => format!(
            "{} called for {} up and {} down",
            p.participant,
            watt_hours(p.up_milliwatt_hours),
            watt_hours(p.down_milliwatt_hours)
        ),
        Payload::Infeasible(p) => format!(
            "{} of {} cannot be delivered by {}: {}",
            watt_hours(p.missing_milliwatt_hours),
            watt_hours(p.committed_milliwatt_hours),
            p.device,
            p.why
        ),
        Payload::Clearing(p) => {
            let energy = watt_hours(p.quantity_milliwatt_hours);
            let fills = p.fills.len();
            match p.price_millicents_per_kwh {
                Some(price) => format!("{energy} at {} in {fills} fills", cents_per_kwh(price)),
                None => format!("{energy} in {fills} fills"),
            }
        }
        Payload::Trade(p) => format!(
            "{} buys {} of {} at {}",
            p.buyer,
            watt_hours(p.quantity_milliwatt_hours),
            p.seller,
            cents_per_kwh(p.price_millicents_per_kwh)
        ),
        Payload::Settlement(p) => {
            let moved: i128 = p.lines.iter().map(|l| l.amount.0.max(0)).sum();
            let excused = if p.is_excused { ", excused" } else { "" };
            let cents = moved as f64 / UNITS_PER_CENT;
            format!("{} bookings, {cents:.4} ct{excused}", p.lines.len())
        }
        Payload::Terms(p) => format!("penalty {}", cents_per_kwh(p.penalty_millicents_per_kwh)),
        Payload::Config(p) => format!("{}: {}", p.subject, p.note),
        Payload::AuthorityGrant(p) => p.device.clone(),
        Payload::Mint(_) => format!("{} of credits for it", watt_hours(credits(body))),
        Payload::Transfer(p) => format!("{}: {} of credits", p.memo, watt_hours(credits(body))),
        Payload::Checkpoint(_)
        | Payload::Burn(_)
        | Payload::FraudProof(_)
        | Payload::Resolve(_)
        | Payload::Epoch(_) => payload.kind().name().to_owned(),
    }
}

/// The credits that it puts up, in milliwatt-hours; what comes back to their owner counts too.
fn credits(body: &Body) -> i64 {
    let ups = body.particles.iter().filter_map(|particle| match particle {
        Particle::Up(up) if up.asset == CREDIT => Some(up.amount.0),
        _ => None,
    });
    i64::try_from(ups.sum::<i128>()).unwrap_or(i64::MAX)
}

fn order(order: &Order) -> String {
    let verb = match order.side {
        Side::Buy => "buys",
        Side::Sell => "sells",
    };
    let steps = order.steps.iter();
    let total = steps.fold(0_i64, |sum, s| {
        sum.saturating_add(s.quantity_milliwatt_hours)
    });
    let price = |step: Option<&ledger_core::payload::Step>| {
        step.map_or_else(String::new, |s| cents_per_kwh(s.price_millicents_per_kwh))
    };
    let (best, worst) = (price(order.steps.first()), price(order.steps.last()));
    let at = if best == worst {
        format!("at {best}")
    } else {
        format!("from {best} to {worst}")
    };
    format!("{} {verb} up to {} {at}", order.agent, watt_hours(total))
}

fn setpoint(s: &Setpoint) -> String {
    let thousandths = |value: Option<i64>, unit: &str| {
        value.map(|v| format!("{:.1} {unit}", v as f64 / THOUSANDTHS))
    };
    let parts = [
        thousandths(s.p_milliwatts, "W"),
        thousandths(s.q_millivars.filter(|q| *q != 0), "var"),
        thousandths(s.ceiling_milliwatts, "W").map(|w| format!("at most {w}")),
        s.frequency_microhertz
            .map(|f| format!("{:.3} Hz", f as f64 / 1e6)),
        thousandths(s.voltage_millivolts, "V"),
        thousandths(s.phase_millidegrees, "°"),
        s.switch_closed
            .map(|on| if on { "on" } else { "off" }.to_owned()),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        "released".to_owned()
    } else {
        parts.join(", ")
    }
}

fn watts(milliwatts: i64) -> String {
    format!("{:.1} W", milliwatts as f64 / THOUSANDTHS)
}

fn watt_hours(milliwatt_hours: i64) -> String {
    format!("{:.3} Wh", milliwatt_hours as f64 / THOUSANDTHS)
}

fn cents_per_kwh(millicents: i64) -> String {
    format!("{:.3} ct/kWh", millicents as f64 / THOUSANDTHS)
}
