//! The `[telemetry]` section: who is told the values of the bench besides the run folder.

use std::time::Duration;

use document::Table;

use super::buses::broker;
use super::parse::Reader;
use super::{HomeAssistant, Influx};

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
            let influx = influx(&table);
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

fn influx(table: &Table<'_>) -> Influx {
    let url = table.required_text("url", "http://127.0.0.1:8086");
    Influx {
        org: table.text("org").map_or_else(String::new, |x| x.value),
        bucket: table
            .required_text("bucket", "bench")
            .map_or_else(String::new, |x| x.value),
        token_env: table.text("token_env").map(|x| x.value),
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
