//! The market of a run as objects of OpenADR 3: a program, events with prices and setpoints, and reports
//! with what was metered.
//!
//! Prices are those of a local interval, in EUR per kilowatt-hour: `PRICE` to take energy and
//! `EXPORT_PRICE` to give it are the same where all trade at one price. A setpoint is the mean power that
//! a participant committed to, in kilowatt and positive into the bus. What was metered is `USAGE` in
//! kilowatt-hours, positive out of the bus, as users count what they use.

use std::collections::BTreeMap;

use ledger_core::payload::Payload;
use model::UtcTime;
use serde_json::{Value, json};

use market::venue::balancing::POOL;

use super::super::UTILITY;
use super::{MarketOfRun, When};

/// Names of the one program and of whoever reports.
const PROGRAM: &str = "gridrig-market";
/// Milli-cents in a euro.
const MC_PER_EUR: f64 = 1e5;
/// Milliwatt-hours in a kilowatt-hour.
const MWH_PER_KWH: f64 = 1e6;
/// Nanoseconds in an hour.
const NS_PER_HOUR: f64 = 3.6e12;

impl When {
    /// The period of an interval; OpenADR writes moments as RFC 3339 does and lengths as ISO 8601 does.
    fn period(&self) -> Value {
        json!({
            "start": UtcTime::from_unix_nanos(self.begins_utc_ns).to_string(),
            "duration": super::cts::duration(self.interval.dt_ns),
        })
    }

    fn interval(&self, payloads: &[(&str, f64)]) -> Value {
        let payloads = payloads.iter();
        let payloads = payloads.map(|(kind, value)| json!({ "type": kind, "values": [value] }));
        json!({
            "id": self.index,
            "intervalPeriod": self.period(),
            "payloads": payloads.collect::<Vec<_>>(),
        })
    }
}

fn event(
    id: &str,
    name: &str,
    targets: &[String],
    kinds: &[(&str, &str)],
    intervals: &[Value],
) -> Value {
    let descriptors = kinds.iter().map(|(kind, units)| {
        let mut descriptor = json!({
            "objectType": "EVENT_PAYLOAD_DESCRIPTOR",
            "payloadType": kind,
            "units": units,
        });
        if kind.ends_with("PRICE") {
            descriptor["currency"] = json!("EUR");
        }
        descriptor
    });
    json!({
        "id": id,
        "objectType": "EVENT",
        "programID": PROGRAM,
        "eventName": name,
        "targets": targets,
        "payloadDescriptors": descriptors.collect::<Vec<_>>(),
        "intervals": intervals,
    })
}

impl MarketOfRun {
    /// The document: one program, its events, and the reports that answer them.
    #[must_use]
    pub fn openadr(&self) -> Value {
        let mut prices = Vec::new();
        let mut setpoints: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let mut usages: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        // What stands of an interval before real time.
        let mut earlier: BTreeMap<u64, BTreeMap<String, i64>> = BTreeMap::new();
        for (_, payload) in &self.records {
            let Some(when) = self.number_of(payload).and_then(|number| self.when(number)) else {
                continue;
            };
            match payload {
                // What was traded ahead is traded again in real time, or stands beside what is activated there.
                Payload::Clearing(clearing) if when.stage == "real_time" => {
                    if let Some(mc) = clearing.price_millicents_per_kwh {
                        let price = mc as f64 / MC_PER_EUR;
                        prices.push(when.interval(&[("PRICE", price), ("EXPORT_PRICE", price)]));
                    }
                    let mut positions = earlier.remove(&when.index).unwrap_or_default();
                    for fill in &clearing.fills {
                        let position = positions.entry(fill.agent.clone()).or_default();
                        *position += self.injected(fill).unwrap_or_default();
                    }
                    positions.retain(|who, _| who != UTILITY && who != POOL);
                    for (who, energy) in positions {
                        let who = self.name(&who);
                        let hours = when.interval.dt_ns as f64 / NS_PER_HOUR;
                        let kilowatts = energy as f64 / MWH_PER_KWH / hours;
                        let interval = when.interval(&[("DISPATCH_SETPOINT", kilowatts)]);
                        setpoints.entry(who).or_default().push(interval);
                    }
                }
                Payload::Clearing(clearing)
                    if self.rules.balancing && when.stage == "day_ahead" =>
                {
                    let positions = earlier.entry(when.index).or_default();
                    for fill in &clearing.fills {
                        let position = positions.entry(fill.agent.clone()).or_default();
                        *position += self.injected(fill).unwrap_or_default();
                    }
                }
                Payload::Trade(deal) => {
                    let Some((index, sides)) = self.rules.delivered_by(deal) else {
                        continue;
                    };
                    for (who, energy) in sides {
                        let positions = earlier.entry(index).or_default();
                        *positions.entry(who.to_owned()).or_default() +=
                            self.protection.energy(energy);
                    }
                }
                Payload::MeterReading(reading) => {
                    if let Some(mwh) = reading.energy_milliwatt_hours {
                        let used = -self.protection.energy(mwh) as f64 / MWH_PER_KWH;
                        // Zero has no sign.
                        let interval = when.interval(&[("USAGE", used + 0.0)]);
                        let who = self.name(&reading.participant);
                        usages.entry(who).or_default().push(interval);
                    }
                }
                _ => {}
            }
        }
        let kinds = [("PRICE", "KWH"), ("EXPORT_PRICE", "KWH")];
        let mut events = vec![event("prices", "local prices", &[], &kinds, &prices)];
        for (who, intervals) in &setpoints {
            let (id, name) = (format!("dispatch-{who}"), format!("dispatch of {who}"));
            let kinds = [("DISPATCH_SETPOINT", "KW")];
            events.push(event(
                &id,
                &name,
                std::slice::from_ref(who),
                &kinds,
                intervals,
            ));
        }
        let reports = usages.iter().map(|(who, intervals)| {
            let answers = match setpoints.contains_key(who) {
                true => format!("dispatch-{who}"),
                false => "prices".into(),
            };
            json!({
                "objectType": "REPORT",
                "programID": PROGRAM,
                "eventID": answers,
                "clientName": "gridrig",
                "reportName": format!("metered energy of {who}"),
                "payloadDescriptors": [{
                    "objectType": "REPORT_PAYLOAD_DESCRIPTOR",
                    "payloadType": "USAGE",
                    "readingType": "DIRECT_READ",
                    "units": "KWH",
                }],
                "resources": [{ "resourceName": who, "intervals": intervals }],
            })
        });
        let reports: Vec<Value> = reports.collect();
        json!({
            "programs": [{ "id": PROGRAM, "objectType": "PROGRAM", "programName": PROGRAM }],
            "events": events,
            "reports": reports,
        })
    }
}
