//! What a `[market]` may say: the quiet bench with a market, and something more in it.

use std::path::Path;

const LAB: &str = include_str!("../../../../../rigs/virtual/lab.toml");
const MARKET: &str = include_str!("../../../../../rigs/virtual/market.toml");

/// The codes of the faults of a rig with this behind its market.
fn check(more: &str, expected: &[&str]) {
    let (_, market) = MARKET.split_once("[market]").expect("a market");
    let text = format!("{LAB}\n[market]{market}\n{more}");
    let faults = match crate::rig::load_text(Path::new("market.toml"), &text) {
        Ok(_) => Vec::new(),
        Err(faults) => faults,
    };
    let codes: Vec<&str> = faults.iter().map(|fault| fault.code).collect();
    assert_eq!(codes, expected, "{more}: {faults:?}");
}

#[test]
fn a_contract_is_between_two_known_parties_who_can_deliver_it() {
    let contract = |buyer: &str, seller: &str, energy: &str, last: u64| {
        format!(
            "[market.contract.c]\nbuyer = \"{buyer}\"\nseller = \"{seller}\"\nenergy = \"{energy}\"\nprice_mc_per_kwh = 20000\nfirst = 2\nlast = {last}\n"
        )
    };
    check(&contract("load1", "pv1", "10Wh", 3), &[]);
    check(&contract("load1", "utility", "10Wh", 3), &[]);
    check(&contract("load1", "sun", "10Wh", 3), &["R155"]);
    check(&contract("load1", "load1", "10Wh", 3), &["R156"]);
    check(&contract("load1", "pv1", "0Wh", 3), &["R156"]);
    check(&contract("load1", "pv1", "-1Wh", 3), &["R156"]);
    check(&contract("load1", "pv1", "10Wh", 1), &["R156"]);
    // A plug takes two kilowatts: 8.3 Wh in an interval of 15 s, all contracts together.
    check(&contract("plug1", "pv1", "8Wh", 3), &[]);
    check(&contract("plug1", "pv1", "9Wh", 3), &["R157"]);
    let two = contract("plug1", "pv1", "5Wh", 3)
        + &contract("plug1", "utility", "5Wh", 9).replace("contract.c", "contract.d");
    check(&two, &["R157"]);
    // It gives nothing at all.
    check(&contract("load1", "plug1", "0.01Wh", 3), &["R157"]);
    check(
        "[market.contract.c]\nbuyer = \"load1\"\n",
        &["D004", "D004", "D004", "D004", "D004"],
    );
}

/// The flexible load of the bench as a participant.
const PLUG: &str = "{ kind = \"flexible\", willingness_mc_per_kwh = 30000 }";
/// What makes a heater of it.
const HEATS: &str = "wanted = \"21degC\", limit = \"19degC\", expected_mc_per_kwh = 20000, \
    deviation_mc_per_kwh = 8000, outside = \"5degC\", running = \"40degC\", time_constant = \"2h\"";

#[test]
fn a_heater_has_a_room_that_it_can_bring_where_it_wants() {
    for (from, to, codes) in [
        ("", "", &[][..]),
        // A room that is warmer than it shall be is not cooled by what heats it.
        ("limit = \"19degC\"", "limit = \"23degC\"", &["R177"]),
        (
            "\"19degC\", ",
            "\"19degC\", begins = \"18degC\", reach_percent = 100, ",
            &[],
        ),
        ("limit = \"19degC\"", "limit = \"21degC\"", &["R177"]),
        ("\"40degC\"", "\"20degC\"", &["R177"]),
        ("\"5degC\"", "\"25degC\"", &["R177"]),
        ("\"2h\"", "\"0s\"", &["R177"]),
        ("= 8000", "= -1", &["R177"]),
        (
            "time_constant = \"2h\"",
            "reach_percent = 0, time_constant = \"2h\"",
            &["D005"],
        ),
        (", time_constant = \"2h\"", "", &["D004"]),
        ("wanted = \"21degC\", ", "", &["D004"]),
    ] {
        let heats = match from {
            "" => HEATS.to_owned(),
            from => HEATS.replace(from, to),
        };
        let entry = format!("{{ kind = \"flexible\", strategy = \"hvac\", {heats} }}");
        let (_, market) = MARKET.split_once("[market]").expect("a market");
        let text = format!("{LAB}\n[market]{}", market.replacen(PLUG, &entry, 1));
        let faults = crate::rig::load_text(Path::new("market.toml"), &text).err();
        let faults = faults.unwrap_or_default();
        let found: Vec<&str> = faults.iter().map(|fault| fault.code).collect();
        assert_eq!(found, codes, "{heats}: {faults:?}");
    }
}

#[test]
fn within_the_day_so_many_intervals_are_open() {
    for (more, codes) in [
        ("intervals = 4", &[][..]),
        ("intervals = 1", &[]),
        ("intervals = 0", &["D005"]),
        ("intervals = 17", &["D005"]),
        ("", &["D004"]),
        ("intervals = 4\nticks = 3", &["D002"]),
    ] {
        check(&format!("[market.intraday]\n{more}\n"), codes);
    }
}

#[test]
fn a_penalty_goes_together_with_every_stage() {
    check(
        "[market.penalty]\ndeposit_mc = 1000000\n[market.day_ahead]\nintervals = 2\ngate = \"5s\"\n[market.intraday]\nintervals = 2\n",
        &[],
    );
    check(
        "[market.day_ahead]\nintervals = 2\ngate = \"1s\"\n",
        &["R106"],
    );
}

const STORAGES: &str = include_str!("../../../../../rigs/virtual/storages.toml");
const RESERVE: &str = include_str!("../../../../../rigs/virtual/market-reserve.toml");

/// The codes of the faults of the bench whose storages are paid for reserve, when one text stands for another.
fn check_reserve(from: &str, to: &str, expected: &[&str]) {
    let (_, own) = RESERVE.split_once("[service]").expect("a service");
    assert!(own.contains(from), "{from}");
    let text = format!("{STORAGES}\n[service]{}", own.replace(from, to));
    let faults = match crate::rig::load_text(Path::new("reserve.toml"), &text) {
        Ok(rig) => {
            let ready = rig.control.services[0].ready.as_deref();
            assert_eq!(ready.is_some(), text.contains("[market.reserve]"));
            Vec::new()
        }
        Err(faults) => faults,
    };
    let codes: Vec<&str> = faults.iter().map(|fault| fault.code).collect();
    assert_eq!(codes, expected, "{to}: {faults:?}");
}

#[test]
fn readiness_is_bought_of_whole_storages_that_deliver_the_service_and_can_sustain_it() {
    let stage = "[market.reserve]\nservice              = \"agc1\"\nlimit_mc_per_kwh     = 5000\npenalty_mc_per_kwh   = 2000\n";
    let before = "\n[market.reserve]\n";
    check_reserve("4kW", "4kW", &[]);
    for (from, to, codes) in [
        // Offers that nobody buys, and a service that is not there or that nobody calls.
        (stage, "", &["R172"][..]),
        (
            "service              = \"agc1\"",
            "service = \"fcr1\"",
            &["R172"],
        ),
        ("service = \"agc\"", "service = \"dc\"", &["R172"]),
        ("limit_mc_per_kwh     = 5000\n", "", &["D004"]),
        // A device of the service with which nobody offers, and an offer of one that does not deliver it.
        (
            "devices = [\"ess1\", \"ess2\"]",
            "devices = [\"ess1\"]",
            &["R172"],
        ),
        (
            "load1 = { kind = \"must_run\" }",
            "load1 = { kind = \"must_run\", reserve = { up = \"1kW\", ready_mc_per_kwh = 1, up_mc_per_kwh = 1 } }",
            &["R172", "R172"],
        ),
        ("up = \"3kW\", down = \"2kW\", ", "", &["R172"]),
        ("up = \"3kW\"", "up = \"-3kW\"", &["R172"]),
        ("ready_mc_per_kwh = 300, ", "", &["D004"]),
        ("up_mc_per_kwh = 30000, ", "", &["D004"]),
        // Together with energy, at its one price and on no feeder.
        (
            before,
            "\n[market.reserve]\nprocurement = \"co_optimised\"\n",
            &[],
        ),
        (
            before,
            "\n[market.reserve]\nprocurement = \"at_once\"\n",
            &["D006"],
        ),
        (
            before,
            "mechanism = \"vcg\"\n[market.reserve]\nprocurement = \"co_optimised\"\n",
            &["R185"],
        ),
        (
            before,
            "[market.feeder]\nv_min_percent = 90\nv_max_percent = 110\norigin = \"us\"\n[market.reserve]\nprocurement = \"co_optimised\"\n",
            &["R176", "R185"],
        ),
        // More than the device does, and for longer than its charge lasts.
        ("up = \"3kW\"", "up = \"6kW\"", &["R173"]),
        ("hold = \"15min\"", "hold = \"50min\"", &["R173"]),
    ] {
        check_reserve(from, to, codes);
    }
}

#[test]
fn one_program_takes_so_many_providers_and_no_more() {
    let market = &RESERVE[RESERVE.find("\n[market.reserve]\n").expect("reserve")..];
    let first = &market[..market.find("ess2").expect("the smaller storage")];
    let first = first.replace(
        "\n[market.reserve]\n",
        "\n[market.reserve]\nprocurement = \"co_optimised\"\n",
    );
    // All of them with one device, since nobody has so many.
    let parts = |count: usize| {
        let share = 1_000_000 / count;
        let part = |i: usize| {
            let share = if i == 0 {
                share + 1_000_000 % count
            } else {
                share
            };
            format!(
                "s{i} = {{ device = \"ess2\", share_ppm = {share}, kind = \"storage\", buy_below_mc_per_kwh = 1, \
                 sell_above_mc_per_kwh = 2, reserve = {{ up = \"1kW\", ready_mc_per_kwh = 1, up_mc_per_kwh = 1 }} }}\n"
            )
        };
        let parts: String = (0..count).map(part).collect();
        format!("{first}{parts}")
    };
    let most = market::cooptimised::PROVIDERS_MAX;
    for (count, refused) in [(most - 1, &[][..]), (most, &["R185"][..])] {
        let shared = vec!["R172"; count];
        check_reserve(market, &parts(count), &[refused, &shared].concat());
    }
}

/// The codes and messages of a bench with these keys in its market, when one text stands for another.
fn paced(keys: &str, (from, to): (&str, &str)) -> (Vec<&'static str>, String) {
    let (_, market) = MARKET.split_once("[market]").expect("a market");
    let text = format!("{LAB}\n[market]\n{keys}\n{market}");
    assert!(text.contains(from), "{from}");
    match crate::rig::load_text(Path::new("market.toml"), &text.replace(from, to)) {
        Ok(_) => (Vec::new(), String::new()),
        Err(faults) => {
            let codes = faults.iter().map(|fault| fault.code).collect();
            (codes, format!("{faults:?}"))
        }
    }
}

#[test]
fn a_gate_leaves_time_for_clearing_finality_and_setpoints_by_the_clock_of_the_bench() {
    let slow = ("timeout = \"300ms\"", "timeout = \"900ms\"");
    let same = ("timeout = \"300ms\"", "timeout = \"300ms\"");
    // 10 ms to clear, two records of 50 ms, and 100 + 20 + 300 ms until a setpoint is answered.
    for (keys, change, codes) in [
        ("", same, &[][..]),
        ("gate = \"530ms\"", same, &[]),
        ("gate = \"529ms\"", same, &["R181"]),
        ("", slow, &["R181"]),
        ("gate = \"1130ms\"", slow, &[]),
        // It closes no earlier than the interval before begins.
        ("gate = \"15s\"", same, &[]),
        ("gate = \"16s\"", same, &["R181"]),
    ] {
        let (found, told) = paced(keys, change);
        assert_eq!(found, codes, "{keys}: {told}");
        let figures = ["530ms", "1.13s"]
            .iter()
            .any(|figure| told.contains(figure));
        assert_eq!(
            figures,
            codes == ["R181"] && keys != "gate = \"16s\"",
            "{told}"
        );
    }
    let faster = (
        "interval             = \"15s\"",
        "interval = \"15min\"\ntime_factor = 60",
    );
    assert_eq!(
        paced("gate = \"32s\"", faster).0,
        [""; 0],
        "533 ms by the clock of the bench"
    );
    assert_eq!(paced("gate = \"31s\"", faster).0, ["R181"]);
}

#[test]
fn market_time_is_faster_where_devices_are_fast_enough_for_it() {
    let interval = "interval             = \"15s\"";
    let with = |keys: &str| paced("", (interval, keys)).0;
    assert_eq!(with("interval = \"15min\"\ntime_factor = 60"), [""; 0]);
    assert_eq!(with("interval = \"15s\"\ntime_factor = 0"), ["D005"]);
    // Half a second by the clock of the bench, and no whole nanoseconds.
    assert_eq!(with("interval = \"15s\"\ntime_factor = 30"), ["R018"]);
    assert_eq!(with("interval = \"150s\"\ntime_factor = 7"), ["R182"]);
    // 20 kW at 10 kW/s are 2 s: too much at twice the speed.
    let ramp = ("ramp = \"50kW/s\", capacity", "ramp = \"10kW/s\", capacity");
    let beyond = |keys: &str| {
        let (codes, told) = paced(keys, ramp);
        assert!(codes.iter().all(|code| *code == "R182"), "{told}");
        codes.len()
    };
    assert_eq!(beyond("time_factor = 1"), 0);
    assert_eq!(beyond("time_factor = 2"), 1, "an interval lasts 7.5 s");
    // A room does not warm faster because the market is hurried.
    let heater = format!("{{ kind = \"flexible\", strategy = \"hvac\", {HEATS} }}");
    for (factor, codes) in [(1, &[][..]), (60, &["R182"])] {
        let interval = format!("interval = \"15min\"\ntime_factor = {factor}\n");
        let (_, market) = MARKET.split_once("[market]").expect("a market");
        let market = market.replacen(PLUG, &heater, 1);
        let market = market.replace("interval             = \"15s\"", &interval);
        let text = format!("{LAB}\n[market]{market}");
        let faults = crate::rig::load_text(Path::new("market.toml"), &text).err();
        let faults = faults.unwrap_or_default();
        let found: Vec<&str> = faults.iter().map(|fault| fault.code).collect();
        assert_eq!(found, codes, "{factor}: {faults:?}");
    }
    // Reserve is called in the time of the bench.
    for (factor, is_told) in [(1, false), (2, true)] {
        let (_, own) = RESERVE.split_once("[service]").expect("a service");
        let keys = format!("[market]\ntime_factor = {factor}\n");
        let text = format!("{STORAGES}\n[service]{}", own.replace("[market]\n", &keys));
        let faults = crate::rig::load_text(Path::new("reserve.toml"), &text).err();
        let told = format!("{faults:?}");
        assert_eq!(told.contains("reserve is called"), is_told, "{told}");
    }
}

#[test]
fn balancing_energy_needs_a_stage_before_it_and_neither_lines_nor_reserve() {
    // The rig's own keys end before this: the section is opened again by its participants alone.
    let balancing = |more: &str| -> Vec<&'static str> {
        let (_, market) = MARKET.split_once("[market]").expect("a market");
        let text = format!("{LAB}\n[market]\nreal_time = \"balancing_energy\"{market}\n{more}");
        match crate::rig::load_text(Path::new("market.toml"), &text) {
            Ok(rig) => {
                assert!(rig.market.is_some_and(|market| market.balancing));
                Vec::new()
            }
            Err(faults) => faults.iter().map(|fault| fault.code).collect(),
        }
    };
    assert_eq!(balancing(""), ["R180"]);
    assert_eq!(balancing("[market.intraday]\nintervals = 2\n"), [""; 0]);
    let lines = "[market.intraday]\nintervals = 2\n[market.feeder]\norigin = \"EN 50160\"\nv_min_percent = 90\nv_max_percent = 110\n\
                 [network]\nbus = [{ name = \"hall\", v_ll = \"400V\" }]\nsource = [{ bus = \"hall\" }]\n";
    assert_eq!(balancing(lines), ["R180"]);
    // Who owes a penalty must have been able to trade.
    let contract = "[market.contract.c]\nbuyer = \"load1\"\nseller = \"pv1\"\nenergy = \"10Wh\"\nprice_mc_per_kwh = 20000\nfirst = 2\nlast = 3\n";
    let penalty = "[market.penalty]\ndeposit_mc = 1000000\n";
    let day = "[market.day_ahead]\nintervals = 2\ngate = \"5s\"\n";
    assert_eq!(balancing(contract), [""; 0]);
    assert_eq!(balancing(&format!("{contract}{penalty}")), ["R180"]);
    assert_eq!(balancing(&format!("{contract}{day}{penalty}")), [""; 0]);
}

#[test]
fn a_feeder_needs_a_network_a_band_with_its_origin_and_the_uniform_price() {
    const NETWORK: &str =
        "[network]\nbus = [{ name = \"hall\", v_ll = \"400V\" }]\nsource = [{ bus = \"hall\" }]\n";
    let feeder = |more: &str| format!("[market.feeder]\norigin = \"EN 50160\"\n{more}\n{NETWORK}");
    const BAND: &str = "v_min_percent = 90\nv_max_percent = 110\n";
    for (more, codes) in [
        (feeder(BAND), &[][..]),
        (feeder(&format!("{BAND}rounds = 0\nlosses = true")), &[]),
        (feeder(&format!("{BAND}rounds = 11")), &["D005"]),
        (
            feeder("v_min_percent = 101\nv_max_percent = 110"),
            &["R176"],
        ),
        (feeder("v_min_percent = 90\nv_max_percent = 99"), &["R176"]),
        (feeder("v_max_percent = 110"), &["D004"]),
        (feeder(&format!("{BAND}fee = 3")), &["D002"]),
        (format!("[market.feeder]\n{BAND}{NETWORK}"), &["D004"]),
        (
            format!("[market.feeder]\norigin = \"x\"\n{BAND}"),
            &["R176"],
        ),
    ] {
        check(&more, codes);
    }
}
