//! A market under `[regulation]`: what it refuses, takes and shows.

use super::*;

/// Orders from outside on the bench with this section.
fn regulated(section: &str) -> Bench {
    let mut bench = Bench::new(OUTSIDE, &format!("[regulation]\n{section}"));
    bench.run_until(1_000);
    bench
}

#[test]
fn orders_beyond_the_bounds_of_a_regulator_are_refused_or_moved() {
    for (beyond, code) in [("refuse", "M011"), ("clip", "")] {
        let section = format!("price_cap_mc_per_kwh = 60000\nbeyond = \"{beyond}\"");
        let mut bench = regulated(&section);
        let (_, cap) = (bench.desk.open_gate()).map_or((0, 0), |open| (open.floor_mc, open.cap_mc));
        assert_eq!(cap, 60_000);
        let bid = bench.bid("plug1", Side::Buy, (200_000, 8_000), None);
        assert_eq!(bid, code, "{beyond}");
        bench.run_until(20_000);
        let moved = |event: &Event| match event {
            Event::Noticed { text, .. } => text.starts_with("[M055]").then(|| text.clone()),
            _ => None,
        };
        let told = bench.told(moved);
        assert_eq!(told.len(), usize::from(code.is_empty()), "{told:?}");
        // A load that must run bids the cap, which is now a lower one.
        let highest = |record: &Payload| match record {
            Payload::Order(order) if order.agent == "load1" => {
                Some(order.steps[0].price_millicents_per_kwh)
            }
            _ => None,
        };
        let records = bench.close();
        let bids: Vec<i64> = records.iter().filter_map(highest).collect();
        assert!(bids.iter().all(|price| *price == 60_000), "{bids:?}");
        assert!(!bids.is_empty());
    }
}

#[test]
fn who_is_not_eligible_or_has_no_contract_that_holds_trades_nothing_and_is_told() {
    // The second day of the test's clock begins after 57600 s; its first one is 2027-01-15T08:00:00Z.
    let ends = |at: &str| {
        format!("contract.plug1 = {{ id = \"7\", from = \"2027-01-15\", until = \"{at}\" }}")
    };
    for (section, code, later) in [
        ("eligible = { kinds = [\"flexible\"] }".to_owned(), "", ""),
        (
            "eligible = { participants = [\"load1\"] }".to_owned(),
            "M056",
            "M056",
        ),
        // Intervals begin at 3, 18, 33 s; the contract holds in the first two.
        (ends("2027-01-15T08:00:33Z"), "", "M057"),
        (ends("2027-01-15T08:00:01Z"), "M057", "M057"),
    ] {
        let mut bench = regulated(&section);
        let bid = |bench: &mut Bench, interval| {
            bench.bid("plug1", Side::Buy, (30_000, 100), Some(interval))
        };
        assert_eq!(bid(&mut bench, 1), code, "{section}");
        assert_eq!(bid(&mut bench, 2), later, "{section}");
        bench.run_until(35_000);
        let silent = bench.told(|event| match event {
            Event::MarketSilent {
                participant, why, ..
            } if participant == "pv1" => Some(why.clone()),
            _ => None,
        });
        assert_eq!(silent.len(), 1, "{section}: told once: {silent:?}");
        let records = bench.close();
        let sold = records.iter().any(|record| match record {
            Payload::Order(order) => order.agent == "pv1",
            _ => false,
        });
        assert!(!sold, "{section}");
    }
}

#[test]
fn taxes_are_lines_of_their_own_and_orders_leave_room_for_them() {
    let section = "tax = { withdrawal_mc_per_kwh = 2050 }\n\
                   surcharge = { withdrawal_mc_per_kwh = 300, injection_mc_per_kwh = 100 }";
    let mut bench = regulated(section);
    bench.run_until(20_000);
    let records = bench.close();
    let mut taxes = BTreeMap::new();
    for record in &records {
        match record {
            Payload::Settlement(settlement) => {
                let levied = |line: &&ledger_core::payload::SettlementLine| {
                    line.what == "tax" || line.what == "surcharge"
                };
                for line in settlement.lines.iter().filter(levied) {
                    *taxes
                        .entry((line.account.clone(), line.what.clone()))
                        .or_insert(0) += line.amount.0;
                }
            }
            Payload::Order(order) if order.agent == "plug2" => {
                // It would pay 15000 in all.
                assert_eq!(order.steps[0].price_millicents_per_kwh, 12_650);
            }
            Payload::Order(order) if order.agent == "pv1" => {
                assert_eq!(order.steps[0].price_millicents_per_kwh, 100);
            }
            _ => {}
        }
    }
    let of = |who: &str, what: &str| taxes[&(who.to_owned(), what.to_owned())];
    // 6 kW for 15 s are 25 Wh, less the few milliwatts by which the samples move.
    let load = of("load1", "tax") / 2_050;
    assert!((-25_010..=-24_990).contains(&load), "{taxes:?}");
    assert_eq!(of("taxes", "tax"), -of("load1", "tax"));
    assert_eq!(
        of("surcharges", "surcharge"),
        -of("load1", "surcharge") - of("pv1", "surcharge")
    );
}

#[test]
fn participants_are_shown_under_pseudonyms_in_steps_and_for_as_long_as_the_rig_says() {
    let section = "data = { names = \"pseudonyms\", salt = \"0123456789abcdef\", \
                   resolution = \"1Wh\", retention = \"20s\" }\n\
                   eligible = { participants = [\"load1\", \"pv1\"] }";
    let mut bench = regulated(section);
    let refused = bench.bid("plug1", Side::Buy, (30_000, 100), Some(1));
    assert_eq!(refused, "M056");
    bench.run_until(80_000);
    let shown = bench.desk.shown_intervals(at(80_000));
    // Intervals end at 18, 33, 48, 63 and 78 s.
    let numbers: Vec<u64> = shown.iter().map(|view| view.interval).collect();
    assert_eq!(numbers, [3, 4, 5], "each for 20 s after its end");
    // A meter that is doubted is that of a device, which happens to have the participant's name.
    bench
        .told
        .retain(|event| !matches!(event, Event::MeterDoubted { .. }));
    let told = format!(
        "{shown:?} {:?} {:?} {:?}",
        bench.desk.shown_accounts(),
        bench.told,
        bench.desk.open_gate()
    );
    for name in ["load1", "pv1", "ess1", "plug1", "plug2"] {
        assert!(!told.contains(&format!("\"{name}\"")), "{name}: {told}");
        assert!(!told.contains(&format!("`{name}`")), "{name}: {told}");
    }
    assert!(told.contains("\"p-") && told.contains("`p-"));
    let settled = shown.iter().filter(|view| view.settled.is_some());
    let mut energies = settled
        .flat_map(|view| &view.participants)
        .filter_map(|p| p.metered_mwh);
    assert!(energies.clone().count() > 3 && energies.all(|mwh| mwh % 1_000 == 0));
    assert!(shown[0].orders.iter().all(|order| order.atom.is_none()));

    // The ledger has everything, and what is beside it says who is who to whoever shows it.
    let protection = Protection::of_run(bench.folder.path()).expect("protected");
    assert!(told.contains(protection.name("load1")) && !protection.shows_records());
    let records = bench.close();
    assert!(records.iter().any(|record| match record {
        Payload::MeterReading(reading) => {
            reading.participant == "load1"
                && reading
                    .energy_milliwatt_hours
                    .is_some_and(|mwh| mwh % 1_000 != 0)
        }
        _ => false,
    }));

    let mut bench = regulated("data = { orders = false }");
    bench.run_until(20_000);
    let shown = bench.desk.shown_intervals(at(20_000));
    assert!(shown.iter().all(|view| view.orders.is_empty()));
    assert_eq!(shown[0].participants[0].who, "ess1");
    bench.close();
}
