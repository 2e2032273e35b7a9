//! The `[telemetry]` section: who is told the values of the bench besides the run folder.

use std::time::Duration;

use document::{Actor, Diagnostic, Table};

use super::buses::broker;
use super::parse::Reader;
use super::{HomeAssistant, Influx, SecretFrom};
use crate::telemetry::{WriteApi, check_url};

/// Everybody who is told.
#[derive(Default)]
pub(super) struct Sinks {
    pub(super) influx: Option<Influx>,
    pub(super) home_assistant: Option<HomeAssistant>,
}

pub(super) fn sinks(reader: &Reader<'_>) -> Sinks {
    let Some(telemetry) = reader.section("telemetry") else {
        return Sinks::default();
    };
    let sinks = Sinks {
        influx: telemetry.table("influx").map(|table| {
            let influx = influx(reader, &table);
            table.finish();
            influx
        }),
        home_assistant: telemetry.table("homeassistant").and_then(|table| {
            let home = home_assistant(reader, &table);
            table.finish();
            home
        }),
    };
    telemetry.finish();
    sinks
}

fn influx(reader: &Reader<'_>, table: &Table<'_>) -> Influx {
    let url = table.required_text("url", "http://127.0.0.1:8086");
    let ca = table.text("ca");
    if let Some(url) = &url {
        let wrong = match (check_url(&url.value), &ca) {
            (Err(why), _) => Some((url.span.clone(), why, "scheme, host and port, nothing else")),
            (Ok(()), Some(ca)) if !url.value.starts_with("https://") => Some((
                ca.span.clone(),
                "a certificate authority needs an encrypted connection".to_owned(),
                "write `https://` in `url`, or leave `ca` out",
            )),
            (Ok(()), _) => None,
        };
        if let Some((span, what, help)) = wrong {
            table.document().error("R115", span, what, "", help);
        }
    }
    Influx {
        api: table
            .choice("api", &[("v2", WriteApi::V2), ("v1", WriteApi::V1)])
            .map_or(WriteApi::V2, |x| x.value),
        org: table.text("org").map_or_else(String::new, |x| x.value),
        bucket: table
            .required_text("bucket", "bench")
            .map_or_else(String::new, |x| x.value),
        token: token(reader, table),
        ca: ca.map(|ca| reader.path(table, &ca.value)),
        spool_bytes: table
            .text("spool")
            .and_then(|x| {
                let bytes = spool_bytes(&x.value);
                if bytes.is_none() {
                    table.document().error(
                        "D007",
                        x.span,
                        "`spool` cannot be read",
                        "",
                        "write it as \"512MB\"",
                    );
                }
                bytes
            })
            // Chosen: a day of the demo bench's telemetry.
            .unwrap_or(512_000_000),
        url: url.map_or_else(String::new, |x| x.value),
    }
}

fn token(reader: &Reader<'_>, table: &Table<'_>) -> Option<SecretFrom> {
    let env = table.text("token_env");
    let file = table.text("token_file");
    if let (Some(_), Some(file)) = (&env, &file) {
        table.document().error(
            "D005",
            file.span.clone(),
            "the token is named twice",
            "",
            "keep one of `token_env` and `token_file`",
        );
    }
    let env = env.map(|x| SecretFrom::Environment(x.value));
    env.or_else(|| file.map(|x| SecretFrom::File(reader.path(table, &x.value))))
}

impl SecretFrom {
    /// Fetches the secret; `what` names it in the sentence of a fault.
    ///
    /// # Errors
    /// R022 when the variable is not set, R023 when the file cannot be read or holds no secret in one line.
    pub fn read(&self, what: &str) -> Result<String, Box<Diagnostic>> {
        let fault = |code, fault: String, help: String| {
            Box::new(Diagnostic::error(code, Actor::Operator, fault).help(help))
        };
        match self {
            Self::Environment(name) => std::env::var(name).map_err(|_| {
                let help = format!("set the environment variable {name}");
                fault("R022", format!("{what} is not set"), help)
            }),
            Self::File(path) => {
                let text = std::fs::read_to_string(path).map_err(|e| {
                    let cause = format!("the file {} cannot be read: {e}", path.display());
                    fault("R023", cause, format!("give the path of {what}"))
                })?;
                let secret = text.trim();
                if secret.is_empty() || secret.contains(char::is_control) {
                    let cause = format!("the file {} does not hold {what}", path.display());
                    let help = "write it into the file, in one line".to_owned();
                    return Err(fault("R023", cause, help));
                }
                Ok(secret.to_owned())
            }
        }
    }
}

/// First level of the topics of discovery where the rig names none: Home Assistant's own default.
const PREFIX: &str = "homeassistant";
/// How often the values of a device are told where the rig does not say. Chosen: 5 s, as often
/// as most meters are asked in a home; each value becomes a row of its database.
const EVERY: Duration = Duration::from_secs(5);
/// Shortest and longest time between two values. Chosen: a second, and an hour.
const EVERY_RANGE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

fn home_assistant(reader: &Reader<'_>, table: &Table<'_>) -> Option<HomeAssistant> {
    let prefix = table.text("prefix");
    let every = table.duration("every");
    // Read first, so that its faults are told together with the others.
    let broker = broker(reader, table);
    let fits = |prefix: &str| {
        !prefix.is_empty() && !prefix.contains(['+', '#', '\0']) && !prefix.starts_with('$')
    };
    if let Some(prefix) = prefix.as_ref().filter(|p| !fits(&p.value)) {
        table.document().error(
            "D005",
            prefix.span.clone(),
            "`prefix` cannot stand in a topic",
            "",
            "write the discovery prefix of Home Assistant's MQTT settings, such as \"homeassistant\"",
        );
        return None;
    }
    if let Some(every) = every.as_ref()
        && !(EVERY_RANGE.0..=EVERY_RANGE.1).contains(&every.value)
    {
        table.document().error(
            "D005",
            every.span.clone(),
            "`every` must lie between 1s and 1h",
            "",
            "leave it out for 5s",
        );
        return None;
    }
    Some(HomeAssistant {
        broker: broker?,
        prefix: prefix.map_or_else(|| PREFIX.to_owned(), |p| p.value),
        every: every.map_or(EVERY, |e| e.value),
    })
}

fn spool_bytes(text: &str) -> Option<u64> {
    let units = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)];
    units.iter().find_map(|(unit, factor)| {
        let number: u64 = text.trim().strip_suffix(unit)?.trim().parse().ok()?;
        number.checked_mul(*factor)
    })
}
