//! `gridrig device ls`: what each device of a rig says and takes.

use model::Point;
use runtime::access::points_of;
use runtime::rig::Rig;
use scenario::verdict::Verdict;
use serde_json::{Value, json};

use crate::problem::Outcome;
use crate::terminal::Terminal;

pub(super) fn list(rig: &Rig, terminal: &Terminal) -> Outcome {
    let names = |points: &[Point]| points.iter().map(|p| p.name()).collect::<Vec<_>>();
    let rows: Vec<Value> = rig
        .devices
        .iter()
        .map(|device| {
            let says = rig
                .device(&device.id)
                .map(|ix| points_of(rig, ix))
                .unwrap_or_default();
            json!({
                "device": &*device.id,
                "role": device.role.name(),
                "profile": &*device.profile.id,
                "bus": &*rig.buses[device.bus].id,
                "protocol": rig.buses[device.bus].kind.protocol(),
                "says": names(&says),
                "takes": names(&device.profile.controls()),
            })
        })
        .collect();
    if terminal.is_json() {
        terminal.print(Value::from(rows));
        return Ok(Verdict::Pass);
    }
    for (row, device) in rows.iter().zip(&rig.devices) {
        let list = |key: &str| {
            let words: Vec<&str> = row[key]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            if words.is_empty() {
                "nothing".to_owned()
            } else {
                words.join(" ")
            }
        };
        terminal.print(format!(
            "{:<10} {:<8} {:<28} {}",
            device.id,
            device.role.name(),
            device.profile.id,
            rig.buses[device.bus].id
        ));
        terminal.print(format!("           says  {}", list("says")));
        terminal.print(format!("           takes {}", list("takes")));
    }
    Ok(Verdict::Pass)
}
