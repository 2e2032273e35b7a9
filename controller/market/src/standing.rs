//! Who may still trade after breaking its commitments again and again.
//!
//! Every interval is kept or broken. A count rises by one for a broken one and falls by
//! one for a kept one; at one height of it more collateral is called, at the next what is
//! accepted is capped, at the last the participant is suspended for some time and comes
//! back capped. So a slip is forgotten, and a habit is not.
//!
//! Not responsible for what a breach is ([`crate::penalty`]) or for the collateral
//! ([`crate::collateral`]).

use serde::{Deserialize, Serialize};

/// The heights and what they lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandingRules {
    /// Count at which more collateral is called.
    pub call_at: u32,
    /// Count at which energy is capped.
    pub cap_at: u32,
    /// Count at which a participant is suspended.
    pub suspend_at: u32,
    /// Intervals of a suspension.
    pub suspended_for: u32,
    /// Collateral of who is called, relative to the ordinary, in ppm.
    pub collateral_ppm: u32,
    /// Energy accepted of who is capped, relative to its capability, in ppm.
    pub cap_ppm: u32,
}

impl StandingRules {
    /// Chosen: three breaches are no accident, eight in a row are no participant; a
    /// suspension lasts a day of quarter hours.
    pub const DEFAULT: Self = Self {
        call_at: 3,
        cap_at: 5,
        suspend_at: 8,
        suspended_for: 96,
        collateral_ppm: 2_000_000,
        cap_ppm: 500_000,
    };
}

/// Where a participant stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "standing", rename_all = "snake_case", deny_unknown_fields)]
pub enum Standing {
    /// Nothing is held against it.
    Good {
        /// The count.
        breaches: u32,
    },
    /// It has to cover more.
    Called {
        /// The count.
        breaches: u32,
    },
    /// It has to cover more, and not all of its energy is accepted.
    Capped {
        /// The count.
        breaches: u32,
    },
    /// It may not order.
    Suspended {
        /// Intervals left.
        intervals: u32,
    },
}

/// What an interval was for a participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// It delivered within its tolerance, or had nothing to deliver.
    Kept,
    /// It did not.
    Broken,
}

impl Standing {
    /// A newcomer's.
    pub const NEW: Self = Self::Good { breaches: 0 };

    /// Its name, as records and events say it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Good { .. } => "good",
            Self::Called { .. } => "called",
            Self::Capped { .. } => "capped",
            Self::Suspended { .. } => "suspended",
        }
    }

    /// The standing after an interval.
    #[must_use]
    pub fn after(self, conduct: Conduct, rules: &StandingRules) -> Self {
        let breaches = match self {
            Self::Suspended { intervals } if intervals > 1 => {
                let intervals = intervals - 1;
                return Self::Suspended { intervals };
            }
            // It is over: back, but capped.
            Self::Suspended { .. } => rules.cap_at,
            Self::Good { breaches } | Self::Called { breaches } | Self::Capped { breaches } => {
                match conduct {
                    Conduct::Kept => breaches.saturating_sub(1),
                    Conduct::Broken => breaches.saturating_add(1),
                }
            }
        };
        match breaches {
            n if n >= rules.suspend_at => Self::Suspended {
                intervals: rules.suspended_for,
            },
            n if n >= rules.cap_at => Self::Capped { breaches: n },
            n if n >= rules.call_at => Self::Called { breaches: n },
            n => Self::Good { breaches: n },
        }
    }

    /// Collateral it has to give, relative to the ordinary, in ppm.
    #[must_use]
    pub fn collateral_ppm(self, rules: &StandingRules) -> u32 {
        match self {
            Self::Good { .. } => crate::quantity::PPM,
            Self::Called { .. } | Self::Capped { .. } | Self::Suspended { .. } => {
                rules.collateral_ppm
            }
        }
    }

    /// Energy that is accepted, relative to its capability, in ppm.
    #[must_use]
    pub fn accepted_ppm(self, rules: &StandingRules) -> u32 {
        match self {
            Self::Good { .. } | Self::Called { .. } => crate::quantity::PPM,
            Self::Capped { .. } => rules.cap_ppm,
            Self::Suspended { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: StandingRules = StandingRules {
        suspended_for: 3,
        ..StandingRules::DEFAULT
    };

    /// The standing after a course of kept (`.`) and broken (`x`) intervals.
    fn check(course: &str, expected: Standing) {
        let conduct = |letter| match letter {
            '.' => Conduct::Kept,
            _ => Conduct::Broken,
        };
        let after = course.chars().map(conduct);
        let found = after.fold(Standing::NEW, |standing, conduct| {
            standing.after(conduct, &RULES)
        });
        assert_eq!(found, expected, "{course}");
    }

    #[test]
    fn a_slip_is_forgotten_and_a_habit_is_not() {
        check("", Standing::NEW);
        check("x.", Standing::NEW);
        check("x.x.x.x.x.x.", Standing::NEW);
        check("xx", Standing::Good { breaches: 2 });
        check("xxx", Standing::Called { breaches: 3 });
        check("xxx.", Standing::Good { breaches: 2 });
        check("xxxxx", Standing::Capped { breaches: 5 });
        check("xxxxx..", Standing::Called { breaches: 3 });
        check("xxxxxxxx", Standing::Suspended { intervals: 3 });
        check("xxxxxxxx..", Standing::Suspended { intervals: 1 });
        check("xxxxxxxx...", Standing::Capped { breaches: 5 });
        check("xxxxxxxx...xxx", Standing::Suspended { intervals: 3 });
        check("xxxxxxxx........", Standing::NEW);
    }

    #[test]
    fn each_standing_says_what_it_costs() {
        for (standing, collateral, accepted) in [
            (Standing::NEW, 1_000_000, 1_000_000),
            (Standing::Called { breaches: 3 }, 2_000_000, 1_000_000),
            (Standing::Capped { breaches: 5 }, 2_000_000, 500_000),
            (Standing::Suspended { intervals: 1 }, 2_000_000, 0),
        ] {
            assert_eq!(standing.collateral_ppm(&RULES), collateral);
            assert_eq!(standing.accepted_ppm(&RULES), accepted);
        }
    }
}
