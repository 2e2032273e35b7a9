use std::collections::BTreeMap;
use std::time::Duration;

use model::Instant;

use super::*;
use crate::check::{Check, CheckKind, Evidence, Window, WindowEnd, evaluate};
use crate::script::{Anchor, Moment};
use crate::series::Recording;
use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

fn at(seconds: u64) -> Instant {
    Instant::START + Duration::from_secs(seconds)
}

/// A minute of a run that was read back as this.
fn check(kind: CheckKind, market: Option<MarketEvidence>, expected: Verdict, said: &str) {
    let evidence = Evidence {
        market,
        ..Evidence::default()
    };
    let check = Check {
        uncertainty: None,
        name: "market".to_owned(),
        kind,
        line: 1,
    };
    let recording = Recording {
        began: at(0),
        ended: at(60),
        ..Recording::default()
    };
    let result = evaluate(&check, &recording, &evidence);
    assert_eq!(result.verdict, expected, "{}", result.why);
    assert!(result.why.contains(said), "no {said} in: {}", result.why);
}

fn evidence(deliveries: Vec<Delivery>, penalties: &[(&str, i128)]) -> MarketEvidence {
    let penalties = penalties.iter().map(|(who, paid)| ((*who).into(), *paid));
    MarketEvidence {
        intervals_ended: 3,
        intervals_settled: 3,
        sum_u: 0,
        unaccounted_mwh: 0,
        replay: Replay::Identical {
            cleared: 3,
            settled: 3,
        },
        books: Books {
            deliveries,
            penalties: penalties.collect(),
            booked: BTreeMap::new(),
        },
    }
}

#[test]
fn a_market_is_settled_when_nothing_is_left_over() {
    let market = |ended, settled, sum_u| MarketEvidence {
        intervals_ended: ended,
        intervals_settled: settled,
        sum_u,
        ..evidence(Vec::new(), &[])
    };
    for (market, expected) in [
        (Some(market(3, 3, 0)), Pass),
        (Some(market(3, 2, 0)), Fail),
        (Some(market(3, 3, 1)), Fail),
        (Some(market(3, 3, -1)), Fail),
        (Some(market(0, 0, 0)), Inconclusive),
        (None, Inconclusive),
    ] {
        check(CheckKind::Market(MarketWord::Settled), market, expected, "");
    }
}

#[test]
fn a_market_is_replayed_when_every_number_comes_out_again() {
    let replay = |replay| MarketEvidence {
        replay,
        ..evidence(Vec::new(), &[])
    };
    let identical = |settled| Replay::Identical {
        cleared: 4,
        settled,
    };
    for (market, expected, said) in [
        (Some(replay(identical(3))), Pass, "3 settlements"),
        (Some(replay(identical(0))), Inconclusive, "no interval"),
        (
            Some(replay(Replay::Different("interval 2".into()))),
            Fail,
            "interval 2",
        ),
        (
            Some(replay(Replay::Impossible("unbound".into()))),
            Inconclusive,
            "unbound",
        ),
        (None, Inconclusive, "no market"),
    ] {
        let kind = CheckKind::Market(MarketWord::Replayed);
        check(kind, market, expected, said);
    }
}

/// A device in the interval of ten seconds with this number.
fn delivery(interval: u64, committed_mwh: i128, metered_mwh: Option<i64>) -> Delivery {
    Delivery {
        interval,
        from: at(10 * interval),
        until: at(10 * interval + 10),
        participant: "ess1".into(),
        committed_mwh,
        metered_mwh,
        is_whole: true,
        is_excused: false,
    }
}

#[test]
fn a_participant_delivers_when_its_meter_says_what_it_committed() {
    let excused = |interval, committed, metered| Delivery {
        is_excused: true,
        ..delivery(interval, committed, metered)
    };
    for (deliveries, expected, said) in [
        (vec![delivery(1, 1_000, Some(991))], Pass, "ess1 0.9 %"),
        (vec![delivery(1, -1_000, Some(-1_010))], Pass, "ess1 1 %"),
        (vec![delivery(1, 1_000, Some(989))], Fail, "1.1 %"),
        // What one interval lacks another does not make good.
        (
            vec![
                delivery(1, 1_000, Some(900)),
                delivery(2, 1_000, Some(1_100)),
            ],
            Fail,
            "10 %",
        ),
        (
            vec![delivery(1, 1_000, Some(1_000)), delivery(2, 1_000, None)],
            Inconclusive,
            "missing in 1",
        ),
        // A violation that was measured stays one.
        (
            vec![delivery(1, 1_000, Some(0)), delivery(2, 1_000, None)],
            Fail,
            "100 %",
        ),
        // What was not traded, was excused, or lies outside of the window shows nothing.
        (vec![delivery(1, 0, Some(0))], Inconclusive, "nothing"),
        (vec![excused(1, 1_000, Some(0))], Inconclusive, "nothing"),
        (vec![delivery(0, 1_000, Some(0))], Inconclusive, "nothing"),
        (vec![delivery(4, 1_000, Some(0))], Inconclusive, "nothing"),
        (
            vec![excused(1, 1_000, Some(0)), delivery(2, 1_000, Some(999))],
            Pass,
            "in 1",
        ),
    ] {
        let from = Moment {
            anchor: Anchor::Start,
            offset_ns: 5_000_000_000,
        };
        let kind = CheckKind::Delivered {
            participants: vec!["ess1".into()],
            at_most: 0.01,
            window: Window {
                from,
                to: WindowEnd::For(Duration::from_secs(40)),
            },
        };
        check(kind, Some(evidence(deliveries, &[])), expected, said);
    }
}

#[test]
fn those_who_are_named_pay_penalties_and_nobody_else_does() {
    let settled = || vec![delivery(1, 0, Some(0))];
    let plug: &[&str] = &["plug1"];
    for (who, deliveries, penalties, expected, said) in [
        (
            plug,
            settled(),
            &[("plug1", 5), ("penalties", -5)][..],
            Pass,
            "plug1",
        ),
        (plug, settled(), &[], Fail, "plug1 has paid no"),
        (
            plug,
            settled(),
            &[("plug1", 5), ("penalties", -4)],
            Fail,
            "4 received",
        ),
        (
            plug,
            settled(),
            &[("plug1", 5), ("pv1", 2), ("penalties", -7)],
            Fail,
            "pv1 has paid",
        ),
        (&[], settled(), &[], Pass, "nobody"),
        (
            &[],
            settled(),
            &[("pv1", 2), ("penalties", -2)],
            Fail,
            "pv1",
        ),
        (&[], Vec::new(), &[], Inconclusive, "no interval"),
    ] {
        let participants = who.iter().map(|name| (*name).to_owned()).collect();
        let kind = CheckKind::Penalised { participants };
        check(kind, Some(evidence(deliveries, penalties)), expected, said);
    }
}

#[test]
fn who_is_booked_something_is_who_the_scenario_names_and_nobody_else() {
    let settled = || vec![delivery(0, 5, Some(5))];
    let booked = |all: &[(&str, &str, u64)]| {
        let mut evidence = evidence(settled(), &[]);
        let entries = all.iter().map(|(what, who, count)| {
            let key = ((*what).to_owned(), (*who).to_owned());
            (key, (*count, 7_i128))
        });
        evidence.books.booked = entries.collect();
        evidence
    };
    let both: &[(&str, &str, u64)] = &[("contract", "load1", 3), ("contract", "pv1", 3)];
    let more: &[(&str, &str, u64)] = &[
        ("contract", "load1", 3),
        ("contract", "plug1", 1),
        ("contract", "pv1", 3),
    ];
    let utility: &[(&str, &str, u64)] = &[("contract", "load1", 3), ("contract", "utility", 3)];
    for (who, at_least, market, expected, said) in [
        (
            &["load1", "pv1"][..],
            3,
            Some(booked(both)),
            Pass,
            "load1 7",
        ),
        (
            &["load1", "pv1"],
            4,
            Some(booked(both)),
            Fail,
            "3 settlements",
        ),
        (&["load1"], 1, Some(booked(both)), Fail, "pv1"),
        (&["load1", "pv1"], 1, Some(booked(more)), Fail, "plug1"),
        (&["load1"], 1, Some(booked(utility)), Pass, "load1"),
        (
            &["pv1"],
            1,
            Some(booked(&[("energy", "pv1", 3)])),
            Fail,
            "0 settlements",
        ),
        (&[], 1, Some(booked(&[])), Pass, "nobody"),
        (&[], 1, Some(booked(both)), Fail, "load1"),
        (
            &[],
            1,
            Some(evidence(Vec::new(), &[])),
            Inconclusive,
            "no interval",
        ),
        (&[], 1, None, Inconclusive, "no market"),
    ] {
        let kind = CheckKind::Booked {
            participants: who.iter().map(|name| (*name).to_owned()).collect(),
            what: "contract",
            at_least,
        };
        check(kind, market, expected, said);
    }
}
