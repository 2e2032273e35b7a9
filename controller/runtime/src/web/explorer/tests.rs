//! One interval of a market in a ledger, and the way through it.

use ledger_core::Amount;
use ledger_core::payload::{
    Clearing, Dispatch, DispatchAck, DispatchKind, DispatchStage, Fill, MeterReading, Order,
    ReadingQuality, Setpoint, Settlement, SettlementLine, Side, Step,
};
use ledger_node::AtomDraft;
use model::{Clock as _, UtcTime};

use super::*;
use crate::clock::SystemClock;
use crate::desk::RULES_FILE;
use crate::evidence::{CONTROLLER, Evidence, KeySource, MARKET_OPERATOR, document, party_of};

/// When market time began, and how long an interval is.
const EPOCH_NS: i64 = 1_790_000_000_000_000_000;
const INTERVAL_NS: i64 = 15_000_000_000;

/// A ledger that is written beside the explorer that reads it.
struct Story {
    dir: tempfile::TempDir,
    evidence: Evidence,
    utc: UtcTime,
}

impl Story {
    fn begin() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rules = format!(
            r#"{{"schema":2,"epoch_utc_ns":{EPOCH_NS},"first_start_ns":0,"interval_ns":{INTERVAL_NS}}}"#
        );
        std::fs::write(dir.path().join(RULES_FILE), rules).unwrap();
        let clock = SystemClock::start();
        let participants = ["ess1".to_owned(), "load1".to_owned()];
        let evidence = Evidence::create(
            dir.path(),
            "bench",
            &participants,
            KeySource::Seed(7),
            &clock,
        )
        .unwrap();
        Self {
            dir,
            evidence,
            utc: clock.utc(),
        }
    }

    fn say(&mut self, author: &str, payload: Payload, after: &[AtomId]) -> AtomId {
        let draft: AtomDraft = self.evidence.draft(author, payload).after(after.to_vec());
        let receipts = self.evidence.append(self.utc, vec![draft], None).unwrap();
        receipts[0].atom_id
    }

    fn order(&mut self, who: &str, side: Side, interval: u64) -> AtomId {
        let order = Payload::Order(Order {
            agent: who.into(),
            interval,
            side,
            steps: vec![Step {
                price_millicents_per_kwh: 24_000,
                quantity_milliwatt_hours: 12_500,
            }],
            rank: u64::from(side == Side::Sell),
        });
        self.say(&party_of(who), order, &[])
    }

    fn dispatch(&mut self, cause: Option<AtomId>) -> AtomId {
        let dispatch = Payload::Dispatch(Dispatch {
            device: "ess1".into(),
            kind: DispatchKind::Power,
            setpoint: Setpoint {
                p_milliwatts: Some(3_000_000),
                ..Setpoint::NONE
            },
            authority_epoch: 1,
            valid_from_utc_ns: 0,
            valid_until_utc_ns: 1,
            cause,
            why: "market schedule: interval".into(),
        });
        self.say(CONTROLLER, dispatch, &[])
    }

    fn acknowledge(&mut self, dispatch: AtomId) -> AtomId {
        let ack = Payload::DispatchAck(DispatchAck {
            dispatch,
            stage: DispatchStage::Power,
            measured_p_milliwatts: Some(2_998_000),
            seen_utc_ns: 0,
        });
        self.say(CONTROLLER, ack, &[])
    }

    /// One interval from its orders to its settlement, in the order in which they are said.
    fn interval(&mut self, interval: u64) -> Vec<AtomId> {
        let buy = self.order("load1", Side::Buy, interval);
        let sell = self.order("ess1", Side::Sell, interval);
        let fill = |order, agent: &str, amount| Fill {
            order,
            agent: agent.into(),
            quantity_milliwatt_hours: 12_500,
            amount: Amount(amount),
        };
        let clearing = Payload::Clearing(Clearing {
            interval,
            mechanism: "uniform_k_half".into(),
            quantity_milliwatt_hours: 12_500,
            price_millicents_per_kwh: Some(24_000),
            price_low_millicents_per_kwh: None,
            price_high_millicents_per_kwh: None,
            fills: vec![fill(buy, "load1", -300), fill(sell, "ess1", 300)],
            operator_amount: Amount(0),
        });
        let clearing = self.say(MARKET_OPERATOR, clearing, &[]);
        let dispatch = self.dispatch(Some(clearing));
        let ack = self.acknowledge(dispatch);
        let reading = Payload::MeterReading(MeterReading {
            participant: "ess1".into(),
            interval_start_utc_ns: EPOCH_NS + interval as i64 * INTERVAL_NS,
            interval_ns: INTERVAL_NS as u64,
            energy_milliwatt_hours: Some(12_480),
            quality: ReadingQuality::Valid,
        });
        let reading = self.say(CONTROLLER, reading, &[]);
        let line = |account: &str, amount| SettlementLine {
            account: account.into(),
            amount: Amount(amount),
            what: "energy".into(),
        };
        let settlement = Payload::Settlement(Settlement {
            interval,
            is_excused: false,
            lines: vec![line("ess1", 300), line("load1", -300)],
        });
        let settlement = self.say(MARKET_OPERATOR, settlement, &[clearing]);
        vec![buy, sell, clearing, dispatch, ack, reading, settlement]
    }

    fn explorer(&self) -> Explorer {
        let mut explorer = Explorer::open(self.dir.path()).unwrap();
        explorer.follow().unwrap();
        explorer
    }
}

fn all() -> Wanted {
    Wanted {
        limit: 100,
        ..Wanted::default()
    }
}

#[test]
fn everything_of_an_interval_is_one_step_from_everything_else_of_it() {
    let mut story = Story::begin();
    let other = story.interval(6);
    let chain = story.interval(7);
    let droop = story.dispatch(None);
    let explorer = story.explorer();
    for atom in &chain {
        let found = explorer.find(&Selector::Id(atom.to_string())).unwrap();
        assert_eq!(found.entry["atom"], atom.to_string());
        assert_eq!(found.line.interval, Some(7));
        let related: Vec<&str> = found.related.iter().map(|r| r.line.atom.as_str()).collect();
        let expected: Vec<String> = (chain.iter().filter(|a| *a != atom))
            .map(ToString::to_string)
            .collect();
        assert_eq!(related, expected, "{}", found.line.text);
        assert!(
            other
                .iter()
                .all(|a| !related.contains(&a.to_string().as_str()))
        );
    }
    let ack = explorer.find(&Selector::Id(chain[4].to_string())).unwrap();
    assert_eq!(ack.line.who.as_deref(), Some("ess1"));
    let relation_to = |atom: &AtomId| {
        let mut related = ack.related.iter();
        related
            .find(|r| r.line.atom == atom.to_string())
            .unwrap()
            .relation
    };
    assert_eq!(
        (relation_to(&chain[3]), relation_to(&chain[6])),
        (Relation::Cause, Relation::Interval)
    );
    let lone = explorer.find(&Selector::Id(droop.to_string())).unwrap();
    assert_eq!((lone.line.interval, lone.related.len()), (None, 0));
}

#[test]
fn a_page_goes_back_from_the_newest_and_says_where_the_next_one_begins() {
    let mut story = Story::begin();
    let mut explorer = story.explorer();
    for interval in 0..5 {
        story.interval(interval);
    }
    // What was written since the explorer was opened is there.
    explorer.follow().unwrap();
    let whole = explorer.page(&all());
    let last = whole.last.unwrap();
    assert_eq!((whole.first, last, whole.next), (Some(1), 35, None));
    let mut before = None;
    let mut clocks = Vec::new();
    loop {
        let page = explorer.page(&Wanted {
            before,
            limit: 8,
            ..Wanted::default()
        });
        assert!(page.entries.len() <= 8);
        clocks.extend(page.entries.iter().map(|line| line.clock));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(clocks, (1..=last).rev().collect::<Vec<_>>());
    for (wanted, count) in [
        (
            Wanted {
                kind: Some(Kind::Order),
                ..all()
            },
            10,
        ),
        (
            Wanted {
                kind: Some(Kind::Clearing),
                interval: Some(3),
                ..all()
            },
            1,
        ),
        (
            Wanted {
                interval: Some(3),
                ..all()
            },
            7,
        ),
        (
            Wanted {
                who: Some("ess1".into()),
                interval: Some(3),
                ..all()
            },
            4,
        ),
        (
            Wanted {
                who: Some("nobody".into()),
                ..all()
            },
            0,
        ),
        (
            Wanted {
                before: Some(1),
                ..all()
            },
            0,
        ),
        (
            Wanted {
                before: Some(u64::MAX),
                ..all()
            },
            35,
        ),
    ] {
        assert_eq!(explorer.page(&wanted).entries.len(), count, "{wanted:?}");
    }
}

#[test]
fn an_entry_is_named_by_its_clock_or_by_digits_that_no_other_begins_with() {
    let mut story = Story::begin();
    let chain = story.interval(1);
    let explorer = story.explorer();
    let by = |text: &str| {
        explorer
            .find(&text.parse().unwrap())
            .map(|found| found.line.atom)
    };
    assert_eq!(by("clock:3").unwrap(), chain[2].to_string());
    assert_eq!(
        by(&chain[2].to_string()[..12]).unwrap(),
        chain[2].to_string()
    );
    for absent in ["clock:0", "clock:999", "0000000000000000"] {
        assert!(matches!(by(absent), Err(NotFound::Absent(_))), "{absent}");
    }
    // Seven entries and sixteen digits: more than one does not say which.
    let ambiguous = Explorer::find(&explorer, &Selector::Id(String::new()));
    assert!(
        matches!(ambiguous, Err(NotFound::Ambiguous(7))),
        "{ambiguous:?}"
    );
}

#[test]
fn intervals_of_another_run_in_the_same_ledger_are_kept_apart() {
    let mut story = Story::begin();
    story.interval(1);
    let rig = document("rig", b"title = 1", "bench");
    story.say(CONTROLLER, rig, &[]);
    let again = story.interval(1);
    let explorer = story.explorer();
    let clearing = explorer.find(&Selector::Id(again[2].to_string())).unwrap();
    assert_eq!(clearing.related.len(), 6, "{:#?}", clearing.related);
}

#[test]
fn the_oldest_are_let_go_of_with_all_that_named_them() {
    let mut story = Story::begin();
    for interval in 0..4 {
        story.interval(interval);
    }
    let mut explorer = story.explorer();
    let index = &mut explorer.index;
    index.forget(24);
    assert_eq!(
        (index.first, index.held.len(), index.clock_of.len()),
        (25, 4, 4)
    );
    assert_eq!(index.intervals.len(), 1);
    let left: Vec<&u64> = index.effects.values().flatten().collect();
    assert!(left.iter().all(|clock| **clock >= 25), "{left:?}");
    assert!(matches!(
        explorer.find(&Selector::Clock(24)),
        Err(NotFound::Absent(_))
    ));
    assert_eq!(
        explorer.find(&Selector::Clock(25)).unwrap().related.len(),
        3
    );
    explorer.index.forget(99);
    assert!(explorer.index.effects.is_empty() && explorer.index.intervals.is_empty());
    assert_eq!(explorer.page(&all()).last, None);
}

#[test]
fn records_of_protected_participants_are_withheld_and_others_are_shown() {
    let mut story = Story::begin();
    let atoms = story.interval(0);
    let dispatch = story.dispatch(None);
    let rules = format!(
        r#"{{"schema":2,"epoch_utc_ns":{EPOCH_NS},"first_start_ns":0,"interval_ns":{INTERVAL_NS},
           "protection":{{"pseudonyms":{{"load1":"p-12345678"}},"resolution_mwh":null,
           "resolution_u":null,"retention_ns":null,"orders":true}}}}"#
    );
    std::fs::write(story.dir.path().join(RULES_FILE), rules).unwrap();
    let mut explorer = Explorer::open(story.dir.path()).unwrap();
    explorer.follow().unwrap();
    let page = |who: &str| {
        let wanted = Wanted {
            limit: 500,
            who: Some(who.into()),
            ..Wanted::default()
        };
        explorer.page(&wanted).entries
    };
    assert!(page("load1").is_empty(), "{:?}", page("load1"));
    let order = &page("p-12345678")[0];
    assert!(order.text.starts_with("withheld") && order.interval == Some(0));
    for atom in &atoms {
        let found = explorer.find(&Selector::Id(atom.to_string())).unwrap();
        let told = serde_json::to_string(&found).unwrap();
        let is_of_market = is_of_participants(explorer.index.at(found.line.clock).unwrap().kind);
        assert_eq!(found.entry.is_string(), is_of_market, "{told}");
        assert!(
            !is_of_market || !found.entry.to_string().contains("load1"),
            "{told}"
        );
        assert!(!told.contains("12500"), "{told}");
    }
    let found = explorer.find(&Selector::Id(dispatch.to_string())).unwrap();
    assert!(found.entry.is_object() && found.line.text.contains("ess1"));
}
