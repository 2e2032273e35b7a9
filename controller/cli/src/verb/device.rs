//! `gridrig device`: single points of devices, through the same drivers and the same limiter.

mod list;
pub mod read;
mod record;
mod watch;
mod write;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use scenario::folder::About;

use super::contact::{How, in_runtime};
use super::live::{On, SEED, time};
use crate::codes::usage;
use crate::folder;
use crate::problem::{Outcome, Problem};
use crate::rig_file;
use crate::terminal::Terminal;

/// Arguments of `device`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The devices of a rig with all that they say and take.
    Ls {
        /// The rig.
        rig: PathBuf,
    },
    /// Read points of a device; all of them when none is named.
    Read {
        /// The rig.
        rig: PathBuf,
        /// The device.
        device: String,
        /// Points such as `ac.p`.
        points: Vec<String>,
        #[command(flatten)]
        how: How,
    },
    /// Show values as they change, until Ctrl-C.
    Watch {
        /// The rig.
        rig: PathBuf,
        /// The device; all of them without.
        device: Option<String>,
        /// Points such as `ac.p`; all of them when none is named.
        #[arg(long = "point", value_name = "POINT")]
        points: Vec<String>,
        /// End by itself after this time.
        #[arg(long = "for", value_name = "TIME", value_parser = time)]
        run_for: Option<Duration>,
        /// What is at the far end of the buses.
        #[arg(long, value_enum, default_value = "bench")]
        on: On,
    },
    /// Record what goes over the wire, with what it was read as.
    Record {
        /// The rig.
        rig: PathBuf,
        /// The device.
        device: String,
        /// For how long.
        #[arg(long = "for", value_name = "TIME", value_parser = time)]
        run_for: Duration,
        /// The recording, one JSON object per line; the file must not exist yet.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// What is at the far end of the buses.
        #[arg(long, value_enum, default_value = "bench")]
        on: On,
    },
    /// Write setpoints to a device: limited, recorded, read back.
    Write {
        /// The rig.
        rig: PathBuf,
        /// The device.
        device: String,
        /// Setpoints such as `ctl.p_set=-500W` or `switch.on=off`.
        #[arg(required = true, value_name = "POINT=VALUE")]
        setpoints: Vec<String>,
        /// Yes, move power.
        #[arg(long)]
        arm: bool,
        /// The run folder for the evidence (by default a new one under `out/`).
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        #[command(flatten)]
        how: How,
    },
    /// Let an inverter adopt a characteristic that it then follows by itself: limited, recorded,
    /// read back, and only then enabled.
    Curve(super::curve::Arguments),
}

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    match arguments.what {
        What::Curve(arguments) => super::curve::run(arguments, terminal),
        What::Ls { rig } => list::list(&*rig_file::load(Some(&rig), terminal)?, terminal),
        What::Read {
            rig,
            device,
            points,
            how,
        } => {
            let rig = rig_file::load(Some(&rig), terminal)?;
            let device = rig_file::device(&rig, &device)?;
            in_runtime(read::read(&rig, device, &points, &how, terminal))?
        }
        What::Watch {
            rig,
            device,
            points,
            run_for,
            on,
        } => {
            let rig = rig_file::load(Some(&rig), terminal)?;
            let device = device.map(|d| rig_file::device(&rig, &d)).transpose()?;
            let watch = watch::Watch {
                device,
                points: &points,
                on,
                run_for,
            };
            in_runtime(watch.run(&rig, terminal))?
        }
        What::Record {
            rig,
            device,
            run_for,
            out,
            on,
        } => {
            let rig = rig_file::load(Some(&rig), terminal)?;
            let device = rig_file::device(&rig, &device)?;
            in_runtime(record::run(&rig, device, on, run_for, &out, terminal))?
        }
        What::Write {
            rig,
            device,
            setpoints,
            arm,
            out,
            how,
        } => {
            let rig = rig_file::load(Some(&rig), terminal)?;
            let device = rig_file::device(&rig, &device)?;
            let values = write::values(&rig, device, &setpoints)?;
            if !arm {
                return Err(Problem::usage(usage(
                    "C006",
                    "writing moves power, and this was not armed",
                    "add `--arm` if that is what you want",
                )));
            }
            let about = About {
                rig: rig.source.path.clone(),
                on: how.on.word().into(),
                speed: "1".into(),
                seed: SEED,
                ..About::default()
            };
            let attempt = folder::make(out.as_deref(), "write", about)?;
            in_runtime(write::write(
                &rig, device, &values, &how, &attempt, terminal,
            ))?
            .map_err(|problem| attempt.failed(problem))
        }
    }
}
