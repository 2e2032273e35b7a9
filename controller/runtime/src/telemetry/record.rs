//! The outside form of an event: one sentence for people, named values for programs.
//!
//! The list of events in the run folder, the page and the server all tell events in this form, so
//! that the vocabulary inside can change without breaking a reader.

use model::{DeviceIx, Event, Instant, Setpoint, Stage, UtcTime};
use quantities::Quantity;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// How much an event matters to a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The ordinary run of things.
    Info,
    /// Something was not as asked for.
    Warning,
    /// Somebody should look.
    Error,
}

/// An event as the outside sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventRecord {
    /// Its kind.
    pub event: &'static str,
    /// How much it matters.
    pub level: Level,
    /// Which device it is about.
    pub device: Option<String>,
    /// One sentence.
    pub text: String,
    /// Its values, units in the names.
    pub details: Map<String, Value>,
}

/// Kind of the event of a cleared market.
pub(super) const MARKET_CLEARED: &str = "market_cleared";

#[derive(Serialize)]
struct JsonLine<'a> {
    utc: String,
    t_s: f64,
    #[serde(flatten)]
    record: &'a EventRecord,
}

impl EventRecord {
    /// The record as one line of JSON, without a line feed.
    #[must_use]
    pub fn json_line(&self, utc: UtcTime, now: Instant) -> String {
        let line = JsonLine {
            utc: utc.to_string(),
            t_s: now.as_seconds(),
            record: self,
        };
        serde_json::to_string(&line).unwrap_or_else(|e| {
            // Unreachable for strings and numbers; said rather than dropped.
            json!({ "event": self.event, "text": e.to_string() }).to_string()
        })
    }
}

/// A setpoint in words.
#[must_use]
pub fn setpoint_text(setpoint: Setpoint) -> String {
    match setpoint {
        Setpoint::Power { p, q } if q.as_vars() == 0.0 => format!("{p:.1}"),
        Setpoint::Power { p, q } => format!("{p:.1}, {q:.1}"),
        Setpoint::Ceiling { p } => format!("at most {p:.1}"),
        Setpoint::Switch { on: true } => "on".into(),
        Setpoint::Switch { on: false } => "off".into(),
        Setpoint::Source { f, v, phase, on } => {
            let parts = [
                f.map(|f| format!("{f:.3}")),
                v.map(|v| format!("{v:.1}")),
                phase.map(|phase| format!("{phase:.1}")),
                on.map(|on| if on { "on" } else { "off" }.to_owned()),
            ];
            parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
        }
    }
}

/// A setpoint as named values.
pub(crate) fn setpoint_json(setpoint: Setpoint) -> Value {
    match setpoint {
        Setpoint::Power { p, q } => json!({ "p_w": p.as_watts(), "q_var": q.as_vars() }),
        Setpoint::Ceiling { p } => json!({ "ceiling_w": p.as_watts() }),
        Setpoint::Switch { on } => json!({ "on": on }),
        Setpoint::Source { f, v, phase, on } => {
            let mut named = serde_json::Map::new();
            for (name, value) in [
                ("f_hz", f.map(|f| json!(f.as_hertz()))),
                ("v_v", v.map(|v| json!(v.as_volts()))),
                ("phase_deg", phase.map(|phase| json!(phase.as_degrees()))),
                ("on", on.map(|on| json!(on))),
            ] {
                named.extend(value.map(|value| (name.to_owned(), value)));
            }
            Value::Object(named)
        }
    }
}

/// The name of a stage.
pub(crate) fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Written => "written",
        Stage::Register => "register",
        Stage::Power => "power",
    }
}

/// The outside form of an event; `name` knows the devices.
#[must_use]
pub fn describe(event: &Event, name: &dyn Fn(DeviceIx) -> String) -> EventRecord {
    use Level::{Error, Info, Warning};
    let row = |event: &'static str, level, device: Option<&DeviceIx>, text: String, details| {
        let details = match details {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        EventRecord {
            event,
            level,
            device: device.map(|d| name(*d)),
            text,
            details,
        }
    };
    match event {
        Event::ModeChanged { from, to, why } => row(
            "mode_changed",
            if *to == model::Mode::Safe {
                Warning
            } else {
                Info
            },
            None,
            format!("Mode changed from {from} to {to}: {why}."),
            json!({ "from": from.name(), "to": to.name(), "why": why }),
        ),
        Event::ModeRefused { mode, request, why } => row(
            "mode_refused",
            Warning,
            None,
            format!("In {mode}, {request} was refused: {why}."),
            json!({ "mode": mode.name(), "request": request, "why": why }),
        ),
        Event::Dispatched {
            device,
            setpoint,
            function,
            why,
            clamped,
            ledger_clock,
            atom,
        } => row(
            "dispatched",
            Info,
            Some(device),
            format!(
                "{} asked for {}: {why}.",
                function.name(),
                setpoint_text(*setpoint)
            ),
            json!({
                "setpoint": setpoint_json(*setpoint), "function": function.name(), "why": why,
                "clamped": clamped, "ledger_clock": ledger_clock, "atom": atom,
            }),
        ),
        Event::SetpointConfirmed {
            device,
            stage,
            after_s,
            atom,
        } => row(
            "setpoint_confirmed",
            Info,
            Some(device),
            format!(
                "Setpoint confirmed in {} after {after_s:.3} s.",
                stage_name(*stage)
            ),
            json!({ "stage": stage_name(*stage), "after_s": after_s, "atom": atom }),
        ),
        Event::SetpointMissed {
            device,
            stage,
            why,
            atom,
        } => row(
            "setpoint_missed",
            Error,
            Some(device),
            format!("Setpoint did not reach {}: {why}.", stage_name(*stage)),
            json!({ "stage": stage_name(*stage), "why": why, "atom": atom }),
        ),
        Event::SetpointRefused {
            device,
            function,
            why,
        } => row(
            "setpoint_refused",
            Warning,
            Some(device),
            format!(
                "The limiter refused what {} asked for: {why}.",
                function.name()
            ),
            json!({ "function": function.name(), "why": why }),
        ),
        Event::FellShort { function, excess_w } => row(
            "fell_short",
            Warning,
            None,
            format!("{} fell short by {excess_w:.0} W.", function.name()),
            json!({ "function": function.name(), "excess_w": excess_w }),
        ),
        Event::DeviceOnline { device } => row(
            "device_online",
            Info,
            Some(device),
            "The device answers.".into(),
            Value::Null,
        ),
        Event::DeviceOffline { device, flaw } => row(
            "device_offline",
            Error,
            Some(device),
            format!("The device stopped answering: {}.", flaw.word()),
            json!({ "flaw": flaw.word() }),
        ),
        Event::LoadShed { device, why } => row(
            "load_shed",
            Warning,
            Some(device),
            format!("The load was shed: {why}."),
            json!({ "why": why }),
        ),
        Event::LoadRestored { device } => row(
            "load_restored",
            Info,
            Some(device),
            "The load was given back.".into(),
            Value::Null,
        ),
        Event::MarketCleared {
            interval,
            price_mc_per_kwh,
            energy_mwh,
            trades,
        } => row(
            MARKET_CLEARED,
            Info,
            None,
            match price_mc_per_kwh {
                Some(price) => format!(
                    "Interval {interval} cleared {:.1} Wh at {:.3} ct/kWh in {trades} trades.",
                    *energy_mwh as f64 / 1e3,
                    *price as f64 / 1e3
                ),
                None => format!("Interval {interval} cleared nothing."),
            },
            json!({
                "interval": interval, "price_mc_per_kwh": price_mc_per_kwh,
                "energy_mwh": energy_mwh, "trades": trades,
            }),
        ),
        Event::MarketSettled {
            interval,
            sum_u,
            unaccounted_mwh,
        } => row(
            "market_settled",
            Info,
            None,
            format!(
                "Interval {interval} settled; {:.1} Wh unaccounted.",
                *unaccounted_mwh as f64 / 1e3
            ),
            json!({ "interval": interval, "sum_u": sum_u, "unaccounted_mwh": unaccounted_mwh }),
        ),
        Event::MarketNotCleared { interval, why } => row(
            "market_not_cleared",
            Warning,
            None,
            format!("Interval {interval} is not cleared: {why}."),
            json!({ "interval": interval, "why": why }),
        ),
        Event::MarketNotSettled { interval, why } => row(
            "market_not_settled",
            Warning,
            None,
            format!("Interval {interval} is not settled: {why}."),
            json!({ "interval": interval, "why": why }),
        ),
        Event::MarketTimed {
            interval,
            clear_us,
            finality_us,
        } => row(
            "market_timed",
            Info,
            None,
            format!(
                "Interval {interval} was cleared in {:.1} ms and final in {:.1} ms.",
                *clear_us as f64 / 1e3,
                *finality_us as f64 / 1e3
            ),
            json!({ "interval": interval, "clear_us": clear_us, "finality_us": finality_us }),
        ),
        Event::IntradayTraded {
            interval,
            buyer,
            seller,
            energy_mwh,
            price_mc_per_kwh,
        } => row(
            "intraday_traded",
            Info,
            None,
            format!(
                "{buyer} buys {:.1} Wh of interval {interval} from {seller} at {:.1} ct/kWh.",
                *energy_mwh as f64 / 1e3,
                *price_mc_per_kwh as f64 / 1e3
            ),
            json!({
                "interval": interval, "buyer": buyer, "seller": seller, "energy_mwh": energy_mwh,
                "price_mc_per_kwh": price_mc_per_kwh,
            }),
        ),
        Event::MarketCorrected {
            interval,
            participant,
            energy_mwh,
            amount_u,
        } => row(
            "market_corrected",
            Info,
            None,
            format!(
                "Interval {interval} is settled again: {participant} was metered with {:.1} Wh.",
                *energy_mwh as f64 / 1e3
            ),
            json!({
                "interval": interval, "participant": participant, "energy_mwh": energy_mwh,
                "amount_u": amount_u,
            }),
        ),
        Event::DayAheadTraded {
            from,
            intervals,
            energy_mwh,
            trades,
        } => row(
            "day_ahead_traded",
            Info,
            None,
            format!(
                "{intervals} intervals from {from} on are traded ahead: {:.1} Wh.",
                *energy_mwh as f64 / 1e3
            ),
            json!({
                "from": from, "intervals": intervals, "energy_mwh": energy_mwh, "trades": trades,
            }),
        ),
        Event::ReserveBought {
            interval,
            up_mwh,
            up_price_mc_per_kwh,
            down_mwh,
            down_price_mc_per_kwh,
        } => row(
            "reserve_bought",
            Info,
            None,
            format!(
                "Reserve of interval {interval}: {:.1} Wh up and {:.1} Wh down are ready.",
                *up_mwh as f64 / 1e3,
                *down_mwh as f64 / 1e3
            ),
            json!({
                "interval": interval, "up_mwh": up_mwh, "up_price_mc_per_kwh": up_price_mc_per_kwh,
                "down_mwh": down_mwh, "down_price_mc_per_kwh": down_price_mc_per_kwh,
            }),
        ),
        Event::ReserveShort {
            interval,
            is_up,
            needed_mwh,
            bought_mwh,
        } => row(
            "reserve_short",
            Warning,
            None,
            format!(
                "Interval {interval} needs {:.1} Wh of reserve {} and {:.1} Wh are ready.",
                *needed_mwh as f64 / 1e3,
                if *is_up { "up" } else { "down" },
                *bought_mwh as f64 / 1e3
            ),
            json!({
                "interval": interval, "side": if *is_up { "up" } else { "down" },
                "needed_mwh": needed_mwh, "bought_mwh": bought_mwh,
            }),
        ),
        Event::MarketSilent {
            interval,
            participant,
            why,
        } => row(
            "market_silent",
            Warning,
            None,
            format!("{participant} orders nothing from interval {interval} on: {why}."),
            json!({ "interval": interval, "participant": participant, "why": why }),
        ),
        Event::CommitmentInfeasible {
            interval,
            device,
            committed_mwh,
            missing_mwh,
            why,
        } => row(
            "commitment_infeasible",
            Warning,
            None,
            format!(
                "{device} will be {:+.1} Wh short of the {:+.1} Wh committed for interval {interval}: {why}.",
                *missing_mwh as f64 / 1e3,
                *committed_mwh as f64 / 1e3
            ),
            json!({
                "interval": interval, "device": device, "committed_mwh": committed_mwh,
                "missing_mwh": missing_mwh, "why": why,
            }),
        ),
        Event::SignAgreed { device, text } => row(
            "sign_agreed",
            Info,
            Some(device),
            format!("It may trade: {text}."),
            json!({ "text": text }),
        ),
        Event::SignRefused { device, why } => row(
            "sign_refused",
            Warning,
            Some(device),
            format!("It may not trade: {why}."),
            json!({ "why": why }),
        ),
        Event::MeterDoubted {
            interval,
            meter,
            fault,
            instead,
        } => row(
            "meter_doubted",
            Warning,
            None,
            format!("The meter of {meter} is {fault} in interval {interval}: {instead}."),
            json!({ "interval": interval, "meter": meter, "fault": fault, "instead": instead }),
        ),
        Event::PenaltyCharged {
            interval,
            participant,
            deviation_mwh,
            amount_u,
        } => row(
            "penalty_charged",
            Warning,
            None,
            format!(
                "{participant} pays a penalty for {:.1} Wh beyond its commitment in interval {interval}.",
                *deviation_mwh as f64 / 1e3
            ),
            json!({
                "interval": interval, "participant": participant,
                "deviation_mwh": deviation_mwh, "amount_u": amount_u,
            }),
        ),
        Event::StandingChanged {
            interval,
            participant,
            from,
            to,
        } => row(
            "standing_changed",
            Warning,
            None,
            format!(
                "{participant} was {from} in the market and is {to} after interval {interval}."
            ),
            json!({ "interval": interval, "participant": participant, "from": from, "to": to }),
        ),
        Event::LedgerLate {
            deadline_ms,
            policy,
        } => row(
            "ledger_late",
            Warning,
            None,
            format!("The ledger was not durable within {deadline_ms} ms: {policy}."),
            json!({ "deadline_ms": deadline_ms, "policy": policy }),
        ),
        Event::LedgerFenced { why } => row(
            "ledger_fenced",
            Error,
            None,
            format!("Another controller commands here, nothing is dispatched: {why}."),
            json!({ "why": why }),
        ),
        Event::LedgerStopped { why } => row(
            "ledger_stopped",
            Error,
            None,
            format!("The ledger stopped, nothing more is dispatched: {why}."),
            json!({ "why": why }),
        ),
        Event::CycleLate { late_ms } => row(
            "cycle_late",
            Warning,
            None,
            format!("A cycle began {late_ms:.1} ms late."),
            json!({ "late_ms": late_ms }),
        ),
        Event::FaultSet { what } => row(
            "fault_set",
            Info,
            None,
            format!("Fault: {what}."),
            json!({ "what": what }),
        ),
        Event::OrderRefused { why } => row(
            "order_refused",
            Warning,
            None,
            format!("An order was refused: {why}."),
            json!({ "why": why }),
        ),
        Event::Noticed { device, text } => row(
            "noticed",
            Warning,
            device.as_ref(),
            format!("{text}."),
            json!({ "text": text }),
        ),
        Event::Agreed { agreement } => row(
            "agreed",
            Info,
            None,
            format!("Agreed with the utility: {agreement}."),
            json!({
                "target_w": agreement.target.map(Quantity::base),
                "import_min_w": agreement.limits.map(|limits| limits.lower().base()),
                "import_max_w": agreement.limits.map(|limits| limits.upper().base()),
                "pf_min": agreement.pf_min,
                "q_var": agreement.q.map(Quantity::base),
            }),
        ),
        Event::MarketSuspended { interval, mode } => row(
            "market_suspended",
            Warning,
            None,
            format!(
                "The schedule of interval {interval} does not count while {}.",
                mode.name()
            ),
            json!({ "interval": interval, "mode": mode.name() }),
        ),
        Event::MarketResumed { interval } => row(
            "market_resumed",
            Info,
            None,
            format!("The schedule of interval {interval} counts again."),
            json!({ "interval": interval }),
        ),
        Event::ServicePhaseChanged {
            service,
            from,
            to,
            asked_w,
            baseline_w,
        } => row(
            "service_phase_changed",
            Info,
            None,
            format!(
                "{service} is {} after {}: {asked_w:.0} W on a baseline of {baseline_w:.0} W.",
                to.name(),
                from.name()
            ),
            json!({
                "service": service, "from": from.name(), "to": to.name(),
                "asked_w": asked_w, "baseline_w": baseline_w,
            }),
        ),
        Event::ServiceReallocated {
            service,
            device,
            why,
            lost_w,
            moved_w,
            missing_w,
        } => row(
            "service_reallocated",
            Warning,
            Some(device),
            format!(
                "{service} has lost {lost_w:.0} W, {moved_w:.0} W of it were asked of other devices and \
                 {missing_w:.0} W are missing: {why}."
            ),
            json!({
                "service": service, "why": why,
                "lost_w": lost_w, "moved_w": moved_w, "missing_w": missing_w,
            }),
        ),
        Event::ServiceFellShort {
            service,
            asked_w,
            achieved_w,
            why,
        } => row(
            "service_fell_short",
            Warning,
            None,
            format!("{service} gives {achieved_w:.0} W of {asked_w:.0} W: {why}."),
            json!({
                "service": service, "asked_w": asked_w, "achieved_w": achieved_w, "why": why,
            }),
        ),
        Event::ServiceUnavailable {
            service,
            up_w,
            down_w,
            why,
        } => row(
            "service_unavailable",
            Warning,
            None,
            format!("{service} could give only {up_w:.0} W up and {down_w:.0} W down: {why}."),
            json!({ "service": service, "up_w": up_w, "down_w": down_w, "why": why }),
        ),
        Event::ServiceAvailable {
            service,
            up_w,
            down_w,
        } => row(
            "service_available",
            Info,
            None,
            format!("{service} could give {up_w:.0} W up and {down_w:.0} W down."),
            json!({ "service": service, "up_w": up_w, "down_w": down_w }),
        ),
        Event::Armed { armed } => row(
            "armed",
            if *armed { Warning } else { Info },
            None,
            if *armed {
                "Armed: devices may be written to.".into()
            } else {
                "Disarmed: nothing is written to devices.".into()
            },
            json!({ "armed": armed }),
        ),
        Event::WentSafe { why, devices } => row(
            "went_safe",
            Warning,
            None,
            format!("{devices} devices were told to go safe: {why}."),
            json!({ "why": why, "devices": devices }),
        ),
        Event::Rested {
            step,
            devices,
            missed,
            after_s,
            within_s,
        } => row(
            "rested",
            if *missed > 0 { Error } else { Info },
            None,
            format!(
                "The step {} of the safe end is over after {after_s:.3} s of {within_s} s: {devices} \
                 devices were told, {missed} did not confirm it.",
                step.name()
            ),
            json!({
                "step": step.name(),
                "devices": devices,
                "missed": missed,
                "after_s": after_s,
                "within_s": within_s,
            }),
        ),
        Event::LeaseTaken { by, for_s } => row(
            "lease_taken",
            Info,
            None,
            format!("{by} has the bench for {for_s:.0} s."),
            json!({ "by": by, "for_s": for_s }),
        ),
        Event::LeaseEnded { by, given_back } => row(
            "lease_ended",
            if *given_back { Info } else { Warning },
            None,
            if *given_back {
                format!("{by} has given the bench back.")
            } else {
                format!("The lease of {by} has run out.")
            },
            json!({ "by": by, "given_back": given_back }),
        ),
        Event::Unplugged { device } => row(
            "unplugged",
            Warning,
            Some(device),
            "The device hears nothing any more, to show that it falls back.".into(),
            Value::Null,
        ),
        Event::ClockStepped { by_s } => row(
            "clock_stepped",
            Warning,
            None,
            format!("The wall clock was stepped by {by_s:.1} s; control goes on by its own time."),
            json!({ "by_s": by_s }),
        ),
        Event::AlarmRaised { alarm, severe, why } => row(
            "alarm_raised",
            if *severe { Error } else { Warning },
            None,
            format!("Alarm {alarm}: {why}."),
            json!({ "alarm": alarm, "severe": severe, "why": why }),
        ),
        Event::AlarmAcknowledged { alarm, by } => row(
            "alarm_acknowledged",
            Info,
            None,
            format!("{by} has seen the alarm {alarm}."),
            json!({ "alarm": alarm, "by": by }),
        ),
        Event::AlarmCleared {
            alarm,
            after_s,
            why,
        } => row(
            "alarm_cleared",
            Info,
            None,
            format!("Alarm {alarm} is over after {after_s:.1} s: {why}."),
            json!({ "alarm": alarm, "after_s": after_s, "why": why }),
        ),
        Event::ExchangeMissed { missing_w, why } => row(
            "exchange_missed",
            Warning,
            None,
            format!("The exchange is {missing_w:.0} W beyond what was agreed: {why}."),
            json!({ "missing_w": missing_w, "why": why }),
        ),
        Event::ExchangeKept { after_s, why } => row(
            "exchange_kept",
            Info,
            None,
            format!("What was agreed was not kept for {after_s:.1} s: {why}."),
            json!({ "after_s": after_s, "why": why }),
        ),
        Event::HandOverBegan { to, why } => row(
            "hand_over_began",
            Info,
            Some(to),
            format!("It is to form the island: {why}."),
            json!({ "why": why }),
        ),
        Event::HandedOver {
            to,
            parted,
            after_s,
        } => row(
            "handed_over",
            Info,
            Some(to),
            format!("It forms the island after {after_s:.1} s; {parted} units were taken off."),
            json!({ "parted": parted, "after_s": after_s }),
        ),
        Event::HandOverFailed { to, why } => row(
            "hand_over_failed",
            Warning,
            Some(to),
            format!("It does not take over the island: {why}."),
            json!({ "why": why }),
        ),
        Event::Adopted {
            device,
            characteristic,
            after_s,
            atom,
        } => row(
            "adopted",
            Info,
            Some(device),
            format!("It follows {characteristic} by itself after {after_s:.3} s."),
            json!({ "characteristic": characteristic, "after_s": after_s, "atom": atom }),
        ),
        Event::NotAdopted {
            device,
            characteristic,
            why,
        } => row(
            "not_adopted",
            Error,
            Some(device),
            format!("It does not follow {characteristic}: {why}."),
            json!({ "characteristic": characteristic, "why": why }),
        ),
        Event::FellBack {
            device,
            after_s,
            stated_s,
        } => row(
            "fell_back",
            if stated_s.is_some_and(|stated| *after_s <= stated) {
                Info
            } else {
                Warning
            },
            Some(device),
            match stated_s {
                Some(stated) => {
                    format!("It fell back after {after_s:.2} s; {stated} s are stated.")
                }
                None => format!("It fell back after {after_s:.2} s; no time is stated."),
            },
            json!({ "after_s": after_s, "stated_s": stated_s }),
        ),
    }
}
