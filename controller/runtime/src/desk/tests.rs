//! The desk by itself: a quiet bench that the test measures, cycle by cycle, and a ledger of its own.

use std::path::Path;

use ledger_core::payload::{Payload, ReadingQuality, Side as RecordedSide};
use market::{Coded, Side};
use model::Reading;

use super::*;
use crate::clock::SystemClock;
use crate::evidence::KeySource;

mod balancing;
mod counters;
mod exported;
mod faster;
mod feeder;
mod forecasts;
mod hvac;
mod regulated;
mod reserve;
mod tracking;

const LAB: &str = include_str!("../../../../rigs/virtual/lab.toml");
const MARKET: &str = include_str!("../../../../rigs/virtual/market.toml");

/// A bench whose devices do what the test says.
struct Bench {
    folder: tempfile::TempDir,
    rig: Rig,
    control: control::Bench,
    desk: Desk,
    evidence: Evidence,
    image: ProcessImage,
    /// Power of each device that is metered, in watts.
    power_w: BTreeMap<&'static str, f64>,
    told: Vec<Event>,
    now_ms: u64,
    connected: bool,
    /// What the service that the market buys asks of devices.
    called: Vec<(DeviceIx, ActivePower)>,
    /// What devices can do.
    able: Vec<(DeviceIx, Bounds<ActivePower>)>,
    /// What the desk has ordered of control.
    ordered: Vec<Order>,
}

/// What the market's rig says of the first plug, and what orders come from outside instead.
const OUTSIDE: (&str, &str) = (
    "plug1 = { kind = \"flexible\", willingness_mc_per_kwh = 30000 }",
    "plug1 = { kind = \"flexible\", strategy = \"external\" }",
);

fn utc(ms: u64) -> UtcTime {
    UtcTime::from_unix_nanos(1_800_000_000_000_000_000 + ms as i64 * 1_000_000)
}

fn at(ms: u64) -> Instant {
    Instant::START + Duration::from_millis(ms)
}

impl Bench {
    /// The bench with a market in which one text stands for another, and more behind it.
    fn new((from, to): (&str, &str), more: &str) -> Self {
        let (_, market) = MARKET.split_once("[market]").expect("a market");
        assert!(market.contains(from), "{from}");
        let text = format!("{LAB}\n[market]{}\n{more}", market.replace(from, to));
        let rig = crate::rig::load_text(Path::new("market.toml"), &text);
        Self::of(rig.unwrap_or_else(|faults| panic!("{faults:?}")))
    }

    /// The bench of a rig.
    fn of(rig: Rig) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = SystemClock::start();
        let names = Desk::participants(&rig);
        let mut evidence =
            Evidence::create(folder.path(), "test", &names, KeySource::Seed(7), &clock)
                .expect("a ledger");
        let market = rig.market.clone().expect("a market");
        let desk = Desk::open(&rig, &market, folder.path(), &mut evidence, at(0), utc(0));
        let control = rig.bench();
        Self {
            image: ProcessImage::unread(control.devices.len()),
            desk: desk.unwrap_or_else(|e| panic!("{e}")),
            control,
            rig,
            folder,
            evidence,
            power_w: BTreeMap::from([("load1", -6_000.0), ("pv1", 3_000.0), ("pcc", 3_000.0)]),
            told: Vec::new(),
            now_ms: 0,
            connected: true,
            called: Vec::new(),
            able: Vec::new(),
            ordered: Vec::new(),
        }
    }

    fn device(&self, name: &str) -> DeviceIx {
        let devices = self.rig.devices.iter();
        let mut found = devices.enumerate().filter(|(_, d)| &*d.id == name);
        DeviceIx(found.next().expect("in the rig").0 as u16)
    }

    /// One cycle at this time, without a measurement.
    fn work(&mut self, ms: u64) {
        self.now_ms = ms;
        let bench = BenchNow {
            image: &self.image,
            bench: &self.control,
            connected: self.connected,
            delivers: self.connected,
            called: &self.called,
            served: &self.called,
            able: &self.able,
        };
        let says = self.desk.work(at(ms), utc(ms), &bench, &mut self.evidence);
        let says = says.expect("the ledger goes on");
        self.told.extend(says.events);
        self.ordered.extend(says.orders);
    }

    /// Measures and works, every 500 ms until a time.
    fn run_until(&mut self, until_ms: u64) {
        while self.now_ms < until_ms {
            let ms = (self.now_ms + 500).min(until_ms);
            let mut samples = Vec::new();
            for (name, watts) in &self.power_w {
                // What is measured moves in its last digits.
                let moved = watts + watts.signum() * (ms / 500 % 3) as f64 * 0.01;
                samples.push(PointSample {
                    device: self.device(name),
                    point: Point::ActivePower,
                    sample: model::Sample {
                        measured_at: at(ms),
                        reading: Reading::Good(moved),
                    },
                });
            }
            for sample in &samples {
                self.image.observe(*sample);
            }
            self.desk.observe(&samples);
            self.work(ms);
        }
    }

    /// Puts a bid in and lets the desk look at it now; the code of its refusal, empty if it is taken.
    fn bid(
        &mut self,
        participant: &str,
        side: Side,
        step: (i64, i64),
        interval: Option<u64>,
    ) -> &'static str {
        let bid = Bid {
            participant: participant.into(),
            side,
            steps: vec![step],
            interval,
            stage: Stage::RealTime,
        };
        let mut answer = self.desk.bids().push(bid).expect("there is room");
        self.work(self.now_ms);
        let answer = answer.try_recv().expect("answered in this cycle");
        answer.err().map_or("", |refusal| refusal.code())
    }

    /// The same for the order book of an interval: what it has traded and what rests, or the code.
    fn enter(
        &mut self,
        side: Side,
        steps: &[(i64, i64)],
        interval: u64,
    ) -> Result<(i128, i128), &'static str> {
        let bid = Bid {
            participant: "plug1".into(),
            side,
            steps: steps.to_vec(),
            interval: Some(interval),
            stage: Stage::Intraday,
        };
        let mut answer = self.desk.bids().push(bid).expect("there is room");
        self.work(self.now_ms);
        let taken = answer.try_recv().expect("answered in this cycle");
        let entry = taken.map_err(|refusal| refusal.code())?.entry;
        let entry = entry.expect("an order within the day");
        Ok((entry.traded_mwh, entry.rests_mwh))
    }

    /// What was told of this kind since it was asked last.
    fn told<T>(&mut self, pick: impl Fn(&Event) -> Option<T>) -> Vec<T> {
        let found = self.told.iter().filter_map(pick).collect();
        self.told.clear();
        found
    }

    /// Ends the run: it replays, all settlements sum to zero, and these are its records.
    fn close(mut self) -> Vec<Payload> {
        self.records()
    }

    /// The same, while its folder stays.
    fn records(&mut self) -> Vec<Payload> {
        self.evidence.close(utc(self.now_ms)).expect("closed");
        let replayed = replay(self.folder.path()).expect("readable");
        assert!(
            matches!(replayed, MarketReplay::Identical { .. }),
            "{replayed:?}"
        );
        let entries = ledger_node::entries(self.folder.path()).expect("a ledger");
        let records: Vec<Payload> = entries
            .map(|entry| entry.expect("an entry").atom.body().payload.clone())
            .collect();
        for record in &records {
            if let Payload::Settlement(settlement) = record {
                let sum: i128 = settlement.lines.iter().map(|l| l.amount.0).sum();
                assert_eq!(sum, 0, "{settlement:?}");
            }
        }
        records
    }
}

fn refusals(event: &Event) -> Option<String> {
    match event {
        Event::OrderRefused { why } => Some(why.clone()),
        _ => None,
    }
}

fn silences(event: &Event) -> Option<(u64, String)> {
    match event {
        Event::MarketSilent {
            interval,
            participant,
            ..
        } => Some((*interval, participant.clone())),
        _ => None,
    }
}

#[test]
fn what_a_meter_attests_is_minted_and_what_was_sold_is_handed_over() {
    let mut bench = Bench::new(("", ""), "");
    bench.run_until(80_000);
    let (holdings, balances) = ledger_node::balances(bench.folder.path()).expect("a ledger");
    assert!(holdings.minted > 0 && holdings.burned == 0, "{holdings:?}");
    assert_eq!(holdings.metered, holdings.minted);
    let all: i128 = balances.iter().map(|of| of.amount).sum();
    assert_eq!(all, holdings.minted, "{balances:?}");
    assert!(
        balances.iter().all(|of| of.asset == "energy"),
        "{balances:?}"
    );
    // The load has measured no energy into the bus: what it owns it has bought.
    let load = crate::evidence::party_of("load1");
    let load = balances.iter().find(|of| of.owner == load);
    assert!(load.is_some_and(|of| of.amount > 0), "{balances:?}");
    let refused = bench.told(|event| match event {
        Event::Noticed { text, .. } if text.contains("credits") => Some(text.clone()),
        _ => None,
    });
    assert_eq!(refused, Vec::<String>::new());
    let records = bench.close();
    let attested = records.iter().filter_map(|record| match record {
        Payload::MeterReading(reading) if reading.quality == ReadingQuality::Valid => {
            reading.energy_milliwatt_hours.filter(|energy| *energy > 0)
        }
        _ => None,
    });
    let attested: i128 = attested.map(i128::from).sum();
    assert_eq!(attested, holdings.metered);
}

#[test]
fn orders_from_outside_are_taken_until_the_gate_and_stand_on_the_ledger() {
    let mut bench = Bench::new(OUTSIDE, "");
    bench.run_until(1_000);
    let (first, buys) = ((30_000, 8_000), Side::Buy);
    assert_eq!(bench.bid("plug1", buys, first, None), "");
    assert_eq!(bench.bid("plug1", buys, first, None), "M014");
    assert_eq!(bench.bid("load1", buys, first, None), "M038");
    assert_eq!(bench.bid("nobody", buys, first, None), "M038");
    // Two kilowatts for 15 s are 8333 mWh, and a plug gives nothing.
    assert_eq!(bench.bid("plug1", buys, (30_000, 8_334), Some(1)), "M015");
    assert_eq!(bench.bid("plug1", Side::Sell, (30_000, 1), Some(1)), "M015");
    assert_eq!(bench.bid("plug1", buys, (300_001, 10), Some(1)), "M011");
    assert_eq!(bench.bid("plug1", buys, (30_000, 0), Some(1)), "M012");
    assert_eq!(bench.bid("plug1", buys, first, Some(96)), "M039");
    assert_eq!(bench.bid("plug1", buys, first, Some(u64::MAX)), "M039");
    assert_eq!(bench.bid("plug1", buys, (29_000, 700), Some(1)), "");
    let codes: Vec<String> = bench.told(refusals);
    assert_eq!(codes.len(), 9, "{codes:?}");
    assert!(codes[0].starts_with("[M014] "), "{codes:?}");

    // The gate of the first interval closes at 2 s, that of the second at 17 s.
    let open = bench
        .desk
        .open_gate()
        .expect("somebody orders from outside");
    assert_eq!((open.next.interval, open.next.gate), (0, utc(2_000)));
    assert_eq!(open.outsiders, [("plug1".to_owned(), 8_333, 0)]);
    bench.run_until(2_000);
    assert_eq!(bench.bid("plug1", buys, first, Some(0)), "M037");
    bench.run_until(32_000);
    // It has ordered for two intervals and was silent for the third, which is told once.
    bench.told(|_| None::<()>);
    bench.run_until(50_000);
    let told = bench.told(silences);
    assert!(
        told.is_empty(),
        "told at the first gate without an order: {told:?}"
    );
    let records = bench.close();
    let orders: Vec<(u64, RecordedSide, i64)> = (records.iter())
        .filter_map(|record| match record {
            Payload::Order(order) if order.agent == "plug1" => Some((
                order.interval,
                order.side,
                order.steps[0].quantity_milliwatt_hours,
            )),
            _ => None,
        })
        .collect();
    assert_eq!(
        orders,
        [(0, RecordedSide::Buy, 8_000), (1, RecordedSide::Buy, 700)]
    );
    let bought = |interval| {
        records.iter().any(|record| match record {
            Payload::Clearing(c) => {
                c.interval == interval && c.fills.iter().any(|fill| fill.agent == "plug1")
            }
            _ => false,
        })
    };
    assert!(bought(0) && bought(1) && !bought(2));
}

#[test]
fn one_who_orders_nothing_is_told_once_and_again_after_it_was_back() {
    let mut bench = Bench::new(OUTSIDE, "");
    bench.power_w.insert("ess1", 0.0);
    bench.run_until(40_000);
    // Nobody has heard of the charge of the storage, so its agent does not order either.
    let silent = bench.told(silences);
    assert_eq!(silent, [(0, "ess1".to_owned()), (0, "plug1".to_owned())]);
    assert_eq!(bench.bid("plug1", Side::Buy, (30_000, 500), None), "");
    bench.run_until(70_000);
    assert_eq!(bench.told(silences), [(4, "plug1".to_owned())]);
    bench.close();
}

#[test]
fn more_bids_than_the_desk_can_look_at_are_turned_away() {
    let bench = Bench::new(OUTSIDE, "");
    let bid = |interval| Bid {
        participant: "plug1".into(),
        side: Side::Buy,
        steps: vec![(1, 1)],
        interval: Some(interval),
        stage: Stage::RealTime,
    };
    let answers: Vec<_> = (0..40).map(|n| bench.desk.bids().push(bid(n))).collect();
    assert_eq!(answers.iter().flatten().count(), 32);
}

#[test]
fn intervals_whose_gate_was_missed_are_told_and_the_next_is_traded() {
    let mut bench = Bench::new(("", ""), "");
    bench.run_until(1_000);
    bench.work(70_000);
    let missed = |event: &Event| match event {
        Event::MarketNotCleared { interval, .. } => Some(*interval),
        _ => None,
    };
    // Intervals begin at 3, 18, 33, 48 and 63 s.
    assert_eq!(bench.told(missed), [0, 1, 2, 3, 4]);
    bench.run_until(95_000);
    let settled = |event: &Event| match event {
        Event::MarketSettled { interval, .. } => Some(*interval),
        _ => None,
    };
    assert_eq!(bench.told(settled), [5]);
    bench.close();
}

#[test]
fn meters_that_are_missing_or_jumping_are_told_and_settled_by_their_rule() {
    let mut bench = Bench::new(("", ""), "");
    let doubts = |event: &Event| match event {
        Event::MeterDoubted { meter, fault, .. } => Some((meter.clone(), fault.clone())),
        _ => None,
    };
    bench.run_until(19_500);
    let mut found = bench.told(doubts);
    found.sort();
    // Three devices of the market have never said anything.
    let missing = |name: &str| (name.to_owned(), "missing".to_owned());
    assert_eq!(found, ["ess1", "plug1", "plug2"].map(missing));
    // The load's meter falls silent, the sun says ten times as much as it can for a moment.
    bench.power_w.remove("load1");
    bench.run_until(25_000);
    let sun = bench.power_w.insert("pv1", 35_000.0);
    bench.run_until(25_500);
    bench.power_w.insert("pv1", sun.expect("it shone"));
    bench.run_until(35_000);
    assert_eq!(
        bench.told(doubts),
        [missing("load1"), ("pv1".into(), "jumping".into())]
    );
    let records = bench.close();
    let readings = records.iter().filter_map(|record| match record {
        Payload::MeterReading(reading) if reading.participant != "utility" => Some(reading),
        _ => None,
    });
    let of_load: Vec<ReadingQuality> = readings
        .clone()
        .filter(|reading| reading.participant == "load1")
        .map(|reading| reading.quality)
        .collect();
    assert_eq!(of_load, [ReadingQuality::Valid, ReadingQuality::Missing]);
    // Without the one sample the sun has given what it gave all the time: 12.5 Wh in 15 s.
    let of_sun: Vec<i64> = readings
        .filter(|reading| reading.participant == "pv1")
        .filter_map(|reading| reading.energy_milliwatt_hours)
        .collect();
    assert_eq!(of_sun, [12_500, 12_500]);
}

#[test]
fn a_contract_is_recorded_at_each_gate_of_its_period_and_settled_at_its_own_price() {
    let contract = "[market.contract.sun]\nbuyer = \"load1\"\nseller = \"pv1\"\nenergy = \"10Wh\"\nprice_mc_per_kwh = 9000\nfirst = 1\nlast = 2\n";
    let mut bench = Bench::new(("", ""), contract);
    bench.run_until(66_000);
    let records = bench.close();
    let mut price = BTreeMap::new();
    let mut traded = Vec::new();
    let mut booked: BTreeMap<u64, BTreeMap<String, i128>> = BTreeMap::new();
    for record in &records {
        match record {
            Payload::Trade(trade) => {
                traded.push((trade.interval, trade.quantity_milliwatt_hours));
                assert_eq!((&*trade.buyer, &*trade.seller), ("load1", "pv1"));
            }
            Payload::Clearing(c) => {
                price.insert(c.interval, c.price_millicents_per_kwh.expect("it crossed"));
            }
            Payload::Settlement(s) => {
                for line in s.lines.iter().filter(|line| line.what == "contract") {
                    let of = booked.entry(s.interval).or_default();
                    of.insert(line.account.clone(), line.amount.0);
                }
            }
            _ => {}
        }
    }
    assert_eq!(traded, [(1, 10_000), (2, 10_000)]);
    let intervals: Vec<u64> = booked.keys().copied().collect();
    assert_eq!(intervals, [1, 2]);
    for (interval, of) in booked {
        // The load has ten watt-hours at the contract's price instead of the interval's.
        let saved = 10_000 * i128::from(price[&interval] - 9_000);
        assert!(saved > 0, "{price:?}");
        let expected = [("load1".to_owned(), saved), ("pv1".to_owned(), -saved)];
        assert_eq!(of, expected.into());
    }
}

#[test]
fn deposits_cover_what_is_traded_at_every_stage_and_all_of_it_replays() {
    let stages = "[market.day_ahead]\nintervals = 2\ngate = \"5s\"\n[market.intraday]\nintervals = 2\n[market.penalty]\ndeposit_mc = 1000000\n[market.contract]\nsun = { buyer = \"load1\", seller = \"pv1\", energy = \"10Wh\", price_mc_per_kwh = 9000, first = 1, last = 3 }\n";
    let mut bench = Bench::new(("", ""), stages);
    bench.run_until(20_000);
    bench.power_w.insert("pv1", 5_000.0);
    bench.run_until(96_000);
    assert!(bench.told(refusals).is_empty());
    let records = bench.close();
    let terms: Vec<(u64, BTreeMap<String, i128>)> = (records.iter())
        .filter_map(|record| match record {
            Payload::Terms(terms) => {
                let accounts = terms.accounts.iter();
                let left = accounts.map(|one| (one.participant.clone(), one.deposit.0));
                Some((terms.interval, left.collect()))
            }
            _ => None,
        })
        .collect();
    // The block of 2 and 3 is traded at 28 s: from then on the load's cover is what is left of it.
    let of_load: Vec<i128> = terms.iter().map(|(_, left)| left["load1"]).collect();
    let held = |at: usize| 1_000_000_000_000 - of_load[at];
    assert!(held(0) == 0 && held(2) > held(1), "{of_load:?}");
    let kinds = |what: &str| {
        records.iter().any(|record| match record {
            Payload::Settlement(s) => s.lines.iter().any(|line| line.what == what),
            _ => false,
        })
    };
    for what in ["contract", "day_ahead", "intraday"] {
        assert!(kinds(what), "nothing is booked {what}");
    }
}

#[test]
fn a_reading_that_comes_late_is_booked_as_a_correction_that_replays() {
    let mut bench = Bench::new(("", ""), "");
    // The storage and the plugs have never said anything: their meters are missing in interval 0.
    bench.run_until(20_000);
    let late = |bench: &mut Bench, participant: &str, interval, energy_mwh| {
        let reading = LateReading {
            participant: participant.into(),
            interval,
            energy_mwh,
        };
        let mut answer = bench.desk.bids().push_reading(reading);
        let answer = answer.as_mut().expect("there is room");
        bench.work(bench.now_ms);
        let answer = answer.try_recv().expect("answered in this cycle");
        answer.map_err(|why| why.code())
    };
    assert_eq!(late(&mut bench, "plug1", 1, -500), Err("M048"));
    assert_eq!(late(&mut bench, "sun", 0, -500), Err("M049"));
    assert_eq!(late(&mut bench, "pv1", 0, 12_500), Err("M052"));
    let codes = bench.told(refusals);
    assert!(
        codes.len() == 3 && codes[2].starts_with("[M052] "),
        "{codes:?}"
    );
    // The plug has bought 8.3 Wh and taken one: the rest is imbalance after all.
    let received = late(&mut bench, "plug1", 0, -1_000).expect("booked");
    assert!(received > 0, "{received}");
    assert_eq!(late(&mut bench, "plug1", 0, -1_000), Err("M052"));
    bench.run_until(36_000);
    let folder = bench.folder.path().to_owned();
    let settled = |records: &[Payload]| {
        let all = records.iter().filter_map(|record| match record {
            Payload::Settlement(s) => Some((s.interval, s.lines.clone())),
            _ => None,
        });
        all.collect::<Vec<_>>()
    };
    bench.evidence.close(utc(bench.now_ms)).expect("closed");
    let found = books(&folder).expect("readable");
    let own = found.deliveries.iter();
    let own: Vec<Option<i64>> = own
        .filter(|d| d.participant == "plug1" && d.interval == 0)
        .map(|d| d.metered_mwh)
        .collect();
    assert_eq!(
        own,
        [Some(-1_000)],
        "the late reading takes the place of the missing one"
    );
    let key = ("correction".to_owned(), "plug1".to_owned());
    assert_eq!(found.booked.get(&key), Some(&(1, -received)));
    let replayed = replay(&folder).expect("readable");
    assert!(
        matches!(replayed, MarketReplay::Identical { .. }),
        "{replayed:?}"
    );
    let entries = ledger_node::entries(&folder).expect("a ledger");
    let records: Vec<Payload> = entries
        .map(|entry| entry.expect("an entry").atom.body().payload.clone())
        .collect();
    let of_zero = settled(&records)
        .into_iter()
        .filter(|(interval, _)| *interval == 0);
    let lines: Vec<_> = of_zero.collect();
    assert_eq!(lines.len(), 2, "settled, and settled again");
    for (_, lines) in lines {
        let sum: i128 = lines.iter().map(|line| line.amount.0).sum();
        assert_eq!(sum, 0, "{lines:?}");
    }
}

fn trades(event: &Event) -> Option<(u64, String, String, i64, i64)> {
    match event {
        Event::IntradayTraded {
            interval,
            buyer,
            seller,
            energy_mwh,
            price_mc_per_kwh,
        } => Some((
            *interval,
            buyer.clone(),
            seller.clone(),
            *energy_mwh,
            *price_mc_per_kwh,
        )),
        _ => None,
    }
}

#[test]
fn who_orders_from_outside_trades_ahead_until_the_gate_of_the_block() {
    let mut none = Bench::new(OUTSIDE, "");
    none.run_until(500);
    let ask = |bench: &mut Bench, participant: &str, interval: Option<u64>, energy: i64| {
        let bid = Bid {
            participant: participant.into(),
            side: Side::Buy,
            steps: vec![(30_000, energy)],
            interval,
            stage: Stage::DayAhead,
        };
        let mut answer = bench.desk.bids().push(bid).expect("there is room");
        bench.work(bench.now_ms);
        let answer = answer.try_recv().expect("answered in this cycle");
        answer.map_err(|refusal| refusal.code())
    };
    assert_eq!(ask(&mut none, "plug1", None, 1_000), Err("M054"));
    // Blocks of two: that of intervals 2 and 3 begins at 33 s, and its gate closes at 28 s.
    let mut bench = Bench::new(
        OUTSIDE,
        "[market.day_ahead]\nintervals = 2\ngate = \"5s\"\n",
    );
    bench.run_until(20_000);
    let (first, intervals) = bench
        .desk
        .open_gate()
        .expect("somebody is outside")
        .ahead
        .expect("a stage");
    assert_eq!((first.interval, first.gate, intervals), (2, utc(28_000), 2));
    let taken = ask(&mut bench, "plug1", Some(3), 1_000).expect("taken");
    assert_eq!(
        (taken.interval, taken.begins, taken.gate),
        (3, utc(48_000), utc(28_000))
    );
    for (participant, interval, energy, code) in [
        ("plug1", Some(3), 1_000, "M014"),
        ("load1", Some(3), 1_000, "M038"),
        ("plug1", Some(1), 1_000, "M037"),
        ("plug1", Some(2 + 96), 1_000, "M039"),
        ("plug1", Some(2), 8_334, "M015"),
    ] {
        assert_eq!(
            ask(&mut bench, participant, interval, energy),
            Err(code),
            "{participant} {interval:?}"
        );
    }
    bench.run_until(28_000);
    assert_eq!(ask(&mut bench, "plug1", Some(3), 1_000), Err("M037"));
    bench.run_until(66_000);
    let records = bench.close();
    let bought = records.iter().filter_map(|record| match record {
        Payload::Clearing(c) => {
            let own = c.fills.iter().find(|fill| fill.agent == "plug1");
            own.map(|fill| (c.interval, fill.quantity_milliwatt_hours))
        }
        _ => None,
    });
    let ahead = market::venue::ahead::PRODUCTS_FROM;
    assert_eq!(bought.collect::<Vec<_>>(), [(ahead + 3, 1_000)]);
}

#[test]
fn intervals_are_traded_within_the_day_by_agents_and_from_outside_until_their_gate() {
    let stage = "[market.intraday]\nintervals = 2\n";
    let mut bench = Bench::new(OUTSIDE, stage);
    bench.run_until(1_000);
    assert_eq!(bench.enter(Side::Buy, &[(20_000, 500)], 2), Err("M039"));
    // At the gate of interval 0, agents quote for 1 and 2: the sun has 12.5 Wh to sell, the load needs 25.
    bench.run_until(2_000);
    let traded = bench.told(trades);
    assert_eq!(traded.len(), 2, "{traded:?}");
    let (_, buyer, seller, energy, _) = &traded[0];
    assert_eq!((&**buyer, &**seller, *energy), ("load1", "pv1", 12_500));
    // The load still bids for the rest, at what the utility would charge; nobody offers.
    let open = bench.desk.open_gate().expect("somebody is outside");
    let books: Vec<(u64, bool, bool)> = (open.intraday.iter())
        .map(|(index, bid, offer)| (*index, bid.is_some(), offer.is_some()))
        .collect();
    assert_eq!(books, [(1, true, false), (2, true, false)]);
    // From outside: a bid rests behind it, a better one takes its place, and it is taken back.
    assert_eq!(bench.enter(Side::Buy, &[(20_000, 500)], 1), Ok((0, 500)));
    assert_eq!(bench.enter(Side::Buy, &[(20_010, 700)], 1), Ok((0, 700)));
    assert_eq!(bench.enter(Side::Buy, &[], 1), Ok((0, 0)));
    assert_eq!(bench.enter(Side::Buy, &[], 1), Err("M047"));
    assert_eq!(bench.enter(Side::Buy, &[(20_005, 700)], 1), Err("M011"));
    assert_eq!(bench.enter(Side::Buy, &[(20_000, 8_334)], 1), Err("M046"));
    assert_eq!(bench.enter(Side::Sell, &[(20_000, 1)], 1), Err("M046"));
    assert_eq!(bench.enter(Side::Buy, &[(20_000, 500)], 0), Err("M037"));
    // More sun than before: it offers what it has not sold, and the best bids take it.
    bench.told(|_| None::<()>);
    bench.power_w.insert("pv1", 14_000.0);
    bench.run_until(17_000);
    let traded = bench.told(trades);
    let of_two: Vec<&str> = (traded.iter())
        .filter(|(interval, ..)| *interval == 2)
        .map(|(_, buyer, ..)| buyer.as_str())
        .collect();
    assert_eq!(of_two, ["load1", "plug2"], "{traded:?}");
    // What the sun has left rests at what the utility would pay, and who comes from outside takes it.
    assert_eq!(
        bench.enter(Side::Buy, &[(20_000, 8_000)], 2),
        Ok((8_000, 0))
    );
    let (_, buyer, seller, energy, price) = bench.told(trades).remove(0);
    assert_eq!((&*buyer, &*seller, energy), ("plug1", "pv1", 8_000));
    assert!(price < 10_000, "{price}");
    // It has bought 8 of the 8.3 Wh that its device can take.
    assert_eq!(bench.enter(Side::Buy, &[(20_000, 334)], 2), Err("M046"));
    bench.run_until(66_000);
    let records = bench.close();
    // What it bought and did not order in real time is sold back there: booked, and sums to zero.
    let booked = records.iter().filter_map(|record| match record {
        Payload::Settlement(s) => Some((s.interval, &s.lines)),
        _ => None,
    });
    let booked: Vec<u64> = booked
        .filter(|(_, lines)| {
            let own = lines.iter().filter(|line| line.what == "intraday");
            let sum: i128 = own.clone().map(|line| line.amount.0).sum();
            assert_eq!(sum, 0);
            own.clone().any(|line| line.account == "plug1")
        })
        .map(|(interval, _)| interval)
        .collect();
    assert_eq!(booked, [2]);
    let withdrawn = records
        .iter()
        .filter(|r| matches!(r, Payload::Withdrawal(_)));
    assert!(withdrawn.count() >= 1);
}

#[test]
fn an_island_goes_on_at_the_value_of_lost_load_without_the_utility_and_is_excused() {
    let loss = "loss_ppm             = 20000";
    let with_value = format!("{loss}\nlost_load_mc_per_kwh = 90000");
    let mut bench = Bench::new((loss, &with_value), "");
    bench.run_until(20_000);
    bench.connected = false;
    bench.run_until(51_000);
    let records = bench.close();
    // Interval 1 is traded at 17 s beside the utility, interval 2 at 32 s without it.
    let bids = |interval, who: &str| {
        let orders = records.iter().filter_map(move |record| match record {
            Payload::Order(o) if o.interval == interval && o.agent == who => Some(o),
            _ => None,
        });
        let prices = orders.map(|o| o.steps[0].price_millicents_per_kwh);
        prices.collect::<Vec<_>>()
    };
    assert_eq!(bids(1, "load1"), [300_000]);
    assert_eq!(bids(2, "load1"), [90_000]);
    assert_eq!((bids(1, UTILITY).len(), bids(2, UTILITY).len()), (2, 0));
    // The sun serves half of the load, so a unit is worth what the other half lacks.
    let price = records.iter().find_map(|record| match record {
        Payload::Clearing(c) if c.interval == 2 => c.price_millicents_per_kwh,
        _ => None,
    });
    assert_eq!(price, Some(90_000));
    let excused: Vec<(u64, bool)> = (records.iter())
        .filter_map(|record| match record {
            Payload::Settlement(s) => Some((s.interval, s.is_excused)),
            _ => None,
        })
        .collect();
    // The island began within interval 1.
    assert_eq!(excused, [(0, false), (1, true), (2, true)]);
}

#[test]
fn an_island_quotes_nothing_within_the_day_and_takes_back_what_it_had() {
    let stage = "[market.intraday]\nintervals = 2\n";
    let mut bench = Bench::new(("", ""), stage);
    bench.power_w.insert("pv1", 1_000.0);
    bench.run_until(16_500);
    let rests = |bench: &Bench| bench.desk.venue.best_intraday(2);
    assert!(rests(&bench).0.is_some());
    bench.connected = false;
    bench.run_until(18_500);
    assert_eq!(rests(&bench), (None, None));
    bench.close();
}

#[test]
fn a_block_is_traded_ahead_and_settled_against_the_price_of_real_time() {
    let stage = "[market.day_ahead]\nintervals = 2\ngate = \"5s\"\n";
    let mut bench = Bench::new(("", ""), stage);
    // The first block begins before its gate could close; that of intervals 2 and 3 closes at 28 s.
    let traded = |event: &Event| match event {
        Event::DayAheadTraded {
            from, intervals, ..
        } => Some((*from, *intervals)),
        _ => None,
    };
    bench.run_until(27_500);
    assert!(bench.told(traded).is_empty());
    bench.run_until(28_000);
    assert_eq!(bench.told(traded), [(2, 2)]);
    // Then the sun comes out, and a unit is worth what the utility pays for it.
    bench.power_w.insert("pv1", 14_000.0);
    bench.run_until(66_000);
    let records = bench.close();
    let clearings: BTreeMap<u64, (i64, i64)> = (records.iter())
        .filter_map(|record| match record {
            Payload::Clearing(c) => Some((
                c.interval,
                (c.price_millicents_per_kwh?, c.quantity_milliwatt_hours),
            )),
            _ => None,
        })
        .collect();
    let from = market::venue::ahead::PRODUCTS_FROM;
    let ahead = [clearings[&(from + 2)], clearings[&(from + 3)]];
    assert_eq!(ahead[0], ahead[1], "{clearings:?}");
    assert!(clearings[&2].0 < ahead[0].0, "{clearings:?}");
    for interval in [0, 1, 2, 3] {
        let settlement = records.iter().find_map(|record| match record {
            Payload::Settlement(s) if s.interval == interval => Some(s),
            _ => None,
        });
        let settlement = settlement.expect("settled");
        let of_load = settlement.lines.iter();
        let of_load = of_load.filter(|l| l.account == "load1" && l.what == "day_ahead");
        let amounts: Vec<i128> = of_load.map(|l| l.amount.0).collect();
        if interval < 2 {
            assert!(amounts.is_empty(), "{settlement:?}");
            continue;
        }
        // The load bought 25 Wh ahead, dearer than in real time.
        let difference = i128::from(ahead[0].0 - clearings[&interval].0);
        assert_eq!(amounts, [-25_000 * difference], "{settlement:?}");
    }
}
