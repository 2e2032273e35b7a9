//! What counts as a difference, and what as a regression.

use super::*;
use crate::folder::About;
use crate::report::tests::judged;
use crate::verdict::Expect;

fn run_of(scenarios: &[(&str, f64, Verdict)]) -> RunResult {
    let mut run = About::default().result(String::new());
    run.scenarios = scenarios
        .iter()
        .map(|(name, watts, verdict)| {
            let mut one = judged("", *watts, Expect::Pass);
            (one.name, one.verdict) = ((*name).to_owned(), *verdict);
            one.checks.truncate(2);
            for check in &mut one.checks {
                check.value = Some(*watts);
            }
            one
        })
        .collect();
    run
}

fn check(
    before: &[(&str, f64, Verdict)],
    now: &[(&str, f64, Verdict)],
    within: Option<f64>,
    lines: usize,
    is_regression: bool,
) {
    let budgets = Budgets {
        all: within,
        named: Vec::new(),
    };
    let found = Comparison::of(&run_of(before), &run_of(now), &budgets);
    assert_eq!(found.lines().len(), lines, "{now:?}: {:?}", found.lines());
    assert_eq!(found.is_regression(), is_regression, "{now:?}: {found:?}");
    assert_eq!(found.is_empty(), lines == 0);
}

#[test]
fn what_got_worse_is_gone_or_drifted_too_far_is_a_regression_and_nothing_else_is() {
    use Verdict::{Fail, Inconclusive, Pass};
    let before = [("a", 2000.0, Pass), ("b", 2000.0, Fail)];
    check(&before, &before, Some(0.0), 0, false);
    let better = [("a", 2000.0, Pass), ("b", 2000.0, Pass)];
    check(&before, &better, None, 1, false);
    let worse = [("a", 2000.0, Inconclusive), ("b", 2000.0, Fail)];
    check(&before, &worse, None, 1, true);
    check(&before, &before[..1], None, 1, true);
    let more = [before[0], before[1], ("c", 1.0, Pass)];
    check(&before, &more, Some(0.0), 1, false);
    let drifted = [("a", 2040.0, Pass), ("b", 2000.0, Fail)];
    check(&before, &drifted, None, 2, false);
    check(&before, &drifted, Some(0.02), 2, false);
    check(&before, &drifted, Some(0.019), 2, true);
    // Order does not matter, and of two with one name each has its own predecessor.
    let turned = [before[1], before[0]];
    check(&before, &turned, Some(0.0), 0, false);
    let twice = [("a", 1.0, Pass), ("a", 2.0, Pass)];
    check(&twice, &twice, Some(0.0), 0, false);
    check(&twice, &twice[..1], None, 1, true);
    // From zero every step is too far.
    check(
        &[("a", 0.0, Pass)],
        &[("a", 0.001, Pass)],
        Some(0.5),
        2,
        true,
    );
}

#[test]
fn a_check_whose_line_was_moved_is_the_same_and_one_that_is_gone_is_told() {
    let before = run_of(&[("a", 1.0, Verdict::Pass)]);
    let mut moved = before.clone();
    for check in &mut moved.scenarios[0].checks {
        check.line += 10;
    }
    let budgets = Budgets::default();
    assert!(Comparison::of(&before, &moved, &budgets).is_empty());
    moved.scenarios[0].checks.pop();
    let found = Comparison::of(&before, &moved, &budgets);
    assert!(
        found.is_regression() && found.gone[0].starts_with("a / "),
        "{found:?}"
    );
}
