//! Readiness at the desk: bought at the gate, called as control says, paid by what is measured.

use super::super::export::{Cell, MarketOfRun, What};
use super::*;

/// The bench of two storages that are half full, with more in its rig.
fn bench_with(more: &str) -> Bench {
    bench_of(|text| format!("{text}\n{more}"))
}

/// The same with another rig.
fn bench_of(change: impl Fn(String) -> String) -> Bench {
    const STORAGES: &str = include_str!("../../../../../rigs/virtual/storages.toml");
    const RESERVE: &str = include_str!("../../../../../rigs/virtual/market-reserve.toml");
    let (_, own) = RESERVE.split_once("[service]").expect("a service");
    let text = change(format!("{STORAGES}\n[service]{own}"));
    let rig = crate::rig::load_text(Path::new("reserve.toml"), &text);
    let mut bench = Bench::of(rig.unwrap_or_else(|faults| panic!("{faults:?}")));
    let still = [
        ("load1", -5_000.0),
        ("pcc", 5_000.0),
        ("ess1", 0.0),
        ("ess2", 0.0),
    ];
    bench.power_w = BTreeMap::from(still);
    bench.charge(0.5);
    bench
}

fn bench() -> Bench {
    bench_with("")
}

impl Bench {
    /// Both storages tell this charge until the end of the test.
    fn charge(&mut self, fraction: f64) {
        for name in ["bat1", "ess2"] {
            let device = self.device(name);
            self.image.observe(PointSample {
                device,
                point: Point::StateOfCharge,
                sample: model::Sample {
                    measured_at: at(u64::from(u32::MAX)),
                    reading: Reading::Good(fraction),
                },
            });
        }
    }

    /// Control asks so much of a storage, and it gives so much in all.
    fn call(&mut self, name: &'static str, asked_w: f64, gives_w: f64) {
        let device = self.device(name);
        self.called.retain(|(other, _)| *other != device);
        self.called.push((device, ActivePower::from_watts(asked_w)));
        self.power_w.insert(name, gives_w);
    }
}

/// What an account receives in an interval for something.
fn received(records: &[Payload], interval: u64, account: &str, what: &str) -> i128 {
    let settlements = records.iter().filter_map(|record| match record {
        Payload::Settlement(found) if found.interval == interval => Some(found),
        _ => None,
    });
    let lines = settlements.flat_map(|settlement| &settlement.lines);
    let own = lines.filter(|line| line.account == account && line.what == what);
    own.map(|line| line.amount.0).sum()
}

#[test]
fn who_is_ready_is_told_to_control_and_paid_by_how_it_follows() {
    let mut bench = bench();
    // The first interval goes by uncalled, in the second both follow, in the third one does not move.
    bench.run_until(3_000);
    let traded = |bench: &Bench, name: &str| {
        let device = bench.device(name);
        let seats = bench.desk.waiting.last().map(|cleared| &cleared.clearing);
        let seat = bench.desk.seats.iter().find(|seat| seat.device == device);
        let position = seats.zip(seat).map(|(c, seat)| c.position(&seat.agent));
        // Energy of 15 s as power.
        position.map_or(0.0, |energy| energy.0 as f64 * 0.24)
    };
    let base = |bench: &Bench| [traded(bench, "ess1"), traded(bench, "ess2")];
    let [one, two] = base(&bench);
    bench.call("ess1", 0.0, one);
    bench.call("ess2", 0.0, two);
    bench.run_until(18_000);
    let [one, two] = base(&bench);
    bench.call("ess1", 0.0, one);
    bench.call("ess2", 3_000.0, two + 3_000.0);
    bench.run_until(33_000);
    let [one, two] = base(&bench);
    bench.call("ess1", 0.0, one);
    bench.call("ess2", 3_000.0, two);
    bench.run_until(50_000);
    let bought = bench.told(|event| match event {
        Event::ReserveBought {
            interval,
            up_mwh,
            up_price_mc_per_kwh,
            ..
        } => Some((*interval, *up_mwh, *up_price_mc_per_kwh)),
        _ => None,
    });
    // 6 kW over 15 s are 25 Wh; the dearer one is needed, too.
    assert_eq!(
        bought[..2],
        [(0, 25_000, Some(400)), (1, 25_000, Some(400))]
    );
    let folder = bench.folder.path().to_owned();
    let exported = |what| {
        let read = MarketOfRun::read(&folder, utc(50_000)).expect("readable");
        read.expect("a market").table(what)
    };
    let tables = [What::Capacity, What::Activations].map(exported);
    let records = bench.close();
    // Who was ready in the second interval: the cheaper one followed, the other was not called.
    let of_second = |row: &&Vec<Cell>| row[0] == Cell::Whole(1);
    let [capacity, activations] = tables.map(|table| {
        let rows = table.rows.iter().filter(of_second);
        rows.map(|row| row[1..].iter().map(Cell::told).collect())
            .collect::<Vec<Vec<_>>>()
    });
    // Two offers and the need, either way.
    assert_eq!(capacity.len(), 6, "{capacity:?}");
    let told = |text: &str| Some(text.to_owned());
    let own = (capacity.iter()).find(|r| r[0] == told("reserve_up") && r[4] == told("ess2"));
    let own = &own.expect("offered")[5..9];
    assert_eq!(
        own,
        [told("sell"), told("300"), told("12500"), told("12500")]
    );
    let score = |name: &str| {
        let row = activations.iter().find(|row| row[4] == told(name));
        row.expect("a row")[11].clone()
    };
    assert_eq!(score("ess1"), None);
    let followed: u32 = score("ess2").expect("called").parse().expect("whole");
    assert!(followed > 950_000, "{followed}");
    // The cheaper one is ready for all that it offers: 12.5 Wh up and 8.333 Wh down.
    let all = 400 * (12_500 + 8_333);
    assert_eq!(received(&records, 0, "ess2", "reserve"), all);
    assert_eq!(received(&records, 0, "ess2", "activation"), 0);
    let paid = received(&records, 1, "ess2", "reserve");
    assert!(paid > all * 95 / 100 && paid <= all, "{paid} of {all}");
    let energy = received(&records, 1, "ess2", "activation");
    let whole = 30_000 * 12_500;
    assert!(
        energy > whole * 99 / 100 && energy <= whole,
        "{energy} of {whole}"
    );
    assert_eq!(received(&records, 2, "ess2", "reserve"), 0);
    let penalty = received(&records, 2, "ess2", "penalty");
    assert_eq!(penalty, -2_000 * (12_500 + 8_333));
    assert_eq!(received(&records, 2, "penalties", "penalty"), -penalty);
    assert!(received(&records, 2, "ess2", "imbalance") < 0);
    assert_eq!(received(&records, 2, "ess1", "penalty"), 0);
}

#[test]
fn a_short_call_on_the_way_to_what_was_traded_is_judged_by_itself() {
    // It ramps by 500 W a second, and takes the whole interval to what it has sold.
    let mut bench = bench_of(|text| {
        let ramp = "ramp = \"50kW/s\"";
        assert!(text.contains(ramp));
        text.replace(ramp, "ramp = \"500W/s\"")
    });
    bench.run_until(3_000);
    bench.call("ess2", 0.0, 0.0);
    let mut ramps = |until_ms: u64, called: f64, off: f64| {
        while bench.now_ms < until_ms {
            let after_s = (bench.now_ms + 500) as f64 / 1e3 - 3.0;
            let base = (after_s * 500.0).min(5_000.0);
            bench.call("ess1", called, base + called + off);
            bench.run_until(bench.now_ms + 500);
        }
    };
    ramps(6_000, 0.0, 0.0);
    ramps(8_000, 1_000.0, 0.0);
    // What it lacks uncalled is imbalance, and no bad answer.
    ramps(14_000, 0.0, -1_000.0);
    ramps(19_500, 0.0, 0.0);
    let records = bench.close();
    let all = 400 * (12_500 + 8_333);
    let paid = received(&records, 0, "ess1", "reserve");
    assert!(paid > all * 9 / 10, "{paid} of {all}");
    assert_eq!(received(&records, 0, "ess1", "penalty"), 0);
}

#[test]
fn who_cannot_be_called_is_not_ready() {
    let mut bench = bench();
    bench.run_until(3_000);
    bench.call("ess1", 0.0, 0.0);
    bench.call("ess2", 0.0, 0.0);
    bench.run_until(18_000);
    // Somebody holds the cheaper one: control names it no more.
    let held = bench.device("ess2");
    bench.called.retain(|(device, _)| *device != held);
    bench.run_until(35_000);
    let records = bench.close();
    let all = 400 * (12_500 + 8_333);
    let [before, after] = [0, 1].map(|interval| received(&records, interval, "ess2", "reserve"));
    assert_eq!(before, all);
    assert!(after < all / 10, "{after} of {all}");
}

#[test]
fn who_has_no_charge_for_it_offers_nothing_and_an_island_buys_nothing() {
    let short = |event: &Event| match event {
        Event::ReserveShort {
            interval,
            is_up,
            bought_mwh,
            ..
        } => Some((*interval, *is_up, *bought_mwh)),
        _ => None,
    };
    let mut bench = bench();
    // At the lower edge of both: nothing upwards, and all of it downwards.
    bench.charge(0.1);
    bench.run_until(3_000);
    assert_eq!(bench.told(short), [(0, true, 0)]);
    bench.connected = false;
    bench.run_until(18_000);
    assert_eq!(bench.told(short), []);
    let records = bench.close();
    let is_of_reserve = |number: u64| market::venue::reserve::interval_of(number).is_some();
    let bought = records.iter().filter(|record| match record {
        Payload::Clearing(found) => is_of_reserve(found.interval),
        _ => false,
    });
    assert_eq!(bought.count(), 2, "both sides of the first interval alone");
}

#[test]
fn readiness_that_is_bought_with_energy_costs_what_its_provider_loses_by_it() {
    let together = "penalty_mc_per_kwh   = 2000\nprocurement          = \"co_optimised\"";
    let mut found = Vec::new();
    for stage in ["penalty_mc_per_kwh   = 2000", together] {
        let mut bench = bench_of(|text| {
            let text = text.replace("penalty_mc_per_kwh   = 2000", stage);
            // The smaller one earns more by energy.
            text.replace(
                "sell_above_mc_per_kwh = 26000",
                "sell_above_mc_per_kwh = 23500",
            )
        });
        bench.power_w.insert("load1", -20_000.0);
        bench.power_w.insert("pcc", 20_000.0);
        bench.run_until(3_000);
        let bought = bench.told(|event| match event {
            Event::ReserveBought {
                up_mwh,
                up_price_mc_per_kwh,
                ..
            } => Some((*up_mwh, *up_price_mc_per_kwh)),
            _ => None,
        });
        let ready = bench.ordered.iter().find_map(|order| match order {
            model::Order::Ready(ready) => Some(ready.shares.clone()),
            _ => None,
        });
        let up = |name: &str| {
            let device = bench.device(name);
            let shares = ready.iter().flatten();
            let own = shares.filter(|share| share.device == device);
            own.map(|share| share.up.as_watts().round()).sum::<f64>()
        };
        found.push((bought, up("ess1"), up("ess2")));
        bench.call("ess1", 0.0, 7_000.0);
        bench.call("ess2", 0.0, 2_000.0);
        bench.run_until(20_000);
        // Closing replays the run.
        let records = bench.close();
        assert!(received(&records, 0, "ess1", "reserve") > 0);
    }
    // Before energy the cheaper one comes first. With it that one has 4,500 to lose, and the other 4,000.
    let apart = (vec![(25_000, Some(400))], 3_000.0, 3_000.0);
    let together = (vec![(25_000, Some(4_800))], 4_000.0, 2_000.0);
    assert_eq!(found, [apart, together]);
}

/// The larger storage at the end of a cable of 5 A: 3.464 kW at 400 V.
const CABLE: &str = r#"
[market.feeder]
v_min_percent = 90
v_max_percent = 110
origin        = "EN 50160:2010, 4.2.2"

[network]
bus        = [{ name = "hall", v_ll = "400V" }, { name = "shed", v_ll = "400V" }]
source     = [{ bus = "hall" }]
connection = [{ device = "ess1", bus = "shed" }]
line       = [{ name = "to the shed", from = "hall", to = "shed", length_m = 100, r_ohm_per_km = 1.15, x_ohm_per_km = 0.087, i_max = "5A" }]
"#;

#[test]
fn readiness_is_bought_beside_energy_that_a_cable_limits_and_both_have_their_accounts() {
    for (more, sold_w, earns) in [("", 5_000, false), (CABLE, 3_464, true)] {
        let mut bench = bench_with(more);
        bench.run_until(3_000);
        let device = bench.device("ess1");
        let seat = bench.desk.seats.iter().find(|seat| seat.device == device);
        let (seat, cleared) = (seat.expect("a seat"), bench.desk.waiting.last());
        let sold = cleared.expect("cleared").clearing.position(&seat.agent);
        // Energy of 15 s as power.
        let watts = sold.0 * 24 / 100;
        assert!((sold_w - 2..=sold_w).contains(&watts), "{watts} W");
        bench.call("ess1", 0.0, watts as f64);
        bench.call("ess2", 0.0, 5_000.0 - watts as f64);
        bench.power_w.insert("pcc", 0.0);
        bench.run_until(35_000);
        let records = bench.close();
        assert!(received(&records, 0, "ess1", "reserve") > 0);
        let rent = received(&records, 0, "congestion", "congestion");
        assert_eq!(rent > 0, earns, "{rent}");
    }
}
