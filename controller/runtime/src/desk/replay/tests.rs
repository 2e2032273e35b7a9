use market::meter::Reading;
use market::utility::Parity;
use market::venue::reserve::Offer;
use market::venue::{Procurement, ReserveRules, VenueRules};
use market::{Mwh, Price, Side};

use super::*;
use crate::clock::SystemClock;
use crate::desk::RULES_FILE;
use crate::desk::records::reading_payload;
use crate::evidence::{CONTROLLER, Evidence, KeySource, MARKET_OPERATOR};

/// Replays terms whose penalty is recorded higher than the venue tells by so much.
fn check_terms(more: i64) -> MarketReplay {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = SystemClock::start();
    let utc = model::Clock::utc(&clock);
    let names = ["seller".to_owned()];
    let mut evidence = Evidence::create(folder.path(), "test", &names, KeySource::Seed(7), &clock)
        .expect("a ledger");
    let obligations = market::venue::ObligationRules {
        penalty: market::penalty::PenaltyRules::DEFAULT,
        standing: market::standing::StandingRules::DEFAULT,
        forecast_error_ppm: 30_000,
        deposits: [("seller".into(), market::Money(5))].into(),
    };
    let mut rules = rules(utc.unix_nanos());
    rules.venue.obligations = Some(obligations);
    let text = serde_json::to_vec(&rules).expect("JSON");
    std::fs::write(folder.path().join(RULES_FILE), &text).expect("written");
    let venue = Venue::new(rules.venue).expect("a venue");
    let mut terms = terms_payload(0, &venue.terms().expect("obligations"));
    terms.penalty_millicents_per_kwh += more;
    let bind = crate::evidence::document(RULES_SUBJECT, &text, "rules");
    let drafts = vec![
        evidence.draft(CONTROLLER, bind),
        evidence.draft(MARKET_OPERATOR, Payload::Terms(terms)),
    ];
    evidence.append(utc, drafts, None).expect("appended");
    evidence.close(utc).expect("closed");
    replay(folder.path()).expect("readable")
}

#[test]
fn terms_that_nobody_told_are_found() {
    assert!(matches!(check_terms(0), MarketReplay::Identical { .. }));
    let found = check_terms(1);
    assert!(
        matches!(found, MarketReplay::Different { interval: 0, .. }),
        "{found:?}"
    );
}

fn rules(epoch_utc_ns: i64) -> Rules {
    Rules {
        schema: 2,
        venue: VenueRules {
            mechanism: "uniform_k_half".into(),
            book: market::BookRules::unbounded(),
            utility: UTILITY.into(),
            parity: Parity {
                import: Price(30_000),
                export: Price(5_000),
            },
            indivisible: [].into(),
            obligations: None,
            ahead: None,
            regulation: None,
            contracts: Vec::new(),
            intraday: None,
            reserve: None,
        },
        epoch_utc_ns,
        first_start_ns: 0,
        interval_ns: 15_000_000_000,
        protection: None,
        feeder: None,
        balancing: false,
        time_factor: 1,
    }
}

/// A ledger of two intervals: nothing is traded in the first, whose settlement falls back on the price of the
/// second, since that was cleared before. `known` = the price that its settlement takes.
fn settled_after_the_next_was_cleared(folder: &Path, known: Option<Price>) {
    let clock = SystemClock::start();
    let utc = model::Clock::utc(&clock);
    let names = ["seller".to_owned(), "buyer".to_owned()];
    let mut evidence =
        Evidence::create(folder, "test", &names, KeySource::Seed(7), &clock).expect("a ledger");
    let rules = rules(utc.unix_nanos());
    let text = serde_json::to_vec(&rules).expect("JSON");
    std::fs::write(folder.join(RULES_FILE), &text).expect("written");
    let bind = crate::evidence::document(RULES_SUBJECT, &text, "rules");
    let mut note = |author: &str, payload| {
        let draft = evidence.draft(author, payload);
        let receipts = evidence.append(utc, vec![draft], None).expect("appended");
        receipts[0].atom_id
    };
    note(CONTROLLER, bind);
    let mut venue = Venue::new(rules.venue.clone()).expect("a venue");
    let interval = |n| rules.interval(n).expect("an interval");
    let idle = venue.clear(interval(0), Vec::new()).expect("cleared");
    let clearing = clearing_payload(&idle.clearing, &idle.book, &BTreeMap::new());
    note(
        MARKET_OPERATOR,
        Payload::Clearing(clearing.expect("recorded")),
    );
    let orders = vec![
        Order::single("seller".into(), Side::Sell, Price(10_000), Mwh(500)).ranked(0),
        Order::single("buyer".into(), Side::Buy, Price(20_000), Mwh(500)).ranked(1),
    ];
    let atoms = orders.iter().map(|one| {
        let payload = crate::desk::records::order_payload(&interval(1), one);
        let atom = note(&crate::evidence::party_of(one.agent.as_str()), payload);
        (one.rank, atom)
    });
    let atoms = atoms.collect();
    let traded = venue.clear(interval(1), orders).expect("cleared");
    assert!(traded.clearing.price.is_some(), "{traded:?}");
    let clearing = clearing_payload(&traded.clearing, &traded.book, &atoms);
    note(
        MARKET_OPERATOR,
        Payload::Clearing(clearing.expect("recorded")),
    );
    venue.take(&traded.clearing);
    let reading = Reading::Valid { energy: Mwh(300) };
    let metered = reading_payload("seller", rules.epoch_utc_ns, &interval(0), &reading);
    note(CONTROLLER, Payload::MeterReading(metered));
    let basis = market::settlement::Basis {
        readings: BTreeMap::from([("seller".into(), reading)]),
        coupling: None,
        fallback_price: known.or(traded.clearing.price),
        instructed: BTreeMap::new(),
    };
    let settlement = market::settlement::settle(&idle.clearing, &basis).expect("settled");
    let settlement = settlement_payload(&settlement, false);
    note(MARKET_OPERATOR, Payload::Settlement(settlement));
    evidence.close(utc).expect("closed");
}

#[test]
fn an_interval_without_a_price_is_settled_at_the_newest_one_that_was_known() {
    let folder = tempfile::tempdir().expect("a folder");
    settled_after_the_next_was_cleared(folder.path(), None);
    let expected = MarketReplay::Identical {
        cleared: 2,
        settled: 1,
        uncleared: 0,
    };
    assert_eq!(replay(folder.path()).expect("readable"), expected);

    let folder = tempfile::tempdir().expect("a folder");
    settled_after_the_next_was_cleared(folder.path(), Some(Price(1)));
    let found = replay(folder.path()).expect("readable");
    assert!(
        matches!(found, MarketReplay::Different { interval: 0, .. }),
        "{found:?}"
    );
}

/// Rules by which two storages are ready for a utility that also sells energy, cleared together.
fn rules_of_reserve(epoch_utc_ns: i64) -> Rules {
    let mut rules = rules(epoch_utc_ns);
    let can = |most: i128| market::book::Capability {
        inject_max: market::MwhTotal(most),
        withdraw_max: market::MwhTotal(most),
    };
    let names = [
        ("a", 10_000),
        ("b", 10_000),
        ("load", 20_000),
        (UTILITY, 40_000),
    ];
    let names = names
        .into_iter()
        .map(|(name, most)| (name.into(), can(most)));
    rules.venue.book.capabilities = Some(names.collect());
    let offer = |ready| Offer {
        up: Mwh(8_000),
        down: Mwh(8_000),
        ready: Price(ready),
        up_energy: Price(30_000),
        down_energy: Price(5_000),
    };
    rules.venue.reserve = Some(ReserveRules {
        up: Mwh(10_000),
        down: Mwh(4_000),
        limit: Price(5_000),
        penalty: Price(2_000),
        procurement: Procurement::CoOptimised,
        offers: [("a".into(), offer(100)), ("b".into(), offer(300))].into(),
    });
    rules
}

/// Replays an interval in which energy and readiness are cleared together and something of its records, energy and
/// readiness upwards and downwards, is changed.
fn check_together(change: impl Fn(&mut [Option<payload::Clearing>; 3])) -> MarketReplay {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = SystemClock::start();
    let utc = model::Clock::utc(&clock);
    let names = ["a", "b", "load", UTILITY].map(str::to_owned);
    let mut evidence = Evidence::create(folder.path(), "test", &names, KeySource::Seed(7), &clock)
        .expect("a ledger");
    let rules = rules_of_reserve(utc.unix_nanos());
    let text = serde_json::to_vec(&rules).expect("JSON");
    std::fs::write(folder.path().join(RULES_FILE), &text).expect("written");
    let mut note = |author: &str, payload| {
        let draft = evidence.draft(author, payload);
        let receipts = evidence.append(utc, vec![draft], None).expect("appended");
        receipts[0].atom_id
    };
    note(
        CONTROLLER,
        crate::evidence::document(RULES_SUBJECT, &text, "rules"),
    );
    let venue = Venue::new(rules.venue.clone()).expect("a venue");
    let interval = rules.interval(0).expect("an interval");
    let order = |(rank, (name, side, price, quantity)): (u64, (&str, Side, i64, i64))| {
        Order::single(name.into(), side, Price(price), Mwh(quantity)).ranked(rank)
    };
    let energy = [
        ("load", Side::Buy, 300_000, 20_000),
        ("a", Side::Sell, 24_000, 10_000),
        ("b", Side::Sell, 26_000, 10_000),
        (UTILITY, Side::Sell, 28_000, 40_000),
    ];
    let able = ["a", "b"]
        .map(|name| (AgentId::from(name), Mwh(10_000)))
        .into();
    let orders = together::Orders {
        energy: (0..).zip(energy).map(order).collect(),
        ready: SIDES.map(|side| venue.reserve_orders(side, &able)),
    };
    let products = SIDES.map(|side| reserve::product(interval, side));
    let mut posted = |product: &Interval, orders: &[Order]| -> BTreeMap<u64, AtomId> {
        let note = |order: &Order| {
            let payload = records::order_payload(product, order);
            let author = crate::evidence::party_of(order.agent.as_str());
            (order.rank, note(&author, payload))
        };
        orders.iter().map(note).collect()
    };
    let of_energy = posted(&interval, &orders.energy);
    let [up, down] = [0, 1].map(|side| posted(&products[side], &orders.ready[side]));
    let cleared = venue.clear_together(interval, orders).expect("books");
    let cleared = cleared.expect("cleared together");
    let record =
        |cleared: &Cleared, atoms| clearing_payload(&cleared.clearing, &cleared.book, atoms);
    let mut recorded = [
        record(&cleared.energy, &of_energy),
        record(&cleared.ready[0], &up),
        record(&cleared.ready[1], &down),
    ];
    change(&mut recorded);
    let [energy, up, down] = recorded;
    for clearing in [up, down, energy].into_iter().flatten() {
        note(MARKET_OPERATOR, Payload::Clearing(clearing));
    }
    evidence.close(utc).expect("closed");
    replay(folder.path()).expect("readable")
}

/// What a replay says of records in which one of the three is changed.
fn told_of(book: usize, change: impl Fn(&mut payload::Clearing)) -> String {
    let found = check_together(|recorded| change(recorded[book].as_mut().expect("recorded")));
    match found {
        MarketReplay::Different { what, .. } => what,
        MarketReplay::Identical { .. } => "identical".into(),
    }
}

#[test]
fn what_is_cleared_together_is_proved_by_its_records_and_what_is_changed_in_them_is_told_by_name() {
    let as_it_was = MarketReplay::Identical {
        cleared: 3,
        settled: 0,
        uncleared: 0,
    };
    assert_eq!(check_together(|_| {}), as_it_was);
    let award = |clearing: &mut payload::Clearing, name: &str, by: i64| {
        let mut fills = clearing.fills.iter_mut();
        let own = fills.find(|fill| fill.agent == name).expect("a fill");
        own.quantity_milliwatt_hours += by;
    };
    let tell = |from: &'static str, to: &'static str| {
        told_of(0, move |it| {
            it.mechanism = it.mechanism.replacen(from, to, 1)
        })
    };
    let rows = [
        // An award that is handed from one to the other, and one that nobody pays.
        (
            told_of(1, |it| {
                award(it, "a", 1_000);
                award(it, "b", -1_000);
            }),
            "certificate of interval 0: the certificate is none: the offer of `a` and what it is ready for",
        ),
        (
            told_of(2, |it| award(it, "a", 1)),
            "certificate of interval 0: the certificate is none: what is sold of readiness downwards",
        ),
        (
            told_of(0, |it| award(it, "b", 1)),
            "certificate of interval 0: the certificate is none: what is sold of energy",
        ),
        // Prices of the certificate: of energy, of readiness, and of room.
        (
            tell("28000/", "28100/"),
            "the offer of `a` for energy would rather trade more",
        ),
        (tell("/4100/", "/4200/"), "would rather trade more"),
        (tell(":a=4000", ":a=4100"), "the offer of `a` for"),
        (
            tell("co_optimised:", "uniform_k_half:"),
            "tells no prices of its limits",
        ),
        // A price or a payment that is not the one of the certificate.
        (
            told_of(1, |it| it.price_millicents_per_kwh = Some(4_101)),
            "reserve: recorded",
        ),
        (
            told_of(0, |it| it.price_high_millicents_per_kwh = Some(28_001)),
            "clearing: recorded",
        ),
        (
            told_of(0, |it| it.fills[1].order = it.fills[0].order),
            "certificate: `",
        ),
    ];
    for (found, expected) in rows {
        assert!(found.contains(expected), "{expected}: {found}");
    }
    let found = check_together(|recorded| recorded[2] = None);
    let missing = "reserve: its clearing is not on record";
    assert!(
        matches!(&found, MarketReplay::Different { interval: 0, what } if what == missing),
        "{found:?}"
    );
}
