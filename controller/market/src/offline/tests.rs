use super::out::EXACT_MAX;
use super::*;

/// The code of a refusal and a part of its place and message.
fn check(document: &str, code: &str, part: &str) {
    let error = clear(document, None).expect_err(document);
    let told = format!("{} {error}", error.place());
    assert_eq!(error.code(), code, "{document}: {told}");
    assert!(told.contains(part), "{document}: {told}");
    assert!(!error.help().is_empty());
}

#[test]
fn a_document_of_another_shape_is_refused_with_the_place() {
    for (document, code, part) in [
        ("", "M100", "1:0"),
        ("{\n  nonsense", "M100", "2:3"),
        ("[]", "M101", "(document): an object"),
        (r#"{"in":3}"#, "M101", "in: an object"),
        (r#"{"mech":3}"#, "M101", "mech"),
        (r#"{"bids":[]}"#, "M101", "(document).offers"),
        (r#"{"in":{"bids":{},"offers":[]}}"#, "M101", "in.bids"),
        (r#"{"bids":[["b",1]],"offers":[]}"#, "M101", "bids[0]"),
        (r#"{"bids":[[7,1,1]],"offers":[]}"#, "M101", "bids[0][0]"),
        (
            r#"{"bids":[["b",1.5,1]],"offers":[]}"#,
            "M101",
            "bids[0][1]",
        ),
        (
            r#"{"bids":[["b",1,9223372036854775808]],"offers":[]}"#,
            "M101",
            "bids[0][2]",
        ),
        (
            r#"{"bids":[["b",1,"1e3"]],"offers":[]}"#,
            "M101",
            "bids[0][2]",
        ),
        (
            r#"{"bids":[["x",1,1]],"offers":[["x",1,1]]}"#,
            "M102",
            "offers[0] (document)",
        ),
        (r#"{"bids":[["b",1,0]],"offers":[]}"#, "M012", "bid of `b`"),
        (
            r#"{"bids":[["b",9223372036854775807,1]],"offers":[]}"#,
            "M011",
            "bid of `b`",
        ),
        (
            r#"{"mech":"sbba","in":{"bids":[["b",1,1]],"offers":[["s",1,2]]}}"#,
            "M031",
            "order of `s`",
        ),
        (
            r#"{"mech":"mmr","in":{"bids":[],"offers":[]}}"#,
            "M032",
            "mechanism `mmr`",
        ),
        (
            r#"{"mech":"mmr","in":{"bids":[],"offers":[],"ls":9,"lb":8}}"#,
            "M101",
            "in.lb",
        ),
        (
            r#"{"mech":"cda","in":{"bids":[],"offers":[],"price":9}}"#,
            "M101",
            "in.price",
        ),
        (
            r#"{"mech":"all_or_nothing","in":{"bids":[],"offers":[],"indivisible":["b"]}}"#,
            "M101",
            "in.indivisible",
        ),
        (
            r#"{"mech":"cda","in":[["a","buy",1,1,"GTC"],["a","sell",1,1,"GTC"]]}"#,
            "M102",
            "in[1]",
        ),
        (
            r#"{"mech":"cda","in":[["a","buy",1,1,"DAY"]]}"#,
            "M101",
            "in[0][4]",
        ),
        (
            r#"{"mech":"cda","in":[["a","buy",1,0,"GTC"]]}"#,
            "M112",
            "order 0",
        ),
        (r#"{"mech":"admm","in":{"g1":[0,5]}}"#, "M101", "in.g1"),
        (
            r#"{"mech":"sdr","in":{"ls":1,"lb":2,"rows":[[1]]}}"#,
            "M101",
            "in.rows[0]",
        ),
        (
            r#"{"mech":"network_uniform","in":{"nodes":[{"name":"a"},{"name":"b","toward":"c"}]}}"#,
            "M101",
            "in.nodes[1].toward",
        ),
        (
            r#"{"mech":"network_uniform","in":{"A":{},"B":{},"cap":-1,"fee":0}}"#,
            "M120",
            "line of node 1",
        ),
        (r#"{"mech":"imbalance","in":{}}"#, "M101", "in.imbalance"),
        (
            r#"{"mech":"imbalance","in":{"imbalance":{"a":-1}}}"#,
            "M101",
            "in.da",
        ),
        (
            r#"{"mech":"imbalance","in":{"imbalance":{"a":-1},"da":1}}"#,
            "M090",
            "1 mWh",
        ),
    ] {
        check(document, code, part);
    }
}

#[test]
fn every_inadmissible_order_is_named_not_only_the_first() {
    let document = r#"{"bids":[["b",1,0],["c",1,-1]],"offers":[["s",1,0]]}"#;
    let error = clear(document, None).unwrap_err();
    assert_eq!(error.place(), "bid of `b`, bid of `c`, offer of `s`");
}

#[test]
fn integers_are_strings_only_beyond_what_a_double_holds() {
    for (integer, expected) in [
        (EXACT_MAX, "9007199254740992"),
        (-EXACT_MAX, "-9007199254740992"),
        (EXACT_MAX + 1, "\"9007199254740993\""),
        (-EXACT_MAX - 1, "\"-9007199254740993\""),
    ] {
        assert_eq!(Out::Integer(integer).to_string(), expected);
    }
}

#[test]
fn a_long_system_activates_the_best_offers_to_take_energy_back() {
    let document = r#"{"mech":"imbalance","in":{"imbalance":{"P1":300,"P2":-100},
        "down":[["d1",5000,150],["d2",8000,100]],"da":20000}}"#;
    // d2 pays most and is used first; d1 sets the price. P2 helps at day ahead.
    let expected = r#"{"activated":{"d2":100,"d1":100},"p_imb":5000,
        "single":{"P1":-1500000,"P2":500000,"d2":500000,"d1":500000},"single_residual":0,
        "dual":{"P1":-1500000,"P2":2000000,"d2":500000,"d1":500000},"dual_residual":1500000}"#;
    let out: Value = serde_json::from_str(&clear(document, None).unwrap()).unwrap();
    assert_eq!(out, serde_json::from_str::<Value>(expected).unwrap());
}

#[test]
fn deviations_that_cancel_settle_at_the_day_ahead_price() {
    let document = r#"{"mech":"imbalance","in":{"imbalance":{"a":-5,"b":5},"da":7}}"#;
    let expected = r#"{"activated":{},"p_imb":7,"single":{"a":35,"b":-35},"single_residual":0,"dual":{"a":35,"b":-35},"dual_residual":0}"#;
    assert_eq!(clear(document, None).as_deref(), Ok(expected));
}

#[test]
fn a_feeder_of_named_nodes_tells_a_price_and_a_flow_for_each() {
    let document = r#"{"mech":"network_uniform","in":{"nodes":[
        {"name":"substation","bids":[["export",5000,9000]],"offers":[["import",30000,9000]]},
        {"name":"street","toward":"substation","cap":400,"fee":1000,"bids":[["house",35000,500]]},
        {"name":"farm","toward":"street","cap":900,"fee":0,"offers":[["sun",2000,1000]]}]}}"#;
    let expected = r#"{"alloc":{"export":400,"import":0,"house":500,"sun":900},
        "pay":{"export":2000000,"import":0,"house":2000000,"sun":-1800000},
        "price":{"substation":5000,"street":4000,"farm":2000},
        "flow_to_root":{"substation":0,"street":400,"farm":900},
        "congestion_rent":1800000,"fee_rev":400000,"welfare":17300000}"#;
    let out: Value = serde_json::from_str(&clear(document, None).unwrap()).unwrap();
    assert_eq!(out, serde_json::from_str::<Value>(expected).unwrap());
}

#[test]
fn every_rule_of_the_catalogue_is_reached_by_its_name() {
    let document = r#"{"in":{"bids":[["a",30,5],["b",20,5]],"offers":[["s",4,5],["t",18,5]],
        "ls":5,"lb":25,"seed":1}}"#;
    for rule in RULES {
        let out = clear(document, Some(rule.name));
        // Keys that only the catalogue knows do not matter to a clearing mechanism.
        let out: Value = serde_json::from_str(&out.expect(rule.name)).unwrap();
        assert!(out.get("alloc").is_some(), "{}: {out}", rule.name);
    }
}

#[test]
fn names_that_are_joined_answer_one_after_the_other() {
    let document = r#"{"bids":[["a",30,5]],"offers":[["s",4,5]]}"#;
    let out = clear(document, Some("uniform_k_half|negotiation")).unwrap();
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(out["uniform_k_half"]["p"], 17);
    assert_eq!(out["negotiation"]["trades"][0][3], 16);
    assert_eq!(
        clear(document, Some("uniform_k_half|roulette"))
            .unwrap_err()
            .code(),
        "M030"
    );
}

#[test]
fn energy_and_reserve_in_both_directions_are_at_the_least_cost_of_all() {
    // Whoever goes down must produce: 50 of `b` displace as much of `a`, which is cheaper.
    let document = r#"{"mech":"cooptimise","in":{"D":100,"R":10,"R_down":80,
        "a":[10,100,5,null,9,50],"b":[20,100,1,20,2,30]}}"#;
    let found = clear(document, None).expect("cleared").to_string();
    let expected = r#"{"e":[70,30],"r":[0,10],"p_energy":10,"p_reserve":1,"cost":1820,"r_down":[50,30],"p_down":"#;
    assert!(found.starts_with(expected), "{found}");
    // Books of orders: who is ready for 6 of its 10 sells the rest, at 28 less what it would ask.
    let books = r#"{"mech":"co_optimised","in":{"can":{"a":[10,10]},
        "energy":{"bids":[["load",99,30]],"offers":[["a",24,10],["grid",28,30]]},
        "up":{"bids":[["grid",5,6]],"offers":[["a",1,8]]}}}"#;
    let found = clear(books, None).expect("cleared").to_string();
    for part in [
        r#""energy":{"q":30,"p":28,"interval":[28,28],"bought":{"load":30},"sold":{"a":4,"grid":26}}"#,
        r#""up":{"q":6,"p":5,"interval":null,"bought":{"grid":6},"sold":{"a":6}}"#,
        r#""down":{"q":0,"p":null"#,
        r#""certificate":"co_optimised:28/5/0:a=4/0""#,
    ] {
        assert!(found.contains(part), "{part}: {found}");
    }
    // Without the need a row has no price of down-reserve.
    for (document, code) in [
        (
            r#"{"mech":"cooptimise","in":{"D":1,"R":0,"a":[1,1,1,1,1,1]}}"#,
            "M101",
        ),
        (
            r#"{"mech":"cooptimise","in":{"D":1,"R":0,"R_down":0,"a":[1,1,1,1,1]}}"#,
            "M101",
        ),
        (
            r#"{"mech":"cooptimise","in":{"D":1,"R":0,"R_down":2,"a":[1,1,1,1,1,null]}}"#,
            "M140",
        ),
        (
            r#"{"mech":"co_optimised","in":{"can":{"a":[1]},"energy":{"bids":[],"offers":[]}}}"#,
            "M101",
        ),
        (
            r#"{"mech":"co_optimised","in":{"energy":{"bids":[],"offers":[]}}}"#,
            "M101",
        ),
        (
            r#"{"mech":"co_optimised","in":{"can":{},"energy":{"bids":[]}}}"#,
            "M101",
        ),
    ] {
        assert_eq!(
            clear(document, None).expect_err(document).code(),
            code,
            "{document}"
        );
    }
}
