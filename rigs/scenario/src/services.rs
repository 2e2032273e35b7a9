//! What a service delivers: measured power of its devices, less the baseline that was declared before.
//!
//! Where several services share devices, nobody can measure whose power is whose: what the others are
//! asked for is taken off, so that whatever is missing or too much counts against each of them.

use std::time::Duration;

use model::{DeviceIx, Flaw, Instant, Reading, ServiceReport};
use runtime::rig::Rig;

/// The delivery of one service, sample by sample.
#[derive(Clone, Debug)]
pub(crate) struct Delivered {
    /// Name in the rig.
    pub(crate) name: String,
    devices: Vec<Member>,
    report: Option<ServiceReport>,
}

/// A device of a service.
#[derive(Clone, Copy, Debug)]
struct Member {
    device: DeviceIx,
    /// Its last power in watts.
    last: Option<(Instant, f64)>,
    /// How long that counts.
    age_max: Duration,
}

impl Delivered {
    /// The services of a rig.
    pub(crate) fn of(rig: &Rig) -> Vec<Self> {
        let bench = rig.bench();
        let services = bench.settings.services.iter();
        services
            .map(|spec| Self {
                name: spec.name.clone(),
                devices: spec
                    .devices
                    .iter()
                    .map(|device| Member {
                        device: *device,
                        last: None,
                        age_max: bench.devices[device.index()].sample_age_max,
                    })
                    .collect(),
                report: None,
            })
            .collect()
    }

    /// Takes in what the controller has told.
    pub(crate) fn told(&mut self, report: ServiceReport) {
        self.report = Some(report);
    }

    /// Takes in a power in watts; what the service delivers by it, where it is one of its devices. The time
    /// is that of the sample, not of whoever looked.
    pub(crate) fn observe(
        &mut self,
        device: DeviceIx,
        at: Instant,
        reading: Reading<f64>,
    ) -> Option<Reading<f64>> {
        let member = self.devices.iter_mut().find(|m| m.device == device)?;
        match reading {
            Reading::Good(p) => member.last = Some((at, p)),
            Reading::Bad(flaw) => return Some(Reading::Bad(flaw)),
        }
        // In an island there is no baseline, and nothing is delivered.
        let report = self.report?;
        let baseline = report.baseline?;
        let mut sum = 0.0;
        for member in &self.devices {
            let fresh = |(seen, _): &(Instant, f64)| at.since(*seen) <= member.age_max;
            match member.last.filter(fresh) {
                Some((_, p)) => sum += p,
                None => return Some(Reading::Bad(Flaw::Timeout)),
            }
        }
        Some(Reading::Good(
            sum - baseline.as_watts() - report.others.as_watts(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use model::{ServiceIx, ServicePhase};
    use quantities::ActivePower;

    use super::*;

    #[test]
    fn what_is_delivered_is_what_was_measured_less_baseline_and_others_and_is_unknown_where_a_device_is()
     {
        let (one, two) = (DeviceIx(0), DeviceIx(1));
        let mut delivered = Delivered {
            name: "fcr1".into(),
            devices: [one, two]
                .map(|device| Member {
                    device,
                    last: None,
                    age_max: Duration::from_secs(1),
                })
                .to_vec(),
            report: None,
        };
        let at = |ms| Instant::START + Duration::from_millis(ms);
        let kw = ActivePower::from_kilowatts;
        let mut report = ServiceReport {
            service: ServiceIx(0),
            phase: ServicePhase::Ready,
            asked: kw(2.0),
            baseline: Some(kw(1.0)),
            others: kw(0.5),
            available: true,
            up: kw(2.0),
            down: kw(2.0),
        };
        delivered.told(report);
        let good = Reading::Good;
        let rows = [
            (one, 0, good(3000.0), Some(Reading::Bad(Flaw::Timeout))),
            (two, 100, good(500.0), Some(good(2000.0))),
            (two, 900, good(400.0), Some(good(1900.0))),
            // The first one was last seen 1.1 s ago.
            (two, 1100, good(400.0), Some(Reading::Bad(Flaw::Timeout))),
            (
                one,
                1200,
                Reading::Bad(Flaw::Corrupt),
                Some(Reading::Bad(Flaw::Corrupt)),
            ),
            (DeviceIx(2), 1300, good(1.0), None),
        ];
        for (device, ms, reading, expected) in rows {
            assert_eq!(
                delivered.observe(device, at(ms), reading),
                expected,
                "{ms} ms"
            );
        }
        report.baseline = None;
        delivered.told(report);
        assert_eq!(delivered.observe(one, at(1400), good(0.0)), None);
    }
}
