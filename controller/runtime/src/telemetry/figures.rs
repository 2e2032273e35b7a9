//! Figures of the bench itself, once a second: what is true on its bus, its buses, its cycles, its services.
//!
//! They are no samples of devices, so `samples.csv.zst` does not hold them; a time-series server and the
//! database of the run do.

use model::UtcTime;

use super::line::{Labels, Lines, push_line_of};

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

/// What is true on the bus of the bench, as control estimates it: the coupling with its sign (positive =
/// import), the load as consumption, the lowest state of charge as a share. What is not known is left out.
pub const BENCH: Kind = Kind {
    measurement: "bench",
    tag: "",
    fields: &["f_hz", "v_v", "pcc_w", "storage_w", "pv_w", "load_w", "soc"],
};

/// All kinds.
#[cfg(test)]
pub(super) const KINDS: [Kind; 4] = [BUS, CYCLE, SERVICE, BENCH];

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

    /// What is true on the bus of the bench.
    #[must_use]
    pub fn of_bench(estimate: &control::Estimate) -> Self {
        let watts = |p: Option<quantities::ActivePower>| p.map(|p| p.as_watts());
        let values = [
            estimate.f.map(|f| f.as_hertz()),
            estimate.v.map(|v| v.as_volts()),
            watts(estimate.pcc),
            watts(estimate.storage),
            watts(estimate.pv),
            watts(estimate.load),
            estimate.soc.map(|soc| soc.as_fraction()),
        ];
        Self {
            kind: BENCH,
            of: String::new(),
            // Unknown is no number, and what is no number is nowhere written.
            values: values.map(|v| v.unwrap_or(f64::NAN)).to_vec(),
        }
    }

    /// Measurement and name of what these are figures of.
    pub(super) fn of(&self) -> (&'static str, &str) {
        (self.kind.measurement, &self.of)
    }

    /// The figures that are numbers, with their names.
    pub(super) fn known(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let named = self.kind.fields.iter().copied();
        named
            .zip(self.values.iter().copied())
            .filter(|(_, value)| value.is_finite())
    }

    /// Adds the line of the protocol; none where no figure is a number.
    pub(super) fn push_line(&self, lines: &mut Lines, labels: &Labels, utc: UtcTime) {
        let tag = (self.kind.tag, self.of.as_str());
        push_line_of(lines, labels, self.kind.measurement, tag, self.known(), utc);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_value_for_each_of_its_fields_and_a_line_that_names_them() {
        let report = bus::BusStats::default().report();
        let labels = Labels::new(&crate::telemetry::Origin::default(), &[]);
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
            let mut found = Lines::default();
            figures.push_line(&mut found, &labels, utc);
            assert_eq!(found.text, format!("{line}\n"));
            assert_eq!(
                found.values as usize,
                line.matches('=').count() - line.matches("bus=").count()
            );
        }
        let nothing = Figures::of_cycle(f64::NAN, f64::INFINITY);
        let mut found = Lines::default();
        nothing.push_line(&mut found, &labels, utc);
        assert_eq!(found, Lines::default());
    }
}
