//! Figures of the bench itself for a time-series server, once a second: its buses, its cycles, its services.
//!
//! They are no samples of devices, so the store of the run folder does not hold them; there, events and the
//! journal tell the same.

use model::UtcTime;

use super::line::{Line, line_of};

/// What is measured, with its tag and its fields; the names are pinned by the dashboards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Measurement.
    pub measurement: &'static str,
    /// Tag that tells one from another; empty where there is one only.
    pub tag: &'static str,
    /// Fields, units in the names.
    pub fields: &'static [&'static str],
}

/// A bus: how much of the second it was busy, and what was counted since the run began.
pub const BUS: Kind = Kind {
    measurement: "bus",
    tag: "bus",
    fields: &[
        "busy_percent",
        "requests",
        "answers",
        "timeouts",
        "corrupt",
        "exceptions",
        "reconnects",
    ],
};

/// The worst control cycle of the second: how late it began, and how long it took.
pub const CYCLE: Kind = Kind {
    measurement: "cycle",
    tag: "",
    fields: &["late_ms", "took_ms"],
};

/// A service: what it is asked for on top of its baseline, and what it could give up and down (magnitudes).
pub const SERVICE: Kind = Kind {
    measurement: "service",
    tag: "service",
    fields: &["asked_w", "up_w", "down_w", "available"],
};

/// All kinds.
#[cfg(test)]
pub(super) const KINDS: [Kind; 3] = [BUS, CYCLE, SERVICE];

/// The figures of one thing at one time, in the order of the fields of their kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    kind: Kind,
    of: String,
    values: Vec<f64>,
}

impl Figures {
    /// A bus, by its name.
    #[must_use]
    pub fn of_bus(name: &str, busy_percent: f64, report: &bus::BusReport) -> Self {
        let counts = [
            report.requests,
            report.answers,
            report.timeouts,
            report.corrupt,
            report.exceptions,
            report.reconnects,
        ];
        let values = [busy_percent]
            .into_iter()
            .chain(counts.map(|count| count as f64));
        Self {
            kind: BUS,
            of: name.to_owned(),
            values: values.collect(),
        }
    }

    /// The worst cycle of a second.
    #[must_use]
    pub fn of_cycle(late_ms: f64, took_ms: f64) -> Self {
        Self {
            kind: CYCLE,
            of: String::new(),
            values: vec![late_ms, took_ms],
        }
    }

    /// A service, by its name.
    #[must_use]
    pub fn of_service(name: &str, report: &model::ServiceReport) -> Self {
        Self {
            kind: SERVICE,
            of: name.to_owned(),
            values: vec![
                report.asked.as_watts(),
                report.up.as_watts(),
                report.down.as_watts(),
                f64::from(u8::from(report.available)),
            ],
        }
    }

    /// The line of the protocol; `None` when no figure is a number.
    pub(super) fn line(&self, utc: UtcTime) -> Option<Line> {
        let tag = (self.kind.tag, self.of.as_str());
        let fields = self
            .kind
            .fields
            .iter()
            .copied()
            .zip(self.values.iter().copied());
        line_of(self.kind.measurement, tag, fields, utc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_value_for_each_of_its_fields_and_a_line_that_names_them() {
        let report = bus::BusStats::default().report();
        let utc = UtcTime::from_unix_nanos(7);
        for (figures, line) in [
            (
                Figures::of_bus("lan 1", 12.5, &report),
                "bus,bus=lan\\ 1 busy_percent=12.5,requests=0,answers=0,timeouts=0,corrupt=0,exceptions=0,reconnects=0 7",
            ),
            (
                Figures::of_cycle(0.25, 1.5),
                "cycle late_ms=0.25,took_ms=1.5 7",
            ),
            // What is no number is left out.
            (Figures::of_cycle(f64::NAN, 1.5), "cycle took_ms=1.5 7"),
        ] {
            assert_eq!(figures.values.len(), figures.kind.fields.len());
            let found = figures.line(utc).expect("a line");
            assert_eq!(found.text, line);
            assert_eq!(
                found.values as usize,
                line.matches('=').count() - line.matches("bus=").count()
            );
        }
        assert_eq!(Figures::of_cycle(f64::NAN, f64::INFINITY).line(utc), None);
    }
}
