//! `gridrig service`: what belongs to a frequency or a voltage in the services of markets and grid
//! codes, as JSON.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use document::Source;
use quantities::Frequency;
use scenario::verdict::Verdict;
use serde_json::{Value, json};
use services::Reactive;
use services::definition::{self, Definition, Shape};

use super::der::read_settings;
use crate::codes::usage;
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;

/// Arguments of `service`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The static characteristic of a service at a frequency or a voltage; the result is JSON.
    Eval {
        /// The service, such as `dc`, `fcr-ce`, `droop` or `volt-var`; `service ls` names them all.
        name: String,
        /// Numbers that differ from the usual ones; for functions of voltage and active power, the
        /// settings of a DER.
        #[arg(long, value_name = "FILE")]
        settings: Option<PathBuf>,
        /// Frequency in hertz.
        #[arg(long, value_name = "HZ")]
        f: f64,
        /// Voltage per unit of nominal.
        #[arg(long, value_name = "PU")]
        v: Option<f64>,
        /// Active power per unit of the rating, positive = into the bus.
        #[arg(long, value_name = "PU", allow_hyphen_values = true)]
        p: Option<f64>,
    },
    /// All services, each with its source and whether that was read.
    Ls,
}

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    match arguments.what {
        What::Ls => list(terminal),
        What::Eval {
            name,
            settings,
            f,
            v,
            p,
        } => {
            for (flag, value) in [("--f", Some(f)), ("--v", v), ("--p", p)] {
                if value.is_some_and(|value| !value.is_finite()) {
                    let message = format!("`{flag}` is not a finite number");
                    return Err(Problem::usage(usage(
                        "C001",
                        message,
                        "for example `--f 49.8`",
                    )));
                }
            }
            let service = definition::named(&name)?;
            let told = match &service.shape {
                Shape::OfADer { section } => {
                    let settings = settings.as_deref();
                    let mut told = function(&name, section, settings, (f, v, p), terminal)?;
                    told["origin"] = json!(service.origin.word());
                    told["source"] = json!(service.source);
                    told["edition"] = json!(service.edition);
                    told
                }
                _ => of_the_controller(service, settings.as_deref(), f, v)?,
            };
            terminal.print(told);
            Ok(Verdict::Pass)
        }
    }
}

fn list(terminal: &Terminal) -> Outcome {
    let all = definition::all()?;
    terminal.result(
        || all.iter().map(about).collect(),
        || {
            let line = |d: &Definition| {
                format!(
                    "{:<16} {} [{}: {}]",
                    d.name,
                    d.title,
                    d.origin.word(),
                    d.source
                )
            };
            let lines: Vec<String> = all.iter().map(line).collect();
            lines.join("\n")
        },
    );
    Ok(Verdict::Pass)
}

fn about(of: &Definition) -> Value {
    let [start_s, full_s, hold_s] = of.times_s;
    json!({
        "service": of.name, "title": of.title, "origin": of.origin.word(), "source": of.source,
        "edition": of.edition, "f_nom_hz": of.nominal.map(Frequency::as_hertz),
        "start_s": start_s, "full_s": full_s, "hold_s": hold_s,
    })
}

fn of_the_controller(
    mut service: Definition,
    settings: Option<&Path>,
    f_hz: f64,
    v: Option<f64>,
) -> Result<Value, Problem> {
    if let Some(path) = settings {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| {
            let message = format!("{shown} cannot be read: {e}");
            Problem::usage(usage("C003", message, "name a TOML file with settings"))
        })?;
        service = service.with(Source::new(shown, text))?;
    }
    let name = &service.name;
    let mut told = json!({
        "service": name, "f_hz": f_hz,
        "origin": service.origin.word(), "source": service.source, "edition": service.edition,
    });
    if let Shape::Voltage { .. } = service.shape {
        let v_pu = needed(name, v, "--v")?;
        told["v_pu"] = json!(v_pu);
        told["q_fraction"] = json!(service.q_fraction(v_pu));
        return Ok(told);
    }
    let f = Frequency::from_hertz(f_hz);
    let Some(fraction) = service.fraction(f) else {
        let message = format!("`{name}` follows a signal, not the frequency");
        return Err(Problem::usage(usage(
            "G021",
            message,
            "see `gridrig explain G021`",
        )));
    };
    told["p_fraction"] = json!(fraction);
    told["f_nom_hz"] = json!(service.nominal_at(f).as_hertz());
    Ok(told)
}

/// A number without which a function cannot be evaluated.
fn needed(name: &str, value: Option<f64>, flag: &str) -> Result<f64, Problem> {
    value.ok_or_else(|| {
        let message = format!("`{name}` needs `{flag}`");
        Problem::usage(usage(
            "G022",
            message,
            "for example `--f 60 --v 0.95` or `--f 60 --p 0.5`",
        ))
    })
}

fn function(
    name: &str,
    section: &str,
    settings: Option<&Path>,
    (f_hz, v, p): (f64, Option<f64>, Option<f64>),
    terminal: &Terminal,
) -> Result<Value, Problem> {
    let settings = match settings {
        Some(path) => read_settings(path, terminal)?,
        None => der_model::settings::read(Source::new("the default", format!("[{section}]\n")))?.0,
    };
    let needed = |value, flag: &str| needed(name, value, flag);
    let off = || {
        let message = format!("`{section}` is not on in these settings");
        Problem::usage(usage(
            "G022",
            message,
            "add its section, or set `enabled = true` in it",
        ))
    };
    if name == "volt-watt" {
        let v_pu = needed(v, "--v")?;
        let function = settings.volt_watt.as_ref().ok_or_else(off)?;
        let ceiling = function.curve.value(v_pu);
        return Ok(json!({"service": name, "f_hz": f_hz, "v_pu": v_pu, "p_fraction": ceiling}));
    }
    let law = &settings.reactive.as_ref().ok_or_else(off)?.law;
    let fits = match law {
        Reactive::VoltVar(_) => "volt-var",
        Reactive::WattVar(_) => "watt-var",
        Reactive::PowerFactor { .. } => "const-pf",
        Reactive::Constant(_) => "const-q",
    };
    if fits != name {
        return Err(off());
    }
    let mut told = json!({"service": name, "f_hz": f_hz});
    let (v_pu, p_pu) = match law {
        Reactive::VoltVar(_) => (needed(v, "--v")?, 0.0),
        Reactive::Constant(_) => (1.0, 0.0),
        _ => (1.0, needed(p, "--p")?),
    };
    for (key, value) in [("v_pu", v), ("p_pu", p)] {
        if let Some(value) = value {
            told[key] = json!(value);
        }
    }
    told["q_fraction"] = json!(law.q(v_pu, p_pu) + 0.0);
    Ok(told)
}
