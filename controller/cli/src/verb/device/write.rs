//! `gridrig device write`: setpoints, limited, recorded and read back.

use std::sync::Arc;

use model::{DeviceIx, Point, Reading, Setpoint};
use runtime::access::{PointAccess, PointReading, Written};
use runtime::evidence::Evidence;
use runtime::rig::Rig;
use scenario::report::result::LedgerSummary;
use scenario::verdict::Verdict;
use serde_json::{Value, json};

use crate::codes::usage;
use crate::folder::Attempt;
use crate::problem::{Outcome, Problem};
use crate::rig_file;
use crate::terminal::Terminal;
use crate::verb::contact::{How, absences, begin_evidence, fault, no_ledger, open};

/// Reads `POINT=VALUE`; the value has a unit wherever the point has one.
pub(super) fn values(
    rig: &Rig,
    device: DeviceIx,
    words: &[String],
) -> Result<Vec<(Point, f64)>, Problem> {
    let device = &rig.devices[device.index()];
    let mut values: Vec<(Point, f64)> = Vec::new();
    for word in words {
        let fail = |what: &str| {
            Problem::usage(usage(
                "C001",
                format!("`{word}` is not a setpoint: {what}"),
                "write it like `ctl.p_set=-500W`, `ctl.f_set=49.5Hz` or `switch.on=off`",
            ))
        };
        let Some((name, text)) = word.split_once('=') else {
            return Err(fail("there is no `=`"));
        };
        let point = rig_file::point(device, name.trim(), &device.profile.controls(), "takes")?;
        if values.iter().any(|(known, _)| *known == point) {
            return Err(fail("it stands there twice"));
        }
        values.push((point, value(point, text.trim()).map_err(|e| fail(&e))?));
    }
    Ok(values)
}

fn value(point: Point, text: &str) -> Result<f64, String> {
    use quantities::{
        ActivePower, Frequency, PhaseAngle, Quantity, ReactivePower, Voltage, parse_quantity,
    };
    fn of<Q: Quantity>(text: &str) -> Result<f64, String> {
        parse_quantity::<Q>(text)
            .map(Quantity::base)
            .map_err(|e| e.to_string())
    }
    match (point, text) {
        (Point::SwitchOn, "on" | "closed" | "1") => Ok(1.0),
        (Point::SwitchOn, "off" | "open" | "0") => Ok(0.0),
        (Point::SwitchOn, _) => Err("a switch is `on` or `off`".into()),
        (Point::ReactivePowerSet, _) => of::<ReactivePower>(text),
        (Point::FrequencySet, _) => of::<Frequency>(text),
        (Point::VoltageSet, _) => of::<Voltage>(text),
        (Point::PhaseSet, _) => of::<PhaseAngle>(text),
        _ => of::<ActivePower>(text),
    }
}

pub(super) async fn write(
    rig: &Arc<Rig>,
    device: DeviceIx,
    values: &[(Point, f64)],
    how: &How,
    attempt: &Attempt,
    terminal: &Terminal,
) -> Outcome {
    let (bench, mut access, clock) = open(rig, &[device], how.on).await?;
    let no_ledger = |e: &dyn std::fmt::Display| no_ledger(attempt, e);
    let mut evidence = begin_evidence(rig, attempt, &*clock)?;

    let done = write_all(rig, device, values, how, &mut access, &mut evidence).await;
    // The log is closed in good order also when the device was not.
    let root = evidence.close(clock.utc()).map_err(|e| no_ledger(&e));
    drop(bench);
    let written = done?;
    let root = root?;
    let steps = written.iter().map(|w| w.steps).sum();
    let verified = ledger_verify::verify(&attempt.dir);
    attempt.conclude(Verdict::Pass, "", |result| {
        result.counters.dispatches = steps;
        result.counters.dispatches_logged = evidence.dispatches_logged;
        result.ledger = LedgerSummary {
            root: Some(root),
            entries: verified.entries,
            verified: Some(verified.is_ok()),
            ..LedgerSummary::default()
        };
    })?;
    if terminal.is_json() {
        terminal.print(json!({
            "run": attempt.dir,
            "written": written.iter().map(written_json).collect::<Value>(),
        }));
    } else {
        for one in &written {
            terminal.print(written_text(&rig.devices[device.index()].id, one));
        }
        terminal.say(format!("The evidence is in {}.", attempt.dir.display()));
    }
    Ok(Verdict::Pass)
}

async fn write_all(
    rig: &Rig,
    device: DeviceIx,
    values: &[(Point, f64)],
    how: &How,
    access: &mut PointAccess,
    evidence: &mut Evidence,
) -> Result<Vec<Written>, Problem> {
    let heard = access.learn(device, how.within).await;
    let absent = |access: &PointAccess| {
        let silent = [PointReading {
            device,
            point: values.first().map_or(Point::ActivePowerSet, |(p, _)| *p),
            reading: Reading::Bad(model::Flaw::NeverRead),
            measured_at: None,
        }];
        Problem::from(absences(rig, &silent, &access.notices, how.within))
    };
    if !heard {
        return Err(absent(access));
    }
    let Some(setpoints) = access.setpoints(device, values) else {
        return Err(absent(access));
    };
    let mut written = Vec::new();
    for setpoint in setpoints {
        let one = access
            .write(evidence, device, setpoint, how.within)
            .await
            .map_err(|e| Problem::from(fault(&e)))?;
        written.push(one);
    }
    Ok(written)
}

fn setpoint_text(setpoint: Setpoint) -> String {
    runtime::telemetry::setpoint_text(setpoint)
}

fn written_json(written: &Written) -> Value {
    json!({
        "wished": setpoint_text(written.wished),
        "approved": setpoint_text(written.approved),
        "clamped": written.clamped,
        "steps": written.steps,
        "atom": written.atom.to_string(),
        "proved": written.proved.map(|(stage, after)| json!({
            "stage": format!("{stage:?}").to_lowercase(),
            "after_s": after.as_secs_f64(),
        })),
    })
}

fn written_text(device: &str, written: &Written) -> String {
    let mut text = format!("{device}: {}", setpoint_text(written.approved));
    if !written.clamped.is_empty() {
        text.push_str(&format!(" (limited: {})", written.clamped.join(", ")));
    }
    if written.steps > 1 {
        text.push_str(&format!(", in {} steps along its ramp", written.steps));
    }
    match written.proved {
        Some((_, after)) => text.push_str(&format!(
            ", proved by its own register after {:.0} ms",
            after.as_secs_f64() * 1e3
        )),
        None => text.push_str(", not proved"),
    }
    text
}
