//! `gridrig device record`: what goes over the wire, word for word, with what it was read as.
//!
//! One JSON object per line. The first one names the profile; then come transactions and values
//! in their order. The same lines are the captures that both codecs are held against.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::{DeviceIx, Reading};
use profile::Protocol;
use profile::can::CanId;
use runtime::access::recorder::{Entry, What};
use runtime::rig::{Rig, RigDevice};
use scenario::verdict::Verdict;
use serde_json::{Value, json};

use super::super::live::On;
use crate::codes::usage;
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;
use crate::verb::contact::{Recorded, absences, open_recorded};

/// How often what has come is written. Chosen: a second; less is lost when the power fails.
const EVERY: Duration = Duration::from_secs(1);

/// Records one device for some time.
///
/// # Errors
/// C003 when the file exists or cannot be written, and what keeps the bus from being opened.
pub async fn run(
    rig: &Arc<Rig>,
    device: DeviceIx,
    on: On,
    run_for: Duration,
    out: &Path,
    terminal: &Terminal,
) -> Outcome {
    let fault = |what: &str| {
        Problem::usage(usage(
            "C003",
            format!("{} {what}", out.display()),
            "give `--out` another name; a recording never replaces a file",
        ))
    };
    let mut file =
        std::fs::File::create_new(out).map_err(|e| fault(&format!("cannot be made: {e}")))?;
    let Recorded {
        bench,
        mut access,
        recorder,
        clock,
    } = open_recorded(rig, &[device], on).await?;
    let own = &rig.devices[device.index()];
    let bus = &rig.buses[own.bus];
    let mut head = json!({
        "capture": 1,
        "profile": &*own.profile.id,
        "device": &*own.id,
        "protocol": bus.kind.protocol(),
        "source": format!("recorded by gridrig {} on {}", env!("CARGO_PKG_VERSION"), on.word()),
    });
    if let Some(topic) = &own.topic {
        head["topic"] = json!(topic);
    }
    let mut text = format!("{head}\n");
    let begin = clock.now();
    let (mut transactions, mut values, mut lost) = (0_u64, 0_u64, 0);
    let mut verdict = Verdict::Pass;
    loop {
        let left = run_for.saturating_sub(clock.now().since(begin));
        let is_over = left.is_zero() || verdict == Verdict::Interrupted;
        let (entries, lost_now) = recorder.take();
        lost = lost_now.max(lost);
        for entry in entries {
            if let Some(row) = row(own, device, &entry) {
                match entry.what {
                    What::Sample(_) => values += 1,
                    _ => transactions += 1,
                }
                text.push_str(&format!("{row}\n"));
            }
        }
        file.write_all(text.as_bytes())
            .map_err(|e| fault(&format!("cannot be written: {e}")))?;
        text.clear();
        if is_over {
            break;
        }
        tokio::select! {
            _ = tokio::signal::ctrl_c() => verdict = Verdict::Interrupted,
            () = tokio::time::sleep(left.min(EVERY)) => {}
        }
    }
    let wanted: Vec<_> = own
        .profile
        .points()
        .into_iter()
        .map(|p| (device, p))
        .collect();
    let readings = access.look(&wanted);
    let absences = absences(rig, &readings, &access.notices, run_for);
    drop(bench);
    terminal.draw(&absences);
    if !absences.is_empty() && verdict == Verdict::Pass {
        verdict = Verdict::Infrastructure;
    }
    terminal.result(
        || {
            json!({
                "verdict": verdict.word(),
                "exit_code": verdict.exit_code(),
                "file": out.display().to_string(),
                "transactions": transactions,
                "values": values,
                "lost": lost,
            })
        },
        || {
            format!(
                "{}: {transactions} transactions and {values} values of `{}`; {lost} were lost",
                out.display(),
                own.id
            )
        },
    );
    Ok(verdict)
}

/// An entry as a line, if it is about this device.
fn row(own: &RigDevice, device: DeviceIx, entry: &Entry) -> Option<Value> {
    let t_s = entry.at.as_seconds();
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02X}")).collect() };
    let words = |words: &[u16]| -> Value { words.iter().map(|w| format!("{w:04X}")).collect() };
    match (&entry.what, &own.profile.protocol) {
        (
            What::Modbus {
                unit,
                function,
                address,
                count,
                written,
                answer,
                round_trip,
            },
            Protocol::Modbus(modbus),
        ) => (*unit == own.unit.unwrap_or(modbus.unit)).then(|| {
            let mut row = json!({
                "t_s": t_s, "modbus": function, "unit": unit, "address": address, "count": count,
            });
            if !written.is_empty() {
                row["written"] = words(written);
            }
            match answer {
                Ok(read) => row["words"] = words(read),
                Err(why) => row["error"] = json!(why),
            }
            if let Some(round_trip) = round_trip {
                row["round_trip_s"] = json!(round_trip.as_secs_f64());
            }
            row
        }),
        (What::Can { id, data, is_ours }, Protocol::Can(can)) => {
            let is_known = can.frames.iter().any(|f| f.id == *id)
                || can.keep_alive.iter().any(|k| k.id == *id);
            let id = match id {
                CanId::Standard(id) => format!("{id:03X}"),
                CanId::Extended(id) => format!("{id:08X}"),
            };
            is_known.then(|| json!({"t_s": t_s, "can": id, "data": hex(data), "sent": is_ours}))
        }
        (
            What::Mqtt {
                topic,
                payload,
                retain,
                is_ours,
            },
            Protocol::Mqtt(_),
        ) => {
            let is_own = own
                .topic
                .as_ref()
                .is_some_and(|t| topic.contains(t.as_str()));
            is_own.then(|| {
                let mut row = json!({"t_s": t_s, "mqtt": topic, "retain": retain, "sent": is_ours});
                match std::str::from_utf8(payload) {
                    Ok(text) => row["payload"] = json!(text),
                    Err(_) => row["payload_hex"] = json!(hex(payload)),
                }
                row
            })
        }
        // A line reaches one instrument: all that goes over it is this device's.
        (What::Scpi { line, is_ours }, Protocol::Scpi(_)) => {
            Some(json!({"t_s": t_s, "scpi": line, "sent": is_ours}))
        }
        (What::Sample(sample), _) if sample.device == device => {
            let quality = match sample.sample.reading {
                Reading::Good(_) => "good",
                Reading::Bad(flaw) => flaw.word(),
            };
            Some(json!({
                "t_s": t_s,
                "point": sample.point.name(),
                "value": sample.sample.reading.good(),
                "unit": sample.point.unit(),
                "quality": quality,
            }))
        }
        _ => None,
    }
}
