//! `gridrig device curve`: a characteristic that a device follows by itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use model::{Characteristic, DeviceIx, Droop};
use runtime::rig::Rig;
use scenario::folder::About;
use scenario::report::result::LedgerSummary;
use scenario::verdict::Verdict;
use serde_json::json;

use super::contact::{How, absences, begin_evidence, fault, in_runtime, no_ledger, open};
use super::live::{SEED, time};
use crate::codes::usage;
use crate::folder::{self, Attempt};
use crate::problem::{Outcome, Problem};
use crate::rig_file;
use crate::terminal::Terminal;

/// Which characteristic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Reactive power of the voltage.
    VoltVar,
    /// Ceiling of active power of the voltage.
    VoltWatt,
    /// Reactive power of the active power.
    WattVar,
    /// Active power of the frequency.
    FreqDroop,
    /// A constant power factor.
    PowerFactor,
}

/// Arguments of `device curve`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The rig.
    rig: PathBuf,
    /// The device.
    device: String,
    /// Which characteristic.
    #[arg(value_enum)]
    kind: Kind,
    /// Points of a curve in per unit: voltage (of nominal) or active power (of the largest), then
    /// reactive power (of the largest apparent power) or active power; such as `0.92:0.44,0.98:0`.
    #[arg(long, value_name = "X:Y,..", allow_hyphen_values = true)]
    points: Option<String>,
    /// Dead band of the droop in hertz, above and below nominal.
    #[arg(long, value_name = "HZ")]
    deadband: Option<f64>,
    /// Droop: change of frequency per change of power, both in per unit, such as 0.05.
    #[arg(long)]
    droop: Option<f64>,
    /// The power factor.
    #[arg(long)]
    pf: Option<f64>,
    /// With the power factor: reactive power is taken, not given.
    #[arg(long)]
    absorb: bool,
    /// Time after which the device gives it up by itself.
    #[arg(long, value_name = "TIME", value_parser = time)]
    revert: Option<Duration>,
    /// Yes, change what the device does.
    #[arg(long)]
    arm: bool,
    /// The run folder for the evidence (by default a new one under `out/`).
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    let rig = rig_file::load(Some(&arguments.rig), terminal)?;
    let device = rig_file::device(&rig, &arguments.device)?;
    let wish = characteristic(&arguments)?;
    if !arguments.arm {
        return Err(Problem::usage(usage(
            "C006",
            "a characteristic changes what the device does, and this was not armed",
            "add `--arm` if that is what you want",
        )));
    }
    let about = About {
        rig: rig.source.path.clone(),
        on: arguments.how.on.word().into(),
        speed: "1".into(),
        seed: SEED,
        ..About::default()
    };
    let attempt = folder::make(arguments.out.as_deref(), "curve", about)?;
    in_runtime(adopt(&rig, device, wish, &arguments, &attempt, terminal))?
        .map_err(|problem| attempt.failed(problem))
}

/// The characteristic that the arguments name; those of another kind are told.
fn characteristic(arguments: &Arguments) -> Result<Characteristic, Problem> {
    let fail = |what: String, help: &str| Problem::usage(usage("C001", what, help));
    let kind = arguments.kind;
    let given = [
        ("--points", arguments.points.is_some()),
        ("--deadband", arguments.deadband.is_some()),
        ("--droop", arguments.droop.is_some()),
        ("--pf", arguments.pf.is_some()),
        ("--absorb", arguments.absorb),
    ];
    let taken: &[&str] = match kind {
        Kind::VoltVar | Kind::VoltWatt | Kind::WattVar => &["--points"],
        Kind::FreqDroop => &["--deadband", "--droop"],
        Kind::PowerFactor => &["--pf", "--absorb"],
    };
    let foreign = given.iter().find(|(name, is)| *is && !taken.contains(name));
    if let Some((name, _)) = foreign {
        return Err(fail(
            format!("`{name}` says nothing about this characteristic"),
            &format!("it takes {}", taken.join(" and ")),
        ));
    }
    let missing = |name: &str| {
        fail(
            format!("`{name}` is missing"),
            "for example `volt-var --points 0.92:0.44,0.98:0,1.02:0,1.08:-0.44`, \
             `freq-droop --deadband 0.036 --droop 0.05` or `power-factor --pf 0.95 --absorb`",
        )
    };
    let points = || {
        let text = arguments.points.as_deref();
        points_of(text.ok_or_else(|| missing("--points"))?).map_err(|word| {
            fail(
                format!("`{word}` is not a point"),
                "write it like `0.92:0.44`, points with commas between",
            )
        })
    };
    Ok(match kind {
        Kind::VoltVar => Characteristic::VoltVar(points()?),
        Kind::VoltWatt => Characteristic::VoltWatt(points()?),
        Kind::WattVar => Characteristic::WattVar(points()?),
        Kind::FreqDroop => {
            let db = arguments.deadband.ok_or_else(|| missing("--deadband"))?;
            let k = arguments.droop.ok_or_else(|| missing("--droop"))?;
            Characteristic::FreqDroop(Droop {
                db_over_hz: db,
                db_under_hz: db,
                k_over: k,
                k_under: k,
            })
        }
        Kind::PowerFactor => Characteristic::PowerFactor {
            pf: arguments.pf.ok_or_else(|| missing("--pf"))?,
            absorbs: arguments.absorb,
        },
    })
}

/// Points such as `0.92:0.44,0.98:0`; the error is the word that is none.
fn points_of(text: &str) -> Result<Vec<(f64, f64)>, &str> {
    let number = |word: &str| word.trim().parse::<f64>().ok();
    text.split(',')
        .map(|word| {
            let (x, y) = word.split_once(':').ok_or(word)?;
            number(x).zip(number(y)).ok_or(word)
        })
        .collect()
}

async fn adopt(
    rig: &Arc<Rig>,
    device: DeviceIx,
    wish: Characteristic,
    arguments: &Arguments,
    attempt: &Attempt,
    terminal: &Terminal,
) -> Outcome {
    let how = &arguments.how;
    let (bench, mut access, clock) = open(rig, &[device], how.on).await?;
    let mut evidence = begin_evidence(rig, attempt, &*clock)?;
    let done = access
        .adopt(&mut evidence, device, wish, arguments.revert, how.within)
        .await;
    let heard = access.heard_at(device).is_some();
    // The log is closed in good order also when the device was not.
    let root = evidence
        .close(clock.utc())
        .map_err(|e| no_ledger(attempt, &e));
    let notices = std::mem::take(&mut access.notices);
    drop(bench);
    let adopted = match done {
        Ok(adopted) => adopted,
        Err(_) if !heard => {
            let silent = [runtime::access::PointReading {
                device,
                point: model::Point::ActivePower,
                reading: model::Reading::Bad(model::Flaw::NeverRead),
                measured_at: None,
            }];
            return Err(Problem::from(absences(rig, &silent, &notices, how.within)));
        }
        Err(e) => return Err(Problem::from(fault(&e))),
    };
    let root = root?;
    let verified = ledger_verify::verify(&attempt.dir);
    attempt.conclude(Verdict::Pass, "", |result| {
        result.ledger = LedgerSummary {
            root: Some(root),
            entries: verified.entries,
            verified: Some(verified.is_ok()),
            ..LedgerSummary::default()
        };
    })?;
    let name = &rig.devices[device.index()].id;
    let after_s = adopted.after.as_secs_f64();
    if terminal.is_json() {
        terminal.print(json!({
            "run": attempt.dir,
            "device": &**name,
            "characteristic": adopted.characteristic,
            "atom": adopted.atom.to_string(),
            "proved_after_s": after_s,
        }));
    } else {
        terminal.print(format!(
            "{name}: {}, proved by its own registers and enabled after {after_s:.1} s",
            adopted.characteristic
        ));
        terminal.say(format!("The evidence is in {}.", attempt.dir.display()));
    }
    Ok(Verdict::Pass)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_pairs_with_commas_between() {
        type Row = (&'static str, Result<&'static [(f64, f64)], &'static str>);
        let rows: &[Row] = &[
            ("0.92:0.44,1.08:-0.44", Ok(&[(0.92, 0.44), (1.08, -0.44)])),
            ("1:0", Ok(&[(1.0, 0.0)])),
            ("1", Err("1")),
            ("1:0,x:1", Err("x:1")),
            ("", Err("")),
        ];
        for (text, expected) in rows {
            assert_eq!(points_of(text), expected.map(<[_]>::to_vec), "{text}");
        }
    }
}
