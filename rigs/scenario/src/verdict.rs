//! The verdict of a check, a scenario and a run, and the exit code that says it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything that was asked was shown.
    Pass,
    /// Something that was asked was shown not to be so.
    Fail,
    /// A file or a command line is wrong.
    Config,
    /// The bench was not there: a device absent, a lock, a clock.
    Infrastructure,
    /// The data does not tell.
    Inconclusive,
    /// The run ended in a safety stop.
    Safety,
    /// The ledger does not match what was done.
    Ledger,
    /// No scenario was selected.
    NothingSelected,
    /// A person ended the run.
    Interrupted,
}

/// All verdicts from the best to the worst.
///
/// The order safety, ledger, fail, infrastructure, inconclusive is the public one.
/// A configuration fault ranks above infrastructure, because it repeats until the
/// file is mended; an interruption ranks below a failure that was already shown,
/// because the failure stands.
const BEST_TO_WORST: &[Verdict] = &[
    Verdict::Pass,
    Verdict::NothingSelected,
    Verdict::Inconclusive,
    Verdict::Infrastructure,
    Verdict::Config,
    Verdict::Interrupted,
    Verdict::Fail,
    Verdict::Ledger,
    Verdict::Safety,
];

impl Verdict {
    /// Exit code of the process.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Fail => 1,
            Self::Config => 2,
            Self::Infrastructure => 3,
            Self::Inconclusive => 4,
            Self::Safety => 5,
            Self::Ledger => 6,
            Self::NothingSelected => 7,
            Self::Interrupted => 130,
        }
    }

    /// The word in tables and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Config => "config",
            Self::Infrastructure => "infrastructure",
            Self::Inconclusive => "inconclusive",
            Self::Safety => "safety",
            Self::Ledger => "ledger",
            Self::NothingSelected => "nothing_selected",
            Self::Interrupted => "interrupted",
        }
    }

    fn rank(self) -> usize {
        BEST_TO_WORST
            .iter()
            .position(|v| *v == self)
            .unwrap_or(BEST_TO_WORST.len())
    }

    /// The worse of two.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        if other.rank() > self.rank() {
            other
        } else {
            self
        }
    }

    /// The worst of all; nothing at all is [`Verdict::NothingSelected`].
    #[must_use]
    pub fn worst(verdicts: impl IntoIterator<Item = Self>) -> Self {
        verdicts
            .into_iter()
            .reduce(Self::worse)
            .unwrap_or(Self::NothingSelected)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What the author of a scenario expects of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// Every check passes.
    #[default]
    Pass,
    /// A known-bad device of the qualification kit: a check fails.
    Fail,
}

/// The verdict of a scenario from those of its checks and of the run itself.
///
/// `run` is [`Verdict::Pass`] when the script was carried out to its end. A scenario
/// without a check shows nothing and is inconclusive. With [`Expect::Fail`] it passes only
/// if a check failed and nothing else went wrong, and fails if every check passed.
#[must_use]
pub fn of_scenario(run: Verdict, checks: &[Verdict], expect: Expect) -> Verdict {
    let of_checks = checks.iter().copied().reduce(Verdict::worse);
    match (expect, of_checks) {
        (_, None) => run.worse(Verdict::Inconclusive),
        (Expect::Pass, Some(worst)) => run.worse(worst),
        (Expect::Fail, Some(_)) => {
            let (failed, others): (Vec<Verdict>, Vec<Verdict>) =
                checks.iter().partition(|v| **v == Verdict::Fail);
            let rest = others.into_iter().fold(run, Verdict::worse);
            match (rest, failed.is_empty()) {
                (Verdict::Pass, false) => Verdict::Pass,
                (Verdict::Pass, true) => Verdict::Fail,
                (other, _) => other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{
        Config, Fail, Inconclusive, Infrastructure, Interrupted, Ledger, NothingSelected, Pass,
        Safety,
    };

    #[test]
    fn every_verdict_has_its_own_exit_code_and_place_in_the_order() {
        let codes: Vec<u8> = [
            Pass,
            Fail,
            Config,
            Infrastructure,
            Inconclusive,
            Safety,
            Ledger,
            NothingSelected,
            Interrupted,
        ]
        .iter()
        .map(|v| v.exit_code())
        .collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 130]);
        let ranks: Vec<usize> = BEST_TO_WORST.iter().map(|v| v.rank()).collect();
        assert_eq!(ranks, (0..9).collect::<Vec<_>>());
    }

    #[test]
    fn the_worst_wins() {
        let order = [Safety, Ledger, Fail, Infrastructure, Inconclusive, Pass];
        for pair in order.windows(2) {
            assert_eq!(pair[0].worse(pair[1]), pair[0]);
            assert_eq!(pair[1].worse(pair[0]), pair[0]);
        }
        assert_eq!(Verdict::worst([]), NothingSelected);
        assert_eq!(Verdict::worst([Pass, Inconclusive, Pass]), Inconclusive);
    }

    #[test]
    fn a_known_bad_device_must_be_caught_by_a_check() {
        let rows: &[(Verdict, &[Verdict], Verdict, Verdict)] = &[
            // run, checks, ordinary, known bad
            (Pass, &[Pass, Pass], Pass, Fail),
            (Pass, &[Pass, Fail], Fail, Pass),
            (Pass, &[Fail, Fail], Fail, Pass),
            (Pass, &[Fail, Inconclusive], Fail, Inconclusive),
            (Pass, &[Fail, Infrastructure], Fail, Infrastructure),
            (Pass, &[Inconclusive], Inconclusive, Inconclusive),
            (Pass, &[Fail, Ledger], Ledger, Ledger),
            (Infrastructure, &[Fail], Fail, Infrastructure),
            (Safety, &[Fail], Safety, Safety),
            (Interrupted, &[Pass], Interrupted, Interrupted),
            (Pass, &[], Inconclusive, Inconclusive),
            (Infrastructure, &[], Infrastructure, Infrastructure),
        ];
        for (run, checks, ordinary, known_bad) in rows {
            let case = format!("{run} {checks:?}");
            assert_eq!(of_scenario(*run, checks, Expect::Pass), *ordinary, "{case}");
            assert_eq!(
                of_scenario(*run, checks, Expect::Fail),
                *known_bad,
                "{case}"
            );
        }
    }
}
