//! `gridrig device watch`: values as they change, with age and quality.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use model::{DeviceIx, Point};
use runtime::access::{PointAccess, PointReading, points_of};
use runtime::rig::Rig;
use scenario::verdict::Verdict;

use super::super::live::On;
use super::read::{reading_json, value_text};
use crate::problem::Outcome;
use crate::rig_file;
use crate::terminal::{self, Terminal};
use crate::verb::contact::{absences, open};

/// How often it is looked for changes. Chosen: 200 ms, faster than a person reads.
const EVERY: Duration = Duration::from_millis(200);

/// What is watched, and for how long.
pub struct Watch<'a> {
    /// One device; all of them without.
    pub device: Option<DeviceIx>,
    /// Points by name; all of them when none is named.
    pub points: &'a [String],
    /// What is at the far end.
    pub on: On,
    /// End by itself after this time.
    pub run_for: Option<Duration>,
}

impl Watch<'_> {
    fn wanted(&self, rig: &Rig) -> Result<Vec<(DeviceIx, Point)>, crate::problem::Problem> {
        let devices: Vec<DeviceIx> = match self.device {
            Some(device) => vec![device],
            None => rig
                .devices
                .iter()
                .filter_map(|d| rig.device(&d.id))
                .collect(),
        };
        let mut wanted = Vec::new();
        for device in &devices {
            let says = points_of(rig, *device);
            if self.points.is_empty() {
                wanted.extend(says.into_iter().map(|p| (*device, p)));
                continue;
            }
            for name in self.points {
                match rig_file::point(&rig.devices[device.index()], name, &says, "says") {
                    Ok(point) => wanted.push((*device, point)),
                    // Of many devices, those that have it are watched.
                    Err(_) if devices.len() > 1 => {}
                    Err(problem) => return Err(problem),
                }
            }
        }
        if wanted.is_empty() {
            // No device has any of them: the first one says what there is.
            let says = points_of(rig, devices[0]);
            let name = self.points.first().map_or("", String::as_str);
            rig_file::point(&rig.devices[devices[0].index()], name, &says, "says")?;
        }
        Ok(wanted)
    }

    /// Watches until Ctrl-C, or until the time is over.
    ///
    /// # Errors
    /// C005 for a point that is not there, and what keeps the buses from being opened.
    pub async fn run(&self, rig: &Arc<Rig>, terminal: &Terminal) -> Outcome {
        let wanted = self.wanted(rig)?;
        let mut devices: Vec<DeviceIx> = wanted.iter().map(|(d, _)| *d).collect();
        devices.dedup();
        let (bench, mut access, clock) = open(rig, &devices, self.on).await?;
        let is_table = !terminal.is_json() && std::io::stdout().is_terminal();
        let begin = clock.now();
        let mut shown: Vec<Option<PointReading>> = vec![None; wanted.len()];
        let mut drawn = false;
        let verdict = loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => break Verdict::Interrupted,
                () = tokio::time::sleep(EVERY) => {}
            }
            let now = clock.now();
            let readings = access.look(&wanted);
            if is_table {
                table(rig, &readings, now, drawn, terminal);
                drawn = true;
            } else {
                for (slot, reading) in shown.iter_mut().zip(&readings) {
                    let is_new = slot.is_none_or(|last| last.reading != reading.reading);
                    if is_new && reading.measured_at.is_some() {
                        line(rig, reading, now, terminal);
                        *slot = Some(*reading);
                    }
                }
            }
            if terminal::nobody_reads() {
                break Verdict::Pass;
            }
            if self.run_for.is_some_and(|time| now.since(begin) >= time) {
                break self.end(rig, &mut access, &wanted, now.since(begin), terminal);
            }
        };
        drop(bench);
        Ok(verdict)
    }

    /// Who gave nothing in all the time is told.
    fn end(
        &self,
        rig: &Rig,
        access: &mut PointAccess,
        wanted: &[(DeviceIx, Point)],
        within: Duration,
        terminal: &Terminal,
    ) -> Verdict {
        let readings = access.look(wanted);
        let absences = absences(rig, &readings, &access.notices, within);
        terminal.draw(&absences);
        if absences.is_empty() {
            Verdict::Pass
        } else {
            Verdict::Infrastructure
        }
    }
}

fn age(reading: &PointReading, now: model::Instant) -> String {
    match reading.measured_at {
        Some(at) => format!("{:.1} s", now.since(at).as_secs_f64()),
        None => "-".to_owned(),
    }
}

fn line(rig: &Rig, reading: &PointReading, now: model::Instant, terminal: &Terminal) {
    if terminal.is_json() {
        let mut row = reading_json(rig, reading, now);
        row["t_s"] = serde_json::json!(now.as_seconds());
        terminal.print(row);
        return;
    }
    terminal.print(format!(
        "{:>9.3} s  {:<12} {:<14} {:<24} age {}",
        now.as_seconds(),
        rig.devices[reading.device.index()].id,
        reading.point.name(),
        value_text(reading),
        age(reading, now)
    ));
}

/// Draws the table over itself.
fn table(
    rig: &Rig,
    readings: &[PointReading],
    now: model::Instant,
    drawn: bool,
    terminal: &Terminal,
) {
    let mut text = String::new();
    if drawn {
        // Cursor up to the first line. Source: ECMA-48, CUU and EL.
        text.push_str(&format!("\x1b[{}A", readings.len()));
    }
    for reading in readings {
        text.push_str(&format!(
            "\x1b[K{:<12} {:<14} {:<24} age {}\n",
            rig.devices[reading.device.index()].id,
            reading.point.name(),
            value_text(reading),
            age(reading, now)
        ));
    }
    terminal.print(text.trim_end_matches('\n'));
}
