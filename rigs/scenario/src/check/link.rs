//! How good the way to a device was: how long its answers took, and how many were lost.
//!
//! Responsible for devices on a bus that asks (Modbus, SCPI). The counters are those of the whole run, from
//! the first request to identify the device on: a link has no better half.

use std::time::Duration;

use super::CheckResult;
use super::evidence::LinkEvidence;
use crate::report::number;
use crate::verdict::Verdict;

/// What is demanded of a link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkDemand {
    /// Time that one in a hundred answers may exceed.
    pub p99: Duration,
    /// Largest share of requests that are answered late, damaged or not at all.
    pub loss: f64,
    /// Requests without which nothing can be said.
    pub requests: u64,
}

/// Judges the link to a device.
pub(super) fn link(
    mut result: CheckResult,
    links: &[LinkEvidence],
    device: &str,
    demand: LinkDemand,
) -> CheckResult {
    result.unit = "s".to_owned();
    result.upper = Some(demand.p99.as_secs_f64());
    let found = links.iter().find(|link| link.device == device);
    let Some(link) = found.filter(|link| link.requests > 0) else {
        return result.says(
            Verdict::Inconclusive,
            format!("{device} was asked for nothing"),
        );
    };
    result.samples = link.requests;
    let share = link.lost as f64 / link.requests as f64;
    let lost = format!(
        "{} of {} requests to {device} were lost ({} %)",
        link.lost,
        link.requests,
        number(share * 100.0)
    );
    let Some(p99) = link.p99 else {
        return result.says(Verdict::Fail, format!("{lost}, and none was answered"));
    };
    result.value = Some(p99.as_secs_f64());
    let why = format!(
        "{lost}, and 99 % of the answers came within {} ms",
        number(p99.as_secs_f64() * 1000.0)
    );
    if share > demand.loss || p99 > demand.p99 {
        return result.says(Verdict::Fail, why);
    }
    if link.requests < demand.requests {
        let why = format!("{why}, but {} requests are needed", demand.requests);
        return result.says(Verdict::Inconclusive, why);
    }
    result.says(Verdict::Pass, why)
}

#[cfg(test)]
mod tests {
    use super::super::{Check, CheckKind, Evidence, evaluate};
    use super::*;
    use crate::series::Recording;
    use Verdict::{Fail, Inconclusive, Pass};

    fn check(requests: u64, lost: u64, p99_ms: Option<u64>, expected: Verdict) {
        let evidence = Evidence {
            links: vec![LinkEvidence {
                device: "pv1".to_owned(),
                requests,
                lost,
                p99: p99_ms.map(Duration::from_millis),
            }],
            ..Evidence::default()
        };
        let demand = LinkDemand {
            p99: Duration::from_millis(50),
            loss: 0.001,
            requests: 1000,
        };
        let check = Check {
            uncertainty: None,
            name: String::new(),
            kind: CheckKind::Link {
                device: "pv1".to_owned(),
                demand,
            },
            line: 1,
        };
        let result = evaluate(&check, &Recording::default(), &evidence);
        assert_eq!(result.verdict, expected, "{}", result.why);
    }

    #[test]
    fn a_link_is_good_when_a_thousand_requests_were_answered_soon_and_hardly_one_was_lost() {
        check(1000, 1, Some(50), Pass);
        check(1000, 2, Some(10), Fail);
        check(1000, 0, Some(51), Fail);
        check(1000, 1000, None, Fail);
        check(999, 0, Some(10), Inconclusive);
        // What was seen to be bad is bad, however little was seen.
        check(100, 1, Some(10), Fail);
        check(0, 0, None, Inconclusive);
    }
}
