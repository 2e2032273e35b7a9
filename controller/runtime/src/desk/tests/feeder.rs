//! A market on the lines of its rig: full cables, and voltages that a clearing would break.

use super::super::export::{Cell, MarketOfRun, What};
use super::*;

/// The utility, a hall, and a roof at the end of 400 m of 16 mm² copper: 0.46 ohm. The tap of the
/// transformer that feeds it is 8 % up, so 12 kW of sun would lift the roof to 1.118.
fn network(more_of_the_line: &str) -> String {
    format!(
        r#"
[network]
bus = [{{ name = "medium", v_ll = "20kV" }}, {{ name = "hall", v_ll = "400V" }}, {{ name = "roof", v_ll = "400V" }}]
source = [{{ bus = "medium" }}]
connection = [{{ device = "pv1", bus = "roof" }}]
[[network.transformer]]
name = "T1"
high = "medium"
low = "hall"
s = "100kVA"
v_high = "20kV"
v_low = "400V"
vk_percent = 4.0
vkr_percent = 1.0
tap_percent = -7.4
group = "Dyn5"
[[network.line]]
name = "to the roof"
from = "hall"
to = "roof"
length_m = 400
r_ohm_per_km = 1.15
x_ohm_per_km = 0.087
{more_of_the_line}
"#
    )
}

const BAND: &str = "[market.feeder]\nv_min_percent = 90\norigin = \"EN 50160:2010, 4.2.2\"\n";

/// What the roof has sold in watts in the interval from 18 s on, how much of it was told again, and
/// what congestion has earned.
fn check(feeder: &str, line: &str, sun_w: f64) -> (i64, Vec<String>, bool) {
    let mut bench = Bench::new(("", ""), &format!("{BAND}{feeder}\n{}", network(line)));
    bench.power_w.insert("pv1", sun_w);
    bench.power_w.insert("pcc", -sun_w + 6_000.0);
    bench.run_until(50_000);
    let told = bench.told(|event| match event {
        Event::Noticed { text, .. } => text.contains("bus `").then(|| text.clone()),
        _ => None,
    });
    let read = |bench: &Bench| {
        let read = MarketOfRun::read(bench.folder.path(), utc(50_000)).expect("readable");
        read.expect("a market").table(What::Nodes)
    };
    bench.evidence.close(utc(bench.now_ms)).expect("closed");
    let nodes = read(&bench);
    let roof = nodes.rows.iter().find(|row| {
        let told: Vec<_> = row.iter().map(|cell| cell.told()).collect();
        told[0].as_deref() == Some("1") && told[5].as_deref() == Some("roof")
    });
    let sold = roof.expect("a row of the roof")[7].told().expect("known");
    let watts = sold.parse::<i64>().expect("whole") * 36 / 150;
    let replayed = replay(bench.folder.path()).expect("readable");
    assert!(
        matches!(replayed, MarketReplay::Identical { settled: 2.., .. }),
        "{replayed:?}"
    );
    let entries = ledger_node::entries(bench.folder.path()).expect("a ledger");
    let (mut earns, mut earned) = (false, 0);
    for entry in entries {
        let Payload::Settlement(settlement) = entry.expect("an entry").atom.body().payload.clone()
        else {
            continue;
        };
        let sum: i128 = settlement.lines.iter().map(|l| l.amount.0).sum();
        assert_eq!(sum, 0, "{settlement:?}");
        earns |= (settlement.lines.iter()).any(|l| l.account == "congestion" && l.amount.0 > 0);
        let rent = settlement.lines.iter().filter(|l| l.what == "congestion");
        earned += rent.map(|l| l.amount.0).sum::<i128>();
    }
    // What the lines have earned is what the account has received, of the intervals that are settled.
    let read = MarketOfRun::read(bench.folder.path(), utc(50_000)).expect("readable");
    let mut lines = read.expect("a market").table(What::Congestion);
    assert_eq!(
        lines.rows.len() % 2,
        0,
        "the hall's transformer and the cable"
    );
    lines
        .rows
        .retain(|row| matches!(row[0], Cell::Whole(0..=2)));
    let rents = super::exported::sum(&lines, "rent_eur");
    assert_eq!(rents, earned);
    (watts, told, earns)
}

#[test]
fn a_full_cable_limits_what_the_roof_sells_and_earns_the_rent() {
    // 12 A at 400 V are 8.314 kW.
    let (watts, told, earns) = check("v_max_percent = 115", "i_max = \"12A\"", 12_000.0);
    assert!((8_300..=8_314).contains(&watts), "{watts}");
    assert!(earns && told.is_empty(), "{told:?}");
    let (watts, told, earns) = check("v_max_percent = 115", "", 12_000.0);
    assert!((11_990..=12_000).contains(&watts), "{watts}");
    assert!(!earns && told.is_empty(), "{told:?}");
}

#[test]
fn a_clearing_that_would_lift_the_roof_out_of_its_band_is_made_again() {
    let (watts, told, earns) = check("v_max_percent = 110\nlosses = true", "", 12_000.0);
    assert!((4_000..9_000).contains(&watts), "{watts}");
    assert!(earns);
    assert!(
        told[0].contains("cleared again") && told[0].contains("EN 50160"),
        "{told:?}"
    );
    // Switched off, nobody looks.
    let (watts, told, _) = check("v_max_percent = 110\nrounds = 0", "", 12_000.0);
    assert!((11_990..=12_000).contains(&watts), "{watts}");
    assert!(told.is_empty(), "{told:?}");
    // A band that the tap alone breaks: the line gives all that it can, and the rest is told.
    let (watts, told, _) = check("v_max_percent = 102", "", 12_000.0);
    assert_eq!(watts, 0);
    assert!(
        told[0].contains("the line to `roof` at most 0 mWh"),
        "{told:?}"
    );
    assert!(
        told[1].contains("`hall` would have") && told[1].contains("no trade can"),
        "{told:?}"
    );
}

#[test]
fn the_sun_that_nobody_orders_for_counts_as_it_is_measured() {
    const SILENT: (&str, &str) = (
        "pv1   = { kind = \"pv\" }",
        "pv1   = { kind = \"pv\", strategy = \"external\" }",
    );
    for (sun_w, is_told) in [(12_000.0, true), (3_000.0, false)] {
        let more = format!("{BAND}v_max_percent = 110\n{}", network(""));
        let mut bench = Bench::new(SILENT, &more);
        bench.power_w.insert("pv1", sun_w);
        bench.power_w.insert("pcc", 6_000.0 - sun_w);
        bench.run_until(20_000);
        let told = bench.told(|event| match event {
            Event::Noticed { text, .. } => text.contains("bus `roof`").then(|| text.clone()),
            _ => None,
        });
        assert_eq!(!told.is_empty(), is_told, "{sun_w} W: {told:?}");
    }
}

#[test]
fn a_plant_that_may_sell_only_a_part_counts_with_all_that_it_will_give() {
    // It gives 3 kW at each gate, and its profile says 11.5 kW for the fifth interval. It has broken all
    // before, so that no more than half of its 15 kW are accepted of it.
    const PROFILE: (&str, &str) = (
        "pv1   = { kind = \"pv\" }",
        "pv1   = { kind = \"pv\", forecast = \"profile\", profile_day = \"1min\", \
         profile_w = [0, 15000, 30000, 15000] }",
    );
    let penalty =
        "[market.penalty]\ndeposit_mc = 100000000\ncall_at = 1\ncap_at = 2\nsuspend_at = 50";
    let more = format!("{penalty}\n{BAND}v_max_percent = 111\n{}", network(""));
    let mut bench = Bench::new(PROFILE, &more);
    bench.power_w.insert("pv1", 3_000.0);
    bench.run_until(63_000);
    let told = bench.told(|event| match event {
        Event::Noticed { text, .. } => text.starts_with("interval 4: bus `roof`").then_some(()),
        _ => None,
    });
    let records = bench.close();
    let offered = records.iter().find_map(|record| match record {
        Payload::Order(order) if order.interval == 4 && order.agent == "pv1" => {
            Some(order.steps[0].quantity_milliwatt_hours)
        }
        _ => None,
    });
    // 7.5 kW for 15 s.
    assert_eq!(offered, Some(31_250));
    assert!(!told.is_empty());
}

#[test]
fn a_plant_that_is_held_offers_what_it_gave_before_until_the_sun_says_less() {
    let offer = "v_max_percent = 110";
    let mut bench = Bench::new(("", ""), &format!("{BAND}{offer}\n{}", network("")));
    let mut ask = |sun_w: f64, until_ms: u64| {
        bench.power_w.insert("pv1", sun_w);
        bench.power_w.insert("pcc", 6_000.0 - sun_w);
        bench.run_until(until_ms);
        let held = bench.desk.ceilings.values().next().copied();
        held.map(|most| most.as_watts())
    };
    // Gates close at 2, 17, 32 and 47 s.
    let held = ask(12_000.0, 10_000).expect("held");
    assert!((4_000.0..9_000.0).contains(&held), "{held}");
    // It obeys, and offers all of the sun again.
    assert_eq!(ask(held, 20_000), Some(held));
    assert_eq!(ask(held, 40_000), Some(held));
    // Half of that: it is the sun now, and nothing needs to be held.
    assert_eq!(ask(held / 2.0, 50_000), None);
}
