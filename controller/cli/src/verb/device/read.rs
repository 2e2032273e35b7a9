//! `gridrig device read`: the points of a device, once.

use std::sync::Arc;

use model::{DeviceIx, Reading};
use runtime::access::{PointReading, points_of};
use runtime::rig::Rig;
use scenario::verdict::Verdict;
use serde_json::{Value, json};

use crate::problem::Outcome;
use crate::rig_file;
use crate::terminal::Terminal;
use crate::verb::contact::{How, absences, open};

/// A value with its unit, or why there is none.
pub fn value_text(reading: &PointReading) -> String {
    match reading.reading {
        Reading::Good(value) => {
            let (value, unit) = match reading.point.unit() {
                "1" => (value, String::new()),
                unit => (value, format!(" {unit}")),
            };
            format!("{}{unit}", scenario::report::number(value))
        }
        Reading::Bad(flaw) => format!("- ({})", flaw.word()),
    }
}

/// A reading for machines.
pub fn reading_json(rig: &Rig, reading: &PointReading, now: model::Instant) -> Value {
    let flaw = match reading.reading {
        Reading::Good(_) => None,
        Reading::Bad(flaw) => Some(flaw.word()),
    };
    json!({
        "device": &*rig.devices[reading.device.index()].id,
        "point": reading.point.name(),
        "value": reading.reading.good(),
        "unit": reading.point.unit(),
        "quality": flaw.unwrap_or("good"),
        "age_s": reading.measured_at.map(|at| now.since(at).as_secs_f64()),
    })
}

pub(super) async fn read(
    rig: &Arc<Rig>,
    device: DeviceIx,
    names: &[String],
    how: &How,
    terminal: &Terminal,
) -> Outcome {
    let says = points_of(rig, device);
    let points = if names.is_empty() {
        says
    } else {
        names
            .iter()
            .map(|n| rig_file::point(&rig.devices[device.index()], n, &says, "says"))
            .collect::<Result<_, _>>()?
    };
    let (bench, mut access, clock) = open(rig, &[device], how.on).await?;
    let wanted: Vec<_> = points.into_iter().map(|p| (device, p)).collect();
    let readings = access.read(&wanted, how.within).await;
    let now = clock.now();
    if terminal.is_json() {
        let rows: Value = readings.iter().map(|r| reading_json(rig, r, now)).collect();
        terminal.print(rows);
    } else {
        for reading in &readings {
            terminal.print(format!(
                "{:<16} {}",
                reading.point.name(),
                value_text(reading)
            ));
        }
    }
    let absences = absences(rig, &readings, &access.notices, how.within);
    drop(bench);
    if absences.is_empty() {
        return Ok(Verdict::Pass);
    }
    // The readings are the JSON document; what is missing is drawn for people.
    terminal.draw(&absences);
    Ok(Verdict::Infrastructure)
}
